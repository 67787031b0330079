package events

import (
	"errors"
	"fmt"
	"time"
	"unicode/utf8"
)

// UpgradeMessage is the message on the SNS premium topic that tells of an upgrade:
//
//	{"user_id": "moss", "upgraded_at": "2026-11-26T10:00:00Z"}
//
// Any program may publish one. Only UserID is required.
type UpgradeMessage struct {
	// UserID names the user who became Premium.
	UserID UserID `json:"user_id"`
	// PlanID names the plan that stands on the user's account. The site sets it. Other
	// programs leave it empty: a message that names a plan opens none.
	PlanID string `json:"plan_id,omitempty"`
	// UpgradedAt is when the user became Premium. Zero means when the message was sent.
	UpgradedAt time.Time `json:"upgraded_at,omitzero"`
}

// ErrNoUser is the error of an upgrade message that has no user_id.
var ErrNoUser = errors.New("user_id is missing")

// Encode checks the message and returns it as JSON, for the Message of SNS's Publish.
// The error names the field at fault.
func (m UpgradeMessage) Encode() (string, error) {
	err := CheckID("user_id", m.UserID)
	if m.PlanID != "" {
		err = errors.Join(err, CheckID("plan_id", m.PlanID))
	}
	if !utf8.ValidString(string(m.UserID)) || !utf8.ValidString(m.PlanID) {
		err = errors.Join(err, fmt.Errorf("user_id is %q and plan_id is %q, want UTF-8", m.UserID, m.PlanID))
	}
	if err := errors.Join(err, checkYear("upgraded_at", m.UpgradedAt)); err != nil {
		return "", fmt.Errorf("encode the upgrade message: %w", err)
	}
	if !m.UpgradedAt.IsZero() {
		m.UpgradedAt = m.UpgradedAt.UTC()
	}
	data, err := marshal(m)
	if err != nil {
		return "", fmt.Errorf("encode the upgrade message: %w", err)
	}
	return string(data), nil
}

// ParseUpgradeMessage reads an upgrade message. Names of fields are matched exactly, and
// fields that it does not know are ignored. A plan_id or an upgraded_at that is null is
// absent. The error names the field at fault; it is [ErrNoUser] if there is no user_id.
func ParseUpgradeMessage(s string) (UpgradeMessage, error) {
	if len(s) > MaxUpgradeMessage {
		return UpgradeMessage{}, fmt.Errorf("message of %d bytes, more than %d", len(s), MaxUpgradeMessage)
	}
	var body struct {
		UserID     *string `json:"user_id"`
		PlanID     *string `json:"plan_id"`
		UpgradedAt *string `json:"upgraded_at"`
	}
	if err := UnmarshalObject([]byte(s), &body); err != nil {
		return UpgradeMessage{}, err
	}
	if body.UserID == nil {
		return UpgradeMessage{}, ErrNoUser
	}
	if err := CheckID("user_id", *body.UserID); err != nil {
		return UpgradeMessage{}, err
	}
	m := UpgradeMessage{UserID: UserID(*body.UserID)}
	if body.PlanID != nil {
		if err := CheckID("plan_id", *body.PlanID); err != nil {
			return UpgradeMessage{}, err
		}
		m.PlanID = *body.PlanID
	}
	if body.UpgradedAt != nil {
		at, err := time.Parse(time.RFC3339, *body.UpgradedAt)
		if err != nil {
			return UpgradeMessage{}, fmt.Errorf("upgraded_at is %.100q, want RFC 3339", *body.UpgradedAt)
		}
		if err := checkYear("upgraded_at", at); err != nil {
			return UpgradeMessage{}, err
		}
		m.UpgradedAt = at.UTC()
	}
	return m, nil
}

// Event returns the event that the message tells of. id is the MessageId that SNS gave the
// message, and sentAt the time at which SNS took it. The upgrade is as old as the message
// says, and never younger than the message: no clock that is wrong makes it younger.
func (m UpgradeMessage) Event(id string, sentAt time.Time, via Via) UserUpgraded {
	at := sentAt
	if !m.UpgradedAt.IsZero() && m.UpgradedAt.Before(at) {
		at = m.UpgradedAt
	}
	return UserUpgraded{ID: id, UserID: m.UserID, UpgradedAt: at.UTC(), Via: via, Plan: m.PlanID}
}

// checkYear returns an error if JSON has no way to write the time.
func checkYear(field string, t time.Time) error {
	if y := t.UTC().Year(); y < 0 || y > 9999 {
		return fmt.Errorf("%s is in the year %d, want 0 to 9999", field, y)
	}
	return nil
}
