package dynamodb

import (
	"encoding/json"

	"github.com/gas-restore/gas/internal/local/aws/world"
)

// expressions are the members that every request with expressions has.
type expressions struct {
	ExpressionAttributeNames  map[string]string
	ExpressionAttributeValues json.RawMessage
}

type getRequest struct {
	TableName                string
	Key                      json.RawMessage
	ConsistentRead           bool
	ProjectionExpression     *string
	ExpressionAttributeNames map[string]string
	ReturnConsumedCapacity   string
}

// getOp is a request for one item, ready to be carried out.
type getOp struct {
	table    *table
	position string
	paths    []path
}

func (s *Service) getOp(tableName string, rawKey json.RawMessage, projection *string, names map[string]string) (*getOp, *world.Error) {
	t, err := s.table(tableName)
	if err != nil {
		return nil, err
	}
	sc, err := newScope(names, nil, projection != nil, false)
	if err != nil {
		return nil, err
	}
	op := &getOp{table: t}
	if projection != nil {
		if op.paths, err = parseProjection(sc, *projection); err != nil {
			return nil, err
		}
	}
	if err := sc.unused(); err != nil {
		return nil, err
	}
	_, op.position, err = t.parseKey(rawKey)
	return op, err
}

// parseKey reads the key of one item.
func (t *table) parseKey(raw json.RawMessage) (attrs, string, *world.Error) {
	if len(raw) == 0 {
		return nil, "", invalid("The parameter 'Key' is required but was not present in the request")
	}
	key, err := parseItem(raw)
	if err != nil {
		return nil, "", err
	}
	if err := t.key.checkKey(key); err != nil {
		return nil, "", err
	}
	position, _ := t.key.position(key)
	return key, position, nil
}

// run returns the item, nil if it isn't there. The caller holds the table's lock.
func (op *getOp) run() *row {
	r, _ := op.table.items.Get(op.position)
	return r
}

// shape returns the wire form of what the request wants of r.
func (op *getOp) shape(r *row) []byte {
	if op.paths == nil {
		return r.json
	}
	return project(r.item(), op.paths).appendJSON(nil)
}

func (s *Service) getItem(body []byte) ([]byte, *world.Error) {
	var in getRequest
	if err := decode(body, &in); err != nil {
		return nil, err
	}
	u, err := newUsage(in.ReturnConsumedCapacity)
	if err != nil {
		return nil, err
	}
	op, err := s.getOp(in.TableName, in.Key, in.ProjectionExpression, in.ExpressionAttributeNames)
	if err != nil {
		return nil, err
	}
	if _, err := op.table.read(""); err != nil {
		return nil, err
	}
	r := op.run()
	op.table.mu.RUnlock()
	out := []byte{'{'}
	size := 0
	if r != nil {
		size = r.bytes
		out = make([]byte, 1, len(r.json)+64)
		out[0] = '{'
		out = member(out, "Item", op.shape(r))
	}
	u.read(op.table.name, "", size, readFactor(in.ConsistentRead))
	return append(u.one(out), '}'), nil
}

// readFactor is what a read of 4 KiB costs.
func readFactor(consistent bool) float64 {
	if consistent {
		return 1
	}
	return 0.5
}

type writeRequest struct {
	TableName           string
	Item                json.RawMessage // of a put
	Key                 json.RawMessage // of the others
	UpdateExpression    *string
	ConditionExpression *string
	expressions
	ReturnValues                        string
	ReturnValuesOnConditionCheckFailure string
	ReturnConsumedCapacity              string
	ReturnItemCollectionMetrics         string
}

// writeOp is a write of one item, or a check of a condition on one, ready to be
// carried out.
type writeOp struct {
	table       *table
	position    string
	key         attrs
	item        attrs // of a put
	update      *update
	condition   *condition
	change      bool // false: only check the condition
	remove      bool
	showOnFail  bool
	conditional bool
}

// The kinds of a writeRequest.
const (
	opPut    = "Put"
	opUpdate = "Update"
	opDelete = "Delete"
	opCheck  = "ConditionCheck"
)

