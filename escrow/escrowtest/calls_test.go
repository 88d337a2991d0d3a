package escrowtest

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestEveryCallIsBound holds the table of calls in SECURITY.md: every call of the
// registrar's client is in it, no cell is empty, and every line names tests or
// walkthroughs that exist.
func TestEveryCallIsBound(t *testing.T) {
	raw, err := os.ReadFile("../../SECURITY.md")
	if err != nil {
		t.Fatal(err)
	}
	_, table, _ := strings.Cut(string(raw), "<!-- calls:begin -->\n")
	table, _, _ = strings.Cut(table, "<!-- calls:end -->")
	lines := strings.Split(strings.TrimSpace(table), "\n")
	if len(lines) < 30 {
		t.Fatalf("%d lines: the table was not found", len(lines))
	}
	named := regexp.MustCompile("`([A-Za-z][A-Za-z0-9-]+)`")
	exists := tests(t)
	asked := make(map[string]bool)
	for _, line := range lines[2:] {
		cells := strings.Split(strings.Trim(line, "| "), " | ")
		if len(cells) != 5 {
			t.Errorf("%d cells: %s", len(cells), line)
			continue
		}
		for _, m := range named.FindAllStringSubmatch(cells[1], -1) {
			asked[m[1]] = true
		}
		shown := named.FindAllStringSubmatch(cells[4], -1)
		if len(shown) == 0 {
			t.Errorf("no test: %s", line)
		}
		for _, m := range shown {
			if !exists[m[1]] {
				t.Errorf("%s does not exist: %s", m[1], line)
			}
		}
	}
	calls := clientCalls(t)
	if len(calls) < 10 {
		t.Fatal("the client was not found")
	}
	for _, name := range calls {
		if !asked[name] {
			t.Errorf("the table lacks the client's %s", name)
		}
	}
}

// tests are the names of all tests and walkthroughs.
func tests(t *testing.T) map[string]bool {
	t.Helper()
	declared := regexp.MustCompile(`(?m)^func (Test[A-Za-z0-9_]+)\(`)
	all := make(map[string]bool)
	err := filepath.WalkDir("../..", func(name string, d fs.DirEntry, err error) error {
		if walkthrough, ok := strings.CutSuffix(filepath.Base(name), ".txtar"); ok {
			all[walkthrough] = true
		}
		if err != nil || !strings.HasSuffix(name, "_test.go") {
			return err
		}
		source, err := os.ReadFile(name)
		for _, m := range declared.FindAllStringSubmatch(string(source), -1) {
			all[m[1]] = true
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// clientCalls are the exported methods of registrar.Client.
func clientCalls(t *testing.T) (names []string) {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), "../registrar/client.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range file.Decls {
		if f, ok := d.(*ast.FuncDecl); ok && f.Recv != nil && f.Name.IsExported() {
			names = append(names, f.Name.Name)
		}
	}
	return names
}
