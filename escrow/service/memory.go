package service

import (
	"context"
	"os"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"strings"
	"sync"
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

// leastGarbage is how many bytes of garbage may come together before the collector looks for
// it. What the service holds is a few megabytes: by Go's own rule, as much garbage as there
// is in use, it looked through it dozens of times a second, which took a tenth of a sign-in.
// A process takes about so much more memory; while it allocates with all processors more
// comes together, since the percentage is that of the collection before. From there on the rule is Go's.
const leastGarbage = 64 << 20

// collectLess makes the collector heed leastGarbage from now on, unless GOGC says how often
// it works.
var collectLess = sync.OnceFunc(func() {
	if os.Getenv("GOGC") == "" {
		afterCollection(new(collected))
	}
})

// collected is an object of its own size class, of which nobody keeps a reference.
type collected [64]byte

// afterCollection sets how much may be allocated until the next collection, after which it is
// called again, as the finalizer of what that one finds.
func afterCollection(mark *collected) {
	sample := []metrics.Sample{{Name: "/gc/heap/live:bytes"}, {Name: "/gc/scan/stack:bytes"}, {Name: "/gc/scan/globals:bytes"}}
	metrics.Read(sample)
	var live uint64 // all that the percentage is of
	for _, s := range sample {
		live += s.Value.Uint64()
	}
	debug.SetGCPercent(percentFor(live))
	runtime.SetFinalizer(mark, afterCollection)
}

// percentFor is GOGC for so many bytes in use. Go takes 4 MiB for the least.
func percentFor(live uint64) int { return int(max(100, leastGarbage*100/max(live, 4<<20))) }
