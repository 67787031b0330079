package s3_test

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/aws/smithy-go/middleware"
	smithyhttp "github.com/aws/smithy-go/transport/http"

	"github.com/gas-restore/gas/internal/archive"
	"github.com/gas-restore/gas/internal/aws/s3"
	"github.com/gas-restore/gas/internal/checksum/crc64nvme"
	"github.com/gas-restore/gas/internal/fault"
	"github.com/gas-restore/gas/internal/test/testenv"
)

// counted counts what is read of a body.
type counted struct {
	io.ReadSeeker
	n int
}

func (c *counted) Read(p []byte) (int, error) {
	n, err := c.ReadSeeker.Read(p)
	c.n += n
	return n, err
}

// wire sees the parts as they leave, and may flip a bit of theirs.
type wire struct {
	http.RoundTripper
	seen []http.Header
	flip bool
}

func (w *wire) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.URL.Query().Has("partNumber") && r.Method == http.MethodPut {
		w.seen = append(w.seen, r.Header.Clone())
		if w.flip {
			b, err := io.ReadAll(r.Body)
			if err != nil {
				return nil, err
			}
			b[len(b)/2] ^= 1
			r.Body = io.NopCloser(bytes.NewReader(b))
		}
	}
	return w.RoundTripper.RoundTrip(r)
}

// TestEveryPartIsSentWithItsChecksum: a bucket with Object Lock refuses a part
// without one, and so do other servers.
func TestEveryPartIsSentWithItsChecksum(t *testing.T) {
	for _, c := range []struct {
		name  string
		known bool // before the bytes are read
		flip  bool // on the wire
		want  fault.Kind
	}{
		{"known before", true, false, 0},
		{"known when all is read", false, false, 0},
		{"known before, and damaged", true, true, fault.Corrupt},
		{"known when all is read, and damaged", false, true, fault.Corrupt},
	} {
		t.Run(c.name, func(t *testing.T) {
			a := testenv.NewAWS(t)
			w := &wire{RoundTripper: a.Transport()}
			cfg := a.Config.Copy()
			cfg.HTTPClient = &http.Client{Transport: w}
			o := archive.Object{Bucket: testenv.BucketID, Key: "k"}
			up, err := s3.New(cfg).Begin(t.Context(), o, archive.Mark{Archive: "a"})
			if err != nil {
				t.Fatal(err)
			}
			data := bytes.Repeat([]byte("0123456789abcdef"), 6<<16) // 6 MiB
			sum := crc64nvme.Update(0, data)
			body := &counted{ReadSeeker: bytes.NewReader(data)}
			var known *crc64nvme.Sum
			if c.known {
				known = &sum
			}
			w.flip = c.flip
			part, err := up.Put(t.Context(), 1, body, int64(len(data)), known)
			if c.want != 0 {
				if !fault.Is(err, c.want) {
					t.Errorf("got %v of kind %s, want %s", err, fault.KindOf(err), c.want)
				}
			} else if err != nil || part.Sum != sum || part.Size != int64(len(data)) {
				t.Errorf("got %+v, %v, want checksum %s", part, err, sum)
			}
			if len(w.seen) == 0 {
				t.Fatal("nothing was sent")
			}
			for _, h := range w.seen {
				if h.Get("X-Amz-Checksum-Crc64nvme") != sum.String() && h.Get("X-Amz-Trailer") != "x-amz-checksum-crc64nvme" {
					t.Errorf("a part is sent without a checksum: %v", h)
				}
			}
			if c.want == 0 && body.n != len(data) {
				t.Errorf("%d bytes were read to send %d", body.n, len(data))
			}
			if c.want != 0 {
				return
			}
			if _, err := up.Complete(t.Context(), []archive.Part{part}, sum); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestAPartIsSentAgainAfterAFailure: the second time is as whole as the first.
func TestAPartIsSentAgainAfterAFailure(t *testing.T) {
	a := testenv.NewAWS(t)
	cfg := a.Config.Copy()
	tries := 0
	cfg.APIOptions = append(cfg.APIOptions, func(s *middleware.Stack) error {
		return s.Deserialize.Add(middleware.DeserializeMiddlewareFunc("fail", func(ctx context.Context, in middleware.DeserializeInput, next middleware.DeserializeHandler) (middleware.DeserializeOutput, middleware.Metadata, error) {
			r := in.Request.(*smithyhttp.Request)
			if r.URL.Query().Has("partNumber") && r.Method == http.MethodPut {
				if tries++; tries == 1 {
					if _, err := io.CopyN(io.Discard, r.GetStream(), 1<<20); err != nil {
						return middleware.DeserializeOutput{}, middleware.Metadata{}, err
					}
					return middleware.DeserializeOutput{}, middleware.Metadata{}, &smithyhttp.RequestSendError{Err: io.ErrUnexpectedEOF}
				}
			}
			return next.HandleDeserialize(ctx, in)
		}), middleware.After)
	})
	up, err := s3.New(cfg).Begin(t.Context(), archive.Object{Bucket: testenv.BucketID, Key: "k"}, archive.Mark{Archive: "a"})
	if err != nil {
		t.Fatal(err)
	}
	data := strings.Repeat("x", 5<<20)
	part, err := up.Put(t.Context(), 1, strings.NewReader(data), int64(len(data)), nil)
	if want := crc64nvme.Update(0, []byte(data)); err != nil || part.Sum != want || tries != 2 {
		t.Errorf("got %+v, %v after %d tries, want checksum %s after 2", part, err, tries, want)
	}
}
