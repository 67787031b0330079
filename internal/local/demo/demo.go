package demo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/gas-restore/gas/internal/archive"
	"github.com/gas-restore/gas/internal/aws/dynamodb"
	"github.com/gas-restore/gas/internal/daemon"
	"github.com/gas-restore/gas/internal/local/stack"
	"github.com/gas-restore/gas/internal/wait"
	"github.com/gas-restore/gas/internal/wiring"
	"github.com/gas-restore/gas/pkg/events"
)

// Options say how much work there is.
type Options struct {
	// Dir has the state while the demo runs. The caller removes it.
	Dir string
	// Files is the number of the user's archives, and Size is the size of each; 0 is a mix.
	Files int
	Size  int64
	// Store says where the archives are.
	Store stack.Store
	// Workers is the number of thaws, and the number of restores.
	Workers int
	// ExpeditedDelay is the time that Glacier takes for an Expedited retrieval.
	ExpeditedDelay time.Duration
	// IAM gives each service a role of its own.
	IAM bool
	Log *slog.Logger
	// Progress gets the progress after each change; it may be nil.
	Progress func(Progress)
}

// Progress counts the files that reached each state. A file that is further counts too.
type Progress struct {
	Files, Planned, Requested, Ready, Restored int
	Bytes, TotalBytes                          int64
}

// Step is how long the files took from one state to the next, in seconds.
type Step struct {
	Name    string  `json:"name"`
	Median  float64 `json:"median_seconds"`
	Longest float64 `json:"longest_seconds"`
}

// Report is the result of a demo.
type Report struct {
	Files    int              `json:"files"`
	Restored int              `json:"restored"`
	Bytes    int64            `json:"bytes"`
	Seconds  float64          `json:"seconds"`
	Workers  int              `json:"workers"`
	Steps    []Step           `json:"steps"`
	Calls    map[string]int64 `json:"api_calls"`
	// From is the number of files that came back from each class.
	From map[archive.Class]int `json:"restored_from"`
	// Retrievals is the number of retrieval jobs at Glacier, and of temporary copies at S3.
	// An archive in GLACIER_IR needs none.
	Retrievals int `json:"retrievals"`
	// ArchivesLeft, Pending and DeadLetters are 0 if nothing went wrong.
	ArchivesLeft int    `json:"archives_left"`
	Pending      uint64 `json:"messages_pending"`
	DeadLetters  uint64 `json:"dead_letters"`
	// Missing has a sentence for each thing that is wrong.
	Missing []string `json:"missing"`
}

// OK reports whether every file came back and nothing was left behind.
func (r Report) OK() bool { return len(r.Missing) == 0 }

const grace = 10 * time.Second

// Run runs the demo until every file is back or ctx ends. An error means that the demo
// could not run. The report names missing files.
func Run(ctx context.Context, o Options) (Report, error) {
	person := stack.People(o.Files, o.Size)[0]
	const free = "127.0.0.1:0"
	s, err := stack.Start(ctx, stack.Options{
		Dir: o.Dir, Store: o.Store, ExpeditedDelay: o.ExpeditedDelay, Workers: o.Workers, IAM: o.IAM, Log: o.Log,
		AWSAddr: free, NATSAddr: free, IDPAddr: free, WebAddr: free, WebhookAddr: free,
	}, []stack.Person{person})
	if err != nil {
		return Report{}, err
	}
	defer s.Close()
	stopper, runCtx := daemon.NewStopper(context.WithoutCancel(ctx))
	stopped := make(chan error, 1)
	go func() { stopped <- daemon.Run(runCtx, stopper, grace, s.Parts...) }()

	d := &drive{o: o, s: s, person: person, watched: newWatched(person, o.Files)}
	report, err := d.run(ctx)
	stopper.Stop(grace)
	if serr := <-stopped; serr != nil {
		err = errors.Join(err, serr)
	}
	return report, err
}

type drive struct {
	o       Options
	s       *stack.Stack
	person  stack.Person
	watched *watched
}

