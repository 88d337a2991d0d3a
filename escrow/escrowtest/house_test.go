package escrowtest

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// The maxima of the house. Whoever needs more splits a package or a function; the
// composition roots put everything together and are free of the first.
const (
	maxImports    = 9   // of ours, by one package
	maxInterfaces = 25  // that have a name
	maxFunction   = 100 // lines, tests and test kits included
	maxMain       = 80  // lines of a function main
)

// compositionRoots put the parts together: programs, the service, the world of
// the sandbox, and postgres, which implements the ports of every side.
var compositionRoots = []string{"cmd/", "escrow/service", "escrow/sandbox/world", "escrow/postgres"}

func TestNoPackageImportsTooMuch(t *testing.T) {
	for pkg, imports := range imports(t) {
		ours := 0
		for _, imp := range imports {
			if strings.HasPrefix(imp, module) {
				ours++
			}
		}
		root := false
		for _, r := range compositionRoots {
			root = root || strings.HasPrefix(pkg, r)
		}
		if ours > maxImports && !root {
			t.Errorf("%s imports %d packages of ours, at most %d", pkg, ours, maxImports)
		}
	}
}

func TestFunctionsAreShort(t *testing.T) {
	eachFile(t, func(name string, files *token.FileSet, f *ast.File) {
		for _, d := range f.Decls {
			fn, ok := d.(*ast.FuncDecl)
			if !ok {
				continue
			}
			lines, limit := files.Position(fn.End()).Line-files.Position(fn.Pos()).Line+1, maxFunction
			if fn.Name.Name == "main" {
				limit = maxMain
			}
			if lines > limit {
				t.Errorf("%s: %s has %d lines, at most %d", name, fn.Name.Name, lines, limit)
			}
		}
	})
}

func TestInterfacesAreFew(t *testing.T) {
	var all []string
	eachFile(t, func(name string, _ *token.FileSet, f *ast.File) {
		if strings.HasSuffix(name, "_test.go") {
			return
		}
		for _, d := range f.Decls {
			g, ok := d.(*ast.GenDecl)
			if !ok {
				continue
			}
			for _, s := range g.Specs {
				if ts, ok := s.(*ast.TypeSpec); ok {
					if _, ok := ts.Type.(*ast.InterfaceType); ok {
						all = append(all, name+" "+ts.Name.Name)
					}
				}
			}
		}
	})
	if len(all) > maxInterfaces {
		t.Errorf("%d named interfaces, at most %d: an interface is for two implementations, declared where it is used\n%s", len(all), maxInterfaces, strings.Join(all, "\n"))
	}
	t.Logf("%d named interfaces", len(all))
}

// eachFile parses every source of the module, tests included.
func eachFile(t *testing.T, each func(name string, files *token.FileSet, f *ast.File)) {
	t.Helper()
	root := moduleRoot(t)
	looked := 0
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
		if !strings.HasSuffix(name, ".go") {
			return nil
		}
		files := token.NewFileSet()
		f, err := parser.ParseFile(files, name, nil, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		looked++
		each(strings.TrimPrefix(name, root+string(os.PathSeparator)), files, f)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if looked < 200 {
		t.Fatalf("only %d files found: the walk is broken", looked)
	}
}

// moduleRoot is the folder of go.mod.
func moduleRoot(t *testing.T) string {
	t.Helper()
	root, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for !exists(filepath.Join(root, "go.mod")) {
		root = filepath.Dir(root)
	}
	return root
}

// skipped reports whether a folder holds no sources of this module.
func skipped(root, name string, d fs.DirEntry) bool {
	base := d.Name()
	return strings.HasPrefix(base, ".") && name != root || base == "testdata" || base == "node_modules" || name != root && exists(filepath.Join(name, "go.mod"))
}

// S4: every fuzz target is held to a speed, by package fuzzing; some ran eight
// inputs a minute.
func TestFoundS4EveryFuzzTargetIsHeldToASpeed(t *testing.T) {
	targets, held := 0, 0
	eachFile(t, func(name string, files *token.FileSet, f *ast.File) {
		ast.Inspect(f, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.FuncDecl:
				if n.Recv == nil && strings.HasPrefix(n.Name.Name, "Fuzz") && strings.HasSuffix(name, "_test.go") {
					targets++
				}
			case *ast.SelectorExpr:
				x, _ := n.X.(*ast.Ident)
				switch {
				case n.Sel.Name == "Fuzz" && f.Name.Name != "fuzzing":
					t.Errorf("%s: a target that is run by itself: fuzzing.Run holds it to a speed", files.Position(n.Pos()))
				case n.Sel.Name == "Run" && x != nil && x.Name == "fuzzing":
					held++
				}
			}
			return true
		})
	})
	if targets < 20 || held < 20 {
		t.Errorf("%d targets, %d of them held: the check looks in the wrong place", targets, held)
	}
}
