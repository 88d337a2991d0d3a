package policy

import (
	"cmp"
	"crypto"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"maps"
	"math"
	"slices"
	"strings"
	"time"

	cedar "github.com/cedar-policy/cedar-go"
	"github.com/go-jose/go-jose/v4"

	"github.com/penname/penname/verifier/document"
	"github.com/penname/penname/verifier/refusal"
	"github.com/penname/penname/verifier/token"
)

// Submission is what a requester files: the warrant and the evidence that it
// names, each a compact JWS, the evidence in any order.
type Submission struct {
	Warrant  string   `json:"warrant"`
	Evidence []string `json:"evidence"`
}

// Facts are what the public log says that a decision depends on. Whoever calls
// [Decide] has checked each leaf under a cosigned checkpoint.
type Facts struct {
	Platforms *Platforms // that the warrant names, see [Bundle.AsksFor]
	Recorded  *int64     // index of the recorded leaf of this warrant; nil: it is not recorded yet
	Earlier   *Recorded  // the warrant that this one names as its earlier one; nil: unknown
}

// Recorded is a warrant, a compact JWS, to which the recorded leaf with that index
// commits.
type Recorded struct {
	Warrant string
	Leaf    int64
}

// holdsBefore reports whether the public log held the digest of a piece of evidence of
// this warrant before a leaf: by its own recorded leaf, or by that of the earlier
// warrant that it names.
func (f Facts) holdsBefore(leaf int64, w *Warrant, digest string) bool {
	if f.Recorded != nil && *f.Recorded < leaf {
		return true
	}
	if f.Earlier == nil || f.Earlier.Leaf >= leaf {
		return false
	}
	hash := Hash(f.Earlier.Warrant)
	earlier, err := ParseUnverified(f.Earlier.Warrant)
	return err == nil && hex.EncodeToString(hash[:]) == w.Earlier && slices.ContainsFunc(earlier.Targets, func(t Target) bool {
		return t.Evidence == digest || slices.Contains(t.Further, digest)
	})
}

// until is the last leaf whose record says which keys and platforms there are.
func (f Facts) until() int64 {
	if f.Recorded == nil {
		return math.MaxInt64
	}
	return *f.Recorded
}

// Registered is since when a platform is in the registry, and what became of its key.
type Registered struct {
	Platform time.Time `json:"platform,omitzero"` // the day of its first record; zero: the bundle lists it
	Key      time.Time `json:"key,omitzero"`      // from when the key that signed the evidence is counted; zero: the bundle lists it
	Stolen   time.Time `json:"stolen,omitzero"`   // the day on which a key was reported stolen that signed evidence; zero: none was
}

// Report is what a person must know of a stolen key, or "".
func (r Registered) Report() string {
	if r.Stolen.IsZero() {
		return ""
	}
	return "this key was reported stolen on " + r.Stolen.Format(time.DateOnly) + "; the log knew this evidence before"
}

// Post is one post of a target.
type Post struct {
	token.Post
	Evidence    string // hex SHA-256 of the piece about it
	ProvenByKey bool   // the author's key signed that very post: else there is the platform's word alone
	Description string // signed by the court, of what nobody may copy; "": the exhibits are shown
}

// Decision is what [Decide] found.
type Decision struct {
	Allowed bool
	Refusal *refusal.Error // nil if and only if Allowed

	Rules  []string // @id of the Cedar rules that determined it, in the order of the files; empty when no rule was reached
	Titles []string // @title of each

	WarrantHash [32]byte
	Warrant     *Warrant        // set once the authority's signature is verified, refused or not
	Authority   *Authority      // who signed it
	Tokens      []*token.Token  // when allowed: for each target, the token in its evidence
	Posts       [][]Post        // and its posts, in the order in which the warrant names their evidence
	Registered  []Registered    // and since when its platform is registered
	Exhibits    []token.Exhibit // when it opens: what the posts showed, to be filed with it, each once; none of an offence of which nobody may make a copy

	Opens        bool          // allowed, and of a kind that opens names: never release a share without it
	Quorum       int           // when allowed: custodians who must approve, never below the bundle's threshold
	NoticePeriod time.Duration // when allowed: how long to wait after the warrant is logged
}

