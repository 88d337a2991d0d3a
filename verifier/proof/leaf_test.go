package proof_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/penname/penname/escrow/escrowtest/fuzzing"
	"github.com/penname/penname/verifier/proof"
)

var (
	hexA = strings.Repeat("a1", 32)
	hexB = strings.Repeat("b2", 32)
	hexC = strings.Repeat("c3", 32)

	saltC = proof.Commit([32]byte(bytes.Repeat([]byte{0xc3}, 32)), "salt") // of hexC
)

func ref(i int64) *int64 { return &i }

// examples is one valid leaf of every kind, in the order of a case.
func examples() []proof.Leaf {
	return []proof.Leaf{
		{Version: 1, Kind: proof.KindBundle, Day: "2026-01-01", Bundle: hexA},
		{Version: 1, Kind: proof.KindRefused, Day: "2026-01-02", Code: "warrant.unknown_authority"},
		{Version: 1, Kind: proof.KindRecorded, Day: "2026-01-03", Jurisdiction: "GB-SCT", OffenceClass: "threats_to_kill", WarrantKind: "production",
			Targets: 2, SecrecyEnds: "2026-02-03", Bundle: hexA, Commitment: hexB, SaltCommitment: saltC, TargetCommitments: []string{hexA, hexC}},
		{Version: 1, Kind: proof.KindApproved, Day: "2026-01-04", Case: ref(2), Custodian: "bar-council", Commitment: hexA},
		{Version: 1, Kind: proof.KindDeclined, Day: "2026-01-04", Case: ref(2), Custodian: "press-council", Commitment: hexB, Code: "not_necessary"},
		{Version: 1, Kind: proof.KindApproved, Day: "2026-01-05", Case: ref(2), Custodian: "ombudsman.example", Commitment: hexC},
		{Version: 1, Kind: proof.KindAuthorised, Day: "2026-01-05", Case: ref(2)},
		{Version: 1, Kind: proof.KindReleased, Day: "2026-01-06", Case: ref(2), Package: hexB},
		{Version: 1, Kind: proof.KindNoticed, Day: "2026-02-04", Case: ref(2), Salt: hexC},
	}
}

// newExamples is one valid leaf of each form since format 5 of the bundle.
func newExamples() []proof.Leaf {
	decision := proof.Decision{Custodian: "bar-council", Votes: proof.Marks{0b01}, Grounds: []string{"press_freedom"}, Signed: []byte("a.b.c")}
	emergency := proof.RecordedLeaf(noon, proof.Facets{Jurisdiction: "GB", OffenceClass: "stalking", WarrantKind: proof.Emergency, Quorum: 2, Offence: "stalking-s2a",
		Data: proof.DataSubscriber, Bundle: hexA, Salt: [32]byte{1}, Warrant: "a.b.c", Targets: []proof.Target{{Pseudonym: "p", Platform: "x"}}})
	held := proof.RecordedLeaf(noon, proof.Facets{Jurisdiction: "GB", OffenceClass: "stalking", WarrantKind: proof.Preservation, HoldEnds: noon.AddDate(0, 0, 60),
		Bundle: hexA, Salt: [32]byte{1}, Warrant: "a.b.c", Targets: []proof.Target{{Pseudonym: "p", Platform: "x"}}})
	annulment := proof.RecordedLeaf(noon, proof.Facets{Jurisdiction: "GB", OffenceClass: "stalking", WarrantKind: proof.Annulment, Bundle: hexA, Salt: [32]byte{1}, Warrant: "a.b.c"})
	annulment.Case, annulment.Which = ref(2), proof.Marks{0b10}
	return []proof.Leaf{emergency, held, annulment, proof.DecisionLeaf(noon, 2, [32]byte{1}, decision),
		proof.DecidedLeaf(noon, 2, proof.Marks{0b01}, []proof.Opened{decision.Open([32]byte{1}, 3)}).On(proof.Second(noon)),
		proof.ReleasedLeaf(noon, 2, [32]byte{1}, proof.Marks{0b01}), proof.LapsedLeaf(noon, 2, []string{"name", "birthdate"}, 1),
		proof.DeletedLeaf(noon, 2), proof.RefusedLeaf(noon, "warrant.refused_by_rule", "press-freedom")}
}

