package s3_test

import (
	"io"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"github.com/gas-restore/gas/internal/checksum/treehash"
	"github.com/gas-restore/gas/internal/local/aws/s3"
)

func TestASparseObjectIsWhatItsChecksumsSay(t *testing.T) {
	const mib = 1 << 20
	for _, size := range []int64{1, mib, 3*mib + 5, 9*mib + 3} {
		s := newStand(t, "")
		_, tag, hash, err := s.service.AddSparse("gas-results", "k", "GLACIER", size)
		if err != nil {
			t.Fatal(err)
		}
		s.beginRestore("k", 2, s3.Bulk) // with one day, a copy that is made at night is gone after 48 hours
		s.restored()
		out, err := s.GetObject(ctx, &sdk.GetObjectInput{Bucket: b, Key: aws.String("k"), ChecksumMode: types.ChecksumModeEnabled})
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(out.Body) // the SDK compares the checksum
		if err != nil || int64(len(body)) != size || treehash.Of(body).String() != hash {
			t.Errorf("%d bytes with tree hash %s, want %d with %s; %v", len(body), treehash.Of(body), size, hash, err)
		}
		if out.ChecksumType != types.ChecksumTypeFullObject || out.ChecksumCRC64NVME == nil || strings.Trim(*out.ETag, `"`) != tag {
			t.Errorf("%d bytes: got checksum %v of type %s and ETag %s, want a CRC of the whole object and %s", size, out.ChecksumCRC64NVME, out.ChecksumType, *out.ETag, tag)
		}
	}
}

func TestASparseObjectNeedsABucketAndAClass(t *testing.T) {
	s := newStand(t, "")
	for _, c := range [][2]string{{"nobody", "GLACIER"}, {"gas-results", "WARM"}} {
		if _, _, _, err := s.service.AddSparse(c[0], "k", c[1], 1); err == nil {
			t.Errorf("bucket %s and class %s: want an error", c[0], c[1])
		}
	}
}
