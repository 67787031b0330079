package web

import (
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/gas-restore/gas/internal/archive"
	"github.com/gas-restore/gas/pkg/events"
)

// upgraded makes ada Premium with files in the archive.
func upgraded(t *testing.T, b *fixture, jobs ...events.JobID) *browser {
	t.Helper()
	for _, id := range jobs {
		b.ports.archived("ada", id, b.clock.Now())
	}
	ada := b.browser()
	ada.signIn("ada", "/subscribe")
	ada.post("/subscribe", ada.get("/subscribe").form(t, "/subscribe", nil))
	return ada
}

// plan changes the plan of ada.
func (b *fixture) plan(change func(*archive.Plan)) {
	b.ports.change(func() {
		a := b.ports.accounts["ada"]
		plan := *a.Plan
		change(&plan)
		a.Plan = &plan
		b.ports.accounts["ada"] = a
	})
}

func (b *fixture) hold() {
	b.plan(func(p *archive.Plan) { p.State, p.HeldBy = archive.PlanHeld, "$0.12 for this user" })
	b.clock.Add(overviewQuiet)
}

// promise finds a time or a hurry in a page.
var promise = regexp.MustCompile(`[Uu]sually|between|coming back|on the way|on its way|for them again|within minutes|starts automatically`)

func TestAHeldPlanPromisesNothing(t *testing.T) {
	b := newFixture(t, func(c *Config, _ *Deps) { c.Tiers = archive.DefaultTiers() })
	ada := upgraded(t, b, "j1", "j2", "j3")
	b.hold()
	for path, want := range map[string]string{
		"/annotations":               "3 files wait for approval",
		"/annotations?state=waiting": "sample-j1.vcf",
		"/annotation/j1":             "Waiting for approval",
		"/subscribe":                 "You are Premium",
		"/account":                   "wait for approval",
	} {
		page := ada.get(path)
		ada.wants(page, 200, want, "wait for approval", "do not need to ask again")
		if found := promise.FindString(page.text(t)); found != "" {
			t.Errorf("%s promises %q although nothing is requested: %s", path, found, page.text(t))
		}
		if strings.Contains(page.text(t), "$0.12") {
			t.Errorf("%s tells the operator's reason", path)
		}
		b.clock.Add(time.Minute)
	}
	if got := ada.get("/annotations?state=coming").text(t); strings.Contains(got, "sample-j1") {
		t.Errorf("a held file is listed among those that come: %s", got)
	}
	if got := strings.Count(ada.get("/annotations").body, ">Waiting for approval</span>"); got != 3 {
		t.Errorf("%d rows wait for approval, want 3", got)
	}
	var j apiJob
	if ada.get("/api/v1/jobs/j1").into(t, &j); j.Expected != nil || j.Label != "Waiting for approval" || j.State != "held" {
		t.Errorf("the API says %+v", j)
	}
	if a := ada.get("/api/v1/archive"); strings.Contains(a.body, `"by"`) || !strings.Contains(a.body, `"waiting":3`) || !strings.Contains(a.body, `"coming":0`) {
		t.Errorf("the API says %s", a.body)
	}
}

func TestWhatIsPaidForComesBackWhileTheRestIsHeld(t *testing.T) {
	b := newFixture(t, func(c *Config, _ *Deps) { c.Tiers = archive.DefaultTiers() })
	ada := upgraded(t, b, "j1", "j2", "j3")
	b.ports.requested("j1", archive.Standard, b.clock.Now())
	b.ports.change(func() {
		j := b.ports.jobs["j2"]
		j.Intent = &archive.Intent{Token: "t", At: b.clock.Now()}
		b.ports.jobs["j2"] = j
	})
	b.hold()
	ada.wants(ada.get("/annotations"), 200, "1 file waits for approval", "0 of 3 back", "2 were requested before and come back all the same")
	ada.wants(ada.get("/annotation/j1"), 200, archive.Restoring, "Usually out of the archive between")
	for id, want := range map[string]string{"j1": "Being restored", "j2": "Being restored", "j3": "Waiting for approval"} {
		var j apiJob
		if ada.get("/api/v1/jobs/"+id).into(t, &j); j.Label != want {
			t.Errorf("%s is %q, want %q", id, j.Label, want)
		}
	}
}

func TestAskingAgainForWhatIsHeldAsksForNothing(t *testing.T) {
	b := newFixture(t)
	ada := upgraded(t, b, "j1")
	csrf := ada.get("/annotations").form(t, "/logout", nil).Get("csrf")
	pause := archive.Hold{Reason: "the vault moves", At: time.Now()}
	for name, wait := range map[string]func(){
		"held":   b.hold,
		"paused": func() { b.ports.change(func() { b.ports.stops.All = &pause }) },
	} {
		wait()
		if page := ada.get("/subscribe"); strings.Contains(page.body, `action="/subscribe"`) {
			t.Errorf("%s: the page asks to ask again", name)
		}
		for range 2 { // as from a tab that was open before
			ada.wants(ada.post("/subscribe", url.Values{"csrf": {csrf}}), 200)
			if a := ada.post("/api/v1/subscription", nil, csrfHeader, csrf); a.StatusCode != 200 {
				t.Errorf("%s: the API answers %s", name, a.Status)
			}
		}
		b.ports.change(func() {
			if n := len(b.ports.announced); n != 1 {
				t.Errorf("%s: announced %d times, want once: each message is another held plan for the operator", name, n)
			}
		})
	}
}

