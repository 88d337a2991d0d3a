package policy

import (
	"slices"
	"strings"
	"testing"

	"github.com/penname/penname/verifier/refusal"
)

// What a lawyer reads about two bundles.
func TestChangesInSentences(t *testing.T) {
	w := newWorld(t, func(b *Bundle) {
		b.Succeed(nil)
		b.Authorities[0].Over = []string{"prosecutor"}
		b.Registry = &Registry{jwks(t, key("registry")), 7}
	})
	stalking := slices.IndexFunc(w.bundle.Offences, func(o Offence) bool { return o.ID == "stalking" })
	for name, c := range map[string]struct {
		change func(*Bundle)
		want   []string
	}{
		"a quorum": {func(b *Bundle) { b.Offences[stalking].Quorums = []TargetQuorum{{20, 3}} },
			[]string{`The quorum for Stalking involving fear of violence or serious alarm or distress (stalking) from 20 pen names on is at least 3, where it was what the rules and the threshold say.`}},
		"a step of a quorum": {func(b *Bundle) { b.Offences[stalking].Quorums = []TargetQuorum{{50, 2}} },
			[]string{`The quorum for Stalking involving fear of violence or serious alarm or distress (stalking) from 50 pen names on falls from 3 to 2.`}},
		"a quorum of thirty days": {func(b *Bundle) {
			b.Offences[stalking].Quorums = append(slices.Clone(b.Offences[stalking].Quorums), TargetQuorum{b.MaxTargets + 1, 5})
		},
			[]string{"The quorum for Stalking involving fear of violence or serious alarm or distress (stalking) from 601 pen names in 30 days on rises from 3 to 5."}},
		"a court that goes": {func(b *Bundle) { b.Authorities = b.Authorities[:1]; b.Authorities[0].Over = nil },
			[]string{"Crown Court (crown-court) may no longer annul the orders of: prosecutor.", "Public Prosecutor (prosecutor) may no longer sign."}},
		"a court's offences": {func(b *Bundle) { b.Authorities[1].OffenceClasses = []string{"stalking"} },
			[]string{"Public Prosecutor (prosecutor) may now also sign about: stalking.", "Public Prosecutor (prosecutor) may no longer sign about: threat_to_life."}},
		"a validation": {func(b *Bundle) { b.Authorities[1].ValidatedBy = []string{"crown-court"} },
			[]string{"The orders of Public Prosecutor (prosecutor) may now be validated by: crown-court.", "The orders of Public Prosecutor (prosecutor) need a validation from now on."}},
		"a rule that goes": {func(b *Bundle) { delete(b.Policies, "10-speech.cedar") },
			[]string{`Rule criticism-is-not-a-crime is gone: its title was "` + titled(t, w.bundle, "criticism-is-not-a-crime") + `".`,
				`Rule press-freedom is gone: its title was "` + titled(t, w.bundle, "press-freedom") + `".`,
				`Rule immunity-or-privilege is gone: its title was "` + titled(t, w.bundle, "immunity-or-privilege") + `".`, "Rule file 10-speech.cedar is gone."}},
		"a rule's notice": {func(b *Bundle) {
			b.Policies["90-orders.cedar"] = strings.Replace(b.Policies["90-orders.cedar"], `@notice_days("10")`, `@notice_days("3")`, 1)
		}, []string{"The number of days that a person has to object of rule production-after-notice falls from 10 to 3."}},
		"a quorum below the threshold": {func(b *Bundle) {
			b.Policies["90-orders.cedar"] = strings.Replace(b.Policies["90-orders.cedar"], `@quorum("2")`, `@quorum("1")`, 1)
		}, []string{"The quorum of rule production-under-secrecy falls from 2 to 1, but 2 are needed still."}},
		"a comment": {func(b *Bundle) {
			b.Policies["10-speech.cedar"] = strings.Replace(b.Policies["10-speech.cedar"], "// The same article:", "// Struck out:", 1) + "\n// x\n// y\n"
		}, []string{"Rule file 10-speech.cedar has a new comment: Struck out: immunities", "Rule file 10-speech.cedar has a new comment: x y", "Rule file 10-speech.cedar has no longer the comment: The same article: immunities"}},
		"two slashes in a text": {func(b *Bundle) {
			b.Policies["10-speech.cedar"] = strings.Replace(b.Policies["10-speech.cedar"], `@cure("There`, `@cure("https://x \" // There`, 1)
		}, []string{"The cure named in refusals of rule criticism-is-not-a-crime changes from "}},
		"a space": {func(b *Bundle) { b.Policies["10-speech.cedar"] += "\n" }, []string{"Rule file 10-speech.cedar is written otherwise, from "}},
		"another order": {func(b *Bundle) {
			rules := strings.SplitAfter(b.Policies["10-speech.cedar"], "};\n")
			slices.Reverse(rules)
			b.Policies["10-speech.cedar"] = strings.Join(rules, "\n")
		}, []string{"Rule file 10-speech.cedar has its rules or comments in another order."}},
		"a condition": {func(b *Bundle) {
			b.Policies["10-speech.cedar"] = strings.Replace(b.Policies["10-speech.cedar"], `contains("journalist")`, `contains("privileged")`, 1)
		}, []string{"In rule press-freedom (A journalist's pen name is protected by press freedom) the condition changes. It was\n    forbid (\n        principal,\n        action in Action::\"order\",\n        resource\n    )\n    when { context.flags.contains(\"journalist\") };\nand is\n    forbid ("}},
		"a class": {func(b *Bundle) { b.OffenceClasses[0].Emergency = false },
			[]string{"Threat to kill or to cause serious injury (class threat_to_life) can be no emergency any more."}},
		"secrecy": {func(b *Bundle) { b.MaxSecrecyDays = 400 }, []string{"The longest secrecy rises from 365 to 400 days."}},
		"an end of a key": {func(b *Bundle) { b.Authorities[1].Keys[0].Until = now.AddDate(0, 0, 1) },
			[]string{"The day until which Public Prosecutor (prosecutor) signs with key "}},
		"a key that registers platforms": {func(b *Bundle) {
			b.Registry = &Registry{Keys: jwks(t, key("registry"), key("second")), WaitingDays: 7}
		}, []string{"What signs the records of platforms changes from the set ", "What signs the records of platforms: key second, thumbprint "}},
		"a key of another court": {func(b *Bundle) {
			b.Authorities[0].Keys, b.Authorities[1].Keys = b.Authorities[1].Keys, b.Authorities[0].Keys
		}, []string{"Crown Court (crown-court) signs with key prosecutor (mark d4471ce9f10df36c) from 2025-03-02T12:00:00Z until 2027-03-02T12:00:00Z: this was the key of Public Prosecutor.", "Crown Court (crown-court) no longer signs with key court (mark ",
			"Public Prosecutor (prosecutor) signs with key court (mark ", "Public Prosecutor (prosecutor) no longer signs with key prosecutor (mark "}},
		"nothing": {func(*Bundle) {}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			next := copied(t, w.bundle)
			c.change(next)
			said := next.Changes(w.bundle)
			if len(said) != len(c.want) {
				t.Fatalf("said:\n%s", strings.Join(said, "\n"))
			}
			for i := range said {
				if !strings.HasPrefix(said[i], c.want[i]) {
					t.Errorf("said %q\nwant %q", said[i], c.want[i])
				}
			}
		})
	}
}

