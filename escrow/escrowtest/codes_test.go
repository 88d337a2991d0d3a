package escrowtest

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

var refusalCode = regexp.MustCompile(`^[a-z][a-z_]*(\.[a-z0-9_]+)+$`)

// TestRefusalsAreDeclaredOnce: a code has one owner and one text. It parses the
// sources, tests left out, and reads every call of refusal.New.
func TestRefusalsAreDeclaredOnce(t *testing.T) {
	declared := make(map[string]string) // code to place
	fset := token.NewFileSet()
	err := filepath.WalkDir("../..", func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && (d.Name() == ".git" || d.Name() == "node_modules" || d.Name() == "testdata") {
			return fs.SkipDir
		}
		if d.IsDir() || !strings.HasSuffix(name, ".go") || strings.HasSuffix(name, "_test.go") {
			return nil
		}
		file, err := parser.ParseFile(fset, name, nil, 0)
		if err != nil {
			return err
		}
		ast.Inspect(file, func(n ast.Node) bool {
			call, ok := n.(*ast.CallExpr)
			if !ok {
				return true
			}
			f, ok := call.Fun.(*ast.SelectorExpr)
			if pkg, named := (*ast.Ident)(nil), false; ok {
				if pkg, named = f.X.(*ast.Ident); !named || pkg.Name != "refusal" || f.Sel.Name != "New" || len(call.Args) != 3 {
					return true
				}
				place := fset.Position(call.Pos()).String()
				code := constant(call.Args[1])
				if !refusalCode.MatchString(code) {
					t.Errorf("%s: the code is no literal of the usual form", place)
				} else if first, twice := declared[code]; twice {
					t.Errorf("%s is declared at %s and at %s", code, first, place)
				}
				declared[code] = place
			}
			return true
		})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(declared) < 250 {
		t.Errorf("only %d codes found: the walk is broken", len(declared))
	}
}

// constant is the value of a string literal, or "".
func constant(e ast.Expr) string {
	lit, ok := e.(*ast.BasicLit)
	if !ok {
		return ""
	}
	s, _ := strconv.Unquote(lit.Value)
	return s
}
