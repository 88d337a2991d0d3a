package token

import (
	"bytes"
	"context"
	"log/slog"
	"strconv"
	"time"

	"github.com/go-jose/go-jose/v4/json"

	"github.com/penname/penname/verifier/document"
)

// The types of token that a [Verifier] can expect, as the typ of the header.
const (
	TypID     = "JWT"    // an ID token; a header without typ is one too
	TypAccess = "at+jwt" // an access token (RFC 9068)
)

// DefaultMaxAge is how long after its iat a token is accepted if
// [Verifier.MaxAge] is not set, whatever its exp says.
const DefaultMaxAge = 24 * time.Hour

// Verifier checks tokens of one issuer for one platform. Set the fields once;
// after that it is safe for concurrent use.
type Verifier struct {
	// Issuer is the issuer's name, a URL, compared byte by byte.
	Issuer string
	// Audience is this platform's client_id. A token for this and another platform is refused.
	Audience string
	// Keys returns the issuer's keys: HTTPKeySource, which follows their rotation, or
	// StaticKeys for a program that is offline and gets them in another way.
	Keys func(context.Context) (*KeySet, error)
	// Typ is the one type of token expected: TypID, also if empty, for a sign-in; TypAccess for an API.
	Typ string
	// Now is the clock, time.Now if nil.
	Now func() time.Time
	// Leeway is the difference of clocks that is forgiven in exp, iat and nbf. Zero means none; a minute is usual.
	Leeway time.Duration
	// MaxAge is how long after iat a token is accepted, DefaultMaxAge if zero.
	MaxAge time.Duration
	// Status says whether a token was withdrawn: NewHTTPStatusSource. Penname's tokens
	// carry a status, and are refused without a source: nil is for an issuer that sets none.
	Status StatusSource
	// SingleUse, if set, accepts each token once, by its jti.
	SingleUse ReplayGuard

	// The rest is for Middleware.

	// Origin is how clients spell scheme, host and port of this service, such as
	// "https://api.example"; without it DPoP is refused, because a Host header is the client's word.
	Origin string
	// ProofReplay remembers DPoP proofs. Nil: an own MemoryReplayGuard for each Middleware, good for one process.
	ProofReplay ReplayGuard
	// ProofMaxAge is how old a DPoP proof may be, DefaultProofMaxAge if zero.
	ProofMaxAge time.Duration
	// ProofNonces returns the nonces that a proof may hold, newest first (RFC 9449, section 9). Nil: none is asked for.
	ProofNonces func(now time.Time) []string
	// Log receives one record for each refusal: its code, nothing of the request. Nil: none.
	Log *slog.Logger
}

// Token is a verified token.
type Token struct {
	Issuer      string
	Subject     Pseudonym // who, on this platform
	Audience    string    // the platform
	ID          string    // jti
	IssuedAt    time.Time // UTC, whole seconds
	Expiry      time.Time // UTC, whole seconds
	ACR         string    // how well the person was proven
	Nonce       string    // "" if absent. Not checked: compare it with the one you sent
	Commitment  [32]byte  // see Commit
	StatusURI   string    // "" if absent
	StatusIndex int
	JKT         string // RFC 7638 thumbprint of the DPoP key, "" for a bearer token. Verify does not ask for a proof
	Raw         string // as presented
}

// StaticKeys returns a source that always gives the same keys, for [Verifier.Keys].
// Tokens that are signed with a key that came later are refused with [ErrUnknownKid].
func StaticKeys(s *KeySet) func(context.Context) (*KeySet, error) {
	return func(context.Context) (*KeySet, error) { return s, nil }
}

// Verify checks raw and returns what it says, or a refusal and nil.
//
// It checks, in this order: size and form, header, signature, typ, the time at
// which the key was in force, iss, aud (and azp), exp, iat, nbf, sub, the other
// required claims, the status if v.Status is set, single use if v.SingleUse is
// set. It does not check the nonce of a sign-in, nor the possession of the key in
// [Token.JKT]: [Verifier.Middleware] and [VerifyDPoP] do that.
//
// When keys or status cannot be had, nothing is accepted.
func (v *Verifier) Verify(ctx context.Context, raw string) (*Token, error) {
	t, err := v.check(ctx, raw)
	if err == nil {
		err = v.useUp(ctx, t)
	}
	if err != nil {
		return nil, err
	}
	return t, nil
}

