package model

// The places of a restorer: its next step. They follow the steps of internal/restore. In
// hear, the restorer reads the catalog. In oFetch it asks Glacier and fetches the output. In
// oPut it puts the object and proves it, and in oDelete it releases the archive.
const (
	_ uint8 = iota
	oFetch
	oPut
	oDelete
	oClear
	oTell
	oClearRetrieval
	oAskAgain
	oDeleteTaken // the retrieval was taken back, but the file is in S3
	oClearTaken
	oPutLate // only in a planted bug: the archive is deleted before the object is put
)

// restorer emits the steps of the ith restorer.
func (m *Model) restorer(s *State, i int, emit emit) {
	if s.Restorers[i].PC == 0 {
		for j, msg := range s.Msgs {
			if msg.Kind == notification && (j == 0 || s.Msgs[j-1] != msg) {
				m.hear(s, i, j, emit)
			}
		}
		return
	}
	n, r := *s, s.Restorers[i]
	w := &n.Restorers[i]
	step := func(label string) {
		emit(label, plain, n)
		if n.Left.Crashes > 0 {
			n.Restorers[i] = Restorer{}
			n.back(r.Msg)
			n.Left.Crashes--
			emit(label, unseen, n)
		}
	}
	ack := func() { *w = Restorer{} }
	dead := func() { n.Letters |= occupiedLetter; ack() }
	v := values{archive: r.Archive, retrieval: r.Msg.A}
	switch r.PC {
	case oFetch:
		m.fetch(s, i, emit)
	case oPut:
		switch s.Object {
		case nothing:
			n.Object, w.PC = right, oDelete
			step("restorer puts the object")
		case right:
			w.PC = oDelete
			emit("restorer finds the object there, and proves it", plain, n)
		default:
			dead()
			emit("restorer finds another object at the key: a dead letter", plain, n)
		}
	case oDelete:
		if s.Object != right {
			n.broke(6)
		}
		n.Vault &^= 1 << r.Archive
		if w.PC = oClear; !m.ProvesFirst {
			w.PC = oPutLate
		}
		step("restorer deletes the archive")
	case oDeleteTaken:
		if s.Object != right {
			n.broke(6)
		}
		n.Vault &^= 1 << r.Archive
		w.PC = oClearTaken
		step("restorer deletes the archive of a file that it found")
	case oClearTaken:
		if !m.holds(clearTaken, s, v) {
			ack()
			n.back(r.Msg)
			emit("restorer finds that the catalog waits for another retrieval", plain, n)
			return
		}
		n.Archive, n.Retrieval, n.RestoredBy = 0, 0, r.Msg.A
		n.Token, n.Tries, n.Failed, n.Expired, n.Ordered = 0, 0, 0, 0, false
		w.PC = oTell
		step("restorer clears the archive of a file that it found")
	case oPutLate:
		if n.Object == nothing {
			n.Object = right
		}
		w.PC = oClear
		step("restorer puts the object, late")
	case oClear:
		if !m.holds(clearArchive, s, v) {
			ack()
			n.back(r.Msg)
			emit("restorer finds that the catalog waits for another retrieval", plain, n)
			return
		}
		n.clearing(r.Msg.A)
		n.Archive, n.Retrieval, n.RestoredBy = 0, 0, s.Retrieval
		n.Token, n.Tries, n.Failed, n.Expired, n.Ordered = 0, 0, 0, 0, false
		w.PC = oTell
		step("restorer clears the archive from the catalog")
	case oTell:
		n.Told = true
		ack()
		step("restorer reports the restored file")
	case oClearRetrieval:
		write := clearFailed
		if r.CameTo == forgotten {
			write = clearExpired
		}
		if !m.holds(write, s, v) {
			ack()
			n.back(r.Msg)
			emit("restorer finds that the catalog waits for another retrieval", plain, n)
			return
		}
		n.clearing(r.Msg.A)
		if r.CameTo == forgotten {
			n.Expired++
		} else {
			n.Failed++
		}
		if !m.KeepsTries {
			n.Tries, n.Failed, n.Expired = 0, 0, 0
		}
		n.Retrieval, n.Token = 0, 0
		w.PC = oAskAgain
		step("restorer takes the retrieval back, and counts it")
	case oAskAgain:
		m.askAgain(&n, r.Archive)
		ack()
		step("restorer asks again")
	}
}

