// Command web measures the site over the whole local service, in a process of its
// own: pages a second for somebody with 10,000 jobs, and 10,000 live streams.
package main

import (
	"bufio"
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"os/signal"
	"runtime/pprof"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/gas-restore/gas/internal/archive"
	"github.com/gas-restore/gas/internal/aws/dynamodb"
	"github.com/gas-restore/gas/internal/benchtab"
	"github.com/gas-restore/gas/internal/daemon"
	"github.com/gas-restore/gas/internal/stack"
	"github.com/gas-restore/gas/pkg/events"
)

type options struct {
	jobs, users, streams, rate int
	lasts                      time.Duration
	profile                    string
}

func main() {
	var o options
	serve := flag.Bool("serve", false, "be the process that is measured")
	flag.IntVar(&o.jobs, "jobs", 10_000, "jobs of the one who looks at pages")
	flag.IntVar(&o.users, "users", 1000, "users who watch")
	flag.IntVar(&o.streams, "streams", 10_000, "live streams, spread over the users")
	flag.IntVar(&o.rate, "rate", 1000, "pages a second that are asked for")
	flag.StringVar(&o.profile, "profile", "", "file for a CPU profile of the measured process")
	flag.DurationVar(&o.lasts, "for", 8*time.Second, "how long each load lasts")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	run := measure
	if *serve {
		run = serveSite
	}
	if err := run(ctx, o); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// reader is the one with many jobs; the others are watcher 0, 1 and so on.
const reader = "reader"

func watcher(i int) string { return fmt.Sprintf("watcher-%04d", i) }

// serveSite runs the service until standard input ends, and prints where it is.
func serveSite(ctx context.Context, o options) error {
	// One address asks for everything here.
	os.Setenv("GAS_WEB_RATE", "1000000")
	dir, err := os.MkdirTemp("", "gas-bench-web-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	people := []stack.Person{{ID: reader, Name: "Rita Reader", Role: archive.Premium}}
	for i := range o.users {
		people = append(people, stack.Person{ID: watcher(i), Name: fmt.Sprintf("Wanda Watcher %d", i), Role: archive.Free})
	}
	const free = "127.0.0.1:0"
	s, err := stack.Start(ctx, stack.Options{
		Dir: dir, ExpeditedDelay: time.Hour, Log: slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelError})),
		AWSAddr: free, NATSAddr: free, IDPAddr: free, WebAddr: free, WebhookAddr: free,
	}, people)
	if err != nil {
		return err
	}
	defer s.Close()
	if err := fill(ctx, s, o.jobs); err != nil {
		return err
	}
	stopper, runCtx := daemon.NewStopper(context.WithoutCancel(ctx))
	done := make(chan error, 1)
	go func() { done <- daemon.Run(runCtx, stopper, 10*time.Second, s.Parts...) }()
	if o.profile != "" {
		f, err := os.Create(o.profile)
		if err != nil {
			return err
		}
		defer f.Close()
		if err := pprof.StartCPUProfile(f); err != nil {
			return err
		}
		defer pprof.StopCPUProfile()
	}
	fmt.Println(s.Config.WebBaseURL, s.Config.NATSURL, s.Config.OperatorPassword.Reveal())
	_, _ = os.Stdin.Read(make([]byte, 1))
	stopper.Stop(10 * time.Second)
	return <-done
}

// fill gives the reader jobs: every tenth is in the archive, the rest are ready.
func fill(ctx context.Context, s *stack.Stack, n int) error {
	catalog := dynamodb.New(s.AWSConfig, s.Config.JobTable, s.Config.AccountTable)
	person := stack.Person{ID: reader}
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(16)
	for i := range n {
		g.Go(func() error {
			j := person.Job(s.Config.Bucket, i)
			if i%10 == 0 {
				j.ArchiveID, j.ArchiveSize = events.ArchiveID(fmt.Sprintf("archive-%d", i)), 10_000_000
			}
			return catalog.AddJob(ctx, j)
		})
	}
	return g.Wait()
}

// site is the measured process.
type site struct {
	url, nats, password string
	pid                 int
}

// result is what is kept of a run.
type result struct {
	Pages   []pageResult
	Streams streamResult
}

func measure(ctx context.Context, o options) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, self, append([]string{"-serve"}, os.Args[1:]...)...)
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		return err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	defer func() {
		in.Close()
		_ = cmd.Wait()
	}()
	fmt.Fprintf(os.Stderr, "making %d jobs and %d users\n", o.jobs, o.users)
	line, err := bufio.NewReader(out).ReadString('\n')
	f := strings.Fields(line)
	if err != nil || len(f) != 3 {
		return errors.Join(errors.New("the site did not start"), err)
	}
	s := site{url: f[0], nats: f[1], password: f[2], pid: cmd.Process.Pid}
	var r result
	if r.Pages, err = measurePages(ctx, s, o); err != nil {
		return err
	}
	if r.Streams, err = measureStreams(ctx, s, o); err != nil {
		return err
	}
	pages, streams := r.tables(o)
	if err := errors.Join(pages.Print(os.Stdout), streams.Print(os.Stdout)); err != nil {
		return err
	}
	return benchtab.Save("web", pages, streams)
}

func (r result) tables(o options) (pages, streams *benchtab.Table) {
	t := &benchtab.Table{
		Title:   fmt.Sprintf("Pages of somebody with %d jobs", o.jobs),
		Columns: []string{"page", "most/s", "of a bare page", fmt.Sprintf("p50 at %d/s", o.rate), "p99", "answered/s", "bytes"},
		Notes:   []string{"The load, the stand-in of DynamoDB, NATS and the site share the machine. Latency counts from when a request was due."},
	}
	for _, p := range r.Pages {
		t.Rows = append(t.Rows, []string{p.Name, fmt.Sprintf("%.0f", p.Most), fmt.Sprintf("%.2f", p.Most/r.Pages[0].Most),
			ms(p.P50), ms(p.P99), fmt.Sprintf("%.0f", p.Answered), fmt.Sprint(p.Bytes)})
	}
	s := r.Streams
	u := &benchtab.Table{
		Title:   fmt.Sprintf("%d live streams of %d users", s.Streams, o.users),
		Columns: []string{"MiB before", "MiB with", "KiB a stream", "steady p50", "p99", "to all at once p50", "p99", "lost"},
		Notes:   []string{"From publishing the event to its coming out of the socket; the process holds NATS and the stand-in too."},
		Rows: [][]string{{fmt.Sprintf("%.0f", s.Before), fmt.Sprintf("%.0f", s.With), fmt.Sprintf("%.0f", (s.With-s.Before)*1024/float64(max(s.Streams, 1))),
			ms(s.SteadyP50), ms(s.SteadyP99), ms(s.BurstP50), ms(s.BurstP99), fmt.Sprint(s.Lost)}},
	}
	return t, u
}

func ms(d time.Duration) string { return fmt.Sprintf("%.1f ms", float64(d)/float64(time.Millisecond)) }
