package reconcile_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/gas-restore/gas/internal/archive"
	"github.com/gas-restore/gas/internal/fault"
	"github.com/gas-restore/gas/internal/reconcile"
	"github.com/gas-restore/gas/pkg/events"
)

// breaks fails one of the calls that a sweep makes to the streams and to the vault.
type breaks struct {
	call    int // the number of the call that fails
	made    int
	happens bool // the call was made, and failed
}

func (b *breaks) next() error {
	b.made++
	if b.made-1 != b.call {
		return nil
	}
	b.happens = true
	return fault.New(fault.Transient, errors.New("no answer"))
}

type brokenStreams struct {
	streams
	*breaks
}

func (s brokenStreams) Waiting(ctx context.Context, e events.Event) (bool, error) {
	if err := s.next(); err != nil {
		return false, err
	}
	return s.streams.Waiting(ctx, e)
}

func (s brokenStreams) Publish(ctx context.Context, e events.Event) error {
	if err := s.next(); err != nil {
		return err
	}
	return s.streams.Publish(ctx, e)
}

type brokenVault struct {
	reconcile.Vault
	*breaks
}

func (v brokenVault) Describe(ctx context.Context, job archive.Job) (archive.Retrieval, error) {
	if err := v.next(); err != nil {
		return archive.Retrieval{}, err
	}
	return v.Vault.Describe(ctx, job)
}

// TestACallThatFailsIsReportedAndTheNextSweepGoesOn breaks each call of a sweep in turn. A
// sweep that does not know whether a message waits must publish none.
func TestACallThatFailsIsReportedAndTheNextSweepGoesOn(t *testing.T) {
	for _, tr := range troubles {
		t.Run(tr.name, func(t *testing.T) {
			t.Parallel()
			for happens, call := true, 0; happens; call++ {
				t.Run(fmt.Sprint("call ", call), func(t *testing.T) {
					inFixture(t, func(t *testing.T, w *fixture) { happens = tr.breaksAt(t, w, call) })
				})
			}
		})
	}
}

func (tr trouble) breaksAt(t *testing.T, w *fixture, call int) bool {
	tr.make(w, "u", "job")
	w.advance(6 * time.Hour)
	b := &breaks{call: call}
	works := *w.sweeper
	w.sweeper.Streams = brokenStreams{streams{w.sweep}, b}
	w.sweeper.Vault = brokenVault{w.vault, b}
	_, err := w.sweeper.Sweep(t.Context())
	if !b.happens {
		if call == 0 {
			t.Error("the sweep calls nothing")
		}
		return false
	}
	if err == nil {
		t.Error("a call failed, and the sweep reports no error")
	}
	if work, dead := w.messages(); work+dead != 0 {
		t.Errorf("%d messages and %d dead letters follow from a call that failed", work, dead)
	}
	w.sweeper.Streams, w.sweeper.Vault = works.Streams, works.Vault
	w.advance(30 * time.Minute)
	if r := w.swept(); r.Found[tr.found] != 1 {
		t.Errorf("the next sweep reports %+v, want one %s", r, tr.found)
	}
	if work, _ := w.messages(); work != 1 {
		t.Errorf("%d messages are in the streams after the next sweep, want 1", work)
	}
	return true
}
