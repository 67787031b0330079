package dynamodb

import (
	"fmt"
	"hash/fnv"
	"strconv"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/gas-restore/gas/internal/archive"
	"github.com/gas-restore/gas/pkg/events"
)

// The attributes of an annotation job. The annotation service's own schema ends with
// retrieval_request_id; the others are ours.
const (
	attrJobID       = "job_id"
	attrUserID      = "user_id"
	attrSubmitTime  = "submit_time"
	attrInputFile   = "input_file_name"
	attrStatus      = "job_status"
	attrComplete    = "complete_time"
	attrBucket      = "s3_results_bucket"
	attrResultKey   = "s3_key_result_file"
	attrLogKey      = "s3_key_log_file"
	attrArchiveID   = "archive_id"
	attrRetrievalID = "retrieval_request_id"

	attrLocator     = "archive_locator"
	attrIntent      = "retrieval_intent"
	attrTier        = "retrieval_tier"
	attrRequestedAt = "retrieval_requested_at"
	attrArchiveSize = "archive_size"
	attrTreeHash    = "tree_hash"
	attrBilled      = "billed_micro_usd"
	attrBilledTier  = "billed_tier"

	attrPlanOf     = "retrieval_plan"
	attrTries      = "retrieval_tries"
	attrAllowed    = "retrieval_allowed"
	attrNotBefore  = "retrieval_not_before"
	attrDueShard   = "due_shard"
	attrDue        = "due_at"
	attrNudges     = "sweep_nudges"
	attrRestoredBy = "restored_by"
	attrResultSize = "restored_size"
	attrRestoredAt = "restored_at"
	attrOrdered    = "retrieval_ordered"
	attrTrace      = "retrieval_trace"
)

// failedAttr is the attribute that counts the retrievals that failed in this way.
func failedAttr(f archive.Failure) string { return "retrieval_" + string(f) }

// The attributes of an account.
const (
	attrName          = "name"
	attrEmail         = "email"
	attrIssuer        = "issuer"
	attrRole          = "role"
	attrRoleChangedAt = "role_changed_at"
	attrAnnounceDue   = "announce_due"
	attrRoleHistory   = "role_history"

	// The attributes of the account's plan.
	attrPlanID    = "plan_id"
	attrPlanSince = "plan_since"
	attrPlanWhy   = "plan_why"
	attrPlanState = "plan_state"
	attrPlanOpen  = "plan_opened_at"
	attrPlanHeld  = "plan_held_by"
	attrPlanLimit = "plan_approved_micro_usd"
	attrPlanEmpty = "plan_empty_since"
	attrPlanFirst = "plan_first"
	attrPlanShard = "plan_shard"
	attrPlanDue   = "plan_due"
	// The attribute that counts all plans so far.
	attrPlansOpened = "plans_opened"
)

// shards is the number of partitions of the sparse indexes. Entries that become due
// together would be too much for one partition.
const shards = 16

// shardOf returns the partition of an id.
func shardOf(id string) types.AttributeValue {
	h := fnv.New32a()
	h.Write([]byte(id))
	return num(int64(h.Sum32() % shards))
}

type item = map[string]types.AttributeValue

func str(v string) types.AttributeValue { return &types.AttributeValueMemberS{Value: v} }

func num(v int64) types.AttributeValue {
	return &types.AttributeValueMemberN{Value: strconv.FormatInt(v, 10)}
}

// text returns the string attribute called name, empty if it is absent.
func text(it item, name string) string {
	if s, ok := it[name].(*types.AttributeValueMemberS); ok {
		return s.Value
	}
	return ""
}

// number returns the number attribute called name. ok is false if it is absent or no
// number. It cuts off a fraction.
func number(it item, name string) (v int64, ok bool) {
	n, is := it[name].(*types.AttributeValueMemberN)
	if !is {
		return 0, false
	}
	if v, err := strconv.ParseInt(n.Value, 10, 64); err == nil {
		return v, true
	}
	if f, err := strconv.ParseFloat(n.Value, 64); err == nil && f > -maxNumber && f < maxNumber {
		return int64(f), true
	}
	return 0, false
}

// millis returns the attribute called name as a time; it is in Unix milliseconds.
func millis(it item, name string) time.Time {
	if v, ok := number(it, name); ok {
		return time.UnixMilli(v).UTC()
	}
	return time.Time{}
}

