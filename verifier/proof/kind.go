package proof

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
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
	KindApproved   Kind = "approved"   // one custodian agreed
	KindDeclined   Kind = "declined"   // one custodian did not agree, or no longer does
	KindAuthorised Kind = "authorised" // the quorum of custodians was reached
	KindReleased   Kind = "released"   // the sealed package was made available
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
	// The case of a recorded leaf is the one that an extension or a withdrawal
	// concerns.
	KindRecorded: {map[string]bool{"case": false, "jurisdiction": true, "offence_class": true, "warrant_kind": true,
		"targets": false, "quorum": false, "secrecy_ends": false, "bundle": true, "commitment": true, "salt_commitment": true, "target_commitments": false},
		(*auditor).addRecorded},
	// No offence class: it would be the word of somebody who was refused.
	KindRefused:    {map[string]bool{"code": true, "jurisdiction": false, "warrant_kind": false, "bundle": false}, (*auditor).addRefused},
	KindApproved:   {map[string]bool{"case": true, "custodian": true, "commitment": true}, ofCase((*auditor).addApproved)},
	KindDeclined:   {map[string]bool{"case": true, "custodian": true, "commitment": true, "code": true}, ofCase((*auditor).addDeclined)},
	KindAuthorised: {map[string]bool{"case": true}, ofCase((*auditor).addAuthorised)},
	KindReleased:   {map[string]bool{"case": true, "package": true}, ofCase((*auditor).addReleased)},
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

// The constructors cut a time to its UTC day. A caller that knows only the
// day, because it compares a leaf with a database, passes any time and calls
// [Leaf.On].

func newLeaf(at time.Time, k Kind) Leaf { return Leaf{Version: 1, Kind: k, Day: Day(at)} }

func newCaseLeaf(at time.Time, k Kind, caseIndex int64) Leaf {
	l := newLeaf(at, k)
	l.Case = &caseIndex
	return l
}

// On returns l dated day, a UTC day as [Day] writes it.
func (l Leaf) On(day string) Leaf {
	l.Day = day
	return l
}

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
	SecrecyEnds                             time.Time // cut to its UTC day; zero: no secrecy
	Bundle                                  string    // hex SHA-256 of the bundle it was decided under
	Salt                                    [32]byte  // of the case
	Warrant                                 string    // the compact JWS, committed to
	Targets                                 []Target  // committed to, in any order
}

// Target is one pseudonym on one platform. A leaf only ever commits to it.
type Target struct{ Pseudonym, Platform string }

// RecordedLeaf records that a warrant was accepted. The case that an extension
// or a withdrawal concerns is set by who finds it.
func RecordedLeaf(at time.Time, f Facets) Leaf {
	l := newLeaf(at, KindRecorded)
	l.Jurisdiction, l.OffenceClass, l.WarrantKind, l.Bundle = f.Jurisdiction, f.OffenceClass, f.WarrantKind, f.Bundle
	l.Targets, l.Quorum = len(f.Targets), f.Quorum
	if !f.SecrecyEnds.IsZero() {
		l.SecrecyEnds = Day(f.SecrecyEnds)
	}
	l.Commitment, l.SaltCommitment = Commit(f.Salt, "warrant", []byte(f.Warrant)), Commit(f.Salt, "salt")
	for _, t := range f.Targets {
		l.TargetCommitments = append(l.TargetCommitments, Commit(f.Salt, "target", []byte(t.Pseudonym), []byte(t.Platform)))
	}
	slices.Sort(l.TargetCommitments)
	return l
}

// RefusedLeaf records why a warrant was not accepted, as the code of the refusal.
func RefusedLeaf(at time.Time, code string) Leaf {
	l := newLeaf(at, KindRefused)
	l.Code = code
	return l
}

// DecidedLeaf records one custodian's decision about the case whose recorded
// leaf is caseIndex: declined with refusedCode, or approved if that is empty. It
// commits under the case's salt to the signed decision, a compact JWS.
func DecidedLeaf(at time.Time, caseIndex int64, custodian, refusedCode string, salt [32]byte, signed []byte) Leaf {
	l := newCaseLeaf(at, KindApproved, caseIndex)
	if refusedCode != "" {
		l.Kind, l.Code = KindDeclined, refusedCode
	}
	l.Custodian, l.Commitment = custodian, Commit(salt, "approval", signed)
	return l
}

// AuthorisedLeaf records that the quorum of custodians approved.
func AuthorisedLeaf(at time.Time, caseIndex int64) Leaf {
	return newCaseLeaf(at, KindAuthorised, caseIndex)
}

// ReleasedLeaf records the SHA-256 of the package that was made available.
func ReleasedLeaf(at time.Time, caseIndex int64, packageHash [32]byte) Leaf {
	l := newCaseLeaf(at, KindReleased, caseIndex)
	l.Package = hex.EncodeToString(packageHash[:])
	return l
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
