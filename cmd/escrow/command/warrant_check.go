package command

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/penname/penname/cmd/shell"
	"github.com/penname/penname/escrow/exhibit"
	"github.com/penname/penname/escrow/registrar"
	"github.com/penname/penname/escrow/secretfile"
	"github.com/penname/penname/policy"
	"github.com/penname/penname/verifier/document"
	"github.com/penname/penname/verifier/refusal"
)

var errFaults = refusal.New(refusal.Invalid, "warrant.faults",
	"filing it would be refused: each fault above says where it is and how to mend it; nothing was signed or sent")

// verdict is what a check found.
type verdict struct {
	File       string            `json:"file"`
	Faults     []registrar.Fault `json:"faults"`
	Custodians int               `json:"custodians,omitempty"`  // that have to approve
	NoticeDays int               `json:"notice_days,omitempty"` // for which the person can object before
	SignedBy   []string          `json:"signed_by,omitempty"`   // that have to sign it too, before it is filed
	Notes      []string          `json:"notes,omitempty"`       // that refuse nothing
	NotChecked []string          `json:"not_checked,omitempty"`
}

func (v verdict) String() string {
	var b strings.Builder
	if len(v.Faults) == 0 {
		fmt.Fprintf(&b, "%s: nothing is wrong with it", v.File)
	} else {
		fmt.Fprintf(&b, "%s: faults: %d", v.File, len(v.Faults))
	}
	for i, f := range v.Faults {
		fmt.Fprintf(&b, "\n%3d  %s\n     %s", i+1, f.Place(), f)
	}
	for _, note := range v.Notes {
		b.WriteString("\nnote: " + document.Printable(note))
	}
	if v.Custodians > 0 {
		fmt.Fprintf(&b, "\ncustodians that have to approve: %d", v.Custodians)
	}
	if v.NoticeDays > 0 {
		fmt.Fprintf(&b, "\nthe person is told first and has %d days to object", v.NoticeDays)
	}
	if len(v.SignedBy) > 0 {
		b.WriteString("\nhas to be signed as well, before it is filed, by " + strings.Join(v.SignedBy, ", and by "))
	}
	if len(v.NotChecked) > 0 {
		b.WriteString("\nnot checked:")
	}
	for _, what := range v.NotChecked {
		b.WriteString("\n  " + what)
	}
	return b.String()
}

// checkable is what a warrant is checked with.
type checkable struct {
	bundle                  *policy.Bundle
	evidence, countersigned []string
	exhibits, earlier       string // names of a folder and of a file; "": none
	revocation              []string
	named                   bool // of the evidence, only what a signed warrant names is taken, each piece once
	online                  bool // the registrar is asked which rules are in force and which platforms there are
}