func TestLeafOfEveryKindHasOneForm(t *testing.T) {
	for _, l := range append(examples(), newExamples()...) {
		b, err := l.Marshal()
		if err != nil {
			t.Fatalf("%s: %v", l.Kind, err)
		}
		back, err := proof.ParseLeaf(b)
		if err != nil {
			t.Fatalf("%s: %v", l.Kind, err)
		}
		if again, err := back.Marshal(); err != nil || !bytes.Equal(again, b) {
			t.Errorf("%s: %s", l.Kind, again)
		}
	}
	withdrawal := proof.Leaf{Version: 1, Kind: proof.KindRecorded, Day: "2026-01-03", Case: ref(1), Jurisdiction: "GB", OffenceClass: "stalking",
		WarrantKind: "withdrawal", Bundle: hexA, Commitment: hexB, SaltCommitment: saltC}
	if _, err := withdrawal.Marshal(); err != nil {
		t.Error("a withdrawal names no targets:", err)
	}
}

// The linter is what stands between a bug in the registrar and a name that is
// public for ever (N06).
func TestM31LeafThatCouldCarryAPersonIsRefused(t *testing.T) {
	base := examples()
	recorded, refused, approved, declined, noticed := base[2], base[1], base[3], base[4], base[8]
	expired := proof.ExpiredLeaf(noon, 2)
	set := func(l proof.Leaf, f func(*proof.Leaf)) proof.Leaf { f(&l); return l }
	for name, l := range map[string]proof.Leaf{
		"M31 a name as offence class":        set(recorded, func(l *proof.Leaf) { l.OffenceClass = "Jo Bloggs" }),
		"M31 an address as offence class":    set(recorded, func(l *proof.Leaf) { l.OffenceClass = "12 High Street" }),
		"M31 an e-mail address as custodian": set(approved, func(l *proof.Leaf) { l.Custodian = "jo@example.com" }),
		"M31 a date of birth in a code":      set(refused, func(l *proof.Leaf) { l.Code = "born.19800101" }),
		"M31 a telephone number in a code":   set(refused, func(l *proof.Leaf) { l.Code = "call.07700900123" }),
		"M31 a pseudonym in a code":          set(refused, func(l *proof.Leaf) { l.Code = "target.pen1qqqsyqcyq5rqwzqf" }),
		"M31 a platform in a code":           set(refused, func(l *proof.Leaf) { l.Code = "https://town-square.example" }),
		"M31 a code of 65 characters":        set(refused, func(l *proof.Leaf) { l.Code = strings.Repeat("a", 65) }),
		"M31 free text as the reason":        set(declined, func(l *proof.Leaf) { l.Code = "I know this man" }),
		"M31 non-Latin letters":              set(declined, func(l *proof.Leaf) { l.Code = "пример" }),
		"M31 a line break after a word":      set(declined, func(l *proof.Leaf) { l.Code = "not_necessary\n" }),
		"M31 a name as jurisdiction":         set(recorded, func(l *proof.Leaf) { l.Jurisdiction = "JO" + "BLOGGS" }),
		"M31 lower case jurisdiction":        set(recorded, func(l *proof.Leaf) { l.Jurisdiction = "gb" }),
		"M31 unknown kind of warrant":        set(recorded, func(l *proof.Leaf) { l.WarrantKind = "bloggs" }),
		"M31 unknown kind":                   set(recorded, func(l *proof.Leaf) { l.Kind = "bloggs" }),
		"M31 no version":                     set(recorded, func(l *proof.Leaf) { l.Version = 0 }),
		"M31 a time instead of a day":        set(recorded, func(l *proof.Leaf) { l.Day = "2026-01-03T10:00:00Z" }),
		"M31 a day that does not exist":      set(recorded, func(l *proof.Leaf) { l.Day = "2026-02-30" }),
		"M31 the zero day":                   set(recorded, func(l *proof.Leaf) { l.SecrecyEnds = "0001-01-01" }),
		"M31 short commitment":               set(recorded, func(l *proof.Leaf) { l.Commitment = hexA[:62] }),
		"M31 upper case commitment":          set(recorded, func(l *proof.Leaf) { l.Commitment = strings.ToUpper(hexA) }),
		"M31 text as commitment":             set(recorded, func(l *proof.Leaf) { l.Commitment = fmt.Sprintf("%-64s", "jo bloggs") }),
		"M31 targets not sorted":             set(recorded, func(l *proof.Leaf) { l.TargetCommitments = []string{hexC, hexA} }),
		"M31 one target twice":               set(recorded, func(l *proof.Leaf) { l.TargetCommitments = []string{hexA, hexA} }),
		"M31 more targets than commitments":  set(recorded, func(l *proof.Leaf) { l.Targets = 3 }),
		"M31 no targets":                     set(recorded, func(l *proof.Leaf) { l.Targets, l.TargetCommitments = 0, nil }),
		"M31 negative case":                  set(approved, func(l *proof.Leaf) { l.Case = ref(-1) }),
		"M31 approval of nothing":            set(approved, func(l *proof.Leaf) { l.Case = nil }),
		"M31 case of a production warrant":   set(recorded, func(l *proof.Leaf) { l.Case = ref(0) }),
		"M31 offence class of a refused":     set(refused, func(l *proof.Leaf) { l.OffenceClass = "stalking" }),
		"M31 custodian of a refused":         set(refused, func(l *proof.Leaf) { l.Custodian = "bar-council" }),
		"M31 commitment of a refused":        set(refused, func(l *proof.Leaf) { l.Commitment = hexA }),
		"M31 salt before the notice":         set(recorded, func(l *proof.Leaf) { l.Salt = hexA }),
		"M31 why it expired":                 set(expired, func(l *proof.Leaf) { l.Code = "never_approved" }),
		"M31 the salt of what expired":       set(expired, func(l *proof.Leaf) { l.Salt = hexA }),
		"M31 expired is no case":             set(expired, func(l *proof.Leaf) { l.Case = nil }),
		"M32 a notice with the zero salt":    set(noticed, func(l *proof.Leaf) { l.Salt = strings.Repeat("0", 64) }),
		"M32 a commitment made without salt": set(approved, func(l *proof.Leaf) { l.Commitment = proof.Commit([32]byte{}, "approval", []byte("x")) }),
	} {
		t.Run(name, func(t *testing.T) {
			if b, err := l.Marshal(); !errors.Is(err, proof.ErrLeaf) {
				t.Errorf("%s, %v", b, err)
			} else if s := err.Error() + fmt.Sprint(errors.Unwrap(err)); strings.Contains(strings.ToLower(s), "bloggs") {
				t.Errorf("the refusal quotes what it refused: %s", s)
			}
		})
	}
}

