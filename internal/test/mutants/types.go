package main

import (
	"bytes"
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"go/ast"
	"go/importer"
	"go/parser"
	"go/token"
	"go/types"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

//go:embed switch.go.txt
var switchSource string

// checker tells what the compiler would say of changed files of a package.
type checker struct {
	target   target
	fset     *token.FileSet
	importer types.Importer
	sources  map[string][]byte
	parsed   map[string]*ast.File // as they are
	pkg      *types.Package
	info     *types.Info
}

// newChecker reads a package, and what the compiler made of those that it imports.
func newChecker(ctx context.Context, t target) (*checker, error) {
	// The switch needs its imports too.
	out, err := goTool(ctx, t.Module.Dir, "list", "-export", "-deps", "-json=ImportPath,Export", t.ImportPath, "cmp", "os", "strconv", "syscall")
	if err != nil {
		return nil, err
	}
	exports := map[string]string{}
	for dec := json.NewDecoder(bytes.NewReader(out)); ; {
		var p struct{ ImportPath, Export string }
		if err := dec.Decode(&p); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			return nil, err
		}
		exports[p.ImportPath] = p.Export
	}
	c := &checker{target: t, fset: token.NewFileSet(), sources: map[string][]byte{}, parsed: map[string]*ast.File{}, info: &types.Info{
		Types: map[ast.Expr]types.TypeAndValue{}, Uses: map[*ast.Ident]types.Object{}, Defs: map[*ast.Ident]types.Object{},
	}}
	c.importer = importer.ForCompiler(c.fset, "gc", func(path string) (io.ReadCloser, error) {
		if exports[path] == "" {
			return nil, fmt.Errorf("nobody compiled %s", path)
		}
		return os.Open(exports[path])
	})
	var files []*ast.File
	for _, name := range t.GoFiles {
		src, err := os.ReadFile(filepath.Join(t.Dir, name))
		if err != nil {
			return nil, err
		}
		f, err := parser.ParseFile(c.fset, name, src, parser.SkipObjectResolution)
		if err != nil {
			return nil, err
		}
		c.sources[name], c.parsed[name] = src, f
		files = append(files, f)
	}
	conf := types.Config{Importer: c.importer}
	if c.pkg, err = conf.Check(t.ImportPath, c.fset, files, c.info); err != nil {
		return nil, err
	}
	return c, nil
}

// switched returns the mutations of all files, with their forms behind a switch.
func (c *checker) switched() []mutation {
	var ms []mutation
	uses := uses{}
	var all []*walker
	for _, name := range c.target.GoFiles {
		src := c.sources[name]
		w := &walker{name: name, src: src, lines: strings.Split(string(src), "\n"), fset: c.fset, info: c.info, own: c.pkg, uses: uses}
		w.visit(c.parsed[name], func(n ast.Node) {
			if id, ok := n.(*ast.Ident); ok {
				w.use(id)
			}
		})
		all = append(all, w)
	}
	for _, w := range all {
		ms = append(ms, w.walk(c.parsed[w.name])...)
	}
	return ms
}

// errors returns what is wrong with the package if these files are changed.
func (c *checker) errors(changed map[string][]byte) (all []types.Error) {
	fset := token.NewFileSet()
	var files []*ast.File
	conf := types.Config{Importer: c.importer, Error: func(err error) {
		var e types.Error
		if errors.As(err, &e) {
			all = append(all, e)
		}
	}}
	names := slices.Clone(c.target.GoFiles)
	for name := range changed {
		if !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	for _, name := range names {
		src, ok := changed[name]
		if !ok {
			src = c.sources[name]
		}
		f, err := parser.ParseFile(fset, name, src, parser.SkipObjectResolution)
		if err != nil {
			at := fset.File(1)
			if f != nil {
				at = fset.File(f.FileStart)
			}
			return append(all, types.Error{Fset: fset, Pos: token.Pos(at.Base()), Msg: err.Error()})
		}
		files = append(files, f)
	}
	conf.Check(c.target.ImportPath, fset, files, nil) // conf.Error has its errors
	return all
}

// builds tells whether the package compiles with the mutation in its plain form.
func (c *checker) builds(m mutation) bool {
	return len(c.errors(map[string][]byte{m.file: m.apply(c.sources[m.file])})) == 0
}

// schema is a package with many mutations behind one switch.
type schema struct {
	files      map[string][]byte // the changed ones and the switch
	unswitched []bool            // by the index of the mutation: it needs a build of its own
}

// switchFile is the name of the file with the switch.
const switchFile = "mutant_switch.go"

// schemaOf puts the wanted mutations behind a switch: number i+1 turns mutation i on. Those that do
// not compile in that form remain for builds of their own.
func (c *checker) schemaOf(ms []mutation, wanted func(i int) bool) (schema, error) {
	s := schema{unswitched: make([]bool, len(ms))}
	for i, m := range ms {
		s.unswitched[i] = len(m.edits) == 0
	}
	render := func(only func(i int) bool) map[string][]byte {
		files := map[string][]byte{switchFile: []byte(strings.NewReplacer("PACKAGE", c.pkg.Name(), "SIZE", strconv.Itoa(len(ms)+1)).Replace(switchSource))}
		for name, src := range c.sources {
			var of []mutation
			var numbers []int
			for i, m := range ms {
				if only(i) {
					if s.unswitched[i] {
						m.edits, m.tag = nil, nil
					}
					of, numbers = append(of, m), append(numbers, i+1)
				}
			}
			files[name] = renderFile(name, src, of, numbers)
		}
		return files
	}
	for {
		s.files = render(wanted)
		wrong := c.errors(s.files)
		if len(wrong) == 0 {
			return s, nil
		}
		found := false
		suspect := func(certain bool) {
			for _, e := range wrong {
				at := e.Fset.Position(e.Pos)
				for i, m := range ms {
					if m.file != at.Filename || s.unswitched[i] || !wanted(i) || at.Line < m.line || at.Line > m.line+bytes.Count(c.sources[m.file][m.from:m.to], []byte("\n")) {
						continue
					}
					if certain || len(c.errors(render(func(j int) bool { return j == i }))) > 0 {
						s.unswitched[i], found = true, true
					}
				}
			}
		}
		if suspect(false); !found {
			suspect(true)
		}
		if !found {
			return s, fmt.Errorf("%s does not compile with the mutations behind a switch: %w", c.target.name, wrong[0])
		}
	}
}
