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

	maxWord       = 64
	maxMarks      = (MaxTargets + 7) / 8 // bytes
	maxFields     = 64                   // of a record; also grounds of a decision, and rules that refuse
	maxNoticeDays = 365
	maxQuorum     = 255 // a threshold key has no more shares
	dayLayout     = time.DateOnly
	secondLayout  = "2006-01-02T15:04:05Z"
)

// Leaf is one entry of the public log: make it with the constructor of its kind.
// What it may hold depends on the kind; see [Leaf.Marshal]. There is no field for text: each value is a number, a
// digest, a day or a word of a small vocabulary, so that no person, pseudonym
// or platform fits in. Words are checked for shape here and against the
// bundle's vocabulary by [Log.Audit].
type Leaf struct {
	Version           int      `json:"v"` // always 1
	Kind              Kind     `json:"kind"`
	Day               string   `json:"day"`                          // UTC, YYYY-MM-DD
	At                string   `json:"at,omitempty"`                 // UTC, RFC 3339 in whole seconds, of that day: only of what an emergency's clock of hours counts
	Case              *int64   `json:"case,omitempty"`               // index of the case's recorded leaf
	Jurisdiction      string   `json:"jurisdiction,omitempty"`       // ISO 3166-1 alpha-2 or 3166-2: "GB", "GB-SCT"
	OffenceClass      string   `json:"offence_class,omitempty"`      // a word of the bundle: "threats-to-kill"
	Offence           string   `json:"offence,omitempty"`            // id in the catalogue of the bundle, where that lets a leaf say it
	Data              string   `json:"data,omitempty"`               // what was asked for: [DataSubscriber] or [DataIdentifying], where the bundle lets a leaf say it
	Validated         bool     `json:"validated,omitempty"`          // of an emergency: it was validated before it was filed, and does not lapse
	WarrantKind       string   `json:"warrant_kind,omitempty"`       // the name of a [WarrantKind]
	Targets           int      `json:"targets,omitempty"`            // number of pseudonyms the warrant names
	Quorum            int      `json:"quorum,omitempty"`             // distinct custodians that the rules want, of a kind that opens names; absent in leaves of the first release
	NoticeDays        int      `json:"notice_days,omitempty"`        // whole days that the persons have to object, once they were told, before anything is authorised; absent: they are not told first
	SecrecyEnds       string   `json:"secrecy_ends,omitempty"`       // UTC day; absent: no secrecy
	HoldEnds          string   `json:"hold_ends,omitempty"`          // UTC day until which a preservation, or an extension of one, keeps records
	Which             Marks    `json:"which,omitempty"`              // targets of the case that this is about
	Fields            []string `json:"fields,omitempty"`             // names of the fields that an emergency opened before it lapsed, sorted
	Opened            []Opened `json:"opened,omitempty"`             // the decisions of the case that no leaf opened before, rising
	Code              string   `json:"code,omitempty"`               // why it was refused or declined: "warrant.unknown_authority"; the outcome of a review; [NotReached]
	Rules             []string `json:"rules,omitempty"`              // ids of the rules of the bundle that refused it, sorted
	Bundle            string   `json:"bundle,omitempty"`             // hex SHA-256 of the bundle in force
	Custodian         string   `json:"custodian,omitempty"`          // id of the custodian in the bundle
	Commitment        string   `json:"commitment,omitempty"`         // [Commit] of the warrant, of the signed approval, of the erased record or of the signed review
	SaltCommitment    string   `json:"salt_commitment,omitempty"`    // [Commit] of nothing: which salt the case's notice must publish
	TargetCommitments []string `json:"target_commitments,omitempty"` // [Commit] per target, sorted
	Package           string   `json:"package,omitempty"`            // hex SHA-256 of the delivered package, of the ceremony's transcript, or the PlatformDigest of a platform's record
	Salt              string   `json:"salt,omitempty"`               // hex, 32 bytes: opens the case's commitments
}

