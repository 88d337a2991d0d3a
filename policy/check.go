package policy

import (
	"bytes"
	"cmp"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/go-jose/go-jose/v4"
	jsonv2 "github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/penname/penname/verifier/document"
	"github.com/penname/penname/verifier/refusal"
	"github.com/penname/penname/verifier/token"
)

// ErrExpiresFirst says that a warrant is over before the person had their days to object: it
// could be recorded, and never approved.
var ErrExpiresFirst = refusal.New(refusal.Invalid, "warrant.expires_before_objection",
	"expiry: the person is told first, and the warrant expires before their days to object are over, so that nobody could approve it; let it expire later, or leave expiry out, which makes it 30 days.")

// Fault is one reason for which filing a warrant would be refused.
type Fault struct {
	*refusal.Error
	At     string  // JSON pointer (RFC 6901) of the member that is wrong or missing; "": the whole
	Rule   string  // @id of the rule of the bundle that refuses it; "": none does
	Ground *Ground // what is known beside the code; nil: nothing

	// Where the member stands in what was read, both from 1, or what it should stand in.
	// 0: it was not read from a text.
	Line, Character int
}

// Given is what is at hand of a warrant beside it.
type Given struct {
	Key           *jose.JSONWebKey // that is to sign it; nil: not asked about
	Earlier       string           // the warrant that it is about or follows up, a compact JWS; "": not at hand
	Evidence      []string         // each a compact JWS; nil: not at hand
	Platforms     *Platforms       // of the registry; nil: not at hand
	Countersigned []string         // with a signed warrant
	Revocation    []string         // with a signed warrant: [Submission].Revocation

	signed    string // the warrant itself; "": nobody signed it yet
	certified bool   // with a certificate
}

// Checked is what [Bundle.Check] found.
type Checked struct {
	Faults []Fault // in the order in which [Decide] looks; none: it is fit to be signed, or filed

	// What custodians will be asked for, as far as the rules were reached. Of the rules that
	// refuse, the Faults say which.
	Rules        []string
	Grounds      []Ground
	Quorum       int
	NoticePeriod time.Duration
	Exhibits     []token.Exhibit // that filing will want; none without the evidence
	// NotChecked names what only somebody else, or something else at hand, can tell.
	NotChecked []string
}

// checking collects the faults of one warrant.
type checking struct {
	*order
	Checked
	given   Given
	targets map[int]bool // with a fault: their evidence is judged when that is mended
}

// Check finds everything that [Decide] would refuse a warrant for under b, all of it and not
// the first alone, and what no registrar carries out: it is for whoever drafts, signs or
// files. What needs something that is not at hand is in NotChecked.
func (b *Bundle) Check(w Warrant, given Given, at time.Time) Checked {
	w.normalise()
	form := ErrDraft
	if given.signed != "" {
		form = ErrMalformed
	}
	c := &checking{given: given, targets: make(map[int]bool)}
	for _, f := range w.form() {
		if err := f.fail(); err != nil {
			c.add(f.at, form.Because(err))
		}
	}
	a, known := b.authorities[w.Authority]
	if !known {
		c.add("/authority", ErrUnknownAuthority)
		a.Authority = &Authority{ID: w.Authority}
	} else if k := given.Key; k != nil {
		if err := b.holds(a, *k, w.IssuedAt, at); err != nil {
			c.add("", err)
		}
	}
	c.order = b.order(&w, a.Authority, Facts{Platforms: given.Platforms}, at)
	c.certified = given.certified
	c.all(c.checkAddressed)
	if c.kind.Name == "" || c.kind.Since > b.Version {
		c.NotChecked = append(c.NotChecked, "all that depends on the kind")
		return c.Checked
	}
	c.all(c.checkTime)
	if given.signed == "" {
		c.all(c.checkDated)
	}
	c.all(c.checkReasons)
	c.all(c.checkOffence)
	c.checkAll()
	c.all(c.checkRequester)
	if given.signed == "" {
		c.all(c.checkOrganisation)
	}
	c.all(c.checkSecrecy)
	c.all(c.checkFields)
	c.checkRules(known)
	return c.Checked
}

