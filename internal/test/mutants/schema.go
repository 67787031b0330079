package main

import (
	"fmt"
	"go/ast"
	"go/token"
	"go/types"
	"slices"
	"strconv"
	"strings"
)

// edit replaces the bytes [from, to) of a file by text. In text, \x00 is the number
// of the mutation.
type edit struct {
	from, to int
	text     string
	// Of what begins or ends at the same place, order tells what is further inside: the larger one.
	order int
	ends  bool
}

// tagged is a switch with a tag, which becomes one without, so that a case can be left out.
type tagged struct{ edits []edit }

// offset returns a position's place in the file.
func (w *walker) offset(p token.Pos) int { return w.fset.Position(p).Offset }

// wrap puts text before and after a node.
func (w *walker) wrap(n ast.Node, before, after string) []edit {
	return w.around(n.Pos(), n.End(), before, after)
}

func (w *walker) around(from, to token.Pos, before, after string) []edit {
	w.wraps++
	order := len(w.path)<<20 + w.wraps
	return []edit{
		{from: w.offset(from), to: w.offset(from), text: before, order: order},
		{from: w.offset(to), to: w.offset(to), text: after, order: order, ends: true},
	}
}

// place is an offset in a file.
type place struct {
	file   string
	offset int
}

// body returns the place of the first statement of the innermost function around; nil outside of any.
func (w *walker) body() []place {
	for _, n := range slices.Backward(w.path) {
		switch f := n.(type) {
		case *ast.FuncDecl:
			if f.Body != nil {
				return []place{{w.name, w.offset(f.Body.Lbrace) + 1}}
			}
		case *ast.FuncLit:
			return []place{{w.name, w.offset(f.Body.Lbrace) + 1}}
		}
	}
	return nil
}

// uses are the functions that use a package's constants, variables and types, by their first
// statements, and the others of these that do.
type uses map[types.Object]struct {
	in []place
	by []types.Object
}

// declared returns what the innermost declaration around declares.
func (w *walker) declared() (all []types.Object) {
	for _, n := range slices.Backward(w.path) {
		switch spec := n.(type) {
		case *ast.ValueSpec:
			for _, name := range spec.Names {
				all = append(all, w.info.Defs[name])
			}
			return all
		case *ast.TypeSpec:
			return []types.Object{w.info.Defs[spec.Name]}
		}
	}
	return nil
}

// use notes that the file uses the name.
func (w *walker) use(name *ast.Ident) {
	object := w.info.Uses[name]
	if object == nil || object.Parent() != w.own.Scope() {
		return
	}
	u := w.uses[object]
	if body := w.body(); body != nil {
		u.in = append(u.in, body...)
	} else {
		u.by = append(u.by, w.declared()...)
	}
	w.uses[object] = u
}

// used returns the functions that use what the declaration around declares, directly or not.
func (w *walker) used() (all []place) {
	if w.info == nil {
		return nil
	}
	seen := map[types.Object]bool{}
	for next := w.declared(); len(next) > 0; next = next[1:] {
		if u := w.uses[next[0]]; !seen[next[0]] {
			seen[next[0]] = true
			all, next = append(all, u.in...), append(next, u.by...)
		}
	}
	return all
}

// tagged returns what a switch with a tag must become; nil if that is not possible.
func (w *walker) tagged(sw *ast.SwitchStmt, parent ast.Node) *tagged {
	if t, ok := w.tags[sw]; ok {
		return t
	}
	w.tags[sw] = nil
	if _, labeled := parent.(*ast.LabeledStmt); labeled || sw.Tag == nil {
		return nil
	}
	t := &tagged{}
	name := w.text(sw.Tag)
	if sw.Init == nil {
		name = fmt.Sprintf("mutantTag%d", w.offset(sw.Pos()))
		t.edits = w.wrap(sw.Tag, name+" := ", "; ")
		t.edits[0].order, t.edits[1].order = 0, 0 // outside of the mutations of the tag
	} else {
		for e := sw.Tag; ; {
			if sel, ok := e.(*ast.SelectorExpr); ok {
				e = sel.X
				continue
			}
			if _, ok := e.(*ast.Ident); !ok {
				return nil // it has effects, or may have
			}
			break
		}
		t.edits = []edit{{from: w.offset(sw.Tag.Pos()), to: w.offset(sw.Tag.End())}}
	}
	// These are inside of what leaves a clause out, and outside of the mutations of the expressions.
	for _, stmt := range sw.Body.List {
		for _, e := range stmt.(*ast.CaseClause).List {
			edits := w.wrap(e, "("+name+" == (", "))")
			edits[0].order, edits[1].order = edits[0].order+inside, edits[1].order+inside
			t.edits = append(t.edits, edits...)
		}
	}
	w.tags[sw] = t
	return t
}

// inside puts a wrapping further inside than all others by the same node, and not as far as those by
// its children.
const inside = 1 << 19

// typeOf returns the name of the type of a literal in its file; "" if it has none there.
func (w *walker) typeOf(l *ast.BasicLit) string {
	if w.info == nil {
		return ""
	}
	t := w.info.TypeOf(l)
	if basic, ok := t.(*types.Basic); t == nil || ok && basic.Info()&types.IsUntyped != 0 {
		return ""
	}
	known := true
	name := types.TypeString(t, func(p *types.Package) string {
		if p == w.own {
			return ""
		}
		for _, spec := range w.file.Imports {
			if strings.Trim(spec.Path.Value, `"`) != p.Path() {
				continue
			}
			if spec.Name != nil {
				return spec.Name.Name
			}
			return p.Name()
		}
		known = false
		return p.Name()
	})
	if !known {
		return ""
	}
	return name
}

// renderFile returns a file with mutations behind a switch, each with its number, and what notes
// that a test comes near the others.
func renderFile(name string, src []byte, ms []mutation, numbers []int) []byte {
	var all []edit
	seen := map[*tagged]bool{}
	for i, m := range ms {
		id := strconv.Itoa(numbers[i])
		if len(m.edits) == 0 || m.global {
			for _, p := range m.probes {
				if p.file == name {
					all = append(all, edit{from: p.offset, to: p.offset, text: " _ = mutantOn(" + id + "); ", order: -1})
				}
			}
		}
		if m.file != name {
			continue
		}
		if m.tag != nil && !seen[m.tag] {
			seen[m.tag] = true
			all = append(all, m.tag.edits...)
		}
		for _, e := range m.edits {
			e.text = strings.ReplaceAll(e.text, "\x00", id)
			all = append(all, e)
		}
	}
	slices.SortStableFunc(all, func(a, b edit) int {
		if a.from != b.from {
			return a.from - b.from
		}
		switch {
		case a.ends && b.ends:
			return b.order - a.order
		case a.ends:
			return -1
		case b.ends:
			return 1
		case a.to != b.to: // insertions come before a replacement
			return a.to - b.to
		}
		return a.order - b.order
	})
	var out []byte
	at := 0
	for _, e := range all {
		out = append(out, src[at:e.from]...)
		out = append(out, e.text...)
		at = e.to
	}
	return append(out, src[at:]...)
}
