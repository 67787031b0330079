package sim

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/gas-restore/gas/internal/archive"
	localaws "github.com/gas-restore/gas/internal/local/aws"
	"github.com/gas-restore/gas/internal/local/aws/glacier"
	"github.com/gas-restore/gas/internal/local/aws/s3"
	"github.com/gas-restore/gas/pkg/events"
)

// The trouble in a scene beside the broken effects.
const (
	expeditedFull      = "scenes in which Expedited is full"
	notificationsLost  = "SNS messages lost"
	notificationsTwice = "SNS messages delivered twice"
	notificationsLate  = "SNS messages late, up to an hour"
	retrievalFailed    = "retrievals that Glacier failed"
	outputExpired      = "days without any process, in which outputs expire"
	clockJumped        = "jumps of AWS's clock, up to three hours"
	serverStopped      = "stops of the NATS server"
	streamsFull        = "scenes in which the server's streams are full for a while"
	answersBad         = "calls that AWS throttles, fails, cuts short or garbles"
	pressedTwice       = "upgrades that a user asked for again"
	goneAway           = "users who do not come back after a request of unknown fate"
	undone             = "upgrades undone before they were heard of"
	crowd              = "scenes with more archives than a page"
	changedMind        = "users who left Premium at some moment"
	stopped            = "stops of everything by an operator"
	streamsAnew        = "scenes in which streams are lost and made anew"
	statusLost         = "scenes in which the changes told so far are lost"
	notificationsOfTwo = "scenes in which the vault sends notifications too"
	policies           = "scenes with a retrieval policy"
	clocksApart        = "scenes in which clocks are minutes apart"
	clocksBack         = "clocks that went back"
	indexesLate        = "scenes in which indexes and Glacier's list lag"
	published          = "upgrades that an operator announced"
	roleWritten        = "roles that another system wrote, with a lost message"
	archivedAgain      = "files archived again after they were back"
	webhooks           = "scenes in which SNS calls the bridges too"
	chosen             = "files that a user wanted before the others"
	objectsToo         = "scenes with archives in S3's cold storage classes"
)

// chance runs a world that a seed makes, to its end.
func chance(t *testing.T, seed uint64, also decider) *world {
	scene := dice(seed, "scene", 0)
	rate, left := 0.01+0.09*scene.Float64(), 5+scene.IntN(40)
	w := newWorld(t, func(service, point string, n int) mode {
		if m := also(service, point, n); m != pass {
			return m
		}
		d := dice(seed, service+" "+point, n)
		if left == 0 || d.Float64() >= rate {
			return pass
		}
		left--
		return modes[d.IntN(len(modes))]
	})
	one := func(in int) bool { return scene.IntN(in) == 0 }
	if !one(12) {
		w.quick()
	}
	if !one(3) {
		refusal := scene.Float64()
		w.Glacier.SetExpeditedRefusal(refusal)
		w.S3.SetExpeditedRefusal(refusal)
		w.trouble(expeditedFull, 1)
	}
	// What is not lost has to come back without a sweep, however late and often it is
	// heard of.
	lossy := one(6)
	if lossy || one(4) {
		w.notifications(seed, lossy)
	}
	unswept := !lossy && one(2)
	w.retrievals(seed, one(4))
	w.stores(seed)
	if dice(seed, "webhook", 0).IntN(4) == 0 {
		w.webhook()
	}
	more := w.surroundings(seed)
	// An index that is behind needs the sweep: a plan that is made before the index shows the
	// archives finds none. And a worker that dies between a status and the task behind it may have
	// told "planned" of a file that is back.
	if unswept && w.indexLag == 0 {
		w.cfg.SweepEvery = never
	}
	others := w.others(more, lossy)

	var users []events.UserID
	for u := range 1 + scene.IntN(3) {
		user := events.UserID(fmt.Sprint("user", u))
		users = append(users, user)
		var sizes []int
		for range 1 + scene.IntN(6) {
			sizes = append(sizes, []int{0, 1, 1000, mib - 1, mib, mib + 1, 70_000}[scene.IntN(7)])
		}
		if one(6) {
			sizes = append(sizes, 8*mib+scene.IntN(9*mib))
		}
		if one(40) {
			w.trouble(crowd, 1)
			for range 60 {
				sizes = append(sizes, scene.IntN(3))
			}
		}
		w.archived(user, sizes...)
	}
	start := func(service string, n int) {
		for range n {
			w.run(service)
		}
	}
	start("web", 1+scene.IntN(2))
	if one(5) {
		// This user changes their mind before a bridge knows: nothing of theirs is
		// requested.
		w.archived("undecided", 1, 1000)
		w.upgrade("undecided", true)
		time.Sleep(time.Second)
		w.undo("undecided")
		w.trouble(undone, 1)
	}

	if one(4) {
		w.wrongBytes(scene)
	}
	if one(4) {
		w.throttles(scene)
	}
	late := ""
	if one(12) {
		late = "restore"
		w.trouble(outputExpired, 1)
	}
	replicas := map[string]int{}
	for _, service := range []string{"bridge", "thaw", "restore"} {
		replicas[service] = 1 + scene.IntN(2)
		if service != late {
			start(service, replicas[service])
		}
	}
	others()
	for _, user := range users {
		back := !one(4)
		w.upgrade(user, back)
		if !back {
			w.trouble(goneAway, 1)
		} else if one(3) {
			w.upgrade(user, true)
			w.trouble(pressedTwice, 1)
		}
		if d := dice(seed, "first of "+string(user), 0); d.IntN(4) == 0 {
			files := w.files(user)
			w.choose(user, files[d.IntN(len(files))])
		}
		time.Sleep(time.Duration(scene.IntN(300)) * time.Second)
	}
	for range scene.IntN(3) {
		time.Sleep(time.Duration(scene.IntN(300)) * time.Second)
		switch scene.IntN(6) {
		case 0, 1:
			w.stopServer(3 * time.Second)
		case 2, 3:
			most := 3 * 60
			if late != "" {
				// An output that is gone by a clock that is more than an hour ahead of ours
				// looks as if it were there (archive.Retrieval.Usable).
				most = 25
			}
			w.World.Clock.Advance(time.Duration(scene.IntN(most)) * time.Minute)
			w.trouble(clockJumped, 1)
		case 4:
			w.full(time.Duration(1+scene.IntN(600)) * time.Second)
		}
	}
	w.meanwhile(more, lossy)
	if late != "" {
		w.darken(outputLife+time.Duration(1+scene.IntN(8))*time.Hour, one(2))
		start(late, replicas[late])
	}
	w.end(40 * time.Hour)
	return w
}

