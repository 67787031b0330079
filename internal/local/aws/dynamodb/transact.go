package dynamodb

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/gas-restore/gas/internal/local/aws/store"
	"github.com/gas-restore/gas/internal/local/aws/world"
)

// Limits of transactions.
const (
	maxTransact      = 100
	maxTransactBytes = 4 << 20
	tokenLife        = 10 * time.Minute
)

// lockOrder returns the tables once each, in the order in which every
// transaction locks them.
func lockOrder(tables []*table) []*table {
	slices.SortFunc(tables, func(a, b *table) int { return cmp.Compare(a.id, b.id) })
	return slices.Compact(tables)
}

func (s *Service) transactGet(body []byte) ([]byte, *world.Error) {
	var in struct {
		TransactItems []struct {
			Get *struct {
				TableName                string
				Key                      json.RawMessage
				ProjectionExpression     *string
				ExpressionAttributeNames map[string]string
			}
		}
		ReturnConsumedCapacity string
	}
	if err := decode(body, &in); err != nil {
		return nil, err
	}
	u, err := newUsage(in.ReturnConsumedCapacity)
	if err != nil {
		return nil, err
	}
	if err := checkTransactCount(len(in.TransactItems)); err != nil {
		return nil, err
	}
	var ops []*getOp
	var tables []*table
	for _, i := range in.TransactItems {
		if i.Get == nil {
			return nil, invalid("1 validation error detected: Value null at 'transactItems.member.get' failed to satisfy constraint: Member must not be null")
		}
		op, err := s.getOp(i.Get.TableName, i.Get.Key, i.Get.ProjectionExpression, i.Get.ExpressionAttributeNames)
		if err != nil {
			return nil, err
		}
		ops = append(ops, op)
		tables = append(tables, op.table)
	}
	if err := distinct(ops, func(op *getOp) (*table, string) { return op.table, op.position }); err != nil {
		return nil, err
	}
	tables = lockOrder(tables)
	for _, t := range tables {
		t.mu.RLock()
	}
	rows := make([]*row, len(ops))
	var gone bool
	for i, op := range ops {
		rows[i] = op.run()
		gone = gone || op.table.deleted
	}
	for _, t := range tables {
		t.mu.RUnlock()
	}
	if gone {
		return nil, noTable()
	}
	out := []byte(`{"Responses":[`)
	total := 0
	for i, r := range rows {
		if i > 0 {
			out = append(out, ',')
		}
		out = append(out, '{')
		size := 0
		if r != nil {
			size = r.bytes
			out = member(out, "Item", ops[i].shape(r))
		}
		total += size
		out = append(out, '}')
		u.read(ops[i].table.name, "", size, 2)
	}
	if total > maxTransactBytes {
		return nil, invalid("Collective size of items in transaction exceeds the limit of 4 MB")
	}
	return append(u.all(append(out, ']')), '}'), nil
}

func checkTransactCount(n int) *world.Error {
	if n < 1 {
		return constraintError("[]", "transactItems", "Member must have length greater than or equal to 1")
	}
	if n > maxTransact {
		return invalid("1 validation error detected: Value at 'transactItems' failed to satisfy constraint: Member must have length less than or equal to %d", maxTransact)
	}
	return nil
}

// distinct refuses operations on the same item.
func distinct[T any](ops []T, of func(T) (*table, string)) *world.Error {
	type place struct {
		table    *table
		position string
	}
	seen := map[place]bool{}
	for _, op := range ops {
		t, position := of(op)
		if seen[place{t, position}] {
			return invalid("Transaction request cannot include multiple operations on one item")
		}
		seen[place{t, position}] = true
	}
	return nil
}

type transactEntry struct {
	ConditionCheck, Put, Delete, Update *writeRequest
}

