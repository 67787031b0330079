package dynamodb

import (
	"encoding/json"
	"slices"
	"strconv"
	"strings"

	"github.com/gas-restore/gas/internal/local/aws/world"
)

// Limits of expressions.
const (
	maxOperators = 300
	maxInList    = 100
	maxFunction  = 32 // nesting of functions and parentheses
)

// scope holds a request's placeholders, and which of them its expressions used.
type scope struct {
	names      map[string]string
	values     map[string]value
	usedNames  map[string]bool
	usedValues map[string]bool
}

// newScope reads a request's placeholders. any tells whether the request has
// an expression at all, anyValues whether one that may use values.
func newScope(names map[string]string, rawValues json.RawMessage, any, anyValues bool) (*scope, *world.Error) {
	s := &scope{names: names, usedNames: map[string]bool{}, usedValues: map[string]bool{}}
	if names != nil {
		if !any {
			return nil, invalid("ExpressionAttributeNames can only be specified when using expressions")
		}
		if len(names) == 0 {
			return nil, invalid("ExpressionAttributeNames must not be empty")
		}
	}
	for k, name := range names {
		if !placeholder(k, '#') {
			return nil, invalid("ExpressionAttributeNames contains invalid key: Syntax error; key: %q", clip(k))
		}
		if name == "" || len(name) > 65535 {
			return nil, invalid("ExpressionAttributeNames contains invalid value: Attribute names must have 1 to 65535 bytes; key: %s", k)
		}
	}
	if len(rawValues) == 0 || string(rawValues) == "null" {
		return s, nil
	}
	if !anyValues {
		return nil, invalid("ExpressionAttributeValues can only be specified when using expressions")
	}
	sc := scanner{s: string(rawValues)}
	list, scanErr := sc.attrs(0)
	if err := wireError(scanErr); err != nil {
		if err.Code == "ValidationException" {
			err.Message = "ExpressionAttributeValues contains invalid value: " + err.Message
		}
		return nil, err
	}
	if len(list) == 0 {
		return nil, invalid("ExpressionAttributeValues must not be empty")
	}
	s.values = make(map[string]value, len(list))
	for _, a := range list {
		if !placeholder(a.name, ':') {
			return nil, invalid("ExpressionAttributeValues contains invalid key: Syntax error; key: %q", clip(a.name))
		}
		s.values[a.name] = a.v
	}
	return s, nil
}

// placeholder tells whether k is one with the given first character.
func placeholder(k string, first byte) bool {
	if len(k) < 2 || len(k) > 255 || k[0] != first {
		return false
	}
	for i := 1; i < len(k); i++ {
		if !isWord(k[i]) && (first != '#' || k[i] != '-') {
			return false
		}
	}
	return true
}

// unused refuses placeholders that no expression used.
func (s *scope) unused() *world.Error {
	if e := unusedOf("ExpressionAttributeNames", s.names, s.usedNames); e != nil {
		return e
	}
	return unusedOf("ExpressionAttributeValues", s.values, s.usedValues)
}

func unusedOf[V any](member string, have map[string]V, used map[string]bool) *world.Error {
	var left []string
	for k := range have {
		if !used[k] {
			left = append(left, k)
		}
	}
	if left == nil {
		return nil
	}
	slices.Sort(left)
	return invalid("Value provided in %s unused in expressions: keys: {%s}", member, strings.Join(left, ", "))
}

// parser reads one expression.
type parser struct {
	*scope
	kind      string // the request's member, "FilterExpression" for example
	text      string
	tokens    []token
	next      int
	operators int
	depth     int
}

func newParser(s *scope, kind, text string) (*parser, *world.Error) {
	tokens, err := lex(kind, text)
	if err != nil {
		return nil, err
	}
	return &parser{scope: s, kind: kind, text: text, tokens: tokens}, nil
}

func (p *parser) errorf(format string, args ...any) *world.Error {
	return invalid("Invalid "+p.kind+": "+format, args...)
}

func (p *parser) unexpected() *world.Error { return syntaxError(p.kind, p.text, p.peek()) }

func (p *parser) peek() token { return p.tokens[p.next] }

// symbol consumes the symbol s if it comes next.
func (p *parser) symbol(s string) bool {
	if t := p.peek(); t.kind == tokenSymbol && t.text == s {
		p.next++
		return true
	}
	return false
}

