package policy

import (
	"crypto"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"math"
	"slices"
	"time"

	cedar "github.com/cedar-policy/cedar-go"
	"github.com/go-jose/go-jose/v4"

	"github.com/penname/penname/verifier/refusal"
	"github.com/penname/penname/verifier/token"
)

// Submission is what a requester files: the warrant and the evidence that it
// names, each a compact JWS, the evidence in any order.
type Submission struct {
	Warrant  string   `json:"warrant"`
	Evidence []string `json:"evidence"`

	// Countersigned are warrants of kind [Validation] about this one, compact JWS: by the
	// authority that validates those of the issuing one, and by each of Jointly.
	Countersigned []string `json:"countersigned,omitempty"`

	// Revocation are lists of revoked certificates, base64 of DER, each by an authority in the
	// chain of a certificate that signed one of these documents: see [ParseRevocationList].
	Revocation []string `json:"revocation,omitempty"`
}

// Facts are what the public log says that a decision depends on. Whoever calls
// [Decide] has checked each leaf under a cosigned checkpoint.
type Facts struct {
	Platforms *Platforms // that the warrant names, see [Bundle.AsksFor]
	Recorded  *int64     // index of the recorded leaf of this warrant; nil: it is not recorded yet
	Earlier   *Recorded  // the warrant that this one names as its earlier one; nil: there is none

	RecordedAt time.Time // when, as the leaf says; zero: it is not recorded yet
	Filed      *Filed    // what was filed before; nil: not known, then the warrant counts alone
}

// Filed counts what was recorded before a warrant. It is the registrar's word: nothing
// public says it.
type Filed struct {
	Today       int `json:"today"`        // warrants of its authority on the UTC day on which it is recorded
	Authority30 int `json:"authority_30"` // targets in the warrants of its authority in the 30 days before
	Requester30 int `json:"requester_30"` // the same for the organisation of its requester
}

