package command

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"filippo.io/age"
	"github.com/go-jose/go-jose/v4"
	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/penname/penname/cmd/shell"
	"github.com/penname/penname/escrow/seal/threshold"
	"github.com/penname/penname/escrow/secretfile"
	"github.com/penname/penname/policy"
	"github.com/penname/penname/verifier/document"
	"github.com/penname/penname/verifier/refusal"
)

var (
	errPassphrase = refusal.New(refusal.Unauthenticated, "custodian.wrong_passphrase",
		"the passphrase does not open this folder, or identity.age was changed: nothing was done, try again")
	errNoPassphrase = refusal.New(refusal.Invalid, "custodian.no_passphrase",
		"a passphrase is needed: run the command at a terminal, or name a file (mode 0600) with --passphrase-file")
	errWeakPassphrase = refusal.New(refusal.Invalid, "custodian.weak_passphrase",
		"the passphrase has fewer than 12 characters: take several random words")
	errOpenHome = refusal.New(refusal.Denied, "custodian.home_open",
		"the custodian's folder can be looked into by other users: chmod 700 it, and replace the keys if they may have leaked")
	errTwoPassphrases = refusal.New(refusal.Invalid, "custodian.passphrases_differ",
		"the two passphrases differ: nothing was made, try again")
	errSecret = refusal.New(refusal.Invalid, "custodian.bad_secret",
		"a secret file does not open with this folder's identity: it was changed or is of another folder; restore it from its backup")
	errNoShare = refusal.New(refusal.NotFound, "custodian.no_share",
		"the folder holds no share of the custodians' key: take part in a ceremony first")
)

// The files of a custodian's folder that are encrypted.
const (
	identityFile = "identity.age" // to the passphrase; all others to the identity in it
	signingFile  = "signing.jwk"
	shareFile    = "share.key"
	ceremonyFile = "ceremony.key"
	witnessFile  = "witness.key"
)

// minPassphrase is in bytes. scrypt makes each guess cost a second; a passphrase
// of one word still falls.
const minPassphrase = 12

// disk is where a folder lies. What Rename, Link and Remove did is durable when
// they return.
type disk interface {
	Create(name string, b []byte) error // a new file, mode 0600; its name is durable with the next call
	Rename(from, to string) error       // replaces to
	Link(from, to string) error         // a second name; nothing is overwritten
	Remove(name string) error           // of what is gone already is no error
}

// folder is a custodian's folder, unlocked. Each secret is a file encrypted
// with age (age-encryption.org/v1) to one X25519 identity; the identity is
// encrypted with the passphrase (scrypt). So a command costs one scrypt.
type folder struct {
	dir  string
	id   *age.X25519Identity
	disk disk
}

// checkFolder refuses a folder that others can look into.
func checkFolder(dir string) error {
	info, err := os.Stat(dir)
	switch {
	case err != nil:
		return errHome.Because(err)
	case !info.IsDir():
		return errHome
	case info.Mode().Perm()&0o077 != 0:
		return errOpenHome.Because(errors.New(dir))
	}
	return nil
}

// unlock asks for the passphrase and opens the folder's identity.
func (p *program) unlock(ctx context.Context, dir string) (*folder, error) {
	if err := checkFolder(dir); err != nil {
		return nil, err
	}
	sealed, err := secretfile.Read(filepath.Join(dir, identityFile))
	if err != nil {
		return nil, err
	}
	pass, err := p.passphrase(ctx, dir, p.passphraseFile, false)
	if err != nil {
		return nil, err
	}
	defer clear(pass)
	by, err := age.NewScryptIdentity(string(pass))
	if err != nil {
		return nil, errNoPassphrase
	}
	text, err := decrypt(sealed, by)
	if err != nil {
		return nil, errPassphrase // the cause says nothing more
	}
	defer clear(text)
	id, err := age.ParseX25519Identity(string(text))
	if err != nil {
		return nil, errPassphrase
	}
	return &folder{dir: dir, id: id, disk: p.diskOf()}, nil
}

func (p *program) diskOf() disk {
	if p.disk != nil {
		return p.disk
	}
	return osDisk{}
}

// passphrase comes from a file or from the terminal: never from the command
// line or the environment, which other processes can read.
func (p *program) passphrase(ctx context.Context, dir, file string, fresh bool) (pass []byte, err error) {
	if file != "" {
		pass, err = secretfile.Read(file)
		pass = trimNewline(pass)
	} else if p.Passphrase != nil {
		pass, err = p.Passphrase(ctx, dir, fresh)
	}
	if err == nil && len(pass) == 0 {
		err = errNoPassphrase
	}
	return pass, err
}

