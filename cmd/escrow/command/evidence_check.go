package command

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/penname/penname/cmd/shell"
	"github.com/penname/penname/escrow/secretfile"
	"github.com/penname/penname/verifier/document"
	"github.com/penname/penname/verifier/refusal"
	"github.com/penname/penname/verifier/token"
)

// errSomeEvidence is said when several pieces of evidence were checked.
var errSomeEvidence = refusal.New(refusal.Invalid, "evidence.some_refused", "Some of the evidence does not hold: each line above that is not good says why, and how to mend it.")

// checkFlags are what evidence is judged by.
type checkFlags struct {
	issuer, issuerKeys, platformKeys, exhibits string

	span        time.Duration
	contentless bool
}

// checkedEvidence is the verdict on one piece of evidence.
type checkedEvidence struct {
	shownEvidence
	Good        bool   `json:"good"`
	ProvenByKey bool   `json:"proven_by_key"` // else there is the platform's word alone
	Compared    bool   `json:"exhibits_compared"`
	Code        string `json:"code,omitempty"` // of the refusal, if it is not good
	Title       string `json:"title,omitempty"`
	Cause       string `json:"cause,omitempty"`

	refused error
}

func (v *checkedEvidence) text() string {
	place := fmt.Sprintf("%s, line %d", v.File, v.Line)
	if !v.Good {
		return place + ": " + shell.ProblemOf(v.refused).Error()
	}
	word, compared := "the platform's word alone", "exhibits not compared"
	if v.ProvenByKey {
		word = "proven by the author's key"
	}
	if v.Compared {
		compared = fmt.Sprintf("exhibits compared: %d", len(v.Exhibits))
	}
	return fmt.Sprintf("%s: good: %s at %s by %s; %s; %s; sha256 %s", place, v.URL, v.At, v.PenName, word, compared, v.SHA256)
}

func evidenceCheck(p *program) *cobra.Command {
	var f checkFlags
	c := leaf("check FILE...", "Verify evidence as a court's registrar does, offline if the issuer's keys are in a file",
		"escrow evidence check threat.jws --issuer https://penname.example --platform-keys town-square.pub --exhibits exhibits",
		cobra.MinimumNArgs(1), func(ctx context.Context, files []string) error {
			rules, err := f.rules(ctx, p)
			if err != nil {
				return err
			}
			checked := 0
			var refused error
			for _, file := range files {
				err := p.eachLine(file, func(n int, raw string) error {
					v := f.check(file, n, raw, rules)
					if v.refused != nil {
						refused = shell.InFile(file, n, v.refused)
					}
					if checked++; checked%500 == 0 {
						p.progress("checked %d\n", checked)
					}
					if ctx.Err() != nil {
						return ctx.Err()
					}
					return p.printLine(v, document.Printable(v.text()))
				})
				if err != nil {
					return err
				}
			}
			switch {
			case checked == 0:
				return token.ErrEvidenceMalformed
			case refused != nil && checked > 1:
				return errSomeEvidence
			}
			return refused
		})
	c.Long = "Verifies evidence: the platform's signature, the token with the issuer's keys, the time, the proof,\n" +
		"and with --exhibits that each file is the one that was signed. FILE has one piece of evidence a line;\n" +
		"- is the standard input. Each has a line in the answer; --json prints one object a line.\n\n" +
		"Not checked: whether the platform is registered and its key counts, which is for the registrar and\n" +
		"the custodians to say."
	c.Flags().StringVar(&f.issuer, "issuer", "", "issuer of the tokens, for example https://penname.example")
	c.Flags().StringVar(&f.issuerKeys, "issuer-keys", "", "file with the issuer's keys (JWK Set), instead of fetching them")
	c.Flags().StringVar(&f.platformKeys, "platform-keys", "", "file with the platform's public evidence key (JWK) or keys (JWK Set)")
	c.Flags().StringVar(&f.exhibits, "exhibits", "", "folder with the exhibits, each named by its SHA-256")
	c.Flags().DurationVar(&f.span, "span", 24*time.Hour, "how long after a sign-in a post counts: post_span_hours of the bundle")
	c.Flags().BoolVar(&f.contentless, "contentless", false, "accept version 1, which says only a digest: for cases under older rules")
	return c
}

// rules are those of the flags.
func (f *checkFlags) rules(ctx context.Context, p *program) (token.EvidenceRules, error) {
	r := token.EvidenceRules{Issuer: f.issuer, Span: f.span, Contentless: f.contentless}
	err := require([2]string{"issuer", f.issuer}, [2]string{"platform-keys", f.platformKeys})
	if err != nil {
		return r, err
	}
	if r.PlatformKeys, err = p.readKeySet(f.platformKeys); err != nil {
		return r, err
	}
	if f.issuerKeys != "" {
		r.IssuerKeys, err = p.readKeySet(f.issuerKeys)
	} else {
		r.IssuerKeys, err = token.IssuerKeys(ctx, f.issuer, p.HTTP)
	}
	return r, err
}

// readKeySet reads a JWK Set, or one JWK in its place.
func (p *program) readKeySet(name string) (*token.KeySet, error) {
	raw, err := p.readFile(name)
	if err != nil {
		return nil, err
	}
	if err := secretfile.RefuseSecret(name, raw); err != nil {
		return nil, err
	}
	var set struct {
		Keys json.RawMessage `json:"keys"`
	}
	if json.Unmarshal(raw, &set) == nil && set.Keys == nil {
		raw = fmt.Appendf(nil, `{"keys":[%s]}`, raw)
	}
	keys, err := token.ParseKeySet(raw)
	return keys, shell.InFile(name, 0, err)
}

func (f *checkFlags) check(file string, line int, raw string, rules token.EvidenceRules) checkedEvidence {
	e, _, err := token.VerifyEvidence(raw, rules)
	if err != nil {
		err = inOneLine(raw, err)
		said := shell.ProblemOf(err)
		return checkedEvidence{shownEvidence: shownEvidence{File: file, Line: line, Exhibits: []shownExhibit{}}, Code: said.Code, Title: said.Title, Cause: said.Cause, refused: err}
	}
	v := checkedEvidence{shownEvidence: shown(file, line, raw, e), ProvenByKey: e.ProvenByKey}
	if f.exhibits != "" {
		for _, x := range e.Post.Exhibits {
			if _, err := readExhibit(f.exhibits, x); err != nil {
				said := shell.ProblemOf(err)
				v.Code, v.Title, v.Cause, v.refused = said.Code, said.Title, said.Cause, err
				return v
			}
		}
		v.Compared = true
	}
	v.Good = true
	return v
}
