package policy

import (
	"bytes"
	"cmp"
	"crypto/x509"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	cedar "github.com/cedar-policy/cedar-go"
	"github.com/cedar-policy/cedar-go/ast"
	cedarast "github.com/cedar-policy/cedar-go/x/exp/ast"

	"github.com/penname/penname/verifier/document"
)

// Changes says in sentences what b changes of the bundle before it, for whoever shall
// endorse it: what people gain and lose first, marks of keys last. Whatever differs is in
// one of them. Either may be a bundle that is not parsed.
func (b *Bundle) Changes(before *Bundle) []string {
	d := difference{was: before, is: b}
	for _, part := range []func(){d.place, d.custodians, d.authorities, d.certificates, d.organisations, d.catalogue, d.classes, d.limits, d.remedies, d.rules, d.stops, d.platforms, d.reviewers, d.log} {
		part()
	}
	return d.said
}

// difference collects the sentences about two bundles.
type difference struct {
	was, is *Bundle
	said    []string
}

func (d *difference) say(format string, args ...any) {
	d.said = append(d.said, strings.ReplaceAll(fmt.Sprintf(format, args...), "\n", " "))
}

// text says that a text changes, if it does; of two numbers which way.
func (d *difference) text(what, was, is string) {
	before, err := strconv.Atoi(was)
	after, other := strconv.Atoi(is)
	switch {
	case was == is:
	case err == nil && other == nil:
		d.number(what, before, after, "")
	default:
		d.say("%s changes from %s to %s.", what, quoted(was), quoted(is))
	}
}

func quoted(s string) string {
	if s == "" {
		return "nothing"
	}
	return fmt.Sprintf("%q", s)
}

// number says that a number rises or falls, if it does.
func (d *difference) number(what string, was, is int, unit string) {
	switch {
	case was < is:
		d.say("%s rises from %d to %d%s.", what, was, is, unit)
	case was > is:
		d.say("%s falls from %d to %d%s.", what, was, is, unit)
	}
}

// key says that a key, or a set of keys, is another one, by the marks of their bytes.
func (d *difference) key(what string, was, is []byte) {
	if !bytes.Equal(was, is) {
		d.say("%s changes from %s to %s.", what, mark(was), mark(is))
	}
}

// keySet says that a set of keys is another one, and which keys it gains and loses.
func (d *difference) keySet(what string, was, is []byte) {
	if bytes.Equal(was, is) {
		return
	}
	d.say("%s changes from the set %s to the set %s.", what, mark(was), mark(is))
	before, _ := document.ParseKeySet(was) // of a set that cannot be read, or is not there, the marks tell
	after, _ := document.ParseKeySet(is)
	each(before, after, keyLine,
		func(k document.Key) { d.say("%s: %s is gone.", what, keyLine(k)) },
		func(was, is document.Key) {
			d.text(what+": the time from which "+keyLine(is)+" counts", bound(was.NotBefore), bound(is.NotBefore))
			d.text(what+": the time until which "+keyLine(is)+" counts", bound(was.Expiry), bound(is.Expiry))
		},
		func(k document.Key) {
			d.say("%s: %s is new, and counts from %s until %s.", what, keyLine(k), cmp.Or(bound(k.NotBefore), "ever"), cmp.Or(bound(k.Expiry), "further notice"))
		})
}

// bound is the time from which or until which a key of a set counts, "" if it has none.
func bound(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(time.RFC3339)
}

// signer says that somebody signs with another key, and whose it was.
func (d *difference) signer(what string, was, is []byte) {
	if !bytes.Equal(was, is) {
		d.say("%s changes from %s to %s%s.", what, signerLine(was), signerLine(is), d.moved(is))
	}
}

