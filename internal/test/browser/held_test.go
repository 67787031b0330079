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
	ada.until(`(() => { if (document.body.innerText.includes("12 files wait for approval")) return true; location.reload(); return false; })()`)
	if strings.Contains(eval[string](ada, `document.querySelector("main").innerText`), "We request") {
		t.Error("the list says that the files are requested, and they wait")
	}
	ada.open("/annotations") // without the confirmation of the change
	first := eval[string](ada, `document.querySelector("main").innerText`)
	for _, name := range []string{"light", "dark"} {
		ada.scheme(name)
		ada.legible("the held list in " + name)
		ada.apart("the held list in " + name)
		ada.shot("held-list-" + name)
	}
	ada.size(320, 640)
	ada.fits("the held list")
	ada.shot("held-list-narrow")
	ada.size(1200, 900)
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
	ada.accessible("a held file")
	ada.shot("held-file")
	ada.open("/subscribe")
	ada.says("You are Premium")
	ada.accessible("the plan page of a held plan")
	ada.shot("held-subscribe")
	if eval[bool](ada, `document.querySelector('form[action="/subscribe"]') !== null`) {
		t.Error("the page asks to ask again")
	}
	account, err := catalogOf(s).Account(t.Context(), "fern")
	if err != nil || account.Plan == nil || account.Plan.State != archive.PlanHeld {
		t.Fatalf("the account is %+v, %v; want a held plan", account, err)
	}
	ada.calm("a person who waits")
}
