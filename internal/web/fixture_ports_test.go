package web

import (
	"cmp"
	"context"
	"errors"
	"io"
	"iter"
	"mime"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gas-restore/gas/internal/archive"
	"github.com/gas-restore/gas/internal/checksum/crc64nvme"
	"github.com/gas-restore/gas/internal/fault"
	"github.com/gas-restore/gas/pkg/events"
)

// fixturePorts are the site's ports in memory. They pass the suite that the real adapters
// pass (internal/test/sitetest).
type fixturePorts struct {
	store *httptest.Server

	// mu guards everything below.
	mu        sync.Mutex
	accounts  map[events.UserID]archive.Account
	jobs      map[events.JobID]archive.Job
	objects   map[archive.Object]string
	putAt     map[archive.Object]time.Time
	marks     map[archive.Object]*archive.Mark
	announced []events.UserID
	since     []time.Time // of each that was announced
	names     []string
	tasks     []events.Event // that were published
	statuses  []Status
	made      string // the incarnation of statuses, "s" at first
	// news is closed and replaced at each status.
	news chan struct{}
	// following counts the open calls of Follow. follows counts all calls.
	following, follows int
	// healed is called when the site has searched for overdue upgrades at its start. The
	// fixture waits for it: a test that does the same must not do so at the same time.
	healed func()
	// selected, if set, is called at each call of Select.
	selected func()
	// faults are returned, once each, by the call of that name.
	stops   archive.Switches
	letters map[string]events.DeadLetter // by the subject of their work
	faults  map[string]error
}

func newFixturePorts(t *testing.T, n *network) *fixturePorts {
	w := &fixturePorts{
		accounts: map[events.UserID]archive.Account{}, jobs: map[events.JobID]archive.Job{},
		objects: map[archive.Object]string{}, putAt: map[archive.Object]time.Time{}, marks: map[archive.Object]*archive.Mark{}, letters: map[string]events.DeadLetter{}, news: make(chan struct{}), faults: map[string]error{},
	}
	w.store = &httptest.Server{Listener: n.listen(t), Config: &http.Server{Handler: http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		bucket, key, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
		w.mu.Lock()
		body, ok := w.objects[archive.Object{Bucket: bucket, Key: key}]
		w.mu.Unlock()
		if !ok {
			http.NotFound(rw, r)
			return
		}
		rw.Header().Set("Content-Disposition", r.URL.Query().Get("response-content-disposition"))
		http.ServeContent(rw, r, "", time.Time{}, strings.NewReader(body))
	})}}
	w.store.Start()
	t.Cleanup(w.store.Close)
	return w
}

func (w *fixturePorts) fault(call string) error {
	err := w.faults[call]
	delete(w.faults, call)
	return err
}

func (w *fixturePorts) change(f func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	f()
}

func (w *fixturePorts) Account(_ context.Context, user events.UserID) (archive.Account, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if err := w.fault("Account"); err != nil {
		return archive.Account{}, err
	}
	a, ok := w.accounts[user]
	if !ok {
		return archive.Account{}, fault.Errorf(fault.NotFound, "no account %s", user)
	}
	return a, nil
}

func (w *fixturePorts) SignIn(_ context.Context, seen archive.Account, former []string) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if err := w.fault("SignIn"); err != nil {
		return err
	}
	a, ok := w.accounts[seen.ID]
	if !ok {
		w.accounts[seen.ID] = seen
		return nil
	}
	a, err := a.SignedIn(seen, former)
	if err == nil {
		w.accounts[seen.ID] = a
	}
	return err
}

func (w *fixturePorts) SetRole(_ context.Context, user events.UserID, role archive.Role, at time.Time) (bool, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	a, ok := w.accounts[user]
	if !ok {
		return false, fault.Errorf(fault.NotFound, "no account %s", user)
	}
	if a.Role == role {
		return false, nil
	}
	a.RoleHistory = a.Changed(role, at)
	a.Role, a.RoleChangedAt, a.AnnounceDue, a.Plan = role, at, time.Time{}, nil
	if role == archive.Premium {
		a.AnnounceDue = at
		a.Plan = &archive.Plan{ID: "upgrade-" + at.String(), UpgradedAt: at, Why: archive.Upgrade, State: archive.PlanOpen, OpenedAt: at, Due: at}
	}
	w.accounts[user] = a
	return true, nil
}

