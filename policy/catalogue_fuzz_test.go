package policy

import (
	"slices"
	"testing"

	"github.com/penname/penname/escrow/escrowtest/fuzzing"
)

// FuzzCatalogue: whatever stands in a catalogue of offences, a bundle with it is refused or
// means one thing: an offence has its class and no field beyond it, a quorum never falls for
// more pen names, and what it changes is said.
func FuzzCatalogue(f *testing.F) {
	first := newWorld(f, func(b *Bundle) { b.Succeed(nil) }).bundle
	for _, seed := range []string{
		`[{"id":"stalking","title":"Stalking","statute":"s. 4A","max_penalty_months":120,"class":"stalking","authorities":["court"],"fields":["name"],"compartments":[],"no_copy":false,"quorums":[{"targets":20,"quorum":3}]}]`,
		`[{"id":"a","title":"A","statute":"B","class":"child_sexual_abuse","authorities":["court"],"no_copy":true,"quorums":[{"targets":2,"quorum":2},{"targets":1,"quorum":3}]}]`,
		`[{"id":"a","title":"A","statute":"B","class":"none","authorities":[]}]`,
		`[]`, `[{"id":"1994"}]`, `{`,
	} {
		f.Add([]byte(seed))
	}
	fuzzing.Run(f, func(t *testing.T, offences []byte) {
		draft := *first
		draft.raw = nil
		with, _, err := ParseBundleDraft(slices.Concat([]byte(`{"offences":`), offences, []byte(`}`)), offences)
		if err != nil {
			return
		}
		draft.Offences = with.Offences
		raw, err := marshal(draft)
		if err != nil {
			return
		}
		b, err := ParseBundle(raw)
		if err != nil {
			return
		}
		for _, o := range b.Offences {
			class := b.OffenceClass(o.Class)
			if class == nil || !subset(o.Fields, among(class.Fields)) || class.NoCopy && !o.NoCopy {
				t.Fatalf("%+v of %+v", o, class)
			}
			for targets := range 50 {
				if o.quorum(targets, len(b.Custodians)) > o.quorum(targets+1, len(b.Custodians)) {
					t.Fatalf("a quorum falls after %d pen names: %+v", targets, o.Quorums)
				}
			}
		}
		said := func(b *Bundle) []string { return slices.Sorted(slices.Values(b.Lines()[1:])) } // the first is its hash
		if changes := b.Changes(first); slices.Equal(said(b), said(first)) != (len(changes) == 0) {
			t.Fatalf("the changes are %q", changes)
		}
	})
}
