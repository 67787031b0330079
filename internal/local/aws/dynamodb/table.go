package dynamodb

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/gas-restore/gas/internal/local/aws/store"
	"github.com/gas-restore/gas/internal/local/aws/world"

	"github.com/tidwall/btree"
)

// maxItem is how many bytes an item may have.
const maxItem = 400 << 10

// row is a stored item, as its wire form: that is what most answers need, and
// one pointer to an item is what the garbage collector likes best.
type row struct {
	json  []byte
	bytes int // as DynamoDB counts
}

// MarshalJSON implements json.Marshaler.
func (r *row) MarshalJSON() ([]byte, error) { return r.json, nil }

// UnmarshalJSON implements json.Unmarshaler. It leaves the size to restore.
func (r *row) UnmarshalJSON(b []byte) error {
	r.json = bytes.Clone(b)
	return nil
}

// restore completes a row from the journal, and returns its attributes.
func (r *row) restore() attrs {
	item := r.item()
	r.bytes = item.size()
	return item
}

func newRow(item attrs) *row {
	n := item.size()
	return &row{json: item.appendJSON(make([]byte, 0, n+n/2+64)), bytes: n}
}

// item returns the row's attributes, none for a nil row.
func (r *row) item() attrs {
	if r == nil {
		return nil
	}
	sc := scanner{s: string(r.json)}
	a, err := sc.attrs(0)
	if err != nil {
		panic("dynamodb: stored item: " + err.Error())
	}
	return a
}

// table is a table with its items and indexes.
type table struct {
	world *world.World
	name  string
	id    string
	key   schema

	mu      sync.RWMutex // guards what follows
	meta    tableMeta
	deleted bool
	items   *store.Table[*row]
	bytes   int64
	indexes []*index
	// lag is how late changes reach the indexes; late holds those under way.
	lag  time.Duration
	late []lateChange
}

// index is a global secondary index.
type index struct {
	meta  indexMeta
	key   schema
	rows  btree.Map[string, entry]
	bytes int64
}

// entry is an item in an index, and the size of its attributes there.
type entry struct {
	row   *row
	bytes int
}

// lateChange is a change of an index that readers don't see yet.
type lateChange struct {
	at       time.Time
	index    *index
	from, to string // positions; empty for none
	entry    entry
}

func newTable(w *world.World, meta tableMeta) (*table, error) {
	items, err := store.NewTable[*row](w.DB, "dynamodb.items."+meta.ID)
	if err != nil {
		return nil, err
	}
	t := &table{world: w, name: meta.Name, id: meta.ID, meta: meta, items: items, key: meta.schema(meta.Keys)}
	for _, im := range meta.Indexes {
		t.indexes = append(t.indexes, &index{meta: im, key: meta.schema(im.Keys)})
	}
	items.Ascend("", func(position string, r *row) bool {
		item := r.restore()
		t.bytes += int64(r.bytes)
		for _, ix := range t.indexes {
			ix.put(position, r, item)
		}
		return true
	})
	return t, nil
}

// index returns the index called name, nil if there is none.
func (t *table) index(name string) *index {
	for _, ix := range t.indexes {
		if ix.meta.Name == name {
			return ix
		}
	}
	return nil
}

// at returns where item is in the index; ok is false if it isn't.
func (ix *index) at(position string, item attrs) (string, bool) {
	p, ok := ix.key.position(item)
	return p + position, ok
}

func (ix *index) put(position string, r *row, item attrs) {
	if at, ok := ix.at(position, item); ok {
		ix.set(at, entry{r, ix.size(r, item)})
	}
}

func (ix *index) set(at string, e entry) {
	old, _ := ix.rows.Set(at, e)
	ix.bytes += int64(e.bytes - old.bytes)
}

func (ix *index) drop(at string) {
	old, _ := ix.rows.Delete(at)
	ix.bytes -= int64(old.bytes)
}

func (ix *index) size(r *row, item attrs) int {
	if ix.meta.Projection.Type == "ALL" {
		return r.bytes
	}
	n := 0
	for i := range item {
		if ix.has(item[i].name) {
			n += len(item[i].name) + item[i].v.size()
		}
	}
	return n
}