func (s *Service) writeOp(kind string, in *writeRequest) (*writeOp, *world.Error) {
	switch {
	case kind != opPut && in.Item != nil:
		return nil, invalid("the stand-in does not have the parameter Item here")
	case kind == opPut && in.Key != nil:
		return nil, invalid("the stand-in does not have the parameter Key here")
	case kind != opUpdate && in.UpdateExpression != nil:
		return nil, invalid("the stand-in does not have the parameter UpdateExpression here")
	case kind == opCheck && in.ConditionExpression == nil:
		return nil, invalid("The expression can not be empty; ConditionExpression is required")
	}
	if err := oneOf("returnValuesOnConditionCheckFailure", in.ReturnValuesOnConditionCheckFailure, "ALL_OLD", "NONE"); err != nil {
		return nil, err
	}
	if err := oneOf("returnItemCollectionMetrics", in.ReturnItemCollectionMetrics, "SIZE", "NONE"); err != nil {
		return nil, err
	}
	t, err := s.table(in.TableName)
	if err != nil {
		return nil, err
	}
	op := &writeOp{
		table: t, change: kind != opCheck, remove: kind == opDelete,
		showOnFail: in.ReturnValuesOnConditionCheckFailure == "ALL_OLD", conditional: in.ConditionExpression != nil,
	}
	any := in.ConditionExpression != nil || in.UpdateExpression != nil
	sc, err := newScope(in.ExpressionAttributeNames, in.ExpressionAttributeValues, any, any)
	if err != nil {
		return nil, err
	}
	if in.UpdateExpression != nil {
		if op.update, err = parseUpdate(sc, *in.UpdateExpression); err != nil {
			return nil, err
		}
	} else if kind == opUpdate {
		op.update = &update{}
	}
	if in.ConditionExpression != nil {
		if op.condition, err = parseCondition(sc, "ConditionExpression", *in.ConditionExpression); err != nil {
			return nil, err
		}
	}
	if err := sc.unused(); err != nil {
		return nil, err
	}
	if kind != opPut {
		if op.key, op.position, err = t.parseKey(in.Key); err != nil {
			return nil, err
		}
		return op, op.keepsKey()
	}
	if in.Item == nil {
		return nil, invalid("The parameter 'Item' is required but was not present in the request")
	}
	if op.item, err = parseItem(in.Item); err != nil {
		return nil, err
	}
	if err := checkNames(op.item); err != nil {
		return nil, err
	}
	if err := t.key.checkItem(op.item); err != nil {
		return nil, err
	}
	if op.item.size() > maxItem {
		return nil, invalid("Item size has exceeded the maximum allowed size")
	}
	op.position, _ = t.key.position(op.item)
	return op, nil
}

func checkNames(item attrs) *world.Error {
	for i := range item {
		if item[i].name == "" {
			return invalid("One or more parameter values were invalid: Attribute name must not be empty")
		}
		if len(item[i].name) > 65535 {
			return invalid("One or more parameter values were invalid: Attribute name is too large, must be less than 65536 bytes")
		}
	}
	return nil
}

// keepsKey refuses an update of the key.
func (op *writeOp) keepsKey() *world.Error {
	if op.update == nil {
		return nil
	}
	for _, p := range op.update.paths {
		if op.table.key.has(p[0].name) {
			return invalid("One or more parameter values were invalid: Cannot update attribute %s. This attribute is part of the key", p[0].name)
		}
	}
	return nil
}

// outcome is what a write found and what it would leave.
type outcome struct {
	old      *row
	oldItem  attrs // only of an update or a conditional write
	newItem  attrs // nil: no item
	nothing  bool  // no change to carry out
	position string
}

// row is the item to store, nil for none.
func (o *outcome) row() *row {
	if o.newItem == nil {
		return nil
	}
	return newRow(o.newItem)
}

// carryOut makes the change, stored as fresh. The caller holds the table's lock.
func (op *writeOp) carryOut(o *outcome, fresh *row) touched {
	if o.nothing {
		return touched{}
	}
	return op.table.set(o.position, o.old, fresh, o.oldItem, o.newItem)
}