func (w *fixturePorts) Switches(context.Context) (archive.Switches, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.stops, w.fault("Switches")
}

func (w *fixturePorts) Letter(_ context.Context, e events.Event) (events.DeadLetter, bool, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	letter, ok := w.letters[e.Subject()]
	return letter, ok, w.fault("Letter")
}

// giveUp stores a dead letter.
func (w *fixturePorts) giveUp(letter events.DeadLetter) {
	w.change(func() { w.letters[letter.SourceSubject] = letter })
}

func (w *fixturePorts) OpenPlan(_ context.Context, account archive.Account, plan archive.Plan) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if err := w.fault("OpenPlan"); err != nil {
		return err
	}
	a := w.accounts[account.ID]
	if a.Plan != nil || a.Role != account.Role || !a.RoleChangedAt.Equal(account.RoleChangedAt) || a.PlansOpened != account.PlansOpened {
		return fault.Errorf(fault.Conflict, "the account of %s changed", account.ID)
	}
	a.Plan = &plan
	a.PlansOpened++
	w.accounts[account.ID] = a
	return nil
}

func (w *fixturePorts) SetFirst(_ context.Context, user events.UserID, plan string, job events.JobID) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if err := w.fault("SetFirst"); err != nil {
		return err
	}
	a := w.accounts[user]
	if a.Plan == nil || a.Plan.ID != plan {
		return fault.Errorf(fault.Conflict, "the account of %s has not plan %s", user, plan)
	}
	changed := *a.Plan
	changed.First = job
	a.Plan = &changed
	w.accounts[user] = a
	return nil
}

func (w *fixturePorts) Publish(_ context.Context, e events.Event) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if err := w.fault("Publish"); err != nil {
		return err
	}
	w.tasks = append(w.tasks, e)
	return nil
}

func (w *fixturePorts) Announced(_ context.Context, user events.UserID, due time.Time) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if err := w.fault("Announced"); err != nil {
		return err
	}
	if a := w.accounts[user]; a.AnnounceDue.Equal(due) {
		a.AnnounceDue = time.Time{}
		w.accounts[user] = a
	}
	return nil
}

func (w *fixturePorts) Unannounced(context.Context) iter.Seq2[archive.Account, error] {
	defer w.healed()
	w.mu.Lock()
	defer w.mu.Unlock()
	var due []archive.Account
	for _, a := range w.accounts {
		if !a.AnnounceDue.IsZero() {
			due = append(due, a)
		}
	}
	return func(yield func(archive.Account, error) bool) {
		for _, a := range due {
			if !yield(a, nil) {
				return
			}
		}
	}
}

func (w *fixturePorts) Select(_ context.Context, user events.UserID, sel archive.Selection) (archive.Listing, error) {
	var err error
	var all []archive.Job
	w.change(func() {
		err = w.fault("Select")
		if w.selected != nil {
			w.selected()
		}
		for _, j := range w.jobs {
			if j.UserID == user {
				all = append(all, j)
			}
		}
	})
	if err != nil {
		return archive.Listing{}, err
	}
	slices.SortFunc(all, func(a, b archive.Job) int {
		return cmp.Or(b.SubmittedAt.Compare(a.SubmittedAt), cmp.Compare(a.ID, b.ID))
	})
	if sel.Before && sel.Cursor != "" {
		back := sel
		back.Oldest = !sel.Oldest
		jobs, first, next, err := walk(all, back)
		if err != nil {
			return archive.Listing{}, err
		}
		if next != "" {
			slices.Reverse(jobs)
			return archive.Listing{Jobs: jobs, Prev: next, Next: first}, nil
		}
		sel.Cursor = "" // it is the first page, which is full
	}
	jobs, first, next, err := walk(all, sel)
	if sel.Cursor == "" {
		first = ""
	}
	return archive.Listing{Jobs: jobs, Prev: first, Next: next}, err
}

