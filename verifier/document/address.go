package document

import (
	"net/netip"
	"net/url"
	"strings"
)

// Loopback reports whether host is a loopback address. A name, localhost too, is
// not: a resolver decides where it leads. It is the rule wherever an answer is
// believed because of where it came from: keys, an issuer's name, Vault.
func Loopback(host string) bool {
	a, err := netip.ParseAddr(host)
	return err == nil && a.Unmap().IsLoopback()
}

// Localhost reports whether host is a loopback address or the name localhost,
// which every resolver must keep on the machine (RFC 6761, 6.3). It is the rule
// for what a person configures on their own machine: where to listen, whom to
// call, and the origins of a sandbox's bundle.
func Localhost(host string) bool { return host == "localhost" || Loopback(host) }

// Secure reports whether u is https, or http to a host that local accepts:
// [Loopback] or [Localhost].
func Secure(u *url.URL, local func(host string) bool) bool {
	return u.Host != "" && (u.Scheme == "https" || u.Scheme == "http" && local(u.Hostname()))
}

// Origin reports whether s is a [Secure] origin in its one spelling, with a path
// only where one may be, and never one that ends in a slash. A wildcard is no origin.
func Origin(s string, path bool, local func(host string) bool) bool {
	u, err := url.Parse(s)
	if err != nil || u.User != nil || u.RawQuery != "" || u.Fragment != "" || u.String() != s || strings.Contains(s, "*") || !Displayable(s, 200) {
		return false
	}
	return (u.Path == "" || path && !strings.HasSuffix(u.Path, "/")) && Secure(u, local)
}
