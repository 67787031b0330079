//go:build browser

package browser

import (
	_ "embed"
	"strconv"
	"strings"
)

// axe is axe-core 4.14.1 as npm has it; its licence is beside it.
//
//go:embed testdata/axe/axe.min.js
var axe string

type violation struct {
	ID     string `json:"id"`
	Impact string `json:"impact"`
	Help   string `json:"help"`
	Nodes  []struct {
		HTML string `json:"html"`
		Why  string `json:"why"`
	} `json:"nodes"`
}

// accessible checks the page by WCAG 2.2 A and AA, and by axe's best practices.
func (b *tab) accessible(what string) {
	b.t.Helper()
	b.axe(what, `["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]`, 5)
}

// legible checks the page by axe's rules of color. It is for a color scheme of a page that
// is accessible otherwise.
func (b *tab) legible(what string) {
	b.t.Helper()
	b.axe(what, `{type: "rule", values: ["color-contrast", "link-in-text-block"]}`, 1)
}

// axe fails if the page breaks one of the rules. At least so many rules must have found
// something to check.
func (b *tab) axe(what, rules string, atLeast int) {
	b.t.Helper()
	eval[bool](b, axe+";true")
	found := eval[[]violation](b, `axe.run(document, {resultTypes: ["violations"], runOnly: `+rules+`}).then(r => {
		if (r.passes.length < `+strconv.Itoa(atLeast)+`) throw new Error("axe checked nothing");
		return r.violations.map(v => ({id: v.id, impact: v.impact, help: v.help, nodes: v.nodes.map(n => ({html: n.html, why: n.failureSummary}))}));
	})`)
	for _, v := range found {
		var where []string
		for _, n := range v.Nodes {
			where = append(where, n.HTML+"\n    "+n.Why)
		}
		b.t.Errorf("%s: %s (%s, %s):\n  %s", what, v.Help, v.ID, v.Impact, strings.Join(where, "\n  "))
	}
}

// fits fails if the page is wider than its window: nobody should scroll
// sideways to read.
func (b *tab) fits(what string) {
	b.t.Helper()
	width, window := eval[int](b, `document.documentElement.scrollWidth`), eval[int](b, `window.innerWidth`)
	if width > window {
		who := eval[string](b, `[...document.querySelectorAll("body *")].filter(e => e.getBoundingClientRect().right > innerWidth + 1).map(e => e.tagName + "." + e.className).slice(0, 5).join(", ")`)
		b.t.Errorf("%s is %d px wide in a window of %d: %s", what, width, window, who)
	}
}

// apart fails if the text of one column of a list runs into the next one or out of its row.
func (b *tab) apart(what string) {
	b.t.Helper()
	over := eval[[]string](b, `[...document.querySelectorAll(".jobs li")].flatMap(row => {
		const box = (e) => { const r = document.createRange(); r.selectNodeContents(e); return r.getBoundingClientRect(); };
		const cells = [...row.children].map(e => [e, e.matches(".badge, .get, :has(> .long)") ? e.getBoundingClientRect() : box(e)]).filter(([, r]) => r.width > 0);
		const bad = cells.filter(([, r]) => r.right > row.getBoundingClientRect().right + 1).map(([e]) => e.textContent + " is out of its row");
		cells.forEach(([a, p], i) => cells.slice(i + 1).forEach(([b, q]) => {
			if (p.left < q.right - 1 && q.left < p.right - 1 && p.top < q.bottom - 1 && q.top < p.bottom - 1) bad.push(a.textContent + " is over " + b.textContent);
		}));
		return bad;
	})`)
	if len(over) > 0 {
		b.t.Errorf("%s: %s", what, strings.Join(over[:min(len(over), 5)], "; "))
	}
}

// targets fails if a button is smaller than 24 by 24 px, as WCAG 2.2 wants. Links in a
// sentence may be smaller there, too.
func (b *tab) targets(what string) {
	b.t.Helper()
	small := eval[[]string](b, `[...document.querySelectorAll("button, a[href], input, select, summary")].filter(e => {
		const r = e.getBoundingClientRect();
		if (r.width === 0 || e.closest("p:not(.actions), .note, .next, .skip") || e.classList.contains("skip") || e.type === "hidden") return false;
		return r.width < 24 || r.height < 24;
	}).map(e => e.outerHTML.slice(0, 80))`)
	if len(small) > 0 {
		b.t.Errorf("%s has too small targets:\n  %s", what, strings.Join(small, "\n  "))
	}
}

// calm fails if the console reported trouble, except for answers that the test asked for.
func (b *tab) calm(who string) {
	b.t.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, line := range b.trouble {
		if !strings.Contains(line, "status of 404") && !strings.Contains(line, "status of 409") && !strings.Contains(line, "status of 400") {
			b.t.Errorf("the console of %s complained: %s", who, line)
		}
	}
}
