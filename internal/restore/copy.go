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
	"github.com/gas-restore/gas/internal/checksum/crc64nvme"
	"github.com/gas-restore/gas/internal/checksum/treehash"
	"github.com/gas-restore/gas/internal/fault"
	"github.com/gas-restore/gas/pkg/events"
)

// nothingError says that the retrieval came to nothing, and how: it failed, or its
// output is not there any more. Other things that are not there have the same kind.
type nothingError struct {
	how archive.Failure
	error
}

func (e nothingError) Unwrap() error { return e.error }

func gone(err error) error { return nothingError{archive.OutputExpired, err} }

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
	if fault.Is(err, fault.NotFound) {
		return checksums{}, gone(err)
	}
	if err != nil {
		return checksums{}, err
	}
	defer out.Body.Close()
	if out.Size >= 0 && out.Size != int64(len(buf)) {
		return checksums{}, fault.Errorf(fault.Corrupt, "output of %s from %d has %d bytes, want %d", id, offset, out.Size, len(buf))
	}
	crc, tree := crc64nvme.Sum(0), treehash.New()
	if err := readLeaves(out.Body, buf, func(leaf []byte) {
		// The CRC comes first: S3 compares what it stores with it. So a bit that flips
		// in memory before it is found by the tree hash, and one that flips later by
		// S3. The other way round, one between the two would pass both.
		crc = crc64nvme.Update(crc, leaf)
		tree.Write(leaf)
	}); err != nil {
		return checksums{}, fault.Errorf(fault.Transient, "read output of %s from %d: %w", id, offset, err)
	}
	var more [1]byte
	if n, err := out.Body.Read(more[:]); n > 0 {
		return checksums{}, fault.Errorf(fault.Corrupt, "output of %s from %d has more than %d bytes", id, offset, len(buf))
	} else if err != nil && !errors.Is(err, io.EOF) {
		return checksums{}, fault.Errorf(fault.Transient, "read the end of output of %s: %w", id, err)
	}
	got := tree.TreeHash()
	sums := checksums{got, out.TreeHash, crc}
	if out.TreeHash == "" {
		return sums, nil
	}
	want, ok := treehash.Parse(out.TreeHash)
	if !ok {
		return sums, fault.Errorf(fault.Corrupt, "output of %s: Glacier gives %q as its tree hash: want 64 hex digits", id, out.TreeHash)
	}
	if got != want {
		return sums, fault.Errorf(fault.Corrupt, "output of %s from %d: tree hash %s, Glacier says %s", id, offset, got, want)
	}
	return sums, nil
}

// readLeaves fills buf from r and shows each leaf to look while the next one comes:
// it is still in the processor's cache then, and the connection does not wait for a
// hash. All that came whole was looked at when it returns.
func readLeaves(r io.Reader, buf []byte, look func(leaf []byte)) error {
	leaves := make(chan []byte, len(buf)/treehash.ChunkSize+1) // room for all
	var looking sync.WaitGroup
	looking.Go(func() {
		for leaf := range leaves {
			look(leaf)
		}
	})
	defer looking.Wait()
	defer close(leaves)
	for rest := buf; len(rest) > 0; {
		leaf := rest[:min(treehash.ChunkSize, len(rest))]
		if _, err := io.ReadFull(r, leaf); err != nil {
			return err
		}
		leaves <- leaf
		rest = rest[len(leaf):]
	}
	return nil
}

// bringParts copies an archive in tree-hash-aligned spans, several parts at a
// time, straight into an upload that becomes visible only when all are there and
// the whole matches. An upload that an earlier delivery left goes on.
func (r *Restorer) bringParts(ctx context.Context, log *slog.Logger, job archive.Job, e events.RetrievalCompleted, emit Emit) (archive.Verified, error) {
	v, err := r.copyWhole(ctx, log, job, e, emit)
	if err != nil {
		if fault.Is(err, fault.Invalid) {
			// Somebody has to look, and should not find parts lying about.
			if err := r.sweep(ctx, log, job.Result); err != nil {
				log.Warn("unfinished uploads not swept", "err", err)
			}
		}
		return archive.Verified{}, err
	}
	return v, r.sweep(ctx, log, job.Result)
}

