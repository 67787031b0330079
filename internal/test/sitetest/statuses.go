package sitetest

import (
	"context"
	"fmt"
	"iter"
	"slices"
	"testing"
	"time"

	"github.com/gas-restore/gas/internal/archive"
	"github.com/gas-restore/gas/internal/web"
	"github.com/gas-restore/gas/pkg/events"
)

// report adds changes to the stream, each of another job of the user.
func report(p Ports, user events.UserID, jobs ...string) {
	for _, id := range jobs {
		p.Report(events.StatusChanged{JobID: events.JobID(id), UserID: user, State: events.State(archive.Planned), At: begin})
	}
}

func position(t *testing.T, p Ports) events.Position {
	t.Helper()
	at, err := p.Statuses.Position(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return at
}

// follow begins to follow, and returns what comes next.
func follow(ctx context.Context, t *testing.T, p Ports, after events.Position) func() (web.Status, error, bool) {
	t.Helper()
	next, stop := iter.Pull2(p.Statuses.Follow(ctx, after))
	t.Cleanup(stop)
	return next
}

func kept(t *testing.T, p Ports, user events.UserID, after, upto events.Position) ([]string, error) {
	t.Helper()
	var got []string
	for st, err := range p.Statuses.Kept(t.Context(), user, after, upto) {
		if err != nil {
			return got, err
		}
		if st.UserID != user {
			t.Errorf("a change of %s is kept for %s", st.UserID, user)
		}
		got = append(got, fmt.Sprint(st.Position.Seq, " ", st.JobID))
	}
	return got, nil
}

func statuses(t *testing.T, p Ports) {
	start := position(t, p)
	if start.Incarnation == "" || start.Seq != 0 {
		t.Errorf("an empty stream is at %s, want its beginning", start)
	}
	report(p, "ada", "a1")
	report(p, "bob", "b1")
	report(p, "ada", "a2")
	at := func(seq uint64) events.Position { return events.Position{Incarnation: start.Incarnation, Seq: seq} }
	if now := position(t, p); now != at(3) {
		t.Errorf("the stream is at %s, want %s", now, at(3))
	}

	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	next := follow(ctx, t, p, at(1))
	for i, want := range []events.JobID{"b1", "a2"} {
		if st, err, ok := next(); err != nil || !ok || st.JobID != want || st.Position != at(uint64(i)+2) {
			t.Fatalf("got %+v, %v; want %s", st, err, want)
		}
	}
	report(p, "ada", "a3")
	if st, err, ok := next(); err != nil || !ok || st.JobID != "a3" || st.Position != at(4) || !st.At.Equal(begin) || st.State != events.State(archive.Planned) {
		t.Fatalf("got %+v, %v; want a3 as it comes", st, err)
	}
	stop()
	if st, err, ok := next(); ok {
		t.Errorf("after the end of its context it goes on with %+v, %v", st, err)
	}

	for _, c := range []struct {
		after, upto uint64
		want        []string
	}{
		{0, 4, []string{"1 a1", "3 a2", "4 a3"}}, {1, 3, []string{"3 a2"}}, {1, 2, nil}, {3, 9, []string{"4 a3"}}, {4, 4, nil}, {9, 4, nil},
	} {
		if got, err := kept(t, p, "ada", at(c.after), at(c.upto)); err != nil || !slices.Equal(got, c.want) {
			t.Errorf("after %d up to %d: got %v, %v; want %v", c.after, c.upto, got, err, c.want)
		}
	}

	p.Report(events.StatusChanged{JobID: "a1", UserID: "ada", State: events.State(archive.Requested), At: begin.Add(time.Hour)})
	if e, ok, err := p.Statuses.Last(t.Context(), "ada", "a1"); err != nil || !ok || e.State != events.State(archive.Requested) {
		t.Errorf("the last of a1 is %+v, %v, %v", e, ok, err)
	}
	for _, none := range [][2]string{{"bob", "a1"}, {"ada", "none"}} {
		if e, ok, err := p.Statuses.Last(t.Context(), events.UserID(none[0]), events.JobID(none[1])); err != nil || ok {
			t.Errorf("the last of %v is %+v, %v", none, e, err)
		}
	}
}

func remade(t *testing.T, p Ports) {
	report(p, "ada", "a1", "a2", "a3")
	old := position(t, p)
	next := follow(t.Context(), t, p, events.Position{Incarnation: old.Incarnation, Seq: old.Seq - 1})
	if st, err, ok := next(); err != nil || !ok || st.JobID != "a3" {
		t.Fatalf("got %+v, %v", st, err)
	}
	p.Remake()
	begun := time.Now()
	if st, err, ok := next(); !ok || err == nil {
		t.Errorf("a follower gets %+v after the stream was made anew, want an error", st)
	}
	if took := time.Since(begun); took > 15*time.Second {
		t.Errorf("whoever follows learns it after %s, want seconds", took)
	}
	now := position(t, p)
	if now.Incarnation == old.Incarnation || now.Seq != 0 {
		t.Errorf("the new stream is at %s, the old one was at %s", now, old)
	}
	report(p, "ada", "b1")
	if got, err := kept(t, p, "ada", events.Position{Incarnation: old.Incarnation}, old); err == nil {
		t.Errorf("kept of the old stream are %v, want an error", got)
	}
	for _, after := range []events.Position{old, {Incarnation: position(t, p).Incarnation, Seq: 9}} {
		for st, err := range p.Statuses.Follow(t.Context(), after) {
			if err == nil {
				t.Errorf("after %s comes %+v, want an error", after, st)
			}
			break
		}
	}
	if e, ok, err := p.Statuses.Last(t.Context(), "ada", "a1"); err != nil || ok {
		t.Errorf("the new stream has a last change of a1: %+v, %v", e, err)
	}
	if got, err := kept(t, p, "ada", now, position(t, p)); err != nil || !slices.Equal(got, []string{"1 b1"}) {
		t.Errorf("kept of the new stream are %v, %v; want b1", got, err)
	}
}