// writeOp returns the one operation of the entry.
func (e *transactEntry) writeOp(s *Service) (*writeOp, *world.Error) {
	var kind string
	var in *writeRequest
	for k, r := range map[string]*writeRequest{opCheck: e.ConditionCheck, opPut: e.Put, opDelete: e.Delete, opUpdate: e.Update} {
		if r == nil {
			continue
		}
		if in != nil {
			return nil, invalid("TransactItems can only contain one of Check, Put, Update or Delete")
		}
		kind, in = k, r
	}
	if in == nil {
		return nil, invalid("TransactItems can only contain one of Check, Put, Update or Delete")
	}
	if in.ReturnValues != "" || in.ReturnConsumedCapacity != "" || in.ReturnItemCollectionMetrics != "" {
		return nil, invalid("ReturnValues, ReturnConsumedCapacity and ReturnItemCollectionMetrics are not parameters of a transaction's item")
	}
	if kind == opUpdate && in.UpdateExpression == nil {
		return nil, invalid("The parameter 'UpdateExpression' is required but was not present in the request")
	}
	return s.writeOp(kind, in)
}

// redoRecord is a transaction in the journal until all its writes are there:
// after a crash between two of them, it is done again.
type redoRecord struct {
	Writes []redoWrite
	Token  *tokenRecord
}

type redoWrite struct {
	Table    string // its ID
	Position string
	Row      *row // nil: removed
}

// finish does the transactions that a crash interrupted.
func (s *Service) finish() {
	byID := map[string]*table{}
	for _, t := range s.tables {
		byID[t.id] = t
	}
	var ids []string
	s.redo.Ascend("", func(id string, r redoRecord) bool {
		for _, w := range r.Writes {
			t := byID[w.Table]
			if t == nil {
				continue
			}
			old, _ := t.items.Get(w.Position)
			var item attrs
			if w.Row != nil {
				item = w.Row.restore()
			}
			t.set(w.Position, old, w.Row, nil, item)
		}
		if r.Token != nil {
			s.tokens.keep(*r.Token)
		}
		ids = append(ids, id)
		return true
	})
	for _, id := range ids {
		s.redo.Delete(id)
	}
}

