// Package passkey judges passkeys: the two ceremonies of W3C Web Authentication, Level 3,
// by which somebody adds one (webauthn.create, section 7.1) and shows that they have it
// (webauthn.get, section 7.2).
//
//	Begin… makes a challenge, which the caller seals into a cookie, and the options for
//	       the browser, which its script hands to the authenticator
//	Read   reads an answer; nothing in it is believed yet
//	Created and Asserted judge it, each with the ceremony that was begun
//
// Asked for is a credential that is discoverable, whose authenticator verifies the person
// each time (by finger, face or PIN), by ES256, EdDSA or RS256, and no attestation: who made
// an authenticator would tell people apart, and says nothing about who holds it.
//
// Not judged here, because a store has to know it: that a challenge is used once (W02), that
// a credential is registered (W10) and no other person's (W12), and what its counter was
// (W09): callers refuse with the refusals of this package.
package passkey

import (
	"crypto/rand"
	"crypto/subtle"
	"encoding/base64"
	"encoding/json"
	"net/netip"
	"net/url"
	"strings"
	"time"

	"github.com/go-webauthn/webauthn/protocol"
	"github.com/go-webauthn/webauthn/protocol/webauthncose"

	"github.com/penname/penname/verifier/document"
	"github.com/penname/penname/verifier/refusal"
)

const (
	notTaken = "what your browser sent about the passkey was not taken, and nothing has changed: try again, or go on without a passkey"
	notKept  = "this passkey cannot be used here, and it was not added: choose another device or another app for passkeys"
)

// The refusals. All are 401 webauthn.<code>.
var (
	ErrType      = refusal.New(refusal.Unauthenticated, "webauthn.type", notTaken)
	ErrChallenge = refusal.New(refusal.Unauthenticated, "webauthn.challenge",
		"that took longer than five minutes, or it was answered already: press the button once more")
	ErrOrigin       = refusal.New(refusal.Unauthenticated, "webauthn.origin", notTaken)
	ErrCrossOrigin  = refusal.New(refusal.Unauthenticated, "webauthn.cross_origin", notTaken)
	ErrParty        = refusal.New(refusal.Unauthenticated, "webauthn.party", notTaken)
	ErrPresence     = refusal.New(refusal.Unauthenticated, "webauthn.presence", notTaken)
	ErrVerification = refusal.New(refusal.Unauthenticated, "webauthn.verification",
		"your device did not ask for your finger, face or PIN, and here it has to: set one up on it, or go on without a passkey")
	ErrBackup  = refusal.New(refusal.Unauthenticated, "webauthn.backup", notTaken)
	ErrCounter = refusal.New(refusal.Unauthenticated, "webauthn.counter",
		"this passkey counted backwards, as a copy of it would, so nobody was signed in: sign in in another way, and remove it on your page of passkeys")
	ErrUnknown = refusal.New(refusal.Unauthenticated, "webauthn.unknown_credential",
		"this passkey is not known here, perhaps because it was removed, and nobody was signed in: use another one, or prove your identity at the identity provider")
	ErrOwner       = refusal.New(refusal.Unauthenticated, "webauthn.owner", notTaken)
	ErrKnown       = refusal.New(refusal.Unauthenticated, "webauthn.already_registered", "this passkey is there already, and nothing was added: choose another device or another app for passkeys")
	ErrID          = refusal.New(refusal.Unauthenticated, "webauthn.id", notTaken)
	ErrKind        = refusal.New(refusal.Unauthenticated, "webauthn.credential_type", notTaken)
	ErrAlgorithm   = refusal.New(refusal.Unauthenticated, "webauthn.algorithm", notKept)
	ErrAttestation = refusal.New(refusal.Unauthenticated, "webauthn.attestation", notKept)
	ErrLeftover    = refusal.New(refusal.Unauthenticated, "webauthn.leftover", notTaken)
	ErrFlags       = refusal.New(refusal.Unauthenticated, "webauthn.flags", notTaken)
	ErrIDTooLong   = refusal.New(refusal.Unauthenticated, "webauthn.id_too_long", notKept)
	ErrKey         = refusal.New(refusal.Unauthenticated, "webauthn.key", notKept)
	ErrCBOR        = refusal.New(refusal.Unauthenticated, "webauthn.cbor", notTaken)
	ErrClientData  = refusal.New(refusal.Unauthenticated, "webauthn.client_data", notTaken)
	ErrExtension   = refusal.New(refusal.Unauthenticated, "webauthn.extension", notTaken)
	ErrSignature   = refusal.New(refusal.Unauthenticated, "webauthn.signature", notTaken)
	ErrMalformed   = refusal.New(refusal.Unauthenticated, "webauthn.malformed", notTaken)
	ErrNotKept     = refusal.New(refusal.Unauthenticated, "webauthn.not_discoverable", notKept)
)

