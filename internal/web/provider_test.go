package web

import (
	"errors"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	localidp "github.com/gas-restore/gas/internal/local/idp"
)

// rotate gives the provider another key and algorithm. This comes some time after the last
// lookup: otherwise the site waits before the next one.
func (b *fixture) rotate(algorithm string, keep bool) {
	b.t.Helper()
	b.pauseIsOver()
	if err := b.provider.Rotate(algorithm, keep); err != nil {
		b.t.Error(err)
	}
}

// pauseIsOver lets the site look the provider up again at once.
func (b *fixture) pauseIsOver() { b.clock.Add(time.Second) }

// TestAProviderThatRotatesKeyAndAlgorithmUnderThirtySignInsKeepsNobodyOut lets thirty
// people come back from the provider at once. Its key and algorithm changed after they had
// left, and change twice more while they come in. The site asks the provider a few times,
// not thirty.
func TestAProviderThatRotatesKeyAndAlgorithmUnderThirtySignInsKeepsNobodyOut(t *testing.T) {
	inBubble(t, func(t *testing.T, n *network) {
		b := newFixtureOn(t, n, nil)
		first := b.browser()
		first.wants(first.signIn("ada", "/annotations"), 200, "Your annotations")
		const people = 30
		browsers, callbacks := make([]*browser, people), make([]string, people)
		for i := range people {
			browsers[i] = b.browser()
			callbacks[i] = browsers[i].callback("ada")
		}
		before := b.provider.Asked(localidp.Keys)
		b.rotate("ES256", false) // earlier signatures are not valid any more
		answers := make([]answer, people)
		var all sync.WaitGroup
		for i := range people {
			all.Go(func() {
				switch i {
				case people / 3:
					b.rotate("RS256", true)
				case 2 * people / 3:
					b.rotate("RS512", true)
				}
				answers[i] = browsers[i].get(callbacks[i])
			})
		}
		all.Wait()
		for i, a := range answers {
			browsers[i].wants(a, 200, "Your annotations")
		}
		// One lookup for each rotation, and one that had begun before it.
		if asked := b.provider.Asked(localidp.Keys) - before; asked < 1 || asked > 6 {
			t.Errorf("the keys were requested %d times, want 1 to 6", asked)
		}
		first.wants(first.get("/annotations"), 200)
	})
}

// TestASignInThatTheProviderCouldNotFinishIsFinishedLater tries the same address again, as
// the page says.
func TestASignInThatTheProviderCouldNotFinishIsFinishedLater(t *testing.T) {
	for name, tt := range map[string]struct {
		endpoint localidp.Endpoint
		rotated  bool
		mood     localidp.Mood
		tokens   int // requests to the token endpoint in the end
	}{
		"the token endpoint answers 429":                     {localidp.Token, false, localidp.Mood{Status: 429, Times: 1}, 2},
		"the token endpoint answers temporarily_unavailable": {localidp.Token, false, localidp.Mood{Error: "temporarily_unavailable", Times: 1}, 2},
		"the keys answer 503":                                {localidp.Keys, true, localidp.Mood{Status: 503, Times: 1}, 1},
		// For as long as the site waits: time is left to keep it.
		"the token endpoint hangs": {localidp.Token, false, localidp.Mood{Hang: true, Times: 1}, 2},
		"the keys hang":            {localidp.Keys, true, localidp.Mood{Hang: true, Times: 1}, 1},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, n *network) {
				b := newFixtureOn(t, n, nil)
				ada := b.browser()
				callback := ada.callback("ada")
				b.provider.SetMood(tt.endpoint, tt.mood)
				if tt.rotated {
					b.rotate("ES256", false)
				}
				refused := ada.get(callback)
				ada.wants(refused, 503, unavailable)
				if !strings.Contains(refused.body, "Try again") || !strings.Contains(refused.body, "/callback?") {
					t.Errorf("the page does not lead back: %s", refused.body)
				}
				b.pauseIsOver()
				ada.wants(ada.get(callback), 200, "Your annotations")
				if got := b.provider.Asked(localidp.Token); got != tt.tokens {
					t.Errorf("the token endpoint was asked %d times, want %d", got, tt.tokens)
				}
				ada.wants(ada.get(callback), 400, stopped)
			})
		})
	}
}

