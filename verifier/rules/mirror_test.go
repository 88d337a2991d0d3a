package rules

import (
	"context"
	"errors"
	"testing"

	"github.com/penname/penname/policy"
	"github.com/penname/penname/verifier/proof"
)

// Endorsements that somebody left out or changed on their way are asked for again, until they
// verify; what cannot be mended so is not, and an answer that is no better changes nothing.
func TestMirrorAsksAgainForEndorsements(t *testing.T) {
	w := newWorld(t)
	first := w.bundle(nil, nil)
	second := w.bundle(first, nil)
	w.log(first, second)
	log, err := second.TrustedLog()
	check(t, err)
	dir := t.TempDir()
	fetch := w.fetch
	mirror := func(what string, asks int) {
		t.Helper()
		_, err := log.Mirror(t.Context(), w.served(), dir, nil)
		check(t, err)
		w.fetched = nil
		check(t, Mirror(t.Context(), dir, log, fetch, nil))
		if len(w.fetched) != asks {
			t.Errorf("%s: %d bundles were asked for, want %d", what, len(w.fetched), asks)
		}
	}
	audit := func(what string, want error) {
		t.Helper()
		nobody := func(context.Context, string) ([]byte, []string, error) {
			t.Errorf("%s: the mirror lacks a bundle", what)
			return nil, nil, ErrUnavailable
		}
		r, err := log.Audit(t.Context(), w.served(), proof.AuditOptions{At: noon, Rules: NewBundles(FromMirror(dir, nobody)).Audit(t.Context())})
		if !errors.Is(err, want) {
			t.Errorf("%s: %v %v", what, err, r.Findings)
		}
	}
	whole := map[string][]string{first.Hash(): w.endorsements[first.Hash()], second.Hash(): w.endorsements[second.Hash()]}
	w.endorsements[first.Hash()] = nil
	w.endorsements[second.Hash()] = []string{whole[second.Hash()][0], whole[second.Hash()][1] + "x"}
	mirror("at first", 2)
	audit("none, and one that was changed", proof.ErrIncomplete)
	mirror("still", 2)
	fetch = func(ctx context.Context, hash string) ([]byte, []string, error) {
		w.fetch(ctx, hash) //nolint:errcheck // it is noted
		return nil, nil, errors.New("the server is away")
	}
	mirror("the server is away", 2)
	audit("what is there stays", proof.ErrIncomplete)
	fetch = w.fetch
	w.endorsements[second.Hash()] = whole[second.Hash()]
	mirror("those of the second are back", 2)
	w.endorsements[first.Hash()], w.endorsements[second.Hash()] = whole[first.Hash()], nil
	mirror("those of the first are back, and those of the second are kept", 1)
	audit("all are there", nil)
	w.endorsements[first.Hash()] = nil
	mirror("nothing is lacking", 0)
	audit("nothing was lost", nil)
	w.log(w.bundle(second, func(b *policy.Bundle) { b.Number++ }))
	mirror("one in a wrong place", 1)
	mirror("which no endorsement mends", 0)
	audit("it is found", proof.ErrAudit)
}
