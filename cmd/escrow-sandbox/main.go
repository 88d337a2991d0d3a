// Command escrow-sandbox is a complete Penname on this machine, on loopback
// only, with everybody around it: it plays the story against itself and stays
// up, to be tried.
//
//	escrow-sandbox              starts it and plays the story
//	escrow-sandbox --once       exits after the story: 0 only if every step held
//	escrow-sandbox vault build  builds the Vault of the sandbox and the tests
package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	escrow "github.com/penname/penname/cmd/escrow/command"
	escrowd "github.com/penname/penname/cmd/escrowd/command"
	"github.com/penname/penname/cmd/shell"
	"github.com/penname/penname/escrow/sandbox"
	"github.com/penname/penname/escrow/sandbox/world"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal ends it at once
	os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr))
}

// run runs the program and returns its exit code: see [shell.Execute].
func run(ctx context.Context, args []string, out, errs io.Writer) int {
	root := newRoot()
	root.SetOut(out)
	root.SetErr(errs)
	return shell.Execute(ctx, root, args)
}

// programs are the programs that everybody in the sandbox uses.
var programs = world.Programs{
	Escrow: func(ctx context.Context, args []string, now func() time.Time, out, errs io.Writer) int {
		env := escrow.System()
		env.Stdin, env.Stdout, env.Stderr, env.Now = strings.NewReader(""), out, errs, now
		return escrow.Run(ctx, args, env)
	},
	Escrowd: escrowd.Run,
}

func newRoot() *cobra.Command {
	var o world.Options
	var once bool
	var logFile string
	c := &cobra.Command{
		Use: "escrow-sandbox", Short: "A complete Penname on loopback, with everybody around it",
		Long: "escrow-sandbox starts a complete Penname on loopback, with test people, two platforms,\n" +
			"a court and three custodians, plays the story against it and stays up, to be tried.\n\n" +
			"Exit codes: 0 done; 1 a step of the story did not hold, or something failed, with a code and\n" +
			"how to mend it; 2 wrong usage; 130 interrupted.",
		Example: "  escrow-sandbox\n  escrow-sandbox --once\n  escrow-sandbox --vault",
		RunE: func(cmd *cobra.Command, _ []string) error {
			o.Log, o.Progress, o.Behind = io.Discard, cmd.ErrOrStderr(), world.StoryTime
			if logFile != "" {
				f, err := os.OpenFile(logFile, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
				if err != nil {
					return err
				}
				defer f.Close()
				o.Log = f
			}
			return play(cmd.Context(), o, once, cmd.OutOrStdout())
		},
	}
	c.Flags().StringVar(&o.Listen, "listen", "127.0.0.1:0", "loopback address of the service")
	c.Flags().BoolVar(&o.Vault, "vault", false, "use a real Vault instead of the local keyring (built once if missing)")
	c.Flags().BoolVar(&once, "once", false, "exit after the story: 0 only if every step held")
	c.Flags().StringVar(&logFile, "log", "", "file to append the service's log to")
	c.AddCommand(vaultCommand())
	return c
}

// play starts a world, plays the story and, unless once, waits for ctx to end.
func play(ctx context.Context, o world.Options, once bool, out io.Writer) (err error) {
	start := time.Now()
	w, err := world.Start(ctx, programs, o)
	if err != nil {
		return err
	}
	defer func() {
		if cerr := w.Close(); err == nil {
			err = cerr
		}
	}()
	fmt.Fprintf(out, "Penname sandbox: PostgreSQL, an identity provider, two platforms, three custodians (started in %.1f s)\nKey service: %s\n\n",
		time.Since(start).Seconds(), w.KeyService)
	s := world.NewStory(w, out)
	if err := s.Play(ctx); err != nil {
		return err
	}
	fmt.Fprintf(out, "\nThe story's case is %s.\n", s.ID)
	if once {
		fmt.Fprintf(out, "Every step held (%.1f s in all).\n", time.Since(start).Seconds())
		return nil
	}
	if err := s.File(ctx); err != nil { // another warrant, for whoever tries the sandbox next
		return err
	}
	chidi := w.Path("custodians", "chidi")
	fmt.Fprintf(out, `Every step held. The sandbox stays up; stop it with Ctrl-C.
  Penname            %s
  Town Square        %s
  School Forum       %s
  identity providers %s, %s
Three things to try next:
  1. open %s in a browser and sign in as one of the test people
  2. audit the public log yourself:
     go run ./cmd/escrow log audit --bundle %s --server %s
  3. be the custodian Chidi: a second warrant waits. Check it, then approve or refuse it:
     go run ./cmd/escrow custodian review %s --home %s --passphrase-file %s
`, w.Origin, w.Town.Origin, w.School.Origin, w.Identity, w.SecondIdentity, w.Town.Origin, w.Path("bundle.json"), w.Origin, s.ID, chidi, world.PassphraseFile(chidi))
	<-ctx.Done()
	return nil
}

func vaultCommand() *cobra.Command {
	build := &cobra.Command{
		Use: "build", Short: "Build the Vault of the sandbox and the tests, if it is missing; prints where it is",
		Example: "  escrow-sandbox vault build",
		RunE: func(cmd *cobra.Command, _ []string) error {
			binary, err := sandbox.VaultBinary(cmd.Context(), shell.Progress(cmd))
			if err != nil {
				return err
			}
			return shell.Print(cmd.OutOrStdout(), shell.AsJSON(cmd), map[string]string{"binary": binary}, binary)
		},
	}
	c := &cobra.Command{Use: "vault", Short: "Build Vault"}
	c.AddCommand(build)
	return c
}
