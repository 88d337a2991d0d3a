package postgres

import (
	"bytes"
	"cmp"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/penname/penname/escrow/coalesce"
	"github.com/penname/penname/escrow/disclose"
	"github.com/penname/penname/escrow/disclose/disclosetest"
	"github.com/penname/penname/escrow/issue"
	"github.com/penname/penname/escrow/seal"
	"github.com/penname/penname/policy"
	"github.com/penname/penname/verifier/proof"
	"github.com/penname/penname/verifier/token"
)

var day = time.Date(2026, 11, 21, 0, 0, 0, 0, time.UTC)

func random(n int) []byte {
	b := make([]byte, n)
	rand.Read(b) // never fails (crypto/rand)
	return b
}

// enrolment is a new person.
func enrolment() issue.Enrolment {
	label := seal.NewLabel()
	return issue.Enrolment{
		Person:      issue.Person{ID: [16]byte(random(16)), Label: label, Digest: [32]byte(random(32))},
		Fingerprint: random(32), Likeness: random(32), Birth: random(32),
		Record: seal.Record{
			Label: label, FirstHalf: "vault:v1:" + hex.EncodeToString(random(60)), Custody: seal.Custody{SecondHalf: append([]byte("C"), random(229)...)},
			Fields: map[string][]byte{"name": random(92), "birthdate": random(92), "address": random(156), "email": random(92)},
		},
		Day: day,
	}
}

func pseudonym(t testing.TB) token.Pseudonym {
	t.Helper()
	p, err := token.NewPseudonym(random(16))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func assignment(t testing.TB) issue.Assignment {
	t.Helper()
	return issue.Assignment{Pseudonym: pseudonym(t), Platform: "town-square", Link: "vault:v1:" + hex.EncodeToString(random(80)),
		Commitment: [32]byte(random(32)), Day: day}
}

// newCase is a warrant that nobody filed yet, and its leaf.
func newCase(quorum int) (disclose.Case, proof.Leaf) {
	warrant := hex.EncodeToString(random(200))
	c := disclose.Case{
		ID: seal.NewLabel(), WarrantHash: sha256.Sum256([]byte(warrant)), Authority: "court", WarrantID: hex.EncodeToString(random(8)),
		Submission: policy.Submission{Warrant: warrant, Evidence: []string{"evidence"}},
		Bundle:     bundleLeaf([]byte("{}")).Bundle, Salt: [32]byte(random(32)), Quorum: quorum, State: disclose.Recorded, Kind: policy.Production,
		SecrecyEnds: day.AddDate(0, 3, 0).Add(7 * time.Second), Expires: day.AddDate(0, 0, 10), ApproveFrom: day,
		Targets: []disclose.CaseTarget{{State: disclose.TargetWaiting}},
	}
	return c, proof.Leaf{
		Version: 1, Kind: proof.KindRecorded, Day: "2026-11-21", Jurisdiction: "GB", OffenceClass: "threats-to-kill",
		WarrantKind: "production", Targets: 1, SecrecyEnds: "2027-02-21", Bundle: c.Bundle,
		Commitment:        proof.Commit(c.Salt, "warrant", []byte(warrant)),
		SaltCommitment:    proof.Commit(c.Salt, "salt"),
		TargetCommitments: []string{proof.Commit(c.Salt, "target", []byte("p"), []byte("q"))},
	}
}

// newCaseUnder is newCase under the bundle in force.
func newCaseUnder(t testing.TB, d *Disclosing, quorum int) (disclose.Case, proof.Leaf) {
	t.Helper()
	c, leaf := newCase(quorum)
	underCurrent(t, d, &c, &leaf)
	return c, leaf
}

// underCurrent makes a case one under the bundle in force.
func underCurrent(t testing.TB, d *Disclosing, c *disclose.Case, leaf *proof.Leaf) {
	t.Helper()
	raw, _, err := d.Bundles.Current(t.Context())
	switch {
	case err == nil:
		c.Bundle = bundleLeaf(raw).Bundle
		leaf.Bundle = c.Bundle
	case !errors.Is(err, disclose.ErrNoBundle):
		t.Fatal(err)
	}
}

func file(t testing.TB, d *Disclosing, quorum int) disclose.Case {
	t.Helper()
	c, leaf := newCaseUnder(t, d, quorum)
	c, err := d.Cases.File(t.Context(), c, leaf)
	if err != nil {
		t.Fatalf("%v: %v", err, cause(err))
	}
	return c
}

var errDecided = errors.New("decided already")

// approve is what Registrar.Decide does: not idempotent by itself.
func approve(custodian string) func(c disclose.Case) (disclose.Change, error) {
	return func(c disclose.Case) (disclose.Change, error) {
		if slices.ContainsFunc(c.Approvals, func(a disclose.Approval) bool { return a.Custodian == custodian }) {
			return disclose.Change{}, errDecided
		}
		signed := "signed by " + custodian
		change := disclose.Change{
			Approval: &disclose.Approval{Custodian: custodian, Approved: true, Signed: signed, Bundle: c.Bundle},
			Steps:    []disclose.Step{{Event: disclose.Approve, Leaf: proof.ApprovalLeaf(day, c.RecordedLeaf, custodian, "", c.Salt, []byte(signed))}},
		}
		if yes, _, _ := c.Votes(); c.State == disclose.Recorded && yes+1 >= c.Quorum {
			change.Steps = append(change.Steps, disclose.Step{Event: disclose.Authorise, Leaf: leafOf(&c, proof.KindAuthorised)})
		}
		return change, nil
	}
}

// decline is the refusal that leaves no quorum.
func decline(custodian string) func(c disclose.Case) (disclose.Change, error) {
	return func(c disclose.Case) (disclose.Change, error) {
		signed := "signed by " + custodian
		return disclose.Change{
			Approval: &disclose.Approval{Custodian: custodian, Signed: signed, Bundle: c.Bundle},
			Steps: []disclose.Step{
				{Event: disclose.Decline, Leaf: proof.ApprovalLeaf(day, c.RecordedLeaf, custodian, "custodian.not_convinced", c.Salt, []byte(signed))},
				{Event: disclose.Fail},
			},
		}, nil
	}
}

func leafOf(c *disclose.Case, kind proof.Kind) proof.Leaf {
	return proof.Leaf{Version: 1, Kind: kind, Day: "2026-11-21", Case: &c.RecordedLeaf}
}

func release(c disclose.Case) (disclose.Change, error) {
	pack := []byte("package " + c.ID)
	return disclose.Change{Package: pack, Steps: []disclose.Step{
		{Event: disclose.Release, Leaf: proof.ReleasedLeaf(day, c.RecordedLeaf, sha256.Sum256(pack), nil)}}}, nil
}

func expire(c disclose.Case) (disclose.Change, error) {
	return disclose.Change{Steps: []disclose.Step{{Event: disclose.Expire, Leaf: proof.ExpiredLeaf(day, c.RecordedLeaf)}}}, nil
}

func notice(p token.Pseudonym) func(c disclose.Case) (disclose.Change, error) {
	return func(c disclose.Case) (disclose.Change, error) {
		return disclose.Change{
			Notice: &disclose.Notice{To: []policy.Target{{Pseudonym: p, Platform: "town-square"}}, Authority: "court", FileNumber: "7 O 1/26",
				LegalBasis: "§ 1", Requester: "police", Fields: []string{"name"}, Leaf: c.RecordedLeaf, Day: day},
			Steps: []disclose.Step{{Event: disclose.Notify, Leaf: proof.NoticedLeaf(day, c.RecordedLeaf, c.Salt)}},
		}, nil
	}
}

// oneRecord and oneLink read one of what is read many at a time.
func oneRecord(ctx context.Context, d *Disclosing, label string) (r seal.Record, err error) {
	records, err := d.Records.Records(ctx, []string{label})
	if err != nil {
		return r, err
	}
	return records[0].Value, records[0].Err
}

func oneLink(ctx context.Context, d *Disclosing, p token.Pseudonym, platform string) (string, error) {
	links, err := d.Records.Links(ctx, []disclose.Target{{Pseudonym: p, Platform: platform}})
	if err != nil {
		return "", err
	}
	if links[0].Err != nil || len(links[0].Value) == 0 {
		return "", cmp.Or(links[0].Err, error(disclose.ErrDataNotHeld))
	}
	return links[0].Value[0], nil
}

// notices is how many persons were told of a case.
func notices(t testing.TB, admin string, c disclose.Case) int {
	t.Helper()
	return value[int](t, admin, `SELECT count(*) FROM notices WHERE case_id = $1`, c.ID)
}

func apply(t testing.TB, d *Disclosing, id string, change func(disclose.Case) (disclose.Change, error)) disclose.Case {
	t.Helper()
	c, err := d.Cases.Apply(t.Context(), id, change)
	if err != nil {
		t.Fatalf("%v: %v", err, cause(err))
	}
	return c
}

func consistent(t testing.TB, d *Disclosing) {
	t.Helper()
	for _, stretch := range []int64{checkedAtOnce, 3} {
		if err := d.checkBy(t.Context(), stretch); err != nil {
			t.Fatalf("check: %v: %v", err, cause(err))
		}
	}
}

func wantErr(t *testing.T, what string, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Errorf("%s: got %v (%v), want %v", what, err, cause(err), want)
	}
}

