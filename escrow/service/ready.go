package service

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/penname/penname/escrow/keep"
	"github.com/penname/penname/escrow/web"
	"github.com/penname/penname/escrow/web/person"
)

// askAgain is how long nobody asks an identity provider that did not answer.
const askAgain = time.Second

// late is an identity provider that may answer after the start.
type late struct {
	now  func() time.Time
	open func(ctx context.Context) (person.Proving, error)

	mu      sync.Mutex // held while it is asked: the others wait for that answer
	proving person.Proving
	asked   time.Time
	err     error
}

// get is person.Provider.Later.
func (l *late) get(ctx context.Context) (person.Proving, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.proving != nil || l.err != nil && l.now().Sub(l.asked).Abs() < askAgain {
		return l.proving, l.err
	}
	proving, err := l.open(context.WithoutCancel(ctx)) // who leaves spoils it for nobody
	if l.asked, l.err = l.now(), err; err == nil {
		l.proving = proving
	}
	return l.proving, err
}

// proving returns an identity provider, asking it if it has not answered yet.
func proving(ctx context.Context, p person.Provider) (person.Proving, error) {
	if p.Proving != nil {
		return p.Proving, nil
	}
	return p.Later(ctx)
}

// OpenProviders asks the identity providers again that have not answered. What they
// say now is in the log, by their ids.
func (s *Service) OpenProviders(ctx context.Context) error {
	if s.Issuing == nil {
		return nil
	}
	for _, p := range s.Issuing.Providers {
		if _, err := proving(ctx, p); err != nil {
			s.warnOfProvider(ctx, p, err)
		}
	}
	return nil
}

func (s *Service) warnOfProvider(ctx context.Context, p person.Provider, err error) {
	s.Log.WarnContext(ctx, "nobody can prove their identity there", append([]any{slog.String("id", p.ID)}, why(err)...)...)
}

// readyTime is how long a part may take to say that it is well.
const readyTime = 4 * time.Second

// Ready says of each part of the service whether it can do its work, within seconds:
// nil if it can. All are asked at once.
func (s *Service) Ready(ctx context.Context) map[string]error {
	ctx, cancel := context.WithTimeout(ctx, readyTime)
	defer cancel()
	parts := s.parts()
	found := make(map[string]error, len(parts))
	var mu sync.Mutex
	var wg sync.WaitGroup
	for name, ask := range parts {
		wg.Go(func() {
			err := ask(ctx)
			mu.Lock()
			defer mu.Unlock()
			found[name] = err
		})
	}
	wg.Wait()
	return found
}

// parts are what this process stands on, by the names of /readyz.
func (s *Service) parts() map[string]func(context.Context) error {
	parts := map[string]func(context.Context) error{
		"rules": func(context.Context) error { _, err := s.rules.known(); return err },
	}
	side := func(name string, database interface{ Ready(context.Context) error }, keys keep.Versions) {
		parts[name+".database"] = database.Ready
		parts[name+".keys"] = func(ctx context.Context) error { _, _, err := keys.Versions(ctx, 0); return err }
	}
	if i := s.Issuing; i != nil {
		side(sideIssue, i.Store, i.Keys)
		for _, p := range i.Providers {
			parts["issue.identity_provider."+p.ID] = func(ctx context.Context) error { return readyProvider(ctx, p) }
		}
	}
	if d := s.Disclosing; d != nil {
		side(sideDisclose, d.Store, d.Keys)
	}
	if k := s.Keeping; k != nil {
		side(sideKeep, k.Store, k.Keys)
	}
	return parts
}

// readyProvider is of a part beside which all others work: who is signed in goes on,
// and courts and the log need none.
func readyProvider(ctx context.Context, p person.Provider) error {
	at, err := proving(ctx, p)
	if asked, ok := at.(interface{ Ready(context.Context) error }); err == nil && ok {
		err = asked.Ready(ctx)
	}
	if err != nil {
		return web.Beside{Err: err}
	}
	return nil
}
