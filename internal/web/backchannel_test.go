package web

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gofiber/fiber/v3"

	"github.com/gas-restore/gas/internal/fault"
	localidp "github.com/gas-restore/gas/internal/local/idp"
	"github.com/gas-restore/gas/pkg/events"
)

// sendLogout is the provider's call of the back channel.
func (b *fixture) sendLogout(token string) answer {
	b.t.Helper()
	return b.browser().post(backChannelPath, url.Values{"logout_token": {token}})
}

// logoutEvent is the member that makes a token a logout token.
const logoutEvent = "http://schemas.openid.net/event/backchannel-logout"

var tokenID atomic.Int64

// logoutToken returns a logout token that ends all of ada's sessions. The claims in
// change replace claims of the token; nil leaves a claim out.
func (b *fixture) logoutToken(typ string, change map[string]any) string {
	b.t.Helper()
	claims := map[string]any{
		"iss": b.idp, "aud": "gas", "sub": "ada", "jti": fmt.Sprint(tokenID.Add(1)),
		"iat": b.clock.Now().Unix(), "exp": b.clock.Now().Add(time.Minute).Unix(),
		"events": map[string]any{logoutEvent: map[string]any{}},
	}
	for k, v := range change {
		if claims[k] = v; v == nil {
			delete(claims, k)
		}
	}
	raw, err := b.provider.Sign(typ, claims)
	if err != nil {
		b.t.Fatal(err)
	}
	return raw
}

func (b *browser) isIn() bool {
	b.t.Helper()
	return b.still().get("/annotations").StatusCode == http.StatusOK
}

// TestAWaveOfSignOutsEndsEverySession sends many logout tokens at once from one address. A
// provider sends each once, and many providers do not try again.
func TestAWaveOfSignOutsEndsEverySession(t *testing.T) {
	b := newFixture(t)
	const wave = 200
	browsers := make([]*browser, wave)
	for i := range browsers {
		browsers[i] = b.signedIn(events.UserID(fmt.Sprint("user", i)), fmt.Sprint("s", i))
	}
	bystander := b.signedIn("bob", "bob's")
	var all sync.WaitGroup
	for i := range wave {
		token := b.logoutToken("logout+jwt", map[string]any{"sub": fmt.Sprint("user", i), "sid": fmt.Sprint("s", i)})
		all.Go(func() {
			if a := b.sendLogout(token); a.StatusCode != http.StatusOK {
				t.Errorf("sign-out %d is answered %s", i, a.Status)
			}
		})
	}
	all.Wait()
	live := 0
	for _, br := range browsers {
		if br.isIn() {
			live++
		}
	}
	if live > 0 || !bystander.isIn() {
		t.Errorf("%d of %d sessions live on, the bystander's %v", live, wave, bystander.isIn())
	}
}

func TestMoreSignOutsThanABoundAreToldToComeAgain(t *testing.T) {
	b := newFixture(t, func(c *Config, _ *Deps) { c.Rate = 0.02 })
	ada := b.signedIn("ada", "")
	if a := b.sendLogout(b.logoutToken("", map[string]any{"sub": "nobody"})); a.StatusCode != http.StatusOK {
		t.Fatalf("the first is answered %s", a.Status)
	}
	a := b.sendLogout(b.logoutToken("", nil))
	if a.StatusCode != http.StatusTooManyRequests || a.Header.Get("Retry-After") == "" {
		t.Errorf("the second is answered %s and Retry-After %q, want 429 and some", a.Status, a.Header.Get("Retry-After"))
	}
	if !ada.isIn() { // the site's own requests have a bound of their own
		t.Error("what was refused ended a session")
	}
}

func TestTheTypeOfALogoutTokenIsChecked(t *testing.T) {
	b := newFixture(t)
	for typ, want := range map[string]int{
		"": 200, "JWT": 200, "jwt": 200, "logout+jwt": 200, "LOGOUT+JWT": 200, "application/logout+jwt": 200, "application/jwt": 200,
		"at+jwt": 400, "secevent+jwt": 400, "id_token": 400, "logout": 400, "JWE": 400, "logout+jwt ": 400,
	} {
		ada := b.signedIn("ada", "")
		if got := b.sendLogout(b.logoutToken(typ, nil)).StatusCode; got != want {
			t.Errorf("type %q is answered %d, want %d", typ, got, want)
		}
		if in := ada.isIn(); in != (want == 400) {
			t.Errorf("type %q: the session lives: %v", typ, in)
		}
	}
}

