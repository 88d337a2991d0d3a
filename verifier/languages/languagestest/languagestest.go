// Package languagestest finds the texts that people read in templates and sources, for tests that
// hold the files of the languages against them.
package languagestest

import (
	"encoding/json"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/fstest"
	"text/template/parse"
	"unicode"

	"golang.org/x/net/html"

	"github.com/penname/penname/verifier/languages"
)

// Texts are texts by their English, with where each is said.
type Texts map[string]string

// Sources are the files of Go in folders, but tests.
func Sources(t *testing.T, folders ...string) (all []string) {
	t.Helper()
	for _, folder := range folders {
		names, err := filepath.Glob(filepath.Join(folder, "*.go"))
		if err != nil || len(names) == 0 {
			t.Fatalf("%s: %v", folder, err)
		}
		all = append(all, slices.DeleteFunc(names, func(name string) bool { return strings.HasSuffix(name, "_test.go") })...)
	}
	return all
}

// Templates are the files that patterns name.
func Templates(t *testing.T, patterns ...string) (all []string) {
	t.Helper()
	for _, pattern := range patterns {
		names, err := filepath.Glob(pattern)
		if err != nil || len(names) == 0 {
			t.Fatal(pattern, err)
		}
		all = append(all, names...)
	}
	return all
}

// Parsed are the templates of a file, by their names.
func Parsed(t *testing.T, name string) map[string]*parse.Tree {
	t.Helper()
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	trees, tree := map[string]*parse.Tree{}, parse.New(name)
	tree.Mode = parse.SkipFuncCheck
	if _, err := tree.Parse(string(text), "", "", trees); err != nil {
		t.Fatal(err)
	}
	return trees
}

// Walk visits the nodes of a template in the order in which they stand in it.
func Walk(n parse.Node, visit func(parse.Node)) {
	visit(n)
	branch := func(b parse.BranchNode) {
		Walk(b.Pipe, visit)
		Walk(b.List, visit)
		if b.ElseList != nil {
			Walk(b.ElseList, visit)
		}
	}
	switch n := n.(type) {
	case *parse.ListNode:
		for _, n := range n.Nodes {
			Walk(n, visit)
		}
	case *parse.ActionNode:
		Walk(n.Pipe, visit)
	case *parse.TemplateNode:
		if n.Pipe != nil {
			Walk(n.Pipe, visit)
		}
	case *parse.IfNode:
		branch(n.BranchNode)
	case *parse.RangeNode:
		branch(n.BranchNode)
	case *parse.WithNode:
		branch(n.BranchNode)
	case *parse.PipeNode:
		for _, c := range n.Cmds {
			Walk(c, visit)
		}
	case *parse.CommandNode:
		for _, a := range n.Args {
			Walk(a, visit)
		}
	}
}

// OfTemplates adds what templates say by t.
func (texts Texts) OfTemplates(t *testing.T, names ...string) {
	t.Helper()
	for _, name := range names {
		for _, tree := range Parsed(t, name) {
			Walk(tree.Root, func(n parse.Node) {
				c, ok := n.(*parse.CommandNode)
				if !ok {
					return
				}
				if f, ok := c.Args[0].(*parse.IdentifierNode); !ok || f.Ident != "t" {
					return
				}
				text, ok := c.Args[1].(*parse.StringNode)
				if !ok {
					t.Errorf("%s: {{%s}}: what t says is written out", name, c)
					return
				}
				texts[text.Text] = name
			})
		}
	}
}

// OfCalls adds what sources say in the first argument of functions with these names, and in the
// variables and constants that are named: of maps the values.
func (texts Texts) OfCalls(t *testing.T, names, functions, closed []string) {
	t.Helper()
	for _, name := range names {
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		var all func(n ast.Node)
		all = func(n ast.Node) {
			ast.Inspect(n, func(n ast.Node) bool {
				switch n := n.(type) {
				case *ast.KeyValueExpr:
					all(n.Value)
					return false
				case *ast.FuncLit, *ast.IndexExpr:
					if i, ok := n.(*ast.IndexExpr); ok {
						all(i.X)
					}
					return false
				}
				if text, ok := Literal(n); ok && text != "" {
					texts[text] = name
				}
				return true
			})
		}
		ast.Inspect(file, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.CallExpr:
				called := ""
				switch f := n.Fun.(type) {
				case *ast.Ident:
					called = f.Name
				case *ast.SelectorExpr:
					called = f.Sel.Name
				}
				if slices.Contains(functions, called) && len(n.Args) > 0 {
					all(n.Args[0])
				}
			case *ast.ValueSpec:
				if slices.Contains(closed, n.Names[0].Name) {
					for _, v := range n.Values {
						all(v)
					}
				}
			}
			return true
		})
	}
}

