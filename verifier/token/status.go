package token

import (
	"bytes"
	"compress/zlib"
	"context"
	"encoding/base64"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/json"

	"github.com/penname/penname/verifier/document"
)

const (
	maxStatusToken = 4 << 20 // bytes, compact
	maxStatusList  = 4 << 20 // bytes, decompressed: 33,554,432 tokens
	maxLists       = 256     // lists kept by one HTTPStatusSource
	maxRedirects   = 3
	statusTTL      = 5 * time.Minute // where a list names no ttl
	statusMaxTTL   = time.Hour       // whatever a list says: section 11.5, "within reasonable bounds"
	statusRetry    = 10 * time.Second
	statusLeeway   = time.Minute // a list can be from a clock that is this far ahead
)

// StatusSource says whether a token was withdrawn. uri and index are those of the
// status claim of a token whose signature is good. An error means that nothing
// is known, and the token is refused.
type StatusSource interface {
	Withdrawn(ctx context.Context, uri string, index int) (bool, error)
}

// StatusList is a Token Status List (draft-ietf-oauth-status-list, section 4) of
// one bit for each token: 0 VALID, 1 INVALID.
type StatusList struct {
	URI      string        // where it is published, and its subject
	IssuedAt time.Time     // seconds are signed, a fraction is cut off
	Expiry   time.Time     // it must not be used from then on; zero: never, which VerifyStatusList refuses
	TTL      time.Duration // whole seconds it may be cached; zero: not said
	Bits     []byte        // token i is bit i%8, counted from the least significant, of byte i/8
}

// Withdraw sets the bit of a token. It reports false if the list is too short.
func (l *StatusList) Withdraw(index int) bool {
	if index < 0 || index >= 8*len(l.Bits) {
		return false
	}
	l.Bits[index/8] |= 1 << (index % 8)
	return true
}

// Withdrawn reports the bit of a token; ok is false if the list is too short, in
// which case nothing is known about the token.
func (l *StatusList) Withdrawn(index int) (withdrawn, ok bool) {
	if index < 0 || index >= 8*len(l.Bits) {
		return false, false
	}
	// Section 4.1, step 3: blocks are "packed into bytes from the least significant bit"
	return l.Bits[index/8]>>(index%8)&1 == 1, true
}

// statusList is the status_list claim (section 4.2).
type statusList struct {
	Bits int    `json:"bits"`
	Lst  string `json:"lst"`
}

// statusClaims is the payload of a Status List Token (section 5.1).
type statusClaims struct {
	Sub        string     `json:"sub"`
	Iat        int64      `json:"iat"`
	Exp        int64      `json:"exp"`
	TTL        int64      `json:"ttl,omitempty"`
	StatusList statusList `json:"status_list"`
}

// SignStatusList signs a list with the issuer's private key, as a JWS of typ
// "statuslist+jwt" (section 5.1). Give every list the same number of bits and fill
// it in random order, so that neither its size nor a position says when a token
// was issued. Allot an index once: SignStatusList cannot see a second use.
func SignStatusList(key jose.JSONWebKey, l StatusList) (string, error) {
	compressed, err := l.compressed()
	if err != nil {
		return "", err
	}
	payload, err := json.Marshal(statusClaims{
		Sub: l.URI, Iat: l.IssuedAt.Unix(), Exp: l.Expiry.Unix(), TTL: int64(l.TTL / time.Second),
		StatusList: statusList{Bits: 1, Lst: base64.RawURLEncoding.EncodeToString(compressed)},
	})
	if err != nil {
		return "", ErrCannotSign.Because(err)
	}
	return statusFormat.Sign(key, payload)
}

// compressed is what both forms of a list carry.
func (l *StatusList) compressed() ([]byte, error) {
	if l.URI == "" || l.IssuedAt.IsZero() || !l.Expiry.After(l.IssuedAt) || len(l.Bits) == 0 || len(l.Bits) > maxStatusList || l.TTL < 0 {
		return nil, ErrStatusListInvalid
	}
	// Section 4.1, step 4: "using DEFLATE with the ZLIB data format. Implementations
	// are RECOMMENDED to use the highest compression level available."
	var compressed bytes.Buffer
	w, err := zlib.NewWriterLevel(&compressed, zlib.BestCompression)
	if err == nil {
		_, err = w.Write(l.Bits)
	}
	if err == nil {
		err = w.Close()
	}
	if err != nil {
		return nil, ErrCannotSign.Because(err)
	}
	return compressed.Bytes(), nil
}

