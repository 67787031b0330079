package glacier

import (
	"encoding/json"
	"fmt"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/gas-restore/gas/internal/checksum/treehash"
	"github.com/gas-restore/gas/internal/local/aws/world"
)

// The statuses of a job.
const (
	InProgress = "InProgress"
	Succeeded  = "Succeeded"
	Failed     = "Failed"
)

const (
	archiveRetrieval   = "ArchiveRetrieval"
	inventoryRetrieval = "InventoryRetrieval"
)

// job is a job as it is stored, by its vault's name and its id.
type job struct {
	ID          string `json:"id"`
	Vault       string `json:"vault"`
	Action      string `json:"action"`
	Description string `json:"description,omitempty"`
	Topic       string `json:"topic,omitempty"`
	Tier        string `json:"tier,omitempty"`
	Created     int64  `json:"created"`
	Due         int64  `json:"due"`
	Completed   int64  `json:"completed,omitempty"`
	Status      string `json:"status"`
	Message     string `json:"message,omitempty"`
	// Unsent are the topics that are still to be told of the completion.
	Unsent []string `json:"unsent,omitempty"`
	// Content is the output after the job has succeeded; for an archive retrieval it is
	// the bytes [From, From+Length) of the archive.
	Content content `json:"content"`
	From    int64   `json:"from,omitempty"`
	Length  int64   `json:"length"`
	// Of an archive retrieval.
	Archive     string `json:"archive,omitempty"`
	ArchiveSize int64  `json:"archiveSize,omitempty"`
	ArchiveHash string `json:"archiveHash,omitempty"`
	RangeHash   string `json:"rangeHash,omitempty"` // empty if not aligned
	Ranged      bool   `json:"ranged,omitempty"`    // the request named a range
	About       string `json:"about,omitempty"`     // the archive's description
	// Of an inventory retrieval.
	Format string `json:"format,omitempty"`
}

func (j job) key() string { return j.Vault + "/" + j.ID }

// description is a job as DescribeJob, ListJobs and the notification have it.
type description struct {
	Action                       string
	ArchiveId                    *string
	ArchiveSHA256TreeHash        *string
	ArchiveSizeInBytes           *int64
	Completed                    bool
	CompletionDate               *string
	CreationDate                 string
	InventoryRetrievalParameters *inventoryParameters `json:",omitempty"`
	InventorySizeInBytes         *int64
	JobDescription               *string
	JobId                        string
	RetrievalByteRange           *string
	SHA256TreeHash               *string
	SNSTopic                     *string
	StatusCode                   string
	StatusMessage                *string
	Tier                         *string
	VaultARN                     string
}

type inventoryParameters struct {
	EndDate, Format, Limit, Marker, StartDate *string
}

func (s *Service) describeOf(j job) description {
	d := description{
		Action:         j.Action,
		Completed:      j.Status != InProgress,
		CreationDate:   date(j.Created),
		JobDescription: nullable(j.Description),
		JobId:          j.ID,
		SNSTopic:       nullable(j.Topic),
		StatusCode:     j.Status,
		StatusMessage:  nullable(j.Message),
		VaultARN:       s.vaultARN(j.Vault),
	}
	if j.Completed != 0 {
		d.CompletionDate = nullable(date(j.Completed))
	}
	if j.Action == inventoryRetrieval {
		d.InventoryRetrievalParameters = &inventoryParameters{Format: &j.Format}
		if j.Status == Succeeded {
			d.InventorySizeInBytes = &j.Length
		}
		return d
	}
	d.ArchiveId = &j.Archive
	d.ArchiveSHA256TreeHash = &j.ArchiveHash
	d.ArchiveSizeInBytes = &j.ArchiveSize
	d.Tier = &j.Tier
	d.RetrievalByteRange = nullable(fmt.Sprintf("%d-%d", j.From, j.From+j.Length-1))
	if whole := j.Length == j.ArchiveSize; !(j.Ranged && whole && j.Status == InProgress) {
		d.SHA256TreeHash = nullable(j.RangeHash)
	}
	return d
}

// jobParameters is the body of InitiateJob.
type jobParameters struct {
	Type, ArchiveId, Description, SNSTopic, Tier, RetrievalByteRange, Format string
	InventoryRetrievalParameters                                             *struct{ StartDate, EndDate, Limit, Marker *string }
	SelectParameters, OutputLocation                                         json.RawMessage
}

