package policy

import (
	"cmp"
	"errors"
	"fmt"
	"slices"

	"github.com/penname/penname/verifier/proof"
)

// maxDailyWarrants is of one authority. No limit is no answer: it is what the
// theft of its key costs at most before somebody stops it.
const maxDailyWarrants = 10_000

// CurrentVersion is the version of the format in which new bundles are written.
const CurrentVersion = 5

// versions are all versions of the format, each with what it adds. A bundle is
// read for ever as what it was when it was endorsed, so a version only ever adds
// members: a new one is a row here and a check of its members.
var versions = map[int]func(*Bundle) error{
	1:              (*Bundle).checkPlaceless,
	2:              (*Bundle).checkUnregistered,
	3:              (*Bundle).checkContentless,
	4:              (*Bundle).checkUncatalogued,
	CurrentVersion: (*Bundle).checkClocks,
}

// Stop ends cases under earlier bundles: the one that is named by its leaf, all of
// one authority, or all about one platform, under whose name none is accepted either
// as long as the stop stands in the bundle in force. Exactly one of the three is set.
type Stop struct {
	Case      *int64 `json:"case,omitempty"`      // index of its recorded leaf in the public log
	Authority string `json:"authority,omitempty"` // id
	Platform  string `json:"platform,omitempty"`  // id; since version 3
}

func (b *Bundle) checkPlace() error {
	check, ok := versions[b.Version]
	if !ok {
		return ErrBundleMalformed.Because(errors.New("unknown version"))
	}
	return check(b)
}

func (b *Bundle) checkPlaceless() error {
	if b.Number != 0 || b.Predecessor != "" || len(b.Stops) > 0 || len(b.Compartments) > 0 || len(b.Reviewers) > 0 || b.Registry != nil {
		return ErrBundleMalformed.Because(errors.New("version 1 has neither number nor predecessor nor stops nor compartments nor reviewers nor a registry"))
	}
	if slices.ContainsFunc(b.Authorities, func(a Authority) bool { return a.DailyWarrants != 0 }) {
		return ErrBundleMalformed.Because(errors.New("version 1 has no daily numbers"))
	}
	return b.checkNoContent()
}

func (b *Bundle) checkUnregistered() error {
	if b.Registry != nil || slices.ContainsFunc(b.Stops, func(s Stop) bool { return s.Platform != "" }) {
		return ErrBundleMalformed.Because(errors.New("version 2 has no registry and stops no platform"))
	}
	return b.checkContentless()
}

func (b *Bundle) checkContentless() error {
	if err := b.checkNoContent(); err != nil {
		return err
	}
	return b.checkPlaced()
}

func (b *Bundle) checkNoContent() error {
	if b.PostSpanHours != 0 || b.AppealDays != 0 || slices.ContainsFunc(b.Custodians, func(c Custodian) bool { return c.Recipient != "" }) ||
		slices.ContainsFunc(b.OffenceClasses, func(c OffenceClass) bool { return c.NoCopy }) {
		return ErrBundleMalformed.Because(errors.New("a version before 4 has neither recipients nor classes without copies nor a span of posts nor a time to appeal"))
	}
	return b.checkNoCatalogue()
}

// checkUncatalogued is of version 4.
func (b *Bundle) checkUncatalogued() error {
	if err := b.checkNoCatalogue(); err != nil {
		return err
	}
	return b.checkContent()
}

