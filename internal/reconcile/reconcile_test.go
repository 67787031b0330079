package reconcile_test

import (
	"slices"
	"testing"
	"time"

	"github.com/gas-restore/gas/internal/archive"
	"github.com/gas-restore/gas/internal/reconcile"
	"github.com/gas-restore/gas/internal/test/testenv"
	"github.com/gas-restore/gas/pkg/events"
)

// trouble is a way in which the pipeline loses sight of an archive.
type trouble struct {
	name  string
	found reconcile.Finding
	make  func(w *fixture, user events.UserID, job events.JobID)
	// again is how many retrievals the archive needs; 2 if the first one fails.
	again int
}

var troubles = []trouble{
	{"the upgrade's message was lost", reconcile.Unplanned, func(w *fixture, u events.UserID, id events.JobID) {
		w.archived(u, id)
	}, 1},
	{"a worker died after Glacier took its request, and its task was lost", reconcile.Interrupted, func(w *fixture, u events.UserID, id events.JobID) {
		job := w.archived(u, id)
		w.intent(job)
		if _, err := w.vault.Retrieve(w.t.Context(), job, archive.Standard); err != nil {
			w.t.Fatal(err)
		}
	}, 1},
	{"a worker died before its request, and its task was lost", reconcile.Interrupted, func(w *fixture, u events.UserID, id events.JobID) {
		w.intent(w.archived(u, id))
	}, 1},
	{"the notification of an Expedited retrieval was lost", reconcile.Unheard, func(w *fixture, u events.UserID, id events.JobID) {
		w.requested(w.archived(u, id), archive.Expedited)
	}, 1},
	{"the notification of a Standard retrieval was lost", reconcile.Unheard, func(w *fixture, u events.UserID, id events.JobID) {
		w.requested(w.archived(u, id), archive.Standard)
	}, 1},
	{"the retrieval failed, and the notification was lost", reconcile.Unheard, func(w *fixture, u events.UserID, id events.JobID) {
		job := w.archived(u, id)
		w.failOnce(job)
		w.requested(job, archive.Standard)
	}, 2},
	{"the catalog names a retrieval that Glacier never knew", reconcile.Forgotten, func(w *fixture, u events.UserID, id events.JobID) {
		w.saved(w.archived(u, id), "forgotten-"+events.RetrievalID(id), archive.Standard, w.now())
	}, 1},
}

func (w *fixture) intent(job archive.Job) {
	w.t.Helper()
	if err := w.Catalog.SaveIntent(w.t.Context(), job, archive.Intent{Token: "gone", At: w.now()}); err != nil {
		w.t.Fatal(err)
	}
}

// rounds sweeps, and lets the services work, until all files are back. It returns the number
// of sweeps.
func (w *fixture) rounds() int {
	w.t.Helper()
	var reports []reconcile.Report
	for n := 1; n <= 5; n++ {
		reports = append(reports, w.swept())
		w.quiesce()
		if w.left() == 0 {
			return n
		}
		w.advance(6 * time.Hour)
	}
	w.t.Fatalf("%d jobs are not back after five sweeps; their reports: %+v", w.left(), reports)
	return 0
}

func TestWhateverTheTroubleTheFileIsBackWithoutANotification(t *testing.T) {
	for _, tr := range troubles {
		t.Run(tr.name, func(t *testing.T) {
			t.Parallel()
			inFixture(t, tr.isOver)
		})
	}
}

func (tr trouble) isOver(t *testing.T, w *fixture) {
	tr.make(w, "u", "job")
	w.advance(6 * time.Hour)
	r := w.swept()
	if r.Found[tr.found] != 1 || r.Done[reconcile.Act(tr.found)] != 1 || r.Archives != 1 {
		t.Errorf("the first sweep reports %+v, want one %s", r, tr.found)
	}
	if work, _ := w.messages(); work != 1 {
		t.Errorf("%d messages are in the streams after it, want 1", work)
	}
	w.advance(30 * time.Minute) // past the pause and the slack
	if again := w.swept(); len(again.Done) != 0 || again.Found[reconcile.InOrder] != 1 {
		t.Errorf("a second sweep reports %+v while the message waits", again)
	}
	w.start()
	w.quiesce()
	w.advance(6 * time.Hour)
	w.rounds()
	w.check()
	if n := len(w.Glacier.Jobs()); n != tr.again {
		t.Errorf("%d retrievals, want %d", n, tr.again)
	}
	w.closes("u")
}

