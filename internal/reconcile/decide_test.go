package reconcile

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gas-restore/gas/internal/archive"
	"github.com/gas-restore/gas/internal/fault"
	"github.com/gas-restore/gas/internal/test/testenv"
	"github.com/gas-restore/gas/pkg/events"
)

// whole is a process in which no call breaks.
func whole() *testenv.Life { return &testenv.Life{At: -1} }

// TestEachOverdueJobHasItsMessageAndItsNextLook has one job that is due, in each state.
func TestEachOverdueJobHasItsMessageAndItsNextLook(t *testing.T) {
	taken := func(j *archive.Job) { overdue(j, "r1") }
	for _, c := range []struct {
		name      string
		job       func(*archive.Job)
		prepare   func(*desk)
		glacier   *archive.Retrieval // Glacier's answer about r1; nil if it knows nothing
		published []string
		writes    []string
		found     Finding
		done      Action
		calls     int
		says      string // in the log
	}{
		{name: "due by less than the slack", job: func(j *archive.Job) { taken(j); j.Due = noon.Add(-10*time.Minute + 1) }, calls: 1},
		{name: "the job is gone", job: taken, prepare: func(d *desk) { delete(d.jobs, "j") }, calls: 1},
		{name: "due by the slack", job: func(j *archive.Job) { taken(j); j.Due = noon.Add(-10 * time.Minute) }, glacier: &archive.Retrieval{ID: "r1", Status: archive.InProgress, Tier: archive.Standard},
			writes: []string{"nudged j until 15m0s, in order: true"}, found: InOrder, calls: 2},
		{name: "it was put in order, and the index is behind", job: taken, prepare: func(d *desk) { j := d.jobs["j"]; j.Due = time.Time{}; d.jobs["j"] = j }, calls: 1},
		{name: "a dead letter stands, and Glacier is at work", job: taken, glacier: &archive.Retrieval{ID: "r1", Status: archive.InProgress, Tier: archive.Standard},
			prepare: func(d *desk) { d.dead[events.RetrievalCompleted{JobID: "j"}.Subject()] = true },
			writes:  []string{"nudged j until 15m0s, in order: true"}, found: InOrder, calls: 2},
		{name: "a dead letter stands, and Glacier has forgotten it", job: taken, prepare: func(d *desk) { d.dead[events.RetrievalCompleted{JobID: "j"}.Subject()] = true },
			published: []string{"completed sweep-0-r1 Failed Glacier does not know the retrieval any more of archive-j:  "}, writes: []string{"nudged j until 24h0m0s, in order: false"}, found: Stopped, done: GiveBack, calls: 2},
		{name: "its notification waits", job: taken, prepare: func(d *desk) { d.waiting[events.RetrievalCompleted{JobID: "j"}.Subject()] = true },
			writes: []string{"nudged j until 15m0s, in order: true"}, found: InOrder, calls: 1},
		{name: "it is done, and nobody said so", job: taken,
			glacier:   &archive.Retrieval{ID: "r1", ArchiveID: "another", Status: archive.Succeeded, Tier: archive.Bulk, Size: 6, TreeHash: "hash", CompletedAt: noon.Add(-time.Hour)},
			published: []string{"completed sweep-0-r1 Succeeded  of another: Bulk hash"}, writes: []string{"nudged j until 15m0s, in order: false"}, found: Unheard, done: Complete, calls: 2, says: "times=1"},
		{name: "it failed, and nobody said so", job: func(j *archive.Job) { taken(j); j.Nudges = 2 },
			glacier:   &archive.Retrieval{ID: "r1", Status: archive.RetrievalFailed, Reason: "unreadable", Tier: archive.Standard, Size: -1},
			published: []string{"completed sweep-2-r1 Failed unreadable of archive-j: Standard "}, writes: []string{"nudged j until 1h0m0s, in order: false"}, found: Unheard, done: Complete, calls: 2, says: "times=3"},
		{name: "Glacier has forgotten it", job: taken,
			published: []string{"completed sweep-0-r1 Failed Glacier does not know the retrieval any more of archive-j:  "}, writes: []string{"nudged j until 15m0s, in order: false"}, found: Forgotten, done: GiveBack, calls: 2},
		{name: "it is late", job: func(j *archive.Job) { taken(j); j.RetrievalRequestedAt = noon.Add(-10*time.Hour - 1) }, glacier: &archive.Retrieval{ID: "r1", Status: archive.InProgress, Tier: archive.Standard},
			writes: []string{"nudged j until 15m0s, in order: true"}, found: Late, done: Flag, calls: 2, says: "an operator has to look"},
		{name: "it has a status that nobody knows", job: taken, glacier: &archive.Retrieval{ID: "r1", Status: "Dreaming", Tier: archive.Standard},
			writes: []string{"nudged j until 15m0s, in order: true"}, found: InOrder, calls: 2},
		{name: "a dead letter stops it", job: taken, glacier: &archive.Retrieval{ID: "r1", Status: archive.Succeeded, Tier: archive.Standard}, prepare: func(d *desk) { d.dead[events.RetrievalCompleted{JobID: "j"}.Subject()] = true },
			published: []string{"completed sweep-0-r1 Succeeded  of archive-j: Standard "}, writes: []string{"nudged j until 24h0m0s, in order: false"}, found: Stopped, done: Complete, calls: 2},
		{name: "nobody knows whether a dead letter stops it", job: taken, glacier: &archive.Retrieval{ID: "r1", Status: archive.Succeeded, Tier: archive.Standard},
			prepare: func(d *desk) {
				d.dead[events.RetrievalCompleted{JobID: "j"}.Subject()], d.deadErr = true, fault.New(fault.Transient, errors.New("no answer"))
			},
			published: []string{"completed sweep-0-r1 Succeeded  of archive-j: Standard "}, writes: []string{"nudged j until 15m0s, in order: false"}, found: Unheard, done: Complete, calls: 2, says: "the dead letters cannot be asked"},
		{name: "another program brought the file back, and Glacier forgot", job: func(j *archive.Job) { taken(j); j.ArchiveID = "" },
			writes: []string{"cleared j"}, found: LeftBehind, done: Clear, calls: 2, says: "another program removed the archive"},
		{name: "the same, and a dead letter says that no object is there", job: func(j *archive.Job) { taken(j); j.ArchiveID = "" }, prepare: func(d *desk) { d.dead[events.RetrievalCompleted{JobID: "j"}.Subject()] = true },
			writes: []string{"nudged j until 24h0m0s, in order: true"}, found: Stopped, calls: 2},
		{name: "another program brought the file back before the request", job: func(j *archive.Job) {
			j.ArchiveID, j.Intent, j.Due = "", &archive.Intent{Token: "t"}, noon.Add(-time.Hour)
		}, writes: []string{"cleared j"}, found: LeftBehind, done: Clear, calls: 1},
		{name: "the same, and the job changed meanwhile", job: func(j *archive.Job) {
			j.ArchiveID, j.Intent, j.Due = "", &archive.Intent{Token: "t"}, noon.Add(-time.Hour)
		}, prepare: func(d *desk) { d.answers["ClearLeftovers"] = fault.New(fault.Conflict, errors.New("changed")) }, found: LeftBehind, done: Clear, calls: 1},
		{name: "an intent of a dead worker", job: func(j *archive.Job) {
			j.Intent, j.Due, j.Nudges = &archive.Intent{Token: "t", Plan: "p"}, noon.Add(-time.Hour), 1
		}, published: []string{`thaw sweep-1-t j of archive-j for "p"`}, writes: []string{"nudged j until 30m0s, in order: false"}, found: Interrupted, done: Ask, calls: 1, says: "times=2"},
		{name: "an intent, and its task waits", job: func(j *archive.Job) { j.Intent, j.Due = &archive.Intent{Token: "t"}, noon.Add(-time.Hour) },
			prepare: func(d *desk) { d.waiting[events.ThawRequested{JobID: "j", UserID: "u"}.Subject()] = true },
			writes:  []string{"nudged j until 15m0s, in order: true"}, found: InOrder, calls: 1},
		{name: "an operator's order", job: func(j *archive.Job) { j.Ordered, j.Due = true, noon.Add(-time.Hour) },
			published: []string{`thaw sweep-0-ordered-archive-j j of archive-j for ""`}, writes: []string{"nudged j until 15m0s, in order: false"}, found: Interrupted, done: Ask, calls: 1},
		{name: "nothing is under way", job: func(j *archive.Job) { j.Due = noon.Add(-time.Hour) }, calls: 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			life := whole()
			d := newDesk(life)
			d.on(job("j", c.job))
			if c.glacier != nil {
				d.glacier["r1"] = *c.glacier
			}
			if c.prepare != nil {
				c.prepare(d)
			}
			r, err := d.swept(t, nil)
			if err != nil {
				t.Fatal(err)
			}
			same(t, "published", d.briefly(), c.published)
			d.writes = slices.DeleteFunc(d.writes, func(s string) bool { return strings.HasPrefix(s, "scan") })
			same(t, "written", d.writes, c.writes)
			for _, e := range d.published {
				if e, ok := e.(events.RetrievalCompleted); ok && c.glacier != nil && e.Size != max(c.glacier.Size, 0) {
					t.Errorf("the size is %d, and Glacier says %d", e.Size, c.glacier.Size)
				}
			}
			found, done := map[Finding]int{}, map[Action]int{}
			if c.found != "" {
				found[c.found] = 1
			}
			if c.done != "" {
				done[c.done] = 1
			}
			if fmt.Sprint(r.Found) != fmt.Sprint(found) || fmt.Sprint(r.Done) != fmt.Sprint(done) || r.Calls != c.calls {
				t.Errorf("found %v and did %v with %d calls, want %v and %v with %d", r.Found, r.Done, r.Calls, found, done, c.calls)
			}
			if c.says != "" && len(d.lines.With(c.says)) != 1 {
				t.Errorf("the log does not say %q:\n%s", c.says, d.lines.String())
			}
		})
	}
}

