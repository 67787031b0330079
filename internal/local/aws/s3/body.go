package s3

import (
	"bytes"
	"crypto/md5"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"hash"
	"io"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"

	"github.com/gas-restore/gas/internal/local/aws/world"
)

// maxPut is how many bytes one request may send.
const maxPut = 5 << 30

// block is in how big pieces bodies are moved. A block of zeros is not written
// but left as a hole in the file.
const block = 256 << 10

var blocks = sync.Pool{New: func() any { b := make([]byte, block); return &b }}

// received is what a body was.
type received struct {
	size int64
	md5  []byte
	sum  []byte // by the algorithm asked for
	// claimed is the checksum that the request gave, which was right; nil if none.
	claimed []byte
}

// payload is a request's body, to be read once.
type payload struct {
	r       io.Reader
	length  int64
	chunks  *chunked // nil if it isn't aws-chunked
	claim   claim
	md5     []byte // that the request claims; nil if none
	sha256  []byte // of the signed request; nil if there is none
	request *http.Request
}

// parsePayload reads the headers that describe the body. It reads no byte of the body.
func parsePayload(r *http.Request) (*payload, *world.Error) {
	p := &payload{r: r.Body, length: r.ContentLength, request: r}
	var err *world.Error
	if p.claim, err = parseClaim(r.Header); err != nil {
		return nil, err
	}
	if text := r.Header.Get("Content-Md5"); text != "" {
		b, err := base64.StdEncoding.DecodeString(text)
		if err != nil || len(b) != md5.Size {
			return nil, world.Errorf(400, "InvalidDigest", "The Content-MD5 you specified was invalid.")
		}
		p.md5 = b
	}
	sha := r.Header.Get("X-Amz-Content-Sha256")
	if mode, ok := strings.CutPrefix(sha, "STREAMING-"); ok {
		var signed, trailer bool
		switch mode {
		case "UNSIGNED-PAYLOAD-TRAILER":
			trailer = true
		case "AWS4-HMAC-SHA256-PAYLOAD":
			signed = true
		case "AWS4-HMAC-SHA256-PAYLOAD-TRAILER":
			signed, trailer = true, true
		default:
			return nil, world.Errorf(501, "NotImplemented", "the stand-in does not have the payload %s", clip(sha))
		}
		text := r.Header.Get("X-Amz-Decoded-Content-Length")
		n, convErr := strconv.ParseInt(text, 10, 64)
		if convErr != nil || n < 0 {
			return nil, world.Errorf(411, "MissingContentLength", "You must provide the x-amz-decoded-content-length HTTP header.")
		}
		p.length = n
		p.chunks = newChunked(r.Body, signed, trailer)
		p.r = p.chunks
		if p.claim.trailer && !trailer {
			return nil, world.Errorf(400, "InvalidRequest", "x-amz-trailer needs a payload with trailers, not %s", clip(sha))
		}
	} else {
		if p.claim.trailer {
			return nil, world.Errorf(400, "InvalidRequest", "x-amz-trailer needs an aws-chunked payload")
		}
		switch {
		case isHex(sha, 64):
			p.sha256, _ = hex.DecodeString(sha)
		case sha != "" && sha != "UNSIGNED-PAYLOAD":
			return nil, world.Errorf(400, "InvalidArgument", "x-amz-content-sha256 must be UNSIGNED-PAYLOAD, STREAMING-AWS4-HMAC-SHA256-PAYLOAD, STREAMING-UNSIGNED-PAYLOAD-TRAILER or a valid sha256 value.")
		}
		if p.length < 0 {
			return nil, world.Errorf(411, "MissingContentLength", "You must provide the Content-Length HTTP header.")
		}
	}
	if p.length > maxPut {
		e := world.Errorf(400, "EntityTooLarge", "Your proposed upload exceeds the maximum allowed size")
		e.Fields = map[string]any{"ProposedSize": p.length, "MaxSizeAllowed": int64(maxPut)}
		return nil, e
	}
	return p, nil
}

