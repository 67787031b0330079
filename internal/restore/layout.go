package restore

import "github.com/gas-restore/gas/internal/archive"

const (
	// maxParts is the most parts that S3 allows in an object.
	maxParts = 10_000
	// maxPart is the most bytes that S3 allows in a part.
	maxPart = 5 << 30
)

// layout says how an archive is cut. S3 takes the archive in parts, and Glacier gives each
// part in spans. A part is one span, unless the archive would then have more parts than S3
// allows. In a larger archive a part has several spans, which are sent one after the other.
// So the use of memory depends on the span and never on the part. The sizes of both are
// powers of two times a MiB. So each part and each span is a node of the archive's tree, and
// has a tree hash.
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

// parts returns the number of parts.
func (l layout) parts() int { return int((l.size + l.part - 1) / l.part) }

// bounds returns the offset and the length of the part i, counted from 0.
func (l layout) bounds(i int) (offset, length int64) {
	offset = int64(i) * l.part
	return offset, min(l.part, l.size-offset)
}

// part is a part of a large file: its place in the file, and its proof once it is uploaded.
type part struct {
	offset, length int64
	proof          proof
	up             archive.Part // its Number is 0 until the part is uploaded
}

// cut returns the layout of size bytes, and the parts.
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