// TestAKeptIDTokenIsNotGoodForever lets an ID token expire that was kept for another try.
func TestAKeptIDTokenIsNotGoodForever(t *testing.T) {
	b := newFixtureWith(t, claims(map[string]any{"exp": time.Now().Add(time.Minute).Unix()}))
	ada := b.browser()
	callback := ada.callback("ada")
	b.rotate("ES256", false)
	b.provider.SetMood(localidp.Keys, localidp.Mood{Status: 503})
	ada.wants(ada.get(callback), 503, unavailable)
	b.provider.SetMood(localidp.Keys, localidp.Mood{})
	b.clock.Add(9 * time.Minute)
	b.pauseIsOver()
	ada.wants(ada.get(callback), 400, stopped)
	if got := b.provider.Asked(localidp.Token); got != 1 {
		t.Errorf("the token endpoint was asked %d times, want 1", got)
	}
}

func TestTheSecretGoesWhereTheProviderTakesIt(t *testing.T) {
	for name, tt := range map[string]struct {
		post, spend bool
		secret      Secret
		first       int // status of the first sign-in
		asked       []int
	}{
		"in the header": {false, false, clientSecret, 200, []int{1, 2}},
		"in the form":   {true, false, clientSecret, 200, []int{2, 3}},
		"in the form, and the first try is spent": {true, true, clientSecret, 503, []int{2, 3}},
		"nowhere": {true, false, "wrong", 500, []int{2, 4}},
	} {
		t.Run(name, func(t *testing.T) {
			b := newFixtureWith(t, func(c *localidp.Config) {
				c.Clients[0].Post, c.Clients[0].Spend = tt.post, tt.spend
				// Both are announced as soon as one client has post.
				c.Clients = append(c.Clients, localidp.Client{ID: "x", Secret: "x", RedirectURIs: c.Clients[0].RedirectURIs, Post: true})
			}, func(c *Config, _ *Deps) { c.ClientSecret = tt.secret })
			status := tt.first
			for i, asked := range tt.asked {
				v := b.browser()
				a := v.tryIn("ada", nil)
				v.wants(a, status)
				if got := b.provider.Asked(localidp.Token); got != asked {
					t.Errorf("after sign-in %d the token endpoint was asked %d times, want %d", i, got, asked)
				}
				if status == 503 {
					if strings.Contains(a.body, CallbackPath) {
						t.Errorf("the page leads back to a code that is spent: %s", a.body)
					}
					status = 200 // the way is known now
				}
			}
		})
	}
}

// TestASecretThatChangedNeedsNoRestart reads the secret at each sign-in. The site remembers
// no wrong or unreadable secret.
func TestASecretThatChangedNeedsNoRestart(t *testing.T) {
	secret, trouble := "old", error(nil)
	b := newFixtureWith(t, func(*localidp.Config) {}, func(c *Config, _ *Deps) {
		c.ClientSecret = ""
		c.SecretFrom = func() (string, error) { return secret, trouble }
	})
	v := b.browser()
	v.wants(v.tryIn("ada", nil), http.StatusInternalServerError)
	secret = clientSecret
	v = b.browser()
	v.wants(v.tryIn("ada", nil), http.StatusOK)
	trouble = errors.New("the file is gone")
	v = b.browser()
	v.wants(v.tryIn("ada", nil), http.StatusInternalServerError)
}

