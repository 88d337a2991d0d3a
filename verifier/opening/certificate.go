package opening

import (
	"fmt"
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
	Package    string   `json:"package_sha256"`
	Bundle     string   `json:"bundle_sha256"`
	Log        string   `json:"log"` // origin
	Recorded   int64    `json:"recorded"`
	Authorised int64    `json:"authorised"`
	Released   int64    `json:"released"`
	Custodians []string `json:"custodians"`           // who approved
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
	Refused  string          `json:"refused,omitempty"` // code of the first exhibit that is not as declared: the name stays sealed
	Posts    []CertifiedPost `json:"posts"`
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

// certified is what a target's evidence says, before anything was compared.
func certified(t PackageTarget, posts []policy.Post) CertifiedTarget {
	c := CertifiedTarget{PenName: t.Pseudonym, Platform: t.Platform}
	for _, p := range posts {
		post := CertifiedPost{URL: p.URL, At: p.At, ProvenByKey: p.ProvenByKey, Withheld: p.Description != ""}
		for _, x := range p.Exhibits {
			post.Exhibits = append(post.Exhibits, CertifiedExhibit{Type: x.Type, SHA256: x.Name(), Length: x.Length})
		}
		c.Posts = append(c.Posts, post)
	}
	return c
}

// String is for a person at a terminal.
func (t CertifiedTarget) String() string {
	var s strings.Builder
	fmt.Fprintf(&s, "  target       %s on %s\n", t.PenName, t.Platform)
	if t.Refused != "" {
		fmt.Fprintf(&s, "    refused    %s\n", t.Refused)
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
