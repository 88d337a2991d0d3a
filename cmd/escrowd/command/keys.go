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
	rotate := &cobra.Command{
		Use: "rotate", Short: "Move every record to a new version of the record key, and destroy the older ones",
		Long:    "Moves every record to a new version of the record key while the service runs, and destroys\nthe older versions. Interrupted, it continues where it stopped when it is run again.\nThe keys of pen names and fingerprints never rotate: it would rename everybody.",
		Example: "  escrowd keys rotate --config /etc/penname/escrowd.toml\n  escrowd keys rotate --config /etc/penname/escrowd.toml --json",
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
			return Rotate(cmd.Context(), k, time.Now, shell.AsJSON(cmd), cmd.OutOrStdout(), shell.Progress(cmd))
		},
	}
	rotate.Flags().StringVar(&file, "config", "/etc/penname/escrowd.toml", "the configuration file; its section [keep] is used")
	c := &cobra.Command{Use: "keys", Short: "Rotate the record key"}
	c.AddCommand(rotate)
	return c
}

// Rotate runs a rotation of the record key. It says each step on steps, and the
// result on out.
func Rotate(ctx context.Context, k *service.Keeping, now func() time.Time, asJSON bool, out, steps io.Writer) error {
	start := time.Now()
	keeper := k.Keeper(now, func(r keep.Rotation, step string) {
		fmt.Fprintf(steps, "version %d  %-7s %8d records  %s\n", r.Version, r.State, r.Records, step)
	})
	r, err := keeper.Rotate(ctx)
	if err != nil {
		return err
	}
	return shell.Print(out, asJSON, r, fmt.Sprintf("all records are under version %d, which is the only one that exists: %d moved in %.1f s",
		r.Version, r.Records, time.Since(start).Seconds()))
}
