package glacier

import (
	"encoding/json"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/gas-restore/gas/internal/local/aws/world"
)

// accountRow is what belongs to the account, as it is stored.
type accountRow struct {
	Strategy     string         `json:"strategy,omitempty"`
	BytesPerHour int64          `json:"bytesPerHour,omitempty"`
	Capacity     []capacityUnit `json:"capacity,omitempty"`
}

type capacityUnit struct {
	ID    string `json:"id"`
	Start int64  `json:"start"`
	End   int64  `json:"end"`
}

// freeTier is what can be retrieved a day under the FreeTier strategy: a
// thirtieth of 10 GB a month.
const freeTier = 10 << 30 / 30

type retrievalPolicy struct {
	Rules []retrievalRule
}

type retrievalRule struct {
	Strategy     string
	BytesPerHour *int64
}

func (s *Service) getRetrievalPolicy(c *call) *world.Error {
	row, _ := s.account.Get("")
	rule := retrievalRule{Strategy: "None"}
	if row.Strategy != "" {
		rule = retrievalRule{row.Strategy, nullable(row.BytesPerHour)}
	}
	answer(c.w, http.StatusOK, map[string]any{"Policy": retrievalPolicy{[]retrievalRule{rule}}})
	return nil
}

func (s *Service) setRetrievalPolicy(c *call) *world.Error {
	var in struct{ Policy *retrievalPolicy }
	if e := c.read(&in); e != nil {
		return e
	}
	if in.Policy == nil || len(in.Policy.Rules) != 1 {
		return invalid("Invalid policy: it must have exactly one rule")
	}
	rule := in.Policy.Rules[0]
	switch rule.Strategy {
	case "None", "FreeTier":
		if rule.BytesPerHour != nil {
			return invalid("BytesPerHour is only allowed with the BytesPerHour strategy")
		}
		rule.BytesPerHour = new(int64)
	case "BytesPerHour":
		if rule.BytesPerHour == nil || *rule.BytesPerHour < 1 {
			return invalid("The BytesPerHour strategy needs BytesPerHour, 1 or more")
		}
	default:
		return invalid("Invalid strategy: %s. Must be one of: BytesPerHour, FreeTier, None", rule.Strategy)
	}
	s.mu.Lock()
	row, _ := s.account.Get("")
	row.Strategy, row.BytesPerHour = rule.Strategy, *rule.BytesPerHour
	s.account.Put("", row)
	s.mu.Unlock()
	c.w.WriteHeader(http.StatusNoContent)
	return nil
}

// SetRetrievalPolicy sets the account's data retrieval policy: strategy
// "BytesPerHour", "FreeTier" or "None". It is for Standard retrievals.
func (s *Service) SetRetrievalPolicy(strategy string, bytesPerHour int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	row, _ := s.account.Get("")
	row.Strategy, row.BytesPerHour = strategy, bytesPerHour
	s.account.Put("", row)
}

// enforcePolicy refuses a Standard retrieval that the policy does not allow:
// with BytesPerHour one that would bring the bytes of the retrievals in progress
// above it, with FreeTier one that would bring the bytes since midnight above
// the day's allowance. The caller holds s.mu.
func (s *Service) enforcePolicy(j *job) *world.Error {
	row, _ := s.account.Get("")
	var limit int64
	counts := func(job) bool { return false }
	switch row.Strategy {
	case "BytesPerHour":
		limit = row.BytesPerHour
		counts = func(other job) bool { return other.Status == InProgress }
	case "FreeTier":
		limit = freeTier
		midnight := time.UnixMilli(j.Created).UTC().Truncate(24 * time.Hour).UnixMilli()
		counts = func(other job) bool { return other.Created >= midnight }
	default:
		return nil
	}
	sum := j.Length
	s.jobs.Ascend("", func(_ string, other job) bool {
		if other.Action == archiveRetrieval && other.Tier == string(Standard) && counts(other) {
			sum += other.Length
		}
		return sum <= limit
	})
	if sum > limit {
		return world.Errorf(http.StatusBadRequest, "PolicyEnforcedException", "InitiateJob request denied by current data retrieval policy.")
	}
	return nil
}