func TestM31LeafHasOnlyItsCanonicalBytes(t *testing.T) {
	good := string(must(examples()[3].Marshal())(t))
	for name, bad := range map[string]string{
		"M31 empty":              "",
		"M31 null":               "null",
		"M31 white space":        strings.Replace(good, ":", ": ", 1),
		"M31 trailing line feed": good + "\n",
		"M31 a second value":     good + good,
		"M31 unknown field":      strings.Replace(good, `{"v":1`, `{"v":1,"name":"jo bloggs"`, 1),
		"M31 duplicate field":    strings.Replace(good, `"kind"`, `"v":1,"kind"`, 1),
		"M31 other case":         strings.Replace(good, `"kind"`, `"Kind"`, 1),
		"M31 long s":             strings.Replace(good, `"case"`, `"caſe"`, 1),
		"M31 escape":             strings.Replace(good, `bar`, `\u0062ar`, 1),
		"M31 other order":        `{"kind":"authorised","v":1,"day":"2026-01-05","case":2}`,
		"M31 null field":         strings.Replace(good, `{"v":1`, `{"v":1,"code":null`, 1),
		"M31 number as text":     strings.Replace(good, `"case":2`, `"case":"2"`, 1),
		"M31 exponent":           strings.Replace(good, `"case":2`, `"case":2e0`, 1),
		"M31 beyond 63 bits":     strings.Replace(good, `"case":2`, `"case":9223372036854775808`, 1),
		"M31 not UTF-8":          strings.Replace(good, "bar", "b\xffr", 1),
		"M31 version 2":          strings.Replace(good, `"v":1`, `"v":2`, 1),
		"M31 byte order mark":    "\ufeff" + good,
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := proof.ParseLeaf([]byte(bad)); !errors.Is(err, proof.ErrLeaf) {
				t.Errorf("%v", err)
			}
		})
	}
}

