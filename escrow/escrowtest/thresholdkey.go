package escrowtest

import (
	"crypto/rand"

	"github.com/penname/penname/escrow/seal/threshold"
)

// ThresholdKey makes a t-of-n key as its custodians would, with all of them in
// this process, and returns every share.
func ThresholdKey(t, n int) (pk threshold.PublicKey, shares []threshold.KeyShare, err error) {
	plan := threshold.Plan{Threshold: t}
	rand.Read(plan.Nonce[:])
	keys := make([]threshold.CeremonyKey, n)
	for i := range keys {
		if keys[i], err = threshold.GenerateCeremonyKey(rand.Reader); err != nil {
			return pk, nil, err
		}
		plan.Receivers = append(plan.Receivers, keys[i].Public())
	}
	c, err := threshold.NewCeremony(plan)
	if err != nil {
		return pk, nil, err
	}
	for range 3 { // commit, deal, answer
		for _, key := range keys {
			if _, err := c.Next(key, nil); err != nil {
				return pk, nil, err
			}
		}
	}
	if pk, err = c.Result(); err != nil {
		return pk, nil, err
	}
	shares = make([]threshold.KeyShare, n)
	for i, key := range keys {
		if shares[i], err = c.KeyShare(key); err != nil {
			return pk, nil, err
		}
	}
	return pk, shares, nil
}
