package openid

import (
	"context"
	"errors"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/penname/penname/verifier/token"
)

const (
	statusEntries  = 1 << 20         // of each list: 128 KiB of bits, however few are in use
	statusTTL      = time.Minute     // how long platforms may keep a list: revocation bites within it
	statusFresh    = 5 * time.Second // how long one node may serve a list that another node has outdated
	statusExpiry   = time.Hour
	statusLists    = 64 // at most: 3,000 sign-ins a second, each with two entries for an hour and a half
	statusMisses   = 6  // of two entries, in a row: then half of them are taken, and one list more is used
	statusAttempts = statusLists * statusMisses
)

// status is an entry that was allocated to one token.
type status struct{ list, index int }

// allocate has put store two random entries of the lists in use, until both are free. Neither order
// nor neighbourhood of two entries says anything about the time or the person (attack N03).
//
// draft-ietf-oauth-status-list, 13.2: "double allocation" must not happen: the
// store refuses it, and without entries nothing is issued.
func (l *lists) allocate(put func(entries []Entry) error) (pair [2]status, err error) {
	expires := hour(l.now().Add(tokenLifetime + leeway))
	for attempt := range statusAttempts {
		used := l.used.Load() + 1
		if attempt%statusMisses == statusMisses-1 && used < statusLists {
			l.used.CompareAndSwap(used-1, used)
		}
		var entries []Entry
		for i := range pair {
			n := below(int64(used) * statusEntries)
			pair[i] = status{int(n / statusEntries), int(n % statusEntries)}
			entries = append(entries, Entry{pair[i].list, pair[i].index, expires})
		}
		if pair[0] == pair[1] {
			continue
		}
		if err := put(entries); !errors.Is(err, ErrTaken) {
			return pair, err
		}
	}
	return pair, ErrUnavailable
}

// claim returns the status claim of a token (draft-ietf-oauth-status-list, 6.1).
func (l *lists) claim(s status) map[string]any {
	return map[string]any{"status_list": map[string]any{"idx": s.index, "uri": l.uri(s.list)}}
}

func (l *lists) uri(list int) string { return l.issuer + "/status/" + strconv.Itoa(list) }

// lists are the status lists: it allocates their entries and caches them signed.
type lists struct {
	issuer    string
	store     Store
	keys      *keys
	algorithm jose.SignatureAlgorithm // that they are signed with
	now       func() time.Time

	used atomic.Int32 // lists that this node spreads tokens over, less one: as many as the load needs

	mu      sync.Mutex
	made    map[madeFor]*madeList
	revoked map[int][]int // of all lists, that they are made of
	asked   time.Time     // when the store said so; zero: it must be asked
}

// madeFor is a list in one of its forms, and madeList what was made of it.
type madeFor struct {
	list int
	form string
}

type madeList struct {
	publication
	at time.Time
}

// The forms of a list (draft-ietf-oauth-status-list, 8.2). A million bits of which one in
// a hundred is set are 13.5 KB by zlib and 13.6 KB as a CWT. The JWT spells them in
// base64 twice: 24.2 KB, or 17.2 KB by gzip, which the draft recommends for it.
const (
	statusJWT = "application/statuslist+jwt"
	statusCWT = "application/statuslist+cwt"
)

// invalidate drops the lists that were made, so that a revocation is visible at once
// on this node.
func (l *lists) invalidate() {
	l.mu.Lock()
	defer l.mu.Unlock()
	clear(l.made)
	l.asked = time.Time{}
}

// serveStatus publishes a list. Platforms fetch all of it, so nothing tells the
// issuer which token they check.
func (p *Provider) serveStatus(w http.ResponseWriter, r *http.Request) {
	n, err := strconv.Atoi(r.PathValue("list"))
	if err != nil || n < 0 || n >= statusLists || strconv.Itoa(n) != r.PathValue("list") {
		http.NotFound(w, r)
		return
	}
	form := statusJWT
	if strings.Contains(r.Header.Get("Accept"), statusCWT) && !strings.Contains(r.Header.Get("Accept"), statusJWT) {
		form = statusCWT
	}
	list, err := p.lists.signed(r.Context(), madeFor{n, form})
	if err != nil {
		p.refused(r.WithContext(context.WithValue(r.Context(), exchangeKey{}, &exchange{outage: err})), ErrUnavailable.Code)
		http.Error(w, ErrUnavailable.Mend, http.StatusServiceUnavailable)
		return
	}
	w.Header().Add("Vary", "Accept")
	list.serve(w, r)
}

// signed signs a list, or returns the one signed a moment ago.
func (l *lists) signed(ctx context.Context, what madeFor) (*publication, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := l.now()
	if made := l.made[what]; made != nil {
		if age := now.Sub(made.at); age >= 0 && age < statusFresh {
			return &made.publication, nil
		}
	}
	// All lists and forms are made of one answer: what it costs to publish does not grow
	// with their number.
	if age := now.Sub(l.asked); age < 0 || age >= statusFresh {
		revoked, err := l.store.Revoked(ctx, now)
		if err != nil {
			return nil, err
		}
		l.revoked, l.asked = revoked, now
	}
	key, ok := l.keys.Load().current(now, l.algorithm)
	if !ok {
		return nil, ErrUnavailable
	}
	// Section 5.1: iat and exp. Rounded down, so that a platform whose clock is a
	// little behind does not refuse the list.
	issued := now.Truncate(time.Minute)
	if issued.Before(key.NotBefore) {
		issued = key.NotBefore
	}
	list := token.StatusList{URI: l.uri(what.list), IssuedAt: issued, Expiry: issued.Add(statusExpiry), TTL: statusTTL, Bits: make([]byte, statusEntries/8)}
	for _, index := range l.revoked[what.list] {
		list.Withdraw(index)
	}
	sign := token.SignStatusList
	if what.form == statusCWT {
		sign = token.SignStatusListCWT
	}
	signed, err := sign(key.JWK, list)
	if err != nil {
		return nil, err
	}
	made := &madeList{publish(what.form, statusFresh, []byte(signed)), l.asked}
	if what.form == statusJWT {
		made.pack()
	}
	if l.made == nil {
		l.made = map[madeFor]*madeList{}
	}
	l.made[what] = made
	return &made.publication, nil
}
