package command

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
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
	question := "Passphrase of "
	if fresh {
		question = "New passphrase, asked for twice, of "
	}
	fmt.Fprintf(t.tty, "%s%s: ", question, document.Printable(dir))
	pass, err := t.typed(ctx, func() ([]byte, error) { return term.ReadPassword(fd) })
	fmt.Fprintln(t.tty)
	if err != nil && ctx.Err() == nil {
		err = custodian.ErrNoPassphrase.Because(err)
	}
	return pass, err
}

// question is Env.Ask: the answer is shown while it is typed, and nothing that was typed
// before the question is one. Of a pasted text it is all lines.
func (t *terminal) question(ctx context.Context, question string) (string, error) {
	fd, err := t.open()
	if err != nil {
		return "", errNoAnswers.Because(err)
	}
	if err := term.Restore(fd, t.before); err != nil {
		return "", errNoAnswers.Because(err)
	}
	fmt.Fprint(t.tty, question+": ")
	line, err := t.typed(ctx, func() ([]byte, error) {
		line, err := t.line()
		if err == nil {
			line = append(line, pasted(fd)...)
		}
		return line, err
	})
	if err != nil && ctx.Err() == nil {
		err = errNoAnswers.Because(err)
	}
	return string(line), errors.Join(err, hush(fd))
}

// line reads one line of the terminal, at most 4 KiB (what it hands over at a time).
func (t *terminal) line() ([]byte, error) {
	b := make([]byte, 4<<10)
	n, err := t.tty.Read(b)
	if err == nil && (n == 0 || b[n-1] != '\n') {
		err = io.ErrUnexpectedEOF // Ctrl-D
	}
	return b[:n], err
}

// typed waits for what read returns, or for the end of ctx: what is read after a Ctrl-C
// goes nowhere, and the program ends.
func (t *terminal) typed(ctx context.Context, read func() ([]byte, error)) ([]byte, error) {
	type answer struct {
		text []byte
		err  error
	}
	typed := make(chan answer, 1)
	go func() {
		text, err := read()
		typed <- answer{text, err}
	}()
	select {
	case <-ctx.Done():
		return nil, ctx.Err()
	case a := <-typed:
		return a.text, a.err
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
