package awsclient_test

import (
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"

	"github.com/gas-restore/gas/internal/aws/awsclient"
)

// hasty answers before it has looked for the end of the body, as net/http may.
type hasty struct{ body io.Reader }

func (h *hasty) RoundTrip(r *http.Request) (*http.Response, error) {
	if _, err := io.CopyN(io.Discard, r.Body, r.ContentLength); err != nil {
		return nil, err
	}
	h.body = r.Body
	return &http.Response{StatusCode: 200, Header: http.Header{}, Body: io.NopCloser(strings.NewReader("{}")), Request: r}, nil
}

// TestABodyHasItsEndAfterTheAnswer looks for it as net/http does, which takes
// whatever io.Copy returns for an error of the body.
func TestABodyHasItsEndAfterTheAnswer(t *testing.T) {
	h := &hasty{}
	cfg, err := awsclient.Load(t.Context(), awsclient.Options{Region: "us-east-1", AccessKey: "key", SecretKey: "secret", Transport: h})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := dynamodb.NewFromConfig(cfg).ListTables(t.Context(), &dynamodb.ListTablesInput{Limit: aws.Int32(1)}); err != nil {
		t.Fatal(err)
	}
	if n, err := io.Copy(io.Discard, h.body); n != 0 || err != nil {
		t.Errorf("behind the end of the body are %d bytes and the error %v, want nothing", n, err)
	}
}