func titled(t *testing.T, b *Bundle, id string) string {
	i := slices.IndexFunc(b.rules, func(r rule) bool { return r.id == id })
	if i < 0 {
		t.Fatal(id)
	}
	return b.rules[i].Title
}

// copied is a bundle as a draft.
func copied(t *testing.T, b *Bundle) *Bundle {
	draft, _, err := ParseBundleDraft(b.raw, b.raw)
	if err != nil {
		t.Fatal(err)
	}
	return draft
}

// What a bundle may say and its makers hardly mean.
func TestLint(t *testing.T) {
	sound := newWorld(t, func(b *Bundle) {
		b.Succeed(nil)
		b.Authorities[0].Over = []string{"prosecutor"}
		b.Remedies = []Remedy{{Jurisdiction: "GB", What: "Appeal", To: "the appeal court", Days: 21}}
		fewer(b)
	}).bundle
	for name, c := range map[string]struct {
		change func(*Bundle)
		want   []string
	}{
		"nothing": {func(*Bundle) {}, nil},
		"a class that nobody may ask about": {func(b *Bundle) {
			b.Authorities[0].OffenceClasses = slices.DeleteFunc(slices.Clone(b.Authorities[0].OffenceClasses), func(c string) bool { return c == "terrorism" })
		}, []string{"class_without_authority", "offence_without_authority"}},
		"a class without offences": {func(b *Bundle) {
			b.Offences = slices.DeleteFunc(b.Offences, func(o Offence) bool { return o.Class == "terrorism" })
		}, []string{"class_without_offence"}},
		"an offence below its class":     {func(b *Bundle) { b.Offences[0].MaxPenaltyMonths = 6 }, []string{"offence_below_class"}},
		"an offence of no kind":          {func(b *Bundle) { b.Offences[1].Authorities = []string{"investigating_judge"} }, []string{"offence_without_authority"}},
		"more custodians than there are": {func(b *Bundle) { b.Offences[0].Quorums = []TargetQuorum{{5, 7}} }, []string{"quorum_above_custodians"}},
		"nobody can annul":               {func(b *Bundle) { b.Authorities[0].Over = nil }, []string{"no_annulment"}},
		"nobody over one": {func(b *Bundle) {
			third := b.Authorities[0]
			third.ID, third.Name, third.OrganisationID, third.Over = "third-court", "Third Court", "crown-court", nil
			third.Keys = []Key{{public(t, key("third")), third.Keys[0].From, third.Keys[0].Until}}
			b.Authorities = append(b.Authorities, third)
		}, []string{"nobody_over"}},
		"a key that ends":  {func(b *Bundle) { b.Authorities[0].Keys[0].Until = now.AddDate(0, 0, 20) }, []string{"keys_end_soon"}},
		"a key that ended": {func(b *Bundle) { b.Authorities[0].Keys[0].Until = now.AddDate(0, 0, -1) }, []string{"keys_ended"}},
		"no speech": {func(b *Bundle) {
			b.OffenceClasses = slices.DeleteFunc(b.OffenceClasses, func(c OffenceClass) bool { return c.Speech })
			b.Offences = slices.DeleteFunc(b.Offences, func(o Offence) bool { return o.Class == "insult_or_criticism" })
			b.Authorities[0].OffenceClasses = slices.DeleteFunc(b.Authorities[0].OffenceClasses, func(c string) bool { return c == "insult_or_criticism" })
		}, []string{"no_speech_class"}},
		"no freedom of the press": {func(b *Bundle) {
			text := b.Policies["10-speech.cedar"]
			b.Policies["10-speech.cedar"] = text[:strings.Index(text, "@id(\"press-freedom\")")]
		}, []string{"prohibition_missing"}},
		"less freedom of the press": {func(b *Bundle) {
			b.Policies["10-speech.cedar"] = strings.Replace(b.Policies["10-speech.cedar"], `contains("journalist")`, `contains("journalist") && context.targets > 1`, 1)
		}, []string{"prohibition_changed", "unreachable_rule"}},
		"everybody is competent for everything": {func(b *Bundle) { b.Authorities[1].OffenceClasses = b.Authorities[0].OffenceClasses }, nil},
		"no remedy":                             {func(b *Bundle) { b.Remedies[0].Jurisdiction = "FR" }, []string{"no_remedy"}},
		"two years of secrecy":                  {func(b *Bundle) { b.MaxSecrecyDays = 730 }, []string{"long_secrecy"}},
		"a notice longer than the order": {func(b *Bundle) {
			b.Policies["90-orders.cedar"] = strings.Replace(b.Policies["90-orders.cedar"], `@notice_days("10")`, `@notice_days("28")`, 1)
		}, []string{"notice_over_validity"}},
		"a rule for nobody": {func(b *Bundle) {
			b.Policies["50-nobody.cedar"] = "@id(\"never\")\n@title(\"Never\")\nforbid (principal, action, resource) when { principal.kind == \"sheriff\" };\n"
		}, []string{"unreachable_rule"}},
		"a custodian under another id": {func(b *Bundle) {
			b.Custodians[2].Organisation = "Ombudsman of the Realm"
			b.Organisations = append(b.Organisations, Organisation{"twin", "Ombudsman of the Realm"})
		}, []string{"custodian_may_request"}},
		"nobody may request": {func(b *Bundle) {
			b.Authorities = nil
			b.Organisations = slices.DeleteFunc(b.Organisations, func(o Organisation) bool {
				return !slices.ContainsFunc(b.Custodians, func(c Custodian) bool { return c.OrganisationID == o.ID })
			})
		}, []string{"class_without_authority", "no_annulment", "no_requester", "offence_without_authority", "unreachable_rule"}},
	} {
		t.Run(name, func(t *testing.T) {
			b := copied(t, sound)
			c.change(b)
			raw, err := b.Marshal()
			if err != nil {
				t.Fatal(err, cause(refusal.Of(err)))
			}
			if b, err = ParseBundle(raw); err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, f := range b.Lint(now) {
				got = append(got, f.Code)
			}
			slices.Sort(got)
			if !slices.Equal(slices.Compact(got), c.want) {
				t.Errorf("found %v, want %v\n%v", got, c.want, b.Lint(now))
			}
		})
	}
}