// TestWhatAnotherProgramBroughtBackIsForgotten has jobs with an intent, an order and retrievals,
// from which another program removed the archives.
func TestWhatAnotherProgramBroughtBackIsForgotten(t *testing.T) {
	inFixture(t, whatAnotherProgramBroughtBackIsForgotten)
}

func whatAnotherProgramBroughtBackIsForgotten(t *testing.T, w *fixture) {
	w.intent(w.archived("u", "intent"))
	if err := w.Catalog.Order(t.Context(), w.archived("u", "order"), 0, w.now()); err != nil {
		t.Fatal(err)
	}
	w.saved(w.archived("u", "forgotten"), "forgotten", archive.Standard, w.now())
	w.requested(w.archived("u", "unheard"), archive.Standard)
	w.requested(w.archived("u", "under way"), archive.Bulk)
	for id, body := range w.bodies {
		w.BroughtBack(id, body)
	}
	w.advance(6 * time.Hour)
	r := w.swept()
	if r.Found[reconcile.LeftBehind] != 3 || r.Done[reconcile.Clear] != 3 || r.Found[reconcile.Unheard] != 1 {
		t.Errorf("the first sweep reports %+v", r)
	}
	w.start()
	w.quiesce()
	w.advance(20 * time.Hour)
	w.swept()
	w.quiesce()
	w.check()
	if n := w.left(); n != 0 {
		t.Errorf("%d jobs have something under way", n)
	}
	if again := w.swept(); again.Due != 0 {
		t.Errorf("a sweep reads %d jobs that are due", again.Due)
	}
}

// TestARetrievalThatIsTheLastTraceOfAFileStaysWhileALetterStands has a job from which somebody
// removed archive_id by mistake.
func TestARetrievalThatIsTheLastTraceOfAFileStaysWhileALetterStands(t *testing.T) {
	inFixture(t, lastTrace)
}

func lastTrace(t *testing.T, w *fixture) {
	w.requested(w.archived("u", "job"), archive.Standard)
	w.RemoveAttribute("job", "archive_id")
	w.advance(6 * time.Hour)
	w.swept()
	w.start()
	for _, dead := w.messages(); dead == 0; _, dead = w.messages() {
		time.Sleep(time.Second)
	}
	for range 2 { // Glacier forgets the retrieval meanwhile
		w.advance(25 * time.Hour)
		w.swept()
	}
	if w.Job("job").RetrievalID == "" {
		t.Error("the retrieval is removed from the catalog, and a dead letter stands")
	}
	if _, dead := w.messages(); dead != 1 {
		t.Errorf("%d dead letters, want one", dead)
	}
}

func TestAllTroublesAtOnceEndInRestoredFiles(t *testing.T) {
	inFixture(t, allTroublesAtOnceEndInRestoredFiles)
}

func allTroublesAtOnceEndInRestoredFiles(t *testing.T, w *fixture) {
	const each = 8
	retrievals := 0
	for i, tr := range troubles {
		for j := range each {
			tr.make(w, events.UserID(id("user-%d-%d", i, j%3)), id("job-%d-%d", i, j))
			retrievals += tr.again
		}
	}
	w.advance(6 * time.Hour)
	w.start()
	n := w.rounds()
	w.check()
	if got := len(w.Glacier.Jobs()); got != retrievals {
		t.Errorf("%d retrievals, want %d", got, retrievals)
	}
	t.Logf("%d archives in %d troubles, back after %d sweeps", each*len(troubles), len(troubles), n)
}

func TestEverythingComesBackThoughEveryNotificationIsDropped(t *testing.T) {
	inFixture(t, everythingComesBackThoughEveryNotificationIsDropped)
}

