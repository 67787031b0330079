package model

import (
	"fmt"
	"hash/maphash"
	"slices"
	"strings"
	"time"

	"github.com/gas-restore/gas/internal/archive"
)

// Invariants that are not in ARCHITECTURE.md's table.
const (
	// stuck: no steps lead from a state to a right end, even if all goes well.
	stuck = 7
	// untold: everything is over, and nobody reported the restored file.
	untold = 18
)

// Violation is a broken invariant, and the way to it.
type Violation struct {
	Invariant uint8
	// Trace is the shortest way to the violation. The first entry is the first state, and
	// each other entry is a step. For a state that is stuck, On is one of the ways that go
	// on from the state.
	Trace, On []string
}

// Steps is the number of steps of the way.
func (v *Violation) Steps() int { return len(v.Trace) - 1 }

// Error describes the violation.
func (v *Violation) Error() string {
	s := fmt.Sprintf("invariant %d (%s) is broken after %d steps:\n  %s", v.Invariant, meaning(v.Invariant), v.Steps(), strings.Join(v.Trace, "\n  "))
	if len(v.On) > 0 {
		s += "\nand then, if all goes well:\n  " + strings.Join(v.On, "\n  ")
	}
	return s
}

// meaning is the invariant in a few words. The numbers are those of ARCHITECTURE.md.
func meaning(invariant uint8) string {
	switch invariant {
	case 3:
		return "one effective retrieval per archive"
	case 6:
		return "the archive is deleted only when its bytes are in S3"
	case stuck:
		return "from every state some steps lead to a right end"
	case 14:
		return "no retrieval without a plan that stands, or an operator"
	case 15:
		return "retrievals per archive and cause are bounded, and each is counted as a try"
	case untold:
		return "every restored file is reported"
	case 20:
		return "a new life and a new retrieval share nothing with the earlier"
	}
	return "?"
}

// Result is the result of an exploration.
type Result struct {
	States, Transitions, Quiet, Depth int
	Took                              time.Duration
	Violation                         *Violation
	// Whole is false if the exploration stopped at its limit of states.
	Whole bool
	// Labels counts the transitions by the name of the step.
	Labels map[string]int
}

// String is one line.
func (r Result) String() string {
	s := fmt.Sprintf("%d states, %d transitions, %d right ends, %d steps deep, %s", r.States, r.Transitions, r.Quiet, r.Depth, r.Took.Round(time.Millisecond))
	if !r.Whole {
		s += " (not all of them)"
	}
	return s
}

// explorer holds the visited states.
type explorer struct {
	m      *Model
	seed   maphash.Seed
	seen   map[uint64]uint32
	states []State
	parent []uint32
	// next has the steps that are no faults. Those of state i begin at at[i].
	next []uint32
	at   []uint32
}

// Explore visits the states that the model can reach, the nearest first, and at most most
// of these. It stops at the first state that breaks an invariant. If there is none, it
// checks that from each state steps without a fault lead to a right end.
func (m *Model) Explore(most int) Result {
	began := time.Now()
	x := &explorer{m: m, seed: maphash.MakeSeed(), seen: map[uint64]uint32{}}
	r := Result{Whole: true, Labels: map[string]int{}}
	start := m.Start()
	x.visit(start, 0)
	ends := []uint32{}
	level := uint32(1)
	for i := uint32(0); int(i) < len(x.states); i++ {
		if i == level {
			r.Depth++
			level = uint32(len(x.states))
		}
		if len(x.states) > most {
			r.Whole = false
			break
		}
		s := x.states[i]
		x.at = append(x.at, uint32(len(x.next)))
		if m.right(&s) {
			r.Quiet++
			ends = append(ends, i)
		}
		m.steps(&s, func(label string, how how, n State) {
			r.Transitions++
			r.Labels[label]++
			n.canonical()
			j := x.visit(n, i)
			if how == plain && j != i {
				x.next = append(x.next, j)
			}
			if n.Broken != 0 && r.Violation == nil {
				r.Violation = &Violation{Invariant: n.Broken, Trace: x.trace(j)}
			}
		})
		if r.Violation != nil {
			break
		}
	}
	if r.Violation == nil && r.Whole {
		r.Violation = x.lead(ends)
	}
	r.States, r.Took = len(x.states), time.Since(began)
	return r
}

// visit returns the number of the state. An unseen state gets a new number.
func (x *explorer) visit(s State, from uint32) uint32 {
	h := maphash.Comparable(x.seed, s)
	if i, ok := x.seen[h]; ok {
		if x.states[i] != s {
			panic("model: two states have one hash: run it again")
		}
		return i
	}
	i := uint32(len(x.states))
	x.seen[h] = i
	x.states, x.parent = append(x.states, s), append(x.parent, from)
	return i
}

