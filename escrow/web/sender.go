package web

import (
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/labstack/echo/v4/middleware"
	"golang.org/x/time/rate"

	"github.com/penname/penname/verifier/refusal"
)

var (
	errProxy = refusal.New(refusal.Invalid, "server.untrusted_proxy",
		"the request says on whose behalf it is sent, by X-Forwarded-For or Forwarded, and comes from an address that trusted_proxies does not name: the operator names the proxy there, anybody else leaves the header out")
	// ErrProxies is returned by [ParseProxies].
	ErrProxies = refusal.New(refusal.Invalid, "config.bad_trusted_proxies",
		"trusted_proxies holds addresses and networks only, such as 192.0.2.7 or 10.1.0.0/24, and never one of everybody")
	errForwarded = refusal.New(refusal.Invalid, "server.malformed_forwarded",
		"the proxy's X-Forwarded-For or Forwarded does not say one address of the sender: have the proxy append the address of its connection, and pass on no header of the other kind")
)

// maxProxies bounds how many proxies in a row are followed.
const maxProxies = 16

// A Rate is how many requests a second one sender may make of a route, and how
// many at once. The zero value is no limit. It is for one process: several behind
// one address count each for themselves.
type Rate struct {
	PerSecond float64
	AtOnce    int
}

// Filing is for what costs the checking of signatures, and can leave a leaf in the
// public log for ever.
var Filing = Rate{20, 40}

// DefaultPerSender is Config.PerSender where it is zero, in requests a second.
const DefaultPerSender = 20

// People is for the routes at which a person's browser has something stored: many
// people can sit behind one address, at a school or a mobile network.
func (s *Server) People() Rate { return Rate{s.PerSender, int(10 * s.PerSender)} }

// Platforms is for the routes at which the servers of platforms do: one of them
// sends for all its users.
func (s *Server) Platforms() Rate { return Rate{10 * s.PerSender, int(20 * s.PerSender)} }

// Limited holds each sender to a rate. It is where senders are told apart, and so
// where a header about them that cannot be believed is refused.
func (s *Server) Limited(r Rate, h Handler) Handler {
	if r == (Rate{}) {
		return h
	}
	store := middleware.NewRateLimiterMemoryStoreWithConfig(middleware.RateLimiterMemoryStoreConfig{
		Rate: rate.Limit(r.PerSecond), Burst: r.AtOnce, ExpiresIn: time.Minute,
	})
	return func(w http.ResponseWriter, r *http.Request) error {
		sender, refused := s.sender(r)
		if ok, err := store.Allow(network(sender)); err != nil || !ok {
			return errTooMany
		}
		if refused != nil {
			return refused
		}
		return h(w, r)
	}
}

// sender is who sent the request: the address of the connection or, if that is a
// trusted proxy's, the last address before the trusted proxies in the header that
// they append to. With a refusal it is the address of the connection. No other
// header is read, and from nobody else (ATTACKS H08).
func (s *Server) sender(r *http.Request) (netip.Addr, error) {
	connection, _ := netip.ParseAddrPort(r.RemoteAddr) // of no network: none
	peer := connection.Addr().Unmap().WithZone("")
	byList := chain(r.Header.Values("X-Forwarded-For"), ',', func(s string) string { return s })
	byPair := chain(r.Header.Values("Forwarded"), ',', forParameter)
	// RFC 7239, 5: an element may say by, host or proto alone. Such a header is not about the sender.
	if !slices.ContainsFunc(byPair, func(s string) bool { return s != "" }) {
		byPair = nil
	}
	switch {
	case byList == nil && byPair == nil:
		return peer, nil
	case !s.trusted(peer):
		return peer, errProxy
	}
	sender := peer
	for n, list := range [][]string{byList, byPair} {
		if list == nil {
			continue
		}
		found, ok := s.lastUntrusted(list)
		// A proxy appends to one header and passes the other on as the sender wrote it.
		if !ok || n == 1 && byList != nil && found != sender {
			return peer, errForwarded
		}
		sender = found
	}
	return sender, nil
}

// lastUntrusted follows a list of addresses from its end, which the proxy next to us
// wrote, through trusted proxies. What stands before the one that it finds is the
// sender's own word and not read.
func (s *Server) lastUntrusted(list []string) (netip.Addr, bool) {
	var at netip.Addr
	for n := range min(len(list), maxProxies) {
		var ok bool
		if at, ok = parseAddress(list[len(list)-1-n]); !ok {
			return netip.Addr{}, false
		}
		if !s.trusted(at) {
			return at, true
		}
	}
	return at, len(list) <= maxProxies // a proxy's own request
}

func (s *Server) trusted(a netip.Addr) bool {
	return slices.ContainsFunc(*s.proxies.Load(), func(p netip.Prefix) bool { return p.Contains(a) })
}

// parseAddress reads an address, with or without a port, an IPv6 one with or
// without brackets.
func parseAddress(text string) (netip.Addr, bool) {
	a, err := netip.ParseAddr(strings.TrimSuffix(strings.TrimPrefix(text, "["), "]"))
	if err != nil {
		var ap netip.AddrPort
		ap, err = netip.ParseAddrPort(text)
		a = ap.Addr()
	}
	return a.Unmap().WithZone(""), err == nil
}

// chain splits the values of a header into what its elements say, outside quotes;
// nil if there is no header.
func chain(values []string, separator byte, of func(element string) string) []string {
	if len(values) == 0 {
		return nil
	}
	elements := []string{}
	for _, e := range splitOutsideQuotes(strings.Join(values, string(separator)), separator) {
		elements = append(elements, of(strings.TrimSpace(e)))
	}
	return elements
}

// forParameter is the value of for=… in an element of Forwarded (RFC 7239, 4), or "".
func forParameter(element string) string {
	for _, pair := range splitOutsideQuotes(element, ';') {
		name, value, _ := strings.Cut(strings.TrimSpace(pair), "=")
		if strings.EqualFold(name, "for") {
			return strings.Trim(value, `"`)
		}
	}
	return ""
}

func splitOutsideQuotes(text string, separator byte) []string {
	quoted, from := false, 0
	var parts []string
	for i := range len(text) {
		switch {
		case text[i] == '"':
			quoted = !quoted
		case text[i] == separator && !quoted:
			parts, from = append(parts, text[from:i]), i+1
		}
	}
	return append(parts, text[from:])
}

// ParseProxies reads the addresses and networks of proxies. A name is refused: whoever
// answers for it would be trusted. So is a network of everybody.
func ParseProxies(texts []string) ([]netip.Prefix, error) {
	var all []netip.Prefix
	for _, text := range texts {
		p, err := netip.ParsePrefix(text)
		if err != nil {
			a, aerr := netip.ParseAddr(text)
			p, err = netip.PrefixFrom(a.WithZone(""), a.BitLen()), aerr
		}
		if err != nil || p.Bits() == 0 || p.Addr().Is4In6() {
			return nil, ErrProxies
		}
		all = append(all, p.Masked())
	}
	return all, nil
}

// network is what one sender is known by: an IPv4 address, or the /64 of an IPv6
// address, in which one line has as many addresses as it likes (RFC 6177, 1).
func network(a netip.Addr) string {
	if a.Is6() {
		if p, err := a.Prefix(64); err == nil {
			return p.String()
		}
	}
	return a.String()
}
