package dynamodb

import (
	"slices"
	"strconv"
	"strings"

	"github.com/gas-restore/gas/internal/local/aws/world"
)

// operand is a side of a comparison or an argument: a path, a value, or size(path).
type operand struct {
	path  path
	value *value
	size  bool // of what is at path
}

func (o *operand) String() string {
	if o.value != nil {
		return "AttributeValue: " + o.value.describe()
	}
	return o.path.String()
}

// same tells whether o and q are the same path.
func (o *operand) same(q *operand) bool {
	return o.value == nil && q.value == nil && o.size == q.size && slices.Equal(o.path, q.path)
}

// of returns the operand's value in item, nil if it has none there.
func (o *operand) of(item attrs) *value {
	if o.value != nil {
		return o.value
	}
	v := o.path.find(item)
	if v == nil || !o.size {
		return v
	}
	n := 0
	switch v.typ {
	case "S", "B":
		n = len(v.str)
	case "M":
		n = len(v.m)
	case "L":
		n = len(v.list)
	case "SS", "NS", "BS":
		n = len(v.set)
	default:
		return nil
	}
	return &value{typ: "N", str: strconv.Itoa(n)}
}

// condition is a condition, filter or key condition.
type condition struct {
	// op is AND, OR, NOT, a comparator, BETWEEN, IN or a function's name.
	op   string
	subs []*condition // of AND, OR, NOT
	args []operand
	// parens is set if it stood in parentheses.
	parens bool
}

// parseCondition reads a condition; kind is the request's member it is in.
func parseCondition(s *scope, kind, text string) (*condition, *world.Error) {
	p, err := newParser(s, kind, text)
	if err != nil {
		return nil, err
	}
	c, err := p.or()
	if err != nil {
		return nil, err
	}
	return c, p.end()
}

func (p *parser) or() (*condition, *world.Error) {
	return p.chain("OR", p.and)
}

func (p *parser) and() (*condition, *world.Error) {
	return p.chain("AND", p.not)
}

func (p *parser) chain(op string, read func() (*condition, *world.Error)) (*condition, *world.Error) {
	c, err := read()
	if err != nil {
		return nil, err
	}
	out := c
	for p.keyword(op) {
		if err := p.operator(); err != nil {
			return nil, err
		}
		d, err := read()
		if err != nil {
			return nil, err
		}
		if out.op != op || out.parens {
			out = &condition{op: op, subs: []*condition{out}}
		}
		out.subs = append(out.subs, d)
	}
	return out, nil
}

func (p *parser) not() (*condition, *world.Error) {
	if !p.keyword("NOT") {
		return p.primary()
	}
	if err := p.operator(); err != nil {
		return nil, err
	}
	if err := p.enter(); err != nil {
		return nil, err
	}
	defer func() { p.depth-- }()
	c, err := p.not()
	return &condition{op: "NOT", subs: []*condition{c}}, err
}

func (p *parser) primary() (*condition, *world.Error) {
	if p.symbol("(") {
		if err := p.enter(); err != nil {
			return nil, err
		}
		defer func() { p.depth-- }()
		c, err := p.or()
		if err != nil {
			return nil, err
		}
		if err := p.expect(")"); err != nil {
			return nil, err
		}
		if c.parens {
			return nil, p.errorf("The expression has redundant parentheses;")
		}
		c.parens = true
		return c, nil
	}
	if t := p.peek(); t.kind == tokenName && p.tokens[p.next+1].text == "(" && t.text != "size" {
		return p.function()
	}
	left, err := p.operand()
	if err != nil {
		return nil, err
	}
	return p.comparison(left)
}

func (p *parser) comparison(left operand) (*condition, *world.Error) {
	if err := p.operator(); err != nil {
		return nil, err
	}
	c := &condition{args: []operand{left}}
	add := func() *world.Error {
		o, err := p.operand()
		c.args = append(c.args, o)
		return err
	}
	t := p.peek()
	switch {
	case t.kind == tokenSymbol && slices.Contains([]string{"=", "<>", "<", "<=", ">", ">="}, t.text):
		p.next++
		c.op = t.text
		if err := add(); err != nil {
			return nil, err
		}
	case p.keyword("BETWEEN"):
		c.op = "BETWEEN"
		if err := add(); err != nil {
			return nil, err
		}
		if !p.keyword("AND") {
			return nil, p.unexpected()
		}
		if err := add(); err != nil {
			return nil, err
		}
	case p.keyword("IN"):
		c.op = "IN"
		if err := p.expect("("); err != nil {
			return nil, err
		}
		if err := p.list(add); err != nil {
			return nil, err
		}
		if err := p.expect(")"); err != nil {
			return nil, err
		}
		if n := len(c.args) - 1; n > maxInList {
			return nil, p.errorf("Too many operands for operator or function; operator or function: IN, number of operands: %d", n)
		}
	default:
		return nil, p.unexpected()
	}
	return c, p.checkComparison(c)
}

