package token

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"slices"
	"strings"
	"testing"
	"time"
)

// notWithdrawn is a status source that costs nothing.
type notWithdrawn struct{}

func (notWithdrawn) Withdrawn(context.Context, string, int) (bool, error) { return false, nil }

// BenchmarkVerify sets offline verification of a token as Penname issues it beside its
// one unavoidable part, the bare check of the same signature over the same bytes, and
// reports the ratio of the medians.
func BenchmarkVerify(b *testing.B) {
	ed, ec, rs := edKey("issuer"), ecKey("issuer"), rsaKeys()
	v := newVerifier(b)
	v.Status = notWithdrawn{}
	v.Keys = StaticKeys(mustKeys(b, edJWK(ed, "ed"), ecJWK(ec, "ec"), rsaJWK("RS256")))
	claims := with(goodClaims(), object{"status": object{"status_list": object{"idx": 412_007, "uri": issuer + "/status/0"}}})
	for _, alg := range []struct {
		name   string
		key    any
		header object
		bare   func(input, signature []byte) func() bool
	}{
		{"EdDSA", ed, edHeader(), func(input, signature []byte) func() bool {
			public := ed.Public().(ed25519.PublicKey)
			return func() bool { return ed25519.Verify(public, input, signature) }
		}},
		{"ES256", ec, ecHeader(), func(input, signature []byte) func() bool {
			der := asDER(signature)
			return func() bool {
				digest := sha256.Sum256(input)
				return ecdsa.VerifyASN1(&ec.PublicKey, digest[:], der)
			}
		}},
		{"RS256", rs, object{"alg": "RS256", "kid": "rsa", "typ": "JWT"}, func(input, signature []byte) func() bool {
			return func() bool {
				digest := sha256.Sum256(input)
				return rsa.VerifyPKCS1v15(&rs.PublicKey, crypto.SHA256, digest[:], signature) == nil
			}
		}},
	} {
		b.Run(alg.name, func(b *testing.B) {
			raw := forged(alg.key, alg.header, claims)
			dot := strings.LastIndexByte(raw, '.')
			input := []byte(raw[:dot])
			signature, err := base64.RawURLEncoding.DecodeString(raw[dot+1:])
			if err != nil {
				b.Fatal(err)
			}
			check := alg.bare(input, signature)
			b.ReportAllocs()
			var whole, part []time.Duration // taken in turns, so that both see the same machine
			for b.Loop() {
				began := time.Now()
				if _, err := v.Verify(context.Background(), raw); err != nil {
					b.Fatal(err)
				}
				whole = append(whole, time.Since(began))
				began = time.Now()
				if !check() {
					b.Fatal("does not verify")
				}
				part = append(part, time.Since(began))
			}
			slices.Sort(whole)
			slices.Sort(part)
			one, bare := whole[len(whole)/2], part[len(part)/2]
			b.ReportMetric(1/one.Seconds(), "tokens/s")
			b.ReportMetric(float64(one)/float64(bare), "ratio")
			if alg.name == "EdDSA" {
				b.ReportMetric(1.2, "aim-max")
			}
		})
	}
}

// BenchmarkVerifyDPoP is the proof for a bound token, without the token itself.
func BenchmarkVerifyDPoP(b *testing.B) {
	access := boundToken(b)
	proof := forged(edKey("holder"), proofHeader(), proofClaims(access))
	want := DPoPWant{Method: "POST", URL: apiURL, AccessToken: access, JKT: thumbprint(b, privateJWK(edKey("holder"), "")), Now: noon}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := VerifyDPoP(proof, want); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkVerifyEvidence is a platform's signature and a token: the 5,000 posts
// of a bad weekend are 5,000 of these.
func BenchmarkVerifyEvidence(b *testing.B) {
	raw, err := SignEvidence(privateJWK(edKey("platform"), "p1"), goodEvidence(forged(edKey("issuer"), edHeader(), goodClaims())))
	if err != nil {
		b.Fatal(err)
	}
	keys, platform := issuerKeys(b), platformKeys(b)
	b.ReportAllocs()
	for b.Loop() {
		if _, _, err := VerifyEvidence(raw, onFile(keys, platform)); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkRefuse is what an attacker can make us spend without a signature.
func BenchmarkRefuse(b *testing.B) {
	v := newVerifier(b)
	h, p, s := segments(forged(edKey("issuer"), edHeader(), goodClaims()))
	for name, raw := range map[string]string{"forged": h + "." + p + "." + s[:len(s)-4] + "AAAA", "garbage": "x.y.z", "unknown kid": forged(edKey("x"), with(edHeader(), object{"kid": "x"}), goodClaims())} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := v.Verify(context.Background(), raw); err == nil {
					b.Fatal("accepted")
				}
			}
		})
	}
}
