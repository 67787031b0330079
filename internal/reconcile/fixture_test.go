package reconcile_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	awss3 "github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/nats-io/nats-server/v2/server"
	"go.uber.org/goleak"

	"github.com/gas-restore/gas/internal/archive"
	"github.com/gas-restore/gas/internal/aws/glacier"
	"github.com/gas-restore/gas/internal/aws/s3"
	"github.com/gas-restore/gas/internal/bus"
	"github.com/gas-restore/gas/internal/cost"
	local "github.com/gas-restore/gas/internal/local/aws/glacier"
	"github.com/gas-restore/gas/internal/reconcile"
	"github.com/gas-restore/gas/internal/restore"
	"github.com/gas-restore/gas/internal/test/testenv"
	"github.com/gas-restore/gas/internal/thaw"
	"github.com/gas-restore/gas/pkg/events"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var quiet = slog.New(slog.DiscardHandler)

// fixture is AWS, NATS, a clock, and the pipeline without a bridge. So the only notifications
// are those that a sweep makes.
type fixture struct {
	*testenv.AWS
	t        *testing.T
	operator *bus.Bus
	sweep    *bus.Bus
	vault    *glacier.Vault
	sweeper  *reconcile.Sweeper
	start    func()   // starts the services
	stops    []func() // stop the services that run
	bodies   map[events.JobID][]byte
	budget   thaw.Limits

	failMu  sync.Mutex        // guards failing
	failing map[string]string // archive to its failing retrieval; empty before the retrieval exists
}

// inFixture runs f with a fixture, in simulated time.
func inFixture(t *testing.T, f func(*testing.T, *fixture)) {
	t.Helper()
	testenv.InBubble(t, func(t *testing.T, ns *server.Server) { f(t, newFixture(t, ns)) })
}

func newFixture(t *testing.T, ns *server.Server) *fixture {
	t.Helper()
	w := &fixture{AWS: testenv.NewAWS(t), t: t, operator: testenv.Bus(t, ns, "operator"), sweep: testenv.Bus(t, ns, "sweep"), bodies: map[events.JobID][]byte{}, failing: map[string]string{}}
	w.Glacier.FailWhen(w.fails)
	w.vault = glacier.New(w.Config, testenv.VaultID, "arn:aws:sns:us-east-1:000000000000:none")
	w.sweeper = &reconcile.Sweeper{
		Catalog: w.Catalog, Vault: w.vault, Streams: streams{w.sweep}, KV: w.sweep.KV(bus.BucketSweep),
		Calls: 1_000_000_000, Now: w.now, Log: quiet,
	}
	w.start = func() {
		tb, rb := testenv.Bus(t, ns, "thaw"), testenv.Bus(t, ns, "restore")
		w.stops = append(w.stops, tb.Close, rb.Close)
		t.Cleanup(w.stop) // before the connections are closed
		planner := &thaw.Planner{
			Accounts: w.Catalog, Jobs: w.Catalog, Plans: w.Catalog, Budgets: w.Catalog, Tasks: bus.Tasks{Bus: tb}, KV: tb.KV(bus.BucketPlans), Limits: w.budget,
			Tiers: archive.DefaultTiers(), Prices: cost.Public().In("us-east-1"), Now: w.now, Log: quiet,
		}
		requester := &thaw.Requester{
			Accounts: w.Catalog, Catalog: w.Catalog, Plans: w.Catalog, Budgets: w.Catalog, Limits: w.budget, Vault: w.vault, Tiers: archive.DefaultTiers(), Prices: cost.Public().In("us-east-1"), Now: w.now, Log: quiet,
			OnDuplicates: func(n int) { t.Errorf("%d duplicates", n) },
		}
		objects := s3.New(w.Config)
		restorer := &restore.Restorer{Catalog: w.Catalog, Vault: w.vault, Bucket: objects, Uploads: objects, Now: w.now, Log: quiet}
		w.run(&bus.Worker[events.UserUpgraded]{Bus: tb, Stream: events.StreamPremium, Consumer: bus.ConsumerPlan, Slots: 2, Handle: planner.Plan, Logger: quiet})
		w.run(&bus.Worker[events.ThawRequested]{Bus: tb, Stream: events.StreamThaw, Consumer: bus.ConsumerRequest, Slots: 16, Handle: requester.Request, Logger: quiet})
		w.run(&bus.Worker[events.RetrievalCompleted]{Bus: rb, Stream: events.StreamRestore, Consumer: bus.ConsumerRestore, Slots: 8, Handle: restorer.Restore, Logger: quiet})
	}
	return w
}

// worker is a [bus.Worker].
type worker interface {
	Run(ctx context.Context, drain <-chan struct{}) error
}

// run runs the worker until stop.
func (w *fixture) run(service worker) {
	ctx, cancel := context.WithCancel(context.Background())
	drain, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		if err := service.Run(ctx, drain); err != nil {
			w.t.Error(err)
		}
	}()
	w.stops = append(w.stops, func() { close(drain); <-done; cancel() })
}

// stop stops the services that run.
func (w *fixture) stop() {
	for _, stop := range slices.Backward(w.stops) {
		stop()
	}
	w.stops = nil
}

type streams struct{ *bus.Bus }

func (s streams) Dead(ctx context.Context, e events.Event) (bool, error) {
	_, dead, err := s.Bus.DeadOf(ctx, e)
	return dead, err
}

func (s streams) Publish(ctx context.Context, e events.Event) error {
	_, err := s.Bus.Publish(ctx, e)
	return err
}

func (w *fixture) now() time.Time { return time.Now() }

