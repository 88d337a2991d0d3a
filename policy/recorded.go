package policy

import (
	"time"

	"github.com/penname/penname/verifier/proof"
)

// RecordedLeaf is the public log's leaf of a warrant: coarse facets of it, and
// commitments to the compact JWS raw and to each target. The registrar appends
// it and custodians compute it again, so that they cannot disagree about a word.
// bundle is the hash it was decided under, day that of the leaf (proof.Day).
func RecordedLeaf(raw string, w *Warrant, salt [32]byte, bundle, day string) proof.Leaf {
	f := proof.Facets{
		Jurisdiction: w.Jurisdiction, OffenceClass: w.OffenceClass, WarrantKind: w.Kind,
		Bundle: bundle, Salt: salt, Warrant: raw,
	}
	if KindOf(w.Kind).Clock != ClockNone {
		f.SecrecyEnds = w.Secrecy.Ends
	}
	for _, t := range w.Targets {
		f.Targets = append(f.Targets, proof.Target{Pseudonym: string(t.Pseudonym), Platform: t.Platform})
	}
	return proof.RecordedLeaf(time.Time{}, f).On(day)
}
