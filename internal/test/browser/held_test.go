//go:build browser

package browser

import (
	"strings"
	"testing"
	"time"

	"github.com/gas-restore/gas/internal/archive"
	"github.com/gas-restore/gas/internal/local/stack"
)

// TestAPlanOverTheBudgetSaysThatItWaits upgrades with a budget of two cents a day. It presses
// the button again from a tab that was open before.
func TestAPlanOverTheBudgetSaysThatItWaits(t *testing.T) {
	t.Setenv("GAS_THAW_USER_BUDGET", "0.02")
	s := up(t, time.Hour, stack.Person{ID: "fern", Name: "Fern Fictive", Role: archive.Free, Archived: 12})
	ada := person(t, s.Config.WebBaseURL)
	ada.signIn("Fern Fictive", "/subscribe")
	ada.press(`form[action="/subscribe"] button`)
	ada.until(`location.pathname === "/annotations"`)
	ada.untilReloaded("12 files wait for approval")
	if strings.Contains(eval[string](ada, `document.querySelector("main").innerText`), "We request") {
		t.Error("the list says that the files are requested, and they wait")
	}
	ada.open("/annotations") // without the confirmation of the change
	first := eval[string](ada, `document.querySelector("main").innerText`)
	ada.seeInEveryLook("held-list", true)
	csrf := eval[string](ada, `document.querySelector("[name=csrf]").value`)
	for _, path := range []string{"/subscribe", "/api/v1/subscription"} {
		if got := eval[int](ada, `fetch(`+quote(path)+`, {method: "POST", headers: {"X-CSRF-Token": `+quote(csrf)+`}}).then(a => a.status)`); got != 200 {
			t.Errorf("%s answers %d", path, got)
		}
	}
	ada.open("/annotations")
	if again := eval[string](ada, `document.querySelector("main").innerText`); again != first {
		t.Errorf("the list said %q, and after another press %q", first, again)
	}
	ada.click("panel_000.vcf")
	ada.says("Waiting for approval")
	ada.seeInEveryLook("held-file", true)
	ada.open("/subscribe")
	ada.says("You are Premium")
	ada.seeInEveryLook("held-subscribe", true)
	if eval[bool](ada, `document.querySelector('form[action="/subscribe"]') !== null`) {
		t.Error("the page asks to ask again")
	}
	account, err := catalogOf(s).Account(t.Context(), "fern")
	if err != nil || account.Plan == nil || account.Plan.State != archive.PlanHeld {
		t.Fatalf("the account is %+v, %v; want a held plan", account, err)
	}
	ada.calm("a person who waits")
}

// TestAPauseByAnOperatorHasItsSentence stops everything before a person upgrades.
func TestAPauseByAnOperatorHasItsSentence(t *testing.T) {
	t.Parallel()
	s := up(t, time.Hour, stack.Person{ID: "fern", Name: "Fern Fictive", Role: archive.Free, Archived: 2, Stored: 1})
	if _, err := catalogOf(s).ChangeSwitches(t.Context(), func(sw *archive.Switches) {
		sw.All = &archive.Hold{Reason: "the store moves to another region", At: time.Now().UTC()}
	}); err != nil {
		t.Fatal(err)
	}
	ada := person(t, s.Config.WebBaseURL)
	ada.signIn("Fern Fictive", "/subscribe")
	ada.press(`form[action="/subscribe"] button`)
	ada.until(`location.pathname === "/annotations"`)
	const paused = "The service has paused bringing files back: the store moves to another region."
	ada.untilReloaded(paused)
	ada.seeInEveryLook("paused-list", true)
	ada.click("panel_000.vcf")
	ada.says(paused)
	ada.seeInEveryLook("paused-file", true)
	ada.open("/subscribe")
	ada.says("You are Premium")
	ada.seeInEveryLook("paused-subscribe", true)
	ada.calm("a person who waits for an operator")
}
