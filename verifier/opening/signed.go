package opening

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/go-jose/go-jose/v4"

	"github.com/penname/penname/policy"
	"github.com/penname/penname/verifier/document"
	"github.com/penname/penname/verifier/refusal"
)

// Why a certificate is not believed.
var (
	ErrForged = refusal.New(refusal.Denied, "opening.certificate_forged",
		"the signature of the certificate is not that of the authority that it names, by the rules in the folder: whoever made it, that authority did not; rely on the package alone, and ask that authority for its own")
	ErrFalse = refusal.New(refusal.Denied, "opening.certificate_false",
		"the certificate says something else than the package proves: do not rely on it, whoever signed it; the cause names what differs")
	ErrCourtCertificate = refusal.New(refusal.Invalid, "opening.certificate_malformed",
		"the certificate is not of the published form: it was changed or cut short; get another copy of the folder")
	ErrSigner = refusal.New(refusal.Denied, "opening.signer",
		"the key is not one of the authority that ordered this, by the rules in the folder and those in force, or is not valid today: no certificate was signed, everything else is saved; sign with the court's key, and if that was replaced since, open the case again into a new folder")
)

var certificateFormat = &document.Format{
	Types: []string{"penname-certificate+jwt"}, MaxBytes: 64 << 20, Algorithms: document.SignatureAlgorithms, ExactHeader: true, ExactPayload: true, Certified: true,
	Refusals: map[document.Fault]*refusal.Error{
		document.Malformed: ErrCourtCertificate, document.TooLarge: ErrCourtCertificate, document.Unsigned: ErrForged,
		document.AlgNotAllowed: ErrForged, document.BadSignature: ErrForged, document.BadCertified: ErrForged, document.CannotSign: policy.ErrKey,
	},
}

// CourtCertificate is what the certificate of an opening says: all of it follows from the package
// but for when it was made and who signs.
type CourtCertificate struct {
	Version int       `json:"v"`
	Case    string    `json:"case"`
	Made    time.Time `json:"made"`         // by the word of who signs
	By      string    `json:"by,omitempty"` // id of the authority that signs; "": nobody does

	Court      string   `json:"court"` // id of the authority that ordered
	CourtName  string   `json:"court_name"`
	Kind       string   `json:"kind"`
	Place      string   `json:"jurisdiction"`
	FileNumber string   `json:"file_number"`
	LegalBasis string   `json:"legal_basis"`
	Offence    string   `json:"offence"` // as the court names it
	Statute    string   `json:"statute,omitempty"`
	Grounds    string   `json:"grounds"`
	Requester  string   `json:"requester"`
	For        string   `json:"organisation"` // of the requester
	Fields     []string `json:"fields"`

	Issued   time.Time `json:"issued"`
	Recorded string    `json:"recorded"` // the day, or the second, that the log says
	Number   int       `json:"rules_number"`
	Rules    []Rule    `json:"rules"`
	Agreed   []Agreed  `json:"agreed"`

	Proofs  Certificate       `json:"proofs"` // its targets are in Persons
	Persons []Person          `json:"persons"`
	Files   map[string]string `json:"files"` // hex SHA-256 of what all this was made of, by name in the folder
}

// Rule is one that allowed the order.
type Rule struct {
	ID    string `json:"id"`
	Title string `json:"title"`
}

// Agreed is a custodian who agreed to open a target, as the rules name them.
type Agreed struct {
	ID           string `json:"id"`
	Name         string `json:"name"`
	Organisation string `json:"organisation"`
	Alternate    string `json:"alternate,omitempty"` // name of who answered in their place; "": they did themselves
}

// Person is one target of the order: who enrolled under that pen name, never who typed.
type Person struct {
	Number int    `json:"number"` // from 1, in the order of the warrant
	Role   string `json:"role,omitempty"`
	CertifiedTarget
	Site     string            `json:"platform_name,omitempty"` // whose evidence it is
	Day      string            `json:"released_on,omitempty"`
	Identity map[string]string `json:"identity,omitempty"`
	Linked   Linked            `json:"linked,omitempty"` // by the word of the issuing side
	Words    []Words           `json:"words"`            // of each of Posts
	Why      string            `json:"why,omitempty"`    // of one that was not opened
}

// Words are what a post said, as far as the folder has it as text, and the court's
// description where nobody may have a copy.
type Words struct {
	Evidence    string `json:"evidence_sha256"`
	Text        string `json:"text,omitempty"` // its beginning, at most maxWords characters
	Description string `json:"description,omitempty"`
}

const maxWords = 500

// IsOpened reports whether the name of the target is in the certificate.
func (p Person) IsOpened() bool { return len(p.Identity) > 0 || len(p.Linked) > 0 }

// whyNot are the states of a target that was not opened, for people.
var whyNot = map[string]string{
	"waiting":    "custodians have not agreed to it yet",
	"authorised": "custodians agreed, and it was not released yet",
	"refused":    "its record or its evidence did not pass the checks",
	"declined":   "custodians declined it",
	"withdrawn":  "the court took it back, or a court above stopped it",
	"stopped":    "custodians stopped it by newer rules",
	"lapsed":     "nobody validated the emergency in time",
	"expired":    "the order ran out before it was released",
}

