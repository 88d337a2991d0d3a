package proof

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"maps"
	"slices"
	"time"
)

// Kind says what a leaf records. A kind is a constant, a row of kinds and a
// constructor, all in this file.
type Kind string

// The kinds, in the order of a case.
const (
	KindBundle     Kind = "bundle"     // the rules in force from here on
	KindRecorded   Kind = "recorded"   // a warrant was accepted: this opens a case
	KindRefused    Kind = "refused"    // a warrant was not accepted
	KindTold       Kind = "told"       // the persons were told before anything is opened: their days to object count from here
	KindObjected   Kind = "objected"   // one of them objected: nothing is authorised or released until a court has answered
	KindApproved   Kind = "approved"   // before format 5 of the bundle: one custodian agreed
	KindDeclined   Kind = "declined"   // before format 5: one custodian did not agree, or no longer does
	KindAuthorised Kind = "authorised" // before format 5: the quorum of custodians was reached
	KindDecision   Kind = "decision"   // one custodian decided: neither who nor how
	KindDecided    Kind = "decided"    // the decisions are opened: these targets reached the quorum, or none can any more
	KindReleased   Kind = "released"   // the sealed package was made available
	KindLapsed     Kind = "lapsed"     // nobody validated an emergency in time: this ends the case
	KindDeleted    Kind = "deleted"    // the requester stated that what was delivered is deleted
	KindNoticed    Kind = "noticed"    // the persons concerned were told; the commitments are opened
	KindExpired    Kind = "expired"    // the warrant ran out before anything was released: this ends the case
	KindErased     Kind = "erased"     // a person deleted a sealed record: of no case
	KindCeremony   Kind = "ceremony"   // custodians made or moved their key together: of no case
	KindPlatform   Kind = "platform"   // a platform was registered, or its entry changed: of no case
	KindReviewed   Kind = "reviewed"   // who may exist was decided by people, or a decision was objected to: of no case
)

// leafKind is what there is to know of a kind. A row is written without field
// names, so that one without a replay does not compile.
type leafKind struct {
	// fields are those that the kind must (true) and may (false) carry beside
	// version, kind and day; anything else is refused.
	fields map[string]bool
	// replay counts a leaf and judges it by the leaves before.
	replay func(*auditor, Leaf)
}

var kinds = map[Kind]leafKind{
	KindBundle: {map[string]bool{"bundle": true}, (*auditor).addBundle},
	// The case of a recorded leaf is the earlier one that it is about.
	KindRecorded: {map[string]bool{"at": false, "case": false, "which": false, "offence": false, "data": false, "validated": false, "hold_ends": false,
		"jurisdiction": true, "offence_class": true, "warrant_kind": true, "targets": false, "quorum": false, "notice_days": false, "secrecy_ends": false, "bundle": true, "commitment": true, "salt_commitment": true, "target_commitments": false},
		(*auditor).addRecorded},
	// No offence class: it would be the word of somebody who was refused.
	KindRefused:    {map[string]bool{"code": true, "rules": false, "jurisdiction": false, "warrant_kind": false, "bundle": false}, (*auditor).addRefused},
	KindTold:       {map[string]bool{"case": true, "code": false}, ofCase((*auditor).addTold)},
	KindObjected:   {map[string]bool{"case": true}, ofCase((*auditor).addObjected)},
	KindApproved:   {map[string]bool{"case": true, "custodian": true, "commitment": true}, before5((*auditor).addApproved)},
	KindDeclined:   {map[string]bool{"case": true, "custodian": true, "commitment": true, "code": true}, before5((*auditor).addDeclined)},
	KindAuthorised: {map[string]bool{"case": true}, before5((*auditor).addAuthorised)},
	KindDecision:   {map[string]bool{"case": true, "commitment": true}, since5((*auditor).addDecision)},
	KindDecided:    {map[string]bool{"at": false, "case": true, "which": true, "opened": false}, since5((*auditor).addDecided)},
	KindReleased:   {map[string]bool{"at": false, "case": true, "which": false, "package": true}, ofCase((*auditor).addReleased)},
	KindLapsed:     {map[string]bool{"at": true, "case": true, "fields": false, "targets": false}, since5((*auditor).addLapsed)},
	KindDeleted:    {map[string]bool{"case": true}, since5((*auditor).addDeleted)},
	KindNoticed:    {map[string]bool{"case": true, "salt": true}, ofCase((*auditor).addNoticed)},
	KindExpired:    {map[string]bool{"case": true}, ofCase((*auditor).addExpired)},
	// Only who holds the receipt knows which record it was.
	KindErased:   {map[string]bool{"commitment": true}, (*auditor).addErased},
	KindCeremony: {map[string]bool{"package": true}, (*auditor).addCeremony},
	// Nothing of the platform: its record is public beside the log.
	KindPlatform: {map[string]bool{"package": true}, (*auditor).addPlatform},
	// Its commitment, to what two reviewers signed, opens for the operator alone.
	KindReviewed: {map[string]bool{"code": true, "commitment": true}, (*auditor).addReviewed},
}

