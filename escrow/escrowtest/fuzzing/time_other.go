//go:build !linux

package fuzzing

import "time"

// threadTime is nothing where a thread's time cannot be asked for: the speed is
// held where the house is checked.
func threadTime() time.Duration { return 0 }
