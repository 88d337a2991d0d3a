package proof

import (
	"encoding/hex"
	"reflect"
	"slices"
	"testing"
	"time"

	"filippo.io/torchwood"
)

// history is a log under rules of format 5, in the making: the public log of a
// registrar who can lie about everything.
type history struct {
	t      testing.TB
	now    time.Time
	leaves []Leaf
	rules  map[string]Rules // by bundle
	kinds  map[int64]WarrantKind
	made   map[int64][]Opened // decisions of a case that no leaf opened
}

var (
	bundle5, bundle6 = hex.EncodeToString([]byte("a bundle of format 5, the 1st one")[:32]), hex.EncodeToString([]byte("a bundle of format 5, the 2nd one")[:32])

	caseSalt = [32]byte{7}
)

// rules5 are of three custodians of whom two agree.
func rules5() Rules {
	return Rules{Threshold: 2, Custodians: []string{"bar", "press", "ombudsman"}, OffenceClasses: []string{"stalking"}, Offences: []string{"stalking-s2a"},
		Fields: []string{"birthdate", "name"}, Facets: []string{FacetHoldEnds, FacetValidated}, Key: "k1", Rounds: true, SaysQuorum: true,
		MaxSecrecyDays: 90, HoldDays: 60, ExtensionDays: 30, ValidationHours: 48}
}

func newHistory(t testing.TB, rules ...Rules) *history {
	h := &history{t: t, now: time.Date(2026, 3, 1, 10, 0, 0, 0, time.UTC), rules: make(map[string]Rules), kinds: make(map[int64]WarrantKind), made: make(map[int64][]Opened)}
	if len(rules) == 0 {
		rules = []Rules{rules5()}
	}
	h.rules[bundle5] = rules[0]
	if len(rules) > 1 {
		h.rules[bundle6] = rules[1]
	}
	h.add(BundleLeaf(h.now, bundle5))
	return h
}

func (h *history) add(l Leaf) int64 {
	h.leaves = append(h.leaves, l)
	return int64(len(h.leaves)) - 1
}

// later lets time pass.
func (h *history) later(d time.Duration) *history {
	h.now = h.now.Add(d)
	return h
}

// warrant records one of that kind about so many pen names, and changes its leaf.
func (h *history) warrant(kind string, targets int, change ...func(*Leaf)) int64 {
	f := Facets{Jurisdiction: "GB", OffenceClass: "stalking", WarrantKind: kind, Bundle: bundle5, Salt: caseSalt, Warrant: "a.b.c"}
	if WarrantKindOf(kind).Decided {
		f.Quorum = 2
	}
	if WarrantKindOf(kind).Holds {
		f.HoldEnds = h.now.AddDate(0, 0, 60)
	}
	for i := range targets {
		f.Targets = append(f.Targets, Target{Pseudonym: string(rune('a' + i)), Platform: "x"})
	}
	l := RecordedLeaf(h.now, f)
	for _, c := range change {
		c(&l)
	}
	index := h.add(l)
	h.kinds[index] = WarrantKindOf(kind)
	return index
}

// about makes a recorded leaf one about an earlier case, or about some of its targets.
func about(earlier int64, which ...byte) func(*Leaf) {
	return func(l *Leaf) { l.Case, l.Which = &earlier, which }
}

// vote records a decision, closed.
func (h *history) vote(caseIndex int64, custodian string, votes byte, grounds ...string) {
	d := Decision{custodian, Marks{votes}, grounds, []byte(custodian + " signed " + string('0'+rune(len(h.leaves))))}
	h.made[caseIndex] = append(h.made[caseIndex], d.Open(caseSalt, h.add(DecisionLeaf(h.now, caseIndex, caseSalt, d))))
}

// decide opens what is closed, and authorises.
func (h *history) decide(caseIndex int64, which byte, change ...func(*Leaf)) {
	l := DecidedLeaf(h.now, caseIndex, Marks{which}, h.made[caseIndex]).On(h.kinds[caseIndex].When(h.now))
	h.made[caseIndex] = nil
	for _, c := range change {
		c(&l)
	}
	h.add(l)
}

func (h *history) release(caseIndex int64, which byte) {
	h.add(ReleasedLeaf(h.now, caseIndex, [32]byte{1}, Marks{which}).On(h.kinds[caseIndex].When(h.now)))
}

// opened is a whole case, from the votes to the release.
func (h *history) opened(caseIndex int64, which byte) {
	h.vote(caseIndex, "bar", which)
	h.vote(caseIndex, "press", which)
	h.decide(caseIndex, which)
	h.release(caseIndex, which)
}

// audit replays the history until a time.
func (h *history) audit(at time.Time) *Report {
	h.t.Helper()
	of := func(bundle string) (Rules, bool) {
		rules, ok := h.rules[bundle]
		return rules, ok
	}
	a, ongoing := newAuditor(AuditOptions{At: at, Rules: of}), NewOngoing(of)
	for i, l := range h.leaves {
		b, err := l.Marshal()
		if err != nil {
			h.t.Fatalf("leaf %d: %v %+v", i, err, l)
		}
		e := parseEntry(b)
		a.replay(int64(i), e)
		ongoing.Add(Entry{e.raw, e.Leaf, e.err, e.newer})
		ongoing.Report(torchwood.Checkpoint{}, nil, at.AddDate(i%3, 0, 0)) //nolint:errcheck // asked in between, for whenever: it changes nothing
	}
	r := new(Report)
	a.report(r)
	other, _ := ongoing.Report(torchwood.Checkpoint{}, nil, at)
	if !reflect.DeepEqual(r.Findings, other.Findings) || !reflect.DeepEqual(r.Statistics, other.Statistics) || !reflect.DeepEqual(r.Years, other.Years) || !reflect.DeepEqual(r.Deadlines, other.Deadlines) {
		h.t.Fatalf("an audit that goes on says\n%+v\nand one of the whole\n%+v", other, r)
	}
	return r
}

// codes are those of the findings of a history, with how many leaves before its end.
func (h *history) codes() []string {
	h.t.Helper()
	var codes []string
	for _, f := range h.audit(h.now).Findings {
		codes = append(codes, f.Code)
	}
	return codes
}

// want audits and compares the findings.
func (h *history) want(name string, codes ...string) {
	h.t.Helper()
	if got := h.codes(); !slices.Equal(got, codes) {
		h.t.Errorf("%s: %v, want %v", name, got, codes)
	}
}
