package rehearsal_test

import (
	"flag"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/penname/penname/policy"
	"github.com/penname/penname/policy/rehearsal"
)

// Orders made from the forms that courts and authorities use, each with its right decision
// and the article that it rests on.
func TestOrdersFromTheForms(t *testing.T) {
	orders, _, err := rehearsal.ReadCases(os.DirFS("../testdata/orders"))
	if err != nil {
		t.Fatal(err)
	}
	if len(orders) < 24 {
		t.Fatalf("%d orders", len(orders))
	}
	stages := make(map[string]*rehearsal.Stage)
	for _, name := range policy.Profiles() {
		p, _, cast := profile(t, name)
		stages[name] = stage(t, p, cast)
	}
	for _, c := range orders {
		t.Run(c.Name, func(t *testing.T) { decide(t, stages[c.Profile], c) })
	}
}

// The cases beside the rules of each profile are decided as they say.
func TestCasesBesideTheRules(t *testing.T) {
	for _, name := range policy.Profiles() {
		p, cases, cast := profile(t, name)
		s := stage(t, p, cast)
		if len(cases) < 3 {
			t.Fatal(len(cases))
		}
		for _, c := range cases {
			t.Run(name+"/"+c.Name, func(t *testing.T) { decide(t, s, c) })
		}
	}
}

// A bundle's own parties count before those of a cast, and one that has the name of a party
// of the cast under another id can be tried as well.
func TestBundleHasPartiesOfTheCast(t *testing.T) {
	p, cases, cast := profile(t, "england-and-wales")
	plain, err := rehearsal.Bundle(p)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := plain.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	draft, _, err := policy.ParseBundleDraft(raw, raw)
	if err != nil {
		t.Fatal(err)
	}
	draft.Organisations = append(draft.Organisations, policy.Organisation{ID: "met", Name: "metropolitan police"}, policy.Organisation{ID: "crown-court", Name: "The Crown Court"})
	if raw, err = draft.Marshal(); err != nil {
		t.Fatal(err)
	}
	b, err := policy.ParseBundle(raw)
	if err != nil {
		t.Fatal(err)
	}
	s, err := rehearsal.New(b, cast)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range cases {
		decide(t, s, c)
	}
}

// profile reads a profile, and the cases and the cast beside its rules.
func profile(t *testing.T, name string) (*policy.Profile, []rehearsal.Case, rehearsal.Cast) {
	p, err := policy.ProfileNamed(name)
	if err != nil {
		t.Fatal(err)
	}
	folder, err := p.Cases()
	if err != nil {
		t.Fatal(err)
	}
	cases, cast, err := rehearsal.ReadCases(folder)
	if err != nil {
		t.Fatal(err)
	}
	return p, cases, cast
}

// stage is a profile's bundle with a cast.
func stage(t *testing.T, p *policy.Profile, cast rehearsal.Cast) *rehearsal.Stage {
	b, err := rehearsal.Bundle(p)
	if err != nil {
		t.Fatal(err)
	}
	s, err := rehearsal.New(b, cast)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func decide(t *testing.T, s *rehearsal.Stage, c rehearsal.Case) {
	d, err := s.Decide(c)
	if err != nil {
		t.Fatal(err)
	}
	if said := c.Expect.Differs(d, 2); said != "" {
		t.Error(said)
	}
}

var update = flag.Bool("update", false, "write the table of deploy/orders.md")

// The page that people read lists every order with the decision that it gets.
func TestOrdersPage(t *testing.T) {
	const page = "../../deploy/orders.md"
	text, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	const head = "| order | made from | decision | because |\n|---|---|---|---|\n"
	before, _, found := strings.Cut(string(text), head)
	if !found {
		t.Fatal("the page has no table")
	}
	var rows strings.Builder
	for _, c := range all(t) {
		fmt.Fprintf(&rows, "| %s | %s | %s | %s |\n", c.Title, c.Form, inWords(c.Expect), c.Expect.Article)
	}
	for _, name := range policy.Profiles() {
		p, err := policy.ProfileNamed(name)
		if err != nil {
			t.Fatal(err)
		}
		if !regexp.MustCompile("(?m)^\\| `" + name + "` \\|.*\\| " + fmt.Sprint(len(p.Offences)) + " \\|$").MatchString(before) {
			t.Errorf("the page does not say that %s has %d offences", name, len(p.Offences))
		}
	}
	want := before + head + rows.String()
	if *update {
		if err := os.WriteFile(page, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	} else if string(text) != want {
		t.Error("deploy/orders.md does not list the orders as they are decided: go test ./policy/rehearsal -run TestOrdersPage -update")
	}
}

// inWords is a decision for the page: the code where it is refused.
func inWords(e rehearsal.Expected) string {
	switch {
	case e.Rule != "":
		return "refused by the rule `" + e.Rule + "`"
	case e.Refused != "":
		return "refused: `" + e.Refused + "`"
	case e.Held:
		return "held: all custodians"
	case e.Quorum == 0:
		return "taken; no decision needed"
	case e.Asked != "":
		return fmt.Sprintf("%d custodians, who are asked about “%s”", e.Quorum, e.Asked)
	case e.NoticeDays > 0:
		return fmt.Sprintf("%d custodians, after %d days", e.Quorum, e.NoticeDays)
	}
	return fmt.Sprintf("%d custodians", e.Quorum)
}

// all are the orders of the test data and the cases of the real profiles.
func all(t *testing.T) []rehearsal.Case {
	cases, _, err := rehearsal.ReadCases(os.DirFS("../testdata/orders"))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range policy.Profiles() {
		beside, _, err := rehearsal.ReadCases(os.DirFS("../bundles/" + name + "/cases"))
		if err != nil {
			t.Fatal(err)
		}
		if name != "sandbox" {
			cases = append(cases, beside...)
		}
	}
	slices.SortFunc(cases, func(a, b rehearsal.Case) int { return strings.Compare(a.Name, b.Name) })
	return cases
}

// Each rule that protects somebody has a case beside it: without the rule, it is decided
// otherwise. Three only say again what is refused before any rule is asked: of those, as of
// all, the linter finds that they are missing.
func TestNoProtectingRuleGoesUnseen(t *testing.T) {
	before := []string{"only-listed-offences", "offence-is-serious-enough", "custodians-do-not-request"}
	for _, name := range policy.Profiles() {
		p, cases, cast := profile(t, name)
		for file, text := range p.Policies {
			rules := strings.SplitAfter(text, "\n};\n")
			for i, rule := range rules {
				id := regexp.MustCompile(`@id\("(.*)"\)`).FindStringSubmatch(rule)
				if !strings.Contains(rule, "\nforbid (") || slices.Contains(before, id[1]) {
					continue
				}
				p.Policies[file] = strings.Join(slices.Delete(slices.Clone(rules), i, i+1), "") + "// nothing"
				if !differs(t, p, cases, cast) {
					t.Errorf("%s: no case misses %s", name, id[1])
				}
			}
			p.Policies[file] = text
		}
	}
}

// differs reports whether a case is decided otherwise than expected under a profile.
func differs(t *testing.T, p *policy.Profile, cases []rehearsal.Case, cast rehearsal.Cast) bool {
	s := stage(t, p, cast)
	return slices.ContainsFunc(cases, func(c rehearsal.Case) bool {
		d, err := s.Decide(c)
		return err == nil && c.Expect.Differs(d, 2) != ""
	})
}
