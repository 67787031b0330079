// Package glacier is the stand-in's Amazon S3 Glacier, the vault service, over
// REST and JSON: archives in files, retrieval jobs that take their tier's time
// by the world's clock and tell an SNS topic when they are done, expedited
// capacity that runs out, retrieval policies, vault locks.
//
// It takes AWS's word where AWS makes promises, and the strict side where it
// does not: a range has a tree hash only if it is tree-hash aligned, output is
// gone 24 hours after its job's completion, a retrieval fails if its archive is
// deleted meanwhile. Select jobs and vault access policies are refused.
package glacier

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/tidwall/btree"

	"github.com/gas-restore/gas/internal/local/aws/store"
	"github.com/gas-restore/gas/internal/local/aws/world"
)

// Topics is where completed jobs are told of.
type Topics interface {
	// Publish publishes a message; to a topic that does not exist, or does not let
	// Glacier publish, it is lost.
	Publish(world.Notification) error
}

// Config says what the service is like. Topics is required.
type Config struct {
	Topics Topics
	// Seed makes the delays and the refusals by chance repeatable.
	Seed uint64
	// AllowEmptyArchives accepts archives of 0 bytes, which AWS refuses.
	AllowEmptyArchives bool
}

// Service is Amazon S3 Glacier. It implements [world.Service].
type Service struct {
	w   *world.World
	cfg Config

	vaults   *store.Table[vault]
	archives *store.Table[archive] // by vault/archive
	uploads  *store.Table[upload]  // by vault/upload
	parts    *store.Table[part]    // by upload/offset
	jobs     *store.Table[job]     // by vault/job
	bills    *store.Table[bill]    // by archive
	account  *store.Table[accountRow]

	wake chan struct{} // tells the completer to look again

	mu sync.Mutex // guards what follows, and every read-then-write of the tables
	// The next events of jobs in the order of their times, see dueKey: completions,
	// notifications that are not sent yet, and removals.
	due, untold, ends btree.Set[string]
	// holders counts who needs a blob: its archive, and the jobs that deliver it.
	holders map[string]int
	random  *rand.Rand
	control control
}

var _ world.Service = (*Service)(nil)

// New returns the service with the state of w. Jobs that became due meanwhile
// complete at once.
func New(w *world.World, cfg Config) (*Service, error) {
	s := &Service{
		w:       w,
		cfg:     cfg,
		wake:    make(chan struct{}, 1),
		holders: map[string]int{},
		random:  rand.New(rand.NewPCG(cfg.Seed, 0x6761735f676c6163)),
		control: defaultControl(),
	}
	s.control.empty = cfg.AllowEmptyArchives
	var errs [7]error
	s.vaults, errs[0] = store.NewTable[vault](w.DB, "glacier.vaults")
	s.archives, errs[1] = store.NewTable[archive](w.DB, "glacier.archives")
	s.uploads, errs[2] = store.NewTable[upload](w.DB, "glacier.uploads")
	s.parts, errs[3] = store.NewTable[part](w.DB, "glacier.parts")
	s.jobs, errs[4] = store.NewTable[job](w.DB, "glacier.jobs")
	s.bills, errs[5] = store.NewTable[bill](w.DB, "glacier.bills")
	s.account, errs[6] = store.NewTable[accountRow](w.DB, "glacier.account")
	for _, err := range errs {
		if err != nil {
			return nil, err
		}
	}
	s.archives.Ascend("", func(_ string, a archive) bool {
		s.hold(a.Content)
		return true
	})
	for _, u := range s.uploads.Prefix("") {
		for _, p := range s.parts.Prefix(u.ID + "/") {
			s.hold(p.Piece.content())
		}
		if u.Archive != "" { // the process ended before it could drop them
			s.dropParts(u.ID)
		}
	}
	s.jobs.Ascend("", func(_ string, j job) bool {
		s.hold(j.Content)
		s.schedule(j)
		return true
	})
	w.Go(s.complete)
	return s, nil
}

// Name implements [world.Service].
func (s *Service) Name() string { return "glacier" }

// call is a request, taken apart.
type call struct {
	w     http.ResponseWriter
	r     *http.Request
	query url.Values
	vault string
	id    string // of the archive, the job, the upload or the lock
}

// handler serves a call. It answers itself unless it returns an error.
type handler func(c *call) *world.Error

// route is an operation with where it is found.
type route struct {
	name   string
	method string
	path   string // elements: * is any, the vault's name and the id in this order
	query  string // a query parameter that has to be there, with its value
	serve  func(*Service) handler
}