func (d *drive) run(ctx context.Context) (Report, error) {
	before := d.s.AWS.Counts()
	began := time.Now()
	if err := Subscribe(ctx, d.s.Config.WebBaseURL, d.person.ID); err != nil {
		return Report{}, err
	}
	d.watch(ctx)
	r := Report{
		Files: d.o.Files, Workers: d.o.Workers, Seconds: time.Since(began).Seconds(),
		Steps: d.watched.steps(began), Calls: map[string]int64{}, From: map[archive.Class]int{}, Missing: []string{},
	}
	for name, n := range d.s.AWS.Counts() {
		if n -= before[name]; n > 0 {
			r.Calls[name] = n
		}
	}
	// The checks run even if ctx has ended: the report then names what is missing.
	checkCtx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Minute)
	defer cancel()
	return r, d.check(checkCtx, &r)
}

// watch follows the status stream until every file is restored or ctx ends.
func (d *drive) watch(ctx context.Context) {
	for e := range d.s.Bus.FollowStatus(ctx, events.UserID(d.person.ID), events.Position{}) {
		p := d.watched.saw(e.JobID, e.State, e.At)
		if d.o.Progress != nil {
			d.o.Progress(p)
		}
		if p.Restored == d.o.Files {
			return
		}
	}
}

// check compares the result with what a right restore leaves.
func (d *drive) check(ctx context.Context, r *Report) error {
	miss := func(format string, args ...any) { r.Missing = append(r.Missing, fmt.Sprintf(format, args...)) }
	catalog := dynamodb.New(d.s.AWSConfig, wiring.Tables(d.s.Config))
	objects := s3.NewFromConfig(d.s.AWSConfig, func(o *s3.Options) { o.UsePathStyle = true })
	for i := range d.o.Files {
		want := d.person.Job(d.s.Config.Bucket, i)
		job, err := catalog.Job(ctx, want.ID)
		if err != nil {
			return err
		}
		if job.ArchiveID != "" || job.RetrievalID != "" || job.Intent != nil {
			r.ArchivesLeft++
			miss("%s: the catalog still says %s", want.ID, job.State(archive.Premium))
			continue
		}
		if err := d.compare(ctx, objects, want.Result, i); err != nil {
			miss("%s: %v", want.ID, err)
			continue
		}
		r.Restored++
		r.From[d.o.Store.Class(i)]++
		r.Bytes += d.person.ResultSize(i)
	}
	want := 0
	for i := range d.o.Files {
		if d.o.Store.Class(i) != archive.Instant {
			want++
		}
	}
	perArchive := d.s.AWS.Glacier.Retrievals()
	for object, n := range d.s.AWS.S3.Restores() {
		perArchive[fmt.Sprint(object)] = n
	}
	for id, n := range perArchive {
		r.Retrievals += n
		if n > 1 {
			miss("archive %s was retrieved %d times", id, n)
		}
	}
	if r.Retrievals < want {
		miss("%d archives were retrieved, want %d", r.Retrievals, want)
	}
	if err := d.leftovers(ctx, objects, miss); err != nil {
		return err
	}
	for _, name := range []string{events.StreamPremium, events.StreamThaw, events.StreamRestore, events.StreamDead} {
		st, err := d.s.Bus.JS.Stream(ctx, name)
		if err != nil {
			return err
		}
		n := st.CachedInfo().State.Msgs
		if name == events.StreamDead {
			r.DeadLetters = n
		} else {
			// A worker acks a message after it reported “restored”. On a busy machine, that
			// can take some time.
			for end := time.Now().Add(longestAck); n > 0 && time.Now().Before(end); {
				if err := wait.For(ctx, 20*time.Millisecond); err != nil {
					return err
				}
				info, err := st.Info(ctx)
				if err != nil {
					return err
				}
				n = info.State.Msgs
			}
			r.Pending += n
		}
		if n > 0 {
			miss("stream %s holds %d messages", name, n)
		}
	}
	return nil
}

