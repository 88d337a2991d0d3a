package proof

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"go/ast"
	"go/parser"
	"go/token"
	"strings"
	"testing"
	"time"
)

var (
	evening = time.Date(2026, 3, 4, 23, 30, 0, 0, time.FixedZone("west", -5*3600)) // the 5th in UTC
	salt1   = [32]byte{1}

	decision = Decision{"bar-council", Marks{0b101}, []string{"press_freedom"}, []byte("a.b.c")}
)

// constructed is one leaf of each kind, from its constructor.
func constructed() []Leaf {
	return []Leaf{
		BundleLeaf(evening, hex.EncodeToString(salt1[:])),
		RecordedLeaf(evening, Facets{Jurisdiction: "GB", OffenceClass: "stalking", WarrantKind: Production, SecrecyEnds: evening.AddDate(0, 1, 0),
			Bundle: hex.EncodeToString(salt1[:]), Salt: salt1, Warrant: "a.b.c", Targets: []Target{{"p", "x"}, {"q", "x"}, {"r", "y"}}}),
		RefusedLeaf(evening, "warrant.expired"),
		ToldLeaf(evening, 1, true),
		ToldLeaf(evening, 1, false),
		ObjectedLeaf(evening, 1),
		ApprovalLeaf(evening, 1, "bar-council", "", salt1, []byte("yes")),
		ApprovalLeaf(evening, 1, "press-council", "declined.recused", salt1, []byte("no")),
		AuthorisedLeaf(evening, 1),
		DecisionLeaf(evening, 1, salt1, decision),
		DecidedLeaf(evening, 1, decision.Votes, []Opened{decision.Open(salt1, 5)}),
		ReleasedLeaf(evening, 1, salt1, nil),
		ReleasedLeaf(evening, 1, salt1, decision.Votes),
		LapsedLeaf(evening, 1, []string{"name", "birthdate"}, 2),
		DeletedLeaf(evening, 1),
		NoticedLeaf(evening, 1, salt1),
		ExpiredLeaf(evening, 1),
		ErasedLeaf(evening, salt1, "mfrggzdfmztwq2lk"),
		CeremonyLeaf(evening, salt1),
		PlatformLeaf(evening, "a.b.c", []string{"d.e.f"}),
		ReviewedLeaf(evening, Accepted, salt1, []string{"b", "a"}),
	}
}

// No two records with their countersignatures have one digest.
func TestPlatformDigest(t *testing.T) {
	seen := make(map[string]bool)
	for _, c := range [][]string{{"ab", "c"}, {"a", "bc"}, {"ab"}, {"ab", "c", ""}, {"ab", "", "c"}, {"abc"}} {
		digest := PlatformDigest(c[0], c[1:])
		if seen[digest] {
			t.Error(c)
		}
		seen[digest] = true
	}
	h := sha256.Sum256([]byte("penname/platform/v1\x00\x00\x00\x00\x00\x00\x00\x02ab\x00\x00\x00\x00\x00\x00\x00\x01c"))
	if got := PlatformDigest("ab", []string{"c"}); got != hex.EncodeToString(h[:]) {
		t.Error(got)
	}
}

func TestEveryKindOfLeafHasARowAndAConstructor(t *testing.T) {
	made := make(map[Kind]bool)
	for _, l := range constructed() {
		made[l.Kind] = true
		if l.Day != "2026-03-05" {
			t.Errorf("%s: %s is not the UTC day", l.Kind, l.Day)
		}
		b, err := l.Marshal()
		if err != nil {
			t.Errorf("%s: the linter refuses what the constructor makes: %v", l.Kind, err)
			continue
		}
		back, err := ParseLeaf(b)
		if err != nil {
			t.Errorf("%s: %v", l.Kind, err)
		}
		if again, err := back.Marshal(); err != nil || !bytes.Equal(again, b) {
			t.Errorf("%s: %s, want %s", l.Kind, again, b)
		}
		if moved, err := l.On(strings.Replace(l.When(), "2026-03-05", "2026-04-01", 1)).Marshal(); err != nil || !bytes.Equal(moved, bytes.ReplaceAll(b, []byte("2026-03-05"), []byte("2026-04-01"))) {
			t.Errorf("%s: %s, %v", l.Kind, moved, err)
		}
	}
	declared := kindConstants(t)
	for _, k := range declared {
		if !made[k] {
			t.Errorf("%s has no constructor that is tried here", k)
		}
		if row, ok := kinds[k]; !ok || len(row.fields) == 0 || row.replay == nil {
			t.Errorf("%s has no whole row: its leaf would not be written, counted or judged", k)
		}
	}
	if len(declared) != len(kinds) || len(made) != len(kinds) {
		t.Errorf("%d constants, %d rows, %d constructed", len(declared), len(kinds), len(made))
	}
}

