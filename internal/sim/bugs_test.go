package sim

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sync/errgroup"
)

// bug is a mistake that somebody could make in a line: in file, old becomes new.
type bug struct{ what, file, old, new string }

// bugs are planted one at a time; the simulation has to find each.
var bugs = []bug{
	{"the bridge deletes from SQS what was not stored", "internal/bridge/settle.go",
		"case errs[i] != nil:", "case errs[i] != nil && false:"},
	{"the bridge names the retrieval's notice after its job alone", "pkg/events/events.go",
		`return "restore:" + e.ID }`, `return "restore:" + string(e.JobID) }`},
	{"a message is acked before its outputs are stored", "internal/bus/worker.go",
		"if ferr := out.flush(ctx); err == nil {", "if ferr := out.flush(ctx); err != nil {"},
	{"a message whose work failed is acked", "internal/bus/settle.go",
		"	if err == nil {\n		ackCtx", "	if err == nil || fault.Is(err, fault.Transient) {\n		ackCtx"},
	{"JetStream gives a message up after five deliveries", "internal/bus/topology.go",
		"MaxDeliver:    -1,", "MaxDeliver:    5,"},
	{"what is put aside is acked and not stored", "internal/bus/settle.go",
		"perr := r.putAside(ctx, m, meta, a, delay)", "perr := m.Ack()"},
	{"what was put aside is acked and not brought back", "internal/bus/back.go",
		"s.future, s.err = rd.send(m, meta)", "rd.r.confirm(ctx, m); m.release(); continue"},
	{"a full work queue drops the oldest", "internal/bus/topology.go",
		"Discard:    jetstream.DiscardNew,\n			MaxBytes:   2 * gib,", "Discard:    jetstream.DiscardOld,\n			MaxBytes:   2 * gib,"},
	{"what fails for a while is given up after three tries", "internal/bus/policy.go",
		"fault.Transient: {first:", "fault.Transient: {attempts: 3, first:"},
	{"a plan is acked whose tasks were not stored", "internal/thaw/plan.go",
		"		} else if err != nil {\n			return err\n		}\n		plan.Planned", "		}\n		plan.Planned"},
	{"a plan takes one page of the archives", "internal/thaw/plan.go",
		`if plan.Cursor = next; next == "" {`, `if plan.Cursor = next; true {`},
	{"nobody asks whether the user is Premium", "internal/archive/archive.go",
		"return a.Role == Premium || t.After(a.RoleChangedAt)", "return true"},
	{"an intent without a retrieval is asked for again, and not looked up", "internal/thaw/request.go",
		"	if job.Intent != nil {\n		adopted", "	if job.Intent != nil && r.Now().IsZero() {\n		adopted"},
	{"one page of Glacier's list is looked at", "internal/aws/glacier/glacier.go",
		"for pages.HasMorePages() {", "for range 1 {"},
	{"a request that timed out is taken for refused", "internal/thaw/decide.go",
		"{Kind: fault.Transient, Action: Look,", "{Kind: fault.Transient, Action: Later, Refused: true,"},
	{"Standard is used when Glacier throttles", "internal/thaw/decide.go",
		"{Kind: fault.Throttled, Action: Later,", "{Kind: fault.Throttled, Action: NextTier,"},
	{"the retrieval's id is not saved", "internal/thaw/request.go",
		"if err := r.save(ctx, log, &job, retrieval); err != nil {", "if err := ctx.Err(); err != nil {"},
	{"an intent is written over another's", "internal/aws/dynamodb/catalog.go",
		`attribute_not_exists(retrieval_request_id) AND attribute_not_exists(retrieval_intent)"`, `attribute_not_exists(retrieval_request_id)"`},
	{"an intent is written although a retrieval is on its way", "internal/aws/dynamodb/catalog.go",
		`"archive_id = :archive AND attribute_not_exists(retrieval_request_id) AND attribute_not_exists(retrieval_intent)"`, `"archive_id = :archive AND attribute_not_exists(retrieval_intent)"`},
	{"retrieval_request_id stays when the file is back", "internal/aws/dynamodb/catalog.go",
		`"REMOVE archive_id, retrieval_request_id, archive_size`, `"REMOVE archive_id, archive_size`},
	{"Glacier's tree hash is believed, and the bytes are not hashed", "internal/restore/copy.go",
		"got := tree.TreeHash()", "got, _ := treehash.Parse(out.TreeHash)"},
	{"an archive that could not be deleted is forgotten", "internal/restore/restore.go",
		"	} else if err != nil {\n		return err\n	}\n	if err := r.Catalog.ClearArchive", "	}\n	if err := r.Catalog.ClearArchive"},
	{"the catalog forgets the archive before it is deleted", "internal/restore/restore.go",
		"if err := r.Vault.Delete(ctx, verified); fault.Is", "if err := cmp.Or(r.Catalog.ClearArchive(ctx, job), r.Vault.Delete(ctx, verified)); fault.Is"},
	{"the catalog is not cleared", "internal/restore/restore.go",
		"if err := r.Catalog.ClearArchive(ctx, job); err != nil {", "if err := ctx.Err(); err != nil {"},
	{"unfinished uploads to the file's key are overlooked", "internal/aws/s3/upload.go",
		"if aws.ToString(u.Key) != o.Key {", "if aws.ToString(u.Key) == o.Key {"},
	{"an expired output is waited for", "internal/restore/restore.go",
		"	if _, ok := errors.AsType[goneError](err); ok {\n		return r.expired", "	if _, ok := errors.AsType[goneError](err); ok && r.Now().IsZero() {\n		return r.expired"},
	{"a retrieval that Glacier failed is told of, and nothing follows", "internal/restore/restore.go",
		"return r.replan(ctx, job, archive.Failed, retrieval.Reason, emit)", "return nil"},
	{"a retrieval that came to nothing is forgotten, and nobody asks anew", "internal/restore/restore.go",
		"return r.askAgain(ctx, job, job.RetrievalID, emit)", "return nil"},
	{"a part ends a byte too early", "internal/restore/layout.go",
		"min(l.part, l.size-offset)", "min(l.part, l.size-offset-1)"},
	{"a lost notice is not made up for", "internal/reconcile/rules.go",
		"{Unheard, Complete,", "{Unheard, Leave,"},
	{"a lost upgrade is not made up for", "internal/reconcile/rules.go",
		"{Unplanned, Plan,", "{Unplanned, Leave,"},
	{"the role changes, and the announcement is not noted as due", "internal/aws/dynamodb/catalog.go",
		`"SET #r = :role, role_changed_at = :at, announce_due = :at"`, `"SET #r = :role, role_changed_at = :at"`},
	{"the announcement is noted before it is made", "internal/web/plan.go",
		"if err := s.deps.Announcer.AnnounceUpgrade(ctx, user, since); err != nil {", "if err := errors.Join(s.deps.Accounts.Announced(ctx, user, due), s.deps.Announcer.AnnounceUpgrade(ctx, user, since)); err != nil {"},
	{"nobody heals what was not announced", "internal/web/web.go",
		"beside.Go(func() { s.heal(besideCtx) })", "_ = s.heal"},
	{"what was announced stays due", "internal/web/plan.go",
		"if err := s.deps.Accounts.Announced(ctx, user, due); err != nil {", "if err := ctx.Err(); err != nil {"},
	{"an upgrade is announced although the role did not change", "internal/web/plan.go",
		"s.deps.Accounts.SetRole(c.Context(), user, archive.Premium, at); err != nil {", "s.deps.Accounts.SetRole(c.Context(), user, archive.Premium, at); errors.Is(err, context.Canceled) {"},
}

