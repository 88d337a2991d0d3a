package issue_test

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/penname/penname/escrow/escrowtest"
	"github.com/penname/penname/escrow/issue"
	"github.com/penname/penname/escrow/postgres"
	"github.com/penname/penname/escrow/sandbox"
	"github.com/penname/penname/escrow/seal"
	"github.com/penname/penname/verifier/identity"
	"github.com/penname/penname/verifier/token"
)

// newIssuer returns an issuer on a real PostgreSQL with the sandbox's keyring.
func newIssuer(t *testing.T) *issue.Issuer {
	t.Helper()
	t.Parallel()
	admin := escrowtest.Postgres(t)
	if err := postgres.Migrate(t.Context(), admin); err != nil {
		t.Fatal(err)
	}
	dsn, err := postgres.Login(t.Context(), admin, "penname_issuing")
	if err != nil {
		t.Fatal(err)
	}
	keys, _, _ := sandbox.NewKeyring(sandbox.NewSecret())
	store, err := postgres.OpenIssuing(t.Context(), dsn, postgres.Options{RowKey: issue.RowKey(keys)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(store.Close)
	pk, _, err := escrowtest.ThresholdKey(2, 3)
	if err != nil {
		t.Fatal(err)
	}
	return &issue.Issuer{Keys: keys, Store: store, Custodians: func() (seal.Custodians, error) { return seal.Custodians{Key: pk}, nil }, Now: time.Now}
}

func zoe() identity.Identity {
	return identity.Identity{
		Issuer: "https://identity.example", Subject: "sub-1", Name: "Zo\u00eb  \u00c5str\u00f6m", Birthdate: "1980-02-29", Address: "1 Some Street", ACR: "high",
	}
}

func TestR24SecondEnrolmentOfTheSamePerson(t *testing.T) {
	s := newIssuer(t)
	first, isFirst, err := s.Enrol(t.Context(), zoe())
	if err != nil || !isFirst {
		t.Fatal(isFirst, err)
	}
	// The same account is the same person, whatever else changed: recovery.
	moved := zoe()
	moved.Address, moved.Name = "2 Other Street", "Zo\u00eb Married"
	again, isFirst, err := s.Enrol(t.Context(), moved)
	if err != nil || isFirst || again != first {
		t.Fatalf("the same account: first %v, same person %v, %v", isFirst, again == first, err)
	}
	// Another account of the same human is refused, however the name is spelt.
	for name, spelling := range map[string]identity.Private{
		"composed (NFC)": "Zo\u00eb \u00c5str\u00f6m", "decomposed (NFD)": "Zoe\u0308 A\u030astro\u0308m",
		"upper case": "ZO\u00cb \u00c5STR\u00d6M", "spaces": " Zo\u00eb\t\u00c5str\u00f6m ",
	} {
		other := zoe()
		other.Issuer, other.Subject, other.Name = "https://other-identity.example", "sub-9", spelling
		if _, _, err := s.Enrol(t.Context(), other); !errors.Is(err, issue.ErrAlreadyEnrolled) {
			t.Errorf("%s: got %v", name, err)
		}
	}
	// S1: folding one letter of a Greek name gives two that compose again.
	greek := zoe()
	greek.Subject, greek.Name = "sub-3", "\u0390ris"
	if _, _, err := s.Enrol(t.Context(), greek); err != nil {
		t.Fatal(err)
	}
	for _, spelling := range []identity.Private{"\u1fd3RIS", "\u0399\u0308\u0301ris", "\u03ca\u0301RIS"} {
		other := greek
		other.Subject, other.Name = "sub-4", spelling
		if _, _, err := s.Enrol(t.Context(), other); !errors.Is(err, issue.ErrAlreadyEnrolled) {
			t.Errorf("%+q: got %v", spelling.Reveal(), err)
		}
	}
	// Somebody else born the same day is not.
	another := zoe()
	another.Subject, another.Name = "sub-2", "Zo\u00eb Berg"
	if p, isFirst, err := s.Enrol(t.Context(), another); err != nil || !isFirst || p == first {
		t.Fatalf("another person: %v %v", isFirst, err)
	}
}

// TestR24Race: the same account in parallel is one person, and of two accounts
// of one human in parallel one is enrolled.
func TestR24Race(t *testing.T) {
	s := newIssuer(t)
	var mu sync.Mutex
	people, firsts, refused := map[issue.Person]bool{}, 0, 0
	var wg sync.WaitGroup
	for i := range 24 {
		wg.Go(func() {
			id := zoe()
			if i%2 == 1 {
				id.Issuer, id.Subject = "https://other-identity.example", "sub-9"
			}
			p, first, err := s.Enrol(context.WithoutCancel(t.Context()), id)
			mu.Lock()
			defer mu.Unlock()
			switch {
			case errors.Is(err, issue.ErrAlreadyEnrolled):
				refused++
			case err != nil:
				t.Error(err)
			default:
				people[p] = true
				if first {
					firsts++
				}
			}
		})
	}
	wg.Wait()
	if len(people) != 1 || firsts != 1 || refused != 12 {
		t.Fatalf("%d people, %d first, %d refused", len(people), firsts, refused)
	}
}

func TestR25RecycledSubjectIsHeld(t *testing.T) {
	s := newIssuer(t)
	if _, _, err := s.Enrol(t.Context(), zoe()); err != nil {
		t.Fatal(err)
	}
	recycled := zoe()
	recycled.Name, recycled.Birthdate = "Somebody Else", "1999-12-31"
	if _, _, err := s.Enrol(t.Context(), recycled); !errors.Is(err, issue.ErrRecycledSubject) {
		t.Fatalf("got %v", err)
	}
	if _, first, err := s.Enrol(t.Context(), zoe()); err != nil || first {
		t.Fatalf("the first holder of the account is shut out: %v %v", first, err)
	}
}

func TestIncompleteIdentityIsRefused(t *testing.T) {
	s := newIssuer(t)
	for name, cut := range map[string]func(*identity.Identity){
		"no name": func(i *identity.Identity) { i.Name = "" }, "no birthdate": func(i *identity.Identity) { i.Birthdate = "" },
	} {
		id := zoe()
		cut(&id)
		if _, _, err := s.Enrol(t.Context(), id); !errors.Is(err, identity.ErrMissingClaim) {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

// TestT50ErasureEndsTheSignIns: at every platform where the person has a pen name
// and at no other, before the wish is written and again after it; when one cannot
// be ended, nothing is erased and the person can ask again.
func TestT50ErasureEndsTheSignIns(t *testing.T) {
	s := newIssuer(t)
	p, _, err := s.Enrol(t.Context(), zoe())
	if err != nil {
		t.Fatal(err)
	}
	platforms := []string{"town-square", "school-forum", "never-visited"}
	var held []token.Pseudonym
	for _, platform := range platforms[:2] {
		name, _, err := s.Pseudonym(t.Context(), p, platform, 0)
		if err != nil {
			t.Fatal(err)
		}
		held = append(held, name)
	}
	type end struct {
		name  token.Pseudonym
		asked bool
	}
	var ended []end
	note := func(ctx context.Context, names ...token.Pseudonym) error {
		asked, err := s.Store.Asked(ctx, p.Label)
		for _, name := range names {
			ended = append(ended, end{name, asked})
		}
		return err
	}
	down := errors.New("down")
	if _, err := s.Erase(t.Context(), p, nil, platforms, func(context.Context, ...token.Pseudonym) error { return down }); !errors.Is(err, down) {
		t.Fatalf("got %v", err)
	}
	if asked, err := s.Store.Asked(t.Context(), p.Label); asked || err != nil {
		t.Fatalf("erased, with sign-ins left: %v", err)
	}
	receipt, err := s.Erase(t.Context(), p, nil, platforms, note)
	if err != nil {
		t.Fatal(err)
	}
	want := []end{{held[0], false}, {held[1], false}, {held[0], true}, {held[1], true}}
	if !slices.Equal(ended, want) {
		t.Errorf("ended %v, want %v", ended, want)
	}
	if again, err := s.Erase(t.Context(), p, nil, platforms, note); err != nil || again != receipt {
		t.Errorf("asked again: %v, %v", again, err)
	}
}

// TestWhoComesBackGetsEveryLink: on the platforms where they have a pen name, before
// they sign in there, so that their next sign-in leaves no more than anybody's.
func TestWhoComesBackGetsEveryLink(t *testing.T) {
	s := newIssuer(t)
	platforms := []string{"town-square", "school-forum", "never-visited"}
	links := func(p issue.Person) (n int) {
		t.Helper()
		names, err := s.PenNames(t.Context(), p, platforms)
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range names {
			rows, err := s.Store.Assigned(t.Context(), []token.Pseudonym{name.Pseudonym})
			if err != nil {
				t.Fatal(err)
			}
			n += len(rows)
		}
		return n
	}
	first, _, err := s.Enrol(t.Context(), zoe())
	if err != nil {
		t.Fatal(err)
	}
	sign := func(p issue.Person) {
		t.Helper()
		for _, platform := range platforms[:2] {
			if _, _, err := s.Pseudonym(t.Context(), p, platform, 0); err != nil {
				t.Fatal(err)
			}
		}
	}
	sign(first)
	if _, err := s.Erase(t.Context(), first, nil, platforms, func(context.Context, ...token.Pseudonym) error { return nil }); err != nil {
		t.Fatal(err)
	}
	back, sealed, err := s.Return(t.Context(), zoe(), platforms)
	if err != nil || !sealed || back.ID != first.ID || back.Label == first.Label {
		t.Fatal(sealed, err)
	}
	if n := links(back); n != 4 {
		t.Errorf("%d links, not 2 for each of 2 pen names", n)
	}
	if sign(back); links(back) != 4 {
		t.Errorf("a sign-in made a link more")
	}
}

// TestPseudonymIsForLife: one a platform, another on each platform, also when first
// asked for in parallel; and for everybody another commitment at each sign-in.
func TestPseudonymIsForLife(t *testing.T) {
	s := newIssuer(t)
	p, _, err := s.Enrol(t.Context(), zoe())
	if err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	names, commitments := map[token.Pseudonym]bool{}, map[[32]byte]bool{}
	var wg sync.WaitGroup
	for range 16 {
		wg.Go(func() {
			name, commitment, err := s.Pseudonym(context.WithoutCancel(t.Context()), p, "town-square", 0)
			if err != nil {
				t.Error(err)
			}
			mu.Lock()
			defer mu.Unlock()
			names[name], commitments[commitment] = true, true
		})
	}
	wg.Wait()
	if len(names) != 1 || len(commitments) < 2 {
		t.Fatalf("%d pseudonyms on one platform, %d commitments at 16 sign-ins", len(names), len(commitments))
	}
	other, commitment, err := s.Pseudonym(t.Context(), p, "school-forum", 0)
	if err != nil || names[other] || commitments[commitment] {
		t.Fatalf("the same on another platform: %v", err)
	}
	held, err := s.PenNames(t.Context(), p, []string{"town-square", "school-forum", "never-visited"})
	if err != nil || len(held) != 2 {
		t.Fatalf("%d pen names, %v", len(held), err)
	}
}
