package policy

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/penname/penname/verifier/refusal"
)

func TestBundleAddress(t *testing.T) {
	w := newWorld(t)
	raw, err := w.bundle.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	if w.bundle.Hash() != digest(string(raw)) {
		t.Fatal("the address is not the hash of the bytes")
	}
	if again, err := ParseBundle(raw); err != nil || again.Hash() != w.bundle.Hash() {
		t.Fatal(err)
	}
	// Any change of any byte is another bundle, or none.
	if b, err := ParseBundle(bytes.Replace(raw, []byte("Town Square"), []byte("Town Sguare"), 1)); err != nil || b.Hash() == w.bundle.Hash() {
		t.Fatal("a changed bundle has the same address")
	}
	if w.draft(t).Hash() != "" {
		t.Fatal("a bundle that was not parsed has an address")
	}
}

// Rows C05, C17, C20 of the custodians and the strictness of the rest.
func TestBundleRefused(t *testing.T) {
	w := newWorld(t)
	small := json.RawMessage(`{"alg":"EdDSA","crv":"Ed25519","kid":"small","kty":"OKP","use":"sig","x":"AQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"}`)
	for _, row := range []struct {
		name   string
		change func(*Bundle)
		want   *refusal.Error
	}{
		{"C17 threshold 0", func(b *Bundle) { b.Threshold = 0 }, ErrBundleThreshold},
		{"C17 threshold 1", func(b *Bundle) { b.Threshold = 1 }, ErrBundleThreshold},
		{"C17 threshold above n", func(b *Bundle) { b.Threshold = 4 }, ErrBundleThreshold},
		{"C17 negative threshold", func(b *Bundle) { b.Threshold = -2 }, ErrBundleThreshold},
		{"no custodians", func(b *Bundle) { b.Custodians = nil }, ErrBundleThreshold},
		{"C01 share index 0", func(b *Bundle) { b.Custodians[0].Index = 0 }, ErrBundleCustodians},
		{"share index above n", func(b *Bundle) { b.Custodians[0].Index = 4 }, ErrBundleCustodians},
		{"C05 one share index twice", func(b *Bundle) { b.Custodians[0].Index = 2 }, ErrBundleCustodians},
		{"C05 one key twice", func(b *Bundle) { b.Custodians[0].Key = public(t, w.custodians[1]) }, ErrBundleSharedKey},
		{"C05 one key under two kids", func(b *Bundle) {
			k := w.custodians[1]
			k.KeyID = "another"
			b.Custodians[0].Key = public(t, k)
		}, ErrBundleSharedKey},
		{"C05 one id twice", func(b *Bundle) { b.Custodians[0].ID = b.Custodians[1].ID }, ErrBundleNames},
		{"C20 one organisation twice", func(b *Bundle) {
			b.Custodians[0].Organisation = " law  SOCIETY "
			b.Custodians[1].Organisation = "Law Society"
		}, ErrBundleCustodians},
		{"I3 a custodian that is an authority", func(b *Bundle) { b.Custodians[0].Organisation = " " + strings.ToUpper(b.Authorities[0].Name) }, ErrBundleCustodians},
		{"witness quorum 0", func(b *Bundle) { b.Log.Quorum = 0 }, ErrBundleWitnesses},
		{"witness quorum above operators", func(b *Bundle) { b.Log.Quorum = 3 }, ErrBundleWitnesses},
		{"one witness operator twice", func(b *Bundle) { b.Log.Witnesses[0].Operator, b.Log.Quorum = "press council", 1 }, ErrBundleWitnesses},
		{"one witness key under two names", func(b *Bundle) {
			b.Log.Witnesses[0].VKey = "x" + strings.TrimPrefix(b.Log.Witnesses[1].VKey, "w")
		}, ErrBundleWitnesses},
		{"the log is its own witness", func(b *Bundle) { b.Log.Witnesses[0].VKey = b.Log.VKey }, ErrBundleWitnesses},
		{"witness over http", func(b *Bundle) { b.Log.Witnesses[0].URL = "http://w1.example" }, ErrBundleWitnesses},
		{"log without key", func(b *Bundle) { b.Log.VKey = "" }, ErrBundleOrigin},
		{"log without origin", func(b *Bundle) { b.Log.Origin = "" }, ErrBundleOrigin},
		{"registrar over http", func(b *Bundle) { b.Registrar = "http://penname.example" }, ErrBundleOrigin},
		{"registrar with a path", func(b *Bundle) { b.Registrar = "https://penname.example/x" }, ErrBundleOrigin},
		{"registrar with a password", func(b *Bundle) { b.Registrar = "https://a:b@penname.example" }, ErrBundleOrigin},
		{"issuer missing", func(b *Bundle) { b.Issuer = "" }, ErrBundleOrigin},
		{"threshold key missing", func(b *Bundle) { b.ThresholdKey = "" }, ErrBundleKey},
		{"other version", func(b *Bundle) { b.Version = 2 }, ErrBundleMalformed},
		{"no targets allowed", func(b *Bundle) { b.MaxTargets = 0 }, ErrBundleLimits},
		{"more targets than a leaf holds", func(b *Bundle) { b.MaxTargets = 901 }, ErrBundleLimits},
		{"secrecy without end", func(b *Bundle) { b.MaxSecrecyDays = 100000 }, ErrBundleLimits},
		{"warrants for ever", func(b *Bundle) { b.MaxValidityDays = 91 }, ErrBundleLimits},
		{"no offence classes", func(b *Bundle) { b.OffenceClasses = nil }, ErrBundleOffences},
		{"offence without penalty", func(b *Bundle) { b.OffenceClasses[0].MinPenaltyMonths = 0 }, ErrBundleOffences},
		{"offence twice", func(b *Bundle) { b.OffenceClasses[0].ID = b.OffenceClasses[1].ID }, ErrBundleOffences},
		{"speech that is an emergency", func(b *Bundle) { b.OffenceClasses[0].Speech = true }, ErrBundleOffences},
		{"offence with a field that no record holds", func(b *Bundle) { b.OffenceClasses[0].Fields = []string{"password"} }, ErrBundleOffences},
		{"no fields", func(b *Bundle) { b.Fields = nil }, ErrBundleOffences},
		{"Q a field in no compartment", inCompartments(func(b *Bundle) { b.Compartments[0].Fields = []string{"name"} }), ErrBundleCompartments},
		{"Q a field in two", inCompartments(func(b *Bundle) { b.Compartments[0].Fields = []string{"name", "birthdate", "email"} }), ErrBundleCompartments},
		{"Q a field that no record holds", inCompartments(func(b *Bundle) { b.Compartments[0].Fields = []string{"name", "birthdate", "password"} }), ErrBundleCompartments},
		{"Q a compartment twice", inCompartments(func(b *Bundle) { b.Compartments[1].ID = b.Compartments[0].ID }), ErrBundleCompartments},
		{"Q a compartment of nothing", inCompartments(func(b *Bundle) { b.Compartments = append(b.Compartments, Compartment{ID: "more"}) }), ErrBundleCompartments},
		{"Q a compartment with a dot", inCompartments(func(b *Bundle) { b.Compartments[0].ID = "identity.x" }), ErrBundleCompartments},
		{"Q a compartment without a name", inCompartments(func(b *Bundle) { b.Compartments[0].ID = "" }), ErrBundleCompartments},
		{"authority without key", func(b *Bundle) { b.Authorities[0].Keys = nil }, ErrBundleKey},
		{"key without period", func(b *Bundle) { b.Authorities[0].Keys[0].Until = time.Time{} }, ErrBundleKey},
		{"private key", func(b *Bundle) { b.Authorities[0].Keys[0].JWK = encode(t, w.court) }, ErrBundleKey},
		{"T14 weak key", func(b *Bundle) { b.Authorities[0].Keys[0].JWK = small }, ErrBundleKey},
		{"symmetric key", func(b *Bundle) {
			b.Custodians[0].Key = json.RawMessage(`{"k":"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA","kid":"x","kty":"oct"}`)
		}, ErrBundleKey},
		{"key without kid", func(b *Bundle) {
			k := w.custodians[0]
			k.KeyID = ""
			b.Custodians[0].Key = public(t, k)
		}, ErrBundleKey},
		{"authority competent for what is not listed", func(b *Bundle) { b.Authorities[0].OffenceClasses = []string{"gossip"} }, ErrBundleAuthority},
		{"authority of no jurisdiction", func(b *Bundle) { b.Authorities[0].Jurisdiction = "Earth" }, ErrBundleAuthority},
		{"authority twice", func(b *Bundle) { b.Authorities[1].ID = b.Authorities[0].ID }, ErrBundleNames},
		{"platform twice", func(b *Bundle) { b.Platforms[1].ID = b.Platforms[0].ID }, ErrBundleNames},
		{"platform with the issuer's key", func(b *Bundle) { b.Platforms[0].Keys = b.IssuerKeys }, ErrBundleSharedKey},
		{"platform without keys", func(b *Bundle) { b.Platforms[0].Keys = json.RawMessage(`{"keys":[]}`) }, ErrBundleKey},
		{"issuer without keys", func(b *Bundle) { b.IssuerKeys = json.RawMessage(`{}`) }, ErrBundleKey},
		{"issuer keys null", func(b *Bundle) { b.IssuerKeys = nil }, ErrBundleKey},
	} {
		t.Run(row.name, func(t *testing.T) {
			b := w.draft(t)
			b.Authorities[0].Keys = slices.Clone(b.Authorities[0].Keys)
			row.change(b)
			if _, err := b.Marshal(); refusal.Of(err) == nil || refusal.Of(err).Code != row.want.Code {
				t.Fatal(err, "want", row.want.Code)
			}
		})
	}
}

