package escrowtest

import (
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
)

var (
	namedTest   = regexp.MustCompile("`((?:Test|Fuzz)\\w+)(…?)`")
	sessionRule = regexp.MustCompile(`(?m)^\| (7\.\d\.\d) \|.*\|(.*)\|$`)
)

// TestSecurityNamesTestsThatExist: what SECURITY.md says is shown by a test is; a name
// that ends in … stands for all that begin so.
func TestSecurityNamesTestsThatExist(t *testing.T) {
	raw, err := os.ReadFile("../../SECURITY.md")
	if err != nil {
		t.Fatal(err)
	}
	_, _, tests := citations(t)
	named := namedTest.FindAllStringSubmatch(string(raw), -1)
	for _, m := range named {
		begins := func(name string) bool { return strings.HasPrefix(name, m[1]) }
		if !tests[m[1]] && (m[2] == "" || !slices.ContainsFunc(slices.Collect(maps.Keys(tests)), begins)) {
			t.Errorf("SECURITY.md names %s, which does not exist", m[1])
		}
	}
	if len(named) < 60 {
		t.Errorf("only %d tests are named", len(named))
	}
	rows := sessionRule.FindAllStringSubmatch(string(raw), -1)
	if len(rows) != 19 { // OWASP ASVS 5.0, V7
		t.Errorf("%d requirements on sessions, want 19", len(rows))
	}
	for _, row := range rows {
		if !namedTest.MatchString(row[2]) && !strings.Contains(row[2], "does not apply: ") {
			t.Errorf("%s: neither a test nor why not", row[1])
		}
	}
}
