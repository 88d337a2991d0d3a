package policy

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	cedar "github.com/cedar-policy/cedar-go"

	"github.com/go-jose/go-jose/v4"

	"github.com/penname/penname/verifier/document"
	"github.com/penname/penname/verifier/refusal"
)

// filing is a production warrant that is allowed under rules of version 5, with what it is
// filed with and what the log says.
type filing struct {
	*world
	Warrant
	by       jose.JSONWebKey
	evidence []string
	counters []func(hash string) string // the countersignatures, over its hash
	known    Facts
	at       time.Time
}

func (w *world) filing(t testing.TB) *filing {
	v, evidence := w.production(t)
	return &filing{world: w, Warrant: v, by: w.court, evidence: evidence, at: now}
}

func (f *filing) decided(t testing.TB, changes ...func(*filing)) Decision {
	t.Helper()
	for _, change := range changes {
		change(f)
	}
	s := Submission{Warrant: sign(t, f.by, f.Warrant), Evidence: f.evidence}
	hash := Hash(s.Warrant)
	for _, c := range f.counters {
		s.Countersigned = append(s.Countersigned, c(hex.EncodeToString(hash[:])))
	}
	d := Decide(s, f.bundle, f.known, f.at)
	if f.known.Recorded == nil && f.known.RecordedAt.IsZero() {
		checkTellsBefore(t, s, f.bundle, f.known, f.at, d)
	}
	return d
}

// issuedBy makes the warrant that of another authority.
func issuedBy(id string) func(*filing) {
	return func(f *filing) { f.Authority, f.by = id, key(id) }
}

// countersigned adds the signature of an authority, changed.
func countersigned(t testing.TB, id string, k jose.JSONWebKey, changes ...func(*Warrant)) func(*filing) {
	return func(f *filing) {
		f.counters = append(f.counters, func(hash string) string { return sign(t, k, f.about(Validation, hash, id, changes...)) })
	}
}

// about is a warrant of an authority about an earlier one.
func (w *world) about(kind, hash, id string, changes ...func(*Warrant)) Warrant {
	v := Warrant{ID: "V1", Kind: kind, Earlier: hash, Authority: id, Jurisdiction: "GB", FileNumber: "V1", OffenceClass: "threat_to_life",
		Grounds: "The case was examined.", Bundle: w.bundle.Hash(), Audience: "https://penname.example", IssuedAt: now.Add(-time.Hour), Expiry: now.AddDate(0, 0, 14)}
	for _, change := range changes {
		change(&v)
	}
	return v
}

// inEmergency makes it an emergency warrant for a threat to life.
func inEmergency(f *filing) {
	f.Kind, f.Deadline, f.OffenceID, f.OffenceClass = Emergency, EightHours, "threat_to_kill", "threat_to_life"
}

// noSecrecy lets the person be told at once.
func noSecrecy(f *filing) { f.Secrecy = Secrecy{Ends: f.IssuedAt} }

func defamation(f *filing) {
	noSecrecy(f)
	f.OffenceID, f.OffenceClass, f.MaxPenaltyMonths = "defamation", "defamation", 0
}

