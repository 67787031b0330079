package thaw_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"go.uber.org/goleak"

	"github.com/gas-restore/gas/internal/archive"
	"github.com/gas-restore/gas/internal/aws/glacier"
	"github.com/gas-restore/gas/internal/cost"
	"github.com/gas-restore/gas/internal/fault"
	localaws "github.com/gas-restore/gas/internal/local/aws"
	"github.com/gas-restore/gas/internal/test/testenv"
	"github.com/gas-restore/gas/internal/thaw"
	"github.com/gas-restore/gas/pkg/events"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const topic = "arn:aws:sns:us-east-1:000000000000:gas-restore"

var upgraded = time.Date(2026, 11, 23, 10, 0, 0, 0, time.UTC)

// fixture is a requester over a stand-in, with a clock of its own.
type fixture struct {
	*testenv.AWS
	*thaw.Requester
	now time.Time
}

func newFixture(t *testing.T) *fixture {
	a := testenv.NewAWS(t)
	b := &fixture{AWS: a, now: time.Now()}
	b.Requester = &thaw.Requester{
		Accounts: a.Catalog, Catalog: a.Catalog, Plans: a.Catalog, Budgets: a.Catalog,
		Vault:  glacier.New(a.Config, testenv.VaultID, topic),
		Tiers:  archive.DefaultTiers(),
		Now:    func() time.Time { return b.now },
		Log:    testenv.Log(t),
		Prices: cost.Public().In("us-east-1"), AssumedSize: 1 << 30,
	}
	return b
}

func testJob(i int) events.JobID { return events.JobID(fmt.Sprint("job-", i)) }

func newVault(a *testenv.AWS, name string) thaw.Vault { return glacier.New(a.Config, name, topic) }

func (b *fixture) task(job archive.Job) events.ThawRequested {
	return events.ThawRequested{ID: "up", JobID: job.ID, UserID: job.UserID, ArchiveID: job.ArchiveID, UpgradedAt: upgraded}
}

func (b *fixture) retrievals(t *testing.T) []archive.Retrieval {
	t.Helper()
	var all []archive.Retrieval
	for r, err := range glacier.New(b.Config, testenv.VaultID, topic).Retrievals(t.Context(), nil, nil) {
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, r)
	}
	return all
}

// deliver hands the task to the requester until the task is done, as the bus would. It moves
// the clock past every wait.
func (b *fixture) deliver(t *testing.T, e events.ThawRequested, out *testenv.Emitted) {
	t.Helper()
	for range 20 {
		err := b.Request(t.Context(), e, out.Emit)
		if err == nil {
			return
		}
		if kind := fault.KindOf(err); kind == fault.Invalid {
			t.Fatalf("given up: %v", err)
		}
		b.now = b.now.Add(2 * time.Minute)
	}
	t.Fatal("not done after 20 deliveries")
}

func TestAnArchiveIsRequestedExpeditedAndItsRetrievalIsInTheCatalog(t *testing.T) {
	b := newFixture(t)
	b.Account("u", archive.Premium)
	job := b.Archive("u", "j1", []byte("result"))
	b.ResetCounts()
	var out testenv.Emitted
	if err := b.Request(t.Context(), b.task(job), out.Emit); err != nil {
		t.Fatal(err)
	}
	now, all := b.Job("j1"), b.retrievals(t)
	if len(all) != 1 || all[0].Tier != archive.Expedited || all[0].Description != "j1" || all[0].ArchiveID != job.ArchiveID {
		t.Errorf("retrievals: %+v", all)
	}
	if now.RetrievalID != all[0].ID || now.Tier != archive.Expedited || now.Intent != nil || now.RetrievalRequestedAt.IsZero() {
		t.Errorf("catalog: %+v", now)
	}
	if got := out.States(); len(got) != 1 || got[0] != "requested" {
		t.Errorf("told: %v", got)
	}
	counts := b.Counts()
	// The account is read once for all tasks of a user.
	if counts["dynamodb.GetItem"] > 3 || counts["dynamodb.UpdateItem"] != 2 || counts["glacier.InitiateJob"] != 1 {
		t.Errorf("calls: %v", counts)
	}
}

