package command

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"sync"

	"github.com/go-jose/go-jose/v4"
	"github.com/spf13/cobra"

	"github.com/penname/penname/cmd/shell"
	"github.com/penname/penname/escrow/desk"
	"github.com/penname/penname/escrow/pkcs11"
	"github.com/penname/penname/escrow/secretfile"
	"github.com/penname/penname/policy"
	"github.com/penname/penname/verifier/refusal"
)

// officerSeat does for a desk what the commands of `escrow warrant` and `escrow opening` do.
type officerSeat struct {
	*program
	by         signer
	bundleFile string
	bundle     *policy.Bundle // that the person trusts
	evidence   []string       // folders
	cases      string         // folder of drafts and signed warrants; "": no order is made
	whose      string         // id of the authority whose key it is; "": there is none
	requester  string         // file of the key that packages are opened with; "": none
	revocation []string

	mu   sync.Mutex // of what is below, and never held while somebody else is waited for
	open bool       // the desk is unlocked
	key  *heldKey   // what is signed with; nil: the desk is locked, or signs nothing

	verdicts map[string]judged       // of orders, by their ids, as they were checked last
	prepared map[string]*ready       // what was shown to be signed
	pieces   map[string]evidenceSeen // of evidence, by the names of their files

	work sync.Mutex // one thing at a time is done with the files of orders

	atCases caseDesk
}

func newOfficerSeat(p *program) *officerSeat {
	return &officerSeat{program: p, verdicts: make(map[string]judged), prepared: make(map[string]*ready), pieces: make(map[string]evidenceSeen)}
}

// deskOfficer is `escrow desk clerk`.
func deskOfficer(p *program) *cobra.Command {
	s := newOfficerSeat(p)
	var f deskFlags
	c := leaf("clerk", "Open the desk of a clerk, a prosecutor or the police in a browser on this machine: orders from a folder of evidence, cases and their dates",
		"escrow desk clerk --key court.jwk --bundle bundle.json --evidence evidence --cases orders --server https://penname.example\n"+
			"  escrow desk police --requester requester.key --bundle bundle.json --evidence evidence --cases orders --server https://penname.example",
		cobra.NoArgs, func(ctx context.Context, _ []string) error {
			if err := f.check(); err != nil {
				return err
			}
			return s.desk(ctx, f)
		})
	c.Aliases = []string{"police"}
	c.Long = `Serves the desk to a browser of yours on this machine, and to nobody else, and ends with Ctrl-C.

It does what escrow warrant does (new, check, sign, file; list, status, open, deleted; withdraw, extend,
secrecy, validate, answer, rule, annul, redeliver) and escrow opening (check, sign), with the same questions
and the same checks. What is opened with --requester is shown until it is taken off the desk or the desk
is locked, and kept in a folder that you choose, with the certificate to print.
The key is opened on the first page: its passphrase, or the PIN of its device, is typed there, and again
when nobody used the desk for a while. Without --key or --pkcs11 the desk signs nothing, as for police
who have an order signed by a court. No key leaves this machine.

--evidence names a folder with a platform's files, or a folder of such folders; it can be given again.
Drafts and signed warrants are kept in --cases, a folder of your own, and the commands go on with the
same files. What was typed and not saved is kept until the desk ends: it is gone then, and the terminal
says so.

The browser is given a file that you alone can read, with a link that works once and for a minute.
Use Firefox, Chromium, Chrome or Edge: the desk's address, a new one at each start, is a name below
localhost, which they know for this machine; Safari may not find it.
Press Enter in this terminal for another one: then only the browser that opens it has the desk, locked.

The desk speaks English and Welsh: the link at its top changes that, and --language says it at the start.
What is signed, and what a check finds, stays in English, and is marked so.`
	s.by.add(c, "key", "the court's secret signing key")
	c.Flags().StringVar(&s.bundleFile, "bundle", "", "bundle of rules that you trust, in force now or on the day of the case")
	c.Flags().StringArrayVar(&s.evidence, "evidence", nil, "folder with evidence and exhibits, or a folder of such folders; can be given again")
	c.Flags().StringVar(&s.cases, "cases", "", "folder in which drafts and signed warrants are kept, which is in none with evidence")
	c.Flags().StringVar(&s.requester, "requester", "", "file with the requester's secret delivery key, which packages are opened with")
	addRevocation(c, &s.revocation)
	for _, folder := range []string{"evidence", "cases"} {
		c.MarkFlagDirname(folder) //nolint:errcheck // it exists
	}
	f.add(c)
	return c
}