// The constructors cut a time to its UTC day, or second where [WarrantKind.When] says
// so. A caller that compares a leaf with a database passes any time and calls [Leaf.On]
// with the other's [Leaf.When].

func newLeaf(at time.Time, k Kind) Leaf { return Leaf{Version: 1, Kind: k, Day: Day(at)} }

func newCaseLeaf(at time.Time, k Kind, caseIndex int64) Leaf {
	l := newLeaf(at, k)
	l.Case = &caseIndex
	return l
}

// On returns l dated when: a UTC day as [Day] writes it, or a second as [Second]
// does, of which the day is a part.
func (l Leaf) On(when string) Leaf {
	l.Day, l.At = when, ""
	if len(when) > len(dayLayout) {
		l.Day, l.At = when[:len(dayLayout)], when
	}
	return l
}

// When is how l is dated, as [Leaf.On] takes it.
func (l Leaf) When() string {
	if l.At != "" {
		return l.At
	}
	return l.Day
}

// The categories of data that a warrant asks for, in the terms of Regulation (EU)
// 2023/1543, Art. 3(9) and (10). Traffic data and content are not kept here.
const (
	DataSubscriber  = "subscriber"  // who somebody is and how to reach them
	DataIdentifying = "identifying" // which accounts are one person's
)

var dataCategories = []string{DataSubscriber, DataIdentifying}

// BundleLeaf records that the bundle with that hex SHA-256 comes into force.
func BundleLeaf(at time.Time, bundleHash string) Leaf {
	l := newLeaf(at, KindBundle)
	l.Bundle = bundleHash
	return l
}

// Facets are what a recorded leaf tells of a warrant, in the clear or as a
// commitment under Salt.
type Facets struct {
	Jurisdiction, OffenceClass, WarrantKind string
	Quorum                                  int       // of a kind that opens names; 0: the leaf does not say
	NoticeDays                              int       // that the persons have to object before custodians decide; 0: they are not told first
	Offence, Data                           string    // id in the catalogue, [DataSubscriber] …; empty: the leaf does not say
	Validated                               bool      // of an emergency that needs no validation any more
	HoldEnds                                time.Time // of a kind that keeps records, cut to its UTC day; zero: the leaf does not say
	SecrecyEnds                             time.Time // cut to its UTC day; zero: no secrecy
	Bundle                                  string    // hex SHA-256 of the bundle it was decided under
	Salt                                    [32]byte  // of the case
	Warrant                                 string    // the compact JWS, committed to
	Targets                                 []Target  // committed to, in any order
}

// Target is one pseudonym on one platform. A leaf only ever commits to it.
type Target struct{ Pseudonym, Platform string }

func (t Target) commit(salt [32]byte) string {
	return Commit(salt, "target", []byte(t.Pseudonym), []byte(t.Platform))
}

