package main

import (
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/penname/penname/escrow/escrowtest"
	"github.com/penname/penname/escrow/requester"
	"github.com/penname/penname/escrow/sandbox"
	"github.com/penname/penname/escrow/sandbox/world"
	"github.com/penname/penname/escrow/seal"
	"github.com/penname/penname/escrow/seal/threshold"
	"github.com/penname/penname/verifier/opening"
)

// TestInsidersAfterAWarrant tries, on the material of a real case for the name
// alone, what the requester of an earlier warrant and a dishonest registrar have
// while the service runs: the rows, the key service's half of every record, what
// custodians sent. Alone and together they open what SECURITY.md says and no more.
func TestInsidersAfterAWarrant(t *testing.T) {
	tb := startForTest(t)
	st := filedCase(t, tb)
	for _, custodian := range []string{"alba", "bruno"} {
		if err := st.Approve(t.Context(), custodian); err != nil {
			t.Fatal(err)
		}
	}
	if err := world.NewBrowser().Visit(t.Context(), tb.Town, sandbox.People()[testPeople["neighbour"]].Name); err != nil {
		t.Fatal(err)
	}
	sealed, err := tb.Service.Registrar.Deliver(t.Context(), st.ID)
	if err != nil {
		t.Fatal(err)
	}
	private, err := requester.ReadKey(tb.Path("requester.key"))
	if err != nil {
		t.Fatal(err)
	}
	d, err := requester.Unseal(st.ID, sealed, private)
	if err != nil {
		t.Fatal(err)
	}
	lawful, err := opening.Verify(d, tb.Service.Bundle)
	if err != nil {
		t.Fatal(err)
	}
	one := lawful.Targets[0]
	pk, err := threshold.ParsePublicKey(one.Key)
	if err != nil {
		t.Fatal(err)
	}
	label := one.Sealed.Label
	shares := sharesIn(t, lawful, private)
	if got := slices.Collect(maps.Keys(shares)); !slices.Equal(got, []string{"identity"}) {
		t.Fatalf("custodians released shares of %v for a warrant on the name", got)
	}
	// A registrar without the delivery key has ciphertexts: nobody else's key opens one.
	stranger, err := seal.GenerateDeliveryKey()
	if err != nil {
		t.Fatal(err)
	}
	first := one.Approvals[0].Shares[0]
	if _, err := stranger.Open(seal.ShareInfo(lawful.WarrantHash, label, first.Compartment, one.Approvals[0].Custodian), first.Ciphertext); err == nil {
		t.Error("the registrar reads a share")
	}
	for _, r := range readRecords(t, tb.Postgres.DSN) {
		k1, err := escrowtest.UnwrapHalf(t.Context(), tb.Service.Disclosing.Keys, r.Label, r.FirstHalf)
		if err != nil {
			t.Fatal(err)
		}
		for field := range r.Fields {
			half := seal.FirstHalves(k1, r.Label, []string{field})
			// The registrar alone: every first half, no share.
			if got, err := seal.Open(r, half, pk, nil); err == nil {
				t.Errorf("the registrar alone opens %s: %d fields", field, len(got))
			}
			// Both together, the shares tried on every compartment.
			together := map[string][]threshold.Share{"identity": shares["identity"], "contact": shares["identity"]}
			_, err := seal.Open(r, half, pk, together)
			if opens, may := err == nil, r.Label == label && r.Compartments[field] == "identity"; opens != may {
				t.Errorf("requester and registrar together, %s of another record %t: opens %t", field, r.Label != label, opens)
			}
		}
	}
	// The requester alone has halves of the fields of the warrant, and no other.
	raw, err := private.Open(seal.HalvesInfo(lawful.WarrantHash, label), one.Sealed.Halves)
	if err != nil || strings.Contains(string(raw), "birthdate") || !strings.Contains(string(raw), "name") {
		t.Errorf("halves of other fields than the warrant's: %v", err)
	}
}

// sharesIn are the shares that the requester of a case has, in clear, by compartment.
func sharesIn(t *testing.T, o *opening.Opening, private seal.DeliveryPrivate) map[string][]threshold.Share {
	t.Helper()
	out := make(map[string][]threshold.Share)
	for _, a := range o.Targets[0].Approvals {
		for _, s := range a.Shares {
			raw, err := private.Open(seal.ShareInfo(o.WarrantHash, o.Targets[s.Target].Sealed.Label, s.Compartment, a.Custodian), s.Ciphertext)
			if err != nil {
				t.Fatal(err)
			}
			var share threshold.Share
			if err := share.UnmarshalBinary(raw); err != nil {
				t.Fatal(err)
			}
			out[s.Compartment] = append(out[s.Compartment], share)
		}
	}
	return out
}