// TestATaskOfAFileThatIsBackTellsSo has a second plan that read an index that was behind: it
// told "planned" after the file was restored.
func TestATaskOfAFileThatIsBackTellsSo(t *testing.T) {
	b := newFixture(t)
	b.Account("u", archive.Premium)
	job := b.Archive("u", "j1", []byte("result"))
	var out testenv.Emitted
	b.deliver(t, b.task(job), &out)
	if err := b.AWS.Catalog.ClearArchive(t.Context(), b.Job("j1")); err != nil {
		t.Fatal(err)
	}
	late := b.task(job)
	late.ID = "another"
	b.deliver(t, late, &out)
	if got := out.States(); !slices.Equal(got, []string{"requested", "restored"}) {
		t.Errorf("told: %v", got)
	}
	if e := out.All()[1].(events.StatusChanged); e.Size != int64(len("result")) || e.Step != "another" || e.UserID != "u" {
		t.Errorf("told: %+v", e)
	}
}

func TestAYoungIntentOfAnotherWorkerIsWaitedFor(t *testing.T) {
	b := newFixture(t)
	b.Account("u", archive.Premium)
	job := b.Archive("u", "j1", []byte("result"))
	if err := b.AWS.Catalog.SaveIntent(t.Context(), job, archive.Intent{Token: "other", At: b.now.Add(-10 * time.Second)}); err != nil {
		t.Fatal(err)
	}
	var out testenv.Emitted
	err := b.Request(t.Context(), b.task(job), out.Emit)
	// The age of the intent on the other worker's clock does not matter.
	if !fault.Is(err, fault.Wait) || fault.DelayOf(err).Round(time.Second) != time.Minute {
		t.Errorf("got %v, delay %s; want a wait of a minute", err, fault.DelayOf(err))
	}
	b.now = b.now.Add(59 * time.Second)
	if err := b.Request(t.Context(), b.task(job), out.Emit); !fault.Is(err, fault.Wait) {
		t.Errorf("got %v after 59 seconds, want a wait", err)
	}
	if n := len(b.retrievals(t)); n != 0 {
		t.Errorf("%d retrievals", n)
	}
}

func TestTwoWorkersOnOneTaskMakeOneRetrieval(t *testing.T) {
	b := newFixture(t)
	b.Account("u", archive.Premium)
	job := b.Archive("u", "j1", []byte("result"))
	var out testenv.Emitted
	errs := make(chan error, 8)
	for range cap(errs) {
		go func() { errs <- b.Request(context.Background(), b.task(job), out.Emit) }()
	}
	for range cap(errs) {
		if err := <-errs; err != nil && !fault.Is(err, fault.Wait) {
			t.Error(err)
		}
	}
	if n := len(b.retrievals(t)); n != 1 {
		t.Errorf("%d retrievals, want 1", n)
	}
}

func TestADowngradeStopsATaskThatWaitsForItsTurn(t *testing.T) {
	b := newFixture(t)
	b.Account("u", archive.Premium)
	e := b.task(b.Archive("u", "j1", []byte("result")))
	asked := false
	b.Requester.Pace = &thaw.Pace{Now: func() time.Time {
		if !asked {
			asked = true
			b.now = b.now.Add(time.Second)
			if _, err := b.AWS.Catalog.SetRole(t.Context(), "u", archive.Free, upgraded.Add(time.Minute)); err != nil {
				t.Error(err)
			}
		}
		return b.now
	}}
	var out testenv.Emitted
	if err := b.Request(t.Context(), e, out.Emit); err != nil {
		t.Fatal(err)
	}
	if n := len(b.retrievals(t)); !asked || n != 0 {
		t.Errorf("%d retrievals, want none; the pace was asked: %t", n, asked)
	}
	if j := b.Job("j1"); j.Intent != nil || j.RetrievalID != "" {
		t.Errorf("left behind: %+v", j)
	}
}

