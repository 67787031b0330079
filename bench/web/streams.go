package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/gas-restore/gas/internal/archive"
	"github.com/gas-restore/gas/internal/bus"
	"github.com/gas-restore/gas/pkg/events"
)

type streamResult struct {
	Streams int
	// Before and With are the site's memory in MiB without and with the streams.
	Before    float64
	With      float64
	SteadyP50 time.Duration
	SteadyP99 time.Duration
	BurstP50  time.Duration
	BurstP99  time.Duration
	Lost      int
}

// arrivals collects how long events took.
type arrivals struct {
	mu   sync.Mutex // guards took
	took []time.Duration
}

// taken returns what came since the last call, once want have come or nothing came
// for a few seconds.
func (a *arrivals) taken(want int) []time.Duration {
	for last, quiet := -1, 0; quiet < 50; {
		time.Sleep(100 * time.Millisecond)
		a.mu.Lock()
		n := len(a.took)
		a.mu.Unlock()
		if n >= want {
			break
		}
		if quiet++; n != last {
			last, quiet = n, 0
		}
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	took := a.took
	a.took = nil
	return took
}

func measureStreams(ctx context.Context, s site, o options) (streamResult, error) {
	cookies := make([]string, o.users)
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(8)
	for i := range cookies {
		g.Go(func() (err error) {
			cookies[i], err = signIn(gctx, s.url, watcher(i))
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return streamResult{}, err
	}
	r := streamResult{Before: memory(s.site)}
	var got arrivals
	var conns []net.Conn
	defer func() {
		for _, c := range conns {
			c.Close()
		}
	}()
	for i := range o.streams {
		c, err := watch(ctx, s.url, cookies[i%o.users], &got)
		if err != nil {
			return r, fmt.Errorf("stream %d: %w", i, err)
		}
		conns = append(conns, c)
	}
	r.Streams = len(conns)
	b, err := bus.Connect(ctx, bus.Config{URL: s.nats, User: "operator", Password: s.password, Name: "bench-web"})
	if err != nil {
		return r, err
	}
	defer b.Close()

	// Steady: a hundred changes a second, each to all streams of a user.
	each := o.streams / o.users
	events := int(o.lasts.Seconds()) * 100
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for i := range events {
		<-tick.C
		if _, err := b.Publish(ctx, changed(i%o.users, i)); err != nil {
			return r, err
		}
	}
	took := got.taken(events * each)
	r.Lost += events*each - len(took)
	r.SteadyP50, r.SteadyP99 = quantile(took, .5), quantile(took, .99)

	// All at once: one change for everybody.
	g, gctx = errgroup.WithContext(ctx)
	g.SetLimit(64)
	for i := range o.users {
		g.Go(func() error { _, err := b.Publish(gctx, changed(i, events+i)); return err })
	}
	if err := g.Wait(); err != nil {
		return r, err
	}
	took = got.taken(o.users * each)
	r.Lost += o.users*each - len(took)
	r.BurstP50, r.BurstP99 = quantile(took, .5), quantile(took, .99)
	r.With = memory(s.site)
	return r, nil
}

func changed(user, i int) events.StatusChanged {
	return events.StatusChanged{
		UserID: events.UserID(watcher(user)), JobID: events.JobID(fmt.Sprintf("job-%d", i)),
		State: archive.Requested, Tier: archive.Expedited.Told(), At: time.Now().UTC(),
	}
}

// watch opens a stream and reads it until it ends.
func watch(ctx context.Context, base, cookie string, got *arrivals) (net.Conn, error) {
	host := strings.TrimPrefix(base, "http://")
	var d net.Dialer
	c, err := d.DialContext(ctx, "tcp", host)
	if err != nil {
		return nil, err
	}
	if _, err := fmt.Fprintf(c, "GET /events HTTP/1.1\r\nHost: %s\r\nCookie: %s\r\nAccept: text/event-stream\r\n\r\n", host, cookie); err != nil {
		c.Close()
		return nil, err
	}
	in := bufio.NewReaderSize(c, 1024)
	line, err := in.ReadString('\n')
	if err != nil || !strings.Contains(line, " 200 ") {
		c.Close()
		return nil, fmt.Errorf("the site answers %q, %w", line, err)
	}
	// The stream has begun when its first frame, the retry time, is there.
	for !strings.HasPrefix(line, "retry:") {
		if line, err = in.ReadString('\n'); err != nil {
			c.Close()
			return nil, err
		}
	}
	go func() {
		for {
			line, err := in.ReadSlice('\n')
			if err != nil {
				return
			}
			data, ok := strings.CutPrefix(string(line), "data: ")
			if !ok {
				continue
			}
			now := time.Now()
			var e struct {
				At time.Time `json:"at"`
			}
			if json.Unmarshal([]byte(data), &e) == nil {
				got.mu.Lock()
				got.took = append(got.took, now.Sub(e.At))
				got.mu.Unlock()
			}
		}
	}()
	return c, nil
}

// memory is the resident memory of a process in MiB.
func memory(pid int) float64 {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(data)) {
		if rest, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			kib, _ := strconv.Atoi(strings.Fields(rest)[0])
			return float64(kib) / 1024
		}
	}
	return 0
}
