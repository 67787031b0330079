package sim

import (
	"math/rand/v2"
	"time"

	"github.com/gas-restore/gas/internal/archive"
	localaws "github.com/gas-restore/gas/internal/local/aws"
	"github.com/gas-restore/gas/internal/local/aws/glacier"
	"github.com/gas-restore/gas/pkg/events"
)

// The additions of chance to a world have dice of their own, so that a seed's other
// faults stay the same.

// minutes returns a duration below n minutes.
func minutes(d *rand.Rand, n int) time.Duration {
	return time.Duration(d.IntN(n*60_000)) * time.Millisecond
}

// surroundings lets clocks be apart, indexes and lists lag, the vault send notifications too,
// and a policy refuse, and returns the dice for more.
func (w *world) surroundings(seed uint64) *rand.Rand {
	d := dice(seed, "more", 0)
	if d.IntN(4) == 0 {
		// AWS answers no request of a machine that is more than five minutes off.
		w.trouble(clocksApart, 1)
		w.apart = func(service string, n int) time.Duration {
			return minutes(dice(seed, "clock "+service, n), 8) - 4*time.Minute
		}
	}
	if d.IntN(6) == 0 {
		w.trouble(indexesLate, 1)
		w.indexLag = minutes(d, 1) / 3
		w.DynamoDB.SetIndexLag(w.indexLag)
		w.Glacier.SetListLag(minutes(d, 1) / 2)
	}
	if d.IntN(6) == 0 {
		w.notificationsOfVault()
	}
	if d.IntN(10) == 0 {
		w.trouble(policies, 1)
		w.cfg.Tiers = []string{"Expedited", "Standard", "Bulk"}
		w.Glacier.SetDelay(glacier.Bulk, 10*time.Minute, 15*time.Minute)
		w.faults(localaws.Fault{Service: "glacier", Operation: "InitiateJob", Code: "PolicyEnforcedException", Status: 400, Skip: d.IntN(4), Times: 1 + d.IntN(3)})
	}
	return d
}

// others are users beside those who upgrade: one who leaves at any moment, one whom an
// operator announces, and one who gets the role from another system. They have their
// files now, and act when the returned function is called.
func (w *world) others(d *rand.Rand, lossy bool) func() {
	var all []func()
	if d.IntN(3) == 0 {
		w.archived("fickle", 1, 1000)
		after, then := minutes(d, 2), time.Duration(0)
		if d.IntN(2) == 0 {
			after = minutes(d, 1) / 20 // the first tasks are being worked on
		}
		if d.IntN(2) == 0 {
			then = time.Second + minutes(d, 3)
		}
		all = append(all, func() {
			w.upgrade("fickle", true)
			w.changeOfMind("fickle", after, then)
		})
	}
	if !lossy && d.IntN(8) == 0 {
		w.trouble(published, 1)
		w.archived("announced", 1000)
		w.Account("announced", archive.Free)
		all = append(all, func() { w.publish("announced") })
	}
	if w.sweeps() && d.IntN(6) == 0 {
		w.trouble(roleWritten, 1)
		w.archived("written", 1000)
		w.Account("written", archive.Free)
		all = append(all, func() { w.makePremium("written") })
	}
	return func() {
		for _, do := range all {
			do()
		}
	}
}

// meanwhile is what else comes: operators who stop everything, processes that are cut
// off, clocks that go back, streams that are lost.
func (w *world) meanwhile(d *rand.Rand, lossy bool) {
	if d.IntN(8) == 0 {
		w.stopAll(func() { time.Sleep(obeyed + minutes(d, 10)) })
	}
	if d.IntN(5) == 0 {
		service := []string{"bridge", "restore", "thaw"}[d.IntN(3)]
		a := ailment(d.IntN(3))
		if service == "thaw" && a == frozen {
			a = deaf // the gap that Glacier's interface leaves: see ARCHITECTURE.md
		}
		w.ail(service, a, 30*time.Second+minutes(d, 4))
	}
	if lossy && d.IntN(3) == 0 {
		w.loseStreams(events.StreamPremium, events.StreamThaw, events.StreamRestore, events.StreamStatus)
	}
	if w.apart != nil && d.IntN(2) == 0 {
		w.trouble(clocksBack, 1)
		back := minutes(d, 2)
		w.mu.Lock()
		defer w.mu.Unlock()
		for p := range w.alive {
			p.mu.Lock()
			if p.ahead > -2*time.Minute {
				p.ahead -= back
			}
			p.mu.Unlock()
		}
	}
}