func TestBundleNotCanonical(t *testing.T) {
	w := newWorld(t)
	raw, _ := w.bundle.Marshal()
	s := string(raw)
	for name, bad := range map[string]string{
		"empty": "", "null": "null", "white space": s + "\n", "trailing": s + s, "duplicate": `{"version":1,` + s[1:],
		"unknown member": `{"aaa":1,` + s[1:], "other case": strings.Replace(s, `"version"`, `"Version"`, 1),
		"long s":          strings.Replace(s, `"version"`, `"ver`+"\u017f"+`ion"`, 1),
		"needless escape": strings.Replace(s, "Town Square", `\u0054own Square`, 1), "null list": strings.Replace(s, `"fields":["name","birthdate","address"]`, `"fields":null`, 1),
		"invalid UTF-8": strings.Replace(s, "Town Square", "\xff", 1), "1e0": strings.Replace(s, `"version":1`, `"version":1e0`, 1),
		"duplicate in a nested key": strings.Replace(s, `"kty":"OKP"`, `"kty":"OKP","kty":"OKP"`, 1),
	} {
		if bad == s {
			t.Fatal(name, "changes nothing")
		}
		if _, err := ParseBundle([]byte(bad)); refusal.Of(err) == nil || refusal.Of(err).Code != ErrBundleMalformed.Code {
			t.Error(name, err)
		}
	}
	if _, err := ParseBundle(make([]byte, maxBundleBytes+1)); refusal.Of(err).Code != ErrBundleTooLarge.Code {
		t.Error(err)
	}
}

