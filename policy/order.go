package policy

import (
	"encoding/hex"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/penname/penname/verifier/document"
	"github.com/penname/penname/verifier/refusal"
	"github.com/penname/penname/verifier/token"
)

// toldFirst is how long a person has to object where they are told first: as long as the
// ordinary deadline of Regulation (EU) 2023/1543, Art. 10(2).
const toldFirst = 10 * day

// order is a warrant with all that it is judged by, and what was found of each target.
type order struct {
	*Warrant
	b         *Bundle
	authority *Authority
	kind      Kind
	class     *OffenceClass // nil: the bundle has none of that name
	offence   *Offence      // nil: it names none of the catalogue
	earlier   *Warrant      // that it is about or follows up, as the log has it; nil: none
	known     Facts
	at        time.Time
	targets   []TargetDecision
	certified bool // a certificate signed it, or a countersignature
}

func (b *Bundle) order(w *Warrant, a *Authority, known Facts, at time.Time) *order {
	return &order{Warrant: w, b: b, authority: a, kind: KindOf(w.Kind), class: b.OffenceClass(w.OffenceClass), offence: b.Offence(w.OffenceID),
		known: known, at: at, targets: make([]TargetDecision, len(w.Targets))}
}

// check is one thing that a warrant must get right, and the member that says it: a JSON
// pointer (RFC 6901).
type check struct {
	at   string
	fail func() error
}

// run returns the first failure. What comes later may stand on what came before.
func (o *order) run(groups ...func() []check) error {
	for _, group := range groups {
		for _, c := range group() {
			if err := c.fail(); err != nil {
				return err
			}
		}
	}
	return nil
}

// unless is a failure that is known already.
func unless(ok bool, err error) func() error {
	if ok {
		return passes
	}
	return func() error { return err }
}

func passes() error { return nil }

// recorded is when the warrant was recorded, or now, when it is to be.
func (o *order) recorded() time.Time {
	if o.known.RecordedAt.IsZero() {
		return o.at
	}
	return o.known.RecordedAt
}

// filed is how many targets count: those of the warrant as it was filed, with all that its
// authority, or its requester, has filed before. To split an order gains nothing.
func (o *order) filed() int {
	before := 0
	if f := o.known.Filed; f != nil {
		before = max(f.Authority30, f.Requester30)
	}
	if o.kind.As != "" { // they are among those, or older
		return max(before, len(o.Targets))
	}
	return before + len(o.Targets)
}

// refuse notes why one target is refused: the first reason counts.
func (o *order) refuse(i int, err error) {
	if o.targets[i].Refusal == nil {
		o.targets[i] = TargetDecision{Refusal: refusal.Of(err)}
	}
}

// wholly is the refusal of the whole warrant for what is wrong in its targets.
func (o *order) wholly() error {
	refused := 0
	var first *refusal.Error
	for _, t := range o.targets {
		if t.Refusal == nil {
			continue
		}
		if refused++; first == nil {
			first = t.Refusal
		}
	}
	if first != nil && (o.b.Version < 5 || refused == len(o.targets)) {
		return first
	}
	return nil
}

func (o *order) checkAddressed() []check {
	return []check{
		{"/audience", unless(o.Audience == o.b.Registrar, ErrWrongAudience)},
		{"/bundle", unless(o.Bundle == o.b.hash, ErrWrongBundle)},
		{"/kind", unless(o.kind.Name != "" && o.kind.Since <= o.b.Version, ErrUnknownKind)},
		{"", unless(o.b.Version >= 5 || !o.saysMore(), ErrMalformed.Because(errors.New("it has members that bundles before version 5 do not know")))},
	}
}

// saysMore reports whether a warrant has members that are only under bundles since version 5.
func (w *Warrant) saysMore() bool {
	return w.OffenceID != "" || w.Recognises != nil || w.DatedBack != "" || len(w.Jointly) > 0 || w.Ruling != nil || w.Requester.OrganisationID != "" ||
		slices.ContainsFunc(w.Targets, func(t Target) bool { return t.Role != "" })
}

