package nats_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"github.com/gas-restore/gas/internal/bus"
	"github.com/gas-restore/gas/internal/test/testenv"
	"github.com/gas-restore/gas/pkg/events"
)

func TestMain(m *testing.M) {
	testenv.ServeNATS()
	testenv.SideBySide(3)
	os.Exit(m.Run())
}

const conf = "nats.conf"

var variable = regexp.MustCompile(`\$(GAS_[A-Z_]+)`)

// setVariables sets all that the configuration takes from the environment.
func setVariables(t *testing.T) {
	t.Helper()
	text, err := os.ReadFile(conf)
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range variable.FindAllStringSubmatch(string(text), -1) {
		t.Setenv(m[1], "x")
	}
	t.Setenv("GAS_NATS_ROUTES", `["nats-route://a.example:6222", "nats-route://b.example:6222"]`)
	for _, l := range []string{"LISTEN", "MONITOR", "CLUSTER_LISTEN", "CLUSTER_ADVERTISE"} {
		t.Setenv("GAS_NATS_"+l, "127.0.0.1:4222")
	}
}

func TestTheExampleEnvironmentHasEveryVariableAndNoOther(t *testing.T) {
	names := func(file string, re *regexp.Regexp) []string {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, m := range re.FindAllStringSubmatch(string(text), -1) {
			got = append(got, m[1])
		}
		slices.Sort(got)
		return slices.Compact(got)
	}
	taken, given := names(conf, variable), names("env.example", regexp.MustCompile(`(?m)^(GAS_[A-Z_]+)=`))
	if len(taken) == 0 || !slices.Equal(taken, given) {
		t.Errorf("the configuration takes %v, the example gives %v", taken, given)
	}
}

// grant is what a user may do, without the password.
type grant struct {
	User, Account string
	Permissions   *server.Permissions
}

func grants(t *testing.T, o *server.Options) []grant {
	t.Helper()
	var got []grant
	for _, u := range o.Users {
		got = append(got, grant{u.Username, u.Account.Name, u.Permissions})
	}
	slices.SortFunc(got, func(a, b grant) int { return len(a.User) - len(b.User) + 100*int(a.User[0]) - 100*int(b.User[0]) })
	if len(got) == 0 {
		t.Fatal("no users")
	}
	return got
}

func TestAUserMayDoInTheClusterWhatItMayDoOnOneServer(t *testing.T) {
	one, err := server.ProcessConfigFile(filepath.Join("..", "..", "nats.conf"))
	if err != nil {
		t.Fatal(err)
	}
	setVariables(t)
	// The server reads the certificate with the configuration; any certificate will do
	// here.
	text, err := os.ReadFile(conf)
	if err != nil {
		t.Fatal(err)
	}
	text = regexp.MustCompile(`(?ms)^ *tls \{.*?^ *\}`).ReplaceAll(text, nil)
	three := &server.Options{}
	if err := three.ProcessConfigString(string(text)); err != nil {
		t.Fatal(err)
	}
	if a, b := grants(t, one), grants(t, three); !reflect.DeepEqual(a, b) {
		t.Errorf("one server grants %+v\nthe cluster %+v", a, b)
	}
	if !three.SyncAlways || three.MaxPayload != one.MaxPayload || three.MaxControlLine != one.MaxControlLine || three.SystemAccount != one.SystemAccount {
		t.Error("the two differ in more than place, names and secrets")
	}
}

func TestNobodyConnectsWithoutTLSOrWithTheDevelopmentPassword(t *testing.T) {
	t.Parallel()
	c := testenv.StartCluster(t, conf)
	c.Bus("bridge").Close()
	first := c.Client(0)
	for name, cfg := range map[string]bus.Config{
		"the password of nats.conf": {URL: "tls://" + first, CAFile: c.CAFile, User: "operator", Password: "dev-operator"},
		"no password":               {URL: "tls://" + first, CAFile: c.CAFile},
		"an unknown authority":      {URL: "tls://" + first, User: "operator", Password: "secret-operator"},
	} {
		if b, err := bus.Connect(t.Context(), cfg); err == nil {
			b.Close()
			t.Errorf("%s: connected", name)
		}
	}
}