func TestSandboxOrigins(t *testing.T) {
	for s, want := range map[string]bool{
		"https://penname.example": true, "http://127.0.0.1:8080": true, "http://localhost:1": true, "http://[::1]:1": true,
		"http://10.0.0.1": false, "http://localhost.example": false, "ftp://localhost": false, "https://": false, "": false,
		"https://penname.example/": false, "https://penname.example?x": false, "HTTPS://penname.example": false,
	} {
		if origin(s, false) != want {
			t.Error(s)
		}
	}
}

func TestRulesRefused(t *testing.T) {
	const permit = "@id(\"x\")\n@title(\"t\")\n@quorum(\"2\")\n@notice_days(\"0\")\n"
	for name, text := range map[string]string{
		"does not parse":           `permit (`,
		"no id":                    `@title("t") forbid (principal, action, resource);`,
		"no title":                 `@id("x") forbid (principal, action, resource);`,
		"id with a space":          `@id("x y") @title("t") forbid (principal, action, resource);`,
		"id twice":                 `@id("x") @title("t") forbid (principal, action, resource); @id("x") @title("t") forbid (principal, action, resource);`,
		"permit without quorum":    `@id("x") @title("t") @notice_days("0") permit (principal, action, resource);`,
		"permit without notice":    `@id("x") @title("t") @quorum("2") permit (principal, action, resource);`,
		"C17 quorum 0":             strings.Replace(permit, `"2"`, `"0"`, 1) + `permit (principal, action, resource);`,
		"C17 quorum above n":       strings.Replace(permit, `"2"`, `"4"`, 1) + `permit (principal, action, resource);`,
		"quorum 02":                strings.Replace(permit, `"2"`, `"02"`, 1) + `permit (principal, action, resource);`,
		"quorum two":               strings.Replace(permit, `"2"`, `"two"`, 1) + `permit (principal, action, resource);`,
		"notice for ever":          strings.Replace(permit, `"0"`, `"9999"`, 1) + `permit (principal, action, resource);`,
		"forbid with a quorum":     permit + `forbid (principal, action, resource);`,
		"unknown annotation":       `@id("x") @title("t") @note("n") forbid (principal, action, resource);`,
		"misspelt word":            `@id("x") @title("t") forbid (principal, action, resource) when { context.flag.contains("journalist") };`,
		"misspelt action":          `@id("x") @title("t") forbid (principal, action == Action::"produce", resource);`,
		"a number against a text":  `@id("x") @title("t") forbid (principal, action, resource) when { context.max_penalty_months == "12" };`,
		"invisible text in a rule": "@id(\"x\") @title(\"t\") forbid (principal, action, resource) when { context.deadline == \"ten\u200b_days\" };",
		"too long":                 strings.Repeat("// comment\n", 2000),
		"deep":                     `@id("x") @title("t") forbid (principal, action, resource) when { ` + strings.Repeat("(", 16000),
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := compileRules(map[string]string{"x.cedar": text}, 2, 3); err == nil {
				t.Fatal("accepted")
			}
		})
	}
	if _, err := compileRules(map[string]string{"x.cedar": permit + `permit (principal, action, resource);`}, 2, 3); err != nil {
		t.Fatal("the sound one is refused:", err)
	}
	if _, err := compileRules(nil, 2, 3); err == nil {
		t.Fatal("a bundle without rules is accepted")
	}
}

