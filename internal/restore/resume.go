package restore

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"log/slog"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/gas-restore/gas/internal/archive"
	"github.com/gas-restore/gas/internal/checksum/crc64nvme"
	"github.com/gas-restore/gas/internal/checksum/treehash"
	"github.com/gas-restore/gas/internal/fault"
)

// Notes is a small durable store that all workers share.
type Notes interface {
	// Get returns the note at key and its revision; an error of kind NotFound if
	// there is none.
	Get(ctx context.Context, key string) (note []byte, revision uint64, err error)
	// Put writes the note whatever is there.
	Put(ctx context.Context, key string, note []byte) error
}

// proof is what is noted of a part before the last of it is sent: two checksums
// of the same bytes. S3 lists its own CRC of what it has; if that is the noted
// one, S3 has bytes of the noted tree hash.
type proof struct {
	tree treehash.Sum
	crc  crc64nvme.Sum
}

func (p proof) String() string { return p.tree.String() + " " + p.crc.String() }

func parseProof(note []byte) (p proof, ok bool) {
	var tree, crc string
	if _, err := fmt.Sscan(string(note), &tree, &crc); err != nil {
		return p, false
	}
	var okTree, okCRC bool
	p.tree, okTree = treehash.Parse(tree)
	p.crc, okCRC = crc64nvme.Parse(crc)
	return p, okTree && okCRC
}

// ledger is where the proofs of one upload's parts are noted.
type ledger struct {
	notes Notes
	name  string
	log   *slog.Logger
}

// ledgerOf names the ledger by all that a part's bytes follow from. So an upload
// that somebody else began, or for another archive, or with other parts, has no
// proofs.
func (r *Restorer) ledgerOf(log *slog.Logger, u archive.Upload, job archive.Job, want archive.Content, l layout) ledger {
	sum := sha256.Sum256(fmt.Appendf(nil, "%q %q %d %s %d", u.ID(), job.ArchiveID, want.Size, want.TreeHash, l.part))
	return ledger{r.Notes, hex.EncodeToString(sum[:16]), log}
}

func (l ledger) key(n int) string { return fmt.Sprintf("part.%s.%d", l.name, n) }

// note writes a proof down. One that is not written costs a part's copy after a
// crash, and is no reason to stop.
func (l ledger) note(ctx context.Context, n int, p proof) {
	if l.notes == nil {
		return
	}
	if err := l.notes.Put(ctx, l.key(n), []byte(p.String())); err != nil && ctx.Err() == nil {
		l.log.Warn("part not noted: after a crash it would be copied again", "part", n, "err", err)
	}
}

// kept is a part that an earlier delivery put up, with what is known of it.
type kept struct {
	archive.Part
	proof
}

// keep returns the parts that are up and proven, by their index in the layout.
func (l ledger) keep(ctx context.Context, parts []archive.Part, cut layout) map[int]kept {
	found := map[int]kept{}
	if l.notes == nil {
		return found
	}
	var mu sync.Mutex // guards found
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(8)
	for _, p := range parts {
		i := p.Number - 1
		if i >= cut.parts() {
			continue
		}
		if _, length := cut.bounds(i); length != p.Size {
			continue
		}
		g.Go(func() error {
			note, _, err := l.notes.Get(ctx, l.key(p.Number))
			if err != nil {
				if !fault.Is(err, fault.NotFound) && ctx.Err() == nil {
					l.log.Warn("part's note not read: it is copied again", "part", p.Number, "err", err)
				}
				return nil
			}
			if proof, ok := parseProof(note); ok && proof.crc == p.Sum {
				mu.Lock()
				defer mu.Unlock()
				found[i] = kept{p, proof}
			}
			return nil
		})
	}
	g.Wait()
	return found
}

// resume returns the upload that goes on: the unfinished one with the most
// proven parts, or a new one. Every other one to the same key is aborted; such
// are left by a call whose answer was lost, or by somebody who has no business
// there while the file is in the vault.
func (r *Restorer) resume(ctx context.Context, log *slog.Logger, job archive.Job, want archive.Content, l layout) (archive.Upload, ledger, map[int]kept, error) {
	uploads, err := r.Uploads.Unfinished(ctx, job.Result)
	if fault.Is(err, fault.Denied) {
		log.Warn("unfinished uploads cannot be listed, so nothing is resumed: allow s3:ListBucketMultipartUploads", "err", err)
	} else if err != nil {
		return nil, ledger{}, nil, err
	}
	var best archive.Upload
	var proofs ledger
	var parts map[int]kept
	for _, u := range uploads {
		listed, err := u.Parts(ctx)
		if err != nil {
			return nil, ledger{}, nil, err
		}
		book := r.ledgerOf(log, u, job, want, l)
		if have := book.keep(ctx, listed, l); len(have) > len(parts) {
			best, proofs, parts = u, book, have
		}
	}
	if ctx.Err() != nil {
		return nil, ledger{}, nil, ctx.Err() // not all was read: nothing is thrown away on a guess
	}
	for _, u := range uploads {
		if u != best {
			r.abort(ctx, log, u)
		}
	}
	if best != nil {
		log.Info("the copy goes on", "upload", best.ID(), "parts", len(parts), "of", l.parts())
		return best, proofs, parts, nil
	}
	u, err := r.Uploads.Begin(ctx, job.Result, archive.Mark{Archive: job.ArchiveID, Content: want})
	if err != nil {
		return nil, ledger{}, nil, err
	}
	return u, r.ledgerOf(log, u, job, want, l), nil, nil
}

// abort gives an upload up. If that fails, the next delivery or the bucket's
// lifecycle rule does it.
func (r *Restorer) abort(ctx context.Context, log *slog.Logger, u archive.Upload) {
	if err := u.Abort(context.WithoutCancel(ctx)); err != nil {
		log.Warn("upload not aborted", "upload", u.ID(), "err", err)
	}
}

// sweep aborts what uploads there still are to the key of a file that is proven
// to be there.
func (r *Restorer) sweep(ctx context.Context, log *slog.Logger, o archive.Object) error {
	uploads, err := r.Uploads.Unfinished(ctx, o)
	if err == nil {
		for _, u := range uploads {
			if err = u.Abort(ctx); err != nil {
				break
			}
		}
	}
	if fault.Is(err, fault.Denied) {
		log.Warn("unfinished uploads not swept: the bucket's lifecycle rule frees their parts", "err", err)
		return nil
	}
	return err
}
