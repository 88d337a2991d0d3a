package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/cobra"

	escrow "github.com/penname/penname/cmd/escrow/command"
	"github.com/penname/penname/escrow/sandbox/world"
	"github.com/penname/penname/policy"
	"github.com/penname/penname/verifier/refusal"
)

// TestExitCodes: what the sandbox says to whoever calls it wrongly: one line, and
// a code that a script can trust.
func TestExitCodes(t *testing.T) {
	for _, c := range []struct {
		args string
		code int
		says string
	}{
		{"nosuch", 2, `there is no command "escrow-sandbox nosuch": escrow-sandbox --help explains cluster, completion, vault`},
		{"--onc", 2, "unknown flag: --onc: escrow-sandbox --help lists the flags"},
		{"vault", 2, "say which: escrow-sandbox vault --help explains build"},
		{"vault nosuch", 2, `there is no command "escrow-sandbox vault nosuch"`},
		{"vault build now", 2, "the usage is escrow-sandbox vault build [flags]; for example: escrow-sandbox vault build"},
		{"completion nosuch", 2, "bash, fish, powershell, zsh"},
		{"help nosuch", 2, `there is no command "escrow-sandbox nosuch"`},
		{"--listen 0.0.0.0:1", 1, "sandbox.not_loopback: "},
		{"--log /none/log", 1, "file.unwritable: "}, {"--log /none/log", 1, "/none/log"},
		{"--help", 0, ""}, {"--version", 0, ""}, {"vault build --help", 0, ""}, {"completion bash", 0, ""},
	} {
		for _, asJSON := range []bool{false, true} {
			args := strings.Fields(c.args)
			if asJSON {
				args = append(args, "--json")
			}
			var out, errs bytes.Buffer
			code := run(t.Context(), args, &out, &errs)
			said := errs.String()
			if code != c.code || (code == 0) != (said == "") || (code != 0) != (out.Len() == 0) {
				t.Errorf("%v: exit code %d, not %d; %q on standard output, %q on standard error", args, code, c.code, out.String(), said)
				continue
			}
			if code != 0 && asJSON {
				var p struct{ Code, Title, Cause string }
				if err := json.Unmarshal(errs.Bytes(), &p); err != nil || p.Code == "" || p.Title == "" {
					t.Errorf("%v: no JSON: %s", args, said)
				}
				said = "escrow-sandbox: " + p.Code + ": " + p.Title + " (" + p.Cause + ")\n"
			}
			if code != 0 && (strings.Count(said, "\n") != 1 || !strings.Contains(said, c.says)) {
				t.Errorf("%v: %s is not one line that says %q", args, said, c.says)
			}
		}
	}
}

// TestHelp: every command says what it does and shows an example of its own.
func TestHelp(t *testing.T) {
	left := []*cobra.Command{newRoot()}
	for ; len(left) > 0; left = left[1:] {
		c := left[0]
		if c.Name() == "completion" {
			continue // cobra's own
		}
		if left = append(left, c.Commands()...); c.Short == "" || c.Runnable() && !strings.HasPrefix(c.Example, "  "+c.CommandPath()) {
			t.Errorf("%s: no short text, or no example of its own", c.CommandPath())
		}
	}
}

// TestStory plays what `make demo` plays.
func TestStory(t *testing.T) {
	for name, vault := range map[string]bool{"keyring": false, "vault": true} {
		t.Run(name, func(t *testing.T) {
			logs := &syncBuffer{}
			tb, err := world.Start(t.Context(), programs, world.Options{Listen: "127.0.0.1:0", Vault: vault, Log: logs, Progress: os.Stderr})
			if err != nil {
				t.Fatal(err)
			}
			defer func() {
				if err := tb.Close(); err != nil {
					t.Error(err)
				}
			}()
			var out strings.Builder
			if err := world.NewStory(tb, &out).Play(t.Context()); err != nil {
				t.Fatalf("%v\n%s", err, out.String())
			}
			for _, secret := range canaries() {
				if strings.Contains(out.String()+logs.String(), secret) {
					t.Error("an identity was printed or logged")
				}
			}
		})
	}
}

// TestThreeThingsToTry: what the sandbox says to try next works as it stands
// there, with the program that it names and this machine's clock.
func TestThreeThingsToTry(t *testing.T) {
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	out, w := io.Pipe()
	done := make(chan int, 1)
	go func() {
		done <- run(ctx, nil, w, os.Stderr)
		w.Close()
	}()
	lines, tried := bufio.NewScanner(out), 0
	for tried < 2 && lines.Scan() {
		line, ok := strings.CutPrefix(strings.TrimSpace(lines.Text()), "go run ./cmd/escrow ")
		if !ok {
			continue
		}
		tried++
		var said bytes.Buffer
		env := escrow.System()
		env.Stdout, env.Stderr = &said, &said
		if code := escrow.Run(ctx, strings.Fields(line), env); code != 0 {
			t.Errorf("%s: exit code %d: %s", line, code, said.String())
		}
	}
	stop()
	go io.Copy(io.Discard, out) //nolint:errcheck // ends with the sandbox
	if code := <-done; code != 0 || tried != 2 {
		t.Errorf("exit code %d, and %d things to try", code, tried)
	}
}

// TestX02WeakThresholdRefused: one custodian alone must never be enough.
func TestX02WeakThresholdRefused(t *testing.T) {
	tb := startForTest(t)
	raw, err := os.ReadFile(tb.Path("bundle.json"))
	if err != nil {
		t.Fatal(err)
	}
	for _, threshold := range []int{-1, 0, 1, len(world.Custodians) + 1} {
		var b policy.Bundle
		if err := json.Unmarshal(raw, &b); err != nil {
			t.Fatal(err)
		}
		b.Threshold = threshold
		if _, err := b.Marshal(); !policy.ErrBundleThreshold.Is(refusalOf(err)) {
			t.Errorf("threshold %d: got %v", threshold, err)
		}
	}
}

// TestX10SandboxOnlyOnLoopback: neither the keyring nor the test people are
// ever served to anybody else.
func TestX10SandboxOnlyOnLoopback(t *testing.T) {
	for _, address := range []string{"0.0.0.0:0", ":0", "[::]:0", "192.0.2.1:0", "example.org:0", "localhost.example:0"} {
		tb, err := world.Start(t.Context(), programs, world.Options{Listen: address, Log: &syncBuffer{}})
		if err == nil {
			tb.Close() //nolint:errcheck // it failed already
			t.Errorf("%s: the sandbox started", address)
		}
		if e := refusal.Of(err); e == nil || !strings.HasPrefix(e.Code, "sandbox.") {
			t.Errorf("%s: got %v", address, err)
		}
	}
}

func startForTest(t testing.TB) *world.World {
	t.Helper()
	tb, err := world.Start(t.Context(), programs, world.Options{Listen: "127.0.0.1:0", Log: &syncBuffer{}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := tb.Close(); err != nil {
			t.Error(err)
		}
	})
	return tb
}

func write(t *testing.T, name, content string, mode os.FileMode) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(file, []byte(content), mode); err != nil {
		t.Fatal(err)
	}
	return file
}

// refusalOf is refusal.Of with a type that Is accepts.
func refusalOf(err error) error {
	if e := refusal.Of(err); e != nil {
		return e
	}
	return nil
}
