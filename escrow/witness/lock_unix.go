//go:build unix

package witness

import (
	"os"
	"syscall"
	"time"
)

// lockFile takes an exclusive lock that ends with the process. It tries for two seconds: a
// child that this process starts has a copy of the lock that was let go of, until it
// becomes another program.
func lockFile(f *os.File) (err error) {
	for end := time.Now().Add(2 * time.Second); ; time.Sleep(10 * time.Millisecond) { //nolint:forbidigo // nobody says when a lock is given back
		if err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err == nil || time.Now().After(end) {
			return err
		}
	}
}