var routes = []route{
	{"ListVaults", "GET", "vaults", "", func(s *Service) handler { return s.listVaults }},
	{"CreateVault", "PUT", "vaults/*", "", func(s *Service) handler { return s.createVault }},
	{"DescribeVault", "GET", "vaults/*", "", func(s *Service) handler { return s.describeVault }},
	{"DeleteVault", "DELETE", "vaults/*", "", func(s *Service) handler { return s.deleteVault }},
	{"ListTagsForVault", "GET", "vaults/*/tags", "", func(s *Service) handler { return s.listTags }},
	{"AddTagsToVault", "POST", "vaults/*/tags", "operation=add", func(s *Service) handler { return s.addTags }},
	{"RemoveTagsFromVault", "POST", "vaults/*/tags", "operation=remove", func(s *Service) handler { return s.removeTags }},
	{"SetVaultNotifications", "PUT", "vaults/*/notification-configuration", "", func(s *Service) handler { return s.setNotifications }},
	{"GetVaultNotifications", "GET", "vaults/*/notification-configuration", "", func(s *Service) handler { return s.getNotifications }},
	{"DeleteVaultNotifications", "DELETE", "vaults/*/notification-configuration", "", func(s *Service) handler { return s.deleteNotifications }},
	{"InitiateVaultLock", "POST", "vaults/*/lock-policy", "", func(s *Service) handler { return s.initiateLock }},
	{"GetVaultLock", "GET", "vaults/*/lock-policy", "", func(s *Service) handler { return s.getLock }},
	{"AbortVaultLock", "DELETE", "vaults/*/lock-policy", "", func(s *Service) handler { return s.abortLock }},
	{"CompleteVaultLock", "POST", "vaults/*/lock-policy/*", "", func(s *Service) handler { return s.completeLock }},
	{"UploadArchive", "POST", "vaults/*/archives", "", func(s *Service) handler { return s.uploadArchive }},
	{"DeleteArchive", "DELETE", "vaults/*/archives/*", "", func(s *Service) handler { return s.deleteArchive }},
	{"InitiateMultipartUpload", "POST", "vaults/*/multipart-uploads", "", func(s *Service) handler { return s.initiateUpload }},
	{"ListMultipartUploads", "GET", "vaults/*/multipart-uploads", "", func(s *Service) handler { return s.listUploads }},
	{"UploadMultipartPart", "PUT", "vaults/*/multipart-uploads/*", "", func(s *Service) handler { return s.uploadPart }},
	{"ListParts", "GET", "vaults/*/multipart-uploads/*", "", func(s *Service) handler { return s.listParts }},
	{"CompleteMultipartUpload", "POST", "vaults/*/multipart-uploads/*", "", func(s *Service) handler { return s.completeUpload }},
	{"AbortMultipartUpload", "DELETE", "vaults/*/multipart-uploads/*", "", func(s *Service) handler { return s.abortUpload }},
	{"InitiateJob", "POST", "vaults/*/jobs", "", func(s *Service) handler { return s.initiateJob }},
	{"ListJobs", "GET", "vaults/*/jobs", "", func(s *Service) handler { return s.listJobs }},
	{"DescribeJob", "GET", "vaults/*/jobs/*", "", func(s *Service) handler { return s.describeJob }},
	{"GetJobOutput", "GET", "vaults/*/jobs/*/output", "", func(s *Service) handler { return s.getJobOutput }},
	{"GetDataRetrievalPolicy", "GET", "policies/data-retrieval", "", func(s *Service) handler { return s.getRetrievalPolicy }},
	{"SetDataRetrievalPolicy", "PUT", "policies/data-retrieval", "", func(s *Service) handler { return s.setRetrievalPolicy }},
	{"ListProvisionedCapacity", "GET", "provisioned-capacity", "", func(s *Service) handler { return s.listCapacity }},
	{"PurchaseProvisionedCapacity", "POST", "provisioned-capacity", "", func(s *Service) handler { return s.purchaseCapacity }},
}

// match reports whether the route has this path, and returns the elements at its stars.
func (rt route) match(elements []string) ([]string, bool) {
	want := strings.Split(rt.path, "/")
	if len(want) != len(elements) {
		return nil, false
	}
	var stars []string
	for i, w := range want {
		switch {
		case w == "*" && elements[i] != "":
			stars = append(stars, elements[i])
		case w != elements[i]:
			return nil, false
		}
	}
	return stars, true
}

