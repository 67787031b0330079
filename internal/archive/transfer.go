package archive

import (
	"context"
	"io"

	"github.com/gas-restore/gas/internal/crc64nvme"
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

// Upload is an object on its way to S3 in parts. Nothing of it is visible until
// it is completed. Part may be called from several goroutines at once.
type Upload interface {
	// Part stores the part with the number n, counted from 1.
	Part(ctx context.Context, n int, body []byte, sum crc64nvme.Sum) error
	// Complete makes the object visible, unless something is there: then the
	// error is of kind Conflict. size and sum are those of the whole.
	Complete(ctx context.Context, size int64, sum crc64nvme.Sum) (Stored, error)
	// Abort gives the upload up and frees its parts.
	Abort(context.Context) error
}
