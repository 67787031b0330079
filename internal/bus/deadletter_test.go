package bus_test

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"github.com/gas-restore/gas/internal/bus"
	"github.com/gas-restore/gas/internal/fault"
	"github.com/gas-restore/gas/internal/operator/deadletter"
	"github.com/gas-restore/gas/internal/test/bustest"
	"github.com/gas-restore/gas/internal/test/testenv"
	"github.com/gas-restore/gas/pkg/events"
)

// dying is a worker that fails with one cause, and gives a longer reason each time.
type dying struct {
	*bustest.Running
	cause atomic.Value
	n     atomic.Int64
}

func die(t *testing.T, ns *server.Server, cause string) *dying {
	d := &dying{}
	d.cause.Store(cause)
	d.Running = bustest.Work(t, ns, 1, func(context.Context, events.ThawRequested, bus.Emit) error {
		return fault.Because(fault.Invalid, d.cause.Load().(string), fmt.Errorf("no, for the %dth time", d.n.Add(1)))
	})
	return d
}

// again publishes the task once more under another id, as a sweep does.
func (d *dying) again(t *testing.T, ns *server.Server, job string) {
	t.Helper()
	e := bustest.Task(job)
	e.ID = fmt.Sprint("up-", job, d.n.Load()+100)
	bustest.Publish(t, ns, e)
	d.Expect(t, bus.Dead)
}

func TestADeathOfTheSameCauseWritesNoSecondLetter(t *testing.T) {
	testenv.InBubble(t, func(t *testing.T, ns *server.Server) {
		op := testenv.Bus(t, ns, "operator")
		dead := deadletter.Open(op)
		d := die(t, ns, "key occupied")
		for range 3 {
			d.again(t, ns, "j")
		}
		d.again(t, ns, "other")
		all := bustest.Letters(t, dead, deadletter.Filter{})
		if len(all) != 2 || all[0].JobID != "j" || all[0].Cause != "key occupied" || all[0].Reason != "no, for the 1th time" || all[1].JobID != "other" {
			t.Fatalf("got %+v, want one letter for each job", all)
		}
		if n := bustest.Messages(t, ns, events.StreamThaw); n != 0 {
			t.Errorf("%d messages are left in THAW, want none: they are acked", n)
		}

		// Another cause needs another fix, so it has a letter of its own.
		d.cause.Store("asked already")
		d.again(t, ns, "j")
		if got := bustest.Letters(t, dead, deadletter.Filter{Job: "j"}); len(got) != 2 || got[1].Cause != "asked already" {
			t.Fatalf("of another cause: %+v", got)
		}
		if got := bustest.Letters(t, dead, deadletter.Filter{Cause: "Key Occupied"}); len(got) != 2 {
			t.Errorf("filtered by cause: %+v", got)
		}

		// Somebody dropped the letter, because the cause seemed fixed. The next failure writes
		// the letter again.
		for _, l := range bustest.Letters(t, dead, deadletter.Filter{Job: "j"}) {
			if err := dead.Drop(t.Context(), l); err != nil {
				t.Fatal(err)
			}
		}
		d.again(t, ns, "j")
		d.again(t, ns, "j")
		if got := bustest.Letters(t, dead, deadletter.Filter{Job: "j"}); len(got) != 1 || got[0].Seq != 4 {
			t.Errorf("after the drop: %+v", got)
		}
	})
}

func TestAReplayThatDiesWritesItsLetterWhateverStandsThere(t *testing.T) {
	testenv.InBubble(t, func(t *testing.T, ns *server.Server) {
		dead := deadletter.Open(testenv.Bus(t, ns, "operator"))
		d := die(t, ns, "key occupied")
		d.again(t, ns, "j")
		first := bustest.OneLetter(t, dead)
		// Two letters cover the same work, and one of them is replayed.
		second := first.DeadLetter
		second.ID += "-again"
		bustest.StoreLetters(t, testenv.Bus(t, ns, "operator"), second)
		if _, err := dead.Replay(t.Context(), first); err != nil {
			t.Fatal(err)
		}
		d.Expect(t, bus.Dead)
		all := bustest.Letters(t, dead, deadletter.Filter{})
		if len(all) != 2 || len(all[1].ReplayOf) != 1 || all[1].ReplayOf[0].Seq != first.Seq || all[1].Cause != "key occupied" {
			t.Errorf("got %+v, want a second that is linked to the first", all)
		}
	})
}

