package dynamodb_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"reflect"
	"regexp"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"

	"github.com/gas-restore/gas/internal/archive"
	"github.com/gas-restore/gas/internal/aws/dynamodb"
	"github.com/gas-restore/gas/internal/fault"
	"github.com/gas-restore/gas/internal/test/testenv"
	"github.com/gas-restore/gas/pkg/events"
)

// wire passes requests on to DynamoDB, but for one.
type wire struct {
	aws.HTTPClient
	calls []string
	deny  int // which one DynamoDB denies; 0 for none
	// before, if any, runs before each request is passed on; its error is the answer.
	before func(call string) error
	// stale are reads that may return an older item.
	stale []string
	// limits are the greatest numbers of items that queries and scans asked for.
	limits []string
}

var limit = regexp.MustCompile(`"Limit":(\d+)`)

func (w *wire) Do(r *http.Request) (*http.Response, error) {
	_, call, _ := strings.Cut(r.Header.Get("X-Amz-Target"), ".")
	w.calls = append(w.calls, call)
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	if m := limit.FindSubmatch(body); m != nil {
		w.limits = append(w.limits, string(m[1]))
	}
	want := 0
	switch call {
	case "GetItem":
		want = 1
	case "BatchGetItem":
		want = bytes.Count(body, []byte(`"Keys"`))
	}
	if bytes.Count(body, []byte(`"ConsistentRead":true`)) != want {
		w.stale = append(w.stale, call)
	}
	if len(w.calls) == w.deny {
		return &http.Response{StatusCode: 400, Request: r, Header: http.Header{}, Body: io.NopCloser(strings.NewReader(`{"__type":"AccessDeniedException","message":"not allowed"}`))}, nil
	}
	if w.before != nil {
		if err := w.before(call); err != nil {
			return nil, err
		}
	}
	return w.HTTPClient.Do(r)
}

// wired returns the catalog behind a wire.
func wired(a *testenv.AWS) (*wire, *dynamodb.Catalog) {
	cfg := a.Config
	w := &wire{HTTPClient: cfg.HTTPClient}
	cfg.HTTPClient = w
	return w, dynamodb.New(cfg, dynamodb.Tables{Jobs: testenv.Jobs, Accounts: testenv.Accounts, Plans: testenv.Plans})
}

