package localidp

import (
	"bytes"
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"html/template"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"unicode/utf8"
)

//go:embed page.html
var pageHTML string

//go:embed page.css
var pageCSS string

// page shows the sign-in page, and its errors.
type page struct {
	tmpl    *template.Template
	issuer  string
	persons []Person
	policy  string
}

func newPage(cfg Config) *page {
	// The style is in the page, and its hash is in the policy: the page needs nothing from
	// anywhere else.
	sum := sha256.Sum256([]byte(pageCSS))
	// A browser applies form-action to every redirect after the form. So the policy must name
	// the applications.
	forms := []string{"'self'"}
	for _, c := range cfg.Clients {
		for _, uri := range c.RedirectURIs {
			u, err := url.Parse(uri)
			if origin := u.Scheme + "://" + u.Host; err == nil && !slices.Contains(forms, origin) {
				forms = append(forms, origin)
			}
		}
	}
	return &page{
		tmpl: template.Must(template.New("page").Funcs(template.FuncMap{
			"css":     func() template.CSS { return template.CSS(pageCSS) },
			"initial": initial,
		}).Parse(pageHTML)),
		issuer:  cfg.Issuer,
		persons: cfg.People,
		policy: "default-src 'none'; style-src 'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) +
			"'; form-action " + strings.Join(forms, " ") + "; frame-ancestors 'none'; base-uri 'none'",
	}
}

type pageData struct {
	Issuer  string
	Request string
	Client  string
	People  []Person
	Fault   string
	About   bool
}

func (p *page) people(w http.ResponseWriter, id, client string) {
	p.show(w, http.StatusOK, pageData{Request: id, Client: client, People: p.persons})
}

func (p *page) fault(w http.ResponseWriter, status int, sentence string) {
	p.show(w, status, pageData{Fault: sentence})
}

func (p *page) about(w http.ResponseWriter, _ *http.Request) {
	p.show(w, http.StatusOK, pageData{About: true, People: p.persons})
}

func (p *page) show(w http.ResponseWriter, status int, d pageData) {
	d.Issuer = p.issuer
	var b bytes.Buffer
	if err := p.tmpl.Execute(&b, d); err != nil {
		http.Error(w, "the page cannot be shown", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Content-Security-Policy", p.policy)
	w.WriteHeader(status)
	_, _ = w.Write(b.Bytes())
}

func initial(name string) string {
	r, _ := utf8.DecodeRuneInString(name)
	return strings.ToUpper(string(r))
}