// check is Verify without the single use.
func (v *Verifier) check(ctx context.Context, raw string) (*Token, error) {
	if v.Issuer == "" || v.Audience == "" || v.Keys == nil {
		return nil, ErrMisconfigured
	}
	format := idFormat
	if v.Typ == TypAccess {
		format = accessFormat
	} else if v.Typ != "" && v.Typ != TypID {
		return nil, ErrMisconfigured
	}
	signed, err := format.Open(raw)
	if err != nil {
		return nil, err
	}
	keys, err := v.Keys(ctx)
	if err != nil || keys == nil {
		return nil, ErrKeysUnavailable.Because(err)
	}
	r := rules{issuer: v.Issuer, audience: v.Audience, at: v.now(), leeway: v.Leeway, maxAge: v.maxAge()}
	t, err := r.open(ctx, signed, keys)
	if err != nil {
		return nil, err
	}
	if err := v.checkStatus(ctx, t); err != nil {
		return nil, err
	}
	return t, nil
}

func (v *Verifier) useUp(ctx context.Context, t *Token) error {
	if v.SingleUse == nil {
		return nil
	}
	return useOnce(ctx, v.SingleUse, ErrReplayed, t.Expiry.Add(v.Leeway), t.Issuer, t.ID)
}

func (v *Verifier) now() time.Time {
	if v.Now == nil {
		return time.Now()
	}
	return v.Now()
}

func (v *Verifier) maxAge() time.Duration {
	if v.MaxAge == 0 {
		return DefaultMaxAge
	}
	return v.MaxAge
}

// checkStatus follows draft-ietf-oauth-status-list, section 8.3, for the status
// of a token that is valid in every other respect.
func (v *Verifier) checkStatus(ctx context.Context, t *Token) error {
	if v.Status == nil && t.StatusURI == "" {
		return nil
	}
	if v.Status == nil {
		return ErrNoStatusSource
	}
	if t.StatusURI == "" { // an absent claim is a rejection
		return ErrStatusUnknown
	}
	withdrawn, err := v.Status.Withdrawn(ctx, t.StatusURI, t.StatusIndex)
	if err != nil {
		return ErrStatusUnknown.Because(err)
	}
	if withdrawn {
		return ErrInactive
	}
	return nil
}

// rules are what claims are judged by, now or at a time long ago.
type rules struct {
	issuer, audience string
	at               time.Time
	leeway, maxAge   time.Duration
	span             time.Duration // accepted so long after iat, whatever exp says
}

// claims holds every claim that is looked at. A text that is absent is "": none of
// them may be empty. The others are as written, "" for what is absent.
type claims struct {
	iss, sub, jti, acr, nonce, commitment string

	aud, azp, exp, iat, nbf document.Value
	hasStatus, hasCnf       bool
	idx                     document.Value // of status.status_list
	uri, jkt                string         // of status.status_list, of cnf
	events                  document.Value // marks a logout token (OpenID Connect Back-Channel Logout, 2.4)
}

// read takes a claim, and reports whether it is of the right type. null is none.
func (c *claims) read(name string, v document.Value) bool {
	switch name {
	case "iss":
		return readText(v, &c.iss)
	case "sub":
		return readText(v, &c.sub)
	case "jti":
		return readText(v, &c.jti)
	case "acr":
		return readText(v, &c.acr)
	case "nonce":
		return readText(v, &c.nonce)
	case "penname_commitment":
		return readText(v, &c.commitment)
	case "aud":
		c.aud = v
	case "azp":
		var party string
		c.azp = v
		return readText(v, &party)
	case "exp":
		c.exp = v
	case "iat":
		c.iat = v
	case "nbf":
		c.nbf = v
	case "events":
		c.events = v
	case "status":
		c.hasStatus = v != null
		return v == null || v.Object(c.readStatus)
	case "cnf":
		c.hasCnf = v != null
		return v == null || v.Object(c.readCnf)
	}
	return true
}

func (c *claims) readStatus(name string, v document.Value) bool {
	return name != "status_list" || v == null || v.Object(c.readStatusList)
}

func (c *claims) readStatusList(name string, v document.Value) bool {
	switch name {
	case "idx":
		c.idx = v
	case "uri":
		return readText(v, &c.uri)
	}
	return true
}

func (c *claims) readCnf(name string, v document.Value) bool {
	return name != "jkt" || readText(v, &c.jkt)
}

const null document.Value = "null"