// CheckSigned is [Bundle.Check] of a signed warrant, which is at hand with its signature.
func (b *Bundle) CheckSigned(raw string, given Given, at time.Time) Checked {
	w, err := ParseUnverified(raw)
	if err != nil {
		return Checked{Faults: []Fault{{Error: refusal.Of(err)}}}
	}
	signed, _, err := openWarrant(raw)
	if err == nil {
		given.certified = len(signed.Certificates) > 0
		_, err = b.VerifyAuthority(signed, w.Authority, w.IssuedAt, Seen{Span{at, at}, given.Revocation})
	}
	given.signed, given.Key = raw, nil
	c := b.Check(*w, given, at)
	if err != nil && !ErrUnknownAuthority.Is(err) {
		c.Faults = slices.Insert(c.Faults, 0, Fault{Error: refusal.Of(err)})
	}
	return c
}

// add notes a fault, each code once for a member.
func (c *checking) add(at string, err error) {
	f := Fault{Error: refusal.Of(err), At: at}
	errors.As(err, &f.Ground)
	if !slices.ContainsFunc(c.Faults, func(have Fault) bool { return have.At == f.At && have.Code == f.Code }) {
		c.Faults = append(c.Faults, f)
	}
}

// all notes the failures of a group of checks.
func (c *checking) all(group func() []check) {
	for _, one := range group() {
		if err := one.fail(); err != nil && (c.authority.Kind != "" || !ErrOffenceAuthority.Is(err)) { // an unknown authority has no kind
			c.add(one.at, err)
		}
	}
}

// checkAll checks the targets, what they follow and their evidence.
func (c *checking) checkAll() {
	c.all(func() []check { return []check{{"/targets", c.checkCount}} })
	again, before := c.namedBefore(), len(c.Faults)
	for i, t := range c.Targets {
		c.all(func() []check { return c.checkTarget(i, t) })
		if again[i] {
			c.add(fmt.Sprintf("/targets/%d", i), ErrBadTarget)
		}
		if len(c.Faults) > before {
			before, c.targets[i] = len(c.Faults), true
		}
	}
	if c.given.Earlier != "" {
		if err := c.mayFollow(c.given.Earlier); ErrExtension.Is(err) {
			c.add("/expiry", err)
		} else if err != nil {
			c.add("/earlier", err)
		}
		for i, t := range c.order.targets {
			if t.Refusal != nil {
				c.add(fmt.Sprintf("/targets/%d", i), t.Refusal)
			}
		}
	} else if c.Earlier != "" {
		c.NotChecked = append(c.NotChecked, "the earlier warrant: name its signed file with --earlier; whether it is on file only the registrar knows")
	}
	c.all(c.checkDigests)
	if c.given.signed != "" {
		hash := Hash(c.given.signed)
		if _, err := c.checkCountersigned(Submission{Countersigned: c.given.Countersigned, Revocation: c.given.Revocation}, hash); err != nil {
			c.add("", err)
		}
	}
	c.checkEvidence()
}

// checkEvidence checks each piece, where all of the target that names it is right.
func (c *checking) checkEvidence() {
	switch {
	case !c.needsEvidence():
		if len(c.given.Evidence) > 0 {
			c.add("", ErrNoEvidenceHere)
		}
		return
	case c.given.Evidence == nil:
		c.NotChecked = append(c.NotChecked, "the evidence: name it with --evidence")
		return
	}
	v := verification{order: c.order, keys: make(map[string]*evidenceKeys)}
	for i, t := range c.Targets {
		at := fmt.Sprintf("/targets/%d", i)
		switch err := v.platform(t.Platform); {
		case c.targets[i]:
		case ErrBadTarget.Is(err) && c.b.Registry != nil && c.given.Platforms == nil:
			c.targets[i] = true
			c.NotChecked = append(c.NotChecked, "evidence of "+t.Platform+", which only the registry knows: name the registrar with --server")
		case err != nil:
			c.targets[i] = true
			c.add(at+"/platform", err)
		}
		if c.targets[i] {
			c.refuse(i, ErrBadTarget) // so that nothing is verified with keys that are not known
		}
	}
	missing, err := v.takePieces(c.given.Evidence)
	if err != nil {
		c.add("/targets", err)
	}
	if v.pieces == nil {
		return
	}
	v.verify()
	for i, t := range c.Targets {
		if !c.targets[i] {
			c.checkPieces(&v, i, t, cmp.Or(missing, error(ErrEvidenceMismatch)))
		}
	}
	all, err := uniqueExhibits(v.exhibits)
	if err != nil {
		c.add("/targets", err)
	}
	if c.b.wantsExhibits(c.Warrant) {
		c.Exhibits = all
	}
}

