package dynamodb

import (
	"bytes"
	"hash/crc32"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
)

// answers is a DynamoDB that has one answer.
type answers string

func (a answers) RoundTrip(r *http.Request) (*http.Response, error) {
	return &http.Response{
		StatusCode: 200, Request: r, ContentLength: int64(len(a)), Body: io.NopCloser(bytes.NewReader([]byte(a))),
		Header: http.Header{"X-Amz-Crc32": {strconv.FormatUint(uint64(crc32.ChecksumIEEE([]byte(a))), 10)}},
	}, nil
}

// halves is a DynamoDB that throttles every request for two items.
type halves struct{ calls []string }

func (h *halves) RoundTrip(r *http.Request) (*http.Response, error) {
	_, call, _ := strings.Cut(r.Header.Get("X-Amz-Target"), ".")
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err
	}
	h.calls = append(h.calls, call)
	switch {
	case call == "BatchGetItem":
		return answers(`{"Responses":{"accounts":[{"user_id":{"S":"ada"},"role":{"S":"free_user"}}]},"UnprocessedKeys":{"jobs":{"Keys":[{"job_id":{"S":"j1"}}]}}}`).RoundTrip(r)
	case bytes.Contains(body, []byte(`"jobs"`)) && bytes.Contains(body, []byte(`"j1"`)):
		return answers(`{"Item":{"job_id":{"S":"j1"},"user_id":{"S":"ada"},"job_status":{"S":"COMPLETED"}}}`).RoundTrip(r)
	case bytes.Contains(body, []byte(`"jobs"`)):
		return answers(`{}`).RoundTrip(r)
	}
	return answers(`{"Item":{"user_id":{"S":"ada"},"role":{"S":"free_user"}}}`).RoundTrip(r)
}

func TestWhatABatchLeavesOutIsAskedForByItself(t *testing.T) {
	h := &halves{}
	c := New(aws.Config{
		Region: "us-east-1", HTTPClient: &http.Client{Transport: h},
		Credentials: credentials.NewStaticCredentialsProvider("key", "secret", ""),
	}, Tables{Jobs: "jobs", Accounts: "accounts", Plans: "plans"})
	account, job, err := c.AccountAndJob(t.Context(), "ada", "j1")
	if err != nil || account.Role != "free_user" || job.Status != "COMPLETED" {
		t.Errorf("got %+v, %+v, %v", account, job, err)
	}
	if want := []string{"BatchGetItem", "GetItem", "GetItem"}; !slices.Equal(h.calls, want) {
		t.Errorf("it called %v, want %v", h.calls, want)
	}
	if account, job, err = c.AccountAndJob(t.Context(), "ada", "j2"); err != nil || account.ID != "ada" || job.ID != "" {
		t.Errorf("without a job: %+v, %+v, %v", account, job, err)
	}
}
