package policy

import (
	cedar "github.com/cedar-policy/cedar-go"

	"github.com/penname/penname/verifier/document"
)

// request puts a warrant into the words of rules/vocabulary.cedarschema.
func (o *order) request(validated bool) (cedar.Request, cedar.EntityMap) {
	principal, resource := o.principal(), o.resource()
	entities := cedar.EntityMap{principal.UID: principal, resource.UID: resource}
	for uid, action := range words().Actions { // with their groups, for "action in"
		entities[uid] = action.Entity
	}
	return cedar.Request{Principal: principal.UID, Action: cedar.NewEntityUID("Action", cedar.String(o.Kind)), Resource: resource.UID, Context: o.context(validated)}, entities
}

func (o *order) principal() cedar.Entity {
	a := o.authority
	return cedar.Entity{
		UID: cedar.NewEntityUID("Authority", cedar.String(a.ID)),
		Attributes: cedar.NewRecord(cedar.RecordMap{
			"name":             cedar.String(document.Fold(a.Name)),
			"organisation":     cedar.String(o.b.organisationOf(*a)),
			"kind":             cedar.String(a.Kind),
			"jurisdiction":     cedar.String(a.Jurisdiction),
			"offence_classes":  set(a.OffenceClasses),
			"needs_validation": cedar.Boolean(len(a.ValidatedBy) > 0),
		}),
	}
}

func (o *order) resource() cedar.Entity {
	class, fields := o.class, []string(nil)
	if class == nil {
		class = &OffenceClass{}
	}
	if fields = class.Fields; o.offence != nil {
		fields = o.offence.Fields
	}
	return cedar.Entity{
		UID: cedar.NewEntityUID("Offence", cedar.String(o.OffenceClass)),
		Attributes: cedar.NewRecord(cedar.RecordMap{
			"listed":             cedar.Boolean(o.class != nil),
			"speech":             cedar.Boolean(class.Speech),
			"emergency":          cedar.Boolean(class.Emergency),
			"notice_first":       cedar.Boolean(class.NoticeFirst),
			"min_penalty_months": cedar.Long(class.MinPenaltyMonths),
			"fields":             set(fields),
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
		"secrecy_days":          cedar.Long(o.b.secrecyDays(o.Warrant)),
		"requester": cedar.NewRecord(cedar.RecordMap{
			"name":            cedar.String(document.Fold(o.Requester.Name)),
			"organisation":    cedar.String(document.Fold(o.Requester.Organisation)),
			"organisation_id": cedar.String(o.b.requesterOf(o.Requester)),
		}),
		"custodians": set(o.b.names),
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
