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

// Mark is what a restored object carries in its metadata: which archive's bytes
// it holds. It is for people: metadata can be copied, so it proves nothing.
type Mark struct {
	Archive events.ArchiveID
	Content Content
}

// Stored is what S3 said of an object: its size and its own checksum, beside
// the checksum of the bytes that were sent.
type Stored struct {
	Object   Object
	Size     int64
	Checksum string
	Sent     string
}

// Verified proves that an archive's bytes are in S3, whole. It is the only
// ticket to deleting the archive, and [Verify] and [Recognize] are the only
// places that make one: the zero Verified names no archive.
type Verified struct {
	archive events.ArchiveID
	object  Object
	content Content
}

// Archive returns the archive that may be deleted; empty for the zero value.
func (v Verified) Archive() events.ArchiveID { return v.archive }

// Object returns where the bytes are.
func (v Verified) Object() Object { return v.object }

// Content returns what they are.
func (v Verified) Content() Content { return v.content }

// Verify compares what Glacier promised with what was copied, and what was
// copied with what S3 stored. The error names what differs.
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

// Found is an object that was there already.
type Found struct {
	Object Object
	Size   int64
	// Checksum is S3's own of the whole object, empty if it has none of the kind
	// that this service uses.
	Checksum string
	// ETag is S3's name for these bytes.
	ETag string
	// ModifiedAt is when it was put there.
	ModifiedAt time.Time
	// Mark is what it says of itself; nil if it says nothing.
	Mark *Mark
}

// Recognize proves that an object that was found is the archive: read is what
// its bytes are, read back from S3 to the last. The error names what differs.
func Recognize(id events.ArchiveID, promised, read Content, found Found) (Verified, error) {
	switch {
	case id == "":
		return Verified{}, fmt.Errorf("recognize: no archive")
	case found.Size != promised.Size || read.Size != promised.Size:
		return Verified{}, fmt.Errorf("%s has %d bytes, of which %d were read; the archive has %d", found.Object, found.Size, read.Size, promised.Size)
	case read.TreeHash != promised.TreeHash:
		return Verified{}, fmt.Errorf("%s has tree hash %s, the archive's is %s", found.Object, read.TreeHash, promised.TreeHash)
	}
	return Verified{archive: id, object: found.Object, content: promised}, nil
}
