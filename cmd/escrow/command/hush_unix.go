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

// pasted is what came to a terminal right behind a line, with what has no end of line yet.
func pasted(fd int) (rest []byte) {
	before, err := unix.IoctlGetTermios(fd, getTermios)
	if err != nil {
		return nil
	}
	now := *before
	now.Lflag &^= unix.ICANON | unix.ECHO
	now.Cc[unix.VMIN], now.Cc[unix.VTIME] = 0, 1 // a read waits for a tenth of a second
	if unix.IoctlSetTermios(fd, setTermios, &now) != nil {
		return nil
	}
	defer unix.IoctlSetTermios(fd, setTermios, before) //nolint:errcheck // the next question says so
	for b := make([]byte, 4<<10); len(rest) < 1<<20; {
		n, err := unix.Read(fd, b)
		if err != nil || n <= 0 {
			break
		}
		rest = append(rest, b[:n]...)
	}
	return rest
}
