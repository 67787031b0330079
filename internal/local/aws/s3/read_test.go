package s3_test

import (
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/s3"
	"pgregory.net/rapid"
)

func TestRangesAndConditionsOfReads(t *testing.T) {
	s := newStand(t, "")
	etag := *s.put("k", []byte("0123456789")).ETag
	s.put("empty", nil)
	past, future := "Mon, 02 Jan 2006 15:04:05 GMT", "Mon, 02 Jan 2090 15:04:05 GMT"
	for _, c := range []struct {
		key, header, value string
		status             int
		want               string
	}{
		{"k", "Range", "bytes=2-4", 206, "234"},
		{"k", "Range", "bytes=7-", 206, "789"},
		{"k", "Range", "bytes=-3", 206, "789"},
		{"k", "Range", "bytes=-99", 206, "0123456789"},
		{"k", "Range", "bytes=5-99", 206, "56789"},
		{"k", "Range", "bytes=10-", 416, "InvalidRange"},
		{"k", "Range", "bytes=-0", 416, "InvalidRange"},
		{"k", "Range", "bytes=4-2", 200, "0123456789"},
		{"k", "Range", "bytes=0-1,3-4", 200, "0123456789"},
		{"k", "Range", "chars=1", 200, "0123456789"},
		{"empty", "Range", "bytes=0-", 416, "InvalidRange"},
		{"k", "If-Match", etag, 200, "0123456789"},
		{"k", "If-Match", `"x"`, 412, "PreconditionFailed"},
		{"k", "If-None-Match", etag, 304, ""},
		{"k", "If-None-Match", `"x"`, 200, "0123456789"},
		{"k", "If-Modified-Since", past, 200, "0123456789"},
		{"k", "If-Modified-Since", future, 304, ""},
		{"k", "If-Unmodified-Since", past, 412, "PreconditionFailed"},
		{"nope", "X", "x", 404, "NoSuchKey"},
	} {
		status, body, h := s.raw("GET", "/gas-results/"+c.key, map[string]string{c.header: c.value}, "")
		if status != c.status || status < 300 && body != c.want || !strings.Contains(body, c.want) {
			t.Errorf("%s: %s: got %d %q, want %d %q", c.header, c.value, status, body, c.status, c.want)
		}
		if status == 206 && !strings.HasPrefix(h.Get("Content-Range"), "bytes ") {
			t.Errorf("%s: Content-Range %q", c.value, h.Get("Content-Range"))
		}
		headStatus, headBody, _ := s.raw("HEAD", "/gas-results/"+c.key, map[string]string{c.header: c.value}, "")
		if headStatus != status || headBody != "" {
			t.Errorf("HEAD %s: %s: got %d %q, want %d", c.header, c.value, headStatus, headBody, status)
		}
	}
}

func TestAPresignedGetMaySayWhatItIs(t *testing.T) {
	s := newStand(t, "")
	s.put("dir/k", []byte("x"))
	req, err := sdk.NewPresignClient(s.Client).PresignGetObject(ctx, &sdk.GetObjectInput{Bucket: b, Key: aws.String("dir/k"), ResponseContentDisposition: aws.String(`attachment; filename="é.txt"`), ResponseContentType: aws.String("text/x")}, func(o *sdk.PresignOptions) { o.Expires = time.Minute })
	if err != nil {
		t.Fatal(err)
	}
	res := must[*http.Response](t)(s.server.Client().Get(req.URL))
	defer res.Body.Close()
	body := must[[]byte](t)(io.ReadAll(res.Body))
	if string(body) != "x" || res.Header.Get("Content-Type") != "text/x" || res.Header.Get("Content-Disposition") != `attachment; filename="é.txt"` {
		t.Errorf("got %q, %v", body, res.Header)
	}
}

func TestTheBucketMayBeInTheHost(t *testing.T) {
	s := newStand(t, "")
	s.put("k/l", []byte("x"))
	for host, path := range map[string]string{
		"gas-results.localhost:123": "/k/l", "gas-results.s3.us-east-1.amazonaws.com": "/k/l", "gas-results.s3.localhost": "/k/l", "localhost:1": "/gas-results/k/l", "s3.localhost": "/gas-results/k/l", "127.0.0.1:80": "/gas-results/k/l",
	} {
		r := must[*http.Request](t)(http.NewRequest("GET", s.server.URL+path, nil))
		r.Host = host
		res := must[*http.Response](t)(s.server.Client().Do(r))
		res.Body.Close()
		if res.StatusCode != 200 {
			t.Errorf("%s%s: got %d", host, path, res.StatusCode)
		}
	}
}

func TestWhatTheStandInDoesNotHaveIsRefused(t *testing.T) {
	s := newStand(t, "")
	for _, c := range []struct {
		method, path string
		status       int
		code         string
	}{
		{"GET", "/gas-results?policy", 501, "NotImplemented"},
		{"POST", "/gas-results/k?select&select-type=2", 501, "NotImplemented"},
		{"GET", "/gas-results/k?tagging", 501, "NotImplemented"},
		{"GET", "/gas-results/k?versionId=abc", 400, "InvalidArgument"},
		{"GET", "/gas-results?whatever=1", 501, "NotImplemented"},
		{"PATCH", "/gas-results/k", 405, "MethodNotAllowed"},
		{"GET", "/nope-nope", 404, "NoSuchBucket"},
		{"PUT", "/nope-nope/k", 404, "NoSuchBucket"},
		{"PUT", "/Nope", 400, "InvalidBucketName"},
		{"PUT", "/a..b", 400, "InvalidBucketName"},
		{"PUT", "/192.168.0.1", 400, "InvalidBucketName"},
		{"GET", "/gas-results/" + strings.Repeat("x", 1025), 400, "KeyTooLongError"},
		{"GET", "/gas-results/%ff", 400, "InvalidURI"},
	} {
		status, body, _ := s.raw(c.method, c.path, nil, "")
		if status != c.status || !strings.Contains(body, "<Code>"+c.code+"</Code>") || !strings.Contains(body, "<RequestId>") {
			t.Errorf("%s %s: got %d %s, want %d %s", c.method, clip(c.path), status, body, c.status, c.code)
		}
	}
}

