package command

import (
	"syscall"
)

// confine bounds this process before it reads what a stranger made: its memory, its time on a
// processor, and that it writes no file. A bound that is passed ends the process.
func confine() error {
	for what, limit := range map[int]uint64{syscall.RLIMIT_DATA: drawingMemory, syscall.RLIMIT_CPU: uint64(drawingTime.Seconds()), syscall.RLIMIT_FSIZE: 0, syscall.RLIMIT_CORE: 0} {
		if err := syscall.Setrlimit(what, &syscall.Rlimit{Cur: limit, Max: limit}); err != nil {
			return err
		}
	}
	return nil
}
