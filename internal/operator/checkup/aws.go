package checkup

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"

	"github.com/gas-restore/gas/internal/archive"
	"github.com/gas-restore/gas/internal/aws/awsclient"
	"github.com/gas-restore/gas/internal/aws/awsestate"
	"github.com/gas-restore/gas/internal/aws/awsfault"
	"github.com/gas-restore/gas/internal/aws/dynamodb"
	"github.com/gas-restore/gas/internal/aws/glacier"
	"github.com/gas-restore/gas/internal/aws/s3"
	"github.com/gas-restore/gas/internal/aws/s3cold"
	"github.com/gas-restore/gas/internal/config"
	"github.com/gas-restore/gas/internal/estate"
	"github.com/gas-restore/gas/internal/fault"
	"github.com/gas-restore/gas/internal/wiring"
	"github.com/gas-restore/gas/pkg/events"
)

// enter records faults of the estate.
func (l *look) enter(what string, faults []estate.Fault, right string) {
	for _, f := range faults {
		if f.Unsure {
			l.unproven(what, f.Problem, f.Fix)
		} else {
			l.wrong(what, f.Problem, f.Fix)
		}
	}
	if len(faults) == 0 {
		l.ok(what, "%s", right)
	}
}

// aws checks everything in AWS.
func (l *look) aws(ctx context.Context, o awsclient.Options) {
	sdk, err := awsclient.Load(ctx, o)
	if err != nil {
		l.wrong("AWS_REGION", err.Error(), "set AWS_REGION, or name a profile that has a region")
		return
	}
	if err := l.try(ctx, func(ctx context.Context) error { _, err := sdk.Credentials.Retrieve(ctx); return err }); err != nil {
		l.wrong("AWS credentials", err.Error(), "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, name a profile, or give the machine a role")
		return
	}
	if l.has(config.Thaw, config.Web) && !l.bad["GAS_PRICES_FILE"] {
		l.prices(sdk.Region)
	}
	if l.has(config.Thaw, config.Restore, config.Web) {
		l.tables(ctx, sdk)
	}
	if l.has(config.Thaw, config.Restore) && l.cfg.ArchiveBucket != "" && !l.bad["GAS_ARCHIVE_BUCKET"] {
		l.archives(ctx, sdk)
	}
	if l.has(config.Thaw, config.Restore) && l.cfg.Vault != "" && !l.bad["GAS_VAULT"] {
		l.vault(ctx, sdk)
	}
	if l.has(config.Restore, config.Web) {
		l.bucket(ctx, sdk)
	}
	l.channels(ctx, sdk)
}

func (l *look) prices(region string) {
	const name = "GAS_PRICES_FILE"
	prices, err := wiring.Prices(l.cfg, region)
	switch {
	case err != nil:
		l.wrong(name, strings.ReplaceAll(strings.TrimPrefix(err.Error(), name+": "), "\n", "; "), "write it as docs/operating.md says, or unset it for the built-in list")
	case prices.StandIn != "" && l.cfg.PricesFile != "":
		l.wrong(name, fmt.Sprintf("%s has no prices of region %s: those of %s are used", l.cfg.PricesFile, region, prices.StandIn), "add the region to the file")
	case prices.StandIn != "":
		l.unproven(name, fmt.Sprintf("the price of retrievals in %s: the built-in list has the prices of %s", region, prices.StandIn), "write a price list with the region, as docs/operating.md says")
	case l.cfg.PricesFile != "":
		l.ok(name, "has the prices of %s as of %s", region, prices.AsOf)
	}
}

