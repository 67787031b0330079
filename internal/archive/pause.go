package archive

import (
	"time"

	"github.com/gas-restore/gas/pkg/events"
)

// Hold is a pause that an operator made, with its time and reason.
type Hold struct {
	Reason string    `json:"reason"`
	At     time.Time `json:"at"`
}

// The shortest and the longest time until waiting work is checked again.
const minLook, maxLook = time.Minute, 15 * time.Minute

// LookAgain returns the time after which work that waits for the end of the pause must
// check again. It grows with the age of the pause, to a quarter of that. Work that waits
// together is checked together, and other work has its turn meanwhile.
func (h Hold) LookAgain(now time.Time) time.Duration {
	return min(max(now.Sub(h.At)/4, minLook), maxLook)
}

// Switches are the pauses of operators. No request is sent to Glacier where one of them
// applies. Archives that are already requested still come back.
type Switches struct {
	// All pauses everything.
	All *Hold `json:"all,omitempty"`
	// Users pauses the work of a user, Tiers the requests in a tier.
	Users map[events.UserID]Hold `json:"users,omitempty"`
	Tiers map[Tier]Hold          `json:"tiers,omitempty"`
}

// Of returns the pause that covers all work of the user; ok is false if there is none.
func (s Switches) Of(user events.UserID) (h Hold, ok bool) {
	if s.All != nil {
		return *s.All, true
	}
	h, ok = s.Users[user]
	return h, ok
}

// Open returns the tiers of the order that are not paused.
func (s Switches) Open(order Tiers) Tiers {
	var open Tiers
	for _, t := range order {
		if _, stopped := s.Tiers[t]; !stopped {
			open = append(open, t)
		}
	}
	return open
}

// Any reports whether anything is paused.
func (s Switches) Any() bool { return s.All != nil || len(s.Users) > 0 || len(s.Tiers) > 0 }
