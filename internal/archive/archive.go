// Package archive holds the nouns and rules of the restore pipeline: a job and
// its archive, the retrieval that brings it back, the states in between, the
// tiers and what follows on what, and the proof without which nothing is
// deleted. It does no I/O: it could run on paper.
package archive

import (
	"strings"
	"time"

	"github.com/gas-restore/gas/pkg/events"
)

// Role is what a user pays for.
type Role string

// The roles, as the account table spells them.
const (
	Free    Role = "free_user"
	Premium Role = "premium_user"
)

// Account is a user of the annotation service.
type Account struct {
	ID    events.UserID
	Name  string
	Email string
	// Issuer is the sign-in provider that vouched for the account's subject; empty if
	// nobody signed in to it since issuers are kept.
	Issuer string
	Role   Role
	// RoleChangedAt is when the role last changed; zero if it never did.
	RoleChangedAt time.Time
	// AnnounceDue is when the account became Premium, until the pipeline was told;
	// zero otherwise. It is written with the role, so that a crash between the two
	// is seen by whoever comes next.
	AnnounceDue time.Time
	// Plan is the plan that stands, open or held; nil if none does.
	Plan *Plan
	// PlansOpened counts the plans that messages and audits opened. It is how who opens
	// one finds that another was opened since the account was read, and is over already.
	PlansOpened int
	// Unreadable names each attribute of the account that the catalog has in a way that
	// means nothing here, with what is wrong; empty if there is none. No plan is opened on
	// such an account.
	Unreadable string
}

// Object names an object in S3.
type Object struct {
	Bucket string
	Key    string
}

// String returns the object's s3:// URL.
func (o Object) String() string { return "s3://" + o.Bucket + "/" + o.Key }

// Intent says that a worker is about to request a retrieval. It is written
// before the request, because Glacier offers no way to make one idempotent.
type Intent struct {
	// Token is unique to the attempt.
	Token string
	At    time.Time
	// Plan is the plan that the request is of.
	Plan string
	// Ordered says that an operator wants this one archive, whatever its user pays for.
	Ordered bool
	// Due is when something should have been heard of the request. It is written, and
	// read as [Job.Due].
	Due time.Time
	// Used says that Glacier may have been asked under it, for a retrieval that came to
	// nothing since. Its try is spent, and whoever takes it over has one more. It is not
	// kept: whoever looked at Glacier's list knows.
	Used bool
}

// Job is an annotation job as the catalog has it.
type Job struct {
	ID            events.JobID
	UserID        events.UserID
	SubmittedAt   time.Time
	InputFileName string
	// Status is the annotator's own: PENDING, RUNNING, COMPLETED or FAILED.
	Status      string
	CompletedAt time.Time
	// Result is where the result file belongs, Log where its log is.
	Result Object
	Log    Object

	// ArchiveID is set while the result is in the vault and not in S3.
	ArchiveID events.ArchiveID
	// ArchiveSize is in bytes; -1 if the catalog does not know it.
	ArchiveSize int64
	// TreeHash is the archive's, in lower-case hex; empty if unknown.
	TreeHash string

	// Intent is set from just before a retrieval is requested until its id is
	// saved.
	Intent *Intent
	// RetrievalID is set from when the retrieval's id is saved until the file
	// is restored. While it is there the web page says [Restoring].
	RetrievalID events.RetrievalID
	// Tier is what the retrieval was requested with.
	Tier Tier
	// RetrievalRequestedAt is when.
	RetrievalRequestedAt time.Time
	// Billed is what all retrievals of this job have cost by the price list, and
	// BilledTier the tier of the latest. They stay when the file is restored.
	Billed     MicroUSD
	BilledTier Tier

	// History is what was tried to bring this archive back.
	History History
	// Ordered says that an operator wants this one archive, whatever its user pays for.
	Ordered bool
	// Due is when something should have been heard of the request or the retrieval;
	// zero if neither is under way.
	Due time.Time
	// Nudges counts how often a sweep saw to the request or the retrieval.
	Nudges int
	// RestoredBy is the retrieval that brought the file back the last time.
	RestoredBy events.RetrievalID
	// Unreadable names each attribute of the job that the catalog has in a way that means
	// nothing here, with what is wrong. Nothing is asked for, put or deleted for such a job.
	Unreadable []string
}

