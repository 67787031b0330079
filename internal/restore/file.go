package restore

import (
	"log/slog"

	"github.com/gas-restore/gas/internal/archive"
	"github.com/gas-restore/gas/internal/checksum/crc64nvme"
	"github.com/gas-restore/gas/internal/checksum/treehash"
	"github.com/gas-restore/gas/pkg/events"
)

// file is the file that a notice is about: what is expected of it, and what the steps
// found out so far. Each step sets the fields under its name and reads those above.
type file struct {
	notice events.RetrievalCompleted
	emit   Emit
	log    *slog.Logger

	// look:
	job   archive.Job
	known bool // job is in the catalog, and can be worked with
	large bool // the file is put in parts
	// nothing is the reason why the retrieval brings nothing; nil if it brings its output.
	// If it is set, nothing is fetched and put, and prove looks whether the file is in S3
	// already. fetch sets it too.
	nothing error
	// retrieval is what Glacier says; it is asked about large files and failures.
	retrieval archive.Retrieval
	// content is what the archive's bytes have to be. fetch sets it of a small file.
	content archive.Content

	// fetch:
	buffer *[]byte
	body   []byte          // the bytes of a small file
	copied archive.Content // what came, by our own count; put sets it of a large file
	sum    *crc64nvme.Sum  // the CRC of what came; put sets it of a large file

	// put:
	found  *archive.Found  // the object that was at the key of a large file before
	stored *archive.Stored // what S3 says of the object that was put

	// prove:
	verified archive.Verified
}

// expect sets what the archive's bytes have to be, before any of them came: by Glacier's
// word, or by the notice's and the catalog's if the retrieval came to nothing. If nobody
// says a tree hash, the file cannot be looked for in S3, and the error is f.nothing.
func (f *file) expect() error {
	size, hash := f.retrieval.Size, f.retrieval.TreeHash
	if f.nothing != nil {
		if size, hash = f.notice.Size, f.notice.TreeHash; hash == "" {
			size, hash = f.job.ArchiveSize, f.job.TreeHash
		}
	}
	tree, ok := treehash.Parse(hash)
	switch {
	case ok && size >= 0:
	case f.nothing != nil:
		return f.nothing
	default:
		return stopf(NoTreeHash, "Glacier describes retrieval %s with %d bytes and tree hash %q", f.retrieval.ID, size, hash)
	}
	f.content = archive.Content{Size: size, TreeHash: tree}
	return f.agree(f.content)
}

// expectCopied sets what the bytes of a small file have to be, once they came: hash is
// the first that anybody says.
func (f *file) expectCopied(hash string) error {
	if err := f.agree(f.copied); err != nil {
		return err
	}
	tree, ok := treehash.Parse(hash)
	if !ok {
		return stopf(Mismatch, "archive %s: neither Glacier nor the catalog says its tree hash", f.job.ArchiveID)
	}
	f.content = archive.Content{Size: f.notice.Size, TreeHash: tree}
	return nil
}

// agree compares content with what the catalog and the notice say, where they say
// anything.
func (f *file) agree(c archive.Content) error {
	tree := c.TreeHash.String()
	switch id := f.job.ArchiveID; {
	case f.job.ArchiveSize >= 0 && f.job.ArchiveSize != c.Size:
		return stopf(Mismatch, "archive %s has %d bytes, the catalog says %d", id, c.Size, f.job.ArchiveSize)
	case f.job.TreeHash != "" && f.job.TreeHash != tree:
		return stopf(Mismatch, "archive %s has tree hash %s, the catalog says %s", id, tree, f.job.TreeHash)
	case f.notice.TreeHash != "" && f.notice.TreeHash != tree:
		return stopf(Mismatch, "archive %s has tree hash %s, the notification says %s", id, tree, f.notice.TreeHash)
	}
	return nil
}