// advance lets simulated time pass. Services that run have a minute to handle what is there. For
// the rest they are stopped: while they wait, each of them still sends and gets a heartbeat every
// few seconds, and that is most of what a test of many hours costs.
func (w *fixture) advance(d time.Duration) {
	if d <= time.Minute || len(w.stops) == 0 {
		time.Sleep(d)
		return
	}
	time.Sleep(time.Minute)
	w.stop()
	time.Sleep(d - time.Minute)
	w.start()
}

// archived puts an archive of a Premium user into the vault.
func (w *fixture) archived(user events.UserID, id events.JobID) archive.Job {
	w.t.Helper()
	w.Account(user, archive.Premium)
	w.bodies[id] = []byte("the result of " + id)
	return w.Archive(user, id, w.bodies[id])
}

// failOnce has Glacier fail the first retrieval of the archive.
func (w *fixture) failOnce(job archive.Job) {
	w.failMu.Lock()
	defer w.failMu.Unlock()
	w.failing[string(job.ArchiveID)] = ""
}

// fails returns Glacier's reason to fail a retrieval; empty for none.
func (w *fixture) fails(j local.Job) string {
	w.failMu.Lock()
	defer w.failMu.Unlock()
	first, listed := w.failing[j.Archive]
	if !listed || first != "" && first != j.ID {
		return ""
	}
	w.failing[j.Archive] = j.ID
	return "the archive could not be read"
}

// requested requests the archive, and saves the retrieval.
func (w *fixture) requested(job archive.Job, tier archive.Tier) archive.Job {
	w.t.Helper()
	got, err := w.vault.Retrieve(w.t.Context(), job, tier)
	if err != nil {
		w.t.Fatal(err)
	}
	return w.saved(job, got.ID, tier, w.now())
}

func (w *fixture) saved(job archive.Job, id events.RetrievalID, tier archive.Tier, at time.Time) archive.Job {
	w.t.Helper()
	intent := archive.Intent{Token: "t", At: at}
	err := w.Catalog.SaveIntent(w.t.Context(), job, intent)
	if err == nil {
		err = w.Catalog.SaveRetrieval(w.t.Context(), job, intent, archive.Retrieval{ID: id, ArchiveID: job.ArchiveID, Tier: tier, RequestedAt: at})
	}
	if err != nil {
		w.t.Fatal(err)
	}
	return w.Job(job.ID)
}

func (w *fixture) swept() reconcile.Report {
	w.t.Helper()
	r, err := w.sweeper.Sweep(w.t.Context())
	if err != nil {
		w.t.Fatal(err)
	}
	return r
}

// messages returns the number of messages in the work queues, and in DEAD. It counts the
// streams one after the other. A service stores its output before it acks its input. So a
// message that moves on meanwhile may count twice, but it is never missed.
func (w *fixture) messages() (work, dead uint64) {
	w.t.Helper()
	for _, name := range []string{events.StreamRestore, events.StreamPremium, events.StreamThaw, events.StreamDead} {
		st, err := w.operator.JS.Stream(w.t.Context(), name)
		if err != nil {
			w.t.Fatal(err)
		}
		if n := st.CachedInfo().State.Msgs; name == events.StreamDead {
			dead = n
		} else {
			work += n
		}
	}
	return work, dead
}

// quiesce waits until the services have handled everything.
func (w *fixture) quiesce() {
	w.t.Helper()
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for limit := time.After(3 * time.Hour); ; {
		if work, dead := w.messages(); dead > 0 {
			w.t.Fatalf("%d dead letters", dead)
		} else if work == 0 {
			return
		}
		select {
		case <-tick.C:
		case <-limit:
			w.t.Fatal("the streams are not empty after three hours")
		}
	}
}

// left returns how many jobs still have an archive or a retrieval.
func (w *fixture) left() (n int) {
	for id := range w.bodies {
		if j := w.Job(id); j.ArchiveID != "" || j.RetrievalID != "" || j.Intent != nil {
			n++
		}
	}
	return n
}

// check fails unless every file is at its key, whole, and no archive is left.
func (w *fixture) check() {
	w.t.Helper()
	for id, want := range w.bodies {
		job := w.Job(id)
		out, err := w.Objects.GetObject(w.t.Context(), &awss3.GetObjectInput{Bucket: aws.String(job.Result.Bucket), Key: aws.String(job.Result.Key)})
		if err != nil {
			w.t.Errorf("%s: %v", id, err)
			continue
		}
		got, err := io.ReadAll(out.Body)
		out.Body.Close()
		if err != nil || !bytes.Equal(got, want) {
			w.t.Errorf("%s: got %d bytes, want %d; %v", id, len(got), len(want), err)
		}
	}
	if left := w.Glacier.Archives(testenv.VaultID); len(left) != 0 {
		w.t.Errorf("%d archives are left in the vault", len(left))
	}
}

func id(format string, args ...any) events.JobID { return events.JobID(fmt.Sprintf(format, args...)) }

// setRole writes the role like another system that knows no plans.
func (w *fixture) setRole(user events.UserID, role archive.Role, at time.Time) error {
	_, err := dynamodb.NewFromConfig(w.Config).UpdateItem(w.t.Context(), &dynamodb.UpdateItemInput{
		TableName:                aws.String(testenv.Accounts),
		Key:                      map[string]types.AttributeValue{"user_id": &types.AttributeValueMemberS{Value: string(user)}},
		UpdateExpression:         aws.String("SET #r = :role, role_changed_at = :at"),
		ExpressionAttributeNames: map[string]string{"#r": "role"},
		ExpressionAttributeValues: map[string]types.AttributeValue{
			":role": &types.AttributeValueMemberS{Value: string(role)}, ":at": &types.AttributeValueMemberN{Value: fmt.Sprint(at.UnixMilli())},
		},
	})
	return err
}
