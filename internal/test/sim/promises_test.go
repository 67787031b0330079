package sim

import (
	"context"
	"fmt"
	"time"

	"github.com/gas-restore/gas/internal/archive"
	"github.com/gas-restore/gas/pkg/events"
)

// checkPromises checks the other promises: the last reported status, the bills, the
// number of requests for an archive, the plans on the accounts, the indexes, and one dead
// letter for a cause.
func (w *world) checkPromises() {
	w.t.Helper()
	w.checkTold()
	w.checkBills()
	w.checkBounds()
	w.checkPlans()
	w.checkIndexes()
	w.distinct()
}

// checkTold sees that "restored" was told last of each file that came back.
func (w *world) checkTold() {
	w.t.Helper()
	if w.troubles[statusLost] > 0 {
		return
	}
	for id := range w.bodies {
		job := w.job(id)
		if !job.Back() {
			continue
		}
		told, ok, err := w.operator.LastStatusOf(w.t.Context(), job.UserID, id)
		if err != nil || !ok || told.State != archive.Restored {
			w.untold++
			w.t.Errorf("%s is back, and what was told last is %q; %v; all: %s", id, told.State, err, w.told(events.StatusChanged{UserID: job.UserID, JobID: id}.Subject()))
		}
	}
}

// told is what was told under a subject.
func (w *world) told(subject string) (all []string) {
	st, err := w.operator.JS.Stream(w.t.Context(), events.StreamStatus)
	if err != nil {
		return []string{err.Error()}
	}
	for seq := st.CachedInfo().State.FirstSeq; seq <= st.CachedInfo().State.LastSeq; seq++ {
		if m, err := st.GetMsg(w.t.Context(), seq); err == nil && m.Subject == subject {
			e, _ := events.Decode[events.StatusChanged](m.Data)
			all = append(all, fmt.Sprintf("%d %s %s of %.8s as %s", seq, m.Time.Format("04:05.000"), e.State, e.Step, m.Header.Get(events.HeaderMsgID)))
		}
	}
	return all
}

// dollars is what a retrieval costs.
func (w *world) dollars(r retrieval) archive.MicroUSD {
	return w.prices.Of(r.class, archive.Tier(r.tier), 1, r.size)
}

// charged is what Glacier charged for all.
func (w *world) charged() (sum archive.MicroUSD) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, r := range w.ended {
		sum += w.dollars(r)
	}
	return sum
}

// checkBills compares each job's bill with what Glacier charged for it. A retrieval that
// failed or expired before its id was saved, because whoever asked for it died, may not be
// on it.
func (w *world) checkBills() {
	w.t.Helper()
	charged, failed := map[events.JobID]archive.MicroUSD{}, map[events.JobID]archive.MicroUSD{}
	unsure := map[events.JobID]archive.MicroUSD{}
	w.mu.Lock()
	for _, r := range w.ended {
		if charged[r.job] += w.dollars(r); len(w.fired) > 0 && (r.failed || w.troubles[outputExpired] > 0) {
			failed[r.job] += w.dollars(r)
		}
		if w.hands[r.job] {
			failed[r.job] += w.dollars(r) // no bill of ours has a request by hand
		}
		if r.class != "" && len(w.fired) > 0 {
			// S3 does not tell the tier of a copy that a dead worker requested. It is billed as
			// the dearest.
			unsure[r.job] += w.prices.Of(r.class, "", 1, r.size) - w.dollars(r)
		}
	}
	w.mu.Unlock()
	for id, body := range w.bodies {
		if w.instant[id] {
			// Its price is that of reading it. It needs no retrieval, so nothing says how often
			// it was requested.
			charged[id], unsure[id] = 0, archive.MaxRetrievals*w.prices.Of(archive.Instant, archive.Standard, 1, int64(len(body)))
		}
	}
	for id := range w.bodies {
		if job := w.job(id); job.Billed > charged[id]+unsure[id] || job.Billed < charged[id]-failed[id] {
			w.t.Errorf("%s is billed %s, and Glacier charged %s", id, job.Billed, charged[id])
		}
	}
}

// checkBounds checks the number of requests for each archive.
func (w *world) checkBounds() {
	w.t.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	tries, failed := map[string]int{}, map[string]int{}
	for _, r := range w.ended {
		if tries[r.archive]++; r.failed {
			failed[r.archive]++
		}
	}
	for id, n := range tries {
		if n > archive.MaxRetrievals+w.allowed || failed[id] > archive.MaxPerFailure+w.allowed {
			w.t.Errorf("archive %.12s… was requested %d times, and %d retrievals failed", id, n, failed[id])
		}
	}
}

// checkBudget sees that no day of UTC cost more than the limit, for all or for a user.
func (w *world) checkBudget(limit archive.MicroUSD, of events.UserID) {
	w.t.Helper()
	spent := map[string]archive.MicroUSD{}
	for _, r := range w.all() {
		if of == "" || w.job(r.job).UserID == of {
			spent[r.asked.UTC().Format(time.DateOnly)] += w.dollars(r)
		}
	}
	for day, sum := range spent {
		if sum > limit {
			w.t.Errorf("%s cost %s, the budget is %s", day, sum, limit)
		}
	}
}

// checkPlans sees that no plan stands on the account of a Free user, unless an operator
// opened it, and none where everything is back, if it was swept.
func (w *world) checkPlans() {
	w.t.Helper()
	inVault := map[events.UserID]bool{}
	for id := range w.bodies {
		if job := w.job(id); job.ArchiveID != "" {
			inVault[job.UserID] = true
		}
	}
	for _, user := range w.users() {
		a := w.account(user)
		switch {
		case a.Plan == nil:
		case a.Role == archive.Free && a.Plan.Why != archive.Operator && a.Plan.Why != archive.Announcement:
			w.t.Errorf("%s is Free, and the plan %s stands", user, a.Plan.ID)
		case w.sweeps() && !inVault[user]:
			w.t.Errorf("everything of %s is back, and the plan %s is not closed: empty since %s, due at %s", user, a.Plan.ID, a.Plan.EmptySince, a.Plan.Due)
		}
	}
}

// checkIndexes sees that the indexes of what is due have nothing that is over.
func (w *world) checkIndexes() {
	w.t.Helper()
	ctx, far := context.WithoutCancel(w.t.Context()), time.Now().Add(1000*time.Hour)
	for id, err := range w.Catalog.DueJobs(ctx, far) {
		if err != nil {
			w.t.Error(err)
		} else if j := w.job(id); j.RetrievalID == "" && j.Intent == nil {
			w.t.Errorf("nothing of %s is under way, and it is due at %s", id, j.Due)
		}
	}
	for user, err := range w.Catalog.DuePlans(ctx, far) {
		if err != nil {
			w.t.Error(err)
		} else if w.account(user).Plan == nil {
			w.t.Errorf("no plan of %s stands, and one is due", user)
		}
	}
}
