// Package localaws is the AWS stand-in: Glacier, S3, DynamoDB, SNS and SQS as
// their wire protocols show them, for local runs and tests. The services of
// the pipeline do not know it: the AWS SDK's endpoints point at it.
//
// It is strict: what AWS refuses, it refuses, with AWS's error code and status.
// It has one clock that can be moved, latency, fault rules and call counters,
// and keeps its state in a directory. Glacier is the part that nobody else
// offers, and the reason why this package exists.
package localaws

import (
	"cmp"
	"fmt"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"

	"github.com/gas-restore/gas/internal/local/aws/dynamodb"
	"github.com/gas-restore/gas/internal/local/aws/glacier"
	"github.com/gas-restore/gas/internal/local/aws/s3"
	"github.com/gas-restore/gas/internal/local/aws/sns"
	"github.com/gas-restore/gas/internal/local/aws/sqs"
	"github.com/gas-restore/gas/internal/local/aws/sts"
	"github.com/gas-restore/gas/internal/local/aws/world"
)

// Config says what the stand-in is like. The zero value is a stand-in in
// memory.
type Config struct {
	// Dir keeps the state; empty keeps it in memory (and archives in temporary
	// files) until Close.
	Dir string
	// Region and Account are those of the ARNs; us-east-1 and 000000000000.
	Region  string
	Account string
	// AccessKey and SecretKey are the credential that may do everything.
	AccessKey string
	SecretKey string
	// Endpoint is where the stand-in is reached, for queue URLs.
	Endpoint string
	// Seed makes tier delays and fault probabilities repeatable.
	Seed uint64
	// HTTPRetryDelay is the time between SNS's tries of a webhook; AWS waits
	// 20 seconds.
	HTTPRetryDelay time.Duration
	// HTTPClient delivers SNS messages to webhooks.
	HTTPClient *http.Client
	// AllowEmptyArchives lets the vault take archives of 0 bytes, which AWS
	// refuses.
	AllowEmptyArchives bool
}

// The credential that a stand-in accepts unless it is told another.
const (
	DefaultAccessKey = "AKIALOCALSTANDIN0000"
	DefaultSecretKey = "local-stand-in-secret"
	DefaultRegion    = "us-east-1"
	DefaultAccount   = "000000000000"
)

// Server is the stand-in. It is an [http.Handler] for all its services.
type Server struct {
	World    *world.World
	Faults   *Faults
	Glacier  *glacier.Service
	S3       *s3.Service
	DynamoDB *dynamodb.Service
	SNS      *sns.Service
	SQS      *sqs.Service

	cfg      Config
	services map[string]world.Service
	signer   *v4.Signer
	latency  atomic.Int64 // a time.Duration

	mu     sync.Mutex // guards counts and roles
	counts map[string]int64
	roles  map[string]*key // by their access key
}

// New returns a stand-in with the state that its directory holds. Close it.
func New(cfg Config) (*Server, error) {
	cfg.Region = cmp.Or(cfg.Region, DefaultRegion)
	cfg.Account = cmp.Or(cfg.Account, DefaultAccount)
	cfg.AccessKey = cmp.Or(cfg.AccessKey, DefaultAccessKey)
	cfg.SecretKey = cmp.Or(cfg.SecretKey, DefaultSecretKey)
	cfg.Endpoint = cmp.Or(cfg.Endpoint, "http://127.0.0.1:4566")
	w, err := world.New(cfg.Dir, cfg.Region, cfg.Account)
	if err != nil {
		return nil, fmt.Errorf("start stand-in: %w", err)
	}
	s := &Server{
		World:  w,
		Faults: newFaults(cfg.Seed),
		cfg:    cfg,
		signer: v4.NewSigner(),
		counts: map[string]int64{},
		roles:  map[string]*key{},
	}
	if err := s.assemble(); err != nil {
		w.Close()
		return nil, fmt.Errorf("start stand-in: %w", err)
	}
	return s, nil
}

func (s *Server) assemble() (err error) {
	if s.SQS, err = sqs.New(s.World, s.cfg.Endpoint); err != nil {
		return err
	}
	if s.SNS, err = sns.New(s.World, sns.Config{
		Queues:         s.SQS,
		HTTPRetryDelay: s.cfg.HTTPRetryDelay,
		HTTPClient:     s.cfg.HTTPClient,
	}); err != nil {
		return err
	}
	if s.Glacier, err = glacier.New(s.World, glacier.Config{Topics: s.SNS, Seed: s.cfg.Seed, AllowEmptyArchives: s.cfg.AllowEmptyArchives}); err != nil {
		return err
	}
	if s.S3, err = s3.New(s.World, s3.Config{Topics: s.SNS, Queues: s.SQS, Seed: s.cfg.Seed}); err != nil {
		return err
	}
	if s.DynamoDB, err = dynamodb.New(s.World); err != nil {
		return err
	}
	s.services = map[string]world.Service{}
	for _, svc := range []world.Service{s.SQS, s.SNS, s.Glacier, s.S3, s.DynamoDB, sts.New(s.World)} {
		s.services[svc.Name()] = svc
	}
	return nil
}

// Credentials returns the key pair that may do everything.
func (s *Server) Credentials() (accessKey, secretKey string) {
	return s.cfg.AccessKey, s.cfg.SecretKey
}

// Region returns the region of the stand-in.
func (s *Server) Region() string { return s.cfg.Region }

// SetEndpoint says where the stand-in is reached, once a listener is known.
func (s *Server) SetEndpoint(url string) {
	s.cfg.Endpoint = url
	s.SQS.SetEndpoint(url)
}

// Endpoint returns where the stand-in is reached.
func (s *Server) Endpoint() string { return s.cfg.Endpoint }

// Close stops what runs in the background and closes the state.
func (s *Server) Close() error { return s.World.Close() }
