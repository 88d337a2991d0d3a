package command

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/penname/penname/cmd/shell"
	"github.com/penname/penname/escrow/exhibit"
	"github.com/penname/penname/escrow/registrar"
	"github.com/penname/penname/escrow/secretfile"
	"github.com/penname/penname/policy"
	"github.com/penname/penname/verifier/opening"
	"github.com/penname/penname/verifier/refusal"
	"github.com/penname/penname/verifier/token"
)

var (
	errEvidenceLine = refusal.New(refusal.Invalid, "evidence.not_a_bundle",
		"this line is not one evidence bundle, a compact JWS as the platform gave it: nothing was sent, name the platform's own file")
	errNoFolder = refusal.New(refusal.Invalid, "exhibit.no_folder",
		"the evidence declares exhibits, which custodians must read: nothing was sent, name the folder of the platform's files with --exhibits")
)

// caseStatus is where a case stands, with its exhibits.
type caseStatus struct {
	registrar.CaseStatus
	Exhibits *registrar.Exhibits `json:"exhibits,omitempty"` // none: the case has none, or they were dropped
	Unknown  bool                `json:"exhibits_unknown,omitempty"`
}

// at is for a person at a terminal, at that time.
func (s caseStatus) at(now time.Time) string {
	switch {
	case s.Unknown:
		return s.At(now) + "\nexhibits: unknown, the registrar is older than they are"
	case s.Exhibits == nil:
		return s.At(now)
	}
	return s.At(now) + "\n" + s.Exhibits.String()
}

// withExhibits asks for the exhibits of a case. An older registrar, which has no such
// address, answers 404, and what it has is unknown: that is no failure.
func withExhibits(ctx context.Context, r *registrar.Client, st registrar.CaseStatus) (caseStatus, error) {
	x, err := r.Exhibits(ctx, st.Case)
	var said *registrar.Problem
	if errors.As(err, &said) && said.Status == http.StatusNotFound {
		return caseStatus{CaseStatus: st, Unknown: true}, nil
	}
	if err != nil || x.String() == "" {
		return caseStatus{CaseStatus: st}, err
	}
	return caseStatus{CaseStatus: st, Exhibits: &x}, nil
}

func warrantFile(p *program) *cobra.Command {
	var evidence, countersigned, revocation []string
	var folder string
	c := leaf("file WARRANT", "File a signed warrant of any kind with the registrar",
		"escrow warrant file warrant.jws --evidence threats.jws --exhibits threats --server https://penname.example",
		cobra.ExactArgs(1), func(ctx context.Context, args []string) error {
			s, err := p.submission(args[0], evidence, countersigned, revocation)
			if err != nil {
				return err
			}
			st, withheld, err := p.fileWarrant(ctx, s, beside(folder, evidence))
			if err != nil {
				if st.Case != "" && !p.json {
					fmt.Fprintf(p.Stderr, "case %s is filed; the same command again sends the exhibits that are missing\n", st.Case)
				}
				return err
			}
			return p.print(st, p.filed(s, st, args[0], folder, withheld))
		})
	c.Flags().StringArrayVar(&evidence, "evidence", nil, "file with evidence bundles, one a line, or a folder with such files (*.jws); can be given again")
	c.Flags().StringArrayVar(&countersigned, "countersigned", nil, "file that escrow warrant validate signed for another authority about this warrant; can be given again")
	addRevocation(c, &revocation)
	c.Flags().StringVar(&folder, "exhibits", "", "folder with what the posts showed: the platform's files, by any name (default: that of --evidence, if it is one); they are sent encrypted to the custodians and the requester, and what is sent already is not sent again")
	return c
}