func (r *Restorer) copyWhole(ctx context.Context, log *slog.Logger, job archive.Job, e events.RetrievalCompleted, emit Emit) (archive.Verified, error) {
	retrieval, err := r.Vault.Describe(ctx, job.RetrievalID)
	if fault.Is(err, fault.NotFound) {
		return r.outlived(ctx, log, job, e, gone(err))
	}
	if err != nil {
		return archive.Verified{}, err
	}
	switch {
	case retrieval.ArchiveID != job.ArchiveID:
		return archive.Verified{}, fault.Errorf(fault.Invalid, "wrong retrieval: Glacier says that it is of archive %q", retrieval.ArchiveID)
	case retrieval.Status != archive.Succeeded:
		return archive.Verified{}, fault.Errorf(fault.Wait, "the notification says that the retrieval succeeded, Glacier says %s", retrieval.Status)
	}
	whole, err := hashOf(retrieval)
	if err != nil {
		return archive.Verified{}, err
	}
	promised := archive.Content{Size: retrieval.Size, TreeHash: whole}
	if err := promises(job, e, promised); err != nil {
		return archive.Verified{}, err
	}
	// A big copy is not begun if the file is there.
	if v, err := r.present(ctx, log, job, promised, nil); !fault.Is(err, fault.NotFound) {
		return v, err
	}
	cut, err := layoutOf(promised.Size, r.PartSize, r.MaxParts)
	if err != nil {
		return archive.Verified{}, err
	}
	upload, book, have, err := r.resume(ctx, log, job, promised, cut)
	if err != nil {
		return archive.Verified{}, err
	}
	c := &copying{r: r, log: log, job: job, cut: cut, upload: upload, book: book, emit: emit}
	copied, sum, err := c.parts(ctx, have)
	if err != nil {
		return archive.Verified{}, err
	}
	if copied.TreeHash != promised.TreeHash {
		r.abort(ctx, log, upload) // nobody knows which part it is
		return archive.Verified{}, fault.Errorf(fault.Corrupt, "the spans' tree hash is %s, the archive's %s", copied.TreeHash, promised.TreeHash)
	}
	stored, err := upload.Complete(ctx, c.done, sum)
	switch fault.KindOf(err) {
	case fault.Conflict:
		// Another worker, or this one in a call whose answer was lost.
		return r.present(ctx, log, job, promised, &sum)
	case fault.Corrupt:
		r.abort(ctx, log, upload)
	}
	if err != nil {
		return archive.Verified{}, err
	}
	return verify(job.ArchiveID, promised, copied, stored)
}

// copying is the copy of one archive's parts.
type copying struct {
	r      *Restorer
	log    *slog.Logger
	job    archive.Job
	cut    layout
	upload archive.Upload
	book   ledger
	emit   Emit
	done   []archive.Part
}

