package main

import (
	"context"
	"os"
	"strconv"

	"github.com/gas-restore/gas/bench/internal/benchworld"
	localaws "github.com/gas-restore/gas/internal/local/aws"
	standin "github.com/gas-restore/gas/internal/local/aws/glacier"
)

type world struct{ *benchworld.World }

// planted is what the world answers to a size: an archive.
type planted struct{ ID, TreeHash string }

// serveWorld makes this process the world if the environment says so. Its argument is the
// folder for a profile.
func serveWorld() (was bool, err error) {
	end := func() {}
	defer func() { end() }()
	return benchworld.Serve(func(srv *localaws.Server) (err error) {
		srv.Glacier.SetDelay(standin.Expedited, 0, 0)
		end, err = profile(os.Args[1], "world")
		return err
	}, func(srv *localaws.Server, size string) (any, error) {
		n, err := strconv.ParseInt(size, 10, 64)
		if err != nil {
			return nil, err
		}
		var p planted
		p.ID, p.TreeHash, err = srv.Glacier.AddSparse(benchworld.Vault, n)
		return p, err
	})
}

func startWorld(ctx context.Context, profiles string) (*world, error) {
	w, err := benchworld.Start(ctx, "bench-restore", profiles)
	return &world{w}, err
}

// plant puts a sparse archive into the vault.
func (w *world) plant(size int64) (p planted, err error) {
	err = w.Ask(strconv.FormatInt(size, 10), &p)
	return p, err
}