// Literal is the text of a literal.
func Literal(n ast.Node) (string, bool) {
	lit, ok := n.(*ast.BasicLit)
	if !ok || lit.Kind != token.STRING {
		return "", false
	}
	text, err := strconv.Unquote(lit.Value)
	return text, err == nil
}

// OfRecord adds what the public record says. root is the folder of the module.
func (texts Texts) OfRecord(t *testing.T, root string) {
	t.Helper()
	in := func(name string) string { return filepath.Join(root, "verifier", name) }
	texts.OfTemplates(t, Templates(t, in("record/pages/*.html"))...)
	texts.OfCalls(t, append(Sources(t, in("record")), in("proof/words.go"), filepath.Join(root, "policy/platform.go")), []string{"say"}, []string{"facets", "words", "due", "months", "unreadable", "whatWarrantsDo", "confirmed", "findingWords", "kindWords", "orderWords", "whyRefused"})
	texts.OfCalls(t, []string{in("proof/words.go")}, []string{"add", "number"}, nil)
}

// refusalsToCustodians are the refusals beside those of the desk itself that a desk says in every
// language: they are about what was typed into it.
var refusalsToCustodians = []string{"custodian.wrong_passphrase", "custodian.weak_passphrase", "custodian.no_passphrase", "custodian.passphrase_text", "custodian.passphrases_differ",
	"custodian.away_days", "custodian.away_before", "custodian.no_alternate", "custodian.bad_handover", "custodian.you_answered"}

// notOnADesk are refusals of the command that opens a desk.
var notOnADesk = []string{"desk.not_loopback", "desk.cases_place"}

// OfDesk adds what a desk says. root is the folder of the module.
func (texts Texts) OfDesk(t *testing.T, root string) {
	t.Helper()
	in := func(name string) string { return filepath.Join(root, name) }
	command := func(name string) string { return in("cmd/escrow/command/" + name) }
	commands, err := filepath.Glob(command("desk*.go"))
	if err != nil || len(commands) == 0 {
		t.Fatal(commands, err)
	}
	texts.OfTemplates(t, Templates(t, in("escrow/desk/pages/*.html"))...)
	desk := append(Sources(t, in("escrow/desk")), slices.DeleteFunc(commands, func(name string) bool { return strings.HasSuffix(name, "_test.go") })...)
	texts.OfCalls(t, append(desk, command("custodian_approve.go"), command("custodian_list.go"), in("escrow/custodian/review.go"), in("verifier/opening/casefile.go")), []string{"Say"}, []string{
		"partNames", "codeWords", "deskMends", "stepWords", "targetWords", "secretOfFolder", "reasonWords", "approveWords", "waitsWords", "secretPIN", "secretPassphrase", "Unchecked", "groundNames",
		"DeadlineTold", "DeadlineObject", "DeadlineRuling", "DeadlineAnswer", "DeadlineValidation", "DeadlineValidated", "DeadlineLapsed", "DeadlineExpiry", "DeadlineSuspension", "DeadlineHold", "DeadlineSecrecy",
	})
	texts.OfCalls(t, []string{command("desk_words.go")}, []string{"add"}, nil)
	texts.ofQuestions(t, in("policy/questions.go"))
	for _, name := range append(desk, in("escrow/custodian/custodian.go"), in("escrow/custodian/statements.go"), in("escrow/custodian/decide.go"), command("terminal.go")) {
		texts.ofRefusals(t, name, func(code string) bool {
			return strings.HasPrefix(code, "desk.") && !slices.Contains(notOnADesk, code) || slices.Contains(refusalsToCustodians, code)
		})
	}
	for text := range texts { // arguments alone
		if !strings.ContainsFunc(strings.ReplaceAll(text, "%s", ""), unicode.IsLetter) {
			delete(texts, text)
		}
	}
}

// ofQuestions adds the questions of an order, and the answers to choose from that the rules do not
// give.
func (texts Texts) ofQuestions(t *testing.T, name string) {
	t.Helper()
	texts.OfCalls(t, []string{name}, nil, []string{"orderTitles"})
	add := func(n ast.Node) {
		if text, ok := Literal(n); ok && strings.Contains(text, " ") {
			texts[text] = name
		}
	}
	ast.Inspect(Source(t, name), func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.KeyValueExpr:
			if key, ok := n.Key.(*ast.Ident); ok && key.Name == "Text" {
				add(n.Value)
			}
		case *ast.CallExpr:
			if f, ok := n.Fun.(*ast.SelectorExpr); ok && f.Sel.Name == "text" {
				add(n.Args[1])
			}
		case *ast.CompositeLit:
			if of, ok := n.Type.(*ast.Ident); (n.Type == nil || ok && of.Name == "Choice") && len(n.Elts) == 2 {
				add(n.Elts[1])
			}
		}
		return true
	})
}