// freshPassphrase is one that shall protect a folder. Typed, it is asked for
// twice.
func (p *program) freshPassphrase(ctx context.Context, dir, file string) ([]byte, error) {
	pass, err := p.passphrase(ctx, dir, file, true)
	if err != nil {
		return nil, err
	}
	if len(pass) < minPassphrase {
		return nil, errWeakPassphrase
	}
	if file == "" {
		again, err := p.passphrase(ctx, dir, file, true)
		if err != nil {
			return nil, err
		}
		defer clear(again)
		if !bytes.Equal(pass, again) {
			return nil, errTwoPassphrases
		}
	}
	return pass, nil
}

// terminal asks the person for a passphrase without showing it.
func terminal(ctx context.Context, dir string, fresh bool) ([]byte, error) {
	tty, err := os.OpenFile("/dev/tty", os.O_RDWR, 0)
	if err != nil {
		return nil, errNoPassphrase.Because(err)
	}
	defer tty.Close()
	fd := int(tty.Fd())
	before, err := term.GetState(fd)
	if err != nil {
		return nil, errNoPassphrase.Because(err)
	}
	question := "Passphrase of "
	if fresh {
		question = "New passphrase, asked for twice, of "
	}
	fmt.Fprintf(tty, "%s%s: ", question, document.Printable(dir))
	type answer struct {
		pass []byte
		err  error
	}
	typed := make(chan answer, 1)
	go func() {
		pass, err := term.ReadPassword(fd)
		typed <- answer{pass, err}
	}()
	select {
	case <-ctx.Done(): // Ctrl-C: what is read then goes nowhere, and the program ends
		term.Restore(fd, before) //nolint:errcheck // nothing can be done about it
		fmt.Fprintln(tty)
		return nil, ctx.Err()
	case a := <-typed:
		fmt.Fprintln(tty)
		if a.err != nil {
			return nil, errNoPassphrase.Because(a.err)
		}
		return a.pass, nil
	}
}

func decrypt(sealed []byte, id age.Identity) ([]byte, error) {
	r, err := age.Decrypt(bytes.NewReader(sealed), id)
	if err != nil {
		return nil, err
	}
	return io.ReadAll(io.LimitReader(r, shell.MaxFile))
}

func encrypt(to age.Recipient, b []byte) ([]byte, error) {
	var out bytes.Buffer
	w, err := age.Encrypt(&out, to)
	if err != nil {
		return nil, err
	}
	if _, err := w.Write(b); err != nil {
		return nil, err
	}
	err = w.Close() // writes the last chunk
	return out.Bytes(), err
}

// path names a file of the folder.
func (f *folder) path(name string) string { return filepath.Join(f.dir, name) }

// read decrypts a secret, and refuses one that others can read.
func (f *folder) read(name string) ([]byte, error) {
	sealed, err := secretfile.Read(f.path(name))
	if err != nil {
		return nil, err
	}
	b, err := decrypt(sealed, f.id)
	if err != nil {
		return nil, errSecret // the cause could quote the file
	}
	return b, nil
}

// create encrypts a new secret. It overwrites nothing.
func (f *folder) create(name string, secret []byte) error {
	sealed, err := encrypt(f.id.Recipient(), secret)
	if err != nil {
		return secretfile.ErrUnwritable.Because(err)
	}
	return f.fresh(name, sealed)
}

// fresh puts a whole new file in its place, or nothing, and overwrites nothing.
func (f *folder) fresh(name string, b []byte) error {
	next, err := f.next(name, b)
	if err != nil {
		return err
	}
	if err := f.disk.Link(next, f.path(name)); err != nil {
		return err
	}
	return f.disk.Remove(next)
}

// next writes the file that will be name.
func (f *folder) next(name string, b []byte) (string, error) {
	next := f.path(name + ".new")
	if err := f.disk.Remove(next); err != nil { // of a crash
		return "", err
	}
	return next, f.disk.Create(next, b)
}

// replace encrypts a secret in the place of an older one: a crash leaves the one
// or the other.
func (f *folder) replace(name string, secret []byte) error {
	sealed, err := encrypt(f.id.Recipient(), secret)
	if err != nil {
		return secretfile.ErrUnwritable.Because(err)
	}
	return f.put(name, sealed)
}

