package archive

import (
	"fmt"
	"time"

	"github.com/gas-restore/gas/internal/checksum/treehash"
	"github.com/gas-restore/gas/pkg/events"
)

// Content identifies bytes by their size and Glacier tree hash.
type Content struct {
	Size     int64
	TreeHash treehash.Sum
}

// Mark is in the metadata of a restored object: it names the archive. It is for people:
// metadata can be copied, so it proves nothing.
type Mark struct {
	Archive events.ArchiveID
	Content Content
}

// Stored is S3's description of an object, its size and its own checksum, together with
// the checksum of the bytes that were sent.
type Stored struct {
	Object   Object
	Size     int64
	Checksum string
	Sent     string
}

// Verified proves that all bytes of an archive are in S3. It is needed to delete the
// archive. Only [Verify] and [Recognize] make one: the zero Verified names no archive.
type Verified struct {
	archive events.ArchiveID
	object  Object
	content Content
}

// Archive returns the archive that may be deleted; empty for the zero value.
func (v Verified) Archive() events.ArchiveID { return v.archive }

// Object returns the object with the bytes.
func (v Verified) Object() Object { return v.object }

// Content returns the size and the tree hash of the bytes.
func (v Verified) Content() Content { return v.content }

// Verify compares the copied bytes with Glacier's description of the archive and with the
// object that S3 stored. The error names the difference.
func Verify(id events.ArchiveID, promised, copied Content, stored Stored) (Verified, error) {
	switch {
	case id == "":
		return Verified{}, fmt.Errorf("verify: no archive")
	case copied.Size != promised.Size:
		return Verified{}, fmt.Errorf("verify %s: copied %d bytes, the archive has %d", id, copied.Size, promised.Size)
	case copied.TreeHash != promised.TreeHash:
		return Verified{}, fmt.Errorf("verify %s: copied tree hash %s, the archive's is %s", id, copied.TreeHash, promised.TreeHash)
	case stored.Size != copied.Size:
		return Verified{}, fmt.Errorf("verify %s: %s has %d bytes, copied %d", id, stored.Object, stored.Size, copied.Size)
	case stored.Sent == "" || stored.Checksum != stored.Sent:
		return Verified{}, fmt.Errorf("verify %s: %s has checksum %q, sent %q", id, stored.Object, stored.Checksum, stored.Sent)
	}
	return Verified{archive: id, object: stored.Object, content: copied}, nil
}

// Found is an object that existed already.
type Found struct {
	Object Object
	Size   int64
	// Checksum is S3's own checksum of the whole object; empty if the object has none of
	// the kind that this service uses.
	Checksum string
	// ETag is S3's name for these bytes.
	ETag string
	// ModifiedAt is the time when the object was put.
	ModifiedAt time.Time
	// Mark is the mark in the object's metadata; nil if it has none.
	Mark *Mark
}

// Recognize proves that an existing object is the archive. read describes all of its
// bytes as they were read back from S3. The error names the difference.
func Recognize(id events.ArchiveID, promised, read Content, found Found) (Verified, error) {
	switch {
	case id == "":
		return Verified{}, fmt.Errorf("recognize: no archive")
	case found.Size != promised.Size || read.Size != promised.Size:
		return Verified{}, fmt.Errorf("%s has %d bytes, and %d were read; the archive has %d", found.Object, found.Size, read.Size, promised.Size)
	case read.TreeHash != promised.TreeHash:
		return Verified{}, fmt.Errorf("%s has tree hash %s, the archive's is %s", found.Object, read.TreeHash, promised.TreeHash)
	}
	return Verified{archive: id, object: found.Object, content: promised}, nil
}
