package model

import (
	"github.com/gas-restore/gas/internal/fault"
	"github.com/gas-restore/gas/internal/gate"
	"github.com/gas-restore/gas/internal/thaw"
)

// The places of a requester: its next step. See internal/thaw/request.go and ask.go.
const (
	_ uint8 = iota
	rList
	rGate
	rIntent
	rCall
	rSave
	rReread
	rAgain
	rDrop
)

// The end of the task after the requester has dropped its intent.
const (
	thenAck uint8 = iota
	thenBack
	thenSpent
	thenDeadLetter
)

// requester emits the steps of the ith requester.
func (m *Model) requester(s *State, i int, emit emit) {
	if s.Requesters[i].PC == 0 {
		for j, msg := range s.Msgs {
			if msg.Kind == task && (j == 0 || s.Msgs[j-1] != msg) {
				m.take(s, i, j, emit)
			}
		}
		return
	}
	n, r := *s, s.Requesters[i]
	w := &n.Requesters[i]
	step := func(label string) {
		emit(label, plain, n)
		if n.Left.Crashes > 0 {
			n.Requesters[i] = Requester{}
			n.back(r.Msg)
			n.Left.Crashes--
			emit(label, unseen, n)
		}
	}
	ack := func() { *w = Requester{} }
	back := func() { *w = Requester{}; n.back(r.Msg) }
	switch r.PC {
	case rList:
		best, any := s.best(r.Msg.A)
		switch {
		case best != 0 && m.LooksFirst:
			w.PC, w.Retrieval, w.Token = rSave, best, r.Old
		default:
			w.PC, w.Used = rGate, any && m.CountsUsed
			if !any && w.Tries > 0 && m.CountsUsed {
				w.Tries-- // nobody called Glacier under the intent, so its try is free again
			}
		}
		emit("requester reads Glacier's list", plain, n)
		if w.PC == rGate && !any && m.CountsUsed && s.Left.Expiries > 0 {
			w.Used, w.Tries = true, r.Tries
			n.Left.Expiries--
			emit("requester finds nothing in Glacier's list, a day later", byChance, n)
		}
	case rGate:
		w.Paid = s.Plan != 0 || s.Ordered
		switch m.mayAsk(w, s.Plan != 0) {
		case gate.Ask:
			w.PC = rIntent
		case gate.Operator:
			if w.PC, w.After = rDrop, thenSpent; r.Old == 0 {
				n.Letters |= spentLetter
				ack()
			}
		default:
			if w.PC, w.After = rDrop, thenAck; r.Old == 0 {
				ack()
			}
		}
		emit("requester asks the gate", plain, n)
	case rIntent:
		v, write := values{archive: r.Msg.A, token: r.Old, most: most(0)}, saveIntent
		if r.Old != 0 {
			write = takeIntent
			if r.Used {
				write = takeUsed
			}
		}
		if !m.holds(write, s, v) {
			back()
			emit("requester finds that another requester wrote its intent first", plain, n)
			return
		}
		if n.Token = n.fresh(); write != takeIntent {
			n.Tries++
		}
		w.PC, w.Token = rCall, n.Token
		step("requester writes its intent")
	case rCall:
		m.call(s, i, emit)
	case rSave:
		if !m.holds(saveRetrieval, s, values{archive: r.Msg.A, token: r.Token}) {
			w.PC = rReread
			emit("requester finds that its intent is gone", plain, n)
			return
		}
		n.touch()
		n.Retrieval, n.Token = r.Retrieval, 0
		ack()
		step("requester saves the retrieval")
	case rReread:
		switch {
		case s.Retrieval == r.Retrieval:
			ack()
		case m.LooksAgain && !s.usable(r.Retrieval):
			back() // the retrieval failed or expired, and others handled that
		case s.Archive != r.Msg.A && s.RestoredBy == r.Retrieval:
			back()
		case s.Retrieval != 0 || s.Archive != r.Msg.A:
			if n.Duplicates++; n.Duplicates > n.Extra+m.Budget.Pauses-n.Left.Pauses {
				n.broke(3) // it reports a duplicate that does not exist
			}
			back()
		case s.Token == 0:
			w.PC = rAgain
		default:
			w.PC, w.Token = rSave, s.Token
		}
		emit("requester reads the job again", plain, n)
	case rAgain:
		// The retrieval is paid for. It is saved even if the tries are used up.
		if !m.holds(saveIntent, s, values{archive: r.Msg.A, most: most(5) + s.Tries}) {
			w.PC = rReread
			emit("requester could not write another intent", plain, n)
			return
		}
		n.Token = n.fresh()
		n.Tries++
		w.PC, w.Token = rSave, n.Token
		step("requester writes an intent for the retrieval that it requested")
	case rDrop:
		v := values{token: r.Token}
		if r.Token == 0 {
			v.token = r.Old
		}
		if m.holds(dropIntent, s, v) {
			if n.Token = 0; !r.Used && n.Tries > 0 {
				n.Tries--
			}
		}
		switch r.After {
		case thenAck:
			ack()
		case thenBack:
			back()
		case thenSpent:
			n.Letters |= spentLetter
			ack()
		case thenDeadLetter:
			n.Letters |= otherLetter
			ack()
		}
		step("requester drops the intent")
	}
}