// Operation implements [world.Service].
func (s *Service) Operation(r *http.Request) (world.Operation, *world.Error) {
	query, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return world.Operation{}, invalid("The query string is malformed: %v", err)
	}
	account, rest, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
	elements := strings.Split(rest, "/")
	for _, rt := range routes {
		if rt.method != r.Method {
			continue
		}
		stars, ok := rt.match(elements)
		if !ok {
			continue
		}
		if name, value, _ := strings.Cut(rt.query, "="); name != "" && query.Get(name) != value {
			continue
		}
		switch v := r.Header.Get("X-Amz-Glacier-Version"); {
		case v == "":
			return world.Operation{}, missing("Required parameter missing: API version")
		case v != "2012-06-01":
			return world.Operation{}, invalid("Invalid API version: %s", v)
		case account != "-" && account != s.w.Account:
			return world.Operation{}, world.Errorf(http.StatusForbidden, "AccessDeniedException", "The account %q is not that of the credentials.", account)
		}
		stars = append(stars, "", "")
		serve := rt.serve(s)
		return world.Operation{Name: rt.name, Serve: func(w http.ResponseWriter, r *http.Request) {
			s.settled()
			if e := serve(&call{w, r, query, stars[0], stars[1]}); e != nil {
				s.WriteError(w, r, e)
			}
		}}, nil
	}
	return world.Operation{}, world.Errorf(http.StatusBadRequest, "BadRequest", "The stand-in has no operation at %s %s.", r.Method, r.URL.Path)
}

// WriteError implements [world.Service].
func (s *Service) WriteError(w http.ResponseWriter, _ *http.Request, e *world.Error) {
	fault := "Client"
	if e.Status >= 500 {
		fault = "Server"
	}
	body := map[string]any{"code": e.Code, "message": e.Message, "type": fault}
	for k, v := range e.Fields {
		body[k] = v
	}
	w.Header().Set("X-Amzn-Errortype", e.Code)
	answer(w, e.Status, body)
}

func answer(w http.ResponseWriter, status int, body any) {
	raw, err := json.Marshal(body)
	if err != nil {
		panic(fmt.Sprintf("glacier: answer is not JSON: %v", err)) // a programmer's mistake
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Content-Length", strconv.Itoa(len(raw)))
	w.WriteHeader(status)
	w.Write(raw)
}

func invalid(format string, args ...any) *world.Error {
	return world.Errorf(http.StatusBadRequest, "InvalidParameterValueException", format, args...)
}

func missing(format string, args ...any) *world.Error {
	return world.Errorf(http.StatusBadRequest, "MissingParameterValueException", format, args...)
}

func notFound(format string, args ...any) *world.Error {
	return world.Errorf(http.StatusNotFound, "ResourceNotFoundException", format, args...)
}

// maxJSON bounds the bodies that are JSON.
const maxJSON = 1 << 20

// read decodes the JSON body of a call.
func (c *call) read(v any) *world.Error {
	raw, err := world.ReadBody(c.r, maxJSON)
	if err != nil {
		return world.Errorf(http.StatusBadRequest, "SerializationException", "read the body: %v", err)
	}
	if len(raw) == 0 {
		return missing("Required parameter missing: the request has no body")
	}
	if err := json.Unmarshal(raw, v); err != nil {
		return world.Errorf(http.StatusBadRequest, "SerializationException", "Invalid JSON: %v", err)
	}
	return nil
}

// limit reads the limit of a list: 1 to most, most if it is not there.
func (c *call) limit(most int) (int, *world.Error) {
	text := c.query.Get("limit")
	if text == "" {
		return most, nil
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 || n > most {
		return 0, invalid("Invalid limit: %s: must be from 1 to %d", text, most)
	}
	return n, nil
}

// page returns up to n rows with keys that begin with prefix, from marker on, and the
// marker of the next page, which is its first row's: nil at the end.
func page[V any](t *store.Table[V], prefix, marker string, n int, fits func(V) bool) (out []V, next *string) {
	t.Ascend(prefix+marker, func(key string, v V) bool {
		rest, ok := strings.CutPrefix(key, prefix)
		if !ok {
			return false
		}
		if !fits(v) {
			return true
		}
		if len(out) == n {
			next = &rest
			return false
		}
		out = append(out, v)
		return true
	})
	return out, next
}

// date formats a time in milliseconds as Glacier does.
func date(ms int64) string { return time.UnixMilli(ms).UTC().Format("2006-01-02T15:04:05.000Z") }

func (s *Service) now() int64 { return s.w.Clock.Now().UnixMilli() }

// location is the path of a resource, as the Location header has it.
func (s *Service) location(elements ...string) string {
	return "/" + s.w.Account + "/" + strings.Join(elements, "/")
}

// nullable returns nil for the zero value, which is null in JSON.
func nullable[T comparable](v T) *T {
	var zero T
	if v == zero {
		return nil
	}
	return &v
}
