package deadletter_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"github.com/gas-restore/gas/internal/bus"
	"github.com/gas-restore/gas/internal/fault"
	"github.com/gas-restore/gas/internal/operator/deadletter"
	"github.com/gas-restore/gas/internal/test/bustest"
	"github.com/gas-restore/gas/internal/test/testenv"
	"github.com/gas-restore/gas/pkg/events"
)

// at is when everything happens that needs a time.
var at = bustest.UpgradedAt

func TestAReplayIsANewMessageThatIsLinkedToItsDeadLetter(t *testing.T) {
	ns := testenv.NATS(t)
	op := testenv.Bus(t, ns, "operator")
	dead := deadletter.Open(op)
	fixed := make(chan struct{})
	r := bustest.Work(t, ns, 1, func(_ context.Context, e events.ThawRequested, _ bus.Emit) error {
		select {
		case <-fixed:
			return nil
		default:
			return fault.Errorf(fault.Invalid, "unknown job %q", e.JobID)
		}
	})
	// A planner publishes many tasks in a batch. The headers of the batch must not come
	// again.
	var es []events.Event
	for i := range 40 {
		es = append(es, bustest.Task(fmt.Sprint("j", i)))
	}
	bustest.Publish(t, ns, es...)
	for range es {
		r.Expect(t, bus.Dead)
	}
	first := bustest.Letters(t, dead, deadletter.Filter{Job: "j7"})
	if len(first) != 1 || first[0].UserID != "u" || first[0].Where != deadletter.InLetter {
		t.Fatalf("got %+v", first)
	}

	// It dies again: the second letter names the first, and the attempts add up.
	did, err := dead.Replay(t.Context(), first[0])
	if err != nil {
		t.Fatal(err)
	}
	r.Expect(t, bus.Dead)
	second := bustest.Letters(t, dead, deadletter.Filter{Job: "j7"})
	if len(second) != 1 {
		t.Fatalf("%d letters of the job, want 1: the first is removed", len(second))
	}
	l := second[0]
	if l.Seq == first[0].Seq || l.ID == first[0].ID || l.Attempts != 2 || !l.FirstAt.Equal(first[0].FirstAt) {
		t.Errorf("got %+v after %+v", l, first[0])
	}
	if len(l.ReplayOf) != 1 || l.ReplayOf[0].Seq != first[0].Seq || l.ReplayOf[0].ID != did.OldID || l.ReplayOf[0].Reason != `unknown job "j7"` {
		t.Errorf("it is linked to %+v, want %+v", l.ReplayOf, did)
	}
	if got := l.Header[events.HeaderMsgID]; !slices.Equal(got, []string{did.NewID}) || did.NewID == first[0].Header[events.HeaderMsgID][0] {
		t.Errorf("its id was %v, want %s", got, did.NewID)
	}
	if got, want := l.Header[events.HeaderID], first[0].Header[events.HeaderID]; !slices.Equal(got, want) {
		t.Errorf("%s: got %v, want %v", events.HeaderID, got, want)
	}
	if string(l.Payload) != string(first[0].Payload) {
		t.Errorf("payload: got %s, want %s", l.Payload, first[0].Payload)
	}

	// After the cause is fixed, the work succeeds.
	close(fixed)
	if _, err := dead.Replay(t.Context(), l); err != nil {
		t.Fatal(err)
	}
	r.Expect(t, bus.Acked)
	if n := len(bustest.Letters(t, dead, deadletter.Filter{Job: "j7"})); n != 0 {
		t.Errorf("%d letters of the job are left", n)
	}
	if n := bustest.Messages(t, ns, events.StreamDead); n != 39 {
		t.Errorf("%d letters are left, want the other 39 and no advisories", n)
	}
}

