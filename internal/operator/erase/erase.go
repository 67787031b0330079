// Package erase deletes everything that the pipeline has of one user: archives, objects, jobs,
// plans, messages, sessions, and the account. It can be cut short at any moment, and a second
// run finishes the first one.
//
// The order protects against loss and against workers that are in the middle of something:
//
//  1. The account loses its plan, so that nothing is requested any more.
//  2. Each archive is deleted, and only then the job forgets it. A worker that comes later sees
//     a job without an archive, and does nothing.
//  3. Objects go after the archives. If a copy was on its way, a second look at the end finds
//     what it put.
//  4. The jobs' items go when nothing is left that only they name. The account goes last.
package erase

import (
	"context"
	"fmt"
	"iter"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/gas-restore/gas/internal/archive"
	"github.com/gas-restore/gas/internal/aws/dynamodb"
	"github.com/gas-restore/gas/internal/bus"
	"github.com/gas-restore/gas/internal/cost"
	"github.com/gas-restore/gas/internal/fault"
	"github.com/gas-restore/gas/internal/operator/acts"
	"github.com/gas-restore/gas/internal/operator/deadletter"
	"github.com/gas-restore/gas/internal/wait"
	"github.com/gas-restore/gas/pkg/events"
)

// Store is the cold storage and the buckets. To delete what is gone is no error.
type Store interface {
	Archive(context.Context, events.ArchiveID) error
	Versions(context.Context, archive.Object) ([]string, error)
	Delete(ctx context.Context, o archive.Object, version string) error
	Uploads(context.Context, archive.Object) ([]string, error)
	Abort(ctx context.Context, o archive.Object, upload string) error
}

// Sessions are the sessions of the site.
type Sessions interface {
	Count(context.Context, events.UserID) (int, error)
	End(context.Context, events.UserID) error
}

// Eraser erases users.
type Eraser struct {
	Catalog  *dynamodb.Catalog
	Bus      *bus.Bus
	Dead     *deadletter.Store
	Acts     *acts.Log
	Store    Store
	Sessions Sessions
	// Results and Archives are the buckets of the configuration; Archives may be empty. Others
	// are buckets from which an operator lets objects be deleted too.
	Results, Archives string
	Others            []string
	Prices            cost.Prices
	// AssumedSize is the size of an archive of unknown size, for the fee.
	AssumedSize int64
	// Leave erases also the items of jobs that keep something, as [Inventory.Left] says.
	Leave bool
	// Settle is how long the eraser waits for workers that may be in the middle of a copy, before
	// it looks again.
	Settle time.Duration
}

// Inventory is what there is of a user.
type Inventory struct {
	User events.UserID `json:"user"`
	// Account reports whether there is an account. Plan is its open or held plan, and Role its
	// role.
	Account bool         `json:"account"`
	Role    archive.Role `json:"role,omitempty"`
	Plan    string       `json:"plan,omitempty"`
	Jobs    int          `json:"jobs"`
	// Archives counts the archives by storage class, and Bytes is their size as far as the
	// catalog knows it. Early is the highest fee for deleting them before their least time.
	Archives map[archive.Class]int `json:"archives,omitempty"`
	Bytes    int64                 `json:"archive_bytes,omitempty"`
	Early    archive.MicroUSD      `json:"early_deletion_at_most_micro_usd"`
	// UnderWay counts the archives with a retrieval or a copy on its way. They are erased too; a
	// retrieval that was paid for is lost.
	UnderWay int `json:"under_way,omitempty"`
	// Objects counts the versions of objects in S3, and Uploads the unfinished uploads.
	Objects int `json:"objects"`
	Uploads int `json:"uploads"`
	// Ledger counts closed plans and entries of spending. Messages counts the messages by stream
	// and bucket, and Letters the dead letters.
	Ledger   int               `json:"plans_and_spending"`
	Messages map[string]uint64 `json:"messages,omitempty"`
	Letters  int               `json:"dead_letters"`
	Sessions int               `json:"sessions"`
	Paused   bool              `json:"paused,omitempty"`
	// Records counts the records of operators' acts about the user. They stay.
	Records int `json:"records_that_stay"`
	// Left names what stays and could be personal, with the reason.
	Left []string `json:"left,omitempty"`

	jobs []dynamodb.Holding
	own  map[events.JobID]bool
}

