package escrowtest

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// rows is the catalogue of attacks, faults and invariants that the tests answer
// for: table letter and numbers.
var rows = map[string][]int{
	"T": upTo(56), "R": upTo(35), "C": upTo(24), "V": upTo(24), "D": upTo(20),
	"F": {12, 13, 14, 15, 16, 23, 37, 38}, "I": {2, 10, 12, 13, 14, 17, 22, 23, 28},
}

// notHere are the rows that do not apply to the design as built.
var notHere = map[string]string{
	"C15": "custodians sign with keys in their own folders; no custodian approves by WebAuthn",
	"C19": "custodians get no wrapping token; the services' own are V11",
}

func upTo(n int) (all []int) {
	for i := 1; i <= n; i++ {
		all = append(all, i)
	}
	return all
}

// TestNoRowIsDropped: every row of the catalogue is named by a test, a row of a
// test's table or a list of what does not apply, with its reason.
func TestNoRowIsDropped(t *testing.T) {
	var sources strings.Builder
	err := filepath.WalkDir("../..", func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && (strings.HasPrefix(d.Name(), ".git") || d.Name() == "node_modules") {
			return fs.SkipDir
		}
		if d.Name() == "rows_test.go" || !strings.HasSuffix(name, "_test.go") && !strings.HasSuffix(name, ".txtar") && filepath.Base(filepath.Dir(name)) != "escrowtest" {
			return nil
		}
		b, err := os.ReadFile(name)
		sources.Write(b)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	text, n := sources.String(), 0
	for table, numbers := range rows {
		for _, number := range numbers {
			n++
			id := fmt.Sprintf("%s%02d", table, number)
			if table == "I" {
				id = fmt.Sprintf("%s%d", table, number)
			}
			named := regexp.MustCompile(`(Test|[^A-Za-z]|^)` + id + `([^0-9]|$)`).MatchString(text)
			switch why, not := notHere[id]; {
			case !named && !not:
				t.Errorf("%s is named by no test and by no list of what does not apply", id)
			case not:
				t.Logf("%s does not apply: %s", id, why)
			}
		}
	}
	t.Logf("%d rows", n)
}