// parts copies the parts that are not up yet, and returns what all of them are
// together.
func (c *copying) parts(ctx context.Context, have map[int]kept) (archive.Content, crc64nvme.Sum, error) {
	n := c.cut.parts()
	proofs := make([]proof, n)
	c.done = make([]archive.Part, n)
	told := progress{r: c.r, job: c.job, size: c.cut.size, emit: c.emit}
	for i, k := range have {
		proofs[i], c.done[i] = k.proof, k.Part
		told.done += k.Size
	}
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(c.r.Parallel)
	for i := range n {
		if _, up := have[i]; up {
			continue
		}
		if gctx.Err() != nil {
			break
		}
		g.Go(func() error {
			var err error
			proofs[i], c.done[i], err = c.part(gctx, i, told.add)
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return archive.Content{}, 0, err
	}
	if err := c.emit(ctx, c.r.status(c.job, archive.Verifying, string(c.job.RetrievalID), c.cut.size)); err != nil {
		return archive.Content{}, 0, err
	}
	trees := make([]treehash.Sum, n)
	sum := proofs[0].crc
	for i, p := range proofs {
		trees[i] = p.tree
		if i > 0 {
			_, length := c.cut.bounds(i)
			sum = crc64nvme.Combine(sum, p.crc, length)
		}
	}
	return archive.Content{Size: c.cut.size, TreeHash: treehash.Combine(trees)}, sum, nil
}

// part copies the part i.
func (c *copying) part(ctx context.Context, i int, add func(context.Context, int64) error) (proof, archive.Part, error) {
	offset, length := c.cut.bounds(i)
	buf := c.r.buffer(min(c.cut.span, length))
	defer c.r.buffers.Put(buf)
	src := newSource(ctx, offset, length, c.cut.span, *buf)
	src.fetch = func(ctx context.Context, offset int64, buf []byte) (checksums, error) {
		sums, err := c.r.fetch(ctx, c.log, c.job.RetrievalID, offset, int64(len(buf)), buf)
		if err == nil {
			err = add(ctx, int64(len(buf)))
		}
		return sums, err
	}
	var p proof
	src.proven = func(ctx context.Context, tree treehash.Sum, crc crc64nvme.Sum) func() {
		p = proof{tree, crc}
		var noting sync.WaitGroup
		noting.Go(func() { c.book.note(ctx, i+1, proof{tree, crc}) })
		return noting.Wait
	}
	defer src.wait()
	for try := 1; ; try++ {
		up, err := c.send(ctx, src, &p, i+1, length)
		if err == nil || src.err != nil || !fault.Is(err, fault.Corrupt) || try == rangeTries || ctx.Err() != nil {
			return p, up, err
		}
		c.log.Warn("part sent again", "part", i+1, "try", try, "err", err)
		src.forget() // it may have gone wrong in this memory
	}
}

// send sends a part, with what p says of it once it came.
func (c *copying) send(ctx context.Context, src *source, p *proof, n int, length int64) (archive.Part, error) {
	var sum *crc64nvme.Sum
	if length <= c.cut.span {
		// The checksum goes before the bytes where it is known: S3 then refuses what
		// is not right, in place of being found out.
		if err := src.load(0); err != nil {
			return archive.Part{}, err
		}
		sum = &p.crc
	}
	up, err := c.upload.Put(ctx, n, src, length, sum)
	switch {
	case src.err != nil:
		return up, src.err // and not what the SDK made of it
	case err != nil:
		return up, err
	case src.left > 0 || up.Sum != p.crc:
		return up, fault.Errorf(fault.Corrupt, "part %d: S3 has checksum %s, sent %s", n, up.Sum, p.crc)
	}
	return up, nil
}

// progress tells of the bytes that came and match, at most once a second.
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
	// A part that is sent again comes again.
	p.done = min(p.done+n, p.size)
	now := p.r.Now()
	if now.Sub(p.told) < progressEvery {
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

// hashOf returns the tree hash that Glacier gives for the archive. The error's kind is
// Invalid.
func hashOf(r archive.Retrieval) (treehash.Sum, error) {
	if r.TreeHash == "" {
		return treehash.Sum{}, fault.Errorf(fault.Invalid, "Glacier describes retrieval %s without the archive's tree hash, without which no copy can be proven: nothing is copied, and the archive stays", r.ID)
	}
	sum, ok := treehash.Parse(r.TreeHash)
	if !ok {
		return treehash.Sum{}, fault.Errorf(fault.Invalid, "Glacier gives %q as the tree hash of the archive of retrieval %s: want 64 hex digits", r.TreeHash, r.ID)
	}
	return sum, nil
}
