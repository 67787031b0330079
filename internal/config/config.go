// Package config is what an operator sets: environment variables, read into one
// struct, checked whole, with all faults reported at once.
package config

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"os"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/caarlos0/env/v11"

	"github.com/gas-restore/gas/internal/archive"
)

// Secret is a string that refuses to be printed. Reveal returns it.
type Secret string

// Reveal returns the secret itself.
func (s Secret) Reveal() string { return string(s) }

// String implements fmt.Stringer.
func (s Secret) String() string {
	if s == "" {
		return ""
	}
	return "[secret]"
}

// GoString implements fmt.GoStringer.
func (s Secret) GoString() string { return s.String() }

// LogValue implements slog.LogValuer.
func (s Secret) LogValue() slog.Value { return slog.StringValue(s.String()) }

// MarshalText implements encoding.TextMarshaler.
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// Config is everything that can be set. What is AWS's own (AWS_REGION,
// AWS_ENDPOINT_URL, credentials) is read by the AWS SDK.
type Config struct {
	NATSURL    string `env:"GAS_NATS_URL" envDefault:"nats://127.0.0.1:4222"`
	NATSCAFile string `env:"GAS_NATS_CA_FILE"`
	// The defaults are those of nats.conf, which are for development.
	BridgePassword   Secret `env:"GAS_NATS_BRIDGE_PASSWORD" envDefault:"dev-bridge"`
	ThawPassword     Secret `env:"GAS_NATS_THAW_PASSWORD" envDefault:"dev-thaw"`
	RestorePassword  Secret `env:"GAS_NATS_RESTORE_PASSWORD" envDefault:"dev-restore"`
	SweepPassword    Secret `env:"GAS_NATS_SWEEP_PASSWORD" envDefault:"dev-sweep"`
	WebPassword      Secret `env:"GAS_NATS_WEB_PASSWORD" envDefault:"dev-web"`
	OperatorPassword Secret `env:"GAS_NATS_OPERATOR_PASSWORD" envDefault:"dev-operator"`
	Replicas         int    `env:"GAS_NATS_REPLICAS" envDefault:"1"`

	JobTable     string `env:"GAS_JOB_TABLE" envDefault:"gas-annotations"`
	AccountTable string `env:"GAS_ACCOUNT_TABLE" envDefault:"gas-accounts"`
	PlanTable    string `env:"GAS_PLAN_TABLE" envDefault:"gas-plans"`
	Vault        string `env:"GAS_VAULT" envDefault:"gas-archive"`
	Bucket       string `env:"GAS_RESULTS_BUCKET" envDefault:"gas-results"`
	PremiumTopic string `env:"GAS_PREMIUM_TOPIC_ARN"`
	RestoreTopic string `env:"GAS_RESTORE_TOPIC_ARN"`
	PremiumQueue string `env:"GAS_PREMIUM_QUEUE_URL"`
	RestoreQueue string `env:"GAS_RESTORE_QUEUE_URL"`

	// WebhookListen is where the bridge takes SNS's calls; empty turns the webhook
	// off, the queues alone are enough.
	WebhookListen string `env:"GAS_WEBHOOK_LISTEN" envDefault:"127.0.0.1:8081"`
	// SNSCAFile and SNSCertEndpoint make the bridge trust a stand-in's signatures.
	SNSCAFile       string `env:"GAS_SNS_CA_FILE"`
	SNSCertEndpoint string `env:"GAS_SNS_CERT_ENDPOINT"`

	Tiers     []string `env:"GAS_TIERS" envDefault:"Expedited,Standard"`
	ThawSlots int      `env:"GAS_THAW_SLOTS" envDefault:"32"`
	// ThawCalls and ThawRate bound the InitiateJob calls of one thaw: in flight, and
	// a second. 0 is no limit.
	ThawCalls int     `env:"GAS_THAW_CALLS" envDefault:"8"`
	ThawRate  float64 `env:"GAS_THAW_RATE" envDefault:"0"`
	// ThawCallTime is the longest that one may take. After three of them an intent is
	// taken over, so that it has to be the same for all thaws.
	ThawCallTime time.Duration `env:"GAS_THAW_CALL_TIME" envDefault:"20s"`
	// The budgets are in US dollars a day (of UTC), by the estimates of plans; empty
	// is no limit.
	UserBudget string `env:"GAS_THAW_USER_BUDGET"`
	DayBudget  string `env:"GAS_THAW_DAY_BUDGET"`
	// AssumedSize is in bytes, of an archive whose size the catalog does not have.
	AssumedSize int64 `env:"GAS_THAW_ASSUMED_SIZE" envDefault:"104857600"`
	// PricesFile is a price list in place of the built-in one.
	PricesFile string `env:"GAS_PRICES_FILE"`

	// SweepEvery is how long it is from one sweep to the next, SweepSlack for how long
	// something may be overdue before a sweep sees to it, SweepCalls how many calls an
	// hour it makes to AWS.
	SweepEvery time.Duration `env:"GAS_SWEEP_EVERY" envDefault:"5m"`
	SweepSlack time.Duration `env:"GAS_SWEEP_SLACK" envDefault:"10m"`
	SweepCalls int           `env:"GAS_SWEEP_CALLS" envDefault:"3600"`

	RestoreSlots int   `env:"GAS_RESTORE_SLOTS" envDefault:"4"`
	PartSize     int64 `env:"GAS_RESTORE_PART_SIZE" envDefault:"8388608"`

	WebListen  string `env:"GAS_WEB_LISTEN" envDefault:"127.0.0.1:8080"`
	WebBaseURL string `env:"GAS_WEB_BASE_URL" envDefault:"http://127.0.0.1:8080"`
	// WebRate is how many requests a second one address may make, WebProxies whose
	// X-Forwarded-For is believed, PremiumPrice what people are told to pay.
	WebRate      float64  `env:"GAS_WEB_RATE" envDefault:"100"`
	WebProxies   []string `env:"GAS_WEB_PROXIES"`
	PremiumPrice string   `env:"GAS_PREMIUM_PRICE"`
	OIDCIssuer   string   `env:"GAS_OIDC_ISSUER" envDefault:"https://auth.globus.org"`
	// OIDCFormer are issuers whose subjects are the same people as OIDCIssuer's.
	OIDCFormer   []string `env:"GAS_OIDC_FORMER_ISSUERS"`
	OIDCClientID string   `env:"GAS_OIDC_CLIENT_ID"`
	OIDCSecret   Secret   `env:"GAS_OIDC_CLIENT_SECRET"`

	// HealthListen serves /healthz, /readyz and /metrics. Port 0 takes a free one
	// and logs it, so that replicas on one machine do not collide.
	HealthListen string        `env:"GAS_HEALTH_LISTEN" envDefault:"127.0.0.1:0"`
	LogLevel     slog.Level    `env:"GAS_LOG_LEVEL" envDefault:"info"`
	LogFormat    string        `env:"GAS_LOG_FORMAT" envDefault:"text"`
	StopGrace    time.Duration `env:"GAS_STOP_GRACE" envDefault:"25s"`
}