func (b *Bundle) checkNoCatalogue() error {
	if len(b.Organisations) > 0 || len(b.Offences) > 0 || b.MinSecrecyDays != 0 || b.HoldDays != 0 || b.ExtensionDays != 0 || b.ValidationHours != 0 ||
		len(b.LeafFacets) > 0 || b.SmallCount != 0 || len(b.Required) > 0 || len(b.Programs) > 0 || len(b.CertificateAuthorities) > 0 ||
		slices.ContainsFunc(b.OffenceClasses, func(c OffenceClass) bool { return c.NoticeFirst }) ||
		slices.ContainsFunc(b.Custodians, func(c Custodian) bool { return c.OrganisationID != "" || c.Role != "" || len(c.Alternates) > 0 }) ||
		slices.ContainsFunc(b.Authorities, func(a Authority) bool {
			return a.OrganisationID != "" || len(a.Over) > 0 || len(a.ValidatedBy) > 0 || a.OrganisationIdentifier != "" || len(a.CertificateKeys) > 0
		}) {
		return ErrBundleMalformed.Because(errors.New("a version before 5 has neither organisations nor certificates nor roles nor alternates nor programs nor a catalogue of offences nor classes with notice first nor powers of an authority over another, its clocks are those of its rules, and its leaves and statistics say what they always said"))
	}
	return nil
}

func (b *Bundle) checkClocks() error {
	upTo := func(n, high int) bool { return 1 <= n && n <= high }
	if !upTo(b.MinSecrecyDays, b.MaxSecrecyDays) || !upTo(b.HoldDays, 90) || !upTo(b.ExtensionDays, 90) || !upTo(b.ValidationHours, 96) {
		return ErrBundleLimits.Because(errors.New("secrecy is of 1 day at least and of max_secrecy_days at most, a hold and its extension of 1 to 90 days, and an emergency is validated within 1 to 96 hours"))
	}
	if err := b.checkFacets(); err != nil {
		return err
	}
	return b.checkContent()
}

// checkFacets: a leaf takes no word that could tell who somebody is, and an offence can be
// called by such a one.
func (b *Bundle) checkFacets() error {
	says := slices.Contains(b.LeafFacets, proof.FacetOffence)
	switch {
	case !distinctWords(b.LeafFacets), !subset(b.LeafFacets, among([]string{proof.FacetOffence, proof.FacetData})),
		says && slices.ContainsFunc(b.Offences, func(o Offence) bool { return !proof.IsWord(o.ID) }):
		return ErrBundleMalformed.Because(errors.New("a leaf may say offence and data, each once, and an offence only if its id is lower-case words with no four digits together"))
	case b.SmallCount != 0 && (b.SmallCount < 2 || b.SmallCount > 100):
		return ErrBundleLimits.Because(errors.New("statistics tell no number under one of 2 to 100"))
	}
	return nil
}

func (b *Bundle) checkContent() error {
	if b.PostSpanHours < 1 || b.PostSpanHours > 168 || b.AppealDays < 1 || b.AppealDays > 1096 {
		return ErrBundleLimits.Because(errors.New("a post is evidence for 1 to 168 hours after the sign-in, and exhibits are kept for 1 to 1096 days after the end of their case"))
	}
	return b.checkPlaced()
}

func (b *Bundle) checkPlaced() error {
	switch {
	case b.Number < 1, (b.Number == 1) != (b.Predecessor == ""), b.Predecessor != "" && !hashPattern.MatchString(b.Predecessor):
		return ErrBundleMalformed.Because(errors.New("a bundle has a number from 1 on, and each but number 1 the hash of its predecessor"))
	case b.Number == 1 && len(b.Stops) > 0:
		return ErrBundleMalformed.Because(errors.New("there is no case before the first bundle"))
	}
	for i, s := range b.Stops {
		if !s.wellFormed() || slices.ContainsFunc(b.Stops[:i], s.same) {
			return ErrBundleMalformed.Because(errors.New("a stop names one case, one authority or one platform, once"))
		}
	}
	if slices.ContainsFunc(b.Authorities, func(a Authority) bool { return a.DailyWarrants < 1 || a.DailyWarrants > maxDailyWarrants }) {
		return ErrBundleLimits.Because(errors.New("each authority has a daily number of warrants"))
	}
	return nil
}

// wellFormed checks that exactly one thing is named.
func (s Stop) wellFormed() bool {
	switch {
	case s.Case != nil:
		return *s.Case >= 0 && s.Authority == "" && s.Platform == ""
	case s.Authority != "":
		return s.Platform == "" && idPattern.MatchString(s.Authority)
	}
	return idPattern.MatchString(s.Platform)
}