func TestAReplayThatWasCutShortIsStoredOnce(t *testing.T) {
	ns := testenv.NATS(t)
	op := testenv.Bus(t, ns, "operator")
	dead := deadletter.Open(op)
	letter := events.DeadLetter{
		ID: "7-a", Stream: events.StreamThaw, Consumer: bus.ConsumerRequest, SourceSubject: bustest.Task("j").Subject(),
		Payload: bustest.Payload(t, bustest.Task("j")), Reason: "r", Kind: "invalid", Attempts: 1, FirstAt: at, LastAt: at,
	}
	bustest.StoreLetters(t, op, letter)
	l := bustest.OneLetter(t, dead)
	// The first try was cut short here: the payload is published, and the letter is still
	// there.
	m := nats.NewMsg(l.SourceSubject)
	m.Data = l.Payload
	m.Header.Set(events.HeaderMsgID, l.ReplayID())
	if _, err := op.JS.PublishMsg(t.Context(), m); err != nil {
		t.Fatal(err)
	}
	did, err := dead.Replay(t.Context(), l)
	if err != nil || !did.Again {
		t.Errorf("got %+v, %v; want it told that it was published before", did, err)
	}
	if thaw, left := bustest.Messages(t, ns, events.StreamThaw), bustest.Messages(t, ns, events.StreamDead); thaw != 1 || left != 0 {
		t.Errorf("%d messages and %d letters, want 1 and 0", thaw, left)
	}
	// And once more, by somebody who saw the letter before.
	if did, err := dead.Replay(t.Context(), l); err != nil || !did.Again {
		t.Errorf("got %+v, %v", did, err)
	}
	if thaw := bustest.Messages(t, ns, events.StreamThaw); thaw != 1 {
		t.Errorf("%d messages, want 1", thaw)
	}
}

func TestWhatCannotBeReplayedStaysAndIsToldWhy(t *testing.T) {
	ns := testenv.NATS(t)
	op := testenv.Bus(t, ns, "operator")
	dead := deadletter.Open(op)
	var sent []deadletter.QueueMessage
	dead.Queues = map[string]func(context.Context, deadletter.QueueMessage) error{
		"known": func(_ context.Context, m deadletter.QueueMessage) error { sent = append(sent, m); return nil },
		"down":  func(context.Context, deadletter.QueueMessage) error { return errors.New("queue is down") },
	}
	letter := func(stream, consumer, subject, body string) events.DeadLetter {
		return events.DeadLetter{ID: fmt.Sprint(stream, consumer, subject), Stream: stream, Consumer: consumer, SourceSubject: subject, Payload: []byte(body), Reason: "r", Kind: "invalid", Attempts: 1, FirstAt: at, LastAt: at}
	}
	newer := `{"v":3,"type":"thaw.requested","data":{}}`
	bustest.StoreLetters(t, op,
		letter("SQS", "another", "", "rubbish"), letter("SQS", "down", "", "rubbish"), letter("THAW", "c", "thaw.requested.u.j", "rubbish"),
		letter("THAW", "c", "premium.upgraded.u", newer), letter("THAW", "c", "thaw.requested.u.*", newer), letter("MINE", "c", "mine.x", "{}"),
		letter("SQS", "known", "", "rubbish"), letter("THAW", "c", "thaw.requested.u.k", newer))
	if _, err := op.JS.Publish(t.Context(), "dead.THAW.c", []byte("no letter")); err != nil {
		t.Fatal(err)
	}
	for i, says := range []string{
		`the SQS queue "another"`, "queue is down", "payload is no event", "no work queue", "no work queue", "no work queue", "", "", "it cannot be read",
	} {
		l, err := dead.Letter(t.Context(), uint64(i+1))
		if err != nil {
			t.Fatal(err)
		}
		_, err = dead.Replay(t.Context(), l)
		_, left := dead.Letter(t.Context(), l.Seq)
		if says == "" {
			if err != nil || !fault.Is(left, fault.NotFound) {
				t.Errorf("%d: replay: %v; then the letter: %v", l.Seq, err, left)
			}
			continue
		}
		if err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%d: got %v, want an error that says %q", l.Seq, err, says)
		}
		if left != nil {
			t.Errorf("%d: the letter is gone: %v", l.Seq, left)
		}
	}
	if len(sent) != 1 || sent[0].Body != "rubbish" || len(events.Deaths(map[string][]string{events.HeaderReplayOf: {sent[0].ReplayOf}})) != 1 {
		t.Errorf("sent to the queue: %+v", sent)
	}
	if n := bustest.Messages(t, ns, events.StreamThaw); n != 1 {
		t.Errorf("%d messages in THAW, want the newer release's", n)
	}
}

