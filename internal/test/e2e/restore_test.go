package e2e

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/glacier"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/gas-restore/gas/internal/archive"
	"github.com/gas-restore/gas/internal/aws/dynamodb"
	vaults "github.com/gas-restore/gas/internal/aws/glacier"
	"github.com/gas-restore/gas/internal/checksum/treehash"
	"github.com/gas-restore/gas/pkg/events"
)

// sizeOf is the size of the file i: every odd one that a copy may get wrong.
func sizeOf(i, huge int) int {
	const mib, part = 1 << 20, 8 << 20
	odd := []int{0, 1, mib - 1, mib, mib + 1, part - 1, part, part + 1, 3*part + 5}
	switch {
	case i < huge:
		return 200 * mib
	case i%4 == 0:
		return odd[i/4%len(odd)]
	}
	return []int{0, 1, 100, 4096, 65536, 300_000}[i%6]
}

// TestKilledRestoresBringEveryFileBack kills restores with SIGKILL while every
// operation of AWS fails now and then, before and after it took effect, is cut,
// and flips bits. GAS_RESTORE_FILES, GAS_RESTORE_HUGE (files of 200 MiB),
// GAS_RESTORE_WORKERS and GAS_RESTORE_KILLS make it long.
func TestKilledRestoresBringEveryFileBack(t *testing.T) {
	t.Parallel()
	files, huge := setting(t, "GAS_RESTORE_FILES", 40), setting(t, "GAS_RESTORE_HUGE", 0)
	workers, kills := setting(t, "GAS_RESTORE_WORKERS", 2), setting(t, "GAS_RESTORE_KILLS", 1)
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute+time.Duration(files)*time.Second)
	defer cancel()
	l := up(t, ctx, "aws,nats,idp", "--tier-delay", "1ms", "--files", "0")
	l.call("POST", "empty-archives?allow=true", "")
	b := l.bus()
	state := func(stream string) uint64 {
		n, err := messages(ctx, b, stream)
		if err != nil {
			t.Fatal(err)
		}
		return n
	}

	p := place{cfg: l.cfg, catalog: l.catalog(), vault: l.vars["GAS_VAULT"], bucket: l.vars["GAS_RESULTS_BUCKET"]}
	want := map[events.JobID]treehash.Sum{}
	var finished []events.Event
	total := 0
	for i := range files {
		e, err := p.retrieved(ctx, i, sizeOf(i, huge))
		if err != nil {
			t.Fatal(err)
		}
		sum, _ := treehash.Parse(e.TreeHash)
		want[e.JobID] = sum
		total += int(e.Size)
		finished = append(finished, e)
	}
	l.call("DELETE", "counts", "")
	l.call("POST", "latency?d=2ms", "")
	l.call("POST", "faults", `[
		{"service": "glacier", "operation": "GetJobOutput", "probability": 0.02, "corrupt": true, "corrupt_at": 77},
		{"service": "glacier", "operation": "GetJobOutput", "probability": 0.02, "cut": true, "cut_at": 50000},
		{"service": "glacier", "probability": 0.03, "code": "ServiceUnavailableException", "status": 500},
		{"service": "glacier", "probability": 0.02, "code": "ServiceUnavailableException", "status": 500, "after": true},
		{"service": "s3", "operation": "PutObject", "probability": 0.02, "corrupt_request": true, "corrupt_at": 50},
		{"service": "s3", "operation": "UploadPart", "probability": 0.02, "corrupt_request": true, "corrupt_at": 5000},
		{"service": "s3", "probability": 0.03, "code": "InternalError", "status": 500},
		{"service": "s3", "probability": 0.03, "code": "InternalError", "status": 500, "after": true},
		{"service": "s3", "probability": 0.02, "cut": true, "after": true},
		{"service": "dynamodb", "probability": 0.03, "code": "InternalServerError", "status": 500},
		{"service": "dynamodb", "probability": 0.03, "cut": true, "after": true}]`)
	began := time.Now()
	restores := make([]*process, workers)
	var dead []*process
	for i := range restores {
		restores[i] = l.start("restore")
	}
	if _, errs := b.PublishAll(ctx, finished); errors.Join(errs...) != nil {
		t.Fatal(errors.Join(errs...))
	}
	// Kills are spread over the work: each comes after so many more bytes.
	outputs := 0
	for _, e := range finished {
		outputs += 1 + int(e.(events.RetrievalCompleted).Size>>23)
	}
	for n := range kills {
		target := (n + 1) * outputs / (kills + 2)
		until(t, ctx, "more output", func() bool { return l.counts()["glacier.GetJobOutput"] >= target })
		i := rand.IntN(workers)
		restores[i].Process.Kill()
		dead = append(dead, restores[i])
		restores[i] = l.start("restore")
	}
	until(t, ctx, "every file to be restored", func() bool { return state(events.StreamRestore) == 0 })
	took := time.Since(began)
	fired, calls := string(l.call("GET", "fired", "")), l.counts()
	l.call("DELETE", "faults", "")
	l.call("POST", "latency?d=0s", "")

	equal, uploads, left, err := p.look(ctx, want)
	if err != nil {
		t.Fatal(err)
	}
	resumed := 0
	for _, r := range append(dead, restores...) {
		resumed += strings.Count(r.log.String(), "the copy goes on")
	}
	summary := fmt.Sprintf("%d files, %d MiB, %d workers, %d kills, %s: %d equal, %d archived, %d uploads left, %d dead letters, %d copies resumed; calls %v; faults %s",
		files, total>>20, workers, kills, took.Round(time.Second), equal, left, uploads, state(events.StreamDead), resumed, calls, fired)
	t.Log(summary)
	if equal != files || left != 0 || uploads != 0 || state(events.StreamDead) != 0 || state(events.StreamThaw) != 0 {
		t.Error(summary)
	}
}

