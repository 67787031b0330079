package web

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/gas-restore/gas/internal/archive"
	"github.com/gas-restore/gas/internal/fault"
	localidp "github.com/gas-restore/gas/internal/local/idp"
	"github.com/gas-restore/gas/internal/signin"
)

// signInCase is one way through sign-in, from the link to the session. A part of the way may
// fail.
type signInCase struct {
	name string
	// provider and site change the settings of the two. before runs right before somebody
	// begins, and between runs while the person is at the provider.
	provider        func(*localidp.Config)
	site            func(*Config, *Deps)
	before, between func(b *fixture)

	status int
	// words are in the title or the sentence. level and fault are in the one line of the log.
	words, level, fault string
	// retry is the Retry-After: a number, "some" or "".
	retry string
	// lives says whether there is a session in the end.
	lives bool
	// waits says that the site waits on the way.
	waits bool
}

func mood(e localidp.Endpoint, m localidp.Mood) func(*fixture) {
	return func(b *fixture) { b.provider.SetMood(e, m) }
}

func claims(change map[string]any) func(*localidp.Config) {
	return func(c *localidp.Config) {
		c.Claims = func(claims map[string]any) {
			for k, v := range change {
				if claims[k] = v; v == nil {
					delete(claims, k)
				}
			}
		}
	}
}

func impatient(c *Config, _ *Deps) { c.HTTPClient.Timeout = 300 * time.Millisecond }

const (
	stopped     = "Sign-in stopped"
	unavailable = "Sign-in is not available"
	notSetUp    = "Sign-in is not set up right"
)

