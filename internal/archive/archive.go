// Package archive has the nouns and rules of the restore pipeline: a job and its archive,
// the retrieval that brings it back, states, tiers, plans and budgets. It also has the
// proof without which nothing is deleted: only [Verify] and [Recognize] make a
// [Verified]. It does no I/O.
package archive

import (
	"cmp"
	"strconv"
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
	// Issuer is the sign-in provider of the account's user; empty if nobody has signed in
	// since the catalog stores issuers.
	Issuer string
	Role   Role
	// RoleChangedAt is the time of the last change of the role; zero if there was none.
	RoleChangedAt time.Time
	// RoleHistory has the last changes of the role, see [Account.RoleChanges]. It is for
	// people, and decides nothing.
	RoleHistory string
	// AnnounceDue is the time when the account became Premium, until the site has told
	// the pipeline; zero otherwise. It is written with the role, so a crash between the
	// two is seen later.
	AnnounceDue time.Time
	// Plan is the open or held plan; nil if there is none.
	Plan *Plan
	// PlansOpened counts the plans that messages and audits opened. It shows a writer
	// that another plan was opened, and perhaps closed, since the account was read.
	PlansOpened int
	// Unreadable names each attribute of the account that cannot be understood, with its
	// fault; empty if there is none. No plan is opened on such an account.
	Unreadable string
}

// RoleChange is a change of an account's role.
type RoleChange struct {
	Role Role
	At   time.Time
}

// maxRoleChanges is how many changes of its role an account keeps.
const maxRoleChanges = 20

// RoleChanges returns the last changes of the role, the earliest first. The account keeps
// them as pairs of a role and a time in Unix milliseconds, with spaces in between. The list
// ends before the first thing that cannot be understood.
func (a Account) RoleChanges() (changes []RoleChange) {
	words := strings.Fields(a.RoleHistory)
	for i := 0; i+1 < len(words); i += 2 {
		at, err := strconv.ParseInt(words[i+1], 10, 64)
		if err != nil || at <= 0 || at > latestChange {
			break
		}
		changes = append(changes, RoleChange{Role(words[i]), time.UnixMilli(at).UTC()})
	}
	return changes
}

// latestChange is the last moment of the year 9999, in Unix milliseconds.
const latestChange = 253402300799999

// Changed returns the account's RoleHistory with another change. The history of an account from
// before there were histories begins with the change that the account knows.
func (a Account) Changed(role Role, at time.Time) string {
	changes := a.RoleChanges()
	if len(changes) == 0 && !a.RoleChangedAt.IsZero() {
		changes = append(changes, RoleChange{a.Role, a.RoleChangedAt})
	}
	changes = append(changes, RoleChange{role, at})
	var words []string
	for _, c := range changes[max(len(changes)-maxRoleChanges, 0):] {
		words = append(words, string(c.Role), strconv.FormatInt(c.At.UnixMilli(), 10))
	}
	return strings.Join(words, " ")
}

// Object names an object in S3.
type Object struct {
	Bucket string
	Key    string
}

// String returns the object's s3:// URL.
func (o Object) String() string { return "s3://" + o.Bucket + "/" + o.Key }

// Intent says that a worker will request a retrieval. It is written before the request,
// because Glacier cannot make a request idempotent (ADR 3).
type Intent struct {
	// Token is unique to the attempt.
	Token string
	At    time.Time
	// Plan is the plan of the request.
	Plan string
	// Ordered means that an operator wants this one archive, whatever the user's role is.
	Ordered bool
	// Due is the time by which there should be news of the request. It is written, and
	// read as [Job.Due].
	Due time.Time
	// Used means that a request may have been sent under this intent, and its retrieval
	// has failed since. So its try is spent, and a worker that takes it over needs
	// another one. It is not stored: the worker sees it in Glacier's list.
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

	// ArchiveID is set while the result is in cold storage, and not at its key in S3.
	ArchiveID events.ArchiveID
	// Copy is the place of the archive.
	Copy Copy
	// ArchiveSize is in bytes; -1 if the catalog does not know it.
	ArchiveSize int64
	// TreeHash is the archive's, in lower-case hex; empty if unknown.
	TreeHash string

	// Intent exists from just before a retrieval is requested until its id is saved.
	Intent *Intent
	// RetrievalID exists from the time when the retrieval's id is saved until the file is
	// restored. Meanwhile the web page says [Restoring].
	RetrievalID events.RetrievalID
	// Tier is the tier of the request.
	Tier Tier
	// RetrievalRequestedAt is the time of the request.
	RetrievalRequestedAt time.Time
	// Trace is the step that requested the retrieval; empty if nobody traces. It decides nothing.
	Trace string
	// Billed is the price of all retrievals of this job by the price list, and BilledTier
	// the tier of the latest. They stay after the file is restored.
	Billed     MicroUSD
	BilledTier Tier

	// History has the tries to bring this archive back.
	History History
	// Ordered means that an operator wants this one archive, whatever the user's role is.
	Ordered bool
	// Due is the time by which there should be news of the request or the retrieval; zero
	// if neither is under way.
	Due time.Time
	// Nudges counts how often a sweep handled the request or the retrieval.
	Nudges int
	// ResultSize is the size of the file in S3 since its archive was restored, in bytes; zero if
	// nobody knows it.
	ResultSize int64
	// RestoredBy is the retrieval that brought the file back the last time.
	RestoredBy events.RetrievalID
	// RestoredAt is when the file came back the last time; zero if nobody knows it. Only pages
	// show it.
	RestoredAt time.Time
	// Unreadable names each attribute of the job that cannot be understood, with its
	// fault. The pipeline requests, puts and deletes nothing for such a job.
	Unreadable []string
}

