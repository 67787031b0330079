package web

import (
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"fmt"
	"html/template"
	"io"
	"io/fs"
	"mime"
	"path"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/gas-restore/gas/internal/archive"
	"github.com/gas-restore/gas/internal/text"
)

//go:embed templates/*.html
var templateFiles embed.FS

//go:embed assets
var assetFiles embed.FS

// frame is what every page has.
type frame struct {
	Title string
	// Viewer is nil if nobody is signed in. Perhaps says that somebody may be, and that the site
	// could not find out.
	Viewer  *viewer
	Perhaps bool
	// Waits says in a sentence that the viewer's files wait for somebody at the service. It is
	// empty if none does.
	Waits string
	// Support is where people reach the team; nil if that is not set.
	Support *contact
	// Section is the current place in the navigation.
	Section string
	// Live says that the page follows its user's changes, from the position At on. At is empty
	// if the position is not known.
	Live bool
	At   string
	// Poll says that the page may change without an event.
	Poll bool
	// Request is the request's id, for pages on which somebody may need it.
	Request string
	Body    any
}

// views renders pages, and has the files that they need.
type views struct {
	pages map[string]*template.Template
	// assets has the files by name. The name has the hash of the content in it, so a browser
	// may keep the file for good.
	assets map[string]asset
	// names leads from the plain name to the one with the hash.
	names map[string]string
}

type asset struct {
	content []byte
	kind    string
}

func newViews() (*views, error) {
	v := &views{pages: make(map[string]*template.Template), assets: make(map[string]asset), names: make(map[string]string)}
	files, err := fs.ReadDir(assetFiles, "assets")
	if err != nil {
		return nil, fmt.Errorf("read the assets: %w", err)
	}
	for _, f := range files {
		content, err := assetFiles.ReadFile("assets/" + f.Name())
		if err != nil {
			return nil, fmt.Errorf("read asset %s: %w", f.Name(), err)
		}
		sum := sha256.Sum256(content)
		ext := path.Ext(f.Name())
		name := strings.TrimSuffix(f.Name(), ext) + "-" + hex.EncodeToString(sum[:6]) + ext
		v.assets[name] = asset{content: content, kind: mime.TypeByExtension(ext)}
		v.names[f.Name()] = "/assets/" + name
	}
	shared, err := template.New("").Funcs(template.FuncMap{
		"asset": func(name string) (string, error) {
			if a, ok := v.names[name]; ok {
				return a, nil
			}
			return "", fmt.Errorf("no asset %s", name)
		},
		"time":   func(t time.Time) template.HTML { return timeHTML(t, "") },
		"both":   func(t time.Time) template.HTML { return timeHTML(t, " data-both") },
		"badge":  badgeHTML,
		"breaks": breaksHTML,
		"name":   nameHTML,
		"rows":   rowsHTML,
		"bytes":  humanBytes,
		"count":  humanCount,
		"total":  func(rows []jobView) int64 { return int64(len(rows)) },
	}).ParseFS(templateFiles, "templates/layout.html", "templates/icons.html")
	if err != nil {
		return nil, fmt.Errorf("parse the layout: %w", err)
	}
	for _, name := range []string{"home", "annotations", "annotation", "subscribe", "account", "help", "problem"} {
		t, err := shared.Clone()
		if err == nil {
			t, err = t.ParseFS(templateFiles, "templates/"+name+".html")
		}
		if err != nil {
			return nil, fmt.Errorf("parse page %s: %w", name, err)
		}
		v.pages[name] = t
	}
	return v, nil
}

// render writes a page to w.
func (v *views) render(w io.Writer, page string, f frame) error {
	if err := v.pages[page].ExecuteTemplate(w, "layout", f); err != nil {
		return fmt.Errorf("render page %s: %w", page, err)
	}
	return nil
}

func utc(t time.Time) string { return t.UTC().Format(utcLayout) }

const utcLayout = "2 Jan 2006, 15:04 UTC"

// Code writes the rows of a list: templates took most of the time of a list, and most of
// its memory. A row consists of times, words of ours, and escaped texts and addresses. A
// test compares it with a template.

func timeHTML(t time.Time, attr string) template.HTML {
	return template.HTML(appendTime(nil, t, attr))
}

func appendTime(b []byte, t time.Time, attr string) []byte {
	if t.IsZero() {
		return append(b, `<span class="none">not known</span>`...)
	}
	t = t.UTC()
	b = append(b, `<time datetime="`...)
	b = t.AppendFormat(b, time.RFC3339)
	b = append(append(append(b, '"'), attr...), '>')
	return append(t.AppendFormat(b, utcLayout), "</time>"...)
}

func badgeHTML(l look) template.HTML { return template.HTML(appendBadge(nil, l)) }

func appendBadge(b []byte, l look) []byte {
	b = append(append(b, `<span class="badge" data-badge data-tone="`...), l.Tone...)
	b = append(append(b, `"><svg aria-hidden="true"><use href="#`...), l.Icon...)
	b = append(append(b, `"></use></svg><span data-label>`...), l.Label...)
	return append(b, `</span></span>`...)
}

