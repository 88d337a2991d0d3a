package token_test

import (
	"context"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/penname/penname/verifier/token"
)

// verifyAsInReadme is the code of README, "For a platform".
func verifyAsInReadme(ctx context.Context, raw string) (*token.Token, error) {
	keys := token.HTTPKeySource("https://penname.example/jwks", nil, time.Now)
	v := &token.Verifier{
		Issuer:   "https://penname.example",
		Audience: "town-square",
		Keys:     keys,
		Status:   token.NewHTTPStatusSource("https://penname.example", keys, nil, time.Now),
		Leeway:   time.Minute,
	}
	return v.Verify(ctx, raw)
}

// TestReadmeCodeCompiles: every line of README's Go code stands above, where the
// compiler reads it.
func TestReadmeCodeCompiles(t *testing.T) {
	readme, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, ok := strings.Cut(string(readme), "```go\n")
	code, _, closed := strings.Cut(rest, "```")
	if !ok || !closed {
		t.Fatal("README has no Go code")
	}
	source, err := os.ReadFile("readme_test.go")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(code) {
		line, _, _ = strings.Cut(strings.TrimSpace(line), " // ")
		line = strings.Replace(line, "t, err := v.Verify", "return v.Verify", 1)
		if !strings.Contains(string(source), line) {
			t.Errorf("README has code that nobody compiles: %s", line)
		}
	}
	if _, err := verifyAsInReadme(t.Context(), "x"); err == nil {
		t.Error("it verified what is no token")
	}
}
