//go:build browser

package browser

import (
	"os"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"

	"github.com/gas-restore/gas/internal/archive"
	"github.com/gas-restore/gas/internal/local/stack"
)

// look is a way to look at a page.
type look struct {
	name          string
	scheme        string // light or dark
	width, height int64
	// forced is with forced colors, paper as printed, and plain without JavaScript.
	forced, paper, plain bool
}

// asUsual is the look that a tab begins with.
var asUsual = look{name: "light", scheme: "light", width: 1200, height: 900}

// looks are the looks that each page is tested in. When pictures are kept for people to look at,
// there are a few more.
func looks() []look {
	all := []look{
		asUsual,
		{name: "dark", scheme: "dark", width: 1200, height: 900},
		{name: "narrow", scheme: "light", width: 320, height: 640},
		{name: "narrow-dark", scheme: "dark", width: 320, height: 640},
		{name: "wide", scheme: "light", width: 1440, height: 900},
	}
	if os.Getenv("GAS_SCREENSHOTS") != "" {
		all = append(all,
			look{name: "forced", scheme: "light", width: 1200, height: 900, forced: true},
			look{name: "print", scheme: "light", width: 800, height: 1100, paper: true},
			look{name: "no-script", scheme: "light", width: 1200, height: 900, plain: true})
	}
	return all
}

// wear gives the tab the look.
func (b *tab) wear(l look) {
	b.t.Helper()
	b.size(l.width, l.height)
	media := emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{
		{Name: "prefers-color-scheme", Value: l.scheme}, {Name: "prefers-reduced-motion", Value: "reduce"},
	}}
	if l.forced {
		media.Features = append(media.Features, &emulation.MediaFeature{Name: "forced-colors", Value: "active"})
	}
	if l.paper {
		media.Media = "print"
	}
	call(b, emulation.SetEmulatedMedia, media)
	call(b, emulation.SetScriptExecutionDisabled, emulation.SetScriptExecutionDisabledParams{Value: l.plain})
}

// see checks the page that the tab shows in the look, and keeps a picture. Of the looks that are
// for people, it checks only the width.
func (b *tab) see(page string, l look) {
	b.t.Helper()
	what := page + " in " + l.name
	b.fits(what)
	if !l.forced && !l.paper && !l.plain {
		if l.scheme == "light" {
			b.accessible(what)
		} else {
			b.legible(what)
		}
		b.apart(what)
		b.targets(what)
	}
	b.shot(page + "-" + l.name)
}

// seeInEveryLook does so in each look. The tab loads the page anew where it has no JavaScript, and
// has its usual look in the end. A page that JavaScript alone can show has to be lasting = false.
func (b *tab) seeInEveryLook(page string, lasting bool) {
	b.t.Helper()
	for _, l := range looks() {
		if l.plain && !lasting {
			continue
		}
		b.wear(l)
		if l.plain {
			b.do(chromedp.Reload())
		}
		b.see(page, l)
		if l.plain {
			b.wear(asUsual)
			b.do(chromedp.Reload())
		}
	}
	b.wear(asUsual)
}

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
		ada.wear(look{scheme: scheme, width: 1200, height: 900, forced: true})
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