// tables compares the tables. Then it reads each table and each index, which proves the
// permission to read.
func (l *look) tables(ctx context.Context, sdk aws.Config) {
	names := wiring.Tables(l.cfg)
	catalog := dynamodb.New(sdk, names)
	variables := []string{"GAS_JOB_TABLE", "GAS_ACCOUNT_TABLE", "GAS_PLAN_TABLE"}
	renames := []string{"GAS_JOB_ATTRIBUTES", "GAS_ACCOUNT_ATTRIBUTES", ""}
	reads := []func(context.Context) error{
		func(ctx context.Context) error {
			_, err := catalog.Job(ctx, nobody)
			_, _, err2 := catalog.Jobs(ctx, nobody, "", 1)
			_, _, err3 := catalog.ArchivedPage(ctx, nobody, "")
			return errors.Join(absent(err), err2, err3, first(catalog.DueJobs(ctx, time.UnixMilli(0))))
		},
		func(ctx context.Context) error {
			_, err := catalog.Account(ctx, nobody)
			return errors.Join(absent(err), first(catalog.DuePlans(ctx, time.UnixMilli(0))))
		},
		func(ctx context.Context) error { _, err := catalog.Switches(ctx); return err },
	}
	for i, want := range estate.Tables(estate.Names{Jobs: names.Jobs, Accounts: names.Accounts, Plans: names.Plans}) {
		if l.bad[variables[i]] || l.bad[renames[i]] {
			continue
		}
		var found *estate.FoundTable
		err := l.try(ctx, func(ctx context.Context) (err error) { found, err = catalog.Look(ctx, want.Name); return err })
		if err != nil {
			l.failed(variables[i], err)
			continue
		}
		faults := want.Compare(found)
		if len(faults) == 0 {
			err = l.try(ctx, reads[i])
		}
		if err != nil {
			l.failed(variables[i], err)
			continue
		}
		l.enter(variables[i], faults, fmt.Sprintf("table %s has the keys and indexes that it needs, and may be read", want.Name))
		if i == 0 && len(faults) == 0 {
			l.jobs(ctx, catalog, want.Name)
		}
		if i == 1 && len(faults) == 0 {
			l.roles(ctx, catalog, want.Name)
		}
	}
}

// nobody is the id of a user and of a job that do not exist.
const nobody = "gas-check-nobody"

// absent drops an error that says that something does not exist: the check expected this.
func absent(err error) error {
	if fault.Is(err, fault.NotFound) {
		return nil
	}
	return err
}

// first reads the first entry of a list, and returns its error.
func first[T any](list func(func(T, error) bool)) (err error) {
	list(func(_ T, e error) bool { err = e; return false })
	return err
}

// jobsLooked is the number of jobs that are read; `gas check --catalog` reads all.
const jobsLooked = 200

// jobs checks how other systems write jobs. If they have another name for the archive's
// id, an upgrade restores nothing.
func (l *look) jobs(ctx context.Context, catalog *dynamodb.Catalog, table string) {
	var page []dynamodb.Record
	if err := l.try(ctx, func(ctx context.Context) (err error) { page, _, err = catalog.Survey(ctx, "", jobsLooked); return err }); err != nil {
		// No service scans this table, so a missing permission to scan is no fault.
		l.unproven("GAS_JOB_TABLE", "the jobs in table "+table+" were not read: "+err.Error(), "let who checks scan the table")
		return
	}
	named, doubtful := 0, 0
	var fix, example string
	for _, r := range page {
		doubt := r.Job.Doubt()
		if _, after, other := strings.Cut(doubt, "set GAS_JOB_ATTRIBUTES="); other {
			named++
			name, _, _ := strings.Cut(after, " ")
			fix = "set GAS_JOB_ATTRIBUTES=" + name
		} else if doubt != "" {
			doubtful++
			example = fmt.Sprintf("%s: %s", r.Job.ID, doubt)
		}
	}
	if named > 0 {
		l.wrong("GAS_JOB_ATTRIBUTES", fmt.Sprintf("%d of %d jobs that were read from table %s have no archive_id, and an attribute that may be it by another name", named, len(page), table), fix)
	}
	if doubtful > 0 {
		l.wrong("GAS_JOB_TABLE", fmt.Sprintf("%d of %d jobs that were read from table %s cannot be worked with: %s", doubtful, len(page), table, example), "run `gas check --catalog`, which names all of them and says how to fix them")
	}
}

// rolesLooked is the number of accounts that are read.
const rolesLooked = 1000

// roles checks the roles that other systems write. If they write another word for
// Premium, the user counts as Free here, and nothing comes back.
func (l *look) roles(ctx context.Context, catalog *dynamodb.Catalog, table string) {
	var roles map[events.UserID]archive.Role
	if err := l.try(ctx, func(ctx context.Context) (err error) { roles, err = catalog.Roles(ctx, rolesLooked); return err }); err != nil {
		l.failed("GAS_ACCOUNT_TABLE", err)
		return
	}
	odd := 0
	var user events.UserID
	for u, role := range roles {
		if role != archive.Free && role != archive.Premium {
			if odd++; user == "" || u < user {
				user = u
			}
		}
	}
	if odd > 0 {
		l.wrong("GAS_ACCOUNT_TABLE", fmt.Sprintf("%d of %d accounts that were read from table %s have a role that is neither %s nor %s, which counts as Free: the role of user %s is %q",
			odd, len(roles), table, archive.Free, archive.Premium, user, roles[user]), fmt.Sprintf("write %q into the role of paying users", archive.Premium))
	}
}

