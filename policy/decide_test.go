package policy

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/penname/penname/verifier/refusal"
	"github.com/penname/penname/verifier/token"
)

func TestAllowedProduction(t *testing.T) {
	w := newWorld(t)
	d := w.decide(t)
	if !d.Allowed || d.Refusal != nil || !d.Opens || d.Quorum != 2 || d.NoticePeriod != 0 {
		t.Fatalf("%+v because %v", d, cause(d.Refusal))
	}
	if !slices.Equal(d.Rules, []string{"production-under-secrecy"}) || len(d.Targets) != 1 || d.Targets[0].Token.Subject != pseudonym(t, "troll") {
		t.Fatalf("%+v", d)
	}
	if d.Authority.ID != "crown-court" || d.Warrant.FileNumber != "T20260017" || d.WarrantHash == [32]byte{} {
		t.Fatalf("%+v", d)
	}
}

// The teacher: a warrant that is signed, evidenced and dated as it should be,
// against somebody who criticised school cuts.
func TestCriticismIsNotACrime(t *testing.T) {
	w := newWorld(t)
	wantRefused(t, w.decide(t, func(v *Warrant) { v.OffenceClass = "insult_or_criticism" }),
		ErrRefusedByRule, "criticism-is-not-a-crime")
	wantRefused(t, w.decide(t, func(v *Warrant) { v.MaxPenaltyMonths = 0 }),
		ErrRefusedByRule, "criticism-is-not-a-crime", "offence-is-serious-enough")
	// There is no class for it at all.
	wantRefused(t, w.decide(t, func(v *Warrant) { v.OffenceClass = "criticism" }), ErrRefusedByRule, "only-listed-offences")
	// Nor may her record be kept for later.
	wantRefused(t, w.decide(t, func(v *Warrant) {
		v.Kind, v.OffenceClass, v.Fields, v.Requester.DeliveryKey = Preservation, "insult_or_criticism", nil, ""
	}), ErrRefusedByRule, "criticism-is-not-a-crime")
}

