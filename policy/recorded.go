package policy

import (
	"slices"

	"github.com/penname/penname/verifier/proof"
)

// RecordedLeaf is the public log's leaf of a warrant: coarse facets of it, and
// commitments to the compact JWS raw and to each target. The registrar appends
// it and custodians compute it again, so that they cannot disagree about a word.
// bundle is the hash it was decided under, day that of the leaf (proof.Day).
func RecordedLeaf(raw string, w *Warrant, salt [32]byte, bundle, day string) proof.Leaf {
	l := proof.Leaf{
		Version: 1, Kind: proof.KindRecorded, Day: day,
		Jurisdiction: w.Jurisdiction, OffenceClass: w.OffenceClass, WarrantKind: w.Kind,
		Targets: len(w.Targets), SecrecyEnds: proof.Day(w.Secrecy.Ends), Bundle: bundle,
		Commitment: proof.Commit(salt, "warrant", []byte(raw)), SaltCommitment: proof.Commit(salt, "salt"),
	}
	if w.Kind == Withdrawal {
		l.SecrecyEnds = "" // of the warrant that it ends
	}
	for _, t := range w.Targets {
		l.TargetCommitments = append(l.TargetCommitments,
			proof.Commit(salt, "target", []byte(t.Pseudonym), []byte(t.Platform)))
	}
	slices.Sort(l.TargetCommitments)
	return l
}
