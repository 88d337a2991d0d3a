// Package registrar is the wire between the disclosing side and everybody
// outside it: addresses, documents and the client that outsiders use. The server
// in escrow/web speaks the same types, so that neither side can drift.
//
//	who        what                                    client
//	court      POST /v1/warrants                       FileWarrant
//	           GET  /v1/warrants/{case}                Status
//	           GET  /v1/warrants/{case}/exhibits       Exhibits: which are missing
//	           PUT  /v1/warrants/{case}/exhibits/{digest}  PutExhibit, one that the evidence declares
//	           PUT  /v1/warrants/{case}/short-exhibits PutShortExhibits, several at once
//	           POST /v1/warrants/{case}/statements     Said: what custodians say, with the court's key
//	           POST /v1/authority/cases                Mine: the cases of an authority, with its key
//	           GET  /v1/warrants/{case}/objections     Objections, encrypted to the requester and the custodians
//	lawyer     POST /v1/notices                        Coded: what the notice of a one-time code says
//	           POST /v1/objections                     Object
//	requester  GET  /v1/warrants/{case}/package        Package, one ciphertext to them
//	           POST /v1/warrants/{case}/deletion       SayDeleted: what was opened is deleted
//	both       GET  /v1/warrants/{case}/exhibits/{digest}  Exhibit, one ciphertext to them
//	           GET  /v1/warrants/{case}/short-exhibits ShortExhibits, several at once
//	custodian  PUT  /v1/warrants/{case}/exhibits/{digest}/copies/{recipient}  PutCopy, of an exhibit, to a new custodian
//	           GET  /v1/warrants/{case}/exhibits/{digest}/copies/{recipient}  Copy, one ciphertext to them
//	           GET  /v1/cases                          Cases
//	           GET  /v1/cases/{case}                   CaseFile
//	           POST /v1/cases/{case}/decisions         Decide
//	           POST /v1/cases/{case}/statements        State: a question, reasons, a recusal
//	           POST /v1/absences                       State: when they are away
//	           GET  /v1/ceremonies/{plan}/messages     CeremonyMessages
//	           POST /v1/ceremonies/{plan}/messages     Say
//	anyone     GET  /v1/ceremonies/{plan}/transcript   Transcript
//	           GET  /v1/bundle                         Bundle
//	           GET  /v1/bundles/{hash}                 BundleByHash: the bytes that were endorsed
//	           GET  /v1/bundles/{hash}/endorsements    and by whom
//	           GET  /v1/absences                       Absences of custodians that are not over
//	           GET  /v1/platforms                      Platforms: the registry, a page of it
//	           GET  /v1/platforms/{platform}           Platform: the records of one, a page of them
//	           GET  /log/…                             see package proof
//
// A custodian's requests for cases carry a DPoP proof (RFC 9449, 4.2) by the key
// that the bundle names. Exhibits are for whoever knows the id of the case and the digest:
// what is stored is encrypted, is of the length that its content must have, and never
// changes; a copy is signed by a custodian. A refusal is a [Problem], and all else is JSON but the package and exhibits,
// which are bytes.
package registrar

import (
	"cmp"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/penname/penname/policy"
	"github.com/penname/penname/verifier/document"
	"github.com/penname/penname/verifier/opening"
)

