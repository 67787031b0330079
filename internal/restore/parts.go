package restore

import (
	"context"

	"golang.org/x/sync/errgroup"

	"github.com/gas-restore/gas/internal/archive"
	"github.com/gas-restore/gas/internal/checksum/crc64nvme"
	"github.com/gas-restore/gas/internal/checksum/treehash"
	"github.com/gas-restore/gas/internal/fault"
)

// putParts copies a large file in spans, several parts at a time, into an upload. Nothing
// is visible until all parts are uploaded and the tree hash of the whole file matches.
// putParts continues an upload that an earlier delivery left.
func (r *Restorer) putParts(ctx context.Context, f *file) error {
	// If an object is at the key already, a large file is not copied.
	found, err := r.Bucket.Stat(ctx, f.job.Result)
	if err == nil {
		f.found = &found
		return nil
	}
	if !fault.Is(err, fault.NotFound) {
		return err
	}
	l, parts, err := cut(f.content.Size, r.PartSize, r.MaxParts)
	if err != nil {
		return err
	}
	c := &copying{r: r, f: f, layout: l, parts: parts, told: progress{r: r, f: f}}
	if err := c.begin(ctx); err != nil {
		return err
	}
	if err := c.copyParts(ctx); err != nil {
		return err
	}
	if !f.copied.Same(f.content) {
		c.abort(ctx, c.upload) // nobody knows which part is wrong
		return stopf(Mismatch, "the spans have %s, CRC-64/NVME %s; the archive has %s", f.copied.Hash(), f.copied.CRC, f.content.Hash())
	}
	up := make([]archive.Part, len(parts))
	for i, p := range parts {
		up[i] = p.up
	}
	stored, err := c.upload.Complete(ctx, up, *f.sum)
	switch fault.KindOf(err) {
	case fault.Conflict:
		// Another worker completed the upload first, or an earlier call of this worker did so
		// and its answer was lost.
		return nil
	case fault.Corrupt:
		c.abort(ctx, c.upload)
	}
	if err != nil {
		return err
	}
	f.stored = &stored
	return nil
}

// copying is the copy of a large file's parts.
type copying struct {
	r      *Restorer
	f      *file
	layout layout
	parts  []part
	upload archive.Upload
	proofs proofs
	told   progress
}

// begin sets the upload: an unfinished upload with proven parts, or a new one. It aborts all
// other uploads to the same key. A call can leave such an upload if its answer is lost.
// Nobody else may write to the key while the file is in the vault.
func (c *copying) begin(ctx context.Context) error {
	others, err := c.resume(ctx)
	if err != nil {
		return err
	}
	for _, u := range others {
		c.abort(ctx, u)
	}
	if c.upload != nil {
		return nil
	}
	c.upload, err = c.r.Uploads.Begin(ctx, c.f.job.Result, archive.Mark{Archive: c.f.job.ArchiveID, Content: c.f.content})
	if err != nil {
		return err
	}
	c.proofs = c.proofsOf(c.upload)
	return nil
}

// abort aborts an upload. If that fails, the next delivery or the bucket's lifecycle rule
// aborts it.
func (c *copying) abort(ctx context.Context, u archive.Upload) {
	if err := u.Abort(context.WithoutCancel(ctx)); err != nil {
		c.f.log.Warn("upload not aborted", "upload", u.ID(), "err", err)
	}
}

// copyParts copies the parts that are not uploaded yet. Then it sets size, tree hash and CRC
// of all parts together.
func (c *copying) copyParts(ctx context.Context) error {
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(c.r.Parallel)
	for i := range c.parts {
		p := &c.parts[i]
		if p.up.Number != 0 {
			continue // an earlier delivery uploaded it
		}
		if gctx.Err() != nil {
			break
		}
		g.Go(func() error { return c.copyPart(gctx, i+1, p) })
	}
	if err := g.Wait(); err != nil {
		return err
	}
	if err := c.f.emit(ctx, c.r.status(c.f, archive.Verifying, string(c.f.job.RetrievalID), c.layout.size)); err != nil {
		return err
	}
	trees := make([]treehash.Sum, len(c.parts))
	sum := c.parts[0].proof.crc
	for i, p := range c.parts {
		trees[i] = p.proof.tree
		if i > 0 {
			sum = crc64nvme.Combine(sum, p.proof.crc, p.length)
		}
	}
	c.f.copied, c.f.sum = archive.Content{Size: c.layout.size, TreeHash: treehash.Combine(trees), CRC: sum.String()}, &sum
	return nil
}
