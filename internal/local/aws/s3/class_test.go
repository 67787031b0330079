package s3_test

import (
	"fmt"
	"net/url"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
)

// putIn puts an object in a class.
func (s *stand) putIn(class types.StorageClass, key, body string) *sdk.PutObjectOutput {
	s.t.Helper()
	return must[*sdk.PutObjectOutput](s.t)(s.PutObject(ctx, &sdk.PutObjectInput{Bucket: b, Key: &key, Body: strings.NewReader(body), StorageClass: class}))
}

// upload puts an object of one part in a class by a multipart upload.
func (s *stand) upload(class types.StorageClass, key, body string) {
	s.t.Helper()
	u := must[*sdk.CreateMultipartUploadOutput](s.t)(s.CreateMultipartUpload(ctx, &sdk.CreateMultipartUploadInput{Bucket: b, Key: &key, StorageClass: class}))
	p := must[*sdk.UploadPartOutput](s.t)(s.UploadPart(ctx, &sdk.UploadPartInput{Bucket: b, Key: &key, UploadId: u.UploadId, PartNumber: aws.Int32(1), Body: strings.NewReader(body)}))
	must[*sdk.CompleteMultipartUploadOutput](s.t)(s.CompleteMultipartUpload(ctx, &sdk.CompleteMultipartUploadInput{
		Bucket: b, Key: &key, UploadId: u.UploadId,
		MultipartUpload: &types.CompletedMultipartUpload{Parts: []types.CompletedPart{{PartNumber: aws.Int32(1), ETag: p.ETag}}},
	}))
}

func TestAnObjectShowsTheClassThatItWasPutIn(t *testing.T) {
	for _, class := range []types.StorageClass{"", "STANDARD", "STANDARD_IA", "ONEZONE_IA", "INTELLIGENT_TIERING", "GLACIER_IR", "REDUCED_REDUNDANCY", "GLACIER", "DEEP_ARCHIVE"} {
		t.Run(string(class), func(t *testing.T) {
			s := newStand(t, t.TempDir())
			s.putIn(class, "put", "body")
			s.upload(class, "uploaded", "body")
			s.putIn("", "source", "body")
			must[*sdk.CopyObjectOutput](t)(s.CopyObject(ctx, &sdk.CopyObjectInput{Bucket: b, Key: aws.String("copied"), CopySource: aws.String("gas-results/source"), StorageClass: class}))
			shown, listed := class, types.ObjectStorageClass(class)
			switch class {
			case "", "STANDARD":
				shown, listed = "", "STANDARD"
			}
			for _, key := range []string{"put", "uploaded", "copied"} {
				h := must[*sdk.HeadObjectOutput](t)(s.HeadObject(ctx, &sdk.HeadObjectInput{Bucket: b, Key: &key}))
				if h.StorageClass != shown || h.Restore != nil {
					t.Errorf("HEAD %s: class %q, want %q; restore %v", key, h.StorageClass, shown, h.Restore)
				}
				g, err := s.GetObject(ctx, &sdk.GetObjectInput{Bucket: b, Key: &key})
				if cold := class == "GLACIER" || class == "DEEP_ARCHIVE"; cold {
					refused(t, err, "InvalidObjectState", "storage class")
					continue
				}
				if err != nil {
					t.Fatal(err)
				}
				g.Body.Close()
				if g.StorageClass != shown {
					t.Errorf("GET %s: class %q, want %q", key, g.StorageClass, shown)
				}
			}
			out := must[*sdk.ListObjectsV2Output](t)(s.ListObjectsV2(ctx, &sdk.ListObjectsV2Input{Bucket: b}))
			for _, o := range out.Contents {
				want := listed
				if *o.Key == "source" {
					want = "STANDARD"
				}
				if o.StorageClass != want {
					t.Errorf("list: %s has class %q, want %q", *o.Key, o.StorageClass, want)
				}
			}
		})
	}
	s := newStand(t, "")
	_, err := s.PutObject(ctx, &sdk.PutObjectInput{Bucket: b, Key: aws.String("k"), StorageClass: "FROZEN"})
	refused(t, err, "InvalidStorageClass", "")
}

func TestAColdObjectIsNotReadNorCopied(t *testing.T) {
	for _, class := range []types.StorageClass{"GLACIER", "DEEP_ARCHIVE"} {
		s := newStand(t, t.TempDir())
		etag := *s.putIn(class, "dir/a b", "cold body").ETag
		path := "/gas-results/dir/" + url.PathEscape("a b")
		source := map[string]string{"X-Amz-Copy-Source": path}
		u := must[*sdk.CreateMultipartUploadOutput](t)(s.CreateMultipartUpload(ctx, &sdk.CreateMultipartUploadInput{Bucket: b, Key: aws.String("parts")}))
		part := fmt.Sprintf("/gas-results/parts?partNumber=1&uploadId=%s", *u.UploadId)
		for _, c := range []struct {
			name, method, path string
			header             map[string]string
			status             int
			want               []string
		}{
			{"get", "GET", path, nil, 403, []string{"<Code>InvalidObjectState</Code>", "<StorageClass>" + string(class) + "</StorageClass>"}},
			{"get a range", "GET", path, map[string]string{"Range": "bytes=0-1"}, 403, []string{"<Code>InvalidObjectState</Code>"}},
			{"get a part", "GET", path + "?partNumber=1", nil, 403, []string{"<Code>InvalidObjectState</Code>"}},
			{"get what is not modified", "GET", path, map[string]string{"If-None-Match": etag}, 304, nil},
			{"get another", "GET", path, map[string]string{"If-Match": `"x"`}, 412, []string{"<Code>PreconditionFailed</Code>"}},
			{"head", "HEAD", path, nil, 200, nil},
			{"head a range", "HEAD", path, map[string]string{"Range": "bytes=0-1"}, 206, nil},
			{"copy", "PUT", "/gas-results/copy", source, 403, []string{"<Code>ObjectNotInActiveTierError</Code>"}},
			{"copy in place to STANDARD", "PUT", path, source, 403, []string{"<Code>ObjectNotInActiveTierError</Code>"}},
			{"copy a part", "PUT", part, source, 403, []string{"<Code>ObjectNotInActiveTierError</Code>"}},
		} {
			status, body, h := s.raw(c.method, c.path, c.header, "")
			if status != c.status || strings.Contains(body, "AccessTier") {
				t.Errorf("%s of %s: got %d %s, want %d", c.name, class, status, body, c.status)
			}
			for _, want := range c.want {
				if !strings.Contains(body, want) {
					t.Errorf("%s of %s: got %s, want %s", c.name, class, body, want)
				}
			}
			if c.method == "HEAD" && (h.Get("X-Amz-Storage-Class") != string(class) || h.Get("X-Amz-Restore") != "") {
				t.Errorf("%s of %s: headers %v", c.name, class, h)
			}
		}
	}
}
