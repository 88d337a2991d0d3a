package policy

import (
	"crypto/ed25519"
	"crypto/hpke"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/penname/penname/verifier/document"
	"github.com/penname/penname/verifier/refusal"
	"github.com/penname/penname/verifier/token"
)

var now = time.Date(2026, 3, 2, 12, 0, 0, 0, time.UTC)

const (
	square = "town-square" // the platform that the threats were posted on
	forum  = "school-forum"
)

// world is a bundle and the private keys of everybody in it.
type world struct {
	bundle                                  *Bundle
	court, prosecutor, issuer, square, wiki jose.JSONWebKey
	custodians                              []jose.JSONWebKey
	delivery                                string
}

// key makes a key pair from a name, so that tests are reproducible.
func key(name string) jose.JSONWebKey {
	seed := sha256.Sum256([]byte(name))
	return jose.JSONWebKey{Key: ed25519.NewKeyFromSeed(seed[:]), KeyID: name, Algorithm: string(jose.EdDSA), Use: "sig"}
}

func public(t testing.TB, k jose.JSONWebKey) json.RawMessage {
	return encode(t, k.Public())
}

func jwks(t testing.TB, keys ...jose.JSONWebKey) json.RawMessage {
	var set jose.JSONWebKeySet
	for _, k := range keys {
		set.Keys = append(set.Keys, k.Public())
	}
	return encode(t, set)
}