// desk serves the desk until ctx ends or nobody used it for long.
func (s *officerSeat) desk(ctx context.Context, f deskFlags) (err error) {
	if err := require([2]string{"bundle", s.bundleFile}); err != nil {
		return err
	}
	if s.by != (signer{}) {
		if err := s.by.needed("key"); err != nil {
			return err
		}
	}
	if _, err := s.registrar(); err != nil {
		return err
	}
	if err := s.place(); err != nil {
		return err
	}
	if s.bundle, err = s.readBundle(s.bundleFile); err != nil {
		return err
	}
	o, err := s.officer(ctx)
	if err != nil {
		return err
	}
	return s.serveDesk(ctx, desk.Options{Officer: o}, f)
}

// errCasesPlace is of a folder in which a stranger could have put a draft.
var errCasesPlace = refusal.New(refusal.Invalid, "desk.cases_place",
	"drafts and signed warrants are not kept where evidence is: whoever gave the evidence could have put some there, with answers of theirs; name a folder of your own with --cases, in none of --evidence")

// place finds the folders. Orders are kept in none that a stranger has filled.
func (s *officerSeat) place() (err error) {
	if s.cases != "" {
		if s.cases, err = folderAt(s.cases); err != nil {
			return err
		}
	} else if len(s.evidence) > 0 {
		return shell.UsageError("--cases is needed with --evidence: the folder in which drafts and signed warrants are kept")
	}
	if s.requester != "" {
		if s.requester, err = filepath.Abs(s.requester); err != nil {
			return secretfile.ErrUnreadable.Because(err)
		}
	}
	for i, folder := range s.evidence {
		if s.evidence[i], err = folderAt(folder); err != nil {
			return err
		}
		if in, err := filepath.Rel(s.evidence[i], s.cases); err == nil && filepath.IsLocal(in) {
			return errCasesPlace.Because(errors.New(s.cases))
		}
	}
	return nil
}

// folderAt is the whole name of a folder that is there.
func folderAt(name string) (string, error) {
	if info, err := os.Stat(name); err != nil || !info.IsDir() {
		return "", secretfile.ErrUnreadable.Because(errors.New(filepath.Clean(name) + " is no folder"))
	}
	whole, err := filepath.Abs(name)
	if err != nil {
		return "", secretfile.ErrUnreadable.Because(err)
	}
	return filepath.EvalSymlinks(whole)
}

// officer is what the desk can do. Whose it is, is what the rules say of the key.
func (s *officerSeat) officer(ctx context.Context) (*desk.Officer, error) {
	o := &desk.Officer{
		ID: "officer", Name: "an officer", Unlocks: desk.Say("This desk has no key to sign with."), Unlock: s.unlock, Lock: s.lock, Folders: s.evidence,
		Orders: s.list, Order: s.show, Posts: s.posts, Exhibit: s.exhibit, Answer: s.answer, Anew: s.anew, Remake: s.remake, Check: s.check, Sign: s.sign, Take: s.take, PutBack: s.putBack, File: s.file,
		Cases: s.officerCases(), Openings: s.officerOpenings(),
	}
	if !s.by.given() {
		if s.requester != "" {
			o.Unlocks = desk.Say("This desk has no key to sign with. It opens names with the requester's key, which has no passphrase: locking takes names off the screen, but keeps nobody away from them who has this computer's account.")
		}
		return o, nil
	}
	var err error
	if o.Secret, o.Unlocks, err = s.secret(ctx); err != nil {
		return nil, err
	}
	a, err := s.authority(ctx, o.Secret != "")
	if err != nil {
		return nil, err
	}
	o.ID, o.Name, o.Signs, s.whose = a.ID, a.Name, true, a.ID
	return o, nil
}

// errAsked ends an opening of a key that needs something to be typed.
var errAsked = errors.New("something has to be typed")

// What is typed to open a key.
const (
	secretPIN        = "PIN of the device" //nolint:gosec // what a page calls it
	secretPassphrase = "Passphrase of the key"
)

