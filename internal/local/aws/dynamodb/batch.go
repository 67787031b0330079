package dynamodb

import (
	"encoding/json"
	"maps"
	"slices"

	"github.com/gas-restore/gas/internal/local/aws/world"
)

// Limits of the batch operations.
const (
	maxBatchGet   = 100
	maxBatchWrite = 25
	maxBatchBytes = 16 << 20
)

type batchGetTable struct {
	Keys                     []json.RawMessage
	ConsistentRead           bool
	ProjectionExpression     *string           `json:",omitempty"`
	ExpressionAttributeNames map[string]string `json:",omitempty"`
}

func (s *Service) batchGet(body []byte) ([]byte, *world.Error) {
	var in struct {
		RequestItems           map[string]batchGetTable
		ReturnConsumedCapacity string
	}
	if err := decode(body, &in); err != nil {
		return nil, err
	}
	u, err := newUsage(in.ReturnConsumedCapacity)
	if err != nil {
		return nil, err
	}
	total := 0
	for _, r := range in.RequestItems {
		if len(r.Keys) == 0 {
			return nil, constraintError("[]", "requestItems.member.keys", "Member must have length greater than or equal to 1")
		}
		total += len(r.Keys)
	}
	if total == 0 {
		return nil, constraintError("{}", "requestItems", "Member must have length greater than or equal to 1")
	}
	if total > maxBatchGet {
		return nil, invalid("Too many items requested for the BatchGetItem call")
	}
	names := slices.Sorted(maps.Keys(in.RequestItems))
	ops := map[string][]*getOp{}
	for _, name := range names {
		r := in.RequestItems[name]
		seen := map[string]bool{}
		for _, key := range r.Keys {
			op, err := s.getOp(name, key, r.ProjectionExpression, r.ExpressionAttributeNames)
			if err != nil {
				return nil, err
			}
			if seen[op.position] {
				return nil, invalid("Provided list of item keys contains duplicates")
			}
			seen[op.position] = true
			ops[name] = append(ops[name], op)
		}
	}
	responses := map[string]json.RawMessage{}
	left := map[string]batchGetTable{}
	bytes := 0
	for _, name := range names {
		r := in.RequestItems[name]
		list := []byte{'['}
		t := ops[name][0].table
		if _, err := t.read(""); err != nil {
			return nil, err
		}
		for i, op := range ops[name] {
			row := op.run()
			size := 0
			if row != nil {
				size = row.bytes
			}
			if bytes += size; bytes > maxBatchBytes {
				rest := r
				rest.Keys = r.Keys[i:]
				left[name] = rest
				break
			}
			u.read(t.name, "", size, readFactor(r.ConsistentRead))
			if row == nil {
				continue
			}
			if len(list) > 1 {
				list = append(list, ',')
			}
			list = append(list, op.shape(row)...)
		}
		t.mu.RUnlock()
		responses[name] = append(list, ']')
	}
	out := member([]byte{'{'}, "Responses", marshal(responses))
	out = member(out, "UnprocessedKeys", marshal(left))
	return append(u.all(out), '}'), nil
}

type batchWriteEntry struct {
	PutRequest    *struct{ Item json.RawMessage }
	DeleteRequest *struct{ Key json.RawMessage }
}

func (s *Service) batchWrite(body []byte) ([]byte, *world.Error) {
	var in struct {
		RequestItems                map[string][]batchWriteEntry
		ReturnConsumedCapacity      string
		ReturnItemCollectionMetrics string
	}
	if err := decode(body, &in); err != nil {
		return nil, err
	}
	u, err := newUsage(in.ReturnConsumedCapacity)
	if err != nil {
		return nil, err
	}
	total := 0
	for _, list := range in.RequestItems {
		if len(list) == 0 {
			return nil, constraintError("[]", "requestItems.member", "Member must have length greater than or equal to 1")
		}
		total += len(list)
	}
	if total == 0 {
		return nil, constraintError("{}", "requestItems", "Member must have length greater than or equal to 1")
	}
	if total > maxBatchWrite {
		return nil, invalid("Too many items requested for the BatchWriteItem call")
	}
	var ops []*writeOp
	for _, name := range slices.Sorted(maps.Keys(in.RequestItems)) {
		seen := map[string]bool{}
		for _, e := range in.RequestItems[name] {
			kind, w := opPut, &writeRequest{TableName: name}
			switch {
			case (e.PutRequest == nil) == (e.DeleteRequest == nil):
				return nil, invalid("Supplied AttributeValue has more than one datatypes set: a write request needs one of PutRequest and DeleteRequest")
			case e.PutRequest != nil:
				w.Item = e.PutRequest.Item
			default:
				kind, w.Key = opDelete, e.DeleteRequest.Key
			}
			op, err := s.writeOp(kind, w)
			if err != nil {
				return nil, err
			}
			if seen[op.position] {
				return nil, invalid("Provided list of item keys contains duplicates")
			}
			seen[op.position] = true
			ops = append(ops, op)
		}
	}
	// If an index refuses an item, the call fails before the first write.
	for _, op := range ops {
		if _, err := op.table.read(""); err != nil {
			return nil, err
		}
		var err *world.Error
		if !op.remove {
			err = op.table.check(op.item)
		}
		op.table.mu.RUnlock()
		if err != nil {
			return nil, err
		}
	}
	for _, op := range ops {
		t := op.table
		t.mu.Lock()
		o, err := op.plan()
		if err == nil && t.deleted {
			err = noTable()
		}
		if err != nil {
			t.mu.Unlock()
			return nil, err
		}
		w := op.carryOut(&o, o.row())
		t.mu.Unlock()
		u.wrote(t.name, w, 1)
	}
	return append(u.all(member([]byte{'{'}, "UnprocessedItems", []byte("{}"))), '}'), nil
}