func TestALookThatFailsWritesTheLetter(t *testing.T) {
	testenv.InBubble(t, func(t *testing.T, ns *server.Server) {
		op := testenv.Bus(t, ns, "operator")
		d := die(t, ns, "key occupied")
		if _, err := op.JS.Publish(t.Context(), "dead.THAW.thaw-request.j", []byte("no letter")); err != nil {
			t.Fatal(err)
		}
		d.again(t, ns, "j")
		if all := bustest.Letters(t, deadletter.Open(op), deadletter.Filter{}); len(all) != 2 || all[0].Kind != events.DeadKindUnreadable || all[0].Stream != "THAW" || all[0].Consumer != "thaw-request" || all[1].JobID != "j" {
			t.Errorf("got %+v, want what cannot be read, and the letter", all)
		}
		if cause, ok, err := op.DeadOf(t.Context(), bustest.Task("other")); ok || err != nil {
			t.Errorf("of a job without a letter: %q, %v, %v", cause, ok, err)
		}
	})
}

func TestAServiceThatMayNotLookWritesItsLetters(t *testing.T) {
	testenv.InBubble(t, func(t *testing.T, ns *server.Server) {
		testenv.Reload(t, ns, `"$JS.API.STREAM.MSG.GET.DEAD"`, "") // as in the nats.conf of an older release
		d := die(t, ns, "key occupied")
		d.again(t, ns, "j")
		d.again(t, ns, "j")
		if all := bustest.Letters(t, deadletter.Open(testenv.Bus(t, ns, "operator")), deadletter.Filter{}); len(all) != 2 {
			t.Errorf("got %+v, want both", all)
		}
	})
}

func TestWhatIsNoEventIsKeptEachTime(t *testing.T) {
	testenv.InBubble(t, func(t *testing.T, ns *server.Server) {
		op := testenv.Bus(t, ns, "operator")
		d := die(t, ns, "no event")
		for _, body := range []string{"rubbish", "other rubbish"} {
			if _, err := op.JS.Publish(t.Context(), "thaw.requested.j", []byte(body)); err != nil {
				t.Fatal(err)
			}
			d.Expect(t, bus.Dead)
		}
		all := bustest.Letters(t, deadletter.Open(op), deadletter.Filter{Cause: "no event"})
		if len(all) != 2 || string(all[1].Payload) != "other rubbish" {
			t.Errorf("got %+v, want both: their bytes are nowhere else", all)
		}
		// The letter covers no work: its replay would not do the work.
		if _, ok, err := op.DeadOf(t.Context(), bustest.Task("j")); ok || err != nil {
			t.Errorf("it covers the job's task: %v, %v", ok, err)
		}
	})
}

func TestTheSweepSeesWhatDied(t *testing.T) {
	testenv.InBubble(t, func(t *testing.T, ns *server.Server) {
		sweep := testenv.Bus(t, ns, "sweep")
		d := die(t, ns, "key occupied")
		d.again(t, ns, "j.1")
		for job, want := range map[string]bool{"j.1": true, "j": false} {
			cause, ok, err := sweep.DeadOf(t.Context(), bustest.Task(job))
			if err != nil || ok != want || ok && cause != "key occupied" {
				t.Errorf("%s: got %q, %v, %v; want %v", job, cause, ok, err, want)
			}
		}
		bustest.StoreLetters(t, testenv.Bus(t, ns, "operator"),
			events.DeadLetter{ID: "1", Stream: "PREMIUM", Consumer: bus.ConsumerPlan, SourceSubject: "premium.upgraded.u", Reason: "r", Kind: "unknown", LastAt: at},
			events.DeadLetter{ID: "2", Stream: "RESTORE", Consumer: bus.ConsumerRestore, SourceSubject: "restore.completed.j", Reason: "r", Kind: "corrupt", Cause: "tree hash", LastAt: at})
		if cause, ok, err := sweep.DeadOf(t.Context(), events.UserUpgraded{UserID: "u"}); err != nil || !ok || cause != "" {
			t.Errorf("an upgrade: got %q, %v, %v", cause, ok, err)
		}
		if cause, ok, err := sweep.DeadOf(t.Context(), events.RetrievalCompleted{JobID: "j"}); err != nil || !ok || cause != "tree hash" {
			t.Errorf("a retrieval: got %q, %v, %v", cause, ok, err)
		}
		if _, _, err := sweep.DeadOf(t.Context(), events.StatusChanged{}); !fault.Is(err, fault.Invalid) {
			t.Errorf("a status: got %v", err)
		}
	})
}

