package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	ddb "github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/aws/aws-sdk-go-v2/service/glacier"
	awss3 "github.com/aws/aws-sdk-go-v2/service/s3"
	s3types "github.com/aws/aws-sdk-go-v2/service/s3/types"
	"golang.org/x/sync/errgroup"

	"github.com/gas-restore/gas/bench/internal/benchworld"
	"github.com/gas-restore/gas/internal/archive"
	localaws "github.com/gas-restore/gas/internal/local/aws"
	standin "github.com/gas-restore/gas/internal/local/aws/glacier"
	"github.com/gas-restore/gas/internal/local/aws/s3"
	"github.com/gas-restore/gas/pkg/events"
)

type world struct {
	*benchworld.World
	store benchworld.Store
	// vault are the archives of the vault. Each may be retrieved many times.
	vault []cold
}

// cold is an archive in cold storage.
type cold struct {
	id events.ArchiveID
	at archive.Copy
}

// serveWorld makes this process the world if the environment says so.
func serveWorld() (was bool, err error) {
	return benchworld.Serve(func(srv *localaws.Server) error {
		for _, tier := range []standin.Tier{standin.Expedited, standin.Standard, standin.Bulk} {
			srv.Glacier.SetDelay(tier, 24*time.Hour, 24*time.Hour)
			srv.S3.SetRestoreDelay(string(archive.Glacier), s3.Tier(tier), 24*time.Hour, 24*time.Hour)
		}
		return nil
	}, func(_ *localaws.Server, question string) (any, error) {
		return nil, fmt.Errorf("no answer to %q", question)
	})
}

func startWorld(ctx context.Context, store benchworld.Store) (*world, error) {
	w, err := benchworld.Start(ctx, "bench-thaw")
	return &world{World: w, store: store}, err
}

// archives returns n archives of the jobs of a user. In a vault, an archive can be retrieved
// again and again, so the calls share them. An object of S3 has one temporary copy, so each
// call puts new objects into the bucket.
func (w *world) archives(ctx context.Context, user string, n int) ([]cold, error) {
	made := w.vault
	if w.store == benchworld.InS3 {
		made = nil
	}
	have := len(made)
	made = append(made, make([]cold, max(0, n-have))...)
	client, objects := glacier.NewFromConfig(w.Config), w.S3()
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(8)
	for i := have; i < n; i++ {
		g.Go(func() error {
			if w.store == benchworld.InVault {
				out, err := client.UploadArchive(gctx, &glacier.UploadArchiveInput{AccountId: aws.String("-"), VaultName: aws.String(benchworld.Vault), Body: newBody(i)})
				if err == nil {
					made[i].id = events.ArchiveID(*out.ArchiveId)
				}
				return err
			}
			job := jobID(user, i)
			at := archive.Copy{Class: archive.Glacier, Bucket: benchworld.ColdBucket, Key: archive.KeyOf("cold/", events.JobID(job), "archive")}
			out, err := objects.PutObject(gctx, &awss3.PutObjectInput{Bucket: &at.Bucket, Key: &at.Key, StorageClass: s3types.StorageClassGlacier, Body: newBody(i)})
			if err == nil {
				at.ETag = strings.Trim(*out.ETag, `"`)
				made[i] = cold{events.ArchiveID("cold-" + job), at}
			}
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return nil, err
	}
	if w.store == benchworld.InVault {
		w.vault = made
	}
	return made[:n], nil
}

// addJobs writes n jobs of a user. The first ones have an archive.
func (w *world) addJobs(ctx context.Context, user string, n, archived int, archiveOf func(int) cold) error {
	client := ddb.NewFromConfig(w.Config)
	account := archive.Account{ID: events.UserID(user), Role: archive.Premium}
	err := w.Catalog.EnsureAccount(ctx, account)
	if err == nil {
		// Thaw requests nothing without a plan.
		err = w.Catalog.OpenPlan(ctx, account, archive.Plan{ID: "bench", Why: archive.Upgrade, State: archive.PlanOpen, OpenedAt: time.Now(), Due: time.Now()})
	}
	if err != nil {
		return err
	}
	str := func(s string) types.AttributeValue { return &types.AttributeValueMemberS{Value: s} }
	num := func(n int) types.AttributeValue { return &types.AttributeValueMemberN{Value: strconv.Itoa(n)} }
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(8)
	const batch = 25
	for from := 0; from < n; from += batch {
		g.Go(func() error {
			var puts []types.WriteRequest
			for i := from; i < min(from+batch, n); i++ {
				item := map[string]types.AttributeValue{
					"job_id": str(jobID(user, i)), "user_id": str(user), "submit_time": num(1_700_000_000 + i), "job_status": str("COMPLETED"),
					"input_file_name": str("panel.vcf"), "s3_results_bucket": str("gas-results"),
					"s3_key_result_file": str("gas/" + user + "/" + jobID(user, i) + "~panel.annot.vcf"),
				}
				if i < archived {
					c := archiveOf(i)
					item["archive_id"], item["archive_size"] = str(string(c.id)), num(1<<20)
					if !c.at.InVault() {
						item["archive_locator"] = &types.AttributeValueMemberM{Value: map[string]types.AttributeValue{
							"kind": str("object"), "class": str(string(c.at.Class)), "bucket": str(c.at.Bucket), "key": str(c.at.Key), "etag": str(c.at.ETag),
						}}
					}
				}
				puts = append(puts, types.WriteRequest{PutRequest: &types.PutRequest{Item: item}})
			}
			out, err := client.BatchWriteItem(ctx, &ddb.BatchWriteItemInput{RequestItems: map[string][]types.WriteRequest{benchworld.JobTable: puts}})
			if err == nil && len(out.UnprocessedItems) > 0 {
				err = errors.New("unprocessed items")
			}
			return err
		})
	}
	return g.Wait()
}

func jobID(user string, i int) string { return fmt.Sprintf("%s-%07d", user, i) }
