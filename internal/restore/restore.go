// Package restore brings the output of a finished retrieval back to S3. The
// restorer handles a notification about a retrieval in eight steps. Each step has a file with
// its name:
//
//	look     reads what the catalog, the notification and Glacier say about the file
//	fetch    gets the output and compares it with its tree hash
//	put      puts the bytes into S3
//	prove    proves that S3 has the bytes of the archive
//	tidy     aborts the uploads that earlier deliveries left unfinished
//	release  deletes the archive
//	clear    removes the archive from the catalog
//	tell     reports that the file is restored
//
// A step that cannot continue returns an error. The table [Exits] says what happens then.
package restore

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/gas-restore/gas/internal/archive"
	"github.com/gas-restore/gas/internal/kv"
	"github.com/gas-restore/gas/internal/trace"
	"github.com/gas-restore/gas/pkg/events"
)

// Restorer restores archives. Set every field, except those with a default for zero and those
// that may be nil.
type Restorer struct {
	Catalog Catalog
	Vault   Vault
	Bucket  Bucket
	Uploads Uploads
	// KV has the proofs of the parts of unfinished copies. Without a KV, or while it cannot be
	// reached, an interrupted copy begins anew.
	KV kv.Store
	// PartSize is the number of bytes that one call fetches: a power of two times a MiB; 8 MiB
	// if zero. A file of up to this size is small, and one call puts it. A larger file is put
	// in parts of this size. If that makes too many parts, the parts are larger.
	PartSize int64
	// Parallel is the number of spans of one file that are in memory at a time; 3 if zero. A
	// span has PartSize bytes.
	Parallel int
	// MaxParts is the most parts that an object may have; if zero, it is S3's limit of 10,000.
	MaxParts int
	Now      func() time.Time
	Log      *slog.Logger
	// OnRestored is called for each restored file, with the job as it was before. OnKept is
	// called for each archive that cannot be deleted because the vault is locked. Both may be
	// nil.
	OnRestored func(job archive.Job, bytes int64)
	OnKept     func()
	// OnForeign is called for each retrieval of another tool. It may be nil.
	OnForeign func()
	// OnOutput is called when the copy of an output begins. left is the time until the output
	// expires; it is below zero if the output may have expired. OnOutput may be nil.
	OnOutput func(left time.Duration)

	once     sync.Once
	buffers  sync.Pool
	expiring expiringFirst
}

const (
	defaultPartSize = 8 << 20
	defaultParallel = 3
)

func (r *Restorer) init() {
	if r.PartSize == 0 {
		r.PartSize = defaultPartSize
	}
	if r.Parallel == 0 {
		r.Parallel = defaultParallel
	}
	if r.MaxParts == 0 {
		r.MaxParts = maxParts
	}
}

// Restore brings back the archive of the notification's retrieval. The notification is a
// hint: the catalog decides which archive, which retrieval and which key are right.
func (r *Restorer) Restore(ctx context.Context, notification events.RetrievalCompleted, emit Emit) error {
	r.once.Do(r.init)
	f := &file{
		notification: notification,
		emit:         emit,
		log:          trace.Log(ctx, r.Log).With("job", notification.JobID, "retrieval", notification.RetrievalID),
	}
	defer r.free(f)
	names := [...]string{"look", "fetch", "put", "prove", "tidy", "release", "clear", "tell"}
	for i, step := range []func(context.Context, *file) error{
		r.look, r.fetch, r.put, r.prove, r.tidy, r.release, r.clear, r.tell,
	} {
		stepCtx, span := trace.Child(ctx, "restore", names[i])
		err := step(stepCtx, f)
		span.Done(err)
		if err != nil {
			return r.leave(ctx, f, err)
		}
	}
	return nil
}

// free returns the buffer of a small file to the pool, if there is one.
func (r *Restorer) free(f *file) {
	if f.buffer != nil {
		r.buffers.Put(f.buffer)
		f.buffer, f.body = nil, nil
	}
}