var (
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
	for _, f := range [...]struct {
		name string
		is   bool
	}{
		{"at", l.At != ""}, {"case", l.Case != nil}, {"jurisdiction", l.Jurisdiction != ""}, {"offence_class", l.OffenceClass != ""},
		{"offence", l.Offence != ""}, {"data", l.Data != ""}, {"validated", l.Validated}, {"warrant_kind", l.WarrantKind != ""}, {"targets", l.Targets != 0},
		{"quorum", l.Quorum != 0}, {"notice_days", l.NoticeDays != 0}, {"secrecy_ends", l.SecrecyEnds != ""}, {"hold_ends", l.HoldEnds != ""}, {"which", len(l.Which) > 0},
		{"fields", len(l.Fields) > 0}, {"opened", len(l.Opened) > 0}, {"code", l.Code != ""}, {"rules", len(l.Rules) > 0}, {"bundle", l.Bundle != ""},
		{"custodian", l.Custodian != ""}, {"commitment", l.Commitment != ""}, {"salt_commitment", l.SaltCommitment != ""},
		{"target_commitments", len(l.TargetCommitments) > 0}, {"package", l.Package != ""}, {"salt", l.Salt != ""},
	} {
		if must, may := kind.fields[f.name]; f.is && !may || !f.is && must {
			return errors.New(f.name + " in this kind")
		}
	}
	for _, f := range []struct {
		name, value string
		shaped      func(string) bool
	}{
		{"jurisdiction", l.Jurisdiction, jurisdiction.MatchString}, {"offence_class", l.OffenceClass, IsWord}, {"offence", l.Offence, IsWord},
		{"code", l.Code, IsWord}, {"custodian", l.Custodian, IsWord}, {"bundle", l.Bundle, isDigest}, {"commitment", l.Commitment, isDigest},
		{"salt_commitment", l.SaltCommitment, isDigest}, {"package", l.Package, isDigest}, {"salt", l.Salt, isDigest},
	} {
		if f.value != "" && !f.shaped(f.value) {
			return errors.New(f.name)
		}
	}
	if len(l.Rules) > maxFields || !sortedWords(l.Rules) {
		return errors.New("rules")
	}
	if l.Case != nil && *l.Case < 0 {
		return errors.New("case")
	}
	if l.At != "" && (!isSecond(l.At) || !strings.HasPrefix(l.At, l.Day)) {
		return errors.New("at")
	}
	if len(l.Which) > maxMarks || l.Kind == KindReleased && len(l.Which) > 0 && l.Which.Count() == 0 {
		return errors.New("which")
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
	if l.Kind == KindTold && l.Code != "" && l.Code != NotReached {
		return errors.New("code of a notice")
	}
	switch l.Kind {
	case KindRecorded:
		return l.lintRecorded()
	case KindLapsed:
		return l.lintLapsed()
	case KindDecided:
		return lintOpened(l.Opened)
	}
	return nil
}

// IsWord reports whether a leaf takes s as a word of a bundle: short, and telling of
// nobody.
func IsWord(s string) bool {
	return len(s) <= maxWord && word.MatchString(s) && !telling.MatchString(s)
}

// isDigest reports whether s is 32 bytes in lower-case hex.
func isDigest(s string) bool {
	return len(s) == 64 && strings.Trim(s, "0123456789abcdef") == ""
}

func (l Leaf) lintRecorded() error {
	kind := WarrantKindOf(l.WarrantKind)
	if l.Case != nil && !kind.Earlier {
		return errors.New("case in this kind of warrant")
	}
	if l.Quorum < 0 || l.Quorum > maxQuorum || l.Quorum > 0 && !kind.Decided {
		return errors.New("quorum")
	}
	if l.NoticeDays < 0 || l.NoticeDays > maxNoticeDays || l.NoticeDays > 0 && !kind.Decided {
		return errors.New("notice_days")
	}
	if l.SecrecyEnds != "" && !isDay(l.SecrecyEnds) {
		return errors.New("secrecy_ends")
	}
	if l.HoldEnds != "" && (!isDay(l.HoldEnds) || !kind.Holds) {
		return errors.New("hold_ends")
	}
	if l.Data != "" && !slices.Contains(dataCategories, l.Data) {
		return errors.New("data")
	}
	if l.Validated && kind.Name != Emergency {
		return errors.New("validated in this kind of warrant")
	}
	if (l.At != "") != kind.Timed {
		return errors.New("at in this kind of warrant")
	}
	if len(l.Which) > 0 && (l.Case == nil || !kind.Part || l.Which.Count() == 0) {
		return errors.New("which")
	}
	if l.Targets != len(l.TargetCommitments) || (l.Targets > 0) != kind.Targets {
		return errors.New("targets")
	}
	for i, c := range l.TargetCommitments {
		// Sorted, so that their order tells nothing about the warrant's.
		if !isDigest(c) || i > 0 && c <= l.TargetCommitments[i-1] {
			return errors.New("target_commitments")
		}
	}
	return nil
}

// lintLapsed: what was delivered has names, and its targets a number.
func (l Leaf) lintLapsed() error {
	if l.Targets < 0 || l.Targets > MaxTargets || (l.Targets > 0) != (len(l.Fields) > 0) {
		return errors.New("targets")
	}
	if len(l.Fields) > maxFields || !sortedWords(l.Fields) {
		return errors.New("fields")
	}
	return nil
}

func lintOpened(opened []Opened) error {
	for i, o := range opened {
		switch {
		case o.Leaf < 0 || i > 0 && o.Leaf <= opened[i-1].Leaf:
			return errors.New("leaf of what is opened")
		case !IsWord(o.Custodian):
			return errors.New("custodian of what is opened")
		case len(o.Votes) == 0 || len(o.Votes) > maxMarks:
			return errors.New("votes")
		case len(o.Grounds) > maxFields || !sortedWords(o.Grounds):
			return errors.New("grounds")
		case !isDigest(o.Salt) || !isDigest(o.Signed):
			return errors.New("salt or digest of what is opened")
		}
	}
	return nil
}

// sortedWords reports whether all are words of the bundle, each once, sorted.
func sortedWords(all []string) bool {
	for i, w := range all {
		if !IsWord(w) || i > 0 && w <= all[i-1] {
			return false
		}
	}
	return true
}

func isSecond(s string) bool {
	t, err := time.Parse(secondLayout, s)
	return err == nil && t.Year() >= 2000 && t.Format(secondLayout) == s
}

func isDay(s string) bool {
	t, err := time.Parse(dayLayout, s)
	return err == nil && t.Year() >= 2000 && t.Format(dayLayout) == s
}

// Day returns the UTC day of t in the form of a leaf.
func Day(t time.Time) string { return t.UTC().Format(dayLayout) }

// Second returns the UTC second of t in the form of a leaf that an emergency's clock
// counts.
func Second(t time.Time) string { return t.UTC().Format(secondLayout) }

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
//	"approval"  the compact JWS of the approval, in cases before format 5 of the bundle
//	"decision"  custodian, votes in hex, hex SHA-256 of the compact JWS, each ground; see [DecisionSalt]
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
	return named(recorded, noticed, pseudonym, platform) >= 0
}

// named is the position of that pseudonym among the targets of the recorded leaf, or -1.
func named(recorded, noticed Leaf, pseudonym, platform string) int {
	salt, err := hex.DecodeString(noticed.Salt)
	if err != nil || len(salt) != 32 {
		return -1
	}
	want := Target{pseudonym, platform}.commit([32]byte(salt))
	at := -1
	for i, c := range recorded.TargetCommitments {
		if subtle.ConstantTimeCompare([]byte(c), []byte(want)) == 1 {
			at = i
		}
	}
	return at
}