// secret says what has to be typed for the key to be opened, and where the key is.
func (s *officerSeat) secret(ctx context.Context) (secret string, where desk.Text, err error) {
	if s.by.device != "" {
		k, err := pkcs11.ParseURI(s.by.device)
		if err != nil {
			return "", desk.Text{}, err
		}
		if where = desk.Say("The key is on the device %s.", k.Token+k.Serial); s.by.passphrase != "" || k.PINFile != "" {
			return "", where, nil
		}
		return secretPIN, where, nil
	}
	where = desk.Say("The key is in the file %s.", s.by.key)
	_, done, err := s.opened(ctx, func() ([]byte, error) { return nil, errAsked })
	switch {
	case errors.Is(err, errAsked):
		return secretPassphrase, where, nil
	case err != nil:
		return "", desk.Text{}, err
	}
	done()
	return "", desk.Say("The key is in the file %s. It has no passphrase: whoever can read the file can sign.", s.by.key), nil
}

// authority is whose key it is. Of one that is not open its certificate says so.
func (s *officerSeat) authority(ctx context.Context, shut bool) (*policy.Authority, error) {
	if s.by.device != "" || shut {
		chain, err := secretfile.ReadCertificates(s.by.certificate)
		if err != nil {
			return nil, err
		}
		return s.bundle.Signer(jose.JSONWebKey{Certificates: chain})
	}
	k, done, err := s.opened(ctx, nil)
	if err != nil {
		return nil, err
	}
	defer done()
	return s.bundle.Signer(k)
}

// opened opens the key with what was typed.
func (s *officerSeat) opened(ctx context.Context, typed func() ([]byte, error)) (jose.JSONWebKey, func(), error) {
	p := *s.program
	p.Passphrase = func(context.Context, string, bool) ([]byte, error) { return typed() }
	return s.by.open(ctx, &p)
}

// heldKey is a key that is open. Who uses it holds it, and its device is given back when nobody
// does any more.
type heldKey struct {
	key  jose.JSONWebKey
	uses int
	done func()
}

// unlock opens the key with what was typed into the desk.
func (s *officerSeat) unlock(ctx context.Context, secret []byte) error {
	s.lock()
	var held *heldKey
	if s.by.given() {
		k, done, err := s.opened(ctx, func() ([]byte, error) { return append([]byte(nil), secret...), nil })
		if err != nil {
			return err
		}
		held = &heldKey{k, 1, done}
	}
	s.lock()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.open, s.key = true, held
	return nil
}

// lock drops the key, at once: it waits for nothing that runs, which ends by its context. What the
// desk read and prepared is forgotten.
func (s *officerSeat) lock() {
	s.mu.Lock()
	held := s.key
	s.open, s.key = false, nil
	clear(s.verdicts)
	clear(s.prepared)
	clear(s.pieces)
	s.mu.Unlock()
	s.atCases.forget()
	s.giveBack(held)
}

// giveBack ends a use of a key.
func (s *officerSeat) giveBack(k *heldKey) {
	if k == nil {
		return
	}
	s.mu.Lock()
	k.uses--
	last := k.uses == 0
	s.mu.Unlock()
	if last {
		k.done()
	}
}

// working does something with the files of orders while the desk is unlocked.
func (s *officerSeat) working(do func() error) error {
	s.mu.Lock()
	open := s.open
	s.mu.Unlock()
	if !open {
		return desk.ErrLocked
	}
	s.work.Lock()
	defer s.work.Unlock()
	return do()
}

// errNoKey is why a desk signs nothing.
var errNoKey = refusal.New(refusal.Invalid, "desk.no_key",
	"this desk has no key: nothing was signed; start it with --key or --pkcs11, or give the draft to who signs it")

// signing does something with the key that the desk signs with. The desk can be locked meanwhile:
// this ends by the context of who called it.
func (s *officerSeat) signing(do func(k jose.JSONWebKey) error) error {
	s.mu.Lock()
	open, held := s.open, s.key
	if open && held != nil {
		held.uses++
	}
	s.mu.Unlock()
	switch {
	case !open:
		return desk.ErrLocked
	case held == nil:
		return errNoKey
	}
	defer s.giveBack(held)
	return do(held.key)
}
