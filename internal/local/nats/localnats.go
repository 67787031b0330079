// Package localnats runs the NATS server of nats.conf inside this process.
package localnats

import (
	"cmp"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	gas "github.com/gas-restore/gas"
)

// Start starts a server with the settings of nats.conf, but its store is in dir, and it
// listens on addr (host:port). Port 0 takes a free port.
func Start(dir, addr string) (*server.Server, error) {
	opts := &server.Options{}
	if err := opts.ProcessConfigString(gas.NATSConf); err != nil {
		return nil, fmt.Errorf("read nats.conf: %w", err)
	}
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, fmt.Errorf("nats address: %w", err)
	}
	n, err := net.LookupPort("tcp", port)
	if err != nil {
		return nil, fmt.Errorf("nats address: %w", err)
	}
	if n != 0 {
		// If the address is taken, the server would end the whole process.
		probe, err := net.Listen("tcp", addr)
		if err != nil {
			return nil, fmt.Errorf("listen for nats: %w", err)
		}
		probe.Close()
	}
	opts.Host, opts.Port, opts.HTTPPort = host, cmp.Or(n, server.RANDOM_PORT), 0
	opts.StoreDir = dir
	opts.NoSigs, opts.NoLog = true, true
	ns, err := server.NewServer(opts)
	if err != nil {
		return nil, fmt.Errorf("start nats: %w", err)
	}
	ns.Start()
	if !ns.ReadyForConnections(10 * time.Second) {
		Stop(ns)
		return nil, errors.New("start nats: not ready after 10 s")
	}
	return ns, nil
}

// Stop stops the server and waits for it.
func Stop(ns *server.Server) {
	ns.Shutdown()
	ns.WaitForShutdown()
}
