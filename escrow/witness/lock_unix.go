//go:build unix

package witness

import (
	"os"
	"syscall"
	"time"
)

// LockFile takes an exclusive lock on an open file that keeps state, which ends with the process. It tries for two seconds: a
// child that this process starts has a copy of the lock that was let go of, until it
// becomes another program.
func LockFile(f *os.File) (err error) {
	for end := time.Now().Add(2 * time.Second); ; time.Sleep(10 * time.Millisecond) { //nolint:forbidigo // nobody says when a lock is given back
		if err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err == nil || time.Now().After(end) {
			return err
		}
	}
}

// held reports whether another process, or another open file of this one, has the lock.
func held(f *os.File) bool {
	return syscall.Flock(int(f.Fd()), syscall.LOCK_SH|syscall.LOCK_NB) != nil
}