// check checks a draft, or a signed warrant, of which text is what is in the file.
func (p *program) check(ctx context.Context, file string, text []byte, with checkable) (verdict, error) {
	v := verdict{File: file}
	given, b := policy.Given{}, with.bundle
	var err error
	if len(with.evidence) > 0 {
		pieces, err := p.evidence(with.evidence)
		if err != nil {
			return v, err
		}
		given.Evidence = append([]string{}, pieces...) // not nil: it is at hand, if there is none
	}
	for _, name := range with.countersigned {
		raw, err := p.readFile(name)
		if err != nil {
			return v, err
		}
		given.Countersigned = append(given.Countersigned, strings.TrimSpace(string(raw)))
	}
	if given.Revocation, err = p.revocationLists(with.revocation); err != nil {
		return v, err
	}
	if with.earlier != "" {
		raw, err := p.readFile(with.earlier)
		if err != nil {
			return v, err
		}
		given.Earlier = strings.TrimSpace(string(raw))
	}
	var more []policy.Fault
	if with.online {
		if more, given.Platforms, err = p.inForce(ctx, b); err != nil {
			return v, err
		}
	} else {
		v.NotChecked = append(v.NotChecked, "whether these rules are in force: name the registrar with --server")
	}
	var c policy.Checked
	var w *policy.Warrant
	signed, where := strings.TrimSpace(string(text)), text
	if payload := policy.Payload(signed); payload != nil {
		if w, err = policy.ParseUnverified(signed); err != nil {
			w = new(policy.Warrant)
		} else if with.named {
			given.Evidence = append([]string{}, takeWanted(given.Evidence, wantedBy(w))...) // not nil: as above
		}
		c, where = b.CheckSigned(signed, given, p.Now()), payload
	} else {
		var faults []policy.Fault
		if w, faults = policy.ReadDraft(text); w != nil {
			w.Complete(b, [16]byte{}, p.Now())
			c = b.Check(*w, given, p.Now())
		}
		c.Faults = append(faults, c.Faults...)
	}
	c.Faults = append(c.Faults, more...)
	c.Faults, c.NotChecked = p.checkExhibits(with.exhibits, c)
	policy.Locate(where, c.Faults)
	v.Faults, v.NotChecked = registrar.FaultsOf(c.Faults), append(c.NotChecked, v.NotChecked...)
	v.Custodians, v.NoticeDays = c.Quorum, int(c.NoticePeriod/(24*time.Hour))
	if w != nil {
		v.Notes = b.Differs(w)
		if b.WithoutSecrecy(*w) {
			v.Notes = append(v.Notes, noSecrecy(b))
		}
	}
	if w != nil && len(with.countersigned) == 0 {
		v.SignedBy = b.Countersigners(w)
	}
	return v, nil
}

// inForce says whether other rules are in force, and returns the registry of these.
func (p *program) inForce(ctx context.Context, b *policy.Bundle) (faults []policy.Fault, platforms *policy.Platforms, err error) {
	_, now, err := p.follow(ctx, b, nil, "", maxAge)
	if err != nil {
		return nil, nil, err
	}
	if now.Hash() != b.Hash() {
		faults = []policy.Fault{{Error: policy.ErrWrongBundle.Because(errors.New("in force is the bundle with the hash " + now.Hash())), At: "/bundle"}}
	}
	if b.Registry != nil {
		platforms, err = p.registered(ctx, b)
	}
	return faults, platforms, err
}

// checkExhibits looks for what custodians will read in a folder.
func (p *program) checkExhibits(folder string, c policy.Checked) ([]policy.Fault, []string) {
	if len(c.Exhibits) == 0 {
		return c.Faults, c.NotChecked
	}
	if folder == "" {
		return c.Faults, append(c.NotChecked, "the exhibits: name the folder of the platform's files with --exhibits")
	}
	_, err := exhibit.Find(folder, c.Exhibits)
	if err == nil {
		return c.Faults, c.NotChecked
	}
	e := refusal.Of(err)
	if e == nil {
		e = secretfile.ErrUnreadable.Because(err)
	}
	return append(c.Faults, policy.Fault{Error: e, At: "/targets"}), c.NotChecked
}

// evidence reads files with evidence, one piece a line, and folders with such files, in which
// what is no evidence is a warrant or its countersignature, or is refused. Of a folder, which a
// stranger filled, no link is followed.
func (p *program) evidence(names []string) (all []string, err error) {
	for _, name := range names {
		info, serr := os.Stat(name)
		if serr != nil || !info.IsDir() {
			pieces, err := p.pieces(name)
			if err != nil {
				return nil, err
			}
			all = append(all, pieces...)
			continue
		}
		files, err := exhibit.Files(filepath.Clean(name), ".jws")
		if err != nil {
			return nil, secretfile.ErrUnreadable.Because(err)
		}
		for _, file := range files {
			pieces, err := evidenceIn(file)
			if err != nil {
				return nil, err
			}
			all = append(all, pieces...)
		}
	}
	return all, nil
}

