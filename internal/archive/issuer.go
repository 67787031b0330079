package archive

import (
	"errors"
	"fmt"
	"slices"
)

// ErrIssuer means that somebody comes from another sign-in provider than the one that
// the account is of: the same subject of another is another person.
var ErrIssuer = errors.New("the account is of another issuer")

// SignedIn returns the account as it is after its person signed in as seen: with the
// issuer, and with the name and e-mail address that are known. An account without an
// issuer takes the first that comes. One of another issuer is ErrIssuer, unless that is
// among former, whose subjects are the same people as seen's issuer's.
func (a Account) SignedIn(seen Account, former []string) (Account, error) {
	if a.Issuer != "" && a.Issuer != seen.Issuer && !slices.Contains(former, a.Issuer) {
		return a, fmt.Errorf("sign in to account %q, of %s, from %s: %w", a.ID, a.Issuer, seen.Issuer, ErrIssuer)
	}
	if seen.Issuer != "" {
		a.Issuer = seen.Issuer
	}
	if seen.Name != "" {
		a.Name = seen.Name
	}
	if seen.Email != "" {
		a.Email = seen.Email
	}
	return a, nil
}
