//go:build firefox

package firefox

import (
	"context"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/gas-restore/gas/internal/archive"
	"github.com/gas-restore/gas/internal/local/stack"
	"github.com/gas-restore/gas/internal/test/stacktest"
)

// TestAPersonInFirefox takes the journeys of journey.mjs.
func TestAPersonInFirefox(t *testing.T) {
	browser, err := exec.LookPath("firefox-esr")
	if err != nil {
		t.Fatal(err)
	}
	fern := func(archived, stored int, size int64) stack.Person {
		return stack.Person{ID: "fern", Name: "Fern Fictive", Role: archive.Free, Archived: archived, Stored: stored, Size: size}
	}
	for _, c := range []struct {
		journey string
		thaws   time.Duration
		person  stack.Person
		env     map[string]string
		before  func(*testing.T, *stack.Stack)
	}{
		{"restored", time.Hour, fern(2, 1, 1<<20), nil, nil},
		{"held", time.Hour, fern(12, 0, 0), map[string]string{"GAS_THAW_USER_BUDGET": "0.02"}, nil},
		{"attention", 200 * time.Millisecond, fern(2, 0, 1<<10), nil, occupy},
		{"live", time.Hour, fern(1, 0, 0), nil, nil},
		{"first", 200 * time.Millisecond, fern(120, 0, 1<<10), map[string]string{"GAS_THAW_RATE": "1", "GAS_THAW_SLOTS": "1"}, nil},
	} {
		t.Run(c.journey, func(t *testing.T) {
			for name, value := range c.env {
				t.Setenv(name, value)
			}
			s := stacktest.Up(t, stack.Options{ExpeditedDelay: c.thaws, Log: slog.New(slog.DiscardHandler)}, c.person)
			if c.before != nil {
				c.before(t, s)
			}
			glacier := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { stacktest.GlacierEnds(s) }))
			defer glacier.Close()
			// The driver's folder has the script beside the packages that it imports.
			script := os.Getenv("GAS_FIREFOX_DRIVER") + "/journey.mjs"
			limit, cancel := context.WithTimeout(t.Context(), 4*time.Minute)
			defer cancel()
			out, err := exec.CommandContext(limit, "node", script, c.journey, s.Config.WebBaseURL, browser, glacier.URL).CombinedOutput()
			t.Logf("%s", out)
			if err != nil {
				t.Error(err)
			}
		})
	}
}

// occupy puts another object at the key of the person's first file.
func occupy(t *testing.T, s *stack.Stack) {
	t.Helper()
	p := stack.Person{ID: "fern"}
	result := p.Job(s.Config.Bucket, 0).Result
	client := s3.NewFromConfig(s.AWSConfig, func(o *s3.Options) { o.UsePathStyle = true })
	if _, err := client.PutObject(t.Context(), &s3.PutObjectInput{Bucket: &result.Bucket, Key: &result.Key, Body: strings.NewReader("of somebody else")}); err != nil {
		t.Fatal(err)
	}
}