// VerifyStatusList checks a Status List Token by section 8.3: typ, signature with
// one of the issuer's keys, sub equal to uri, iat (with a minute's leeway) and exp around now. It refuses
// lists of more than one bit a token, without exp, over 4 MiB, or decompressing
// to more than 4 MiB. Every error is [ErrStatusUnknown].
func VerifyStatusList(ctx context.Context, raw, uri string, keys *KeySet, now time.Time) (*StatusList, error) {
	signed, err := statusFormat.Open(raw)
	if err != nil {
		return nil, ErrStatusUnknown.Because(err)
	}
	key, err := keys.verify(ctx, statusFormat, signed)
	if err != nil {
		return nil, ErrStatusUnknown.Because(err)
	}
	l, err := parseStatusList(signed.Payload)
	if err != nil {
		return nil, ErrStatusUnknown.Because(err)
	}
	if l.URI != uri || l.IssuedAt.After(now.Add(statusLeeway)) || !now.Before(l.Expiry) || !key.InForce(l.IssuedAt) {
		return nil, ErrStatusUnknown
	}
	return l, nil
}

var errStatusList = errors.New("not a status list of one bit a token with iat and exp")

// parseStatusList reads a payload.
func parseStatusList(payload []byte) (*StatusList, error) {
	var c struct {
		Sub        string          `json:"sub"`
		Iat        json.RawMessage `json:"iat"`
		Exp        json.RawMessage `json:"exp"`
		TTL        json.RawMessage `json:"ttl"`
		StatusList statusList      `json:"status_list"`
	}
	if statusFormat.Read(payload, &c, nil) != nil || c.StatusList.Bits != 1 {
		return nil, errStatusList
	}
	l := &StatusList{URI: c.Sub}
	var okIat, okExp bool
	l.IssuedAt, okIat = document.NumericDate(c.Iat)
	l.Expiry, okExp = document.NumericDate(c.Exp)
	if !okIat || !okExp {
		return nil, errStatusList
	}
	if c.TTL != nil { // "The value of the claim MUST be a positive number"
		ttl, ok := document.NumericDate(c.TTL)
		if !ok || ttl.Unix() <= 0 || ttl.Unix() > 1<<32 {
			return nil, errStatusList
		}
		l.TTL = time.Duration(ttl.Unix()) * time.Second
	}
	compressed, err := document.DecodeBase64(c.StatusList.Lst)
	if err != nil {
		return nil, errStatusList
	}
	in := bytes.NewReader(compressed)
	r, err := zlib.NewReader(in)
	if err != nil {
		return nil, errStatusList
	}
	// A bomb is cut off: nothing is decompressed beyond the limit.
	l.Bits, err = io.ReadAll(io.LimitReader(r, maxStatusList+1))
	if err != nil || len(l.Bits) > maxStatusList || in.Len() > 0 {
		return nil, errStatusList
	}
	return l, nil
}

// HTTPStatusSource is a [StatusSource] that fetches lists and keeps them for as
// long as they allow. It asks for a whole list, so a server does not learn which
// token is looked up.
type HTTPStatusSource struct {
	origin string
	keys   func(context.Context) (*KeySet, error)
	client *http.Client
	now    func() time.Time

	mu    sync.Mutex
	lists map[string]*cachedList
}

// cachedList is one list and when to ask for it again.
type cachedList struct {
	busy  chan struct{} // held while fetching; guards list and until
	list  *StatusList
	until time.Time                // of list, or of the memory that there is none
	last  atomic.Pointer[lastList] // for the others while one fetches
}

// lastList is a list that may have had its time, while one asks for the next.
type lastList struct {
	*StatusList
	until time.Time // when to answer from it no more, however slow the server
}

// NewHTTPStatusSource returns a source for lists under origin (scheme://host of
// the issuer, or of where it publishes lists), signed with keys. It follows at
// most 3 redirects within the origin, reads at most 4 MiB, keeps a list for its
// ttl (5 minutes if it names none, an hour at most), and for the 10 seconds that a
// caller may take to ask for the next one, but never beyond its exp, and
// after a failure waits 10 seconds before it asks again. A nil client means one with a timeout of
// 10 seconds; now is the clock.
func NewHTTPStatusSource(origin string, keys func(context.Context) (*KeySet, error), client *http.Client, now func() time.Time) *HTTPStatusSource {
	return &HTTPStatusSource{origin: origin, keys: keys, client: httpClient(client, maxRedirects), now: now, lists: map[string]*cachedList{}}
}

