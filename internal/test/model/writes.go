package model

import (
	"fmt"
	"strings"

	"github.com/gas-restore/gas/internal/archive"
)

// Write is a conditional write of the catalog.
type Write struct {
	Name string
	// Condition and Change are the strings that internal/aws/dynamodb sends; a test compares
	// them. The model evaluates the condition, and makes the change by hand.
	Condition, Change string
}

// Writes is the table of the writes. A reader can compare it with the adapter. A planted
// bug removes a part of a condition from it.
func Writes() []Write {
	const (
		place     = "archive_id = :archive AND attribute_not_exists(retrieval_request_id) AND "
		same      = "archive_id = :archive AND retrieval_request_id = :retrieval"
		fields    = "plan_id, plan_since, plan_why, plan_state, plan_opened_at, plan_held_by, plan_approved_micro_usd, plan_empty_since, plan_first, plan_shard, plan_due"
		open      = "plan_id = :plan, plan_why = :why, plan_state = :state, plan_opened_at = :opened, plan_shard = :shard, plan_due = :due, plan_since = :since"
		unheld    = "REMOVE plan_held_by, plan_approved_micro_usd, plan_empty_since, plan_first"
		underWay  = "due_shard, due_at, sweep_nudges, retrieval_plan"
		retrieval = "retrieval_intent, retrieval_tier, retrieval_requested_at, retrieval_trace, " + underWay
		intent    = "SET retrieval_intent = :intent, due_shard = :shard, due_at = :due, retrieval_plan = :plan"
	)
	table := []Write{
		{saveIntent, place + "attribute_not_exists(retrieval_intent) AND (attribute_not_exists(retrieval_tries) OR retrieval_tries < :most)",
			intent + " ADD retrieval_tries :one"},
		{takeIntent, place + "retrieval_intent.#t = :old", intent},
		{takeUsed, place + "retrieval_intent.#t = :old AND (attribute_not_exists(retrieval_tries) OR retrieval_tries < :most)", intent + " ADD retrieval_tries :one"},
		{dropIntent, "retrieval_intent.#t = :token AND attribute_not_exists(retrieval_request_id)",
			"REMOVE retrieval_intent, " + underWay + " ADD retrieval_tries :less"},
		{saveRetrieval, place + "retrieval_intent.#t = :token",
			"SET retrieval_request_id = :id, retrieval_requested_at = :at, due_shard = :shard, due_at = :due, retrieval_tier = :tier, billed_tier = :tier ADD billed_micro_usd :cost REMOVE retrieval_intent, sweep_nudges"},
		{clearArchive, same,
			"REMOVE archive_id, archive_locator, retrieval_request_id, archive_size, tree_hash, retrieval_tries, retrieval_allowed, retrieval_not_before, retrieval_ordered, retrieval_failed, retrieval_expired, " + retrieval + " SET restored_by = :retrieval, restored_size = :size, restored_at = :restored"},
		{clearTaken, "archive_id = :archive AND attribute_not_exists(retrieval_request_id)",
			"REMOVE archive_id, archive_locator, retrieval_request_id, archive_size, tree_hash, retrieval_tries, retrieval_allowed, retrieval_not_before, retrieval_ordered, retrieval_failed, retrieval_expired, " + retrieval + " SET restored_by = :retrieval, restored_size = :size, restored_at = :restored"},
		{clearFailed, same, "REMOVE retrieval_request_id, " + retrieval + " SET retrieval_not_before = :then ADD retrieval_failed :one"},
		{clearExpired, same, "REMOVE retrieval_request_id, " + retrieval + " SET retrieval_not_before = :then ADD retrieval_expired :one"},
		{order, place + "attribute_not_exists(retrieval_intent)", "SET retrieval_ordered = :yes, due_shard = :shard, due_at = :due"},
		{upgrade, "attribute_exists(user_id) AND #r <> :role", "SET role_history = :history, #r = :role, role_changed_at = :at, announce_due = :at, " + open + " " + unheld},
		{downgrade, "attribute_exists(user_id) AND #r <> :role", "SET role_history = :history, #r = :role, role_changed_at = :at REMOVE announce_due, " + fields},
		{planLooked, "plan_id = :plan", "SET plan_due = :due REMOVE plan_empty_since"},
		{planEmpty, "plan_id = :plan", "SET plan_due = :due, plan_empty_since = :empty"},
		{closePlan, "plan_id = :plan AND plan_state IN (:was_open)", "REMOVE " + fields},
		{announced, "announce_due = :due", "REMOVE announce_due"},
	}
	for _, changed := range []bool{false, true} {
		for _, opened := range []bool{false, true} {
			condition := "attribute_exists(user_id) AND attribute_not_exists(plan_id) AND #r = :role AND " +
				readAs("role_changed_at", ":changed", changed) + " AND " + readAs("plans_opened", ":opened_before", opened)
			table = append(table, Write{openPlan(changed, opened), condition, "SET " + open + " " + unheld + " ADD plans_opened :one"})
		}
	}
	return table
}

