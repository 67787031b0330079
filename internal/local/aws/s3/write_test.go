package s3_test

import (
	"bytes"
	"crypto/md5"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"hash/crc32"
	"io"
	"net"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
)

func TestConditionalWrites(t *testing.T) {
	s := newStand(t, t.TempDir())
	put := func(key, body string, in sdk.PutObjectInput) (*sdk.PutObjectOutput, error) {
		in.Bucket, in.Key, in.Body = b, &key, strings.NewReader(body)
		return s.PutObject(ctx, &in)
	}
	first := must[*sdk.PutObjectOutput](t)(put("k", "one", sdk.PutObjectInput{IfNoneMatch: aws.String("*")}))
	_, err := put("k", "two", sdk.PutObjectInput{IfNoneMatch: aws.String("*")})
	refused(t, err, "PreconditionFailed", "pre-conditions")
	_, err = put("k", "two", sdk.PutObjectInput{IfNoneMatch: first.ETag})
	refused(t, err, "NotImplemented", "If-None-Match")
	_, err = put("k", "two", sdk.PutObjectInput{IfMatch: aws.String(`"0123"`)})
	refused(t, err, "PreconditionFailed", "pre-conditions")
	_, err = put("gone", "two", sdk.PutObjectInput{IfMatch: first.ETag})
	refused(t, err, "NoSuchKey", "does not exist")
	if got := s.get("k"); string(got) != "one" {
		t.Errorf("a refused write changed the object: %q", got)
	}
	must[*sdk.PutObjectOutput](t)(put("k", "two", sdk.PutObjectInput{IfMatch: first.ETag}))
	if got := s.get("k"); string(got) != "two" {
		t.Errorf("got %q", got)
	}
	if n := s.blobs(); n != 1 {
		t.Errorf("%d files, want 1", n)
	}
}

// slow is a body with a second half that waits.
type slow struct {
	halves [2]io.Reader
	begun  chan struct{}
	resume chan struct{}
	n      int
}

func (r *slow) Read(p []byte) (int, error) {
	for r.n < 2 {
		if r.n == 1 && r.begun != nil {
			close(r.begun)
			r.begun = nil
			<-r.resume
		}
		n, err := r.halves[r.n].Read(p)
		if n > 0 {
			return n, nil
		}
		if err == io.EOF {
			r.n++
		}
	}
	return 0, io.EOF
}

func TestAWriteThatIsUnderWayIsNotSeenAndMeetsWhatCameMeanwhile(t *testing.T) {
	s := newStand(t, t.TempDir())
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for _, c := range []struct {
		name, code string
		meanwhile  func()
	}{
		{"nothing", "", func() {}},
		{"a write", "PreconditionFailed", func() { s.put("k", []byte("mine")) }},
		{"a deletion", "ConditionalRequestConflict", func() {
			must[*sdk.DeleteObjectOutput](t)(s.DeleteObject(ctx, &sdk.DeleteObjectInput{Bucket: b, Key: aws.String("k")}))
		}},
	} {
		body := &slow{halves: [2]io.Reader{strings.NewReader("first"), strings.NewReader("second")}, begun: make(chan struct{}), resume: make(chan struct{})}
		begun := body.begun
		done := make(chan struct{})
		var res string
		var status int
		go func() {
			defer close(done)
			conn := must[net.Conn](t)(net.Dial("tcp", s.server.Listener.Addr().String()))
			defer conn.Close()
			fmt.Fprintf(conn, "PUT /gas-results/k HTTP/1.1\r\nHost: x\r\nIf-None-Match: *\r\nContent-Length: 11\r\nConnection: close\r\n\r\n")
			io.Copy(conn, body)
			answer, _ := io.ReadAll(conn)
			res = string(answer)
			fmt.Sscanf(res, "HTTP/1.1 %d", &status)
		}()
		<-begun
		for s.blobs() == 0 { // until the server has begun to write
			<-tick.C
		}
		if _, err := s.HeadObject(ctx, &sdk.HeadObjectInput{Bucket: b, Key: aws.String("k")}); err == nil {
			t.Errorf("%s: half an object is seen", c.name)
		}
		c.meanwhile()
		close(body.resume)
		<-done
		if c.code == "" && status != 200 || !strings.Contains(res, c.code) {
			t.Errorf("%s: got %s, want %s", c.name, res, c.code)
		}
		must[*sdk.DeleteObjectOutput](t)(s.DeleteObject(ctx, &sdk.DeleteObjectInput{Bucket: b, Key: aws.String("k")}))
	}
	if n := s.blobs(); n != 0 {
		t.Errorf("%d files are left", n)
	}
}

