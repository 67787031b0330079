package s3

import (
	"bufio"
	"errors"
	"io"
	"strconv"
	"strings"

	"github.com/gas-restore/gas/internal/local/aws/world"
)

// maxLine is how long the line before a chunk or a trailer may be.
const maxLine = 4096

// chunked decodes an aws-chunked body: size[;chunk-signature=…] CRLF bytes CRLF,
// ended by a chunk of size 0 and the trailers. The signatures' shape is checked,
// not what they sign: what the caller signed is what the headers are signed with.
type chunked struct {
	r       *bufio.Reader
	signed  bool
	trailer bool // the request announced one
	left    int64
	begun   bool
	done    bool
	// trailers are there after io.EOF, by their names in lower case.
	trailers map[string]string
}

func newChunked(r io.Reader, signed, trailer bool) *chunked {
	return &chunked{r: bufio.NewReaderSize(r, 64<<10), signed: signed, trailer: trailer, trailers: map[string]string{}}
}

func malformed(what string) error {
	return world.Errorf(400, "InvalidChunkSizeError", "The aws-chunked body is not well formed: %s", what)
}

func (c *chunked) Read(p []byte) (int, error) {
	if c.done {
		return 0, io.EOF
	}
	if c.left == 0 {
		if err := c.next(); err != nil {
			return 0, err
		}
		if c.done {
			return 0, io.EOF
		}
	}
	if int64(len(p)) > c.left {
		p = p[:c.left]
	}
	n, err := c.r.Read(p)
	c.left -= int64(n)
	if err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	return n, err
}

// next reads up to the next chunk's first byte, or to the end of the body.
func (c *chunked) next() error {
	if c.begun {
		if end, err := c.line(); err != nil {
			return err
		} else if end != "" {
			return malformed("a chunk is longer than it says")
		}
	}
	c.begun = true
	head, err := c.line()
	if err != nil {
		return err
	}
	size, signature, hasSignature := strings.Cut(head, ";chunk-signature=")
	if hasSignature != c.signed {
		return malformed("a chunk's signature is missing, or has no place here")
	}
	if c.signed && !isHex(signature, 64) {
		return world.Errorf(403, "SignatureDoesNotMatch", "a chunk's signature is not 64 hex digits")
	}
	if size == "" || len(size) > 12 || strings.ContainsAny(size, "+-_") {
		return malformed("the size of a chunk")
	}
	if c.left, err = strconv.ParseInt(size, 16, 64); err != nil {
		return malformed("the size of a chunk")
	}
	if c.left == 0 {
		return c.end()
	}
	return nil
}

// end reads what follows the last chunk.
func (c *chunked) end() error {
	c.done = true
	for {
		line, err := c.line()
		// Without trailers the empty line at the end may be missing.
		if errors.Is(err, io.ErrUnexpectedEOF) && !c.trailer {
			return nil
		}
		if err != nil {
			return err
		}
		if line == "" {
			return nil
		}
		name, value, ok := strings.Cut(line, ":")
		name = strings.ToLower(strings.TrimSpace(name))
		if !ok || !c.trailer || len(c.trailers) >= 4 {
			return world.Errorf(400, "MalformedTrailerError", "The request contained trailing data that was not well-formed or did not conform to our published schema.")
		}
		c.trailers[name] = strings.TrimSpace(value)
	}
}

// line reads up to a CRLF.
func (c *chunked) line() (string, error) {
	var line []byte
	for {
		b, err := c.r.ReadByte()
		if err == io.EOF {
			return "", io.ErrUnexpectedEOF
		}
		if err != nil {
			return "", err
		}
		if b == '\n' {
			if len(line) == 0 || line[len(line)-1] != '\r' {
				return "", malformed("a line without CR")
			}
			return string(line[:len(line)-1]), nil
		}
		if line = append(line, b); len(line) > maxLine {
			return "", malformed("a line is too long")
		}
	}
}

func isHex(s string, n int) bool {
	if len(s) != n {
		return false
	}
	for _, c := range []byte(s) {
		if (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return true
}
