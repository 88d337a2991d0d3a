package escrowtest

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const module = "github.com/penname/penname/"

// mayImport is the house: which package may import which of ours. What is not
// listed is not allowed, and a line that nothing uses any more has to go.
//
// The walls: issue and disclose do not know each other. verifier/*, policy and
// seal import nothing of the server, so that a custodian's or an auditor's
// program (cmd/escrow) contains no line of it. An adapter (vault, postgres)
// never imports another adapter.
var mayImport = map[string][]string{
	"verifier/refusal":                 {},
	"verifier/languages":               {},                     // texts of pages and mails, for who makes pages without the edge too
	"verifier/languages/languagestest": {"verifier/languages"}, // finds texts in sources and templates, for tests
	"verifier/document":                {"verifier/refusal"},
	"verifier/token":                   {"verifier/document", "verifier/refusal"},
	"verifier/identity":                {"verifier/document", "verifier/refusal", "verifier/token"},
	"verifier/integration":             {"verifier/document", "verifier/refusal"}, // reads strangers' pages, so it is apart from whatever is trusted
	"verifier/proof":                   {"verifier/refusal"},
	"verifier/opening":                 {"escrow/seal", "escrow/seal/threshold", "policy", "verifier/document", "verifier/proof", "verifier/refusal", "verifier/token"},
	"verifier/rules":                   {"policy", "verifier/proof", "verifier/refusal"},
	"verifier/record/recordtest":       {"escrow/registrar", "policy", "policy/rehearsal", "verifier/document", "verifier/proof", "verifier/rules"},  // a log with an entry of each kind, for tests
	"verifier/record":                  {"escrow/web/pages", "policy", "verifier/languages", "verifier/proof", "verifier/refusal", "verifier/rules"}, // the same pages from who serves them and from a mirror
	"policy":                           {"verifier/document", "verifier/proof", "verifier/refusal", "verifier/token"},
	"policy/rehearsal":                 {"policy", "verifier/document", "verifier/refusal", "verifier/token"}, // signs what counts nowhere, to try rules

	"escrow/secretfile":     {"verifier/document", "verifier/refusal"},
	"escrow/pkcs11":         {"verifier/refusal"},                                                                      // devices, in builds with its tag
	"escrow/registrar":      {"policy", "verifier/document", "verifier/opening", "verifier/refusal", "verifier/token"}, // the wire
	"escrow/exhibit":        {"policy", "verifier/document", "verifier/refusal", "verifier/token"},
	"escrow/seal/threshold": {"verifier/refusal"},
	"escrow/seal":           {"escrow/seal/threshold", "verifier/document", "verifier/refusal"},
	"escrow/issue":          {"escrow/mail", "escrow/seal", "policy", "verifier/document", "verifier/identity", "verifier/opening", "verifier/proof", "verifier/refusal", "verifier/token"},
	"escrow/disclose":       {"escrow/exhibit", "escrow/seal", "policy", "verifier/opening", "verifier/proof", "verifier/refusal", "verifier/token"},
	"escrow/keep":           {"verifier/proof", "verifier/refusal"},
	"escrow/seal/ceremony":  {"escrow/seal/threshold", "policy", "verifier/refusal"},
	"escrow/custodian": {"escrow/exhibit", "escrow/seal/ceremony", "escrow/seal/threshold", "escrow/secretfile", "escrow/witness",
		"policy", "verifier/document", "verifier/opening", "verifier/refusal"},
	"escrow/desk":          {"escrow/custodian", "escrow/registrar", "verifier/document", "verifier/languages", "verifier/opening", "verifier/refusal"}, // serves one person's browser, so it is apart from the keys
	"escrow/requester":     {"escrow/exhibit", "escrow/seal", "escrow/seal/threshold", "escrow/secretfile", "policy", "verifier/document", "verifier/opening", "verifier/refusal"},
	"escrow/witness":       {"verifier/proof", "verifier/refusal"},
	"escrow/translog":      {"escrow/witness", "verifier/proof", "verifier/refusal"},
	"escrow/openid":        {"verifier/document", "verifier/identity", "verifier/refusal", "verifier/token"},
	"escrow/mail":          {"verifier/languages", "verifier/refusal"},
	"escrow/mail/mailtest": {"escrow/mail"}, // a mail server and an outbox for tests
	"escrow/spans":         {"escrow/registrar", "verifier/document"},
	"escrow/coalesce":      {}, // what both adapters do with concurrent calls, since none imports the other
	"escrow/vault":         {"deploy", "escrow/coalesce", "escrow/disclose", "escrow/keep", "escrow/secretfile", "verifier/document", "verifier/refusal"},
	"escrow/postgres": {"deploy/postgres", "escrow/coalesce", "escrow/disclose", "escrow/exhibit", "escrow/issue", "escrow/keep", "escrow/mail", "escrow/openid", "escrow/seal", "escrow/translog",
		"policy", "verifier/document", "verifier/proof", "verifier/refusal", "verifier/token"},
	"escrow/postgres/postgrestest": {},                                                                                  // many people, for figures of growth
	"escrow/web":                   {"escrow/registrar", "verifier/document", "verifier/languages", "verifier/refusal"}, // the edge; what it serves comes in from
	"escrow/web/pages":             {},                                                                                  // their look alone, for who makes pages without the edge
	"escrow/web/record":            {"escrow/web", "verifier/record"},
	"escrow/web/pagetest":          {"escrow/sandbox"},                        // looks at pages in a real browser
	"escrow/passkey":               {"verifier/document", "verifier/refusal"}, // judges the ceremonies of WebAuthn
	"escrow/passkey/passkeytest":   {},                                        // an authenticator with its browser
	"escrow/web/court":             {"escrow/disclose", "escrow/registrar", "escrow/web", "policy", "verifier/document", "verifier/opening", "verifier/token"},
	"escrow/web/person":            {"escrow/exhibit", "escrow/issue", "escrow/openid", "escrow/passkey", "escrow/web", "policy", "verifier/identity", "verifier/refusal", "verifier/token"},

	// The composition: the sides of the service put together, from a configuration or by the sandbox.
	"escrow/service": {"escrow/disclose", "escrow/issue", "escrow/keep", "escrow/mail", "escrow/openid", "escrow/postgres", "escrow/registrar", "escrow/seal", "escrow/seal/threshold", "escrow/secretfile", "escrow/spans",
		"escrow/translog", "escrow/vault", "escrow/web", "escrow/web/court", "escrow/web/person", "escrow/web/record", "policy", "verifier/document", "verifier/identity", "verifier/proof", "verifier/record", "verifier/refusal", "verifier/rules", "verifier/token"},

	// The stand-ins are apart from the world that uses them, because the adapters' own tests stand on them.
	"escrow/sandbox":            {"escrow/disclose", "escrow/keep", "verifier/document", "verifier/refusal"},
	"escrow/sandbox/cluster":    {"deploy", "escrow/sandbox", "verifier/refusal"},
	"escrow/sandbox/robustness": {}, // what clients saw against what is there; a disk that loses what was not synced
	"escrow/sandbox/world": {"escrow/custodian", "escrow/disclose", "escrow/openid", "escrow/postgres", "escrow/sandbox", "escrow/sandbox/cluster", "escrow/seal", "escrow/service", "escrow/spans", "escrow/translog", "escrow/vault",
		"escrow/web/person", "policy", "verifier/document", "verifier/identity", "verifier/token"},
	"escrow/escrowtest":              {"escrow/issue", "escrow/disclose", "escrow/seal/threshold", "escrow/keep", "escrow/sandbox", "escrow/vault", "verifier/refusal"},
	"escrow/escrowtest/fuzzing":      {},
	"verifier/token/evidencetest":    {},                 // runs the programs of deploy/evidence.md, for the tests of both
	"verifier/identity/oidcprovider": {"escrow/sandbox"}, // runs an OpenID provider of other people, for the tests of both
	"escrow/disclose/disclosetest":   {"escrow/disclose", "escrow/exhibit", "escrow/seal", "policy", "verifier/document", "verifier/opening", "verifier/proof", "verifier/refusal", "verifier/token"},
	"escrow/exhibit/exhibittest":     {"policy", "verifier/document"},
	"verifier/opening/openingtest": {"escrow/escrowtest", "escrow/exhibit/exhibittest", "escrow/seal", "escrow/seal/threshold",
		"policy", "verifier/document", "verifier/opening", "verifier/proof", "verifier/token"},
	"escrow/openid/openidtest":     {"escrow/openid", "verifier/token"},
	"escrow/translog/translogtest": {"escrow/translog", "verifier/proof"},

	"deploy":                 {},
	"deploy/postgres":        {},
	"deploy/sample-platform": {"verifier/token"}, // what a platform copies: nothing of the server

	"cmd/shell":  {"escrow/registrar", "escrow/seal/ceremony", "escrow/secretfile", "verifier/document", "verifier/refusal"}, // what the programs have in common
	"cmd/escrow": {"cmd/escrow/command"},
	"cmd/escrow/command": {"cmd/shell", "escrow/custodian", "escrow/desk", "escrow/exhibit", "escrow/pkcs11", "escrow/registrar", "escrow/requester", "escrow/seal/ceremony", "escrow/secretfile", "escrow/witness",
		"policy", "policy/rehearsal", "verifier/document", "verifier/integration", "verifier/languages", "verifier/opening", "verifier/proof", "verifier/record", "verifier/refusal", "verifier/rules", "verifier/token"},
	"cmd/escrowd": {"cmd/escrowd/command"},
	"cmd/escrowd/command": {"cmd/shell", "deploy", "escrow/disclose", "escrow/keep", "escrow/openid", "escrow/postgres", "escrow/seal/ceremony", "escrow/seal/threshold", "escrow/secretfile", "escrow/service",
		"escrow/translog", "escrow/vault", "policy", "verifier/document", "verifier/identity", "verifier/refusal", "verifier/rules"},
	"cmd/escrow-sandbox": {"cmd/escrow/command", "cmd/escrowd/command", "cmd/shell", "escrow/sandbox", "escrow/sandbox/cluster", "escrow/sandbox/world", "escrow/secretfile"},
}

