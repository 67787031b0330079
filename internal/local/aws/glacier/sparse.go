package glacier

import (
	"fmt"
	"os"

	"github.com/gas-restore/gas/internal/checksum/treehash"
	"github.com/gas-restore/gas/internal/local/aws/sparse"
)

// AddSparse puts an archive of size bytes into a vault, without an upload. See package
// sparse for the bytes. It returns the archive's id and tree hash.
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
	sums, err := sparse.Write(f, size, nil)
	if err != nil {
		return treehash.Sum{}, err
	}
	if len(sums) > 1 {
		trailer := make([]byte, 0, len(sums)*treehash.Size)
		for _, sum := range sums {
			trailer = append(trailer, sum[:]...)
		}
		if _, err := f.WriteAt(trailer, size); err != nil {
			return treehash.Sum{}, err
		}
	}
	return treehash.Combine(sums), nil
}
