package s3_test

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
)

// begin begins an upload and sends parts of the given sizes.
func (s *stand) begin(key string, sizes ...int) (*string, []types.CompletedPart) {
	s.t.Helper()
	u := must[*sdk.CreateMultipartUploadOutput](s.t)(s.CreateMultipartUpload(ctx, &sdk.CreateMultipartUploadInput{Bucket: b, Key: &key}))
	var parts []types.CompletedPart
	for i, size := range sizes {
		p := must[*sdk.UploadPartOutput](s.t)(s.UploadPart(ctx, &sdk.UploadPartInput{
			Bucket: b, Key: &key, UploadId: u.UploadId, PartNumber: aws.Int32(int32(i + 1)), Body: bytes.NewReader(bytes.Repeat([]byte{byte(i + 1)}, size)),
		}))
		parts = append(parts, types.CompletedPart{PartNumber: aws.Int32(int32(i + 1)), ETag: p.ETag})
	}
	return u.UploadId, parts
}

func (s *stand) complete(key string, id *string, parts []types.CompletedPart, change ...func(*sdk.CompleteMultipartUploadInput)) (*sdk.CompleteMultipartUploadOutput, error) {
	in := &sdk.CompleteMultipartUploadInput{Bucket: b, Key: &key, UploadId: id, MultipartUpload: &types.CompletedMultipartUpload{Parts: parts}}
	for _, f := range change {
		f(in)
	}
	return s.CompleteMultipartUpload(ctx, in)
}

func TestUploadsThatAWSRefusesAreRefused(t *testing.T) {
	s := newStand(t, t.TempDir())
	const MiB = 1 << 20
	id, parts := s.begin("k", 5*MiB, 5*MiB-1, 1)
	_, err := s.complete("k", id, parts)
	refused(t, err, "EntityTooSmall", "smaller than the minimum allowed size")
	_, err = s.complete("k", id, []types.CompletedPart{parts[1], parts[0]})
	refused(t, err, "InvalidPartOrder", "")
	_, err = s.complete("k", id, []types.CompletedPart{{PartNumber: aws.Int32(1), ETag: aws.String("nope")}})
	refused(t, err, "InvalidPart", "")
	_, err = s.complete("k", id, []types.CompletedPart{{PartNumber: aws.Int32(9), ETag: parts[0].ETag}})
	refused(t, err, "InvalidPart", "")
	_, err = s.complete("k", id, []types.CompletedPart{{PartNumber: aws.Int32(1), ETag: parts[0].ETag, ChecksumCRC32: aws.String("AAAAAA==")}})
	refused(t, err, "InvalidPart", "")
	_, err = s.complete("k", id, nil)
	refused(t, err, "MalformedXML", "")
	_, err = s.complete("k", aws.String("nope"), parts)
	refused(t, err, "NoSuchUpload", "")
	_, err = s.complete("other", id, parts)
	refused(t, err, "NoSuchUpload", "")
	_, err = s.complete("k", id, parts[:1], func(in *sdk.CompleteMultipartUploadInput) { in.MpuObjectSize = aws.Int64(7) })
	refused(t, err, "InvalidRequest", "x-amz-mp-object-size")
	_, err = s.complete("k", id, parts[:1], func(in *sdk.CompleteMultipartUploadInput) { in.ChecksumCRC64NVME = aws.String("AAAAAAAAAAA=") })
	refused(t, err, "BadDigest", "CRC64NVME")
	_, err = s.complete("k", id, parts[:1], func(in *sdk.CompleteMultipartUploadInput) { in.ChecksumType = "COMPOSITE" })
	refused(t, err, "InvalidRequest", "FULL_OBJECT checksum mode")
	s.put("k", []byte("there"))
	_, err = s.complete("k", id, parts[:1], func(in *sdk.CompleteMultipartUploadInput) { in.IfNoneMatch = aws.String("*") })
	refused(t, err, "PreconditionFailed", "")
	if got := s.get("k"); string(got) != "there" {
		t.Errorf("a refused completion changed the object")
	}
	out, err := s.complete("k", id, parts[:2])
	if err != nil || *out.ETag == *parts[0].ETag || !strings.HasSuffix(*out.ETag, `-2"`) || out.ChecksumCRC64NVME == nil || out.ChecksumType != "FULL_OBJECT" {
		t.Errorf("got %v, %+v", err, out)
	}
	_, err = s.complete("k", id, parts[:2])
	refused(t, err, "NoSuchUpload", "")
	if n := s.blobs(); n != 2 {
		t.Errorf("%d files, want those of the two parts", n)
	}
	for _, in := range []sdk.CreateMultipartUploadInput{{ChecksumAlgorithm: "SHA256", ChecksumType: "FULL_OBJECT"}, {ChecksumAlgorithm: "CRC64NVME", ChecksumType: "COMPOSITE"}, {ChecksumType: "COMPOSITE"}} {
		in.Bucket, in.Key = b, aws.String("k")
		_, err := s.CreateMultipartUpload(ctx, &in)
		refused(t, err, "InvalidRequest", "")
	}
	for _, n := range []int32{0, 10001} {
		_, err := s.UploadPart(ctx, &sdk.UploadPartInput{Bucket: b, Key: aws.String("k"), UploadId: id, PartNumber: &n})
		refused(t, err, "InvalidArgument", "between 1 and 10000")
	}
	u := must[*sdk.CreateMultipartUploadOutput](t)(s.CreateMultipartUpload(ctx, &sdk.CreateMultipartUploadInput{Bucket: b, Key: aws.String("c"), ChecksumAlgorithm: "SHA256"}))
	_, err = s.UploadPart(ctx, &sdk.UploadPartInput{Bucket: b, Key: aws.String("c"), UploadId: u.UploadId, PartNumber: aws.Int32(1), Body: strings.NewReader("x")})
	refused(t, err, "InvalidRequest", "Checksum Type mismatch occurred, expected checksum Type: sha256, actual checksum Type: crc32")
	p := must[*sdk.UploadPartOutput](t)(s.UploadPart(ctx, &sdk.UploadPartInput{Bucket: b, Key: aws.String("c"), UploadId: u.UploadId, PartNumber: aws.Int32(1), Body: strings.NewReader("x"), ChecksumAlgorithm: "SHA256"}))
	_, err = s.complete("c", u.UploadId, []types.CompletedPart{{PartNumber: aws.Int32(1), ETag: p.ETag}})
	refused(t, err, "InvalidRequest", "The complete request must include the checksum for each part. It was missing for part 1")
}

