// Package canary brings one small archive back each day, and says how long that took. It makes
// the archive, adds its job to the catalog, and orders it as an operator does. So it tries the
// whole way, on days without upgrades too.
package canary

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"fmt"
	"time"

	"github.com/gas-restore/gas/internal/archive"
	"github.com/gas-restore/gas/internal/checksum/treehash"
	"github.com/gas-restore/gas/internal/fault"
	"github.com/gas-restore/gas/pkg/events"
)

// User owns the canary's jobs. Nobody can sign in as this user.
const User events.UserID = "gas-canary"

// Catalog has the canary's jobs.
type Catalog interface {
	Job(context.Context, events.JobID) (archive.Job, error)
	AddJob(context.Context, archive.Job) error
	EnsureAccount(context.Context, archive.Account) error
	Order(ctx context.Context, job archive.Job, more int, due time.Time) error
}

// Files makes archives and reads results.
type Files interface {
	// Archive puts the bytes into cold storage, and sets the place in the job.
	Archive(ctx context.Context, job *archive.Job, body []byte) error
	// Read returns an object's bytes, and when it was written.
	Read(ctx context.Context, at archive.Object) ([]byte, time.Time, error)
}

// Canary brings an archive back.
type Canary struct {
	Catalog Catalog
	Files   Files
	Publish func(context.Context, events.Event) error
	Bucket  string
	Now     func() time.Time
	// Within is how long an archive may take.
	Within time.Duration
}

// Report is the result of one look at the canary's archives.
type Report struct {
	OK bool `json:"ok"`
	// Job is the job of the day, and State its state.
	Job   events.JobID  `json:"job"`
	State archive.State `json:"state"`
	// Back is the latest job that is back, and Seconds the time from its order until then.
	Back    events.JobID `json:"back,omitempty"`
	Seconds float64      `json:"seconds"`
	// Why says what is wrong.
	Why string `json:"why,omitempty"`
}

// days is for how many days the canary looks back.
const days = 7

// Look orders the archive of the day, if that is not done, and checks those of the last days.
func (c *Canary) Look(ctx context.Context) (Report, error) {
	now := c.Now().UTC()
	today, err := c.today(ctx, now)
	if err != nil {
		return Report{}, err
	}
	r := Report{OK: true, Job: today.ID, State: today.State(archive.Free)}
	for day := range days {
		job := today
		if day > 0 {
			job, err = c.Catalog.Job(ctx, idOf(now.AddDate(0, 0, -day)))
			if fault.Is(err, fault.NotFound) {
				continue
			} else if err != nil {
				return Report{}, err
			}
		}
		if job.ArchiveID != "" {
			if age := now.Sub(job.CompletedAt); age > c.Within && r.OK {
				r.OK, r.Why = false, fmt.Sprintf("%s is %s for %s, and may take %s", job.ID, job.State(archive.Free), age.Round(time.Minute), c.Within)
			}
			continue
		}
		body, at, err := c.Files.Read(ctx, job.Result)
		switch {
		case err != nil && r.OK:
			r.OK, r.Why = false, fmt.Sprintf("%s is restored, and cannot be read: %v", job.ID, err)
		case err == nil && !bytes.Equal(body, content(job.ID)) && r.OK:
			r.OK, r.Why = false, fmt.Sprintf("%s came back with other bytes", job.ID)
		}
		r.Back, r.Seconds = job.ID, max(at.Sub(job.CompletedAt).Seconds(), 0)
		break
	}
	return r, nil
}

// today returns the job of the day. It makes and orders it, if that is not done.
func (c *Canary) today(ctx context.Context, now time.Time) (archive.Job, error) {
	job, err := c.Catalog.Job(ctx, idOf(now))
	if err != nil && !fault.Is(err, fault.NotFound) {
		return job, err
	}
	if err != nil {
		if job, err = c.make(ctx, now); err != nil {
			return job, err
		}
	}
	if job.ArchiveID == "" || job.Ordered || job.RetrievalID != "" {
		return job, nil
	}
	// If the message gets lost, the sweep finds the order in the catalog.
	if err := c.Catalog.Order(ctx, job, 0, now); err != nil {
		return job, err
	}
	err = c.Publish(ctx, events.ThawRequested{ID: "canary-" + rand.Text(), JobID: job.ID, UserID: User, ArchiveID: job.ArchiveID})
	return job, err
}

func (c *Canary) make(ctx context.Context, now time.Time) (archive.Job, error) {
	id := idOf(now)
	body, hash := content(id), treehash.New()
	_, _ = hash.Write(body) // a hash takes all bytes
	job := archive.Job{
		ID: id, UserID: User, SubmittedAt: now, InputFileName: string(id), Status: "COMPLETED", CompletedAt: now,
		Result:      archive.Object{Bucket: c.Bucket, Key: string(User) + "/" + string(id) + ".txt"},
		ArchiveSize: int64(len(body)), TreeHash: hash.TreeHash().String(),
	}
	if err := c.Catalog.EnsureAccount(ctx, archive.Account{ID: User, Name: "Canary", Role: archive.Free}); err != nil {
		return job, err
	}
	if err := c.Files.Archive(ctx, &job, body); err != nil {
		return job, err
	}
	return job, c.Catalog.AddJob(ctx, job)
}

func idOf(day time.Time) events.JobID {
	return events.JobID("canary-" + day.UTC().Format(time.DateOnly))
}

// content returns the bytes of a job's file. They are the same each time.
func content(id events.JobID) []byte {
	return fmt.Appendf(nil, "The file of %s: %x\n", id, sha256.Sum256([]byte(id)))
}