// jobOf returns the item as a job. Attributes that cannot be understood are absent from
// the job, and named in its Unreadable.
func jobOf(it item) archive.Job {
	job, f := readJob(it)
	job.Unreadable = f.unreadable
	return job
}

func readJob(it item) (archive.Job, *fields) {
	f := &fields{it: it}
	bucket := f.text(attrBucket)
	job := archive.Job{
		ID:                   events.JobID(f.text(attrJobID)),
		UserID:               events.UserID(f.text(attrUserID)),
		SubmittedAt:          f.shownInstant(attrSubmitTime),
		InputFileName:        f.shown(attrInputFile),
		Status:               strings.ToUpper(f.text(attrStatus)),
		CompletedAt:          f.shownInstant(attrComplete),
		Result:               archive.Object{Bucket: bucket, Key: f.text(attrResultKey)},
		Log:                  archive.Object{Bucket: bucket, Key: f.shown(attrLogKey)},
		ArchiveID:            events.ArchiveID(f.archiveID()),
		ArchiveSize:          f.size(attrArchiveSize),
		TreeHash:             f.hash(attrTreeHash),
		RetrievalID:          events.RetrievalID(f.text(attrRetrievalID)),
		Tier:                 archive.Tier(f.text(attrTier)),
		Trace:                text(it, attrTrace),
		RetrievalRequestedAt: f.instant(attrRequestedAt),
		BilledTier:           archive.Tier(f.text(attrBilledTier)),
		Ordered:              f.yes(attrOrdered),
		Due:                  f.own(attrDue),
		Nudges:               f.count(attrNudges),
		RestoredBy:           events.RetrievalID(f.text(attrRestoredBy)),
		History:              historyOf(f),
	}
	if billed, ok := f.ours(attrBilled); ok {
		job.Billed = archive.MicroUSD(billed)
	}
	// Only lists show it, so a value that means nothing does no harm.
	size, _ := number(f.it, attrResultSize)
	job.ResultSize = max(size, 0)
	if at, ok := number(f.it, attrRestoredAt); ok && at > 0 && at <= latest.UnixMilli() {
		job.RestoredAt = time.UnixMilli(at).UTC()
	}
	job.Intent = f.intent()
	if job.ArchiveID != "" {
		job.Copy = f.locator(job.ID)
	}
	return job, f
}

// The fields of archive_locator, and the values of its kind.
const (
	locatorKind    = "kind"
	locatorClass   = "class"
	locatorBucket  = "bucket"
	locatorKey     = "key"
	locatorVersion = "version"
	locatorETag    = "etag"

	kindVault  = "vault"
	kindObject = "object"
)

// locator returns the place of the job's archive. A job without the attribute has a vault
// archive, as every job before the S3 classes had.
func (f *fields) locator(job events.JobID) archive.Copy {
	v := f.it[attrLocator]
	if blank(v) {
		return archive.Copy{}
	}
	m, ok := v.(*types.AttributeValueMemberM)
	if !ok {
		f.bad(attrLocator, "is a %s, not a map", typeName(v))
		return archive.Copy{}
	}
	switch kind := text(m.Value, locatorKind); kind {
	case kindVault:
		return archive.Copy{}
	case kindObject:
	default:
		f.bad(attrLocator, "has kind %.40q, not %s or %s", kind, kindVault, kindObject)
		return archive.Copy{}
	}
	at := archive.Copy{
		Class:  archive.Class(text(m.Value, locatorClass)),
		Bucket: text(m.Value, locatorBucket), Key: text(m.Value, locatorKey),
		Version: text(m.Value, locatorVersion), ETag: strings.Trim(text(m.Value, locatorETag), `"`),
	}
	err := at.Check(job)
	if err == nil && at.InVault() {
		err = fmt.Errorf("class is %q, and the kind is %s", at.Class, kindObject)
	}
	if err != nil {
		f.bad(attrLocator, "cannot be right: %s", err)
	}
	return at
}

