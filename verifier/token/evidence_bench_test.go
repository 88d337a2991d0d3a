package token_test

import (
	"bytes"
	"fmt"
	"testing"
	"time"

	"github.com/penname/penname/verifier/token"
)

// BenchmarkEvidence makes and checks evidence of one post with a picture of some size, all
// that a platform and a custodian do for it; the files are in memory.
func BenchmarkEvidence(b *testing.B) {
	key := exampleKey("evidence-1")
	rules := token.EvidenceRules{Issuer: "https://penname.example", IssuerKeys: published(exampleKey("issuer-1")), PlatformKeys: published(key)}
	access, at := issued(token.TypAccess, ""), now().Add(time.Minute)
	record := func(content []byte) (string, error) {
		x, err := token.NewExhibit("image/png", bytes.NewReader(content))
		if err != nil {
			return "", err
		}
		return token.SignEvidence(key, token.Evidence{Platform: "town-square", Token: access, Post: token.Post{URL: "https://town.example/p/17", At: at, Exhibits: []token.Exhibit{x}}})
	}
	for _, size := range []int{1 << 10, 50 << 10, 1 << 20, token.MaxExhibit} {
		content := append([]byte(png), make([]byte, size-len(png))...)
		signed, err := record(content)
		if err != nil {
			b.Fatal(err)
		}
		b.Run(fmt.Sprintf("make/%dKiB", size>>10), func(b *testing.B) {
			for b.Loop() {
				if _, err := record(content); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run(fmt.Sprintf("check/%dKiB", size>>10), func(b *testing.B) {
			for b.Loop() {
				e, _, err := token.VerifyEvidence(signed, rules)
				if err != nil {
					b.Fatal(err)
				}
				if err := e.Post.Exhibits[0].Check(content); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
