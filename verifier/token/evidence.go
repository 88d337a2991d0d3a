package token

import (
	"context"
	"encoding/base64"
	"errors"
	"net/url"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/json"

	"github.com/penname/penname/verifier/document"
)

const (
	maxPostURL = 2 << 10 // bytes

	// evidenceLeeway is the difference of clocks forgiven between issuer, platform and author.
	evidenceLeeway = time.Minute
)

// Post is what somebody published.
type Post struct {
	URL    string    // where, absolute http or https, at most 2 KiB
	Digest [32]byte  // SHA-256 of the content as published
	At     time.Time // when, UTC; seconds are signed, a fraction is cut off
}

// Evidence is a platform's signed statement that a post was made by the holder of
// a token. The token was signed by the issuer when the author signed in, so a
// platform cannot make one up for an author who was never there.
type Evidence struct {
	Platform string // the platform's client_id, which is also the token's audience
	Token    string // as presented, valid when the post was made
	Proof    string // the DPoP proof as presented; required if the token is bound to a key, else ""
	Post     Post
	At       time.Time // when the evidence was made, UTC, whole seconds; zero in SignEvidence: when the post was
	KeyID    string    // of the platform's key that signed; set by VerifyEvidence
}

// evidence is the payload, in this order and without white space, so that one
// statement has one spelling.
type evidence struct {
	Iss   string `json:"iss"`
	Iat   int64  `json:"iat"`
	Token string `json:"token"`
	Proof string `json:"dpop,omitempty"`
	Post  struct {
		URL    string `json:"url"`
		SHA256 string `json:"sha256"`
		At     int64  `json:"at"`
	} `json:"post"`
}

// SignEvidence signs e with the platform's private key as a JWS of typ
// "penname-evidence+jwt" and payload
//
//	{"iss":platform,"iat":seconds,"token":"…","dpop":"…","post":{"url":"…","sha256":"base64url","at":seconds}}
//
// It refuses, with [ErrEvidenceMalformed], what [VerifyEvidence] could not read
// back. It does not verify the token: do that when it is presented.
func SignEvidence(key jose.JSONWebKey, e Evidence) (string, error) {
	if e.At.IsZero() {
		e.At = e.Post.At
	}
	payload, err := e.marshal()
	if err != nil {
		return "", err
	}
	if _, err := parseEvidence(payload); err != nil {
		return "", err
	}
	return evidenceFormat.Sign(key, payload)
}

func (e Evidence) marshal() ([]byte, error) {
	p := evidence{Iss: e.Platform, Iat: e.At.Unix(), Token: e.Token, Proof: e.Proof}
	p.Post.URL, p.Post.SHA256, p.Post.At = e.Post.URL, base64.RawURLEncoding.EncodeToString(e.Post.Digest[:]), e.Post.At.Unix()
	payload, err := json.Marshal(p)
	if err != nil {
		return nil, ErrEvidenceMalformed
	}
	return payload, nil
}

// parseEvidence reads a payload and refuses it if marshal would write it in any
// other way: unknown members, another order or spelling.
func parseEvidence(payload []byte) (*Evidence, error) {
	var p evidence
	var e *Evidence
	err := evidenceFormat.Read(payload, &p, func() (_ []byte, err error) {
		if e, err = p.evidence(); err != nil {
			return nil, err
		}
		return e.marshal()
	})
	if err != nil {
		return nil, err
	}
	return e, nil
}

func (p *evidence) evidence() (*Evidence, error) {
	digest, err := document.DecodeBase64(p.Post.SHA256)
	if err != nil || len(digest) != 32 || p.Iss == "" || p.Token == "" || len(p.Post.URL) > maxPostURL {
		return nil, ErrEvidenceMalformed
	}
	if u, err := url.Parse(p.Post.URL); err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http" {
		return nil, ErrEvidenceMalformed
	}
	if p.Post.At <= 0 || p.Iat < p.Post.At || p.Iat > document.LastSecond {
		return nil, ErrEvidenceMalformed
	}
	e := &Evidence{Platform: p.Iss, Token: p.Token, Proof: p.Proof, At: time.Unix(p.Iat, 0).UTC()}
	e.Post = Post{URL: p.Post.URL, Digest: [32]byte(digest), At: time.Unix(p.Post.At, 0).UTC()}
	return e, nil
}

// VerifyEvidence checks an evidence bundle, offline and however old: the
// platform's signature with a key that was in force, then the token with the
// issuer's keys, judged at the time of the post: issued by issuer for this
// platform, before the post, and not yet expired then. If the token is bound to a
// key, the bundle must hold a proof for this token made by that key within a
// minute of the post.
//
// It does not check that the platform is the one expected (compare
// [Evidence.Platform]), that the content at the URL has the digest, what the
// proof's request was, or whether the token was withdrawn: a status list speaks
// of today.
func VerifyEvidence(raw, issuer string, issuerKeys, platformKeys *KeySet) (*Evidence, *Token, error) {
	ctx := context.Background() // key sets that refresh are for live tokens
	signed, err := evidenceFormat.Open(raw)
	if err != nil {
		return nil, nil, err
	}
	key, err := platformKeys.static().verify(ctx, evidenceFormat, signed)
	if err != nil {
		return nil, nil, err
	}
	e, err := parseEvidence(signed.Payload)
	if err != nil {
		return nil, nil, err
	}
	e.KeyID = key.KeyID
	if !key.InForce(e.At) {
		return nil, nil, ErrEvidenceKey
	}
	inner, err := idFormat.Open(e.Token)
	if errors.Is(err, ErrWrongTyp) {
		inner, err = accessFormat.Open(e.Token)
	}
	if err != nil {
		return nil, nil, ErrEvidenceToken.Because(err)
	}
	r := rules{issuer: issuer, audience: e.Platform, at: e.Post.At, leeway: evidenceLeeway, maxAge: DefaultMaxAge}
	t, err := r.open(ctx, inner, issuerKeys.static())
	if err != nil {
		return nil, nil, ErrEvidenceToken.Because(err)
	}
	if err := e.checkProof(t); err != nil {
		return nil, nil, err
	}
	return e, t, nil
}

// checkProof checks that a bound token comes with a proof for it.
func (e *Evidence) checkProof(t *Token) error {
	if t.JKT == "" && e.Proof == "" {
		return nil
	}
	p, got, err := openDPoP(e.Proof)
	if err != nil {
		return ErrEvidenceProof.Because(err)
	}
	if err := p.isFor(t.Raw, t.JKT, got.JKT); err != nil {
		return ErrEvidenceProof.Because(err)
	}
	if off := got.IssuedAt.Sub(e.Post.At).Abs(); t.JKT == "" || off > evidenceLeeway {
		return ErrEvidenceProof
	}
	return nil
}
