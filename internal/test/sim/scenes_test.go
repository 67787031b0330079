package sim

import (
	"fmt"
	"slices"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/aws/aws-sdk-go-v2/service/sns"
	"github.com/aws/aws-sdk-go-v2/service/sqs"

	"github.com/gas-restore/gas/internal/archive"
	"github.com/gas-restore/gas/internal/bus"
	"github.com/gas-restore/gas/internal/config"
	localaws "github.com/gas-restore/gas/internal/local/aws"
	"github.com/gas-restore/gas/internal/local/aws/glacier"
	"github.com/gas-restore/gas/pkg/events"
)

// scenes are all that last.
var scenes = append([]lasting{
	{name: "glacier-fails", long: true, what: "Glacier fails each retrieval, for 26 hours", before: "482 retrievals in 24 h, $4.82, 0 dead letters",
		most: bounds{4, 4 * price, 1, 0.5}, ends: "given up after three; an operator allows one more, and the file is back",
		play: func(w *world) { failing(w, 26*time.Hour) }},
	{name: "glacier-fails-budget", long: true, what: "the same, with budgets of $0.02 a day", before: "243 retrievals in 12 h",
		most: bounds{4, 4 * price, 1, 25}, ends: "two a day; given up after three; an operator allows one more, and the file is back",
		play: func(w *world) {
			w.cfg.UserBudget, w.cfg.DayBudget = "0.021", "0.021"
			failing(w, 26*time.Hour)
			w.checkBudget(21*cent/10, "")
		}},
	{name: "wrong-vault", long: true, what: "restore alone has a wrong GAS_VAULT, for 16 hours", before: "482 retrievals in 24 h",
		most: bounds{1, price, 1, 0.5}, ends: "a dead letter; after the fix and a replay the output is still there",
		play: func(w *world) {
			misspelt(w, func(c *config.Config) { c.Vault = "misspelt" })
		}},
	{name: "s3-denies", long: true, what: "S3 denies puts, for 26 hours", before: "a new retrieval each day",
		most: bounds{2, 2 * price, 1, 0.5}, ends: "a dead letter; after the fix and a replay one more retrieval: the output had expired",
		play: func(w *world) {
			w.deny()
			w.one()
			w.during(26 * time.Hour)
			w.fixed()
			w.Faults.Clear()
			w.replay()
		}},
	{name: "s3-denies-alone", long: true, what: "S3 denies puts, for 50 hours, and nobody replays anything", before: "a new retrieval each day",
		most: bounds{2, 2 * price, 1, 25}, ends: "the sweep tries once a day; then it is back, and an operator drops the letter",
		play: func(w *world) {
			w.deny()
			w.one()
			w.during(50 * time.Hour)
			w.fixed()
			w.Faults.Clear()
			w.back(30 * time.Hour)
			w.drop()
		}},
	{name: "key-occupied", long: true, what: "another object is at the key, for 27 hours", before: "3 retrievals and 27 dead letters in a week",
		most: bounds{2, 2 * price, 1, 0.5}, ends: "a dead letter; moved away and replayed, one more retrieval: the output had expired",
		play: func(w *world) {
			w.archived("ada", 1000)
			w.occupy("ada-00")
			w.runAll()
			w.upgrade("ada", true)
			w.during(27 * time.Hour)
			w.fixed()
			w.vacate("ada-00")
			w.replay()
		}},
	{name: "dead-full", what: "the same, and DEAD takes nothing for an hour", before: "not measured",
		most: bounds{1, price, 1, 0.5}, ends: "the letter is written when there is room",
		play: func(w *world) {
			w.archived("ada", 1000)
			w.occupy("ada-00")
			w.runAll()
			w.noRoom(events.StreamDead, func() {
				w.upgrade("ada", true)
				time.Sleep(time.Hour)
			})
			time.Sleep(time.Hour)
			if len(w.standing()) != 1 {
				w.t.Errorf("letters: %v", w.standing())
			}
			w.fixed()
			w.vacate("ada-00")
			w.replay()
		}},
	{name: "policy-refuses", what: "a retrieval policy refuses everything, for six hours", before: "not measured",
		most: bounds{1, price, 0, 1.6}, ends: "back without help",
		play: func(w *world) {
			w.trouble(policies, 1)
			w.faults(localaws.Fault{Service: "glacier", Operation: "InitiateJob", Code: "PolicyEnforcedException", Status: 400})
			w.one()
			w.during(6 * time.Hour)
			w.fixed()
			w.Faults.Clear()
		}},
	{name: "no-vaults", long: true, what: "the account may not use vaults: Glacier refuses every call, for 26 hours", before: "720 requests, a dead letter for each archive",
		most: bounds{12, 12 * price, 0, 1.2}, ends: "the plan is held; when the account may, all are back without help",
		play: func(w *world) {
			w.cfg.ArchiveBucket = "" // a plan with archives of two kinds is not held
			w.archived("ada", make([]int, 12)...)
			w.faults(localaws.Fault{Service: "glacier", Code: "NoLongerSupportedException", Status: 400})
			w.runAll()
			w.upgrade("ada", true)
			w.during(26 * time.Hour)
			if letters, calls := w.standing(), w.Faults.Fired()["glacier.InitiateJob"]; len(letters) != 0 || calls > 200 {
				w.t.Errorf("%d requests, and letters: %v", calls, letters)
			}
			w.fixed()
			w.Faults.Clear()
		}},
	{name: "glacier-throttles", what: "Glacier throttles half of the requests, for an hour", before: "not measured",
		most: bounds{12, 12 * price, 0, 1.2}, ends: "back, each by Expedited",
		play: func(w *world) {
			w.faults(localaws.Fault{Service: "glacier", Operation: "InitiateJob", Code: "ThrottlingException", Status: 400, Probability: 0.5})
			w.archived("ada", make([]int, 12)...)
			w.runAll()
			w.upgrade("ada", true)
			w.back(time.Hour)
		}},
	{name: "two-tasks", what: "two thaws have a task of the same archive at the same moment, and the catalog and Glacier are slow", before: "not measured",
		most: bounds{1, price, 0, 1}, ends: "one retrieval: the second intent is refused",
		play: func(w *world) {
			w.cfg.SweepEvery = never
			w.late(w.cfg.PremiumTopic, 30*time.Minute)
			w.archived("ada", 1000)
			w.run("bridge")
			w.run("restore")
			w.run("web")
			w.upgrade("ada", true)
			w.faults(localaws.Fault{Service: "dynamodb", Operation: "UpdateItem", Delay: 2 * time.Second})
			w.faults(localaws.Fault{Service: "glacier", Operation: "InitiateJob", Delay: 5 * time.Second})
			job, plan := w.job("ada-00"), w.account("ada").Plan
			for n := range 2 {
				w.emit(events.ThawRequested{ID: fmt.Sprint("task-", n), JobID: job.ID, UserID: job.UserID, ArchiveID: job.ArchiveID, Plan: plan.ID})
			}
			w.run("thaw")
			w.run("thaw")
			w.back(10 * time.Minute)
			w.Faults.Clear()
		}},
	{name: "upgrade-unheard", what: "the message of the upgrade is lost between SNS and SQS", before: "not measured",
		most: bounds{1, price, 0, 0.6}, ends: "the sweep finds the plan, and announces it again",
		play: func(w *world) {
			w.trouble(notificationsLost, 1)
			w.SNS.SetDelivery(func(topic string) []time.Duration {
				if topic == w.cfg.PremiumTopic {
					return nil
				}
				return []time.Duration{0}
			})
			w.one()
		}},
	{name: "bulk", what: "a retrieval policy refuses all tiers but Bulk", before: "not measured",
		most: bounds{1, price, 0, 1}, ends: "back by Bulk",
		play: func(w *world) {
			w.trouble(policies, 1)
			w.cfg.Tiers = []string{"Standard", "Bulk"}
			w.Glacier.SetDelay(glacier.Bulk, 10*time.Minute, 15*time.Minute)
			w.faults(localaws.Fault{Service: "glacier", Operation: "InitiateJob", Code: "PolicyEnforcedException", Status: 400, Times: 1})
			w.one()
		}},
	{name: "downgrade-unsaved", what: "a downgrade between InitiateJob and the saved id, and thaw dies there", before: "stuck after 72 h, bill $0.00",
		most: bounds{1, price, 0, 1}, ends: "adopted, and back: it is paid for", how: nth("thaw Glacier.InitiateJob", 0, crashAfter),
		play: func(w *world) {
			w.one()
			for w.asked() == 0 {
				time.Sleep(100 * time.Millisecond)
			}
			w.changeOfMind("ada", 0, 0)
		}},
	{name: "downgrade-lost", what: "the same, and THAW is lost with the task", before: "stuck after 72 h",
		most: bounds{1, price, 0, 1}, ends: "the sweep finds the intent; adopted, and back", how: nth("thaw Glacier.InitiateJob", 0, crashAfter),
		play: func(w *world) {
			w.one()
			for w.asked() == 0 {
				time.Sleep(100 * time.Millisecond)
			}
			w.loseStreams(events.StreamThaw)
			w.changeOfMind("ada", 0, 0)
			if w.back(2 * time.Hour); w.job("ada-00").ArchiveID != "" {
				w.t.Error("the requested archives are not back")
			}
		}},
	{name: "failed-late", what: "a Failed notification comes again after 5 h, for a user who is Free by then", before: "thawed and billed",
		most: bounds{1, price, 0, 8}, ends: "nothing: no plan stands",
		play: func(w *world) {
			w.fails = every
			w.twice(w.cfg.RestoreTopic, 5*time.Hour)
			w.one()
			for w.did() == 0 || w.job("ada-00").RetrievalID != "" {
				time.Sleep(time.Second)
			}
			w.changeOfMind("ada", 0, 0)
			time.Sleep(6 * time.Hour)
		}},
	{name: "clock-ahead", what: "one thaw's clock is 61 s ahead, another's behind, and two have a task of one archive", before: "two retrievals of one archive",
		most: bounds{1, price, 0, 1}, ends: "one retrieval",
		play: func(w *world) {
			w.trouble(clocksApart, 1)
			w.apart = func(service string, n int) time.Duration {
				if service != "thaw" {
					return 0
				}
				return []time.Duration{-61 * time.Second, 61 * time.Second}[n%2]
			}
			// The call is on its way for long: the other one comes meanwhile.
			w.faults(localaws.Fault{Service: "glacier", Operation: "InitiateJob", Delay: 15 * time.Second, Times: 1})
			w.one()
			for w.job("ada-00").Intent == nil {
				time.Sleep(100 * time.Millisecond)
			}
			w.run("thaw")
			for n := range 6 {
				time.Sleep(2 * time.Second)
				w.emit(events.ThawRequested{ID: string(rune('a' + n)), JobID: "ada-00", UserID: "ada", ArchiveID: w.job("ada-00").ArchiveID})
			}
		}},
	{name: "ten-late", long: true, what: "ten retrievals of one user end at different times, and all notifications are lost", before: "found after 5 min, then 1, 3, 7, 15, 23 h",
		most: bounds{10, 10 * price, 0, 21}, ends: "each is found within half an hour",
		play: func(w *world) {
			w.cfg.Tiers = []string{"Standard"}
			w.Glacier.SetDelay(glacier.Standard, 6*time.Hour, 20*time.Hour)
			w.SNS.SetDelivery(func(topic string) []time.Duration {
				if topic == w.cfg.RestoreTopic {
					return nil
				}
				return []time.Duration{0}
			})
			w.archived("ada", 1, 2, 3, 4, 5, 6, 7, 8, 9, 10)
			w.runAll()
			w.upgrade("ada", true)
			found := map[events.JobID]bool{}
			for until := time.Now().Add(24 * time.Hour); len(found) < 10 && time.Now().Before(until); time.Sleep(time.Minute) {
				for _, r := range w.all() {
					if !found[r.job] && w.job(r.job).ArchiveID == "" {
						found[r.job] = true
						if late := time.Since(r.ended); late > 32*time.Minute {
							w.t.Errorf("%s was found after %s", r.job, late)
						}
					}
				}
			}
		}},
	{name: "published", what: "an operator announces a Free user; the message comes again after 5 h, when the file is archived again", before: "not measured",
		most: bounds{1, price, 0, 8}, ends: "back once; the plan is closed, and the late message opens none",
		play: func(w *world) {
			w.trouble(published, 1)
			w.twice(w.cfg.PremiumTopic, 5*time.Hour)
			w.archived("ada", 1000)
			w.Account("ada", archive.Free)
			w.runAll()
			w.publish("ada")
			w.back(3 * time.Hour)
			time.Sleep(time.Hour)
			w.archiveAgain("ada-00")
			w.fickle["ada"] = true
			time.Sleep(5 * time.Hour)
			if w.job("ada-00").ArchiveID == "" {
				w.t.Error("the late message brought it back")
			}
		}},
	{name: "role-written", what: "another system writes the role itself, and its message is lost", before: "not measured",
		most: bounds{2, 2 * price, 0, 2}, ends: "the audit opens a plan",
		play: func(w *world) {
			w.trouble(roleWritten, 1)
			w.archived("ada", 1000, 1)
			w.Account("ada", archive.Free)
			w.runAll()
			time.Sleep(10 * time.Minute)
			if w.did() > 0 || w.account("ada").Plan != nil {
				w.t.Error("something of a Free user was requested")
			}
			w.fixed()
			w.makePremium("ada")
		}},
	{name: "archived-again", what: "archived again after it was back, its user Free; all old notifications come again; then Premium once more", before: "not measured",
		most: bounds{2, 2 * price, 0, 1}, ends: "nothing until the second upgrade, then back",
		play: func(w *world) {
			w.trouble(archivedAgain, 1)
			w.SNS.SetDelivery(func(string) []time.Duration { return []time.Duration{0, 3 * time.Hour} })
			w.one()
			w.back(3 * time.Hour)
			time.Sleep(time.Hour)
			w.undo("ada")
			w.archiveAgain("ada-00")
			time.Sleep(4 * time.Hour)
			if n := w.did(); n != 1 {
				w.t.Errorf("%d retrievals before the second upgrade", n)
			}
			w.SNS.SetDelivery(nil)
			w.fixed()
			w.upgrade("ada", true)
		}},
	{name: "history-ends", what: "an archive is given up, allowed once more, back, and archived again", before: "not measured",
		most: bounds{7, 7 * price, 1, 3}, ends: "the new archive has tries of its own",
		play: func(w *world) {
			failing(w, 5*time.Hour)
			w.back(3 * time.Hour)
			w.undo("ada")
			w.archiveAgain("ada-00")
			before := w.did()
			w.fails = func(glacier.Job) bool { return len(w.ended) < before+2 }
			w.fixed()
			w.upgrade("ada", true)
		}},
	{name: "held", long: true, what: "five archives, and a budget of $0.02 a day", before: "not measured",
		most: bounds{5, 5 * price, 0, 0.5}, ends: "held, nothing is requested; approved, and back",
		play: func(w *world) {
			w.cfg.UserBudget = "0.02"
			w.archived("ada", 1, 2, 3, 4, 5)
			w.runAll()
			w.upgrade("ada", true)
			for p := w.account("ada").Plan; p == nil || p.State != archive.PlanHeld; p = w.account("ada").Plan {
				time.Sleep(100 * time.Millisecond)
			}
			// A task of whatever comes once it is held: two would be within the budget.
			w.emit(events.ThawRequested{ID: "late", JobID: "ada-00", UserID: "ada", ArchiveID: w.job("ada-00").ArchiveID})
			w.during(25 * time.Hour)
			if w.did() > 0 || w.account("ada").Plan.State != archive.PlanHeld {
				w.t.Errorf("%d retrievals, plan %+v", w.did(), w.account("ada").Plan)
			}
			w.fixed()
			w.approve("ada", 5*price)
		}},
	{name: "next-day", long: true, what: "two users with two archives each, and a budget of $0.03 a day for all", before: "not measured",
		most: bounds{4, 4 * price, 0, 26}, ends: "the second user waits for the next day",
		play: func(w *world) {
			w.cfg.DayBudget = "0.031"
			w.archived("user0", 1, 2)
			w.archived("user1", 1, 2)
			w.runAll()
			w.upgrade("user0", true)
			time.Sleep(30 * time.Minute)
			w.upgrade("user1", true)
			w.back(30 * time.Hour)
			w.checkBudget(31*cent/10, "")
		}},
	{name: "many-spend", long: true, what: "seven users upgrade at once, two thaws, and a budget of $0.041 a day", before: "not measured",
		most: bounds{7, 7 * price, 0, 26}, ends: "four the first day, the others the next; all are back",
		play: func(w *world) {
			// Slow calls: all seven are planned before the budget is used up.
			w.cfg.DayBudget, w.cfg.ThawRate = "0.041", 0.1
			for _, u := range some(7) {
				w.archived(u, 1000)
				w.Account(u, archive.Free)
			}
			w.runAll()
			w.run("thaw")
			for _, u := range some(7) {
				w.tries(func() error {
					_, err := w.Catalog.SetRole(w.t.Context(), u, archive.Premium, time.Now())
					return err
				})
			}
			w.back(30 * time.Hour)
			w.checkBudget(41*cent/10, "")
		}},
	{name: "stopped", what: "an operator stops everything, for three hours", before: "not measured",
		most: bounds{3, 3 * price, 0, 0.5}, ends: "nothing is requested; it continues without help",
		play: func(w *world) {
			w.archived("ada", 1, 2, 3)
			w.runAll()
			w.stopAll(func() {
				time.Sleep(time.Minute)
				w.upgrade("ada", true)
				time.Sleep(3 * time.Hour)
			})
			w.fixed()
		}},
	{name: "stopped-user", what: "an operator stops one user, for two hours; another goes on", before: "not measured",
		most: bounds{4, 4 * price, 0, 0.5}, ends: "nothing of theirs is requested; it continues without help",
		play: func(w *world) {
			w.archived("user0", 1, 2)
			w.archived("user1", 1, 2)
			w.runAll()
			w.upgrade("user1", true)
			w.switches(func(s *archive.Switches) {
				s.Users = map[events.UserID]archive.Hold{"user0": {Reason: "somebody asks", At: time.Now()}}
			})
			time.Sleep(obeyed)
			w.upgrade("user0", true)
			w.emit(events.ThawRequested{ID: "late", JobID: "user0-00", UserID: "user0", ArchiveID: w.job("user0-00").ArchiveID})
			time.Sleep(2 * time.Hour)
			if n := w.did(); n != 2 || w.job("user0-00").RetrievalID != "" {
				w.t.Errorf("%d retrievals while a user is stopped, want 2", n)
			}
			w.fixed()
			w.switches(func(s *archive.Switches) { s.Users = nil })
		}},
	{name: "refunds", what: "Expedited is full, and there is a budget for what Standard costs", before: "not measured",
		most: bounds{6, price, 0, 2}, ends: "the amount for the dearer tier is given back",
		play: func(w *world) {
			w.trouble(expeditedFull, 1)
			w.cfg.DayBudget, w.cfg.Tiers = "0.0401", []string{"Expedited", "Standard"}
			w.Glacier.SetExpeditedRefusal(1)
			for _, u := range some(6) {
				w.archived(u, 1000)
				w.Account(u, archive.Free)
			}
			w.runAll()
			for _, u := range some(6) {
				w.tries(func() error {
					_, err := w.Catalog.SetRole(w.t.Context(), u, archive.Premium, time.Now())
					return err
				})
				time.Sleep(10 * time.Minute)
			}
		}},
	{name: "streams-lost", what: "PREMIUM, THAW and RESTORE are lost while twenty archives are on their way", before: "not measured",
		most: bounds{20, 20 * price, 0, 3}, ends: "the sweep goes on from the catalog",
		play: func(w *world) {
			w.trouble(expeditedFull, 1)
			w.Glacier.SetExpeditedCapacity(8, time.Hour)
			w.archived("ada", make([]int, 20)...)
			w.runAll()
			w.upgrade("ada", true)
			for w.asked() < 10 {
				time.Sleep(50 * time.Millisecond)
			}
			w.loseStreams(events.StreamPremium, events.StreamThaw, events.StreamRestore, events.StreamStatus)
		}},
	{name: "buckets-lost", what: "all buckets are lost while twenty archives are on their way", before: "not measured",
		most: bounds{20, 20 * price, 0, 2}, ends: "back, without a note",
		play: func(w *world) {
			w.archived("ada", make([]int, 20)...)
			w.runAll()
			w.upgrade("ada", true)
			for w.asked() < 10 {
				time.Sleep(50 * time.Millisecond)
			}
			w.loseStreams("KV_"+bus.BucketPlans, "KV_"+bus.BucketPace, "KV_"+bus.BucketSweep, "KV_"+bus.BucketCopies, "KV_"+bus.BucketAttempts, "KV_"+bus.BucketSessions, "KV_"+bus.BucketLogins)
		}},
	{name: "list-lags", what: "thaw dies when it has asked, and Glacier's list lags by 40 s", before: "not measured",
		most: bounds{1, price, 0, 1}, ends: "found in the list, and adopted", how: nth("thaw Glacier.InitiateJob", 0, crashAfter),
		play: func(w *world) {
			w.trouble(indexesLate, 1)
			w.Glacier.SetListLag(40 * time.Second)
			w.DynamoDB.SetIndexLag(20 * time.Second)
			w.one()
		}},
	{name: "frozen", what: "thaw stands still for five minutes in its first call, and another goes on", before: "not measured",
		most: bounds{2, 2 * price, 0, 1}, ends: "the gap that Glacier leaves: at most one more, found and counted",
		play: func(w *world) { w.ailing("thaw", frozen) }},
	{name: "deaf", what: "no answer reaches thaw for five minutes", before: "not measured",
		most: bounds{1, price, 0, 1}, ends: "one retrieval", play: func(w *world) { w.ailing("thaw", deaf) }},
	{name: "mute", what: "nothing that thaw sends arrives for five minutes", before: "not measured",
		most: bounds{1, price, 0, 1}, ends: "one retrieval", play: func(w *world) { w.ailing("thaw", mute) }},
	{name: "frozen-restore", what: "restore stands still for five minutes", before: "not measured",
		most: bounds{1, price, 0, 1}, ends: "one retrieval", play: func(w *world) { w.ailing("restore", frozen) }},
	{name: "two-notifications", what: "the vault sends notifications too", before: "not measured",
		most: bounds{3, 3 * price, 0, 1}, ends: "back once",
		play: func(w *world) {
			w.notificationsOfVault()
			w.archived("ada", 1, 2, 3)
			w.runAll()
			w.upgrade("ada", true)
		}},
	{name: "redrive", what: "both queues have a redrive policy of three receives, and NATS is away for two hours", before: "the message is in the dead-letter queue after 19 s, and a Free user's upgrade is lost",
		most: bounds{1, price, 0, 2.6}, ends: "nothing is received while nothing can be stored; back",
		play: func(w *world) {
			w.trouble(published, 1)
			w.archived("ada", 1000)
			w.Account("ada", archive.Free)
			away := []func() (waiting int){w.redrive(w.cfg.PremiumQueue), w.redrive(w.cfg.RestoreQueue)}
			w.runAll()
			time.Sleep(time.Minute)
			time.AfterFunc(10*time.Second, func() { w.publish("ada") })
			w.stopServer(2 * time.Hour)
			w.back(time.Hour)
			for _, count := range away {
				if n := count(); n != 0 {
					w.t.Errorf("%d messages are in a dead-letter queue", n)
				}
			}
		}},
	{name: "not-ours", what: "other tools' notifications and tests come to the restore topic, and an upgrade to the queue as it is, with fields named like an envelope's", before: "a dead letter each",
		most: bounds{1, price, 0, 1}, ends: "counted and dropped; the upgrade is carried out",
		play: func(w *world) {
			w.trouble(published, 1)
			w.archived("ada", 1000)
			w.Account("ada", archive.Free)
			w.runAll()
			for _, body := range []string{
				`{"Action":"InventoryRetrieval","JobId":"i","StatusCode":"Succeeded","Completed":true,"InventorySizeInBytes":10}`,
				`{"Service":"Amazon S3","Event":"s3:TestEvent","Bucket":"b"}`,
				`{"Action":"ArchiveRetrieval","ArchiveId":"theirs","JobId":"r","JobDescription":"nightly check","StatusCode":"Succeeded","Completed":true,"ArchiveSizeInBytes":1,"SNSTopic":null}`,
			} {
				w.tries(func() error {
					_, err := sns.NewFromConfig(w.Config).Publish(w.t.Context(), &sns.PublishInput{TopicArn: &w.cfg.RestoreTopic, Message: &body})
					return err
				})
			}
			w.tries(func() error {
				_, err := sqs.NewFromConfig(w.Config).SendMessage(w.t.Context(), &sqs.SendMessageInput{
					QueueUrl: &w.cfg.PremiumQueue, MessageBody: aws.String(`{"user_id":"ada","type":"upgrade","Type":"upgrade","timestamp":"yesterday","message":"thanks"}`),
				})
				return err
			})
			w.back(time.Hour)
		}},
	{name: "payload-lowered", what: "NATS takes no more than 100 bytes at a time, for ten minutes", before: "the services' connections are closed for good, and the processes live on",
		most: bounds{1, price, 0, 1}, ends: "the processes end and are started again; back when there is room",
		play: func(w *world) {
			w.archived("ada", 1000)
			w.runAll()
			w.upgrade("ada", true)
			w.reload("max_payload: 4MB", "max_payload: 100")
			time.Sleep(10 * time.Minute)
			w.reload()
		}},
	{name: "nulls", what: "a job in which boto3 wrote None for the retrieval and the bill", before: "the archive waits for ever",
		most: bounds{1, price, 0, 1}, ends: "back: a NULL counts as absent",
		play: func(w *world) {
			w.archived("ada", 1000)
			null := &types.AttributeValueMemberNULL{Value: true}
			for _, name := range []string{"retrieval_request_id", "billed_micro_usd", "retrieval_intent", "retrieval_tries"} {
				w.SetAttribute("ada-00", name, null)
			}
			w.runAll()
			w.upgrade("ada", true)
		}},
	{name: "status-late", what: "a file is back, and then comes a status from before, of a worker that stood still", before: "the page shows the old status for ever",
		most: bounds{2, 2 * price, 0, 0.1}, ends: "the sweep tells that the file is back, and closes the plan",
		play: func(w *world) {
			w.archived("ada", 1000, 1001)
			w.runAll()
			w.upgrade("ada", true)
			w.back(time.Hour)
			for id, state := range map[events.JobID]events.State{"ada-00": archive.Planned, "ada-01": archive.Copying} {
				w.emit(events.StatusChanged{JobID: id, UserID: "ada", State: state, At: time.Now(), Step: "late"})
			}
			w.fixed()
		}},
	{name: "planned-behind", what: "a file is back, and the index does not show it yet: for a second message of the plan, a worker tells that the file is planned, and dies before it publishes the task", before: "not measured",
		most: bounds{1, price, 0, 0.5}, ends: "the sweep tells that the file is back, and closes the plan",
		play: func(w *world) {
			w.trouble(indexesLate, 1)
			const behind = 20 * time.Second // a message comes again after 30
			w.DynamoDB.SetIndexLag(behind)
			w.Glacier.SetDelay(glacier.Expedited, time.Second, 2*time.Second)
			w.how = nth("thaw NATS.publish thaw.requested", 1, crashBefore)
			w.archived("ada", 1000)
			time.Sleep(behind)
			w.runAll()
			w.upgrade("ada", true)
			for w.job("ada-00").ArchiveID != "" {
				time.Sleep(time.Second)
			}
			w.emit(events.UserUpgraded{ID: "again", UserID: "ada", UpgradedAt: time.Now()})
			w.fixed()
		}},
	{name: "archived-by-another", what: "all reports of Glacier are lost; another program brings the file back, archives another one and leaves the retrieval's id", before: "the earlier file came back, and the new archive was deleted",
		most: bounds{2, 2 * price, 0, 1}, ends: "the retrieval is taken back, and the new archive is requested",
		play: func(w *world) {
			w.SNS.SetDelivery(func(arn string) []time.Duration {
				if arn == w.cfg.RestoreTopic && w.did() < 2 {
					return nil
				}
				return []time.Duration{0}
			})
			w.one()
			w.during(7 * time.Minute)
			w.archivedByAnother("ada-00")
			w.fixed()
		}},
	{name: "brought-back", what: "Glacier's answers to requests are lost; another program brings one file back then, and another one when its retrieval is on its way", before: "the site said for ever that they were being restored",
		most: bounds{3, 3 * price, 0, 1}, ends: "the pipeline removes the entries, reports all files as restored, and closes the plan",
		play: func(w *world) {
			w.archived("ada", 1000, 1001, 1002)
			w.runAll()
			w.faults(localaws.Fault{Service: "glacier", Operation: "InitiateJob", Cut: true})
			w.upgrade("ada", true)
			for w.job("ada-00").Intent == nil {
				time.Sleep(time.Second)
			}
			w.broughtBack("ada-00")
			w.Faults.Clear()
			for w.job("ada-01").RetrievalID == "" {
				time.Sleep(time.Second)
			}
			w.broughtBack("ada-01")
			w.fixed()
		}},
	{name: "brought-back-unheard", what: "all reports of Glacier are lost; another program brings three files back when their retrievals are on their way", before: "the site said for ever that they were being restored",
		most: bounds{3, 3 * price, 0, 1}, ends: "the sweep makes the restorer remove the entries and report the files as restored",
		play: func(w *world) {
			w.unheard()
			w.archived("ada", 1000, 1001, 1002)
			w.runAll()
			w.upgrade("ada", true)
			for _, id := range w.files("ada") {
				for w.job(id).RetrievalID == "" {
					time.Sleep(time.Second)
				}
				w.broughtBack(id)
			}
			w.fixed()
		}},
	{name: "cut-off", what: "every call of DynamoDB, Glacier and S3 is cut off, for four hours", before: "dead letters after two hours",
		most: bounds{3, 3 * price, 0, 1.5}, ends: "back without help, and no letter is written",
		play: func(w *world) {
			w.archived("ada", 1000, 1001, 1002)
			w.runAll()
			w.upgrade("ada", true)
			for w.asked() < 1 {
				time.Sleep(time.Second)
			}
			for _, service := range []string{"dynamodb", "glacier", "s3"} {
				w.faults(localaws.Fault{Service: service, Cut: true})
			}
			time.Sleep(4 * time.Hour)
			w.fixed()
			w.Faults.Clear()
		}},
	{name: "wanted-first", what: "thaw may request one archive a second, the user has 200, and wants the last one first", before: "the file came last",
		most: bounds{200, 200 * price, 0, 1}, ends: "it is requested and back among the first, and no other file suffers",
		play: func(w *world) {
			w.cfg.ThawRate = 1
			w.trouble(crowd, 1)
			w.archived("ada", make([]int, 200)...)
			files := w.files("ada")
			w.runAll()
			w.upgrade("ada", true)
			w.choose("ada", files[len(files)-1])
			w.back(2 * time.Hour)
			w.mu.Lock()
			defer w.mu.Unlock()
			before, own := 0, slices.IndexFunc(w.ended, func(r retrieval) bool { return r.job == files[len(files)-1] })
			for _, r := range w.ended {
				if r.asked.Before(w.ended[own].asked) {
					before++
				}
			}
			if before > 50 || w.troubles[chosen] != 1 {
				w.t.Errorf("%d of %d retrievals began before the one that the user wanted first", before, len(w.ended))
			}
			w.fixed()
		}},
	{name: "wanted-first-unheard", what: "all reports of Glacier are lost, and the user wants one of three files first", before: "the file came with the sweep",
		most: bounds{3, 3 * price, 0, 1.5}, ends: "the file is back within two minutes, and the sweep finds the others",
		play: func(w *world) {
			w.unheard()
			w.archived("ada", 1000, 1001, 1002)
			w.runAll()
			w.upgrade("ada", true)
			w.during(9 * time.Minute)
			w.choose("ada", "ada-01")
			w.during(2 * time.Minute)
			for _, id := range w.files("ada") {
				if back := w.job(id).ArchiveID == ""; back != (id == "ada-01") {
					w.t.Errorf("after two minutes, %s is back: %v", id, back)
				}
			}
			w.fixed()
		}},
	{name: "pages", what: "1,050 archives, and THAW is lost when a hundred are requested", before: "not measured",
		most: bounds{1050, 1050 * price, 0, 12}, ends: "the sweep looks over all pages, and goes on",
		play: func(w *world) {
			w.trouble(crowd, 1)
			w.archived("ada", make([]int, 1050)...)
			w.runAll()
			w.upgrade("ada", true)
			for w.asked() < 100 {
				time.Sleep(50 * time.Millisecond)
			}
			w.loseStreams(events.StreamPremium, events.StreamThaw, events.StreamStatus)
		}},
}, coldScenes...)
