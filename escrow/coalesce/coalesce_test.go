package coalesce

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

var errOdd = errors.New("an odd number")

// doubler answers after a second with twice each number, and refuses odd ones.
func doubler(batches *[]int) *Group[int, int] {
	var c Group[int, int]
	c.Send = func(_ context.Context, items []int) ([]Result[int], error) {
		c.mu.Lock()
		*batches = append(*batches, len(items))
		c.mu.Unlock()
		time.Sleep(time.Second)
		results := make([]Result[int], len(items))
		for i, n := range items {
			if results[i].Out = 2 * n; n%2 == 1 {
				results[i] = Result[int]{Err: errOdd}
			}
		}
		return results, nil
	}
	return &c
}

func TestGroupAddsNoLatencyWhenIdle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var batches []int
		c := doubler(&batches)
		for range 3 {
			began := time.Now()
			if out, err := c.Do(t.Context(), 2); err != nil || out[0] != 4 || time.Since(began) != time.Second {
				t.Errorf("%v, %v after %v", out, err, time.Since(began))
			}
		}
		if fmt.Sprint(batches) != "[1 1 1]" {
			t.Errorf("batches of %v", batches)
		}
	})
}

func TestGroupMergesWhatArrivesMeanwhile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var batches []int
		c := doubler(&batches)
		var good, bad atomic.Int32
		for i := range 1000 {
			go func() {
				out, err := c.Do(t.Context(), 4*i, 4*i+i%2) // every second call has a bad item
				switch {
				case i%2 == 1 && errors.Is(err, errOdd) && out == nil:
					bad.Add(1)
				case i%2 == 0 && err == nil && len(out) == 2 && out[0] == 8*i && out[1] == 8*i:
					good.Add(1)
				}
			}()
			// The first is sent alone; then a few wait for it, and enough do not.
			if want := map[int]string{0: "[2]", enough - 1: "[2]", enough: "[2 32]"}[i]; want != "" {
				synctest.Wait()
				c.mu.Lock()
				if fmt.Sprint(batches) != want {
					t.Errorf("batches of %v after %d calls, want %s", batches, i+1, want)
				}
				c.mu.Unlock()
			}
		}
		time.Sleep(time.Minute)
		if good.Load() != 500 || bad.Load() != 500 {
			t.Errorf("%d good and %d refused, want 500 and 500", good.Load(), bad.Load())
		}
		c.mu.Lock()
		defer c.mu.Unlock()
		if len(batches) != maxBatches+8 { // 1998 items in batches of 256
			t.Errorf("batches of %v", batches)
		}
		if c.underWay != 0 || len(c.queue) != 0 {
			t.Errorf("%d under way, %d waiting at the end", c.underWay, len(c.queue))
		}
	})
}

func TestGroupLeavesThoseWhoGaveUpBehind(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var batches []int
		c := doubler(&batches)
		go c.Do(t.Context(), 2)
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel()
		if _, err := c.Do(ctx, 2, 2, 2); !errors.Is(err, context.DeadlineExceeded) { // waits for a flight
			t.Errorf("got %v", err)
		}
		if out, err := c.Do(t.Context(), 4); err != nil || out[0] != 8 {
			t.Errorf("%v, %v", out, err)
		}
		c.mu.Lock()
		if fmt.Sprint(batches) != "[1 1]" {
			t.Errorf("batches of %v: the call that gave up was sent", batches)
		}
		c.mu.Unlock()
		// Giving up in flight does not take the others along.
		ctx, cancel = context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel()
		c.mu.Lock()
		c.underWay = 1 // none is sent yet
		c.mu.Unlock()
		results := make(chan error, 2)
		go func() { _, err := c.Do(ctx, 2); results <- err }()
		go func() { _, err := c.Do(t.Context(), 6); results <- err }()
		synctest.Wait()
		go c.sendAll()
		if first, second := <-results, <-results; !errors.Is(first, context.DeadlineExceeded) || second != nil {
			t.Errorf("%v, then %v", first, second)
		}
	})
}

