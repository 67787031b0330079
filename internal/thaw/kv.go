package thaw

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/gas-restore/gas/internal/fault"
	"github.com/gas-restore/gas/internal/kv"
)

// read decodes the value at key into v. found is false if the key has none.
func read(ctx context.Context, store kv.Store, key string, v any) (revision uint64, found bool, err error) {
	data, revision, err := store.Get(ctx, key)
	if fault.Is(err, fault.NotFound) {
		return 0, false, nil
	}
	if err != nil {
		return 0, false, err
	}
	if err := json.Unmarshal(data, v); err != nil {
		return revision, false, fmt.Errorf("value of key %s: %w", key, err)
	}
	return revision, true, nil
}

func write(ctx context.Context, store kv.Store, key string, v any) error {
	data, err := json.Marshal(v)
	if err != nil {
		return err
	}
	return store.Put(ctx, key, data)
}
