package command

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io/fs"

	"github.com/spf13/cobra"

	"github.com/penname/penname/escrow/seal/threshold"
	"github.com/penname/penname/policy"
	"github.com/penname/penname/verifier/refusal"
)

var (
	errKeyFromNowhere = refusal.New(refusal.Denied, "custodian.key_from_nowhere",
		"the bundle changes the custodians' key and names no ceremony that made it: do not endorse it")
	errKeyOther = refusal.New(refusal.Denied, "custodian.other_key",
		"what is sealed now would not open under the bundle's key: it must be the key in force, moved by a resharing")
	errKeySeats = refusal.New(refusal.Denied, "custodian.other_seats",
		"the bundle's custodians, threshold or key are not those of its ceremony: somebody else would hold a share, do not endorse it")
	errTranscriptFile = refusal.New(refusal.NotFound, "custodian.no_transcript",
		"the transcript of the ceremony that the bundle names is not in the folder: fetch it from the registrar and give it with --transcript")
)

func (p *program) custodianEndorse(home *string) *cobra.Command {
	var transcript string
	c := leaf("endorse BUNDLE", "Endorse a bundle of rules, and from now on accept cases under it only",
		"escrow custodian endorse bundle.json", cobra.ExactArgs(1), func(ctx context.Context, args []string) error {
			c, err := p.openHome(ctx, *home)
			if err != nil {
				return err
			}
			raw, err := p.readFile(args[0])
			if err != nil {
				return err
			}
			b, err := policy.ParseBundle(raw)
			if err != nil {
				return err
			}
			pk, err := p.checkKey(c, b, transcript)
			if err != nil {
				return err
			}
			signed, err := policy.SignEndorsement(c.key, c.ID, b.Hash(), p.Now())
			if err != nil {
				return err
			}
			c.Bundle = b.Hash()
			// A crash between the two is found by their hash, and mended by
			// endorsing again.
			if err := c.put("bundle.json", raw); err != nil {
				return err
			}
			if err := c.save(); err != nil {
				return err
			}
			if err := c.prune(pk); err != nil {
				return err
			}
			return p.print(map[string]string{"endorsement": signed, "bundle": b.Hash()}, signed)
		})
	c.Flags().StringVar(&transcript, "transcript", "", "transcript of the ceremony that the bundle names; default is the one in the folder")
	return c
}

// checkKey looks at the custodians' key in a bundle before it is endorsed: it
// fits the custodians, it comes from the ceremony that the bundle names, that
// ceremony moved the key that is in force, and we hold our share of it. It
// returns the key.
func (p *program) checkKey(c *Custodian, b *policy.Bundle, transcript string) (threshold.PublicKey, error) {
	pk, err := threshold.ParsePublicKey(b.ThresholdKey)
	if err != nil {
		return pk, err
	}
	if pk.Threshold() != b.Threshold || pk.N() != len(b.Custodians) {
		return pk, errKeySeats
	}
	before, err := p.before(c)
	if err != nil {
		return pk, err
	}
	switch {
	case before != nil && before.ThresholdKey == b.ThresholdKey && before.Ceremony == b.Ceremony:
		// It was checked when we endorsed the bundle before.
	case b.Ceremony != "":
		if err := p.checkCeremony(c, b, before, transcript); err != nil {
			return pk, err
		}
	case before != nil:
		return pk, errKeyFromNowhere
	}
	if b.Custodian(c.ID) != nil {
		_, err = c.share(pk)
	}
	return pk, err
}

// before is the bundle that we endorsed last, or nil.
func (p *program) before(c *Custodian) (*policy.Bundle, error) {
	if c.Bundle == "" {
		return nil, nil
	}
	b, err := p.readBundle(c.path("bundle.json"))
	if err != nil {
		return nil, err
	}
	return b, nil
}

func (p *program) checkCeremony(c *Custodian, b, before *policy.Bundle, file string) error {
	if file == "" {
		file = c.path(transcriptFile(b.Ceremony))
	}
	raw, err := p.readFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return errTranscriptFile
	}
	if err != nil {
		return err
	}
	if sum := sha256.Sum256(raw); hex.EncodeToString(sum[:]) != b.Ceremony {
		return errTranscriptFile
	}
	t, err := verifyTranscript(raw)
	if err != nil {
		return err
	}
	pk, err := t.result()
	if err != nil {
		return err
	}
	text, err := pk.MarshalText()
	if err != nil {
		return err
	}
	if string(text) != b.ThresholdKey || len(t.plan.Receivers) != len(b.Custodians) {
		return errKeySeats
	}
	for _, s := range t.plan.Receivers {
		// Who holds the share is who signs as the custodian.
		if got := b.Custodian(s.ID); got == nil || got.Index != s.Index || got.Organisation != s.Organisation || !bytes.Equal(got.Key, s.Key) {
			return errKeySeats
		}
	}
	if before == nil {
		return nil
	}
	old, err := threshold.ParsePublicKey(before.ThresholdKey)
	if err != nil {
		return err
	}
	// A resharing that keeps h takes the knowledge of t old shares: one who
	// invents another sharing of h cannot prove that.
	if !pk.Same(old) || pk.Epoch() < old.Epoch() {
		return errKeyOther
	}
	return nil
}
