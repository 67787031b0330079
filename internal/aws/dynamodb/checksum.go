package dynamodb

import (
	"bytes"
	"context"
	"fmt"
	"hash/crc32"
	"io"
	"strconv"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/smithy-go/middleware"
	smithyhttp "github.com/aws/smithy-go/transport/http"

	"github.com/gas-restore/gas/internal/fault"
)

// maxAnswer is above 16 MiB, the size of DynamoDB's largest answer.
const maxAnswer = 32 << 20

// verifyAnswers compares each answer with the CRC that DynamoDB sends. The SDK compares
// it too, but only when it closes the body, and then it only logs the difference
// (service/dynamodb/internal/customizations/checksum.go). A result could go to a key with
// a wrong letter.
func verifyAnswers(o *dynamodb.Options) {
	o.DisableValidateResponseChecksum = true
	o.APIOptions = append(o.APIOptions, func(s *middleware.Stack) error {
		return s.Deserialize.Add(middleware.DeserializeMiddlewareFunc("gas:VerifyAnswer", verifyAnswer), middleware.After)
	})
}

func verifyAnswer(ctx context.Context, in middleware.DeserializeInput, next middleware.DeserializeHandler) (middleware.DeserializeOutput, middleware.Metadata, error) {
	out, meta, err := next.HandleDeserialize(ctx, in)
	resp, ok := out.RawResponse.(*smithyhttp.Response)
	if err != nil || !ok {
		return out, meta, err
	}
	want, err := strconv.ParseUint(resp.Header.Get("X-Amz-Crc32"), 10, 32)
	if err != nil {
		return out, meta, nil // none was sent
	}
	body, err := readAnswer(resp)
	if err == nil && uint64(crc32.ChecksumIEEE(body)) != want {
		err = fmt.Errorf("the answer has CRC %d, DynamoDB says %d", crc32.ChecksumIEEE(body), want)
	}
	resp.Body = io.NopCloser(bytes.NewReader(body))
	return out, meta, fault.New(fault.Transient, err)
}

// readAnswer reads a whole body and closes it.
func readAnswer(resp *smithyhttp.Response) ([]byte, error) {
	defer resp.Body.Close()
	var b bytes.Buffer
	if n := resp.ContentLength; n > 0 && n <= maxAnswer {
		// ReadFrom needs this room to see the end.
		b.Grow(int(n) + bytes.MinRead)
	}
	_, err := b.ReadFrom(io.LimitReader(resp.Body, maxAnswer))
	return b.Bytes(), err
}