// A bundle with the rules of this release is not held against the vocabulary: they are here.
func TestOurRulesAreChecked(t *testing.T) {
	for name, text := range DefaultRules() {
		if _, err := checkedRules(name, text); err != nil {
			t.Error(err)
		}
	}
	if _, err := checkedRules("10-ours.cedar", strings.Replace(DefaultRules()["10-speech.cedar"], "context.", "context.no_such_", 1)); err == nil {
		t.Error("a word that is not in the vocabulary is accepted")
	}
}

// TestOpinionsAreSpared: a bundle says so only if it has the rule, and not in a comment or changed.
func TestOpinionsAreSpared(t *testing.T) {
	speech := DefaultRules()["10-speech.cedar"]
	for text, want := range map[string]bool{
		speech: true, strings.Replace(speech, "resource.speech ||", "", 1): false, strings.ReplaceAll(speech, "\n", "\n// "): false, strings.Replace(speech, "criticism-is-not-a-crime", "ours", 1): true,
	} {
		if b := (Bundle{Policies: map[string]string{"50-ours.cedar": text}}); b.SparesOpinions() != want {
			t.Errorf("%v: %s", !want, text)
		}
	}
}

// A lawyer must be able to read every rule: each has a comment right above it.
func TestEveryRuleHasAComment(t *testing.T) {
	rules := 0
	for name, text := range DefaultRules() {
		lines := strings.Split(text, "\n")
		for i, line := range lines {
			if !strings.HasPrefix(line, "@id(") {
				continue
			}
			rules++
			if i == 0 || !strings.HasPrefix(lines[i-1], "// ") {
				t.Errorf("%s: no comment above %s", name, line)
			}
		}
	}
	if compiled, err := compileRules(DefaultRules(), 2, 3); err != nil || len(compiled) != rules || rules == 0 {
		t.Fatal(rules, len(compiled), err)
	}
}

