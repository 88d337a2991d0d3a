package token

import (
	"context"
	"errors"

	"github.com/penname/penname/verifier/document"
)

// KeySet is a parsed JWK Set (RFC 7517, section 5) of public keys. It is
// immutable and safe for concurrent use.
type KeySet struct {
	Keys    document.KeySet                        // not to be changed
	refresh func(context.Context) (*KeySet, error) // set by HTTPKeySource
}

// ParseKeySet reads a JWK Set as [document.ParseKeySet] does. It refuses it with
// [ErrBadKeySet], [ErrBadKey], [ErrWeakKey] or [ErrAlgKeyMismatch].
func ParseKeySet(jwks []byte) (*KeySet, error) {
	keys, err := document.ParseKeySet(jwks)
	if err != nil {
		return nil, idFormat.Refuse(err)
	}
	return &KeySet{Keys: keys}, nil
}

// static is s without refresh, and an empty set for nil.
func (s *KeySet) static() *KeySet {
	if s == nil {
		return &KeySet{}
	}
	return &KeySet{Keys: s.Keys}
}

// Named returns the key with that kid; the only one, for an empty kid. Where s came from
// is asked once more if s has none, as often as that source allows. It fails with
// document.UnknownKey, and as the source does.
func (s *KeySet) Named(ctx context.Context, kid string) (*document.Key, error) {
	find := func(keys document.KeySet) *document.Key {
		for i := range keys {
			if keys[i].KeyID == kid || kid == "" && len(keys) == 1 {
				return &keys[i]
			}
		}
		return nil
	}
	k := find(s.Keys)
	if k == nil && s.refresh != nil {
		fresh, err := s.refresh(ctx)
		if err != nil {
			return nil, err
		}
		k = find(fresh.Keys)
	}
	if k == nil {
		return nil, document.UnknownKey
	}
	return k, nil
}

// verify checks the signature of d with the key of s that it names, refreshing s
// once when it does not know the kid.
func (s *KeySet) verify(ctx context.Context, f *document.Format, d *document.Signed) (*document.Key, error) {
	k, err := s.Keys.Find(d)
	if errors.Is(err, document.UnknownKey) && s.refresh != nil {
		fresh, refreshErr := s.refresh(ctx)
		if refreshErr != nil {
			return nil, ErrKeysUnavailable.Because(refreshErr)
		}
		k, err = fresh.Keys.Find(d)
	}
	if err != nil {
		return nil, f.Refuse(err)
	}
	if err := d.Verify(k.Public); err != nil {
		return nil, err
	}
	return k, nil
}
