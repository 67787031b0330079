package sqs

import (
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"maps"
	"net/http"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/gas-restore/gas/internal/local/aws/world"
)

// pause is how long AWS wants between the deletion of a queue and a new one of
// its name, and between two purges.
const pause = 60_000 // milliseconds

var queueName = regexp.MustCompile(`^[A-Za-z0-9_-]{1,80}$`)

// named returns the queue that a queue URL is of. The URL's last element
// decides, as clients may reach the stand-in at several addresses.
func (s *Service) named(url string) (*queue, *world.Error) {
	if url == "" {
		return nil, missing("QueueUrl")
	}
	name := url[strings.LastIndexByte(url, '/')+1:]
	if !queueName.MatchString(strings.TrimSuffix(name, ".fifo")) {
		return nil, world.Errorf(http.StatusNotFound, "InvalidAddress", "The address %s is not valid for this endpoint.", url)
	}
	if q := s.queue(name); q != nil {
		return q, nil
	}
	return nil, noQueue()
}

func noQueue() *world.Error {
	return bad("QueueDoesNotExist", "The specified queue does not exist.")
}

func (s *Service) createQueue(_ *http.Request, in []byte) (any, *world.Error) {
	var req struct {
		QueueName  string
		Attributes map[string]string
		Tags       map[string]string `json:"tags"`
	}
	if e := decode(in, &req); e != nil {
		return nil, e
	}
	switch {
	case req.QueueName == "":
		return nil, missing("QueueName")
	case strings.HasSuffix(req.QueueName, ".fifo"):
		return nil, bad("UnsupportedOperation", "the stand-in has standard queues only, no FIFO queues: %q", req.QueueName)
	case !queueName.MatchString(req.QueueName):
		return nil, bad("InvalidParameterValue", "Can only include alphanumeric characters, hyphens, or underscores. 1 to 80 in length")
	}
	attributes := merge(nil, req.Attributes)
	set, e := parseSettings(attributes)
	if e != nil {
		return nil, e
	}
	now := s.now()
	s.mu.Lock()
	defer s.mu.Unlock()
	if e := s.checkRedrive(s.QueueARN(req.QueueName), set, attributes["RedrivePolicy"]); e != nil {
		return nil, e
	}
	answer := map[string]string{"QueueUrl": s.QueueURL(req.QueueName)}
	if q := s.queues[req.QueueName]; q != nil {
		q.mu.Lock()
		defer q.mu.Unlock()
		for name := range req.Attributes {
			if !sameAttribute(q.row.Attributes[name], attributes[name]) {
				return nil, bad("QueueNameExists", "A queue already exists with the same name and a different value for attribute %s", name)
			}
		}
		return answer, nil
	}
	if at, ok := s.deleted[req.QueueName]; ok && now < at+pause {
		return nil, bad("QueueDeletedRecently", "You must wait 60 seconds after deleting a queue before you can create another with the same name.")
	}
	delete(s.deleted, req.QueueName)
	id, _ := hex.DecodeString(world.ID(8))
	row := queueRow{
		Name:       req.QueueName,
		ID:         binary.BigEndian.Uint64(id),
		Generation: world.ID(8),
		Epoch:      1,
		Attributes: attributes,
		Tags:       req.Tags,
		Created:    now / 1000,
		Modified:   now / 1000,
	}
	s.queueRows.Put(row.Name, row)
	s.queues[row.Name] = newQueue(s, row, set)
	return answer, nil
}

// sameAttribute compares attribute values, policies as the JSON that they are.
func sameAttribute(a, b string) bool {
	if a == b {
		return true
	}
	var x, y any
	return strings.HasPrefix(a, "{") && json.Unmarshal([]byte(a), &x) == nil && json.Unmarshal([]byte(b), &y) == nil && reflect.DeepEqual(x, y)
}

func (s *Service) getQueueURL(_ *http.Request, in []byte) (any, *world.Error) {
	var req struct{ QueueName, QueueOwnerAWSAccountId string }
	if e := decode(in, &req); e != nil {
		return nil, e
	}
	if req.QueueName == "" {
		return nil, missing("QueueName")
	}
	if s.queue(req.QueueName) == nil || req.QueueOwnerAWSAccountId != "" && req.QueueOwnerAWSAccountId != s.w.Account {
		return nil, noQueue()
	}
	return map[string]string{"QueueUrl": s.QueueURL(req.QueueName)}, nil
}

