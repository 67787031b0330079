package web

import (
	"cmp"
	"context"
)

// endDevices ends the viewer's session with the name, or all but this one if the name is empty.
func (s *Server) endDevices(ctx context.Context, v *viewer, id string) error {
	ended, err := s.sessions.endDevices(ctx, v.account.ID, id, v.session.token)
	for _, hash := range ended {
		s.streams.leave(hash)
	}
	if err != nil {
		return err
	}
	s.audit(ctx, "sessions ended", "user", v.account.ID, "sessions", len(ended))
	return nil
}

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