// load publishes tasks and works them off, and keeps what was acknowledged.
type load struct {
	// enough ends the publishing.
	enough     context.CancelFunc
	publishers sync.WaitGroup

	mu        sync.Mutex // guards what follows
	acked     map[events.JobID]bool
	handled   map[events.JobID]int
	lastAck   time.Time
	lastWork  time.Time
	quietAck  time.Duration
	quietWork time.Duration
	longest   time.Duration // that one publication took with all its tries
	failed    int           // tries
}

func startLoad(t *testing.T, c *testenv.Cluster) *load {
	t.Helper()
	op := c.Bus("operator")
	consumer, err := op.JS.Consumer(t.Context(), events.StreamThaw, bus.ConsumerRequest)
	if err != nil {
		t.Fatal(err)
	}
	// An ack that is lost with a leader costs a lease; a short one keeps the test so.
	cfg := consumer.CachedInfo().Config
	cfg.AckWait = 3 * time.Second
	if _, err := op.JS.UpdateConsumer(t.Context(), events.StreamThaw, cfg); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	publishing, enough := context.WithCancel(ctx)
	l := &load{enough: enough, acked: map[events.JobID]bool{}, handled: map[events.JobID]int{}, lastAck: time.Now(), lastWork: time.Now()}
	for p := range 4 {
		b := c.Bus("thaw")
		l.publishers.Go(func() { l.publish(publishing, b, p) })
	}
	var workers sync.WaitGroup
	for range 2 {
		b := c.Bus("thaw")
		w := &bus.Worker[events.ThawRequested]{Bus: b, Stream: events.StreamThaw, Consumer: bus.ConsumerRequest, Slots: 8,
			Handle: l.handle, Logger: testenv.Log(t)}
		workers.Go(func() {
			if err := w.Run(ctx, ctx.Done()); err != nil && ctx.Err() == nil {
				t.Errorf("worker: %v", err)
			}
		})
	}
	t.Cleanup(func() { stop(); l.publishers.Wait(); workers.Wait() })
	return l
}

func (l *load) publish(ctx context.Context, b *bus.Bus, p int) {
	for n := 0; ctx.Err() == nil; n++ {
		e := events.ThawRequested{ID: "load", JobID: events.JobID(fmt.Sprintf("job-%d-%d", p, n)), UserID: "fern", ArchiveID: "a", UpgradedAt: time.Now()}
		began := time.Now()
		for ctx.Err() == nil {
			try, cancel := context.WithTimeout(ctx, 2*time.Second)
			_, err := b.Publish(try, e)
			cancel()
			l.mu.Lock()
			if err == nil {
				now := time.Now()
				l.acked[e.JobID] = true
				l.quietAck, l.lastAck = max(l.quietAck, now.Sub(l.lastAck)), now
				l.longest = max(l.longest, now.Sub(began))
			} else {
				l.failed++
			}
			l.mu.Unlock()
			if err == nil {
				break
			}
			wait(ctx, 50*time.Millisecond)
		}
		wait(ctx, 5*time.Millisecond)
	}
}

func (l *load) handle(_ context.Context, e events.ThawRequested, _ bus.Emit) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now()
	l.handled[e.JobID]++
	l.quietWork, l.lastWork = max(l.quietWork, now.Sub(l.lastWork)), now
	return nil
}

// quiet returns the longest time since the last call in which nothing was
// acknowledged, and in which no message was handled.
func (l *load) quiet() (ack, work, longest time.Duration, failed int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now()
	ack, work, longest, failed = max(l.quietAck, now.Sub(l.lastAck)), max(l.quietWork, now.Sub(l.lastWork)), l.longest, l.failed
	l.quietAck, l.quietWork, l.longest, l.failed = 0, 0, 0, 0
	l.lastAck, l.lastWork = now, now
	return
}

func (l *load) stopPublishing() {
	l.enough()
	l.publishers.Wait()
}

// missing returns how many were acknowledged, how many of those no worker has
// had, and how many deliveries were repetitions.
func (l *load) missing() (acked, missing, again int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for id := range l.acked {
		if l.handled[id] == 0 {
			missing++
		}
	}
	for _, n := range l.handled {
		again += n - 1
	}
	return len(l.acked), missing, again
}