func TestALogoutTokenThatIsNotClearEndsNothing(t *testing.T) {
	b := newFixture(t)
	ada := b.signedIn("ada", "s1")
	for name, change := range map[string]map[string]any{
		"a session that is a number": {"sid": 7},
		"a session that is empty":    {"sid": ""},
		"a session that is null":     {"sid": []any{}},
		"an id that is a number":     {"jti": 7},
		"a time that is text":        {"iat": "now"},
		"no time":                    {"iat": nil},
		"no end":                     {"exp": nil},
		"a nonce that is null":       {"nonce": []any{}},
		"for others":                 {"aud": []string{"another", "other"}},
		"a subject that is a number": {"sub": 7},
		"events that are a list":     {"events": []any{logoutEvent}},
	} {
		if got := b.sendLogout(b.logoutToken("", change)).StatusCode; got != http.StatusBadRequest {
			t.Errorf("%s: is answered %d, want 400", name, got)
		}
	}
	if !ada.isIn() {
		t.Error("one of them ended a session")
	}
	for name, change := range map[string]map[string]any{
		"one for several clients": {"aud": []string{"other", "gas"}},
		"an event beside it":      {"events": map[string]any{logoutEvent: map[string]any{}, "x": 7}},
		"a claim of a wrong type": {"email": 7, "at_hash": 7, "_claim_names": 7},
		"a clock that is ahead":   {"iat": b.clock.Now().Add(time.Minute).Unix()},
		"that ended a minute ago": {"exp": b.clock.Now().Add(-time.Minute).Unix()},
	} {
		v := b.signedIn("ada", "")
		if got := b.sendLogout(b.logoutToken("", change)).StatusCode; got != http.StatusOK || v.isIn() {
			t.Errorf("%s: is answered %d, want 200; the session lives: %v", name, got, v.isIn())
		}
	}
}

// TestALogoutTokenThatComesAgainEndsNoSessionOfLater sends a token twice, with a new
// session in between. The provider may have lost our answer, or somebody has kept the
// token.
func TestALogoutTokenThatComesAgainEndsNoSessionOfLater(t *testing.T) {
	for name, later := range map[string]time.Duration{"in the same second": 0, "two minutes later": 2 * time.Minute} {
		for _, sid := range []any{nil, "s1"} {
			t.Run(fmt.Sprintf("%s, sid %v", name, sid), func(t *testing.T) {
				b := newFixture(t, func(c *Config, d *Deps) {
					store := newMemoryStore(1000)
					store.now, d.Sessions = c.Now, store
				})
				first := b.signedIn("ada", "s1")
				token := b.logoutToken("logout+jwt", map[string]any{"sid": sid})
				if got := b.sendLogout(token).StatusCode; got != http.StatusOK || first.isIn() {
					t.Fatalf("the token is answered %d, the session lives: %v", got, first.isIn())
				}
				b.clock.Add(later)
				second := b.signedIn("ada", "s1") // the provider's session goes on, under its name
				if got := b.sendLogout(token).StatusCode; got != http.StatusOK {
					t.Errorf("the token is answered %d the second time, want 200", got)
				}
				if !second.isIn() {
					t.Error("the token that came again ended a session of later")
				}
			})
		}
	}
}

// TestALateLogoutTokenLeavesWhoSignedInSince sends a token late: its user has signed in
// again by then.
func TestALateLogoutTokenLeavesWhoSignedInSince(t *testing.T) {
	var at atomic.Int64
	b := newFixtureWith(t, func(c *localidp.Config) {
		c.Claims = func(claims map[string]any) { claims["iat"] = at.Load() }
	})
	at.Store(b.clock.Now().Unix())
	old := b.browser()
	old.signIn("ada", "/annotations")
	token := b.logoutToken("logout+jwt", map[string]any{"iat": at.Load() + 10})
	at.Add(20)
	since := b.browser()
	since.signIn("ada", "/annotations")
	if got := b.sendLogout(token).StatusCode; got != http.StatusOK {
		t.Fatalf("the token is answered %d", got)
	}
	if old.isIn() || !since.isIn() {
		t.Errorf("the session from before lives: %v, the one of later: %v", old.isIn(), since.isIn())
	}
}