const (
	clockSkew        = 5 * time.Minute
	maxEvidence      = 10_000
	maxEvidenceBytes = 64 << 10 // one piece
	day              = 24 * time.Hour
)

// Decide judges a submission under bundle b at a time, by what the public log says. It
// is pure: the same arguments give the same Decision, whoever asks and whenever. It does
// not know what was filed before; that a warrant is not a replay, that a withdrawal comes
// from the authority that issued the warrant and that an authority stays within its daily
// number ([Authority].DailyWarrants) is for the registrar to check, which does so in the
// transaction that records it.
//
// The checks run in the order of the refusals in this package, and the first
// that fails decides.
func Decide(s Submission, b *Bundle, known Facts, at time.Time) Decision {
	d := Decision{WarrantHash: Hash(s.Warrant)}
	if b == nil || b.hash == "" {
		return d.refuse(ErrWrongBundle.Because(errors.New("the bundle was not parsed")))
	}
	w, a, err := b.authenticate(s.Warrant)
	if err != nil {
		return d.refuse(err)
	}
	d.Warrant, d.Authority = w, a
	if err := run(w, b, at, checkAddressed, checkTime, checkReasons, checkTargets, checkDescriptions); err != nil {
		return d.refuse(err)
	}
	v := verification{b: b, w: w, known: known, at: at, keys: make(map[string]*evidenceKeys)}
	if err := v.checkPlatforms(); err != nil {
		return d.refuse(err)
	}
	tokens, posts, registered, err := v.evidence(s.Evidence)
	if err != nil {
		return d.refuse(err)
	}
	if err := run(w, b, at, checkRequester, checkSecrecy, checkFields); err != nil {
		return d.refuse(err)
	}
	if err := d.judge(b); err != nil {
		return d.refuse(err)
	}
	d.Allowed, d.Tokens, d.Posts, d.Registered, d.Opens = true, tokens, posts, registered, KindOf(w.Kind).Opens
	if b.wantsExhibits(w) {
		d.Exhibits = v.exhibits
	}
	return d
}

// BeforeSigning judges a warrant that nobody signed yet, as [Decide] will under b once
// it is signed with key: all that can be known without its evidence. Of the Decision
// only Allowed, Refusal, Rules and Titles are set.
func BeforeSigning(w Warrant, key jose.JSONWebKey, b *Bundle, at time.Time) Decision {
	var d Decision
	w.normalise()
	if err := w.wellFormed(); err != nil {
		return d.refuse(ErrDraft.Because(err))
	}
	a, ok := b.authorities[w.Authority]
	if !ok {
		return d.refuse(ErrUnknownAuthority)
	}
	if named, ok := a.keys[key.KeyID]; !ok || !named.isPublicOf(key) || !named.signs(w.IssuedAt) {
		return d.refuse(ErrSignerKey)
	}
	err := run(&w, b, at, checkAddressed, checkTime, checkReasons, checkTargets, checkDescriptions, checkDigests, checkRequester, checkSecrecy, checkFields)
	if err == nil {
		judged := Decision{Warrant: &w, Authority: a.Authority}
		err = judged.judge(b)
		d.Rules, d.Titles = judged.Rules, judged.Titles
	}
	if err != nil {
		return d.refuse(err)
	}
	d.Allowed = true
	return d
}

func run(w *Warrant, b *Bundle, at time.Time, checks ...func(*Warrant, *Bundle, time.Time) error) error {
	for _, check := range checks {
		if err := check(w, b, at); err != nil {
			return err
		}
	}
	return nil
}