// Empty reports whether the pipeline knows nothing of the user but records of acts.
func (v Inventory) Empty() bool {
	n := v.Jobs + v.Objects + v.Uploads + v.Ledger + v.Letters + v.Sessions
	for _, m := range v.Messages {
		n += int(m)
	}
	return n == 0 && !v.Account && !v.Paused
}

// String counts everything in one line, without names.
func (v Inventory) String() string {
	archives, messages := 0, uint64(0)
	for _, n := range v.Archives {
		archives += n
	}
	for _, n := range v.Messages {
		messages += n
	}
	return fmt.Sprintf("%d jobs, %d archives, %d objects, %d uploads, %d plans and entries of spending, %d messages, %d dead letters, %d sessions",
		v.Jobs, archives, v.Objects, v.Uploads, v.Ledger, messages, v.Letters, v.Sessions)
}

// atOnce is how many jobs are checked or erased at a time, and perRead how many are read in one
// call.
const (
	atOnce  = 16
	perRead = 100
)

// Look returns what there is of the user.
func (e *Eraser) Look(ctx context.Context, user events.UserID) (Inventory, error) {
	v := Inventory{User: user, Archives: map[archive.Class]int{}, Messages: map[string]uint64{}}
	account, err := e.Catalog.Account(ctx, user)
	switch {
	case err == nil:
		v.Account, v.Role = true, account.Role
		if account.Plan != nil {
			v.Plan = account.Plan.ID
		}
	case !fault.Is(err, fault.NotFound):
		return v, err
	}
	if v.jobs, err = e.holdings(ctx, user); err != nil {
		return v, err
	}
	v.Jobs, v.own = len(v.jobs), map[events.JobID]bool{}
	for _, j := range v.jobs {
		v.own[j.ID] = true
	}
	var estimate cost.Estimate
	for _, j := range v.jobs {
		if j.ArchiveID == "" {
			continue
		}
		v.Archives[j.Copy.StorageClass()]++
		v.Bytes += max(j.ArchiveSize, 0)
		estimate.Add(j.Job, e.AssumedSize)
		if j.RetrievalID != "" || j.Intent != nil {
			v.UnderWay++
		}
	}
	v.Early = estimate.EarlyAtMost(e.Prices)
	if err := e.lookAtObjects(ctx, &v); err != nil {
		return v, err
	}
	for _, err := range e.Catalog.Ledger(ctx, user) {
		if err != nil {
			return v, err
		}
		v.Ledger++
	}
	for _, t := range bus.TracesOf(user, v.ids()) {
		n, err := e.Bus.Count(ctx, t)
		if err != nil {
			return v, err
		}
		if n > 0 {
			v.Messages[t.What] += n
		}
	}
	mentions := 0
	for l, err := range e.letters(ctx, &v) {
		if err != nil {
			return v, err
		}
		if v.owns(l) {
			v.Letters++
		} else {
			mentions++
		}
	}
	if mentions > 0 {
		v.Left = append(v.Left, fmt.Sprintf("%d dead letters of SQS messages that have the user's id in their text: `gas dead show` and `gas dead drop`, if they are the user's", mentions))
	}
	if v.Sessions, err = e.Sessions.Count(ctx, user); err != nil {
		return v, err
	}
	switches, err := e.Catalog.Switches(ctx)
	if err != nil {
		return v, err
	}
	_, v.Paused = switches.Users[user]
	records, err := e.Acts.Acts(ctx, acts.Filter{User: user})
	if err != nil {
		return v, err
	}
	v.Records = len(records)
	slices.Sort(v.Left)
	return v, nil
}

