package policy

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/penname/penname/verifier/document"
	"github.com/penname/penname/verifier/token"
)

// The deadline classes of Regulation (EU) 2023/1543, Art. 10.
const (
	TenDays    = "ten_days"
	EightHours = "eight_hours"
)

// What an authority must say when it knows it (Regulation (EU) 2023/1543, Art.
// 12(1)(a)).
const (
	FlagJournalist = "journalist"
	FlagPrivileged = "privileged" // lawyer, doctor, cleric, member of parliament …
)

// Warrant is what a court signs. The fields follow Annex I of Regulation (EU)
// 2023/1543; texts are at most 4,000 characters. An executed warrant is
// recognised by (Authority, ID), never by its hash alone: an ES256 signature can
// be varied by anyone who sees it.
type Warrant struct {
	ID           string `json:"id"`           // the authority's own, unique there
	Kind         string `json:"kind"`         // Production, Emergency … see [Kind]
	Earlier      string `json:"earlier"`      // hex SHA-256 of the warrant that this one is about or follows up; else ""
	Authority    string `json:"authority"`    // id in the bundle
	Jurisdiction string `json:"jurisdiction"` // ISO 3166, "GB" or "DE-BY"
	FileNumber   string `json:"file_number"`
	LegalBasis   string `json:"legal_basis"`

	OffenceClass     string `json:"offence_class"` // id in the bundle's closed list
	Offence          string `json:"offence"`
	MaxPenaltyMonths int    `json:"max_penalty_months"` // maximum custodial sentence, 0 for none
	Grounds          string `json:"grounds"`
	Necessity        string `json:"necessity"`
	Proportionality  string `json:"proportionality"`

	Flags     []string  `json:"flags"` // FlagJournalist, FlagPrivileged
	Targets   []Target  `json:"targets"`
	Requester Requester `json:"requester"`
	Fields    []string  `json:"fields"`   // what is to be opened: "name", "birthdate" …
	Deadline  string    `json:"deadline"` // TenDays or EightHours
	Secrecy   Secrecy   `json:"secrecy"`

	Bundle   string    `json:"bundle"`    // hex SHA-256 of the bundle in force
	Audience string    `json:"audience"`  // the registrar's origin, as in the bundle
	IssuedAt time.Time `json:"issued_at"` // RFC 3339, UTC, whole seconds, as all times
	Expiry   time.Time `json:"expiry"`

	// Under bundles since version 5.
	OffenceID  string        `json:"offence_id,omitempty"` // in the catalogue, of OffenceClass
	Recognises *ForeignOrder `json:"recognises,omitempty"` // that this warrant gives effect to
	DatedBack  string        `json:"dated_back,omitempty"` // why it was issued over a day before it was recorded
	Jointly    []string      `json:"jointly,omitempty"`    // ids of authorities that must have signed as well
	Ruling     *RulingOn     `json:"ruling,omitempty"`     // of kind Ruling, and of no other
}

// The outcomes of a ruling.
const (
	Answered  = "answered"  // a question of a custodian: Grounds are the answer
	Upheld    = "upheld"    // an objection: the targets that the ruling names fall, all without any
	Dismissed = "dismissed" // an objection: the order goes on
)

// RulingOn is what a warrant of kind [Ruling] rules on, and how. Grounds says why.
type RulingOn struct {
	Digest  string `json:"digest"`  // hex SHA-256 of the question as it was signed, or of the objection
	Outcome string `json:"outcome"` // Answered, Upheld or Dismissed
}

// wellFormed: only what is upheld ends anything, so nothing else names targets.
func (r *RulingOn) wellFormed(w *Warrant) error {
	switch {
	case r == nil:
		return nil
	case w.Kind != Ruling:
		return errors.New("only a warrant of kind ruling has a ruling")
	case !hashPattern.MatchString(r.Digest):
		return errors.New("ruling: digest is not a hash: 64 hex digits")
	case r.Outcome != Answered && r.Outcome != Upheld && r.Outcome != Dismissed:
		return errors.New("ruling: outcome is answered, upheld or dismissed")
	case r.Outcome != Upheld && len(w.Targets) > 0:
		return errors.New("ruling: targets are named only where an objection is upheld")
	}
	return nil
}

