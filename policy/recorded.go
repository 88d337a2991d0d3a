package policy

import (
	"time"

	"github.com/penname/penname/verifier/proof"
)

// RecordedLeaf is the public log's leaf of a warrant: coarse facets of it, and
// commitments to the compact JWS raw and to each target. The registrar appends
// it and custodians compute it again, so that they cannot disagree about a word.
// bundle is the hash it was decided under, quorum that of the decision, day that
// of the leaf (proof.Day). Leaves of the first release do not say the quorum:
// for those it is 0, see [Bundle.LeafQuorum].
func RecordedLeaf(raw string, w *Warrant, salt [32]byte, bundle string, quorum int, day string) proof.Leaf {
	f := proof.Facets{
		Jurisdiction: w.Jurisdiction, OffenceClass: w.OffenceClass, WarrantKind: w.Kind,
		Bundle: bundle, Salt: salt, Warrant: raw,
	}
	if KindOf(w.Kind).Decided {
		f.Quorum = quorum
	}
	if KindOf(w.Kind).Clock != ClockNone {
		f.SecrecyEnds = w.Secrecy.Ends
	}
	for _, t := range w.Targets {
		if !KindOf(w.Kind).Targets {
			break // they are the earlier warrant's, which the leaf names by their place there
		}
		f.Targets = append(f.Targets, proof.Target{Pseudonym: string(t.Pseudonym), Platform: t.Platform})
	}
	return proof.RecordedLeaf(time.Time{}, f).On(day)
}

// LeafQuorum is the quorum that the recorded leaf of a case under b must say,
// given that of the decision and what the leaf says. Leaves under bundles of
// version 1 may say none.
func (b *Bundle) LeafQuorum(decided, said int) int {
	if b.Version == 1 && said == 0 {
		return 0
	}
	return decided
}
