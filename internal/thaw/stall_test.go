package thaw_test

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"github.com/gas-restore/gas/internal/archive"
	"github.com/gas-restore/gas/internal/aws/glacier"
	"github.com/gas-restore/gas/internal/bus"
	"github.com/gas-restore/gas/internal/cost"
	"github.com/gas-restore/gas/internal/fault"
	"github.com/gas-restore/gas/internal/test/testenv"
	"github.com/gas-restore/gas/internal/thaw"
	"github.com/gas-restore/gas/pkg/events"
)

// stall is a thaw with its planner, requester and streams, in simulated time. There, only
// waits take time.
type stall struct {
	*testenv.AWS
	t        *testing.T
	operator *bus.Bus
}

// window is how many tasks of a user the planner puts into the stream. The small test has a
// small one, because it needs more archives than that.
func window(archives int) int {
	if archives < 2_000 {
		return 400
	}
	return 2_000
}

func inStall(t *testing.T, window int, f func(*testing.T, *stall)) {
	testenv.InBubble(t, func(t *testing.T, ns *server.Server) {
		s := &stall{AWS: testenv.NewAWS(t), t: t, operator: testenv.Bus(t, ns, "operator")}
		b := testenv.Bus(t, ns, "thaw")
		stops := thaw.NewStops(s.Catalog, time.Now)
		prices := cost.Public().In("us-east-1")
		p := &thaw.Planner{
			Accounts: s.Catalog, Plans: s.Catalog, Budgets: s.Catalog, Switches: stops, Jobs: s.Catalog.Paged(window / 2), Tasks: bus.Tasks{Bus: b},
			KV: b.KV(bus.BucketPlans), Tiers: archive.DefaultTiers(), Prices: prices, Window: window, Now: time.Now, Log: quiet,
		}
		r := &thaw.Requester{
			Accounts: s.Catalog, Catalog: s.Catalog, Plans: s.Catalog, Budgets: s.Catalog, Switches: stops,
			Vault: policed{glacier.New(s.Config, testenv.VaultID, topic)}, Tiers: archive.DefaultTiers(),
			Pace: &thaw.Pace{KV: b.KV(bus.BucketPace), Calls: 8}, Prices: prices, Now: time.Now, Log: quiet,
		}
		work(t, &bus.Worker[events.UserUpgraded]{Bus: b, Stream: events.StreamPremium, Consumer: bus.ConsumerPlan, Slots: 2, Handle: p.Plan, Door: stops.Door, Logger: quiet})
		work(t, &bus.Worker[events.ThawRequested]{Bus: b, Stream: events.StreamThaw, Consumer: bus.ConsumerRequest, Slots: 32, Handle: r.Request, Door: stops.Door, Logger: quiet})
		f(t, s)
	})
}

