package acts_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/gas-restore/gas/internal/operator/acts"
	"github.com/gas-restore/gas/internal/test/testenv"
	"github.com/gas-restore/gas/pkg/events"
)

func TestAnActIsRecordedBeforeItIsDoneAndAgainWithItsEnd(t *testing.T) {
	ns := testenv.NATS(t)
	op := testenv.Bus(t, ns, "operator")
	log := acts.Open(op, "operator")
	act := acts.Act{Kind: events.ActPause, By: "ada", On: "ops-1", Why: "the vault is checked", Command: "gas pause --all", User: "moss"}
	err := log.Do(t.Context(), act, func(ctx context.Context) (string, error) {
		all, err := log.Acts(ctx, acts.Filter{})
		if err != nil || len(all) != 1 || all[0].Outcome != "" || all[0].By != "ada" || all[0].Why != act.Why {
			t.Errorf("during the act: got %+v, %v; want one act without an outcome", all, err)
		}
		return "paused", nil
	})
	if err != nil {
		t.Fatal(err)
	}
	all, err := log.Acts(t.Context(), acts.Filter{})
	if err != nil || len(all) != 1 {
		t.Fatalf("got %+v, %v; want one act", all, err)
	}
	got := all[0]
	if got.Outcome != events.ActDone || got.Did != "paused" || got.As != "operator" || got.On != "ops-1" || got.UserID != "moss" || got.Command != act.Command || got.EndedAt.Before(got.At) {
		t.Errorf("got %+v", got)
	}
}

func TestAFailedActSaysWhyAndHowFarItCame(t *testing.T) {
	op := testenv.Bus(t, testenv.NATS(t), "operator")
	log := acts.Open(op, "operator")
	trouble := errors.New("no\nroute")
	ctx, cancel := context.WithCancel(t.Context())
	err := log.Do(ctx, acts.Act{Kind: events.ActReplay, By: "ada"}, func(context.Context) (string, error) {
		cancel() // the operator interrupts
		return "2 letters were replayed", trouble
	})
	if !errors.Is(err, trouble) {
		t.Errorf("got %v, want the act's own error", err)
	}
	all, err := log.Acts(t.Context(), acts.Filter{})
	if err != nil || len(all) != 1 || all[0].Outcome != events.ActFailed || !strings.HasPrefix(all[0].Error, "no") || all[0].Did != "2 letters were replayed" {
		t.Errorf("got %+v, %v", all, err)
	}
}

func TestNothingIsDoneThatCannotBeRecorded(t *testing.T) {
	ns := testenv.NATS(t)
	op, thaw := testenv.Bus(t, ns, "operator"), testenv.Bus(t, ns, "thaw")
	act := acts.Act{Kind: events.ActDrop, By: "ada"}
	short, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	long := act
	long.Why = strings.Repeat("x", acts.MaxWhy+1)
	nobody := act
	nobody.By = ""
	gone := testenv.Bus(t, ns, "operator")
	gone.Close()
	for name, try := range map[string]func(func(context.Context) (string, error)) error{
		"a service": func(do func(context.Context) (string, error)) error {
			return acts.Open(thaw, "thaw").Do(short, act, do)
		},
		"a long reason": func(do func(context.Context) (string, error)) error {
			return acts.Open(op, "operator").Do(t.Context(), long, do)
		},
		"nobody": func(do func(context.Context) (string, error)) error {
			return acts.Open(op, "operator").Do(t.Context(), nobody, do)
		},
		"the bus is away": func(do func(context.Context) (string, error)) error {
			return acts.Open(gone, "operator").Do(t.Context(), act, do)
		},
		"an unknown act": func(do func(context.Context) (string, error)) error {
			return acts.Open(op, "operator").Do(t.Context(), acts.Act{Kind: "look", By: "ada"}, do)
		},
	} {
		did := false
		do := func(context.Context) (string, error) { did = true; return "", nil }
		if err := try(do); err == nil || did {
			t.Errorf("%s: done is %t, with error %v", name, did, err)
		}
	}
	if all, err := acts.Open(op, "operator").Acts(t.Context(), acts.Filter{}); err != nil || len(all) != 0 {
		t.Errorf("got %+v, %v; want nothing", all, err)
	}
}