func TestEnrolIsOncePerPerson(t *testing.T) {
	admin := database(t)
	s, ctx := issuing(t, admin, Options{}), t.Context()
	e := enrolment()
	_, err := s.Person(ctx, e.Fingerprint, e.Birth)
	wantErr(t, "Person before", err, issue.ErrPersonUnknown)
	p, first, err := s.Enrol(ctx, e)
	if err != nil || !first || p != e.Person {
		t.Fatalf("first enrolment: %v, %v", first, err)
	}

	again := enrolment()
	again.Fingerprint, again.Likeness, again.Birth = e.Fingerprint, e.Likeness, e.Birth
	if p, first, err := s.Enrol(ctx, again); err != nil || first || p != e.Person {
		t.Errorf("the same account again: %v, %v, %v", p == e.Person, first, err)
	}
	if p, err := s.Person(ctx, e.Fingerprint, e.Birth); err != nil || p != e.Person {
		t.Errorf("Person: %v", err)
	}
	renamed := enrolment() // the same account with another name: the same person
	renamed.Fingerprint, renamed.Birth = e.Fingerprint, e.Birth
	if p, first, err := s.Enrol(ctx, renamed); err != nil || first || p != e.Person {
		t.Errorf("renamed: %v, %v", first, err)
	}

	other := enrolment() // another account of the same human
	other.Likeness = e.Likeness
	_, _, err = s.Enrol(ctx, other)
	wantErr(t, "another account", err, issue.ErrAlreadyEnrolled)
	recycled := enrolment()
	recycled.Fingerprint = e.Fingerprint
	_, _, err = s.Enrol(ctx, recycled)
	wantErr(t, "recycled account", err, issue.ErrRecycledSubject)
	_, err = s.Person(ctx, e.Fingerprint, recycled.Birth)
	wantErr(t, "Person of a recycled account", err, issue.ErrRecycledSubject)
	if n := value[int](t, admin, `SELECT (SELECT count(*) FROM persons) * 1000 + (SELECT count(*) FROM records)`); n != 1001 {
		t.Errorf("persons and records: %d, want 1 and 1", n)
	}
}