func wait(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

// until asks every 100 ms until ok says so.
func until(t *testing.T, ctx context.Context, what string, ok func() bool) {
	t.Helper()
	for !ok() {
		if ctx.Err() != nil {
			t.Fatalf("%s: not within the time", what)
		}
		wait(ctx, 100*time.Millisecond)
	}
}

// TestWhatIsAcknowledgedOutlivesTheServers publishes and works off tasks while a
// leader is killed, and one is cut off; then, GAS_CLUSTER_ROUNDS times, every
// server is restarted and one loses its disk as well.
func TestWhatIsAcknowledgedOutlivesTheServers(t *testing.T) {
	t.Parallel()
	rounds := 0
	if s := os.Getenv("GAS_CLUSTER_ROUNDS"); s != "" {
		var err error
		if rounds, err = strconv.Atoi(s); err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Duration(rounds+1)*3*time.Minute)
	defer cancel()
	c := testenv.StartCluster(t, conf)
	op := c.Bus("operator")
	whole := func() {
		t.Helper()
		until(t, ctx, "the cluster to be whole", func() bool { return c.Whole(ctx, op.JS) })
	}
	leader := func() (i int) {
		t.Helper()
		until(t, ctx, "a leader", func() bool { i = c.Leader(ctx, op.JS, events.StreamThaw); return i >= 0 })
		return i
	}
	whole()
	l := startLoad(t, c)
	flow := func() {
		t.Helper()
		before, _, _ := l.missing()
		until(t, ctx, "more to be acknowledged", func() bool { n, _, _ := l.missing(); return n >= before+200 })
	}
	flow()
	step := func(name string, do func()) {
		t.Helper()
		l.quiet()
		began := time.Now()
		do()
		flow()
		whole()
		took := time.Since(began)
		ack, work, longest, failed := l.quiet()
		t.Logf("%-34s no ack for %6s, no work for %6s, longest publication %6s, %3d failed tries, whole after %s", name,
			ack.Round(time.Millisecond), work.Round(time.Millisecond), longest.Round(time.Millisecond), failed, took.Round(100*time.Millisecond))
	}
	killed := func() {
		i := leader()
		c.Kill(i)
		flow()
		c.Start(i)
	}
	restarted := func() {
		for i := range 3 {
			c.Stop(i)
			flow()
			c.Start(i)
			whole()
		}
	}
	wiped := func() {
		i := leader()
		c.Kill(i)
		c.Wipe(i)
		flow()
		c.Start(i)
		whole()
		// The other two are not needed both: what was copied counts.
		other := (i + 1) % 3
		c.Kill(other)
		flow()
		c.Start(other)
	}
	cutOff := func() {
		i := leader()
		other := c.BusOf((i+1)%3, "operator")
		defer other.Close()
		c.Isolate(i)
		until(t, ctx, "another leader", func() bool {
			now := c.Leader(ctx, other.JS, events.StreamThaw)
			return now >= 0 && now != i
		})
		flow()
		c.Join(i)
	}
	step("the leader is killed", killed)
	step("the leader is cut off", cutOff)
	for range rounds {
		step("each server is restarted in turn", restarted)
		step("a server loses its disk", wiped)
		step("the leader is killed", killed)
		step("the leader is cut off", cutOff)
	}
	l.stopPublishing()
	until(t, ctx, "everything that was acknowledged to be handled", func() bool { _, missing, _ := l.missing(); return missing == 0 })
	acked, missing, again := l.missing()
	until(t, ctx, "the stream to be empty", func() bool {
		st, err := op.JS.Stream(ctx, events.StreamThaw)
		return err == nil && st.CachedInfo().State.Msgs == 0
	})
	t.Logf("%d acknowledged, %d lost, %d handled again", acked, missing, again)
	if missing != 0 || acked < 1000 {
		t.Errorf("%d of %d that were acknowledged are lost", missing, acked)
	}
}

func TestStreamsAndConsumersGetMoreReplicasInOneRun(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	c := testenv.StartCluster(t, conf)
	op := c.Bus("operator")
	for _, replicas := range []int{1, 3} {
		if err := bus.Provision(ctx, op.JS, bus.Settings{Replicas: replicas}); err != nil {
			t.Fatalf("to %d replicas: %v", replicas, err)
		}
		until(t, ctx, "everything to be right", func() bool { return len(op.Audit(ctx, bus.Settings{Replicas: replicas})) == 0 })
	}
}
