package main

import (
	"cmp"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"go/types"
	"slices"
	"strconv"
	"strings"
)

// mutation is one mistake in one place: the bytes [from, to) of a file become text.
type mutation struct {
	file     string // as it was given
	line     int
	column   int
	in       string // the function, empty outside of any
	source   string // the line, without its indentation
	change   string // what it does, in words that stay the same when lines move
	from, to int
	text     string
	// edits make the mistake behind a switch, beside all other mistakes of the file; empty
	// where that is not possible.
	edits []edit
	// tag is what else the switch statement around must become for that.
	tag *tagged
	// probes are where a statement that notes the number tells that a test comes here.
	probes []place
	// global: it is outside of any function. Its probes are in the functions that use what it is in.
	global bool
}

// apply returns src with the mistake.
func (m mutation) apply(src []byte) []byte {
	return slices.Concat(src[:m.from], []byte(m.text), src[m.to:])
}

func (m mutation) String() string { return fmt.Sprintf("%s:%d: %s", m.file, m.line, m.change) }

// walker collects the mutations of a file.
type walker struct {
	name  string
	src   []byte
	lines []string
	fset  *token.FileSet
	found []mutation
	// path is the way from the file to the current node, with both ends.
	path []ast.Node
	// info has the types of the package; nil where the forms behind a switch do not matter.
	info  *types.Info
	own   *types.Package
	uses  uses
	file  *ast.File
	tags  map[*ast.SwitchStmt]*tagged
	wraps int // how many there are so far
}

// mutationsOf returns every mistake that the operators make of a file, in the order
// of their places.
func mutationsOf(name string, src []byte) ([]mutation, error) {
	fset := token.NewFileSet()
	file, err := parser.ParseFile(fset, name, src, parser.SkipObjectResolution)
	if err != nil {
		return nil, err
	}
	w := &walker{name: name, src: src, lines: strings.Split(string(src), "\n"), fset: fset}
	return w.walk(file), nil
}

// walk returns the mutations of the file.
func (w *walker) walk(file *ast.File) []mutation {
	w.file, w.tags = file, map[*ast.SwitchStmt]*tagged{}
	w.visit(file, w.look)
	slices.SortStableFunc(w.found, func(a, b mutation) int { return cmp.Or(cmp.Compare(a.from, b.from), cmp.Compare(a.to, b.to)) })
	return w.found
}

// visit calls f for each node, with the way to it in path.
func (w *walker) visit(file *ast.File, f func(ast.Node)) {
	ast.Inspect(file, func(n ast.Node) bool {
		if n == nil {
			w.path = w.path[:len(w.path)-1]
			return false
		}
		w.path = append(w.path, n)
		f(n)
		return true
	})
}

// look makes the mutations of one node.
func (w *walker) look(n ast.Node) {
	switch n := n.(type) {
	case *ast.IfStmt:
		w.negate(n.Cond)
	case *ast.ForStmt:
		if n.Cond != nil {
			w.negate(n.Cond)
		}
	case *ast.CaseClause:
		w.clause(n)
	case *ast.BinaryExpr:
		w.operator(n)
	case *ast.ReturnStmt:
		if w.early() {
			w.exit(n)
		}
		w.result(n) // after what is around it
	case *ast.BranchStmt:
		if n.Tok == token.CONTINUE || n.Tok == token.BREAK {
			w.exit(n)
		}
	case *ast.ExprStmt:
		if call, ok := n.X.(*ast.CallExpr); ok && !logs(call) {
			w.skip(n)
		}
	case *ast.DeferStmt:
		if id, ok := n.Call.Fun.(*ast.Ident); !ok || id.Name != "cancel" {
			w.skip(n) // without its only call, the compiler refuses the function
		}
	case *ast.Ident:
		w.flag(n)
	case *ast.BasicLit:
		w.literal(n)
	}
}

// parent returns the node that is up levels above the current one.
func (w *walker) parent(up int) ast.Node {
	if at := len(w.path) - 1 - up; at >= 0 {
		return w.path[at]
	}
	return nil
}

// add notes a mutation of the bytes of a node.
func (w *walker) add(n ast.Node, text, format string, args ...any) *mutation {
	return w.replace(n.Pos(), n.End(), text, format, args...)
}

