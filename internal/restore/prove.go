package restore

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/gas-restore/gas/internal/archive"
	"github.com/gas-restore/gas/internal/checksum/crc64nvme"
	"github.com/gas-restore/gas/internal/checksum/treehash"
	"github.com/gas-restore/gas/internal/fault"
)

// prove proves that S3 has the bytes of the archive. Either put wrote them, or they were at
// the key before. If the retrieval brought no output and no object is at the key, the error is
// the reason why the retrieval brought no output.
func (r *Restorer) prove(ctx context.Context, f *file) error {
	if f.stored != nil {
		return f.verify(f.copied, *f.stored)
	}
	if f.found == nil {
		found, err := r.Bucket.Stat(ctx, f.job.Result)
		if fault.Is(err, fault.NotFound) && f.nothing != nil {
			return f.nothing
		}
		if err != nil {
			return err
		}
		f.found = &found
	}
	return r.recognize(ctx, f, *f.found)
}

// verify compares the copied bytes with the archive, and with the object that S3 stored.
func (f *file) verify(copied archive.Content, stored archive.Stored) (err error) {
	if f.verified, err = archive.Verify(f.job.Source(), f.content, copied, stored); err != nil {
		return stop(Mismatch, err)
	}
	return nil
}

// recognize proves that the object at the key is the archive. If this delivery fetched the
// bytes, S3's checksum of the object is enough. Otherwise recognize reads the object back to
// its last byte. It never overwrites an object with other content.
func (r *Restorer) recognize(ctx context.Context, f *file, found archive.Found) error {
	if found.Size != f.content.Size {
		return occupied(f, found, errors.New("it has another size"))
	}
	if f.sum != nil && found.Checksum == f.sum.String() {
		return f.verify(f.copied, archive.Stored{Object: found.Object, Size: found.Size, Checksum: found.Checksum, Sent: f.sum.String()})
	}
	f.log.Info("the object is there already: reading it back", "object", found.Object, "bytes", found.Size)
	read, err := r.readBack(ctx, f, found)
	if err != nil {
		return err
	}
	verified, differs := archive.Recognize(f.job.Source(), f.content, read, found)
	if differs == nil {
		f.verified = verified
		return nil
	}
	// The first reading may have been wrong. So recognize reads the object again before it
	// tells an operator that another object is at the key.
	again, err := r.readBack(ctx, f, found)
	if err != nil {
		return err
	}
	if again != read {
		return stopf(Mismatch, "%s was read back twice with different content: %s, then %s", found.Object, read.Hash(), again.Hash())
	}
	return occupied(f, found, differs)
}

// occupied returns an error with all that an operator needs to decide which object is right.
func occupied(f *file, found archive.Found, why error) error {
	by := "it does not say that a restore put it there"
	if found.Mark != nil {
		by = "it says that it holds archive " + string(found.Mark.Archive)
	}
	return stop(Occupied, fmt.Errorf("%s is there already with other content and is not written over: %w; it has %d bytes and ETag %s since %s, %s; the archive has %d bytes and %s. "+
		"Move it away and replay this, or delete the archive if the object is right",
		found.Object, why, found.Size, found.ETag, found.ModifiedAt.UTC().Format(time.RFC3339), by, f.content.Size, f.content.Hash()))
}

// readBack reads an object to its last byte. After a cut connection it continues at the byte
// where the connection was cut.
func (r *Restorer) readBack(ctx context.Context, f *file, found archive.Found) (archive.Content, error) {
	h, at := &hashes{tree: treehash.New()}, int64(0)
	for try := 1; ; try++ {
		n, err := r.readOn(ctx, h, found, at)
		if at += n; n > 0 {
			try = 1
		}
		switch {
		case err == nil:
			return archive.Content{Size: at, TreeHash: h.tree.TreeHash(), CRC: h.crc.String()}, nil
		case fault.Is(err, fault.Conflict):
			return archive.Content{}, fault.Errorf(fault.Transient, "it changed while it was read: %w", err)
		case ctx.Err() != nil || !fault.Is(err, fault.Transient) || try >= tries:
			return archive.Content{}, err
		}
		f.log.Warn("reading the object continues after an error", "offset", at, "err", err)
	}
}

// hashes computes the two hashes of the bytes that are written to it.
type hashes struct {
	tree *treehash.Hash
	crc  crc64nvme.Sum
}

// Write implements io.Writer.
func (h *hashes) Write(p []byte) (int, error) {
	h.crc = crc64nvme.Update(h.crc, p)
	return h.tree.Write(p)
}

func (r *Restorer) readOn(ctx context.Context, h *hashes, found archive.Found, at int64) (int64, error) {
	if at == found.Size && at > 0 {
		return 0, nil
	}
	body, err := r.Bucket.Read(ctx, found, at)
	if err != nil {
		return 0, err
	}
	defer body.Close()
	n, err := io.Copy(h, body)
	if err == nil && at+n < found.Size {
		err = io.ErrUnexpectedEOF
	}
	if err != nil {
		return n, fault.Errorf(fault.Transient, "read %s from %d: %w", found.Object, at, err)
	}
	return n, nil
}
