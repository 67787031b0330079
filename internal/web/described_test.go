package web

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gas-restore/gas/internal/archive"
	"github.com/gas-restore/gas/pkg/events"
)

// TestEachDescribedAnswerIsGiven asks for every answer of openapi.json. With GAS_OPENAPI_ANSWERS
// it keeps them in that folder, where `make openapi` has a validator look at them.
func TestEachDescribedAnswerIsGiven(t *testing.T) {
	b := newFixture(t, func(c *Config, _ *Deps) {
		c.APIAudience, c.APIScope, c.Tiers = "gas-api", "gas", archive.DefaultTiers()
	})
	at := b.clock.Now()
	b.restoredJob("ready", "ready.vcf", "bytes")
	b.restoredJob("gone", "gone.vcf", "bytes")
	for _, id := range []events.JobID{"requested", "late", "copying", "planned", "given-up"} {
		b.ports.archived("ada", id, at)
	}
	b.ports.requested("requested", archive.Standard, at)
	b.ports.requested("late", archive.Expedited, at.Add(-time.Hour))
	b.ports.requested("copying", archive.Expedited, at)
	b.ports.tell(events.StatusChanged{UserID: "ada", JobID: "copying", State: archive.Copying, Bytes: 1, Size: 2, At: at.Add(time.Minute)})
	b.ports.requested("given-up", archive.Standard, at)
	b.stuck("given-up")
	b.ports.change(func() {
		ready := b.ports.jobs["ready"]
		ready.Log = archive.Object{Bucket: "gas-results", Key: "ready.log"}
		b.ports.jobs["ready"] = ready
		b.ports.objects[ready.Log] = "a log"
		delete(b.ports.objects, b.ports.jobs["gone"].Result)
		b.ports.jobs["running"] = archive.Job{ID: "running", UserID: "ada", Status: "RUNNING", SubmittedAt: at}
		b.ports.jobs["failed"] = archive.Job{ID: "failed", UserID: "ada", Status: "FAILED", SubmittedAt: at}
	})
	b.signedIn("ada", "")
	token, err := b.provider.Sign("at+jwt", map[string]any{"iss": b.idp, "sub": "ada", "aud": "gas-api", "exp": at.Add(time.Hour).Unix(), "scope": "gas"})
	if err != nil {
		t.Fatal(err)
	}
	dir := os.Getenv("GAS_OPENAPI_ANSWERS")
	given := map[string]bool{}
	n := 0
	ask := func(method, template, path string, header ...string) answer {
		t.Helper()
		credentials := token
		if slices.Contains(header, "nobody") {
			credentials, header = "", nil
		}
		a := b.script(t, method, apiPath+path, credentials, header...)
		status := fmt.Sprint(a.StatusCode)
		if a.StatusCode >= 400 {
			status = "default"
		}
		given[method+" "+apiPath+template+" "+status] = true
		if n++; dir != "" {
			data, err := json.Marshal(map[string]any{"method": method, "path": apiPath + template, "status": a.StatusCode, "type": a.Header.Get("Content-Type"), "location": a.Header.Get("Location"), "body": a.body})
			if err == nil {
				err = os.WriteFile(filepath.Join(dir, fmt.Sprintf("%03d.json", n)), data, 0o600)
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		return a
	}
	ask("POST", "/subscription", "/subscription")
	ask("POST", "/subscription", "/subscription", "nobody")
	for _, path := range []string{"/openapi.json", "/account", "/archive", "/jobs", "/manifest"} {
		known := ask("GET", path, path).Header.Get("ETag")
		if path != "/manifest" {
			if a := ask("GET", path, path, "If-None-Match", known); a.StatusCode != 304 {
				t.Errorf("%s answers %s", path, a.Status)
			}
		}
		if path != "/openapi.json" {
			ask("GET", path, path, "nobody")
		}
	}
	b.ports.change(func() { b.ports.faults["Account"] = fmt.Errorf("away") })
	ask("GET", "/archive", "/archive")
	for _, query := range []string{"?last=1", "?state=coming", "?sort=size-reversed", "?sort=x", "?q=%ff"} {
		ask("GET", "/jobs", "/jobs"+query)
	}
	for id := range b.ports.jobs {
		ask("GET", "/jobs/{id}", "/jobs/"+string(id))
	}
	ask("GET", "/jobs/{id}", "/jobs/nowhere")
	ask("GET", "/jobs/{id}", "/jobs/ready", "If-None-Match", "*")
	ask("GET", "/jobs/{id}/download", "/jobs/ready/download")
	ask("GET", "/jobs/{id}/download", "/jobs/requested/download")
	ask("POST", "/jobs/{id}/first", "/jobs/planned/first")
	ask("POST", "/jobs/{id}/first", "/jobs/ready/first")
	ask("GET", "/manifest", "/manifest?set=ready")
	ask("GET", "/manifest", "/manifest?set=x")
	ask("GET", "/events", "/events", "Last-Event-ID", "no position")
	ask("DELETE", "/subscription", "/subscription")
	ask("DELETE", "/subscription", "/subscription", "nobody")

	var doc struct {
		Paths map[string]map[string]struct {
			Responses map[string]json.RawMessage
		}
	}
	b.browser().get(apiPath+"/openapi.json").into(t, &doc)
	for path, methods := range doc.Paths {
		for method, op := range methods {
			for status := range op.Responses {
				answer := strings.ToUpper(method) + " " + path + " " + status
				stream := path == apiPath+eventsPath && status == "200" // it does not end
				always := path == apiPath+"/openapi.json" && status == "default"
				if !given[answer] && !stream && !always {
					t.Errorf("%s is described and was not given", answer)
				}
				delete(given, answer)
			}
		}
	}
	for answer := range given {
		t.Errorf("%s was given and is not described", answer)
	}
	if n < 30 {
		t.Errorf("%d answers", n)
	}
}
