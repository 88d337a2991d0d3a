package command

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/penname/penname/cmd/shell"
	"github.com/penname/penname/deploy"
	"github.com/penname/penname/escrow/service"
)

func serveCommand() *cobra.Command {
	var file string
	var check, example bool
	var side string
	c := &cobra.Command{
		Use: "serve", Short: "Run the service from its configuration file",
		Long: "Run the service from its configuration file. Certificate, platforms, token keys and secret ids are read\n" +
			"again when their files change, and on SIGHUP; what cannot be used is refused in the log, and what was there\n" +
			"before stays in force. Besides serving, each side does its part of this by itself:\n\n" + jobs(),
		Example: "  escrowd serve --config /etc/penname/escrowd.toml\n  escrowd serve --config /etc/penname/escrowd.toml --check\n  escrowd serve --example-config --side issue",
		RunE: func(cmd *cobra.Command, _ []string) error {
			if side != "" && !example {
				return shell.UsageError("--side is for --example-config: a process runs the sides that its configuration has")
			}
			if example {
				return sayExample(cmd, side)
			}
			hangup := make(chan os.Signal, 1)
			signal.Notify(hangup, syscall.SIGHUP) // from the first moment on: it would end the process
			defer signal.Stop(hangup)
			c, err := service.ReadConfig(file)
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
				if err := errors.Join(c.CheckAddress(cmd.Context(), s.Certificate), s.Check(cmd.Context())); err != nil {
					return err
				}
				lifetimes := s.Lifetimes()
				return say(cmd, map[string]any{"holds": true, "lifetimes": lifetimes},
					"the configuration holds: certificate, address, bundle, and what else of database, Vault and identity provider this process needs answer as they must%s", ends(lifetimes))
			}
			ln, err := service.Listen(c.Listen)
			if err != nil {
				return err
			}
			s.Log.Info("serving", slog.String("origin", c.Origin), slog.String("address", ln.Addr().String()))
			return s.Run(cmd.Context(), ln, service.Machine{Hangup: hangup, Tell: tellSystemd})
		},
	}
	c.Flags().StringVar(&file, "config", "/etc/penname/escrowd.toml", "the configuration file")
	c.Flags().BoolVar(&check, "check", false, "check everything that a start checks, and what serving will need, say what ends when, and stop")
	c.Flags().BoolVar(&example, "example-config", false, "print a complete configuration with comments, and stop")
	c.Flags().StringVar(&side, "side", "", "of the example only what a machine of this side needs: "+strings.Join(configSides, ", "))
	return c
}

// configSides are the sections of the configuration that are a side each.
var configSides = []string{"issue", "disclose", "keep"}

// sayExample prints the complete configuration, or that of one side.
func sayExample(cmd *cobra.Command, side string) error {
	if side != "" && !slices.Contains(configSides, side) {
		return shell.UsageError("--side is one of %s", strings.Join(configSides, ", "))
	}
	text := exampleConfig(side)
	return say(cmd, map[string]string{"config": text}, "%s", text)
}

// exampleConfig leaves of the complete configuration the sections of one side and what
// all have in common. Comments without a section belong to the section above.
func exampleConfig(side string) string {
	if side == "" {
		return deploy.ExampleConfig
	}
	var kept []string
	in := side // what is above all sections
	for part := range strings.SplitSeq(deploy.ExampleConfig, "\n\n") {
		for line := range strings.Lines(part) {
			if strings.HasPrefix(line, "[") {
				in = strings.Trim(line, "[\n")
				break
			}
		}
		if name, _, _ := strings.Cut(strings.TrimLeft(in, "["), "]"); name == side || strings.HasPrefix(name, side+".") {
			kept = append(kept, part)
		}
	}
	return strings.TrimSpace(strings.Join(kept, "\n\n")) + "\n"
}

// ends is what ends when, one line each.
func ends(lifetimes []service.Lifetime) string {
	var text strings.Builder
	for _, l := range lifetimes {
		fmt.Fprintf(&text, "\n%s: until %s, %.0f days", l.What, l.Ends.UTC().Format(time.DateOnly), l.DaysLeft(time.Now()))
	}
	return text.String()
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