// Letters of older releases have subjects with three tokens: the user and the job are
// only in the letter.
func TestALetterOfAnOlderReleaseIsListedReplayedAndDropped(t *testing.T) {
	testenv.InBubble(t, func(t *testing.T, ns *server.Server) {
		op := testenv.Bus(t, ns, "operator")
		dead := deadletter.Open(op)
		for _, job := range []string{"j1", "j2"} {
			m, err := events.Encode(events.DeadLetter{ID: job, Stream: "THAW", Consumer: bus.ConsumerRequest, SourceSubject: bustest.Task(job).Subject(),
				Payload: bustest.Payload(t, bustest.Task(job)), Reason: "r", Kind: "invalid", Attempts: 1, FirstAt: at, LastAt: at})
			if err != nil {
				t.Fatal(err)
			}
			if _, err := op.JS.Publish(t.Context(), "dead.THAW.thaw-request", m.Data); err != nil {
				t.Fatal(err)
			}
		}
		d := die(t, ns, "")
		d.again(t, ns, "j1") // no letter under the job's own subject covers it
		if all := bustest.Letters(t, dead, deadletter.Filter{Stream: "THAW"}); len(all) != 3 || all[1].JobID != "j2" {
			t.Fatalf("got %+v", all)
		}
		old := bustest.Letters(t, dead, deadletter.Filter{Job: "j2"})
		if _, err := dead.Replay(t.Context(), old[0]); err != nil {
			t.Fatal(err)
		}
		d.Expect(t, bus.Dead)
		if got := bustest.Letters(t, dead, deadletter.Filter{Job: "j2"}); len(got) != 1 || len(got[0].ReplayOf) != 1 {
			t.Errorf("got %+v, want what came of the replay", got)
		}
		err := dead.ForEach(t.Context(), deadletter.Filter{}, func(l deadletter.Letter) error { return dead.Drop(t.Context(), l) })
		if n := bustest.Messages(t, ns, events.StreamDead); err != nil || n != 0 {
			t.Errorf("%d letters are left, %v", n, err)
		}
	})
}

func TestANumberOfADeadStreamThatWasMadeAnewRemovesNothing(t *testing.T) {
	testenv.InBubble(t, func(t *testing.T, ns *server.Server) {
		op := testenv.Bus(t, ns, "operator")
		dead := deadletter.Open(op)
		letter := func(job string) events.DeadLetter {
			return events.DeadLetter{ID: job, Stream: "THAW", Consumer: "c", SourceSubject: bustest.Task(job).Subject(), Payload: bustest.Payload(t, bustest.Task(job)), Reason: "r", Kind: "invalid", LastAt: at}
		}
		remake := func() {
			if err := op.JS.DeleteStream(t.Context(), events.StreamDead); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Millisecond) // two streams differ by the time at which they were made
			if err := bus.Provision(t.Context(), op.JS, bus.Settings{}); err != nil {
				t.Fatal(err)
			}
			bustest.StoreLetters(t, op, letter("new1"), letter("new2"))
		}
		bustest.StoreLetters(t, op, letter("old1"), letter("old2"))
		old := bustest.Letters(t, dead, deadletter.Filter{})
		err := dead.ForEach(t.Context(), deadletter.Filter{}, func(l deadletter.Letter) error {
			if l.JobID != "old1" {
				t.Errorf("called for %+v", l)
			}
			remake()
			return nil
		})
		if !errors.Is(err, bus.ErrAnew) {
			t.Errorf("one by one: got %v, want %v", err, bus.ErrAnew)
		}
		if err := dead.Drop(t.Context(), old[1]); err != nil {
			t.Error(err)
		}
		if _, err := dead.Replay(t.Context(), old[0]); err != nil {
			t.Error(err)
		}
		if all := bustest.Letters(t, dead, deadletter.Filter{}); len(all) != 2 || all[0].JobID != "new1" {
			t.Errorf("left: %+v, want both that were never named", all)
		}
	})
}