// TestALogoutTokenThatCannotBeVerifiedNowMayComeAgain lets a part of the provider or of the
// site fail. The token stays valid all the same.
func TestALogoutTokenThatCannotBeVerifiedNowMayComeAgain(t *testing.T) {
	inBubble(t, func(t *testing.T, n *network) {
		store := &ailing{SessionStore: newMemoryStore(1000)}
		b := newFixtureOn(t, n, nil, func(_ *Config, d *Deps) { d.Sessions = store })
		for name, trouble := range map[string]struct {
			begin, end func()
			line       string // of the log
		}{
			"the keys answer 503": {
				func() {
					b.rotate("ES256", false)
					b.provider.SetMood(localidp.Keys, localidp.Mood{Status: 503})
				},
				func() { b.provider.SetMood(localidp.Keys, localidp.Mood{}) },
				`level=WARN msg="sign-out refused" .* fault=provider `,
			},
			"discovery answers 503, which would announce the algorithm": {
				func() {
					b.rotate("RS256", false)
					b.provider.SetMood(localidp.Discovery, localidp.Mood{Status: 503})
				},
				func() { b.provider.SetMood(localidp.Discovery, localidp.Mood{}) },
				`level=WARN msg="sign-out refused" .* fault=provider `,
			},
			"the sessions are away": {func() { store.away.Store(true) }, func() { store.away.Store(false) }, `level=ERROR msg="request refused" .* path=/backchannel-logout `},
		} {
			ada := b.signedIn("ada", "")
			trouble.begin()
			token := b.logoutToken("logout+jwt", nil)
			a := b.sendLogout(token)
			if a.StatusCode != http.StatusServiceUnavailable || a.Header.Get("Retry-After") == "" {
				t.Errorf("%s: is answered %s and Retry-After %q, want 503 and some", name, a.Status, a.Header.Get("Retry-After"))
			}
			if !regexp.MustCompile(trouble.line).MatchString(b.log.String()) {
				t.Errorf("%s: the log has no line of %s:\n%s", name, trouble.line, b.log)
			}
			trouble.end()
			if !ada.isIn() {
				t.Errorf("%s: the session ended all the same", name)
			}
			b.pauseIsOver()
			a = b.sendLogout(token)
			if a.StatusCode != http.StatusOK || ada.isIn() {
				t.Errorf("%s: then it is answered %s, and the session lives: %v", name, a.Status, ada.isIn())
			}
		}
	})
}

// ailing is a store that can fail, like JetStream.
type ailing struct {
	SessionStore
	away atomic.Bool
}

func (a *ailing) err() error {
	if a.away.Load() {
		return fault.New(fault.Transient, errors.New("jetstream is away"))
	}
	return nil
}

func (a *ailing) Get(ctx context.Context, key string) ([]byte, error) {
	if err := a.err(); err != nil {
		return nil, err
	}
	return a.SessionStore.Get(ctx, key)
}

func (a *ailing) Set(ctx context.Context, key string, value []byte, exp time.Duration) error {
	return errors.Join(a.err(), a.SessionStore.Set(ctx, key, value, exp))
}

func (a *ailing) Delete(ctx context.Context, key string) error {
	if err := a.err(); err != nil {
		return err
	}
	return a.SessionStore.Delete(ctx, key)
}

func (a *ailing) Keys(ctx context.Context, prefix string) ([]string, error) {
	if err := a.err(); err != nil {
		return nil, err
	}
	return a.SessionStore.Keys(ctx, prefix)
}

// TestEveryPageSaysTryAgainWhileTheSessionsAreAway asks for all addresses while the store
// of the sessions, or that of the logins, is away.
func TestEveryPageSaysTryAgainWhileTheSessionsAreAway(t *testing.T) {
	sessions, logins := &ailing{SessionStore: newMemoryStore(1000)}, &ailing{SessionStore: newMemoryStore(1000)}
	b := newFixture(t, func(c *Config, d *Deps) {
		d.Sessions, d.Logins = sessions, logins
		c.Rate = 1000
	})
	ada, stranger := b.signedIn("ada", "s1"), b.browser()
	callback := b.browser()
	back := callback.callback("ada")
	form := ada.get("/account").form(t, "/logout", nil)
	token := b.logoutToken("", nil)
	try := func(what string, do func() answer) {
		t.Helper()
		a := do()
		if a.StatusCode != http.StatusServiceUnavailable || a.Header.Get("Retry-After") == "" {
			t.Errorf("%s answers %s and Retry-After %q, want 503 and some", what, a.Status, a.Header.Get("Retry-After"))
		}
	}
	sessions.away.Store(true)
	for _, r := range b.site.app.GetRoutes(true) {
		if r.Path == "/assets/:name" || r.Path == CallbackPath || r.Path == backChannelPath || r.Path == apiPath+"/openapi.json" || r.Path == "/favicon.ico" || r.Path == "/.well-known/security.txt" {
			continue // asks for no session, or is below
		}
		if r.Method == fiber.MethodGet && pageOf(r.Path) != r.Path {
			continue // leads to the page of a form
		}
		path := r.Path
		switch r.Method {
		case fiber.MethodGet:
			try("GET "+path, func() answer { return ada.still().get(path) })
		case fiber.MethodPost:
			try("POST "+path, func() answer { return ada.still().post(path, form) })
		}
	}
	try("the back channel", func() answer { return b.sendLogout(token) })
	try("the callback, at its session", func() answer { return callback.still().get(back) })
	sessions.away.Store(false)
	logins.away.Store(true)
	try("the link to sign in", func() answer { return stranger.still().get("/login") })
	try("the callback, at its login", func() answer { return callback.still().get(back) })
	logins.away.Store(false)
	if !ada.isIn() {
		t.Error("the session is gone")
	}
}