func TestV08WholeBatchFailsForEverybody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for name, send := range map[string]func(context.Context, []int) ([]Result[int], error){
			"an error": func(_ context.Context, items []int) ([]Result[int], error) { return nil, errOdd },
			"a result too few": func(_ context.Context, items []int) ([]Result[int], error) {
				return make([]Result[int], len(items)-1), nil
			},
			"one too many": func(_ context.Context, items []int) ([]Result[int], error) {
				return make([]Result[int], len(items)+1), nil
			},
		} {
			c := Group[int, int]{Send: send}
			for range 3 {
				if out, err := c.Do(t.Context(), 1, 2); err == nil || out != nil {
					t.Errorf("%s: %v, %v", name, out, err)
				}
			}
		}
	})
}

// A call behind a batch that hangs waits no longer than Most, and is not sent.
func TestGroupWaitsNoLongerThanMost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var batches []int
		c := doubler(&batches)
		c.Most = 2 * time.Second
		go c.Do(t.Context(), 2) //nolint:errcheck // it is under way
		synctest.Wait()
		time.Sleep(500 * time.Millisecond)
		if out, err := c.Do(t.Context(), 4); err != nil || out[0] != 8 {
			t.Errorf("within its time: %v, %v", out, err)
		}
		c.Most = 500 * time.Millisecond
		go c.Do(t.Context(), 2) //nolint:errcheck // it is under way
		synctest.Wait()
		began := time.Now()
		if _, err := c.Do(t.Context(), 6); !errors.Is(err, context.DeadlineExceeded) || time.Since(began) != c.Most {
			t.Errorf("%v after %v", err, time.Since(began))
		}
		time.Sleep(2 * time.Second)
		if fmt.Sprint(batches) != "[1 1 1]" {
			t.Errorf("batches of %v", batches)
		}
	})
}

func TestGroupAloneSendsOneBatchAtATime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var batches []int
		c := doubler(&batches)
		c.Alone, c.Items = true, 500
		var wg sync.WaitGroup
		began := time.Now()
		for range 1001 {
			wg.Go(func() {
				if out, err := c.Do(t.Context(), 2); err != nil || out[0] != 4 {
					t.Errorf("%v, %v", out, err)
				}
			})
		}
		wg.Wait()
		if len(batches) > 4 || slices.Max(batches) > 500 || time.Since(began) != time.Duration(len(batches))*time.Second {
			t.Errorf("batches of %v in %v", batches, time.Since(began))
		}
	})
}

func TestGroupRestsAndSharesWhatComesOneAfterAnother(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var batches []int
		c := doubler(&batches)
		c.Rest = time.Minute
		var wg sync.WaitGroup
		call := func(after, answered time.Duration) {
			began := time.Now()
			wg.Go(func() {
				time.Sleep(after)
				if out, err := c.Do(t.Context(), 2); err != nil || out[0] != 4 || time.Since(began) != answered {
					t.Errorf("%v, %v after %v, want %v", out, err, time.Since(began), answered)
				}
			})
		}
		call(0, time.Second) // alone, as nobody came of late
		for n := range 4 {
			call(time.Duration(n+1)*400*time.Millisecond, 3*time.Second) // these share one, a second after that
		}
		call(20*time.Second, 21*time.Second) // again alone
		wg.Wait()
		if fmt.Sprint(batches) != "[1 4 1]" {
			t.Errorf("batches of %v", batches)
		}
		time.Sleep(time.Second)
		batches = nil
		for range enough + 1 { // enough wait for nobody
			call(0, time.Second)
			synctest.Wait()
		}
		wg.Wait()
		if fmt.Sprint(batches) != fmt.Sprintf("[1 %d]", enough) {
			t.Errorf("batches of %v", batches)
		}
		time.Sleep(time.Second)
		c.Rest, batches = 100*time.Millisecond, nil
		call(0, time.Second)
		call(time.Second/2, 2100*time.Millisecond) // no longer than that
		wg.Wait()
		time.Sleep(time.Second) // whoever rests looks once more
	})
}
