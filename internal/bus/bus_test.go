package bus_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/goleak"

	"github.com/gas-restore/gas/internal/bus"
	"github.com/gas-restore/gas/internal/fault"
	"github.com/gas-restore/gas/internal/test/bustest"
	"github.com/gas-restore/gas/internal/test/testenv"
	"github.com/gas-restore/gas/pkg/events"
)

func TestMain(m *testing.M) {
	// Some goroutines of the server end a moment after its shutdown.
	goleak.VerifyTestMain(m,
		goleak.IgnoreAnyFunction("github.com/nats-io/nats-server/v2/server.(*Server).startGoRoutine.func1"),
		goleak.IgnoreAnyFunction("github.com/nats-io/nats-server/v2/server.init.0.func1"),
		goleak.IgnoreAnyFunction("github.com/nats-io/nats-server/v2/server.(*fileStore).flushLoop"))
}

// at is the time of all events in these tests.
var at = bustest.UpgradedAt

// soon is the longest time that something takes in a bubble if it waits for nothing.
const soon = 100 * time.Millisecond

func letters(t *testing.T, ns *server.Server) []events.DeadLetter {
	t.Helper()
	st, err := testenv.Bus(t, ns, "operator").JS.Stream(t.Context(), events.StreamDead)
	if err != nil {
		t.Fatal(err)
	}
	var all []events.DeadLetter
	for seq := uint64(1); seq <= st.CachedInfo().State.LastSeq; seq++ {
		m, err := st.GetMsg(t.Context(), seq)
		if err != nil {
			t.Fatal(err)
		}
		e, err := events.Decode[events.DeadLetter](m.Data)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, e)
	}
	return all
}

func TestAMessageIsAckedWhenItsHandlerReturnsAndItsOutputsAreStored(t *testing.T) {
	testenv.InBubble(t, func(t *testing.T, ns *server.Server) {
		r := bustest.Work(t, ns, 4, func(ctx context.Context, e events.ThawRequested, emit bus.Emit) error {
			for i := range 600 { // more than are kept in flight
				if err := emit(ctx, events.StatusChanged{JobID: e.JobID, UserID: e.UserID, State: "planned", At: at, Step: fmt.Sprint(i)}); err != nil {
					return err
				}
			}
			return nil
		})
		bustest.Publish(t, ns, bustest.Task("j1"))
		r.Expect(t, bus.Acked)
		if got := bustest.Messages(t, ns, events.StreamStatus); got != 600 {
			t.Errorf("outputs: got %d, want 600", got)
		}
		if got := bustest.Messages(t, ns, events.StreamThaw); got != 0 {
			t.Errorf("left in the work queue: %d", got)
		}
	})
}

func TestAFailureComesBackAndIsForgottenOnSuccess(t *testing.T) {
	testenv.InBubble(t, func(t *testing.T, ns *server.Server) {
		var times []time.Time
		r := bustest.Work(t, ns, 1, func(context.Context, events.ThawRequested, bus.Emit) error {
			if times = append(times, time.Now()); len(times) < 3 {
				return errors.New("not yet")
			}
			return nil
		})
		bustest.Publish(t, ns, bustest.Task("j1"))
		r.Expect(t, bus.Retried, bus.Retried, bus.Acked)
		cameBack(t, times, time.Second, 2*time.Second)
		kv, err := testenv.Bus(t, ns, "operator").JS.KeyValue(t.Context(), bus.BucketAttempts)
		if err != nil {
			t.Fatal(err)
		}
		keys, err := kv.Keys(t.Context())
		if !errors.Is(err, jetstream.ErrNoKeysFound) {
			t.Errorf("attempts are kept of %v (%v)", keys, err)
		}
	})
}