func (o *order) checkTime() []check {
	late := o.recorded().Sub(o.IssuedAt) > day
	return []check{
		{"/issued_at", unless(!o.IssuedAt.After(o.at.Add(clockSkew)), ErrNotYetValid)},
		{"/expiry", o.checkExpiry},
		{"/dated_back", unless(o.b.Version < 5 || !late || !document.Blank(o.DatedBack) && o.Kind != Emergency, ErrDatedBack)},
	}
}

func (o *order) checkExpiry() error {
	switch {
	case !o.at.Before(o.Expiry):
		return ErrExpired
	case !o.IssuedAt.Before(o.Expiry):
		return ErrValidity
	case o.Expiry.Sub(o.IssuedAt) <= time.Duration(o.validDays())*day:
		return nil
	case o.b.Version >= 5 && o.Kind == Extension:
		return ErrExtension
	}
	return ErrValidity
}

// validDays is how long a warrant of this kind is valid at most. A hold lasts as long as
// its warrant: Regulation (EU) 2023/1543, Art. 10(1) and 11(1).
func (o *order) validDays() int {
	switch {
	case o.b.Version < 5 || o.kind.Clock != ClockHold:
		return o.b.MaxValidityDays
	case o.kind.Earlier:
		return o.b.HoldDays + o.b.ExtensionDays
	}
	return o.b.HoldDays
}

// checkDated: who signs says when it was issued, or that it is not dated back.
func (o *order) checkDated() []check {
	return []check{{"/dated_back", unless(o.DatedBack == "" || o.IssuedAt.Before(o.at.UTC().Truncate(day)), ErrDatedBack)}}
}

func (o *order) checkReasons() []check {
	needs, may := o.kind.Earlier || o.kind.As != "", o.kind.Earlier || o.kind.Follows
	all := []check{{"/earlier", unless((!needs || o.Earlier != "") && (may || o.Earlier == ""), ErrEarlier)}}
	for _, at := range o.kind.reasons(o.Warrant, o.b) {
		all = append(all, check{at, unless(false, ErrReasons)})
	}
	all = append(all, check{"/recognises", o.checkRecognises}, check{"/jointly", o.checkJointly})
	if o.kind.Clock == ClockNone {
		return all
	}
	known := o.Deadline == TenDays || o.Deadline == EightHours
	return append(all,
		check{"/deadline", unless(known && (o.b.Version < 5 || (o.Deadline == EightHours) == (o.Kind == Emergency)), ErrDeadline)},
		check{"/flags", o.checkFlags})
}

func (o *order) checkFlags() error {
	for i, f := range o.Flags {
		if f != FlagJournalist && f != FlagPrivileged || slices.Contains(o.Flags[:i], f) {
			return ErrFlags
		}
	}
	return nil
}

// checkRecognises checks which order of another state a warrant says stands behind it.
func (o *order) checkRecognises() error {
	if r := o.Recognises; r != nil && (o.kind.Clock == ClockNone || document.Blank(r.Authority, r.FileNumber) || !hashPattern.MatchString(r.SHA256) ||
		!countryPattern.MatchString(r.Country) || strings.HasPrefix(o.Jurisdiction, r.Country)) {
		return ErrRecognises
	}
	return nil
}

// checkJointly checks which authorities are to sign it as well.
func (o *order) checkJointly() error {
	for i, id := range o.Jointly {
		if _, known := o.b.authorities[id]; !known || id == o.Authority || slices.Contains(o.Jointly[:i], id) {
			return ErrJointly
		}
	}
	return nil
}

// checkOffence holds a warrant against the catalogue, from version 5 on: an order names an
// offence of it, of the class that it says, and states no more than its statute threatens.
func (o *order) checkOffence() []check {
	isOrder := o.kind.Clock != ClockNone
	switch {
	case o.b.Version < 5, !isOrder && o.OffenceID == "":
		return nil
	case o.offence == nil:
		return []check{{"/offence_id", unless(false, ErrOffence)}}
	}
	all := []check{{"/offence_class", unless(o.offence.Class == o.OffenceClass, ErrOffenceClass)}}
	if !isOrder {
		return all
	}
	return append(all,
		check{"/max_penalty_months", unless(o.MaxPenaltyMonths <= o.offence.MaxPenaltyMonths, ErrPenalty)},
		check{"/authority", unless(slices.Contains(o.offence.Authorities, o.authority.Kind), ErrOffenceAuthority)})
}