func TestPartsAreReplacedListedAndAborted(t *testing.T) {
	s := newStand(t, t.TempDir())
	id, _ := s.begin("k", 3, 4, 5)
	must[*sdk.UploadPartOutput](t)(s.UploadPart(ctx, &sdk.UploadPartInput{Bucket: b, Key: aws.String("k"), UploadId: id, PartNumber: aws.Int32(2), Body: strings.NewReader("replaced")}))
	var sizes []int64
	for p := sdk.NewListPartsPaginator(s.Client, &sdk.ListPartsInput{Bucket: b, Key: aws.String("k"), UploadId: id, MaxParts: aws.Int32(2)}); p.HasMorePages(); {
		for _, part := range must[*sdk.ListPartsOutput](t)(p.NextPage(ctx)).Parts {
			sizes = append(sizes, *part.Size)
		}
	}
	if fmt.Sprint(sizes) != "[3 8 5]" || s.blobs() != 3 {
		t.Errorf("got %v in %d files", sizes, s.blobs())
	}
	must[*sdk.AbortMultipartUploadOutput](t)(s.AbortMultipartUpload(ctx, &sdk.AbortMultipartUploadInput{Bucket: b, Key: aws.String("k"), UploadId: id}))
	_, err := s.AbortMultipartUpload(ctx, &sdk.AbortMultipartUploadInput{Bucket: b, Key: aws.String("k"), UploadId: id})
	refused(t, err, "NoSuchUpload", "")
	if n := s.blobs(); n != 0 {
		t.Errorf("%d files are left", n)
	}
}

func TestUploadsAreListedByPage(t *testing.T) {
	s := newStand(t, t.TempDir())
	var want []string
	for _, key := range []string{"a", "a", "a/b", "a/c", "b", "b!"} {
		id, _ := s.begin(key)
		want = append(want, key+" "+*id)
		s.world.Clock.Advance(time.Second)
	}
	for limit := int32(1); limit <= 7; limit++ {
		var got []string
		in := &sdk.ListMultipartUploadsInput{Bucket: b, MaxUploads: &limit}
		for {
			out := must[*sdk.ListMultipartUploadsOutput](t)(s.ListMultipartUploads(ctx, in))
			for _, u := range out.Uploads {
				got = append(got, *u.Key+" "+*u.UploadId)
			}
			if !*out.IsTruncated {
				break
			}
			in.KeyMarker, in.UploadIdMarker = out.NextKeyMarker, out.NextUploadIdMarker
		}
		if fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("by %d: got %v, want %v", limit, got, want)
		}
	}
	out := must[*sdk.ListMultipartUploadsOutput](t)(s.ListMultipartUploads(ctx, &sdk.ListMultipartUploadsInput{Bucket: b, Prefix: aws.String("a"), Delimiter: aws.String("/")}))
	if len(out.Uploads) != 2 || len(out.CommonPrefixes) != 1 || *out.CommonPrefixes[0].Prefix != "a/" {
		t.Errorf("got %+v", out)
	}
}

