package wiring

import (
	"github.com/aws/aws-sdk-go-v2/aws"

	"github.com/gas-restore/gas/internal/aws/cold"
	"github.com/gas-restore/gas/internal/aws/glacier"
	"github.com/gas-restore/gas/internal/aws/s3cold"
	"github.com/gas-restore/gas/internal/config"
)

// Store returns the cold storage that the configuration names: the vault, the bucket of
// archives, or both.
func Store(c config.Config, cfg aws.Config) cold.Store {
	var s cold.Store
	if c.Vault != "" {
		s.Vault = glacier.New(cfg, c.Vault, c.RestoreTopic)
	}
	if c.ArchiveBucket != "" {
		s.Objects = s3cold.New(cfg, c.ArchiveBucket, c.ArchiveDays)
	}
	return s
}
