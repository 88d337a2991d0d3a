package fuzzing

import (
	"runtime"
	"testing"
)

// FuzzNothing is the fastest target there is. The harness calls it.
func FuzzNothing(f *testing.F) {
	seen := map[string]bool{}
	f.Add("a", []byte("b"), uint8(3))
	Run(f, func(t *testing.T, s string, b []byte, n uint8) {
		if n != 3 {
			t.Error("a number is changed")
		}
		if len(seen) < 1000 {
			seen[s+string(b)] = true
		}
	})
	if len(seen) < 100 {
		f.Errorf("%d inputs are distinct", len(seen))
	}
}

// S4: what the bound is on, is the processor's time.
func TestFoundS4WorkIsMeasured(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("a thread's time is asked for on Linux")
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	began, sum := threadTime(), 0
	for i := range 50_000_000 {
		sum ^= i
	}
	if took := threadTime() - began; took <= 0 || sum < 0 {
		t.Error(took)
	}
}
