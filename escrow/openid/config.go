package openid

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/luikyv/go-oidc/pkg/goidc"

	"github.com/penname/penname/verifier/document"
	"github.com/penname/penname/verifier/identity"
	"github.com/penname/penname/verifier/refusal"
	"github.com/penname/penname/verifier/token"
)

// Config is what a [Provider] needs. All fields are required unless said otherwise.
type Config struct {
	// Issuer is an https origin without a path or trailing slash. Plain http is
	// accepted for a loopback address only, and with Localhost for that name, where browsers
	// have passkeys: only a sandbox and tests set it.
	Issuer    string
	Localhost bool

	// Keys are the signing keys: the current one, coming ones, and retired ones
	// until their tokens have expired. One in force is Ed25519 or P-256, for access
	// tokens and status lists; a platform that names no algorithm gets ID tokens by the
	// RSA key if there is one. Keys that are still to sign use the algorithms of those
	// in force; restart to change that. See [Provider.SetKeys].
	Keys []Key

	// Platforms returns the platform with a client_id, or [ErrUnknownPlatform].
	// It is asked for every request, so a platform that is taken away can do
	// nothing from then on. See [Fixed].
	Platforms func(ctx context.Context, clientID string) (Platform, error)

	// Origins, optional, reports whether an origin ("https://app.example") is a
	// platform's, whose scripts may call /token, /userinfo and /revoke.
	Origins func(ctx context.Context, origin string) bool

	// Resource returns the platform of a client's sector that a resource indicator names,
	// see [FindResource], or [ErrUnknownPlatform]. Optional: without it resource is ignored.
	Resource func(ctx context.Context, client Platform, resource string) (Platform, error)

	// EmailDomain, optional, is the domain of the e-mail addresses of people, at which
	// nobody can be written to: see [CheckEmailDomain]. Empty: [NoDomain].
	EmailDomain string

	// ACRs are the assurance levels that the issuer can vouch for. Optional.
	ACRs []string

	// Leave, optional, is the page of a logout that a platform asks for. Without it
	// there is none.
	Leave Leave

	// Ban, optional, is told that a platform of a sector reports that it bans a pen name, or
	// no longer does. It notes nothing of one that the sector has not.
	Ban func(ctx context.Context, sector string, name token.Pseudonym, banned bool) error

	// Suspended, optional, is a refusal for a pen name that gets no access token for a
	// platform, though the grant is another platform's: see [Provider.Suspend].
	Suspended func(ctx context.Context, name token.Pseudonym, platform string) error

	// HTTP calls the addresses that platforms give. It must refuse those inside the
	// operator's networks and bound what it reads: see identity.NewHTTP. Optional: without
	// it none is called.
	HTTP *http.Client

	// Aside, optional, runs what may wait for such an address for as long as HTTP lets it. An
	// error means that the request cannot go on afterwards: it is to come again.
	Aside func(ctx context.Context, wait func()) error

	// Text, optional, says an English text of this package in the language of whoever asks, and
	// which one that is (BCP 47).
	Text func(r *http.Request, english string) (text, language string)

	// Locales are the languages of the pages, BCP 47 in small letters: what ui_locales may
	// ask for.
	Locales []string

	// ErrorPage, optional, renders a refusal that cannot be sent back to the
	// platform. It sets the status. The refusal holds no request data.
	ErrorPage func(w http.ResponseWriter, r *http.Request, err *refusal.Error)

	// Refused, optional, is told of each refusal, for metrics and the security
	// log: an endpoint's path and a constant code, nothing from the request; and what failed
	// of the store or another port meanwhile, or nil.
	Refused func(ctx context.Context, endpoint, code string, outage error)

	// Now is the clock; nil is time.Now. It dates tokens and picks keys. The
	// protocol library reads the system clock for its own deadlines (codes, PAR,
	// proofs, introspection), so Now must agree with that in production.
	Now func() time.Time
}

// Key is a private signing key with a kid: Ed25519 (EdDSA), P-256 (ES256), or RSA of 2048
// bits or more (RS256), which signs ID tokens only.
type Key struct {
	JWK       jose.JSONWebKey
	NotBefore time.Time // zero: from the beginning
	NotAfter  time.Time // zero: without end
}

