package custodian

import (
	"bytes"
	"errors"
	"io/fs"
	"time"

	"github.com/penname/penname/escrow/seal/ceremony"
	"github.com/penname/penname/escrow/seal/threshold"
	"github.com/penname/penname/policy"
	"github.com/penname/penname/verifier/refusal"
)

// Why a bundle is not endorsed.
var (
	ErrKeyFromNowhere = refusal.New(refusal.Denied, "custodian.key_from_nowhere",
		"the bundle changes the custodians' key and names no ceremony that made it: do not endorse it")
	ErrOtherKey = refusal.New(refusal.Denied, "custodian.other_key",
		"identities that are sealed today would not open under the bundle's key: it must be the key in force, moved by a resharing")
	ErrOtherSeats = refusal.New(refusal.Denied, "custodian.other_seats",
		"the bundle's custodians, threshold or key are not those of its ceremony: somebody else would hold a share, do not endorse it")
	ErrNoTranscript = refusal.New(refusal.NotFound, "custodian.no_transcript",
		"the transcript of the ceremony that the bundle names is not in the folder: fetch it from the registrar and give it with --transcript")
)

// Endorse checks a bundle and signs that the custodian stands behind it, in the
// place that it names: after inForce, which the public log shows to be in force
// ([Custodian.Follow]); another place is [policy.ErrNotNext]. inForce is nil for
// who has not followed the log yet, at the founding or as a new custodian: they
// begin with this bundle. transcript is that of the ceremony which the bundle
// names; nil: the one in the folder. The custodian goes on under the rules in
// force until the log shows newer ones. Not checked: whether the rules are good,
// which takes a person.
func (c *Custodian) Endorse(bundle, transcript []byte, inForce *policy.Bundle, at time.Time) (endorsement string, err error) {
	b, err := policy.ParseBundle(bundle)
	if err != nil {
		return "", err
	}
	switch {
	case inForce == nil && c.Followed:
		return "", policy.ErrNotNext.Because(errors.New("it is not known which one is in force"))
	case inForce != nil && inForce.Hash() != b.Hash():
		if err := b.IsNext(inForce); err != nil {
			return "", err
		}
	}
	if err := c.checkKey(b, transcript); err != nil {
		return "", err
	}
	signed, err := policy.SignEndorsement(c.key, c.ID, b.Hash(), at)
	if err != nil || inForce != nil {
		return signed, err
	}
	return signed, c.trust(b, false)
}

// checkKey looks at the custodians' key in a bundle before it is endorsed: it
// fits the custodians, it comes from the ceremony that the bundle names, that
// ceremony moved the key that is in force, and we hold our share of it.
func (c *Custodian) checkKey(b *policy.Bundle, transcript []byte) error {
	pk, err := threshold.ParsePublicKey(b.ThresholdKey)
	if err != nil {
		return err
	}
	if pk.Threshold() != b.Threshold || pk.N() != len(b.Custodians) {
		return ErrOtherSeats
	}
	before, err := c.rules()
	if err != nil {
		return err
	}
	switch {
	case before != nil && before.ThresholdKey == b.ThresholdKey && before.Ceremony == b.Ceremony:
		// It was checked when we endorsed the bundle before, or by the custodians who did.
	case b.Ceremony != "":
		if err := c.checkCeremony(b, before, transcript); err != nil {
			return err
		}
	case before != nil:
		return ErrKeyFromNowhere
	}
	if b.Custodian(c.ID) != nil {
		_, err := c.folder.share(pk)
		return err
	}
	return nil
}

func (c *Custodian) checkCeremony(b, before *policy.Bundle, transcript []byte) (err error) {
	if transcript == nil {
		transcript, err = c.folder.open(transcriptFile(b.Ceremony))
	}
	if errors.Is(err, fs.ErrNotExist) {
		return ErrNoTranscript
	}
	if err != nil {
		return err
	}
	if ceremony.Hash(transcript) != b.Ceremony {
		return ErrNoTranscript
	}
	plan, key, err := ceremony.Result(transcript)
	if err != nil {
		return err
	}
	if key != b.ThresholdKey || len(plan.Receivers) != len(b.Custodians) {
		return ErrOtherSeats
	}
	for _, s := range plan.Receivers {
		// The one who holds the share signs as the custodian.
		if got := b.Custodian(s.ID); got == nil || got.Index != s.Index || got.Organisation != s.Organisation || !bytes.Equal(got.Key, s.Key) {
			return ErrOtherSeats
		}
	}
	if before == nil {
		return nil
	}
	pk, err := threshold.ParsePublicKey(key)
	if err != nil {
		return err
	}
	old, err := threshold.ParsePublicKey(before.ThresholdKey)
	if err != nil {
		return err
	}
	// A resharing that keeps h takes the knowledge of t old shares: one who
	// invents another sharing of h cannot prove that.
	if !pk.Same(old) || pk.Epoch() < old.Epoch() {
		return ErrOtherKey
	}
	return nil
}
