package postgres

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"github.com/penname/penname/escrow/disclose"
	"github.com/penname/penname/escrow/issue"
	"github.com/penname/penname/verifier/refusal"
)

// An order to link is left once, sealed, and answered once; then nothing of it is stored but
// the answer. What somebody wrote who has not the row key comes as no order, and keeps back
// no other.
func TestOrdersToLinkAreAnsweredOnce(t *testing.T) {
	admin, s, d := bothSides(t)
	ctx := t.Context()
	first, second, forged := file(t, d, 1), file(t, d, 1), file(t, d, 1)
	const order = `{"label":"abcdefghijklmnopqrstuvwxyz"}`
	if _, err := d.Cases.Link(ctx, first.ID, []byte(order)); refusal.Of(err).Code == disclose.ErrLinkWaits.Code {
		t.Error("an order is left of a case that nobody authorised")
	}
	for _, c := range []disclose.Case{first, second, forged} {
		apply(t, d, c.ID, approve("bar"))
	}
	waits := func(c disclose.Case, order string) {
		t.Helper()
		if answer, err := d.Cases.Link(ctx, c.ID, []byte(order)); answer != nil || !errors.Is(err, disclose.ErrLinkWaits) {
			t.Errorf("%q, %v", answer, err)
		}
	}
	waits(first, order)
	waits(first, "another order")
	waits(second, order)
	if _, err := connect(t, as(t, admin, "penname_disclosing")).Exec(ctx, `INSERT INTO penname.link_orders (case_id, ask) VALUES ($1, $2)`, forged.ID, random(200)); err != nil {
		t.Fatal(err)
	}
	orders, err := s.LinkOrders(ctx)
	if err != nil || len(orders) != 3 {
		t.Fatal(orders, err)
	}
	for _, o := range orders {
		if want := map[string]string{first.ID: order, second.ID: order, forged.ID: ""}[o.Case]; string(o.Order) != want {
			t.Errorf("%s: %q", o.Case, o.Order)
		}
	}
	if rows := value[string](t, admin, `SELECT string_agg(encode(ask, 'escape'), '') FROM link_orders`); strings.Contains(rows, "abcdefgh") {
		t.Error("the label is in a row")
	}
	for range 2 {
		if err := s.AnswerLink(ctx, first.ID, []byte("ciphertext"), ""); err != nil {
			t.Fatal(err, cause(err))
		}
	}
	if err := errors.Join(s.AnswerLink(ctx, first.ID, []byte("another"), ""), s.AnswerLink(ctx, second.ID, nil, issue.ErrLinkOther.Code)); err != nil {
		t.Fatal(err)
	}
	if answer, err := d.Cases.Link(ctx, first.ID, []byte(order)); err != nil || !bytes.Equal(answer, []byte("ciphertext")) {
		t.Errorf("%q, %v", answer, err)
	}
	if answer, err := d.Cases.Link(ctx, second.ID, []byte(order)); answer != nil || !errors.Is(err, disclose.ErrLinkRefused) {
		t.Errorf("%q, %v", answer, err)
	}
	if n := value[int](t, admin, `SELECT count(*) FROM link_orders WHERE ask IS NOT NULL`); n != 1 {
		t.Errorf("%d orders are kept", n)
	}
	for role, statements := range map[string][]string{
		"penname_issuing":    {`SELECT answer FROM link_orders`, `INSERT INTO link_orders DEFAULT VALUES`, `DELETE FROM link_orders`},
		"penname_disclosing": {`SELECT ask FROM link_orders`, `UPDATE link_orders SET refused = 'a.b'`, `DELETE FROM link_orders`},
	} {
		for _, statement := range statements {
			if state, _ := sqlState(try(t, as(t, admin, role), statement)); state != "42501" {
				t.Errorf("%s: %s: %s", role, statement, state)
			}
		}
	}
	if state, name := sqlState(try(t, admin, `UPDATE link_orders SET ask = 'x', answer = NULL, refused = NULL WHERE ask IS NULL`)); state != "23514" || name != "link_orders_answered_once" {
		t.Errorf("asked again: %s %s", state, name)
	}
}

// The person of a label is found, and nobody of another.
func TestPersonOfALabel(t *testing.T) {
	_, s, _ := bothSides(t)
	e, other := enrolment(), enrolment()
	for _, one := range []issue.Enrolment{e, other} {
		if _, _, err := s.Enrol(t.Context(), one); err != nil {
			t.Fatal(err)
		}
	}
	if p, err := s.Labelled(t.Context(), e.Person.Label); err != nil || p != e.Person {
		t.Errorf("%+v, %v", p, err)
	}
	if _, err := s.Labelled(t.Context(), enrolment().Person.Label); !errors.Is(err, issue.ErrLinkNobody) {
		t.Error(err)
	}
}