// Algorithm is the one that the key signs with; "" if it is none of ours.
func (k Key) Algorithm() jose.SignatureAlgorithm { return algorithm(k.JWK.Key) }

// Platform is a relying party. Exactly one of SecretHashes, JWKS, JWKSURI, Browser and
// Native says how it authenticates.
//
// What has a name in JSON are its settings as a client, see [Platform.Settings]; the rest
// is in its record in the public registry.
type Platform struct {
	ID      string   `json:"-"` // client_id: 1 to 64 of A-Z a-z 0-9 . _ -
	Name    string   `json:"-"` // for the consent page
	Sector  string   `json:"-"` // platforms of one sector know a person by one pen name; "": ID
	Origins []string `json:"-"` // https://host: of its scripts, beside those of RedirectURIs, and of its API

	Succeeds   string    `json:"-"` // id of the platform that it took over from; "": none
	Registered time.Time `json:"-"` // the day of its first record
	Personas   int       `json:"-"` // how many pen names one person may have there; 0 is one. See [Personas]

	// Closed is why it signs nobody in, on a page: [ErrRetired], [ErrStopped], or
	// [ErrUnsound] until its settings, or what they need here, are mended; nil: it does. The pen names that people have
	// there stay theirs.
	Closed *refusal.Error `json:"-"`

	RedirectURIs           []string          `json:"redirect_uris"`                       // an API, which has Origins and signs nobody in, may have none
	PostLogoutRedirectURIs []string          `json:"post_logout_redirect_uris,omitempty"` // where people may be led back to after a logout
	SecretHashes           []SecretHash      `json:"secrets,omitempty"`                   // at most two, sent by client_secret_basic or _post
	JWKS                   []jose.JSONWebKey `json:"keys,omitempty"`                      // public keys for private_key_jwt, EdDSA or ES256
	JWKSURI                string            `json:"jwks_uri,omitempty"`                  // https address where it publishes such keys
	Browser                bool              `json:"browser,omitempty"`                   // scripts in the person's browser: no secret, and refresh tokens only with DPoP
	Native                 bool              `json:"native,omitempty"`                    // an app on the person's device: no secret, loopback redirects on any port (RFC 8252)
	BackchannelLogoutURI   string            `json:"backchannel_logout_uri,omitempty"`    // where it is told that a pen name signed out: see backchannel.go
	Events                 *Stream           `json:"events,omitempty"`                    // how it is told of events; nil: it is not
	Username               bool              `json:"username,omitempty"`                  // it may ask for a handle, by the scope profile
	Email                  bool              `json:"email,omitempty"`                     // it may ask for an e-mail address, by the scope email
	Claims                 []string          `json:"claims,omitempty"`                    // of identity.ClaimNames, in their order: it may ask for these, by scopes of the same names

	// BackchannelLogoutSessionRequired asks for one logout token for each sign-in, with
	// its sid (OpenID Connect Back-Channel Logout 1.0, 2.2). Else one without is for all
	// of a pen name.
	BackchannelLogoutSessionRequired bool `json:"backchannel_logout_session_required,omitempty"`

	RequirePAR  bool                    `json:"require_par,omitempty"`  // refuse authorization requests that were not pushed (RFC 9126)
	RequireDPoP bool                    `json:"require_dpop,omitempty"` // refuse to issue tokens that are not bound to a key (RFC 9449)
	IDTokenAlg  jose.SignatureAlgorithm `json:"id_token_alg,omitempty"` // of its ID tokens, if a key signs with it; "": RS256 if there is such a key (OpenID Connect Core, 15.1)

	// Localhost lets addresses on this machine be registered, http://localhost too, as
	// developers have it. No settings have it: a sandbox does, where everybody is on one machine.
	Localhost bool `json:"-"`
}

// SectorID is what pen names are derived for.
func (p Platform) SectorID() string { return cmp.Or(p.Sector, p.ID) }

// Personas is how many pen names one person may have at the platforms of a sector: the
// least that any of them allows, but for those that have ended. Of one that cannot be used at
// the moment it is not known, and it counts as one.
func Personas(all []Platform, sector string) int {
	least := 0
	for _, p := range all {
		if p.SectorID() != sector || p.Closed == ErrRetired || p.Closed == ErrStopped {
			continue
		}
		if n := max(1, p.Personas); least == 0 || n < least {
			least = n
		}
	}
	return max(1, least)
}

