package thaw_test

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/gas-restore/gas/internal/archive"
	"github.com/gas-restore/gas/internal/fault"
	"github.com/gas-restore/gas/internal/test/testenv"
	"github.com/gas-restore/gas/internal/test/testlog"
	"github.com/gas-restore/gas/internal/thaw"
	"github.com/gas-restore/gas/pkg/events"
)

// answers is a vault that answers requests with errors, one after the other, and then takes
// them.
type answers struct {
	thaw.Vault
	errs  []error
	tiers []archive.Tier // of the requests
}

func (v *answers) Retrieve(ctx context.Context, job archive.Job, tier archive.Tier) (archive.Retrieval, error) {
	v.tiers = append(v.tiers, tier)
	if len(v.errs) > 0 {
		err := v.errs[0]
		v.errs = v.errs[1:]
		return archive.Retrieval{}, err
	}
	return v.Vault.Retrieve(ctx, job, tier)
}

// TestEachAnswerOfGlacierHasItsConsequences looks at all that an answer changes: the pace, the
// intent, the budgets and the task.
func TestEachAnswerOfGlacierHasItsConsequences(t *testing.T) {
	refuse := func(kind fault.Kind) error { return fault.New(kind, errors.New("injected")) }
	for _, c := range []struct {
		name   string
		errs   []error
		kind   fault.Kind // of the task's error; Unknown for none
		says   string
		cause  string
		intent bool // stays
		rests  bool
		slow   bool
		calls  int
		tries  int
		spent  archive.Tier // the price in this tier is entered; empty for nothing
	}{
		{name: "it takes the request", calls: 1, tries: 1, spent: exp},
		{name: "Expedited has no capacity", errs: []error{refuse(fault.Capacity)}, calls: 2, tries: 1, spent: std, rests: true},
		{name: "no tier has capacity", errs: []error{refuse(fault.Capacity), refuse(fault.Capacity)}, kind: fault.Capacity, says: "injected", calls: 2, rests: true},
		{name: "it throttles", errs: []error{refuse(fault.Throttled)}, kind: fault.Throttled, says: "injected", calls: 1, slow: true},
		{name: "there is no such archive", errs: []error{refuse(fault.NotFound)}, kind: fault.Invalid, cause: "archive cannot be retrieved", says: "cannot be retrieved: injected", calls: 1},
		{name: "nobody knows", errs: []error{refuse(fault.Transient)}, kind: fault.Transient, says: "injected", calls: 1, tries: 1, intent: true, spent: exp},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := newFixture(t)
			b.Limits = thaw.Limits{Day: archive.Dollar}
			b.Account("u", archive.Premium)
			body := make([]byte, 1<<20)
			e := b.task(b.Archive("u", "j1", body))
			vault := &answers{Vault: b.Vault, errs: c.errs}
			pace := &thaw.Pace{Now: func() time.Time { return b.now }, Calls: 1}
			b.Vault, b.Requester.Pace = vault, pace
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			var out testenv.Emitted
			err := b.Request(ctx, e, out.Emit)
			if (err == nil) != (c.says == "") || fault.KindOf(err) != c.kind || err != nil && !strings.Contains(err.Error(), c.says) || c.cause != "" && fault.CauseOf(err) != c.cause {
				t.Errorf("got %v of kind %s and cause %q, want %q of kind %s and cause %q", err, fault.KindOf(err), fault.CauseOf(err), c.says, c.kind, c.cause)
			}
			now := b.Job("j1")
			if (now.Intent != nil) != c.intent || now.History.Tries != c.tries || len(vault.tiers) != c.calls {
				t.Errorf("intent %v, %d tries, %d calls; want an intent: %t, %d tries, %d calls", now.Intent, now.History.Tries, len(vault.tiers), c.intent, c.tries, c.calls)
			}
			if got := pace.Resting(exp) > 0; got != c.rests || (pace.Shared().Slowness > 0) != c.slow {
				t.Errorf("Expedited rests: %t, slowness %v; want %t and %t", got, pace.Shared().Slowness, c.rests, c.slow)
			}
			var want archive.MicroUSD
			if c.spent != "" {
				want = b.Prices.Of(archive.Vault, c.spent, 1, int64(len(body)))
			}
			all, ofUser, err := b.AWS.Catalog.Spent(t.Context(), b.now.UTC().Format(time.DateOnly), "u")
			if err != nil || all != want || ofUser != want {
				t.Errorf("%s is entered, %s for the user, %v; want %s", all, ofUser, err, want)
			}
			// The worker's one call at a time is free again.
			leave, err := pace.Enter(ctx)
			if err != nil {
				t.Fatal(err)
			}
			leave()
		})
	}
}