// never is longer than a world lasts.
const never = 365 * 24 * time.Hour

// notifications lets SNS deliver messages twice, and late, and lose some if it is lossy.
func (w *world) notifications(seed uint64, lossy bool) {
	d := dice(seed, "notices", 0)
	lost, twice, slow := d.Float64()/2, d.Float64()/2, d.Float64()/2
	if !lossy {
		lost = 0
	}
	n := 0
	w.SNS.SetDelivery(func(topic string) []time.Duration {
		w.mu.Lock()
		defer w.mu.Unlock()
		d := dice(seed, topic, n)
		n++
		if d.Float64() < lost {
			w.troubles[notificationsLost]++
			return nil
		}
		after := []time.Duration{0}
		if d.Float64() < twice {
			w.troubles[notificationsTwice]++
			after = append(after, 0)
		}
		for i := range after {
			if d.Float64() < slow {
				w.troubles[notificationsLate]++
				after[i] = time.Duration(d.IntN(3600)) * time.Second
			}
		}
		return after
	})
}

// retrievals notes how Glacier ends each retrieval, and lets some of them fail: none of
// an archive so often that it is given up. Two of the retrievals that an archive may have
// are left for other trouble, such as an output that expires.
func (w *world) retrievals(seed uint64, fail bool) {
	n, failures, retrieved := 0, map[string]int{}, map[string]int{}
	mayFail := func(archived string) bool {
		retrieved[archived]++
		return fail && failures[archived] < archive.MaxPerFailure-1 && retrieved[archived] <= archive.MaxRetrievals-2
	}
	w.Glacier.FailWhen(func(j glacier.Job) string {
		if j.Archive == "" {
			return ""
		}
		w.mu.Lock()
		defer w.mu.Unlock()
		n++
		bad := mayFail(j.Archive) && dice(seed, "retrieval", n).IntN(4) == 0
		bad = bad || w.fails != nil && w.fails(j)
		w.ended = append(w.ended, retrieval{archive: j.Archive, tier: string(j.Tier), job: events.JobID(j.Description), size: w.sizeOf(j), asked: j.Created, ended: j.Due, failed: bad})
		if !bad {
			return ""
		}
		failures[j.Archive]++
		w.troubles[retrievalFailed]++
		return "The archive could not be retrieved."
	})
	w.S3.FailRestores(func(r s3.Restore) bool {
		w.mu.Lock()
		defer w.mu.Unlock()
		n++
		at := archive.Copy{Class: archive.Class(r.Class), Bucket: r.Bucket, Key: r.Key, Version: r.Version}
		job, _ := archive.JobOfKey(r.Key)
		// S3 tells nobody of a failure: only the sweep finds it.
		bad := mayFail(at.String()) && w.sweeps() && dice(seed, "retrieval", n).IntN(4) == 0
		bad = bad || w.fails != nil && w.fails(glacier.Job{Archive: at.String(), Description: string(job)})
		w.ended = append(w.ended, retrieval{archive: at.String(), tier: string(r.Tier), class: at.Class, job: job, size: r.Size, asked: r.Begun, ended: r.Due, failed: bad})
		if bad {
			failures[at.String()]++
			w.troubles[retrievalFailed]++
		}
		return bad
	})
}

