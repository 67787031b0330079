package sim

import (
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awss3 "github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"github.com/gas-restore/gas/internal/archive"
	"github.com/gas-restore/gas/internal/config"
	"github.com/gas-restore/gas/internal/local/aws/s3"
	"github.com/gas-restore/gas/pkg/events"
)

// in puts all archives of the world in one class.
func (w *world) in(class archive.Class) {
	w.class = func(events.UserID, int) archive.Class { return class }
}

// byHand requests a temporary copy of the job's archive, as an operator does.
func (w *world) byHand(id events.JobID, tier types.Tier) {
	at := w.job(id).Copy
	w.mu.Lock()
	w.hands[id] = true
	w.mu.Unlock()
	// S3 refuses a request while another one is under way: that is no fault of the operator.
	_, err := w.Objects.RestoreObject(w.t.Context(), &awss3.RestoreObjectInput{
		Bucket: &at.Bucket, Key: &at.Key,
		RestoreRequest: &types.RestoreRequest{Days: aws.Int32(1), GlacierJobParameters: &types.GlacierJobParameters{Tier: tier}},
	})
	if err != nil {
		w.log.Info("by hand", "job", id, "err", err)
	}
}

// expire lets the temporary copies of two archives expire while restore is away. Then restore
// starts.
func (w *world) expire() {
	w.in(archive.Glacier)
	w.trouble(outputExpired, 1)
	w.archived("ada", 1000, 8*mib+5)
	w.run("bridge")
	w.run("thaw")
	w.run("web")
	w.upgrade("ada", true)
	w.during(20 * time.Minute)
	w.darken(50*time.Hour, false)
	w.fixed()
	w.run("restore")
}

// coldScenes are scenes with archives in S3's cold storage classes.
var coldScenes = []lasting{
	{name: "s3-events-lost", what: "twelve archives in GLACIER, and all events of S3 are lost", before: "not measured",
		most: bounds{12, 12 * price, 0, 0.5}, ends: "the sweep finds each copy",
		play: func(w *world) {
			w.in(archive.Glacier)
			w.S3.SetEventDelivery(func(s3.Event) []time.Duration { return nil })
			w.archived("ada", make([]int, 12)...)
			w.runAll()
			w.upgrade("ada", true)
		}},
	{name: "s3-events-twice", what: "archives in all classes, and each event of S3 comes again after an hour", before: "not measured",
		most: bounds{5, 5 * price, 0, 1.5}, ends: "each is back once, and the late events change nothing",
		play: func(w *world) {
			w.class = func(_ events.UserID, n int) archive.Class {
				return []archive.Class{archive.Vault, archive.Glacier, archive.DeepArchive, archive.Instant, archive.Glacier, archive.Vault}[n]
			}
			w.S3.SetEventDelivery(func(s3.Event) []time.Duration { return []time.Duration{0, time.Hour} })
			w.archived("ada", 1, 2, 3, 4, 5, 6)
			w.runAll()
			w.upgrade("ada", true)
			w.during(time.Hour + 10*time.Minute)
		}},
	{name: "s3-by-hand", what: "an operator requests one archive by hand before the upgrade, and another right after", before: "not measured",
		most: bounds{2, 2 * price, 0, 0.6}, ends: "one retrieval each, and each is back once",
		play: func(w *world) {
			w.in(archive.Glacier)
			w.trouble(expeditedFull, 1) // the operator takes Standard
			w.archived("ada", 1000, 1001)
			w.byHand("ada-00", types.TierStandard)
			w.runAll()
			w.upgrade("ada", true)
			w.byHand("ada-01", types.TierStandard)
		}},
	{name: "s3-by-hand-unheard", what: "an operator requests two archives by hand right before the upgrade, and all events of S3 are lost", before: "the sweep looked when the slowest tier's time was over",
		most: bounds{2, 2 * price, 0, 1}, ends: "S3 does not tell the tier: the sweep looks when the fastest tier's time is over",
		play: func(w *world) {
			w.in(archive.Glacier)
			w.trouble(expeditedFull, 1) // the operator takes Standard
			w.S3.SetEventDelivery(func(s3.Event) []time.Duration { return nil })
			w.archived("ada", 1000, 1001)
			w.byHand("ada-00", types.TierStandard)
			w.byHand("ada-01", types.TierStandard)
			w.runAll()
			w.upgrade("ada", true)
		}},
	{name: "s3-copy-there", what: "a temporary copy is there before the upgrade", before: "not measured",
		most: bounds{1, price, 0, 0.2}, ends: "nothing is requested, and the file is back at once",
		play: func(w *world) {
			w.in(archive.Glacier)
			w.trouble(expeditedFull, 1)
			w.archived("ada", 1000)
			w.byHand("ada-00", types.TierStandard)
			w.during(20 * time.Minute)
			w.fixed()
			w.runAll()
			w.upgrade("ada", true)
		}},
	{name: "s3-vanishes", what: "each request to S3 comes to nothing, and S3 tells nobody, for five hours", before: "not measured",
		most: bounds{4, 4 * price, 1, 0.5}, ends: "the sweep finds each; given up after three; an operator allows one more, and the file is back",
		play: func(w *world) {
			w.in(archive.Glacier)
			failing(w, 5*time.Hour)
		}},
	{name: "s3-archived-again", what: "a file comes back from GLACIER, and is archived in a vault when its user is Free; all events come again; then Premium once more", before: "not measured",
		most: bounds{2, 2 * price, 0, 1}, ends: "nothing until the second upgrade, then back from the vault",
		play: func(w *world) {
			w.in(archive.Glacier)
			w.trouble(archivedAgain, 1)
			w.S3.SetEventDelivery(func(s3.Event) []time.Duration { return []time.Duration{0, 3 * time.Hour} })
			w.one()
			w.back(2 * time.Hour)
			w.undo("ada")
			w.archiveAgain("ada-00")
			w.during(4 * time.Hour)
			if n := w.did(); n != 1 {
				w.t.Errorf("%d retrievals before the second upgrade", n)
			}
			w.fixed()
			w.upgrade("ada", true)
		}},
	{name: "s3-expires", what: "restore is away, then all services are away for two days, and temporary copies expire", before: "not measured",
		most: bounds{4, 4 * price, 0, 1}, ends: "each is requested once more",
		play: func(w *world) {
			w.expire()
		}},
	{name: "s3-expired-unheard", what: "the same, but S3's events about the expiry are lost, and no sweep runs", before: "not measured",
		most: bounds{4, 4 * price, 0, 1}, ends: "restore finds no copy, and each is requested once more",
		play: func(w *world) {
			w.cfg.SweepEvery = never
			w.S3.SetEventDelivery(func(e s3.Event) []time.Duration {
				if strings.Contains(e.Name, "Delete") {
					return nil
				}
				return []time.Duration{0}
			})
			w.expire()
		}},
	{name: "s3-wrong-bucket", long: true, what: "restore alone has a wrong GAS_ARCHIVE_BUCKET, for 16 hours", before: "not measured",
		most: bounds{1, price, 1, 0.5}, ends: "a dead letter; after the fix and a replay the copy is still there",
		play: func(w *world) {
			w.in(archive.Glacier)
			misspelt(w, func(c *config.Config) { c.ArchiveBucket = "misspelt" })
		}},
}
