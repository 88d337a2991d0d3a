package proof

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// lawful is what an honest registrar knows of a case of up to eight targets.
type lawful struct {
	*history
	index                           int64
	all                             byte
	votes                           map[string]byte
	authorised, released, withdrawn byte
	decided                         []int // leaves
	over                            bool
}

// reached are the waiting targets to which two custodians agree.
func (l *lawful) reached() (which byte) {
	for i := range 8 {
		yes := 0
		for _, v := range l.votes {
			yes += int(v >> i & 1)
		}
		if yes >= 2 {
			which |= 1 << i
		}
	}
	return which &^ l.authorised &^ l.withdrawn
}

func (l *lawful) step(t *rapid.T) {
	marks := func() byte { return rapid.Byte().Draw(t, "marks") & l.all }
	switch step := rapid.SampledFrom([]string{"vote", "vote", "vote", "decide", "release", "withdraw", "expire"}).Draw(t, "step"); {
	case l.over:
	case step == "vote":
		who := rapid.SampledFrom([]string{"bar", "press", "ombudsman"}).Draw(t, "who")
		l.votes[who] = marks()
		l.vote(l.index, who, l.votes[who])
	case step == "decide" && l.reached() != 0:
		which := l.reached()
		l.decided = append(l.decided, len(l.leaves))
		l.decide(l.index, which)
		l.authorised |= which
	case step == "release" && l.authorised&^l.released&^l.withdrawn != 0:
		which := l.authorised &^ l.released &^ l.withdrawn
		l.release(l.index, which)
		l.released |= which
	case step == "withdraw":
		if which := marks() &^ l.released; which != 0 {
			l.warrant(Withdrawal, 0, about(l.index, which))
			l.withdrawn |= which
		}
	case step == "expire" && l.released != l.all:
		l.add(ExpiredLeaf(l.now, l.index))
		l.over = true
	}
	l.later(time.Duration(rapid.IntRange(0, 10).Draw(t, "hours")) * time.Hour)
}

// lie does one thing that the rules forbid, and reports whether there was an
// opportunity.
func (l *lawful) lie(t *rapid.T) bool {
	unlawful := l.all &^ l.authorised &^ l.reached()
	switch rapid.SampledFrom([]string{"authorise", "release", "again", "leave out", "swap"}).Draw(t, "lie") {
	case "authorise":
		if unlawful != 0 {
			l.decide(l.index, unlawful)
			return true
		}
	case "release":
		if which := l.all&^l.authorised | l.released | l.withdrawn; which != 0 {
			l.release(l.index, which)
			return true
		}
	case "again":
		if l.authorised != 0 {
			l.decide(l.index, l.authorised)
			return true
		}
	case "leave out", "swap":
		if len(l.decided) == 0 {
			return false
		}
		leaf := &l.leaves[rapid.SampledFrom(l.decided).Draw(t, "round")]
		if len(leaf.Opened) == 0 {
			return false
		}
		leaf.Opened = slices.Clone(leaf.Opened)
		i := rapid.IntRange(0, len(leaf.Opened)-1).Draw(t, "opened")
		if rapid.Bool().Draw(t, "swap") {
			leaf.Opened[i].Votes = Marks{leaf.Opened[i].Votes[0] ^ 1}
		} else {
			leaf.Opened = slices.Delete(leaf.Opened, i, i+1)
		}
		return true
	}
	return false
}

// I8, as an outsider sees it: whatever an honest registrar does is found to be right,
// and one who lies once is found out.
func TestAuditAccusesOnlyLiars(t *testing.T) {
	lies := 0
	rapid.Check(t, func(r *rapid.T) {
		n := rapid.IntRange(1, 8).Draw(r, "targets")
		l := &lawful{history: newHistory(t), all: byte(1<<n - 1), votes: make(map[string]byte)}
		l.index = l.warrant(Production, n)
		for range rapid.IntRange(0, 30).Draw(r, "steps") {
			l.step(r)
		}
		if codes := l.codes(); len(codes) > 0 {
			r.Fatalf("an honest registrar is accused: %v", codes)
		}
		if l.lie(r) {
			if lies++; len(l.codes()) == 0 {
				r.Fatal("a lie is not found")
			}
		}
	})
	if lies < 20 {
		t.Errorf("%d lies: the property was not tried", lies)
	}
}

// BenchmarkAuditCases replays cases of three votes, a decision, a release and a notice,
// per leaf. The time of a leaf must not grow with the cases on file.
func BenchmarkAuditCases(b *testing.B) {
	for _, cases := range []int{1_000, 30_000} {
		for _, rounds := range []bool{false, true} {
			rules := rules5()
			rules.Rounds = rounds
			h := newHistory(b, rules)
			for range cases {
				c := h.warrant(Production, 3)
				if rounds {
					h.vote(c, "bar", 0b111)
					h.vote(c, "press", 0b011, "press_freedom")
					h.vote(c, "ombudsman", 0b111)
					h.decide(c, 0b111)
					h.release(c, 0b111)
				} else {
					for _, who := range []string{"bar", "press", "ombudsman"} {
						h.add(ApprovalLeaf(h.now, c, who, "", caseSalt, []byte("x")))
					}
					h.add(AuthorisedLeaf(h.now, c))
					h.add(ReleasedLeaf(h.now, c, [32]byte{1}, nil))
				}
				h.add(NoticedLeaf(h.now, c, caseSalt))
			}
			var leaves [][]byte
			for _, l := range h.leaves {
				raw, err := l.Marshal()
				if err != nil {
					b.Fatal(err)
				}
				leaves = append(leaves, raw)
			}
			b.Run(fmt.Sprintf("rounds=%t/cases=%d", rounds, cases), func(b *testing.B) {
				for b.Loop() {
					a := newAuditor(AuditOptions{At: h.now, Rules: func(string) (Rules, bool) { return rules, true }})
					for i, raw := range leaves {
						a.replay(int64(i), parseEntry(raw))
					}
					var r Report
					if a.report(&r); len(r.Findings) > 0 {
						b.Fatal(r.Findings[0])
					}
				}
				b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(len(leaves)), "ns/leaf")
			})
		}
	}
}
