package token_test

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/go-jose/go-jose/v4"

	"github.com/penname/penname/verifier/token/evidencetest"
)

// edit is what is replaced in a text, and by what; perhaps more than once.
type edit []string

func (e edit) of(text string) string {
	for i := 0; i < len(e); i += 2 {
		text = strings.Replace(text, e[i], e[i+1], 1)
	}
	return text
}

// spellings are payloads of evidence that mean the same as %: how it is written is no fault.
// faults are others. Each replaces a part of the payload below.
var (
	spellings = map[string]edit{
		"as it is":     {"", ""},
		"space":        {`{"version":2,`, "{\n\t\"version\" : 2 ,\r\n "},
		"order":        {`"version":2,"iss":"town-square",`, `"iss":"town-square","version":2,`},
		"escapes":      {`"iss":"town-square"`, `"\u0069ss":"town\u002dsquare"`},
		"slashes":      {`https://town.example/p/17`, `https:\/\/town.example\/p\/17`},
		"a short name": {`"url"`, `"\u0075rl"`},
		"second piece": {`"length":28}`, `"length":28},{"type":"image/png","sha256":"` + strings.Repeat("ab", 32) + `","length":20971520}`},
		"a colon":      {`/p/17"`, `/p/17?a=%22:%22"`},
		"the press":    {`"at":`, `"author_suggests":["journalist"],"at":`},
		"both":         {`"at":`, `"author_suggests":["privileged","journalist"],"at":`},
	}
	faults = map[string]edit{
		"repeated":              {`"version":2,`, `"version":2,"version":2,`},
		"repeated, escaped":     {`"version":2,`, `"version":2,"v\u0065rsion":2,`},
		"repeated within":       {`"length":28`, `"length":28,"length":28`},
		"unknown":               {`"version":2,`, `"version":2,"author":"x",`},
		"unknown in the post":   {`"at":`, `"title":"x","at":`},
		"suggests nothing":      {`"at":`, `"author_suggests":[],"at":`},
		"suggests a poet":       {`"at":`, `"author_suggests":["poet"],"at":`},
		"suggests twice":        {`"at":`, `"author_suggests":["journalist","journalist"],"at":`},
		"suggests in words":     {`"at":`, `"author_suggests":"journalist","at":`},
		"unknown in a piece":    {`"length":28`, `"length":28,"name":"x"`},
		"a reserved name":       {`"version":2,`, `"version":2,"__proto__":{},`},
		"absent":                {`"iss":"town-square",`, ``},
		"null":                  {`"version":2,`, `"version":2,"dpop":null,`},
		"no text":               {`"iss":"town-square"`, `"iss":17`},
		"version as text":       {`"version":2`, `"version":"2"`},
		"version true":          {`"version":2`, `"version":true`},
		"a later version":       {`"version":2`, `"version":3`},
		"a fraction":            {`"length":28`, `"length":28.5`},
		"a negative length":     {`"length":28`, `"length":-28`},
		"empty":                 {`"length":28`, `"length":0`},
		"too large":             {`"length":28`, `"length":1048577`},
		"SVG":                   {`text/plain`, `image/svg+xml`},
		"a parameter":           {`text/plain`, `text/plain; charset=utf-8`},
		"capital digits":        {`"sha256":"cd`, `"sha256":"CD`},
		"a short digest":        {`"sha256":"cd`, `"sha256":"`},
		"no exhibits":           {`[{"type":"text/plain","sha256":"` + strings.Repeat("cd", 32) + `","length":28}]`, `[]`},
		"exhibits as text":      {`[{"type":"text/plain","sha256":"` + strings.Repeat("cd", 32) + `","length":28}]`, `"x"`},
		"an exhibit twice":      {`"length":28}`, `"length":28},{"type":"text/plain","sha256":"` + strings.Repeat("cd", 32) + `","length":28}`},
		"no address":            {`https://town.example/p/17`, `javascript:alert(1)`},
		"a user's name":         {`https://town.example/p/17`, `https://jo@town.example/p/17`},
		"an address that turns": {`https://town.example/p/17`, "https://town.example/\u202e71/p"},
		"a relative address":    {`https://town.example/p/17`, `/p/17`},
		"made before the post":  {`"iat":1772366520`, `"iat":1772366400`},
		"before the sign-in":    {`"at":1772366460`, `"at":1772366100`},
		"days after":            {`"at":1772366460`, `"at":1772966460`, `"iat":1772366520`, `"iat":1772966520`},
		"another platform":      {`"iss":"town-square"`, `"iss":"school-forum"`},
		"two objects":           {`{"version":2`, `{}{"version":2`},
	}
)

// The checkers on the page about evidence agree with VerifyEvidence about what is evidence
// and what is not.
func TestOtherLanguagesCheckEvidence(t *testing.T) {
	vectors := signedVectors(t)
	for language, heading := range map[string]string{"js": "Check in Node", "python": "Check in Python"} {
		t.Run(language, func(t *testing.T) {
			program, err := evidencetest.Program(heading, language)
			if err != nil {
				t.Fatal(err)
			}
			dir := t.TempDir()
			writeKey(t, filepath.Join(dir, "town-square.jwks"), exampleKey("evidence-1"))
			writeKey(t, filepath.Join(dir, "issuer.jwks"), exampleKey("issuer-1"))
			for name, raw := range vectors {
				out, err := evidencetest.Run(t.Context(), language, dir, program, []byte(raw), "town-square.jwks", "issuer.jwks", "https://penname.example")
				if errors.Is(err, evidencetest.ErrMissing) && os.Getenv("CI") != "true" {
					t.Skip("skipped, because not CI: ", err)
				}
				_, good := spellings[name]
				if good != (err == nil && out == "good") {
					t.Errorf("%s: %q, %v", name, out, err)
				}
			}
		})
	}
}

// signedVectors are evidence of every spelling and fault, by name.
func signedVectors(t *testing.T) map[string]string {
	t.Helper()
	payload := evidencePayload()
	vectors := map[string]string{}
	for _, set := range []map[string]edit{spellings, faults} {
		for name, change := range set {
			changed := change.of(payload)
			if changed == payload && name != "as it is" {
				t.Fatalf("%s changes nothing", name)
			}
			vectors[name] = signedPayload(t, exampleKey("evidence-1"), "penname-evidence+jwt", changed)
		}
	}
	vectors["another key"] = signedPayload(t, exampleKey("evidence-2"), "penname-evidence+jwt", payload)
	vectors["another kind"] = signedPayload(t, exampleKey("evidence-1"), "JWT", payload)
	vectors["another signature"] = vectors["as it is"][:strings.LastIndex(vectors["as it is"], ".")] + vectors["space"][strings.LastIndex(vectors["space"], "."):]
	return vectors
}

// writeKey writes a JWK Set with the public half of a key.
func writeKey(t *testing.T, name string, key jose.JSONWebKey) {
	t.Helper()
	b, err := json.Marshal(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{key.Public()}})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, b, 0o600); err != nil {
		t.Fatal(err)
	}
}

// signedPayload signs any payload, as a program could that checks nothing.
func signedPayload(t *testing.T, key jose.JSONWebKey, typ jose.ContentType, payload string) string {
	t.Helper()
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.EdDSA, Key: key}, (&jose.SignerOptions{}).WithType(typ))
	if err != nil {
		t.Fatal(err)
	}
	signed, err := signer.Sign([]byte(payload))
	if err != nil {
		t.Fatal(err)
	}
	raw, err := signed.CompactSerialize()
	if err != nil {
		t.Fatal(err)
	}
	return raw
}
