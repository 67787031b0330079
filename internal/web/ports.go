package web

import (
	"context"
	"iter"
	"time"

	"github.com/gas-restore/gas/internal/archive"
	"github.com/gas-restore/gas/pkg/events"
)

// Accounts is where users and their roles are kept. Users are keyed on the
// sub claim of their ID token, never on an e-mail address.
type Accounts interface {
	// Account returns the user's account, or a fault.NotFound error.
	Account(ctx context.Context, user events.UserID) (archive.Account, error)
	// AccountAndJob returns the account, or a fault.NotFound error, and a job,
	// anybody's, or the zero one if there is none.
	AccountAndJob(ctx context.Context, user events.UserID, id events.JobID) (archive.Account, archive.Job, error)
	// SignIn creates the account if its ID is unknown. An account that is there becomes
	// what [archive.Account.SignedIn] makes of it with former, or the error is that one's,
	// archive.ErrIssuer; nothing is written if nothing changes.
	SignIn(ctx context.Context, account archive.Account, former []string) error
	// SetRole gives the user a role as of at. changed is false if the user had
	// it already; then RoleChangedAt stays as it was. An unknown user is a
	// fault.NotFound error. With Premium, AnnounceDue and a plan are set in the same
	// write; with Free both are removed.
	SetRole(ctx context.Context, user events.UserID, role archive.Role, at time.Time) (changed bool, err error)
	// OpenPlan puts a plan on the account, if the account is as it was read and none
	// stands there; else the error is fault.Conflict.
	OpenPlan(ctx context.Context, account archive.Account, plan archive.Plan) error
	// Announced removes AnnounceDue if it is due.
	Announced(ctx context.Context, user events.UserID, due time.Time) error
	// Unannounced yields the accounts that have an AnnounceDue. An error ends it.
	Unannounced(ctx context.Context) iter.Seq2[archive.Account, error]
}

// Jobs reads the catalog.
type Jobs interface {
	// Select returns the user's jobs that the selection wants, and the cursors of
	// the pages around them; a page that is not full can have a next one. The cursor
	// comes back from a browser: one that Select did not make is a fault.Invalid
	// error, and whatever it says, no other user's job is returned.
	Select(ctx context.Context, user events.UserID, sel archive.Selection) (archive.Listing, error)
	// ArchivedPage returns some of the user's jobs that are in the vault, with
	// size, retrieval and state but perhaps without names, and the cursor of the
	// next, empty at the end. It may be seconds behind.
	ArchivedPage(ctx context.Context, user events.UserID, cursor string) (jobs []archive.Job, next string, err error)
	// HasArchived reports whether a result of the user is in the vault without
	// a retrieval that is under way.
	HasArchived(ctx context.Context, user events.UserID) (bool, error)
}

// Switches tells what operators have stopped, as of a moment ago.
type Switches interface {
	Switches(context.Context) (archive.Switches, error)
}

// Announcer tells the pipeline that a user became Premium.
type Announcer interface {
	// AnnounceUpgrade returns once the message is safe. The message names the plan that
	// stands on the account, and when the user became Premium: the user may have left
	// Premium again before the message comes. It may be called again for the same user: the
	// pipeline plans the archives that are left.
	AnnounceUpgrade(context.Context, events.UpgradeMessage) error
}

// Downloads hands out result files.
type Downloads interface {
	// Exists reports whether the object is there.
	Exists(ctx context.Context, object archive.Object) (bool, error)
	// PresignGet returns a short-lived URL of the object that a browser saves
	// as filename. The name has no quotes, slashes or control characters but
	// may have any letters: [mime.FormatMediaType] makes a header of it.
	PresignGet(ctx context.Context, object archive.Object, filename string) (url string, err error)
}

// Statuses is the stream of status changes.
type Statuses interface {
	// Position returns the position of the stream's last change, or the stream's
	// beginning if there is none. It knows when the stream was made anew.
	Position(ctx context.Context) (events.Position, error)
	// Follow yields everybody's changes later than after, in order, the kept ones
	// first and then as they come. It ends when ctx does, or after an error, which comes
	// within seconds when the stream is not after's any more. The site follows once,
	// whoever watches.
	Follow(ctx context.Context, after events.Position) iter.Seq2[Status, error]
	// Kept yields the user's changes later than after, up to upto, in order. Both are of
	// one stream: an error if that was made anew. An error ends it.
	Kept(ctx context.Context, user events.UserID, after, upto events.Position) iter.Seq2[Status, error]
	// Last returns the job's last change; ok is false if none is kept.
	Last(ctx context.Context, user events.UserID, job events.JobID) (e events.StatusChanged, ok bool, err error)
}

// Status is a change with its place in the stream.
type Status struct {
	Position events.Position
	events.StatusChanged
}

// Store keeps values that end by themselves. A key has the form "kind.hex" or
// "kind.hex.hex".
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