func (l *look) vault(ctx context.Context, sdk aws.Config) {
	vault := glacier.New(sdk, l.cfg.Vault, l.cfg.RestoreTopic)
	err := l.try(ctx, vault.Check)
	if err == nil { // a list of retrievals is needed to find an interrupted request
		err = l.try(ctx, func(ctx context.Context) error { return first(vault.Retrievals(ctx, nil, nil)) })
	}
	if fault.CauseOf(err) == awsfault.NoVaults {
		l.wrong("GAS_VAULT", "this account may not use Glacier vaults: "+err.Error(),
			"use the account that has the vault; Amazon takes no new customers for vaults since 15 December 2025")
		return
	}
	if err != nil {
		l.failed("GAS_VAULT", err)
		return
	}
	l.ok("GAS_VAULT", "vault %s is there, and its retrievals can be listed", l.cfg.Vault)
}

// archives checks the bucket of archives.
func (l *look) archives(ctx context.Context, sdk aws.Config) {
	store := s3cold.New(sdk, l.cfg.ArchiveBucket, l.cfg.ArchiveDays)
	err := l.try(ctx, store.Check)
	if err == nil { // the sweep lists the bucket to find temporary copies that nobody told of
		probe := archive.Job{ID: nobody, Copy: archive.Copy{Class: archive.Glacier, Bucket: l.cfg.ArchiveBucket, Key: nobody + "/" + nobody}}
		err = l.try(ctx, func(ctx context.Context) error { return first(store.Retrievals(ctx, []archive.Job{probe}, nil)) })
	}
	if err != nil {
		l.failed("GAS_ARCHIVE_BUCKET", err)
		return
	}
	l.ok("GAS_ARCHIVE_BUCKET", "bucket %s is there, and its archives can be listed", l.cfg.ArchiveBucket)
	l.copies(ctx, awsestate.New(sdk))
}

// copies checks whether the bridge hears of temporary copies, and whether an archive can be
// told from another object at its key. Neither loses a file, and there are other ways for both.
func (l *look) copies(ctx context.Context, account *awsestate.Account) {
	const name = "GAS_ARCHIVE_BUCKET"
	bucket, fix := l.cfg.ArchiveBucket, "gas provision aws"
	var versions, told bool
	if err := l.try(ctx, func(ctx context.Context) (err error) {
		versions, told, err = account.Archives(ctx, bucket, l.cfg.RestoreTopic)
		return err
	}); err != nil {
		l.unproven(name, err.Error(), "let these credentials read the versions and notifications of the bucket")
		return
	}
	if !versions {
		l.unproven(name, fmt.Sprintf("bucket %s keeps no versions: each archive_locator needs the ETag of its object", bucket), fix)
	}
	if !told {
		l.unproven(name, fmt.Sprintf("bucket %s does not tell topic %s about temporary copies: unless EventBridge does, a file comes back only when the sweep finds its copy", bucket, l.cfg.RestoreTopic), fix)
		return
	}
	var topic *estate.FoundTopic
	if err := l.try(ctx, func(ctx context.Context) (err error) {
		topic, err = account.Topic(ctx, l.cfg.RestoreTopic)
		return err
	}); err == nil && topic != nil && !topic.LetsPublish(estate.S3) {
		l.wrong(name, fmt.Sprintf("the policy of topic %s does not let %s publish: nobody hears of temporary copies until the sweep finds them", l.cfg.RestoreTopic, estate.S3), fix)
	}
}

func (l *look) bucket(ctx context.Context, sdk aws.Config) {
	bucket := s3.New(sdk)
	err := l.try(ctx, func(ctx context.Context) error { return bucket.Check(ctx, l.cfg.Bucket) })
	if err == nil { // S3 says that a key does not exist only to a user who may read the key and list
		err = l.try(ctx, func(ctx context.Context) error {
			_, err := bucket.Exists(ctx, archive.Object{Bucket: l.cfg.Bucket, Key: nobody})
			return err
		})
	}
	if err != nil {
		l.failed("GAS_RESULTS_BUCKET", err)
		return
	}
	l.ok("GAS_RESULTS_BUCKET", "bucket %s is there, and may be read", l.cfg.Bucket)
	var cold, read int
	if err := l.try(ctx, func(ctx context.Context) (err error) {
		cold, read, err = bucket.CountCold(ctx, l.cfg.Bucket)
		return err
	}); err == nil && cold > 0 {
		l.unproven("GAS_RESULTS_BUCKET", fmt.Sprintf("%d of %d objects that were read are in GLACIER or DEEP_ARCHIVE at their own keys, as a lifecycle rule leaves them: "+
			"they have no archive_id, so no plan brings them back", cold, read), "end the lifecycle rule; restore these objects by hand, or archive them into GAS_ARCHIVE_BUCKET")
	}
}

