package identity

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"mime"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"syscall"
	"time"

	"github.com/penname/penname/verifier/document"
	"github.com/penname/penname/verifier/refusal"
)

// Guard says where a client may call beside the public internet.
type Guard struct {
	Private       PrivateNetworks // see Provider
	Roots         *x509.CertPool  // likewise
	AllowLoopback bool            // likewise

	refused error // what a dial anywhere else is
}

// NewHTTP returns a client for addresses that somebody else chose. It dials public
// addresses alone and those that the guard permits, whatever a name resolves to; it
// follows redirects of a GET within one origin; and it reads 256 KiB in 4.5 seconds at
// most. It fails with [ErrPrivateAddress], [ErrRedirectRefused] and [ErrTooLarge], else with
// what package http has. Whether an address is https is the caller's to check.
func NewHTTP(g Guard) *http.Client {
	g.refused = ErrPrivateAddress
	return newClient(defaultLimits, g, nil)
}

// limits bound what a server that we call can cost us: one request, and one answer
// after decompression.
type limits struct {
	timeout time.Duration // from the first byte sent to the last byte read
	body    int64         // bytes
}

var defaultLimits = limits{timeout: 4500 * time.Millisecond, body: 256 << 10}

// newClient returns the only HTTP client that speaks to those whose address we do not
// choose. It goes through no proxy, because behind one the address that is dialled is
// not the address that was checked.
func newClient(lim limits, g Guard, resolver *net.Resolver) *http.Client {
	dial := func(ctx context.Context, network, name string) (net.Conn, error) {
		dialer := &net.Dialer{
			Timeout:  lim.timeout,
			Resolver: resolver,
			// Control sees the address after name resolution, for every attempt: a
			// name that resolves to another address the second time (rebinding) is
			// judged by what is really dialled.
			Control: func(_, address string, _ syscall.RawConn) error {
				if g.Private.allow(name, address) {
					return nil
				}
				if checkDial(address, g.AllowLoopback) != nil {
					return g.refused
				}
				return nil
			},
		}
		return dialer.DialContext(ctx, network, name)
	}
	return &http.Client{
		CheckRedirect: checkRedirect,
		Transport: &bounded{limits: lim, next: &http.Transport{
			DialContext:            dial,
			TLSClientConfig:        &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: g.Roots},
			TLSHandshakeTimeout:    lim.timeout,
			ForceAttemptHTTP2:      true,
			MaxResponseHeaderBytes: 32 << 10,
			MaxIdleConnsPerHost:    4,
			// No IdleConnTimeout: its timer, stopped, keeps a closed connection and its
			// buffer alive. Whoever runs a client closes its idle connections now and then.
		}},
	}
}

// checkRedirect lets a GET move within its origin, three times. A code, a
// client secret and an access token never follow a redirect elsewhere.
func checkRedirect(req *http.Request, via []*http.Request) error {
	first := via[0]
	if len(via) > 3 || first.Method != http.MethodGet ||
		req.URL.Scheme != first.URL.Scheme || req.URL.Host != first.URL.Host {
		return ErrRedirectRefused
	}
	return nil
}

// checkDial refuses every address that is not on the public internet. With
// loopback, for the sandbox, it is the other way round: nothing but loopback.
func checkDial(address string, loopback bool) error {
	ap, err := netip.ParseAddrPort(address)
	if err != nil {
		return ErrSSRFRefused
	}
	addr := ap.Addr().Unmap().WithZone("") // ::ffff:127.0.0.1 is 127.0.0.1
	if never(addr) || loopback != addr.IsLoopback() || (!loopback && !public(addr)) {
		return ErrSSRFRefused
	}
	return nil
}

// notPublic holds what the IANA special-purpose address registries (RFC 6890)
// take out of the unicast space and the netip predicates do not name.
var notPublic = []netip.Prefix{
	netip.MustParsePrefix("0.0.0.0/8"),       // this network
	netip.MustParsePrefix("100.64.0.0/10"),   // shared address space, RFC 6598
	netip.MustParsePrefix("192.0.0.0/24"),    // IETF protocol assignments
	netip.MustParsePrefix("192.0.2.0/24"),    // documentation, RFC 5737
	netip.MustParsePrefix("192.88.99.0/24"),  // 6to4 relays, RFC 7526
	netip.MustParsePrefix("198.18.0.0/15"),   // benchmarks, RFC 2544
	netip.MustParsePrefix("198.51.100.0/24"), // documentation
	netip.MustParsePrefix("203.0.113.0/24"),  // documentation
	netip.MustParsePrefix("240.0.0.0/4"),     // reserved and broadcast
	netip.MustParsePrefix("2001::/23"),       // IETF assignments, Teredo among them
	netip.MustParsePrefix("2001:db8::/32"),   // documentation
	netip.MustParsePrefix("2002::/16"),       // 6to4: carries an IPv4 address
	netip.MustParsePrefix("3fff::/20"),       // documentation, RFC 9637
}