// Each row changes one thing of the allowed warrant, and names the refusal.
var mutations = []struct {
	name   string
	change func(*Warrant)
	want   *refusal.Error
	rules  []string
}{
	{"L02 unknown authority", func(v *Warrant) { v.Authority = "peoples-court" }, ErrUnknownAuthority, nil},
	{"L02 another authority's name under this key", func(v *Warrant) { v.Authority = "prosecutor" }, ErrSignerKey, nil},
	{"L03 key expired when it signed", func(v *Warrant) { v.IssuedAt = now.AddDate(2, 0, 0) }, ErrSignerKey, nil},
	{"L03 key not yet valid when it signed", func(v *Warrant) { v.IssuedAt = now.AddDate(-2, 0, 0) }, ErrSignerKey, nil},
	{"wrong audience", func(v *Warrant) { v.Audience = "https://other.example" }, ErrWrongAudience, nil},
	{"wrong bundle", func(v *Warrant) { v.Bundle = digest("another") }, ErrWrongBundle, nil},
	{"no bundle", func(v *Warrant) { v.Bundle = "" }, ErrWrongBundle, nil},
	{"unknown kind", func(v *Warrant) { v.Kind = "wiretap" }, ErrUnknownKind, nil},
	{"kind in another case", func(v *Warrant) { v.Kind = "Production" }, ErrUnknownKind, nil},
	{"L11 expired", func(v *Warrant) { v.Expiry = now }, ErrExpired, nil},
	{"L11 from the future", func(v *Warrant) { v.IssuedAt = now.Add(clockSkew + time.Second) }, ErrNotYetValid, nil},
	{"L11 valid for too long", func(v *Warrant) { v.Expiry = v.IssuedAt.AddDate(0, 0, 31) }, ErrValidity, nil},
	{"L11 expires before it is issued", func(v *Warrant) { v.IssuedAt, v.Expiry = now.Add(time.Minute), now.Add(30*time.Second) }, ErrValidity, nil},
	{"L26 no grounds", func(v *Warrant) { v.Grounds = " \n" }, ErrReasons, nil},
	{"L26 no necessity", func(v *Warrant) { v.Necessity = "" }, ErrReasons, nil},
	{"L26 no proportionality", func(v *Warrant) { v.Proportionality = "" }, ErrReasons, nil},
	{"no legal basis", func(v *Warrant) { v.LegalBasis = "" }, ErrReasons, nil},
	{"no file number", func(v *Warrant) { v.FileNumber = "" }, ErrReasons, nil},
	{"no offence", func(v *Warrant) { v.Offence = "" }, ErrReasons, nil},
	{"extension of nothing", func(v *Warrant) { v.Kind = Extension }, ErrEarlier, nil},
	{"withdrawal of nothing", func(v *Warrant) { v.Kind = Withdrawal }, ErrEarlier, nil},
	{"preservation after something", func(v *Warrant) { v.Kind, v.Earlier = Preservation, digest("x") }, ErrEarlier, nil},
	{"unknown deadline", func(v *Warrant) { v.Deadline = "now" }, ErrDeadline, nil},
	{"unknown flag", func(v *Warrant) { v.Flags = []string{"blogger"} }, ErrFlags, nil},
	{"flag twice", func(v *Warrant) { v.Flags = []string{FlagJournalist, FlagJournalist} }, ErrFlags, nil},
	{"L09 no targets", func(v *Warrant) { v.Targets = nil }, ErrNoTargets, nil},
	{"L09 withdrawal with targets", func(v *Warrant) { v.Kind, v.Earlier = Withdrawal, digest("x") }, ErrNoTargets, nil},
	{"L09 wildcard pen name", func(v *Warrant) { v.Targets[0].Pseudonym = "*" }, ErrBadTarget, nil},
	{"L09 wildcard platform", func(v *Warrant) { v.Targets[0].Platform = "*" }, ErrBadTarget, nil},
	{"L09 truncated pen name", func(v *Warrant) { v.Targets[0].Pseudonym = v.Targets[0].Pseudonym[:20] }, ErrBadTarget, nil},
	{"L09 handle", func(v *Warrant) {
		v.Targets[0].Pseudonym = token.Pseudonym(v.Targets[0].Pseudonym.Handle(token.MinHandle))
	}, ErrHandleTarget, nil},
	{"L09 handle as it is shown", func(v *Warrant) {
		v.Targets[0].Pseudonym = "@" + token.Pseudonym(v.Targets[0].Pseudonym.Handle(token.MinHandle)) + "@town.example"
	}, ErrHandleTarget, nil},
	{"L09 handle with a wrong character", func(v *Warrant) {
		v.Targets[0].Pseudonym = token.Pseudonym(v.Targets[0].Pseudonym.Handle(token.MinHandle)[1:])
	}, ErrBadTarget, nil},
	{"L09 e-mail address", func(v *Warrant) { v.Targets[0].Pseudonym += "@penname.invalid" }, ErrAddressTarget, nil},
	{"L09 pen name in upper case", func(v *Warrant) {
		v.Targets[0].Pseudonym = token.Pseudonym(strings.ToUpper(string(v.Targets[0].Pseudonym)))
	}, ErrBadTarget, nil},
	{"L09 unknown platform", func(v *Warrant) { v.Targets[0].Platform = "elsewhere" }, ErrBadTarget, nil},
	{"L09 the same target twice", func(v *Warrant) { v.Targets = append(v.Targets, v.Targets[0]) }, ErrBadTarget, nil},
	{"L09 more than N targets", func(v *Warrant) { v.Targets = slices.Repeat(v.Targets, 601) }, ErrTooManyTargets, nil},
	{"L09 another platform's pen name", func(v *Warrant) { v.Targets[0].Platform = forum }, ErrBadEvidence, nil},
	{"L09 another person's pen name", func(v *Warrant) { v.Targets[0].Pseudonym = other }, ErrEvidenceMismatch, nil},
	{"L14 declared hash is not the document's", func(v *Warrant) { v.Targets[0].Evidence = digest("x") }, ErrEvidenceMismatch, nil},
	{"L14 no hash", func(v *Warrant) { v.Targets[0].Evidence = "" }, ErrEvidenceMismatch, nil},
	{"L15 a second target on the first one's evidence", func(v *Warrant) {
		v.Targets = append(v.Targets, Target{Pseudonym: other, Platform: square, Evidence: v.Targets[0].Evidence})
	}, ErrNoEvidence, nil},
	{"evidence named twice", func(v *Warrant) { v.Targets[0].Further = []string{v.Targets[0].Evidence} }, ErrNoEvidence, nil},
	{"evidence younger than the warrant", func(v *Warrant) {
		v.IssuedAt = now.AddDate(0, 0, -4)
	}, ErrBadEvidence, nil},
	{"L18 no delivery key", func(v *Warrant) { v.Requester.DeliveryKey = "" }, ErrDeliveryKey, nil},
	{"L18 truncated delivery key", func(v *Warrant) { v.Requester.DeliveryKey = v.Requester.DeliveryKey[:100] }, ErrDeliveryKey, nil},
	{"L18 delivery key of no known kind", func(v *Warrant) { v.Requester.DeliveryKey = "x" + v.Requester.DeliveryKey }, ErrDeliveryKey, nil},
	{"L18 weak delivery key", func(v *Warrant) { v.Requester.DeliveryKey = smallOrderDelivery(v.Requester.DeliveryKey) }, ErrDeliveryKey, nil},
	{"L18 delivery key with a line break", func(v *Warrant) { v.Requester.DeliveryKey += "\n" }, ErrDeliveryKey, nil},
	{"L18 requester without a name", func(v *Warrant) { v.Requester.Name = "" }, ErrDeliveryKey, nil},
	{"L18 requester of no organisation", func(v *Warrant) { v.Requester.Organisation = "" }, ErrDeliveryKey, nil},
	{"L18 preservation that wants an answer", func(v *Warrant) { v.Kind, v.Fields = Preservation, nil }, ErrDeliveryKey, nil},
	{"L17 gag without end", func(v *Warrant) { v.Secrecy.Ends = time.Time{} }, ErrSecrecy, nil},
	{"L17 gag over the maximum", func(v *Warrant) { v.Secrecy.Ends = v.IssuedAt.AddDate(0, 0, 365).Add(time.Second) }, ErrSecrecy, nil},
	{"L17 gag without a reason", func(v *Warrant) { v.Secrecy.Reason = "" }, ErrSecrecy, nil},
	{"no fields", func(v *Warrant) { v.Fields = nil }, ErrFields, nil},
	{"all fields", func(v *Warrant) { v.Fields = []string{"*"} }, ErrFields, nil},
	{"a field that no record holds", func(v *Warrant) { v.Fields = []string{"password"} }, ErrFields, nil},
	{"a field twice", func(v *Warrant) { v.Fields = []string{"name", "name"} }, ErrFields, nil},
	{"preservation with fields", func(v *Warrant) { v.Kind, v.Requester.DeliveryKey = Preservation, "" }, ErrFields, nil},

	{"L08 another jurisdiction", func(v *Warrant) { v.Jurisdiction = "FR" }, ErrRefusedByRule, []string{"own-jurisdiction"}},
	{"penalty too low", func(v *Warrant) { v.MaxPenaltyMonths = 11 }, ErrRefusedByRule, []string{"offence-is-serious-enough"}},
	{"field beyond the class", func(v *Warrant) { v.OffenceClass, v.Fields = "terrorism", []string{"email"} }, ErrRefusedByRule, []string{"only-fields-this-offence-allows"}},
	{"press freedom", func(v *Warrant) { v.Flags = []string{FlagJournalist} }, ErrRefusedByRule, []string{"press-freedom"}},
	{"privilege", func(v *Warrant) { v.Flags = []string{FlagPrivileged} }, ErrRefusedByRule, []string{"immunity-or-privilege"}},
	{"L19 a custodian's organisation asks", func(v *Warrant) { v.Requester.Organisation = " press  COUNCIL" }, ErrRefusedByRule, []string{"custodians-do-not-request"}},
	{"L19 a custodian asks", func(v *Warrant) { v.Requester.Name = "Officer of Ombudsman" }, ErrRefusedByRule, []string{"custodians-do-not-request"}},
	{"L26 eight hours without a threat to life", func(v *Warrant) {
		v.Deadline, v.OffenceClass = EightHours, "stalking"
	}, ErrRefusedByRule, []string{"eight-hours-only-for-threats-to-life"}},
}