func TestEnrolRaceGivesOnePerson(t *testing.T) {
	s := issuing(t, database(t), Options{})
	one := enrolment()
	var wg sync.WaitGroup
	var mu sync.Mutex
	persons, firsts := map[issue.Person]bool{}, 0
	for range 16 {
		wg.Go(func() {
			e := enrolment()
			e.Fingerprint, e.Likeness, e.Birth = one.Fingerprint, one.Likeness, one.Birth
			p, first, err := s.Enrol(t.Context(), e)
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				t.Error(err)
			}
			if persons[p] = true; first {
				firsts++
			}
		})
	}
	wg.Wait()
	if len(persons) != 1 || firsts != 1 {
		t.Fatalf("%d persons, %d first", len(persons), firsts)
	}
}

// One statement carries many, and what is wrong with one of them is nobody
// else's. R24: somebody who comes through two accounts at once is one person.
func TestEnrolTogether(t *testing.T) {
	admin := database(t)
	s, d, ctx := issuing(t, admin, Options{}), disclosing(t, admin, Options{}), t.Context()
	known := enrolment()
	if _, _, err := s.Enrol(ctx, known); err != nil {
		t.Fatal(err)
	}
	sql(t, admin, `INSERT INTO rotations (version, state, day) VALUES (2, 'moving', '2026-11-21'); SELECT close_rotation(2)`)
	fresh := func(change func(e *issue.Enrolment)) issue.Enrolment {
		e := enrolment()
		e.Record.FirstHalf = "vault:v2:AAAA"
		change(&e)
		return e
	}
	good := fresh(func(*issue.Enrolment) {})
	all := []struct {
		what   string
		e      issue.Enrolment
		stored bool
		err    error
	}{
		{"older key", fresh(func(e *issue.Enrolment) { e.Record.FirstHalf = "vault:v1:AAAA" }), false, issue.ErrOlderKey},
		{"over the limit of a message", fresh(func(e *issue.Enrolment) { e.Record.Fields["name"] = make([]byte, 17<<20) }), false, ErrTooLarge},
		{"over the limit of a row", fresh(func(e *issue.Enrolment) { e.Record.Fields["name"] = make([]byte, 2<<20) }), false, ErrRefused},
		{"no field", fresh(func(e *issue.Enrolment) { e.Record.Fields = nil }), false, ErrRefused},
		{"bad text", fresh(func(e *issue.Enrolment) { e.Record.FirstHalf += "\x00" }), false, ErrText},
		{"known", fresh(func(e *issue.Enrolment) { e.Fingerprint, e.Birth = known.Fingerprint, known.Birth }), false, nil},
		{"good", fresh(func(*issue.Enrolment) {}), true, nil},
		{"one account", good, true, nil}, // of these two, one
		{"another account", fresh(func(e *issue.Enrolment) { e.Likeness = good.Likeness }), true, nil},
	}
	var es []issue.Enrolment
	for _, one := range all {
		es = append(es, one.e)
	}
	results, err := s.enrolTogether(ctx, es)
	if err != nil {
		t.Fatal(err, cause(err))
	}
	one, other := len(all)-2, len(all)-1
	if results[one].Out == results[other].Out {
		t.Errorf("one human through two accounts: %v, %v", results[one], results[other])
	}
	all[one].stored, all[other].stored = results[one].Out, results[other].Out
	for i, want := range all {
		if got := results[i]; got.Out != want.stored || !errors.Is(got.Err, want.err) {
			t.Errorf("%s: stored %v, %v: %v", want.what, got.Out, got.Err, cause(got.Err))
		}
		if _, err := oneRecord(ctx, d, want.e.Person.Label); (err == nil) != want.stored {
			t.Errorf("%s: record: %v", want.what, err)
		}
	}
	if n := value[int](t, admin, `SELECT count(*) FROM persons JOIN records USING (label)`); n != 3 {
		t.Errorf("%d persons, want 3", n)
	}
}

// Sealed fields come back as they went in, or not at all.
func TestPackedFields(t *testing.T) {
	for _, fields := range []map[string][]byte{
		{}, {"name": []byte("x")}, {"name": random(92), "birthdate": {}, "address": random(127), "email": random(128), "a": random(70000)},
	} {
		b := PackFields(fields)
		if got, whole := UnpackFields(b); !whole || !reflect.DeepEqual(got, fields) {
			t.Errorf("%d fields came back as %d, %v", len(fields), len(got), whole)
		}
		for n := range min(len(b), 300) {
			if got, whole := UnpackFields(b[:n]); whole && len(got) == len(fields) {
				t.Errorf("%d of %d bytes are whole", n, len(b))
			}
		}
	}
}