const root = "../.."

// planted returns the file with the bug in it.
func (b bug) planted() (string, error) {
	data, err := os.ReadFile(filepath.Join(root, b.file))
	if err != nil {
		return "", err
	}
	if n := strings.Count(string(data), b.old); n != 1 {
		return "", fmt.Errorf("%q: %s has %q %d times, want once", b.what, b.file, b.old, n)
	}
	return strings.Replace(string(data), b.old, b.new, 1), nil
}

// build returns a test binary of this package with the bug in it.
func (b bug) build(ctx context.Context, dir string) (string, error) {
	source, err := b.planted()
	if err != nil {
		return "", err
	}
	file, err := filepath.Abs(filepath.Join(root, b.file))
	if err != nil {
		return "", err
	}
	changed := filepath.Join(dir, "planted.go")
	overlay, err := json.Marshal(map[string]any{"Replace": map[string]string{file: changed}})
	if err != nil {
		return "", err
	}
	for name, data := range map[string]string{"planted.go": source, "overlay.json": string(overlay)} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(data), 0o600); err != nil {
			return "", err
		}
	}
	binary := filepath.Join(dir, "sim.test")
	out, err := exec.CommandContext(ctx, "go", "test", "-c", "-vet=off", "-overlay", filepath.Join(dir, "overlay.json"), "-o", binary, ".").CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("%q does not compile: %w\n%s", b.what, err, out)
	}
	return binary, nil
}