// cameBack checks the times between the tries of a message: each is as long as wanted, with
// up to a quarter of jitter.
func cameBack(t *testing.T, times []time.Time, want ...time.Duration) {
	t.Helper()
	if len(times) != len(want)+1 {
		t.Fatalf("%d tries, want %d", len(times), len(want)+1)
	}
	for i, w := range want {
		if got := times[i+1].Sub(times[i]); got < w || got > w+w/4+soon {
			t.Errorf("try %d comes after %s, want %s and up to a quarter more", i+2, got, w)
		}
	}
}

func TestWhatCanNeverBeHandledBecomesADeadLetterAndTheNextIsHandled(t *testing.T) {
	testenv.InBubble(t, func(t *testing.T, ns *server.Server) {
		r := bustest.Work(t, ns, 1, func(_ context.Context, e events.ThawRequested, _ bus.Emit) error {
			if e.JobID == "bad" {
				return fault.Errorf(fault.Invalid, "unknown job %q", e.JobID)
			}
			return nil
		})
		bustest.Publish(t, ns, bustest.Task("bad"), bustest.Task("good"))
		r.Expect(t, bus.Dead, bus.Acked)
		all := letters(t, ns)
		if len(all) != 1 {
			t.Fatalf("%d dead letters, want 1", len(all))
		}
		d := all[0]
		if d.Reason != `unknown job "bad"` || d.Kind != "invalid" || d.Attempts != 1 || d.SourceSubject != "thaw.requested.u.bad" || d.Stream != "THAW" {
			t.Errorf("got %+v", d)
		}
		if e, err := events.Decode[events.ThawRequested](d.Payload); err != nil || e.JobID != "bad" {
			t.Errorf("the payload is not the message: %+v, %v", e, err)
		}
		if got := bustest.Messages(t, ns, events.StreamThaw); got != 0 {
			t.Errorf("left in the work queue: %d", got)
		}
	})
}

func TestAMessageThatIsNoEventBecomesADeadLetter(t *testing.T) {
	testenv.InBubble(t, func(t *testing.T, ns *server.Server) {
		r := bustest.Work(t, ns, 1, func(context.Context, events.ThawRequested, bus.Emit) error { return nil })
		op := testenv.Bus(t, ns, "operator")
		if _, err := op.JS.Publish(t.Context(), "thaw.requested.u.x", []byte("not an event")); err != nil {
			t.Fatal(err)
		}
		bustest.Publish(t, ns, bustest.Task("good"))
		r.Expect(t, bus.Dead, bus.Acked)
		if all := letters(t, ns); len(all) != 1 || string(all[0].Payload) != "not an event" || !strings.Contains(all[0].Reason, "malformed") {
			t.Errorf("got %+v", all)
		}
	})
}

func TestAMessageOfANewerReleaseWaitsForItsWorker(t *testing.T) {
	testenv.InBubble(t, func(t *testing.T, ns *server.Server) {
		r := bustest.Work(t, ns, 1, func(context.Context, events.ThawRequested, bus.Emit) error {
			t.Error("handled")
			return nil
		})
		if _, err := testenv.Bus(t, ns, "operator").JS.Publish(t.Context(), "thaw.requested.u.x", []byte(`{"v":9,"type":"thaw.requested","data":{}}`)); err != nil {
			t.Fatal(err)
		}
		r.Expect(t, bus.Retried)
		if got := len(letters(t, ns)); got != 0 {
			t.Errorf("%d dead letters", got)
		}
	})
}

func TestAPanicIsAFailureLikeAnyOther(t *testing.T) {
	testenv.InBubble(t, func(t *testing.T, ns *server.Server) {
		var times []time.Time
		r := bustest.Work(t, ns, 1, func(context.Context, events.ThawRequested, bus.Emit) error {
			if times = append(times, time.Now()); len(times) == 1 {
				panic("at the disco")
			}
			return nil
		})
		bustest.Publish(t, ns, bustest.Task("j1"))
		r.Expect(t, bus.Retried, bus.Acked)
		cameBack(t, times, time.Second)
	})
}