// globalUnicast is the only IPv6 space that IANA gives out. Outside it lie
// NAT64 (64:ff9b::/96), ::/96 and site-local, which can all hide an IPv4 address.
var globalUnicast = netip.MustParsePrefix("2000::/3")

func public(addr netip.Addr) bool {
	if !addr.IsGlobalUnicast() || addr.IsPrivate() || (addr.Is6() && !globalUnicast.Contains(addr)) {
		return false
	}
	for _, p := range notPublic {
		if p.Contains(addr) {
			return false
		}
	}
	return true
}

// checkURL refuses an endpoint that is not plain https, or, for the sandbox,
// http or https. The address itself is judged when it is dialled.
func checkURL(raw string, loopback bool) error {
	u, err := url.Parse(raw)
	if err != nil || u.User != nil || u.Fragment != "" || u.Opaque != "" || !document.Secure(u, func(string) bool { return loopback }) {
		return ErrSSRFRefused
	}
	return nil
}

// bounded reads the whole answer within the limits before anybody parses it.
// The libraries behind it read without bound and lose the type of a read error.
type bounded struct {
	limits
	next http.RoundTripper
}

// CloseIdleConnections is what [http.Client.CloseIdleConnections] looks for: the
// buffer of a connection holds the last answer, which is about a person.
func (b *bounded) CloseIdleConnections() { (&http.Client{Transport: b.next}).CloseIdleConnections() }

// RoundTrip implements http.RoundTripper.
func (b *bounded) RoundTrip(req *http.Request) (*http.Response, error) {
	ctx, cancel := context.WithTimeout(req.Context(), b.timeout)
	defer cancel()
	resp, err := b.next.RoundTrip(req.WithContext(ctx))
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	// The transport has undone gzip already: the limit is on what comes out.
	body, err := io.ReadAll(io.LimitReader(resp.Body, b.body+1))
	if err != nil {
		return nil, err
	}
	if int64(len(body)) > b.body {
		return nil, ErrTooLarge
	}
	resp.Body = io.NopCloser(bytes.NewReader(body))
	return resp, nil
}

// tokenAnswers refuses an answer to a POST that is not JSON. RFC 6749, 5.1: the token
// response is application/json. x/oauth2 would also take a form.
type tokenAnswers struct{ *bounded }

// RoundTrip implements http.RoundTripper.
func (t tokenAnswers) RoundTrip(req *http.Request) (*http.Response, error) {
	resp, err := t.bounded.RoundTrip(req)
	if err != nil {
		return nil, err
	}
	media, _, _ := mime.ParseMediaType(resp.Header.Get("Content-Type"))
	if resp.StatusCode == http.StatusOK && req.Method == http.MethodPost && media != "application/json" {
		return nil, errContentType
	}
	return resp, nil
}

var errContentType = ErrMalformed.Because(errors.New("unexpected content type"))

// failed turns an error of a request into a refusal. It keeps our own, tells a
// timeout from the rest, and drops texts that can quote an answer.
func failed(err error) error {
	var own interface{ Timeout() bool }
	if r := refusal.Of(err); r != nil {
		return r
	}
	if errors.Is(err, context.DeadlineExceeded) || (errors.As(err, &own) && own.Timeout()) {
		return ErrTimeout.Because(context.DeadlineExceeded)
	}
	var certificate *tls.CertificateVerificationError
	if errors.As(err, &certificate) {
		return ErrCertificate
	}
	var name *net.DNSError
	if errors.As(err, &name) && name.IsNotFound {
		return ErrUnavailable.Because(errors.New("its host name is not known"))
	}
	var kind syscall.Errno // its text is the machine's, and names no address
	if errors.As(err, &kind) {
		return ErrUnavailable.Because(kind)
	}
	var op *net.OpError
	if errors.As(err, &op) {
		return ErrUnavailable.Because(fmt.Errorf("%s %s", op.Op, op.Net))
	}
	return ErrUnavailable
}
