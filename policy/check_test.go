package policy

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/penname/penname/verifier/refusal"
)

// checkTellsBefore: what filing refuses, a check of the signed warrant has found, with that
// code, whatever else it found. What it allows has no fault, but that somebody must be told first.
func checkTellsBefore(t testing.TB, s Submission, b *Bundle, known Facts, at time.Time, filed Decision) {
	t.Helper()
	given := Given{Evidence: append([]string{}, s.Evidence...), Platforms: known.Platforms, Countersigned: s.Countersigned, Revocation: s.Revocation}
	if known.Earlier != nil {
		given.Earlier = known.Earlier.Warrant
	}
	c := b.CheckSigned(s.Warrant, given, at)
	has := func(want *refusal.Error) bool {
		return slices.ContainsFunc(c.Faults, func(f Fault) bool { return want.Is(f.Error) })
	}
	switch {
	case filed.Refusal == nil:
		for _, f := range c.Faults {
			ofOne := slices.ContainsFunc(filed.Targets, func(d TargetDecision) bool { return d.Refusal != nil })
			if !ErrExpiresFirst.Is(f.Error) && !ofOne {
				t.Errorf("filing allows what the check refuses: %v at %s, because %v", f.Error, f.At, f.Unwrap())
			}
		}
	case ErrNoEarlier.Is(filed.Refusal) && known.Earlier == nil: // the registrar alone knows
	case ErrKeyStolen.Is(filed.Refusal) && known.Earlier != nil: // likewise, which leaf came first
	case ErrSecrecy.Is(filed.Refusal) && known.Earlier != nil: // likewise, the rules of the day of the earlier one
	case ErrEarlierKind.Is(filed.Refusal) && has(ErrEarlierAuthority): // of a validation, whether it counts is told
	case ErrNoEvidence.Is(filed.Refusal) && has(ErrEvidenceMismatch): // a digest that is named twice
	case !has(filed.Refusal):
		t.Errorf("filing refuses %v, and the check found %v", filed.Refusal, c.Faults)
	}
}

// Codes of the intake of warrants that no check of a draft can find, and why.
var notOfADraft = map[string]string{
	"warrant.under_objection":            "it is of a case that is recorded",
	"warrant.unsigned":                   "of a signed one: TestCheckOfASignedWarrant",
	"warrant.bad_signature":              "of a signed one: TestCheckOfASignedWarrant",
	"warrant.malformed":                  "of a signed one; of a draft it is warrant.bad_draft",
	"warrant.countersignature":           "of a signed one: every filing in TestOrdersUnderTheCatalogue and its neighbours is checked too",
	"warrant.not_joint":                  "likewise",
	"warrant.not_validated":              "likewise; of a draft the command says who has to sign with it",
	"warrant.certificate_header":         "of a certificate, which is checked with the signature",
	"warrant.certificate_not_registered": "likewise",
	"warrant.signing_time":               "likewise",
	"warrant.certificate_not_valid":      "likewise",
	"warrant.certificate_expired":        "likewise",
	"warrant.revocation_list":            "likewise",
	"warrant.certificate_revoked":        "likewise",
	"warrant.revocation_unknown":         "likewise",
	"warrant.inquiry":                    "of what is asked about a case",
	"warrant.stopped":                    "of a case that is recorded",
	"warrant.platform_too_new":           "of the registry: TestEvidenceIsJudgedByTheRegistry",
	"warrant.platform_key_too_new":       "likewise",
	"warrant.platform_key_stolen":        "likewise",
	"warrant.platform_retired":           "likewise",
	"warrant.platform_stopped":           "likewise",
	"warrant.rule_failed":                "of a bundle that has a broken rule: TestRuleThatFails and its neighbours go by the same code",
}

