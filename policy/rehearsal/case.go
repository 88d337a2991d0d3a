package rehearsal

import (
	"bytes"
	"cmp"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/penname/penname/policy"
	"github.com/penname/penname/verifier/document"
	"github.com/penname/penname/verifier/refusal"
	"github.com/penname/penname/verifier/token"
)

// ErrCase says that a file is no case.
var ErrCase = refusal.New(refusal.Invalid, "bundle.bad_case", "A case cannot be read: correct what is named here; policy/bundles in the source has examples.")

// Case is an order with its right decision.
type Case struct {
	Name    string `json:"-"`                 // of its file, without .json
	Title   string `json:"title"`             // what is asked for, in a sentence
	Form    string `json:"form"`              // the form or law that it is made from
	Profile string `json:"profile,omitempty"` // whose rules decide, where the folder has those of several
	Like    string `json:"like,omitempty"`    // the name of another case: what this one does not say is as it is there, but for what is expected
	Filing
	Earlier *Filing       `json:"earlier,omitempty"` // what the order names as its earlier one, already recorded
	Filed   *policy.Filed `json:"filed,omitempty"`   // how much its authority and requester have filed before
	Expect  Expected      `json:"expect"`
}

// Filing is an order as its authority writes it and what is filed with it. What a rehearsal
// makes itself may be left out of the order: id, bundle, audience, times, delivery key, and
// of its targets pen name, platform and evidence.
type Filing struct {
	Order         json.RawMessage `json:"order"`                   // a policy.Warrant
	PenNames      int             `json:"pen_names,omitempty"`     // how many, where the order lists no targets
	Words         string          `json:"words,omitempty"`         // of each post
	Description   string          `json:"description,omitempty"`   // of each post that nobody may copy, in the court's words
	Suggests      []string        `json:"suggests,omitempty"`      // what the platform says that the account suggests of its author
	Countersigned []string        `json:"countersigned,omitempty"` // ids of authorities that have signed it too
}

// Expected is a right decision: refused by a code, and where it was a rule by which, or
// allowed.
type Expected struct {
	Refused    string `json:"refused,omitempty"`
	Rule       string `json:"rule,omitempty"`
	Quorum     int    `json:"quorum,omitempty"`      // of custodians; where the bundle's threshold is higher, that
	NoticeDays int    `json:"notice_days,omitempty"` // for the person to object, from the public log on
	Held       bool   `json:"held,omitempty"`        // over the daily number: all custodians
	Asked      string `json:"asked,omitempty"`       // what custodians are asked about beside the offence: what the account suggests
	Article    string `json:"article"`               // why: the law, and where
}

// ReadCases reads the cases of a folder, sorted by name, and its cast (cast.json).
func ReadCases(folder fs.FS) (cases []Case, cast Cast, err error) {
	files, err := fs.Glob(folder, "*.json")
	if err != nil {
		return nil, cast, err
	}
	for _, file := range files {
		name := strings.TrimSuffix(path.Base(file), ".json")
		if name == "cast" {
			if err := read(folder, name, &cast); err != nil {
				return nil, cast, err
			}
			continue
		}
		c, err := readCase(folder, name)
		if err != nil {
			return nil, cast, err
		}
		if c.Expect.Article == "" || c.Title == "" {
			return nil, cast, ErrCase.Because(fmt.Errorf("%s: a case has a title, and expect an article", file))
		}
		cases = append(cases, c)
	}
	return cases, cast, nil
}

// readCase reads a case, and what it does not say itself from the one that it is like.
func readCase(folder fs.FS, name string) (c Case, err error) {
	if err = read(folder, name, &c); err == nil && c.Like != "" {
		var base Case
		if err = read(folder, c.Like, &base); err != nil {
			return c, err
		}
		if base.Like != "" {
			return c, ErrCase.Because(fmt.Errorf("%s: %s is itself like another case", name, c.Like))
		}
		order := make(map[string]json.RawMessage)
		for _, said := range []json.RawMessage{base.Order, c.Order} {
			if err := json.Unmarshal([]byte(cmp.Or(string(said), "{}")), &order); err != nil {
				return c, ErrCase.Because(fmt.Errorf("%s: %w", name, err))
			}
		}
		c = base
		c.Expect = Expected{}
		if err = read(folder, name, &c); err == nil {
			c.Order, err = json.Marshal(order)
		}
	}
	c.Name = name
	return c, err
}