// walk lists the jobs of all, which has the newest first, from the selection's cursor on. It
// returns the cursors of the first and the last job that it checked. The latter is empty at the
// end.
func walk(all []archive.Job, sel archive.Selection) (jobs []archive.Job, first, next string, err error) {
	all = slices.Clone(all)
	if sel.Oldest {
		slices.Reverse(all)
	}
	begin := 0
	if sel.Cursor != "" {
		i := slices.IndexFunc(all, func(j archive.Job) bool { return cursorOf(j) == sel.Cursor })
		if i < 0 {
			return nil, "", "", fault.Errorf(fault.Invalid, "cursor %q", sel.Cursor)
		}
		begin = i + 1
	}
	for i, j := range all[begin:] {
		if i == 0 {
			first = cursorOf(j)
		}
		if sel.Match == nil || sel.Match(j) {
			jobs = append(jobs, j)
		}
		if len(jobs) == sel.Limit || sel.Match != nil && i+1 >= sel.Look {
			if begin+i+1 < len(all) {
				next = cursorOf(j)
			}
			break
		}
	}
	return jobs, first, next, nil
}

func cursorOf(j archive.Job) string { return "cursor-" + string(j.ID) }

func (w *fixturePorts) ArchivedPage(_ context.Context, user events.UserID, cursor string) ([]archive.Job, string, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if err := w.fault("ArchivedPage"); err != nil {
		return nil, "", err
	}
	if cursor != "" { // there is one page
		return nil, "", fault.Errorf(fault.Invalid, "cursor %q", cursor)
	}
	var jobs []archive.Job
	for _, j := range w.jobs {
		if j.UserID == user && j.ArchiveID != "" {
			jobs = append(jobs, j)
		}
	}
	return jobs, "", nil
}

func (w *fixturePorts) AccountAndJob(ctx context.Context, user events.UserID, id events.JobID) (archive.Account, archive.Job, error) {
	a, err := w.Account(ctx, user)
	w.mu.Lock()
	defer w.mu.Unlock()
	return a, w.jobs[id], err
}

func (w *fixturePorts) HasArchived(_ context.Context, user events.UserID) (bool, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, j := range w.jobs {
		if j.UserID == user && j.ArchiveID != "" && j.RetrievalID == "" {
			return true, nil
		}
	}
	return false, nil
}

func (w *fixturePorts) AnnounceUpgrade(_ context.Context, m events.UpgradeMessage) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if m.PlanID == "" {
		return errors.New("an upgrade is announced without its plan")
	}
	if err := w.fault("AnnounceUpgrade"); err != nil {
		return err
	}
	w.announced = append(w.announced, m.UserID)
	w.since = append(w.since, m.UpgradedAt)
	return nil
}

func (w *fixturePorts) Stat(_ context.Context, o archive.Object) (archive.Found, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if err := w.fault("Stat"); err != nil {
		return archive.Found{}, err
	}
	body, ok := w.objects[o]
	if !ok {
		return archive.Found{}, fault.Errorf(fault.NotFound, "no object %s", o)
	}
	return archive.Found{Object: o, Size: int64(len(body)), Checksum: crc64nvme.Update(0, []byte(body)).String(), ETag: etagOf(body), ModifiedAt: w.putAt[o], Mark: w.marks[o]}, nil
}

func etagOf(body string) string { return `"` + crc64nvme.Update(0, []byte(body)).String() + `"` }

func (w *fixturePorts) Read(_ context.Context, found archive.Found, offset int64) (io.ReadCloser, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if err := w.fault("Read"); err != nil {
		return nil, err
	}
	body, ok := w.objects[found.Object]
	if !ok {
		return nil, fault.Errorf(fault.NotFound, "no object %s", found.Object)
	}
	if etagOf(body) != found.ETag {
		return nil, fault.Errorf(fault.Conflict, "another object at %s", found.Object)
	}
	return io.NopCloser(strings.NewReader(body[offset:])), nil
}

func (w *fixturePorts) PresignGet(_ context.Context, o archive.Object, name string, valid time.Duration) (string, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.names = append(w.names, name)
	return w.store.URL + "/" + o.Bucket + "/" + (&url.URL{Path: o.Key}).EscapedPath() + "?" + url.Values{
		"response-content-disposition": {mime.FormatMediaType("attachment", map[string]string{"filename": name})},
		"X-Amz-Expires":                {strconv.Itoa(int(valid / time.Second))}, "X-Amz-Signature": {"x"},
	}.Encode(), nil
}

