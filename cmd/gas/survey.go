package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/gas-restore/gas/internal/archive"
	"github.com/gas-restore/gas/internal/aws/awsclient"
	"github.com/gas-restore/gas/internal/aws/dynamodb"
	"github.com/gas-restore/gas/internal/config"
	"github.com/gas-restore/gas/internal/wiring"
	"github.com/gas-restore/gas/pkg/events"
)

// surveyFlags are the flags of `gas check --catalog`.
type surveyFlags struct {
	Catalog bool   `help:"Read the job table instead, and count the jobs that cannot be worked with."`
	From    string `help:"Continue after this job." placeholder:"JOB_ID"`
	Most    int    `default:"100000" help:"Read at most this many jobs. Each 4 KB costs half a read unit."`
}

func (f surveyFlags) survey(ctx context.Context, std streams, asJSON bool) error {
	if f.Most < 1 {
		return fmt.Errorf("--most: %d is not positive", f.Most)
	}
	ok, err := survey(ctx, std.out, surveyOptions{from: events.JobID(f.From), most: f.Most, json: asJSON})
	if err == nil && !ok {
		return errReported
	}
	return err
}

// surveyPage is the number of jobs that one call reads, accountsAtOnce the number of
// accounts.
const (
	surveyPage     = 500
	accountsAtOnce = 100
)

// surveyed is the result of reading the job table.
type surveyed struct {
	Jobs     int              `json:"jobs"`
	Archived int              `json:"archived"`
	Findings []*surveyFinding `json:"findings"`
	Next     events.JobID     `json:"next,omitempty"` // to go on from
	by       map[string]*surveyFinding
	roles    map[events.UserID]string // the fault of each user's account; empty if there is none
}

// surveyFinding is one fault that several jobs have.
type surveyFinding struct {
	// What is the name of the attribute with its fault, and Fix is advice.
	What string `json:"what"`
	Fix  string `json:"fix"`
	// Blocks is true if a job with this fault is not restored.
	Blocks bool `json:"blocks"`
	Jobs   int  `json:"jobs"`
	// Examples are the first jobs with this fault, each with its value.
	Examples []string `json:"examples"`
}

// surveyOptions bound the reading of the job table.
type surveyOptions struct {
	from events.JobID
	most int
	json bool
}

// survey reads the job table and prints the faults. It reports whether every job can be
// worked with.
func survey(ctx context.Context, w io.Writer, o surveyOptions) (bool, error) {
	cfg, err := config.Load(config.Restore)
	if err != nil {
		return false, err
	}
	sdk, err := awsclient.Load(ctx, awsclient.Options{})
	if err != nil {
		return false, err
	}
	s := surveyed{Next: o.from, by: map[string]*surveyFinding{}, roles: map[events.UserID]string{}, Findings: []*surveyFinding{}}
	if err := s.look(ctx, dynamodb.New(sdk, wiring.Tables(cfg)), o.most); err != nil {
		return false, err
	}
	blocked := slices.ContainsFunc(s.Findings, func(f *surveyFinding) bool { return f.Blocks })
	if o.json {
		return !blocked, writeJSON(w, s)
	}
	return !blocked, s.write(w, blocked)
}

func (s *surveyed) look(ctx context.Context, catalog *dynamodb.Catalog, most int) error {
	for s.Jobs < most {
		page, next, err := catalog.Survey(ctx, s.Next, int32(min(surveyPage, most-s.Jobs)))
		if err != nil {
			return err
		}
		if err := s.accounts(ctx, catalog, page); err != nil {
			return err
		}
		for _, r := range page {
			s.add(r)
		}
		if s.Next = next; next == "" {
			break
		}
	}
	return nil
}

