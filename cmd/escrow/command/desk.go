package command

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/penname/penname/cmd/shell"
	"github.com/penname/penname/escrow/desk"
	"github.com/penname/penname/escrow/registrar"
	"github.com/penname/penname/verifier/document"
	"github.com/penname/penname/verifier/languages"
)

// deskFlags are how a desk is opened and ends, whosever it is.
type deskFlags struct {
	idle, stop time.Duration
	noBrowser  bool
	language   string // tag; "": as the surroundings ask
}

func (f *deskFlags) add(c *cobra.Command) {
	c.Flags().DurationVar(&f.idle, "lock-after", 10*time.Minute, "time without use after which the keys are dropped, and the passphrase is asked for again")
	c.Flags().DurationVar(&f.stop, "stop-after", 8*time.Hour, "time without use after which the desk ends, and what was typed and neither signed nor saved is gone")
	c.Flags().BoolVar(&f.noBrowser, "no-browser", false, "open no browser, and say which file to open")
	c.Flags().StringVar(&f.language, "language", "", "language that the desk speaks at first: "+tagsOfLanguages()+" (default what LC_ALL, LC_MESSAGES or LANG asks for, else your browser)")
}

func (f *deskFlags) check() error {
	if f.idle < time.Second || f.stop < f.idle {
		return shell.UsageError("--lock-after is at least 1s, and --stop-after is not shorter")
	}
	if f.language != "" && languages.Ours.Tagged(f.language) == nil {
		return shell.UsageError("--language is one of %s", tagsOfLanguages())
	}
	return nil
}

// speaks is the language that a desk speaks at first; nil: the one that its browser asks for.
func (f *deskFlags) speaks(getenv func(string) string) *languages.Language {
	if f.language != "" {
		return languages.Ours.Tagged(f.language)
	}
	return desk.LanguageOf(getenv)
}

func tagsOfLanguages() string {
	var tags []string
	for _, l := range languages.Ours.Each() {
		tags = append(tags, l.Tag)
	}
	return strings.Join(tags, ", ")
}

// desks is `escrow desk`: what a custodian does, in a browser on their own machine.
func desks(p *program) *cobra.Command {
	h := &home{program: p}
	var f deskFlags
	c := leaf("desk", "Open a custodian's desk in a browser on this machine: the queue, each case on one page, answers, rules, ceremonies",
		"escrow desk --home alba", cobra.NoArgs, func(ctx context.Context, _ []string) error {
			if err := f.check(); err != nil {
				return err
			}
			return h.desk(ctx, f)
		})
	c.Long = `Serves the desk to a browser of yours on this machine, and to nobody else, and ends with Ctrl-C.

It does what escrow custodian does (list, review, approve, refuse, ask, recuse, away, deputise,
receive, reseal, endorse, ceremony, card, passphrase), with the same checks, shows what your
witness does, and says first what else waits for you. No key leaves this machine.
A clerk of a court, a prosecutor and the police have a desk of their own: escrow desk clerk.

The browser is given a file that you alone can read, with a link that works once and for a minute.
Use Firefox, Chromium, Chrome or Edge: the desk's address, a new one at each start, is a name below
localhost, which they know for this machine; Safari may not find it.
Press Enter in this terminal for another one: then only the browser that opens it has the desk, locked.
The passphrase is asked for on the first page, again when nobody used the desk for a while, and when a
new link is opened. What was typed is kept until the desk ends; what was not signed by then is gone, and
the terminal says so.

The desk speaks English and Welsh: the link at its top changes that, and --language says it at the start.
What is signed, and what a review finds, stays in English, and is marked so.`
	c.Flags().StringVar(&h.dir, "home", defaultHome(), "the custodian's folder")
	c.MarkFlagDirname("home") //nolint:errcheck // it exists
	f.add(c)
	c.AddCommand(deskOfficer(p), deskPicture(p))
	return c
}

// desk serves the desk of the folder until ctx ends or nobody used it for long.
func (h *home) desk(ctx context.Context, f deskFlags) error {
	who, err := h.at().Who()
	if err != nil {
		return err
	}
	release, err := h.at().Hold()
	if err != nil {
		return err
	}
	defer release() //nolint:errcheck // a lock
	h.sweep(true)
	if h.server == "" {
		h.server = who.Server
	}
	if _, err := h.registrar(); err != nil {
		return err
	}
	s := &deskSeat{home: h}
	return h.serveDesk(ctx, desk.Options{Custodian: s.custodian(who)}, f)
}

