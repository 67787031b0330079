package web

import (
	"html"
	"net/url"
	"regexp"
	"strings"
	"testing"

	localidp "github.com/gas-restore/gas/internal/local/idp"
)

// hostile are return paths that some browser, proxy or parser reads as another host, as a
// script, as a header, or as a way back to sign-in.
var hostile = []string{
	"", " ", "annotations", "subscribe", "./annotations", "../annotations", "?x", "#x", "&", ".", "..",
	"//evil.example", "//evil.example/annotations", "///evil.example", "////evil.example", "/////evil.example",
	"//evil.example:80", "//user@evil.example", "//user:pw@evil.example", "//127.0.0.1", "//[::1]/", "//localhost/annotations",
	`/\evil.example`, `/\/evil.example`, `/\\evil.example`, `\/evil.example`, `\\evil.example`, `\evil.example`, `//\evil.example`, `///\evil.example`,
	"/%5Cevil.example", "/%5c%5cevil.example", "/%2F/evil.example", "/%2f%2fevil.example", "/%2Fevil.example", "//%2Fevil.example", "/%09/evil.example", "/%0a/evil.example", "/%0d/evil.example", "/%00/evil.example",
	"/\t/evil.example", "/\n/evil.example", "/\r/evil.example", "/\x00/evil.example", "\t//evil.example", "\n//evil.example", " //evil.example", "\u00a0//evil.example", "\ufeff//evil.example", "/ /evil.example",
	"https://evil.example", "http://evil.example", "HTTPS://evil.example", "https:evil.example", "https:/evil.example", "https:///evil.example", `https:\\evil.example`, "ftp://evil.example", "ws://evil.example", "https%3A%2F%2Fevil.example",
	"javascript:alert(1)", "JavaScript:alert(1)", "java\nscript:alert(1)", "javascript%3Aalert(1)", "data:text/html,x", "vbscript:x", "file:///etc/passwd", "blob:x", "about:blank", "mailto:a@evil.example",
	"/annotations\r\nSet-Cookie: a=b", "/annotations\nLocation: //evil.example", "/annotations%0d%0aSet-Cookie:a=b", "/annotations\x7f", "/annotations%7f", "/annotations\u2028", "/annotations\u0085", "/annotations<script>", `/annotations"onload="x`, "/annotations'x",
	"/..//evil.example", "/./evil.example", "/.//evil.example", "/../evil.example", "/annotations/..//evil.example", "/annotations/../../evil.example", "/annotations/%2e%2e//evil.example", "/%2e%2e/evil.example", "/annotations/./x", "/annotations//evil.example",
	"/annotations%", "/annotations%2", "/annotations%zz", "/annotations?%", "/annotations?a=%zz", "/annotations#//evil.example", "/annotations;//evil.example", "/annotations//", "/annotation/x//", "/annotations/%2F", "/annotations/%2f/", "/;/evil.example", "/'/evil.example", "/annotations/;/../..//evil.example", "/annotations|x", "/annotations{x}", "/annotations^x", "/annotations`x`",
	"/login", "/login?return=/login", "/logout", "/callback", "/callback?state=x", "/events", "/assets/gas.css", "/evil", "/@evil.example", "/evil.example", "/annotationsx", "/subscribe.evil.example", "/Annotations",
	"@evil.example", ":80", "/:80", "/annotation%2Fx/../..//evil", "／evil.example", "/／evil.example", "/\u2215evil.example", "/。evil.example", "//evil。example",
	"/" + strings.Repeat("a", maxReturn), "/annotations?" + strings.Repeat("a", maxReturn), "/annotations/" + strings.Repeat("x/", 10) + "/",
}

func TestHostileReturnPathsLeadHome(t *testing.T) {
	if len(hostile) < 100 {
		t.Fatalf("%d shapes, want at least 100", len(hostile))
	}
	for _, raw := range hostile {
		if got := returnPath(raw); got != afterLogin {
			t.Errorf("returnPath(%q) is %q, want %q", raw, got, afterLogin)
		}
	}
}

func TestTheSitesOwnPathsAreKept(t *testing.T) {
	for _, raw := range []string{
		"/", "/?x=1", "/annotations", "/annotations?after=eyJhIjoxfQ==", "/annotation/0b7f6a52-1b8a-4f0e-9a3e-0d6d9c9f4d11",
		"/annotation/a%2Fb", "/annotation/a%20b", "/annotation/x/download", "/subscribe", "/account",
		// All characters that a path may have (RFC 3986, 3.3). Browsers leave them as they are.
		"/annotation/it's(1)*;x", "/annotation/a!b$c&d'e(f)g*h+i,j;k=l:m@n~o-p_q.r",
		"/annotations/", "/annotation/x/", "/subscribe/", "/annotations/?sort=name", "/annotation/a%2Fb/",
		"/annotations?name=it's(1)*;x", "/annotations?a=1;b=2", "/annotations?a=/b?c", "/annotations?a=%27%28%29%2A%3B",
	} {
		if got := returnPath(raw); got != raw {
			t.Errorf("returnPath(%q) is %q", raw, got)
		}
	}
}

