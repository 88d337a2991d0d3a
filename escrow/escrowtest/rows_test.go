package escrowtest

import (
	"go/scanner"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

const idPattern = `(?:[TPROWLCMHVDXNF]\d{2}|I\d{1,2})`

var (
	eachID = regexp.MustCompile(idPattern)
	idWord = regexp.MustCompile(`(Test|Fuzz|Benchmark)?(` + idPattern + `+)`)
	lesson = regexp.MustCompile(`lesson \d+`)

	line      = regexp.MustCompile(`^- (lesson \d+|` + idPattern + `): ([^\[\]]+?)(?: \[(.+)\])?$`)
	later     = regexp.MustCompile(`^later: issue \d+$`)
	unfitting = regexp.MustCompile(`^not applicable: .{15,}$`)
	testFunc  = regexp.MustCompile(`(?m)^func ((?:Test|Fuzz)\w+)\(`)
)

// TestAttacksAreComplete holds ATTACKS.md both ways: what is cited anywhere stands
// there, and what stands there is cited by a test, or its line says which test
// shows it, which issue will, or why it does not apply.
func TestAttacksAreComplete(t *testing.T) {
	text, err := os.ReadFile("ATTACKS.md")
	if err != nil {
		t.Fatal(err)
	}
	listed := make(map[string]string) // id to what its line ends with
	for _, l := range strings.Split(string(text), "\n") {
		m := line.FindStringSubmatch(l)
		if m == nil {
			if strings.HasPrefix(l, "- ") {
				t.Errorf("not a line of the list: %s", l)
			}
			continue
		}
		if _, twice := listed[m[1]]; twice {
			t.Errorf("%s stands there twice", m[1])
		}
		listed[m[1]] = m[3]
	}
	cited, byTests, tests := citations(t)
	for id, where := range cited {
		if _, ok := listed[id]; !ok {
			t.Errorf("%s is cited in %s and is not in ATTACKS.md", id, where)
		}
	}
	for id, status := range listed {
		isLesson := strings.HasPrefix(id, "lesson")
		switch names, shown := strings.CutPrefix(status, "shown by "); {
		case shown:
			for _, name := range strings.Split(names, ", ") {
				if !tests[name] {
					t.Errorf("%s is shown by %s, which does not exist", id, name)
				}
			}
		case status == "" && !byTests[id] && !isLesson:
			t.Errorf("%s is cited by no test, and its line does not say why", id)
		case status != "" && !later.MatchString(status) && !unfitting.MatchString(status):
			t.Errorf("%s: %q is no status", id, status)
		case later.MatchString(status) && byTests[id]:
			t.Errorf("%s is %s, and a test cites it", id, status)
		}
	}
	if len(listed) < 400 || len(byTests) < 250 || len(tests) < 400 {
		t.Errorf("%d ids, %d of them cited, %d tests: the walk is broken", len(listed), len(byTests), len(tests))
	}
}

// citations walks the house: each id that is cited with one place, those that
// tests and test kits cite, and the names of tests and walkthroughs.
func citations(t *testing.T) (cited map[string]string, byTests, tests map[string]bool) {
	t.Helper()
	cited, byTests, tests = make(map[string]string), make(map[string]bool), make(map[string]bool)
	err := filepath.WalkDir("../..", func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && (d.Name() == ".git" || d.Name() == "node_modules" || d.Name() == "dist") {
			return fs.SkipDir
		}
		ext := filepath.Ext(name)
		if d.IsDir() || d.Name() == "rows_test.go" || d.Name() == "ATTACKS.md" || ext != ".go" && ext != ".txtar" && ext != ".md" && ext != ".sql" {
			return nil
		}
		b, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		texts := []string{string(b)}
		if ext == ".go" {
			texts = words(b)
		}
		test := strings.HasSuffix(name, "_test.go") || ext == ".txtar" || strings.HasSuffix(filepath.Base(filepath.Dir(name)), "test")
		for _, text := range texts {
			for _, id := range idsIn(text) {
				cited[id] = name
				byTests[id] = byTests[id] || test
			}
			for _, l := range lesson.FindAllString(text, -1) {
				cited[l] = name
			}
		}
		for _, m := range testFunc.FindAllSubmatch(b, -1) {
			tests[string(m[1])] = true
		}
		if ext == ".txtar" {
			tests[strings.TrimSuffix(d.Name(), ext)] = true
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return cited, byTests, tests
}

// idsIn returns the ids in a text: each as a word, or several at the beginning of
// a test's name ("row C16", "V05WrongLabel", TestC09C23Dealer). What looks like an
// id in a date, in base64 or in a longer word or number is none.
func idsIn(text string) (ids []string) {
	for _, m := range idWord.FindAllStringSubmatchIndex(text, -1) {
		before, after := text[:m[0]], text[m[1]:]
		if before != "" && strings.ContainsAny(before[len(before)-1:], alphanumeric+"+/=_.-") {
			continue
		}
		if next := after + "  "; strings.Contains(digits+lower, next[:1]) || next[0] == ':' && strings.Contains(digits, next[1:2]) {
			continue
		}
		ids = append(ids, eachID.FindAllString(text[m[4]:m[5]], -1)...)
	}
	return ids
}

const (
	digits       = "0123456789"
	lower        = "abcdefghijklmnopqrstuvwxyz"
	alphanumeric = digits + lower + "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
)

func TestIDsAreFound(t *testing.T) {
	for text, want := range map[string]string{
		"rows T03 T04, (C01–C24) and I2.": "T03 T04 C01 C24 I2", "TestC09C23DealerDeals": "C09 C23", "V05WrongLabel": "V05", "TestI2ARowIsNoWarrant": "I2",
		"T22: base64": "T22", "FuzzT01": "T01", "T00:00:00Z": "", "2026-03-01T12": "", "xT03": "", "T034": "", "T03a": "", "/D18=": "", "x-F01": "", "H2O": "",
	} {
		if got := strings.Join(idsIn(text), " "); got != want {
			t.Errorf("%q: %s", text, got)
		}
	}
}

// words returns what a Go source says to people: comments, strings and names.
func words(src []byte) (all []string) {
	var s scanner.Scanner
	fset := token.NewFileSet()
	s.Init(fset.AddFile("", fset.Base(), len(src)), src, nil, scanner.ScanComments)
	for {
		_, tok, text := s.Scan()
		switch tok {
		case token.EOF:
			return all
		case token.COMMENT, token.STRING, token.IDENT:
			all = append(all, strings.Trim(text, "\"`"))
		}
	}
}
