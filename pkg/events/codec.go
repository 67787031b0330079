package events

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"
)

var (
	// ErrNewerVersion means that the event was written by a newer release.
	ErrNewerVersion = errors.New("event is of a newer version")
	// ErrMalformed means that the bytes are not an event of the wanted type.
	ErrMalformed = errors.New("event is malformed")
	// ErrUnknownType means that the event is of a type that this release does not
	// have: a newer release may have written it.
	ErrUnknownType = errors.New("event is of an unknown type")
)

// Message is an encoded event: what is published.
type Message struct {
	Subject string
	Header  map[string][]string
	Data    []byte
}

// Traced is an event with the step that it belongs to, for [HeaderTrace]. A reader gets the
// event alone.
type Traced struct {
	Event
	TraceParent string
}

type envelope struct {
	Version int             `json:"v"`
	Type    string          `json:"type"`
	Data    json.RawMessage `json:"data"`
}

// TypeInfo says how the events of one type travel.
type TypeInfo struct {
	// Type is the value of [HeaderType].
	Type string
	// Stream is the stream that takes the event.
	Stream string
	// Subject matches the subjects of the type; ids are wildcards. First matches the subjects
	// of those events that are First, if the type has such events.
	Subject, First string

	decode func([]byte) (Event, error)
}

// Decode is [Decode] for an event of the type.
func (t TypeInfo) Decode(data []byte) (Event, error) { return t.decode(data) }

// types has every type of event. A new one is added here and nowhere else.
var types = []TypeInfo{
	typeOf[UserUpgraded](StreamPremium, SubjectPremium, ""),
	typeOf[ThawRequested](StreamThaw, SubjectThaw, SubjectThawFirst),
	typeOf[RetrievalCompleted](StreamRestore, SubjectRestore, SubjectRestoreFirst),
	typeOf[StatusChanged](StreamStatus, SubjectStatus, ""),
	typeOf[DeadLetter](StreamDead, SubjectDead, ""),
	typeOf[OperatorActed](StreamAudit, SubjectAudit, ""),
}

func typeOf[E Event](stream, subject, first string) TypeInfo {
	var e E
	return TypeInfo{Type: e.Type(), Stream: stream, Subject: subject, First: first, decode: func(data []byte) (Event, error) {
		e, err := Decode[E](data)
		if err != nil {
			return nil, err
		}
		return e, nil
	}}
}

// Types returns all types of events, in the order in which an upgrade goes through them.
func Types() []TypeInfo { return slices.Clone(types) }

// Encode checks e and returns the message that carries it. It refuses an event without its
// ids, and a state, tier, status, way or kind that this release does not know; the error
// names the field.
func Encode(e Event) (Message, error) {
	if t, ok := e.(Traced); ok {
		m, err := Encode(t.Event)
		if err == nil && t.TraceParent != "" {
			m.Header[HeaderTrace] = []string{t.TraceParent}
		}
		return m, err
	}
	if err := errors.Join(e.validate(), e.values()); err != nil {
		return Message{}, fmt.Errorf("encode %s: %w", e.Type(), err)
	}
	data, err := marshal(e)
	if err != nil {
		return Message{}, fmt.Errorf("encode %s: %w", e.Type(), err)
	}
	version := versionOf(e)
	body, err := marshal(envelope{Version: version, Type: e.Type(), Data: data})
	if err != nil {
		return Message{}, fmt.Errorf("encode %s: %w", e.Type(), err)
	}
	if len(body) > MaxSize {
		return Message{}, fmt.Errorf("encode %s: %d bytes, more than %d", e.Type(), len(body), MaxSize)
	}
	id := e.MessageID()
	return Message{
		Subject: e.Subject(),
		Header: map[string][]string{
			HeaderMsgID:   {id},
			HeaderID:      {id},
			HeaderType:    {e.Type()},
			HeaderVersion: {strconv.Itoa(version)},
		},
		Data: body,
	}, nil
}

// versionOf returns the oldest version that can read the event.
func versionOf(e Event) int {
	if r, ok := e.(RetrievalCompleted); ok && r.Object != nil {
		return 2 // version 1 wants an archive's and a retrieval's id
	}
	return 1
}

