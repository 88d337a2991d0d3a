package policy

import (
	"cmp"
	"crypto/sha256"
	"crypto/x509"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	cedar "github.com/cedar-policy/cedar-go"

	"github.com/penname/penname/verifier/document"
	"github.com/penname/penname/verifier/proof"
	"github.com/penname/penname/verifier/refusal"
)

// Lines shows a parsed bundle to who shall endorse it: one line for each thing that it
// says, whole, so that two bundles with the same lines decide the same. Of keys and rule
// files it has a mark, the beginning of the SHA-256 of what the bundle holds; of platforms'
// keys and those that register them kid and thumbprint (RFC 7638) as well,
// and of each rule what it says of itself.
func (b *Bundle) Lines() []string {
	var all []string
	line := func(format string, args ...any) {
		all = append(all, strings.ReplaceAll(fmt.Sprintf(format, args...), "\n", " "))
	}
	line("bundle %s, number %d, after %s", b.hash, b.Number, orNone(b.Predecessor))
	line("registrar %s, issuer %s, token keys %s, format %d", b.Registrar, b.Issuer, mark(b.IssuerKeys), b.Version)
	line("%d of %d custodians open together, key %s, ceremony %s", b.Threshold, len(b.Custodians), mark([]byte(b.ThresholdKey)), orNone(b.Ceremony))
	for _, c := range b.Custodians {
		line("custodian %s: %s, %s, share %d, key %s%s", c.ID, c.Name, c.Organisation, c.Index, signerLine(c.Key), exhibitsTo(c.Recipient)+memberOf(c.OrganisationID)+inRole(c.Role))
		for _, a := range c.Alternates {
			line("alternate %s of custodian %s: %s, %s, key %s%s", a.ID, c.ID, a.Name, a.Organisation, signerLine(a.Key), exhibitsTo(a.Recipient)+memberOf(a.OrganisationID))
		}
	}
	for _, r := range b.Required {
		line("among those who approve%s must be %s", r.about(), r)
	}
	for _, p := range b.Programs {
		line("program %s %s for %s has the SHA-256 %s", p.Name, p.Version, p.Platform, p.Digest)
	}
	line("log %s, key %s: %d of %d witnesses cosign", b.Log.Origin, mark([]byte(b.Log.VKey)), b.Log.Quorum, len(b.Log.Witnesses))
	for _, w := range b.Log.Witnesses {
		line("witness %s, run by %s, at %s, key %s", w.Name, w.Operator, orNone(w.URL), mark([]byte(w.VKey)))
	}
	for _, o := range b.Organisations {
		line("organisation %s: %s", o.ID, o.Name)
	}
	b.authorityLines(line)
	if r := b.Registry; r != nil {
		line("platforms are registered with %s", keysLine(r.Keys))
		line("a new platform or key waits %d days until its evidence counts in a new case: one that was registered under other rules, too", r.WaitingDays)
	}
	for _, p := range b.Platforms {
		line("platform %s: %s, its evidence counts at once, under %s", p.ID, p.Name, keysLine(p.Keys))
	}
	for _, r := range b.Reviewers {
		line("reviewer %s: %s, key %s", r.ID, r.Name, signerLine(r.Key))
	}
	line("a warrant has at most %d pen names, %d days of secrecy, %d days of validity", b.MaxTargets, b.MaxSecrecyDays, b.MaxValidityDays)
	if b.Version >= 4 {
		line("a post counts as evidence until %d hours after the sign-in, and what it showed is kept until %d days after the end of its case", b.PostSpanHours, b.AppealDays)
	}
	if b.Version >= 5 {
		line("the public log also says of a warrant: %s; its statistics tell no number under %d", orNone(strings.Join(b.LeafFacets, ", ")), cmp.Or(b.SmallCount, proof.SmallCount))
		line("secrecy under %d days counts as none; a preservation holds for %d days and is prolonged by %d; an emergency lapses if nobody validates it in %d hours", b.MinSecrecyDays, b.HoldDays, b.ExtensionDays, b.ValidationHours)
	}
	line("records hold %s", strings.Join(b.Fields, ", "))
	for _, c := range b.Compartments {
		line("compartment %s: %s", c.ID, strings.Join(c.Fields, ", "))
	}
	for _, o := range b.OffenceClasses {
		line("offence class %s: %s, from %d months, opens %s%s%s%s%s", o.ID, o.Title, o.MinPenaltyMonths, orNone(strings.Join(o.Fields, ", ")),
			map[bool]string{true: ", lawful speech"}[o.Speech], map[bool]string{true: ", can be an emergency"}[o.Emergency],
			map[bool]string{true: ", described by the court and never copied"}[o.NoCopy], map[bool]string{true: ", told first and never secret"}[o.NoticeFirst]+map[bool]string{true: ", and the person may read the order"}[o.ShowOrder])
	}
	for _, o := range b.Offences {
		line("offence %s: %s, %s, at most %d months, class %s, asked for by %s", o.ID, o.Title, o.Statute, o.MaxPenaltyMonths, o.Class, strings.Join(o.Authorities, ", "))
		line("offence %s opens %s in compartments %s%s%s", o.ID, orNone(strings.Join(o.Fields, ", ")), cmp.Or(strings.Join(o.Compartments, ", "), "of these"),
			map[bool]string{true: ", described by the court and never copied"}[o.NoCopy], steps(o.Quorums, b.MaxTargets))
	}
	for _, r := range b.Remedies {
		line("people are told of this remedy: %s", remedyLine(r))
	}
	for _, s := range b.Stops {
		switch {
		case s.Case != nil:
			line("stops the case of entry %d", *s.Case)
		case s.Authority != "":
			line("stops every earlier case of authority %s", s.Authority)
		default:
			line("stops platform %s: every earlier case about it, and no new one", s.Platform)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(b.Policies)) {
		line("rule file %s, %s", name, mark([]byte(b.Policies[name])))
	}
	for _, r := range b.rules {
		if r.policy.Effect() == cedar.Forbid {
			line("rule %s forbids: %s%s", r.id, r.Title, inBrackets(r.Article))
		} else {
			line("rule %s permits: %s, by %d custodians at least, after %d days to object", r.id, r.Title, max(r.quorum, b.Threshold), r.notice)
		}
	}
	return all
}

// authorityLines are those of who may sign warrants, and with what.
func (b *Bundle) authorityLines(line func(format string, args ...any)) {
	for _, c := range b.anchors {
		line("certificate authority %s", CertificateLine(c))
	}
	for _, a := range b.Authorities {
		line("authority %s: %s, %s, %s, %d warrants a day%s", a.ID, a.Name, a.Kind, a.Jurisdiction, a.DailyWarrants, memberOf(a.OrganisationID))
		line("authority %s is competent for %s", a.ID, strings.Join(a.OffenceClasses, ", "))
		if len(a.Over) > 0 {
			line("authority %s may annul the warrants of %s", a.ID, strings.Join(a.Over, ", "))
		}
		if len(a.ValidatedBy) > 0 {
			line("authority %s needs one of %s to validate its warrants", a.ID, strings.Join(a.ValidatedBy, ", "))
		}
		for _, k := range a.Keys {
			line("authority %s signs from %s to %s with key %s", a.ID, k.From.Format(time.RFC3339), k.Until.Format(time.RFC3339), signerLine(k.JWK))
		}
		if a.OrganisationIdentifier != "" {
			line("authority %s signs with certificates of the organisation %s", a.ID, a.OrganisationIdentifier)
		}
		for _, digest := range a.CertificateKeys {
			line("authority %s signs with a certificate of key %s", a.ID, digest)
		}
	}
}

// changes are the lines that are no longer there, after "- ", and those that are new, after "+ ".
func changes(was, is []string) (all []string) {
	for _, l := range was {
		if !slices.Contains(is, l) {
			all = append(all, "- "+l)
		}
	}
	for _, l := range is {
		if !slices.Contains(was, l) {
			all = append(all, "+ "+l)
		}
	}
	return all
}

// keysLine is the mark of a key set, which is of all that it says, and what each key is
// called by who made it and by [PlatformRecord.Lines].
func keysLine(jwks []byte) string {
	keys, _ := document.ParseKeySet(jwks) // none of a set that cannot be read: its mark tells
	said := "keys " + mark(jwks)
	for _, k := range keys {
		said += ", " + keyLine(k)
	}
	return said
}

// keyLine is what a key of a set is called.
func keyLine(k document.Key) string {
	print, err := k.Thumbprint()
	if err != nil {
		return "key " + k.KeyID // a key for other readers, that cannot be read here
	}
	return fmt.Sprintf("key %s, thumbprint %s", k.KeyID, print)
}

// signerLine is the kid of somebody's key, as their key file has it, and its mark.
func signerLine(jwk []byte) string {
	if key, err := document.ParseSigner(jwk); err == nil {
		return key.KeyID + " (mark " + mark(jwk) + ")"
	}
	return mark(jwk)
}

// CertificateLine is the name in a certificate, its fingerprint and its end, for people.
func CertificateLine(c *x509.Certificate) string {
	return fmt.Sprintf("%s, SHA-256 %s, until %s", document.Printable(c.Subject.String()), Fingerprint(c), c.NotAfter.UTC().Format(time.DateOnly))
}

// thumbprint is that of RFC 7638 of somebody's key, "" of what is none.
func thumbprint(jwk []byte) string {
	key, err := document.ParseSigner(jwk)
	if err != nil {
		return ""
	}
	print, err := key.Thumbprint()
	if err != nil {
		return ""
	}
	return print
}

func mark(b []byte) string { return fmt.Sprintf("%x", sha256.Sum256(b))[:16] }

// exhibitsTo is the mark of a recipient, which older versions of the format do not have.
func exhibitsTo(recipient string) string {
	if recipient == "" {
		return ""
	}
	return ", exhibits to " + mark([]byte(recipient))
}

// memberOf says which organisation somebody is of, after a few words; nothing before version 5.
func memberOf(organisation string) string {
	if organisation == "" {
		return ""
	}
	return ", of organisation " + organisation
}

// inRole says what somebody is, after a comma.
func inRole(role string) string {
	if role == "" {
		return ""
	}
	return ", in the role " + role
}

// about says of which cases a requirement is, after a few words.
func (r Required) about() string {
	if len(r.OffenceClasses)+len(r.Offences) == 0 {
		return " a case"
	}
	return " a case about " + strings.Join(slices.Concat(r.OffenceClasses, r.Offences), ", ")
}

func inBrackets(s string) string {
	if s == "" {
		return ""
	}
	return " (" + s + ")"
}

func steps(quorums []TargetQuorum, most int) (said string) {
	for _, q := range quorums {
		said += fmt.Sprintf(", at least %d custodians%s", q.Quorum, fromOn(q.Targets, most))
	}
	return said
}

// fromOn says from how many pen names on a quorum holds. What is more than one order may
// have is reached by those of the 30 days before.
func fromOn(targets, most int) string {
	switch {
	case targets <= 1:
		return ""
	case targets > most:
		return fmt.Sprintf(" from %d pen names in 30 days on", targets)
	}
	return fmt.Sprintf(" from %d pen names on", targets)
}

func orNone(s string) string {
	if s == "" {
		return "none"
	}
	return s
}

// CheckDraft refuses what a bundle may say and no operator means, before custodians
// endorse it: an authority of a kind that no rule knows, whose every warrant would be
// [ErrNotPermitted], and a witness under another name than its key has. It is not asked
// of a bundle in force.
func (b *Bundle) CheckDraft() error {
	rules := strings.Join(slices.Collect(maps.Values(b.Policies)), "\n")
	for _, a := range b.Authorities {
		if strings.Contains(rules, "principal.kind") && !strings.Contains(rules, `"`+a.Kind+`"`) {
			return about("authority", a.ID, ErrBundleAuthority.Because(fmt.Errorf("no rule knows the kind %q", a.Kind)))
		}
	}
	for _, w := range b.Log.Witnesses {
		if name, _, _ := strings.Cut(w.VKey, "+"); name != w.Name {
			return ErrBundleWitnessName.Because(fmt.Errorf("%q, where the key has %q", w.Name, name))
		}
	}
	return nil
}

// about says in the cause of a refusal which party of a bundle it is about.
func about(party, id string, err error) error {
	e := refusal.Of(err)
	if e == nil {
		return err
	}
	if e.Unwrap() == nil {
		return e.Because(fmt.Errorf("%s %q", party, id))
	}
	return e.Because(fmt.Errorf("%s %q: %w", party, id, e.Unwrap()))
}
