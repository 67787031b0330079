package wiring_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/glacier"

	"github.com/gas-restore/gas/internal/archive"
	"github.com/gas-restore/gas/internal/aws/s3"
	"github.com/gas-restore/gas/internal/aws/sqs"
	"github.com/gas-restore/gas/internal/estate"
	"github.com/gas-restore/gas/internal/fault"
	"github.com/gas-restore/gas/internal/test/testenv"
	"github.com/gas-restore/gas/pkg/events"
)

// deeds are everything that the services do at their ports to AWS, in each situation in which
// an adapter makes other calls.
func deeds() (all []deed) {
	add := func(role, method, when string, want *fault.Kind, do func(context.Context, *scene) error) {
		all = append(all, deed{role, method, when, do, want})
	}
	gone, conflict := wants(fault.NotFound), wants(fault.Conflict)

	bridgeDeeds(func(method, when string, want *fault.Kind, do func(context.Context, *scene) error) {
		add(estate.BridgeRole, method, when, want, do)
	})

	// Every service but the bridge reads the catalog.
	type do = func(context.Context, *scene) error
	account := func(c context.Context, s *scene) error { return second(s.catalog.Account(c, s.user(archive.Free).ID)) }
	openPlan := func(c context.Context, s *scene) error { return s.catalog.OpenPlan(c, s.user(archive.Free), s.plan()) }
	page := func(c context.Context, s *scene) error {
		_, _, err := s.catalog.ArchivedPage(c, "fern", "")
		return err
	}
	job := func(c context.Context, s *scene) error { return second(s.catalog.Job(c, s.inVault().ID)) }
	read := func(c context.Context, s *scene) error {
		o := s.result()
		found, err := s3.New(s.Config).Stat(c, o)
		if err != nil {
			s.t.Fatal(err)
		}
		r, err := s.bucket.Read(c, found, 1)
		if err == nil {
			r.Close()
		}
		return err
	}
	switches := func(c context.Context, s *scene) error { return second(s.catalog.Switches(c)) }

	for method, do := range map[string]do{
		"thaw.Accounts.Account": account,
		"thaw.Plans.OpenPlan":   openPlan,
		"thaw.Plans.HoldPlan": func(c context.Context, s *scene) error {
			a := s.user(archive.Premium)
			return s.catalog.HoldPlan(c, a.ID, a.Plan.ID, "it would cost too much", time.Now())
		},
		"thaw.Plans.ResumePlan": func(c context.Context, s *scene) error {
			a := s.user(archive.Premium)
			return s.catalog.ResumePlan(c, a.ID, a.Plan.ID, 1, time.Now())
		},
		"thaw.Budgets.Spent": func(c context.Context, s *scene) error {
			_, _, err := s.catalog.Spent(c, "2026-11-27", "fern")
			return err
		},
		"thaw.Budgets.Spend": func(c context.Context, s *scene) error {
			return second(s.catalog.Spend(c, archive.Spending{Amount: 1, Day: "2026-11-27", User: "fern", DayLimit: archive.Dollar, UserLimit: archive.Dollar}))
		},
		"thaw.Budgets.Return": func(c context.Context, s *scene) error {
			return s.catalog.Return(c, archive.Spending{Amount: 1, Day: "2026-11-27", User: "fern"})
		},
		"thaw.Switches.Switches":         switches,
		"thaw.ArchivedJobs.ArchivedPage": page,
		"thaw.Catalog.Job":               job,
		"thaw.Catalog.SaveIntent": func(c context.Context, s *scene) error {
			return s.catalog.SaveIntent(c, s.inVault(), archive.Intent{Token: s.name("token"), At: time.Now(), Due: time.Now()})
		},
		"thaw.Catalog.DropIntent": func(c context.Context, s *scene) error {
			j := s.intended(s.inVault())
			return s.catalog.DropIntent(c, j, *j.Intent)
		},
		"thaw.Catalog.ClearLeftovers": func(c context.Context, s *scene) error { return s.catalog.ClearLeftovers(c, s.leftBehind()) },
		"thaw.Catalog.SaveRetrieval": func(c context.Context, s *scene) error {
			j := s.intended(s.inVault())
			return s.catalog.SaveRetrieval(c, j, *j.Intent, archive.Retrieval{ID: "r", Tier: archive.Standard, RequestedAt: time.Now()})
		},
		"thaw.Vault.Retrieve": func(c context.Context, s *scene) error {
			return second(s.store.Retrieve(c, s.intended(s.inVault()), archive.Standard))
		},
		"thaw.Vault.Retrievals": func(c context.Context, s *scene) error {
			return first(s.store.Retrievals(c, []archive.Job{s.inVault()}, nil))
		},
		"thaw.Vault.Describe":        func(c context.Context, s *scene) error { return second(s.store.Describe(c, s.retrieved(s.inVault()))) },
		"reconcile.Catalog.DueJobs":  func(c context.Context, s *scene) error { return first(s.catalog.DueJobs(c, time.Now())) },
		"reconcile.Catalog.DuePlans": func(c context.Context, s *scene) error { return first(s.catalog.DuePlans(c, time.Now())) },
		"reconcile.Catalog.JobsOf": func(c context.Context, s *scene) error {
			return second(s.catalog.JobsOf(c, []events.JobID{s.inVault().ID}))
		},
		"reconcile.Catalog.AccountsOf": func(c context.Context, s *scene) error {
			return second(s.catalog.AccountsOf(c, []events.UserID{s.user(archive.Free).ID}))
		},
		"reconcile.Catalog.ArchivedPage": page,
		"reconcile.Catalog.ArchivedScan": func(c context.Context, s *scene) error { _, _, err := s.catalog.ArchivedScan(c, ""); return err },
		"reconcile.Catalog.Nudged": func(c context.Context, s *scene) error {
			return s.catalog.Nudged(c, s.intended(s.inVault()), time.Now(), false)
		},
		"reconcile.Catalog.ClearLeftovers": func(c context.Context, s *scene) error { return s.catalog.ClearLeftovers(c, s.leftBehind()) },
		"reconcile.Catalog.OpenPlan":       openPlan,
		"reconcile.Catalog.PlanLooked": func(c context.Context, s *scene) error {
			a := s.user(archive.Premium)
			return s.catalog.PlanLooked(c, a.ID, a.Plan.ID, time.Now(), time.Now())
		},
		"reconcile.Catalog.ClosePlan": func(c context.Context, s *scene) error {
			a := s.user(archive.Premium)
			return s.catalog.ClosePlan(c, a.ID, *a.Plan, time.Now())
		},
		"reconcile.Vault.Describe": func(c context.Context, s *scene) error { return second(s.store.Describe(c, s.retrieved(s.inVault()))) },
		"reconcile.Vault.Retrievals": func(c context.Context, s *scene) error {
			return first(s.store.Retrievals(c, []archive.Job{s.inVault()}, nil))
		},
	} {
		add(estate.ThawRole, method, "", nil, do)
	}
	add(estate.ThawRole, "thaw.Vault.Retrieve", "of an archive that is gone", gone, func(c context.Context, s *scene) error {
		j := s.intended(s.inVault())
		if _, err := s.Vaults.DeleteArchive(c, &glacier.DeleteArchiveInput{AccountId: aws.String("-"), VaultName: &s.place.Vault, ArchiveId: aws.String(string(j.ArchiveID))}); err != nil {
			s.t.Fatal(err)
		}
		return second(s.store.Retrieve(c, j, archive.Standard))
	})
	add(estate.ThawRole, "thaw.Vault.Retrieve", "of a version in S3", nil, func(c context.Context, s *scene) error {
		return second(s.store.Retrieve(c, s.intended(s.inBucket()), archive.Standard))
	})
	add(estate.ThawRole, "thaw.Vault.Retrieve", "of an object in S3 without versions", nil, func(c context.Context, s *scene) error {
		return second(s.store.Retrieve(c, plainly(s.intended(s.inBucket())), archive.Standard))
	})
	add(estate.ThawRole, "thaw.Vault.Describe", "of an object that is gone", gone, func(c context.Context, s *scene) error {
		return second(s.store.Describe(c, s.lost(s.retrieved(s.inBucket()))))
	})
	add(estate.ThawRole, "thaw.Vault.Retrievals", "in S3", nil, func(c context.Context, s *scene) error {
		return first(s.store.Retrievals(c, []archive.Job{s.inBucket()}, nil))
	})
	add(estate.ThawRole, "thaw.Catalog.SaveIntent", "on a job that boto3 wrote", nil, func(c context.Context, s *scene) error {
		j := s.inVault()
		s.odd(testenv.Jobs, "job_id", string(j.ID), "retrieval_request_id")
		return s.catalog.SaveIntent(c, j, archive.Intent{Token: s.name("token"), At: time.Now(), Due: time.Now()})
	})

	for method, do := range map[string]do{
		"restore.Catalog.Job": job,
		"restore.Catalog.ClearArchive": func(c context.Context, s *scene) error {
			j := s.retrieved(s.inVault())
			j.RestoredBy = j.RetrievalID
			return s.catalog.ClearArchive(c, j)
		},
		"restore.Catalog.ClearRetrieval": func(c context.Context, s *scene) error {
			return s.catalog.ClearRetrieval(c, s.retrieved(s.inVault()), archive.GlacierFailed, time.Now())
		},
		"restore.Catalog.ClearLeftovers": func(c context.Context, s *scene) error { return s.catalog.ClearLeftovers(c, s.leftBehind()) },
		"restore.Vault.Output":           func(c context.Context, s *scene) error { return s.read(c, s.retrieved(s.inVault())) },
		"restore.Vault.Describe":         func(c context.Context, s *scene) error { return second(s.store.Describe(c, s.retrieved(s.inVault()))) },
		"restore.Vault.Delete":           func(c context.Context, s *scene) error { return s.store.Delete(c, s.proven(s.inVault())) },
		"restore.Bucket.Stat":            func(c context.Context, s *scene) error { return second(s.bucket.Stat(c, s.result())) },
		"restore.Bucket.Read":            read,
		"restore.Bucket.Put": func(c context.Context, s *scene) error {
			return second(s.bucket.Put(c, s.nowhere(), archive.Mark{Archive: "a"}, []byte(body), sumOf()))
		},
		"restore.Uploads.Begin": func(c context.Context, s *scene) error {
			return second(s.bucket.Begin(c, s.nowhere(), archive.Mark{Archive: "a"}))
		},
		"restore.Uploads.Unfinished": func(c context.Context, s *scene) error { return second(s.mine(c)) },
		"archive.Upload.ID":          func(c context.Context, s *scene) error { return second(s.mine(c)) },
		"archive.Upload.Parts": func(c context.Context, s *scene) error {
			u, err := s.mine(c)
			if err != nil {
				return err
			}
			return second(u.Parts(c))
		},
		"archive.Upload.Put": func(c context.Context, s *scene) error {
			u, err := s.mine(c)
			if err != nil {
				return err
			}
			return second(u.Put(c, 1, strings.NewReader(body), int64(len(body)), nil))
		},
		"archive.Upload.Complete": func(c context.Context, s *scene) error {
			u, err := s.mine(c)
			if err != nil {
				return err
			}
			p, err := u.Put(c, 1, strings.NewReader(body), int64(len(body)), nil)
			if err != nil {
				return err
			}
			return second(u.Complete(c, []archive.Part{p}, p.Sum))
		},
		"archive.Upload.Abort": func(c context.Context, s *scene) error {
			u, err := s.mine(c)
			if err != nil {
				return err
			}
			return u.Abort(c)
		},
	} {
		add(estate.RestoreRole, method, "", nil, do)
	}
	add(estate.RestoreRole, "restore.Vault.Output", "of a retrieval that is gone", gone, func(c context.Context, s *scene) error {
		return s.read(c, unknown(s.retrieved(s.inVault())))
	})
	add(estate.RestoreRole, "restore.Vault.Output", "of a version in S3", nil, func(c context.Context, s *scene) error { return s.read(c, s.retrieved(s.inBucket())) })
	add(estate.RestoreRole, "restore.Vault.Output", "of an object in S3 without versions", nil, func(c context.Context, s *scene) error {
		return s.read(c, plainly(s.retrieved(s.inBucket())))
	})
	add(estate.RestoreRole, "restore.Vault.Output", "of an object that is gone", gone, func(c context.Context, s *scene) error {
		return s.read(c, s.lost(s.retrieved(s.inBucket())))
	})
	add(estate.RestoreRole, "restore.Vault.Delete", "of a version in S3", nil, func(c context.Context, s *scene) error { return s.store.Delete(c, s.proven(s.inBucket())) })
	add(estate.RestoreRole, "restore.Vault.Delete", "of an object in S3 without versions", nil, func(c context.Context, s *scene) error {
		return s.store.Delete(c, s.proven(plainly(s.inBucket())))
	})
	add(estate.RestoreRole, "restore.Bucket.Stat", "of nothing", gone, func(c context.Context, s *scene) error { return second(s.bucket.Stat(c, s.nowhere())) })
	add(estate.RestoreRole, "restore.Bucket.Put", "over another object", conflict, func(c context.Context, s *scene) error {
		return second(s.bucket.Put(c, s.result(), archive.Mark{Archive: "a"}, []byte(body), sumOf()))
	})

	for method, do := range map[string]do{
		"web.Accounts.Account": account,
		"web.Accounts.AccountAndJob": func(c context.Context, s *scene) error {
			_, _, err := s.catalog.AccountAndJob(c, s.user(archive.Free).ID, s.inVault().ID)
			return err
		},
		"web.Accounts.SignIn": func(c context.Context, s *scene) error {
			return s.catalog.SignIn(c, archive.Account{ID: events.UserID(s.name("new")), Role: archive.Free, Issuer: "https://idp.test"}, nil)
		},
		"web.Accounts.SetRole": func(c context.Context, s *scene) error {
			return second(s.catalog.SetRole(c, s.user(archive.Free).ID, archive.Premium, time.Now()))
		},
		"web.Accounts.OpenPlan": openPlan,
		"web.Accounts.SetFirst": func(c context.Context, s *scene) error {
			a := s.user(archive.Free)
			if _, err := s.Catalog.SetRole(c, a.ID, archive.Premium, time.Now()); err != nil {
				s.t.Fatal(err)
			}
			a, err := s.Catalog.Account(c, a.ID)
			if err != nil {
				s.t.Fatal(err)
			}
			return s.catalog.SetFirst(c, a.ID, a.Plan.ID, "a-job")
		},
		"web.Accounts.Announced": func(c context.Context, s *scene) error {
			a := s.user(archive.Free)
			if _, err := s.Catalog.SetRole(c, a.ID, archive.Premium, time.Now()); err != nil {
				s.t.Fatal(err)
			}
			due, err := s.Catalog.Account(c, a.ID)
			if err != nil {
				s.t.Fatal(err)
			}
			return s.catalog.Announced(c, a.ID, due.AnnounceDue)
		},
		"web.Accounts.Unannounced": func(c context.Context, s *scene) error { return first(s.catalog.Unannounced(c)) },
		"web.Jobs.Select": func(c context.Context, s *scene) error {
			return second(s.catalog.Select(c, "fern", archive.Selection{Limit: 10}))
		},
		"web.Jobs.ArchivedPage": page,
		"web.Jobs.HasArchived":  func(c context.Context, s *scene) error { return second(s.catalog.HasArchived(c, "fern")) },
		"web.Announcer.AnnounceUpgrade": func(c context.Context, s *scene) error {
			return s.topics.AnnounceUpgrade(c, events.UpgradeMessage{UserID: "fern"})
		},
		"web.Downloads.Stat": func(c context.Context, s *scene) error { return second(s.bucket.Stat(c, s.result())) },
		"web.Downloads.Read": read,
		"web.Downloads.PresignGet": func(c context.Context, s *scene) error {
			url, err := s.bucket.PresignGet(c, s.result(), "result.vcf", 24*time.Hour)
			if err != nil {
				return err
			}
			resp, err := (&http.Client{Transport: s.Transport()}).Get(url) // as a browser does
			if err != nil {
				return err
			}
			defer resp.Body.Close()
			if got, err := io.ReadAll(resp.Body); err != nil || resp.StatusCode != 200 {
				return fault.Errorf(fault.Denied, "download: %d: %s: %v", resp.StatusCode, got, err)
			}
			return nil
		},
		"web.Switches.Switches": switches,
	} {
		add(estate.WebRole, method, "", nil, do)
	}
	add(estate.WebRole, "web.Accounts.SignIn", "of somebody with another name", nil, func(c context.Context, s *scene) error {
		a := s.user(archive.Free)
		a.Name = "another"
		return s.catalog.SignIn(c, a, nil)
	})
	add(estate.WebRole, "web.Accounts.AccountAndJob", "while a table is throttled", nil, func(c context.Context, s *scene) error {
		user, job := s.user(archive.Free).ID, s.inVault().ID
		s.busy = true
		_, _, err := s.catalog.AccountAndJob(c, user, job)
		return err
	})
	add(estate.WebRole, "web.Downloads.Stat", "of a file that is not there", gone, func(c context.Context, s *scene) error { return second(s.bucket.Stat(c, s.nowhere())) })
	slices.SortStableFunc(all, func(a, b deed) int { return strings.Compare(a.String(), b.String()) })
	return all
}

