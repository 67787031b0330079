package observability_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/gas-restore/gas/internal/archive"
	localaws "github.com/gas-restore/gas/internal/local/aws"
	"github.com/gas-restore/gas/internal/local/demo"
	"github.com/gas-restore/gas/internal/local/stack"
	"github.com/gas-restore/gas/pkg/events"
)

// TestAnOutageOfAWSHasFewLinesInTheLog takes one service of AWS after the other away while
// files come back, and counts the lines that an operator reads.
func TestAnOutageOfAWSHasFewLinesInTheLog(t *testing.T) {
	const files = 40
	for _, c := range []struct {
		service string
		calls   int // that fail
		files   int // that come back. After a request without an answer, an intent lives a minute
	}{{"s3", 48, files}, {"glacier", 48, 0}, {"dynamodb", 48, files}, {"sqs", 24, files}} {
		t.Run(c.service, func(t *testing.T) {
			t.Parallel()
			r := start(t, []stack.Person{{ID: "fern", Name: "Fern", Role: archive.Free, Archived: files, Size: 1000}}, stack.InVault)
			begin := func() {
				if err := r.AWS.Faults.Add(localaws.Fault{Service: c.service, Cut: true}); err != nil {
					t.Fatal(err)
				}
			}
			if c.service != "dynamodb" { // without it nobody can sign in
				begin()
			}
			if err := demo.Subscribe(t.Context(), r.Config.WebBaseURL, "fern"); err != nil {
				t.Fatal(err)
			}
			if c.service == "dynamodb" {
				begin()
			}
			ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
			defer cancel()
			tick := time.NewTicker(20 * time.Millisecond)
			defer tick.Stop()
			failed := 0
			for failed < c.calls {
				select {
				case <-tick.C:
				case <-ctx.Done():
					t.Fatalf("%d calls failed", failed)
				}
				failed = 0
				for _, n := range r.AWS.Faults.Fired() {
					failed += n
				}
			}
			r.AWS.Faults.Clear()
			back := map[events.JobID]bool{}
			for e := range r.Bus.FollowStatus(ctx, "fern", events.Position{}) {
				if e.State == archive.Restored {
					back[e.JobID] = true
				}
				if len(back) >= c.files {
					break
				}
			}
			if len(back) < c.files {
				t.Fatalf("%d of %d files are back", len(back), c.files)
			}
			var loud []string
			for line := range strings.Lines(r.log.String()) {
				if strings.Contains(line, "level=WARN") || strings.Contains(line, "level=ERROR") {
					loud = append(loud, line)
				}
			}
			// One for each worker that needs the service, one for its caution, and what the
			// sweep and the site cannot do.
			if most := 8; len(loud) > most || len(loud) == 0 {
				t.Errorf("%d lines about %d failed calls, want 1 to %d:\n%s", len(loud), failed, most, strings.Join(loud, ""))
			}
			t.Logf("%d lines about %d failed calls", len(loud), failed)
		})
	}
}
