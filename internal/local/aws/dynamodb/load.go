package dynamodb

import (
	"fmt"
	"iter"
)

// Load puts items, in their wire form, into a table. It does the same as BatchWriteItem,
// without a request for every 25 items, so that a benchmark with a million items can
// begin soon.
func (s *Service) Load(table string, items iter.Seq[[]byte]) error {
	for raw := range items {
		op, err := s.writeOp(opPut, &writeRequest{TableName: table, Item: raw})
		if err != nil {
			return fmt.Errorf("load %s: %w", table, err)
		}
		if err := op.load(); err != nil {
			return fmt.Errorf("load %s: %w", table, err)
		}
	}
	return nil
}

func (op *writeOp) load() error {
	op.table.mu.Lock()
	defer op.table.mu.Unlock()
	if op.table.deleted {
		return noTable()
	}
	o, err := op.plan()
	if err != nil {
		return err
	}
	op.carryOut(&o, o.row())
	return nil
}