// The facets of a recorded leaf that it may say and need not. The finer they are, the
// more a leaf says about a case that somebody knows otherwise.
const (
	FacetOffence   = "offence"
	FacetData      = "data"
	FacetValidated = "validated"
	FacetHoldEnds  = "hold_ends"
)

// Facets are the optional ones that a recorded leaf says.
func (l Leaf) Facets() (facets []string) {
	for _, f := range [...]struct {
		name string
		is   bool
	}{{FacetOffence, l.Offence != ""}, {FacetData, l.Data != ""}, {FacetValidated, l.Validated}, {FacetHoldEnds, l.HoldEnds != ""}} {
		if f.is {
			facets = append(facets, f.name)
		}
	}
	return facets
}

// RecordedLeaf records that a warrant was accepted. The earlier case that it is about,
// and which of its targets, is set by who finds it.
func RecordedLeaf(at time.Time, f Facets) Leaf {
	l := newLeaf(at, KindRecorded)
	l.Jurisdiction, l.OffenceClass, l.WarrantKind, l.Bundle = f.Jurisdiction, f.OffenceClass, f.WarrantKind, f.Bundle
	l.Offence, l.Data, l.Targets, l.Quorum = f.Offence, f.Data, len(f.Targets), f.Quorum
	l.NoticeDays = f.NoticeDays
	l.Validated = f.Validated
	l = l.On(WarrantKindOf(f.WarrantKind).When(at))
	if !f.HoldEnds.IsZero() {
		l.HoldEnds = Day(f.HoldEnds)
	}
	if !f.SecrecyEnds.IsZero() {
		l.SecrecyEnds = Day(f.SecrecyEnds)
	}
	l.Commitment, l.SaltCommitment = Commit(f.Salt, "warrant", []byte(f.Warrant)), Commit(f.Salt, "salt")
	for _, t := range f.Targets {
		l.TargetCommitments = append(l.TargetCommitments, t.commit(f.Salt))
	}
	slices.Sort(l.TargetCommitments)
	return l
}

// RefusedLeaf records why a warrant was not accepted: the code of the refusal, and the
// ids of the rules that refused, in any order. An id that is no word, or is too long for
// a leaf, is left out: a bundle may call its rules as it likes.
func RefusedLeaf(at time.Time, code string, rules ...string) Leaf {
	l := newLeaf(at, KindRefused)
	l.Code = code
	for _, id := range slices.Compact(slices.Sorted(slices.Values(rules))) {
		if IsWord(id) && len(l.Rules) < maxFields {
			l.Rules = append(l.Rules, id)
		}
	}
	return l
}

// NotReached is the code of a told leaf where nobody can say that the persons could have
// seen the notice: it was on their page, and what was to tell them of it was not accepted.
const NotReached = "notice.not_reached"

// ToldLeaf records that the persons of a case were told before anything is opened, or were
// not reached.
func ToldLeaf(at time.Time, caseIndex int64, reached bool) Leaf {
	l := newCaseLeaf(at, KindTold, caseIndex)
	if !reached {
		l.Code = NotReached
	}
	return l
}

// ObjectedLeaf records that a person objected in time, or a lawyer for them. It says neither
// who nor why.
func ObjectedLeaf(at time.Time, caseIndex int64) Leaf {
	return newCaseLeaf(at, KindObjected, caseIndex)
}

// DecideFrom is the first UTC day on which custodians may approve a case whose persons were
// told on a day, and have so many whole days after it to object. It is "" if told is no day.
func DecideFrom(told string, noticeDays int) string {
	return daysAfter(told, noticeDays+1)
}

// ApprovalLeaf records, in a case before format 5 of the bundle, one custodian's
// decision about the case whose recorded leaf is caseIndex: declined with refusedCode,
// or approved if that is empty. It commits under the case's salt to the signed
// decision, a compact JWS.
func ApprovalLeaf(at time.Time, caseIndex int64, custodian, refusedCode string, salt [32]byte, signed []byte) Leaf {
	l := newCaseLeaf(at, KindApproved, caseIndex)
	if refusedCode != "" {
		l.Kind, l.Code = KindDeclined, refusedCode
	}
	l.Custodian, l.Commitment = custodian, Commit(salt, "approval", signed)
	return l
}

