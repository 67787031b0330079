package dynamodb

import (
	"hash/fnv"
	"strconv"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/gas-restore/gas/internal/archive"
	"github.com/gas-restore/gas/pkg/events"
)

// The attributes of an annotation job. Those up to retrieval_request_id are the
// annotation service's own schema, the rest is ours beside it.
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
	attrOrdered    = "retrieval_ordered"
)

// failedAttr is where it is counted how often a retrieval came to nothing in the way.
func failedAttr(f archive.Failure) string { return "retrieval_" + string(f) }

// The attributes of an account.
const (
	attrName          = "name"
	attrEmail         = "email"
	attrIssuer        = "issuer"
	attrRole          = "role"
	attrRoleChangedAt = "role_changed_at"
	attrAnnounceDue   = "announce_due"

	// Of the plan that stands.
	attrPlanID    = "plan_id"
	attrPlanSince = "plan_since"
	attrPlanWhy   = "plan_why"
	attrPlanState = "plan_state"
	attrPlanOpen  = "plan_opened_at"
	attrPlanHeld  = "plan_held_by"
	attrPlanLimit = "plan_approved_micro_usd"
	attrPlanEmpty = "plan_empty_since"
	attrPlanShard = "plan_shard"
	attrPlanDue   = "plan_due"
	// Of all plans there were.
	attrPlansOpened = "plans_opened"
)

// shards is how many partitions the sparse indexes of what is under way are spread
// over: what comes back together would be too much for one of them.
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

// text returns the string attribute called name; empty if it is not there.
func text(it item, name string) string {
	if s, ok := it[name].(*types.AttributeValueMemberS); ok {
		return s.Value
	}
	return ""
}

// number returns the number attribute called name; ok is false if it is not
// there. The annotation service writes some times with a fraction.
func number(it item, name string) (v int64, ok bool) {
	n, is := it[name].(*types.AttributeValueMemberN)
	if !is {
		return 0, false
	}
	if v, err := strconv.ParseInt(n.Value, 10, 64); err == nil {
		return v, true
	}
	if f, err := strconv.ParseFloat(n.Value, 64); err == nil {
		return int64(f), true
	}
	return 0, false
}

// seconds returns the attribute called name as a time: it is in Unix seconds.
func seconds(it item, name string) time.Time {
	if v, ok := number(it, name); ok {
		return time.Unix(v, 0).UTC()
	}
	return time.Time{}
}

// millis returns the attribute called name as a time: it is in Unix
// milliseconds.
func millis(it item, name string) time.Time {
	if v, ok := number(it, name); ok {
		return time.UnixMilli(v).UTC()
	}
	return time.Time{}
}

func jobOf(it item) archive.Job {
	job := archive.Job{
		ID:                   events.JobID(text(it, attrJobID)),
		UserID:               events.UserID(text(it, attrUserID)),
		SubmittedAt:          seconds(it, attrSubmitTime),
		InputFileName:        text(it, attrInputFile),
		Status:               strings.ToUpper(text(it, attrStatus)),
		CompletedAt:          seconds(it, attrComplete),
		Result:               archive.Object{Bucket: text(it, attrBucket), Key: text(it, attrResultKey)},
		Log:                  archive.Object{Bucket: text(it, attrBucket), Key: text(it, attrLogKey)},
		ArchiveID:            events.ArchiveID(text(it, attrArchiveID)),
		ArchiveSize:          -1,
		TreeHash:             text(it, attrTreeHash),
		RetrievalID:          events.RetrievalID(text(it, attrRetrievalID)),
		Tier:                 archive.Tier(text(it, attrTier)),
		RetrievalRequestedAt: millis(it, attrRequestedAt),
	}
	if size, ok := number(it, attrArchiveSize); ok {
		job.ArchiveSize = size
	}
	if billed, ok := number(it, attrBilled); ok {
		job.Billed, job.BilledTier = archive.MicroUSD(billed), archive.Tier(text(it, attrBilledTier))
	}
	if m, ok := it[attrIntent].(*types.AttributeValueMemberM); ok {
		job.Intent = &archive.Intent{Token: text(m.Value, "token"), At: millis(m.Value, "at"), Plan: text(it, attrPlanOf)}
	}
	job.Due, job.RestoredBy = millis(it, attrDue), events.RetrievalID(text(it, attrRestoredBy))
	job.Nudges = count(it, attrNudges)
	if v, ok := it[attrOrdered].(*types.AttributeValueMemberBOOL); ok {
		job.Ordered = v.Value
	}
	job.History = historyOf(it)
	return job
}

// count returns the number attribute called name as a count; zero if it is not there.
func count(it item, name string) int {
	v, _ := number(it, name)
	return int(v)
}

func historyOf(it item) archive.History {
	h := archive.History{Tries: count(it, attrTries), Allowed: count(it, attrAllowed), NotBefore: millis(it, attrNotBefore)}
	for _, f := range archive.Failures() {
		if n := count(it, failedAttr(f)); n > 0 {
			if h.Failed == nil {
				h.Failed = map[archive.Failure]int{}
			}
			h.Failed[f] = n
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
	if job.ArchiveID != "" && job.ArchiveSize >= 0 {
		it[attrArchiveSize] = num(job.ArchiveSize)
	}
	return it
}

func intentOf(i archive.Intent) types.AttributeValue {
	return &types.AttributeValueMemberM{Value: item{"token": str(i.Token), "at": num(i.At.UnixMilli())}}
}

func accountOf(it item) archive.Account {
	opened, _ := number(it, attrPlansOpened)
	return archive.Account{
		ID:            events.UserID(text(it, attrUserID)),
		Name:          text(it, attrName),
		Email:         text(it, attrEmail),
		Issuer:        text(it, attrIssuer),
		Role:          archive.Role(text(it, attrRole)),
		RoleChangedAt: millis(it, attrRoleChangedAt),
		AnnounceDue:   millis(it, attrAnnounceDue),
		Plan:          planOf(it),
		PlansOpened:   int(opened),
	}
}

// planOf returns the plan that stands on the account; nil if none does.
func planOf(it item) *archive.Plan {
	id := text(it, attrPlanID)
	if id == "" {
		return nil
	}
	approved, _ := number(it, attrPlanLimit)
	return &archive.Plan{
		ID: id, Since: millis(it, attrPlanSince), Why: archive.PlanReason(text(it, attrPlanWhy)), State: archive.PlanState(text(it, attrPlanState)),
		OpenedAt: millis(it, attrPlanOpen), HeldBy: text(it, attrPlanHeld), Approved: archive.MicroUSD(approved),
		EmptySince: millis(it, attrPlanEmpty), Due: millis(it, attrPlanDue),
	}
}
