package identity

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"mime"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/json"
	"golang.org/x/oauth2"

	"github.com/penname/penname/verifier/token"
)

// FlowTTL is how long a person may take at the identity provider: the life of a
// [Flow], of the cookie that holds it, and of what is remembered of its use.
const FlowTTL = 10 * time.Minute

// Provider is the configuration of one identity provider.
type Provider struct {
	Issuer       string // exactly as the provider names itself
	ClientID     string
	ClientSecret string // empty for a public client, and where there is a ClientKey

	// ClientKey signs client assertions (private_key_jwt, OpenID Connect Core, 9) by
	// its alg, which is required. Nil: none.
	ClientKey *jose.JSONWebKey
	// DecryptionKey opens tokens that the provider encrypts to us, on P-256 (ECDH-ES
	// with A256GCM). Nil: a token that is encrypted is refused.
	DecryptionKey *jose.JSONWebKey

	RedirectURL string // exactly as registered, and no other provider's; never taken from a request

	// Scopes beside openid. "profile" is required, or "given_name", "family_name" and
	// "birthdate" where each claim is a scope; "address" and "email" may be added. They
	// decide which fields an Identity can have. Nil is "profile" alone.
	Scopes []string

	// SignedUserInfo: UserInfo is registered there to come as a token. Core, 5.3.2.
	SignedUserInfo bool

	// What the provider must vouch for. ACRValues or TrustFrameworks is required.
	ACRValues       []string      // the id token's acr is one of these
	AMRValues       []string      // the id token's amr holds all of these
	MaxAge          time.Duration // auth_time is not older; zero: no such demand
	TrustFrameworks []string      // the claims come from verified_claims under one of these

	// Claims says what else the provider has verified. With a preset that gives a core
	// identity only Ages.
	Claims ClaimSources

	own peculiarities // set by a Preset

	// SingleUse lets a flow's state be used once, on all nodes and across
	// restarts. Nil: that is the caller's duty.
	SingleUse token.ReplayGuard

	// Private are the addresses beyond the public internet at which the operator says
	// that the provider is.
	Private PrivateNetworks

	// Roots are the certificate authorities that count; nil: those of this machine.
	Roots *x509.CertPool

	// AllowLoopback is for the sandbox: http is allowed, and no other address
	// than loopback is reachable.
	AllowLoopback bool
}

// LogValue leaves the client secret out of logs.
func (p Provider) LogValue() slog.Value {
	return slog.GroupValue(slog.String("issuer", p.Issuer), slog.String("client_id", p.ClientID))
}

// Format leaves the client secret out of everything printed.
func (p Provider) Format(s fmt.State, _ rune) { fmt.Fprintf(s, "[provider %s]", p.Issuer) }

// Flow is one sign-in that was begun. It is a secret of one browser: keep it in
// an encrypted, HttpOnly cookie, and let its State succeed once. It encodes to
// JSON; printing it shows nothing.
type Flow struct {
	Issuer       string    `json:"issuer"` // which provider was asked
	State        string    `json:"state"`
	Nonce        string    `json:"nonce"`
	CodeVerifier string    `json:"code_verifier"`
	Started      time.Time `json:"started"`
	Fresh        bool      `json:"fresh,omitempty"` // see BeginAnew
}

// Format writes "[flow]" for every verb and flag.
func (f Flow) Format(s fmt.State, _ rune) { fmt.Fprint(s, "[flow]") }

// LogValue returns "[flow]" to log/slog.
func (f Flow) LogValue() slog.Value { return slog.StringValue("[flow]") }

// RelyingParty signs people in at one identity provider. It is safe for
// concurrent use.
type RelyingParty struct {
	provider    Provider
	scopes      map[string]bool
	now         func() time.Time
	client      *http.Client
	oidc        *oidc.Provider
	oauth       oauth2.Config
	keys        *keySet
	core        *keySet // of the core identity; nil: the claims are those of the standard
	issExpected bool    // the provider announces the iss response parameter
	disabled    atomic.Bool
}