// TestACallThatIsDeniedIsAnErrorOfItsMethod denies each call of each method, one at a time.
func TestACallThatIsDeniedIsAnErrorOfItsMethod(t *testing.T) {
	job := archive.Job{ID: "j", UserID: "u", Status: "COMPLETED", ArchiveID: "a", ArchiveSize: 1}
	spending := archive.Spending{Amount: 3, Day: "2026-11-26", User: "u", Plan: "p"}
	approved, tooMuch := spending, spending
	approved.Approved, tooMuch.DayLimit = 5, 2
	methods := map[string]func(ctx context.Context, c *dynamodb.Catalog) (any, error){
		"Job":     func(ctx context.Context, c *dynamodb.Catalog) (any, error) { return c.Job(ctx, "j") },
		"Account": func(ctx context.Context, c *dynamodb.Catalog) (any, error) { return c.Account(ctx, "u") },
		"EnsureAccount": func(ctx context.Context, c *dynamodb.Catalog) (any, error) {
			return nil, c.EnsureAccount(ctx, archive.Account{ID: "new"})
		},
		"Announced": func(ctx context.Context, c *dynamodb.Catalog) (any, error) { return nil, c.Announced(ctx, "u", at) },
		"AddJob": func(ctx context.Context, c *dynamodb.Catalog) (any, error) {
			return nil, c.AddJob(ctx, archive.Job{ID: "new", UserID: "u"})
		},
		"AccountAndJob": func(ctx context.Context, c *dynamodb.Catalog) (any, error) {
			account, job, err := c.AccountAndJob(ctx, "u", "j")
			if account.ID != "" {
				return job, err
			}
			return account, err
		},
		"Unannounced": func(ctx context.Context, c *dynamodb.Catalog) (any, error) {
			for account, err := range c.Unannounced(ctx) {
				return account, err
			}
			return nil, nil
		},
		"DueJobs": func(ctx context.Context, c *dynamodb.Catalog) (any, error) {
			for id, err := range c.DueJobs(ctx, at) {
				return id, err
			}
			return nil, nil
		},
		"DuePlans": func(ctx context.Context, c *dynamodb.Catalog) (any, error) {
			for id, err := range c.DuePlans(ctx, at) {
				return id, err
			}
			return nil, nil
		},
		"AllArchived": func(ctx context.Context, c *dynamodb.Catalog) (any, error) {
			for job, err := range c.AllArchived(ctx) {
				return job, err
			}
			return nil, nil
		},
		"Nudged": func(ctx context.Context, c *dynamodb.Catalog) (any, error) {
			return nil, c.Nudged(ctx, archive.Job{ID: "j", ArchiveID: "a", Ordered: true}, at, true)
		},
		"SaveIntent": func(ctx context.Context, c *dynamodb.Catalog) (any, error) {
			return nil, c.SaveIntent(ctx, job, archive.Intent{Token: "t", At: at})
		},
		"DropIntent": func(ctx context.Context, c *dynamodb.Catalog) (any, error) {
			return nil, c.DropIntent(ctx, job, archive.Intent{Token: "t"})
		},
		"Order":          func(ctx context.Context, c *dynamodb.Catalog) (any, error) { return nil, c.Order(ctx, job, 1, at) },
		"Billed":         func(ctx context.Context, c *dynamodb.Catalog) (any, error) { return c.Billed(ctx) },
		"Spend":          func(ctx context.Context, c *dynamodb.Catalog) (any, error) { return c.Spend(ctx, spending) },
		"Spend approved": func(ctx context.Context, c *dynamodb.Catalog) (any, error) { return c.Spend(ctx, approved) },
		"Return":         func(ctx context.Context, c *dynamodb.Catalog) (any, error) { return nil, c.Return(ctx, approved) },
		"Spent": func(ctx context.Context, c *dynamodb.Catalog) (any, error) {
			_, _, err := c.Spent(ctx, "2026-11-26", "u")
			return nil, err
		},
		"Switches": func(ctx context.Context, c *dynamodb.Catalog) (any, error) { return c.Switches(ctx) },
		"ChangeSwitches": func(ctx context.Context, c *dynamodb.Catalog) (any, error) {
			_, err := c.ChangeSwitches(ctx, func(*archive.Switches) {})
			return nil, err
		},
		"SetRole": func(ctx context.Context, c *dynamodb.Catalog) (any, error) {
			return c.SetRole(ctx, "u", archive.Premium, at)
		},
		"OpenPlan": func(ctx context.Context, c *dynamodb.Catalog) (any, error) {
			return nil, c.OpenPlan(ctx, archive.Account{ID: "u", Role: archive.Free}, archive.Plan{ID: "p"})
		},
		"HoldPlan": func(ctx context.Context, c *dynamodb.Catalog) (any, error) {
			return nil, c.HoldPlan(ctx, "planned", "p", "why", at)
		},
		"ClosePlan": func(ctx context.Context, c *dynamodb.Catalog) (any, error) {
			return nil, c.ClosePlan(ctx, "planned", archive.Plan{ID: "p"}, at)
		},
		"AccountsOf": func(ctx context.Context, c *dynamodb.Catalog) (any, error) {
			found, err := c.AccountsOf(ctx, []events.UserID{"u"})
			return len(found), err
		},
		"JobsOf": func(ctx context.Context, c *dynamodb.Catalog) (any, error) {
			found, err := c.JobsOf(ctx, []events.JobID{"j"})
			return len(found), err
		},
		"Jobs": func(ctx context.Context, c *dynamodb.Catalog) (any, error) {
			jobs, next, err := c.Jobs(ctx, "u", "", 1)
			return len(jobs) + len(next), err
		},
		"ArchivedPage": func(ctx context.Context, c *dynamodb.Catalog) (any, error) {
			jobs, next, err := c.ArchivedPage(ctx, "u", "")
			return len(jobs) + len(next), err
		},
		"ArchivedScan": func(ctx context.Context, c *dynamodb.Catalog) (any, error) {
			jobs, next, err := c.ArchivedScan(ctx, "")
			return len(jobs) + len(next), err
		},
		"HasArchived": func(ctx context.Context, c *dynamodb.Catalog) (any, error) { return c.HasArchived(ctx, "u") },
		"Roles": func(ctx context.Context, c *dynamodb.Catalog) (any, error) {
			roles, err := c.Roles(ctx, 5)
			return len(roles), err
		},
		"Survey": func(ctx context.Context, c *dynamodb.Catalog) (any, error) {
			page, next, err := c.Survey(ctx, "", 5)
			return len(page) + len(next), err
		},
		"SignIn": func(ctx context.Context, c *dynamodb.Catalog) (any, error) {
			return nil, c.SignIn(ctx, archive.Account{ID: "new"}, nil)
		},
		"SignIn again": func(ctx context.Context, c *dynamodb.Catalog) (any, error) {
			return nil, c.SignIn(ctx, archive.Account{ID: "u", Name: "M"}, nil)
		},
		"Look": func(ctx context.Context, c *dynamodb.Catalog) (any, error) {
			found, err := c.Look(ctx, testenv.Jobs)
			return found != nil, err
		},
		"CreateTables":       func(ctx context.Context, c *dynamodb.Catalog) (any, error) { return nil, c.CreateTables(ctx) },
		"Spend more than is": func(ctx context.Context, c *dynamodb.Catalog) (any, error) { return c.Spend(ctx, tooMuch) },
	}
	a := testenv.NewAWS(t)
	for name, call := range methods {
		t.Run(name, func(t *testing.T) {
			for deny := 1; ; deny++ {
				for table, ids := range map[string][]string{
					testenv.Jobs: {"new"}, testenv.Accounts: {"new"},
					testenv.Plans: {"spent.2026-11-26", "spent.2026-11-26.u", "spent-of.u.p", "switches", "plan.u.p", "plan.planned.p"},
				} {
					for _, id := range ids {
						set(t, a, table, map[string]av{map[string]string{testenv.Jobs: "job_id", testenv.Accounts: "user_id", testenv.Plans: "id"}[table]: s(id)}, nil)
					}
				}
				set(t, a, testenv.Jobs, nil, original())
				set(t, a, testenv.Accounts, nil, map[string]av{"user_id": s("u"), "role": s("free_user")})
				set(t, a, testenv.Accounts, nil, map[string]av{"user_id": s("planned"), "role": s("free_user"), "plan_id": s("p"), "plan_state": s("open")})
				w, catalog := wired(a)
				w.deny = deny
				got, err := call(t.Context(), catalog)
				if len(w.calls) < deny {
					if err != nil || deny == 1 {
						t.Errorf("calls are %v: %v, want none that fails", w.calls, err)
					}
					if w.stale != nil {
						t.Errorf("%v may read what is no longer so", w.stale)
					}
					return
				}
				if !fault.Is(err, fault.Denied) {
					t.Errorf("%v is denied: got %v", w.calls, err)
				}
				if got != nil && !reflect.ValueOf(got).IsZero() {
					t.Errorf("%v is denied: got %+v besides the error", w.calls, got)
				}
				if all, ofUser, err := a.Catalog.Spent(t.Context(), "2026-11-26", "u"); (name == "Spend" || name == "Spend approved") && (err != nil || all != 0 || ofUser != 0) {
					t.Errorf("%v is denied: %s are spent, %s of the user; %v", w.calls, all, ofUser, err)
				}
			}
		})
	}
}