func TestACutUploadLeavesNothing(t *testing.T) {
	s := newStand(t, t.TempDir())
	for _, head := range []string{
		"Content-Length: 100\r\n",
		"Content-Length: 100\r\nX-Amz-Content-Sha256: STREAMING-UNSIGNED-PAYLOAD-TRAILER\r\nX-Amz-Decoded-Content-Length: 50\r\nX-Amz-Trailer: x-amz-checksum-crc32\r\n",
	} {
		conn := must[*net.TCPConn](t)(net.DialTCP("tcp", nil, s.server.Listener.Addr().(*net.TCPAddr)))
		fmt.Fprintf(conn, "PUT /gas-results/k HTTP/1.1\r\nHost: x\r\n%sConnection: close\r\n\r\n10\r\nonly this", head)
		conn.CloseWrite()
		answer, _ := io.ReadAll(conn)
		conn.Close()
		if !strings.Contains(string(answer), "400 Bad Request") || !strings.Contains(string(answer), "<Code>IncompleteBody</Code>") {
			t.Errorf("got %s", answer)
		}
	}
	if n := s.blobs(); n != 0 {
		t.Errorf("%d files are left", n)
	}
	_, err := s.GetObject(ctx, &sdk.GetObjectInput{Bucket: b, Key: aws.String("k")})
	refused(t, err, "NoSuchKey", "")
}

func TestAWrongDigestIsRefused(t *testing.T) {
	s := newStand(t, t.TempDir())
	const body = "the body"
	sum := func(b []byte) string { return base64.StdEncoding.EncodeToString(b) }
	m := md5.Sum([]byte("other"))
	sha := sha256.Sum256([]byte("other"))
	crc := crc32.ChecksumIEEE([]byte("other"))
	crcText := sum([]byte{byte(crc >> 24), byte(crc >> 16), byte(crc >> 8), byte(crc)})
	for _, c := range []struct {
		header map[string]string
		code   string
	}{
		{map[string]string{"Content-MD5": sum(m[:])}, "BadDigest"},
		{map[string]string{"Content-MD5": "x"}, "InvalidDigest"},
		{map[string]string{"x-amz-checksum-sha256": sum(sha[:])}, "BadDigest"},
		{map[string]string{"x-amz-checksum-crc32": crcText}, "BadDigest"},
		{map[string]string{"x-amz-checksum-crc32": "AA=="}, "InvalidRequest"},
		{map[string]string{"x-amz-checksum-crc32": crcText, "x-amz-checksum-sha256": sum(sha[:])}, "InvalidRequest"},
		{map[string]string{"x-amz-checksum-nope": crcText}, "InvalidRequest"},
		{map[string]string{"x-amz-sdk-checksum-algorithm": "CRC32"}, "InvalidRequest"},
		{map[string]string{"x-amz-content-sha256": hex.EncodeToString(sha[:])}, "XAmzContentSHA256Mismatch"},
		{map[string]string{"x-amz-content-sha256": "nope"}, "InvalidArgument"},
		{map[string]string{"x-amz-content-sha256": "STREAMING-NOPE"}, "NotImplemented"},
		{map[string]string{"x-amz-content-sha256": "STREAMING-UNSIGNED-PAYLOAD-TRAILER"}, "MissingContentLength"},
		{map[string]string{"x-amz-server-side-encryption": "aws:kms"}, "NotImplemented"},
		{map[string]string{"x-amz-acl": "public-read"}, "AccessControlListNotSupported"},
		{map[string]string{"x-amz-storage-class": "NOPE"}, "InvalidStorageClass"},
		{map[string]string{"x-amz-meta-a": strings.Repeat("x", 2048)}, "MetadataTooLarge"},
		{map[string]string{"x-amz-expected-bucket-owner": "999999999999"}, "AccessDenied"},
	} {
		_, answer, _ := s.raw("PUT", "/gas-results/k", c.header, body)
		if !strings.Contains(answer, "<Code>"+c.code+"</Code>") {
			t.Errorf("%v: got %s, want %s", c.header, answer, c.code)
		}
	}
	if n := s.blobs(); n != 0 {
		t.Errorf("%d files are left", n)
	}
}