// orderRows are what rules of version 5 refuse, each with its twin that they allow.
var orderRows = map[string]struct {
	refused, allowed []func(*filing)
	want             *refusal.Error
	rules            []string
}{
	"no offence of the catalogue": {
		refused: of(func(f *filing) { f.OffenceID = "" }), want: ErrOffence,
		allowed: of(func(f *filing) { f.OffenceID = "threat_of_rape" })},
	"an offence that nobody listed": {
		refused: of(func(f *filing) { f.OffenceID = "heresy" }), want: ErrOffence,
		allowed: of(func(f *filing) { f.OffenceID, f.OffenceClass = "stalking", "stalking" })},
	"the class of another offence: Jo is not opened for her words": {
		refused: of(func(f *filing) { f.OffenceID, f.OffenceClass = "insult_or_criticism", "threat_to_life" }), want: ErrOffenceClass,
		allowed: of(func(f *filing) { f.OffenceID, f.OffenceClass = "threat_to_kill", "threat_to_life" })},
	"criticism, whatever the court states": {
		refused: of(func(f *filing) {
			f.OffenceID, f.OffenceClass, f.MaxPenaltyMonths = "insult_or_criticism", "insult_or_criticism", 0
		}), want: ErrRefusedByRule, rules: []string{"criticism-is-not-a-crime"},
		allowed: of(defamation)},
	"more months than the statute": {
		refused: of(func(f *filing) { f.MaxPenaltyMonths = 61 }), want: ErrPenalty,
		allowed: of(func(f *filing) { f.MaxPenaltyMonths = 60 })},
	"a statute that is below its class": {
		refused: of(func(f *filing) {
			f.OffenceID, f.OffenceClass, f.MaxPenaltyMonths = "petty", "other_serious_offence", 12
		}),
		want: ErrRefusedByRule, rules: []string{"offence-is-serious-enough"},
		allowed: of(func(f *filing) {
			f.OffenceID, f.OffenceClass, f.MaxPenaltyMonths = "blackmail", "other_serious_offence", 12
		})},
	"L08 a kind of authority that may not ask": {
		refused: of(issuedBy("prosecutor"), defamation), want: ErrOffenceAuthority,
		allowed: of(issuedBy("tribunal"), defamation, func(f *filing) { f.Jurisdiction = "FR" })},
	"L08 Germany for France": {
		refused: of(issuedBy("tribunal"), func(f *filing) { f.Jurisdiction = "DE" }), want: ErrRefusedByRule, rules: []string{"own-jurisdiction"},
		allowed: of(issuedBy("tribunal"), func(f *filing) { f.Jurisdiction = "FR-75" })},
	"L08 England for Scotland": {
		refused: of(issuedBy("magistrates"), func(f *filing) { f.Jurisdiction = "GB-SCT" }), want: ErrRefusedByRule, rules: []string{"own-jurisdiction"},
		allowed: of(func(f *filing) { f.Jurisdiction = "GB-SCT" })},
	"L08 England for Great Britain": {
		refused: of(issuedBy("magistrates")), want: ErrRefusedByRule, rules: []string{"own-jurisdiction"},
		allowed: of(issuedBy("magistrates"), func(f *filing) { f.Jurisdiction = "GB-ENG" })},
	"L15 a field that the offence does not open": {
		refused: of(func(f *filing) {
			f.OffenceID, f.OffenceClass, f.Fields = "threat_to_kill", "threat_to_life", []string{"name", "email"}
		}), want: ErrOffenceFields,
		allowed: of(func(f *filing) {
			f.OffenceID, f.OffenceClass, f.Fields = "threat_to_kill", "threat_to_life", []string{"name", "birthdate"}
		})},
	"L15 a field that the class does not open": {
		refused: of(func(f *filing) { f.Fields = []string{"email"} }), want: ErrRefusedByRule, rules: []string{"only-fields-this-offence-allows"},
		allowed: of(func(f *filing) { f.Fields = []string{"name", "birthdate"} })},
	"L17 defamation in secret": {
		refused: of(defamation, func(f *filing) { f.Secrecy = Secrecy{f.IssuedAt.AddDate(0, 0, 30), "He would move."} }), want: ErrToldFirst,
		allowed: of(defamation)},
	"L18 an organisation that nobody knows": {
		refused: of(func(f *filing) { f.Requester.OrganisationID = "" }), want: ErrRequester,
		allowed: of(func(f *filing) { f.Requester.OrganisationID = "crown-court" })},
	"L19 a custodian's organisation under another name": {
		refused: of(func(f *filing) {
			f.Requester.OrganisationID, f.Requester.Organisation = "custodian-2", "Friends of the Press"
		}), want: ErrCustodianAsks,
		allowed: of(func(f *filing) { f.Requester.Organisation = "press council" })},
	"L19 an answer that a custodian reads": {
		refused: of(func(f *filing) { f.Requester.DeliveryKey = deliveryOf(f.bundle.Custodians[0].ID) }), want: ErrCustodianAsks,
		allowed: of(func(f *filing) { f.Requester.DeliveryKey = f.delivery })},
	"L19 a prosecutor grants their own request": {
		refused: of(issuedBy("prosecutor"), func(f *filing) {
			f.OffenceID, f.OffenceClass, f.Requester.OrganisationID = "threat_to_kill", "threat_to_life", "prosecutor"
		}), want: ErrRefusedByRule, rules: []string{"nobody-grants-their-own-request"},
		allowed: of(issuedBy("prosecutor"), func(f *filing) { f.OffenceID, f.OffenceClass = "threat_to_kill", "threat_to_life" })},
	"L11 dated back without a word": {
		refused: of(func(f *filing) { f.IssuedAt = now.Add(-24*time.Hour - time.Second) }), want: ErrDatedBack,
		allowed: of(func(f *filing) {
			f.IssuedAt, f.DatedBack = now.Add(-24*time.Hour-time.Second), "The clerk of the court was ill."
		})},
	"L11 a day old": {
		refused: of(func(f *filing) { f.IssuedAt, f.DatedBack = now.AddDate(0, 0, -2), " \n" }), want: ErrDatedBack,
		allowed: of(func(f *filing) { f.IssuedAt = now.Add(-24 * time.Hour) })},
	"a post younger than the warrant": {
		refused: of(func(f *filing) { f.IssuedAt, f.DatedBack = now.AddDate(0, 0, -4), "It lay about." }), want: ErrBadEvidence,
		allowed: of(func(f *filing) { f.IssuedAt, f.DatedBack = now.AddDate(0, 0, -2), "It lay about." })},
	"L26 eight hours without an emergency": {
		refused: of(inEmergency, func(f *filing) { f.Kind = Production }), want: ErrDeadline,
		allowed: of(inEmergency)},
	"L26 an emergency in ten days": {
		refused: of(inEmergency, func(f *filing) { f.Deadline = TenDays }), want: ErrDeadline,
		allowed: of(inEmergency)},
	"L26 an emergency of four days ago": {
		refused: of(inEmergency, func(f *filing) { f.IssuedAt, f.DatedBack = now.AddDate(0, 0, -4), "It lay about." }), want: ErrDatedBack,
		allowed: of(inEmergency, func(f *filing) { f.IssuedAt = now.Add(-time.Hour) })},
	"L26 an emergency without a threat to life": {
		refused: of(inEmergency, func(f *filing) { f.OffenceID, f.OffenceClass = "fraud", "payment_fraud" }),
		want:    ErrRefusedByRule, rules: []string{"eight-hours-only-for-threats-to-life"},
		allowed: of(inEmergency)},
	"an order of another state without its hash": {
		refused: of(func(f *filing) { f.Recognises = &ForeignOrder{"Amtsgericht", "DE", "7 Gs 1/26", "x"} }), want: ErrRecognises,
		allowed: of(func(f *filing) { f.Recognises = &ForeignOrder{"Amtsgericht", "DE", "7 Gs 1/26", digest("order")} })},
	"an order of its own state": {
		refused: of(func(f *filing) { f.Recognises = &ForeignOrder{"Sheriff Court", "GB", "1", digest("order")} }), want: ErrRecognises,
		allowed: of(func(f *filing) { f.Recognises = &ForeignOrder{"Tribunal", "FR", "1", digest("order")} })},
	"jointly with nobody": {
		refused: of(func(f *filing) { f.Jointly = []string{"peoples-court"} }), want: ErrJointly,
		allowed: of(func(f *filing) { f.Jointly = nil })},
	"jointly with itself": {
		refused: of(func(f *filing) { f.Jointly = []string{f.Authority} }), want: ErrJointly,
		allowed: of(func(f *filing) { f.Jointly = nil })},
	"a role of nobody": {
		refused: of(func(f *filing) { f.Targets[0].Role = "accomplice" }), want: ErrRole,
		allowed: of(func(f *filing) { f.Targets[0].Role = RoleWitness })},
	"a hold of more than 60 days": {
		refused: of(hold, func(f *filing) { f.Expiry = f.IssuedAt.Add(60*day + time.Second) }), want: ErrValidity,
		allowed: of(hold, func(f *filing) { f.Expiry = f.IssuedAt.Add(60 * day) })},
	"a link of two": {
		refused: of(link, func(f *filing) {
			f.Targets = append(f.Targets, Target{Pseudonym: other, Platform: square, Evidence: digest("x")})
		}), want: ErrOneTarget,
		allowed: of(link)},
	"a link by a prosecutor": {
		refused: of(issuedBy("prosecutor"), link), want: ErrNotPermitted,
		allowed: of(link)},
	"a link that asks for fields": {
		refused: of(link, func(f *filing) { f.Fields = []string{"name"} }), want: ErrFields,
		allowed: of(link)},
	"a link without an address": {
		refused: of(link, func(f *filing) { f.Requester.DeliveryKey = "" }), want: ErrDeliveryKey,
		allowed: of(link)},
	"a suspension that wants an answer": {
		refused: of(suspension, func(f *filing) { f.Requester.DeliveryKey = f.delivery }), want: ErrDeliveryKey,
		allowed: of(suspension)},
	"a suspension of a journalist": {
		refused: of(suspension, func(f *filing) { f.Flags = []string{FlagJournalist} }), want: ErrRefusedByRule, rules: []string{"press-freedom"},
		allowed: of(suspension)},
}

