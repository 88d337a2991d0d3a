package policy

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
)

// Issue 10: a custodian could not see what they endorse. Whatever changes in a bundle is
// seen in its lines, each on one line.
func TestFoundIssue10WhatChangesIsShown(t *testing.T) {
	w := newWorld(t, func(b *Bundle) {
		b.Succeed(nil)
		b.Number, b.Predecessor, b.Compartments = 2, strings.Repeat("a", 64), DefaultCompartments()
		entry := int64(17)
		b.Authorities[0].Over, b.Authorities[1].ValidatedBy = []string{"prosecutor"}, []string{"crown-court"}
		b.Custodians[0].Role, b.Custodians[0].Alternates = "judge", []Alternate{alternate(t, "aldo", b.Custodians[0])}
		b.Required = []Required{{OffenceClasses: []string{b.OffenceClasses[0].ID}, Offences: []string{"stalking"}, Role: "judge", Organisations: 2}}
		b.Programs = []Program{{"escrow", "v1.4.0", "linux/amd64", strings.Repeat("c", 64)}}
		b.LeafFacets, b.SmallCount = []string{"offence"}, 7
		b.Offences = DefaultOffences()
		b.Offences[0].Compartments = []string{"identity", "contact"}
		b.Stops = []Stop{{Case: &entry}, {Authority: "prosecutor"}, {Platform: "school-forum"}}
		b.Registry = &Registry{jwks(t, key("registry")), 7}
		b.Reviewers = []Reviewer{{"rita", "Rita Ashgrove", public(t, key("rita"))}, {"sami", "Sami Tollgate", public(t, key("sami"))}}
	})
	var whole any
	if err := json.Unmarshal(w.bundle.raw, &whole); err != nil {
		t.Fatal(err)
	}
	lines, tried := w.bundle.Lines(), 0
	if slices.ContainsFunc(lines, func(l string) bool { return strings.Contains(l, "\n") }) {
		t.Error("two lines in one")
	}
	// Marks are of the bytes, which another encoder writes otherwise: compare like with like.
	again, err := json.Marshal(whole)
	if err != nil {
		t.Fatal(err)
	}
	same := &Bundle{hash: w.bundle.hash}
	if err := json.Unmarshal(again, same); err != nil || len(same.Changes(w.bundle)) != 0 {
		t.Fatal(err, same.Changes(w.bundle))
	}
	var walk func(place string, v any, set func(any))
	walk = func(place string, v any, set func(any)) {
		var other any
		switch v := v.(type) {
		case map[string]any:
			for name := range v {
				walk(place+"/"+name, v[name], func(x any) { v[name] = x })
			}
			return
		case []any:
			for i := range v {
				walk(place+"/"+strings.Repeat("i", i), v[i], func(x any) { v[i] = x })
			}
			return
		case string:
			other = v + "x"
			if strings.HasSuffix(place, "/from") || strings.HasSuffix(place, "/until") {
				other = "2031-01-01T00:00:00Z"
			}
		case float64:
			other = v + 1
		case bool:
			other = !v
		}
		set(other)
		defer set(v)
		raw, err := json.Marshal(whole)
		if err != nil {
			t.Fatal(err)
		}
		changed := &Bundle{hash: w.bundle.hash}
		if err := json.Unmarshal(raw, changed); err != nil {
			t.Fatal(place, err)
		}
		if tried++; len(changed.Changes(w.bundle)) == 0 || slices.Equal(changed.Lines(), same.Lines()) {
			t.Error(place, "changes, and nothing shows it")
		}
	}
	walk("", whole, nil)
	if tried < 100 {
		t.Errorf("only %d changes were tried", tried)
	}
}

// The keys of platforms, and those that register them, are called the same in rules, in
// records and in the files of who made them.
func TestLinesNameKeysAlike(t *testing.T) {
	w := newWorld(t, func(b *Bundle) {
		b.Succeed(nil)
		b.Compartments, b.Registry = DefaultCompartments(), &Registry{jwks(t, key("registry")), 7}
		b.Platforms = []Platform{{"town-square", "Town Square", jwks(t, key("town"))}}
	})
	r := &PlatformRecord{Keys: jwks(t, key("town"))}
	if err := r.compileKeys(); err != nil {
		t.Fatal(err)
	}
	rules, record := strings.Join(w.bundle.Lines(), "\n"), strings.Join(r.Lines(), "\n")
	print, err := r.keys[0].Thumbprint()
	if err != nil {
		t.Fatal(err)
	}
	if said := "key " + r.keys[0].KeyID + ", thumbprint " + print; !strings.Contains(rules, said) || !strings.Contains(record, said) {
		t.Errorf("%s is not in both:\n%s\n%s", said, rules, record)
	}
	if !strings.Contains(rules, "its evidence counts at once") || !strings.Contains(rules, "waits 7 days until its evidence counts in a new case: one that was registered under other rules, too") {
		t.Error(rules)
	}
}
