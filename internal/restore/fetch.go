package restore

import (
	"cmp"
	"context"
	"errors"
	"io"
	"log/slog"
	"sync"

	"github.com/gas-restore/gas/internal/archive"
	"github.com/gas-restore/gas/internal/checksum/crc64nvme"
	"github.com/gas-restore/gas/internal/checksum/treehash"
	"github.com/gas-restore/gas/internal/fault"
)

// tries is how often the restorer fetches a range, sends a part, or continues to read an
// object, before the delivery fails.
const tries = 3

// fetch gets the bytes of a small file into memory. For a large file, put fetches each span
// when it sends the span.
func (r *Restorer) fetch(ctx context.Context, f *file) error {
	if f.large || f.nothing != nil {
		return nil
	}
	f.buffer = r.takeBuffer(f.notification.Size)
	f.body = (*f.buffer)[:f.notification.Size]
	got, err := r.fetchRange(ctx, f.log, f.job, 0, -1, f.body)
	if s, expired := errors.AsType[*stopped](err); expired {
		f.nothing = s
		return f.expect()
	}
	if err != nil {
		return err
	}
	f.copied, f.sum = archive.Content{Size: int64(len(f.body)), TreeHash: got.tree, CRC: got.crc.String()}, &got.crc
	return f.expectCopied(cmp.Or(got.promised, f.notification.TreeHash, f.job.TreeHash), got.promisedCRC)
}

// checksums are the checksums of a range that arrived.
type checksums struct {
	// tree is the tree hash of the bytes that arrived, crc their CRC.
	tree treehash.Sum
	crc  crc64nvme.Sum
	// promised is the tree hash that Glacier gave with the range. It is empty if Glacier gave
	// none; otherwise it equals tree.
	promised string
	// promisedCRC is S3's CRC of the whole archive, if the store gave one with the range.
	promisedCRC string
}

// fetchRange fills buf with the output from offset on and returns its checksums. After a
// cut connection, a short body or wrong bytes it fetches this range again.
func (r *Restorer) fetchRange(ctx context.Context, log *slog.Logger, job archive.Job, offset, length int64, buf []byte) (checksums, error) {
	var err error
	for try := 1; try <= tries; try++ {
		var sums checksums
		sums, err = r.fetchOnce(ctx, job, offset, length, buf)
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

func (r *Restorer) fetchOnce(ctx context.Context, job archive.Job, offset, length int64, buf []byte) (checksums, error) {
	id := job.RetrievalID
	out, err := r.Vault.Output(ctx, job, offset, length)
	if fault.Is(err, fault.NotFound) {
		return checksums{}, stop(Expired, err)
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
		// The CRC is computed before the tree hash, and S3 compares the stored bytes with the
		// CRC. If a bit flips in memory before the tree hash is computed, the tree hash shows
		// it. If a bit flips after the CRC is computed, S3 finds it. In the other order, nobody
		// would find a bit that flips between the two computations.
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
	sums := checksums{tree: got, crc: crc, promised: out.TreeHash, promisedCRC: out.CRC}
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

// readLeaves fills buf from r. It calls look with each leaf of the tree hash while it reads
// the next leaf. So the leaf is still in the processor's cache, and the connection does not
// wait for a hash. When readLeaves returns, look has seen all leaves that arrived whole.
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

// takeBuffer returns a pooled buffer of at least n bytes.
func (r *Restorer) takeBuffer(n int64) *[]byte {
	if b, ok := r.buffers.Get().(*[]byte); ok && int64(cap(*b)) >= n {
		*b = (*b)[:cap(*b)]
		return b
	}
	b := make([]byte, n)
	return &b
}
