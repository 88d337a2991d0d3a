package openid

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"encoding/base64"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/json"
	"github.com/luikyv/go-oidc/pkg/goidc"

	"github.com/penname/penname/verifier/document"
	"github.com/penname/penname/verifier/token"
)

// algorithm returns the signature algorithm of a key, or "" if it is not one of those
// that Penname uses.
func algorithm(key any) jose.SignatureAlgorithm {
	switch k := key.(type) {
	case ed25519.PrivateKey, ed25519.PublicKey:
		return jose.EdDSA
	case *ecdsa.PrivateKey:
		return algorithm(&k.PublicKey)
	case *ecdsa.PublicKey:
		if k.Curve == elliptic.P256() {
			return jose.ES256
		}
	case *rsa.PrivateKey:
		return algorithm(&k.PublicKey)
	case *rsa.PublicKey:
		if k.N.BitLen() >= 2048 { // RFC 7518, 3.3
			return jose.RS256
		}
	}
	return ""
}

// keyring is the signing keys, newest first.
type keyring []Key

// keys are a provider's, which can be replaced while it serves.
type keys = atomic.Pointer[keyring]

// newKeyring checks the keys and fills in their use and alg. It refuses with [ErrConfig].
func newKeyring(keys []Key, now time.Time) (keyring, error) {
	ring := slices.Clone(keys)
	seen := map[string]bool{}
	for i := range ring {
		k := &ring[i]
		alg := algorithm(k.JWK.Key)
		if alg == "" || k.JWK.IsPublic() || !k.JWK.Valid() || k.JWK.KeyID == "" || seen[k.JWK.KeyID] ||
			!k.NotAfter.IsZero() && !k.NotAfter.After(k.NotBefore) {
			return nil, ErrConfig
		}
		seen[k.JWK.KeyID] = true
		k.JWK.Use, k.JWK.Algorithm = "sig", string(alg)
	}
	slices.SortStableFunc(ring, func(a, b Key) int { return b.NotBefore.Compare(a.NotBefore) })
	algs := keyring(ring).algorithms(now)
	if len(algs) == 0 || !slices.Contains(document.SignatureAlgorithms, algs[0]) {
		return nil, ErrConfig
	}
	for _, k := range ring {
		if k.NotBefore.After(now) && !slices.Contains(algs, jose.SignatureAlgorithm(k.JWK.Algorithm)) {
			return nil, ErrConfig
		}
	}
	return ring, nil
}

// algorithms returns those that a key in force signs with: first the one of access
// tokens and status lists, RS256 last.
func (r keyring) algorithms(now time.Time) []jose.SignatureAlgorithm {
	return slices.DeleteFunc(slices.Clone(document.IDTokenAlgorithms), func(alg jose.SignatureAlgorithm) bool {
		_, ok := r.current(now, alg)
		return !ok
	})
}

// inForce reports whether the key signs at t.
func (k Key) inForce(t time.Time) bool {
	return !t.Before(k.NotBefore) && (k.NotAfter.IsZero() || t.Before(k.NotAfter))
}

// current returns the newest key in force of an algorithm.
func (r keyring) current(now time.Time, alg jose.SignatureAlgorithm) (Key, bool) {
	i := slices.IndexFunc(r, func(k Key) bool { return k.inForce(now) && k.JWK.Algorithm == string(alg) })
	if i < 0 {
		return Key{}, false
	}
	return r[i], true
}

// published returns the keys that a platform may need: those in force, those to
// come, so that no platform meets an unknown kid, and those retired lately.
func (r keyring) published(now time.Time) []Key {
	return slices.DeleteFunc(slices.Clone(r), func(k Key) bool {
		return !k.NotAfter.IsZero() && !now.Before(k.NotAfter.Add(keyRetention))
	})
}

// set returns the published keys for the library, which signs with the first one
// of an algorithm, so that is the current one.
func (r keyring) set(now time.Time) (set goidc.JSONWebKeySet, _ error) {
	current := map[string]bool{}
	for _, alg := range r.algorithms(now) {
		k, _ := r.current(now, alg)
		set.Keys, current[k.JWK.KeyID] = append(set.Keys, k.JWK), true
	}
	if len(current) == 0 {
		return set, ErrUnavailable
	}
	for _, k := range r.published(now) {
		if !current[k.JWK.KeyID] {
			set.Keys = append(set.Keys, k.JWK)
		}
	}
	return set, nil
}

