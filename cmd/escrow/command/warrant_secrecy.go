package command

import (
	"context"
	"time"

	"github.com/spf13/cobra"

	"github.com/penname/penname/cmd/shell"
	"github.com/penname/penname/policy"
)

func warrantSecrecy(p *program) *cobra.Command {
	var f followUp
	var until string
	var lift bool
	c := leaf("secrecy WARRANT", "Sign that the secrecy of a warrant of your own ends on another day, or now; file that like any warrant",
		"escrow warrant secrecy warrant.jws --until 2027-03-01 --grounds 'The search is in February.' --key court.jwk --bundle bundle.json --out longer.jws",
		cobra.ExactArgs(1), func(_ context.Context, args []string) error {
			change, err := f.secrecy(until, lift, p.Now())
			if err != nil {
				return err
			}
			return f.run(p, policy.SecrecyChange, args[0], change)
		})
	c.Long = "Signs that the secrecy of an earlier warrant ends on another day: later, within the bundle's\n" +
		"max_secrecy_days of the day on which that warrant was issued, or now, with --lift. The persons\n" +
		"concerned are told when it ends. What they have been told cannot be made secret again."
	f.add(c, "it ends then")
	c.Flags().StringVar(&until, "until", "", "day on which secrecy ends, YYYY-MM-DD (UTC)")
	c.Flags().BoolVar(&lift, "lift", false, "secrecy ends now")
	return c
}

// secrecy has secrecy end on a day, YYYY-MM-DD (UTC), or with lift now.
func (f *followUp) secrecy(until string, lift bool, now time.Time) (func(w *policy.Warrant), error) {
	ends := now.UTC().Truncate(time.Second)
	if lift == (until != "") {
		return nil, shell.UsageError("say when secrecy ends, with --until or with --lift")
	}
	if !lift {
		var err error
		if ends, err = time.Parse(time.DateOnly, until); err != nil {
			return nil, shell.UsageError("--until takes a day, for example 2027-03-01")
		}
		if !ends.After(now) {
			return nil, shell.UsageError("that day is past, and secrecy that is over cannot come back; to end it now, use --lift")
		}
	}
	return func(w *policy.Warrant) { w.Secrecy = policy.Secrecy{Ends: ends, Reason: f.grounds} }, nil
}
