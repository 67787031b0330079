package bridge

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/gas-restore/gas/internal/queue"
	"github.com/gas-restore/gas/pkg/events"
)

// of returns the user of an upgrade; empty for another event.
func of(e events.Event) events.UserID {
	u, _ := e.(events.UserUpgraded)
	return u.UserID
}

func TestAMessageIsStoredAndDeletedAtOnceAndItsAgeIsKnown(t *testing.T) {
	withFakes(t, func(t *testing.T, b *fakes) {
		var ages []time.Duration
		b.OnStored = func(age time.Duration) { ages = append(ages, age) }
		b.Now = func() time.Time { return time.Now().Add(-time.Second) } // a clock of its own
		b.holds(2)
		b.queue.backlog[0].SentAt = time.Now().Add(-90 * time.Second)
		b.queue.backlog[1].SentAt = time.Time{} // unknown
		b.start()
		b.after(0)
		is(t, "publications", &b.publish.publications, "0s  0s")
		is(t, "deletions", &b.queue.deletes, "0s r0,r1 0s")
		is(t, "ages", ages, []time.Duration{89 * time.Second})
		b.tally("2 published, 0 duplicate, 0 quarantined, 0 returned, 0 undeleted")
		is(t, "received", b.Tally.Received.Load(), 2)
	})
}

// TestAnEventThatCannotBeStoredBecomesADeadLetter: the second event is too large, and the third
// message is no event.
func TestAnEventThatCannotBeStoredBecomesADeadLetter(t *testing.T) {
	withFakes(t, func(t *testing.T, b *fakes) {
		b.publish.store = func(_ context.Context, e events.Event) error {
			if of(e) == "u1" {
				return errInvalid
			}
			return nil
		}
		b.holds(3)
		b.queue.backlog[1].Attributes = map[string][]string{"a": {"b"}}
		b.queue.backlog[1].Receives = 4
		b.queue.backlog[2].Body = "rubbish"
		b.queue.backlog[2].Receives = 0 // the queue does not say
		b.start()
		b.after(0)
		b.tally("1 published, 0 duplicate, 2 quarantined, 0 returned, 0 undeleted")
		is(t, "deletions", &b.queue.deletes, "0s r0,r1,r2 0s")
		told := b.publish.all()
		if len(told) != 2 || len(told[0]) != 3 || len(told[1]) != 1 {
			t.Fatalf("published %v, want three events, and then one dead letter", told)
		}
		now := time.Now().UTC()
		is(t, "dead letters", []any{told[1][0], told[0][2]}, []any{
			events.DeadLetter{ID: "m1", Stream: "SQS", Consumer: "fake", Header: map[string][]string{"a": {"b"}}, Payload: []byte(`{"user_id":"u1"}`),
				Reason: "too large", Kind: events.DeadKindInvalid, Attempts: 4, FirstAt: now, LastAt: now},
			events.DeadLetter{ID: "m2", Stream: "SQS", Consumer: "fake", Payload: []byte("rubbish"),
				Reason: "message is not a JSON object", Kind: events.DeadKindInvalid, Attempts: 1, FirstAt: now, LastAt: now},
		})
		b.logged(1, `level=ERROR msg="message cannot be published: it becomes a dead letter" queue=fake message=m1 err="too large"`,
			`level=ERROR msg="message not understood: it becomes a dead letter" queue=fake message=m2`)
	})
}

// TestAMessageWithoutEvenADeadLetterGoesBackLaterAndLater: neither the event nor a dead letter can be stored. No
// letter tells of a dead letter.
func TestAMessageWithoutEvenADeadLetterGoesBackLaterAndLater(t *testing.T) {
	withFakes(t, func(t *testing.T, b *fakes) {
		b.publish.store = func(context.Context, events.Event) error { return errInvalid }
		b.OnStored = func(time.Duration) { t.Error("a message that is not stored has no age") }
		b.holds(3)
		b.queue.backlog[1].Body = "rubbish"
		b.queue.backlog[1].Receives = 3
		b.start()
		b.after(0)
		var sizes []int
		for _, es := range b.publish.all() {
			sizes = append(sizes, len(es))
		}
		is(t, "publications", sizes, []int{3, 1, 1}) // with the letters of the first and the third
		is(t, "returns", &b.queue.returns, "0s r0,r2 2s\n0s r1 8s")
		is(t, "the trouble", b.Ready(t.Context()), "premium queue: publishing: too large")
		b.after(5 * time.Minute)
		is(t, "deletions", &b.queue.deletes, "")
		is(t, "extensions of what went back", &b.queue.extensions, "")
		b.tally("0 published, 0 duplicate, 0 quarantined, 3 returned, 0 undeleted")
	})
}

