//go:build unix

package command

import (
	"io/fs"
	"os"
	"os/exec"
	"syscall"
)

// apart keeps what is typed at this terminal from a program that it starts: Ctrl-C ends the desk,
// and not the person's browser.
func apart(c *exec.Cmd) { c.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} }

// ours reports whether a file is of the user that runs this.
func ours(info fs.FileInfo) bool {
	owner, ok := info.Sys().(*syscall.Stat_t)
	return ok && int64(owner.Uid) == int64(os.Geteuid())
}
