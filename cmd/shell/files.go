package shell

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/penname/penname/escrow/secretfile"
	"github.com/penname/penname/verifier/document"
	"github.com/penname/penname/verifier/refusal"
)

// MaxFile bounds every file that is read: a warrant, evidence, a bundle. Bytes.
const MaxFile = 16 << 20

// ReadFile reads a file that is not secret, without a byte order mark: see
// document.Decoded. Its refusal's cause names it.
func ReadFile(name string) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, secretfile.ErrUnreadable.Because(err)
	}
	return ReadOpen(f)
}

// ReadOpen is [ReadFile] of a file that is open, and closes it.
func ReadOpen(f *os.File) ([]byte, error) {
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, MaxFile))
	if err != nil {
		return nil, secretfile.ErrUnreadable.Because(err)
	}
	return document.Decoded(b), nil
}

// InFile adds the name of a file, and the line if it is known (0: it is not), to the
// cause of a refusal of what is in it.
func InFile(name string, line int, err error) error {
	e := refusal.Of(err)
	if e == nil || name == "-" && line == 0 {
		return err
	}
	place := name
	if line > 0 {
		place = fmt.Sprintf("%s, line %d", name, line)
	}
	if e.Unwrap() == nil {
		return e.Because(errors.New(place))
	}
	return e.Because(fmt.Errorf("%s: %w", place, e.Unwrap()))
}

// WritePrivate writes a file with a person in it, in place of one of that name: it is whole or as
// it was. From its creation only its owner reads it. Its refusal's cause names it.
// What is no file, such as a device, or a link is written into.
func WritePrivate(name string, b []byte) error {
	if info, err := os.Lstat(name); errors.Is(err, fs.ErrNotExist) || err == nil && info.Mode().IsRegular() {
		return replace(name, b)
	}
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE, 0o600)
	if err != nil {
		return secretfile.ErrUnwritable.Because(err)
	}
	if info, serr := f.Stat(); serr == nil && info.Mode().IsRegular() {
		err = errors.Join(f.Chmod(0o600), f.Truncate(0)) // one that was there: before anything is in it
	}
	if err == nil {
		_, err = f.Write(b)
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return secretfile.ErrUnwritable.Because(err)
	}
	return nil
}

// replace puts a file that only its owner reads in the place of name in one step.
func replace(name string, b []byte) error {
	f, err := os.CreateTemp(filepath.Dir(name), ".saving-") // mode 0600
	if err != nil {
		return secretfile.ErrUnwritable.Because(fmt.Errorf("%s: %w", name, err))
	}
	_, err = f.Write(b)
	if err = errors.Join(err, f.Sync(), f.Close()); err == nil {
		err = os.Rename(f.Name(), name)
	}
	if err != nil {
		return secretfile.ErrUnwritable.Because(fmt.Errorf("%s: %w", name, errors.Join(err, os.Remove(f.Name()))))
	}
	return nil
}

// WriteFile writes a file that is not secret. Its refusal's cause names it.
func WriteFile(name string, b []byte) error {
	if err := os.WriteFile(name, b, 0o644); err != nil { //nolint:gosec // plans, bundles, transcripts and checkpoints are public
		return secretfile.ErrUnwritable.Because(err)
	}
	return nil
}

// Out is the file that a command writes its result to. Another file of that name is
// not overwritten unless --force says so; one that holds the same is no obstacle.
type Out struct {
	File  string
	force bool
}

// Flags adds --out, with the file's name if none is given, and --force.
func (o *Out) Flags(c *cobra.Command, file, usage string) {
	c.Flags().StringVar(&o.File, "out", file, usage)
	c.Flags().BoolVar(&o.force, "force", false, "overwrite the file of --out if it holds something else")
}

// WriteFile writes what is not secret: see [WriteFile]. A file of that name which holds
// something else is [secretfile.ErrExists].
func (o *Out) WriteFile(b []byte) error { return o.write(b, WriteFile) }

// WritePrivate is [Out.WriteFile] of what has a person in it: see [WritePrivate].
func (o *Out) WritePrivate(b []byte) error { return o.write(b, WritePrivate) }

// Free is [secretfile.ErrExists] if there is a file of that name which would not be
// overwritten: for who asks people before there is something to write.
func (o *Out) Free() error {
	if info, err := os.Stat(o.File); err == nil && info.Mode().IsRegular() && !o.force {
		return secretfile.ErrExists.Because(errors.New(o.File))
	}
	return nil
}

func (o *Out) write(b []byte, write func(string, []byte) error) error {
	if info, err := os.Stat(o.File); err == nil && info.Mode().IsRegular() && !o.force {
		if have, err := os.ReadFile(o.File); err != nil || !bytes.Equal(have, b) {
			return secretfile.ErrExists.Because(errors.New(o.File + " holds something else"))
		}
	}
	return write(o.File, b)
}
