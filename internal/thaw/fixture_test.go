package thaw_test

import (
	"context"
	"fmt"
	"log/slog"
	"testing"
	"time"

	"github.com/gas-restore/gas/internal/archive"
	"github.com/gas-restore/gas/internal/aws/cold"
	"github.com/gas-restore/gas/internal/aws/glacier"
	"github.com/gas-restore/gas/internal/aws/s3cold"
	"github.com/gas-restore/gas/internal/bus"
	"github.com/gas-restore/gas/internal/cost"
	"github.com/gas-restore/gas/internal/fault"
	localaws "github.com/gas-restore/gas/internal/local/aws"
	"github.com/gas-restore/gas/internal/local/aws/s3"
	"github.com/gas-restore/gas/internal/test/testenv"
	"github.com/gas-restore/gas/internal/thaw"
	"github.com/gas-restore/gas/pkg/events"
)

// crashFixture has AWS, NATS and a clock. They outlive a process.
type crashFixture struct {
	*testenv.AWS
	t                *testing.T // the test that made the fixture
	worker, operator *bus.Bus
	now              time.Time
	made             int
	done             []doneCase
	budget           thaw.Limits
	class            archive.Class   // of new archives; empty for a vault
	survivor         *thaw.Requester // in the process that does not die
	completions      *completions
}

// doneCase is a job that was delivered until it was acked.
type doneCase struct {
	name string
	job  events.JobID
}

// completions collects the completions that are published.
type completions struct{ all []events.RetrievalCompleted }

func (c *completions) Publish(_ context.Context, e events.Event) error {
	c.all = append(c.all, e.(events.RetrievalCompleted))
	return nil
}

func newCrashFixture(t *testing.T) *crashFixture {
	ns := testenv.NATS(t)
	w := &crashFixture{worker: testenv.Bus(t, ns, "thaw"), operator: testenv.Bus(t, ns, "operator"), t: t, now: time.Now(), completions: &completions{}}
	w.renewAWS(t)
	return w
}

// renewAWS takes another stand-in. With many jobs, Glacier's list is long, and each search
// takes long.
func (w *crashFixture) renewAWS(t *testing.T) {
	w.checkAll(t)
	w.AWS, w.survivor = testenv.NewAWS(w.t), nil
	w.Account("u", archive.Premium)
}

var quiet = slog.New(slog.DiscardHandler)

// archive makes a new archive.
func (w *crashFixture) archive(t *testing.T) archive.Job {
	t.Helper()
	w.made++
	id := events.JobID(fmt.Sprintf("job-%05d", w.made))
	if w.class != "" && w.class != archive.Vault {
		return w.ArchiveIn(w.class, "u", id, []byte("result"))
	}
	return w.Archive("u", id, []byte("result"))
}

func (w *crashFixture) throttleOnce(t *testing.T) {
	t.Helper()
	w.Faults.Clear()
	if err := w.Faults.Add(
		localaws.Fault{Service: "glacier", Operation: "InitiateJob", Times: 1, Code: "ThrottlingException", Status: 400},
		localaws.Fault{Service: "s3", Operation: "RestoreObject", Times: 1, Code: "SlowDown", Status: 503},
	); err != nil {
		t.Fatal(err)
	}
}

// leaveIntent leaves the intent of a worker that died before its call.
func (w *crashFixture) leaveIntent(t *testing.T, id events.JobID, age time.Duration) {
	t.Helper()
	if err := w.Catalog.SaveIntent(t.Context(), w.Job(id), archive.Intent{Token: "gone", At: w.now.Add(-age)}); err != nil {
		t.Fatal(err)
	}
}

// requester returns a requester in a process of its own.
func (w *crashFixture) requester(t *testing.T, l *life) *thaw.Requester {
	clock := func() time.Time { return w.now }
	return &thaw.Requester{
		Accounts: accountsIn{l, w.Catalog}, Catalog: catalogIn{l, w.Catalog},
		Plans: plansIn{l, w.Catalog}, Budgets: budgetsIn{l, w.Catalog}, Switches: switchesIn{l, w.Catalog}, Limits: w.budget,
		Vault:  vaultIn{l, cold.Store{Vault: glacier.New(w.Config, testenv.VaultID, topic), Objects: s3cold.New(w.Config, testenv.ColdID, 1)}},
		Tiers:  archive.DefaultTiers(),
		Pace:   &thaw.Pace{KV: kvIn{l, "KV", w.worker.KV(bus.BucketPace)}, Now: clock},
		Prices: cost.Public().In("us-east-1"), Now: clock, Log: quiet,
		Completions:  completionsIn{l, w.completions},
		OnDuplicates: func(n int) { t.Errorf("%d duplicates", n) },
	}
}

