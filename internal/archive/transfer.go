package archive

import (
	"context"
	"io"

	"github.com/gas-restore/gas/internal/checksum/crc64nvme"
)

// Output is the output of a retrieval, or a range, opened for reading.
type Output struct {
	Body io.ReadCloser
	// Size is the number of bytes that Body has; -1 if that is not known.
	Size int64
	// TreeHash is Glacier's tree hash of exactly these bytes, in hex; empty if Glacier
	// gives none.
	TreeHash string
	// CRC is S3's CRC-64/NVME of the whole archive, as S3 writes it; empty if the store gives
	// none. Only the whole output has it.
	CRC string
}

// Part is an uploaded part in S3.
type Part struct {
	// Number counts from 1.
	Number int
	// Size is in bytes.
	Size int64
	// Sum is S3's own checksum of the part.
	Sum crc64nvme.Sum
	// ETag is S3's name for these bytes.
	ETag string
}

// Upload is an object on its way to S3 in parts. The object is invisible until the upload
// is completed. Several goroutines may call Put at once.
type Upload interface {
	// ID is S3's name of the upload.
	ID() string
	// Parts returns the parts that S3 has, by number; none if the upload is gone.
	Parts(context.Context) ([]Part, error)
	// Put stores the part with the number n, over an earlier one. sum is the checksum of
	// the size bytes of body; nil if it is known only after they have been read. body may
	// be read again from its beginning.
	Put(ctx context.Context, n int, body io.ReadSeeker, size int64, sum *crc64nvme.Sum) (Part, error)
	// Complete makes an object from the parts, and returns S3's description of the
	// object. sum is the checksum of the whole. If an object exists already, it stays as
	// it is, and the error is of kind Conflict.
	Complete(ctx context.Context, parts []Part, sum crc64nvme.Sum) (Stored, error)
	// Abort ends the upload and frees its parts. It may be called twice.
	Abort(context.Context) error
}
