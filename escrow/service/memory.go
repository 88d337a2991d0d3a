package service

import (
	"context"
	"os"
	"runtime"
	"strings"
	"syscall"
	"time"
)

// What the memory of an issuing process may still hold of an identity that was
// sealed is bounded by two measures:
//
//	OverwriteFreed   the garbage collector overwrites what it frees. Strings of
//	                 the libraries that decode, and of net/http, cannot be cleared
//	                 by hand; they can be overwritten when nothing refers to them.
//	DropFreedMemory  every minute: idle connections are closed, whose buffers
//	                 hold the last answer, and the garbage collector runs.
//
// Not covered: the seconds until then, a connection that is in use at that
// moment, registers and stacks of running goroutines, the kernel's socket
// buffers, and swap (deploy/systemd forbids it and core files).

// OverwriteFreed starts the program again, in the same process, with the
// runtime's clobberfree: "causes the garbage collector to clobber the memory
// content of an object with bad content when it frees the object" (package
// runtime). It returns at once if that is set already.
func OverwriteFreed() error {
	const setting = "clobberfree=1"
	debug := os.Getenv("GODEBUG")
	if strings.Contains(debug, setting) {
		return nil
	}
	program, err := os.Executable()
	if err != nil {
		return err
	}
	if err := os.Setenv("GODEBUG", strings.Trim(debug+","+setting, ",")); err != nil {
		return err
	}
	return syscall.Exec(program, os.Args, os.Environ()) //nolint:gosec // ourselves, with our own arguments
}

// closing is how long a connection that was closed has until the goroutines that read
// and wrote it have ended, and with them their hold on its buffers. On a busy machine
// that takes some milliseconds.
const closing = 250 * time.Millisecond

// DropFreedMemory drops what this process still holds of identities that are
// sealed, and of keys that were used. It never fails.
func (s *Service) DropFreedMemory(ctx context.Context) error {
	var keys []any
	if s.Issuing != nil {
		for _, p := range s.Issuing.Providers {
			if p.Proving != nil {
				p.Close()
			}
		}
		if s.Issuing.HTTP != nil {
			s.Issuing.HTTP.CloseIdleConnections()
		}
		keys = append(keys, s.Issuing.Keys)
	}
	if s.Disclosing != nil {
		keys = append(keys, s.Disclosing.Keys)
	}
	for _, k := range keys {
		if k, ok := k.(interface{ CloseIdle() }); ok {
			k.CloseIdle()
		}
	}
	select {
	case <-time.After(closing):
	case <-ctx.Done():
	}
	// Twice: what lies in a sync.Pool survives one collection.
	runtime.GC()
	runtime.GC()
	return nil
}
