package web

import (
	"cmp"
	"errors"
	"log/slog"
	"net/http"
	"net/url"
	"time"

	"github.com/gas-restore/gas/internal/fault"
	"github.com/gas-restore/gas/internal/signin"
)

// problem is an error with the words for the user.
type problem struct {
	status   int
	title    string
	sentence string
	link     string
	linkText string
	// retry is a Retry-After in seconds.
	retry int
	// challenge is a WWW-Authenticate; it may be empty.
	challenge string
	// blame says who is at fault if sign-in or sign-out was refused. The text in what is the
	// line of the log; empty means "sign-in refused".
	blame signin.Blame
	what  string
	err   error
}

func (p *problem) Error() string {
	if p.err != nil {
		return p.err.Error()
	}
	return p.sentence
}

func (p *problem) Unwrap() error { return p.err }

var errNotFound = &problem{
	status: http.StatusNotFound, title: "There is no such page",
	sentence: "It may have moved, or the address may have a typo.",
	link:     "/", linkText: "Go to the start page",
}

// errTooMany asks somebody to slow down.
var errTooMany = &problem{
	status: http.StatusTooManyRequests, title: "Slow down, please",
	sentence: "That was a lot in a short time. Wait a moment and try again.", retry: 5,
}

// signedOut answers a form of somebody who is not signed in any more.
func signedOut(back string) error {
	return &problem{
		status: http.StatusUnauthorized, title: "You are signed out",
		sentence: "Nothing was changed. Please sign in and try again.",
		link:     loginLink(back), linkText: "Sign in",
	}
}

// loginLink is the address of sign-in that leads back to path.
func loginLink(path string) string { return "/login?return=" + url.QueryEscape(path) }

// problemOfStatus returns the words for err. Fiber answers err with status. It is nil if
// the status says nothing to the user.
func problemOfStatus(status int, err error) *problem {
	switch {
	case status == http.StatusNotFound:
		return errNotFound
	case status == http.StatusRequestEntityTooLarge:
		return &problem{status: status, title: "That is too much", sentence: "The request is larger than this site takes.", err: err}
	case status == http.StatusMethodNotAllowed:
		return &problem{status: status, title: "That does not work here", sentence: "This address does not take this kind of request.", link: "/", linkText: "Go to the start page", err: err}
	case status < 500:
		return &problem{status: status, title: "The request cannot be read", sentence: "Your browser sent something that this site does not understand.", link: "/", linkText: "Go to the start page", err: err}
	}
	return nil
}

// problemOfKind returns the words for an error that has none.
func problemOfKind(err error) *problem {
	switch fault.KindOf(err) {
	case fault.NotFound:
		return errNotFound
	case fault.Invalid:
		return &problem{status: http.StatusBadRequest, title: "The request cannot be read", sentence: "The address may be incomplete or out of date.", link: "/annotations", linkText: "Go to your annotations", err: err}
	case fault.Transient, fault.Throttled:
		return &problem{status: http.StatusServiceUnavailable, title: "One moment, please", sentence: "A part of the service does not answer at the moment. Please try again in a minute.", retry: 5, err: err}
	}
	return &problem{status: http.StatusInternalServerError, title: "Something went wrong on our side", sentence: "Your files are not affected. If it happens again, our team needs the request id below.", link: "/", linkText: "Go to the start page", err: err}
}

// usualRetry is when to try again if the provider does not say.
const usualRetry = 5 * time.Second

// problemOfRefusal returns the words for r. again is the address of another try.
func problemOfRefusal(r *signin.Refusal, again string) *problem {
	p := &problem{status: r.Status, blame: r.Blame, err: r}
	switch {
	case r.Blame == signin.BlameSetUp:
		p.title, p.link, p.linkText = "Sign-in is not set up right", "/", "Go to the start page"
		p.sentence = "It is not your fault, and trying again does not help. Those who run this site find in their log what is wrong: tell them the request id below."
	case r.Blame == signin.BlameProvider:
		p.title, p.link, p.linkText = "Sign-in is not available", again, "Try again"
		p.sentence = "The sign-in service does not answer as it should at the moment. Please try again in a minute."
		p.retry = int(cmp.Or(r.After, usualRetry) / time.Second)
	case r.Status == http.StatusForbidden:
		p.title, p.link, p.linkText = "You are not signed in", again, "Sign in again"
		p.sentence = "The sign-in service did not let you in, or you changed your mind."
	default:
		p.title, p.link, p.linkText = "Sign-in stopped", again, "Sign in again"
		p.sentence = "This sign-in has expired, was used already, or began in another browser. Please sign in again."
	}
	return p
}

// refuse returns the words for err if it is a refusal, and err itself if it is not.
func refuse(err error, again string) error {
	if r, ok := errors.AsType[*signin.Refusal](err); ok {
		return problemOfRefusal(r, again)
	}
	return err
}

// levelOf returns how loud the log is about a refusal.
func levelOf(b signin.Blame) slog.Level {
	switch b {
	case signin.BlamePerson:
		return slog.LevelInfo
	case signin.BlameProvider:
		return slog.LevelWarn
	}
	return slog.LevelError
}
