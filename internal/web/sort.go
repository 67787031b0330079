package web

import (
	"cmp"
	"context"
	"encoding/base64"
	"encoding/json"
	"slices"
	"strings"

	"github.com/gas-restore/gas/internal/archive"
	"github.com/gas-restore/gas/internal/fault"
	"github.com/gas-restore/gas/internal/operator/summary"
	"github.com/gas-restore/gas/internal/text"
	"github.com/gas-restore/gas/pkg/events"
)

// The catalog's index has these orders: any number of jobs can be paged through in them.
const (
	newest = "newest"
	oldest = "oldest"
)

// maxSorted is how many jobs of a user can be sorted in another order. The catalog has no
// index for those, so each page reads all jobs.
const maxSorted = 10_000

// place is where a job stands in a sorted list. It goes into the page's address. So a job
// that comes or goes moves no other job to another page.
type place struct {
	// Last puts the job behind all others, in both directions.
	Last bool         `json:"l,omitempty"`
	Key  string       `json:"k,omitempty"`
	Num  int64        `json:"n,omitempty"`
	ID   events.JobID `json:"j"`
}

func (p place) compare(q place, reverse bool) int {
	if p.Last != q.Last {
		if p.Last {
			return 1
		}
		return -1
	}
	if reverse {
		p, q = q, p
	}
	return cmp.Or(cmp.Compare(p.Num, q.Num), cmp.Compare(p.Key, q.Key), cmp.Compare(p.ID, q.ID))
}

func (p place) cursor() string {
	data, err := json.Marshal(p)
	if err != nil {
		return ""
	}
	return base64.RawURLEncoding.EncodeToString(data)
}

func placeOf(cursor string) (place, error) {
	var p place
	data, err := base64.RawURLEncoding.DecodeString(cursor)
	if err == nil {
		err = json.Unmarshal(data, &p)
	}
	if err != nil || p.ID == "" {
		return p, fault.Errorf(fault.Invalid, "the page's cursor is not one of ours")
	}
	return p, nil
}

// order is an order of a list.
type order struct {
	// place returns the place of a job. It is nil for the orders of the index.
	place   func(archive.Job, owner) place
	reverse bool
}

// reversed is the end of the name of an order that is the other way round.
const reversed = "-reversed"

// orders returns the orders of a list by their names in the address.
func orders() map[string]order {
	name := func(j archive.Job, _ owner) place {
		// The place must fit into an address, whatever the length of the name.
		return place{Key: text.Clip(strings.ToLower(nameOf(j)), 200)}
	}
	size := func(j archive.Job, _ owner) place {
		size := j.ArchiveSize
		if j.ArchiveID == "" {
			size = j.ResultSize
		}
		if size < 0 || size == 0 && j.ArchiveID == "" {
			return place{Last: true} // nobody knows it
		}
		// The largest first.
		return place{Num: -size}
	}
	state := func(j archive.Job, of owner) place {
		return place{Num: int64(slices.Index(inOrder(), of.state(j))), Key: name(j, of).Key}
	}
	all := map[string]order{newest: {}, oldest: {}}
	for by, f := range map[string]func(archive.Job, owner) place{"name": name, "size": size, "state": state} {
		all[by], all[by+reversed] = order{place: f}, order{place: f, reverse: true}
	}
	return all
}

// inOrder returns the states of the catalog in the order of a list. The first ones may need
// somebody to do something.
func inOrder() []archive.State {
	return []archive.State{summary.Attention, archive.Unclear, archive.Errored, archive.Pending, archive.Archived, paused, summary.Held, archive.Planned, archive.Requested, archive.Available}
}

// sorted returns a page of the list in an order that the catalog does not have.
func (s *Server) sorted(ctx context.Context, user owner, f filter) (listing, error) {
	var from place
	if f.cursor != "" {
		var err error
		if from, err = placeOf(f.cursor); err != nil {
			return listing{}, err
		}
	}
	match := f.match(user)
	if match == nil {
		match = func(archive.Job) bool { return true }
	}
	all, err := s.deps.Jobs.Select(ctx, user.ID, archive.Selection{Limit: maxSorted, Match: match, Look: maxSorted})
	if err != nil {
		return listing{}, err
	}
	if all.Next != "" {
		return listing{tooMany: true}, nil
	}
	type placed struct {
		place
		job int
	}
	of := orders()[f.Sort]
	list := make([]placed, len(all.Jobs))
	for i, j := range all.Jobs {
		p := of.place(j, user)
		p.ID = j.ID
		list[i] = placed{p, i}
	}
	slices.SortFunc(list, func(a, b placed) int { return a.compare(b.place, of.reverse) })
	begin := 0
	switch {
	case f.last:
		begin = max(len(list)-s.cfg.PageSize, 0)
	case f.cursor != "":
		at, is := slices.BinarySearchFunc(list, from, func(p placed, q place) int { return p.compare(q, of.reverse) })
		switch {
		case f.before:
			begin = max(at-s.cfg.PageSize, 0)
		case is:
			begin = at + 1
		default:
			begin = at
		}
	}
	end := min(begin+s.cfg.PageSize, len(list))
	var jobs []archive.Job
	for _, p := range list[begin:end] {
		jobs = append(jobs, all.Jobs[p.job])
	}
	l := listing{Jobs: s.own(ctx, user, jobs), sort: f.Sort, Count: int64(len(list)), From: int64(begin) + 1}
	if begin > 0 && begin < len(list) {
		l.prev = list[begin].cursor()
	}
	if end < len(list) && end > 0 {
		l.next = list[end-1].cursor()
	}
	return l, nil
}

// columnView is the head of a column. Its link sorts by the column.
type columnView struct {
	Label, Link string
	// Arrow shows the order, and Order says it, if the list is sorted by this column.
	Arrow, Order string
	Class        string
}

// columns returns the heads of the list. The link of the column by which the list is sorted
// turns the order round.
func columns(f filter) []columnView {
	to := func(sort string) string {
		f := f
		f.Sort = sort
		return f.link(listPath, "", false)
	}
	type way struct{ sort, order string }
	heads := []struct {
		label, class string
		ways         [2]way
	}{
		{"File", "", [2]way{{"name", "from A to Z"}, {"name" + reversed, "from Z to A"}}},
		{"Submitted", "", [2]way{{newest, "newest first"}, {oldest, "oldest first"}}},
		{"Size", "size", [2]way{{"size", "largest first"}, {"size" + reversed, "smallest first"}}},
		{"State", "", [2]way{{"state", "sorted"}, {"state" + reversed, "sorted, reversed"}}},
	}
	var out []columnView
	for _, h := range heads {
		c := columnView{Label: h.label, Class: h.class, Link: to(h.ways[0].sort)}
		for i, w := range h.ways {
			if w.sort == f.Sort {
				c.Link, c.Arrow, c.Order = to(h.ways[1-i].sort), [2]string{"↓", "↑"}[i], w.order+": turn round"
			}
		}
		out = append(out, c)
	}
	return out
}