func signInCases() []signInCase {
	person := func(name string, status int, words string, between func(*fixture)) signInCase {
		return signInCase{name: name, between: between, status: status, words: words, level: "INFO", fault: "person"}
	}
	busy := func(name string, before func(*fixture)) signInCase {
		return signInCase{name: name, before: before, status: 503, words: unavailable, level: "WARN", fault: "provider", retry: "some"}
	}
	nonsense := func(name string, before func(*fixture)) signInCase {
		return signInCase{name: name, before: before, status: 502, words: unavailable, level: "WARN", fault: "provider", retry: "some"}
	}
	setUp := func(name string, before func(*fixture)) signInCase {
		return signInCase{name: name, before: before, status: 500, words: notSetUp, level: "ERROR", fault: "set-up"}
	}
	token := func(c signInCase, change map[string]any) signInCase {
		c.provider = claims(change)
		return c
	}
	waiting := func(c signInCase) signInCase {
		c.waits = true
		return c
	}
	fine := func(name string, change map[string]any) signInCase {
		return signInCase{name: name, provider: claims(change), status: 200, lives: true}
	}
	at := func(d time.Duration) int64 { return time.Now().Add(d).Unix() }
	all := []signInCase{
		{name: "nothing is wrong", status: 200, lives: true},

		// Discovery and keys, when somebody begins.
		busy("discovery answers 503", mood(localidp.Discovery, localidp.Mood{Status: 503})),
		{
			name: "discovery answers 429 and says for how long", before: mood(localidp.Discovery, localidp.Mood{Status: 429, RetryAfter: 7}),
			status: 503, words: unavailable, level: "WARN", fault: "provider", retry: "7",
		},
		nonsense("discovery answers HTML", mood(localidp.Discovery, localidp.Mood{Status: 200, Body: "<html>"})),
		nonsense("discovery answers without endpoints", func(b *fixture) {
			b.provider.SetMood(localidp.Discovery, localidp.Mood{Status: 200, Body: fmt.Sprintf(`{"issuer":%q}`, b.idp)})
		}),
		setUp("there is no discovery", mood(localidp.Discovery, localidp.Mood{Status: 404})),
		setUp("discovery names another issuer", mood(localidp.Discovery, localidp.Mood{Status: 200, Body: `{"issuer":"https://other.example"}`})),
		busy("the keys answer 503", mood(localidp.Keys, localidp.Mood{Status: 503})),
		nonsense("the keys answer HTML", mood(localidp.Keys, localidp.Mood{Status: 200, Body: "<html>"})),

		// The provider leads the browser back with an error.
		busy("back with server_error", mood(localidp.Authorize, localidp.Mood{Error: "server_error"})),
		busy("back with temporarily_unavailable", mood(localidp.Authorize, localidp.Mood{Error: "temporarily_unavailable"})),
		nonsense("back with an error that nobody knows", mood(localidp.Authorize, localidp.Mood{Error: "a_new_error"})),
		{
			name: "back with invalid_scope, which nobody else signs in after", before: mood(localidp.Authorize, localidp.Mood{Error: "invalid_scope"}),
			status: 500, words: notSetUp, level: "ERROR", fault: "set-up",
		},

		// The token endpoint.
		busy("the token endpoint answers 429", mood(localidp.Token, localidp.Mood{Status: 429})),
		busy("the token endpoint answers 408", mood(localidp.Token, localidp.Mood{Status: 408})),
		busy("the token endpoint answers 500", mood(localidp.Token, localidp.Mood{Status: 500})),
		busy("the token endpoint answers 503", mood(localidp.Token, localidp.Mood{Status: 503})),
		busy("the token endpoint answers 503 and invalid_grant", mood(localidp.Token, localidp.Mood{Status: 503, Error: "invalid_grant"})),
		busy("the token endpoint answers temporarily_unavailable", mood(localidp.Token, localidp.Mood{Error: "temporarily_unavailable"})),
		busy("the token endpoint answers server_error", mood(localidp.Token, localidp.Mood{Error: "server_error"})),
		nonsense("the token endpoint answers HTML", mood(localidp.Token, localidp.Mood{Status: 200, Body: "<html>"})),
		nonsense("the token endpoint answers without an access token", mood(localidp.Token, localidp.Mood{Status: 200, Body: "{}"})),
		nonsense("the token endpoint is not there", mood(localidp.Token, localidp.Mood{Status: 404})),
		nonsense("a firewall answers for the token endpoint", mood(localidp.Token, localidp.Mood{Status: 403, Body: "<html>"})),
		setUp("the token endpoint answers without an ID token", mood(localidp.Token, localidp.Mood{Status: 200, Body: `{"access_token":"a","token_type":"Bearer"}`})),
		setUp("the token endpoint answers 401", mood(localidp.Token, localidp.Mood{Status: 401})),
		person("the code is not good any more", 400, stopped, mood(localidp.Token, localidp.Mood{Error: "invalid_grant"})),

		// The ID token.
		waiting(nonsense("the key that signs is not published", func(b *fixture) {
			b.provider.SetMood(localidp.Keys, localidp.Mood{Status: 200, Body: `{"keys":[]}`})
		})),
		{
			name: "a new key cannot be had", status: 503, words: unavailable, level: "WARN", fault: "provider", retry: "some", waits: true,
			between: func(b *fixture) {
				if err := b.provider.Rotate("RS512", false); err != nil {
					b.t.Error(err)
				}
				b.provider.SetMood(localidp.Keys, localidp.Mood{Status: 503})
			},
		},
		token(setUp("the ID token is of another issuer", nil), map[string]any{"iss": "https://other.example"}),
		token(setUp("the ID token is for another client", nil), map[string]any{"aud": "other"}),
		token(setUp("the ID token is for many, and nobody requested it", nil), map[string]any{"aud": []string{"gas", "other"}, "azp": nil}),
		token(setUp("the ID token is for many, and another client requested it", nil), map[string]any{"aud": []string{"gas", "other"}, "azp": "other"}),
		token(setUp("another client requested the ID token", nil), map[string]any{"azp": "other"}),
		token(setUp("the client that requested the ID token is a number", nil), map[string]any{"azp": 7}),
		token(setUp("the ID token is of nobody", nil), map[string]any{"sub": ""}),
		token(setUp("the ID token has a subject that is a number", nil), map[string]any{"sub": 7}),
		token(setUp("the ID token expired an hour ago", nil), map[string]any{"exp": at(-time.Hour)}),
		token(setUp("the ID token never expires", nil), map[string]any{"exp": nil}),
		token(setUp("the ID token is not valid before an hour from now", nil), map[string]any{"nbf": at(time.Hour)}),
		fine("the ID token expired a minute ago", map[string]any{"exp": at(-time.Minute)}),
		fine("the ID token is valid from a minute from now", map[string]any{"nbf": at(time.Minute)}),
		fine("the ID token was made a minute from now", map[string]any{"iat": at(time.Minute)}),
		fine("the ID token is for many, and we requested it", map[string]any{"aud": []string{"other", "gas"}, "azp": "gas"}),

		// The account.
		{
			name: "the catalog is throttled", status: 503, words: "One moment, please", level: "ERROR", retry: "some",
			before: failing("SignIn", fault.New(fault.Throttled, errors.New("slow down"))),
		},
		{
			name: "the catalog is broken", status: 500, words: "our side", level: "ERROR",
			before: failing("SignIn", errors.New("it is broken")),
		},
		setUp("the account is of another issuer", func(b *fixture) {
			b.ports.change(func() {
				b.ports.accounts["ada"] = archive.Account{ID: "ada", Issuer: "https://other.example", Role: archive.Free}
			})
		}),
		{
			name: "the account is of an issuer from before", status: 200, lives: true,
			site: func(c *Config, _ *Deps) { c.FormerIssuers = []string{"https://other.example"} },
			before: func(b *fixture) {
				b.ports.change(func() {
					b.ports.accounts["ada"] = archive.Account{ID: "ada", Issuer: "https://other.example", Role: archive.Free}
				})
			},
		},
	}
	for _, code := range []string{"access_denied", "login_required", "consent_required", "interaction_required", "account_selection_required", "unmet_authentication_requirements"} {
		all = append(all, person("back with "+code, 403, "You are not signed in", nil))
		all[len(all)-1].before = mood(localidp.Authorize, localidp.Mood{Error: code})
	}
	for _, code := range []string{
		"invalid_request", "unauthorized_client", "unsupported_response_type", "invalid_scope", "invalid_request_uri",
		"invalid_request_object", "request_not_supported", "request_uri_not_supported", "registration_not_supported", "invalid_target",
	} {
		all = append(all, setUp("back with "+code, mood(localidp.Authorize, localidp.Mood{Error: code})))
	}
	for _, code := range []string{"invalid_request", "invalid_client", "unauthorized_client", "unsupported_grant_type", "invalid_scope", "invalid_target"} {
		all = append(all, setUp("the token endpoint answers "+code, mood(localidp.Token, localidp.Mood{Error: code})))
	}
	// A member that nobody needs may have any type, in discovery too.
	for _, member := range []string{"scopes_supported", "token_endpoint_auth_methods_supported", "end_session_endpoint", "userinfo_endpoint", "claims_supported", "device_authorization_endpoint"} {
		all = append(all, signInCase{name: "discovery says " + member + " is 7", status: 200, lives: true, before: func(b *fixture) {
			var doc map[string]any
			b.browser().get(b.idp+string(localidp.Discovery)).into(b.t, &doc)
			doc[member] = 7
			body, err := json.Marshal(doc)
			if err != nil {
				b.t.Error(err)
			}
			b.provider.SetMood(localidp.Discovery, localidp.Mood{Status: 200, Body: string(body)})
		}})
	}
	for _, claim := range []string{"email", "name", "sid", "at_hash", "_claim_names", "_claim_sources", "iat", "auth_time", "amr", "email_verified", "groups"} {
		for _, value := range []any{7, "x", true, []any{"x", nil}, map[string]any{"x": ""}} {
			all = append(all, fine(fmt.Sprintf("the ID token says %s is %v", claim, value), map[string]any{claim: value}))
		}
	}
	for _, e := range []localidp.Endpoint{localidp.Discovery, localidp.Keys, localidp.Token} {
		c := waiting(busy("no answer from "+string(e), mood(e, localidp.Mood{Hang: true})))
		c.site = impatient
		all = append(all, c)
	}
	return all
}