// TestCheckFindsEveryCode: each code for which filing can refuse what a draft says is found in
// a draft, before any signature.
func TestCheckFindsEveryCode(t *testing.T) {
	w, found := fifth(t, narrowed), make(map[string]bool)
	check := func(v Warrant, given Given, at time.Time) {
		for _, f := range w.bundle.Check(v, given, at).Faults {
			found[f.Code] = true
		}
	}
	for _, m := range mutations {
		v, evidence := w.production(t)
		m.change(&v)
		check(v, Given{Key: &w.court, Evidence: evidence}, now)
	}
	for _, row := range orderRows {
		f := w.filing(t)
		for _, change := range row.refused {
			change(f)
		}
		check(f.Warrant, Given{Key: &f.by, Evidence: f.evidence}, f.at)
	}
	v, evidence := w.production(t)
	described := v
	described.Targets = []Target{v.Targets[0]}
	described.Targets[0].Descriptions = map[string]string{digest("x"): "A picture."}
	check(described, Given{Evidence: evidence}, now)
	first := v
	first.Secrecy.Ends, first.Expiry = v.IssuedAt, now.AddDate(0, 0, 9)
	check(first, Given{}, now)
	earlier := sign(t, w.court, v)
	hash := Hash(earlier)
	for _, kind := range []string{Withdrawal, Extension, Validation} {
		about := w.about(kind, fmt.Sprintf("%x", hash), "crown-court")
		about.Targets = []Target{{Pseudonym: other, Platform: square, Evidence: digest("x")}}
		check(about, Given{Earlier: earlier}, now)
		about.Authority = "magistrates"
		check(about, Given{Earlier: earlier}, now)
		check(about, Given{Earlier: sign(t, w.court, described)}, now)
	}
	again := v
	again.Kind, again.Earlier = Redelivery, digest(earlier)
	check(again, Given{Earlier: earlier}, now)
	kept := v
	kept.Kind, kept.Expiry = Preservation, now.AddDate(0, 0, 14)
	preserved := sign(t, w.court, kept)
	extends := w.about(Extension, digest(preserved), "crown-court", func(e *Warrant) { e.Targets, e.Expiry = v.Targets, now.AddDate(0, 0, 80) })
	check(extends, Given{Earlier: preserved}, now)
	unreadable := v
	unreadable.Grounds = "Threats\u202e."
	check(unreadable, Given{}, now)
	if _, faults := ReadDraft(bytes.Repeat([]byte(" "), 2<<20)); len(faults) == 1 {
		found[faults[0].Code] = true
	}

	for _, file := range []string{"errors.go", "platforms.go", "check.go"} {
		source, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range regexp.MustCompile(`refusal\.New\([A-Za-z.]+,\s*"(warrant\.[a-z_]+)"`).FindAllStringSubmatch(string(source), -1) {
			if code := m[1]; found[code] == (notOfADraft[code] != "") {
				t.Errorf("%s: found %v, and said why it cannot be: %q", code, found[code], notOfADraft[code])
			}
		}
	}
}