// browserReads changes a relative reference as the URL standard does before it looks for a
// host.
func browserReads(raw string) string {
	raw = strings.TrimFunc(raw, func(r rune) bool { return r <= ' ' })
	raw = regexp.MustCompile("[\t\n\r]").ReplaceAllString(raw, "")
	return strings.ReplaceAll(raw, `\`, "/")
}

func FuzzReturnPath(f *testing.F) {
	for _, raw := range hostile {
		f.Add(raw)
	}
	f.Add("/annotation/a%2Fb?x=%2F%2F")
	base, err := url.Parse("https://gas.example.org/login")
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		got := returnPath(raw)
		if got != raw && got != afterLogin {
			t.Fatalf("%q became %q", raw, got)
		}
		for _, form := range []string{got, browserReads(got)} {
			u, err := base.Parse(form)
			if err != nil {
				t.Fatalf("%q does not parse: %v", form, err)
			}
			if u.Scheme != "https" || u.Host != "gas.example.org" || u.User != nil {
				t.Fatalf("%q leads to %s", raw, u)
			}
			if strings.HasPrefix(u.Path, "//") || strings.ContainsAny(u.Path, "\r\n\t\\") {
				t.Fatalf("%q leads to path %q", raw, u.Path)
			}
		}
		if strings.ContainsAny(got, "\r\n") {
			t.Fatalf("%q breaks a header", got)
		}
		// The path to which sign-in leads must be a good return path, too.
		if again := returnPath(got); again != got {
			t.Fatalf("%q then %q", got, again)
		}
	})
}

// TestSignInLeadsBackToTheVeryAddress follows the site's own redirects, which could lose
// the address, too.
func TestSignInLeadsBackToTheVeryAddress(t *testing.T) {
	b := newFixture(t)
	for i, path := range []string{
		"/annotation/it's(1)*;x", "/annotation/a%2Fb", "/annotation/a%20b%25", "/annotations/", "/annotation/x/",
		"/annotations?sort=name&note=it's(1)*;x", "/annotations/?a=1;b=2", "/annotation/%C3%A9",
	} {
		v := b.browser()
		a := v.get(path)
		form := a.form(t, "/login", func(f url.Values) bool { return f.Get("subject") == "ada" })
		a = v.post(b.idp+"/login", form)
		if got := a.Request.URL.RequestURI(); got != path {
			t.Errorf("%d: sign-in leads to %s, want %s", i, got, path)
		}
	}
}

// TestARefusedSignInKeepsTheAddress signs in after a refusal, and comes to the address of
// the first request.
func TestARefusedSignInKeepsTheAddress(t *testing.T) {
	const path = "/annotation/it's(1)*;x"
	asAda := func(v *browser, a answer) answer {
		return v.post(v.idp+"/login", a.form(t, "/login", func(f url.Values) bool { return f.Get("subject") == "ada" }))
	}
	for name, refuse := range map[string]func(b *fixture, v *browser) answer{
		"by the person": func(b *fixture, v *browser) answer {
			b.provider.SetMood(localidp.Authorize, localidp.Mood{Error: "access_denied", Times: 1})
			return v.get(path)
		},
		"by the provider": func(b *fixture, v *browser) answer {
			b.provider.SetMood(localidp.Authorize, localidp.Mood{Error: "server_error", Times: 1})
			return v.get(path)
		},
		"for its code": func(b *fixture, v *browser) answer {
			b.provider.SetMood(localidp.Token, localidp.Mood{Error: "invalid_grant", Times: 1})
			return asAda(v, v.get(path))
		},
		"while the provider is away": func(b *fixture, v *browser) answer {
			b.provider.SetMood(localidp.Discovery, localidp.Mood{Status: 503, Times: 1})
			defer b.pauseIsOver()
			return v.get(path)
		},
	} {
		b := newFixture(t)
		v := b.browser()
		refused := refuse(b, v)
		again := regexp.MustCompile(`href="(/login[^"]*)"[^>]*>(?:Sign in again|Try again)`).FindStringSubmatch(refused.body)
		if again == nil {
			t.Errorf("%s: the page leads nowhere: %s", name, refused.body)
			continue
		}
		if got := asAda(v, v.get(html.UnescapeString(again[1]))).Request.URL.RequestURI(); got != path {
			t.Errorf("%s: signing in again leads to %s, want %s", name, got, path)
		}
	}
}
