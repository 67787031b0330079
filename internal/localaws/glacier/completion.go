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
)

// dueKey is where a job stands in the order of what is due.
func dueKey(at int64, j job) string { return fmt.Sprintf("%016x %s", at, j.key()) }

// schedule notes what is next to happen to j: its completion, its notification
// or its end. The caller holds s.mu, or is New.
func (s *Service) schedule(j job) {
	switch {
	case j.Status == InProgress:
		s.due.Insert(dueKey(j.Due, j))
	case len(j.Unsent) > 0:
		s.due.Insert(dueKey(j.Completed, j))
	default:
		s.due.Insert(dueKey(j.Completed+jobLife.Milliseconds(), j))
	}
}

// awake tells the completer that something may be due earlier than it thinks.
func (s *Service) awake() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// complete does what becomes due until ctx ends.
func (s *Service) complete(ctx context.Context) {
	for ctx.Err() == nil {
		s.mu.Lock()
		var next string
		var at int64
		due := false
		if first, ok := s.due.Min(); ok {
			stamp, key, _ := strings.Cut(first, " ")
			at, _ = strconv.ParseInt(stamp, 16, 64)
			next = key
			// Asked once: the clock may move on at any time, and a job that is advanced
			// must not stay in the list, or it would be advanced again, to its end.
			if due = at <= s.now(); due {
				s.due.Delete(first)
			}
		}
		s.mu.Unlock()
		if due {
			s.advance(next)
			continue
		}
		var timer interface{ Stop() bool }
		if next != "" {
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

// advance does what is due for the job at key.
func (s *Service) advance(key string) {
	s.mu.Lock()
	j, ok := s.jobs.Get(key)
	if !ok {
		s.mu.Unlock()
		return
	}
	if j.Status == InProgress {
		s.finish(&j)
		s.jobs.Put(key, j)
	} else if len(j.Unsent) == 0 {
		s.dropJob(j)
		s.mu.Unlock()
		return
	}
	s.mu.Unlock()

	// The job is seen as completed before anybody is told.
	for len(j.Unsent) > 0 {
		body, err := json.Marshal(s.describeOf(j))
		if err != nil {
			panic(fmt.Sprintf("glacier: %v", err)) // a description is always JSON
		}
		// A topic that takes no message loses it, as at AWS.
		s.cfg.Topics.Publish(j.Unsent[0], "Notification From Amazon Glacier Service", string(body))
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