// Restoring is what a user reads in place of a download link while
// retrieval_request_id is in the catalog. Other systems look for this very
// sentence.
const Restoring = "File is being restored. Please check back later."

// State is how far a job's archive is on its way back: a state of the events, or one of a
// job that has nothing in the vault.
type State = events.State

// The states. The first seven are derived from the catalog by [Job.State]; the
// others are moments that only the STATUS stream tells of.
const (
	// Pending: the annotator has not finished, there is no result yet.
	Pending State = "pending"
	// Errored: the annotator failed, there will be no result.
	Errored State = "errored"
	// Archived: in the vault, its owner is a Free user.
	Archived = events.StateArchived
	// Planned: in the vault, its owner is Premium, no retrieval is known yet.
	Planned = events.StatePlanned
	// Requested: Glacier is working on it.
	Requested = events.StateRequested
	// Available: in S3. Never archived or back again, nobody needs to know.
	Available State = "available"
	// Unclear: the catalog does not say where the file is. It has something that means
	// nothing here, see [Job.Unreadable], or neither an archive nor an object's key.
	Unclear State = "unclear"

	Ready     = events.StateReady
	Copying   = events.StateCopying
	Verifying = events.StateVerifying
	Restored  = events.StateRestored
	Failed    = events.StateFailed
	Expired   = events.StateExpired
)

// Doubt returns an error text that names each attribute of the job that the catalog has
// in a way that means nothing here; empty if there is none.
func (j Job) Doubt() string { return strings.Join(j.Unreadable, "; ") }

// State derives the job's state from the catalog; owner is its user's role.
func (j Job) State(owner Role) State {
	switch {
	case j.RetrievalID != "":
		return Requested
	case j.ArchiveID != "" && (j.Intent != nil || owner == Premium):
		return Planned
	case j.ArchiveID != "":
		return Archived
	case len(j.Unreadable) > 0, j.Status == "COMPLETED" && j.Result.Key == "":
		return Unclear
	case j.Status == "COMPLETED":
		return Available
	case j.Status == "FAILED":
		return Errored
	default:
		return Pending
	}
}

// Retrieval is a Glacier archive-retrieval job as Glacier describes it.
type Retrieval struct {
	ID        events.RetrievalID
	ArchiveID events.ArchiveID
	// Description is the job_id that the retrieval was requested with.
	Description string
	Tier        Tier
	Status      RetrievalStatus
	// Reason is Glacier's message for the status.
	Reason string
	// Size and TreeHash are the archive's.
	Size        int64
	TreeHash    string
	RequestedAt time.Time
	CompletedAt time.Time
	// Cost is what it costs by the price list; zero where that is not known.
	Cost MicroUSD
}

// Due returns when the retrieval should have been heard of: the longest that its
// tier typically takes after the request. If the tier is unknown, it is the longest that
// any tier takes: a retrieval that is paid for is saved in any case.
func (r Retrieval) Due() time.Time {
	_, longest, err := r.Tier.Typically()
	if err != nil {
		for _, t := range tiers {
			longest = max(longest, t.to)
		}
	}
	return r.RequestedAt.Add(longest)
}

// Usable reports whether the retrieval has brought the archive, or still may:
// it did not fail, and its output is there for a while yet.
func (r Retrieval) Usable(now time.Time) bool {
	switch r.Status {
	case RetrievalFailed:
		return false
	case Succeeded:
		return now.Sub(r.CompletedAt) < OutputLifetime-time.Hour
	}
	return true
}

// RetrievalStatus is Glacier's StatusCode.
type RetrievalStatus = events.RetrievalStatus

// Glacier's status codes.
const (
	InProgress      = events.RetrievalInProgress
	Succeeded       = events.RetrievalSucceeded
	RetrievalFailed = events.RetrievalFailed
)

// OutputLifetime is how long a retrieval's output can be downloaded at least.
const OutputLifetime = 24 * time.Hour