func TestPseudonymIsAssignedForLife(t *testing.T) {
	s, ctx := issuing(t, database(t), Options{}), t.Context()
	a := assignment(t)
	if got, err := s.Assign(ctx, a); err != nil || got != a.Commitment {
		t.Fatal(err)
	}
	b := a
	b.Link = "vault:v1:other"
	if got, err := s.Assign(ctx, b); err != nil || got != a.Commitment {
		t.Errorf("a second assignment changed the commitment: %v", err)
	}
	c := assignment(t)
	c.Platform = "school-forum"
	if _, err := s.Assign(ctx, c); err != nil {
		t.Fatal(err)
	}
	names, err := s.Assigned(ctx, []token.Pseudonym{c.Pseudonym, pseudonym(t), a.Pseudonym})
	want := []issue.PenName{
		{Pseudonym: c.Pseudonym, Platform: "school-forum", Since: day, Commitment: c.Commitment},
		{Pseudonym: a.Pseudonym, Platform: "town-square", Since: day, Commitment: a.Commitment},
	}
	if err != nil || !reflect.DeepEqual(names, want) {
		t.Errorf("Assigned: %v, %+v", err, names)
	}
}

func TestRecordsAndLinksAreReadByTheOtherSide(t *testing.T) {
	admin := database(t)
	s, d, ctx := issuing(t, admin, Options{}), disclosing(t, admin, Options{}), t.Context()
	e, a := enrolment(), assignment(t)
	if _, _, err := s.Enrol(ctx, e); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Assign(ctx, a); err != nil {
		t.Fatal(err)
	}
	if r, err := oneRecord(ctx, d, e.Person.Label); err != nil || !reflect.DeepEqual(r, e.Record) {
		t.Errorf("Record: %v", err)
	}
	if link, err := oneLink(ctx, d, a.Pseudonym, a.Platform); err != nil || link != a.Link {
		t.Errorf("Link: %v", err)
	}
	_, err := oneRecord(ctx, d, seal.NewLabel())
	wantErr(t, "unknown record", err, disclose.ErrDataNotHeld)
	_, err = oneLink(ctx, d, a.Pseudonym, "school-forum")
	wantErr(t, "another platform", err, disclose.ErrDataNotHeld)
	_, err = oneLink(ctx, d, pseudonym(t), a.Platform)
	wantErr(t, "unknown pseudonym", err, disclose.ErrDataNotHeld)
}

func TestCaseGoesItsWay(t *testing.T) {
	admin := database(t)
	s, d, ctx := issuing(t, admin, Options{}), disclosing(t, admin, Options{}), t.Context()
	_, err := d.Cases.Case(ctx, seal.NewLabel())
	wantErr(t, "unknown case", err, disclose.ErrNoCase)
	_, err = d.Cases.Apply(ctx, seal.NewLabel(), approve("ombudsman"))
	wantErr(t, "Apply to an unknown case", err, disclose.ErrNoCase)

	first := file(t, d, 2)
	c, leaf := newCase(2)
	filed, err := d.Cases.File(ctx, c, leaf)
	if err != nil || filed.RecordedLeaf != 1 {
		t.Fatalf("File: %v, leaf %d", err, filed.RecordedLeaf)
	}
	// L13, M33: another signature of the same warrant is the same case, with one leaf.
	same := c
	same.ID, same.Salt, same.WarrantHash = seal.NewLabel(), [32]byte{1}, [32]byte{2}
	if again, err := d.Cases.File(ctx, same, leaf); err != nil || !reflect.DeepEqual(again, filed) {
		t.Errorf("filed again: %v\n%+v\n%+v", err, again, filed)
	}
	if read, err := d.Cases.Case(ctx, c.ID); err != nil || !reflect.DeepEqual(read, filed) {
		t.Errorf("Case: %v\n%+v\n%+v", err, read, filed)
	}
	if list, err := d.Cases.List(ctx, disclose.ForCustodians, day, disclose.Cursor{}, 10); err != nil || len(list) != 2 || list[0].ID != first.ID || list[1].ID != c.ID {
		t.Errorf("List: %v, %d", err, len(list))
	}

	one := apply(t, d, c.ID, approve("ombudsman"))
	_, err = d.Cases.Apply(ctx, c.ID, approve("ombudsman"))
	wantErr(t, "twice the same custodian", err, errDecided)
	two := apply(t, d, c.ID, approve("bar"))
	if one.State != disclose.Recorded || two.State != disclose.Authorised || two.Approvals[0].Leaf != 2 || two.Approvals[1].Leaf != 3 || two.Rounds[0].AuthorisedLeaf != 4 {
		t.Errorf("approvals: %+v, %+v", one.State, two)
	}
	released := apply(t, d, c.ID, release)
	p := pseudonym(t)
	if n, err := s.Notices(ctx, []token.Pseudonym{p}); err != nil || len(n) != 0 {
		t.Errorf("notices before the end of secrecy: %d, %v", len(n), err)
	}
	noticed := apply(t, d, c.ID, notice(p))
	if released.Rounds[0].ReleasedLeaf != 5 || noticed.NoticedLeaf != 6 {
		t.Errorf("leaves: %d, %d", released.Rounds[0].ReleasedLeaf, noticed.NoticedLeaf)
	}
	if read, err := d.Cases.Case(ctx, c.ID); err != nil || !reflect.DeepEqual(read, noticed) {
		t.Errorf("Case at its end: %v\n%+v\n%+v", err, read, noticed)
	}
	// L12: a warrant that was executed opens nothing again: it is the case that it was.
	if again, err := d.Cases.File(ctx, same, leaf); err != nil || !reflect.DeepEqual(again, noticed) {
		t.Errorf("filed again at its end: %v\n%+v\n%+v", err, again, noticed)
	}
	if n, err := d.Log.Size(ctx); n != 7 || err != nil {
		t.Errorf("%d leaves, %v", n, err)
	}
	want := []issue.Notice{{Pseudonym: p, Platform: "town-square", Authority: "court", FileNumber: "7 O 1/26", LegalBasis: "§ 1",
		Requester: "police", Fields: []string{"name"}, Leaf: 1, Day: day, Kind: policy.Production}}
	if n, err := s.Notices(ctx, []token.Pseudonym{pseudonym(t), p}); err != nil || !reflect.DeepEqual(n, want) {
		t.Errorf("Notices: %v, %+v", err, n)
	}
	if n, err := s.Notices(ctx, []token.Pseudonym{pseudonym(t)}); err != nil || len(n) != 0 {
		t.Errorf("somebody else's notices: %d, %v", len(n), err)
	}
	consistent(t, d)
}

