package main

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/penname/penname/escrow/issue"
	"github.com/penname/penname/escrow/sandbox/world"
	"github.com/penname/penname/escrow/seal"
	"github.com/penname/penname/policy"
	"github.com/penname/penname/verifier/opening"
	"github.com/penname/penname/verifier/refusal"
)

// ordered files an order of another kind about a post than that of Case.File.
func ordered(t *testing.T, st *world.Case, name, kind string, change func(warrant map[string]any)) {
	t.Helper()
	draft, err := st.Draft(name+".json", st.Post, st.Evidence, "threats-to-life", "Threats to kill", 120)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := os.ReadFile(draft)
	if err != nil {
		t.Fatal(err)
	}
	w := map[string]any{}
	if err := json.Unmarshal(raw, &w); err != nil {
		t.Fatal(err)
	}
	w["kind"], w["fields"] = kind, []string{}
	if change != nil {
		change(w)
	}
	if raw, err = json.Marshal(w); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(draft, raw, 0o600); err != nil {
		t.Fatal(err)
	}
	if st.Warrant, err = st.Sign(t.Context(), draft, "court.jwk"); err != nil {
		t.Fatal(err)
	}
	said, code := st.Escrow(t.Context(), "warrant", "file", st.Warrant, "--evidence", st.Evidence, "--exhibits", st.Exhibits(), "--server", st.Origin, "--json")
	var filed struct{ Case, State string }
	if err := json.Unmarshal([]byte(said), &filed); code != 0 || err != nil || filed.State != "recorded" {
		t.Fatal(code, said)
	}
	st.ID = filed.Case
}

// An order to link names all pen names of one person, and nobody's name: after more
// custodians than it takes to open a name, and only once the issuing side has checked it by
// itself. The requester has the list, and nobody else can read it.
func TestLinkNamesAllPenNamesOfOnePerson(t *testing.T) {
	tb := startForTest(t)
	st, mine, others := written(t, tb)
	ordered(t, st, "link", policy.Link, nil)
	for i, custodian := range []string{"alba", "bruno", "chidi"} {
		if said, code := tb.Escrow(t.Context(), st.OpenArgs()...); code == 0 || !strings.Contains(said, "warrant.quorum_not_met") {
			t.Errorf("after %d custodians: %s", i, said)
		}
		if err := st.Approve(t.Context(), custodian); err != nil {
			t.Fatal(err)
		}
	}
	if said, code := tb.Escrow(t.Context(), st.OpenArgs()...); code == 0 || !strings.Contains(said, "warrant.link_waits") {
		t.Errorf("before the issuing side answered: %s", said)
	}
	forgeries(t, tb)
	if err := tb.Service.AnswerLinks(t.Context()); err != nil {
		t.Fatal(err)
	}
	said, code := tb.Escrow(t.Context(), append(st.OpenArgs(), "--json")...)
	var opened struct {
		Targets []struct {
			Identity map[string]string
			Linked   []struct {
				PenName   string `json:"pen_name"`
				Platforms []string
			}
		}
	}
	if err := json.Unmarshal([]byte(said), &opened); code != 0 || err != nil || len(opened.Targets) != 1 {
		t.Fatal(code, said)
	}
	var linked []string
	for _, n := range opened.Targets[0].Linked {
		linked = append(linked, n.PenName)
	}
	slices.Sort(linked)
	slices.Sort(mine)
	if !slices.Equal(linked, mine) || len(opened.Targets[0].Identity) != 0 {
		t.Errorf("linked %v, want %v", opened.Targets[0], mine)
	}
	for _, secret := range append(others, "Dexter", "Crallow") {
		if strings.Contains(said, secret) {
			t.Errorf("%s is in what the requester has", secret)
		}
	}
	if l := leaves(t, tb); l["released"] != 1 || l["decided"] != 1 {
		t.Errorf("leaves: %v", l)
	}
}

// written is a case about a post of one of two people who each wrote at both platforms, with
// the pen names of that one and of the other.
func written(t *testing.T, tb *world.World) (st *world.Case, mine, others []string) {
	t.Helper()
	troll, neighbour := world.NewBrowser(), world.NewBrowser()
	st = &world.Case{World: tb}
	for i, p := range []*world.Platform{tb.Town, tb.School} {
		for browser, who := range map[*world.Browser]string{troll: "Dexter Crallow", neighbour: "Jo Hartley"} {
			if err := browser.Visit(t.Context(), p, who); err != nil {
				t.Fatal(err)
			}
			post, err := browser.Say(t.Context(), p, "I will come for you tonight.")
			if err != nil {
				t.Fatal(err)
			}
			if browser != troll {
				others = append(others, string(post.Author))
				continue
			}
			if mine = append(mine, string(post.Author)); i == 0 {
				st.Post = post
			}
		}
	}
	var err error
	if st.Evidence, err = st.SaveEvidence("evidence-threat.jws", st.Post); err != nil {
		t.Fatal(err)
	}
	return st, mine, others
}

