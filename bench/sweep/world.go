package main

import (
	"context"
	"encoding/json"
	"fmt"
	"iter"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsglacier "github.com/aws/aws-sdk-go-v2/service/glacier"

	"github.com/gas-restore/gas/bench/internal/benchworld"
	"github.com/gas-restore/gas/internal/archive"
	"github.com/gas-restore/gas/internal/aws/dynamodb"
	"github.com/gas-restore/gas/internal/aws/glacier"
	"github.com/gas-restore/gas/internal/bus"
	localaws "github.com/gas-restore/gas/internal/local/aws"
	standin "github.com/gas-restore/gas/internal/local/aws/glacier"
	"github.com/gas-restore/gas/pkg/events"
)

// world is where the sweep is measured: its clock is moved from one sweep to the next.
type world struct {
	*benchworld.World
	meter   *benchworld.Meter
	catalog *dynamodb.Catalog // measured
	vault   *glacier.Vault    // measured
	sweep   *bus.Bus
	ahead   time.Duration
	users   int // that are Free, and have an archive each
}

// serveWorld makes this process the world if the environment says so.
func serveWorld() (was bool, err error) {
	return benchworld.Serve(func(srv *localaws.Server) error {
		srv.Glacier.SetDelay(standin.Expedited, time.Minute, time.Minute)
		srv.Glacier.SetDelay(standin.Standard, 24*time.Hour, 24*time.Hour)
		return nil
	}, func(srv *localaws.Server, question string) (any, error) {
		var kind string
		var from, to int
		var at int64
		if _, err := fmt.Sscan(question, &kind, &from, &to, &at); err != nil {
			return nil, err
		}
		began := time.Now()
		if err := srv.DynamoDB.Load(benchworld.AccountTable, accounts(kind, from, to, at)); err != nil {
			return nil, err
		}
		err := srv.DynamoDB.Load(benchworld.JobTable, jobs(kind, from, to, at))
		return time.Since(began).Seconds(), err
	})
}

// userID and jobID are as long as a site's. A kind is of up to eight bytes.
func userID(kind string, i int) string {
	return fmt.Sprintf("%-8.8s-0000-4000-8000-%012d", kind+"xxxxxxxx", i)
}
func jobID(kind string, i int) string {
	return fmt.Sprintf("%-8.8s-1111-4111-8111-%012d", kind+"xxxxxxxx", i)
}

// accounts yields the accounts of Free users, or of users who became Premium at the time.
// The latter have plans that become due as the time passes.
func accounts(kind string, from, to int, at int64) iter.Seq[[]byte] {
	return items(from, to, func(i int) map[string]any {
		it := map[string]any{"user_id": userID(kind, i), "name": "Ada Lovelace", "email": fmt.Sprintf("ada-%07d@example.org", i), "role": "free_user"}
		if kind == "waiting" {
			it["role"], it["role_changed_at"], it["plan_id"], it["plan_why"], it["plan_state"] = "premium_user", at, "upgrade-ABCDEFGHIJKLMNOPQRSTUVWXYZ", "upgrade", "open"
			it["plan_since"], it["plan_opened_at"], it["plan_shard"], it["plan_due"] = at, at, i%16, at
		}
		return it
	})
}

// jobs yields an archived job of each user. Its retrieval is under way, or was never
// requested.
func jobs(kind string, from, to int, at int64) iter.Seq[[]byte] {
	return items(from, to, func(i int) map[string]any {
		it := map[string]any{
			"job_id": jobID(kind, i), "user_id": userID(kind, i), "submit_time": 1_700_000_000 + i, "complete_time": 1_700_000_900 + i, "job_status": "COMPLETED",
			"input_file_name": "panel.vcf", "s3_results_bucket": "gas-results", "archive_id": fmt.Sprintf("%-8.8s%0130d", kind, i), "archive_size": 1 << 20,
			"s3_key_result_file": "gas/" + userID(kind, i) + "/" + jobID(kind, i) + "~panel.annot.vcf",
			"s3_key_log_file":    "gas/" + userID(kind, i) + "/" + jobID(kind, i) + "~panel.vcf.count.log",
			"tree_hash":          strings.Repeat("0123456789abcdef", 4),
		}
		if kind == "waiting" {
			it["retrieval_request_id"], it["retrieval_tier"], it["retrieval_requested_at"] = fmt.Sprintf("%092d", i), "Standard", at
			it["due_shard"], it["due_at"], it["retrieval_plan"] = i%16, at+(5*time.Hour).Milliseconds(), "upgrade-ABCDEFGHIJKLMNOPQRSTUVWXYZ"
		}
		return it
	})
}