// TestALateRetrievalIsToldOfLessOften checks one retrieval for two days, every five minutes.
func TestALateRetrievalIsToldOfLessOften(t *testing.T) {
	life := whole()
	d := newDesk(life)
	d.on(job("j", func(j *archive.Job) { overdue(j, "r1"); j.RetrievalRequestedAt = noon.Add(-100 * time.Hour) }))
	d.glacier["r1"] = archive.Retrieval{ID: "r1", Status: archive.InProgress, Tier: archive.Standard}
	var told []time.Duration
	now := noon
	for now.Sub(noon) < 50*time.Hour {
		r, err := d.swept(t, func(s *Sweeper) { s.Now = func() time.Time { return now } })
		if err != nil {
			t.Fatal(err)
		}
		if r.Done[Flag] > 0 {
			told = append(told, now.Sub(noon))
		}
		now = now.Add(5 * time.Minute)
	}
	var want []time.Duration
	for at, n := time.Duration(0), 0; at < 50*time.Hour; n++ {
		want = append(want, at)
		at += pauseAfter(n)
	}
	if !slices.Equal(told, want) {
		t.Errorf("told after %v, want %v", told, want)
	}
}

// TestManyOverdueRetrievalsAreReadFromTheList has more than twenty, and Glacier's list ends, is
// long, or breaks.
func TestManyOverdueRetrievalsAreReadFromTheList(t *testing.T) {
	of := func(i int) archive.Retrieval {
		return archive.Retrieval{ID: events.RetrievalID(fmt.Sprint("r", i)), Status: archive.Succeeded, Tier: archive.Standard}
	}
	for _, c := range []struct {
		name    string
		jobs    int
		list    func(n int) []archive.Retrieval
		fails   bool
		calls   int // to Glacier
		turns   int // of the list
		unheard int
		err     bool
	}{
		{"twenty are few", 20, func(int) []archive.Retrieval { return []archive.Retrieval{of(0)} }, false, 20, 0, 20, false},
		{"all are in the list", 21, func(n int) (all []archive.Retrieval) {
			for i := range n + 50 {
				all = append(all, of(i))
			}
			return all
		}, false, 21, 21, 21, false},
		{"none is in a long list", 21, func(int) (all []archive.Retrieval) {
			for i := range 50 {
				all = append(all, of(1000+i))
			}
			return all
		}, false, 21 + 21, 22, 21, false},
		{"the list cannot be read", 21, func(int) []archive.Retrieval { return nil }, true, 21, 0, 21, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			life := whole()
			d := newDesk(life)
			for i := range c.jobs {
				d.on(job(events.JobID(fmt.Sprint("j", i)), func(j *archive.Job) { overdue(j, of(i).ID) }))
				d.glacier[of(i).ID] = of(i)
			}
			d.list = c.list(c.jobs)
			if c.fails {
				d.answers["Retrievals"] = errors.New("no list")
			}
			r, err := d.swept(t, nil)
			if (err != nil) != c.err || r.Found[Unheard] != c.unheard || r.Done[Complete] != c.unheard || len(d.published) != c.unheard || r.Due != c.jobs {
				t.Errorf("%v, found %v of %d, and did %v", err, r.Found, r.Due, r.Done)
			}
			if got := r.Calls - 1; got != c.calls || d.turns != c.turns { // one reads the jobs
				t.Errorf("%d calls to Glacier, and %d turns of the list; want %d and %d", got, d.turns, c.calls, c.turns)
			}
		})
	}
}