// has tells whether the index holds the attribute called name.
func (ix *index) has(name string) bool {
	return ix.meta.Projection.Type == "ALL" || slices.Contains(ix.meta.attributes, name)
}

// cut returns what the index holds of item.
func (ix *index) cut(item attrs) attrs {
	if ix.meta.Projection.Type == "ALL" {
		return item
	}
	return slices.DeleteFunc(item, func(a attr) bool { return !ix.has(a.name) })
}

// check refuses an item that the table can't have.
func (t *table) check(item attrs) *world.Error {
	if err := t.key.checkItem(item); err != nil {
		return err
	}
	for _, ix := range t.indexes {
		if err := ix.key.checkIndexed(item, ix.meta.Name); err != nil {
			return err
		}
	}
	return nil
}

// set replaces old at position with fresh, which has the attributes item; a nil row
// removes old. before are the attributes of old if they have been read. The caller holds
// the table's lock.
func (t *table) set(position string, old, fresh *row, before, item attrs) touched {
	w := touched{}
	if old != nil {
		t.bytes -= int64(old.bytes)
		w.bytes = old.bytes
	}
	if fresh != nil {
		t.bytes += int64(fresh.bytes)
		w.bytes = max(w.bytes, fresh.bytes)
		t.items.Put(position, fresh)
	} else if old != nil {
		t.items.Delete(position)
	}
	if len(t.indexes) == 0 {
		return w
	}
	w.indexes = map[string]float64{}
	if before == nil {
		before = old.item()
	}
	for _, ix := range t.indexes {
		c := lateChange{index: ix}
		size := 0
		if at, ok := ix.at(position, before); ok && old != nil {
			c.from = at
			size = ix.size(old, before)
		}
		if at, ok := ix.at(position, item); ok && fresh != nil {
			c.to = at
			c.entry = entry{fresh, ix.size(fresh, item)}
		}
		if c.from == "" && c.to == "" {
			continue
		}
		w.indexes[ix.meta.Name] = ix.units(c, size, before, item)
		t.change(c)
	}
	return w
}

func (t *table) change(c lateChange) {
	if t.lag == 0 && len(t.late) == 0 {
		c.apply()
		return
	}
	now := t.world.Clock.Now()
	c.at = now.Add(t.lag)
	if n := len(t.late); n > 0 && c.at.Before(t.late[n-1].at) {
		c.at = t.late[n-1].at // changes stay in their order
	}
	t.late = append(t.late, c)
	t.settle(now)
}

// settle applies the changes of indexes that are due.
func (t *table) settle(now time.Time) {
	n := 0
	for n < len(t.late) && !t.late[n].at.After(now) {
		t.late[n].apply()
		n++
	}
	t.late = slices.Delete(t.late, 0, n)
}

func (c *lateChange) apply() {
	if c.from != "" && c.from != c.to {
		c.index.drop(c.from)
	}
	if c.to != "" {
		c.index.set(c.to, c.entry)
	}
}

// read locks the table for reading its items or, if that is not empty, the
// index called name, which is made current as far as it should be.
func (t *table) read(name string) (*index, *world.Error) {
	t.mu.RLock()
	if name != "" && len(t.late) > 0 {
		t.mu.RUnlock()
		t.mu.Lock()
		t.settle(t.world.Clock.Now())
		t.mu.Unlock()
		t.mu.RLock()
	}
	if t.deleted {
		t.mu.RUnlock()
		return nil, noTable()
	}
	if name == "" {
		return nil, nil
	}
	ix := t.index(name)
	if ix == nil {
		t.mu.RUnlock()
		return nil, invalid("The table does not have the specified index: %s", clip(name))
	}
	return ix, nil
}

// span is a range of positions: from lo on, up to below hi.
type span struct{ lo, hi string }

// each calls f for the entries of the index, or the items if ix is nil, in the
// span, until it returns false. The caller holds the table's lock.
func (t *table) each(ix *index, s span, forward bool, f func(position string, e entry) bool) {
	visit := func(position string, e entry) bool {
		if forward && position >= s.hi || !forward && position < s.lo {
			return false
		}
		if !forward && position >= s.hi {
			return true // only the one that equals hi
		}
		return f(position, e)
	}
	visitRow := func(position string, r *row) bool { return visit(position, entry{r, r.bytes}) }
	switch {
	case ix == nil && forward:
		t.items.Ascend(s.lo, visitRow)
	case ix == nil:
		t.items.Descend(s.hi, visitRow)
	case forward:
		ix.rows.Ascend(s.lo, visit)
	default:
		ix.rows.Descend(s.hi, visit)
	}
}

