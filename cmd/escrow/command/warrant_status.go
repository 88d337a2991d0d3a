package command

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/penname/penname/cmd/shell"
	"github.com/penname/penname/escrow/custodian"
	"github.com/penname/penname/escrow/registrar"
	"github.com/penname/penname/verifier/document"
	"github.com/penname/penname/verifier/refusal"
)

var errEndedOtherwise = refusal.New(refusal.Conflict, "warrant.ended_otherwise",
	"the case has ended, and not in the state that --until waits for: the last line says how it ended")

// watch are the flags of a status that is followed.
type watch struct {
	on    bool
	until string
	every time.Duration
}

func warrantStatus(p *program) *cobra.Command {
	var f watch
	var by signer
	var revocation []string
	c := leaf("status CASE", "Say where a case and each of its targets stands, and until when what is to be done", "escrow warrant status CASE --server https://penname.example",
		cobra.ExactArgs(1), func(ctx context.Context, args []string) error {
			if f.until != "" && !slices.Contains(registrar.CaseStates, f.until) {
				return shell.UsageError("--until takes a state: %s", strings.Join(registrar.CaseStates, ", "))
			}
			if f.every <= 0 || !f.on && f.until != "" {
				return shell.UsageError("--until and --every go with --watch, and --every is longer than nothing")
			}
			r, err := p.registrar()
			if err != nil {
				return err
			}
			if f.on {
				return p.watch(ctx, r, args[0], f)
			}
			st, err := r.Status(ctx, args[0])
			if err != nil {
				return err
			}
			all, err := withExhibits(ctx, r, st)
			if err != nil {
				return err
			}
			if !by.given() {
				return p.print(all, all.at(p.Now()))
			}
			said, err := p.statementsFor(ctx, args[0], by, revocation)
			if err != nil {
				return err
			}
			var text strings.Builder
			for _, s := range said {
				text.WriteString("\n" + strings.TrimSuffix(s.String(), "\n"))
			}
			return p.print(struct {
				caseStatus
				Said []custodian.Said `json:"said"`
			}{all, said}, all.at(p.Now())+text.String())
		})
	c.Long = "Says where a case stands. With --watch it goes on until the case ends, or has come to the state of\n" +
		"--until, and prints a line for each change; a registrar that is away for a while is asked again.\n" +
		"Exit codes with --watch: 0 the case has ended, or has come to that state; 1 it has ended in another,\n" +
		"or there is no such case; 130 interrupted. The states: " + strings.Join(registrar.CaseStates, ", ") + "."
	by.add(c, "key", "the court's secret signing key, which shows what custodians ask and say to the court as well")
	addRevocation(c, &revocation)
	c.Flags().BoolVar(&f.on, "watch", false, "go on until the case ends, and print a line for each change")
	c.Flags().StringVar(&f.until, "until", "", "with --watch: end when the case has come to this state")
	c.Flags().DurationVar(&f.every, "every", 15*time.Second, "with --watch: how long to wait before asking again")
	return c
}

// watch prints a line for each change of a case, until it ends.
func (p *program) watch(ctx context.Context, r *registrar.Client, id string, f watch) error {
	before, away := "", false
	for {
		st, err := r.Status(ctx, id)
		switch said := (*registrar.Problem)(nil); {
		case ctx.Err() != nil:
			return ctx.Err()
		case errors.Is(err, registrar.ErrUnreachable), errors.As(err, &said) && said.Status >= 500, said != nil && said.Status == 429:
			if !away {
				p.progress("the registrar does not answer: it is asked again every %s\n", f.every)
			}
			away = true
		case err != nil:
			return err
		default:
			if away {
				p.progress("the registrar answers again\n")
			}
			away = false
			if line := st.Line(); line != before {
				before = line
				if err := p.printLine(st, document.Printable(p.Now().UTC().Format("2006-01-02 15:04:05 UTC")+"  "+line)); err != nil {
					return err
				}
			}
			switch {
			case st.State == f.until:
				return nil
			case st.Over() && f.until != "":
				return errEndedOtherwise
			case st.Over():
				return nil
			}
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(f.every):
		}
	}
}