// leftovers reports versions in the archive bucket, and unfinished uploads.
func (d *drive) leftovers(ctx context.Context, objects *s3.Client, miss func(string, ...any)) error {
	if bucket := d.s.Config.ArchiveBucket; bucket != "" {
		left := 0
		for pages := s3.NewListObjectVersionsPaginator(objects, &s3.ListObjectVersionsInput{Bucket: &bucket}); pages.HasMorePages(); {
			page, err := pages.NextPage(ctx)
			if err != nil {
				return err
			}
			for _, v := range page.Versions {
				if strings.HasPrefix(aws.ToString(v.Key), "cold/"+d.person.ID+"-") {
					left++
				}
			}
			left += len(page.DeleteMarkers)
		}
		if left > 0 {
			miss("bucket %s still has %d versions and delete markers", bucket, left)
		}
	}
	uploads, err := objects.ListMultipartUploads(ctx, &s3.ListMultipartUploadsInput{Bucket: &d.s.Config.Bucket})
	if err != nil {
		return err
	}
	if n := len(uploads.Uploads); n > 0 {
		miss("%d uploads are unfinished", n)
	}
	return nil
}

// longestAck is how long the message of the last file may stay after the file is back.
const longestAck = 30 * time.Second

// compare compares every byte of the object with the archived file.
func (d *drive) compare(ctx context.Context, client *s3.Client, o archive.Object, i int) error {
	out, err := client.GetObject(ctx, &s3.GetObjectInput{Bucket: &o.Bucket, Key: &o.Key})
	if err != nil {
		return err
	}
	defer out.Body.Close()
	if got, want := aws.ToInt64(out.ContentLength), d.person.ResultSize(i); got != want {
		return fmt.Errorf("%s has %d bytes, want %d", o, got, want)
	}
	return same(out.Body, d.person.Result(i))
}

// same returns an error that says where two streams differ, nil if they are the same.
func same(got, want io.Reader) error {
	var a, b [64 << 10]byte
	for at := int64(0); ; {
		n, err := io.ReadFull(got, a[:])
		m, werr := io.ReadFull(want, b[:])
		if n != m || string(a[:n]) != string(b[:m]) {
			return fmt.Errorf("differs in the %d bytes from %d on", max(n, m), at)
		}
		at += int64(n)
		switch {
		case err == nil && werr == nil:
		case ended(err) && ended(werr):
			return nil
		default:
			return fmt.Errorf("read at %d: %w", at, errors.Join(err, werr))
		}
	}
}

func ended(err error) bool { return err == io.EOF || err == io.ErrUnexpectedEOF }

// places has the name of each class for people.
var places = map[archive.Class]string{
	archive.Vault: "a Glacier vault", archive.Glacier: "S3 GLACIER", archive.DeepArchive: "S3 DEEP_ARCHIVE", archive.Instant: "S3 GLACIER_IR",
}

// Table writes the report for people.
func (r Report) Table(w io.Writer, showBytes func(int64) string) {
	fmt.Fprintf(w, "%-34s %12d\n", "files", r.Files)
	fmt.Fprintf(w, "%-34s %12d\n", "restored, equal byte for byte", r.Restored)
	for _, class := range slices.Sorted(maps.Keys(r.From)) {
		fmt.Fprintf(w, "%-34s %12d\n", "  from "+places[class], r.From[class])
	}
	fmt.Fprintf(w, "%-34s %12s\n", "bytes", showBytes(r.Bytes))
	fmt.Fprintf(w, "%-34s %10.1f s\n\n", "from subscribe to the last byte", r.Seconds)
	fmt.Fprintf(w, "%-34s %12s %12s\n", "step, per file", "median", "longest")
	for _, s := range r.Steps {
		fmt.Fprintf(w, "%-34s %10.3f s %10.3f s\n", s.Name, s.Median, s.Longest)
	}
	fmt.Fprintf(w, "\n%-34s %12s\n", "AWS calls", "")
	for _, name := range slices.Sorted(maps.Keys(r.Calls)) {
		fmt.Fprintf(w, "  %-32s %12d\n", name, r.Calls[name])
	}
	fmt.Fprintf(w, "\n%-34s %12d\n%-34s %12d\n%-34s %12d\n%-34s %12d\n",
		"retrievals", r.Retrievals, "archives left", r.ArchivesLeft, "messages pending", r.Pending, "dead letters", r.DeadLetters)
	if !r.OK() {
		fmt.Fprintf(w, "\nmissing:\n  %s\n", strings.Join(r.Missing, "\n  "))
	}
}