// receive reads the whole body into f, or nowhere if that is nil, and checks
// everything that the request says about it. sum is the algorithm of
// received.sum, if any.
func (p *payload) receive(f *os.File, sum algorithm) (received, *world.Error) {
	out := received{}
	m := md5.New()
	hashes := []hash.Hash{m}
	byName := map[algorithm]hash.Hash{}
	for _, a := range []algorithm{sum, p.claim.algorithm} {
		if a != "" && byName[a] == nil {
			byName[a] = a.new()
			hashes = append(hashes, byName[a])
		}
	}
	var signed hash.Hash
	if p.sha256 != nil {
		if signed = byName[sha256Sum]; signed == nil {
			signed = sha256.New()
			hashes = append(hashes, signed)
		}
	}
	var err *world.Error
	if out.size, err = p.copy(f, hashes); err != nil {
		return out, err
	}
	if out.size != p.length {
		return out, incomplete()
	}
	out.md5 = m.Sum(nil)
	if sum != "" {
		out.sum = byName[sum].Sum(nil)
	}
	if p.md5 != nil && !bytes.Equal(p.md5, out.md5) {
		e := world.Errorf(400, "BadDigest", "The Content-MD5 you specified did not match what we received.")
		e.Fields = map[string]any{"ExpectedDigest": encode64(p.md5), "CalculatedDigest": encode64(out.md5)}
		return out, e
	}
	if signed != nil {
		if got := signed.Sum(nil); !bytes.Equal(p.sha256, got) {
			e := world.Errorf(400, "XAmzContentSHA256Mismatch", "The provided 'x-amz-content-sha256' header does not match what was computed.")
			e.Fields = map[string]any{"ClientComputedContentSHA256": hex.EncodeToString(p.sha256), "S3ComputedContentSHA256": hex.EncodeToString(got)}
			return out, e
		}
	}
	out.claimed, err = p.checkClaim(byName)
	return out, err
}

func (p *payload) checkClaim(sums map[algorithm]hash.Hash) ([]byte, *world.Error) {
	c := p.claim
	if c.algorithm == "" {
		return nil, nil
	}
	if c.trailer {
		text, ok := p.chunks.trailers[c.algorithm.header()]
		if !ok {
			return nil, world.Errorf(400, "MalformedTrailerError", "The request announced the trailer %s but did not send it.", c.algorithm.header())
		}
		if p.chunks.signed && !isHex(p.chunks.trailers["x-amz-trailer-signature"], 64) {
			return nil, world.Errorf(403, "SignatureDoesNotMatch", "the trailer's signature is missing")
		}
		var err *world.Error
		if c.value, err = c.algorithm.parse(text); err != nil {
			return nil, err
		}
	}
	if !bytes.Equal(c.value, sums[c.algorithm].Sum(nil)) {
		return nil, c.algorithm.mismatch()
	}
	return c.value, nil
}

func incomplete() *world.Error {
	return world.Errorf(400, "IncompleteBody", "You did not provide the number of bytes specified by the Content-Length HTTP header")
}

// copy moves the body to f and to the hashes.
func (p *payload) copy(f *os.File, hashes []hash.Hash) (int64, *world.Error) {
	buf := blocks.Get().(*[]byte)
	defer blocks.Put(buf)
	var n int64
	hole := false
	for {
		k, err := io.ReadFull(p.r, *buf)
		b := (*buf)[:k]
		if n+int64(k) > p.length {
			return n, world.Errorf(400, "InvalidRequest", "the body is longer than x-amz-decoded-content-length says")
		}
		for _, h := range hashes {
			h.Write(b)
		}
		if f != nil && k > 0 {
			if hole = zero(b); !hole {
				if _, err := f.WriteAt(b, n); err != nil {
					return n, internal(err)
				}
			}
		}
		n += int64(k)
		if err == nil {
			continue
		}
		if hole {
			if err := f.Truncate(n); err != nil {
				return n, internal(err)
			}
		}
		if err == io.EOF || err == io.ErrUnexpectedEOF && n == p.length && p.ended() {
			return n, nil
		}
		var e *world.Error
		if errors.As(err, &e) {
			return n, e
		}
		return n, incomplete()
	}
}

// ended tells whether the body came to its end, with n bytes that fit its length.
func (p *payload) ended() bool { return p.chunks == nil || p.chunks.done }

func zero(b []byte) bool {
	if len(b) == 0 || b[0] != 0 {
		return false
	}
	return bytes.Equal(b[:len(b)-1], b[1:])
}

func internal(err error) *world.Error {
	return world.Errorf(500, "InternalError", "We encountered an internal error. Please try again. (%v)", err)
}

// document reads a small XML body, and checks what the request says about it.
func document(r *http.Request, limit int64) ([]byte, bool, *world.Error) {
	p, err := parsePayload(r)
	if err != nil {
		return nil, false, err
	}
	if p.length > limit {
		return nil, false, world.Errorf(400, "MaxMessageLengthExceeded", "Your request was too big: more than %d bytes.", limit)
	}
	var buf bytes.Buffer
	p.r = io.TeeReader(p.r, &buf)
	_, err = p.receive(nil, "")
	return buf.Bytes(), p.md5 != nil || p.claim.algorithm != "", err
}

func clip(s string) string {
	if len(s) > 100 {
		return s[:100] + "…"
	}
	return s
}