// The leaves since format 5 of the bundle take nothing that the earlier ones do not.
func TestM31LeafOfARoundThatCouldCarryAPerson(t *testing.T) {
	x := newExamples()
	emergency, held, annulment, decision, decided, released, lapsed, deleted, refused := x[0], x[1], x[2], x[3], x[4], x[5], x[6], x[7], x[8]
	set := func(l proof.Leaf, f func(*proof.Leaf)) proof.Leaf { f(&l); return l }
	opened := func(f func(*proof.Opened)) proof.Leaf {
		l := decided
		l.Opened = slices.Clone(l.Opened)
		f(&l.Opened[0])
		return l
	}
	for name, l := range map[string]proof.Leaf{
		"M31 an emergency by the day":        set(emergency, func(l *proof.Leaf) { l.At = "" }),
		"M31 a preservation to the second":   held.On(proof.Second(noon)),
		"M31 a second of another day":        set(emergency, func(l *proof.Leaf) { l.At = "2026-11-22T12:00:00Z" }),
		"M31 a fraction of a second":         set(emergency, func(l *proof.Leaf) { l.At = "2026-11-21T12:00:00.5Z" }),
		"M31 a decision to the second":       decision.On(proof.Second(noon)),
		"M31 who decided":                    set(decision, func(l *proof.Leaf) { l.Custodian = "bar-council" }),
		"M31 why they declined":              set(decision, func(l *proof.Leaf) { l.Code = "declined.recused" }),
		"M31 a decision without salt":        proof.DecisionLeaf(noon, 2, [32]byte{}, proof.Decision{Custodian: "bar-council", Votes: proof.Marks{1}, Signed: []byte("x")}),
		"M31 a name as custodian":            opened(func(o *proof.Opened) { o.Custodian = "Jo Bloggs" }),
		"M31 a name as ground":               opened(func(o *proof.Opened) { o.Grounds = []string{"Jo Bloggs"} }),
		"M31 grounds not sorted":             opened(func(o *proof.Opened) { o.Grounds = []string{"recused", "incomplete"} }),
		"M31 one ground twice":               opened(func(o *proof.Opened) { o.Grounds = []string{"recused", "recused"} }),
		"M31 no votes":                       opened(func(o *proof.Opened) { o.Votes = nil }),
		"M31 text as salt":                   opened(func(o *proof.Opened) { o.Salt = "jo bloggs" }),
		"M31 the document itself":            opened(func(o *proof.Opened) { o.Signed = "a.b.c" }),
		"M31 a leaf before all":              opened(func(o *proof.Opened) { o.Leaf = -1 }),
		"M31 one decision opened twice":      set(decided, func(l *proof.Leaf) { l.Opened = append(l.Opened, l.Opened...) }),
		"M31 more marks than targets can be": set(decided, func(l *proof.Leaf) { l.Which = make(proof.Marks, 114) }),
		"M31 released of no target":          set(released, func(l *proof.Leaf) { l.Which = proof.Marks{0} }),
		"M31 a lapse by the day":             set(lapsed, func(l *proof.Leaf) { l.At = "" }),
		"M31 a person as field":              set(lapsed, func(l *proof.Leaf) { l.Fields = []string{"Jo Bloggs"} }),
		"M31 fields of no target":            set(lapsed, func(l *proof.Leaf) { l.Targets = 0 }),
		"M31 targets without a field":        set(lapsed, func(l *proof.Leaf) { l.Fields = nil }),
		"M31 less than no target":            set(lapsed, func(l *proof.Leaf) { l.Targets = -1 }),
		"M31 what was deleted":               set(deleted, func(l *proof.Leaf) { l.Fields = []string{"name"} }),
		"M31 a name as offence":              set(emergency, func(l *proof.Leaf) { l.Offence = "Jo Bloggs" }),
		"M31 a file number as offence":       set(emergency, func(l *proof.Leaf) { l.Offence = "case-20260001" }),
		"M31 another category of data":       set(emergency, func(l *proof.Leaf) { l.Data = "content" }),
		"M31 when a production is held":      set(emergency, func(l *proof.Leaf) { l.HoldEnds = "2026-12-01" }),
		"M31 a time as the end of a hold":    set(held, func(l *proof.Leaf) { l.HoldEnds = "2026-12-01T10:00:00Z" }),
		"M31 a validated preservation":       set(held, func(l *proof.Leaf) { l.Validated = true }),
		"M31 some targets of no case":        set(annulment, func(l *proof.Leaf) { l.Case = nil }),
		"M31 none of a case's targets":       set(annulment, func(l *proof.Leaf) { l.Which = proof.Marks{0} }),
		"M31 some targets of an emergency":   set(emergency, func(l *proof.Leaf) { l.Which = proof.Marks{1} }),
		"M31 a rule in words":                set(refused, func(l *proof.Leaf) { l.Rules = []string{"Jo Bloggs"} }),
		"M31 rules not sorted":               set(refused, func(l *proof.Leaf) { l.Rules = []string{"b", "a"} }),
	} {
		if b, err := l.Marshal(); !errors.Is(err, proof.ErrLeaf) {
			t.Errorf("%s: %s, %v", name, b, err)
		} else if s := err.Error() + fmt.Sprint(errors.Unwrap(err)); strings.Contains(strings.ToLower(s), "bloggs") {
			t.Errorf("%s: the refusal quotes what it refused: %s", name, s)
		}
	}
	if l := proof.RefusedLeaf(noon, "warrant.refused_by_rule", "Only for §185", "b", "a", "b"); !slices.Equal(l.Rules, []string{"a", "b"}) {
		t.Error("a rule whose id is no word keeps a refusal out of the log, or is in it:", l.Rules)
	}
}

