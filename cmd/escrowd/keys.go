package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"github.com/penname/penname/cmd/shell"
	"github.com/penname/penname/escrow/keep"
	"github.com/penname/penname/escrow/postgres"
	"github.com/penname/penname/escrow/vault"
)

func (c *keepConfig) open(ctx context.Context) (_ *keepingSide, err error) {
	k := &keepingSide{}
	if k.keys, err = vault.OpenKeeping(ctx, c.Vault.config()); err != nil {
		return nil, err
	}
	dsn, err := readSecret(c.Database)
	if err != nil {
		return nil, err
	}
	k.store, err = postgres.OpenKeeping(ctx, dsn, postgres.Options{})
	if err != nil {
		return nil, err
	}
	return k, nil
}

func keysCommand() *cobra.Command {
	var file string
	rotate := &cobra.Command{
		Use: "rotate", Short: "Move every record to a new version of the record key, and destroy the older ones",
		Long:    "Moves every record to a new version of the record key while the service runs, and destroys\nthe older versions. Interrupted, it continues where it stopped when it is run again.\nThe keys of pen names and fingerprints never rotate: it would rename everybody.",
		Example: "  escrowd keys rotate --config /etc/penname/escrowd.toml\n  escrowd keys rotate --config /etc/penname/escrowd.toml --json",
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := readConfig(file)
			if err != nil {
				return err
			}
			if c.Keep == nil {
				return errConfigMissing.Because(errors.New("[keep]"))
			}
			k, err := c.Keep.open(cmd.Context())
			if err != nil {
				return err
			}
			defer k.store.Close()
			return rotate(cmd.Context(), k, time.Now, shell.AsJSON(cmd), cmd.OutOrStdout(), progress(cmd))
		},
	}
	rotate.Flags().StringVar(&file, "config", "/etc/penname/escrowd.toml", "the configuration file; its section [keep] is used")
	c := &cobra.Command{Use: "keys", Short: "Rotate the record key"}
	c.AddCommand(rotate)
	return c
}

// rotate runs a rotation. It says each step on steps, and the result on out.
func rotate(ctx context.Context, k *keepingSide, now func() time.Time, asJSON bool, out, steps io.Writer) error {
	start := time.Now()
	keeper := &keep.Keeper{Keys: k.keys, Past: k.store, Rotations: k.store, Erasures: k.store, Now: now, Progress: func(r keep.Rotation, step string) {
		fmt.Fprintf(steps, "version %d  %-7s %8d records  %s\n", r.Version, r.State, r.Records, step)
	}}
	r, err := keeper.Rotate(ctx)
	if err != nil {
		return err
	}
	return shell.Print(out, asJSON, r, fmt.Sprintf("all records are under version %d, which is the only one that exists: %d moved in %.1f s",
		r.Version, r.Records, time.Since(start).Seconds()))
}
