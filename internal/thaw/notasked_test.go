package thaw

import (
	"context"
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gas-restore/gas/internal/archive"
	"github.com/gas-restore/gas/internal/cost"
	"github.com/gas-restore/gas/internal/fault"
	"github.com/gas-restore/gas/internal/gate"
	"github.com/gas-restore/gas/pkg/events"
)

// Retrieve notes the call. The archive is requested.
func (l *oneJob) Retrieve(context.Context, archive.Job, archive.Tier) (archive.Retrieval, error) {
	l.calls = append(l.calls, "retrieve")
	return archive.Retrieval{ID: "r", Tier: archive.Standard}, nil
}

// TestAProcessThatStopsWaitsForNoCall stops while each of the places where a task waits is taken.
func TestAProcessThatStopsWaitsForNoCall(t *testing.T) {
	for _, c := range []struct {
		name  string
		pace  func() *Pace
		calls []string
	}{
		{"for the one request while all are denied", func() *Pace {
			return &Pace{shared: SharedPace{RefusedSince: time.Now().Add(-time.Hour)}, probe: make(chan struct{})}
		}, nil},
		{"for its turn", func() *Pace { return &Pace{next: time.Now().Add(time.Hour)} }, nil},
		{"for an earlier call to end", func() *Pace { return &Pace{calls: make(chan struct{})} }, []string{"intent", "drop"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				pace, l := c.pace(), &oneJob{}
				pace.once.Do(func() {}) // its channels have no room
				r := &Requester{Catalog: l, Vault: l, Pace: pace, Now: time.Now, Log: silent, Accounts: premium{}, Tiers: archive.DefaultTiers()}
				r.init()
				ctx, stop := context.WithTimeout(t.Context(), time.Minute)
				defer stop()
				if err := r.ask(ctx, silent, events.ThawRequested{}, archive.Job{ID: "j", UserID: "u", ArchiveID: "a"}, nil); !errors.Is(err, context.DeadlineExceeded) {
					t.Errorf("got %v", err)
				}
				if !slices.Equal(l.calls, c.calls) {
					t.Errorf("called: %v, want %v", l.calls, c.calls)
				}
			})
		})
	}
}

// premium has a plan for each user.
type premium struct{}

func (premium) Account(_ context.Context, id events.UserID) (archive.Account, error) {
	return archive.Account{ID: id, Role: archive.Premium, Plan: &archive.Plan{ID: "p", State: archive.PlanOpen}}, nil
}

func TestATaskThatTheGateStopsEndsAsTheGateSays(t *testing.T) {
	intent := &archive.Intent{Token: "t"}
	for _, c := range []struct {
		name   string
		answer gate.Answer
		intent *archive.Intent
		kind   fault.Kind // 0: the task is done
		after  time.Duration
		calls  []string
	}{
		{name: "nobody pays", answer: gate.Answer{Action: gate.Drop}},
		{name: "nobody pays, and an intent stands", answer: gate.Answer{Action: gate.Drop}, intent: intent, calls: []string{"drop"}},
		{name: "later", answer: gate.Answer{Action: gate.Later, After: time.Minute, Why: "an operator stopped it"}, intent: intent, kind: fault.Wait, after: time.Minute},
		{name: "an operator decides", answer: gate.Answer{Action: gate.Operator, Cause: "tries used up", Why: "five tries"}, intent: intent, kind: fault.Invalid},
	} {
		l := &oneJob{}
		err := (&Requester{Catalog: l}).notAsked(t.Context(), silent, archive.Job{ID: "j", Intent: c.intent}, c.answer)
		if c.kind == fault.Unknown && err != nil || c.kind != fault.Unknown && (!fault.Is(err, c.kind) || fault.DelayOf(err) != c.after) {
			t.Errorf("%s: got %v after %s, want %s after %s", c.name, err, fault.DelayOf(err), c.kind, c.after)
		}
		if !slices.Equal(l.calls, c.calls) {
			t.Errorf("%s: called %v, want %v", c.name, l.calls, c.calls)
		}
	}
}

// TestAnOldIntentIsRenewedBeforeACall has an intent of each age. It lives for three calls of
// twenty seconds, and a call needs two of them.
func TestAnOldIntentIsRenewedBeforeACall(t *testing.T) {
	lost := fault.Errorf(fault.Conflict, "another intent")
	for _, c := range []struct {
		age     time.Duration
		intents []error
		calls   []string
	}{
		{age: 20 * time.Second, calls: []string{"retrieve"}},
		{age: 20*time.Second + 1, calls: []string{"intent", "retrieve"}},
		{age: time.Hour, intents: []error{lost}, calls: []string{"intent"}},
	} {
		l := &oneJob{intents: c.intents}
		now := time.Unix(1_790_000_000, 0)
		r := &Requester{Catalog: l, Vault: l, Now: func() time.Time { return now }}
		r.init()
		job := archive.Job{ID: "j", Intent: &archive.Intent{Token: "old", At: now.Add(-c.age), Plan: "p"}}
		got, called, err := r.call(t.Context(), &job, archive.Standard)
		if c.intents != nil {
			if called || !fault.Is(err, fault.Wait) || !errors.Is(err, lost) || job.Intent.Token != "old" {
				t.Errorf("the new intent is refused: called %t, %v, intent %+v", called, err, job.Intent)
			}
		} else if !called || err != nil || got.ID != "r" || (job.Intent.Token == "old") != (len(c.calls) == 1) || job.Intent.Plan != "p" {
			t.Errorf("an intent of %s: called %t, %v, intent %+v", c.age, called, err, job.Intent)
		}
		if !slices.Equal(l.calls, c.calls) {
			t.Errorf("an intent of %s: %v, want %v", c.age, l.calls, c.calls)
		}
	}
}

