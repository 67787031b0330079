// Package s3 is the stand-in for Amazon S3: buckets, objects, multipart uploads
// and checksums over REST XML.
package s3

import (
	"encoding/xml"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tidwall/btree"

	"github.com/gas-restore/gas/internal/local/aws/store"
	"github.com/gas-restore/gas/internal/local/aws/world"
)

// Service is the stand-in for S3. It implements [world.Service].
type Service struct {
	world   *world.World
	cfg     Config
	buckets *store.Table[bucket]
	objects *store.Table[*object] // the current ones, by bucket/key
	// versions are the other versions of objects, and all delete markers, see versionRow.
	versions *store.Table[*object]
	uploads  *store.Table[*upload] // by bucket/key NUL id
	parts    *store.Table[*part]   // by upload id/number
	// restores are those of cold objects, and bills what they cost, both by bucket/key NUL
	// version. A bill outlives its object.
	restores *store.Table[restore]
	bills    *store.Table[bill]
	outbox   *store.Table[outgoing] // in the order in which the events happened
	files    files

	// mu makes changes of objects and uploads one at a time. It is never held
	// while bytes are moved.
	mu sync.Mutex
	// watched are the conditional writes under way, by bucket/key: a deletion
	// meanwhile is a conflict.
	watched map[string]map[*watch]bool
	// readers counts who reads an object; one that was replaced meanwhile goes
	// with its last reader.
	readers map[*object]int
	gone    map[*object]bool
	// due is the order of what happens next to restores, see dueKey.
	due     btree.Set[string]
	random  *rand.Rand
	control control
	last    int64 // see sequence
	nextRun int64 // of the lifecycle rules, in milliseconds: a midnight of UTC

	wake chan struct{} // tells the sender of events to look again
	lost atomic.Int64

	minPart atomic.Int64
}

// SetMinPart sets how many bytes a part needs that is not the last. It is for
// tests, which save time with small parts; S3 wants 5 MiB.
func (s *Service) SetMinPart(bytes int64) { s.minPart.Store(bytes) }

// watch is one conditional write under way.
type watch struct{ conflict bool }

// Config says what the service is like.
type Config struct {
	// Topics and Queues take the events. Without them there is no destination for events.
	Topics Topics
	Queues Queues
	// Seed makes the delays and the refusals by chance repeatable.
	Seed uint64
}

// New returns the service with what w has stored.
func New(w *world.World, cfg Config) (*Service, error) {
	s := &Service{
		world: w, cfg: cfg, wake: make(chan struct{}, 1), watched: map[string]map[*watch]bool{}, readers: map[*object]int{}, gone: map[*object]bool{},
		random: rand.New(rand.NewPCG(cfg.Seed, 0x6761735f73335f33)), control: defaultControl(),
	}
	if s.cfg.Topics == nil {
		s.cfg.Topics = nowhere{}
	}
	if s.cfg.Queues == nil {
		s.cfg.Queues = nobody{}
	}
	s.minPart.Store(minPart)
	var err error
	if s.buckets, err = store.NewTable[bucket](w.DB, "s3.buckets"); err != nil {
		return nil, err
	}
	if s.objects, err = store.NewTable[*object](w.DB, "s3.objects"); err != nil {
		return nil, err
	}
	if s.versions, err = store.NewTable[*object](w.DB, "s3.versions"); err != nil {
		return nil, err
	}
	if s.uploads, err = store.NewTable[*upload](w.DB, "s3.uploads"); err != nil {
		return nil, err
	}
	if s.parts, err = store.NewTable[*part](w.DB, "s3.parts"); err != nil {
		return nil, err
	}
	if s.restores, err = store.NewTable[restore](w.DB, "s3.restores"); err != nil {
		return nil, err
	}
	if s.bills, err = store.NewTable[bill](w.DB, "s3.bills"); err != nil {
		return nil, err
	}
	if s.outbox, err = store.NewTable[outgoing](w.DB, "s3.outbox"); err != nil {
		return nil, err
	}
	if err := s.files.open(w); err != nil {
		return nil, err
	}
	s.recover()
	w.Go(s.sendEvents)
	return s, nil
}

