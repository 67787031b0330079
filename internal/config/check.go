package config

import (
	"errors"
	"fmt"
	"net"
	"net/mail"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/gas-restore/gas/internal/archive"
	"github.com/gas-restore/gas/internal/snsverify"
)

var (
	nameShape = regexp.MustCompile(`^[A-Za-z0-9_.-]{1,255}$`)
)

// Check returns an error that joins a [Fault] for each setting that these services cannot
// work with; nil if there is none.
func (c Config) Check(services ...Service) error {
	var errs []error
	bad := func(name, format string, args ...any) {
		errs = append(errs, Fault{name, fmt.Sprintf(format, args...)})
	}
	need := func(which ...Service) bool {
		return slices.ContainsFunc(which, func(n Service) bool { return slices.Contains(services, n) })
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
		_, port, err := net.SplitHostPort(value)
		if err == nil && port != "" {
			_, err = net.LookupPort("tcp", port)
		}
		if err != nil || port == "" {
			bad(name, "%q is no host:port", value)
		}
	}
	// site checks a URL that people's browsers open. It must have TLS: without TLS, others
	// on the network could read what browsers send.
	site := func(name, value string) {
		u, err := url.Parse(value)
		if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
			bad(name, "%q is no URL with scheme http or https", value)
		} else if u.Scheme == "http" && u.Hostname() != "localhost" && !net.ParseIP(u.Hostname()).IsLoopback() {
			bad(name, "%q is http, which is for loopback hosts: want https", value)
		} else if u.RawQuery != "" || u.Fragment != "" || u.User != nil {
			bad(name, "%q has more than scheme, host and path", value)
		}
	}
	// reach checks where people can reach somebody.
	reach := func(name, value string) {
		a, err := mail.ParseAddress(value)
		u, uerr := url.Parse(value)
		if value != "" && (err != nil || a.Name != "") && (uerr != nil || u.Scheme != "https" || u.Host == "" || u.User != nil) {
			bad(name, "%q is no e-mail address and no https address", value)
		}
	}
	apart := func(name, value, other, otherValue string) {
		if value != "" && value == otherValue {
			bad(name, "%q is that of %s too: want one for each", value, other)
		}
	}
	arn := func(name, value string) {
		if value == "" {
			bad(name, "is not set")
		} else if err := snsverify.CheckTopic(value); err != nil {
			bad(name, "%v", err)
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
		for _, wrong := range renamed(c.JobAttributes, JobAttributes()) {
			bad("GAS_JOB_ATTRIBUTES", "%s", wrong)
		}
		for _, wrong := range renamed(c.AccountAttributes, AccountAttributes()) {
			bad("GAS_ACCOUNT_ATTRIBUTES", "%s", wrong)
		}
		apart("GAS_ACCOUNT_TABLE", c.AccountTable, "GAS_JOB_TABLE", c.JobTable)
		apart("GAS_PLAN_TABLE", c.PlanTable, "GAS_JOB_TABLE", c.JobTable)
		if c.AccountTable != c.JobTable { // otherwise there is a fault for it already
			apart("GAS_PLAN_TABLE", c.PlanTable, "GAS_ACCOUNT_TABLE", c.AccountTable)
		}
	}
	if need(Thaw, Restore) {
		if c.Vault != "" || c.ArchiveBucket == "" {
			word("GAS_VAULT", c.Vault)
		}
		if c.ArchiveBucket != "" {
			word("GAS_ARCHIVE_BUCKET", c.ArchiveBucket)
			apart("GAS_ARCHIVE_BUCKET", c.ArchiveBucket, "GAS_RESULTS_BUCKET", c.Bucket)
		}
	}
	if need(Bridge, Web) {
		arn("GAS_PREMIUM_TOPIC_ARN", c.PremiumTopic)
	}
	if need(Bridge, Thaw) {
		arn("GAS_RESTORE_TOPIC_ARN", c.RestoreTopic)
		apart("GAS_RESTORE_TOPIC_ARN", c.RestoreTopic, "GAS_PREMIUM_TOPIC_ARN", c.PremiumTopic)
	}
	if need(Bridge) {
		link("GAS_PREMIUM_QUEUE_URL", c.PremiumQueue, "http", "https")
		link("GAS_RESTORE_QUEUE_URL", c.RestoreQueue, "http", "https")
		apart("GAS_RESTORE_QUEUE_URL", c.RestoreQueue, "GAS_PREMIUM_QUEUE_URL", c.PremiumQueue)
		if c.WebhookListen != "" {
			listen("GAS_WEBHOOK_LISTEN", c.WebhookListen)
		}
		if c.SNSCertEndpoint != "" {
			link("GAS_SNS_CERT_ENDPOINT", c.SNSCertEndpoint, "http", "https")
		}
	}
	if need(Thaw, Web) {
		if c.ArchiveDays < 1 || c.ArchiveDays > 30 {
			bad("GAS_ARCHIVE_DAYS", "%d is not from 1 to 30", c.ArchiveDays)
		}
		if err := c.TierOrder().Check(); err != nil {
			bad("GAS_TIERS", "%v", err)
		}
		if c.AssumedSize < 1 || c.AssumedSize > 40<<40 { // the largest archive
			bad("GAS_THAW_ASSUMED_SIZE", "%d is not from 1 byte to 40 TiB", c.AssumedSize)
		}
	}
	if need(Thaw) {
		if c.ThawSlots < 1 || c.ThawSlots > 1000 {
			bad("GAS_THAW_SLOTS", "%d is not from 1 to 1000", c.ThawSlots)
		}
		if c.ThawCalls < 0 || c.ThawCalls > 1000 {
			bad("GAS_THAW_CALLS", "%d is not from 0 (no limit) to 1000", c.ThawCalls)
		}
		if !(c.ThawRate >= 0 && c.ThawRate <= 10_000) { // written so that NaN is refused too
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
		// S3 wants parts of at least 5 MiB. Glacier gives a tree hash only for ranges of 1, 2,
		// 4, 8, … MiB.
		if n := c.PartSize; n < 8<<20 || n > 1<<30 || n&(n-1) != 0 {
			bad("GAS_RESTORE_PART_SIZE", "%d is no power of two from 8388608 (8 MiB) to 1073741824 (1 GiB)", n)
		}
	}
	if need(Web) {
		listen("GAS_WEB_LISTEN", c.WebListen)
		site("GAS_WEB_BASE_URL", c.WebBaseURL)
		if u, err := url.Parse(c.WebBaseURL); err == nil && u.Host != "" && u.Path != "" && u.Path != "/" {
			bad("GAS_WEB_BASE_URL", "%q has a path: the site needs a host of its own", c.WebBaseURL)
		}
		site("GAS_OIDC_ISSUER", c.OIDCIssuer)
		for _, former := range c.OIDCFormer {
			link("GAS_OIDC_FORMER_ISSUERS", former, "http", "https")
		}
		if !(c.WebRate > 0) { // written so that NaN is refused too
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
		reach("GAS_SUPPORT_CONTACT", c.Support)
		reach("GAS_SECURITY_CONTACT", c.SecurityContact)
		if c.APIAudience != "" && c.APIAudience == c.OIDCClientID {
			bad("GAS_API_AUDIENCE", "is the client id: an ID token would be an access token")
		}
		if c.APIScope == "" || strings.ContainsAny(c.APIScope, " \t\"") {
			bad("GAS_API_SCOPE", "%q is no single scope", c.APIScope)
		}
		if c.OIDCClientID == "" {
			bad("GAS_OIDC_CLIENT_ID", "is not set")
		}
		if c.OIDCSecret.IsZero() {
			bad("GAS_OIDC_CLIENT_SECRET", "is not set")
		}
	}
	return errors.Join(errs...)
}