// dated reports whether a token's key was in force when the token says it was
// issued (attack T53). It checks no signature: that is the library's part.
func (r keyring) dated(raw string) bool {
	var header struct {
		Kid string `json:"kid"`
	}
	var claims struct {
		IssuedAt int64 `json:"iat"`
	}
	head, body, _ := strings.Cut(raw, ".")
	body, _, _ = strings.Cut(body, ".")
	if !decodePart(head, &header) || !decodePart(body, &claims) {
		return false
	}
	i := slices.IndexFunc(r, func(k Key) bool { return k.JWK.KeyID == header.Kid })
	return i >= 0 && r[i].inForce(time.Unix(claims.IssuedAt, 0))
}

// SetKeys replaces the signing keys while the provider serves. They sign with the
// algorithms of those before, since platforms registered for them: anything else is
// [ErrConfig], and nothing is replaced.
func (p *Provider) SetKeys(all []Key) error {
	ring, err := newKeyring(all, p.now())
	if err != nil {
		return err
	}
	if !slices.Equal(ring.algorithms(p.now()), p.algorithms) {
		return ErrConfig
	}
	p.keys.Store(&ring)
	p.lists.invalidate() // they are signed with a key that may be gone
	return nil
}

// Receipt signs for a person, who holds the receipt, which sealed record is theirs today.
func (p *Provider) Receipt(record string) (token.Receipt, string, error) {
	now := p.now()
	key, ok := p.keys.Load().current(now, p.algorithms[0])
	if !ok {
		return token.Receipt{}, "", ErrUnavailable
	}
	r := token.Receipt{Issuer: p.cfg.Issuer, Record: record, Day: now.UTC().Truncate(24 * time.Hour)}
	signed, err := r.Sign(key.JWK)
	return r, signed, err
}

// about returns whom an ID token of ours is about, and to which platform it was
// issued. It may have expired: the caller takes it as a hint only.
func (r keyring) about(raw, issuer string) (subject, platform string, ok bool) {
	jws, err := jose.ParseSignedCompact(raw, document.IDTokenAlgorithms)
	if err != nil || !r.dated(raw) {
		return "", "", false
	}
	header := jws.Signatures[0].Protected
	i := slices.IndexFunc(r, func(k Key) bool { return k.JWK.KeyID == header.KeyID })
	typ, _ := header.ExtraHeaders[jose.HeaderType].(string)
	if i < 0 || typ != "" && !strings.EqualFold(typ, "JWT") { // an access token is of another type
		return "", "", false
	}
	var c struct {
		Issuer   string `json:"iss"`
		Subject  string `json:"sub"`
		Audience string `json:"aud"`
	}
	payload, err := jws.Verify(r[i].JWK.Public())
	if err != nil || json.Unmarshal(payload, &c) != nil {
		return "", "", false
	}
	return c.Subject, c.Audience, c.Issuer == issuer && c.Subject != ""
}

// decodePart reads one segment of a compact JWS as the library does: names of another
// case are other names, and one that comes twice is refused. Whoever reads in another way
// checks another text than the library takes.
func decodePart(s string, v any) bool {
	b, err := base64.RawURLEncoding.DecodeString(s)
	return err == nil && json.Unmarshal(b, v) == nil
}

// serveKeys publishes the public keys with the time in which each one signs
// (nbf and exp, as in OpenID Federation 1.0, section 8.7), which verifier/token heeds.
func (p *Provider) serveKeys(w http.ResponseWriter, r *http.Request) {
	var keys []map[string]any
	for _, k := range p.keys.Load().published(p.now()) {
		public, err := k.JWK.Public().MarshalJSON()
		if err != nil {
			http.Error(w, "", http.StatusServiceUnavailable)
			return
		}
		var jwk map[string]any
		if err := json.Unmarshal(public, &jwk); err != nil {
			http.Error(w, "", http.StatusServiceUnavailable)
			return
		}
		if !k.NotBefore.IsZero() {
			jwk["nbf"] = k.NotBefore.Unix()
		}
		if !k.NotAfter.IsZero() {
			jwk["exp"] = k.NotAfter.Unix()
		}
		keys = append(keys, jwk)
	}
	set, err := json.Marshal(map[string]any{"keys": keys})
	if err != nil {
		http.Error(w, "", http.StatusServiceUnavailable)
		return
	}
	jwks := publish("application/json", 5*time.Minute, set)
	jwks.serve(w, r)
}