// end is a topic with its queue, as in the configuration.
type end struct {
	channel         estate.Channel
	topicVar, topic string
	queueVar, queue string
	topicFor        []config.Service
	foundTopic      *estate.FoundTopic
	topicKnown      bool
}

// channels compares topics, queues and subscriptions.
func (l *look) channels(ctx context.Context, sdk aws.Config) {
	account := awsestate.New(sdk)
	of := estate.Channels()
	ends := []*end{
		{channel: of[0], topicVar: "GAS_PREMIUM_TOPIC_ARN", topic: l.cfg.PremiumTopic, queueVar: "GAS_PREMIUM_QUEUE_URL", queue: l.cfg.PremiumQueue, topicFor: []config.Service{config.Bridge, config.Web}},
		{channel: of[1], topicVar: "GAS_RESTORE_TOPIC_ARN", topic: l.cfg.RestoreTopic, queueVar: "GAS_RESTORE_QUEUE_URL", queue: l.cfg.RestoreQueue, topicFor: []config.Service{config.Bridge, config.Thaw}},
	}
	for i, e := range ends {
		if !l.has(e.topicFor...) || l.bad[e.topicVar] {
			continue
		}
		if region := part(e.topic, 3); region != sdk.Region {
			l.wrong(e.topicVar, fmt.Sprintf("the topic is in region %s, and AWS_REGION is %s", region, sdk.Region), "take a topic of the region, or set AWS_REGION to the topic's")
			continue
		}
		found, err := l.topic(ctx, account, e)
		if err != nil {
			l.failed(e.topicVar, err)
			continue
		}
		e.foundTopic, e.topicKnown = found, true
		l.enter(e.topicVar, e.channel.CompareTopic(found, e.topic, of[1-i].Webhook), e.told(found))
	}
	if !l.has(config.Bridge) {
		return
	}
	for i, e := range ends {
		if l.bad[e.queueVar] {
			continue
		}
		var found *estate.FoundQueue
		if err := l.try(ctx, func(ctx context.Context) (err error) { found, err = account.Queue(ctx, e.queue); return err }); err != nil {
			l.failed(e.queueVar, err)
			continue
		}
		name := awsestate.QueueName(e.queue)
		l.enter(e.queueVar, e.channel.CompareQueue(found, name, e.foundTopic, ends[1-i].foundTopic), fmt.Sprintf("queue %s is subscribed, and the topic may send to it", name))
		if found != nil && !e.topicKnown {
			l.unproven(e.queueVar, fmt.Sprintf("whether queue %s is subscribed: its topic could not be read", name), "")
		}
	}
}

// topic reads the topic, and again while one of its webhooks is not confirmed: a new
// subscription is confirmed within a moment.
func (l *look) topic(ctx context.Context, account *awsestate.Account, e *end) (found *estate.FoundTopic, err error) {
	err = l.try(ctx, func(ctx context.Context) error {
		tick := time.NewTicker(200 * time.Millisecond)
		defer tick.Stop()
		for {
			now, err := account.Topic(ctx, e.topic)
			if err != nil && found != nil && ctx.Err() != nil {
				return nil // the time was up during this read; the read before counts
			}
			if found = now; err != nil || found == nil || !e.pending(found) {
				return err
			}
			select {
			case <-tick.C:
			case <-ctx.Done():
				return nil
			}
		}
	})
	return found, err
}

func (e *end) pending(t *estate.FoundTopic) bool {
	return slices.ContainsFunc(t.Subscriptions, func(s estate.Subscription) bool { return s.Pending && e.hook(s) })
}

func (e *end) hook(s estate.Subscription) bool {
	u, err := url.Parse(s.Endpoint)
	return err == nil && strings.HasSuffix(u.Path, e.channel.Webhook)
}

// told describes what the check saw of a correct topic.
func (e *end) told(t *estate.FoundTopic) string {
	if t != nil && slices.ContainsFunc(t.Subscriptions, e.hook) {
		return "topic is there, and its webhook is confirmed"
	}
	return "topic is there, without a webhook"
}

// part returns part i of an ARN.
func part(arn string, i int) string {
	if parts := strings.Split(arn, ":"); i < len(parts) {
		return parts[i]
	}
	return ""
}
