package glacier_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	awsglacier "github.com/aws/aws-sdk-go-v2/service/glacier"
	"github.com/aws/aws-sdk-go-v2/service/glacier/types"
	"github.com/aws/smithy-go"
	smithyhttp "github.com/aws/smithy-go/transport/http"
	"go.uber.org/goleak"

	"github.com/gas-restore/gas/internal/local/aws/glacier"
	"github.com/gas-restore/gas/internal/local/aws/world"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	account = "123456789012"
	mib     = 1 << 20
	topic   = "arn:aws:sns:us-east-1:" + account + ":restore"
)

// topics stores the published messages, and reports them.
type topics struct {
	mu       sync.Mutex
	messages []published
	told     chan struct{}
	// look is called before a message is kept.
	look func()
}

type published struct{ topic, subject, message, service, source string }

func (p *topics) Publish(n world.Notification) error {
	if p.look != nil {
		p.look()
	}
	p.mu.Lock()
	p.messages = append(p.messages, published{n.Topic, n.Subject, n.Message, n.Service, n.Source})
	p.mu.Unlock()
	p.told <- struct{}{}
	return nil
}

func (p *topics) all() []published {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.messages
}

// stand is a service with a client of AWS's SDK. The client calls the handler
// without a network, so that a stand can live in a synctest bubble.
type stand struct {
	*awsglacier.Client
	t       testing.TB
	world   *world.World
	service *glacier.Service
	topics  *topics
}

type handlerFunc func(*http.Request) *http.Response

func (f handlerFunc) Do(r *http.Request) (*http.Response, error) {
	if err := r.Context().Err(); err != nil {
		return nil, err
	}
	return f(r), nil
}

func open(t testing.TB, dir string, cfg glacier.Config) *stand {
	t.Helper()
	w, err := world.New(dir, "us-east-1", account)
	if err != nil {
		t.Fatal(err)
	}
	p := &topics{told: make(chan struct{}, 1000)}
	cfg.Topics = p
	service, err := glacier.New(w, cfg)
	if err != nil {
		t.Fatal(err)
	}
	s := &stand{t: t, world: w, service: service, topics: p}
	s.Client = awsglacier.New(awsglacier.Options{
		Region:       "us-east-1",
		BaseEndpoint: aws.String("http://glacier.test"),
		Credentials:  credentials.NewStaticCredentialsProvider("AKIA", "secret", ""),
		HTTPClient:   handlerFunc(s.serve),
		Retryer:      aws.NopRetryer{},
	})
	return s
}

func (s *stand) serve(r *http.Request) *http.Response {
	if r.Body == nil {
		r.Body = http.NoBody
	}
	rec := httptest.NewRecorder()
	if op, e := s.service.Operation(r); e != nil {
		s.service.WriteError(rec, r, e)
	} else {
		op.Serve(rec, r)
	}
	return rec.Result()
}

func (s *stand) close() {
	if err := s.world.Close(); err != nil {
		s.t.Error(err)
	}
}

// start returns a stand with a vault called v.
func start(t testing.TB, cfg glacier.Config) *stand {
	s := open(t, "", cfg)
	t.Cleanup(s.close)
	s.vault("v")
	return s
}

var ctx = context.Background()

func (s *stand) vault(name string) {
	s.t.Helper()
	if _, err := s.CreateVault(ctx, &awsglacier.CreateVaultInput{VaultName: &name}); err != nil {
		s.t.Fatal(err)
	}
}

// data returns n bytes that look random and are the same for the same n.
func data(n int) []byte {
	b := make([]byte, n)
	r := rand.New(rand.NewPCG(uint64(n), 7))
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	return b
}

// upload uploads an archive and returns its id.
func (s *stand) upload(body []byte) string {
	s.t.Helper()
	out, err := s.UploadArchive(ctx, &awsglacier.UploadArchiveInput{VaultName: aws.String("v"), Body: bytes.NewReader(body), ArchiveDescription: aws.String("results of " + s.t.Name())})
	if err != nil {
		s.t.Fatal(err)
	}
	return *out.ArchiveId
}

