package dynamodb_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/gas-restore/gas/internal/archive"
	"github.com/gas-restore/gas/internal/fault"
	"github.com/gas-restore/gas/internal/test/testenv"
)

// TestTheSmallestApprovalCountsInPlaceOfTheBudgets approves a single millionth of a dollar.
func TestTheSmallestApprovalCountsInPlaceOfTheBudgets(t *testing.T) {
	a := testenv.NewAWS(t)
	item := func(id string) string {
		return kept(t, a, testenv.Plans, map[string]av{"id": s(id)})["spent_micro_usd"]
	}
	full := archive.Spending{Amount: 5, Day: "d", User: "u", Plan: "p", UserLimit: 5, DayLimit: 5}
	if refused, err := a.Catalog.Spend(t.Context(), full); refused != "" || err != nil {
		t.Fatal(refused, err)
	}
	one := full
	one.Amount, one.Approved = 1, 1
	if refused, err := a.Catalog.Spend(t.Context(), one); refused != "" || err != nil {
		t.Errorf("the budgets are spent, and one is approved: %q, %v", refused, err)
	}
	if got := []string{item("spent.d"), item("spent.d.u"), item("spent-of.u.p")}; strings.Join(got, " ") != "#6 #6 #1" {
		t.Errorf("spent are %v", got)
	}
	if err := a.Catalog.Return(t.Context(), one); err != nil {
		t.Error(err)
	}
	if got := []string{item("spent.d"), item("spent.d.u"), item("spent-of.u.p")}; strings.Join(got, " ") != "#5 #5 #0" {
		t.Errorf("after the return, spent are %v", got)
	}
}

func TestWhatNobodyApprovedIsNotTakenBackFromThePlan(t *testing.T) {
	a := testenv.NewAWS(t)
	plain := archive.Spending{Amount: 5, Day: "d", User: "u", Plan: "p"}
	if refused, err := a.Catalog.Spend(t.Context(), plain); refused != "" || err != nil {
		t.Fatal(refused, err)
	}
	if err := a.Catalog.Return(t.Context(), plain); err != nil {
		t.Error(err)
	}
	if got := kept(t, a, testenv.Plans, map[string]av{"id": s("spent-of.u.p")}); got != nil {
		t.Errorf("the plan's spending is %v, want none", got)
	}
}

func TestNothingIsGivenBackWithoutACall(t *testing.T) {
	a := testenv.NewAWS(t)
	w, catalog := wired(a)
	for amount, calls := range map[archive.MicroUSD]int{-1: 0, 0: 0, 1: 2} {
		w.calls = nil
		if err := catalog.Return(t.Context(), archive.Spending{Amount: amount, Day: "d", User: "u", Plan: "p"}); err != nil || len(w.calls) != calls {
			t.Errorf("%d: %v, calls are %v, want %d", amount, err, w.calls, calls)
		}
	}
}

// TestTheFirstOfTwoErrorsOfASpendingIsTold has a call that is denied, and an undoing that fails too.
func TestTheFirstOfTwoErrorsOfASpendingIsTold(t *testing.T) {
	a := testenv.NewAWS(t)
	w, catalog := wired(a)
	w.deny = 2
	w.before = func(string) error {
		if len(w.calls) > 2 {
			return errors.New("away")
		}
		return nil
	}
	refused, err := catalog.Spend(t.Context(), archive.Spending{Amount: 5, Day: "d", User: "u", UserLimit: 9, DayLimit: 9})
	if !fault.Is(err, fault.Denied) || refused != "" || len(w.calls) < 3 {
		t.Errorf("got %q, %v after %v; want that the second call is denied", refused, err, w.calls)
	}
}

func TestNoSpendingIsToldBesidesAnError(t *testing.T) {
	a := testenv.NewAWS(t)
	if refused, err := a.Catalog.Spend(t.Context(), archive.Spending{Amount: 5, Day: "d", User: "u"}); refused != "" || err != nil {
		t.Fatal(refused, err)
	}
	for deny, want := range map[int][2]archive.MicroUSD{0: {5, 5}, 1: {0, 5}, 2: {5, 0}} {
		w, catalog := wired(a)
		w.deny = deny
		all, ofUser, err := catalog.Spent(t.Context(), "d", "u")
		if fault.Is(err, fault.Denied) != (deny > 0) || [2]archive.MicroUSD{all, ofUser} != want {
			t.Errorf("call %d is denied: got %d, %d, %v; want %v", deny, all, ofUser, err, want)
		}
	}
}

func TestEachChangeOfThePausesIsTheNextRevision(t *testing.T) {
	a := testenv.NewAWS(t)
	key := map[string]av{"id": s("switches")}
	pause := func(s *archive.Switches) { s.All = &archive.Hold{Reason: "ours", At: at} }
	for _, want := range []string{"#1", "#2"} {
		if _, err := a.Catalog.ChangeSwitches(t.Context(), pause); err != nil {
			t.Fatal(err)
		}
		if got := kept(t, a, testenv.Plans, key)["revision"]; got != want {
			t.Errorf("the revision is %s, want %s", got, want)
		}
	}
	set(t, a, testenv.Plans, nil, map[string]av{"id": s("switches"), "switches": s("{}"), "revision": n("10")})
	w, catalog := wired(a)
	if _, err := catalog.ChangeSwitches(t.Context(), pause); err != nil || len(w.calls) != 2 {
		t.Errorf("after revision 10: %v, calls are %v", err, w.calls)
	}
	if got := kept(t, a, testenv.Plans, key)["revision"]; got != "#11" {
		t.Errorf("the revision is %s, want #11", got)
	}
}

// TestTheFirstPauseOfAnotherIsSeen lets another program write the first revision between the
// read of nothing and the write.
func TestTheFirstPauseOfAnotherIsSeen(t *testing.T) {
	a := testenv.NewAWS(t)
	w, catalog := wired(a)
	done := false
	w.before = func(call string) error {
		if call == "PutItem" && !done {
			done = true
			set(t, a, testenv.Plans, nil, map[string]av{"id": s("switches"), "switches": s(`{"users":{"v":{"reason":"theirs","at":"2026-11-26T00:00:00Z"}}}`), "revision": n("1")})
		}
		return nil
	}
	got, err := catalog.ChangeSwitches(t.Context(), func(s *archive.Switches) { s.All = &archive.Hold{Reason: "ours", At: at} })
	if err != nil || got.All == nil || got.Users["v"].Reason != "theirs" {
		t.Errorf("got %+v, %v; want both pauses", got, err)
	}
}

func TestAPauseThatCannotBeWrittenChangesNothing(t *testing.T) {
	a := testenv.NewAWS(t)
	w, catalog := wired(a)
	_, err := catalog.ChangeSwitches(t.Context(), func(s *archive.Switches) {
		s.All = &archive.Hold{At: time.Date(10_000, 1, 1, 0, 0, 0, 0, time.UTC)} // JSON has no such year
	})
	if err == nil || len(w.calls) != 1 || kept(t, a, testenv.Plans, map[string]av{"id": s("switches")}) != nil {
		t.Errorf("got %v after %v, want an error before the write", err, w.calls)
	}
}
