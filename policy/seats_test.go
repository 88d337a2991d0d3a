package policy

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/penname/penname/verifier/refusal"
)

// alternate is one of a custodian.
func alternate(t testing.TB, id string, of Custodian) Alternate {
	return Alternate{ID: id, Name: "Stand-in " + id, Organisation: of.Organisation, Key: public(t, key(id)), Recipient: recipient(t, id), OrganisationID: of.OrganisationID}
}

// Who must be among those who approve is what the case is about.
func TestWhoMustBeAmongThem(t *testing.T) {
	w := fifth(t, func(b *Bundle) {
		b.Custodians[0].Role = "judge"
		b.Required = []Required{{OffenceClasses: []string{"stalking"}, Role: "judge"}, {Offences: []string{"threat_to_kill"}, Organisations: 3}, {Organisations: 2}}
	})
	b := w.bundle
	if all := b.RequiredFor("stalking", "stalking"); len(all) != 2 || all[0].Role != "judge" || all[1].Organisations != 2 {
		t.Error(all)
	}
	all := b.RequiredFor("threat_to_life", "threat_to_kill")
	if unmet := Unmet(all, b.Custodians[:2]); len(unmet) != 1 || unmet[0].Organisations != 3 {
		t.Error(unmet)
	}
	if unmet := Unmet(all, []Custodian{b.Custodians[0], b.Custodians[0], b.Custodians[1]}); len(unmet) != 1 {
		t.Error("one who counts twice makes two organisations")
	}
	if unmet := Unmet(b.RequiredFor("stalking", ""), b.Custodians[1:]); len(unmet) != 1 || unmet[0].String() != "somebody of the role judge" {
		t.Error(unmet)
	}
	if found := b.Lint(now); !slices.ContainsFunc(found, func(f Finding) bool { return f.Code == "role_of_one" }) {
		t.Error("nobody is told that one custodian alone can hold up every case", found)
	}
	if r := b.AuditRules(); len(r.Required) != 3 || r.Seats[b.Custodians[0].ID].Role != "judge" || r.Seats[b.Custodians[0].ID].Organisation != b.Custodians[0].OrganisationID {
		t.Error("the audit does not know it", r.Required, r.Seats)
	}
}

// An alternate signs for the custodian whose seat it is, and for no other.
func TestAnAlternateHasTheSeatOfOneCustodian(t *testing.T) {
	w := fifth(t, func(b *Bundle) { b.Custodians[0].Alternates = []Alternate{alternate(t, "aldo", b.Custodians[0])} })
	b, principal, other := w.bundle, w.bundle.Custodians[0], w.bundle.Custodians[1]
	k := key("aldo")
	raw, err := SignEndorsement(k, principal.ID, b.Hash(), now)
	if err != nil {
		t.Fatal(err)
	}
	signed, _, err := open[endorsement](endorsementFormat, raw)
	if err != nil {
		t.Fatal(err)
	}
	if err := b.VerifySeat(signed, principal.ID, "aldo", ErrUnknownCustodian); err != nil {
		t.Error(err)
	}
	for _, as := range [][2]string{{principal.ID, ""}, {other.ID, "aldo"}, {other.ID, ""}, {principal.ID, "nobody"}} {
		if err := b.VerifySeat(signed, as[0], as[1], ErrUnknownCustodian); !errors.Is(err, ErrUnknownCustodian) {
			t.Errorf("%s for %s: %v", as[1], as[0], err)
		}
	}
	if err := b.endorses(b.Hash(), []string{raw}); !errors.Is(err, ErrBadEndorsement) {
		t.Errorf("an alternate endorses rules: %v", err)
	}
	if b.Seated("aldo").ID != principal.ID || b.Seated(other.ID).ID != other.ID || b.Seated("nobody") != nil {
		t.Error("whose seat it is")
	}
	if !slices.Contains(b.Recipients(), principal.Alternates[0].Recipient) || len(b.Recipients()) != len(b.Custodians)+1 {
		t.Error("the alternate cannot read what was said")
	}
}

func TestSeatsRefused(t *testing.T) {
	for name, c := range map[string]struct {
		want   *refusal.Error
		change func(*Bundle)
	}{
		"an alternate with the custodian's key": {ErrBundleSharedKey, func(b *Bundle) { b.Custodians[0].Alternates[0].Key = b.Custodians[0].Key }},
		"an alternate with another's recipient": {ErrBundleRecipient, func(b *Bundle) { b.Custodians[0].Alternates[0].Recipient = b.Custodians[1].Recipient }},
		"an alternate that is a custodian":      {ErrBundleNames, func(b *Bundle) { b.Custodians[0].Alternates[0].ID = b.Custodians[1].ID }},
		"of another custodian's organisation": {ErrBundleAlternates, func(b *Bundle) {
			b.Custodians[0].Alternates[0].OrganisationID = b.Custodians[1].OrganisationID
		}},
		"of an authority": {ErrBundleAlternates, func(b *Bundle) {
			b.Custodians[0].Alternates[0].OrganisationID = b.Authorities[0].OrganisationID
		}},
		"of one organisation in two seats": {ErrBundleAlternates, func(b *Bundle) {
			b.Organisations = append(b.Organisations, Organisation{ID: "agency", Name: "Agency of Stand-Ins"})
			b.Custodians[0].Alternates[0].OrganisationID = "agency"
			b.Custodians[1].Alternates = []Alternate{alternate(t, "bela", b.Custodians[1])}
			b.Custodians[1].Alternates[0].OrganisationID = "agency"
		}},
		"of no organisation": {ErrBundleOrganisation, func(b *Bundle) { b.Custodians[0].Alternates[0].OrganisationID = "nowhere" }},
		"five alternates": {ErrBundleAlternates, func(b *Bundle) {
			for _, id := range []string{"a1", "a2", "a3", "a4"} {
				b.Custodians[0].Alternates = append(b.Custodians[0].Alternates, alternate(t, id, b.Custodians[0]))
			}
		}},
		"a role that nobody has":         {ErrBundleRequired, func(b *Bundle) { b.Required = []Required{{Role: "judge"}} }},
		"nothing required":               {ErrBundleRequired, func(b *Bundle) { b.Required = []Required{{}} }},
		"more organisations than bodies": {ErrBundleRequired, func(b *Bundle) { b.Required = []Required{{Organisations: 99}} }},
		"about no class":                 {ErrBundleRequired, func(b *Bundle) { b.Required = []Required{{Organisations: 1, OffenceClasses: []string{"nothing"}}} }},
		"a program without a digest":     {ErrBundlePrograms, func(b *Bundle) { b.Programs = []Program{{"escrow", "v1", "linux/amd64", "abc"}} }},
		"a release named twice": {ErrBundlePrograms, func(b *Bundle) {
			p := Program{"escrow", "v1", "linux/amd64", strings.Repeat("a", 64)}
			b.Programs = []Program{p, p}
		}},
	} {
		draft := copied(t, fifth(t, func(b *Bundle) { b.Custodians[0].Alternates = []Alternate{alternate(t, "aldo", b.Custodians[0])} }).bundle)
		c.change(draft)
		if _, err := draft.Marshal(); !errors.Is(err, c.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