func TestChunkedBodiesAreDecodedStrictly(t *testing.T) {
	s := newStand(t, t.TempDir())
	crc := crc32.ChecksumIEEE([]byte("hello world"))
	sum := base64.StdEncoding.EncodeToString([]byte{byte(crc >> 24), byte(crc >> 16), byte(crc >> 8), byte(crc)})
	sig := strings.Repeat("0a", 32)
	const unsigned, signed, signedTrailer = "STREAMING-UNSIGNED-PAYLOAD-TRAILER", "STREAMING-AWS4-HMAC-SHA256-PAYLOAD", "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER"
	for _, c := range []struct{ name, mode, body, length, trailer, want string }{
		{"unsigned", unsigned, "5\r\nhello\r\n6\r\n world\r\n0\r\nx-amz-checksum-crc32:" + sum + "\r\n\r\n", "11", "x-amz-checksum-crc32", ""},
		{"unsigned, no trailer", unsigned, "b\r\nhello world\r\n0\r\n\r\n", "11", "", ""},
		{"signed", signed, "b;chunk-signature=" + sig + "\r\nhello world\r\n0;chunk-signature=" + sig + "\r\n\r\n", "11", "", ""},
		{"signed with trailer", signedTrailer, "b;chunk-signature=" + sig + "\r\nhello world\r\n0;chunk-signature=" + sig + "\r\nx-amz-checksum-crc32:" + sum + "\r\nx-amz-trailer-signature:" + sig + "\r\n\r\n", "11", "x-amz-checksum-crc32", ""},
		{"trailer's signature missing", signedTrailer, "b;chunk-signature=" + sig + "\r\nhello world\r\n0;chunk-signature=" + sig + "\r\nx-amz-checksum-crc32:" + sum + "\r\n\r\n", "11", "x-amz-checksum-crc32", "SignatureDoesNotMatch"},
		{"chunk's signature missing", signed, "b\r\nhello world\r\n0\r\n\r\n", "11", "", "InvalidChunkSizeError"},
		{"chunk's signature short", signed, "b;chunk-signature=0a\r\nhello world\r\n0\r\n\r\n", "11", "", "SignatureDoesNotMatch"},
		{"wrong trailer", unsigned, "b\r\nhello wOrld\r\n0\r\nx-amz-checksum-crc32:" + sum + "\r\n\r\n", "11", "x-amz-checksum-crc32", "BadDigest"},
		{"missing trailer", unsigned, "b\r\nhello world\r\n0\r\n\r\n", "11", "x-amz-checksum-crc32", "MalformedTrailerError"},
		{"short", unsigned, "5\r\nhello\r\n0\r\n\r\n", "11", "", "IncompleteBody"},
		{"long", unsigned, "b\r\nhello world\r\n0\r\n\r\n", "5", "", "InvalidRequest"},
		{"no end", unsigned, "b\r\nhello world\r\n", "11", "x-amz-checksum-crc32", "IncompleteBody"},
		{"chunk too long", unsigned, "5\r\nhello world\r\n0\r\n\r\n", "11", "", "InvalidChunkSizeError"},
		{"not hex", unsigned, "zz\r\nhello\r\n0\r\n\r\n", "5", "", "InvalidChunkSizeError"},
		{"unknown trailer", unsigned, "b\r\nhello world\r\n0\r\n\r\n", "11", "x-amz-meta-x", "InvalidRequest"},
	} {
		h := map[string]string{"x-amz-content-sha256": c.mode, "x-amz-decoded-content-length": c.length, "Content-Encoding": "aws-chunked,gzip"}
		if c.trailer != "" {
			h["x-amz-trailer"] = c.trailer
		}
		status, answer, _ := s.raw("PUT", "/gas-results/k", h, c.body)
		if c.want == "" {
			if status != 200 {
				t.Errorf("%s: got %s", c.name, answer)
			} else if _, got, head := s.raw("GET", "/gas-results/k", map[string]string{"Accept-Encoding": "identity"}, ""); got != "hello world" || head.Get("Content-Encoding") != "gzip" {
				t.Errorf("%s: got %q, %v", c.name, got, head)
			}
			continue
		}
		if !strings.Contains(answer, "<Code>"+c.want+"</Code>") {
			t.Errorf("%s: got %d %s, want %s", c.name, status, answer, c.want)
		}
	}
}

