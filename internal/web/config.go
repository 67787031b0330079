package web

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/gas-restore/gas/internal/archive"
)

// Secret is a string that fmt, slog and encoding/json do not print. Convert it to use it.
type Secret string

const hidden = "[secret]"

// String implements [fmt.Stringer].
func (Secret) String() string { return hidden }

// GoString implements [fmt.GoStringer].
func (Secret) GoString() string { return hidden }

// LogValue implements [slog.LogValuer].
func (Secret) LogValue() slog.Value { return slog.StringValue(hidden) }

// MarshalText implements [encoding.TextMarshaler].
func (Secret) MarshalText() ([]byte, error) { return []byte(hidden), nil }

// Config says where the site is and who signs people in.
type Config struct {
	// BaseURL is the site's URL as browsers see it: only a scheme and a host. http is allowed
	// only on a loopback host. There the cookies have neither the prefix __Host- nor Secure.
	// Register [CallbackPath] below it as the redirect URI at the provider.
	BaseURL string

	// Issuer is the OpenID provider, https://auth.globus.org for example. It is
	// looked up when somebody signs in, so it may start later than the site.
	Issuer string
	// FormerIssuers are earlier names or addresses of the Issuer: their subjects are the same
	// people. Nobody signs in to an account of any other issuer.
	FormerIssuers []string
	ClientID      string
	ClientSecret  Secret
	// SecretFrom, if set, is called for the client's secret at each sign-in, in place of
	// ClientSecret. So a changed secret needs no restart.
	SecretFrom func() (string, error)
	// Scopes are the scopes to ask for; nil means openid, profile and email.
	Scopes []string
	// HTTPClient talks to the provider; nil means a client with a time limit.
	HTTPClient *http.Client

	// SessionLifetime ends a session even if it is busy; zero means 12 hours.
	SessionLifetime time.Duration
	// SessionIdle ends a session that nobody used for so long; zero means one hour.
	SessionIdle time.Duration
	// Tiers is the order in which the pipeline tries the tiers. If a retrieval has a later
	// tier, the ones before it were full. Without Tiers, pages do not say so.
	Tiers archive.Tiers
	// Support and SecurityContact are where people reach the team, and where they report a
	// weakness: an e-mail address, or an https address. Without them, pages name no contact, and
	// there is no security.txt.
	Support, SecurityContact string
	// APIAudience is the audience of access tokens for the API. If it is empty, the API takes no
	// tokens. APIScope is the scope that such a token must have.
	APIAudience, APIScope string
	// PremiumPrice is the price of Premium, "$9 a month" for example. If it is empty, pages
	// name no price.
	PremiumPrice string
	// PageSize is how many jobs a page lists; zero means 25.
	PageSize int
	// Rate is how many requests a second one address may make, with ten times as many at once;
	// zero means 100.
	Rate float64
	// TrustProxy names the addresses or networks of the proxies in front of the site. Only
	// from them does the site believe X-Forwarded-For.
	TrustProxy []string
	// Heartbeat is the longest silence on a live stream; zero means 15 seconds.
	Heartbeat time.Duration
	// ReadTimeout is how long a whole request may take to arrive; zero means 10 seconds.
	ReadTimeout time.Duration
	// Drain is how long a stop waits for requests under way; zero means 20
	// seconds.
	Drain time.Duration

	// Meter counts what the site does; nil means that nobody counts.
	Meter Meter
	// Logger gets the audit and the errors; nil means [slog.Default].
	Logger *slog.Logger
	// Now is the clock of sessions; nil means [time.Now].
	Now func() time.Time
}

// CallbackPath is where the provider sends people back to.
const CallbackPath = "/callback"

// Deps are the parts that the site needs. All are required but Switches, Letters and the stores.
type Deps struct {
	Accounts  Accounts
	Jobs      Jobs
	Announcer Announcer
	Lane      Lane
	Downloads Downloads
	Statuses  Statuses
	// Switches tells what operators have stopped, and Letters what needs an operator; nil means
	// that pages do not say so.
	Switches Switches
	Letters  Letters

	// Sessions keeps the people who are signed in, and Logins the sign-ins under way. They
	// are two stores because anybody can fill Logins. All replicas of the site share both.
	// nil means a store in memory.
	Sessions SessionStore
	Logins   Store
}

// secret returns the client's secret as it is now.
func (c Config) secret() (string, error) {
	if c.SecretFrom != nil {
		return c.SecretFrom()
	}
	return string(c.ClientSecret), nil
}

