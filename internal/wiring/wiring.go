// Package wiring puts each service together with its adapters and the bus. A service's
// command runs one service, and `gas up` runs all of them in one process. There is no other
// difference between the two.
package wiring

import (
	"cmp"
	"context"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"slices"
	"syscall"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/nats-io/nats.go"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/gas-restore/gas/internal/aws/awsclient"
	"github.com/gas-restore/gas/internal/aws/dynamodb"
	"github.com/gas-restore/gas/internal/aws/s3"
	"github.com/gas-restore/gas/internal/aws/sns"
	"github.com/gas-restore/gas/internal/aws/sqs"
	"github.com/gas-restore/gas/internal/bridge"
	"github.com/gas-restore/gas/internal/bus"
	"github.com/gas-restore/gas/internal/config"
	"github.com/gas-restore/gas/internal/daemon"
	"github.com/gas-restore/gas/internal/restore"
	"github.com/gas-restore/gas/internal/snsverify"
	"github.com/gas-restore/gas/pkg/events"
)

// Env has the surroundings of a service.
type Env struct {
	Config config.Config
	Log    *slog.Logger
	// AWS overrides the environment's settings of AWS.
	AWS awsclient.Options
	// NATS, if set, is a server in this process. The service connects to it without a
	// socket.
	NATS nats.InProcessConnProvider
	// Webhook and Web, if set, are used in place of the addresses in Config. The service
	// closes them.
	Webhook, Web net.Listener
	// Provider, if set, is the client with which the site talks to the sign-in provider.
	Provider *http.Client
	// Certificates, if set, is the client with which the webhook gets SNS's certificates.
	Certificates *http.Client
	// Now, if set, is the clock of the machine that the service runs on.
	Now func() time.Time
}

// clock returns the service's clock.
func (e Env) clock() func() time.Time {
	if e.Now == nil {
		return time.Now
	}
	return e.Now
}

// listen returns the given listener, or a new one on addr if it is nil.
func listen(given net.Listener, setting, addr, what string) (net.Listener, error) {
	if given != nil {
		return given, nil
	}
	ln, err := net.Listen("tcp", addr)
	if err != nil {
		if errors.Is(err, syscall.EADDRINUSE) {
			return nil, fmt.Errorf("%s: listen for %s on %s: %w", setting, what, addr, err)
		}
		return nil, config.Fault{Variable: setting, Problem: fmt.Sprintf("listen for %s on %s: %v", what, addr, err)}
	}
	return ln, nil
}

// base is a service's connections, and the metrics that all services have.
type base struct {
	bus     *bus.Bus
	aws     aws.Config
	calls   *awsCalls
	metrics []prometheus.Collector
}

func (e Env) connect(ctx context.Context, service config.Service, password config.Secret) (base, error) {
	calls := newAWSCalls(service, e.clock())
	e.AWS.Observe = calls.observe
	if e.Config.NATSCAFile != "" {
		if _, err := os.ReadFile(e.Config.NATSCAFile); err != nil {
			return base{}, config.Fault{Variable: "GAS_NATS_CA_FILE", Problem: err.Error()}
		}
	}
	cfg, err := awsclient.Load(ctx, e.AWS)
	if errors.Is(err, awsclient.ErrNoRegion) {
		return base{}, config.Fault{Variable: "AWS_REGION", Problem: "is not set"}
	}
	if err != nil {
		return base{}, err
	}
	b, err := e.connectNATS(ctx, string(service), password)
	if err != nil {
		return base{}, err
	}
	return base{bus: b, aws: cfg, calls: calls, metrics: append(calls.all(), busMetrics(string(service), b)...)}, nil
}

func (e Env) connectNATS(ctx context.Context, user string, password config.Secret) (*bus.Bus, error) {
	return bus.Connect(ctx, bus.Config{
		URL:          e.Config.NATSURL,
		User:         user,
		PasswordFrom: password.Read,
		CAFile:       e.Config.NATSCAFile,
		Name:         "gas-" + user,
		InProcess:    e.NATS,
		Logger:       e.Log,
	})
}

// Bridge returns the bridge.
func Bridge(ctx context.Context, e Env) (daemon.Part, error) {
	base, err := e.connect(ctx, config.Bridge, e.Config.BridgePassword)
	if err != nil {
		return daemon.Part{}, err
	}
	part, err := e.bridge(ctx, base.bus, base.aws)
	if err != nil {
		base.bus.Close()
	}
	part.Metrics = append(part.Metrics, base.metrics...)
	return part, err
}