// The addresses, as patterns: a router takes them as they are, and [Fill] makes
// one address of a pattern.
const (
	PathBundle     = "/v1/bundle"
	PathBundles    = "/v1/bundles/:hash"
	PathEndorsed   = "/v1/bundles/:hash/endorsements"
	PathPlatforms  = "/v1/platforms"
	PathPlatform   = "/v1/platforms/:platform"
	PathWarrants   = "/v1/warrants"
	PathWarrant    = "/v1/warrants/:case"
	PathPackage    = "/v1/warrants/:case/package"
	PathDeletion   = "/v1/warrants/:case/deletion"
	PathExhibits   = "/v1/warrants/:case/exhibits"
	PathExhibit    = "/v1/warrants/:case/exhibits/:digest"
	PathShort      = "/v1/warrants/:case/short-exhibits"
	PathCopy       = "/v1/warrants/:case/exhibits/:digest/copies/:recipient"
	PathObjections = "/v1/warrants/:case/objections"
	PathNotices    = "/v1/notices"
	PathObject     = "/v1/objections"
	PathCases      = "/v1/cases"
	PathCase       = "/v1/cases/:case"
	PathDecisions  = "/v1/cases/:case/decisions"
	PathStatements = "/v1/cases/:case/statements"
	PathSaid       = "/v1/warrants/:case/statements"
	PathAbsences   = "/v1/absences"
	PathMine       = "/v1/authority/cases"
	PathMessages   = "/v1/ceremonies/:plan/messages"
	PathTranscript = "/v1/ceremonies/:plan/transcript"
	PathLog        = "/log" // the public log, c2sp.org/tlog-tiles
)

// The names of what varies in the patterns.
const (
	ParamCase   = "case"      // id of a case
	ParamPlan   = "plan"      // hex SHA-256 of a ceremony's plan
	ParamHash   = "hash"      // hex SHA-256 of a bundle
	ParamDigest = "digest"    // hex SHA-256 of an exhibit as it was published
	ParamOf     = "of"        // in the query of GET PathShort: digests, 32 bytes each, base64url
	ParamCopyTo = "recipient" // hex SHA-256 of the age recipient of a custodian
	ParamFrom   = "from"      // in the query of PathCases and PathMine: Cases.Next of the page before

	ParamPlatform = "platform" // id of a platform
	ParamAfter    = "after"    // in the query of PathPlatforms and PathPlatform: leaf of the last record of the page before
)

// Fill puts values into the places of a pattern that vary, in their order, escaped.
func Fill(pattern string, values ...string) string {
	parts := strings.Split(pattern, "/")
	for i, part := range parts {
		if strings.HasPrefix(part, ":") {
			parts[i], values = url.PathEscape(values[0]), values[1:]
		}
	}
	return strings.Join(parts, "/")
}

// Exhibits says which exhibits of a case are stored. It tells nothing of what they show
// to whoever does not know that.
type Exhibits struct {
	Case    string    `json:"case"`
	Stored  int       `json:"stored"`
	Missing []string  `json:"missing,omitempty"` // digests, hex, sorted
	Until   time.Time `json:"until,omitzero"`    // the day from which they are dropped, once the case is over
}

// String is for a person at a terminal; empty where the case has no exhibits.
func (e Exhibits) String() string {
	if e.Stored+len(e.Missing) == 0 {
		return ""
	}
	return fmt.Sprintf("exhibits: %d stored, %d missing; kept until %s at least", e.Stored, len(e.Missing), e.Until.UTC().Format(time.DateOnly))
}

// Objections are what the persons of a case said against it. What they say is encrypted to
// the requester and the custodians; whoever knows the id of the case learns when it was said
// and what a court ruled.
type Objections struct {
	Case       string              `json:"case"`
	Objections []opening.Objection `json:"objections"`
}

// NoticeCode is the one-time code of a notice, as a lawyer was given it.
type NoticeCode struct {
	Code string `json:"code"`
}

// LawyersObjection is what a lawyer objects with the code of a notice, encrypted to those whom
// the notice names.
type LawyersObjection struct {
	Code   string `json:"code"`
	Sealed []byte `json:"sealed"`
}

// Objected is the digest of an objection that was stored: a ruling names it.
type Objected struct {
	Digest string `json:"digest"`
}