// TestAnErrorAboutOneJobIsToldAndTheOthersAreSeenTo breaks each call of a sweep that has work of
// every kind. A sweep that does not know whether a message waits must publish none; the next sweep
// does.
func TestAnErrorAboutOneJobIsToldAndTheOthersAreSeenTo(t *testing.T) {
	start := func(life *testenv.Life) *desk {
		d := newDesk(life)
		d.on(
			job("brought-back", func(j *archive.Job) {
				j.ArchiveID, j.Due, j.Intent = "", noon.Add(-time.Hour), &archive.Intent{Token: "t"}
			}),
			job("interrupted", func(j *archive.Job) { j.Due, j.Intent = noon.Add(-time.Hour), &archive.Intent{Token: "t"} }),
			job("ordered", func(j *archive.Job) { j.Due, j.Ordered = noon.Add(-time.Hour), true }),
			job("unheard", func(j *archive.Job) { overdue(j, "r1") }),
			job("late", func(j *archive.Job) { overdue(j, "r2"); j.RetrievalRequestedAt = noon.Add(-100 * time.Hour) }),
			job("in-order", func(j *archive.Job) { overdue(j, "r4") }),
			job("brought-back-late", func(j *archive.Job) { overdue(j, "r5"); j.ArchiveID = "" }),
			job("brought-back-stopped", func(j *archive.Job) { overdue(j, "r6"); j.ArchiveID = "" }),
			job("waits", func(j *archive.Job) { overdue(j, "r3") }),
			job("lost", nil), job("back", func(j *archive.Job) { j.ArchiveID, j.RestoredBy = "", "r0" }),
		)
		d.glacier["r1"] = archive.Retrieval{ID: "r1", Status: archive.Succeeded, Tier: archive.Standard}
		d.glacier["r2"] = archive.Retrieval{ID: "r2", Status: archive.InProgress, Tier: archive.Standard}
		d.glacier["r4"] = archive.Retrieval{ID: "r4", Status: archive.InProgress, Tier: archive.Standard}
		d.dead[events.RetrievalCompleted{JobID: "brought-back-stopped"}.Subject()] = true
		d.waiting[events.RetrievalCompleted{JobID: "waits"}.Subject()] = true
		plan := func(user events.UserID, change func(*archive.Plan)) {
			p := archive.Plan{ID: "plan-" + string(user), State: archive.PlanOpen, OpenedAt: noon.Add(-time.Hour), Due: noon.Add(-time.Minute)}
			if change != nil {
				change(&p)
			}
			d.accounts[user] = archive.Account{ID: user, Role: archive.Premium, Plan: &p}
			d.plans = append(d.plans, user)
		}
		plan("held", func(p *archive.Plan) { p.State = archive.PlanHeld })
		plan("idle", nil)
		d.pages["idle/"] = []archive.Job{d.jobs["lost"]}
		plan("new", nil)
		plan("closing", func(p *archive.Plan) { p.EmptySince = noon.Add(-3 * time.Minute) })
		d.told = []events.StatusChanged{{JobID: "back", UserID: "closing", State: archive.Planned}}
		plan("empty", func(p *archive.Plan) { p.EmptySince = noon.Add(-time.Minute) })
		plan("earlier", nil)
		d.pages["earlier/"] = []archive.Job{job("of-an-earlier-release", func(j *archive.Job) { j.RetrievalID = "r8" })}
		d.accounts["planless"] = archive.Account{ID: "planless", Role: archive.Premium, RoleChangedAt: noon.Add(-time.Hour)}
		d.pages["/"] = []archive.Job{{ID: "x", UserID: "planless", ArchiveID: "a"}, {ID: "old", UserID: "u", ArchiveID: "b", RetrievalID: "r9"}}
		return d
	}
	life := whole()
	d := start(life)
	all, err := d.swept(t, nil)
	if err != nil {
		t.Fatal(err)
	}
	if want := map[Action]int{Clear: 2, Ask: 2, Complete: 1, Flag: 1, Plan: 2, Tell: 1}; fmt.Sprint(all.Done) != fmt.Sprint(want) || all.Due != 9 || all.Plans != 6 || all.Closed != 1 || all.Archives != 2 {
		t.Fatalf("a sweep did %v of %d, checked %d plans, closed %d, and audited %d; want %v\n%s", all.Done, all.Due, all.Plans, all.Closed, all.Archives, want, d.lines.String())
	}
	subjects := func(d *desk) (all []string) {
		for _, e := range d.published {
			all = append(all, e.Subject())
		}
		return all
	}
	want := subjects(d)
	for _, call := range life.Calls() {
		life := testenv.Life{At: -1, On: call, How: testenv.ErrorBefore}
		d := start(&life)
		r, err := d.swept(t, nil)
		if err == nil || !strings.Contains(err.Error(), call+": injected") || !strings.Contains(r.Error, call) {
			t.Errorf("%s fails, and the sweep says %v", call, err)
		}
		did := func(r Report) (n int) {
			for _, times := range r.Done {
				n += times
			}
			return n + r.Closed
		}
		least := did(all) - 2 // the work of a job, or of a plan with its last statuses
		for _, many := range []string{"DueJobs", "DuePlans", "JobsOf([brought-back", "AccountsOf([held", "ArchivedScan"} {
			if strings.HasPrefix(call, many) {
				least = 1
			}
		}
		if did(r) < least {
			t.Errorf("%s fails, and the sweep did %v of %v", call, r.Done, all.Done)
		}
		first := subjects(d)
		for _, subject := range first {
			if !slices.Contains(want, subject) || strings.HasSuffix(call, "("+subject+")") {
				t.Errorf("%s fails, and the sweep published %s", call, subject)
			}
		}
		if _, err := d.swept(t, func(s *Sweeper) { s.Now = func() time.Time { return noon.Add(61 * time.Minute) } }); err != nil {
			t.Errorf("%s failed, and the sweep an hour later says %v", call, err)
		}
		for _, subject := range want {
			if !slices.Contains(subjects(d), subject) {
				t.Errorf("%s failed, and the sweep an hour later does not publish %s", call, subject)
			}
		}
	}
}