// What becomes of an order after the persons were told stands with each one's notice.
func TestNoticeSaysWhatBecameOfIt(t *testing.T) {
	_, s, d := bothSides(t)
	ctx := t.Context()
	c, leaf := disclosetest.Order(t, policy.Production, 2)
	c, err := d.Cases.File(ctx, c, leaf)
	if err != nil {
		t.Fatal(err, cause(err))
	}
	told := func(c disclose.Case) (disclose.Change, error) {
		change, err := disclosetest.Notify(c)
		change.Notice = &disclose.Notice{To: c.Warrant.Targets, Which: []int{0, 1}, Authority: "court", FileNumber: "1", LegalBasis: "1", Requester: "police", Fields: []string{"name"}, Leaf: c.RecordedLeaf, Day: day}
		return change, err
	}
	for _, change := range []func(disclose.Case) (disclose.Change, error){disclosetest.Votes("bar", 0, 1), disclosetest.Packs(0), told} {
		c = apply(t, d, c.ID, change)
	}
	stands := func(what string, barred map[token.Pseudonym]string) {
		t.Helper()
		names := []token.Pseudonym{c.Warrant.Targets[0].Pseudonym, c.Warrant.Targets[1].Pseudonym}
		all, err := s.Notices(ctx, names)
		if err != nil || len(all) != 2 {
			t.Fatalf("%s: %v, %+v", what, err, all)
		}
		for _, n := range all {
			if n.State != string(disclose.TargetReleased) || n.Barred != barred[n.Pseudonym] || n.Deleted || n.Ended() {
				t.Errorf("%s: %+v", what, n)
			}
		}
	}
	stands("told", nil)
	w, leaf := disclosetest.About(t, policy.Annulment, c, "superior", 1)
	if _, err := d.Cases.File(ctx, w, leaf); err != nil {
		t.Fatal(err, cause(err))
	}
	stands("one is annulled", map[token.Pseudonym]string{c.Warrant.Targets[1].Pseudonym: disclose.ErrAnnulled.Code})
}

// A person is told the names of the court and of who asked, as the bundle has them that decided.
func TestNoticeNamesTheCourt(t *testing.T) {
	admin := database(t)
	s, d := issuing(t, admin, Options{}), disclosing(t, admin, Options{})
	rules := func(name string) string {
		t.Helper()
		bundle := []byte(`{"authorities":[{"id":"assizes","name":"Assizes"},{"id":"court","name":"` + name + `"}],"organisations":[{"id":"police","name":"Thornley Police"}]}`)
		if err := install(t.Context(), d, bundle, nil); err != nil {
			t.Fatal(err, cause(err))
		}
		return bundleLeaf(bundle).Bundle
	}
	c, leaf := newCase(1)
	c.Bundle = rules("Thornley County Court")
	leaf.Bundle = c.Bundle
	if _, err := d.Cases.File(t.Context(), c, leaf); err != nil {
		t.Fatal(err, cause(err))
	}
	rules("The Court Formerly Known As Thornley")
	p := pseudonym(t)
	apply(t, d, c.ID, approve("ombudsman"))
	apply(t, d, c.ID, release)
	apply(t, d, c.ID, notice(p))
	if n, err := s.Notices(t.Context(), []token.Pseudonym{p}); err != nil || len(n) != 1 || n[0].Authority != "Thornley County Court" || n[0].Requester != "Thornley Police" {
		t.Errorf("Notices: %v, %+v", err, n)
	}
}

func TestRefusalIsLoggedOncePerCode(t *testing.T) {
	d, ctx := disclosing(t, database(t), Options{}), t.Context()
	leaf := proof.Leaf{Version: 1, Kind: proof.KindRefused, Day: "2026-11-21", Code: "warrant.unknown_authority"}
	for range 3 {
		if err := d.Cases.Refuse(ctx, "court", "1", leaf); err != nil {
			t.Fatal(err)
		}
	}
	other := leaf
	other.Code = "warrant.expired"
	if err := errors.Join(d.Cases.Refuse(ctx, "court", "1", other), d.Cases.Refuse(ctx, "court", "2", leaf)); err != nil {
		t.Fatal(err)
	}
	if n, err := d.Log.Size(ctx); n != 3 || err != nil {
		t.Errorf("%d leaves, %v", n, err)
	}
	consistent(t, d)
}

func bundleLeaf(bundle []byte) proof.Leaf {
	return proof.Leaf{Version: 1, Kind: proof.KindBundle, Day: "2026-11-21", Bundle: fmt.Sprintf("%x", sha256.Sum256(bundle))}
}

