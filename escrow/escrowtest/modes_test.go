package escrowtest

import (
	"go/ast"
	"go/token"
	"maps"
	"strconv"
	"strings"
	"testing"
)

// public says who writes what others may read, and what that is. All else that
// the programs write is for its owner alone, from its creation.
var public = map[string]string{
	"cmd/shell/files.go WriteFile":                       "what the callers below write",
	"cmd/escrow/command/log_audit.go WriteFile":          "checkpoints of the public log",
	"cmd/escrow/command/log_show.go WriteFile":           "proofs of its entries",
	"cmd/escrow/command/log_export.go WriteFile":         "the headers with which it is served",
	"cmd/escrow/command/log_monitor.go MkdirAll":         "the monitor's mirror of the public log, whose checkpoint others compare with theirs",
	"cmd/escrow/command/log_monitor_record.go WriteFile": "what the public record published",
	"cmd/escrowd/command/ceremony.go WriteFile":          "plans and transcripts, which are in the public log",
	"cmd/escrowd/command/bundle.go WriteFile":            "bundles, which everybody is served",
	"cmd/escrowd/command/bundle_draft.go WriteFile":      "drafts of them",
	"cmd/escrowd/command/platform.go WriteFile":          "records of platforms, for the public log",
	"verifier/proof/mirror.go MkdirAll":                  "the mirror of the public log, to be served",
	"verifier/record/folder.go MkdirAll":                 "the pages of the public record, to be served",
	"verifier/record/folder.go WriteFile":                "likewise",
	"verifier/record/folder.go OpenFile":                 "likewise",
	"verifier/record/folder.go Mkdir":                    "likewise",
	"cmd/escrow/command/record.go MkdirAll":              "likewise",
	"cmd/escrow/command/record.go OpenFile":              "likewise: the origin of its log",
	"verifier/proof/mirror.go OpenFile":                  "likewise",
	"escrow/sandbox/binaries.go MkdirAll":                "programs of the sandbox, for the user that runs the database",
	"escrow/sandbox/vaultserver.go MkdirAll":             "likewise",
	"escrow/sandbox/postgres.go MkdirAll":                "the way to the database's folder, for its user",
	"escrow/sandbox/dir.go Chmod":                        "likewise, to pass through and not to read",
	"escrow/sandbox/robustness/node.go Mkdir":            "folders with the rights that the user of a test's disk gives them",
	"escrow/sandbox/postgres.go Chmod":                   "likewise",
	"escrow/sandbox/cluster/cluster.go MkdirAll":         "likewise",
	"escrow/sandbox/cluster/cluster.go Chmod":            "likewise",
	"escrow/sandbox/cluster/parts.go WriteFile":          "certificates",
}

// S2: `warrant sign --out` wrote grounds, pen name and requester for everybody to
// read. Every place that makes a file is looked at: a mode is a literal without a
// right for others, or what is written is public.
func TestFoundS2WhatIsNotPublicIsPrivate(t *testing.T) {
	unused := maps.Clone(public)
	eachFile(t, func(name string, files *token.FileSet, f *ast.File) {
		if strings.HasSuffix(name, "_test.go") {
			return
		}
		ast.Inspect(f, func(n ast.Node) bool {
			call, ok := n.(*ast.CallExpr)
			if !ok {
				return true
			}
			function, ok := call.Fun.(*ast.SelectorExpr)
			if !ok || !makesFile(function, call) {
				return true
			}
			place := strings.TrimPrefix(strings.TrimPrefix(name, "../../"), "/") + " " + function.Sel.Name
			if _, ok := public[place]; !ok {
				t.Errorf("%s: %s gives rights to others, and is not known as public", files.Position(call.Pos()), place)
			}
			delete(unused, place)
			return true
		})
	})
	for place := range unused {
		t.Errorf("%s is not written any more: take the line out", place)
	}
}

// makesFile reports whether a call makes a file that is not its owner's alone.
func makesFile(function *ast.SelectorExpr, call *ast.CallExpr) bool {
	switch of, _ := function.X.(*ast.Ident); function.Sel.Name {
	case "Create":
		return of != nil && of.Name == "os"
	case "WriteFile", "OpenFile", "Mkdir", "MkdirAll", "Chmod":
		last, ok := call.Args[len(call.Args)-1].(*ast.BasicLit)
		if !ok {
			return of == nil || of.Name != "witness" // shell.WriteFile, and a mode that is no literal
		}
		mode, err := strconv.ParseInt(last.Value, 0, 32)
		return err != nil || mode&0o077 != 0
	}
	return false
}
