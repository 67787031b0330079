package archive

import (
	"errors"
	"fmt"
	"slices"
)

// ErrIssuer means that somebody signs in from another sign-in provider than the
// account's: the same subject at another provider is another person.
var ErrIssuer = errors.New("the account belongs to another issuer")

// SignedIn returns the account after its user signed in as seen: with the issuer, and
// with the name and e-mail address if they are known. An account without an issuer takes
// the first one. Another issuer than the account's is ErrIssuer, unless the account's is
// in former: the subjects of a former issuer are the same people as those of the new one.
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