func (v Inventory) ids() []events.JobID {
	ids := make([]events.JobID, len(v.jobs))
	for i, j := range v.jobs {
		ids[i] = j.ID
	}
	return ids
}

// owns reports whether the letter is about the user or one of the user's jobs.
func (v Inventory) owns(l deadletter.Letter) bool {
	if l.UserID != "" {
		return l.UserID == v.User
	}
	return l.JobID != "" && v.own[l.JobID]
}

// letters yields the user's letters, and those of SQS messages that mention the user.
func (e *Eraser) letters(ctx context.Context, v *Inventory) iter.Seq2[deadletter.Letter, error] {
	return func(yield func(deadletter.Letter, error) bool) {
		quoted := `"` + string(v.User) + `"`
		for l, err := range e.Dead.Letters(ctx, deadletter.Filter{}) {
			if err != nil {
				yield(l, err)
				return
			}
			text := strings.ReplaceAll(string(l.Payload), `\"`, `"`)
			if (v.owns(l) || l.Stream == events.SourceSQS && strings.Contains(text, quoted)) && !yield(l, nil) {
				return
			}
		}
	}
}

// holdings returns the user's jobs as they are now.
func (e *Eraser) holdings(ctx context.Context, user events.UserID) ([]dynamodb.Holding, error) {
	// The one index has only jobs with a time of submission, the other only jobs with an archive.
	ids := map[events.JobID]bool{}
	for _, page := range []func(string) ([]archive.Job, string, error){
		func(cursor string) ([]archive.Job, string, error) { return e.Catalog.Jobs(ctx, user, cursor, perRead) },
		func(cursor string) ([]archive.Job, string, error) { return e.Catalog.ArchivedPage(ctx, user, cursor) },
	} {
		for cursor := ""; ; {
			jobs, next, err := page(cursor)
			if err != nil {
				return nil, err
			}
			for _, j := range jobs {
				ids[j.ID] = true
			}
			if cursor = next; next == "" {
				break
			}
		}
	}
	var all []dynamodb.Holding
	for some := range slices.Chunk(slices.Sorted(maps.Keys(ids)), perRead) {
		found, err := e.Catalog.HoldingsOf(ctx, some)
		if err != nil {
			return nil, err
		}
		for _, h := range found {
			if h.UserID == user { // an index may lag
				all = append(all, h)
			}
		}
	}
	slices.SortFunc(all, func(a, b dynamodb.Holding) int { return strings.Compare(string(a.ID), string(b.ID)) })
	return all, nil
}

// objects returns the objects of the job that may be deleted, and says why others may not. An
// object is the user's if its key names the job.
func (e *Eraser) objects(j dynamodb.Holding) (mine []archive.Object, left []string) {
	for what, o := range map[string]archive.Object{"result": j.Result, "log": j.Log, "input": j.Input} {
		switch {
		case o.Key == "" || o.Bucket == "":
		case !names(o.Key, j.ID):
			left = append(left, fmt.Sprintf("%s %s of job %s: its key does not name the job, so it may be somebody else's", what, o, j.ID))
		case o.Bucket != e.Results && !slices.Contains(e.Others, o.Bucket):
			left = append(left, fmt.Sprintf("%s %s of job %s: the bucket is not the configured one; --bucket %s deletes there too", what, o, j.ID, o.Bucket))
		default:
			mine = append(mine, o)
		}
	}
	if j.ArchiveID != "" && !j.Copy.InVault() && e.cold(j) == nil {
		mine = append(mine, archive.Object{Bucket: j.Copy.Bucket, Key: j.Copy.Key})
	}
	return mine, left
}

// names reports whether one part of the key is the job's id, alone or before a "~" or a dot.
func names(key string, job events.JobID) bool {
	return slices.ContainsFunc(strings.Split(key, "/"), func(part string) bool {
		rest, ok := strings.CutPrefix(part, string(job))
		return ok && (rest == "" || rest[0] == '~' || rest[0] == '.')
	})
}

