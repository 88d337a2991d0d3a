package sandbox

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// Processors is how long processors have worked, in user and system time, by program: "self" is
// this process, the others are those that descend from it and have not ended. It is what
// benchmarks compare that other work on the machine must not change.
func Processors() (map[string]time.Duration, error) {
	const tick = 10 * time.Millisecond // USER_HZ is 100 on every Linux
	type process struct {
		name   string
		parent int
		took   time.Duration
	}
	found := map[int]process{}
	stats, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		return nil, err
	}
	for _, file := range stats {
		raw, err := os.ReadFile(file)
		if err != nil {
			continue // it has ended
		}
		// proc(5): pid (comm) state ppid …, utime and stime are the 14th and 15th.
		head, rest, _ := strings.Cut(string(raw), " (")
		at := strings.LastIndex(rest, ") ")
		fields := strings.Fields(rest[at+2:])
		var numbers [4]int
		for i, text := range []string{head, fields[1], fields[11], fields[12]} {
			if numbers[i], err = strconv.Atoi(text); err != nil {
				return nil, err
			}
		}
		found[numbers[0]] = process{rest[:at], numbers[1], time.Duration(numbers[2]+numbers[3]) * tick}
	}
	self := os.Getpid()
	took := map[string]time.Duration{"self": found[self].took}
	for _, p := range found {
		for up, ok := p, true; ok; up, ok = found[up.parent] {
			if up.parent == self {
				took[p.name] += p.took
				break
			}
		}
	}
	return took, nil
}
