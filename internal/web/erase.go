package web

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/gas-restore/gas/pkg/events"
)

// Sessions returns how many sessions of the user the store has.
func Sessions(ctx context.Context, store SessionStore, user events.UserID) (int, error) {
	n := 0
	err := eachSession(ctx, store, user, func(string, string, string) error { n++; return nil })
	return n, err
}

// EndSessions ends all sessions of the user, and forgets everything that leads to them. Replicas
// of the site obey at the next request.
func EndSessions(ctx context.Context, store SessionStore, user events.UserID) error {
	s := &sessions{store: store, now: time.Now}
	return eachSession(ctx, store, user, func(key, hash, sid string) error {
		if err := s.drop(ctx, hash); err != nil {
			return err
		}
		keys := []string{key}
		if sid != "" {
			keys = append(keys, ofSID(sid)+hash)
		}
		for _, k := range keys {
			if err := store.Delete(ctx, k); err != nil {
				return fmt.Errorf("forget the sessions of %q: %w", user, err)
			}
		}
		return nil
	})
}

// eachSession calls do with each key that leads from the user to a session, the hash of the
// session's token, and the provider's name of its session.
func eachSession(ctx context.Context, store SessionStore, user events.UserID, do func(key, hash, sid string) error) error {
	prefix := ofUser(user)
	keys, err := store.Keys(ctx, prefix)
	if err != nil {
		return fmt.Errorf("look for the sessions of %q: %w", user, err)
	}
	for _, key := range keys {
		value, err := store.Get(ctx, key)
		if err != nil {
			return fmt.Errorf("look for the sessions of %q: %w", user, err)
		}
		if value == nil {
			continue // it was deleted
		}
		if err := do(key, strings.TrimPrefix(key, prefix), strings.TrimPrefix(string(value), "sid:")); err != nil {
			return err
		}
	}
	return nil
}
