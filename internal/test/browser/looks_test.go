//go:build browser

package browser

import (
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"

	"github.com/gas-restore/gas/internal/archive"
	"github.com/gas-restore/gas/internal/local/stack"
)

// TestAReaderInUTCSeesEachTimeOnce opens a file's page in two zones.
func TestAReaderInUTCSeesEachTimeOnce(t *testing.T) {
	t.Parallel()
	s := up(t, time.Hour, stack.Person{ID: "fern", Name: "Fern Fictive", Role: archive.Free, Archived: 1})
	ada := person(t, s.Config.WebBaseURL)
	for zone, want := range map[string]int{"UTC": 0, "Europe/Zurich": 1, "Africa/Accra": 0} {
		call(ada, emulation.SetTimezoneOverride, emulation.SetTimezoneOverrideParams{TimezoneID: zone})
		ada.signIn("Fern Fictive", "/annotation/fern-0000")
		if got := eval[int](ada, `document.querySelector(".facts dd time").querySelectorAll(".utc").length`); got != want {
			t.Errorf("in %s a time tells %d other zones, want %d", zone, got, want)
		}
		if got := eval[string](ada, `document.querySelector(".facts dd time").textContent`); want == 0 && got != "1 Oct 2026, 08:00 UTC" {
			t.Errorf("in %s the time is %q", zone, got)
		}
		ada.open("/account")
		ada.click("Sign out")
		ada.until(`location.pathname === "/"`)
	}
}

// TestProgressIsSeenInForcedColors compares the colors of the bar and of the steps.
func TestProgressIsSeenInForcedColors(t *testing.T) {
	t.Parallel()
	s := up(t, time.Hour, stack.Person{ID: "sorrel", Name: "Sorrel Sample", Role: archive.Premium, Stored: 1})
	gallery(t, s, "sorrel")
	ada := person(t, s.Config.WebBaseURL)
	ada.signIn("Sorrel Sample", "/annotation/shown-copying")
	for _, scheme := range []string{"light", "dark"} {
		call(ada, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{
			{Name: "forced-colors", Value: "active"}, {Name: "prefers-color-scheme", Value: scheme}, {Name: "prefers-reduced-motion", Value: "reduce"},
		}})
		if !eval[bool](ada, `matchMedia("(forced-colors: active)").matches`) {
			t.Fatal("the colors are not forced")
		}
		ada.shot("forced-colors-" + scheme)
		for what, differ := range map[string]string{
			"the bar and a gap":          `getComputedStyle(document.querySelector("progress")).forcedColorAdjust === "none" && getComputedStyle(document.querySelector("progress")).borderTopWidth === "1px"`,
			"a done step and a next one": `getComputedStyle(document.querySelector('[data-mark="done"]'), "::before").backgroundColor !== getComputedStyle(document.querySelector('[data-mark="next"]'), "::before").backgroundColor`,
			"a step now and a next one":  `getComputedStyle(document.querySelector('[data-mark="now"]'), "::before").backgroundImage !== getComputedStyle(document.querySelector('[data-mark="next"]'), "::before").backgroundImage`,
		} {
			if !eval[bool](ada, differ) {
				t.Errorf("in %s, %s look the same", scheme, what)
			}
		}
	}
}