// SecretHash is what is kept of a client secret. Secrets are random, so that one SHA-256
// is enough.
type SecretHash struct {
	SHA256 string    `json:"sha256"`         // 64 hex digits in lower case
	Until  time.Time `json:"until,omitzero"` // it counts before; zero: until it is forgotten
}

// HashSecret is what is kept of a secret.
func HashSecret(secret string) SecretHash {
	sum := sha256.Sum256([]byte(secret))
	return SecretHash{SHA256: hex.EncodeToString(sum[:])}
}

// noSecrets are hashes of what a slip of the hand leaves of a secret: nothing, or white space.
var noSecrets = []SecretHash{HashSecret(""), HashSecret(" "), HashSecret("\n"), HashSecret("\r\n"), HashSecret("\t")}

// sound reports whether h can be the hash of a secret.
func (h SecretHash) sound() bool {
	return sha256hex.MatchString(h.SHA256) && !slices.Contains(noSecrets, SecretHash{SHA256: h.SHA256})
}

// Settings is a platform's document of client settings: canonical JSON (RFC 8785).
// The registry holds its SHA-256.
func (p Platform) Settings() ([]byte, error) { return document.Canonical(p) }

// ParseSettings reads what [Platform.Settings] wrote, and nothing that it would not
// write. It fails with [ErrBadPlatform].
func ParseSettings(raw []byte) (p Platform, err error) {
	if err := document.ReadExactly(raw, &p, func() ([]byte, error) { return p.Settings() }); err != nil {
		return Platform{}, ErrBadPlatform.Because(WrongField("settings"))
	}
	return p, nil
}

// SignInRequest is what the sign-in page gets to know.
type SignInRequest struct {
	Platform  Platform
	SessionID string            // the handle of this interaction
	Action    string            // where the page's forms post to: a path that ends with SessionID
	Answer    bool              // the request is such a post: only then may form fields be taken as the person's answer
	Silent    bool              // prompt=none: no page may be shown, the outcome must not be pending
	Offline   bool              // the platform asks to stay signed in (offline_access)
	Scopes    string            // all that the platform asks for: what is consented to
	Username  bool              // a handle is among it
	Email     bool              // an e-mail address is: [Provider.Email]
	Claims    identity.ClaimSet // claims are
	ACRs      []string          // assurance levels that the platform would like, best first
	Locale    string            // of Config.Locales, that the platform would like; "": it does not say

	// Which proofs of identity count (OpenID Connect Core, 3.1.2.1). One that was made
	// for this interaction always does, however long the person reads afterwards.
	Fresh bool      // prompt=login: no other
	Since time.Time // max_age: no other that is not later than this; zero if not asked for
}

// Subject is all that the provider ever learns about a person.
type Subject struct {
	Pseudonym  token.Pseudonym
	Commitment [32]byte // token.Commit of the pseudonym's link
	ACR        string
	Handle     token.Handle // of the pseudonym; required where SignInRequest.Username is set, and then told
	Proven     time.Time    // when the person proved who they are; required where SignInRequest.Since is set, and then told

	// Claims are those that the person lets the platform know, of SignInRequest.Claims, and
	// Month is the first day (UTC) of when they were true. They are told for twelve months.
	Claims identity.Claims
	Month  time.Time

	// Confirm, optional, is asked once more when the grant is stored: an error
	// ends the grant, and is shown as one of Authenticate is. It closes the gap in which an
	// [Provider.End] would miss it.
	Confirm func(context.Context) error
}

// Outcome is the state of an interaction.
type Outcome int

// The outcomes. The zero Outcome is pending, which gives nothing away.
const (
	Pending  Outcome = iota // a page was rendered and waits for an answer
	Approved                // the Subject may be told to the platform
	Denied                  // the person refused
	Unasked                 // only if Silent: who is signed in would have to be asked for consent
)

// Authenticate signs a person in and asks for consent. It is called for the
// authorization request and for every request to SignInRequest.Action.
//
// Pending means that a page was written to w. After any other outcome nothing may
// have been written to w but cookies: the provider redirects. On an error the provider
// shows it (a [refusal.Error] as it is, any other as unavailable) and the
// interaction stays open. CSRF protection of the page is the callback's own.
type Authenticate func(w http.ResponseWriter, r *http.Request, req SignInRequest) (Subject, Outcome, error)

