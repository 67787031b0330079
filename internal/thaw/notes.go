package thaw

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/gas-restore/gas/internal/fault"
)

// Notes is a small durable store that all workers share.
type Notes interface {
	// Get returns the note at key and its revision; an error of kind NotFound if
	// there is none.
	Get(ctx context.Context, key string) (note []byte, revision uint64, err error)
	// Put writes the note whatever is there.
	Put(ctx context.Context, key string, note []byte) error
	// Swap writes the note if the one there has this revision, 0 being none; else
	// the error is of kind Conflict.
	Swap(ctx context.Context, key string, note []byte, revision uint64) error
	// Delete removes the note, if there is one.
	Delete(ctx context.Context, key string) error
}

// read decodes the note at key into v. found is false if there is none.
func read(ctx context.Context, n Notes, key string, v any) (revision uint64, found bool, err error) {
	data, revision, err := n.Get(ctx, key)
	if fault.Is(err, fault.NotFound) {
		return 0, false, nil
	}
	if err != nil {
		return 0, false, err
	}
	if err := json.Unmarshal(data, v); err != nil {
		return revision, false, fmt.Errorf("note %s: %w", key, err)
	}
	return revision, true, nil
}

func write(ctx context.Context, n Notes, key string, v any) error {
	data, err := json.Marshal(v)
	if err != nil {
		return err
	}
	return n.Put(ctx, key, data)
}
