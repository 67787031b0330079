package web

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gas-restore/gas/internal/archive"
	"github.com/gas-restore/gas/pkg/events"
)

// frameOf is an SSE event. If it has only a comment, it is a comment.
type frameOf struct {
	id, event, data string
	comment         bool
}

// eventStream is an open live stream.
type eventStream struct {
	t      *testing.T
	resp   *http.Response
	frames chan frameOf
	cancel context.CancelFunc
}

func (b *browser) stream(path string, header ...string) *eventStream {
	b.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, b.url+path, nil)
	if err != nil {
		b.t.Fatal(err)
	}
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	c := *b.http
	c.Timeout = 0
	resp, err := c.Do(req)
	if err != nil {
		b.t.Fatal(err)
	}
	s := &eventStream{t: b.t, resp: resp, frames: make(chan frameOf), cancel: cancel}
	go func() {
		defer close(s.frames)
		defer resp.Body.Close()
		var f frameOf
		for sc := bufio.NewScanner(resp.Body); sc.Scan(); {
			key, value, _ := strings.Cut(sc.Text(), ":")
			value = strings.TrimPrefix(value, " ")
			switch {
			case sc.Text() == "":
				if f != (frameOf{}) {
					select {
					case s.frames <- f:
					case <-ctx.Done():
						return
					}
				}
				f = frameOf{}
			case key == "":
				f.comment = true
			case key == "id":
				f.id = value
			case key == "event":
				f.event = value
			case key == "data":
				f.data += value
			}
		}
	}()
	b.t.Cleanup(func() {
		cancel()
		for range s.frames {
		}
	})
	return s
}

func (s *eventStream) next() (frameOf, bool) {
	s.t.Helper()
	select {
	case f, ok := <-s.frames:
		return f, ok
	case <-time.After(10 * time.Second):
		s.t.Fatal("nothing came over the stream")
		return frameOf{}, false
	}
}

// change returns the next event. It skips comments.
func (s *eventStream) change() (string, change) {
	s.t.Helper()
	for {
		f, ok := s.next()
		if !ok {
			s.t.Fatal("the stream ended")
		}
		if f.event == "" {
			continue
		}
		var c change
		if err := json.Unmarshal([]byte(f.data), &c); err != nil {
			s.t.Fatalf("data %q: %v", f.data, err)
		}
		return f.id, c
	}
}

func status(user events.UserID, job events.JobID, st archive.State) events.StatusChanged {
	return events.StatusChanged{UserID: user, JobID: job, State: st, At: time.Now(), Detail: "for the operator", Bytes: 5, Size: 10}
}

func TestAPageFollowsItsUsersChanges(t *testing.T) {
	b := newFixture(t)
	b.ports.archived("ada", "j1", time.Now())
	b.ports.tell(status("ada", "j1", archive.Archived))
	ada := b.browser()
	page := ada.signIn("ada", "/annotations")
	_, rest, ok := strings.Cut(page.body, `data-live="`)
	if !ok {
		t.Fatalf("the page has no stream:\n%s", page.body)
	}
	path, _, _ := strings.Cut(rest, `"`)

	// A change between the page and its stream is not lost.
	b.ports.tell(status("ada", "j1", archive.Planned))
	s := ada.stream(path)
	if got := s.resp.Header.Get("Content-Type"); got != "text/event-stream" {
		t.Errorf("Content-Type is %q", got)
	}
	id, c := s.change()
	if id != "s-2" || c.Job != "j1" || c.State != "planned" || c.Label != "Being restored" || c.Step != 1 {
		t.Errorf("event %s is %+v", id, c)
	}
	b.ports.tell(status("bob", "j9", archive.Requested))
	b.ports.tell(status("ada", "j1", archive.Requested))
	if id, c = s.change(); id != "s-4" || c.Sentence != archive.Restoring {
		t.Errorf("event %s is %+v, want 4 with the sentence", id, c)
	}
	s.cancel()

	// When the browser is back, the stream goes on after the last change that it saw.
	b.ports.tell(status("ada", "j1", archive.Copying))
	again := ada.stream(path, "Last-Event-ID", "s-4")
	if id, c = again.change(); id != "s-5" || c.Bytes != 5 || c.Size != 10 {
		t.Errorf("event %s is %+v, want 5 with its bytes", id, c)
	}
	// Without either, it begins now.
	now := ada.stream("/events")
	b.ports.tell(status("ada", "j1", archive.Restored))
	if id, _ = now.change(); id != "s-6" {
		t.Errorf("event is %s, want 6", id)
	}
}