func failing(call string, err error) func(*fixture) {
	return func(b *fixture) { b.ports.change(func() { b.ports.faults[call] = err }) }
}

// TestWhoseFaultItIsDecidesWordsStatusAndLevel goes through sign-in once for each case.
func TestWhoseFaultItIsDecidesWordsStatusAndLevel(t *testing.T) {
	for _, tt := range signInCases() {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if tt.waits {
				inBubble(t, tt.run)
			} else {
				tt.run(t, nil)
			}
		})
	}
}

func (c *signInCase) run(t *testing.T, n *network) {
	var site []func(*Config, *Deps)
	if c.site != nil {
		site = append(site, c.site)
	}
	b := newFixtureOn(t, n, c.provider, site...)
	if c.before != nil {
		c.before(b)
	}
	v := b.browser()
	a := v.tryIn("ada", c.between)
	v.wants(a, c.status, c.words)
	if retry := a.Header.Get("Retry-After"); retry != c.retry && !(c.retry == "some" && retry != "") {
		t.Errorf("Retry-After is %q, want %q", retry, c.retry)
	}
	if lives := v.still().get("/annotations").StatusCode == http.StatusOK; lives != c.lives {
		t.Errorf("there is a session: %v, want %v", lives, c.lives)
	}
	b.logged(c.level, c.fault)
}

