package policy

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/penname/penname/verifier/token"
)

// Version 4: each custodian has a recipient of their own, and the limits are set.
func TestContentOfABundle(t *testing.T) {
	first := newWorld(t, func(b *Bundle) { b.Succeed(nil) })
	if b := first.bundle; b.Version != CurrentVersion || b.PostSpanHours != DefaultPostSpanHours || b.AppealDays != DefaultAppealDays {
		t.Fatal(b.Version, b.PostSpanHours, b.AppealDays)
	}
	for name, c := range map[string]struct {
		change func(*Bundle)
		want   error
	}{
		"as it is":                  {func(*Bundle) {}, nil},
		"no recipient":              {func(b *Bundle) { b.Custodians[1].Recipient = "" }, ErrBundleRecipient},
		"one recipient, two bodies": {func(b *Bundle) { b.Custodians[1].Recipient = b.Custodians[0].Recipient }, ErrBundleRecipient},
		"a recipient without ML-KEM": {func(b *Bundle) {
			b.Custodians[1].Recipient = "age1zvkyg2lqzraa2lnjvqej32nkuu0ues2s82hzrye869xeexvn73equnujwj"
		}, ErrBundleRecipient},
		"a recipient in capitals":   {func(b *Bundle) { b.Custodians[1].Recipient = strings.ToUpper(b.Custodians[1].Recipient) }, ErrBundleRecipient},
		"a delivery key":            {func(b *Bundle) { b.Custodians[1].Recipient = first.delivery }, ErrBundleRecipient},
		"a cut recipient":           {func(b *Bundle) { b.Custodians[1].Recipient = b.Custodians[1].Recipient[:900] }, ErrBundleRecipient},
		"no span":                   {func(b *Bundle) { b.PostSpanHours = 0 }, ErrBundleLimits},
		"a week":                    {func(b *Bundle) { b.PostSpanHours = 168 }, nil},
		"more than a week":          {func(b *Bundle) { b.PostSpanHours = 169 }, ErrBundleLimits},
		"no time to appeal":         {func(b *Bundle) { b.AppealDays = 0 }, ErrBundleLimits},
		"more than three years":     {func(b *Bundle) { b.AppealDays = 1097 }, ErrBundleLimits},
		"version 3 with recipients": {func(b *Bundle) { b.Version = 3; contentless(b) }, ErrBundleMalformed},
		"version 3 with a span":     {func(b *Bundle) { b.Version = 3; contentless(b); withoutRecipients(b); b.PostSpanHours = 24 }, ErrBundleMalformed},
		"version 3 with an appeal":  {func(b *Bundle) { b.Version = 3; contentless(b); withoutRecipients(b); b.AppealDays = 90 }, ErrBundleMalformed},
		"version 3 with a class": {func(b *Bundle) {
			b.Version = 3
			contentless(b)
			withoutRecipients(b)
			b.OffenceClasses[0].NoCopy = true
		}, ErrBundleMalformed},
		"version 3, which has nothing": {func(b *Bundle) { b.Version = 3; contentless(b); withoutRecipients(b) }, nil},
	} {
		draft := first.draft(t)
		draft.Succeed(nil)
		withRecipients(t, draft)
		c.change(draft)
		if _, err := draft.Marshal(); !errors.Is(err, c.want) {
			t.Error(name, err, errors.Unwrap(err))
		}
	}
	if !slices.ContainsFunc(DefaultOffenceClasses(), func(c OffenceClass) bool { return c.NoCopy && c.ID == "child_sexual_abuse" }) {
		t.Error("what nobody may copy is copied")
	}
	if first.bundle.PostSpan() != 24*time.Hour || newWorld(t).bundle.PostSpan() != 0 {
		t.Error("the span of posts", first.bundle.PostSpan(), newWorld(t).bundle.PostSpan())
	}
}

// What was said is what is judged: evidence names it, in a case under rules of version 4,
// and a case under older rules is read as before.
func TestEvidenceDeclaresWhatWasPublished(t *testing.T) {
	old, w := newWorld(t), newWorld(t, func(b *Bundle) { b.Succeed(nil) })
	v, evidence := w.production(t)
	d := Decide(Submission{Warrant: sign(t, w.court, v), Evidence: evidence}, w.bundle, Facts{}, now)
	if !d.Allowed || len(d.Exhibits) != 1 || len(d.Targets) != 1 || len(d.Targets[0].Posts) != 1 {
		t.Fatal(d.Refusal, cause(d.Refusal), d.Exhibits, d.Targets)
	}
	p := d.Targets[0].Posts[0]
	if p.Evidence != v.Targets[0].Evidence || p.ProvenByKey || p.Description != "" || p.Exhibits[0] != d.Exhibits[0] || p.Exhibits[0].Length != int64(len("post of troll")) {
		t.Errorf("%+v", p)
	}
	first := old.evidence(t, square, "troll", 1, now.AddDate(0, 0, -3))
	v.Targets[0].Evidence = digest(first)
	wantRefused(t, Decide(Submission{Warrant: sign(t, w.court, v), Evidence: []string{first}}, w.bundle, Facts{}, now), token.ErrNoContent)

	v, evidence = old.production(t)
	d = Decide(Submission{Warrant: sign(t, old.court, v), Evidence: evidence}, old.bundle, Facts{}, now)
	if !d.Allowed || len(d.Exhibits) > 0 || d.Targets[0].Posts[0].Digest == [32]byte{} {
		t.Error("a case under older rules:", d.Refusal, d.Targets)
	}
}

