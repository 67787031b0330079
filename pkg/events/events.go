package events

import (
	"encoding/json"
	"strings"
	"time"
	"unicode/utf8"
)

// Event is a fact that happened. The implementations are the structs of this
// package.
type Event interface {
	// Type is the event's name on the wire, "premium.upgraded" for example.
	Type() string
	// Subject is where the event is published.
	Subject() string
	// MessageID is the same for every publication of the same fact; it goes
	// into the Nats-Msg-Id header and lets JetStream drop repetitions.
	MessageID() string

	// validate checks what each reader may rely on.
	validate() error
	// values checks the fields that have one of a list of values: a writer knows them all,
	// and a reader may be older than the writer.
	values() error
}

// UserUpgraded says that a Free user became Premium.
type UserUpgraded struct {
	// ID is the id of the source message, the same over webhook and queue: the
	// SNS MessageId, or an id of the operator's command.
	ID string `json:"id"`
	// UserID names the user. The user's archives must come back.
	UserID UserID `json:"user_id"`
	// UpgradedAt is when the user became Premium, if the source says so; else when the
	// source sent the message.
	UpgradedAt time.Time `json:"at"`
	// Via is the way on which the message came in; empty if the publisher did not say.
	Via Via `json:"via,omitempty"`
	// Plan names the plan that stands on the user's account; empty if the publisher opened
	// none.
	Plan string `json:"plan,omitempty"`
	// ApprovedMicroUSD is the limit, in millionths of a US dollar, that an operator set for
	// this user's plan in place of the budgets; 0 leaves it to the budgets.
	ApprovedMicroUSD int64 `json:"approved_micro_usd,omitempty"`
}

// ThawRequested asks for the retrieval of one job's archive.
type ThawRequested struct {
	// ID is the id of the upgrade that led here, so that a second upgrade of the
	// same user is a new request and not a repetition.
	ID     string `json:"id"`
	JobID  JobID  `json:"job_id"`
	UserID UserID `json:"user_id"`
	// ArchiveID is the archive that the planner saw. The catalog decides.
	ArchiveID ArchiveID `json:"archive_id"`
	// Plan names the plan of the task. The catalog decides.
	Plan string `json:"plan,omitempty"`
	// UpgradedAt is the time when the user became Premium, as far as the publisher knows.
	// It is for people, and for releases that knew no plans: nothing depends on it.
	UpgradedAt time.Time `json:"upgraded_at,omitzero"`
	// First says that the user wants this file before the user's other files. Such a task has a
	// subject of its own, [SubjectThawFirst], and does not wait behind the others. The file may
	// have an ordinary task too.
	First bool `json:"first,omitempty"`
}

// ObjectRef names an object of S3 that holds an archive.
type ObjectRef struct {
	Bucket string `json:"bucket"`
	Key    string `json:"key"`
	// Version is the object's version id; empty if the source does not say.
	Version string `json:"version,omitempty"`
}

// RetrievalCompleted says that a retrieval is finished, well or badly. It is a hint: the
// catalog and the archive's store decide. An event of S3 names an object: then ArchiveID and
// RetrievalID are empty, because S3 does not know them.
type RetrievalCompleted struct {
	// ID is the same for each notification that says the same of a retrieval: the topic of
	// the retrieval and the topic of the vault may both have one. The sweep makes an id of
	// its own for a notification that was lost.
	ID string `json:"id"`
	// Notification is the SNS MessageId of the notification, if there was one.
	Notification string `json:"notice,omitempty"`
	// Foreign is true if the retrieval names no topic, or not ours: another program may
	// have asked for it.
	Foreign     bool        `json:"foreign,omitempty"`
	JobID       JobID       `json:"job_id"`
	ArchiveID   ArchiveID   `json:"archive_id"`
	RetrievalID RetrievalID `json:"retrieval_id"`
	// Object is the archive's object, if the source was an event of S3.
	Object *ObjectRef `json:"object,omitempty"`
	// Status is Glacier's StatusCode.
	Status RetrievalStatus `json:"status"`
	// Reason is Glacier's StatusMessage.
	Reason string `json:"reason,omitempty"`
	// Tier is the tier that Glacier used; empty if that is not known.
	Tier Tier `json:"tier,omitempty"`
	// Size is the archive's size in bytes.
	Size int64 `json:"size"`
	// TreeHash is the archive's SHA-256 tree hash, lower-case hex.
	TreeHash string `json:"tree_hash,omitempty"`
	// CompletedAt is when the output became available; an output of a vault stays 24 hours.
	CompletedAt time.Time `json:"completed_at"`
	// ExpiresAt is the time until which the output can be read, if the store says so.
	ExpiresAt time.Time `json:"expires_at,omitzero"`
	// First says that the user wants this file before the user's other files. Such an event has
	// a subject of its own, [SubjectRestoreFirst]. It names the retrieval, which may still be
	// under way: the reader asks the archive's store, and waits.
	First bool `json:"first,omitempty"`
}

