package restore

import (
	"context"
	"fmt"
	"io"

	"github.com/gas-restore/gas/internal/checksum/crc64nvme"
	"github.com/gas-restore/gas/internal/checksum/treehash"
)

// source is one part's bytes as they come from Glacier, proven: a span at a
// time is fetched into the one buffer, and is not given out before it matches.
// It can be read again from anywhere, as the SDK does when it sends a part
// again. One goroutine at a time may use it.
type source struct {
	ctx   context.Context // of the copy; Read has no other place for it
	fetch func(ctx context.Context, offset int64, buf []byte) (checksums, error)
	// proven is told of the whole part's checksums, once, before its last span is given
	// out. What it returns waits until they are noted: the last byte is not given out
	// before, and the others are meanwhile.
	proven func(context.Context, treehash.Sum, crc64nvme.Sum) (noted func())

	offset, length, span int64
	buf                  []byte // of one span
	held                 int    // which span buf has; -1 is none
	pos                  int64
	sums                 []checksums // of the spans that came
	came                 []bool
	left                 int // how many have not come
	noted                func()
	err                  error
}

func newSource(ctx context.Context, offset, length, span int64, buf []byte) *source {
	n := int((length + span - 1) / span)
	return &source{
		ctx: ctx, offset: offset, length: length, span: span, buf: buf, held: -1,
		sums: make([]checksums, n), came: make([]bool, n), left: n,
	}
}

// load brings the span i into the buffer.
func (s *source) load(i int) error {
	if s.err != nil || s.held == i {
		return s.err
	}
	s.held = -1
	from := int64(i) * s.span
	sums, err := s.fetch(s.ctx, s.offset+from, s.buf[:min(s.span, s.length-from)])
	if err != nil {
		s.err = err // the SDK must not have it tried again: fetch has
		return err
	}
	s.held, s.sums[i] = i, sums
	if !s.came[i] {
		s.came[i] = true
		if s.left--; s.left == 0 {
			s.noted = s.proven(s.ctx, s.tree(), s.crc())
		}
	}
	return nil
}

// forget makes the part be fetched again, from its beginning.
func (s *source) forget() { s.held, s.pos = -1, 0 }

// tree returns the part's tree hash; all of it must have come.
func (s *source) tree() treehash.Sum {
	sums := make([]treehash.Sum, len(s.sums))
	for i, c := range s.sums {
		sums[i] = c.tree
	}
	return treehash.Combine(sums)
}

// crc returns the part's CRC; all of it must have come.
func (s *source) crc() crc64nvme.Sum {
	sum := s.sums[0].crc
	for i, c := range s.sums[1:] {
		sum = crc64nvme.Combine(sum, c.crc, min(s.span, s.length-int64(i+1)*s.span))
	}
	return sum
}

// Read implements io.Reader.
func (s *source) Read(p []byte) (int, error) {
	if s.pos >= s.length {
		return 0, io.EOF
	}
	i := int(s.pos / s.span)
	if err := s.load(i); err != nil {
		return 0, err
	}
	from := int64(i) * s.span
	n := copy(p, s.buf[s.pos-from:min(s.span, s.length-from)])
	if s.pos += int64(n); s.pos == s.length {
		s.wait()
	}
	return n, nil
}

// wait returns when what is proven is noted, if it is proven. Call it at the end.
func (s *source) wait() {
	if s.noted != nil {
		s.noted()
	}
}

// Seek implements io.Seeker. It fetches nothing.
func (s *source) Seek(offset int64, whence int) (int64, error) {
	switch whence {
	case io.SeekCurrent:
		offset += s.pos
	case io.SeekEnd:
		offset += s.length
	}
	if offset < 0 || offset > s.length {
		return s.pos, fmt.Errorf("seek to %d of %d bytes", offset, s.length)
	}
	s.pos = offset
	return offset, nil
}