// Refusals of a configuration, of an authorization request whose answer cannot
// be sent to the platform, and of a sign-in.
var (
	ErrConfig          = refusal.New(refusal.Invalid, "openid.config", "The provider's issuer must be an https origin and its keys private Ed25519, P-256 or RSA keys with distinct kids, of the first two kinds one in force.")
	ErrBadPlatform     = refusal.New(refusal.Invalid, "openid.bad_platform", "A platform needs an id, exact https redirect URIs without wildcards, and exactly one of secrets, keys, jwks_uri, browser and native.")
	ErrUnknownPlatform = refusal.New(refusal.NotFound, "openid.unknown_platform", "No platform is registered under this client_id: the platform must register first.")
	ErrNoClientID      = refusal.New(refusal.Invalid, "openid.no_client_id", "The platform's request names no client_id: it must send the one under which it is registered.")
	ErrRetired         = refusal.New(refusal.Denied, "openid.platform_retired", "This platform is no longer registered: nobody can sign in to it any more.")
	ErrStopped         = refusal.New(refusal.Denied, "openid.platform_stopped", "The custodians have stopped this platform: nobody can sign in to it.")
	ErrUnsound         = refusal.New(refusal.NotFound, "openid.platform_unsound", "This platform is registered, but cannot be used at the moment: the operator of Penname must look.")
	ErrRedirectURI     = refusal.New(refusal.Invalid, "openid.redirect_uri", "The redirect_uri is not registered for this platform: send it exactly as it is registered.")
	ErrRequest         = refusal.New(refusal.Invalid, "openid.invalid_request", "The platform's request is malformed: client_id, redirect_uri, request_uri, id_token_hint, post_logout_redirect_uri and state may each be sent once, and all parameters in at most 8 KiB.")
	ErrRequestURI      = refusal.New(refusal.Invalid, "openid.invalid_request_uri", "The request_uri is not one that was pushed here by this platform, was used, or has expired: push the request again.")
	ErrUnavailable     = refusal.New(refusal.Unavailable, "openid.unavailable", "Signing in does not work at the moment: nothing was disclosed, try again later.")
	ErrSubject         = refusal.New(refusal.Unavailable, "openid.subject", "The sign-in page gave no valid pseudonym, commitment and assurance level: report this to the operator.")
)

// Lifetimes. Tokens are short so that a revoked one dies soon even where no
// status list is read.
const (
	codeLifetime     = time.Minute         // OWASP ASVS 5.0, 10.4.3: at most one minute at level 3
	parLifetime      = 90 * time.Second    // RFC 9126, 2.2: "a relatively short lifetime (e.g., between 5 and 600 seconds)"
	sessionLifetime  = 30 * time.Minute    // for the person to sign in and decide
	tokenLifetime    = 10 * time.Minute    // ID token and access token
	refreshLifetime  = 30 * 24 * time.Hour // of the whole family, counted from the sign-in: rotation does not prolong it
	proofLifetime    = 5 * time.Minute     // of a DPoP proof or client assertion
	leeway           = time.Minute         // for the clocks of platforms
	againWithin      = 10 * time.Second    // how long after a renewal its refresh token may come a second time
	maxRequest       = 8 << 10             // bytes of an authorization request
	maxBody          = 64 << 10            // bytes of any other request
	keyRetention     = 24 * time.Hour      // how long a retired key stays published
	day              = 24 * time.Hour
	maxNonce, maxACR = 512, 128 // bytes
	maxAddress       = 500      // bytes
	maxSecrets       = 2        // of a platform: the one in use, and the next one or the one before
)

// NoDomain is a domain that nobody can have (RFC 6761, 6.4).
const NoDomain = "penname.invalid"

// CheckEmailDomain reports whether addresses can be made under a domain: it has two labels
// or more, of lower-case letters, digits and dashes (RFC 1123, 2.1), and leaves room for a
// pseudonym (RFC 5321, 4.5.3.1.3).
func CheckEmailDomain(domain string) bool {
	return len(domain) <= 200 && domainSyntax.MatchString(domain)
}