func TestCorruptBytesAreTriedThreeTimes(t *testing.T) {
	testenv.InBubble(t, func(t *testing.T, ns *server.Server) {
		var times []time.Time
		r := bustest.Work(t, ns, 1, func(context.Context, events.ThawRequested, bus.Emit) error {
			times = append(times, time.Now())
			return fault.Errorf(fault.Corrupt, "tree hash differs")
		})
		bustest.Publish(t, ns, bustest.Task("j1"))
		r.Expect(t, bus.Retried, bus.Retried, bus.Dead)
		cameBack(t, times, 5*time.Second, 10*time.Second)
		if all := letters(t, ns); len(all) != 1 || all[0].Attempts != 3 || all[0].Kind != "corrupt" {
			t.Errorf("got %+v", all)
		}
	})
}

func TestAStopHandsBackAndBurnsNoAttempt(t *testing.T) {
	testenv.InBubble(t, func(t *testing.T, ns *server.Server) {
		entered := make(chan struct{})
		r := bustest.Work(t, ns, 1, func(ctx context.Context, _ events.ThawRequested, _ bus.Emit) error {
			close(entered)
			<-ctx.Done()
			return ctx.Err()
		})
		bustest.Publish(t, ns, bustest.Task("j1"))
		<-entered
		r.Stop()
		r.Expect(t, bus.HandedBack)
		second := bustest.Work(t, ns, 1, func(context.Context, events.ThawRequested, bus.Emit) error { return nil })
		second.Expect(t, bus.Acked)
		kv, err := testenv.Bus(t, ns, "operator").JS.KeyValue(t.Context(), bus.BucketAttempts)
		if err != nil {
			t.Fatal(err)
		}
		if keys, err := kv.Keys(t.Context()); !errors.Is(err, jetstream.ErrNoKeysFound) {
			t.Errorf("a hand-back was counted: %v (%v)", keys, err)
		}
	})
}

func TestADrainFinishesWhatIsInHandAndTakesNothingNew(t *testing.T) {
	testenv.InBubble(t, func(t *testing.T, ns *server.Server) {
		entered, release := make(chan struct{}), make(chan struct{})
		var calls atomic.Int32
		r := bustest.Work(t, ns, 1, func(context.Context, events.ThawRequested, bus.Emit) error {
			if calls.Add(1) == 1 {
				close(entered)
				<-release
			}
			return nil
		})
		bustest.Publish(t, ns, bustest.Task("j1"), bustest.Task("j2"))
		<-entered
		close(r.Drain)
		close(release)
		r.Expect(t, bus.Acked)
		if err := <-r.Done; err != nil {
			t.Fatal(err)
		}
		r.Done <- nil
		if got := bustest.Messages(t, ns, events.StreamThaw); got != 1 {
			t.Errorf("left in the work queue: %d, want 1", got)
		}
	})
}

func TestWorkersShareTheWorkAndNoMessageIsHandledTwice(t *testing.T) {
	testenv.InBubble(t, func(t *testing.T, ns *server.Server) {
		const n = 300
		var mu sync.Mutex
		seen := map[events.JobID]int{}
		// No worker ends a message before the other worker has begun one. Otherwise, a quick
		// worker could handle all messages.
		var begun sync.WaitGroup
		begun.Add(2)
		handle := func() bus.Handler[events.ThawRequested] {
			var once sync.Once
			return func(_ context.Context, e events.ThawRequested, _ bus.Emit) error {
				once.Do(begun.Done)
				begun.Wait()
				mu.Lock()
				defer mu.Unlock()
				seen[e.JobID]++
				return nil
			}
		}
		a, b := bustest.Work(t, ns, 4, handle()), bustest.Work(t, ns, 4, handle())
		var es []events.Event
		for i := range n {
			es = append(es, bustest.Task(fmt.Sprint("j", i)))
		}
		bustest.Publish(t, ns, es...)
		count := [2]int{}
		for range n {
			select {
			case <-a.Outcomes:
				count[0]++
			case <-b.Outcomes:
				count[1]++
			case <-time.After(20 * time.Second):
				t.Fatalf("%v of %d handled", count, n)
			}
		}
		mu.Lock()
		defer mu.Unlock()
		if len(seen) != n || count[0] == 0 || count[1] == 0 {
			t.Errorf("%d distinct messages, shared %v; want %d", len(seen), count, n)
		}
		for job, times := range seen {
			if times != 1 {
				t.Errorf("%s was handled %d times", job, times)
			}
		}
	})
}