// belongsTo says which packages may import a module that is not ours.
var belongsTo = map[string][]string{
	"github.com/cedar-policy/cedar-go":           {"policy"},
	"github.com/cloudflare/circl":                {"escrow/seal/threshold", "verifier/proof"},                             // ML-DSA of witnesses
	"github.com/coreos/go-oidc/v3":               {"verifier/identity", "escrow/sandbox/world", "deploy/sample-platform"}, // platforms are relying parties too
	"golang.org/x/oauth2":                        {"verifier/identity", "escrow/sandbox/world", "deploy/sample-platform"},
	"github.com/fergusstrange/embedded-postgres": {"escrow/sandbox"},
	"github.com/go-jose/go-jose/v4":              {"verifier/document", "verifier/opening", "verifier/opening/openingtest", "verifier/token", "verifier/token/evidencetest", "verifier/identity", "policy", "policy/rehearsal", "verifier/record/recordtest", "escrow/openid", "escrow/sandbox", "escrow/registrar", "escrow/service", "escrow/sandbox/world", "escrow/secretfile", "escrow/custodian", "escrow/requester", "escrow/exhibit", "escrow/seal/ceremony", "cmd/escrow/command", "cmd/escrowd/command", "escrow/disclose/disclosetest"},
	"github.com/go-json-experiment/json":         {"policy", "escrow/web"},
	"github.com/go-webauthn/webauthn":            {"escrow/passkey", "escrow/passkey/passkeytest"},
	"github.com/hanwen/go-fuse/v2":               {"escrow/sandbox/robustness"}, // disks with a power switch, for tests
	"github.com/hashicorp/vault/api":             {"escrow/vault"},
	"github.com/jackc/pgx/v5":                    {"escrow/postgres", "escrow/postgres/postgrestest", "escrow/spans", "escrow/escrowtest"},
	"github.com/chromedp":                        {"escrow/web/pagetest"},
	"github.com/pressly/goose/v3":                {"escrow/postgres"},
	"github.com/labstack/echo/v4":                {"escrow/web"},
	"github.com/ThalesGroup/crypto11":            {"escrow/pkcs11"},
	"github.com/miekg/pkcs11":                    {"escrow/pkcs11"},
	"github.com/youmark/pkcs8":                   {"escrow/secretfile"}, // keys in PEM that a passphrase opens
	"golang.org/x/time":                          {"escrow/web"},
	"github.com/luikyv/go-oidc":                  {"escrow/openid"},
	"github.com/pelletier/go-toml/v2":            {"escrow/service", "cmd/escrowd/command"}, // the configuration, and drafts of a bundle
	"github.com/fsnotify/fsnotify":               {"escrow/service"},
	"github.com/prometheus/client_golang":        {"escrow/service"},
	"github.com/prometheus/client_model":         {"escrow/service"},
	"github.com/exaring/otelpgx":                 {"escrow/spans"},
	"go.opentelemetry.io/otel":                   {"escrow/spans"},
	"go.opentelemetry.io/proto/otlp":             {"escrow/spans"},
	"google.golang.org/protobuf":                 {"escrow/spans"},
	"github.com/spf13/cobra":                     {"cmd/shell", "cmd/escrow/command", "cmd/escrowd/command", "cmd/escrow-sandbox"},
	"golang.org/x/mod":                           {"verifier/opening/openingtest", "verifier/proof", "verifier/record/recordtest", "escrow/witness", "escrow/translog", "escrow/translog/translogtest", "escrow/postgres", "escrow/service", "escrow/disclose/disclosetest"},
	"filippo.io/torchwood":                       {"verifier/opening/openingtest", "verifier/proof", "verifier/record", "verifier/record/recordtest", "verifier/rules", "escrow/service", "escrow/witness", "escrow/translog", "escrow/translog/translogtest", "cmd/escrow/command", "escrow/disclose/disclosetest"},
	"pgregory.net/rapid":                         {"escrow/disclose/disclosetest"},
	"filippo.io/age":                             {"verifier/document", "escrow/custodian", "escrow/exhibit"},
	"golang.org/x/term":                          {"cmd/shell", "cmd/escrow/command"},
	"golang.org/x/image":                         {"escrow/desk"},                                                                                       // WebP, which is drawn in a process of its own
	"golang.org/x/net":                           {"escrow/sandbox/world", "escrow/openid", "verifier/integration", "verifier/languages/languagestest"}, // pages; registrable domains
	"golang.org/x/sync":                          {"escrow/service", "escrow/sandbox/world", "escrow/vault"},
	"golang.org/x/sys":                           {"cmd/escrow/command", "cmd/escrowd/command"},
	"golang.org/x/text":                          {"verifier/document", "verifier/languages", "verifier/token"},
}

