package s3_test

import (
	"bytes"
	"fmt"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
)

func TestAnObjectComesBackAsItWasPut(t *testing.T) {
	s := newStand(t, t.TempDir())
	for _, size := range []int{0, 1, 1 << 20, 300<<10 + 7} {
		body := bytes.Repeat([]byte("gas"), size/3+1)[:size]
		for _, a := range append(types.ChecksumAlgorithm("").Values(), "") {
			key := fmt.Sprintf("dir é+%%/%s %d", a, size)
			out, err := s.PutObject(ctx, &sdk.PutObjectInput{
				Bucket: b, Key: &key, Body: bytes.NewReader(body), ChecksumAlgorithm: a,
				ContentType: aws.String("text/plain"), ContentDisposition: aws.String(`attachment; filename="x"`),
				Metadata: map[string]string{"job": "42"},
			})
			if err != nil {
				t.Logf("%s: %v", a, err)
				continue
			}
			if out.ChecksumType != types.ChecksumTypeFullObject {
				t.Errorf("%s: checksum type %q", a, out.ChecksumType)
			}
			if got := s.get(key); !bytes.Equal(got, body) {
				t.Errorf("%s: got %d bytes, want %d", key, len(got), size)
			}
			head := must[*sdk.HeadObjectOutput](t)(s.HeadObject(ctx, &sdk.HeadObjectInput{Bucket: b, Key: &key}))
			if *head.ContentLength != int64(size) || *head.ContentType != "text/plain" || head.Metadata["job"] != "42" || *head.ETag != *out.ETag {
				t.Errorf("%s: head %+v", key, head)
			}
		}
	}
}

func TestAMultipartUploadBecomesOneObject(t *testing.T) {
	s := newStand(t, t.TempDir())
	for _, c := range []struct {
		a types.ChecksumAlgorithm
		k types.ChecksumType
	}{{"", ""}, {"CRC32", "COMPOSITE"}, {"CRC32", "FULL_OBJECT"}, {"CRC32C", "FULL_OBJECT"}, {"CRC64NVME", "FULL_OBJECT"}, {"SHA256", "COMPOSITE"}, {"SHA1", ""}} {
		t.Run(fmt.Sprintf("%s %s", c.a, c.k), func(t *testing.T) {
			key := fmt.Sprint("k", c)
			u := must[*sdk.CreateMultipartUploadOutput](t)(s.CreateMultipartUpload(ctx, &sdk.CreateMultipartUploadInput{Bucket: b, Key: &key, ChecksumAlgorithm: c.a, ChecksumType: c.k}))
			var parts []types.CompletedPart
			var whole []byte
			for i, size := range []int{5 << 20, 6<<20 + 1, 3} {
				body := bytes.Repeat([]byte{byte(i + 1)}, size)
				whole = append(whole, body...)
				p := must[*sdk.UploadPartOutput](t)(s.UploadPart(ctx, &sdk.UploadPartInput{
					Bucket: b, Key: &key, UploadId: u.UploadId, PartNumber: aws.Int32(int32(i + 1)), Body: bytes.NewReader(body), ChecksumAlgorithm: u.ChecksumAlgorithm,
				}))
				parts = append(parts, types.CompletedPart{PartNumber: aws.Int32(int32(i + 1)), ETag: p.ETag,
					ChecksumCRC32: p.ChecksumCRC32, ChecksumCRC32C: p.ChecksumCRC32C, ChecksumCRC64NVME: p.ChecksumCRC64NVME, ChecksumSHA1: p.ChecksumSHA1, ChecksumSHA256: p.ChecksumSHA256})
			}
			done := must[*sdk.CompleteMultipartUploadOutput](t)(s.CompleteMultipartUpload(ctx, &sdk.CompleteMultipartUploadInput{
				Bucket: b, Key: &key, UploadId: u.UploadId, MultipartUpload: &types.CompletedMultipartUpload{Parts: parts},
			}))
			if c.k != "" && done.ChecksumType != c.k {
				t.Errorf("got type %q, want %q", done.ChecksumType, c.k)
			}
			if got := s.get(key); !bytes.Equal(got, whole) {
				t.Errorf("got %d bytes, want %d equal ones", len(got), len(whole))
			}
			copied := key + "copy"
			must[*sdk.CopyObjectOutput](t)(s.CopyObject(ctx, &sdk.CopyObjectInput{Bucket: b, Key: &copied, CopySource: aws.String("gas-results/" + key)}))
			must[*sdk.DeleteObjectOutput](t)(s.DeleteObject(ctx, &sdk.DeleteObjectInput{Bucket: b, Key: &key}))
			if got := s.get(copied); !bytes.Equal(got, whole) {
				t.Errorf("copy: got %d bytes, want %d equal ones", len(got), len(whole))
			}
			must[*sdk.DeleteObjectOutput](t)(s.DeleteObject(ctx, &sdk.DeleteObjectInput{Bucket: b, Key: &copied}))
		})
	}
	if n := s.blobs(); n != 0 {
		t.Errorf("%d files are left", n)
	}
}