func TestPartsAreCopiedFromObjects(t *testing.T) {
	s := newStand(t, t.TempDir())
	body := make([]byte, 12<<20)
	for i := range body {
		body[i] = byte(i >> 10)
	}
	s.put("src", body)
	id, _ := s.begin("dst")
	cp := func(n int32, r string) (types.CompletedPart, error) {
		out, err := s.UploadPartCopy(ctx, &sdk.UploadPartCopyInput{Bucket: b, Key: aws.String("dst"), UploadId: id, PartNumber: &n, CopySource: aws.String("gas-results/src"), CopySourceRange: aws.String(r)})
		if err != nil {
			return types.CompletedPart{}, err
		}
		return types.CompletedPart{PartNumber: &n, ETag: out.CopyPartResult.ETag}, nil
	}
	_, err := cp(1, fmt.Sprintf("bytes=0-%d", len(body)))
	refused(t, err, "InvalidArgument", "Range specified is not valid")
	_, err = cp(1, "bytes=5-")
	refused(t, err, "InvalidArgument", "must be of the form")
	one := must[types.CompletedPart](t)(cp(1, fmt.Sprintf("bytes=3-%d", 6<<20)))
	two := must[types.CompletedPart](t)(cp(2, "bytes=0-9"))
	must[*sdk.CompleteMultipartUploadOutput](t)(s.complete("dst", id, []types.CompletedPart{one, two}))
	must[*sdk.DeleteObjectOutput](t)(s.DeleteObject(ctx, &sdk.DeleteObjectInput{Bucket: b, Key: aws.String("src")}))
	if got, want := s.get("dst"), append(body[3:6<<20+1:6<<20+1], body[:10]...); !bytes.Equal(got, want) {
		t.Errorf("got %d bytes, want %d equal ones", len(got), len(want))
	}
	out := must[*sdk.GetObjectOutput](t)(s.GetObject(ctx, &sdk.GetObjectInput{Bucket: b, Key: aws.String("dst"), PartNumber: aws.Int32(2)}))
	out.Body.Close()
	if *out.PartsCount != 2 || *out.ContentLength != 10 {
		t.Errorf("part 2: %+v", out)
	}
}

func TestALifecycleRuleGivesUpOldUploads(t *testing.T) {
	s := newStand(t, t.TempDir())
	_, err := s.GetBucketLifecycleConfiguration(ctx, &sdk.GetBucketLifecycleConfigurationInput{Bucket: b})
	refused(t, err, "NoSuchLifecycleConfiguration", "")
	must[*sdk.PutBucketLifecycleConfigurationOutput](t)(s.PutBucketLifecycleConfiguration(ctx, &sdk.PutBucketLifecycleConfigurationInput{Bucket: b, LifecycleConfiguration: &types.BucketLifecycleConfiguration{Rules: []types.LifecycleRule{
		{ID: aws.String("x"), Status: "Enabled", Filter: &types.LifecycleRuleFilter{Prefix: aws.String("tmp/")}, AbortIncompleteMultipartUpload: &types.AbortIncompleteMultipartUpload{DaysAfterInitiation: aws.Int32(2)}},
	}}}))
	rules := must[*sdk.GetBucketLifecycleConfigurationOutput](t)(s.GetBucketLifecycleConfiguration(ctx, &sdk.GetBucketLifecycleConfigurationInput{Bucket: b})).Rules
	if len(rules) != 1 || *rules[0].AbortIncompleteMultipartUpload.DaysAfterInitiation != 2 || *rules[0].Filter.Prefix != "tmp/" {
		t.Errorf("got %+v", rules)
	}
	s.begin("tmp/a", 3)
	s.begin("keep", 3)
	count := func() int {
		return len(must[*sdk.ListMultipartUploadsOutput](t)(s.ListMultipartUploads(ctx, &sdk.ListMultipartUploadsInput{Bucket: b})).Uploads)
	}
	s.world.Clock.Advance(47 * time.Hour)
	if n := count(); n != 2 {
		t.Errorf("before: %d", n)
	}
	s.world.Clock.Advance(2 * time.Hour)
	if n := count(); n != 1 || s.blobs() != 1 {
		t.Errorf("after: %d, %d files", n, s.blobs())
	}
}

func TestEverythingIsThereAfterARestart(t *testing.T) {
	dir := t.TempDir()
	s := newStand(t, dir)
	s.put("small", []byte("small"))
	s.put("empty", nil)
	id, parts := s.begin("big", 5<<20, 7)
	must[*sdk.CompleteMultipartUploadOutput](t)(s.complete("big", id, parts))
	pending, more := s.begin("pending", 5)
	s.begin("forgotten", 5)
	stray, f, err := s.world.NewBlob() // as a crash leaves one of an upload
	if err != nil {
		t.Fatal(err)
	}
	f.Close()
	loose := fmt.Sprintf(`{"t":"s3.loose","k":"x","v":["%s"]}`+"\n", stray)
	s.close()
	appendTo(t, dir+"/state.jsonl", loose)

	s = newStand(t, dir)
	if n := s.blobs(); n != 5 {
		t.Errorf("%d files, want 5", n)
	}
	if string(s.get("small")) != "small" || len(s.get("empty")) != 0 || len(s.get("big")) != 5<<20+7 {
		t.Error("an object is not what it was")
	}
	must[*sdk.CompleteMultipartUploadOutput](t)(s.complete("pending", pending, more))
	if got := s.get("pending"); len(got) != 5 {
		t.Errorf("got %d bytes", len(got))
	}
	must[*sdk.DeleteObjectOutput](t)(s.DeleteObject(ctx, &sdk.DeleteObjectInput{Bucket: b, Key: aws.String("big")}))
	if n := s.blobs(); n != 3 {
		t.Errorf("%d files, want 3", n)
	}
}
