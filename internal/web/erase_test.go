package web

import (
	"strings"
	"testing"
	"time"

	"github.com/gas-restore/gas/internal/signin"
)

func TestAllSessionsOfAUserEndAndNothingLeadsToThem(t *testing.T) {
	ctx, store := t.Context(), newMemoryStore(100)
	s := &sessions{store: store, now: time.Now, lifetime: time.Hour, idle: time.Hour}
	start := func(who signin.Person) string {
		sess, err := s.start(ctx, who, "a browser")
		if err != nil {
			t.Fatal(err)
		}
		return sess.token
	}
	gone := []string{start(signin.Person{User: "moss", SID: "s1"}), start(signin.Person{User: "moss"})}
	stays := start(signin.Person{User: "moss2", SID: "s1"})
	if n, err := Sessions(ctx, store, "moss"); err != nil || n != 2 {
		t.Errorf("%d sessions, %v; want 2", n, err)
	}
	for range 2 { // the second time finds nothing
		if err := EndSessions(ctx, store, "moss"); err != nil {
			t.Fatal(err)
		}
	}
	if n, err := Sessions(ctx, store, "moss"); err != nil || n != 0 {
		t.Errorf("%d sessions, %v; want none", n, err)
	}
	for _, token := range gone {
		for _, prefix := range []string{"session.", "seen.", "user.", "sid."} {
			keys, err := store.Keys(ctx, prefix)
			if err != nil {
				t.Fatal(err)
			}
			for _, key := range keys {
				if strings.HasSuffix(key, hashOf(token)) {
					t.Errorf("%s is there", key)
				}
			}
		}
	}
	if sess, err := s.find(ctx, stays, true); err != nil || sess == nil {
		t.Errorf("the session of another user: got %v, %v", sess, err)
	}
}