// TestBothSeeTheOther lets somebody else write between the read and the write of a method.
func TestBothSeeTheOther(t *testing.T) {
	t.Run("two operators change the pauses", func(t *testing.T) {
		a := testenv.NewAWS(t)
		w, catalog := wired(a)
		others := 0
		w.before = func(call string) error {
			if call == "PutItem" && others < 3 {
				others++
				if _, err := a.Catalog.ChangeSwitches(t.Context(), func(s *archive.Switches) {
					if s.Users == nil {
						s.Users = map[events.UserID]archive.Hold{}
					}
					s.Users[events.UserID(strings.Repeat("u", others))] = archive.Hold{Reason: "theirs", At: at}
				}); err != nil {
					t.Error(err)
				}
			}
			return nil
		}
		got, err := catalog.ChangeSwitches(t.Context(), func(s *archive.Switches) { s.All = &archive.Hold{Reason: "ours", At: at} })
		if err != nil {
			t.Fatal(err)
		}
		kept, err := a.Catalog.Switches(t.Context())
		if err != nil || kept.All == nil || kept.All.Reason != "ours" || len(kept.Users) != 3 || !reflect.DeepEqual(got, kept) {
			t.Errorf("got %+v, kept are %+v, %v; want all three of theirs, and ours", got, kept, err)
		}
	})
	t.Run("the pauses cannot be read", func(t *testing.T) {
		a := testenv.NewAWS(t)
		set(t, a, testenv.Plans, nil, map[string]av{"id": s("switches"), "switches": s("no JSON"), "revision": n("1")})
		if got, err := a.Catalog.Switches(t.Context()); !fault.Is(err, fault.Denied) || got.Any() {
			t.Errorf("got %+v, %v", got, err)
		}
		if _, err := a.Catalog.ChangeSwitches(t.Context(), func(*archive.Switches) {}); !fault.Is(err, fault.Denied) {
			t.Errorf("a change: %v", err)
		}
	})
	for name, c := range map[string]struct {
		other map[string]av // the account afterwards; nil removes it
		err   error
		want  map[string]av
	}{
		"somebody signs in from another issuer": {map[string]av{"user_id": s("u"), "role": s("free_user"), "issuer": s("theirs")}, archive.ErrIssuer,
			map[string]av{"user_id": s("u"), "role": s("free_user"), "issuer": s("theirs")}},
		"somebody changes the name": {map[string]av{"user_id": s("u"), "role": s("premium_user"), "issuer": s("ours"), "name": s("L")}, nil,
			map[string]av{"user_id": s("u"), "role": s("premium_user"), "issuer": s("ours"), "name": s("M")}},
		"the account is removed": {nil, nil, map[string]av{"user_id": s("u"), "role": s("free_user"), "issuer": s("ours"), "name": s("M")}},
	} {
		t.Run(name, func(t *testing.T) {
			a := testenv.NewAWS(t)
			key := map[string]av{"user_id": s("u")}
			set(t, a, testenv.Accounts, key, map[string]av{"user_id": s("u"), "role": s("free_user"), "issuer": s("ours"), "name": s("N")})
			w, catalog := wired(a)
			done := false
			w.before = func(call string) error {
				if call == "UpdateItem" && !done {
					done = true
					set(t, a, testenv.Accounts, key, c.other)
				}
				return nil
			}
			err := catalog.SignIn(t.Context(), archive.Account{ID: "u", Name: "M", Issuer: "ours", Role: archive.Free}, nil)
			if (err == nil) != (c.err == nil) || c.err != nil && !errors.Is(err, c.err) {
				t.Errorf("got %v, want %v", err, c.err)
			}
			if got, want := kept(t, a, testenv.Accounts, key), asText(c.want); !reflect.DeepEqual(got, want) {
				t.Errorf("the account is %v, want %v", got, want)
			}
		})
	}
	t.Run("the account changes each time", func(t *testing.T) {
		a := testenv.NewAWS(t)
		key := map[string]av{"user_id": s("u")}
		set(t, a, testenv.Accounts, key, map[string]av{"user_id": s("u"), "role": s("free_user"), "issuer": s("b")})
		w, catalog := wired(a)
		w.before = func(call string) error {
			issuer := map[string]string{"GetItem": "ours", "UpdateItem": "theirs"}[call]
			set(t, a, testenv.Accounts, key, map[string]av{"user_id": s("u"), "role": s("free_user"), "issuer": s(issuer)})
			return nil
		}
		if err := catalog.SignIn(t.Context(), archive.Account{ID: "u", Name: "M", Issuer: "ours"}, nil); !fault.Is(err, fault.Transient) || len(w.calls) != 10 {
			t.Errorf("got %v after %v, want a transient error after five tries", err, w.calls)
		}
	})
}

