package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	ddb "github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/aws/aws-sdk-go-v2/service/glacier"
	"golang.org/x/sync/errgroup"

	"github.com/gas-restore/gas/bench/internal/benchworld"
	"github.com/gas-restore/gas/internal/archive"
	localaws "github.com/gas-restore/gas/internal/local/aws"
	standin "github.com/gas-restore/gas/internal/local/aws/glacier"
	"github.com/gas-restore/gas/pkg/events"
)

type world struct {
	*benchworld.World
	archives []events.ArchiveID
}

// serveWorld makes this process the world if the environment says so.
func serveWorld() (was bool, err error) {
	return benchworld.Serve(func(srv *localaws.Server) error {
		for _, tier := range []standin.Tier{standin.Expedited, standin.Standard, standin.Bulk} {
			srv.Glacier.SetDelay(tier, 24*time.Hour, 24*time.Hour)
		}
		return nil
	}, func(_ *localaws.Server, question string) (any, error) {
		return nil, fmt.Errorf("no answer to %q", question)
	})
}

func startWorld(ctx context.Context) (*world, error) {
	w, err := benchworld.Start(ctx, "bench-thaw")
	return &world{World: w}, err
}

// upload puts n archives into the vault.
func (w *world) upload(ctx context.Context, n int) error {
	client := glacier.NewFromConfig(w.Config)
	w.archives = make([]events.ArchiveID, n)
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(8)
	for i := range n {
		g.Go(func() error {
			out, err := client.UploadArchive(ctx, &glacier.UploadArchiveInput{
				AccountId: aws.String("-"), VaultName: aws.String(benchworld.Vault), Body: newBody(i),
			})
			if err != nil {
				return err
			}
			w.archives[i] = events.ArchiveID(*out.ArchiveId)
			return nil
		})
	}
	return g.Wait()
}

// addJobs writes n jobs of a user. The first ones have an archive.
func (w *world) addJobs(ctx context.Context, user string, n, archived int, archiveOf func(int) string) error {
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
					item["archive_id"], item["archive_size"] = str(archiveOf(i)), num(1<<20)
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