// A process that is told to stop makes no more calls.
func TestASweepThatIsStoppedSaysSo(t *testing.T) {
	life := whole()
	d := newDesk(life)
	for i := range 3 {
		d.on(job(events.JobID(fmt.Sprint("j", i)), func(j *archive.Job) { overdue(j, events.RetrievalID(fmt.Sprint("r", i))) }))
	}
	s := d.sweeper()
	ctx, stop := context.WithCancel(t.Context())
	stop()
	if r, err := s.Sweep(ctx); !errors.Is(err, context.Canceled) || len(d.published) != 0 || r.Calls != 0 || strings.Contains(fmt.Sprint(life.Calls()), "JobsOf") {
		t.Errorf("got %v, %d calls, published %v; all calls: %v", err, r.Calls, d.briefly(), life.Calls())
	}
}

func TestAReportHasAtMostFiveErrors(t *testing.T) {
	life := whole()
	d := newDesk(life)
	for i := range 9 {
		d.on(job(events.JobID(fmt.Sprint("j", i)), func(j *archive.Job) { overdue(j, "r") }))
	}
	for i := range 9 {
		user := events.UserID(fmt.Sprint("u", i))
		d.plans = append(d.plans, user)
		d.accounts[user] = archive.Account{ID: user, Plan: &archive.Plan{ID: "p", State: archive.PlanHeld}}
	}
	for _, broken := range [][]string{{"Waiting"}, {"Publish"}, {"Waiting", "Publish"}} {
		d.answers = map[string]error{}
		for _, call := range broken {
			d.answers[call] = errors.New("injected")
		}
		r, err := d.swept(t, nil)
		if n := strings.Count(r.Error, "injected"); err == nil || n != 5 {
			t.Errorf("without %v the report has %d errors, want 5: %v", broken, n, err)
		}
	}
}

