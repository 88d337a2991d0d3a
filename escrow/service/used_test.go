package service

import (
	"context"
	"testing"
	"time"

	"github.com/penname/penname/escrow/escrowtest"
	"github.com/penname/penname/escrow/issue"
	"github.com/penname/penname/escrow/postgres"
	"github.com/penname/penname/escrow/sandbox"
	"github.com/penname/penname/verifier/token"
)

// R4: each side, also in a process of its own, forgets the values that were used
// up and are over, and no other: the disclosing side alone kept them for ever.
func TestFoundR4EachSideAloneForgetsUsedValues(t *testing.T) {
	admin := escrowtest.Postgres(t)
	if err := postgres.Migrate(t.Context(), admin); err != nil {
		t.Fatal(err)
	}
	login := func(role string) string {
		dsn, err := postgres.Login(t.Context(), admin, role)
		if err != nil {
			t.Fatal(err)
		}
		return dsn
	}
	keys, _, _ := sandbox.NewKeyring(sandbox.NewSecret())
	issuing, err := postgres.OpenIssuing(t.Context(), login("penname_issuing"), postgres.Options{RowKey: issue.RowKey(keys)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(issuing.Close)
	disclosing, err := postgres.OpenDisclosing(t.Context(), login("penname_disclosing"), postgres.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(disclosing.Close)
	now := time.Now()
	for name, side := range map[string]struct {
		used  token.ReplayGuard
		parts Parts
	}{
		"issuing":    {issuing, Parts{Issuing: &Issuing{Store: issuing}}},
		"disclosing": {disclosing, Parts{Disclosing: &Disclosing{Store: disclosing}}},
	} {
		side.parts.Now = func() time.Time { return now }
		s := &Service{Parts: side.parts}
		over, live := [32]byte{1}, [32]byte{2}
		use := func(key [32]byte, expires time.Time) bool {
			first, err := side.used.Use(t.Context(), key, expires)
			if err != nil {
				t.Fatal(name, err)
			}
			return first
		}
		if !use(over, now.Add(-2*time.Hour)) || !use(live, now.Add(time.Minute)) || use(over, now) {
			t.Errorf("%s: a value is not used up", name)
		}
		if err := hourly(t.Context(), s); err != nil {
			t.Fatal(name, err)
		}
		if !use(over, now.Add(-2*time.Hour)) {
			t.Errorf("%s: what is over was not forgotten", name)
		}
		if use(live, now.Add(time.Minute)) {
			t.Errorf("%s: what is not over was forgotten", name)
		}
	}
}

// hourly does every job of a service that comes once an hour.
func hourly(ctx context.Context, s *Service) error {
	for _, j := range Jobs {
		if j.Every == time.Hour {
			if err := j.Do(s, ctx); err != nil {
				return err
			}
		}
	}
	return nil
}