// CaseStatus is where a case stands. It names nothing of the warrant: whoever
// knows only the id of a case learns its state, that of each target by its place in the
// warrant, the dates that it runs to, and how many custodians decided. The filing of a
// warrant and custodians are answered with more.
type CaseStatus struct {
	Case      string `json:"case"`
	State     string `json:"state"`     // "recorded", "released", …: disclose.State
	Decided   int    `json:"decided"`   // custodians who decided: how is told once a leaf of the public log opens it
	Approvals int    `json:"approvals"` // those of them who approved some target, as far as it is told
	Declined  int    `json:"declined"`  // those of them who declined all, likewise
	Quorum    int    `json:"quorum"`    // approvals that it takes; 0: it took effect when it was recorded, and nobody decides about it

	// SuspendedUntil is when the suspension of its pen names ends; zero: none is in force.
	SuspendedUntil time.Time `json:"suspended_until,omitzero"`

	Targets   []TargetStatus     `json:"targets,omitempty"`   // in the order of the warrant; none of a case from before they were decided one by one
	Deadlines []opening.Deadline `json:"deadlines,omitempty"` // the next one first

	// More warrants of its authority were recorded that day than the rules expect: all
	// custodians have to approve.
	OverDaily bool `json:"over_daily,omitempty"`

	Barred *Barred `json:"barred,omitempty"` // what was handed over may not be used; nil: it may
	// Deleted is the requester's own statement that what was delivered is deleted. Nobody
	// checked it.
	Deleted *Deleted `json:"deleted,omitempty"`

	// By custodians, in newer rules: it, its authority or its platform. Only in the answer
	// to who asks for the status.
	Stopped bool `json:"stopped,omitempty"`

	// In the lists that a custodian and an authority ask for: what is known without the warrant,
	// and what the case is to them.
	Kind      string            `json:"kind,omitempty"`
	Authority string            `json:"authority,omitempty"` // id
	PenNames  int               `json:"pen_names,omitempty"` // as filed
	Next      *opening.Deadline `json:"next,omitempty"`      // the first date that is not met
	Waits     string            `json:"waits,omitempty"`

	ApproveFrom time.Time `json:"approve_from,omitzero"` // to a custodian, of a case that is not to be approved yet; zero: the persons were not told yet

	// For whoever filed it, and for custodians.
	Warrant    string    `json:"warrant,omitempty"` // hash of the JWS, hex; only in the answer to somebody who sent it, or a decision on it
	Leaf       int64     `json:"leaf,omitempty"`    // index of the recorded warrant in the public log, never 0
	Bundle     string    `json:"bundle,omitempty"`  // hash of the rules that it was decided under, hex
	SecrecyEnd time.Time `json:"secrecy_ends,omitzero"`
	Expires    time.Time `json:"expires,omitzero"`
	Rules      []string  `json:"rules,omitempty"` // ids of the policies that allowed it; only when it was filed

	About *CaseStatus `json:"about,omitempty"` // where the case stands that the warrant is about, since it was filed; only when it was filed
}

// TargetStatus is where one target of a case stands.
type TargetStatus struct {
	opening.TargetState
	Mend string `json:"mend,omitempty"` // why it is refused and how to mend that; only when it was filed
}

// Barred says why what was handed over may not be used.
type Barred struct {
	Why  string `json:"why"`  // BarredAnnulled or BarredLapsed
	Leaf int64  `json:"leaf"` // index of the entry of the public log that says so
}

// Why a case is barred.
const (
	BarredAnnulled = "annulled" // by a court that is over the one that ordered
	BarredLapsed   = "lapsed"   // an emergency that nobody validated in time
)

var forbidden = map[string]string{BarredAnnulled: "the order was annulled", BarredLapsed: "the emergency lapsed"}

// Deleted is a requester's statement that what was delivered is deleted.
type Deleted struct {
	Statement string `json:"statement"` // their words
	Leaf      int64  `json:"leaf"`      // index of its entry in the public log
}

// Deletion carries the statement to the registrar, with what only who opened the package
// can make.
type Deletion struct {
	Statement string `json:"statement"` // 1 to 4,000 displayable characters
	MAC       []byte `json:"mac"`       // opening.DeletionMAC; base64 on the wire
}

// String is for a person at a terminal.
func (s CaseStatus) String() string { return s.At(time.Time{}) }