func TestTheSameEventIsStoredOnce(t *testing.T) {
	testenv.InBubble(t, func(t *testing.T, ns *server.Server) {
		b := testenv.Bus(t, ns, "operator")
		first, err := b.Publish(t.Context(), bustest.Task("j"))
		if err != nil {
			t.Fatal(err)
		}
		again, err := b.Publish(t.Context(), bustest.Task("j"))
		if err != nil {
			t.Fatal(err)
		}
		if first.Duplicate || !again.Duplicate || bustest.Messages(t, ns, events.StreamThaw) != 1 {
			t.Errorf("first %+v, again %+v", first, again)
		}
	})
}

func TestProvisioningTwiceChangesNothing(t *testing.T) {
	testenv.InBubble(t, func(t *testing.T, ns *server.Server) {
		bustest.Publish(t, ns, bustest.Task("j"))
		b := testenv.Bus(t, ns, "operator")
		if err := bus.Provision(t.Context(), b.JS, bus.Settings{}); err != nil {
			t.Fatal(err)
		}
		if got := bustest.Messages(t, ns, events.StreamThaw); got != 1 {
			t.Errorf("messages after provisioning again: %d, want 1", got)
		}
		if err := bus.CheckStreams(t.Context(), b.JS, events.StreamPremium, events.StreamThaw, events.StreamRestore, events.StreamDead); err != nil {
			t.Error(err)
		}
	})
}

func TestAStreamThatWouldLoseMessagesIsNamed(t *testing.T) {
	testenv.InBubble(t, func(t *testing.T, ns *server.Server) {
		b := testenv.Bus(t, ns, "operator")
		if err := b.JS.DeleteStream(t.Context(), events.StreamPremium); err != nil {
			t.Fatal(err)
		}
		if err := b.JS.DeleteStream(t.Context(), events.StreamRestore); err != nil {
			t.Fatal(err)
		}
		if _, err := b.JS.CreateStream(t.Context(), jetstream.StreamConfig{
			Name: events.StreamRestore, Subjects: []string{events.SubjectRestore}, Storage: jetstream.MemoryStorage, Retention: jetstream.WorkQueuePolicy,
		}); err != nil {
			t.Fatal(err)
		}
		err := bus.CheckStreams(t.Context(), b.JS, events.StreamPremium, events.StreamRestore)
		if err == nil || !strings.Contains(err.Error(), "PREMIUM is not there: run `gas provision`") ||
			!strings.Contains(err.Error(), "RESTORE would lose messages: it is not stored in files, it drops old work") {
			t.Errorf("got %v", err)
		}
	})
}

func TestAWorkerWithoutItsConsumerSaysHowToMakeIt(t *testing.T) {
	testenv.InBubble(t, func(t *testing.T, ns *server.Server) {
		if err := testenv.Bus(t, ns, "operator").JS.DeleteConsumer(t.Context(), events.StreamThaw, bus.ConsumerRequest); err != nil {
			t.Fatal(err)
		}
		w := &bus.Worker[events.ThawRequested]{Bus: testenv.Bus(t, ns, "thaw"), Stream: events.StreamThaw, Consumer: bus.ConsumerRequest}
		if err := w.Run(t.Context(), nil); err == nil || !strings.Contains(err.Error(), "gas provision") {
			t.Errorf("got %v", err)
		}
	})
}

