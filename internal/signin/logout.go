package signin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/gas-restore/gas/internal/text"
	"github.com/gas-restore/gas/pkg/events"
)

// logoutEvent is the member that makes a token a logout token.
const logoutEvent = "http://schemas.openid.net/event/backchannel-logout"

// MaxLogoutAge is how old a logout token may be. Clocks may differ by as much.
const MaxLogoutAge = 5 * time.Minute

// Logout is the content of a logout token.
type Logout struct {
	// ID names the token.
	ID string
	// User is empty if the token names only the provider's session. SID is empty if the
	// token means all sessions of the user.
	User events.UserID
	SID  string
	// At is when the provider made the token, by the provider's clock.
	At time.Time
}

// VerifyLogout returns what a logout token says (OpenID Connect Back-Channel Logout 1.0).
// The error is a [Refusal] if the provider's keys could not be read. Any other error
// means that the token is wrong.
func (p *Provider) VerifyLogout(ctx context.Context, raw string) (Logout, error) {
	if raw == "" || len(raw) > maxHint {
		return Logout{}, errors.New("the logout token is missing or too long")
	}
	d, err := p.discover(ctx)
	if err != nil {
		return Logout{}, err
	}
	token, err := p.verify(ctx, d, raw)
	if err != nil {
		return Logout{}, fmt.Errorf("verify the logout token: %w", err)
	}
	out := Logout{ID: token.all.text("jti"), SID: token.all.text("sid"), At: token.all.time("iat")}
	var happened, member map[string]json.RawMessage
	_, nonce := token.all["nonce"]
	_, sid := token.all["sid"]
	switch {
	case !slices.Contains([]string{"", "jwt", "logout+jwt"}, strings.TrimPrefix(strings.ToLower(token.typ), "application/")):
		// Section 2.4 recommends logout+jwt. Many providers send JWT, as with ID tokens, or
		// nothing. Any other type belongs to another kind of token.
		return Logout{}, fmt.Errorf("the token's type is %q", text.Clip(token.typ, 100))
	case json.Unmarshal(token.all["events"], &happened) != nil || json.Unmarshal(happened[logoutEvent], &member) != nil || member == nil:
		return Logout{}, errors.New("the token is no logout token")
	case nonce:
		// Section 2.4: an ID token must not pass for a logout token.
		return Logout{}, errors.New("the logout token has a nonce")
	case out.ID == "" || len(out.SID) > maxSID || sid && out.SID == "":
		return Logout{}, errors.New("the logout token has no id, or has a session that cannot be read")
	case out.At.IsZero() || p.age(out.At) > MaxLogoutAge:
		return Logout{}, errors.New("the logout token is too old, or from the future")
	}
	if token.Subject == "" && out.SID != "" {
		return out, nil
	}
	if err := events.CheckID("sub", token.Subject); err != nil {
		return Logout{}, fmt.Errorf("read the logout token: %w", err)
	}
	out.User = events.UserID(token.Subject)
	return out, nil
}
