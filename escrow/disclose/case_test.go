package disclose

import (
	"encoding/hex"
	"errors"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/penname/penname/verifier/opening"

	"github.com/penname/penname/policy"
	"github.com/penname/penname/verifier/proof"
)

// standing is a case in a state, with two targets where such a case has them; something may
// still come of the second while it may of the case.
func standing(s State) Case {
	first := map[State]TargetState{Authorised: TargetAuthorised, Released: TargetReleased, Noticed: TargetReleased, Declined: TargetDeclined,
		Withdrawn: TargetWithdrawn, Stopped: TargetStopped, Lapsed: TargetLapsed, Expired: TargetExpired}[s]
	c := Case{State: s, RecordedLeaf: 7, Salt: [32]byte{1}, Quorum: 1, Kind: policy.Production, Targets: []CaseTarget{{State: first}, {State: first}}}
	switch s {
	case Recorded, Lost:
		c.Targets = []CaseTarget{{State: TargetWaiting}, {State: TargetWaiting}}
	case Authorised, Released:
		c.Targets[1].State = TargetWaiting
	case Noticed:
		c.Targets[1].State = TargetExpired
	}
	if s == Authorised || s == Released || s == Noticed {
		c.Rounds, c.Targets[0].Round = []Round{{AuthorisedLeaf: 8}}, 1
		if s != Authorised {
			c.Rounds[0].ReleasedLeaf = 9
		}
	}
	return c
}

// leafFor is one that the row wants.
func leafFor(row Transition) (l proof.Leaf) {
	if len(row.Leaf) > 0 {
		l.Kind = row.Leaf[len(row.Leaf)-1]
	}
	return l
}

