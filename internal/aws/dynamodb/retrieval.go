package dynamodb

import (
	"context"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/gas-restore/gas/internal/archive"
	"github.com/gas-restore/gas/internal/fault"
	"github.com/gas-restore/gas/internal/trace"
)

// intentLife is how long after an intent there should be news, if the intent itself does
// not say.
const intentLife = time.Minute

// SaveIntent writes that a retrieval will be requested. Its condition: the job still has
// its archive, no retrieval, and the intent that job has. The first intent of a retrieval
// counts as a try. So does an intent that takes over another one with a spent try. The
// write is refused when the job has no tries left.
func (c *Catalog) SaveIntent(ctx context.Context, job archive.Job, intent archive.Intent) error {
	due := intent.Due
	if due.IsZero() {
		due = intent.At.Add(intentLife)
	}
	set := []string{"retrieval_intent = :intent", "due_shard = :shard", "due_at = :due"}
	values := item{":archive": str(string(job.ArchiveID)), ":intent": intentOf(intent), ":shard": shardOf(string(job.ID)), ":due": num(due.UnixMilli())}
	if intent.Plan != "" {
		set = append(set, "retrieval_plan = :plan")
		values[":plan"] = str(intent.Plan)
	}
	change, condition := "SET "+strings.Join(set, ", "), "archive_id = :archive AND attribute_not_exists(retrieval_request_id) AND "
	if job.Intent != nil {
		condition += "retrieval_intent.#t = :old"
		values[":old"] = str(job.Intent.Token)
	} else {
		condition += "attribute_not_exists(retrieval_intent)"
	}
	if job.Intent == nil || job.Intent.Used {
		change += " ADD retrieval_tries :one"
		condition += " AND (attribute_not_exists(retrieval_tries) OR retrieval_tries < :most)"
		values[":one"], values[":most"] = num(1), num(int64(archive.MaxRetrievals+job.History.Allowed))
	}
	return c.update(ctx, "save intent", job.ID, change, condition, values)
}

// DropIntent removes the intent, if it is still this one. Then it counts as no try,
// unless its try is spent. It is no error if the intent is gone.
func (c *Catalog) DropIntent(ctx context.Context, job archive.Job, intent archive.Intent) error {
	change, values := "REMOVE retrieval_intent, "+underWay, item{":token": str(intent.Token)}
	if !intent.Used {
		change += " ADD retrieval_tries :less"
		values[":less"] = num(-1)
	}
	err := c.update(ctx, "drop intent", job.ID, change, "retrieval_intent.#t = :token AND attribute_not_exists(retrieval_request_id)", values)
	if fault.Is(err, fault.Conflict) {
		return nil
	}
	return err
}

// SaveRetrieval writes the retrieval's id, tier and time, adds its price to the job's
// bill, and removes the intent. Its condition: the job still has its archive, no
// retrieval, and this intent. It also writes the archive's size if only Glacier knew the
// size.
func (c *Catalog) SaveRetrieval(ctx context.Context, job archive.Job, intent archive.Intent, r archive.Retrieval) error {
	set := "SET retrieval_request_id = :id, retrieval_requested_at = :at, due_shard = :shard, due_at = :due "
	values := item{
		":id":      str(string(r.ID)),
		":at":      num(r.RequestedAt.UnixMilli()),
		":shard":   shardOf(string(job.ID)),
		":due":     num(dueOf(job, r).UnixMilli()),
		":cost":    num(int64(r.Cost)),
		":archive": str(string(job.ArchiveID)),
		":token":   str(intent.Token),
	}
	if r.Tier != "" { // S3 does not tell the tier of a temporary copy that was requested before
		set = strings.TrimSpace(set) + ", retrieval_tier = :tier, billed_tier = :tier "
		values[":tier"] = str(string(r.Tier))
	}
	if step := trace.Of(ctx); step != "" { // the news comes hours later, and knows no trace
		set = strings.TrimSpace(set) + ", " + attrTrace + " = :trace "
		values[":trace"] = str(step)
	}
	if job.ArchiveSize < 0 && r.Size > 0 {
		set = strings.TrimSpace(set) + ", archive_size = :size "
		values[":size"] = num(r.Size)
	}
	return c.update(ctx, "save retrieval", job.ID, set+"ADD billed_micro_usd :cost REMOVE retrieval_intent, sweep_nudges",
		"archive_id = :archive AND attribute_not_exists(retrieval_request_id) AND retrieval_intent.#t = :token", values)
}

// SaveFaster writes that the job's retrieval is in a faster tier since the time at, and adds
// the price to the job's bill. Its condition: the job still has this archive and this
// retrieval, in the tier that job has.
func (c *Catalog) SaveFaster(ctx context.Context, job archive.Job, tier archive.Tier, at time.Time, cost archive.MicroUSD) error {
	return c.saveTier(ctx, "save faster tier", job, job.Tier, tier, at, int64(cost))
}

// TakeBackFaster undoes [Catalog.SaveFaster] after a refusal: it writes the tier and the time
// that job has, and takes the price off the bill. Its condition: the job still has this
// retrieval, in the faster tier.
func (c *Catalog) TakeBackFaster(ctx context.Context, job archive.Job, tier archive.Tier, cost archive.MicroUSD) error {
	return c.saveTier(ctx, "take back faster tier", job, tier, job.Tier, job.RetrievalRequestedAt, -int64(cost))
}

