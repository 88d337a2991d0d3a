package service

import (
	"testing"
	"time"

	"github.com/penname/penname/escrow/openid"
)

// TestTheLastTokenKeyOfEachAlgorithm: a key without end of one algorithm signs nothing of
// another, whose last key is warned of.
func TestTheLastTokenKeyOfEachAlgorithm(t *testing.T) {
	ed, other, rsa := newTestKey(t), newTestKey(t), newRSAKey(t)
	soon, later := time.Date(2027, 1, 1, 0, 0, 0, 0, time.UTC), time.Date(2028, 1, 1, 0, 0, 0, 0, time.UTC)
	for name, c := range map[string]struct {
		keys []openid.Key
		ends time.Time // zero: nothing ends
	}{
		"none":                       {},
		"one without end":            {keys: []openid.Key{{JWK: ed}}},
		"the last of two":            {[]openid.Key{{JWK: ed, NotAfter: later}, {JWK: other, NotAfter: soon}}, later},
		"two, one without end":       {keys: []openid.Key{{JWK: ed, NotAfter: soon}, {JWK: other}}},
		"RSA goes on":                {[]openid.Key{{JWK: ed, NotAfter: soon}, {JWK: rsa}}, soon},
		"RSA ends":                   {[]openid.Key{{JWK: ed}, {JWK: rsa, NotAfter: soon}}, soon},
		"both end, RSA is the first": {[]openid.Key{{JWK: ed, NotAfter: later}, {JWK: rsa, NotAfter: soon}}, soon},
	} {
		last := lastTokenKey(c.keys)
		if (last == nil) != c.ends.IsZero() || last != nil && !last.Ends.Equal(c.ends) {
			t.Errorf("%s: %v, want %v", name, last, c.ends)
		}
	}
}