var (
	domainSyntax   = regexp.MustCompile(`^([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z]([a-z0-9-]{0,61}[a-z0-9])?$`)
	clientIDSyntax = regexp.MustCompile(`^[A-Za-z0-9._-]{1,64}$`)
	sha256b64      = regexp.MustCompile(`^[A-Za-z0-9_-]{43}$`)
	sha256hex      = regexp.MustCompile(`^[0-9a-f]{64}$`)
)

// check refuses a configuration with [ErrConfig].
func (c *Config) check() error {
	local := document.Loopback
	if c.Localhost {
		local = document.Localhost
	}
	if !document.Origin(c.Issuer, false, local) || c.Issuer != strings.ToLower(c.Issuer) || c.Platforms == nil {
		return ErrConfig
	}
	if c.EmailDomain != "" && !CheckEmailDomain(c.EmailDomain) {
		return ErrConfig.Because(errors.New("the e-mail domain"))
	}
	return nil
}

// Fixed returns a lookup for platforms that do not change while the program
// runs, or [ErrBadPlatform].
func Fixed(platforms ...Platform) (func(context.Context, string) (Platform, error), error) {
	byID := make(map[string]Platform, len(platforms))
	for _, p := range platforms {
		if _, twice := byID[p.ID]; twice {
			return nil, ErrBadPlatform
		}
		if err := p.Check(); err != nil {
			return nil, err
		}
		byID[p.ID] = p
	}
	return func(_ context.Context, id string) (Platform, error) {
		p, ok := byID[id]
		if !ok {
			return Platform{}, ErrUnknownPlatform
		}
		return p, nil
	}, nil
}

// WrongField is the cause of [ErrBadPlatform]: the name of the field of [Platform] that
// is wrong; empty, there is not exactly one of SecretHashes, JWKS, JWKSURI, Browser and Native.
type WrongField string

// Error is the field's name.
func (f WrongField) Error() string { return string(f) }

// Check refuses a platform with [ErrBadPlatform], whose cause is a [WrongField]. Of one
// that is closed only the id is looked at.
func (p Platform) Check() error {
	ways := 0
	for _, has := range []bool{len(p.SecretHashes) > 0, len(p.JWKS) > 0, p.JWKSURI != "", p.Browser, p.Native} {
		if has {
			ways++
		}
	}
	unusable := func(k jose.JSONWebKey) bool { return !k.IsPublic() || !usable(k) }
	unregistrable := func(uri string) bool { return !p.Registrable(uri) }
	switch {
	case !clientIDSyntax.MatchString(p.ID):
		return ErrBadPlatform.Because(WrongField("ID"))
	case p.Closed != nil:
		return nil
	case ways != 1:
		return ErrBadPlatform.Because(WrongField(""))
	case len(p.SecretHashes) > maxSecrets, slices.ContainsFunc(p.SecretHashes, not(SecretHash.sound)):
		return ErrBadPlatform.Because(WrongField("SecretHashes"))
	case p.JWKSURI != "" && !p.fetchable(p.JWKSURI):
		return ErrBadPlatform.Because(WrongField("JWKSURI"))
	case slices.ContainsFunc(p.JWKS, unusable):
		return ErrBadPlatform.Because(WrongField("JWKS"))
	case len(p.RedirectURIs) == 0 && (p.public() || len(p.Origins) == 0), slices.ContainsFunc(p.RedirectURIs, unregistrable):
		return ErrBadPlatform.Because(WrongField("RedirectURIs"))
	case slices.ContainsFunc(p.PostLogoutRedirectURIs, unregistrable):
		return ErrBadPlatform.Because(WrongField("PostLogoutRedirectURIs"))
	case p.BackchannelLogoutURI != "" && !p.fetchable(p.BackchannelLogoutURI):
		return ErrBadPlatform.Because(WrongField("BackchannelLogoutURI"))
	case p.Events != nil && (p.public() || !p.Events.sound(p)):
		return ErrBadPlatform.Because(WrongField("Events"))
	case slices.ContainsFunc(p.Origins, func(o string) bool { return !document.Origin(o, false, document.Localhost) }):
		return ErrBadPlatform.Because(WrongField("Origins"))
	case !slices.Equal(p.Claims, identity.ClaimsNamed(p.Claims...).Names()):
		return ErrBadPlatform.Because(WrongField("Claims"))
	case p.IDTokenAlg != "" && !slices.Contains(document.IDTokenAlgorithms, p.IDTokenAlg):
		return ErrBadPlatform.Because(WrongField("IDTokenAlg"))
	}
	return nil
}

