package web

import (
	"cmp"
	"errors"
	"slices"
	"time"

	"github.com/gas-restore/gas/internal/signin"
)

// Meter counts what the site does. Its labels come from fixed lists: [Server.Routes],
// [SignIns] and [Cuts].
type Meter interface {
	// Request is called after each request. route is one of [Server.Routes], or
	// [OtherRoute].
	Request(route string, status int, took time.Duration)
	// SignIn is called at the end of each sign-in, with one of [SignIns].
	SignIn(outcome string)
	// Stream is called with 1 when a live stream begins, and with -1 when it ends.
	Stream(change int)
	// Cut is called when the site itself ends a live stream early, with one of [Cuts].
	Cut(why string)
}

// OtherRoute is the route of a request that matches none.
const OtherRoute = "other"

// SignedIn is the outcome of a sign-in that succeeded.
const SignedIn = "ok"

// SignIns returns the outcomes of sign-ins: [SignedIn], or who is at fault.
func SignIns() []string {
	return []string{SignedIn, signin.BlameNobody.String(), signin.BlamePerson.String(), signin.BlameProvider.String(), signin.BlameSetUp.String()}
}

// The reasons for which the site ends a live stream.
const (
	cutSlow      = "slow"       // the browser does not keep up
	cutAnew      = "anew"       // the stream of changes was made anew
	cutTooMany   = "too many"   // the session has more streams than it may have
	cutSignedOut = "signed out" // the session ended
	cutStopping  = "stopping"   // the process stops
)

// Cuts returns the reasons for which the site ends a live stream.
func Cuts() []string { return []string{cutSlow, cutAnew, cutTooMany, cutSignedOut, cutStopping} }

// Routes returns the routes of the site, "GET /annotation/:id" for example.
func (s *Server) Routes() []string { return s.routeNames }

// routeNamesOf returns the names of the app's routes. HEAD counts as GET.
func (s *Server) routeNamesOf() (names []string) {
	for _, r := range s.app.GetRoutes(true) {
		if name := routeName(r.Method, r.Path); r.Method != "HEAD" && !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

func routeName(method, path string) string {
	if method == "HEAD" {
		method = "GET"
	}
	return method + " " + path
}

// measure tells the meter about a request.
func (s *Server) measure(method, path string, answered int, err error, took time.Duration) {
	if err != nil {
		answered = problemOf(err).status
	}
	route := routeName(method, path)
	if _, known := slices.BinarySearch(s.routeNames, route); !known || answered == 404 && path == "/" {
		route = OtherRoute
	}
	s.cfg.Meter.Request(route, answered, took)
	if route != "GET /login" && route != "GET "+CallbackPath {
		return
	}
	switch p, _ := errors.AsType[*problem](err); {
	case err != nil && p == errTooMany:
	case err != nil && p != nil:
		s.cfg.Meter.SignIn(p.blame.String())
	case err != nil:
		s.cfg.Meter.SignIn(signin.BlameNobody.String())
	case path == CallbackPath:
		s.cfg.Meter.SignIn(SignedIn)
	}
}

// noMeter counts nothing.
type noMeter struct{}

func (noMeter) Request(string, int, time.Duration) {}
func (noMeter) SignIn(string)                      {}
func (noMeter) Stream(int)                         {}
func (noMeter) Cut(string)                         {}

func meterOf(m Meter) Meter { return cmp.Or[Meter](m, noMeter{}) }
