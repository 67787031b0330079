package sqs

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"sync/atomic"
	"time"

	"github.com/gas-restore/gas/internal/local/aws/world"
)

// moveTask is a task that moves messages out of a dead-letter queue, as it is
// stored.
type moveTask struct {
	ID          string `json:"id"`
	Source      string `json:"source"`                // ARN
	Destination string `json:"destination,omitempty"` // ARN; empty: where each message came from
	Rate        int    `json:"rate,omitempty"`        // messages a second; 0: no limit
	Status      string `json:"status"`
	Reason      string `json:"reason,omitempty"`
	Moved       int64  `json:"moved"`
	ToMove      int64  `json:"toMove"`
	Started     int64  `json:"started"` // milliseconds
}

// keptTasks is how many tasks of a queue are listed.
const keptTasks = 10

func (t moveTask) key() string { return fmt.Sprintf("%s/%016x/%s", t.Source, t.Started, t.ID) }

func (t moveTask) handle() string {
	raw, _ := json.Marshal(map[string]string{"taskId": t.ID, "sourceArn": t.Source})
	return base64.StdEncoding.EncodeToString(raw)
}

type runningTask struct {
	moveTask
	moved     atomic.Int64
	cancelled chan struct{} // closed by CancelMessageMoveTask
}

func (s *Service) startMessageMoveTask(_ *http.Request, in []byte) (any, *world.Error) {
	var req struct {
		SourceArn, DestinationArn    string
		MaxNumberOfMessagesPerSecond *int
	}
	if e := decode(in, &req); e != nil {
		return nil, e
	}
	task := moveTask{ID: world.UUID(), Source: req.SourceArn, Destination: req.DestinationArn, Status: "RUNNING", Started: s.now()}
	if req.SourceArn == "" {
		return nil, missing("SourceArn")
	}
	if n := req.MaxNumberOfMessagesPerSecond; n != nil {
		if *n < 1 || *n > 500 {
			return nil, invalid(*n, "MaxNumberOfMessagesPerSecond", "Must be between 1 and 500.")
		}
		task.Rate = *n
	}
	source := s.queueByARN(req.SourceArn)
	if source == nil || req.DestinationArn != "" && s.queueByARN(req.DestinationArn) == nil {
		return nil, world.Errorf(http.StatusNotFound, "ResourceNotFoundException", "The resource that you specified for the SourceArn or DestinationArn parameter doesn't exist.")
	}
	visible, _, _ := source.counts()
	task.ToMove = int64(visible)
	s.mu.Lock()
	defer s.mu.Unlock()
	if !slices.ContainsFunc(slices.Collect(maps.Values(s.queues)), func(q *queue) bool {
		redrive := q.settings.Load().redrive
		return redrive != nil && redrive.target == source.name
	}) {
		return nil, bad("InvalidParameterValue", "Source queue must be configured as a Dead Letter Queue.")
	}
	if s.tasks[source.name] != nil {
		return nil, bad("UnsupportedOperation", "There is already a task running. Only one active task is allowed for a source queue arn at a given time.")
	}
	s.taskRows.Put(task.key(), task)
	s.run(source, task)
	return map[string]string{"TaskHandle": task.handle()}, nil
}

// resumeTasks goes on with the tasks that were running when the state was left.
func (s *Service) resumeTasks() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, task := range s.taskRows.Prefix("") {
		if source := s.queueByARNLocked(task.Source); task.Status == "RUNNING" && source != nil {
			s.run(source, task)
		}
	}
}

// run carries a task out in the background. The caller holds s.mu.
func (s *Service) run(source *queue, task moveTask) {
	t := &runningTask{moveTask: task, cancelled: make(chan struct{})}
	t.moved.Store(task.Moved)
	s.tasks[source.name] = t
	s.w.Go(func(ctx context.Context) {
		end := t.moveTask
		end.Status, end.Reason = s.move(ctx, source, t)
		end.Moved = t.moved.Load()
		s.mu.Lock()
		defer s.mu.Unlock()
		s.taskRows.Put(end.key(), end)
		delete(s.tasks, source.name)
		old := s.taskRows.Prefix(end.Source + "/")
		for _, task := range old[:max(0, len(old)-keptTasks)] {
			s.taskRows.Delete(task.key())
		}
	})
}

