// Package crc64nvme computes CRC-64/NVME, the checksum that S3 keeps for a
// whole object however it was uploaded, and combines those of parts into that
// of the whole.
//
// See https://docs.aws.amazon.com/AmazonS3/latest/userguide/checking-object-integrity.html.
package crc64nvme

import (
	"encoding/base64"
	"encoding/binary"

	"github.com/minio/crc64nvme"
)

// poly is the NVME polynomial, bits reversed.
const poly = crc64nvme.NVME

// Sum is a checksum.
type Sum uint64

// Update returns the checksum of what s is of, followed by p. Begin with 0.
func Update(s Sum, p []byte) Sum { return Sum(crc64nvme.Update(uint64(s), p)) }

// String returns the base64 form that S3 uses.
func (s Sum) String() string {
	var b [8]byte
	binary.BigEndian.PutUint64(b[:], uint64(s))
	return base64.StdEncoding.EncodeToString(b[:])
}

// Parse returns the Sum that text is the base64 form of.
func Parse(text string) (s Sum, ok bool) {
	b, err := base64.StdEncoding.DecodeString(text)
	if err != nil || len(b) != 8 {
		return 0, false
	}
	return Sum(binary.BigEndian.Uint64(b)), true
}

// Combine returns the checksum of the bytes of a followed by the n bytes of b.
//
// Appending n bytes multiplies the polynomial of a by x^(8n). So this is one
// multiplication modulo the polynomial, after O(log n) to get that power.
func Combine(a, b Sum, n int64) Sum {
	return Sum(mul(power(n), uint64(a))) ^ b
}

// mul multiplies two polynomials modulo poly. Bits are reversed: the highest is
// x^0.
func mul(a, b uint64) uint64 {
	var product uint64
	for m := uint64(1) << 63; m != 0; m >>= 1 {
		if a&m != 0 {
			product ^= b
		}
		if b&1 != 0 {
			b = b>>1 ^ poly
		} else {
			b >>= 1
		}
	}
	return product
}

// power returns x^(8n) modulo poly.
func power(n int64) uint64 {
	result := uint64(1) << 63 // x^0
	base := uint64(1) << (63 - 8)
	for ; n > 0; n >>= 1 {
		if n&1 != 0 {
			result = mul(result, base)
		}
		base = mul(base, base)
	}
	return result
}
