// Package treehash computes the SHA-256 tree hash that Amazon Glacier gives an
// archive: SHA-256 of every 1 MiB chunk, then of every pair of neighbours,
// level by level, an odd one moving up as it is.
//
// See https://docs.aws.amazon.com/amazonglacier/latest/dev/checksum-calculations.html.
package treehash

import (
	"crypto/sha256"
	"encoding/hex"
	"hash"
)

// ChunkSize is the size of a leaf in bytes.
const ChunkSize = 1 << 20

// Size is the size of a tree hash in bytes.
const Size = sha256.Size

// Sum is a finished tree hash.
type Sum [Size]byte

// String returns the lower-case hex form that Glacier uses.
func (s Sum) String() string { return hex.EncodeToString(s[:]) }

// Parse returns the Sum that s is the hex form of. ok is false if it is none.
func Parse(s string) (sum Sum, ok bool) {
	if len(s) != 2*Size {
		return Sum{}, false
	}
	_, err := hex.Decode(sum[:], []byte(s))
	return sum, err == nil
}

// Hash computes a tree hash as bytes are written to it. It implements
// [hash.Hash], and needs memory for one sum per level (log2 of the chunks). A Write
// of several MiB uses several processors.
// The zero value is not ready; use [New].
type Hash struct {
	leaf hash.Hash
	n    int // bytes in the current leaf
	tree tree
	any  bool // bytes were written
}

var _ hash.Hash = (*Hash)(nil)

// New returns a Hash with nothing written.
func New() *Hash { return &Hash{leaf: sha256.New()} }

// Write adds p. It never fails.
func (h *Hash) Write(p []byte) (int, error) {
	total := len(p)
	for len(p) > 0 {
		h.any = true
		if whole := len(p) / ChunkSize * ChunkSize; h.n == 0 && whole > 0 {
			for _, sum := range leavesOf(p[:whole]) {
				h.tree.push(sum, 0)
			}
			p = p[whole:]
			continue
		}
		take := min(ChunkSize-h.n, len(p))
		h.leaf.Write(p[:take])
		h.n += take
		p = p[take:]
		if h.n == ChunkSize {
			h.endLeaf()
		}
	}
	return total, nil
}

func (h *Hash) endLeaf() {
	var s Sum
	h.leaf.Sum(s[:0])
	h.leaf.Reset()
	h.n = 0
	h.tree.push(s, 0)
}

// TreeHash returns the tree hash of what was written so far. More can be
// written after it.
func (h *Hash) TreeHash() Sum {
	t := h.tree.clone()
	if h.n > 0 || !h.any {
		var s Sum
		h.leaf.Sum(s[:0])
		t.push(s, 0)
	}
	return t.root()
}

// Sum appends the tree hash to b.
func (h *Hash) Sum(b []byte) []byte {
	s := h.TreeHash()
	return append(b, s[:]...)
}

// Reset forgets what was written.
func (h *Hash) Reset() {
	h.leaf.Reset()
	h.n, h.any, h.tree = 0, false, tree{}
}

// Size returns the length of a sum in bytes.
func (h *Hash) Size() int { return Size }

// BlockSize returns the size of a leaf.
func (h *Hash) BlockSize() int { return ChunkSize }

// Of returns the tree hash of p. It uses as many processors as there are leaves.
func Of(p []byte) Sum { return Combine(leavesOf(p)) }

// Combine returns the tree hash of a whole from the sums of its parts in
// order. Every part but the last must have the same size, a power of two times
// [ChunkSize]: then each is a node of the whole's tree.
func Combine(parts []Sum) Sum {
	if len(parts) == 0 {
		return Of(nil)
	}
	var t tree
	for _, p := range parts {
		t.push(p, 0)
	}
	return t.root()
}

// tree holds the roots of the complete subtrees to the left, largest first,
// each with its level, as in a binary counter.
type tree struct{ nodes []node }

type node struct {
	sum   Sum
	level int
}

func (t *tree) push(s Sum, level int) {
	for len(t.nodes) > 0 && t.nodes[len(t.nodes)-1].level == level {
		s = join(t.nodes[len(t.nodes)-1].sum, s)
		t.nodes = t.nodes[:len(t.nodes)-1]
		level++
	}
	t.nodes = append(t.nodes, node{s, level})
}

func (t tree) clone() tree { return tree{append([]node(nil), t.nodes...)} }

func (t tree) root() Sum {
	s := t.nodes[len(t.nodes)-1].sum
	for i := len(t.nodes) - 2; i >= 0; i-- {
		s = join(t.nodes[i].sum, s)
	}
	return s
}

func join(a, b Sum) Sum {
	var buf [2 * Size]byte
	copy(buf[:Size], a[:])
	copy(buf[Size:], b[:])
	return sha256.Sum256(buf[:])
}
