//go:build browser

package browser

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	cdpbrowser "github.com/chromedp/cdproto/browser"
	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"
)

// patience is how long anything may take before a test gives up.
const patience = time.Minute

// shared is the browser of all tests. Each person has a browser context of their own. To
// start Chromium takes longer than most journeys.
var shared context.Context

func TestMain(m *testing.M) {
	// The tests make some of the data up: a sweep would correct it.
	os.Setenv("GAS_SWEEP_SLACK", "24h")
	code, err := withChromium(m.Run)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

// withChromium runs the tests with a browser that has an empty profile and calls no other
// server.
func withChromium(run func() int) (code int, err error) {
	path := ""
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if found, err := exec.LookPath(name); err == nil {
			path = found
			break
		}
	}
	if path == "" {
		return 1, errors.New("chromium is not installed: apt-get install chromium")
	}
	profile, err := os.MkdirTemp("", "gas-browser-")
	if err != nil {
		return 1, err
	}
	defer os.RemoveAll(profile)
	alloc, stop := chromedp.NewExecAllocator(context.Background(),
		chromedp.ExecPath(path),
		chromedp.Flag("headless", true),
		// The root of a container has no sandbox. The pages are our own.
		chromedp.NoSandbox,
		chromedp.DisableGPU,
		chromedp.NoFirstRun,
		chromedp.Flag("disable-background-networking", true),
		chromedp.Flag("disable-component-update", true),
		chromedp.Flag("disable-dev-shm-usage", true),
		// Several people look at the same time, but only one window is in front.
		chromedp.Flag("disable-background-timer-throttling", true),
		chromedp.Flag("disable-backgrounding-occluded-windows", true),
		chromedp.Flag("disable-renderer-backgrounding", true),
		chromedp.Flag("hide-scrollbars", true),
		chromedp.Flag("lang", "en-GB"),
		chromedp.UserDataDir(profile),
		chromedp.Env("LANG=en_GB.UTF-8", "TZ=Europe/Zurich"),
		chromedp.WSURLReadTimeout(patience),
	)
	defer stop()
	ctx, cancel := chromedp.NewContext(alloc)
	defer cancel()
	if err := chromedp.Do(ctx); err != nil {
		return 1, fmt.Errorf("start %s: %w", path, err)
	}
	// The browser is closed, and not only killed, because its profile is removed after that.
	defer func() { _ = chromedp.Cancel(ctx) }()
	shared = ctx
	return run(), nil
}

// tab is a tab of a person who shares no cookie with others.
type tab struct {
	t    *testing.T
	ctx  context.Context
	base string

	mu sync.Mutex // guards trouble
	// trouble has the errors of the console, and what the policy of the site refused.
	trouble []string
}

// person opens a tab in a browser context of its own.
func person(t *testing.T, base string) *tab {
	t.Helper()
	ctx, cancel := chromedp.NewContext(shared, chromedp.WithNewBrowserContext())
	t.Cleanup(cancel)
	tb := &tab{t: t, ctx: ctx, base: base}
	console := chromedp.Console(ctx)
	go func() {
		for m, err := range console {
			if err != nil {
				return
			}
			if m.Type == chromedp.ConsoleError || m.Type == chromedp.ConsoleException {
				tb.mu.Lock()
				tb.trouble = append(tb.trouble, m.Text)
				tb.mu.Unlock()
			}
		}
	}()
	call(tb, emulation.SetTimezoneOverride, emulation.SetTimezoneOverrideParams{TimezoneID: "Europe/Zurich"})
	tb.size(1200, 900)
	return tb
}

func (b *tab) do(actions ...chromedp.Action[chromedp.Void]) {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, patience)
	defer cancel()
	if err := chromedp.Do(ctx, actions...); err != nil {
		b.t.Fatalf("%v; the page says:\n%s", err, b.sees())
	}
}

// call runs a command of the protocol.
func call[P, R any](b *tab, command cdp.Command[P, R], params P) R {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, patience)
	defer cancel()
	res, err := chromedp.Call(ctx, command, params)
	if err != nil {
		b.t.Fatalf("%s: %v", command.Method, err)
	}
	return res
}

// eval returns the value of a JavaScript expression, or of its promise.
func eval[T any](b *tab, expression string) T {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, patience)
	defer cancel()
	v, err := chromedp.Run(ctx, chromedp.Evaluate[T](expression, chromedp.EvalAwaitPromise))
	if err != nil {
		b.t.Fatalf("evaluate %.100s: %v; the page says:\n%s", expression, err, b.sees())
	}
	return v
}

// sees is the text of the page, for a failure.
func (b *tab) sees() string {
	ctx, cancel := context.WithTimeout(b.ctx, 5*time.Second)
	defer cancel()
	text, err := chromedp.Run(ctx, chromedp.Evaluate[string](`location.href + "\n" + document.body.innerText`))
	if err != nil {
		return "(nothing: " + err.Error() + ")"
	}
	return text
}