// checkDigests is what verifyEvidence will demand of the digests alone.
func checkDigests(w *Warrant, _ *Bundle, _ time.Time) error {
	seen := make(map[string]bool)
	for _, t := range w.Targets {
		for _, digest := range append([]string{t.Evidence}, t.Further...) {
			switch {
			case !hashPattern.MatchString(digest):
				return ErrNoEvidence
			case seen[digest]: // one piece speaks for one post of one target
				return ErrEvidenceMismatch
			}
			seen[digest] = true
		}
	}
	return nil
}

// signs reports whether the key was valid at a time.
func (k signer) signs(at time.Time) bool { return !at.Before(k.from) && at.Before(k.until) }

// isPublicOf reports whether the key is the public half of another.
func (k signer) isPublicOf(secret jose.JSONWebKey) bool {
	public, ok := secret.Public().Key.(interface{ Equal(crypto.PublicKey) bool })
	return ok && public.Equal(k.Public)
}

func (d Decision) refuse(err error) Decision {
	d.Refusal = refusal.Of(err)
	return d
}

// authenticate returns the warrant only if an authority of the bundle signed it
// with a key that was valid on the day. IssuedAt is the signer's own word: a
// stolen key can be dated back, but no further than MaxValidityDays, because the
// warrant would have expired.
func (b *Bundle) authenticate(raw string) (*Warrant, *Authority, error) {
	signed, w, err := openWarrant(raw)
	if err != nil {
		return nil, nil, err
	}
	a, ok := b.authorities[w.Authority]
	if !ok {
		return nil, nil, ErrUnknownAuthority
	}
	key, ok := a.keys[signed.KeyID]
	if !ok {
		return nil, nil, ErrSignerKey
	}
	if err := signed.Verify(key.Public); err != nil {
		return nil, nil, err
	}
	if !key.signs(w.IssuedAt) {
		return nil, nil, ErrSignerKey
	}
	return w, a.Authority, nil
}

func checkAddressed(w *Warrant, b *Bundle, _ time.Time) error {
	switch {
	case w.Audience != b.Registrar:
		return ErrWrongAudience
	case w.Bundle != b.hash:
		return ErrWrongBundle
	case KindOf(w.Kind).Name == "":
		return ErrUnknownKind
	}
	return nil
}

func checkTime(w *Warrant, b *Bundle, at time.Time) error {
	switch {
	case w.IssuedAt.After(at.Add(clockSkew)):
		return ErrNotYetValid
	case !at.Before(w.Expiry):
		return ErrExpired
	case !w.IssuedAt.Before(w.Expiry), w.Expiry.Sub(w.IssuedAt) > time.Duration(b.MaxValidityDays)*day:
		return ErrValidity
	}
	return nil
}

func checkReasons(w *Warrant, b *Bundle, _ time.Time) error {
	kind := KindOf(w.Kind)
	if kind.Earlier && w.Earlier == "" || !kind.Earlier && !kind.Follows && w.Earlier != "" {
		return ErrEarlier
	}
	if !kind.reasons(w, b) {
		return ErrReasons
	}
	if kind.Clock == ClockNone {
		return nil
	}
	if w.Deadline != TenDays && w.Deadline != EightHours {
		return ErrDeadline
	}
	for i, f := range w.Flags {
		if f != FlagJournalist && f != FlagPrivileged || slices.Contains(w.Flags[:i], f) {
			return ErrFlags
		}
	}
	return nil
}

func checkTargets(w *Warrant, b *Bundle, _ time.Time) error {
	if (len(w.Targets) > 0) != KindOf(w.Kind).Targets {
		return ErrNoTargets
	}
	if len(w.Targets) > b.MaxTargets {
		return ErrTooManyTargets
	}
	type name struct {
		pseudonym token.Pseudonym
		platform  string
	}
	seen := make(map[name]bool, len(w.Targets))
	for _, t := range w.Targets {
		// As platforms show it: @handle, or @handle@host.
		handle, _, isAddress := strings.Cut(strings.TrimPrefix(strings.ToLower(string(t.Pseudonym)), "@"), "@")
		_, err := token.ParsePseudonym(handle)
		switch {
		case token.IsHandle(handle):
			return ErrHandleTarget
		case err == nil && isAddress:
			return ErrAddressTarget
		case token.NearHandle(handle):
			return errNearHandle
		}
		_, err = token.ParsePseudonym(string(t.Pseudonym))
		n := name{t.Pseudonym, t.Platform}
		if err != nil || b.platforms[t.Platform] == nil && b.Registry == nil || seen[n] {
			return ErrBadTarget
		}
		seen[n] = true
	}
	return nil
}

