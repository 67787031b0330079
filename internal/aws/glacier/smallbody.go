package glacier

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"io"

	"github.com/aws/aws-sdk-go-v2/service/glacier"
	"github.com/aws/smithy-go/middleware"
	smithyhttp "github.com/aws/smithy-go/transport/http"
)

// hashSmallBodies puts the hashes of a small request body into its headers before the SDK
// does. The SDK uses a buffer of 1 MiB for this, whatever the body's size
// (service/glacier/internal/customizations/treehash.go), and the body of InitiateJob has
// 300 bytes. The bytes on the wire are the same: the tree hash of up to 1 MiB is its
// SHA-256.
func hashSmallBodies(o *glacier.Options) {
	o.APIOptions = append(o.APIOptions, func(s *middleware.Stack) error {
		return s.Finalize.Add(middleware.FinalizeMiddlewareFunc("gas:HashSmallBody", hashSmallBody), middleware.Before)
	})
}

// smallBody is far below 1 MiB, and above what a request without an archive has.
const smallBody = 64 << 10

func hashSmallBody(ctx context.Context, in middleware.FinalizeInput, next middleware.FinalizeHandler) (middleware.FinalizeOutput, middleware.Metadata, error) {
	req, ok := in.Request.(*smithyhttp.Request)
	if !ok || req.GetStream() == nil || !req.IsStreamSeekable() {
		return next.HandleFinalize(ctx, in)
	}
	if n, known, err := req.StreamLength(); err != nil || !known || n == 0 || n > smallBody {
		return next.HandleFinalize(ctx, in)
	}
	var body bytes.Buffer
	_, err := body.ReadFrom(io.LimitReader(req.GetStream(), smallBody))
	if rewound := req.RewindStream(); err != nil || rewound != nil {
		return next.HandleFinalize(ctx, in)
	}
	sum := sha256.Sum256(body.Bytes())
	hash := hex.EncodeToString(sum[:])
	req.Header.Set("X-Amz-Sha256-Tree-Hash", hash)
	req.Header.Set("X-Amz-Content-Sha256", hash)
	return next.HandleFinalize(ctx, in)
}
