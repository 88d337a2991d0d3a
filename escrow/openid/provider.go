package openid

import (
	"cmp"
	"context"
	"errors"
	"maps"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/json"
	"github.com/luikyv/go-oidc/pkg/goidc"
	"github.com/luikyv/go-oidc/pkg/provider"

	"github.com/penname/penname/verifier/document"
	"github.com/penname/penname/verifier/identity"
	"github.com/penname/penname/verifier/refusal"
	"github.com/penname/penname/verifier/token"
)

// policyID names the one way to sign in.
const policyID = "sign-in"

// Provider is an OpenID Provider. It is safe for concurrent use, and any number
// of them may share a [Store].
type Provider struct {
	cfg          Config
	store        Store
	authenticate Authenticate
	now          func() time.Time
	keys         *keys
	library      http.Handler
	discovery    publication
	lists        *lists
	ended        chan struct{}             // see Ended
	looked       atomic.Pointer[time.Time] // when TellPlatforms last asked which moments have come
	polled       polled                    // what platforms fetched since it last counted
	answers
	checks
}

// New returns a provider, or [ErrConfig].
func New(cfg Config, store Store, authenticate Authenticate) (*Provider, error) {
	if err := cfg.check(); err != nil {
		return nil, err
	}
	p := &Provider{cfg: cfg, store: store, authenticate: authenticate, now: cfg.Now, ended: make(chan struct{}, 1)}
	if p.now == nil {
		p.now = time.Now
	}
	if cfg.Aside == nil {
		p.cfg.Aside = func(_ context.Context, wait func()) error { wait(); return nil }
	}
	ring, err := newKeyring(cfg.Keys, p.now())
	if err != nil {
		return nil, err
	}
	p.keys = new(keys)
	p.keys.Store(&ring)
	algorithms := ring.algorithms(p.now())
	p.lists = &lists{issuer: cfg.Issuer, store: store, keys: p.keys, algorithm: algorithms[0], now: p.now}
	p.answers, p.checks = answers{&p.cfg}, checks{&p.cfg, p.keys, algorithms, p.now, &published{http: cfg.HTTP, now: p.now}}
	op, err := p.configure(algorithms[0])
	if err != nil {
		return nil, ErrConfig.Because(err)
	}
	p.library = op.Handler()
	discovery, err := p.describe()
	if err != nil {
		return nil, ErrConfig.Because(err)
	}
	p.discovery = publish("application/json", 5*time.Minute, discovery)
	return p, nil
}