// Need is a part of the pipeline: what is checked depends on it.
type Need string

// The parts.
const (
	Bridge  Need = "bridge"
	Thaw    Need = "thaw"
	Restore Need = "restore"
	Web     Need = "web"
)

// Load reads the environment and checks what the parts need. The error names
// every variable at fault.
func Load(needs ...Need) (Config, error) { return load(os.Environ(), needs...) }

func load(environ []string, needs ...Need) (Config, error) {
	var c Config
	vars := env.ToMap(environ)
	var errs []error
	if err := env.ParseWithOptions(&c, env.Options{Environment: vars}); err != nil {
		if all, ok := errors.AsType[env.AggregateError](err); ok {
			errs = append(errs, all.Errors...)
		} else {
			errs = append(errs, err)
		}
	}
	return c, errors.Join(append(errs, c.Check(needs...))...)
}

var (
	arnShape  = regexp.MustCompile(`^arn:aws[a-z-]*:sns:[a-z0-9-]+:[0-9]{12}:[A-Za-z0-9_-]{1,256}$`)
	nameShape = regexp.MustCompile(`^[A-Za-z0-9_.-]{1,255}$`)
)

// Check returns an error that names every setting which the parts cannot work
// with; nil if there is none.
func (c Config) Check(needs ...Need) error {
	var errs []error
	bad := func(name, format string, args ...any) {
		errs = append(errs, fmt.Errorf("%s: %s", name, fmt.Sprintf(format, args...)))
	}
	need := func(which ...Need) bool {
		return slices.ContainsFunc(which, func(n Need) bool { return slices.Contains(needs, n) })
	}
	link := func(name, value string, schemes ...string) {
		u, err := url.Parse(value)
		switch {
		case value == "":
			bad(name, "is not set")
		case err != nil || u.Host == "" || !slices.Contains(schemes, u.Scheme):
			bad(name, "%q is no URL with scheme %s", value, strings.Join(schemes, " or "))
		}
	}
	listen := func(name, value string) {
		if _, port, err := net.SplitHostPort(value); err != nil || port == "" {
			bad(name, "%q is no host:port", value)
		}
	}
	arn := func(name, value string) {
		switch {
		case value == "":
			bad(name, "is not set")
		case !arnShape.MatchString(value):
			bad(name, "%q is no ARN of an SNS topic", value)
		}
	}
	word := func(name, value string) {
		if !nameShape.MatchString(value) {
			bad(name, "%q is no name", value)
		}
	}

	for server := range strings.SplitSeq(c.NATSURL, ",") {
		link("GAS_NATS_URL", strings.TrimSpace(server), "nats", "tls", "ws", "wss")
	}
	listen("GAS_HEALTH_LISTEN", c.HealthListen)
	if c.LogFormat != "text" && c.LogFormat != "json" {
		bad("GAS_LOG_FORMAT", "%q is neither text nor json", c.LogFormat)
	}
	if c.StopGrace <= 0 {
		bad("GAS_STOP_GRACE", "%s is not positive", c.StopGrace)
	}
	if c.Replicas < 1 || c.Replicas > 5 || c.Replicas%2 == 0 {
		bad("GAS_NATS_REPLICAS", "%d is not 1, 3 or 5", c.Replicas)
	}
	if need(Thaw, Restore, Web) {
		word("GAS_JOB_TABLE", c.JobTable)
		word("GAS_ACCOUNT_TABLE", c.AccountTable)
		word("GAS_PLAN_TABLE", c.PlanTable)
	}
	if need(Thaw, Restore) {
		word("GAS_VAULT", c.Vault)
	}
	if need(Bridge, Web) {
		arn("GAS_PREMIUM_TOPIC_ARN", c.PremiumTopic)
	}
	if need(Bridge, Thaw) {
		arn("GAS_RESTORE_TOPIC_ARN", c.RestoreTopic)
	}
	if need(Bridge) {
		link("GAS_PREMIUM_QUEUE_URL", c.PremiumQueue, "http", "https")
		link("GAS_RESTORE_QUEUE_URL", c.RestoreQueue, "http", "https")
		if c.WebhookListen != "" {
			listen("GAS_WEBHOOK_LISTEN", c.WebhookListen)
		}
		if c.SNSCertEndpoint != "" {
			link("GAS_SNS_CERT_ENDPOINT", c.SNSCertEndpoint, "http", "https")
		}
	}
	if need(Thaw) {
		if err := c.TierOrder().Check(); err != nil {
			bad("GAS_TIERS", "%v", err)
		}
		if c.ThawSlots < 1 || c.ThawSlots > 1000 {
			bad("GAS_THAW_SLOTS", "%d is not from 1 to 1000", c.ThawSlots)
		}
		if c.ThawCalls < 0 || c.ThawCalls > 1000 {
			bad("GAS_THAW_CALLS", "%d is not from 0 (no limit) to 1000", c.ThawCalls)
		}
		if !(c.ThawRate >= 0 && c.ThawRate <= 10_000) { // in this form for NaN
			bad("GAS_THAW_RATE", "%v is not from 0 (no limit) to 10000 calls a second", c.ThawRate)
		}
		if c.ThawCallTime < time.Second || c.ThawCallTime > 5*time.Minute {
			bad("GAS_THAW_CALL_TIME", "%s is not from 1s to 5m", c.ThawCallTime)
		}
		if c.SweepEvery < time.Second || c.SweepEvery > 24*time.Hour {
			bad("GAS_SWEEP_EVERY", "%s is not from 1s to 24h", c.SweepEvery)
		}
		if c.SweepSlack < time.Second || c.SweepSlack > 24*time.Hour {
			bad("GAS_SWEEP_SLACK", "%s is not from 1s to 24h", c.SweepSlack)
		}
		if c.SweepCalls < 60 || c.SweepCalls > 1_000_000 {
			bad("GAS_SWEEP_CALLS", "%d is not from 60 to 1000000 an hour", c.SweepCalls)
		}
		if c.AssumedSize < 1 || c.AssumedSize > 40<<40 { // what an archive can have
			bad("GAS_THAW_ASSUMED_SIZE", "%d is not from 1 byte to 40 TiB", c.AssumedSize)
		}
		for name, value := range map[string]string{"GAS_THAW_USER_BUDGET": c.UserBudget, "GAS_THAW_DAY_BUDGET": c.DayBudget} {
			if _, err := archive.ParseUSD(value); err != nil {
				bad(name, "%v", err)
			}
		}
	}
	if need(Restore) {
		if c.RestoreSlots < 1 || c.RestoreSlots > 1000 {
			bad("GAS_RESTORE_SLOTS", "%d is not from 1 to 1000", c.RestoreSlots)
		}
		// S3's parts have 5 MiB at least; Glacier's hashes fit powers of two of MiB.
		if n := c.PartSize; n < 8<<20 || n > 1<<30 || n&(n-1) != 0 {
			bad("GAS_RESTORE_PART_SIZE", "%d is no power of two from 8388608 (8 MiB) to 1073741824 (1 GiB)", n)
		}
	}
	if need(Web) {
		listen("GAS_WEB_LISTEN", c.WebListen)
		link("GAS_WEB_BASE_URL", c.WebBaseURL, "http", "https")
		link("GAS_OIDC_ISSUER", c.OIDCIssuer, "http", "https")
		for _, issuer := range c.OIDCFormer {
			link("GAS_OIDC_FORMER_ISSUERS", issuer, "http", "https")
		}
		if c.WebRate <= 0 {
			bad("GAS_WEB_RATE", "%g is not more than 0 requests a second", c.WebRate)
		}
		for _, proxy := range c.WebProxies {
			if _, _, err := net.ParseCIDR(proxy); err != nil && net.ParseIP(proxy) == nil {
				bad("GAS_WEB_PROXIES", "%q is no address or network", proxy)
			}
		}
		if len(c.PremiumPrice) > 100 {
			bad("GAS_PREMIUM_PRICE", "has %d bytes, 100 at most", len(c.PremiumPrice))
		}
		if c.OIDCClientID == "" {
			bad("GAS_OIDC_CLIENT_ID", "is not set")
		}
		if c.OIDCSecret == "" {
			bad("GAS_OIDC_CLIENT_SECRET", "is not set")
		}
	}
	return errors.Join(errs...)
}

// Budgets returns what plans may cost a day, of one user and of all; zero is no
// limit.
func (c Config) Budgets() (user, day archive.MicroUSD) {
	user, _ = archive.ParseUSD(c.UserBudget) // checked by Check
	day, _ = archive.ParseUSD(c.DayBudget)
	return user, day
}

// TierOrder returns the tiers in the order in which they are tried.
func (c Config) TierOrder() archive.Tiers {
	var tiers archive.Tiers
	for _, t := range c.Tiers {
		tiers = append(tiers, archive.Tier(strings.TrimSpace(t)))
	}
	return tiers
}