// TestImportGraph holds the house against its plan. It parses the sources in
// this process: a test that asks `go list` passes from the cache.
func TestImportGraph(t *testing.T) {
	graph := imports(t)
	for pkg := range graph {
		if _, ok := mayImport[pkg]; !ok {
			t.Errorf("%s: a new package needs a line in mayImport: for its own dependency, its own trust level or an outside importer", pkg)
		}
	}
	used := make(map[string]bool)
	total := 0
	for pkg, allowed := range mayImport {
		have, ok := graph[pkg]
		if !ok {
			t.Errorf("%s is listed and does not exist", pkg)
		}
		for _, imp := range have {
			if ours, ok := strings.CutPrefix(imp, module); ok {
				total++
				if !slices.Contains(allowed, ours) {
					t.Errorf("%s imports %s: not in the plan", pkg, ours)
				}
				continue
			}
			if !strings.Contains(strings.Split(imp, "/")[0], ".") {
				continue // standard library
			}
			m := moduleOf(imp)
			if !slices.Contains(belongsTo[m], pkg) {
				t.Errorf("%s imports %s: that module is not its own", pkg, imp)
			}
			used[m+" "+pkg] = true
		}
		for _, a := range allowed {
			if !slices.Contains(have, module+a) {
				t.Errorf("%s may import %s and does not: take the line out", pkg, a)
			}
		}
	}
	for m, pkgs := range belongsTo {
		for _, pkg := range pkgs {
			if !used[m+" "+pkg] {
				t.Errorf("%s may import %s and does not: take it out", pkg, m)
			}
		}
	}
	t.Logf("%d packages, %.1f imports of our own each", len(graph), float64(total)/float64(len(graph)))
}

