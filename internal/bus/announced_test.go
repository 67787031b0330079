package bus_test

import (
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"github.com/gas-restore/gas/internal/test/testenv"
	"github.com/gas-restore/gas/pkg/events"
)

func TestWhoseAnnouncementWaitsIsKnown(t *testing.T) {
	testenv.InBubble(t, func(t *testing.T, ns *server.Server) {
		b := testenv.Bus(t, ns, "operator")
		for _, user := range []events.UserID{"moss", "a.b c", "moss"} {
			if _, err := b.Publish(t.Context(), events.UserUpgraded{ID: string(user), UserID: user, UpgradedAt: time.Now()}); err != nil {
				t.Fatal(err)
			}
		}
		late := "aside.1h." + events.UserUpgraded{UserID: "late"}.Subject()
		if _, err := b.JS.Publish(t.Context(), late, []byte("{}")); err != nil {
			t.Fatal(err)
		}
		all, err := b.Announced(t.Context(), "")
		if err != nil {
			t.Fatal(err)
		}
		for user, want := range map[events.UserID]bool{"moss": true, "a.b c": true, "late": true, "fern": false, "a": false} {
			if all.Has(user) != want {
				t.Errorf("of all, %q: %v, want %v", user, !want, want)
			}
			one, err := b.Announced(t.Context(), user)
			if err != nil || one.Has(user) != want || len(one) > 1 {
				t.Errorf("of %q alone: %v, %v, want %v", user, one, err, want)
			}
		}
	})
}