// words says what a list gains and loses: "The court of X may now …: a, b."
func (d *difference) words(was, is []string, gains, loses string) {
	lacks := func(all []string) func(string) bool {
		return func(s string) bool { return slices.Contains(all, s) }
	}
	if gained := slices.DeleteFunc(slices.Clone(is), lacks(was)); len(gained) > 0 {
		d.say("%s: %s.", gains, strings.Join(gained, ", "))
	}
	if lost := slices.DeleteFunc(slices.Clone(was), lacks(is)); len(lost) > 0 {
		d.say("%s: %s.", loses, strings.Join(lost, ", "))
	}
}

// flag says that something begins or ends to hold, if it does.
func (d *difference) flag(was, is bool, begins, ends string) {
	switch {
	case !was && is:
		d.say("%s.", begins)
	case was && !is:
		d.say("%s.", ends)
	}
}

// each compares two lists by what its entries are called there: those that are gone, those
// that stay, those that are new. Nothing is said of an order that nothing depends on.
func each[T any](was, is []T, id func(T) string, gone func(T), stays func(was, is T), comes func(T)) {
	before := make(map[string]T)
	for _, x := range was {
		before[id(x)] = x
	}
	after := make(map[string]bool)
	for _, x := range is {
		after[id(x)] = true
		if y, known := before[id(x)]; known {
			stays(y, x)
		} else {
			comes(x)
		}
	}
	for _, x := range was {
		if !after[id(x)] {
			gone(x)
		}
	}
}

func (d *difference) place() {
	d.number("The version of the format", d.was.Version, d.is.Version, "")
	d.number("The number of the bundle", max(d.was.Number, 0), d.is.Number, "")
	if d.was.Predecessor != d.is.Predecessor && d.is.Predecessor != d.was.hash {
		d.say("It follows another bundle: %s, where the one before follows %s.", orNone(d.is.Predecessor), orNone(d.was.Predecessor))
	}
	d.text("The registrar, to whom orders are addressed,", d.was.Registrar, d.is.Registrar)
	d.text("The issuer of tokens", d.was.Issuer, d.is.Issuer)
}

func (d *difference) custodians() {
	d.number("The number of custodians who open together", d.was.Threshold, d.is.Threshold, "")
	each(d.was.Custodians, d.is.Custodians, func(c Custodian) string { return c.ID },
		func(c Custodian) { d.say("%s of %s (%s) is no longer a custodian.", c.Name, c.Organisation, c.ID) },
		func(was, is Custodian) {
			whose := "of custodian " + is.ID
			d.text("The name "+whose, was.Name, is.Name)
			d.text("The organisation "+whose, was.Organisation, is.Organisation)
			d.text("The id of the organisation "+whose, was.OrganisationID, is.OrganisationID)
			d.number("The number of the share "+whose, was.Index, is.Index, "")
			d.signer("The signing key "+whose, was.Key, is.Key)
			d.key("The recipient of exhibits "+whose, []byte(was.Recipient), []byte(is.Recipient))
			d.text("The role "+whose, was.Role, is.Role)
			d.alternates(is.ID, was.Alternates, is.Alternates)
		},
		func(c Custodian) {
			d.say("%s of %s (%s, organisation %s) becomes a custodian, with share %d, key %s%s.", c.Name, c.Organisation, c.ID, orNone(c.OrganisationID), c.Index, signerLine(c.Key), exhibitsTo(c.Recipient)+inRole(c.Role)+d.moved(c.Key))
			d.alternates(c.ID, nil, c.Alternates)
		})
	d.text("The custodians' key", d.was.ThresholdKey, d.is.ThresholdKey)
	d.text("The ceremony that made the custodians' key", d.was.Ceremony, d.is.Ceremony)
	each(d.was.Required, d.is.Required, func(r Required) string { return r.about() + "\x00" + r.String() },
		func(r Required) { d.say("Among those who approve%s need not be %s any more.", r.about(), r) },
		func(Required, Required) {},
		func(r Required) { d.say("Among those who approve%s must be %s.", r.about(), r) })
	each(d.was.Programs, d.is.Programs, func(p Program) string { return p.Name + " " + p.Version + " for " + p.Platform },
		func(p Program) {
			d.say("%s %s for %s is no longer named as a released program.", p.Name, p.Version, p.Platform)
		},
		func(was, is Program) {
			d.text(fmt.Sprintf("The SHA-256 of %s %s for %s", is.Name, is.Version, is.Platform), was.Digest, is.Digest)
		},
		func(p Program) {
			d.say("%s %s for %s is a released program, with the SHA-256 %s.", p.Name, p.Version, p.Platform, p.Digest)
		})
}