func (c *Catalog) saveTier(ctx context.Context, what string, job archive.Job, from, to archive.Tier, at time.Time, cost int64) error {
	values := retrievalValues(job)
	values[":at"], values[":cost"] = num(at.UnixMilli()), num(cost)
	values[":due"] = num(dueOf(job, archive.Retrieval{Tier: to, RequestedAt: at}).UnixMilli())
	set, remove, condition := "SET retrieval_requested_at = :at, due_at = :due", "", sameRetrieval+" AND "
	if to != "" {
		set += ", retrieval_tier = :tier, billed_tier = :tier"
		values[":tier"] = str(string(to))
	} else {
		remove = " REMOVE retrieval_tier"
	}
	if from != "" {
		condition += "retrieval_tier = :from"
		values[":from"] = str(string(from))
	} else {
		condition += "attribute_not_exists(retrieval_tier)"
	}
	return c.update(ctx, what, job.ID, set+remove+" ADD billed_micro_usd :cost", condition, values)
}

// dueOf returns when there should be news of the job's retrieval.
func dueOf(job archive.Job, r archive.Retrieval) time.Time {
	r.Copy = job.Copy
	return r.Due()
}

const (
	sameRetrieval = "archive_id = :archive AND retrieval_request_id = :retrieval"
	// underWay are the attributes that keep a job in the index of work under way.
	underWay = "due_shard, due_at, sweep_nudges, retrieval_plan"
	ours     = "retrieval_intent, retrieval_tier, retrieval_requested_at, " + attrTrace + ", " + underWay
)

func retrievalValues(job archive.Job) item {
	return item{":archive": str(string(job.ArchiveID)), ":retrieval": str(string(job.RetrievalID))}
}

// ClearArchive removes archive_id, retrieval_request_id and our own attributes, if the
// job still has this archive and this retrieval: the file is back. It keeps the id of the
// retrieval that brought the file back, so that a late worker can see that, and the file's
// size and the time for lists.
func (c *Catalog) ClearArchive(ctx context.Context, job archive.Job) error {
	condition, values := sameRetrieval, retrievalValues(job)
	if job.RetrievalID == "" {
		// The retrieval was taken back while another worker already had the file.
		condition = "archive_id = :archive AND attribute_not_exists(retrieval_request_id)"
		values[":retrieval"] = str(string(job.RestoredBy))
	}
	set := " SET restored_by = :retrieval"
	if job.ArchiveSize >= 0 {
		set += ", restored_size = :size"
		values[":size"] = num(job.ArchiveSize)
	}
	if !job.RestoredAt.IsZero() {
		set += ", restored_at = :restored"
		values[":restored"] = num(job.RestoredAt.UnixMilli())
	}
	return c.update(ctx, "clear archive", job.ID,
		"REMOVE archive_id, archive_locator, retrieval_request_id, archive_size, tree_hash, "+history()+", "+ours+set,
		condition, values)
}

// history are the attributes that count the tries of an archive.
func history() string {
	names := []string{attrTries, attrAllowed, attrNotBefore, attrOrdered}
	for _, f := range archive.Failures() {
		names = append(names, failedAttr(f))
	}
	return strings.Join(names, ", ")
}

// ClearLeftovers removes retrieval_request_id, the intent and our other attributes of work
// under way from a job without an archive: another program removed archive_id and left them.
// It keeps archive_locator: if archive_id was removed by mistake, nothing else names the copy.
// Its condition: the job has no archive, and the retrieval that job has, or none as job has
// none. The price stays on the job's bill.
func (c *Catalog) ClearLeftovers(ctx context.Context, job archive.Job) error {
	// due_at is there as long as something is under way. Without this clause, the write would
	// make an item for a job that was deleted.
	condition, values := "attribute_not_exists(archive_id) AND attribute_not_exists(retrieval_request_id) AND attribute_exists(due_at)", item(nil)
	if job.RetrievalID != "" {
		condition, values = "attribute_not_exists(archive_id) AND retrieval_request_id = :retrieval", item{":retrieval": str(string(job.RetrievalID))}
	}
	return c.update(ctx, "clear leftovers", job.ID, "REMOVE retrieval_request_id, archive_size, tree_hash, "+history()+", "+ours, condition, values)
}

// ClearRetrieval removes retrieval_request_id, if the job still has this archive and this
// retrieval: the retrieval failed in the way f. It counts the failure. The archive may
// not be requested again before the time.
func (c *Catalog) ClearRetrieval(ctx context.Context, job archive.Job, f archive.Failure, notBefore time.Time) error {
	values := retrievalValues(job)
	values[":one"], values[":then"] = num(1), num(notBefore.UnixMilli())
	return c.update(ctx, "clear retrieval", job.ID,
		"REMOVE retrieval_request_id, "+ours+" SET retrieval_not_before = :then ADD "+failedAttr(f)+" :one", sameRetrieval, values)
}

// Order records that an operator wants the job's archive, whatever the user's role is.
// more is the number of tries beyond the limits; if there are some, the archive may be
// requested at once. The error's kind is Conflict if the job no longer has this archive.
func (c *Catalog) Order(ctx context.Context, job archive.Job, more int, due time.Time) error {
	change := "SET retrieval_ordered = :yes, due_shard = :shard, due_at = :due"
	values := item{":yes": &types.AttributeValueMemberBOOL{Value: true}, ":archive": str(string(job.ArchiveID)), ":shard": shardOf(string(job.ID)), ":due": num(due.UnixMilli())}
	if more > 0 {
		change += " REMOVE retrieval_not_before ADD retrieval_allowed :n"
		values[":n"] = num(int64(more))
	}
	return c.update(ctx, "order", job.ID, change, "archive_id = :archive AND attribute_not_exists(retrieval_request_id) AND attribute_not_exists(retrieval_intent)", values)
}