func TestAServiceMayNotTouchWhatIsNotItsOwn(t *testing.T) {
	testenv.InBubble(t, func(t *testing.T, ns *server.Server) {
		for _, c := range []struct{ user, subject string }{
			{"bridge", "thaw.requested.u.x"},
			{"bridge", "$JS.API.STREAM.PURGE.PREMIUM"},
			{"bridge", "$JS.API.CONSUMER.MSG.NEXT.PREMIUM.thaw-plan"},
			{"bridge", "aside.15s.premium.upgraded.x"},
			{"sweep", "aside.15s.thaw.requested.u.x"},
			{"thaw", "aside.15s.restore.completed.x"},
			{"restore", "aside.15s.thaw.requested.u.x"},
			{"web", "aside.15s.premium.upgraded.x"},
			{"sweep", "$JS.API.STREAM.PURGE.STATUS"},
			{"sweep", "dead.THAW.thaw-request.x"},
			{"sweep", "$JS.API.CONSUMER.MSG.NEXT.THAW.thaw-request"},
			{"sweep", "$JS.ACK.THAW.thaw-request.1.1.1.1.0"},
			{"sweep", "$JS.API.STREAM.PURGE.RESTORE"},
			{"sweep", "$JS.API.STREAM.MSG.DELETE.RESTORE"},
			{"sweep", "$KV.PLANS.plan.u.x"},
			{"restore", "$KV.SWEEP.sweep.lead"},
			{"thaw", "restore.completed.x"},
			{"thaw", "dead.RESTORE.restore"},
			{"thaw", "dead.RESTORE.restore.j"},
			{"thaw", "$JS.API.STREAM.MSG.DELETE.DEAD"},
			{"bridge", "dead.THAW.thaw-request.j"},
			{"sweep", "$JS.API.STREAM.MSG.DELETE.DEAD"},
			{"thaw", "$JS.API.STREAM.PURGE.THAW"},
			{"thaw", "$JS.API.STREAM.DELETE.THAW"},
			{"thaw", "$JS.API.CONSUMER.MSG.NEXT.RESTORE.restore"},
			{"thaw", "$JS.ACK.RESTORE.restore.1.1.1.1.0"},
			{"thaw", "$KV.ATTEMPTS.RESTORE.restore.1"},
			{"thaw", "$KV.SESSIONS.x"},
			{"thaw", "$JS.API.STREAM.DELETE.KV_PLANS"},
			{"thaw", "$JS.API.STREAM.PURGE.KV_PLANS"},
			{"restore", "$KV.PLANS.plan.u.x"},
			{"bridge", "$KV.PACE.glacier"},
			{"web", "$KV.PLANS.plan.u.x"},
			{"restore", "premium.upgraded.x"},
			{"restore", "$JS.API.CONSUMER.MSG.NEXT.THAW.thaw-request"},
			{"restore", "$JS.API.STREAM.DELETE.DEAD"},
			{"web", "premium.upgraded.x"},
			{"web", "status.u.j"},
			{"web", "$JS.API.CONSUMER.CREATE.THAW.x"},
			{"web", "$JS.API.STREAM.UPDATE.STATUS"},
			{"web", "audit.pause"},
			{"bridge", "audit.pause"},
			{"thaw", "audit.approve"},
			{"restore", "audit.drop"},
			{"sweep", "audit.thaw"},
			{"thaw", "$JS.API.STREAM.MSG.GET.AUDIT"},
			{"operator", "$JS.API.STREAM.DELETE.AUDIT"},
			{"operator", "$JS.API.STREAM.PURGE.AUDIT"},
			{"operator", "$JS.API.STREAM.MSG.DELETE.AUDIT"},
		} {
			if err := denied(ns, c.user, c.subject); !errors.Is(err, nats.ErrPermissionViolation) {
				t.Errorf("%s to %s: got %v", c.user, c.subject, err)
			}
		}
	})
}

// denied publishes as a user, and returns the error that the server sends to the connection.
func denied(ns *server.Server, user, subject string) error {
	told := make(chan error, 1)
	nc, err := nats.Connect(ns.ClientURL(), nats.UserInfo(user, "dev-"+user), nats.InProcessServer(ns),
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) {
			select {
			case told <- err:
			default:
			}
		}))
	if err != nil {
		return err
	}
	defer nc.Close()
	if err := nc.Publish(subject, nil); err != nil {
		return err
	}
	if err := nc.Flush(); err != nil {
		return err
	}
	select {
	case err := <-told:
		return err
	case <-time.After(5 * time.Second):
		return errors.New("not denied")
	}
}

