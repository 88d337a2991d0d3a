package disclose

import (
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/penname/penname/escrow/exhibit/exhibittest"
	"github.com/penname/penname/policy"
	"github.com/penname/penname/verifier/opening"
)

// B1: a custodian whose answer was lost repeats the decision. It changes nothing,
// whatever became of the case since; another decision is told which one stands.
func TestFoundB1ADecisionAgainIsTheStoredOne(t *testing.T) {
	now := time.Date(2026, 11, 21, 0, 0, 0, 0, time.UTC)
	for _, state := range States {
		for _, approved := range []bool{true, false} {
			c := Case{ID: "case", State: state, Quorum: 2, Approvals: []Approval{{Custodian: "alba", Approved: approved, Leaf: 7}}}
			for _, decision := range []string{opening.Approve, opening.Decline} {
				a := &opening.Approval{Case: c.ID, Custodian: "alba", WarrantHash: hex.EncodeToString(c.WarrantHash[:]), Decision: decision}
				change, err := c.decide(a, "signed again", []*policy.Bundle{{}}, nil, now)
				if err != nil || len(change.Steps) != 0 || change.Approval != nil {
					t.Errorf("%s, %s again: %v, %v", state, decision, change, err)
				}
			}
		}
	}
	for approved, word := range map[bool]string{true: "has approved", false: "has declined"} {
		if err := (&Approval{Approved: approved}).stands("a recusal comes too late"); !errors.Is(err, ErrDecided) || !strings.Contains(err.Error(), word) || !strings.HasSuffix(err.Error(), "too late") {
			t.Errorf("the stored decision is not said: %v", err)
		}
	}
}

// J4: rules change while a case is open. Who signs is a custodian of the bundle in
// force; a resharing lets those who approved before approve again, and counts
// nobody twice.
func TestFoundJ4DecisionsUnderNewRules(t *testing.T) {
	now := time.Date(2026, 11, 21, 0, 0, 0, 0, time.UTC)
	bundle := func(number int, key string, custodians ...string) *policy.Bundle {
		b := parsedBundle(t, func(b *policy.Bundle) { b.ThresholdKey, b.Number = key, number })
		b.Custodians = nil
		for _, id := range custodians {
			b.Custodians = append(b.Custodians, policy.Custodian{ID: id})
		}
		return b
	}
	key, moved := base64.RawURLEncoding.EncodeToString(make([]byte, 40)), base64.RawURLEncoding.EncodeToString(make([]byte, 41))
	first := bundle(1, key, "alba", "bruno", "chidi")
	court := bundle(2, key, "alba", "bruno", "chidi")      // another court, the same key
	reshared := bundle(3, moved, "bruno", "chidi", "dora") // alba is gone
	leaf := int64(7)
	stops := parsedBundle(t, func(b *policy.Bundle) {
		b.Succeed(first)
		b.Stops = []policy.Stop{{Case: &leaf}}
	})
	approves := func(custodian string) *opening.Approval {
		return &opening.Approval{Case: "case", Custodian: custodian, WarrantHash: hex.EncodeToString(make([]byte, 32)), Bundle: first.Hash(), LeafIndex: leaf,
			Decision: opening.Approve, Shares: []opening.EncryptedShare{{Target: 0, Ciphertext: []byte("x")}},
			Questions: []string{"Does this post show this offence?"}, Answers: []opening.Answer{{Says: []string{opening.Yes}, Vote: opening.Approve}}}
	}
	under := func(who string, approved bool, b *policy.Bundle) Approval {
		return Approval{Custodian: who, Approved: approved, Bundle: b.Hash()}
	}
	for name, c := range map[string]struct {
		before []Approval
		since  []*policy.Bundle
		by     string
		does   []Event
		want   error
	}{
		"the same key under another court":    {[]Approval{under("alba", true, first)}, []*policy.Bundle{first, court}, "bruno", []Event{Approve, Authorise}, nil},
		"and nobody counts twice":             {[]Approval{under("alba", true, first)}, []*policy.Bundle{first, court}, "alba", nil, nil},
		"a moved key counts anew":             {[]Approval{under("alba", true, first)}, []*policy.Bundle{first, reshared}, "dora", []Event{Approve}, nil},
		"who approved before approves again":  {[]Approval{under("bruno", true, first)}, []*policy.Bundle{first, reshared}, "bruno", []Event{Approve}, nil},
		"two with the moved key":              {[]Approval{under("bruno", true, first), under("bruno", true, reshared)}, []*policy.Bundle{first, reshared}, "dora", []Event{Approve, Authorise}, nil},
		"twice with the moved key":            {[]Approval{under("bruno", true, reshared)}, []*policy.Bundle{first, reshared}, "bruno", nil, nil},
		"who declined has declined":           {[]Approval{under("bruno", false, first)}, []*policy.Bundle{first, reshared}, "bruno", nil, nil},
		"a case that the new rules stop":      {nil, []*policy.Bundle{first, stops}, "bruno", nil, policy.ErrStopped},
		"a case that was recorded under them": {nil, []*policy.Bundle{stops}, "bruno", []Event{Approve}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			it := Case{ID: "case", State: Recorded, Quorum: 2, Bundle: first.Hash(), RecordedLeaf: leaf, Expires: now.Add(time.Hour), Salt: [32]byte{1},
				Warrant: &policy.Warrant{Kind: policy.Production, Targets: make([]policy.Target, 1)}, Targets: []CaseTarget{{State: TargetWaiting}}, Approvals: c.before}
			if len(c.since) == 1 {
				it.Bundle = c.since[0].Hash()
			}
			a := approves(c.by)
			a.Bundle = it.Bundle
			change, err := it.decide(a, "signed", c.since, nil, now)
			var does []Event
			for _, s := range change.Steps {
				does = append(does, s.Event)
			}
			if !errors.Is(err, c.want) || !slices.Equal(does, c.does) {
				t.Fatal(does, err)
			}
			if inForce := c.since[len(c.since)-1].Hash(); len(does) > 0 && (change.InForce != inForce || change.Approval.Bundle != inForce) {
				t.Error("it may be stored under other rules")
			}
		})
	}
}

// parsedBundle is the bundle of the saved opening, with changes.
func parsedBundle(t *testing.T, change func(*policy.Bundle)) *policy.Bundle {
	t.Helper()
	raw, err := os.ReadFile("../../verifier/opening/testdata/bundle.json")
	if err != nil {
		t.Fatal(err)
	}
	draft := new(policy.Bundle)
	if err := json.Unmarshal(raw, draft); err != nil {
		t.Fatal(err)
	}
	exhibittest.Name(draft)
	draft.Succeed(nil)
	change(draft)
	if draft.Number > 1 && draft.Predecessor == "" {
		draft.Predecessor = strings.Repeat("0", 64)
	}
	if raw, err = draft.Marshal(); err != nil {
		t.Fatal(err, errors.Unwrap(err))
	}
	b, err := policy.ParseBundle(raw)
	if err != nil {
		t.Fatal(err)
	}
	return b
}
