package dynamodb

import (
	"slices"

	"github.com/gas-restore/gas/internal/local/aws/world"
)

// term is the right side of a SET: a path, a value, a function or a sum.
type term struct {
	path  path
	value *value
	// op is if_not_exists, list_append, + or -, with two arguments.
	op   string
	args []*term
}

// action is one change that an update expression asks for.
type action struct {
	path path
	term *term  // of SET
	arg  *value // of ADD and DELETE
}

// update is an update expression.
type update struct {
	set, remove, add, del []action
	paths                 []path
}

// parseUpdate reads an update expression.
func parseUpdate(s *scope, text string) (*update, *world.Error) {
	p, err := newParser(s, "UpdateExpression", text)
	if err != nil {
		return nil, err
	}
	u := &update{}
	seen := map[string]bool{}
	for p.peek().kind != tokenEnd {
		section := ""
		for _, w := range []string{"SET", "REMOVE", "ADD", "DELETE"} {
			if p.keyword(w) {
				section = w
				break
			}
		}
		if section == "" {
			return nil, p.unexpected()
		}
		if seen[section] {
			return nil, p.errorf("The %q section can only be used once in an update expression;", section)
		}
		seen[section] = true
		if err := p.list(func() *world.Error { return p.action(u, section) }); err != nil {
			return nil, err
		}
	}
	return u, p.disjoint(u.paths)
}

func (p *parser) action(u *update, section string) *world.Error {
	q, err := p.path()
	if err != nil {
		return err
	}
	u.paths = append(u.paths, q)
	a := action{path: q}
	switch section {
	case "SET":
		if err := p.expect("="); err != nil {
			return err
		}
		if a.term, err = p.sum(); err != nil {
			return err
		}
		u.set = append(u.set, a)
	case "REMOVE":
		u.remove = append(u.remove, a)
	default:
		if err := p.operator(); err != nil {
			return err
		}
		if a.arg, err = p.placeholderValue(); err != nil {
			return err
		}
		if !a.arg.isSet() && (section == "DELETE" || a.arg.typ != "N") {
			return p.errorf("Incorrect operand type for operator or function; operator: %s, operand type: %s", section, typeNames[a.arg.typ])
		}
		if section == "ADD" {
			u.add = append(u.add, a)
		} else {
			u.del = append(u.del, a)
		}
	}
	return nil
}

func (p *parser) sum() (*term, *world.Error) {
	left, err := p.term()
	if err != nil {
		return nil, err
	}
	for _, op := range []string{"+", "-"} {
		if !p.symbol(op) {
			continue
		}
		if err := p.operator(); err != nil {
			return nil, err
		}
		right, err := p.term()
		if err != nil {
			return nil, err
		}
		for _, t := range []*term{left, right} {
			if t.value != nil && t.value.typ != "N" {
				return nil, p.wrongType(op, t.value)
			}
		}
		return &term{op: op, args: []*term{left, right}}, nil
	}
	return left, nil
}

func (p *parser) term() (*term, *world.Error) {
	t := p.peek()
	if t.kind == tokenSymbol && t.text == "(" {
		if err := p.enter(); err != nil {
			return nil, err
		}
		defer func() { p.depth-- }()
		p.next++
		inner, err := p.sum()
		if err != nil {
			return nil, err
		}
		return inner, p.expect(")")
	}
	if t.kind == tokenColon {
		v, err := p.placeholderValue()
		return &term{value: v}, err
	}
	if t.kind != tokenName || p.tokens[p.next+1].text != "(" {
		q, err := p.path()
		return &term{path: q}, err
	}
	if t.text != "if_not_exists" && t.text != "list_append" {
		if functions[t.text] > 0 || t.text == "size" {
			return nil, p.errorf("The function is not allowed in an update expression; function: %s", t.text)
		}
		return nil, p.errorf("Invalid function name; function: %s", t.text)
	}
	if err := p.operator(); err != nil {
		return nil, err
	}
	if err := p.enter(); err != nil {
		return nil, err
	}
	defer func() { p.depth-- }()
	p.next += 2
	f := &term{op: t.text}
	if !p.symbol(")") {
		err := p.list(func() *world.Error {
			a, err := p.sum()
			f.args = append(f.args, a)
			return err
		})
		if err != nil {
			return nil, err
		}
		if err := p.expect(")"); err != nil {
			return nil, err
		}
	}
	if len(f.args) != 2 {
		return nil, p.countError(f.op, len(f.args))
	}
	if f.op == "if_not_exists" && f.args[0].path == nil {
		return nil, p.errorf("Operator or function requires a document path; operator or function: if_not_exists")
	}
	if f.op == "list_append" {
		for _, a := range f.args {
			if a.value != nil && a.value.typ != "L" {
				return nil, p.wrongType(f.op, a.value)
			}
		}
	}
	return f, nil
}

