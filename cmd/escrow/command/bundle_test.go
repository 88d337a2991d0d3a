package command

import (
	"context"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/penname/penname/policy"
	"github.com/penname/penname/policy/rehearsal"
	"github.com/penname/penname/verifier/refusal"
)

// ruleFiles are a bundle of the sandbox's profile, and one whose quorum for stalking is
// higher and that has one rule less.
func ruleFiles(t *testing.T) (old, next string) {
	p, err := policy.ProfileNamed("sandbox")
	if err != nil {
		t.Fatal(err)
	}
	b, err := rehearsal.Bundle(p)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := b.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	changed, _, err := policy.ParseBundleDraft(raw, raw)
	if err != nil {
		t.Fatal(err)
	}
	for i := range changed.Offences {
		if o := &changed.Offences[i]; o.ID == "stalking" {
			o.Quorums = []policy.TargetQuorum{{Targets: 1, Quorum: 3}}
		}
	}
	text := changed.Policies["10-speech.cedar"]
	changed.Policies["10-speech.cedar"] = text[:strings.Index(text, "@id(\"press-freedom\")")]
	changed.Succeed(b)
	after, err := changed.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	old, next = filepath.Join(dir, "bundle.json"), filepath.Join(dir, "next.json")
	for name, b := range map[string][]byte{old: raw, next: after} {
		if err := os.WriteFile(name, b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return old, next
}

func TestBundleDiffSaysWhatALawyerReads(t *testing.T) {
	old, next := ruleFiles(t)
	got := run(t, nil, "bundle", "diff", old, next)
	for _, want := range []string{
		"The number of the bundle rises from 1 to 2.\n",
		"The quorum for Stalking involving fear of violence or serious alarm or distress (stalking) rises from 2 to 3.\n",
		"Rule press-freedom is gone: its title was \"A journalist's pen name is protected by press freedom\".\n",
		"Rule immunity-or-privilege is gone: ",
	} {
		if got.code != 0 || !strings.Contains(got.out, want) {
			t.Errorf("%d, and nothing of %q in:\n%s%s", got.code, want, got.out, got.errs)
		}
	}
	var said struct{ Changes []string }
	if got := run(t, nil, "bundle", "diff", old, next, "--json"); json.Unmarshal([]byte(got.out), &said) != nil || len(said.Changes) < 4 {
		t.Error(got)
	}
	if got := run(t, nil, "bundle", "diff", old, old); got.code != 0 || got.out != "nothing changes\n" {
		t.Error(got)
	}
}

func TestBundleShowHasTheRules(t *testing.T) {
	old, _ := ruleFiles(t)
	got := run(t, nil, "bundle", "show", old)
	for _, want := range []string{
		"\nrule press-freedom forbids: A journalist's pen name is protected by press freedom (Regulation (EU) 2023/1543, Art. 12(1)(a))\n",
		"\nrule production-after-notice permits: A judicial authority may have named pen names opened, ten days after the person was told, by 2 custodians at least, after 10 days to object\n",
		"\n10-speech.cedar:\n\n// A name is never opened", `when { context.flags.contains("journalist") };`,
	} {
		if got.code != 0 || !strings.Contains(got.out, want) {
			t.Errorf("%d, and nothing of %q in:\n%s%s", got.code, want, got.out, got.errs)
		}
	}
}

func TestBundleTestFindsTheRuleThatIsGone(t *testing.T) {
	old, next := ruleFiles(t)
	if got := run(t, nil, "bundle", "test", old, "--profile", "sandbox"); got.code != 0 || !strings.Contains(got.out, "0 of them decided otherwise") {
		t.Error(got)
	}
	if got := run(t, nil, "bundle", "test", next, "--profile", "sandbox"); got.code != 1 || !strings.Contains(got.out, "NOT  The account is a reporter’s: allowed") {
		t.Error(got)
	}
	cases := filepath.Join(t.TempDir(), "cases")
	reporter := `{"title": "A reporter", "form": "any", "expect": {"refused": "warrant.refused_by_rule", "rule": "press-freedom", "article": "ECHR, Art. 10"},
		"order": {"kind": "production", "authority": "county-court", "jurisdiction": "GB", "file_number": "1", "legal_basis": "x", "offence_class": "stalking", "offence_id": "stalking",
		"offence": "x", "max_penalty_months": 120, "grounds": "x", "necessity": "x", "proportionality": "x", "flags": ["journalist"], "fields": ["name"], "deadline": "ten_days",
		"requester": {"name": "DS R. Amari", "organisation": "Thornley Police", "organisation_id": "thornley-police"}, "secrecy": {"ends": "2026-04-01T00:00:00Z", "reason": "x"}}}`
	cast := `{"organisations": [{"id": "county-court", "name": "County Court"}, {"id": "thornley-police", "name": "Thornley Police"}],
		"authorities": [{"id": "county-court", "name": "County Court", "kind": "court", "jurisdiction": "GB", "organisation_id": "county-court"}]}`
	if err := os.Mkdir(cases, 0o700); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{"reporter.json": reporter, "cast.json": cast} {
		if err := os.WriteFile(filepath.Join(cases, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if got := run(t, nil, "bundle", "test", old, "--cases", cases); got.code != 0 || !strings.Contains(got.out, "ok   A reporter: refused, warrant.refused_by_rule by rule press-freedom (ECHR, Art. 10)") {
		t.Error(got)
	}
	got := run(t, nil, "bundle", "test", next, "--cases", cases, "--json")
	var said struct {
		Cases     []triedCase
		Differing int
	}
	if got.code != 1 || json.Unmarshal([]byte(got.out), &said) != nil || said.Differing != 1 || !strings.Contains(got.errs, "bundle.cases_differ") ||
		said.Cases[0].Differs != "expected: refused, warrant.refused_by_rule by rule press-freedom; decided: allowed, quorum 3" {
		t.Error(got, said)
	}
	for _, c := range []struct{ args, says string }{
		{"bundle test " + old, "name either --profile or --cases"},
		{"bundle test --cases " + cases, "--cases needs a bundle"},
		{"bundle test --profile atlantis", "bundle.profile"},
		{"bundle test " + old + " --cases " + filepath.Dir(old), "bundle.bad_case"},
	} {
		if got := run(t, nil, strings.Fields(c.args)...); got.code == 0 || !strings.Contains(got.errs, c.says) {
			t.Error(c.args, got)
		}
	}
}

func TestBundleLintFindsWhatIsForgotten(t *testing.T) {
	old, _ := ruleFiles(t)
	got := run(t, nil, "bundle", "lint", old)
	if got.code != 1 || !strings.Contains(got.out, "class_without_authority: nobody may ask about the class stalking") || !strings.Contains(got.errs, "bundle.findings") {
		t.Error(got)
	}
}

func TestAProfileIsNoBundle(t *testing.T) {
	const profile = "../../../policy/bundles/sandbox/profile.json"
	for _, args := range []string{"bundle lint " + profile, "bundle diff " + profile + " " + profile, "bundle show " + profile} {
		if got := run(t, nil, strings.Fields(args)...); got.code != 1 || !strings.Contains(got.errs, "bundle.is_profile") {
			t.Error(args, got)
		}
	}
}

// Nothing is signed by somebody who does not say yes, nor where there is nobody to ask.
func TestNothingIsSignedUnasked(t *testing.T) {
	for _, c := range []struct {
		typed       []string // nil: there is no terminal
		yes, agrees bool
		code        string
	}{
		{[]string{"yes"}, false, true, ""}, {[]string{"y", " Yes "}, false, true, ""}, {[]string{"no"}, false, false, "custodian.not_confirmed"},
		{nil, false, false, "custodian.no_answers"}, {nil, true, true, ""},
	} {
		h := &home{program: &program{Env: Env{Stdin: strings.NewReader("yes\n"), Stderr: io.Discard}}}
		if typed := c.typed; typed != nil {
			h.Ask = func(context.Context, string) (said string, err error) {
				said, typed = typed[0], typed[1:]
				return said, nil
			}
		}
		if err := h.confirm(t.Context(), c.yes, ""); (err == nil) != c.agrees || err != nil && refusal.Of(err).Code != c.code {
			t.Errorf("%+v: %v", c, err)
		}
	}
	for _, args := range []string{"bundle endorse x", "custodian endorse x", "custodian refuse x --reason incomplete", "custodian approve x --answers -", "custodian recuse x --reason y",
		"custodian ask x --text y", "custodian away --from 2026-03-02 --until 2026-03-04"} {
		if got := run(t, []string{"no passphrase is asked for"}, strings.Fields(args)...); got.code != 1 || !strings.Contains(got.errs, "custodian.") {
			t.Error(args, got)
		}
	}
}