// Recorded is a warrant, a compact JWS, to which the recorded leaf with that index
// commits.
type Recorded struct {
	Warrant string
	Leaf    int64

	// MaxSecrecyDays are those of the bundle that it was recorded under, to which an audit
	// holds every change of its secrecy; 0: not known.
	MaxSecrecyDays int
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

// recorded is when a warrant of this kind was recorded, as exactly as its leaf says it; it is
// now, when it is to be.
func (f Facts) recorded(kind string, at time.Time) Span {
	switch from := f.RecordedAt; {
	case from.IsZero():
		return Span{at, at}
	case KindOf(kind).Timed:
		return Span{from, from.Add(time.Second - 1)}
	default:
		return Span{from, from.Add(day - 1)}
	}
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

// TargetDecision is what [Decide] found of one target.
type TargetDecision struct {
	Refusal    *refusal.Error // why this target is refused; the rest of it is then empty
	Token      *token.Token   // in its first piece of evidence; nil of a kind that needs none
	Posts      []Post         // in the order in which the warrant names their evidence; what the account suggests is in them, and no rule decides on it
	Registered Registered     // since when its platform is registered
}

// Ground is what a rule that determined a decision says of itself. Of those that forbid,
// Field is the member of the warrant that is wrong, Article the law that the rule carries
// out, and Cure what to do; each can be empty.
type Ground struct{ Title, Field, Article, Cure string }

// Error makes a ground the cause of a refusal that no rule made.
func (g *Ground) Error() string { return g.Title }

// Decision is what [Decide] found.
type Decision struct {
	Allowed bool
	Refusal *refusal.Error // nil if and only if Allowed

	Rules   []string // @id of the Cedar rules that determined it, in the order of the files; empty when no rule was reached
	Grounds []Ground // of each; of a refusal that no rule made, what is known of it beside its code

	WarrantHash [32]byte
	Warrant     *Warrant          // set once the authority's signature is verified, refused or not
	Authority   *Authority        // who signed it
	Certificate *x509.Certificate // with which it signed; nil: with a key of its own
	Offence     *Offence          // in the catalogue; nil before version 5 of the bundle, and of a warrant that names none
	Validated   bool              // whoever must validate the authority's warrants has; an emergency without it lapses

	// Targets are those of the warrant, in its order: when it is allowed, and when it is not
	// because each of them is refused. Under bundles before version 5 one refused target
	// refuses the warrant.
	Targets  []TargetDecision
	Exhibits []token.Exhibit // when custodians decide: what the posts showed, to be filed with it, each once; none of an offence of which nobody may make a copy

	Opens        bool          // allowed, and of a kind that opens names: never release a share without it
	Quorum       int           // when allowed: custodians who must approve, never below the bundle's threshold
	OverDaily    bool          // when allowed: the authority is over its daily number, so that all custodians must approve
	Required     []Required    // when allowed: who must be among them
	NoticePeriod time.Duration // when allowed: for how long a person can object who is told first, see NoticeDays
}

const (
	clockSkew        = 5 * time.Minute
	maxEvidence      = 10_000
	maxEvidenceBytes = 64 << 10 // one piece
	day              = 24 * time.Hour
)

// Decide judges a submission under bundle b at a time, by what the public log says. It
// is pure: the same arguments give the same Decision, whoever asks and whenever. It knows
// of what was filed before what the facts say; that a warrant is not a replay, that an
// earlier one still stands and that the counts are right is for the registrar to check,
// which does so in the transaction that records it.
//
// The checks run in the order of the refusals in this package, and the first
// that fails decides. What is wrong in one target refuses that one; if all are refused,
// the refusal of the first is the decision's.
func Decide(s Submission, b *Bundle, known Facts, at time.Time) Decision {
	d := Decision{WarrantHash: Hash(s.Warrant)}
	if b == nil || b.hash == "" {
		return d.refuse(ErrWrongBundle.Because(errors.New("the bundle was not parsed")))
	}
	signed, w, err := openWarrant(s.Warrant)
	if err != nil {
		return d.refuse(err)
	}
	a, err := b.VerifyAuthority(signed, w.Authority, w.IssuedAt, Seen{known.recorded(w.Kind, at), s.Revocation})
	if err != nil {
		return d.refuse(err)
	}
	o := b.order(w, a, known, at)
	if o.certified = len(signed.Certificates) > 0; o.certified {
		d.Certificate = signed.Certificates[0]
	}
	d.Warrant, d.Authority, d.Offence = w, a, o.offence
	if err := o.run(o.checkAddressed, o.checkTime, o.checkReasons, o.checkOffence, o.checkTargets, o.checkFollows); err != nil {
		return d.refuse(err)
	}
	if d.Validated, err = o.checkCountersigned(s, d.WarrantHash); err != nil {
		return d.refuse(err)
	}
	v := verification{order: o, keys: make(map[string]*evidenceKeys)}
	if err := v.evidence(s.Evidence); err != nil {
		return d.refuse(err)
	}
	if err := o.wholly(); err != nil {
		if b.Version >= 5 {
			d.Targets = o.targets
		}
		return d.refuse(err)
	}
	if err := o.run(o.checkRequester, o.checkSecrecy, o.checkFields); err != nil {
		return d.refuse(err)
	}
	if err := d.judge(o); err != nil {
		return d.refuse(err)
	}
	d.Allowed, d.Targets, d.Opens = true, o.targets, o.kind.Opens
	if b.wantsExhibits(w) {
		d.Exhibits = v.exhibits
	}
	return d
}

// NoticeDays are whole days that the persons have to object, once they were told, before
// custodians decide; 0: they are not told first.
func (d Decision) NoticeDays() int {
	if d.Warrant == nil || !KindOf(d.Warrant.Kind).Decided {
		return 0
	}
	return int(d.NoticePeriod / day)
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
	var g *Ground
	if errors.As(err, &g) {
		d.Grounds = []Ground{*g}
	}
	return d
}

// judge asks the bundle's rules. Deny by default; a forbid outweighs any permit;
// and a rule that cannot be evaluated refuses, where Cedar itself would skip it:
// a skipped forbid would fail open.
func (d *Decision) judge(o *order) error {
	request, entities := o.request(d.Validated)
	verdict, diagnostic := cedar.Authorize(o.b.rules, entities, request)
	if len(diagnostic.Errors) > 0 {
		d.name(o.b.rules.named(diagnostic.Errors[0].PolicyID))
		return ErrRuleFailed
	}
	if verdict == cedar.Allow {
		if err := o.checkOffenceFields(); err != nil {
			return err
		}
	}
	for _, reason := range diagnostic.Reasons {
		r := o.b.rules.named(reason.PolicyID)
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
	d.Quorum = max(d.Quorum, o.b.Threshold)
	if o.kind.Decided {
		d.Required = o.b.RequiredFor(o.OffenceClass, o.OffenceID)
	}
	d.raise(o)
	return nil
}

// raise is what no rule lowers: the quorum for many targets, for a power that is wider than
// opening one name, for who is told first, and for an authority in haste.
func (d *Decision) raise(o *order) {
	n := len(o.b.Custodians)
	if o.offence != nil && o.kind.Decided {
		d.Quorum = max(d.Quorum, o.offence.quorum(o.filed(), n))
	}
	told := o.class != nil && o.class.NoticeFirst
	if told || o.kind.More {
		d.Quorum = max(d.Quorum, more(o.b.Threshold, n))
	}
	if told {
		d.NoticePeriod = max(d.NoticePeriod, toldFirst)
	}
	if f := o.known.Filed; f != nil && o.b.Version >= 5 && o.kind.Clock != ClockNone && f.Today >= o.authority.DailyWarrants {
		d.OverDaily, d.Quorum = true, n
	}
}

func (d *Decision) name(r rule) {
	d.Rules, d.Grounds = append(d.Rules, r.id), append(d.Grounds, r.Ground)
}
