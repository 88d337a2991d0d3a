package disclose

import (
	"encoding/hex"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/penname/penname/policy"
	"github.com/penname/penname/verifier/opening"
)

var holidays = time.Date(2026, 11, 21, 0, 0, 0, 0, time.UTC)

// seats is a bundle of three custodians, of whom chidi is a judge, which requires a judge.
func seats(t *testing.T) *policy.Bundle {
	b := parsedBundle(t, func(*policy.Bundle) {})
	b.Custodians = []policy.Custodian{{ID: "alba", OrganisationID: "a"}, {ID: "bruno", OrganisationID: "b"}, {ID: "chidi", OrganisationID: "c", Role: "judge"}}
	b.Required = []policy.Required{{Role: "judge"}}
	return b
}

func waitingCase(b *policy.Bundle) Case {
	return Case{ID: "case", State: Recorded, Quorum: 2, Bundle: b.Hash(), RecordedLeaf: 7, Expires: holidays.AddDate(0, 0, 30), Salt: [32]byte{1}, Kind: policy.Production,
		Warrant: &policy.Warrant{Kind: policy.Production, Targets: make([]policy.Target, 1)}, Targets: []CaseTarget{{State: TargetWaiting}}}
}

func decidedBy(c Case, b *policy.Bundle, custodian, decision string) *opening.Approval {
	a := &opening.Approval{Case: c.ID, Custodian: custodian, WarrantHash: hex.EncodeToString(c.WarrantHash[:]), Bundle: b.Hash(), LeafIndex: c.RecordedLeaf,
		Decision: decision, Questions: []string{"?"}}
	if decision == opening.Approve {
		a.Shares = []opening.EncryptedShare{{Ciphertext: []byte("x")}}
		a.Answers = []opening.Answer{{Says: []string{opening.Yes}, Vote: decision}}
	} else {
		a.Reason = "incomplete"
		a.Answers = []opening.Answer{{Says: []string{opening.No}, Vote: decision, Reason: a.Reason}}
	}
	return a
}

