package policy

import (
	"errors"
	"time"

	"github.com/go-jose/go-jose/v4"
)

// endorsement says that a custodian stands behind a bundle.
type endorsement struct {
	At        time.Time `json:"at"`
	Bundle    string    `json:"bundle"`
	Custodian string    `json:"custodian"`
}

func (e *endorsement) normalise() { e.At = seconds(e.At) }

// SignEndorsement returns a custodian's JWS over the hex hash of a bundle. The
// hash covers the bundle's place in its log.
func SignEndorsement(key jose.JSONWebKey, custodianID, bundleHash string, at time.Time) (string, error) {
	if !idPattern.MatchString(custodianID) || !hashPattern.MatchString(bundleHash) || !plausible(at) {
		return "", ErrBadEndorsement
	}
	payload, err := marshal(endorsement{at, bundleHash, custodianID})
	if err != nil {
		return "", ErrBadEndorsement.Because(errors.New("cannot be encoded"))
	}
	return endorsementFormat.Sign(key, payload)
}

// endorses counts custodians, not signatures; custodians are distinct
// organisations with distinct keys (compile). One endorsement that is not over
// this hash by a custodian of b spoils the list, so nothing odd rides along.
func (b *Bundle) endorses(hash string, endorsements []string) error {
	seen := make(map[string]bool)
	for _, raw := range endorsements {
		signed, said, err := open[endorsement](endorsementFormat, raw)
		if err != nil {
			return err
		}
		if err := b.VerifyCustodian(signed, said.Custodian, ErrBadEndorsement); err != nil {
			return err
		}
		if hash == "" || said.Bundle != hash || !plausible(said.At) {
			return ErrBadEndorsement
		}
		seen[said.Custodian] = true
	}
	if b.Threshold < 2 || len(seen) < b.Threshold {
		return ErrNotEndorsed
	}
	return nil
}
