package policy

import (
	"cmp"
	"maps"

	cedar "github.com/cedar-policy/cedar-go"

	"github.com/penname/penname/verifier/document"
)

// request puts a warrant into the words of rules/vocabulary.cedarschema.
func (o *order) request(validated bool) (cedar.Request, cedar.EntityMap) {
	entities, class := o.b.entities, cedar.NewEntityUID("Offence", cedar.String(o.OffenceClass))
	if o.class == nil {
		entities = maps.Clone(entities)
		entities[class] = offenceEntity(OffenceClass{ID: o.OffenceClass}, false)
	}
	return cedar.Request{Principal: authorityUID(o.authority), Action: cedar.NewEntityUID("Action", cedar.String(cmp.Or(o.kind.As, o.Kind))), Resource: class, Context: o.context(validated)}, entities
}

// allEntities are those that every request under b can be about.
func (b *Bundle) allEntities() cedar.EntityMap {
	entities := make(cedar.EntityMap)
	for uid, action := range words().Actions { // with their groups, for "action in"
		entities[uid] = action.Entity
	}
	for i := range b.Authorities {
		entities[authorityUID(&b.Authorities[i])] = b.authorityEntity(&b.Authorities[i])
	}
	for _, c := range b.OffenceClasses {
		e := offenceEntity(c, true)
		entities[e.UID] = e
	}
	return entities
}

func authorityUID(a *Authority) cedar.EntityUID {
	return cedar.NewEntityUID("Authority", cedar.String(a.ID))
}

func (b *Bundle) authorityEntity(a *Authority) cedar.Entity {
	return cedar.Entity{
		UID: authorityUID(a),
		Attributes: cedar.NewRecord(cedar.RecordMap{
			"name":             cedar.String(document.Fold(a.Name)),
			"organisation":     cedar.String(b.organisationOf(*a)),
			"kind":             cedar.String(a.Kind),
			"jurisdiction":     cedar.String(a.Jurisdiction),
			"offence_classes":  set(a.OffenceClasses),
			"needs_validation": cedar.Boolean(len(a.ValidatedBy) > 0),
		}),
	}
}

func offenceEntity(class OffenceClass, listed bool) cedar.Entity {
	return cedar.Entity{
		UID: cedar.NewEntityUID("Offence", cedar.String(class.ID)),
		Attributes: cedar.NewRecord(cedar.RecordMap{
			"listed":             cedar.Boolean(listed),
			"speech":             cedar.Boolean(class.Speech),
			"emergency":          cedar.Boolean(class.Emergency),
			"notice_first":       cedar.Boolean(class.NoticeFirst),
			"min_penalty_months": cedar.Long(class.MinPenaltyMonths),
			"fields":             set(class.Fields),
		}),
	}
}

func (o *order) context(validated bool) cedar.Record {
	penalty := o.MaxPenaltyMonths // of which, before version 5, the court's word is all there is
	if o.offence != nil {
		penalty = o.offence.MaxPenaltyMonths
	}
	roles := make([]string, 0, 4)
	for _, t := range o.Targets {
		if t.Role != "" {
			roles = append(roles, t.Role)
		}
	}
	return cedar.NewRecord(cedar.RecordMap{
		"offence_class":         cedar.String(o.OffenceClass),
		"offence":               cedar.String(o.OffenceID),
		"jurisdiction":          cedar.String(o.Jurisdiction),
		"jurisdictions_over":    set(jurisdictionsOver(o.Jurisdiction)),
		"max_penalty_months":    cedar.Long(penalty),
		"stated_penalty_months": cedar.Long(o.MaxPenaltyMonths),
		"deadline":              cedar.String(o.Deadline),
		"fields":                set(o.Fields),
		"flags":                 set(o.Flags),
		"targets":               cedar.Long(len(o.Targets)),
		"roles":                 set(roles),
		"secrecy_days":          cedar.Long(o.secrecyDays()),
		"requester": cedar.NewRecord(cedar.RecordMap{
			"name":            cedar.String(document.Fold(o.Requester.Name)),
			"organisation":    cedar.String(document.Fold(o.Requester.Organisation)),
			"organisation_id": cedar.String(o.b.requesterOf(o.Requester)),
		}),
		"custodians": o.b.bodies,
		"recognises": cedar.Boolean(o.Recognises != nil),
		"validated":  cedar.Boolean(validated),
	})
}

func set(words []string) cedar.Set {
	values := make([]cedar.Value, len(words))
	for i, w := range words {
		values[i] = cedar.String(w)
	}
	return cedar.NewSet(values...)
}
