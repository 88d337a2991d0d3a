package issue_test

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/jackc/pgx/v5"

	"github.com/penname/penname/escrow/disclose"
	"github.com/penname/penname/escrow/escrowtest"
	"github.com/penname/penname/escrow/exhibit/exhibittest"
	"github.com/penname/penname/escrow/issue"
	"github.com/penname/penname/escrow/postgres"
	"github.com/penname/penname/escrow/sandbox"
	"github.com/penname/penname/escrow/seal"
	"github.com/penname/penname/policy"
	"github.com/penname/penname/verifier/document"
	"github.com/penname/penname/verifier/identity"
	"github.com/penname/penname/verifier/proof"
	"github.com/penname/penname/verifier/token"
)

// office is a service where enrolments are held and decided about: alma, bero and
// cleo are its reviewers.
type office struct {
	*testing.T
	issuer  *issue.Issuer
	store   *postgres.Issuing
	reviews *disclose.Reviews
	check   func(ctx context.Context) error
	dsn     string // of the owner
	keys    map[string]jose.JSONWebKey
	bundle  *policy.Bundle
	now     time.Time
}

func newOffice(t *testing.T) *office {
	t.Helper()
	o := &office{T: t, keys: map[string]jose.JSONWebKey{}, now: time.Date(2026, 11, 28, 15, 0, 0, 0, time.UTC), dsn: escrowtest.Postgres(t)}
	if err := postgres.Migrate(t.Context(), o.dsn); err != nil {
		t.Fatal(err)
	}
	login := func(role string) string {
		dsn, err := postgres.Login(t.Context(), o.dsn, role)
		if err != nil {
			t.Fatal(err)
		}
		return dsn
	}
	keys, _, _ := sandbox.NewKeyring(sandbox.NewSecret())
	var err error
	if o.store, err = postgres.OpenIssuing(t.Context(), login("penname_issuing"), postgres.Options{RowKey: issue.RowKey(keys)}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(o.store.Close)
	d, err := postgres.OpenDisclosing(t.Context(), login("penname_disclosing"), postgres.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(d.Close)
	pk, _, err := escrowtest.ThresholdKey(2, 3)
	if err != nil {
		t.Fatal(err)
	}
	clock := func() time.Time { return o.now }
	o.issuer = &issue.Issuer{Keys: keys, Store: o.store, Custodians: func() (seal.Custodians, error) { return seal.Custodians{Key: pk}, nil }, Now: clock}
	o.bundle = o.rules("alma", "bero", "cleo")
	o.reviews = &disclose.Reviews{List: d.Reviews.List, Apply: d.Reviews.Apply, Now: clock, InForce: func(context.Context) (*policy.Bundle, error) { return o.bundle, nil }}
	o.check = d.Check
	return o
}

// rules is a bundle with these reviewers.
func (o *office) rules(reviewers ...string) *policy.Bundle {
	o.Helper()
	key := func(name string) *jose.JSONWebKey {
		if _, ok := o.keys[name]; !ok {
			k, err := document.NewKey()
			if err != nil {
				o.Fatal(err)
			}
			o.keys[name] = k
		}
		k := o.keys[name]
		return &k
	}
	encode := func(v any) json.RawMessage {
		raw, err := json.Marshal(v)
		if err != nil {
			o.Fatal(err)
		}
		return raw
	}
	vkey := "log+0a1b2c3d+" + base64.StdEncoding.EncodeToString(append([]byte{1}, make([]byte, 32)...))
	witness := "w+0a1b2c3d+" + base64.StdEncoding.EncodeToString(append([]byte{4}, []byte(strings.Repeat("w", 32))...))
	b := &policy.Bundle{
		Registrar: "https://penname.example", Issuer: "https://penname.example", IssuerKeys: encode(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{key("issuer").Public()}}),
		Log:            policy.Log{Origin: "penname.example/log", VKey: vkey, Quorum: 1, Witnesses: []policy.Witness{{Name: "w", Operator: "Law Society", VKey: witness}}},
		OffenceClasses: policy.DefaultOffenceClasses(), Fields: policy.DefaultFields(), Policies: policy.DefaultRules(),
		Threshold: 2, ThresholdKey: base64.RawURLEncoding.EncodeToString(make([]byte, 40)), MaxTargets: 600, MaxSecrecyDays: 365, MaxValidityDays: 30,
	}
	for i, name := range []string{"uno", "due"} {
		b.Custodians = append(b.Custodians, policy.Custodian{ID: name, Name: name, Organisation: "House " + name, Index: i + 1, Key: encode(key(name).Public())})
	}
	for _, name := range reviewers {
		b.Reviewers = append(b.Reviewers, policy.Reviewer{ID: name, Name: "Reviewer " + name, Key: encode(key(name).Public())})
	}
	exhibittest.Name(b)
	b.Succeed(nil)
	raw, err := b.Marshal()
	if err != nil {
		o.Fatal(err)
	}
	parsed, err := policy.ParseBundle(raw)
	if err != nil {
		o.Fatal(err)
	}
	return parsed
}

// held proves an identity that is held, and returns why.
func (o *office) held(id identity.Identity, want error) *issue.Held {
	o.Helper()
	_, _, err := o.issuer.Enrol(o.Context(), id)
	var h *issue.Held
	if !errors.As(err, &h) || !errors.Is(err, want) || !policy.ReviewReference.MatchString(h.Reference) {
		o.Fatalf("not held for %v: %v", want, err)
	}
	return h
}

func (o *office) enrol(id identity.Identity) (issue.Person, bool) {
	o.Helper()
	p, first, err := o.issuer.Enrol(o.Context(), id)
	if err != nil {
		o.Fatal(err, errors.Unwrap(err), errors.Unwrap(errors.Unwrap(err)))
	}
	return p, first
}

// say is what a reviewer says.
func (o *office) say(reviewer, outcome, reference string) (disclose.Review, error) {
	o.Helper()
	signed, err := policy.SignReviewDecision(o.keys[reviewer], policy.ReviewDecision{At: o.now, Bundle: o.bundle.Hash(), Outcome: outcome, Review: reference, Reviewer: reviewer})
	if err != nil {
		o.Fatal(err)
	}
	return o.reviews.Decide(o.Context(), signed)
}

func (o *office) decide(outcome, reference string) {
	o.Helper()
	for _, reviewer := range []string{"alma", "bero"} {
		if _, err := o.say(reviewer, outcome, reference); err != nil {
			o.Fatal(err)
		}
	}
}

// job is what the service does every minute.
func (o *office) job() {
	o.Helper()
	if _, err := o.reviews.CarryOut(o.Context()); err != nil {
		o.Fatal(err)
	}
	if err := o.check(o.Context()); err != nil {
		o.Fatal(err, errors.Unwrap(err))
	}
}

func (o *office) name(p issue.Person) token.Pseudonym {
	o.Helper()
	name, _, err := o.issuer.Pseudonym(o.Context(), p, "town-square", 0)
	if err != nil {
		o.Fatal(err)
	}
	return name
}

// outcomes are those in the public log.
func (o *office) outcomes() (codes []string) {
	o.Helper()
	for _, raw := range o.column(`SELECT convert_from(leaf, 'UTF8') FROM penname.log_leaves ORDER BY index`) {
		l, err := proof.ParseLeaf([]byte(raw))
		if err != nil {
			o.Fatal(err)
		}
		codes = append(codes, l.Code)
	}
	return codes
}

func newCard() identity.Identity {
	id := zoe()
	id.Subject = "sub-of-the-new-card"
	return id
}

// TestFoundF2ANewCardIsTheSamePerson: accepted by two reviewers, not objected to for
// seven days, and then the same pen names by either card.
func TestFoundF2ANewCardIsTheSamePerson(t *testing.T) {
	o := newOffice(t)
	old, _ := o.enrol(zoe())
	pen := o.name(old)
	h := o.held(newCard(), issue.ErrAlreadyEnrolled)
	if again := o.held(newCard(), issue.ErrAlreadyEnrolled); again.Reference != h.Reference {
		t.Error("who comes again has another reference")
	}
	r, err := o.reviews.Review(t.Context(), h.Reference)
	if err != nil || r.SameAccount || r.Several || !yes(r.Name) || !yes(r.Year) || !yes(r.Birthdate) || !yes(r.Provider) {
		t.Fatalf("%v: %+v", err, r)
	}
	o.decide(proof.Accepted, h.Reference)
	o.job()
	if h := o.held(newCard(), issue.ErrAcceptanceWaits); h.From != time.Date(2026, 12, 6, 0, 0, 0, 0, time.UTC) {
		t.Errorf("from %s", h.From)
	}
	claims, err := o.issuer.Acceptances(t.Context(), old)
	if err != nil || len(claims) != 1 || claims[0].Reference != h.Reference {
		t.Errorf("the person is told %v, %v", claims, err)
	}
	o.now = o.now.AddDate(0, 0, 7)
	o.job()
	o.held(newCard(), issue.ErrAcceptanceWaits)
	o.now = o.now.AddDate(0, 0, 1)
	o.job()
	back, first := o.enrol(newCard())
	if first || back != old || o.name(back) != pen {
		t.Error("another person, or other pen names")
	}
	if old2, first := o.enrol(zoe()); first || old2 != old {
		t.Error("the old card is somebody else's")
	}
	if got := o.outcomes(); !slices.Equal(got, []string{proof.Accepted}) {
		t.Errorf("in the log: %v", got)
	}
	o.job()
}

func yes(agrees *bool) bool { return agrees != nil && *agrees }

// TestFoundF2Namesakes: two people with one name and birth date, by two providers.
// Neither is shut out, and each is one person ever after.
func TestFoundF2Namesakes(t *testing.T) {
	o := newOffice(t)
	first, _ := o.enrol(zoe())
	namesake := zoe()
	namesake.Issuer, namesake.Subject = "https://bank.example", "sub-1"
	h := o.held(namesake, issue.ErrAlreadyEnrolled)
	if r, err := o.reviews.Review(t.Context(), h.Reference); err != nil || yes(r.Provider) || r.Provider == nil {
		t.Errorf("the provider agrees: %v", err)
	}
	o.decide(proof.Separated, h.Reference)
	second, isFirst := o.enrol(namesake)
	if !isFirst || second.ID == first.ID || o.name(second) == o.name(first) {
		t.Error("not another person")
	}
	for id, want := range map[*identity.Identity]issue.Person{{Issuer: zoe().Issuer, Subject: zoe().Subject, Name: zoe().Name, Birthdate: zoe().Birthdate}: first, &namesake: second} {
		if p, isFirst := o.enrol(*id); isFirst || p != want {
			t.Error("somebody is no longer who they were")
		}
	}
	// A third account of that name could be either's: then nobody may be accepted.
	third := o.held(newCard(), issue.ErrAlreadyEnrolled)
	if _, err := o.say("alma", proof.Accepted, third.Reference); !errors.Is(err, disclose.ErrReviewAmbiguous) {
		t.Errorf("accepted as one of two: %v", err)
	}
	if got := o.outcomes(); !slices.Equal(got, []string{proof.Separated}) {
		t.Errorf("in the log: %v", got)
	}
	o.job()
}

// TestFoundF2ACompletedBirthDate: 1971 becomes 1971-04-30 at the provider.
func TestFoundF2ACompletedBirthDate(t *testing.T) {
	o := newOffice(t)
	before, after := zoe(), zoe()
	before.Birthdate, after.Birthdate = "1971", "1971-04-30"
	p, _ := o.enrol(before)
	h := o.held(after, issue.ErrRecycledSubject)
	r, err := o.reviews.Review(t.Context(), h.Reference)
	if err != nil || !r.SameAccount || !yes(r.Name) || !yes(r.Year) || r.Birthdate == nil || *r.Birthdate || !yes(r.Provider) {
		t.Fatalf("%v: %+v", err, r)
	}
	o.decide(proof.Accepted, h.Reference)
	o.now = o.now.AddDate(0, 0, 8)
	o.job()
	for range 2 {
		if again, first := o.enrol(after); first || again != p {
			t.Error("another person")
		}
	}
	twin := after // who comes by another account is like the completed date now
	twin.Subject = "sub-7"
	o.held(twin, issue.ErrAlreadyEnrolled)
	o.job()
}

// TestFoundF2AnAccountThatWasGivenToSomebodyElse (R25): they are enrolled, and who had
// it before comes back by another.
func TestFoundF2AnAccountThatWasGivenToSomebodyElse(t *testing.T) {
	o := newOffice(t)
	old, _ := o.enrol(zoe())
	stranger := zoe()
	stranger.Name, stranger.Birthdate = "Somebody Else", "1999-12-31"
	h := o.held(stranger, issue.ErrRecycledSubject)
	if r, err := o.reviews.Review(t.Context(), h.Reference); err != nil || yes(r.Name) || yes(r.Year) {
		t.Errorf("%v: %+v", err, r)
	}
	o.decide(proof.Separated, h.Reference)
	p, first := o.enrol(stranger)
	if !first || p.ID == old.ID {
		t.Error("the stranger has the pen names of who had the account before")
	}
	back := newCard()
	h = o.held(back, issue.ErrAlreadyEnrolled)
	o.decide(proof.Accepted, h.Reference)
	o.now = o.now.AddDate(0, 0, 8)
	o.job()
	if again, first := o.enrol(back); first || again != old {
		t.Error("who had the account before is lost")
	}
}

// TestFoundF2AnObjectionEndsAnAcceptance: the person who is enrolled says no, the log
// has it, and only that they are two people can be decided then.
func TestFoundF2AnObjectionEndsAnAcceptance(t *testing.T) {
	o := newOffice(t)
	p, _ := o.enrol(zoe())
	h := o.held(newCard(), issue.ErrAlreadyEnrolled)
	o.decide(proof.Accepted, h.Reference)
	stranger := zoe()
	stranger.Subject, stranger.Name = "sub-5", "Somebody Else"
	other, _ := o.enrol(stranger)
	if err := o.issuer.Object(t.Context(), other, h.Reference); !errors.Is(err, issue.ErrTooLate) {
		t.Errorf("a stranger objects: %v", err)
	}
	o.now = o.now.AddDate(0, 0, 8) // the last moment: before the job
	if err := o.issuer.Object(t.Context(), p, h.Reference); err != nil {
		t.Fatal(err)
	}
	if err := o.issuer.Object(t.Context(), p, h.Reference); !errors.Is(err, issue.ErrTooLate) {
		t.Errorf("twice: %v", err)
	}
	for _, what := range []func(){func() {}, o.job} { // at once, and once the log has it
		what()
		if h := o.held(newCard(), issue.ErrObjected); !h.From.IsZero() {
			t.Errorf("told to come back on %v", h.From)
		}
	}
	if _, err := o.say("alma", proof.Accepted, h.Reference); !errors.Is(err, disclose.ErrReviewDecided) {
		t.Errorf("accepted again: %v", err)
	}
	o.decide(proof.Separated, h.Reference)
	if q, first := o.enrol(newCard()); !first || q.ID == p.ID {
		t.Error("not another person")
	}
	if got := o.outcomes(); !slices.Equal(got, []string{proof.Accepted, proof.Objected, proof.Separated}) {
		t.Errorf("in the log: %v", got)
	}
	o.job()
}

// TestFoundF2TwoReviewersDecide: two different ones who say the same, under the rules
// in force, and nobody else.
func TestFoundF2TwoReviewersDecide(t *testing.T) {
	o := newOffice(t)
	o.enrol(zoe())
	h := o.held(newCard(), issue.ErrAlreadyEnrolled)
	state := func(want disclose.ReviewState) {
		t.Helper()
		if r, err := o.reviews.Review(t.Context(), h.Reference); err != nil || r.State != want {
			t.Fatalf("%s, want %s: %v", r.State, want, err)
		}
	}
	for range 2 { // one reviewer twice is one reviewer
		if _, err := o.say("alma", proof.Accepted, h.Reference); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := o.say("bero", proof.Separated, h.Reference); err != nil { // they disagree
		t.Fatal(err)
	}
	state(disclose.ReviewHeld)
	for name, signed := range map[string]func() (string, error){
		"a custodian": func() (string, error) {
			return policy.SignReviewDecision(o.keys["uno"], policy.ReviewDecision{At: o.now, Bundle: o.bundle.Hash(), Outcome: proof.Accepted, Review: h.Reference, Reviewer: "uno"})
		},
		"alma as bero": func() (string, error) {
			return policy.SignReviewDecision(o.keys["alma"], policy.ReviewDecision{At: o.now, Bundle: o.bundle.Hash(), Outcome: proof.Accepted, Review: h.Reference, Reviewer: "bero"})
		},
		"under other rules": func() (string, error) {
			return policy.SignReviewDecision(o.keys["bero"], policy.ReviewDecision{At: o.now, Bundle: strings.Repeat("0", 64), Outcome: proof.Accepted, Review: h.Reference, Reviewer: "bero"})
		},
	} {
		raw, err := signed()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := o.reviews.Decide(t.Context(), raw); !errors.Is(err, policy.ErrUnknownReviewer) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := o.say("bero", proof.Objected, h.Reference); !errors.Is(err, policy.ErrReview) {
		t.Errorf("an objection by a reviewer: %v", err)
	}
	if _, err := o.say("bero", proof.Accepted, "aaaaaaaaaaaa"); !errors.Is(err, disclose.ErrNoReview) {
		t.Errorf("no such review: %v", err)
	}
	// Who is no reviewer any more no longer counts.
	o.bundle = o.rules("bero", "cleo")
	if _, err := o.say("bero", proof.Accepted, h.Reference); err != nil {
		t.Fatal(err)
	}
	state(disclose.ReviewHeld)
	if _, err := o.say("cleo", proof.Accepted, h.Reference); err != nil {
		t.Fatal(err)
	}
	state(disclose.ReviewWaiting)
	o.job()
}

// TestFoundF2ADecisionIsCarriedOutOnce, however many come at once, and a crash between
// its steps leaves it to be carried out.
func TestFoundF2ADecisionIsCarriedOutOnce(t *testing.T) {
	o := newOffice(t)
	old, _ := o.enrol(zoe())
	h := o.held(newCard(), issue.ErrAlreadyEnrolled)
	o.decide(proof.Separated, h.Reference)
	people, firsts := map[issue.Person]bool{}, 0
	var mu sync.Mutex
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			p, first, err := o.issuer.Enrol(context.WithoutCancel(t.Context()), newCard())
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				t.Error(err)
			}
			if people[p] = true; first {
				firsts++
			}
		})
	}
	wg.Wait()
	if len(people) != 1 || firsts != 1 || people[old] {
		t.Errorf("%d people, %d times first", len(people), firsts)
	}
	if n := o.column(`SELECT count(*)::text FROM penname.persons JOIN penname.records USING (label)`); n[0] != "2" {
		t.Errorf("%s records", n[0])
	}
}