// ForeignOrder is an order of another state that an authority of this one recognised.
type ForeignOrder struct {
	Authority  string `json:"authority"`
	Country    string `json:"country"` // ISO 3166-1 alpha-2
	FileNumber string `json:"file_number"`
	SHA256     string `json:"sha256"` // hex, of the order as it was received
}

// The roles of a target: who a pen name belongs to, in the investigation. None is a suspect.
const (
	RoleWitness = "witness"
	RoleVictim  = "victim"
	RoleChild   = "child"
)

// Target is one pen name on one platform.
type Target struct {
	Pseudonym token.Pseudonym `json:"pseudonym"`
	Platform  string          `json:"platform"` // client id in the bundle
	Evidence  string          `json:"evidence"` // hex SHA-256 of the evidence JWS about one post
	Further   []string        `json:"further"`  // the same for further posts of this pen name; may be empty

	// Descriptions say what each post shows, by the digest of its evidence, where the
	// offence class is one of which nobody may make a copy; else there is none.
	Descriptions map[string]string `json:"descriptions,omitempty"`

	// Role, under bundles since version 5, is RoleWitness, RoleVictim or RoleChild; "" is a
	// suspect.
	Role string `json:"role,omitempty"`
}

// Requester receives the answer, encrypted to DeliveryKey ("pendk1.…").
type Requester struct {
	Name         string `json:"name"`
	Organisation string `json:"organisation"`
	DeliveryKey  string `json:"delivery_key"`

	// OrganisationID, under bundles since version 5, is that of Organisation in the bundle.
	OrganisationID string `json:"organisation_id,omitempty"`
}

// Secrecy ends at a stated time and for a stated reason. When it ends by the
// time of issue there is none, and the person is told first.
type Secrecy struct {
	Ends   time.Time `json:"ends"`
	Reason string    `json:"reason"`
}

// SignWarrant returns the compact JWS of w. It refuses what could not be parsed
// again, not what [Decide] would refuse.
func SignWarrant(key jose.JSONWebKey, w Warrant) (string, error) {
	if err := w.wellFormed(); err != nil {
		return "", ErrMalformed.Because(err)
	}
	payload, err := marshal(w)
	if err != nil {
		return "", ErrMalformed.Because(errors.New("cannot be encoded"))
	}
	return warrantFormat.Sign(key, payload)
}

// ParseUnverified reads a warrant for display. It does NOT check the signature:
// only the Warrant of a [Decision] is known to be the authority's.
func ParseUnverified(raw string) (*Warrant, error) {
	_, w, err := openWarrant(raw)
	return w, err
}

// Hash is the SHA-256 of the compact JWS, by which a warrant is logged.
func Hash(raw string) [32]byte { return sha256.Sum256([]byte(raw)) }

func openWarrant(raw string) (*document.Signed, *Warrant, error) {
	signed, w, err := open[Warrant](warrantFormat, raw)
	if err != nil {
		return nil, nil, err
	}
	if err := w.wellFormed(); err != nil {
		return nil, nil, ErrMalformed.Because(err)
	}
	return signed, w, nil
}

func (w *Warrant) normalise() {
	w.IssuedAt, w.Expiry, w.Secrecy.Ends = seconds(w.IssuedAt), seconds(w.Expiry), seconds(w.Secrecy.Ends)
	w.Flags, w.Fields = list(w.Flags), list(w.Fields)
	targets := make([]Target, len(w.Targets)) // a copy: the caller's stay as they are
	for i, t := range w.Targets {
		t.Further = list(t.Further)
		targets[i] = t
	}
	w.Targets = targets
}

// list makes an absent list an empty one, so that it has one encoding.
func list(s []string) []string {
	if s == nil {
		return []string{}
	}
	return s
}

// wellFormed checks what holds for every warrant under every bundle: ids and
// texts that can be displayed, times with a zone.
func (w *Warrant) wellFormed() error {
	for _, c := range w.form() {
		if err := c.fail(); err != nil {
			return err
		}
	}
	return nil
}

