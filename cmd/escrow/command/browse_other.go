//go:build !unix

package command

import (
	"io/fs"
	"os/exec"
)

// apart is for terminals that send Ctrl-C to all programs of a group.
func apart(*exec.Cmd) {}

// ours is for systems where users share a folder for what is temporary.
func ours(fs.FileInfo) bool { return true }
