package command

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestABrowserStaysOpen: the program that shows the link is handed a file and no address, and
// Ctrl-C at the terminal does not reach it.
func TestABrowserStaysOpen(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "xdg-open"), []byte("#!/bin/sh\nread -r _ _ _ _ group _ < /proc/$$/stat\necho \"$group $*\" > "+dir+"/said.new && mv "+dir+"/said.new "+dir+"/said\n"), 0o700); err != nil { //nolint:gosec // it is run
		t.Fatal(err)
	}
	t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
	t.Setenv("WAYLAND_DISPLAY", "")
	t.Setenv("DISPLAY", "")
	if err := browse("/tmp/desk.html"); err == nil {
		t.Error("a browser in the terminal")
	}
	t.Setenv("DISPLAY", ":0")
	if err := browse("/tmp/desk.html"); err != nil {
		t.Fatal(err)
	}
	var said []byte
	for again, end := time.NewTicker(10*time.Millisecond), time.Now().Add(20*time.Second); len(said) == 0; <-again.C {
		if said, _ = os.ReadFile(filepath.Join(dir, "said")); time.Now().After(end) {
			t.Fatal("nothing was opened")
		}
	}
	group, args, _ := strings.Cut(strings.TrimSpace(string(said)), " ")
	if args != "/tmp/desk.html" || group == strconv.Itoa(syscall.Getpgrp()) {
		t.Errorf("%s", said)
	}
}