// alternates are who steps in for a custodian.
func (d *difference) alternates(custodian string, was, is []Alternate) {
	each(was, is, func(a Alternate) string { return a.ID },
		func(a Alternate) {
			d.say("%s of %s (%s) no longer steps in for custodian %s.", a.Name, a.Organisation, a.ID, custodian)
		},
		func(was, is Alternate) {
			whose := "of alternate " + is.ID
			d.text("The name "+whose, was.Name, is.Name)
			d.text("The organisation "+whose, was.Organisation, is.Organisation)
			d.text("The id of the organisation "+whose, was.OrganisationID, is.OrganisationID)
			d.signer("The signing key "+whose, was.Key, is.Key)
			d.key("The recipient of exhibits "+whose, []byte(was.Recipient), []byte(is.Recipient))
		},
		func(a Alternate) {
			d.say("%s of %s (%s, organisation %s) steps in for custodian %s, with key %s%s.", a.Name, a.Organisation, a.ID, orNone(a.OrganisationID), custodian, signerLine(a.Key), exhibitsTo(a.Recipient)+d.moved(a.Key))
		})
}

func (d *difference) authorities() {
	each(d.was.Authorities, d.is.Authorities, func(a Authority) string { return a.ID },
		func(a Authority) { d.say("%s (%s) may no longer sign.", a.Name, a.ID) },
		d.authority,
		func(a Authority) {
			d.say("%s (%s: %s, %s) may sign from now on, about: %s; at most %d orders a day, organisation %s.", a.Name, a.ID, a.Kind, a.Jurisdiction, orNone(strings.Join(a.OffenceClasses, ", ")), a.DailyWarrants, orNone(a.OrganisationID))
			d.authority(Authority{ID: a.ID, Name: a.Name, Kind: a.Kind, Jurisdiction: a.Jurisdiction, OffenceClasses: a.OffenceClasses, DailyWarrants: a.DailyWarrants, OrganisationID: a.OrganisationID}, a)
		})
}

func (d *difference) authority(was, is Authority) {
	who := fmt.Sprintf("%s (%s)", is.Name, is.ID)
	d.text("The name of authority "+is.ID, was.Name, is.Name)
	d.text("The kind of "+who, was.Kind, is.Kind)
	d.text("The jurisdiction of "+who, was.Jurisdiction, is.Jurisdiction)
	d.text("The id of the organisation of "+who, was.OrganisationID, is.OrganisationID)
	d.words(was.OffenceClasses, is.OffenceClasses, who+" may now also sign about", who+" may no longer sign about")
	d.words(was.Over, is.Over, who+" may now annul the orders of", who+" may no longer annul the orders of")
	d.words(was.ValidatedBy, is.ValidatedBy, "The orders of "+who+" may now be validated by", "The orders of "+who+" may no longer be validated by")
	d.flag(len(was.ValidatedBy) > 0, len(is.ValidatedBy) > 0, "The orders of "+who+" need a validation from now on", "The orders of "+who+" need no validation any more")
	d.number("The number of orders a day of "+who, was.DailyWarrants, is.DailyWarrants, "")
	d.text("The organisation in the certificates of "+who, was.OrganisationIdentifier, is.OrganisationIdentifier)
	d.words(was.CertificateKeys, is.CertificateKeys, who+" now signs with certificates of key", who+" no longer signs with certificates of key")
	each(was.Keys, is.Keys, func(k Key) string { return mark(k.JWK) },
		func(k Key) { d.say("%s no longer signs with key %s.", who, signerLine(k.JWK)) },
		func(was, is Key) {
			d.text("The day from which "+who+" signs with key "+signerLine(is.JWK), was.From.Format(time.RFC3339), is.From.Format(time.RFC3339))
			d.text("The day until which "+who+" signs with key "+signerLine(is.JWK), was.Until.Format(time.RFC3339), is.Until.Format(time.RFC3339))
		},
		func(k Key) {
			d.say("%s signs with key %s from %s until %s%s.", who, signerLine(k.JWK), k.From.Format(time.RFC3339), k.Until.Format(time.RFC3339), d.moved(k.JWK))
		})
}