func (c *checking) checkPieces(v *verification, i int, t Target, missing error) {
	var first [32]byte
	for j, digest := range append([]string{t.Evidence}, t.Further...) {
		at := fmt.Sprintf("/targets/%d/evidence", i)
		if j > 0 {
			at = fmt.Sprintf("/targets/%d/further/%d", i, j-1)
		}
		raw, here := v.pieces[digest]
		if !here {
			c.add(at, refusal.Of(missing).Because(&Ground{Title: "it is not among the evidence that is at hand", Field: "targets",
				Cure: "name the file that holds it, byte for byte as the platform gave it"}))
			continue
		}
		e, tok, _, err := v.piece(raw, digest, t)
		switch {
		case err != nil:
			c.add(at, err)
			continue
		case first == [32]byte{}:
			first = tok.Commitment
		case tok.Commitment != first:
			c.add(at, ErrEvidenceMismatch.Because(errors.New("it commits to another record than the first piece of this pen name: ask about it in a warrant of its own")))
		}
		v.exhibits = append(v.exhibits, e.Post.Exhibits...)
	}
}

// checkRules asks the rules, once all that they are asked about is right: what is wrong
// otherwise would be said twice.
func (c *checking) checkRules(known bool) {
	about := []string{"/authority", "/kind", "/offence_id", "/offence_class", "/max_penalty_months", "/jurisdiction", "/fields", "/flags", "/deadline", "/secrecy/ends"}
	if !known || slices.ContainsFunc(c.Faults, func(f Fault) bool { return slices.Contains(about, f.At) }) {
		c.NotChecked = append(c.NotChecked, "the rules: they are asked when the faults are mended")
		return
	}
	judged := Decision{Validated: true} // it can be by the time it is filed
	err := judged.judge(c.order)
	c.Rules, c.Grounds, c.Quorum, c.NoticePeriod = judged.Rules, judged.Grounds, judged.Quorum, judged.NoticePeriod
	switch {
	case err != nil && !ErrOffenceFields.Is(err) && !ErrNotPermitted.Is(err):
		for i, g := range judged.Grounds {
			f := Fault{Error: refusal.Of(err), Rule: judged.Rules[i], Ground: &g}
			if g.Field != "" {
				f.At = "/" + strings.ReplaceAll(g.Field, ".", "/")
			}
			c.Faults = append(c.Faults, f)
		}
	case ErrOffenceFields.Is(err):
		c.add("/fields", err)
	case err != nil:
		c.add("", err)
	case c.kind.Decided && judged.NoticePeriod > 0:
		if !c.Expiry.After(c.at.Add(judged.NoticePeriod)) {
			c.add("/expiry", ErrExpiresFirst)
		}
	}
}

// BeforeSigning judges a warrant that nobody signed yet, as [Decide] will under b once
// it is signed with key: the first of what [Bundle.Check] finds. earlier is the warrant that it
// names, a compact JWS; empty: it is not at hand, and not asked about. Of the Decision only
// Allowed, Refusal, Rules, Grounds and the Refusal of each of Targets are set.
func BeforeSigning(w Warrant, earlier string, key jose.JSONWebKey, b *Bundle, at time.Time) Decision {
	c := b.Check(w, Given{Key: &key, Earlier: earlier}, at)
	return c.Decision(len(w.Targets))
}

// Decision is what was found as [BeforeSigning] returns it, of so many targets.
func (c Checked) Decision(targets int) (d Decision) {
	all := make([]TargetDecision, targets)
	for _, f := range c.Faults {
		var i int
		if _, err := fmt.Sscanf(f.At, "/targets/%d", &i); err == nil && i < targets && all[i].Refusal == nil {
			all[i].Refusal, d.Targets = f.Error, all
		}
	}
	switch {
	case len(c.Faults) == 0 || c.Faults[0].Rule != "" || ErrExpiresFirst.Is(c.Faults[0].Error):
		d.Rules, d.Grounds = c.Rules, c.Grounds
	case c.Faults[0].Ground != nil:
		d.Grounds = []Ground{*c.Faults[0].Ground}
	}
	if len(c.Faults) > 0 {
		d.Refusal = c.Faults[0].Error
	}
	d.Allowed = len(c.Faults) == 0
	return d
}

