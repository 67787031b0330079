//go:build peers

// Package peers runs the S3 adapters and the restorer against S3 servers that others wrote.
// GAS_PEERS names them: "versitygw=/path/to/versitygw moto=/path/to/moto_server dynalite=/path/to/dynalite".
// It also asks them, and real AWS, what is in the contract.
package peers

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"github.com/gas-restore/gas/internal/archive"
	"github.com/gas-restore/gas/internal/aws/awsclient"
	"github.com/gas-restore/gas/internal/aws/cold"
	s3adapter "github.com/gas-restore/gas/internal/aws/s3"
	"github.com/gas-restore/gas/internal/aws/s3cold"
	"github.com/gas-restore/gas/internal/fault"
	"github.com/gas-restore/gas/internal/restore"
	"github.com/gas-restore/gas/internal/test/contract"
	"github.com/gas-restore/gas/internal/test/testenv"
	"github.com/gas-restore/gas/internal/wait"
	"github.com/gas-restore/gas/pkg/events"
)

const (
	keyID  = "AKIDPEER"
	secret = "a-secret-of-this-test"
)

// peer is a server that others wrote.
type peer struct {
	// args are the arguments that make the program serve at the port, with its state in dir.
	args func(dir, port string) []string
	// services are those of the contract that the server has.
	services []contract.Service
	// lacks are the claims that the server cannot fulfil, with the reason. A claim that is here
	// and holds is an error too, so that the list stays true.
	lacks map[string]string
}

var peers = map[string]peer{
	"dynalite": {
		services: []contract.Service{contract.DynamoDB},
		args: func(_, port string) []string {
			return []string{"--host", "127.0.0.1", "--port", port, "--createTableMs", "0", "--deleteTableMs", "0"}
		},
	},
	"versitygw": {
		services: []contract.Service{contract.S3},
		args: func(dir, port string) []string {
			for _, d := range []string{"data", "versions"} {
				if err := os.MkdirAll(dir+"/"+d, 0o755); err != nil {
					panic(err) // a temporary folder of this test
				}
			}
			return []string{"--port", "127.0.0.1:" + port, "--access", keyID, "--secret", secret, "posix", "--versioning-dir", dir + "/versions", dir + "/data"}
		},
		lacks: map[string]string{
			"an object keeps its storage class":                    "it keeps every object as STANDARD",
			"a cold object cannot be read before it was requested": "it has no cold class",
			"a retrieval begins, and a look and a list find it":    "it has no cold class",
			"a list goes from wanted key to wanted key":            "its lists have no RestoreStatus",
		},
	},
	"moto": {
		services: []contract.Service{contract.S3, contract.DynamoDB, contract.SQS, contract.SNS, contract.Glacier},
		args:     func(_, port string) []string { return []string{"-H", "127.0.0.1", "-p", port} },
		lacks: map[string]string{
			"a retrieval begins, and a look and a list find it": "its lists have no RestoreStatus",
			"a list goes from wanted key to wanted key":         "its lists have no RestoreStatus",
			"a file of several parts comes back":                "it makes up the checksum of an upload of parts; the restorer refuses the file and keeps the archive",
		},
	},
}

// fixture is a peer for S3, with the stand-in for the catalog.
type fixture struct {
	*testenv.AWS
	t        *testing.T
	cold     *s3cold.Store
	objects  *s3adapter.Bucket
	restorer *restore.Restorer
}

// serve starts the program, and returns how to reach it.
func (p peer) serve(t *testing.T, program string) aws.Config {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_, port, _ := net.SplitHostPort(l.Addr().String())
	l.Close()
	cmd := exec.CommandContext(t.Context(), program, p.args(t.TempDir(), port)...)
	var log bytes.Buffer
	cmd.Stdout, cmd.Stderr = &log, &log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
		if t.Failed() {
			lines := strings.Split(log.String(), "\n")
			t.Log(strings.Join(lines[max(0, len(lines)-20):], "\n"))
		}
	})
	cfg, err := awsclient.Load(t.Context(), awsclient.Options{Region: "us-east-1", Endpoint: "http://127.0.0.1:" + port, AccessKey: keyID, SecretKey: secret})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for {
		conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", "127.0.0.1:"+port)
		if err == nil {
			conn.Close()
			return cfg
		}
		if wait.For(ctx, 50*time.Millisecond) != nil {
			t.Fatalf("%s does not answer: %v", program, err)
		}
	}
}

