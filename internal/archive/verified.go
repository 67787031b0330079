package archive

import (
	"fmt"
	"time"

	"github.com/gas-restore/gas/internal/checksum/treehash"
	"github.com/gas-restore/gas/pkg/events"
)

// Content identifies bytes by their size and a hash.
type Content struct {
	Size int64
	// TreeHash is the Glacier tree hash. It is zero if nobody knows it: then CRC counts.
	TreeHash treehash.Sum
	// CRC is S3's CRC-64/NVME of all bytes, as S3 writes it; empty if unknown.
	CRC string
}

// Hash returns the hash that identifies the bytes, for people.
func (c Content) Hash() string {
	if c.TreeHash == (treehash.Sum{}) {
		return "CRC-64/NVME " + c.CRC
	}
	return "tree hash " + c.TreeHash.String()
}

// Same reports whether bytes that arrived are the bytes that were promised. The tree hash
// decides if it was promised, and else the CRC. If neither was promised, nothing is the same.
func (c Content) Same(promised Content) bool {
	switch {
	case c.Size != promised.Size:
		return false
	case promised.TreeHash != (treehash.Sum{}):
		return c.TreeHash == promised.TreeHash
	}
	return promised.CRC != "" && c.CRC == promised.CRC
}

// Source is an archive that a file comes from.
type Source struct {
	ID   events.ArchiveID
	Copy Copy
}

// Source returns the job's archive.
func (j Job) Source() Source { return Source{j.ArchiveID, j.Copy} }

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
	source  Source
	object  Object
	content Content
}

// Archive returns the archive that may be deleted; empty for the zero value.
func (v Verified) Archive() events.ArchiveID { return v.source.ID }

// Copy returns the place of the archive.
func (v Verified) Copy() Copy { return v.source.Copy }

// Object returns the object with the bytes.
func (v Verified) Object() Object { return v.object }

// Content returns the size and the hash of the bytes.
func (v Verified) Content() Content { return v.content }

// Verify compares the copied bytes with Glacier's description of the archive and with the
// object that S3 stored. The error names the difference.
func Verify(source Source, promised, copied Content, stored Stored) (Verified, error) {
	id := source.ID
	switch {
	case id == "":
		return Verified{}, fmt.Errorf("verify: no archive")
	case copied.Size != promised.Size:
		return Verified{}, fmt.Errorf("verify %s: copied %d bytes, the archive has %d", id, copied.Size, promised.Size)
	case !copied.Same(promised):
		return Verified{}, fmt.Errorf("verify %s: copied %s, CRC-64/NVME %q; the archive has %s", id, copied.Hash(), copied.CRC, promised.Hash())
	case stored.Size != copied.Size:
		return Verified{}, fmt.Errorf("verify %s: %s has %d bytes, copied %d", id, stored.Object, stored.Size, copied.Size)
	case stored.Sent == "" || stored.Checksum != stored.Sent:
		return Verified{}, fmt.Errorf("verify %s: %s has checksum %q, sent %q", id, stored.Object, stored.Checksum, stored.Sent)
	}
	return Verified{source: source, object: stored.Object, content: copied}, nil
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
func Recognize(source Source, promised, read Content, found Found) (Verified, error) {
	id := source.ID
	switch {
	case id == "":
		return Verified{}, fmt.Errorf("recognize: no archive")
	case found.Size != promised.Size || read.Size != promised.Size:
		return Verified{}, fmt.Errorf("%s has %d bytes, and %d were read; the archive has %d", found.Object, found.Size, read.Size, promised.Size)
	case !read.Same(promised):
		return Verified{}, fmt.Errorf("%s has %s, CRC-64/NVME %q; the archive has %s", found.Object, read.Hash(), read.CRC, promised.Hash())
	}
	return Verified{source: source, object: found.Object, content: promised}, nil
}