func (w *walker) replace(from, to token.Pos, text, format string, args ...any) *mutation {
	at := w.fset.Position(from)
	w.found = append(w.found, mutation{
		file: w.name, line: at.Line, column: at.Column, in: w.function(), source: strings.TrimSpace(w.lines[at.Line-1]),
		change: fmt.Sprintf(format, args...), from: at.Offset, to: w.fset.Position(to).Offset, text: text,
	})
	m := &w.found[len(w.found)-1]
	if m.probes = w.body(); m.probes == nil {
		m.global, m.probes = true, w.used()
	}
	return m
}

// text returns a node as it is written.
func (w *walker) text(n ast.Node) string {
	return string(w.src[w.fset.Position(n.Pos()).Offset:w.fset.Position(n.End()).Offset])
}

// short is text on one line, cut.
func (w *walker) short(n ast.Node) string {
	s := strings.Join(strings.Fields(w.text(n)), " ")
	if r := []rune(s); len(r) > 80 {
		s = string(r[:79]) + "…"
	}
	return s
}

// function returns the name of the function around, with its receiver's type.
func (w *walker) function() string {
	for _, n := range w.path {
		f, ok := n.(*ast.FuncDecl)
		if !ok {
			continue
		}
		if f.Recv == nil || len(f.Recv.List) == 0 {
			return f.Name.Name
		}
		receiver, _, _ := strings.Cut(strings.TrimPrefix(w.text(f.Recv.List[0].Type), "*"), "[")
		return receiver + "." + f.Name.Name
	}
	return ""
}

func (w *walker) negate(cond ast.Expr) {
	w.add(cond, "!("+w.text(cond)+")", "negate %s", w.short(cond)).edits = w.wrap(cond, "((", ") != mutantOn(\x00))")
}

// clause leaves a case of a switch out, and negates the conditions of one that has no
// tag.
func (w *walker) clause(c *ast.CaseClause) {
	sw, ok := w.parent(2).(*ast.SwitchStmt)
	if ok && sw.Tag == nil && len(c.List) > 0 {
		for _, cond := range c.List {
			w.negate(cond)
			w.add(cond, "false && ("+w.text(cond)+")", "leave out case %s", w.short(cond)).edits = w.wrap(cond, "(!mutantOn(\x00) && (", "))")
		}
		return
	}
	name := "default"
	if len(c.List) > 0 {
		name = "case " + w.short(c.List[0])
	}
	if len(c.List) == 0 && len(c.Body) == 0 {
		return // it changes nothing
	}
	m := w.add(c, "", "leave out %s", name)
	m.probes = []place{{w.name, w.offset(c.Colon) + 1}}
	switch {
	case len(c.List) == 0:
		m.edits = w.around(c.Body[0].Pos(), c.Body[len(c.Body)-1].End(), "if !mutantOn(\x00) { ", " }")
	case ok && w.tagged(sw, w.parent(3)) != nil:
		m.tag = w.tags[sw]
		for _, e := range c.List {
			m.edits = append(m.edits, w.wrap(e, "!mutantOn(\x00) && ", "")...)
		}
	}
}

var swapped = map[token.Token]token.Token{
	token.LAND: token.LOR, token.LOR: token.LAND, token.EQL: token.NEQ, token.NEQ: token.EQL,
	token.LSS: token.LEQ, token.LEQ: token.LSS, token.GTR: token.GEQ, token.GEQ: token.GTR,
}

func (w *walker) operator(b *ast.BinaryExpr) {
	if (b.Op == token.EQL || b.Op == token.NEQ) && w.decides(b) {
		return // negate makes the same
	}
	to, ok := swapped[b.Op]
	if !ok {
		return
	}
	after := b.OpPos + token.Pos(len(b.Op.String()))
	m := w.replace(b.OpPos, after, to.String(), "%s becomes %s in %s", b.Op, to, w.short(b))
	switch b.Op {
	case token.LAND, token.LOR:
		// By De Morgan, each is the other with all three sides negated.
		const before, after = "((", ") != mutantOn(\x00))"
		m.edits = slices.Concat(w.wrap(b, before, after), w.wrap(b.X, before, after), w.wrap(b.Y, before, after))
	case token.EQL, token.NEQ:
		m.edits = w.wrap(b, "((", ") != mutantOn(\x00))")
	default:
		name := map[token.Token]string{token.LSS: "mutantLess", token.LEQ: "mutantAtMost", token.GTR: "mutantMore", token.GEQ: "mutantAtLeast"}[b.Op]
		m.edits = append(w.wrap(b, name+"(\x00, ", ")"), edit{from: w.offset(b.OpPos), to: w.offset(after), text: ","})
	}
}