func clip(s string) string { return s[:min(len(s), 60)] }

func TestBucketsComeAndGo(t *testing.T) {
	s := newStand(t, "")
	other := aws.String("other-bucket")
	must[*sdk.CreateBucketOutput](t)(s.CreateBucket(ctx, &sdk.CreateBucketInput{Bucket: other}))
	out := must[*sdk.ListBucketsOutput](t)(s.ListBuckets(ctx, &sdk.ListBucketsInput{}))
	if len(out.Buckets) != 2 || *out.Buckets[1].Name != "other-bucket" {
		t.Errorf("got %+v", out.Buckets)
	}
	if l := must[*sdk.GetBucketLocationOutput](t)(s.GetBucketLocation(ctx, &sdk.GetBucketLocationInput{Bucket: other})); l.LocationConstraint != "" {
		t.Errorf("got %q", l.LocationConstraint)
	}
	s.put("k", nil)
	_, err := s.DeleteBucket(ctx, &sdk.DeleteBucketInput{Bucket: b})
	refused(t, err, "BucketNotEmpty", "")
	must[*sdk.DeleteBucketOutput](t)(s.DeleteBucket(ctx, &sdk.DeleteBucketInput{Bucket: other}))
	if _, err := s.HeadBucket(ctx, &sdk.HeadBucketInput{Bucket: other}); err == nil {
		t.Error("a deleted bucket is there")
	}
}

// A listing is compared with what a walk over all keys finds.
func TestAListingFindsWhatAWalkFinds(t *testing.T) {
	s := newStand(t, "")
	keys := map[string]bool{}
	rapid.Check(t, func(t *rapid.T) {
		key := rapid.StringOfN(rapid.SampledFrom([]rune("ab/é")), 1, 5, -1)
		for range 3 {
			k := key.Draw(t, "key")
			s.put(k, nil)
			keys[k] = true
		}
		pre := rapid.SampledFrom([]string{"", "a", "a/", "b/a", "é", "//"}).Draw(t, "prefix")
		delimiter := rapid.SampledFrom([]string{"", "/", "a"}).Draw(t, "delimiter")
		var want []string
		for _, k := range slices.Sorted(maps.Keys(keys)) {
			if !strings.HasPrefix(k, pre) {
				continue
			}
			if i := strings.Index(k[len(pre):], delimiter); delimiter != "" && i >= 0 {
				k = "dir " + k[:len(pre)+i+len(delimiter)]
			}
			if !slices.Contains(want, k) {
				want = append(want, k)
			}
		}
		in := &sdk.ListObjectsV2Input{Bucket: b, Prefix: &pre, MaxKeys: aws.Int32(int32(rapid.IntRange(1, 9).Draw(t, "max")))}
		v1 := &sdk.ListObjectsInput{Bucket: b, Prefix: &pre, MaxKeys: in.MaxKeys}
		if delimiter != "" {
			in.Delimiter, v1.Delimiter = &delimiter, &delimiter
		}
		var got, got1 []string
		for p := sdk.NewListObjectsV2Paginator(s.Client, in); p.HasMorePages(); {
			out, err := p.NextPage(ctx)
			if err != nil {
				t.Fatal(err)
			}
			if int(*out.KeyCount) != len(out.Contents)+len(out.CommonPrefixes) || *out.KeyCount > *in.MaxKeys {
				t.Fatalf("count %d of %d and %d", *out.KeyCount, len(out.Contents), len(out.CommonPrefixes))
			}
			for _, o := range out.Contents {
				got = append(got, *o.Key)
			}
			for _, c := range out.CommonPrefixes {
				got = append(got, "dir "+*c.Prefix)
			}
		}
		for {
			out, err := s.ListObjects(ctx, v1)
			if err != nil {
				t.Fatal(err)
			}
			for _, o := range out.Contents {
				got1 = append(got1, *o.Key)
				v1.Marker = o.Key
			}
			for _, c := range out.CommonPrefixes {
				got1 = append(got1, "dir "+*c.Prefix)
			}
			if !*out.IsTruncated {
				break
			}
			if out.NextMarker != nil {
				v1.Marker = out.NextMarker
			}
		}
		for _, l := range [][]string{want, got, got1} {
			slices.Sort(l)
		}
		if !slices.Equal(got, want) || !slices.Equal(got1, want) {
			t.Fatalf("prefix %q delimiter %q:\nv2   %q\nv1   %q\nwant %q", pre, delimiter, got, got1, want)
		}
	})
	after := "b"
	out := must[*sdk.ListObjectsV2Output](t)(s.ListObjectsV2(ctx, &sdk.ListObjectsV2Input{Bucket: b, StartAfter: &after, EncodingType: "url"}))
	for _, o := range out.Contents {
		if *o.Key <= after && !strings.HasPrefix(*o.Key, "%") {
			t.Errorf("%q is not after %q", *o.Key, after)
		}
	}
	if len(out.Contents) == 0 {
		t.Error("nothing is after b")
	}
}
