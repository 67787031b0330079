package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/gas-restore/gas/internal/archive"
	"github.com/gas-restore/gas/internal/aws/awserase"
	"github.com/gas-restore/gas/internal/bus"
	"github.com/gas-restore/gas/internal/config"
	"github.com/gas-restore/gas/internal/fault"
	"github.com/gas-restore/gas/internal/operator/acts"
	"github.com/gas-restore/gas/internal/operator/deadletter"
	"github.com/gas-restore/gas/internal/operator/erase"
	"github.com/gas-restore/gas/internal/web"
	"github.com/gas-restore/gas/pkg/events"
)

type eraseCmd struct {
	User    string        `arg:"" help:"Delete the archives, files, jobs, messages, sessions and the account of this user."`
	DryRun  bool          `help:"Show what would be deleted, and do nothing."`
	Yes     bool          `short:"y" help:"Delete without asking."`
	Bucket  []string      `help:"Also delete the jobs' objects in this bucket, such as their inputs. May be given more than once." placeholder:"NAME"`
	Leave   bool          `help:"Also delete the items of jobs that keep something, as --dry-run lists it."`
	Settle  time.Duration `default:"45s" help:"How long to wait for workers that may be in the middle of a copy, before a second look."`
	JSON    bool          `help:"Write JSON."`
	Timeout time.Duration `default:"1h" help:"How long to try."`
	actor
}

// erased is the result of the command.
type erased struct {
	erase.Inventory
	Erased bool `json:"erased"`
}

func (c *eraseCmd) Run(ctx context.Context, std streams, line commandLine) error {
	ctx, cancel := context.WithTimeout(ctx, c.Timeout)
	defer cancel()
	d, err := deployed(ctx, "gas-erase", config.Restore)
	if err != nil {
		return err
	}
	defer d.close()
	e := &erase.Eraser{
		Catalog: d.catalog, Bus: d.bus, Dead: deadletter.Open(d.bus), Acts: acts.Open(d.bus, operatorUser), Store: awserase.New(d.aws, d.cfg.Vault),
		Sessions: siteSessions{d.bus}, Results: d.cfg.Bucket, Archives: d.cfg.ArchiveBucket, Others: c.Bucket, Prices: d.prices, AssumedSize: d.cfg.AssumedSize,
		Leave: c.Leave, Settle: c.Settle,
	}
	user := events.UserID(c.User)
	found, err := e.Look(ctx, user)
	if err != nil {
		return err
	}
	if found.Empty() {
		return fmt.Errorf("unknown user %q: no account, no jobs, no messages; %s of acts about the user stay (gas audit --user)", user, count(found.Records, "record"))
	}
	if !c.JSON {
		if err := printInventory(std, found); err != nil {
			return err
		}
	}
	if !c.DryRun {
		if err := c.allowed(std); err != nil {
			return err
		}
		if err := c.erase(ctx, d.bus, e, found, line); err != nil {
			return fmt.Errorf("%w (run it again to finish)", err)
		}
	}
	if c.JSON {
		return writeJSON(std.out, erased{found, !c.DryRun})
	}
	if c.DryRun {
		fmt.Fprintln(std.out, "done: nothing: this is a dry run")
	} else {
		fmt.Fprintln(std.out, "done: erased")
	}
	return nil
}

// erase erases the user, with a record that has no personal data but the user's id: an error may
// have the name of a file.
func (c *eraseCmd) erase(ctx context.Context, b *bus.Bus, e *erase.Eraser, found erase.Inventory, line commandLine) error {
	var failed error
	err := recorded(ctx, b, c.act(line, events.ActErase, found.User, ""), func(ctx context.Context) (string, error) {
		if failed = e.Erase(ctx, found); failed != nil {
			return "began to erase " + found.String(), fmt.Errorf("it was cut short: %s", fault.KindOf(failed))
		}
		return "erased " + found.String(), nil
	})
	if failed != nil {
		return failed
	}
	return err
}

// allowed asks whether the user may be erased.
func (c *eraseCmd) allowed(std streams) error {
	if c.Yes {
		return nil
	}
	if !isTerminal(os.Stdin) {
		return errors.New("nothing was deleted: give --yes, or run it on a terminal")
	}
	fmt.Fprintf(std.err, "This cannot be undone. Write the user's id to delete all of this: ")
	answer, err := bufio.NewReader(os.Stdin).ReadString('\n')
	if strings.TrimSpace(answer) != c.User {
		return errors.Join(errors.New("nothing was deleted"), err)
	}
	return nil
}

func printInventory(std streams, v erase.Inventory) error {
	w := tabwriter.NewWriter(std.out, 0, 0, 2, ' ', 0)
	row := func(what string, value any) { fmt.Fprintf(w, "%s\t%v\n", what, value) }
	switch {
	case !v.Account:
		row("user", string(v.User)+", without an account")
	case v.Plan != "":
		row("user", fmt.Sprintf("%s (%s), with plan %s, which ends", v.User, v.Role, v.Plan))
	default:
		row("user", fmt.Sprintf("%s (%s)", v.User, v.Role))
	}
	row("jobs", v.Jobs)
	for _, class := range []archive.Class{archive.Vault, archive.Glacier, archive.DeepArchive, archive.Instant} {
		if n := v.Archives[class]; n > 0 {
			row("archives, "+string(class), n)
		}
	}
	if v.UnderWay > 0 {
		row("on their way back", fmt.Sprintf("%d of them: what their retrievals cost is lost", v.UnderWay))
	}
	if len(v.Archives) > 0 {
		row("early deletion", fmt.Sprintf("up to %s, if the archives are new", v.Early))
	}
	row("objects in S3", fmt.Sprintf("%d, and %d unfinished uploads", v.Objects, v.Uploads))
	row("plans and spending", fmt.Sprintf("%d items", v.Ledger))
	var names []string
	for name := range v.Messages {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		row(name, count(int(v.Messages[name]), "message"))
	}
	row("dead letters", v.Letters)
	row("sessions", v.Sessions)
	if v.Paused {
		row("pause", "of this user")
	}
	for _, left := range v.Left {
		row("left", left)
	}
	row("stays", fmt.Sprintf("%s of acts about the user in AUDIT: the record must not change, and has no more of the user than the id", count(v.Records, "record")))
	row("stays", "messages in SQS, until a service takes them; outputs of Glacier, for a day; logs and backups, until they end")
	return w.Flush()
}

// siteSessions are the sessions in their bucket.
type siteSessions struct{ bus *bus.Bus }

func (s siteSessions) Count(ctx context.Context, user events.UserID) (int, error) {
	store, err := s.bus.OpenTTLStore(ctx, bus.BucketSessions)
	if err != nil {
		return 0, err
	}
	return web.Sessions(ctx, store, user)
}

func (s siteSessions) End(ctx context.Context, user events.UserID) error {
	store, err := s.bus.OpenTTLStore(ctx, bus.BucketSessions)
	if err != nil {
		return err
	}
	return web.EndSessions(ctx, store, user)
}