func TestLettersAreFilteredAndLimitedTheOldestFirst(t *testing.T) {
	ns := testenv.NATS(t)
	op := testenv.Bus(t, ns, "operator")
	dead := deadletter.Open(op)
	dead.UserOf = func(_ context.Context, job events.JobID) (events.UserID, error) {
		if job == "gone" {
			return "", fault.Errorf(fault.NotFound, "unknown job")
		}
		return "fern", nil
	}
	letter := func(e events.Event, stream string, kind events.DeadKind, reason string) events.DeadLetter {
		return events.DeadLetter{ID: e.MessageID(), Stream: stream, Consumer: "c", SourceSubject: e.Subject(), Payload: bustest.Payload(t, e), Reason: reason, Kind: kind, Attempts: 1, FirstAt: at, LastAt: at}
	}
	retrieved := func(job string) events.Event {
		return events.RetrievalCompleted{ID: "n-" + job, JobID: events.JobID(job), ArchiveID: "a", RetrievalID: "r", Status: "Succeeded", CompletedAt: at}
	}
	bustest.StoreLetters(t, op,
		letter(events.UserUpgraded{ID: "1", UserID: "moss", UpgradedAt: at}, "PREMIUM", "unknown", "Unknown user"),                                                // 1
		letter(bustest.Task("j1"), "THAW", "invalid", "unknown job"),                                                                                              // 2, of u
		letter(retrieved("j2"), "RESTORE", "corrupt", "tree hash"),                                                                                                // 3, of fern
		letter(retrieved("gone"), "RESTORE", "invalid", "unknown job"),                                                                                            // 4
		events.DeadLetter{ID: "m", Stream: "SQS", Consumer: "q", Payload: []byte("{"), Reason: "not JSON", Kind: "invalid", Attempts: 1, FirstAt: at, LastAt: at}, // 5
		letter(bustest.Task("j6"), "THAW", "corrupt", "unknown job"))                                                                                              // 6
	three, err := dead.Letter(t.Context(), 3)
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		f    deadletter.Filter
		want []uint64
	}{
		"all":             {deadletter.Filter{}, []uint64{1, 2, 3, 4, 5, 6}},
		"two":             {deadletter.Filter{Limit: 2}, []uint64{1, 2}},
		"a stream":        {deadletter.Filter{Stream: "RESTORE"}, []uint64{3, 4}},
		"a queue":         {deadletter.Filter{Stream: "SQS"}, []uint64{5}},
		"no stream":       {deadletter.Filter{Stream: "NONE"}, nil},
		"a wild stream":   {deadletter.Filter{Stream: "*"}, nil},
		"a user":          {deadletter.Filter{User: "moss"}, []uint64{1}},
		"a task's user":   {deadletter.Filter{User: "u"}, []uint64{2, 6}},
		"a job's user":    {deadletter.Filter{User: "fern"}, []uint64{3}},
		"a job":           {deadletter.Filter{Job: "gone"}, []uint64{4}},
		"a kind":          {deadletter.Filter{Kind: "corrupt"}, []uint64{3, 6}},
		"a reason":        {deadletter.Filter{Reason: regexp.MustCompile("(?i)^unknown (user|job)$")}, []uint64{1, 2, 4, 6}},
		"a limit of some": {deadletter.Filter{Reason: regexp.MustCompile("job"), Limit: 2}, []uint64{2, 4}},
		"since":           {deadletter.Filter{Since: three.StoredAt}, nil},
		"until":           {deadletter.Filter{Until: three.StoredAt.Add(-time.Nanosecond)}, nil},
		"all at once":     {deadletter.Filter{Stream: "THAW", User: "u", Kind: "corrupt", Job: "j6"}, []uint64{6}},
	} {
		var got, each []uint64
		for _, l := range bustest.Letters(t, dead, c.f) {
			got = append(got, l.Seq)
			if l.StoredAt.Before(c.f.Since) || !c.f.Until.IsZero() && l.StoredAt.After(c.f.Until) {
				t.Errorf("%s: %d was stored at %s", name, l.Seq, l.StoredAt)
			}
		}
		if err := dead.ForEach(t.Context(), c.f, func(l deadletter.Letter) error { each = append(each, l.Seq); return nil }); err != nil {
			t.Error(err)
		}
		switch name { // those that were stored together have the same time or not
		case "since":
			c.want = got
			if !slices.Contains(got, 3) || !slices.Contains(got, 6) {
				t.Errorf("%s: got %v", name, got)
			}
		case "until":
			c.want = got
			if slices.Contains(got, 3) {
				t.Errorf("%s: got %v", name, got)
			}
		}
		if !slices.Equal(got, c.want) || !slices.Equal(each, c.want) {
			t.Errorf("%s: got %v, and one by one %v, want %v", name, got, each, c.want)
		}
	}
	st, err := op.JS.Stream(t.Context(), events.StreamDead)
	if err != nil {
		t.Fatal(err)
	}
	if n := st.CachedInfo().State.Consumers; n != 0 {
		t.Errorf("%d consumers are left behind", n)
	}
	// Those in the middle go, and those that come while it lasts are not meant.
	var dropped []uint64
	err = dead.ForEach(t.Context(), deadletter.Filter{}, func(l deadletter.Letter) error {
		if l.Seq == 2 {
			bustest.StoreLetters(t, op, letter(bustest.Task("new"), "THAW", "invalid", "r"))
			if err := dead.Drop(t.Context(), deadletter.Letter{Seq: 3}); err != nil {
				return err
			}
		}
		dropped = append(dropped, l.Seq)
		return dead.Drop(t.Context(), l)
	})
	if want := []uint64{1, 2, 4, 5, 6}; err != nil || !slices.Equal(dropped, want) {
		t.Errorf("dropped %v (%v), want %v", dropped, err, want)
	}
	if left := bustest.OneLetter(t, dead); left.JobID != "new" {
		t.Errorf("left: %+v", left)
	}
}