// stores says where a seed's archives are: in a vault, in S3 classes, or in both.
func (w *world) stores(seed uint64) {
	d := dice(seed, "stores", 0)
	kind := d.IntN(3)
	if kind == 0 {
		return
	}
	w.trouble(objectsToo, 1)
	w.class = func(user events.UserID, n int) archive.Class {
		d := dice(seed, "store of "+string(user), n)
		if kind == 1 && d.IntN(2) == 0 {
			return archive.Vault
		}
		return []archive.Class{archive.Glacier, archive.Glacier, archive.DeepArchive, archive.Instant}[d.IntN(4)]
	}
}

// wrongBytes lets answers and requests arrive with a byte that is not right, or cut.
func (w *world) wrongBytes(scene *rand.Rand) {
	rules := []localaws.Fault{
		{Service: "glacier", Operation: "GetJobOutput", Corrupt: true},
		{Service: "glacier", Operation: "GetJobOutput", CutAt: 500, Cut: true},
		{Service: "s3", Operation: "GetObject", Corrupt: true},
		{Service: "s3", Operation: "GetObject", CutAt: 500, Cut: true},
		{Service: "s3", Operation: "PutObject", CorruptRequest: true},
		{Service: "s3", Operation: "UploadPart", CorruptRequest: true, CorruptAt: 70_000},
		{Service: "dynamodb", Operation: "GetItem", Corrupt: true, CorruptAt: int64(scene.IntN(200))},
	}
	for range 1 + scene.IntN(3) {
		r := rules[scene.IntN(len(rules))]
		r.Skip, r.Times = scene.IntN(5), 1
		w.faults(r)
	}
}

// throttles lets AWS throttle calls, and fail without a reason.
func (w *world) throttles(scene *rand.Rand) {
	for range 1 + scene.IntN(4) {
		r := []localaws.Fault{
			{Service: "glacier", Operation: "InitiateJob", Code: "ThrottlingException", Status: 400},
			{Service: "glacier", Operation: "InitiateJob", Code: "ServiceUnavailableException", Status: 500, After: true},
			{Service: "glacier", Operation: "DeleteArchive", Code: "ServiceUnavailableException", Status: 500},
			{Service: "dynamodb", Operation: "UpdateItem", Code: "ProvisionedThroughputExceededException", Status: 400},
			{Service: "dynamodb", Operation: "GetItem", Code: "InternalServerError", Status: 500},
			{Service: "s3", Operation: "PutObject", Code: "SlowDown", Status: 503},
			{Service: "s3", Operation: "RestoreObject", Code: "SlowDown", Status: 503},
			{Service: "s3", Operation: "RestoreObject", Code: "InternalError", Status: 500, After: true},
			{Service: "sqs", Operation: "ReceiveMessage", Code: "InternalError", Status: 500},
			{Service: "sqs", Operation: "DeleteMessageBatch", Code: "InternalError", Status: 500, After: true},
		}[scene.IntN(10)]
		r.Skip, r.Times = scene.IntN(5), 1+scene.IntN(6)
		w.faults(r)
	}
}

func (w *world) faults(r localaws.Fault) {
	if err := w.Faults.Add(r); err != nil {
		w.t.Fatal(err)
	}
}

// stopServer is a NATS server that stops and comes back after d.
func (w *world) stopServer(d time.Duration) {
	w.trouble(serverStopped, 1)
	ns := w.server()
	ns.Shutdown()
	ns.WaitForShutdown()
	time.Sleep(d)
	w.startServer()
}

// full leaves the server's streams and buckets no room for a while, as a full disk
// does: they refuse what is new, and keep what they have.
func (w *world) full(d time.Duration) {
	w.trouble(streamsFull, 1)
	ctx, js := w.t.Context(), w.operator.JS
	var was []jetstream.StreamConfig
	list := js.ListStreams(ctx)
	for info := range list.Info() {
		if info.Config.Discard == jetstream.DiscardNew || info.Config.Retention == jetstream.WorkQueuePolicy {
			was = append(was, info.Config)
		}
	}
	if err := list.Err(); err != nil {
		w.t.Fatal(err)
	}
	set := func(c jetstream.StreamConfig) {
		if _, err := js.UpdateStream(ctx, c); err != nil {
			w.t.Fatal(err)
		}
	}
	for _, c := range was {
		c.MaxBytes = 1
		set(c)
	}
	time.Sleep(d)
	for _, c := range was {
		set(c)
	}
}