func encode(t testing.TB, v any) json.RawMessage {
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func vkeyOf(name string) string {
	k := sha256.Sum256([]byte(name))
	return name + "+0a1b2c3d+" + base64.StdEncoding.EncodeToString(append([]byte{4}, k[:]...))
}

// draft is a bundle as its makers write it, before it is marshalled.
func (w *world) draft(t testing.TB) *Bundle {
	from, until := now.AddDate(-1, 0, 0), now.AddDate(1, 0, 0)
	var classes []string
	for _, c := range DefaultOffenceClasses() {
		classes = append(classes, c.ID)
	}
	b := &Bundle{
		Version: 1, Registrar: "https://penname.example", Issuer: "https://penname.example", IssuerKeys: jwks(t, w.issuer),
		Log: Log{Origin: "penname.example/log", VKey: vkeyOf("log"), Quorum: 2, Witnesses: []Witness{
			{"w1", "Law Society", vkeyOf("w1"), "https://w1.example"},
			{"w2", "Press Council", vkeyOf("w2"), ""},
		}},
		Platforms: []Platform{{square, "Town Square", jwks(t, w.square)}, {forum, "School Forum", jwks(t, w.wiki)}},
		Authorities: []Authority{
			{ID: "crown-court", Name: "Crown Court", Kind: "court", Jurisdiction: "GB", Keys: []Key{{public(t, w.court), from, until}}, OffenceClasses: classes},
			{ID: "prosecutor", Name: "Public Prosecutor", Kind: "public_prosecutor", Jurisdiction: "GB", Keys: []Key{{public(t, w.prosecutor), from, until}}, OffenceClasses: []string{"threat_to_life"}},
		},
		OffenceClasses: DefaultOffenceClasses(), Fields: DefaultFields(),
		Threshold: 2, ThresholdKey: base64.RawURLEncoding.EncodeToString(make([]byte, 40)), Policies: DefaultRules(),
		MaxTargets: 600, MaxSecrecyDays: 365, MaxValidityDays: 30,
	}
	for i, name := range []string{"Law Society", "Press Council", "Ombudsman"} {
		b.Custodians = append(b.Custodians, Custodian{ID: fmt.Sprintf("custodian-%d", i+1), Name: "Officer of " + name, Organisation: name, Index: i + 1, Key: public(t, w.custodians[i]), Recipient: ""})
	}
	contentless(b)
	return b
}

func newWorld(t testing.TB, changes ...func(*Bundle)) *world {
	w := &world{court: key("court"), prosecutor: key("prosecutor"), issuer: key("issuer"), square: key("square"), wiki: key("wiki"),
		custodians: []jose.JSONWebKey{key("alice"), key("bob"), key("carol")}}
	private, err := hpke.MLKEM768X25519().NewPrivateKey(make([]byte, 32))
	if err != nil {
		t.Fatal(err)
	}
	w.delivery = "pendk1." + base64.RawURLEncoding.EncodeToString(private.PublicKey().Bytes())
	b := w.draft(t)
	for _, change := range changes {
		change(b)
	}
	withRecipients(t, b)
	withCatalogue(b)
	raw, err := b.Marshal()
	if err != nil {
		t.Fatal(err, "because", refusal.Of(err).Unwrap())
	}
	if w.bundle, err = ParseBundle(raw); err != nil {
		t.Fatal(err)
	}
	return w
}

// contentless makes a draft one that versions before 4 can say.
func contentless(b *Bundle) {
	version := b.Version
	uncatalogued(b)
	b.Version = version
	b.PostSpanHours, b.AppealDays = 0, 0
	for i := range b.OffenceClasses {
		b.OffenceClasses[i].NoCopy = false
	}
}

// withRecipients names what a draft of version 4 needs and does not have.
func withRecipients(t testing.TB, b *Bundle) {
	for i := range b.Custodians {
		if c := &b.Custodians[i]; b.Version >= 4 && c.Recipient == "" {
			c.Recipient = recipient(t, c.ID)
		}
	}
}

// fifth is a world under rules of version 5, with the magistrates below the court, a
// police force whose orders the court validates, and a class of defamation.
func fifth(t testing.TB, changes ...func(*Bundle)) *world {
	w := newWorld(t, append([]func(*Bundle){func(b *Bundle) {
		b.Succeed(nil)
		b.OffenceClasses = append(DefaultOffenceClasses(), OffenceClass{ID: "defamation", Title: "Defamation", Fields: []string{"name"}, NoticeFirst: true})
		b.Offences = append(DefaultOffences(), Offence{ID: "defamation", Title: "Defamation", Statute: "Defamation Act 2013, s. 1", Class: "defamation",
			Authorities: []string{"court"}, Fields: []string{"name"}})
		b.Authorities[0].OffenceClasses = append(b.Authorities[0].OffenceClasses, "defamation")
		for _, a := range []Authority{
			{ID: "magistrates", Name: "Magistrates' Court", Kind: "court", Jurisdiction: "GB-ENG"},
			{ID: "yard", Name: "Scotland Yard", Kind: "police", Jurisdiction: "GB", OrganisationID: police, ValidatedBy: []string{"crown-court"}},
			{ID: "tribunal", Name: "Tribunal judiciaire", Kind: "court", Jurisdiction: "FR"},
		} {
			a.OffenceClasses, a.DailyWarrants = b.Authorities[0].OffenceClasses, 100
			a.Keys = []Key{{public(t, key(a.ID)), b.Authorities[0].Keys[0].From, b.Authorities[0].Keys[0].Until}}
			b.Authorities = append(b.Authorities, a)
		}
		b.Authorities[0].Over, b.Authorities[0].DailyWarrants = []string{"magistrates"}, 10
		for i := range b.Offences {
			b.Offences[i].Authorities = append(b.Offences[i].Authorities, "police")
		}
		b.addOrganisations()
	}}, changes...)...)
	return w
}

// police is the organisation of the requester.
const police = "met-police"

// withCatalogue gives a draft since version 5 the offences of its classes and the police,
// if it has none.
func withCatalogue(b *Bundle) {
	if b.Version < 5 {
		return
	}
	if find(b.Organisations, func(o *Organisation) bool { return o.ID == police }) == nil {
		b.Organisations = append(b.Organisations, Organisation{police, "Metropolitan Police"})
	}
	if len(b.Offences) > 0 {
		return
	}
	for _, o := range DefaultOffences() {
		if class := b.OffenceClass(o.Class); class != nil {
			b.Offences = append(b.Offences, o)
		}
	}
}

// uncatalogued makes a draft one that version 4 can say.
func uncatalogued(b *Bundle) {
	b.Version, b.Organisations, b.Offences = 4, nil, nil
	b.MinSecrecyDays, b.HoldDays, b.ExtensionDays, b.ValidationHours = 0, 0, 0, 0
	for i := range b.Authorities {
		b.Authorities[i].OrganisationID, b.Authorities[i].Over, b.Authorities[i].ValidatedBy = "", nil, nil
	}
	for i := range b.Custodians {
		b.Custodians[i].OrganisationID = ""
	}
	for i := range b.OffenceClasses {
		b.OffenceClasses[i].NoticeFirst = false
	}
}

func withoutRecipients(b *Bundle) {
	for i := range b.Custodians {
		b.Custodians[i].Recipient = ""
	}
}

// recipient is what exhibits for somebody are encrypted to.
func recipient(t testing.TB, who string) string {
	seed := sha256.Sum256([]byte(who))
	private, err := document.DeliveryKEM().NewPrivateKey(seed[:])
	if err != nil {
		t.Fatal(err)
	}
	return document.Recipient(private.PublicKey())
}

func pseudonym(t testing.TB, who string) token.Pseudonym {
	raw := sha256.Sum256([]byte(who))
	p, err := token.NewPseudonym(raw[:16])
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// evidence is what platform signs about post n of a person.
func (w *world) evidence(t testing.TB, platform, who string, n int, at time.Time) string {
	return w.evidenceOf(t, platform, who, "label of "+who, n, at)
}

func (w *world) evidenceOf(t testing.TB, platform, who, record string, n int, at time.Time) string {
	return w.evidenceAfter(t, platform, who, record, n, at, time.Minute)
}

// evidenceAfter is about a post that was made so long after the sign-in, in the form that
// the bundle wants: since version 4 it declares a text.
func (w *world) evidenceAfter(t testing.TB, platform, who, record string, n int, at time.Time, since time.Duration) string {
	p := pseudonym(t, who)
	commitment := token.Commit(p, record, [32]byte{})
	claims := map[string]any{
		"iss": "https://penname.example", "sub": p, "aud": platform, "iat": at.Add(-since).Unix(), "exp": at.Add(-since + time.Hour).Unix(),
		"jti": fmt.Sprint(who, n), "acr": "high", "penname_commitment": base64.RawURLEncoding.EncodeToString(commitment[:]),
	}
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.EdDSA, Key: w.issuer}, (&jose.SignerOptions{}).WithType("JWT"))
	if err != nil {
		t.Fatal(err)
	}
	jws, err := signer.Sign(encode(t, claims))
	if err != nil {
		t.Fatal(err)
	}
	raw, err := jws.CompactSerialize()
	if err != nil {
		t.Fatal(err)
	}
	k := w.square
	if platform == forum {
		k = w.wiki
	}
	post := token.Post{URL: fmt.Sprintf("https://%s.example/post/%d", platform, n), Digest: sha256.Sum256([]byte(who)), At: at}
	version := 1
	if w.bundle.Version >= 4 {
		version, post.Digest = 2, [32]byte{}
		x, err := token.NewExhibit("text/plain", strings.NewReader("post of "+who))
		if err != nil {
			t.Fatal(err)
		}
		post.Exhibits = []token.Exhibit{x}
	}
	signed, err := token.SignEvidence(k, token.Evidence{Version: version, Platform: platform, Token: raw, Post: post})
	if err != nil {
		t.Fatal(err)
	}
	return signed
}

