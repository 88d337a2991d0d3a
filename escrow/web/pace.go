package web

import (
	"errors"
	"io"
	"net/http"
	"os"
	"time"
)

// line is how slow a line may be. What ends a transfer is that nothing comes, or too
// little for too long, and never that it takes long (golang/go#39468).
type line struct {
	idle  time.Duration // between two bytes
	start time.Duration // for a transfer to reach the least rate
	least int64         // bytes a second
}

// slowest is a line of 64 kbit/s.
var slowest = line{idle: 10 * time.Second, start: 20 * time.Second, least: 8 << 10}

// chunk is how many bytes are written at a time.
const chunk = 32 << 10

// pace holds both ways of a request to these limits: it is its body and its writer.
// The times are the machine's, as those of the connection are.
type pace struct {
	http.ResponseWriter
	control *http.ResponseController
	body    io.ReadCloser
	in, out transfer
}

// transfer is how far one way is.
type transfer struct {
	line
	began time.Time
	bytes int64
}

// due is when the next bytes are too late.
func (t *transfer) due() time.Time {
	now := time.Now()
	if t.began.IsZero() {
		t.began = now
	}
	idle, slow := now.Add(t.idle), t.began.Add(t.start+time.Duration(t.bytes)*time.Second/time.Duration(t.least))
	if slow.Before(idle) {
		return slow
	}
	return idle
}

// paced returns w and r under these limits.
func (l line) paced(w http.ResponseWriter, r *http.Request) (http.ResponseWriter, *http.Request) {
	p := &pace{ResponseWriter: w, control: http.NewResponseController(w), body: r.Body, in: transfer{line: l}, out: transfer{line: l}}
	p.out.idle *= 2 // net/http may wait for the rest of a body before it writes
	if r.Body != nil && r.Body != http.NoBody {
		p.readBy(p.in.due())           // also for what net/http reads of a body that no handler wanted
		r = r.WithContext(r.Context()) // a copy, whose body is ours
		r.Body = p
	}
	return p, r
}

// readBy and writeBy do nothing to a recorder in a test, which has no deadlines.
func (p *pace) readBy(t time.Time)  { p.control.SetReadDeadline(t) }  //nolint:errcheck // see above
func (p *pace) writeBy(t time.Time) { p.control.SetWriteDeadline(t) } //nolint:errcheck // see above

// Read implements io.Reader, of the body. It fails with errTooSlow.
func (p *pace) Read(b []byte) (int, error) {
	p.readBy(p.in.due())
	n, err := p.body.Read(b)
	p.in.bytes += int64(n)
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		p.Header().Set("Connection", "close") // the rest may still come
		return n, errTooSlow
	case err != nil:
		// From here net/http reads on, to see whether the client leaves: it would take the
		// end of our time for that, and cancel the request.
		p.readBy(time.Time{})
	}
	return n, err
}

// Close implements io.Closer, of the body.
func (p *pace) Close() error { return p.body.Close() }

// WriteHeader implements http.ResponseWriter.
func (p *pace) WriteHeader(status int) {
	p.writeBy(p.out.due())
	p.ResponseWriter.WriteHeader(status)
}

// Write implements io.Writer, of the answer.
func (p *pace) Write(b []byte) (int, error) {
	for total := 0; ; {
		p.writeBy(p.out.due())
		n, err := p.ResponseWriter.Write(b[:min(len(b), chunk)])
		p.out.bytes += int64(n)
		total += n
		if b = b[n:]; err != nil || len(b) == 0 {
			return total, err
		}
	}
}

// Unwrap is for http.ResponseController.
func (p *pace) Unwrap() http.ResponseWriter { return p.ResponseWriter }