// readText reads a string, if v is one or null.
func readText(v document.Value, to *string) (ok bool) {
	if v != null {
		*to, ok = v.Text()
	}
	return ok || v == null
}

// open verifies a token with keys and reads its claims.
func (r rules) open(ctx context.Context, signed *document.Signed, keys *KeySet) (*Token, error) {
	key, err := keys.verify(ctx, idFormat, signed)
	if err != nil {
		return nil, err
	}
	if err := document.CheckJSON(signed.Payload); err != nil {
		return nil, idFormat.Refuse(err)
	}
	var c claims
	if !document.Value(bytes.TrimSpace(signed.Payload)).Object(c.read) {
		return nil, ErrMalformed
	}
	if c.events != "" {
		return nil, ErrWrongTyp
	}
	t := &Token{Issuer: r.issuer, Audience: r.audience, Raw: signed.Raw}
	if c.iss != r.issuer {
		return nil, ErrBadIssuer
	}
	if !c.isFor(r.audience) {
		return nil, ErrBadAudience
	}
	if err := r.readTimes(&c, t); err != nil {
		return nil, err
	}
	if !key.InForce(t.IssuedAt) {
		return nil, ErrKeyNotValidAt
	}
	if t.Subject, err = ParsePseudonym(c.sub); err != nil {
		return nil, ErrBadSubject
	}
	if err := c.readRest(t); err != nil {
		return nil, err
	}
	return t, nil
}

// isFor reports whether audience is the only audience, and the authorised party
// if one is named (OpenID Connect Core, 3.1.3.7, steps 3 to 5).
func (c *claims) isFor(audience string) bool {
	one, ok := c.aud.Text()
	if !ok {
		var many []string
		if json.Unmarshal([]byte(c.aud), &many) != nil || len(many) != 1 {
			return false
		}
		one = many[0]
	}
	party, named := c.azp.Text()
	return one == audience && (!named || party == audience)
}

// readTimes judges exp, iat and nbf (RFC 7519, sections 4.1.4 to 4.1.6) at r.at.
func (r rules) readTimes(c *claims, t *Token) error {
	var ok bool
	if c.exp == "" {
		return ErrMissingExp
	}
	if t.Expiry, ok = document.NumericDate(c.exp); !ok {
		return ErrBadExp
	}
	if t.IssuedAt, ok = document.NumericDate(c.iat); !ok || t.IssuedAt.After(r.at.Add(r.leeway)) {
		return ErrBadIat
	}
	// "The 'exp' claim identifies the expiration time on or after which the JWT MUST NOT be accepted"
	inSpan := r.span > 0 && !r.at.After(t.IssuedAt.Add(r.span))
	if !r.at.Before(t.Expiry.Add(r.leeway)) && !inSpan {
		return ErrExpired
	}
	if r.at.Sub(t.IssuedAt) > r.maxAge+r.leeway {
		return ErrBadIat
	}
	if t.Expiry.Before(t.IssuedAt) {
		return ErrBadExp
	}
	if c.nbf != "" {
		if nbf, ok := document.NumericDate(c.nbf); !ok || nbf.After(r.at.Add(r.leeway)) {
			return ErrNotYetValid
		}
	}
	return nil
}

// readRest reads the claims that are not judged against anything.
func (c *claims) readRest(t *Token) error {
	if c.jti == "" || c.acr == "" || c.commitment == "" {
		return ErrMissingClaim
	}
	commitment, err := document.DecodeBase64(c.commitment)
	if err != nil || len(commitment) != len(t.Commitment) {
		return ErrMissingClaim
	}
	t.ID, t.ACR, t.Commitment, t.Nonce = c.jti, c.acr, [32]byte(commitment), c.nonce
	if c.hasCnf { // a confirmation that is not understood must not pass as none
		if !isThumbprint(c.jkt) {
			return ErrMalformed
		}
		t.JKT = c.jkt
	}
	if c.hasStatus {
		// draft-ietf-oauth-status-list, 6.2: idx and uri are REQUIRED, idx is a non-negative integer.
		if t.StatusIndex, err = strconv.Atoi(string(c.idx)); err != nil || t.StatusIndex < 0 || c.uri == "" {
			return ErrStatusUnknown
		}
		t.StatusURI = c.uri
	}
	return nil
}

// isThumbprint reports whether s is the base64url of 32 bytes (RFC 9449, 6.1).
func isThumbprint(s string) bool {
	b, err := document.DecodeBase64(s)
	return err == nil && len(b) == 32
}