// tokenIn is the token in a piece of evidence.
func tokenIn(t testing.TB, evidence string) string {
	e, err := token.ParseUnverifiedEvidence(evidence)
	if err != nil {
		t.Fatal(err)
	}
	return e.Token
}

func digest(raw string) string {
	h := sha256.Sum256([]byte(raw))
	return hex.EncodeToString(h[:])
}

// production is a warrant against the troll that is allowed, with its evidence.
func (w *world) production(t testing.TB) (Warrant, []string) {
	e := w.evidence(t, square, "troll", 1, now.AddDate(0, 0, -3))
	v := Warrant{
		ID: "T20260017", Kind: Production, Authority: "crown-court", Jurisdiction: "GB", FileNumber: "T20260017",
		LegalBasis: "Online Safety Act 2023, s. 181", OffenceClass: "threat_of_sexual_violence", Offence: "Threatening communications",
		MaxPenaltyMonths: 60, Grounds: "A threat of rape was posted.", Necessity: "No other lead.", Proportionality: "One pen name.",
		Targets:   []Target{{Pseudonym: pseudonym(t, "troll"), Platform: square, Evidence: digest(e)}},
		Requester: Requester{Name: "DC Example", Organisation: "Metropolitan Police", DeliveryKey: w.delivery}, Fields: []string{"name"}, Deadline: TenDays,
		Secrecy: Secrecy{now.AddDate(0, 0, 30), "The investigation would be frustrated."},
		Bundle:  w.bundle.Hash(), Audience: "https://penname.example", IssuedAt: now.Add(-time.Hour), Expiry: now.AddDate(0, 0, 14),
	}
	if w.bundle.Version >= 5 {
		v.OffenceID, v.Requester.OrganisationID = "threat_of_rape", police
	}
	return v, []string{e}
}