// TestFoundF2WhatIsHeldNamesNobody: a copy of the database shows no id, no name and no
// value that another row has, and nothing is left of whom a review concerned when it
// is over.
func TestFoundF2WhatIsHeldNamesNobody(t *testing.T) {
	o := newOffice(t)
	o.enrol(zoe())
	h := o.held(newCard(), issue.ErrAlreadyEnrolled)
	persons := o.column(`SELECT row_to_json(p)::text FROM penname.persons p`)
	for _, value := range o.column(`SELECT v FROM penname.reviews r, unnest(ARRAY[encode(mark, 'hex'), encode(whose, 'hex'), id]) v`) {
		if strings.Contains(persons[0], value) {
			t.Error("a review shares a value with a person")
		}
	}
	for _, row := range o.column(`SELECT row_to_json(r)::text FROM penname.reviews r`) {
		for _, telling := range []string{"Zo", "1980", "sub", "identity.example"} {
			if strings.Contains(row, telling) {
				t.Errorf("a review says %s", telling)
			}
		}
	}
	o.decide(proof.Separated, h.Reference)
	o.enrol(newCard())
	if left := o.column(`SELECT id FROM penname.reviews WHERE mark IS NOT NULL OR whose IS NOT NULL`); len(left) != 0 {
		t.Error("a review that is over knows whom it concerned")
	}
	if marks := o.column(`SELECT encode(marks, 'hex') FROM penname.persons`); len(marks) != 2 || marks[0][:64] == marks[1][:64] || marks[0][64:128] == marks[1][64:128] {
		t.Error("two persons of one name, or one year of birth, have an equal mark")
	}
}

// column is the first column of what the owner of the database reads.
func (o *office) column(sql string) (values []string) {
	o.Helper()
	conn, err := pgx.Connect(o.Context(), o.dsn)
	if err != nil {
		o.Fatal(err)
	}
	defer conn.Close(context.WithoutCancel(o.Context()))
	rows, err := conn.Query(o.Context(), sql)
	if err != nil {
		o.Fatal(err)
	}
	if values, err = pgx.CollectRows(rows, pgx.RowTo[string]); err != nil {
		o.Fatal(err)
	}
	return values
}
