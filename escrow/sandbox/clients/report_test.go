package clients

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// row is a client's result.
type row struct {
	client
	installed string // its version
	works     bool   // by default
}

func (r row) result() string {
	switch {
	case r.works && r.email:
		return "works, registered with `email`"
	case r.works:
		return "works"
	case r.why == "":
		return "fails"
	case r.setting == "":
		return "no: " + r.why
	}
	return "no: " + r.why + "; works with `" + r.setting + "`"
}

func (r row) line() string { return fmt.Sprintf("| %s | %s | %s |\n", r.name, r.installed, r.result()) }

// Where README has the results.
const begin, end = "<!-- made by: make clients UPDATE=1 -->\n", "<!-- end -->\n"

// report compares the results with README, or writes them there.
func report(t *testing.T, rows []row) {
	t.Helper()
	var lines strings.Builder
	works := 0
	for _, r := range rows {
		lines.WriteString(r.line())
		if r.works {
			works++
		}
	}
	total := fmt.Sprintf("%d of %d by default", works, len(rows))
	if *table != "" {
		if err := os.WriteFile(*table, []byte(lines.String()+total+"\n"), 0o644); err != nil { //nolint:gosec // for everybody
			t.Fatal(err)
		}
	}
	readme := filepath.FromSlash("../../../README.md")
	raw, err := os.ReadFile(readme)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, _ := strings.Cut(string(raw), begin)
	documented, after, ok := strings.Cut(rest, end)
	switch {
	case !ok:
		t.Error("README has no place for the results")
	case *update:
		text := fmt.Sprintf("%s, tried on %s:\n\n| client | version | by default |\n|---|---|---|\n%s", total, time.Now().Format(time.DateOnly), &lines)
		if err := os.WriteFile(readme, []byte(before+begin+text+end+after), 0o644); err != nil { //nolint:gosec // as it was
			t.Error(err)
		}
	default:
		compare(t, documented, rows)
	}
}

// compare holds README's table to what was seen just now. Debian's versions are those of the
// machine, and not pinned.
func compare(t *testing.T, documented string, rows []row) {
	t.Helper()
	lines := map[string]string{}
	for line := range strings.Lines(documented) {
		if name, _, ok := strings.Cut(strings.TrimPrefix(line, "| "), " | "); ok && name != "client" {
			lines[name] = line
		}
	}
	if *all && len(lines) != len(rows) {
		t.Errorf("README has %d clients, %d were tried: make clients UPDATE=1 writes them", len(lines), len(rows))
	}
	for _, r := range rows {
		if r.version.from == fromDebian {
			if cells := strings.Split(lines[r.name], " | "); len(cells) == 3 {
				r.installed = cells[1]
			}
		}
		if lines[r.name] != r.line() {
			t.Errorf("README says otherwise: make clients UPDATE=1 writes\n%s", r.line())
		}
	}
}
