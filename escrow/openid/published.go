package openid

import (
	"context"
	"errors"
	"net/http"
	"sync"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/penname/penname/verifier/token"
)

var errNotFetched = errors.New("no address is fetched here")

// published are the keys that platforms publish at an address of theirs (RFC 7591, 2:
// jwks_uri). What is fetched, how large it may be, for how long it counts and how often
// it is fetched is as [token.HTTPKeySource] says, where Config.HTTP lets it through.
type published struct {
	http *http.Client
	now  func() time.Time

	mu      sync.Mutex
	sources map[string]func(context.Context) (*token.KeySet, error) // by address
}

// key returns the key with that kid. An error of another kind than document.UnknownKey
// says that there are no keys to look into.
func (p *published) key(ctx context.Context, address, kid string) (jose.JSONWebKey, error) {
	if p.http == nil {
		return jose.JSONWebKey{}, errNotFetched
	}
	set, err := p.source(address)(ctx)
	if err != nil {
		return jose.JSONWebKey{}, err
	}
	k, err := set.Named(ctx, kid)
	if err != nil {
		return jose.JSONWebKey{}, err
	}
	return jose.JSONWebKey{Key: k.Public, KeyID: kid, Algorithm: string(k.Algorithm), Use: "sig"}, nil
}

// source is made once for an address, so that a flood of requests shares its fetches.
func (p *published) source(address string) func(context.Context) (*token.KeySet, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.sources[address] == nil {
		if p.sources == nil {
			p.sources = map[string]func(context.Context) (*token.KeySet, error){}
		}
		p.sources[address] = token.HTTPKeySource(address, p.http, p.now)
	}
	return p.sources[address]
}