// serveDesk serves the desk of somebody until ctx ends or nobody used it for long.
func (p *program) serveDesk(ctx context.Context, o desk.Options, f deskFlags) error {
	sweepLinks()
	lns, err := desk.Listen(net.Listen)
	if err != nil {
		return errListen.Because(err)
	}
	o.Explain, o.Now, o.Idle, o.Stop, o.Picture = deskProblem, p.Now, f.idle, f.stop, p.picture
	o.Language = f.speaks(os.Getenv)
	d, err := desk.New(o, lns...)
	if err != nil {
		for _, ln := range lns {
			err = errors.Join(err, ln.Close())
		}
		return err
	}
	ctx, end := context.WithCancel(ctx)
	defer end()
	served := make(chan error, 1)
	go func() { served <- d.Serve(ctx) }()
	if err = p.link(d, f.noBrowser); err == nil {
		go p.anotherLink(ctx, d, f.noBrowser)
		err = <-served
		if n := d.Begun(); n > 0 {
			fmt.Fprintf(p.Stderr, "forms in which something was typed or chosen, and neither signed nor saved: %d; that is gone\n", n)
		}
	} else {
		end()
		<-served
	}
	return err
}

// deskProblem is err as a desk shows it.
func deskProblem(err error) *registrar.Problem {
	p := *shell.ProblemOf(explained(err))
	if words := deskMends[p.Code]; words != "" {
		p.Title = words
	}
	var partly errPartly
	if errors.As(err, &partly) {
		p.Title += ". Beside that, case " + partly.id + " is filed; pressing again sends the exhibits that are missing"
	}
	if errors.As(err, &errUnsent{}) {
		p.Title += ". Beside that, " + unsentAtDesk
	}
	if errors.As(err, &errLost{}) {
		p.Title += ". Beside that, " + mayHaveArrived
	}
	if errors.As(err, &errBegun{}) {
		p.Title += ". Beside that, " + hasBegun
	}
	return &p
}

// anotherLink makes a new link for each line that the person types.
func (p *program) anotherLink(ctx context.Context, d *desk.Desk, noBrowser bool) {
	for lines := bufio.NewScanner(p.Stdin); lines.Scan() && ctx.Err() == nil; {
		if err := p.link(d, noBrowser); err != nil {
			fmt.Fprintln(p.Stderr, "no link was made: "+document.Printable(err.Error()))
		}
	}
}

// link gives the person a link to the desk. No line of it is printed: the file has it.
func (p *program) link(d *desk.Desk, noBrowser bool) error {
	file, err := d.LinkFile()
	if err != nil {
		return err
	}
	said := "open this file in a browser within a minute: "
	if p.Browser != nil && !noBrowser && p.Browser(file) == nil {
		said = "the desk is open in your browser; if it is not, open this file within a minute: "
	}
	return p.print(map[string]string{"file": file}, said+file+"\nEnter makes a new link, Ctrl-C ends the desk.")
}

// browse opens a file with the browser of this system.
func browse(file string) error {
	var c *exec.Cmd
	switch {
	case runtime.GOOS == "darwin":
		c = exec.Command("open", file)
	case runtime.GOOS == "windows":
		c = exec.Command("rundll32", "url.dll,FileProtocolHandler", file)
	case os.Getenv("DISPLAY") == "" && os.Getenv("WAYLAND_DISPLAY") == "":
		return exec.ErrNotFound // a browser in the terminal would take it over
	default:
		c = exec.Command("xdg-open", file)
	}
	if apart(c); c.Err != nil {
		return c.Err
	}
	if err := c.Start(); err != nil {
		return err
	}
	go c.Wait() //nolint:errcheck // it says what it has to say itself
	return nil
}

// deskPicture draws a picture anew, out of the process that has the keys.
func deskPicture(p *program) *cobra.Command {
	c := leaf("picture", "Draw a picture on the standard input anew, as PNG on the standard output",
		"escrow desk picture < picture.jpg > drawn.png", cobra.NoArgs, func(context.Context, []string) error {
			if err := confine(); err != nil {
				return desk.ErrPicture.Because(err)
			}
			return desk.Picture(p.Stdout, p.Stdin)
		})
	c.Hidden = true
	return c
}

// The bounds of a process that draws a picture.
const (
	drawingTime   = 20 * time.Second
	drawingMemory = 1 << 30 // bytes
)

// picture draws a picture anew in a process that has no keys, no surroundings and bounds of time
// and memory.
func (p *program) picture(ctx context.Context, content []byte) ([]byte, error) {
	ctx, done := context.WithTimeout(ctx, drawingTime)
	defer done()
	c := exec.CommandContext(ctx, p.Program, "desk", "picture")
	c.Env, c.Dir = []string{"GOMEMLIMIT=900MiB", "GOTRACEBACK=none"}, os.TempDir()
	c.WaitDelay = time.Second
	out := &bounded{left: 17 << 20}
	c.Stdin, c.Stdout = bytes.NewReader(content), out
	if err := c.Run(); err != nil {
		return nil, desk.ErrPicture.Because(err)
	}
	return out.Bytes(), desk.Drawn(out.Bytes())
}

// bounded takes so many bytes and no more.
type bounded struct {
	bytes.Buffer
	left int
}

func (b *bounded) Write(p []byte) (int, error) {
	if b.left -= len(p); b.left < 0 {
		return 0, io.ErrShortWrite
	}
	return b.Buffer.Write(p)
}