func of(changes ...func(*filing)) []func(*filing) { return changes }

func link(f *filing) {
	f.Kind, f.Fields, f.OffenceID, f.OffenceClass = Link, nil, "threat_to_kill", "threat_to_life"
}

func suspension(f *filing) {
	f.Kind, f.Fields, f.Requester.DeliveryKey = Suspension, nil, ""
}

func hold(f *filing) { f.Kind, f.Fields, f.Requester.DeliveryKey = Preservation, nil, "" }

// narrowed is a catalogue in which one offence opens one compartment, and one that is below
// its class.
func narrowed(b *Bundle) {
	b.Compartments = DefaultCompartments()
	o := find(b.Offences, func(o *Offence) bool { return o.ID == "threat_to_kill" })
	o.Fields, o.Compartments = []string{"name", "birthdate"}, []string{"identity"}
	find(b.Offences, func(o *Offence) bool { return o.ID == "defamation" }).Authorities = []string{"court"}
	b.Offences = append(b.Offences, Offence{ID: "petty", Title: "A petty offence", Statute: "Vagrancy Act 1824, s. 4", MaxPenaltyMonths: 12,
		Class: "other_serious_offence", Authorities: []string{"court"}, Fields: []string{"name"}})
}

func TestOrdersUnderTheCatalogue(t *testing.T) {
	w := fifth(t, narrowed)
	for name, row := range orderRows {
		t.Run(name, func(t *testing.T) {
			f := w.filing(t)
			wantRefused(t, f.decided(t, row.refused...), row.want, row.rules...)
			before := f.beforeSigning()
			if early := !row.want.Is(ErrBadEvidence); early && !row.want.Is(before.Refusal) || !slices.Equal(before.Rules, row.rules) && early {
				t.Errorf("before it is signed: %v %v", before.Refusal, before.Rules)
			}
			f = w.filing(t)
			d := f.decided(t, row.allowed...)
			if !d.Allowed {
				t.Errorf("its twin: %v because %v %v", d.Refusal, cause(d.Refusal), d.Rules)
			}
			if before := f.beforeSigning(); !before.Allowed {
				t.Errorf("its twin, before it is signed: %v", before.Refusal)
			}
		})
	}
}

// beforeSigning is BeforeSigning of the filing by whoever knows what the bundle calls the
// requester's organisation.
func (f *filing) beforeSigning() Decision {
	w := f.Warrant
	for _, o := range f.bundle.Organisations {
		if o.ID == w.Requester.OrganisationID {
			w.Requester.Organisation = o.Name
		}
	}
	return BeforeSigning(w, "", f.by, f.bundle, now)
}

// What would mislead whoever reads a warrant is not signed, and what is in haste is not dated
// back.
func TestBeforeSigningDatesAndNames(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*filing)
		want   *refusal.Error
	}{
		"dated back, and issued today":          {func(f *filing) { f.DatedBack = "It lay about." }, ErrDatedBack},
		"dated back, and issued the day before": {func(f *filing) { f.DatedBack, f.IssuedAt = "It lay about.", now.AddDate(0, 0, -1) }, nil},
		"another name of the organisation":      {func(f *filing) { f.Requester.Organisation = "Metropolitan Polis" }, ErrRequester},
	} {
		f := fifth(t).filing(t)
		if d := f.decided(t, c.change); !d.Allowed { // older documents stay what they are
			t.Errorf("%s: %v", name, d.Refusal)
		}
		if d := BeforeSigning(f.Warrant, "", f.by, f.bundle, now); d.Allowed != (c.want == nil) || c.want != nil && !c.want.Is(d.Refusal) {
			t.Errorf("%s: %v", name, d.Refusal)
		}
	}
}

