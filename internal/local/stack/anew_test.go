package stack_test

import (
	"bufio"
	"context"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/gas-restore/gas/internal/archive"
	"github.com/gas-restore/gas/internal/bus"
	"github.com/gas-restore/gas/internal/local/stack"
	"github.com/gas-restore/gas/internal/test/testenv"
	"github.com/gas-restore/gas/pkg/events"
)

// follow reads the person's live stream as a browser does, which comes back when it is
// cut, and calls each with the id and name of each event until that has enough.
func (p *person) follow(ctx context.Context, seen string, each func(id, name string) bool) {
	p.t.Helper()
	browser := &http.Client{Jar: p.http.Jar}
	defer browser.CloseIdleConnections()
	for ctx.Err() == nil {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, p.base+"/events", nil)
		if err != nil {
			p.t.Fatal(err)
		}
		req.Header.Set("Last-Event-ID", seen)
		resp, err := browser.Do(req)
		if err != nil {
			continue
		}
		var name string
		for sc := bufio.NewScanner(resp.Body); sc.Scan(); {
			key, value, _ := strings.Cut(sc.Text(), ": ")
			switch {
			case key == "id":
				seen = value
			case key == "event":
				name = value
			case key == "" && name != "":
				if each(seen, name) {
					resp.Body.Close()
					return
				}
				name = ""
			}
		}
		resp.Body.Close()
	}
	p.t.Fatal("nothing more came over the live stream")
}

func TestTheSiteGoesOnWhenTheStatusStreamIsMadeAnew(t *testing.T) {
	t.Parallel()
	s, _ := up(t, testenv.Memory(t), []stack.Person{{ID: "fern", Name: "Fern", Role: archive.Free, Archived: 1}})
	fern := signIn(t, s, "fern")
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	tell := func(step string) {
		t.Helper()
		if _, err := s.Bus.Publish(ctx, events.StatusChanged{UserID: "fern", JobID: "fern-0000", State: "planned", At: time.Now(), Step: step}); err != nil {
			t.Fatal(err)
		}
	}
	for _, step := range []string{"a", "b", "c"} {
		tell(step)
	}
	n, last := 0, ""
	fern.follow(ctx, "0", func(id, _ string) bool { n++; last = id; return n == 3 })

	// An operator deletes the stream and provisions it, while the browser listens.
	var told []string
	begun := time.Now()
	made := false
	if err := s.Bus.JS.DeleteStream(ctx, events.StreamStatus); err != nil {
		t.Fatal(err)
	}
	if err := bus.Provision(ctx, s.Bus.JS, bus.Settings{}); err != nil {
		t.Fatal(err)
	}
	fern.follow(ctx, last, func(id, name string) bool {
		told = append(told, name+" "+id)
		if name == "reload" && !made {
			made = true
			tell("d")
		}
		return name == "status"
	})
	t.Logf("%v after %s", told, time.Since(begun))
	old, _, _ := strings.Cut(last, "-")
	if got := told[len(told)-1]; !made || !strings.HasSuffix(got, "-1") || strings.Contains(got, old) {
		t.Errorf("got %v, want a reload and then the first change of another stream than %s", told, last)
	}
}