// TestARequestThatTheUsersBudgetRefusesNeverTakesTheDaysLastRoom has another user's request
// before each call of a request that the budget refuses.
func TestARequestThatTheUsersBudgetRefusesNeverTakesTheDaysLastRoom(t *testing.T) {
	a := testenv.NewAWS(t)
	spend := func(c *dynamodb.Catalog, user events.UserID, amount archive.MicroUSD) string {
		t.Helper()
		refused, err := c.Spend(t.Context(), archive.Spending{Amount: amount, Day: "d", User: user, UserLimit: 5, DayLimit: 6})
		if err != nil {
			t.Fatal(err)
		}
		return refused
	}
	if refused := spend(a.Catalog, "u", 5); refused != "" {
		t.Fatal(refused)
	}
	w, catalog := wired(a)
	w.before = func(string) error {
		if len(w.calls) == 2 {
			if refused := spend(a.Catalog, "v", 1); refused != "" {
				t.Errorf("the other user: %s", refused)
			}
		}
		return nil
	}
	if refused := spend(catalog, "u", 1); refused == "" {
		t.Error("the user spends more than the budget")
	}
}

func TestBudgetsAreSpentToTheLast(t *testing.T) {
	a := testenv.NewAWS(t)
	spend := func(s archive.Spending) string {
		t.Helper()
		refused, err := a.Catalog.Spend(t.Context(), s)
		if err != nil {
			t.Fatal(err)
		}
		return refused
	}
	spent := func(all, ofUser archive.MicroUSD) {
		t.Helper()
		if gotAll, gotUser, err := a.Catalog.Spent(t.Context(), "d", "u"); err != nil || gotAll != all || gotUser != ofUser {
			t.Errorf("%d are spent, %d of the user, %v; want %d and %d", gotAll, gotUser, err, all, ofUser)
		}
	}
	of := func(amount, user, day archive.MicroUSD) archive.Spending {
		return archive.Spending{Amount: amount, Day: "d", User: "u", Plan: "p", UserLimit: user, DayLimit: day}
	}
	for _, c := range []struct {
		s           archive.Spending
		refused     string
		all, ofUser archive.MicroUSD
	}{
		{of(11, 10, 100), "$0.000011 for this user today are more than the rest of $0.000010", 0, 0},
		{of(10, 10, 100), "", 10, 10},
		{of(1, 10, 100), "$0.000001 for this user today are more than the rest of $0.000010", 10, 10},
		{of(1, 0, 10), "$0.000001 for all users today are more than the rest of $0.000010", 10, 10},
		{of(1, 0, 1), "$0.000001 for all users today are more than the rest of $0.000001", 10, 10},
		{of(0, 1, 1), "", 10, 10},
		{of(5, 15, 15), "", 15, 15},
		{of(1, 0, 0), "", 16, 16},
		{of(1, 17, 17), "", 17, 17},
	} {
		if got := spend(c.s); got != c.refused {
			t.Errorf("%+v: got %q, want %q", c.s, got, c.refused)
		}
		spent(c.all, c.ofUser)
	}
	// The approved amount holds, and the budgets do not.
	approved := of(3, 1, 1)
	approved.Approved = 4
	if got := spend(approved); got != "" {
		t.Errorf("3 of 4 that are approved: %q", got)
	}
	spent(20, 20)
	if got, want := spend(approved), "$0.000003 for this plan are more than the rest of $0.000004"; got != want {
		t.Errorf("3 more of 4 that are approved: got %q, want %q", got, want)
	}
	spent(20, 20)
	approved.Amount = 1
	if got := spend(approved); got != "" {
		t.Errorf("the fourth of 4 that are approved: %q", got)
	}
	approved.Amount = 4
	for _, back := range []archive.Spending{approved, of(0, 1, 1), of(-5, 1, 1)} {
		if err := a.Catalog.Return(t.Context(), back); err != nil {
			t.Error(err)
		}
		spent(17, 17)
	}
	if got := spend(approved); got != "" {
		t.Errorf("4 of 4 again: %q", got)
	}
	if err := a.Catalog.Return(t.Context(), of(1, 0, 0)); err != nil {
		t.Error(err)
	}
	spent(20, 20)
	approved.Approved, approved.Amount = 1, 1
	if got := spend(approved); got == "" {
		t.Error("one is approved, and four are spent")
	}
}

// The undoing must not end with the time that the work has.
func TestWhatWasSpentIsGivenBackWhenTheTimeIsUp(t *testing.T) {
	a := testenv.NewAWS(t)
	w, catalog := wired(a)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	w.before = func(string) error {
		if len(w.calls) == 2 {
			cancel() // while the user's budget is asked
			return ctx.Err()
		}
		return nil
	}
	s := archive.Spending{Amount: 2, Day: "d", User: "u", DayLimit: 10, UserLimit: 10}
	if refused, err := catalog.Spend(ctx, s); err == nil {
		t.Errorf("got %q, want an error", refused)
	}
	if all, _, err := a.Catalog.Spent(t.Context(), "d", "u"); err != nil || all != 0 {
		t.Errorf("%d are spent of all users' budget, %v; want none", all, err)
	}
}
