//go:build browser

package browser

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"github.com/gas-restore/gas/internal/archive"
	"github.com/gas-restore/gas/internal/local/stack"
	"github.com/gas-restore/gas/internal/test/stacktest"
	"github.com/gas-restore/gas/pkg/events"
)

// front is a proxy in front of the site. It answers some requests for the live stream itself.
type front struct {
	url string

	mu sync.Mutex // guards the fields below
	// answers are the next answers of the proxy to requests for the stream.
	answers []int
	asked   []time.Time
	open    int // streams
	most    int
}

func newFront(t *testing.T, site string) *front {
	t.Helper()
	to, err := url.Parse(site)
	if err != nil {
		t.Fatal(err)
	}
	f := &front{}
	proxy := httputil.NewSingleHostReverseProxy(to)
	proxy.FlushInterval = -1
	proxy.ErrorHandler = func(w http.ResponseWriter, _ *http.Request, _ error) { w.WriteHeader(http.StatusBadGateway) }
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/events" {
			proxy.ServeHTTP(w, r)
			return
		}
		f.mu.Lock()
		f.asked = append(f.asked, time.Now())
		answer := 0
		if len(f.answers) > 0 {
			answer, f.answers = f.answers[0], f.answers[1:]
		}
		if answer == 0 {
			f.open++
			f.most = max(f.most, f.open)
		}
		f.mu.Unlock()
		if answer != 0 {
			w.WriteHeader(answer)
			return
		}
		defer func() { f.mu.Lock(); f.open--; f.mu.Unlock() }()
		proxy.ServeHTTP(w, r)
	}))
	t.Cleanup(func() { srv.CloseClientConnections(); srv.Close() })
	f.url = srv.URL
	return f
}

// next sets the next answers. It returns the times of the requests since the last call.
func (f *front) next(answers ...int) []time.Time {
	f.mu.Lock()
	defer f.mu.Unlock()
	asked := f.asked
	f.asked, f.answers = nil, answers
	return asked
}

// behind opens a page of a person who is signed in, through the proxy: cookies know no ports.
func (b *tab) behind(f *front, path string) {
	b.t.Helper()
	b.base = f.url
	b.open(path)
	b.until(`document.readyState === "complete"`)
}

// another opens one more tab of the same person.
func (b *tab) another() *tab {
	b.t.Helper()
	ctx, cancel := chromedp.NewContext(b.ctx)
	b.t.Cleanup(cancel)
	// The tab lives as long as the context of its first command.
	if err := chromedp.Do(ctx); err != nil {
		b.t.Fatal(err)
	}
	tb := &tab{t: b.t, ctx: ctx, base: b.base}
	tb.size(1200, 900)
	return tb
}

// watched is a service with one file that a person watches. Nobody works on the file.
func watched(t *testing.T) (*stack.Stack, *tab, *front, archive.Job) {
	t.Helper()
	s := up(t, time.Hour, stack.Person{ID: "fern", Name: "Fern Fictive", Role: archive.Free, Archived: 1})
	ada := person(t, s.Config.WebBaseURL)
	ada.signIn("Fern Fictive", "/subscribe")
	ada.press(`form[action="/subscribe"] button`)
	ada.until(`location.pathname === "/annotations"`)
	ada.until(`(() => { if (document.querySelector("[data-job]")?.dataset.state === "requested") return true; location.reload(); return false; })()`)
	job, err := catalogOf(s).Job(t.Context(), "fern-0000")
	if err != nil {
		t.Fatal(err)
	}
	return s, ada, newFront(t, s.Config.WebBaseURL), job
}

func tell(t *testing.T, s *stack.Stack, job archive.Job, st archive.State) {
	t.Helper()
	if _, err := s.Bus.Publish(t.Context(), events.StatusChanged{UserID: job.UserID, JobID: job.ID, State: st, At: time.Now().UTC(), Bytes: 1, Size: 2}); err != nil {
		t.Fatal(err)
	}
}

const stateShown = `document.querySelector("[data-job]").dataset.state`

