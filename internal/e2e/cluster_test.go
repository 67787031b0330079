package e2e

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/sns"

	"github.com/gas-restore/gas/internal/archive"
	"github.com/gas-restore/gas/internal/aws/awsclient"
	"github.com/gas-restore/gas/internal/aws/dynamodb"
	"github.com/gas-restore/gas/internal/testenv"
	"github.com/gas-restore/gas/internal/treehash"
	"github.com/gas-restore/gas/pkg/events"
)

// TestFilesComeBackWhileTheLeadersAreKilled runs the services on three NATS
// servers and kills, one after another, whichever leads the stream that is worked
// on. GAS_CLUSTER_FILES and GAS_CLUSTER_KILLS make it long.
func TestFilesComeBackWhileTheLeadersAreKilled(t *testing.T) {
	t.Parallel()
	files, kills := setting(t, "GAS_CLUSTER_FILES", 120), setting(t, "GAS_CLUSTER_KILLS", 1)
	ctx, cancel := context.WithTimeout(t.Context(), 4*time.Minute+time.Duration(files/5)*time.Second)
	defer cancel()
	c := testenv.StartCluster(t, filepath.Join("..", "..", "deploy", "nats", "nats.conf"))
	op := c.Bus("operator")

	w := &world{t: t, bin: binaries(t), env: os.Environ()}
	envFile := filepath.Join(t.TempDir(), "env")
	const free = "127.0.0.1:0"
	w.start("gas", "up", "--only", "aws,idp", "--dir", t.TempDir(), "--env-file", envFile, "--tier-delay", "3s",
		"--files", strconv.Itoa(files), "--size", "20KiB", "--aws-addr", free, "--idp-addr", free,
		"--webhook-addr", "127.0.0.1:18082", "--web-addr", free)
	until(t, ctx, "the environment file", func() bool { _, err := os.Stat(envFile); return err == nil })
	vars := environment(t, envFile)
	for k, v := range vars {
		w.env = append(w.env, k+"="+v)
	}
	w.env = append(w.env, "GAS_NATS_URL="+c.URL, "GAS_NATS_CA_FILE="+c.CAFile, "GAS_NATS_REPLICAS=3", "GAS_HEALTH_LISTEN="+free)
	for _, u := range []string{"bridge", "thaw", "restore", "sweep", "web", "operator"} {
		w.env = append(w.env, "GAS_NATS_"+strings.ToUpper(u)+"_PASSWORD=secret-"+u)
	}
	cfg, err := awsclient.Load(ctx, awsclient.Options{
		Region: vars["AWS_REGION"], Endpoint: vars["AWS_ENDPOINT_URL"], AccessKey: vars["AWS_ACCESS_KEY_ID"], SecretKey: vars["AWS_SECRET_ACCESS_KEY"],
	})
	if err != nil {
		t.Fatal(err)
	}
	catalog := dynamodb.New(cfg, vars["GAS_JOB_TABLE"], vars["GAS_ACCOUNT_TABLE"])
	jobs := map[events.JobID]archive.Job{}
	for job, err := range catalog.AllArchived(ctx) {
		if err != nil {
			t.Fatal(err)
		}
		if job.UserID != "fern" {
			continue
		}
		if jobs[job.ID], err = catalog.Job(ctx, job.ID); err != nil { // the index has no keys
			t.Fatal(err)
		}
	}
	var services []*process
	for _, name := range []string{"bridge", "thaw", "thaw", "restore", "restore"} {
		services = append(services, w.start(name))
	}
	for _, p := range services {
		until(t, ctx, p.name+" to start", func() bool { return strings.Contains(p.log.String(), "msg=started") })
	}
	if resp, err := http.Post(vars["AWS_ENDPOINT_URL"]+"/_local/refusal?p=0.3", "", nil); err != nil {
		t.Fatal(err)
	} else {
		resp.Body.Close()
	}
	began := time.Now()
	if _, err := sns.NewFromConfig(cfg).Publish(ctx, &sns.PublishInput{TopicArn: aws.String(vars["GAS_PREMIUM_TOPIC_ARN"]), Message: aws.String(`{"user_id": "fern"}`)}); err != nil {
		t.Fatal(err)
	}

	pending := func() (n uint64, ok bool) {
		for _, name := range []string{events.StreamPremium, events.StreamThaw, events.StreamRestore} {
			try, cancel := context.WithTimeout(ctx, 2*time.Second)
			st, err := op.JS.Stream(try, name)
			cancel()
			if err != nil {
				return 0, false
			}
			n += st.CachedInfo().State.Msgs
		}
		return n, true
	}
	archived := func() (n int) {
		for job, err := range catalog.AllArchived(ctx) {
			if err != nil {
				t.Fatal(err)
			}
			if job.UserID == "fern" {
				n++
			}
		}
		return n
	}
	killed := 0
	for left := files; left > 0; left = archived() {
		if killed < kills {
			stream := []string{events.StreamRestore, events.StreamThaw}[killed%2]
			i := c.Leader(ctx, op.JS, stream)
			if i < 0 {
				continue
			}
			c.Kill(i)
			killed++
			pause(ctx, time.Second)
			c.Start(i)
			until(t, ctx, "the cluster to be whole", func() bool { return c.Whole(ctx, op.JS) })
		}
		if ctx.Err() != nil {
			t.Fatalf("%d files are still archived", left)
		}
		pause(ctx, 500*time.Millisecond)
	}
	took := time.Since(began)
	until(t, ctx, "the streams to be empty", func() bool { n, ok := pending(); return ok && n == 0 })

	objects := s3.NewFromConfig(cfg, func(o *s3.Options) { o.UsePathStyle = true })
	wrong := 0
	for id, before := range jobs {
		got, err := objects.GetObject(ctx, &s3.GetObjectInput{Bucket: aws.String(before.Result.Bucket), Key: aws.String(before.Result.Key)})
		if err != nil {
			t.Errorf("%s: %v", id, err)
			wrong++
			continue
		}
		h := treehash.New()
		n, err := io.Copy(h, got.Body)
		got.Body.Close()
		if err != nil || n != before.ArchiveSize || h.TreeHash().String() != before.TreeHash {
			t.Errorf("%s: %d bytes with tree hash %s, want %d with %s; %v", id, n, h.TreeHash(), before.ArchiveSize, before.TreeHash, err)
			wrong++
		}
		if now, err := catalog.Job(ctx, id); err != nil || now.ArchiveID != "" || now.RetrievalID != "" || now.Intent != nil {
			t.Errorf("%s: the catalog still has archive %q, retrieval %q, intent %v; %v", id, now.ArchiveID, now.RetrievalID, now.Intent, err)
			wrong++
		}
	}
	dead, err := op.JS.Stream(ctx, events.StreamDead)
	if err != nil {
		t.Fatal(err)
	}
	retrievals := countRetrievals(t, ctx, cfg, vars["GAS_VAULT"])
	doubles := 0
	for _, ids := range retrievals {
		doubles += len(ids) - 1
	}
	summary := fmt.Sprintf("%d files, %d leaders killed, %s: %d wrong, %d archives retrieved, %d doubles, %d dead letters",
		len(jobs), killed, took.Round(time.Second), wrong, len(retrievals), doubles, dead.CachedInfo().State.Msgs)
	t.Log(summary)
	if len(jobs) != files || wrong != 0 || len(retrievals) != files || doubles != 0 || dead.CachedInfo().State.Msgs != 0 || killed == 0 {
		t.Error(summary)
	}
}

func pause(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}