// A user who leaves Premium and comes back within a second gets the files. The worker's cached
// account is older than the new plan, and must not drop the tasks of that plan.
func TestATaskOfANewPlanIsNotDroppedByWhatWasKnownBefore(t *testing.T) {
	b := newFixture(t)
	b.Account("u", archive.Free)
	first, second := b.Archive("u", "j1", []byte("result")), b.Archive("u", "j2", []byte("result"))
	var out testenv.Emitted
	if err := b.Request(t.Context(), b.task(first), out.Emit); err != nil || len(b.retrievals(t)) != 0 {
		t.Fatalf("%v, %d retrievals for a Free user", err, len(b.retrievals(t)))
	}
	if _, err := b.AWS.Catalog.SetRole(t.Context(), "u", archive.Premium, b.now); err != nil {
		t.Fatal(err)
	}
	if err := b.Request(t.Context(), b.task(second), out.Emit); err != nil || len(b.retrievals(t)) != 1 {
		t.Errorf("%v, %d retrievals of the new plan's archive, want 1", err, len(b.retrievals(t)))
	}
}

func TestEachTaskThatIsNotToBeRequestedSaysWhy(t *testing.T) {
	for _, c := range []struct {
		name    string
		prepare func(*testing.T, *fixture, *events.ThawRequested)
		kind    fault.Kind // of the error; Unknown for none
		says    string
	}{
		{"unknown job", func(_ *testing.T, _ *fixture, e *events.ThawRequested) { e.JobID = "nobody" }, fault.Invalid, `unknown job "nobody"`},
		{"the archive of an earlier life", func(_ *testing.T, _ *fixture, e *events.ThawRequested) { e.ArchiveID = "other" }, fault.Unknown, ""},
		{"another user's job", func(_ *testing.T, _ *fixture, e *events.ThawRequested) { e.UserID = "mallow" }, fault.Invalid, "is not user"},
		{"a bill that is kept as text", func(t *testing.T, b *fixture, _ *events.ThawRequested) {
			b.SetAttribute("j1", "billed_micro_usd", &types.AttributeValueMemberS{Value: "30000"})
		}, fault.Invalid, `the catalog's job "j1" cannot be worked with: billed_micro_usd is a string, not a number`},
		{"downgraded meanwhile", func(t *testing.T, b *fixture, _ *events.ThawRequested) {
			if _, err := b.AWS.Catalog.SetRole(t.Context(), "u", archive.Free, upgraded.Add(time.Minute)); err != nil {
				t.Fatal(err)
			}
		}, fault.Unknown, ""},
		{"restored already", func(t *testing.T, b *fixture, _ *events.ThawRequested) {
			b.RemoveAttribute("j1", "archive_id")
		}, fault.Unknown, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := newFixture(t)
			b.Account("u", archive.Premium)
			e := b.task(b.Archive("u", "j1", []byte("result")))
			c.prepare(t, b, &e)
			var out testenv.Emitted
			err := b.Request(t.Context(), e, out.Emit)
			if (err != nil) != (c.says != "") || fault.KindOf(err) != c.kind || err != nil && !strings.Contains(err.Error(), c.says) {
				t.Errorf("got %v of kind %s", err, fault.KindOf(err))
			}
			if n := len(b.retrievals(t)); n != 0 {
				t.Errorf("%d retrievals", n)
			}
		})
	}
}

// pausedVault lets another worker in between the check and the call.
type pausedVault struct {
	thaw.Vault
	before func()
}

func (v *pausedVault) Retrieve(ctx context.Context, job archive.Job, tier archive.Tier) (archive.Retrieval, error) {
	if v.before != nil {
		v.before()
	}
	return v.Vault.Retrieve(ctx, job, tier)
}