// needsEvidence reports whether the platform's evidence of each target is needed. Before
// version 5 it was for every kind that names targets.
func (o *order) needsEvidence() bool { return o.kind.Evidence || o.b.Version < 5 && o.kind.Targets }

func (o *order) checkTargets() []check {
	return []check{{"/targets", o.checkCount}, {"/targets", o.checkEach}}
}

func (o *order) checkCount() error {
	some := o.kind.Part && o.b.Version >= 5
	switch {
	case (len(o.Targets) > 0) != o.kind.Targets && !some:
		return ErrNoTargets
	case len(o.Targets) > o.b.MaxTargets:
		return ErrTooManyTargets
	case o.kind.One && len(o.Targets) > 1:
		return ErrOneTarget
	}
	return nil
}

// checkEach notes the first failure of each target.
func (o *order) checkEach() error {
	again := o.namedBefore()
	for i, t := range o.Targets {
		for _, c := range o.checkTarget(i, t) {
			if err := c.fail(); err != nil {
				o.refuse(i, err)
			}
		}
		// The leaf commits to each target, so that two of them cannot be the same.
		if again[i] {
			return ErrBadTarget
		}
	}
	if o.b.Version < 5 {
		return o.wholly()
	}
	return nil
}

// namedBefore are the places of targets that a warrant has named already.
func (o *order) namedBefore() map[int]bool {
	type penNameAt struct {
		pseudonym token.Pseudonym
		platform  string
	}
	seen, again := make(map[penNameAt]bool, len(o.Targets)), make(map[int]bool)
	for i, t := range o.Targets {
		n := penNameAt{t.Pseudonym, t.Platform}
		if seen[n] {
			again[i] = true
		}
		seen[n] = true
	}
	return again
}

func (o *order) checkTarget(i int, t Target) []check {
	at := fmt.Sprintf("/targets/%d", i)
	knownRole := slices.Contains([]string{"", RoleWitness, RoleVictim, RoleChild}, t.Role)
	return []check{
		{at + "/pseudonym", func() error { return checkPenName(t.Pseudonym) }},
		{at + "/platform", unless(!o.needsEvidence() || o.b.platforms[t.Platform] != nil || o.b.Registry != nil, ErrBadTarget)},
		{at + "/role", unless(knownRole, ErrRole)},
		{at, unless(o.needsEvidence() || t.Evidence == "" && len(t.Further) == 0 && t.Role == "", ErrNoEvidenceHere)},
		{at + "/descriptions", func() error { return o.checkDescriptions(t) }},
	}
}

func checkPenName(named token.Pseudonym) error {
	// As platforms show it: @handle, or @handle@host.
	handle, _, isAddress := strings.Cut(strings.TrimPrefix(strings.ToLower(string(named)), "@"), "@")
	_, err := token.ParsePseudonym(handle)
	switch {
	case token.IsHandle(handle):
		return ErrHandleTarget
	case err == nil && isAddress:
		return ErrAddressTarget
	case token.NearHandle(handle):
		return errNearHandle
	}
	if _, err := token.ParsePseudonym(string(named)); err != nil {
		return ErrBadTarget
	}
	return nil
}

// checkDescriptions: of what nobody may copy, the court describes each piece; of all else
// people read the exhibits themselves, and no description stands in their place.
func (o *order) checkDescriptions(t Target) error {
	if !o.b.ForbidsCopies(o.Warrant) {
		if len(t.Descriptions) > 0 {
			return ErrDescriptions
		}
		return nil
	}
	pieces := append([]string{t.Evidence}, t.Further...)
	if len(t.Descriptions) != len(pieces) {
		return ErrDescriptions
	}
	for _, digest := range pieces {
		if document.Blank(t.Descriptions[digest]) {
			return ErrDescriptions
		}
	}
	return nil
}

