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
// If the retrieval brings no output, it takes them from the notification or the catalog. S3
// knows no tree hash: then the catalog's counts, or else S3's CRC of the archive. If none of
// these is known, prove could not recognize the file in S3, and the error is f.nothing.
func (f *file) expect() error {
	size, hash, crc := f.retrieval.Size, f.retrieval.TreeHash, f.retrieval.CRC
	if f.nothing != nil {
		if size, hash = f.notification.Size, f.notification.TreeHash; hash == "" {
			size, hash = f.job.ArchiveSize, f.job.TreeHash
		}
	} else if !f.job.Copy.InVault() {
		hash = f.job.TreeHash
	}
	tree, ok := treehash.Parse(hash)
	switch {
	case ok && size >= 0:
	case crc != "" && hash == "" && f.nothing == nil:
		f.content = archive.Content{Size: size, CRC: crc}
		return f.agree(f.content)
	case f.nothing != nil:
		return f.nothing
	default:
		return stopf(NoTreeHash, "Glacier describes retrieval %s with %d bytes and tree hash %q", f.retrieval.ID, size, hash)
	}
	f.content = archive.Content{Size: size, TreeHash: tree}
	return f.agree(f.content)
}

// expectCopied sets f.content of a small file after its bytes arrived. hash is the archive's
// tree hash from the first source that has one. crc is S3's CRC of the archive; it counts if
// no source has a tree hash.
func (f *file) expectCopied(hash, crc string) error {
	if err := f.agree(f.copied); err != nil {
		return err
	}
	if hash == "" && crc != "" {
		f.content = archive.Content{Size: f.notification.Size, CRC: crc}
		return nil
	}
	tree, ok := treehash.Parse(hash)
	if !ok {
		return stopf(Mismatch, "archive %s: neither its store nor the catalog gives its tree hash", f.job.ArchiveID)
	}
	f.content = archive.Content{Size: f.notification.Size, TreeHash: tree}
	return nil
}

// agree compares c with the size and tree hash in the catalog, and with the tree hash in the
// notification. It skips values that are absent.
func (f *file) agree(c archive.Content) error {
	tree, known := c.TreeHash.String(), c.TreeHash != (treehash.Sum{})
	switch id := f.job.ArchiveID; {
	case f.job.ArchiveSize >= 0 && f.job.ArchiveSize != c.Size:
		return stopf(Mismatch, "archive %s has %d bytes, the catalog says %d", id, c.Size, f.job.ArchiveSize)
	case !known:
		// The bytes are not here yet, and S3 has only their CRC.
	case f.job.TreeHash != "" && f.job.TreeHash != tree:
		return stopf(Mismatch, "archive %s has tree hash %s, the catalog says %s", id, tree, f.job.TreeHash)
	case f.notification.TreeHash != "" && f.notification.TreeHash != tree:
		return stopf(Mismatch, "archive %s has tree hash %s, the notification says %s", id, tree, f.notification.TreeHash)
	}
	return nil
}