// NewRelyingParty reads the provider's discovery document and keys, and refuses
// a provider that is configured without an assurance, is not reachable safely,
// names another issuer, or does not offer PKCE with S256.
func NewRelyingParty(ctx context.Context, p Provider, now func() time.Time) (*RelyingParty, error) {
	return newRelyingParty(ctx, p, now, defaultLimits, nil)
}

func newRelyingParty(ctx context.Context, p Provider, now func() time.Time, lim limits, resolver *net.Resolver) (*RelyingParty, error) {
	if p.Scopes == nil {
		p.Scopes = []string{oidc.ScopeProfile}
	}
	if err := p.check(); err != nil {
		return nil, err
	}
	client := newClient(lim, Guard{p.Private, p.Roots, p.AllowLoopback, ErrSSRFRefused}, resolver)
	client.Transport = tokenAnswers{client.Transport.(*bounded)}
	rp := &RelyingParty{provider: p, now: now, client: client, scopes: map[string]bool{}}
	for _, s := range p.Scopes {
		rp.scopes[s] = true
	}
	ctx = oidc.ClientContext(ctx, rp.client)
	var err error
	if rp.oidc, err = oidc.NewProvider(ctx, p.Issuer); err != nil {
		var mismatch *oidc.IssuerMismatchError
		if errors.As(err, &mismatch) {
			return nil, ErrIssuerMismatch
		}
		return nil, failedOr(err, ErrBadDiscovery)
	}
	if err := rp.discover(ctx); err != nil {
		return nil, err
	}
	return rp, nil
}

func (p Provider) check() error {
	if p.ClientID == "" || !p.own.coreIdentity && !slices.Contains(p.Scopes, oidc.ScopeProfile) &&
		!(slices.Contains(p.Scopes, "given_name") && slices.Contains(p.Scopes, "family_name") && slices.Contains(p.Scopes, "birthdate")) {
		return ErrConfig.Because(errors.New("client id or scope profile missing"))
	}
	if p.own.coreIdentity && len(p.Claims.named()) > 0 {
		return ErrConfig.Because(errors.New("claims beside the core identity: it vouches for ages alone"))
	}
	if p.ClientKey != nil && (p.ClientSecret != "" || p.ClientKey.IsPublic() || !slices.Contains(allowedAlgs, jose.SignatureAlgorithm(p.ClientKey.Algorithm))) {
		return ErrConfig.Because(errors.New("the client key is not a secret key with its alg, or there is a secret too"))
	}
	// A refresh token would outlive the one purpose that it was given for.
	if slices.Contains(p.Scopes, oidc.ScopeOfflineAccess) {
		return ErrConfig.Because(errors.New("scope offline_access"))
	}
	if len(p.ACRValues) == 0 && len(p.TrustFrameworks) == 0 || slices.Contains(p.ACRValues, "") || slices.Contains(p.TrustFrameworks, "") || p.MaxAge < 0 {
		return ErrConfig.Because(errors.New("no required assurance"))
	}
	// OpenID Connect Discovery, 3: "https scheme with no query or fragment".
	if checkURL(p.Issuer, p.AllowLoopback) != nil || strings.Contains(p.Issuer, "?") {
		return ErrConfig.Because(errors.New("issuer"))
	}
	if checkURL(p.RedirectURL, p.AllowLoopback) != nil {
		return ErrConfig.Because(errors.New("redirect URL"))
	}
	return nil
}

// metadata is the part of OpenID Connect Discovery, 3, and RFC 8414, 2, that we read.
type metadata struct {
	AuthorizationEndpoint string   `json:"authorization_endpoint"`
	TokenEndpoint         string   `json:"token_endpoint"`
	UserInfoEndpoint      string   `json:"userinfo_endpoint"`
	JWKSURI               string   `json:"jwks_uri"`
	ResponseTypes         []string `json:"response_types_supported"`
	SigningAlgs           []string `json:"id_token_signing_alg_values_supported"`
	TokenAuthMethods      []string `json:"token_endpoint_auth_methods_supported"`
	ChallengeMethods      []string `json:"code_challenge_methods_supported"`
	ACRs                  []string `json:"acr_values_supported"`
	IssParameter          bool     `json:"authorization_response_iss_parameter_supported"`
}

