// Package events is the contract between the services of the restore pipeline:
// the ids, the event structs, the subjects and headers they travel under, and
// the codec. It depends on the standard library alone, so that anything may
// import it.
package events

import (
	"encoding/json"
	"strings"
	"time"
	"unicode/utf8"
)

// Version is the event format that this package writes. A reader takes any
// version up to its own, ignores fields it does not know, and refuses a newer
// version with [ErrNewerVersion]: fields are added, never given a new meaning.
const Version = 1

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

	validate() error
}

// UserUpgraded says that a Free user became Premium.
type UserUpgraded struct {
	// ID is the id of the source message, the same over webhook and queue: the
	// SNS MessageId, or an id of the operator's command.
	ID string `json:"id"`
	// UserID is whose archives are to come back.
	UserID UserID `json:"user_id"`
	// At is since when the user is Premium, as far as the source says; else when that
	// was announced.
	At time.Time `json:"at"`
	// Via is how the message came in: "sns", "sqs-raw", "operator" or "sweep".
	Via string `json:"via,omitempty"`
	// Plan is the plan that the message is of; empty if whoever sent it opened none.
	Plan string `json:"plan,omitempty"`
	// ApprovedMicroUSD is what an operator lets this user's plan cost, in millionths
	// of a US dollar, whatever the budgets say; 0 leaves it to them.
	ApprovedMicroUSD int64 `json:"approved_micro_usd,omitempty"`
}

// ThawRequested asks for the retrieval of one job's archive.
type ThawRequested struct {
	// ID is that of the upgrade that led here, so that a second upgrade of the
	// same user is a new request and not a repetition.
	ID     string `json:"id"`
	JobID  JobID  `json:"job_id"`
	UserID UserID `json:"user_id"`
	// ArchiveID is the archive that the planner saw. The catalog decides.
	ArchiveID ArchiveID `json:"archive_id"`
	// Plan is the plan that the task is of. The catalog decides.
	Plan string `json:"plan,omitempty"`
	// UpgradedAt is since when the user is entitled, as far as whoever asks knows. It is
	// for people, and for releases that knew no plans: nothing goes by it.
	UpgradedAt time.Time `json:"upgraded_at,omitzero"`
}

// RetrievalCompleted says that Glacier finished a retrieval job, well or
// badly. It is a hint: the catalog and Glacier itself decide.
type RetrievalCompleted struct {
	// ID is the same for each notice that says the same of a retrieval: one may be of the
	// retrieval's own topic and another of the vault's. Who finds that a notice was lost
	// makes one up.
	ID string `json:"id"`
	// Notice is the SNS MessageId of the notification, if there was one.
	Notice string `json:"notice,omitempty"`
	// Foreign is true if the retrieval names no topic, or not ours: somebody else may have
	// asked for it.
	Foreign     bool        `json:"foreign,omitempty"`
	JobID       JobID       `json:"job_id"`
	ArchiveID   ArchiveID   `json:"archive_id"`
	RetrievalID RetrievalID `json:"retrieval_id"`
	// Status is Glacier's StatusCode, Succeeded or Failed.
	Status string `json:"status"`
	// Reason is Glacier's StatusMessage.
	Reason string `json:"reason,omitempty"`
	// Tier is the tier that Glacier used: Expedited, Standard or Bulk.
	Tier string `json:"tier,omitempty"`
	// Size is the archive's size in bytes.
	Size int64 `json:"size"`
	// TreeHash is the archive's SHA-256 tree hash, lower-case hex.
	TreeHash string `json:"tree_hash,omitempty"`
	// CompletedAt is when the output became available; it stays 24 hours.
	CompletedAt time.Time `json:"completed_at"`
}

