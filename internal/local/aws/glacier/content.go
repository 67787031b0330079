package glacier

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"net/http"
	"os"
	"sync"

	"github.com/gas-restore/gas/internal/checksum/treehash"
	"github.com/gas-restore/gas/internal/local/aws/world"
)

// content is bytes in blobs, one after the other.
type content struct {
	Size   int64   `json:"size"`
	Hash   string  `json:"hash,omitempty"` // the tree hash
	Pieces []piece `json:"pieces,omitempty"`
}

// piece is a blob: its bytes, and after them, if there are several, the sums of
// its leaves. All pieces of a content but the last are whole leaves.
type piece struct {
	Blob string `json:"blob"`
	Size int64  `json:"size"`
	Hash string `json:"hash"`
}

// content returns the content that is p alone.
func (p piece) content() content { return content{Size: p.Size, Hash: p.Hash, Pieces: []piece{p}} }

func leaves(size int64) int64 { return max(1, (size+treehash.ChunkSize-1)/treehash.ChunkSize) }

var buffers = sync.Pool{New: func() any { return new([256 << 10]byte) }}

var zeros [64 << 10]byte

// receive writes an upload's body of size bytes to a blob, and checks it
// against the hashes that the request claims. Runs of zeros become holes.
func (s *Service) receive(r *http.Request, size int64) (p piece, e *world.Error) {
	tree, linear := r.Header.Get("X-Amz-Sha256-Tree-Hash"), r.Header.Get("X-Amz-Content-Sha256")
	if size == 0 { // SDKs send no hashes of an empty body
		none := treehash.Of(nil).String()
		tree, linear = cmp.Or(tree, none), cmp.Or(linear, none)
	}
	claimed, ok := treehash.Parse(tree)
	switch {
	case tree == "":
		return p, missing("Required parameter missing: Checksum")
	case !ok:
		return p, invalid("Invalid x-amz-sha256-tree-hash: %s", tree)
	case linear == "":
		return p, missing("Required parameter missing: x-amz-content-sha256")
	}
	name, f, err := s.w.NewBlob()
	if err != nil {
		return p, unavailable(err)
	}
	got, sum, e := receiveInto(f, r.Body, size)
	if err := f.Close(); err != nil && e == nil {
		e = unavailable(err)
	}
	switch {
	case e != nil:
	case got != claimed:
		e = invalid("Checksum mismatch: expected %s but received %s", claimed, got)
	case sum != linear:
		e = invalid("The value passed in as x-amz-content-sha256 does not match the computed payload hash. Computed digest: %s, expected hash: %s", sum, linear)
	}
	if e != nil {
		s.w.RemoveBlob(name)
		return p, e
	}
	return piece{Blob: name, Size: size, Hash: got.String()}, nil
}

func unavailable(err error) *world.Error {
	return world.Errorf(http.StatusInternalServerError, "ServiceUnavailableException", "store the data: %v", err)
}

// receiveInto copies size bytes to f, and returns their tree hash and SHA-256.
func receiveInto(f *os.File, body io.Reader, size int64) (treehash.Sum, string, *world.Error) {
	buf := buffers.Get().(*[256 << 10]byte)
	defer buffers.Put(buf)
	single := leaves(size) == 1 // then the tree's only leaf is the SHA-256
	var linear hash.Hash
	if !single {
		linear = sha256.New()
	}
	leaf := sha256.New()
	var sums []treehash.Sum
	endLeaf := func() {
		var sum treehash.Sum
		leaf.Sum(sum[:0])
		leaf.Reset()
		sums = append(sums, sum)
	}
	inLeaf := 0
	for at := int64(0); at < size; {
		n, err := io.ReadFull(body, buf[:min(int64(len(buf)), size-at, int64(treehash.ChunkSize-inLeaf))])
		if err != nil {
			return treehash.Sum{}, "", world.Errorf(http.StatusRequestTimeout, "RequestTimeoutException", "The body ended after %d of %d bytes.", at+int64(n), size)
		}
		b := buf[:n]
		if err := writeSparse(f, b, at); err != nil {
			return treehash.Sum{}, "", unavailable(err)
		}
		leaf.Write(b)
		if linear != nil {
			linear.Write(b)
		}
		at += int64(n)
		if inLeaf += n; inLeaf == treehash.ChunkSize {
			endLeaf()
			inLeaf = 0
		}
	}
	if n, _ := io.ReadFull(body, buf[:1]); n > 0 {
		return treehash.Sum{}, "", invalid("The body has more than the %d bytes that it was to have.", size)
	}
	if inLeaf > 0 || len(sums) == 0 {
		endLeaf()
	}
	if err := f.Truncate(size); err != nil { // the last bytes may be a hole
		return treehash.Sum{}, "", unavailable(err)
	}
	if single {
		return sums[0], sums[0].String(), nil
	}
	trailer := make([]byte, 0, len(sums)*treehash.Size)
	for _, sum := range sums {
		trailer = append(trailer, sum[:]...)
	}
	if _, err := f.WriteAt(trailer, size); err != nil {
		return treehash.Sum{}, "", unavailable(err)
	}
	return treehash.Combine(sums), hex.EncodeToString(linear.Sum(nil)), nil
}

