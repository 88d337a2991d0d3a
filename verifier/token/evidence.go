package token

import (
	"context"
	"errors"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/json"
)

const (
	// EvidenceVersion is that of the format that SignEvidence writes.
	EvidenceVersion = 2

	// evidenceLeeway is the difference of clocks forgiven between issuer, platform and author.
	evidenceLeeway = time.Minute
)

// Post is what somebody published.
type Post struct {
	URL      string    // where, absolute http or https, at most 2 KiB; since version 2 in ASCII (RFC 3986) and without a user's name
	Digest   [32]byte  // version 1 only: SHA-256 of the content as published
	At       time.Time // when, UTC; seconds are signed, a fraction is cut off
	Exhibits []Exhibit // what was published: 1 to 32 pieces, each once; version 1 has none

	// AuthorSuggests is what the account suggests to the platform that its holder is, as far
	// as it knows: AuthorJournalist, AuthorPrivileged, each once. Custodians are asked about
	// it. Version 1 has none.
	AuthorSuggests []string
}

// What an account can suggest that its holder is, in the words of a warrant's flags.
const (
	AuthorJournalist = "journalist" // a press account
	AuthorPrivileged = "privileged" // lawyer, doctor, cleric, member of parliament …
)

// Evidence is a platform's signed statement that a post was made by the holder of
// a token. The token was signed by the issuer when the author signed in, so a
// platform cannot make one up for an author who was never there.
type Evidence struct {
	Version     int    // of the format; zero in SignEvidence: EvidenceVersion
	Platform    string // the platform's client_id, which is also the token's audience
	Token       string // as presented, valid when the post was made, or the span before it
	Proof       string // the DPoP proof as presented with the post, or ""
	Post        Post
	At          time.Time // when the evidence was made, UTC, whole seconds; zero in SignEvidence: when the post was
	KeyID       string    // of the platform's key that signed; set by VerifyEvidence
	ProvenByKey bool      // Proof is the author's key's, for this post: else there is the platform's word alone. Set by VerifyEvidence
}

// SignEvidence signs e with the platform's private key as a JWS of typ
// "penname-evidence+jwt" and payload
//
//	{"version":2,"iss":platform,"iat":seconds,"token":"…","dpop":"…",
//	 "post":{"url":"…","at":seconds,"exhibits":[{"type":"text/plain","sha256":"hex","length":bytes}],
//	  "author_suggests":["journalist"]}}
//
// It refuses what [VerifyEvidence] could not read back. It does not verify the token:
// do that when it is presented, or see [Recorder].
func SignEvidence(key jose.JSONWebKey, e Evidence) (string, error) {
	if e.At.IsZero() {
		e.At = e.Post.At
	}
	if e.Version == 0 {
		e.Version = EvidenceVersion
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
	var payload any = e.second()
	if e.Version == 1 {
		payload = e.first()
	}
	b, err := json.Marshal(payload)
	if err != nil {
		return nil, ErrEvidenceMalformed
	}
	return b, nil
}

// EvidenceRules are what evidence is judged by: a case lives under the rules of its day.
type EvidenceRules struct {
	Issuer       string  // of the tokens
	IssuerKeys   *KeySet // of the issuer, for its tokens
	PlatformKeys *KeySet // of the platform, for its evidence

	// Span is how long after a sign-in (the token's iat) a post still counts, at most
	// as long as its platform keeps people signed in. Posts within the token's life
	// always count; zero: no others.
	Span time.Duration
	// Contentless are the rules of before version 2, for cases on file: evidence that says only the
	// digest of a post is accepted, there is no span, and a token that is bound to a key needs a
	// proof in every version, since nothing that these cases show says when it is not there.
	Contentless bool
}

// VerifyEvidence checks an evidence bundle, offline and however old: the
// platform's signature with a key that was in force, then the token with the
// issuer's keys, judged at the time of the post: issued by the issuer for this
// platform, before the post, and not yet expired then, or within the span. A DPoP
// proof in it must be made for this token by its key within a minute of the post;
// under Contentless a bound token must come with one.
//
// It does not check that the platform is the one expected (compare
// [Evidence.Platform]), the exhibits themselves ([Exhibit.Check] does), what the
// proof's request was, or whether the token was withdrawn: a status list speaks
// of today.
func VerifyEvidence(raw string, r EvidenceRules) (*Evidence, *Token, error) {
	if r.Contentless {
		r.Span = 0
	}
	ctx := context.Background() // key sets that refresh are for live tokens
	signed, err := evidenceFormat.Open(raw)
	if err != nil {
		return nil, nil, err
	}
	key, err := r.PlatformKeys.static().verify(ctx, evidenceFormat, signed)
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
	if e.Version == 1 && !r.Contentless {
		return nil, nil, ErrNoContent
	}
	inner, err := idFormat.Open(e.Token)
	if errors.Is(err, ErrWrongTyp) {
		inner, err = accessFormat.Open(e.Token)
	}
	if err != nil {
		return nil, nil, ErrEvidenceToken.Because(err)
	}
	then := rules{issuer: r.Issuer, audience: e.Platform, at: e.Post.At, leeway: evidenceLeeway, maxAge: max(DefaultMaxAge, r.Span), span: r.Span}
	t, err := then.open(ctx, inner, r.IssuerKeys.static())
	if err != nil {
		return nil, nil, ErrEvidenceToken.Because(err)
	}
	if r.Contentless && t.JKT != "" && e.Proof == "" {
		return nil, nil, ErrEvidenceProof
	}
	if err := e.checkProof(t); err != nil {
		return nil, nil, err
	}
	return e, t, nil
}

// checkProof checks that a proof, if there is one, is for this token and this post.
func (e *Evidence) checkProof(t *Token) error {
	if e.Proof == "" {
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
	e.ProvenByKey = true
	return nil
}

// ParseUnverifiedEvidence reads what evidence says, and checks nothing but its form: not who
// signed it, nor the token and the proof in it. It is for showing and for naming files.
func ParseUnverifiedEvidence(raw string) (*Evidence, error) {
	signed, err := evidenceFormat.Open(raw)
	if err != nil {
		return nil, err
	}
	e, err := parseEvidence(signed.Payload)
	if err != nil {
		return nil, err
	}
	e.KeyID = signed.KeyID
	return e, nil
}
