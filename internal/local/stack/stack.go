// Package stack runs the whole service on one machine: NATS from nats.conf, the
// AWS stand-in, a sign-in provider, the four services, and a few users with
// files in the vault.
package stack

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/nats-io/nats-server/v2/server"

	"github.com/gas-restore/gas/internal/archive"
	"github.com/gas-restore/gas/internal/aws/awsclient"
	"github.com/gas-restore/gas/internal/bus"
	"github.com/gas-restore/gas/internal/config"
	"github.com/gas-restore/gas/internal/daemon"
	"github.com/gas-restore/gas/internal/estate"
	localaws "github.com/gas-restore/gas/internal/local/aws"
	awss3 "github.com/gas-restore/gas/internal/local/aws/s3"
	"github.com/gas-restore/gas/internal/local/folder"
	localidp "github.com/gas-restore/gas/internal/local/idp"
	localnats "github.com/gas-restore/gas/internal/local/nats"
	"github.com/gas-restore/gas/internal/wiring"
)

// The parts, for Options.Only. The services need all other parts in the same process. The
// other parts can also run alone.
const (
	AWS      = "aws"
	NATS     = "nats"
	IDP      = "idp"
	Services = "services"
)

// Options say what to start and where.
type Options struct {
	// Dir has the state of the stand-in and of NATS.
	Dir string
	// Only names the parts to start; empty means all.
	Only []string
	// Addresses to listen on, host:port; port 0 takes a free one.
	AWSAddr, NATSAddr, IDPAddr, WebAddr, WebhookAddr string
	// Store says where the archives of the people are; empty means in the vault.
	Store Store
	// ExpeditedDelay is the time of an Expedited retrieval at the stand-in. Standard takes
	// 3 times as long, Bulk 5 times, and DEEP_ARCHIVE twice. Zero means that all take as long as at AWS.
	ExpeditedDelay time.Duration
	// Workers is the number of thaws, and the number of restores.
	Workers int
	// IAM gives each service a role of its own, which may do what the service must, and no
	// more. Otherwise, all of them may do everything.
	IAM bool
	Log *slog.Logger
}

func (o Options) has(part string) bool { return len(o.Only) == 0 || slices.Contains(o.Only, part) }

// Store is where archives are.
type Store string

// The stores.
const (
	InVault   Store = "vault"
	InObjects Store = "s3"
	InBoth    Store = "both"
)

func (s Store) vault() bool   { return s != InObjects }
func (s Store) objects() bool { return s == InObjects || s == InBoth }

// Class returns the class in which the archive of file number i is. Every second one is in
// the vault if both stores are used. Two in three of the others are in GLACIER.
func (s Store) Class(i int) archive.Class {
	classes := []archive.Class{archive.Glacier, archive.DeepArchive, archive.Glacier, archive.Instant}
	switch {
	case !s.objects() || s == InBoth && i%2 == 0:
		return archive.Vault
	case s == InBoth:
		i /= 2
	}
	return classes[i%len(classes)]
}

// Check returns an error if the options name a part or a store that does not exist.
func (o Options) Check() error {
	switch o.Store {
	case "", InVault, InObjects, InBoth:
	default:
		return fmt.Errorf("--store: %q is none of vault, s3, both", o.Store)
	}
	for _, part := range o.Only {
		if !slices.Contains([]string{AWS, NATS, IDP, Services}, part) {
			return fmt.Errorf("--only: %q is none of aws, nats, idp, services", part)
		}
	}
	if o.has(Services) && !(o.has(AWS) && o.has(NATS) && o.has(IDP)) {
		return errors.New("--only: the services of one process need aws, nats and idp in it too; run cmd/bridge, cmd/thaw, cmd/restore and cmd/web beside it instead")
	}
	return nil
}

// Stack is the running service. Close it after its parts have stopped.
type Stack struct {
	Config config.Config
	AWS    *localaws.Server
	NATS   *server.Server
	// IDP is the sign-in provider.
	IDP *localidp.Provider
	// AWSConfig makes the AWS SDK talk to the stand-in over HTTP.
	AWSConfig aws.Config
	// Bus is connected as the operator; nil without NATS.
	Bus *bus.Bus
	// Parts are the services. Start builds them; [daemon.Run] runs them.
	Parts []daemon.Part
	// CAFile is the stand-in's certificate authority for SNS signatures.
	CAFile string
	// Roles are the keys of the roles at the stand-in, by their names in [estate]; none without
	// Options.IAM.
	Roles map[string]Key

	opts    Options
	closers []func()
}

// localArchiveBucket is the bucket of archives if the environment names none.
const localArchiveBucket = "gas-cold"

const (
	clientID     = "gas-web"
	clientSecret = "local-client-secret"
)