// writeSparse writes b at an offset and leaves out blocks of zeros.
func writeSparse(f *os.File, b []byte, at int64) error {
	for len(b) > 0 {
		n := min(len(b), len(zeros))
		if !bytes.Equal(b[:n], zeros[:n]) {
			if _, err := f.WriteAt(b[:n], at); err != nil {
				return err
			}
		}
		b, at = b[n:], at+int64(n)
	}
	return nil
}

// write copies the bytes [from, from+n) of a content to w.
func (s *Service) write(w io.Writer, c content, from, n int64) error {
	for _, p := range c.Pieces {
		if n == 0 {
			return nil
		}
		if from >= p.Size {
			from -= p.Size
			continue
		}
		take := min(n, p.Size-from)
		if err := s.writePiece(w, p, from, take); err != nil {
			return err
		}
		from, n = 0, n-take
	}
	if n > 0 {
		return errors.New("the content ends before the range does")
	}
	return nil
}

func (s *Service) writePiece(w io.Writer, p piece, from, n int64) error {
	f, err := s.w.OpenBlob(p.Blob)
	if err != nil {
		return err
	}
	defer f.Close()
	if _, err := f.Seek(from, io.SeekStart); err != nil {
		return err
	}
	if rf, ok := w.(io.ReaderFrom); ok { // a connection's sendfile
		got, err := rf.ReadFrom(io.LimitReader(f, n))
		if err == nil && got < n {
			err = io.ErrUnexpectedEOF
		}
		return err
	}
	buf := buffers.Get().(*[256 << 10]byte)
	defer buffers.Put(buf)
	_, err = io.CopyBuffer(w, io.LimitReader(f, n), buf[:])
	return err
}

// aligned tells whether the bytes [from, from+n) of a content are a node of its
// tree, so that their own tree hash is known.
// See https://docs.aws.amazon.com/amazonglacier/latest/dev/checksum-calculations-range.html.
func aligned(size, from, n int64) bool {
	to := from + n
	if n <= 0 || from < 0 || to > size || from%treehash.ChunkSize != 0 || to%treehash.ChunkSize != 0 && to != size {
		return false
	}
	width := int64(1) // of the smallest subtree that has room for it
	for width < leaves(n) {
		width *= 2
	}
	return (from/treehash.ChunkSize)%width == 0 && (width == leaves(n) || to == size)
}

// hashOf returns the tree hash of the bytes [from, from+n) of a content; ok is
// false if the range is not tree-hash aligned.
func (s *Service) hashOf(c content, from, n int64) (sum string, ok bool, err error) {
	if from == 0 && n == c.Size {
		return c.Hash, true, nil
	}
	if !aligned(c.Size, from, n) {
		return "", false, nil
	}
	var sums []treehash.Sum
	for _, p := range c.Pieces {
		if n == 0 {
			break
		}
		if from >= p.Size {
			from -= p.Size
			continue
		}
		take := min(n, p.Size-from)
		more, err := s.leavesOf(p, from/treehash.ChunkSize, leaves(take))
		if err != nil {
			return "", false, err
		}
		sums = append(sums, more...)
		from, n = 0, n-take
	}
	return treehash.Combine(sums).String(), true, nil
}

// leavesOf reads n sums of a piece's leaves.
func (s *Service) leavesOf(p piece, first, n int64) ([]treehash.Sum, error) {
	if leaves(p.Size) == 1 {
		sum, ok := treehash.Parse(p.Hash)
		if !ok {
			return nil, fmt.Errorf("blob %s has no tree hash", p.Blob)
		}
		return []treehash.Sum{sum}, nil
	}
	f, err := s.w.OpenBlob(p.Blob)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	raw := make([]byte, n*treehash.Size)
	if _, err := f.ReadAt(raw, p.Size+first*treehash.Size); err != nil {
		return nil, err
	}
	sums := make([]treehash.Sum, n)
	for i := range sums {
		copy(sums[i][:], raw[i*treehash.Size:])
	}
	return sums, nil
}

// hold notes one more holder of a content's blobs. The caller holds s.mu, or
// is New.
func (s *Service) hold(c content) {
	for _, p := range c.Pieces {
		s.holders[p.Blob]++
	}
}

// release notes one holder less, and removes blobs without any. The caller
// holds s.mu.
func (s *Service) release(c content) {
	for _, p := range c.Pieces {
		if s.holders[p.Blob]--; s.holders[p.Blob] <= 0 {
			delete(s.holders, p.Blob)
			s.w.RemoveBlob(p.Blob)
		}
	}
}
