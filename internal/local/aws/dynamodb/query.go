package dynamodb

import (
	"encoding/json"
	"fmt"
	"strconv"

	"github.com/gas-restore/gas/internal/local/aws/world"
)

// maxPage is how many bytes of items a page of a query or scan evaluates.
const maxPage = 1 << 20

// readRequest is a query or a scan.
type readRequest struct {
	TableName              string
	IndexName              *string
	Select                 string
	Limit                  *int
	ConsistentRead         bool
	ExclusiveStartKey      json.RawMessage
	ProjectionExpression   *string
	FilterExpression       *string
	ReturnConsumedCapacity string
	expressions
}

type queryRequest struct {
	readRequest
	KeyConditionExpression *string
	ScanIndexForward       *bool
}

type scanRequest struct {
	readRequest
	Segment, TotalSegments *int
}

// readOp is a query or scan, ready to be carried out.
type readOp struct {
	in        *readRequest
	table     *table
	index     *index // nil: the table itself
	key       schema // of the index or the table
	span      span
	forward   bool
	keys      *condition // of a query
	filter    *condition
	paths     []path
	countOnly bool
	limit     int
}

func (s *Service) query(body []byte) ([]byte, *world.Error) {
	var in queryRequest
	if err := decode(body, &in); err != nil {
		return nil, err
	}
	if in.KeyConditionExpression == nil {
		return nil, invalid("Either the KeyConditions or KeyConditionExpression parameter must be specified in the request.")
	}
	op, err := s.readOp(&in.readRequest, in.KeyConditionExpression)
	if err != nil {
		return nil, err
	}
	defer op.table.mu.RUnlock()
	op.forward = in.ScanIndexForward == nil || *in.ScanIndexForward
	if op.span, err = op.key.querySpan(op.keys); err != nil {
		return nil, err
	}
	var clash string
	if op.filter != nil {
		op.filter.each(func(c *condition) {
			for _, a := range c.args {
				if a.value == nil && op.key.has(a.path[0].name) {
					clash = a.path[0].name
				}
			}
		})
	}
	if clash != "" {
		return nil, invalid("Filter Expression can only contain non-primary key attributes: Primary key attribute: %s", clash)
	}
	return op.run("The provided starting key is outside query boundaries based on provided conditions")
}

func (s *Service) scan(body []byte) ([]byte, *world.Error) {
	var in scanRequest
	if err := decode(body, &in); err != nil {
		return nil, err
	}
	segment, total := 0, 1
	switch {
	case in.Segment == nil && in.TotalSegments == nil:
	case in.Segment == nil:
		return nil, invalid("The Segment parameter is required but was not present in the request when parameter TotalSegments is present")
	case in.TotalSegments == nil:
		return nil, invalid("The TotalSegments parameter is required but was not present in the request when Segment parameter is present")
	default:
		segment, total = *in.Segment, *in.TotalSegments
		if total < 1 || total > 1_000_000 {
			return nil, constraintError(total, "totalSegments", "Member must be a number from 1 to 1000000")
		}
		if segment < 0 || segment >= total {
			return nil, invalid("The Segment parameter is zero-based and must be less than parameter TotalSegments: Segment: %d is not less than TotalSegments: %d", segment, total)
		}
	}
	op, err := s.readOp(&in.readRequest, nil)
	if err != nil {
		return nil, err
	}
	defer op.table.mu.RUnlock()
	op.forward = true
	border := func(n int) string {
		if n == total {
			return above("")
		}
		return fmt.Sprintf("%08x", uint64(n)<<32/uint64(total))
	}
	op.span = span{border(segment), border(segment + 1)}
	return op.run("The provided starting key is invalid: it is not in the segment")
}