// readAs is the condition that an attribute is as it was read: with the value, or not there.
func readAs(attribute, value string, there bool) string {
	if there {
		return attribute + " = " + value
	}
	return "attribute_not_exists(" + attribute + ")"
}

// openPlan names the write that opens a plan. changed says that the account's role changed
// before. opened says that the account had a plan before.
func openPlan(changed, opened bool) string {
	return fmt.Sprintf("open a plan (role changed before: %t, plans opened before: %t)", changed, opened)
}

// The names of the writes. The put of a closed plan into gas-plans has no condition.
const (
	saveIntent    = "save the first intent"
	takeIntent    = "take an intent over"
	takeUsed      = "take an intent over after a possible call of Glacier"
	dropIntent    = "drop the intent"
	saveRetrieval = "save the retrieval"
	clearArchive  = "clear the archive"
	clearTaken    = "clear the archive of a retrieval that was taken back"
	clearFailed   = "clear a retrieval that failed"
	clearExpired  = "clear a retrieval that expired"
	order         = "order an archive"
	upgrade       = "upgrade"
	downgrade     = "downgrade"
	planLooked    = "note a look at a plan"
	planEmpty     = "note that nothing is in the vault"
	closePlan     = "close a plan"
	announced     = "note the announcement"
)

// values are the model's numbers for the names in a condition.
type values struct {
	archive, retrieval, token, plan, role, changed, opened, most uint8
}

// atom is a part of a condition.
type atom func(s *State, v values) bool

// atoms are all parts of the table's conditions.
func atoms() map[string]atom {
	return map[string]atom{
		"archive_id = :archive":                                              func(s *State, v values) bool { return s.Archive == v.archive && v.archive != 0 },
		"attribute_not_exists(retrieval_request_id)":                         func(s *State, _ values) bool { return s.Retrieval == 0 },
		"retrieval_request_id = :retrieval":                                  func(s *State, v values) bool { return s.Retrieval == v.retrieval && v.retrieval != 0 },
		"attribute_not_exists(retrieval_intent)":                             func(s *State, _ values) bool { return s.Token == 0 },
		"retrieval_intent.#t = :old":                                         func(s *State, v values) bool { return s.Token == v.token && v.token != 0 },
		"retrieval_intent.#t = :token":                                       func(s *State, v values) bool { return s.Token == v.token && v.token != 0 },
		"(attribute_not_exists(retrieval_tries) OR retrieval_tries < :most)": func(s *State, v values) bool { return s.Tries < v.most },
		"attribute_exists(user_id)":                                          func(*State, values) bool { return true },
		"#r <> :role":                                                        func(s *State, v values) bool { return s.Role != v.role },
		"#r = :role":                                                         func(s *State, v values) bool { return s.Role == v.role },
		"attribute_not_exists(plan_id)":                                      func(s *State, _ values) bool { return s.Plan == 0 },
		"plan_id = :plan":                                                    func(s *State, v values) bool { return s.Plan == v.plan && v.plan != 0 },
		"plan_state IN (:was_open)":                                          func(*State, values) bool { return true }, // none is held
		"role_changed_at = :changed":                                         func(s *State, v values) bool { return s.Changes == v.changed },
		"attribute_not_exists(role_changed_at)":                              func(s *State, _ values) bool { return s.Changes == 0 },
		"plans_opened = :opened_before":                                      func(s *State, v values) bool { return s.Opened == v.opened },
		"attribute_not_exists(plans_opened)":                                 func(s *State, _ values) bool { return s.Opened == 0 },
		"announce_due = :due":                                                func(s *State, v values) bool { return s.Due && s.Changes == v.changed },
	}
}

// conditions reads the table. An unknown part of a condition is a programmer's mistake.
func conditions(table []Write) map[string][]atom {
	known, out := atoms(), map[string][]atom{}
	for _, w := range table {
		out[w.Name] = []atom{}
		for _, part := range strings.Split(w.Condition, " AND ") {
			if part == "" {
				continue // a planted bug removed it
			}
			a, ok := known[part]
			if !ok {
				panic(fmt.Sprintf("model: %s: the condition has the unknown part %q", w.Name, part))
			}
			out[w.Name] = append(out[w.Name], a)
		}
	}
	return out
}

// holds reports whether the write goes through.
func (m *Model) holds(write string, s *State, v values) bool {
	for _, a := range m.conditions[write] {
		if !a(s, v) {
			return false
		}
	}
	return true
}

// most is the value :most for the intent of a worker that read this retrieval_allowed.
func most(allowed int) uint8 { return uint8(archive.MaxRetrievals + allowed) }
