package main

import (
	"encoding/json"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/penname/penname/escrow/sandbox/world"
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
	troll, neighbour := world.NewBrowser(), world.NewBrowser()
	st := &world.Case{World: tb}
	var mine, others []string
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
	ordered(t, st, "link", "link", nil)
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
