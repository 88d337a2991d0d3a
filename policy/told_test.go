package policy

import (
	"errors"
	"strings"
	"testing"
)

// A person is told what the order is about, what they can do under its law, and what it says
// only where the law lets it be shown.
func TestToldSaysWhatThePersonMayKnow(t *testing.T) {
	remedies := []Remedy{{Jurisdiction: "GB", What: "Appeal", To: "the appeal court", Days: 21}, {Jurisdiction: "FR", What: "Recours", To: "le tribunal"}, {What: "Complain", To: "the data protection authority"}}
	for _, shown := range []bool{true, false} {
		w := fifth(t, func(b *Bundle) {
			b.Remedies = remedies
			for i := range b.OffenceClasses {
				b.OffenceClasses[i].ShowOrder = shown
			}
		})
		f := w.filing(t)
		d := f.decided(t)
		if !d.Allowed {
			t.Fatal(d.Refusal, cause(d.Refusal))
		}
		told := w.bundle.Told(Submission{Warrant: sign(t, f.by, f.Warrant), Evidence: f.evidence}, d.Warrant, 0)
		if told.Offence == "" || told.Statute == "" || len(told.Posts) == 0 || told.Posts[0].URL == "" || told.Posts[0].At.IsZero() || !told.SecretUntil.Equal(d.Warrant.Secrecy.Ends) {
			t.Errorf("%+v", told)
		}
		if len(told.Remedies) != 2 || told.Remedies[0].What != "Appeal" || told.Remedies[1].What != "Complain" {
			t.Errorf("remedies of another law: %+v", told.Remedies)
		}
		if (told.Order != nil) != shown || shown && (told.Order.Grounds != d.Warrant.Grounds || len(told.Order.SHA256) != 64) {
			t.Errorf("the order: %+v", told.Order)
		}
		if len(told.Objection.Recipients) != len(w.bundle.Custodians)+1 || told.Objection.KeepDays != w.bundle.AppealDays {
			t.Errorf("%+v", told.Objection)
		}
	}
}

func TestRemediesOfABundle(t *testing.T) {
	w := newWorld(t, func(b *Bundle) { b.Succeed(nil) })
	good := Remedy{Jurisdiction: "GB", What: "Appeal", To: "the appeal court", Days: 21, Address: "https://court.example"}
	for name, row := range map[string]struct {
		change func(*Bundle)
		want   error
	}{
		"one":                      {func(b *Bundle) { b.Remedies = []Remedy{good} }, nil},
		"twice":                    {func(b *Bundle) { b.Remedies = []Remedy{good, good} }, ErrBundleRemedy},
		"of no state":              {func(b *Bundle) { b.Remedies = []Remedy{{"England", "Appeal", "a court", 1, ""}} }, ErrBundleRemedy},
		"of any":                   {func(b *Bundle) { b.Remedies = []Remedy{{"", "Appeal", "a court", 0, ""}} }, nil},
		"of nothing":               {func(b *Bundle) { b.Remedies = []Remedy{{"GB", " ", "a court", 1, ""}} }, ErrBundleRemedy},
		"to nobody":                {func(b *Bundle) { b.Remedies = []Remedy{{"GB", "Appeal", "", 1, ""}} }, ErrBundleRemedy},
		"in four years":            {func(b *Bundle) { b.Remedies = []Remedy{{"GB", "Appeal", "a court", 1097, ""}} }, ErrBundleRemedy},
		"what cannot be shown":     {func(b *Bundle) { b.Remedies = []Remedy{{"GB", "Appeal\u202e", "a court", 1, ""}} }, ErrBundleRemedy},
		"too long":                 {func(b *Bundle) { b.Remedies = []Remedy{{"GB", strings.Repeat("a", 301), "a court", 1, ""}} }, ErrBundleRemedy},
		"too many":                 {func(b *Bundle) { b.Remedies = make([]Remedy, 65) }, ErrBundleRemedy},
		"in an older format":       {func(b *Bundle) { b.Version = 4; b.Remedies = []Remedy{good} }, ErrBundleMalformed},
		"an order in an older one": {func(b *Bundle) { b.Version = 4; b.OffenceClasses[0].ShowOrder = true }, ErrBundleMalformed},
	} {
		draft := w.draft(t)
		draft.Succeed(nil)
		withRecipients(t, draft)
		row.change(draft)
		if _, err := draft.Marshal(); !errors.Is(err, row.want) {
			t.Errorf("%s: %v because %v", name, err, errors.Unwrap(err))
		}
	}
}
