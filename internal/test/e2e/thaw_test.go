package e2e

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/glacier"
	"github.com/aws/aws-sdk-go-v2/service/glacier/types"

	"github.com/gas-restore/gas/internal/bus"
	"github.com/gas-restore/gas/internal/thaw"
	"github.com/gas-restore/gas/pkg/events"
)

func setting(t *testing.T, name string, n int) int {
	t.Helper()
	if s := os.Getenv(name); s != "" {
		var err error
		if n, err = strconv.Atoi(s); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
	}
	return n
}

// countRetrievals returns what Glacier lists, by archive.
func countRetrievals(t *testing.T, ctx context.Context, cfg aws.Config, vault string) map[string][]types.GlacierJobDescription {
	t.Helper()
	got := map[string][]types.GlacierJobDescription{}
	pages := glacier.NewListJobsPaginator(glacier.NewFromConfig(cfg), &glacier.ListJobsInput{AccountId: aws.String("-"), VaultName: aws.String(vault)})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			t.Fatal(err)
		}
		for _, j := range page.JobList {
			if j.Action == types.ActionCodeArchiveRetrieval {
				got[*j.ArchiveId] = append(got[*j.ArchiveId], j)
			}
		}
	}
	return got
}

// TestKilledThawsRequestEachArchiveOnce kills thaws with SIGKILL while Glacier
// has no Expedited capacity for three calls in ten and throttles one in twenty:
// all of them in the middle of the plan, then one after another at random.
// GAS_CRASH_FILES, GAS_CRASH_WORKERS and GAS_CRASH_KILLS make it long.
func TestKilledThawsRequestEachArchiveOnce(t *testing.T) {
	t.Parallel()
	files, workers, kills := setting(t, "GAS_CRASH_FILES", 500), setting(t, "GAS_CRASH_WORKERS", 2), setting(t, "GAS_CRASH_KILLS", 3)
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute+time.Duration(files/10)*time.Second)
	defer cancel()
	l := up(t, ctx, "aws,nats,idp", "--tier-delay", "24h", "--files", strconv.Itoa(files), "--size", "10")
	// Other workers take over a killed worker's intents after three call times.
	l.env = append(l.env, "GAS_THAW_CALL_TIME=2s")
	l.call("DELETE", "counts", "")
	l.call("POST", "refusal?p=0.3", "")
	l.call("POST", "latency?d=5ms", "")
	l.call("POST", "faults", `[{"service": "glacier", "operation": "InitiateJob", "probability": 0.05, "code": "ThrottlingException", "status": 400},
		{"service": "dynamodb", "probability": 0.05, "code": "ProvisionedThroughputExceededException", "status": 400}]`)
	b := l.bus()
	state := func(stream string) (messages, last uint64) {
		st, err := b.JS.Stream(ctx, stream)
		if err != nil {
			t.Fatal(err)
		}
		s := st.CachedInfo().State
		return s.Msgs, s.LastSeq
	}

	began := time.Now()
	thaws := make([]*process, workers)
	var dead []*process
	for i := range thaws {
		thaws[i] = l.start("thaw")
	}
	kill := func(i int) {
		thaws[i].Process.Kill()
		dead = append(dead, thaws[i])
		thaws[i] = l.start("thaw")
	}
	upgrade := events.UserUpgraded{ID: "crash", UserID: "fern", UpgradedAt: time.Now(), Via: events.ViaOperator}
	if _, err := b.Publish(ctx, upgrade); err != nil {
		t.Fatal(err)
	}
	until(t, ctx, "a part of the plan", func() bool { _, last := state(events.StreamThaw); return last > uint64(files)/5 })
	for i := range thaws {
		kill(i)
	}
	// Kills are spread over the work: each comes after so many more calls.
	for n := range kills {
		target := (n + 1) * files / (kills + 2)
		until(t, ctx, "more retrievals", func() bool { return l.counts()["glacier.InitiateJob"] >= target })
		kill(rand.IntN(workers))
	}
	until(t, ctx, "the plan and every request to be done", func() bool {
		premium, _ := state(events.StreamPremium)
		tasks, _ := state(events.StreamThaw)
		return premium+tasks == 0
	})
	took := time.Since(began)

	fired, calls := string(l.call("GET", "fired", "")), l.counts()
	l.call("DELETE", "faults", "")
	l.call("POST", "latency?d=0s", "")
	tiers := map[string]int{}
	retrievals := countRetrievals(t, ctx, l.cfg, l.vars["GAS_VAULT"])
	for _, rs := range retrievals {
		for _, r := range rs {
			tiers[*r.Tier]++
		}
	}
	doubles, saved, jobs := 0, 0, 0
	for job, err := range l.catalog().AllArchived(ctx) {
		if err != nil {
			t.Fatal(err)
		}
		if job.UserID != "fern" {
			continue
		}
		jobs++
		found := retrievals[string(job.ArchiveID)]
		doubles += max(len(found)-1, 0)
		if len(found) > 0 && string(job.RetrievalID) == *found[0].JobId && job.Intent == nil && job.Billed > 0 {
			saved++
		}
	}
	note, _, err := b.KV(bus.BucketPlans).Get(ctx, thaw.PlanPrefix(upgrade.UserID)+events.Token(upgrade.ID))
	if err != nil {
		t.Fatal(err)
	}
	plan, err := thaw.DecodeProgress(note)
	if err != nil {
		t.Fatal(err)
	}
	letters, _ := state(events.StreamDead)
	adopted, resumed := 0, 0
	for _, p := range append(dead, thaws...) {
		adopted += strings.Count(p.log.String(), "adopted a retrieval")
		resumed += strings.Count(p.log.String(), "the plan goes on")
	}
	summary := fmt.Sprintf("%d archives, %d workers, %d kills, %s: %d distinct retrievals (%v), %d doubles, %d saved, plan %s, resumed %d times, %d adopted, %d dead letters, %d InitiateJob calls, %d ListJobs calls; faults %s",
		files, workers, len(dead), took.Round(time.Second), len(retrievals), tiers, doubles, saved, plan.Outcome, resumed, adopted, letters, calls["glacier.InitiateJob"], calls["glacier.ListJobs"], fired)
	t.Log(summary)
	if jobs != files || len(retrievals) != files || doubles != 0 || saved != files || letters != 0 ||
		plan.Outcome != thaw.Planned && plan.Outcome != thaw.HalfThawed && plan.Outcome != thaw.Thawing {
		t.Error(summary)
	}
}