// giveUp makes the server give up a message of THAW: the consumer gets a MaxDeliver, as
// with `nats consumer edit`, and a client takes the message and goes away.
func giveUp(t *testing.T, ns *server.Server, e events.ThawRequested) {
	t.Helper()
	op := testenv.Bus(t, ns, "operator")
	c, err := op.JS.Consumer(t.Context(), events.StreamThaw, bus.ConsumerRequest)
	if err != nil {
		t.Fatal(err)
	}
	cfg := c.CachedInfo().Config
	cfg.MaxDeliver, cfg.AckWait = 1, 10*time.Millisecond
	if c, err = op.JS.UpdateConsumer(t.Context(), events.StreamThaw, cfg); err != nil {
		t.Fatal(err)
	}
	bustest.Publish(t, ns, e)
	if _, err := c.Next(); err != nil {
		t.Fatal(err)
	}
}

func TestWhatJetStreamGivesUpIsKeptWithNobodyAliveAndCanBeReplayed(t *testing.T) {
	ns := testenv.NATS(t)
	op := testenv.Bus(t, ns, "operator")
	dead := deadletter.Open(op)
	giveUp(t, ns, bustest.Task("j"))
	bustest.AwaitLetters(t, op, 1) // no worker, no pull, no subscription of ours
	l := bustest.OneLetter(t, dead)
	if l.Kind != events.DeadKindUndelivered || l.Where != deadletter.InStream || l.SourceSeq != 1 || l.JobID != "j" || l.UserID != "u" || l.Attempts != 1 ||
		l.SourceSubject != "thaw.requested.u.j" || string(l.Payload) != string(bustest.Payload(t, bustest.Task("j"))) || l.Stream != events.StreamThaw || l.Consumer != bus.ConsumerRequest {
		t.Fatalf("got %+v", l)
	}
	if got := bustest.Letters(t, dead, deadletter.Filter{Stream: events.StreamThaw, Job: "j", Kind: events.DeadKindUndelivered}); len(got) != 1 {
		t.Errorf("filtered: %+v", got)
	}
	if got := bustest.Letters(t, dead, deadletter.Filter{Stream: events.StreamRestore}); len(got) != 0 {
		t.Errorf("of another stream: %+v", got)
	}
	if err := op.CheckConsumer(t.Context(), events.StreamThaw, bus.ConsumerRequest); err == nil || !strings.Contains(err.Error(), "gas provision") {
		t.Errorf("check says %v, want that it gives up", err)
	}

	// After the fix no worker gets the message: it is stuck. After the replay a worker
	// gets it once.
	if err := bus.Provision(t.Context(), op.JS, bus.Settings{}); err != nil {
		t.Fatal(err)
	}
	if err := op.CheckConsumer(t.Context(), events.StreamThaw, bus.ConsumerRequest); err != nil {
		t.Error(err)
	}
	did, err := dead.Replay(t.Context(), l)
	if err != nil || did.Again {
		t.Fatalf("got %+v, %v", did, err)
	}
	if thaw, left := bustest.Messages(t, ns, events.StreamThaw), bustest.Messages(t, ns, events.StreamDead); thaw != 1 || left != 0 {
		t.Fatalf("%d messages and %d letters, want the new one and 0", thaw, left)
	}
	r := bustest.Work(t, ns, 1, func(context.Context, events.ThawRequested, bus.Emit) error {
		return fault.Errorf(fault.Invalid, "again")
	})
	r.Expect(t, bus.Dead)
	again := bustest.OneLetter(t, dead)
	if again.Kind != "invalid" || again.Attempts != 2 || len(again.ReplayOf) != 1 || again.ReplayOf[0].Seq != l.Seq {
		t.Errorf("got %+v", again)
	}
	if n := bustest.Messages(t, ns, events.StreamThaw); n != 0 {
		t.Errorf("%d messages are left in THAW", n)
	}
}