// Life is how long a ceremony may take.
const Life = 5 * time.Minute

// Bounds of what is taken, in bytes.
const (
	MaxAnswer = 8 << 10
	MaxID     = 1023 // WebAuthn, 5.1: "at most 1023 bytes"
	MaxKey    = 600  // an RSA key of 4096 bits with its names
	userLen   = 32   // a user handle
)

// algorithms are those that are offered, the preferred one first (RFC 9053; RFC 8812).
var algorithms = []webauthncose.COSEAlgorithmIdentifier{webauthncose.AlgES256, webauthncose.AlgEdDSA, webauthncose.AlgRS256}

// Party is the relying party of one origin. It is safe for concurrent use.
type Party struct {
	id, origin string
	now        func() time.Time
}

// New returns the relying party of an origin, scheme://host[:port] as browsers write it; nil
// where there are no passkeys: of a host that is an IP address, and of http but for localhost
// (WebAuthn, 5.1.3 and 13.4.9; Secure Contexts, 3.1). The id is the host: whoever changes the
// origin's host leaves all passkeys behind.
func New(origin string, now func() time.Time) *Party {
	u, err := url.Parse(origin)
	if err != nil || u.Host == "" || u.Scheme+"://"+u.Host != origin {
		return nil
	}
	id := u.Hostname()
	if _, err := netip.ParseAddr(id); err == nil || u.Scheme != "https" && (u.Scheme != "http" || id != "localhost") {
		return nil
	}
	return &Party{strings.ToLower(id), origin, now}
}

// Ceremony is one that was begun. It is a secret of one browser, and to be used once.
type Ceremony struct {
	Type      string    `json:"t"` // of the client data
	Challenge string    `json:"c"` // 32 random bytes, base64url
	Until     time.Time `json:"u"`
}

const (
	create = string(protocol.CreateCeremony)
	get    = string(protocol.AssertCeremony)
)

func (p *Party) begin(kind string) Ceremony {
	b := make([]byte, 32) // WebAuthn, 13.4.3: "at least 16 bytes long"
	rand.Read(b)          // never fails (crypto/rand)
	return Ceremony{kind, encode(b), p.now().Add(Life).UTC().Truncate(time.Second)}
}