// moved says whose key it was in the bundle before, by its thumbprint.
func (d *difference) moved(jwk []byte) string {
	print := thumbprint(jwk)
	was := func(other []byte) bool { return print != "" && print == thumbprint(other) }
	for _, a := range d.was.Authorities {
		if slices.ContainsFunc(a.Keys, func(k Key) bool { return was(k.JWK) }) {
			return ": this was the key of " + a.Name
		}
	}
	for _, c := range d.was.Custodians {
		if was(c.Key) {
			return ": this was the key of " + c.Name
		}
		for _, a := range c.Alternates {
			if was(a.Key) {
				return ": this was the key of " + a.Name
			}
		}
	}
	for _, r := range d.was.Reviewers {
		if was(r.Key) {
			return ": this was the key of " + r.Name
		}
	}
	return ""
}

func (d *difference) certificates() {
	each(d.was.anchors, d.is.anchors, Fingerprint,
		func(c *x509.Certificate) {
			d.say("Certificates by %s no longer count.", CertificateLine(c))
		},
		func(*x509.Certificate, *x509.Certificate) {},
		func(c *x509.Certificate) {
			d.say("Certificates by %s count from now on, of the keys that authorities register.", CertificateLine(c))
		})
}

func (d *difference) organisations() {
	each(d.was.Organisations, d.is.Organisations, func(o Organisation) string { return o.ID },
		func(o Organisation) {
			d.say("%s (%s) is no longer listed as an organisation: nobody of it may ask.", o.Name, o.ID)
		},
		func(was, is Organisation) { d.text("The name of organisation "+is.ID, was.Name, is.Name) },
		func(o Organisation) { d.say("%s (%s) is listed as an organisation: its people may ask.", o.Name, o.ID) })
}

func (d *difference) catalogue() {
	d.flag(len(d.was.Offences) > 0, len(d.is.Offences) > 0, "Orders name an offence of the catalogue from now on, and the law's maximum penalty counts", "There is no catalogue of offences any more: the court's own word about the penalty counts")
	each(d.was.Offences, d.is.Offences, func(o Offence) string { return o.ID },
		func(o Offence) { d.say("%s (%s, %s) is no reason for an order any more.", o.Title, o.ID, o.Statute) },
		d.offence,
		func(o Offence) {
			d.say("%s (%s, %s) becomes a reason for an order: class %s, at most %d months, asked for by %s.", o.Title, o.ID, o.Statute, o.Class, o.MaxPenaltyMonths, strings.Join(o.Authorities, ", "))
			d.offence(Offence{ID: o.ID, Title: o.Title, Statute: o.Statute, Class: o.Class, MaxPenaltyMonths: o.MaxPenaltyMonths, Authorities: o.Authorities}, o)
		})
}