// decides tells whether the expression is the whole condition of a branch.
func (w *walker) decides(e ast.Expr) bool {
	switch p := w.parent(1).(type) {
	case *ast.IfStmt:
		return p.Cond == e
	case *ast.ForStmt:
		return p.Cond == e
	case *ast.CaseClause:
		sw, ok := w.parent(3).(*ast.SwitchStmt)
		return ok && sw.Tag == nil
	}
	return false
}

// result makes a returned error nil.
func (w *walker) result(r *ast.ReturnStmt) {
	if len(r.Results) == 0 {
		return
	}
	results := w.results()
	last := r.Results[len(r.Results)-1]
	if n := results.NumFields(); n != len(r.Results) {
		return // the results of one call, as they are
	}
	if id, ok := results.List[len(results.List)-1].Type.(*ast.Ident); !ok || id.Name != "error" {
		return
	}
	if id, ok := last.(*ast.Ident); ok && id.Name == "nil" {
		return
	}
	if call, ok := last.(*ast.CallExpr); ok && len(r.Results) == 1 && !makesError(call) {
		// The call is the work itself and not the making of an error.
		w.add(last, "func(error) error { return nil }("+w.text(last)+")", "return nil, whatever %s returns", w.short(last)).edits =
			w.wrap(last, "mutantNil(\x00, ", ")")
		return
	}
	w.add(last, "nil", "return nil for %s", w.short(last)).edits = w.wrap(last, "mutantNone(\x00, func() error { return ", " })")
}

// results returns the results of the innermost function around.
func (w *walker) results() *ast.FieldList {
	for _, n := range slices.Backward(w.path) {
		var t *ast.FuncType
		switch f := n.(type) {
		case *ast.FuncDecl:
			t = f.Type
		case *ast.FuncLit:
			t = f.Type
		default:
			continue
		}
		if t.Results != nil {
			return t.Results
		}
		break
	}
	return &ast.FieldList{}
}

// makesError tells whether a call makes an error out of others, by its name.
func makesError(call *ast.CallExpr) bool {
	sel, ok := call.Fun.(*ast.SelectorExpr)
	if !ok {
		return false
	}
	of, ok := sel.X.(*ast.Ident)
	return ok && (of.Name == "fmt" || of.Name == "errors" || of.Name == "fault")
}

// early tells whether the statement is not the last of its function.
func (w *walker) early() bool {
	block, ok := w.parent(1).(*ast.BlockStmt)
	if !ok {
		return true
	}
	switch w.parent(2).(type) {
	case *ast.FuncDecl, *ast.FuncLit:
		return block.List[len(block.List)-1] != w.parent(0)
	}
	return true
}

// exit leaves an early exit out. It stays where the compiler sees it, so that nothing
// is unused.
func (w *walker) exit(n ast.Node) {
	w.add(n, "if false { "+w.text(n)+" }", "leave out %s", w.short(n)).edits = w.wrap(n, "if !mutantOn(\x00) { ", " }")
}

// skip leaves a call out. It stays where the compiler sees it.
func (w *walker) skip(n ast.Stmt) {
	w.add(n, "_ = func() { "+w.text(n)+" }", "leave out %s", w.short(n)).edits = w.wrap(n, "if !mutantOn(\x00) { ", " }")
}

// logs tells whether a call only writes to a log: that such a line is missing is for
// no test to find.
func logs(call *ast.CallExpr) bool {
	sel, ok := call.Fun.(*ast.SelectorExpr)
	if !ok {
		return false
	}
	switch sel.Sel.Name {
	case "Debug", "Info", "Warn", "Error":
	default:
		return false
	}
	of := ""
	switch x := sel.X.(type) {
	case *ast.Ident:
		of = x.Name
	case *ast.SelectorExpr:
		of = x.Sel.Name
	}
	of = strings.ToLower(of)
	return of == "log" || of == "logger" || of == "slog"
}

