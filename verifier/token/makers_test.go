package token_test

import (
	"bytes"
	"crypto"
	"encoding/base64"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/penname/penname/verifier/document"
	"github.com/penname/penname/verifier/token"
)

// documented returns the one program in that language on the page about evidence.
func documented(t *testing.T, language string) string {
	t.Helper()
	page, err := os.ReadFile("../../deploy/evidence.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, ok := strings.Cut(string(page), "\n```"+language+"\n")
	program, after, closed := strings.Cut(rest, "```\n")
	if !ok || !closed || strings.Contains(after, "\n```"+language+"\n") {
		t.Fatalf("the page has not exactly one program in %s", language)
	}
	return program
}

// interpreter is the first of names that is installed. On a laptop the test is skipped
// without it, in CI it fails.
func interpreter(t *testing.T, names ...string) string {
	t.Helper()
	for _, name := range names {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	if os.Getenv("CI") == "true" {
		t.Fatalf("needed in CI: none of %q is installed", names)
	}
	t.Skipf("skipped, because not CI: none of %q is installed", names)
	return ""
}

// made runs a program of the page and returns the evidence that it prints.
func made(t *testing.T, dir, command, program string, key jose.JSONWebKey, post any) string {
	t.Helper()
	jwk, err := json.Marshal(key)
	if err != nil {
		t.Fatal(err)
	}
	for name, content := range map[string][]byte{program: []byte(documented(t, strings.TrimPrefix(filepath.Ext(program), "."))), "evidence.jwk": jwk} {
		if err := os.WriteFile(filepath.Join(dir, name), content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	input, err := json.Marshal(post)
	if err != nil {
		t.Fatal(err)
	}
	c := exec.CommandContext(t.Context(), command, program, "evidence.jwk", "town-square")
	var out, said bytes.Buffer
	c.Dir, c.Stdin, c.Stdout, c.Stderr = dir, bytes.NewReader(input), &out, &said
	if err := c.Run(); err != nil {
		t.Fatalf("%s: %v\n%s", program, err, said.String())
	}
	return strings.TrimSpace(out.String())
}

const png = "\x89PNG\r\n\x1a\nand more"

// The programs on the page about evidence are of at most 40 lines, and what they make
// verifies: with both kinds of key, a text that each language spells in its own way, a file,
// with a proof and without one.
func TestAnyLanguageMakesEvidence(t *testing.T) {
	ed25519, p256 := exampleKey("evidence-1"), mustKey(t, jose.ES256)
	words := "Ich komme heute nacht / „allein“ <b>\u202e☠\r\n\t\"😀\""
	for program, by := range map[string]struct {
		command []string
		keys    []jose.JSONWebKey
	}{
		"maker.js":     {[]string{"node"}, []jose.JSONWebKey{ed25519, p256}},
		"maker.python": {[]string{"/usr/bin/python3", "python3"}, []jose.JSONWebKey{ed25519, p256}},
		"maker.php":    {[]string{"php"}, []jose.JSONWebKey{ed25519}},
	} {
		t.Run(program, func(t *testing.T) {
			language := strings.TrimPrefix(filepath.Ext(program), ".")
			if n := strings.Count(documented(t, language), "\n"); n > 40 {
				t.Errorf("it has %d lines", n)
			}
			command := interpreter(t, by.command...)
			for _, key := range by.keys {
				checkMaker(t, command, program, key, words)
			}
		})
	}
}

func checkMaker(t *testing.T, command, program string, key jose.JSONWebKey, words string) {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "picture.png"), []byte(png), 0o600); err != nil {
		t.Fatal(err)
	}
	if strings.HasSuffix(program, ".js") { // a module, as node tells by the name
		if err := os.WriteFile(filepath.Join(dir, "package.json"), []byte(`{"type":"module"}`), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	author, at := exampleKey("author"), now().Add(time.Minute)
	access := issued(token.TypAccess, thumbprint(t, author))
	proof, err := token.SignDPoP(author, "POST", "https://town.example/posts", access, "", at)
	if err != nil {
		t.Fatal(err)
	}
	rules := token.EvidenceRules{Issuer: "https://penname.example", IssuerKeys: published(exampleKey("issuer-1")), PlatformKeys: published(key)}
	for _, proof := range []string{"", proof} {
		post := map[string]any{"token": access, "url": "https://town.example/p/17?a=1&b=%C3%A9#c", "at": at.Format(time.RFC3339), "exhibits": []map[string]string{
			{"type": "text/plain", "text": words}, {"type": "image/png", "file": "picture.png"},
		}}
		if proof != "" {
			post["dpop"] = proof
		}
		e, _, err := token.VerifyEvidence(made(t, dir, command, program, key, post), rules)
		if err != nil {
			t.Fatalf("%s: %v", key.Algorithm, err)
		}
		if e.Platform != "town-square" || !e.Post.At.Equal(at) || e.Post.URL != post["url"] || e.ProvenByKey != (proof != "") || len(e.Post.Exhibits) != 2 {
			t.Errorf("%s: it says %+v", key.Algorithm, e)
			continue
		}
		for i, content := range []string{words, png} {
			if err := e.Post.Exhibits[i].Check([]byte(content)); err != nil {
				t.Errorf("%s: exhibit %d: %v", key.Algorithm, i, err)
			}
		}
	}
}

func mustKey(t *testing.T, alg jose.SignatureAlgorithm) jose.JSONWebKey {
	t.Helper()
	k, err := document.NewKeyFor(alg)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func thumbprint(t *testing.T, k jose.JSONWebKey) string {
	t.Helper()
	sum, err := k.Thumbprint(crypto.SHA256)
	if err != nil {
		t.Fatal(err)
	}
	return base64.RawURLEncoding.EncodeToString(sum)
}
