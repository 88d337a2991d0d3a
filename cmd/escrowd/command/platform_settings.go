package command

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"github.com/go-jose/go-jose/v4"
	"github.com/spf13/cobra"

	"github.com/penname/penname/cmd/shell"
	"github.com/penname/penname/escrow/openid"
	"github.com/penname/penname/policy"
	"github.com/penname/penname/verifier/document"
	"github.com/penname/penname/verifier/refusal"
)

// errSettings names the flag that is wrong.
var errSettings = refusal.New(refusal.Invalid, "platform.bad_settings",
	"the platform cannot be registered like this: nothing was changed; correct what is named here")

// kinds are what a client can be, by how it proves itself.
var kinds = []string{"web", "spa", "native", "keys", "api"}

// platformFlags are what an operator says of a platform.
type platformFlags struct {
	name, kind, jwks, jwksURI, idTokenAlg, evidence string
	backchannel, sector, sectorURI, succeeds        string
	redirects, logouts, origins                     []string
	par, dpop, session, username, email             bool
	personas                                        int
}

func (f *platformFlags) flags(c *cobra.Command) {
	c.Flags().StringVar(&f.name, "name", "", "what people and custodians read")
	c.Flags().StringArrayVar(&f.redirects, "redirect-uri", nil, "where a sign-in leads back to, exactly: https://…, of an app also http://127.0.0.1/… (on any port) or com.example.app:/…; http://localhost of any kind only where the registrar is on this machine, as in a sandbox; repeatable")
	c.Flags().StringArrayVar(&f.logouts, "post-logout-redirect-uri", nil, "where people may be led back to after a logout; repeatable")
	c.Flags().StringVar(&f.backchannel, "backchannel-logout-uri", "", "https address where it is told who signed out (OpenID Connect Back-Channel Logout 1.0); none: it is not told")
	c.Flags().BoolVar(&f.session, "backchannel-logout-session-required", false, "a logout token for each sign-in, with its sid; else one for each pen name")
	c.Flags().StringArrayVar(&f.origins, "origin", nil, "https origin of its scripts or of its API, besides those of the redirect URIs; repeatable")
	c.Flags().StringVar(&f.jwks, "jwks", "", "file with the public keys by which it signs its requests (private_key_jwt): one JWK or {\"keys\": […]}, Ed25519 or P-256")
	c.Flags().StringVar(&f.jwksURI, "jwks-uri", "", "https address where it publishes such keys")
	c.Flags().StringVar(&f.idTokenAlg, "id-token-alg", "", "EdDSA, ES256 or RS256; RS256 if it says nothing")
	c.Flags().BoolVar(&f.par, "require-par", false, "refuse requests that were not pushed (RFC 9126)")
	c.Flags().BoolVar(&f.dpop, "require-dpop", false, "refuse to issue tokens that are not bound to a key (RFC 9449)")
	c.Flags().BoolVar(&f.username, "username", false, "it may ask by the scope profile for preferred_username: a short name, made from the pen name and nobody else's there for ever")
	c.Flags().BoolVar(&f.email, "email", false, "it may ask by the scope email for an address that nobody can write to")
	c.Flags().IntVar(&f.personas, "personas", 1, fmt.Sprintf("how many pen names one person may have there, at most %d; of the platforms of a sector, the least counts", policy.MaxPersonas))
	c.Flags().StringVar(&f.evidence, "key", "", "file with the public keys by which it signs evidence: one JWK or {\"keys\": […]}, Ed25519 or P-256, each with a kid")
}

// severalURIs is what is taken for one address if several are written with commas.
var severalURIs = regexp.MustCompile(`,\s*[A-Za-z][A-Za-z0-9+.-]*:`)

// contradictions refuses flags that cannot be meant together.
func (f *platformFlags) contradictions() error {
	if f.jwks != "" && f.jwksURI != "" {
		return shell.UsageError("--jwks and --jwks-uri: say one")
	}
	for flag, given := range map[string][]string{"redirect-uri": f.redirects, "post-logout-redirect-uri": f.logouts, "origin": f.origins} {
		if slices.ContainsFunc(given, severalURIs.MatchString) {
			return shell.UsageError("--%s takes one address: give it once for each", flag)
		}
	}
	return nil
}