// besides tells whether the current node is a result beside an error or beside a false ok:
// no caller looks at it.
func (w *walker) besides() bool {
	r, ok := w.parent(1).(*ast.ReturnStmt)
	if !ok || len(r.Results) < 2 || r.Results[len(r.Results)-1] == w.parent(0) {
		return false
	}
	results := w.results()
	if results.NumFields() != len(r.Results) {
		return false
	}
	kind, _ := results.List[len(results.List)-1].Type.(*ast.Ident)
	last, _ := r.Results[len(r.Results)-1].(*ast.Ident)
	switch {
	case kind == nil:
		return false
	case kind.Name == "bool":
		return last != nil && last.Name == "false"
	case kind.Name != "error" || last != nil && last.Name == "nil":
		return false
	}
	if call, ok := r.Results[len(r.Results)-1].(*ast.CallExpr); ok && makesError(call) {
		return true
	}
	branch, ok := w.parent(3).(*ast.IfStmt)
	return ok && strings.Contains(w.text(branch.Cond), "err != nil")
}

var flags = map[string]string{"true": "false", "false": "true"}

func (w *walker) flag(id *ast.Ident) {
	to, ok := flags[id.Name]
	if !ok || w.besides() {
		return
	}
	if sel, ok := w.parent(1).(*ast.SelectorExpr); ok && sel.Sel == id {
		return
	}
	at := w.parent(1)
	if call, ok := at.(*ast.CallExpr); ok { // aws.Bool(true) is what its field says
		if kv, ok := w.parent(2).(*ast.KeyValueExpr); ok && kv.Value == call {
			at = kv
		}
	}
	w.add(id, to, "%s becomes %s in %s", id.Name, to, w.short(at)).edits = w.wrap(id, "(", " != mutantOn(\x00))")
}

func (w *walker) literal(l *ast.BasicLit) {
	switch l.Kind {
	case token.INT:
		if w.besides() {
			return
		}
		text := "(" + l.Value + " + 1)"
		if n, err := strconv.ParseInt(l.Value, 10, 64); err == nil {
			text = strconv.FormatInt(n+1, 10)
		}
		m := w.add(l, text, "%s becomes one more in %s", l.Value, w.short(w.parent(1)))
		if t := w.typeOf(l); t != "" {
			m.edits = w.wrap(l, "mutantPlus["+t+"](\x00, ", ")")
		}
	case token.STRING:
		for up := 1; up <= 2; up++ { // alone, or in a call of aws.String
			if kv, ok := w.parent(up).(*ast.KeyValueExpr); ok {
				if key, ok := kv.Key.(*ast.Ident); ok && key.Name == "KeyConditionExpression" {
					return // DynamoDB takes nothing but equality there
				}
			}
		}
		if s, err := strconv.Unquote(l.Value); err == nil {
			w.condition(l, s)
		}
	}
}

// condition makes a clause of a condition of DynamoDB hold whatever is so, and leaves
// an attribute out of what an update removes.
func (w *walker) condition(l *ast.BasicLit, s string) {
	if list, ok := strings.CutPrefix(s, "REMOVE "); ok {
		names := strings.Split(list, ", ")
		for i := range names {
			if len(names) > 1 {
				less := slices.Delete(slices.Clone(names), i, i+1)
				w.other(l, "REMOVE "+strings.Join(less, ", "), "do not remove %s", names[i])
			}
		}
		return
	}
	clauses := strings.Split(s, " AND ")
	for _, c := range clauses {
		if !isClause(c) {
			return
		}
	}
	for i, c := range clauses {
		// Left out, its values would be unused, which DynamoDB refuses.
		always := slices.Clone(clauses)
		always[i] = "(" + c + " OR NOT (" + c + "))"
		w.other(l, strings.Join(always, " AND "), "drop the clause %s", c)
	}
}

// other puts another string in the place of a literal.
func (w *walker) other(l *ast.BasicLit, s, format string, args ...any) {
	quoted := strconv.Quote(s)
	w.add(l, quoted, format, args...).edits = w.wrap(l, "mutantText(\x00, "+quoted+", ", ")")
}

// isClause tells whether s is one comparison or call of a condition.
func isClause(s string) bool {
	for _, verb := range []string{"SET ", "ADD ", "DELETE ", "REMOVE "} {
		if strings.HasPrefix(s, verb) {
			return false
		}
	}
	if strings.Contains(s, "BETWEEN") || strings.Count(s, "(") != strings.Count(s, ")") {
		return false
	}
	for _, call := range []string{"attribute_exists(", "attribute_not_exists(", "begins_with(", "contains("} {
		if strings.HasPrefix(s, call) && strings.HasSuffix(s, ")") {
			return true
		}
	}
	fields := strings.Fields(s)
	return len(fields) == 3 && strings.HasPrefix(fields[2], ":") && slices.Contains([]string{"=", "<>", "<", "<=", ">", ">="}, fields[1])
}
