package token

import (
	"bytes"
	"context"
	"crypto/sha256"
	stdjson "encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4/json"

	"github.com/penname/penname/escrow/escrowtest/fuzzing"
)

// FuzzVerify: no input panics, every refusal is one of ours, and nothing that the
// forge did not sign is accepted.
func FuzzVerify(f *testing.F) {
	signed := map[string]bool{}
	for _, raw := range []string{
		forged(edKey("issuer"), edHeader(), goodClaims()),
		forged(ecKey("issuer"), ecHeader(), goodClaims()),
		boundToken(f),
		forged(edKey("issuer"), edHeader(), withStatus(3)),
	} {
		signed[raw] = true
		f.Add(raw)
	}
	f.Add("..")
	f.Add(`{"payload":"","signatures":[]}`)
	v := newVerifier(f)
	fuzzing.Run(f, func(t *testing.T, raw string) {
		tok, err := v.Verify(context.Background(), raw)
		if err == nil && !signed[raw] {
			// an ECDSA signature has a twin (r, n-s); everything before it must be the forge's
			body, _, _ := strings.Cut(raw, ".")
			if head, _, _ := segments(forged(ecKey("issuer"), ecHeader(), goodClaims())); body != head {
				t.Errorf("accepted: %q", raw)
			}
		}
		if (err == nil) != (tok != nil) || err != nil && refusalCode(err) == "" {
			t.Errorf("got %v, %v", tok, err)
		}
	})
}

// FuzzClaims signs whatever claims the fuzzer makes: what is accepted must hold
// for a plain reading of the same JSON.
func FuzzClaims(f *testing.F) {
	f.Add([]byte(marshal(goodClaims())))
	f.Add([]byte(marshal(withStatus(3))))
	f.Add([]byte(`{"exp":1e10}`))
	v := newVerifier(f)
	header := marshal(edHeader())
	fuzzing.Run(f, func(t *testing.T, payload []byte) {
		tok, err := v.Verify(context.Background(), compact(edKey("issuer"), header, string(payload)))
		if err != nil {
			if tok != nil || refusalCode(err) == "" {
				t.Errorf("got %v, %v", tok, err)
			}
			return
		}
		var plain map[string]any
		if stdjson.Unmarshal(payload, &plain) != nil || plain["iss"] != issuer || plain["sub"] != string(tok.Subject) || plain["exp"].(float64) <= float64(noon.Unix()) || plain["jti"] != tok.ID {
			t.Errorf("accepted: %s", payload)
		}
	})
}

// FuzzEvidence: parse then marshal gives the same bytes.
func FuzzEvidence(f *testing.F) {
	f.Add([]byte(evidencePayload(f, "header.payload.signature")))
	bound := goodEvidence("header.payload.signature")
	bound.Proof, bound.Post.Digest, bound.Post.URL = "a.b.c", sha256.Sum256(nil), "https://example/?a=<b>&c=\u2028é\U0001F600"
	payload, err := bound.marshal()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(payload)
	for _, seed := range [][]byte{[]byte(evidencePayload(f, "header.payload.signature")), payload} {
		if _, err := parseEvidence(seed); err != nil {
			f.Fatalf("a seed is refused: %v", err)
		}
	}
	fuzzing.Run(f, func(t *testing.T, payload []byte) {
		e, err := parseEvidence(payload)
		if err != nil {
			if e != nil || !errors.Is(err, ErrEvidenceMalformed) {
				t.Errorf("got %v, %v", e, err)
			}
			return
		}
		again, err := e.marshal()
		if err != nil || !bytes.Equal(again, payload) {
			t.Errorf("%s is %s again, %v", payload, again, err)
		}
	})
}

// FuzzProof: a proof may hold more than we read, so its bytes need not come back;
// what we read does.
func FuzzProof(f *testing.F) {
	f.Add([]byte(marshal(proofClaims("token"))))
	f.Add([]byte(`{"jti":"1","htm":"GET","htu":"https://a.example","iat":1.9e9,"nonce":null,"x":[]}`))
	fuzzing.Run(f, func(t *testing.T, payload []byte) {
		p, err := parseProof(payload)
		if err != nil {
			return
		}
		written, err := json.Marshal(p)
		if err != nil {
			t.Fatal(err)
		}
		again, err := parseProof(written)
		if err != nil || *again != *p {
			t.Errorf("%+v is %+v again, %v", p, again, err)
		}
	})
}

// FuzzStatusList: bounded, and what is read is signed again to the same bits.
func FuzzStatusList(f *testing.F) {
	f.Add([]byte(statusPayload(f, goodList())))
	f.Add([]byte(`{"sub":"x","iat":1,"exp":2,"status_list":{"bits":1,"lst":"eJwDAAAAAAE"}}`))
	fuzzing.Run(f, func(t *testing.T, payload []byte) {
		l, err := parseStatusList(payload)
		if err != nil {
			return
		}
		if len(l.Bits) > maxStatusList || l.TTL < 0 || l.TTL > 200*365*24*time.Hour {
			t.Errorf("got %d bytes, ttl %v", len(l.Bits), l.TTL)
		}
		if raw, err := SignStatusList(privateJWK(edKey("issuer"), "ed"), *l); err == nil {
			signed, err := statusFormat.Open(raw)
			if err != nil {
				t.Fatal(err)
			}
			again, err := parseStatusList(signed.Payload)
			if err != nil || !bytes.Equal(again.Bits, l.Bits) || again.URI != l.URI {
				t.Errorf("got %v, %v", again, err)
			}
		}
	})
}
