package rehearsal_test

import (
	"os"
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
		stages[name] = stage(t, name)
	}
	for _, c := range orders {
		t.Run(c.Name, func(t *testing.T) { decide(t, stages[c.Profile], c) })
	}
}

// The cases beside the rules of each profile are decided as they say.
func TestCasesBesideTheRules(t *testing.T) {
	for _, name := range policy.Profiles() {
		s := stage(t, name)
		p, err := policy.ProfileNamed(name)
		if err != nil {
			t.Fatal(err)
		}
		folder, err := p.Cases()
		if err != nil {
			t.Fatal(err)
		}
		cases, _, err := rehearsal.ReadCases(folder)
		if err != nil || len(cases) < 3 {
			t.Fatal(err, len(cases))
		}
		for _, c := range cases {
			t.Run(name+"/"+c.Name, func(t *testing.T) { decide(t, s, c) })
		}
	}
}

// stage is a profile's bundle with the profile's cast.
func stage(t *testing.T, profile string) *rehearsal.Stage {
	p, err := policy.ProfileNamed(profile)
	if err != nil {
		t.Fatal(err)
	}
	folder, err := p.Cases()
	if err != nil {
		t.Fatal(err)
	}
	_, cast, err := rehearsal.ReadCases(folder)
	if err != nil {
		t.Fatal(err)
	}
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