// fileWarrant files a warrant, and sends what its posts showed from a folder. withheld: nobody may
// copy that, and nothing of it was sent. An error with a case beside it is of what was to be sent:
// the warrant is filed.
func (p *program) fileWarrant(ctx context.Context, s policy.Submission, folder string) (st caseStatus, withheld bool, err error) {
	r, err := p.registrar()
	if err != nil {
		return st, false, err
	}
	e, err := p.exhibits(ctx, r, s, folder)
	if err != nil {
		return st, false, err
	}
	filed, err := r.FileWarrant(ctx, s)
	if err != nil {
		return st, false, err
	}
	st.CaseStatus = filed
	if err := e.send(ctx, p, r, filed.Case); err != nil || len(e.want) == 0 {
		return st, e.withheld, err
	}
	all, err := withExhibits(ctx, r, filed)
	if err != nil {
		return st, e.withheld, err
	}
	return all, e.withheld, nil
}

// filed is what a person reads of a warrant that was filed, from that file, with what its posts
// showed in a folder.
func (p *program) filed(s policy.Submission, st caseStatus, file, folder string, withheld bool) string {
	text := st.at(p.Now())
	if withheld && folder != "" {
		text = "nothing of " + folder + " was sent: nobody may make a copy of what this offence is about, and custodians read what the warrant says of it\n" + text
	}
	w, err := policy.ParseUnverified(s.Warrant)
	if err != nil {
		return text // the registrar has taken it
	}
	if w.Kind == policy.Emergency && slices.ContainsFunc(st.Deadlines, func(d opening.Deadline) bool { return !d.Met && d.What == opening.DeadlineValidation }) {
		text += "\n" + haveValidated(file)
	}
	if policy.KindOf(w.Kind).Earlier {
		text = "the " + w.Kind + " is a case of its own, and opens nothing; escrow warrant status tells of the case that it is about\n" + text
		if st.About != nil {
			text += "\nit is about\n" + st.About.At(p.Now())
		}
	}
	return text
}

// submission reads a warrant, its evidence, its countersignatures and the lists of revoked
// certificates.
func (p *program) submission(warrant string, evidence, countersigned, revocation []string) (s policy.Submission, err error) {
	b, err := p.readFile(warrant)
	if err != nil {
		return s, err
	}
	s.Warrant = strings.TrimSpace(string(b))
	for _, name := range countersigned {
		b, err := p.readFile(name)
		if err != nil {
			return s, err
		}
		s.Countersigned = append(s.Countersigned, strings.TrimSpace(string(b)))
	}
	if s.Revocation, err = p.revocationLists(revocation); err != nil {
		return s, err
	}
	s.Evidence, err = p.evidence(evidence)
	return s, err
}

// addRevocation adds the flag of lists of revoked certificates.
func addRevocation(c *cobra.Command, files *[]string) {
	c.Flags().StringArrayVar(files, "revocation", nil, "where a certificate signs: list of revoked certificates (CRL) of who issued it, PEM or DER; one more for each authority between it and the registered one; can be given again")
}

// revocationLists reads files of lists of revoked certificates.
func (p *program) revocationLists(names []string) (lists []string, err error) {
	for _, name := range names {
		b, err := p.readFile(name)
		if err != nil {
			return nil, err
		}
		l, err := policy.ParseRevocationList(b)
		if err != nil {
			return nil, shell.InFile(name, 0, err)
		}
		lists = append(lists, l)
	}
	return lists, nil
}

// exhibits are what is to be sent with a warrant.
type exhibits struct {
	want       []token.Exhibit
	files      map[[32]byte]string
	recipients []string
	withheld   bool // nobody may copy what the posts showed
}

