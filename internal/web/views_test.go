package web

import (
	"html/template"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/html"
	"pgregory.net/rapid"

	"github.com/gas-restore/gas/internal/archive"
	balance "github.com/gas-restore/gas/internal/text"
	"github.com/gas-restore/gas/pkg/events"
)

// asTemplate has a list's rows as a template. The code must escape as well as the template
// does.
const asTemplate = `{{define "row"}}<li data-job="{{.ID}}" data-state="{{if .Stage}}{{.Stage}}{{else}}{{.State}}{{end}}">
<a href="{{.Link}}{{.From}}" data-name{{$h := halves .Name}}{{if $h.Tail}} title="{{balance .Name}}"{{end}}>{{if $h.Tail}}<bdi class="long"><span>{{balance $h.Head}}</span><span>{{balance $h.Tail}}</span></bdi>{{else}}<bdi>{{balance $h.Head}}</bdi>{{end}}</a>
<span class="when"><time datetime="{{rfc .SubmittedAt}}">{{utc .SubmittedAt}}</time></span>
<span class="size">{{with .Weight}}{{bytes .}}{{end}}</span>
<span class="badge" data-badge data-tone="{{.Look.Tone}}"><svg aria-hidden="true"><use href="#{{.Look.Icon}}"></use></svg><span data-label>{{.Look.Label}}</span></span>
{{if .Here}}<a class="get" href="{{.Link}}/download" title="Download" aria-label="Download {{balance .Name}}"><svg aria-hidden="true"><use href="#copy"></use></svg></a>
{{end}}</li>
{{end}}<ul>{{range .Rows}}{{template "row" .}}{{end}}</ul>`

// TestRowsAreWhatATemplateWouldMakeOfThem compares rows with names of every kind.
func TestRowsAreWhatATemplateWouldMakeOfThem(t *testing.T) {
	want := template.Must(template.New("").Funcs(template.FuncMap{
		"rfc": func(t time.Time) string { return t.UTC().Format(time.RFC3339) }, "utc": utc, "bytes": humanBytes, "balance": balance.Balance,
		"halves": func(name string) any {
			head, tail := halves(name)
			return struct{ Head, Tail string }{head, tail}
		},
	}).Parse(asTemplate))
	text := rapid.OneOf(rapid.String(), rapid.SampledFrom([]string{
		`<script>alert(1)</script>`, `"><img src=x onerror=alert(1)>`, `' onmouseover='x`, "a&amp;b&lt;", "\xff\xfe", "a\x00b", "\u2028", "`", "=", "javascript:x", "größe.vcf", "a+b c",
	}))
	rapid.Check(t, func(rt *rapid.T) {
		var in struct {
			Rows []*jobView
		}
		var rows []jobView
		for range rapid.IntRange(0, 3).Draw(rt, "rows") {
			j := archive.Job{
				ID: events.JobID(text.Draw(rt, "id")), UserID: "ada", InputFileName: text.Draw(rt, "name"), Status: "COMPLETED",
				SubmittedAt: time.Unix(rapid.Int64Range(1, 4e9).Draw(rt, "at"), 0),
			}
			if rapid.Bool().Draw(rt, "archived") {
				j.ArchiveID, j.ArchiveSize = "a", rapid.Int64Range(-1, 1e15).Draw(rt, "size")
			} else {
				j.ResultSize = rapid.Int64Range(0, 1e15).Draw(rt, "size")
			}
			v := viewJob(j, owner{Account: archive.Account{Role: archive.Premium}})
			v.From = rapid.SampledFrom([]string{"", "?list=state%3Dready"}).Draw(rt, "from")
			if rapid.Bool().Draw(rt, "copying") {
				v.Stage = archive.Copying
			}
			in.Rows, rows = append(in.Rows, &v), append(rows, v)
		}
		var theirs strings.Builder
		if err := want.Execute(&theirs, in); err != nil {
			rt.Fatal(err)
		}
		ours := "<ul>" + string(rowsHTML(rows)) + "</ul>"
		if got, want := parsed(rt, ours), parsed(rt, theirs.String()); got != want {
			rt.Fatalf("got\n%s\nwant\n%s", got, want)
		}
	})
}

// TestANameIsTheSameWithItsBreaks reads the text of a name. The breaks are elements, so they
// are not in the text.
func TestANameIsTheSameWithItsBreaks(t *testing.T) {
	for name, want := range map[string]string{
		"": "", ".vcf": ".vcf", "panel_001.vcf": "panel_<wbr>001<wbr>.vcf", "a-b+c..d": "a-<wbr>b+<wbr>c<wbr>.<wbr>.d", "größe_<b>.x": "größe_<wbr>&lt;b&gt;<wbr>.x", "plain": "plain", "end_": "end_",
	} {
		if got := string(breaksHTML(name)); got != want {
			t.Errorf("%q is written as %q, want %q", name, got, want)
		}
	}
}

// parsed is the document as a browser sees it.
func parsed(t *rapid.T, doc string) string {
	root, err := html.Parse(strings.NewReader(doc))
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	if err := html.Render(&b, root); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// TestALongNameIsCutBeforeItsEnd reads the two parts of names, and the end that stays.
func TestALongNameIsCutBeforeItsEnd(t *testing.T) {
	for name, tail := range map[string]string{
		"panel_001.vcf":                                        "",
		strings.Repeat("a", longName):                          strings.Repeat("a", tailName),
		strings.Repeat("a", 60) + "_chr22.annot.vcf.gz":        "_chr22.annot.vcf.gz"[2:],
		strings.Repeat("ä", 60) + ".vcf":                       strings.Repeat("ä", tailName-4) + ".vcf",
		strings.Repeat("e\u0301", 40):                          strings.Repeat("e\u0301", tailName/2),
		"x" + strings.Repeat("\u0301", 60):                     "",
		strings.Repeat("a", 40) + strings.Repeat("\u0301", 20): "a" + strings.Repeat("\u0301", 20),
	} {
		head, got := halves(name)
		if got != tail || head+got != name {
			t.Errorf("%q is cut into %q and %q, want %q at the end", name, head, got, tail)
		}
	}
}