var other = pseudonym(&testing.T{}, "somebody else")

// smallOrderDelivery replaces the X25519 half by a point of order 2.
func smallOrderDelivery(s string) string {
	b, _ := base64.RawURLEncoding.DecodeString(strings.TrimPrefix(s, "pendk1."))
	clear(b[len(b)-32:])
	return "pendk1." + base64.RawURLEncoding.EncodeToString(b)
}

// Rows of mutations that rules since version 5 judge otherwise: order_test.go has those.
var older = map[string]bool{
	"penalty too low": true, "field beyond the class": true, "L19 a custodian's organisation asks": true, "L19 a custodian asks": true,
	"L26 eight hours without a threat to life": true, "L15 a second target on the first one's evidence": true,
	"evidence younger than the warrant": true, "L09 withdrawal with targets": true,
}

func TestMutations(t *testing.T) {
	first, now := newWorld(t), fifth(t)
	for _, m := range mutations {
		t.Run(m.name, func(t *testing.T) {
			wantRefused(t, first.decide(t, m.change), m.want, m.rules...)
			if !older[m.name] {
				wantRefused(t, now.decide(t, m.change), m.want, m.rules...)
			}
		})
	}
}

func TestL01Unsigned(t *testing.T) {
	w := newWorld(t)
	v, evidence := w.production(t)
	signed := sign(t, w.court, v)
	parts := strings.Split(signed, ".")
	none := base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"none","kid":"court","typ":"penname-warrant+jwt"}`))
	hs := base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"HS256","kid":"court","typ":"penname-warrant+jwt"}`))
	payload, _ := base64.RawURLEncoding.DecodeString(parts[1])
	for name, raw := range map[string]string{
		"empty": "", "JSON without a signature": string(payload), "payload only": parts[1], "signature cut off": parts[0] + "." + parts[1] + ".",
		"two parts": parts[0] + "." + parts[1], "four parts": signed + ".x", "alg none": none + "." + parts[1] + "." + parts[2], "HS256": hs + "." + parts[1] + "." + parts[2],
	} {
		t.Run(name, func(t *testing.T) {
			d := Decide(Submission{Warrant: raw, Evidence: evidence}, w.bundle, Facts{}, now)
			wantRefused(t, d, ErrUnsigned)
			if d.Warrant != nil {
				t.Fatal("an unsigned warrant is presented as the court's")
			}
		})
	}
}