// Start starts the parts that the options name. It makes the queues, tables and streams, and
// puts the people's files in the vault. It keeps everything from an earlier run.
func Start(ctx context.Context, o Options, people []Person) (_ *Stack, err error) {
	if err := o.Check(); err != nil {
		return nil, err
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	o.Workers = max(o.Workers, 1)
	s := &Stack{opts: o}
	defer func() {
		if err != nil {
			s.Close()
		}
	}()
	if s.Config, err = config.Load(); err != nil {
		return nil, err
	}
	if o.Store.objects() && s.Config.ArchiveBucket == "" {
		s.Config.ArchiveBucket = localArchiveBucket
	}
	if !o.Store.vault() {
		s.Config.Vault = ""
	}
	if err := s.lockFolder(); err != nil {
		return nil, err
	}
	if o.has(NATS) {
		if err := s.startNATS(ctx); err != nil {
			return nil, err
		}
	}
	webLn, hookLn, err := s.listenWeb()
	if err != nil {
		return nil, err
	}
	if o.has(AWS) {
		if err := s.startAWS(ctx, hookLn); err != nil {
			return nil, err
		}
	}
	if o.has(IDP) {
		if err := s.startIDP(people); err != nil {
			return nil, err
		}
	}
	if o.has(AWS) {
		if err := s.seed(ctx, people); err != nil {
			return nil, err
		}
	}
	if o.has(Services) {
		if err := s.startServices(ctx, webLn, hookLn); err != nil {
			return nil, err
		}
	}
	return s, nil
}

// Has reports whether the part runs in this process.
func (s *Stack) Has(part string) bool { return s.opts.has(part) }

// Note describes the person in a few words. Without the stand-in in this process, the stack
// does not know the person's account and files.
func (s *Stack) Note(p Person) string {
	if !s.Has(AWS) {
		return "can sign in; accounts and files are where the services look for them"
	}
	return p.note()
}

// lockFolder locks the state of the parts in the folder, until Close.
func (s *Stack) lockFolder() error {
	for _, part := range []string{NATS, AWS} { // the other parts have no state on disk
		if !s.opts.has(part) {
			continue
		}
		unlock, err := folder.Lock(s.opts.Dir, part)
		if err != nil {
			return err
		}
		s.onClose(unlock)
	}
	return nil
}

// Close stops the servers. The parts must have stopped.
func (s *Stack) Close() {
	for i := len(s.closers) - 1; i >= 0; i-- {
		s.closers[i]()
	}
	s.closers = nil
}

func (s *Stack) onClose(f func()) { s.closers = append(s.closers, f) }

func listen(addr, what, flag string) (net.Listener, error) {
	ln, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("listen for %s: %w (choose another address with %s; port 0 takes a free one)", what, err, flag)
	}
	return ln, nil
}

// listenWeb opens the listeners of the site and the webhook, because other parts must know
// their addresses first. If the services run in other processes, it only records the
// addresses.
func (s *Stack) listenWeb() (webLn, hookLn net.Listener, err error) {
	webAddr, hookAddr := s.opts.WebAddr, s.opts.WebhookAddr
	if s.opts.has(Services) {
		if webLn, err = listen(webAddr, "the web site", "--web-addr"); err != nil {
			return nil, nil, err
		}
		if hookLn, err = listen(hookAddr, "the webhook", "--webhook-addr"); err != nil {
			webLn.Close()
			return nil, nil, err
		}
		webAddr, hookAddr = webLn.Addr().String(), hookLn.Addr().String()
		s.onClose(func() { webLn.Close(); hookLn.Close() })
	}
	s.Config.WebListen, s.Config.WebBaseURL = webAddr, "http://"+webAddr
	s.Config.WebhookListen = hookAddr
	return webLn, hookLn, nil
}

func (s *Stack) startNATS(ctx context.Context) error {
	ns, err := localnats.Start(filepath.Join(s.opts.Dir, "nats"), s.opts.NATSAddr)
	if err != nil {
		return fmt.Errorf("%w (choose another address with --nats-addr; port 0 takes a free one)", err)
	}
	s.onClose(func() { localnats.Stop(ns) })
	s.NATS = ns
	s.Config.NATSURL = ns.ClientURL()
	s.Bus, err = bus.Connect(ctx, bus.Config{
		URL: s.Config.NATSURL, User: "operator", PasswordFrom: s.Config.OperatorPassword.Read,
		Name: "gas-up", InProcess: ns, Logger: s.opts.Log,
	})
	if err != nil {
		return err
	}
	s.onClose(s.Bus.Close)
	return bus.Provision(ctx, s.Bus.JS, bus.Settings{Replicas: 1})
}

