// Package awsclient makes the SDK's configuration that all adapters share.
package awsclient

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/credentials"
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
}

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
	if o.Endpoint != "" {
		cfg.BaseEndpoint = aws.String(o.Endpoint)
	}
	if cfg.Region == "" {
		return aws.Config{}, fmt.Errorf("configure the aws sdk: no region: set AWS_REGION")
	}
	return cfg, nil
}
