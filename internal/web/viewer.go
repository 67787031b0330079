package web

import (
	"context"
	"net/http"
	"slices"
	"time"

	"github.com/gas-restore/gas/internal/archive"
	"github.com/gas-restore/gas/internal/fault"
	"github.com/gas-restore/gas/pkg/events"
)

// viewer is the person who looks at a page.
type viewer struct {
	// session is nil for a program with an access token. Then ends is when the token ends.
	session *session
	ends    time.Time
	account archive.Account
	// job is the job that the address names. It may be anybody's. It is zero if the address
	// names none, or if there is no such job. One call reads it with the account.
	job archive.Job
	// of is the viewer as the owner of files, for the time of the request.
	of owner
	// halt says why the pipeline requests none of the user's files.
	halt halt
}

// owner is the viewer as the owner of files.
func (v *viewer) owner() owner { return v.of }

// Name is how the page addresses the viewer.
func (v *viewer) Name() string {
	switch {
	case v.account.Name != "":
		return v.account.Name
	case v.account.Email != "":
		return v.account.Email
	}
	return string(v.account.ID)
}

// ID is the subject that the provider vouches for.
func (v *viewer) ID() events.UserID { return v.account.ID }

// Email is the viewer's address, if the provider told it.
func (v *viewer) Email() string { return v.account.Email }

// Tabs returns a name for the tabs of the session. The name tells nothing about the
// session.
func (v *viewer) Tabs() string { return hashOf("tabs " + v.session.token)[:16] }

// upgradeName is a name of the viewer's last change of plan. The name tells nothing about it.
func (v *viewer) upgradeName() string {
	return hashOf("seen " + string(v.account.ID) + " " + v.account.RoleChangedAt.UTC().Format(time.RFC3339Nano))[:16]
}

// Since is the time of the last change of the viewer's plan; zero if it never changed.
func (v *viewer) Since() time.Time { return v.account.RoleChangedAt }

// Until is when the session ends at the latest.
func (v *viewer) Until() time.Time { return v.until() }

// until is when the viewer's credentials end.
func (v *viewer) until() time.Time {
	if v.session == nil {
		return v.ends
	}
	return v.session.ExpiresAt
}

// History has the viewer's changes of plan, the last one first.
func (v *viewer) History() []planChange {
	var all []planChange
	for _, c := range slices.Backward(v.account.RoleChanges()) {
		name := "Free"
		if c.Role == archive.Premium {
			name = "Premium"
		}
		all = append(all, planChange{name, c.At})
	}
	return all
}

// planChange is a change of plan.
type planChange struct {
	Plan string
	At   time.Time
}

// Premium reports whether the viewer pays.
func (v *viewer) Premium() bool { return v.account.Role == archive.Premium }

// CSRF is the token that the viewer's forms carry. It is another text each time, because pages
// are compressed.
func (v *viewer) CSRF() string { return masked(v.session.CSRF) }

// ownJob returns the job that the address names, if it is the viewer's. For somebody else's
// job it says the same as for a job that never was.
func (v *viewer) ownJob() (archive.Job, error) {
	if v.job.ID == "" || v.job.UserID != v.account.ID {
		return archive.Job{}, &problem{
			status: http.StatusNotFound, title: "There is no such annotation",
			sentence: "None of your annotations has this address.",
			link:     "/annotations", linkText: "Go to your annotations",
		}
	}
	return v.job, nil
}

// viewerOf returns the person to whom the session's token belongs, with the job called id
// unless that is empty. It returns nil if nobody is signed in. It reads the role each time:
// a page never shows yesterday's plan. used says whether the person did something.
func (s *Server) viewerOf(ctx context.Context, token string, id events.JobID, used bool) (*viewer, error) {
	sess, err := s.sessions.find(ctx, token, used)
	if err != nil || sess == nil {
		return nil, err
	}
	v := &viewer{session: sess}
	if id == "" {
		v.account, err = s.deps.Accounts.Account(ctx, sess.User)
	} else {
		v.account, v.job, err = s.deps.Accounts.AccountAndJob(ctx, sess.User, id)
	}
	if fault.Is(err, fault.NotFound) {
		return nil, s.sessions.end(ctx, sess.token)
	}
	if err != nil {
		return nil, err
	}
	s.complete(ctx, v)
	return v, nil
}

// complete adds to the viewer what a request needs beside the account. It makes an announcement
// that is overdue.
func (s *Server) complete(ctx context.Context, v *viewer) {
	if account := v.account; s.overdue(account) {
		// Somebody crashed between the change of plan and its announcement.
		planned, err := s.planned(ctx, account)
		if err == nil {
			err = s.announce(ctx, planned)
		}
		if err != nil {
			s.log.Error("an upgrade is not announced yet", "user", account.ID, "err", err.Error())
		} else {
			s.audit(ctx, "upgrade announced", "user", account.ID, "again", true)
		}
	}
	v.halt = s.haltOf(ctx, v.account)
	v.of = s.ownerOf(ctx, v.account, v.halt)
}