// checkDigests is what the evidence will have to be, by the digests alone.
func (o *order) checkDigests() (all []check) {
	seen := make(map[string]bool)
	for i, t := range o.Targets {
		if !o.needsEvidence() {
			continue
		}
		for j, digest := range append([]string{t.Evidence}, t.Further...) {
			at := fmt.Sprintf("/targets/%d/evidence", i)
			if j > 0 {
				at = fmt.Sprintf("/targets/%d/further/%d", i, j-1)
			}
			all = append(all, check{at, unless(hashPattern.MatchString(digest), ErrNoEvidence)},
				check{at, unless(!seen[digest], ErrEvidenceMismatch)}) // one piece speaks for one post of one target
			seen[digest] = true
		}
	}
	return all
}

func (o *order) checkFollows() []check { return []check{{"/earlier", o.checkEarlier}} }

// checkEarlier holds a warrant against the earlier one that it names, from version 5 on:
// that one is in the log, of a kind that this one can be about, and its authority is the
// same, or one below.
func (o *order) checkEarlier() error {
	if o.b.Version < 5 || o.Earlier == "" {
		return nil
	}
	if o.known.Earlier == nil {
		return ErrNoEarlier
	}
	hash := Hash(o.known.Earlier.Warrant)
	earlier, err := ParseUnverified(o.known.Earlier.Warrant)
	switch {
	case err != nil || hex.EncodeToString(hash[:]) != o.Earlier:
		return ErrNoEarlier
	case !slices.Contains(o.kind.Earliers, earlier.Kind):
		return ErrEarlierKind
	case !o.mayActOn(earlier.Authority):
		return ErrEarlierAuthority
	}
	o.earlier = earlier
	if o.kind.As != "" {
		return o.checkRepeats()
	}
	if o.kind.Clock == ClockHold { // an extension
		end := earlier.Expiry.AddDate(0, 0, o.b.ExtensionDays)
		if !o.recorded().Before(earlier.Expiry) || !o.Expiry.After(earlier.Expiry) || o.Expiry.After(end) {
			return ErrExtension
		}
	}
	if o.kind.Earlier {
		for i, t := range o.Targets {
			if !slices.ContainsFunc(earlier.Targets, func(e Target) bool { return e.Pseudonym == t.Pseudonym && e.Platform == t.Platform }) {
				o.refuse(i, ErrNotInEarlier)
			}
		}
	}
	return nil
}

// mayActOn reports whether a warrant of this kind may be about one of that authority.
func (o *order) mayActOn(issued string) bool {
	switch o.Kind {
	case Annulment:
		return slices.Contains(o.authority.Over, issued)
	case Ruling:
		return o.Authority == issued || slices.Contains(o.authority.Over, issued)
	case Validation:
		by := o.b.Authority(issued)
		return by != nil && o.b.validates(o.Authority, by)
	}
	return o.Authority == issued
}

// validates reports whether one authority may validate what another issued in an emergency:
// one that the bundle names for it; if it names none, the other itself, in writing, or one
// over it.
func (b *Bundle) validates(id string, issued *Authority) bool {
	if len(issued.ValidatedBy) > 0 {
		return slices.Contains(issued.ValidatedBy, id)
	}
	by := b.Authority(id)
	return by != nil && (id == issued.ID || slices.Contains(by.Over, issued.ID))
}

// countersigns reports whether that authority's signature on a warrant of another one counts.
func (b *Bundle) countersigns(id string, w *Warrant, issued *Authority) bool {
	return slices.Contains(w.Jointly, id) || slices.Contains(issued.ValidatedBy, id) || w.Kind == Emergency && b.validates(id, issued)
}

