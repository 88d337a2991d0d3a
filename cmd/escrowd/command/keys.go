package command

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"github.com/penname/penname/cmd/shell"
	"github.com/penname/penname/escrow/keep"
	"github.com/penname/penname/escrow/service"
)

func keysCommand() *cobra.Command {
	var file string
	var resume bool
	rotate := &cobra.Command{
		Use: "rotate", Short: "Move every record to new versions of the record keys, and destroy the older ones",
		Long:    "Moves the records of each group to a new version of its key while the service runs, and\ndestroys the older versions. It writes all these rotations down before the first: interrupted,\nthe service ends them within the hour, as does --resume.\nThe keys of pen names and fingerprints never rotate: it would rename everybody.",
		Example: "  escrowd keys rotate --config /etc/penname/escrowd.toml\n  escrowd keys rotate --config /etc/penname/escrowd.toml --resume --json",
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := service.ReadConfig(file)
			if err != nil {
				return err
			}
			k, err := c.OpenKeeping(cmd.Context())
			if err != nil {
				return err
			}
			defer k.Store.Close()
			return Rotate(cmd.Context(), k, time.Now, resume, shell.AsJSON(cmd), cmd.OutOrStdout(), shell.Progress(cmd))
		},
	}
	rotate.Flags().StringVar(&file, "config", "/etc/penname/escrowd.toml", "the configuration file; its section [keep] is used")
	rotate.Flags().BoolVar(&resume, "resume", false, "end the rotations that were interrupted, and begin none")
	c := &cobra.Command{Use: "keys", Short: "Rotate the record keys"}
	c.AddCommand(rotate)
	return c
}

// Rotate rotates all record keys, or ends what was interrupted of it. It says each step on
// steps, and the result on out.
func Rotate(ctx context.Context, k *service.Keeping, now func() time.Time, resume, asJSON bool, out, steps io.Writer) error {
	start := time.Now()
	keeper := k.Keeper(now, func(r keep.Rotation, step string) {
		if r.State != keep.Done && r.Records <= keep.GroupSize {
			return // of most groups the end is enough
		}
		fmt.Fprintf(steps, "group %d  version %d  %-7s %8d records  %s\n", r.Group, r.Version, r.State, r.Records, step)
	})
	work := keeper.Rotate
	if resume {
		work = keeper.Resume
	}
	all, err := work(ctx)
	if err != nil {
		return err
	}
	left := ""
	if all.Running > 0 {
		left = fmt.Sprintf("; the service is moving %d more at this moment: run it again with --resume to see that none is left", all.Running)
	}
	return shell.Print(out, asJSON, all, fmt.Sprintf("the records of %d groups are under new versions, the only ones of their keys that exist: %d moved in %.1f s%s",
		all.Groups, all.Records, time.Since(start).Seconds(), left))
}
