package web

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

// How many requests of people, and of platforms for them, are worked on at a time. Under more
// than the service can do the others wait, which is where latency rises; whoever finds the queue
// full, or does not get their turn in time, is told to come again. So memory stays bounded, and
// what is begun comes to its end.
const (
	maxWorking = 256
	maxWaiting = 1024
	maxWait    = time.Second // a request that then finds the database frozen is still answered within five
)

// queue is what is worked on, and what waits.
type queue struct {
	working chan struct{}
	waiting atomic.Int64
	most    int64
}

func newQueue(working, waiting int) *queue {
	return &queue{working: make(chan struct{}, working), most: int64(waiting)}
}

// enter waits for a place, which leave gives back. Without one it is errBusy.
func (q *queue) enter(ctx context.Context) (leave func(), err error) {
	leave = func() { <-q.working }
	select {
	case q.working <- struct{}{}:
		return leave, nil
	default:
	}
	defer q.waiting.Add(-1)
	if q.waiting.Add(1) > q.most {
		return nil, errBusy
	}
	late := time.NewTimer(maxWait)
	defer late.Stop()
	select {
	case q.working <- struct{}{}:
		return leave, nil
	case <-late.C:
		return nil, errBusy
	case <-ctx.Done():
		return nil, ctx.Err()
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
func (s *Server) inTurn(method, pattern string, h Handler) Handler {
	if !OfPeople(method + " " + pattern) {
		return h
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
		leave, err := s.queue.enter(r.Context())
		if err != nil {
			return err
		}
		answer := &place{ResponseWriter: w, leave: sync.OnceFunc(leave)}
		defer answer.leave()
		return h(answer, r)
	}
}

// place is an answer with its place, which is given back when the answer begins: whoever reads
// slowly keeps none.
type place struct {
	http.ResponseWriter
	leave func()
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