// GO-2026-5763 and GO-2026-4529: what counts is the day of signing, and the
// keys of the bundle in force.
func TestL03KeyValidAtSigning(t *testing.T) {
	w := newWorld(t)
	v, evidence := w.production(t)
	from, until := w.bundle.Authorities[0].Keys[0].From, w.bundle.Authorities[0].Keys[0].Until
	for _, row := range []struct {
		name       string
		issued, at time.Time
		want       *refusal.Error
	}{
		{name: "the first second", issued: from, at: from.Add(time.Hour), want: ErrBadEvidence}, // the post came later: the key itself passes
		{name: "a second before", issued: from.Add(-time.Second), at: from, want: ErrSignerKey},
		{name: "the last second, judged after", issued: until.Add(-time.Second), at: until.Add(time.Hour)},
		{name: "the end", issued: until, at: until.Add(time.Hour), want: ErrSignerKey},
	} {
		t.Run(row.name, func(t *testing.T) {
			v := v
			v.IssuedAt, v.Expiry, v.Secrecy.Ends = row.issued, row.issued.AddDate(0, 0, 14), row.issued.AddDate(0, 0, 30)
			d := Decide(Submission{Warrant: sign(t, w.court, v), Evidence: evidence}, w.bundle, Facts{}, row.at)
			if row.want != nil {
				wantRefused(t, d, row.want)
			} else if !d.Allowed {
				t.Fatal(d.Refusal, cause(d.Refusal))
			}
		})
	}
	t.Run("revoked: not in the bundle in force", func(t *testing.T) {
		wantRefused(t, Decide(Submission{Warrant: sign(t, key("court-2025"), v), Evidence: evidence}, w.bundle, Facts{}, now), ErrSignerKey)
	})
	t.Run("the right kid on another key", func(t *testing.T) {
		k := key("thief")
		k.KeyID = "court"
		wantRefused(t, Decide(Submission{Warrant: sign(t, k, v), Evidence: evidence}, w.bundle, Facts{}, now), ErrBadSignature)
	})
	t.Run("a custodian signs a warrant", func(t *testing.T) {
		wantRefused(t, Decide(Submission{Warrant: sign(t, w.custodians[0], v), Evidence: evidence}, w.bundle, Facts{}, now), ErrSignerKey)
	})
}

// GO-2026-5233: what is verified is what is read, byte for byte.
func TestL04SignatureOverOtherBytes(t *testing.T) {
	w := newWorld(t)
	v, evidence := w.production(t)
	signed := sign(t, w.court, v)
	parts := strings.Split(signed, ".")
	other := v
	other.Grounds = "Something else."
	swapped := strings.Split(sign(t, w.court, other), ".")
	payload, _ := base64.RawURLEncoding.DecodeString(parts[1])
	b64 := base64.RawURLEncoding.EncodeToString
	spaced := signBytes(t, w.court, warrantFormat.Types[0], []byte(strings.Replace(string(payload), ":", ": ", 1)))
	duplicate := signBytes(t, w.court, warrantFormat.Types[0], []byte(strings.Replace(string(payload), `{"audience"`, `{"id":"x","audience"`, 1)))
	for _, row := range []struct {
		name, raw string
		want      *refusal.Error
	}{
		{"another payload", parts[0] + "." + swapped[1] + "." + parts[2], ErrBadSignature},
		{"another signature", parts[0] + "." + parts[1] + "." + swapped[2], ErrBadSignature},
		{"white space added after signing", parts[0] + "." + b64([]byte(string(payload)+" ")) + "." + parts[2], ErrMalformed},
		{"line break in base64", parts[0] + "." + parts[1] + "\n." + parts[2], ErrMalformed},
		{"padding", parts[0] + "." + parts[1] + "=." + parts[2], ErrMalformed},
		{"unused bits of the last character", signed[:len(signed)-1] + string(signed[len(signed)-1]+1), ErrMalformed},
		{"white space, signed", spaced, ErrMalformed},
		{"duplicate member, signed", duplicate, ErrMalformed},
		{"leading space", " " + signed, ErrMalformed},
		{"another document's typ", signBytes(t, w.court, "penname-approval+jwt", payload), ErrMalformed},
		{"jwk in the header", b64([]byte(`{"alg":"EdDSA","jwk":{},"kid":"court","typ":"penname-warrant+jwt"}`)) + "." + parts[1] + "." + parts[2], ErrMalformed},
		{"crit in the header", b64([]byte(`{"alg":"EdDSA","crit":["x"],"kid":"court","typ":"penname-warrant+jwt"}`)) + "." + parts[1] + "." + parts[2], ErrMalformed},
		{"header in another order", b64([]byte(`{"kid":"court","alg":"EdDSA","typ":"penname-warrant+jwt"}`)) + "." + parts[1] + "." + parts[2], ErrMalformed},
		{"duplicate alg", b64([]byte(`{"alg":"none","alg":"EdDSA","kid":"court","typ":"penname-warrant+jwt"}`)) + "." + parts[1] + "." + parts[2], ErrMalformed},
	} {
		t.Run(row.name, func(t *testing.T) {
			wantRefused(t, Decide(Submission{Warrant: row.raw, Evidence: evidence}, w.bundle, Facts{}, now), row.want)
		})
	}
}

