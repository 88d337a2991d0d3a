package command

import (
	"crypto/tls"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/penname/penname/cmd/shell"
	"github.com/penname/penname/deploy"
	"github.com/penname/penname/escrow/secretfile"
	"github.com/penname/penname/escrow/service"
)

func serveCommand() *cobra.Command {
	var file string
	var check, example bool
	var side string
	c := &cobra.Command{
		Use: "serve", Short: "Run the service from its configuration file",
		Long: "Run the service from its configuration file. Certificate, token keys and secret ids are read again\n" +
			"when their files change, and on SIGHUP; what cannot be used is refused in the log, and what was there\n" +
			"before stays in force. Besides serving, each side does its part of this by itself:\n\n" + jobs(),
		Example: "  escrowd serve --config /etc/penname/escrowd.toml\n  escrowd serve --config /etc/penname/escrowd.toml --check\n  escrowd serve --example-config --side issue",
		RunE: func(cmd *cobra.Command, _ []string) error {
			if side != "" && !example {
				return shell.UsageError("--side is for --example-config: a process runs the sides that its configuration has")
			}
			if example {
				return sayExample(cmd, side)
			}
			if check {
				all := service.Check(cmd.Context(), file)
				return errors.Join(say(cmd, all, "%s", lines(all)), service.Faults(all))
			}
			hangup := make(chan os.Signal, 1)
			signal.Notify(hangup, syscall.SIGHUP) // from the first moment on: it would end the process
			defer signal.Stop(hangup)
			return serve(cmd, file, hangup)
		},
	}
	c.Flags().StringVar(&file, "config", "/etc/penname/escrowd.toml", "the configuration file")
	c.Flags().BoolVar(&check, "check", false, "try all that serving will need, say of each part in one line how it is and how to mend it, and stop; exit code 1 if there is a fault")
	c.Flags().BoolVar(&example, "example-config", false, "print a complete configuration with comments, and stop")
	c.Flags().StringVar(&side, "side", "", "of the example only what a machine of this side needs: "+strings.Join(configSides, ", "))
	return c
}

func serve(cmd *cobra.Command, file string, hangup <-chan os.Signal) error {
	c, err := service.ReadConfig(file)
	if err != nil {
		return err
	}
	if c.Issue != nil {
		if err := service.OverwriteFreed(); err != nil {
			return err
		}
	}
	s, err := c.Open(cmd.Context(), cmd.ErrOrStderr())
	if err != nil {
		return err
	}
	defer s.Close()
	ln, err := c.Listener()
	if err != nil {
		return err
	}
	return s.Run(cmd.Context(), ln, service.Machine{Hangup: hangup, Tell: tellSystemd})
}

func statusCommand() *cobra.Command {
	var file, cert, key string
	c := &cobra.Command{
		Use: "status", Short: "Say how a running service is",
		Long: "Say how a running service is: each part in one line, what ends when, and since when it runs. It is asked at\n" +
			"metrics_listen of its configuration, on its own machine. Exit code 1 if a part has a fault, or nobody answers.",
		Example: "  escrowd status --config /etc/penname/escrowd.toml",
		RunE: func(cmd *cobra.Command, _ []string) error {
			if (cert == "") != (key == "") {
				return shell.UsageError("--client-cert and --client-key go together: a certificate and its key, both in PEM")
			}
			c, err := service.ReadConfig(file)
			if err != nil {
				return err
			}
			var client []tls.Certificate
			if cert != "" {
				pair, err := readPair(cert, key)
				if err != nil {
					return err
				}
				client = append(client, pair)
			}
			s, err := c.Status(cmd.Context(), client...)
			if err != nil {
				return err
			}
			return errors.Join(say(cmd, s, "%s", s), service.Faults(s.Parts))
		},
	}
	c.Flags().StringVar(&file, "config", "/etc/penname/escrowd.toml", "the configuration file of the service")
	c.Flags().StringVar(&cert, "client-cert", "", "certificate, PEM, of who asks, where metrics_client_ca_file is set")
	c.Flags().StringVar(&key, "client-key", "", "its key")
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

// readPair reads a certificate and its key.
func readPair(cert, key string) (pair tls.Certificate, err error) {
	chain, err := shell.ReadFile(cert)
	if err != nil {
		return pair, err
	}
	secret, err := secretfile.ReadText(key)
	if err != nil {
		return pair, err
	}
	if pair, err = tls.X509KeyPair(chain, []byte(secret)); err != nil { // which could quote the key
		err = shell.UsageError("--client-cert and --client-key should name a certificate and its key, both in PEM")
	}
	return pair, err
}

// lines are findings, one line each.
func lines(all []service.Finding) string {
	var text strings.Builder
	for _, f := range all {
		fmt.Fprintln(&text, f)
	}
	return text.String()
}

// jobs is what the service does by itself, one line each.
func jobs() string {
	var text strings.Builder
	for _, j := range service.Jobs {
		every := strings.NewReplacer("h0m0s", "h", "m0s", "m").Replace(j.Every.String())
		fmt.Fprintf(&text, "  %-9s every %s: %s\n", j.Name, every, j.What)
	}
	return text.String()
}