// What a rule refuses names the field and what to do, and the law where there is one.
func TestRefusalsNameTheFieldAndTheCure(t *testing.T) {
	for name, text := range DefaultRules() {
		rules, err := compileRules(map[string]string{name: text}, 2, 3)
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range rules {
			forbids := r.policy.Effect() == cedar.Forbid
			if forbids != (r.Field != "") || forbids != (r.Cure != "") {
				t.Errorf("%s: field %q, cure %q", r.id, r.Field, r.Cure)
			}
		}
	}
	d := fifth(t).decide(t, func(v *Warrant) { v.Flags = []string{FlagJournalist} })
	if len(d.Grounds) != 1 || d.Grounds[0].Field != "flags" || !strings.Contains(d.Grounds[0].Article, "Art. 12(1)(a)") || d.Grounds[0].Cure == "" {
		t.Errorf("%+v", d.Grounds)
	}
	for _, text := range []string{
		`@id("x") @title("t") @quorum("2") @notice_days("0") @cure("c") permit (principal, action, resource);`,
		`@id("x") @title("t") @cure("") forbid (principal, action, resource);`,
	} {
		if _, err := compileRules(map[string]string{"x.cedar": text}, 2, 3); err == nil {
			t.Error("accepted:", text)
		}
	}
}

// The words of a quorum follow the bundle: one more than the threshold, or everybody.
func TestQuorumInWords(t *testing.T) {
	for _, c := range []struct {
		says         string
		threshold, n int
		want         int
	}{{"more", 2, 3, 3}, {"more", 2, 2, 2}, {"more", 3, 7, 4}, {"all", 2, 7, 7}, {"5", 2, 7, 5}} {
		text := `@id("x") @title("t") @quorum("` + c.says + `") @notice_days("0") permit (principal, action, resource);`
		rules, err := compileRules(map[string]string{"x.cedar": text}, c.threshold, c.n)
		if err != nil || rules[0].quorum != c.want {
			t.Errorf("%+v: %v", c, err)
		}
	}
}

// Splitting an order gains nothing: targets count as filed, and with what the authority
// and the requester filed in 30 days.
func TestL09ManyTargetsNeedMoreCustodians(t *testing.T) {
	w := fifth(t, func(b *Bundle) {
		find(b.Offences, func(o *Offence) bool { return o.ID == "threat_of_rape" }).Quorums = []TargetQuorum{{2, 3}, {100, 200}}
	})
	for name, c := range map[string]struct {
		filed *Filed
		two   bool
		want  int
	}{
		"one":                        {nil, false, 2},
		"one, and nothing before":    {&Filed{}, false, 2},
		"two":                        {nil, true, 3},
		"one after one of the court": {&Filed{Authority30: 1}, false, 3},
		"one after one of the force": {&Filed{Requester30: 1}, false, 3},
		"more than there are":        {&Filed{Requester30: 200}, false, 3},
		"both do not add up":         {&Filed{Authority30: 0, Requester30: 0, Today: 1}, false, 2},
	} {
		f := w.filing(t)
		f.known.Filed = c.filed
		if c.two {
			addTarget(t, f)
		}
		if d := f.decided(t); !d.Allowed || d.Quorum != c.want || d.OverDaily {
			t.Errorf("%s: quorum %d, %v", name, d.Quorum, d.Refusal)
		}
	}
}

// addTarget adds a second one with its evidence.
func addTarget(t testing.TB, f *filing) {
	e := f.world.evidence(t, square, "second troll", 7, now.AddDate(0, 0, -3))
	f.Targets = append(f.Targets, Target{Pseudonym: pseudonym(t, "second troll"), Platform: square, Evidence: digest(e)})
	f.evidence = append(f.evidence, e)
}

// L27: over its daily number an authority's orders are held for all custodians; what stops
// an order is not counted.
func TestL27OverTheDailyNumberAllCustodiansMustApprove(t *testing.T) {
	w := fifth(t)
	for today, over := range map[int]bool{0: false, 9: false, 10: true, 11: true} {
		f := w.filing(t)
		f.known.Filed = &Filed{Today: today}
		if d := f.decided(t); !d.Allowed || d.OverDaily != over || (d.Quorum == 3) != over {
			t.Errorf("%d: %v, %v, quorum %d", today, d.Refusal, d.OverDaily, d.Quorum)
		}
	}
	f, earlier := w.filing(t), w.filing(t)
	f.stops(t, Withdrawal, earlier, "crown-court")
	f.known.Filed = &Filed{Today: 100}
	if d := f.decided(t); !d.Allowed || d.OverDaily {
		t.Error(d.Refusal, d.OverDaily)
	}
}

// Secrecy that is over before anybody could be told is none: the person is told first.
func TestL17SecrecyTooShortIsNone(t *testing.T) {
	w := fifth(t)
	for name, c := range map[string]struct {
		for_ time.Duration
		none bool
	}{"none": {0, true}, "a second": {time.Second, true}, "six days and 23 hours": {7*day - time.Hour, true}, "a week": {7 * day, false}} {
		f := w.filing(t)
		f.Secrecy = Secrecy{f.IssuedAt.Add(c.for_), "The investigation would be frustrated."}
		d := f.decided(t)
		if !d.Allowed || (d.NoticePeriod == 10*day) != c.none || w.bundle.WithoutSecrecy(f.Warrant) != c.none {
			t.Errorf("%s: %v, %v", name, d.Refusal, d.NoticePeriod)
		}
	}
	var none *Bundle
	v := w.filing(t).Warrant
	if v.Secrecy.Ends = v.IssuedAt.Add(time.Second); none.WithoutSecrecy(v) {
		t.Error("without a bundle nobody knows how short is too short")
	}
}