// discover judges the discovery document and fetches the keys.
func (rp *RelyingParty) discover(ctx context.Context) error {
	var raw json.RawMessage
	var m metadata
	if rp.oidc.Claims(&raw) != nil || decode(raw, &m) != nil {
		return ErrBadDiscovery.Because(errors.New("the discovery document is not one well-formed JSON object"))
	}
	endpoints := []string{m.AuthorizationEndpoint, m.TokenEndpoint, m.JWKSURI}
	if m.UserInfoEndpoint != "" {
		endpoints = append(endpoints, m.UserInfoEndpoint)
	}
	for _, e := range endpoints {
		if err := checkURL(e, rp.provider.AllowLoopback); err != nil {
			return err
		}
	}
	// RFC 9700, 2.1.1: the code flow is used with PKCE. RFC 8414, 2: "If
	// omitted, the authorization server does not support PKCE."
	if !slices.Contains(m.ChallengeMethods, "S256") && !rp.provider.own.unannouncedPKCE {
		return ErrNoPKCE
	}
	if !slices.Contains(m.ResponseTypes, "code") {
		return ErrBadDiscovery.Because(errors.New("no code flow"))
	}
	style, ok := rp.provider.authStyle(m.TokenAuthMethods)
	if !ok {
		return ErrBadDiscovery.Because(errors.New("no client authentication that we have"))
	}
	rp.issExpected = m.IssParameter
	rp.oauth = oauth2.Config{
		ClientID: rp.provider.ClientID, ClientSecret: rp.provider.ClientSecret, RedirectURL: rp.provider.RedirectURL,
		Scopes:   append([]string{oidc.ScopeOpenID}, rp.provider.Scopes...),
		Endpoint: oauth2.Endpoint{AuthURL: m.AuthorizationEndpoint, TokenURL: m.TokenEndpoint, AuthStyle: style},
	}
	rp.keys = &keySet{url: m.JWKSURI, parse: parseKeys, client: rp.client, now: rp.now}
	for _, alg := range allowedAlgs {
		if slices.Contains(m.SigningAlgs, string(alg)) {
			rp.keys.algs = append(rp.keys.algs, alg)
		}
	}
	if len(rp.keys.algs) == 0 {
		return ErrBadDiscovery.Because(errors.New("no asymmetric signature algorithm"))
	}
	if rp.provider.own.coreIdentity {
		rp.core = rp.coreKeys()
	}
	return rp.keys.fetch(ctx)
}

// authStyle chooses how we authenticate at the token endpoint. It is never
// left to be found out by trial: the trial would spend the code, and show the
// secret in a second place. Discovery, 3: the default is client_secret_basic.
func (p Provider) authStyle(supported []string) (oauth2.AuthStyle, bool) {
	switch {
	case p.ClientKey != nil:
		return oauth2.AuthStyleInParams, slices.Contains(supported, "private_key_jwt")
	case p.ClientSecret == "":
		return oauth2.AuthStyleInParams, slices.Contains(supported, "none")
	case len(supported) == 0 || slices.Contains(supported, "client_secret_basic"):
		return oauth2.AuthStyleInHeader, true
	default:
		return oauth2.AuthStyleInParams, slices.Contains(supported, "client_secret_post")
	}
}

func (rp *RelyingParty) algNames() []string {
	var names []string
	for _, a := range rp.keys.algs {
		names = append(names, string(a))
	}
	return names
}

// Disable makes every Finish from now on refuse, also for people who are at the
// provider at this moment.
func (rp *RelyingParty) Disable() { rp.disabled.Store(true) }

// Ready returns nil if the provider answers, as of a minute ago at most; else a
// refusal, within seconds.
func (rp *RelyingParty) Ready(ctx context.Context) error { return rp.keys.ready(ctx) }

