package events

import (
	"fmt"
	"slices"
)

// State is how far a job's archive is on its way back.
type State string

// The states, in the order in which an archive comes to them.
const (
	// StateArchived: in the vault, and the owner is a Free user.
	StateArchived State = "archived"
	// StatePlanned: in the vault, and will be requested.
	StatePlanned State = "planned"
	// StateRequested: Glacier is working on it.
	StateRequested State = "requested"
	// StateReady: Glacier has the output, and the copy begins.
	StateReady State = "ready"
	// StateCopying: parts of the file are in S3. Bytes and Size tell how much.
	StateCopying State = "copying"
	// StateVerifying: every part is in S3, and checksums are compared.
	StateVerifying State = "verifying"
	// StateRestored: the file is in S3, and the archive is deleted.
	StateRestored State = "restored"
	// StateFailed: Glacier failed the retrieval. The archive is requested again later.
	StateFailed State = "failed"
	// StateExpired: the output was gone before it was copied. The archive is requested
	// again later.
	StateExpired State = "expired"
)

var states = []State{
	StateArchived, StatePlanned, StateRequested, StateReady, StateCopying, StateVerifying, StateRestored, StateFailed, StateExpired,
}

// Known reports whether this release writes events with the state.
func (s State) Known() bool { return slices.Contains(states, s) }

// Tier is one of Glacier's tiers: the speed and price of a retrieval.
type Tier string

// The tiers, the fastest first.
const (
	TierExpedited Tier = "Expedited"
	TierStandard  Tier = "Standard"
	TierBulk      Tier = "Bulk"
)

var tiers = []Tier{TierExpedited, TierStandard, TierBulk}

// Known reports whether this release writes events with the tier.
func (t Tier) Known() bool { return slices.Contains(tiers, t) }

// RetrievalStatus is Glacier's StatusCode of a retrieval.
type RetrievalStatus string

// Glacier's status codes. There are no others.
const (
	// RetrievalInProgress stands only in an event that is First, about a retrieval that is
	// under way.
	RetrievalInProgress RetrievalStatus = "InProgress"
	RetrievalSucceeded  RetrievalStatus = "Succeeded"
	RetrievalFailed     RetrievalStatus = "Failed"
)

var retrievalStatuses = []RetrievalStatus{RetrievalInProgress, RetrievalSucceeded, RetrievalFailed}

// Known reports whether the status is one of Glacier's.
func (s RetrievalStatus) Known() bool { return slices.Contains(retrievalStatuses, s) }

// Via is the way on which an upgrade came into the pipeline.
type Via string

// The ways.
const (
	// ViaSNS: a message of the SNS premium topic, in SNS's envelope or by its webhook.
	ViaSNS Via = "sns"
	// ViaSQSRaw: a message of the SQS premium queue without an envelope.
	ViaSQSRaw Via = "sqs-raw"
	// ViaOperator: an operator's command, or a program that publishes to JetStream itself.
	ViaOperator Via = "operator"
	// ViaSweep: the sweep, for a plan that stands and has no message.
	ViaSweep Via = "sweep"
)

var vias = []Via{ViaSNS, ViaSQSRaw, ViaOperator, ViaSweep}

// Known reports whether this release writes events with the way.
func (v Via) Known() bool { return slices.Contains(vias, v) }

// DeadKind is the kind of the error that a message died of.
type DeadKind string

// The kinds of dead letters.
const (
	// DeadKindUnknown: nobody classified the error. It was tried for a long time.
	DeadKindUnknown DeadKind = "unknown"
	// DeadKindTransient: a timeout, a cut connection, an error of a server.
	DeadKindTransient DeadKind = "transient"
	// DeadKindThrottled: a service asked to be called less often.
	DeadKindThrottled DeadKind = "throttled"
	// DeadKindCapacity: the retrieval tier had no capacity.
	DeadKindCapacity DeadKind = "capacity"
	// DeadKindPolicy: the vault's retrieval policy refused.
	DeadKindPolicy DeadKind = "policy"
	// DeadKindWait: the time for it had not come.
	DeadKindWait DeadKind = "wait"
	// DeadKindConflict: a conditional write found something else.
	DeadKindConflict DeadKind = "conflict"
	// DeadKindNotFound: something that it names is not there.
	DeadKindNotFound DeadKind = "not-found"
	// DeadKindDenied: a credential or a policy forbids the call.
	DeadKindDenied DeadKind = "denied"
	// DeadKindInvalid: the message can never be handled as it is.
	DeadKindInvalid DeadKind = "invalid"
	// DeadKindCorrupt: bytes are not what their hash says.
	DeadKindCorrupt DeadKind = "corrupt"
	// DeadKindUndelivered: JetStream stopped delivering the message, because somebody gave
	// its consumer a MaxDeliver. `gas dead` makes this letter from JetStream's advisory.
	DeadKindUndelivered DeadKind = "undelivered"
	// DeadKindUnreadable: a message in DEAD is no dead letter that the reader's release can
	// read. `gas dead` makes this letter from the message.
	DeadKindUnreadable DeadKind = "unreadable"
)

var deadKinds = []DeadKind{
	DeadKindUnknown, DeadKindTransient, DeadKindThrottled, DeadKindCapacity, DeadKindPolicy, DeadKindWait, DeadKindConflict,
	DeadKindNotFound, DeadKindDenied, DeadKindInvalid, DeadKindCorrupt, DeadKindUndelivered, DeadKindUnreadable,
}

// Known reports whether this release has letters of the kind.
func (k DeadKind) Known() bool { return slices.Contains(deadKinds, k) }

// Act is the kind of an operator's act.
type Act string

// The acts. Each is a command that changes something.
const (
	// ActThaw: a user's plan or one archive must come back.
	ActThaw Act = "thaw"
	// ActApprove: a plan may cost more than the budgets allow.
	ActApprove Act = "approve"
	// ActFaster: retrievals on their way are moved to a faster tier.
	ActFaster Act = "faster"
	// ActPause and ActResume: requests to Glacier stop, and start again.
	ActPause  Act = "pause"
	ActResume Act = "resume"
	// ActReplay and ActDrop: dead letters are published again, or removed.
	ActReplay Act = "replay"
	ActDrop   Act = "drop"
	// ActImport: accounts are made from a file.
	ActImport Act = "import"
	// ActErase: everything of a user is deleted.
	ActErase Act = "erase"
	// ActProvision: streams, consumers and buckets are made or updated.
	ActProvision Act = "provision"
)

var acts = []Act{ActThaw, ActApprove, ActFaster, ActPause, ActResume, ActReplay, ActDrop, ActImport, ActErase, ActProvision}

// Known reports whether this release writes events with the act.
func (a Act) Known() bool { return slices.Contains(acts, a) }

// ActOutcome is what became of an act.
type ActOutcome string

// The outcomes.
const (
	ActDone   ActOutcome = "done"
	ActFailed ActOutcome = "failed"
)

var outcomes = []ActOutcome{ActDone, ActFailed}

// Known reports whether this release writes events with the outcome.
func (o ActOutcome) Known() bool { return slices.Contains(outcomes, o) }

// checkKnown returns an error that names the field if the value is none of the known ones.
func checkKnown[V interface {
	~string
	Known() bool
}](field string, v V, known []V) error {
	if v.Known() {
		return nil
	}
	return fmt.Errorf("%s is %.40q, want one of %q", field, v, known)
}