// Withdrawn implements [StatusSource].
func (s *HTTPStatusSource) Withdrawn(ctx context.Context, uri string, index int) (bool, error) {
	// A signed token could still name any address: only lists of one origin are fetched.
	if o := origin(uri); o == "" || o != origin(s.origin) {
		return false, ErrStatusUnknown
	}
	c := s.entry(uri)
	if c == nil {
		return false, ErrStatusUnknown
	}
	select {
	case c.busy <- struct{}{}:
		defer func() { <-c.busy }()
	default:
		if last := c.last.Load(); last != nil && s.now().Before(last.until) {
			return last.withdrawn(index)
		}
		select {
		case c.busy <- struct{}{}:
			defer func() { <-c.busy }()
		case <-ctx.Done():
			return false, ErrStatusUnknown.Because(ctx.Err())
		}
	}
	now := s.now()
	if !now.Before(c.until) {
		c.list = nil
		list, err := s.fetch(ctx, uri, now)
		switch {
		case ctx.Err() != nil: // the caller's haste says nothing about the server
			return false, ErrStatusUnknown.Because(ctx.Err())
		case err != nil:
			// From now, not from then: a caller who waited meanwhile must not wait for a slow server as well.
			c.until = s.now().Add(statusRetry)
			c.last.Store(nil)
			return false, ErrStatusUnknown.Because(err)
		}
		c.list, c.until = list, list.keepUntil(now)
		until := c.until.Add(fetchTimeout)
		if list.Expiry.Before(until) {
			until = list.Expiry
		}
		c.last.Store(&lastList{list, until})
	}
	if c.list == nil {
		return false, ErrStatusUnknown.Because(errRecently)
	}
	return c.list.withdrawn(index)
}

// withdrawn is Withdrawn with a refusal.
func (l *StatusList) withdrawn(index int) (bool, error) {
	withdrawn, ok := l.Withdrawn(index)
	if !ok { // section 8.3: "out of bounds … the Referenced Token MUST be rejected"
		return false, ErrStatusUnknown
	}
	return withdrawn, nil
}

// entry returns the place of a list in the cache, or nil if it is full of lists
// that are still good.
func (s *HTTPStatusSource) entry(uri string) *cachedList {
	s.mu.Lock()
	defer s.mu.Unlock()
	if c := s.lists[uri]; c != nil {
		return c
	}
	if len(s.lists) >= maxLists {
		for other, c := range s.lists {
			select {
			case c.busy <- struct{}{}:
				if !s.now().Before(c.until) {
					delete(s.lists, other)
				}
				<-c.busy
			default: // being fetched
			}
		}
	}
	if len(s.lists) >= maxLists {
		return nil
	}
	c := &cachedList{busy: make(chan struct{}, 1)}
	s.lists[uri] = c
	return c
}

// fetch gets and verifies one list (sections 8.1 to 8.3).
func (s *HTTPStatusSource) fetch(ctx context.Context, uri string, now time.Time) (*StatusList, error) {
	keys, err := s.keys(ctx)
	if err != nil {
		return nil, err
	}
	body, err := fetch(ctx, s.client, uri, maxStatusToken, "application/"+statusFormat.Types[0])
	if err != nil {
		return nil, err
	}
	return VerifyStatusList(ctx, string(body), uri, keys, now)
}

// keepUntil is when a list fetched at now must be asked for again. Section 13.7:
// ttl counts from when it was fetched, exp is absolute.
func (l *StatusList) keepUntil(now time.Time) time.Time {
	ttl := l.TTL
	if ttl == 0 {
		ttl = statusTTL
	}
	if until := now.Add(min(ttl, statusMaxTTL)); until.Before(l.Expiry) {
		return until
	}
	return l.Expiry
}

// origin is scheme://host:port of a URL, normalised, or "".
func origin(s string) string {
	u, err := url.Parse(s)
	if err != nil {
		return ""
	}
	u.Path, u.RawPath, u.RawQuery, u.Fragment, u.RawFragment = "", "", "", "", ""
	normal, ok := normalURL(u.String())
	if !ok {
		return ""
	}
	return strings.TrimSuffix(normal, "/")
}