// TestAWorkerThatWasPausedIsFoundOutAndCounted is the race that Glacier leaves open. A worker
// pauses between its check and its call. The pause is so long that another worker takes the
// intent over.
func TestAWorkerThatWasPausedIsFoundOutAndCounted(t *testing.T) {
	// when says how far the other worker is when the paused worker continues.
	for _, when := range []string{"the other is done", "the other is about to call"} {
		t.Run(when, func(t *testing.T) {
			b := newFixture(t)
			b.Account("u", archive.Premium)
			job := b.Archive("u", "j1", []byte("result"))
			duplicates := 0
			count := func(n int) { duplicates += n }
			b.OnDuplicates = count
			other := newFixture(t)
			other.AWS, other.Accounts, other.Requester.Catalog, other.OnDuplicates = b.AWS, b.AWS.Catalog, b.AWS.Catalog, count
			var out testenv.Emitted
			plain := newVault(b.AWS, testenv.VaultID)
			resume, paused, done := make(chan struct{}), make(chan struct{}), make(chan error, 1)
			b.Vault = &pausedVault{Vault: plain, before: func() { close(paused); <-resume }}
			other.Vault = plain
			if when == "the other is about to call" {
				other.Vault = &pausedVault{Vault: plain, before: func() { close(resume); done <- <-done }}
			}
			go func() { done <- b.Request(context.Background(), b.task(job), out.Emit) }()
			<-paused
			// The other worker sees the intent. At the second delivery, the intent is older than
			// its lifetime.
			if err := other.Request(t.Context(), other.task(job), out.Emit); !fault.Is(err, fault.Wait) {
				t.Errorf("got %v at the first sight of the intent, want a wait", err)
			}
			other.now = other.now.Add(5 * time.Minute)
			err := other.Request(t.Context(), other.task(job), out.Emit)
			if when == "the other is done" {
				close(resume)
			}
			if perr := <-done; perr != nil && !fault.Is(perr, fault.Wait) {
				t.Error(perr)
			}
			if err != nil && !fault.Is(err, fault.Wait) {
				t.Error(err)
			}
			b.Vault, b.now = plain, b.now.Add(time.Hour)
			b.deliver(t, b.task(job), &out)
			now := b.Job("j1")
			if len(b.retrievals(t)) != 2 || duplicates != 1 || now.RetrievalID == "" || now.Intent != nil {
				t.Errorf("%d retrievals, %d duplicates counted, catalog %+v", len(b.retrievals(t)), duplicates, now)
			}
		})
	}
}

func TestOfSeveralRetrievalsTheSoonestIsAdoptedAndTheOthersCounted(t *testing.T) {
	b := newFixture(t)
	b.Account("u", archive.Premium)
	job := b.Archive("u", "j1", []byte("result"))
	vault := newVault(b.AWS, testenv.VaultID)
	for range 2 {
		if _, err := vault.Retrieve(t.Context(), job, archive.Standard); err != nil {
			t.Fatal(err)
		}
	}
	if err := b.AWS.Catalog.SaveIntent(t.Context(), job, archive.Intent{Token: "gone", At: b.now.Add(-time.Hour)}); err != nil {
		t.Fatal(err)
	}
	duplicates, adopted := 0, 0
	b.OnDuplicates, b.OnAdopted = func(n int) { duplicates += n }, func(archive.Retrieval) { adopted++ }
	var out testenv.Emitted
	b.deliver(t, b.task(job), &out)
	if len(b.retrievals(t)) != 2 || duplicates != 1 || adopted != 1 || b.Job("j1").RetrievalID == "" {
		t.Errorf("%d retrievals, %d duplicates, %d adopted", len(b.retrievals(t)), duplicates, adopted)
	}
}

// slowVault calls spend before each request: the clock moves on.
type slowVault struct {
	thaw.Vault
	spend func()
}