// checkDescriptions: of what nobody may copy, the court describes each piece; of all else
// people read the exhibits themselves, and no description stands in their place.
func checkDescriptions(w *Warrant, b *Bundle, _ time.Time) error {
	for _, t := range w.Targets {
		if !b.ForbidsCopies(w) {
			if len(t.Descriptions) > 0 {
				return ErrDescriptions
			}
			continue
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
	}
	return nil
}

// AsksFor returns the platforms whose records [Decide] needs for a submission: those
// that its warrant names, if an authority of b signed it and b has a registry.
func (b *Bundle) AsksFor(s Submission) []string {
	if b.Registry == nil {
		return nil
	}
	w, _, err := b.authenticate(s.Warrant)
	if err != nil {
		return nil
	}
	ids := make(map[string]bool)
	for _, t := range w.Targets {
		ids[t.Platform] = true
	}
	return slices.Sorted(maps.Keys(ids))
}

// verification is that of the evidence of one warrant.
type verification struct {
	b     *Bundle
	w     *Warrant
	known Facts
	at    time.Time
	keys  map[string]*evidenceKeys // by platform

	exhibits []token.Exhibit // of all pieces, each once
}

// checkPlatforms: each is known, and the custodians have not stopped it.
func (v *verification) checkPlatforms() error {
	for _, t := range v.w.Targets {
		if v.keys[t.Platform] == nil {
			v.keys[t.Platform] = v.b.evidenceKeys(t.Platform, v.known.Platforms, v.known.until())
		}
		switch {
		case v.keys[t.Platform] == nil:
			return ErrBadTarget
		case v.b.StopsPlatform(t.Platform):
			return ErrPlatformStopped
		}
	}
	return nil
}

// evidence checks every piece and returns the first token of each target, its posts
// and since when its platform is registered.
// Evidence that no target names is refused too: nobody needs it here.
func (v *verification) evidence(evidence []string) ([]*token.Token, [][]Post, []Registered, error) {
	w, named := v.w, 0
	for _, t := range w.Targets {
		named += 1 + len(t.Further)
	}
	if named > maxEvidence || len(evidence) > maxEvidence {
		return nil, nil, nil, ErrBadEvidence.Because(errors.New("too many pieces"))
	}
	if len(evidence) < named {
		return nil, nil, nil, ErrNoEvidence
	}
	pieces := make(map[string]string, len(evidence))
	for _, raw := range evidence {
		if len(raw) > maxEvidenceBytes {
			return nil, nil, nil, ErrBadEvidence.Because(errors.New("a piece is too large"))
		}
		sum := sha256.Sum256([]byte(raw))
		pieces[hex.EncodeToString(sum[:])] = raw
	}
	if len(pieces) != named || len(evidence) != named {
		return nil, nil, nil, ErrEvidenceMismatch
	}
	tokens, posts, registered := make([]*token.Token, len(w.Targets)), make([][]Post, len(w.Targets)), make([]Registered, len(w.Targets))
	for i, t := range w.Targets {
		for j, digest := range append([]string{t.Evidence}, t.Further...) {
			raw, ok := pieces[digest]
			if !ok {
				return nil, nil, nil, ErrEvidenceMismatch
			}
			delete(pieces, digest) // one piece speaks for one post of one target
			e, tok, reg, err := v.piece(raw, digest, t)
			if err != nil {
				return nil, nil, nil, err
			}
			v.exhibits = append(v.exhibits, e.Post.Exhibits...)
			posts[i] = append(posts[i], Post{e.Post, digest, e.ProvenByKey, t.Descriptions[digest]})
			if j == 0 {
				tokens[i], registered[i] = tok, reg
			} else if tok.Commitment != tokens[i].Commitment {
				return nil, nil, nil, ErrEvidenceMismatch // which record would be opened?
			}
			registered[i].Stolen = cmp.Or(registered[i].Stolen, reg.Stolen)
		}
	}
	exhibits, err := uniqueExhibits(v.exhibits)
	v.exhibits = exhibits
	return tokens, posts, registered, err
}

// piece checks one, and returns since when its platform and its key are registered, too.
func (v *verification) piece(raw, digest string, t Target) (e *token.Evidence, tok *token.Token, reg Registered, err error) {
	k := v.keys[t.Platform]
	e, tok, err = token.VerifyEvidence(raw, token.EvidenceRules{Issuer: v.b.Issuer, IssuerKeys: v.b.issuerKeys, PlatformKeys: k.set,
		Span: v.b.PostSpan(), Contentless: v.b.Version < 4})
	switch {
	case errors.Is(err, token.ErrNoContent):
		return nil, nil, reg, token.ErrNoContent
	case err != nil:
		return nil, nil, reg, ErrBadEvidence.Because(err)
	}
	if tok.Subject != t.Pseudonym || e.Platform != t.Platform || tok.Audience != t.Platform {
		return nil, nil, reg, ErrEvidenceMismatch
	}
	if e.Post.At.After(v.w.IssuedAt.Add(clockSkew)) {
		return nil, nil, reg, ErrBadEvidence.Because(errors.New("the post is younger than the warrant"))
	}
	if v.b.Registry != nil {
		reg.Platform, reg.Stolen = k.registered, k.stolen[e.KeyID].day
		reg.Key, err = k.judge(e, v.at, v.b.Registry.WaitingDays, func(leaf int64) bool { return v.known.holdsBefore(leaf, v.w, digest) })
	}
	return e, tok, reg, err
}

// checkRequester: an answer must have an address that only the requester can
// read.
func checkRequester(w *Warrant, _ *Bundle, _ time.Time) error {
	if !KindOf(w.Kind).Opens {
		if w.Requester.DeliveryKey != "" {
			return ErrDeliveryKey
		}
		return nil
	}
	err := document.CheckDeliveryKey(w.Requester.DeliveryKey)
	if err != nil || document.Blank(w.Requester.Name, w.Requester.Organisation) {
		return ErrDeliveryKey
	}
	return nil
}

func checkSecrecy(w *Warrant, b *Bundle, _ time.Time) error {
	if KindOf(w.Kind).Clock == ClockNone {
		return nil
	}
	days := secrecyDays(w)
	if !plausible(w.Secrecy.Ends) || days > int64(b.MaxSecrecyDays) || days > 0 && document.Blank(w.Secrecy.Reason) {
		return ErrSecrecy
	}
	return nil
}

// WithoutSecrecy reports whether w could be secret and is not: it takes effect over time,
// and its secrecy ends at or before its issue.
func WithoutSecrecy(w Warrant) bool { return KindOf(w.Kind).Clock != ClockNone && secrecyDays(&w) == 0 }

// secrecyDays counts from issue to the end of secrecy, rounded up, so that it
// does not depend on who decides when.
func secrecyDays(w *Warrant) int64 {
	if !w.Secrecy.Ends.After(w.IssuedAt) {
		return 0
	}
	return int64(math.Ceil(float64(w.Secrecy.Ends.Sub(w.IssuedAt)) / float64(day)))
}

func checkFields(w *Warrant, b *Bundle, _ time.Time) error {
	if (len(w.Fields) > 0) != KindOf(w.Kind).Opens || !distinctWords(w.Fields) || !subset(w.Fields, among(b.Fields)) {
		return ErrFields
	}
	return nil
}

// judge asks the bundle's rules. Deny by default; a forbid outweighs any permit;
// and a rule that cannot be evaluated refuses, where Cedar itself would skip it:
// a skipped forbid would fail open.
func (d *Decision) judge(b *Bundle) error {
	request, entities := b.request(d.Warrant, d.Authority)
	verdict, diagnostic := cedar.Authorize(b.rules, entities, request)
	if len(diagnostic.Errors) > 0 {
		d.name(b.rules.named(diagnostic.Errors[0].PolicyID))
		return ErrRuleFailed
	}
	for _, reason := range diagnostic.Reasons {
		r := b.rules.named(reason.PolicyID)
		d.name(r)
		d.Quorum = max(d.Quorum, r.quorum)
		d.NoticePeriod = max(d.NoticePeriod, time.Duration(r.notice)*day)
	}
	switch {
	case verdict != cedar.Allow && len(diagnostic.Reasons) > 0: // forbids, which have no quorum
		return ErrRefusedByRule
	case verdict != cedar.Allow:
		return ErrNotPermitted
	}
	d.Quorum = max(d.Quorum, b.Threshold)
	return nil
}

func (d *Decision) name(r rule) {
	d.Rules, d.Titles = append(d.Rules, r.id), append(d.Titles, r.title)
}

// request puts a warrant into the words of rules/vocabulary.cedarschema.
func (b *Bundle) request(w *Warrant, a *Authority) (cedar.Request, cedar.EntityMap) {
	class := b.OffenceClass(w.OffenceClass)
	listed := class != nil
	if !listed {
		class = &OffenceClass{}
	}
	authority := cedar.Entity{
		UID: cedar.NewEntityUID("Authority", cedar.String(a.ID)),
		Attributes: cedar.NewRecord(cedar.RecordMap{
			"name":            cedar.String(document.Fold(a.Name)),
			"kind":            cedar.String(a.Kind),
			"jurisdiction":    cedar.String(a.Jurisdiction),
			"offence_classes": set(a.OffenceClasses),
		}),
	}
	offence := cedar.Entity{
		UID: cedar.NewEntityUID("Offence", cedar.String(w.OffenceClass)),
		Attributes: cedar.NewRecord(cedar.RecordMap{
			"listed":             cedar.Boolean(listed),
			"speech":             cedar.Boolean(class.Speech),
			"emergency":          cedar.Boolean(class.Emergency),
			"min_penalty_months": cedar.Long(class.MinPenaltyMonths),
			"fields":             set(class.Fields),
		}),
	}
	entities := cedar.EntityMap{authority.UID: authority, offence.UID: offence}
	for uid, action := range words().Actions { // with their groups, for "action in"
		entities[uid] = action.Entity
	}
	return cedar.Request{
		Principal: authority.UID,
		Action:    cedar.NewEntityUID("Action", cedar.String(w.Kind)),
		Resource:  offence.UID,
		Context: cedar.NewRecord(cedar.RecordMap{
			"offence_class":      cedar.String(w.OffenceClass),
			"jurisdiction":       cedar.String(w.Jurisdiction),
			"max_penalty_months": cedar.Long(w.MaxPenaltyMonths),
			"deadline":           cedar.String(w.Deadline),
			"fields":             set(w.Fields),
			"flags":              set(w.Flags),
			"targets":            cedar.Long(len(w.Targets)),
			"secrecy_days":       cedar.Long(secrecyDays(w)),
			"requester": cedar.NewRecord(cedar.RecordMap{
				"name":         cedar.String(document.Fold(w.Requester.Name)),
				"organisation": cedar.String(document.Fold(w.Requester.Organisation)),
			}),
			"custodians": set(b.names),
		}),
	}, entities
}

func set(words []string) cedar.Set {
	values := make([]cedar.Value, len(words))
	for i, w := range words {
		values[i] = cedar.String(w)
	}
	return cedar.NewSet(values...)
}
