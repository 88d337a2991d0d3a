// Command escrow-sandbox is a complete Penname on this machine, on loopback
// only, with everybody around it: it plays the story against itself and stays
// up, to be tried.
//
//	escrow-sandbox              starts it and plays the story
//	escrow-sandbox --once       exits after the story: 0 only if every step held
//	escrow-sandbox --platform id=my-app,redirect=http://localhost:3000/callback
//	                            serves a client of your own
//	escrow-sandbox cluster      the same on a cluster of real programs
//	escrow-sandbox vault build  builds the Vault of the sandbox and the tests
package main

import (
	"context"
	"errors"
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
	"github.com/penname/penname/escrow/secretfile"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGQUIT)
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
		env.Ask = agrees
		return escrow.Run(ctx, args, env)
	},
	Escrowd: escrowd.Run,
}

// agrees is a person of the story: a custodian who says yes to whatever they are asked.
func agrees(_ context.Context, question string) (string, error) {
	if strings.HasPrefix(question, "One of ") { // asked again, because it was no answer
		return "", errors.New("yes is no answer to what was asked")
	}
	return "yes", nil
}

func newRoot() *cobra.Command {
	var o world.Options
	var once bool
	var logFile string
	var platforms []string
	c := &cobra.Command{
		Use: "escrow-sandbox", Short: "A complete Penname on loopback, with everybody around it",
		Long: "escrow-sandbox starts a complete Penname on loopback, with test people, two platforms,\n" +
			"a court and three custodians, plays the story against it and stays up, to be tried.\n\n" +
			"With --platform it serves a client of your own, without the story, and says which client id, secret and\n" +
			"issuer to give to it, and whom to sign in as. Its redirect URI may be http://localhost, which no other\n" +
			"Penname accepts. With --keep its world stays in a folder: started again with that folder it is at the\n" +
			"same addresses, with the same clients, people, pen names and cases; what the two demo platforms showed is\n" +
			"gone. What escrowd platform changed of a client stays, until its --platform is another than before. With --json\n" +
			"one object says all that when it is ready.\n\n" +
			"Without --keep nothing stays. If it is killed (SIGKILL), its folders of PostgreSQL and Vault go some seconds later,\n" +
			"the one with its keys when the next sandbox starts.\n\n" +
			"Exit codes: 0 done, also when Ctrl-C or SIGTERM ends it once it is up; 1 a step of the story did not hold,\n" +
			"or something failed, with a code and how to mend it; 2 wrong usage; 130 interrupted before it was up.",
		Example: "  escrow-sandbox\n  escrow-sandbox --once\n  escrow-sandbox --vault\n" +
			"  escrow-sandbox --platform id=my-app,redirect=http://localhost:3000/callback --listen 127.0.0.1:8080 --keep my-sandbox",
		RunE: func(cmd *cobra.Command, _ []string) error {
			var err error
			if o.Clients, err = readClients(platforms); err != nil {
				return err
			}
			if once && (len(platforms) > 0 || o.Keep != "") {
				return shell.UsageError("--once plays the story and ends: --platform and --keep are for a sandbox that stays")
			}
			o.Log, o.Progress = io.Discard, cmd.ErrOrStderr()
			if len(platforms) == 0 {
				o.Behind = world.StoryTime
			}
			if logFile != "" {
				f, err := os.OpenFile(logFile, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
				if err != nil {
					return secretfile.ErrUnwritable.Because(err)
				}
				defer f.Close()
				o.Log = f
			}
			return play(cmd, o, once)
		},
	}
	c.Flags().StringVar(&o.Listen, "listen", "localhost:0", "loopback address of the service; by the name localhost a browser can have passkeys there")
	c.Flags().BoolVar(&o.Vault, "vault", false, "use a real Vault instead of the local keyring (built once if missing)")
	c.Flags().BoolVar(&once, "once", false, "exit after the story: 0 only if every step held")
	c.Flags().StringArrayVar(&platforms, "platform", nil, "serve a client of yours: id=,redirect= (again for each further redirect URI), and if you like name=, native=true (an app, which keeps no secret), id_token_alg=EdDSA (else RS256), logout= (where it is told who signed out), post_logout= (where people come back to after a logout), username=true (it may ask for a short name) and email=true (and for an address that nobody can write to); give it again for another client. What it lacks has escrowd platform add")
	c.Flags().StringVar(&o.Keep, "keep", "", "folder that keeps its world between runs")
	c.Flags().StringVar(&logFile, "log", "", "file to append the service's log to")
	c.AddCommand(vaultCommand(), clusterCommand())
	return c
}

// play starts a world, plays the story in one that has none yet and nobody's client and,
// unless once, waits for the command to be ended.
func play(cmd *cobra.Command, o world.Options, once bool) (err error) {
	ctx, out, start := cmd.Context(), cmd.OutOrStdout(), time.Now()
	w, err := world.Start(ctx, programs, o)
	if err != nil {
		return err
	}
	defer func() {
		if cerr := w.Close(); err == nil {
			err = cerr
		}
	}()
	told := out
	if shell.AsJSON(cmd) {
		told = io.Discard
	}
	began := "started"
	if w.Resumed {
		began = "resumed"
	}
	fmt.Fprintf(told, "Penname sandbox: PostgreSQL, an identity provider, two platforms, three custodians (%s in %.1f s)\nKey service: %s\n\n",
		began, time.Since(start).Seconds(), w.KeyService)
	if len(o.Clients) == 0 && !w.Resumed {
		s := world.NewStory(w, told)
		if err := s.Play(ctx); err != nil {
			return err
		}
		fmt.Fprintf(told, "\nThe story's case is %s.\n", s.ID)
		if once {
			fmt.Fprintf(told, "Every step held (%.1f s in all).\n", time.Since(start).Seconds())
			return nil
		}
		fmt.Fprintln(told, "Every step held.")
		if err := s.File(ctx); err != nil { // another warrant, for whoever tries the sandbox next
			return err
		}
		if err := w.KeepCase(s.ID); err != nil {
			return err
		}
	}
	if shell.AsJSON(cmd) {
		err = shell.Print(out, true, readyOf(w), "")
	} else {
		tell(out, w)
	}
	<-ctx.Done()
	return err
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
