package policy

import (
	"fmt"
	"slices"
	"strings"

	"github.com/penname/penname/verifier/document"
)

// checkOrganisations: since version 5 each has an id and a name of its own, and every
// authority and custodian is part of one.
func (b *Bundle) checkOrganisations() error {
	if b.Version < 5 {
		return nil // checkUncatalogued wants none
	}
	names := make(map[string]bool)
	b.organisations = make(map[string]bool)
	for _, o := range b.Organisations {
		if b.organisations[o.ID] || !named(o.ID, o.Name) || names[document.Fold(o.Name)] {
			return about("organisation", o.ID, ErrBundleOrganisation)
		}
		b.organisations[o.ID], names[document.Fold(o.Name)] = true, true
	}
	for _, a := range b.Authorities {
		if !b.organisations[a.OrganisationID] {
			return about("authority", a.ID, ErrBundleOrganisation)
		}
	}
	for _, c := range b.Custodians {
		if !b.organisations[c.OrganisationID] {
			return about("custodian", c.ID, ErrBundleOrganisation)
		}
	}
	return nil
}

// checkPowers: who annuls or validates is another authority of the bundle.
func (b *Bundle) checkPowers() error {
	for _, a := range b.Authorities {
		for _, ids := range [][]string{a.Over, a.ValidatedBy} {
			for i, id := range ids {
				if _, known := b.authorities[id]; !known || id == a.ID || slices.Contains(ids[:i], id) {
					return about("authority", a.ID, ErrBundleAuthority.Because(fmt.Errorf("over and validated_by name other authorities, each once, and not %q", id)))
				}
			}
		}
	}
	return nil
}

// organisationOf is what an authority is compared by: the id of its organisation, and
// before version 5 its name.
func (b *Bundle) organisationOf(a Authority) string {
	if b.Version >= 5 {
		return a.OrganisationID
	}
	return document.Fold(a.Name)
}

// bodyOf is what a custodian is compared by, likewise.
func (b *Bundle) bodyOf(c Custodian) string {
	if b.Version >= 5 {
		return c.OrganisationID
	}
	return document.Fold(c.Organisation)
}

// allBodies are what the custodians are compared by: the ids of their organisations, and
// before version 5 their names as well.
func (b *Bundle) allBodies() (all []string) {
	if b.Version < 5 {
		return b.names
	}
	for _, c := range b.Custodians {
		all = append(all, c.OrganisationID)
		for _, a := range c.Alternates {
			all = append(all, a.OrganisationID)
		}
	}
	return all
}

// requesterOf is what a requester is compared by, likewise.
func (b *Bundle) requesterOf(r Requester) string {
	if b.Version >= 5 {
		return r.OrganisationID
	}
	return document.Fold(r.Organisation)
}

// RequesterName is the name of the requester's organisation, as the bundle lists it, whatever
// the warrant calls it. Before version 5 there is no list: it is what the warrant says.
func (b *Bundle) RequesterName(r Requester) string {
	if o := find(b.Organisations, func(o *Organisation) bool { return o.ID == r.OrganisationID }); o != nil {
		return o.Name
	}
	return r.Organisation
}

// addOrganisations gives each authority and custodian of a draft that names none an
// organisation of its own, under its id, unless another has that id.
func (b *Bundle) addOrganisations() {
	b.Organisations, b.Custodians = slices.Clone(b.Organisations), slices.Clone(b.Custodians)
	add := func(of *string, id, name string) {
		known := find(b.Organisations, func(o *Organisation) bool { return o.ID == id })
		switch {
		case *of != "":
		case known == nil:
			b.Organisations = append(b.Organisations, Organisation{id, name})
			*of = id
		case document.Fold(known.Name) == document.Fold(name):
			*of = id
		}
	}
	for i := range b.Authorities {
		add(&b.Authorities[i].OrganisationID, b.Authorities[i].ID, b.Authorities[i].Name)
	}
	for i := range b.Custodians {
		c := &b.Custodians[i]
		add(&c.OrganisationID, c.ID, c.Organisation)
		c.Alternates = slices.Clone(c.Alternates)
		for j := range c.Alternates {
			a := &c.Alternates[j]
			if a.OrganisationID == "" && document.Fold(a.Organisation) == document.Fold(c.Organisation) {
				a.OrganisationID = c.OrganisationID
			}
			add(&a.OrganisationID, a.ID, a.Organisation)
		}
	}
}

// withinGroups are the groups of parts of a state that ISO 3166-2 has codes for.
var withinGroups = map[string][]string{
	"GB-ENG": {"GB-EAW", "GB-GBN", "GB-UKM"}, "GB-WLS": {"GB-EAW", "GB-GBN", "GB-UKM"}, "GB-EAW": {"GB-GBN", "GB-UKM"},
	"GB-SCT": {"GB-GBN", "GB-UKM"}, "GB-GBN": {"GB-UKM"}, "GB-NIR": {"GB-UKM"},
}

// jurisdictionsOver are the codes of all that a jurisdiction lies in, itself first: an
// authority of Great Britain may sign for England, and none of Germany for France.
func jurisdictionsOver(code string) []string {
	all := append([]string{code}, withinGroups[code]...)
	if state, _, part := strings.Cut(code, "-"); part {
		all = append(all, state)
	}
	return all
}