func TestARequestThatGlacierTakesEndsTheDenial(t *testing.T) {
	b := newFixture(t)
	b.Account("u", archive.Premium)
	pace := &thaw.Pace{Now: func() time.Time { return b.now }}
	b.Requester.Pace = pace
	pace.Denied(t.Context())
	b.now = b.now.Add(time.Hour)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var out testenv.Emitted
	// While everything is denied, one request goes at a time: so each has to leave.
	for i := range 2 {
		if err := b.Request(ctx, b.task(b.Archive("u", testJob(i), []byte("result"))), out.Emit); err != nil {
			t.Fatal(err)
		}
		if since := pace.Shared().RefusedSince; !since.IsZero() {
			t.Errorf("request %d was taken, and everything is denied since %s", i+1, since)
		}
		pace.Denied(t.Context())
		b.now = b.now.Add(time.Hour)
	}
}

func TestATierThatRestsForAMomentMoreIsNotAsked(t *testing.T) {
	for _, c := range []struct {
		left time.Duration
		want archive.Tier
	}{{1, std}, {0, exp}} {
		b := newFixture(t)
		b.Account("u", archive.Premium)
		vault := &answers{Vault: b.Vault}
		pace := &thaw.Pace{Now: func() time.Time { return b.now }}
		b.Vault, b.Requester.Pace = vault, pace
		pace.Rest(t.Context())
		b.now = b.now.Add(pace.Resting(exp) - c.left)
		var out testenv.Emitted
		if err := b.Request(t.Context(), b.task(b.Archive("u", "j1", []byte("result"))), out.Emit); err != nil || len(vault.tiers) != 1 || vault.tiers[0] != c.want {
			t.Errorf("%v, asked in %v, want %s when Expedited rests for %s", err, vault.tiers, c.want, c.left)
		}
	}
	// Nothing else may be asked: the task waits as long as the tier rests.
	b := newFixture(t)
	b.Account("u", archive.Premium)
	pace := &thaw.Pace{Now: func() time.Time { return b.now }}
	b.Tiers, b.Requester.Pace = archive.Tiers{exp}, pace
	pace.Rest(t.Context())
	var out testenv.Emitted
	err := b.Request(t.Context(), b.task(b.Archive("u", "j1", []byte("result"))), out.Emit)
	if !fault.Is(err, fault.Capacity) || fault.DelayOf(err) != pace.Resting(exp) || !strings.Contains(err.Error(), "Expedited had no capacity") || b.Job("j1").Intent != nil {
		t.Errorf("got %v after %s, intent %v; want a wait of %s and no intent", err, fault.DelayOf(err), b.Job("j1").Intent, pace.Resting(exp))
	}
}

func TestAStopThatComesWhileATaskWaitsForItsTurnIsObeyed(t *testing.T) {
	for name, reason := range map[string]func(*archive.Switches, archive.Hold){
		"of everything": func(s *archive.Switches, h archive.Hold) { s.All = &h },
		"of the user":   func(s *archive.Switches, h archive.Hold) { s.Users = map[events.UserID]archive.Hold{"u": h} },
	} {
		b := newFixture(t)
		b.Account("u", archive.Premium)
		b.Switches = b.AWS.Catalog
		b.Requester.Pace = b.whileItWaits(func() {
			if _, err := b.AWS.Catalog.ChangeSwitches(context.Background(), func(s *archive.Switches) { reason(s, archive.Hold{Reason: "a check", At: b.now}) }); err != nil {
				t.Error(err)
			}
		})
		var out testenv.Emitted
		err := b.Request(t.Context(), b.task(b.Archive("u", "j1", []byte("result"))), out.Emit)
		if now := b.Job("j1"); !fault.Is(err, fault.Wait) || !strings.Contains(err.Error(), "a check") || len(b.retrievals(t)) != 0 || now.Intent != nil {
			t.Errorf("a stop %s: got %v, intent %v, %d retrievals; want a wait", name, err, now.Intent, len(b.retrievals(t)))
		}
	}
}

