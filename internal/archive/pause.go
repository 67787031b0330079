package archive

import (
	"time"

	"github.com/gas-restore/gas/pkg/events"
)

// Hold says that an operator stopped something, since when and why.
type Hold struct {
	Reason string    `json:"reason"`
	At     time.Time `json:"at"`
}

// The shortest and the longest time after which something that was stopped is looked
// at again.
const minLook, maxLook = time.Minute, 15 * time.Minute

// LookAgain returns after how long whatever waits for the end of the hold is to look
// again: the later the longer it has stood, as much as a quarter of that. What waits
// together is looked at together, and others wait for their turn meanwhile.
func (h Hold) LookAgain(now time.Time) time.Duration {
	return min(max(now.Sub(h.At)/4, minLook), maxLook)
}

// Switches are what operators have stopped: nothing is asked of Glacier where one
// of them is set. What was asked for comes back all the same.
type Switches struct {
	// All stops everything.
	All *Hold `json:"all,omitempty"`
	// Users stops what is of a user, Tiers what would use a tier.
	Users map[events.UserID]Hold `json:"users,omitempty"`
	Tiers map[Tier]Hold          `json:"tiers,omitempty"`
}

// Of returns the hold on everything that is the user's; ok is false if there is none.
func (s Switches) Of(user events.UserID) (h Hold, ok bool) {
	if s.All != nil {
		return *s.All, true
	}
	h, ok = s.Users[user]
	return h, ok
}

// Open returns the tiers of the order that are not stopped.
func (s Switches) Open(order Tiers) Tiers {
	if len(s.Tiers) == 0 {
		return order
	}
	var open Tiers
	for _, t := range order {
		if _, stopped := s.Tiers[t]; !stopped {
			open = append(open, t)
		}
	}
	return open
}

// Any reports whether anything is stopped.
func (s Switches) Any() bool { return s.All != nil || len(s.Users) > 0 || len(s.Tiers) > 0 }
