package model

import (
	"fmt"
	"strings"
)

// State has everything that matters. It consists of small numbers, is comparable, and has
// no pointer. The product makes tokens and the ids of plans and retrievals at random. Here
// they are numbers, and only their equality matters; see [State.canonical].
type State struct {
	// The catalog's item. Archive is the life of the archive that the item names, or 0.
	// Token is the intent's token, or 0.
	Archive, Token, Retrieval, RestoredBy uint8
	Tries, Failed, Expired                uint8
	Ordered                               bool
	// Before is the entry of an index that is behind.
	Before Entry
	// The account. Changes counts the changes of its role, and represents their time.
	Role, Changes, Plan, Opened uint8
	Due                         bool
	// EmptySeen says that a look at the plan found nothing in the vault.
	EmptySeen bool
	// Closed has a bit for each plan that gas-plans has as closed.
	Closed uint8

	// Life counts how often the file was archived, from 1 on. Vault has a bit for the archive
	// of each life.
	Life, Vault uint8
	Retrievals  [retrievals]Retrieval
	// Gone says that a retrieval of this life came to nothing and is not among Retrievals any
	// more.
	Gone bool
	// Object says what is at the key.
	Object uint8

	Letters uint8
	Msgs    [messages]Msg

	Requesters [2]Requester
	Restorers  [2]Restorer
	Planners   [2]Planner
	Sweep      Sweep

	// Left bounds the faults that may still happen and the actions that people may still
	// take.
	Left Budget

	// Only the checker reads the following fields. Made counts the retrievals of this life,
	// Extra counts the needless ones, and Duplicates counts those that a requester reported
	// as duplicates. Told says that “restored” was reported. Excused says that the message
	// that leads to this report was lost. Broken is the invariant that was broken.
	Made, Extra, Duplicates uint8
	Told, Excused           bool
	Broken                  uint8
}

const (
	retrievals = 6
	messages   = 8
)

// Entry is the job's entry in an index.
type Entry struct {
	Archive  uint8
	UnderWay bool
}

// The roles.
const (
	free uint8 = iota
	premium
)

// The objects at the key.
const (
	nothing uint8 = iota
	right
	other
)

// Retrieval is a retrieval of Glacier.
type Retrieval struct{ Life, Status uint8 }

// The states of a retrieval.
const (
	unused uint8 = iota
	inProgress
	succeeded
	failed
	// forgotten: its output expired, and Glacier does not know it any more.
	forgotten
)

// Msg is a message in flight. The meanings of A, B and C depend on its kind.
type Msg struct {
	Kind uint8
	// A is a premium message's plan, a task's archive, or a notification's retrieval.
	A uint8
	// B is a premium message's time, counted in changes of the role, or a notification's status.
	B uint8
	// C is the plan that a premium message of another system opens.
	C uint8
}

// The kinds of message.
const (
	none uint8 = iota
	premiumMsg
	task
	notification
)

// The dead letters, which need an operator.
const (
	spentLetter uint8 = 1 << iota
	occupiedLetter
	otherLetter
)

// Requester, Restorer and Planner have what a worker knows between two steps. Msg is the
// message that the worker works on. It comes again if the worker dies.
type Requester struct {
	PC                     uint8
	Msg                    Msg
	Old, Token             uint8 // the intent that it read, and its own
	Tries, Failed, Expired uint8 // as it read them
	Ordered, Used          bool
	Tier, Retrieval, After uint8
	Paid                   bool // the checker's: a plan stood, or there was an order
}

type Restorer struct {
	PC      uint8
	Msg     Msg
	Archive uint8
	CameTo  uint8
}

type Planner struct {
	PC                          uint8
	Msg                         Msg
	Role, Changes, Opened, Plan uint8
}

// Sweep has what the sweep knows between two steps.
type Sweep struct{ PC, Role, Changes, Opened, Plan uint8 }

