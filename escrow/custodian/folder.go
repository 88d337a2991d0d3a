package custodian

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"filippo.io/age"
	"github.com/go-jose/go-jose/v4"

	"github.com/penname/penname/escrow/secretfile"
)

// The files of a custodian's folder that are encrypted.
const (
	identityFile = "identity.age" // to the passphrase; all others to the identity in it
	signingFile  = "signing.jwk"
	shareFile    = "share.key"
	ceremonyFile = "ceremony.key"
	exhibitFile  = "exhibits.key"
	witnessFile  = "witness.key"
)

// The files that are not secret.
const (
	identityName = "custodian.json"
	bundleFile   = "bundle.json"
	followedFile = "followed"
	witnessName  = "witness.json"
	witnessState = "witness-state"
	deskLock     = "desk.lock"
)

// maxFile bounds every file that is read, in bytes: a bundle, a transcript, a
// secret.
const maxFile = 16 << 20

// disk is where a folder lies. What Rename, Link and Remove did is durable when
// they return.
type disk interface {
	Create(name string, b []byte) error // a new file, mode 0600; its name is durable with the next call
	Rename(from, to string) error       // replaces to
	Link(from, to string) error         // a second name; nothing is overwritten
	Remove(name string) error           // what is gone already is not an error
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
		return ErrHome.Because(err)
	case !info.IsDir():
		return ErrHome
	case info.Mode().Perm()&0o077 != 0:
		return ErrOpenHome.Because(errors.New(dir))
	}
	return nil
}

// unlock opens the folder's identity with the passphrase.
func (h Home) unlock(ctx context.Context) (*folder, error) {
	if err := checkFolder(h.Dir); err != nil {
		return nil, err
	}
	sealed, err := secretfile.Read(filepath.Join(h.Dir, identityFile))
	if err != nil {
		return nil, err
	}
	pass, err := h.Passphrase(ctx, h.Dir, false)
	if err == nil && len(spelled(pass)) == 0 {
		err = ErrNoPassphrase
	}
	if err != nil {
		return nil, err
	}
	defer clear(pass)
	text, err := decryptByAny(sealed, spellings(pass))
	if err != nil {
		return nil, err
	}
	defer clear(text)
	id, err := age.ParseX25519Identity(string(text))
	if err != nil {
		return nil, ErrPassphrase
	}
	return &folder{dir: h.Dir, id: id, disk: h.diskOf()}, nil
}

// decryptByAny opens what is sealed to a passphrase with the first of these that does.
// Each costs one scrypt.
func decryptByAny(sealed []byte, passphrases [][]byte) ([]byte, error) {
	for _, pass := range passphrases {
		by, err := age.NewScryptIdentity(string(pass))
		if err != nil {
			return nil, ErrNoPassphrase
		}
		if text, err := decrypt(sealed, by); err == nil {
			return text, nil
		}
	}
	return nil, ErrPassphrase // the causes say nothing more
}

func (h Home) diskOf() disk {
	if h.disk != nil {
		return h.disk
	}
	return osDisk{}
}

func decrypt(sealed []byte, id age.Identity) ([]byte, error) {
	r, size, err := age.DecryptReaderAt(bytes.NewReader(sealed), int64(len(sealed)), id)
	if err != nil {
		return nil, err
	}
	text := make([]byte, size)
	if _, err := r.ReadAt(text, 0); err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	return text, nil
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
	sealed, err := f.sealed(name)
	if err != nil {
		return nil, err
	}
	return f.decrypt(sealed)
}

// sealed reads a secret as it lies there, and refuses one that others can read.
func (f *folder) sealed(name string) ([]byte, error) {
	return secretfile.ReadUpTo(f.path(name), maxFile) // what was signed about 600 pen names has more than a secret
}

func (f *folder) decrypt(sealed []byte) ([]byte, error) {
	b, err := decrypt(sealed, f.id)
	if err != nil {
		return nil, ErrSecret // the cause could quote the file
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

// note writes a file that may be lost or cut short: it waits for no disk, and fails nobody.
func (f *folder) note(name string, b []byte) {
	next, err := os.CreateTemp(f.dir, name+".*")
	if err != nil {
		return
	}
	_, err = next.Write(b)
	if err = errors.Join(err, next.Close()); err == nil {
		err = os.Rename(next.Name(), f.path(name))
	}
	if err != nil {
		_ = os.Remove(next.Name())
	}
}

func (f *folder) jwk(name string) (jose.JSONWebKey, error) {
	b, err := f.read(name)
	if err != nil {
		return jose.JSONWebKey{}, err
	}
	defer clear(b)
	return secretfile.ParseKey(b)
}

// open reads a file that is not secret.
func (f *folder) open(name string) ([]byte, error) { return readFile(f.path(name)) }

func readFile(name string) ([]byte, error) {
	file, err := os.Open(name)
	if err != nil {
		return nil, secretfile.ErrUnreadable.Because(err)
	}
	defer file.Close()
	b, err := io.ReadAll(io.LimitReader(file, maxFile))
	if err != nil {
		return nil, secretfile.ErrUnreadable.Because(err)
	}
	return b, nil
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
		return nil, ErrNoPassphrase
	}
	to.SetWorkFactor(workFactor)
	sealed, err := encrypt(to, []byte(id.String()))
	if err != nil {
		return nil, secretfile.ErrUnwritable.Because(err)
	}
	return sealed, nil
}

// files are the names in the folder that begin with prefix. One that a crash left
// unfinished has no name yet.
func (f *folder) files(prefix string) (names []string, err error) {
	all, err := os.ReadDir(f.dir)
	if err != nil {
		return nil, ErrHome.Because(err)
	}
	for _, entry := range all {
		if name := entry.Name(); strings.HasPrefix(name, prefix) && !strings.HasSuffix(name, ".new") {
			names = append(names, name)
		}
	}
	return names, nil
}