// Marks are a set of the targets of one case, in one form, and name none of them.
func TestMarks(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(1, proof.MaxTargets).Draw(t, "targets")
		m, other := proof.NewMarks(n), proof.NewMarks(n)
		want := make(map[int]bool)
		for _, i := range rapid.SliceOf(rapid.IntRange(0, n-1)).Draw(t, "marked") {
			m.Set(i)
			want[i] = true
		}
		other.Set(rapid.IntRange(0, n-1).Draw(t, "other"))
		for i := -1; i <= n+8; i++ {
			if m.Has(i) != want[i] {
				t.Fatalf("%d of %d", i, n)
			}
		}
		text, _ := m.MarshalText()
		var back proof.Marks
		if err := back.UnmarshalText(text); err != nil || !bytes.Equal(back, m) || len(text) != 2*((n+7)/8) {
			t.Fatal(err, string(text))
		}
		if !m.Of(n) || m.Of(n+8) || m.Count() != len(want) || m.Or(other).Count()-m.And(other).Count() != m.Without(other).Count()+other.Without(m).Count() {
			t.Fatalf("%x of %d", m, n)
		}
		if n%8 != 0 {
			m[len(m)-1] |= 1 << 7
			if m.Of(n) {
				t.Fatal("a bit beyond the last target")
			}
		}
	})
	if proof.NewMarks(0).Of(0) || new(proof.Marks).UnmarshalText([]byte("bloggs")) == nil {
		t.Error("a case without targets has marks, or anything is hex")
	}
	if err := new(proof.Marks).UnmarshalText([]byte("bloggs")); strings.Contains(err.Error(), "bloggs") {
		t.Error("the refusal quotes what it refused")
	}
	targets := []proof.Target{{Pseudonym: "p", Platform: "x"}, {Pseudonym: "q", Platform: "x"}, {Pseudonym: "p", Platform: "y"}}
	recorded := proof.RecordedLeaf(noon, proof.Facets{WarrantKind: proof.Production, Salt: [32]byte{1}, Targets: targets})
	at := proof.Positions(recorded, [32]byte{1}, targets)
	some, all := proof.MarksOf(recorded, [32]byte{1}, targets[2], targets[0])
	if !all || some.Count() != 2 || !some.Has(at[0]) || !some.Has(at[2]) || some.Has(at[1]) {
		t.Error(at, some)
	}
	if _, all := proof.MarksOf(recorded, [32]byte{2}, targets...); all {
		t.Error("found without the salt of the case")
	}
}

