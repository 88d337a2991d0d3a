package postgres

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"

	"github.com/penname/penname/escrow/disclose"
	"github.com/penname/penname/escrow/escrowtest"
	"github.com/penname/penname/escrow/exhibit/exhibittest"
	"github.com/penname/penname/policy"
	"github.com/penname/penname/verifier/proof"
)

// R3: an authority stays within its daily number, whoever files at the same
// moment. What is over it is refused, in the public log as well, and is taken the
// next day.
func TestFoundR3AnAuthorityStaysWithinItsDailyNumber(t *testing.T) {
	const daily, filed = 2, 5
	v := escrowtest.Vault(t)
	wrap, keys := v.Sides(t)
	admin := database(t)
	s, d := issuing(t, admin, Options{}), disclosing(t, admin, Options{})
	w := newCourt(t, func(b *policy.Bundle) {
		exhibittest.Name(b)
		b.Succeed(nil)
		exhibittest.ForgetCatalogue(b) // since format 5 what is over the number is held for review
		b.Version, b.Authorities[0].DailyWarrants = 4, daily
	})
	r := largeRegistrar(d, keys, w)
	if err := r.Rules.Install(t.Context(), w.raw, w.endorsements); err != nil {
		t.Fatal(err, cause(err))
	}
	warrants := make([]policy.Submission, filed)
	for i := range warrants {
		warrants[i], _ = w.warrant(t, s, wrap, fmt.Sprint("T2026000", i), 1)
	}
	var wg sync.WaitGroup
	results := make([]error, filed)
	for i, sub := range warrants {
		wg.Go(func() { _, _, results[i] = r.File(context.WithoutCancel(t.Context()), sub) })
	}
	wg.Wait()
	var recorded, refused []int
	for i, err := range results {
		switch {
		case err == nil:
			recorded = append(recorded, i)
		case errors.Is(err, disclose.ErrDailyNumber):
			refused = append(refused, i)
		default:
			t.Fatal(err, cause(err))
		}
	}
	if len(recorded) != daily || len(refused) != filed-daily {
		t.Fatalf("%d recorded, %d refused", len(recorded), len(refused))
	}
	size, err := d.Log.Size(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	leaves, err := d.Log.Leaves(t.Context(), 0, size)
	if err != nil {
		t.Fatal(err)
	}
	told := 0
	for _, raw := range leaves {
		if l, err := proof.ParseLeaf(raw); err == nil && l.Code == disclose.ErrDailyNumber.Code {
			told++
		}
	}
	if told != filed-daily {
		t.Errorf("%d refusals in the log", told)
	}
	if _, _, err := r.File(t.Context(), warrants[recorded[0]]); err != nil {
		t.Error("what is on file is refused:", err)
	}
	w.now = w.now.AddDate(0, 0, 1)
	if _, _, err := r.File(t.Context(), warrants[refused[0]]); err != nil {
		t.Error("the next day:", err, cause(err))
	}
}
