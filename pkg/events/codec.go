package events

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"
)

// MaxSize is the largest encoded event, in bytes. It has room for a dead letter
// around the largest SQS message (1 MiB) with every character escaped, and is
// below the max_payload of nats.conf.
const MaxSize = 3 << 20

var (
	// ErrNewerVersion means that the event was written by a newer release.
	ErrNewerVersion = errors.New("event is of a newer version")
	// ErrMalformed means that the bytes are not an event of the wanted type.
	ErrMalformed = errors.New("event is malformed")
)

// Message is an encoded event: what is published.
type Message struct {
	Subject string
	Header  map[string][]string
	Data    []byte
}

type envelope struct {
	Version int             `json:"v"`
	Type    string          `json:"type"`
	Data    json.RawMessage `json:"data"`
}

// Encode checks e and returns the message that carries it.
func Encode(e Event) (Message, error) {
	if err := e.validate(); err != nil {
		return Message{}, fmt.Errorf("encode %s: %w", e.Type(), err)
	}
	data, err := marshal(e)
	if err != nil {
		return Message{}, fmt.Errorf("encode %s: %w", e.Type(), err)
	}
	body, err := marshal(envelope{Version: Version, Type: e.Type(), Data: data})
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
			HeaderVersion: {strconv.Itoa(Version)},
		},
		Data: body,
	}, nil
}

// Decode returns the event of type E in data. Unknown fields are ignored, also those
// that differ from a known one in case alone; see [UnmarshalExact]. The
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
		checkTime("at", e.At),
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
		CheckID("archive_id", e.ArchiveID),
		CheckID("retrieval_id", e.RetrievalID),
		CheckID("status", e.Status),
	)
	if e.Size < 0 {
		err = errors.Join(err, fmt.Errorf("size is %d", e.Size))
	}
	return err
}

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

func checkTime(field string, t time.Time) error {
	if t.IsZero() {
		return fmt.Errorf("%s is missing", field)
	}
	return nil
}
