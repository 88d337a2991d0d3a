package main

import (
	"bytes"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/penname/penname/cmd/escrow/command"
)

// TestDocumentedCommands: every command that the documents and the programs'
// own texts name exists, with the flags that they name.
func TestDocumentedCommands(t *testing.T) {
	inline := regexp.MustCompile("`(escrowd? [^`]+)`")
	usage := regexp.MustCompile(`Usage:\n  (.*)\n`)
	n := 0
	for _, name := range []string{"README.md", "SECURITY.md", "CHANGELOG.md", "deploy/escrowd.toml", "deploy/systemd/escrowd.service"} {
		raw, err := os.ReadFile(filepath.Join("..", "..", name))
		if err != nil {
			t.Fatal(err)
		}
		var all []string
		for line := range strings.Lines(string(raw)) {
			line = strings.TrimSpace(strings.TrimPrefix(strings.TrimSpace(line), "$ "))
			if _, comment, ok := strings.Cut(line, "# escrow"); ok {
				line = "escrow" + comment // how deploy/escrowd.toml says what makes a file
			}
			if strings.HasPrefix(line, "escrow ") || strings.HasPrefix(line, "escrowd ") {
				line, _, _ = strings.Cut(line, "   ")
				line, _, _ = strings.Cut(line, " # ")
				all = append(all, line)
			}
			for _, m := range inline.FindAllStringSubmatch(line, -1) {
				all = append(all, m[1])
			}
		}
		for _, line := range all {
			words := strings.Fields(line)
			var out, errs bytes.Buffer
			args, code := append(words[1:], "--help"), 0
			if words[0] == "escrow" {
				env := command.System()
				env.Stdout, env.Stderr = &out, &errs
				code = command.Run(t.Context(), args, env)
			} else {
				code = run(t.Context(), args, &out, &errs)
			}
			if n++; code != 0 {
				t.Errorf("%s: %s: %s", name, line, errs.String())
				continue
			}
			// Help for a group of commands is what a wrong name gets.
			if m := usage.FindStringSubmatch(out.String()); m == nil || strings.Contains(m[1], "[command]") {
				t.Errorf("%s: %s: there is no such command", name, line)
			}
		}
	}
	if n < 30 {
		t.Errorf("only %d commands were found", n)
	}
}