func (e Env) bridge(ctx context.Context, b *bus.Bus, cfg aws.Config) (daemon.Part, error) {
	if err := bus.CheckStreams(ctx, b.JS, events.StreamPremium, events.StreamRestore, events.StreamDead); err != nil {
		return daemon.Part{}, err
	}
	// Both queues share one probe: they wait for the same answer.
	publish := publisher{b, bus.NewProbe(b, events.SubjectPremium, events.SubjectRestore, "dead.SQS.*")}
	ages := prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name: "gas_bridge_message_age_seconds", Help: "Time from the sending of an SQS message until it is stored in JetStream.",
		Buckets: []float64{0.1, 1, 10, 60, 300, 900, hour, 4 * hour, 24 * hour},
	}, []string{"source"})
	drain := func(source bridge.Source, queueURL string) *bridge.Drain {
		age := ages.WithLabelValues(source.Name)
		return &bridge.Drain{
			Source:  source,
			Queue:   sqs.New(cfg, queueURL),
			Publish: publish,
			Now:     e.clock(),
			Log:     e.Log.With("source", source.Name),

			OnStored: func(d time.Duration) { age.Observe(max(d.Seconds(), 0)) },
		}
	}
	premium := drain(bridge.PremiumSource(e.Config.PremiumTopic), e.Config.PremiumQueue)
	restored := drain(bridge.RestoreSource(e.Config.RestoreTopic), e.Config.RestoreQueue)
	part := daemon.Part{
		Name:    string(config.Bridge),
		Ready:   []daemon.Check{b.Outlook("bridge").Err, premium.Ready, restored.Ready},
		Metrics: append(append(tally(premium), tally(restored)...), ages),
		Close:   b.Close,
	}
	runs := []func(context.Context, <-chan struct{}) error{
		b.Watch,
		func(ctx context.Context, drain <-chan struct{}) error { premium.Run(ctx, drain); return nil },
		func(ctx context.Context, drain <-chan struct{}) error { restored.Run(ctx, drain); return nil },
	}
	if e.Config.WebhookListen != "" || e.Webhook != nil {
		roots, err := rootsFrom(e.Config.SNSCAFile)
		if err != nil {
			return daemon.Part{}, err
		}
		between, err := chainFrom(e.Config.SNSChainFile)
		if err != nil {
			return daemon.Part{}, err
		}
		ln, err := listen(e.Webhook, "GAS_WEBHOOK_LISTEN", e.Config.WebhookListen, "the webhook")
		if err != nil {
			return daemon.Part{}, err
		}
		e.Log.Info("webhook", "url", "http://"+ln.Addr().String()+"/sns/premium and …/sns/restore")
		verifier := snsverify.New(snsverify.Config{
			Topics:        []string{e.Config.PremiumTopic, e.Config.RestoreTopic},
			Roots:         roots,
			Intermediates: between,
			CertEndpoint:  e.Config.SNSCertEndpoint,
			Client:        cmp.Or(e.Certificates, &http.Client{}),
		})
		part.Notes = append(part.Notes, func(context.Context) error {
			if err := verifier.Chain(); err != nil {
				return fmt.Errorf("the webhook refuses all messages, and only the queues bring them: %w; let the bridge reach that address, or set GAS_SNS_CHAIN_FILE", err)
			}
			return nil
		})
		webhook := &bridge.Webhook{
			Verify:  verifier,
			Confirm: sns.New(cfg, e.Config.PremiumTopic),
			Drains:  []*bridge.Drain{premium, restored},
			Log:     e.Log,
		}
		part.Metrics = append(part.Metrics, webhookMetrics(webhook)...)
		runs = append(runs, daemon.HTTP("webhook", ln, webhook).Run)
	}
	part.Run = together(runs...)
	return part, nil
}

func rootsFrom(file string) (*x509.CertPool, error) {
	if file == "" {
		return nil, nil
	}
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, config.Fault{Variable: "GAS_SNS_CA_FILE", Problem: err.Error()}
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(text) {
		return nil, config.Fault{Variable: "GAS_SNS_CA_FILE", Problem: "no certificate in " + file}
	}
	return pool, nil
}

// chainFrom returns the certificates in a PEM file, none if file is empty. A file without a
// certificate is an error.
func chainFrom(file string) ([]*x509.Certificate, error) {
	if file == "" {
		return nil, nil
	}
	rest, err := os.ReadFile(file)
	if err != nil {
		return nil, config.Fault{Variable: "GAS_SNS_CHAIN_FILE", Problem: err.Error()}
	}
	var chain []*x509.Certificate
	for {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			break
		}
		cert, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, config.Fault{Variable: "GAS_SNS_CHAIN_FILE", Problem: fmt.Sprintf("certificate %d in %s: %v", len(chain)+1, file, err)}
		}
		chain = append(chain, cert)
	}
	if len(chain) == 0 {
		return nil, config.Fault{Variable: "GAS_SNS_CHAIN_FILE", Problem: "no certificate in " + file}
	}
	return chain, nil
}