// form is what wellFormed checks.
func (w *Warrant) form() (all []check) {
	is := func(at string, ok bool, why string) {
		if !ok {
			all = append(all, check{at, unless(false, errors.New(why))})
		}
	}
	is("/id", warrantIDPattern.MatchString(w.ID), "bad id or authority")
	is("/authority", idPattern.MatchString(w.Authority), "bad id or authority")
	is("/issued_at", plausible(w.IssuedAt), "issue and expiry must be dated")
	is("/expiry", plausible(w.Expiry), "issue and expiry must be dated")
	is("/earlier", w.Earlier == "" || hashPattern.MatchString(w.Earlier), "earlier is not a hash: 64 hex digits, the SHA-256 of the earlier warrant's signed file")
	is("/bundle", w.Bundle == "" || hashPattern.MatchString(w.Bundle), "bundle is not a hash: 64 hex digits")
	is("/jurisdiction", jurisdictionPattern.MatchString(w.Jurisdiction), "jurisdiction is not an ISO 3166 code")
	is("/max_penalty_months", w.MaxPenaltyMonths >= 0 && w.MaxPenaltyMonths <= 1200, "maximum penalty is not between 0 and 1200 months")
	return append(append(all, check{"/ruling", func() error { return w.Ruling.wellFormed(w) }}), w.displayable()...)
}

// displayable is which texts cannot be displayed: it names the field, and of a
// character that cannot its place.
func (w *Warrant) displayable() (all []check) {
	text := func(in, member, field string, max int, text string) {
		if err := Undisplayable(field, text, max); err != nil {
			all = append(all, check{in + "/" + member, unless(false, err)})
		}
	}
	short := func(in, member, field, s string) {
		text(in, member, field, 200, s)
		if strings.Contains(s, "\n") {
			all = append(all, check{in + "/" + member, unless(false, fmt.Errorf("%s has more than one line", field))})
		}
	}
	each := func(in, field string, texts []string) {
		for i, s := range texts {
			short(in, strconv.Itoa(i), field, s)
		}
	}
	for _, m := range [][2]string{{"kind", w.Kind}, {"file_number", w.FileNumber}, {"offence_class", w.OffenceClass}, {"offence_id", w.OffenceID},
		{"deadline", w.Deadline}, {"audience", w.Audience}} {
		short("", m[0], m[0], m[1])
	}
	short("/requester", "name", "requester", w.Requester.Name)
	short("/requester", "organisation", "requester", w.Requester.Organisation)
	short("/requester", "organisation_id", "requester", w.Requester.OrganisationID)
	each("/flags", "flags", w.Flags)
	each("/fields", "fields", w.Fields)
	each("/jointly", "jointly", w.Jointly)
	if r := w.Recognises; r != nil {
		for _, m := range [][2]string{{"authority", r.Authority}, {"country", r.Country}, {"file_number", r.FileNumber}, {"sha256", r.SHA256}} {
			short("/recognises", m[0], "recognises", m[1])
		}
	}
	text("/requester", "delivery_key", "delivery_key", 4000, w.Requester.DeliveryKey)
	for _, m := range [][2]string{{"legal_basis", w.LegalBasis}, {"offence", w.Offence}, {"grounds", w.Grounds}, {"necessity", w.Necessity},
		{"proportionality", w.Proportionality}, {"dated_back", w.DatedBack}} {
		text("", m[0], m[0], 4000, m[1])
	}
	text("/secrecy", "reason", "secrecy.reason", 4000, w.Secrecy.Reason)
	for i, t := range w.Targets {
		in, target := "/targets/"+strconv.Itoa(i), "target "+strconv.Itoa(i+1)
		for _, m := range [][2]string{{"pseudonym", string(t.Pseudonym)}, {"platform", t.Platform}, {"evidence", t.Evidence}, {"role", t.Role}} {
			short(in, m[0], target, m[1])
		}
		each(in+"/further", target, t.Further)
		for _, digest := range slices.Sorted(maps.Keys(t.Descriptions)) {
			if !hashPattern.MatchString(digest) {
				all = append(all, check{in + "/descriptions", unless(false, errNotOfAHash)})
			}
			text(in+"/descriptions", digest, target+", description", 4000, t.Descriptions[digest])
		}
	}
	return all
}

var errNotOfAHash = errors.New("a description is not of a hash: 64 hex digits, the SHA-256 of the evidence")

// Undisplayable says why a text of a field cannot be displayed, nil if it can.
func Undisplayable(field, s string, max int) error {
	if document.Displayable(s, max) {
		return nil
	}
	if place, r := document.Obstacle(s); place > 0 {
		return fmt.Errorf("%s, character %d, is U+%04X: it cannot be displayed, or looks like another one", field, place, r)
	}
	return fmt.Errorf("%s is longer than %d characters", field, max)
}
