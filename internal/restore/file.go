package restore

import (
	"log/slog"

	"github.com/gas-restore/gas/internal/archive"
	"github.com/gas-restore/gas/internal/checksum/crc64nvme"
	"github.com/gas-restore/gas/internal/checksum/treehash"
	"github.com/gas-restore/gas/pkg/events"
)

// file is the file that a notification is about. It has what the restorer expects, and what
// the steps found out so far. Each step sets the fields under its name, and reads the fields
// above.
type file struct {
	notification events.RetrievalCompleted
	emit         Emit
	log          *slog.Logger

	// look:
	job   archive.Job
	known bool // job is in the catalog and readable
	large bool // the file must be put in parts
	// nothing is the reason why the retrieval brings no output; nil if it brings one. If
	// nothing is set, fetch and put do no work, and prove checks whether the file is in S3
	// already. fetch can set it too.
	nothing error
	// retrieval is Glacier's description of the retrieval. look asks Glacier only about large
	// files and failures.
	retrieval archive.Retrieval
	// content is the size and the tree hash that the archive's bytes must have. fetch sets it
	// for a small file.
	content archive.Content

	// fetch:
	buffer *[]byte
	body   []byte          // the bytes of a small file
	copied archive.Content // size and tree hash of the bytes that arrived; put sets it for a large file
	sum    *crc64nvme.Sum  // the CRC of those bytes; put sets it for a large file

	// put:
	found  *archive.Found  // the object that was already at the key of a large file
	stored *archive.Stored // S3's answer about the object that was put

	// prove:
	verified archive.Verified
}

// expect sets f.content before any bytes arrive. It takes size and tree hash from Glacier.
// If the retrieval brings no output, it takes them from the notification or the catalog. If
// none of these has a tree hash, prove could not recognize the file in S3, and the error is
// f.nothing.
func (f *file) expect() error {
	size, hash := f.retrieval.Size, f.retrieval.TreeHash
	if f.nothing != nil {
		if size, hash = f.notification.Size, f.notification.TreeHash; hash == "" {
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

// expectCopied sets f.content of a small file after its bytes arrived. hash is the archive's
// tree hash from the first source that has one.
func (f *file) expectCopied(hash string) error {
	if err := f.agree(f.copied); err != nil {
		return err
	}
	tree, ok := treehash.Parse(hash)
	if !ok {
		return stopf(Mismatch, "archive %s: neither Glacier nor the catalog says its tree hash", f.job.ArchiveID)
	}
	f.content = archive.Content{Size: f.notification.Size, TreeHash: tree}
	return nil
}

// agree compares c with the size and tree hash in the catalog, and with the tree hash in the
// notification. It skips values that are absent.
func (f *file) agree(c archive.Content) error {
	tree := c.TreeHash.String()
	switch id := f.job.ArchiveID; {
	case f.job.ArchiveSize >= 0 && f.job.ArchiveSize != c.Size:
		return stopf(Mismatch, "archive %s has %d bytes, the catalog says %d", id, c.Size, f.job.ArchiveSize)
	case f.job.TreeHash != "" && f.job.TreeHash != tree:
		return stopf(Mismatch, "archive %s has tree hash %s, the catalog says %s", id, tree, f.job.TreeHash)
	case f.notification.TreeHash != "" && f.notification.TreeHash != tree:
		return stopf(Mismatch, "archive %s has tree hash %s, the notification says %s", id, tree, f.notification.TreeHash)
	}
	return nil
}
