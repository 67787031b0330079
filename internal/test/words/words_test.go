//go:build !race

package words

import (
	"bytes"
	"fmt"
	"go/scanner"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"sort"
	"strconv"
	"strings"
	"testing"
)

// never are folders with test data, with files that a program wrote, and with
// the banned words themselves.
var never = []string{".git", ".gas", "bench/results", "screenshots", "node_modules", "testdata", "docs/faults.md", "internal/test/words"}

// block is a piece of text that is read as one: a comment, a string, a
// paragraph, a cell of a table.
type block struct {
	text  string
	lines []int // the line of each byte of text
}

func (b *block) add(line int, s string) {
	s = strings.TrimSpace(s)
	if s == "" {
		return
	}
	if b.text != "" {
		s = " " + s
	}
	b.text += s
	for range len(s) {
		b.lines = append(b.lines, line)
	}
}

// finding is one hit of one rule.
type finding struct {
	line int
	text string
	say  string
}

func check(blocks []block) []finding {
	var out []finding
	for _, b := range blocks {
		for _, r := range rules {
			for _, at := range r.find.FindAllStringIndex(b.text, -1) {
				hit := b.text[at[0]:at[1]]
				if r.unless != nil && r.unless.MatchString(hit) {
					continue
				}
				lead := len(hit) - len(strings.TrimLeft(hit, ".!?;:) "))
				out = append(out, finding{line: b.lines[at[0]+lead], text: hit[lead:], say: r.say})
			}
		}
	}
	return out
}

// goBlocks returns the comments and strings of a Go file. The scanner finds
// them, so code is never read as prose.
func goBlocks(src []byte) []block {
	fset := token.NewFileSet()
	file := fset.AddFile("", fset.Base(), len(src))
	var s scanner.Scanner
	s.Init(file, src, nil, scanner.ScanComments)
	var out []block
	last := -1 // the line of the comment before, or -1
	for {
		pos, tok, lit := s.Scan()
		line := file.Line(pos)
		switch tok {
		case token.EOF:
			return out
		case token.SEMICOLON:
			continue
		case token.COMMENT:
			text, oneLine := strings.CutPrefix(lit, "//")
			if !oneLine {
				out = append(out, textBlocks(line, strings.Trim(lit, "/*"))...)
				last = -1
				continue
			}
			code := strings.HasPrefix(text, "\t") || !strings.HasPrefix(text, " ")
			if last != line-1 || code {
				out = append(out, block{})
			}
			out[len(out)-1].add(line, text)
			last = line
			if code {
				last = -1
			}
		case token.STRING:
			if text, err := strconv.Unquote(lit); err == nil {
				// In a raw string, each line of the text is a line of the
				// file; in the others, all of the text is on one line.
				blocks := textBlocks(line, text)
				if lit[0] == '"' {
					for i := range blocks {
						for j := range blocks[i].lines {
							blocks[i].lines[j] = line
						}
					}
				}
				out = append(out, blocks...)
			}
			last = -1
		default:
			last = -1
		}
	}
}

// textBlocks splits text into paragraphs.
func textBlocks(line int, text string) []block {
	out := []block{{}}
	for i, l := range strings.Split(text, "\n") {
		if strings.TrimSpace(l) == "" {
			out = append(out, block{})
			continue
		}
		out[len(out)-1].add(line+i, l)
	}
	return out
}

var (
	inlineCode = regexp.MustCompile("`[^`]*`|\\]\\([^)]*\\)|https?://\\S+")
	listItem   = regexp.MustCompile(`^\s*([-*]|\d+\.) `)
)