// evidenceIn are the pieces of evidence in a file of a stranger's folder.
func evidenceIn(file string) ([]string, error) {
	f, err := exhibit.OpenGiven(file)
	if err != nil {
		return nil, secretfile.ErrUnreadable.Because(err)
	}
	raw, err := shell.ReadOpen(f)
	if err != nil {
		return nil, err
	}
	pieces, err := piecesOf(file, raw)
	return slices.DeleteFunc(pieces, func(raw string) bool { return policy.Payload(raw) != nil }), err
}

// pieces are the lines of a file.
func (p *program) pieces(name string) (all []string, err error) {
	raw, err := p.readFile(name)
	if err != nil {
		return nil, err
	}
	return piecesOf(name, raw)
}

func piecesOf(name string, raw []byte) (all []string, err error) {
	for n, line := range strings.Split(string(raw), "\n") {
		if line = strings.TrimSpace(line); line == "" {
			continue
		}
		if strings.Count(line, ".") != 2 || strings.ContainsAny(line, " \t") {
			return nil, shell.InFile(name, n+1, errEvidenceLine)
		}
		all = append(all, line)
	}
	return all, nil
}

func warrantCheck(p *program) *cobra.Command {
	var with checkable
	var bundle string
	c := leaf("check WARRANT", "Say everything for which filing would refuse a draft or a signed warrant, and where it stands",
		"escrow warrant check draft.json --bundle bundle.json --evidence case118", cobra.ExactArgs(1),
		func(ctx context.Context, args []string) error {
			err := require([2]string{"bundle", bundle})
			if err != nil {
				return err
			}
			if with.bundle, err = p.readBundle(bundle); err != nil {
				return err
			}
			text, err := p.readFile(args[0])
			if err != nil {
				return err
			}
			with.online = p.server != ""
			with.exhibits = beside(with.exhibits, with.evidence)
			v, err := p.check(ctx, args[0], text, with)
			if err != nil {
				return err
			}
			if err := p.print(v, v.String()); err != nil || len(v.Faults) == 0 {
				return err
			}
			return errFaults
		})
	c.Long = "Checks a draft before it is signed, or a signed warrant before it is filed. All that is wrong is said\n" +
		"at once, with its line and character: of a draft those of the file, of a signed one those of the JSON\n" +
		"that it holds. Where the rules could not be asked yet, that is said: mend the faults, and check again.\n" +
		"Nothing is signed, and nothing is sent but the questions to --server: which rules are in force, and\n" +
		"which platforms are registered. What could not be checked is said; and only the\n" +
		"registrar knows whether a warrant is on file already, and how many its authority has filed.\n\n" +
		"--evidence takes files and folders; in a folder of evidence the exhibits are looked for too, and links\n" +
		"in it are not followed.\n" +
		"Exit code 1 where something is wrong."
	c.Flags().StringVar(&bundle, "bundle", "", "bundle of rules that the warrant is made under")
	c.Flags().StringArrayVar(&with.evidence, "evidence", nil, "file with evidence, one piece a line, or a folder with such files (*.jws); can be given again")
	c.Flags().StringVar(&with.exhibits, "exhibits", "", "folder with what the posts showed (default: that of --evidence, if it is one)")
	c.Flags().StringArrayVar(&with.countersigned, "countersigned", nil, "file that another authority signed about this warrant; can be given again")
	c.Flags().StringArrayVar(&with.revocation, "revocation", nil, "where a certificate signed: list of revoked certificates (CRL); can be given again")
	c.Flags().StringVar(&with.earlier, "earlier", "", "signed file of the warrant that this one follows up or is about")
	return c
}

// beside is the folder of exhibits: the one that was named, or that of the evidence.
func beside(exhibits string, evidence []string) string {
	if exhibits != "" || len(evidence) == 0 {
		return exhibits
	}
	if info, err := os.Stat(evidence[0]); err == nil && info.IsDir() {
		return evidence[0]
	}
	return ""
}
