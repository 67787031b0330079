// Command web measures the site: pages a second for a user with 10,000 jobs, paging and
// searching through many more, and 10,000 live streams.
//
// The site is a process of its own, like cmd/web. A second process has the stand-in of
// AWS, NATS and the sign-in provider. This process sends the requests. The CPU time of a
// page in each of the three hardly depends on the rest of the machine. The number of
// pages a second and their latency do.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"runtime/pprof"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/gas-restore/gas/bench/internal/benchtab"
	"github.com/gas-restore/gas/internal/archive"
	"github.com/gas-restore/gas/internal/aws/dynamodb"
	"github.com/gas-restore/gas/internal/config"
	"github.com/gas-restore/gas/internal/daemon"
	"github.com/gas-restore/gas/internal/local/stack"
	"github.com/gas-restore/gas/internal/wiring"
	"github.com/gas-restore/gas/pkg/events"
)

type options struct {
	part                               string
	jobs, deep, persons, users         int
	streams, rate                      int
	lasts                              time.Duration
	profile, beside, only, listen, dir string
}

// The parts of the bench, each a process.
const (
	partWorld = "world"
	partSite  = "site"
)

func main() {
	var o options
	flag.StringVar(&o.part, "part", "", "be that part, and not the whole: for the bench itself")
	flag.IntVar(&o.jobs, "jobs", 10_000, "jobs of the one who looks at pages")
	flag.IntVar(&o.deep, "deep", 100_000, "jobs of the one who pages and searches; 0 for nobody")
	flag.IntVar(&o.persons, "persons", 100, "others who look at pages, with 100 jobs each")
	flag.IntVar(&o.users, "users", 1000, "users who watch")
	flag.IntVar(&o.streams, "streams", 10_000, "live streams, spread over the users; 0 for none")
	flag.IntVar(&o.rate, "rate", 1000, "pages a second to request")
	flag.StringVar(&o.profile, "profile", "", "file for a CPU profile of the site")
	flag.StringVar(&o.beside, "profile-beside", "", "file for a CPU profile of the stand-in and NATS")
	flag.StringVar(&o.only, "only", "", "measure only pages with this in their name")
	flag.DurationVar(&o.lasts, "for", 8*time.Second, "how long each load lasts")
	flag.StringVar(&o.listen, "listen", "", "where the site listens: for the bench itself")
	flag.StringVar(&o.dir, "dir", "", "where state is: for the bench itself")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	run := measure
	switch o.part {
	case partWorld:
		run = serveWorld
	case partSite:
		run = serveSite
	}
	if err := run(ctx, o); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// reader is the one with many jobs, searcher the one with very many; the others are
// person 0, 1 and so on, and watcher 0, 1 and so on.
const (
	reader   = "reader"
	searcher = "searcher"
)

func person(i int) string  { return fmt.Sprintf("person-%03d", i) }
func watcher(i int) string { return fmt.Sprintf("watcher-%04d", i) }

// jobsOfOthers is how many jobs each of the other persons has.
const jobsOfOthers = 100

// ready is what a part says on its standard output once it runs.
type ready struct {
	Env []stack.Variable
}

// serveWorld runs everything but the site until standard input ends.
func serveWorld(ctx context.Context, o options) error {
	people := []stack.Person{{ID: reader, Name: "Rita Reader", Role: archive.Premium}, {ID: searcher, Name: "Sam Searcher", Role: archive.Premium}}
	for i := range o.persons {
		people = append(people, stack.Person{ID: person(i), Name: fmt.Sprintf("Petra Person %d", i), Role: archive.Premium})
	}
	for i := range o.users {
		people = append(people, stack.Person{ID: watcher(i), Name: fmt.Sprintf("Wanda Watcher %d", i), Role: archive.Free})
	}
	const free = "127.0.0.1:0"
	s, err := stack.Start(ctx, stack.Options{
		Dir: o.dir, Only: []string{stack.AWS, stack.NATS, stack.IDP}, ExpeditedDelay: time.Hour, Log: quiet(),
		AWSAddr: free, NATSAddr: free, IDPAddr: free, WebAddr: o.listen, WebhookAddr: free,
	}, people)
	if err != nil {
		return err
	}
	defer s.Close()
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(8)
	fill := func(who string, n int) {
		for at := 0; at < n; at += 1000 {
			g.Go(func() error { return fill(gctx, s, who, at, min(at+1000, n)) })
		}
	}
	fill(reader, o.jobs)
	fill(searcher, o.deep)
	for i := range o.persons {
		fill(person(i), jobsOfOthers)
	}
	if err := g.Wait(); err != nil {
		return err
	}
	return serve(o.beside, s.Environment(), func() error { return nil })
}

// fill gives somebody jobs from to to: every tenth is in the archive, the rest are
// ready. S3 has the results and the logs, because the site looks for them.
func fill(ctx context.Context, s *stack.Stack, who string, from, to int) error {
	catalog, p := dynamodb.New(s.AWSConfig, wiring.Tables(s.Config)), stack.Person{ID: who}
	for i := from; i < to; i++ {
		j := p.Job(s.Config.Bucket, i)
		if i%10 == 0 {
			j.ArchiveID, j.ArchiveSize = events.ArchiveID(fmt.Sprintf("archive-%s-%d", who, i)), 10_000_000
		} else if _, _, _, err := s.AWS.S3.AddSparse(j.Result.Bucket, j.Result.Key, "STANDARD", 10_000); err != nil {
			return err
		}
		if _, _, _, err := s.AWS.S3.AddSparse(j.Log.Bucket, j.Log.Key, "STANDARD", 100); err != nil {
			return err
		}
		if err := catalog.AddJob(ctx, j); err != nil {
			return err
		}
	}
	return nil
}

// serveSite runs the site, which the environment tells where the world is, until
// standard input ends.
func serveSite(ctx context.Context, o options) error {
	cfg, err := config.Load(config.Web)
	if err != nil {
		return err
	}
	part, err := wiring.Web(ctx, wiring.Env{Config: cfg, Log: quiet()})
	if err != nil {
		return err
	}
	stopper, runCtx := daemon.NewStopper(context.WithoutCancel(ctx))
	done := make(chan error, 1)
	go func() { done <- daemon.Run(runCtx, stopper, 10*time.Second, part) }()
	return serve(o.profile, nil, func() error {
		stopper.Stop(10 * time.Second)
		return <-done
	})
}

func quiet() *slog.Logger {
	return slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelError}))
}