// fewer leaves threats, terrorism and speech, so that not every order has to be imagined.
func fewer(b *Bundle) {
	keep := []string{"threat_to_life", "threat_of_sexual_violence", "terrorism", "insult_or_criticism"}
	b.OffenceClasses = slices.DeleteFunc(b.OffenceClasses, func(c OffenceClass) bool { return !slices.Contains(keep, c.ID) })
	b.Offences = slices.DeleteFunc(b.Offences, func(o Offence) bool { return !slices.Contains(keep, o.Class) })
	for i := range b.Authorities {
		b.Authorities[i].OffenceClasses = slices.DeleteFunc(b.Authorities[i].OffenceClasses, func(c string) bool { return !slices.Contains(keep, c) })
	}
}

// A profile fills in what a draft leaves out, and nothing that it says.
func TestDraftNamesItsProfile(t *testing.T) {
	for _, name := range Profiles() {
		p, err := ProfileNamed(name)
		if err != nil {
			t.Fatal(err)
		}
		b, _, err := ParseBundleDraft([]byte(`{"profile":"`+name+`","hold_days":14}`), nil)
		if err != nil {
			t.Fatal(err)
		}
		if len(b.Offences) != len(p.Offences) || len(b.OffenceClasses) != len(p.OffenceClasses) || len(b.Policies) < len(DefaultRules()) || b.HoldDays != 14 || b.MinSecrecyDays != p.MinSecrecyDays {
			t.Error(name, len(b.Offences), len(b.OffenceClasses), len(b.Policies), b.HoldDays)
		}
		for _, o := range p.Offences {
			if !strings.HasPrefix(o.Source, "https://") {
				t.Error(name, o.ID, "has no source")
			}
		}
		own, _, err := ParseBundleDraft([]byte(`{"profile":"`+name+`","offences":[{"id":"own"}]}`), nil)
		if err != nil || len(own.Offences) != 1 {
			t.Error(name, err, "mixes a draft's own catalogue with the profile's")
		}
	}
	text := []byte("{\n\"profile\": \"atlantis\"}")
	if _, line, err := ParseBundleDraft(text, text); err == nil || line != 2 || !strings.Contains(err.Error(), "england-and-wales") {
		t.Error(line, err)
	}
}