// at is a position in the stream; the caller has mu.
func (w *fixturePorts) at(seq int) events.Position {
	return events.Position{Incarnation: cmp.Or(w.made, "s"), Seq: uint64(seq)}
}

// remake deletes the stream and makes it anew, with another incarnation.
func (w *fixturePorts) remake(made string) {
	w.change(func() {
		w.statuses, w.made = nil, made
		close(w.news)
		w.news = make(chan struct{})
	})
}

func (w *fixturePorts) Position(context.Context) (events.Position, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.at(len(w.statuses)), w.fault("Position")
}

func (w *fixturePorts) Follow(ctx context.Context, after events.Position) iter.Seq2[Status, error] {
	return func(yield func(Status, error) bool) {
		w.change(func() { w.following++; w.follows++ })
		defer w.change(func() { w.following-- })
		for {
			w.mu.Lock()
			pending := slices.Clone(w.statuses[min(after.Seq, uint64(len(w.statuses))):])
			news, err := w.news, w.fault("Follow")
			if last := w.at(len(w.statuses)); after.Incarnation != last.Incarnation || after.Seq > last.Seq {
				err = errors.New("the stream was made anew")
			}
			w.mu.Unlock()
			if err != nil {
				yield(Status{}, err)
				return
			}
			for _, st := range pending {
				after = st.Position
				if !yield(st, nil) {
					return
				}
			}
			select {
			case <-news:
			case <-ctx.Done():
				return
			}
		}
	}
}

func (w *fixturePorts) Kept(_ context.Context, user events.UserID, after, upto events.Position) iter.Seq2[Status, error] {
	return func(yield func(Status, error) bool) {
		w.mu.Lock()
		kept, here := slices.Clone(w.statuses), w.at(0).Incarnation
		w.mu.Unlock()
		if after.Incarnation != here || upto.Incarnation != here {
			yield(Status{}, errors.New("the stream was made anew"))
			return
		}
		for _, st := range kept {
			if st.UserID == user && st.Position.Seq > after.Seq && st.Position.Seq <= upto.Seq && !yield(st, nil) {
				return
			}
		}
	}
}

func (w *fixturePorts) Last(_ context.Context, user events.UserID, job events.JobID) (events.StatusChanged, bool, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if err := w.fault("Last"); err != nil {
		return events.StatusChanged{}, false, err
	}
	for _, st := range slices.Backward(w.statuses) {
		if st.UserID == user && st.JobID == job {
			return st.StatusChanged, true, nil
		}
	}
	return events.StatusChanged{}, false, nil
}

func (w *fixturePorts) tell(e events.StatusChanged) {
	w.change(func() {
		w.statuses = append(w.statuses, Status{Position: w.at(len(w.statuses) + 1), StatusChanged: e})
		close(w.news)
		w.news = make(chan struct{})
	})
}

// archived adds a job with its result in the vault.
func (w *fixturePorts) archived(user events.UserID, id events.JobID, at time.Time) archive.Job {
	j := archive.Job{
		ID: id, UserID: user, SubmittedAt: at, CompletedAt: at.Add(time.Minute), Status: "COMPLETED",
		InputFileName: "sample-" + string(id) + ".vcf",
		Result:        archive.Object{Bucket: "gas-results", Key: "gas/" + string(user) + "/" + string(id) + "~sample.annot.vcf"},
		ArchiveID:     events.ArchiveID("archive-" + id), ArchiveSize: 1234567,
	}
	w.change(func() { w.jobs[id] = j })
	return j
}

// requested lets Glacier work on the job.
func (w *fixturePorts) requested(id events.JobID, tier archive.Tier, at time.Time) {
	w.change(func() {
		j := w.jobs[id]
		j.RetrievalID, j.Tier, j.RetrievalRequestedAt = events.RetrievalID("retrieval-"+id), tier, at
		w.jobs[id] = j
	})
}

// restored brings the job's result back.
func (w *fixturePorts) restored(id events.JobID, content string) {
	w.change(func() {
		j := w.jobs[id]
		w.objects[j.Result] = content
		j.ResultSize, j.RestoredAt = j.ArchiveSize, time.Now()
		j.ArchiveID, j.RetrievalID, j.Tier, j.RetrievalRequestedAt = "", "", "", time.Time{}
		w.jobs[id] = j
	})
}
