package policy

import (
	"slices"
	"time"

	"github.com/penname/penname/verifier/proof"
)

// RecordedLeaf is the public log's leaf of a warrant: coarse facets of it, and
// commitments to the compact JWS raw and to each target. The registrar appends
// it and custodians compute it again, so that they cannot disagree about a word.
// bundle is the hash it was decided under, quorum that of the decision, when the
// date of the leaf (proof.Leaf.When). Leaves of the first release do not say the quorum:
// for those it is 0, see [Bundle.LeafQuorum]. The facets are those of
// [Decision.RecordedFacets], or of a leaf that is compared (proof.Leaf.Facets): which ones
// a leaf may say is for an audit.
func RecordedLeaf(raw string, w *Warrant, salt [32]byte, bundle string, quorum int, when string, facets ...string) proof.Leaf {
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
	for _, facet := range facets {
		switch {
		case facet == proof.FacetOffence:
			f.Offence = w.OffenceID
		case facet == proof.FacetData:
			f.Data = dataOf(w)
		case facet == proof.FacetValidated:
			f.Validated = w.Kind == Emergency
		case facet == proof.FacetHoldEnds && kind.Holds:
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

// RecordedFacets are what the leaf of a warrant under b may say and need not.
func (b *Bundle) RecordedFacets() []string {
	if b.Version < 5 {
		return nil
	}
	return append([]string{proof.FacetHoldEnds, proof.FacetValidated}, b.LeafFacets...)
}

// RecordedFacets are what the leaf of the warrant says and need not, under the bundle that
// decided.
func (d Decision) RecordedFacets(b *Bundle) []string {
	return slices.DeleteFunc(b.RecordedFacets(), func(f string) bool { return f == proof.FacetValidated && !d.Validated })
}

// dataOf is the category of data that a warrant asks for, or orders to be kept.
func dataOf(w *Warrant) string {
	switch k := KindOf(w.Kind); {
	case w.Kind == Link:
		return proof.DataIdentifying
	case k.Opens, k.Holds:
		return proof.DataSubscriber
	}
	return ""
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
