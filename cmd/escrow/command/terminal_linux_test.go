package command

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

const askOnPTY = "PENNAME_TEST_PTY"

// TestAskOnPTY is the program of the next test, at a terminal of its own.
func TestAskOnPTY(t *testing.T) {
	home := os.Getenv(askOnPTY)
	if home == "" {
		return
	}
	env := System()
	for _, args := range [][]string{
		{"custodian", "init", "--home", home, "--id", "alba", "--name", "A", "--organisation", "O", "--server", "http://127.0.0.1:1"},
		{"custodian", "passphrase", "--home", home},
	} {
		if code := Run(context.Background(), args, env); code != 0 {
			os.Exit(code)
		}
	}
	os.Exit(0)
}

// pty is a terminal in whose seat a test sits.
type pty struct {
	read   int // how much of what was seen has been asked for
	t      *testing.T
	master *os.File
	shows  chan []byte
	seen   bytes.Buffer  // everything that the terminal showed
	over   chan struct{} // the program has ended
}

func newPTY(t *testing.T) (p *pty, tty *os.File) {
	t.Helper()
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { master.Close() })
	if err := unix.IoctlSetPointerInt(int(master.Fd()), unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	n, err := unix.IoctlGetInt(int(master.Fd()), unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	if tty, err = os.OpenFile(filepath.Join("/dev/pts", strconv.Itoa(n)), os.O_RDWR|syscall.O_NOCTTY, 0); err != nil {
		t.Fatal(err)
	}
	p = &pty{t: t, master: master, shows: make(chan []byte), over: make(chan struct{})}
	go func() {
		for b := make([]byte, 1024); ; {
			n, err := master.Read(b)
			if err != nil {
				return
			}
			p.shows <- bytes.Clone(b[:n])
		}
	}()
	return p, tty
}

// until waits until the terminal has shown something more.
func (p *pty) until(text string) {
	p.t.Helper()
	for !strings.Contains(p.seen.String()[p.read:], text) {
		select {
		case b := <-p.shows:
			p.seen.Write(b)
		case <-p.over:
			select {
			case b := <-p.shows: // the last that it showed
				p.seen.Write(b)
			case <-time.After(5 * time.Second):
				p.t.Fatalf("no %q; shown was %q", text, p.seen.String())
			}
		}
	}
	p.read += strings.Index(p.seen.String()[p.read:], text) + len(text) // what came with it is for the next
}

func (p *pty) typed(text string) {
	p.t.Helper()
	if _, err := p.master.WriteString(text); err != nil {
		p.t.Fatal(err)
	}
}

// I2: what somebody types while a passphrase is being checked was shown, and became
// the beginning of the next answer.
func TestFoundI2NothingTypedIsShown(t *testing.T) {
	p, tty := newPTY(t)
	child := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestAskOnPTY$")
	child.Env = append(os.Environ(), askOnPTY+"="+filepath.Join(t.TempDir(), "alba"))
	child.Stdin, child.Stdout, child.Stderr = tty, tty, tty
	child.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- child.Wait(); close(p.over) }()
	const first, early, second = "correct horse battery", "typed too early", "staple of another kind"
	p.until("New passphrase")
	p.typed(first + "\n")
	p.until("New passphrase") // again, to be sure
	p.typed(first + "\n")
	p.until("\n")
	p.typed(early) // while scrypt seals the folder
	p.until("Passphrase of")
	p.typed(first + "\n")
	p.until("\n")
	p.typed(early) // while scrypt opens it
	p.until("New passphrase")
	p.typed(second + "\n")
	p.until("New passphrase")
	p.typed(second + "\n")
	p.until("opens with the new")
	if err := <-ended; err != nil {
		t.Errorf("%v: %s", err, p.seen.String())
	}
	for _, secret := range []string{first, early, second} {
		if strings.Contains(p.seen.String(), secret) {
			t.Errorf("%q was shown: %s", secret, p.seen.String())
		}
	}
	state, err := unix.IoctlGetTermios(int(tty.Fd()), unix.TCGETS)
	if err != nil || state.Lflag&unix.ECHO == 0 {
		t.Errorf("the terminal was not given back: %v", err)
	}
}

// TestQuestionOnPTY is the program of the next test, at a terminal of its own.
func TestQuestionOnPTY(t *testing.T) {
	if os.Getenv(askOnPTY) != "question" {
		return
	}
	env := System()
	for _, question := range []string{"First", "Second", "Third"} {
		answer, err := env.Ask(context.Background(), question)
		if err != nil {
			os.Exit(1)
		}
		if _, err := os.Stdout.WriteString("heard " + strings.ReplaceAll(strings.TrimSpace(answer), "\n", " / ") + "\n"); err != nil {
			os.Exit(1)
		}
	}
	env.Close()
	os.Exit(0)
}

// An answer is shown while it is typed, and what was typed before a question is none to it.
func TestQuestionsAtATerminal(t *testing.T) {
	p, tty := newPTY(t)
	child := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestQuestionOnPTY$")
	child.Env = append(os.Environ(), askOnPTY+"=question")
	child.Stdin, child.Stdout, child.Stderr = tty, tty, tty
	child.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	p.typed("yes\n") // before anything was asked
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- child.Wait(); close(p.over) }()
	for _, row := range [][2]string{{"First: ", "no"}, {"Second: ", "press_freedom"}} {
		p.until(row[0])
		p.typed(row[1] + "\n")
		p.until("heard " + row[1])
		if strings.Count(p.seen.String(), row[1]) < 2 {
			t.Errorf("what is typed is not shown: %s", p.seen.String())
		}
	}
	p.until("Third: ")
	p.typed("Threats were posted.\n\nThe second paragraph.\nThe last, without an end")
	p.until("heard Threats were posted. /  / The second paragraph. / The last, without an end")
	if err := <-ended; err != nil {
		t.Errorf("%v: %s", err, p.seen.String())
	}
	if strings.Contains(p.seen.String(), "heard yes") {
		t.Errorf("what was typed before is an answer: %s", p.seen.String())
	}
}