// Promise 8: what decides is the text in the bundle, not the one in the program.
func TestRulesCannotChangeInTheDark(t *testing.T) {
	lax := `@id("anything") @title("Anything goes") @quorum("1") @notice_days("0") permit (principal, action, resource);`
	w := newWorld(t, func(b *Bundle) { b.Policies = map[string]string{"lax.cedar": lax} })
	d := w.decide(t, func(v *Warrant) { v.OffenceClass = "insult_or_criticism" })
	if !d.Allowed || !slices.Equal(d.Rules, []string{"anything"}) {
		t.Fatal("the embedded rules were used:", d.Refusal, d.Rules)
	}
	if d.Quorum != 2 {
		t.Fatal("a rule lowered the threshold to", d.Quorum)
	}
	// What is in Go no rule switches off.
	wantRefused(t, w.decide(t, func(v *Warrant) { v.Secrecy.Ends = time.Time{} }), ErrSecrecy)
	wantRefused(t, w.decide(t, func(v *Warrant) { v.Targets[0].Evidence = digest("x") }), ErrEvidenceMismatch)
	// And a warrant for these rules is nothing under the others.
	strict := newWorld(t)
	v, evidence := w.production(t)
	wantRefused(t, Decide(Submission{Warrant: sign(t, w.court, v), Evidence: evidence}, strict.bundle, Facts{}, now), ErrWrongBundle)
}

// Cedar skips a rule that cannot be evaluated. For a forbid that would be open.
func TestRuleThatFailsRefuses(t *testing.T) {
	w := newWorld(t, func(b *Bundle) {
		b.Policies["50-overflow.cedar"] = `@id("overflow") @title("Overflows") forbid (principal, action, resource) when { context.max_penalty_months * 9223372036854775807 < 0 };`
	})
	wantRefused(t, w.decide(t), ErrRuleFailed, "overflow")
}

func TestHighestQuorumAndNoticeCount(t *testing.T) {
	w := newWorld(t, func(b *Bundle) {
		b.Policies["95-many.cedar"] = `@id("many-targets") @title("All three custodians for an address") @quorum("3") @notice_days("4")
permit (principal, action == Action::"production", resource) when { context.fields.contains("address") };`
	})
	d := w.decide(t, func(v *Warrant) { v.Fields = []string{"name", "address"} })
	if !d.Allowed || d.Quorum != 3 || d.NoticePeriod != 4*day || !slices.Equal(d.Rules, []string{"production-under-secrecy", "many-targets"}) {
		t.Fatalf("%+v", d)
	}
	if d := w.decide(t); d.Quorum != 2 {
		t.Fatalf("%+v", d)
	}
}

