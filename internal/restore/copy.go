package restore

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/gas-restore/gas/internal/archive"
	"github.com/gas-restore/gas/internal/crc64nvme"
	"github.com/gas-restore/gas/internal/fault"
	"github.com/gas-restore/gas/internal/treehash"
	"github.com/gas-restore/gas/pkg/events"
)

// checksums are what a range is known by on its way.
type checksums struct {
	// tree is the tree hash of what came. It is equal to promised, which Glacier gave
	// with it, empty if it gave none.
	tree     treehash.Sum
	promised string
	crc      crc64nvme.Sum
}

// fetch fills buf with the output from offset on and returns its checksums. A cut
// connection, a short body and wrong bytes are fetched again, the same range
// alone.
func (r *Restorer) fetch(ctx context.Context, log *slog.Logger, id events.RetrievalID, offset, length int64, buf []byte) (checksums, error) {
	var err error
	for try := 1; try <= rangeTries; try++ {
		var sums checksums
		sums, err = r.fetchOnce(ctx, id, offset, length, buf)
		if err == nil {
			return sums, nil
		}
		if kind := fault.KindOf(err); ctx.Err() != nil || kind != fault.Transient && kind != fault.Corrupt {
			return sums, err
		}
		log.Warn("range fetched again", "offset", offset, "try", try, "err", err)
	}
	return checksums{}, err
}

func (r *Restorer) fetchOnce(ctx context.Context, id events.RetrievalID, offset, length int64, buf []byte) (checksums, error) {
	out, err := r.Vault.Output(ctx, id, offset, length)
	if err != nil {
		return checksums{}, err
	}
	defer out.Body.Close()
	if out.Size >= 0 && out.Size != int64(len(buf)) {
		return checksums{}, fault.Errorf(fault.Corrupt, "output of %s from %d has %d bytes, want %d", id, offset, out.Size, len(buf))
	}
	if _, err := io.ReadFull(out.Body, buf); err != nil {
		return checksums{}, fault.Errorf(fault.Transient, "read output of %s from %d: %w", id, offset, err)
	}
	var more [1]byte
	if n, err := out.Body.Read(more[:]); n > 0 {
		return checksums{}, fault.Errorf(fault.Corrupt, "output of %s from %d has more than %d bytes", id, offset, len(buf))
	} else if err != nil && !errors.Is(err, io.EOF) {
		return checksums{}, fault.Errorf(fault.Transient, "read the end of output of %s: %w", id, err)
	}
	// The CRC comes first: S3 compares what it stores with it. So a bit that flips
	// in memory before it is found by the tree hash below, and one that flips later by
	// S3. The other way round, one between the two would pass both.
	crc := crc64nvme.Update(0, buf)
	got := treehash.Of(buf)
	sums := checksums{got, out.TreeHash, crc}
	if out.TreeHash == "" {
		return sums, nil
	}
	want, ok := treehash.Parse(out.TreeHash)
	if !ok {
		return sums, fault.Errorf(fault.Corrupt, "output of %s: tree hash header %q", id, out.TreeHash)
	}
	if got != want {
		return sums, fault.Errorf(fault.Corrupt, "output of %s from %d: tree hash %s, Glacier says %s", id, offset, got, want)
	}
	return sums, nil
}

