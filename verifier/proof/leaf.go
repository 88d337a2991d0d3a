package proof

import (
	"bytes"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"regexp"
	"slices"
	"strings"
	"time"
)

const (
	// MaxLeaf is the size limit of a marshalled leaf in bytes: an entry of a
	// tile has a 16-bit length (C2SP tlog-tiles, "Log entries").
	MaxLeaf = 1<<16 - 1
	// MaxTargets is how many target commitments fit into one leaf.
	MaxTargets = 900

	maxWord   = 64
	maxQuorum = 255 // a threshold key has no more shares
	dayLayout = time.DateOnly
)

// Leaf is one entry of the public log: make it with the constructor of its kind.
// What it may hold depends on the kind; see [Leaf.Marshal]. There is no field for text: each value is a number, a
// digest, a day or a word of a small vocabulary, so that no person, pseudonym
// or platform fits in. Words are checked for shape here and against the
// bundle's vocabulary by [Log.Audit].
type Leaf struct {
	Version           int      `json:"v"` // always 1
	Kind              Kind     `json:"kind"`
	Day               string   `json:"day"`                          // UTC, YYYY-MM-DD; no finer time is published
	Case              *int64   `json:"case,omitempty"`               // index of the case's recorded leaf
	Jurisdiction      string   `json:"jurisdiction,omitempty"`       // ISO 3166-1 alpha-2 or 3166-2: "GB", "GB-SCT"
	OffenceClass      string   `json:"offence_class,omitempty"`      // a word of the bundle: "threats-to-kill"
	WarrantKind       string   `json:"warrant_kind,omitempty"`       // the name of a [WarrantKind]
	Targets           int      `json:"targets,omitempty"`            // number of pseudonyms the warrant names
	Quorum            int      `json:"quorum,omitempty"`             // distinct custodians that the rules want, of a kind that opens names; absent in leaves of the first release
	SecrecyEnds       string   `json:"secrecy_ends,omitempty"`       // UTC day; absent: no secrecy
	Code              string   `json:"code,omitempty"`               // why it was refused or declined: "warrant.unknown_authority"; the outcome of a review
	Bundle            string   `json:"bundle,omitempty"`             // hex SHA-256 of the bundle in force
	Custodian         string   `json:"custodian,omitempty"`          // id of the custodian in the bundle
	Commitment        string   `json:"commitment,omitempty"`         // [Commit] of the warrant, of the signed approval, of the erased record or of the signed review
	SaltCommitment    string   `json:"salt_commitment,omitempty"`    // [Commit] of nothing: which salt the case's notice must publish
	TargetCommitments []string `json:"target_commitments,omitempty"` // [Commit] per target, sorted
	Package           string   `json:"package,omitempty"`            // hex SHA-256 of the delivered package, of the ceremony's transcript, or the PlatformDigest of a platform's record
	Salt              string   `json:"salt,omitempty"`               // hex, 32 bytes: opens the case's commitments
}

var (
	digest       = regexp.MustCompile(`^[0-9a-f]{64}$`)
	jurisdiction = regexp.MustCompile(`^[A-Z]{2}(-[A-Z0-9]{1,3})?$`)
	word         = regexp.MustCompile(`^[a-z][a-z0-9]*([._-][a-z0-9]+)*$`) // at most maxWord characters
	// A run of digits is a date of birth, a telephone or a file number; a
	// bech32 pseudonym begins with its prefix.
	telling = regexp.MustCompile(`[0-9]{4}|pen1`)
)

// Marshal returns the canonical JSON of l: the fields in the order of the
// struct, no white space, no escapes. It is [ErrLeaf] if the kind does not
// allow a field, lacks one, or a value does not have its exact shape, and
// [ErrLeafSize] above [MaxLeaf].
func (l Leaf) Marshal() ([]byte, error) {
	if len(l.TargetCommitments) > MaxTargets {
		return nil, ErrLeafSize
	}
	if err := l.lint(); err != nil {
		return nil, ErrLeaf.Because(err)
	}
	b, err := json.Marshal(l)
	if err != nil {
		return nil, ErrLeaf.Because(err)
	}
	if len(b) > MaxLeaf {
		return nil, ErrLeafSize
	}
	return b, nil
}

// lint checks every field. Its errors name a field and never a value.
func (l Leaf) lint() error {
	kind, known := kinds[l.Kind]
	if l.Version != 1 || !known {
		return errors.New("version or kind")
	}
	if !isDay(l.Day) {
		return errors.New("day")
	}
	present := map[string]bool{
		"case": l.Case != nil, "jurisdiction": l.Jurisdiction != "", "offence_class": l.OffenceClass != "",
		"warrant_kind": l.WarrantKind != "", "targets": l.Targets != 0, "quorum": l.Quorum != 0, "secrecy_ends": l.SecrecyEnds != "",
		"code": l.Code != "", "bundle": l.Bundle != "", "custodian": l.Custodian != "", "commitment": l.Commitment != "",
		"salt_commitment": l.SaltCommitment != "", "target_commitments": len(l.TargetCommitments) > 0, "package": l.Package != "", "salt": l.Salt != "",
	}
	for name, is := range present {
		if must, may := kind.fields[name]; is && !may || !is && must {
			return errors.New(name + " in this kind")
		}
	}
	for _, f := range []struct {
		name, value string
		shape       *regexp.Regexp
	}{
		{"jurisdiction", l.Jurisdiction, jurisdiction}, {"offence_class", l.OffenceClass, word}, {"code", l.Code, word},
		{"custodian", l.Custodian, word}, {"bundle", l.Bundle, digest}, {"commitment", l.Commitment, digest},
		{"salt_commitment", l.SaltCommitment, digest}, {"package", l.Package, digest}, {"salt", l.Salt, digest},
	} {
		if f.value != "" && (!f.shape.MatchString(f.value) || f.shape != digest && (len(f.value) > maxWord || telling.MatchString(f.value))) {
			return errors.New(f.name)
		}
	}
	if l.Case != nil && *l.Case < 0 {
		return errors.New("case")
	}
	if strings.Trim(l.Salt, "0") == "" && l.Salt != "" {
		return errors.New("salt")
	}
	if l.WarrantKind != "" && WarrantKindOf(l.WarrantKind).Name == "" {
		return errors.New("warrant_kind")
	}
	if l.Kind == KindReviewed && !slices.Contains([]string{Accepted, Separated, Objected}, l.Code) {
		return errors.New("code of a review")
	}
	if l.Kind == KindRecorded {
		return l.lintRecorded()
	}
	return nil
}

