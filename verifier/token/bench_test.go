package token

import (
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/sha256"
	"testing"
	"time"
)

// BenchmarkVerify sets offline verification beside its one unavoidable part, the
// bare signature check, and reports the ratio measured in the same run.
func BenchmarkVerify(b *testing.B) {
	v := newVerifier(b)
	edToken, ecToken := forged(edKey("issuer"), edHeader(), goodClaims()), forged(ecKey("issuer"), ecHeader(), goodClaims())
	public := edKey("issuer").Public().(ed25519.PublicKey)
	signed := []byte(edToken[:len(edToken)-87])
	signature := ed25519.Sign(edKey("issuer"), signed)
	digest := sha256.Sum256(signed)
	ec := ecKey("issuer")
	der := asDER(rawSign(ec, string(signed)))
	bare := map[string]func() bool{
		"EdDSA": func() bool { return ed25519.Verify(public, signed, signature) },
		"ES256": func() bool { return ecdsa.VerifyASN1(&ec.PublicKey, digest[:], der) },
	}
	for alg, raw := range map[string]string{"EdDSA": edToken, "ES256": ecToken} {
		b.Run(alg, func(b *testing.B) {
			b.ReportAllocs()
			var whole, part time.Duration // taken in turns, so that both see the same machine
			for b.Loop() {
				began := time.Now()
				if _, err := v.Verify(context.Background(), raw); err != nil {
					b.Fatal(err)
				}
				whole += time.Since(began)
				began = time.Now()
				if !bare[alg]() {
					b.Fatal("does not verify")
				}
				part += time.Since(began)
			}
			b.ReportMetric(float64(b.N)/whole.Seconds(), "tokens/s")
			b.ReportMetric(float64(whole)/float64(part), "ratio")
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
		if _, _, err := VerifyEvidence(raw, issuer, keys, platform); err != nil {
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
