package main

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	awss3 "github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"golang.org/x/sync/errgroup"

	"github.com/gas-restore/gas/bench/internal/benchworld"
	"github.com/gas-restore/gas/internal/archive"
	"github.com/gas-restore/gas/internal/aws/dynamodb"
	"github.com/gas-restore/gas/internal/aws/s3"
	"github.com/gas-restore/gas/internal/bus"
	"github.com/gas-restore/gas/internal/checksum/treehash"
	"github.com/gas-restore/gas/internal/fault"
	"github.com/gas-restore/gas/internal/restore"
	"github.com/gas-restore/gas/pkg/events"
)

var quiet = slog.New(slog.DiscardHandler)

// plain leaves out every hash that the SDK would compute without a request for it.
func plain(o *awss3.Options) {
	o.UsePathStyle = true
	o.RequestChecksumCalculation = aws.RequestChecksumCalculationWhenRequired
	o.DisableLogOutputChecksumValidationSkipped = true
	o.APIOptions = append(o.APIOptions, v4.SwapComputePayloadSHA256ForUnsignedPayloadMiddleware)
}

// job has an archive retrieved, and puts the job into the catalog as thaw leaves it. It
// returns the job, and the notification as the bridge stores it.
func (w *world) job(ctx context.Context, id string, p planted, size int64) (archive.Job, events.RetrievalCompleted, error) {
	job := archive.Job{
		ID: events.JobID(id), UserID: "bench", SubmittedAt: time.Now(), Status: "COMPLETED", CompletedAt: time.Now(),
		Result:    archive.Object{Bucket: benchworld.Bucket, Key: "bench/" + id},
		ArchiveID: events.ArchiveID(p.ID), Copy: p.Copy, ArchiveSize: size, TreeHash: p.TreeHash, Tier: archive.Expedited,
		Intent: &archive.Intent{Token: "ticket-" + id, At: time.Now()},
	}
	r, err := w.Cold(w.Config).Retrieve(ctx, job, archive.Expedited)
	if err != nil {
		return job, events.RetrievalCompleted{}, err
	}
	job.RetrievalID, job.Intent = r.ID, nil
	e := events.RetrievalCompleted{ID: id, JobID: job.ID, Status: archive.Succeeded, Size: size, CompletedAt: time.Now()}
	if w.store == benchworld.InVault {
		e.ArchiveID, e.RetrievalID, e.TreeHash = job.ArchiveID, r.ID, p.TreeHash
	} else {
		e.Object = &events.ObjectRef{Bucket: p.Copy.Bucket, Key: p.Copy.Key, Version: p.Copy.Version}
	}
	return job, e, w.Catalog.AddJob(ctx, job)
}

// ready waits until the job's retrieval is.
func (w *world) ready(ctx context.Context, job archive.Job) error {
	store := w.Cold(w.Config)
	for {
		r, err := store.Describe(ctx, job)
		if err != nil || r.Status == archive.Succeeded {
			return err
		}
	}
}

// work runs the product's workers over the notifications, and returns how many a
// second came to their end.
func (w *world) work(ctx context.Context, es []events.Event, workers int) (perSecond float64, counts map[string]int64, err error) {
	if err := w.Local("DELETE", "counts", nil); err != nil {
		return 0, nil, err
	}
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	drain, done := make(chan struct{}), make(chan struct{})
	var left atomic.Int64
	left.Store(int64(len(es)))
	var bad atomic.Value
	g := errgroup.Group{}
	for range workers {
		b, err := w.Connect(ctx, "restore")
		if err != nil {
			return 0, nil, err
		}
		defer b.Close()
		cfg, err := w.SDK(ctx)
		if err != nil {
			return 0, nil, err
		}
		objects := s3.New(cfg)
		r := &restore.Restorer{
			Catalog: dynamodb.New(cfg, benchworld.Tables()), Vault: w.Cold(cfg), Bucket: objects, Uploads: objects,
			KV: b.KV(bus.BucketCopies), PartSize: span, Parallel: parallel, Now: time.Now, Log: quiet,
		}
		handle := func(ctx context.Context, e events.RetrievalCompleted, emit bus.Emit) error {
			err := r.Restore(ctx, e, emit)
			if err != nil {
				bad.Store(err.Error())
			}
			return err
		}
		worker := &bus.Worker[events.RetrievalCompleted]{
			Bus: b, Stream: events.StreamRestore, Consumer: bus.ConsumerRestore, Slots: slots, Handle: handle, Logger: quiet,
			Observe: func(o bus.Outcome, _ fault.Kind, _ time.Duration) {
				if o == bus.Acked && left.Add(-1) == 0 {
					close(done)
				}
			},
		}
		g.Go(func() error { return worker.Run(ctx, drain) })
	}
	began := time.Now()
	if err := (bus.Tasks{Bus: w.Operator}).Publish(ctx, es); err != nil {
		return 0, nil, err
	}
	select {
	case <-done:
	case <-time.After(20 * time.Minute):
		return 0, nil, fmt.Errorf("%d of %d are left; the last error: %v", left.Load(), len(es), bad.Load())
	}
	took := time.Since(began)
	close(drain)
	if err := g.Wait(); err != nil {
		return 0, nil, err
	}
	counts = map[string]int64{}
	if err := w.Local("GET", "counts", &counts); err != nil {
		return 0, nil, err
	}
	return float64(len(es)) / took.Seconds(), counts, nil
}