// forged is a store in which orders are left that nobody decided.
type forged struct {
	issue.Store
	order  issue.LinkOrder
	as     issue.Person // whom a label leads to; zero: to whom it is
	looked bool         // a label was looked for
	answer []byte
	code   string
}

func (f *forged) LinkOrders(context.Context) ([]issue.LinkOrder, error) {
	return []issue.LinkOrder{f.order}, nil
}

func (f *forged) AnswerLink(_ context.Context, _ string, answer []byte, refused string) error {
	f.answer, f.code = answer, refused
	return nil
}

func (f *forged) Labelled(ctx context.Context, label string) (issue.Person, error) {
	f.looked = true
	if f.as.Label != "" {
		return f.as, nil
	}
	return f.Store.Labelled(ctx, label)
}

// forgeries takes the order that waits, which is right, and changes it in each way in which
// whoever writes the database could: the issuing side refuses each before it looks for
// anybody. Only the person whom a label leads to is found out after.
func forgeries(t *testing.T, tb *world.World) {
	t.Helper()
	waiting, err := tb.Service.Issuing.Store.LinkOrders(t.Context())
	if err != nil || len(waiting) != 1 {
		t.Fatal(waiting, err)
	}
	linker := func(f *forged, now func() time.Time) *issue.Linker {
		return &issue.Linker{
			Issuer: &issue.Issuer{Keys: tb.Service.Issuing.Keys, Store: f, Now: now},
			Since: func(context.Context, string) ([]*policy.Bundle, error) {
				return []*policy.Bundle{tb.Service.Bundle}, nil
			},
			Platforms: func() map[string][]string {
				return map[string][]string{tb.Town.ID: {tb.Town.ID}, tb.School.ID: {tb.School.ID}}
			},
		}
	}
	right := &forged{Store: tb.Service.Issuing.Store, order: waiting[0]}
	if refused, err := linker(right, tb.Clock.Now).Work(t.Context()); err != nil || refused != nil || len(right.answer) == 0 || right.code != "" {
		t.Fatalf("the order itself: %v, %v, %s", refused, err, right.code)
	}
	for name, c := range map[string]struct {
		change func(d *opening.Delivery, p *opening.Package)
		code   string
	}{
		"nobody decided":             {func(_ *opening.Delivery, p *opening.Package) { p.Decided = nil }, opening.ErrPackage.Code},
		"no leaf of a decision":      {func(_ *opening.Delivery, p *opening.Package) { p.Decided[0] = p.Recorded }, opening.ErrNotLogged.Code},
		"not cosigned":               {func(_ *opening.Delivery, p *opening.Package) { p.Decided[0].Proof = p.Recorded.Proof }, opening.ErrNotLogged.Code},
		"not recorded":               {func(_ *opening.Delivery, p *opening.Package) { p.Recorded.Proof = nil }, opening.ErrNotLogged.Code},
		"two custodians":             {func(d *opening.Delivery, _ *opening.Package) { d.Approvals = d.Approvals[:2] }, opening.ErrNotLogged.Code},
		"one custodian three times":  {func(d *opening.Delivery, _ *opening.Package) { d.Approvals = slices.Repeat(d.Approvals[:1], 3) }, opening.ErrPackage.Code},
		"the label of somebody else": {func(_ *opening.Delivery, p *opening.Package) { p.Targets[0].Label = seal.NewLabel() }, opening.ErrRecordMismatch.Code},
		"another salt":               {func(_ *opening.Delivery, p *opening.Package) { p.Salt = make([]byte, 32) }, opening.ErrNotLogged.Code},
		"another case":               {func(_ *opening.Delivery, p *opening.Package) { p.Case = seal.NewLabel() }, opening.ErrPackage.Code},
		"no target":                  {func(_ *opening.Delivery, p *opening.Package) { p.Targets = nil }, opening.ErrPackage.Code},
	} {
		var d opening.Delivery
		var p opening.Package
		if err := errors.Join(json.Unmarshal(waiting[0].Order, &d), json.Unmarshal(d.Rounds[0].Package, &p)); err != nil {
			t.Fatal(err)
		}
		c.change(&d, &p)
		if d.Rounds[0].Package, err = json.Marshal(p); err != nil {
			t.Fatal(err)
		}
		f := &forged{Store: tb.Service.Issuing.Store, order: issue.LinkOrder{Case: waiting[0].Case}}
		if f.order.Order, err = json.Marshal(d); err != nil {
			t.Fatal(err)
		}
		refused, err := linker(f, tb.Clock.Now).Work(t.Context())
		if err != nil || len(refused) != 1 || f.code != c.code || f.answer != nil || f.looked {
			t.Errorf("%s: %v, %v, %q, %d bytes, looked %v", name, refused, err, f.code, len(f.answer), f.looked)
		}
	}
	nonsense := &forged{Store: tb.Service.Issuing.Store, order: issue.LinkOrder{Case: waiting[0].Case, Order: []byte("{}")}}
	late := &forged{Store: tb.Service.Issuing.Store, order: waiting[0]}
	other := &forged{Store: tb.Service.Issuing.Store, order: waiting[0], as: issue.Person{ID: [16]byte{1}, Label: seal.NewLabel()}}
	for _, c := range []struct {
		of   *forged
		now  func() time.Time
		want error
	}{
		{nonsense, tb.Clock.Now, opening.ErrPackage},
		{late, func() time.Time { return tb.Clock.Now().AddDate(1, 0, 0) }, policy.ErrExpired},
		{other, tb.Clock.Now, issue.ErrLinkOther},
	} {
		if _, err := linker(c.of, c.now).Work(t.Context()); err != nil || c.of.code != refusal.Of(c.want).Code || c.of.answer != nil {
			t.Errorf("%q, want %v: %v", c.of.code, c.want, err)
		}
	}
}