// keyword consumes the keyword w, in any case, if it comes next.
func (p *parser) keyword(w string) bool {
	if t := p.peek(); t.kind == tokenName && strings.EqualFold(t.text, w) {
		p.next++
		return true
	}
	return false
}

func (p *parser) expect(s string) *world.Error {
	if !p.symbol(s) {
		return p.unexpected()
	}
	return nil
}

func (p *parser) end() *world.Error {
	if p.peek().kind != tokenEnd {
		return p.unexpected()
	}
	return nil
}

// operator counts an operator or function.
func (p *parser) operator() *world.Error {
	if p.operators++; p.operators > maxOperators {
		return p.errorf("The expression contains too many operators; operator count: %d", p.operators)
	}
	return nil
}

func (p *parser) enter() *world.Error {
	if p.depth++; p.depth > maxFunction {
		return p.errorf("The expression is nested more than %d levels deep", maxFunction)
	}
	return nil
}

// path reads a document path.
func (p *parser) path() (path, *world.Error) {
	name, err := p.name()
	if err != nil {
		return nil, err
	}
	out := path{{name: name}}
	for {
		switch {
		case p.symbol("."):
			name, err := p.name()
			if err != nil {
				return nil, err
			}
			out = append(out, step{name: name})
		case p.symbol("["):
			t := p.peek()
			if t.kind != tokenNumber {
				return nil, p.unexpected()
			}
			i, convErr := strconv.ParseInt(t.text, 10, 32)
			if convErr != nil {
				return nil, p.errorf("List index is not within the allowable range; index: [%s]", t.text)
			}
			p.next++
			if err := p.expect("]"); err != nil {
				return nil, err
			}
			out = append(out, step{index: int(i)})
		default:
			if len(out) > maxNesting {
				return nil, p.errorf("The document path has too many nesting elements; nesting level: %d", len(out))
			}
			return out, nil
		}
	}
}

func (p *parser) name() (string, *world.Error) {
	t := p.peek()
	switch t.kind {
	case tokenHash:
		p.next++
		name, ok := p.names[t.text]
		if !ok {
			return "", p.errorf("An expression attribute name used in the document path is not defined; attribute name: %s", t.text)
		}
		p.usedNames[t.text] = true
		return name, nil
	case tokenName:
		if isReserved(t.text) {
			return "", p.errorf("Attribute name is a reserved keyword; reserved keyword: %s", t.text)
		}
		p.next++
		return t.text, nil
	}
	return "", p.unexpected()
}

func (p *parser) placeholderValue() (*value, *world.Error) {
	t := p.peek()
	if t.kind != tokenColon {
		return nil, p.unexpected()
	}
	p.next++
	v, ok := p.values[t.text]
	if !ok {
		return nil, p.errorf("An expression attribute value used in expression is not defined; attribute value: %s", t.text)
	}
	p.usedValues[t.text] = true
	return &v, nil
}

// list reads what read reads, separated by commas.
func (p *parser) list(read func() *world.Error) *world.Error {
	for {
		if err := read(); err != nil {
			return err
		}
		if !p.symbol(",") {
			return nil
		}
	}
}

// disjoint refuses paths that get in each other's way.
func (p *parser) disjoint(paths []path) *world.Error {
	// Only paths which begin with the same name can clash.
	byName := map[string][]path{}
	for _, q := range paths {
		for _, other := range byName[q[0].name] {
			if how := other.clash(q); how != "" {
				return p.errorf("Two document paths %s with each other; must remove or rewrite one of these paths; path one: %s, path two: %s", how, other, q)
			}
		}
		byName[q[0].name] = append(byName[q[0].name], q)
	}
	return nil
}

// parseProjection reads a projection expression.
func parseProjection(s *scope, text string) ([]path, *world.Error) {
	p, err := newParser(s, "ProjectionExpression", text)
	if err != nil {
		return nil, err
	}
	var paths []path
	err = p.list(func() *world.Error {
		q, err := p.path()
		paths = append(paths, q)
		return err
	})
	if err != nil {
		return nil, err
	}
	if err := p.end(); err != nil {
		return nil, err
	}
	return paths, p.disjoint(paths)
}