// take emits the steps of a requester that gets the jth message.
func (m *Model) take(s *State, i, j int, emit emit) {
	n, msg := *s, s.Msgs[j]
	n.Msgs[j] = Msg{}
	w := &n.Requesters[i]
	if s.Archive != 0 && s.Archive != msg.A {
		n.Letters |= otherLetter
		emit("requester gets a task for another archive: a dead letter", plain, n)
		return
	}
	*w = Requester{Msg: msg, Tries: s.Tries, Failed: s.Failed, Expired: s.Expired, Ordered: s.Ordered}
	switch m.decide(s) {
	case gate.Adopt:
		label, how := "requester finds an intent that stood still", plain
		if !s.standsStill() {
			if s.Left.Pauses == 0 {
				return // it waits
			}
			n.Left.Pauses--
			label, how = "requester finds an intent that stood still, and its worker is paused before its call", byChance
		}
		w.PC, w.Old = rList, s.Token
		emit(label, how, n)
	case gate.Ask, gate.Drop, gate.Operator, gate.Later:
		w.PC, w.Old = rGate, s.Token
		emit("requester gets a task", plain, n)
	default: // the archive is on its way, or restored
		*w = Requester{}
		emit("requester gets a task, and there is nothing to do", plain, n)
	}
}

// standsStill reports whether another worker may have seen the intent for as long as an
// intent lives. This is impossible while the intent's worker is between its write and the
// end of its call. The call takes at most a third of an intent's life, and the worker
// renews an intent that is older than another third before the call.
func (s *State) standsStill() bool {
	for i := range s.Requesters {
		if r := &s.Requesters[i]; r.PC == rCall && r.Token == s.Token {
			return false
		}
	}
	return true
}

// best returns the retrieval to adopt. any reports whether somebody may have called
// Glacier: the list has a retrieval, or the intent is so old that Glacier may have forgotten
// the retrieval.
func (s *State) best(archive uint8) (best uint8, any bool) {
	any = s.Gone && s.Life == archive
	for i, r := range s.Retrievals {
		if r.Life != archive || r.Status == unused {
			continue
		}
		any = true
		if r.Status == succeeded || r.Status == inProgress && best == 0 {
			best = uint8(i + 1)
		}
	}
	return best, any
}

// usable reports whether the retrieval's output is there, or may still come.
func (s *State) usable(retrieval uint8) bool {
	status := s.Retrievals[retrieval-1].Status
	return status == succeeded || status == inProgress
}

// call emits the answers that Glacier may give to a request.
func (m *Model) call(s *State, i int, emit emit) {
	r := s.Requesters[i]
	if s.Vault&(1<<r.Msg.A) == 0 {
		m.refuse(s, i, fault.NotFound, plain, "requester is told that there is no such archive", emit)
	} else {
		n := *s
		m.asked(&n, r.Msg.A, r.Paid)
		for j := range n.Retrievals {
			if n.Retrievals[j].Status == unused {
				n.Retrievals[j] = Retrieval{r.Msg.A, inProgress}
				n.Requesters[i].PC, n.Requesters[i].Retrieval = rSave, uint8(j+1)
				break
			}
		}
		emit("requester calls Glacier, which takes the request", plain, n)
		if n.Left.Crashes > 0 && m.retry(fault.Transient, r.Tier).Refused() {
			n := n // only in a planted bug: the worker takes an error for a refusal
			n.Requesters[i].PC, n.Requesters[i].After = rDrop, thenBack
			n.Left.Crashes--
			emit("requester calls Glacier, which takes the request, and sees an error", byChance, n)
		}
		if n.Left.Crashes > 0 {
			n.Requesters[i] = Requester{}
			n.back(r.Msg)
			n.Left.Crashes--
			emit("requester calls Glacier, which takes the request", unseen, n)
		}
	}
	if s.Left.Crashes > 0 {
		n := *s
		n.Requesters[i] = Requester{}
		n.back(r.Msg)
		n.Left.Crashes--
		emit("requester dies before its call", byChance, n)
	}
	if s.Left.Refusals > 0 {
		m.refuse(s, i, fault.Capacity, byChance, "requester is told that there is no capacity", emit)
		m.refuse(s, i, fault.Throttled, byChance, "requester is told to slow down", emit)
	}
}

// refuse emits the step that the retry table names for an error of Glacier.
func (m *Model) refuse(s *State, i int, kind fault.Kind, how how, label string, emit emit) {
	n := *s
	w := &n.Requesters[i]
	if how == byChance {
		n.Left.Refusals--
	}
	retry := m.retry(kind, w.Tier)
	_, next := retry.Next(tiers, tiers[w.Tier])
	switch {
	case next:
		w.Tier++
	case retry.Refused():
		if w.PC, w.After = rDrop, thenBack; retry.Action == thaw.DeadLetter {
			w.After = thenDeadLetter
		}
		w.Used = false // Glacier took nothing under the requester's own intent
	default:
		msg := w.Msg
		*w = Requester{}
		n.back(msg)
	}
	emit(label, how, n)
}

// fresh returns a token that is not in use.
func (s *State) fresh() uint8 {
	for t := uint8(1); ; t++ {
		used := s.Token == t
		for i := range s.Requesters {
			used = used || s.Requesters[i].Old == t || s.Requesters[i].Token == t
		}
		if !used {
			return t
		}
	}
}