// configure sets the library up. Where a document asks for a choice, the stricter
// one of FAPI 2.0 is taken, but for what would shut out a plain OpenID Connect client.
func (p *Provider) configure(alg goidc.SignatureAlgorithm) (*provider.Provider, error) {
	m := manager{p}
	scopes := []goidc.Scope{goidc.ScopeOpenID, goidc.ScopeOfflineAccess, goidc.ScopeProfile, goidc.ScopeEmail}
	for _, name := range identity.ClaimNames {
		scopes = append(scopes, goidc.NewScope(name))
	}
	newHandle := func(context.Context) string { return random() }
	var acrs []provider.Option
	if len(p.cfg.ACRs) > 0 {
		var supported []goidc.ACR
		for _, acr := range p.cfg.ACRs {
			supported = append(supported, goidc.ACR(acr))
		}
		acrs = append(acrs, provider.WithACRs(supported[0], supported[1:]...))
	}
	return provider.New(p.cfg.Issuer, m, func(context.Context) (goidc.JSONWebKeySet, error) { return p.keys.Load().set(p.now()) }, append(acrs,
		// FAPI 2.0: client assertions name the issuer alone as audience; of a pushed
		// request only the pushed parameters count. Its validation is left out, since
		// it forbids client secrets.
		provider.WithProfile(goidc.ProfileFAPI2),
		provider.WithAuthCodeGrant(m),
		provider.WithAuthCodeLifetime(seconds(codeLifetime)),
		provider.WithAuthSessionLifetime(seconds(sessionLifetime)),
		provider.WithPKCE(goidc.CodeChallengeMethodSHA256), /* where it is due: checkChallenge */
		provider.WithOpenIDScopeRequired(),
		provider.WithScopes(scopes...),
		provider.WithIssuerResponseParameter(), // RFC 9207
		provider.WithPAR(m),
		provider.WithPARLifetime(seconds(parLifetime)),
		provider.WithPARSessionHandler(adoptHandle),
		provider.WithDPoP(jose.EdDSA, jose.ES256),
		provider.WithRefreshTokenGrant(m),
		provider.WithRefreshTokenRotation(),
		provider.WithRefreshTokenLifetime(seconds(refreshLifetime)),
		// The manager makes the first refresh token when the code is redeemed, so
		// that it does not lie in the store until then.
		provider.WithRefreshTokenShouldIssue(func(context.Context, *goidc.Client, *goidc.Grant) bool { return false }),
		provider.WithRefreshTokenFunc(func(ctx context.Context) string {
			x := exchangeOf(ctx)
			return cmp.Or(x.successor, x.family+random())
		}),
		// OpenID Connect Core, 15.1: RS256, if there is such a key, for who names none.
		provider.WithIDTokenSignatureAlgs(p.algorithms[len(p.algorithms)-1], p.algorithms...),
		provider.WithIDTokenLifetime(seconds(tokenLifetime)),
		provider.WithTokenOptions(func(context.Context, *goidc.Grant, *goidc.Client) goidc.TokenOptions {
			return goidc.NewJWTTokenOptions(alg, seconds(tokenLifetime))
		}),
		provider.WithIDTokenClaims(p.idClaims),
		provider.WithTokenClaims(p.accessClaims),
		provider.WithTokenIntrospection(m.mayIntrospect),
		provider.WithUserInfoClaims(p.namedClaims),
		provider.WithTokenRevocation(func(context.Context, *goidc.Client) bool { return true }),
		provider.WithTokenRevocationRevokeGrantOnAccessToken(),
		provider.WithSecretBasicAuthn(),
		provider.WithSecretPostAuthn(),
		provider.WithPrivateKeyJWTAuthn(jose.EdDSA, document.Ed25519 /* see renamed */, jose.ES256),
		provider.WithNoneAuthn(),
		provider.WithClientSecretVerifier(m.verifySecret),
		provider.WithJTIConsumer(m.consumeJTI),
		provider.WithJWTLifetime(seconds(proofLifetime)),
		provider.WithJWTLeewayTime(seconds(leeway)),
		provider.WithDCR(m), // for its client lookup only, see manager.Client
		// OpenID Connect Core, 8.1: a pseudonym is pairwise already.
		provider.WithSubIdentifierTypes(goidc.SubIdentifierPairwise),
		provider.WithPairwiseSubject(func(_ context.Context, sub string, _ *goidc.Client) string { return sub }),
		provider.WithPolicies(goidc.NewPolicy(policyID, func(*http.Request, *goidc.AuthnSession, *goidc.Client) bool { return true }, p.signIn)),
		provider.WithErrorRenderer(p.renderOrRepeat),
		provider.WithAuthCodeFunc(func(ctx context.Context) string {
			x := exchangeOf(ctx)
			return x.code // see saveAnswer
		}),
		provider.WithGrantIDFunc(func(ctx context.Context) string { return grantOfCode(exchangeOf(ctx).code) }),
		provider.WithAuthnSessionIDFunc(newHandle),
		provider.WithPARIDFunc(newHandle),
		provider.WithJWTIDFunc(newHandle),
	)...)
}

func seconds(d time.Duration) int { return int(d / time.Second) }

func contains(scopes string, one goidc.Scope) bool {
	return slices.Contains(strings.Fields(scopes), one.ID)
}

// offline reports whether a refresh token is asked for.
func offline(scopes string) bool { return contains(scopes, goidc.ScopeOfflineAccess) }

