package identity

import (
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"errors"
	"io"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/json"

	"github.com/penname/penname/verifier/refusal"
)

const (
	maxKeys         = 100
	refetchInterval = time.Minute
	retryInterval   = time.Second   // after an outage
	keysFresh       = time.Hour     // a key that the provider withdrew is accepted for no longer,
	keysKept        = 4 * time.Hour // or for no longer than this while it cannot be asked
)

// allowedAlgs are the asymmetric signatures of RFC 7518 and RFC 8037. What the
// provider does not announce among them is not accepted from it. "none" and
// the HMACs are not here, so our client secret or a public key is never a MAC key.
var allowedAlgs = []jose.SignatureAlgorithm{
	jose.EdDSA, jose.ES256, jose.ES384, jose.ES512, jose.PS256, jose.PS384, jose.PS512, jose.RS256, jose.RS384, jose.RS512,
}

// keySet is the provider's published keys. It stands in for
// go-oidc's remote key set, which fetches again for every bad signature, takes
// any number of keys and tries them all when a token names none.
type keySet struct {
	url    string
	parse  func(body []byte) ([]jose.JSONWebKey, error)
	algs   []jose.SignatureAlgorithm
	client *http.Client
	now    func() time.Time

	fetching  sync.Mutex // held while asking the provider
	mu        sync.Mutex // guards the rest, and is held for no longer than it takes to look
	keys      []jose.JSONWebKey
	fetched   time.Time // when keys were
	refetched time.Time // the last fetch that a token caused
	failed    error     // why the last fetch failed; nil
}

// usable returns the keys that can be believed, or nil: fresh ones and, while the
// provider cannot be asked, those of some hours ago. What it answered wrongly is no
// such hiccup: it may have withdrawn all its keys.
func (s *keySet) usable() []jose.JSONWebKey {
	s.mu.Lock()
	defer s.mu.Unlock()
	if age := s.now().Sub(s.fetched).Abs(); age >= keysKept || age >= keysFresh && !s.outage() {
		return nil
	}
	return s.keys
}

// verify returns the payload and the typ header of a token that a current key
// signed. Nothing but the signature is checked.
func (s *keySet) verify(ctx context.Context, raw string) (payload []byte, typ string, err error) {
	jws, err := jose.ParseSignedCompact(raw, s.algs)
	if err != nil || len(jws.Signatures) != 1 {
		return nil, "", ErrBadSignature
	}
	if t, present := jws.Signatures[0].Protected.ExtraHeaders[jose.HeaderType]; present {
		if typ, _ = t.(string); typ == "" {
			return nil, "", ErrWrongType
		}
	}
	if payload, ok := s.verifyFresh(jws); ok {
		return payload, typ, nil
	}
	// OpenID Connect Core, 10.1.1: an unfamiliar kid means that keys were
	// rotated, and the set is fetched again. One asks at a time: who has a token
	// of a known key was answered above and does not wait.
	s.fetching.Lock()
	defer s.fetching.Unlock()
	if payload, ok := s.verifyFresh(jws); ok { // fetched while we waited
		return payload, typ, nil
	}
	if s.mayRefetch() {
		// One impatient caller must not use up the fetch of all.
		err = s.refetch(context.WithoutCancel(ctx))
	}
	keys := s.usable()
	if keys == nil && err == nil {
		err = ErrUnavailable.Because(errors.New("the key set is too old, and could not be fetched a moment ago"))
	}
	if payload, verr := verifyWith(keys, jws); verr == nil {
		return payload, typ, nil
	} else if err == nil {
		err = verr
	}
	return nil, "", err
}

// refetch is fetch, and remembers why it failed.
func (s *keySet) refetch(ctx context.Context) error {
	err := s.fetch(ctx)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.failed = err
	return err
}

// outage reports whether the last fetch failed because the provider could not be
// asked. It is for who holds mu.
func (s *keySet) outage() bool {
	e := refusal.Of(s.failed)
	return e != nil && e.Kind == refusal.Unavailable
}

// ready returns why the provider cannot be asked, as of a minute ago at most.
func (s *keySet) ready(ctx context.Context) error {
	s.fetching.Lock()
	defer s.fetching.Unlock()
	s.mu.Lock()
	known, err := s.now().Sub(s.fetched).Abs() < refetchInterval, s.failed
	s.mu.Unlock()
	if (err != nil || !known) && s.mayRefetch() {
		err = s.refetch(context.WithoutCancel(ctx))
	}
	return err
}