// StatusChanged tells a user's web page (and an operator) what happened to one
// job. It reports; nothing is decided by it.
type StatusChanged struct {
	JobID  JobID  `json:"job_id"`
	UserID UserID `json:"user_id"`
	// State is the state that the job came to.
	State State `json:"state"`
	// At is when it came to the state.
	At time.Time `json:"at"`
	// Tier is the tier of the retrieval. It is set from [StateRequested] on.
	Tier Tier `json:"tier,omitempty"`
	// Class is the S3 storage class of the archive; empty for a vault.
	Class string `json:"class,omitempty"`
	// Fallback is true if a slower tier than the first was used, because the
	// first had no capacity.
	Fallback bool `json:"fallback,omitempty"`
	// ReadyBy is when the retrieval is expected to be ready at the latest.
	ReadyBy *time.Time `json:"ready_by,omitempty"`
	// Bytes and Size tell how far a copy is: Bytes of Size are in S3.
	Bytes int64 `json:"bytes,omitempty"`
	Size  int64 `json:"size,omitempty"`
	// Detail is a sentence for the operator.
	Detail string `json:"detail,omitempty"`
	// Step tells two changes to the same state apart, when both are wanted.
	Step string `json:"step,omitempty"`
}

// DeadLetter is a message that could not be handled, with the reason. Payload
// and headers are as they were received, so that it can be replayed. The fields
// stand in the order in which a person wants to read them, the payload last.
type DeadLetter struct {
	// ID is the same each time the worker gives the same message up.
	ID string `json:"id"`
	// Reason says why it was given up, in a sentence.
	Reason string `json:"reason"`
	// Kind is the kind of the error.
	Kind DeadKind `json:"kind"`
	// Cause names the thing to fix, in words that stay the same; empty if the kind says
	// enough. Two letters of one subject, kind and cause say the same thing.
	Cause string `json:"cause,omitempty"`
	// Attempts counts how often handling it was tried. The attempts of earlier dead
	// letters of a replayed message count too; FirstAt is the first of them all.
	Attempts int       `json:"attempts"`
	FirstAt  time.Time `json:"first_at"`
	LastAt   time.Time `json:"last_at"`
	// Stream and Consumer are where the message came from: a JetStream stream
	// and consumer, or [SourceSQS] and the queue's name.
	Stream   string `json:"stream"`
	Consumer string `json:"consumer"`
	// SourceSubject is where the message was published, and where a replay
	// publishes the payload again; empty if the bridge did not understand the message.
	SourceSubject string `json:"subject,omitempty"`
	// ReplayOf has the earlier dead letters of this message, the oldest first.
	ReplayOf []Death `json:"replay_of,omitempty"`
	// Header holds the message's headers or attributes, without [HeaderReplayOf].
	Header map[string][]string `json:"header,omitempty"`
	// Payload is the message's raw body.
	Payload Payload `json:"payload"`
}

// OperatorActed says that an operator does something, or did it. There are two events of one
// act, with the same ID: one without an Outcome before the act, and one with its Outcome behind
// it. If there is no second one, nobody knows how far the act came.
type OperatorActed struct {
	// ID names the act.
	ID  string `json:"id"`
	Act Act    `json:"act"`
	// At is when the act began.
	At time.Time `json:"at"`
	// By says who acted, and On at which machine. It is what the program was told, and no proof.
	By string `json:"by"`
	On string `json:"on,omitempty"`
	// As is the NATS user of the connection that wrote the event.
	As string `json:"as,omitempty"`
	// Why is the operator's reason; empty if the operator gave none.
	Why string `json:"why,omitempty"`
	// Command is the command line.
	Command string `json:"command,omitempty"`
	// UserID and JobID are what the act is about; empty if it is about no user or no job.
	UserID UserID `json:"user_id,omitempty"`
	JobID  JobID  `json:"job_id,omitempty"`
	// Outcome is empty before the act.
	Outcome ActOutcome `json:"outcome,omitempty"`
	// Did says what was done, and Error why the act failed. A failed act may have done a part.
	Did   string `json:"did,omitempty"`
	Error string `json:"error,omitempty"`
	// EndedAt is when the act ended.
	EndedAt time.Time `json:"ended_at,omitzero"`
}

