// Package exhibittest gives bundles of tests what exhibits need.
package exhibittest

import (
	"crypto/sha256"
	"slices"

	"github.com/penname/penname/policy"
	"github.com/penname/penname/verifier/document"
)

// Name gives each custodian of a draft who has no recipient one that is made of their id.
func Name(b *policy.Bundle) {
	for i := range b.Custodians {
		c := &b.Custodians[i]
		if c.Recipient != "" {
			continue
		}
		seed := sha256.Sum256([]byte("exhibits of " + c.ID))
		key, err := document.DeliveryKEM().NewPrivateKey(seed[:])
		if err != nil {
			panic(err) // 32 bytes are a key
		}
		c.Recipient = document.Recipient(key.PublicKey())
	}
}

// Forget makes a draft one that versions of the format before 4 can say too.
func Forget(b *policy.Bundle) {
	ForgetCatalogue(b)
	b.PostSpanHours, b.AppealDays = 0, 0
	for i := range b.Custodians {
		b.Custodians[i].Recipient = ""
	}
	for i := range b.OffenceClasses {
		b.OffenceClasses[i].NoCopy = false
	}
}

// ForgetCatalogue makes a draft one that version 4 of the format can say too.
func ForgetCatalogue(b *policy.Bundle) {
	b.Organisations, b.Offences, b.Remedies = nil, nil, nil
	b.MinSecrecyDays, b.HoldDays, b.ExtensionDays, b.ValidationHours, b.LeafFacets, b.SmallCount = 0, 0, 0, 0, nil, 0
	for i := range b.Authorities {
		a := &b.Authorities[i]
		a.OrganisationID, a.Over, a.ValidatedBy = "", nil, nil
	}
	for i := range b.Custodians {
		b.Custodians[i].OrganisationID = ""
	}
	for i := range b.OffenceClasses {
		if c := &b.OffenceClasses[i]; c.NoticeFirst && c.MinPenaltyMonths == 0 {
			for n := range b.Authorities {
				a := &b.Authorities[n]
				a.OffenceClasses = slices.DeleteFunc(slices.Clone(a.OffenceClasses), func(id string) bool { return id == c.ID })
			}
		}
	}
	b.OffenceClasses = slices.DeleteFunc(b.OffenceClasses, func(c policy.OffenceClass) bool { return c.NoticeFirst && c.MinPenaltyMonths == 0 })
	for i := range b.OffenceClasses {
		b.OffenceClasses[i].NoticeFirst, b.OffenceClasses[i].ShowOrder = false, false
	}
}
