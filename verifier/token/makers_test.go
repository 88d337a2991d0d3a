package token_test

import (
	"crypto"
	"encoding/base64"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/penname/penname/verifier/document"
	"github.com/penname/penname/verifier/token"
	"github.com/penname/penname/verifier/token/evidencetest"
)

const png = "\x89PNG\r\n\x1a\nand more"

// The programs on the page about evidence are of at most 40 lines, and what they make
// verifies: with both kinds of key, a text that each language spells in its own way, a file,
// with a proof and without one.
func TestAnyLanguageMakesEvidence(t *testing.T) {
	ed25519, p256 := exampleKey("evidence-1"), mustKey(t, jose.ES256)
	words := "Ich komme heute nacht / „allein“ <b>\u202e☠\r\n\t\"😀\""
	for _, language := range evidencetest.Languages {
		t.Run(language, func(t *testing.T) {
			program, err := evidencetest.Maker(language)
			if n := strings.Count(program, "\n"); err != nil || n > 40 {
				t.Errorf("%v, it has %d lines", err, n)
			}
			checkMaker(t, language, ed25519, words)
			checkAddresses(t, language, ed25519)
			if language != "php" { // as the page says
				checkMaker(t, language, p256, words)
			}
		})
	}
}

func checkMaker(t *testing.T, language string, key jose.JSONWebKey, words string) {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "picture.png"), []byte(png), 0o600); err != nil {
		t.Fatal(err)
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
		var suggests []string
		if proof != "" {
			suggests = []string{token.AuthorJournalist}
			post["dpop"], post["author_suggests"] = proof, suggests
		}
		input, err := json.Marshal(post)
		if err != nil {
			t.Fatal(err)
		}
		made, err := evidencetest.Make(t.Context(), language, dir, key, "town-square", input)
		if errors.Is(err, evidencetest.ErrMissing) && os.Getenv("CI") != "true" {
			t.Skip("skipped, because not CI: ", err)
		}
		if err != nil {
			t.Fatal(err)
		}
		e, _, err := token.VerifyEvidence(made, rules)
		if err != nil {
			t.Fatalf("%s: %v", key.Algorithm, err)
		}
		if e.Platform != "town-square" || !e.Post.At.Equal(at) || e.Post.URL != post["url"] || e.ProvenByKey != (proof != "") || len(e.Post.Exhibits) != 2 || !slices.Equal(e.Post.AuthorSuggests, suggests) {
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

// What VerifyEvidence takes for no address is refused before it is signed.
func checkAddresses(t *testing.T, language string, key jose.JSONWebKey) {
	t.Helper()
	dir := t.TempDir()
	for url, good := range map[string]bool{
		"https://town.example/@jo": true, "http://town.example": true, "https://town.example/" + strings.Repeat("p", 2027): true,
		"https://town.example/" + strings.Repeat("p", 2028): false, "https://town.example/é": false, "https://town.example/\n": false,
		"https://jo@town.example/": false, "/p/17": false, "": false,
	} {
		post, err := json.Marshal(map[string]any{
			"token": issued(token.TypID, ""), "url": url, "at": now().Format(time.RFC3339), "exhibits": []map[string]string{{"type": "text/plain", "text": "hello"}},
		})
		if err != nil {
			t.Fatal(err)
		}
		made, err := evidencetest.Make(t.Context(), language, dir, key, "town-square", post)
		if (err == nil) != good {
			t.Errorf("%.40q: %v", url, err)
		} else if good {
			if _, err := token.ParseUnverifiedEvidence(made); err != nil {
				t.Errorf("%.40q: %v", url, err)
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