func encode(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

// descriptor names a credential in options.
type descriptor struct {
	Type string `json:"type"`
	ID   string `json:"id"`
}

// BeginCreate begins to add a passkey, on a device that has none of those that there are. The
// user handle is 32 bytes that say nothing without a key; every person has one, so that no
// device keeps two passkeys of theirs. The options are JSON for the browser.
func (p *Party) BeginCreate(user []byte, have [][]byte) (c Ceremony, options []byte, err error) {
	c = p.begin(create)
	type parameter struct {
		Type string                               `json:"type"`
		Alg  webauthncose.COSEAlgorithmIdentifier `json:"alg"`
	}
	params, exclude := []parameter{}, []descriptor{}
	for _, alg := range algorithms {
		params = append(params, parameter{"public-key", alg})
	}
	for _, id := range have {
		exclude = append(exclude, descriptor{"public-key", encode(id)})
	}
	options, err = json.Marshal(map[string]any{
		"challenge": c.Challenge, "rp": map[string]string{"id": p.id, "name": "Penname"},
		// What a list of accounts shows: nothing that tells two people apart.
		"user":             map[string]string{"id": encode(user), "name": "Penname", "displayName": "Penname"},
		"pubKeyCredParams": params, "excludeCredentials": exclude, "timeout": Life.Milliseconds(), "attestation": "none",
		"authenticatorSelection": map[string]any{"residentKey": "required", "requireResidentKey": true, "userVerification": "required"},
		"extensions":             map[string]bool{"credProps": true},
	})
	return c, options, err
}

// BeginGet begins to ask for a passkey, whoever's it is.
func (p *Party) BeginGet() (c Ceremony, options []byte, err error) {
	c = p.begin(get)
	options, err = json.Marshal(map[string]any{"challenge": c.Challenge, "rpId": p.id, "userVerification": "required", "timeout": Life.Milliseconds(), "allowCredentials": []descriptor{}})
	return c, options, err
}

// Credential is a passkey as it is kept: no secret of anybody's.
type Credential struct {
	ID      []byte // at most MaxID bytes, by the authenticator
	Key     []byte // COSE_Key, at most MaxKey bytes
	Counter uint32 // when it was made; 0: it mostly does not count
	Backup  bool   // it may be on several devices of its person
}

// Answer is what a browser sent. Nothing in it is believed.
type Answer struct {
	ID, User []byte // User: of webauthn.get alone

	id, kind                  string
	client, data, object, sig []byte
	extensions                map[string]json.RawMessage
}

// Challenge is the one that the answer names, or "": it is not judged yet.
func (a Answer) Challenge() (challenge string) {
	var said struct {
		Challenge string `json:"challenge"`
	}
	if json.Unmarshal(a.client, &said) != nil {
		return ""
	}
	return said.Challenge
}

// wire is an answer as the script writes it.
type wire struct {
	ID       string `json:"id"`
	RawID    string `json:"rawId"`
	Type     string `json:"type"`
	Response struct {
		Client string `json:"clientDataJSON"`
		Object string `json:"attestationObject,omitempty"`
		Data   string `json:"authenticatorData,omitempty"`
		Sig    string `json:"signature,omitempty"`
		User   string `json:"userHandle,omitempty"`
	} `json:"response"`
	Extensions map[string]json.RawMessage `json:"clientExtensionResults"`
}

// Read reads an answer.
func Read(text string) (Answer, error) {
	var w wire
	if len(text) > MaxAnswer || len(text) == 0 || document.CheckJSON([]byte(text)) != nil || json.Unmarshal([]byte(text), &w) != nil {
		return Answer{}, ErrMalformed
	}
	a := Answer{id: w.ID, kind: w.Type, extensions: w.Extensions}
	ok := true
	decode := func(text string) []byte {
		b, err := base64.RawURLEncoding.Strict().DecodeString(text)
		ok = ok && err == nil && !strings.ContainsAny(text, "\r\n") // which base64 skips
		return b
	}
	if a.ID = decode(w.ID); !ok || len(a.ID) == 0 || w.RawID != w.ID {
		return Answer{}, ErrID
	}
	if len(a.ID) > MaxID {
		return Answer{}, ErrIDTooLong
	}
	a.client, a.object, a.data, a.sig, a.User = decode(w.Response.Client), decode(w.Response.Object), decode(w.Response.Data), decode(w.Response.Sig), decode(w.Response.User)
	switch {
	case !ok:
		return Answer{}, ErrMalformed
	case a.kind != "public-key":
		return Answer{}, ErrKind
	}
	return a, nil
}

// credential is the part of an answer that go-webauthn has of both ceremonies.
func (a Answer) credential() protocol.PublicKeyCredential {
	return protocol.PublicKeyCredential{Credential: protocol.Credential{ID: a.id, Type: a.kind}, RawID: a.ID}
}

// checkClient judges the client data (WebAuthn, 7.1 steps 5 to 12, and 7.2 steps 8 to 14). The
// origin is compared as it is written: browsers write it in one way.
func (p *Party) checkClient(c Ceremony, kind string, raw []byte) error {
	var said map[string]json.RawMessage // by their exact names, which a struct would not hold to
	var cross bool
	if document.CheckJSON(raw) != nil || json.Unmarshal(raw, &said) != nil || said["crossOrigin"] != nil && json.Unmarshal(said["crossOrigin"], &cross) != nil {
		return ErrClientData
	}
	text := func(name string) (s string) {
		if json.Unmarshal(said[name], &s) != nil {
			return ""
		}
		return s
	}
	switch {
	case c.Challenge == "": // none was begun
		return ErrChallenge
	case c.Type != kind || text("type") != kind:
		return ErrType
	case !p.now().Before(c.Until) || subtle.ConstantTimeCompare([]byte(text("challenge")), []byte(c.Challenge)) != 1:
		return ErrChallenge
	case text("origin") != p.origin:
		return ErrOrigin
	case cross || said["topOrigin"] != nil:
		return ErrCrossOrigin
	}
	return nil
}

// Created judges the answer to [Party.BeginCreate].
func (p *Party) Created(c Ceremony, a Answer) (Credential, error) {
	if err := p.checkClient(c, create, a.client); err != nil {
		return Credential{}, err
	}
	object, err := readObject(a.object)
	if err != nil {
		return Credential{}, err
	}
	d, err := p.readData(object.RawAuthData, true)
	if err != nil {
		return Credential{}, err
	}
	if string(d.id) != string(a.ID) {
		return Credential{}, ErrID
	}
	if err := checkAttestation(object, d); err != nil {
		return Credential{}, err
	}
	if err := checkProps(a.extensions); err != nil {
		return Credential{}, err
	}
	// And all of it once more by those who read the standard before us.
	parsed, err := protocol.CredentialCreationResponse{PublicKeyCredential: a.credential(), AttestationResponse: protocol.AuthenticatorAttestationResponse{
		AuthenticatorResponse: protocol.AuthenticatorResponse{ClientDataJSON: a.client}, AttestationObject: a.object,
	}}.Parse()
	if err != nil {
		return Credential{}, ErrMalformed.Because(err)
	}
	var offered []protocol.CredentialParameter
	for _, alg := range algorithms {
		offered = append(offered, protocol.CredentialParameter{Type: protocol.PublicKeyCredentialType, Algorithm: alg})
	}
	if _, err := parsed.Verify(c.Challenge, p.id, []string{p.origin}, nil, nil, protocol.TopOriginExplicitVerificationMode, false, true, true, nil, offered, protocol.AttestationPolicy{}, protocol.SignaturePolicy{}); err != nil {
		return Credential{}, ErrAttestation.Because(errNotVerified)
	}
	return Credential{ID: a.ID, Key: d.key, Counter: d.counter, Backup: d.flags&flagEligible != 0}, nil
}

// Asserted judges the answer to [Party.BeginGet] by a credential that is registered, of the
// person with that user handle, and returns its counter.
func (p *Party) Asserted(c Ceremony, a Answer, of Credential, user []byte) (counter uint32, err error) {
	if err := p.checkClient(c, get, a.client); err != nil {
		return 0, err
	}
	d, err := p.readData(a.data, false)
	switch {
	case err != nil:
		return 0, err
	case string(a.ID) != string(of.ID):
		return 0, ErrUnknown
	case len(a.User) != userLen || subtle.ConstantTimeCompare(a.User, user) != 1: // 7.2, step 6: it MUST be there
		return 0, ErrOwner
	case (d.flags&flagEligible != 0) != of.Backup: // step 20: for life
		return 0, ErrBackup
	case len(a.extensions) != 0:
		return 0, ErrExtension
	}
	parsed, err := protocol.CredentialAssertionResponse{PublicKeyCredential: a.credential(), AssertionResponse: protocol.AuthenticatorAssertionResponse{
		AuthenticatorResponse: protocol.AuthenticatorResponse{ClientDataJSON: a.client}, AuthenticatorData: a.data, Signature: a.sig, UserHandle: a.User,
	}}.Parse()
	if err != nil {
		return 0, ErrMalformed.Because(err)
	}
	if err := parsed.Verify(c.Challenge, p.id, "", []string{p.origin}, nil, nil, protocol.TopOriginExplicitVerificationMode, false, true, true, of.Key, protocol.SignaturePolicy{}); err != nil {
		return 0, ErrSignature.Because(errNotVerified)
	}
	return d.counter, nil
}
