package localidp

import (
	"errors"
	"net/http"
	"net/url"
	"slices"
	"testing"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"
)

// exchange signs somebody in and redeems the code.
func (b *fixture) exchange() (*oauth2.Token, error) {
	b.t.Helper()
	verifier := oauth2.GenerateVerifier()
	q := b.signIn("bob", verifier, "n")
	return b.oauth.Exchange(b.ctx, q.Get("code"), oauth2.VerifierOption(verifier))
}

func (b *fixture) idToken() string {
	b.t.Helper()
	tok, err := b.exchange()
	if err != nil {
		b.t.Fatal(err)
	}
	raw, _ := tok.Extra("id_token").(string)
	return raw
}

func (b *fixture) verify(raw string) (*oidc.IDToken, error) {
	b.t.Helper()
	p, err := oidc.NewProvider(b.ctx, b.issuer)
	if err != nil {
		b.t.Fatal(err)
	}
	return p.Verifier(&oidc.Config{ClientID: "gas web"}).Verify(b.ctx, raw)
}

func TestARotationKeepsOrRevokesTheKeysFromBefore(t *testing.T) {
	for _, algorithm := range []string{"RS512", "ES256"} {
		for _, keep := range []bool{true, false} {
			b := newFixture(t)
			old := b.idToken()
			if err := b.provider.Rotate(algorithm, keep); err != nil {
				t.Fatal(err)
			}
			if _, err := b.verify(b.idToken()); err != nil {
				t.Errorf("%s, keep %v: a token of the new key: %v", algorithm, keep, err)
			}
			if _, err := b.verify(old); (err == nil) != keep {
				t.Errorf("%s, keep %v: a token of the old key: %v", algorithm, keep, err)
			}
			raw, err := b.provider.Sign("logout+jwt", map[string]any{"iss": b.issuer, "aud": "gas web", "exp": time.Now().Add(time.Minute).Unix()})
			if err != nil {
				t.Fatal(err)
			}
			if _, err := b.verify(raw); err != nil {
				t.Errorf("%s, keep %v: what was signed by hand: %v", algorithm, keep, err)
			}
		}
	}
	if err := newFixture(t).provider.Rotate("HS256", true); err == nil {
		t.Error("HS256 is taken")
	}
}

func TestAClientAuthenticatesAsItIsRegistered(t *testing.T) {
	for _, post := range []bool{false, true} {
		for _, style := range []oauth2.AuthStyle{oauth2.AuthStyleInHeader, oauth2.AuthStyleInParams} {
			b := newFixture(t, func(c *Config) { c.Clients[0].Post = post })
			b.oauth.Endpoint.AuthStyle = style
			_, err := b.exchange()
			if want := post == (style == oauth2.AuthStyleInParams); (err == nil) != want {
				t.Errorf("post %v, style %v: %v", post, style, err)
			}
			if refused, ok := errors.AsType[*oauth2.RetrieveError](err); err != nil && (!ok || refused.ErrorCode != "invalid_client") {
				t.Errorf("post %v, style %v: refused with %v, want invalid_client", post, style, err)
			}
			var meta struct {
				Methods []string `json:"token_endpoint_auth_methods_supported"`
			}
			if err := b.oidc.Claims(&meta); err != nil || slices.Contains(meta.Methods, "client_secret_post") != post || !slices.Contains(meta.Methods, "client_secret_basic") {
				t.Errorf("post %v: announces %q, %v", post, meta.Methods, err)
			}
		}
	}
}

func TestIDTokensHaveTheClaimsThatAreWanted(t *testing.T) {
	b := newFixture(t, func(c *Config) {
		c.Clients[0].Audience = []string{"another"}
		c.Claims = func(claims map[string]any) { claims["email"] = 7 }
	})
	id, err := b.verify(b.idToken())
	if err != nil {
		t.Fatal(err)
	}
	var claims struct {
		Email any
		AZP   string
	}
	if err := id.Claims(&claims); err != nil || claims.Email != 7.0 || claims.AZP != "gas web" {
		t.Errorf("claims are %+v, %v", claims, err)
	}
	if !slices.Contains(id.Audience, "another") || !slices.Contains(id.Audience, "gas web") {
		t.Errorf("the audience is %q", id.Audience)
	}
}

func TestAMoodAnswersAsOftenAsItSays(t *testing.T) {
	b := newFixture(t)
	b.provider.SetMood(Token, Mood{Status: 429, RetryAfter: 7, Times: 2})
	for range 2 {
		_, err := b.exchange()
		refused, ok := errors.AsType[*oauth2.RetrieveError](err)
		if !ok || refused.Response.StatusCode != 429 || refused.Response.Header.Get("Retry-After") != "7" {
			t.Fatalf("the token endpoint answers %v", err)
		}
	}
	if _, err := b.exchange(); err != nil {
		t.Errorf("after two answers: %v", err)
	}
	if got := b.provider.Asked(Token); got != 3 {
		t.Errorf("the token endpoint was asked %d times, want 3", got)
	}
	b.provider.SetMood(Token, Mood{Error: "temporarily_unavailable"})
	_, err := b.exchange()
	if refused, ok := errors.AsType[*oauth2.RetrieveError](err); !ok || refused.ErrorCode != "temporarily_unavailable" || refused.Response.StatusCode != 400 {
		t.Errorf("the token endpoint answers %v", err)
	}

	b.provider.SetMood(Authorize, Mood{Error: "server_error"})
	resp, err := b.http.Get(b.oauth.AuthCodeURL("st"))
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if got, want := resp.Header.Get("Location"), callback+"?"+(url.Values{"error": {"server_error"}, "state": {"st"}}).Encode(); got != want {
		t.Errorf("a browser is led to %q, want %q", got, want)
	}

	b.provider.SetMood(Keys, Mood{Hang: true})
	impatient := &http.Client{Transport: b.http.Transport, Timeout: 20 * time.Millisecond}
	if resp, err := impatient.Get(b.issuer + string(Keys)); err == nil {
		resp.Body.Close()
		t.Errorf("an endpoint that hangs answers %s", resp.Status)
	}
}
