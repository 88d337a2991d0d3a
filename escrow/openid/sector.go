package openid

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/go-jose/go-jose/v4/json"
	"golang.org/x/net/publicsuffix"

	"github.com/penname/penname/verifier/document"
	"github.com/penname/penname/verifier/refusal"
)

// The platforms of one sector know a person by one pen name, and so can share what they
// know of that person. A platform's sector is fixed when it is registered.

// Refusals of a sector.
var (
	ErrSectorURI = refusal.New(refusal.Invalid, "platform.sector_uri",
		"The sector's address must answer on the public internet, within seconds, with a JSON list of texts that has every redirect URI of the platform (OpenID Connect Core, 8.1), and something at each of its origins.")
	ErrSectorDomain = refusal.New(refusal.Invalid, "platform.sector_domain",
		"A sector is one registrable domain, such as example.org, in which all redirect URIs and origins of the platform lie: name that domain, or an address with all of them by --sector-uri.")
)

// maxSectorURI bounds what a sector's address answers, in bytes.
const maxSectorURI = 64 << 10

// SectorOf fetches a sector_identifier_uri and returns the sector, its host, if the
// document has every redirect URI of p, and something at each of its origins. It fails with [ErrSectorURI].
func SectorOf(ctx context.Context, client *http.Client, address string, p Platform) (string, error) {
	if !p.fetchable(address) {
		return "", ErrSectorURI.Because(errors.New("it is no https address"))
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return "", ErrSectorURI.Because(err)
	}
	res, err := client.Do(req)
	if err != nil {
		return "", ErrSectorURI.Because(err)
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return "", ErrSectorURI.Because(errors.New("it answers " + res.Status))
	}
	var listed []string
	if err := json.NewDecoder(io.LimitReader(res.Body, maxSectorURI)).Decode(&listed); err != nil {
		return "", ErrSectorURI.Because(errors.New("what it answers is no JSON list of texts"))
	}
	for _, uri := range p.RedirectURIs {
		if !slices.Contains(listed, uri) {
			return "", ErrSectorURI.Because(fmt.Errorf("its list lacks %s", uri))
		}
	}
	for _, o := range p.Origins {
		if !slices.ContainsFunc(listed, func(uri string) bool { return uri == o || strings.HasPrefix(uri, o+"/") }) {
			return "", ErrSectorURI.Because(fmt.Errorf("its list has nothing at the origin %s", o))
		}
	}
	return req.URL.Hostname(), nil
}

// CheckSector refuses a domain as p's sector with [ErrSectorDomain]. An app may have
// redirect URIs on its machine and in a scheme that is the domain backwards (RFC 8252,
// 7.1), if one lies in the domain. In a sandbox everything on this machine lies in it.
func (p Platform) CheckSector(domain string) error {
	if registrable, err := publicsuffix.EffectiveTLDPlusOne(domain); err != nil || registrable != domain || !domainSyntax.MatchString(domain) {
		return ErrSectorDomain.Because(errors.New("it is no registrable domain"))
	}
	within := func(host string) bool { return host == domain || strings.HasSuffix(host, "."+domain) }
	inside := false
	for _, address := range slices.Concat(p.RedirectURIs, p.Origins) {
		u, err := url.Parse(address)
		if err != nil {
			return ErrSectorDomain.Because(err)
		}
		host := u.Hostname()
		if host == "" { // com.example.app:/back
			labels := strings.Split(u.Scheme, ".")
			slices.Reverse(labels)
			host = strings.Join(labels, ".")
		}
		switch {
		case within(host), p.Localhost && document.Localhost(host):
			inside = true
		case u.Scheme != "http" || !p.Native:
			return ErrSectorDomain.Because(errors.New(address + " lies outside"))
		}
	}
	if !inside {
		return ErrSectorDomain.Because(errors.New("nothing of the platform lies in it"))
	}
	return nil
}

// CheckMoved refuses a platform that took over another one's sector, unless all its addresses
// lie in one registrable domain, that of its first origin: the public record names it, and
// who was before has countersigned it.
func (p Platform) CheckMoved() error {
	if len(p.Origins) == 0 {
		return p.CheckSector("")
	}
	first, err := url.Parse(p.Origins[0])
	if err != nil {
		return ErrSectorDomain.Because(err)
	}
	domain, err := publicsuffix.EffectiveTLDPlusOne(first.Hostname())
	if err != nil {
		return ErrSectorDomain.Because(err)
	}
	return p.CheckSector(domain)
}

// RedirectOrigins are those of p's https redirect URIs: the public record of a platform
// names them among its origins, so that everybody sees where people are led to.
func (p Platform) RedirectOrigins() (origins []string) {
	for _, uri := range p.RedirectURIs {
		u, err := url.Parse(uri)
		if err != nil || u.Scheme != "https" {
			continue
		}
		if o := u.Scheme + "://" + u.Host; !slices.Contains(origins, o) {
			origins = append(origins, o)
		}
	}
	return origins
}
