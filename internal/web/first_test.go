package web

import (
	"errors"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/gas-restore/gas/internal/archive"
	"github.com/gas-restore/gas/internal/fault"
	"github.com/gas-restore/gas/pkg/events"
)

const bringFirst = "Bring this one first"

func TestAUserBringsOneFileBeforeTheOthers(t *testing.T) {
	b := newFixture(t, func(c *Config, _ *Deps) { c.Tiers = archive.DefaultTiers() })
	ada := upgraded(t, b, "j1", "j2", "j3")
	page := ada.get("/annotation/j2?list=state%3Dcoming")
	ada.wants(page, 200, bringFirst)
	done := ada.still().post("/annotation/j2/first", page.form(t, "/annotation/j2/first", nil))
	if to := done.Header.Get("Location"); done.StatusCode != 303 || to != "/annotation/j2?list=state%3Dcoming" {
		t.Errorf("the answer is %s, to %q", done.Status, to)
	}
	plan := b.ports.accounts["ada"].Plan
	if plan.First != "j2" || len(b.ports.tasks) != 1 {
		t.Fatalf("the plan is %+v, and %d tasks are published", plan, len(b.ports.tasks))
	}
	if got, ok := b.ports.tasks[0].(events.ThawRequested); !ok || got.JobID != "j2" || got.UserID != "ada" || !got.First || got.Plan != plan.ID || got.ArchiveID != b.ports.jobs["j2"].ArchiveID {
		t.Errorf("the task is %+v", b.ports.tasks[0])
	}
	page = ada.get("/annotation/j2")
	if ada.wants(page, 200, "You chose this file to come first"); strings.Contains(page.body, bringFirst) {
		t.Error("the file is first, and can be chosen again")
	}
	var j apiJob
	if ada.get("/api/v1/jobs/j2").into(t, &j); !j.First {
		t.Errorf("the API says %+v", j)
	}

	// Another one takes its place, and then it again: that is another task.
	b.clock.Add(time.Second)
	for _, id := range []string{"j1", "j2"} {
		ada.post("/annotation/"+id+"/first", ada.get("/annotation/"+id).form(t, "/annotation/"+id+"/first", nil))
		b.clock.Add(time.Second)
	}
	ids := map[string]bool{}
	for _, e := range b.ports.tasks {
		ids[e.MessageID()] = true
	}
	if len(ids) != 3 || b.ports.accounts["ada"].Plan.First != "j2" || strings.Contains(ada.get("/annotation/j1").body, "You chose") {
		t.Errorf("%d different tasks, and first is %s", len(ids), b.ports.accounts["ada"].Plan.First)
	}

	// It stays first on its way, until it is copied.
	b.ports.requested("j2", archive.Expedited, b.clock.Now())
	ada.wants(ada.get("/annotation/j2"), 200, "You chose this file to come first")
	ada.wants(ada.get("/annotation/j2/first"), 200, "You chose this file") // somebody reloads the answer
}

func TestOnlyAFileThatComesCanGoFirst(t *testing.T) {
	b := newFixture(t, func(c *Config, _ *Deps) { c.Tiers = archive.DefaultTiers() })
	ada := upgraded(t, b, "planned", "requested", "copying")
	b.restoredJob("back", "back.vcf", "bytes")
	b.ports.requested("requested", archive.Expedited, b.clock.Now())
	b.ports.requested("copying", archive.Expedited, b.clock.Now())
	told := status("ada", "copying", archive.Copying)
	told.At = b.clock.Now().Add(time.Minute)
	b.ports.tell(told)
	b.ports.change(func() {
		b.ports.jobs["foreign"] = archive.Job{ID: "foreign", UserID: "bob", ArchiveID: "a", ArchiveSize: 1}
	})
	form := ada.get("/annotation/planned").form(t, "/annotation/planned/first", nil)
	for id, want := range map[string]int{"planned": 200, "requested": 200, "copying": 409, "back": 409, "foreign": 404, "nowhere": 404} {
		if page := ada.get("/annotation/" + id); strings.Contains(page.body, bringFirst) != (want == 200) {
			t.Errorf("the page of %s offers it: %v", id, want != 200)
		}
		before := len(b.ports.tasks)
		if a := ada.post("/annotation/"+id+"/first", form); a.StatusCode != want {
			t.Errorf("%s: %s, want %d", id, a.Status, want)
		}
		if got := len(b.ports.tasks) - before; got != map[bool]int{true: 1}[want == 200] {
			t.Errorf("%s: %d tasks", id, got)
		}
		b.plan(func(p *archive.Plan) { p.First = "" })
	}

	// Nothing is changed by a form that is forged, or of a held plan.
	before := len(b.ports.tasks)
	if a := ada.post("/annotation/planned/first", url.Values{"csrf": {"x"}}); a.StatusCode != 403 {
		t.Errorf("a forged form: %s", a.Status)
	}
	if a := b.browser().post("/annotation/planned/first", form); a.StatusCode != 401 {
		t.Errorf("of nobody: %s", a.Status)
	}
	b.hold()
	if a := ada.post("/annotation/planned/first", form); a.StatusCode != 409 || strings.Contains(ada.get("/annotation/planned").body, bringFirst) {
		t.Errorf("of a held plan: %s", a.Status)
	}
	if len(b.ports.tasks) != before || b.ports.accounts["ada"].Plan.First != "" {
		t.Errorf("first is %q, and %d tasks are published", b.ports.accounts["ada"].Plan.First, len(b.ports.tasks)-before)
	}
}

func TestTheOnlyFileIsNotOfferedToGoFirst(t *testing.T) {
	b := newFixture(t, func(c *Config, _ *Deps) { c.Tiers = archive.DefaultTiers() })
	if page := upgraded(t, b, "j1").get("/annotation/j1"); strings.Contains(page.body, bringFirst) {
		t.Error("it is offered")
	}
}

// The page must not say that a file goes first if nobody heard the order.
func TestAFileThatCannotBeMovedToTheFrontIsNotCalledFirst(t *testing.T) {
	b := newFixture(t, func(c *Config, _ *Deps) { c.Tiers = archive.DefaultTiers() })
	ada := upgraded(t, b, "j1", "j2")
	form := ada.get("/annotation/j1").form(t, "/annotation/j1/first", nil)
	for call, want := range map[string]int{"Publish": 503, "SetFirst": 503} {
		b.ports.change(func() { b.ports.faults[call] = fault.New(fault.Transient, errors.New("away")) })
		a := ada.post("/annotation/j1/first", form)
		if ada.wants(a, want); len(b.ports.tasks) != 0 || b.ports.accounts["ada"].Plan.First != "" {
			t.Errorf("%s fails: first is %q", call, b.ports.accounts["ada"].Plan.First)
		}
	}
	b.ports.change(func() { b.ports.faults["SetFirst"] = fault.Errorf(fault.Conflict, "another plan") })
	ada.wants(ada.post("/annotation/j1/first", form), 409, "Your plan has changed")
	ada.wants(ada.post("/annotation/j1/first", form), 200, "You chose")
}