// An offence of speech that the law knows: the person is told first, and one custodian
// more must approve, whatever the rules say.
func TestDefamationIsToldFirst(t *testing.T) {
	lax := `@id("anything") @title("Anything goes") @quorum("1") @notice_days("0") permit (principal, action, resource);`
	for name, w := range map[string]*world{"the default rules": fifth(t), "lax rules": fifth(t, func(b *Bundle) { b.Policies = map[string]string{"lax.cedar": lax} })} {
		if d := w.filing(t).decided(t, defamation); !d.Allowed || d.NoticePeriod != 10*day || d.Quorum != 3 {
			t.Errorf("%s: %v, %v, quorum %d", name, d.Refusal, d.NoticePeriod, d.Quorum)
		}
	}
	// And a link wants one more, too.
	if d := fifth(t).filing(t).decided(t, link); d.Quorum != 3 || d.Opens || len(d.Exhibits) != 1 {
		t.Errorf("%v, quorum %d, %v", d.Refusal, d.Quorum, d.Exhibits)
	}
}

// stops makes a filing the end of an earlier one, which the log holds.
func (f *filing) stops(t testing.TB, kind string, earlier *filing, id string, named ...Target) {
	t.Helper()
	raw := sign(t, earlier.by, earlier.Warrant)
	f.Warrant = f.about(kind, digest(raw), id)
	f.Targets, f.evidence = named, nil
	f.known.Earlier = &Recorded{Warrant: raw, Leaf: 40}
	if id != "crown-court" {
		f.by = key(id)
	}
}

// An earlier warrant that does not exist, or is of the wrong kind or of somebody else's, is
// refused.
func TestWhatTheEarlierWarrantMustBe(t *testing.T) {
	w := fifth(t)
	magistrates := func(f *filing) { issuedBy("magistrates")(f); f.Jurisdiction = "GB-ENG" }
	for name, c := range map[string]struct {
		kind, id string
		earlier  []func(*filing)
		change   func(*filing)
		want     *refusal.Error
	}{
		"a court withdraws its own":            {Withdrawal, "crown-court", nil, nil, nil},
		"another court's":                      {Withdrawal, "magistrates", nil, nil, ErrEarlierAuthority},
		"a court over it withdraws":            {Withdrawal, "crown-court", of(magistrates), nil, ErrEarlierAuthority},
		"a court over it annuls":               {Annulment, "crown-court", of(magistrates), nil, nil},
		"a court below annuls":                 {Annulment, "magistrates", nil, nil, ErrEarlierAuthority},
		"a court annuls its own":               {Annulment, "crown-court", nil, nil, ErrEarlierAuthority},
		"nothing of that hash":                 {Withdrawal, "crown-court", nil, func(f *filing) { f.known.Earlier = nil }, ErrNoEarlier},
		"another than it names":                {Withdrawal, "crown-court", nil, func(f *filing) { f.Earlier = digest("x") }, ErrNoEarlier},
		"a withdrawal of a withdrawal":         {Withdrawal, "crown-court", of(func(f *filing) { f.stops(t, Withdrawal, w.filing(t), "crown-court") }), nil, ErrEarlierKind},
		"secrecy that is lifted":               {SecrecyChange, "crown-court", nil, func(f *filing) { f.Secrecy.Ends = f.IssuedAt }, nil},
		"secrecy to the maximum":               {SecrecyChange, "crown-court", nil, func(f *filing) { f.Secrecy = Secrecy{f.IssuedAt.AddDate(0, 0, 365), "He hides."} }, nil},
		"secrecy beyond the first issue":       {SecrecyChange, "crown-court", of(func(f *filing) { f.IssuedAt = now.Add(-2 * time.Hour) }), func(f *filing) { f.Secrecy = Secrecy{f.IssuedAt.AddDate(0, 0, 365), "He hides."} }, ErrSecrecy},
		"secrecy that is longer for no reason": {SecrecyChange, "crown-court", nil, func(f *filing) { f.Secrecy.Ends = f.IssuedAt.AddDate(0, 0, 100) }, ErrSecrecy},
		"secrecy to the maximum of the rules of its day": {SecrecyChange, "crown-court", nil, func(f *filing) {
			f.Secrecy, f.known.Earlier.MaxSecrecyDays = Secrecy{f.IssuedAt.AddDate(0, 0, 90), "He hides."}, 90
		}, nil},
		"secrecy beyond the rules of its day": {SecrecyChange, "crown-court", nil, func(f *filing) {
			f.Secrecy, f.known.Earlier.MaxSecrecyDays = Secrecy{f.IssuedAt.AddDate(0, 0, 91), "He hides."}, 90
		}, ErrSecrecy},
		"secrecy of what a person is told first, under another class": {SecrecyChange, "crown-court", of(defamation), func(f *filing) {
			f.Secrecy, f.OffenceClass = Secrecy{f.IssuedAt.AddDate(0, 0, 100), "He hides."}, "threat_to_life"
		}, ErrToldFirst},
		"secrecy of another court's":      {SecrecyChange, "magistrates", nil, nil, ErrEarlierAuthority},
		"a validation of a production":    {Validation, "crown-court", nil, nil, ErrEarlierKind},
		"a court puts its own in writing": {Validation, "crown-court", of(inEmergency), nil, nil},
		"a court beside it does":          {Validation, "tribunal", of(inEmergency), nil, ErrEarlierAuthority},
		"a police emergency":              {Validation, "crown-court", of(issuedBy("yard"), inEmergency), nil, nil},
		"validated by another":            {Validation, "magistrates", of(issuedBy("yard"), inEmergency), nil, ErrEarlierAuthority},
	} {
		t.Run(name, func(t *testing.T) {
			earlier, f := w.filing(t), w.filing(t)
			for _, change := range c.earlier {
				change(earlier)
			}
			f.stops(t, c.kind, earlier, c.id)
			if f.Secrecy.Ends = f.IssuedAt; c.change != nil {
				c.change(f)
			}
			if d := f.decided(t); c.want != nil {
				wantRefused(t, d, c.want)
			} else if !d.Allowed || d.Opens || len(d.Targets) > 0 {
				t.Error(d.Refusal, cause(d.Refusal), d.Rules)
			}
		})
	}
}

