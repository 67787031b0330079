//go:build browser

package browser

import (
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"

	"github.com/gas-restore/gas/internal/archive"
	"github.com/gas-restore/gas/internal/local/stack"
)

// streams waits until n live streams are open.
func (f *front) streams(t *testing.T, n int) {
	t.Helper()
	deadline := time.After(patience)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		f.mu.Lock()
		open := f.open
		f.mu.Unlock()
		if open == n {
			return
		}
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("%d streams are open, want %d", open, n)
		}
	}
}

// visible lets the page believe that somebody looks at it, or that nobody does.
func (b *tab) visible(state string) {
	b.t.Helper()
	eval[bool](b, `(Object.defineProperty(document, "visibilityState", {configurable: true, get: () => `+quote(state)+`}), document.dispatchEvent(new Event("visibilitychange")), true)`)
}

func TestAHiddenTabHasNoStreamAndCatchesUp(t *testing.T) {
	t.Parallel()
	s, ada, f, job := watched(t)
	ada.behind(f, "/annotations")
	f.streams(t, 1)
	ada.visible("hidden")
	f.streams(t, 0)
	f.next()
	tell(t, s, job, archive.Copying)
	// The page reads itself every 15 seconds only while somebody looks at it.
	if asked := f.next(); len(asked) != 0 {
		t.Errorf("a hidden tab asked for the stream %d times", len(asked))
	}
	if state := eval[string](ada, stateShown); state != "requested" {
		t.Errorf("a hidden tab shows %s, although it has no stream", state)
	}
	ada.visible("visible")
	ada.until(stateShown + ` === "copying"`)
	f.streams(t, 1)
	tell(t, s, job, archive.Verifying)
	ada.until(stateShown + ` === "verifying"`)
}

func TestAPrintedPageHasFilesAndNoControls(t *testing.T) {
	t.Parallel()
	s := up(t, time.Hour, stack.Person{ID: "fern", Name: "Fern Fictive", Role: archive.Premium, Stored: 3})
	fern := person(t, s.Config.WebBaseURL)
	fern.signIn("Fern Fictive", "/annotations")
	call(fern, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Media: "print"})
	for _, path := range []string{"/annotations", "/annotation/fern-0000", "/account", "/help"} {
		fern.open(path)
		fern.until(`document.readyState === "complete"`)
		fern.fits(path + " on paper")
		if left := eval[[]string](fern, `[...document.querySelectorAll("nav a, button, input:not([type=hidden]), .get, .tape")].filter(e => e.offsetParent !== null && !e.closest("main nav")).map(e => e.outerHTML)`); len(left) > 0 {
			t.Errorf("on paper %s has the controls %q", path, left)
		}
		fern.shot("print" + map[string]string{"/annotations": "-list", "/annotation/fern-0000": "-file", "/account": "-account", "/help": "-help"}[path])
	}
	fern.open("/annotations")
	if n := eval[int](fern, `[...document.querySelectorAll(".jobs li a[data-name]")].filter(e => e.offsetParent !== null).length`); n != 3 {
		t.Errorf("on paper the list has %d files, want 3", n)
	}
}