// put replaces a file that is not secret, or encrypted already, in one step.
func (f *folder) put(name string, b []byte) error {
	next, err := f.next(name, b)
	if err != nil {
		return err
	}
	return f.disk.Rename(next, f.path(name))
}

func (f *folder) jwk(name string) (jose.JSONWebKey, error) {
	b, err := f.read(name)
	if err != nil {
		return jose.JSONWebKey{}, err
	}
	defer clear(b)
	return parseJWK(b)
}

// shares returns the key shares in the folder, by file. There can be more than
// one: that of the key in force, and those of ceremonies whose bundle is not.
func (f *folder) shares() (map[string]threshold.KeyShare, error) {
	names, err := filepath.Glob(f.path(shareFile + "*"))
	if err != nil {
		return nil, errHome.Because(err)
	}
	out := make(map[string]threshold.KeyShare)
	for _, full := range names {
		name := filepath.Base(full)
		if strings.HasSuffix(name, ".new") {
			continue // of a crash: it has no name yet
		}
		raw, err := f.read(name)
		if err != nil {
			return nil, err
		}
		var ks threshold.KeyShare
		err = ks.UnmarshalBinary(raw)
		clear(raw)
		if err != nil {
			return nil, err
		}
		out[name] = ks
	}
	return out, nil
}

// share returns the one share of pk. Whichever share lies in share.key: what is
// active is what the endorsed bundle says, so there is exactly one.
func (f *folder) share(pk threshold.PublicKey) (threshold.KeyShare, error) {
	all, err := f.shares()
	if err != nil {
		return threshold.KeyShare{}, err
	}
	refused := error(errNoShare)
	for name, ks := range all {
		switch err := ks.Check(pk); {
		case err == nil:
			return ks, nil
		case name == shareFile:
			refused = err
		}
	}
	return threshold.KeyShare{}, refused
}

// adopt puts a new share into share.key. The older one keeps a name, because it
// is in force until a bundle with the new key is.
func (f *folder) adopt(ks threshold.KeyShare) error {
	raw, err := ks.MarshalBinary()
	if err != nil {
		return err
	}
	defer clear(raw)
	all, err := f.shares()
	if err != nil {
		return err
	}
	have, ok := all[shareFile]
	if !ok {
		return f.create(shareFile, raw)
	}
	if equalShares(have, ks) {
		return nil // before the crash
	}
	keep := fmt.Sprintf("%s.epoch-%d", shareFile, have.Epoch())
	for n := 2; ; n++ { // a ceremony whose bundle never came into force leaves one, too
		kept, taken := all[keep]
		if !taken {
			if err := f.disk.Link(f.path(shareFile), f.path(keep)); err != nil {
				return err
			}
		}
		if !taken || equalShares(kept, have) {
			return f.replace(shareFile, raw)
		}
		keep = fmt.Sprintf("%s.epoch-%d.%d", shareFile, have.Epoch(), n)
	}
}

func equalShares(a, b threshold.KeyShare) bool {
	x, errX := a.MarshalBinary()
	y, errY := b.MarshalBinary()
	defer clear(x)
	defer clear(y)
	return errX == nil && errY == nil && bytes.Equal(x, y)
}

// prune destroys every share that a bundle with pk makes obsolete (package
// threshold: "destroying old shares is a duty"). A newer share, whose bundle is
// still to come, stays.
func (f *folder) prune(pk threshold.PublicKey) error {
	all, err := f.shares()
	if err != nil {
		return err
	}
	obsolete := func(ks threshold.KeyShare) bool {
		return ks.Epoch() < pk.Epoch() || ks.Epoch() == pk.Epoch() && ks.Check(pk) != nil
	}
	for name, ks := range all {
		if current, ok := all[shareFile]; name != shareFile && ks.Check(pk) == nil && ok && obsolete(current) {
			if err := f.disk.Rename(f.path(name), f.path(shareFile)); err != nil {
				return err
			}
			delete(all, shareFile) // it was replaced
		}
	}
	if err := f.disk.Remove(f.path(shareFile + ".new")); err != nil { // of a crash
		return err
	}
	for name, ks := range all {
		if obsolete(ks) {
			if err := f.disk.Remove(f.path(name)); err != nil {
				return err
			}
		}
	}
	return nil
}

// ceremonyKey returns the key for the next ceremony; fs.ErrNotExist: there is
// none.
func (f *folder) ceremonyKey() (k threshold.CeremonyKey, err error) {
	raw, err := f.read(ceremonyFile)
	if err != nil {
		return k, err
	}
	defer clear(raw)
	err = k.UnmarshalBinary(raw)
	return k, err
}

