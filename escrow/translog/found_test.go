package translog_test

import (
	"errors"
	"net/http"
	"strings"
	"testing"

	"github.com/penname/penname/escrow/translog"
)

// What a witness says is its word, which it does not sign: whoever hears of it is
// told whose word it is, and nothing is said against the log.
func TestFoundJ3AWitnessIsNamed(t *testing.T) {
	for name, c := range map[string]struct {
		status    int
		mediaType string
		body      string
		want      error // nil: no alarm at all
	}{
		"names a larger size":                      {http.StatusConflict, "text/x.tlog.size", "1000\n", translog.ErrRollback},
		"the same, with a parameter (RFC 9110)":    {http.StatusConflict, "text/x.tlog.size; charset=utf-8", "1000\n", translog.ErrRollback},
		"says that the tree is another":            {http.StatusUnprocessableEntity, "text/plain", "no", translog.ErrFork},
		"lesson 10: says so with 409, and no size": {http.StatusConflict, "text/plain", "1000\n", nil},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.append(0, 3)
			w.posts[0].misbehave(func(rw http.ResponseWriter, r *http.Request, _ http.Handler) {
				discard(r)
				rw.Header().Set("Content-Type", c.mediaType)
				rw.WriteHeader(c.status)
				_, _ = rw.Write([]byte(c.body))
			})
			if _, err := w.publisher.Publish(t.Context()); err != nil {
				t.Fatal("one witness's word stops a quorum:", err)
			}
			for _, alarm := range []error{translog.ErrRollback, translog.ErrFork, translog.ErrForgot} {
				if want := alarm == c.want; (w.alarmed(alarm) == 1) != want {
					t.Errorf("%v: %d", alarm, w.alarmed(alarm))
				}
			}
			for _, err := range w.alarms {
				if c.want != nil && errors.Is(err, c.want) && !strings.Contains(errors.Unwrap(err).Error(), "witness.example/0") {
					t.Errorf("whose word it is nobody is told: %v", errors.Unwrap(err))
				}
			}
		})
	}
}