// docBlocks returns the paragraphs, list items and table cells of a Markdown
// file, without the code words.
func docBlocks(src []byte) []block {
	out := []block{{}}
	fence := false
	for i, l := range strings.Split(string(src), "\n") {
		if strings.HasPrefix(strings.TrimSpace(l), "```") {
			fence = !fence
			out = append(out, block{})
			continue
		}
		l = inlineCode.ReplaceAllString(l, "`x`")
		switch {
		case strings.HasPrefix(l, "|"):
			for cell := range strings.SplitSeq(l, "|") {
				out = append(out, block{})
				out[len(out)-1].add(i+1, cell)
			}
			out = append(out, block{})
		case strings.TrimSpace(l) == "":
			out = append(out, block{})
		case fence || strings.HasPrefix(l, "#") || listItem.MatchString(l):
			out = append(out, block{})
			out[len(out)-1].add(i+1, listItem.ReplaceAllString(l, ""))
			if fence || strings.HasPrefix(l, "#") {
				out = append(out, block{})
			}
		default:
			out[len(out)-1].add(i+1, l)
		}
	}
	return out
}

var tag = regexp.MustCompile(`<[^>]*>|\{\{[^}]*\}\}`)

// pageBlocks returns the text of a template of the site.
func pageBlocks(src []byte) []block {
	var out []block
	for i, l := range strings.Split(string(src), "\n") {
		out = append(out, block{})
		out[len(out)-1].add(i+1, tag.ReplaceAllString(l, " "))
	}
	return out
}

func read(path string) ([]block, error) {
	src, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	switch {
	case strings.HasSuffix(path, ".go"):
		return goBlocks(src), nil
	case strings.HasSuffix(path, ".md"):
		return docBlocks(src), nil
	}
	return pageBlocks(src), nil
}

func under(path string, folders []string) bool {
	for _, f := range folders {
		if path == f || strings.HasPrefix(path, f+"/") || filepath.Base(path) == f {
			return true
		}
	}
	return false
}

func TestTheProseKeepsTheRules(t *testing.T) {
	root := filepath.Join("..", "..", "..")
	var found []string
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(root, path)
		if err != nil {
			return err
		}
		rel = filepath.ToSlash(rel)
		if under(rel, never) {
			if d.IsDir() {
				return filepath.SkipDir
			}
			return nil
		}
		if ext := filepath.Ext(rel); d.IsDir() || ext != ".go" && ext != ".md" && ext != ".html" {
			return nil
		}
		blocks, err := read(path)
		if err != nil {
			return err
		}
		for _, f := range check(blocks) {
			found = append(found, fmt.Sprintf("%s:%d: %q: %s", rel, f.line, f.text, f.say))
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	sort.Strings(found)
	for _, f := range found {
		t.Error(f)
	}
}

func TestEachRuleFindsItsPlantedSentence(t *testing.T) {
	for _, r := range rules {
		if got := check([]block{sentence(r.bad)}); !says(got, r.say) {
			t.Errorf("%q: the rule %v finds nothing", r.bad, r.find)
		}
		if got := check([]block{sentence(r.good)}); len(got) > 0 {
			t.Errorf("%q: a good sentence is refused: %+v", r.good, got)
		}
	}
}

func sentence(s string) block {
	var b block
	b.add(1, s)
	return b
}

func says(found []finding, say string) bool {
	for _, f := range found {
		if f.say == say {
			return true
		}
	}
	return false
}

func TestCommentsAndStringsAreReadAndCodeIsNot(t *testing.T) {
	src := []byte("package p\n\n// A job whose\n// owner left.\nvar whose = \"looked\" // fine\n\nvar s = `one\ntwo goes by three`\n\n// It is looked\n// at once a day.\n")
	var got bytes.Buffer
	for _, f := range check(goBlocks(src)) {
		fmt.Fprintf(&got, "%d %s\n", f.line, f.text)
	}
	if want := "3 whose\n8 goes by\n10 is looked at\n"; got.String() != want {
		t.Errorf("got:\n%swant:\n%s", got.String(), want)
	}
}

func TestCodeWordsInDocsAreNotProse(t *testing.T) {
	src := []byte("# Title\n\nRun `gas whose`, and see [this](of-which.md).\n\n| a table whose | cell |\n")
	found := check(docBlocks(src))
	if len(found) != 1 || found[0].line != 5 {
		t.Errorf("got %+v, want one finding, in line 5", found)
	}
}