// TestASweepMakesSoManyCallsAnHour has a hundred retrievals that no list has: a call for the jobs,
// and one for each retrieval.
func TestASweepMakesSoManyCallsAnHour(t *testing.T) {
	for _, c := range []struct {
		calls, retrievals int
		took              time.Duration
	}{
		{0, 100, 41 * time.Second}, {-1, 100, 41 * time.Second}, {3600, 100, 41 * time.Second}, // sixty at once, and then one a second
		{3600, 59, 0}, {3600, 60, time.Second}, {1, 1, time.Hour}, {30, 2, 4 * time.Minute}, {120, 3, time.Minute},
	} {
		d := newDesk(whole())
		for i := range c.retrievals {
			d.on(job(events.JobID(fmt.Sprint("j", i)), func(j *archive.Job) { overdue(j, events.RetrievalID(fmt.Sprint("r", i))) }))
		}
		r, err := d.swept(t, func(s *Sweeper) { s.Calls = c.calls })
		if err != nil || r.Took != c.took || r.Calls != c.retrievals+1 {
			t.Errorf("%d calls an hour: %d calls took %s, %v; want %s", c.calls, r.Calls, r.Took, err, c.took)
		}
	}
}

// TestAThousandRetrievalsAreComparedWithOneList has as many as a sweep keeps in memory, and more.
func TestAThousandRetrievalsAreComparedWithOneList(t *testing.T) {
	for jobs, lists := range map[int]int{900: 1, 1000: 1, 1100: 2, 2100: 3} {
		life := whole()
		d := newDesk(life)
		for i := range jobs {
			d.on(job(events.JobID(fmt.Sprint("j", i)), func(j *archive.Job) { overdue(j, events.RetrievalID(fmt.Sprint("r", i))) }))
		}
		r, err := d.swept(t, nil)
		if n := strings.Count(fmt.Sprint(life.Calls()), "Retrievals()"); err != nil || r.Due != jobs || n != lists {
			t.Errorf("%d of %d retrievals were read with %d lists, %v; want %d", r.Due, jobs, n, err, lists)
		}
	}
}

func TestTheSlackIsTenMinutesUnlessItIsSet(t *testing.T) {
	for slack, want := range map[time.Duration]time.Duration{-1: 10 * time.Minute, 0: 10 * time.Minute, 1: 1, time.Hour: time.Hour} {
		if got := (&Sweeper{Slack: slack}).slack(); got != want {
			t.Errorf("slack %d: got %s, want %s", slack, got, want)
		}
	}
}
