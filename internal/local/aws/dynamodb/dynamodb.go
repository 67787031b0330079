// Package dynamodb is the stand-in for Amazon DynamoDB: tables with global
// secondary indexes, items, expressions and transactions over JSON 1.0.
package dynamodb

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/gas-restore/gas/internal/local/aws/store"
	"github.com/gas-restore/gas/internal/local/aws/world"
)

const (
	targetPrefix = "DynamoDB_20120810."
	maxBody      = 16 << 20
)

// Service is the stand-in for DynamoDB. It implements [world.Service].
type Service struct {
	world *world.World
	meta  *store.Table[tableMeta]
	redo  *store.Table[redoRecord]

	mu     sync.RWMutex // guards what follows
	tables map[string]*table
	lag    time.Duration

	tokens tokens
}

// New returns the service with the tables that w has stored.
func New(w *world.World) (*Service, error) {
	s := &Service{world: w, tables: map[string]*table{}}
	var err error
	if s.meta, err = store.NewTable[tableMeta](w.DB, "dynamodb.tables"); err != nil {
		return nil, err
	}
	if s.redo, err = store.NewTable[redoRecord](w.DB, "dynamodb.redo"); err != nil {
		return nil, err
	}
	if err := s.tokens.open(w); err != nil {
		return nil, err
	}
	for _, m := range s.meta.Prefix("") {
		m.complete()
		t, err := newTable(w, m)
		if err != nil {
			return nil, err
		}
		if m.Dropped {
			s.clear(t)
			continue
		}
		s.tables[m.Name] = t
	}
	s.finish()
	return s, nil
}

// Name implements [world.Service].
func (s *Service) Name() string { return "dynamodb" }

// SetIndexLag makes changes reach the global secondary indexes of all tables
// only after d, so that readers of an index see what was; 0, the default, means
// at once. Changes that are under way keep their time.
func (s *Service) SetIndexLag(d time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lag = d
	for _, t := range s.tables {
		t.mu.Lock()
		t.lag = d
		t.mu.Unlock()
	}
}

// handler serves an operation: it takes a request's body and returns the answer's.
type handler func(s *Service, body []byte) ([]byte, *world.Error)

var handlers = map[string]handler{
	"CreateTable": (*Service).createTable, "DescribeTable": (*Service).describeTable,
	"ListTables": (*Service).listTables, "UpdateTable": (*Service).updateTable, "DeleteTable": (*Service).deleteTable,
	"DescribeTimeToLive": (*Service).describeTTL, "UpdateTimeToLive": (*Service).updateTTL,
	"DescribeContinuousBackups": (*Service).describeBackups, "UpdateContinuousBackups": (*Service).updateBackups,
	"ListTagsOfResource": (*Service).listTags,
	"GetItem":            (*Service).getItem, "PutItem": (*Service).putItem,
	"UpdateItem": (*Service).updateItem, "DeleteItem": (*Service).deleteItem,
	"Query": (*Service).query, "Scan": (*Service).scan,
	"BatchGetItem": (*Service).batchGet, "BatchWriteItem": (*Service).batchWrite,
	"TransactGetItems": (*Service).transactGet, "TransactWriteItems": (*Service).transactWrite,
}

// Operation implements [world.Service].
func (s *Service) Operation(r *http.Request) (world.Operation, *world.Error) {
	target := r.Header.Get("X-Amz-Target")
	name, ok := strings.CutPrefix(target, targetPrefix)
	if !ok || r.Method != http.MethodPost || r.URL.Path != "/" {
		return world.Operation{}, world.Errorf(400, "UnknownOperationException", "no DynamoDB operation: %s %s with target %q", r.Method, clip(r.URL.Path), clip(target))
	}
	h := handlers[name]
	if h == nil {
		return world.Operation{Name: name}, world.Errorf(400, "UnknownOperationException", "the stand-in has no operation %q", clip(name))
	}
	return world.Operation{Name: name, Serve: func(w http.ResponseWriter, r *http.Request) {
		body, err := readBody(r)
		if err != nil {
			s.WriteError(w, r, err)
			return
		}
		answer, err := h(s, body)
		if err != nil {
			s.WriteError(w, r, err)
			return
		}
		write(w, 200, answer)
	}}, nil
}

func readBody(r *http.Request) ([]byte, *world.Error) {
	if r.ContentLength > maxBody {
		return nil, invalid("request of more than %d bytes", maxBody)
	}
	var buf bytes.Buffer
	buf.Grow(int(max(r.ContentLength, 0)) + bytes.MinRead)
	if _, err := buf.ReadFrom(io.LimitReader(r.Body, maxBody+1)); err != nil {
		return nil, world.Errorf(400, "SerializationException", "read request: %v", err)
	}
	if buf.Len() > maxBody {
		return nil, invalid("request of more than %d bytes", maxBody)
	}
	return buf.Bytes(), nil
}

