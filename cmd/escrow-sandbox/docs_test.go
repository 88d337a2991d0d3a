package main

import (
	"bytes"
	"context"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// TestDocumentedCommands: every command that the documents and the programs'
// own texts name exists, with the flags that they name.
func TestDocumentedCommands(t *testing.T) {
	inline := regexp.MustCompile("`(escrow(?:d|-sandbox)?(?: [^`]+)?)`")
	usage := regexp.MustCompile(`Usage:\n  (.*)\n`)
	program := map[string]func(context.Context, []string, io.Writer, io.Writer) int{
		"escrowd": programs.Escrowd, "escrow-sandbox": run,
		"escrow": func(ctx context.Context, args []string, out, errs io.Writer) int {
			return programs.Escrow(ctx, args, time.Now, out, errs)
		},
	}
	n := 0
	for _, name := range []string{"README.md", "SECURITY.md", "CHANGELOG.md", "deploy/escrowd.toml", "deploy/systemd/penname@.service", "deploy/README.md", "deploy/clients.md", "deploy/evidence.md", "deploy/orders.md"} {
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
			if first, _, _ := strings.Cut(line, " "); program[first] != nil {
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
			code := program[words[0]](t.Context(), append(words[1:], "--help"), &out, &errs)
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
