package issue_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/penname/penname/escrow/issue"
	"github.com/penname/penname/verifier/identity"
	"github.com/penname/penname/verifier/token"
)

// attested enrols somebody with claims, and returns the key of their session.
func attested(t *testing.T, s *issue.Issuer, n int, c identity.Claims) (issue.Person, []byte, identity.Identity) {
	t.Helper()
	id := identity.Identity{Issuer: "https://identity.example", Subject: identity.Private(fmt.Sprint("sub-", n)), Name: identity.Private(fmt.Sprint("Somebody ", n)),
		Birthdate: "1980-02-28", ACR: "high", Claims: c}
	p, _, err := s.Enrol(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	key, err := s.Attest(t.Context(), p, id, false)
	if err != nil || key == nil {
		t.Fatal(key, err)
	}
	return p, key, id
}

// crowd enrols people who have the same claims, as many at a time as a busy machine takes.
func crowd(t *testing.T, s *issue.Issuer, from, n int, c identity.Claims) {
	t.Helper()
	var wg sync.WaitGroup
	turns := make(chan struct{}, 16)
	for i := range n {
		turns <- struct{}{}
		wg.Go(func() {
			attested(t, s, from+i, c)
			<-turns
		})
	}
	wg.Wait()
}

var (
	teacher  = identity.Claims{"true", "true", "GB", "teacher", "Large School"}
	adult    = identity.ClaimsNamed("age_over_18")
	country  = identity.ClaimsNamed("age_over_18", "country")
	employer = identity.ClaimsNamed("organisation")
)

func tellable(t *testing.T, s *issue.Issuer, p issue.Person, key []byte, sector string, asks identity.ClaimSet) issue.Tellable {
	t.Helper()
	got, err := s.Tellable(t.Context(), p, key, sector, asks)
	if err != nil {
		t.Fatal(err)
	}
	return got
}

// A platform is told what it may ask for if a hundred people have it in common, and
// nothing of it if they are fewer: also of what many have, since it can ask for the rest
// another day.
func TestFewerThanAHundredAreNotTold(t *testing.T) {
	s := newIssuer(t)
	now := time.Now()
	s.Now = func() time.Time { return now }
	crowd(t, s, 0, issue.Shared-2, teacher)
	p, key, _ := attested(t, s, 98, teacher)
	if got := tellable(t, s, p, key, "town", adult); got.May != 0 || !got.Rare {
		t.Errorf("99 people: %+v", got)
	}
	rare := teacher
	rare[4] = "Small School"
	q, rareKey, _ := attested(t, s, 99, rare)
	if got := tellable(t, s, p, key, "town", adult); got.May != adult || got.Rare {
		t.Errorf("100 people: %v, rare %v", got.May, got.Rare)
	}
	if got := tellable(t, s, q, rareKey, "town", adult|employer); got.May != 0 || !got.Rare {
		t.Errorf("a teacher at a small school: %v, rare %v", got.May, got.Rare)
	}
	if got := tellable(t, s, p, key, "town", adult|employer); got.May != 0 {
		t.Errorf("99 at the large school: %v", got.May)
	}
	if got := tellable(t, s, q, rareKey, "town", adult); got.May != adult {
		t.Errorf("as one who is over 18: %v", got.May)
	}
	if got := tellable(t, s, q, key, "town", adult); got.Attested != (issue.Attested{}) {
		t.Error("somebody else's key opens what is stored")
	}

	// A claim that somebody lacks tells too: of two who are over 16 and not over 18, nothing is told.
	young, youngKey, _ := attested(t, s, 100, identity.Claims{"true"})
	if got := tellable(t, s, young, youngKey, "town", identity.ClaimsNamed("age_over_16", "age_over_18")); got.May != 0 {
		t.Errorf("who is 17: %v", got.May)
	}
	if got := tellable(t, s, young, youngKey, "town", identity.ClaimsNamed("age_over_16")); got.May == 0 {
		t.Errorf("as one who is over 16: %+v", got)
	}
}

// What a sector was told before is judged with what it may ask for now; what has changed
// since is not told, and nothing new beside it.
func TestClaimsAreJudgedTogetherWithWhatWasTold(t *testing.T) {
	s := newIssuer(t)
	now := time.Date(2026, 11, 29, 12, 0, 0, 0, time.UTC)
	s.Now = func() time.Time { return now }
	crowd(t, s, 0, issue.Shared-1, teacher)
	p, key, id := attested(t, s, 99, teacher)
	tell := func(sector string, asks identity.ClaimSet) {
		t.Helper()
		got := tellable(t, s, p, key, sector, asks)
		if err := s.Tell(t.Context(), key, sector, got, got.May); err != nil || got.May != asks {
			t.Fatalf("%v: told %v: %v", asks, got.May, err)
		}
	}
	tell("town", employer)
	tell("forum", adult)

	// Of the hundred, one is deleted: who were told the employer are 99 now.
	other, otherKey, otherID := attested(t, s, 0, teacher)
	moved := otherID
	moved.Claims[4] = "Another School"
	if _, err := s.Attest(t.Context(), other, moved, true); err != nil {
		t.Fatal(err)
	}
	_ = otherKey
	if got := tellable(t, s, p, key, "town", adult); got.May != 0 || !got.Rare {
		t.Errorf("over 18, at a platform that knows the employer: %v", got.May)
	}
	if got := tellable(t, s, p, key, "forum", country); got.May != country {
		t.Errorf("over 18 and the country, at one that does not: %v", got.May)
	}

	// The person changes the school. The town knows the one before.
	crowd(t, s, 200, issue.Shared, identity.Claims{"true", "true", "GB", "teacher", "New School"})
	id.Claims[4] = "New School"
	if _, err := s.Attest(t.Context(), p, id, true); err != nil {
		t.Fatal(err)
	}
	if got := tellable(t, s, p, key, "town", adult|employer); got.May != 0 || !got.Rare {
		t.Errorf("after a change: %v, rare %v", got.May, got.Rare)
	}
	if got := tellable(t, s, p, key, "forum", adult|employer); got.May != adult|employer {
		t.Errorf("where nothing changed: %v", got.May)
	}
}

// Two months that a sector is told are counted together, as two values are: of people who
// have each month with many and both with nobody, it is told one.
func TestMonthsAreCountedTogether(t *testing.T) {
	s := newIssuer(t)
	now := time.Date(2026, 11, 29, 12, 0, 0, 0, time.UTC)
	s.Now = func() time.Time { return now }
	tell := func(p issue.Person, key []byte) {
		t.Helper()
		got := tellable(t, s, p, key, "town", adult)
		if err := s.Tell(t.Context(), key, "town", got, adult); err != nil || got.May != adult {
			t.Fatalf("May %v, rare %v, unlike %v: %v", got.May, got.Rare, got.Unlike, err)
		}
	}
	crowd(t, s, 0, issue.Shared, teacher)
	one, oneKey, _ := attested(t, s, 0, teacher)
	tell(one, oneKey)
	now = now.AddDate(0, 1, 0)
	crowd(t, s, 200, issue.Shared, teacher)
	other, otherKey, id := attested(t, s, 200, teacher)
	tell(other, otherKey)

	now = time.Date(2027, 11, 29, 12, 0, 0, 0, time.UTC)
	crowd(t, s, 0, issue.Shared, teacher) // all of them prove their identity again
	tell(one, oneKey)
	if got := tellable(t, s, one, oneKey, "town", country); got.May != country {
		t.Errorf("more, in the second month: %v", got.May)
	}

	now = now.AddDate(0, 1, 0)
	crowd(t, s, 400, issue.Shared, teacher)
	attested(t, s, 200, teacher) // alone of those who were there in that month
	if got := tellable(t, s, other, otherKey, "town", adult); got.May != 0 || !got.Rare {
		t.Errorf("alone with both months: %v", got.May)
	}
	if got := tellable(t, s, other, otherKey, "forum", adult); got.May != adult {
		t.Errorf("where nothing was told before: %v", got.May)
	}

	// By another account nobody knows what came by the first; so too once the person was deleted.
	id.Subject = "another account"
	key, err := s.Attest(t.Context(), other, id, true)
	if err != nil {
		t.Fatal(err)
	}
	if got := tellable(t, s, other, key, "town", adult); got.May != 0 || !got.Unlike {
		t.Errorf("by another account: %v", got.May)
	}
	if got := tellable(t, s, other, key, "forum", adult); got.May != adult || got.Unlike {
		t.Errorf("by another account, where nothing was told before: %v", got.May)
	}
}

// Claims are those of their month for twelve months; a proof of identity meanwhile changes
// nothing unless the person asks, and afterwards it renews them.
func TestClaimsEndAndAreRenewed(t *testing.T) {
	s := newIssuer(t)
	now := time.Date(2026, 11, 29, 12, 0, 0, 0, time.UTC)
	s.Now = func() time.Time { return now }
	crowd(t, s, 0, issue.Shared-1, teacher)
	p, key, id := attested(t, s, 99, teacher)
	began := time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)
	for _, c := range []struct {
		at   time.Time
		may  identity.ClaimSet
		over bool
	}{
		{now, adult, false},
		{time.Date(2027, 10, 31, 23, 59, 59, 0, time.UTC), adult, false},
		{time.Date(2027, 11, 1, 0, 0, 0, 0, time.UTC), 0, true},
	} {
		now = c.at
		if _, err := s.Attest(t.Context(), p, id, false); !c.over && err != nil {
			t.Fatal(err)
		}
		if got := tellable(t, s, p, key, "town", adult); !c.over && (got.May != c.may || got.Month != began) {
			t.Errorf("%s: %v of %s", c.at, got.May, got.Month)
		}
	}
	// That proof of identity renewed them: alone in the new month.
	if got := tellable(t, s, p, key, "town", adult); got.May != 0 || !got.Rare || got.Month != began.AddDate(1, 0, 0) {
		t.Errorf("renewed: %v of %s", got.May, got.Month)
	}
}

