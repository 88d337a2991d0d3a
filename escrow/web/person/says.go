package person

import (
	"cmp"
	"html/template"
	"strings"

	"github.com/penname/penname/escrow/web"
	"github.com/penname/penname/verifier/token"
)

// named is a pen name under what its person calls it.
func named(alias string, name token.Pseudonym) template.HTML {
	shown := "<code>" + template.HTMLEscapeString(string(name)) + "</code>"
	if alias != "" {
		shown = "<strong>" + template.HTMLEscapeString(alias) + "</strong>, " + shown
	}
	return template.HTML(shown) //nolint:gosec // it is escaped
}

// fieldTitles are what the fields of an identity are called within a sentence.
var fieldTitles = map[string]string{"name": "name", "birthdate": "date of birth", "address": "postal address", "email": "e-mail address"}

// fieldsIn are fields of an identity in a language.
func fieldsIn(l *web.Language, fields []string) string {
	var all []string
	for _, f := range fields {
		all = append(all, l.Text(cmp.Or(fieldTitles[f], f)))
	}
	return strings.Join(all, ", ")
}

// claimTitles are what claims are called.
var claimTitles = map[string]string{"age_over_16": "Over 16", "age_over_18": "Over 18", "country": "Country", "profession": "Profession", "organisation": "Employer or school"}

// in says a claim with its value.
func (c askedClaim) in(l *web.Language) string {
	switch c.Name {
	case "age_over_16":
		return l.Text("You are over 16")
	case "age_over_18":
		return l.Text("You are over 18")
	case "country":
		return l.Text("Your country: %s", c.Value)
	case "profession":
		return l.Text("Your profession: %s", c.Value)
	}
	return l.Text("Your employer or school: %s", c.Value)
}

// wanted says what the order wants of which a person is told first.
func (n notice) wanted(l *web.Language) template.HTML {
	switch n.Kind {
	case "link":
		return l.HTML("A court wants all your pen names named together")
	case "suspension":
		return l.HTML("A court wants your pen name on %s suspended", n.Name)
	}
	return l.HTML("A court wants your pen name on %s opened", n.Name)
}

// urgent says it with what the person can still do.
func (n notice) urgent(l *web.Language) template.HTML {
	wanted := n.wanted(l)
	switch {
	case n.Held():
		return l.HTML("%s. You objected, and nothing goes on before a court has decided.", wanted)
	case n.First.ObjectBy.IsZero():
		return l.HTML("%s: you have %d days to object.", wanted, n.First.Days)
	case n.Open:
		return l.HTML("%s: object before %s.", wanted, l.OfDay(n.First.ObjectBy))
	}
	return l.HTML("%s. The days to object are over, and the custodians decide.", wanted)
}