// checkCountersigned checks the countersignatures, each of which somebody must have given,
// and reports whether the warrant is validated: Regulation (EU) 2023/1543, Art. 4. An
// emergency may be recorded without.
func (o *order) checkCountersigned(s Submission, hash [32]byte) (validated bool, err error) {
	if o.b.Version < 5 {
		if len(s.Countersigned) > 0 {
			return false, ErrCountersigned
		}
		return true, nil
	}
	by := make(map[string]bool)
	for _, raw := range s.Countersigned {
		signed, w, err := openWarrant(raw)
		if err != nil {
			return false, ErrCountersigned.Because(err)
		}
		a, err := o.b.VerifyAuthority(signed, w.Authority, w.IssuedAt, Seen{o.known.recorded(o.Kind, o.at), s.Revocation})
		if err != nil {
			return false, ErrCountersigned.Because(err)
		}
		o.certified = o.certified || len(signed.Certificates) > 0
		c := o.b.order(w, a, Facts{RecordedAt: o.known.RecordedAt}, o.countersignedAt(w))
		if w.Kind != Validation || w.Earlier != hex.EncodeToString(hash[:]) || by[a.ID] || !o.b.countersigns(a.ID, o.Warrant, o.authority) {
			return false, ErrCountersigned
		}
		if err := c.run(c.checkAddressed, c.checkTime, c.checkReasons, c.checkTargets); err != nil {
			return false, ErrCountersigned.Because(err)
		}
		by[a.ID] = true
	}
	if len(s.Revocation) > 0 && !o.certified {
		return false, ErrRevocationList // nobody needs it here
	}
	for _, id := range o.Jointly {
		if !by[id] {
			return false, ErrNotJoint.Because(&Ground{Title: "has not signed: " + o.b.namesOf(id), Field: "jointly",
				Cure: "let them sign it with escrow warrant validate, and file that with --countersigned"})
		}
	}
	for id := range by {
		validated = validated || o.b.validates(id, o.authority)
	}
	switch {
	case o.Kind == Emergency, validated:
		return validated, nil
	case len(o.authority.ValidatedBy) == 0, o.kind.Clock == ClockNone && o.Kind != SecrecyChange:
		return true, nil // stopping must always be possible
	}
	return false, ErrNotValidated.Because(&Ground{Title: "has to be signed by one of: " + o.b.namesOf(o.authority.ValidatedBy...), Field: "authority",
		Article: "Regulation (EU) 2023/1543, Art. 4", Cure: "let one of them sign it with escrow warrant validate, and file that with --countersigned"})
}

// namesOf are the names of authorities of the bundle, each with its id.
func (b *Bundle) namesOf(ids ...string) string {
	named := make([]string, len(ids))
	for i, id := range ids {
		named[i] = id
		if a, ok := b.authorities[id]; ok {
			named[i] = fmt.Sprintf("%s (%s)", a.Name, id)
		}
	}
	return strings.Join(named, ", ")
}

// countersignedAt is when a countersignature is judged: when the warrant is filed. Later a
// leaf can tell the day alone, and then it is the first moment of that day at which it could
// have been filed.
func (o *order) countersignedAt(signed *Warrant) time.Time {
	at, last := o.known.RecordedAt, o.known.RecordedAt
	switch {
	case at.IsZero():
		return o.at
	case o.Kind != Emergency: // whose leaf tells the second
		last = at.Add(day - 1)
	}
	if signed.IssuedAt.After(last) {
		return last
	}
	if signed.IssuedAt.After(at) {
		return signed.IssuedAt
	}
	return at
}

// checkRequester: an answer must have an address that only the requester can
// read, and whoever decides about a request does not make it.
func (o *order) checkRequester() []check {
	r := o.Requester
	all := []check{{"/requester/delivery_key", unless(!o.kind.Answered && r.DeliveryKey == "" || o.kind.Answered && document.CheckDeliveryKey(r.DeliveryKey) == nil, ErrDeliveryKey)},
		{"/requester/name", unless(!o.kind.Answered || !document.Blank(r.Name), ErrDeliveryKey)},
		{"/requester/organisation", unless(!o.kind.Answered || !document.Blank(r.Organisation), ErrDeliveryKey)}}
	if o.b.Version < 5 || r.OrganisationID == "" && !o.kind.Decided {
		return all
	}
	asks := func(c Custodian) bool { return c.OrganisationID == r.OrganisationID }
	return append(all,
		check{"/requester/organisation_id", unless(o.b.organisations[r.OrganisationID], ErrRequester)},
		check{"/requester", unless(!o.b.recipients[r.DeliveryKey] && !slices.ContainsFunc(o.b.Custodians, asks), ErrCustodianAsks)})
}