// Restoring is the text in place of a download link while retrieval_request_id is in the
// catalog. Other systems look for exactly this sentence.
const Restoring = "File is being restored. Please check back later."

// State is how far a job's archive is on its way back: a state of the events, or one of a
// job that has nothing in the vault.
type State = events.State

// The states. [Job.State] derives the first seven from the catalog. Only the stream
// STATUS reports the others.
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
	// Available: in S3, restored or never archived.
	Available State = "available"
	// Unclear: the catalog does not say where the file is. It has an attribute that
	// cannot be understood, see [Job.Unreadable], or neither an archive nor an object's
	// key.
	Unclear State = "unclear"

	Ready     = events.StateReady
	Copying   = events.StateCopying
	Verifying = events.StateVerifying
	Restored  = events.StateRestored
	Failed    = events.StateFailed
	Expired   = events.StateExpired
)

// Doubt returns an error text that names each attribute of the job that cannot be
// understood; empty if there is none.
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

// Back reports that the file is not archived any more, and that nothing is under way for it:
// this pipeline or another program brought it back.
func (j Job) Back() bool {
	return j.ArchiveID == "" && j.RetrievalID == "" && (j.RestoredBy != "" || j.State(Premium) == Available)
}

// Retrieval is a retrieval of an archive, as its store describes it: a job of Glacier, or
// the temporary copy of an object of S3.
type Retrieval struct {
	// ID is Glacier's id of the job. A temporary copy has none: there it is the id that the
	// pipeline made for its request.
	ID        events.RetrievalID
	ArchiveID events.ArchiveID
	// Copy is the place of the archive. A list of a vault does not set it.
	Copy Copy
	// Description is the job_id that the retrieval was requested with.
	Description string
	Tier        Tier
	Status      RetrievalStatus
	// Reason is Glacier's message for the status.
	Reason string
	// Size and TreeHash are the archive's.
	Size     int64
	TreeHash string
	// CRC is S3's CRC-64/NVME of the whole archive, as S3 writes it; empty if unknown.
	CRC         string
	RequestedAt time.Time
	CompletedAt time.Time
	// Found means that a request found this retrieval, and requested nothing.
	Found bool
	// ExpiresAt is the time until which the output can be read, if the store says so.
	ExpiresAt time.Time
	// Cost is what it costs by the price list; zero where that is not known.
	Cost MicroUSD
}

// Due returns when the retrieval should have been heard of: the longest that its tier
// typically takes after the request. A finished retrieval is due at once. S3 does not tell the
// tier of a retrieval that was found: it counts as the fastest, because a look costs little,
// and the event of a fast retrieval may be lost.
func (r Retrieval) Due() time.Time {
	if r.Status == Succeeded {
		return r.RequestedAt
	}
	return r.RequestedAt.Add(r.Copy.Class.Longest(cmp.Or(r.Tier, r.Copy.Class.fastest())))
}

// OutputUntil returns the time until which the output can be read at least; zero if that is
// not known, or if the output never expires.
func (r Retrieval) OutputUntil() time.Time {
	lifetime := r.Copy.Class.OutputLifetime()
	switch {
	case !r.ExpiresAt.IsZero():
		return r.ExpiresAt
	case r.CompletedAt.IsZero() || lifetime == 0:
		return time.Time{}
	}
	return r.CompletedAt.Add(lifetime)
}

// Usable reports whether the retrieval's output can be used, now or later: it has not
// failed, and the output still lives for some time.
func (r Retrieval) Usable(now time.Time) bool {
	switch r.Status {
	case RetrievalFailed:
		return false
	case Succeeded:
		until := r.OutputUntil()
		return until.IsZero() || until.Sub(now) > time.Hour
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