// read reads a file of a folder of cases, strictly.
func read(folder fs.FS, name string, into any) error {
	raw, err := fs.ReadFile(folder, name+".json")
	if err != nil {
		return err
	}
	strict := json.NewDecoder(bytes.NewReader(raw))
	strict.DisallowUnknownFields()
	if err := strict.Decode(into); err != nil {
		return ErrCase.Because(fmt.Errorf("%s.json: %w", name, err))
	}
	return nil
}

// Differs says what in a decision under a bundle with that threshold is not as expected, or "".
func (e Expected) Differs(d policy.Decision, threshold int) string {
	want, is := e.String(), Said(d)
	if e.Refused == "" && e.Quorum > 0 {
		e.Quorum = max(e.Quorum, threshold)
		want = e.String()
	}
	if want == is {
		return ""
	}
	return fmt.Sprintf("expected: %s; decided: %s", want, is)
}

func (e Expected) String() string {
	if e.Refused != "" {
		return refused(e.Refused, e.Rule)
	}
	return allowed(e.Quorum, e.NoticeDays, e.Held) + asked(e.Asked)
}

// Said is a decision in words that can be compared with what was expected.
func Said(d policy.Decision) string {
	if d.Refusal != nil {
		rule := ""
		if d.Refusal.Code == policy.ErrRefusedByRule.Code && len(d.Rules) > 0 {
			rule = d.Rules[0]
		}
		return refused(d.Refusal.Code, rule)
	}
	quorum := d.Quorum
	if !policy.KindOf(d.Warrant.Kind).Decided {
		quorum = 0 // nobody decides about it
	}
	suggests := ""
	for _, t := range d.Targets {
		for _, p := range t.Posts {
			suggests = cmp.Or(suggests, strings.Join(p.AuthorSuggests, ", "))
		}
	}
	return allowed(quorum, int(d.NoticePeriod/(24*time.Hour)), d.OverDaily) + asked(suggests)
}

func asked(suggests string) string {
	if suggests == "" {
		return ""
	}
	return ", custodians are asked about " + suggests
}

func refused(code, rule string) string {
	if rule == "" {
		return "refused, " + code
	}
	return "refused, " + code + " by rule " + rule
}

func allowed(quorum, notice int, held bool) string {
	switch {
	case held:
		return "held for all custodians"
	case quorum == 0:
		return "allowed"
	case notice > 0:
		return fmt.Sprintf("allowed, quorum %d, %d days to object", quorum, notice)
	}
	return fmt.Sprintf("allowed, quorum %d", quorum)
}

// submission signs an order and what belongs to it. An order that names no earlier one of
// its own names the one given, if any.
func (s *Stage) submission(f Filing, earlier *policy.Recorded) (policy.Submission, error) {
	w, err := policy.ParseDraft(f.Order)
	if err != nil {
		return policy.Submission{}, ErrCase.Because(err)
	}
	w.Complete(s.bundle, [16]byte(seed(string(f.Order))), moment.Add(-time.Hour))
	w.Audience = s.bundle.Registrar
	if earlier != nil && w.Earlier == "" {
		hash := policy.Hash(earlier.Warrant)
		w.Earlier = hex.EncodeToString(hash[:])
	}
	kind := policy.KindOf(w.Kind)
	if len(w.Targets) == 0 && kind.Targets {
		w.Targets = make([]policy.Target, max(1, f.PenNames))
	}
	var evidence []string
	for i := range w.Targets {
		raw, err := s.target(&w.Targets[i], i, f, kind.Evidence)
		if err != nil {
			return policy.Submission{}, err
		}
		if kind.Evidence {
			evidence = append(evidence, raw)
		}
	}
	if w.Requester.DeliveryKey == "" && kind.Answered {
		secret, err := document.DeliveryKEM().NewPrivateKey(seed("requester"))
		if err != nil {
			return policy.Submission{}, err
		}
		w.Requester.DeliveryKey = document.DeliveryKeyPrefix + encoded(secret.PublicKey().Bytes())
	}
	signed, err := policy.SignWarrant(key(w.Authority), *w)
	if err != nil {
		return policy.Submission{}, ErrCase.Because(errors.Join(err, errors.Unwrap(err)))
	}
	submission := policy.Submission{Warrant: signed, Evidence: evidence}
	for _, by := range f.Countersigned {
		raw, err := s.countersign(signed, w, by)
		if err != nil {
			return policy.Submission{}, err
		}
		submission.Countersigned = append(submission.Countersigned, raw)
	}
	return submission, nil
}