// checkOrganisation: who signs calls the organisation as the bundle does, since custodians
// read the name.
func (o *order) checkOrganisation() []check {
	id := o.Requester.OrganisationID
	known := !o.b.organisations[id] || slices.Contains(o.b.Organisations, Organisation{ID: id, Name: o.Requester.Organisation})
	return []check{{"/requester/organisation", unless(known || id == "", ErrRequester)}}
}

func (o *order) checkSecrecy() []check {
	if o.kind.Clock == ClockNone && o.Kind != SecrecyChange {
		return nil
	}
	days, from, class, longest := o.secrecyDays(), o.IssuedAt, o.class, o.b.MaxSecrecyDays
	if o.Kind == SecrecyChange && o.earlier != nil {
		from = o.earlier.IssuedAt // of the first issue, however often it is changed
		class = o.b.OffenceClass(o.earlier.OffenceClass)
		if most := o.known.Earlier.MaxSecrecyDays; most > 0 {
			longest = min(longest, most)
		}
	}
	return []check{
		{"/secrecy/ends", unless(plausible(o.Secrecy.Ends) && wholeDays(from, o.Secrecy.Ends) <= int64(longest), ErrSecrecy)},
		{"/secrecy/reason", unless(days == 0 || !document.Blank(o.Secrecy.Reason), ErrSecrecy)},
		{"/secrecy/ends", unless(days == 0 || class == nil || !class.NoticeFirst, ErrToldFirst)},
	}
}

// WithoutSecrecy reports whether w could be secret and is not: it takes effect over time,
// and its secrecy ends at or before its issue, or so soon after it that it is none under b,
// which may be nil.
func (b *Bundle) WithoutSecrecy(w Warrant) bool {
	return KindOf(w.Kind).Clock != ClockNone && b.secrecyDays(&w) == 0
}

// secrecyDays are those of the warrant; of one that repeats another, those of that one: a person
// who is told first of an order is not passed over by repeating it.
func (o *order) secrecyDays() int64 {
	if o.kind.As != "" && o.earlier != nil {
		return o.b.secrecyDays(o.earlier)
	}
	return o.b.secrecyDays(o.Warrant)
}

// secrecyDays counts from issue to the end of secrecy, so that it does not depend on who
// decides when. Less than the bundle's least is none.
func (b *Bundle) secrecyDays(w *Warrant) int64 {
	days := wholeDays(w.IssuedAt, w.Secrecy.Ends)
	if k := KindOf(w.Kind); b != nil && k.Clock != ClockNone && k.As == "" && w.Secrecy.Ends.Before(w.IssuedAt.AddDate(0, 0, b.MinSecrecyDays)) {
		return 0
	}
	return days
}

// wholeDays are those from one time to another, rounded up; 0 if it is not later.
func wholeDays(from, to time.Time) int64 {
	if !to.After(from) {
		return 0
	}
	return int64(math.Ceil(float64(to.Sub(from)) / float64(day)))
}

func (o *order) checkFields() []check {
	return []check{{"/fields", unless((len(o.Fields) > 0) == o.kind.Opens && distinctWords(o.Fields) && subset(o.Fields, among(o.b.Fields)), ErrFields)}}
}

// checkOffenceFields is what the catalogue opens, after the rules, which say why: no bundle's
// rules open more.
func (o *order) checkOffenceFields() error {
	if o.offence != nil && (!subset(o.Fields, among(o.offence.Fields)) || !o.b.opens(o.offence, o.Fields)) {
		return ErrOffenceFields.Because(fmt.Errorf("of offence %s", o.offence.ID))
	}
	return nil
}