// recover counts who uses which file, and removes what a crash left over.
func (s *Service) recover() {
	s.repair()
	for _, table := range []*store.Table[*object]{s.objects, s.versions} {
		table.Ascend("", func(_ string, o *object) bool {
			s.files.use(o.Pieces)
			s.last = max(s.last, o.Seq)
			return true
		})
	}
	for _, r := range s.restores.Prefix("") {
		s.schedule(r)
	}
	live := map[string]bool{}
	s.uploads.Ascend("", func(_ string, u *upload) bool {
		live[u.ID] = true
		return true
	})
	var orphans []string
	s.parts.Ascend("", func(key string, p *part) bool {
		if id, _, _ := strings.Cut(key, "/"); live[id] {
			s.files.use(p.Pieces)
		} else {
			orphans = append(orphans, key)
			s.files.forget(p.Pieces)
		}
		return true
	})
	for _, key := range orphans {
		s.parts.Delete(key)
	}
	s.files.sweep()
}

// Name implements [world.Service].
func (s *Service) Name() string { return "s3" }

// request is one call, with what its address says.
type request struct {
	*http.Request
	w      http.ResponseWriter
	bucket string
	key    string
	query  map[string]string
	// version is the version that the request names, as the API has it; empty is the
	// current one.
	version string
}

func (r *request) has(name string) bool { _, ok := r.query[name]; return ok }

// place is the row of the request's object.
func (r *request) place() string { return r.bucket + "/" + r.key }

// WriteError implements [world.Service].
func (s *Service) WriteError(w http.ResponseWriter, r *http.Request, e *world.Error) {
	h := w.Header()
	if h.Get("X-Amz-Request-Id") == "" {
		h.Set("X-Amz-Request-Id", world.ID(8))
	}
	if e.Status == http.StatusNotModified || r.Method == http.MethodHead {
		h.Del("Content-Length")
		w.WriteHeader(e.Status)
		return
	}
	// A client that sends its body without being asked to is let finish, or it
	// may see its connection reset in place of the answer.
	if r.Header.Get("Expect") == "" && r.ContentLength != 0 {
		io.CopyN(io.Discard, r.Body, 64<<20)
	}
	var b strings.Builder
	b.WriteString(xml.Header + "<Error><Code>" + escape(e.Code) + "</Code><Message>" + escape(e.Message) + "</Message>")
	for _, k := range slices.Sorted(maps.Keys(e.Fields)) {
		b.WriteString("<" + k + ">" + escape(fmt.Sprint(e.Fields[k])) + "</" + k + ">")
	}
	b.WriteString("<Resource>" + escape(r.URL.Path) + "</Resource><RequestId>" + escape(h.Get("X-Amz-Request-Id")) + "</RequestId><HostId>stand-in</HostId></Error>")
	h.Set("Content-Type", "application/xml")
	h.Set("Content-Length", strconv.Itoa(b.Len()))
	w.WriteHeader(e.Status)
	io.WriteString(w, b.String())
}

func escape(s string) string {
	var b strings.Builder
	xml.EscapeText(&b, []byte(s))
	return b.String()
}

const namespace = "http://s3.amazonaws.com/doc/2006-03-01/"

// answer writes doc as XML.
func (r *request) answer(doc any) *world.Error {
	body, err := xml.Marshal(doc)
	if err != nil {
		return internal(err)
	}
	r.answerRaw(append([]byte(xml.Header), body...))
	return nil
}

func (r *request) answerRaw(body []byte) {
	h := r.w.Header()
	h.Set("Content-Type", "application/xml")
	h.Set("Content-Length", strconv.Itoa(len(body)))
	r.w.Write(body)
}

// timestamp is how times are in XML.
func timestamp(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.000Z") }

func noBucket(name string) *world.Error {
	e := world.Errorf(404, "NoSuchBucket", "The specified bucket does not exist")
	e.Fields = map[string]any{"BucketName": name}
	return e
}

func noKey(key string) *world.Error {
	e := world.Errorf(404, "NoSuchKey", "The specified key does not exist.")
	e.Fields = map[string]any{"Key": key}
	return e
}

func noUpload(id string) *world.Error {
	e := world.Errorf(404, "NoSuchUpload", "The specified upload does not exist. The upload ID may be invalid, or the upload may have been aborted or completed.")
	e.Fields = map[string]any{"UploadId": clip(id)}
	return e
}

func precondition(which string) *world.Error {
	e := world.Errorf(412, "PreconditionFailed", "At least one of the pre-conditions you specified did not hold")
	e.Fields = map[string]any{"Condition": which}
	return e
}

func badArgument(format string, args ...any) *world.Error {
	return world.Errorf(400, "InvalidArgument", format, args...)
}

func missing(what string) *world.Error {
	return world.Errorf(501, "NotImplemented", "the stand-in does not have %s", what)
}