// describe makes the discovery document (OpenID Connect Discovery 1.0, section 3)
// from the library's, less what is not served, plus what it leaves to be guessed.
func (p *Provider) describe() ([]byte, error) {
	r, err := http.NewRequest(http.MethodGet, p.cfg.Issuer+discoveryPath, nil)
	if err != nil {
		return nil, err
	}
	held, doc := newBuffer(), map[string]any{}
	p.library.ServeHTTP(held, r)
	if err := json.Unmarshal(held.body.Bytes(), &doc); err != nil {
		return nil, err
	}
	delete(doc, "registration_endpoint")
	// An app has no secret to keep, so anybody could ask in its name.
	doc["introspection_endpoint_auth_methods_supported"] = []string{"client_secret_basic", "client_secret_post", "private_key_jwt"}
	doc["response_modes_supported"] = []string{"query", formPost}
	doc["prompt_values_supported"] = []string{"none", "login", "consent", "select_account"}
	claims := []string{"iss", "sub", "aud", "exp", "iat", "jti", "nonce", "acr", "auth_time", "penname_commitment", "status", "cnf",
		"preferred_username", "email", "email_verified", "verified_claims"}
	// Section 3: "If omitted, the default value is true" (request_uri_parameter_supported).
	for _, unsupported := range []string{"request_parameter_supported", "request_uri_parameter_supported", "claims_parameter_supported"} {
		doc[unsupported] = false
	}
	// OpenID Connect for Identity Assurance 1.0, 7.
	doc["verified_claims_supported"], doc["trust_frameworks_supported"] = true, []string{TrustFramework}
	doc["claims_in_verified_claims_supported"] = identity.ClaimNames
	if p.cfg.Leave != nil {
		doc["end_session_endpoint"] = p.cfg.Issuer + logoutPath
	}
	if p.cfg.HTTP != nil {
		doc["backchannel_logout_supported"], doc["backchannel_logout_session_supported"] = true, true
		claims = append(claims, "sid")
	}
	if len(p.cfg.Locales) > 0 {
		doc["ui_locales_supported"] = p.cfg.Locales
	}
	if len(p.cfg.ACRs) > 0 {
		doc["acr_values_supported"] = p.cfg.ACRs
	}
	doc["claims_supported"] = claims
	return json.Marshal(doc)
}

// signIn is the library's authentication policy.
func (p *Provider) signIn(w http.ResponseWriter, r *http.Request, as *goidc.AuthnSession, _ *goidc.Client) (goidc.Status, error) {
	status, err := p.ask(w, r, as)
	var e goidc.Error
	if errors.As(err, &e) {
		p.refused(r, string(e.Code))
	}
	return status, err
}