// lead looks for a state from which nothing leads to one of the ends.
func (x *explorer) lead(ends []uint32) *Violation {
	count := make([]uint32, len(x.states)+1)
	for _, j := range x.next {
		count[j+1]++
	}
	for i := 1; i < len(count); i++ {
		count[i] += count[i-1]
	}
	before, fill := make([]uint32, len(x.next)), slices.Clone(count)
	for i := range x.states {
		for _, j := range x.after(uint32(i)) {
			before[fill[j]] = uint32(i)
			fill[j]++
		}
	}
	good := make([]bool, len(x.states))
	for _, i := range ends {
		good[i] = true
	}
	for queue := ends; len(queue) > 0; {
		j := queue[len(queue)-1]
		queue = queue[:len(queue)-1]
		for _, i := range before[count[j]:count[j+1]] {
			if !good[i] {
				good[i] = true
				queue = append(queue, i)
			}
		}
	}
	bad := slices.Index(good, false)
	if bad < 0 {
		return nil
	}
	v := &Violation{Invariant: stuck, Trace: x.trace(uint32(bad))}
	// The way that goes on from the state shows the reason: it ends in the state that stays.
	for range 40 {
		s, moved := x.states[bad], false
		x.m.steps(&s, func(label string, how how, n State) {
			n.canonical()
			if how == plain && !moved && n != s && x.seen[maphash.Comparable(x.seed, n)] > uint32(bad) {
				moved, bad = true, int(x.seen[maphash.Comparable(x.seed, n)])
				v.On = append(v.On, label+"\n      "+n.String())
			}
		})
		if !moved {
			break
		}
	}
	if x.untold(uint32(bad)) {
		v.Invariant = untold
	}
	return v
}

// untold reports whether the state leads to a restored file that nobody reported.
func (x *explorer) untold(from uint32) bool {
	seen := map[uint32]bool{from: true}
	for queue := []uint32{from}; len(queue) > 0; queue = queue[1:] {
		i := queue[0]
		if s := x.states[i]; x.m.over(&s) && s.RestoredBy != 0 && s.Archive == 0 && s.Plan == 0 && !s.Told {
			return true
		}
		for _, j := range x.after(i) {
			if !seen[j] {
				seen[j] = true
				queue = append(queue, j)
			}
		}
	}
	return false
}

// after returns the states that follow state i without a fault.
func (x *explorer) after(i uint32) []uint32 {
	if int(i)+1 < len(x.at) {
		return x.next[x.at[i]:x.at[i+1]]
	}
	return x.next[x.at[i]:]
}

// trace is the way to state i.
func (x *explorer) trace(i uint32) []string {
	var path []uint32
	for ; i != 0; i = x.parent[i] {
		path = append(path, i)
	}
	slices.Reverse(path)
	lines := []string{"at first\n      " + x.states[0].String()}
	at := x.states[0]
	for _, j := range path {
		want, label := x.states[j], ""
		x.m.steps(&at, func(l string, how how, n State) {
			n.canonical()
			if n == want && label == "" {
				if label = l; how == unseen {
					label += ", and dies or sees an error"
				}
			}
		})
		lines = append(lines, label+"\n      "+want.String())
		at = want
	}
	return lines
}

// over reports whether no process is at work and no message is in flight.
func (m *Model) over(s *State) bool {
	return s.idle() && s.Msgs[0].Kind == none && !(s.Due && s.Role == premium)
}

// right reports whether the state is a right end.
func (m *Model) right(s *State) bool {
	if !m.over(s) || s.Token != 0 || s.Broken != 0 {
		return false
	}
	for _, r := range s.Retrievals {
		if r.Status == inProgress {
			return false
		}
	}
	if s.Duplicates < s.Extra && s.Left.Crashes == m.Budget.Crashes && s.Left.Failures == m.Budget.Failures {
		return false // the known duplicate is counted, unless its worker died, or it failed
	}
	stopped := s.Letters&spentLetter != 0 && m.isSpent(s)
	occupied := s.Letters&occupiedLetter != 0 && s.Retrieval != 0 && s.Object != nothing
	switch {
	case s.Archive == 0:
		return s.Object == right && (s.Told || s.Excused) && s.Plan == 0 && s.reads() == archive.Available
	case occupied:
		return true
	case s.Retrieval != 0:
		return false
	case s.Plan != 0 || s.Ordered:
		return stopped
	}
	return s.Role == free && s.reads() == archive.Archived
}

// reads is the state of the file on the web page.
func (s *State) reads() archive.State {
	job := archive.Job{Status: "COMPLETED", Result: archive.Object{Bucket: "b", Key: "k"}}
	if s.Archive != 0 {
		job.ArchiveID = "a"
	}
	if s.Retrieval != 0 {
		job.RetrievalID = "r"
	}
	if s.Token != 0 {
		job.Intent = intent
	}
	return job.State(account(s.Role, s.Changes, false).Role)
}
