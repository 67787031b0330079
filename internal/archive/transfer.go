package archive

import (
	"context"
	"io"

	"github.com/gas-restore/gas/internal/checksum/crc64nvme"
)

// Output is a retrieval's output, or a range of it, opened for reading.
type Output struct {
	Body io.ReadCloser
	// Size is the number of bytes that Body has; -1 if that is not known.
	Size int64
	// TreeHash is what Glacier says of exactly these bytes, in hex; empty where
	// it says nothing.
	TreeHash string
}

// Part is a part of an upload, as S3 has it.
type Part struct {
	// Number counts from 1.
	Number int
	// Size is in bytes.
	Size int64
	// Sum is S3's own checksum of it.
	Sum crc64nvme.Sum
	// ETag is S3's name for these bytes in this place.
	ETag string
}

// Upload is an object on its way to S3 in parts. Nothing of it is visible until
// it is completed. Put may be called from several goroutines at once.
type Upload interface {
	// ID is S3's name of the upload.
	ID() string
	// Parts returns the parts that S3 has, by number; none if the upload is gone.
	Parts(context.Context) ([]Part, error)
	// Put stores the part with the number n, in place of one that is there. sum is
	// the checksum of the size bytes of body; nil if it is known only when they
	// have been read. body may be read again from its beginning.
	Put(ctx context.Context, n int, body io.ReadSeeker, size int64, sum *crc64nvme.Sum) (Part, error)
	// Complete makes an object of the parts and returns what S3 then says of it.
	// sum is that of the whole. If something is there already, it is left as it
	// is and the error is of kind Conflict.
	Complete(ctx context.Context, parts []Part, sum crc64nvme.Sum) (Stored, error)
	// Abort gives the upload up and frees its parts. Doing it twice is no error.
	Abort(context.Context) error
}