// askAgain requests the archive once more.
func (m *Model) askAgain(n *State, archive uint8) {
	if m.AsksGate {
		n.put(Msg{Kind: task, A: archive})
		return
	}
	// Only in a planted bug: nobody asks the gate.
	m.asked(n, archive, false)
	for j := range n.Retrievals {
		if n.Retrievals[j].Status == unused {
			n.Retrievals[j] = Retrieval{archive, inProgress}
			return
		}
	}
}

// hear emits the steps of a restorer that gets the jth message.
func (m *Model) hear(s *State, i, j int, emit emit) {
	n, msg := *s, s.Msgs[j]
	life := s.Retrievals[msg.A-1].Life
	n.Msgs[j] = Msg{}
	switch {
	case s.Archive == 0:
		if s.RestoredBy == msg.A && m.TellsDone {
			n.Told = true
		}
		emit("restorer gets a notification of a file that is not archived any more", plain, n)
	case s.Archive != life:
		n.Letters |= otherLetter
		emit("restorer gets a notification of another archive: a dead letter", plain, n)
	case s.Retrieval == 0 && s.Token != 0:
		// The message waits.
	case s.Retrieval == 0 && s.Object == right && (m.HashKnown || msg.B != forgotten):
		n.Restorers[i] = Restorer{PC: oDeleteTaken, Msg: msg, Archive: s.Archive}
		emit("restorer gets a notification that nobody waits for, and proves the object that is there", plain, n)
	case s.Retrieval == 0 && s.Object != nothing && (m.HashKnown || msg.B != forgotten):
		n.Letters |= occupiedLetter
		emit("restorer gets a notification that nobody waits for, and another object is there: a dead letter", plain, n)
	case s.Retrieval == 0:
		m.askAgain(&n, s.Archive)
		emit("restorer gets a notification that nobody waits for, and asks again", plain, n)
		if n.Left.Crashes > 0 {
			n.back(msg)
			n.Left.Crashes--
			emit("restorer gets a notification that nobody waits for, and asks again", unseen, n)
		}
	case s.Retrieval != msg.A:
		emit("restorer gets a notification of another retrieval", plain, n)
	default:
		n.Restorers[i] = Restorer{PC: oFetch, Msg: msg, Archive: s.Archive}
		emit("restorer gets a notification", plain, n)
	}
}

// fetch emits the step that the output and the object lead to.
func (m *Model) fetch(s *State, i int, emit emit) {
	n, r := *s, s.Restorers[i]
	w := &n.Restorers[i]
	status := s.Retrievals[r.Msg.A-1].Status
	if r.Msg.B == succeeded && status == succeeded {
		if w.PC = oPut; !m.ProvesFirst {
			w.PC = oDelete
		}
		emit("restorer fetches the output", plain, n)
		return
	}
	if r.Msg.B != succeeded && status != failed && status != forgotten {
		w.Msg = Msg{} // Glacier does not confirm the failure: the message waits
		*w = Restorer{}
		n.back(r.Msg)
		emit("restorer hears from Glacier that the retrieval did not fail", plain, n)
		return
	}
	w.CameTo = status
	switch known := m.HashKnown || r.Msg.B != forgotten; {
	case s.Object == nothing:
		w.PC = oClearRetrieval
		emit("restorer finds neither output nor object", plain, n)
	case s.Object == right && known:
		w.PC = oDelete
		emit("restorer finds no output, and proves the object that is there", plain, n)
	default:
		n.Letters |= occupiedLetter
		*w = Restorer{}
		emit("restorer finds no output, and an object that it can't prove: a dead letter", plain, n)
	}
}

// clearing checks that a retrieval's own notification removes it from the catalog.
func (s *State) clearing(retrieval uint8) {
	if s.Retrieval != retrieval {
		s.broke(20)
	}
}