// plan checks the condition and works out the outcome. The caller holds the
// table's lock.
func (op *writeOp) plan() (outcome, *world.Error) {
	o := outcome{position: op.position}
	o.old, _ = op.table.items.Get(op.position)
	if op.conditional || op.update != nil {
		o.oldItem = o.old.item()
	}
	if !op.condition.holds(o.oldItem) {
		err := world.Errorf(400, "ConditionalCheckFailedException", "The conditional request failed")
		if op.showOnFail && o.old != nil {
			err.Fields = map[string]any{"Item": json.RawMessage(o.old.json)}
		}
		return o, err
	}
	switch {
	case !op.change || op.remove:
		o.nothing = !op.change || o.old == nil
		return o, nil
	case op.update == nil:
		o.newItem = op.item
	default:
		base := o.oldItem
		if o.old == nil {
			base = op.key
		}
		var err *world.Error
		if o.newItem, err = op.update.apply(base); err != nil {
			return o, err
		}
		if o.newItem.size() > maxItem {
			return o, invalid("Item size to update has exceeded the maximum allowed size")
		}
		if o.newItem.depth() > maxNesting {
			return o, invalid("Nesting Levels have exceeded supported limits: Attributes have nested more than %d levels", maxNesting)
		}
	}
	return o, op.table.check(o.newItem)
}

// depth is how deep lists and maps are in each other.
func (a attrs) depth() int {
	n := 0
	for i := range a {
		n = max(n, a[i].v.depth())
	}
	return n
}

func (v *value) depth() int {
	n := 0
	for i := range v.list {
		n = max(n, v.list[i].depth())
	}
	n = max(n, v.m.depth())
	if v.typ == "L" || v.typ == "M" {
		n++
	}
	return n
}

// write carries out a request that writes one item.
func (s *Service) write(kind string, body []byte, returns ...string) ([]byte, *world.Error) {
	var in writeRequest
	if err := decode(body, &in); err != nil {
		return nil, err
	}
	u, err := newUsage(in.ReturnConsumedCapacity)
	if err != nil {
		return nil, err
	}
	if err := oneOf("returnValues", in.ReturnValues, "ALL_NEW", "UPDATED_OLD", "ALL_OLD", "NONE", "UPDATED_NEW"); err != nil {
		return nil, err
	}
	if oneOf("", in.ReturnValues, returns...) != nil {
		return nil, invalid("ReturnValues can only be ALL_OLD or NONE")
	}
	op, err := s.writeOp(kind, &in)
	if err != nil {
		return nil, err
	}
	t := op.table
	t.mu.Lock()
	if t.deleted {
		t.mu.Unlock()
		return nil, noTable()
	}
	o, err := op.plan()
	if err != nil {
		t.mu.Unlock()
		return nil, err
	}
	w := op.carryOut(&o, o.row())
	t.mu.Unlock()
	u.wrote(t.name, w, 1)
	out := []byte{'{'}
	if raw := op.returned(in.ReturnValues, &o); raw != nil {
		out = member(out, "Attributes", raw)
	}
	return append(u.one(out), '}'), nil
}

// returned is the wire form of the attributes that ReturnValues asks for.
func (op *writeOp) returned(values string, o *outcome) []byte {
	var part attrs
	switch values {
	case "ALL_OLD":
		if o.old != nil {
			return o.old.json
		}
		return nil
	case "ALL_NEW":
		part = o.newItem
	case "UPDATED_OLD":
		part = project(o.oldItem, op.update.paths)
	case "UPDATED_NEW":
		part = project(o.newItem, op.update.paths)
	}
	if len(part) == 0 {
		return nil
	}
	return part.appendJSON(nil)
}

func (s *Service) putItem(body []byte) ([]byte, *world.Error) {
	return s.write(opPut, body, "ALL_OLD", "NONE")
}

func (s *Service) deleteItem(body []byte) ([]byte, *world.Error) {
	return s.write(opDelete, body, "ALL_OLD", "NONE")
}

func (s *Service) updateItem(body []byte) ([]byte, *world.Error) {
	return s.write(opUpdate, body, "ALL_NEW", "UPDATED_OLD", "ALL_OLD", "NONE", "UPDATED_NEW")
}