// usable reports whether a client's key is of an algorithm that signs requests.
func usable(k jose.JSONWebKey) bool {
	return k.Valid() && slices.Contains(document.SignatureAlgorithms, algorithm(k.Key))
}

// fetchable reports whether an address may be registered that this service calls.
func (p Platform) fetchable(address string) bool {
	u, err := url.Parse(address)
	local := func(host string) bool { return p.Localhost && document.Localhost(host) }
	return err == nil && u.String() == address && u.User == nil && !strings.ContainsAny(address, `#*\`) && document.Secure(u, local) && len(address) <= maxAddress
}

// Registrable reports whether a redirect URI may be registered at all.
func (p Platform) Registrable(uri string) bool {
	u, err := url.Parse(uri)
	if err != nil || u.String() != uri || u.User != nil || strings.ContainsAny(uri, `#*\`) || strings.Contains(u.Path, "..") {
		return false
	}
	switch {
	case u.Scheme == "https" || u.Scheme == "http":
		// Plain http to this machine is for apps. RFC 8252, 8.3: "The use of localhost is
		// NOT RECOMMENDED", so addresses only.
		return u.Hostname() != "" && document.Secure(u, func(host string) bool {
			return p.Native && document.Loopback(host) || p.Localhost && document.Localhost(host)
		})
	default:
		// RFC 8252, 7.1: private-use schemes are reverse domain names.
		return p.Native && strings.Contains(u.Scheme, ".")
	}
}

// allows compares a redirect URI with those registered.
//
// RFC 9700, 2.1: "authorization servers MUST utilize exact string matching except
// for port numbers in localhost redirection URIs of native apps".
func (p Platform) allows(uri string) bool {
	if slices.Contains(p.RedirectURIs, uri) {
		return true
	}
	for _, host := range []string{"http://127.0.0.1", "http://[::1]"} {
		rest, ok := strings.CutPrefix(uri, host+":")
		if !p.Native || !ok {
			continue
		}
		port, path, ok := strings.Cut(rest, "/")
		n, err := strconv.ParseUint(port, 10, 16)
		if ok && err == nil && n > 0 && strconv.FormatUint(n, 10) == port && slices.Contains(p.RedirectURIs, host+"/"+path) {
			return true
		}
	}
	return false
}

// Scripts reports whether an origin is one of p's, whose scripts may call. A browser
// names its origin in lower case, and a port only where it is not the scheme's.
func (p Platform) Scripts(origin string) bool {
	return slices.Contains(p.Origins, origin) || slices.ContainsFunc(p.RedirectURIs, func(uri string) bool {
		u, err := url.Parse(uri)
		return err == nil && u.Host != "" && u.Scheme+"://"+u.Host == origin
	})
}

// scopes are those that p may ask for; others are ignored.
func (p Platform) scopes() []string {
	all := []string{goidc.ScopeOpenID.ID, goidc.ScopeOfflineAccess.ID}
	if p.Username {
		all = append(all, goidc.ScopeProfile.ID)
	}
	if p.Email {
		all = append(all, goidc.ScopeEmail.ID)
	}
	return append(all, p.Claims...)
}

// granted are the scopes that p may have, of those that it asks for, each once.
func (p Platform) granted(scope string) string {
	asked := strings.Fields(scope)
	return strings.Join(slices.DeleteFunc(p.scopes(), func(s string) bool { return !slices.Contains(asked, s) }), " ")
}

// public reports whether p can keep no secret (RFC 6749, 2.1).
func (p Platform) public() bool { return p.Native || p.Browser }

// methods returns the client authentication methods that are open to p.
func (p Platform) methods() []string {
	switch {
	case p.public():
		return []string{"none"}
	case len(p.JWKS) > 0, p.JWKSURI != "":
		return []string{"private_key_jwt"}
	default:
		return []string{"client_secret_basic", "client_secret_post"}
	}
}
