package policy

import (
	"time"

	"github.com/penname/penname/verifier/proof"
)

// RecordedLeaf is the public log's leaf of a warrant: coarse facets of it, and
// commitments to the compact JWS raw and to each target. The registrar appends
// it and custodians compute it again, so that they cannot disagree about a word.
// bundle is the hash it was decided under, quorum that of the decision, when the date
// of the leaf (proof.WarrantKind.When). Leaves of the first release do not say the quorum:
// for those it is 0, see [Bundle.LeafQuorum].
func RecordedLeaf(raw string, w *Warrant, salt [32]byte, bundle string, quorum int, when string) proof.Leaf {
	f := proof.Facets{
		Jurisdiction: w.Jurisdiction, OffenceClass: w.OffenceClass, WarrantKind: w.Kind,
		Bundle: bundle, Salt: salt, Warrant: raw,
	}
	kind := KindOf(w.Kind)
	if kind.Decided {
		f.Quorum = quorum
	}
	if kind.Clock != ClockNone || w.Kind == SecrecyChange {
		f.SecrecyEnds = w.Secrecy.Ends
	}
	if kind.Clock != ClockNone && w.OffenceID != "" { // under a bundle since version 5
		f.Offence, f.Data = w.OffenceID, kind.data()
		if kind.Holds {
			f.HoldEnds = w.Expiry
		}
	}
	for _, t := range w.Targets {
		if !kind.Targets {
			break // they are the earlier warrant's, which the leaf names by their place there
		}
		f.Targets = append(f.Targets, proof.Target{Pseudonym: string(t.Pseudonym), Platform: t.Platform})
	}
	return proof.RecordedLeaf(time.Time{}, f).On(when)
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

// data is the category of what a kind hands over, in the terms of Regulation (EU)
// 2023/1543, Art. 3(9) and (10); "" if that is nothing.
func (k Kind) data() string {
	switch {
	case k.Opens:
		return proof.DataSubscriber
	case k.Answered:
		return proof.DataIdentifying
	}
	return ""
}
