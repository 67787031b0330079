// Package archtest holds the imports of this repository to the plan in
// ARCHITECTURE.md.
package archtest

import (
	"encoding/json"
	"go/parser"
	"go/token"
	"io"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/gas-restore/gas"

// rule forbids what the packages under one of from import, directly or through
// others of this module, unless it is under one of except.
type rule struct {
	from   []string
	forbid []string
	except []string
	why    string
}

var (
	services = []string{"internal/bridge", "internal/thaw", "internal/restore", "internal/reconcile"}
	adapters = []string{"internal/aws/dynamodb", "internal/aws/glacier", "internal/aws/s3", "internal/aws/sns", "internal/aws/sqs"}
)

var rules = []rule{
	{from: []string{"pkg/events"}, forbid: []string{"."}, except: []string{module + "/pkg/events"},
		why: "pkg/events is what others import to speak to the pipeline: it depends on the standard library alone"},
	{from: []string{"internal/archive", "internal/fault", "internal/checksum/treehash", "internal/checksum/crc64nvme", "internal/queue", "internal/kv", "internal/estate"},
		forbid: []string{"net/http", "github.com/", "golang.org/", "database/"}, except: []string{module, "github.com/minio/crc64nvme", "github.com/klauspost/cpuid", "golang.org/x/sys"},
		why: "the domain does no I/O: it could run on paper"},
	{from: append([]string{"internal/web"}, services...),
		forbid: []string{"github.com/aws/", "github.com/nats-io/"},
		why:    "a service knows its ports, not AWS or NATS: adapters are put behind them in internal/wiring"},
	{from: services, forbid: []string{"github.com/gofiber/", "github.com/coreos/"},
		why: "only the site speaks Fiber, and only internal/signin speaks OpenID Connect"},
	{from: []string{"internal/signin"}, forbid: append(prefix(append([]string{"internal/web", "internal/bus", "internal/aws", "internal/local"}, services...)), "github.com/gofiber/", "github.com/valyala/", "github.com/aws/", "github.com/nats-io/", "html/template"),
		why: "sign-in takes and returns plain values: it knows neither pages nor where anything is kept"},
	{from: append(append([]string{"internal/bus"}, adapters...), services...),
		forbid: prefix(append([]string{"internal/web"}, services...)), why: "adapters and services do not know other services"},
	{from: adapters, forbid: prefix(append([]string{"internal/bus"}, adapters...)), why: "adapters do not know each other"},
	{from: []string{"internal/bridge", "internal/thaw", "internal/restore", "internal/reconcile", "internal/web", "internal/bus", "internal/aws", "internal/snsverify"},
		forbid: prefix([]string{"internal/local/aws", "internal/local/idp", "internal/local/nats", "internal/local/stack", "internal/test"}),
		why:    "the product does not know that a stand-in exists: it is an endpoint like any other"},
	{from: []string{"internal/snsverify"}, forbid: []string{module}, except: []string{module + "/internal/snsverify"},
		why: "whom we trust is decided in one place that can be read alone"},
	{from: []string{"cmd/bridge", "cmd/thaw", "cmd/restore", "cmd/web"}, forbid: prefix([]string{"internal/local/aws", "internal/local/idp", "internal/local/nats", "internal/local/stack"}),
		why: "what is deployed carries no stand-in"},
	{from: append([]string{"internal/wiring", "internal/web", "internal/bus", "internal/local", "cmd/bridge", "cmd/thaw", "cmd/restore", "cmd/web"}, services...), forbid: prefix([]string{"internal/aws/awserase", "internal/operator/erase"}),
		why: "no service deletes an archive without a proof: only `gas erase` does"},
	{from: []string{"internal/test/model"}, forbid: append(prefix(append([]string{"internal/bus", "internal/web", "internal/wiring", "internal/test/testenv"}, adapters...)), "github.com/aws/", "github.com/nats-io/"), except: []string{"github.com/gas-restore/gas/internal/test/model"},
		why: "the model calls what decides, and does no I/O"},
	{from: append([]string{"internal/wiring", "internal/bus", "internal/web"}, append(adapters, services...)...), forbid: prefix([]string{"internal/test/model"}),
		why: "no product code may depend on the model"},
	{from: []string{"internal/local/aws"}, forbid: prefix([]string{"internal/archive", "internal/bus", "internal/aws", "internal/thaw", "internal/restore", "internal/bridge"}),
		why: "a stand-in that shares the product's ideas would share its mistakes"},
}

// directly forbids what the packages under one of from import themselves.
var directly = []rule{
	{from: []string{"internal/web"}, forbid: []string{"github.com/coreos/", "golang.org/x/oauth2", "github.com/go-jose/"},
		why: "internal/signin speaks OpenID Connect: the site has the pages"},
}

func prefix(paths []string) []string {
	out := make([]string, len(paths))
	for i, p := range paths {
		out[i] = module + "/" + p
	}
	return out
}

type pkg struct {
	ImportPath string
	Standard   bool
	Imports    []string
}

func load(t *testing.T) map[string]pkg {
	t.Helper()
	cmd := exec.Command("go", "list", "-deps", "-json=ImportPath,Standard,Imports", module+"/...")
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	pkgs := map[string]pkg{}
	for dec := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p pkg
		if err := dec.Decode(&p); err == io.EOF {
			return pkgs
		} else if err != nil {
			t.Fatal(err)
		}
		pkgs[p.ImportPath] = p
	}
}