// nextCeremonyKey is ceremonyKey, and makes one if there is none.
func (f *folder) nextCeremonyKey() (threshold.CeremonyKey, error) {
	k, err := f.ceremonyKey()
	if !errors.Is(err, fs.ErrNotExist) {
		return k, err
	}
	if k, err = threshold.GenerateCeremonyKey(rand.Reader); err != nil {
		return k, err
	}
	raw, err := k.MarshalBinary()
	if err != nil {
		return k, err
	}
	defer clear(raw)
	return k, f.create(ceremonyFile, raw)
}

// osDisk is the file system. Each change is synced with its directory.
type osDisk struct{}

func (osDisk) Create(name string, b []byte) error { return secretfile.Create(name, b) }

func (osDisk) Rename(from, to string) error {
	if err := os.Rename(from, to); err != nil {
		return secretfile.ErrUnwritable.Because(err)
	}
	return syncDir(to)
}

func (osDisk) Link(from, to string) error {
	switch err := os.Link(from, to); {
	case errors.Is(err, fs.ErrExist):
		return secretfile.ErrExists
	case err != nil:
		return secretfile.ErrUnwritable.Because(err)
	}
	return syncDir(to)
}

func (osDisk) Remove(name string) error {
	switch err := os.Remove(name); {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return secretfile.ErrUnwritable.Because(err)
	}
	return syncDir(name)
}

func syncDir(name string) error {
	d, err := os.Open(filepath.Dir(name))
	if err != nil {
		return secretfile.ErrUnwritable.Because(err)
	}
	defer d.Close()
	if err := d.Sync(); err != nil {
		return secretfile.ErrUnwritable.Because(err)
	}
	return nil
}

// initOptions are the flags of `escrow custodian init`.
type initOptions struct {
	id, name, organisation string
	workFactor             int
}

func (p *program) custodianInit(home *string) *cobra.Command {
	var o initOptions
	c := leaf("init", "Make a custodian's folder, its keys encrypted with a passphrase, and print the public parts for a plan and a bundle",
		"escrow custodian init --id alba --name 'Alba Ferrand' --organisation 'Bar Association' --home alba --server https://penname.example > alba.json",
		cobra.NoArgs, func(ctx context.Context, _ []string) error {
			if err := require([2]string{"id", o.id}, [2]string{"name", o.name}, [2]string{"organisation", o.organisation}); err != nil {
				return err
			}
			if err := checkWorkFactor(o.workFactor); err != nil {
				return err
			}
			c, err := p.makeFolder(ctx, *home, o)
			if err != nil {
				return err
			}
			return p.printCard(c)
		})
	c.Flags().StringVar(&o.id, "id", "", "short name in the bundle and the public log, for example alba")
	c.Flags().StringVar(&o.name, "name", "", "name of the person or body")
	c.Flags().StringVar(&o.organisation, "organisation", "", "organisation that answers for it; no two custodians are of one")
	addWorkFactor(c, &o.workFactor)
	return c
}

// makeFolder makes everything beside the place and then moves it there: a crash
// leaves no half of a folder.
func (p *program) makeFolder(ctx context.Context, home string, o initOptions) (*Custodian, error) {
	if exists(home) && !emptyDir(home) {
		return nil, secretfile.ErrExists.Because(errors.New(home)) // before anybody types a passphrase for it
	}
	pass, err := p.freshPassphrase(ctx, home, p.passphraseFile)
	if err != nil {
		return nil, err
	}
	defer clear(pass)
	home = filepath.Clean(home)
	if err := os.MkdirAll(filepath.Dir(home), 0o700); err != nil {
		return nil, secretfile.ErrUnwritable.Because(err)
	}
	dir, err := os.MkdirTemp(filepath.Dir(home), ".penname-") // mode 0700
	if err != nil {
		return nil, secretfile.ErrUnwritable.Because(err)
	}
	defer os.RemoveAll(dir) // moved away if all went well
	c := &Custodian{ID: o.id, Name: o.name, Organisation: o.organisation, Server: p.server}
	if c.folder, err = newFolder(dir, pass, o.workFactor, p.diskOf()); err != nil {
		return nil, err
	}
	if c.key, err = document.NewKey(); err != nil {
		return nil, err
	}
	raw, err := c.key.MarshalJSON()
	if err != nil {
		return nil, err
	}
	defer clear(raw)
	if err := c.create(signingFile, raw); err != nil {
		return nil, err
	}
	if err := c.save(); err != nil {
		return nil, err
	}
	// Replaces an empty directory, and nothing else (rename(2)).
	if err := os.Rename(dir, home); err != nil {
		if errors.Is(err, fs.ErrExist) || errors.Is(err, fs.ErrInvalid) || exists(home) {
			return nil, secretfile.ErrExists.Because(errors.New(home))
		}
		return nil, secretfile.ErrUnwritable.Because(err)
	}
	c.dir = home
	return c, syncDir(home)
}

