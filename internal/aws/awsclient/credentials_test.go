package awsclient_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/gas-restore/gas/internal/aws/awsclient"
	"github.com/gas-restore/gas/internal/aws/awsfault"
	"github.com/gas-restore/gas/internal/fault"
)

// TestCredentialsThatCannotBeHadAreNotTakenForTheServicesAnswer: a machine that lost its
// role reads a 404, which is not that of an object, a job or an archive.
func TestCredentialsThatCannotBeHadAreNotTakenForTheServicesAnswer(t *testing.T) {
	for status, want := range map[int]fault.Kind{
		400: fault.Denied, 403: fault.Denied, 404: fault.Denied, 412: fault.Denied,
		500: fault.Transient,
	} {
		for _, from := range []string{"AWS_EC2_METADATA_SERVICE_ENDPOINT", "AWS_CONTAINER_CREDENTIALS_FULL_URI"} {
			t.Run(fmt.Sprint(from, status), func(t *testing.T) {
				srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(status) }))
				defer srv.Close()
				for _, name := range []string{"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE", "AWS_CONTAINER_CREDENTIALS_FULL_URI", "AWS_EC2_METADATA_DISABLED"} {
					t.Setenv(name, "")
				}
				t.Setenv("HOME", t.TempDir())
				t.Setenv(from, srv.URL)
				cfg, err := awsclient.Load(t.Context(), awsclient.Options{Region: "us-east-1"})
				if err != nil {
					t.Fatal(err)
				}
				cfg.Retryer = func() aws.Retryer { return aws.NopRetryer{} }
				_, err = s3.NewFromConfig(cfg).HeadObject(t.Context(), &s3.HeadObjectInput{Bucket: aws.String("b"), Key: aws.String("k")})
				if got := fault.KindOf(awsfault.Wrap(err, "look")); err == nil || got != want {
					t.Errorf("got %v of kind %s, want %s", err, got, want)
				}
			})
		}
	}
}