// All that is wrong is said at once, with the line and the character at which it stands, or
// at which it should.
func TestCheckSaysAllAtOnceAndWhere(t *testing.T) {
	w := fifth(t)
	v, _ := w.production(t)
	v.Grounds, v.MaxPenaltyMonths, v.Fields, v.Jointly = "", 61, []string{"password"}, []string{"peoples-court"}
	v.Necessity = "No other\u202e lead."
	v.Targets[0].Role = "accomplice"
	text, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	draft, faults := ReadDraft(text)
	if len(faults) > 0 {
		t.Fatal(faults[0], faults[0].Unwrap())
	}
	c := w.bundle.Check(*draft, Given{}, now)
	Locate(text, c.Faults)
	lines := strings.Split(string(text), "\n")
	var got []string
	for _, f := range c.Faults {
		line := []rune(lines[f.Line-1])
		got = append(got, fmt.Sprintf("%s %s %s", f.Code, f.At, strings.TrimRight(string(line[f.Character-1:]), ",[")))
	}
	want := []string{
		`warrant.bad_draft /necessity "No other` + "\u202e" + ` lead."`,
		`warrant.reasons_missing /grounds ""`,
		`warrant.jointly /jointly `,
		`warrant.penalty /max_penalty_months 61`,
		`warrant.role /targets/0/role "accomplice"`,
		`warrant.fields /fields `,
	}
	if !slices.Equal(got, want) {
		t.Errorf("found\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	if !slices.Contains(c.NotChecked, "the evidence: name it with --evidence") {
		t.Error("what was not checked is not said:", c.NotChecked)
	}

	// Members of the wrong form, or of none, each.
	_, faults = ReadDraft([]byte("{\n \"kind\": 7,\n \"grund\": \"x\",\n \"targets\": [{\"pseudonym\": \"pen1\", \"rolle\": \"x\"}],\n \"fields\": \"name\"\n}"))
	got = nil
	for _, f := range faults {
		got = append(got, fmt.Sprintf("%d:%d %s", f.Line, f.Character, f.At))
	}
	if want := []string{"2:10 /kind", "3:11 /grund", "4:45 /targets/0/rolle", "5:12 /fields"}; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
	if _, faults := ReadDraft([]byte("{\n \"kind\": \"production\"\n \"fields\": []}")); len(faults) != 1 || faults[0].Line != 3 {
		t.Errorf("%+v", faults)
	}
}

// Each piece of evidence that is not there, or is not good, is named.
func TestCheckNamesEachPieceOfEvidence(t *testing.T) {
	w := fifth(t)
	f := w.filing(t)
	addTarget(t, f)
	stranger := w.evidence(t, square, "somebody else", 9, now.AddDate(0, 0, -3))
	f.Targets[0].Further = []string{digest("not there"), digest(stranger)}
	c := w.bundle.Check(f.Warrant, Given{Evidence: append(f.evidence, stranger)}, now)
	got := make(map[string]string)
	for _, f := range c.Faults {
		got[f.At] = f.Code
	}
	if len(got) != 2 || got["/targets/0/further/0"] != ErrNoEvidence.Code || got["/targets/0/further/1"] != ErrEvidenceMismatch.Code {
		t.Errorf("%v", got)
	}
	f.Targets[0].Further = nil
	if c = w.bundle.Check(f.Warrant, Given{Evidence: f.evidence}, now); len(c.Faults) != 0 || len(c.Exhibits) == 0 || c.Quorum != 2 {
		t.Errorf("%+v", c)
	}
}

// FOUND: an order that is over before the person had their days to object could be recorded,
// and never approved.
func TestAnOrderOutlastsTheDaysToObject(t *testing.T) {
	w := fifth(t)
	for days, want := range map[int]bool{9: true, 10: true, 11: false, 30: false} {
		f := w.filing(t)
		noSecrecy(f)
		f.IssuedAt, f.Expiry = now, now.AddDate(0, 0, days)
		f.Secrecy.Ends = now
		c := w.bundle.Check(f.Warrant, Given{Key: &f.by, Evidence: f.evidence}, now)
		if slices.ContainsFunc(c.Faults, func(f Fault) bool { return ErrExpiresFirst.Is(f.Error) && f.At == "/expiry" }) != want || c.NoticePeriod != 10*day {
			t.Errorf("%d days: %+v", days, c)
		}
	}
}

// Of a signed one the signature is checked as well, and the rest all the same.
func TestCheckOfASignedWarrant(t *testing.T) {
	w := fifth(t)
	v, evidence := w.production(t)
	good := sign(t, w.court, v)
	thief := key("thief")
	thief.KeyID = w.court.KeyID
	v.Fields = []string{"password"}
	for name, c := range map[string]struct {
		raw  string
		want []*refusal.Error
	}{
		"good":              {good, nil},
		"no signature":      {"{}", []*refusal.Error{ErrUnsigned}},
		"another signature": {sign(t, thief, v), []*refusal.Error{ErrBadSignature, ErrFields}},
		"another key":       {sign(t, w.prosecutor, v), []*refusal.Error{ErrSignerKey, ErrFields}},
	} {
		got := w.bundle.CheckSigned(c.raw, Given{Evidence: evidence}, now).Faults
		same := slices.EqualFunc(got, c.want, func(f Fault, e *refusal.Error) bool { return e.Is(f.Error) })
		if !same {
			t.Errorf("%s: %v", name, got)
		}
	}
	if Payload("{}") != nil || !json.Valid(Payload(good)) {
		t.Error("its payload")
	}
}