// serve says that the part runs and waits for standard input to end.
func serve(profile string, env []stack.Variable, stop func() error) error {
	if profile != "" {
		f, err := os.Create(profile)
		if err != nil {
			return err
		}
		defer f.Close()
		if err := pprof.StartCPUProfile(f); err != nil {
			return err
		}
		defer pprof.StopCPUProfile()
	}
	if err := json.NewEncoder(os.Stdout).Encode(ready{env}); err != nil {
		return err
	}
	_, _ = os.Stdin.Read(make([]byte, 1))
	return stop()
}

// process is a part that runs.
type process struct {
	cmd *exec.Cmd
	in  io.Closer
}

// start runs this program as part and returns what it says once it is ready.
func start(ctx context.Context, part string, o options, env []string) (*process, ready, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, ready{}, err
	}
	cmd := exec.CommandContext(ctx, self, append([]string{"-part", part, "-listen", o.listen, "-dir", o.dir}, os.Args[1:]...)...)
	cmd.Stderr = os.Stderr
	cmd.Env = append(os.Environ(), env...)
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, ready{}, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, ready{}, err
	}
	if err := cmd.Start(); err != nil {
		return nil, ready{}, err
	}
	p := &process{cmd, in}
	var r ready
	if err := json.NewDecoder(out).Decode(&r); err != nil {
		p.stop()
		return nil, r, fmt.Errorf("the %s did not start: %w", part, err)
	}
	return p, r, nil
}

func (p *process) stop() {
	p.in.Close()
	_ = p.cmd.Wait()
}

// site is what is measured, and what it needs.
type site struct {
	url, nats, password, aws string
	// site and world are the processes.
	site, world int
}

// result is what is kept of a run.
type result struct {
	Pages, Deep []pageResult
	Streams     streamResult
}

