package service

import (
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"testing"
)

// A process that holds little collects seldom; one that holds much as Go does.
func TestCollectsLess(t *testing.T) {
	before := debug.SetGCPercent(100)
	defer debug.SetGCPercent(before)
	for live, want := range map[uint64]int{0: 1600, 8 << 20: 800, 32 << 20: 200, 64 << 20: 100, 4 << 30: 100} {
		if got := percentFor(live); got != want {
			t.Errorf("%d bytes in use: %d", live, got)
		}
	}
	t.Setenv("GOGC", "")
	collectLess()
	held := make([]byte, 2*leastGarbage)
	if !collectedUntil(func(percent uint64) bool { return percent == 100 }) {
		t.Errorf("more garbage than Go lets come together beside %d bytes in use", len(held))
	}
	runtime.KeepAlive(held)
	if !collectedUntil(func(percent uint64) bool { return percent > 100 }) {
		t.Error("as little garbage as Go lets come together")
	}
}

// collectedUntil collects until GOGC is as it should be, and reports whether it ever was.
func collectedUntil(is func(percent uint64) bool) bool {
	sample := []metrics.Sample{{Name: "/gc/gogc:percent"}}
	for range 1000 {
		runtime.GC()
		if metrics.Read(sample); is(sample[0].Value.Uint64()) {
			return true
		}
	}
	return false
}