// Decode returns the event of type E in data. Unknown fields are ignored, also fields
// that differ from a known one in case alone; see [UnmarshalExact]. A state, tier, way or
// kind may be unknown to this release: ask its Known. The
// error wraps [ErrNewerVersion] or [ErrMalformed] and names the field at fault.
func Decode[E Event](data []byte) (E, error) {
	var e E
	if len(data) > MaxSize {
		return e, fmt.Errorf("%w: %d bytes, more than %d", ErrMalformed, len(data), MaxSize)
	}
	var env envelope
	if err := UnmarshalExact(data, &env); err != nil {
		return e, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	if env.Version > Version {
		return e, fmt.Errorf("%w: v is %d, this release reads up to %d: deploy the release that wrote it", ErrNewerVersion, env.Version, Version)
	}
	if env.Version < 1 {
		return e, fmt.Errorf("%w: v is %d, want 1 to %d", ErrMalformed, env.Version, Version)
	}
	if env.Type != e.Type() {
		return e, fmt.Errorf("%w: type is %q, want %q", ErrMalformed, env.Type, e.Type())
	}
	var v E
	if len(env.Data) == 0 {
		return e, fmt.Errorf("%w: data is missing", ErrMalformed)
	}
	if err := UnmarshalExact(env.Data, &v); err != nil {
		return e, fmt.Errorf("%w: data: %w", ErrMalformed, err)
	}
	if err := v.validate(); err != nil {
		return e, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	return v, nil
}

// DecodeMessage returns the event of a message, by the message's [HeaderType]: a
// [UserUpgraded], [ThawRequested], [RetrievalCompleted], [StatusChanged], [DeadLetter] or
// [OperatorActed]. A reader that passes over an [ErrUnknownType] goes on to work when a newer
// release adds a type. Other errors are those of [Decode].
func DecodeMessage(header map[string][]string, data []byte) (Event, error) {
	values := header[HeaderType]
	if len(values) != 1 {
		return nil, fmt.Errorf("%w: it has %d headers %s, want 1", ErrMalformed, len(values), HeaderType)
	}
	for _, t := range types {
		if t.Type == values[0] {
			return t.decode(data)
		}
	}
	return nil, fmt.Errorf("%w: %s is %.100q", ErrUnknownType, HeaderType, values[0])
}

// marshal is json.Marshal without the escaping of <, > and &: events are read
// by people with `nats stream view`.
func marshal(v any) ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), nil
}

func (e UserUpgraded) validate() error {
	err := errors.Join(
		CheckID("id", e.ID),
		CheckID("user_id", e.UserID),
		checkTime("at", e.UpgradedAt),
	)
	if e.ApprovedMicroUSD < 0 {
		err = errors.Join(err, fmt.Errorf("approved_micro_usd is %d", e.ApprovedMicroUSD))
	}
	return err
}

func (e ThawRequested) validate() error {
	return errors.Join(
		CheckID("id", e.ID),
		CheckID("job_id", e.JobID),
		CheckID("user_id", e.UserID),
		CheckID("archive_id", e.ArchiveID),
	)
}

func (e RetrievalCompleted) validate() error {
	err := errors.Join(
		CheckID("id", e.ID),
		CheckID("job_id", e.JobID),
		checkKnown("status", e.Status, retrievalStatuses),
	)
	if o := e.Object; o == nil {
		err = errors.Join(err, CheckID("archive_id", e.ArchiveID), CheckID("retrieval_id", e.RetrievalID))
	} else if o.Bucket == "" || o.Key == "" || len(o.Bucket)+len(o.Key)+len(o.Version) > maxObjectRef {
		err = errors.Join(err, fmt.Errorf("object is bucket %.70q and key %.70q, want both, and at most %d bytes together", o.Bucket, o.Key, maxObjectRef))
	}
	if e.Size < 0 {
		err = errors.Join(err, fmt.Errorf("size is %d", e.Size))
	}
	return err
}

// maxObjectRef is the most bytes of an ObjectRef: S3's longest key and version id have 1,024
// bytes, and its longest bucket name 63.
const maxObjectRef = 3 << 10

func (e StatusChanged) validate() error {
	err := errors.Join(
		CheckID("job_id", e.JobID),
		CheckID("user_id", e.UserID),
		CheckID("state", e.State),
		checkTime("at", e.At),
	)
	if e.Bytes < 0 || e.Size < 0 {
		err = errors.Join(err, fmt.Errorf("bytes is %d and size is %d", e.Bytes, e.Size))
	}
	return err
}

func (e DeadLetter) validate() error {
	return errors.Join(
		CheckID("id", e.ID),
		CheckID("stream", e.Stream),
		CheckID("consumer", e.Consumer),
		CheckID("kind", e.Kind),
		checkTime("last_at", e.LastAt),
	)
}

func (e OperatorActed) validate() error {
	return errors.Join(
		CheckID("id", e.ID),
		CheckID("act", e.Act),
		CheckID("by", e.By),
		checkTime("at", e.At),
	)
}

func (e UserUpgraded) values() error {
	if e.Via == "" {
		return nil
	}
	return checkKnown("via", e.Via, vias)
}

func (ThawRequested) values() error { return nil }

func (e RetrievalCompleted) values() error { return checkTier(e.Tier) }

func (e StatusChanged) values() error {
	return errors.Join(checkKnown("state", e.State, states), checkTier(e.Tier))
}

func (e DeadLetter) values() error { return checkKnown("kind", e.Kind, deadKinds) }

func (e OperatorActed) values() error {
	err := checkKnown("act", e.Act, acts)
	if e.Outcome != "" {
		err = errors.Join(err, checkKnown("outcome", e.Outcome, outcomes))
	}
	return err
}

func checkTier(t Tier) error {
	if t == "" {
		return nil
	}
	return checkKnown("tier", t, tiers)
}

func checkTime(field string, t time.Time) error {
	if t.IsZero() {
		return fmt.Errorf("%s is missing", field)
	}
	return nil
}
