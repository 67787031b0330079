package bus_test

import (
	"slices"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"github.com/gas-restore/gas/internal/bus"
	"github.com/gas-restore/gas/internal/test/testenv"
)

func TestTTLStoreFindsKeysByPrefix(t *testing.T) {
	testenv.InBubble(t, func(t *testing.T, ns *server.Server) {
		store, err := testenv.Bus(t, ns, "web").OpenTTLStore(t.Context(), bus.BucketSessions)
		if err != nil {
			t.Fatal(err)
		}
		for _, key := range []string{"user.aa.1", "user.aa.2", "user.ab.3", "user.aa", "session.1"} {
			if err := store.Set(t.Context(), key, []byte("x"), time.Hour); err != nil {
				t.Fatal(err)
			}
		}
		keys, err := store.Keys(t.Context(), "user.aa.")
		slices.Sort(keys)
		if err != nil || !slices.Equal(keys, []string{"user.aa.1", "user.aa.2"}) {
			t.Errorf("got %v, %v", keys, err)
		}
		if keys, err := store.Keys(t.Context(), "none."); err != nil || len(keys) != 0 {
			t.Errorf("of a prefix that is not there: %v, %v", keys, err)
		}
	})
}

func TestAValueOfATTLStoreEndsWithItsTime(t *testing.T) {
	testenv.InBubble(t, func(t *testing.T, ns *server.Server) {
		store, err := testenv.Bus(t, ns, "web").OpenTTLStore(t.Context(), bus.BucketSessions)
		if err != nil {
			t.Fatal(err)
		}
		if err := store.Set(t.Context(), "session.ab", []byte("x"), time.Hour); err != nil {
			t.Fatal(err)
		}
		if v, err := store.Get(t.Context(), "session.ab"); err != nil || string(v) != "x" {
			t.Errorf("got %q, %v", v, err)
		}
		if err := store.Set(t.Context(), "session.over", []byte("x"), time.Nanosecond); err != nil {
			t.Fatal(err)
		}
		for _, key := range []string{"session.none", "session.over", "not a key!"} {
			if v, err := store.Get(t.Context(), key); err != nil || v != nil {
				t.Errorf("%s: got %q, %v; want nothing", key, v, err)
			}
		}
		if err := store.Delete(t.Context(), "session.ab"); err != nil {
			t.Fatal(err)
		}
		if v, err := store.Get(t.Context(), "session.ab"); err != nil || v != nil {
			t.Errorf("deleted: got %q, %v", v, err)
		}
	})
}
