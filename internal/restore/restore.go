// Package restore brings the output of a finished retrieval back to S3. A notice of a
// retrieval is worked on in eight steps; each step is in the file of its name:
//
//	look     reads what the catalog, the notice and Glacier say of the file
//	fetch    gets the output and compares it with its tree hash
//	put      puts the bytes into S3
//	prove    proves that S3 has the bytes of the archive
//	tidy     aborts the uploads that earlier deliveries left
//	release  deletes the archive
//	clear    removes the archive from the catalog
//	tell     tells that the file is restored
//
// A step that cannot go on returns an error. [Exits] is the table of what follows on it.
package restore

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/gas-restore/gas/internal/kv"
	"github.com/gas-restore/gas/pkg/events"
)

// Restorer restores archives. Set every field, or take the zero value's default
// where one is named.
type Restorer struct {
	Catalog Catalog
	Vault   Vault
	Bucket  Bucket
	Uploads Uploads
	// KV has the proofs of the parts of unfinished copies. Without it, or while it cannot
	// be reached, an interrupted copy begins anew.
	KV kv.Store
	// PartSize is how many bytes are fetched at a time: a power of two of MiB; 8 MiB if
	// zero. A file of up to this size is small: it is put in one call. A larger one is put
	// in parts of this size, or of larger ones if it would have too many parts.
	PartSize int64
	// Parallel is how many spans of PartSize of one file are in memory at a time; 3 if
	// zero.
	Parallel int
	// MaxParts is how many parts an object may have; S3's 10,000 if zero.
	MaxParts int
	Now      func() time.Time
	Log      *slog.Logger
	// OnRestored is told of each restored file, OnKept of each archive that the vault's
	// lock keeps from being deleted. Both may be nil.
	OnRestored func(bytes int64)
	OnKept     func()
	// OnForeign is told of each retrieval that another tool asked for. It may be nil.
	OnForeign func()
	// OnOutput is told how long an output will still be there when its copy begins. The
	// time is below zero if the output may be gone. It may be nil.
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

// Restore brings the archive of the notice's retrieval back. The notice is a hint: the
// catalog says which archive, which retrieval and which key it is.
func (r *Restorer) Restore(ctx context.Context, notice events.RetrievalCompleted, emit Emit) error {
	r.once.Do(r.init)
	f := &file{
		notice: notice,
		emit:   emit,
		log:    r.Log.With("job", notice.JobID, "retrieval", notice.RetrievalID),
	}
	defer r.free(f)
	for _, step := range []func(context.Context, *file) error{
		r.look, r.fetch, r.put, r.prove, r.tidy, r.release, r.clear, r.tell,
	} {
		if err := step(ctx, f); err != nil {
			return r.leave(ctx, f, err)
		}
	}
	return nil
}

// free gives the buffer of a small file back, if there is one.
func (r *Restorer) free(f *file) {
	if f.buffer != nil {
		r.buffers.Put(f.buffer)
		f.buffer, f.body = nil, nil
	}
}
