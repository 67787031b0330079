package sqs

import (
	"encoding/base64"
	"encoding/binary"
	"hash/crc32"
)

// handle is the content of a receipt handle: it names the receive and the message.
type handle struct {
	queue uint64
	seq   uint64
	count uint32
}

const handleSize = 3 + 8 + 8 + 4 + 4

// String returns the receipt handle's text.
func (h handle) String() string {
	b := make([]byte, 0, handleSize)
	b = append(b, 1, 1, 1)
	b = binary.BigEndian.AppendUint64(b, h.queue)
	b = binary.BigEndian.AppendUint64(b, h.seq)
	b = binary.BigEndian.AppendUint32(b, h.count)
	b = binary.BigEndian.AppendUint32(b, crc32.ChecksumIEEE(b))
	return base64.StdEncoding.EncodeToString(b)
}

// parseHandle reads a receipt handle. ok is false if s is none.
func parseHandle(s string) (h handle, ok bool) {
	if base64.StdEncoding.EncodedLen(handleSize) != len(s) {
		return handle{}, false
	}
	b, err := base64.StdEncoding.Strict().DecodeString(s)
	if err != nil || len(b) != handleSize || b[0] != 1 || b[1] != 1 || b[2] != 1 ||
		crc32.ChecksumIEEE(b[:handleSize-4]) != binary.BigEndian.Uint32(b[handleSize-4:]) {
		return handle{}, false
	}
	return handle{
		queue: binary.BigEndian.Uint64(b[3:]),
		seq:   binary.BigEndian.Uint64(b[11:]),
		count: binary.BigEndian.Uint32(b[19:]),
	}, true
}