// deliver hands the job's task to a new process. If no call should break, it takes the
// process that does not die. It reports whether the task was acked. Then two minutes pass:
// the lease of the task ends, and the intent is old.
func (w *crashFixture) deliver(t *testing.T, l *life, job archive.Job) (acked bool) {
	t.Helper()
	r := w.survivor
	if l.At >= 0 || r == nil || r.Limits != w.budget {
		if r = w.requester(t, l); l.At < 0 {
			w.survivor = r
		}
	}
	e := events.ThawRequested{ID: "up", JobID: job.ID, UserID: job.UserID, ArchiveID: job.ArchiveID, UpgradedAt: upgraded}
	emit := func(ctx context.Context, e events.Event) error {
		return l.Call("emit", func() error { _, err := w.worker.Publish(ctx, e); return err })
	}
	err := r.Request(t.Context(), e, emit)
	if fault.Is(err, fault.Wait) && l.At >= 0 {
		// The same process gets the task once more. It may take over an intent that did not
		// change meanwhile.
		w.now = w.now.Add(2 * time.Minute)
		err = r.Request(t.Context(), e, emit)
	}
	if kind := fault.KindOf(err); err != nil && kind == fault.Invalid {
		t.Errorf("job %s would be a dead letter: %v", job.ID, err)
	}
	if err == nil {
		err = l.Call("ack", func() error { return nil })
	}
	w.now = w.now.Add(2 * time.Minute)
	return err == nil
}

// checkAll fails unless each delivered archive has one retrieval, which is saved and paid for
// once.
func (w *crashFixture) checkAll(t *testing.T) {
	t.Helper()
	if len(w.done) == 0 {
		return
	}
	type retrieval struct{ id, tier string }
	have := map[string][]retrieval{}
	for _, j := range w.Glacier.Jobs() {
		have[j.Archive] = append(have[j.Archive], retrieval{j.ID, string(j.Tier)})
	}
	restores, completed := w.S3.Restores(), map[events.JobID]bool{}
	for _, e := range w.completions.all {
		completed[e.JobID] = true
	}
	for _, c := range w.done {
		job := w.Job(c.job)
		if !job.Copy.InVault() {
			at := job.Copy
			n := restores[s3.Version{Bucket: at.Bucket, Key: at.Key, Version: at.Version}]
			if want := 1; n != want && at.Class != archive.Instant || job.RetrievalID == "" || job.Intent != nil {
				t.Errorf("%s: S3 has %d retrievals, want %d; the catalog has %q and intent %v", c.name, n, want, job.RetrievalID, job.Intent)
			}
			if job.Copy.Class == archive.Instant && !completed[job.ID] {
				t.Errorf("%s: nobody says that the archive can be read", c.name)
			}
			// S3 does not tell the tier of a copy that a dead worker requested: it is billed as
			// the dearest.
			if want := cost.Public().In("us-east-1").Of(at.Class, job.Tier, 1, job.ArchiveSize); job.Billed != want || job.BilledTier != job.Tier {
				t.Errorf("%s: billed %s of %q, want %s of %q", c.name, job.Billed, job.BilledTier, want, job.Tier)
			}
			continue
		}
		all := have[string(job.ArchiveID)]
		if len(all) != 1 || string(job.RetrievalID) != all[0].id || string(job.Tier) != all[0].tier || job.Intent != nil {
			t.Errorf("%s: Glacier has %+v, the catalog %s %s and intent %v", c.name, all, job.RetrievalID, job.Tier, job.Intent)
		}
		if want := cost.Public().In("us-east-1").Of(job.Copy.Class, job.Tier, 1, job.ArchiveSize); job.Billed != want || job.BilledTier != job.Tier {
			t.Errorf("%s: billed %s of %s, want %s of %s", c.name, job.Billed, job.BilledTier, want, job.Tier)
		}
	}
	w.done = nil
}

// user makes a user with archives, and the event of the upgrade.
func (w *crashFixture) user(t *testing.T, archives int) (events.UserUpgraded, []events.JobID) {
	t.Helper()
	w.made++
	id := events.UserID(fmt.Sprintf("user-%05d", w.made))
	w.Account(id, archive.Premium)
	var jobs []events.JobID
	for i := range archives {
		// A plan does not look into the vault.
		job := archive.Job{ID: events.JobID(fmt.Sprintf("%s-%d", id, i)), UserID: id, SubmittedAt: w.now, Status: "COMPLETED",
			ArchiveID: events.ArchiveID(fmt.Sprint("archive-", i)), ArchiveSize: 6}
		if err := w.Catalog.AddJob(t.Context(), job); err != nil {
			t.Fatal(err)
		}
		jobs = append(jobs, job.ID)
	}
	return events.UserUpgraded{ID: "up-" + string(id), UserID: id, UpgradedAt: upgraded}, jobs
}

