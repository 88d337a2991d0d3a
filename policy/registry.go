package policy

import (
	"encoding/json"
	"net/url"
	"time"

	"github.com/penname/penname/verifier/document"
)

// Registry says who signs the records of platforms, and how long what they register
// is in the public log before evidence is built on it.
type Registry struct {
	// Keys is a JWKS of registry keys, with every one whose records are the newest of
	// a platform. The members nbf and exp of a key bound the days of leaves that it
	// vouches for.
	Keys json.RawMessage `json:"keys"`
	// WaitingDays is for how many days evidence under a new key does not count, 1 to
	// 90: it counts from so many days after the day of the leaf on. 0 is for a sandbox,
	// whose registrar is this machine.
	WaitingDays int `json:"waiting_days"`
}

const maxWaitingDays = 90

func (b *Bundle) compileRegistry(owners keyOwners) error {
	if b.Registry == nil {
		return nil
	}
	if days := b.Registry.WaitingDays; days < 0 || days > maxWaitingDays || days == 0 && !b.onThisMachine() {
		return ErrBundleRegistry
	}
	set, err := owners.addSet(b.Registry.Keys, "")
	if err != nil {
		return about("registry", b.Registrar, err)
	}
	b.registry = set.Keys
	return nil
}

// onThisMachine reports whether the bundle is that of a sandbox.
func (b *Bundle) onThisMachine() bool {
	u, err := url.Parse(b.Registrar)
	return err == nil && document.Localhost(u.Hostname())
}

// VerifyPlatform reads a signed record and checks that a registry key of b signed it,
// which vouched on day, that of the record's leaf (today for one that has none yet).
// It is [ErrNoRegistry], [ErrPlatformSignature], or as [ParsePlatform] refuses.
func (b *Bundle) VerifyPlatform(signed string, day time.Time) (*PlatformRecord, error) {
	d, r, err := openPlatform(platformFormat, signed)
	switch {
	case err != nil:
		return nil, err
	case b.Registry == nil:
		return nil, ErrNoRegistry
	}
	key, err := b.registry.Find(d)
	if err != nil {
		return nil, ErrPlatformSignature.Because(err)
	}
	if err := d.Verify(key.Public); err != nil {
		return nil, err
	}
	begin := day.UTC().Truncate(24 * time.Hour)
	if end := begin.AddDate(0, 0, 1).Add(-time.Second); !key.InForce(begin) && !key.InForce(end) {
		return nil, ErrPlatformSignature
	}
	return r, nil
}