// TestAnIntentIsRenewedIfItIsOlderThanOneCall has an intent of the first call when the second
// call begins. The intent must outlive the call by as much as a call takes.
func TestAnIntentIsRenewedIfItIsOlderThanOneCall(t *testing.T) {
	for _, c := range []struct {
		takes   time.Duration // the first call
		renewed bool
	}{{1, false}, {20 * time.Second, false}, {20*time.Second + 1, true}} {
		b := newFixture(t)
		b.Account("u", archive.Premium)
		vault := &answers{Vault: b.Vault, errs: []error{fault.New(fault.Capacity, errors.New("injected"))}}
		var tokens []string
		b.Vault = slowVault{vault, func() {
			tokens = append(tokens, b.Job("j1").Intent.Token)
			b.now = b.now.Add(c.takes)
		}}
		var out testenv.Emitted
		if err := b.Request(t.Context(), b.task(b.Archive("u", "j1", []byte("result"))), out.Emit); err != nil {
			t.Fatal(err)
		}
		if len(tokens) != 2 || (tokens[0] != tokens[1]) != c.renewed {
			t.Errorf("after a call of %s: %d calls, the intent was renewed: %t, want %t", c.takes, len(tokens), tokens[0] != tokens[1], c.renewed)
		}
		if now := b.Job("j1"); now.History.Tries != 1 {
			t.Errorf("after a call of %s: %d tries", c.takes, now.History.Tries)
		}
	}
}

func TestAnIntentIsOldAfterThreeCallTimesByOnesOwnClock(t *testing.T) {
	b := newFixture(t)
	b.Account("u", archive.Premium)
	job := b.Archive("u", "j1", []byte("result"))
	b.overtake(t, job)
	b.OnDuplicates = func(n int) { t.Errorf("%d duplicates of one retrieval", n) }
	var out testenv.Emitted
	for _, step := range []struct {
		after time.Duration
		wait  time.Duration // 0 for none
	}{{0, time.Minute}, {time.Minute - 1, 1}, {1, 0}} {
		b.now = b.now.Add(step.after)
		err := b.Request(t.Context(), b.task(job), out.Emit)
		if (err != nil) != (step.wait > 0) || fault.DelayOf(err) != step.wait {
			t.Errorf("%s later: got %v, a wait of %s, want %s", step.after, err, fault.DelayOf(err), step.wait)
		}
	}
	if n := len(b.retrievals(t)); n != 1 || b.Job("j1").RetrievalID == "" {
		t.Errorf("%d retrievals, %q in the catalog", n, b.Job("j1").RetrievalID)
	}
}

func TestWhatAnIntentLeavesBehindIsTold(t *testing.T) {
	for _, fails := range []bool{false, true} {
		b := newFixture(t)
		b.Limits = thaw.Limits{Day: archive.Dollar}
		b.Account("u", archive.Premium)
		var lines testlog.Lines
		b.Log = slog.New(slog.NewTextHandler(&lines, nil))
		l := &life{At: -1, How: testenv.ErrorBefore}
		if fails {
			l.On = "Catalog.DropIntent"
		}
		b.Requester.Catalog = catalogIn{l, b.AWS.Catalog}
		returns := &life{At: -1, How: testenv.ErrorBefore}
		if fails {
			returns.On = "Budgets.Return"
		}
		b.Budgets = budgetsIn{returns, b.AWS.Catalog}
		b.Vault = &answers{Vault: b.Vault, errs: []error{fault.New(fault.Throttled, errors.New("injected"))}}
		var out testenv.Emitted
		if err := b.Request(t.Context(), b.task(b.Archive("u", "j1", []byte("result"))), out.Emit); !fault.Is(err, fault.Throttled) {
			t.Errorf("got %v, want Glacier's answer", err)
		}
		for _, line := range []string{"intent not dropped", "the budgets were not corrected"} {
			if n := len(lines.With(line)); (n == 1) != fails || n > 1 {
				t.Errorf("%d lines say %q; it failed: %t", n, line, fails)
			}
		}
		if (b.Job("j1").Intent != nil) != fails {
			t.Errorf("intent %v; dropping it failed: %t", b.Job("j1").Intent, fails)
		}
	}
}