func TestCopiesKeepOrReplaceTheMetadata(t *testing.T) {
	s := newStand(t, t.TempDir())
	must[*sdk.PutObjectOutput](t)(s.PutObject(ctx, &sdk.PutObjectInput{Bucket: b, Key: aws.String("a b+c"), Body: strings.NewReader("x"), ContentType: aws.String("text/x"), Metadata: map[string]string{"m": "1"}}))
	cp := func(in sdk.CopyObjectInput) error {
		in.Bucket = b
		if in.CopySource == nil {
			in.CopySource = aws.String("gas-results/" + url.PathEscape("a b+c"))
		}
		_, err := s.CopyObject(ctx, &in)
		return err
	}
	if err := cp(sdk.CopyObjectInput{Key: aws.String("kept")}); err != nil {
		t.Fatal(err)
	}
	if err := cp(sdk.CopyObjectInput{Key: aws.String("replaced"), MetadataDirective: "REPLACE", Metadata: map[string]string{"n": "2"}, ChecksumAlgorithm: "SHA256"}); err != nil {
		t.Fatal(err)
	}
	for key, want := range map[string]string{"kept": "text/x map[m:1]", "replaced": "binary/octet-stream map[n:2]"} {
		h := must[*sdk.HeadObjectOutput](t)(s.HeadObject(ctx, &sdk.HeadObjectInput{Bucket: b, Key: &key}))
		if got := fmt.Sprint(*h.ContentType, " ", h.Metadata); got != want {
			t.Errorf("%s: got %s, want %s", key, got, want)
		}
	}
	refused(t, cp(sdk.CopyObjectInput{Key: aws.String("a b+c")}), "InvalidRequest", "to itself")
	refused(t, cp(sdk.CopyObjectInput{Key: aws.String("z"), CopySource: aws.String("gas-results/nope")}), "NoSuchKey", "")
	refused(t, cp(sdk.CopyObjectInput{Key: aws.String("z"), CopySource: aws.String("nope-nope/x")}), "NoSuchBucket", "")
	refused(t, cp(sdk.CopyObjectInput{Key: aws.String("z"), CopySourceIfMatch: aws.String("nope")}), "PreconditionFailed", "")
	if n := s.blobs(); n != 1 {
		t.Errorf("three objects with the same bytes are %d files", n)
	}
	out := must[*sdk.DeleteObjectsOutput](t)(s.DeleteObjects(ctx, &sdk.DeleteObjectsInput{Bucket: b, Delete: &types.Delete{Objects: []types.ObjectIdentifier{
		{Key: aws.String("kept")}, {Key: aws.String("replaced")}, {Key: aws.String("never")}, {Key: aws.String("a b+c")},
	}}}))
	if len(out.Deleted) != 4 || len(out.Errors) != 0 || s.blobs() != 0 {
		t.Errorf("got %+v, %d files", out, s.blobs())
	}
}

func TestHolesAreKeptAndReadAsZeros(t *testing.T) {
	s := newStand(t, t.TempDir())
	body := make([]byte, 3<<20+5)
	copy(body[1<<20:], "in the middle")
	s.put("k", body)
	if got := s.get("k"); !bytes.Equal(got, body) {
		t.Error("the body came back different")
	}
}