// TestOutsidersContainNoServer follows the graph from the programs of those who
// must not depend on the server: nothing of it may be reachable.
func TestOutsidersContainNoServer(t *testing.T) {
	graph := imports(t)
	server := []string{"escrow/issue", "escrow/disclose", "escrow/translog", "escrow/openid", "escrow/vault", "escrow/postgres", "escrow/web", "escrow/sandbox"}
	for _, from := range []string{"cmd/escrow", "policy", "escrow/registrar", "escrow/seal", "escrow/seal/ceremony", "escrow/custodian", "escrow/requester", "escrow/witness",
		"verifier/token", "verifier/identity", "verifier/integration", "verifier/proof", "verifier/opening"} {
		reached := reachable(graph, from)
		for _, s := range server {
			if reached[s] {
				t.Errorf("%s reaches %s", from, s)
			}
		}
	}
	for _, pair := range [][2]string{{"escrow/issue", "escrow/disclose"}, {"escrow/disclose", "escrow/issue"}} {
		if slices.Contains(graph[pair[0]], module+pair[1]) {
			t.Errorf("%s imports %s: the separation of powers is a wall", pair[0], pair[1])
		}
	}
}

// TestDaemonContainsNoSandbox: nothing of the sandbox is in the program that
// serves real people, nor any program of those outside.
func TestDaemonContainsNoSandbox(t *testing.T) {
	graph := imports(t)
	reached := reachable(graph, "cmd/escrowd")
	if !reached["escrow/service"] || !reachable(graph, "cmd/escrow-sandbox")["escrow/sandbox"] {
		t.Fatal("the walk is broken")
	}
	for pkg := range reached {
		if strings.HasPrefix(pkg, "escrow/sandbox") || pkg == "escrow/escrowtest" || pkg == "cmd/escrow" || pkg == "cmd/escrow/command" || pkg == "cmd/escrow-sandbox" {
			t.Errorf("cmd/escrowd reaches %s", pkg)
		}
		if slices.Contains(graph[pkg], "github.com/fergusstrange/embedded-postgres") {
			t.Errorf("cmd/escrowd reaches an embedded PostgreSQL through %s", pkg)
		}
	}
}

