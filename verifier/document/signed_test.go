package document

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"strings"
	"testing"

	"github.com/go-jose/go-jose/v4"

	"github.com/penname/penname/verifier/refusal"
)

// testFormat refuses each fault with a code of its own.
func testFormat(t *testing.T, change func(*Format)) *Format {
	t.Helper()
	f := &Format{Types: []string{"x+jwt"}, MaxBytes: 4 << 10, Algorithms: SignatureAlgorithms, Refusals: map[Fault]*refusal.Error{}}
	for fault := Malformed; fault <= CannotSign; fault++ {
		f.Refusals[fault] = refusal.New(refusal.Invalid, "test."+strings.ReplaceAll(fault.Error(), " ", "_"), fault.Error())
	}
	change(f)
	return f
}

func newTestKey(t *testing.T) jose.JSONWebKey {
	t.Helper()
	k, err := NewKey()
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func compact(header, payload, signature string) string {
	b64 := base64.RawURLEncoding.EncodeToString
	return b64([]byte(header)) + "." + b64([]byte(payload)) + "." + b64([]byte(signature))
}

func TestOpenNamesTheFault(t *testing.T) {
	exact, loose := testFormat(t, func(f *Format) { f.ExactHeader = true }), testFormat(t, func(*Format) {})
	embedded := testFormat(t, func(f *Format) { f.EmbeddedKey = true })
	eddsa := testFormat(t, func(f *Format) { f.Algorithms = []jose.SignatureAlgorithm{jose.EdDSA} })
	for name, c := range map[string]struct {
		format *Format
		raw    string
		want   error
	}{
		"in order":                     {loose, compact(`{"alg":"EdDSA","kid":"a","typ":"x+jwt"}`, "{}", "s"), nil},
		"exactly":                      {exact, compact(`{"alg":"EdDSA","kid":"a","typ":"x+jwt"}`, "{}", "s"), nil},
		"another order":                {loose, compact(`{"typ":"application/X+JWT", "alg":"ES256"}`, "{}", "s"), nil},
		"another order, exactly":       {exact, compact(`{"kid":"a","alg":"EdDSA","typ":"x+jwt"}`, "{}", "s"), Malformed},
		"one member more, exactly":     {exact, compact(`{"alg":"EdDSA","kid":"a","typ":"x+jwt","x":1}`, "{}", "s"), Malformed},
		"no kid, exactly":              {exact, compact(`{"alg":"EdDSA","typ":"x+jwt"}`, "{}", "s"), Malformed},
		"a kid to escape, exactly":     {exact, compact(`{"alg":"EdDSA","kid":"a\"","typ":"x+jwt"}`, "{}", "s"), Malformed},
		"an algorithm of other kinds":  {eddsa, compact(`{"alg":"ES256","kid":"a","typ":"x+jwt"}`, "{}", "s"), AlgNotAllowed},
		"no algorithm":                 {loose, compact(`{"typ":"x+jwt"}`, "{}", "s"), AlgNotAllowed},
		"another kind":                 {loose, compact(`{"alg":"EdDSA","typ":"y+jwt"}`, "{}", "s"), WrongType},
		"no kind":                      {loose, compact(`{"alg":"EdDSA"}`, "{}", "s"), WrongType},
		"a key where none may be":      {loose, compact(`{"alg":"EdDSA","typ":"x+jwt","jwk":{}}`, "{}", "s"), UntrustedKey},
		"a key where one must be":      {embedded, compact(`{"alg":"EdDSA","typ":"x+jwt","jwk":{}}`, "{}", "s"), nil},
		"a chain where a key must be":  {embedded, compact(`{"alg":"EdDSA","typ":"x+jwt","x5c":[]}`, "{}", "s"), UntrustedKey},
		"crit":                         {loose, compact(`{"alg":"EdDSA","typ":"x+jwt","crit":["x"]}`, "{}", "s"), UnsupportedCrit},
		"nested too deeply":            {loose, compact(`{"x":`+strings.Repeat("[", 17)+strings.Repeat("]", 17)+"}", "{}", "s"), TooComplex},
		"a header over its limit":      {loose, compact(strings.Repeat(" ", maxHeader)+`{"alg":"EdDSA","typ":"x+jwt"}`, "{}", "s"), TooComplex},
		"a document over its limit":    {loose, strings.Repeat("x", 4<<10+1), TooLarge},
		"one member twice":             {loose, compact(`{"alg":"EdDSA","alg":"EdDSA","typ":"x+jwt"}`, "{}", "s"), Malformed},
		"no signature":                 {loose, compact(`{"alg":"EdDSA","typ":"x+jwt"}`, "{}", ""), Unsigned},
		"two parts":                    {loose, "e30.e30", Unsigned},
		"four parts":                   {loose, "e30.e30.e30.e30", Unsigned},
		"padding":                      {loose, compact(`{"alg":"EdDSA","typ":"x+jwt"}`, "{}", "s") + "=", Malformed},
		"a line break in the payload":  {loose, strings.Replace(compact(`{"alg":"EdDSA","typ":"x+jwt"}`, "{}", "s"), ".", ".\n", 1), Malformed},
		"a header that is no object":   {loose, compact(`[]`, "{}", "s"), Malformed},
		"a nested document's own mark": {loose, compact(`{"alg":"EdDSA","typ":"x+jwt","cty":"JWT"}`, "{}", "s"), Malformed},
	} {
		_, err := c.format.Open(c.raw)
		if want := c.want; want == nil && err != nil || want != nil && !errors.Is(err, c.format.Refuse(want)) {
			t.Errorf("%s: %v, want %v", name, err, want)
		}
	}
}

func TestSignedIsVerifiedOverTheBytesReceived(t *testing.T) {
	f := testFormat(t, func(f *Format) { f.ExactHeader = true })
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	for _, key := range []jose.JSONWebKey{newTestKey(t), {Key: private, KeyID: "es"}} {
		raw, err := f.Sign(key, []byte(`{"a":1}`))
		if err != nil {
			t.Fatal(err)
		}
		d, err := f.Open(raw)
		if err != nil || string(d.Payload) != `{"a":1}` || d.KeyID != key.KeyID {
			t.Fatal(d, err)
		}
		public := key.Public().Key
		if err := d.Verify(public); err != nil {
			t.Fatal(err)
		}
		other := newTestKey(t)
		for name, wrong := range map[string]any{"another key": other.Public().Key, "the private key": key.Key, "nothing": nil, "a secret": []byte("secret")} {
			if err := d.Verify(wrong); !errors.Is(err, f.Refuse(BadSignature)) {
				t.Errorf("%s: %v", name, err)
			}
		}
		for i := range raw {
			for _, c := range []byte{'A', 'B'} {
				changed := raw[:i] + string(c) + raw[i+1:]
				if changed == raw {
					continue
				}
				if d, err := f.Open(changed); err == nil && d.Verify(public) == nil {
					t.Fatalf("verified with byte %d changed", i)
				}
			}
		}
	}
}

func TestSignRefuses(t *testing.T) {
	key, f := newTestKey(t), testFormat(t, func(f *Format) { f.ExactHeader = true })
	nameless, curve := key, key
	nameless.KeyID = ""
	p384, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	curve.Key = p384
	for name, k := range map[string]jose.JSONWebKey{"public": key.Public(), "nameless": nameless, "another curve": curve, "nothing": {}} {
		if _, err := f.Sign(k, []byte("{}")); !errors.Is(err, f.Refuse(CannotSign)) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := f.Sign(key, make([]byte, f.MaxBytes)); !errors.Is(err, f.Refuse(TooLarge)) {
		t.Errorf("too large: %v", err)
	}
}

func TestReadExactly(t *testing.T) {
	type payload struct {
		A string `json:"a"`
		B int64  `json:"b"`
	}
	f := testFormat(t, func(f *Format) { f.ExactPayload = true })
	read := func(f *Format, b string) error {
		var p payload
		return f.Read([]byte(b), &p, func() ([]byte, error) { return Canonical(p) })
	}
	if err := read(f, `{"a":"<é>","b":1}`); err != nil {
		t.Error(err)
	}
	loose := testFormat(t, func(*Format) {})
	for name, bad := range map[string]string{
		"another order": `{"b":1,"a":"x"}`, "unknown member": `{"a":"x","b":1,"c":2}`, "white space": `{"a":"x", "b":1}`, "an escape": `{"a":"\u0078","b":1}`,
		"absent": `{"a":"x"}`,
	} {
		if err := read(f, bad); !errors.Is(err, f.Refuse(Malformed)) {
			t.Errorf("%s: %v", name, err)
		}
		if err := read(loose, bad); err != nil {
			t.Errorf("%s in a format that has many spellings: %v", name, err)
		}
	}
	for name, bad := range map[string]string{"twice": `{"a":"x","a":"x","b":1}`, "not UTF-8": "{\"a\":\"\xff\",\"b\":1}", "two values": `{"a":"x","b":1}{}`, "null": `null`, "another type": `{"a":1}`} {
		for _, f := range []*Format{f, loose} {
			if err := read(f, bad); !errors.Is(err, f.Refuse(Malformed)) {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
}