// GO-2026-5694: a payload that does not parse was once taken for verified.
func TestL07PayloadParseErrorIsNotVerified(t *testing.T) {
	w := newWorld(t)
	for _, payload := range []string{"", "null", "[]", `"x"`, "{}", `{"id":1}`, "\xff", strings.Repeat("[", 20000)} {
		d := Decide(Submission{Warrant: signBytes(t, w.court, warrantFormat.Types[0], []byte(payload)), Evidence: nil}, w.bundle, Facts{}, now)
		wantRefused(t, d, ErrMalformed)
		if d.Warrant != nil {
			t.Fatal("a warrant from a payload that does not parse")
		}
	}
}

func TestL08AuthorityNotCompetent(t *testing.T) {
	w := newWorld(t)
	v, evidence := w.production(t)
	v.Authority = "prosecutor"
	wantRefused(t, Decide(Submission{Warrant: sign(t, w.prosecutor, v), Evidence: evidence}, w.bundle, Facts{}, now), ErrRefusedByRule, "authority-is-competent")
	v.OffenceClass = "threat_to_life"
	if d := Decide(Submission{Warrant: sign(t, w.prosecutor, v), Evidence: evidence}, w.bundle, Facts{}, now); !d.Allowed {
		t.Fatal("a competent prosecutor is refused:", d.Refusal, d.Rules)
	}
}

// An authority of no kind that the rules know gets nothing: deny by default.
func TestL08AuthorityOfUnknownKind(t *testing.T) {
	w := newWorld(t, func(b *Bundle) { b.Authorities[0].Kind = "police" })
	wantRefused(t, w.decide(t), ErrNotPermitted)
}

func TestL19RequesterIsApprover(t *testing.T) {
	w := newWorld(t)
	v, evidence := w.production(t)
	v.Authority, v.OffenceClass, v.Requester.Organisation = "prosecutor", "threat_to_life", "PUBLIC prosecutor"
	wantRefused(t, Decide(Submission{Warrant: sign(t, w.prosecutor, v), Evidence: evidence}, w.bundle, Facts{}, now), ErrRefusedByRule, "nobody-grants-their-own-request")
	// A court that has the answer sent to its own registry did not ask: it judged.
	if d := w.decide(t, func(v *Warrant) { v.Requester.Organisation = "Crown Court" }); !d.Allowed {
		t.Fatal(d.Refusal, d.Rules)
	}
	// One human, two accounts: a key can be in one role only.
	b := w.draft(t)
	b.Custodians[0].Key = public(t, w.court)
	if _, err := b.Marshal(); refusal.Of(err) == nil || refusal.Of(err).Code != ErrBundleSharedKey.Code {
		t.Fatal(err)
	}
}

func TestL21Oversize(t *testing.T) {
	w := newWorld(t)
	v, evidence := w.production(t)
	huge := v
	huge.Grounds = strings.Repeat("x", 4001)
	wantRefused(t, Decide(Submission{Warrant: sign(t, w.court, huge), Evidence: evidence}, w.bundle, Facts{}, now), ErrMalformed)
	huge.Grounds = strings.Repeat("x", 1<<20)
	wantRefused(t, Decide(Submission{Warrant: sign(t, w.court, huge), Evidence: evidence}, w.bundle, Facts{}, now), ErrTooLarge)
	wantRefused(t, Decide(Submission{Warrant: strings.Repeat(".", 1<<20), Evidence: evidence}, w.bundle, Facts{}, now), ErrUnsigned)
	signed := sign(t, w.court, v)
	wantRefused(t, Decide(Submission{Warrant: signed, Evidence: []string{strings.Repeat("x", maxEvidenceBytes+1)}}, w.bundle, Facts{}, now), ErrBadEvidence)
	wantRefused(t, Decide(Submission{Warrant: signed, Evidence: slices.Repeat(evidence, maxEvidence+1)}, w.bundle, Facts{}, now), ErrBadEvidence)
}

func TestL22NamesAreNotPaths(t *testing.T) {
	w := newWorld(t)
	for _, name := range []string{"../../etc/passwd", "a/b", "a\\b", "a\x00b", ".hidden", "trailing.", ""} {
		wantRefused(t, w.decide(t, func(v *Warrant) { v.ID = name }), ErrMalformed)
		b := w.draft(t)
		b.Policies[name] = b.Policies["10-speech.cedar"]
		if _, err := b.Marshal(); refusal.Of(err) == nil || refusal.Of(err).Code != ErrBundleRules.Code {
			t.Fatal("a rule file with this name is accepted")
		}
	}
}

