package token

import (
	"bytes"
	"context"
	"crypto/sha256"
	stdjson "encoding/json"
	"errors"
	"io"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

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

// FuzzEvidence: what is read means the same as to a plain reading of the same JSON, and what is
// written of it again is read as the same; version 1 gives the same bytes.
func FuzzEvidence(f *testing.F) {
	old := goodEvidence("header.payload.signature")
	old.Proof, old.Post.Digest, old.Post.URL = "a.b.c", sha256.Sum256(nil), "https://example/?a=<b>&c=\u2028é\U0001F600"
	both := withExhibits("header.payload.signature")
	both.Proof = "a.b.c"
	for _, e := range []Evidence{goodEvidence("header.payload.signature"), old, withExhibits("header.payload.signature"), both} {
		seed, err := e.marshal()
		if err != nil {
			f.Fatal(err)
		}
		if _, err := parseEvidence(seed); err != nil {
			f.Fatalf("a seed is refused: %v", err)
		}
		f.Add(seed)
	}
	fuzzing.Run(f, func(t *testing.T, payload []byte) {
		e, err := parseEvidence(payload)
		if err != nil {
			if e != nil || !strings.HasPrefix(refusalCode(err), "evidence.") {
				t.Errorf("got %v, %v", e, err)
			}
			return
		}
		again, err := e.marshal()
		if err != nil || e.Version == 1 && !bytes.Equal(again, payload) {
			t.Errorf("%s is %s again, %v", payload, again, err)
		}
		same, err := parseEvidence(again)
		if err != nil || !reflect.DeepEqual(same, e) {
			t.Errorf("%+v is %+v again, %v", e, same, err)
		}
		var plain, written any
		if stdjson.Unmarshal(payload, &plain) != nil || stdjson.Unmarshal(again, &written) != nil || !reflect.DeepEqual(plain, written) {
			t.Errorf("%s is %s again", payload, again)
		}
	})
}

// FuzzExhibit: what NewExhibit takes passes Check, however it was cut as it was read, and no
// text passes that is not UTF-8 or has a NUL in it; one changed byte is another exhibit.
func FuzzExhibit(f *testing.F) {
	types := ExhibitTypes()
	for i, name := range types {
		f.Add(goodContent[name], byte(i), byte(1))
	}
	f.Add([]byte("Sch\u00f6n, \U0001F600"), byte(slices.Index(types, "text/plain")), byte(3))
	fuzzing.Run(f, func(t *testing.T, content []byte, kind, cut byte) {
		name := types[int(kind)%len(types)]
		half := min(int(cut), len(content))
		x, err := NewExhibit(name, io.MultiReader(bytes.NewReader(content[:half]), bytes.NewReader(content[half:])))
		declared := Exhibit{Type: name, Digest: sha256.Sum256(content), Length: int64(len(content))}
		if checked := declared.Check(content); refusalCode(checked) != refusalCode(err) {
			t.Fatalf("made: %v; checked: %v", err, checked)
		}
		if err != nil {
			return
		}
		if x != declared || name == "text/plain" && (!utf8.Valid(content) || bytes.IndexByte(content, 0) >= 0) {
			t.Errorf("%q is taken as %+v", content, x)
		}
		content[half%len(content)] ^= 1
		if !errors.Is(x.Check(content), ErrExhibitMismatch) {
			t.Errorf("%q passes as another", content)
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