// items yields the wire form of items.
func items(from, to int, item func(int) map[string]any) iter.Seq[[]byte] {
	return func(yield func([]byte) bool) {
		for i := from; i < to; i++ {
			it := item(i)
			for k, v := range it {
				if s, ok := v.(string); ok {
					it[k] = map[string]string{"S": s}
				} else {
					it[k] = map[string]string{"N": fmt.Sprint(v)}
				}
			}
			raw, err := json.Marshal(it)
			if err != nil || !yield(raw) {
				return
			}
		}
	}
}

func startWorld(ctx context.Context) (*world, error) {
	w := &world{}
	var err error
	if w.World, err = benchworld.Start(ctx, "bench-sweep"); err != nil {
		return nil, err
	}
	cfg, err := w.SDK(ctx)
	if err != nil {
		return w, err
	}
	cfg, w.meter = benchworld.Measured(cfg)
	w.catalog, w.vault = dynamodb.New(cfg, benchworld.Tables()), glacier.New(cfg, benchworld.Vault, benchworld.RestoreTopic)
	w.sweep, err = w.Connect(ctx, "sweep")
	return w, err
}

func (w *world) now() time.Time { return time.Now().Add(w.ahead) }

// pass moves the time.
func (w *world) pass(d time.Duration) error {
	w.ahead += d
	return w.Local("POST", "advance?d="+d.String(), nil)
}

// fill makes users of a kind up to so many, and returns how long that took.
func (w *world) fill(kind string, from, to int) (seconds float64, err error) {
	err = w.Ask(fmt.Sprint(kind, " ", from, " ", to, " ", w.now().UnixMilli()), &seconds)
	return seconds, err
}

// archived puts an archive into the vault, and its job into the catalog.
func (w *world) archived(ctx context.Context, user, job string) (archive.Job, error) {
	out, err := awsglacier.NewFromConfig(w.Config).UploadArchive(ctx, &awsglacier.UploadArchiveInput{
		AccountId: aws.String("-"), VaultName: aws.String(benchworld.Vault), Body: strings.NewReader("the result of " + job),
	})
	if err != nil {
		return archive.Job{}, err
	}
	j := archive.Job{
		ID: events.JobID(job), UserID: events.UserID(user), SubmittedAt: w.now(), CompletedAt: w.now(), InputFileName: "panel.vcf", Status: "COMPLETED",
		Result:    archive.Object{Bucket: benchworld.Bucket, Key: "gas/" + user + "/" + job + "~panel.annot.vcf"},
		Log:       archive.Object{Bucket: benchworld.Bucket, Key: "gas/" + user + "/" + job + "~panel.vcf.count.log"},
		ArchiveID: events.ArchiveID(*out.ArchiveId), ArchiveSize: int64(len("the result of " + job)), TreeHash: strings.Repeat("0123456789abcdef", 4),
	}
	return j, w.Catalog.AddJob(ctx, j)
}

// asked asks for the archive as a thaw does, at that time.
func (w *world) asked(ctx context.Context, catalog *dynamodb.Catalog, job archive.Job, plan string, at time.Time) (archive.Job, error) {
	intent := archive.Intent{Token: "ABCDEFGHIJKLMNOPQRSTUVWXYZ", At: at, Plan: plan, Due: at.Add(time.Minute)}
	if err := catalog.SaveIntent(ctx, job, intent); err != nil {
		return job, err
	}
	got, err := w.vault.Retrieve(ctx, job, archive.Expedited)
	if err != nil {
		return job, err
	}
	r := archive.Retrieval{ID: got.ID, ArchiveID: job.ArchiveID, Tier: archive.Expedited, RequestedAt: at, Cost: 30_000}
	job.Intent, job.Due = &intent, r.Due()
	if err := catalog.SaveRetrieval(ctx, job, intent, r); err != nil {
		return job, err
	}
	job.RetrievalID = got.ID
	return job, nil
}