// locatorOf returns the copy as archive_locator; nil for a vault.
func locatorOf(c archive.Copy) types.AttributeValue {
	if c.InVault() {
		return nil
	}
	m := item{locatorKind: str(kindObject), locatorClass: str(string(c.Class)), locatorBucket: str(c.Bucket), locatorKey: str(c.Key)}
	if c.Version != "" {
		m[locatorVersion] = str(c.Version)
	}
	if c.ETag != "" {
		m[locatorETag] = str(c.ETag)
	}
	return &types.AttributeValueMemberM{Value: m}
}

func (f *fields) intent() *archive.Intent {
	v := f.it[attrIntent]
	if blank(v) {
		return nil
	}
	m, ok := v.(*types.AttributeValueMemberM)
	if !ok {
		f.bad(attrIntent, "is a %s, not a map", typeName(v))
		return nil
	}
	return &archive.Intent{Token: text(m.Value, "token"), At: millis(m.Value, "at"), Plan: f.text(attrPlanOf)}
}

func historyOf(f *fields) archive.History {
	h := archive.History{Tries: f.count(attrTries), Allowed: f.count(attrAllowed), NotBefore: f.own(attrNotBefore)}
	for _, failure := range archive.Failures() {
		if n := f.count(failedAttr(failure)); n > 0 {
			if h.Failed == nil {
				h.Failed = map[archive.Failure]int{}
			}
			h.Failed[failure] = n
		}
	}
	return h
}

func itemOf(job archive.Job) item {
	it := item{
		attrJobID:      str(string(job.ID)),
		attrUserID:     str(string(job.UserID)),
		attrSubmitTime: num(job.SubmittedAt.Unix()),
		attrStatus:     str(job.Status),
	}
	set := func(name, value string) {
		if value != "" {
			it[name] = str(value)
		}
	}
	set(attrInputFile, job.InputFileName)
	set(attrBucket, job.Result.Bucket)
	set(attrResultKey, job.Result.Key)
	set(attrLogKey, job.Log.Key)
	set(attrArchiveID, string(job.ArchiveID))
	set(attrRetrievalID, string(job.RetrievalID))
	set(attrTreeHash, job.TreeHash)
	set(attrTier, string(job.Tier))
	if !job.CompletedAt.IsZero() {
		it[attrComplete] = num(job.CompletedAt.Unix())
	}
	if at := locatorOf(job.Copy); at != nil && job.ArchiveID != "" {
		it[attrLocator] = at
	}
	if job.ArchiveID != "" && job.ArchiveSize >= 0 {
		it[attrArchiveSize] = num(job.ArchiveSize)
	}
	return it
}

func intentOf(i archive.Intent) types.AttributeValue {
	return &types.AttributeValueMemberM{Value: item{"token": str(i.Token), "at": num(i.At.UnixMilli())}}
}

// accountOf returns the item as an account. Attributes that cannot be understood are
// absent from the account, and named in its Unreadable.
func accountOf(it item) archive.Account {
	account, f := readAccount(it)
	account.Unreadable = strings.Join(f.unreadable, "; ")
	return account
}

func readAccount(it item) (archive.Account, *fields) {
	f := &fields{it: it}
	return archive.Account{
		ID:            events.UserID(f.text(attrUserID)),
		Name:          f.shown(attrName),
		Email:         f.shown(attrEmail),
		Issuer:        f.text(attrIssuer),
		Role:          archive.Role(f.text(attrRole)),
		RoleChangedAt: f.instant(attrRoleChangedAt),
		AnnounceDue:   f.own(attrAnnounceDue),
		Plan:          f.plan(),
		PlansOpened:   f.count(attrPlansOpened),
		RoleHistory:   text(it, attrRoleHistory),
	}, f
}

// plan returns the account's plan, nil if there is none.
func (f *fields) plan() *archive.Plan {
	id := f.text(attrPlanID)
	if id == "" {
		return nil
	}
	approved, _ := f.ours(attrPlanLimit)
	return &archive.Plan{
		ID: id, UpgradedAt: f.own(attrPlanSince), Why: archive.PlanReason(f.text(attrPlanWhy)), State: archive.PlanState(f.text(attrPlanState)),
		OpenedAt: f.own(attrPlanOpen), HeldBy: f.text(attrPlanHeld), Approved: archive.MicroUSD(approved),
		EmptySince: f.own(attrPlanEmpty), Due: f.own(attrPlanDue), First: events.JobID(f.text(attrPlanFirst)),
	}
}