// An order that suspends a pen name at one platform, decided by custodians without any share:
// nobody signs in there by it, somebody else does, and so does the same person elsewhere. When
// its court takes it back it is over.
func TestSuspensionFromTheOrderToTheSignIn(t *testing.T) {
	tb := startForTest(t)
	st, _, _ := written(t, tb)
	signsIn := func(p *world.Platform, who string) error { return world.NewBrowser().Visit(t.Context(), p, who) }
	ordered(t, st, "suspension", policy.Suspension, func(w map[string]any) {
		delete(w["requester"].(map[string]any), "delivery_key")
		w["secrecy"] = map[string]any{"ends": tb.Clock.Now().AddDate(0, 0, -1).UTC().Truncate(24 * time.Hour), "reason": ""}
	})
	for _, custodian := range []string{"alba", "bruno"} {
		if err := signsIn(tb.Town, "Dexter Crallow"); err != nil {
			t.Fatalf("before %s decided: %v", custodian, err)
		}
		if err := st.Approve(t.Context(), custodian); err != nil {
			t.Fatal(err)
		}
	}
	if err := signsIn(tb.Town, "Dexter Crallow"); err == nil || !strings.Contains(err.Error(), "You cannot sign in to") {
		t.Errorf("suspended: %v", err)
	}
	for _, c := range []struct {
		at  *world.Platform
		who string
	}{{tb.School, "Dexter Crallow"}, {tb.Town, "Jo Hartley"}} {
		if err := signsIn(c.at, c.who); err != nil {
			t.Errorf("%s at %s: %v", c.who, c.at.ID, err)
		}
	}
	renews := func() error { return tb.Town.Renew(t.Context(), st.Post.Author) }
	if err := renews(); err != nil {
		t.Fatalf("before the job: %v", err)
	}
	if err := tb.Service.CarryOutSuspensions(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := renews(); err == nil {
		t.Error("the sign-in is renewed")
	}
	// Its person is told, and then its court takes it back.
	if noticed, err := tb.Service.Registrar.Notify(t.Context()); noticed != 1 || err != nil {
		t.Fatal(noticed, err)
	}
	me := world.NewBrowser()
	if err := me.Enrol(t.Context(), tb.Origin, "Dexter Crallow"); err != nil {
		t.Fatal(err)
	}
	if err := me.Open(t.Context(), tb.Origin+"/me"); err != nil || !strings.Contains(me.Page.Text(), "Thornley County Court") || !strings.Contains(me.Page.Text(), "was suspended") {
		t.Errorf("%v: %s", err, me.Page.Text())
	}
	signed := tb.Path("withdrawal.jws")
	if said, code := tb.Escrow(t.Context(), "warrant", "withdraw", st.Warrant, "--grounds", "The court has heard him.", "--key", tb.Path("court.jwk"), "--bundle", tb.Path("bundle.json"), "--out", signed); code != 0 {
		t.Fatal(said)
	}
	if said, code := tb.Escrow(t.Context(), "warrant", "file", signed, "--server", tb.Origin); code != 0 {
		t.Fatal(said)
	}
	if err := signsIn(tb.Town, "Dexter Crallow"); err != nil {
		t.Errorf("after it was taken back: %v", err)
	}
	leaves(t, tb) // which audits the log
}
