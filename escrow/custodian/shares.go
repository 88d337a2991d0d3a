package custodian

import (
	"bytes"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"

	"filippo.io/age"

	"github.com/penname/penname/escrow/seal/threshold"
	"github.com/penname/penname/escrow/secretfile"
)

// shares returns the key shares in the folder, by file. There can be more than
// one: that of the key in force, and those of ceremonies whose bundle is not.
func (f *folder) shares() (map[string]threshold.KeyShare, error) {
	names, err := f.files(shareFile)
	if err != nil {
		return nil, err
	}
	out := make(map[string]threshold.KeyShare)
	for _, name := range names {
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
	return oneOf(all, pk)
}

func oneOf(all map[string]threshold.KeyShare, pk threshold.PublicKey) (threshold.KeyShare, error) {
	refused := error(ErrNoShare)
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

// prune destroys every share of the folder, which are all, that a bundle with pk makes
// obsolete (package threshold: "destroying old shares is a duty"). A newer share, whose bundle
// is still to come, stays.
func (f *folder) prune(all map[string]threshold.KeyShare, pk threshold.PublicKey) error {
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

// recipient is what exhibits for the custodian are encrypted to. It makes the key if there
// is none, and never another one: what was encrypted to a key opens as long as it is there.
func (f *folder) recipient() (string, error) {
	b, err := f.read(exhibitFile)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		id, err := age.GenerateHybridIdentity()
		if err != nil {
			return "", secretfile.ErrUnwritable.Because(err)
		}
		return id.Recipient().String(), f.create(exhibitFile, []byte(id.String()))
	case err != nil:
		return "", err
	}
	defer clear(b)
	return recipientOf(string(b))
}

// recipientOf is what is encrypted to for an exhibit identity of the folder.
func recipientOf(identity string) (string, error) {
	id, err := age.ParseHybridIdentity(identity)
	if err != nil {
		return "", ErrSecret // the cause could quote the key
	}
	return id.Recipient().String(), nil
}
