// Package shell is what the programs have in common: their exit codes, how they
// say what went wrong, --json, help, and the files that arguments name.
package shell

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/penname/penname/escrow/registrar"
	"github.com/penname/penname/escrow/seal/ceremony"
	"github.com/penname/penname/verifier/refusal"
)

// The exit codes of the programs.
const (
	Done        = 0
	Failed      = 1 // refused or failed: one line says the code, why and how to mend it
	Usage       = 2
	Interrupted = 130 // Ctrl-C, SIGTERM or a terminal that was closed ended it before it was done, as a shell says it
)

// usageError makes the exit code 2.
type usageError struct{ error }

// UsageError says that a command was called wrongly.
func UsageError(format string, args ...any) error { return usageError{fmt.Errorf(format, args...)} }

// Exited is the exit code of a program that did a command in the place of this one, and
// said what there was to say.
type Exited int

func (Exited) Error() string { return "it said why" }

// Execute runs a program's commands with args, without the program's name, and
// returns the exit code. What fails is said in one line on the standard error,
// or, with --json, as one JSON object. It never calls os.Exit.
//
// Beyond cobra, which prints help and is content: an unknown command is wrong
// usage at every depth, and so is a group of commands without one of them.
func Execute(ctx context.Context, root *cobra.Command, args []string) int {
	Prepare(root, args...)
	root.SetArgs(append([]string{}, args...)) // nil would be those of the process
	err := root.ExecuteContext(ctx)
	if err == nil {
		return Done
	}
	if exited := Exited(0); errors.As(err, &exited) {
		return int(exited)
	}
	said, code := ProblemOf(err), Failed
	var usage usageError
	switch {
	case errors.As(err, &usage):
		code = Usage
	case ctx.Err() != nil:
		said, code = &registrar.Problem{Code: "interrupted", Title: "stopped before it was done: run the command again to go on"}, Interrupted
	}
	if slices.Contains(args, "--json") || AsJSON(root) {
		json.NewEncoder(root.ErrOrStderr()).Encode(said) //nolint:errcheck // nothing is left to tell it to
	} else {
		fmt.Fprintf(root.ErrOrStderr(), "%s: %s\n", root.Name(), said.Error())
	}
	return code
}

// Prepare makes root what [Execute] runs, and what manual pages are made from.
func Prepare(root *cobra.Command, args ...string) {
	root.SilenceErrors, root.SilenceUsage = true, true
	root.Version = Version()
	root.PersistentFlags().Bool("json", false, "print JSON instead of text, errors too")
	root.SetFlagErrorFunc(func(c *cobra.Command, err error) error {
		var number *strconv.NumError
		if errors.As(err, &number) && number.Func == "ParseBool" {
			said, _, _ := strings.Cut(err.Error(), ": strconv.")
			return UsageError("%s: it should be true or false: %s --help lists the flags", said, c.CommandPath())
		}
		return UsageError("%w: %s --help lists the flags", err, c.CommandPath())
	})
	// A group of commands runs only to say that no command was named. Its help
	// does not show that form. (A usage template would do it too, and cost 2.2 MiB of binary.)
	help := root.HelpFunc()
	root.SetHelpFunc(func(c *cobra.Command, args []string) {
		if c.Annotations["group"] != "" {
			c.RunE = nil
		}
		help(c, args)
	})
	root.InitDefaultHelpCmd()
	root.InitDefaultCompletionCmd(args...)
	for _, c := range root.Commands() {
		strict(c)
	}
	root.Args = expect(root, nil)
}

// Version is that of the module, or of the commit that it was built from.
func Version() string {
	if b, ok := debug.ReadBuildInfo(); ok && b.Main.Version != "" {
		return b.Main.Version + " " + b.GoVersion
	}
	return "unknown"
}

// strict makes c and all below it refuse what they do not take.
func strict(c *cobra.Command) {
	for _, sub := range c.Commands() {
		strict(sub)
	}
	if c.Name() == "help" && !c.Parent().HasParent() {
		c.Example = "  " + c.Root().Name() + " help " + c.Root().Commands()[0].Name()
		c.Args = func(c *cobra.Command, args []string) error {
			if about, rest, err := c.Root().Find(args); err != nil || len(rest) > 0 {
				return unknown(about, rest)
			}
			return nil
		}
		return
	}
	if c.Parent().Name() == "completion" {
		c.Example = fmt.Sprintf("  %s > completion.%s", c.CommandPath(), c.Name())
	}
	args := c.Args
	if !c.Runnable() {
		args = nil
		c.RunE = func(c *cobra.Command, _ []string) error {
			return UsageError("say which: %s", subcommands(c))
		}
		c.Example, c.Annotations = c.Commands()[0].Example, map[string]string{"group": "yes"}
	}
	c.Args = expect(c, args)
	if c.ValidArgsFunction == nil && !takesFiles(c) {
		c.ValidArgsFunction = cobra.NoFileCompletions
	}
}