func (v slowVault) Retrieve(ctx context.Context, job archive.Job, tier archive.Tier) (archive.Retrieval, error) {
	v.spend()
	return v.Vault.Retrieve(ctx, job, tier)
}

// An intent lives as long as the calls in three tiers take, with one call time each.
func TestAnIntentIsRenewedBeforeACallThatWouldOutliveIt(t *testing.T) {
	b := newFixture(t)
	b.Tiers = archive.Tiers{exp, std, bulk}
	b.Account("u", archive.Premium)
	job := b.Archive("u", "j1", []byte("result"))
	if err := b.Faults.Add(localaws.Fault{Service: "glacier", Operation: "InitiateJob", Times: 2, Code: "InsufficientCapacityException", Status: 503}); err != nil {
		t.Fatal(err)
	}
	var ages []time.Duration
	b.Vault = slowVault{newVault(b.AWS, testenv.VaultID), func() {
		ages = append(ages, b.now.Sub(b.Job("j1").Intent.At).Round(time.Second))
		b.now = b.now.Add(19 * time.Second)
	}}
	var out testenv.Emitted
	if err := b.Request(t.Context(), b.task(job), out.Emit); err != nil {
		t.Fatal(err)
	}
	for _, age := range ages {
		if age > 20*time.Second {
			t.Errorf("a call began when its intent was %s old: ages %v", age, ages)
		}
	}
	if len(ages) != 3 || b.Job("j1").Tier != bulk {
		t.Errorf("%d calls, %s", len(ages), b.Job("j1").Tier)
	}
}

func TestOnePassOverTheListServesAllWhoLookAtOnce(t *testing.T) {
	b := newFixture(t)
	b.Account("u", archive.Premium)
	const n = 30
	var jobs []archive.Job
	for i := range n {
		job := b.Archive("u", testJob(i), []byte("result"))
		if _, err := b.Vault.Retrieve(t.Context(), job, archive.Standard); err != nil {
			t.Fatal(err)
		}
		if err := b.AWS.Catalog.SaveIntent(t.Context(), job, archive.Intent{Token: "gone", At: b.now.Add(-time.Hour)}); err != nil {
			t.Fatal(err)
		}
		jobs = append(jobs, job)
	}
	b.SetLatency(20 * time.Millisecond)
	b.ResetCounts()
	var out testenv.Emitted
	errs := make(chan error, n)
	for _, sight := range []fault.Kind{fault.Wait, fault.Unknown} { // the first sight, and the second, when the intents are old
		for _, job := range jobs {
			go func() { errs <- b.Request(context.Background(), b.task(job), out.Emit) }()
		}
		for range n {
			if err := <-errs; fault.KindOf(err) != sight {
				t.Error(err)
			}
		}
		b.now = b.now.Add(2 * time.Minute)
	}
	b.SetLatency(0)
	if c := b.Counts(); c["glacier.ListJobs"] > 6 || c["glacier.InitiateJob"] != 0 {
		t.Errorf("%d looked with %d calls of ListJobs and %d of InitiateJob", n, c["glacier.ListJobs"], c["glacier.InitiateJob"])
	}
}

func TestATaskOfAPlanThatWasOpenedJustNowIsNotDropped(t *testing.T) {
	b := newFixture(t)
	b.Account("u", archive.Free)
	early, late := b.Archive("u", testJob(1), []byte("1")), b.Archive("u", testJob(2), []byte("2"))
	var out testenv.Emitted
	if err := b.Request(t.Context(), b.task(early), out.Emit); err != nil {
		t.Fatal(err)
	}
	b.OpenPlan("u")
	if err := b.Request(t.Context(), b.task(late), out.Emit); err != nil {
		t.Fatal(err)
	}
	if one, other := b.Job(early.ID).RetrievalID, b.Job(late.ID).RetrievalID; one != "" || other == "" {
		t.Errorf("retrievals %q without a plan and %q with one, want none and one", one, other)
	}
}