func (s *Service) listQueues(_ *http.Request, in []byte) (any, *world.Error) {
	var req struct {
		QueueNamePrefix, NextToken string
		MaxResults                 *int
	}
	if e := decode(in, &req); e != nil {
		return nil, e
	}
	urls, next, e := s.page(req.MaxResults, req.NextToken, func(q *queue) bool {
		return strings.HasPrefix(q.name, req.QueueNamePrefix)
	})
	if e != nil {
		return nil, e
	}
	return struct {
		QueueUrls []string `json:",omitempty"`
		NextToken string   `json:",omitempty"`
	}{urls, next}, nil
}

func (s *Service) listDeadLetterSourceQueues(_ *http.Request, in []byte) (any, *world.Error) {
	var req struct {
		QueueUrl, NextToken string
		MaxResults          *int
	}
	if e := decode(in, &req); e != nil {
		return nil, e
	}
	dlq, e := s.named(req.QueueUrl)
	if e != nil {
		return nil, e
	}
	urls, next, e := s.page(req.MaxResults, req.NextToken, func(q *queue) bool {
		redrive := q.settings.Load().redrive
		return redrive != nil && redrive.target == dlq.name
	})
	if e != nil {
		return nil, e
	}
	if urls == nil {
		urls = []string{}
	}
	return struct {
		QueueUrls []string `json:"queueUrls"`
		NextToken string   `json:",omitempty"`
	}{urls, next}, nil
}