// cold returns an error if the archive may not be deleted.
func (e *Eraser) cold(j dynamodb.Holding) error {
	if len(j.Unreadable) > 0 {
		return fmt.Errorf("archive of job %s: the job cannot be understood: %s", j.ID, j.Doubt())
	}
	if err := j.Copy.Check(j.ID); err != nil {
		return fmt.Errorf("archive %s of job %s: %w", j.Copy, j.ID, err)
	}
	if !j.Copy.InVault() && j.Copy.Bucket != e.Archives && !slices.Contains(e.Others, j.Copy.Bucket) {
		return fmt.Errorf("archive %s of job %s: the bucket is not the configured one; --bucket %s deletes there too", j.Copy, j.ID, j.Copy.Bucket)
	}
	return nil
}

// each calls do for each job, several at a time.
func (v *Inventory) each(ctx context.Context, do func(context.Context, dynamodb.Holding) error) error {
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(atOnce)
	for _, j := range v.jobs {
		if ctx.Err() != nil {
			break
		}
		g.Go(func() error { return do(ctx, j) })
	}
	return g.Wait()
}

func (e *Eraser) lookAtObjects(ctx context.Context, v *Inventory) error {
	var mu sync.Mutex // guards v
	return v.each(ctx, func(ctx context.Context, j dynamodb.Holding) error {
		mine, left := e.objects(j)
		if j.ArchiveID != "" || len(j.Unreadable) > 0 {
			if err := e.cold(j); err != nil {
				left = append(left, err.Error())
			}
		}
		versions, uploads := 0, 0
		for _, o := range mine {
			ids, err := e.Store.Versions(ctx, o)
			if err != nil {
				return err
			}
			ups, err := e.Store.Uploads(ctx, o)
			if err != nil {
				return err
			}
			if o.Key != j.Copy.Key || o.Bucket != j.Copy.Bucket { // the archive itself counts as an archive
				versions += len(ids)
			}
			uploads += len(ups)
		}
		mu.Lock()
		defer mu.Unlock()
		v.Objects, v.Uploads, v.Left = v.Objects+versions, v.Uploads+uploads, append(v.Left, left...)
		return nil
	})
}

// Erase deletes what the inventory has. The error's kind is Conflict if something of the user is
// new or has changed meanwhile: then look again, and erase again. Jobs that keep something
// keep their items.
func (e *Eraser) Erase(ctx context.Context, v Inventory) error {
	if v.Account {
		if err := e.Catalog.Withdraw(ctx, v.User); err != nil && !fault.Is(err, fault.NotFound) {
			return err
		}
	}
	traces := bus.TracesOf(v.User, v.ids())
	purge := func(ctx context.Context) error {
		for _, t := range traces {
			if err := e.Bus.Purge(ctx, t); err != nil {
				return err
			}
		}
		return nil
	}
	if err := purge(ctx); err != nil {
		return err
	}
	// The sessions go early: a page that is open could upgrade the user again.
	if err := e.Sessions.End(ctx, v.User); err != nil {
		return err
	}
	if err := v.each(ctx, e.archive); err != nil {
		return err
	}
	if err := v.each(ctx, e.remove); err != nil {
		return err
	}
	if v.UnderWay > 0 || v.Uploads > 0 || v.Messages["stream "+events.StreamRestore] > 0 {
		// A worker that has begun a copy may still put the object. Its next look finds no archive.
		if err := wait.For(ctx, e.Settle); err != nil {
			return err
		}
		if err := v.each(ctx, e.remove); err != nil {
			return err
		}
	}
	if err := purge(ctx); err != nil {
		return err
	}
	if err := e.drop(ctx, &v); err != nil {
		return err
	}
	return e.forget(ctx, v)
}