// vaultLock is a vault's lock policy.
type vaultLock struct {
	ID        string `json:"id"`
	Policy    string `json:"policy"`
	Locked    bool   `json:"locked,omitempty"`
	Created   int64  `json:"created"`
	Expires   int64  `json:"expires,omitempty"`
	DenyFrom  int64  `json:"denyFrom"`            // deletion of archives is denied from this age in days
	DenyUntil *int64 `json:"denyUntil,omitempty"` // and up to this one, exclusive; absent: for ever
	Denies    bool   `json:"denies,omitempty"`
}

const lockLife = 24 * time.Hour

// parseLock reads a lock policy. The stand-in knows statements that deny
// glacier:DeleteArchive, with or without a condition on the archive's age; it
// refuses the rest rather than to lock less than it says.
func parseLock(text string) (vaultLock, *world.Error) {
	lock := vaultLock{Policy: text}
	var doc struct {
		Statement json.RawMessage
	}
	type statement struct {
		Effect    string
		Principal json.RawMessage
		Action    json.RawMessage
		Condition map[string]map[string]json.RawMessage
	}
	if err := json.Unmarshal([]byte(text), &doc); err != nil || doc.Statement == nil {
		return lock, invalid("Invalid vault lock policy: not JSON with a Statement")
	}
	var list []statement
	if json.Unmarshal(doc.Statement, &list) != nil {
		var one statement
		if err := json.Unmarshal(doc.Statement, &one); err != nil {
			return lock, invalid("Invalid vault lock policy: %v", err)
		}
		list = []statement{one}
	}
	for _, st := range list {
		if st.Effect == "Allow" {
			continue // the owner may all that is not denied
		}
		var actions []string
		if json.Unmarshal(st.Action, &actions) != nil {
			actions = []string{strings.Trim(string(st.Action), `"`)}
		}
		if st.Effect != "Deny" || st.Principal == nil {
			return lock, invalid("Invalid vault lock policy: a statement needs Effect, Allow or Deny, and Principal")
		}
		if !slices.ContainsFunc(actions, func(a string) bool {
			return strings.EqualFold(a, "glacier:DeleteArchive") || a == "glacier:*" || a == "*"
		}) || len(actions) != 1 || lock.Denies {
			return lock, invalid("Invalid vault lock policy: the stand-in knows one Deny statement, of glacier:DeleteArchive")
		}
		lock.Denies = true
		for operator, tests := range st.Condition {
			for key, raw := range tests {
				days, err := strconv.ParseInt(strings.Trim(string(raw), `" []`), 10, 64)
				if key != "glacier:ArchiveAgeInDays" || err != nil {
					return lock, invalid("Invalid vault lock policy: the stand-in knows conditions on glacier:ArchiveAgeInDays only")
				}
				switch operator {
				case "NumericLessThan":
					lock.DenyUntil = &days
				case "NumericLessThanEquals":
					days++
					lock.DenyUntil = &days
				case "NumericGreaterThan":
					lock.DenyFrom = days + 1
				case "NumericGreaterThanEquals":
					lock.DenyFrom = days
				default:
					return lock, invalid("Invalid vault lock policy: the stand-in does not know the condition operator %s", operator)
				}
			}
		}
	}
	return lock, nil
}

// lockOf returns a vault's lock if it is in force at now.
func lockOf(v vault, now int64) *vaultLock {
	if v.Lock == nil || !v.Lock.Locked && now >= v.Lock.Expires {
		return nil
	}
	return v.Lock
}

// denied refuses the deletion of an archive that the vault's lock, or a test,
// denies. there tells whether the archive exists. The caller holds s.mu.
func (s *Service) denied(v vault, a archive, there bool) *world.Error {
	refuse := world.Errorf(http.StatusForbidden, "AccessDeniedException",
		"User is not authorized to perform: glacier:DeleteArchive on resource: %s with an explicit deny in a vault lock policy", s.vaultARN(v.Name))
	if s.control.deny[v.Name] {
		return refuse
	}
	lock := lockOf(v, s.now())
	if lock == nil || !lock.Denies || !there {
		return nil
	}
	days := (s.now() - a.Created) / (24 * time.Hour).Milliseconds()
	if days >= lock.DenyFrom && (lock.DenyUntil == nil || days < *lock.DenyUntil) {
		return refuse
	}
	return nil
}

