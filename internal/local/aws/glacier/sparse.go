package glacier

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"os"

	"github.com/gas-restore/gas/internal/checksum/treehash"
)

// everyLeaf is how many leaves apart those of a sparse archive are that are not
// all zeros. It is odd, so that each range of eight leaves has one, in a place of
// its own.
const everyLeaf = 7

// AddSparse puts an archive of size bytes into a vault without their being sent:
// zeros, with a number in every seventh MiB. It takes next to no room on disk.
// It returns the archive's id and tree hash.
func (s *Service) AddSparse(vault string, size int64) (id, hash string, err error) {
	name, f, err := s.w.NewBlob()
	if err != nil {
		return "", "", err
	}
	defer f.Close()
	sum, err := writeNumbers(f, size)
	if err != nil {
		s.w.RemoveBlob(name)
		return "", "", fmt.Errorf("write a sparse archive: %w", err)
	}
	a := archive{
		ID: newID(archiveIDLength), Vault: vault, Created: s.now(),
		Content: piece{Blob: name, Size: size, Hash: sum.String()}.content(),
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, ok := s.vaults.Get(vault); !ok {
		s.w.RemoveBlob(name)
		return "", "", fmt.Errorf("there is no vault %s", vault)
	}
	s.hold(a.Content)
	s.archives.Put(a.key(), a)
	return a.ID, a.Content.Hash, nil
}

// writeNumbers fills f with size bytes, and with the sums of the leaves behind
// them, as receiveInto does.
func writeNumbers(f *os.File, size int64) (treehash.Sum, error) {
	zero := sha256.Sum256(make([]byte, treehash.ChunkSize))
	leaf := make([]byte, treehash.ChunkSize)
	n := leaves(size)
	sums := make([]treehash.Sum, n)
	trailer := make([]byte, 0, n*treehash.Size)
	for i := range n {
		length := min(treehash.ChunkSize, size-i*treehash.ChunkSize)
		sums[i] = zero
		if i%everyLeaf == 0 && length >= 8 {
			binary.BigEndian.PutUint64(leaf, uint64(i+1))
			if _, err := f.WriteAt(leaf[:8], i*treehash.ChunkSize); err != nil {
				return treehash.Sum{}, err
			}
			sums[i] = sha256.Sum256(leaf[:length])
			clear(leaf[:8])
		} else if length < treehash.ChunkSize {
			sums[i] = sha256.Sum256(leaf[:length])
		}
		trailer = append(trailer, sums[i][:]...)
	}
	if err := f.Truncate(size); err != nil {
		return treehash.Sum{}, err
	}
	if n > 1 {
		if _, err := f.WriteAt(trailer, size); err != nil {
			return treehash.Sum{}, err
		}
	}
	return treehash.Combine(sums), nil
}