// At is String with the time that is left at now until each deadline; the zero time leaves
// it out.
func (s CaseStatus) At(now time.Time) string {
	var b strings.Builder
	fmt.Fprintf(&b, "case %s\n%s", s.Case, s.Standing())
	if s.OverDaily {
		b.WriteString("\nover its authority's daily number, so every custodian has to approve")
	}
	b.WriteString(s.targets())
	for _, d := range s.Deadlines {
		b.WriteString("\n" + deadline(d, now))
	}
	if s.Stopped {
		b.WriteString("\nstopped by the custodians, in newer rules: it, its authority or its platform; nothing is decided or released any more")
	}
	if s.Barred != nil {
		fmt.Fprintf(&b, "\n%s, entry %d of the public log", s.Forbidden(), s.Barred.Leaf)
	}
	if s.Deleted != nil {
		fmt.Fprintf(&b, "\nthe requester states that what was delivered is deleted, entry %d of the public log:", s.Deleted.Leaf)
		for line := range strings.SplitSeq(s.Deleted.Statement, "\n") {
			b.WriteString("\n  | " + document.Visible(line))
		}
	}
	if s.Leaf != 0 {
		fmt.Fprintf(&b, "\npublic log entry %d; secret until %s; expires %s",
			s.Leaf, s.SecrecyEnd.UTC().Format(time.DateOnly), s.Expires.UTC().Format(time.DateOnly))
	}
	return document.Printable(b.String())
}

// Forbidden says what may not be used of a case that is barred, and why.
func (s CaseStatus) Forbidden() string {
	return fmt.Sprintf("use%s is forbidden: %s", s.forbiddenOf(), cmp.Or(forbidden[s.Barred.Why], s.Barred.Why))
}

// Standing is where the case stands as a whole.
func (s CaseStatus) Standing() string {
	state := s.State
	switch authorised := slices.ContainsFunc(s.Targets, func(t TargetStatus) bool { return t.State == "authorised" }); {
	case s.Quorum == 0 && state == "recorded":
		return state + ": in effect; nobody has to decide about it"
	case s.Quorum == 0:
		return state
	case !s.SuspendedUntil.IsZero():
		state = "suspended until " + s.SuspendedUntil.UTC().Format(time.DateOnly)
	case state == "authorised" && len(s.Targets) > 0 && !authorised: // until the persons are told
		state = "suspension ended"
	}
	return state + ": " + s.Custodians()
}

// Custodians says how many have decided, and how as far as that is told.
func (s CaseStatus) Custodians() string {
	untold := s.Decided - s.Approvals - s.Declined
	if untold > 0 && s.Approvals+s.Declined == 0 {
		return fmt.Sprintf("%d decided, %d must approve", untold, s.Quorum)
	}
	text := fmt.Sprintf("%d of %d custodians approved", s.Approvals, s.Quorum)
	if s.Approvals > s.Quorum {
		text = fmt.Sprintf("%d custodians approved, where %d must", s.Approvals, s.Quorum)
	}
	if s.Declined > 0 {
		text += fmt.Sprintf(", %d declined", s.Declined)
	}
	if untold > 0 {
		text += fmt.Sprintf(", %d decided since", untold)
	}
	return text
}

// forbiddenOf are the released targets that may not be used; empty where none may.
func (s CaseStatus) forbiddenOf() string {
	var which []string
	released := 0
	for i, t := range s.Targets {
		if t.State != "released" {
			continue
		}
		if released++; t.Code != "" {
			which = append(which, fmt.Sprintf(" of target %d", i+1))
		}
	}
	if len(which) == released {
		return ""
	}
	return strings.Join(which, ",")
}

// targets counts those in each state, and names each where there are several, or where it is
// refused.
func (s CaseStatus) targets() string {
	all := slices.Clone(s.Targets)
	if s.Quorum == 0 {
		for i := range all {
			if all[i].State == "waiting" {
				all[i].State = "held"
			}
		}
	}
	if len(all) == 0 {
		return ""
	}
	count := make(map[string]int)
	var states []string // in the order in which they come
	var each strings.Builder
	for i, t := range all {
		if count[t.State]++; count[t.State] == 1 {
			states = append(states, t.State)
		}
		if t.Code == "" && len(all) == 1 {
			continue
		}
		fmt.Fprintf(&each, "\n  target %d  %s", i+1, t.State)
		if t.Code != "" {
			each.WriteString(": " + t.Code)
		}
		if t.Mend != "" {
			each.WriteString(": " + t.Mend)
		}
	}
	for i, state := range states {
		states[i] = fmt.Sprintf("%d %s", count[state], state)
	}
	return "\ntargets: " + strings.Join(states, ", ") + each.String()
}

