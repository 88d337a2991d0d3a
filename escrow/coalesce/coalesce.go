// Package coalesce turns concurrent calls of one kind into few: one request to the
// key service, one statement in the database. Both adapters need it, and none
// imports another.
package coalesce

import (
	"cmp"
	"context"
	"errors"
	"runtime"
	"sync"
	"time"
)

// At most maxBatches of one kind are under way at once. The second starts only if
// enough calls wait: a batch costs the server as much as ten or twenty of its
// items. It is there so that one slow answer does not stop everybody.
const (
	maxBatches = 2
	enough     = 16
)

// MaxItems bounds the items of one batch, so that one call stays far below the
// server's limits and the caller's deadline.
const MaxItems = 256

// Group carries the calls of one kind. A call that finds none under way is sent at
// once and alone. Calls that arrive meanwhile are sent together, when it is answered
// or when they are enough. Set Send before the first call.
type Group[In, Out any] struct {
	// Send carries one batch, within a deadline of its own. It returns one
	// result for each item, in order, or an error for the whole batch.
	Send func(ctx context.Context, items []In) ([]Result[Out], error)

	// Most is how long a call waits in all: behind a batch that hangs no longer than
	// that batch. 0: until its context ends.
	Most time.Duration

	// Alone: batches would only wait for each other, so one is under way at a time.
	Alone bool

	// Rest: after a batch the next one waits for as long as that took, and no longer than
	// this, while fewer than enough calls wait: so calls which come one after another share
	// one. A call that finds none of late is sent at once.
	Rest time.Duration

	// Items bounds the items of one batch. 0: MaxItems.
	Items int

	mu       sync.Mutex
	queue    []*request[In, Out]
	underWay int       // batches
	rested   time.Time // when the rest after the last one is over
}

// Result is what became of one item.
type Result[Out any] struct {
	Out Out
	Err error
}

type request[In, Out any] struct {
	ctx   context.Context
	items []In
	outs  []Out
	err   error
	done  chan struct{}
}

var errResults = errors.New("coalesce: not one result for each item")

// Do returns the results of all items, or the first error among them. When ctx
// ends before the batch is answered, Do returns its error and the batch goes on:
// its other items belong to others.
func (c *Group[In, Out]) Do(ctx context.Context, items ...In) ([]Out, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if len(items) == 0 {
		return nil, nil
	}
	if c.Most > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, c.Most)
		defer cancel()
	}
	r := &request[In, Out]{ctx: ctx, items: items, done: make(chan struct{})}
	c.mu.Lock()
	c.queue = append(c.queue, r)
	if c.underWay == 0 || !c.Alone && c.underWay < maxBatches && len(c.queue) >= enough {
		c.underWay++
		go c.sendAll()
	}
	c.mu.Unlock()
	select {
	case <-r.done:
		return r.outs, r.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// sendAll sends batches until the queue is empty.
func (c *Group[In, Out]) sendAll() {
	for {
		c.rest()
		batch, items := c.next()
		if len(batch) == 0 {
			return
		}
		began := time.Now()
		results, err := c.Send(context.Background(), items)
		c.mu.Lock()
		c.rested = time.Now().Add(min(time.Since(began), c.Rest))
		c.mu.Unlock()
		if err == nil && len(results) != len(items) {
			err = errResults
		}
		for _, r := range batch {
			if r.err = err; err == nil {
				for _, res := range results[:len(r.items)] {
					if res.Err != nil {
						r.outs, r.err = nil, res.Err
						break
					}
					r.outs = append(r.outs, res.Out)
				}
				results = results[len(r.items):]
			}
			close(r.done)
		}
	}
}

func (c *Group[In, Out]) waiting() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.queue)
}

// rest waits until the next batch may begin.
func (c *Group[In, Out]) rest() {
	c.mu.Lock()
	left := time.Until(c.rested)
	if len(c.queue) >= enough {
		left = 0
	}
	c.mu.Unlock()
	if left > 0 {
		<-time.After(left)
	}
}

// next takes the next batch from the queue, without the callers who have left. If
// there is none, or too few for a second batch, it is empty and counts no longer.
func (c *Group[In, Out]) next() (batch []*request[In, Out], items []In) {
	for had := -1; c.Alone && c.waiting() > had; { // those who were answered just now, and come again, come along
		had = c.waiting()
		runtime.Gosched()
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for len(c.queue) > 0 && (c.underWay == 1 || len(c.queue) >= enough || len(items) > 0) {
		r := c.queue[0]
		if len(items) > 0 && len(items)+len(r.items) > cmp.Or(c.Items, MaxItems) {
			break
		}
		c.queue[0] = nil
		c.queue = c.queue[1:]
		if r.ctx.Err() != nil {
			continue
		}
		batch, items = append(batch, r), append(items, r.items...)
	}
	if len(batch) == 0 {
		c.underWay--
	}
	return batch, items
}