// apply takes what was said into a record and its client's settings.
func (f *platformFlags) apply(cmd *cobra.Command, r *policy.PlatformRecord, p *openid.Platform) error {
	said := func(flag string, take func()) {
		if cmd.Flags().Changed(flag) {
			take()
		}
	}
	led := p.RedirectOrigins()
	others := slices.DeleteFunc(slices.Clone(r.Origins), func(o string) bool { return slices.Contains(led, o) })
	said("name", func() { r.Name = f.name })
	said("origin", func() { others = slices.DeleteFunc(f.origins, empty) })
	said("redirect-uri", func() { p.RedirectURIs = f.redirects })
	said("post-logout-redirect-uri", func() { p.PostLogoutRedirectURIs = slices.DeleteFunc(f.logouts, empty) })
	said("id-token-alg", func() { p.IDTokenAlg = jose.SignatureAlgorithm(f.idTokenAlg) })
	said("require-par", func() { p.RequirePAR = f.par })
	said("require-dpop", func() { p.RequireDPoP = f.dpop })
	said("backchannel-logout-uri", func() {
		p.BackchannelLogoutURI = f.backchannel
		p.BackchannelLogoutSessionRequired = p.BackchannelLogoutSessionRequired && f.backchannel != ""
	})
	said("backchannel-logout-session-required", func() { p.BackchannelLogoutSessionRequired = f.session })
	said("username", func() { p.Username = f.username })
	said("email", func() { p.Email = f.email })
	said("personas", func() {
		if r.Personas = f.personas; r.Personas == 1 {
			r.Personas = 0
		}
	})
	said("jwks-uri", func() { p.JWKSURI, p.JWKS = f.jwksURI, nil })
	if p.BackchannelLogoutSessionRequired && p.BackchannelLogoutURI == "" {
		return shell.UsageError("--backchannel-logout-session-required needs --backchannel-logout-uri")
	}
	// The public record names every origin to which people are led.
	r.Origins = slices.Concat([]string{}, others, p.RedirectOrigins())
	slices.Sort(r.Origins)
	r.Origins = slices.Compact(r.Origins)
	if err := f.applyKeys(p); err != nil {
		return err
	}
	said("key", func() { r.Keys = json.RawMessage(`{"keys":[]}`) })
	if f.evidence != "" {
		keys, err := readPublicKeys(f.evidence)
		if err != nil {
			return err
		}
		r.Keys = keys
	}
	return nil
}

// applyKeys takes the keys by which a platform signs its requests.
func (f *platformFlags) applyKeys(p *openid.Platform) error {
	if f.jwks == "" {
		return nil
	}
	raw, err := readPublicKeys(f.jwks)
	if err != nil {
		return err
	}
	var set jose.JSONWebKeySet
	if err := json.Unmarshal(raw, &set); err != nil || len(set.Keys) == 0 {
		return errSettings.Because(errors.New(f.jwks + " has no key"))
	}
	p.JWKS, p.JWKSURI = set.Keys, ""
	return nil
}

func empty(s string) bool { return s == "" }

// checkSettings says in an operator's words what is wrong with a platform.
func (r *registry) checkSettings(d draft) error {
	p := d.client
	p.ID, p.Name, p.Sector, p.Origins, p.Localhost = d.record.ID, d.record.Name, d.record.Sector, d.record.Origins, r.sandbox
	if d.before != nil {
		was, err := openid.ParseSettings(d.before.Client)
		if err != nil {
			return err
		}
		if kind := kindOf(was); kind != kindOf(p) {
			return errSettings.Because(fmt.Errorf("its kind is %s for ever", kind))
		}
	}
	if n := d.record.Personas; n < 0 || n > policy.MaxPersonas {
		return errSettings.Because(fmt.Errorf("--personas: it should be 1 to %d", policy.MaxPersonas))
	}
	err := p.Check()
	var field openid.WrongField
	switch {
	case errors.As(err, &field):
		return errSettings.Because(errors.New(wrong(p, field)))
	case err != nil:
		return err
	case p.IDTokenAlg != "" && !slices.Contains(r.algorithms, p.IDTokenAlg):
		return errSettings.Because(fmt.Errorf("--id-token-alg: no key of the service signs by %s; the bundle in force has keys for %v", p.IDTokenAlg, slices.Compact(slices.Sorted(slices.Values(r.algorithms)))))
	}
	return nil
}