func (s *Stack) startAWS(ctx context.Context, hookLn net.Listener) error {
	ln, err := listen(s.opts.AWSAddr, "the AWS stand-in", "--aws-addr")
	if err != nil {
		return err
	}
	endpoint := "http://" + ln.Addr().String()
	s.AWS, err = localaws.New(localaws.Config{
		Dir:            filepath.Join(s.opts.Dir, "aws"),
		Endpoint:       endpoint,
		HTTPRetryDelay: 2 * time.Second,
	})
	if err != nil {
		ln.Close()
		return err
	}
	srv := &http.Server{Handler: s.AWS, ReadHeaderTimeout: 10 * time.Second}
	go srv.Serve(ln)
	s.onClose(func() {
		srv.Close()
		s.AWS.Close()
	})
	if d := s.opts.ExpeditedDelay; d > 0 {
		s.AWS.Glacier.SetDelays(d)
		s.AWS.S3.SetRestoreDelays(d)
		// DEEP_ARCHIVE takes 12 hours, where a vault takes minutes. Nobody wants to wait for that
		// here.
		s.AWS.S3.SetRestoreDelay(string(archive.DeepArchive), awss3.Standard, 2*d, 3*d)
	}
	s.CAFile = filepath.Join(s.opts.Dir, "sns-ca.pem")
	if err := os.WriteFile(s.CAFile, s.AWS.SNS.CACertPEM(), 0o600); err != nil {
		return fmt.Errorf("write the stand-in's certificate authority: %w", err)
	}
	if s.CAFile, err = filepath.Abs(s.CAFile); err != nil {
		return err
	}
	s.Config.SNSCAFile, s.Config.SNSCertEndpoint = s.CAFile, endpoint
	if s.AWSConfig, err = awsclient.Load(ctx, s.awsOptions()); err != nil {
		return err
	}
	if err := s.provisionAWS(ctx); err != nil || !s.opts.IAM {
		return err
	}
	return s.makeRoles()
}

// Key is an access key with its secret.
type Key struct{ Access, Secret string }

// makeRoles makes the roles at the stand-in.
func (s *Stack) makeRoles() error {
	s.Roles = map[string]Key{}
	for _, role := range estate.Roles() {
		access, secret, err := s.AWS.SetRole(role.Name, estate.Document(role.Permits(wiring.Place(s.Config))))
		if err != nil {
			return err
		}
		s.Roles[role.Name] = Key{access, secret}
	}
	return nil
}

// optionsOf returns the options with which the service calls AWS.
func (s *Stack) optionsOf(service string) awsclient.Options {
	o := s.awsOptions()
	if key, ok := s.Roles[service]; ok {
		o.AccessKey, o.SecretKey = key.Access, key.Secret
	}
	return o
}

func (s *Stack) awsOptions() awsclient.Options {
	key, secret := s.AWS.Credentials()
	return awsclient.Options{Region: s.AWS.Region(), Endpoint: s.AWS.Endpoint(), AccessKey: key, SecretKey: secret}
}

func (s *Stack) startIDP(people []Person) error {
	ln, err := listen(s.opts.IDPAddr, "the sign-in provider", "--idp-addr")
	if err != nil {
		return err
	}
	issuer := "http://" + ln.Addr().String()
	var known []localidp.Person
	for _, p := range people {
		known = append(known, localidp.Person{Subject: p.ID, Name: p.Name, Email: p.ID + "@example.org", Note: s.Note(p)})
	}
	provider, err := localidp.New(localidp.Config{
		Issuer: issuer,
		Clients: []localidp.Client{{
			ID: clientID, Secret: clientSecret,
			RedirectURIs:           []string{s.Config.WebBaseURL + "/callback"},
			PostLogoutRedirectURIs: []string{s.Config.WebBaseURL + "/"},
		}},
		People: known,
	})
	if err != nil {
		ln.Close()
		return err
	}
	s.IDP = provider
	srv := &http.Server{Handler: provider, ReadHeaderTimeout: 10 * time.Second}
	go srv.Serve(ln)
	s.onClose(func() { srv.Close() })
	s.Config.OIDCIssuer, s.Config.OIDCClientID, s.Config.OIDCSecret = issuer, clientID, config.NewSecret(clientSecret)
	return nil
}

func (s *Stack) startServices(ctx context.Context, webLn, hookLn net.Listener) error {
	env := wiring.Env{Config: s.Config, NATS: s.NATS, Web: webLn, Webhook: hookLn}
	add := func(name string, build func(context.Context, wiring.Env) (daemon.Part, error)) error {
		env.Log, env.AWS = s.opts.Log.With("service", name), s.optionsOf(name)
		part, err := build(ctx, env)
		if err != nil {
			return fmt.Errorf("start %s: %w", name, err)
		}
		s.Parts = append(s.Parts, part)
		return nil
	}
	if err := add("bridge", wiring.Bridge); err != nil {
		return err
	}
	for range s.opts.Workers {
		if err := errors.Join(add("thaw", wiring.Thaw), add("restore", wiring.Restore)); err != nil {
			return err
		}
	}
	return add("web", wiring.Web)
}
