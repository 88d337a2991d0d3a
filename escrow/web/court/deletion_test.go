package court

import (
	"errors"
	"strings"
	"testing"

	"github.com/penname/penname/escrow/disclose"
	"github.com/penname/penname/escrow/disclose/disclosetest"
	"github.com/penname/penname/escrow/registrar"
	"github.com/penname/penname/policy"
	"github.com/penname/penname/verifier/opening"
)

// The requester's word is taken once, after the delivery, from whoever has the receipt that was
// in it, and only what can be displayed. Nothing else is stored or logged.
func TestStateDeletion(t *testing.T) {
	s := newExhibitSide(t)
	c, leaf := disclosetest.Order(t, policy.Production, 1)
	if _, err := s.store.File(t.Context(), c, leaf); err != nil {
		t.Fatal(err)
	}
	const said = "Deleted from the file.\nAlso from the backups."
	states := func(statement string, receipt [32]byte, cut int) string {
		mac := opening.DeletionMAC(receipt, statement)
		st, err := s.client.SayDeleted(t.Context(), c.ID, registrar.Deletion{Statement: statement, MAC: mac[:len(mac)-cut]})
		if err == nil && (st.Deleted == nil || st.Deleted.Statement != statement) {
			t.Errorf("answered with %+v", st.Deleted)
		}
		if err != nil && code(err) == "" {
			t.Error(err)
		}
		return code(err)
	}
	if got := states(said, c.DeletionReceipt(), 0); got != disclose.ErrNothingDelivered.Code {
		t.Error("before the delivery:", got)
	}
	for _, change := range []func(disclose.Case) (disclose.Change, error){disclosetest.Votes("bar", 0), disclosetest.Packs(0)} {
		if _, err := s.store.Apply(t.Context(), c.ID, change); err != nil {
			t.Fatal(err, errors.Unwrap(err))
		}
	}
	before, err := s.store.Size(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	wrong := c.DeletionReceipt()
	wrong[31] ^= 1
	for _, row := range []struct {
		name, said string
		receipt    [32]byte
		cut        int
		want       string
	}{
		{"wrong receipt", said, wrong, 0, disclose.ErrReceipt.Code},
		{"half a proof", said, c.DeletionReceipt(), 16, disclose.ErrReceipt.Code},
		{"nothing", " ", c.DeletionReceipt(), 0, opening.ErrDeletion.Code},
		{"too long", strings.Repeat("é", 4001), c.DeletionReceipt(), 0, opening.ErrDeletion.Code},
		{"control characters", "Deleted.\x1b[2J", c.DeletionReceipt(), 0, opening.ErrDeletion.Code},
		{"bidirectional text", "Deleted.\u202e", c.DeletionReceipt(), 0, opening.ErrDeletion.Code},
	} {
		if got := states(row.said, row.receipt, row.cut); got != row.want {
			t.Errorf("%s: %q, not %q", row.name, got, row.want)
		}
	}
	if found, err := s.store.Case(t.Context(), c.ID); err != nil || found.Deletion != nil {
		t.Fatalf("what was refused is stored: %+v, %v", found.Deletion, err)
	}
	for _, time := range []string{"once", "twice"} {
		if got := states(said, c.DeletionReceipt(), 0); got != "" {
			t.Errorf("%s: %q", time, got)
		}
	}
	if got := states("Not deleted.", c.DeletionReceipt(), 0); got != disclose.ErrStated.Code {
		t.Error("another one:", got)
	}
	if after, err := s.store.Size(t.Context()); err != nil || after != before+1 {
		t.Errorf("%d entries of the log, not one: %v", after-before, err)
	}
}
