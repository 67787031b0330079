package main

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/glacier"
	"github.com/aws/aws-sdk-go-v2/service/glacier/types"
	awss3 "github.com/aws/aws-sdk-go-v2/service/s3"
	s3types "github.com/aws/aws-sdk-go-v2/service/s3/types"
	"golang.org/x/sync/errgroup"

	"github.com/gas-restore/gas/bench/internal/benchtab"
	"github.com/gas-restore/gas/bench/internal/benchworld"
	"github.com/gas-restore/gas/internal/archive"
	"github.com/gas-restore/gas/internal/aws/dynamodb"
	"github.com/gas-restore/gas/internal/bus"
	"github.com/gas-restore/gas/internal/cost"
	"github.com/gas-restore/gas/internal/fault"
	"github.com/gas-restore/gas/internal/thaw"
	"github.com/gas-restore/gas/pkg/events"
)

var quiet = slog.New(slog.DiscardHandler)

func newBody(i int) *strings.Reader { return strings.NewReader(fmt.Sprint("archive ", i)) }

// request is the store's call for a retrieval.
func (w *world) request() string {
	if w.store == benchworld.InVault {
		return "InitiateJob"
	}
	return "RestoreObject"
}

// service is the service with that call.
func (w *world) service() string {
	if w.store == benchworld.InVault {
		return "glacier"
	}
	return "s3"
}

// ask returns a function that requests an archive with one call of the bare SDK.
func (w *world) ask(cfg aws.Config) func(context.Context, cold) error {
	if w.store == benchworld.InVault {
		client := glacier.NewFromConfig(cfg)
		return func(ctx context.Context, c cold) error {
			_, err := client.InitiateJob(ctx, &glacier.InitiateJobInput{
				AccountId: aws.String("-"), VaultName: aws.String(benchworld.Vault),
				JobParameters: &types.JobParameters{
					Type: aws.String("archive-retrieval"), ArchiveId: aws.String(string(c.id)),
					Description: aws.String("bare"), SNSTopic: aws.String(benchworld.RestoreTopic), Tier: aws.String("Standard"),
				},
			})
			return err
		}
	}
	client := awss3.NewFromConfig(cfg, func(o *awss3.Options) { o.UsePathStyle = true })
	return func(ctx context.Context, c cold) error {
		_, err := client.RestoreObject(ctx, &awss3.RestoreObjectInput{
			Bucket: &c.at.Bucket, Key: &c.at.Key,
			RestoreRequest: &s3types.RestoreRequest{Days: aws.Int32(1), GlacierJobParameters: &s3types.GlacierJobParameters{Tier: s3types.TierStandard}},
		})
		return err
	}
}

// bare requests n archives, so many at a time, with nothing around the calls. It returns the
// calls a second.
func (w *world) bare(ctx context.Context, user string, n, atATime int) (float64, error) {
	if err := w.Latency(0); err != nil {
		return 0, err
	}
	archives, err := w.archives(ctx, user, n)
	if err != nil {
		return 0, err
	}
	if err := w.Latency(latency); err != nil {
		return 0, err
	}
	cfg, err := w.SDK(ctx)
	if err != nil {
		return 0, err
	}
	request := w.ask(cfg)
	g, ctx := errgroup.WithContext(ctx)
	began := time.Now()
	var next atomic.Int64
	for range atATime {
		g.Go(func() error {
			for {
				i := int(next.Add(1)) - 1
				if i >= n {
					return nil
				}
				if err := request(ctx, archives[i]); err != nil {
					return err
				}
			}
		})
	}
	err = g.Wait()
	return float64(n) / time.Since(began).Seconds(), err
}