func TestAStreamHoldsNothingOfOthers(t *testing.T) {
	b := newFixture(t, func(_ *Config, d *Deps) { d.Statuses = leaky{d.Statuses.(*fixturePorts)} })
	bob := b.browser()
	bob.signIn("bob", "/")
	b.ports.tell(status("ada", "j1", archive.Requested))
	b.ports.tell(status("bob", "j2", archive.Planned))
	s := bob.stream("/events?after=0")
	if id, c := s.change(); id != "s-2" || c.Job != "j2" {
		t.Errorf("bob got %s %+v", id, c)
	}
	nobody := b.browser()
	nobody.wants(nobody.get("/events"), 401)
	bob.wants(bob.get("/events?after=x"), 400)
	bob.wants(bob.get("/events?after=-1"), 400)
	bob.wants(bob.get("/events?after=S-1"), 400)
}

// reload returns the id of the event that says that the browser may have missed changes.
func (s *eventStream) reload() string {
	s.t.Helper()
	f, ok := s.next()
	for ok && f.event == "" {
		f, ok = s.next()
	}
	if f.event != "reload" {
		s.t.Errorf("got %+v, want to hear that something may have been missed", f)
	}
	return f.id
}

func TestAPositionOfAnotherStreamIsToldSoAndFollowedOn(t *testing.T) {
	for _, c := range []struct{ seen, reload, id string }{
		{"s-3", "t-1", "t-2"},
		{"s-0", "t-1", "t-2"},
		{"t-9", "t-1", "t-2"}, // the stream lost its end
		{"9", "t-0", "t-1"},   // of an older release's page: all that is kept
		{"1", "t-1", "t-2"},
	} {
		t.Run(c.seen, func(t *testing.T) {
			inBubble(t, func(t *testing.T, n *network) {
				b := newFixtureOn(t, n, nil, func(c *Config, _ *Deps) { c.Heartbeat = 20 * time.Millisecond })
				ada := b.browser()
				ada.signIn("ada", "/")
				for range 3 {
					b.ports.tell(status("ada", "j1", archive.Copying))
				}
				open := ada.stream("/events?after=s-3")
				if f, ok := open.next(); !ok || !f.comment {
					t.Fatalf("no heartbeat but %+v, %v", f, ok)
				}
				b.ports.remake("t")
				b.ports.tell(status("ada", "j1", archive.Restored))
				// The site cuts the open stream. The browser comes back with the last id that it saw.
				for ok := true; ok; {
					_, ok = open.next()
				}
				synctest.Wait()
				if at, ok := b.site.hub.position(); !ok || at.String() != "t-1" {
					t.Fatalf("the hub is at %s, want t-1", at)
				}
				again := ada.stream("/events", "Last-Event-ID", c.seen)
				if id := again.reload(); id != c.reload {
					t.Errorf("told to reload at %s, want %s", id, c.reload)
				}
				if c.id == "t-2" {
					b.ports.tell(status("ada", "j2", archive.Planned))
				}
				if id, got := again.change(); id != c.id {
					t.Errorf("got %s %+v, want %s", id, got, c.id)
				}
			})
		})
	}
}

func TestABrowserThatAnotherReplicaToldMoreMissesNothing(t *testing.T) {
	b := newFixture(t)
	from := events.Position{Incarnation: "s", Seq: 1}
	for range 2 {
		b.ports.tell(status("ada", "j1", archive.Copying))
	}
	seen := events.Position{Incarnation: "s", Seq: 2}
	if at, sure, err := b.site.place(t.Context(), seen, from); err != nil || !sure || at != seen {
		t.Errorf("got %s, %v, %v; want %s: it is where the stream is", at, sure, err, seen)
	}
}