// page returns the URLs of the queues that fit, from the one after token's.
func (s *Service) page(limit *int, token string, fits func(*queue) bool) (urls []string, next string, e *world.Error) {
	n := 1000
	if limit != nil {
		if *limit < 1 || *limit > 1000 {
			return nil, "", invalid(*limit, "MaxResults", "MaxResults must be an integer between 1 and 1000.")
		}
		n = *limit
	} else if token != "" {
		return nil, "", bad("InvalidParameterValue", "NextToken needs MaxResults.")
	}
	after, err := hex.DecodeString(token)
	if err != nil {
		return nil, "", invalid(token, "NextToken", "it is none that was given out.")
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	for _, name := range slices.Sorted(maps.Keys(s.queues)) {
		if name <= string(after) || !fits(s.queues[name]) {
			continue
		}
		if len(urls) == n {
			last := urls[n-1]
			if limit != nil {
				next = hex.EncodeToString([]byte(last[strings.LastIndexByte(last, '/')+1:]))
			}
			break
		}
		urls = append(urls, s.QueueURL(name))
	}
	return urls, next, nil
}

func (s *Service) deleteQueue(_ *http.Request, in []byte) (any, *world.Error) {
	q, e := s.onlyQueue(in)
	if e != nil {
		return nil, e
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.gone {
		return nil, noQueue()
	}
	q.gone = true
	s.queueRows.Delete(q.name)
	delete(s.queues, q.name)
	s.deleted[q.name] = s.now()
	q.empty()
	q.wake()
	return nil, nil
}

func (s *Service) purgeQueue(_ *http.Request, in []byte) (any, *world.Error) {
	q, e := s.onlyQueue(in)
	if e != nil {
		return nil, e
	}
	now := s.now()
	q.mu.Lock()
	defer q.mu.Unlock()
	switch {
	case q.gone:
		return nil, noQueue()
	case q.lastPurge != 0 && now < q.lastPurge+pause:
		return nil, world.Errorf(http.StatusForbidden, "PurgeQueueInProgress", "Only one PurgeQueue operation on %s is allowed every 60 seconds.", q.name)
	}
	q.lastPurge = now
	q.empty()
	s.queueRows.Put(q.name, q.row)
	return nil, nil
}

// onlyQueue returns the queue of a request that names one.
func (s *Service) onlyQueue(in []byte) (*queue, *world.Error) {
	var req struct{ QueueUrl string }
	if e := decode(in, &req); e != nil {
		return nil, e
	}
	return s.named(req.QueueUrl)
}

// computed are the attributes that are not set but looked up.
var computed = []string{
	"QueueArn", "CreatedTimestamp", "LastModifiedTimestamp",
	"ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible", "ApproximateNumberOfMessagesDelayed",
}

// absent are the attributes that a caller may request and that no queue here has.
var absent = []string{
	"Policy", "RedrivePolicy", "RedriveAllowPolicy", "FifoQueue", "ContentBasedDeduplication",
	"KmsMasterKeyId", "KmsDataKeyReusePeriodSeconds", "DeduplicationScope", "FifoThroughputLimit",
}

func (s *Service) getQueueAttributes(_ *http.Request, in []byte) (any, *world.Error) {
	var req struct {
		QueueUrl       string
		AttributeNames []string
	}
	if e := decode(in, &req); e != nil {
		return nil, e
	}
	q, e := s.named(req.QueueUrl)
	if e != nil {
		return nil, e
	}
	visible, flying, later := q.counts()
	q.mu.Lock()
	all := maps.Clone(q.row.Attributes)
	row := q.row
	q.mu.Unlock()
	for i, v := range []string{
		s.QueueARN(row.Name), strconv.FormatInt(row.Created, 10), strconv.FormatInt(row.Modified, 10),
		strconv.Itoa(visible), strconv.Itoa(flying), strconv.Itoa(later),
	} {
		all[computed[i]] = v
	}
	out := map[string]string{}
	for _, name := range req.AttributeNames {
		value, ok := all[name]
		switch {
		case name == "All":
			out = all
		case ok:
			out[name] = value
		case !slices.Contains(absent, name):
			return nil, bad("InvalidAttributeName", "Unknown Attribute %s.", name)
		}
	}
	return struct {
		Attributes map[string]string `json:",omitempty"`
	}{out}, nil
}

func (s *Service) setQueueAttributes(_ *http.Request, in []byte) (any, *world.Error) {
	var req struct {
		QueueUrl   string
		Attributes map[string]string
	}
	if e := decode(in, &req); e != nil {
		return nil, e
	}
	q, e := s.named(req.QueueUrl)
	if e != nil {
		return nil, e
	}
	if len(req.Attributes) == 0 {
		return nil, missing("Attribute.Name")
	}
	for name := range req.Attributes {
		if slices.Contains(computed, name) {
			return nil, bad("InvalidAttributeName", "Unknown Attribute %s.", name)
		}
	}
	return nil, s.changeRow(q, func(row *queueRow) *world.Error {
		attributes := merge(row.Attributes, req.Attributes)
		set, e := parseSettings(attributes)
		if e != nil {
			return e
		}
		if _, ok := req.Attributes["RedrivePolicy"]; ok {
			if e := s.checkRedrive(s.QueueARN(row.Name), set, attributes["RedrivePolicy"]); e != nil {
				return e
			}
		}
		row.Attributes = attributes
		row.Modified = s.now() / 1000
		q.settings.Store(set)
		return nil
	})
}

// changeRow changes q's row and stores it, if change does not refuse.
func (s *Service) changeRow(q *queue, change func(*queueRow) *world.Error) *world.Error {
	s.mu.Lock()
	defer s.mu.Unlock()
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.gone {
		return noQueue()
	}
	row := q.row
	if e := change(&row); e != nil {
		return e
	}
	q.row = row
	s.queueRows.Put(row.Name, row)
	q.wake() // a redrive policy or a retention may be another now
	return nil
}

func (s *Service) tagQueue(_ *http.Request, in []byte) (any, *world.Error) {
	var req struct {
		QueueUrl string
		Tags     map[string]string
	}
	if e := decode(in, &req); e != nil {
		return nil, e
	}
	q, e := s.named(req.QueueUrl)
	if e != nil {
		return nil, e
	}
	return nil, s.changeRow(q, func(row *queueRow) *world.Error {
		tags := map[string]string{}
		maps.Copy(tags, row.Tags)
		maps.Copy(tags, req.Tags)
		if len(tags) > 50 {
			return bad("InvalidParameterValue", "Too many tags: a queue has up to 50.")
		}
		row.Tags = tags
		return nil
	})
}

func (s *Service) untagQueue(_ *http.Request, in []byte) (any, *world.Error) {
	var req struct {
		QueueUrl string
		TagKeys  []string
	}
	if e := decode(in, &req); e != nil {
		return nil, e
	}
	q, e := s.named(req.QueueUrl)
	if e != nil {
		return nil, e
	}
	return nil, s.changeRow(q, func(row *queueRow) *world.Error {
		row.Tags = maps.Clone(row.Tags)
		for _, k := range req.TagKeys {
			delete(row.Tags, k)
		}
		return nil
	})
}

func (s *Service) listQueueTags(_ *http.Request, in []byte) (any, *world.Error) {
	q, e := s.onlyQueue(in)
	if e != nil {
		return nil, e
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	return struct {
		Tags map[string]string `json:",omitempty"`
	}{q.row.Tags}, nil
}
