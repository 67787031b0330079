package wiring

import (
	"strings"

	"github.com/gas-restore/gas/internal/config"
	"github.com/gas-restore/gas/internal/estate"
)

// Place returns where the things of the configuration are. Partition, region and account are
// those of the topics; they are empty if the configuration names no topic.
func Place(cfg config.Config) estate.Place {
	p := estate.Place{
		Tables:  estate.Names{Jobs: cfg.JobTable, Accounts: cfg.AccountTable, Plans: cfg.PlanTable},
		Results: cfg.Bucket, Archives: cfg.ArchiveBucket, Vault: cfg.Vault,
		PremiumTopic: estate.LastOf(cfg.PremiumTopic), RestoreTopic: estate.LastOf(cfg.RestoreTopic),
		PremiumQueue: estate.LastOf(cfg.PremiumQueue), RestoreQueue: estate.LastOf(cfg.RestoreQueue),
	}
	if parts := strings.Split(cfg.PremiumTopic, ":"); len(parts) == 6 {
		p.Partition, p.Region, p.Account = parts[1], parts[3], parts[4]
	}
	return p
}
