package bus_test

import (
	"context"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"github.com/gas-restore/gas/internal/bus"
	"github.com/gas-restore/gas/internal/fault"
	"github.com/gas-restore/gas/internal/test/testenv"
)

// TestWhatTheSiteAsksWhileTheServerIsAwayIsTransient: for a transient error, the site asks
// people to try again; for an error without a kind, it says that the mistake is on our side.
// The server can be away in three ways: JetStream is off, the server is gone, or the
// connection is closed for good.
func TestWhatTheSiteAsksWhileTheServerIsAwayIsTransient(t *testing.T) {
	for name, leave := range map[string]func(stop func() error, shutdown, closed func()){
		"no jetstream":  func(stop func() error, _, _ func()) { _ = stop() },
		"no server":     func(_ func() error, shutdown, _ func()) { shutdown() },
		"no connection": func(_ func() error, _, closed func()) { closed() },
	} {
		t.Run(name, func(t *testing.T) {
			testenv.InBubble(t, func(t *testing.T, ns *server.Server) {
				b := testenv.Bus(t, ns, "web")
				store, err := b.OpenTTLStore(t.Context(), bus.BucketSessions)
				if err != nil {
					t.Fatal(err)
				}
				at, err := b.LastStatus(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				leave(ns.DisableJetStream, ns.Shutdown, b.Close)
				until := at
				until.Seq++
				for call, do := range map[string]func(context.Context) error{
					"get":    func(ctx context.Context) error { _, err := store.Get(ctx, "session.x"); return err },
					"set":    func(ctx context.Context) error { return store.Set(ctx, "session.x", []byte("x"), 0) },
					"delete": func(ctx context.Context) error { return store.Delete(ctx, "session.x") },
					"keys":   func(ctx context.Context) error { _, err := store.Keys(ctx, "session."); return err },
					"position": func(ctx context.Context) error {
						_, err := b.LastStatus(ctx)
						return err
					},
					"last": func(ctx context.Context) error {
						_, _, err := b.LastStatusOf(ctx, "u", "j")
						return err
					},
					"kept": func(ctx context.Context) error {
						for _, err := range b.StatusesOf(ctx, "u", at, until) {
							return err
						}
						return nil
					},
				} {
					ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
					if err := do(ctx); !fault.Is(err, fault.Transient) {
						t.Errorf("%s: got %v of kind %s, want a transient one", call, err, fault.KindOf(err))
					}
					cancel()
				}
			})
		})
	}
}