func TestAStuckMessageIsDroppedWithItsLetterAndOneThatIsGoneNeedsNoReplay(t *testing.T) {
	ns := testenv.NATS(t)
	op := testenv.Bus(t, ns, "operator")
	dead := deadletter.Open(op)
	giveUp(t, ns, bustest.Task("j1"))
	giveUp(t, ns, bustest.Task("j2"))
	bustest.AwaitLetters(t, op, 2)
	all := bustest.Letters(t, dead, deadletter.Filter{})
	if err := dead.Drop(t.Context(), all[0]); err != nil {
		t.Fatal(err)
	}
	if n := bustest.Messages(t, ns, events.StreamThaw); n != 1 {
		t.Errorf("%d messages in THAW, want 1", n)
	}
	// Somebody purged the queue, which begins anew with another message.
	if err := op.JS.DeleteStream(t.Context(), events.StreamThaw); err != nil {
		t.Fatal(err)
	}
	if l := bustest.OneLetter(t, dead); l.Where != deadletter.Gone {
		t.Errorf("without its stream it is %s", l.Where)
	}
	if err := bus.Provision(t.Context(), op.JS, bus.Settings{}); err != nil {
		t.Fatal(err)
	}
	bustest.Publish(t, ns, bustest.Task("k1"), bustest.Task("k2"))
	l := bustest.OneLetter(t, deadletter.Open(testenv.Bus(t, ns, "operator")))
	if l.Where != deadletter.Gone || l.JobID != "" {
		t.Errorf("got %+v, want nobody else's message", l)
	}
	if _, err := dead.Replay(t.Context(), l); !fault.Is(err, fault.Invalid) || !strings.Contains(err.Error(), "needs no replay") {
		t.Errorf("replay says %v", err)
	}
	if err := dead.Drop(t.Context(), l); err != nil {
		t.Error(err)
	}
	if thaw, left := bustest.Messages(t, ns, events.StreamThaw), bustest.Messages(t, ns, events.StreamDead); thaw != 2 || left != 0 {
		t.Errorf("%d messages and %d letters, want 2 and 0", thaw, left)
	}
}

func TestWhatTheServerCallsTerminatedIsNoDeadLetter(t *testing.T) {
	ns := testenv.NATS(t)
	op := testenv.Bus(t, ns, "operator")
	said, err := op.Conn.SubscribeSync("$JS.EVENT.ADVISORY.CONSUMER.MSG_TERMINATED.>")
	if err != nil {
		t.Fatal(err)
	}
	bustest.Publish(t, ns, bustest.Task("j"))
	c, err := op.JS.Consumer(t.Context(), events.StreamThaw, bus.ConsumerRequest)
	if err != nil {
		t.Fatal(err)
	}
	m, err := c.Next()
	if err != nil {
		t.Fatal(err)
	}
	meta, err := m.Metadata()
	if err != nil {
		t.Fatal(err)
	}
	// A leader that missed the ack sees this: the message is gone from the stream, and
	// its consumer waits for it.
	st, err := op.JS.Stream(t.Context(), events.StreamThaw)
	if err != nil {
		t.Fatal(err)
	}
	if err := st.DeleteMsg(t.Context(), meta.Sequence.Stream); err != nil {
		t.Fatal(err)
	}
	if _, err := said.NextMsgWithContext(t.Context()); err != nil {
		t.Fatal(err)
	}
	// The stream stored everything that it took before this letter.
	bustest.StoreLetters(t, op, events.DeadLetter{ID: "1", Stream: "THAW", Consumer: "c", Payload: []byte("x"), Reason: "r", Kind: "invalid", Attempts: 1, FirstAt: at, LastAt: at})
	if l := bustest.OneLetter(t, deadletter.Open(op)); l.Kind != "invalid" {
		t.Errorf("got %+v", l)
	}
}

