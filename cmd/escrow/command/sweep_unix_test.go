//go:build unix

package command

import (
	"bufio"
	"context"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestADeskCleansUp: whatever signal ends a desk, also a terminal that is closed, which sends it
// twice, nothing of it stays behind; one that was started not to mind a closed terminal goes on.
func TestADeskCleansUp(t *testing.T) {
	program := filepath.Join(t.TempDir(), "escrow")
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-o", program, "..").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	home := newHome(t, "alba")
	caught := make(chan os.Signal, 1) // what is caught here is at its default there, also if a nohup runs this
	signal.Notify(caught, syscall.SIGHUP)
	defer signal.Stop(caught)
	for _, c := range []struct {
		name, start string
		signals     []syscall.Signal
	}{
		{"Ctrl-C", "", []syscall.Signal{syscall.SIGINT}},
		{"TERM", "", []syscall.Signal{syscall.SIGTERM}},
		{"a closed terminal", "", []syscall.Signal{syscall.SIGHUP, syscall.SIGHUP}},
		{"QUIT", "", []syscall.Signal{syscall.SIGQUIT}},
		{"nohup", "trap '' HUP; ", []syscall.Signal{syscall.SIGHUP, syscall.SIGTERM}},
	} {
		t.Run(c.name, func(t *testing.T) {
			tmp := t.TempDir()
			ctx, done := context.WithTimeout(t.Context(), time.Minute)
			defer done()
			cmd := exec.CommandContext(ctx, "sh", "-c", c.start+`exec "$0" desk --no-browser --home "$1"`, program, home)
			cmd.Env = append(os.Environ(), "TMPDIR="+tmp)
			out, err := cmd.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			lines := bufio.NewScanner(out)
			for lines.Scan() && !strings.Contains(lines.Text(), "Ctrl-C ends the desk") {
			}
			if left, err := filepath.Glob(filepath.Join(tmp, "escrow-desk-*", "desk.html")); err != nil || len(left) != 1 {
				t.Error("the link is elsewhere: ", left, err)
			}
			for _, s := range c.signals {
				if err := cmd.Process.Signal(s); err != nil {
					t.Error(s, err)
				}
			}
			err = cmd.Wait()
			if code := cmd.ProcessState.ExitCode(); code != 0 && code != 130 {
				t.Errorf("exit code %d: %v", code, err)
			}
			if left, err := os.ReadDir(tmp); err != nil || len(left) > 0 {
				t.Error("left: ", left, err)
			}
		})
	}
}

// TestWhatADeskLeftIsSwept: what a desk of this home left that was killed is removed at the start
// of the next one, and by a review once it is old; nothing else is, and no link is followed.
func TestWhatADeskLeftIsSwept(t *testing.T) {
	tmp := t.TempDir()
	t.Setenv("TMPDIR", tmp)
	h, other := &home{dir: newHome(t, "alba")}, &home{dir: newHome(t, "bruno")}
	kept := filepath.Join(t.TempDir(), "kept")
	folder := func(name string, mode os.FileMode, age time.Duration) {
		t.Helper()
		dir := filepath.Join(tmp, name)
		if err := os.MkdirAll(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, "x.txt"), []byte("words"), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(dir, mode); err != nil {
			t.Fatal(err)
		}
		if at := time.Now().Add(-age); os.Chtimes(dir, at, at) != nil {
			t.Fatal(name)
		}
	}
	if err := os.MkdirAll(kept, 0o700); err != nil {
		t.Fatal(err)
	}
	of := "exhibits-0123456789abcdef-"
	begin := func() {
		folder(h.deskExhibits(of)+"1", 0o700, 0)
		folder(h.deskExhibits(of)+"2", 0o700, 48*time.Hour)
		folder(other.deskExhibits(of)+"3", 0o700, 0)
		folder(other.deskExhibits(of)+"4", 0o700, 48*time.Hour)
		folder("exhibits-0123456789abcdef-7", 0o700, 48*time.Hour) // of a review
		folder(h.deskExhibits(of)+"5", 0o750, 48*time.Hour)
		folder("escrow-desk-1", 0o700, 2*time.Hour)
		folder("escrow-desk-2", 0o700, 0)
		folder("escrow-desk-x", 0o700, 2*time.Hour)
		os.Symlink(kept, filepath.Join(tmp, h.deskExhibits(of)+"6")) //nolint:errcheck // it may be there
	}
	holds := func(names ...string) {
		t.Helper()
		all, err := os.ReadDir(tmp)
		if err != nil {
			t.Fatal(err)
		}
		var have []string
		for _, e := range all {
			have = append(have, e.Name())
		}
		want := append([]string{"escrow-desk-x", "exhibits-0123456789abcdef-7", h.deskExhibits(of) + "5", h.deskExhibits(of) + "6"}, names...)
		if slices.Sort(want); !slices.Equal(have, want) {
			t.Errorf("have %q, want %q", have, want)
		}
		if _, err := os.Stat(kept); err != nil {
			t.Error("a link was followed: ", err)
		}
	}
	begin()
	h.sweep(false)
	holds(h.deskExhibits(of)+"1", other.deskExhibits(of)+"3", "escrow-desk-1", "escrow-desk-2")
	begin()
	h.sweep(true)
	sweepLinks()
	holds(other.deskExhibits(of)+"3", "escrow-desk-2")
	if os.Geteuid() == 0 {
		begin()
		another := filepath.Join(tmp, h.deskExhibits(of)+"1")
		if err := os.Chown(another, 65534, 65534); err != nil {
			t.Fatal(err)
		}
		h.sweep(true)
		holds(h.deskExhibits(of)+"1", other.deskExhibits(of)+"3", "escrow-desk-1", "escrow-desk-2")
	}
	begin()
	os.RemoveAll(filepath.Join(tmp, h.deskExhibits(of)+"1")) //nolint:errcheck // which is another's
	folder(h.deskExhibits(of)+"1", 0o700, 0)
	if forget(of); !exists(filepath.Join(tmp, h.deskExhibits(of)+"5")) || exists(filepath.Join(tmp, h.deskExhibits(of)+"1")) || exists(filepath.Join(tmp, "exhibits-0123456789abcdef-7")) {
		t.Error("an answer removes something else")
	}
}