// TestLife is the life of a case written a second time: what each event does in
// each state, to a case of which another target still waits. A new state or event needs a
// row here.
func TestLife(t *testing.T) {
	type does map[State]any // where it leads, or the refusal
	told := policy.ErrExpired
	closed, tooLate, over := ErrCaseClosed, ErrTooLate, ErrOver
	for event, want := range map[Event]does{
		Approve: {Recorded: Recorded, Authorised: Authorised, Released: Released, Noticed: closed, Declined: closed, Withdrawn: ErrWithdrawn,
			Stopped: ErrAnnulled, Lapsed: ErrLapsed, Expired: told, Lost: ErrLost},
		Decline: {Recorded: Recorded, Authorised: Authorised, Released: Released, Noticed: closed, Declined: closed, Withdrawn: ErrWithdrawn,
			Stopped: ErrAnnulled, Lapsed: ErrLapsed, Expired: told, Lost: ErrLost},
		Authorise: {Recorded: Authorised, Authorised: Authorised, Released: Authorised, Noticed: closed, Declined: closed, Withdrawn: ErrWithdrawn,
			Stopped: ErrAnnulled, Lapsed: ErrLapsed, Expired: told, Lost: ErrLost},
		Fail: {Recorded: Declined, Authorised: Authorised, Released: Released, Noticed: closed, Declined: closed, Withdrawn: ErrWithdrawn,
			Stopped: ErrAnnulled, Lapsed: ErrLapsed, Expired: told, Lost: ErrLost},
		Withdraw: {Recorded: Withdrawn, Authorised: Withdrawn, Released: Released, Noticed: tooLate, Declined: tooLate, Withdrawn: tooLate,
			Stopped: tooLate, Lapsed: tooLate, Expired: tooLate, Lost: tooLate},
		Annul: {Recorded: Stopped, Authorised: Stopped, Released: Released, Noticed: Noticed, Declined: tooLate, Withdrawn: tooLate,
			Stopped: tooLate, Lapsed: tooLate, Expired: tooLate, Lost: tooLate},
		Validate: {Recorded: Recorded, Authorised: Authorised, Released: Released, Noticed: Noticed, Declined: over, Withdrawn: over,
			Stopped: over, Lapsed: ErrLapsed, Expired: over, Lost: over},
		Lapse: {Recorded: Lapsed, Authorised: Lapsed, Released: Released, Noticed: Noticed, Declined: closed, Withdrawn: closed,
			Stopped: closed, Lapsed: closed, Expired: closed, Lost: closed},
		Extend: {Recorded: Recorded, Authorised: over, Released: over, Noticed: over, Declined: over, Withdrawn: over, Stopped: over, Lapsed: over,
			Expired: over, Lost: over},
		ChangeSecret: {Recorded: Recorded, Authorised: Authorised, Released: Released, Noticed: over, Declined: over, Withdrawn: over, Stopped: over,
			Lapsed: over, Expired: over, Lost: over},
		Release: {Recorded: ErrQuorumNotMet, Authorised: Released, Released: closed, Noticed: closed, Declined: ErrDeclined, Withdrawn: ErrWithdrawn,
			Stopped: ErrAnnulled, Lapsed: ErrLapsed, Expired: told, Lost: ErrLost},
		Break: {Recorded: closed, Authorised: Authorised, Released: closed, Noticed: closed, Declined: closed, Withdrawn: closed, Stopped: closed,
			Lapsed: closed, Expired: closed, Lost: closed},
		Delete: {Recorded: ErrNothingDelivered, Authorised: Authorised, Released: Released, Noticed: Noticed, Declined: ErrNothingDelivered,
			Withdrawn: ErrNothingDelivered, Stopped: ErrNothingDelivered, Lapsed: ErrNothingDelivered, Expired: ErrNothingDelivered, Lost: ErrNothingDelivered},
		Expire: {Recorded: Expired, Authorised: Expired, Released: closed, Noticed: closed, Declined: closed, Withdrawn: closed, Stopped: closed,
			Lapsed: closed, Expired: closed, Lost: Expired},
		Close: {Recorded: closed, Authorised: Expired, Released: Released, Noticed: closed, Declined: closed, Withdrawn: closed, Stopped: closed,
			Lapsed: closed, Expired: closed, Lost: closed},
		Notify: {Recorded: closed, Authorised: Noticed, Released: Noticed, Noticed: closed, Declined: closed, Withdrawn: closed, Stopped: closed,
			Lapsed: closed, Expired: closed, Lost: Noticed},
		Lose: {Recorded: Lost, Authorised: Lost, Released: Lost, Noticed: closed, Declined: closed, Withdrawn: closed, Stopped: closed, Lapsed: closed,
			Expired: closed, Lost: Lost},
	} {
		for _, state := range States {
			row, _ := state.May(event)
			ch := Change{Steps: []Step{{Event: event, Leaf: leafFor(row), Code: "warrant.data_erased"}}, Deletion: &Deletion{}, Later: &Later{}, Approval: &Approval{}}
			after, err := standing(state).After(ch, 12)
			switch w := want[state].(type) {
			case State:
				if err != nil || after.State != w {
					t.Errorf("%s in %s leads to %q, %v; want %s", event, state, after.State, err, w)
				}
			case error:
				if !errors.Is(err, w) {
					t.Errorf("%s in %s: %v, want %v", event, state, err, w)
				}
			default:
				t.Errorf("%s in %s is not in the table of this test", event, state)
			}
		}
	}
	for _, row := range Life {
		if len(row.From) == 0 || row.Else[""] == nil {
			t.Errorf("%s: a row needs states that it starts from, and a refusal for the others", row.Event)
		}
	}
}

// TestTargetLife is the life of a target written a second time. What is not here leaves a
// target alone.
func TestTargetLife(t *testing.T) {
	moves := map[Event]map[TargetState]TargetState{
		Authorise: {TargetWaiting: TargetAuthorised}, Fail: {TargetWaiting: TargetDeclined},
		Release: {TargetAuthorised: TargetReleased}, Break: {TargetAuthorised: TargetRefused},
		Withdraw: {TargetWaiting: TargetWithdrawn, TargetAuthorised: TargetWithdrawn},
		Annul:    {TargetWaiting: TargetStopped, TargetAuthorised: TargetStopped},
		Lapse:    {TargetWaiting: TargetLapsed, TargetAuthorised: TargetLapsed},
		Expire:   {TargetWaiting: TargetExpired, TargetAuthorised: TargetExpired},
		Close:    {TargetWaiting: TargetExpired, TargetAuthorised: TargetExpired},
		Notify:   {TargetWaiting: TargetExpired, TargetAuthorised: TargetExpired},
		Lose:     {TargetWaiting: TargetReleased, TargetAuthorised: TargetReleased},
	}
	for _, row := range Life {
		for _, from := range TargetStates {
			to := from
			moved, want := to.move(row.Event), moves[row.Event][from]
			if want == "" {
				want = from
			}
			if to != want || moved != (want != from) {
				t.Errorf("%s takes a target from %s to %s, want %s", row.Event, from, to, want)
			}
		}
	}
}

