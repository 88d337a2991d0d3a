package identity

import (
	"net"
	"net/netip"
	"slices"
	"strings"

	"github.com/penname/penname/verifier/refusal"
)

// ErrPrivateNetworks is the refusal of what names neither a host nor a network.
var ErrPrivateNetworks = refusal.New(refusal.Invalid, "identity.bad_private_networks",
	"private_networks holds host names, addresses and networks such as 10.1.0.0/16, and none that is link-local or of a cloud's metadata: those are never called")

// PrivateNetworks are hosts and networks that an operator permits beside the public
// internet. A host is permitted at whatever address it has, but for loopback, which
// is permitted only where a loopback address or network is named, or "localhost".
// [ParsePrivateNetworks] makes it; the zero value permits none.
type PrivateNetworks struct {
	hosts    []string
	networks []netip.Prefix
}

// ParsePrivateNetworks reads host names, addresses and networks. It fails with
// [ErrPrivateNetworks].
func ParsePrivateNetworks(named []string) (p PrivateNetworks, err error) {
	for _, text := range named {
		network, err := netip.ParsePrefix(text)
		if err != nil {
			var address netip.Addr
			if address, err = netip.ParseAddr(text); err == nil {
				network = netip.PrefixFrom(address.Unmap(), address.Unmap().BitLen())
			}
		}
		switch {
		case err == nil && (never(network.Addr()) || network.Addr().Is4In6() || network.Bits() == 0):
			return PrivateNetworks{}, ErrPrivateNetworks
		case err == nil:
			p.networks = append(p.networks, network)
		case text == "" || strings.ContainsAny(text, "/:@ *?#"):
			return PrivateNetworks{}, ErrPrivateNetworks
		default:
			p.hosts = append(p.hosts, canonicalHost(text))
		}
	}
	return p, nil
}

func canonicalHost(name string) string { return strings.ToLower(strings.TrimSuffix(name, ".")) }

// allow reports whether an address (with its port) may be dialled because the
// operator permits it, or the name that led to it.
func (p PrivateNetworks) allow(name, address string) bool {
	ap, err := netip.ParseAddrPort(address)
	if err != nil {
		return false
	}
	addr := ap.Addr().Unmap().WithZone("")
	if never(addr) || !addr.IsGlobalUnicast() && !addr.IsLoopback() {
		return false
	}
	for _, n := range p.networks {
		if n.Contains(addr) && addr.IsLoopback() == n.Addr().IsLoopback() {
			return true
		}
	}
	host, _, err := net.SplitHostPort(name)
	host = canonicalHost(host)
	return err == nil && slices.Contains(p.hosts, host) && (!addr.IsLoopback() || host == "localhost")
}

// cloudMetadata are the addresses at which clouds tell a machine its secrets, beside
// those that are link-local.
var cloudMetadata = []netip.Addr{
	netip.MustParseAddr("fd00:ec2::254"),   // Amazon
	netip.MustParseAddr("fd20:ce::254"),    // Google
	netip.MustParseAddr("100.100.100.200"), // Alibaba
	netip.MustParseAddr("192.0.0.192"),     // Oracle
	netip.MustParseAddr("168.63.129.16"),   // Azure
}

// never reports whether an address is not called whatever is configured, also in an
// IPv6 address that carries it (RFC 6052, 2.1; RFC 3056, 2).
func never(addr netip.Addr) bool {
	addr = addr.Unmap().WithZone("")
	if addr.Is6() {
		b := addr.As16()
		switch {
		case netip.MustParsePrefix("64:ff9b::/96").Contains(addr):
			return never(netip.AddrFrom4([4]byte(b[12:])))
		case netip.MustParsePrefix("2002::/16").Contains(addr):
			return never(netip.AddrFrom4([4]byte(b[2:6])))
		}
	}
	return addr.IsLinkLocalUnicast() || addr.IsMulticast() || slices.Contains(cloudMetadata, addr)
}
