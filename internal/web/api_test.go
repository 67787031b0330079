package web

import (
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/gas-restore/gas/internal/archive"
)

// into reads a's JSON into v.
func (a answer) into(t *testing.T, v any) {
	t.Helper()
	if err := json.Unmarshal([]byte(a.body), v); err != nil {
		t.Fatalf("%s answers %s %q: %v", a.Request.URL, a.Status, a.body, err)
	}
}

func TestTheAPITellsWhatThePagesTell(t *testing.T) {
	b := newFixture(t)
	start := b.clock.Now().UTC().Truncate(time.Second)
	for i, id := range []string{"j1", "j2", "j3", "j4"} {
		b.ports.archived("ada", jobID(id), start.Add(time.Duration(i)*time.Minute))
	}
	b.ports.archived("bob", "theirs", start)
	ada := b.browser()
	ada.signIn("ada", "/")

	var account apiAccount
	ada.get("/api/v1/account").into(t, &account)
	if account.ID != "ada" || account.Plan != "free" {
		t.Fatalf("the account is %+v", account)
	}
	var ids []string
	for next := "/api/v1/jobs"; next != ""; {
		var page struct {
			Jobs []apiJob
			Next string
		}
		ada.get(next).into(t, &page)
		for _, j := range page.Jobs {
			ids = append(ids, string(j.ID)+" "+string(j.State))
		}
		next = page.Next
	}
	if got, want := strings.Join(ids, ", "), "j4 archived, j3 archived, j2 archived, j1 archived"; got != want {
		t.Errorf("the jobs are %s, want %s", got, want)
	}

	for range 2 {
		if a := ada.post("/api/v1/subscription", nil, csrfHeader, account.CSRF); a.StatusCode != 200 {
			t.Fatalf("the upgrade answers %s %s", a.Status, a.body)
		}
	}
	b.ports.requested("j1", archive.Standard, start)
	b.ports.restored("j2", "content")
	var thawing, back apiJob
	ada.get("/api/v1/jobs/j1").into(t, &thawing)
	if thawing.State != archive.Requested || thawing.Tier != archive.Standard || thawing.Sentence != archive.Restoring ||
		thawing.Expected == nil || !thawing.Expected.From.Equal(start.Add(3*time.Hour)) || !thawing.Expected.To.Equal(start.Add(5*time.Hour)) || thawing.Download != "" {
		t.Errorf("a job that thaws is %+v", thawing)
	}
	ada.get("/api/v1/jobs/j2").into(t, &back)
	if a := ada.get(back.Download); a.body != "content" {
		t.Errorf("%q downloads %q", back.Download, a.body)
	}
	b.ports.change(func() { clear(b.ports.objects) })
	back = apiJob{}
	if ada.get("/api/v1/jobs/j2").into(t, &back); back.Download != "" || back.Sentence != missing {
		t.Errorf("a missing object is offered: %+v", back)
	}
}

func TestTheAPIRefusesInProblemJSON(t *testing.T) {
	b := newFixture(t)
	b.ports.archived("ada", "j1", b.clock.Now())
	ada, bob, nobody := b.browser(), b.browser(), b.browser()
	ada.signIn("ada", "/")
	bob.signIn("bob", "/")
	token := bob.get("/subscribe").form(t, "/subscribe", nil).Get("csrf")
	for name, tt := range map[string]struct {
		a    answer
		want int
	}{
		"another's job":        {bob.get("/api/v1/jobs/j1"), 404},
		"a job that never was": {bob.get("/api/v1/jobs/j0"), 404},
		"no such address":      {bob.get("/api/v1/nothing"), 404},
		"a made-up cursor":     {bob.get("/api/v1/jobs?after=made-up"), 400},
		"a long cursor":        {bob.get("/api/v1/jobs?after=" + strings.Repeat("x", maxCursor+1)), 400},
		"a made-up event id":   {bob.get("/api/v1/events?after=x"), 400},
		"no token":             {bob.post("/api/v1/subscription", nil), 403},
		"another's token":      {ada.post("/api/v1/subscription", nil, csrfHeader, token), 403},
		"a foreign origin":     {bob.post("/api/v1/subscription", nil, csrfHeader, token, "Origin", "https://evil.example"), 403},
		"nobody's jobs":        {nobody.get("/api/v1/jobs"), 401},
		"nobody's job":         {nobody.get("/api/v1/jobs/j1"), 401},
		"nobody's account":     {nobody.get("/api/v1/account"), 401},
		"nobody's events":      {nobody.get("/api/v1/events"), 401},
		"nobody's upgrade":     {nobody.post("/api/v1/subscription", url.Values{"csrf": {token}}), 401},
	} {
		var p struct {
			Title, Detail, Instance string
			Status                  int
		}
		tt.a.into(t, &p)
		if tt.a.StatusCode != tt.want || p.Status != tt.want || p.Title == "" || p.Detail == "" || p.Instance != "urn:gas:request:"+tt.a.Header.Get("X-Request-Id") {
			t.Errorf("%s: answers %s %s, want %d", name, tt.a.Status, tt.a.body, tt.want)
		}
		if got := tt.a.Header.Get("Content-Type"); got != mimeProblem {
			t.Errorf("%s: is of type %q", name, got)
		}
	}
	if len(b.ports.announced) != 0 {
		t.Errorf("a refused upgrade was announced: %v", b.ports.announced)
	}
}

func TestTheDescriptionNamesEveryRouteOfTheAPI(t *testing.T) {
	b := newFixture(t)
	var doc struct{ Paths map[string]map[string]any }
	b.browser().get("/api/v1/openapi.json").into(t, &doc)
	described := map[string]bool{}
	for path, methods := range doc.Paths {
		for method := range methods {
			described[strings.ToUpper(method)+" "+strings.ReplaceAll(path, "{id}", ":id")] = true
		}
	}
	served := 0
	for _, r := range b.site.app.GetRoutes(true) {
		if !strings.HasPrefix(r.Path, apiPath) || r.Method == http.MethodHead {
			continue
		}
		served++
		if !described[r.Method+" "+r.Path] {
			t.Errorf("%s %s is not described", r.Method, r.Path)
		}
	}
	if served != len(described) {
		t.Errorf("%d routes are served, %d described", served, len(described))
	}
}

// TestAPageIsLight counts the bytes of a page with all its files, before compression.
func TestAPageIsLight(t *testing.T) {
	const plain, scripted = 50 << 10, 100 << 10
	b := newFixture(t, func(c *Config, _ *Deps) { c.PageSize = 25 })
	for i := range 30 {
		b.ports.archived("ada", jobID(strings.Repeat("x", 36)+string(rune('a'+i%26))+string(rune('a'+i/26))), b.clock.Now())
	}
	b.ports.archived("ada", "j1", b.clock.Now())
	ada := b.browser()
	ada.signIn("ada", "/")
	size := func(name string) int { return len(ada.get(b.site.views.names[name]).body) }
	styles, script := size("gas.css")+size("icon.svg"), size("gas.js")
	for _, path := range []string{"/", "/annotations", "/annotation/j1", "/subscribe", "/nothing"} {
		html := len(ada.get(path).body)
		t.Logf("%-16s %6d bytes, %6d with the script", path, html+styles, html+styles+script)
		if html+styles > plain || html+styles+script > scripted {
			t.Errorf("%s has %d bytes, %d with the script; at most %d and %d", path, html+styles, html+styles+script, plain, scripted)
		}
	}
}