// install puts a bundle in force after the one that is.
func install(ctx context.Context, d *Disclosing, bundle []byte, endorsements []string) error {
	hashes, err := d.Bundles.History(ctx)
	if err != nil {
		return err
	}
	after := ""
	if len(hashes) > 0 {
		after = hashes[len(hashes)-1]
	}
	return d.Bundles.Install(ctx, bundle, endorsements, bundleLeaf(bundle), after)
}

func TestBundleInForceIsTheNewest(t *testing.T) {
	d, ctx := disclosing(t, database(t), Options{}), t.Context()
	_, _, err := d.Bundles.Current(ctx)
	wantErr(t, "no bundle", err, disclose.ErrNoBundle)
	a, b := []byte(`{"a":1}`), []byte(`{"b":2}`)
	for i, next := range [][]byte{a, a, b, b} {
		if err := install(ctx, d, next, []string{"e1", "e2"}); err != nil {
			t.Fatal(err)
		}
		got, endorsements, err := d.Bundles.Current(ctx)
		if err != nil || !bytes.Equal(got, next) || !slices.Equal(endorsements, []string{"e1", "e2"}) {
			t.Errorf("install %d: %v, %s", i, err, got)
		}
	}
	// O2: what was replaced does not come back.
	wantErr(t, "an older one", install(ctx, d, a, nil), policy.ErrNotNext)
	if n, err := d.Log.Size(ctx); n != 2 || err != nil {
		t.Errorf("%d leaves, want 2, %v", n, err)
	}
	consistent(t, d)
}

// A warrant that was decided under a bundle while the next one came into force
// has no leaf: behind the newer rules' it would convict the log for ever.
func TestF26DecidedUnderRulesThatWereReplacedMeanwhile(t *testing.T) {
	d, ctx := disclosing(t, database(t), Options{}), t.Context()
	next := []byte(`{"next":1}`)
	for _, bundle := range [][]byte{[]byte("{}"), next} {
		if err := install(ctx, d, bundle, nil); err != nil {
			t.Fatal(err)
		}
	}
	c, leaf := newCase(2) // under {}
	_, err := d.Cases.File(ctx, c, leaf)
	wantErr(t, "the rules of before", err, policy.ErrWrongBundle)
	if n, err := d.Log.Size(ctx); n != 2 || err != nil {
		t.Errorf("%d leaves, want 2, %v", n, err)
	}
	c.Bundle, leaf.Bundle = bundleLeaf(next).Bundle, bundleLeaf(next).Bundle
	filed, err := d.Cases.File(ctx, c, leaf)
	if err != nil {
		t.Fatal(err)
	}
	// What is on file already is found, whatever came into force since.
	if err := install(ctx, d, []byte(`{"next":2}`), nil); err != nil {
		t.Fatal(err)
	}
	if again, err := d.Cases.File(ctx, c, leaf); err != nil || again.RecordedLeaf != filed.RecordedLeaf {
		t.Errorf("leaf %d, want %d, %v", again.RecordedLeaf, filed.RecordedLeaf, err)
	}
}

// withdrawalOf is the withdrawal of a case by its court, and its leaf.
func withdrawalOf(t testing.TB, d *Disclosing, c disclose.Case) (disclose.Case, proof.Leaf) {
	t.Helper()
	stop, leaf := newCaseUnder(t, d, 2)
	stop.Kind, stop.Earlier = policy.Withdrawal, &c.WarrantHash
	leaf.WarrantKind, leaf.Targets, leaf.TargetCommitments, leaf.SecrecyEnds = policy.Withdrawal, 0, nil, ""
	return stop, leaf
}

// C12 and L16: what its court withdraws before the release is over; what comes
// from another court, or too late, changes nothing.
func TestC12WithdrawnBeforeAndAfterTheThreshold(t *testing.T) {
	admin := database(t)
	d, ctx := disclosing(t, admin, Options{}), t.Context()
	recorded, authorised, released := file(t, d, 2), file(t, d, 1), file(t, d, 1)
	apply(t, d, authorised.ID, approve("bar"))
	apply(t, d, released.ID, approve("bar"))
	apply(t, d, released.ID, release)
	for name, c := range map[string]struct {
		of   disclose.Case
		edit func(*disclose.Case)
		want error
		now  disclose.State
	}{
		"L16 by another court":      {recorded, func(c *disclose.Case) { c.Authority = "other-court" }, disclose.ErrNoEarlier, disclose.Recorded},
		"L16 of an unknown warrant": {recorded, func(c *disclose.Case) { c.Earlier = &[32]byte{1} }, disclose.ErrNoEarlier, disclose.Recorded},
		"L16 after the release":     {released, func(*disclose.Case) {}, disclose.ErrTooLate, disclose.Released},
	} {
		stop, leaf := withdrawalOf(t, d, c.of)
		c.edit(&stop)
		before := value[int](t, admin, `SELECT count(*) FROM log_leaves`)
		_, err := d.Cases.File(ctx, stop, leaf)
		wantErr(t, name, err, c.want)
		if got, err := d.Cases.Case(ctx, c.of.ID); err != nil || got.State != c.now || value[int](t, admin, `SELECT count(*) FROM log_leaves`) != before {
			t.Errorf("%s: %s, %v", name, got.State, err)
		}
	}
	for name, c := range map[string]disclose.Case{"C12 before the threshold": recorded, "C12 after it": authorised} {
		stop, leaf := withdrawalOf(t, d, c)
		filed, err := d.Cases.File(ctx, stop, leaf)
		if err != nil {
			t.Fatalf("%s: %v: %v", name, err, cause(err))
		}
		if again, err := d.Cases.File(ctx, stop, leaf); err != nil || again.RecordedLeaf != filed.RecordedLeaf {
			t.Errorf("%s: filed again: %v", name, err)
		}
		raw, err := d.Log.Leaves(ctx, filed.RecordedLeaf, filed.RecordedLeaf+1)
		if err != nil {
			t.Fatal(err)
		}
		if l, err := proof.ParseLeaf(raw[0]); err != nil || l.Case == nil || *l.Case != c.RecordedLeaf {
			t.Errorf("%s: the leaf concerns another case, %v", name, err)
		}
		if got, err := d.Cases.Case(ctx, c.ID); err != nil || got.State != disclose.Withdrawn {
			t.Errorf("%s: %s, %v", name, got.State, err)
		}
		_, err = d.Cases.Apply(ctx, c.ID, release)
		wantErr(t, name+": released", err, disclose.ErrWithdrawn)
		past := try(t, admin, `UPDATE penname.cases SET state = 'released', package = 'x' WHERE id = '`+c.ID+`'`)
		if _, constraint := sqlState(past); constraint != "cases_transition" {
			t.Errorf("%s: released past the registrar: %v", name, past)
		}
	}
	if cases, err := d.Erasures.Holding(ctx, day, -1, 100); err != nil || len(cases) != 1 { // the released one: withdrawals hold nobody
		t.Errorf("%d cases hold, %v", len(cases), err)
	}
	if err := try(t, admin, `UPDATE penname.cases SET state = 'withdrawn' WHERE id = '`+file(t, d, 1).ID+`'`); err == nil {
		t.Error("D05: withdrawn without a withdrawal")
	}
	consistent(t, d)
}