func TestALimitWithoutATableOfWhatWasSpentIsAMistakeOfTheSetUp(t *testing.T) {
	for name, without := range map[string]func(*fixture){
		"no table":          func(b *fixture) { b.Budgets = nil },
		"no plans to hold":  func(b *fixture) { b.Plans = nil },
		"neither":           func(b *fixture) { b.Budgets, b.Plans = nil, nil },
		"a limit of a user": func(b *fixture) { b.Budgets, b.Limits = nil, thaw.Limits{User: 1} },
	} {
		b := newFixture(t)
		b.Limits = thaw.Limits{Day: archive.Dollar}
		b.Account("u", archive.Premium)
		without(b)
		var out testenv.Emitted
		if err := b.Request(t.Context(), b.task(b.Archive("u", "j1", []byte("result"))), out.Emit); !fault.Is(err, fault.Denied) || len(b.retrievals(t)) != 0 {
			t.Errorf("%s: got %v and %d retrievals, want it denied", name, err, len(b.retrievals(t)))
		}
	}
	// Without a limit nobody needs them.
	b := newFixture(t)
	b.Budgets, b.Plans = nil, nil
	b.Account("u", archive.Premium)
	var out testenv.Emitted
	if err := b.Request(t.Context(), b.task(b.Archive("u", "j1", []byte("result"))), out.Emit); err != nil || len(b.retrievals(t)) != 1 {
		t.Errorf("without a limit: got %v and %d retrievals", err, len(b.retrievals(t)))
	}
}

// TestABudgetHoldsThePlanAndNoOrder has a budget of less than one retrieval.
func TestABudgetHoldsThePlanAndNoOrder(t *testing.T) {
	for _, c := range []struct {
		name    string
		limits  thaw.Limits
		ordered bool
		held    bool
	}{
		{"of all users", thaw.Limits{Day: 1}, false, true},
		{"of the user", thaw.Limits{User: 1}, false, true},
		{"but it is an operator's order", thaw.Limits{Day: 1, User: 1}, true, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := newFixture(t)
			b.Limits = c.limits
			b.Account("u", archive.Premium)
			job := b.Archive("u", "j1", []byte("result"))
			if c.ordered {
				if err := b.AWS.Catalog.Order(t.Context(), job, 0, b.now); err != nil {
					t.Fatal(err)
				}
			}
			var out testenv.Emitted
			if err := b.Request(t.Context(), b.task(job), out.Emit); err != nil {
				t.Fatal(err)
			}
			account, err := b.AWS.Catalog.Account(t.Context(), "u")
			if err != nil {
				t.Fatal(err)
			}
			all, _, err := b.AWS.Catalog.Spent(t.Context(), b.now.UTC().Format(time.DateOnly), "u")
			if err != nil {
				t.Fatal(err)
			}
			price := b.Prices.Of(archive.Vault, exp, 1, job.ArchiveSize)
			if c.held {
				price = 0
			}
			if n := len(b.retrievals(t)); (n == 0) != c.held || (account.Plan.State == archive.PlanHeld) != c.held || all != price {
				t.Errorf("%d retrievals, the plan is %s, %s is entered; want it held: %t, and %s", n, account.Plan.State, all, c.held, price)
			}
			if c.held && !account.Plan.Due.Equal(b.now.UTC().Truncate(24*time.Hour).Add(24*time.Hour)) {
				t.Errorf("the plan goes on at %s, want the next day", account.Plan.Due)
			}
		})
	}
}

