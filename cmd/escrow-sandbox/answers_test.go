package main

import (
	"context"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	escrow "github.com/penname/penname/cmd/escrow/command"
)

// Each target is shown and asked about before anything is signed or sent. Who is interrupted,
// answers otherwise than was asked, or does not confirm, has signed nothing.
func TestAskedBeforeAnythingIsSent(t *testing.T) {
	tb := startForTest(t)
	x := filedCase(t, tb)
	p := &posted{lie: honest}
	if said, code := custodianSays(t, tb, p, "alba", "review", x.ID); code != 0 {
		t.Fatal(said)
	}
	var asked []string
	approve := func(ctx context.Context, ask func(ctx context.Context, question string) (string, error), args ...string) (said string, code int) {
		asked = nil
		var out strings.Builder
		env := escrow.System()
		env.Stdout, env.Stderr, env.Now, env.HTTP, env.Ask = &out, &out, tb.Clock.Now, &http.Client{Transport: p}, nil
		if ask != nil {
			env.Ask = func(ctx context.Context, question string) (string, error) {
				asked = append(asked, question)
				return ask(ctx, question)
			}
		}
		code = escrow.Run(ctx, tb.AsCustodian("alba", append([]string{"approve", x.ID}, args...)...), env)
		return out.String(), code
	}
	types := func(lines ...string) func(context.Context, string) (string, error) {
		return func(context.Context, string) (string, error) {
			line := lines[0]
			lines = lines[1:]
			return line, nil
		}
	}
	file := filepath.Join(t.TempDir(), "answers.csv")
	if err := os.WriteFile(file, []byte("target,answers\n2,yes\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	unsigned := "nothing was kept, signed or sent"
	ctx, stop := context.WithCancel(t.Context())
	for name, row := range map[string]struct {
		ctx  context.Context
		ask  func(context.Context, string) (string, error)
		args []string
		code int
		says string
	}{
		"nobody there":   {t.Context(), nil, nil, 1, "custodian.no_answers: "},
		"interrupted":    {ctx, func(context.Context, string) (string, error) { stop(); return "", context.Canceled }, nil, 130, unsigned},
		"not confirmed":  {t.Context(), types("yes", "yes", "no"), nil, 1, "custodian.not_confirmed: "},
		"another target": {t.Context(), nil, []string{"--yes", "--answers", file}, 1, "custodian.unknown_target: "},
	} {
		said, code := approve(row.ctx, row.ask, row.args...)
		if code != row.code || !strings.Contains(said, row.says) || len(p.sent) != 0 {
			t.Errorf("%s: exit %d, %d sent: %s", name, code, len(p.sent), said)
		}
		if kept, err := filepath.Glob(filepath.Join(tb.Path("custodians", "alba"), "decision-*")); err != nil || len(kept) != 0 {
			t.Error(name, kept, err)
		}
	}
	said, code := approve(t.Context(), types("perhaps", "no", "because", "6", "yes"))
	if code != 0 || len(p.sent) != 1 || !strings.Contains(said, "pen name 1: decline; Does each of these posts show this offence, ") || !strings.Contains(said, " no; press_freedom\n") {
		t.Fatalf("exit %d, %d sent: %s", code, len(p.sent), said)
	}
	if len(asked) != 5 || !strings.Contains(asked[0], "Does each of these posts show this offence, ") || !strings.Contains(asked[0], "  for the post http") || !strings.Contains(asked[0], "      | ") ||
		!strings.Contains(asked[4], ": decline, press_freedom (it is about journalism, or would show a source)\n    Does each of these posts show this offence, Threats to kill? no\nReasons of the list are published") {
		t.Errorf("%q", asked)
	}
	// What was signed goes out again, and nobody is asked anything else.
	if said, code := approve(t.Context(), types()); len(p.sent) != 2 || p.sent[0] != p.sent[1] || len(asked) != 0 {
		t.Errorf("exit %d, %d sent, %q: %s", code, len(p.sent), asked, said)
	}
}