// A court can stop its order for one of many: a pen name that the order named, without
// evidence.
func TestL16WithdrawalOfSomeTargets(t *testing.T) {
	w := fifth(t)
	earlier := w.filing(t)
	addTarget(t, earlier)
	named := Target{Pseudonym: pseudonym(t, "second troll"), Platform: square}
	f := w.filing(t)
	f.stops(t, Withdrawal, earlier, "crown-court", named)
	if d := f.decided(t); !d.Allowed || len(d.Targets) != 1 || d.Targets[0].Refusal != nil {
		t.Fatal(d.Refusal, d.Targets)
	}
	f.Targets = []Target{{Pseudonym: other, Platform: square}, named}
	if d := f.decided(t); !d.Allowed || !ErrNotInEarlier.Is(d.Targets[0].Refusal) || d.Targets[1].Refusal != nil {
		t.Fatal(d.Refusal, d.Targets)
	}
	f.Targets = f.Targets[:1]
	wantRefused(t, f.decided(t), ErrNotInEarlier)
	f.Targets = []Target{{Pseudonym: named.Pseudonym, Platform: square, Evidence: earlier.Targets[1].Evidence}}
	wantRefused(t, f.decided(t), ErrNoEvidenceHere)
	f.Targets, f.evidence = []Target{named}, earlier.evidence
	wantRefused(t, f.decided(t), ErrNoEvidenceHere)
}

// A hold is prolonged once, before it ends, by 30 days.
func TestExtensionOfAHold(t *testing.T) {
	w := fifth(t)
	for name, c := range map[string]struct {
		longer time.Duration
		change func(*filing)
		want   *refusal.Error
	}{
		"by 30 days":          {30 * day, nil, nil},
		"by 30 and a second":  {30*day + time.Second, nil, ErrExtension},
		"by 60 days":          {60 * day, nil, ErrExtension},
		"not at all":          {0, nil, ErrExtension},
		"when it is over":     {30 * day, func(f *filing) { f.at = now.Add(61 * day); f.DatedBack = "It lay about." }, ErrExtension},
		"of another pen name": {30 * day, func(f *filing) { f.Targets[0].Pseudonym = other }, ErrNotInEarlier},
		"with evidence":       {30 * day, func(f *filing) { f.Targets[0].Evidence = digest("x") }, ErrNoEvidenceHere},
		"without pen names":   {30 * day, func(f *filing) { f.Targets = nil }, ErrNoTargets},
	} {
		earlier, f := w.filing(t), w.filing(t)
		hold(earlier)
		earlier.Expiry = earlier.IssuedAt.Add(60 * day)
		hold(f)
		raw := sign(t, w.court, earlier.Warrant)
		f.IssuedAt = f.IssuedAt.Add(30 * time.Minute)
		f.Kind, f.Earlier, f.Expiry, f.evidence = Extension, digest(raw), earlier.Expiry.Add(c.longer), nil
		f.Targets[0].Evidence = ""
		f.known.Earlier = &Recorded{Warrant: raw, Leaf: 40}
		if c.change != nil {
			c.change(f)
		}
		if d := f.decided(t); c.want == nil && !d.Allowed || c.want != nil && !c.want.Is(d.Refusal) {
			t.Errorf("%s: %v because %v %v", name, d.Refusal, cause(d.Refusal), d.Rules)
		}
	}
}

// An extension has no targets of its own to take back: who names it learns to name the
// preservation, and is not told that it is too late.
func TestWhatTakesBackAnExtensionNamesThePreservation(t *testing.T) {
	w := fifth(t)
	preserved := w.filing(t)
	preserved.Kind = Extension
	raw := sign(t, w.court, preserved.Warrant)
	for _, kind := range []string{Withdrawal, Annulment} {
		f := w.filing(t)
		f.Warrant, f.evidence = w.about(kind, digest(raw), "crown-court"), nil
		f.known.Earlier = &Recorded{Warrant: raw, Leaf: 40}
		if d := f.decided(t); !ErrEarlierKind.Is(d.Refusal) {
			t.Errorf("%s: %v because %v", kind, d.Refusal, cause(d.Refusal))
		}
	}
}