func TestAPausePromisesNothing(t *testing.T) {
	hold := archive.Hold{Reason: "the vault moves.", At: time.Now()}
	tiers := map[archive.Tier]archive.Hold{archive.Expedited: hold, archive.Standard: hold}
	for name, c := range map[string]struct {
		stops  archive.Switches
		paused bool
	}{
		"everything":      {archive.Switches{All: &hold}, true},
		"the user":        {archive.Switches{Users: map[events.UserID]archive.Hold{"ada": hold}}, true},
		"every tier":      {archive.Switches{Tiers: tiers}, true},
		"one of two":      {archive.Switches{Tiers: map[archive.Tier]archive.Hold{archive.Expedited: hold}}, false},
		"another user":    {archive.Switches{Users: map[events.UserID]archive.Hold{"bob": hold}}, false},
		"nothing at all":  {archive.Switches{}, false},
		"a tier not used": {archive.Switches{Tiers: map[archive.Tier]archive.Hold{archive.Bulk: hold}}, false},
	} {
		t.Run(name, func(t *testing.T) {
			b := newFixture(t, func(c *Config, _ *Deps) { c.Tiers = archive.DefaultTiers() })
			ada := upgraded(t, b, "j1", "j2")
			b.ports.change(func() { b.ports.stops = c.stops })
			b.clock.Add(overviewQuiet)
			for _, path := range []string{"/annotations", "/annotation/j1", "/subscribe"} {
				page := ada.get(path)
				says := strings.Contains(page.text(t), "paused bringing files back: the vault moves.")
				if says != c.paused || (promise.FindString(page.text(t)) == "") != c.paused {
					t.Errorf("%s says %q", path, page.text(t))
				}
			}
			label := map[bool]string{true: "Archived", false: "Being restored"}[c.paused]
			if got := strings.Count(ada.get("/annotations").body, ">"+label+"</span>"); got != 2 {
				t.Errorf("%d rows are %s, want 2", got, label)
			}
		})
	}
}

func TestWhatAnOperatorOrderedComesBackToAFreeUser(t *testing.T) {
	b := newFixture(t)
	b.ports.archived("ada", "j1", b.clock.Now())
	b.ports.archived("ada", "j2", b.clock.Now())
	b.ports.change(func() {
		j := b.ports.jobs["j1"]
		j.Ordered = true
		b.ports.jobs["j1"] = j
	})
	ada := b.browser()
	ada.wants(ada.signIn("ada", "/annotations"), 200, "1 file requested before still comes back")
	for id, want := range map[string]string{"j1": "Being restored", "j2": "Archived"} {
		if page := ada.get("/annotation/" + id); !strings.Contains(page.text(t), want) {
			t.Errorf("%s: %s, want %s", id, page.text(t), want)
		}
	}
}

func TestTimesAreNeverInThePast(t *testing.T) {
	b := newFixture(t, func(c *Config, _ *Deps) { c.Tiers, c.SessionIdle = archive.DefaultTiers(), 12*time.Hour })
	ada := upgraded(t, b, "j1", "j2", "j3")
	begin := b.clock.Now()
	at := func(d time.Duration) string { return utc(begin.Add(d)) }
	// Nothing is requested yet, so any tier may be used.
	ada.wants(ada.get("/annotations"), 200, "Usually all back between "+at(time.Minute)+" and "+at(5*time.Hour))

	// As soon as the tiers are known, the banner knows better.
	for _, id := range []events.JobID{"j1", "j2", "j3"} {
		b.ports.requested(id, archive.Expedited, begin)
	}
	b.moves("ada")
	b.clock.Add(overviewAge)
	ada.wants(ada.get("/annotations"), 200, "Usually all back between "+at(time.Minute)+" and "+at(5*time.Minute))

	b.ports.requested("j3", archive.Standard, begin)
	b.clock.Add(10 * time.Minute)
	ada.wants(ada.get("/annotations"), 200, "2 of them take longer than usual: the archive should have handed the first over by "+at(5*time.Minute), "Usually the others back between "+at(3*time.Hour)+" and "+at(5*time.Hour))
	page := ada.get("/annotation/j1")
	ada.wants(page, 200, archive.Restoring, "longer than usual: the archive should have handed the file over by "+at(5*time.Minute), "We keep checking")
	if strings.Contains(page.text(t), "Usually out of") {
		t.Errorf("the page of a late file says when it usually comes: %s", page.text(t))
	}
	var j apiJob
	if ada.get("/api/v1/jobs/j1").into(t, &j); j.Expected != nil || !j.LateSince.Equal(begin.Add(5*time.Minute).UTC().Truncate(0)) {
		t.Errorf("the API says %+v", j)
	}
	ada.wants(ada.get("/subscribe"), 200, "on its way")

	// A file that is being copied is not late: the archive has handed it over.
	copying := status("ada", "j2", archive.Copying)
	copying.At = b.clock.Now()
	b.ports.tell(copying)
	b.clock.Add(overviewQuiet)
	ada.wants(ada.get("/annotations"), 200, "1 of them takes longer than usual")
	if page := ada.get("/annotation/j2").text(t); strings.Contains(page, "longer than usual") {
		t.Errorf("the page of a file that is copied says %s", page)
	}

	b.clock.Add(6 * time.Hour)
	list := ada.get("/annotations")
	ada.wants(list, 200, "0 of 3 back", "2 of them take longer than usual")
	if strings.Contains(list.text(t), "Usually") {
		t.Errorf("when all are late, the list says %s", list.text(t))
	}
	// Nobody knows when a file comes that was not requested in time.
	b.ports.archived("ada", "j4", begin)
	b.clock.Add(overviewQuiet)
	if page := ada.get("/annotation/j4").text(t); promise.MatchString(strings.ReplaceAll(page, "starts automatically", "")) {
		t.Errorf("the page of a file that was not requested in time says %s", page)
	}
}