// bringParts copies an archive in tree-hash-aligned ranges, several at a time,
// each straight into a part of an upload that becomes visible only when all
// are there and the whole matches.
func (r *Restorer) bringParts(ctx context.Context, log *slog.Logger, job archive.Job, e events.RetrievalCompleted, emit Emit) (archive.Verified, error) {
	retrieval, err := r.Vault.Describe(ctx, job.RetrievalID)
	if fault.Is(err, fault.NotFound) {
		return r.recognize(ctx, job, e, err)
	}
	if err != nil {
		return archive.Verified{}, err
	}
	whole, ok := treehash.Parse(retrieval.TreeHash)
	if !ok {
		return archive.Verified{}, fault.Errorf(fault.Invalid, "retrieval %s has tree hash %q", retrieval.ID, retrieval.TreeHash)
	}
	promised := archive.Content{Size: retrieval.Size, TreeHash: whole}
	if err := promises(job, e, promised); err != nil {
		return archive.Verified{}, err
	}
	// A big copy is not begun if an earlier delivery has finished it.
	if _, err := r.Bucket.Stat(ctx, job.Result); err == nil {
		return r.recognizeAs(ctx, job, promised)
	} else if !fault.Is(err, fault.NotFound) {
		return archive.Verified{}, err
	}

	upload, err := r.Bucket.Begin(ctx, job.Result, archive.Mark{Archive: job.ArchiveID, Content: promised})
	if err != nil {
		return archive.Verified{}, err
	}
	verified, err := r.copyParts(ctx, log, job, promised, upload, emit)
	if err != nil {
		if aerr := upload.Abort(context.WithoutCancel(ctx)); aerr != nil {
			log.Warn("upload not aborted: the bucket's lifecycle rule frees its parts", "err", aerr)
		}
		if fault.Is(err, fault.Conflict) {
			return r.recognizeAs(ctx, job, promised)
		}
	}
	return verified, err
}

func (r *Restorer) copyParts(ctx context.Context, log *slog.Logger, job archive.Job, promised archive.Content, upload archive.Upload, emit Emit) (archive.Verified, error) {
	size := partSize(promised.Size, r.PartSize)
	n := int((promised.Size + size - 1) / size)
	hashes := make([]treehash.Sum, n)
	sums := make([]crc64nvme.Sum, n)
	progress := progress{r: r, job: job, size: promised.Size, emit: emit}

	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(r.Parallel)
	for i := range n {
		if gctx.Err() != nil {
			break
		}
		offset := int64(i) * size
		length := min(size, promised.Size-offset)
		g.Go(func() error {
			buf := r.buffer(length)
			defer r.buffers.Put(buf)
			body := (*buf)[:length]
			got, err := r.fetch(gctx, log, job.RetrievalID, offset, length, body)
			if err != nil {
				return err
			}
			hashes[i], sums[i] = got.tree, got.crc
			if err := upload.Part(gctx, i+1, body, sums[i]); err != nil {
				return err
			}
			return progress.add(ctx, length)
		})
	}
	if err := g.Wait(); err != nil {
		return archive.Verified{}, err
	}
	if err := emit(ctx, r.status(job, archive.Verifying, string(job.RetrievalID), promised.Size)); err != nil {
		return archive.Verified{}, err
	}
	copied := archive.Content{Size: promised.Size, TreeHash: treehash.Combine(hashes)}
	if copied.TreeHash != promised.TreeHash {
		return archive.Verified{}, fault.Errorf(fault.Corrupt, "archive %s: the ranges' tree hash is %s, the archive's %s", job.ArchiveID, copied.TreeHash, promised.TreeHash)
	}
	sum := sums[0]
	for i := 1; i < n; i++ {
		sum = crc64nvme.Combine(sum, sums[i], min(size, promised.Size-int64(i)*size))
	}
	stored, err := upload.Complete(ctx, promised.Size, sum)
	if err != nil {
		return archive.Verified{}, err
	}
	return verify(job.ArchiveID, promised, copied, stored)
}

// partSize returns the smallest power of two times least with which an object
// of size bytes has no more parts than S3 allows.
func partSize(size, least int64) int64 {
	for (size+least-1)/least > maxParts {
		least *= 2
	}
	return least
}

// progress tells of the bytes that are copied, at most once a second.
type progress struct {
	r    *Restorer
	job  archive.Job
	size int64

	mu   sync.Mutex // guards what follows, and calls of emit
	done int64
	told time.Time
	emit Emit
}

func (p *progress) add(ctx context.Context, n int64) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.done += n
	now := p.r.Now()
	if now.Sub(p.told) < time.Second {
		return nil
	}
	p.told = now
	s := p.r.status(p.job, archive.Copying, "", p.size)
	s.Bytes = p.done
	if err := p.emit(ctx, s); err != nil {
		return fmt.Errorf("tell progress: %w", err)
	}
	return nil
}
