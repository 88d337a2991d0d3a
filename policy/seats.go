package policy

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/penname/penname/verifier/document"
	"github.com/penname/penname/verifier/refusal"
)

// Alternate steps in for a custodian who is recused or away. They hold the custodian's own
// share, so whichever of the two answers, it is one answer: [Custodian.ID] counts, once.
type Alternate struct {
	ID             string          `json:"id"`
	Name           string          `json:"name"`
	Organisation   string          `json:"organisation"`
	Key            json.RawMessage `json:"key"`       // public JWK that signs approvals
	Recipient      string          `json:"recipient"` // age recipient, as [Custodian].Recipient; the share is handed over to it
	OrganisationID string          `json:"organisation_id,omitempty"`
}

// maxAlternates is of one custodian: each is one more who can lose the share.
const maxAlternates = 4

// seated is who holds a key that signs approvals.
type seated struct {
	custodian, alternate string
	key                  *document.Key
}

// Alternate returns the alternate with this id of a custodian, or nil.
func (c *Custodian) Alternate(id string) *Alternate {
	return find(c.Alternates, func(a *Alternate) bool { return a.ID == id })
}

// Seated returns the custodian whose seat somebody with this id has: their own, or as an
// alternate; nil if there is none.
func (b *Bundle) Seated(id string) *Custodian {
	return find(b.Custodians, func(c *Custodian) bool { return c.ID == id || c.Alternate(id) != nil })
}

// compileAlternates: an alternate is somebody of their own, and decides nothing that they
// asked for or signed themselves.
func (b *Bundle) compileAlternates(owners keyOwners) error {
	b.alternates = make(map[string]seated)
	for _, c := range b.Custodians {
		if len(c.Alternates) > maxAlternates {
			return about("custodian", c.ID, ErrBundleAlternates.Because(fmt.Errorf("more than %d alternates", maxAlternates)))
		}
		for _, a := range c.Alternates {
			if err := b.compileAlternate(c, a, owners); err != nil {
				return about("alternate", a.ID, err)
			}
		}
	}
	return nil
}

func (b *Bundle) compileAlternate(c Custodian, a Alternate, owners keyOwners) error {
	_, dup := b.alternates[a.ID]
	if _, taken := b.custodians[a.ID]; dup || taken || !word(a.ID) || !named(a.ID, a.Name, a.Organisation) {
		return ErrBundleNames
	}
	taken := func(body string) bool { return body == a.OrganisationID }
	switch {
	case !b.organisations[a.OrganisationID]:
		return ErrBundleOrganisation
	case slices.ContainsFunc(b.Authorities, func(o Authority) bool { return taken(b.organisationOf(o)) }),
		slices.ContainsFunc(b.Custodians, func(o Custodian) bool { return o.ID != c.ID && taken(b.bodyOf(o)) }):
		return ErrBundleAlternates.Because(errors.New("the organisation is that of an authority, or of another custodian"))
	case slices.ContainsFunc(b.Custodians, func(o Custodian) bool {
		return o.ID != c.ID && slices.ContainsFunc(o.Alternates, func(other Alternate) bool { return taken(other.OrganisationID) })
	}): // or one body could answer in many seats
		return ErrBundleAlternates.Because(errors.New("the organisation is that of an alternate of another custodian"))
	}
	key, err := document.ParseSigner(a.Key)
	if err != nil {
		return ErrBundleKey.Because(err)
	}
	if err := owners.add(key, ""); err != nil {
		return err
	}
	recipient, err := document.ParseRecipient(a.Recipient)
	if err != nil || b.recipients[recipient] {
		return ErrBundleRecipient
	}
	b.recipients[recipient] = true
	b.alternates[a.ID] = seated{c.ID, a.ID, key}
	b.names = append(b.names, document.Fold(a.Name), document.Fold(a.Organisation))
	return nil
}

// VerifySeat is [Bundle.VerifyCustodian] where an alternate of the custodian may have signed:
// alternate is their id, "" where the custodian did.
func (b *Bundle) VerifySeat(signed *document.Signed, custodian, alternate string, unknown *refusal.Error) error {
	if alternate == "" {
		return b.VerifyCustodian(signed, custodian, unknown)
	}
	s, ok := b.alternates[alternate]
	if !ok || s.custodian != custodian || s.key.KeyID != signed.KeyID {
		return unknown
	}
	return signed.Verify(s.key.Public)
}

