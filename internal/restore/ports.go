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

// Catalog is the job table, as the restorer reads and writes it. A write succeeds only if the
// catalog still has the archive, or none, and the retrieval of the given job. Otherwise the
// error has the kind Conflict.
type Catalog interface {
	// Job returns the current job, or an error of kind NotFound.
	Job(context.Context, events.JobID) (archive.Job, error)
	// ClearArchive removes archive_id, retrieval_request_id and the attributes that this
	// service keeps beside them. It writes the job's RestoredBy, the retrieval that brought
	// the file back.
	ClearArchive(context.Context, archive.Job) error
	// ClearRetrieval removes retrieval_request_id, but not the archive, and counts the failure.
	// Thaw may request the archive again from notBefore on.
	ClearRetrieval(ctx context.Context, job archive.Job, f archive.Failure, notBefore time.Time) error
	// ClearLeftovers removes retrieval_request_id, and the attributes that this service keeps
	// beside it, from a job without an archive.
	ClearLeftovers(context.Context, archive.Job) error
}

// Vault is the restorer's port to Glacier.
type Vault interface {
	// Output opens length bytes of the output of the job's retrieval, from offset on. The
	// length -1 means the whole output. An error of kind NotFound says that the output expired.
	Output(ctx context.Context, job archive.Job, offset, length int64) (archive.Output, error)
	// Describe returns the job's retrieval, or an error of kind NotFound.
	Describe(context.Context, archive.Job) (archive.Retrieval, error)
	// Delete deletes an archive. The archive.Verified proves that S3 has the archive's bytes. A
	// second Delete of the same archive is no error. An error of kind Denied says that the vault is
	// locked.
	Delete(context.Context, archive.Verified) error
}

// Bucket is the restorer's port to objects in S3.
type Bucket interface {
	// Stat describes the object at o, or returns an error of kind NotFound.
	Stat(ctx context.Context, o archive.Object) (archive.Found, error)
	// Read opens the object that Stat found, from offset on. An error of kind Conflict says
	// that another object is at the key now.
	Read(ctx context.Context, found archive.Found, offset int64) (io.ReadCloser, error)
	// Put stores body at o, with the mark. It replaces nothing: if an object is at o already,
	// the error has the kind Conflict.
	Put(ctx context.Context, o archive.Object, mark archive.Mark, body []byte, sum crc64nvme.Sum) (archive.Stored, error)
}

// Uploads is the restorer's port to multipart uploads in S3.
type Uploads interface {
	// Begin begins an upload to o, with the mark. The object becomes visible only when the
	// upload is completed.
	Begin(ctx context.Context, o archive.Object, mark archive.Mark) (archive.Upload, error)
	// Unfinished returns the uploads to o that were neither completed nor aborted.
	Unfinished(ctx context.Context, o archive.Object) ([]archive.Upload, error)
}
