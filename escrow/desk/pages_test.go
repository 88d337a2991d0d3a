package desk

import (
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/penname/penname/escrow/custodian"
	"github.com/penname/penname/escrow/web/pagetest"
	"github.com/penname/penname/verifier/languages"
)

// narrow is the view of 320 pixels, in which each page holds in Welsh too: its words are longer.
var narrow = pagetest.View{Name: "400 %, in Welsh", Width: 1280, Zoom: 4}

// TestOfficersPagesInWelsh: an officer's pages hold what axe-core can tell in Welsh where the view is
// narrow, and are no wider than it.
func TestOfficersPagesInWelsh(t *testing.T) {
	b := pagetest.Open(t)
	clerk := atClerk(t, newClerkOf())
	clerk.post("/order/"+anOrderID+"/sign", url.Values{})
	of := bureauAt(t, &bureau{order: &Signed{Hash: aHash, Kind: "production", FileNumber: "TC 1", File: "order.jws", Targets: []string{"pen1a@x", "pen1b@x"}}}, time.Hour)
	of.post(officers+"/secrecy", url.Values{"order": {aHash}})
	for a, paths := range map[*at][]string{
		clerk: {"/", "/order/" + anOrderID, "/order/" + anOrderID + "/ask/kind", "/order/" + anOrderID + "/sign"},
		of:    {officers, officers + "/secrecy", officers + "/open", "/openings", "/openings/" + aFolder},
	} {
		a.into(languages.Ours, "cy")
		browser := "http://" + a.host + a.prefix
		if err := b.Go(browser + "/enter/" + a.newLink()); err != nil {
			t.Fatal(err)
		}
		if err := b.Shows("Desg"); err != nil {
			t.Fatal(err)
		}
		for _, path := range paths {
			s, err := b.Look(browser+path, narrow)
			if err != nil {
				t.Fatal(err)
			}
			for _, violation := range s.Violations {
				t.Errorf("%s: %s", path, violation)
			}
			if s.Wider > 0 {
				t.Errorf("%s: %d pixels wider than the view", path, s.Wider)
			}
			if err := b.Keep("in Welsh " + strings.ReplaceAll(path, "/", " ")); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// TestPagesBesideCases: the pages that say what waits, in their states that are rare, hold what
// axe-core can tell in every view, and are no wider than it.
func TestPagesBesideCases(t *testing.T) {
	b := pagetest.Open(t)
	f := &fake{}
	a := entered(t, f)
	browser := "http://" + a.host + a.prefix
	if err := b.Go(browser + "/enter/" + a.newLink()); err != nil {
		t.Fatal(err)
	}
	if err := b.Shows("Unlock the desk"); err != nil {
		t.Fatal(err)
	}
	a.mu.Lock()
	session := a.session
	a.mu.Unlock()
	a.cookie.Value = session // the test is in the same browser
	a.unlock()
	hold := func(state, path string) {
		t.Helper()
		for i, v := range append(slices.Clone(pagetest.Views), narrow) {
			a.into(languages.Ours, map[bool]string{false: "en", true: "cy"}[i == len(pagetest.Views)])
			s, err := b.Look(browser+path, v)
			if err != nil {
				t.Fatal(err)
			}
			for _, violation := range s.Violations {
				t.Errorf("%s, %s: %s", state, v.Name, violation)
			}
			if s.Wider > 0 {
				t.Errorf("%s, %s: %d pixels wider than the view", state, v.Name, s.Wider)
			}
			if err := b.Keep(state + ", " + v.Name); err != nil {
				t.Fatal(err)
			}
		}
	}
	hold("what to do first", "/")
	hold("a ceremony that goes on", "/ceremony")
	hold("a witness with two histories", "/witness")
	a.upload("/seat/receive", map[string]string{"share": "sealed", "bundle": "rules"})
	hold("rules to begin with", "/seat/receive")
	a.post("/seat/deputise", url.Values{"alternate": {"aldo"}})
	hold("a share to hand over", "/seat/deputise")
	f.unread, f.of = custodian.ErrOtherBundle, "Bruno"
	hold("what is not known", "/")
	hold("a seat that is not known", "/seat")
}