// exhibits finds what the rules of a warrant want of a folder. Whom they are encrypted to
// is in the bundle whose hash the court signed, and in the warrant itself.
func (p *program) exhibits(ctx context.Context, r *registrar.Client, s policy.Submission, folder string) (e exhibits, err error) {
	w, err := policy.ParseUnverified(s.Warrant)
	if err != nil || !slices.ContainsFunc(s.Evidence, declares) {
		return e, nil // the registrar says what is wrong with a warrant
	}
	raw, err := r.BundleBytes(ctx, w.Bundle)
	var said *registrar.Problem
	if errors.As(err, &said) && said.Code == "bundle.unknown" {
		return e, nil // likewise
	}
	if err != nil {
		return e, err
	}
	b, err := policy.ParseBundle(raw)
	switch {
	case err != nil:
		return e, err
	case b.Hash() != w.Bundle:
		return e, registrar.ErrOtherAnswer
	}
	e.withheld = b.ForbidsCopies(w)
	if e.want, err = policy.ExhibitsUnverified(s, b); err != nil || len(e.want) == 0 {
		return e, nil // likewise
	}
	if folder == "" {
		return e, errNoFolder
	}
	e.recipients = b.ExhibitsTo(w)
	e.files, err = exhibit.Find(folder, e.want)
	if err != nil && refusal.Of(err) == nil {
		err = secretfile.ErrUnreadable.Because(err)
	}
	return e, err
}

func declares(evidence string) bool {
	e, err := token.ParseUnverifiedEvidence(evidence)
	return err == nil && len(e.Post.Exhibits) > 0
}

// send encrypts and sends what the registrar lacks.
func (e exhibits) send(ctx context.Context, p *program, r *registrar.Client, id string) error {
	if len(e.want) == 0 {
		return nil
	}
	stored, err := r.Exhibits(ctx, id)
	if err != nil {
		return err
	}
	missing := make(map[string]bool, len(stored.Missing))
	for _, digest := range stored.Missing {
		missing[digest] = true
	}
	sent := 0
	count := func(n int) {
		if sent += n; sent/100 > (sent-n)/100 || sent == len(missing) {
			p.progress("sent %d of %d exhibits\n", sent, len(missing))
		}
	}
	var short, long []token.Exhibit
	for _, x := range e.want {
		switch {
		case !missing[hex.EncodeToString(x.Digest[:])]:
		case exhibit.SealedSize(x.Length, len(e.recipients)) <= exhibit.MaxShort:
			short = append(short, x)
		default:
			long = append(long, x)
		}
	}
	if err := e.sendShort(ctx, r, id, short, count); err != nil {
		return err
	}
	for _, x := range long {
		if err := e.sendOne(ctx, r, id, x); err != nil {
			return err
		}
		count(1)
	}
	return nil
}

// sendShort encrypts some while those before them are sent.
func (e exhibits) sendShort(ctx context.Context, r *registrar.Client, id string, all []token.Exhibit, count func(n int)) error {
	type batch struct {
		sealed map[[32]byte][]byte
		err    error
	}
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	batches := make(chan batch)
	go func() {
		defer close(batches)
		for some := range slices.Chunk(all, exhibit.MaxTogether) {
			sealed, err := exhibit.SealShort(some, e.files, e.recipients)
			select {
			case batches <- batch{sealed, err}:
			case <-ctx.Done():
				return
			}
		}
	}()
	for b := range batches {
		if b.err != nil {
			if refusal.Of(b.err) == nil {
				return secretfile.ErrUnreadable.Because(b.err)
			}
			return b.err
		}
		if err := r.PutShortExhibits(ctx, id, b.sealed); err != nil {
			return err
		}
		count(len(b.sealed))
	}
	return ctx.Err()
}

func (e exhibits) sendOne(ctx context.Context, r *registrar.Client, id string, x token.Exhibit) error {
	f, err := exhibit.OpenGiven(e.files[x.Digest])
	if err != nil {
		return secretfile.ErrUnreadable.Because(err)
	}
	defer f.Close()
	err = exhibit.Send(x, f, e.recipients, func(sealed io.Reader, length int64) error {
		return r.PutExhibit(ctx, id, x.Digest, sealed, length)
	})
	var said *registrar.Problem
	if errors.As(err, &said) && said.Code == "exhibit.stored" {
		return nil // the same command runs twice, and the other one was first
	}
	return err
}
