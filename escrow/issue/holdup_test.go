package issue_test

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/penname/penname/escrow/issue"
	"github.com/penname/penname/verifier/refusal"
)

// waitingOrders is a store with orders that the other side left, of which one cannot be carried out now.
type waitingOrders struct {
	issue.Store
	answered []string
}

var errDown = refusal.New(refusal.Unavailable, "test.down", "It does not answer.")

func (*waitingOrders) LinkOrders(context.Context) ([]issue.LinkOrder, error) {
	return []issue.LinkOrder{{Case: "first"}, {Case: "second"}}, nil
}

func (s *waitingOrders) AnswerLink(_ context.Context, id string, _ []byte, _ string) error {
	if id == "first" {
		return errDown
	}
	s.answered = append(s.answered, id)
	return nil
}

func (*waitingOrders) SuspendedAfter(context.Context, time.Time, int64) ([]issue.Suspension, error) {
	return []issue.Suspension{{InForce: 3}, {InForce: 5}, {InForce: 9}}, nil
}

// What cannot be carried out at the moment holds up no other order, and is tried again.
func TestOneOrderHoldsUpNoOther(t *testing.T) {
	s := &waitingOrders{}
	issuer := &issue.Issuer{Store: s, Now: time.Now}
	refused, err := (&issue.Linker{Issuer: issuer}).Work(t.Context())
	if !refusal.Of(err).Is(errDown) || len(refused) != 2 || !slices.Equal(s.answered, []string{"second"}) {
		t.Errorf("%v, %v; answered %v", refused, err, s.answered)
	}
	var done []int64
	last, err := issuer.Suspend(t.Context(), 1, func(_ context.Context, one issue.Suspension, _ bool) error {
		if one.InForce == 5 {
			return errDown
		}
		done = append(done, one.InForce)
		return nil
	})
	if err == nil || last != 4 || !slices.Equal(done, []int64{3, 9}) {
		t.Errorf("%v, up to %d, %v", done, last, err)
	}
}
