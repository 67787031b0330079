// Package demo drives one upgrade as a person does, from the sign-in page to the last byte
// back in S3. Then it checks that every file is right, and that nothing is left over.
package demo

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"strings"
	"time"

	"golang.org/x/net/html"
)

// browser follows links and sends forms, as a browser without JavaScript.
type browser struct{ client *http.Client }

func newBrowser() (*browser, error) {
	jar, err := cookiejar.New(nil)
	if err != nil {
		return nil, err
	}
	return &browser{&http.Client{Jar: jar, Timeout: 20 * time.Second}}, nil
}

// page is a page that the browser shows.
type page struct {
	url   *url.URL
	forms []form
	text  string
}

type form struct {
	action *url.URL
	fields url.Values
}

// maxPage is the most that the browser reads of a page, in bytes.
const maxPage = 1 << 20

func (b *browser) open(ctx context.Context, link string) (page, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, link, nil)
	if err != nil {
		return page{}, err
	}
	return b.do(req)
}

func (b *browser) submit(ctx context.Context, f form) (page, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, f.action.String(), strings.NewReader(f.fields.Encode()))
	if err != nil {
		return page{}, err
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.Header.Set("Origin", f.action.Scheme+"://"+f.action.Host)
	return b.do(req)
}

func (b *browser) do(req *http.Request) (page, error) {
	resp, err := b.client.Do(req)
	if err != nil {
		return page{}, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxPage))
	if err != nil {
		return page{}, fmt.Errorf("read %s: %w", resp.Request.URL, err)
	}
	if resp.StatusCode != http.StatusOK {
		return page{}, fmt.Errorf("%s %s answered %s", req.Method, resp.Request.URL, resp.Status)
	}
	root, err := html.Parse(strings.NewReader(string(body)))
	if err != nil {
		return page{}, fmt.Errorf("parse %s: %w", resp.Request.URL, err)
	}
	p := page{url: resp.Request.URL, text: string(body)}
	for n := range root.Descendants() {
		if n.Type == html.ElementNode && n.Data == "form" && strings.EqualFold(attribute(n, "method"), "post") {
			action, err := p.url.Parse(attribute(n, "action"))
			if err != nil {
				return page{}, fmt.Errorf("form on %s: %w", p.url, err)
			}
			p.forms = append(p.forms, form{action, inputs(n)})
		}
	}
	return p, nil
}

func inputs(form *html.Node) url.Values {
	values := url.Values{}
	for n := range form.Descendants() {
		if name := attribute(n, "name"); n.Type == html.ElementNode && name != "" && (n.Data == "input" || n.Data == "button") {
			values.Set(name, attribute(n, "value"))
		}
	}
	return values
}

func attribute(n *html.Node, name string) string {
	for _, a := range n.Attr {
		if a.Key == name {
			return a.Val
		}
	}
	return ""
}

// find returns the first form for which ok returns true.
func (p page) find(what string, ok func(form) bool) (form, error) {
	for _, f := range p.forms {
		if ok(f) {
			return f, nil
		}
	}
	return form{}, fmt.Errorf("no form on %s to %s", p.url, what)
}

// Subscribe signs in at the site as the person, and upgrades.
func Subscribe(ctx context.Context, base, person string) error {
	b, err := newBrowser()
	if err != nil {
		return err
	}
	people, err := b.open(ctx, base+"/login?return=/subscribe")
	if err != nil {
		return fmt.Errorf("open the sign-in page: %w", err)
	}
	who, err := people.find("sign in as "+person, func(f form) bool { return f.fields.Get("subject") == person })
	if err != nil {
		return err
	}
	plans, err := b.submit(ctx, who)
	if err != nil {
		return fmt.Errorf("sign in as %s: %w", person, err)
	}
	upgrade, err := plans.find("upgrade", func(f form) bool { return f.action.Path == "/subscribe" })
	if err != nil {
		return err
	}
	if _, err := b.submit(ctx, upgrade); err != nil {
		return fmt.Errorf("upgrade: %w", err)
	}
	return nil
}
