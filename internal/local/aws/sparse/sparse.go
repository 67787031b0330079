// Package sparse writes large contents that need next to no room on disk: zeros, with a number
// in every seventh MiB. A range of bytes that came from the wrong place is so found out.
package sparse

import (
	"crypto/sha256"
	"encoding/binary"
	"os"

	"github.com/gas-restore/gas/internal/checksum/treehash"
)

// every is how many leaves apart the leaves with a number are. It is odd, so that each range
// of eight leaves has a number, in a place of its own.
const every = 7

// Write fills the file with size bytes. It returns the SHA-256 of each leaf of 1 MiB, and one
// for no bytes if size is 0. each is called with the bytes of every leaf in order, unless it
// is nil; zeros says that all of them are zero.
func Write(f *os.File, size int64, each func(leaf []byte, zeros bool)) ([]treehash.Sum, error) {
	leaf := make([]byte, treehash.ChunkSize)
	zero := sha256.Sum256(leaf)
	n := max(1, (size+treehash.ChunkSize-1)/treehash.ChunkSize)
	sums := make([]treehash.Sum, n)
	for i := range n {
		part := leaf[:min(treehash.ChunkSize, size-i*treehash.ChunkSize)]
		numbered := i%every == 0 && len(part) >= 8
		if numbered {
			binary.BigEndian.PutUint64(part, uint64(i+1))
			if _, err := f.WriteAt(part[:8], i*treehash.ChunkSize); err != nil {
				return nil, err
			}
		}
		if sums[i] = zero; numbered || len(part) < len(leaf) {
			sums[i] = sha256.Sum256(part)
		}
		if each != nil {
			each(part, !numbered)
		}
		if numbered {
			clear(part[:8])
		}
	}
	return sums, f.Truncate(size)
}