// Whoever is deleted has no claims here any more, counts in nothing, and comes back without.
func TestClaimsGoWithTheirPerson(t *testing.T) {
	s := newIssuer(t)
	crowd(t, s, 0, issue.Shared-1, teacher)
	p, key, id := attested(t, s, 99, teacher)
	other, otherKey, _ := attested(t, s, 0, teacher)
	if got := tellable(t, s, other, otherKey, "town", adult); got.May != adult {
		t.Fatalf("100 people: %v", got.May)
	}
	if _, err := s.Erase(t.Context(), p, key, []string{"town"}, func(context.Context, ...token.Pseudonym) error { return nil }); err != nil {
		t.Fatal(err)
	}
	if sealed, err := s.Store.Claims(t.Context(), p); err != nil || sealed != nil {
		t.Errorf("still stored: %v", err)
	}
	if got := tellable(t, s, other, otherKey, "town", adult); got.May != 0 || !got.Rare {
		t.Errorf("99 are left: %v", got.May)
	}
	if _, err := s.Attest(t.Context(), p, id, true); err != nil {
		t.Fatal(err)
	}
	if sealed, err := s.Store.Claims(t.Context(), p); err != nil || sealed != nil {
		t.Errorf("a session that outlives the person stores claims: %v", err)
	}
}

// What is stored has one length, and shows nothing of what it is.
func TestClaimsAreSealedAlike(t *testing.T) {
	s := newIssuer(t)
	long := identity.Private(strings.Repeat("x", identity.MaxClaim))
	var first int
	for n, c := range []identity.Claims{{"true"}, teacher, {"true", "true", "GB", long, long}} {
		p, key, _ := attested(t, s, n, c)
		sealed, err := s.Store.Claims(t.Context(), p)
		if first += len(sealed); err != nil || n > 0 && first != (n+1)*len(sealed) || strings.Contains(string(sealed), "teacher") {
			t.Errorf("%d: %d bytes, %v", n, len(sealed), err)
		}
		if got := tellable(t, s, p, key, "town", identity.AllClaims); got.Claims != c {
			t.Errorf("%d: other claims come back", n)
		}
	}
}