// ours runs the workers on n tasks that wait in the stream, and returns the
// archives requested a second and the calls of each kind an archive.
func (w *world) ours(ctx context.Context, user string, n, workers, calls int) (rate float64, per map[string]float64, err error) {
	if err := w.Latency(0); err != nil {
		return 0, nil, err
	}
	archives, err := w.archives(ctx, user, n)
	if err != nil {
		return 0, nil, err
	}
	if err := w.addJobs(ctx, user, n, n, func(i int) cold { return archives[i] }); err != nil {
		return 0, nil, err
	}
	tasks := make([]events.Event, n)
	for i := range tasks {
		tasks[i] = events.ThawRequested{ID: user, JobID: events.JobID(jobID(user, i)), UserID: events.UserID(user),
			ArchiveID: archives[i].id, UpgradedAt: time.Now()}
	}
	if err := (bus.Tasks{Bus: w.Operator}).Publish(ctx, tasks); err != nil {
		return 0, nil, err
	}
	if err := w.Local("DELETE", "counts", nil); err != nil {
		return 0, nil, err
	}
	if err := w.Latency(latency); err != nil {
		return 0, nil, err
	}
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	drain, done := make(chan struct{}), make(chan struct{})
	var left atomic.Int64
	left.Store(int64(n))
	var bad atomic.Value
	bad.Store("none")
	runs := make([]func() error, workers)
	for i := range runs {
		b, err := w.Connect(ctx, "thaw")
		if err != nil {
			return 0, nil, err
		}
		defer b.Close()
		cfg, err := w.SDK(ctx)
		if err != nil {
			return 0, nil, err
		}
		catalog := dynamodb.New(cfg, benchworld.Tables())
		r := &thaw.Requester{
			Accounts: catalog, Catalog: catalog, Plans: catalog, Budgets: catalog, Switches: thaw.NewStops(catalog, time.Now), Vault: w.Cold(cfg), Tiers: archive.Tiers{archive.Standard},
			Pace:   &thaw.Pace{KV: b.KV(bus.BucketPace), Calls: calls},
			Prices: cost.Public().In(w.Region), Now: time.Now, Log: quiet,
		}
		handle := func(ctx context.Context, e events.ThawRequested, emit bus.Emit) error {
			err := r.Request(ctx, e, emit)
			if err != nil {
				bad.Store(err.Error())
			}
			return err
		}
		worker := &bus.Worker[events.ThawRequested]{
			Bus: b, Stream: events.StreamThaw, Consumer: bus.ConsumerRequest, Slots: slotsPerCall * calls, Handle: handle, Logger: quiet,
			Observe: func(o bus.Outcome, _ fault.Kind, _ time.Duration) {
				if o == bus.Acked && left.Add(-1) == 0 {
					close(done)
				}
			},
		}
		runs[i] = func() error { return worker.Run(ctx, drain) }
	}
	g := errgroup.Group{}
	began := time.Now()
	for _, run := range runs {
		g.Go(run)
	}
	select {
	case <-done:
	case <-time.After(5 * time.Minute):
		return 0, nil, fmt.Errorf("%d of %d tasks are left; the last error: %v", left.Load(), n, bad.Load())
	}
	took := time.Since(began)
	counts, err := w.Counts()
	if asked := counts[w.service()+"."+w.request()]; err == nil && asked < int64(n) {
		err = fmt.Errorf("%d of %d archives were requested", asked, n)
	}
	if err != nil {
		return 0, nil, err
	}
	close(drain)
	if err := g.Wait(); err != nil {
		return 0, nil, err
	}
	per = map[string]float64{}
	for op, c := range counts {
		per[op] = float64(c) / float64(n)
	}
	return float64(n) / took.Seconds(), per, nil
}

// requests is the table of how fast archives are requested.
func (w *world) requests(ctx context.Context, perWorker, calls, rounds int) (*benchtab.Table, error) {
	t := &benchtab.Table{
		Title: fmt.Sprintf("%s a second, every call of AWS taking %s, %d calls in flight a worker", w.request(), latency, calls),
		Columns: []string{"", "calls in flight", "a second", "of the bare loop", "of 1 worker", "of one by one",
			"GetItem", "UpdateItem", "HeadObject", w.request(), "calls an archive"},
		Notes: []string{
			"bare: the request in a loop over the SDK, nothing read, nothing saved: what an archive costs at the least.",
			fmt.Sprintf("workers: the product, over NATS and DynamoDB, with %d messages in flight for each call; each median of %d rounds beside the bare loop's.", slotsPerCall, rounds),
			"calls an archive: read, intent, look (S3 alone), request, id. Accounts are read once a second a worker, and what operators stopped every two.",
		},
	}
	serial, err := w.bare(ctx, "one", perWorker/4, 1)
	if err != nil {
		return nil, err
	}
	t.Add("one by one", 1, f0(serial), "", "", "1.00", "", "", "", "1.00", "1.00")
	var one float64
	for _, workers := range []int{1, 2, 4} {
		var bares, rates, ratios []float64
		var per map[string]float64
		for round := range rounds {
			n := perWorker * workers
			bare, err := w.bare(ctx, fmt.Sprintf("b%d-%d", workers, round), n, workers*calls)
			if err != nil {
				return nil, err
			}
			rate, p, err := w.ours(ctx, fmt.Sprintf("w%d-%d", workers, round), n, workers, calls)
			if err != nil {
				return nil, err
			}
			bares, rates, ratios, per = append(bares, bare), append(rates, rate), append(ratios, rate/bare), p
		}
		rate := median(rates)
		if workers == 1 {
			one = rate
		}
		total := 0.0
		for _, c := range per {
			total += c
		}
		t.Add(fmt.Sprintf("bare, as %d workers", workers), workers*calls, f0(median(bares)), "1.00", "", f2(median(bares)/serial), "", "", "", "1.00", "1.00")
		t.Add(fmt.Sprintf("%d workers", workers), workers*calls, f0(rate), f2(median(ratios)), f2(rate/one), f2(rate/serial),
			f2(per["dynamodb.GetItem"]), f2(per["dynamodb.UpdateItem"]), f2(per["s3.HeadObject"]), f2(per[w.service()+"."+w.request()]), f2(total))
	}
	return t, nil
}

func median(x []float64) float64 {
	s := slices.Sorted(slices.Values(x))
	return s[len(s)/2]
}

func f0(x float64) string { return fmt.Sprintf("%.0f", x) }
func f2(x float64) string { return fmt.Sprintf("%.2f", x) }