// ask asks the page who this is and whether they consent.
func (p *Provider) ask(w http.ResponseWriter, r *http.Request, as *goidc.AuthnSession) (goidc.Status, error) {
	pl, err := p.platform(r.Context(), as.ClientID)
	if err != nil {
		return goidc.StatusFailure, err
	}
	arrived := p.arrival(as, exchangeOf(r.Context()))
	prompts := strings.Fields(string(as.Prompt))
	scopes := pl.granted(as.Scopes) // what it may ask for can have changed since
	req := SignInRequest{
		Platform: pl, SessionID: as.ID, Action: authorizePath + "/" + as.ID,
		Answer: r.Method == http.MethodPost, // authorization requests arrive here as GET, see authorize
		Silent: slices.Contains(prompts, "none"),
		Fresh:  slices.Contains(prompts, "login"),
		// RFC 9700, 4.14: a refresh token is part of what is consented to.
		Offline: offline(scopes), Scopes: scopes,
		Username: contains(scopes, goidc.ScopeProfile), Email: contains(scopes, goidc.ScopeEmail),
		Claims: identity.ClaimsNamed(strings.Fields(scopes)...),
		ACRs:   strings.Fields(as.ACRValues),
		Locale: heldOf(as.Store).locale,
	}
	if as.MaxAuthnAgeSecs != nil {
		req.Since = arrived.Add(-time.Duration(*as.MaxAuthnAgeSecs) * time.Second)
	}
	if x := exchangeOf(r.Context()); x.posted {
		// A platform's page has posted the request, so that the browser sent none of our
		// cookies (SameSite=Lax). It does on the way from here.
		x.onward = true
		http.Redirect(w, r, req.Action, http.StatusSeeOther)
		return goidc.StatusPending, nil
	}
	if req.Silent && !topLevel(r) {
		return goidc.StatusFailure, goidc.NewError(goidc.ErrorCodeLoginRequired, "prompt is none, and this is no window of its own.")
	}
	page := w
	if req.Silent {
		page = newBuffer() // OpenID Connect Core, 3.1.2.1, none: "MUST NOT display any authentication or consent user interface pages"
	}
	subject, outcome, err := p.authenticate(page, r, req)
	if req.Silent && outcome == Approved {
		w.Header()["Set-Cookie"] = page.Header()["Set-Cookie"]
	}
	switch {
	case err != nil && req.Silent:
		return goidc.StatusFailure, goidc.NewError(unavailable, errorTexts[unavailable])
	case err != nil:
		e := refusalOf(err)
		exchangeOf(r.Context()).down = e.Kind == refusal.Unavailable
		p.showError(w, r, e)
		return goidc.StatusPending, nil
	case outcome == Approved && (!subject.valid() || subject.Proven.IsZero() && !req.Since.IsZero() || req.Username != (subject.Handle != "") || subject.Claims.Known()&^req.Claims != 0):
		p.showError(w, r, ErrSubject)
		return goidc.StatusPending, nil
	case outcome == Approved && otherThanHinted(as, subject):
		return goidc.StatusFailure, goidc.NewError(goidc.ErrorCodeLoginRequired, "id_token_hint is about somebody else than who signed in.")
	case outcome == Approved:
		as.Subject, as.GrantedScopes = string(subject.Pseudonym), withoutClaims(scopes, req.Claims&^subject.Claims.Known())
		h := &held{subject: subject, resource: heldOf(as.Store).resource}
		if pl.hears("") {
			h.sid = random()[:sidLen]
		}
		if as.MaxAuthnAgeSecs != nil { // OpenID Connect Core, 2: auth_time "When a max_age request is made"
			h.authTime = subject.Proven.Unix()
		}
		as.Store = map[string]any{heldKey: h}
		return goidc.StatusSuccess, nil
	case outcome == Pending && req.Silent:
		return goidc.StatusFailure, goidc.NewError(goidc.ErrorCodeLoginRequired, "prompt is none, and the person must sign in.")
	case outcome == Unasked:
		return goidc.StatusFailure, goidc.NewError(consentRequired, "prompt is none, and the person must consent.")
	case outcome == Pending:
		// WCAG 2.2.1: whoever looks at the page again has as long again. By the library's clock, see Config.Now.
		as.ExpiresAt = int(time.Now().Add(sessionLifetime).Unix())
		return goidc.StatusPending, nil
	default:
		if !req.Silent {
			exchangeOf(r.Context()).denied = pressed(r)
		}
		return goidc.StatusFailure, goidc.NewError(goidc.ErrorCodeAccessDenied, errorTexts[goidc.ErrorCodeAccessDenied])
	}
}

// arrival returns when the browser first came with this request, and takes its hint.
func (p *Provider) arrival(as *goidc.AuthnSession, x *exchange) time.Time {
	h, ok := as.Store[heldKey].(*held)
	if !ok {
		h = &held{resource: x.resource, locale: x.locale}
		as.Store = map[string]any{heldKey: h}
	}
	if h.arrived == 0 {
		h.arrived = p.now().UnixNano()
	}
	if x.hint != "" {
		as.IDTokenHintClaims = map[string]any{goidc.ClaimSubject: x.hint}
	}
	return time.Unix(0, h.arrived)
}

// topLevel reports whether a browser says that its person sees the address of this
// request: it is no frame, no picture and no script's (Fetch Metadata Request Headers).
// A browser that does not say is asked with a page instead.
func topLevel(r *http.Request) bool {
	return r.Header.Get("Sec-Fetch-Dest") == "document" && r.Header.Get("Sec-Fetch-Mode") == "navigate"
}

var acrSyntax = regexp.MustCompile(`^[!-~]+$`)

// valid keeps anything that is not a pseudonym, a commitment and a level from
// being issued as one.
func (s Subject) valid() bool {
	_, err := token.ParsePseudonym(string(s.Pseudonym))
	return err == nil && (s.Handle == "" || s.Pseudonym.Has(s.Handle)) && s.Commitment != [32]byte{} && len(s.ACR) <= maxACR && acrSyntax.MatchString(s.ACR)
}

