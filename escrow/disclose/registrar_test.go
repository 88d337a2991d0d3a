package disclose_test

import (
	"context"
	"encoding/json"
	"errors"
	"testing"
	"time"

	"github.com/penname/penname/escrow/disclose"
	"github.com/penname/penname/escrow/disclose/disclosetest"
	"github.com/penname/penname/escrow/seal"
	"github.com/penname/penname/policy"
	"github.com/penname/penname/verifier/opening"
	"github.com/penname/penname/verifier/refusal"
)

var (
	errBroken = refusal.New(refusal.Unavailable, "test.broken", "broken")
	errLater  = refusal.New(refusal.Unavailable, "test.broken_too", "broken")
)

// broken is a store in which some cases cannot be changed.
type broken struct {
	*disclosetest.Memory
	failing map[string]error
}

func (b broken) Apply(ctx context.Context, id string, decide func(disclose.Case) (disclose.Change, error)) (disclose.Case, error) {
	if err := b.failing[id]; err != nil {
		return disclose.Case{}, err
	}
	return b.Memory.Apply(ctx, id, decide)
}

// TestExpireAndNotifyServeEverybody: more cases than a page holds, the first and the last of
// which fail: they come again, and keep nobody else from their turn, and why each failed is said.
func TestExpireAndNotifyServeEverybody(t *testing.T) {
	const n = 2100
	for name, c := range map[string]struct {
		changes []func(disclose.Case) (disclose.Change, error)
		serve   func(*disclose.Registrar) (int, error)
		state   disclose.State
	}{
		"expire": {nil, func(r *disclose.Registrar) (int, error) { return r.Expire(t.Context()) }, disclose.Expired},
		"notify": {[]func(disclose.Case) (disclose.Change, error){disclosetest.Approve, disclosetest.Release},
			func(r *disclose.Registrar) (int, error) { return r.Notify(t.Context()) }, disclose.Noticed},
	} {
		t.Run(name, func(t *testing.T) {
			store := broken{Memory: new(disclosetest.Memory), failing: map[string]error{}}
			now, first := disclosetest.Day, ""
			for i := range n {
				filed, leaf := disclosetest.NewCase(policy.Production)
				filed.Warrant = &policy.Warrant{Targets: []policy.Target{{Pseudonym: "p", Platform: "q"}}}
				if _, err := store.File(t.Context(), filed, leaf); err != nil {
					t.Fatal(err)
				}
				for _, change := range c.changes {
					if _, err := store.Apply(t.Context(), filed.ID, change); err != nil {
						t.Fatal(err)
					}
				}
				switch i {
				case 0:
					first, store.failing[filed.ID] = filed.ID, errBroken
				case n - 1:
					store.failing[filed.ID] = errLater
				}
			}
			r := &disclose.Registrar{Cases: store, Now: func() time.Time { return now }}
			if served, err := c.serve(r); served != 0 || err != nil {
				t.Fatalf("before the time: %d, %v", served, err)
			}
			now = now.AddDate(0, 4, 0)
			if served, err := c.serve(r); served != n-2 || !errors.Is(err, errBroken) || !errors.Is(err, errLater) {
				t.Fatalf("%d served, %v", served, err)
			}
			clear(store.failing)
			if served, err := c.serve(r); served != 2 || err != nil {
				t.Fatalf("%d served again, %v", served, err)
			}
			if got, err := store.Case(t.Context(), first); err != nil || got.State != c.state {
				t.Errorf("%s, %v", got.State, err)
			}
			if served, err := c.serve(r); served != 0 || err != nil {
				t.Errorf("%d served twice, %v", served, err)
			}
		})
	}
}

// TestDeliverRefuses is what a requester is told in each state, by the registrar
// that has nothing but its cases.
func TestDeliverRefuses(t *testing.T) {
	key, err := seal.GenerateDeliveryKey()
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		kind    string
		changes []func(disclose.Case) (disclose.Change, error)
		days    int // after it was filed
		want    error
	}{
		"recorded":              {policy.Production, nil, 1, disclose.ErrQuorumNotMet},
		"recorded, ran out":     {policy.Production, nil, 10, policy.ErrExpired},
		"expired":               {policy.Production, []func(disclose.Case) (disclose.Change, error){disclosetest.Expire}, 10, policy.ErrExpired},
		"authorised, expired":   {policy.Production, []func(disclose.Case) (disclose.Change, error){disclosetest.Approve, disclosetest.Expire}, 10, policy.ErrExpired},
		"authorised, ran out":   {policy.Production, []func(disclose.Case) (disclose.Change, error){disclosetest.Approve}, 10, policy.ErrExpired},
		"declined":              {policy.Production, []func(disclose.Case) (disclose.Change, error){disclosetest.Decline}, 1, disclose.ErrDeclined},
		"preservation":          {policy.Preservation, nil, 1, disclose.ErrQuorumNotMet}, // K2: as any other case
		"preservation, is over": {policy.Preservation, []func(disclose.Case) (disclose.Change, error){disclosetest.Expire}, 10, policy.ErrExpired},
		"released":              {policy.Production, []func(disclose.Case) (disclose.Change, error){disclosetest.Approve, disclosetest.Release}, 1, nil},
		"noticed": {policy.Production, []func(disclose.Case) (disclose.Change, error){disclosetest.Approve, disclosetest.Release,
			disclosetest.Notify}, 100, nil},
	} {
		t.Run(name, func(t *testing.T) {
			store := new(disclosetest.Memory)
			filed, leaf := disclosetest.NewCase(c.kind)
			filed.Warrant = warrantOf(filed, key)
			if _, err := store.File(t.Context(), filed, leaf); err != nil {
				t.Fatal(err)
			}
			for _, change := range c.changes {
				if _, err := store.Apply(t.Context(), filed.ID, change); err != nil {
					t.Fatal(err)
				}
			}
			r := &disclose.Registrar{Cases: store, Log: store, Now: func() time.Time { return disclosetest.Day.AddDate(0, 0, c.days) }}
			sealed, err := r.Deliver(t.Context(), filed.ID)
			if !errors.Is(err, c.want) || (err == nil) != (string(unsealed(t, key, filed.ID, sealed).Package) == "package of "+filed.ID) {
				t.Error(err)
			}
		})
	}
}

// warrantOf is the warrant of a case of disclosetest, which the police asked for.
func warrantOf(c disclose.Case, key seal.DeliveryPrivate) *policy.Warrant {
	w := &policy.Warrant{Kind: c.Kind, Jurisdiction: "GB", OffenceClass: "threats-to-kill", Secrecy: policy.Secrecy{Ends: c.SecrecyEnds},
		Requester: policy.Requester{Name: "DS R. Amari", DeliveryKey: key.Public()}, Grounds: "secret grounds"}
	if policy.KindOf(c.Kind).Targets {
		w.Targets = []policy.Target{{Pseudonym: "p", Platform: "q"}}
	}
	return w
}

// unsealed is what that key opens of a delivery in a case; of nothing, nothing.
func unsealed(t *testing.T, key seal.DeliveryPrivate, id string, sealed []byte) (d opening.Delivery) {
	t.Helper()
	if sealed == nil {
		return d
	}
	raw, err := key.Open(seal.DeliveryInfo(id), sealed)
	if err == nil {
		err = json.Unmarshal(raw, &d)
	}
	if err != nil {
		t.Error(err)
	}
	return d
}