// accounts reads the accounts of the archived jobs' users, each account once.
func (s *surveyed) accounts(ctx context.Context, catalog *dynamodb.Catalog, page []dynamodb.Record) error {
	unknown := map[events.UserID]bool{}
	for _, r := range page {
		if _, seen := s.roles[r.Job.UserID]; !seen && r.Job.ArchiveID != "" && r.Job.UserID != "" {
			unknown[r.Job.UserID] = true
		}
	}
	for ids := range slices.Chunk(slices.Sorted(maps.Keys(unknown)), accountsAtOnce) {
		found, err := catalog.AccountsOf(ctx, ids)
		if err != nil {
			return err
		}
		for _, id := range ids {
			a, there := found[id]
			switch {
			case !there:
				s.roles[id] = "has no account"
			case a.Unreadable != "":
				s.roles[id] = a.Unreadable
			case a.Role != archive.Free && a.Role != archive.Premium:
				s.roles[id] = fmt.Sprintf("role is %q", a.Role)
			default:
				s.roles[id] = ""
			}
		}
	}
	return nil
}

// add counts the faults of a job.
func (s *surveyed) add(r dynamodb.Record) {
	s.Jobs++
	job := r.Job
	if job.ArchiveID != "" {
		s.Archived++
	}
	for _, what := range job.Unreadable {
		name, _, _ := strings.Cut(what, " ")
		fix := "correct the attribute; until then the job is left alone, with one dead letter"
		if strings.Contains(what, "GAS_JOB_ATTRIBUTES") {
			fix = what[strings.Index(what, "set "):]
		}
		s.found(name+" means nothing here", fix, true, job.ID, what)
	}
	for _, what := range r.Odd {
		name, _, _ := strings.Cut(what, " ")
		s.found(name+" means nothing here", "correct the attribute if people should see it; nothing else needs it", false, job.ID, what)
	}
	for _, name := range r.Blank {
		s.found(name+" is NULL or empty", "nothing: it is read as absent, and removed with the next write", false, job.ID, "")
	}
	if len(job.Unreadable) > 0 {
		return
	}
	switch {
	case job.UserID == "":
		s.found("user_id is not there", "add the attribute: nobody's upgrade brings this file back", true, job.ID, "")
	case job.ArchiveID == "" && job.State(archive.Free) == archive.Unclear:
		s.found("completed, with neither an archive nor an object's key", "add archive_id or s3_key_result_file", true, job.ID, "")
	case job.ArchiveID == "":
	case job.Result.Bucket == "" || job.Result.Key == "":
		s.found("archived, and s3_results_bucket or s3_key_result_file is not there", "add the attributes: they say where the file belongs", true, job.ID, job.Result.String())
	case s.roles[job.UserID] != "":
		s.found("the user's account cannot be worked with", "gas account import makes accounts; a role is free_user or premium_user", true, job.ID, fmt.Sprintf("user %s %s", job.UserID, s.roles[job.UserID]))
	}
}

// surveyExamples is the number of jobs that a finding names.
const surveyExamples = 3

func (s *surveyed) found(what, fix string, blocks bool, id events.JobID, has string) {
	f := s.by[what]
	if f == nil {
		f = &surveyFinding{What: what, Fix: fix, Blocks: blocks}
		s.by[what], s.Findings = f, append(s.Findings, f)
	}
	if f.Jobs++; len(f.Examples) < surveyExamples {
		example := string(id)
		if has != "" {
			example += " (" + has + ")"
		}
		f.Examples = append(f.Examples, example)
	}
}

func (s *surveyed) write(w io.Writer, blocked bool) error {
	slices.SortFunc(s.Findings, func(a, b *surveyFinding) int {
		switch {
		case a.Blocks && !b.Blocks:
			return -1
		case b.Blocks && !a.Blocks:
			return 1
		}
		return cmp.Compare(b.Jobs, a.Jobs)
	})
	fmt.Fprintf(w, "%d jobs were read, %d of them are archived.\n", s.Jobs, s.Archived)
	for _, f := range s.Findings {
		mark := "note "
		if f.Blocks {
			mark = "wrong"
		}
		fmt.Fprintf(w, "%s  %d jobs: %s\n       fix: %s\n       such as %s\n", mark, f.Jobs, f.What, f.Fix, strings.Join(f.Examples, ", "))
	}
	if !blocked {
		fmt.Fprintln(w, "Each of them can be worked with.")
	}
	if s.Next != "" {
		fmt.Fprintf(w, "The table has more: continue with gas check --catalog --from %s\n", s.Next)
	}
	return nil
}
