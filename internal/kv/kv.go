// Package kv is the port to a small durable key-value store that all workers share.
package kv

import "context"

// Store is a bucket of keys. An error of kind NotFound says that the key has no value.
type Store interface {
	// Get returns the value at key and its revision, or an error of kind NotFound.
	Get(ctx context.Context, key string) (value []byte, revision uint64, err error)
	// Put writes the value. It replaces what is there.
	Put(ctx context.Context, key string, value []byte) error
	// Swap writes the value if the key still has this revision; 0 means that the key has
	// no value. Else the error is of kind Conflict.
	Swap(ctx context.Context, key string, value []byte, revision uint64) error
}
