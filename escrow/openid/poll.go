package openid

import (
	"context"
	"errors"
	"io"
	"maps"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/go-jose/go-jose/v4/json"

	"github.com/penname/penname/verifier/document"
)

const (
	eventsPath = "/events" // where platforms ask for events (RFC 8936, 2)

	pollWait = 25 * time.Second // the longest that an answer is held back (RFC 8936, 2.4: returnImmediately)
	pollLook = 5 * time.Second  // how often it is looked meanwhile
	pollMost = 100              // events in one answer
)

// pollRequest is RFC 8936, 2.2.
type pollRequest struct {
	MaxEvents         *int                       `json:"maxEvents"`
	ReturnImmediately bool                       `json:"returnImmediately"`
	Ack               []string                   `json:"ack"`
	SetErrs           map[string]json.RawMessage `json:"setErrs"`
}

// pollAnswer is RFC 8936, 2.3.
type pollAnswer struct {
	Sets          map[string]string `json:"sets"`
	MoreAvailable bool              `json:"moreAvailable,omitempty"`
}

// polled counts what platforms confirmed, and holds back one answer for each.
type polled struct {
	mu   sync.Mutex
	told map[string]Told
	held map[string]func() // ends the wait, by platform
}

// hold ends the wait of the platform's poll before, or it could have many wait.
func (c *polled) hold(ctx context.Context, platform string) (within context.Context, end func()) {
	within, end = context.WithCancel(ctx)
	c.mu.Lock()
	defer c.mu.Unlock()
	if before := c.held[platform]; before != nil {
		before()
	}
	if c.held == nil {
		c.held = map[string]func(){}
	}
	c.held[platform] = end
	return within, end
}

func (c *polled) add(platform string, more Told) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.told == nil {
		c.told = map[string]Told{}
	}
	sum := c.told[platform]
	sum.add(more)
	c.told[platform] = sum
}

// take adds what was counted to a round's, and begins anew.
func (c *polled) take(round map[string]Told) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for platform, told := range c.told {
		told.add(round[platform])
		round[platform] = told
	}
	c.told = nil
}

// parsePoll reads a poll request. It is strict: an acknowledgement that is misread is an
// event that is lost.
func parsePoll(body []byte) (q pollRequest, ok bool) {
	if document.CheckJSON(body) != nil || json.Unmarshal(body, &q) != nil {
		return q, false
	}
	return q, q.MaxEvents == nil || *q.MaxEvents >= 0
}

// poll answers a platform that asks for its events. What it does not acknowledge it gets
// again, under the same jti, until it is forgotten.
func (p *Provider) poll(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	q, ok := parsePoll(body)
	if err != nil || !ok || mediaType(r) != "application/json" || r.URL.RawQuery != "" {
		p.apiError(w, r, invalid("The body must be a JSON object as in RFC 8936, 2.2, by application/json."))
		return
	}
	pl, ok := p.pollingClient(w, r)
	if !ok {
		return
	}
	most := pollMost
	if q.MaxEvents != nil {
		most = min(most, *q.MaxEvents)
	}
	answer, err := p.polls(r.Context(), pl, q, most)
	if err == nil && len(answer.Sets) == 0 && most > 0 && !q.ReturnImmediately {
		answer, err = p.awaits(r.Context(), pl, most)
	}
	if err != nil {
		p.apiError(w, r, fault{code: outageCode(r.Context(), err)})
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	_ = json.NewEncoder(w).Encode(answer) // who is gone asks again
}

// awaits holds an answer back until there is an event, or no longer. A later poll of the
// platform at this node ends it.
func (p *Provider) awaits(ctx context.Context, pl Platform, most int) (answer pollAnswer, err error) {
	within, end := p.polled.hold(ctx, pl.ID)
	defer end()
	for range pollWait / pollLook {
		select {
		case <-within.Done():
			return pollAnswer{Sets: map[string]string{}}, nil
		case <-time.After(pollLook):
		}
		if answer, err = p.polls(ctx, pl, pollRequest{}, most); err != nil || len(answer.Sets) > 0 {
			break
		}
	}
	return answer, err
}

// pollingClient authenticates a platform that polls: by client_secret_basic, or with a
// client assertion as Authorization: Bearer. The body has no room for parameters, so the
// credentials are looked at as those of an introspection, of no token.
func (p *Provider) pollingClient(w http.ResponseWriter, r *http.Request) (pl Platform, ok bool) {
	form := url.Values{"token": {"-"}}
	asks, err := http.NewRequestWithContext(r.Context(), http.MethodPost, p.cfg.Issuer+"/introspect", nil)
	if err != nil {
		p.apiError(w, r, fault{code: unavailable})
		return pl, false
	}
	asks.Header.Set("Content-Type", formType)
	if auth, bearer := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer "); bearer {
		form.Set("client_assertion", auth)
		form.Set("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer")
	} else {
		asks.Header["Authorization"] = r.Header["Authorization"]
	}
	asks.Body = io.NopCloser(strings.NewReader(form.Encode()))
	held := newBuffer()
	p.api(held, asks)
	if held.status != http.StatusOK {
		maps.Copy(w.Header(), held.header)
		w.WriteHeader(held.status)
		_, _ = w.Write(held.body.Bytes()) // who is gone asks again
		return pl, false
	}
	pl, err = p.platform(r.Context(), clientOf(asks, form))
	switch {
	case err != nil || pl.Events == nil || pl.Events.Push != "":
		p.apiError(w, r, fault{"access_denied", "This client has no stream of events that it asks for."})
		return pl, false
	}
	return pl, true
}

// clientOf is the client that was authenticated.
func clientOf(r *http.Request, form url.Values) string {
	if id, _, basic := r.BasicAuth(); basic {
		id, _ = url.QueryUnescape(id)
		return id
	}
	var c struct {
		Issuer string `json:"iss"`
	}
	document.ReadUnverified(form.Get("client_assertion"), &c)
	return c.Issuer
}

// polls settles what a platform acknowledges, of its own, and returns what it has not yet.
func (p *Provider) polls(ctx context.Context, pl Platform, q pollRequest, most int) (answer pollAnswer, err error) {
	answer.Sets = map[string]string{}
	all, err := p.logouts(ctx, nil, pl.ID)
	if err != nil {
		return answer, err
	}
	over := map[string]Told{}
	for _, jti := range q.Ack {
		over[jti] = Told{Delivered: 1}
	}
	for jti, said := range q.SetErrs {
		refused := Told{Refused: 1}
		refused.Why[setError(said)]++
		over[jti] = refused
	}
	for _, l := range all[pl.ID] {
		told, settled := over[l.jti]
		switch {
		case !l.polled():
		case l.jti != "" && settled:
			for _, row := range l.rows {
				if err := p.settle(ctx, row); err != nil {
					return answer, err
				}
			}
			p.polled.add(pl.ID, told)
		case len(answer.Sets) == most:
			answer.MoreAvailable = true
		default:
			if l.jti == "" {
				if _, err := p.claim(ctx, l); errors.Is(err, ErrStale) {
					continue // another node has it
				} else if err != nil {
					return answer, err
				}
			}
			raw, err := p.sign(l)
			if err != nil {
				return answer, err
			}
			answer.Sets[l.jti] = raw
		}
	}
	return answer, nil
}
