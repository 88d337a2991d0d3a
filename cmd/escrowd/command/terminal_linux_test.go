package command

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/penname/penname/cmd/shell"
)

// terminal is the end of a terminal that a program has, and what the person at it reads.
func terminal(t *testing.T) (tty *os.File, shown func() string) {
	t.Helper()
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { master.Close() })
	n, err := unix.IoctlGetInt(int(master.Fd()), unix.TIOCGPTN)
	if err = errors.Join(err, unix.IoctlSetPointerInt(int(master.Fd()), unix.TIOCSPTLCK, 0)); err != nil {
		t.Fatal(err)
	}
	if tty, err = os.OpenFile(filepath.Join("/dev/pts", strconv.Itoa(n)), os.O_RDWR|syscall.O_NOCTTY, 0); err != nil {
		t.Fatal(err)
	}
	return tty, func() string {
		tty.Close()
		text, _ := io.ReadAll(master) //nolint:errcheck // the end of a terminal is an error
		return string(text)
	}
}

// What a new platform needs and was left out is asked for, of a person at a terminal and of
// nobody else; what was said is not.
func TestPlatformAddAsks(t *testing.T) {
	const name, redirect = "Name that people and custodians read: ", "Redirect URI, exactly: "
	for about, c := range map[string]struct {
		args, typed, shown, lacks string // lacks: the first flag that is still needed
	}{
		"everything":             {"", "Town Square\n  https://town.example/cb \n", name + redirect, "database-file"},
		"what is left out":       {"--name Town", "https://town.example/cb\n", redirect, "database-file"},
		"nothing":                {"--name Town --redirect-uri https://town.example/cb", "", "", "database-file"},
		"a person who goes away": {"", "Town Square\n", name + redirect, "redirect-uri"},
		"a program":              {"--json", "Town Square\nhttps://town.example/cb\n", "", "name"},
		"of no kind":             {"--kind server", "", "", "kind"},
	} {
		tty, shown := terminal(t)
		root := newRoot()
		root.SetIn(strings.NewReader(c.typed))
		root.SetErr(tty)
		code := shell.Execute(t.Context(), root, append([]string{"platform", "add", "town-square"}, strings.Fields(c.args)...))
		text := shown()
		if asked := strings.Count(text, name) + strings.Count(text, redirect); code != 2 || !strings.HasPrefix(text, c.shown) || asked != strings.Count(c.shown, ": ") || !strings.Contains(text, "--"+c.lacks+" is") {
			t.Errorf("%s: exit code %d, shown was %q", about, code, text)
		}
		if c.lacks != "database-file" || c.typed == "" {
			continue
		}
		add, _, err := root.Find([]string{"platform", "add"})
		if err != nil {
			t.Fatal(err)
		}
		if got := add.Flag("name").Value.String() + add.Flag("redirect-uri").Value.String(); !strings.HasPrefix(got, "Town") || !strings.HasSuffix(got, "[https://town.example/cb]") {
			t.Errorf("%s: understood %q", about, got)
		}
	}
}
