package web

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/gas-restore/gas/internal/text"
	"github.com/gas-restore/gas/pkg/events"
)

// device is a session as its user sees it.
type device struct {
	// ID is a name of the session. The name is no credential.
	ID string
	// Agent names the browser; empty if the session is from an earlier release.
	Agent string
	Begun time.Time
	// Used is when somebody last did something.
	Used time.Time
	// Here says that it is the session of this request.
	Here bool
}

// maxDevices bounds how many sessions a page shows.
const maxDevices = 50

// idOf returns the name of the session with a token of that hash.
func idOf(hash string) string { return hashOf("device " + hash)[:24] }

// of returns the hashes of the user's sessions, as the store has them. Some may be over.
func (s *sessions) of(ctx context.Context, user events.UserID) ([]string, error) {
	prefix := ofUser(user)
	keys, err := s.store.Keys(ctx, prefix)
	if err != nil {
		return nil, fmt.Errorf("look for the sessions of %q: %w", user, err)
	}
	for i := range keys {
		keys[i] = strings.TrimPrefix(keys[i], prefix)
	}
	return keys, nil
}

// devices returns the user's sessions, the one that was used last first. here is the token of the
// request.
func (s *sessions) devices(ctx context.Context, user events.UserID, here string) ([]device, error) {
	hashes, err := s.of(ctx, user)
	if err != nil {
		return nil, err
	}
	var all []device
	now := s.now()
	for _, hash := range hashes {
		d, ok, err := s.device(ctx, hash, now)
		if err != nil {
			return nil, err
		}
		if d.Here = hash == hashOf(here); ok {
			all = append(all, d)
		}
	}
	slices.SortFunc(all, func(a, b device) int {
		if a.Here != b.Here {
			return map[bool]int{true: -1, false: 1}[a.Here]
		}
		return b.Used.Compare(a.Used)
	})
	return all[:min(len(all), maxDevices)], nil
}

// device returns the session with a token of that hash. ok is false if it is over.
func (s *sessions) device(ctx context.Context, hash string, now time.Time) (d device, ok bool, err error) {
	data, err := s.store.Get(ctx, "session."+hash)
	if err != nil || data == nil {
		return device{}, false, err
	}
	seen, err := s.store.Get(ctx, "seen."+hash)
	if err != nil || seen == nil {
		return device{}, false, err
	}
	var sess session
	if err := json.Unmarshal(data, &sess); err != nil {
		return device{}, false, fmt.Errorf("decode a session: %w", err)
	}
	at, err := strconv.ParseInt(string(seen), 10, 64)
	if err != nil {
		return device{}, false, fmt.Errorf("decode the last use of a session: %w", err)
	}
	d = device{ID: idOf(hash), Agent: sess.Agent, Begun: sess.ExpiresAt.Add(-s.lifetime), Used: time.Unix(at, 0)}
	return d, now.Before(sess.ExpiresAt) && now.Sub(d.Used) <= s.idle, nil
}

// endDevices ends the user's session with the name, or all but the one of the token here if the
// name is empty. It returns the hashes of the tokens of the sessions that it ended.
func (s *sessions) endDevices(ctx context.Context, user events.UserID, id, here string) (ended []string, err error) {
	hashes, err := s.of(ctx, user)
	if err != nil {
		return nil, err
	}
	for _, hash := range hashes {
		if id != "" && idOf(hash) != id || id == "" && hash == hashOf(here) {
			continue
		}
		if err := s.drop(ctx, hash); err != nil {
			return ended, err
		}
		ended = append(ended, hash)
		if err := s.store.Delete(ctx, ofUser(user)+hash); err != nil {
			return ended, fmt.Errorf("end the session: %w", err)
		}
	}
	return ended, nil
}

// agentOf names the browser and the system that a User-Agent tells.
func agentOf(header string) string {
	first := func(names ...[2]string) string {
		for _, n := range names {
			if strings.Contains(header, n[0]) {
				return n[1]
			}
		}
		return ""
	}
	// Each browser also names the ones after it.
	browser := first([2]string{"Edg", "Edge"}, [2]string{"OPR/", "Opera"}, [2]string{"Firefox/", "Firefox"}, [2]string{"FxiOS/", "Firefox"}, [2]string{"Chrome/", "Chrome"}, [2]string{"CriOS/", "Chrome"}, [2]string{"Safari/", "Safari"})
	system := first([2]string{"iPhone", "iPhone"}, [2]string{"iPad", "iPad"}, [2]string{"Android", "Android"}, [2]string{"Windows", "Windows"}, [2]string{"Mac OS X", "macOS"}, [2]string{"CrOS", "ChromeOS"}, [2]string{"Linux", "Linux"})
	switch {
	case browser != "" && system != "":
		return browser + " on " + system
	case browser+system != "":
		return browser + system
	}
	return text.Clip(header, 60)
}
