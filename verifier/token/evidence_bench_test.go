package token_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"fmt"
	"runtime"
	"runtime/debug"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/penname/penname/verifier/token"
)

// plainES256 is what nobody can do without: the digest of the content, and one signature
// made or checked.
type plainES256 struct {
	key       *ecdsa.PrivateKey
	signature []byte
}

func newPlainES256(b *testing.B) *plainES256 {
	b.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		b.Fatal(err)
	}
	return &plainES256{key: key}
}

func (p *plainES256) sign(content []byte) (err error) {
	digest := sha256.Sum256(content)
	p.signature, err = ecdsa.SignASN1(rand.Reader, p.key, digest[:])
	return err
}

func (p *plainES256) check(content []byte) error {
	digest := sha256.Sum256(content)
	if !ecdsa.VerifyASN1(&p.key.PublicKey, digest[:], p.signature) {
		return token.ErrEvidenceSignature
	}
	return nil
}

// BenchmarkEvidence makes and checks evidence of one post with a picture of some size, all
// that a platform and a custodian do for it, with the files in memory. The ratio is to
// SHA-256 of the picture and one ES256 signature, in the same run; checking verifies two, the
// platform's and that of the token.
func BenchmarkEvidence(b *testing.B) {
	plain := newPlainES256(b)
	key := jose.JSONWebKey{Key: plain.key, KeyID: "evidence-1", Algorithm: "ES256", Use: "sig"}
	rules := token.EvidenceRules{Issuer: "https://penname.example", IssuerKeys: published(exampleKey("issuer-1")), PlatformKeys: published(key)}
	access, at := issued(token.TypAccess, ""), now().Add(time.Minute)
	var signed string
	record := func(content []byte) error {
		x, err := token.NewExhibit("image/png", bytes.NewReader(content))
		if err != nil {
			return err
		}
		signed, err = token.SignEvidence(key, token.Evidence{Platform: "town-square", Token: access, Post: token.Post{URL: "https://town.example/p/17", At: at, Exhibits: []token.Exhibit{x}}})
		return err
	}
	check := func(content []byte) error {
		e, _, err := token.VerifyEvidence(signed, rules)
		if err != nil {
			return err
		}
		return e.Post.Exhibits[0].Check(content)
	}
	for _, size := range []int{1 << 10, 50 << 10, 1 << 20, 10 << 20} {
		content := append([]byte(png), make([]byte, size-len(png))...)
		b.Run(fmt.Sprintf("make/%dKiB", size>>10), func(b *testing.B) { besidePlain(b, content, record, plain.sign) })
		b.Run(fmt.Sprintf("check/%dKiB", size>>10), func(b *testing.B) { besidePlain(b, content, check, plain.check) })
	}
}

// besidePlain measures both in turns, so that they see the same machine.
func besidePlain(b *testing.B, content []byte, whole, plain func([]byte) error) {
	b.Helper()
	var took [2]time.Duration
	for b.Loop() {
		for i, do := range []func([]byte) error{whole, plain} {
			began := time.Now()
			if err := do(content); err != nil {
				b.Fatal(err)
			}
			took[i] += time.Since(began)
		}
	}
	b.ReportMetric(float64(b.N)/took[0].Seconds(), "posts/s")
	b.ReportMetric(float64(took[0])/float64(took[1]), "ratio")
}

// A weekend of 5,000 posts of 50 KB is made and checked in little memory: one piece at a time.
func TestManyPostsInLittleMemory(t *testing.T) {
	const posts, size, most = 5_000, 50_000, 100 << 20
	key := exampleKey("evidence-1")
	rules := token.EvidenceRules{Issuer: "https://penname.example", IssuerKeys: published(exampleKey("issuer-1")), PlatformKeys: published(key)}
	access, at := issued(token.TypAccess, ""), now().Add(time.Minute)
	content := bytes.Repeat([]byte("a"), size)
	post := func(n int) []byte { copy(content, fmt.Sprintf("%08d", n)); return content }
	all, peak := make([]string, posts), uint64(0)
	watch := func(n int) {
		if n%100 == 0 {
			var m runtime.MemStats
			runtime.ReadMemStats(&m)
			peak = max(peak, m.Sys-m.HeapReleased)
		}
	}
	debug.FreeOSMemory() // what other tests of this process had
	for n := range all {
		x, err := token.NewExhibit("text/plain", bytes.NewReader(post(n)))
		if err != nil {
			t.Fatal(err)
		}
		all[n], err = token.SignEvidence(key, token.Evidence{Platform: "town-square", Token: access, Post: token.Post{
			URL: fmt.Sprintf("https://town.example/p/%d", n), At: at, Exhibits: []token.Exhibit{x}}})
		if err != nil {
			t.Fatal(err)
		}
		watch(n)
	}
	for n, signed := range all {
		e, _, err := token.VerifyEvidence(signed, rules)
		if err != nil {
			t.Fatal(err)
		}
		if err := e.Post.Exhibits[0].Check(post(n)); err != nil {
			t.Fatal(err)
		}
		watch(n)
	}
	if t.Logf("at most %d MiB of memory", peak>>20); peak > most {
		t.Errorf("%d MiB are too much", peak>>20)
	}
}