func (s Stop) same(t Stop) bool {
	return s.Authority == t.Authority && s.Platform == t.Platform && (s.Case == nil) == (t.Case == nil) && (s.Case == nil || *s.Case == *t.Case)
}

// place is the number of a bundle. One of version 1 has none and counts as 1.
func (b *Bundle) place() int { return max(1, b.Number) }

// Succeed makes a draft the one that comes after previous, or the first of its
// log if that is nil, in the current version of the format. An authority without
// a daily number gets [DefaultDailyWarrants], an authority or custodian without an
// organisation one of their own, and what is left out of the span of posts, the time to
// appeal and the clocks the defaults.
func (b *Bundle) Succeed(previous *Bundle) {
	b.Version, b.Number, b.Predecessor = CurrentVersion, 1, ""
	b.Authorities = slices.Clone(b.Authorities) // a draft begins as a copy of what is in force
	for i := range b.Authorities {
		if b.Authorities[i].DailyWarrants == 0 {
			b.Authorities[i].DailyWarrants = DefaultDailyWarrants
		}
	}
	b.PostSpanHours = cmp.Or(b.PostSpanHours, DefaultPostSpanHours)
	b.AppealDays = cmp.Or(b.AppealDays, DefaultAppealDays)
	b.MinSecrecyDays = cmp.Or(b.MinSecrecyDays, min(DefaultMinSecrecyDays, b.MaxSecrecyDays))
	b.HoldDays, b.ExtensionDays = cmp.Or(b.HoldDays, DefaultHoldDays), cmp.Or(b.ExtensionDays, DefaultExtensionDays)
	b.ValidationHours = cmp.Or(b.ValidationHours, DefaultValidationHours)
	b.addOrganisations()
	if previous != nil {
		b.Number, b.Predecessor = previous.place()+1, previous.hash
	}
}

// Follows checks that b may come into force after previous, or as the first
// bundle of a log if previous is nil: it stands in that place, and at least
// Threshold distinct custodians of previous endorse it there; a first bundle is
// endorsed by its own. Without that, a stranger could bring a bundle together
// with its own custodians.
//
// It is [ErrNotNext], whose cause says what is expected, [ErrNotEndorsed] or
// [ErrBadEndorsement]. A bundle of version 1 names no place: it may only come
// first or after another of version 1, and whoever reads a log must see to it
// that it does not come twice.
func (b *Bundle) Follows(previous *Bundle, endorsements []string) error {
	if err := b.IsNext(previous); err != nil {
		return err
	}
	if previous == nil {
		previous = b
	}
	return previous.endorses(b.hash, endorsements)
}

// IsNext is [Bundle.Follows] without the endorsements.
func (b *Bundle) IsNext(previous *Bundle) error {
	want := Bundle{}
	want.Succeed(previous)
	switch {
	case b.Number == want.Number && b.Predecessor == want.Predecessor:
		return nil
	case b.Version == 1 && (previous == nil || previous.Version == 1 && previous.hash != b.hash):
		return nil
	}
	after := "no predecessor"
	if previous != nil {
		after = "predecessor " + want.Predecessor
	}
	return ErrNotNext.Because(fmt.Errorf("expected is number %d with %s", want.Number, after))
}

// Stopped is [ErrStopped] if a bundle that came into force after a case was
// recorded names the case, by its recorded leaf, its authority, or the platform of one
// of its targets.
func Stopped(later []*Bundle, leaf int64, authority string, targets []Target) error {
	for _, b := range later {
		if slices.ContainsFunc(b.Stops, func(s Stop) bool {
			return s.Case != nil && *s.Case == leaf || s.Authority != "" && s.Authority == authority ||
				s.Platform != "" && slices.ContainsFunc(targets, func(t Target) bool { return t.Platform == s.Platform })
		}) {
			return ErrStopped
		}
	}
	return nil
}

// StopsPlatform reports whether nothing is accepted about a platform under b.
func (b *Bundle) StopsPlatform(id string) bool {
	return slices.ContainsFunc(b.Stops, func(s Stop) bool { return s.Platform == id })
}