func TestAPageIsLiveAgainAfterEveryAnswerThatPasses(t *testing.T) {
	t.Parallel()
	s, ada, f, job := watched(t)
	f.next(http.StatusBadGateway, http.StatusTooManyRequests, http.StatusServiceUnavailable)
	ada.behind(f, "/annotations")
	ada.says("This page is not live.")
	ada.accessible("a page that is not live")
	ada.until(`document.querySelector("[data-offline]").childElementCount === 0`)
	tell(t, s, job, archive.Copying)
	ada.until(stateShown + ` === "copying"`)
	asked := f.next()
	if len(asked) != 4 {
		t.Fatalf("the page asked %d times, want 4", len(asked))
	}
	// A page's timer may ring late and never early. So only the shortest wait can be claimed.
	for i, shortest := 1, time.Second; i < len(asked); i, shortest = i+1, 2*shortest {
		if waited := asked[i].Sub(asked[i-1]); waited < shortest-5*time.Millisecond {
			t.Errorf("after refusal %d the page asked again after %s, want at least %s", i, waited, shortest)
		}
	}
}

func TestAPageThatCannotBeLiveSaysSo(t *testing.T) {
	t.Parallel()
	_, ada, f, _ := watched(t)
	f.next(http.StatusNotFound)
	ada.behind(f, "/annotation/fern-0000")
	ada.says("This page is not live.")
	ada.says("Reload")
	ada.seeInEveryLook("not-live", false)
}

func TestAPageSaysThatItsPersonIsSignedOut(t *testing.T) {
	t.Parallel()
	s, ada, f, _ := watched(t)
	ada.behind(f, "/annotations")
	ada.until(`document.readyState === "complete"`)
	other := ada.another()
	other.base = s.Config.WebBaseURL
	other.open("/account")
	other.click("Sign out")
	other.until(`location.pathname === "/"`)
	ada.says("You are signed out. This page shows how things were at")
	ada.says("Sign in")
	ada.until(`!document.body.innerText.includes("Signed in as")`)
	ada.seeInEveryLook("signed-out", false)
}

func TestManyTabsHaveOneStream(t *testing.T) {
	t.Parallel()
	s, ada, f, job := watched(t)
	f.next()
	ada.behind(f, "/annotations")
	tabs := []*tab{ada}
	for range 8 {
		tb := ada.another()
		tb.behind(f, "/annotations")
		tabs = append(tabs, tb)
	}
	tell(t, s, job, archive.Copying)
	for i, tb := range tabs {
		tb.until(stateShown + ` === "copying"`)
		tb.until(fmt.Sprintf(`%d >= 0 && document.querySelector("[data-offline]").childElementCount === 0`, i))
	}
	f.mu.Lock()
	most := f.most
	f.mu.Unlock()
	if most > 2 {
		t.Errorf("%d tabs have %d streams at once, want one", len(tabs), most)
	}
	// The tab with the stream goes: another one takes over.
	tell(t, s, job, archive.Verifying)
	for _, tb := range tabs[1:] {
		tb.until(stateShown + ` === "verifying"`)
	}
}

func TestATabFromBeforeTheUpgradeFollowsIt(t *testing.T) {
	t.Parallel()
	s := up(t, time.Hour, stack.Person{ID: "fern", Name: "Fern Fictive", Role: archive.Free, Archived: 3, Size: 1 << 10})
	old := person(t, s.Config.WebBaseURL)
	old.signIn("Fern Fictive", "/annotations")
	old.says("3 results are in the archive")
	page := old.another()
	page.open("/annotation/fern-0001")
	page.says("Upgrade to Premium")
	plan := old.another()
	plan.open("/subscribe")
	plan.says("Go Premium")
	buy := old.another()
	buy.open("/subscribe")
	buy.press(`form[action="/subscribe"] button`)
	old.says("(Premium)")
	old.until(`document.title.startsWith("0 of 3 back · ")`)
	if sees := old.sees(); strings.Contains(sees, "See Premium") || strings.Contains(sees, "(Free)") {
		t.Errorf("the old tab says %s", sees)
	}
	stacktest.GlacierEnds(s)
	old.says("All 3 of your files are back.")
	page.says("Download the result")
	page.says("(Premium)")
	plan.says("You are Premium")
}

func TestARowLeavesTheGroupThatItIsNoMemberOfAnyMore(t *testing.T) {
	t.Parallel()
	s := up(t, time.Hour, stack.Person{ID: "fern", Name: "Fern Fictive", Role: archive.Free, Archived: 2, Size: 1 << 10})
	ada := person(t, s.Config.WebBaseURL)
	ada.signIn("Fern Fictive", "/subscribe")
	ada.press(`form[action="/subscribe"] button`)
	ada.until(`location.pathname === "/annotations"`)
	ada.open("/annotations?state=coming")
	ada.says("panel_000.vcf")
	stacktest.GlacierEnds(s)
	ada.says("Nothing in this group")
}