func (p *parser) checkComparison(c *condition) *world.Error {
	for i := range c.args[1:] {
		if c.args[0].same(&c.args[i+1]) {
			return p.errorf("The first operand must be distinct from the remaining operands for this operator or function; operator: %s, first operand: %s", c.op, &c.args[0])
		}
	}
	if c.op == "=" || c.op == "<>" || c.op == "IN" {
		return nil
	}
	for _, a := range c.args {
		if v := a.value; v != nil && v.typ != "S" && v.typ != "N" && v.typ != "B" {
			return p.wrongType(c.op, v)
		}
	}
	if c.op != "BETWEEN" {
		return nil
	}
	low, high := c.args[1].value, c.args[2].value
	if low == nil || high == nil {
		return nil
	}
	if low.typ != high.typ {
		return p.errorf("The BETWEEN operator requires same data type for lower and upper bounds; lower bound operand: %s, upper bound operand: %s", &c.args[1], &c.args[2])
	}
	if order, _ := low.compare(high); order > 0 {
		return p.errorf("The BETWEEN operator requires upper bound to be greater than or equal to lower bound; lower bound operand: %s, upper bound operand: %s", &c.args[1], &c.args[2])
	}
	return nil
}

func (p *parser) wrongType(op string, v *value) *world.Error {
	return p.errorf("Incorrect operand type for operator or function; operator or function: %s, operand type: %s", op, v.typ)
}

// operand reads a path, a :value or size(…).
func (p *parser) operand() (operand, *world.Error) {
	t := p.peek()
	switch {
	case t.kind == tokenColon:
		v, err := p.placeholderValue()
		return operand{value: v}, err
	case t.kind == tokenName && p.tokens[p.next+1].text == "(":
		if t.text != "size" {
			if functions[t.text] > 0 {
				return operand{}, p.errorf("The function is not allowed to be used this way in an expression; function: %s", t.text)
			}
			return operand{}, p.errorf("Invalid function name; function: %s", t.text)
		}
		args, err := p.arguments()
		if err != nil {
			return operand{}, err
		}
		if len(args) != 1 {
			return operand{}, p.countError("size", len(args))
		}
		o := args[0]
		if o.size {
			return operand{}, p.errorf("The function is not allowed to be used this way in an expression; function: size")
		}
		if o.value != nil {
			switch o.value.typ {
			case "N", "BOOL", "NULL":
				return operand{}, p.wrongType("size", o.value)
			}
			v := value{typ: "L", list: nil}
			item := attrs{{name: "x", v: *o.value}}
			if s := (&operand{path: path{{name: "x"}}, size: true}).of(item); s != nil {
				v = *s
			}
			return operand{value: &v}, nil
		}
		o.size = true
		return o, nil
	}
	q, err := p.path()
	return operand{path: q}, err
}

func (p *parser) arguments() ([]operand, *world.Error) {
	if err := p.operator(); err != nil {
		return nil, err
	}
	if err := p.enter(); err != nil {
		return nil, err
	}
	defer func() { p.depth-- }()
	p.next += 2 // name and parenthesis
	if p.symbol(")") {
		return nil, nil
	}
	var args []operand
	err := p.list(func() *world.Error {
		o, err := p.operand()
		args = append(args, o)
		return err
	})
	if err != nil {
		return nil, err
	}
	return args, p.expect(")")
}

// functions are those that are a condition of their own, with the number of
// their operands.
var functions = map[string]int{
	"attribute_exists": 1, "attribute_not_exists": 1, "attribute_type": 2,
	"begins_with": 2, "contains": 2,
}

var attributeTypes = []string{"B", "BOOL", "BS", "L", "M", "N", "NS", "NULL", "S", "SS"}