// move moves what is visible in source and returns how that ended.
func (s *Service) move(ctx context.Context, source *queue, t *runningTask) (status, reason string) {
	for {
		n := 100
		if t.Rate > 0 {
			n = t.Rate
		}
		for range n {
			if ctx.Err() != nil {
				return "RUNNING", "" // the next start goes on
			}
			more, reason := s.moveOne(source, t)
			if reason != "" {
				return "FAILED", reason
			}
			if !more {
				return "COMPLETED", ""
			}
			t.moved.Add(1)
		}
		pause := make(chan struct{})
		if t.Rate == 0 {
			close(pause)
		} else {
			timer := s.w.Clock.AfterFunc(time.Second, func() { close(pause) })
			defer timer.Stop()
		}
		select {
		case <-t.cancelled:
			return "CANCELLED", ""
		case <-ctx.Done():
		case <-pause:
		}
	}
}

// moveOne moves the first visible message. It is a new message at its
// destination, as AWS says.
func (s *Service) moveOne(source *queue, t *runningTask) (more bool, failure string) {
	now := s.now()
	source.mu.Lock()
	source.advance(now)
	e := source.head
	if e == nil {
		source.mu.Unlock()
		return false, ""
	}
	source.forget(e)
	generation := source.row.Generation
	source.mu.Unlock()

	back := func(reason string) (bool, string) {
		source.mu.Lock()
		defer source.mu.Unlock()
		if generation == source.row.Generation && !source.gone {
			e.until = 0
			source.insert(e, now)
		}
		return false, reason
	}
	arn := t.Destination
	if arn == "" {
		arn = e.m.Source
	}
	if arn == "" {
		return back("CouldNotDetermineMessageSource")
	}
	to := s.queueByARN(arn)
	m := &message{ID: world.UUID(), Body: e.m.Body, Attributes: e.m.Attributes, Trace: e.m.Trace, Sender: e.m.Sender, Sent: now}
	if to == nil || !to.add(m) {
		return back("AWS.SimpleQueueService.NonExistentQueue")
	}
	source.deleteRows(generation, e)
	return true, ""
}

func (s *Service) listMessageMoveTasks(_ *http.Request, in []byte) (any, *world.Error) {
	var req struct {
		SourceArn  string
		MaxResults *int
	}
	if e := decode(in, &req); e != nil {
		return nil, e
	}
	n := 1
	if req.MaxResults != nil {
		if n = *req.MaxResults; n < 1 || n > keptTasks {
			return nil, invalid(n, "MaxResults", "Must be between 1 and 10.")
		}
	}
	source := s.queueByARN(req.SourceArn)
	if source == nil {
		return nil, world.Errorf(http.StatusNotFound, "ResourceNotFoundException", "The resource that you specified for the SourceArn parameter doesn't exist.")
	}
	type result struct {
		TaskHandle                        string `json:",omitempty"`
		Status                            string
		SourceArn                         string
		DestinationArn                    string `json:",omitempty"`
		MaxNumberOfMessagesPerSecond      int    `json:",omitempty"`
		ApproximateNumberOfMessagesMoved  int64
		ApproximateNumberOfMessagesToMove int64
		FailureReason                     string `json:",omitempty"`
		StartedTimestamp                  int64
	}
	results := []result{}
	s.mu.RLock()
	defer s.mu.RUnlock()
	tasks := s.taskRows.Prefix(req.SourceArn + "/")
	slices.Reverse(tasks)
	for _, t := range tasks[:min(n, len(tasks))] {
		r := result{
			Status: t.Status, SourceArn: t.Source, DestinationArn: t.Destination, MaxNumberOfMessagesPerSecond: t.Rate,
			ApproximateNumberOfMessagesMoved: t.Moved, ApproximateNumberOfMessagesToMove: t.ToMove,
			FailureReason: t.Reason, StartedTimestamp: t.Started,
		}
		if running := s.tasks[source.name]; running != nil && running.ID == t.ID {
			r.TaskHandle = t.handle()
			r.ApproximateNumberOfMessagesMoved = running.moved.Load()
		}
		results = append(results, r)
	}
	return map[string]any{"Results": results}, nil
}

func (s *Service) cancelMessageMoveTask(_ *http.Request, in []byte) (any, *world.Error) {
	var req struct{ TaskHandle string }
	if e := decode(in, &req); e != nil {
		return nil, e
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, t := range s.tasks {
		if t.handle() != req.TaskHandle {
			continue
		}
		select {
		case <-t.cancelled:
		default:
			close(t.cancelled)
		}
		return map[string]int64{"ApproximateNumberOfMessagesMoved": t.moved.Load()}, nil
	}
	return nil, world.Errorf(http.StatusNotFound, "ResourceNotFoundException", "The task that the handle names is not running.")
}