// archive deletes the job's archive, and then has the job forget it.
func (e *Eraser) archive(ctx context.Context, j dynamodb.Holding) error {
	if j.ArchiveID == "" || e.cold(j) != nil {
		return nil
	}
	if j.Copy.InVault() {
		if err := e.Store.Archive(ctx, j.ArchiveID); err != nil {
			return err
		}
	} else if err := e.all(ctx, archive.Object{Bucket: j.Copy.Bucket, Key: j.Copy.Key}); err != nil {
		return err
	}
	for {
		err := e.Catalog.ClearArchive(ctx, j.Job)
		if !fault.Is(err, fault.Conflict) {
			return err
		}
		// A worker changed the job meanwhile. If it still has this archive, it forgets it as it is
		// now.
		now, err := e.Catalog.Job(ctx, j.ID)
		switch {
		case fault.Is(err, fault.NotFound), err == nil && now.ArchiveID == "":
			return nil
		case err != nil:
			return err
		case now.ArchiveID != j.ArchiveID || now.RetrievalID == j.RetrievalID:
			return fault.Errorf(fault.Conflict, "job %s has changed meanwhile: run it again", j.ID)
		}
		j.Job = now
	}
}

// remove deletes the job's objects and unfinished uploads.
func (e *Eraser) remove(ctx context.Context, j dynamodb.Holding) error {
	mine, _ := e.objects(j)
	for _, o := range mine {
		if err := e.all(ctx, o); err != nil {
			return err
		}
	}
	return nil
}

// all deletes all versions and unfinished uploads of a key. An upload goes first: it could become
// a version.
func (e *Eraser) all(ctx context.Context, o archive.Object) error {
	uploads, err := e.Store.Uploads(ctx, o)
	if err != nil {
		return err
	}
	for _, id := range uploads {
		if err := e.Store.Abort(ctx, o, id); err != nil {
			return err
		}
	}
	versions, err := e.Store.Versions(ctx, o)
	if err != nil {
		return err
	}
	for _, id := range versions {
		if err := e.Store.Delete(ctx, o, id); err != nil {
			return err
		}
	}
	return nil
}

// drop drops the user's dead letters.
func (e *Eraser) drop(ctx context.Context, v *Inventory) error {
	return e.Dead.ForEach(ctx, deadletter.Filter{}, func(l deadletter.Letter) error {
		if !v.owns(l) {
			return nil
		}
		return e.Dead.Drop(ctx, l)
	})
}

// forget deletes the items: the jobs, the closed plans and the spending, a pause, and at last the
// account.
func (e *Eraser) forget(ctx context.Context, v Inventory) error {
	var mu sync.Mutex // guards kept
	kept := 0
	if err := v.each(ctx, func(ctx context.Context, j dynamodb.Holding) error {
		if _, left := e.objects(j); !e.Leave && (len(left) > 0 || e.cold(j) != nil && (j.ArchiveID != "" || len(j.Unreadable) > 0)) {
			mu.Lock()
			defer mu.Unlock()
			kept++
			return nil
		}
		return e.Catalog.DeleteJob(ctx, v.User, j.ID, e.Leave && e.cold(j) != nil)
	}); err != nil {
		return err
	}
	var ids []string
	for id, err := range e.Catalog.Ledger(ctx, v.User) {
		if err != nil {
			return err
		}
		ids = append(ids, id)
	}
	for _, id := range ids {
		if err := e.Catalog.DeleteLedger(ctx, id); err != nil {
			return err
		}
	}
	if v.Paused {
		if _, err := e.Catalog.ChangeSwitches(ctx, func(s *archive.Switches) { delete(s.Users, v.User) }); err != nil {
			return err
		}
	}
	if kept > 0 {
		return fault.Errorf(fault.Denied, "%d jobs stay, with the account, because something of them is left: delete it, or give --leave", kept)
	}
	return e.Catalog.DeleteAccount(ctx, v.User)
}