func (s *Service) initiateLock(c *call) *world.Error {
	var in struct{ Policy string }
	if e := c.read(&in); e != nil {
		return e
	}
	lock, e := parseLock(in.Policy)
	if e != nil {
		return e
	}
	now := s.now()
	lock.ID, lock.Created, lock.Expires = newID(16), now, now+lockLife.Milliseconds()
	if e := s.changeVault(c, func(v *vault) *world.Error {
		if old := lockOf(*v, now); old != nil {
			return world.Errorf(http.StatusBadRequest, "InvalidParameterValueException", "The vault lock is already initiated or locked: abort the one in progress first")
		}
		v.Lock = &lock
		return nil
	}); e != nil {
		return e
	}
	c.w.Header().Set("X-Amz-Lock-Id", lock.ID)
	c.w.WriteHeader(http.StatusCreated)
	return nil
}

func (s *Service) getLock(c *call) *world.Error {
	v, e := s.vaultOf(c)
	if e != nil {
		return e
	}
	lock := lockOf(v, s.now())
	if lock == nil {
		return notFound("No vault lock policy is set for vault: %s", v.Name)
	}
	out := map[string]any{"Policy": lock.Policy, "CreationDate": date(lock.Created), "State": "InProgress", "ExpirationDate": date(lock.Expires)}
	if lock.Locked {
		out["State"], out["ExpirationDate"] = "Locked", nil
	}
	answer(c.w, http.StatusOK, out)
	return nil
}

func (s *Service) abortLock(c *call) *world.Error {
	if e := s.changeVault(c, func(v *vault) *world.Error {
		if v.Lock != nil && v.Lock.Locked {
			return world.Errorf(http.StatusForbidden, "AccessDeniedException", "The vault lock is locked and can not be aborted")
		}
		v.Lock = nil
		return nil
	}); e != nil {
		return e
	}
	c.w.WriteHeader(http.StatusNoContent)
	return nil
}

func (s *Service) completeLock(c *call) *world.Error {
	if e := s.changeVault(c, func(v *vault) *world.Error {
		lock := lockOf(*v, s.now())
		if lock == nil || lock.ID != c.id {
			return notFound("The lock ID was not found: %s", c.id)
		}
		locked := *lock
		locked.Locked = true
		v.Lock = &locked
		return nil
	}); e != nil {
		return e
	}
	c.w.WriteHeader(http.StatusNoContent)
	return nil
}

// maxCapacityUnits is how many units of provisioned capacity an account may buy.
const maxCapacityUnits = 2

// purchaseCapacity sells a unit of provisioned capacity. It does not change what
// SetExpeditedCapacity lets through: AWS's unit is a floor, not a limit.
func (s *Service) purchaseCapacity(c *call) *world.Error {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.w.Clock.Now()
	row, _ := s.account.Get("")
	row.Capacity = slices.DeleteFunc(slices.Clone(row.Capacity), func(u capacityUnit) bool { return u.End <= now.UnixMilli() })
	if len(row.Capacity) >= maxCapacityUnits {
		return world.Errorf(http.StatusBadRequest, "LimitExceededException", "Provisioned capacity unit limit exceeded: %d", maxCapacityUnits)
	}
	u := capacityUnit{newID(40), now.UnixMilli(), now.AddDate(0, 1, 0).UnixMilli()}
	row.Capacity = append(row.Capacity, u)
	s.account.Put("", row)
	c.w.Header().Set("X-Amz-Capacity-Id", u.ID)
	c.w.WriteHeader(http.StatusCreated)
	return nil
}

func (s *Service) listCapacity(c *call) *world.Error {
	row, _ := s.account.Get("")
	type listed struct{ CapacityId, StartDate, ExpirationDate string }
	out := []listed{}
	for _, u := range row.Capacity {
		if u.End > s.now() {
			out = append(out, listed{u.ID, date(u.Start), date(u.End)})
		}
	}
	answer(c.w, http.StatusOK, map[string]any{"ProvisionedCapacityList": out})
	return nil
}