// Regulation (EU) 2023/1543, Art. 4: an order of the police has a judge's signature beside
// theirs, and an emergency may go before it. A joint order has that of each.
func TestCountersignatures(t *testing.T) {
	w := fifth(t, func(b *Bundle) {
		b.Policies["41-validated.cedar"] = `@id("validated") @title("Validated orders") @quorum("2") @notice_days("0")
permit (principal, action == Action::"production", resource) when { principal.needs_validation && context.validated };`
	})
	yard, byCourt := issuedBy("yard"), countersigned(t, "crown-court", w.court)
	joint := func(f *filing) { f.Jointly = []string{"tribunal"} }
	byTribunal := countersigned(t, "tribunal", key("tribunal"))
	for name, c := range map[string]struct {
		changes   []func(*filing)
		want      *refusal.Error
		validated bool
	}{
		"a court alone":                   {nil, nil, true},
		"a court with another":            {of(byTribunal), ErrCountersigned, false},
		"police alone":                    {of(yard), ErrNotValidated, false},
		"police with a court":             {of(yard, byCourt), nil, true},
		"police with another court":       {of(yard, byTribunal), ErrCountersigned, false},
		"police with the court twice":     {of(yard, byCourt, byCourt), ErrCountersigned, false},
		"police with a stolen name":       {of(yard, countersigned(t, "crown-court", key("thief"))), ErrCountersigned, false},
		"about another warrant":           {of(yard, countersigned(t, "crown-court", w.court, func(v *Warrant) { v.Earlier = digest("x") })), ErrCountersigned, false},
		"a withdrawal as a signature":     {of(yard, countersigned(t, "crown-court", w.court, func(v *Warrant) { v.Kind = Withdrawal })), ErrCountersigned, false},
		"under other rules":               {of(yard, countersigned(t, "crown-court", w.court, func(v *Warrant) { v.Bundle = digest("x") })), ErrCountersigned, false},
		"an expired signature":            {of(yard, countersigned(t, "crown-court", w.court, func(v *Warrant) { v.Expiry = now })), ErrCountersigned, false},
		"of tomorrow":                     {of(yard, countersigned(t, "crown-court", w.court, func(v *Warrant) { v.IssuedAt = now.Add(day) })), ErrCountersigned, false},
		"a joint order of one":            {of(joint), ErrNotJoint, false},
		"a joint order":                   {of(joint, byTribunal), nil, true},
		"a joint order of the police":     {of(yard, joint, byTribunal), ErrNotValidated, false},
		"and of a court":                  {of(yard, joint, byTribunal, byCourt), nil, true},
		"a police emergency":              {of(yard, inEmergency), nil, false},
		"a police emergency with a court": {of(yard, inEmergency, byCourt), nil, true},
		"a court's emergency":             {of(inEmergency), nil, false},
		"a court's emergency in writing":  {of(inEmergency, byCourt), nil, true},
	} {
		t.Run(name, func(t *testing.T) {
			if d := w.filing(t).decided(t, c.changes...); c.want != nil {
				wantRefused(t, d, c.want)
			} else if !d.Allowed || d.Validated != c.validated {
				t.Error(d.Refusal, cause(d.Refusal), d.Rules, d.Validated)
			}
		})
	}
	// Who is missing is named.
	for want, changes := range map[string][]func(*filing){
		"has not signed: Tribunal judiciaire (tribunal)": of(joint), "has to be signed by one of: Crown Court (crown-court)": of(yard),
	} {
		if d := w.filing(t).decided(t, changes...); len(d.Grounds) != 1 || d.Grounds[0].Title != want || d.Grounds[0].Cure == "" {
			t.Errorf("%q: %+v", want, d.Grounds)
		}
	}
	// Whoever judges it later knows the day of its leaf alone, and of an emergency the second.
	recorded := func(at time.Time, kind string) func(*filing) {
		return func(f *filing) {
			leaf := int64(7)
			if f.known.Recorded, f.known.RecordedAt = &leaf, at; kind == Emergency {
				inEmergency(f)
			}
		}
	}
	signedAt := func(at time.Time) func(*filing) {
		return countersigned(t, "crown-court", w.court, func(v *Warrant) { v.IssuedAt = at })
	}
	midnight := now.Truncate(day)
	for name, c := range map[string]struct {
		changes []func(*filing)
		want    error
	}{
		"later than the order":           {of(yard, signedAt(now.Add(time.Hour)), recorded(midnight, Production)), nil},
		"a day before":                   {of(yard, signedAt(midnight.Add(-20*time.Hour)), recorded(midnight, Production)), nil},
		"at the end of the day":          {of(yard, signedAt(midnight.Add(day-time.Second)), recorded(midnight, Production)), nil},
		"on the next day":                {of(yard, signedAt(midnight.Add(day+time.Hour)), recorded(midnight, Production)), ErrCountersigned},
		"of an emergency, before":        {of(yard, signedAt(now.Add(time.Minute)), recorded(now.Add(time.Hour), Emergency)), nil},
		"of an emergency, after an hour": {of(yard, signedAt(now.Add(time.Hour)), recorded(now, Emergency)), ErrCountersigned},
	} {
		if d := w.filing(t).decided(t, c.changes...); c.want == nil && !d.Allowed || c.want != nil && !errors.Is(d.Refusal, c.want) {
			t.Error(name, d.Refusal, cause(d.Refusal))
		}
	}
	f := newWorld(t).filing(t)
	wantRefused(t, f.decided(t, byCourt), ErrCountersigned) // rules of before know none
}