// otherThanHinted: OpenID Connect Core, 3.1.2.1, id_token_hint: "If the End-User
// identified by the ID Token is … logged in as a result of the request … the
// Authorization Server returns a positive response; otherwise, it MUST return an error".
func otherThanHinted(as *goidc.AuthnSession, s Subject) bool {
	hint, given := as.IDTokenHintClaims[goidc.ClaimSubject].(string)
	return given && hint != string(s.Pseudonym)
}

// refusalOf returns err if it is a refusal, and else unavailable, because of it.
func refusalOf(err error) *refusal.Error {
	if e := refusal.Of(err); e != nil {
		return e
	}
	return ErrUnavailable.Because(err)
}

// adoptHandle gives a pushed request and its session one handle.
func adoptHandle(ctx context.Context, as *goidc.AuthnSession, _ *goidc.Client) error {
	as.ID = as.PushedAuthReqID
	as.Store = map[string]any{heldKey: &held{resource: exchangeOf(ctx).resource, locale: exchangeOf(ctx).locale}}
	if hint := exchangeOf(ctx).hint; hint != "" {
		as.IDTokenHintClaims = map[string]any{goidc.ClaimSubject: hint}
	}
	return nil
}

// Email is the address of a pseudonym, at which nobody can be written to. It holds the
// whole pseudonym: two platforms' have nothing in common, it is the same for life whatever
// else a platform is told, and it names nobody to whom the pseudonym does not.
func (p *Provider) Email(name token.Pseudonym) string {
	return string(name) + "@" + cmp.Or(p.cfg.EmailDomain, NoDomain)
}

// namedClaims are what a platform is told beside the pen name, in ID token and userinfo
// (OpenID Connect Core, 5.4), as far as it was consented to and its registration still asks.
func (p *Provider) namedClaims(ctx context.Context, g *goidc.Grant) map[string]any {
	claims := map[string]any{}
	pl, err := p.platform(ctx, g.ClientID)
	if err != nil {
		return claims
	}
	scopes, h := pl.granted(cmp.Or(exchangeOf(ctx).scope, g.Scopes)), heldOf(g.Store)
	if contains(scopes, goidc.ScopeProfile) && h.subject.Handle != "" {
		claims["preferred_username"] = h.subject.Handle
	}
	if contains(scopes, goidc.ScopeEmail) {
		claims["email"], claims["email_verified"] = p.Email(token.Pseudonym(g.Subject)), false
	}
	if verified := p.verifiedClaims(h.subject, scopes); verified != nil {
		claims["verified_claims"] = verified
	}
	return claims
}

// idClaims are what an ID token holds beside iss, sub, aud and nonce.
func (p *Provider) idClaims(ctx context.Context, g *goidc.Grant) map[string]any {
	h := heldOf(g.Store)
	claims := p.claims(h, h.id)
	maps.Copy(claims, p.namedClaims(ctx, g))
	claims["jti"] = random()
	if h.sid != "" { // OpenID Connect Back-Channel Logout 1.0, 2.1
		claims["sid"] = h.sid
	}
	if h.authTime != 0 {
		claims["auth_time"] = h.authTime
	}
	return claims
}

// accessClaims are what an access token holds beside iss, sub, client_id, scope,
// jti, grant_id and cnf (RFC 9068, section 2.2).
func (p *Provider) accessClaims(_ context.Context, _ *goidc.Token, g *goidc.Grant) map[string]any {
	h := heldOf(g.Store)
	claims := p.claims(h, h.access)
	claims["aud"] = h.audience
	return claims
}

// claims are common to both tokens, and named in package verifier/token.
func (p *Provider) claims(h *held, s status) map[string]any {
	now := p.now()
	return map[string]any{
		"iat": now.Unix(), "exp": now.Add(tokenLifetime).Unix(),
		"acr": h.subject.ACR, "penname_commitment": encode(h.subject.Commitment[:]), "status": p.lists.claim(s),
	}
}
