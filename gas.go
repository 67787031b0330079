// Package gas holds what the repository's commands embed.
package gas

import _ "embed"

// NATSConf is nats.conf: the one server configuration, for `nats-server -c
// nats.conf` and for the server that `gas up` embeds.
//
//go:embed nats.conf
var NATSConf string
