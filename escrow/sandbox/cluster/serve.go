package cluster

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"syscall"
)

// Config is the configuration of a node of escrowd.
func (n *Node) Config() string { return filepath.Join(n.Dir, "escrowd.toml") }

// Serve starts the processes of escrowd, two of each kind, and returns when they are
// ready. config returns what each runs with, in TOML, but for where it listens, its
// certificate and the proxies.
func (c *Cluster) Serve(ctx context.Context, config func(*Node) (string, error)) error {
	program, err := c.escrowd(ctx)
	if err != nil {
		return err
	}
	proxy := c.Node("haproxy")
	for _, n := range c.nodes {
		if !n.Kind.service() {
			continue
		}
		text, err := config(n)
		if err != nil {
			return fmt.Errorf("%s: %w", n.Name, err)
		}
		text = fmt.Sprintf("listen = %q\nmetrics_listen = %q\ntls_cert = %q\ntls_key = %q\ntrusted_proxies = [%q, \"127.0.0.1\"]\n",
			n.Address, n.second, filepath.Join(c.Dir, "cluster.crt"), filepath.Join(n.Dir, "cluster.key"), proxy.host) + text
		if err := os.WriteFile(n.Config(), []byte(text), 0o600); err != nil {
			return err
		}
		n.command = func() (*exec.Cmd, error) {
			cmd := exec.Command(program, "serve", "--config", n.Config())
			cmd.Env, cmd.SysProcAttr = []string{"HOME=" + n.Dir, "PATH=/usr/bin:/bin", "GOTRACEBACK=crash"}, &syscall.SysProcAttr{}
			return cmd, nil
		}
		n.up = func(ctx context.Context) error { return c.answers(ctx, "https://"+n.Address+"/readyz") }
	}
	if err := c.each(ctx, Disclosing); err != nil { // whose log the others follow
		return err
	}
	if err := c.each(ctx, Issuing, Keeping); err != nil {
		return err
	}
	return c.Ready(ctx)
}

// escrowd returns the program: the one of the options, else beside this one, else built
// from the checkout that this program was built in.
func (c *Cluster) escrowd(ctx context.Context) (string, error) {
	if c.o.Escrowd != "" {
		return c.o.Escrowd, nil
	}
	if self, err := os.Executable(); err == nil {
		beside := filepath.Join(filepath.Dir(self), "escrowd")
		if _, err := os.Stat(beside); err == nil {
			return beside, nil
		}
	}
	_, file, _, _ := runtime.Caller(0)
	built := filepath.Join(c.Dir, "escrowd")
	cmd := exec.CommandContext(ctx, "go", "build", "-o", built, "./cmd/escrowd")
	cmd.Dir = filepath.Join(filepath.Dir(file), "..", "..", "..")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", ErrMissing.Because(errors.Join(err, errors.New("escrowd: "+string(out))))
	}
	return built, nil
}