// TestNoTypeOfTheRouterLeavesTheEdge: what escrow/web exports names none, so that another
// router is a change of that package alone.
func TestNoTypeOfTheRouterLeavesTheEdge(t *testing.T) {
	files, err := filepath.Glob(filepath.Join(moduleRoot(t), "escrow", "web", "*.go"))
	if err != nil || len(files) < 10 {
		t.Fatal(files, err)
	}
	within := 0
	for _, name := range files {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		f, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		for _, decl := range f.Decls {
			if f, ok := decl.(*ast.FuncDecl); ok {
				f.Body = nil
			}
		}
		within += routers(f)
		if ast.FileExports(f); routers(f) > 0 {
			t.Errorf("%s exports a type of the router", filepath.Base(name))
		}
	}
	if within < 5 {
		t.Errorf("the search finds %d within", within)
	}
}

// routers counts where a file names something of the router's packages.
func routers(f *ast.File) (times int) {
	ast.Inspect(f, func(n ast.Node) bool {
		if s, ok := n.(*ast.SelectorExpr); ok {
			if pkg, ok := s.X.(*ast.Ident); ok && slices.ContainsFunc(f.Imports, func(i *ast.ImportSpec) bool {
				return strings.HasPrefix(i.Path.Value, `"github.com/labstack/echo/`) && strings.Contains(i.Path.Value, "/"+pkg.Name)
			}) {
				times++
			}
		}
		return true
	})
	return times
}

// reachable returns every package of ours that one imports, directly or not.
func reachable(graph map[string][]string, from string) map[string]bool {
	reached := map[string]bool{}
	var walk func(string)
	walk = func(pkg string) {
		for _, imp := range graph[pkg] {
			if ours, ok := strings.CutPrefix(imp, module); ok && !reached[ours] {
				reached[ours] = true
				walk(ours)
			}
		}
	}
	walk(from)
	return reached
}

func moduleOf(imp string) string {
	for m := range belongsTo {
		if imp == m || strings.HasPrefix(imp, m+"/") {
			return m
		}
	}
	return imp
}

// imports returns what the sources of each package import, tests left out.
func imports(t *testing.T) map[string][]string {
	t.Helper()
	root := moduleRoot(t)
	sets := make(map[string]map[string]bool)
	err := filepath.WalkDir(root, func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			if skipped(root, name, d) {
				return fs.SkipDir
			}
			return nil
		}
		if !strings.HasSuffix(name, ".go") || strings.HasSuffix(name, "_test.go") {
			return nil
		}
		f, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.ImportsOnly)
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(root, filepath.Dir(name))
		if err != nil {
			return err
		}
		pkg := path.Clean(filepath.ToSlash(rel))
		if sets[pkg] == nil {
			sets[pkg] = make(map[string]bool)
		}
		for _, imp := range f.Imports {
			p, err := strconv.Unquote(imp.Path.Value)
			if err != nil {
				return err
			}
			sets[pkg][p] = true
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(sets) < 15 {
		t.Fatalf("only %d packages found: the walk is broken", len(sets))
	}
	graph := make(map[string][]string, len(sets))
	for pkg, set := range sets {
		graph[pkg] = slices.Sorted(maps.Keys(set))
	}
	return graph
}

func exists(name string) bool {
	_, err := os.Stat(name)
	return err == nil
}