func (l Leaf) lintRecorded() error {
	kind := WarrantKindOf(l.WarrantKind)
	if l.Case != nil && !kind.Earlier {
		return errors.New("case in this kind of warrant")
	}
	if l.Quorum < 0 || l.Quorum > maxQuorum || l.Quorum > 0 && !kind.Decided {
		return errors.New("quorum")
	}
	if l.SecrecyEnds != "" && !isDay(l.SecrecyEnds) {
		return errors.New("secrecy_ends")
	}
	if l.Targets != len(l.TargetCommitments) || (l.Targets > 0) != kind.Targets {
		return errors.New("targets")
	}
	for i, c := range l.TargetCommitments {
		// Sorted, so that their order tells nothing about the warrant's.
		if !digest.MatchString(c) || i > 0 && c <= l.TargetCommitments[i-1] {
			return errors.New("target_commitments")
		}
	}
	return nil
}

func isDay(s string) bool {
	t, err := time.Parse(dayLayout, s)
	return err == nil && t.Year() >= 2000 && t.Format(dayLayout) == s
}

// Day returns the UTC day of t in the form of a leaf.
func Day(t time.Time) string { return t.UTC().Format(dayLayout) }

// ParseLeaf parses one leaf and accepts exactly the bytes that [Leaf.Marshal]
// writes: a duplicate, unknown or differently spelt field, white space or
// another escape is [ErrLeaf].
func ParseLeaf(b []byte) (Leaf, error) {
	if len(b) > MaxLeaf {
		return Leaf{}, ErrLeafSize
	}
	var l Leaf
	if err := json.Unmarshal(b, &l); err != nil {
		// The decoder's text can quote the input.
		return Leaf{}, ErrLeaf.Because(errors.New("not JSON of a leaf"))
	}
	canonical, err := l.Marshal()
	if err != nil {
		return Leaf{}, err
	}
	if !bytes.Equal(canonical, b) {
		return Leaf{}, ErrLeaf.Because(errors.New("not canonical"))
	}
	return l, nil
}

// newer reports whether bytes that are no leaf of this version say that they are of
// a later one, or of a kind that came later.
func newer(b []byte) bool {
	var says struct {
		Version int  `json:"v"`
		Kind    Kind `json:"kind"`
	}
	if len(b) > MaxLeaf || json.Unmarshal(b, &says) != nil {
		return false
	}
	_, known := kinds[says.Kind]
	return says.Version > 1 || says.Version == 1 && says.Kind != "" && !known
}

// Commit returns the hex SHA-256 commitment to parts for one purpose:
//
//	"warrant"   the compact JWS of the warrant
//	"salt"      nothing: an outsider, who has none of the rest, can check the salt
//	"target"    pseudonym, platform
//	"approval"  the compact JWS of the approval
//	"erasure"   the label of the record; the person's receipt holds the salt
//	"review"    the compact JWS of each reviewer
//
// The salt is 32 random bytes of the case, kept secret until the notice: a
// pseudonym has too few possible values to be hidden by a bare hash. Without
// a salt (all zero) the result is empty, which no leaf accepts.
func Commit(salt [32]byte, purpose string, parts ...[]byte) string {
	if salt == ([32]byte{}) {
		return ""
	}
	h := sha256.New()
	h.Write([]byte("penname/commitment/v1"))
	h.Write(salt[:])
	for _, p := range append([][]byte{[]byte(purpose)}, parts...) {
		h.Write(binary.BigEndian.AppendUint64(nil, uint64(len(p)))) // no two lists of parts run into each other
		h.Write(p)
	}
	return hex.EncodeToString(h.Sum(nil))
}

// commitsTo reports whether salt, in hex, is the one that a recorded leaf
// promised to publish: with another one, Concerns would say no to the very
// persons who are concerned.
func commitsTo(saltCommitment, salt string) bool {
	b, err := hex.DecodeString(salt)
	return err == nil && len(b) == 32 && Commit([32]byte(b), "salt") == saltCommitment
}

// Concerns reports whether the warrant of the recorded leaf named this
// pseudonym on this platform, opened with the salt of the case's noticed
// leaf. It is how a person checks the log for themself.
func Concerns(recorded, noticed Leaf, pseudonym, platform string) bool {
	salt, err := hex.DecodeString(noticed.Salt)
	if err != nil || len(salt) != 32 {
		return false
	}
	want := Commit([32]byte(salt), "target", []byte(pseudonym), []byte(platform))
	found := 0
	for _, c := range recorded.TargetCommitments {
		found |= subtle.ConstantTimeCompare([]byte(c), []byte(want))
	}
	return found == 1
}
