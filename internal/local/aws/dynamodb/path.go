package dynamodb

import (
	"slices"
	"strconv"
	"strings"
)

// step is one part of a document path: a name, or an index if name is empty.
type step struct {
	name  string
	index int
}

// path leads to an attribute or into one. Its first step is a name.
type path []step

// String shows the path as DynamoDB's messages do: [a, b, [0]].
func (p path) String() string {
	parts := make([]string, len(p))
	for i, s := range p {
		parts[i] = s.name
		if s.name == "" {
			parts[i] = "[" + strconv.Itoa(s.index) + "]"
		}
	}
	return "[" + strings.Join(parts, ", ") + "]"
}

// find returns the value at p, or nil if there is none.
func (p path) find(item attrs) *value {
	v := item.get(p[0].name)
	for _, s := range p[1:] {
		if v == nil {
			return nil
		}
		v = s.in(v)
	}
	return v
}

// in returns what s leads to in v.
func (s step) in(v *value) *value {
	switch {
	case s.name != "" && v.typ == "M":
		return v.m.get(s.name)
	case s.name == "" && v.typ == "L" && s.index < len(v.list):
		return &v.list[s.index]
	}
	return nil
}

// clash tells how two paths get in each other's way: "overlap" if one leads
// into the other, "conflict" if one wants a map where the other wants a list.
func (p path) clash(q path) string {
	for i := range min(len(p), len(q)) {
		if p[i] == q[i] {
			continue
		}
		if (p[i].name == "") != (q[i].name == "") {
			return "conflict"
		}
		return ""
	}
	return "overlap"
}

// project returns the parts of item that paths lead to. Elements of a list keep
// their order, without gaps.
func project(item attrs, paths []path) attrs {
	root := &branch{}
	for _, p := range paths {
		root.grow(p)
	}
	out := attrs{}
	for _, b := range root.branches {
		if v := item.get(b.step.name); v != nil {
			if w, ok := b.cut(v); ok {
				out = append(out, attr{b.step.name, w})
			}
		}
	}
	return out
}

// branch is a tree of paths.
type branch struct {
	step     step
	branches []*branch
}

func (b *branch) grow(p path) {
	if len(p) == 0 {
		return
	}
	for _, c := range b.branches {
		if c.step == p[0] {
			c.grow(p[1:])
			return
		}
	}
	c := &branch{step: p[0]}
	b.branches = append(b.branches, c)
	c.grow(p[1:])
}

// cut returns what b and its branches leave of v.
func (b *branch) cut(v *value) (value, bool) {
	if len(b.branches) == 0 {
		return *v, true
	}
	out := value{typ: v.typ}
	byIndex := slices.SortedFunc(slices.Values(b.branches), func(x, y *branch) int { return x.step.index - y.step.index })
	for _, c := range byIndex {
		inner := c.step.in(v)
		if inner == nil {
			continue
		}
		w, ok := c.cut(inner)
		if !ok {
			continue
		}
		if c.step.name == "" {
			out.list = append(out.list, w)
		} else {
			out.m = append(out.m, attr{c.step.name, w})
		}
	}
	return out, len(out.m)+len(out.list) > 0
}
