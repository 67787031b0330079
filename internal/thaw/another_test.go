package thaw_test

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/gas-restore/gas/internal/archive"
	"github.com/gas-restore/gas/internal/fault"
	"github.com/gas-restore/gas/internal/test/testenv"
	"github.com/gas-restore/gas/internal/thaw"
)

// lateVault lets another program in between Glacier's answer and its arrival.
type lateVault struct {
	thaw.Vault
	after func()
}

func (v lateVault) Retrieve(ctx context.Context, job archive.Job, tier archive.Tier) (archive.Retrieval, error) {
	got, err := v.Vault.Retrieve(ctx, job, tier)
	v.after()
	return got, err
}

// TestWhatAnotherProgramBroughtBackLeavesNothingUnderWay has another program bring the file back
// at each moment of a request.
func TestWhatAnotherProgramBroughtBackLeavesNothingUnderWay(t *testing.T) {
	body := []byte("result")
	for name, during := range map[string]func(*testing.T, *fixture, archive.Job){
		"an intent stands": func(t *testing.T, b *fixture, job archive.Job) {
			if err := b.AWS.Catalog.SaveIntent(t.Context(), job, archive.Intent{Token: "of a dead worker", At: time.Now()}); err != nil {
				t.Fatal(err)
			}
			b.BroughtBack("j1", body)
		},
		"an order stands": func(t *testing.T, b *fixture, job archive.Job) {
			if err := b.AWS.Catalog.Order(t.Context(), job, 0, time.Now()); err != nil {
				t.Fatal(err)
			}
			b.BroughtBack("j1", body)
		},
		"before the call": func(_ *testing.T, b *fixture, _ archive.Job) {
			plain := b.Vault
			b.Vault = &pausedVault{Vault: plain, before: func() { b.Vault = plain; b.BroughtBack("j1", body) }}
		},
		"after the call": func(_ *testing.T, b *fixture, _ archive.Job) {
			plain := b.Vault
			b.Vault = lateVault{plain, func() { b.Vault = plain; b.BroughtBack("j1", body) }}
		},
	} {
		t.Run(name, func(t *testing.T) {
			b := newFixture(t)
			b.Account("u", archive.Premium)
			job := b.Archive("u", "j1", body)
			during(t, b, job)
			var out testenv.Emitted
			for range 3 {
				// The archive that Glacier does not know any more is one dead letter.
				if err := b.Request(t.Context(), b.task(job), out.Emit); err == nil || fault.Is(err, fault.Invalid) {
					break
				}
			}
			// A task from another sender, or a replay.
			b.deliver(t, b.task(job), &out)
			if now := b.Job("j1"); now.Intent != nil || now.Ordered || !now.Due.IsZero() || now.History.Tries != 0 {
				t.Errorf("left: intent %v, ordered %t, due %s, %d tries", now.Intent, now.Ordered, now.Due, now.History.Tries)
			}
			if got := out.States(); !slices.Equal(slices.Compact(got), []string{"restored"}) {
				t.Errorf("told: %v", got)
			}
		})
	}
}