func TestApplyStoresAllOrNothing(t *testing.T) {
	admin := database(t)
	d, ctx := disclosing(t, admin, Options{}), t.Context()
	c := file(t, d, 2)
	stop := errors.New("stop")
	for what, change := range map[string]func(disclose.Case) (disclose.Change, error){
		"its own error": func(c disclose.Case) (disclose.Change, error) {
			change, _ := decline("x")(c)
			return change, stop
		},
		"a leaf that is none": func(c disclose.Case) (disclose.Change, error) {
			return disclose.Change{Steps: []disclose.Step{{Event: disclose.Approve, Leaf: leafOf(&c, proof.KindApproved)}}}, nil
		},
		"an approval without a leaf": func(c disclose.Case) (disclose.Change, error) {
			change, err := approve("x")(c)
			change.Steps[0].Leaf = proof.Leaf{}
			return change, err
		},
		"another step's leaf": func(c disclose.Case) (disclose.Change, error) {
			change, err := approve("x")(c)
			change.Steps[0].Leaf = leafOf(&c, proof.KindAuthorised)
			return change, err
		},
		"fewer approvals than the quorum": func(c disclose.Case) (disclose.Change, error) {
			return disclose.Change{Steps: []disclose.Step{{Event: disclose.Authorise, Leaf: leafOf(&c, proof.KindAuthorised)}}}, nil
		},
		"a state skipped": release,
	} {
		if _, err := d.Cases.Apply(ctx, c.ID, change); err == nil || what == "its own error" && err != stop {
			t.Errorf("%s: %v", what, err)
		}
	}
	for _, statement := range []string{`UPDATE cases SET quorum = 1`, `UPDATE cases SET salt = sha256(salt)`, `UPDATE cases SET kind = 'preservation'`} {
		if _, name := sqlState(try(t, admin, statement)); name != "cases_fixed" {
			t.Errorf("%s: %q", statement, name)
		}
	}
	if read, err := d.Cases.Case(ctx, c.ID); err != nil || !reflect.DeepEqual(read, c) {
		t.Errorf("the case changed: %v", err)
	}
	if n, err := d.Log.Size(ctx); n != 1 || err != nil {
		t.Errorf("%d leaves, %v", n, err)
	}
}

// F27: the last approval, many times at once, by two processes.
func TestF27QuorumIsReachedExactlyOnce(t *testing.T) {
	admin := database(t)
	d := disclosing(t, admin, Options{})
	processes := []*Disclosing{d, disclosing(t, admin, Options{})}
	c := file(t, d, 2)
	var wg sync.WaitGroup
	var mu sync.Mutex
	authorised := 0
	for i := range 12 {
		wg.Go(func() {
			got, err := processes[i%2].Cases.Apply(t.Context(), c.ID, func(c disclose.Case) (disclose.Change, error) {
				if c.State != disclose.Recorded {
					return disclose.Change{}, disclose.ErrCaseClosed
				}
				return approve("custodian-" + string('a'+rune(i%6)))(c)
			})
			mu.Lock()
			defer mu.Unlock()
			if err == nil && got.State == disclose.Authorised {
				authorised++
			} else if err != nil && !errors.Is(err, disclose.ErrCaseClosed) && !errors.Is(err, errDecided) {
				t.Error(err, cause(err))
			}
		})
	}
	wg.Wait()
	if authorised != 1 {
		t.Errorf("authorised %d times", authorised)
	}
	if n, err := d.Log.Size(t.Context()); n != 4 || err != nil { // recorded, approved, approved, authorised
		t.Errorf("%d leaves, %v", n, err)
	}
	consistent(t, d)
}

