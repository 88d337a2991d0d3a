package registrar

import (
	"fmt"
	"strings"

	"github.com/penname/penname/verifier/document"
)

// Problem is a refusal of the registrar, RFC 9457.
type Problem struct {
	Code      string   `json:"code"`
	Title     string   `json:"title"`
	Status    int      `json:"status,omitempty"`
	Rules     []string `json:"rules,omitempty"`
	Culprits  []string `json:"culprits,omitempty"` // ids of the participants at fault
	Approvals *int     `json:"approvals,omitempty"`
	Quorum    *int     `json:"quorum,omitempty"`
	Cause     string   `json:"cause,omitempty"`    // of a failure on this machine
	Evidence  string   `json:"evidence,omitempty"` // file that proves it
}

// Error is the refusal in one line for a terminal.
func (p *Problem) Error() string {
	s := p.Code + ": " + p.Title
	if p.Approvals != nil && p.Quorum != nil {
		s = fmt.Sprintf("%s: quorum not met: %d of %d. %s", p.Code, *p.Approvals, *p.Quorum, p.Title)
	}
	if len(p.Rules) > 0 {
		s += " (rule " + strings.Join(p.Rules, ", ") + ")"
	}
	if p.Cause != "" {
		s += " (" + p.Cause + ")"
	}
	if p.Evidence != "" {
		s += " Evidence: " + p.Evidence
	}
	return document.Printable(strings.ReplaceAll(s, "\n", " "))
}
