package glacier

import (
	"context"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/tidwall/btree"

	"github.com/gas-restore/gas/internal/local/aws/world"
)

// dueKey is where a job stands in the order of what is due.
func dueKey(at int64, j job) string { return fmt.Sprintf("%016x %s", at, j.key()) }

// earliest returns the first entry of an order, its time and its job.
func earliest(order *btree.Set[string]) (entry string, at int64, key string, ok bool) {
	entry, ok = order.Min()
	at, key = readDue(entry)
	return entry, at, key, ok
}

// latest returns the last entry of an order, its time and its job.
func latest(order *btree.Set[string]) (entry string, at int64, key string, ok bool) {
	entry, ok = order.Max()
	at, key = readDue(entry)
	return entry, at, key, ok
}

// readDue returns what dueKey was made of: the time, and the key of the job.
func readDue(entry string) (at int64, key string) {
	stamp, key, _ := strings.Cut(entry, " ")
	at, _ = strconv.ParseInt(stamp, 16, 64)
	return at, key
}

// schedule notes what is next to happen to j: its completion, its notification
// or its end. The caller holds s.mu, or is New.
func (s *Service) schedule(j job) {
	switch {
	case j.Status == InProgress:
		s.due.Insert(dueKey(j.Due, j))
	case len(j.Unsent) > 0:
		// In the order in which they were due, which several that are finished at once
		// would lose by the time of their completion.
		s.untold.Insert(dueKey(j.Due, j))
	default:
		s.ends.Insert(dueKey(j.Completed+jobLife.Milliseconds(), j))
	}
}

// settle brings the jobs up to the time of the clock: it finishes the due ones, and
// removes those that have outlived their time. All code that reads jobs calls it first:
// the completer's timer fires in another goroutine, some time after the clock was moved,
// and until then a due job would still be in progress. The caller holds s.mu.
func (s *Service) settle() {
	now := s.now() // once: the clock may be moved at any time
	for {
		entry, at, key, ok := earliest(&s.due)
		if !ok || at > now {
			break
		}
		s.due.Delete(entry)
		if j, ok := s.jobs.Get(key); ok {
			s.finish(&j)
			s.jobs.Put(key, j)
			s.schedule(j)
			s.awake()
		}
	}
	for {
		entry, at, key, ok := earliest(&s.ends)
		if !ok || at > now {
			return
		}
		s.ends.Delete(entry)
		if j, ok := s.jobs.Get(key); ok {
			s.dropJob(j)
		}
	}
}

// settled is settle for who does not hold s.mu.
func (s *Service) settled() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.settle()
}

// awake tells the completer that something may be due earlier than it thinks.
func (s *Service) awake() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// complete finishes due jobs until ctx ends, and publishes their notifications.
func (s *Service) complete(ctx context.Context) {
	for ctx.Err() == nil {
		s.mu.Lock()
		s.settle()
		entry, _, next, untold := earliest(&s.untold)
		if untold {
			s.untold.Delete(entry)
		}
		_, at, _, waits := earliest(&s.due)
		if _, end, _, ok := earliest(&s.ends); ok && (!waits || end < at) {
			at, waits = end, true
		}
		s.mu.Unlock()
		if untold {
			s.tell(next)
			continue
		}
		var timer interface{ Stop() bool }
		if waits {
			timer = s.w.Clock.At(time.UnixMilli(at), s.awake)
		}
		select {
		case <-ctx.Done():
		case <-s.wake:
		}
		if timer != nil {
			timer.Stop()
		}
	}
}

// tell tells of the completion of the job at key. It is seen as completed before
// anybody is told.
func (s *Service) tell(key string) {
	j, ok := s.jobs.Get(key)
	if !ok {
		return
	}
	for len(j.Unsent) > 0 {
		body, err := json.Marshal(s.describeOf(j))
		if err != nil {
			panic(fmt.Sprintf("glacier: %v", err)) // a description is always JSON
		}
		// A topic that takes no message loses it, as at AWS.
		s.cfg.Topics.Publish(world.Notification{
			Service: "glacier.amazonaws.com", Source: s.vaultARN(j.Vault),
			Topic: j.Unsent[0], Subject: "Notification From Amazon Glacier Service", Message: string(body),
		})
		j.Unsent = j.Unsent[1:]
		s.mu.Lock()
		if _, ok := s.jobs.Get(key); ok {
			s.jobs.Put(key, j)
		}
		s.mu.Unlock()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, ok := s.jobs.Get(key); ok {
		s.schedule(j)
	}
}

// finish completes a job, one way or the other. The caller holds s.mu.
func (s *Service) finish(j *job) {
	j.Completed = max(s.now(), j.Created+1)
	j.Status, j.Message = Succeeded, Succeeded
	if reason := s.control.failure(s.jobInfo(*j)); reason != "" {
		j.Status, j.Message = Failed, reason
	} else if j.Action == archiveRetrieval {
		a, ok := s.archives.Get(j.Vault + "/" + j.Archive)
		if ok {
			j.Content = a.Content
		} else {
			j.Status, j.Message = Failed, "The archive was deleted before the job was completed"
		}
	} else if c, err := s.writeInventory(*j); err != nil {
		j.Status, j.Message = Failed, "The inventory could not be written"
	} else {
		j.Content, j.Length = c, c.Size
	}
	s.hold(j.Content)
	event := archiveEvent
	if j.Action == inventoryRetrieval {
		event = inventoryEvent
	}
	if j.Topic != "" {
		j.Unsent = append(j.Unsent, j.Topic)
	}
	if v, ok := s.vaults.Get(j.Vault); ok {
		for _, wanted := range v.Events {
			if wanted == event {
				j.Unsent = append(j.Unsent, v.Topic)
			}
		}
	}
}

// dropJob forgets a job. The caller holds s.mu.
func (s *Service) dropJob(j job) {
	s.jobs.Delete(j.key())
	s.release(j.Content)
}

// writeInventory writes the vault's inventory to a blob.
func (s *Service) writeInventory(j job) (content, error) {
	name, f, err := s.w.NewBlob()
	if err != nil {
		return content{}, err
	}
	defer f.Close()
	if j.Format == "CSV" {
		err = s.inventoryCSV(f, j)
	} else {
		err = s.inventoryJSON(f, j)
	}
	size, serr := f.Seek(0, io.SeekCurrent)
	if err == nil {
		err = serr
	}
	if err != nil {
		s.w.RemoveBlob(name)
		return content{}, err
	}
	return content{Size: size, Pieces: []piece{{Blob: name, Size: size}}}, nil
}

func (s *Service) inventoryJSON(w io.Writer, j job) error {
	type entry struct {
		ArchiveId, ArchiveDescription, CreationDate string
		Size                                        int64
		SHA256TreeHash                              string
	}
	list := []entry{}
	for _, a := range s.archives.Prefix(j.Vault + "/") {
		list = append(list, entry{a.ID, a.Description, date(a.Created), a.Content.Size, a.Content.Hash})
	}
	return json.NewEncoder(w).Encode(struct {
		VaultARN, InventoryDate string
		ArchiveList             []entry
	}{s.vaultARN(j.Vault), date(s.now()), list})
}

func (s *Service) inventoryCSV(w io.Writer, j job) error {
	out := csv.NewWriter(w)
	out.Write([]string{"ArchiveId", "ArchiveDescription", "CreationDate", "Size", "SHA256TreeHash"})
	for _, a := range s.archives.Prefix(j.Vault + "/") {
		out.Write([]string{a.ID, a.Description, date(a.Created), strconv.FormatInt(a.Content.Size, 10), a.Content.Hash})
	}
	out.Flush()
	return out.Error()
}
