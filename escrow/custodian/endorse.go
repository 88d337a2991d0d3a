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

// Endorse checks a bundle and signs that the custodian stands behind it. From now
// on they accept cases under it only, and shares that it makes obsolete are
// destroyed. transcript is that of the ceremony which the bundle names; nil: the
// one in the folder. Not checked: whether its rules are good, which takes a
// person.
func (c *Custodian) Endorse(bundle, transcript []byte, at time.Time) (endorsement string, err error) {
	b, err := policy.ParseBundle(bundle)
	if err != nil {
		return "", err
	}
	pk, err := c.checkKey(b, transcript)
	if err != nil {
		return "", err
	}
	signed, err := policy.SignEndorsement(c.key, c.ID, b.Hash(), at)
	if err != nil {
		return "", err
	}
	c.Bundle = b.Hash()
	// A crash between the two is found by their hash, and mended by endorsing
	// again.
	if err := c.folder.put(bundleFile, bundle); err != nil {
		return "", err
	}
	if err := c.save(); err != nil {
		return "", err
	}
	return signed, c.folder.prune(pk)
}

// checkKey looks at the custodians' key in a bundle before it is endorsed: it
// fits the custodians, it comes from the ceremony that the bundle names, that
// ceremony moved the key that is in force, and we hold our share of it. It
// returns the key.
func (c *Custodian) checkKey(b *policy.Bundle, transcript []byte) (threshold.PublicKey, error) {
	pk, err := threshold.ParsePublicKey(b.ThresholdKey)
	if err != nil {
		return pk, err
	}
	if pk.Threshold() != b.Threshold || pk.N() != len(b.Custodians) {
		return pk, ErrOtherSeats
	}
	before, err := c.before()
	if err != nil {
		return pk, err
	}
	switch {
	case before != nil && before.ThresholdKey == b.ThresholdKey && before.Ceremony == b.Ceremony:
		// It was checked when we endorsed the bundle before.
	case b.Ceremony != "":
		if err := c.checkCeremony(b, before, transcript); err != nil {
			return pk, err
		}
	case before != nil:
		return pk, ErrKeyFromNowhere
	}
	if b.Custodian(c.ID) != nil {
		_, err = c.folder.share(pk)
	}
	return pk, err
}

// before is the bundle that we endorsed last, or nil.
func (c *Custodian) before() (*policy.Bundle, error) {
	if c.Bundle == "" {
		return nil, nil
	}
	raw, err := c.folder.open(bundleFile)
	if err != nil {
		return nil, err
	}
	return policy.ParseBundle(raw)
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