func TestADeadStreamWithoutTheBackstopIsNoticedAndProvisioned(t *testing.T) {
	ns := testenv.NATS(t)
	op := testenv.Bus(t, ns, "operator")
	// The bridge looks: gas check does so under its name.
	check := testenv.Bus(t, ns, "bridge").JS
	if err := bus.CheckBackstop(t.Context(), check); err != nil {
		t.Fatal(err)
	}
	st, err := op.JS.Stream(t.Context(), events.StreamDead)
	if err != nil {
		t.Fatal(err)
	}
	cfg := st.CachedInfo().Config
	cfg.Subjects = []string{events.SubjectDead} // as an older release made it
	if _, err := op.JS.UpdateStream(t.Context(), cfg); err != nil {
		t.Fatal(err)
	}
	if err := bus.CheckBackstop(t.Context(), check); err == nil || !strings.Contains(err.Error(), "MAX_DELIVERIES.THAW") || !strings.Contains(err.Error(), "gas provision") {
		t.Errorf("got %v", err)
	}
	// Its letters can be read all the same.
	bustest.StoreLetters(t, op, events.DeadLetter{ID: "1", Stream: "THAW", Consumer: "c", Payload: []byte("x"), Reason: "r", Kind: "invalid", Attempts: 1, FirstAt: at, LastAt: at})
	if got := bustest.Letters(t, deadletter.Open(op), deadletter.Filter{Stream: "THAW"}); len(got) != 1 {
		t.Errorf("got %+v", got)
	}
	if err := bus.Provision(t.Context(), op.JS, bus.Settings{}); err != nil {
		t.Fatal(err)
	}
	if err := bus.CheckBackstop(t.Context(), check); err != nil {
		t.Error(err)
	}
}

func TestALetterIsWrittenAsJSONWithItsPayloadToRead(t *testing.T) {
	ns := testenv.NATS(t)
	op := testenv.Bus(t, ns, "operator")
	bustest.StoreLetters(t, op, events.DeadLetter{ID: "1", Stream: "THAW", Consumer: "c", SourceSubject: "thaw.requested.u.j", Payload: []byte(`{"a":1}`), Reason: "r", Kind: "invalid", Attempts: 1, FirstAt: at, LastAt: at})
	data, err := json.Marshal(bustest.OneLetter(t, deadletter.Open(op)))
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{`"seq":1`, `"payload":"{\"a\":1}"`, `"job_id":"j"`, `"payload_is":"in the letter"`, `"subject":"thaw.requested.u.j"`} {
		if !strings.Contains(string(data), want) {
			t.Errorf("%s does not have %s", data, want)
		}
	}
}

// BenchmarkListing100000DeadLetters lists what `gas dead list` prints.
func BenchmarkListing100000DeadLetters(b *testing.B) {
	ns := testenv.NATS(b)
	op := testenv.Bus(b, ns, "operator")
	const n = 100_000
	var batch []events.DeadLetter
	for i := range n {
		e := bustest.Task(fmt.Sprint("j", i))
		batch = append(batch, events.DeadLetter{
			ID: fmt.Sprint(i), Stream: "THAW", Consumer: "thaw-request", SourceSubject: e.Subject(), Payload: bustest.Payload(b, e),
			Header: map[string][]string{events.HeaderID: {e.MessageID()}}, Reason: "unknown job", Kind: "invalid", Attempts: 1, FirstAt: at, LastAt: at,
		})
		if len(batch) == 5000 {
			bustest.StoreLetters(b, op, batch...)
			batch = batch[:0]
		}
	}
	runtime.GC()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for b.Loop() {
		got := 0
		for _, err := range deadletter.Open(op).Letters(b.Context(), deadletter.Filter{Reason: regexp.MustCompile("(?i)job")}) {
			if err != nil {
				b.Fatal(err)
			}
			got++
		}
		if got != n {
			b.Fatalf("%d letters, want %d", got, n)
		}
	}
	runtime.ReadMemStats(&after)
	b.ReportMetric(float64(after.HeapSys)/(1<<20), "heap-MiB")
	b.ReportMetric(n*float64(b.N)/b.Elapsed().Seconds(), "letters/s")
}
