package model

import (
	"github.com/gas-restore/gas/internal/archive"
	"github.com/gas-restore/gas/pkg/events"
)

// The places of a planner and of the sweep. See internal/thaw/plan.go and
// internal/reconcile/plans.go.
const (
	_ uint8 = iota
	pOpen
	pPublish
)

const (
	_ uint8 = iota
	wKeepClosed
	wClose
	wOpen
	wAnnounce
)

// planner emits the steps of the ith planner.
func (m *Model) planner(s *State, i int, emit emit) {
	n, p := *s, s.Planners[i]
	w := &n.Planners[i]
	step := func(label string) {
		emit(label, plain, n)
		if n.Left.Crashes > 0 {
			n.Planners[i] = Planner{}
			n.back(p.Msg)
			n.Left.Crashes--
			emit(label, unseen, n)
		}
	}
	switch p.PC {
	case 0:
		for j, msg := range s.Msgs {
			if msg.Kind != premiumMsg || j > 0 && s.Msgs[j-1] == msg {
				continue
			}
			n := *s
			n.Msgs[j] = Msg{}
			w := &n.Planners[i]
			switch m.Opens(account(s.Role, s.Changes, s.Plan != 0), message(msg)) {
			case archive.Go:
				*w = Planner{PC: pPublish, Msg: msg, Plan: s.Plan}
				emit("planner gets a message, and finds an open plan", plain, n)
			case archive.Open:
				of := msg.C
				if of == 0 {
					of = msg.A
				}
				if s.Closed&(1<<of) != 0 && m.ChecksWhetherOver {
					emit("planner gets a message of a plan that is over", plain, n)
					continue
				}
				*w = Planner{PC: pOpen, Msg: msg, Role: s.Role, Changes: s.Changes, Opened: s.Opened, Plan: of}
				emit("planner gets a message, and must open a plan", plain, n)
			default:
				emit("planner gets a message that asks for nothing", plain, n)
			}
		}
	case pOpen:
		if !m.open(&n, values{role: p.Role, changed: p.Changes, opened: p.Opened, plan: p.Plan}) {
			*w = Planner{}
			n.back(p.Msg)
			emit("planner finds that the account changed", plain, n)
			return
		}
		if p.Msg.A != 0 || s.Closed&(1<<p.Plan) != 0 || archive.Account.Opens(account(s.Role, s.Changes, false), message(p.Msg)) != archive.Open {
			n.broke(14) // the message names a plan that is over, or it is too late by now
		}
		w.PC = pPublish
		step("planner opens a plan")
	case pPublish:
		*w = Planner{}
		page := func(e Entry, label string, how how) {
			n := n
			if e.Archive != 0 && !e.UnderWay {
				n.put(Msg{Kind: task, A: e.Archive})
			}
			emit(label, how, n)
			if n.Left.Crashes > 0 {
				n.back(p.Msg)
				n.Left.Crashes--
				emit(label, unseen, n)
			}
		}
		page(s.entry(), "planner reads the index and publishes", plain)
		if s.Left.Stale > 0 && s.Before != s.entry() {
			n.Left.Stale--
			page(s.Before, "planner reads the index, which is behind, and publishes", byChance)
		}
	}
}

// message is the message as Opens gets it.
func message(msg Msg) events.UserUpgraded {
	e := events.UserUpgraded{ID: "m", UserID: "u", UpgradedAt: moment(msg.B), Via: events.ViaSNS}
	if msg.A != 0 {
		e.Plan = "p"
	}
	return e
}

// open writes a plan on the account, if the account is as it was read.
func (m *Model) open(n *State, v values) bool {
	if !m.holds(openPlan(v.changed != 0, v.opened != 0), n, v) {
		return false
	}
	n.Plan, n.EmptySeen = v.plan, false
	n.Opened = n.freshCount()
	return true
}

// freshCount is a number of opened plans that nobody has read yet.
func (s *State) freshCount() uint8 {
	for c := uint8(1); ; c++ {
		if s.Opened != c && s.Sweep.Opened != c && s.Planners[0].Opened != c && s.Planners[1].Opened != c {
			return c
		}
	}
}

// freshPlan returns a plan id that is not in use.
func (s *State) freshPlan() uint8 {
	for p := uint8(1); ; p++ {
		used := s.Plan == p || s.Sweep.Plan == p
		for _, msg := range s.Msgs {
			used = used || msg.Kind == premiumMsg && (msg.A == p || msg.C == p)
		}
		for _, w := range s.Planners {
			used = used || w.Plan == p || w.Msg.A == p || w.Msg.C == p
		}
		if !used {
			s.Closed &^= 1 << p
			return p
		}
	}
}
