package s3

import (
	"fmt"

	"github.com/gas-restore/gas/internal/checksum/treehash"
	"github.com/gas-restore/gas/internal/local/aws/sparse"
	"github.com/gas-restore/gas/internal/local/aws/world"
)

// AddSparse puts an object of size bytes and of the storage class into a bucket, without an
// upload. See package sparse for the bytes. Like an object of a multipart upload, it has the
// CRC-64/NVME of the whole object, and an ETag that is no MD5. It returns the version's id,
// empty in a bucket that never had versions, and the tree hash. No event tells of the object.
func (s *Service) AddSparse(bucket, key, class string, size int64) (version, tag, treeHash string, err error) {
	o := &object{}
	if e := o.setClass(map[string][]string{"X-Amz-Storage-Class": {class}}); e != nil {
		return "", "", "", e
	}
	d, e := s.files.create()
	if e != nil {
		return "", "", "", e
	}
	sum := crc64Sum.new().Sum(nil)
	var zeros []byte // the CRC of a whole leaf of zeros
	leaves, err := sparse.Write(d.File, size, func(leaf []byte, zero bool) {
		whole := zero && len(leaf) == treehash.ChunkSize
		crc := zeros
		if !whole || crc == nil {
			h := crc64Sum.new()
			h.Write(leaf)
			crc = h.Sum(nil)
		}
		if whole {
			zeros = crc
		}
		sum = crc64Sum.combine(sum, crc, int64(len(leaf)))
	})
	if err == nil {
		err = d.Close()
	}
	if err != nil {
		d.discard()
		return "", "", "", fmt.Errorf("write a sparse object: %w", err)
	}
	o.Size, o.ETag, o.Pieces = size, world.ID(16)+"-1", []piece{{File: d.name, Size: size}}
	o.Headers = map[string]string{"Content-Type": "binary/octet-stream"}
	o.Sum.Algorithm, o.Sum.Type, o.Sum.Value = crc64Sum, fullObject, encode64(sum)
	s.files.use(o.Pieces)
	s.mu.Lock()
	s.settle()
	o.Modified = s.world.Clock.Now()
	clean, e := s.commit(bucket+"/"+key, o, writeCondition{}, nil)
	s.mu.Unlock()
	d.keep()
	if e != nil {
		s.files.release(o.Pieces)
		return "", "", "", e
	}
	clean()
	return o.Version, o.ETag, treehash.Combine(leaves).String(), nil
}
