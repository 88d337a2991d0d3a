package service

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/penname/penname/escrow/web"
	"github.com/penname/penname/escrow/web/person"
	"github.com/penname/penname/verifier/identity"
	"github.com/penname/penname/verifier/refusal"
)

// answers is an identity provider that answers.
type answers struct{ person.Proving }

func (answers) Origin() string { return "https://id.example" }

func (answers) Finish(context.Context, identity.Flow, url.Values) (identity.Identity, error) {
	return identity.Identity{}, errors.New("nobody signs in here")
}

// G2: an identity provider that is down at the start ended serve, and with it the
// courts and the log. Now it is asked again, and nothing else waits for it.
func TestFoundG2ProviderDownAtTheStart(t *testing.T) {
	down := providerConfig{ID: "bank", Issuer: "https://127.0.0.1:1", ClientID: "penname", ACRValues: []string{"high"}, PrivateNetworks: []string{"127.0.0.1"}}
	p, err := down.provider(t.Context(), "https://penname.example", nil, nil)
	if err != nil || p.Proving != nil {
		t.Fatalf("the start: %v", err)
	}
	if _, err := p.Later(t.Context()); !errors.Is(err, identity.ErrUnavailable) {
		t.Errorf("what needs it: %v", err)
	} else if why := errors.Unwrap(err); why == nil || why.Error() != "connection refused" {
		t.Errorf("why: %v", why)
	}
	var logs bytes.Buffer
	s := &Service{Parts: Parts{Log: slog.New(slog.NewTextHandler(&logs, nil)), Issuing: &Issuing{Providers: []person.Provider{p}}}}
	if err := s.OpenProviders(t.Context()); err != nil || !strings.Contains(logs.String(), "id=bank") || !strings.Contains(logs.String(), "code="+identity.ErrUnavailable.Code) {
		t.Errorf("%v; the log says %s", err, logs.String())
	}
	if err := s.DropFreedMemory(t.Context()); err != nil {
		t.Error(err)
	}
	var beside web.Beside
	if err := readyProvider(t.Context(), p); !errors.As(err, &beside) {
		t.Errorf("a provider that is down makes the service unready: %v", err)
	}

	down.ACRValues = nil // time does not mend that
	if _, err := down.provider(t.Context(), "https://penname.example", nil, nil); !errors.Is(err, identity.ErrConfig) {
		t.Errorf("a provider without a level: %v", err)
	}
}

func TestFoundG2ALateProviderIsAskedAgain(t *testing.T) {
	now, asked := time.Unix(1_800_000_000, 0), 0
	outage := identity.ErrTimeout
	l := &late{now: func() time.Time { return now }, open: func(context.Context) (person.Proving, error) {
		if asked++; outage != nil {
			return nil, outage
		}
		return answers{}, nil
	}}
	for range 3 {
		if p, err := l.get(t.Context()); !errors.Is(err, identity.ErrTimeout) || p != nil {
			t.Error(p, err)
		}
	}
	outage = nil
	now = now.Add(askAgain)
	for range 3 {
		if p, err := l.get(t.Context()); err != nil || p == nil {
			t.Error(p, err)
		}
	}
	if asked != 2 {
		t.Errorf("asked %d times, want 2", asked)
	}
}

// G4: what a configuration names is judged when it is read.
func TestFoundG4PrivateNetworksAreChecked(t *testing.T) {
	p := providerConfig{ID: "bank", Issuer: "https://bank.example", ClientID: "penname", ACRValues: []string{"high"}, PrivateNetworks: []string{"169.254.0.0/16"}}
	if _, err := p.provider(t.Context(), "https://penname.example", nil, nil); !errors.Is(err, identity.ErrPrivateNetworks) || refusal.Of(err) == nil {
		t.Error(err)
	}
}
