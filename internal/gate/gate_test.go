package gate

import (
	"testing"
	"time"

	"github.com/gas-restore/gas/internal/archive"
	"github.com/gas-restore/gas/pkg/events"
)

func TestTheGate(t *testing.T) {
	now := time.Date(2026, 11, 26, 12, 0, 0, 0, time.UTC)
	premium := archive.Account{ID: "u", Role: archive.Premium, Plan: &archive.Plan{ID: "p", State: archive.PlanOpen}}
	held := archive.Account{ID: "u", Role: archive.Premium, Plan: &archive.Plan{ID: "p", State: archive.PlanHeld, HeldBy: "over budget"}}
	nobody := archive.Account{ID: "u", Role: archive.Premium}
	job := archive.Job{ID: "j", UserID: "u", ArchiveID: "a"}
	with := func(change func(*archive.Job)) archive.Job { j := job; change(&j); return j }
	spent := with(func(j *archive.Job) { j.History.Tries = archive.MaxRetrievals })
	all := archive.Switches{All: &archive.Hold{Reason: "r"}}
	for _, c := range []struct {
		name     string
		job      archive.Job
		account  archive.Account
		switches archive.Switches
		want     Action
		tiers    int
		after    time.Duration
	}{
		{"an archive of a plan", job, premium, archive.Switches{}, Ask, 2, 0},
		{"without a plan", job, nobody, archive.Switches{}, Drop, 0, 0},
		{"of a held plan", job, held, archive.Switches{}, Drop, 0, 0},
		{"ordered by an operator, without a plan", with(func(j *archive.Job) { j.Ordered = true }), nobody, archive.Switches{}, Ask, 2, 0},
		{"ordered by an operator, its tries used up", with(func(j *archive.Job) { j.Ordered, j.History.Tries = true, 5 }), nobody, archive.Switches{}, Operator, 0, 0},
		{"not archived", archive.Job{ID: "j"}, premium, archive.Switches{}, Done, 0, 0},
		{"on its way, and nobody pays", with(func(j *archive.Job) { j.RetrievalID = "r" }), nobody, archive.Switches{}, OnItsWay, 0, 0},
		{"announced, and nobody pays any more", with(func(j *archive.Job) { j.Intent = &archive.Intent{Token: "t"} }), nobody, archive.Switches{}, Adopt, 0, 0},
		{"announced, and everything is stopped", with(func(j *archive.Job) { j.Intent = &archive.Intent{Token: "t"} }), premium, all, Adopt, 0, 0},
		{"announced, its tries used up", with(func(j *archive.Job) { j.Intent, j.History.Tries = &archive.Intent{Token: "t"}, 5 }), premium, archive.Switches{}, Adopt, 0, 0},
		{"tries used up", spent, premium, archive.Switches{}, Operator, 0, 0},
		{"tries used up, and without a plan", spent, nobody, archive.Switches{}, Drop, 0, 0},
		{"left alone for a while", with(func(j *archive.Job) { j.History.NotBefore = now.Add(time.Hour) }), premium, archive.Switches{}, Later, 0, time.Hour},
		{"left alone until a time that a wrong clock wrote", with(func(j *archive.Job) { j.History.NotBefore = now.Add(1000 * time.Hour) }), premium, archive.Switches{}, Later, 0, archive.LongestPause},
		{"left alone for the rest of an instant", with(func(j *archive.Job) { j.History.NotBefore = now.Add(1) }), premium, archive.Switches{}, Later, 0, 1},
		{"left alone long enough", with(func(j *archive.Job) { j.History.NotBefore = now }), premium, archive.Switches{}, Ask, 2, 0},
		{"everything is stopped", job, premium, all, Later, 0, 15 * time.Minute},
		{"the user was stopped a moment ago", job, premium, archive.Switches{Users: map[events.UserID]archive.Hold{"u": {At: now}}}, Later, 0, time.Minute},
		{"the user was stopped a while ago", job, premium, archive.Switches{Users: map[events.UserID]archive.Hold{"u": {At: now.Add(-20 * time.Minute)}}}, Later, 0, 5 * time.Minute},
		{"the user was stopped long ago", job, premium, archive.Switches{Users: map[events.UserID]archive.Hold{"u": {At: now.Add(-20 * time.Hour)}}}, Later, 0, 15 * time.Minute},
		{"another user is stopped", job, premium, archive.Switches{Users: map[events.UserID]archive.Hold{"v": {}}}, Ask, 2, 0},
		{"a tier is stopped", job, premium, archive.Switches{Tiers: map[archive.Tier]archive.Hold{archive.Expedited: {}}}, Ask, 1, 0},
		{"every tier is stopped", job, premium, archive.Switches{Tiers: map[archive.Tier]archive.Hold{archive.Expedited: {}, archive.Standard: {}}}, Later, 0, lookAgain},
	} {
		got := Decide(Question{Job: c.job, Account: c.account, Switches: c.switches, Tiers: archive.DefaultTiers(), Now: now})
		if got.Action != c.want || len(got.Tiers) != c.tiers || got.After != c.after || (got.Cause != "") != (c.want == Operator) || got.Why == "" && c.want != Ask {
			t.Errorf("%s: got %+v, want %s with %d tiers after %s", c.name, got, c.want, c.tiers, c.after)
		}
	}
}
