// Package command is the escrow program as a value, so that the sandbox and the
// walkthroughs run the very code that users run.
//
// What both programs have in common, such as their exit codes, is [Execute].
package command

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/penname/penname/cmd/shell"
	"github.com/penname/penname/escrow/custodian"
	"github.com/penname/penname/escrow/registrar"
	"github.com/penname/penname/escrow/requester"
	"github.com/penname/penname/policy"
	"github.com/penname/penname/verifier/document"
	"github.com/penname/penname/verifier/proof"
	"github.com/penname/penname/verifier/refusal"
	"github.com/penname/penname/verifier/rules"
)

// Env is all that the program takes from its surroundings.
type Env struct {
	Stdin          io.Reader
	Stdout, Stderr io.Writer
	Now            func() time.Time
	HTTP           *http.Client
	Terminal       bool // a person reads Stderr as it is written
	// Passphrase asks the person at the terminal for that of a custodian's
	// folder, or for a new one, without showing it. It ends with ctx.
	Passphrase func(ctx context.Context, home string, fresh bool) ([]byte, error)
	// Ask shows the person at the terminal a question, with what it is about, and returns the
	// line that they type, or the lines that they paste. It ends with ctx. nil: there is nobody to ask.
	Ask func(ctx context.Context, question string) (string, error)
	// Browser shows a file to the person, in a browser. nil: there is none, and the file is named.
	Browser func(file string) error
	Program string // file of this program, which draws strangers' pictures in processes of its own
	Close   func() // optional: gives back what Passphrase and Ask took
}

// System is the environment of a real process.
func System() Env {
	t := &terminal{}
	program, _ := os.Executable() // "": no picture is drawn
	return Env{
		Browser: browse, Program: program,
		Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr, Now: time.Now, Passphrase: t.ask, Ask: t.question, Close: t.close, Terminal: shell.Terminal(os.Stderr),
		HTTP: registrar.NewHTTP(nil),
	}
}

// program is one run: its surroundings and what the global flags say.
type program struct {
	Env
	json   bool            // set when a command runs
	ctx    context.Context // its end interrupts questions; set when a command runs
	server string          // address of the registrar
	caFile string
}

// Run runs the program with args, without the program's name, and returns the
// exit code. It never panics on bad input and never calls os.Exit.
func Run(ctx context.Context, args []string, env Env) int {
	if env.Close != nil {
		defer env.Close()
	}
	p := &program{Env: env}
	defer p.hangUp()
	root := newRoot(p)
	root.SetIn(env.Stdin)
	root.SetOut(env.Stdout)
	root.SetErr(env.Stderr)
	return shell.Execute(ctx, root, args)
}

// Commands are all of the program, for its manual pages and completions.
func Commands() *cobra.Command {
	root := newRoot(&program{})
	shell.Prepare(root)
	return root
}

// hangUp closes what is idle: a process may run several programs.
func (p *program) hangUp() {
	if p.HTTP != nil {
		p.HTTP.CloseIdleConnections()
	}
}

