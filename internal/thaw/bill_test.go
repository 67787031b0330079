package thaw_test

import (
	"log/slog"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/gas-restore/gas/internal/archive"
	localaws "github.com/gas-restore/gas/internal/local/aws"
	"github.com/gas-restore/gas/internal/test/testenv"
	"github.com/gas-restore/gas/internal/test/testlog"
	"github.com/gas-restore/gas/internal/thaw"
)

// TestAnArchiveWithoutASizeIsBilledByWhatGlacierSays has a catalog without sizes, like the
// catalog of the annotation service. Then Glacier's size of the retrieval counts, on the bill
// and in the budgets. It counts even if it is larger than the assumed size.
func TestAnArchiveWithoutASizeIsBilledByWhatGlacierSays(t *testing.T) {
	body := make([]byte, 3<<20)
	for _, c := range []struct {
		name    string
		assumed int64
		fault   *localaws.Fault
		size    int64 // on the bill
	}{
		{"less than was assumed", 1 << 30, nil, 3 << 20},
		{"more than was assumed", 1, nil, 3 << 20},
		{"Glacier does not tell", 1 << 30, &localaws.Fault{Service: "glacier", Operation: "DescribeJob", Code: "AccessDeniedException", Status: 403}, 1 << 30},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := newFixture(t)
			var lines testlog.Lines
			b.Log = slog.New(slog.NewTextHandler(&lines, nil))
			b.AssumedSize, b.Limits = c.assumed, thaw.Limits{Day: archive.Dollar}
			b.Account("u", archive.Premium)
			job := b.Archive("u", "j1", body)
			b.SetAttribute("j1", "archive_size", &types.AttributeValueMemberNULL{Value: true})
			if c.fault != nil {
				if err := b.Faults.Add(*c.fault); err != nil {
					t.Fatal(err)
				}
			}
			var out testenv.Emitted
			if err := b.Request(t.Context(), b.task(job), out.Emit); err != nil {
				t.Fatal(err)
			}
			if n := len(lines.With("size is not known")); (n == 1) != (c.fault != nil) || n > 1 {
				t.Errorf("%d lines say that the size is not known", n)
			}
			want, now := b.Prices.Of(archive.Vault, archive.Expedited, 1, c.size), b.Job("j1")
			if now.Billed != want || (now.ArchiveSize != c.size) != (c.fault != nil) {
				t.Errorf("billed %s for %d bytes, want %s", now.Billed, now.ArchiveSize, want)
			}
			spent, _, err := b.AWS.Catalog.Spent(t.Context(), b.now.UTC().Format(time.DateOnly), "u")
			if err != nil || spent != want {
				t.Errorf("%s is entered into the budgets, %v, want %s", spent, err, want)
			}
		})
	}
}