// TestTheDelayOfAMessageDoublesUpToAQuarterOfAnHour: it doubles with each receive.
func TestTheDelayOfAMessageDoublesUpToAQuarterOfAnHour(t *testing.T) {
	for receives, want := range map[int]time.Duration{
		0: 2 * time.Second, 1: 2 * time.Second, 2: 4 * time.Second, 5: 32 * time.Second, 9: 512 * time.Second,
		10: 15 * time.Minute, 11: 15 * time.Minute, 1000: 15 * time.Minute,
	} {
		if got := backoff(receives); got != want {
			t.Errorf("%d receives: %s, want %s", receives, got, want)
		}
	}
}

// TestAHeldMessageIsTriedAgainAndGoesBackIfOnlyItFails: first everything fails, then all but one.
func TestAHeldMessageIsTriedAgainAndGoesBackIfOnlyItFails(t *testing.T) {
	for _, alone := range []events.UserID{"u0", "u1", "u2"} {
		t.Run(string(alone), func(t *testing.T) {
			withFakes(t, func(t *testing.T, b *fakes) {
				b.publish.store = func(_ context.Context, e events.Event) error {
					if len(b.publish.all()) == 1 || of(e) == alone {
						return errAway
					}
					return nil
				}
				b.holds(3)
				b.start()
				b.after(time.Second)
				is(t, "publications", b.publish.publications.times(), []time.Duration{0, 100 * time.Millisecond})
				b.tally("2 published, 0 duplicate, 0 quarantined, 1 returned, 0 undeleted")
				is(t, "returns", &b.queue.returns, fmt.Sprintf("100ms r%s 2s", alone[1:]))
			})
		})
	}
}

// TestTheFirstFailureOfOneMessageAmongOthersIsNoReasonToGiveItBack: perhaps the trouble only began.
func TestTheFirstFailureOfOneMessageAmongOthersIsNoReasonToGiveItBack(t *testing.T) {
	withFakes(t, func(t *testing.T, b *fakes) {
		b.publish.store = func(_ context.Context, e events.Event) error {
			if len(b.publish.all()) == 1 && of(e) == "u1" {
				return errAway
			}
			return nil
		}
		b.holds(3)
		b.start()
		b.after(0)
		is(t, "deletions at first", &b.queue.deletes, "0s r0,r2 0s")
		b.after(time.Second)
		is(t, "deletions in the end", &b.queue.deletes, "0s r0,r2 0s\n100ms r1 0s")
		b.tally("3 published, 0 duplicate, 0 quarantined, 0 returned, 0 undeleted")
		is(t, "the trouble in the end", b.Ready(t.Context()), nil)
	})
}

func TestAStopGivesTheHeldMessagesBackAtOnce(t *testing.T) {
	withFakes(t, func(t *testing.T, b *fakes) {
		b.publish.store = func(context.Context, events.Event) error { return errAway }
		b.holds(12)
		b.queue.backlog[0].Receives = 9
		b.start()
		b.after(time.Hour)
		b.tallyInFlight(12)
		is(t, "how long the stop took", b.stop(), 0*time.Second)
		is(t, "deletions", &b.queue.deletes, "")
		b.tally("0 published, 0 duplicate, 0 quarantined, 12 returned, 0 undeleted")
		back := map[string]int{}
		for _, c := range b.queue.returns.list() {
			is(t, "the delay", c.d, 0*time.Second)
			for _, r := range c.receipts {
				back[r]++
			}
		}
		is(t, "messages that went back", len(back), 12)
	})
}

func (b *fakes) tallyInFlight(want int) {
	b.t.Helper()
	is(b.t, "messages that are neither settled nor given back", b.Tally.InHand(), want)
}