const saysRegistrar = ", says the registrar"

// state is what the folder of an opening comes to. exhibit returns what is there of an
// exhibit, or nil.
func (o *Opening) state(r Revealed, exhibit func(x CertifiedExhibit) []byte) (s CourtCertificate, err error) {
	w, b := o.Warrant, o.since[0]
	s = CourtCertificate{
		Version: 1, Case: o.Case, Court: w.Authority, CourtName: w.Authority, Kind: w.Kind, Place: w.Jurisdiction, FileNumber: w.FileNumber,
		LegalBasis: w.LegalBasis, Offence: w.Offence, Grounds: w.Grounds, Requester: w.Requester.Name, For: b.RequesterName(w.Requester),
		Fields: w.Fields, Issued: w.IssuedAt.UTC(), Recorded: o.recorded.When(), Number: b.Number, Rules: []Rule{}, Agreed: o.agreed(), Proofs: o.Certificate,
	}
	s.Proofs.Targets, s.Proofs.BadShares = nil, r.BadShares
	if a := o.Decision.Authority; a != nil {
		s.CourtName = a.Name
	}
	if x := o.Decision.Offence; x != nil {
		s.Offence, s.Statute = x.Title, x.Statute
	}
	for i, id := range o.Decision.Rules {
		s.Rules = append(s.Rules, Rule{id, o.Decision.Grounds[i].Title})
	}
	shown := make(map[int]RevealedTarget)
	for _, t := range r.Targets {
		if _, twice := shown[t.Target]; twice {
			return s, ErrPackage
		}
		shown[t.Target] = t
	}
	for i := range o.Targets {
		p, err := o.person(i, shown, exhibit)
		if err != nil {
			return s, err
		}
		s.Persons = append(s.Persons, p)
	}
	return s, nil
}

func (o *Opening) person(i int, shown map[int]RevealedTarget, exhibit func(x CertifiedExhibit) []byte) (p Person, err error) {
	t, want := o.Targets[i], o.Warrant.Targets[i]
	p = Person{Number: i + 1, Role: want.Role, CertifiedTarget: o.Certificate.Targets[i], Site: o.site(want.Platform), Words: []Words{}}
	p.Posts = slices.Clone(p.Posts)
	for n, post := range t.Posts {
		words := Words{Evidence: post.Evidence, Description: post.Description}
		p.Posts[n].Exhibits = slices.Clone(p.Posts[n].Exhibits)
		for k, x := range p.Posts[n].Exhibits {
			content := exhibit(x)
			p.Posts[n].Exhibits[k].Compared = content != nil
			if content != nil && strings.HasPrefix(x.Type, "text/") && words.Text == "" {
				words.Text = shorten(string(content), maxWords)
			}
		}
		p.Words = append(p.Words, words)
	}
	for _, r := range o.rounds {
		if slices.ContainsFunc(r.Targets, func(packed PackageTarget) bool { return packed.Index == i }) {
			p.Day = r.at.UTC().Format(time.DateOnly)
		}
	}
	r, is := shown[i]
	switch {
	case t.Sealed == nil && !is:
		p.Why = cmp.Or(whyNot[p.State], "it was not released") + saysRegistrar
	case t.Sealed == nil || t.Barred != nil && is:
		return p, ErrPackage
	case t.Barred != nil:
		p.Why = "its use is forbidden, as the public log says"
	case !is:
		return p, ErrPackage
	case r.Refused != "":
		p.Refused, p.Why = r.Refused, "what was published is missing, or is not what its platform signed; the requester says so"
	case o.Warrant.Kind == policy.Link:
		p.Linked = r.Linked
	default:
		fields, err := o.Open(r)
		if err != nil {
			return p, err
		}
		p.Identity = make(map[string]string)
		for name, value := range fields {
			p.Identity[name] = string(value)
		}
	}
	return p, nil
}

// site is what the registry, or the rules, call a platform.
func (o *Opening) site(id string) (name string) {
	if p := o.since[0].Platform(id); p != nil {
		name = p.Name
	}
	for _, p := range o.rounds[len(o.rounds)-1].Platforms {
		if r, err := policy.ParsePlatform(p.Signed); err == nil && r.ID == id {
			name = r.Name
		}
	}
	return name
}

// agreed are the custodians who approved a target that was released.
func (o *Opening) agreed() (all []Agreed) {
	for _, t := range o.Targets {
		for _, a := range t.Approvals {
			c := o.Signers[a.Signers()].Custodian(a.Custodian)
			who := Agreed{ID: a.Custodian, Name: c.Name, Organisation: c.Organisation}
			if i := slices.IndexFunc(c.Alternates, func(o policy.Alternate) bool { return o.ID == a.Alternate }); i >= 0 {
				who.Alternate = c.Alternates[i].Name
			}
			if !slices.Contains(all, who) {
				all = append(all, who)
			}
		}
	}
	return all
}

