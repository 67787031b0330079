package web

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"fmt"
	"html/template"
	"io/fs"
	"mime"
	"path"
	"strconv"
	"strings"
	"time"

	"github.com/gofiber/fiber/v3"

	"github.com/gas-restore/gas/internal/archive"
)

//go:embed templates/*.html
var templateFiles embed.FS

//go:embed assets
var assetFiles embed.FS

// frame is what every page is made of.
type frame struct {
	Title string
	// Viewer is nil if nobody is signed in.
	Viewer *viewer
	// Section is the current place in the navigation.
	Section string
	// Live is where the page's live stream begins; empty for a page without.
	Live string
	// Request is shown where somebody may have to quote it.
	Request string
	Body    any
}

// views renders pages and serves the files they need.
type views struct {
	pages map[string]*template.Template
	// assets are by name with the hash of their content in it, so that a browser
	// may keep them for good.
	assets map[string]asset
	// names leads from the plain name to that.
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
		"time":    func(t time.Time) template.HTML { return timeHTML(t, "") },
		"both":    func(t time.Time) template.HTML { return timeHTML(t, " data-both") },
		"badge":   badgeHTML,
		"bytes":   humanBytes,
		"count":   humanCount,
		"total":   func(rows []jobView) int64 { return int64(len(rows)) },
		"dollars": humanDollars,
	}).ParseFS(templateFiles, "templates/layout.html", "templates/icons.html")
	if err != nil {
		return nil, fmt.Errorf("parse the layout: %w", err)
	}
	for _, name := range []string{"home", "annotations", "annotation", "subscribe", "account", "problem"} {
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

// render answers with a page; the status is the caller's.
func (v *views) render(c fiber.Ctx, page string, f frame) error {
	var b bytes.Buffer
	if err := v.pages[page].ExecuteTemplate(&b, "layout", f); err != nil {
		return fmt.Errorf("render page %s: %w", page, err)
	}
	c.Set(fiber.HeaderContentType, fiber.MIMETextHTMLCharsetUTF8)
	return c.Send(b.Bytes())
}

func (v *views) asset(c fiber.Ctx) error {
	a, ok := v.assets[c.Params("name")]
	if !ok {
		return errNotFound
	}
	c.Set(fiber.HeaderContentType, a.kind)
	c.Set(fiber.HeaderCacheControl, "public, max-age=31536000, immutable")
	return c.Send(a.content)
}

func utc(t time.Time) string { return t.UTC().Format("2 Jan 2006, 15:04 UTC") }

// timeHTML and badgeHTML are not templates: a list has one of each in every row,
// and the templates' escaping of what has nothing to escape took half of a page's
// time. They are made of times and of the words in look.go alone.
func timeHTML(t time.Time, attr string) template.HTML {
	if t.IsZero() {
		return `<span class="none">not known</span>`
	}
	return template.HTML(`<time datetime="` + t.UTC().Format(time.RFC3339) + `"` + attr + `>` + utc(t) + `</time>`)
}

func badgeHTML(l look) template.HTML {
	return template.HTML(`<span class="badge" data-badge data-tone="` + l.Tone + `"><svg aria-hidden="true"><use href="#` + l.Icon + `"></use></svg><span data-label>` + l.Label + `</span></span>`)
}

// humanBytes writes n as people do; empty if n is unknown.
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

// humanDollars writes an amount in whole cents, rounded up: it is a limit.
func humanDollars(m archive.MicroUSD) string {
	const cent = archive.Dollar / 100
	cents := m / cent
	if m%cent > 0 {
		cents++
	}
	return fmt.Sprintf("$%d.%02d", cents/100, cents%100)
}
