package command

import (
	"bytes"
	"context"
	"fmt"
	"os"

	"golang.org/x/term"

	"github.com/penname/penname/escrow/custodian"
	"github.com/penname/penname/verifier/document"
	"github.com/penname/penname/verifier/refusal"
)

var (
	errTwoPassphrases = refusal.New(refusal.Invalid, "custodian.passphrases_differ",
		"the two passphrases differ: nothing was made, try again")
)

// terminal asks the person for passphrases without showing them. From the first
// question to [terminal.close] nothing that is typed is shown: it may be the next
// answer, begun while the last one was still being checked.
type terminal struct {
	tty    *os.File
	before *term.State
}

// open turns the echo off and drops what was typed before the question, which was
// for something else.
func (t *terminal) open() (fd int, err error) {
	if t.tty == nil {
		tty, err := os.OpenFile("/dev/tty", os.O_RDWR, 0)
		if err != nil {
			return 0, err
		}
		if t.before, err = term.GetState(int(tty.Fd())); err != nil {
			tty.Close()
			return 0, err
		}
		t.tty = tty
	}
	fd = int(t.tty.Fd())
	return fd, hush(fd)
}

// close gives the terminal back as it was.
func (t *terminal) close() {
	if t.tty == nil {
		return
	}
	term.Restore(int(t.tty.Fd()), t.before) //nolint:errcheck // nothing can be done about it
	t.tty.Close()
	t.tty = nil
}

// ask is Env.Passphrase.
func (t *terminal) ask(ctx context.Context, dir string, fresh bool) ([]byte, error) {
	fd, err := t.open()
	if err != nil {
		return nil, custodian.ErrNoPassphrase.Because(err)
	}
	tty := t.tty
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
		fmt.Fprintln(tty)
		return nil, ctx.Err()
	case a := <-typed:
		fmt.Fprintln(tty)
		if a.err != nil {
			return nil, custodian.ErrNoPassphrase.Because(a.err)
		}
		return a.pass, nil
	}
}

// passphraseFrom reads a passphrase from a file or, without one, asks the person
// at the terminal: for a new one, twice.
func (p *program) passphraseFrom(file string) custodian.Passphrase {
	if file != "" {
		return custodian.PassphraseFile(file)
	}
	return func(ctx context.Context, dir string, fresh bool) ([]byte, error) {
		if p.Passphrase == nil {
			return nil, custodian.ErrNoPassphrase
		}
		pass, err := p.Passphrase(ctx, dir, fresh)
		if err != nil || !fresh || len(pass) < custodian.MinPassphrase { // it will not do, whatever comes second
			return pass, err
		}
		again, err := p.Passphrase(ctx, dir, fresh)
		if err != nil {
			return nil, err
		}
		defer clear(again)
		if !bytes.Equal(pass, again) {
			clear(pass)
			return nil, errTwoPassphrases
		}
		return pass, nil
	}
}