// A post counts within the span after the sign-in, whatever the life of its token, and
// under older rules within that life.
func TestSpanOfPosts(t *testing.T) {
	old, w := newWorld(t), newWorld(t, func(b *Bundle) { b.Succeed(nil) })
	for _, c := range []struct {
		w     *world
		after time.Duration
		want  error
	}{
		{w, 23*time.Hour + 59*time.Minute, nil},
		{w, 24 * time.Hour, nil},
		{w, 24*time.Hour + time.Second, ErrBadEvidence},
		{w, -2 * time.Minute, ErrBadEvidence}, // before the sign-in
		{old, time.Hour, nil},
		{old, 2 * time.Hour, ErrBadEvidence},
	} {
		v, _ := c.w.production(t)
		e := c.w.evidenceAfter(t, square, "troll", "label of troll", 1, now.AddDate(0, 0, -3), c.after)
		v.Targets[0].Evidence = digest(e)
		d := Decide(Submission{Warrant: sign(t, c.w.court, v), Evidence: []string{e}}, c.w.bundle, Facts{}, now)
		if c.want == nil && !d.Allowed || c.want != nil && !errors.Is(d.Refusal, c.want) {
			t.Error(c.w.bundle.Version, c.after, d.Refusal, cause(d.Refusal))
		}
	}
}

// Of what nobody may copy the court describes each post, over its signature; no exhibit of
// it is to be filed, and of all else there is no description in the place of the words.
func TestNobodyCopiesIt(t *testing.T) {
	w := newWorld(t, func(b *Bundle) { b.Succeed(nil); b.OffenceClasses = DefaultOffenceClasses() })
	first, second := w.evidence(t, square, "troll", 1, now.AddDate(0, 0, -3)), w.evidence(t, square, "troll", 2, now.AddDate(0, 0, -3))
	described := func(texts ...string) map[string]string {
		all := make(map[string]string)
		for i, text := range texts {
			all[digest([]string{first, second, "of nothing"}[i])] = text
		}
		return all
	}
	for name, c := range map[string]struct {
		class string
		texts map[string]string
		want  error
	}{
		"each described":              {"child_sexual_abuse", described("A picture of the abuse of a child.", "Another one."), nil},
		"none described":              {"child_sexual_abuse", nil, ErrDescriptions},
		"one described":               {"child_sexual_abuse", described("A picture."), ErrDescriptions},
		"a blank":                     {"child_sexual_abuse", described("A picture.", " \n"), ErrDescriptions},
		"one too many":                {"child_sexual_abuse", described("A picture.", "Another.", "A third."), ErrDescriptions},
		"of no hash":                  {"child_sexual_abuse", map[string]string{digest(first): "A picture.", "second": "Another."}, ErrMalformed},
		"a text that turns itself":    {"child_sexual_abuse", described("A picture.", "Another\u202e."), ErrMalformed},
		"where the words can be read": {"threat_of_sexual_violence", described("It was a threat.", "It was worse."), ErrDescriptions},
	} {
		v, _ := w.production(t)
		v.OffenceClass, v.Targets[0].Evidence, v.Targets[0].Further, v.Targets[0].Descriptions = c.class, digest(first), []string{digest(second)}, c.texts
		if c.class == "child_sexual_abuse" {
			v.OffenceID = "indecent_photographs_of_children"
		}
		d := Decide(Submission{Warrant: sign(t, w.court, v), Evidence: []string{first, second}}, w.bundle, Facts{}, now)
		before := BeforeSigning(v, "", w.court, w.bundle, now)
		if before.Allowed != d.Allowed || c.want == ErrDescriptions && !ErrDescriptions.Is(before.Refusal) {
			t.Error(name, "before signing", before.Refusal)
		}
		if c.want != nil {
			if !errors.Is(d.Refusal, c.want) {
				t.Error(name, d.Refusal, cause(d.Refusal))
			}
			continue
		}
		if !d.Allowed || len(d.Exhibits) > 0 || d.Targets[0].Posts[0].Description != c.texts[digest(first)] || d.Targets[0].Posts[1].Description != c.texts[digest(second)] {
			t.Error(name, d.Refusal, cause(d.Refusal), d.Exhibits)
		}
	}
}

// What the platform knows of an account is for custodians to ask about: the decision is
// the same.
func TestWhatTheAccountSuggestsIsSaid(t *testing.T) {
	w := fifth(t)
	f := w.filing(t)
	for i, words := range [][]string{{token.AuthorJournalist}, {token.AuthorPrivileged, token.AuthorJournalist}} {
		e, err := token.ParseUnverifiedEvidence(w.evidence(t, square, "troll", i+2, now.AddDate(0, 0, -2)))
		if err != nil {
			t.Fatal(err)
		}
		e.Post.AuthorSuggests = words
		signed, err := token.SignEvidence(w.square, *e)
		if err != nil {
			t.Fatal(err)
		}
		f.evidence, f.Targets[0].Further = append(f.evidence, signed), append(f.Targets[0].Further, digest(signed))
	}
	d := f.decided(t)
	if !d.Allowed || !slices.Equal(d.Rules, w.decide(t).Rules) {
		t.Fatal(d.Refusal, cause(d.Refusal), d.Rules)
	}
	for i, want := range [][]string{nil, {token.AuthorJournalist}, {token.AuthorPrivileged, token.AuthorJournalist}} {
		if got := d.Targets[0].Posts[i].AuthorSuggests; !slices.Equal(got, want) {
			t.Errorf("post %d: %q", i, got)
		}
	}
}