// names are the custodians with those ids, for people.
func (s CourtCertificate) names(ids []string) string {
	var said []string
	for _, a := range s.Agreed {
		if slices.Contains(ids, a.ID) {
			who := fmt.Sprintf("%s, %s", a.Name, a.Organisation)
			if a.Alternate != "" {
				who += ", by their alternate " + a.Alternate
			}
			said = append(said, who)
		}
	}
	return strings.Join(said, "; ")
}

// shorten is the beginning of a text, of at most n characters.
func shorten(s string, n int) string {
	if utf8.RuneCountInString(s) <= n {
		return s
	}
	return string([]rune(s)[:n-1]) + "…"
}

func (s CourtCertificate) marshal() ([]byte, error) {
	s.Made = s.Made.UTC().Truncate(time.Second)
	return document.Canonical(s)
}

// sign signs the certificate as the authority that ordered, with a key that each of the
// bundles names for it at that time: else it is [ErrSigner]. revocation are the lists of revoked
// certificates that it takes where a certificate signs.
func (s CourtCertificate) sign(key jose.JSONWebKey, revocation []string, inForce ...*policy.Bundle) (CourtCertificate, string, error) {
	s.By = s.Court
	payload, err := s.marshal()
	if err != nil {
		return s, "", err
	}
	raw, err := certificateFormat.Sign(key, payload)
	if err != nil {
		return s, "", err
	}
	for _, b := range inForce {
		if err := verifyCertificate(raw, revocation, b); err != nil {
			return s, "", ErrSigner.Because(errors.Unwrap(err))
		}
	}
	return s, raw, nil
}

// verifyCertificate reads a signed certificate, and holds its signature against the authority
// that it names in one of the bundles: else it is [ErrForged]. No leaf says
// when it was signed: where a certificate signed, it is judged at the time that it states.
func verifyCertificate(raw string, revocation []string, bundles ...*policy.Bundle) error {
	signed, err := certificateFormat.Open(raw)
	if err != nil {
		return err
	}
	s, err := readCertificate(signed.Payload)
	if err != nil {
		return err
	}
	refused := error(policy.ErrUnknownAuthority)
	for _, b := range slices.Backward(bundles) {
		if _, err := b.VerifyAuthority(signed, s.By, s.Made, policy.Seen{Span: policy.Span{First: s.Made, Last: s.Made}, Revocation: revocation}); err == nil && s.By == s.Court {
			return nil
		} else if err != nil {
			refused = err
		}
	}
	return ErrForged.Because(refused)
}

func readCertificate(payload []byte) (*CourtCertificate, error) {
	s := new(CourtCertificate)
	if err := document.ReadExactly(payload, s, func() ([]byte, error) { return s.marshal() }); err != nil {
		return nil, ErrCourtCertificate.Because(err)
	}
	return s, nil
}

// differs names the first thing that two certificates say otherwise, or is "".
func (s CourtCertificate) differs(want CourtCertificate) string {
	for _, f := range []struct {
		name     string
		is, want any
	}{
		{"case", s.Case, want.Case}, {"court", []string{s.Court, s.CourtName, s.Place}, []string{want.Court, want.CourtName, want.Place}},
		{"kind", s.Kind, want.Kind}, {"file_number", s.FileNumber, want.FileNumber}, {"legal_basis", s.LegalBasis, want.LegalBasis},
		{"offence", []string{s.Offence, s.Statute}, []string{want.Offence, want.Statute}}, {"grounds", s.Grounds, want.Grounds},
		{"requester", []string{s.Requester, s.For}, []string{want.Requester, want.For}}, {"fields", s.Fields, want.Fields},
		{"issued", s.Issued, want.Issued}, {"recorded", s.Recorded, want.Recorded}, {"rules", []any{s.Number, s.Rules}, []any{want.Number, want.Rules}},
		{"agreed", s.Agreed, want.Agreed}, {"proofs", s.Proofs, want.Proofs}, {"persons", len(s.Persons), len(want.Persons)},
	} {
		if !same(f.is, f.want) {
			return f.name
		}
	}
	for i, p := range s.Persons {
		if !same(p, want.Persons[i]) {
			return fmt.Sprintf("person %d, %s", i+1, p.differs(want.Persons[i]))
		}
	}
	if !same(s, want) {
		return "files"
	}
	return ""
}

func (p Person) differs(want Person) string {
	switch {
	case !same(p.Identity, want.Identity):
		for _, name := range slices.Sorted(maps.Keys(want.Identity)) {
			if p.Identity[name] != want.Identity[name] {
				return name
			}
		}
		return "identity"
	case p.PenName != want.PenName || p.Platform != want.Platform:
		return "pen_name"
	case !same(p.Words, want.Words) || !same(p.Posts, want.Posts):
		return "posts"
	}
	return "its state or its proofs"
}

func same(a, b any) bool {
	x, errX := document.Canonical(map[string]any{"is": a})
	y, errY := document.Canonical(map[string]any{"is": b})
	return errX == nil && errY == nil && string(x) == string(y)
}
