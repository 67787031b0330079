package stack_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/html"

	"github.com/gas-restore/gas/internal/archive"
	"github.com/gas-restore/gas/internal/aws/dynamodb"
	localaws "github.com/gas-restore/gas/internal/local/aws"
	"github.com/gas-restore/gas/internal/local/stack"
	"github.com/gas-restore/gas/internal/test/testenv"
	"github.com/gas-restore/gas/internal/wiring"
	"github.com/gas-restore/gas/pkg/events"
)

// person is somebody with a browser of their own.
type person struct {
	t    *testing.T
	base string
	http *http.Client
}

// signIn signs the person in at the provider.
func signIn(t *testing.T, s *stack.Stack, subject string) *person {
	t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	p := &person{t, s.Config.WebBaseURL, &http.Client{Jar: jar, Timeout: 30 * time.Second}}
	t.Cleanup(p.http.CloseIdleConnections)
	page, at := p.get("/login")
	p.post(at.Scheme+"://"+at.Host+"/login", url.Values{"subject": {subject}, "id": {field(t, page, "id")}})
	return p
}

func (p *person) read(resp *http.Response, err error) (string, *url.URL) {
	p.t.Helper()
	if err != nil {
		p.t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		p.t.Fatalf("%s answers %s, %v: %s", resp.Request.URL, resp.Status, err, body)
	}
	return string(body), resp.Request.URL
}

func (p *person) get(path string) (string, *url.URL) {
	p.t.Helper()
	return p.read(p.http.Get(p.base + path))
}

func (p *person) post(to string, form url.Values) {
	p.t.Helper()
	p.read(p.http.PostForm(to, form))
}

// press sends the form of a page.
func (p *person) press(page, to string) {
	p.t.Helper()
	body, _ := p.get(page)
	p.post(p.base+to, url.Values{"csrf": {field(p.t, body, "csrf")}})
}

// field returns the value of the first input with the name.
func field(t *testing.T, page, name string) string {
	t.Helper()
	root, err := html.Parse(strings.NewReader(page))
	if err != nil {
		t.Fatal(err)
	}
	for n := range root.Descendants() {
		is := map[string]string{}
		for _, a := range n.Attr {
			is[a.Key] = a.Val
		}
		if n.Data == "input" && is["name"] == name {
			return is["value"]
		}
	}
	t.Fatalf("no field %s in %s", name, page)
	return ""
}

// TestADowngradeStopsWhatWasNotAskedFor goes back to Free in the middle of an upgrade, on
// the site. After that nothing more is requested, the requested files still come back,
// and another upgrade brings the rest.
func TestADowngradeStopsWhatWasNotAskedFor(t *testing.T) {
	// One file after the other, half a second each: there is time to change one's mind.
	t.Setenv("GAS_THAW_SLOTS", "1")
	const files = 12
	s, _ := up(t, testenv.Memory(t), []stack.Person{{ID: "fern", Name: "Fern", Role: archive.Free, Archived: files}})
	if err := s.AWS.Faults.Add(localaws.Fault{Service: "glacier", Operation: "InitiateJob", Delay: time.Second / 2}); err != nil {
		t.Fatal(err)
	}
	asked := func() int { return int(s.AWS.Counts()["glacier.InitiateJob"]) }
	fern := signIn(t, s, "fern")
	fern.press("/subscribe", "/subscribe")
	wait(t, s, "fern", archive.Requested)
	fern.press("/account", "/account/free")
	idle(t, s)
	done := asked()
	if done == 0 || done == files {
		t.Fatalf("%d of %d files were requested: the downgrade came too early or too late", done, files)
	}
	restored(t, s, "fern", done)
	s.AWS.Faults.Clear()

	jobs, _, err := dynamodb.New(s.AWSConfig, wiring.Tables(s.Config)).ArchivedPage(t.Context(), "fern", "")
	if err != nil || len(jobs) != files-done {
		t.Fatalf("%d files are in the archive, %v, want the %d that were not requested", len(jobs), err, files-done)
	}
	for _, j := range jobs {
		if j.RetrievalID != "" || j.Intent != nil {
			t.Errorf("%s is requested: %+v", j.ID, j)
		}
		if page, _ := fern.get("/annotation/" + string(j.ID)); !strings.Contains(page, "Upgrade to Premium") {
			t.Errorf("the page of %s does not say that it is archived", j.ID)
		}
	}
	if n := asked(); n != done {
		t.Errorf("the archive was asked %d times, want %d as before", n, done)
	}

	fern.press("/subscribe", "/subscribe")
	restored(t, s, "fern", files)
	if n := asked(); n != files {
		t.Errorf("the archive was asked %d times for %d files", n, files)
	}
}

// wait returns when a job of the user is in the state.
func wait(t *testing.T, s *stack.Stack, user events.UserID, state archive.State) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for e := range s.Bus.FollowStatus(ctx, user, events.Position{}) {
		if e.State == state {
			return
		}
	}
	t.Fatalf("no job of %s is %s", user, state)
}

// idle returns when nothing is left to be planned or asked for. A task is stored before
// its plan is acked: whoever looks at the plans first misses none.
func idle(t *testing.T, s *stack.Stack) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for ; ; <-tick.C {
		left := ""
		for _, name := range []string{events.StreamPremium, events.StreamThaw} {
			st, err := s.Bus.JS.Stream(ctx, name)
			if err != nil {
				t.Fatalf("look at stream %s: %v", name, err)
			}
			if n := st.CachedInfo().State.Msgs; n > 0 {
				left = fmt.Sprintf("%d messages in %s", n, name)
			}
		}
		if left == "" {
			return
		}
		if ctx.Err() != nil {
			t.Fatalf("there are %s", left)
		}
	}
}
