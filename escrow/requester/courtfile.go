package requester

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/penname/penname/escrow/exhibit"
	"github.com/penname/penname/escrow/secretfile"
	"github.com/penname/penname/policy"
	"github.com/penname/penname/verifier/opening"
)

// CourtFile is a folder, for its owner alone, that an opening is saved in with everything that
// proves it: what opening.CheckCourtFile checks.
type CourtFile struct{ dir string }

// CreateCourtFile makes the folder, or takes one that is empty. Nothing is overwritten
// ([secretfile.ErrExists]).
func CreateCourtFile(dir string) (*CourtFile, error) {
	if err := os.MkdirAll(filepath.Dir(filepath.Clean(dir)), 0o700); err != nil {
		return nil, secretfile.ErrUnwritable.Because(err)
	}
	err := os.Mkdir(dir, 0o700)
	if errors.Is(err, os.ErrExist) {
		entries, unread := os.ReadDir(dir)
		if unread != nil || len(entries) > 0 {
			return nil, secretfile.ErrExists.Because(errors.New(dir))
		}
		err = os.Chmod(dir, 0o700) // a folder: without its x nobody enters it
	}
	if err != nil {
		return nil, secretfile.ErrUnwritable.Because(err)
	}
	return &CourtFile{dir}, nil
}

// OpenCourtFile is a court file that is there.
func OpenCourtFile(dir string) *CourtFile { return &CourtFile{dir} }

// SaveSealed saves what the registrar handed over, before anything of it is decrypted.
func (f *CourtFile) SaveSealed(sealed []byte) error { return f.put(opening.FileSealed, sealed) }

// SaveDelivery saves what that holds, before anything of it is checked.
func (f *CourtFile) SaveDelivery(d opening.Delivery) error {
	b, err := json.Marshal(d)
	if err != nil {
		return err
	}
	return f.put(opening.FileDelivery, b)
}

// SaveBundles saves the bundles of the log from the first on, each with the endorsements that
// endorsed returns of it.
func (f *CourtFile) SaveBundles(bundles []*policy.Bundle, endorsed func(hash string) ([]string, error)) error {
	for n, b := range bundles {
		raw, err := b.Marshal()
		if err != nil {
			return err
		}
		endorsements, err := endorsed(b.Hash())
		if err != nil {
			return err
		}
		files, err := opening.BundleFiles(n, raw, endorsements)
		if err == nil {
			err = f.putAll(files)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// SaveRevocation saves the lists of revoked certificates, as in policy.Submission, by which the
// certificate of who signs is judged. Without any it saves nothing.
func (f *CourtFile) SaveRevocation(lists []string) error {
	if len(lists) == 0 {
		return nil
	}
	b, err := json.Marshal(lists)
	if err != nil {
		return err
	}
	return f.put(opening.FileRevocation, b)
}

// SaveExhibit saves what a post showed, which was compared: [exhibit.Reader].Save. It waits
// for no disk, as there can be thousands: a check names what a power cut loses.
func (f *CourtFile) SaveExhibit(x exhibit.Declared, content []byte) error {
	return f.write(filepath.Join(opening.DirExhibits, exhibit.FileName(x)), content, false)
}

// Finish saves what the key showed, and the certificate: see [CourtFile.Certify].
func (f *CourtFile) Finish(r opening.Revealed, key *jose.JSONWebKey, at time.Time) error {
	b, err := json.Marshal(r)
	if err != nil {
		return err
	}
	if err := f.put(opening.FileRevealed, b); err != nil {
		return err
	}
	err = f.Certify(key, at)
	if errors.Is(err, opening.ErrSigner) { // it is unsigned then
		err = errors.Join(err, f.Certify(nil, at))
	}
	return err
}

// Certify makes the certificate of what is in the folder, with its page, table and sheets, in
// place of the one before. key signs it, see opening.Certify; nil: nobody does. What it says
// follows from the rest of the folder alone, so that who signs can check it first.
func (f *CourtFile) Certify(key *jose.JSONWebKey, at time.Time, inForce ...*policy.Bundle) error {
	files, err := opening.Certify(os.DirFS(f.dir), key, at, inForce...)
	if err != nil {
		return err
	}
	return f.putAll(files)
}

// Check is opening.CheckCourtFile of the folder.
func (f *CourtFile) Check(trusted ...*policy.Bundle) *opening.CourtCheck {
	return opening.CheckCourtFile(os.DirFS(f.dir), trusted...)
}

func (f *CourtFile) putAll(files map[string][]byte) error {
	var names []string
	for name := range files {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		if err := f.put(name, files[name]); err != nil {
			return err
		}
	}
	return nil
}

// put writes a file whole or not at all: after a crash there is the one before, or this one.
func (f *CourtFile) put(name string, content []byte) error { return f.write(name, content, true) }

// write is put; it waits for the disk only if it has to last.
func (f *CourtFile) write(name string, content []byte, last bool) error {
	name = filepath.Join(f.dir, name)
	if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
		return secretfile.ErrUnwritable.Because(err)
	}
	t, err := os.CreateTemp(filepath.Dir(name), ".saving-") // mode 0600
	if err != nil {
		return secretfile.ErrUnwritable.Because(err)
	}
	_, err = t.Write(content)
	if last {
		err = errors.Join(err, t.Sync())
	}
	if err = errors.Join(err, t.Close()); err == nil {
		err = os.Rename(t.Name(), name)
	}
	if err == nil && last {
		err = syncDir(filepath.Dir(name))
	}
	if err != nil {
		return secretfile.ErrUnwritable.Because(errors.Join(err, os.Remove(t.Name())))
	}
	return nil
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