// An alternate decides where their custodian is recused or away, and says by which statement;
// nobody else's, none of another time, and not both of them.
func TestAnAlternateDecidesOnlyInTheirStead(t *testing.T) {
	b := seats(t)
	of := func(custodian string, from, until int) Statement {
		s := Statement{Custodian: custodian, From: holidays.AddDate(0, 0, from), Until: holidays.AddDate(0, 0, until)}
		s.Digest = policy.Hash(custodian + s.From.String())
		return s
	}
	named := func(s Statement) string { return hex.EncodeToString(s.Digest[:]) }
	now, next, others := of("alba", -1, 1), of("alba", 1, 9), of("bruno", -1, 1)
	away := []Statement{now, next, others}
	recused := []Recusal{{"alba", strings.Repeat("a", 64)}, {"bruno", strings.Repeat("b", 64)}}
	for name, x := range map[string]struct {
		alternate, instead string
		recused            []Recusal
		away               []Statement
		want               error
	}{
		"the custodian":                        {},
		"the custodian while away":             {away: away},
		"the custodian after a recusal":        {recused: recused, want: ErrRecused},
		"the alternate after the recusal":      {"aldo", strings.Repeat("a", 64), recused, nil, nil},
		"after another's":                      {"aldo", strings.Repeat("b", 64), recused, nil, ErrStandIn},
		"of a recusal that is not on file":     {"aldo", strings.Repeat("a", 64), nil, nil, ErrStandIn},
		"while away":                           {"aldo", named(now), nil, away, nil},
		"while away, by what was not answered": {"aldo", named(now), nil, nil, ErrStandIn},
		"before the absence":                   {"aldo", named(next), nil, away, ErrStandIn},
		"in another's absence":                 {"aldo", named(others), nil, away, ErrStandIn},
	} {
		c := waitingCase(b)
		c.Recusals = x.recused
		a := decidedBy(c, b, "alba", opening.Approve)
		a.Alternate, a.Instead = x.alternate, x.instead
		if _, err := c.decide(a, "signed", []*policy.Bundle{b}, x.away, holidays); !errors.Is(err, x.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	// Who shares a seat counts once: the first decision stands, whoever gives the second.
	c := waitingCase(b)
	c.Approvals = []Approval{{Custodian: "alba", Approved: true, Bundle: b.Hash()}}
	a := decidedBy(c, b, "alba", opening.Decline)
	a.Alternate, a.Instead = "aldo", named(now)
	if ch, err := c.decide(a, "signed", []*policy.Bundle{b}, away, holidays); err != nil || ch.Approval != nil {
		t.Errorf("counted twice: %+v, %v", ch, err)
	}
}

// Two of three are the number, and without the judge nothing is authorised; without one who
// could still be, it is declined. A database that says otherwise opens nothing.
func TestAJudgeMustBeAmongThem(t *testing.T) {
	b := seats(t)
	since := []*policy.Bundle{b}
	for name, x := range map[string]struct {
		before, by, decision string
		does                 []Event
	}{
		"two without the judge":    {"alba", "bruno", opening.Approve, []Event{Approve}},
		"with the judge":           {"alba", "chidi", opening.Approve, []Event{Approve, Authorise}},
		"the judge declines":       {"alba", "chidi", opening.Decline, []Event{Decline, Fail}},
		"another declines":         {"alba", "bruno", opening.Decline, []Event{Decline}},
		"the judge alone approves": {"", "chidi", opening.Approve, []Event{Approve}},
	} {
		c := waitingCase(b)
		if x.before != "" {
			c.Approvals = []Approval{{Custodian: x.before, Approved: true, Bundle: b.Hash()}}
		}
		ch, err := c.decide(decidedBy(c, b, x.by, x.decision), "signed", since, nil, holidays)
		var does []Event
		for _, s := range ch.Steps {
			does = append(does, s.Event)
		}
		if err != nil || !slices.Equal(does, x.does) {
			t.Errorf("%s: %v, %v", name, does, err)
		}
	}
	c := waitingCase(b)
	for _, x := range []struct {
		who  []string
		want error
	}{{[]string{"alba"}, ErrQuorumNotMet}, {[]string{"alba", "bruno"}, ErrRequired}, {[]string{"alba", "chidi"}, nil}, {[]string{"chidi", "chidi"}, ErrQuorumNotMet}} {
		c.Approvals = nil
		for _, id := range x.who {
			c.Approvals = append(c.Approvals, Approval{Custodian: id, Approved: true, Bundle: b.Hash()})
		}
		if err := c.supported([]int{0}, since); !errors.Is(err, x.want) {
			t.Errorf("released after %v: %v", x.who, err)
		}
	}
}

// What is said is bounded, is of a case that is open, and a recusal comes before a decision.
func TestWhatMayBeSaid(t *testing.T) {
	b := seats(t)
	c := waitingCase(b)
	says := func(kind string) *opening.Statement {
		return &opening.Statement{Kind: kind, Custodian: "alba", Case: c.ID, Warrant: hex.EncodeToString(c.WarrantHash[:])}
	}
	before := func(kind string, n int) []Statement {
		return append(slices.Repeat([]Statement{{Kind: kind, Custodian: "alba"}}, n), Statement{Kind: kind, Custodian: "bruno"})
	}
	with := func(change func(*Case)) Case {
		other := c
		change(&other)
		return other
	}
	expired := with(func(c *Case) { c.State = Expired })
	decided := with(func(c *Case) { c.Approvals = []Approval{{Custodian: "alba", Bundle: b.Hash()}} })
	held := with(func(c *Case) { c.Kind = policy.Preservation })
	for name, x := range map[string]struct {
		c      Case
		kind   string
		before []Statement
		want   error
	}{
		"a question":                {c, opening.Question, before(opening.Question, 4), nil},
		"a sixth question":          {c, opening.Question, before(opening.Question, 5), ErrManyQuestions},
		"a question in an old case": {expired, opening.Question, nil, policy.ErrExpired},
		"a recusal":                 {c, opening.Recusal, before(opening.Recusal, 0), nil},
		"another recusal":           {c, opening.Recusal, before(opening.Recusal, 1), ErrSaid},
		"after a decision":          {decided, opening.Recusal, nil, ErrDecided},
		"reasons after a decision":  {decided, opening.Reasons, nil, nil},
		"reasons again":             {decided, opening.Reasons, before(opening.Reasons, 1), ErrSaid},
		"of a preservation":         {held, opening.Question, nil, ErrNothingToOpen},
	} {
		if err := x.c.maySay(says(x.kind), x.before, holidays); !errors.Is(err, x.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	other := says(opening.Question)
	other.Warrant = strings.Repeat("0", 63) + "1"
	if err := c.maySay(other, nil, holidays); !errors.Is(err, ErrWrongCase) {
		t.Errorf("about another warrant: %v", err)
	}
}

// What a case in the list is to who asks for it.
func TestOnlyWhatWaitsIsYours(t *testing.T) {
	b := seats(t)
	since := []*policy.Bundle{b}
	for name, x := range map[string]struct {
		is              Stand
		alternate, away bool
		want            string
	}{
		"nothing said":                {Stand{}, false, false, Yours},
		"decided":                     {Stand{Bundle: b.Hash(), Approved: true}, false, false, Answered},
		"declined under older rules":  {Stand{Bundle: "older"}, false, false, Answered},
		"approved with a moved key":   {Stand{Bundle: "older", Approved: true}, false, false, Yours},
		"recused":                     {Stand{Recused: true}, false, false, Apart},
		"under objection":             {Stand{Objected: true}, false, false, Suspended},
		"before anybody was told":     {Stand{First: true}, false, false, Early},
		"in the days to object":       {Stand{First: true, From: holidays.AddDate(0, 0, 1)}, false, false, Early},
		"after the days to object":    {Stand{First: true, From: holidays}, false, false, Yours},
		"the alternate":               {Stand{}, true, false, Standby},
		"the alternate of who is off": {Stand{}, true, true, Yours},
		"after the recusal":           {Stand{Recused: true}, true, false, Yours},
		"answered by either":          {Stand{Recused: true, Bundle: b.Hash(), Approved: true}, true, false, Answered},
	} {
		if have := (Summary{Leaf: 7, ApproveFrom: x.is.From}).waitsFor(x.is, x.alternate, x.away, since, holidays); have != x.want {
			t.Errorf("%s: %s", name, have)
		}
	}
	day := Summary{Kind: policy.Production, ApproveFrom: holidays, Expires: holidays.AddDate(0, 0, 30)}
	if d := day.Next(); d.What != opening.DeadlineAnswer || !d.At.Equal(holidays.AddDate(0, 0, 10)) {
		t.Errorf("%+v", d)
	}
	day.Kind = policy.Emergency
	if d := day.Next(); !d.At.Equal(holidays.Add(8 * time.Hour)) {
		t.Errorf("%+v", d)
	}
	if day.Expires = holidays.Add(time.Hour); day.Next().What != opening.DeadlineExpiry {
		t.Errorf("%+v", day.Next())
	}
}
