// Bridge carries SNS messages, from SQS and by webhook, into JetStream.
// It is configured by environment variables; see docs/configuration.md, or run `gas check`.
package main

import (
	"os"

	"github.com/gas-restore/gas/internal/config"
	"github.com/gas-restore/gas/internal/wiring"
)

func main() { os.Exit(wiring.Main(config.Bridge, wiring.Bridge)) }