// ofRefusals adds the words of the refusals in a source whose codes are meant.
func (texts Texts) ofRefusals(t *testing.T, name string, meant func(code string) bool) {
	t.Helper()
	ast.Inspect(Source(t, name), func(n ast.Node) bool {
		call, ok := n.(*ast.CallExpr)
		if !ok || len(call.Args) != 3 {
			return true
		}
		if f, ok := call.Fun.(*ast.SelectorExpr); !ok || f.Sel.Name != "New" {
			return true
		}
		code, _ := Literal(call.Args[1])
		if mend, ok := Literal(call.Args[2]); ok && meant(code) {
			texts[mend] = name + ", " + code
		}
		return true
	})
}

// Source is a source, parsed.
func Source(t *testing.T, name string) *ast.File {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), name, nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	return file
}

// OutsideOfT is an error for what templates say otherwise than by t, but what is known.
func OutsideOfT(t *testing.T, names []string, known ...string) {
	t.Helper()
	code := regexp.MustCompile(`(?s)<code[^>]*>.*?</code>`)
	said := regexp.MustCompile(`(?:placeholder|aria-label|alt|title|label|summary)="([^"]*)"`)
	tag := regexp.MustCompile(`(?s)<[^>]*>`)
	entity := regexp.MustCompile(`&[a-z]+;`)
	for _, name := range names {
		for define, tree := range Parsed(t, name) {
			var markup strings.Builder
			Walk(tree.Root, func(n parse.Node) {
				switch n := n.(type) {
				case *parse.TextNode:
					markup.Write(n.Text)
				case *parse.ActionNode, *parse.TemplateNode:
					markup.WriteByte(0)
				}
			})
			rest := code.ReplaceAllString(markup.String(), "")
			for _, m := range said.FindAllStringSubmatch(rest, -1) {
				rest += m[1]
			}
			rest = entity.ReplaceAllString(tag.ReplaceAllString(rest, ""), "")
			for _, known := range known {
				rest = strings.ReplaceAll(rest, known, "")
			}
			if at := strings.IndexFunc(rest, unicode.IsLetter); at >= 0 {
				t.Errorf("%s, %s: said outside of t: %.60q", name, define, rest[at:])
			}
		}
	}
}

// Bracketed is a language that nobody speaks, eo, beside English: each text stands in brackets.
func Bracketed(t *testing.T, texts Texts) *languages.All {
	t.Helper()
	file := languages.File{Name: "⟦Made⟧", Day: "2 January 2006", Month: "January 2006", Moment: "2 January 2006 15:04 ⟦MST⟧", Texts: map[string]string{}}
	for range 12 {
		file.Months = append(file.Months, "⟦month⟧")
	}
	for english := range texts {
		file.Texts[english] = "⟦" + english + "⟧"
	}
	made, err := json.Marshal(file)
	if err != nil {
		t.Fatal(err)
	}
	all, err := languages.Read(fstest.MapFS{"en.json": {Data: languages.EnglishFile()}, "eo.json": {Data: made}})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// outside is what of a text stands in no brackets.
func outside(text string) string {
	depth := 0
	return strings.Map(func(r rune) rune {
		switch r {
		case '⟦':
			depth++
			return ' '
		case '⟧':
			depth--
			return ' '
		}
		if depth > 0 {
			return -1
		}
		return r
	}, text)
}

// ReadOutside is what people read on a page in no brackets, from its first letter, but names, code
// and what says that it is English.
func ReadOutside(t *testing.T, page string, names *regexp.Regexp) string {
	t.Helper()
	root, err := html.Parse(strings.NewReader(page))
	if err != nil {
		t.Fatal(err)
	}
	var read strings.Builder
	var visit func(*html.Node)
	visit = func(n *html.Node) {
		for _, a := range n.Attr {
			if slices.Contains([]string{"placeholder", "aria-label", "alt", "title"}, a.Key) {
				read.WriteString(" " + a.Val)
			}
			if a.Key == "lang" && a.Val == languages.English {
				return
			}
		}
		if n.Type == html.TextNode {
			read.WriteString(" " + n.Data)
		}
		if n.Type == html.ElementNode && slices.Contains([]string{"code", "style", "textarea"}, n.Data) {
			return
		}
		for c := range n.ChildNodes() {
			visit(c)
		}
	}
	visit(root)
	rest := names.ReplaceAllString(outside(read.String()), "")
	if at := strings.IndexFunc(rest, unicode.IsLetter); at >= 0 {
		return rest[at:]
	}
	return ""
}