// SeatOfKey returns who has the signing key with that RFC 7638 thumbprint (SHA-256,
// base64url): a custodian, and which alternate of theirs, "" for none. Both are "" for
// nobody's.
func (b *Bundle) SeatOfKey(thumbprint string) (custodian, alternate string) {
	for id, key := range b.custodians {
		if print, err := key.Thumbprint(); err == nil && print == thumbprint {
			return id, ""
		}
	}
	for _, s := range b.alternates {
		if print, err := s.key.Thumbprint(); err == nil && print == thumbprint {
			return s.custodian, s.alternate
		}
	}
	return "", ""
}

// Required is what must be among the custodians who approve, beside their number. The
// threshold is enforced by cryptography; this is checked by each custodian, by the registrar
// before it opens its half, by the requester, and by an audit.
type Required struct {
	OffenceClasses []string `json:"offence_classes,omitempty"` // ids: about which it holds; with no class and no offence it holds for every case
	Offences       []string `json:"offences,omitempty"`        // ids in the catalogue
	Role           string   `json:"role,omitempty"`            // of which at least one must be
	Organisations  int      `json:"organisations,omitempty"`   // of so many different ones they must be
}

// String is for a person: "a judge", "3 organisations".
func (r Required) String() string {
	if r.Role == "" {
		return fmt.Sprintf("%d organisations", r.Organisations)
	}
	said := "somebody of the role " + r.Role
	if r.Organisations > 0 {
		said += fmt.Sprintf(", and %d organisations", r.Organisations)
	}
	return said
}

// MetBy reports whether those custodians of the bundles in seats have what is required.
func (r Required) MetBy(seats []Custodian) bool {
	bodies := make(map[string]bool)
	for _, c := range seats {
		bodies[c.OrganisationID] = true
	}
	return len(bodies) >= r.Organisations && (r.Role == "" || slices.ContainsFunc(seats, func(c Custodian) bool { return c.Role == r.Role }))
}

// RequiredFor are the requirements of a case about that offence and class.
func (b *Bundle) RequiredFor(class, offence string) (all []Required) {
	for _, r := range b.Required {
		if len(r.OffenceClasses)+len(r.Offences) == 0 || slices.Contains(r.OffenceClasses, class) || slices.Contains(r.Offences, offence) {
			all = append(all, r)
		}
	}
	return all
}

// Unmet are those of the requirements that no seats meet.
func Unmet(all []Required, seats []Custodian) (unmet []Required) {
	for _, r := range all {
		if !r.MetBy(seats) {
			unmet = append(unmet, r)
		}
	}
	return unmet
}

// checkRequired: what is required can be met.
func (b *Bundle) checkRequired() error {
	for _, c := range b.Custodians {
		if c.Role != "" && !word(c.Role) {
			return about("custodian", c.ID, ErrBundleRequired.Because(errors.New("the role is no lower-case word")))
		}
	}
	for i, r := range b.Required {
		var why error
		switch {
		case r.Role == "" && r.Organisations == 0, r.Organisations < 0:
			why = errors.New("name a role, or a number of organisations")
		case slices.ContainsFunc(r.OffenceClasses, func(id string) bool { return b.OffenceClass(id) == nil }), !distinctWords(r.OffenceClasses),
			slices.ContainsFunc(r.Offences, func(id string) bool { return b.Offence(id) == nil }), !distinctWords(r.Offences):
			why = errors.New("offence_classes and offences are ids of this bundle, each once")
		case !r.MetBy(b.Custodians):
			why = errors.New("all custodians together do not meet it")
		}
		if why != nil {
			return ErrBundleRequired.Because(fmt.Errorf("number %d: %w", i+1, why))
		}
	}
	return nil
}

// Program is a released program as the custodians endorse it.
type Program struct {
	Name     string `json:"name"`     // "escrow", "escrowd"
	Version  string `json:"version"`  // "v1.4.0"
	Platform string `json:"platform"` // operating system and processor, "linux/amd64"
	Digest   string `json:"digest"`   // SHA-256 of the file, hex
}

func (b *Bundle) checkPrograms() error {
	seen := make(map[[3]string]bool)
	for _, p := range b.Programs {
		system, processor, two := strings.Cut(p.Platform, "/")
		at := [3]string{p.Name, p.Version, p.Platform}
		if !named(p.Name, p.Version) || !two || !word(system) || !word(processor) || !hashPattern.MatchString(p.Digest) || seen[at] {
			return about("program", p.Name, ErrBundlePrograms)
		}
		seen[at] = true
	}
	return nil
}

// ProgramsOf are the releases of a program for a platform that the bundle names.
func (b *Bundle) ProgramsOf(name, platform string) []Program {
	return slices.DeleteFunc(slices.Clone(b.Programs), func(p Program) bool { return p.Name != name || p.Platform != platform })
}
