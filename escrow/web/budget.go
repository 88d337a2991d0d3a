package web

import (
	"bytes"
	"io"
	"net/http"
	"strings"
	"sync/atomic"

	"github.com/penname/penname/verifier/document"
)

// How much of requests is in memory at a time. What is decoded of a body, with
// what is checked of it, is some three times as large. Small bodies have a budget
// of their own: filings of warrants never keep people from signing in.
const (
	maxLarge   = 64 << 20 // bytes of the bodies of all requests together
	maxSmall   = 16 << 20 // bytes of the bodies of routes that take little
	little     = 64 << 10 // bytes
	maxParams  = 64       // of a query or a form
	largeReply = 16 << 20 // bytes that [Server.Weighing] counts
)

// Form bounds the body of a page's form, or of a request in the form of one:
// 64 KiB, and 64 parameters as in a query.
var Form = document.Bounds{Bytes: little}

// Text is for a form in which people write: 8,000 characters of any script, percent-encoded.
var Text = document.Bounds{Bytes: 100 << 10}

// NoBody is for routes that read no body.
var NoBody = document.Bounds{}

// budget is how many bytes more may be in memory.
type budget struct{ free atomic.Int64 }

func newBudget(bytes int64) *budget {
	b := &budget{}
	b.free.Store(bytes)
	return b
}

// take reports whether n bytes were there to be taken. Else it takes none.
func (b *budget) take(n int64) bool {
	if b.free.Add(-n) >= 0 {
		return true
	}
	b.free.Add(n)
	return false
}

// Memory is how many bytes the bodies of requests take, and may take.
type Memory struct{ Used, Limit int64 }

// Memory says how much memory the bodies of requests take at the moment, large ones and
// small ones: in whole MiB, so that no form that a person sends is seen in it.
func (s *Server) Memory() map[string]Memory {
	of := func(b *budget, limit int64) Memory { return Memory{(limit - b.free.Load()) &^ (1<<20 - 1), limit} }
	return map[string]Memory{"large": of(s.large, maxLarge), "small": of(s.small, maxSmall)}
}

// body is what is read of the body of a request, and counts while it is read:
// who declares much and sends nothing holds up nobody. Who declares more than
// there is room for is not begun with, so that the others come to their end.
type body struct {
	io.ReadCloser
	from   *budget
	limit  int64
	read   int64 // bytes, taken from the budget
	params int   // of a form
	form   bool
}

// Read implements io.Reader. Its refusals are errTooLarge, errParameters and
// errBusy.
func (b *body) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if !b.from.take(int64(n)) {
		return 0, errBusy
	}
	b.read += int64(n)
	if b.form {
		b.params += bytes.Count(p[:n], []byte("&"))
	}
	switch {
	case b.read > b.limit:
		return 0, errTooLarge
	case b.params >= maxParams:
		return 0, errParameters
	}
	return n, err
}

// bounded calls h with a body that is read within the bounds and within the
// budget, which gets back what was read when h returns.
func (s *Server) bounded(limit document.Bounds, r *http.Request, h func() error) error {
	if strings.Count(r.URL.RawQuery, "&") >= maxParams {
		return errParameters
	}
	b := &body{ReadCloser: r.Body, from: s.small, limit: limit.Bytes, form: limit.Values == 0}
	if limit.Bytes > little {
		b.from = s.large
	}
	if r.ContentLength > 0 && min(r.ContentLength, b.limit) > b.from.free.Load() {
		return errBusy
	}
	r.Body = b
	if !b.form {
		r.Body = struct {
			io.Reader
			io.Closer
		}{limit.Reader(b), b}
	}
	defer func() { b.from.free.Add(b.read) }()
	return h()
}

// Weighing counts the answer of h, which can be large, against the budget of
// large bodies while it is made and sent.
func (s *Server) Weighing(h Handler) Handler {
	return func(w http.ResponseWriter, r *http.Request) error {
		if !s.large.take(largeReply) {
			return errBusy
		}
		defer s.large.free.Add(largeReply)
		return h(w, r)
	}
}
