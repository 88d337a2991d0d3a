package token

import (
	"context"
	"errors"
	"io"
	"mime"
	"net/http"
	neturl "net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/penname/penname/verifier/document"
)

const (
	keysFresh    = 15 * time.Minute // a set is used this long without asking again
	keysStale    = time.Hour        // and this long if the issuer cannot be reached
	keysInterval = time.Minute      // no more than one request in this time, whatever tokens ask for
	fetchTimeout = 10 * time.Second
)

var (
	errStatus   = errors.New("the server did not answer 200")
	errTooLarge = errors.New("the answer is too large")
	errType     = errors.New("the answer has another media type")
	errRecently = errors.New("the last attempt failed a moment ago")
	errPlain    = errors.New("keys are fetched over https only")
	errRedirect = errors.New("the server redirects to another origin or too often")
)

// HTTPKeySource returns a source for [Verifier.Keys] that reads a JWK Set from
// url, the jwks_uri of the issuer. A set is kept for 15 minutes, or for an hour if
// the issuer cannot be reached. A token with an unknown kid makes it ask again,
// at most once a minute, so that a rotation is seen at once and a flood of
// unknown kids is not passed on. At most 64 KiB are read; redirects are not
// followed. Plain http is refused except for a loopback address: whoever can change the
// answer can sign in as anybody. A nil client means one with a timeout of 10
// seconds; now is the clock. Make one source and share it.
func HTTPKeySource(url string, client *http.Client, now func() time.Time) func(context.Context) (*KeySet, error) {
	s := &keySource{url: url, client: httpClient(client, 0), now: now, busy: make(chan struct{}, 1)}
	return func(ctx context.Context) (*KeySet, error) { return s.get(ctx, keysFresh) }
}

// keySource is a cache of one set.
type keySource struct {
	url    string
	client *http.Client
	now    func() time.Time
	busy   chan struct{} // held while fetching

	mu      sync.Mutex
	set     *KeySet
	fetched time.Time // when set was
	tried   time.Time // when a fetch was last begun
}

// get returns a set that is younger than fresh, or the last one if there was an
// attempt within keysInterval or the attempt fails within keysStale. While one
// caller asks, the others go on with the last one: a slow issuer holds up nobody
// but who has a token with an unknown kid.
func (s *keySource) get(ctx context.Context, fresh time.Duration) (*KeySet, error) {
	if set, err := s.cached(fresh); set != nil || err != nil {
		return set, err
	}
	select {
	case s.busy <- struct{}{}:
		defer func() { <-s.busy }()
	default:
		if set, _ := s.cached(keysStale); set != nil && fresh > 0 {
			return set, nil
		}
		select {
		case s.busy <- struct{}{}:
			defer func() { <-s.busy }()
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	if set, err := s.cached(fresh); set != nil || err != nil { // fetched while we waited
		return set, err
	}
	began := s.now()
	set, err := s.fetch(ctx)
	if ctx.Err() != nil { // the caller's haste says nothing about the server
		return nil, ctx.Err()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.tried = began
	if err == nil {
		s.set, s.fetched = set, began
		return set, nil
	}
	if s.set != nil && began.Sub(s.fetched) < keysStale {
		return s.set, nil
	}
	return nil, err
}

// cached returns what can be said without asking; nothing if one must ask.
func (s *keySource) cached(fresh time.Duration) (*KeySet, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	age, triedAgo := s.now().Sub(s.fetched), s.now().Sub(s.tried)
	switch recently := !s.tried.IsZero() && triedAgo < keysInterval; {
	case s.set != nil && (age < fresh || recently && age < keysStale):
		return s.set, nil
	case recently:
		return nil, errRecently
	}
	return nil, nil
}

func (s *keySource) fetch(ctx context.Context) (*KeySet, error) {
	if u, err := neturl.Parse(s.url); err != nil || !document.Secure(u, document.Loopback) {
		return nil, errPlain
	}
	body, err := fetch(ctx, s.client, s.url, document.MaxKeySet, "application/jwk-set+json", "application/json")
	if err != nil {
		return nil, err
	}
	set, err := ParseKeySet(body)
	if err != nil {
		return nil, err
	}
	set.refresh = func(ctx context.Context) (*KeySet, error) { return s.get(ctx, 0) }
	return set, nil
}

// httpClient copies c with a timeout and at most that many redirects, none of
// which leaves the origin. A nil c is a new client.
func httpClient(c *http.Client, redirects int) *http.Client {
	own := http.Client{}
	if c != nil {
		own = *c
	}
	if own.Timeout == 0 {
		own.Timeout = fetchTimeout
	}
	own.CheckRedirect = func(req *http.Request, via []*http.Request) error {
		if len(via) > redirects || origin(req.URL.String()) != origin(via[0].URL.String()) {
			return errRedirect
		}
		return nil
	}
	return &own
}

// fetch reads at most limit bytes of a successful answer of one of the media types.
func fetch(ctx context.Context, client *http.Client, url string, limit int64, types ...string) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Accept", strings.Join(types, ", "))
	resp, err := client.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, errStatus
	}
	if typ, _, _ := mime.ParseMediaType(resp.Header.Get("Content-Type")); !slices.Contains(types, typ) {
		return nil, errType
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, limit+1))
	if err != nil {
		return nil, err
	}
	if int64(len(body)) > limit {
		return nil, errTooLarge
	}
	return body, nil
}