// AuthorisedLeaf records, in a case before format 5 of the bundle, that the quorum of
// custodians approved.
func AuthorisedLeaf(at time.Time, caseIndex int64) Leaf {
	return newCaseLeaf(at, KindAuthorised, caseIndex)
}

// Decision is what one custodian decided about each target of a case.
type Decision struct {
	Custodian string   // id in the bundle
	Votes     Marks    // targets that they agreed to open
	Grounds   []string // why they declined the others, of the bundle's list; sorted, each once
	Signed    []byte   // the compact JWS
}

// DecisionSalt is the salt of one decision: HMAC-SHA-256, keyed with the salt of the
// case, of "penname/decision/v1" and the compact JWS. Who learns it, as the leaf that
// decides publishes it, learns nothing of the case's, which is secret for longer.
func DecisionSalt(caseSalt [32]byte, signed []byte) (salt [32]byte) {
	if caseSalt == ([32]byte{}) {
		return salt // no salt makes none
	}
	mac := hmac.New(sha256.New, caseSalt[:])
	mac.Write([]byte("penname/decision/v1"))
	mac.Write(signed)
	return [32]byte(mac.Sum(nil))
}

// Open returns what a deciding leaf tells of d, whose decision leaf has that index.
func (d Decision) Open(caseSalt [32]byte, leaf int64) Opened {
	salt, digest := DecisionSalt(caseSalt, d.Signed), sha256.Sum256(d.Signed)
	return Opened{Leaf: leaf, Custodian: d.Custodian, Votes: d.Votes, Grounds: d.Grounds,
		Salt: hex.EncodeToString(salt[:]), Signed: hex.EncodeToString(digest[:])}
}

// Opened is one decision that a deciding leaf opens.
type Opened struct {
	Leaf      int64    `json:"leaf"`              // index of its decision leaf
	Custodian string   `json:"custodian"`         // id in the bundle that was in force then
	Votes     Marks    `json:"votes"`             // targets that they agreed to open
	Grounds   []string `json:"grounds,omitempty"` // why they declined the others
	Salt      string   `json:"salt"`              // hex, of [DecisionSalt]
	Signed    string   `json:"signed"`            // hex SHA-256 of the compact JWS
}

// commitment is what the decision leaf must hold, or empty if the salt is none.
func (o Opened) commitment() string {
	salt, err := hex.DecodeString(o.Salt)
	if err != nil || len(salt) != 32 {
		return ""
	}
	votes, _ := o.Votes.MarshalText()
	parts := [][]byte{[]byte(o.Custodian), votes, []byte(o.Signed)}
	for _, g := range o.Grounds {
		parts = append(parts, []byte(g))
	}
	return Commit([32]byte(salt), "decision", parts...)
}

// DecisionLeaf records that somebody decided about the case whose recorded leaf is
// caseIndex. All such leaves of a case look the same until [DecidedLeaf] opens them.
func DecisionLeaf(at time.Time, caseIndex int64, caseSalt [32]byte, d Decision) Leaf {
	l := newCaseLeaf(at, KindDecision, caseIndex)
	l.Commitment = d.Open(caseSalt, 0).commitment()
	return l
}

// DecidedLeaf records which targets reached their quorum now, and opens every decision
// of the case that was not opened before, rising. No mark: none that is left can be
// reached any more. Of an emergency it is dated to the second, by [Leaf.On].
func DecidedLeaf(at time.Time, caseIndex int64, which Marks, opened []Opened) Leaf {
	l := newCaseLeaf(at, KindDecided, caseIndex)
	l.Which, l.Opened = which, opened
	return l
}

// ReleasedLeaf records the SHA-256 of the package that was made available, and which
// targets it opens; nil in a case before format 5 of the bundle: all. Of an emergency
// it is dated to the second, by [Leaf.On].
func ReleasedLeaf(at time.Time, caseIndex int64, packageHash [32]byte, which Marks) Leaf {
	l := newCaseLeaf(at, KindReleased, caseIndex)
	l.Package, l.Which = hex.EncodeToString(packageHash[:]), which
	return l
}