// The description of a table, as it is stored and as it goes over the wire.
type (
	attributeDefinition struct {
		AttributeName string
		AttributeType string
	}
	keyElement struct {
		AttributeName string
		KeyType       string
	}
	projection struct {
		Type       string   `json:"ProjectionType"`
		Attributes []string `json:"NonKeyAttributes,omitempty"`
	}
	throughput struct {
		ReadCapacityUnits  int64
		WriteCapacityUnits int64
	}
	tag struct{ Key, Value string }

	indexMeta struct {
		Name       string
		Keys       []keyElement
		Projection projection
		Throughput throughput
		attributes []string // that it holds, unless all
	}
	tableMeta struct {
		Name       string
		ID         string
		Created    time.Time
		Attributes []attributeDefinition
		Keys       []keyElement
		Indexes    []indexMeta
		Billing    string
		Throughput throughput
		Class      string
		Protected  bool
		TTL        string // attribute; empty if off
		Recovery   int64  // since when point-in-time recovery is on, in Unix seconds; 0 if it is off
		Tags       []tag
		Dropped    bool // its items are being removed
	}
)

func (m *tableMeta) typeOf(name string) string {
	for _, a := range m.Attributes {
		if a.AttributeName == name {
			return a.AttributeType
		}
	}
	return ""
}

func (m *tableMeta) schema(keys []keyElement) schema {
	s := schema{hash: keyAttr{keys[0].AttributeName, m.typeOf(keys[0].AttributeName)}}
	if len(keys) > 1 {
		s.sort = keyAttr{keys[1].AttributeName, m.typeOf(keys[1].AttributeName)}
	}
	return s
}

// complete fills in what is derived from the rest.
func (m *tableMeta) complete() {
	for i := range m.Indexes {
		ix := &m.Indexes[i]
		ix.attributes = slices.Clone(ix.Projection.Attributes)
		for _, k := range slices.Concat(m.Keys, ix.Keys) {
			ix.attributes = append(ix.attributes, k.AttributeName)
		}
	}
}

// describe returns the TableDescription.
func (t *table) describe(status string) map[string]any {
	m := &t.meta
	d := map[string]any{
		"TableName": m.Name, "TableId": m.ID, "TableArn": t.world.ARN("dynamodb", "table/"+m.Name),
		"TableStatus": status, "CreationDateTime": json.Number(fmt.Sprintf("%.3f", float64(m.Created.UnixMilli())/1000)),
		"AttributeDefinitions": m.Attributes, "KeySchema": m.Keys,
		"ItemCount": t.items.Len(), "TableSizeBytes": t.bytes,
		"DeletionProtectionEnabled": m.Protected,
		"ProvisionedThroughput":     throughputDescription(m.Throughput),
	}
	if m.Billing == payPerRequest {
		d["BillingModeSummary"] = map[string]any{"BillingMode": m.Billing}
	}
	if m.Class != "" {
		d["TableClassSummary"] = map[string]any{"TableClass": m.Class}
	}
	var list []any
	for _, ix := range t.indexes {
		list = append(list, map[string]any{
			"IndexName": ix.meta.Name, "KeySchema": ix.meta.Keys, "Projection": ix.meta.Projection,
			"IndexStatus": "ACTIVE", "ItemCount": ix.rows.Len(), "IndexSizeBytes": ix.bytes,
			"IndexArn":              t.world.ARN("dynamodb", "table/"+m.Name+"/index/"+ix.meta.Name),
			"ProvisionedThroughput": throughputDescription(ix.meta.Throughput),
		})
	}
	if list != nil {
		d["GlobalSecondaryIndexes"] = list
	}
	return d
}

func throughputDescription(p throughput) map[string]any {
	return map[string]any{"ReadCapacityUnits": p.ReadCapacityUnits, "WriteCapacityUnits": p.WriteCapacityUnits, "NumberOfDecreasesToday": 0}
}
