package dynamodb

import (
	"encoding/json"
	"maps"
	"slices"

	"github.com/gas-restore/gas/internal/local/aws/world"
)

// usage is what calls consumed, by table.
type usage struct {
	mode   string
	tables map[string]*tableUsage
}

type tableUsage struct {
	units   float64
	indexes map[string]float64
}

// newUsage returns a usage to be reported as a request's ReturnConsumedCapacity says.
func newUsage(mode string) (*usage, *world.Error) {
	return &usage{mode: mode}, oneOf("returnConsumedCapacity", mode, "INDEXES", "TOTAL", "NONE")
}

func (u *usage) wanted() bool { return u.mode == "TOTAL" || u.mode == "INDEXES" }

func (u *usage) of(table string) *tableUsage {
	if u.tables == nil {
		u.tables = map[string]*tableUsage{}
	}
	t := u.tables[table]
	if t == nil {
		t = &tableUsage{indexes: map[string]float64{}}
		u.tables[table] = t
	}
	return t
}

// read counts reading this many bytes, from an index if that is not empty.
func (u *usage) read(table, index string, bytes int, factor float64) {
	if !u.wanted() {
		return
	}
	units := float64(max(1, (bytes+4095)/4096)) * factor
	if index != "" {
		u.of(table).indexes[index] += units
	} else {
		u.of(table).units += units
	}
}

func (u *usage) wrote(table string, w touched, factor float64) {
	if !u.wanted() {
		return
	}
	t := u.of(table)
	t.units += writeUnits(w.bytes) * factor
	for name, units := range w.indexes {
		t.indexes[name] += units * factor
	}
}

func writeUnits(bytes int) float64 { return float64(max(1, (bytes+1023)/1024)) }

// touched is the number of bytes that a write wrote to a table, and the number of write
// units in each index. If the key in an index changes, the index is written twice. If
// none of its attributes changed, it is not written
// (https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/GSI.html#GSI.ThroughputConsiderations.Writes).
type touched struct {
	bytes   int
	indexes map[string]float64
}

// units returns what a write takes in an index that has the item c.from names in this
// size, and then the one that c.to names.
func (ix *index) units(c lateChange, size int, before, item attrs) (n float64) {
	if c.from != "" && c.from == c.to {
		if ix.same(before, item) {
			return 0
		}
		return writeUnits(max(size, c.entry.bytes))
	}
	if c.from != "" {
		n = writeUnits(size)
	}
	if c.to != "" {
		n += writeUnits(c.entry.bytes)
	}
	return n
}

// same tells whether the index holds the same of both items.
func (ix *index) same(a, b attrs) bool {
	held := 0
	for i := range a {
		if !ix.has(a[i].name) {
			continue
		}
		held++
		if v := b.get(a[i].name); v == nil || !v.equal(&a[i].v) {
			return false
		}
	}
	for i := range b {
		if ix.has(b[i].name) {
			held--
		}
	}
	return held == 0
}

// list returns the ConsumedCapacity of each table, in order of their names.
func (u *usage) list() []any {
	list := []any{}
	for _, name := range slices.Sorted(maps.Keys(u.tables)) {
		t := u.tables[name]
		total := t.units
		indexes := map[string]any{}
		for ix, units := range t.indexes {
			total += units
			indexes[ix] = map[string]float64{"CapacityUnits": units}
		}
		c := map[string]any{"TableName": name, "CapacityUnits": total}
		if u.mode == "INDEXES" {
			c["Table"] = map[string]float64{"CapacityUnits": t.units}
			if len(indexes) > 0 {
				c["GlobalSecondaryIndexes"] = indexes
			}
		}
		list = append(list, c)
	}
	return list
}

// one appends ,"ConsumedCapacity":{…} of the only table, if that is wanted.
func (u *usage) one(b []byte) []byte {
	if !u.wanted() || len(u.tables) == 0 {
		return b
	}
	return member(b, "ConsumedCapacity", marshal(u.list()[0]))
}

// all appends ,"ConsumedCapacity":[…] of all tables, if that is wanted.
func (u *usage) all(b []byte) []byte {
	if !u.wanted() {
		return b
	}
	return member(b, "ConsumedCapacity", marshal(u.list()))
}

// member appends a member to an object that has been begun.
func member(b []byte, name string, raw []byte) []byte {
	if b[len(b)-1] != '{' {
		b = append(b, ',')
	}
	b = append(b, '"')
	b = append(b, name...)
	b = append(b, '"', ':')
	return append(b, raw...)
}

func marshal(v any) []byte {
	b, err := json.Marshal(v)
	if err != nil {
		panic("dynamodb: " + err.Error())
	}
	return b
}
