package web

import (
	"context"
	"io"
	"iter"
	"time"

	"github.com/gas-restore/gas/internal/archive"
	"github.com/gas-restore/gas/pkg/events"
)

// Accounts has the users and their roles. The key of a user is the sub claim of the ID
// token, never an e-mail address.
type Accounts interface {
	// Account returns the user's account, or a fault.NotFound error.
	Account(ctx context.Context, user events.UserID) (archive.Account, error)
	// AccountAndJob returns the account, or a fault.NotFound error, and the job called id. The
	// job may be anybody's. It is zero if there is no such job.
	AccountAndJob(ctx context.Context, user events.UserID, id events.JobID) (archive.Account, archive.Job, error)
	// SignIn makes the account if there is none. Otherwise the account becomes what
	// [archive.Account.SignedIn] returns for it and former. The error may be
	// archive.ErrIssuer. SignIn writes nothing if nothing changes.
	SignIn(ctx context.Context, account archive.Account, former []string) error
	// SetRole gives the user a role as of at. changed is false if the user has the role
	// already; then RoleChangedAt stays as it was. An unknown user is a fault.NotFound error.
	// With the role Premium, SetRole sets AnnounceDue and a plan in the same write. With Free
	// it removes both.
	SetRole(ctx context.Context, user events.UserID, role archive.Role, at time.Time) (changed bool, err error)
	// OpenPlan puts a plan on the account. The error is fault.Conflict if the account has a
	// plan, or is not any more as it was read.
	OpenPlan(ctx context.Context, account archive.Account, plan archive.Plan) error
	// SetFirst makes the job the first one of the user's plan, or none if job is empty. The error
	// is fault.Conflict if the account has not this plan.
	SetFirst(ctx context.Context, user events.UserID, plan string, job events.JobID) error
	// Announced removes AnnounceDue if it is still due.
	Announced(ctx context.Context, user events.UserID, due time.Time) error
	// Unannounced yields the accounts that have an AnnounceDue. An error ends the sequence.
	Unannounced(ctx context.Context) iter.Seq2[archive.Account, error]
}

// Jobs reads the catalog.
type Jobs interface {
	// Select returns the user's jobs that the selection asks for, and the cursors of the pages
	// around them. A page that is not full can have a next one. The cursor comes from a
	// browser. A cursor that Select did not make is a fault.Invalid error. Select never returns
	// another user's job, even if the cursor names one.
	Select(ctx context.Context, user events.UserID, sel archive.Selection) (archive.Listing, error)
	// ArchivedPage returns some of the user's jobs in the vault, with size, retrieval and
	// state, but perhaps without names. It also returns the cursor of the next page, which is
	// empty at the end. The answer may be seconds old. A cursor that ArchivedPage did not make
	// is a fault.Invalid error.
	ArchivedPage(ctx context.Context, user events.UserID, cursor string) (jobs []archive.Job, next string, err error)
	// HasArchived reports whether a result of the user is in the vault and has no retrieval.
	HasArchived(ctx context.Context, user events.UserID) (bool, error)
}

// Switches tells what operators have stopped, as of a moment ago.
type Switches interface {
	Switches(context.Context) (archive.Switches, error)
}

// Announcer tells the pipeline that a user became Premium.
type Announcer interface {
	// AnnounceUpgrade returns as soon as the message is safe. The message names the plan on
	// the account, and the time at which the user became Premium: the user may have left
	// Premium before the message arrives. The same upgrade may be announced again: the
	// pipeline plans the archives that are left.
	AnnounceUpgrade(context.Context, events.UpgradeMessage) error
}

// Lane takes tasks of the pipeline that do not wait behind others.
type Lane interface {
	// Publish returns as soon as the task is safe.
	Publish(context.Context, events.Event) error
}

// Downloads hands out result files.
type Downloads interface {
	// Stat describes the object, or returns a fault.NotFound error.
	Stat(ctx context.Context, object archive.Object) (archive.Found, error)
	// Read opens the object that Stat found, from offset on. The error is fault.Conflict if
	// another object is there by now.
	Read(ctx context.Context, found archive.Found, offset int64) (io.ReadCloser, error)
	// PresignGet returns a URL of the object that works for the time valid, or less if the
	// credentials of the site end before. A browser can resume a download for so long. It saves the
	// object as filename. The name has no quotes, slashes or control characters, but letters
	// of any script: [mime.FormatMediaType] makes a header with the name.
	PresignGet(ctx context.Context, object archive.Object, filename string, valid time.Duration) (url string, err error)
}

// Statuses is the stream of status changes.
type Statuses interface {
	// Position returns the position of the stream's last change, or the stream's beginning if
	// there is none. A stream that was made anew has another incarnation.
	Position(ctx context.Context) (events.Position, error)
	// Follow yields the changes of all users later than after, in order: first those that are
	// kept, and then new ones as they come. It ends with ctx or after an error. If after
	// belongs to another stream, the error comes within seconds. The site follows once,
	// however many people watch.
	Follow(ctx context.Context, after events.Position) iter.Seq2[Status, error]
	// Kept yields the user's changes later than after, up to upto, in order. Both are
	// positions of one stream. If the stream was made anew, Kept yields an error. An error
	// ends the sequence.
	Kept(ctx context.Context, user events.UserID, after, upto events.Position) iter.Seq2[Status, error]
	// Last returns the last change of the user's job. ok is false if the stream has none.
	Last(ctx context.Context, user events.UserID, job events.JobID) (e events.StatusChanged, ok bool, err error)
}

// Letters finds the dead letters: what the pipeline gave up, and an operator has to look at.
type Letters interface {
	// Letter returns the last letter of the work that e would be, as of a moment ago. e is a
	// UserUpgraded with its user, a ThawRequested with its user and job, or a
	// RetrievalCompleted with its job. ok is false if there is no letter.
	Letter(ctx context.Context, e events.Event) (letter events.DeadLetter, ok bool, err error)
}

// Status is a change with its position in the stream.
type Status struct {
	Position events.Position
	events.StatusChanged
}

// Store keeps values for a limited time. A key has the form "kind.hex" or "kind.hex.hex".
type Store interface {
	// Get returns the value at key. It is nil if there is none, or if its time is over.
	Get(ctx context.Context, key string) ([]byte, error)
	// Set keeps value at key for ttl.
	Set(ctx context.Context, key string, value []byte, ttl time.Duration) error
	// Delete forgets the value at key, if there is one.
	Delete(ctx context.Context, key string) error
}

// SessionStore is a Store that can list its keys.
type SessionStore interface {
	Store
	// Keys returns the keys that begin with prefix. The prefix ends with a dot. Keys that
	// were deleted may be among them.
	Keys(ctx context.Context, prefix string) ([]string, error)
}