func work[E events.Event](t *testing.T, w *bus.Worker[E]) {
	drain, done := make(chan struct{}), make(chan error, 1)
	go func() { done <- w.Run(context.Background(), drain) }()
	t.Cleanup(func() {
		close(drain)
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

// policed is a vault with a retrieval policy that refuses the whale's archives in every
// tier.
type policed struct{ *glacier.Vault }

func (p policed) Retrieve(ctx context.Context, job archive.Job, tier archive.Tier) (archive.Retrieval, error) {
	if strings.HasPrefix(string(job.ArchiveID), "whale-") {
		return archive.Retrieval{}, fault.New(fault.Policy, errors.New("PolicyEnforcedException: denied by the current data retrieval policy"))
	}
	return p.Vault.Retrieve(ctx, job, tier)
}

// size returns the size of a test: the number in the environment variable, or else few.
func size(t *testing.T, name string, few int) int {
	if v := os.Getenv(name); v != "" {
		n, err := strconv.Atoi(v)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		return n
	}
	return few
}

// whale makes a user with n archives.
func (s *stall) whale(n int) {
	s.t.Helper()
	s.Account("whale", archive.Premium)
	var jobs iter.Seq[[]byte] = func(yield func([]byte) bool) {
		for i := range n {
			if !yield(fmt.Appendf(nil, `{"job_id":{"S":"whale-%07d"},"user_id":{"S":"whale"},"submit_time":{"N":"%d"},"job_status":{"S":"COMPLETED"},"archive_id":{"S":"whale-%07d"},"archive_size":{"N":"1048576"}}`, i, i, i)) {
				return
			}
		}
	}
	if err := s.DynamoDB.Load(testenv.Jobs, jobs); err != nil {
		s.t.Fatal(err)
	}
}

func (s *stall) publish(es ...events.Event) {
	s.t.Helper()
	_, errs := s.operator.PublishAll(s.t.Context(), es)
	if err := errors.Join(errs...); err != nil {
		s.t.Fatal(err)
	}
}

func (s *stall) upgrade(user events.UserID) {
	s.publish(events.UserUpgraded{ID: "up-" + string(user), UserID: user, UpgradedAt: time.Now()})
}

// asked upgrades a user with ten archives. It returns the time until all of them were
// requested.
func (s *stall) asked(user events.UserID) time.Duration {
	s.t.Helper()
	s.Account(user, archive.Premium)
	var jobs []events.JobID
	for i := range 10 {
		jobs = append(jobs, s.Archive(user, events.JobID(fmt.Sprintf("%s-%d", user, i)), []byte("result")).ID)
	}
	began := time.Now()
	s.upgrade(user)
	for len(jobs) > 0 && time.Since(began) < time.Hour {
		if s.Job(jobs[0]).RetrievalID != "" {
			jobs = jobs[1:]
			continue
		}
		time.Sleep(100 * time.Millisecond)
	}
	if len(jobs) > 0 {
		s.t.Fatalf("%d archives of %s are not requested after an hour", len(jobs), user)
	}
	return time.Since(began)
}

// stored returns the number of messages in a stream. Messages that are put aside count too.
func (s *stall) stored(stream string) int {
	s.t.Helper()
	st, err := s.operator.JS.Stream(s.t.Context(), stream)
	if err != nil {
		s.t.Fatal(err)
	}
	return int(st.CachedInfo().State.Msgs)
}

// The work of another user must be done within the time soon.
const soon = 10 * time.Second

func TestAUserWhoseArchivesAreRefusedKeepsNobodyWaiting(t *testing.T) {
	n := size(t, "GAS_STALL_ARCHIVES", 420)
	inStall(t, window(n), func(t *testing.T, s *stall) {
		s.whale(n)
		s.upgrade("whale")
		most := 0
		for minute := range size(t, "GAS_STALL_MINUTES", 22) {
			most = max(most, s.stored(events.StreamThaw))
			if minute%20 == 1 {
				// The first time, Glacier refuses most tasks for the first time. Later, the tasks
				// come back.
				if took := s.asked(events.UserID(fmt.Sprint("other-", minute))); took > soon {
					t.Errorf("after %d min another user's ten archives were requested in %s, want %s", minute, took, soon)
				} else {
					t.Logf("after %d min another user's ten archives were requested in %s", minute, took)
				}
			}
			time.Sleep(time.Minute)
		}
		t.Logf("of %d tasks, %d stood in THAW at most", n, most)
		if want := window(n); most > want {
			t.Errorf("%d tasks stood in THAW, want %d at most", most, want)
		}
	})
}

func TestPlansThatWaitKeepNoPlanWaiting(t *testing.T) {
	inStall(t, window(0), func(t *testing.T, s *stall) {
		n := size(t, "GAS_STALL_PLANS", 600)
		var es []events.Event
		_, err := s.Catalog.ChangeSwitches(t.Context(), func(sw *archive.Switches) {
			sw.Users = map[events.UserID]archive.Hold{}
			for i := range n {
				// One item of the catalog has all stops, and it has no room for so many users. So
				// each user upgrades three times.
				user := events.UserID(fmt.Sprint("p", i/3))
				sw.Users[user] = archive.Hold{Reason: "paused", At: time.Now().UTC().Truncate(time.Second)}
				es = append(es, events.UserUpgraded{ID: fmt.Sprint("up-", i), UserID: user, UpgradedAt: time.Now()})
			}
		})
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(5 * time.Second) // then every thaw has read the stops
		for i := 0; i < n; i += 3 {
			s.Account(es[i].(events.UserUpgraded).UserID, archive.Premium)
		}
		s.publish(es...)
		for i := range 4 {
			if took := s.asked(events.UserID(fmt.Sprint("other-", i))); took > soon {
				t.Errorf("beside %d plans that wait, another user's was carried out in %s, want %s", n, took, soon)
			} else {
				t.Logf("beside %d plans that wait, another user's was carried out in %s", n, took)
			}
			time.Sleep(20 * time.Second)
		}
		if left := s.stored(events.StreamPremium); left != n {
			t.Errorf("%d plans wait, want %d", left, n)
		}
	})
}

// counted collects tasks. stand returns the number of tasks that are left in the stream.
type counted struct {
	testenv.Emitted
	stand func() int
}

func (c *counted) Outstanding(context.Context, events.UserID, int) (int, error) {
	return c.stand(), nil
}

func TestAPlanGoesOnWhenItsTasksWillHaveMadeRoom(t *testing.T) {
	w := newCrashFixture(t)
	e, _ := w.user(t, 60)
	left := 0
	tasks := &counted{stand: func() int { return left }}
	l := &life{}
	l.At = -1
	p := w.planner(t, l, thaw.Limits{})
	p.Tasks, p.Window = tasks, 20
	plan := func(passed time.Duration, stand int) time.Duration {
		t.Helper()
		w.now = w.now.Add(passed)
		left = stand
		err := p.Plan(t.Context(), e, nil)
		if !fault.Is(err, fault.Wait) {
			t.Fatalf("with %d tasks in the stream: %v, want it to wait", stand, err)
		}
		return fault.DelayOf(err)
	}
	if d := plan(0, 20); d != 250*time.Millisecond {
		t.Errorf("nothing is known yet: it goes on after %s", d)
	}
	// Five tasks are done in a second. After another second, half of the window is free.
	if d := plan(time.Second, 15); d != time.Second {
		t.Errorf("at five a second, five more than half: it goes on after %s, want 1s", d)
	}
	if d := plan(100*time.Second, 14); d != 2*time.Second {
		t.Errorf("at one in a hundred seconds it goes on after %s, want 2s", d)
	}
	if d := plan(2*time.Second, 14); d != 30*time.Second {
		t.Errorf("while nothing is done it goes on after %s, want 30s", d)
	}
	if d := plan(30*time.Second, 13); d != 2*time.Second {
		t.Errorf("when something is done again it goes on after %s, want 2s", d)
	}
}