func measure(ctx context.Context, o options) (err error) {
	if o.dir, err = os.MkdirTemp("", "gas-bench-web-"); err != nil {
		return err
	}
	defer os.RemoveAll(o.dir)
	// The sign-in provider has to know where the site will be before it is.
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	o.listen = ln.Addr().String()
	ln.Close()
	fmt.Fprintf(os.Stderr, "making %d jobs and %d users\n", o.jobs+o.deep+o.persons*jobsOfOthers, o.persons+o.users+2)
	world, is, err := start(ctx, partWorld, o, nil)
	if err != nil {
		return err
	}
	defer world.stop()
	// One address asks for everything here.
	env := []string{"GAS_WEB_RATE=1000000"}
	known := map[string]string{}
	for _, v := range is.Env {
		env = append(env, v.Name+"="+v.Value)
		known[v.Name] = v.Value
	}
	web, _, err := start(ctx, partSite, o, env)
	if err != nil {
		return err
	}
	defer web.stop()
	s := site{
		url: known["GAS_WEB_BASE_URL"], nats: known["GAS_NATS_URL"], password: known["GAS_NATS_OPERATOR_PASSWORD"], aws: known["AWS_ENDPOINT_URL"],
		site: web.cmd.Process.Pid, world: world.cmd.Process.Pid,
	}
	var r result
	if r.Pages, r.Deep, err = measurePages(ctx, s, o); err != nil {
		return err
	}
	if o.streams > 0 {
		if r.Streams, err = measureStreams(ctx, s, o); err != nil {
			return err
		}
	}
	tables := r.tables(o)
	for _, t := range tables {
		err = errors.Join(err, t.Print(os.Stdout))
	}
	if o.only != "" {
		return err
	}
	return errors.Join(err, benchtab.Save("web", tables...))
}

func (r result) tables(o options) (tables []*benchtab.Table) {
	pages := func(title string, results []pageResult, notes ...string) {
		if len(results) == 0 {
			return
		}
		t := &benchtab.Table{
			Title:   title,
			Columns: []string{"page", "most/s", "asked/s", "p50", "p99", "CPU of the site", "beside it", "of asking", "bytes", "AWS calls"},
			Notes:   notes,
		}
		for _, p := range results {
			t.Rows = append(t.Rows, []string{p.Name, fmt.Sprintf("%.0f", p.Most), fmt.Sprint(p.Asked), ms(p.P50), ms(p.P99),
				ms(p.Site), ms(p.World), ms(p.Load), fmt.Sprint(p.Bytes), p.calls()})
		}
		tables = append(tables, t)
	}
	pages(fmt.Sprintf("Pages of somebody with %d jobs, and of %d others with %d each", o.jobs, o.persons, jobsOfOthers), r.Pages,
		fmt.Sprintf("Three processes share %s: the site; the stand-in of AWS with NATS beside it; and the one that asks. CPU times are of one page.", cpus()),
		"Latency counts from the time when a request was due. If the site does not reach the rate, four fifths of its greatest rate is used.")
	pages(fmt.Sprintf("Going through %d jobs", o.deep), r.Deep, "One page after the other is the most; latency is at half of that.")
	if s := r.Streams; s.Streams > 0 {
		tables = append(tables, &benchtab.Table{
			Title:   fmt.Sprintf("%d live streams of %d users", s.Streams, o.users),
			Columns: []string{"MiB before", "MiB with", "KiB a stream", "steady p50", "p99", "to all at once p50", "p99", "lost"},
			Notes:   []string{"From publishing the event to its coming out of the socket; the memory is the site's."},
			Rows: [][]string{{fmt.Sprintf("%.0f", s.Before), fmt.Sprintf("%.0f", s.With), fmt.Sprintf("%.0f", (s.With-s.Before)*1024/float64(max(s.Streams, 1))),
				ms(s.SteadyP50), ms(s.SteadyP99), ms(s.BurstP50), ms(s.BurstP99), fmt.Sprint(s.Lost)}},
		})
	}
	return tables
}

func ms(d time.Duration) string {
	v := float64(d) / float64(time.Millisecond)
	if v < 10 {
		return fmt.Sprintf("%.2f ms", v)
	}
	return fmt.Sprintf("%.0f ms", v)
}

// calls are the AWS calls of a page, those of less than one in a hundred left out.
func (p pageResult) calls() string {
	var words []string
	for _, c := range p.Calls {
		if c.N >= .01 {
			words = append(words, fmt.Sprintf("%.2g %s", c.N, c.Name))
		}
	}
	if words == nil {
		return "none"
	}
	return strings.Join(words, ", ")
}