// Budget bounds the faults and the actions of people.
type Budget struct {
	// Crashes: a process dies after a step, or the step took effect unseen. Doubles and
	// Losses: of messages. Failures and Expiries: of retrievals. Refusals: by Glacier, of
	// requests. Stale: reads of an index that is behind. Pauses: of a worker between its
	// intent and its call, for longer than an intent lives. Others: objects put at the
	// key by somebody else.
	Crashes, Doubles, Losses, Failures, Expiries, Refusals, Stale, Pauses, Others uint8
	// Changes of the role, messages of other systems, orders of one archive, and how
	// often the restored file is archived again.
	Changes, Messages, Orders, Lives uint8
}

// put publishes a message. If the same message is in flight already, put does nothing: the
// copy would change nothing for its reader. Doubling is a step of its own.
func (s *State) put(m Msg) {
	if !s.has(m) {
		s.add(m)
	}
}

func (s *State) add(m Msg) {
	for i := range s.Msgs {
		if s.Msgs[i].Kind == none {
			s.Msgs[i] = m
			return
		}
	}
	panic(fmt.Sprintf("model: more than %d messages in flight", messages))
}

func (s *State) has(m Msg) bool {
	for _, n := range s.Msgs {
		if n == m {
			return true
		}
	}
	return false
}

// waiting reports whether a message of the kind is in flight or being worked on.
func (s *State) waiting(kind uint8) bool {
	for _, m := range s.Msgs {
		if m.Kind == kind {
			return true
		}
	}
	for i := range s.Requesters {
		if s.Requesters[i].Msg.Kind == kind || s.Restorers[i].Msg.Kind == kind || s.Planners[i].Msg.Kind == kind {
			return true
		}
	}
	return false
}

func (s *State) idle() bool {
	for i := range s.Requesters {
		if s.Requesters[i].PC != 0 || s.Restorers[i].PC != 0 || s.Planners[i].PC != 0 {
			return false
		}
	}
	return s.Sweep.PC == 0
}

// entry is the entry of an index that is not behind.
func (s *State) entry() Entry { return Entry{s.Archive, s.Retrieval != 0} }

// touch keeps the entry that an index shows until it has the change that follows.
func (s *State) touch() { s.Before = s.entry() }

// renaming replaces numbers by new ones, in the order in which it meets them.
type renaming struct {
	to   [16]uint8
	next uint8
}

func (r *renaming) of(n *uint8) {
	if *n == 0 {
		return
	}
	if r.to[*n] == 0 {
		r.next++
		r.to[*n] = r.next
	}
	*n = r.to[*n]
}

// canonical makes states equal that differ in names only: the number of a worker, the place
// of a message in the queue, and the number of a token, a plan or a retrieval. It forgets
// the closed plans and the useless retrievals that nothing names any more.
func (s *State) canonical() {
	if s.Left.Stale == 0 {
		s.Before = s.entry()
	}
	s.order()
	var tokens, plans, rets, counts renaming
	counts.of(&s.Opened)
	tokens.of(&s.Token)
	plans.of(&s.Plan)
	rets.of(&s.Retrieval)
	rets.of(&s.RestoredBy)
	for i := range s.Requesters {
		r := &s.Requesters[i]
		tokens.of(&r.Old)
		tokens.of(&r.Token)
		rets.of(&r.Retrieval)
	}
	message := func(m *Msg) {
		switch m.Kind {
		case premiumMsg:
			plans.of(&m.A)
			plans.of(&m.C)
		case notification:
			rets.of(&m.A)
		}
	}
	for i := range s.Restorers {
		message(&s.Restorers[i].Msg)
	}
	for i := range s.Planners {
		message(&s.Planners[i].Msg)
		plans.of(&s.Planners[i].Plan)
		counts.of(&s.Planners[i].Opened)
	}
	plans.of(&s.Sweep.Plan)
	counts.of(&s.Sweep.Opened)
	for i := range s.Msgs {
		message(&s.Msgs[i])
	}
	closed := s.Closed
	s.Closed = 0
	for old, now := range plans.to {
		if now != 0 && closed&(1<<old) != 0 {
			s.Closed |= 1 << now
		}
	}
	var kept [retrievals]Retrieval
	for i, r := range s.Retrievals {
		n := uint8(i + 1)
		if rets.to[n] == 0 {
			if r.Status == unused || r.Status == failed || r.Status == forgotten || r.Life < s.Life && r.Status != inProgress {
				// Nobody names it any more.
				s.Gone = s.Gone || r.Life == s.Life && (r.Status == failed || r.Status == forgotten)
				continue
			}
			rets.of(&n)
		}
		kept[rets.to[i+1]-1] = r
	}
	s.Retrievals = kept
	s.order()
}

