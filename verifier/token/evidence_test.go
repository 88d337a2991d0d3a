package token

import (
	"crypto/sha256"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/penname/penname/verifier/refusal"
)

func goodEvidence(token string) Evidence {
	return Evidence{
		Version: 1, Platform: platform, Token: token, At: noon.Add(time.Hour),
		Post: Post{URL: "https://town-square.example/posts/17", Digest: sha256.Sum256([]byte("a threat")), At: noon.Add(time.Minute)},
	}
}

func evidencePayload(t testing.TB, token string) string {
	t.Helper()
	payload, err := goodEvidence(token).marshal()
	if err != nil {
		t.Fatal(err)
	}
	return string(payload)
}

// onFile are the rules of a case that was filed when evidence had no content.
func onFile(issuerKeys, platformKeys *KeySet) EvidenceRules {
	return EvidenceRules{Issuer: issuer, IssuerKeys: issuerKeys, PlatformKeys: platformKeys, Contentless: true}
}

func platformKeys(t testing.TB) *KeySet { return mustKeys(t, edJWK(edKey("platform"), "p1")) }

func TestEvidenceIsReadBack(t *testing.T) {
	access := boundToken(t)
	at := noon.Add(time.Minute)
	proof, err := SignDPoP(privateJWK(edKey("holder"), ""), "POST", apiURL, access, "", at.Add(-time.Second))
	if err != nil {
		t.Fatal(err)
	}
	bound := goodEvidence(access)
	bound.Proof = proof
	for name, e := range map[string]Evidence{"ID token": goodEvidence(forged(edKey("issuer"), edHeader(), goodClaims())), "bound access token": bound} {
		t.Run(name, func(t *testing.T) {
			raw, err := SignEvidence(privateJWK(edKey("platform"), "p1"), e)
			if err != nil {
				t.Fatal(err)
			}
			got, tok, err := VerifyEvidence(raw, onFile(issuerKeys(t), platformKeys(t)))
			if err != nil {
				t.Fatal(err)
			}
			e.KeyID, e.ProvenByKey = "p1", e.Proof != ""
			if !reflect.DeepEqual(*got, e) {
				t.Errorf("got %+v, want %+v", *got, e)
			}
			if tok.Subject != pen(1) || tok.Audience != platform || tok.Raw != e.Token {
				t.Errorf("got %+v", tok)
			}
		})
	}
	t.Run("made when the post was", func(t *testing.T) {
		e := goodEvidence(forged(edKey("issuer"), edHeader(), goodClaims()))
		e.At = time.Time{}
		raw, err := SignEvidence(privateJWK(edKey("platform"), "p1"), e)
		if err != nil {
			t.Fatal(err)
		}
		got, _, err := VerifyEvidence(raw, onFile(issuerKeys(t), platformKeys(t)))
		if err != nil || !got.At.Equal(e.Post.At) {
			t.Errorf("got %+v, %v", got, err)
		}
	})
}

