// Package command is the escrow program as a value, so that the sandbox and the
// walkthroughs run the very code that users run.
//
// Exit codes: 0 done; 1 refused or failed, with one line that says the code and
// how to mend it; 2 wrong usage.
package command

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"time"
	"unicode"

	"github.com/spf13/cobra"

	"github.com/penname/penname/verifier/refusal"
)

// Env is all that the program takes from its surroundings.
type Env struct {
	Stdin          io.Reader
	Stdout, Stderr io.Writer
	Now            func() time.Time
	HTTP           *http.Client
	// Passphrase asks the person at the terminal for that of a custodian's
	// folder, without showing it.
	Passphrase func(home string) ([]byte, error)
}

// System is the environment of a real process.
func System() Env {
	return Env{
		Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr, Now: time.Now, Passphrase: terminal,
		HTTP: &http.Client{Timeout: 30 * time.Second, CheckRedirect: func(*http.Request, []*http.Request) error {
			return http.ErrUseLastResponse // a registrar that redirects is not followed anywhere
		}},
	}
}

// program is one run.
type program struct {
	Env
	json           bool
	server         string
	passphraseFile string
	disk           disk // nil: the file system
}

// usageError makes the exit code 2.
type usageError struct{ error }

// Run runs the program with args, without the program's name, and returns the
// exit code. It never panics on bad input and never calls os.Exit.
func Run(ctx context.Context, args []string, env Env) int {
	p := &program{Env: env}
	return p.run(ctx, args)
}

func (p *program) run(ctx context.Context, args []string) int {
	root := p.root()
	root.SetArgs(args)
	root.SetIn(p.Stdin)
	root.SetOut(p.Stdout)
	root.SetErr(p.Stderr)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return 0
	}
	p.fail(err)
	var usage usageError
	if errors.As(err, &usage) || strings.HasPrefix(err.Error(), "unknown command") {
		return 2
	}
	return 1
}

func (p *program) root() *cobra.Command {
	root := &cobra.Command{
		Use:   "escrow",
		Short: "Courts, custodians and auditors of a Penname service",
		Long: "escrow is for everybody outside a Penname service.\n\n" +
			"A court signs and files warrants, custodians check them on their own machines and\n" +
			"release shares, and anyone audits the public log.",
		Example:       "  escrow log audit --bundle bundle.json --server https://penname.example",
		SilenceErrors: true, SilenceUsage: true,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return usageError{err} })
	root.PersistentFlags().BoolVar(&p.json, "json", false, "print JSON instead of text")
	root.PersistentFlags().StringVar(&p.server, "server", "", "address of the registrar, for example https://penname.example")
	root.AddCommand(p.warrant(), p.custodian(), p.log(), p.key())
	return root
}

// leaf makes a command that runs.
func leaf(use, short, example string, args cobra.PositionalArgs, run func(ctx context.Context, args []string) error) *cobra.Command {
	return &cobra.Command{
		Use: use, Short: short, Example: "  " + example,
		Args: func(c *cobra.Command, a []string) error {
			if err := args(c, a); err != nil {
				return usageError{fmt.Errorf("%w; for example: %s", err, example)}
			}
			return nil
		},
		RunE: func(c *cobra.Command, a []string) error { return run(c.Context(), a) },
	}
}

func group(use, short string, sub ...*cobra.Command) *cobra.Command {
	c := &cobra.Command{Use: use, Short: short, Args: cobra.NoArgs, RunE: func(c *cobra.Command, _ []string) error {
		return usageError{fmt.Errorf("say which: %s --help lists them", c.CommandPath())}
	}}
	c.AddCommand(sub...)
	return c
}

// require fails with usage if a flag was left out.
func require(flags ...[2]string) error {
	for _, f := range flags {
		if f[1] == "" {
			return usageError{fmt.Errorf("--%s is needed", f[0])}
		}
	}
	return nil
}

// fail prints one line, or one JSON object.
func (p *program) fail(err error) {
	var said *problem
	switch e := refusal.Of(err); {
	case errors.As(err, &said):
		if p.json {
			json.NewEncoder(p.Stderr).Encode(said) //nolint:errcheck // nothing is left to tell it to
			return
		}
		fmt.Fprintf(p.Stderr, "escrow: %s\n", said.Error())
	case p.json && e != nil:
		json.NewEncoder(p.Stderr).Encode(problem{Code: e.Code, Title: e.Mend}) //nolint:errcheck // likewise
	default:
		fmt.Fprintf(p.Stderr, "escrow: %s\n", displayable(err.Error()))
	}
}

// print writes v as JSON under --json, else the text.
func (p *program) print(v any, text string) error {
	if p.json {
		e := json.NewEncoder(p.Stdout)
		e.SetIndent("", "  ")
		return e.Encode(v)
	}
	_, err := fmt.Fprintln(p.Stdout, strings.TrimRight(text, "\n"))
	return err
}

// displayable replaces control characters and direction marks: text from
// elsewhere must not move the cursor or turn a sentence round (ATTACKS X18, L24).
func displayable(s string) string {
	return strings.Map(func(r rune) rune {
		if r != '\n' && (unicode.IsControl(r) || unicode.Is(unicode.Cf, r)) {
			return '\uFFFD'
		}
		return r
	}, s)
}
