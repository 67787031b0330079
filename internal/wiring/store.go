package wiring

import (
	"github.com/aws/aws-sdk-go-v2/aws"

	"github.com/gas-restore/gas/internal/aws/cold"
	"github.com/gas-restore/gas/internal/aws/glacier"
	"github.com/gas-restore/gas/internal/aws/s3cold"
)

// store returns the cold storage: the vault, the bucket of archives, or both.
func (e Env) store(cfg aws.Config) cold.Store {
	var s cold.Store
	if e.Config.Vault != "" {
		s.Vault = glacier.New(cfg, e.Config.Vault, e.Config.RestoreTopic)
	}
	if e.Config.ArchiveBucket != "" {
		s.Objects = s3cold.New(cfg, e.Config.ArchiveBucket, e.Config.ArchiveDays)
	}
	return s
}