// Check tries, before anybody signs in, what a sign-in will need: that the provider
// can reach the levels that are demanded, if it says which it has, and that it knows
// us by our secret. For that it is asked to redeem a code that there is not; one that
// looks at the code before the client tells us nothing.
func (rp *RelyingParty) Check(ctx context.Context) error {
	var m metadata
	if err := rp.oidc.Claims(&m); err != nil {
		return ErrBadDiscovery
	}
	for _, acr := range rp.provider.ACRValues {
		if len(m.ACRs) > 0 && !slices.Contains(m.ACRs, acr) {
			return ErrNoSuchLevel
		}
	}
	f, _ := rp.Begin()
	_, err := rp.exchange(oidc.ClientContext(ctx, rp.client), f, "none: a check of the configuration")
	switch {
	case errors.Is(err, ErrClient):
		return ErrClient
	case errors.Is(err, ErrCertificate), errors.Is(err, ErrTimeout):
		return err
	}
	return nil // it did not like the code, as it must not
}

// Close closes idle connections to the provider.
func (rp *RelyingParty) Close() { rp.client.CloseIdleConnections() }

// Origin returns scheme://host of where [RelyingParty.Begin] sends the browser,
// for a policy that says where forms may lead. It can be another than the issuer's.
func (rp *RelyingParty) Origin() string {
	u, err := url.Parse(rp.oauth.Endpoint.AuthURL)
	if err != nil { // it was checked
		return ""
	}
	return u.Scheme + "://" + u.Host
}

// Begin starts a sign-in. It returns the flow to keep and the URL to send the
// browser to. State, nonce and verifier are 256 bits of crypto/rand each.
func (rp *RelyingParty) Begin() (Flow, string) { return rp.begin(false) }

// BeginAnew is [RelyingParty.Begin], and the provider must ask the person again,
// even one who is signed in there: only a proof of identity that was made since then
// passes, else [ErrNotFresh].
//
// OpenID Connect Core, 3.1.2.1: prompt=login "SHOULD prompt the End-User for
// reauthentication"; only with max_age is auth_time REQUIRED, so both are sent.
func (rp *RelyingParty) BeginAnew() (Flow, string) { return rp.begin(true) }

func (rp *RelyingParty) begin(fresh bool) (Flow, string) {
	f := Flow{Issuer: rp.provider.Issuer, State: oauth2.GenerateVerifier(), Nonce: oauth2.GenerateVerifier(),
		CodeVerifier: oauth2.GenerateVerifier(), Started: rp.now(), Fresh: fresh}
	options := []oauth2.AuthCodeOption{oidc.Nonce(f.Nonce), oauth2.S256ChallengeOption(f.CodeVerifier)}
	if rp.core != nil {
		options = append(options, oauth2.SetAuthURLParam("vtr", rp.trustRequest()))
	} else if len(rp.provider.ACRValues) > 0 {
		options = append(options, oauth2.SetAuthURLParam("acr_values", strings.Join(rp.provider.ACRValues, " ")))
	}
	switch {
	case fresh:
		options = append(options, oauth2.SetAuthURLParam("prompt", "login"), oauth2.SetAuthURLParam("max_age", "0"))
	case rp.provider.MaxAge > 0:
		options = append(options, oauth2.SetAuthURLParam("max_age", fmt.Sprint(int64(rp.provider.MaxAge/time.Second))))
	}
	if claims := rp.claimsRequest(); claims != "" {
		options = append(options, oauth2.SetAuthURLParam("claims", claims))
	}
	return f, rp.oauth.AuthCodeURL(f.State, options...)
}