// of returns the term's value before the update.
func (t *term) of(item attrs) (value, *world.Error) {
	switch {
	case t.value != nil:
		return *t.value, nil
	case t.path != nil:
		if v := t.path.find(item); v != nil {
			return *v, nil
		}
		return value{}, invalid("The provided expression refers to an attribute that does not exist in the item")
	case t.op == "if_not_exists":
		if v := t.args[0].path.find(item); v != nil {
			return *v, nil
		}
		return t.args[1].of(item)
	}
	left, err := t.args[0].of(item)
	if err != nil {
		return value{}, err
	}
	right, err := t.args[1].of(item)
	if err != nil {
		return value{}, err
	}
	want := "N"
	if t.op == "list_append" {
		want = "L"
	}
	if left.typ != want || right.typ != want {
		return value{}, invalid("An operand in the update expression has an incorrect data type")
	}
	if want == "L" {
		return value{typ: "L", list: slices.Concat(left.list, right.list)}, nil
	}
	return left.plus(&right, t.op == "-")
}

// apply returns item with the update done. item stays as it is.
func (u *update) apply(item attrs) (attrs, *world.Error) {
	values := make([]value, len(u.set))
	for i, a := range u.set {
		v, err := a.term.of(item)
		if err != nil {
			return nil, err
		}
		values[i] = v.clone()
	}
	out := item.clone()
	// Elements past the end of a list are appended in the order of their indexes.
	order := make([]int, len(u.set))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(i, j int) int { return u.set[i].last().index - u.set[j].last().index })
	for _, i := range order {
		if err := out.store(u.set[i].path, values[i]); err != nil {
			return nil, err
		}
	}
	for _, a := range u.add {
		old := a.path.find(out)
		sum := a.arg.clone()
		if old != nil {
			switch {
			case old.typ != a.arg.typ:
				return nil, invalid("An operand in the update expression has an incorrect data type")
			case old.typ == "N":
				var err *world.Error
				if sum, err = old.plus(a.arg, false); err != nil {
					return nil, err
				}
			default:
				sum.set = union(old.set, a.arg.set)
			}
		}
		if err := out.store(a.path, sum); err != nil {
			return nil, err
		}
	}
	removals := slices.Clone(u.remove)
	for _, a := range u.del {
		old := a.path.find(out)
		if old == nil {
			continue
		}
		if old.typ != a.arg.typ {
			return nil, invalid("An operand in the update expression has an incorrect data type")
		}
		drop := make(map[string]bool, len(a.arg.set))
		for _, s := range a.arg.set {
			drop[s] = true
		}
		left := slices.DeleteFunc(slices.Clone(old.set), func(s string) bool { return drop[s] })
		if len(left) == 0 {
			// A set can't be empty: its last element takes it along.
			removals = append(removals, action{path: a.path})
			continue
		}
		old.set = left
	}
	// From the end of a list, so that the indexes before stay what they are.
	slices.SortStableFunc(removals, func(a, b action) int { return b.last().index - a.last().index })
	for _, a := range removals {
		if err := out.discard(a.path); err != nil {
			return nil, err
		}
	}
	return out, nil
}

func (a action) last() step { return a.path[len(a.path)-1] }

func union(a, b []string) []string {
	out := slices.Clone(a)
	in := make(map[string]bool, len(a))
	for _, s := range a {
		in[s] = true
	}
	for _, s := range b {
		if !in[s] {
			out = append(out, s)
		}
	}
	return out
}

func badPath() *world.Error {
	return invalid("The document path provided in the update expression is invalid for update")
}

// store sets the value at p. The parent of p must exist.
func (a *attrs) store(p path, v value) *world.Error {
	if len(p) == 1 {
		a.put(p[0].name, v)
		return nil
	}
	parent := p[:len(p)-1].find(*a)
	last := p[len(p)-1]
	switch {
	case parent != nil && last.name != "" && parent.typ == "M":
		parent.m.put(last.name, v)
	case parent != nil && last.name == "" && parent.typ == "L":
		if last.index < len(parent.list) {
			parent.list[last.index] = v
		} else {
			parent.list = append(parent.list, v)
		}
	default:
		return badPath()
	}
	return nil
}

// discard removes what is at p, if its parent has it.
func (a *attrs) discard(p path) *world.Error {
	if len(p) == 1 {
		a.remove(p[0].name)
		return nil
	}
	parent := p[:len(p)-1].find(*a)
	last := p[len(p)-1]
	switch {
	case parent != nil && last.name != "" && parent.typ == "M":
		parent.m.remove(last.name)
	case parent != nil && last.name == "" && parent.typ == "L":
		if last.index < len(parent.list) {
			parent.list = slices.Delete(parent.list, last.index, last.index+1)
		}
	default:
		return badPath()
	}
	return nil
}

func (v *value) clone() value {
	out := *v
	out.m = v.m.clone()
	out.set = slices.Clone(v.set)
	if v.list != nil {
		out.list = make([]value, len(v.list))
		for i := range v.list {
			out.list[i] = v.list[i].clone()
		}
	}
	return out
}

func (a attrs) clone() attrs {
	if a == nil {
		return nil
	}
	out := make(attrs, len(a))
	for i := range a {
		out[i] = attr{a[i].name, a[i].v.clone()}
	}
	return out
}