func bridgeDeeds(add func(method, when string, want *fault.Kind, do func(context.Context, *scene) error)) {
	for _, name := range []string{estate.Premium, estate.Restore} {
		queue := func(s *scene) *sqs.Queue {
			if name == estate.Premium {
				return s.premium
			}
			return s.restored
		}
		on := func(f func(context.Context, *sqs.Queue, []string) []error) func(context.Context, *scene) error {
			return func(c context.Context, s *scene) error { return f(c, queue(s), s.message(c, queue(s)))[0] }
		}
		when := "of the " + name + " queue"
		add("bridge.Queue.Name", when, nil, func(_ context.Context, s *scene) error {
			if got := queue(s).Name(); got != "gas-"+name {
				return fmt.Errorf("the queue is %q", got)
			}
			return nil
		})
		add("bridge.Queue.Receive", when, nil, func(c context.Context, s *scene) error { return second(queue(s).Receive(c, 0, time.Minute)) })
		add("bridge.Queue.Delete", when, nil, on(func(c context.Context, q *sqs.Queue, r []string) []error { return q.Delete(c, r) }))
		add("bridge.Queue.Return", when, nil, on(func(c context.Context, q *sqs.Queue, r []string) []error { return q.Return(c, r, time.Second) }))
		add("bridge.Queue.Extend", when, nil, on(func(c context.Context, q *sqs.Queue, r []string) []error { return q.Extend(c, r, time.Minute) }))
	}
	for _, topic := range []estate.Thing{estate.PremiumTopic, estate.RestoreTopic} {
		// The token is nobody's: whether the call is allowed, SNS decides before.
		add("bridge.Confirmer.ConfirmSubscription", "of the "+string(topic), wants(fault.Denied), func(c context.Context, s *scene) error {
			return s.topics.ConfirmSubscription(c, s.place.ARN(topic), "no-such-token")
		})
	}
}
