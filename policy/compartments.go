package policy

import "regexp"

// Compartment is a set of fields that custodians release a share for together: a
// share for one opens no field of another, whatever the registrar does later. A
// record keeps the compartments that were in force when it was sealed.
type Compartment struct {
	ID     string   `json:"id"` // a to z and _, at most 32 characters
	Fields []string `json:"fields"`
}

// DefaultCompartments are those of [DefaultFields].
func DefaultCompartments() []Compartment {
	return []Compartment{{"identity", []string{"name", "birthdate"}}, {"contact", []string{"address", "email"}}}
}

var compartmentPattern = regexp.MustCompile(`^[a-z][a-z_]{0,31}$`)

// checkCompartments: each field is in exactly one. A bundle of version 1 names
// none, which is one compartment of all its fields.
func (b *Bundle) checkCompartments() error {
	if len(b.Compartments) == 0 {
		return nil
	}
	var ids, fields []string
	for _, c := range b.Compartments {
		if len(c.Fields) == 0 || !compartmentPattern.MatchString(c.ID) {
			return ErrBundleCompartments
		}
		ids, fields = append(ids, c.ID), append(fields, c.Fields...)
	}
	if !distinctWords(ids) || !distinctWords(fields) || !subset(fields, among(b.Fields)) || !subset(b.Fields, among(fields)) {
		return ErrBundleCompartments
	}
	return nil
}

// FieldsByCompartment is how a record is sealed under b; nil: as one compartment
// (seal.Custodians).
func (b *Bundle) FieldsByCompartment() map[string][]string {
	if len(b.Compartments) == 0 {
		return nil
	}
	by := make(map[string][]string)
	for _, c := range b.Compartments {
		by[c.ID] = c.Fields
	}
	return by
}
