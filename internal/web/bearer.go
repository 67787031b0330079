package web

import (
	"context"
	"errors"
	"net/http"
	"slices"

	"github.com/gas-restore/gas/internal/archive"
	"github.com/gas-restore/gas/internal/fault"
	"github.com/gas-restore/gas/internal/signin"
	"github.com/gas-restore/gas/internal/text"
	"github.com/gas-restore/gas/pkg/events"
)

// bearer returns the user for whom the provider made the access token, with the job called id
// unless that is empty.
func (s *Server) bearer(ctx context.Context, token string, id events.JobID) (*viewer, error) {
	access, err := s.provider.VerifyAccess(ctx, token, s.cfg.APIAudience, s.cfg.APIScope)
	refused := func(status int, code, sentence string, err error) (*viewer, error) {
		s.audit(ctx, "access token refused", "user", access.User, "reason", text.Clip(err.Error(), maxLogged))
		return nil, &problem{status: status, title: "The access token is refused", sentence: sentence, challenge: `Bearer error="` + code + `"`, err: err}
	}
	if r, ok := errors.AsType[*signin.Refusal](err); ok {
		return nil, problemOfRefusal(r, "/")
	}
	if errors.Is(err, signin.ErrScope) {
		return refused(http.StatusForbidden, "insufficient_scope", "The token needs the scope "+s.cfg.APIScope+".", err)
	}
	if err != nil {
		return refused(http.StatusUnauthorized, "invalid_token", "The token is not valid here, or not any more. Ask the sign-in provider for another one.", err)
	}
	v := &viewer{ends: access.Until}
	if id == "" {
		v.account, err = s.deps.Accounts.Account(ctx, access.User)
	} else {
		v.account, v.job, err = s.deps.Accounts.AccountAndJob(ctx, access.User, id)
	}
	if fault.Is(err, fault.NotFound) {
		return refused(http.StatusForbidden, "invalid_token", "There is no account for this token. Sign in at the site once.", err)
	}
	if err != nil {
		return nil, err
	}
	if issuer := v.account.Issuer; issuer != "" && issuer != s.cfg.Issuer && !slices.Contains(s.cfg.FormerIssuers, issuer) {
		return refused(http.StatusForbidden, "invalid_token", "The account belongs to another sign-in provider.", archive.ErrIssuer)
	}
	s.complete(ctx, v)
	return v, nil
}
