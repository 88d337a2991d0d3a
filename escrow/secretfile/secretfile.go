// Package secretfile reads and creates files that hold a secret: keys, passphrases, the
// addresses of databases. Both programs and the key service's client read theirs
// here, so none is laxer than another.
package secretfile

import (
	"errors"
	"io"
	"io/fs"
	"os"

	"github.com/penname/penname/verifier/document"
	"github.com/penname/penname/verifier/refusal"
)

// The refusals. Their cause names the file.
var (
	ErrUnreadable = refusal.New(refusal.Invalid, "file.unreadable",
		"a file that was named cannot be read: check the path and its rights")
	ErrMode = refusal.New(refusal.Denied, "file.readable_by_others",
		"a secret file can be read by other users: chmod 600 it, and replace the secret if it may have leaked")
	ErrUnwritable = refusal.New(refusal.Invalid, "file.unwritable",
		"a file that was named cannot be written: check its folder, its rights and the space on the disk")
	ErrExists = refusal.New(refusal.Conflict, "file.exists",
		"what was named exists, and nothing is overwritten: name another file or folder")
)

// maxSize is in bytes: a share of a key, the longest of them, has some hundreds.
const maxSize = 1 << 20

// Read returns what is in the file called name, which group and others must
// have no right to: not to read it, nor to put something else in. A pipe, which
// a shell makes for <(command), is such a file; a folder and a device are not.
// It does not check who owns the file.
func Read(name string) ([]byte, error) { return ReadUpTo(name, maxSize) }

// ReadUpTo is [Read] of a file that may be longer than a secret is: of at most so many bytes.
func ReadUpTo(name string, most int64) ([]byte, error) {
	b, err := read(name, most)
	if err != nil {
		clear(b)
		return nil, err
	}
	return b, nil
}

// read is [Read], which returns with [ErrMode] what it refuses for that.
func read(name string, most int64) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, ErrUnreadable.Because(err)
	}
	defer f.Close()
	info, err := f.Stat() // of the open file: no other can be put in its place
	if err != nil {
		return nil, ErrUnreadable.Because(err)
	}
	if !info.Mode().IsRegular() && info.Mode().Type() != os.ModeNamedPipe {
		return nil, ErrUnreadable.Because(errors.New(name + " is not a file"))
	}
	b, err := io.ReadAll(io.LimitReader(f, most+1))
	if info.Mode().Perm()&0o077 != 0 {
		return b, ErrMode.Because(errors.New(name))
	}
	if err != nil || int64(len(b)) > most {
		clear(b)
		return nil, ErrUnreadable.Because(errors.Join(err, errors.New(name)))
	}
	return b, nil
}

// ReadText is [Read] of what a person saved, such as an address, a token or a key:
// see document.Typed.
func ReadText(name string) (string, error) {
	b, err := Read(name)
	defer clear(b)
	return string(document.Typed(b)), err
}

// Create makes a file that only its owner reads, and overwrites nothing.
func Create(name string, b []byte) error {
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return ErrExists.Because(err)
	}
	if err != nil {
		return ErrUnwritable.Because(err)
	}
	_, err = f.Write(b)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return ErrUnwritable.Because(err)
	}
	return nil
}