func (c Config) withDefaults() Config {
	if c.Scopes == nil {
		c.Scopes = []string{"openid", "profile", "email"}
	}
	if c.HTTPClient == nil {
		c.HTTPClient = &http.Client{Timeout: 10 * time.Second}
	}
	if c.SessionLifetime == 0 {
		c.SessionLifetime = 12 * time.Hour
	}
	if c.SessionIdle == 0 {
		c.SessionIdle = time.Hour
	}
	if c.PageSize == 0 {
		c.PageSize = 25
	}
	if c.Rate == 0 {
		c.Rate = 100
	}
	if c.Heartbeat == 0 {
		c.Heartbeat = 15 * time.Second
	}
	if c.ReadTimeout == 0 {
		c.ReadTimeout = 10 * time.Second
	}
	if c.Drain == 0 {
		c.Drain = 20 * time.Second
	}
	c.Meter = meterOf(c.Meter)
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	return c
}

// check returns every mistake in c.
func (c Config) check() error {
	var errs []error
	if err := checkURL("base URL", c.BaseURL, false); err != nil {
		errs = append(errs, err)
	}
	if err := checkURL("issuer", c.Issuer, true); err != nil {
		errs = append(errs, err)
	}
	for _, issuer := range c.FormerIssuers {
		if err := checkURL("former issuer", issuer, true); err != nil {
			errs = append(errs, err)
		}
	}
	if c.APIAudience != "" && (c.APIAudience == c.ClientID || c.APIScope == "" || strings.ContainsAny(c.APIScope, " \t\"")) {
		errs = append(errs, fmt.Errorf("the API's audience is %q and its scope is %q: want another audience than the client id, and one scope", c.APIAudience, c.APIScope))
	}
	if c.ClientID == "" {
		errs = append(errs, errors.New("client id is missing"))
	}
	if c.ClientSecret == "" && c.SecretFrom == nil {
		errs = append(errs, errors.New("client secret is missing"))
	}
	if c.SessionLifetime < c.SessionIdle || c.SessionIdle < 0 {
		errs = append(errs, fmt.Errorf("session lifetime %s is shorter than the idle time %s", c.SessionLifetime, c.SessionIdle))
	}
	if c.PageSize < 1 || c.PageSize > 200 {
		errs = append(errs, fmt.Errorf("page size is %d, want 1 to 200", c.PageSize))
	}
	if c.Rate < 0 {
		errs = append(errs, fmt.Errorf("rate is %g requests a second, want more than 0", c.Rate))
	}
	for _, proxy := range c.TrustProxy {
		if _, _, err := net.ParseCIDR(proxy); err != nil && net.ParseIP(proxy) == nil {
			errs = append(errs, fmt.Errorf("proxy %q is no address or network", proxy))
		}
	}
	for what, setting := range map[string]string{"support": c.Support, "security": c.SecurityContact} {
		if _, err := contactOf(setting); err != nil {
			errs = append(errs, fmt.Errorf("%s %w", what, err))
		}
	}
	if len(c.PremiumPrice) > 100 {
		errs = append(errs, fmt.Errorf("price of Premium has %d bytes, want 100 at most", len(c.PremiumPrice)))
	}
	if c.Heartbeat < 0 || c.Drain < 0 || c.ReadTimeout < 0 {
		errs = append(errs, fmt.Errorf("heartbeat %s, drain %s and read timeout %s must not be negative", c.Heartbeat, c.Drain, c.ReadTimeout))
	}
	return errors.Join(errs...)
}

func (d Deps) check() error {
	var errs []error
	for _, dep := range []struct {
		name    string
		missing bool
	}{
		{"accounts", d.Accounts == nil},
		{"jobs", d.Jobs == nil},
		{"announcer", d.Announcer == nil},
		{"lane", d.Lane == nil},
		{"downloads", d.Downloads == nil},
		{"statuses", d.Statuses == nil},
	} {
		if dep.missing {
			errs = append(errs, fmt.Errorf("%s are missing", dep.name))
		}
	}
	return errors.Join(errs...)
}

// checkURL accepts https, and http on loopback hosts, where nobody can listen in.
func checkURL(what, raw string, path bool) error {
	u, err := url.Parse(raw)
	switch {
	case err != nil || u.Host == "" || u.RawQuery != "" || u.Fragment != "" || u.User != nil || u.Scheme != "http" && u.Scheme != "https":
		return fmt.Errorf("%s is %q, want https://host", what, raw)
	case !path && u.Path != "" && u.Path != "/":
		return fmt.Errorf("%s is %q, want no path", what, raw)
	case u.Scheme == "http" && u.Hostname() != "localhost" && !net.ParseIP(u.Hostname()).IsLoopback():
		return fmt.Errorf("%s is %q: http is for loopback hosts, want https", what, raw)
	}
	return nil
}
