package wait_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gas-restore/gas/internal/wait"
)

func TestForWaitsForTheWholeTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		if err := wait.For(t.Context(), time.Minute); err != nil || time.Since(began) != time.Minute {
			t.Errorf("got %v after %s, want nil after 1m", err, time.Since(began))
		}
	})
}

func TestForEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		began := time.Now()
		if err := wait.For(ctx, time.Minute); !errors.Is(err, context.DeadlineExceeded) || time.Since(began) != time.Second {
			t.Errorf("got %v after %s, want the context's error after 1s", err, time.Since(began))
		}
		if err := wait.For(ctx, 0); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("no time, and a context that ended: got %v, want the context's error", err)
		}
	})
}

func TestUntilEndsWithTheDrainAndWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		drain := make(chan struct{})
		ctx, cancel := wait.Until(t.Context(), drain)
		defer cancel()
		synctest.Wait()
		if ctx.Err() != nil {
			t.Fatal("the context ended before the drain")
		}
		close(drain)
		<-ctx.Done()

		parent, stop := context.WithCancel(t.Context())
		ctx, cancel = wait.Until(parent, nil)
		defer cancel()
		stop()
		<-ctx.Done()
	})
}
