// Package wait waits for a time, and ends a context when a service drains.
package wait

import (
	"context"
	"time"
)

// For waits for d, or until ctx ends. In the second case, it returns the context's error.
func For(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return ctx.Err()
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Until returns a context that ends when drain is closed, or with ctx. The caller must call
// cancel, or a goroutine leaks.
func Until(ctx context.Context, drain <-chan struct{}) (_ context.Context, cancel context.CancelFunc) {
	ctx, cancel = context.WithCancel(ctx)
	go func() {
		select {
		case <-drain:
			cancel()
		case <-ctx.Done():
		}
	}()
	return ctx, cancel
}