// An order wrong in one target does not hurt the others, and each says what is wrong.
func TestOneTargetDoesNotHurtTheOthers(t *testing.T) {
	w := fifth(t)
	for name, c := range map[string]struct {
		spoil func(*filing)
		want  error
	}{
		"no pen name":            {func(f *filing) { f.Targets[0].Pseudonym = "*" }, ErrBadTarget},
		"a handle":               {func(f *filing) { f.Targets[0].Pseudonym = "@abcd" }, ErrBadTarget},
		"an unknown platform":    {func(f *filing) { f.Targets[0].Platform = "elsewhere" }, ErrBadTarget},
		"another platform's":     {func(f *filing) { f.Targets[0].Platform = forum }, ErrBadEvidence},
		"no digest":              {func(f *filing) { f.Targets[0].Evidence, f.evidence = "", f.evidence[1:] }, ErrNoEvidence},
		"L15 the other's piece":  {func(f *filing) { f.Targets[0].Evidence, f.evidence = f.Targets[1].Evidence, f.evidence[1:] }, ErrEvidenceMismatch},
		"one piece twice":        {func(f *filing) { f.Targets[0].Further = []string{f.Targets[0].Evidence} }, ErrNoEvidence},
		"a piece that is broken": {func(f *filing) { f.evidence[0] += "x"; f.Targets[0].Evidence = digest(f.evidence[0]) }, ErrBadEvidence},
		"a piece that is huge": {func(f *filing) {
			f.evidence[0] = strings.Repeat("x", maxEvidenceBytes+1)
			f.Targets[0].Evidence = digest(f.evidence[0])
		}, ErrBadEvidence},
		"a description": {func(f *filing) {
			f.Targets[0].Descriptions = map[string]string{f.Targets[0].Evidence: "It was worse."}
		}, ErrDescriptions},
		"a role": {func(f *filing) { f.Targets[0].Role = "stranger" }, ErrRole},
	} {
		t.Run(name, func(t *testing.T) {
			f := w.filing(t)
			addTarget(t, f)
			c.spoil(f)
			d := f.decided(t)
			if !d.Allowed || len(d.Targets) != 2 || len(d.Exhibits) != 1 {
				t.Fatal(d.Refusal, cause(d.Refusal), d.Targets)
			}
			wrong, right := d.Targets[0], d.Targets[1]
			if !errors.Is(wrong.Refusal, c.want) || wrong.Token != nil || wrong.Posts != nil || right.Refusal != nil || right.Token == nil || len(right.Posts) != 1 {
				t.Errorf("%v, %v", wrong.Refusal, right.Refusal)
			}
			before := BeforeSigning(f.Warrant, "", f.by, f.bundle, now)
			if len(before.Targets) == 2 && before.Targets[0].Refusal != nil && before.Refusal == nil {
				t.Error("nobody is told before it is signed")
			}
		})
	}
	// If all are wrong, so is the order, and each is named.
	f := w.filing(t)
	addTarget(t, f)
	f.Targets[0].Pseudonym, f.Targets[1].Role = "*", "stranger"
	d := f.decided(t)
	wantRefused(t, d, ErrBadTarget)
	if len(d.Targets) != 2 || !ErrRole.Is(d.Targets[1].Refusal) {
		t.Error(d.Targets)
	}
	// What nobody named is not filed with it, and one target is named once.
	f = w.filing(t)
	f.evidence = append(f.evidence, "x")
	wantRefused(t, f.decided(t), ErrEvidenceMismatch)
	f = w.filing(t)
	f.Targets = append(f.Targets, f.Targets[0])
	wantRefused(t, f.decided(t), ErrBadTarget)
}

// Whoever has a warrant can file it. Without all of its pieces nothing is recorded, or that
// would be the case for ever: what the court files after that is the same warrant.
func TestAFilingThatLacksAPieceIsRefusedWholly(t *testing.T) {
	w := fifth(t)
	for name, c := range map[string]struct {
		spoil func(*filing)
		want  error
	}{
		"the first piece":        {func(f *filing) { f.evidence = f.evidence[1:] }, ErrNoEvidence},
		"the second piece":       {func(f *filing) { f.evidence = f.evidence[:1] }, ErrNoEvidence},
		"a further piece":        {func(f *filing) { f.Targets[1].Further = []string{digest("x")} }, ErrNoEvidence},
		"another in its place":   {func(f *filing) { f.evidence[0] = "x" }, ErrEvidenceMismatch},
		"L14 what nobody signed": {func(f *filing) { f.Targets[0].Evidence = digest("x") }, ErrEvidenceMismatch},
	} {
		f := w.filing(t)
		addTarget(t, f)
		c.spoil(f)
		d := f.decided(t)
		if d.Allowed || !errors.Is(d.Refusal, c.want) || len(d.Grounds) != 1 || !strings.HasPrefix(d.Grounds[0].Title, "a piece of the evidence of target ") {
			t.Errorf("%s: %v, %+v", name, d.Refusal, d.Grounds)
		}
	}
	f := w.filing(t) // a target that is refused anyway needs none
	addTarget(t, f)
	f.Targets[0].Platform, f.evidence = "elsewhere", f.evidence[1:]
	if d := f.decided(t); !d.Allowed {
		t.Error(d.Refusal)
	}
}

// Rules of before know neither the kinds nor the members of version 5.
func TestOlderRulesKnowNoNewWords(t *testing.T) {
	for name, change := range map[string]func(*Warrant){
		"offence":      func(v *Warrant) { v.OffenceID = "threat_to_kill" },
		"recognises":   func(v *Warrant) { v.Recognises = &ForeignOrder{"A", "FR", "1", digest("x")} },
		"dated back":   func(v *Warrant) { v.DatedBack = "It lay about." },
		"jointly":      func(v *Warrant) { v.Jointly = []string{"prosecutor"} },
		"organisation": func(v *Warrant) { v.Requester.OrganisationID = police },
		"role":         func(v *Warrant) { v.Targets[0].Role = RoleChild },
	} {
		if d := newWorld(t).decide(t, change); !ErrMalformed.Is(d.Refusal) {
			t.Error(name, d.Refusal)
		}
	}
	for _, k := range kinds {
		d := newWorld(t).decide(t, func(v *Warrant) { v.Kind = k.Name })
		if (k.Since > 1) != (d.Refusal != nil && ErrUnknownKind.Is(d.Refusal)) {
			t.Error(k.Name, d.Refusal)
		}
	}
}

// deliveryOf is the delivery key that has the key of a custodian's recipient.
func deliveryOf(who string) string {
	seed := sha256.Sum256([]byte(who))
	private, err := document.DeliveryKEM().NewPrivateKey(seed[:])
	if err != nil {
		panic(err) // 32 bytes are a key
	}
	return document.DeliveryKeyPrefix + base64.RawURLEncoding.EncodeToString(private.PublicKey().Bytes())
}
