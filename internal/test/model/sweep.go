package model

import "github.com/gas-restore/gas/internal/reconcile"

// sweep emits the steps of the sweep. [reconcile.Act] decides what the sweep does about a
// finding.
func (m *Model) sweep(s *State, emit emit) {
	n := *s
	step := func(label string) {
		emit(label, plain, n)
		if n.Left.Crashes > 0 {
			n.Sweep = Sweep{}
			n.Left.Crashes--
			emit(label, unseen, n)
		}
	}
	switch s.Sweep.PC {
	case 0:
		m.underWay(s, emit)
		m.look(s, s.entry(), plain, emit)
		if s.Left.Stale > 0 && s.Before != s.entry() && !s.EmptySeen {
			// The second of the two looks is so much later that it sees the changes that the
			// first one could not see.
			m.look(s, s.Before, byChance, emit)
		}
		if s.Role == premium && s.Plan == 0 && s.Archive != 0 && !s.waiting(premiumMsg) && m.Act(reconcile.Planless) == reconcile.Plan {
			n.Sweep = Sweep{PC: wOpen, Role: s.Role, Changes: s.Changes, Opened: s.Opened}
			emit("audit finds a Premium user's archive without a plan", plain, n)
		}
	case wKeepClosed:
		n.Closed |= 1 << s.Sweep.Plan
		n.Sweep.PC = wClose
		step("sweep writes the closed plan to gas-plans")
	case wClose:
		if m.holds(closePlan, s, values{plan: s.Sweep.Plan}) {
			if s.Plan != s.Sweep.Plan {
				n.broke(20)
			}
			n.Plan, n.EmptySeen = 0, false
		}
		n.Sweep = Sweep{}
		step("sweep closes the plan")
	case wOpen:
		plan := n.freshPlan()
		if !m.open(&n, values{role: s.Sweep.Role, changed: s.Sweep.Changes, opened: s.Sweep.Opened, plan: plan}) {
			n.Sweep = Sweep{}
			emit("audit finds that the account changed", plain, n)
			return
		}
		if s.Role != premium {
			n.broke(14)
		}
		n.Sweep = Sweep{PC: wAnnounce, Plan: plan}
		step("audit opens a plan")
	case wAnnounce:
		n.put(Msg{Kind: premiumMsg, A: s.Sweep.Plan})
		n.Sweep = Sweep{}
		step("audit announces the plan")
	}
}

// underWay emits what the sweep does about requests and retrievals that are due.
func (m *Model) underWay(s *State, emit emit) {
	n := *s
	switch {
	case s.Archive == 0:
	case s.Retrieval != 0:
		status := s.Retrievals[s.Retrieval-1].Status
		if s.waiting(notification) || status == inProgress || s.Letters&occupiedLetter != 0 {
			return
		}
		f := reconcile.Unheard
		if status == forgotten {
			f = reconcile.Forgotten
		}
		if a := m.Act(f); a == reconcile.Complete || a == reconcile.GiveBack {
			n.put(Msg{Kind: notification, A: s.Retrieval, B: status})
			emit("sweep publishes a lost notification again", plain, n)
		}
	case s.Token != 0 || s.Ordered && !(m.isSpent(s) && s.Letters&spentLetter != 0):
		if !s.waiting(task) && m.Act(reconcile.Interrupted) == reconcile.Ask {
			n.put(Msg{Kind: task, A: s.Archive})
			emit("sweep publishes a lost task again", plain, n)
		}
	}
}

// look emits the result of a look at the open plan, if the index shows e.
func (m *Model) look(s *State, e Entry, how how, emit emit) {
	if s.Plan == 0 {
		return
	}
	n := *s
	if how == byChance {
		n.Left.Stale--
	}
	switch {
	case e.Archive == 0 && !s.EmptySeen:
		if m.holds(planEmpty, s, values{plan: s.Plan}) {
			n.EmptySeen = true
		}
		emit("sweep finds nothing in the vault for the first time", how, n)
	case e.Archive == 0:
		n.Sweep = Sweep{PC: wKeepClosed, Plan: s.Plan}
		emit("sweep finds nothing in the vault for the second time", how, n)
	case s.EmptySeen:
		n.EmptySeen = false
		emit("sweep finds something in the vault again", how, n)
	case e.UnderWay || s.waiting(premiumMsg) || s.waiting(task):
	case s.Archive == 0 || s.Retrieval != 0 || s.Token != 0:
		// The item differs from the index.
	case m.isSpent(s) && s.Letters&spentLetter != 0:
		// The sweep announces the plan once a day, with no effect.
	case m.Act(reconcile.Unplanned) == reconcile.Plan:
		n.put(Msg{Kind: premiumMsg, A: s.Plan})
		emit("sweep announces the plan again", how, n)
	}
}