// readOp reads what queries and scans have in common. Unless it fails, it leaves
// the table locked for reading.
func (s *Service) readOp(in *readRequest, keyCondition *string) (*readOp, *world.Error) {
	op := &readOp{in: in}
	if err := oneOf("select", in.Select, "SPECIFIC_ATTRIBUTES", "COUNT", "ALL_ATTRIBUTES", "ALL_PROJECTED_ATTRIBUTES"); err != nil {
		return nil, err
	}
	if in.Limit != nil {
		if op.limit = *in.Limit; op.limit < 1 {
			return nil, constraintError(op.limit, "limit", "Member must have value greater than or equal to 1")
		}
	}
	var err *world.Error
	if op.table, err = s.table(in.TableName); err != nil {
		return nil, err
	}
	values := in.FilterExpression != nil || keyCondition != nil
	sc, err := newScope(in.ExpressionAttributeNames, in.ExpressionAttributeValues, values || in.ProjectionExpression != nil, values)
	if err != nil {
		return nil, err
	}
	if keyCondition != nil {
		if op.keys, err = parseCondition(sc, "KeyConditionExpression", *keyCondition); err != nil {
			return nil, err
		}
	}
	if in.FilterExpression != nil {
		if op.filter, err = parseCondition(sc, "FilterExpression", *in.FilterExpression); err != nil {
			return nil, err
		}
	}
	if in.ProjectionExpression != nil {
		if op.paths, err = parseProjection(sc, *in.ProjectionExpression); err != nil {
			return nil, err
		}
	}
	if err := sc.unused(); err != nil {
		return nil, err
	}
	index := ""
	if in.IndexName != nil {
		index = *in.IndexName
		if err := checkName("indexName", index); err != nil {
			return nil, err
		}
	}
	if op.index, err = op.table.read(index); err != nil {
		return nil, err
	}
	op.key = op.table.key
	if op.index != nil {
		op.key = op.index.key
	}
	if err := op.checkSelect(); err != nil {
		op.table.mu.RUnlock()
		return nil, err
	}
	return op, nil
}

func (op *readOp) checkSelect() *world.Error {
	in := op.in
	op.countOnly = in.Select == "COUNT"
	if op.paths != nil && in.Select != "" && in.Select != "SPECIFIC_ATTRIBUTES" {
		return invalid("Cannot specify the ProjectionExpression when choosing to get %s", in.Select)
	}
	if op.paths == nil && in.Select == "SPECIFIC_ATTRIBUTES" {
		return invalid("Must specify the AttributesToGet or ProjectionExpression when choosing to get SPECIFIC_ATTRIBUTES")
	}
	if op.index == nil {
		if in.Select == "ALL_PROJECTED_ATTRIBUTES" {
			return invalid("ALL_PROJECTED_ATTRIBUTES can be used only when Querying using an IndexName")
		}
		return nil
	}
	m := &op.index.meta
	if in.ConsistentRead {
		return invalid("Consistent reads are not supported on global secondary indexes")
	}
	if in.Select == "ALL_ATTRIBUTES" && m.Projection.Type != "ALL" {
		return invalid("One or more parameter values were invalid: Select type ALL_ATTRIBUTES is not supported for global secondary index %s because its projection type is not ALL", m.Name)
	}
	for _, p := range op.paths {
		if !op.index.has(p[0].name) {
			return invalid("One or more parameter values were invalid: Global secondary index %s does not project [%s]", m.Name, p[0].name)
		}
	}
	return nil
}

// start moves the span's beginning behind ExclusiveStartKey.
func (op *readOp) start(outside string) *world.Error {
	raw := op.in.ExclusiveStartKey
	if len(raw) == 0 || string(raw) == "null" {
		return nil
	}
	key, err := parseItem(raw)
	if err != nil {
		return err
	}
	base := op.table.key
	want := map[string]string{}
	for _, a := range append(base.attrs(), op.key.attrs()...) {
		want[a.name] = a.typ
	}
	if len(key) != len(want) {
		return invalid("The provided starting key is invalid")
	}
	for name, typ := range want {
		if v := key.get(name); v == nil || v.typ != typ || v.str == "" {
			return invalid("The provided starting key is invalid: The provided key element does not match the schema")
		}
	}
	at, _ := base.position(key)
	if op.index != nil {
		at, _ = op.index.at(at, key)
	}
	if at < op.span.lo || at >= op.span.hi {
		return invalid("%s", outside)
	}
	if op.forward {
		op.span.lo = at + "\x00"
	} else {
		op.span.hi = at
	}
	return nil
}

