//go:build !unix

package witness

import (
	"errors"
	"os"
)

// LockFile refuses, with [errors.ErrUnsupported]: without a lock two witnesses could sign two histories.
func LockFile(*os.File) error { return errors.ErrUnsupported }

// held cannot be told: no witness runs where files cannot be locked.
func held(*os.File) bool { return false }
