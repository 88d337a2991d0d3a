package postgres

import (
	"encoding/hex"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/penname/penname/escrow/disclose"
	"github.com/penname/penname/escrow/escrowtest"
	"github.com/penname/penname/escrow/exhibit/exhibittest"
	"github.com/penname/penname/policy"
	"github.com/penname/penname/verifier/opening"
)

// M2: of five targets one was erased and one is damaged when the warrant is filed, and one is
// damaged when it is released. Each is refused alone, with its code, and the others are released.
func TestFoundM2WhatCannotBeOpenedIsRefusedAlone(t *testing.T) {
	v := escrowtest.Vault(t)
	wrap, keys := v.Sides(t)
	admin := database(t)
	s, d, ctx := issuing(t, admin, Options{}), disclosing(t, admin, Options{}), t.Context()
	w := newCourt(t, func(b *policy.Bundle) {
		exhibittest.Name(b)
		b.OffenceClasses, b.Offences = policy.DefaultOffenceClasses(), policy.DefaultOffences()
		b.Organisations = []policy.Organisation{{ID: "police", Name: "Police"}}
		b.Succeed(nil)
	})
	r := largeRegistrar(d, keys, w)
	if err := r.Rules.Install(ctx, w.raw, w.endorsements); err != nil {
		t.Fatal(err, cause(err))
	}
	sub, labels := w.warrant(t, s, wrap, "T20260001", 5, func(o *policy.Warrant) {
		o.OffenceID, o.Requester.OrganisationID = "threat_of_rape", "police"
	})
	const past = `SET session_replication_role = replica; UPDATE records SET `
	const damaged = `sealed = set_byte(sealed, 40, get_byte(sealed, 40) # 1) WHERE label = '`
	sql(t, admin, past+`erased = '2026-11-21', first_half = '', second_half = '', sealed = '' WHERE label = '`+labels[1]+`'`)
	sql(t, admin, past+damaged+labels[2]+`'`)
	c, decision, err := r.File(ctx, sub)
	if err != nil {
		t.Fatal(err, cause(err))
	}
	stand := func(want ...string) {
		t.Helper()
		c, err := d.Cases.Case(ctx, c.ID)
		var have []string
		for _, target := range c.Targets {
			have = append(have, strings.TrimSpace(string(target.State)+" "+target.Code))
		}
		if err != nil || !slices.Equal(have, want) {
			t.Errorf("%q, %v", have, err)
		}
	}
	erased, broken := "refused "+disclose.ErrDataErased.Code, "refused "+disclose.ErrCommitment.Code
	stand("waiting", erased, broken, "waiting", "waiting")
	for i, want := range []error{nil, disclose.ErrDataErased, disclose.ErrCommitment, nil, nil} {
		if have := decision.Targets[i].Refusal; (have != nil) != (want != nil) || want != nil && !errors.Is(have, want) {
			t.Errorf("the court is told of target %d: %v", i, have)
		}
	}
	for _, k := range w.custodians[:2] {
		a := opening.Approval{Case: c.ID, Custodian: k.KeyID, WarrantHash: hex.EncodeToString(c.WarrantHash[:]), Bundle: c.Bundle, LeafIndex: c.RecordedLeaf,
			CheckpointSize: c.RecordedLeaf + 1, Decision: opening.Approve, At: w.now, Questions: []string{"Does this post show this offence?"}}
		for _, i := range []int{0, 3, 4} {
			a.Answers = append(a.Answers, opening.Answer{Target: i, Says: []string{opening.Yes}, Vote: opening.Approve})
			a.Shares = append(a.Shares, opening.EncryptedShare{Target: i, Ciphertext: random(300)})
		}
		signed, err := opening.SignApproval(k, a)
		if err != nil {
			t.Fatal(err, cause(err))
		}
		if k.KeyID == w.custodians[1].KeyID {
			sql(t, admin, past+damaged+labels[3]+`'`) // while the last custodian reads
		}
		if c, err = r.Decide(ctx, c.ID, signed); err != nil {
			t.Fatal(err, cause(err))
		}
	}
	stand("released", erased, broken, broken, "released")
	raw, err := d.Cases.Package(ctx, c.ID, 0)
	var p opening.Package
	if err := errors.Join(err, json.Unmarshal(raw, &p)); err != nil || len(p.Targets) != 2 || p.Targets[0].Label != labels[0] || p.Targets[1].Index != 4 || p.Targets[1].Label != labels[4] {
		t.Errorf("%v: %+v", err, p.Targets)
	}
	if sealed, err := r.Deliver(ctx, c.ID); err != nil || len(sealed) == 0 {
		t.Error(err, cause(err))
	}
	consistent(t, d)
}

// Rules of a format before 5 know the kind extension, and no hold was extended under them.
func TestNoExtensionUnderOldRules(t *testing.T) {
	wrap, keys := escrowtest.Vault(t).Sides(t)
	admin := database(t)
	s, d := issuing(t, admin, Options{}), disclosing(t, admin, Options{})
	w := newCourt(t)
	r := largeRegistrar(d, keys, w)
	if err := r.Rules.Install(t.Context(), w.raw, w.endorsements); err != nil {
		t.Fatal(err, cause(err))
	}
	sub, _ := w.warrant(t, s, wrap, "T20260001", 1, func(o *policy.Warrant) {
		o.Kind, o.Earlier, o.Fields, o.Requester = policy.Extension, strings.Repeat("ab", 32), nil, policy.Requester{}
	})
	_, _, err := r.File(t.Context(), sub)
	wantErr(t, "an extension", err, disclose.ErrKindNotServed)
}