func (s *Service) transactWrite(body []byte) ([]byte, *world.Error) {
	var in struct {
		TransactItems               []transactEntry
		ClientRequestToken          string
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
	if err := checkTransactCount(len(in.TransactItems)); err != nil {
		return nil, err
	}
	if len(in.ClientRequestToken) > 36 {
		return nil, constraintError(in.ClientRequestToken, "clientRequestToken", "Member must have length less than or equal to 36")
	}
	var ops []*writeOp
	total := 0
	for i := range in.TransactItems {
		op, err := in.TransactItems[i].writeOp(s)
		if err != nil {
			return nil, err
		}
		total += op.item.size()
		ops = append(ops, op)
	}
	if total > maxTransactBytes {
		return nil, invalid("Collective size of items in transaction exceeds the limit of 4 MB")
	}
	if err := distinct(ops, func(op *writeOp) (*table, string) { return op.table, op.position }); err != nil {
		return nil, err
	}
	done := []byte{'{'}
	if in.ClientRequestToken == "" {
		if err := s.transact(ops, u, nil); err != nil {
			return nil, err
		}
		return append(u.all(done), '}'), nil
	}
	sum := sha256.Sum256(canonical(in.TransactItems))
	token := tokenRecord{Token: in.ClientRequestToken, Request: hex.EncodeToString(sum[:])}
	before, err := s.tokens.begin(token)
	if err != nil {
		return nil, err
	}
	if before {
		for _, op := range ops {
			u.read(op.table.name, "", 0, 2)
		}
		return append(u.all(done), '}'), nil
	}
	token.Until = s.world.Clock.Now().Add(tokenLife)
	err = s.transact(ops, u, &token)
	s.tokens.end(token)
	if err != nil {
		return nil, err
	}
	return append(u.all(done), '}'), nil
}

// canonical returns the JSON of v, in which the names of an object stand in their order
// at every depth: what is the same request may be written in another order.
func canonical(v any) []byte {
	dec := json.NewDecoder(bytes.NewReader(marshal(v)))
	dec.UseNumber()
	var sorted any
	if err := dec.Decode(&sorted); err != nil {
		panic("dynamodb: " + err.Error()) // it was JSON
	}
	return marshal(sorted)
}

// transact carries out all operations, or none.
func (s *Service) transact(ops []*writeOp, u *usage, token *tokenRecord) *world.Error {
	var tables []*table
	for _, op := range ops {
		tables = append(tables, op.table)
	}
	for _, t := range lockOrder(tables) {
		t.mu.Lock()
		defer t.mu.Unlock()
	}
	outcomes := make([]outcome, len(ops))
	reasons := make([]map[string]any, len(ops))
	codes := make([]string, len(ops))
	failed := false
	for i, op := range ops {
		if op.table.deleted {
			return noTable()
		}
		var err *world.Error
		outcomes[i], err = op.plan()
		codes[i] = "None"
		if err != nil {
			failed = true
			codes[i] = map[string]string{"ConditionalCheckFailedException": "ConditionalCheckFailed"}[err.Code]
			if codes[i] == "" {
				codes[i] = "ValidationError"
			}
			reasons[i] = map[string]any{"Code": codes[i], "Message": err.Message}
			if item, ok := err.Fields["Item"]; ok {
				reasons[i]["Item"] = item
			}
			continue
		}
		reasons[i] = map[string]any{"Code": "None"}
	}
	if failed {
		err := world.Errorf(400, "TransactionCanceledException", "Transaction cancelled, please refer cancellation reasons for specific reasons [%s]", strings.Join(codes, ", "))
		err.Fields = map[string]any{"CancellationReasons": reasons}
		return err
	}
	rows := make([]*row, len(ops))
	redo := redoRecord{Token: token}
	for i, o := range outcomes {
		rows[i] = o.row()
		if !o.nothing {
			redo.Writes = append(redo.Writes, redoWrite{ops[i].table.id, o.position, rows[i]})
		}
	}
	id := world.ID(8)
	if s.world.DB.Dir() != "" {
		s.redo.Put(id, redo)
	}
	for i, o := range outcomes {
		u.wrote(ops[i].table.name, ops[i].carryOut(&o, rows[i]), 2)
	}
	if token != nil {
		s.tokens.keep(*token)
	}
	s.redo.Delete(id)
	return nil
}

// tokens remembers the transactions done, by the client's token, as long as
// AWS does.
type tokens struct {
	world *world.World

	mu     sync.Mutex // guards what follows
	rows   *store.Table[tokenRecord]
	order  []tokenRecord // by age
	inWork map[string]bool
}

type tokenRecord struct {
	Token   string
	Request string // the request's hash
	Until   time.Time
}

func (t *tokens) open(w *world.World) (err error) {
	t.world, t.inWork = w, map[string]bool{}
	if t.rows, err = store.NewTable[tokenRecord](w.DB, "dynamodb.tokens"); err != nil {
		return err
	}
	t.order = t.rows.Prefix("")
	slices.SortFunc(t.order, func(a, b tokenRecord) int { return a.Until.Compare(b.Until) })
	return nil
}

// begin tells whether the request has been carried out before.
func (t *tokens) begin(r tokenRecord) (before bool, _ *world.Error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	now := t.world.Clock.Now()
	for len(t.order) > 0 && !t.order[0].Until.After(now) {
		t.rows.Delete(t.order[0].Token)
		t.order = t.order[1:]
	}
	if old, ok := t.rows.Get(r.Token); ok {
		if old.Request != r.Request {
			return false, world.Errorf(400, "IdempotentParameterMismatchException", "Request parameters do not match those of the earlier request with the same client request token")
		}
		return true, nil
	}
	if t.inWork[r.Token] {
		return false, world.Errorf(400, "TransactionInProgressException", "Transaction is in progress")
	}
	t.inWork[r.Token] = true
	return false, nil
}

// keep remembers that the request was carried out.
func (t *tokens) keep(r tokenRecord) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if _, ok := t.rows.Get(r.Token); ok {
		return
	}
	t.rows.Put(r.Token, r)
	t.order = append(t.order, r)
}

func (t *tokens) end(r tokenRecord) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.inWork, r.Token)
}