func (p *parser) countError(name string, n int) *world.Error {
	return p.errorf("Incorrect number of operands for operator or function; operator or function: %s, number of operands: %d", name, n)
}

func (p *parser) function() (*condition, *world.Error) {
	name := p.peek().text
	want, ok := functions[name]
	if !ok {
		if name == "if_not_exists" || name == "list_append" {
			return nil, p.errorf("The function is not allowed in a condition expression; function: %s", name)
		}
		return nil, p.errorf("Invalid function name; function: %s", name)
	}
	args, err := p.arguments()
	if err != nil {
		return nil, err
	}
	if len(args) != want {
		return nil, p.countError(name, len(args))
	}
	c := &condition{op: name, args: args}
	if want == 2 && args[0].same(&args[1]) {
		return nil, p.errorf("The first operand must be distinct from the remaining operands for this operator or function; operator: %s, first operand: %s", name, &args[0])
	}
	switch name {
	case "attribute_exists", "attribute_not_exists", "attribute_type":
		if args[0].value != nil || args[0].size {
			return nil, p.errorf("Operator or function requires a document path; operator or function: %s", name)
		}
	case "begins_with":
		for _, a := range args {
			if a.value != nil && a.value.typ != "S" && a.value.typ != "B" {
				return nil, p.wrongType(name, a.value)
			}
		}
	}
	if name == "attribute_type" {
		v := args[1].value
		switch {
		case v == nil || v.typ != "S":
			kind := "PATH"
			if v != nil {
				kind = v.typ
			}
			return nil, p.errorf("Incorrect operand type for operator or function; operator or function: attribute_type, operand type: %s", kind)
		case !slices.Contains(attributeTypes, v.str):
			return nil, p.errorf("Invalid attribute type name found; type: %s, valid types: {%s}", clip(v.str), strings.Join(attributeTypes, ","))
		}
	}
	return c, nil
}

// holds tells whether item meets c. A nil c is always met.
func (c *condition) holds(item attrs) bool {
	if c == nil {
		return true
	}
	switch c.op {
	case "AND":
		for _, s := range c.subs {
			if !s.holds(item) {
				return false
			}
		}
		return true
	case "OR":
		for _, s := range c.subs {
			if s.holds(item) {
				return true
			}
		}
		return false
	case "NOT":
		return !c.subs[0].holds(item)
	case "attribute_exists":
		return c.args[0].of(item) != nil
	case "attribute_not_exists":
		return c.args[0].of(item) == nil
	}
	v := c.args[0].of(item)
	if c.op == "<>" {
		// A missing value differs from everything.
		w := c.args[1].of(item)
		return v == nil || w == nil || !v.equal(w)
	}
	if v == nil {
		return false
	}
	if c.op == "IN" {
		for i := range c.args[1:] {
			if w := c.args[i+1].of(item); w != nil && v.equal(w) {
				return true
			}
		}
		return false
	}
	w := c.args[1].of(item)
	if w == nil {
		return false
	}
	switch c.op {
	case "=":
		return v.equal(w)
	case "attribute_type":
		return v.typ == w.str
	case "begins_with":
		return v.typ == w.typ && (v.typ == "S" || v.typ == "B") && strings.HasPrefix(v.str, w.str)
	case "contains":
		return contains(v, w)
	case "BETWEEN":
		x := c.args[2].of(item)
		if x == nil {
			return false
		}
		low, ok1 := v.compare(w)
		high, ok2 := v.compare(x)
		return ok1 && ok2 && low >= 0 && high <= 0
	}
	order, ok := v.compare(w)
	return ok && (c.op[0] == '<' && order < 0 || c.op[0] == '>' && order > 0 || len(c.op) == 2 && order == 0)
}

func contains(v, w *value) bool {
	switch {
	case v.typ == "L":
		return slices.ContainsFunc(v.list, func(e value) bool { return e.equal(w) })
	case v.isSet():
		return v.element() == w.typ && slices.Contains(v.set, w.str)
	case v.typ == "S" || v.typ == "B":
		return v.typ == w.typ && strings.Contains(v.str, w.str)
	}
	return false
}

// each calls f for c and all that it consists of.
func (c *condition) each(f func(*condition)) {
	f(c)
	for _, s := range c.subs {
		s.each(f)
	}
}