func (d *difference) offence(was, is Offence) {
	of := fmt.Sprintf("%s (%s)", is.Title, is.ID)
	d.text("The title of offence "+is.ID, was.Title, is.Title)
	d.text("The statute of "+of, was.Statute, is.Statute)
	d.text("The class of "+of, was.Class, is.Class)
	d.number("The maximum penalty of "+of, was.MaxPenaltyMonths, is.MaxPenaltyMonths, " months")
	d.words(was.Authorities, is.Authorities, "About "+of+" these kinds of authority may now ask", "About "+of+" these kinds of authority may no longer ask")
	d.words(was.Fields, is.Fields, "About "+of+" these may now be asked for", "About "+of+" these may no longer be asked for")
	d.words(was.Compartments, is.Compartments, "About "+of+" custodians may now open the compartments", "About "+of+" custodians may no longer open the compartments")
	d.flag(len(was.Compartments) > 0, len(is.Compartments) > 0, "About "+of+" only the compartments that it names may be opened", "About "+of+" every compartment of its fields may be opened")
	d.flag(was.NoCopy, is.NoCopy, "Posts about "+of+" are described by the court and never copied from now on", "Posts about "+of+" may be copied to custodians from now on")
	d.quorums(of, was.Quorums, is.Quorums)
}

// quorums compares two steps by step: what holds from each number of pen names on.
func (d *difference) quorums(of string, was, is []TargetQuorum) {
	var from []int
	for _, q := range slices.Concat(was, is) {
		from = append(from, q.Targets)
	}
	slices.Sort(from)
	least := func(steps []TargetQuorum, targets int) (n int) {
		for _, q := range steps {
			if targets >= q.Targets {
				n = q.Quorum
			}
		}
		return n
	}
	for _, n := range slices.Compact(from) {
		before, after := least(was, n), least(is, n)
		if before == after {
			continue
		}
		what := "The quorum for " + of + fromOn(n, d.is.MaxTargets)
		if before == 0 || after == 0 {
			d.say("%s is %s, where it was %s.", what, orOthers(after), orOthers(before))
			continue
		}
		d.number(what, before, after, d.needed(after))
	}
}

// needed says of a quorum below the threshold that it is not enough.
func (d *difference) needed(quorum int) string {
	if quorum < d.is.Threshold {
		return fmt.Sprintf(", but %d are needed still", d.is.Threshold)
	}
	return ""
}

func orOthers(quorum int) string {
	if quorum == 0 {
		return "what the rules and the threshold say"
	}
	return fmt.Sprintf("at least %d", quorum)
}

func (d *difference) classes() {
	each(d.was.OffenceClasses, d.is.OffenceClasses, func(c OffenceClass) string { return c.ID },
		func(c OffenceClass) {
			d.say("The class %s (%s) is gone: no order is about it any more.", c.Title, c.ID)
		},
		d.class,
		func(c OffenceClass) {
			d.say("The class %s (%s) is new: from %d months on.", c.Title, c.ID, c.MinPenaltyMonths)
			d.class(OffenceClass{ID: c.ID, Title: c.Title, MinPenaltyMonths: c.MinPenaltyMonths}, c)
		})
	d.words(d.was.Fields, d.is.Fields, "Records now also hold", "Records no longer hold")
	each(d.was.Compartments, d.is.Compartments, func(c Compartment) string { return c.ID },
		func(c Compartment) { d.say("The compartment %s is gone.", c.ID) },
		func(was, is Compartment) {
			d.words(was.Fields, is.Fields, "The compartment "+is.ID+" now also opens", "The compartment "+is.ID+" no longer opens")
		},
		func(c Compartment) {
			d.say("The compartment %s is new and opens: %s.", c.ID, strings.Join(c.Fields, ", "))
		})
}

func (d *difference) class(was, is OffenceClass) {
	of := fmt.Sprintf("%s (class %s)", is.Title, is.ID)
	d.text("The title of class "+is.ID, was.Title, is.Title)
	d.number("The least maximum penalty for "+of, was.MinPenaltyMonths, is.MinPenaltyMonths, " months")
	d.words(was.Fields, is.Fields, "For "+of+" these may now be asked for", "For "+of+" these may no longer be asked for")
	d.flag(was.Speech, is.Speech, of+" is lawful speech from now on: no name is opened for it", of+" is no longer lawful speech: names may be opened for it")
	d.flag(was.Emergency, is.Emergency, of+" can be an emergency from now on", of+" can be no emergency any more")
	d.flag(was.NoCopy, is.NoCopy, "Posts of "+of+" are described by the court and never copied from now on", "Posts of "+of+" may be copied to custodians from now on")
	d.flag(was.ShowOrder, is.ShowOrder, "Whoever is told of an order about "+of+" can read it from now on", "Whoever is told of an order about "+of+" can no longer read it")
	d.flag(was.NoticeFirst, is.NoticeFirst, "In cases of "+of+" the person is told first from now on, and it is never secret", "In cases of "+of+" the person is no longer told first, and it may be secret")
}

