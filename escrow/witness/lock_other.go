//go:build !unix

package witness

import (
	"errors"
	"os"
)

// lockFile refuses: without a lock two witnesses could sign two histories.
func lockFile(*os.File) error { return errors.ErrUnsupported }