// TestEvidenceAttacks: every row is signed by the platform itself, which is the
// attacker here: it wants to pin a post on somebody.
func TestEvidenceAttacks(t *testing.T) {
	good := forged(edKey("issuer"), edHeader(), goodClaims())
	access := boundToken(t)
	proofAt := func(key string, token string, at time.Time) string {
		p, err := SignDPoP(privateJWK(edKey(key), ""), "POST", apiURL, token, "", at)
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	post := noon.Add(time.Minute)
	for name, row := range map[string]struct {
		change func(*Evidence)
		want   *refusal.Error
	}{
		"a token of another platform":  {func(e *Evidence) { e.Platform = "school-forum" }, ErrEvidenceToken},
		"a post before the sign-in":    {func(e *Evidence) { e.Post.At = noon.Add(-2 * time.Minute) }, ErrEvidenceToken},
		"a post after the token's end": {func(e *Evidence) { e.Post.At = noon.Add(7 * time.Minute) }, ErrEvidenceToken},
		"a token that it made itself":  {func(e *Evidence) { e.Token = forged(edKey("platform"), edHeader(), goodClaims()) }, ErrEvidenceToken},
		"a token of another issuer": {func(e *Evidence) {
			e.Token = forged(edKey("issuer"), edHeader(), with(goodClaims(), object{"iss": "https://evil.example"}))
		}, ErrEvidenceToken},
		"a token that is none":           {func(e *Evidence) { e.Token = "token" }, ErrEvidenceToken},
		"a proof in place of a token":    {func(e *Evidence) { e.Token = proofAt("holder", "", post) }, ErrEvidenceToken},
		"a bound token without proof":    {func(e *Evidence) { e.Token = access }, ErrEvidenceProof},
		"a proof of another key":         {func(e *Evidence) { e.Token, e.Proof = access, proofAt("platform", access, post) }, ErrEvidenceProof},
		"a proof for another token":      {func(e *Evidence) { e.Token, e.Proof = access, proofAt("holder", good, post) }, ErrEvidenceProof},
		"a proof of another time":        {func(e *Evidence) { e.Token, e.Proof = access, proofAt("holder", access, post.Add(-2*time.Minute)) }, ErrEvidenceProof},
		"a proof later than the post":    {func(e *Evidence) { e.Token, e.Proof = access, proofAt("holder", access, post.Add(2*time.Minute)) }, ErrEvidenceProof},
		"a proof beside an unbound one":  {func(e *Evidence) { e.Proof = proofAt("platform", good, post) }, ErrEvidenceProof},
		"a proof that is none":           {func(e *Evidence) { e.Token, e.Proof = access, "proof" }, ErrEvidenceProof},
		"evidence from before the post":  {func(e *Evidence) { e.At = e.Post.At.Add(-time.Second) }, ErrEvidenceMalformed},
		"a relative URL":                 {func(e *Evidence) { e.Post.URL = "/posts/17" }, ErrEvidenceMalformed},
		"a script for a URL":             {func(e *Evidence) { e.Post.URL = "javascript:alert(1)" }, ErrEvidenceMalformed},
		"a long URL":                     {func(e *Evidence) { e.Post.URL += strings.Repeat("x", maxPostURL) }, ErrEvidenceMalformed},
		"a URL that is not UTF-8":        {func(e *Evidence) { e.Post.URL += "\xff" }, ErrEvidenceMalformed},
		"no platform":                    {func(e *Evidence) { e.Platform = "" }, ErrEvidenceMalformed},
		"no token":                       {func(e *Evidence) { e.Token = "" }, ErrEvidenceMalformed},
		"no time":                        {func(e *Evidence) { e.Post.At = time.Time{} }, ErrEvidenceMalformed},
		"a time before 1970":             {func(e *Evidence) { e.Post.At = time.Unix(-1, 0) }, ErrEvidenceMalformed},
		"a token that fills the bundle":  {func(e *Evidence) { e.Token = strings.Repeat("x", evidenceFormat.MaxBytes) }, ErrEvidenceTooLarge},
		"a token larger than any can be": {func(e *Evidence) { e.Token = strings.Repeat("x", maxToken+1) }, ErrEvidenceToken},
	} {
		t.Run(name, func(t *testing.T) {
			e := goodEvidence(good)
			row.change(&e)
			payload, err := e.marshal()
			if err != nil {
				t.Fatal(err)
			}
			raw := compact(edKey("platform"), `{"alg":"EdDSA","kid":"p1","typ":"penname-evidence+jwt"}`, string(payload))
			got, tok, err := VerifyEvidence(raw, onFile(issuerKeys(t), platformKeys(t)))
			if expectRefusal(t, err, row.want); got != nil || tok != nil {
				t.Error("something came with the error")
			}
			// SignEvidence refuses what could not be read back
			if row.want == ErrEvidenceMalformed || row.want == ErrEvidenceTooLarge {
				if raw, err := SignEvidence(privateJWK(edKey("platform"), "p1"), e); err == nil || raw != "" {
					t.Error("SignEvidence makes it")
				}
			}
		})
	}
}

func TestEvidenceEnvelope(t *testing.T) {
	key := edKey("platform")
	payload := evidencePayload(t, forged(edKey("issuer"), edHeader(), goodClaims()))
	header := object{"alg": "EdDSA", "kid": "p1", "typ": "penname-evidence+jwt"}
	sign := func(change object) string { return compact(key, marshal(with(header, change)), payload) }
	for name, row := range map[string]struct {
		raw  string
		want *refusal.Error
	}{
		"signed by another":     {compact(edKey("other"), marshal(header), payload), ErrEvidenceSignature},
		"unknown kid":           {sign(object{"kid": "p2"}), ErrEvidenceKey},
		"brings its key":        {sign(object{"jwk": edJWK(key, "p1")}), ErrEvidenceKey},
		"alg none":              {sign(object{"alg": "none"}), ErrEvidenceSignature},
		"crit":                  {sign(object{"crit": []string{"x"}}), ErrEvidenceMalformed},
		"typ of a token":        {sign(object{"typ": "JWT"}), ErrEvidenceTyp},
		"too large":             {strings.Repeat("x", evidenceFormat.MaxBytes+1), ErrEvidenceTooLarge},
		"empty":                 {"", ErrEvidenceMalformed},
		"an extra member":       {compact(key, marshal(header), strings.TrimSuffix(payload, "}")+`,"x":1}`), ErrEvidenceMalformed},
		"white space":           {compact(key, marshal(header), strings.Replace(payload, ",", ", ", 1)), ErrEvidenceMalformed},
		"a fraction of time":    {compact(key, marshal(header), strings.Replace(payload, `,"token"`, `.0,"token"`, 1)), ErrEvidenceMalformed},
		"an escaped slash":      {compact(key, marshal(header), strings.Replace(payload, "/posts/17", `\/posts/17`, 1)), ErrEvidenceMalformed},
		"another order":         {compact(key, marshal(header), `{"iat":1,"iss":"town-square"}`), ErrEvidenceMalformed},
		"a digest of 31 bytes":  {compact(key, marshal(header), replaceDigest(payload, b64(make([]byte, 31)))), ErrEvidenceMalformed},
		"a digest with padding": {compact(key, marshal(header), replaceDigest(payload, b64(make([]byte, 32))+"=")), ErrEvidenceMalformed},
	} {
		t.Run(name, func(t *testing.T) {
			got, tok, err := VerifyEvidence(row.raw, onFile(issuerKeys(t), platformKeys(t)))
			if expectRefusal(t, err, row.want); got != nil || tok != nil {
				t.Error("something came with the error")
			}
		})
	}
	t.Run("T53 a platform's retired key", func(t *testing.T) {
		retired := mustKeys(t, with(edJWK(key, "p1"), object{"exp": noon.Unix()}))
		_, _, err := VerifyEvidence(sign(nil), onFile(issuerKeys(t), retired))
		expectRefusal(t, err, ErrEvidenceKey)
	})
	t.Run("no keys", func(t *testing.T) {
		_, _, err := VerifyEvidence(sign(nil), onFile(issuerKeys(t), nil))
		expectRefusal(t, err, ErrEvidenceKey)
		_, _, err = VerifyEvidence(sign(nil), onFile(nil, platformKeys(t)))
		expectRefusal(t, err, ErrEvidenceToken)
	})
}

func replaceDigest(payload, digest string) string {
	before, rest, _ := strings.Cut(payload, `"sha256":"`)
	_, after, _ := strings.Cut(rest, `"`)
	return before + `"sha256":"` + digest + `"` + after
}

// What a case on file is judged by takes nothing of version 2 that version 1 would not have: a
// token that is bound needs its proof, and a post its token's life.
func TestVersion2IsNoWayAroundVersion1(t *testing.T) {
	access := boundToken(t)
	post := noon.Add(time.Minute)
	proof, err := SignDPoP(privateJWK(edKey("holder"), ""), "POST", apiURL, access, "", post)
	if err != nil {
		t.Fatal(err)
	}
	late := func(e *Evidence) { e.Post.At = noon.Add(20 * time.Minute) }
	for name, row := range map[string]struct {
		change            func(*Evidence)
		today, whenOnFile *refusal.Error
		proven            bool
	}{
		"a proof":                     {func(e *Evidence) { e.Proof = proof }, nil, nil, true},
		"no proof":                    {func(*Evidence) {}, nil, ErrEvidenceProof, false},
		"another proof":               {func(e *Evidence) { e.Proof = "proof" }, ErrEvidenceProof, ErrEvidenceProof, false},
		"a token without a key":       {func(e *Evidence) { e.Token = forged(edKey("issuer"), edHeader(), goodClaims()) }, nil, nil, false},
		"a post in the span":          {late, nil, ErrEvidenceToken, false},
		"a post after the span":       {func(e *Evidence) { e.Post.At = noon.Add(25 * time.Hour); e.At = e.Post.At }, ErrEvidenceToken, ErrEvidenceToken, false},
		"version 1":                   {func(e *Evidence) { e.Version, e.Proof = 1, proof }, ErrNoContent, nil, true},
		"version 1 without its proof": {func(e *Evidence) { e.Version = 1 }, ErrNoContent, ErrEvidenceProof, false},
	} {
		t.Run(name, func(t *testing.T) {
			e := withExhibits(access)
			row.change(&e)
			raw, err := SignEvidence(privateJWK(edKey("platform"), "p1"), e)
			if err != nil {
				t.Fatal(err)
			}
			rules := onFile(issuerKeys(t), platformKeys(t))
			rules.Span = 24 * time.Hour
			for _, want := range []*refusal.Error{row.whenOnFile, row.today} {
				got, _, err := VerifyEvidence(raw, rules)
				if want != nil {
					expectRefusal(t, err, want)
				} else if err != nil || got.ProvenByKey != row.proven {
					t.Errorf("contentless %v: got %+v, %v", rules.Contentless, got, err)
				}
				rules.Contentless = false
			}
		})
	}
}
