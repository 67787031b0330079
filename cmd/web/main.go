// Web is the site on which users see their results and become Premium.
// It is configured by environment variables; see docs/configuration.md, or run `gas check`.
package main

import (
	"os"

	"github.com/gas-restore/gas/internal/config"
	"github.com/gas-restore/gas/internal/wiring"
)

func main() { os.Exit(wiring.Main(config.Web, wiring.Web)) }
