package vault

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// doubler answers after a second with twice each number, and refuses odd ones.
func doubler(batches *[]int) *coalescer[int, int] {
	var c coalescer[int, int]
	c.send = func(_ context.Context, items []int) ([]result[int], error) {
		c.mu.Lock()
		*batches = append(*batches, len(items))
		c.mu.Unlock()
		time.Sleep(time.Second)
		results := make([]result[int], len(items))
		for i, n := range items {
			if results[i].out = 2 * n; n%2 == 1 {
				results[i] = result[int]{err: ErrDecryptFailed}
			}
		}
		return results, nil
	}
	return &c
}

func TestCoalescerAddsNoLatencyWhenIdle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var batches []int
		c := doubler(&batches)
		for range 3 {
			began := time.Now()
			if out, err := c.do(t.Context(), 2); err != nil || out[0] != 4 || time.Since(began) != time.Second {
				t.Errorf("%v, %v after %v", out, err, time.Since(began))
			}
		}
		if fmt.Sprint(batches) != "[1 1 1]" {
			t.Errorf("batches of %v", batches)
		}
	})
}

func TestCoalescerMergesWhatArrivesMeanwhile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var batches []int
		c := doubler(&batches)
		var good, bad atomic.Int32
		for i := range 1000 {
			go func() {
				out, err := c.do(t.Context(), 4*i, 4*i+i%2) // every second call has a bad item
				switch {
				case i%2 == 1 && errors.Is(err, ErrDecryptFailed) && out == nil:
					bad.Add(1)
				case i%2 == 0 && err == nil && len(out) == 2 && out[0] == 8*i && out[1] == 8*i:
					good.Add(1)
				}
			}()
			if i < flights {
				synctest.Wait() // these find a flight free
			}
		}
		time.Sleep(time.Minute)
		if good.Load() != 500 || bad.Load() != 500 {
			t.Errorf("%d good and %d refused, want 500 and 500", good.Load(), bad.Load())
		}
		c.mu.Lock()
		defer c.mu.Unlock()
		if len(batches) != flights+8 { // 1998 items in batches of 256
			t.Errorf("batches of %v", batches)
		}
		if c.flying != 0 || len(c.queue) != 0 {
			t.Errorf("%d flying, %d waiting at the end", c.flying, len(c.queue))
		}
	})
}

func TestCoalescerLeavesThoseWhoGaveUpBehind(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var batches []int
		c := doubler(&batches)
		for range flights {
			go c.do(t.Context(), 2)
			synctest.Wait()
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel()
		if _, err := c.do(ctx, 2, 2, 2); !errors.Is(err, ErrUnavailable) { // waits for a flight
			t.Errorf("got %v", err)
		}
		if out, err := c.do(t.Context(), 4); err != nil || out[0] != 8 {
			t.Errorf("%v, %v", out, err)
		}
		c.mu.Lock()
		if fmt.Sprint(batches) != "[1 1 1]" {
			t.Errorf("batches of %v: the call that gave up was sent", batches)
		}
		c.mu.Unlock()
		// Giving up in flight does not take the others along.
		ctx, cancel = context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel()
		c.mu.Lock()
		c.flying = flights // none leaves yet
		c.mu.Unlock()
		results := make(chan error, 2)
		go func() { _, err := c.do(ctx, 2); results <- err }()
		go func() { _, err := c.do(t.Context(), 6); results <- err }()
		synctest.Wait()
		go c.fly()
		if first, second := <-results, <-results; !errors.Is(first, ErrUnavailable) || second != nil {
			t.Errorf("%v, then %v", first, second)
		}
	})
}

func TestV08WholeBatchFailsForEverybody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for name, send := range map[string]func(context.Context, []int) ([]result[int], error){
			"an error": func(_ context.Context, items []int) ([]result[int], error) { return nil, ErrUnavailable },
			"a result too few": func(_ context.Context, items []int) ([]result[int], error) {
				return make([]result[int], len(items)-1), nil
			},
			"one too many": func(_ context.Context, items []int) ([]result[int], error) {
				return make([]result[int], len(items)+1), nil
			},
		} {
			c := coalescer[int, int]{send: send}
			for range 3 {
				if out, err := c.do(t.Context(), 1, 2); !errors.Is(err, ErrUnavailable) || out != nil {
					t.Errorf("%s: %v, %v", name, out, err)
				}
			}
		}
	})
}

// A value has one text: what is well formed is what encoding gives back.
func FuzzWrappedFormHasOneSpelling(f *testing.F) {
	for _, seed := range []string{"vault:v1:aGFsZg==", "vault:v12:aGFs", "vault:v01:aGFs", "vault:v1:aGFsZh==", "vault:v1:aGFs\n", "vault:v1:", "vault:v1:aGF-"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if !wellFormed(text) {
			return
		}
		head, body, _ := strings.Cut(strings.TrimPrefix(text, "vault:v"), ":")
		version, err := strconv.Atoi(head)
		raw, err2 := base64.StdEncoding.DecodeString(body)
		if again := fmt.Sprintf("vault:v%d:%s", version, base64.StdEncoding.EncodeToString(raw)); err != nil || err2 != nil || again != text {
			t.Errorf("%q is also %q (%v, %v)", text, again, err, err2)
		}
	})
}