// verifyFresh verifies with the keys that are known, if it is not time to ask for
// newer ones.
func (s *keySet) verifyFresh(jws *jose.JSONWebSignature) (payload []byte, ok bool) {
	s.mu.Lock()
	keys, fresh := s.keys, s.now().Sub(s.fetched).Abs() < keysFresh
	s.mu.Unlock()
	if !fresh {
		return nil, false
	}
	payload, err := verifyWith(keys, jws)
	return payload, err == nil
}

// mayRefetch reports whether a token may cause a fetch now, and notes it. Anybody
// can send an unfamiliar kid, so it is once in refetchInterval, or soon after an
// outage: that may be over.
func (s *keySet) mayRefetch() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	now, interval := s.now(), refetchInterval
	if s.outage() {
		interval = retryInterval
	}
	if !s.refetched.IsZero() && now.Sub(s.refetched).Abs() < interval {
		return false
	}
	s.refetched = now
	return true
}

// signature is the oidc.KeySet of one call. go-oidc calls it once and loses
// the type of its error, so it keeps what it found.
type signature struct {
	keys    *keySet
	payload []byte
	typ     string
	err     error
}

// VerifySignature implements oidc.KeySet.
func (s *signature) VerifySignature(ctx context.Context, raw string) ([]byte, error) {
	s.payload, s.typ, s.err = s.keys.verify(ctx, raw)
	return s.payload, s.err
}

func verifyWith(keys []jose.JSONWebKey, jws *jose.JSONWebSignature) ([]byte, error) {
	header := jws.Signatures[0].Header
	var candidates []jose.JSONWebKey
	for _, k := range keys {
		if (header.KeyID == "" || header.KeyID == k.KeyID) && fits(k, jose.SignatureAlgorithm(header.Algorithm)) {
			candidates = append(candidates, k)
		}
	}
	// OpenID Connect Core, 10.1: "If there are multiple keys in the referenced
	// JWK Set document, a kid value MUST be provided in the JOSE Header."
	if len(candidates) != 1 {
		return nil, ErrBadSignature
	}
	payload, err := jws.Verify(candidates[0].Key)
	if err != nil {
		return nil, ErrBadSignature
	}
	return payload, nil
}

// fits reports whether k may verify alg: its type, its curve, and what the
// provider says of its use (RFC 7517, 4.2 to 4.4).
func fits(k jose.JSONWebKey, alg jose.SignatureAlgorithm) bool {
	if (k.Use != "" && k.Use != "sig") || (k.Algorithm != "" && k.Algorithm != string(alg)) {
		return false
	}
	switch key := k.Key.(type) {
	case ed25519.PublicKey:
		return alg == jose.EdDSA
	case *ecdsa.PublicKey:
		return (alg == jose.ES256 && key.Params().BitSize == 256) ||
			(alg == jose.ES384 && key.Params().BitSize == 384) ||
			(alg == jose.ES512 && key.Params().BitSize == 521)
	case *rsa.PublicKey:
		rsaAlgs := []jose.SignatureAlgorithm{jose.PS256, jose.PS384, jose.PS512, jose.RS256, jose.RS384, jose.RS512}
		return key.N.BitLen() >= 2048 && key.E >= 3 && slices.Contains(rsaAlgs, alg)
	}
	return false
}

// fetch replaces the keys by what the provider publishes now.
func (s *keySet) fetch(ctx context.Context) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.url, nil)
	if err != nil {
		return ErrSSRFRefused
	}
	resp, err := s.client.Do(req)
	if err != nil {
		return failed(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return ErrUnavailable.Because(errors.New("the key set's status is not 200"))
	}
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return failed(err)
	}
	keys, err := s.parse(body)
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.keys, s.fetched = keys, s.now()
	return nil
}

func parseKeys(body []byte) ([]jose.JSONWebKey, error) {
	var set struct {
		Keys []json.RawMessage `json:"keys"`
	}
	if err := json.Unmarshal(body, &set); err != nil {
		return nil, ErrBadDiscovery.Because(errors.New("the key set is not a JWK set"))
	}
	if len(set.Keys) > maxKeys {
		return nil, ErrTooLarge
	}
	var keys []jose.JSONWebKey
	for _, raw := range set.Keys {
		var k jose.JSONWebKey
		// RFC 7517, 5: keys that are not understood, or out of range, are ignored.
		if err := k.UnmarshalJSON(raw); err != nil {
			continue
		}
		if !k.IsPublic() {
			return nil, ErrBadDiscovery.Because(errors.New("the key set publishes a secret key"))
		}
		keys = append(keys, k)
	}
	if len(keys) == 0 {
		return nil, ErrBadDiscovery.Because(errors.New("the key set holds no usable key"))
	}
	return keys, nil
}
