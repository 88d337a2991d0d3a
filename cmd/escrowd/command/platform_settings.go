package command

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/go-jose/go-jose/v4"
	"github.com/spf13/cobra"

	"github.com/penname/penname/escrow/openid"
	"github.com/penname/penname/policy"
	"github.com/penname/penname/verifier/refusal"
)

// errSettings names the flag that is wrong.
var errSettings = refusal.New(refusal.Invalid, "platform.bad_settings",
	"the platform cannot be registered like this: nothing was changed; correct what is named here")

// kinds are what a client can be, by how it proves itself.
var kinds = []string{"web", "spa", "native", "keys"}

// platformFlags are what an operator says of a platform.
type platformFlags struct {
	name, kind, jwks, jwksURI, idTokenAlg, evidence string
	backchannel, sector, sectorURI                  string
	redirects, logouts, origins                     []string
	par, dpop, session, username, email             bool
}

func (f *platformFlags) flags(c *cobra.Command) {
	c.Flags().StringVar(&f.name, "name", "", "what people and custodians read")
	c.Flags().StringArrayVar(&f.redirects, "redirect-uri", nil, "where a sign-in leads back to, exactly: https://…, of an app also http://127.0.0.1/… (on any port) or com.example.app:/…; repeatable")
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
	c.Flags().StringVar(&f.evidence, "key", "", "file with the public keys by which it signs evidence: one JWK or {\"keys\": […]}, Ed25519 or P-256, each with a kid")
}

// apply takes what was said into a record and its client's settings.
func (f *platformFlags) apply(cmd *cobra.Command, r *policy.PlatformRecord, p *openid.Platform) error {
	said := func(flag string, take func()) {
		if cmd.Flags().Changed(flag) {
			take()
		}
	}
	said("name", func() { r.Name = f.name })
	said("origin", func() { r.Origins = slices.DeleteFunc(f.origins, empty) })
	said("redirect-uri", func() { p.RedirectURIs = f.redirects })
	said("post-logout-redirect-uri", func() { p.PostLogoutRedirectURIs = slices.DeleteFunc(f.logouts, empty) })
	said("id-token-alg", func() { p.IDTokenAlg = jose.SignatureAlgorithm(f.idTokenAlg) })
	said("require-par", func() { p.RequirePAR = f.par })
	said("require-dpop", func() { p.RequireDPoP = f.dpop })
	said("backchannel-logout-uri", func() { p.BackchannelLogoutURI = f.backchannel })
	said("backchannel-logout-session-required", func() { p.BackchannelLogoutSessionRequired = f.session })
	said("username", func() { p.Username = f.username })
	said("email", func() { p.Email = f.email })
	said("jwks-uri", func() { p.JWKSURI, p.JWKS = f.jwksURI, nil })
	if f.jwks != "" {
		raw, err := readPublicKeys(f.jwks)
		if err != nil {
			return err
		}
		var set jose.JSONWebKeySet
		if err := json.Unmarshal(raw, &set); err != nil || len(set.Keys) == 0 {
			return errSettings.Because(errors.New(f.jwks + " has no key"))
		}
		p.JWKS, p.JWKSURI = set.Keys, ""
	}
	if f.evidence != "" {
		keys, err := readPublicKeys(f.evidence)
		if err != nil {
			return err
		}
		r.Keys = keys
	}
	return nil
}

func empty(s string) bool { return s == "" }

// checkSettings says in an operator's words what is wrong with a platform.
func checkSettings(r policy.PlatformRecord, p openid.Platform, sandbox bool) error {
	p.ID, p.Name, p.Sector, p.Origins, p.Localhost = r.ID, r.Name, r.Sector, r.Origins, sandbox
	err := p.Check()
	var field openid.WrongField
	if !errors.As(err, &field) {
		return err
	}
	return errSettings.Because(errors.New(shouldBe(field)))
}

// shouldBe says by which flag a field is set, and how it should be.
func shouldBe(field openid.WrongField) string {
	const addresses = "they should be exact https:// addresses, without a wildcard; of a native app also http://127.0.0.1/… or com.example.app:/…"
	switch field {
	case "ID":
		return "ID: it should be 1 to 64 small letters, digits, dots and dashes"
	case "SecretHashes":
		return "there should be at most two secrets, each by its SHA-256 in 64 hex digits: printf %s \"$SECRET\" | sha256sum"
	case "JWKS":
		return "--jwks: it should hold public keys alone, Ed25519 or P-256"
	case "JWKSURI":
		return "--jwks-uri: it should be an https:// address"
	case "RedirectURIs":
		return "--redirect-uri: " + addresses
	case "PostLogoutRedirectURIs":
		return "--post-logout-redirect-uri: " + addresses
	case "BackchannelLogoutURI":
		return "--backchannel-logout-uri: it should be an https:// address"
	case "Origins":
		return "--origin: they should be https:// origins, without a path"
	case "IDTokenAlg":
		return "--id-token-alg: it should be EdDSA, ES256 or RS256"
	}
	return "it should prove itself in one way: with a secret, with keys, or not at all"
}

// kindOf is the word for a platform's kind.
func kindOf(p openid.Platform) string {
	switch {
	case p.Native:
		return "native"
	case p.Browser:
		return "spa"
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
	for _, h := range p.SecretHashes {
		until := "until it is forgotten"
		if !h.Until.IsZero() {
			until = "until " + h.Until.Format("2006-01-02 15:04 UTC")
		}
		lines = append(lines, fmt.Sprintf("secret with SHA-256 %.8s…, %s", h.SHA256, until))
	}
	add("ID tokens by", string(p.IDTokenAlg))
	if p.RequirePAR {
		lines = append(lines, "its requests must be pushed")
	}
	if p.RequireDPoP {
		lines = append(lines, "its tokens must be bound to a key")
	}
	return lines
}