// claimsRequest is the claims parameter (OpenID Connect Core, 5.5) for what no
// scope asks for: amr, and verified claims under one of our frameworks (OpenID
// Connect for Identity Assurance, 6), a core identity, and what ClaimSources names. It is
// empty if nothing is required.
func (rp *RelyingParty) claimsRequest() string {
	idToken := map[string]any{}
	if len(rp.provider.AMRValues) > 0 {
		idToken["amr"] = map[string]any{"essential": true}
	}
	if len(rp.provider.TrustFrameworks) > 0 {
		claims := map[string]any{"name": nil, "birthdate": nil}
		for _, scope := range []string{"address", "email"} {
			if rp.scopes[scope] {
				claims[scope] = nil
			}
		}
		for _, name := range rp.provider.Claims.requested() {
			claims[name] = nil
		}
		idToken["verified_claims"] = map[string]any{"claims": claims, "verification": map[string]any{
			"trust_framework": map[string]any{"values": rp.provider.TrustFrameworks}}}
	}
	parts := map[string]any{}
	if len(idToken) > 0 {
		parts["id_token"] = idToken
	}
	info := map[string]any{}
	if rp.core != nil {
		info[coreIdentityClaim] = nil
	}
	for _, name := range rp.provider.Claims.requested() {
		if len(rp.provider.TrustFrameworks) == 0 {
			info[name] = nil
		}
	}
	if len(info) > 0 {
		parts["userinfo"] = info
	}
	if len(parts) == 0 {
		return ""
	}
	request, err := json.Marshal(parts)
	if err != nil {
		panic(err) // maps of strings always encode
	}
	return string(request)
}

// Finish checks the provider's answer to f and returns who signed in. It is the
// one place that judges an answer. Every error is a refusal; none stores anything
// about a person. [ErrBadState], [ErrMixup] and [ErrExpired] leave f unspent: a
// forged link that somebody is sent does not end the sign-in that waits.
func (rp *RelyingParty) Finish(ctx context.Context, f Flow, callback url.Values) (Identity, error) {
	if rp.disabled.Load() {
		return Identity{}, ErrDisabled
	}
	if err := rp.checkCallback(f, callback); err != nil {
		return Identity{}, err
	}
	if err := rp.spend(ctx, f); err != nil {
		return Identity{}, err
	}
	code, err := codeOf(callback)
	if err != nil {
		return Identity{}, err
	}
	ctx = oidc.ClientContext(ctx, rp.client)
	tokens, err := rp.exchange(ctx, f, code)
	if err != nil {
		return Identity{}, err
	}
	claims, err := rp.verifyIDToken(ctx, f, code, tokens)
	if err != nil {
		return Identity{}, err
	}
	person, level, err := rp.person(ctx, claims, tokens)
	if err != nil {
		return Identity{}, err
	}
	if rp.disabled.Load() { // while we asked
		return Identity{}, ErrDisabled
	}
	return rp.identity(claims, person, level)
}

// spend uses the flow's state up.
func (rp *RelyingParty) spend(ctx context.Context, f Flow) error {
	if rp.provider.SingleUse == nil {
		return nil
	}
	first, err := rp.provider.SingleUse.Use(ctx, sha256.Sum256([]byte("flow\x00"+f.State)), f.Started.Add(FlowTTL))
	if err == nil && !first {
		err = ErrUsed
	}
	return err
}

// exchange redeems the code. A refresh token in the answer is dropped.
func (rp *RelyingParty) exchange(ctx context.Context, f Flow, code string) (*oauth2.Token, error) {
	options := []oauth2.AuthCodeOption{oauth2.VerifierOption(f.CodeVerifier)}
	if rp.provider.ClientKey != nil {
		assertion, err := rp.assertion()
		if err != nil {
			return nil, err
		}
		options = append(options, oauth2.SetAuthURLParam("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"),
			oauth2.SetAuthURLParam("client_assertion", assertion))
	}
	tokens, err := rp.oauth.Exchange(ctx, code, options...)
	var answer *oauth2.RetrieveError
	switch {
	case errors.As(err, &answer) && answer.ErrorCode == "invalid_grant":
		return nil, ErrPKCEFailed // RFC 7636, 4.6: also the code of a wrong verifier
	case errors.As(err, &answer) && (answer.ErrorCode == "invalid_client" || answer.ErrorCode == "unauthorized_client" || answer.Response.StatusCode == http.StatusUnauthorized):
		return nil, ErrUnavailable.Because(ErrClient) // RFC 6749, 5.2
	case errors.As(err, &answer):
		return nil, ErrUnavailable.Because(fmt.Errorf("token endpoint: status %d", answer.Response.StatusCode))
	case err != nil:
		return nil, failedOr(err, ErrMalformed)
	case !strings.EqualFold(tokens.TokenType, "Bearer"): // RFC 6749, 5.1: case insensitive
		return nil, ErrMalformed.Because(errors.New("token type"))
	}
	return tokens, nil
}