// wrong says what is wrong with a field of p, by the flag that it comes from.
func wrong(p openid.Platform, field openid.WrongField) string {
	switch field {
	case "ID":
		return "ID: it should be 1 to 64 small letters, digits, dots and dashes"
	case "SecretHashes":
		return "--secret-sha256: there should be at most two secrets, neither of them empty, each by its SHA-256 in 64 hex digits: printf %s \"$SECRET\" | sha256sum"
	case "JWKS":
		return "--jwks: it should hold public keys alone, Ed25519 or P-256"
	case "JWKSURI":
		return "--jwks-uri: it should be an https:// address; in a sandbox also http://127.0.0.1/…"
	case "RedirectURIs":
		return "--redirect-uri: " + wrongAddress(p, p.RedirectURIs)
	case "PostLogoutRedirectURIs":
		return "--post-logout-redirect-uri: " + wrongAddress(p, p.PostLogoutRedirectURIs)
	case "BackchannelLogoutURI":
		return "--backchannel-logout-uri: it should be an https:// address; in a sandbox also http://127.0.0.1/…"
	case "Origins":
		return "--origin: they should be https:// origins, without a path or a wildcard"
	case "IDTokenAlg":
		return "--id-token-alg: it should be EdDSA, ES256 or RS256"
	}
	return "it should prove itself in one way: with a secret, with keys (--jwks or --jwks-uri, of --kind keys or api), or not at all"
}

// wrongAddress names the first of some addresses that cannot be registered, and why.
func wrongAddress(p openid.Platform, addresses []string) string {
	const should = "they should be exact https:// addresses, without a wildcard; of a native app also http://127.0.0.1/… or com.example.app:/…"
	i := slices.IndexFunc(addresses, func(a string) bool { return !p.Registrable(a) })
	if i < 0 {
		return should + "; there is none, which an API with an --origin alone may have"
	}
	u, err := url.Parse(addresses[i])
	why := "it is not written as an address is"
	switch {
	case err != nil:
	case strings.Contains(addresses[i], "*"):
		why = "it has a wildcard"
	case strings.Contains(addresses[i], "#"):
		why = "it has a fragment"
	case u.Scheme == "http" && document.Localhost(u.Hostname()):
		why = "it is on this machine: http://127.0.0.1 is for --kind native, and localhost for a sandbox, whose registrar is on this machine too"
	case u.Scheme == "http":
		why = "it is not https"
	case u.Scheme != "https" && !p.Native:
		why = "its scheme is for --kind native"
	case u.Scheme != "https":
		why = "its scheme is not a domain backwards"
	}
	return fmt.Sprintf("%q: %s; %s", addresses[i], why, should)
}

// kindOf is the word for a platform's kind.
func kindOf(p openid.Platform) string {
	switch {
	case p.Native:
		return "native"
	case p.Browser:
		return "spa"
	case len(p.RedirectURIs) == 0:
		return "api"
	case len(p.SecretHashes) > 0:
		return "web"
	}
	return "keys"
}

// clientLines are the settings of a client, one line each, without its secrets.
func clientLines(p openid.Platform) []string {
	lines := []string{"client " + kindOf(p)}
	add := func(what, text string) {
		if text != "" {
			lines = append(lines, what+" "+text)
		}
	}
	add("redirect URIs", strings.Join(p.RedirectURIs, ", "))
	add("after a logout to", strings.Join(p.PostLogoutRedirectURIs, ", "))
	add("is told who signed out at", p.BackchannelLogoutURI)
	add("its keys are at", p.JWKSURI)
	for _, k := range p.JWKS {
		add("signs its requests with key", k.KeyID)
	}
	for i, h := range p.SecretHashes {
		age := ""
		if len(p.SecretHashes) > 1 {
			age = []string{"newer ", "older "}[min(i, 1)]
		}
		until := "until it is forgotten"
		if !h.Until.IsZero() {
			until = "until " + h.Until.Format("2006-01-02 15:04 UTC")
		}
		lines = append(lines, fmt.Sprintf("%ssecret with SHA-256 %.8s…, %s", age, h.SHA256, until))
	}
	add("ID tokens by", string(p.IDTokenAlg))
	for _, has := range []struct {
		it   bool
		text string
	}{
		{p.BackchannelLogoutSessionRequired, "is told of each sign-in that ends, by its sid"},
		{p.RequirePAR, "its requests must be pushed"}, {p.RequireDPoP, "its tokens must be bound to a key"},
		{p.Username, "may ask for preferred_username"}, {p.Email, "may ask for an address that nobody can write to"},
	} {
		if has.it {
			lines = append(lines, has.text)
		}
	}
	return lines
}