// mayFollow is what can be known before a warrant is signed that is about an earlier one: of
// a validation, which can also be filed with that one, whether it will count.
func (o *order) mayFollow(earlier string) error {
	if w, err := ParseUnverified(earlier); err == nil && o.Kind == Validation {
		if issued := o.b.Authority(w.Authority); issued == nil || !o.b.countersigns(o.Authority, w, issued) {
			return ErrEarlierAuthority
		}
		return nil
	}
	hash := Hash(earlier)
	if _, err := ParseUnverified(earlier); err != nil || hex.EncodeToString(hash[:]) != o.Earlier {
		return ErrNoEarlier
	}
	o.known.Earlier = &Recorded{Warrant: earlier}
	return o.checkEarlier()
}

// ReadDraft is [ParseDraft] that names all members of the wrong form, one fault for each of
// the top, with its place; where there are some the warrant has the others.
func ReadDraft(b []byte) (*Warrant, []Fault) {
	if len(b) > warrantFormat.MaxBytes {
		return nil, []Fault{{Error: ErrTooLarge}}
	}
	text := document.Decoded(b)
	typed := document.Typed(b)
	if w, err := ParseDraft(b); err == nil {
		return w, nil
	}
	var members map[string]jsontext.Value
	if err := jsonv2.Unmarshal(typed, &members); err != nil {
		f := Fault{Error: ErrDraft.Because(place(typed, err)), Line: 1, Character: 1}
		var form *jsontext.SyntacticError
		if errors.As(err, &form) {
			f.Line, f.Character = lineAndCharacter(typed, form.ByteOffset)
		}
		return nil, []Fault{f}
	}
	w := new(Warrant)
	var faults []Fault
	for name, value := range members {
		quoted, _ := jsontext.AppendQuote(nil, name)
		one := slices.Concat([]byte("{"), quoted, []byte(":"), value, []byte("}"))
		err := jsonv2.Unmarshal(one, w, jsonv2.RejectUnknownMembers(true))
		var at *jsonv2.SemanticError
		switch {
		case err == nil:
		case errors.Is(err, jsonv2.ErrUnknownName) && errors.As(err, &at):
			faults = append(faults, Fault{Error: ErrDraft.Because(errors.New("a warrant has no such member")), At: string(at.JSONPointer)})
		case errors.As(err, &at):
			faults = append(faults, Fault{Error: ErrDraft.Because(errors.New("the value has the wrong form")), At: string(at.JSONPointer)})
		default:
			faults = append(faults, Fault{Error: ErrDraft.Because(place(one, err)), At: "/" + name})
		}
	}
	w.copied()
	Locate(text, faults)
	slices.SortFunc(faults, func(x, y Fault) int { return cmp.Or(x.Line-y.Line, x.Character-y.Character) })
	return w, faults
}

// Payload is what a signed document says, for places in it to be named; nil if it is none.
func Payload(raw string) []byte {
	d, err := warrantFormat.Open(raw)
	if err != nil {
		return nil
	}
	return d.Payload
}

// Locate notes where each fault stands in a JSON text. What is missing is looked for where
// it should stand.
func Locate(text []byte, faults []Fault) {
	starts := make(map[string]int64)
	dec := jsontext.NewDecoder(bytes.NewReader(text))
	for {
		dec.PeekKind()
		from := dec.InputOffset()
		for from < int64(len(text)) && strings.ContainsRune(" \t\r\n,:", rune(text[from])) {
			from++
		}
		tok, err := dec.ReadToken()
		if err != nil {
			break
		}
		if at := string(dec.StackPointer()); tok.Kind() != '}' && tok.Kind() != ']' {
			starts[at] = from // of a member its name comes first, and then its value
		}
	}
	for i := range faults {
		f := &faults[i]
		if f.Line > 0 {
			continue
		}
		at := f.At
		for ; ; at = at[:max(0, strings.LastIndexByte(at, '/'))] {
			if _, ok := starts[at]; ok || at == "" {
				break
			}
		}
		f.Line, f.Character = lineAndCharacter(text, starts[at])
	}
}

// lineAndCharacter are those of a byte of a text, both from 1.
func lineAndCharacter(text []byte, at int64) (line, character int) {
	before := text[:max(0, min(at, int64(len(text))))]
	return document.Line(text, at), 1 + utf8.RuneCount(before[bytes.LastIndexByte(before, '\n')+1:])
}
