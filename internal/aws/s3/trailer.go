package s3

import (
	"context"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/smithy-go/middleware"
	smithyhttp "github.com/aws/smithy-go/transport/http"

	"github.com/gas-restore/gas/internal/checksum/crc64nvme"
)

const (
	checksumHeader = "x-amz-checksum-crc64nvme"
	// trailing is the payload hash of a body that is not signed and has a trailer.
	trailing = "STREAMING-UNSIGNED-PAYLOAD-TRAILER"
)

// trailer sends a body's checksum behind it. The SDK does so over TLS alone; else it
// reads the whole body before it sends it, which here means out of Glacier. See
// https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-streaming-trailers.html.
func trailer(o *s3.Options) {
	o.RequestChecksumCalculation = aws.RequestChecksumCalculationWhenRequired
	o.APIOptions = append(o.APIOptions, func(s *middleware.Stack) error {
		_, err := s.Finalize.Swap("ComputePayloadHash", withTrailer{})
		return err
	})
}

// withTrailer is in the place in which the SDK works out a payload's hash: once for each
// try, before the request is signed.
type withTrailer struct{}

func (withTrailer) ID() string { return "ComputePayloadHash" }

func (withTrailer) HandleFinalize(ctx context.Context, in middleware.FinalizeInput, next middleware.FinalizeHandler) (out middleware.FinalizeOutput, metadata middleware.Metadata, err error) {
	req, ok := in.Request.(*smithyhttp.Request)
	if !ok {
		return out, metadata, fmt.Errorf("send a checksum behind a body: unknown request type %T", in.Request)
	}
	size := req.ContentLength
	body := &trailed{body: io.LimitReader(req.GetStream(), size)}
	head, tail := strconv.FormatInt(size, 16)+"\r\n", body.end()
	if req, err = req.SetStream(io.MultiReader(strings.NewReader(head), body, body.trailer())); err != nil {
		return out, metadata, fmt.Errorf("send a checksum behind a body: %w", err)
	}
	req.ContentLength = int64(len(head)+len(tail)) + size
	req.Header.Set("Content-Encoding", "aws-chunked")
	req.Header.Set("X-Amz-Trailer", checksumHeader)
	req.Header.Set("X-Amz-Decoded-Content-Length", strconv.FormatInt(size, 10))
	in.Request = req
	return next.HandleFinalize(v4.SetPayloadHash(ctx, trailing), in)
}

// trailed is a body that is summed as it is read.
type trailed struct {
	body io.Reader
	sum  crc64nvme.Sum
}

func (t *trailed) Read(p []byte) (int, error) {
	n, err := t.body.Read(p)
	t.sum = crc64nvme.Update(t.sum, p[:n])
	return n, err
}

// end returns what follows the body: the end of its one chunk, the last chunk, which is
// empty, and the checksum of what was read so far. Its length is always the same.
func (t *trailed) end() string {
	return "\r\n0\r\n" + checksumHeader + ":" + t.sum.String() + "\r\n\r\n"
}

// trailer reads what follows the body, once that is read.
func (t *trailed) trailer() io.Reader { return &late{of: t.end} }

// late is a reader of what is known only when it is read.
type late struct {
	of func() string
	r  io.Reader
}

func (l *late) Read(p []byte) (int, error) {
	if l.r == nil {
		l.r = strings.NewReader(l.of())
	}
	return l.r.Read(p)
}
