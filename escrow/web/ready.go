package web

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"net/http"
	"sync"
	"time"

	"github.com/penname/penname/verifier/refusal"
)

// readyFor is how long one look at the parts answers everybody who asks.
const readyFor = time.Second

// readiness is what /readyz answers.
type readiness struct {
	Ready bool              `json:"ready"`
	Parts map[string]string `json:"parts"` // "ok", or the code of why it is in doubt
}

// parts looks at the parts of the service for everybody who asks at a time.
type parts struct {
	mu     sync.Mutex
	looked time.Time
	found  readiness
}

// readyz says which part of the service is in doubt, and nothing more of it: names
// of parts and codes. Its status is 503 if a side can do nothing for anybody, so that
// a load balancer asks another process; a part beside which others work, as an
// identity provider is, is named and keeps it 200.
func (s *Server) readyz(w http.ResponseWriter, r *http.Request) error {
	found, changed := s.parts.look(r.Context(), s.Config.Ready)
	if changed {
		s.Log.LogAttrs(r.Context(), slog.LevelWarn, "readiness changed", slog.Bool("ready", found.Ready), slog.Any("in_doubt", found.inDoubt()))
	}
	status := http.StatusOK
	if !found.Ready {
		status = http.StatusServiceUnavailable
		w.Header().Set("Retry-After", "1")
	}
	return WriteJSON(w, status, found)
}

// look also tells whether other parts are in doubt than at the last look.
func (p *parts) look(ctx context.Context, ask func(context.Context) map[string]error) (found readiness, changed bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if now := time.Now(); now.Sub(p.looked) > readyFor {
		before := p.found.inDoubt()
		p.found = readiness{Ready: true, Parts: map[string]string{}}
		if ask != nil {
			for part, err := range ask(context.WithoutCancel(ctx)) { // who leaves spoils it for nobody
				p.found.add(part, err)
			}
		}
		p.looked, changed = time.Now(), !maps.Equal(before, p.found.inDoubt())
	}
	return p.found, changed
}

// inDoubt are the codes of the parts that are.
func (r readiness) inDoubt() map[string]string {
	codes := maps.Clone(r.Parts)
	maps.DeleteFunc(codes, func(_, code string) bool { return code == "ok" })
	return codes
}

func (r *readiness) add(part string, err error) {
	var beside Beside
	switch e := refusal.Of(err); {
	case err == nil:
		r.Parts[part] = "ok"
		return
	case e != nil:
		r.Parts[part] = e.Code
	default:
		r.Parts[part] = errInternal.Code
	}
	if !errors.As(err, &beside) {
		r.Ready = false
	}
}

// Beside marks the error of a part without which the others work.
type Beside struct{ Err error }

// Error is the error's.
func (b Beside) Error() string { return b.Err.Error() }

// Unwrap returns the error.
func (b Beside) Unwrap() error { return b.Err }