func TestMessagesThatAreNotForUsAreDeletedAtOnceAlthoughJetStreamStoresNothing(t *testing.T) {
	withFakes(t, func(t *testing.T, b *fakes) {
		b.publish.store = func(context.Context, events.Event) error { return errAway }
		b.holds(3)
		b.queue.backlog[1].Body = `{"Service":"Amazon S3","Event":"s3:TestEvent"}`
		b.start()
		b.after(time.Minute)
		is(t, "deletions", &b.queue.deletes, "0s r1 0s")
		is(t, "messages about S3", b.Tally.Foreign[S3Event].Load(), 1)
		b.tallyInFlight(2)
		b.logged(1, `level=INFO msg="message dropped: not for us" queue=fake message=m1 what=s3-event`)
		b.publish.then(func() { b.publish.store = nil })
		b.after(time.Minute)
		b.tally("2 published, 0 duplicate, 0 quarantined, 0 returned, 0 undeleted")
	})
}

func TestADeletionIsTriedThreeTimes(t *testing.T) {
	const pauses = `level=WARN msg="drain pauses" queue=fake while=deleting pause=100ms err=away`
	for _, c := range []struct {
		name    string
		answers []map[string]error // of each call, by receipt
		calls   string
		tally   string
		trouble string
	}{
		{"it works", nil, "0s r0,r1,r2 0s",
			"3 published, 0 duplicate, 0 quarantined, 0 returned, 0 undeleted", "<nil>"},
		{"one fails once", []map[string]error{{"r1": errAway}}, "0s r0,r1,r2 0s\n100ms r1 0s",
			"3 published, 0 duplicate, 0 quarantined, 0 returned, 0 undeleted", "<nil>"},
		{"two fail, and then one of them", []map[string]error{{"r0": errAway, "r2": errAway}, {"r2": errAway}}, "0s r0,r1,r2 0s\n100ms r0,r2 0s\n300ms r2 0s",
			"3 published, 0 duplicate, 0 quarantined, 0 returned, 0 undeleted", "<nil>"},
		{"two fail for good", []map[string]error{{"r0": errAway, "r2": errAway}, {"r0": errAway, "r2": errAway}, {"r0": errAway, "r2": errAway}}, "0s r0,r1,r2 0s\n100ms r0,r2 0s\n300ms r0,r2 0s",
			"3 published, 0 duplicate, 0 quarantined, 0 returned, 2 undeleted", "premium queue: deleting: away"},
		{"one lease has ended", []map[string]error{{"r1": errGone}}, "0s r0,r1,r2 0s",
			"3 published, 0 duplicate, 0 quarantined, 0 returned, 1 undeleted", "<nil>"},
		{"one fails, and then its lease has ended", []map[string]error{{"r1": errAway}, {"r1": errGone}}, "0s r0,r1,r2 0s\n100ms r1 0s",
			"3 published, 0 duplicate, 0 quarantined, 0 returned, 1 undeleted", "<nil>"},
	} {
		t.Run(c.name, func(t *testing.T) {
			withFakes(t, func(t *testing.T, b *fakes) {
				tries := 0
				b.queue.remove = func(_ context.Context, receipts []string) []error {
					errs := make([]error, len(receipts))
					for i, r := range receipts {
						if tries < len(c.answers) {
							errs[i] = c.answers[tries][r]
						}
					}
					tries++
					return errs
				}
				b.holds(3)
				b.start()
				b.after(time.Second)
				is(t, "deletions", &b.queue.deletes, c.calls)
				b.tally(c.tally)
				is(t, "the trouble", b.Ready(t.Context()), c.trouble)
				if c.trouble == "<nil>" {
					b.logged(0, "drain pauses")
					return
				}
				b.logged(1, pauses)
				b.after(time.Minute)
				b.holds(1)
				b.after(time.Minute)
				is(t, "the trouble after another deletion", b.Ready(t.Context()), nil)
				b.logged(1, `msg="drain works again" queue=fake after=deleting`)
				is(t, "extensions", &b.queue.extensions, "")
			})
		})
	}
}

// TestADeletionIsNotTriedAgainWhenTheTimeAfterAStopIsOver: each try takes 5 s here, and a stop
// leaves 8 s.
func TestADeletionIsNotTriedAgainWhenTheTimeAfterAStopIsOver(t *testing.T) {
	withFakes(t, func(t *testing.T, b *fakes) {
		b.queue.remove = func(ctx context.Context, receipts []string) []error {
			<-ctx.Done()
			return each(errAway)(ctx, receipts)
		}
		b.holds(1)
		b.start()
		b.after(0)
		is(t, "how long the stop took", b.stop(), 10100*time.Millisecond)
		is(t, "deletions", &b.queue.deletes, "0s r0 0s\n5.1s r0 0s")
		b.tally("1 published, 0 duplicate, 0 quarantined, 0 returned, 1 undeleted")
	})
}

