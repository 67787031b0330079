package s3_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	sdk "github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/smithy-go"
	"go.uber.org/goleak"

	"github.com/gas-restore/gas/internal/local/aws/s3"
	"github.com/gas-restore/gas/internal/local/aws/world"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var ctx = context.Background()

// stand is a running service and its client.
type stand struct {
	*sdk.Client
	t       testing.TB
	dir     string
	world   *world.World
	service *s3.Service
	server  *httptest.Server
	closed  bool
}

// newStand serves the state in dir, with the bucket b.
func newStand(t testing.TB, dir string) *stand {
	t.Helper()
	return newStandWith(t, dir, func(*world.World) s3.Config { return s3.Config{} })
}

// newStandWith is newStand with more of the world than S3.
func newStandWith(t testing.TB, dir string, cfg func(*world.World) s3.Config) *stand {
	t.Helper()
	w, err := world.New(dir, "us-east-1", "123456789012")
	if err != nil {
		t.Fatal(err)
	}
	service, err := s3.New(w, cfg(w))
	if err != nil {
		t.Fatal(err)
	}
	s := &stand{t: t, dir: dir, world: w, service: service, server: httptest.NewServer(world.Handler(service))}
	s.Client = sdk.New(sdk.Options{
		Region: "us-east-1", BaseEndpoint: aws.String(s.server.URL), UsePathStyle: true, Retryer: aws.NopRetryer{},
		Credentials:                credentials.NewStaticCredentialsProvider("AKID", "secret", ""),
		HTTPClient:                 s.server.Client(),
		RequestChecksumCalculation: aws.RequestChecksumCalculationWhenSupported,
		ResponseChecksumValidation: aws.ResponseChecksumValidationWhenSupported,
	})
	t.Cleanup(s.close)
	must[*sdk.CreateBucketOutput](t)(s.CreateBucket(ctx, &sdk.CreateBucketInput{Bucket: aws.String("gas-results")}))
	return s
}

func (s *stand) close() {
	if s.closed {
		return
	}
	s.closed = true
	s.server.Close()
	if err := s.world.Close(); err != nil {
		s.t.Error(err)
	}
}

// blobs is how many files of objects' bytes there are.
func (s *stand) blobs() int {
	s.t.Helper()
	return len(must[[]os.DirEntry](s.t)(os.ReadDir(filepath.Join(s.dir, "blobs"))))
}

func must[T any](t testing.TB) func(T, error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

// refused fails the test unless err is AWS's error of this code, with text in it.
func refused(t testing.TB, err error, code, text string) {
	t.Helper()
	var e smithy.APIError
	if !errors.As(err, &e) {
		t.Errorf("got %v, want %s: %s", err, code, text)
		return
	}
	if e.ErrorCode() != code || !strings.Contains(e.ErrorMessage(), text) {
		t.Errorf("got %s: %s\nwant %s: …%s…", e.ErrorCode(), e.ErrorMessage(), code, text)
	}
}

var b = aws.String("gas-results")

func (s *stand) put(key string, body []byte) *sdk.PutObjectOutput {
	s.t.Helper()
	return must[*sdk.PutObjectOutput](s.t)(s.PutObject(ctx, &sdk.PutObjectInput{Bucket: b, Key: &key, Body: bytes.NewReader(body)}))
}

func (s *stand) get(key string) []byte {
	s.t.Helper()
	out := must[*sdk.GetObjectOutput](s.t)(s.GetObject(ctx, &sdk.GetObjectInput{Bucket: b, Key: &key, ChecksumMode: "ENABLED"}))
	defer out.Body.Close()
	return must[[]byte](s.t)(io.ReadAll(out.Body))
}

// raw sends a request by hand and returns status and body.
func (s *stand) raw(method, path string, header map[string]string, body string) (int, string, http.Header) {
	s.t.Helper()
	r := must[*http.Request](s.t)(http.NewRequest(method, s.server.URL+path, strings.NewReader(body)))
	for k, v := range header {
		r.Header.Set(k, v)
	}
	res := must[*http.Response](s.t)(s.server.Client().Do(r))
	defer res.Body.Close()
	return res.StatusCode, string(must[[]byte](s.t)(io.ReadAll(res.Body))), res.Header
}

func appendTo(t testing.TB, name, text string) {
	t.Helper()
	f := must[*os.File](t)(os.OpenFile(name, os.O_APPEND|os.O_WRONLY, 0))
	defer f.Close()
	must[int](t)(f.WriteString(text))
}
