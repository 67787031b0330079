package e2e

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/sns"

	"github.com/gas-restore/gas/internal/archive"
	"github.com/gas-restore/gas/internal/aws/awsclient"
	"github.com/gas-restore/gas/internal/aws/dynamodb"
	"github.com/gas-restore/gas/internal/bus"
	"github.com/gas-restore/gas/internal/checksum/treehash"
	"github.com/gas-restore/gas/internal/operator/deadletter"
	"github.com/gas-restore/gas/pkg/events"
)

// free is an address on this machine with a port that nobody has.
const free = "127.0.0.1:0"

// local is `gas up` as a process of its own, and what it takes to work beside it.
type local struct {
	*fixture
	ctx  context.Context
	vars map[string]string // its environment file
	cfg  aws.Config        // the SDK's
}

// up starts some parts of `gas up`, the AWS stand-in among them. Processes that
// are started later find it by their environment.
func up(t *testing.T, ctx context.Context, only string, args ...string) *local {
	t.Helper()
	l := &local{fixture: &fixture{t: t, bin: binaries(t), env: outside()}, ctx: ctx}
	file := filepath.Join(t.TempDir(), "env")
	l.start("gas", append([]string{"up", "--store", "vault", "--only", only, "--dir", t.TempDir(), "--env-file", file,
		"--aws-addr", free, "--nats-addr", free, "--idp-addr", free, "--webhook-addr", free, "--web-addr", free}, args...)...)
	l.vars = readEnv(t, ctx, file)
	for k, v := range l.vars {
		l.env = append(l.env, k+"="+v)
	}
	l.env = append(l.env, "GAS_HEALTH_LISTEN="+free)
	var err error
	l.cfg, err = awsclient.Load(ctx, awsclient.Options{
		Region: l.vars["AWS_REGION"], Endpoint: l.vars["AWS_ENDPOINT_URL"], AccessKey: l.vars["AWS_ACCESS_KEY_ID"], SecretKey: l.vars["AWS_SECRET_ACCESS_KEY"],
	})
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// outside returns the environment without what is ours: what is set for the tests is none
// of the services' settings.
func outside() []string {
	return slices.DeleteFunc(os.Environ(), func(v string) bool { return strings.HasPrefix(v, "GAS_") })
}

// readEnv waits for an environment file and returns what it says.
func readEnv(t *testing.T, ctx context.Context, file string) map[string]string {
	t.Helper()
	until(t, ctx, "the environment file", func() bool { _, err := os.Stat(file); return err == nil })
	return environment(t, file)
}

// call asks the stand-in something that AWS does not have.
func (l *local) call(method, path, body string) []byte {
	l.t.Helper()
	req, err := http.NewRequestWithContext(l.ctx, method, l.vars["AWS_ENDPOINT_URL"]+"/_local/"+path, strings.NewReader(body))
	if err != nil {
		l.t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		l.t.Fatal(err)
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		l.t.Fatalf("%s %s: %s, %s, %v", method, path, resp.Status, data, err)
	}
	return data
}

// counts returns how often each operation of AWS was called.
func (l *local) counts() map[string]int {
	l.t.Helper()
	m := map[string]int{}
	if err := json.Unmarshal(l.call("GET", "counts", ""), &m); err != nil {
		l.t.Fatal(err)
	}
	return m
}

// bus connects as the operator, until the test ends.
func (l *local) bus() *bus.Bus {
	l.t.Helper()
	b, err := bus.Connect(l.ctx, bus.Config{URL: l.vars["NATS_URL"], User: l.vars["NATS_USER"], Password: l.vars["NATS_PASSWORD"], Name: "e2e"})
	if err != nil {
		l.t.Fatal(err)
	}
	l.t.Cleanup(b.Close)
	return b
}

// upgrade announces that the user became Premium, as web does.
func (l *local) upgrade(user events.UserID) {
	l.t.Helper()
	message, err := events.UpgradeMessage{UserID: user}.Encode()
	if err != nil {
		l.t.Fatal(err)
	}
	if _, err := sns.NewFromConfig(l.cfg).Publish(l.ctx, &sns.PublishInput{TopicArn: aws.String(l.vars["GAS_PREMIUM_TOPIC_ARN"]), Message: &message}); err != nil {
		l.t.Fatal(err)
	}
}

func (l *local) catalog() *dynamodb.Catalog {
	return dynamodb.New(l.cfg, dynamodb.Tables{Jobs: l.vars["GAS_JOB_TABLE"], Accounts: l.vars["GAS_ACCOUNT_TABLE"], Plans: l.vars["GAS_PLAN_TABLE"]})
}

func (l *local) objects() *s3.Client {
	return s3.NewFromConfig(l.cfg, func(o *s3.Options) { o.UsePathStyle = true })
}

// archived returns the user's jobs that have an archive, whole.
func (l *local) archived(user events.UserID) map[events.JobID]archive.Job {
	l.t.Helper()
	catalog, jobs := l.catalog(), map[events.JobID]archive.Job{}
	for job, err := range catalog.AllArchived(l.ctx) {
		if err != nil {
			l.t.Fatal(err)
		}
		if job.UserID != user {
			continue
		}
		if jobs[job.ID], err = catalog.Job(l.ctx, job.ID); err != nil { // the index has no keys
			l.t.Fatal(err)
		}
	}
	return jobs
}

// left returns how many of the user's files are archived still.
func (l *local) left(user events.UserID) (n int) {
	l.t.Helper()
	for job, err := range l.catalog().AllArchived(l.ctx) {
		if err != nil {
			l.t.Fatal(err)
		}
		if job.UserID == user {
			n++
		}
	}
	return n
}

// outcome is what became of jobs.
type outcome struct{ wrong, retrieved, doubles int }

// compare compares what is in S3, the catalog and Glacier with the jobs as they
// were: how many files are not whole at their key or still archived, how many
// archives were retrieved, and how many retrievals were too many.
func (l *local) compare(jobs map[events.JobID]archive.Job) (o outcome) {
	l.t.Helper()
	objects, catalog := l.objects(), l.catalog()
	for id, before := range jobs {
		got, err := objects.GetObject(l.ctx, &s3.GetObjectInput{Bucket: aws.String(before.Result.Bucket), Key: aws.String(before.Result.Key)})
		if err != nil {
			l.t.Errorf("%s: %v", id, err)
			o.wrong++
			continue
		}
		h := treehash.New()
		n, err := io.Copy(h, got.Body)
		got.Body.Close()
		if err != nil || n != before.ArchiveSize || h.TreeHash().String() != before.TreeHash {
			l.t.Errorf("%s: %d bytes with tree hash %s, want %d with %s; %v", id, n, h.TreeHash(), before.ArchiveSize, before.TreeHash, err)
			o.wrong++
		}
		if now, err := catalog.Job(l.ctx, id); err != nil || now.ArchiveID != "" || now.RetrievalID != "" || now.Intent != nil {
			l.t.Errorf("%s: the catalog still has archive %q, retrieval %q, intent %v; %v", id, now.ArchiveID, now.RetrievalID, now.Intent, err)
			o.wrong++
		}
	}
	retrievals := countRetrievals(l.t, l.ctx, l.cfg, l.vars["GAS_VAULT"])
	o.retrieved = len(retrievals)
	for _, ids := range retrievals {
		o.doubles += len(ids) - 1
	}
	return o
}

// started waits until a service says that it works.
func (l *local) started(p *process) {
	l.t.Helper()
	until(l.t, l.ctx, p.name+" to start", func() bool { return strings.Contains(p.log.String(), "msg=started") })
}

// messages returns how many messages a stream has.
func messages(ctx context.Context, b *bus.Bus, stream string) (uint64, error) {
	st, err := b.JS.Stream(ctx, stream)
	if err != nil {
		return 0, err
	}
	return st.CachedInfo().State.Msgs, nil
}

// pending returns how many messages wait in the work queues. They are asked in the order in
// which work moves, so that a message that moves on meanwhile is not overlooked.
func pending(ctx context.Context, b *bus.Bus) (n uint64, err error) {
	for _, name := range []string{events.StreamRestore, events.StreamPremium, events.StreamThaw} {
		m, err := messages(ctx, b, name)
		if err != nil {
			return 0, err
		}
		n += m
	}
	return n, nil
}

// letters returns how many dead letters there are, and tells of the first few, which
// nobody expects.
func letters(t *testing.T, ctx context.Context, b *bus.Bus) (n int) {
	t.Helper()
	for l, err := range deadletter.Open(b).Letters(ctx, deadletter.Filter{}) {
		if err != nil {
			t.Fatal(err)
		}
		if n++; n <= 5 {
			t.Logf("dead letter %d: %s, %s, %d attempts from %s to %s: %s", l.Seq, l.SourceSubject, l.Kind, l.Attempts, l.FirstAt.Format(time.TimeOnly), l.LastAt.Format(time.TimeOnly), l.Reason)
		}
	}
	return n
}