// A pseudonym on a platform is one of few: whoever has the platform's user
// list can try them all. Only the salt hides them.
func TestM32CommitmentResistsGuessingUntilTheSaltIsPublished(t *testing.T) {
	salt := [32]byte{1, 2, 3}
	leaf := examples()[2]
	leaf.Targets, leaf.TargetCommitments = 1, []string{proof.Commit(salt, "target", []byte("pen1user7"), []byte("town-square"))}
	noticed := examples()[8]
	for guess := range 1000 {
		pseudonym := fmt.Sprintf("pen1user%d", guess)
		noticed.Salt = hexA // the attacker's guess at the salt
		if proof.Concerns(leaf, noticed, pseudonym, "town-square") {
			t.Fatal("opened without the salt")
		}
	}
	// A dictionary of pen names and small salts opens nothing of a case whose salt is one of 2^256.
	random := sha256.Sum256([]byte("stands for randomness"))
	opened, hidden := leaf, leaf
	hidden.TargetCommitments = []string{proof.Commit(random, "target", []byte("pen1user7"), []byte("town-square"))}
	found := 0
	for small := 1; small <= 512; small++ {
		for _, guess := range [][32]byte{{byte(small), byte(small >> 8)}, {30: byte(small >> 8), 31: byte(small)}} {
			noticed.Salt = fmt.Sprintf("%x", guess)
			opened.TargetCommitments = []string{proof.Commit(guess, "target", []byte("pen1user7"), []byte("town-square"))}
			for user := range 16 {
				pseudonym := fmt.Sprintf("pen1user%d", user)
				if proof.Concerns(hidden, noticed, pseudonym, "town-square") {
					t.Fatalf("the dictionary opens %s", pseudonym)
				}
				if proof.Concerns(opened, noticed, pseudonym, "town-square") {
					found++
				}
			}
		}
	}
	if found != 512*2 {
		t.Errorf("the dictionary is none: it opened %d cases with small salts", found)
	}
	noticed.Salt = fmt.Sprintf("%x", salt)
	if !proof.Concerns(leaf, noticed, "pen1user7", "town-square") {
		t.Error("the person concerned is not told")
	}
	for _, other := range [][2]string{{"pen1user8", "town-square"}, {"pen1user7", "school-forum"}, {"pen1user7town", "-square"}, {"", ""}} {
		if proof.Concerns(leaf, noticed, other[0], other[1]) {
			t.Errorf("%v is told", other)
		}
	}
	noticed.Salt = "not hex"
	if proof.Concerns(leaf, noticed, "pen1user7", "town-square") {
		t.Error("opened with a malformed salt")
	}
	if proof.Commit(salt, "warrant", []byte("x")) == proof.Commit(salt, "approval", []byte("x")) {
		t.Error("one commitment serves two purposes")
	}
	if proof.Commit(salt, "target", []byte("ab"), []byte("c")) == proof.Commit(salt, "target", []byte("a"), []byte("bc")) {
		t.Error("parts run into each other")
	}
}

func TestM34OversizeLeafIsRefusedBeforeParsing(t *testing.T) {
	l := examples()[2]
	l.TargetCommitments = nil
	for i := range proof.MaxTargets {
		l.TargetCommitments = append(l.TargetCommitments, fmt.Sprintf("%064x", i+1))
	}
	l.Targets = len(l.TargetCommitments)
	b, err := l.Marshal()
	if err != nil || len(b) > proof.MaxLeaf {
		t.Fatalf("the largest warrant does not fit: %d bytes, %v", len(b), err)
	}
	l.TargetCommitments = append(l.TargetCommitments, strings.Repeat("f", 64))
	l.Targets++
	if _, err := l.Marshal(); !errors.Is(err, proof.ErrLeafSize) {
		t.Error(err)
	}
	if _, err := proof.ParseLeaf(bytes.Repeat([]byte{'['}, proof.MaxLeaf+1)); !errors.Is(err, proof.ErrLeafSize) {
		t.Error(err)
	}
}

func FuzzLeaf(f *testing.F) {
	seeds := 0
	for _, l := range append(examples(), newExamples()...) {
		b, err := l.Marshal()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
		seeds++
	}
	if seeds == 0 {
		f.Fatal("no seeds")
	}
	fuzzing.Run(f, func(t *testing.T, b []byte) {
		l, err := proof.ParseLeaf(b)
		if err != nil {
			return
		}
		if again, err := l.Marshal(); err != nil || !bytes.Equal(again, b) {
			t.Errorf("%q and %q are one leaf", b, again)
		}
		if !json.Valid(b) {
			t.Errorf("%q is not JSON", b)
		}
	})
}

// One bit changed in a leaf is another leaf or none: it never parses to the
// same one.
func TestOneBitChangedInALeafChangesIt(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		l := rapid.SampledFrom(append(examples(), newExamples()...)).Draw(t, "leaf")
		b, err := l.Marshal()
		if err != nil {
			t.Fatal(err)
		}
		bit := rapid.IntRange(0, 8*len(b)-1).Draw(t, "bit")
		changed := bytes.Clone(b)
		changed[bit/8] ^= 1 << (bit % 8)
		if other, err := proof.ParseLeaf(changed); err == nil {
			if again, err := other.Marshal(); err != nil || bytes.Equal(again, b) {
				t.Fatalf("%q parses as %q", changed, b)
			}
		}
	})
}
