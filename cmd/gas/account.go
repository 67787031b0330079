package main

import (
	"context"
	"fmt"
	"os"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/gas-restore/gas/internal/archive"
	"github.com/gas-restore/gas/internal/aws/awsclient"
	"github.com/gas-restore/gas/internal/aws/dynamodb"
	"github.com/gas-restore/gas/internal/config"
	"github.com/gas-restore/gas/internal/operator/accounts"
	"github.com/gas-restore/gas/internal/wiring"
	"github.com/gas-restore/gas/pkg/events"
)

type accountCmd struct {
	Import accountImportCmd `cmd:"" help:"Make the accounts that a file lists, for users of another system."`
}

type accountImportCmd struct {
	File    string        `arg:"" help:"A .csv with a header, or a .jsonl with an object a line: user_id, and role (free_user or premium_user), name and email if they are known."`
	DryRun  bool          `help:"Read the file and the accounts, and make none."`
	Timeout time.Duration `default:"1h" help:"How long to try."`
	actor
}

// importAtOnce is the number of accounts that one call reads, importCalls the number of
// calls at a time.
const (
	importAtOnce = 100
	importCalls  = 16
)

func (c *accountImportCmd) Run(ctx context.Context, std streams, line commandLine) error {
	ctx, cancel := context.WithTimeout(ctx, c.Timeout)
	defer cancel()
	// Read the whole file before the first write.
	total, ignored, err := c.each(nil)
	if err != nil {
		return err
	}
	cfg, err := config.Load(config.Restore)
	if err != nil {
		return err
	}
	sdk, err := awsclient.Load(ctx, awsclient.Options{})
	if err != nil {
		return err
	}
	if len(ignored) > 0 {
		fmt.Fprintf(std.err, "gas: ignored, because nothing here needs them: %s\n", strings.Join(ignored, ", "))
	}
	in := importer{catalog: dynamodb.New(sdk, wiring.Tables(cfg)), dry: c.DryRun}
	made := "were made"
	if c.DryRun {
		made = "would be made"
		err = c.all(ctx, &in)
	} else {
		b, berr := operatorBus(ctx, cfg, "gas-account-import")
		if berr != nil {
			return berr
		}
		defer b.Close()
		err = recorded(ctx, b, c.act(line, events.ActImport, "", ""), func(ctx context.Context) (string, error) {
			err := c.all(ctx, &in)
			return fmt.Sprintf("%s in the file: %d %s, %d are there already", count(total, "account"), in.made, made, in.there), err
		})
	}
	fmt.Fprintf(std.out, "%d accounts are in the file: %d %s, %d are there already.\n", total, in.made, made, in.there)
	if len(in.others) > 0 {
		fmt.Fprintf(std.out, "%d of those have another role than in the file. A role stays as it is: the site changes it, with the plan that belongs to it. Such as %s.\n", in.differ, strings.Join(in.others, ", "))
	}
	if err != nil {
		return fmt.Errorf("%w; run it again, what is made stays", err)
	}
	return nil
}

// all makes the accounts of the file.
func (c *accountImportCmd) all(ctx context.Context, in *importer) error {
	var batch []archive.Account
	_, _, err := c.each(func(a archive.Account) error {
		if batch = append(batch, a); len(batch) < importAtOnce {
			return nil
		}
		err := in.make(ctx, batch)
		batch = nil
		return err
	})
	if err != nil {
		return err
	}
	return in.make(ctx, batch)
}

// each reads the file's accounts. It returns their number and the fields that are
// ignored.
func (c *accountImportCmd) each(do func(archive.Account) error) (int, []string, error) {
	f, err := os.Open(c.File)
	if err != nil {
		return 0, nil, err
	}
	defer f.Close()
	total := 0
	ignored, err := accounts.Read(f, c.File, func(a archive.Account) error {
		total++
		if do == nil {
			return nil
		}
		return do(a)
	})
	return total, ignored, err
}

// importer makes the missing accounts.
type importer struct {
	catalog *dynamodb.Catalog
	dry     bool

	made, there, differ int
	others              []string // the first accounts with another role than in the file
}

func (in *importer) make(ctx context.Context, batch []archive.Account) error {
	ids := make([]events.UserID, len(batch))
	for i, a := range batch {
		ids[i] = a.ID
	}
	found, err := in.catalog.AccountsOf(ctx, ids)
	if err != nil {
		return err
	}
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(importCalls)
	for _, a := range batch {
		if have, there := found[a.ID]; there {
			in.there++
			if have.Role != a.Role {
				if in.differ++; len(in.others) < 3 {
					in.others = append(in.others, fmt.Sprintf("%s (%s, in the file %s)", a.ID, have.Role, a.Role))
				}
			}
			continue
		}
		in.made++
		if !in.dry {
			g.Go(func() error { return in.catalog.EnsureAccount(ctx, a) })
		}
	}
	return g.Wait()
}