func (s *Service) initiateJob(c *call) *world.Error {
	v, e := s.vaultOf(c)
	if e != nil {
		return e
	}
	var in jobParameters
	if e := c.read(&in); e != nil {
		return e
	}
	if e := checkDescription("job description", in.Description); e != nil {
		return e
	}
	if in.SNSTopic != "" && !isTopic(in.SNSTopic) {
		return invalid("Invalid SNS topic ARN: %s", in.SNSTopic)
	}
	if in.SelectParameters != nil || in.OutputLocation != nil || in.Type == "select" {
		return world.Errorf(http.StatusBadRequest, "NoLongerSupportedException", "The stand-in has no select jobs.")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.now()
	j := job{
		ID: newID(jobIDLength), Vault: v.Name, Description: in.Description, Topic: in.SNSTopic,
		Created: now, Status: InProgress,
	}
	switch in.Type {
	case "archive-retrieval":
		e = s.prepareRetrieval(&j, in)
	case "inventory-retrieval":
		e = s.prepareInventory(&j, in)
	case "":
		e = missing("Required parameter missing: Type")
	default:
		e = invalid("Invalid job type: %s", in.Type)
	}
	if e != nil {
		return e
	}
	j.Due = now + s.control.delay(Tier(j.Tier), s.random).Milliseconds()
	s.jobs.Put(j.key(), j)
	s.schedule(j)
	s.awake()
	c.w.Header().Set("Location", s.location("vaults", v.Name, "jobs", j.ID))
	c.w.Header().Set("X-Amz-Job-Id", j.ID)
	c.w.WriteHeader(http.StatusAccepted)
	return nil
}

// prepareRetrieval fills in a job that retrieves an archive, and writes it on
// the bill, or refuses it. The caller holds s.mu.
func (s *Service) prepareRetrieval(j *job, in jobParameters) *world.Error {
	j.Action = archiveRetrieval
	switch {
	case in.ArchiveId == "":
		return missing("Required parameter missing: ArchiveId")
	case in.InventoryRetrievalParameters != nil || in.Format != "":
		return invalid("InventoryRetrievalParameters and Format are for inventory-retrieval jobs only")
	case in.Tier == "":
		j.Tier = string(Standard)
	case in.Tier == string(Expedited) || in.Tier == string(Standard) || in.Tier == string(Bulk):
		j.Tier = in.Tier
	default:
		return invalid("Invalid tier: %s. Must be one of: Expedited, Standard, Bulk", in.Tier)
	}
	if len(in.ArchiveId) != archiveIDLength || strings.Trim(in.ArchiveId, idCharacters) != "" {
		return invalid("Invalid archive id: %s", in.ArchiveId)
	}
	a, ok := s.archives.Get(j.Vault + "/" + in.ArchiveId)
	if !ok {
		return notFound("The archive ID was not found: %s", in.ArchiveId)
	}
	j.Archive, j.ArchiveSize, j.ArchiveHash, j.About = a.ID, a.Content.Size, a.Content.Hash, a.Description
	j.Length = a.Content.Size
	if in.RetrievalByteRange != "" {
		from, n, e := parseRetrievalRange(in.RetrievalByteRange, a.Content.Size)
		if e != nil {
			return e
		}
		j.From, j.Length, j.Ranged = from, n, true
	}
	sum, ok, err := s.hashOf(a.Content, j.From, j.Length)
	if err != nil {
		return unavailable(err)
	}
	if ok {
		j.RangeHash = sum
	}
	if e := s.admit(j); e != nil {
		return e
	}
	b, _ := s.bills.Get(a.ID)
	s.bills.Put(a.ID, b.with(Tier(j.Tier), j.Length))
	return nil
}

var retrievalRange = regexp.MustCompile(`^(\d{1,15})-(\d{1,15})$`)

// parseRetrievalRange reads the RetrievalByteRange of an archive of size bytes.
func parseRetrievalRange(text string, size int64) (from, n int64, e *world.Error) {
	m := retrievalRange.FindStringSubmatch(text)
	if m == nil {
		return 0, 0, invalid("Invalid retrieval byte range: %s", text)
	}
	from, _ = strconv.ParseInt(m[1], 10, 64)
	to, _ := strconv.ParseInt(m[2], 10, 64)
	switch {
	case from > to || to >= size:
		return 0, 0, invalid("Invalid retrieval byte range: %s is not in an archive of %d bytes", text, size)
	case from%treehash.ChunkSize != 0 || (to+1)%treehash.ChunkSize != 0 && to+1 != size:
		return 0, 0, invalid("Invalid retrieval byte range: %s is not megabyte aligned", text)
	}
	return from, to - from + 1, nil
}

// prepareInventory fills in a job that retrieves the vault's inventory.
func (s *Service) prepareInventory(j *job, in jobParameters) *world.Error {
	j.Action = inventoryRetrieval
	switch {
	case in.ArchiveId != "" || in.RetrievalByteRange != "":
		return invalid("ArchiveId and RetrievalByteRange are for archive-retrieval jobs only")
	case in.Tier != "" && in.Tier != string(Standard):
		return invalid("Invalid tier for an inventory retrieval: %s", in.Tier)
	case in.Format != "" && in.Format != "JSON" && in.Format != "CSV":
		return invalid("Invalid format: %s. Must be one of: CSV, JSON", in.Format)
	}
	if p := in.InventoryRetrievalParameters; p != nil && (p.StartDate != nil || p.EndDate != nil || p.Limit != nil || p.Marker != nil) {
		return invalid("The stand-in has no range inventory retrieval: leave InventoryRetrievalParameters out.")
	}
	j.Format = "JSON"
	if in.Format != "" {
		j.Format = in.Format
	}
	return nil
}

// jobOf returns the job of a call. The caller need not hold s.mu.
func (s *Service) jobOf(c *call) (job, *world.Error) {
	if _, e := s.vaultOf(c); e != nil {
		return job{}, e
	}
	j, ok := s.jobs.Get(c.vault + "/" + c.id)
	// A job that has outlived its time is gone, even if its notification is not sent yet.
	if !ok || j.Completed != 0 && j.Completed+jobLife.Milliseconds() <= s.now() {
		return job{}, notFound("The job ID was not found: %s", c.id)
	}
	return j, nil
}

func (s *Service) describeJob(c *call) *world.Error {
	j, e := s.jobOf(c)
	if e != nil {
		return e
	}
	answer(c.w, http.StatusOK, s.describeOf(j))
	return nil
}

func (s *Service) listJobs(c *call) *world.Error {
	v, e := s.vaultOf(c)
	if e != nil {
		return e
	}
	n, e := c.limit(50)
	if e != nil {
		return e
	}
	status, completed := c.query.Get("statuscode"), c.query.Get("completed")
	switch status {
	case "", InProgress, Succeeded, Failed:
	default:
		return invalid("The job status code is not valid: %s", status)
	}
	if completed != "" && completed != "true" && completed != "false" {
		return invalid("Invalid completed: %s. Must be true or false", completed)
	}
	marker := c.query.Get("marker")
	if strings.Trim(marker, idCharacters) != "" {
		return invalid("Invalid marker: %s", marker)
	}
	s.mu.Lock()
	shown := s.now() - s.control.list.Milliseconds()
	s.mu.Unlock()
	jobs, next := page(s.jobs, v.Name+"/", marker, n, func(j job) bool {
		return j.Created <= shown && (status == "" || status == j.Status) && (completed == "" || (completed == "true") == (j.Status != InProgress))
	})
	out := struct {
		JobList []description
		Marker  *string
	}{[]description{}, next}
	for _, j := range jobs {
		out.JobList = append(out.JobList, s.describeOf(j))
	}
	answer(c.w, http.StatusOK, out)
	return nil
}

var outputRange = regexp.MustCompile(`^bytes=(\d{1,15})-(\d{0,15})$`)

func (s *Service) getJobOutput(c *call) *world.Error {
	j, e := s.jobOf(c)
	if e != nil {
		return e
	}
	switch {
	case j.Status == InProgress:
		return invalid("The job is not currently available for download: %s", j.ID)
	case j.Status == Failed || s.now() >= j.Completed+outputLife.Milliseconds():
		return notFound("The job ID was not found: %s: its output is not, or no longer, there", j.ID)
	}
	from, n, status := int64(0), j.Length, http.StatusOK
	if text := c.r.Header.Get("Range"); text != "" {
		m := outputRange.FindStringSubmatch(text)
		if m == nil {
			return invalid("Invalid range: %s", text)
		}
		from, _ = strconv.ParseInt(m[1], 10, 64)
		to := j.Length - 1
		if m[2] != "" {
			to, _ = strconv.ParseInt(m[2], 10, 64)
		}
		if from > to || from >= j.Length {
			return invalid("Invalid range: %s is not in an output of %d bytes", text, j.Length)
		}
		n, status = min(to, j.Length-1)-from+1, http.StatusPartialContent
	}
	h := c.w.Header()
	h.Set("Accept-Ranges", "bytes")
	h.Set("Content-Length", strconv.FormatInt(n, 10))
	if status == http.StatusPartialContent {
		h.Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", from, from+n-1, j.Length))
	}
	if j.Action == inventoryRetrieval {
		h.Set("Content-Type", "application/json")
		if j.Format == "CSV" {
			h.Set("Content-Type", "text/csv")
		}
	} else {
		h.Set("Content-Type", "application/octet-stream")
		if j.About != "" {
			h.Set("X-Amz-Archive-Description", j.About)
		}
		if j.RangeHash != "" {
			sum, ok, err := s.hashOf(j.Content, j.From+from, n)
			if err != nil {
				return unavailable(err)
			}
			if ok {
				h.Set("X-Amz-Sha256-Tree-Hash", sum)
			}
		}
	}
	c.w.WriteHeader(status)
	if err := s.write(c.w, j.Content, j.From+from, n); err != nil {
		// The answer has begun: a short body is all that the client can be told.
		panic(http.ErrAbortHandler)
	}
	return nil
}

const (
	// outputLife is how long a completed job's output can be had.
	outputLife = 24 * time.Hour
	// jobLife is how long a completed job is listed and described.
	jobLife = 36 * time.Hour
)