// run reads a page. The caller holds the table's lock.
func (op *readOp) run(outside string) ([]byte, *world.Error) {
	u, err := newUsage(op.in.ReturnConsumedCapacity)
	if err != nil {
		return nil, err
	}
	if err := op.start(outside); err != nil {
		return nil, err
	}
	var rows []*row
	bytes := 0
	more := false
	op.table.each(op.index, op.span, op.forward, func(_ string, e entry) bool {
		rows = append(rows, e.row)
		bytes += e.bytes
		more = len(rows) == op.limit || bytes >= maxPage
		return !more
	})
	out := make([]byte, 0, min(bytes, maxPage)*3/2+256)
	out = append(out, '{')
	if !op.countOnly {
		out = append(out, `"Items":[`...)
	}
	count := 0
	whole := op.filter == nil && op.paths == nil && (op.index == nil || op.index.meta.Projection.Type == "ALL")
	for _, r := range rows {
		var item attrs
		if !whole {
			item = r.item()
			if op.index != nil {
				item = op.index.cut(item)
			}
			if !op.filter.holds(item) {
				continue
			}
		}
		count++
		if op.countOnly {
			continue
		}
		if count > 1 {
			out = append(out, ',')
		}
		switch {
		case whole:
			out = append(out, r.json...)
		case op.paths != nil:
			out = project(item, op.paths).appendJSON(out)
		default:
			out = item.appendJSON(out)
		}
	}
	if !op.countOnly {
		out = append(out, ']')
	}
	out = member(out, "Count", strconv.AppendInt(nil, int64(count), 10))
	out = member(out, "ScannedCount", strconv.AppendInt(nil, int64(len(rows)), 10))
	if more {
		last := rows[len(rows)-1].item()
		key := op.table.key.keyOf(last)
		if op.index != nil {
			for _, a := range op.index.key.keyOf(last) {
				key.put(a.name, a.v)
			}
		}
		out = member(out, "LastEvaluatedKey", key.appendJSON(nil))
	}
	name := ""
	if op.index != nil {
		name = op.index.meta.Name
	}
	u.read(op.table.name, name, bytes, readFactor(op.in.ConsistentRead))
	return append(u.one(out), '}'), nil
}

// querySpan returns the range of positions that a key condition describes.
func (s schema) querySpan(keys *condition) (span, *world.Error) {
	parts := []*condition{keys}
	for i := 0; i < len(parts); i++ {
		if c := parts[i]; c.op == "AND" {
			parts = append(append(parts[:i:i], c.subs...), parts[i+1:]...)
			i--
		}
	}
	byName := map[string]*condition{}
	for _, c := range parts {
		switch c.op {
		case "OR", "NOT", "<>", "IN", "attribute_exists", "attribute_not_exists", "attribute_type", "contains":
			return span{}, invalid("Invalid operator used in KeyConditionExpression: %s", c.op)
		}
		a := c.args[0]
		switch {
		case a.value != nil:
			return span{}, invalid("Invalid KeyConditionExpression: the first operand of %s must be a key attribute", c.op)
		case a.size:
			return span{}, invalid("KeyConditionExpressions cannot contain nested operations")
		case len(a.path) > 1:
			return span{}, invalid("KeyConditionExpressions cannot have conditions on nested attributes")
		}
		for _, b := range c.args[1:] {
			if b.value == nil {
				return span{}, invalid("Invalid condition in KeyConditionExpression: Multiple attribute names used in one condition")
			}
		}
		name := a.path[0].name
		if byName[name] != nil {
			return span{}, invalid("KeyConditionExpressions must only contain one condition per key")
		}
		byName[name] = c
	}
	hash := byName[s.hash.name]
	if hash == nil {
		return span{}, invalid("Query condition missed key schema element: %s", s.hash.name)
	}
	if hash.op != "=" || len(parts) > 2 {
		return span{}, invalid("Query key condition not supported")
	}
	if err := s.checkOperands(s.hash, hash); err != nil {
		return span{}, err
	}
	p := partition(hash.args[1].value)
	if len(parts) == 1 {
		return span{p, above(p)}, nil
	}
	r := byName[s.sort.name]
	if s.sort.name == "" {
		return span{}, invalid("Query key condition not supported")
	}
	if r == nil {
		return span{}, invalid("Query condition missed key schema element: %s", s.sort.name)
	}
	if err := s.checkOperands(s.sort, r); err != nil {
		return span{}, err
	}
	v := r.args[1].value
	at := p + sortable(v)
	switch r.op {
	case "=":
		return span{at, above(at)}, nil
	case "<":
		return span{p, at}, nil
	case "<=":
		return span{p, above(at)}, nil
	case ">":
		return span{above(at), above(p)}, nil
	case ">=":
		return span{at, above(p)}, nil
	case "BETWEEN":
		return span{at, above(p + sortable(r.args[2].value))}, nil
	default: // begins_with
		if v.typ == "N" {
			return span{}, invalid("Invalid KeyConditionExpression: Incorrect operand type for operator or function; operator or function: begins_with, operand type: N")
		}
		at = p + sortablePrefix(v)
		return span{at, above(at)}, nil
	}
}

func (s schema) checkOperands(a keyAttr, c *condition) *world.Error {
	for _, o := range c.args[1:] {
		if o.value.typ != a.typ {
			return invalid("One or more parameter values were invalid: Condition parameter type does not match schema type")
		}
		if err := s.checkValue(a, o.value); err != nil {
			return err
		}
	}
	return nil
}