// assertion proves that we are the client (RFC 7523, 3): by the key that is
// registered there, for one request.
func (rp *RelyingParty) assertion() (string, error) {
	now := rp.now()
	claims, err := json.Marshal(map[string]any{
		"iss": rp.provider.ClientID, "sub": rp.provider.ClientID, "aud": rp.oauth.Endpoint.TokenURL,
		"jti": rand.Text(), "iat": now.Unix(), "exp": now.Add(time.Minute).Unix(),
	})
	if err != nil {
		return "", ErrConfig.Because(err)
	}
	key := rp.provider.ClientKey
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.SignatureAlgorithm(key.Algorithm), Key: key}, (&jose.SignerOptions{}).WithType("JWT"))
	if err != nil {
		return "", ErrConfig.Because(errors.New("the client key"))
	}
	signed, err := signer.Sign(claims)
	if err != nil {
		return "", ErrConfig.Because(errors.New("the client key"))
	}
	return signed.CompactSerialize()
}

// person collects the claims about the person from the id token and, if
// something is missing there, from UserInfo. level is the assurance that the
// provider gives for them.
func (rp *RelyingParty) person(ctx context.Context, c *idClaims, tokens *oauth2.Token) (person personClaims, level string, err error) {
	if rp.core != nil {
		return rp.corePerson(ctx, c, tokens)
	}
	person, verified := c.personClaims, c.Verified
	assured := len(rp.provider.TrustFrameworks) > 0
	if assured {
		if person, err = rp.underFramework(verified); err != nil {
			return personClaims{}, "", err
		}
	}
	if person.lacks(rp.scopes, rp.provider.Claims) && rp.oidc.UserInfoEndpoint() != "" {
		more, err := rp.userInfo(ctx, c.Subject, tokens)
		if err != nil {
			return personClaims{}, "", err
		}
		if assured {
			if more.personClaims, err = rp.underFramework(more.Verified); err != nil {
				return personClaims{}, "", err
			}
		}
		person = person.or(more.personClaims)
	}
	if assured && !person.named() {
		return personClaims{}, "", ErrAssurance.Because(errors.New("verified_claims"))
	}
	return person, c.ACR, nil
}

// userInfo asks the UserInfo endpoint. OpenID Connect Core, 5.3.2: whether the
// answer is a token "is determined by … registration", so neither form is taken for
// the other.
func (rp *RelyingParty) userInfo(ctx context.Context, subject string, tokens *oauth2.Token) (userInfo, error) {
	var info userInfo
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, rp.oidc.UserInfoEndpoint(), nil)
	if err != nil {
		return info, ErrUnavailable
	}
	tokens.SetAuthHeader(req)
	answer, err := rp.client.Do(req)
	if err != nil {
		return info, failed(err)
	}
	defer answer.Body.Close()
	raw, err := io.ReadAll(answer.Body)
	if err != nil || answer.StatusCode != http.StatusOK {
		return info, ErrUnavailable
	}
	media, _, _ := mime.ParseMediaType(answer.Header.Get("Content-Type"))
	if (media == "application/jwt") != rp.provider.SignedUserInfo {
		return info, errContentType
	}
	if rp.provider.SignedUserInfo {
		if raw, _, err = rp.signed(ctx, rp.keys, string(raw)); err != nil {
			return info, err
		}
	}
	if err := decode(raw, &info); err != nil {
		return info, err
	}
	info.vouched = rp.provider.Claims.in(raw)
	// 5.3.2: "If signed, the UserInfo Response MUST contain the Claims iss (issuer)
	// and aud (audience) as members."
	if rp.provider.SignedUserInfo && (info.Issuer != rp.provider.Issuer || !info.Audience.us(rp.provider.ClientID)) {
		return info, ErrBadAudience
	}
	// 5.3.2: sub "MUST be verified to exactly match the sub Claim in the ID Token; if
	// they do not match, the UserInfo Response values MUST NOT be used."
	if info.Subject != subject {
		return info, ErrSubMismatch
	}
	return info, nil
}

