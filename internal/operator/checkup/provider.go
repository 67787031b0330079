package checkup

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"

	"github.com/gas-restore/gas/internal/web"
)

// provider checks the sign-in provider, and whether the provider knows the site. For this,
// it begins a sign-in in which the provider may ask nobody, and it asks about a token that
// does not exist.
func (l *look) provider(ctx context.Context) {
	const issuer, id, secret, base = "GAS_OIDC_ISSUER", "GAS_OIDC_CLIENT_ID", "GAS_OIDC_CLIENT_SECRET", "GAS_WEB_BASE_URL"
	if l.bad[issuer] {
		return
	}
	var found *oidc.Provider
	if err := l.try(ctx, func(ctx context.Context) (err error) {
		found, err = oidc.NewProvider(ctx, l.cfg.OIDCIssuer)
		return err
	}); err != nil {
		l.wrong(issuer, err.Error(), "set it to exactly the issuer that the provider's discovery document names")
		return
	}
	l.ok(issuer, "%s answers", l.cfg.OIDCIssuer)
	if l.bad[id] || l.bad[secret] || l.bad[secret+"_FILE"] || l.bad[base] {
		return
	}
	conf := oauth2.Config{
		ClientID: l.cfg.OIDCClientID, ClientSecret: l.cfg.OIDCSecret.Reveal(), Endpoint: found.Endpoint(),
		RedirectURL: strings.TrimSuffix(l.cfg.WebBaseURL, "/") + web.CallbackPath, Scopes: []string{oidc.ScopeOpenID},
	}
	var meta struct {
		Methods    []string `json:"token_endpoint_auth_methods_supported"`
		Introspect string   `json:"introspection_endpoint"`
		Revoke     string   `json:"revocation_endpoint"`
	}
	conf.Endpoint.AuthStyle = oauth2.AuthStyleInHeader
	if err := found.Claims(&meta); err == nil && meta.Methods != nil && !slices.Contains(meta.Methods, "client_secret_basic") {
		conf.Endpoint.AuthStyle = oauth2.AuthStyleInParams
	}
	known, why := l.asksNobody(ctx, conf)
	taken, whyNot := Unproven, ""
	for _, endpoint := range []string{meta.Introspect, meta.Revoke} {
		if endpoint != "" && taken == Unproven {
			taken, whyNot = l.asksOfNothing(ctx, conf, endpoint)
		}
	}
	if taken == Unproven {
		taken, whyNot = l.redeemsNothing(ctx, conf)
	}
	const register = "register the site with the provider: its id, its secret, and "
	switch {
	case known == Wrong && taken == Wrong:
		l.wrong(id, fmt.Sprintf("the provider does not know client %q: %s", conf.ClientID, whyNot), "set it to the id that the provider gave the site")
	case taken == Wrong:
		l.wrong(secret, fmt.Sprintf("the provider refuses client %q with it: %s", conf.ClientID, whyNot), "set it to the secret that the provider gave the site")
	case known == Wrong:
		l.wrong(base, fmt.Sprintf("the provider does not send anybody back to %s: %s", conf.RedirectURL, why), register+conf.RedirectURL)
	default:
		if taken == OK {
			l.ok(id, "the provider knows client %q", conf.ClientID)
			l.ok(secret, "the provider accepts it")
		} else {
			l.unproven(secret, whyNot, "")
		}
		if known == OK {
			l.ok(base, "the provider sends people back to %s", conf.RedirectURL)
		} else {
			l.unproven(base, why, register+conf.RedirectURL)
		}
	}
}

// asksNobody begins a sign-in in which the provider may ask nobody (prompt=none). A
// provider that knows the client and its address sends the error to that address. Other
// providers show the error themselves.
func (l *look) asksNobody(ctx context.Context, conf oauth2.Config) (State, string) {
	link := conf.AuthCodeURL("gas-check", oauth2.SetAuthURLParam("prompt", "none"), oauth2.S256ChallengeOption(oauth2.GenerateVerifier()), oidc.Nonce("gas-check"))
	client := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	var state State
	var words string
	err := l.try(ctx, func(ctx context.Context) error {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, link, nil)
		if err != nil {
			return err
		}
		resp, err := client.Do(req)
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		body, _ := io.ReadAll(io.LimitReader(resp.Body, 200))
		to, _ := resp.Location()
		switch back, _ := url.Parse(conf.RedirectURL); {
		case to != nil && to.Host == back.Host && to.Path == back.Path:
			state = OK
		case resp.StatusCode >= 400 && resp.StatusCode < 500 && resp.StatusCode != http.StatusTooManyRequests:
			state, words = Wrong, strings.TrimSpace(fmt.Sprintf("%s %s", resp.Status, body))
		default:
			state, words = Unproven, fmt.Sprintf("whether the provider sends people back to %s: it answers %s", conf.RedirectURL, resp.Status)
		}
		return nil
	})
	if err != nil {
		return Unproven, "whether the provider knows the site: " + err.Error()
	}
	return state, words
}

// asksOfNothing asks whether a token that does not exist is good (RFC 7662), or asks to
// revoke it (RFC 7009). Both check the client's secret first, and then have no reason to
// refuse.
func (l *look) asksOfNothing(ctx context.Context, conf oauth2.Config, endpoint string) (State, string) {
	form := url.Values{"token": {"gas-check"}}
	if conf.Endpoint.AuthStyle == oauth2.AuthStyleInParams {
		form.Set("client_id", conf.ClientID)
		form.Set("client_secret", conf.ClientSecret)
	}
	var state State
	var words string
	err := l.try(ctx, func(ctx context.Context) error {
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, endpoint, strings.NewReader(form.Encode()))
		if err != nil {
			return err
		}
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		if conf.Endpoint.AuthStyle == oauth2.AuthStyleInHeader {
			req.SetBasicAuth(url.QueryEscape(conf.ClientID), url.QueryEscape(conf.ClientSecret))
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		body, _ := io.ReadAll(io.LimitReader(resp.Body, 1000))
		switch {
		case resp.StatusCode == http.StatusOK:
			state = OK
		case resp.StatusCode == http.StatusUnauthorized || strings.Contains(string(body), "invalid_client"):
			state, words = Wrong, strings.TrimSpace(fmt.Sprintf("%s %s", resp.Status, body))
		default:
			state, words = Unproven, fmt.Sprintf("whether the provider accepts the client's secret: it answers %s", resp.Status)
		}
		return nil
	})
	if err != nil {
		return Unproven, "whether the provider accepts the client's secret: " + err.Error()
	}
	return state, words
}

// redeemsNothing sends a code that the provider never issued. A provider that checks the
// client's secret first may refuse the client (RFC 6749, 5.2); one that checks the code
// first does not.
func (l *look) redeemsNothing(ctx context.Context, conf oauth2.Config) (State, string) {
	err := l.try(ctx, func(ctx context.Context) error {
		_, err := conf.Exchange(ctx, "gas-check", oauth2.VerifierOption(oauth2.GenerateVerifier()))
		return err
	})
	refused, ok := errors.AsType[*oauth2.RetrieveError](err)
	switch {
	case ok && (refused.ErrorCode == "invalid_client" || refused.ErrorCode == "unauthorized_client" || refused.Response.StatusCode == http.StatusUnauthorized):
		return Wrong, strings.TrimSpace(refused.ErrorCode + " " + refused.ErrorDescription)
	}
	return Unproven, fmt.Sprintf("whether the provider accepts the client's secret: it answers %v", err)
}