func TestL23FacetsFitTheLog(t *testing.T) {
	w := newWorld(t)
	for _, name := range []string{"Jane Doe", "pen1abc", "born_19840101", "a@b.example", strings.Repeat("x", 65)} {
		for what, change := range map[string]func(*Bundle){
			"offence class": func(b *Bundle) { b.OffenceClasses[0].ID = name },
			"custodian":     func(b *Bundle) { b.Custodians[0].ID = name },
		} {
			b := w.draft(t)
			change(b)
			if _, err := b.Marshal(); err == nil {
				t.Error(what, "with a name that the public log refuses is accepted")
			}
		}
	}
	wantRefused(t, w.decide(t, func(v *Warrant) { v.Jurisdiction = "Jane" }), ErrMalformed)
}

// What a custodian reads on the screen is what the court signed.
func TestL24BidiAndHomoglyphs(t *testing.T) {
	w := newWorld(t)
	for name, text := range map[string]string{
		"right-to-left override": "a\u202eb", "isolate": "a\u2066b", "mark": "a\u200fb", "zero width space": "a\u200bb", "soft hyphen": "a\u00adb",
		"line separator": "a\u2028b", "escape": "a\x1b[2Jb", "carriage return": "a\rb", "tag": "a\U000e0041b", "private use": "a\ue000b",
		"an accent spelt apart": "Pre\u0301fecture", "Cyrillic а in a Latin word": "thre\u0430t", "Greek ο in a Latin word": "c\u03bfurt",
	} {
		t.Run(name, func(t *testing.T) {
			wantRefused(t, w.decide(t, func(v *Warrant) { v.Grounds = text }), ErrMalformed)
			wantRefused(t, w.decide(t, func(v *Warrant) { v.Requester.Organisation = text }), ErrMalformed)
		})
	}
	for _, text := range []string{"Drohung, § 241 StGB: „Ich weiß, wo du wohnst“", "Угроза", "απειλή", "تهديد", "脅迫", "two\nlines"} {
		if d := w.decide(t, func(v *Warrant) { v.Grounds = text }); !d.Allowed {
			t.Error("plain text is refused:", text, d.Refusal, cause(d.Refusal))
		}
	}
}

func TestL25TimestampWithoutZone(t *testing.T) {
	w := newWorld(t)
	v, evidence := w.production(t)
	payload, err := marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	const issued = `"issued_at":"2026-03-02T11:00:00Z"`
	for _, s := range []string{"2026-03-02T11:00:00", "2026-03-02 11:00:00Z", "2026-03-02T12:00:00+01:00", "2026-03-02T11:00:00+00:00", "2026-03-02T11:00:00.000Z", "2026-03-02T11:00Z", "2026-03-02"} {
		bad := strings.Replace(string(payload), issued, `"issued_at":"`+s+`"`, 1)
		if bad == string(payload) {
			t.Fatal("nothing was replaced")
		}
		wantRefused(t, Decide(Submission{Warrant: signBytes(t, w.court, warrantFormat.Types[0], []byte(bad)), Evidence: evidence}, w.bundle, Facts{}, now), ErrMalformed)
	}
}

// Eight hours are granted for a threat to life, and there is no notice to wait for.
func TestL26Emergency(t *testing.T) {
	d := fifth(t).filing(t).decided(t, inEmergency, noSecrecy)
	if !d.Allowed || d.NoticePeriod != 0 || d.Quorum != 2 {
		t.Fatalf("%+v", d)
	}
}

// Nothing in a warrant can name a person: it goes from a pen name to a name and
// never back.
func TestL10NoReverseQuery(t *testing.T) {
	var fields []string
	for f := range reflect.TypeFor[Target]().Fields() {
		fields = append(fields, f.Name)
	}
	if !slices.Equal(fields, []string{"Pseudonym", "Platform", "Evidence", "Further", "Descriptions", "Role"}) {
		t.Fatal("a target can be described by", fields)
	}
}

func TestKinds(t *testing.T) {
	w := newWorld(t)
	for _, kind := range []string{Preservation, Extension} {
		d := w.decide(t, func(v *Warrant) {
			v.Kind, v.Fields, v.Requester.DeliveryKey = kind, nil, ""
			if kind == Extension {
				v.Earlier = digest("x")
			}
		})
		if !d.Allowed || d.Opens || d.Quorum < 2 || !slices.Equal(d.Rules, []string{"preservation"}) {
			t.Fatalf("%s: %+v", kind, d)
		}
	}
	v, _ := w.production(t)
	v = Warrant{ID: v.ID, Kind: Withdrawal, Earlier: digest("x"), Authority: v.Authority, Jurisdiction: "GB", FileNumber: "T1", OffenceClass: v.OffenceClass, Grounds: "Issued in error.",
		Bundle: v.Bundle, Audience: v.Audience, IssuedAt: v.IssuedAt, Expiry: v.Expiry}
	d := Decide(Submission{Warrant: sign(t, w.court, v), Evidence: nil}, w.bundle, Facts{}, now)
	if !d.Allowed || d.Opens || len(d.Targets) != 0 {
		t.Fatalf("%+v because %v", d, cause(d.Refusal))
	}
	_, evidence := w.production(t)
	wantRefused(t, Decide(Submission{Warrant: sign(t, w.court, v), Evidence: evidence}, w.bundle, Facts{}, now), ErrNoEvidenceHere)
	v.OffenceClass = "" // the public log could not hold it
	wantRefused(t, Decide(Submission{Warrant: sign(t, w.court, v), Evidence: nil}, w.bundle, Facts{}, now), ErrReasons)
}

