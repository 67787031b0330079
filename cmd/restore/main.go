// Restore brings what Glacier retrieved back to S3.
// It is configured by environment variables; see docs/configuration.md, or run `gas check`.
package main

import (
	"os"

	"github.com/gas-restore/gas/internal/config"
	"github.com/gas-restore/gas/internal/wiring"
)

func main() { os.Exit(wiring.Main(config.Restore, wiring.Restore)) }
