package thaw_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"go.uber.org/goleak"

	"github.com/gas-restore/gas/internal/archive"
	"github.com/gas-restore/gas/internal/aws/glacier"
	"github.com/gas-restore/gas/internal/cost"
	"github.com/gas-restore/gas/internal/fault"
	"github.com/gas-restore/gas/internal/localaws"
	"github.com/gas-restore/gas/internal/testenv"
	"github.com/gas-restore/gas/internal/thaw"
	"github.com/gas-restore/gas/pkg/events"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const topic = "arn:aws:sns:us-east-1:000000000000:gas-restore"

var upgraded = time.Date(2026, 11, 23, 10, 0, 0, 0, time.UTC)

// bench is a requester over a stand-in, with a clock of its own.
type bench struct {
	*testenv.AWS
	*thaw.Requester
	now time.Time
}

func newBench(t *testing.T) *bench {
	a := testenv.NewAWS(t)
	b := &bench{AWS: a, now: time.Now()}
	b.Requester = &thaw.Requester{
		Accounts: a.Catalog, Catalog: a.Catalog,
		Vault:  glacier.New(a.Config, testenv.VaultID, topic),
		Tiers:  archive.DefaultTiers(),
		Now:    func() time.Time { return b.now },
		Log:    testenv.Log(t),
		Prices: cost.Public().In("us-east-1"), AssumedSize: 1 << 30,
	}
	return b
}

func (b *bench) task(job archive.Job) events.ThawRequested {
	return events.ThawRequested{ID: "up", JobID: job.ID, UserID: job.UserID, ArchiveID: job.ArchiveID, UpgradedAt: upgraded}
}

func (b *bench) retrievals(t *testing.T) []archive.Retrieval {
	t.Helper()
	var all []archive.Retrieval
	for r, err := range glacier.New(b.Config, testenv.VaultID, topic).Retrievals(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, r)
	}
	return all
}

// deliver hands the task to the requester until it is done, as the bus would,
// with the clock moved past every wait.
func (b *bench) deliver(t *testing.T, e events.ThawRequested, out *testenv.Emitted) {
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
	b := newBench(t)
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

func TestStandardIsTriedWhenExpeditedHasNoCapacityAndOnlyThen(t *testing.T) {
	for _, c := range []struct {
		code   string
		status int
		kind   fault.Kind
		tiers  []archive.Tier // requested in the end
		calls  int64
	}{
		{"InsufficientCapacityException", 503, fault.Unknown, []archive.Tier{archive.Standard}, 2},
		{"ThrottlingException", 400, fault.Throttled, nil, 1},
		{"LimitExceededException", 400, fault.Throttled, nil, 1},
		{"PolicyEnforcedException", 400, fault.Policy, nil, 1},
		{"ServiceUnavailableException", 500, fault.Transient, nil, 1},
		{"RequestTimeoutException", 408, fault.Transient, nil, 1},
		{"AccessDeniedException", 403, fault.Denied, nil, 1},
		{"ResourceNotFoundException", 404, fault.Invalid, nil, 1},
		{"InvalidParameterValueException", 400, fault.Denied, nil, 1},
	} {
		t.Run(c.code, func(t *testing.T) {
			b := newBench(t)
			b.Account("u", archive.Premium)
			job := b.Archive("u", "j1", []byte("result"))
			if err := b.Faults.Add(localaws.Fault{Service: "glacier", Operation: "InitiateJob", Times: 1, Code: c.code, Status: c.status}); err != nil {
				t.Fatal(err)
			}
			var out testenv.Emitted
			err := b.Request(t.Context(), b.task(job), out.Emit)
			if c.tiers == nil && (err == nil || fault.KindOf(err) != c.kind) {
				t.Errorf("got %v of kind %s, want kind %s", err, fault.KindOf(err), c.kind)
			}
			if c.tiers != nil && err != nil {
				t.Error(err)
			}
			if got := b.Counts()["glacier.InitiateJob"]; got != c.calls {
				t.Errorf("InitiateJob was called %d times, want %d: the SDK must not try again by itself", got, c.calls)
			}
			var tiers []archive.Tier
			for _, r := range b.retrievals(t) {
				tiers = append(tiers, r.Tier)
			}
			if fmt.Sprint(tiers) != fmt.Sprint(c.tiers) {
				t.Errorf("requested %v, want %v", tiers, c.tiers)
			}
			if c.tiers != nil {
				s := out.All()[0].(events.StatusChanged)
				if !s.Fallback || s.Tier != "Standard" {
					t.Errorf("told %+v", s)
				}
			}
		})
	}
}

func TestAYoungIntentOfAnotherWorkerIsWaitedFor(t *testing.T) {
	b := newBench(t)
	b.Account("u", archive.Premium)
	job := b.Archive("u", "j1", []byte("result"))
	if err := b.AWS.Catalog.SaveIntent(t.Context(), job, archive.Intent{Token: "other", At: b.now.Add(-10 * time.Second)}); err != nil {
		t.Fatal(err)
	}
	var out testenv.Emitted
	err := b.Request(t.Context(), b.task(job), out.Emit)
	if !fault.Is(err, fault.Wait) || fault.DelayOf(err).Round(time.Second) != 50*time.Second {
		t.Errorf("got %v, delay %s; want a wait of 50s", err, fault.DelayOf(err))
	}
	if n := len(b.retrievals(t)); n != 0 {
		t.Errorf("%d retrievals", n)
	}
}

func TestTwoWorkersOnOneTaskMakeOneRetrieval(t *testing.T) {
	b := newBench(t)
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

func TestEachTaskThatIsNotToBeRequestedSaysWhy(t *testing.T) {
	for _, c := range []struct {
		name    string
		prepare func(*testing.T, *bench, *events.ThawRequested)
		kind    fault.Kind // of the error; Unknown for none
		says    string
	}{
		{"unknown job", func(_ *testing.T, _ *bench, e *events.ThawRequested) { e.JobID = "nobody" }, fault.Invalid, `unknown job "nobody"`},
		{"wrong archive id", func(_ *testing.T, _ *bench, e *events.ThawRequested) { e.ArchiveID = "other" }, fault.Invalid, "wrong archive id"},
		{"another user's job", func(_ *testing.T, _ *bench, e *events.ThawRequested) { e.UserID = "mallow" }, fault.Invalid, "is not user"},
		{"downgraded meanwhile", func(t *testing.T, b *bench, _ *events.ThawRequested) {
			if _, err := b.AWS.Catalog.SetRole(t.Context(), "u", archive.Free, upgraded.Add(time.Minute)); err != nil {
				t.Fatal(err)
			}
		}, fault.Unknown, ""},
		{"restored already", func(t *testing.T, b *bench, _ *events.ThawRequested) {
			if _, err := dynamodb.NewFromConfig(b.Config).UpdateItem(t.Context(), &dynamodb.UpdateItemInput{
				TableName: aws.String(testenv.Jobs), Key: map[string]types.AttributeValue{"job_id": &types.AttributeValueMemberS{Value: "j1"}},
				UpdateExpression: aws.String("REMOVE archive_id"),
			}); err != nil {
				t.Fatal(err)
			}
		}, fault.Unknown, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := newBench(t)
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