// TestAfter: a change is taken whole or not at all, and each leaf is kept where
// it belongs.
func TestAfter(t *testing.T) {
	now := time.Date(2026, 11, 21, 0, 0, 0, 0, time.UTC)
	recorded := standing(Recorded)
	approval := &Approval{Custodian: "bar", Approved: true, Signed: "s"}
	approve := Step{Event: Approve, Leaf: proof.ApprovalLeaf(now, 7, "bar", "", recorded.Salt, []byte("s"))}
	authorise := Step{Event: Authorise, Leaf: proof.AuthorisedLeaf(now, 7)}
	got, err := recorded.After(Change{Steps: []Step{approve, authorise}, Approval: approval}, 8, 9)
	if err != nil || got.State != Authorised || got.Rounds[0].AuthorisedLeaf != 9 || len(got.Approvals) != 1 || got.Approvals[0].Leaf != 8 {
		t.Fatalf("%+v, %v", got, err)
	}
	if recorded.State != Recorded || len(recorded.Approvals) != 0 || recorded.Targets[0].State != TargetWaiting || len(recorded.Rounds) != 0 {
		t.Error("the case before has changed")
	}
	for name, c := range map[string]struct {
		change  Change
		indices []int64
		want    error
	}{
		"no leaf":              {Change{Steps: []Step{{Event: Authorise}}}, nil, errStep},
		"another leaf":         {Change{Steps: []Step{{Event: Authorise, Leaf: approve.Leaf}}}, []int64{8}, errStep},
		"no index":             {Change{Steps: []Step{authorise}}, nil, errStep},
		"the second not legal": {Change{Steps: []Step{authorise, authorise}}, []int64{8, 9}, ErrCaseClosed},
	} {
		if _, err := recorded.After(c.change, c.indices...); !errors.Is(err, c.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestDecide is what an approval or a refusal does, or why it does nothing.
func TestDecide(t *testing.T) {
	now := time.Date(2026, 11, 21, 0, 0, 0, 0, time.UTC)
	open := Case{
		ID: "case", WarrantHash: [32]byte{1}, Bundle: "rules", Salt: [32]byte{2}, Kind: policy.Production, Quorum: 2, State: Recorded, RecordedLeaf: 7,
		Warrant: &policy.Warrant{Kind: policy.Production, Targets: make([]policy.Target, 2)}, Expires: now.Add(time.Hour), ApproveFrom: now,
		Approvals: []Approval{{Custodian: "a", Approved: true}}, Targets: []CaseTarget{{State: TargetWaiting}, {State: TargetWaiting}},
	}
	done := func(c *Case, s State, targets TargetState) {
		c.State, c.Targets = s, []CaseTarget{{State: targets, Round: 1}, {State: targets, Round: 1}}
	}
	shares := []opening.EncryptedShare{{Target: 0, Ciphertext: []byte("x")}, {Target: 1, Ciphertext: []byte("x")}}
	hash := [32]byte{1}
	approves := opening.Approval{Case: "case", Custodian: "b", WarrantHash: hex.EncodeToString(hash[:]), Bundle: "rules", LeafIndex: 7, Decision: opening.Approve, Shares: shares}
	declines := approves
	declines.Decision, declines.Reason, declines.Shares = opening.Decline, policy.DeclineReasons[0], nil
	for name, c := range map[string]struct {
		a    opening.Approval
		edit func(*Case, *opening.Approval)
		want error
		does []Event
	}{
		"the quorum":              {approves, func(*Case, *opening.Approval) {}, nil, []Event{Approve, Authorise}},
		"not the quorum yet":      {approves, func(c *Case, _ *opening.Approval) { c.Quorum = 3 }, nil, []Event{Approve}},
		"steps in late":           {approves, func(c *Case, _ *opening.Approval) { done(c, Released, TargetReleased) }, nil, []Event{Approve}},
		"declined, one can still": {declines, func(*Case, *opening.Approval) {}, nil, []Event{Decline}},
		"declined, none can": {declines, func(c *Case, _ *opening.Approval) { c.Approvals[0].Approved = false }, nil,
			[]Event{Decline, Fail}},
		"another case":    {approves, func(_ *Case, a *opening.Approval) { a.Case = "x" }, ErrWrongCase, nil},
		"another warrant": {approves, func(c *Case, _ *opening.Approval) { c.WarrantHash[0]++ }, ErrWrongCase, nil},
		"other rules":     {approves, func(c *Case, _ *opening.Approval) { c.Bundle = "x" }, ErrWrongCase, nil},
		"another leaf":    {approves, func(_ *Case, a *opening.Approval) { a.LeafIndex++ }, ErrWrongCase, nil},
		"twice":           {approves, func(_ *Case, a *opening.Approval) { a.Custodian = "a" }, nil, nil}, // TestFoundB1ADecisionAgainIsTheStoredOne
		"expired a second ago, and nobody has said so": {approves, func(c *Case, _ *opening.Approval) { c.Expires = now }, policy.ErrExpired, nil},
		"released, and it ran out": {approves, func(c *Case, _ *opening.Approval) {
			done(c, Released, TargetReleased)
			c.Targets[1], c.Expires = CaseTarget{State: TargetWaiting}, now
		}, policy.ErrExpired, nil},
		"a no in one vote for all": {approves, func(_ *Case, a *opening.Approval) {
			a.Shares, a.Answers = shares[:1], []opening.Answer{{Vote: opening.Approve}, {Target: 1, Vote: opening.Decline}}
		}, ErrAllOrNone, nil},
		"a share for what is annulled": {approves, func(c *Case, _ *opening.Approval) {
			done(c, Released, TargetReleased)
			c.Targets[1].Code = ErrAnnulled.Code
		}, ErrAnnulled, nil},
		"a share for what lapsed": {approves, func(c *Case, _ *opening.Approval) {
			done(c, Released, TargetReleased)
			c.Targets[0].Code = ErrLapsed.Code
		}, ErrLapsed, nil},
		"expired":               {approves, func(c *Case, _ *opening.Approval) { c.State = Expired }, policy.ErrExpired, nil},
		"withdrawn":             {approves, func(c *Case, _ *opening.Approval) { c.State = Withdrawn }, ErrWithdrawn, nil},
		"lost":                  {declines, func(c *Case, _ *opening.Approval) { c.State = Lost }, ErrLost, nil},
		"declined after quorum": {declines, func(c *Case, _ *opening.Approval) { done(c, Authorised, TargetAuthorised) }, ErrCaseClosed, nil},
		"in the notice period":  {approves, func(c *Case, _ *opening.Approval) { c.ApproveFrom = now.Add(1) }, policy.ErrNoticePeriod, nil},
		"no listed reason":      {declines, func(_ *Case, a *opening.Approval) { a.Reason = "x" }, ErrReason, nil},
		"an unreadable case":    {approves, func(c *Case, _ *opening.Approval) { c.Warrant = nil }, ErrNotAsLogged, nil},
		"a preservation":        {approves, func(c *Case, _ *opening.Approval) { c.Warrant = &policy.Warrant{Kind: policy.Preservation} }, ErrNothingToOpen, nil},
		"a share is missing":    {approves, func(_ *Case, a *opening.Approval) { a.Shares = a.Shares[:1] }, ErrShares, nil},
		"a share twice":         {approves, func(_ *Case, a *opening.Approval) { a.Shares = []opening.EncryptedShare{shares[0], shares[0]} }, ErrShares, nil},
		"shares of compartments": {approves, func(c *Case, a *opening.Approval) {
			c.Compartments, a.Shares = [][]string{{"contact", "identity"}, {"identity"}}, compartmentShares("0 contact", "0 identity", "1 identity")
		}, nil, []Event{Approve, Authorise}},
		"a share of another compartment": {approves, func(c *Case, a *opening.Approval) {
			c.Compartments, a.Shares = [][]string{{"identity"}, {"identity"}}, compartmentShares("0 contact", "1 identity")
		}, ErrShares, nil},
		"a compartment too many": {approves, func(c *Case, a *opening.Approval) {
			c.Compartments, a.Shares = [][]string{{"identity"}, {"identity"}}, compartmentShares("0 contact", "0 identity", "1 identity")
		}, ErrShares, nil},
		"a compartment is missing": {approves, func(c *Case, a *opening.Approval) {
			c.Compartments, a.Shares = [][]string{{"contact", "identity"}, {"identity"}}, compartmentShares("0 identity", "1 identity")
		}, ErrShares, nil},
		"shares of no compartment": {approves, func(c *Case, _ *opening.Approval) { c.Compartments = [][]string{{"identity"}, {"identity"}} }, ErrShares, nil},
		"a share too many": {approves, func(c *Case, _ *opening.Approval) {
			c.Warrant, c.Targets = &policy.Warrant{Kind: policy.Production, Targets: make([]policy.Target, 1)}, c.Targets[:1]
		}, ErrShares, nil},
	} {
		t.Run(name, func(t *testing.T) {
			it, a := open, c.a
			it.Approvals = []Approval{open.Approvals[0]}
			c.edit(&it, &a)
			change, err := it.decide(&a, "signed", []*policy.Bundle{{Custodians: []policy.Custodian{{ID: "a"}, {ID: "b"}, {ID: "c"}}}}, nil, now)
			if !errors.Is(err, c.want) || len(change.Steps) != len(c.does) {
				t.Fatalf("%d steps, %v", len(change.Steps), err)
			}
			for i, step := range change.Steps {
				if step.Event != c.does[i] {
					t.Errorf("step %d: %s", i, step.Event)
				}
			}
			if err == nil {
				if _, err := it.After(change, 8, 9); err != nil {
					t.Error(err)
				}
			}
		})
	}
}

// TestRestore is what a leaf does that comes back to a backup, in every state.
func TestRestore(t *testing.T) {
	now := time.Date(2026, 11, 21, 0, 0, 0, 0, time.UTC)
	leaves := map[string]proof.Leaf{
		"approved":   proof.ApprovalLeaf(now, 7, "bar", "", [32]byte{1}, []byte("s")),
		"authorised": proof.AuthorisedLeaf(now, 7), "released": proof.ReleasedLeaf(now, 7, [32]byte{1}, nil),
		"noticed": proof.NoticedLeaf(now, 7, [32]byte{1}), "expired": proof.ExpiredLeaf(now, 7),
	}
	for _, state := range States {
		for name, leaf := range leaves {
			for _, released := range []int64{0, 9} {
				c := Case{State: state, RecordedLeaf: 7, Warrant: &policy.Warrant{Targets: make([]policy.Target, 1)}, Targets: []CaseTarget{{State: TargetExpired}}}
				if released != 0 {
					c.Rounds, c.Targets[0] = []Round{{8, released}}, CaseTarget{State: TargetReleased, Round: 1}
				}
				want, whole := Lost, false
				switch {
				case name == "noticed" && released != 0 && (state == Authorised || state == Released || state == Lost):
					want, whole = Noticed, true
				case name == "expired" && released == 0 && (state == Recorded || state == Authorised || state == Lost):
					want, whole = Expired, true
				case state != Recorded && state != Authorised && state != Lost:
					want = state // nothing can come of it any more
				}
				change, is := c.Restore(leaf, 12)
				after, err := c.After(change, 12)
				if err != nil || after.State != want || is != whole || whole != (change.Notice != nil || name == "expired" && whole) {
					t.Errorf("%s in %s, released %d: %s, whole %v, %v; want %s", name, state, released, after.State, is, err, want)
				}
				if name == "authorised" && want == Lost && after.Rounds[0].AuthorisedLeaf != 12 && released == 0 {
					t.Errorf("in %s the leaf that authorised it is forgotten", state)
				}
			}
		}
	}
	unreadable := Case{State: Released, RecordedLeaf: 7, Rounds: []Round{{8, 9}}, Targets: []CaseTarget{{State: TargetReleased, Round: 1}}}
	if change, whole := unreadable.Restore(leaves["noticed"], 12); whole || len(change.Steps) != 0 {
		t.Error("a notice is served from a warrant that cannot be read")
	}
}

func TestD10ForgedCursor(t *testing.T) {
	for _, c := range []Cursor{{}, {Due: time.Unix(1790000000, 0).UTC(), Leaf: 17}, {Due: time.Unix(-1, 0).UTC()}} {
		var back Cursor
		if err := back.UnmarshalText([]byte(c.String())); err != nil || back != c {
			t.Errorf("%v came back as %v, %v", c, back, err)
		}
	}
	for _, text := range []string{"x", "1", "1.", ".1", "1.2.3", "1.2 ", " 1.2", "01.2", "+1.2", "1.-02", "1e3.2", "1.2\x00", "1.2; DROP TABLE cases", "99999999999999999999.1"} {
		if err := new(Cursor).UnmarshalText([]byte(text)); !errors.Is(err, ErrCursor) {
			t.Errorf("%q: %v", text, err)
		}
	}
}

// compartmentShares are shares for "target compartment".
func compartmentShares(places ...string) (all []opening.EncryptedShare) {
	for _, place := range places {
		target, compartment, _ := strings.Cut(place, " ")
		n, _ := strconv.Atoi(target)
		all = append(all, opening.EncryptedShare{Target: n, Compartment: compartment, Ciphertext: []byte("x")})
	}
	return all
}

// A suspension that was in force is told of, also if it ran out or was taken back before its
// secrecy ended: until then the case stays authorised. Told, it can still be taken back.
func TestSuspensionEndsWithItsNotice(t *testing.T) {
	noon := time.Date(2026, 11, 28, 12, 0, 0, 0, time.UTC)
	suspension := func() Case {
		w := &policy.Warrant{Kind: policy.Suspension, Targets: []policy.Target{{Platform: "a"}, {Platform: "b"}}}
		return Case{Kind: policy.Suspension, Warrant: w, State: Authorised, RecordedLeaf: 3, Expires: noon.AddDate(0, 0, 10), SecrecyEnds: noon.AddDate(0, 0, 20),
			Targets: []CaseTarget{{State: TargetAuthorised, Round: 1}, {State: TargetWaiting}}, Rounds: []Round{{AuthorisedLeaf: 7}}}
	}
	withdraws := Change{Steps: []Step{{Event: Withdraw, Which: []int{0}}}, Later: &Later{}}
	told := func(c Case, now time.Time) Case {
		t.Helper()
		ch, err := c.notify(now)
		if err != nil {
			t.Fatal(err)
		}
		if len(ch.Notice.To) != 1 || ch.Notice.To[0].Platform != "a" {
			t.Errorf("told: %+v", ch.Notice.To)
		}
		if c, err = c.After(ch, 9); err != nil || c.State != Noticed || c.NoticedLeaf != 9 {
			t.Errorf("%s, %v", c.State, err)
		}
		return c
	}
	c := told(suspension(), noon.AddDate(0, 0, 20)) // it ran out before
	if c.Targets[0].State != TargetAuthorised {
		t.Errorf("the notice ends the suspension: %s", c.Targets[0].State)
	}
	if c, err := c.After(withdraws); err != nil || c.State != Noticed || c.Targets[0].State != TargetWithdrawn {
		t.Errorf("taken back after the notice: %s, %s, %v", c.State, c.Targets[0].State, err)
	}
	if _, due := ForExpiry.Due(suspension(), noon.AddDate(0, 0, 11)); due {
		t.Error("it expires before anybody was told")
	}
	c, err := suspension().After(withdraws)
	if err != nil || c.State != Authorised || c.Targets[0].State != TargetWithdrawn {
		t.Fatalf("taken back before the notice: %s, %s, %v", c.State, c.Targets[0].State, err)
	}
	told(c, noon.AddDate(0, 0, 20))
}

// A target that was refused when the warrant was filed has no leaf. The withdrawal of all that
// is left says so, or the audit would wait for an emergency, or a hold, that is over.
func TestTheWithdrawalOfWhatIsLeftEndsTheCaseInTheLog(t *testing.T) {
	named := []policy.Target{{Pseudonym: "pen1a", Platform: "a"}, {Pseudonym: "pen1b", Platform: "b"}, {Pseudonym: "pen1c", Platform: "c"}}
	for kind, first := range map[string]TargetState{policy.Emergency: TargetRefused, policy.Preservation: TargetRefused, policy.Production: TargetDeclined} {
		c := Case{Kind: kind, Warrant: &policy.Warrant{Kind: kind, Targets: named}, State: Recorded, Authority: "court", RecordedLeaf: 3, Salt: [32]byte{1},
			Targets: []CaseTarget{{State: first}, {State: TargetWaiting}, {State: TargetWaiting}}}
		withdraws := func(targets ...policy.Target) proof.Leaf {
			t.Helper()
			w := &policy.Warrant{Kind: policy.Withdrawal, Targets: targets}
			ch, leaf, err := c.Later(Case{Kind: w.Kind, Authority: "court", Warrant: w}, proof.Leaf{})
			if err != nil {
				t.Fatal(err)
			}
			if c, err = c.After(ch, 9); err != nil {
				t.Fatal(err)
			}
			return leaf
		}
		if leaf := withdraws(named[1]); leaf.Which.Count() != 1 {
			t.Errorf("%s: one target waits still: %x", kind, leaf.Which)
		}
		if leaf := withdraws(named[2]); len(leaf.Which) > 0 || c.State != Withdrawn {
			t.Errorf("%s: nothing is left: %x, %s", kind, leaf.Which, c.State)
		}
	}
}