func (d *difference) limits() {
	d.number("The number of pen names in an order", d.was.MaxTargets, d.is.MaxTargets, "")
	d.number("The longest secrecy", d.was.MaxSecrecyDays, d.is.MaxSecrecyDays, " days")
	d.number("The shortest secrecy that counts", d.was.MinSecrecyDays, d.is.MinSecrecyDays, " days")
	d.number("The longest validity of an order", d.was.MaxValidityDays, d.is.MaxValidityDays, " days")
	d.number("The time for which a preservation holds", d.was.HoldDays, d.is.HoldDays, " days")
	d.number("The time by which an extension prolongs it", d.was.ExtensionDays, d.is.ExtensionDays, " days")
	d.number("The time in which an emergency must be validated", d.was.ValidationHours, d.is.ValidationHours, " hours")
	d.words(d.was.LeafFacets, d.is.LeafFacets, "The public log now also says of an order its", "The public log no longer says of an order its")
	d.number("The least number that the statistics of a year tell", d.was.SmallCount, d.is.SmallCount, "")
	d.number("The time after a sign-in in which a post counts as evidence", d.was.PostSpanHours, d.is.PostSpanHours, " hours")
	d.number("The time for which exhibits are kept after their case", d.was.AppealDays, d.is.AppealDays, " days")
}

// remedies: one that says anything else is another one.
func (d *difference) remedies() {
	each(d.was.Remedies, d.is.Remedies, remedyLine,
		func(r Remedy) { d.say("This remedy is no longer named to people: %s.", remedyLine(r)) },
		func(Remedy, Remedy) {},
		func(r Remedy) { d.say("This remedy is named to people from now on: %s.", remedyLine(r)) })
}

// rules compares each rule by its @id, and says of a file whatever else changes in it.
func (d *difference) rules() {
	was, before := placed(d.was.Policies)
	is, after := placed(d.is.Policies)
	each(was, is, func(r placedRule) string { return r.id },
		func(r placedRule) { d.say("Rule %s is gone: its title was %q.", r.id, r.said["title"]) },
		func(was, is placedRule) {
			for _, a := range annotations {
				d.annotation(fmt.Sprintf("%s of rule %s", a.what, is.id), a.name, was.said, is.said)
			}
			d.text("The file of rule "+is.id, was.file, is.file)
			if was.text != is.text {
				d.said = append(d.said, fmt.Sprintf("In rule %s (%s) the condition changes. It was\n%s\nand is\n%s", is.id, is.said["title"], indented(was.text), indented(is.text)))
			}
		},
		func(r placedRule) {
			d.said = append(d.said, fmt.Sprintf("Rule %s is new and says\n%s", r.id, indented(r.text)))
			for _, a := range annotations {
				d.text(fmt.Sprintf("%s of rule %s", a.what, r.id), "", r.said[a.name])
			}
		})
	both := maps.Clone(d.was.Policies)
	maps.Copy(both, d.is.Policies)
	for _, name := range slices.Sorted(maps.Keys(both)) {
		old, had := d.was.Policies[name]
		text, has := d.is.Policies[name]
		switch {
		case !had:
			d.say("Rule file %s is new.", name)
			d.remarks(name, "", text)
		case !has:
			d.say("Rule file %s is gone.", name)
		case before[name] != nil || after[name] != nil:
			if old != text {
				d.say("Rule file %s changes from %s to %s and is not one that can be read: %v.", name, mark([]byte(old)), mark([]byte(text)), cmp.Or(after[name], before[name]))
			}
		case old != text:
			d.file(name, old, text, inFile(was, name), inFile(is, name))
		}
	}
}

