package benchworld

import (
	"context"
	"strings"
	"sync"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsmiddleware "github.com/aws/aws-sdk-go-v2/aws/middleware"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/aws/smithy-go/middleware"
)

// Meter counts the calls that are made with a configuration, and what DynamoDB says
// that they consume.
type Meter struct {
	mu    sync.Mutex // guards what follows
	now   string
	spent map[string]Spent
}

// Spent is what was called and consumed: calls by operation, and units.
type Spent struct {
	Calls                 map[string]int
	ReadUnits, WriteUnits float64
}

// Measured returns the configuration with a meter in it.
func Measured(cfg aws.Config) (aws.Config, *Meter) {
	m := &Meter{spent: map[string]Spent{}}
	cfg.APIOptions = append(cfg.APIOptions[:len(cfg.APIOptions):len(cfg.APIOptions)], func(s *middleware.Stack) error {
		return s.Initialize.Add(middleware.InitializeMiddlewareFunc("Meter", m.handle), middleware.After)
	})
	return cfg, m
}

// Phase files what comes under a name, until the next.
func (m *Meter) Phase(name string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.now = name
}

// Take returns what was spent in each phase since the last time.
func (m *Meter) Take() map[string]Spent {
	m.mu.Lock()
	defer m.mu.Unlock()
	was := m.spent
	m.spent = map[string]Spent{}
	return was
}

func (m *Meter) handle(ctx context.Context, in middleware.InitializeInput, next middleware.InitializeHandler) (middleware.InitializeOutput, middleware.Metadata, error) {
	const total = types.ReturnConsumedCapacityTotal
	switch p := in.Parameters.(type) {
	case *dynamodb.GetItemInput:
		p.ReturnConsumedCapacity = total
	case *dynamodb.BatchGetItemInput:
		p.ReturnConsumedCapacity = total
	case *dynamodb.QueryInput:
		p.ReturnConsumedCapacity = total
	case *dynamodb.ScanInput:
		p.ReturnConsumedCapacity = total
	case *dynamodb.PutItemInput:
		p.ReturnConsumedCapacity = total
	case *dynamodb.UpdateItemInput:
		p.ReturnConsumedCapacity = total
	}
	out, md, err := next.HandleInitialize(ctx, in)
	var read, write []types.ConsumedCapacity
	one := func(to *[]types.ConsumedCapacity, c *types.ConsumedCapacity) {
		if c != nil {
			*to = append(*to, *c)
		}
	}
	switch r := out.Result.(type) {
	case *dynamodb.GetItemOutput:
		one(&read, r.ConsumedCapacity)
	case *dynamodb.BatchGetItemOutput:
		read = r.ConsumedCapacity
	case *dynamodb.QueryOutput:
		one(&read, r.ConsumedCapacity)
	case *dynamodb.ScanOutput:
		one(&read, r.ConsumedCapacity)
	case *dynamodb.PutItemOutput:
		one(&write, r.ConsumedCapacity)
	case *dynamodb.UpdateItemOutput:
		one(&write, r.ConsumedCapacity)
	}
	m.count(strings.ToLower(awsmiddleware.GetServiceID(ctx))+"."+awsmiddleware.GetOperationName(ctx), read, write)
	return out, md, err
}

func (m *Meter) count(call string, read, write []types.ConsumedCapacity) {
	m.mu.Lock()
	defer m.mu.Unlock()
	s := m.spent[m.now]
	if s.Calls == nil {
		s.Calls = map[string]int{}
	}
	s.Calls[call]++
	for _, c := range read {
		s.ReadUnits += aws.ToFloat64(c.CapacityUnits)
	}
	for _, c := range write {
		s.WriteUnits += aws.ToFloat64(c.CapacityUnits)
	}
	m.spent[m.now] = s
}