// restoreLarge returns how long the product takes for one archive, how many calls
// of AWS it makes, and the tree hash that the file has to have.
func (w *world) restoreLarge(ctx context.Context, id string, size int64) (took time.Duration, calls int64, hash string, err error) {
	p, err := w.plant(id, size)
	if err != nil {
		return 0, 0, "", err
	}
	job, e, err := w.job(ctx, id, p, size)
	if err != nil {
		return 0, 0, "", err
	}
	if err := w.ready(ctx, job); err != nil {
		return 0, 0, "", err
	}
	rate, counts, err := w.work(ctx, []events.Event{e}, 1)
	if err != nil {
		return 0, 0, "", err
	}
	for _, n := range counts {
		calls += n
	}
	return time.Duration(float64(time.Second) / rate), calls, p.TreeHash, nil
}

func key(id string) *string { return aws.String("bench/" + id) }

// whole reads the file back and returns an error if it is not the archive.
func (w *world) whole(ctx context.Context, id string, size int64, hash string) error {
	out, err := w.S3().GetObject(ctx, &awss3.GetObjectInput{Bucket: aws.String(benchworld.Bucket), Key: key(id)})
	if err != nil {
		return err
	}
	defer out.Body.Close()
	h := treehash.New()
	n, err := io.Copy(h, out.Body)
	if got := h.TreeHash().String(); err != nil || n != size || got != hash {
		return fmt.Errorf("%s has %d bytes with tree hash %s, want %d with %s; %v", id, n, got, size, hash, err)
	}
	return nil
}

// drop makes room on the disk.
func (w *world) drop(ctx context.Context, id string) error {
	_, err := w.S3().DeleteObject(ctx, &awss3.DeleteObjectInput{Bucket: aws.String(benchworld.Bucket), Key: key(id)})
	return err
}

// pipeLarge returns how long the pipe takes; each buffer of bytes is shown to look.
func (w *world) pipeLarge(ctx context.Context, id string, size int64, look func([]byte)) (time.Duration, error) {
	p, err := w.plant(id, size)
	if err != nil {
		return 0, err
	}
	job, _, err := w.job(ctx, id, p, size)
	if err != nil {
		return 0, err
	}
	if err := w.ready(ctx, job); err != nil {
		return 0, err
	}
	to, object := w.plain, key(id)
	began := time.Now()
	up, err := to.CreateMultipartUpload(ctx, &awss3.CreateMultipartUploadInput{Bucket: aws.String(benchworld.Bucket), Key: object})
	if err != nil {
		return 0, err
	}
	parts := make([]types.CompletedPart, (size+span-1)/span)
	buffers := make(chan []byte, parallel)
	for range parallel {
		buffers <- make([]byte, span)
	}
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(parallel)
	for i := range parts {
		g.Go(func() error {
			buf := <-buffers
			defer func() { buffers <- buf }()
			offset := int64(i) * span
			n := min(span, size-offset)
			if err := w.read(gctx, job, offset, buf[:n]); err != nil {
				return err
			}
			look(buf[:n])
			part, err := to.UploadPart(gctx, &awss3.UploadPartInput{
				Bucket: aws.String(benchworld.Bucket), Key: object, UploadId: up.UploadId, PartNumber: aws.Int32(int32(i + 1)), Body: bytes.NewReader(buf[:n]),
			})
			if err == nil {
				parts[i] = types.CompletedPart{PartNumber: aws.Int32(int32(i + 1)), ETag: part.ETag}
			}
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return 0, err
	}
	if _, err := to.CompleteMultipartUpload(ctx, &awss3.CompleteMultipartUploadInput{
		Bucket: aws.String(benchworld.Bucket), Key: object, UploadId: up.UploadId, MultipartUpload: &types.CompletedMultipartUpload{Parts: parts},
	}); err != nil {
		return 0, err
	}
	took := time.Since(began)
	return took, w.drop(ctx, id)
}

// smalls returns files a second of the pipe and of the product, and the product's
// calls of AWS a file.
func (w *world) smalls(ctx context.Context, name string, files, workers int, latency time.Duration) (pipe, ours float64, per map[string]float64, err error) {
	if err := w.Latency(0); err != nil {
		return 0, 0, nil, err
	}
	es, jobs := make([]events.Event, files), make([]archive.Job, files)
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(8)
	for i := range es {
		g.Go(func() error {
			body, id := make([]byte, 64<<10), fmt.Sprintf("%s-%d", name, i)
			binary.BigEndian.PutUint64(body, uint64(i))
			p, err := w.upload(gctx, id, body)
			if err != nil {
				return err
			}
			jobs[i], es[i], err = w.job(gctx, id, p, int64(len(body)))
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return 0, 0, nil, err
	}
	for _, job := range []archive.Job{jobs[0], jobs[files/2], jobs[files-1]} {
		if err := w.ready(ctx, job); err != nil {
			return 0, 0, nil, err
		}
	}
	if err := w.Latency(latency); err != nil {
		return 0, 0, nil, err
	}
	began := time.Now()
	g, gctx = errgroup.WithContext(ctx)
	g.SetLimit(slots * workers)
	for _, job := range jobs {
		g.Go(func() error {
			body := make([]byte, job.ArchiveSize)
			if err := w.read(gctx, job, 0, body); err != nil {
				return err
			}
			_, err := w.plain.PutObject(gctx, &awss3.PutObjectInput{Bucket: aws.String(benchworld.Bucket), Key: aws.String("pipe/" + string(job.ID)), Body: bytes.NewReader(body)})
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return 0, 0, nil, err
	}
	pipe = float64(files) / time.Since(began).Seconds()
	ours, counts, err := w.work(ctx, es, workers)
	if err != nil {
		return 0, 0, nil, err
	}
	per = map[string]float64{}
	for op, n := range counts {
		per[op] = float64(n) / float64(files)
	}
	return pipe, ours, per, nil
}