// kindConstants reads the constants of type Kind from the source: a kind that
// somebody declares and forgets is found here.
func kindConstants(t *testing.T) (declared []Kind) {
	f, err := parser.ParseFile(token.NewFileSet(), "kind.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	ast.Inspect(f, func(n ast.Node) bool {
		v, ok := n.(*ast.ValueSpec)
		if !ok {
			return true
		}
		if typ, ok := v.Type.(*ast.Ident); ok && typ.Name == "Kind" {
			declared = append(declared, Kind(strings.Trim(v.Values[0].(*ast.BasicLit).Value, `"`)))
		}
		return true
	})
	return declared
}

// No leaf that parses makes an auditor panic: neither alone nor after any other.
func TestNoLeafOfAnyKindPanicsAnAuditor(t *testing.T) {
	known := func(string) (Rules, bool) { return Rules{Threshold: 1}, true }
	for _, first := range constructed() {
		for _, second := range constructed() {
			a := newAuditor(AuditOptions{Rules: known, At: evening})
			for i, l := range []Leaf{first, second, second} {
				b, err := l.Marshal()
				if err != nil {
					t.Fatal(err)
				}
				a.replay(int64(i), parseEntry(b))
			}
			var r Report
			a.report(&r)
			if n := r.Statistics.ByKind[second.Kind]; n < 2 {
				t.Errorf("%s after %s is counted %d times", second.Kind, first.Kind, n)
			}
		}
	}
}

// A new kind of warrant that the auditor does not know is a finding.
func TestAnUnknownKindOfWarrantIsAFinding(t *testing.T) {
	b, err := constructed()[1].Marshal()
	if err != nil {
		t.Fatal(err)
	}
	a := newAuditor(AuditOptions{Rules: func(string) (Rules, bool) { return Rules{Threshold: 1}, true }, At: evening})
	a.replay(0, parseEntry(bytes.Replace(b, []byte(`"production"`), []byte(`"confiscation"`), 1)))
	if len(a.findings) != 1 || a.findings[0].Code != FindingMalformed {
		t.Errorf("%+v", a.findings)
	}
	if k := WarrantKindOf("confiscation"); k != (WarrantKind{}) {
		t.Errorf("%+v", k)
	}
}

// A review is counted by its outcome, and an objection is to what was accepted.
func TestReviewsAreCountedAndJudged(t *testing.T) {
	accepted, objected := ReviewedLeaf(evening, Accepted, salt1, []string{"b", "a"}), ReviewedLeaf(evening, Objected, salt1, []string{"a", "b"})
	separated := ReviewedLeaf(evening, Separated, [32]byte{2}, []string{"a", "b"})
	for name, tc := range map[string]struct {
		leaves []Leaf
		found  int
	}{
		"as it goes":                {[]Leaf{accepted, objected, separated}, 0},
		"an objection to nothing":   {[]Leaf{objected, separated}, 1},
		"to what was separated":     {[]Leaf{separated, ReviewedLeaf(evening, Objected, [32]byte{2}, []string{"a", "b"})}, 1},
		"an objection to one twice": {[]Leaf{accepted, objected, objected}, 1},
		"one decision twice":        {[]Leaf{separated, separated}, 1},
	} {
		a := newAuditor(AuditOptions{At: evening})
		for i, l := range tc.leaves {
			b, err := l.Marshal()
			if err != nil {
				t.Fatal(err)
			}
			a.replay(int64(i), parseEntry(b))
		}
		if len(a.findings) != tc.found || tc.found > 0 && a.findings[0].Code != FindingOrder {
			t.Errorf("%s: %+v", name, a.findings)
		}
		if name == "as it goes" && (a.stats.Reviews[Accepted] != 1 || a.stats.Reviews[Objected] != 1 || a.stats.Reviews[Separated] != 1) {
			t.Errorf("%v", a.stats.Reviews)
		}
	}
	unknown := accepted
	unknown.Code = "forgotten"
	if _, err := unknown.Marshal(); err == nil {
		t.Error("an outcome of nobody is a leaf")
	}
}