// deadline is a line about one: to the second, as the log has it where a clock is short.
func deadline(d opening.Deadline, now time.Time) string {
	line := d.What
	if d.Met {
		return line + ": done"
	}
	line += ": " + d.At.UTC().Format("2006-01-02 15:04:05 UTC")
	switch left := d.At.Sub(now); {
	case now.IsZero():
		return line
	case left <= 0:
		return line + ", which is past"
	case left < 72*time.Hour:
		return fmt.Sprintf("%s, %d hours left", line, int(left.Hours()))
	default:
		return fmt.Sprintf("%s, %d days left", line, int(left.Hours()/24))
	}
}

// What waits for the authority in a case of its list ([CaseStatus].Waits).
const (
	WaitsRelease    = "release"    // the requester opens it
	WaitsObjection  = "objection"  // of a person or their lawyer, on which a court rules
	WaitsQuestion   = "question"   // of a custodian, which the authority answers
	WaitsValidation = "validation" // the emergency is validated, or lapses
)

// Inquiry carries an authority's request to be shown what is its own: policy.SignInquiry.
type Inquiry struct {
	Inquiry string `json:"inquiry"`
}

// Cases is a page of those that wait for custodians, the one that expires first
// first; or of those of an authority, the one that is due first first.
type Cases struct {
	Cases []CaseStatus `json:"cases"`
	Next  string       `json:"next,omitempty"` // where the next page begins; empty on the last one
}

// Decision carries a custodian's signed answer: opening.SignApproval.
type Decision struct {
	Decision string `json:"decision"`
}

// Statement carries what a custodian signed beside a decision: opening.SignStatement.
type Statement struct {
	Statement string `json:"statement"`
}

// Said is what custodians said beside their decisions in a case, and which of them are away.
type Said struct {
	Case     string         `json:"case,omitempty"`
	Said     []opening.Said `json:"said,omitempty"`     // opening.VerifyStatement
	Absences []string       `json:"absences,omitempty"` // likewise
}

// Bundle is the bundle in force, byte for byte what was endorsed: its hash is
// its address.
type Bundle struct {
	Bundle       []byte   `json:"bundle"`       // policy.ParseBundle reads it; base64 on the wire
	Endorsements []string `json:"endorsements"` // policy.SignEndorsement
}

// Endorsements are those with which a bundle came into force.
type Endorsements struct {
	Endorsements []string `json:"endorsements"` // policy.SignEndorsement
}

// Platforms are signed records of platforms in the order of their leaves: a page of the
// registry, or of the records of one. Who reads them checks each against its leaf.
type Platforms struct {
	Records []policy.LoggedPlatform `json:"records"`
	More    bool                    `json:"more"` // behind the last leaf here
}

// Message is what one participant says in a ceremony:
// policy.SignCeremonyMessage.
type Message struct {
	Message string `json:"message"`
}

// Board is what was said in a ceremony, in the order in which it came.
type Board struct {
	Messages []string `json:"messages"`
	Closed   bool     `json:"closed"` // the transcript is in the public log
}