func (b *tab) size(width, height int64) {
	b.t.Helper()
	call(b, emulation.SetDeviceMetricsOverride, emulation.SetDeviceMetricsOverrideParams{
		Width: width, Height: height, DeviceScaleFactor: 1, Mobile: width < 600,
	})
}

func (b *tab) withoutScript() {
	b.t.Helper()
	call(b, emulation.SetScriptExecutionDisabled, emulation.SetScriptExecutionDisabledParams{Value: true})
}

func (b *tab) open(path string) {
	b.t.Helper()
	if strings.HasPrefix(path, "/") {
		path = b.base + path
	}
	b.do(chromedp.Navigate(path))
}

// says waits until the page has the text.
func (b *tab) says(text string) {
	b.t.Helper()
	b.until("document.body.innerText.includes(" + quote(text) + ")")
}

// until waits until the expression is true, over navigations too.
func (b *tab) until(expression string) {
	b.t.Helper()
	deadline := time.After(patience)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		if ok, err := chromedp.Run(b.ctx, chromedp.Evaluate[bool](expression)); err == nil && ok {
			return
		}
		select {
		case <-tick.C:
		case <-deadline:
			b.t.Fatalf("never came true: %s; the page says:\n%s", expression, b.sees())
		}
	}
}

// untilReloaded loads the page again and again until it has the text.
func (b *tab) untilReloaded(text string) {
	b.t.Helper()
	b.until("(() => { if (document.body.innerText.includes(" + quote(text) + ")) return true; location.reload(); return false; })()")
}

// click presses the link or button that has the text.
func (b *tab) click(text string) {
	b.t.Helper()
	b.press(fmt.Sprintf(`//*[self::a or self::button][contains(normalize-space(.), %s)]`, quote(text)))
}

// press presses the first visible element of an XPath or CSS selector.
func (b *tab) press(selector string) {
	b.t.Helper()
	b.do(chromedp.Click(selector, chromedp.NodeVisible))
}

func quote(s string) string {
	data, err := json.Marshal(s)
	if err != nil {
		panic(err)
	}
	return string(data)
}

// signIn signs in, and goes to the page.
func (b *tab) signIn(name, back string) {
	b.t.Helper()
	b.open("/login?return=" + back)
	b.click(name)
	b.until(fmt.Sprintf(`location.pathname === %s && document.readyState === "complete"`, quote(back)))
}

// download presses the link with the text, and returns the name and the bytes of the file.
func (b *tab) download(text string) (name string, content []byte) {
	b.t.Helper()
	return b.downloadFrom(fmt.Sprintf(`//a[contains(normalize-space(.), %s)]`, quote(text)))
}

// downloadFrom does so for the first visible element of a selector.
func (b *tab) downloadFrom(selector string) (name string, content []byte) {
	b.t.Helper()
	dir := b.t.TempDir()
	begins := chromedp.BrowserEvents(b.ctx, cdpbrowser.DownloadWillBegin)
	moves := chromedp.BrowserEvents(b.ctx, cdpbrowser.DownloadProgress)
	b.do(func(ctx context.Context, _ *chromedp.Target) (chromedp.Void, error) {
		c := chromedp.FromContext(ctx)
		_, err := cdp.Call(ctx, c.Browser, cdpbrowser.SetDownloadBehavior, cdpbrowser.SetDownloadBehaviorParams{
			Behavior: cdpbrowser.SetDownloadBehaviorBehaviorAllowAndName, BrowserContextID: c.BrowserContextID,
			DownloadPath: dir, EventsEnabled: new(true),
		})
		return chromedp.Void{}, err
	})
	b.press(selector)
	for ev, err := range begins {
		if err != nil {
			b.t.Fatalf("no download came: %v", err)
		}
		name = ev.SuggestedFilename
		break
	}
	for ev, err := range moves {
		if err != nil || ev.State == cdpbrowser.DownloadProgressStateCanceled {
			b.t.Fatalf("the download of %s stopped: %v", name, err)
		}
		if ev.State == cdpbrowser.DownloadProgressStateCompleted {
			if content, err = os.ReadFile(filepath.Join(dir, ev.GUID)); err != nil {
				b.t.Fatal(err)
			}
			break
		}
	}
	return name, content
}

// shot keeps a picture of the whole page as screenshots/name.png, if
// GAS_SCREENSHOTS names the folder.
func (b *tab) shot(name string) {
	b.t.Helper()
	dir := os.Getenv("GAS_SCREENSHOTS")
	if dir == "" {
		return
	}
	ctx, cancel := context.WithTimeout(b.ctx, patience)
	defer cancel()
	png, err := chromedp.Run(ctx, chromedp.FullScreenshot(100))
	if err != nil {
		b.t.Fatal(err)
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		b.t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, name+".png"), png, 0o644); err != nil {
		b.t.Fatal(err)
	}
}
