package benchworld

import (
	"flag"
	"fmt"
)

// Store is the kind of cold storage that a benchmark measures.
type Store string

// The stores.
const (
	InVault Store = "vault"
	InS3    Store = "s3" // the storage class GLACIER
)

// StoreFlag returns what --store says, after flag.Parse. The default is the vault.
func StoreFlag() *Store {
	s := InVault
	flag.Func("store", "cold storage: vault, or s3 for the storage class GLACIER (default vault)", func(v string) error {
		s = Store(v)
		if s != InVault && s != InS3 {
			return fmt.Errorf("want %s or %s", InVault, InS3)
		}
		return nil
	})
	return &s
}