// Payload is a message's raw body. As JSON it is a string, for people to read;
// one that is not UTF-8 is {"base64": "…"}.
type Payload []byte

type encodedPayload struct {
	Base64 []byte `json:"base64"`
}

// MarshalJSON implements [json.Marshaler].
func (p Payload) MarshalJSON() ([]byte, error) {
	if utf8.Valid(p) {
		return marshal(string(p))
	}
	return marshal(encodedPayload{p})
}

// UnmarshalJSON implements [json.Unmarshaler].
func (p *Payload) UnmarshalJSON(data []byte) error {
	var e encodedPayload
	if len(data) > 0 && data[0] == '{' {
		if err := UnmarshalExact(data, &e); err != nil {
			return err
		}
		*p = e.Base64
		return nil
	}
	var s string
	if err := json.Unmarshal(data, &s); err != nil {
		return err
	}
	*p = Payload(s)
	return nil
}

// Type implements [Event].
func (UserUpgraded) Type() string { return "premium.upgraded" }

// Type implements [Event].
func (ThawRequested) Type() string { return "thaw.requested" }

// Type implements [Event].
func (RetrievalCompleted) Type() string { return "restore.completed" }

// Type implements [Event].
func (StatusChanged) Type() string { return "status.changed" }

// Type implements [Event].
func (DeadLetter) Type() string { return "dead.letter" }

// Type implements [Event].
func (OperatorActed) Type() string { return "operator.acted" }

// Subject implements [Event].
func (e UserUpgraded) Subject() string { return "premium.upgraded." + Token(string(e.UserID)) }

// Subject implements [Event].
func (e ThawRequested) Subject() string {
	return lane("thaw.requested.", "thaw.first.", e.First) + Token(string(e.UserID)) + "." + Token(string(e.JobID))
}

// Subject implements [Event].
func (e RetrievalCompleted) Subject() string {
	return lane("restore.completed.", "restore.first.", e.First) + Token(string(e.JobID))
}

func lane(ordinary, first string, isFirst bool) string {
	if isFirst {
		return first
	}
	return ordinary
}

// Subject implements [Event].
func (e StatusChanged) Subject() string {
	return "status." + Token(string(e.UserID)) + "." + Token(string(e.JobID))
}

// Subject implements [Event]. It ends with the job or the user of the source's subject, so
// that the last letter about a job or a user is found. A letter of a message that the bridge
// did not understand has no such end, and letters of older releases have none.
func (e DeadLetter) Subject() string {
	s := "dead." + Token(e.Stream) + "." + Token(e.Consumer)
	if owner := owner(e.SourceSubject); owner != "" {
		s += "." + owner
	}
	return s
}

// Subject implements [Event].
func (e OperatorActed) Subject() string { return "audit." + Token(string(e.Act)) }

// MessageID implements [Event].
func (e UserUpgraded) MessageID() string { return "premium:" + e.ID }

// MessageID implements [Event].
func (e ThawRequested) MessageID() string {
	return lane("thaw:", "thaw-first:", e.First) + e.ID + ":" + string(e.JobID)
}

// MessageID implements [Event].
func (e RetrievalCompleted) MessageID() string {
	return lane("restore:", "restore-first:", e.First) + e.ID
}

// MessageID implements [Event].
func (e StatusChanged) MessageID() string {
	parts := []string{"status", string(e.JobID), string(e.State), e.Step}
	if e.Step == "" {
		parts[3] = e.At.UTC().Format(time.RFC3339Nano)
	}
	return strings.Join(parts, ":")
}

// MessageID implements [Event].
func (e DeadLetter) MessageID() string { return "dead:" + e.Stream + ":" + e.Consumer + ":" + e.ID }

// MessageID implements [Event].
func (e OperatorActed) MessageID() string {
	if e.Outcome == "" {
		return "audit:" + e.ID + ":begun"
	}
	return "audit:" + e.ID + ":ended"
}
