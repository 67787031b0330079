package checkup_test

import (
	"crypto/rand"
	"crypto/rsa"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/sns"

	"github.com/gas-restore/gas/internal/aws/awsclient"
	"github.com/gas-restore/gas/internal/aws/awsestate"
	"github.com/gas-restore/gas/internal/config"
	"github.com/gas-restore/gas/internal/estate"
	localidp "github.com/gas-restore/gas/internal/local/idp"
	"github.com/gas-restore/gas/internal/operator/checkup"
	"github.com/gas-restore/gas/internal/test/testenv"
)

// site is where the web site of the tests is said to be.
const site = "http://127.0.0.1:8080"

// fixture is everything that a checkup looks at, and right.
type fixture struct {
	*testenv.AWS
	t *testing.T
	// topics, queues and their names by channel.
	topics, queues map[string]string
	account        *awsestate.Account
	vars           []string
	// rewrite, if set, changes what AWS answers.
	rewrite func(operation, answer string) string
}

// signingKey is the key of all providers here: to make one takes longer than most tests.
var signingKey = sync.OnceValue(func() *rsa.PrivateKey {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err)
	}
	return key
})

// outside is what all tests share: NATS and a sign-in provider.
type outside struct{ nats, issuer string }

func shared(t *testing.T) outside {
	t.Helper()
	ns := testenv.NATS(t)
	var h http.Handler
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { h.ServeHTTP(w, r) }))
	t.Cleanup(srv.Close)
	p, err := localidp.New(localidp.Config{
		Issuer: srv.URL, Clients: []localidp.Client{{ID: "gas", Secret: "word", RedirectURIs: []string{site + "/callback"}}},
		People: []localidp.Person{{Subject: "fern", Name: "Fern"}},
		Key:    signingKey(),
	})
	if err != nil {
		t.Fatal(err)
	}
	h = p
	return outside{ns.ClientURL(), srv.URL}
}

func newFixture(t *testing.T, o outside) *fixture {
	t.Helper()
	b := &fixture{AWS: testenv.NewAWS(t), t: t, topics: map[string]string{}, queues: map[string]string{}}
	b.account = awsestate.New(b.Config)
	for _, c := range estate.Channels() {
		topic, queue, err := b.account.MakeChannel(t.Context(), c, c.LocalName(), c.LocalName())
		if err != nil {
			t.Fatal(err)
		}
		b.topics[c.Name], b.queues[c.Name] = topic, queue
	}
	b.vars = []string{
		"GAS_NATS_URL=" + o.nats, "GAS_OIDC_ISSUER=" + o.issuer, "GAS_OIDC_CLIENT_ID=gas", "GAS_OIDC_CLIENT_SECRET=word", "GAS_WEB_BASE_URL=" + site,
		"GAS_PREMIUM_TOPIC_ARN=" + b.topics[estate.Premium], "GAS_RESTORE_TOPIC_ARN=" + b.topics[estate.Restore],
		"GAS_PREMIUM_QUEUE_URL=" + b.queues[estate.Premium], "GAS_RESTORE_QUEUE_URL=" + b.queues[estate.Restore],
		"GAS_WEB_LISTEN=127.0.0.1:0", "GAS_WEBHOOK_LISTEN=127.0.0.1:0",
	}
	return b
}

// RoundTrip is the way to the stand-in.
func (b *fixture) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := b.Transport().RoundTrip(r)
	if err != nil || b.rewrite == nil {
		return resp, err
	}
	body, err := io.ReadAll(resp.Body)
	resp.Body.Close()
	_, operation, _ := strings.Cut(r.Header.Get("X-Amz-Target"), ".")
	now := b.rewrite(operation, string(body))
	if now != string(body) {
		resp.Header.Del("X-Amz-Crc32")
	}
	resp.Body, resp.ContentLength = io.NopCloser(strings.NewReader(now)), int64(len(now))
	resp.Header.Del("Content-Length")
	return resp, err
}

// check looks at everything, with more variables over those that are right.
func (b *fixture) check(more ...string) []checkup.Finding {
	b.t.Helper()
	env := slices.Clone(b.vars)
	for _, m := range more {
		name, _, _ := strings.Cut(m, "=")
		env = append(slices.DeleteFunc(env, func(v string) bool { return strings.HasPrefix(v, name+"=") }), m)
	}
	cfg, err := config.From(env, checkup.Services()...)
	key, secret := b.Credentials()
	return checkup.Run(b.t.Context(), checkup.Options{
		Timeout: 700 * time.Millisecond, Environ: env, Config: cfg, ConfigErr: err,
		AWS: awsclient.Options{Region: b.Region(), Endpoint: b.Endpoint(), AccessKey: key, SecretKey: secret, Transport: b},
	})
}

// named checks that the break is told of what, with words and how to fix it, that
// nothing is told twice, and that nothing beside those in also is said to be wrong.
func (b *fixture) named(found []checkup.Finding, what, words string, also ...string) {
	b.t.Helper()
	seen := map[string]bool{}
	told := false
	for _, f := range found {
		if seen[f.What] {
			b.t.Errorf("%s is told of twice", f.What)
		}
		seen[f.What] = true
		switch {
		case f.What == what:
			told = true
			if f.State != checkup.Wrong || !strings.Contains(f.Words, words) || f.Fix == "" {
				b.t.Errorf("%s is %s: %q, to fix it: %q; want wrong, with %q and a fix", what, f.State, f.Words, f.Fix, words)
			}
		case f.State == checkup.Wrong && !slices.Contains(also, f.What):
			b.t.Errorf("beside %s, %s is wrong: %s", what, f.What, f.Words)
		}
	}
	if !told {
		b.t.Errorf("%s is not told of; found %+v", what, found)
	}
}

// confirmer takes webhooks' confirmations, as a bridge does.
func (b *fixture) confirmer() string {
	topics := sns.NewFromConfig(b.Config)
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var m struct{ Type, Token, TopicArn string }
		if err := json.NewDecoder(r.Body).Decode(&m); err == nil && m.Type == "SubscriptionConfirmation" {
			topics.ConfirmSubscription(r.Context(), &sns.ConfirmSubscriptionInput{TopicArn: &m.TopicArn, Token: &m.Token})
		}
	}))
	b.t.Cleanup(srv.Close)
	return srv.URL
}