// retrieval is the parameters of a retrieval job of an archive.
func retrieval(archive string, tier glacier.Tier) *types.JobParameters {
	return &types.JobParameters{
		Type: aws.String("archive-retrieval"), ArchiveId: &archive, Tier: aws.String(string(tier)),
		SNSTopic: aws.String(topic), Description: aws.String("job-1"),
	}
}

func (s *stand) initiate(p *types.JobParameters) (string, error) {
	out, err := s.InitiateJob(ctx, &awsglacier.InitiateJobInput{VaultName: aws.String("v"), JobParameters: p})
	if err != nil {
		return "", err
	}
	return *out.JobId, nil
}

func (s *stand) mustInitiate(p *types.JobParameters) string {
	s.t.Helper()
	id, err := s.initiate(p)
	if err != nil {
		s.t.Fatal(err)
	}
	return id
}

// finish lets time pass until the next job has told that it is done.
func (s *stand) finish() {
	s.t.Helper()
	s.world.Clock.Advance(12 * time.Hour)
	<-s.topics.told
}

// output downloads a job's output; rng is a Range header's value or empty.
func (s *stand) output(job, rng string) ([]byte, *awsglacier.GetJobOutputOutput, error) {
	in := &awsglacier.GetJobOutputInput{VaultName: aws.String("v"), JobId: &job}
	if rng != "" {
		in.Range = &rng
	}
	out, err := s.GetJobOutput(ctx, in)
	if err != nil {
		return nil, nil, err
	}
	defer out.Body.Close()
	body, err := io.ReadAll(out.Body)
	return body, out, err
}

func (s *stand) describe(job string) (*awsglacier.DescribeJobOutput, error) {
	return s.DescribeJob(ctx, &awsglacier.DescribeJobInput{VaultName: aws.String("v"), JobId: &job})
}

// code returns an error's code and HTTP status.
func code(err error) (string, int) {
	var api smithy.APIError
	var resp *smithyhttp.ResponseError
	if !errors.As(err, &api) {
		return "", 0
	}
	errors.As(err, &resp)
	return api.ErrorCode(), resp.HTTPStatusCode()
}

func wantCode(t testing.TB, err error, want string, status int) {
	t.Helper()
	if got, n := code(err); got != want || n != status {
		t.Errorf("got %s (%d), error %v, want %s (%d)", got, n, err, want, status)
	}
}

func decodeJSON(t testing.TB, raw string) map[string]any {
	t.Helper()
	out := map[string]any{}
	if err := json.Unmarshal([]byte(raw), &out); err != nil {
		t.Fatal(err)
	}
	return out
}

func TestAnArchiveComesBackAsItWasUploaded(t *testing.T) {
	for _, size := range []int{1, mib - 1, mib, mib + 1, 3*mib + 5, 8 * mib} {
		s := start(t, glacier.Config{})
		id := s.upload(data(size))
		if len(id) != 138 {
			t.Errorf("archive id has %d characters, want 138", len(id))
		}
		job := s.mustInitiate(retrieval(id, glacier.Standard))
		if len(job) != 92 {
			t.Errorf("job id has %d characters, want 92", len(job))
		}
		if _, _, err := s.output(job, ""); err == nil {
			t.Error("output of a job in progress: got it, want a refusal")
		} else {
			wantCode(t, err, "InvalidParameterValueException", 400)
		}
		s.finish()
		got, out, err := s.output(job, "")
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got, data(size)) {
			t.Errorf("size %d: got other bytes", size)
		}
		if *out.Checksum != s.service.Archives("v")[0].TreeHash || *out.ContentType != "application/octet-stream" || out.Status != 200 ||
			*out.ArchiveDescription != "results of "+t.Name() {
			t.Errorf("size %d: got checksum %s, content type %s, status %d, description %s", size, *out.Checksum, *out.ContentType, out.Status, *out.ArchiveDescription)
		}
	}
}