// F26: one warrant filed many times at once, by two processes.
func TestF26OneWarrantIsOneCase(t *testing.T) {
	admin := database(t)
	d := disclosing(t, admin, Options{})
	processes := []*Disclosing{d, disclosing(t, admin, Options{})}
	c, leaf := newCase(2)
	var wg sync.WaitGroup
	ids := make([]string, 12)
	for i := range ids {
		wg.Go(func() {
			mine := c
			mine.ID = seal.NewLabel()
			got, err := processes[i%2].Cases.File(t.Context(), mine, leaf)
			if err != nil {
				t.Error(err)
			}
			ids[i] = got.ID
		})
	}
	wg.Wait()
	if slices.Sort(ids); ids[0] != ids[len(ids)-1] {
		t.Error("one warrant became two cases")
	}
	if n, err := d.Log.Size(t.Context()); n != 1 || err != nil {
		t.Errorf("%d leaves, %v", n, err)
	}
}

// Two processes write the same rows at once, which came to them in opposite orders: the second
// waits for the first and not also the first for the second, of which the server would end one,
// a second later. So each is one transaction, and all rows are of the last.
func TestWritesInOppositeOrder(t *testing.T) {
	const rows = 8
	admin, ctx := database(t), t.Context()
	s := issuing(t, admin, Options{})
	var forth [2][]statement
	for range rows {
		row := freshGrant()
		if err := s.Put(ctx, row); err != nil {
			t.Fatal(err)
		}
		id := s.rowID(row.Kind, row.ID)
		for i := range forth {
			forth[i] = append(forth[i], statement{`UPDATE openid_rows SET writer = $3 WHERE kind = $1 AND id = $2`, []any{string(row.Kind), id, nonce()}})
		}
	}
	slices.Reverse(forth[1])
	between := connect(t, admin) // one row is taken until both wait
	if _, err := between.Exec(ctx, `BEGIN; SELECT FROM penname.openid_rows WHERE id = `+fmt.Sprintf(`'\x%x'`, forth[0][rows/2].args[1])+` FOR UPDATE`); err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for _, all := range forth {
		s := issuing(t, admin, Options{MaxConns: 1})
		var pid uint32
		if err := s.glance(ctx, func(ctx context.Context, c *pgxpool.Conn) error { pid = c.Conn().PgConn().PID(); return nil }); err != nil {
			t.Fatal(err)
		}
		wg.Go(func() {
			results, err := s.writeTogether(ctx, all)
			if err != nil {
				t.Error(err)
			}
			for _, r := range results {
				if r.Err != nil || r.Out != 1 {
					t.Error(r.Out, r.Err)
				}
			}
		})
		waits(t, admin, pid)
	}
	if _, err := between.Exec(ctx, `COMMIT`); err != nil {
		t.Fatal(err)
	}
	wg.Wait()
	if n := value[int64](t, admin, `SELECT count(DISTINCT xmin::text) FROM openid_rows`); n != 1 {
		t.Errorf("the rows are of %d transactions", n)
	}
}

// One that the server refuses among many costs the others a handful of transactions.
func TestARefusedBatchGoesInHalves(t *testing.T) {
	const many = 64
	admin := database(t)
	s := issuing(t, admin, Options{})
	var all []statement
	for range many {
		w, err := s.write(freshGrant())
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, statement{w.sql, w.args})
	}
	all[many/3].args[1] = []byte("too short")
	results, err := s.writeTogether(t.Context(), all)
	if err != nil {
		t.Fatal(err)
	}
	for i, r := range results {
		if (r.Err != nil) != (i == many/3) || (r.Out == 1) == (i == many/3) {
			t.Errorf("%d: %d, %v", i, r.Out, r.Err)
		}
	}
	if n := value[int64](t, admin, `SELECT count(DISTINCT xmin::text) FROM openid_rows`); n > 6 { // 32, 16, 8, 4, 2, 1
		t.Errorf("%d transactions for %d rows", n, many-1)
	}
}

// A server that refuses everything, and takes a second for it, is not asked for longer than
// somebody waits for an answer.
func TestARefusedBatchHasAnEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		asked := 0
		results := inHalves(t.Context(), 4*time.Second, make([]statement, 256), func(context.Context, []statement) ([]coalesce.Result[int64], error) {
			asked++
			time.Sleep(time.Second)
			return nil, ErrRefused.Because(&serverError{state: "23514"})
		})
		for _, r := range results {
			if !errors.Is(r.Err, ErrBusy) && !errors.Is(r.Err, ErrRefused) {
				t.Error(r.Err)
			}
		}
		if asked > 5 || len(results) != 256 {
			t.Errorf("asked %d times, %d results", asked, len(results))
		}
	})
}

// Those who write at once share a COMMIT, and a statement that is refused keeps no other from
// being stored.
func TestWhatSharesACommitStandsAlone(t *testing.T) {
	admin, ctx := database(t), t.Context()
	s := issuing(t, admin, Options{})
	var all []statement
	for range 4 {
		w, err := s.write(freshGrant())
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, statement{w.sql, w.args})
	}
	all[2].args[1] = []byte("too short") // the database has a rule against it
	if results, err := s.writeTogether(ctx, all[:2]); err != nil || results[0].Out != 1 || results[1].Out != 1 {
		t.Errorf("two: %v, %v", results, err)
	}
	if commits := value[int64](t, admin, `SELECT count(DISTINCT xmin::text) FROM openid_rows`); commits != 1 {
		t.Errorf("two rows by %d transactions", commits)
	}
	results, err := s.writeTogether(ctx, all[1:])
	if err != nil || results[0].Out != 0 || results[0].Err != nil || results[1].Err == nil || results[2].Out != 1 {
		t.Errorf("one there, one refused, one new: %v, %v", results, err)
	}
}