// rowSize is the size of a long row, in bytes.
const rowSize = 512

// rowsHTML returns the rows of a list.
func rowsHTML(rows []jobView) template.HTML {
	var all strings.Builder
	all.Grow(rowSize * len(rows))
	row := make([]byte, 0, rowSize)
	for i := range rows {
		row = rows[i].appendRow(row[:0])
		all.Write(row)
	}
	return template.HTML(all.String())
}

func (v *jobView) appendRow(b []byte) []byte {
	state := v.State
	if v.Stage != "" {
		state = v.Stage
	}
	b = appendText(append(b, `<li data-job="`...), string(v.ID))
	b = appendText(append(b, `" data-state="`...), string(state))
	b = appendText(append(b, "\">\n<a href=\""...), v.Link+v.From)
	b = append(b, `" data-name`...)
	if head, tail := halves(v.Name); tail == "" {
		b = appendText(append(b, "><bdi>"...), text.Balance(v.Name))
	} else {
		b = appendText(append(b, ` title="`...), text.Balance(v.Name))
		b = appendText(append(b, `"><bdi class="long"><span>`...), text.Balance(head))
		b = appendText(append(b, `</span><span>`...), text.Balance(tail))
		b = append(b, `</span>`...)
	}
	b = append(b, "</bdi></a>\n<span class=\"when\">"...)
	b = appendTime(b, v.SubmittedAt, "")
	b = append(b, "</span>\n<span class=\"size\">"...)
	if size := v.Weight(); size > 0 {
		b = append(b, humanBytes(size)...)
	}
	b = append(b, "</span>\n"...)
	b = append(appendBadge(b, v.Look), '\n')
	if v.Here() {
		b = appendText(append(b, `<a class="get" href="`...), v.Link)
		b = appendText(append(b, `/download" title="Download" aria-label="Download `...), text.Balance(v.Name))
		b = append(b, "\"><svg aria-hidden=\"true\"><use href=\"#copy\"></use></svg></a>\n"...)
	}
	return append(b, "</li>\n"...)
}

// Here reports whether a list offers the file for download.
func (v *jobView) Here() bool { return v.State == archive.Available && v.Look != notThere }

const (
	// longName is the length from which on a list may cut a name in its middle, and tailName the
	// length of the end that it always shows, both in letters.
	longName, tailName = 28, 12
)

// halves returns the two parts of a long name between which a list may cut it. The second
// part is empty if the name is short. Marks stay with their letters.
func halves(name string) (head, tail string) {
	letters := []rune(name)
	if len(letters) < longName {
		return name, ""
	}
	at := len(letters) - max(tailName, min(len([]rune(extension(name)))+4, longName-8))
	for at > 0 && (unicode.In(letters[at], unicode.M, unicode.Cf) || unicode.In(letters[at-1], unicode.Cf)) {
		at--
	}
	if at == 0 {
		return name, ""
	}
	return string(letters[:at]), string(letters[at:])
}

// nameHTML returns a text from outside. It does not change the direction of the text around
// it.
func nameHTML(name string) template.HTML {
	return template.HTML(append(appendText([]byte("<bdi>"), text.Balance(name)), "</bdi>"...))
}

// breaksHTML returns a file's name in which a line may also break after a word.
func breaksHTML(name string) template.HTML {
	name = text.Balance(name)
	b := make([]byte, 0, 2*len(name))
	for i, last := 0, 0; i <= len(name); i++ {
		switch {
		case i == len(name):
			b = appendText(b, name[last:])
		case i > 0 && (name[i] == '.' || strings.IndexByte("_-+", name[i-1]) >= 0):
			b = append(appendText(b, name[last:i]), "<wbr>"...)
			last = i
		}
	}
	return template.HTML(b)
}

// appendText appends s, escaped for a text and for an attribute between quotes.
func appendText(b []byte, s string) []byte {
	if !strings.ContainsAny(s, "<>&\"'\x00") {
		return append(b, s...)
	}
	return append(b, template.HTMLEscapeString(s)...)
}

// humanBytes writes a number of bytes for people. It is empty if n is unknown.
func humanBytes(n int64) string {
	if n < 0 {
		return ""
	}
	if n < 1000 {
		return fmt.Sprintf("%d B", n)
	}
	v, unit := float64(n), 0
	for v >= 999.5 && unit < 5 {
		v /= 1000
		unit++
	}
	format := "%.0f %s"
	if v < 9.95 {
		format = "%.1f %s"
	}
	return fmt.Sprintf(format, v, [...]string{"B", "kB", "MB", "GB", "TB", "PB"}[unit])
}

// humanCount writes n with a space between thousands.
func humanCount(n int64) string {
	s := strconv.FormatInt(n, 10)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "\u202f" + s[i:]
	}
	return s
}
