package sim

import (
	"os"
	"strings"
	"sync"
	"testing"

	"github.com/gas-restore/gas/internal/estate"
	localaws "github.com/gas-restore/gas/internal/local/aws"
	"github.com/gas-restore/gas/internal/test/testenv"
)

// busy are a few quick worlds in which the services use almost all that their roles allow. The
// rest has an occasion, see [estate.Occasions].
var busy = append(in("dead-full", "refunds"), // thaw describes overdue retrievals, and spends from a budget
	"point=restore S3.UploadPart;n=1;mode=1",
	"point=restore S3.CreateMultipartUpload;n=0;mode=2",
	"point=thaw Glacier.InitiateJob;n=0;mode=1",
	"point="+confirmation+";n=0;mode=1",
	quiet,
)

// TestTheServicesUseWhatTheirRolesAllow plays worlds, and compares the services' calls with
// their roles. A world fails itself if a role refuses something. With GAS_SIM_LASTING, the
// roles must not allow more than the worlds need; otherwise one world is played.
func TestTheServicesUseWhatTheirRolesAllow(t *testing.T) {
	worlds, all := []string{quiet}, os.Getenv("GAS_SIM_LASTING") != ""
	if all {
		worlds = busy
	}
	var mu sync.Mutex // guards total
	total := newReport()
	t.Run("worlds", func(t *testing.T) {
		for _, what := range worlds {
			t.Run(what, func(t *testing.T) {
				t.Parallel()
				r := elsewhere(t, what)
				mu.Lock()
				defer mu.Unlock()
				total.add(r)
			})
		}
	})
	if len(total.Used) < 40 {
		t.Fatalf("the worlds tell of %d permissions", len(total.Used))
	}
	place := estate.Place{
		Partition: "aws", Region: localaws.DefaultRegion, Account: localaws.DefaultAccount,
		Tables:  estate.Names{Jobs: testenv.Jobs, Accounts: testenv.Accounts, Plans: testenv.Plans},
		Results: testenv.BucketID, Archives: testenv.ColdID, Vault: testenv.VaultID,
		PremiumTopic: "gas-premium", PremiumQueue: "gas-premium", RestoreTopic: "gas-restore", RestoreQueue: "gas-restore",
	}
	nothing := 0
	for _, what := range unused(total.Used) {
		if nothing++; !all {
			continue
		}
		f := strings.Fields(what)
		role, ok := estate.RoleOf(f[0])
		if !ok {
			t.Fatalf("there is no role %s", f[0])
		}
		if role.Occasion(place, f[1], f[2]) == "" {
			t.Errorf("the role allows it, no service did it, and no occasion explains it: %s", what)
		}
	}
	if most := 27; nothing > most {
		t.Errorf("no service did %d of %d things that the roles allow, want %d at most", nothing, len(total.Used), most)
	}
}