func under(path, root string) bool {
	root = strings.TrimSuffix(root, "/")
	return path == root || strings.HasPrefix(path, root+"/")
}

// reached returns what p imports, and what those of this module import in turn:
// a forbidden import through a third package is one all the same.
func reached(pkgs map[string]pkg, from string) map[string]string {
	via := map[string]string{}
	var walk func(string)
	walk = func(path string) {
		for _, imp := range pkgs[path].Imports {
			if _, ok := via[imp]; ok {
				continue
			}
			via[imp] = path
			if under(imp, module) {
				walk(imp)
			}
		}
	}
	walk(from)
	return via
}

func TestImportsPointInward(t *testing.T) {
	pkgs := load(t)
	checked := 0
	for _, r := range rules {
		for path := range pkgs {
			if !under(path, module) || !anyOf(r.from, func(f string) bool { return under(path, module+"/"+f) }) {
				continue
			}
			checked++
			for imp, via := range reached(pkgs, path) {
				bad := anyOf(r.forbid, func(f string) bool {
					if f == "." {
						return !pkgs[imp].Standard
					}
					return under(imp, f)
				})
				own := under(imp, path) || anyOf(r.except, func(e string) bool { return under(imp, e) })
				if bad && !own {
					t.Errorf("%s imports %s (through %s): %s", path, imp, via, r.why)
				}
			}
		}
	}
	if checked < 15 {
		t.Errorf("only %d packages were checked: the rules' paths are out of date", checked)
	}
}

func TestNobodyImportsWhatAnotherPackageIsFor(t *testing.T) {
	pkgs := load(t)
	for _, r := range directly {
		checked := 0
		for path := range pkgs {
			if !anyOf(r.from, func(f string) bool { return under(path, module+"/"+f) }) {
				continue
			}
			checked++
			for _, imp := range pkgs[path].Imports {
				if anyOf(r.forbid, func(f string) bool { return under(imp, f) }) {
					t.Errorf("%s imports %s: %s", path, imp, r.why)
				}
			}
		}
		if checked == 0 {
			t.Errorf("no package is under %v: the rule's paths are out of date", r.from)
		}
	}
}

// TestOnlyHandlersKnowFiber holds the use cases of the site to a context and plain values.
func TestOnlyHandlersKnowFiber(t *testing.T) {
	handlers := []string{"api.go", "compress.go", "conditional.go", "events.go", "help.go", "pages.go", "safety.go", "sending.go", "signin.go", "web.go"}
	files, err := filepath.Glob("../../web/*.go")
	if err != nil || len(files) < len(handlers) {
		t.Fatalf("%d files of the site, %v", len(files), err)
	}
	for _, path := range files {
		name := filepath.Base(path)
		if strings.HasSuffix(name, "_test.go") || slices.Contains(handlers, name) {
			continue
		}
		f, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.ImportsOnly)
		if err != nil {
			t.Fatal(err)
		}
		for _, imp := range f.Imports {
			if strings.HasPrefix(imp.Path.Value, `"github.com/gofiber/`) {
				t.Errorf("internal/web/%s imports %s: handlers are in %v, and a use case takes a context and plain values", name, imp.Path.Value, handlers)
			}
		}
	}
}

func anyOf(list []string, ok func(string) bool) bool {
	for _, s := range list {
		if ok(s) {
			return true
		}
	}
	return false
}
