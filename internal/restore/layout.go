package restore

import "github.com/gas-restore/gas/internal/archive"

const (
	// maxParts is how many parts S3 lets an object have.
	maxParts = 10_000
	// maxPart is how many bytes S3 lets a part have.
	maxPart = 5 << 30
)

// layout is how an archive is cut: into parts, in which S3 takes it, and each
// part into spans, in which Glacier gives it. A part is one span as long as S3's
// parts last; of a larger archive it is several, sent one after the other, so
// that memory goes by the span and never by the part. Both are powers of two
// times a MiB, so that each is a node of the archive's tree and has a tree hash.
type layout struct {
	size, part, span int64
}

// layoutOf cuts size bytes into at most parts parts.
func layoutOf(size, span int64, parts int) (layout, error) {
	part := span
	for (size+part-1)/part > int64(parts) {
		part *= 2
	}
	if part > maxPart {
		return layout{}, stopf(TooLarge, "%d bytes do not fit into one object of S3: %d parts of up to %d bytes", size, parts, int64(maxPart))
	}
	return layout{size, part, span}, nil
}

// parts returns how many there are.
func (l layout) parts() int { return int((l.size + l.part - 1) / l.part) }

// bounds returns where the part i, counted from 0, begins, and its length.
func (l layout) bounds(i int) (offset, length int64) {
	offset = int64(i) * l.part
	return offset, min(l.part, l.size-offset)
}

// part is a part of a large file: where it is, and what is known of it once it is up.
type part struct {
	offset, length int64
	proof          proof
	up             archive.Part // its Number is 0 until the part is up
}

// cut returns the layout of size bytes, and its parts.
func cut(size, span int64, most int) (layout, []part, error) {
	l, err := layoutOf(size, span, most)
	if err != nil {
		return l, nil, err
	}
	parts := make([]part, l.parts())
	for i := range parts {
		parts[i].offset, parts[i].length = l.bounds(i)
	}
	return l, parts, nil
}