func TestASignInDoesWithoutUserinfo(t *testing.T) {
	nameless := claims(map[string]any{"name": nil, "email": nil})
	t.Run("that hangs", func(t *testing.T) {
		inBubble(t, func(t *testing.T, n *network) {
			b := newFixtureOn(t, n, nameless)
			b.provider.SetMood(localidp.UserInfo, localidp.Mood{Hang: true})
			begun := time.Now()
			ada := b.browser()
			ada.wants(ada.signIn("ada", "/annotations"), 200, "Your annotations")
			if took := time.Since(begun); took > requestTimeout/2 {
				t.Errorf("the sign-in took %s of %s", took, requestTimeout)
			}
		})
	})
	for name, tt := range map[string]struct{ answer, name, email string }{
		"that is well":                   {"", "Ada Lovelace", "ada@example.org"},
		"of another":                     {`{"sub":"bob","name":"Bob"}`, "", ""},
		"with an address of wrong type":  {`{"sub":"ada","name":"Ada","email":7,"profile":{},"email_verified":[]}`, "Ada", ""},
		"with a name of wrong type":      {`{"sub":"ada","name":7,"email":"a@example.org"}`, "", "a@example.org"},
		"that is HTML":                   {"<html>", "", ""},
		"with a subject of a wrong type": {`{"sub":7,"name":"Ada"}`, "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			b := newFixtureWith(t, nameless)
			if tt.answer != "" {
				b.provider.SetMood(localidp.UserInfo, localidp.Mood{Status: 200, Body: tt.answer})
			}
			b.browser().signIn("ada", "/annotations")
			b.ports.change(func() {
				if a := b.ports.accounts["ada"]; a.Name != tt.name || a.Email != tt.email {
					t.Errorf("the account is %+v, want %q and %q", a, tt.name, tt.email)
				}
			})
		})
	}
}

func TestNameAndAddressAreThoseOfTheLastSignIn(t *testing.T) {
	name, email := "Ada", "ada@example.org"
	b := newFixtureWith(t, func(c *localidp.Config) {
		c.Claims = func(claims map[string]any) { claims["name"], claims["email"] = name, email }
	})
	for range 2 {
		ada := b.browser()
		ada.wants(ada.signIn("ada", "/annotations"), 200)
		b.ports.change(func() {
			if a := b.ports.accounts["ada"]; a.Name != name || a.Email != email || a.Issuer != b.idp {
				t.Errorf("the account is %+v, want %q, %q and %q", a, name, email, b.idp)
			}
		})
		name, email = "Ada King", "king@example.org"
	}
}

// TestAProviderThatStaysBusyIsNotAskedForEver tries one code a few times.
func TestAProviderThatStaysBusyIsNotAskedForEver(t *testing.T) {
	b := newFixture(t)
	ada := b.browser()
	callback := ada.callback("ada")
	b.provider.SetMood(localidp.Token, localidp.Mood{Status: 429})
	for range maxTries {
		ada.wants(ada.get(callback), 503, unavailable)
	}
	ada.wants(ada.get(callback), 400, stopped)
	if got := b.provider.Asked(localidp.Token); got != maxTries {
		t.Errorf("the token endpoint was asked %d times, want %d", got, maxTries)
	}
}

// TestUserinfoIsNotAskedForWithoutAnAccessToken tries a sign-in again. The access token is
// not kept for that.
func TestUserinfoIsNotAskedForWithoutAnAccessToken(t *testing.T) {
	b := newFixtureWith(t, claims(map[string]any{"name": nil}))
	ada := b.browser()
	callback := ada.callback("ada")
	b.rotate("ES256", false)
	b.provider.SetMood(localidp.Keys, localidp.Mood{Status: 503, Times: 1})
	ada.wants(ada.get(callback), 503, unavailable)
	b.pauseIsOver()
	ada.wants(ada.get(callback), 200, "Your annotations")
	if asked := b.provider.Asked(localidp.UserInfo); asked != 0 {
		t.Errorf("userinfo was requested %d times, want 0", asked)
	}
}