func TestWhatSomebodyElseRequestedIsNotCounted(t *testing.T) {
	now := time.Unix(1_790_000_000, 0)
	r := &Requester{Now: func() time.Time { return now }, Pace: &Pace{shared: SharedPace{Slowness: 1}}, Prices: cost.Public().In("us-east-1")}
	job := archive.Job{ID: "j", ArchiveID: "a", ArchiveSize: 1 << 30}
	found := r.taken(t.Context(), silent, job, archive.Retrieval{Found: true, Tier: archive.Standard})
	if slow := r.Pace.Shared().Slowness; found.Cost != 0 || !found.RequestedAt.Equal(now) || slow != 1 {
		t.Errorf("found: %+v, and the slowness is %v", found, slow)
	}
	took := r.taken(t.Context(), silent, job, archive.Retrieval{Tier: archive.Standard})
	if slow := r.Pace.Shared().Slowness; took.Cost == 0 || !took.RequestedAt.Equal(now) || slow != 0.9 {
		t.Errorf("requested: %+v, and the slowness is %v", took, slow)
	}
}

func TestWhoeverCountsRequestsHearsOfEachAndOfItsTier(t *testing.T) {
	for _, c := range []struct {
		order archive.Tiers
		found bool
		want  []bool // whether it was a fallback
	}{{archive.DefaultTiers(), false, []bool{true}}, {archive.Tiers{archive.Standard, archive.Bulk}, false, []bool{false}}, {archive.DefaultTiers(), true, nil}} {
		var heard []bool
		l := &oneJob{}
		r := &Requester{Catalog: l, Vault: foundVault{l, c.found}, Now: time.Now, Log: silent, Accounts: premium{}, Tiers: c.order, Prices: cost.Public().In("us-east-1"),
			OnRequested: func(r archive.Retrieval, fallback bool) { heard = append(heard, fallback) }}
		r.init()
		err := r.ask(t.Context(), silent, events.ThawRequested{}, archive.Job{ID: "j", UserID: "u", ArchiveID: "a", ArchiveSize: 1}, func(context.Context, events.Event) error { return nil })
		if err != nil || !slices.Equal(heard, c.want) {
			t.Errorf("%v, found %t: %v, heard %v; want %v", c.order, c.found, err, heard, c.want)
		}
	}
}

// foundVault has each archive on its way already, if found is set.
type foundVault struct {
	*oneJob
	found bool
}

func (v foundVault) Retrieve(ctx context.Context, job archive.Job, tier archive.Tier) (archive.Retrieval, error) {
	r, err := v.oneJob.Retrieve(ctx, job, tier)
	r.Found = v.found
	return r, err
}

// holder answers each hold of a plan.
type holder struct {
	Plans
	err error
}

func (h holder) HoldPlan(context.Context, events.UserID, string, string, time.Time) error {
	return h.err
}

func TestADenialEndsTheTaskUnlessThePlanIsHeld(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		denied := fault.Errorf(fault.Denied, "no vaults for this account")
		account, _ := premium{}.Account(t.Context(), "u")
		for err, want := range map[error]error{nil: nil, fault.Errorf(fault.Conflict, "another plan"): nil, fault.Errorf(fault.Transient, "no answer"): denied} {
			r := &Requester{Now: time.Now, Pace: &Pace{shared: SharedPace{RefusedSince: time.Now().Add(-time.Hour)}}, Plans: holder{err: err}}
			if got := r.heldIfDenied(t.Context(), silent, archive.Job{}, account, denied); !errors.Is(got, want) {
				t.Errorf("the hold answers %v: the task ends with %v, want %v", err, got, want)
			}
		}
		r := &Requester{Now: time.Now, Pace: &Pace{}}
		if got := r.heldIfDenied(t.Context(), silent, archive.Job{}, archive.Account{ID: "u"}, denied); !errors.Is(got, denied) {
			t.Errorf("without a plan: %v", got)
		}
	})
}

func TestWhatCannotBeReadIsNotUsed(t *testing.T) {
	if _, err := DecodeProgress([]byte("x")); err == nil {
		t.Error("x is progress")
	}
	if s, err := DecodeSharedPace([]byte("x")); err == nil || s != nil {
		t.Errorf("x is the pace %+v", s)
	}
	if s, err := DecodeSharedPace([]byte(`{"slowness":2}`)); err != nil || s.Slowness != 2 {
		t.Errorf("got %+v, %v", s, err)
	}
}

func TestAPartThatIsNotSetUpIsLeftOut(t *testing.T) {
	if got := planID(archive.Account{}); got != "" {
		t.Errorf("without a plan its id is %q", got)
	}
	if err := (&Requester{}).complete(t.Context(), events.ThawRequested{}, archive.Job{}, archive.Retrieval{}); err != nil {
		t.Errorf("nobody wants completions: %v", err)
	}
	if err := (&Faster{}).giveBack(t.Context(), archive.Spending{}); err != nil {
		t.Errorf("no budgets: %v", err)
	}
}

func TestAPlanThatIsOverHasAReason(t *testing.T) {
	for _, c := range []struct {
		planned, thawing int64
		want             Outcome
	}{{0, 0, NothingArchived}, {0, 1, Thawing}, {1, 1, HalfThawed}, {2, 1, HalfThawed}, {1, 0, Planned}} {
		p := Progress{Planned: c.planned, Thawing: c.thawing, Cursor: "c"}
		if p.finish(); p.Outcome != c.want || p.Reason == "" || p.Cursor != "" {
			t.Errorf("%d planned, %d under way: %+v, want %s", c.planned, c.thawing, p, c.want)
		}
	}
}