// order sorts the workers and the messages. Idle workers and empty places come last.
func (s *State) order() {
	if a, b := s.Requesters[0].key(), s.Requesters[1].key(); b[0] > a[0] || b[0] == a[0] && b[1] > a[1] {
		s.Requesters[0], s.Requesters[1] = s.Requesters[1], s.Requesters[0]
	}
	if s.Restorers[1].key() > s.Restorers[0].key() {
		s.Restorers[0], s.Restorers[1] = s.Restorers[1], s.Restorers[0]
	}
	if s.Planners[1].key() > s.Planners[0].key() {
		s.Planners[0], s.Planners[1] = s.Planners[1], s.Planners[0]
	}
	for i := 1; i < len(s.Msgs); i++ {
		for j := i; j > 0 && s.Msgs[j].key() > s.Msgs[j-1].key(); j-- {
			s.Msgs[j], s.Msgs[j-1] = s.Msgs[j-1], s.Msgs[j]
		}
	}
}

func (m Msg) key() uint64 { return pack(m.Kind, m.A, m.B, m.C) }

func (r Requester) key() [2]uint64 {
	return [2]uint64{
		pack(r.PC, r.Msg.A, r.Old, r.Token, r.Retrieval, r.Tier, r.After, r.Tries),
		pack(r.Failed, r.Expired, bit(r.Ordered), bit(r.Used), bit(r.Paid)),
	}
}

func (r Restorer) key() uint64 {
	return pack(r.PC, r.Msg.A, r.Msg.B, r.Archive, r.CameTo)
}

func (p Planner) key() uint64 {
	return pack(p.PC, p.Msg.A, p.Msg.B, p.Msg.C, p.Role, p.Changes, p.Plan, p.Opened)
}

func pack(b ...uint8) (n uint64) {
	for _, x := range b {
		n = n<<8 | uint64(x)
	}
	return n
}

func bit(b bool) uint8 {
	if b {
		return 1
	}
	return 0
}

// String describes the state in a line.
func (s State) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "archive %d, intent %d, retrieval %d, tries %d, failed %d, expired %d; %s, plan %d; object %s; life %d, vault %b, made %d",
		s.Archive, s.Token, s.Retrieval, s.Tries, s.Failed, s.Expired,
		[]string{"Free", "Premium"}[s.Role], s.Plan, []string{"none", "right", "other"}[s.Object], s.Life, s.Vault, s.Made)
	for _, m := range s.Msgs {
		if m.Kind != none {
			fmt.Fprintf(&b, "; %s", m)
		}
	}
	return b.String()
}

// String names the message.
func (m Msg) String() string {
	switch m.Kind {
	case premiumMsg:
		if m.A == 0 {
			return fmt.Sprintf("premium message of another system (change %d)", m.B/2)
		}
		return fmt.Sprintf("premium message of plan %d", m.A)
	case task:
		return fmt.Sprintf("task for archive %d", m.A)
	case notification:
		return fmt.Sprintf("notification that retrieval %d %s", m.A, []string{"", "", "succeeded", "failed", "is forgotten"}[m.B])
	}
	return "no message"
}