func TestASizeThatIsKnownIsNotAskedFor(t *testing.T) {
	b := newFixture(t)
	b.Account("u", archive.Premium)
	var lines testlog.Lines
	b.Log = slog.New(slog.NewTextHandler(&lines, nil))
	job := b.Archive("u", "j1", nil) // zero bytes are a size too
	b.ResetCounts()
	var out testenv.Emitted
	if err := b.Request(t.Context(), b.task(job), out.Emit); err != nil {
		t.Fatal(err)
	}
	if n := b.Counts()["glacier.DescribeJob"]; n != 0 || len(lines.With("size is not known")) != 0 {
		t.Errorf("%d calls ask Glacier for the size of an archive of zero bytes; log: %s", n, lines.String())
	}
}

func TestAReasonForAHeldPlanIsAtMost500BytesOfGlaciersAnswer(t *testing.T) {
	b := newFixture(t)
	b.Account("u", archive.Premium)
	long := fault.New(fault.Denied, errors.New(strings.Repeat("x", 2000)))
	vault := &deniedVault{Vault: b.Vault, err: long}
	pace := &thaw.Pace{Now: func() time.Time { return b.now }}
	b.Vault, b.Requester.Pace = vault, pace
	pace.Denied(t.Context())
	b.now = b.now.Add(time.Hour)
	var out testenv.Emitted
	if err := b.Request(t.Context(), b.task(b.Archive("u", "j1", []byte("result"))), out.Emit); err != nil {
		t.Fatal(err)
	}
	account, err := b.AWS.Catalog.Account(t.Context(), "u")
	if err != nil {
		t.Fatal(err)
	}
	if _, said, _ := strings.Cut(account.Plan.HeldBy, "now: "); len(said) > 503 || strings.Count(said, "x") > 500 {
		t.Errorf("%d bytes of Glacier's answer are kept, want 500 at most: %s", len(said), said)
	}
}

// firstCatalog lets another worker write its intent first.
type firstCatalog struct{ thaw.Catalog }

func (c firstCatalog) SaveIntent(context.Context, archive.Job, archive.Intent) error {
	return fault.New(fault.Conflict, errors.New("another intent stands"))
}

func TestAWorkerThatIsNotTheFirstAsksNothingAndSpendsNothing(t *testing.T) {
	b := newFixture(t)
	b.Limits = thaw.Limits{Day: archive.Dollar}
	b.Account("u", archive.Premium)
	vault := &answers{Vault: b.Vault}
	b.Requester.Catalog, b.Vault = firstCatalog{b.AWS.Catalog}, vault
	var out testenv.Emitted
	err := b.Request(t.Context(), b.task(b.Archive("u", "j1", []byte("result"))), out.Emit)
	all, _, serr := b.AWS.Catalog.Spent(t.Context(), b.now.UTC().Format(time.DateOnly), "u")
	if !fault.Is(err, fault.Wait) || len(vault.tiers) != 0 || all != 0 || serr != nil {
		t.Errorf("got %v, %d requests, %s is entered, %v; want a wait and nothing", err, len(vault.tiers), all, serr)
	}
}

func TestTheNextTaskOfAPlanThatWasHeldKnowsIt(t *testing.T) {
	b := newFixture(t)
	b.Limits = thaw.Limits{Day: 1}
	b.Account("u", archive.Premium)
	l := &life{At: -1}
	b.Budgets = budgetsIn{l, b.AWS.Catalog}
	var out testenv.Emitted
	for i := range 2 {
		if err := b.Request(t.Context(), b.task(b.Archive("u", testJob(i), []byte("result"))), out.Emit); err != nil {
			t.Fatal(err)
		}
	}
	if calls := l.Calls(); len(calls) != 1 {
		t.Errorf("the budgets were asked %d times, want once: %v", len(calls), calls)
	}
}