// file says what changes in a rule file beside what its rules say.
func (d *difference) file(name, old, text string, was, is []placedRule) {
	said := len(d.said)
	d.remarks(name, old, text)
	ids := func(rules []placedRule) (all []string) {
		for _, r := range rules {
			all = append(all, r.id)
		}
		return all
	}
	if reordered(ids(was), ids(is)) || reordered(comments(old), comments(text)) {
		d.say("Rule file %s has its rules or comments in another order.", name)
	}
	if len(d.said) == said && fmt.Sprint(was) == fmt.Sprint(is) {
		d.say("Rule file %s is written otherwise, from %s to %s, with the same rules and comments.", name, mark([]byte(old)), mark([]byte(text)))
	}
}

// remarks says which comments a rule file gains and loses.
func (d *difference) remarks(name, old, text string) {
	each(comments(old), comments(text), func(s string) string { return s },
		func(s string) { d.say("Rule file %s has no longer the comment: %s", name, s) },
		func(string, string) {},
		func(s string) { d.say("Rule file %s has a new comment: %s", name, s) })
}

// reordered reports whether what stays of a list stands in another order.
func reordered(was, is []string) bool {
	stays := func(all, in []string) []string {
		return slices.DeleteFunc(slices.Clone(all), func(s string) bool { return !slices.Contains(in, s) })
	}
	return !slices.Equal(stays(was, is), stays(is, was))
}

func indented(text string) string {
	return "    " + strings.ReplaceAll(strings.TrimSpace(text), "\n", "\n    ")
}

func inFile(rules []placedRule, name string) []placedRule {
	return slices.DeleteFunc(slices.Clone(rules), func(r placedRule) bool { return r.file != name })
}

// comments are the comments of a rule file, those on lines after one another as one.
func comments(text string) (all []string) {
	follows := false
	for line := range strings.Lines(text) {
		code, comment := split(line)
		alone := strings.TrimSpace(code) == ""
		if comment != "" && follows && alone {
			all[len(all)-1] += " " + comment
		} else if comment != "" {
			all = append(all, comment)
		}
		follows = comment != ""
	}
	return all
}

// split cuts the comment off a line of Cedar: what follows two slashes outside of a text.
func split(line string) (code, comment string) {
	quoted := false
	for i := 0; i < len(line); i++ {
		switch {
		case line[i] == '"':
			quoted = !quoted
		case quoted && line[i] == '\\':
			i++
		case !quoted && strings.HasPrefix(line[i:], "//"):
			return line[:i], strings.TrimSpace(line[i+2:])
		}
	}
	return line, ""
}

// annotation says that an annotation changes, if it does; of a quorum, too, whether it is enough.
func (d *difference) annotation(what, name string, was, is map[string]string) {
	before, err := strconv.Atoi(was[name])
	after, other := strconv.Atoi(is[name])
	if name == "quorum" && err == nil && other == nil {
		d.number(what, before, after, d.needed(after))
		return
	}
	d.text(what, was[name], is[name])
}

// annotations are what a rule says of itself beside its id, in the words of a sentence.
var annotations = []struct{ name, what string }{
	{"title", "The title"}, {"quorum", "The quorum"}, {"notice_days", "The number of days that a person has to object"},
	{"field", "The field named in refusals"}, {"article", "The law named in refusals"}, {"cure", "The cure named in refusals"},
}

// placedRule is a rule, the file that it stands in, and what it says without and in its
// annotations.
type placedRule struct {
	id, file, text string
	said           map[string]string
}