func TestNoticeBeforeOpeningWithoutSecrecy(t *testing.T) {
	w := newWorld(t)
	d := w.decide(t, func(v *Warrant) { v.Secrecy = Secrecy{Ends: v.IssuedAt} })
	if !d.Allowed || d.NoticePeriod != 10*day || !slices.Equal(d.Rules, []string{"production-after-notice"}) {
		t.Fatalf("%+v", d)
	}
	if lines := explain(d); !strings.Contains(strings.Join(lines, "\n"), "wait 10 days") {
		t.Fatal(lines)
	}
}

func TestEvidence(t *testing.T) {
	w := newWorld(t)
	v, evidence := w.production(t)
	decide := func(v Warrant, evidence ...string) Decision {
		return Decide(Submission{Warrant: sign(t, w.court, v), Evidence: evidence}, w.bundle, Facts{}, now)
	}
	before := now.AddDate(0, 0, -3)
	second := w.evidence(t, square, "troll", 2, before)

	t.Run("none", func(t *testing.T) { wantRefused(t, decide(v), ErrNoEvidence) })
	t.Run("more than the warrant names", func(t *testing.T) { wantRefused(t, decide(v, evidence[0], second), ErrEvidenceMismatch) })
	t.Run("the same piece twice", func(t *testing.T) { wantRefused(t, decide(v, evidence[0], evidence[0]), ErrEvidenceMismatch) })
	t.Run("another piece", func(t *testing.T) { wantRefused(t, decide(v, second), ErrEvidenceMismatch) })
	t.Run("garbage that the warrant names", func(t *testing.T) {
		v, _ := w.production(t)
		v.Targets[0].Evidence = digest("garbage")
		wantRefused(t, decide(v, "garbage"), ErrBadEvidence)
	})
	t.Run("one piece named twice, another riding along", func(t *testing.T) {
		v, _ := w.production(t)
		v.Targets[0].Further = []string{v.Targets[0].Evidence}
		wantRefused(t, decide(v, evidence[0], second), ErrEvidenceMismatch)
	})
	t.Run("further posts", func(t *testing.T) {
		v, _ := w.production(t)
		v.Targets[0].Further = []string{digest(second)}
		if d := decide(v, second, evidence[0]); !d.Allowed {
			t.Fatal(d.Refusal, cause(d.Refusal))
		}
		stranger := w.evidence(t, square, "stranger", 1, before)
		v.Targets[0].Further = []string{digest(stranger)}
		wantRefused(t, decide(v, stranger, evidence[0]), ErrEvidenceMismatch)
	})
	t.Run("two targets, evidence in any order", func(t *testing.T) {
		v, _ := w.production(t)
		e := w.evidence(t, forum, "troll elsewhere", 1, before)
		v.Targets = append(v.Targets, Target{Pseudonym: pseudonym(t, "troll elsewhere"), Platform: forum, Evidence: digest(e)})
		d := decide(v, e, evidence[0])
		if !d.Allowed || d.Targets[0].Token.Audience != square || d.Targets[1].Token.Audience != forum {
			t.Fatal(d.Refusal, cause(d.Refusal))
		}
		// A platform cannot speak for another one's users.
		v.Targets[1].Platform, v.Targets[0].Platform = square, forum
		wantRefused(t, decide(v, e, evidence[0]), ErrBadEvidence)
	})
	t.Run("the platform lies about its user", func(t *testing.T) {
		// Signed by the platform, with a token that the issuer never signed.
		forged := *w
		forged.issuer = key("not the issuer")
		forged.issuer.KeyID = w.issuer.KeyID
		e := forged.evidence(t, square, "troll", 1, before)
		v, _ := w.production(t)
		v.Targets[0].Evidence = digest(e)
		wantRefused(t, decide(v, e), ErrBadEvidence)
	})
	t.Run("the same pen name with two records", func(t *testing.T) {
		// Evidence that would open either of two records opens none.
		v, _ := w.production(t)
		e := w.evidenceOf(t, square, "troll", "another record", 2, before)
		v.Targets[0].Further = []string{digest(e)}
		wantRefused(t, decide(v, e, evidence[0]), ErrEvidenceMismatch)
	})
}

func TestNilAndUnparsedBundle(t *testing.T) {
	w := newWorld(t)
	v, evidence := w.production(t)
	s := Submission{Warrant: sign(t, w.court, v), Evidence: evidence}
	wantRefused(t, Decide(s, nil, Facts{}, now), ErrWrongBundle)
	wantRefused(t, Decide(s, w.draft(t), Facts{}, now), ErrWrongBundle)
	v.Bundle = ""
	wantRefused(t, Decide(Submission{Warrant: sign(t, w.court, v), Evidence: evidence}, &Bundle{Registrar: v.Audience}, Facts{}, now), ErrWrongBundle)
}