// target fills in pen name i and returns its evidence, if it is to have any.
func (s *Stage) target(t *policy.Target, i int, f Filing, evidence bool) (string, error) {
	if t.Platform == "" {
		t.Platform = platform
	}
	name, err := token.NewPseudonym(seed(fmt.Sprintf("pen name %d", i))[:16])
	if err != nil {
		return "", err
	}
	if t.Pseudonym == "" {
		t.Pseudonym = name
	}
	if !evidence {
		return "", nil
	}
	words := f.Words
	if words == "" {
		words = "I know where you live, and tonight you die."
	}
	raw, err := s.evidence(name, i, words, f.Suggests)
	if err != nil {
		return "", err
	}
	if t.Evidence == "" {
		sum := sha256.Sum256([]byte(raw))
		t.Evidence = hex.EncodeToString(sum[:])
	}
	if f.Description != "" {
		t.Descriptions = map[string]string{t.Evidence: f.Description}
	}
	return raw, nil
}

// evidence is what the platform signs about post i of a pen name, ten days before.
func (s *Stage) evidence(name token.Pseudonym, i int, words string, suggests []string) (string, error) {
	posted := moment.AddDate(0, 0, -10)
	commitment := token.Commit(name, fmt.Sprintf("record %d", i), [32]byte{})
	claims, err := json.Marshal(map[string]any{
		"iss": s.bundle.Issuer, "sub": name, "aud": platform, "iat": posted.Add(-time.Minute).Unix(), "exp": posted.Add(time.Hour).Unix(),
		"jti": fmt.Sprint(i), "acr": "high", "penname_commitment": encoded(commitment[:]),
	})
	if err != nil {
		return "", err
	}
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.EdDSA, Key: key("issuer")}, (&jose.SignerOptions{}).WithType("JWT"))
	if err != nil {
		return "", err
	}
	jws, err := signer.Sign(claims)
	if err != nil {
		return "", err
	}
	tok, err := jws.CompactSerialize()
	if err != nil {
		return "", err
	}
	x, err := token.NewExhibit("text/plain", strings.NewReader(words))
	if err != nil {
		return "", err
	}
	return token.SignEvidence(key(platform), token.Evidence{Version: 2, Platform: platform, Token: tok,
		Post: token.Post{URL: fmt.Sprintf("https://town-square.example/post/%d", i), At: posted, Exhibits: []token.Exhibit{x}, AuthorSuggests: suggests}})
}

// countersign is the validation of a signed order by another authority.
func (s *Stage) countersign(signed string, w *policy.Warrant, by string) (string, error) {
	hash := policy.Hash(signed)
	v := policy.Warrant{Kind: policy.Validation, Earlier: hex.EncodeToString(hash[:]), Authority: by, Jurisdiction: w.Jurisdiction,
		FileNumber: w.FileNumber, Grounds: "The conditions for issuing the order are fulfilled.", OffenceClass: w.OffenceClass, OffenceID: w.OffenceID, Audience: w.Audience}
	if a := s.bundle.Authority(by); a != nil {
		v.Jurisdiction = a.Jurisdiction
	}
	v.Complete(s.bundle, [16]byte(seed(by+signed)), w.IssuedAt)
	return policy.SignWarrant(key(by), v)
}

func encoded(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

// verifierKey is a note verifier key (C2SP signed-note) that nobody signs with.
func verifierKey(name string) string {
	public := ed25519.NewKeyFromSeed(seed(name)).Public().(ed25519.PublicKey)
	return name + "+00000000+" + base64.StdEncoding.EncodeToString(append([]byte{1}, public...))
}
