package web

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/penname/penname/verifier/document"
)

// How many requests of people, and of platforms for them, are worked on at a time, and as many of
// courts, requesters, custodians and auditors: neither keep the others from their turn. Under more
// than the service can do the others wait, which is where latency rises; whoever finds the queue
// full, or does not get their turn in time, is told to come again. So memory stays bounded, and
// what is begun comes to its end.
const (
	maxWorking = 256
	maxWaiting = 1024
	maxWait    = time.Second                   // a request that then finds the database frozen is still answered within five
	maxOfOne   = (maxWorking + maxWaiting) / 4 // of one sender, at work or waiting: three others come in beside. More where PerSender lets more come at once

	asideAfter = 20 * time.Millisecond // that a request waits for somebody else, with its place
)

// queue is what is worked on, and what waits.
type queue struct {
	working chan struct{}
	waiting atomic.Int64
	most    int64

	mu    sync.Mutex
	share int
	of    map[string]int // how many each sender has, at work or waiting
}

func newQueue(working, waiting, share int) *queue {
	return &queue{working: make(chan struct{}, working), most: int64(waiting), share: share, of: map[string]int{}}
}

// enter waits for a place, which leave gives back. Without one it is errBusy, or errTooMany for
// a sender who has their share.
func (q *queue) enter(ctx context.Context, sender string) (leave func(), err error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.of[sender] >= q.share {
		return nil, errTooMany
	}
	q.of[sender]++
	q.mu.Unlock()
	err = q.wait(ctx)
	q.mu.Lock()
	if err != nil {
		q.gone(sender)
		return nil, err
	}
	return func() {
		<-q.working
		q.mu.Lock()
		defer q.mu.Unlock()
		q.gone(sender)
	}, nil
}

// gone counts one less of a sender, under mu.
func (q *queue) gone(sender string) {
	if q.of[sender]--; q.of[sender] == 0 {
		delete(q.of, sender)
	}
}

// wait takes a place, at once or within its time.
func (q *queue) wait(ctx context.Context) error {
	select {
	case q.working <- struct{}{}:
		return nil
	default:
	}
	defer q.waiting.Add(-1)
	if q.waiting.Add(1) > q.most {
		return errBusy
	}
	late := time.NewTimer(maxWait)
	defer late.Stop()
	select {
	case q.working <- struct{}{}:
		return nil
	case <-late.C:
		return errBusy
	case <-ctx.Done():
		return ctx.Err()
	}
}

// WaitsForOthers takes routes out of the queue whose requests spend their time waiting for
// somebody else, an identity provider or an event: they would keep places from those that can
// be answered.
func (s *Server) WaitsForOthers(routes ...string) {
	for _, route := range routes {
		s.unqueued[route] = true
	}
}

// inTurn calls h when there is a place. A body is read before: whoever sends slowly takes none.
// What courts and the others send is large, and is held to a rate and to the memory of bodies:
// only where they ask without a body they take turns.
func (s *Server) inTurn(method, pattern string, limit document.Bounds, h Handler) Handler {
	queue := s.queue
	switch route := method + " " + pattern; {
	case isProbe(route) || !OfPeople(route) && limit != NoBody:
		return h
	case !OfPeople(route):
		queue = s.others
	}
	return func(w http.ResponseWriter, r *http.Request) error {
		if s.unqueued[pattern] {
			return h(w, r)
		}
		if r.ContentLength != 0 {
			raw, err := io.ReadAll(r.Body)
			rest := io.Reader(bytes.NewReader(raw))
			if err != nil {
				rest = io.MultiReader(rest, broken{err})
			}
			r.Body = struct {
				io.Reader
				io.Closer
			}{rest, r.Body}
		}
		sender, _ := s.sender(r) // refused where there is a rate; here it is who is connected
		answer := &place{ResponseWriter: w, enter: func(ctx context.Context) (func(), error) { return queue.enter(ctx, network(sender)) }}
		if err := answer.take(r.Context()); err != nil {
			return err
		}
		defer func() { answer.leave() }()
		return h(answer, r.WithContext(context.WithValue(r.Context(), placeKey{}, answer)))
	}
}

// Aside runs what waits for a server of somebody else, in a request whose context this is. If
// that takes its time the request gives its place back meanwhile and takes another one
// afterwards; without one the error is a refusal.
func (s *Server) Aside(ctx context.Context, wait func()) error {
	p, ok := ctx.Value(placeKey{}).(*place)
	if !ok { // of a route without a queue
		wait()
		return nil
	}
	long := time.AfterFunc(asideAfter, p.leave)
	if wait(); long.Stop() {
		return nil
	}
	p.leave()
	return p.take(ctx)
}

// place is an answer with its place, which is given back when the answer begins: whoever reads
// slowly keeps none.
type place struct {
	http.ResponseWriter
	enter func(ctx context.Context) (leave func(), err error)
	leave func()
}

type placeKey struct{} // of a context: the *place of its request

func (p *place) take(ctx context.Context) error {
	leave, err := p.enter(ctx)
	if err == nil {
		p.leave = sync.OnceFunc(leave)
	}
	return err
}

// WriteHeader implements http.ResponseWriter.
func (p *place) WriteHeader(status int) {
	p.leave()
	p.ResponseWriter.WriteHeader(status)
}

// Write implements io.Writer.
func (p *place) Write(b []byte) (int, error) {
	p.leave()
	return p.ResponseWriter.Write(b)
}

// Unwrap is for http.ResponseController.
func (p *place) Unwrap() http.ResponseWriter { return p.ResponseWriter }

// broken is a body that could not be read to its end.
type broken struct{ err error }

func (b broken) Read([]byte) (int, error) { return 0, b.err }
