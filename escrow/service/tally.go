package service

import (
	"sync"
	"time"
)

// bounds are the upper bounds of what is told apart of how long something took, in
// seconds. Five is what a request waits at most in an outage.
var bounds = [...]float64{0.1, 0.5, 1, 5}

// histogram is how often something took how long: within each of bounds, and longer.
type histogram [len(bounds) + 1]uint64

func (h *histogram) add(took time.Duration) {
	i := 0
	for i < len(bounds) && took.Seconds() > bounds[i] {
		i++
	}
	h[i]++
}

// times is how often it happened.
func (h *histogram) times() (n uint64) {
	for _, of := range h {
		n += of
	}
	return n
}

// tally counts by K how often something happened, and how long it took. What is held
// back shows only when the period in which it happened is over: then whoever looks
// often cannot tell when in the period it was. Held back for a day, it shows from the
// next day (UTC) on, and what a process counted on the day it stopped is lost.
type tally[K comparable] struct {
	period time.Duration

	mu      sync.Mutex
	current int64 // period
	shown   map[K]*histogram
	held    map[K]*histogram // of the current period
}

func newTally[K comparable](period time.Duration) *tally[K] {
	return &tally[K]{period: period, shown: map[K]*histogram{}, held: map[K]*histogram{}}
}

func (t *tally[K]) add(now time.Time, k K, hold bool, took time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.roll(now)
	into := t.shown
	if hold {
		into = t.held
	}
	if into[k] == nil {
		into[k] = &histogram{}
	}
	into[k].add(took)
}

// roll shows what was held back in a period that is over. A clock that goes back shows
// nothing.
func (t *tally[K]) roll(now time.Time) {
	period := now.UnixNano() / int64(t.period)
	if period <= t.current {
		return
	}
	t.current = period
	for k, h := range t.held {
		if t.shown[k] == nil {
			t.shown[k] = &histogram{}
		}
		for i, n := range h {
			t.shown[k][i] += n
		}
	}
	clear(t.held)
}

// show returns what may be seen now.
func (t *tally[K]) show(now time.Time) map[K]histogram {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.roll(now)
	all := make(map[K]histogram, len(t.shown))
	for k, h := range t.shown {
		all[k] = *h
	}
	return all
}
