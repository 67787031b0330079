package estate

import (
	"fmt"
	"slices"
)

// The types of key attributes and the projections of indexes, as DynamoDB calls them.
const (
	String   = "S"
	Number   = "N"
	All      = "ALL"
	KeysOnly = "KEYS_ONLY"
)

// The indexes.
const (
	UserIndex     = "user_id_index"
	ArchivedIndex = "archived_index"
	DueIndex      = "due_index"
	PlanIndex     = "plan_index"
)

// Attribute is a key of a table or an index.
type Attribute struct{ Name, Type string }

func (a Attribute) String() string {
	if a.Name == "" {
		return "none"
	}
	return a.Name + " (" + a.Type + ")"
}

// Index is an index of a table: its keys, and the other attributes that it has.
type Index struct {
	Name       string
	Hash, Sort Attribute
	Projection string
}

// Table is a table with its indexes. It has no sort key.
type Table struct {
	Name    string
	Hash    Attribute
	Indexes []Index
}

// Tables returns the tables. The projection of an index cannot be changed later: the index
// must be replaced, see docs/adr/0018-a-plan-is-a-record.md.
func Tables(n Names) []Table {
	user := Attribute{"user_id", String}
	return []Table{
		{n.Jobs, Attribute{"job_id", String}, []Index{
			{UserIndex, user, Attribute{"submit_time", Number}, All},
			{ArchivedIndex, user, Attribute{"archive_id", String}, All},
			{DueIndex, Attribute{"due_shard", Number}, Attribute{"due_at", Number}, KeysOnly},
		}},
		{n.Accounts, user, []Index{{PlanIndex, Attribute{"plan_shard", Number}, Attribute{"plan_due", Number}, KeysOnly}}},
		{n.Plans, Attribute{"id", String}, nil},
	}
}

// FoundIndex is an index that exists.
type FoundIndex struct {
	Index
	Status      string
	Backfilling bool
}

// FoundTable is a table that exists.
type FoundTable struct {
	Hash, Sort Attribute
	Status     string
	Indexes    []FoundIndex
}

// Lacks returns the indexes that the found table does not have.
func (t Table) Lacks(found *FoundTable) []Index {
	var lacks []Index
	for _, want := range t.Indexes {
		if !slices.ContainsFunc(found.Indexes, func(have FoundIndex) bool { return have.Name == want.Name }) {
			lacks = append(lacks, want)
		}
	}
	return lacks
}

// Compare returns the faults of the found table. found is nil if there is no table.
func (t Table) Compare(found *FoundTable) []Fault {
	if found == nil {
		return []Fault{{Problem: fmt.Sprintf("there is no table %s", t.Name), Fix: "correct the name or the region, or make it with `gas provision aws`"}}
	}
	var faults []Fault
	if !slices.Contains([]string{"ACTIVE", "UPDATING"}, found.Status) {
		faults = append(faults, Fault{Problem: fmt.Sprintf("table %s is %s", t.Name, found.Status), Fix: "wait until DynamoDB says ACTIVE, or see in its console what it lacks"})
	}
	if found.Hash != t.Hash || found.Sort != (Attribute{}) {
		faults = append(faults, Fault{
			Problem: fmt.Sprintf("the keys of table %s are %s and %s, not %s alone", t.Name, found.Hash, found.Sort, t.Hash),
			Fix:     "keys can't be altered: name another table, and make it with `gas provision aws`",
		})
	}
	for _, want := range t.Indexes {
		i := slices.IndexFunc(found.Indexes, func(have FoundIndex) bool { return have.Name == want.Name })
		if i < 0 {
			faults = append(faults, Fault{Problem: fmt.Sprintf("table %s has no index %s", t.Name, want.Name), Fix: "add it with `gas provision aws`; DynamoDB fills it"})
			continue
		}
		faults = append(faults, want.compare(t.Name, found.Indexes[i])...)
	}
	return faults
}

func (want Index) compare(table string, have FoundIndex) []Fault {
	var faults []Fault
	const replace = "an index can't be altered: delete it, and add it anew with `gas provision aws`"
	if have.Hash != want.Hash || have.Sort != want.Sort {
		faults = append(faults, Fault{
			Problem: fmt.Sprintf("the keys of index %s of table %s are %s and %s, not %s and %s", want.Name, table, have.Hash, have.Sort, want.Hash, want.Sort), Fix: replace,
		})
	}
	// An index with more attributes than the pipeline needs works, and only costs more.
	if have.Projection != want.Projection && have.Projection != All && want.Projection != KeysOnly {
		faults = append(faults, Fault{Problem: fmt.Sprintf("index %s of table %s has %s, not %s", want.Name, table, have.Projection, want.Projection), Fix: replace})
	}
	switch {
	case have.Backfilling:
		faults = append(faults, Fault{Problem: fmt.Sprintf("index %s of table %s is still being filled, and lacks what was there before", want.Name, table), Fix: "wait until DynamoDB says ACTIVE before you start a service"})
	case have.Status != "ACTIVE" && have.Status != "UPDATING":
		faults = append(faults, Fault{Problem: fmt.Sprintf("index %s of table %s is %s", want.Name, table, have.Status), Fix: "wait until DynamoDB says ACTIVE, or add it anew with `gas provision aws` once it is gone"})
	}
	return faults
}