func newRoot(p *program) *cobra.Command {
	root := &cobra.Command{
		Use:   "escrow",
		Short: "Courts, custodians, auditors and platforms of a Penname service",
		Long: "escrow is for everybody outside a Penname service.\n\n" +
			"A court signs and files warrants, custodians check them on their own machines and\n" +
			"release shares, anyone audits the public log, and a platform has its sign-in examined.\n\n" +
			"Exit codes: 0 done; 1 refused or failed, with a code and how to mend it; 2 wrong\n" +
			"usage; 130 interrupted.",
		Example: "  escrow log audit --bundle bundle.json --server https://penname.example",
		PersistentPreRunE: func(c *cobra.Command, _ []string) error {
			p.json, p.ctx = shell.AsJSON(c), c.Context()
			roots, err := registrar.Authorities(p.caFile)
			if roots != nil {
				p.HTTP = registrar.NewHTTP(roots)
			}
			return err
		},
		RunE: func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	root.PersistentFlags().StringVar(&p.server, "server", "", "address of the registrar, for example https://penname.example")
	root.PersistentFlags().StringVar(&p.caFile, "ca-file", "", "PEM file of certificate authorities that count for servers beside this machine's")
	root.AddCommand(warrant(p), openings(p), custodians(p), desks(p), bundles(p), log(p), publicRecord(p), platform(p), evidence(p), key(p), notice(p), me(p), version(p))
	return root
}

// leaf makes a command that runs.
func leaf(use, short, example string, args cobra.PositionalArgs, run func(ctx context.Context, args []string) error) *cobra.Command {
	return &cobra.Command{
		Use: use, Short: short, Example: "  " + example, Args: args,
		RunE: func(c *cobra.Command, a []string) error { return explained(run(c.Context(), a)) },
	}
}

func group(use, short string, sub ...*cobra.Command) *cobra.Command {
	c := &cobra.Command{Use: use, Short: short}
	c.AddCommand(sub...)
	return c
}

// require fails with usage if a flag was left out.
func require(flags ...[2]string) error {
	for _, f := range flags {
		if f[1] == "" {
			return shell.UsageError("--%s is needed", f[0])
		}
	}
	return nil
}

// print writes v as JSON under --json, else the text.
func (p *program) print(v any, text string) error { return shell.Print(p.Stdout, p.json, v, text) }

// progress says to a person at a terminal how far long work is.
func (p *program) progress(format string, args ...any) {
	if p.Terminal && !p.json {
		fmt.Fprintf(p.Stderr, format, args...)
	}
}

// registrar is the client for the registrar that --server names.
func (p *program) registrar() (*registrar.Client, error) {
	if p.server == "" {
		return nil, shell.UsageError("--server is needed: the address of the registrar, for example https://penname.example")
	}
	return &registrar.Client{Server: p.server, HTTP: p.HTTP, Now: p.Now, Progress: p.sent()}, nil
}

// sent tells a person at a terminal how far a long upload is, each time that another
// twentieth of it is gone.
func (p *program) sent() func(sent, total int64) {
	told := int64(0)
	return func(sent, total int64) {
		if twentieth := sent * 20 / total; total > 1<<20 && twentieth > told {
			told = twentieth
			p.progress("sent %.1f of %.1f MB\n", float64(sent)/1e6, float64(total)/1e6)
		}
	}
}

// readFile is [shell.ReadFile] with - for the standard input.
func (p *program) readFile(name string) ([]byte, error) {
	if name == "-" {
		b, err := io.ReadAll(io.LimitReader(p.Stdin, shell.MaxFile))
		return document.Decoded(b), err
	}
	return shell.ReadFile(name)
}

func (p *program) readBundle(name string) (*policy.Bundle, error) {
	raw, err := p.readFile(name)
	if err != nil {
		return nil, err
	}
	b, err := policy.ParseBundle(raw)
	if err != nil && policy.IsProfile(raw) {
		err = errProfile
	}
	return b, shell.InFile(name, 0, err)
}

// follow asks the public log which rules are in force, beginning with a bundle that
// is trusted and with what was read before, and returns all bundles that it holds and
// the one in force. It reads the log that the registrar serves, or a mirror.
//
// It reads all of it but what was read before. A part would not do: the entry of the trusted bundle
// may be anywhere, and a log that showed it once more behind its successor would have a reader who
// begins there take what is superseded for what is in force; the records of platforms that evidence
// is held to are older than any bundle may be.
func (p *program) follow(ctx context.Context, trusted *policy.Bundle, read []byte, mirror string, maxAge time.Duration) (*rules.History, *policy.Bundle, error) {
	source, err := tiles(p, mirror)
	if err != nil {
		return nil, nil, err
	}
	fetch := p.fetchRules()
	if mirror != "" {
		fetch = rules.FromMirror(mirror, fetch)
	}
	h, err := rules.New(trusted, source, fetch)
	if err != nil {
		return nil, nil, err
	}
	h.Resume(read)
	inForce, err := h.Follow(ctx, p.Now(), maxAge)
	return h, inForce, err
}

// fetchBundle gets a bundle by its hash from the registrar.
func (p *program) fetchBundle(ctx context.Context, hash string) ([]byte, []string, error) {
	r, err := p.registrar()
	if err != nil {
		return nil, nil, err
	}
	return r.BundleByHash(ctx, hash)
}

// fetchRules gets bundles from the registrar, or from an export of the log (escrow log export) that
// --server names in its place.
func (p *program) fetchRules() rules.Fetch { return rules.Fetch(p.fetchBundle).Or(p.exported) }

// fetchRecords gets those of platforms, as fetchRules does.
func (p *program) fetchRecords() rules.Records {
	return rules.RecordsOf(p.fetchPlatforms).Or(p.exported)
}

// maxExported bounds a bundle with its endorsements, or the record of a platform, in bytes.
const maxExported = 16 << 20

// exported reads a file of an export.
func (p *program) exported(ctx context.Context, path string) ([]byte, error) {
	return p.get(ctx, strings.TrimRight(p.server, "/")+registrar.PathLog+"/"+path, maxExported)
}

// fetchPlatforms gets a page of the registry from the registrar.
func (p *program) fetchPlatforms(ctx context.Context, after int64) ([]policy.LoggedPlatform, bool, error) {
	r, err := p.registrar()
	if err != nil {
		return nil, false, err
	}
	return r.Platforms(ctx, after)
}

// explained adds to a refusal the public facts that a person needs: rules,
// custodians by name, the first wrong entry of the log, what was shown of it and
// where that is kept, and how an authority is named that this machine does not know.
func explained(err error) error {
	var rules *custodian.RulesError
	var shares *requester.SharesError
	var wait *policy.WaitError
	var at *proof.IndexError
	var seen *proof.SeenError
	switch e := refusal.Of(err); {
	case e != nil && errors.As(err, &wait):
		return &registrar.Problem{Code: e.Code, Title: e.Mend, From: wait.From.Format(time.DateOnly)}
	case errors.As(err, &rules):
		return &registrar.Problem{Code: rules.Refusal.Code, Title: rules.Refusal.Mend, Rules: rules.Rules}
	case errors.As(err, &shares):
		return &registrar.Problem{Code: requester.ErrBadShare.Code, Title: shares.Text()}
	case e != nil && errors.As(err, new(*tls.CertificateVerificationError)):
		return &registrar.Problem{Code: e.Code, Title: e.Mend, Cause: e.Unwrap().Error() + "; a private authority is named with --ca-file"}
	case e != nil && errors.As(err, &seen):
		return &registrar.Problem{Code: e.Code, Title: e.Mend, Cause: seen.Error(), Evidence: seen.Kept}
	case errors.Is(err, proof.ErrTile) && errors.As(err, &at):
		return &registrar.Problem{Code: e.Code, Title: fmt.Sprintf("%s (first wrong entry: %d)", e.Mend, at.Index)}
	case e != nil && errors.As(err, &at): // a finding, whose code says what it is
		return &registrar.Problem{Code: e.Code, Title: fmt.Sprintf("%s (first wrong entry: %d, %v)", e.Mend, at.Index, at.Cause)}
	}
	return err
}
