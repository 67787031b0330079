package signin

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/gas-restore/gas/internal/text"
	"github.com/gas-restore/gas/pkg/events"
)

// Access is what an access token says.
type Access struct {
	User events.UserID
	// Until is when the token expires.
	Until time.Time
}

// ErrScope means that an access token is right, and does not have the scope.
var ErrScope = errors.New("the access token does not have the scope")

// maxAccess is the longest access token in bytes.
const maxAccess = 8 << 10

// VerifyAccess returns what an access token says (RFC 9068). The token is a JWT that the
// provider has signed for the audience, and has the scope. The error is a [Refusal] if the
// provider's keys could not be read, and ErrScope if only the scope is missing. Any other error
// means that the token is wrong.
func (p *Provider) VerifyAccess(ctx context.Context, raw, audience, scope string) (Access, error) {
	if raw == "" || len(raw) > maxAccess || audience == "" || scope == "" {
		return Access{}, errors.New("the access token is missing or too long, or the site takes none")
	}
	d, err := p.discover(ctx)
	if err != nil {
		return Access{}, err
	}
	token, err := p.verifyFor(ctx, d, raw, audience)
	if err != nil {
		return Access{}, fmt.Errorf("verify the access token: %w", err)
	}
	switch {
	case !slices.Contains([]string{"at+jwt", "jwt", ""}, strings.TrimPrefix(strings.ToLower(token.typ), "application/")):
		return Access{}, fmt.Errorf("the token's type is %q", text.Clip(token.typ, 100))
	case token.all["nonce"] != nil, token.all["at_hash"] != nil, token.all["events"] != nil:
		// An ID token or a logout token must not pass for an access token, whatever its audience.
		return Access{}, errors.New("the token is no access token")
	}
	if err := events.CheckID("sub", token.Subject); err != nil {
		return Access{}, fmt.Errorf("read the access token: %w", err)
	}
	if !slices.Contains(scopesOf(token.all), scope) {
		return Access{}, ErrScope
	}
	return Access{User: events.UserID(token.Subject), Until: token.Expiry}, nil
}

// scopesOf returns the scopes of a token. RFC 9068 has them in one text; some providers have a
// list, or another name.
func scopesOf(all fields) (scopes []string) {
	for _, name := range []string{"scope", "scp"} {
		scopes = append(append(scopes, strings.Fields(all.text(name))...), all.texts(name)...)
	}
	return scopes
}
