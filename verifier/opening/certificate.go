package opening

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/penname/penname/policy"
	"github.com/penname/penname/verifier/document"
	"github.com/penname/penname/verifier/token"
)

// Says is what every certificate says of itself.
const Says = "who enrolled under the pen name, never who typed"

// Certificate says what was checked, against which public record. Hashes are hex
// SHA-256, positions are indices in the log.
type Certificate struct {
	Warrant    string   `json:"warrant_sha256"`
	Package    string   `json:"package_sha256"` // of the first round; each target names its own
	Bundle     string   `json:"bundle_sha256"`
	Log        string   `json:"log"` // origin
	Recorded   int64    `json:"recorded"`
	Authorised int64    `json:"authorised"`           // of the first round
	Released   int64    `json:"released"`             // likewise
	Custodians []string `json:"custodians"`           // who approved a target that was released
	BadShares  []string `json:"bad_shares,omitempty"` // custodians who signed for a share that is wrong
	Stolen     []string `json:"stolen,omitempty"`     // of each target whose evidence is under a key that was reported stolen: its platform, and what to know

	Says    string            `json:"says,omitempty"`    // what it proves, and what not: [Says]; empty in those of before
	Targets []CertifiedTarget `json:"targets,omitempty"` // in the order of the warrant
}

// String is for a person, without the case's id.
func (c Certificate) String() string {
	s := fmt.Sprintf("  warrant      sha256 %s\n  package      sha256 %s\n  rules        sha256 %s\n"+
		"  public log   %s: recorded at %d, authorised at %d, released at %d\n  custodians   %s\n",
		c.Warrant, c.Package, c.Bundle, c.Log, c.Recorded, c.Authorised, c.Released, strings.Join(c.Custodians, ", "))
	if len(c.BadShares) > 0 {
		s += fmt.Sprintf("  wrong shares %s\n", strings.Join(c.BadShares, ", "))
	}
	for _, said := range c.Stolen {
		s += "  stolen key   " + said + "\n"
	}
	if c.Says != "" {
		s += "  it says      " + c.Says + "\n"
	}
	for _, t := range c.Targets {
		s += t.String()
	}
	return s
}

// CertifiedTarget is what one target was judged by.
type CertifiedTarget struct {
	PenName  token.Pseudonym `json:"pen_name"`
	Platform string          `json:"platform"`
	Posts    []CertifiedPost `json:"posts"`

	// Of a released target, since targets are decided one by one: what was released, the
	// leaves, and who approved it.
	Package    string   `json:"package_sha256,omitempty"`
	Authorised int64    `json:"authorised,omitempty"`
	Released   int64    `json:"released,omitempty"`
	Custodians []string `json:"custodians,omitempty"`

	// Of one whose name stays sealed: where it stands by the registrar's word ("refused",
	// "declined", "withdrawn"), and the code of why. Of one that was released, Refused is the
	// code of the first exhibit that is not as declared, or of what forbids its use.
	State   string `json:"state,omitempty"`
	Refused string `json:"refused,omitempty"`
}

// CertifiedPost is a post that the platform's evidence is about.
type CertifiedPost struct {
	URL         string             `json:"url"`
	At          time.Time          `json:"at"`
	ProvenByKey bool               `json:"proven_by_key"`      // the author's key signed this very post; else it is the platform's word alone
	Withheld    bool               `json:"withheld,omitempty"` // nobody may copy what it showed: the court describes it in the warrant
	Exhibits    []CertifiedExhibit `json:"exhibits,omitempty"` // none where evidence is of version 1
}

// CertifiedExhibit is one piece of what was published, as the platform signed it.
type CertifiedExhibit struct {
	Type     string `json:"type"`
	SHA256   string `json:"sha256"`             // hex
	Length   int64  `json:"length"`             // bytes
	Compared bool   `json:"compared,omitempty"` // the requester opened what was filed, and it is this
}

// certify holds each sealed record against its token, and makes the certificate.
func (o *Opening) certify(d Delivery, decision policy.Decision) error {
	o.Certificate.Custodians = []string{}
	for i, t := range o.Targets {
		want := o.Warrant.Targets[i]
		c := CertifiedTarget{PenName: want.Pseudonym, Platform: want.Platform, Posts: certifiedPosts(t.Posts)}
		if len(d.States) > 0 {
			c.State, c.Refused = d.States[i].State, d.States[i].Code
		}
		if t.Sealed != nil {
			if refused := decision.Targets[i].Refusal; refused != nil {
				return ErrUnlawful.Because(refused)
			}
			if !Commits(t.Sealed.OpenedTarget, t.Sealed.Fields, decision.Targets[i].Token.Commitment) {
				return ErrRecordMismatch
			}
			o.certifyRelease(&c, i)
		}
		if said := decision.Targets[i].Registered.Report(); said != "" {
			o.Certificate.Stolen = append(o.Certificate.Stolen, want.Platform+": "+said)
		}
		o.Certificate.Targets = append(o.Certificate.Targets, c)
	}
	return nil
}

// certifyRelease says when a target was released, and who approved it.
func (o *Opening) certifyRelease(c *CertifiedTarget, target int) {
	t := o.Targets[target]
	c.State, c.Refused = "", ""
	if t.Barred != nil {
		c.Refused = t.Barred.Code
	}
	var who []string
	for _, a := range t.Approvals {
		who = append(who, a.Custodian)
		if !slices.Contains(o.Certificate.Custodians, a.Custodian) {
			o.Certificate.Custodians = append(o.Certificate.Custodians, a.Custodian)
		}
	}
	for _, r := range o.rounds {
		if r.which != nil && slices.ContainsFunc(r.Targets, func(p PackageTarget) bool { return p.Index == target }) {
			c.Package, c.Authorised, c.Released, c.Custodians = r.hash, r.decided, r.released, who
		}
	}
}

// certifiedPosts is what a target's evidence says, before anything was compared.
func certifiedPosts(posts []policy.Post) (all []CertifiedPost) {
	for _, p := range posts {
		post := CertifiedPost{URL: p.URL, At: p.At, ProvenByKey: p.ProvenByKey, Withheld: p.Description != ""}
		for _, x := range p.Exhibits {
			post.Exhibits = append(post.Exhibits, CertifiedExhibit{Type: x.Type, SHA256: x.Name(), Length: x.Length})
		}
		all = append(all, post)
	}
	return all
}

// String is for a person at a terminal.
func (t CertifiedTarget) String() string {
	var s strings.Builder
	fmt.Fprintf(&s, "  target       %s on %s\n", t.PenName, t.Platform)
	if t.State != "" {
		fmt.Fprintf(&s, "    not opened, the registrar says: %s\n", t.State)
	}
	if t.Refused != "" {
		fmt.Fprintf(&s, "    refused    %s\n", t.Refused)
	}
	if t.Package != "" {
		fmt.Fprintf(&s, "    released   at %d, authorised at %d by %s; package sha256 %s\n", t.Released, t.Authorised, strings.Join(t.Custodians, ", "), t.Package)
	}
	for _, p := range t.Posts {
		said := "the platform's word alone"
		if p.ProvenByKey {
			said = "proven by its author's key"
		}
		fmt.Fprintf(&s, "    post       %s of %s: %s\n", p.URL, p.At.Format(time.RFC3339), said)
		for _, x := range p.Exhibits {
			said := "declared  "
			switch {
			case x.Compared:
				said = "compared  "
			case p.Withheld:
				said = "withheld  "
			}
			fmt.Fprintf(&s, "    %s sha256 %s, %s, %d bytes\n", said, x.SHA256, x.Type, x.Length)
		}
	}
	return document.Printable(s.String())
}
