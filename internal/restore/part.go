package restore

import (
	"context"
	"fmt"
	"io"
	"sync"

	"github.com/gas-restore/gas/internal/archive"
	"github.com/gas-restore/gas/internal/checksum/crc64nvme"
	"github.com/gas-restore/gas/internal/checksum/treehash"
	"github.com/gas-restore/gas/internal/fault"
)

// copyPart copies the part with the number n, counted from 1.
func (c *copying) copyPart(ctx context.Context, n int, p *part) error {
	buf := c.r.takeBuffer(min(c.layout.span, p.length))
	defer c.r.buffers.Put(buf)
	src := newSource(ctx, p.offset, p.length, c.layout.span, *buf)
	src.fetch = func(ctx context.Context, offset int64, buf []byte) (checksums, error) {
		sums, err := c.r.fetchRange(ctx, c.f.log, c.f.job, offset, int64(len(buf)), buf)
		if err == nil {
			err = c.told.add(ctx, int64(len(buf)))
		}
		return sums, err
	}
	src.proven = func(ctx context.Context, proven proof) func() {
		p.proof = proven
		var saving sync.WaitGroup
		saving.Go(func() { c.proofs.save(ctx, n, proven) })
		return saving.Wait
	}
	defer src.wait()
	for try := 1; ; try++ {
		up, err := c.sendPart(ctx, src, n, p)
		if err == nil {
			p.up = up
			return nil
		}
		if src.err != nil || !fault.Is(err, fault.Corrupt) || try == tries || ctx.Err() != nil {
			return err
		}
		c.f.log.Warn("part sent again", "part", n, "try", try, "err", err)
		src.forget() // the bytes may have changed in this process's memory
	}
}

// sendPart sends a part to S3, and compares S3's checksum with the part's proof.
func (c *copying) sendPart(ctx context.Context, src *source, n int, p *part) (archive.Part, error) {
	var sum *crc64nvme.Sum
	if p.length <= c.layout.span {
		// The whole part is in memory, so its checksum can be sent with the request. Then S3
		// refuses a part that arrives with other bytes.
		if err := src.load(0); err != nil {
			return archive.Part{}, err
		}
		sum = &p.proof.crc
	}
	up, err := c.upload.Put(ctx, n, src, p.length, sum)
	switch {
	case src.err != nil:
		return up, src.err // the cause, and not the SDK's error about it
	case err != nil:
		return up, err
	case src.left > 0 || up.Sum != p.proof.crc:
		return up, fault.Errorf(fault.Corrupt, "part %d: S3 has checksum %s, sent %s", n, up.Sum, p.proof.crc)
	}
	return up, nil
}

// source reads one part from Glacier. It fetches one span at a time into its buffer, and
// gives out no byte of a span that does not match its tree hash. When the SDK sends the part
// again, it may seek back and read the part again. Only one goroutine at a time may use a
// source.
type source struct {
	ctx   context.Context // the copy's context; Read has no parameter for it
	fetch func(ctx context.Context, offset int64, buf []byte) (checksums, error)
	// proven is called once with the proof of the whole part, before source gives out the
	// last span. It begins to save the proof, and returns a function that waits until the
	// proof is saved. source calls that function before it returns from the read of the
	// last byte.
	proven func(context.Context, proof) (saved func())

	offset, length, span int64
	buf                  []byte // room for one span
	held                 int    // the index of the span in buf; -1 if there is none
	pos                  int64
	sums                 []checksums // of the spans that arrived
	came                 []bool
	left                 int // the number of spans that have not arrived yet
	saved                func()
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
		s.err = err // fetch decides how often to try: the SDK must not try again
		return err
	}
	s.held, s.sums[i] = i, sums
	if !s.came[i] {
		s.came[i] = true
		if s.left--; s.left == 0 {
			s.saved = s.proven(s.ctx, proof{s.tree(), s.crc()})
		}
	}
	return nil
}

// forget empties the buffer, so that the next read fetches the part again from its beginning.
func (s *source) forget() { s.held, s.pos = -1, 0 }

// tree returns the part's tree hash. All spans must have arrived.
func (s *source) tree() treehash.Sum {
	sums := make([]treehash.Sum, len(s.sums))
	for i, c := range s.sums {
		sums[i] = c.tree
	}
	return treehash.Combine(sums)
}

// crc returns the part's CRC. All spans must have arrived.
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

// wait returns when the proof is saved, or at once if there is no proof yet. Call it at the
// end.
func (s *source) wait() {
	if s.saved != nil {
		s.saved()
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