func everythingComesBackThoughEveryNotificationIsDropped(t *testing.T, w *fixture) {
	const files = 120
	for i := range files {
		w.archived("fern", id("job-%04d", i))
	}
	w.start()
	if _, err := w.operator.Publish(t.Context(), events.UserUpgraded{ID: "up", UserID: "fern", UpgradedAt: w.now(), Via: events.ViaOperator}); err != nil {
		t.Fatal(err)
	}
	w.quiesce()
	// Expedited takes five minutes at most. The slack is ten minutes.
	w.advance(15*time.Minute + time.Second)
	r := w.swept()
	w.quiesce()
	w.check()
	if w.left() != 0 || r.Done[reconcile.Complete] != files || len(w.Glacier.Jobs()) != files {
		t.Errorf("%d are left after one sweep: %+v", w.left(), r)
	}
	// One call of Glacier's list returns fifty retrievals, one call of DynamoDB a hundred jobs.
	if r.Calls > files/50+files/100+6 {
		t.Errorf("%d calls for %d retrievals", r.Calls, files)
	}
	t.Logf("%d files back 15 minutes after they were requested, with %d calls and no notification", files, r.Calls)
}

func TestWhatIsInOrderIsLeftAlone(t *testing.T) {
	publish := func(w *fixture, e events.Event) {
		w.t.Helper()
		if _, err := w.operator.Publish(w.t.Context(), e); err != nil {
			w.t.Fatal(err)
		}
	}
	for name, make := range map[string]func(w *fixture){
		"a Free user's archive": func(w *fixture) {
			w.Account("u", archive.Free)
			w.bodies["job"] = []byte("x")
			w.Archive("u", "job", w.bodies["job"])
		},
		"an archive of nobody": func(w *fixture) { w.Archive("nobody", "job", []byte("x")) },
		"an upgrade of a minute ago": func(w *fixture) {
			w.archived("u", "job")
			w.advance(time.Minute)
		},
		"an upgrade of a minute ago without a plan": func(w *fixture) {
			w.archived("u", "job")
			w.planless("u")
			w.advance(time.Minute)
		},
		"a plan that waits": func(w *fixture) {
			w.archived("u", "job")
			publish(w, events.UserUpgraded{ID: "up", UserID: "u", UpgradedAt: w.now()})
		},
		"a task that waits": func(w *fixture) {
			job := w.archived("u", "job")
			publish(w, events.ThawRequested{ID: "up", JobID: job.ID, UserID: "u", ArchiveID: job.ArchiveID})
		},
		"a plan that is held": func(w *fixture) {
			w.archived("u", "job")
			if err := w.Catalog.HoldPlan(w.t.Context(), "u", testenv.PlanOf("u"), "over budget", w.now().Add(24*time.Hour)); err != nil {
				w.t.Fatal(err)
			}
			w.advance(6 * time.Hour)
		},
		"a young intent": func(w *fixture) {
			w.intent(w.archived("u", "job"))
			w.advance(time.Minute)
		},
		"an old intent with its task": func(w *fixture) {
			job := w.archived("u", "job")
			w.intent(job)
			publish(w, events.ThawRequested{ID: "up", JobID: job.ID, UserID: "u", ArchiveID: job.ArchiveID})
			w.advance(time.Hour)
		},
		"a retrieval that is not due": func(w *fixture) {
			w.requested(w.archived("u", "job"), archive.Standard)
			w.advance(5 * time.Hour)
		},
		"a notification that waits": func(w *fixture) {
			job := w.requested(w.archived("u", "job"), archive.Standard)
			w.advance(6 * time.Hour)
			publish(w, events.RetrievalCompleted{ID: "n", JobID: job.ID, ArchiveID: job.ArchiveID, RetrievalID: job.RetrievalID, Status: "Succeeded"})
		},
		"a retrieval that Glacier still works on": func(w *fixture) {
			w.Glacier.SetDelay("Standard", 8*time.Hour, 8*time.Hour)
			w.requested(w.archived("u", "job"), archive.Standard)
			w.advance(6 * time.Hour)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			inFixture(t, func(t *testing.T, w *fixture) {
				make(w)
				before, _ := w.messages()
				r := w.swept()
				if after, dead := w.messages(); after != before || dead != 0 || len(r.Done) != 0 || r.Closed != 0 {
					t.Errorf("%+v, and %d messages more", r, after-before)
				}
			})
		})
	}
}