func write(w http.ResponseWriter, status int, body []byte) {
	h := w.Header()
	h["Content-Type"] = []string{"application/x-amz-json-1.0"}
	h["X-Amz-Crc32"] = []string{strconv.FormatUint(uint64(crc32.ChecksumIEEE(body)), 10)}
	h["Content-Length"] = []string{strconv.Itoa(len(body))}
	w.WriteHeader(status)
	w.Write(body)
}

// shapes are the error codes that are not in DynamoDB's own namespace.
var shapes = map[string]string{
	"ValidationException":         "com.amazon.coral.validate#",
	"SerializationException":      "com.amazon.coral.service#",
	"UnknownOperationException":   "com.amazon.coral.service#",
	"AccessDeniedException":       "com.amazon.coral.service#",
	"UnrecognizedClientException": "com.amazon.coral.service#",
	"InvalidSignatureException":   "com.amazon.coral.service#",
	"ThrottlingException":         "com.amazon.coral.availability#",
}

// WriteError implements [world.Service].
func (s *Service) WriteError(w http.ResponseWriter, _ *http.Request, e *world.Error) {
	shape := shapes[e.Code]
	if shape == "" {
		shape = "com.amazonaws.dynamodb.v20120810#"
	}
	doc := map[string]any{"__type": shape + e.Code, "message": e.Message}
	if e.Code == "TransactionCanceledException" {
		doc["Message"] = e.Message
		delete(doc, "message")
	}
	for k, v := range e.Fields {
		doc[k] = v
	}
	body, err := json.Marshal(doc)
	if err != nil {
		body = []byte(`{"__type":"com.amazonaws.dynamodb.v20120810#InternalServerError"}`)
	}
	write(w, e.Status, body)
}

func invalid(format string, args ...any) *world.Error {
	return world.Errorf(400, "ValidationException", format, args...)
}

func noTable() *world.Error {
	return world.Errorf(400, "ResourceNotFoundException", "Requested resource not found")
}

// legacy are the parameters that expressions have taken the place of.
var legacy = map[string]string{
	"AttributesToGet": "ProjectionExpression", "Expected": "ConditionExpression", "ConditionalOperator": "ConditionExpression",
	"AttributeUpdates": "UpdateExpression", "KeyConditions": "KeyConditionExpression",
	"QueryFilter": "FilterExpression", "ScanFilter": "FilterExpression",
}

// decode reads a request strictly: members that it doesn't know are refused.
func decode(body []byte, into any) *world.Error {
	d := json.NewDecoder(bytes.NewReader(body))
	d.DisallowUnknownFields()
	err := d.Decode(into)
	if err == nil {
		if _, more := d.Token(); more != io.EOF {
			err = errors.New("text after the request")
		}
	}
	if err == nil {
		return nil
	}
	if name, ok := strings.CutPrefix(err.Error(), "json: unknown field "); ok {
		name = strings.Trim(name, `"`)
		if use := legacy[name]; use != "" {
			return invalid("the stand-in does not have the legacy parameter %s: use %s", name, use)
		}
		return invalid("the stand-in does not have the parameter %s", clip(name))
	}
	var typ *json.UnmarshalTypeError
	if errors.As(err, &typ) {
		return world.Errorf(400, "SerializationException", "%s can not be converted to %s at %s", typ.Value, typ.Type.Kind(), typ.Field)
	}
	return world.Errorf(400, "SerializationException", "invalid JSON: %v", err)
}

// table returns the table that a request names, by name or ARN.
func (s *Service) table(name string) (*table, *world.Error) {
	name, err := s.tableName(name)
	if err != nil {
		return nil, err
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	t := s.tables[name]
	if t == nil {
		return nil, noTable()
	}
	return t, nil
}

func (s *Service) tableName(name string) (string, *world.Error) {
	if rest, ok := strings.CutPrefix(name, s.world.ARN("dynamodb", "table/")); ok {
		name = rest
	}
	return name, checkName("tableName", name)
}

func checkName(member, name string) *world.Error {
	if name == "" {
		return invalid("The parameter '%s' is required but was not present in the request", strings.ToUpper(member[:1])+member[1:])
	}
	constraint := ""
	switch {
	case len(name) < 3:
		constraint = "Member must have length greater than or equal to 3"
	case len(name) > 255:
		constraint = "Member must have length less than or equal to 255"
	case strings.ContainsFunc(name, func(r rune) bool {
		return !(r < 0x80 && isWord(byte(r))) && r != '-' && r != '.'
	}):
		constraint = "Member must satisfy regular expression pattern: [a-zA-Z0-9_.-]+"
	default:
		return nil
	}
	return constraintError(name, member, constraint)
}

func constraintError(got any, member, constraint string) *world.Error {
	return invalid("1 validation error detected: Value '%s' at '%s' failed to satisfy constraint: %s", clip(fmt.Sprint(got)), member, constraint)
}

// oneOf refuses a value of an enumeration that isn't in it; empty is allowed.
func oneOf(member, got string, want ...string) *world.Error {
	if got == "" || slices.Contains(want, got) {
		return nil
	}
	return constraintError(got, member, "Member must satisfy enum value set: ["+strings.Join(want, ", ")+"]")
}