func TestEachPlantedBugStandsInTheCode(t *testing.T) {
	for _, b := range bugs {
		if _, err := b.planted(); err != nil {
			t.Error(err)
		}
	}
}

// caught is what found a bug, and what it said.
type caught struct {
	bug
	world, says string
	after       int // worlds
}

// line is what a world says that is wrong.
var line = regexp.MustCompile(`(?m)^ +[a-z]+_test\.go:\d+: (.*)$`)

// hunt runs worlds with the bug until one of them ends wrong.
func (b bug) hunt(ctx context.Context, dir string, worlds []string) (caught, error) {
	binary, err := b.build(ctx, dir)
	if err != nil {
		return caught{}, err
	}
	found := caught{bug: b}
	var mu sync.Mutex // guards found
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(runtime.NumCPU())
	for i, what := range worlds {
		if gctx.Err() != nil {
			break
		}
		g.Go(func() error {
			_, err := run(gctx, binary, what)
			mu.Lock()
			defer mu.Unlock()
			if err == nil || gctx.Err() != nil {
				return nil
			}
			says := "it does not end"
			if m := line.FindStringSubmatch(err.Error()); m != nil {
				says = m[1]
			}
			found.world, found.says, found.after = what, says, i+1
			return fmt.Errorf("caught")
		})
	}
	g.Wait()
	if found.world == "" {
		return found, fmt.Errorf("%q was not caught by %d worlds", b.what, len(worlds))
	}
	// A world that goes wrong in any case catches nothing.
	if _, err := run(ctx, os.Args[0], found.world); err != nil {
		return found, fmt.Errorf("%q: the world that caught it goes wrong without it too: %w", b.what, err)
	}
	return found, ctx.Err()
}

// seedsToHunt is how many worlds of chance a bug may survive.
const seedsToHunt = 150

// hunting is the order in which worlds are tried: those in which the first effect
// of a point breaks, then chance.
func hunting(effects map[string]int, seeds int) (all []string) {
	all = first(worlds(effects))
	for seed := range seeds {
		all = append(all, fmt.Sprintf("seed=%d", seed+1))
	}
	return append(all, "crowd")
}

// TestPlantedBugsAreCaught plants GAS_SIM_BUGS of the bugs, the first ones; one if
// it is not set.
func TestPlantedBugsAreCaught(t *testing.T) {
	effects := elsewhere(t, quiet).Effects
	for _, b := range bugs[:min(setting(t, "GAS_SIM_BUGS", 1), len(bugs))] {
		t.Run(b.what, func(t *testing.T) {
			found, err := b.hunt(t.Context(), t.TempDir(), hunting(effects, seedsToHunt))
			if err != nil {
				t.Fatal(err)
			}
			fmt.Printf("%s:\n  caught by %s, the %dth world: %s\n", b.what, found.world, found.after, found.says)
		})
	}
}