// TestALeaseIsRenewedThreeTimesInItsLengthUntilTheMessageIsSettled: the publication takes 35 s.
func TestALeaseIsRenewedThreeTimesInItsLengthUntilTheMessageIsSettled(t *testing.T) {
	withFakes(t, func(t *testing.T, b *fakes) {
		b.publish.store = func(_ context.Context, e events.Event) error {
			if of(e) == "u0" {
				time.Sleep(35 * time.Second)
			}
			return nil
		}
		b.holds(1)
		b.start()
		b.after(34 * time.Second)
		is(t, "extensions", &b.queue.extensions, "10s r0 30s\n20s r0 30s\n30s r0 30s")
		is(t, "leases renewed", b.Tally.Extended.Load(), 3)
		b.after(time.Hour)
		is(t, "extensions in the end", len(b.queue.extensions.list()), 3)
		b.tally("1 published, 0 duplicate, 0 quarantined, 0 returned, 0 undeleted")
	})
}

func TestTheExtensionsGoInBatches(t *testing.T) {
	withFakes(t, func(t *testing.T, b *fakes) {
		b.queue.prolong = func(_ context.Context, receipts []string) []error {
			errs := make([]error, len(receipts))
			for i, r := range receipts {
				errs[i] = map[string]error{"r3": errAway, "r4": errGone}[r]
			}
			return errs
		}
		r := b.newRun(t.Context())
		var all []queue.Message
		for i := range 25 {
			all = append(all, upgrade(i))
		}
		r.lend(all)
		r.extend(t.Context(), time.Now().Add(10*time.Second))
		var sizes []int
		var extended []string
		for _, c := range b.queue.extensions.list() {
			sizes, extended = append(sizes, len(c.receipts)), append(extended, c.receipts...)
		}
		slices.Sort(extended)
		is(t, "extensions", sizes, []int{10, 10, 5})
		is(t, "different receipts", len(slices.Compact(extended)), 25)
		is(t, "leases renewed", b.Tally.Extended.Load(), 23)
		b.logged(1, "lease not renewed", `level=DEBUG msg="lease not renewed" queue=fake err=away`)

		ended, cancel := context.WithCancel(t.Context())
		cancel()
		r.extend(ended, time.Now().Add(time.Hour))
		is(t, "extensions after the end", len(b.queue.extensions.list()), 3)
	})
}

// TestNoExtensionUndoesAReturn: the call that gives a message back takes 20 s.
func TestNoExtensionUndoesAReturn(t *testing.T) {
	withFakes(t, func(t *testing.T, b *fakes) {
		b.publish.store = func(context.Context, events.Event) error { return errInvalid }
		b.queue.giveBack = func(_ context.Context, receipts []string) []error {
			time.Sleep(20 * time.Second)
			return each(nil)(nil, receipts)
		}
		b.holds(1)
		b.start()
		b.after(time.Minute)
		is(t, "returns", &b.queue.returns, "0s r0 2s")
		is(t, "extensions", &b.queue.extensions, "")
		b.logged(0, "not returned to the queue")
	})
}

// TestAMessageKeepsItsLeaseWhileItsDeletionIsTried: otherwise another bridge would get it again.
func TestAMessageKeepsItsLeaseWhileItsDeletionIsTried(t *testing.T) {
	withFakes(t, func(t *testing.T, b *fakes) {
		b.queue.remove = func(ctx context.Context, receipts []string) []error {
			<-ctx.Done()
			return each(errAway)(ctx, receipts)
		}
		b.holds(1)
		b.start()
		b.after(time.Minute)
		is(t, "deletions", &b.queue.deletes, "0s r0 0s\n10.3s r0 0s\n5.1s r0 0s")
		is(t, "extensions", &b.queue.extensions, "10s r0 30s")
		b.tally("1 published, 0 duplicate, 0 quarantined, 0 returned, 1 undeleted")
	})
}
