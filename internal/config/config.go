// Package config reads the settings of an operator: environment variables, in one struct.
// It checks all of them and reports all faults at once. docs/configuration.md lists them; a
// test compares that list with this struct.
package config

import (
	"log/slog"
	"strings"
	"time"

	"github.com/gas-restore/gas/internal/archive"
)

// Config has all settings. The AWS SDK reads AWS's own variables (AWS_REGION,
// AWS_ENDPOINT_URL, credentials).
//
// The tags of a field: env and envDefault are its variable and its default. for names the
// services that read it; none means all. help describes it in a few words. empty
// describes the effect of a variable that is set to nothing; without this tag, such a
// variable has its default.
type Config struct {
	NATSURL    string `env:"GAS_NATS_URL" envDefault:"nats://127.0.0.1:4222" help:"the NATS server, or several with commas in between"`
	NATSCAFile string `env:"GAS_NATS_CA_FILE" help:"roots for tls://, as PEM; empty: those of the system"`
	// The defaults are those of nats.conf, which are for development.
	BridgePassword   Secret `env:"GAS_NATS_BRIDGE_PASSWORD" envDefault:"dev-bridge" for:"bridge" help:"the password of the NATS user bridge"`
	ThawPassword     Secret `env:"GAS_NATS_THAW_PASSWORD" envDefault:"dev-thaw" for:"thaw" help:"the password of the NATS user thaw"`
	RestorePassword  Secret `env:"GAS_NATS_RESTORE_PASSWORD" envDefault:"dev-restore" for:"restore" help:"the password of the NATS user restore"`
	SweepPassword    Secret `env:"GAS_NATS_SWEEP_PASSWORD" envDefault:"dev-sweep" for:"thaw" help:"the password of the NATS user sweep, as whom thaw looks for lost work"`
	WebPassword      Secret `env:"GAS_NATS_WEB_PASSWORD" envDefault:"dev-web" for:"web" help:"the password of the NATS user web"`
	OperatorPassword Secret `env:"GAS_NATS_OPERATOR_PASSWORD" envDefault:"dev-operator" for:"operator" help:"the password of the NATS user operator, for the gas command"`
	Replicas         int    `env:"GAS_NATS_REPLICAS" envDefault:"1" for:"operator" help:"how many servers keep each stream: 1, 3 or 5"`

	JobTable     string `env:"GAS_JOB_TABLE" envDefault:"gas-annotations" for:"thaw,restore,web" help:"the DynamoDB table of annotation jobs"`
	AccountTable string `env:"GAS_ACCOUNT_TABLE" envDefault:"gas-accounts" for:"thaw,restore,web" help:"the DynamoDB table of accounts"`
	PlanTable    string `env:"GAS_PLAN_TABLE" envDefault:"gas-plans" for:"thaw,restore,web" help:"the DynamoDB table of closed plans, spending and pauses"`
	// JobAttributes and AccountAttributes are for tables with other names than ours. They
	// have the table's name for our name: archive_id=results_file_archive_id,...
	JobAttributes     map[string]string `env:"GAS_JOB_ATTRIBUTES" envKeyValSeparator:"=" for:"thaw,restore,web" help:"other names of attributes in the job table: ours=theirs, with commas in between"`
	AccountAttributes map[string]string `env:"GAS_ACCOUNT_ATTRIBUTES" envKeyValSeparator:"=" for:"thaw,restore,web" help:"other names of attributes in the account table: ours=theirs, with commas in between"`

	Vault         string `env:"GAS_VAULT" envDefault:"gas-archive" empty:"no vault, all archives are in an S3 class" for:"thaw,restore" help:"the Glacier vault"`
	ArchiveBucket string `env:"GAS_ARCHIVE_BUCKET" for:"thaw,restore" help:"the S3 bucket of archives in the classes GLACIER, DEEP_ARCHIVE and GLACIER_IR; empty: all archives are in the vault"`
	ArchiveDays   int    `env:"GAS_ARCHIVE_DAYS" envDefault:"1" for:"thaw,web" help:"days for which S3 keeps a temporary copy of an archive, from 1 to 30"`
	Bucket        string `env:"GAS_RESULTS_BUCKET" envDefault:"gas-results" for:"restore,web" help:"the S3 bucket of result files"`
	PremiumTopic  string `env:"GAS_PREMIUM_TOPIC_ARN" for:"bridge,web" help:"the ARN of the SNS topic that upgrades are announced on"`
	RestoreTopic  string `env:"GAS_RESTORE_TOPIC_ARN" for:"bridge,thaw" help:"the ARN of the SNS topic for Glacier's notifications of finished retrievals"`
	PremiumQueue  string `env:"GAS_PREMIUM_QUEUE_URL" for:"bridge" help:"the URL of the SQS queue behind the premium topic"`
	RestoreQueue  string `env:"GAS_RESTORE_QUEUE_URL" for:"bridge" help:"the URL of the SQS queue behind the restore topic"`

	// WebhookListen is the address where SNS calls the bridge. If it is empty, there is no
	// webhook, and all messages come through the queues.
	WebhookListen string `env:"GAS_WEBHOOK_LISTEN" envDefault:"127.0.0.1:8081" empty:"queues alone" for:"bridge" help:"where SNS calls the bridge, host:port"`
	// SNSCAFile and SNSCertEndpoint make the bridge trust a stand-in's signatures.
	SNSCAFile       string `env:"GAS_SNS_CA_FILE" for:"bridge" help:"roots of a stand-in's SNS signatures, as PEM; empty: Amazon's"`
	SNSCertEndpoint string `env:"GAS_SNS_CERT_ENDPOINT" for:"bridge" help:"where a stand-in's SNS certificates are; empty: Amazon's"`
	// SNSChainFile has the certificates between SNS's and the roots. A bridge needs it if
	// it cannot reach crt.*.amazontrust.com over plain HTTP.
	SNSChainFile string `env:"GAS_SNS_CHAIN_FILE" for:"bridge" help:"the certificates between SNS's and the roots, as PEM; empty: they are fetched over plain HTTP from crt.*.amazontrust.com"`

	Tiers     []string `env:"GAS_TIERS" envDefault:"Expedited,Standard" for:"thaw,web" help:"the tiers in the order in which they are tried; the next one only if the one before has no capacity"`
	ThawSlots int      `env:"GAS_THAW_SLOTS" envDefault:"32" for:"thaw" help:"how many tasks are handled at a time"`
	// ThawCalls bounds the InitiateJob calls that one thaw has in flight, and ThawRate the
	// calls that it makes in a second. 0 means no limit.
	ThawCalls int     `env:"GAS_THAW_CALLS" envDefault:"8" for:"thaw" help:"the most InitiateJob calls in flight; 0: no limit"`
	ThawRate  float64 `env:"GAS_THAW_RATE" envDefault:"0" for:"thaw" help:"the most InitiateJob calls in a second; 0: no limit"`
	// ThawCallTime is the longest time of one InitiateJob call. A thaw takes over another
	// thaw's intent after three times this long, so all thaws must have the same value.
	ThawCallTime time.Duration `env:"GAS_THAW_CALL_TIME" envDefault:"20s" for:"thaw" help:"the longest that an InitiateJob call may take, the same for all thaws"`
	// The budgets are US dollars for each day (UTC). The price of each retrieval counts
	// against them, before Glacier is asked. Empty means no limit.
	UserBudget string `env:"GAS_THAW_USER_BUDGET" for:"thaw" help:"US dollars a day (UTC) for the retrievals of one user; empty: no limit"`
	DayBudget  string `env:"GAS_THAW_DAY_BUDGET" for:"thaw" help:"US dollars a day (UTC) for the retrievals of all; empty: no limit"`
	// AssumedSize is the size in bytes that an archive gets in prices if the catalog does
	// not have its size.
	AssumedSize int64 `env:"GAS_THAW_ASSUMED_SIZE" envDefault:"104857600" for:"thaw" help:"assumed bytes of an archive if the catalog does not have its size, for the price"`
	// PricesFile is a price list in place of the built-in one.
	PricesFile string `env:"GAS_PRICES_FILE" for:"thaw" help:"a price list as JSON; empty: the built-in one"`

	// SweepEvery is the time from one sweep to the next. Work is overdue when SweepSlack
	// has passed since it should have made progress. The sweep makes at most SweepCalls
	// calls of AWS in an hour.
	SweepEvery time.Duration `env:"GAS_SWEEP_EVERY" envDefault:"5m" for:"thaw" help:"the time from one search for lost work to the next"`
	SweepSlack time.Duration `env:"GAS_SWEEP_SLACK" envDefault:"10m" for:"thaw" help:"the time after which work without progress counts as overdue"`
	SweepCalls int           `env:"GAS_SWEEP_CALLS" envDefault:"3600" for:"thaw" help:"the most calls of AWS that sweeps make in an hour"`

	RestoreSlots int   `env:"GAS_RESTORE_SLOTS" envDefault:"4" for:"restore" help:"how many files are restored at a time"`
	PartSize     int64 `env:"GAS_RESTORE_PART_SIZE" envDefault:"8388608" for:"restore" help:"bytes of a range and a part, a power of two of MiB; memory is about 3 of them a slot"`

	WebListen  string `env:"GAS_WEB_LISTEN" envDefault:"127.0.0.1:8080" for:"web" help:"where the site listens, host:port"`
	WebBaseURL string `env:"GAS_WEB_BASE_URL" envDefault:"http://127.0.0.1:8080" for:"web" help:"the site's URL as browsers see it; http for loopback hosts only"`
	// WebRate is the number of requests a second that one address may make. The site
	// trusts the header X-Forwarded-For only from WebProxies. It shows PremiumPrice to
	// people.
	WebRate      float64  `env:"GAS_WEB_RATE" envDefault:"100" for:"web" help:"requests a second of one address"`
	WebProxies   []string `env:"GAS_WEB_PROXIES" for:"web" help:"addresses or networks of the proxies with a trusted X-Forwarded-For"`
	PremiumPrice string   `env:"GAS_PREMIUM_PRICE" for:"web" help:"the price of Premium that people see, \"$9 a month\" for example"`
	// Support and SecurityContact are e-mail addresses or https addresses. The pages and
	// security.txt name them.
	Support         string `env:"GAS_SUPPORT_CONTACT" for:"web" help:"where people reach you: an e-mail address or an https address"`
	SecurityContact string `env:"GAS_SECURITY_CONTACT" for:"web" help:"where people report a weakness, for security.txt: an e-mail address or an https address"`
	// APIAudience lets the API take access tokens of the sign-in provider that were made for this
	// audience and have the scope APIScope.
	APIAudience string `env:"GAS_API_AUDIENCE" for:"web" help:"the audience of access tokens for the API"`
	APIScope    string `env:"GAS_API_SCOPE" envDefault:"gas" for:"web" help:"the scope that an access token for the API must have"`
	OIDCIssuer  string `env:"GAS_OIDC_ISSUER" envDefault:"https://auth.globus.org" for:"web" help:"the sign-in provider"`
	// OIDCFormer are earlier issuers. They gave each person the same subject as OIDCIssuer
	// does.
	OIDCFormer   []string `env:"GAS_OIDC_FORMER_ISSUERS" for:"web" help:"earlier sign-in providers with the same subjects for the same people, with commas in between"`
	OIDCClientID string   `env:"GAS_OIDC_CLIENT_ID" for:"web" help:"the id of the site at the sign-in provider"`
	OIDCSecret   Secret   `env:"GAS_OIDC_CLIENT_SECRET" for:"web" help:"the secret of the site at the sign-in provider"`

	// HealthListen is the address of /healthz, /readyz and /metrics. With port 0, each
	// process takes a free port and logs it, so several can run on one machine.
	HealthListen string `env:"GAS_HEALTH_LISTEN" envDefault:"127.0.0.1:0" help:"where /healthz, /readyz and /metrics are, host:port; port 0 takes a free one and logs it"`
	// Profiles serves net/http/pprof there too.
	Profiles  bool          `env:"GAS_PPROF" envDefault:"false" help:"true: profiles of the process are at /debug/pprof/ of GAS_HEALTH_LISTEN"`
	LogLevel  slog.Level    `env:"GAS_LOG_LEVEL" envDefault:"info" help:"debug, info, warn or error"`
	LogFormat string        `env:"GAS_LOG_FORMAT" envDefault:"text" help:"text or json"`
	StopGrace time.Duration `env:"GAS_STOP_GRACE" envDefault:"25s" help:"how long a stop waits for work that has begun"`
}

// Service is a part of the pipeline. [Config.Check] checks only the settings that it reads.
type Service string

// The parts.
const (
	Bridge  Service = "bridge"
	Thaw    Service = "thaw"
	Restore Service = "restore"
	Web     Service = "web"
	// Operator is the gas command.
	Operator Service = "operator"
)

// Budgets returns the most that plans may cost in a day, for one user and for all users.
// Zero means no limit.
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
