package sim

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/gas-restore/gas/internal/archive"
	"github.com/gas-restore/gas/pkg/events"
)

// job returns the job as the catalog has it, whatever AWS answers meanwhile.
func (w *world) job(id events.JobID) archive.Job {
	for try := 1; ; try++ {
		j, err := w.Catalog.Job(w.t.Context(), id)
		if err == nil {
			return j
		}
		if try == 40 {
			w.t.Fatal(err)
		}
	}
}

// open says whether the job waits for something.
func (w *world) open(j archive.Job) bool {
	return !w.stays[j.UserID] && !w.fickle[j.UserID] && j.ArchiveID != "" || j.RetrievalID != "" || j.Intent != nil
}

// left says what is not restored yet, empty if all is.
func (w *world) left() string {
	var all []string
	for id := range w.bodies {
		if j := w.job(id); w.open(j) {
			all = append(all, fmt.Sprintf("%s (retrieval %q %s, intent %v)", id, j.RetrievalID, j.Tier, j.Intent))
		}
	}
	all = append(all, w.waiting()...)
	slices.Sort(all)
	return strings.Join(all, "; ")
}

// users returns the users with files.
func (w *world) users() []events.UserID {
	all := map[events.UserID]bool{}
	for id := range w.bodies {
		user, _, _ := strings.Cut(string(id), "-")
		all[events.UserID(user)] = true
	}
	return slices.Sorted(maps.Keys(all))
}

// waiting says which messages of the pipeline wait, and which announcements.
func (w *world) waiting() (all []string) {
	for _, user := range w.users() {
		if due := w.account(user).AnnounceDue; !due.IsZero() {
			all = append(all, fmt.Sprintf("the upgrade of %s at %s is still to be announced", user, due))
		}
	}
	for _, name := range []string{events.StreamPremium, events.StreamThaw, events.StreamRestore} {
		st, err := w.operator.JS.Stream(w.t.Context(), name)
		if err != nil {
			all = append(all, name+": "+err.Error())
		} else if n := st.CachedInfo().State.Msgs; n > 0 {
			all = append(all, fmt.Sprintf("%d messages in %s", n, name))
		}
	}
	return all
}

// restored is whether nothing is left, told with few calls: of the jobs, it asks for
// the first that is open, and forgets those that are not.
func (w *world) restored(jobs map[events.JobID]bool) bool {
	for id := range jobs {
		if w.open(w.job(id)) {
			return false
		}
		delete(jobs, id)
	}
	return len(w.waiting()) == 0
}

// dead returns how many dead letters there have been.
func (w *world) dead() uint64 {
	st, err := w.operator.JS.Stream(w.t.Context(), events.StreamDead)
	if err != nil {
		return 0 // the server is away
	}
	return st.CachedInfo().State.LastSeq
}

// end waits until all is restored, at most limit, or more is dead than may be; then a
// while for what comes late. It stops all processes and checks.
func (w *world) end(limit time.Duration) {
	w.t.Helper()
	jobs := map[events.JobID]bool{}
	for id := range w.bodies {
		jobs[id] = true
	}
	until := time.Now().Add(limit)
	for !w.restored(jobs) && w.dead() <= w.letters && time.Now().Before(until) {
		time.Sleep(time.Minute)
	}
	left, took := w.left(), time.Since(w.began)
	w.ready = time.Now()
	// Some looks of the sweep, which close the plans, or one look for what was not
	// announced: beside that they find nothing to do.
	wait := 6 * time.Minute
	if w.sweeps() {
		wait = plansClose
	}
	if w.cfg.UserBudget+w.cfg.DayBudget != "" {
		wait += time.Hour // the check of a plan that was held may come as late as for a held one
	}
	for until = time.Now().Add(wait); time.Now().Before(until) && !(w.sweeps() && w.planless()); {
		time.Sleep(3 * time.Minute)
	}
	close(w.drain)
	time.Sleep(time.Minute)
	w.cancel()
	w.running.Wait()
	if left != "" {
		w.t.Errorf("after %s: %s", took, left)
	}
	w.check()
	if _, refused := w.access(); len(refused) > 0 {
		w.t.Errorf("the roles refused %v", refused)
	}
	w.deadEver = w.dead()
	w.operator.Close()
	ns := w.server()
	ns.Shutdown()
	ns.WaitForShutdown()
}

// plansClose is the longest time until the plans of users with all files back are closed:
// two checks, each a sweep late, by clocks that are minutes apart.
const plansClose = 35 * time.Minute

func (w *world) sweeps() bool { return w.cfg.SweepEvery < never }

// planless is whether no plan stands on any account.
func (w *world) planless() bool {
	for _, user := range w.users() {
		if w.account(user).Plan != nil {
			return false
		}
	}
	return true
}