// Restore returns the restorer.
func Restore(ctx context.Context, e Env) (daemon.Part, error) {
	base, err := e.connect(ctx, config.Restore, e.Config.RestorePassword)
	if err != nil {
		return daemon.Part{}, err
	}
	b, cfg := base.bus, base.aws
	m, rm := newWorkMetrics(bus.ConsumerRestore), newRestoreMetrics(e.clock())
	left := prometheus.NewHistogram(prometheus.HistogramOpts{
		Name: "gas_output_left_seconds", Help: "How much of a retrieval's output's 24 hours is left when its copy begins.",
		Buckets: []float64{0, 3600, 2 * 3600, 4 * 3600, 6 * 3600, 12 * 3600, 18 * 3600, 23 * 3600},
	})
	kept := prometheus.NewCounter(prometheus.CounterOpts{Name: "gas_archives_kept_total", Help: "Restored archives that the vault did not let the service delete."})
	foreign := prometheus.NewCounter(prometheus.CounterOpts{Name: "gas_foreign_retrievals_total", Help: "Notifications of retrievals that are not ours: no job of the catalog, and another topic than ours."})
	if err := b.CheckKV(ctx, bus.BucketCopies); err != nil {
		// The restorer works without the bucket, but then an interrupted copy of a large file
		// begins anew.
		e.Log.Warn("interrupted copies will not be resumed", "err", err)
	}
	bucket := s3.New(cfg)
	restorer := &restore.Restorer{
		Catalog:    dynamodb.New(cfg, Tables(e.Config)),
		Vault:      Store(e.Config, cfg),
		Bucket:     bucket,
		Uploads:    bucket,
		KV:         b.KV(bus.BucketCopies),
		PartSize:   e.Config.PartSize,
		Now:        e.clock(),
		Log:        e.Log,
		OnRestored: rm.restored,
		OnKept:     kept.Inc,
		OnForeign:  foreign.Inc,
		OnOutput:   func(d time.Duration) { left.Observe(d.Seconds()) },
	}
	worker := &bus.Worker[events.RetrievalCompleted]{
		Bus: b, Stream: events.StreamRestore, Consumer: bus.ConsumerRestore, Slots: e.Config.RestoreSlots,
		Handle: restorer.Restore, Observe: m.observe(bus.ConsumerRestore), OnFill: m.filled, Logger: e.Log,
	}
	return daemon.Part{
		Name:    string(config.Restore),
		Run:     together(b.Watch, worker.Run),
		Ready:   []daemon.Check{b.Outlook("restore").Err, base.calls.Err},
		Metrics: slices.Concat(base.metrics, m.all(), rm.all(), []prometheus.Collector{kept, left, foreign}),
		Close:   b.Close,
	}, nil
}

// publisher puts the bus behind the bridge's port.
type publisher struct {
	bus  *bus.Bus
	look *bus.Probe
}

func (p publisher) Look(ctx context.Context) error { return p.look.Err(ctx) }

func (p publisher) Publish(ctx context.Context, es []events.Event) ([]bool, []error) {
	acks, errs := p.bus.PublishAll(ctx, es)
	duplicates := make([]bool, len(acks))
	for i, a := range acks {
		duplicates[i] = a.Duplicate
	}
	return duplicates, errs
}

// together runs functions until all have returned. If one fails, it stops the others.
func together(runs ...func(context.Context, <-chan struct{}) error) func(context.Context, <-chan struct{}) error {
	return func(ctx context.Context, drain <-chan struct{}) error {
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		errs := make(chan error, len(runs))
		for _, run := range runs {
			go func() { errs <- run(ctx, drain) }()
		}
		var all []error
		for range runs {
			if err := <-errs; err != nil {
				all = append(all, err)
				cancel()
			}
		}
		return errors.Join(all...)
	}
}

// Tables returns the names of the catalog's tables.
func Tables(cfg config.Config) dynamodb.Tables {
	return dynamodb.Tables{
		Jobs: cfg.JobTable, Accounts: cfg.AccountTable, Plans: cfg.PlanTable,
		JobNames: cfg.JobAttributes, AccountNames: cfg.AccountAttributes,
	}
}