// Problem is a refusal, RFC 9457. The registrar fills in the first block, with
// constants only; the program that prints it adds what it found on its own
// machine.
type Problem struct {
	Code    string         `json:"code"`
	Title   string         `json:"title"`
	Status  int            `json:"status,omitempty"`
	Type    string         `json:"type,omitempty"`    // ProblemType of the code
	Detail  string         `json:"detail,omitempty"`  // whether what was asked for was done, where it matters to a person
	Rules   []string       `json:"rules,omitempty"`   // ids of the policies that refused
	Grounds []Ground       `json:"grounds,omitempty"` // of each of them, or of a refusal that no policy made
	Targets []TargetStatus `json:"targets,omitempty"` // of a warrant, in its order, where each is refused
	Decided *int           `json:"decided,omitempty"`
	Quorum  *int           `json:"quorum,omitempty"`

	Reference string `json:"reference,omitempty"` // of an enrolment that is held
	Back      string `json:"-"`                   // for pages: the sign-in at a platform that waits for this person
	Unsaved   string `json:"-"`                   // for pages: what this person typed, and is lost with the page
	From      string `json:"from,omitempty"`      // the day (YYYY-MM-DD) from which it is not held any longer

	Culprits []string `json:"culprits,omitempty"` // ids of the custodians at fault
	Cause    string   `json:"cause,omitempty"`    // of a failure on this machine
	Evidence string   `json:"evidence,omitempty"` // file that proves it

	// Faults are all those for which a warrant would be refused, where it was checked before it
	// is filed: the first is the problem itself.
	Faults []Fault `json:"faults,omitempty"`
}

// Ground is what a policy that refused says of itself: which member of the warrant is wrong,
// the law that it carries out, and what to do. The texts are those of the bundle. Without a
// rule it is what the program says of its own refusal.
type Ground struct {
	Rule    string `json:"rule,omitempty"`
	Title   string `json:"title"`
	Field   string `json:"field,omitempty"`
	Article string `json:"article,omitempty"`
	Cure    string `json:"cure,omitempty"`
}

// GroundsOf are those of the policies that refused in a decision, or what is known of a
// refusal that none of them made.
func GroundsOf(d policy.Decision) (grounds []Ground) {
	if d.Refusal == nil {
		return nil
	}
	byRule := policy.ErrRefusedByRule.Is(d.Refusal) || policy.ErrRuleFailed.Is(d.Refusal)
	if !byRule && len(d.Rules) > 0 { // these allowed it
		return nil
	}
	for i, g := range d.Grounds {
		said := Ground{Title: g.Title, Field: g.Field, Article: g.Article, Cure: g.Cure}
		if byRule {
			said.Rule = d.Rules[i]
		}
		grounds = append(grounds, said)
	}
	return grounds
}

// String is for a person at a terminal.
func (g Ground) String() string {
	said := []string{g.Title}
	for _, part := range [][2]string{{"field", g.Field}, {"by", g.Article}, {"to mend it", g.Cure}} {
		if part[1] != "" {
			said = append(said, part[0]+": "+part[1])
		}
	}
	return strings.Join(said, "; ")
}

// ProblemType is the URI of a refusal's code (RFC 9457, 3.1.1).
func ProblemType(code string) string { return "urn:penname:problem:" + code }

// ProblemMediaType is that of a refusal (RFC 9457, 3).
const ProblemMediaType = "application/problem+json"

// Error is the refusal in one line for a terminal.
func (p *Problem) Error() string {
	s := p.Code + ": " + p.Title
	if p.Decided != nil && p.Quorum != nil {
		s = fmt.Sprintf("%s: quorum not met: %d decided, %d must approve. %s", p.Code, *p.Decided, *p.Quorum, p.Title)
	}
	if len(p.Rules) > 0 {
		s += " (rule " + strings.Join(p.Rules, ", ") + ")"
	}
	for _, g := range p.Grounds {
		s += fmt.Sprintf(" [%s]", g)
	}
	if len(p.Targets) > 1 {
		for i, t := range p.Targets {
			s += fmt.Sprintf(" (target %d: %s)", i+1, t.Code)
		}
	}
	if p.From != "" {
		s += " (from " + p.From + ")"
	}
	if p.Cause != "" {
		s += " (" + p.Cause + ")"
	}
	if p.Evidence != "" {
		s += " Evidence: " + p.Evidence
	}
	for i, f := range p.Faults {
		switch place := f.Place(); {
		case i == 0 && place != "":
			s += " (" + place + ")"
		case i > 0 && (f.Rule == "" || len(p.Rules) == 0): // else it is said above
			s += fmt.Sprintf(" Also, %s: %s", cmp.Or(place, "the whole"), f)
		}
	}
	return document.Printable(strings.ReplaceAll(s, "\n", " "))
}