func TestES256Warrant(t *testing.T) {
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	k := jose.JSONWebKey{Key: private, KeyID: "court-es256"}
	w := newWorld(t, func(b *Bundle) { b.Authorities[0].Keys[0].JWK = public(t, k) })
	v, evidence := w.production(t)
	raw, err := SignWarrant(k, v)
	if err != nil {
		t.Fatal(err)
	}
	if d := Decide(Submission{Warrant: raw, Evidence: evidence}, w.bundle, Facts{}, now); !d.Allowed {
		t.Fatal(d.Refusal, cause(d.Refusal))
	}
	// The algorithm belongs to the key: the header cannot choose it.
	eddsa := key("court-es256")
	wantRefused(t, Decide(Submission{Warrant: sign(t, eddsa, v), Evidence: evidence}, w.bundle, Facts{}, now), ErrBadSignature)
}

func TestExplain(t *testing.T) {
	w := newWorld(t)
	got := strings.Join(explain(w.decide(t, func(v *Warrant) {
		v.OffenceClass, v.Kind, v.Fields, v.Requester.DeliveryKey = "insult_or_criticism", Preservation, nil, ""
	})), "\n")
	want := "Refused (warrant.refused_by_rule). A rule of the bundle forbids this warrant; the decision names the rule.\n" +
		"Rule criticism-is-not-a-crime: Criticism, insult and unwelcome opinion are no reason to open a name, nor is anything without a custodial penalty."
	if got != want {
		t.Fatalf("%s", got)
	}
	if got := explain(w.decide(t)); got[0] != "Allowed. 2 custodians must approve." {
		t.Fatal(got)
	}
	if got := explain(Decision{}); len(got) != 1 || got[0] != "Not decided." {
		t.Fatal(got)
	}
}

// Registrar, custodian and auditor get the same decision, at once or years later.
func TestDecideConcurrently(t *testing.T) {
	w := newWorld(t)
	v, evidence := w.production(t)
	s := Submission{Warrant: sign(t, w.court, v), Evidence: evidence}
	first := Decide(s, w.bundle, Facts{}, now)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			if d := Decide(s, w.bundle, Facts{}, now); !reflect.DeepEqual(d, first) {
				t.Error("another decision on the same bytes")
			}
		})
	}
	wg.Wait()
}

// explain puts a decision into lines for a person. It holds nothing of the case
// but what the rules say of themselves.
func explain(d Decision) []string {
	if !d.Allowed && d.Refusal == nil {
		return []string{"Not decided."}
	}
	var lines []string
	if d.Allowed {
		lines = append(lines, fmt.Sprintf("Allowed. %d custodians must approve.", d.Quorum))
		if d.NoticePeriod > 0 {
			lines = append(lines, fmt.Sprintf("They must wait %d days after it is on the public log.", d.NoticePeriod/day))
		}
		if !d.Opens {
			lines = append(lines, "Nothing is opened.")
		}
	} else {
		lines = append(lines, fmt.Sprintf("Refused (%s). %s", d.Refusal.Code, d.Refusal.Mend))
	}
	for i, id := range d.Rules {
		lines = append(lines, fmt.Sprintf("Rule %s: %s.", id, d.Grounds[i].Title))
	}
	return lines
}

// A handle with a slip is told from another wrong target.
func TestAHandleWithASlip(t *testing.T) {
	w := newWorld(t)
	v, evidence := w.production(t)
	handle := string(v.Targets[0].Pseudonym.Handle(token.MinHandle))
	wrong := byte('q')
	if handle[3] == wrong {
		wrong = 'p'
	}
	for target, near := range map[string]bool{
		handle[:3] + string(wrong) + handle[4:]:               true,
		"@" + handle[:3] + "1" + handle[4:] + "@town.example": true,
		handle[1:]:                          true,
		handle[:6]:                          false,
		"somebody else":                     false,
		string(v.Targets[0].Pseudonym[:20]): false,
	} {
		v.Targets[0].Pseudonym = token.Pseudonym(target)
		d := Decide(Submission{Warrant: sign(t, w.court, v), Evidence: evidence}, w.bundle, Facts{}, now)
		wantRefused(t, d, ErrBadTarget)
		if (d.Refusal.Mend != ErrBadTarget.Mend) != near {
			t.Error(target, d.Refusal)
		}
	}
}

// What is not the hash of an earlier warrant is named by its field.
func TestEarlierThatIsNoHash(t *testing.T) {
	w := newWorld(t)
	v, _ := w.production(t)
	v.Earlier = "case-id"
	d := BeforeSigning(v, "", w.court, w.bundle, now)
	wantRefused(t, d, ErrDraft)
	if said := cause(d.Refusal); !strings.Contains(fmt.Sprint(said), "earlier") {
		t.Error(said)
	}
}