func TestAnActWhoseEndCannotBeRecordedIsToldAndStaysOpen(t *testing.T) {
	ns := testenv.NATS(t)
	op := testenv.Bus(t, ns, "operator")
	err := acts.Open(op, "operator").Do(t.Context(), acts.Act{Kind: events.ActPause, By: "ada"}, func(context.Context) (string, error) {
		op.Close()
		return "paused", nil
	})
	if err == nil || !strings.Contains(err.Error(), "it is done, but stream AUDIT does not say so") {
		t.Errorf("got %v", err)
	}
	all, err := acts.Open(testenv.Bus(t, ns, "operator"), "operator").Acts(t.Context(), acts.Filter{})
	if err != nil || len(all) != 1 || all[0].Outcome != "" {
		t.Errorf("got %+v, %v; want one act without an outcome", all, err)
	}
}

func TestActsAreFoundByTimeUserActorAndKind(t *testing.T) {
	op := testenv.Bus(t, testenv.NATS(t), "operator")
	log := acts.Open(op, "operator")
	if all, err := log.Acts(t.Context(), acts.Filter{}); err != nil || len(all) != 0 {
		t.Fatalf("of an empty stream: got %+v, %v", all, err)
	}
	did := func(context.Context) (string, error) { return "", nil }
	for _, a := range []acts.Act{
		{Kind: events.ActPause, By: "ada", User: "moss"}, {Kind: events.ActResume, By: "bo", User: "moss"}, {Kind: events.ActPause, By: "bo", User: "fern"},
	} {
		if err := log.Do(t.Context(), a, did); err != nil {
			t.Fatal(err)
		}
	}
	now := time.Now()
	for _, c := range []struct {
		f    acts.Filter
		want int
	}{
		{acts.Filter{}, 3}, {acts.Filter{User: "moss"}, 2}, {acts.Filter{By: "bo"}, 2}, {acts.Filter{Kind: events.ActPause}, 2}, {acts.Filter{By: "bo", User: "fern"}, 1},
		{acts.Filter{Since: now.Add(-time.Minute)}, 3}, {acts.Filter{Since: now.Add(time.Minute)}, 0}, {acts.Filter{Until: now.Add(-time.Minute)}, 0}, {acts.Filter{Until: now.Add(time.Minute)}, 3},
	} {
		if all, err := log.Acts(t.Context(), c.f); err != nil || len(all) != c.want {
			t.Errorf("%+v: got %d acts, %v; want %d", c.f, len(all), err, c.want)
		}
	}
}

func TestARecordCannotBeRemovedOrChanged(t *testing.T) {
	ns := testenv.NATS(t)
	op := testenv.Bus(t, ns, "operator")
	log := acts.Open(op, "operator")
	if err := log.Do(t.Context(), acts.Act{Kind: events.ActPause, By: "ada"}, func(context.Context) (string, error) { return "", nil }); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond) // NATS does not answer what it forbids
	defer cancel()
	st, err := op.JS.Stream(t.Context(), events.StreamAudit)
	if err != nil {
		t.Fatal(err)
	}
	if err := st.DeleteMsg(ctx, 1); err == nil {
		t.Error("a message was deleted")
	}
	if err := st.Purge(ctx); err == nil {
		t.Error("the stream was purged")
	}
	if err := op.JS.DeleteStream(ctx, events.StreamAudit); err == nil {
		t.Error("the stream was deleted")
	}
	// The stream itself refuses too, whoever asks.
	c := st.CachedInfo().Config
	if !c.DenyDelete || !c.DenyPurge || c.Discard != jetstream.DiscardNew || c.MaxAge != 0 {
		t.Errorf("got %+v", c)
	}
	c.DenyPurge = false
	if _, err := op.JS.UpdateStream(t.Context(), c); err == nil {
		t.Error("the stream was opened for a purge")
	}
	// A message that is no record hides nothing.
	if _, err := op.JS.Publish(t.Context(), "audit.pause", []byte("rubbish")); err != nil {
		t.Fatal(err)
	}
	if all, err := log.Acts(t.Context(), acts.Filter{}); err != nil || len(all) != 2 || !strings.Contains(all[1].Error, "not a record") {
		t.Errorf("got %+v, %v", all, err)
	}
}
