package sitetest

import (
	"slices"
	"testing"
	"time"
)

func stored(t *testing.T, p Ports) {
	get := func(key, want string) {
		t.Helper()
		if got, err := p.Sessions.Get(t.Context(), key); err != nil || string(got) != want || want == "" && got != nil {
			t.Errorf("at %s is %q, %v; want %q", key, got, err, want)
		}
	}
	set := func(key, value string, ttl time.Duration) {
		t.Helper()
		if err := p.Sessions.Set(t.Context(), key, []byte(value), ttl); err != nil {
			t.Error(err)
		}
	}
	get("session.aa", "")
	set("session.aa", "one", time.Hour)
	set("session.aa", "two", time.Hour)
	get("session.aa", "two")
	set("session.over", "x", time.Nanosecond)
	get("session.over", "")
	set("session.none", "", time.Hour)
	get("session.none", "")
	get("not a key!", "") // a browser's cookie may be anything
	for range 2 {
		if err := p.Sessions.Delete(t.Context(), "session.aa"); err != nil {
			t.Error(err)
		}
		get("session.aa", "")
	}
	for _, key := range []string{"user.aa.1", "user.aa.2", "user.ab.3", "user.aa"} {
		set(key, "x", time.Hour)
	}
	for prefix, want := range map[string][]string{"user.aa.": {"user.aa.1", "user.aa.2"}, "none.": nil} {
		got, err := p.Sessions.Keys(t.Context(), prefix)
		slices.Sort(got)
		if err != nil || !slices.Equal(got, want) {
			t.Errorf("under %s are %v, %v; want %v", prefix, got, err, want)
		}
	}
}
