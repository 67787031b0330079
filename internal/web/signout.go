package web

import (
	"cmp"
	"context"
)

// signOut ends the session, and returns where sign-out goes on: at the provider, or on the
// start page.
func (s *Server) signOut(ctx context.Context, sess *session) (string, error) {
	if err := s.sessions.end(ctx, sess.token); err != nil {
		return "", err
	}
	s.streams.leave(hashOf(sess.token))
	s.audit(ctx, "signed out", "user", sess.User)
	return cmp.Or(s.provider.SignOutURL(ctx, sess.IDToken, s.origin+"/"), "/"), nil
}
