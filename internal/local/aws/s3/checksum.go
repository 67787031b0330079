package s3

import (
	"crypto/sha1"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"hash"
	"hash/crc32"
	"net/http"
	"strings"

	"github.com/minio/crc64nvme"

	"github.com/gas-restore/gas/internal/local/aws/world"
)

// algorithm is a checksum algorithm of S3, by the name that the API has for it.
type algorithm string

const (
	crc32Sum   algorithm = "CRC32"
	crc32cSum  algorithm = "CRC32C"
	crc64Sum   algorithm = "CRC64NVME"
	sha1Sum    algorithm = "SHA1"
	sha256Sum  algorithm = "SHA256"
	fullObject           = "FULL_OBJECT"
	composite            = "COMPOSITE"
)

// algorithms are all that there are. The default comes first.
var algorithms = []algorithm{crc64Sum, crc32Sum, crc32cSum, sha1Sum, sha256Sum}

// header is the name of the header or trailer that carries the checksum.
func (a algorithm) header() string { return "x-amz-checksum-" + strings.ToLower(string(a)) }

func (a algorithm) size() int {
	switch a {
	case crc32Sum, crc32cSum:
		return 4
	case crc64Sum:
		return 8
	case sha1Sum:
		return sha1.Size
	}
	return sha256.Size
}

// combines tells whether the checksum of a whole follows from those of its parts.
func (a algorithm) combines() bool { return a == crc32Sum || a == crc32cSum || a == crc64Sum }

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func (a algorithm) new() hash.Hash {
	switch a {
	case crc32Sum:
		return crc32.NewIEEE()
	case crc32cSum:
		return crc32.New(castagnoli)
	case crc64Sum:
		return new(crc64)
	case sha1Sum:
		return sha1.New()
	}
	return sha256.New()
}

// crc64Polynomial is that of CRC-64/NVME, reversed.
const crc64Polynomial = 0x9a6c9329ac4bc9b5

// crc64 is a CRC-64/NVME. The zero value is that of no bytes.
type crc64 uint64

func (c *crc64) Write(p []byte) (int, error) {
	*c = crc64(crc64nvme.Update(uint64(*c), p))
	return len(p), nil
}

func (c *crc64) Sum(b []byte) []byte { return binary.BigEndian.AppendUint64(b, uint64(*c)) }
func (c *crc64) Reset()              { *c = 0 }
func (c *crc64) Size() int           { return 8 }
func (c *crc64) BlockSize() int      { return 8 }

// combine returns the CRC of two runs of bytes after each other, from the CRC
// of each and the length of the second.
func (a algorithm) combine(first, second []byte, length int64) []byte {
	var polynomial uint64
	switch a {
	case crc32Sum:
		polynomial = crc32.IEEE
	case crc32cSum:
		polynomial = crc32.Castagnoli
	default:
		polynomial = crc64Polynomial
	}
	bits := a.size() * 8
	c := fromBytes(first)
	// One zero bit changes a CRC by a linear map, which is a matrix: column n is the
	// result for the bit n. Squares of the matrix are the maps for more zero bits.
	step := make([]uint64, bits)
	step[0] = polynomial
	for i := 1; i < bits; i++ {
		step[i] = 1 << (i - 1)
	}
	for n := uint64(length) * 8; n > 0; n >>= 1 {
		if n&1 == 1 {
			c = apply(step, c)
		}
		square := make([]uint64, bits)
		for i := range square {
			square[i] = apply(step, step[i])
		}
		step = square
	}
	c ^= fromBytes(second)
	out := make([]byte, 8)
	binary.BigEndian.PutUint64(out, c)
	return out[8-a.size():]
}

func apply(matrix []uint64, v uint64) uint64 {
	var out uint64
	for i := 0; v != 0; i, v = i+1, v>>1 {
		if v&1 == 1 {
			out ^= matrix[i]
		}
	}
	return out
}

func fromBytes(b []byte) uint64 {
	var v uint64
	for _, c := range b {
		v = v<<8 | uint64(c)
	}
	return v
}

// parseAlgorithm reads an algorithm's name, in any case.
func parseAlgorithm(name string) (algorithm, *world.Error) {
	for _, a := range algorithms {
		if strings.EqualFold(name, string(a)) {
			return a, nil
		}
	}
	return "", world.Errorf(400, "InvalidRequest", "Checksum algorithm provided is unsupported. Please try again with any of the valid types: [CRC32, CRC32C, CRC64NVME, SHA1, SHA256]")
}

// claim is the checksum that a request says its body has.
type claim struct {
	algorithm algorithm // empty: none
	value     []byte    // nil: it comes in the trailer
	trailer   bool
}

// parseClaim reads a request's checksum headers.
func parseClaim(h http.Header) (claim, *world.Error) {
	var c claim
	for _, a := range algorithms {
		text := h.Get(a.header())
		if text == "" {
			continue
		}
		if c.algorithm != "" {
			return c, world.Errorf(400, "InvalidRequest", "Expecting a single x-amz-checksum- header. Multiple checksum Types are not allowed.")
		}
		c.algorithm = a
		var err *world.Error
		if c.value, err = a.parse(text); err != nil {
			return c, err
		}
	}
	for name := range h {
		if rest, ok := strings.CutPrefix(strings.ToLower(name), "x-amz-checksum-"); ok && rest != "type" && rest != "algorithm" && rest != "mode" {
			if _, err := parseAlgorithm(rest); err != nil {
				return c, err
			}
		}
	}
	if t := h.Get("X-Amz-Trailer"); t != "" {
		rest, ok := strings.CutPrefix(strings.ToLower(strings.TrimSpace(t)), "x-amz-checksum-")
		a, err := parseAlgorithm(rest)
		if !ok || err != nil {
			return c, world.Errorf(400, "InvalidRequest", "The value specified in the x-amz-trailer header is not supported")
		}
		if c.algorithm != "" {
			return c, world.Errorf(400, "InvalidRequest", "Expecting a single x-amz-checksum- header")
		}
		c.algorithm, c.trailer = a, true
	}
	name := h.Get("X-Amz-Sdk-Checksum-Algorithm")
	if name == "" {
		return c, nil
	}
	a, err := parseAlgorithm(name)
	switch {
	case err != nil:
		return c, err
	case c.algorithm == "":
		return c, world.Errorf(400, "InvalidRequest", "x-amz-sdk-checksum-algorithm specified, but no corresponding x-amz-checksum-* or x-amz-trailer headers were found.")
	case c.algorithm != a:
		return c, world.Errorf(400, "InvalidRequest", "Value for x-amz-sdk-checksum-algorithm header is invalid.")
	}
	return c, nil
}

// parse reads a checksum in base64.
func (a algorithm) parse(text string) ([]byte, *world.Error) {
	b, err := base64.StdEncoding.DecodeString(text)
	if err != nil || len(b) != a.size() {
		return nil, world.Errorf(400, "InvalidRequest", "Value for %s header is invalid.", a.header())
	}
	return b, nil
}

func (a algorithm) mismatch() *world.Error {
	return world.Errorf(400, "BadDigest", "The %s you specified did not match the calculated checksum.", a)
}

func encode64(b []byte) string { return base64.StdEncoding.EncodeToString(b) }
