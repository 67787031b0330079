// Package checkup is `gas check`. It tries everything that the configuration names, and
// compares it with what the pipeline needs. It changes nothing. The result has a finding
// for each thing: right, wrong with a fix, or not provable.
package checkup

import (
	"fmt"
	"slices"
	"strings"

	"github.com/gas-restore/gas/internal/fault"
)

// State is the result of a check.
type State string

// The states.
const (
	OK    State = "ok"
	Wrong State = "wrong"
	// Unproven means that only the real call would show it, or that it cannot be seen
	// from here.
	Unproven State = "cannot prove"
)

// Finding is the result for one thing.
type Finding struct {
	// What is a variable or another name.
	What  string `json:"what"`
	State State  `json:"state"`
	// Words say what is wrong, what cannot be proven, or what the check saw.
	Words string `json:"words,omitempty"`
	// Fix says how to fix it; empty if nothing is wrong.
	Fix string `json:"fix,omitempty"`
}

// report collects findings, one for each thing.
type report struct{ all []Finding }

func (r *report) ok(what, format string, args ...any) {
	r.add(Finding{What: what, State: OK, Words: fmt.Sprintf(format, args...)})
}

func (r *report) wrong(what, words, fix string) {
	r.add(Finding{What: what, State: Wrong, Words: words, Fix: fix})
}

func (r *report) unproven(what, words, fix string) {
	r.add(Finding{What: what, State: Unproven, Words: words, Fix: fix})
}

// failed records an error of a call.
func (r *report) failed(what string, err error) {
	r.wrong(what, strings.ReplaceAll(err.Error(), "\n", "; "), fixOf(err))
}

// fixOf returns advice for an error of a call.
func fixOf(err error) string {
	switch fault.KindOf(err) {
	case fault.Denied:
		return "allow it for these credentials, or use others"
	case fault.NotFound:
		return "correct the name, the region or the account"
	case fault.Throttled:
		return "check again in a while"
	}
	return "make it reachable from here, and check again"
}

// add merges a finding into the one of the same thing, if there is one. Wrong wins over
// unproven, and unproven over right.
func (r *report) add(f Finding) {
	i := slices.IndexFunc(r.all, func(have Finding) bool { return have.What == f.What })
	if i < 0 {
		r.all = append(r.all, f)
		return
	}
	have := &r.all[i]
	switch rank := []State{OK, Unproven, Wrong}; {
	case f.State == have.State && strings.Contains(have.Words, f.Words):
	case f.State == have.State:
		have.Words = join(have.Words, f.Words)
		if !strings.Contains(have.Fix, f.Fix) {
			have.Fix = join(have.Fix, f.Fix)
		}
	case slices.Index(rank, f.State) > slices.Index(rank, have.State):
		*have = f
	}
}

func join(a, b string) string { return strings.TrimPrefix(a+"; "+b, "; ") }
