package policy

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/penname/penname/verifier/document"
	"github.com/penname/penname/verifier/token"
)

// Remedy is what somebody can do against an order who is told of it, under the law of a
// jurisdiction.
type Remedy struct {
	Jurisdiction string `json:"jurisdiction,omitempty"` // of the order, ISO 3166: "GB" counts for "GB-SCT" too; empty: of any
	What         string `json:"what"`                   // "Apply to have the order set aside"
	To           string `json:"to"`                     // who decides: "the court that made the order"
	Days         int    `json:"days,omitempty"`         // from the day on which they were told, up to 1096; 0: the law names none
	Address      string `json:"address,omitempty"`      // where: postal, or https://…
}

const (
	maxRemedies   = 64
	maxRemedyText = 300 // characters
)

// checkRemedies checks what is shown to people who read it once, in a bad hour.
func (b *Bundle) checkRemedies() error {
	shown := slices.ContainsFunc(b.OffenceClasses, func(c OffenceClass) bool { return c.ShowOrder })
	switch {
	case b.Version < 5 && (len(b.Remedies) > 0 || shown):
		return ErrBundleMalformed.Because(errors.New("a version before 5 has neither remedies nor classes whose order is shown"))
	case len(b.Remedies) > maxRemedies:
		return ErrBundleRemedy
	}
	for i, r := range b.Remedies {
		text := func(s string) bool { return !document.Blank(s) && document.Displayable(s, maxRemedyText) }
		if r.Jurisdiction != "" && !jurisdictionPattern.MatchString(r.Jurisdiction) || !text(r.What) || !text(r.To) || r.Address != "" && !text(r.Address) || r.Days < 0 || r.Days > 1096 ||
			slices.Contains(b.Remedies[:i], r) {
			return about("remedy", fmt.Sprint(i+1), ErrBundleRemedy)
		}
	}
	return nil
}

// remedyLine is one line for whoever endorses or compares a bundle.
func remedyLine(r Remedy) string {
	within := "at any time"
	if r.Days > 0 {
		within = fmt.Sprintf("within %d days", r.Days)
	}
	line := fmt.Sprintf("%s: %s, to %s, %s", cmp.Or(r.Jurisdiction, "anywhere"), r.What, r.To, within)
	if r.Address != "" {
		line += ", " + r.Address
	}
	return line
}

// remediesOf are those against an order of that jurisdiction.
func (b *Bundle) remediesOf(jurisdiction string) (all []Remedy) {
	for _, r := range b.Remedies {
		if r.Jurisdiction == "" || jurisdiction == r.Jurisdiction || strings.HasPrefix(jurisdiction, r.Jurisdiction+"-") {
			all = append(all, r)
		}
	}
	return all
}

// Told is what a person is told of an order that names a pen name of theirs, beside which
// court made it, under which file number, and what of theirs was asked for. It says nothing
// about who reported a post, nor of other targets of the order.
type Told struct {
	Offence     string        `json:"offence,omitempty"` // its title in the catalogue of the rules, else that of its class
	Statute     string        `json:"statute,omitempty"`
	Posts       []ToldPost    `json:"posts,omitempty"`
	Issued      time.Time     `json:"issued,omitzero"`
	Secrecy     string        `json:"secrecy,omitempty"`     // why the person was not told before, as the court says
	SecretUntil time.Time     `json:"secret_until,omitzero"` // UTC day
	Opened      time.Time     `json:"opened,omitzero"`       // UTC day on which custodians opened it
	Agreed      []ToldAgreed  `json:"agreed,omitempty"`      // who opened it together
	Remedies    []Remedy      `json:"remedies,omitempty"`    // against this order
	Order       *ToldOrder    `json:"order,omitempty"`       // nil: the law does not let it be shown
	Objection   ToldObjection `json:"objection"`             // how an objection reaches who decides
	Version     int           `json:"v"`                     // of this form: 1
}

// ToldPost is a post that the order is about: its words are not kept where this is made.
type ToldPost struct {
	URL string    `json:"url"`
	At  time.Time `json:"at"`
}

// ToldAgreed is a custodian who agreed.
type ToldAgreed struct {
	Name      string `json:"name"`
	Alternate bool   `json:"alternate,omitempty"` // who stood in for the one whose share it is
}

// ToldOrder is what the court ordered, in its words. The signed document names other people
// and is not shown: by its digest a copy from the court can be recognised.
type ToldOrder struct {
	Grounds         string `json:"grounds"`
	Necessity       string `json:"necessity"`
	Proportionality string `json:"proportionality"`
	SHA256          string `json:"sha256"` // of the compact JWS, hex
}

