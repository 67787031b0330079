//go:build browser

package browser

import (
	"bytes"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gas-restore/gas/internal/archive"
	"github.com/gas-restore/gas/internal/local/stack"
	"github.com/gas-restore/gas/internal/test/stacktest"
)

// recorder records each step, whether the bar moved, and the announcements
// for people who cannot see it.
const recorder = `(() => {
	window.seen = []; window.bar = []; window.told = [];
	const look = () => {
		const label = document.querySelector("[data-steps] [aria-current]")?.firstChild.textContent ?? document.querySelector("[data-badge] [data-label]").textContent;
		if (seen.at(-1) !== label) seen.push(label);
		const p = document.querySelector("progress");
		if (p && p.hasAttribute("value")) bar.push(p.value / p.max);
		const said = [...document.querySelectorAll("[role=status]")].map(e => e.textContent).join(" ").trim();
		if (told.at(-1) !== said) told.push(said);
	};
	look();
	new MutationObserver(look).observe(document.querySelector("main"), {subtree: true, childList: true, characterData: true, attributes: true});
	return true;
})()`

// TestAPersonGetsTheirFileBack is the whole journey of a person who pays: the list, the
// upgrade, the wait with its news, and the bytes.
func TestAPersonGetsTheirFileBack(t *testing.T) {
	t.Parallel()
	fern := stack.Person{ID: "fern", Name: "Fern Fictive", Role: archive.Free, Archived: 2, Stored: 1, Size: 40 << 20}
	moss := stack.Person{ID: "moss", Name: "Moss Madeup", Role: archive.Free, Archived: 1}
	s := up(t, time.Hour, fern, moss)
	ada := person(t, s.Config.WebBaseURL)

	ada.open("/")
	ada.accessible("the home page")
	ada.click("Sign in")
	ada.says("Fern Fictive")
	ada.accessible("the sign-in page")
	ada.click("Fern Fictive")
	ada.says("Your annotations")
	ada.says("Archived")
	ada.says("panel_001.vcf")

	ada.click("panel_000.vcf")
	ada.says("in the archive")
	ada.click("Upgrade to Premium")
	ada.says("Go Premium")
	ada.press(`form[action="/subscribe"] button`)
	ada.until(`location.pathname === "/annotations"`)
	// The page says from the second of the upgrade on that the file is on its way.
	labels := eval[[]string](ada, `[...document.querySelectorAll("[data-job] [data-label]")].map(e => e.textContent)`)
	for _, l := range labels {
		if l == "Archived" {
			t.Errorf("after the upgrade a file is shown as archived: %q", labels)
		}
	}

	ada.click("panel_000.vcf")
	ada.until(`document.querySelector("[data-card]") !== null && document.readyState === "complete"`)
	eval[bool](ada, recorder)
	stacktest.GlacierEnds(s)
	ada.says("The file is back and ready to download.")
	seen, bar, told := eval[[]string](ada, `seen`), eval[[]float64](ada, `bar`), eval[[]string](ada, `told`)
	t.Logf("the file went through %q, the bar through %v, it was said %q", seen, bar, told)
	// Each state is announced once, even if bytes move in it many times.
	if len(told) > len(seen) {
		t.Errorf("it was said %q while the file went through %q", told, seen)
	}
	for _, label := range []string{"Copying", "Checking"} {
		if slices.Contains(seen, label) && !slices.ContainsFunc(told, func(s string) bool { return strings.Contains(s, label) }) {
			t.Errorf("the file went through %q, and %q was not said: %q", seen, label, told)
		}
	}
	if steps := eval[[]string](ada, `[...document.querySelectorAll("[data-steps] li span")].map(e => e.textContent)`); len(steps) != 5 || slices.ContainsFunc(steps, func(s string) bool { return s != ", done" }) {
		t.Errorf("of the steps it is said %q, want each to be done", steps)
	}
	if len(seen) < 3 || seen[len(seen)-1] != "Ready" {
		t.Errorf("the file went through %q, want a few steps up to Ready", seen)
	}
	for i := 1; i < len(bar); i++ {
		if bar[i] < bar[i-1] {
			t.Errorf("the bar went back: %v", bar)
		}
	}
	if len(bar) == 0 {
		t.Error("no determinate bar was shown while the bytes moved")
	}

	name, got := ada.download("Download the result")
	if want := content(t, fern, 0); !bytes.Equal(got, want) {
		t.Errorf("the download has %d bytes, want the %d of the result", len(got), len(want))
	}
	if want := "panel_000.annot.vcf"; name != want {
		t.Errorf("the download is called %q, want %q", name, want)
	}
	ada.open("/annotations")
	ada.says("All 2 of your files are back")
	ada.accessible("the list")
	ada.press("[data-back] button")
	ada.until(`location.pathname === "/annotations" && document.readyState === "complete" && document.querySelector("[data-back]") === null`)
	ada.open("/annotations")
	ada.until(`document.readyState === "complete"`)
	if eval[bool](ada, `document.querySelector("[data-back]") !== null`) {
		t.Error("a message that was closed returned")
	}
	if name, got := ada.downloadFrom(`.get[href*="fern-0001"]`); name != "panel_001.annot.vcf" || !bytes.Equal(got, content(t, fern, 1)) {
		t.Errorf("from the list comes %q with %d bytes, want the result", name, len(got))
	}

	// Another person sees nothing of this.
	mine := eval[string](ada, `document.querySelector("[data-job] a").getAttribute("href")`)
	bob := person(t, s.Config.WebBaseURL)
	bob.signIn("Moss Madeup", "/annotations")
	bob.says("panel_000.vcf")
	rows := eval[int](bob, `document.querySelectorAll("[data-job]").length`)
	if rows != 1 {
		t.Errorf("the other user's list has %d rows, want 1", rows)
	}
	for _, path := range []string{mine, mine + "/download"} {
		bob.open(path)
		bob.says("There is no such annotation")
	}
	bob.open("/api/v1/jobs/" + strings.TrimPrefix(mine, "/annotation/"))
	bob.says(`"status":404`)

	for who, tb := range map[string]*tab{"ada": ada, "bob": bob} {
		tb.calm(who)
	}
}

// TestItAllWorksWithoutScript makes the same journey without JavaScript.
func TestItAllWorksWithoutScript(t *testing.T) {
	t.Parallel()
	fern := stack.Person{ID: "fern", Name: "Fern Fictive", Role: archive.Free, Archived: 1, Size: 3 << 20}
	s := up(t, 200*time.Millisecond, fern)
	tb := person(t, s.Config.WebBaseURL)
	tb.withoutScript()
	tb.signIn("Fern Fictive", "/subscribe")
	tb.press(`form[action="/subscribe"] button`)
	tb.until(`location.pathname === "/annotations"`)
	for _, width := range []int64{1200, 720, 320} {
		tb.size(width, 800)
		tb.apart("the list without JavaScript")
	}
	tb.size(1200, 900)
	tb.click("panel_000.vcf")
	tb.until(`location.pathname.startsWith("/annotation/") && document.readyState === "complete"`)
	// A person without JavaScript reloads the page.
	tb.untilReloaded("Download the result")
	if _, got := tb.download("Download the result"); !bytes.Equal(got, content(t, fern, 0)) {
		t.Errorf("the download has %d bytes, want those of the result", len(got))
	}
	tb.click("Sign out")
	tb.says("Sign in")
}
