//go:build linux || darwin || dragonfly || freebsd || netbsd || openbsd

package command

import "golang.org/x/sys/unix"

// hush turns a terminal's echo off and drops what waits to be read, in one step.
func hush(fd int) error {
	state, err := unix.IoctlGetTermios(fd, getTermios)
	if err != nil {
		return err
	}
	state.Lflag &^= unix.ECHO | unix.ECHONL
	return unix.IoctlSetTermios(fd, setTermiosAndFlush, state)
}