// signed verifies a token and returns its payload and its typ. If it is encrypted,
// it was to us: FranceConnect+ encrypts what it signed.
func (rp *RelyingParty) signed(ctx context.Context, keys *keySet, raw string) (payload []byte, typ string, err error) {
	if raw, err = rp.decrypted(raw); err != nil {
		return nil, "", err
	}
	return keys.verify(ctx, raw)
}

// decrypted returns a token as it is, or what an encrypted one holds (RFC 7519, 5.2).
func (rp *RelyingParty) decrypted(raw string) (string, error) {
	if rp.provider.DecryptionKey == nil || strings.Count(raw, ".") != 4 { // RFC 7516, 9: the parts of an encrypted token
		return raw, nil
	}
	sealed, err := jose.ParseEncryptedCompact(raw, []jose.KeyAlgorithm{jose.ECDH_ES}, []jose.ContentEncryption{jose.A256GCM})
	if err != nil {
		return "", errEncryption
	}
	inner, err := sealed.Decrypt(rp.provider.DecryptionKey)
	if err != nil {
		return "", errEncryption
	}
	return string(inner), nil
}

var errEncryption = ErrMalformed.Because(errors.New("a token is not encrypted to our key"))

// isBirthdate: OpenID Connect Core, 5.1: "YYYY-MM-DD format. The year MAY be 0000,
// indicating that it is omitted. To represent only the year, YYYY format is
// allowed." The day must be one of the calendar, no later than today anywhere on
// Earth (UTC+14), and in 1900 or after: the oldest person alive was born in 1909,
// so an older date is a slip or a placeholder.
func isBirthdate(s string, now time.Time) bool {
	layout := time.DateOnly
	if len(s) == len("2006") {
		layout = "2006"
	}
	born, err := time.Parse(layout, s)
	omitted := layout == time.DateOnly && born.Year() == 0
	return err == nil && !born.After(now.UTC().Add(14*time.Hour)) && (omitted || born.Year() >= 1900)
}

// identity keeps of the claims what the scopes asked for, and drops the rest. level
// is the assurance that was reached.
func (rp *RelyingParty) identity(c *idClaims, p personClaims, level string) (Identity, error) {
	name, err := p.name()
	if err != nil {
		return Identity{}, err
	}
	if strings.TrimSpace(name) == "" {
		return Identity{}, ErrMissingClaim.Because(errors.New("name"))
	}
	born, err := text(p.Birthdate)
	if err == nil && born != "" && !isBirthdate(born, rp.now()) {
		err = ErrMalformed.Because(errors.New("birthdate"))
	}
	if err != nil {
		return Identity{}, err
	}
	id := Identity{
		Issuer: Private(c.Issuer), Subject: Private(c.Subject), Name: Private(name), Birthdate: Private(born),
		VerifiedAt: rp.now().UTC().Truncate(24 * time.Hour),
	}
	id.Claims = rp.provider.Claims.claims(born, p.vouched, rp.now())
	if age, ok := c.proofAge(); ok {
		id.Proven = rp.now().Add(-max(age, 0))
	}
	// An acr is kept only if it is one of ours: any other text is the provider's.
	if slices.Contains(rp.provider.ACRValues, level) {
		id.ACR = level
	}
	if rp.scopes["address"] {
		lines, err := p.lines()
		if err != nil {
			return Identity{}, err
		}
		id.Address = Private(lines)
	}
	if rp.scopes["email"] {
		email, err := p.verifiedEmail()
		if err != nil {
			return Identity{}, err
		}
		id.Email = Private(email)
	}
	for name, value := range id.Fields() {
		if err := checkField(string(value)); err != nil || (name != "address" && strings.Contains(string(value), "\n")) {
			return Identity{}, errField
		}
	}
	return id, nil
}

// failedOr is failed for errors of the request, and other for what the
// libraries say about the answer, since that can quote it.
func failedOr(err error, other error) error {
	var request *url.Error
	if errors.As(err, &request) {
		return failed(err)
	}
	return other
}

var _ oidc.KeySet = (*signature)(nil)