// takesFiles reports whether a shell should offer files for a command's
// arguments: in the line of use they are words in capitals, and these are none.
func takesFiles(c *cobra.Command) bool {
	_, arg, ok := strings.Cut(c.Use, " ")
	return ok && arg != "CASE" && arg != "HASH" && arg != "ID" && arg != "N"
}

// expect is args, which may be nil for none, with an error that shows what is
// right.
func expect(c *cobra.Command, args cobra.PositionalArgs) cobra.PositionalArgs {
	if args == nil {
		args = cobra.NoArgs
	}
	return func(_ *cobra.Command, given []string) error {
		switch err := args(c, given); {
		case err == nil:
			return nil
		case c.HasSubCommands() && len(given) > 0:
			return unknown(c, given)
		}
		example, _, _ := strings.Cut(strings.TrimSpace(c.Example), "\n")
		return UsageError("the usage is %s; for example: %s", c.UseLine(), example)
	}
}

func unknown(c *cobra.Command, given []string) error {
	name := c.CommandPath()
	if len(given) > 0 {
		name += " " + given[0]
		c.SuggestionsMinimumDistance = 2 // letters
		if like := c.SuggestionsFor(given[0]); len(like) > 0 {
			return UsageError("there is no command %q: did you mean %s %s?", name, c.CommandPath(), like[0])
		}
	}
	return UsageError("there is no command %q: %s", name, subcommands(c))
}

func subcommands(c *cobra.Command) string {
	var names []string
	for _, sub := range c.Commands() {
		if sub.IsAvailableCommand() {
			names = append(names, sub.Name())
		}
	}
	return fmt.Sprintf("%s --help explains %s", c.CommandPath(), strings.Join(names, ", "))
}

// Require fails with usage unless each flag, by its name, was given a value.
func Require(c *cobra.Command, flags ...string) error {
	for _, name := range flags {
		if f := c.Flags().Lookup(name); f.Value.String() == f.DefValue {
			return UsageError("--%s is needed: %s", name, f.Usage)
		}
	}
	return nil
}

// AsJSON reports whether --json was given.
func AsJSON(c *cobra.Command) bool {
	on, err := c.Flags().GetBool("json")
	return err == nil && on
}

// Print writes v as JSON if that was asked for, else the text.
func Print(w io.Writer, asJSON bool, v any, text string) error {
	if asJSON {
		e := json.NewEncoder(w)
		e.SetIndent("", "  ")
		return e.Encode(v)
	}
	_, err := fmt.Fprintln(w, strings.TrimRight(text, "\n"))
	return err
}

// Terminal reports whether a person reads what is written to w, as it is
// written: progress is for nobody else.
func Terminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// Progress is where long work says how far it is: to a person at a terminal, and
// to nobody else.
func Progress(c *cobra.Command) io.Writer {
	if Terminal(c.ErrOrStderr()) && !AsJSON(c) {
		return c.ErrOrStderr()
	}
	return io.Discard
}

// ProblemOf is err as it is printed.
func ProblemOf(err error) *registrar.Problem {
	var said *registrar.Problem
	if errors.As(err, &said) {
		return said
	}
	var usage usageError
	if errors.As(err, &usage) {
		return &registrar.Problem{Code: "usage", Title: err.Error()}
	}
	e := refusal.Of(err)
	if e == nil {
		return &registrar.Problem{Code: "failed", Title: err.Error()}
	}
	said = &registrar.Problem{Code: e.Code, Title: e.Mend}
	var failure *ceremony.Failure
	if errors.As(err, &failure) {
		said.Title, said.Culprits, said.Evidence = failure.Text, ceremony.IDs(failure.Culprits), failure.Evidence
	}
	if len(said.Culprits) > 0 {
		return said // the transcript says more than a cause
	}
	// A cause holds no secret and names nobody: a service writes it to its log.
	if cause := e.Unwrap(); cause != nil {
		said.Cause = strings.Join(strings.Fields(cause.Error()), " ")
	}
	return said
}
