package token_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"maps"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/penname/penname/verifier/refusal"
	"github.com/penname/penname/verifier/token"
)

var update = flag.Bool("update", false, "write testdata/evidence.vectors.json")

// evidenceVectors are testdata/evidence.vectors.json, for verifiers in other languages: public
// keys, the rules, and evidence with what must come of it.
type evidenceVectors struct {
	About        string             `json:"about"`
	Issuer       string             `json:"issuer"`
	IssuerKeys   jose.JSONWebKeySet `json:"issuer_keys"`
	PlatformKeys jose.JSONWebKeySet `json:"platform_keys"`
	SpanSeconds  int                `json:"span_seconds"`
	Vectors      []evidenceVector   `json:"vectors"`
}

type evidenceVector struct {
	Name     string `json:"name"`
	Evidence string `json:"evidence"`
	Result   string `json:"result"`             // good or refused
	Code     string `json:"code,omitempty"`     // of the refusal
	Platform string `json:"platform,omitempty"` // of what is good, as the pen name
	Sub      string `json:"sub,omitempty"`
}

const vectorsFile = "testdata/evidence.vectors.json"

// The published vectors are what this code says of them, and all that the tests have.
func TestEvidenceVectors(t *testing.T) {
	public := func(kid string) jose.JSONWebKeySet {
		key := exampleKey(kid)
		return jose.JSONWebKeySet{Keys: []jose.JSONWebKey{key.Public()}}
	}
	want := evidenceVectors{
		About:  "Evidence of version 2 and what a verifier must say of it, by its form, signatures and times; which code another language gives is its own matter.",
		Issuer: "https://penname.example", IssuerKeys: public("issuer-1"), PlatformKeys: public("evidence-1"), SpanSeconds: 24 * 60 * 60,
	}
	rules := token.EvidenceRules{Issuer: want.Issuer, IssuerKeys: published(exampleKey("issuer-1")), PlatformKeys: published(exampleKey("evidence-1")), Span: 24 * time.Hour}
	vectors := signedVectors(t)
	for _, name := range slices.Sorted(maps.Keys(vectors)) {
		v := evidenceVector{Name: name, Evidence: vectors[name], Result: "good"}
		e, tok, err := token.VerifyEvidence(v.Evidence, rules)
		if refused := (*refusal.Error)(nil); errors.As(err, &refused) {
			v.Result, v.Code = "refused", refused.Code
		} else {
			v.Platform, v.Sub = e.Platform, string(tok.Subject)
		}
		if _, good := spellings[name]; good != (err == nil) {
			t.Errorf("%s: %v", name, err)
		}
		want.Vectors = append(want.Vectors, v)
	}
	written, err := json.MarshalIndent(want, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	written = append(written, '\n')
	if *update {
		if err := os.WriteFile(vectorsFile, written, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if b, err := os.ReadFile(vectorsFile); err != nil || !bytes.Equal(b, written) {
		t.Errorf("%s says something else than this code (%v); -update writes it", vectorsFile, err)
	}
}
