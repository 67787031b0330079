// Package awsclient makes the SDK's configuration that all adapters share.
package awsclient

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/credentials"

	"github.com/gas-restore/gas/internal/aws/awsfault"
)

// Options override what the environment says; tests and `gas up` use them. The
// zero value takes everything from where the SDK takes it: AWS_REGION,
// AWS_ENDPOINT_URL, AWS_ACCESS_KEY_ID, a profile, the instance's role.
type Options struct {
	Region    string
	Endpoint  string
	AccessKey string
	SecretKey string
	Transport http.RoundTripper
	// Observe, if set, is called with the outcome of each call.
	Observe func(Call)
}

// ErrNoRegion says that neither the options nor the environment name a region.
var ErrNoRegion = errors.New("no region: set AWS_REGION")

// Load returns the SDK's configuration. Attempts are few and short: the bus
// tries a message again with a longer breath than the SDK has.
func Load(ctx context.Context, o Options) (aws.Config, error) {
	opts := []func(*config.LoadOptions) error{
		// The SDK keeps 10 idle connections to a host and makes the others anew for
		// each call: with more calls than that in flight, most of the time goes there.
		config.WithHTTPClient(awshttp.NewBuildableClient().WithTransportOptions(func(t *http.Transport) {
			t.MaxIdleConns, t.MaxIdleConnsPerHost = 512, 128
		})),
		config.WithRetryer(func() aws.Retryer {
			return retry.NewStandard(func(r *retry.StandardOptions) {
				r.MaxAttempts = 3
				r.MaxBackoff = 2 * time.Second
			})
		}),
	}
	if o.Region != "" {
		opts = append(opts, config.WithRegion(o.Region))
	}
	if o.AccessKey != "" {
		opts = append(opts, config.WithCredentialsProvider(credentials.NewStaticCredentialsProvider(o.AccessKey, o.SecretKey, "")))
	}
	cfg, err := config.LoadDefaultConfig(ctx, opts...)
	if err != nil {
		return aws.Config{}, fmt.Errorf("configure the aws sdk: %w", err)
	}
	if o.Transport != nil {
		// Set afterwards: while it loads, the SDK refuses a client to which it cannot
		// add AWS_CA_BUNDLE.
		cfg.HTTPClient = &http.Client{Transport: o.Transport}
	}
	cfg.HTTPClient = plainBodies{cfg.HTTPClient}
	if cfg.Credentials != nil {
		cfg.Credentials = named{cfg.Credentials}
	}
	if o.Observe != nil {
		cfg.APIOptions = append(cfg.APIOptions, observed(o.Observe))
	}
	if o.Endpoint != "" {
		cfg.BaseEndpoint = aws.String(o.Endpoint)
	}
	if cfg.Region == "" {
		return aws.Config{}, fmt.Errorf("configure the aws sdk: %w", ErrNoRegion)
	}
	return cfg, nil
}

// named gives an error of getting credentials its kind before it looks like an answer of
// the service that they were for.
type named struct{ aws.CredentialsProvider }

// Retrieve implements [aws.CredentialsProvider].
func (n named) Retrieve(ctx context.Context) (aws.Credentials, error) {
	c, err := n.CredentialsProvider.Retrieve(ctx)
	return c, awsfault.Credentials(err)
}

// plainBodies keeps net/http from seeing that the body of a request can write itself.
//
// The SDK closes the body as soon as there is an answer, and from then on what it
// wraps bodies in (smithy-go, transport/http/internal/io/safe.go) says that writing
// itself ends with io.EOF, which is not an error when reading but is one there. Where
// an answer comes before net/http has looked for the end of the body, which it does
// after everything is sent, that fails the request and closes the connection under
// the answer: a few calls in a hundred to a server nearby are tried again, after up
// to a second.
type plainBodies struct{ client aws.HTTPClient }

// Do implements [aws.HTTPClient].
func (p plainBodies) Do(r *http.Request) (*http.Response, error) {
	if r.Body != nil && r.Body != http.NoBody {
		r = r.WithContext(r.Context())
		r.Body = struct{ io.ReadCloser }{r.Body}
	}
	return p.client.Do(r)
}