// placed are the rules of all files that can be read, and why the others cannot.
func placed(files map[string]string) (rules []placedRule, faults map[string]error) {
	faults = make(map[string]error)
	for _, name := range slices.Sorted(maps.Keys(files)) {
		policies, err := cedar.NewPolicyListFromBytes(name, []byte(files[name]))
		if err != nil {
			faults[name] = err
			continue
		}
		for _, p := range policies {
			said := make(map[string]string)
			for name, text := range p.Annotations() {
				said[string(name)] = string(text)
			}
			bare := *(*cedarast.Policy)(p.AST())
			bare.Annotations = nil
			rules = append(rules, placedRule{said["id"], name, string(cedar.NewPolicyFromAST((*ast.Policy)(&bare)).MarshalCedar()), said})
		}
	}
	return rules, faults
}

func (d *difference) stops() {
	what := func(s Stop) string {
		switch {
		case s.Case != nil:
			return fmt.Sprintf("the case of entry %d", *s.Case)
		case s.Authority != "":
			return "every earlier case of authority " + s.Authority
		}
		return "platform " + s.Platform + ", with every earlier case about it"
	}
	each(d.was.Stops, d.is.Stops, what,
		func(s Stop) { d.say("It no longer stops %s.", what(s)) },
		func(Stop, Stop) {},
		func(s Stop) { d.say("It stops %s.", what(s)) })
}

func (d *difference) platforms() {
	each(d.was.Platforms, d.is.Platforms, func(p Platform) string { return p.ID },
		func(p Platform) {
			d.say("%s (%s) is no longer listed as a platform whose evidence counts at once.", p.Name, p.ID)
		},
		func(was, is Platform) {
			d.text("The name of platform "+is.ID, was.Name, is.Name)
			d.keySet("What platform "+is.ID+" signs evidence with", was.Keys, is.Keys)
		},
		func(p Platform) {
			d.say("Evidence of %s (%s) counts at once, under %s.", p.Name, p.ID, keysLine(p.Keys))
		})
	d.keySet("What the issuer signs tokens with", d.was.IssuerKeys, d.is.IssuerKeys)
	was, is := cmp.Or(d.was.Registry, &Registry{}), cmp.Or(d.is.Registry, &Registry{})
	d.flag(d.was.Registry != nil, d.is.Registry != nil, "Platforms are registered in the public log from now on", "Platforms are no longer registered in the public log")
	d.keySet("What signs the records of platforms", was.Keys, is.Keys)
	d.number("The time that a new platform or key waits until its evidence counts in a new case", was.WaitingDays, is.WaitingDays, " days")
}

func (d *difference) reviewers() {
	each(d.was.Reviewers, d.is.Reviewers, func(r Reviewer) string { return r.ID },
		func(r Reviewer) { d.say("%s (%s) no longer decides about enrolments that are held.", r.Name, r.ID) },
		func(was, is Reviewer) {
			d.text("The name of reviewer "+is.ID, was.Name, is.Name)
			d.signer("The key of reviewer "+is.ID, was.Key, is.Key)
		},
		func(r Reviewer) {
			d.say("%s (%s) decides about enrolments that are held, with key %s%s.", r.Name, r.ID, signerLine(r.Key), d.moved(r.Key))
		})
}

func (d *difference) log() {
	d.text("The name of the public log", d.was.Log.Origin, d.is.Log.Origin)
	d.text("The key of the public log", d.was.Log.VKey, d.is.Log.VKey)
	d.number("The number of witnesses who cosign the public log", d.was.Log.Quorum, d.is.Log.Quorum, "")
	each(d.was.Log.Witnesses, d.is.Log.Witnesses, func(w Witness) string { return w.Name },
		func(w Witness) {
			d.say("%s, run by %s, no longer counts as a witness of the public log.", w.Name, w.Operator)
		},
		func(was, is Witness) {
			d.text("Who runs witness "+is.Name, was.Operator, is.Operator)
			d.text("The address of witness "+is.Name, was.URL, is.URL)
			d.text("The key of witness "+is.Name, was.VKey, is.VKey)
		},
		func(w Witness) {
			d.say("%s, run by %s, counts as a witness of the public log, at %s with key %s.", w.Name, w.Operator, orNone(w.URL), mark([]byte(w.VKey)))
		})
}