func (p peer) start(t *testing.T, program string) *fixture {
	cfg := p.serve(t, program)
	a := testenv.NewAWS(t)
	a.Objects = s3.NewFromConfig(cfg, func(o *s3.Options) { o.UsePathStyle = true })
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for _, name := range []string{testenv.BucketID, testenv.ColdID} {
		if _, err := a.Objects.CreateBucket(ctx, &s3.CreateBucketInput{Bucket: &name}); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := a.Objects.PutBucketVersioning(ctx, &s3.PutBucketVersioningInput{
		Bucket: aws.String(testenv.ColdID), VersioningConfiguration: &types.VersioningConfiguration{Status: types.BucketVersioningStatusEnabled},
	}); err != nil {
		t.Fatal(err)
	}
	f := &fixture{AWS: a, t: t, cold: s3cold.New(cfg, testenv.ColdID, 1), objects: s3adapter.New(cfg)}
	f.restorer = &restore.Restorer{
		Catalog: a.Catalog, Vault: cold.Store{Objects: f.cold}, Bucket: f.objects, Uploads: f.objects, PartSize: 8 << 20, Parallel: 3, Now: time.Now, Log: testenv.Log(t),
	}
	return f
}

// content returns bytes that are the same for each size.
func content(size int) []byte {
	body := make([]byte, size)
	rand.NewChaCha8([32]byte{7}).Read(body)
	return body
}

// job archives the bytes and has them requested, in the catalog too. The error says what the
// server refused.
func (f *fixture) job(ctx context.Context, id events.JobID, body []byte) (archive.Job, error) {
	job := f.ArchiveIn(archive.Glacier, "fern", id, body)
	intent := archive.Intent{Token: "ticket-" + string(id), At: time.Now()}
	if err := f.Catalog.SaveIntent(ctx, job, intent); err != nil {
		return job, err
	}
	job.Intent = &intent
	r, err := f.cold.Retrieve(ctx, job, archive.Standard)
	if err != nil {
		return job, err
	}
	if err := f.Catalog.SaveRetrieval(ctx, job, intent, r); err != nil {
		return job, err
	}
	return f.Job(id), nil
}

// restore restores the job, and returns an error if the file is not whole at its key, or
// if an archive, an upload or an entry in the catalog is left.
func (f *fixture) restore(ctx context.Context, job archive.Job, body []byte) error {
	e := events.RetrievalCompleted{
		ID: "n-" + string(job.ID), Notification: "n", Foreign: true, JobID: job.ID, Status: events.RetrievalSucceeded, Size: job.ArchiveSize,
		Object:      &events.ObjectRef{Bucket: job.Copy.Bucket, Key: job.Copy.Key, Version: job.Copy.Version},
		CompletedAt: time.Now(),
	}
	var emitted testenv.Emitted
	if err := f.restorer.Restore(ctx, e, emitted.Emit); err != nil {
		return err
	}
	out, err := f.Objects.GetObject(ctx, &s3.GetObjectInput{Bucket: &job.Result.Bucket, Key: &job.Result.Key})
	if err != nil {
		return err
	}
	defer out.Body.Close()
	var got bytes.Buffer
	if _, err := got.ReadFrom(out.Body); err != nil || !bytes.Equal(got.Bytes(), body) {
		return fmt.Errorf("the file has %d bytes that are others than the archive's %d; %v", got.Len(), len(body), err)
	}
	if now := f.Job(job.ID); now.ArchiveID != "" || now.RetrievalID != "" {
		return fmt.Errorf("the catalog still has archive %q and retrieval %q", now.ArchiveID, now.RetrievalID)
	}
	versions, err := f.Objects.ListObjectVersions(ctx, &s3.ListObjectVersionsInput{Bucket: &job.Copy.Bucket, Prefix: &job.Copy.Key})
	if err != nil {
		return err
	}
	if n := len(versions.Versions) + len(versions.DeleteMarkers); n > 0 {
		return fmt.Errorf("%d versions or delete markers of the archive are left", n)
	}
	open, err := f.objects.Unfinished(ctx, job.Result)
	if err != nil || len(open) > 0 {
		return fmt.Errorf("%d uploads are open; %v", len(open), err)
	}
	return nil
}

// want returns an error unless the error is of the kind.
func want(err error, kind fault.Kind) error {
	if fault.Is(err, kind) {
		return nil
	}
	return fmt.Errorf("got %v, want an error of kind %s", err, kind)
}

// claims are what the adapters need of a server.
var claims = []struct {
	what string
	run  func(f *fixture, ctx context.Context) error
}{
	{"an object keeps its storage class", func(f *fixture, ctx context.Context) error {
		job := f.ArchiveIn(archive.Glacier, "fern", "class", content(10))
		out, err := f.Objects.HeadObject(ctx, &s3.HeadObjectInput{Bucket: &job.Copy.Bucket, Key: &job.Copy.Key})
		if err == nil && out.StorageClass != types.StorageClassGlacier {
			err = fmt.Errorf("the class is %q", out.StorageClass)
		}
		return err
	}},
	{"a cold object cannot be read before it was requested", func(f *fixture, ctx context.Context) error {
		job := f.ArchiveIn(archive.Glacier, "fern", "refused", content(10))
		out, err := f.cold.Output(ctx, job, 0, -1)
		if err == nil {
			out.Body.Close()
		}
		return want(err, fault.NotFound)
	}},
	{"a retrieval begins, and a look and a list find it", func(f *fixture, ctx context.Context) error {
		job, err := f.job(ctx, "begins", content(10))
		if err != nil {
			return err
		}
		if job.RetrievalID != "ticket-begins" {
			return fmt.Errorf("the retrieval is %q", job.RetrievalID)
		}
		if _, err := f.cold.Describe(ctx, job); err != nil {
			return err
		}
		for r, err := range f.cold.Retrievals(ctx, []archive.Job{job}, nil) {
			if err == nil && r.Description != "begins" {
				err = fmt.Errorf("the list shows %q", r.Description)
			}
			return err
		}
		return fmt.Errorf("the list shows no retrieval")
	}},
	{"a second request finds the first", func(f *fixture, ctx context.Context) error {
		job, err := f.job(ctx, "twice", content(10))
		if err != nil {
			return err
		}
		r, err := f.cold.Retrieve(ctx, job, archive.Standard)
		if err == nil && !r.Found {
			err = fmt.Errorf("a second retrieval began")
		}
		return err
	}},
	{"a small file comes back", func(f *fixture, ctx context.Context) error {
		body := content(64 << 10)
		job, err := f.job(ctx, "small", body)
		if err != nil {
			return err
		}
		return f.restore(ctx, job, body)
	}},
	{"a file of several parts comes back", func(f *fixture, ctx context.Context) error {
		body := content(20<<20 + 5)
		job, err := f.job(ctx, "large", body)
		if err != nil {
			return err
		}
		return f.restore(ctx, job, body)
	}},
	{"a file that is at its key already needs no bytes", func(f *fixture, ctx context.Context) error {
		body := content(100)
		job, err := f.job(ctx, "again", body)
		if err != nil {
			return err
		}
		if _, err := f.Objects.PutObject(ctx, &s3.PutObjectInput{Bucket: &job.Result.Bucket, Key: &job.Result.Key, Body: bytes.NewReader(body), ChecksumAlgorithm: types.ChecksumAlgorithmCrc64nvme}); err != nil {
			return err
		}
		return f.restore(ctx, job, body)
	}},
	{"another object at the key is never replaced, and the archive stays", func(f *fixture, ctx context.Context) error {
		for id, size := range map[events.JobID]int{"taken-small": 100, "taken-large": 20 << 20} {
			body := content(size)
			job, err := f.job(ctx, id, body)
			if err != nil {
				return err
			}
			if _, err := f.Objects.PutObject(ctx, &s3.PutObjectInput{Bucket: &job.Result.Bucket, Key: &job.Result.Key, Body: strings.NewReader("another")}); err != nil {
				return err
			}
			if err := f.restore(ctx, job, body); err == nil {
				return fmt.Errorf("%s: the restore was no error", id)
			}
			if now := f.Job(id); now.ArchiveID == "" {
				return fmt.Errorf("%s: the archive's id is gone", id)
			}
			if _, err := f.Objects.HeadObject(ctx, &s3.HeadObjectInput{Bucket: &job.Copy.Bucket, Key: &job.Copy.Key, VersionId: &job.Copy.Version}); err != nil {
				return fmt.Errorf("%s: the archive: %w", id, err)
			}
			if there, err := f.objects.Stat(ctx, job.Result); err != nil || there.Size != int64(len("another")) {
				return fmt.Errorf("%s: at the key are %d bytes; %v", id, there.Size, err)
			}
		}
		return nil
	}},
	{"a newer version at the archive's key stays", func(f *fixture, ctx context.Context) error {
		body := content(1000)
		job, err := f.job(ctx, "newer", body)
		if err != nil {
			return err
		}
		put, err := f.Objects.PutObject(ctx, &s3.PutObjectInput{Bucket: &job.Copy.Bucket, Key: &job.Copy.Key, Body: strings.NewReader("newer")})
		if err != nil {
			return err
		}
		if err := f.restore(ctx, job, body); err == nil || !strings.Contains(err.Error(), "1 versions") {
			return fmt.Errorf("got %v, want one version left", err)
		}
		_, err = f.Objects.HeadObject(ctx, &s3.HeadObjectInput{Bucket: &job.Copy.Bucket, Key: &job.Copy.Key, VersionId: put.VersionId})
		return err
	}},
	{"a list goes from wanted key to wanted key", func(f *fixture, ctx context.Context) error {
		var jobs []archive.Job
		for i := range 5 {
			job, err := f.job(ctx, events.JobID(fmt.Sprint("list-", i)), content(10))
			if err != nil {
				return err
			}
			jobs = append(jobs, job)
		}
		var found []string
		for r, err := range f.cold.Retrievals(ctx, jobs, nil) {
			if err != nil {
				return err
			}
			found = append(found, r.Description)
		}
		slices.Sort(found)
		if fmt.Sprint(found) != "[list-0 list-1 list-2 list-3 list-4]" {
			return fmt.Errorf("the list shows %v", found)
		}
		return nil
	}},
	{"a missing bucket is a mistake of the set-up", func(f *fixture, ctx context.Context) error {
		job := f.ArchiveIn(archive.Glacier, "fern", "nowhere", content(10))
		job.Copy.Key = archive.KeyOf("cold/", "nowhere", "other")
		_, err := f.cold.Describe(ctx, job)
		if err := want(err, fault.NotFound); err != nil {
			return err
		}
		return want(f.objects.Check(ctx, "no-such-bucket-of-this-test"), fault.NotFound)
	}},
}

// each runs f for each server of GAS_PEERS.
func each(t *testing.T, f func(t *testing.T, name, program string, p peer)) {
	names := strings.Fields(os.Getenv("GAS_PEERS"))
	if len(names) == 0 {
		t.Fatal("GAS_PEERS names no server: scripts/peers sets it")
	}
	for _, entry := range names {
		name, program, _ := strings.Cut(entry, "=")
		p, known := peers[name]
		if !known {
			t.Fatalf("GAS_PEERS has %q, want versitygw, moto or dynalite", name)
		}
		t.Run(name, func(t *testing.T) { f(t, name, program, p) })
	}
}

func TestTheAdaptersWorkWithAnotherS3(t *testing.T) {
	each(t, func(t *testing.T, name, program string, p peer) {
		if slices.Contains(p.services, contract.S3) {
			f := p.start(t, program)
			for _, c := range claims {
				ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
				err := c.run(f, ctx)
				cancel()
				reason, lacks := p.lacks[c.what]
				switch {
				case err == nil && !lacks:
					fmt.Printf("%s: ok: %s\n", name, c.what)
				case err == nil:
					t.Errorf("%s: it holds now, take it from the list: %s", name, c.what)
				case lacks:
					fmt.Printf("%s: lacks: %s: %s\n", name, c.what, reason)
				default:
					t.Errorf("%s: %s: %v", name, c.what, err)
				}
			}
		}
	})
}