func TestStatusIsFollowedFromASequenceOnAndOfOneUserOnly(t *testing.T) {
	testenv.InBubble(t, func(t *testing.T, ns *server.Server) {
		status := func(user, job string) events.Event {
			return events.StatusChanged{JobID: events.JobID(job), UserID: events.UserID(user), State: "planned", At: at, Step: "s"}
		}
		bustest.Publish(t, ns, status("u", "old"), status("other", "x"), status("u", "kept"))
		web := testenv.Bus(t, ns, "web")
		if last, err := web.LastStatus(t.Context()); err != nil || last.Seq != 3 || last.Incarnation == "" {
			t.Fatalf("last is %s, %v; want 3", last, err)
		}
		var got []string
		for e, err := range web.FollowStatus(t.Context(), "u", events.Position{Seq: 1}) {
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, fmt.Sprint(e.Position.Seq, " ", e.JobID))
			if len(got) == 1 {
				bustest.Publish(t, ns, status("other", "y"), status("u", "live"))
			}
			if len(got) == 2 {
				break
			}
		}
		if want := "3 kept,5 live"; strings.Join(got, ",") != want {
			t.Errorf("got %v, want %s", got, want)
		}
	})
}

func TestStatusesAreFollowedOfAllAndLookedUpOfOne(t *testing.T) {
	testenv.InBubble(t, func(t *testing.T, ns *server.Server) {
		status := func(user, job string, state events.State) events.Event {
			return events.StatusChanged{JobID: events.JobID(job), UserID: events.UserID(user), State: state, At: at}
		}
		bustest.Publish(t, ns, status("u", "a", "planned"), status("other", "x", "planned"), status("u", "a", "requested"), status("u", "b", "planned"))
		web := testenv.Bus(t, ns, "web")
		var all []string
		here, err := web.LastStatus(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		at := func(seq uint64) events.Position { return events.Position{Incarnation: here.Incarnation, Seq: seq} }
		for e, err := range web.FollowStatuses(t.Context(), at(1)) {
			if err != nil {
				t.Fatal(err)
			}
			if all = append(all, fmt.Sprint(e.Position.Seq, " ", e.UserID)); len(all) == 3 {
				break
			}
		}
		if got, want := strings.Join(all, ","), "2 other,3 u,4 u"; got != want {
			t.Errorf("followed %s, want %s", got, want)
		}
		for _, c := range []struct {
			after, upto uint64
			want        string
		}{{0, 4, "1 3 4"}, {1, 3, "3"}, {1, 2, ""}, {3, 9, "4"}, {4, 4, ""}, {9, 4, ""}} {
			var got []string
			for st, err := range web.StatusesOf(t.Context(), "u", at(c.after), at(c.upto)) {
				if err != nil {
					t.Fatal(err)
				}
				if st.UserID != "u" {
					t.Errorf("a change of %q", st.UserID)
				}
				got = append(got, fmt.Sprint(st.Position.Seq))
			}
			if strings.Join(got, " ") != c.want {
				t.Errorf("after %d up to %d: got %v, want %s", c.after, c.upto, got, c.want)
			}
		}
		if e, ok, err := web.LastStatusOf(t.Context(), "u", "a"); err != nil || !ok || e.State != "requested" {
			t.Errorf("the last of a is %+v, %v, %v", e, ok, err)
		}
		for _, c := range [][2]string{{"other", "a"}, {"u", "none"}} {
			if e, ok, err := web.LastStatusOf(t.Context(), events.UserID(c[0]), events.JobID(c[1])); err != nil || ok {
				t.Errorf("the last of %v is %+v, %v", c, e, err)
			}
		}
	})
}