func TestEndorsements(t *testing.T) {
	w := newWorld(t)
	endorse := func(k jose.JSONWebKey, id, hash string) string {
		raw, err := SignEndorsement(k, id, hash, now)
		if err != nil {
			t.Fatal(err)
		}
		return raw
	}
	hash := w.bundle.Hash()
	alice, bob := endorse(w.custodians[0], "custodian-1", hash), endorse(w.custodians[1], "custodian-2", hash)
	again, _ := SignEndorsement(w.custodians[0], "custodian-1", hash, now.Add(time.Hour))
	for _, row := range []struct {
		name string
		list []string
		want *refusal.Error
	}{
		{"none", nil, ErrNotEndorsed},
		{"one", []string{alice}, ErrNotEndorsed},
		{"C05 one custodian twice", []string{alice, alice, again}, ErrNotEndorsed},
		{"two", []string{alice, bob}, nil},
		{"another bundle's", []string{alice, endorse(w.custodians[1], "custodian-2", digest("x"))}, ErrBadEndorsement},
		{"under another's name", []string{alice, endorse(w.custodians[0], "custodian-2", hash)}, ErrBadEndorsement},
		{"by a stranger", []string{alice, bob, endorse(w.court, "crown-court", hash)}, ErrBadEndorsement},
		{"a stranger with the kid", []string{alice, endorse(jose.JSONWebKey{Key: key("x").Key, KeyID: "bob"}, "custodian-2", hash)}, ErrBadEndorsement},
		{"T43 a warrant in its place", []string{alice, sign(t, w.court, Warrant{})}, ErrBadEndorsement},
	} {
		t.Run(row.name, func(t *testing.T) {
			err := w.bundle.Follows(nil, row.list)
			if row.want == nil && err != nil || row.want != nil && (refusal.Of(err) == nil || refusal.Of(err).Code != row.want.Code) {
				t.Fatal(err)
			}
		})
	}
	t.Run("a bundle that brings its own custodians", func(t *testing.T) {
		coup := newWorld(t, func(b *Bundle) {
			for i := range b.Custodians {
				b.Custodians[i].Key = public(t, key(fmt.Sprint("usurper", i)))
			}
		})
		own := []string{endorse(key("usurper0"), "custodian-1", coup.bundle.Hash()), endorse(key("usurper1"), "custodian-2", coup.bundle.Hash())}
		if err := coup.bundle.Follows(nil, own); err != nil {
			t.Fatal(err)
		}
		if err := coup.bundle.Follows(w.bundle, own); refusal.Of(err) == nil || refusal.Of(err).Code != ErrBadEndorsement.Code {
			t.Fatal("usurpers replaced the custodians:", err)
		}
		lawful := []string{endorse(w.custodians[0], "custodian-1", coup.bundle.Hash()), endorse(w.custodians[2], "custodian-3", coup.bundle.Hash())}
		if err := coup.bundle.Follows(w.bundle, lawful); err != nil {
			t.Fatal(err)
		}
	})
	// A bundle that was not parsed has no address, and nothing said of no address counts.
	payload, _ := marshal(endorsement{At: now, Custodian: "custodian-1"})
	nothing := []string{signBytes(t, w.custodians[0], endorsementFormat.Types[0], payload)}
	if err := w.draft(t).Follows(w.bundle, nothing); refusal.Of(err) == nil || refusal.Of(err).Code != ErrBadEndorsement.Code {
		t.Fatal(err)
	}
	if err := new(Bundle).Follows(nil, nil); refusal.Of(err) == nil {
		t.Fatal("an empty bundle is endorsed by nobody, and that is enough")
	}
}

// inCompartments changes a bundle that has compartments, which those of version 1
// have not.
func inCompartments(change func(*Bundle)) func(*Bundle) {
	return func(b *Bundle) {
		b.Succeed(nil)
		b.Compartments = DefaultCompartments()
		change(b)
	}
}

func TestCompartmentsOfABundle(t *testing.T) {
	b := newWorld(t).draft(t)
	inCompartments(func(*Bundle) {})(b)
	withRecipients(t, b)
	raw, err := b.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	parsed, err := ParseBundle(raw)
	if by := parsed.FieldsByCompartment(); err != nil || len(by) != 2 || len(by["contact"]) != 2 {
		t.Fatal(by, err)
	}
	b.Version, b.Number = 1, 0
	if _, err := b.Marshal(); refusal.Of(err) == nil || refusal.Of(err).Code != ErrBundleMalformed.Code {
		t.Fatal("a bundle of version 1 with compartments:", err)
	}
}