// tryIn goes through sign-in as far as the provider and the site let it, and returns the
// last page.
func (b *browser) tryIn(subject string, between func(*fixture)) answer {
	b.t.Helper()
	a := b.get("/login?return=/annotations")
	if a.Request.URL.Host != strings.TrimPrefix(b.idp, "http://") || a.StatusCode != http.StatusOK {
		return a
	}
	form := a.form(b.t, "/login", func(v url.Values) bool { return v.Get("subject") == subject })
	if between != nil {
		between(b.fixture)
	}
	return b.post(b.idp+"/login", form)
}

var logLine = regexp.MustCompile(`(?m)^time=\S+ level=(INFO|WARN|ERROR) msg="(?:sign-in|request) refused".*$`)

// logged wants one line about a refusal in the log, with that level and that fault. It
// wants none if level is empty.
func (b *fixture) logged(level, fault string) {
	b.t.Helper()
	lines := logLine.FindAllStringSubmatch(b.log.String(), -1)
	if level == "" {
		if len(lines) > 0 {
			b.t.Errorf("the log says %q", lines[0][0])
		}
		return
	}
	if len(lines) != 1 {
		b.t.Errorf("the log has %d lines of what was refused, want one:\n%s", len(lines), b.log)
		return
	}
	if line := lines[0]; line[1] != level || fault != "" && !strings.Contains(line[0], "fault="+fault+" ") {
		b.t.Errorf("the log says %q, want %s and fault %q", line[0], level, fault)
	}
}

// TestARefusalOfManyIsNotChangedByOne fails to keep a sign-in after a refusal. Others have
// the same refusal, because all who wait for the provider share one error.
func TestARefusalOfManyIsNotChangedByOne(t *testing.T) {
	store := &ailing{SessionStore: newMemoryStore(10)}
	b := newFixture(t, func(_ *Config, d *Deps) { d.Logins = store })
	store.away.Store(true)
	cause := errors.New("the provider is away")
	r := &signin.Refusal{Blame: signin.BlameProvider, Status: http.StatusServiceUnavailable, Err: cause}
	lg, state := b.site.logins.begin("browser", "/account")
	err := b.site.again(t.Context(), lg, state, r, CallbackPath)
	if !errors.Is(err, cause) || !fault.Is(err, fault.Transient) || problemOf(err).link != loginLink("/account") {
		t.Errorf("got %v with the link %q, want both causes and the beginning", err, problemOf(err).link)
	}
	if r.Err != cause {
		t.Errorf("the refusal of all became %v", r.Err)
	}
}
