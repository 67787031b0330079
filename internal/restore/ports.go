package restore

import (
	"context"
	"io"
	"time"

	"github.com/gas-restore/gas/internal/archive"
	"github.com/gas-restore/gas/internal/checksum/crc64nvme"
	"github.com/gas-restore/gas/pkg/events"
)

// Emit publishes an event. The event is stored before the handled message is acked.
type Emit = func(context.Context, events.Event) error

// Catalog is what the restorer reads and writes of a job. Each write needs the catalog
// to have the archive and the retrieval of the given job; else the error is of kind
// Conflict.
type Catalog interface {
	// Job returns the job as it is now, or an error of kind NotFound.
	Job(context.Context, events.JobID) (archive.Job, error)
	// ClearArchive removes archive_id, retrieval_request_id and all that this service
	// keeps beside them. It writes that the job's RestoredBy brought the file back.
	ClearArchive(context.Context, archive.Job) error
	// ClearRetrieval removes retrieval_request_id alone and counts the failure. The archive
	// may be asked for again from notBefore on.
	ClearRetrieval(ctx context.Context, job archive.Job, f archive.Failure, notBefore time.Time) error
}

// Vault is what the restorer does with Glacier.
type Vault interface {
	// Output opens length bytes of a retrieval's output from offset on; length -1 is all.
	// An error of kind NotFound says that the output expired.
	Output(ctx context.Context, id events.RetrievalID, offset, length int64) (archive.Output, error)
	// Describe returns the retrieval, or an error of kind NotFound.
	Describe(context.Context, events.RetrievalID) (archive.Retrieval, error)
	// Delete deletes an archive whose bytes are proven to be in S3. To delete it twice is
	// no error. An error of kind Denied says that the vault is locked.
	Delete(context.Context, archive.Verified) error
}

// Bucket is what the restorer does with objects of S3.
type Bucket interface {
	// Stat returns what is at o, or an error of kind NotFound.
	Stat(ctx context.Context, o archive.Object) (archive.Found, error)
	// Read opens the object that Stat found, from offset on. An error of kind Conflict says
	// that another object is there by now.
	Read(ctx context.Context, found archive.Found, offset int64) (io.ReadCloser, error)
	// Put stores body at o, with the mark. It replaces nothing: if an object is there, the
	// error is of kind Conflict.
	Put(ctx context.Context, o archive.Object, mark archive.Mark, body []byte, sum crc64nvme.Sum) (archive.Stored, error)
}

// Uploads is what the restorer does with S3 for objects of more than one part.
type Uploads interface {
	// Begin begins an upload to o, with the mark. The object is visible when the upload is
	// completed, and not before.
	Begin(ctx context.Context, o archive.Object, mark archive.Mark) (archive.Upload, error)
	// Unfinished returns the uploads to o that were neither completed nor aborted.
	Unfinished(ctx context.Context, o archive.Object) ([]archive.Upload, error)
}
