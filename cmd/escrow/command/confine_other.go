//go:build !linux

package command

import "runtime/debug"

// confine bounds the memory of this process as far as its own runtime can. Whoever started it
// ends it after drawingTime.
func confine() error {
	debug.SetMemoryLimit(drawingMemory)
	return nil
}
