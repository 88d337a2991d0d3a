package postgres

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/penname/penname/escrow/disclose"
	"github.com/penname/penname/verifier/refusal"
	"github.com/penname/penname/verifier/token"
)

// What is read while no standby answers is not confirmed by the server that takes over, which
// may never have held it.
func TestReadIsConfirmedByTheServerThatWasRead(t *testing.T) {
	p := newPair(t)
	patient := disclosing(t, p.admin, Options{Dial: p.dial, Commit: time.Minute})
	c, together := file(t, p.disclosing, 1), file(t, p.disclosing, 1)
	p.Cut()
	for _, id := range []string{c.ID, together.ID} {
		_, err := p.disclosing.Cases.Apply(t.Context(), id, approve("ombudsman"))
		inDoubt(t, "approve", err)
	}
	sql(t, p.admin, `SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE wait_event = 'SyncRep'`) // and so they are visible
	type found struct {
		disclose.Case
		err error
	}
	reads := make(chan found)
	go func() {
		c, err := patient.Cases.Case(t.Context(), c.ID)
		reads <- found{c, err}
	}()
	ctx, confirm := patient.Cases.Together(t.Context())
	seen, err := patient.Cases.Case(ctx, together.ID)
	if err != nil || len(seen.Approvals) != 1 {
		t.Fatal("what is read together waits for nobody:", err, cause(err))
	}
	waiting(t, p.admin)
	p.failOver(t)
	if got := <-reads; got.err != nil || len(got.Approvals) != 0 {
		t.Errorf("%d approvals were read that nobody holds: %v", len(got.Approvals), cause(got.err))
	}
	if err := confirm(); refusal.Of(err) == nil || refusal.Of(err).Kind != refusal.Unavailable {
		t.Error("what was read together on a server that is gone counts:", err)
	}
}

// waiting returns when a COMMIT waits for the standby.
func waiting(t *testing.T, admin string) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), admin)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.Background())
	for waits := false; !waits; {
		if err := conn.QueryRow(t.Context(), `SELECT EXISTS (SELECT FROM pg_stat_activity WHERE wait_event = 'SyncRep')`).Scan(&waits); err != nil {
			t.Fatal(err)
		}
	}
}

// What is read together is confirmed once, and by what is stored after it.
func TestTogetherIsConfirmedOnce(t *testing.T) {
	p := newPair(t)
	d := p.disclosing
	c := file(t, d, 1)
	ctx, confirm := d.Cases.Together(t.Context())
	if _, err := d.Cases.Apply(ctx, c.ID, approve("ombudsman")); err != nil {
		t.Fatal(err, cause(err))
	}
	p.Cut()
	if err := confirm(); err != nil {
		t.Error("nothing was read since something was stored:", err)
	}
	for range 2 {
		if _, err := d.Cases.Case(ctx, c.ID); err != nil {
			t.Error("a read waits by itself:", err)
		}
	}
	inDoubt(t, "what was read together", confirm())
	_, _, err := d.Log.Checkpoint(ctx)
	inDoubt(t, "a checkpoint, which others are shown", err)
	p.back(t)
	if _, err := d.Cases.Case(ctx, c.ID); err != nil || confirm() != nil {
		t.Error("with the standby back:", err)
	}
	for _, server := range []string{"one", "another"} {
		owes(ctx, server)
	}
	if err := confirm(); !errors.Is(err, ErrUnavailable) {
		t.Error("what was read on two servers is confirmed:", err)
	}
}

// TestAReservedHandleIsOnAServer: a handle that was left in doubt, found again on a server that
// is then given up, is acknowledged by no other.
func TestAReservedHandleIsOnAServer(t *testing.T) {
	p := newPair(t)
	patient := issuing(t, p.admin, Options{Dial: p.dial, Commit: time.Minute})
	name := pseudonym(t)
	p.Cut()
	_, err := p.issuing.Reserve(t.Context(), "town-square", name, day)
	inDoubt(t, "reserve", err)
	sql(t, p.admin, `SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE wait_event = 'SyncRep'`)
	got := make(chan error)
	go func() {
		_, err := patient.Reserve(t.Context(), "town-square", name, day)
		got <- err
	}()
	waiting(t, p.admin)
	p.failOver(t)
	err = <-got
	there, unread := patient.owners(t.Context(), [][]byte{patient.rows.handlePlace("town-square", name.Handle(token.MinHandle))})
	if unread != nil || err == nil && len(there) == 0 {
		t.Errorf("acknowledged (%v), and on no server (%v)", err, unread)
	}
	if _, err := patient.Reserve(t.Context(), "town-square", name, day); err != nil {
		t.Errorf("once more: %v", cause(err))
	}
}