// place is where the files are.
type place struct {
	cfg           aws.Config
	catalog       *dynamodb.Catalog
	vault, bucket string
}

// retrieved archives a file and has it retrieved.
func (p place) retrieved(ctx context.Context, i, size int) (e events.RetrievalCompleted, err error) {
	body := make([]byte, size)
	rand.NewChaCha8([32]byte{byte(i), byte(i >> 8)}).Read(body)
	out, err := glacier.NewFromConfig(p.cfg).UploadArchive(ctx, &glacier.UploadArchiveInput{
		AccountId: aws.String("-"), VaultName: &p.vault, Body: bytes.NewReader(body),
	})
	if err != nil {
		return e, err
	}
	id := events.JobID("long-" + strconv.Itoa(i))
	job := archive.Job{
		ID: id, UserID: "fern", SubmittedAt: time.Now(), InputFileName: "in.vcf", Status: "COMPLETED", CompletedAt: time.Now(),
		Result:    archive.Object{Bucket: p.bucket, Key: "gas/fern/" + string(id)},
		ArchiveID: events.ArchiveID(*out.ArchiveId), ArchiveSize: int64(size), TreeHash: treehash.Of(body).String(),
	}
	if err := p.catalog.AddJob(ctx, job); err != nil {
		return e, err
	}
	vault := vaults.New(p.cfg, p.vault, "arn:aws:sns:us-east-1:000000000000:none")
	r, err := vault.Retrieve(ctx, job, archive.Expedited)
	if err != nil {
		return e, err
	}
	intent := archive.Intent{Token: "t", At: time.Now()}
	if err := p.catalog.SaveIntent(ctx, job, intent); err != nil {
		return e, err
	}
	if err := p.catalog.SaveRetrieval(ctx, job, intent, archive.Retrieval{ID: r.ID, Tier: archive.Expedited, RequestedAt: time.Now()}); err != nil {
		return e, err
	}
	return events.RetrievalCompleted{
		ID: "n-" + string(id), JobID: id, ArchiveID: job.ArchiveID, RetrievalID: r.ID, Status: archive.Succeeded,
		Size: int64(size), TreeHash: job.TreeHash, CompletedAt: time.Now(),
	}, nil
}

// look counts the files that are there and equal, the uploads that were left, and
// the jobs that still have an archive, in the catalog or in the vault.
func (p place) look(ctx context.Context, want map[events.JobID]treehash.Sum) (equal, uploads, left int, err error) {
	client := s3.NewFromConfig(p.cfg, func(o *s3.Options) { o.UsePathStyle = true })
	vault := vaults.New(p.cfg, p.vault, "arn:aws:sns:us-east-1:000000000000:none")
	for id, sum := range want {
		job, err := p.catalog.Job(ctx, id)
		if err != nil {
			return 0, 0, 0, err
		}
		if job.ArchiveID != "" || job.RetrievalID != "" {
			left++
		}
		out, err := client.GetObject(ctx, &s3.GetObjectInput{Bucket: &job.Result.Bucket, Key: &job.Result.Key})
		if err != nil {
			continue
		}
		h := treehash.New()
		_, err = io.Copy(h, out.Body)
		out.Body.Close()
		if err == nil && h.TreeHash() == sum {
			equal++
		}
	}
	// The vault has no archive any more, so a request would fail.
	list, err := client.ListMultipartUploads(ctx, &s3.ListMultipartUploadsInput{Bucket: &p.bucket})
	if err != nil {
		return 0, 0, 0, err
	}
	for r, err := range vault.Retrievals(ctx, nil, nil) {
		if err != nil {
			return 0, 0, 0, err
		}
		if _, err := vault.Retrieve(ctx, archive.Job{ID: "look", ArchiveID: r.ArchiveID}, archive.Bulk); err == nil {
			left++
		}
	}
	return equal, len(list.Uploads), left, nil
}
