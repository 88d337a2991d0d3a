package vault

import (
	"context"
	"sync"
)

// flights is how many batches of one kind are under way at once: one that
// Vault works on and one on the wire.
const flights = 2

// batchSize bounds the items of one batch, so that one call stays far below
// Vault's limit of 32 MiB a request and our deadline.
const batchSize = 256

// coalescer turns concurrent calls of one kind into batches. A call that finds
// a flight free leaves at once and alone; calls that arrive while all flights
// are out wait for the first to land and leave together.
type coalescer[In, Out any] struct {
	// send carries one batch. It returns one result per item, or an error for
	// the whole batch.
	send func(ctx context.Context, items []In) ([]result[Out], error)

	mu     sync.Mutex
	queue  []*request[In, Out]
	flying int
}

type result[Out any] struct {
	out Out
	err error
}

type request[In, Out any] struct {
	ctx   context.Context
	items []In
	outs  []Out
	err   error
	done  chan struct{}
}

// do returns the results of all items, or the first error among them. When ctx
// ends before the batch is back, do returns and the batch goes on: its other
// items belong to others.
func (c *coalescer[In, Out]) do(ctx context.Context, items ...In) ([]Out, error) {
	if err := ctx.Err(); err != nil {
		return nil, ErrUnavailable.Because(err)
	}
	if len(items) == 0 {
		return nil, nil
	}
	r := &request[In, Out]{ctx: ctx, items: items, done: make(chan struct{})}
	c.mu.Lock()
	c.queue = append(c.queue, r)
	if c.flying < flights {
		c.flying++
		go c.fly()
	}
	c.mu.Unlock()
	select {
	case <-r.done:
		return r.outs, r.err
	case <-ctx.Done():
		return nil, ErrUnavailable.Because(ctx.Err())
	}
}

// fly sends batches until the queue is empty.
func (c *coalescer[In, Out]) fly() {
	for {
		aboard, items := c.board()
		if len(aboard) == 0 {
			return
		}
		results, err := c.send(context.Background(), items) // send has its own deadline
		if err == nil && len(results) != len(items) {
			err = errBadResponse
		}
		for _, r := range aboard {
			if r.err = err; err == nil {
				for _, res := range results[:len(r.items)] {
					if res.err != nil {
						r.outs, r.err = nil, res.err
						break
					}
					r.outs = append(r.outs, res.out)
				}
				results = results[len(r.items):]
			}
			close(r.done)
		}
	}
}

// board takes the next batch from the queue, without those who have left. It
// gives the flight back when there is none.
func (c *coalescer[In, Out]) board() (aboard []*request[In, Out], items []In) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for len(c.queue) > 0 {
		r := c.queue[0]
		if len(items) > 0 && len(items)+len(r.items) > batchSize {
			break
		}
		c.queue[0] = nil
		c.queue = c.queue[1:]
		if r.ctx.Err() != nil {
			continue
		}
		aboard, items = append(aboard, r), append(items, r.items...)
	}
	if len(aboard) == 0 {
		c.flying--
	}
	return aboard, items
}
