package command

import (
	"errors"
	"fmt"
	"log/slog"
	"strings"

	"github.com/spf13/cobra"

	"github.com/penname/penname/escrow/service"
)

func serveCommand() *cobra.Command {
	var file string
	var check bool
	c := &cobra.Command{
		Use: "serve", Short: "Run the service from its configuration file",
		Long:    "Run the service from its configuration file. Besides serving, each side does its part of this by itself:\n\n" + jobs(),
		Example: "  escrowd serve --config /etc/penname/escrowd.toml\n  escrowd serve --config /etc/penname/escrowd.toml --check",
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := service.ReadConfig(file)
			if err != nil {
				return err
			}
			certificate, err := c.Certificate()
			if err != nil {
				return err
			}
			if c.Issue != nil && !check {
				if err := service.OverwriteFreed(); err != nil {
					return err
				}
			}
			s, err := c.Open(cmd.Context(), cmd.ErrOrStderr())
			if err != nil {
				return err
			}
			defer s.Close()
			if check {
				if err := errors.Join(c.CheckAddress(cmd.Context(), certificate), s.Check(cmd.Context())); err != nil {
					return err
				}
				return say(cmd, map[string]bool{"holds": true}, "the configuration holds: certificate, address, bundle, and what else of database, Vault and identity provider this process needs answer as they must")
			}
			ln, err := service.Listen(c.Listen)
			if err != nil {
				return err
			}
			s.Log.Info("serving", slog.String("origin", c.Origin), slog.String("address", ln.Addr().String()))
			return s.Run(cmd.Context(), ln, certificate)
		},
	}
	c.Flags().StringVar(&file, "config", "/etc/penname/escrowd.toml", "the configuration file")
	c.Flags().BoolVar(&check, "check", false, "check everything that a start checks, and what serving will need, and stop; spends a wrapped secret id")
	return c
}

// jobs is what the service does by itself, one line each.
func jobs() string {
	var text strings.Builder
	for _, j := range service.Jobs {
		every := strings.TrimSuffix(strings.TrimSuffix(j.Every.String(), "0s"), "0m")
		fmt.Fprintf(&text, "  %-9s every %s: %s\n", j.Name, every, j.What)
	}
	return text.String()
}