// LapsedLeaf records that nobody validated an emergency in time, with the names of the
// fields that were delivered before, in any order, and of how many targets; neither if
// nothing was.
func LapsedLeaf(at time.Time, caseIndex int64, fields []string, targets int) Leaf {
	l := newCaseLeaf(at, KindLapsed, caseIndex).On(Second(at))
	l.Fields, l.Targets = slices.Sorted(slices.Values(fields)), targets
	return l
}

// DeletedLeaf records that the requester stated that what was delivered is deleted.
// Nobody can check that it is.
func DeletedLeaf(at time.Time, caseIndex int64) Leaf {
	return newCaseLeaf(at, KindDeleted, caseIndex)
}

// NoticedLeaf records that the persons were told, and publishes the salt that
// opens the commitments of the case.
func NoticedLeaf(at time.Time, caseIndex int64, salt [32]byte) Leaf {
	l := newCaseLeaf(at, KindNoticed, caseIndex)
	l.Salt = hex.EncodeToString(salt[:])
	return l
}

// ExpiredLeaf records that the warrant ran out before anything was released.
func ExpiredLeaf(at time.Time, caseIndex int64) Leaf {
	return newCaseLeaf(at, KindExpired, caseIndex)
}

// ErasedLeaf records that the sealed record with that label was deleted. The
// person's receipt holds salt and label.
func ErasedLeaf(at time.Time, salt [32]byte, label string) Leaf {
	l := newLeaf(at, KindErased)
	l.Commitment = Commit(salt, "erasure", []byte(label))
	return l
}

// The outcomes of a review of an enrolment that was held, as the leaf's code.
const (
	Accepted  = "accept"   // somebody who is enrolled, by a new card or provider; it waits for an objection
	Separated = "separate" // another person than the one who is enrolled, and looks alike
	Objected  = "object"   // the person who is enrolled objected to an acceptance, which ended it
)

// ReviewedLeaf records the outcome of a review. It commits under a salt of its own
// to the two signed decisions, compact JWS, by rising order; an objection to those
// of the acceptance that it ends.
func ReviewedLeaf(at time.Time, outcome string, salt [32]byte, signed []string) Leaf {
	l := newLeaf(at, KindReviewed)
	var parts [][]byte
	for _, s := range slices.Sorted(slices.Values(signed)) {
		parts = append(parts, []byte(s))
	}
	l.Code, l.Commitment = outcome, Commit(salt, "review", parts...)
	return l
}

// PlatformLeaf records the signed record of a platform with its countersignatures, by
// their [PlatformDigest].
func PlatformLeaf(at time.Time, signed string, countersigned []string) Leaf {
	l := newLeaf(at, KindPlatform)
	l.Package = PlatformDigest(signed, countersigned)
	return l
}

// PlatformDigest is the hex SHA-256 of a signed record of a platform and its
// countersignatures, in their order: "penname/platform/v1", then each, behind its length
// in 8 bytes, big endian. So nobody adds a countersignature to a logged record, or leaves
// one out.
func PlatformDigest(signed string, countersigned []string) string {
	h := sha256.New()
	h.Write([]byte("penname/platform/v1"))
	for _, part := range append([]string{signed}, countersigned...) {
		h.Write(binary.BigEndian.AppendUint64(nil, uint64(len(part))))
		h.Write([]byte(part))
	}
	return hex.EncodeToString(h.Sum(nil))
}

// CeremonyLeaf records the SHA-256 of the transcript of a key ceremony.
func CeremonyLeaf(at time.Time, transcriptHash [32]byte) Leaf {
	l := newLeaf(at, KindCeremony)
	l.Package = hex.EncodeToString(transcriptHash[:])
	return l
}

// Kinds are all kinds of leaves, sorted.
func Kinds() []Kind { return slices.Sorted(maps.Keys(kinds)) }
