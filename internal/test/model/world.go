package model

import "github.com/gas-restore/gas/internal/archive"

// site emits the steps that the site takes without a request. As long as an announcement
// is due, the site announces the upgrade to the pipeline. See internal/web/plan.go.
func (m *Model) site(s *State, emit emit) {
	if !s.Due || s.Role != premium {
		return
	}
	n := *s
	if s.Plan == 0 {
		if m.open(&n, values{role: s.Role, changed: s.Changes, opened: s.Opened, plan: n.freshPlan()}) {
			emit("site opens a plan for an upgrade that was not announced", plain, n)
		}
		return
	}
	n.put(Msg{Kind: premiumMsg, A: s.Plan, B: 2 * s.Changes})
	if n.Left.Crashes > 0 {
		n := n
		n.Left.Crashes--
		emit("site announces the upgrade", unseen, n)
	}
	if m.holds(announced, &n, values{changed: s.Changes}) {
		n.Due = false
	}
	emit("site announces the upgrade", plain, n)
}

// people emits the actions of the user, an operator, another system, and the archiver.
func (m *Model) people(s *State, emit emit) {
	if s.Left.Changes > 0 {
		n := *s
		n.Left.Changes--
		if m.holds(upgrade, s, values{role: premium}) {
			n := n
			n.Role, n.Due, n.EmptySeen = premium, true, false
			n.Changes++
			n.Plan = n.freshPlan()
			emit("user upgrades", byChance, n)
		} else if !s.Due && s.Archive != 0 {
			if n.Plan == 0 {
				m.open(&n, values{role: s.Role, changed: s.Changes, opened: s.Opened, plan: n.freshPlan()})
			}
			n.put(Msg{Kind: premiumMsg, A: n.Plan, B: 2 * s.Changes})
			emit("a Premium user requests the files that are left", byChance, n)
		}
		if m.holds(downgrade, s, values{role: free}) {
			n.Role, n.Due, n.Plan, n.EmptySeen = free, false, 0, false
			n.Changes++
			emit("user goes back to Free", byChance, n)
		}
	}
	if s.Left.Messages > 0 {
		n := *s
		n.Left.Messages--
		n.put(Msg{Kind: premiumMsg, B: 2*s.Changes + 1, C: n.freshPlan()})
		emit("another system sends a premium message", byChance, n)
	}
	if s.Left.Orders > 0 && m.holds(order, s, values{archive: s.Archive}) {
		n := *s
		n.Left.Orders--
		n.Ordered = true
		if n.Left.Losses > 0 {
			n := n
			n.Left.Losses--
			emit("operator orders the archive, and the task is lost", byChance, n)
		}
		n.put(Msg{Kind: task, A: s.Archive})
		emit("operator orders the archive", byChance, n)
	}
	if s.Left.Lives > 0 && s.Archive == 0 && s.Role == free && s.Object == right {
		n := *s
		n.touch()
		n.Left.Lives--
		n.Life++
		n.Archive, n.Object = n.Life, nothing
		n.Vault |= 1 << n.Life
		n.Made, n.Extra, n.Duplicates, n.Told, n.Excused, n.Gone = 0, 0, 0, false, false, false
		n.Letters &^= spentLetter | occupiedLetter
		emit("the file is archived again", byChance, n)
	}
	if s.Left.Others > 0 && s.Object == nothing {
		n := *s
		n.Left.Others--
		n.Object = other
		emit("somebody puts another object at the key", byChance, n)
	}
}

// glacier emits the ends of retrievals.
func (m *Model) glacier(s *State, emit emit) {
	for i, r := range s.Retrievals {
		end := func(status uint8, told bool, how how, label string) {
			n := *s
			n.Retrievals[i].Status = status
			switch {
			case status == failed:
				n.Left.Failures--
			case status == forgotten:
				n.Left.Expiries--
			}
			if !told {
				n.Left.Losses--
			} else if status != forgotten {
				n.put(Msg{Kind: notification, A: uint8(i + 1), B: status})
			}
			emit(label, how, n)
		}
		switch r.Status {
		case inProgress:
			end(succeeded, true, plain, "retrieval succeeds")
			if s.Left.Losses > 0 {
				end(succeeded, false, byChance, "retrieval succeeds, and its notification is lost")
			}
			if s.Left.Failures > 0 {
				end(failed, true, byChance, "retrieval fails")
				if s.Left.Losses > 0 {
					end(failed, false, byChance, "retrieval fails, and its notification is lost")
				}
			}
		case succeeded:
			if s.Left.Expiries > 0 {
				end(forgotten, true, byChance, "retrieval is forgotten")
			}
		}
	}
}

// network emits the steps that double or lose a message.
func (m *Model) network(s *State, emit emit) {
	for j, msg := range s.Msgs {
		if msg.Kind == none || j > 0 && s.Msgs[j-1] == msg {
			continue
		}
		if s.Left.Doubles > 0 {
			n := *s
			n.Left.Doubles--
			n.add(msg)
			emit([...]string{"", "a premium message is doubled", "a task is doubled", "a notification is doubled"}[msg.Kind], byChance, n)
		}
		if s.Left.Losses > 0 {
			n := *s
			n.Left.Losses--
			n.Msgs[j] = Msg{}
			if msg.Kind == notification && msg.A == s.RestoredBy {
				n.Excused = true
			}
			emit([...]string{"", "a premium message is lost", "a task is lost", "a notification is lost"}[msg.Kind], byChance, n)
		}
	}
}

// asked counts a request that Glacier took, and checks it. From now on it costs money.
func (m *Model) asked(n *State, life uint8, paid bool) {
	if !paid {
		n.broke(14)
	}
	if life != n.Life {
		n.broke(20)
		return
	}
	usable := uint8(0)
	for _, r := range n.Retrievals {
		if r.Life == life && (r.Status == inProgress || r.Status == succeeded) {
			usable++
		}
	}
	if n.Extra = max(n.Extra, usable); usable > m.Budget.Pauses-n.Left.Pauses {
		n.broke(3)
	}
	n.Made++
	if n.Made > archive.MaxRetrievals || n.Failed > archive.MaxPerFailure || n.Expired > archive.MaxPerFailure {
		n.broke(15)
	}
	if n.Made > n.Tries+m.Budget.Pauses-n.Left.Pauses {
		n.broke(15) // a worker that takes over from a paused one may give the paused one's try back
	}
}

// broke records the first invariant that was broken.
func (s *State) broke(invariant uint8) {
	if s.Broken == 0 {
		s.Broken = invariant
	}
}
