package sitetest

import (
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/gas-restore/gas/internal/archive"
	"github.com/gas-restore/gas/internal/fault"
	"github.com/gas-restore/gas/pkg/events"
)

// account reads an account that is there.
func account(t *testing.T, p Ports, user events.UserID) archive.Account {
	t.Helper()
	a, err := p.Accounts.Account(t.Context(), user)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// signIn makes an account.
func signIn(t *testing.T, p Ports, a archive.Account, former ...string) {
	t.Helper()
	if err := p.Accounts.SignIn(t.Context(), a, former); err != nil {
		t.Fatal(err)
	}
}

func accountIsMadeOnce(t *testing.T, p Ports) {
	_, err := p.Accounts.Account(t.Context(), "ada")
	wantKind(t, "an account that is not there", err, fault.NotFound)
	ada := archive.Account{ID: "ada", Name: "Ada", Email: "ada@example.org", Issuer: "https://idp.example", Role: archive.Free}
	for range 2 {
		signIn(t, p, ada)
		if got := account(t, p, "ada"); got != ada {
			t.Errorf("the account is %+v, want %+v", got, ada)
		}
	}
	if _, err := p.Accounts.SetRole(t.Context(), "ada", archive.Premium, begin); err != nil {
		t.Fatal(err)
	}
	before := account(t, p, "ada")
	ada.Name, ada.Email = "Ada King", ""
	signIn(t, p, ada)
	got := account(t, p, "ada")
	if got.Name != "Ada King" || got.Email != "ada@example.org" {
		t.Errorf("the account has %q and %q, want the new name and the address that is known", got.Name, got.Email)
	}
	if got.Role != archive.Premium || !got.RoleChangedAt.Equal(begin) || got.Plan == nil || got.Plan.ID != before.Plan.ID {
		t.Errorf("a sign-in changed the role or the plan: %+v, was %+v", got, before)
	}
}

func accountBelongsToItsIssuer(t *testing.T, p Ports) {
	of := func(issuer string) archive.Account {
		return archive.Account{ID: "ada", Issuer: issuer, Role: archive.Free}
	}
	signIn(t, p, of("https://old.example"))
	if err := p.Accounts.SignIn(t.Context(), of("https://new.example"), nil); !errors.Is(err, archive.ErrIssuer) {
		t.Errorf("from another issuer: got %v, want %v", err, archive.ErrIssuer)
	}
	if got := account(t, p, "ada").Issuer; got != "https://old.example" {
		t.Errorf("a refused sign-in made the issuer %q", got)
	}
	signIn(t, p, of("https://new.example"), "https://old.example")
	if got := account(t, p, "ada").Issuer; got != "https://new.example" {
		t.Errorf("the issuer is %q, want the new one", got)
	}
}

func roleChangesWithPlan(t *testing.T, p Ports) {
	_, err := p.Accounts.SetRole(t.Context(), "ada", archive.Premium, begin)
	wantKind(t, "the role of nobody", err, fault.NotFound)
	signIn(t, p, archive.Account{ID: "ada", Role: archive.Free})
	set := func(role archive.Role, at time.Time, want bool) archive.Account {
		t.Helper()
		changed, err := p.Accounts.SetRole(t.Context(), "ada", role, at)
		if err != nil || changed != want {
			t.Errorf("%s at %s: changed %v, %v; want %v", role, at, changed, err, want)
		}
		return account(t, p, "ada")
	}
	if got := set(archive.Free, begin, false); !got.RoleChangedAt.IsZero() {
		t.Errorf("what did not change, changed at %s", got.RoleChangedAt)
	}
	first := set(archive.Premium, begin, true)
	if plan := first.Plan; plan == nil || plan.ID == "" || plan.State != archive.PlanOpen || plan.Why != archive.Upgrade || !plan.UpgradedAt.Equal(begin) || !plan.OpenedAt.Equal(begin) {
		t.Fatalf("the plan is %+v, want an open one since %s", plan, begin)
	}
	if first.Role != archive.Premium || !first.RoleChangedAt.Equal(begin) || !first.AnnounceDue.Equal(begin) {
		t.Errorf("the account is %+v, want Premium since %s, and the announcement due", first, begin)
	}
	again := set(archive.Premium, begin.Add(time.Hour), false)
	if again.Plan == nil || again.Plan.ID != first.Plan.ID || !again.RoleChangedAt.Equal(begin) || !again.AnnounceDue.Equal(begin) {
		t.Errorf("the second time changed %+v to %+v", first, again)
	}
	free := set(archive.Free, begin.Add(2*time.Hour), true)
	if free.Plan != nil || !free.AnnounceDue.IsZero() || !free.RoleChangedAt.Equal(begin.Add(2*time.Hour)) {
		t.Errorf("the Free account is %+v, want no plan and nothing to announce", free)
	}
	if h := free.RoleChanges(); len(h) != 2 || h[0].Role != archive.Premium || !h[0].At.Equal(begin) || h[1].Role != archive.Free || !h[1].At.Equal(begin.Add(2*time.Hour)) {
		t.Errorf("the history is %+v, want Premium and Free with their times", h)
	}
	if second := set(archive.Premium, begin.Add(3*time.Hour), true); second.Plan == nil || second.Plan.ID == first.Plan.ID {
		t.Errorf("the second upgrade has the plan %+v, want another than %s", second.Plan, first.Plan.ID)
	}
}

func announcementIsDue(t *testing.T, p Ports) {
	due := func() []events.UserID {
		t.Helper()
		var all []events.UserID
		for a, err := range p.Accounts.Unannounced(t.Context()) {
			if err != nil {
				t.Fatal(err)
			}
			if a.Plan == nil || a.Role != archive.Premium {
				t.Errorf("the account comes as %+v, want its role and its plan", a)
			}
			all = append(all, a.ID)
		}
		slices.Sort(all)
		return all
	}
	for _, user := range []events.UserID{"ada", "bob", "eve"} {
		signIn(t, p, archive.Account{ID: user, Role: archive.Free})
	}
	for _, user := range []events.UserID{"ada", "bob"} {
		if _, err := p.Accounts.SetRole(t.Context(), user, archive.Premium, begin); err != nil {
			t.Fatal(err)
		}
	}
	announced := func(user events.UserID, at time.Time) {
		t.Helper()
		if err := p.Accounts.Announced(t.Context(), user, at); err != nil {
			t.Error(err)
		}
	}
	announced("ada", begin.Add(-time.Second)) // an earlier upgrade
	if got := due(); !slices.Equal(got, []events.UserID{"ada", "bob"}) {
		t.Errorf("due are %v, want ada and bob", got)
	}
	announced("ada", begin)
	announced("ada", begin)
	announced("eve", begin)
	if got := due(); !slices.Equal(got, []events.UserID{"bob"}) {
		t.Errorf("due are %v, want bob", got)
	}
	if got := account(t, p, "ada"); got.Plan == nil || !got.AnnounceDue.IsZero() {
		t.Errorf("the announced account is %+v, want its plan and nothing to announce", got)
	}
}

func planIsOpenedOnce(t *testing.T, p Ports) {
	plan := func(id string) archive.Plan {
		return archive.Plan{ID: id, UpgradedAt: begin, Why: archive.Upgrade, State: archive.PlanOpen, OpenedAt: begin, Due: begin}
	}
	open := func(a archive.Account, id string) error { return p.Accounts.OpenPlan(t.Context(), a, plan(id)) }
	wantKind(t, "a plan of nobody", open(archive.Account{ID: "nobody", Role: archive.Premium}, "x"), fault.Conflict)
	signIn(t, p, archive.Account{ID: "ada", Role: archive.Premium}) // as another system makes it: without a plan
	was := account(t, p, "ada")
	stale := was
	stale.Role = archive.Free
	wantKind(t, "with another role", open(stale, "one"), fault.Conflict)
	stale = was
	stale.RoleChangedAt = begin
	wantKind(t, "with another change of role", open(stale, "one"), fault.Conflict)
	if err := open(was, "one"); err != nil {
		t.Fatal(err)
	}
	got := account(t, p, "ada")
	if got.Plan == nil || got.Plan.ID != "one" || !got.Plan.UpgradedAt.Equal(begin) || got.Plan.State != archive.PlanOpen {
		t.Errorf("the plan is %+v, want the one that was opened", got.Plan)
	}
	wantKind(t, "a second plan", open(got, "two"), fault.Conflict)
	stale = got
	stale.PlansOpened = 0
	wantKind(t, "with what was read before", open(stale, "two"), fault.Conflict)

	// Without a plan, the count alone tells that another one was opened and is over.
	if _, err := p.Accounts.SetRole(t.Context(), "ada", archive.Free, begin); err != nil {
		t.Fatal(err)
	}
	stale = account(t, p, "ada")
	if stale.PlansOpened != 1 {
		t.Errorf("the account counts %d opened plans, want 1", stale.PlansOpened)
	}
	stale.PlansOpened = 0
	wantKind(t, "with an older count", open(stale, "two"), fault.Conflict)
}

func planHasOneFirst(t *testing.T, p Ports) {
	signIn(t, p, archive.Account{ID: "ada"})
	first := func(plan, job string) error { return p.Accounts.SetFirst(t.Context(), "ada", plan, events.JobID(job)) }
	wantKind(t, "without a plan", first("x", "one"), fault.Conflict)
	if _, err := p.Accounts.SetRole(t.Context(), "ada", archive.Premium, begin); err != nil {
		t.Fatal(err)
	}
	plan := account(t, p, "ada").Plan.ID
	for _, job := range []string{"one", "two", "two", ""} {
		if err := first(plan, job); err != nil {
			t.Fatal(err)
		}
		if got := account(t, p, "ada").Plan.First; got != events.JobID(job) {
			t.Errorf("the first job is %q, want %q", got, job)
		}
	}
	wantKind(t, "of another plan", first("x", "one"), fault.Conflict)
	if err := first(plan, "one"); err != nil {
		t.Fatal(err)
	}

	// The choice ends with its plan.
	for _, role := range []archive.Role{archive.Free, archive.Premium} {
		if _, err := p.Accounts.SetRole(t.Context(), "ada", role, begin.Add(time.Hour)); err != nil {
			t.Fatal(err)
		}
	}
	if got := account(t, p, "ada").Plan; got == nil || got.First != "" {
		t.Errorf("the next plan is %+v, want one without a first job", got)
	}
}