func exists(name string) bool {
	_, err := os.Lstat(name)
	return err == nil
}

func emptyDir(name string) bool {
	inside, err := os.ReadDir(name)
	return err == nil && len(inside) == 0
}

func newFolder(dir string, pass []byte, workFactor int, d disk) (*folder, error) {
	id, err := age.GenerateX25519Identity()
	if err != nil {
		return nil, secretfile.ErrUnwritable.Because(err)
	}
	sealed, err := sealIdentity(id, pass, workFactor)
	if err != nil {
		return nil, err
	}
	f := &folder{dir: dir, id: id, disk: d}
	return f, f.fresh(identityFile, sealed)
}

// sealIdentity is identity.age.
func sealIdentity(id *age.X25519Identity, pass []byte, workFactor int) ([]byte, error) {
	to, err := age.NewScryptRecipient(string(pass))
	if err != nil {
		return nil, errNoPassphrase
	}
	to.SetWorkFactor(workFactor)
	sealed, err := encrypt(to, []byte(id.String()))
	if err != nil {
		return nil, secretfile.ErrUnwritable.Because(err)
	}
	return sealed, nil
}

func (p *program) custodianPassphrase(home *string) *cobra.Command {
	var file string
	var workFactor int
	c := leaf("passphrase", "Change the passphrase of a custodian's folder", "escrow custodian passphrase --home alba", cobra.NoArgs,
		func(ctx context.Context, _ []string) error {
			if err := checkWorkFactor(workFactor); err != nil {
				return err
			}
			f, err := p.unlock(ctx, *home)
			if err != nil {
				return err
			}
			pass, err := p.freshPassphrase(ctx, *home, file)
			if err != nil {
				return err
			}
			defer clear(pass)
			sealed, err := sealIdentity(f.id, pass, workFactor)
			if err != nil {
				return err
			}
			if err := f.put(identityFile, sealed); err != nil {
				return err
			}
			return p.print(map[string]string{"home": *home}, "the folder opens with the new passphrase, and with no other")
		})
	c.Long = "Changes the passphrase of a custodian's folder, in one step: a crash leaves the old\n" +
		"one or the new one. The keys stay the same, so a copy of the folder that was made\n" +
		"before still opens with the old passphrase: destroy copies. If somebody may have\n" +
		"both, a new passphrase is not enough: make a new folder, and let a ceremony move\n" +
		"the share to it."
	c.Flags().StringVar(&file, "new-passphrase-file", "", "file (mode 0600) with the new passphrase; else it is asked for, twice")
	addWorkFactor(c, &workFactor)
	return c
}

func checkWorkFactor(n int) error {
	if n < 1 || n > 22 { // what age opens again
		return shell.UsageError("--work-factor is between 1 and 22")
	}
	return nil
}

func addWorkFactor(c *cobra.Command, n *int) {
	c.Flags().IntVar(n, "work-factor", 18, "scrypt's cost, as a power of two; 18 takes about a second")
}

func (p *program) custodianCard(home *string) *cobra.Command {
	return leaf("card", "Print the public parts for a plan and a bundle, with a fresh key for the next ceremony",
		"escrow custodian card > alba.json", cobra.NoArgs, func(ctx context.Context, _ []string) error {
			c, err := p.openHome(ctx, *home)
			if err != nil {
				return err
			}
			return p.printCard(c)
		})
}

// printCard prints a policy.Seat as JSON, always: it goes into a file.
func (p *program) printCard(c *Custodian) error {
	key, err := c.nextCeremonyKey()
	if err != nil {
		return err
	}
	s := policy.Seat{ID: c.ID, Name: c.Name, Organisation: c.Organisation}
	if s.Key, err = c.key.Public().MarshalJSON(); err != nil {
		return err
	}
	text, err := key.Public().MarshalText()
	if err != nil {
		return err
	}
	s.Ceremony = string(text)
	b, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(p.Stdout, string(b))
	return err
}