func (w *crashFixture) planner(t *testing.T, l *life, budget thaw.Limits) *thaw.Planner {
	return &thaw.Planner{
		Accounts: accountsIn{l, w.Catalog}, Jobs: jobsIn{l, w.Catalog.Paged(2)}, Tasks: tasksIn{l, bus.Tasks{Bus: w.worker}},
		Plans: plansIn{l, w.Catalog}, Budgets: budgetsIn{l, w.Catalog}, Switches: switchesIn{l, w.Catalog}, KV: kvIn{l, "KV", w.worker.KV(bus.BucketPlans)},
		Limits: budget, Tiers: archive.DefaultTiers(), Prices: cost.Public().In("us-east-1"),
		Now: func() time.Time { return w.now }, Log: quiet,
	}
}

// plan hands the upgrade to a new process, and reports whether it was acked.
func (w *crashFixture) plan(t *testing.T, l *life, e events.UserUpgraded, budget thaw.Limits) (acked bool) {
	t.Helper()
	err := w.planner(t, l, budget).Plan(t.Context(), e, nil)
	if err == nil {
		err = l.Call("ack", func() error { return nil })
	}
	w.now = w.now.Add(time.Minute)
	return err == nil
}

// approve does what `gas thaw USER --approve` does.
func (w *crashFixture) approve(t *testing.T, e events.UserUpgraded, limit archive.MicroUSD) events.UserUpgraded {
	t.Helper()
	if !w.isHeld(t, e.UserID) {
		t.Fatal("not held")
	}
	plan := w.standing(t, e.UserID).ID
	if err := w.Catalog.ResumePlan(t.Context(), e.UserID, plan, limit, w.now); err != nil {
		t.Fatal(err)
	}
	w.made++
	return events.UserUpgraded{ID: fmt.Sprint("approved-", w.made), UserID: e.UserID, UpgradedAt: w.now, Via: events.ViaOperator, Plan: plan}
}

func (w *crashFixture) isHeld(t *testing.T, user events.UserID) bool {
	t.Helper()
	return w.standing(t, user).State == archive.PlanHeld
}

// standing returns the plan on the user's account.
func (w *crashFixture) standing(t *testing.T, user events.UserID) archive.Plan {
	t.Helper()
	a, err := w.Catalog.Account(t.Context(), user)
	if err != nil || a.Plan == nil {
		t.Fatalf("%v, plan %v", err, a.Plan)
	}
	return *a.Plan
}

// freshPlan puts another plan on the user's account, without an approved amount.
func (w *crashFixture) freshPlan(t *testing.T, user events.UserID) {
	t.Helper()
	for _, role := range []archive.Role{archive.Free, archive.Premium} {
		if _, err := w.Catalog.SetRole(t.Context(), user, role, w.now); err != nil {
			t.Fatal(err)
		}
	}
	w.now = w.now.Add(2 * time.Second) // the cached account is too old then
}

// tasksOf counts the tasks of each job in the THAW stream, and then empties the stream.
func (w *crashFixture) tasksOf(t *testing.T, jobs []events.JobID) map[events.JobID]int {
	t.Helper()
	st, err := w.operator.JS.Stream(t.Context(), events.StreamThaw)
	if err != nil {
		t.Fatal(err)
	}
	tasks := map[events.JobID]int{}
	state := st.CachedInfo().State
	for seq := state.FirstSeq; state.Msgs > 0 && seq <= state.LastSeq; seq++ {
		m, err := st.GetMsg(t.Context(), seq)
		if err != nil {
			t.Fatal(err)
		}
		e, err := events.Decode[events.ThawRequested](m.Data)
		if err != nil {
			t.Fatal(err)
		}
		tasks[e.JobID]++
	}
	w.purge(t)
	for job := range tasks {
		found := false
		for _, want := range jobs {
			found = found || want == job
		}
		if !found {
			t.Errorf("a task of job %s, which is not of this plan", job)
		}
	}
	return tasks
}

// purge empties the THAW stream.
func (w *crashFixture) purge(t *testing.T) {
	t.Helper()
	st, err := w.operator.JS.Stream(t.Context(), events.StreamThaw)
	if err == nil {
		err = st.Purge(t.Context())
	}
	if err != nil {
		t.Fatal(err)
	}
}
