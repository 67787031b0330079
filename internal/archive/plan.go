package archive

import (
	"time"

	"github.com/gas-restore/gas/pkg/events"
)

// Plan is the order to bring back everything that one user has in the vault. While it is
// open or held it is stored on the user's account, so that the role and the plan change
// in one write. Nothing is requested from Glacier without a plan or an operator's order.
// See ADR 18.
type Plan struct {
	// ID names the plan. A user never has another plan with the same id.
	ID string
	// UpgradedAt is the time since when the user is entitled to the plan's archives. It is
	// set once, when the plan is opened; zero means that nobody knows it.
	UpgradedAt time.Time
	Why        PlanReason
	State      PlanState
	// OpenedAt is when the plan was opened.
	OpenedAt time.Time
	// HeldBy is a sentence that says why the plan waits for an operator or for another
	// day; empty if it does not wait.
	HeldBy string
	// Approved is the amount that an operator allows beyond all budgets; zero leaves it
	// to the budgets.
	Approved MicroUSD
	// EmptySince is the time when the vault was first seen without archives of the user;
	// zero if it has some or nobody has checked.
	EmptySince time.Time
	// Due is the time of the plan's next check.
	Due time.Time
	// First is the job that the user wants before the others; empty if the user has chosen
	// none.
	First events.JobID
}

// PlanReason says who opened a plan.
type PlanReason string

// The reasons.
const (
	// Upgrade: the user became Premium at the site.
	Upgrade PlanReason = "upgrade"
	// Announcement: a message on the premium topic without a plan of the site, from
	// another system or from an operator's `aws sns publish`.
	Announcement PlanReason = "announcement"
	// Operator: an operator's command.
	Operator PlanReason = "operator"
	// Audit: the audit found a Premium user's archives without a plan.
	Audit PlanReason = "audit"
)

// PlanState is the state of a plan.
type PlanState string

// The states of a plan. A closed or cancelled plan is only in the table of plans.
const (
	// PlanOpen: archives are requested.
	PlanOpen PlanState = "open"
	// PlanHeld: nothing is requested until an operator approves, or a new day has room in
	// the budgets. A plan that AWS denied is held for an hour.
	PlanHeld PlanState = "held"
	// PlanClosed: everything is back.
	PlanClosed PlanState = "closed"
	// PlanCancelled: the user left Premium before everything was requested.
	PlanCancelled PlanState = "cancelled"
)

// Entitlement is what a row of [Account.Opens] comes to.
type Entitlement string

// The entitlements.
const (
	// Go: the plan that stands is carried out.
	Go Entitlement = "the plan that stands"
	// Open: a plan is opened, and carried out.
	Open Entitlement = "a new plan"
	// Nothing: the message is too late, or was never for this user.
	Nothing Entitlement = "nothing"
)

// Opens says what follows from the message e on the premium topic. The account
// decides, and the message only where the account can't know:
//
//   - A plan that stands is carried out, whatever the message says.
//   - A message that names a plan, as the site's do, opens none: if its plan does not
//     stand any more, it was cancelled or is closed.
//   - A Premium user gets a plan.
//   - A Free user gets one only by a message that is younger than the last change of
//     the role, which an operator sent. It is the one place where times of two
//     machines are compared, SNS's and the site's. AWS answers no request of a
//     machine that is more than five minutes off, which bounds the mistake.
func (a Account) Opens(e events.UserUpgraded) Entitlement {
	switch {
	case a.Plan != nil:
		return Go
	case e.Plan != "":
		return Nothing
	case a.Role == Premium:
		return Open
	case e.UpgradedAt.After(a.RoleChangedAt):
		return Open
	}
	return Nothing
}