// sign signs a warrant without looking at it, as a court with other software may.
func sign(t testing.TB, k jose.JSONWebKey, v Warrant) string {
	payload, err := marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return signBytes(t, k, warrantFormat.Types[0], payload)
}

// as is a format under another typ, and without its limit of size.
func as(f *document.Format, typ string) *document.Format {
	return &document.Format{Types: []string{typ}, MaxBytes: 64 << 20, Algorithms: f.Algorithms, EmbeddedKey: f.EmbeddedKey,
		ExactHeader: f.ExactHeader, ExactPayload: f.ExactPayload, Refusals: f.Refusals}
}

func signBytes(t testing.TB, k jose.JSONWebKey, typ string, payload []byte) string {
	raw, err := as(warrantFormat, typ).Sign(k, payload)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

// decide applies changes to an allowed production warrant and decides.
func (w *world) decide(t testing.TB, changes ...func(*Warrant)) Decision {
	v, evidence := w.production(t)
	for _, change := range changes {
		change(&v)
	}
	s := Submission{Warrant: sign(t, w.court, v), Evidence: evidence}
	d := Decide(s, w.bundle, Facts{}, now)
	checkTellsBefore(t, s, w.bundle, Facts{}, now, d)
	return d
}

func wantRefused(t testing.TB, d Decision, want *refusal.Error, rules ...string) {
	t.Helper()
	if d.Allowed || d.Refusal == nil || d.Refusal.Code != want.Code {
		t.Fatalf("allowed %v, refusal %v because %v, rules %v; want %s", d.Allowed, d.Refusal, cause(d.Refusal), d.Rules, want.Code)
	}
	if fmt.Sprint(d.Rules) != fmt.Sprint(rules) {
		t.Fatalf("rules %v, want %v", d.Rules, rules)
	}
	if d.Quorum != 0 || d.Opens || grants(d.Targets) || d.NoticePeriod != 0 {
		t.Fatalf("a refusal that still grants something: %+v", d)
	}
}

func grants(targets []TargetDecision) bool {
	return slices.ContainsFunc(targets, func(t TargetDecision) bool { return t.Refusal == nil || t.Token != nil || t.Posts != nil })
}

func cause(e *refusal.Error) error {
	if e == nil {
		return nil
	}
	return e.Unwrap()
}