func TestAStreamEnds(t *testing.T) {
	b := newFixture(t, func(c *Config, _ *Deps) { c.Heartbeat = 20 * time.Millisecond })
	ada := b.browser()
	ada.signIn("ada", "/")

	// At sign-out.
	s := ada.stream("/events")
	for range 3 {
		if f, ok := s.next(); !ok || !f.comment {
			t.Fatalf("no heartbeat but %+v, %v", f, ok)
		}
	}
	ada.post("/logout", ada.get("/").form(t, "/logout", nil))
	for ok := true; ok; {
		_, ok = s.next()
	}

	// When the browser goes: the follower ends with it.
	ada.signIn("ada", "/")
	s = ada.stream("/events")
	s.next()
	s.cancel()
	// When the site stops. The stop must not wait for the reader.
	s = ada.stream("/events")
	s.next()
	stopped := make(chan error, 1)
	go func() { stopped <- b.stop() }()
	for ok := true; ok; {
		_, ok = s.next()
	}
	if err := <-stopped; err != nil {
		t.Errorf("the site stopped with %v", err)
	}
	b.ports.change(func() {
		if b.ports.following != 0 {
			t.Errorf("%d followers are left", b.ports.following)
		}
	})
}

func TestAStopDoesNotWaitForABrowserThatDoesNotRead(t *testing.T) {
	t.Parallel()
	b := newFixture(t)
	ada := b.browser()
	ada.signIn("ada", "/")
	b.ports.change(func() {
		// The changes are larger than the buffers on the way.
		for i := range 100_000 {
			b.ports.statuses = append(b.ports.statuses, Status{Position: b.ports.at(i + 1), StatusChanged: status("ada", "j1", archive.Copying)})
		}
	})
	conn, err := net.Dial("tcp", strings.TrimPrefix(b.url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprintf(conn, "GET /events?after=0 HTTP/1.1\r\nHost: x\r\nCookie: %s=%s\r\n\r\n", sessionCookie, ada.cookie(sessionCookie))
	// The stream has begun. The test reads only its first byte.
	if _, err := conn.Read(make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	begin := time.Now()
	if err := b.stop(); err != nil {
		t.Errorf("the site stopped with %v", err)
	}
	if took := time.Since(begin); took > 10*time.Second {
		t.Errorf("the stop took %s", took)
	}
}

func TestTheOldestStreamMakesRoom(t *testing.T) {
	b := newFixture(t)
	ada, bob := b.browser(), b.browser()
	ada.signIn("ada", "/")
	bob.signIn("bob", "/")
	others := bob.stream("/events")
	var all []*eventStream
	for range maxStreams + 1 {
		all = append(all, ada.stream("/events"))
	}
	for ok := true; ok; {
		_, ok = all[0].next()
	}
	b.ports.tell(status("ada", "j1", archive.Requested))
	b.ports.tell(status("bob", "j2", archive.Requested))
	for _, s := range append(all[1:], others) {
		if _, c := s.change(); c.State != "requested" {
			t.Errorf("another stream got %+v", c)
		}
	}
}

func TestAnOpenStreamIsNoSignOfLife(t *testing.T) {
	b := newFixture(t)
	ada := b.browser()
	ada.signIn("ada", "/")
	for range 3 {
		b.clock.Add(25 * time.Minute)
		s := ada.stream("/events")
		s.cancel()
		if s.resp.StatusCode != 200 && s.resp.StatusCode != 401 {
			t.Fatalf("the stream answers %s", s.resp.Status)
		}
	}
	u, _ := url.Parse("/annotations")
	if a := ada.still().get(u.Path); a.StatusCode != http.StatusSeeOther {
		t.Errorf("after 75 idle minutes the list answers %s", a.Status)
	}
}

// TestWhatAPageAsksForAloneIsNoSignOfLife lets a page read itself for longer than the idle time
// of its session. Then the page gets an answer that it can understand, and no redirect.
func TestWhatAPageAsksForAloneIsNoSignOfLife(t *testing.T) {
	for path, header := range map[string]string{"/annotations": "1", "/annotation/j1": "1", "/subscribe": "1", "/account": "1", "/api/v1/archive": ""} {
		b := newFixture(t)
		b.ports.archived("ada", "j1", b.clock.Now())
		ada := b.browser()
		ada.signIn("ada", "/")
		ask := func() answer {
			req, err := http.NewRequest(http.MethodGet, b.url+path, nil)
			if err != nil {
				t.Fatal(err)
			}
			if header != "" {
				req.Header.Set("Gas-Unattended", header)
			}
			return ada.still().do(req)
		}
		for i, want := range []int{200, 200, 401} {
			b.clock.Add(25 * time.Minute)
			if a := ask(); a.StatusCode != want {
				t.Errorf("%s answers %s after %d minutes, want %d", path, a.Status, 25*(i+1), want)
			}
		}
	}
}
