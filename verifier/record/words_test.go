package record

import (
	"go/ast"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/penname/penname/verifier/languages/languagestest"
	"github.com/penname/penname/verifier/proof"
)

// declared are the texts that a source gives its constants, and the codes of its refusals, by name.
func declared(t *testing.T, name string) map[string]string {
	t.Helper()
	all := map[string]string{}
	ast.Inspect(languagestest.Source(t, name), func(n ast.Node) bool {
		v, ok := n.(*ast.ValueSpec)
		if !ok {
			return true
		}
		for i, value := range v.Values {
			if call, ok := value.(*ast.CallExpr); ok && len(call.Args) == 3 {
				value = call.Args[1]
			}
			if text, ok := languagestest.Literal(value); ok {
				all[v.Names[i].Name] = text
			}
		}
		return true
	})
	return all
}

// TestEachCodeHasWords: findings, kinds of entries and of orders, and refusals of orders.
func TestEachCodeHasWords(t *testing.T) {
	same := func(what string, codes []string, words map[string]string) {
		t.Helper()
		slices.Sort(codes)
		if have := slices.Sorted(maps.Keys(words)); len(codes) == 0 || !slices.Equal(have, codes) {
			t.Errorf("%s: there are words for %q, of %q", what, have, codes)
		}
	}
	var findings []string
	for name, code := range declared(t, "../proof/audit.go") {
		if strings.HasPrefix(name, "Finding") {
			findings = append(findings, code)
		}
	}
	same("findings", findings, findingWords)
	kinds := []string{unreadable}
	for _, k := range proof.Kinds() {
		kinds = append(kinds, string(k))
	}
	same("kinds of entries", kinds, kindWords)
	same("kinds of orders", slices.Collect(maps.Values(declared(t, "../proof/warrantkind.go"))), orderWords)
	for _, name := range slices.Concat(kinds, slices.Collect(maps.Keys(orderWords))) {
		if !slices.Contains(words, name) {
			t.Errorf("%s has no name in other languages", name)
		}
	}

	codes := map[string]string{}
	for _, pattern := range []string{"../../policy/*.go", "../../escrow/disclose/*.go"} {
		names, err := filepath.Glob(pattern)
		if err != nil || len(names) == 0 {
			t.Fatal(pattern, err)
		}
		for _, name := range names {
			if strings.HasSuffix(name, "_test.go") {
				continue
			}
			for variable, code := range declared(t, name) {
				if !strings.HasPrefix(code, "warrant.") {
					continue
				}
				codes[variable] = code
				// What policy refuses is what a court filed, but for who asks about it.
				if filed := strings.Contains(name, "/policy/") && code != "warrant.inquiry"; filed && refusalWords[code] == "" {
					t.Errorf("%s has no words", code)
				}
			}
		}
	}
	refusing := 0
	ast.Inspect(languagestest.Source(t, "../../escrow/disclose/registrar.go"), func(n ast.Node) bool {
		if v, ok := n.(*ast.ValueSpec); ok && v.Names[0].Name == "notFiled" {
			for _, e := range v.Values[0].(*ast.CompositeLit).Elts {
				name := e.(*ast.Ident).Name
				if refusing++; name != "ErrNoEarlier" && refusalWords[codes[name]] == "" { // which is policy's
					t.Errorf("%s has no words", name)
				}
			}
		}
		return true
	})
	if refusing < 5 {
		t.Errorf("%d refusals of what is filed", refusing)
	}
	for code := range refusalWords {
		if !slices.Contains(slices.Collect(maps.Values(codes)), code) {
			t.Errorf("there are words for %s, which nobody says", code)
		}
	}
}