// ToldObjection is what the words of an objection are encrypted to, and how long they are
// kept after the end of the case.
type ToldObjection struct {
	Recipients []string `json:"recipients,omitempty"` // of exhibits: the custodians in force and the requester
	KeepDays   int      `json:"keep_days,omitempty"`
}

// Told is what the person of a target is told of an order under b that was allowed before: it
// verifies nothing.
func (b *Bundle) Told(s Submission, w *Warrant, target int) Told {
	t := Told{Version: 1, Issued: w.IssuedAt, Secrecy: w.Secrecy.Reason, SecretUntil: w.Secrecy.Ends, Remedies: b.remediesOf(w.Jurisdiction),
		Objection: ToldObjection{b.ExhibitsTo(w), b.AppealDays}}
	class := b.OffenceClass(w.OffenceClass)
	if class != nil {
		t.Offence = class.Title
	}
	if o := b.Offence(w.OffenceID); o != nil {
		t.Offence, t.Statute = o.Title, o.Statute
	}
	if b.WithoutSecrecy(*w) {
		t.Secrecy, t.SecretUntil = "", time.Time{}
	}
	if class != nil && class.ShowOrder {
		sum := Hash(s.Warrant)
		t.Order = &ToldOrder{w.Grounds, w.Necessity, w.Proportionality, hex.EncodeToString(sum[:])}
	}
	if target >= len(w.Targets) {
		return t
	}
	named := append([]string{w.Targets[target].Evidence}, w.Targets[target].Further...)
	for _, raw := range s.Evidence {
		sum := sha256.Sum256([]byte(raw))
		if !slices.Contains(named, hex.EncodeToString(sum[:])) {
			continue
		}
		if e, err := token.ParseUnverifiedEvidence(raw); err == nil {
			t.Posts = append(t.Posts, ToldPost{e.Post.URL, e.Post.At.UTC()})
		}
	}
	slices.SortStableFunc(t.Posts, func(a, c ToldPost) int { return a.At.Compare(c.At) })
	if len(t.Posts) > maxToldPosts {
		t.Posts = t.Posts[:maxToldPosts]
	}
	return t
}

// Coded is what a lawyer reads who has the one-time code of a notice.
type Coded struct {
	Authority  string    `json:"authority"` // by its name
	FileNumber string    `json:"file_number"`
	PenName    string    `json:"pen_name"`
	Platform   string    `json:"platform"`
	LegalBasis string    `json:"legal_basis"`
	Requester  string    `json:"requester"` // by its name
	Fields     []string  `json:"fields"`
	Kind       string    `json:"kind"`            // of the warrant
	State      string    `json:"state,omitempty"` // of the pen name in the case, as a person's notice has it
	Days       int       `json:"days,omitempty"`  // to object, of an order that waits for custodians; 0: nothing is suspended
	Until      time.Time `json:"until,omitzero"`  // an objection before that suspends the case; zero: the days have not begun, if there are any
	Told       Told      `json:"told"`
}

// Suspends reports whether an objection made at now keeps the case from going on.
func (c Coded) Suspends(now time.Time) bool {
	return c.Days > 0 && (c.Until.IsZero() || now.Before(c.Until))
}

// NoticeCode is what a one-time code is known by: SHA-256 of its letters and digits, however
// it was written down.
func NoticeCode(code string) [32]byte {
	letters := strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= '2' && r <= '7' {
			return r
		}
		return -1
	}, strings.ToLower(code))
	return sha256.Sum256([]byte("penname/notice/v1 " + letters))
}

// NoticeCodeDays is how long such a code is good, once.
const NoticeCodeDays = 30

// MaxObjectionText is how many characters an objection has at most, and MaxObjection how many
// bytes encrypted, to forty recipients.
const (
	MaxObjectionText = 8000
	MaxObjection     = 128 << 10
)

// CheckObjection refuses what is no objection: a text of 1 to [MaxObjectionText] characters.
func CheckObjection(text string) error {
	if strings.TrimSpace(document.Fold(text)) == "" || !utf8.ValidString(text) || utf8.RuneCountInString(text) > MaxObjectionText {
		return ErrObjectionText
	}
	return nil
}

// maxToldPosts is how many posts a notice names, the oldest: an order can be about thousands.
const maxToldPosts = 100