// StatusChanged tells a user's web page (and an operator) what happened to one
// job. It reports, it decides nothing.
type StatusChanged struct {
	JobID  JobID  `json:"job_id"`
	UserID UserID `json:"user_id"`
	// State is one of the states of the pipeline: archived, planned, requested,
	// ready, copying, verifying, restored, failed or expired.
	State string    `json:"state"`
	At    time.Time `json:"at"`
	// Tier is set from "requested" on.
	Tier string `json:"tier,omitempty"`
	// Fallback is true when a slower tier than the first was used because the
	// first had no capacity.
	Fallback bool `json:"fallback,omitempty"`
	// ReadyBy is when the retrieval is expected to be ready at the latest.
	ReadyBy *time.Time `json:"ready_by,omitempty"`
	// Bytes and Size tell how far a copy is. Both are zero outside of it.
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
	// ID is the same each time the same message is given up.
	ID string `json:"id"`
	// Reason says why it was given up, in a sentence.
	Reason string `json:"reason"`
	// Kind is the fault kind, "invalid" for example.
	Kind string `json:"kind"`
	// Cause names what has to be mended, the same each time; empty if the kind says enough.
	// Two letters of one subject, kind and cause say the same thing.
	Cause string `json:"cause,omitempty"`
	// Attempts counts how often handling it was tried, with the attempts of the
	// dead letters that it is a replay of; FirstAt is the first of them all.
	Attempts int       `json:"attempts"`
	FirstAt  time.Time `json:"first_at"`
	LastAt   time.Time `json:"last_at"`
	// Stream and Consumer are where the message came from: a JetStream stream
	// and consumer, or "SQS" and the queue's name.
	Stream   string `json:"stream"`
	Consumer string `json:"consumer"`
	// SourceSubject is where the message was published, and where a replay
	// publishes the payload again; empty if the message was never understood.
	SourceSubject string `json:"subject,omitempty"`
	// ReplayOf has the dead letters that this message was before, the oldest first.
	ReplayOf []Death `json:"replay_of,omitempty"`
	// Header holds the message's headers or attributes, but for what ReplayOf has.
	Header map[string][]string `json:"header,omitempty"`
	// Payload is the message's raw body.
	Payload Payload `json:"payload"`
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

// The JetStream streams.
const (
	StreamPremium = "PREMIUM"
	StreamThaw    = "THAW"
	StreamRestore = "RESTORE"
	StreamStatus  = "STATUS"
	StreamDead    = "DEAD"
)

// Subjects with a wildcard for the ids: what the streams hold.
const (
	SubjectPremium = "premium.upgraded.*"
	SubjectThaw    = "thaw.requested.*.*"
	// SubjectThawOld is where releases before this one published tasks, without the
	// user: some may still lie in the stream.
	SubjectThawOld = "thaw.requested.*"
	SubjectRestore = "restore.completed.*"
	SubjectStatus  = "status.*.*"
	SubjectDead    = "dead.>"
)

// The headers of an event's message.
const (
	// HeaderMsgID is JetStream's de-duplication header.
	HeaderMsgID = "Nats-Msg-Id"
	// HeaderID repeats the id under a name that survives a scheduled or
	// replayed publication, where JetStream drops its own.
	HeaderID = "Gas-Id"
	// HeaderType is the event's type.
	HeaderType = "Gas-Type"
	// HeaderVersion is the event's format version.
	HeaderVersion = "Gas-Version"
	// HeaderAttempts is what a message that was put aside is known to have been through,
	// in JSON; a message that is new does not have it.
	HeaderAttempts = "Gas-Attempts"
	// HeaderReplayOf links a replayed message to the dead letters that it was; see
	// [EncodeDeaths].
	HeaderReplayOf = "Gas-Replay-Of"
)

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

// Subject implements [Event].
func (e UserUpgraded) Subject() string { return "premium.upgraded." + Token(string(e.UserID)) }

// Subject implements [Event].
func (e ThawRequested) Subject() string {
	return "thaw.requested." + Token(string(e.UserID)) + "." + Token(string(e.JobID))
}

// Subject implements [Event].
func (e RetrievalCompleted) Subject() string { return "restore.completed." + Token(string(e.JobID)) }

// Subject implements [Event].
func (e StatusChanged) Subject() string {
	return "status." + Token(string(e.UserID)) + "." + Token(string(e.JobID))
}

// Subject implements [Event]. It ends with what the source's subject ends with, a job or a
// user, so that the last letter about it is found; what was never understood has no such end,
// and letters of older releases have none.
func (e DeadLetter) Subject() string {
	s := "dead." + Token(e.Stream) + "." + Token(e.Consumer)
	if whose := whose(e.SourceSubject); whose != "" {
		s += "." + whose
	}
	return s
}

// whose returns the tokens of a subject behind the two that name the event; empty if
// nothing can be published under them.
func whose(subject string) string {
	tokens := strings.Split(subject, ".")
	if len(tokens) < 3 {
		return ""
	}
	for _, t := range tokens[2:] {
		if t == "" || strings.ContainsAny(t, "*> \t\r\n") {
			return ""
		}
	}
	return strings.Join(tokens[2:], ".")
}

// ThawSubject matches every task of one user.
func ThawSubject(user UserID) string { return "thaw.requested." + Token(string(user)) + ".*" }

// StatusSubject matches every status change of one user.
func StatusSubject(user UserID) string { return "status." + Token(string(user)) + ".*" }

// MessageID implements [Event].
func (e UserUpgraded) MessageID() string { return "premium:" + e.ID }

// MessageID implements [Event].
func (e ThawRequested) MessageID() string {
	return "thaw:" + e.ID + ":" + string(e.JobID)
}

// MessageID implements [Event].
func (e RetrievalCompleted) MessageID() string { return "restore:" + e.ID }

// MessageID implements [Event].
func (e StatusChanged) MessageID() string {
	parts := []string{"status", string(e.JobID), e.State, e.Step}
	if e.Step == "" {
		parts[3] = e.At.UTC().Format(time.RFC3339Nano)
	}
	return strings.Join(parts, ":")
}

// MessageID implements [Event].
func (e DeadLetter) MessageID() string { return "dead:" + e.Stream + ":" + e.Consumer + ":" + e.ID }