func TestWhatDoesNotHelpIsDoneLessAndLessOften(t *testing.T) {
	inFixture(t, whatDoesNotHelpIsDoneLessAndLessOften)
}

func whatDoesNotHelpIsDoneLessAndLessOften(t *testing.T, w *fixture) {
	w.archived("u", "job")
	w.advance(20 * time.Minute)
	consumed := func() {
		w.t.Helper()
		st, err := w.operator.JS.Stream(t.Context(), events.StreamPremium)
		if err == nil {
			err = st.Purge(t.Context())
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	var at []time.Duration
	began := w.now()
	for range 9 * 3 {
		if r := w.swept(); r.Done[reconcile.Plan] == 1 {
			at = append(at, w.now().Sub(began).Round(time.Minute))
			consumed() // and it led to nothing
		}
		w.advance(20 * time.Minute)
	}
	// The first sweep after each pause plans again. TestALostTaskIsMadeUpForLessAndLessOften
	// checks three days, sweep by sweep.
	want := []time.Duration{0, 20 * time.Minute, time.Hour, 2 * time.Hour, 4 * time.Hour, 8 * time.Hour}
	if !slices.Equal(at, want) {
		t.Errorf("planned at %v in nine hours, want %v", at, want)
	}
}

func TestARetrievalThatIsLateIsToldOfAndNotPaidForAgain(t *testing.T) {
	inFixture(t, aRetrievalThatIsLateIsToldOfAndNotPaidForAgain)
}

func aRetrievalThatIsLateIsToldOfAndNotPaidForAgain(t *testing.T, w *fixture) {
	w.Glacier.SetDelay("Standard", 30*time.Hour, 30*time.Hour)
	w.requested(w.archived("u", "job"), archive.Standard)
	w.advance(11 * time.Hour)
	r := w.swept()
	if work, _ := w.messages(); r.Found[reconcile.Late] != 1 || r.Done[reconcile.Flag] != 1 || work != 0 || len(w.Glacier.Jobs()) != 1 {
		t.Errorf("%+v, %d messages, %d retrievals", r, work, len(w.Glacier.Jobs()))
	}
}

// A sweep flags a late retrieval less and less often. But when the retrieval is done, the next
// sweep publishes its notification. Glacier keeps the output for a day, and the longest pause
// between two flags is a day too.
func TestARetrievalThatWasFlaggedIsBroughtBackAsSoonAsItIsDone(t *testing.T) {
	inFixture(t, aRetrievalThatWasFlaggedIsBroughtBackAsSoonAsItIsDone)
}

func aRetrievalThatWasFlaggedIsBroughtBackAsSoonAsItIsDone(t *testing.T, w *fixture) {
	const takes = 40 * time.Hour
	w.Glacier.SetDelay("Standard", takes, takes)
	w.requested(w.archived("u", "job"), archive.Standard)
	w.advance(11 * time.Hour)
	flags := 0
	for at := 11 * time.Hour; at < takes; at += time.Hour {
		flags += w.swept().Done[reconcile.Flag]
		w.advance(time.Hour)
	}
	r := w.swept()
	if work, _ := w.messages(); flags < 4 || r.Found[reconcile.Unheard] != 1 || r.Done[reconcile.Complete] != 1 || work != 1 {
		t.Errorf("after %d flags the sweep reports %+v, want a new notification", flags, r)
	}
}

func TestEveryFindingHasOneRule(t *testing.T) {
	seen := map[reconcile.Finding]bool{}
	for _, r := range reconcile.Rules() {
		if seen[r.Finding] || r.Why == "" {
			t.Errorf("%s has two rules, or no reason", r.Finding)
		}
		seen[r.Finding] = true
	}
	for _, tr := range troubles {
		if !seen[tr.found] {
			t.Errorf("%s has no rule", tr.found)
		}
	}
	if got := reconcile.Act("something new"); got != reconcile.Flag {
		t.Errorf("a finding without a rule must be flagged, got %s", got)
	}
}

// planless removes the plan from the account of a Premium user, as if another system had
// written the role.
func (w *fixture) planless(user events.UserID) {
	w.t.Helper()
	a, err := w.Catalog.Account(w.t.Context(), user)
	if err == nil {
		err = w.Catalog.ClosePlan(w.t.Context(), user, *a.Plan, w.now())
	}
	if err == nil {
		_, err = w.Catalog.SetRole(w.t.Context(), user, archive.Free, w.now())
	}
	if err == nil {
		err = w.setRole(user, archive.Premium, w.now())
	}
	if err != nil {
		w.t.Fatal(err)
	}
}

// closes fails unless the next sweeps close the user's plan. The first look may be due in a
// quarter of an hour, if all archives were on their way at the last look.
func (w *fixture) closes(user events.UserID) {
	w.t.Helper()
	closed := 0
	for range 6 {
		w.advance(5 * time.Minute)
		closed += w.swept().Closed
	}
	if a, err := w.Catalog.Account(w.t.Context(), user); err != nil || a.Plan != nil || closed != 1 {
		w.t.Errorf("%d plans were closed, and the account has the plan %+v; %v", closed, a.Plan, err)
	}
}

func TestAnUpgradeThatAnotherSystemWroteIsFoundByTheAudit(t *testing.T) { inFixture(t, audited) }

func audited(t *testing.T, w *fixture) {
	w.archived("u", "job")
	w.Account("free", archive.Free)
	w.bodies["other"] = []byte("x")
	w.Archive("free", "other", w.bodies["other"])
	w.planless("u")
	w.advance(time.Hour)
	r := w.swept()
	if r.Found[reconcile.Planless] != 1 || r.Done[reconcile.Plan] != 1 || r.Archives != 2 {
		t.Errorf("the audit reports %+v, want one archive without a plan", r)
	}
	w.start()
	w.quiesce()
	w.advance(time.Hour)
	w.swept()
	w.quiesce()
	if job := w.Job("job"); job.ArchiveID != "" {
		t.Errorf("not back: %+v", job)
	}
	if job := w.Job("other"); job.ArchiveID == "" {
		t.Error("a Free user's file came back")
	}
	w.closes("u")
}

// TestEachLateArchiveIsSeenToByItself has ten overdue archives of one user, one after the
// other. An archive that came back must not delay the next one.
func TestEachLateArchiveIsSeenToByItself(t *testing.T) { inFixture(t, eachByItself) }

func eachByItself(t *testing.T, w *fixture) {
	w.start()
	w.archived("u", "job-0") // it keeps the plan open
	for i := range 10 {
		id := id("job-%d", i+1)
		w.archived("u", id)
		lost := w.now()
		for n := 0; w.Job(id).RetrievalID == "" && w.Job(id).ArchiveID != ""; n++ {
			w.advance(5 * time.Minute)
			w.swept()
			w.quiesce()
			if n == 30 {
				t.Fatalf("archive %d is not requested after %s", i, w.now().Sub(lost))
			}
		}
		if took := w.now().Sub(lost); took > 25*time.Minute {
			t.Errorf("archive %d was requested after %s", i, took)
		}
	}
}

func TestADeadLetterStopsTheSweepButForOneLookADay(t *testing.T) { inFixture(t, stopped) }

func stopped(t *testing.T, w *fixture) {
	w.archived("u", "job")
	for range archive.MaxPerFailure {
		r := w.requested(w.Job("job"), archive.Standard)
		if err := w.Catalog.ClearRetrieval(t.Context(), r, archive.GlacierFailed, w.now()); err != nil {
			t.Fatal(err)
		}
	}
	w.ResetCounts()
	w.start()
	for range 30 { // more than a day: the sweep tries the archive once
		w.swept()
		w.advance(time.Hour)
	}
	_, dead := w.messages()
	if n := w.Counts()["glacier.InitiateJob"]; n != 0 || dead != 1 {
		t.Errorf("%d retrievals and %d dead letters in thirty hours, want none and 1", n, dead)
	}
	// When the operator allows another try, the archive goes on.
	if err := w.Catalog.Order(t.Context(), w.Job("job"), 1, w.now()); err != nil {
		t.Fatal(err)
	}
	for n := 0; w.Job("job").ArchiveID != ""; n++ {
		w.advance(5 * time.Minute)
		w.swept()
		if n == 500 {
			t.Fatalf("not back: %+v", w.Job("job"))
		}
	}
}
