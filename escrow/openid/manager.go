package openid

import (
	"bytes"
	"cmp"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4/json"
	"github.com/luikyv/go-oidc/pkg/goidc"

	"github.com/penname/penname/verifier/refusal"
	"github.com/penname/penname/verifier/token"
)

// manager is what the library keeps its state in. It translates between the
// library's structs and rows, and adds what the library leaves to the storage:
// single use, blanked secrets, and the end of a family when a token comes twice.
type manager struct{ p *Provider }

var (
	errInvalidGrant = goidc.NewError(goidc.ErrorCodeInvalidGrant, "invalid grant")
	errKeyElsewhere = goidc.NewError(invalidProof, "key of another platform")
	errReplayed     = errors.New("used before")
)

// heldKey is where, in the library's free-form maps, a row's own data travel
// within one request. The maps are never stored.
const heldKey = "penname"

// held is what a session or grant carries besides the library's fields.
type held struct {
	version    int64
	stored     []byte // the body as read
	subject    Subject
	sid        string // of the platform's session, if the platform is told when it ends
	authTime   int64  // 0 unless max_age was asked for
	resource   string // the platform that access tokens are for; "": the client
	audience   string // of the access token that is about to be issued
	locale     string // of a session: see localeOf
	arrived    int64  // of a session: when the browser first came, in nanoseconds
	redeemed   bool
	rotating   bool // a refresh token was presented
	created    int64
	family     []byte // SHA-256
	id, access status // entries for the tokens that are about to be issued
}

func heldOf(store map[string]any) *held {
	if h, ok := store[heldKey].(*held); ok {
		return h
	}
	return &held{}
}

// sessionBody is a sign-in under way. It lists what is kept of the platform's
// request: claims, a login_hint and the like could name a person and are not.
type sessionBody struct {
	Platform    string `json:"platform"`
	RedirectURI string `json:"redirect_uri"`
	Scope       string `json:"scope"`
	State       string `json:"state,omitempty"`
	Nonce       string `json:"nonce,omitempty"`
	Challenge   string `json:"challenge,omitempty"`
	Prompt      string `json:"prompt,omitempty"`
	MaxAge      *int   `json:"max_age,omitempty"`
	ACRs        string `json:"acrs,omitempty"`
	JKT         string `json:"jkt,omitempty"`
	Hint        string `json:"hint,omitempty"` // pseudonym of an id_token_hint
	Locale      string `json:"locale,omitempty"`
	Resource    string `json:"resource,omitempty"`
	FormPost    bool   `json:"form_post,omitempty"`
	Begun       bool   `json:"begun,omitempty"`
	Arrived     int64  `json:"arrived,omitempty"`
	Expires     int64  `json:"expires"`

	// Once a platform was answered nothing else is kept: see again.go.
	Answer []byte `json:"answer,omitempty"`
}

// SaveSession implements [goidc.AuthManager].
func (m manager) SaveSession(ctx context.Context, as *goidc.AuthnSession) error {
	if as.Store == nil {
		as.Store = map[string]any{}
	}
	h := heldOf(as.Store)
	expires := time.Unix(int64(as.ExpiresAt), 0)
	row := Row{Kind: KindSession, ID: hashOf("session", as.ID), Version: h.version, Expires: hour(expires)}
	switch as.Status {
	case goidc.StatusSuccess:
		return m.answer(ctx, as, row)
	case goidc.StatusFailure:
		if done, err := m.denied(ctx, as, row); err != nil || done {
			return err
		}
		row.Ended = true
		if err := m.put(ctx, row); !errors.Is(err, ErrStale) {
			return err
		}
		return nil
	}
	hint, _ := as.IDTokenHintClaims[goidc.ClaimSubject].(string)
	body, err := json.Marshal(sessionBody{
		Platform: as.ClientID, RedirectURI: as.RedirectURI, Scope: as.Scopes, State: as.State, Nonce: as.Nonce,
		Challenge: as.CodeChallenge, Prompt: string(as.Prompt), MaxAge: as.MaxAuthnAgeSecs, ACRs: as.ACRValues,
		JKT: cmp.Or(as.JWKThumbprint, as.DPoPJKT), Hint: hint, Locale: h.locale, Resource: h.resource, FormPost: exchangeOf(ctx).formPost != "", Begun: as.PolicyID != "", Arrived: h.arrived, Expires: int64(as.ExpiresAt),
	})
	if err != nil {
		return err
	}
	if bytes.Equal(body, h.stored) {
		return nil
	}
	row.Body = body
	if err := m.put(ctx, row); !errors.Is(err, ErrStale) || h.version == 0 {
		return err
	}
	return nil // the same page in another tab was faster; if the session has ended, the next request finds that
}

// Session implements [goidc.AuthManager].
func (m manager) Session(ctx context.Context, id string) (*goidc.AuthnSession, error) {
	row, err := m.get(ctx, KindSession, hashOf("session", id))
	if err != nil {
		return nil, err
	}
	var b sessionBody
	if err := json.Unmarshal(row.Body, &b); err != nil {
		return nil, err
	}
	if len(b.Answer) > 0 {
		exchangeOf(ctx).answer = b.Answer
		return nil, goidc.ErrNotFound
	}
	as := &goidc.AuthnSession{
		ID: id, PushedAuthReqID: id, Status: goidc.StatusPending, ClientID: b.Platform, JWKThumbprint: b.JKT, ExpiresAt: int(b.Expires),
		AuthorizationParameters: goidc.AuthorizationParameters{
			RedirectURI: b.RedirectURI, ResponseType: goidc.ResponseTypeCode, Scopes: b.Scope, State: b.State, Nonce: b.Nonce,
			CodeChallenge: b.Challenge, CodeChallengeMethod: methodOf(b.Challenge), Prompt: goidc.PromptType(b.Prompt),
			MaxAuthnAgeSecs: b.MaxAge, ACRValues: b.ACRs,
		},
		Store: map[string]any{heldKey: &held{version: row.Version, stored: row.Body, arrived: b.Arrived, locale: b.Locale, resource: b.Resource}},
	}
	x := exchangeOf(ctx)
	if x.version = row.Version; b.FormPost {
		x.formPost = b.RedirectURI
	}
	if b.Hint != "" {
		as.IDTokenHintClaims = map[string]any{goidc.ClaimSubject: b.Hint}
	}
	if b.Begun {
		as.PolicyID = policyID
	}
	return as, nil
}

// methodOf is the method of a challenge, which can be absent.
func methodOf(challenge string) goidc.CodeChallengeMethod {
	if challenge == "" {
		return ""
	}
	return goidc.CodeChallengeMethodSHA256
}

// SessionByPushedAuthReqID implements [goidc.PARManager]. A pushed request and
// its session share one handle (see adoptHandle), so it can be reloaded until it
// is answered, and not after: RFC 9126, 4.
func (m manager) SessionByPushedAuthReqID(ctx context.Context, id string) (*goidc.AuthnSession, error) {
	return m.Session(ctx, id)
}

// grantBody is one consent. Times that outlive the code are no finer than a day.
type grantBody struct {
	Platform   string       `json:"platform"`
	Commitment []byte       `json:"commitment"`
	ACR        string       `json:"acr"`
	Handle     token.Handle `json:"handle,omitempty"`
	Scope      string       `json:"scope"`
	Created    int64        `json:"created"` // the day
	JKT        string       `json:"jkt,omitempty"`
	Resource   string       `json:"resource,omitempty"` // the platform that access tokens are for, if it is another one
	SID        string       `json:"sid,omitempty"`      // of no other grant, so that no two platforms share one
	Claims     []byte       `json:"claims,omitempty"`   // see heldClaims

	// Until the code is redeemed.
	Code *codeBody `json:"code,omitempty"`

	// From then on, with offline_access.
	Family  []byte `json:"family,omitempty"`  // SHA-256 of the part that all refresh tokens of the grant share
	Refresh []byte `json:"refresh,omitempty"` // SHA-256 of the current refresh token
	Again   []byte `json:"again,omitempty"`   // what is answered if the one that it replaced comes once more: see again.go
}

type codeBody struct {
	Expires     int64  `json:"expires"`
	RedirectURI string `json:"redirect_uri"`
	Challenge   string `json:"challenge"`
	Nonce       string `json:"nonce,omitempty"`
	AuthTime    int64  `json:"auth_time,omitempty"`
}

// refreshUntil is the end of the whole family.
func (b grantBody) refreshUntil() time.Time {
	return time.Unix(b.Created, 0).Add(refreshLifetime + day)
}

// SaveGrant implements [goidc.GrantManager]. It is where a code or refresh token
// is used up: of concurrent requests that read the same row, one can write it.
func (m manager) SaveGrant(ctx context.Context, g *goidc.Grant) error {
	h, id, now := heldOf(g.Store), hashOf("grant", g.ID), m.p.now()
	if g.RevokedAt != 0 {
		return m.end(ctx, id)
	}
	b := grantBody{
		Platform: g.ClientID, Commitment: h.subject.Commitment[:], ACR: h.subject.ACR, Handle: h.subject.Handle, Scope: g.Scopes,
		JKT: g.JWKThumbprint, SID: h.sid, Created: h.created, Family: h.family, Resource: h.resource,
	}
	var err error
	if b.Claims, err = sealClaims(g.ID, h.subject); err != nil {
		return err
	}
	row := Row{Kind: KindGrant, ID: id, Holder: token.Pseudonym(g.Subject), Version: h.version, Tell: h.sid != ""}
	switch {
	case h.version == 0:
		b.Created = now.UTC().Truncate(day).Unix()
		b.Code = &codeBody{
			Expires: int64(g.AuthCodeExpiresAt), RedirectURI: g.AuthParams.RedirectURI, Challenge: g.AuthParams.CodeChallenge,
			Nonce: g.AuthParams.Nonce, AuthTime: h.authTime,
		}
		row.Expires = hour(now.Add(codeLifetime + tokenLifetime)) // a replayed code is recognised for as long
	case h.rotating || !h.redeemed && g.AuthCodeConsumedAt != 0:
		if h.audience, err = m.audienceOf(ctx, b, row.Holder); err == nil {
			err = m.ownKey(ctx, b)
		}
		if err != nil {
			return err
		}
		row.Expires = hour(now.Add(tokenLifetime + time.Hour))
		if b.SID != "" { // the platform's session can be as long as a refresh token's life
			row.Expires = hour(b.refreshUntil())
		}
		if g.RefreshToken != "" {
			b.Refresh = digest(g.RefreshToken)
			if err := m.mayComeAgain(ctx, &b, g.RefreshToken); err != nil {
				return outage(ctx, err)
			}
			row.Expires = hour(b.refreshUntil().Add(tokenLifetime))
		}
	default: // the library has no other reason to save a grant
		return outage(ctx, errors.New("grant saved without a reason"))
	}
	body, err := json.Marshal(b)
	if err != nil {
		return err
	}
	row.Body = body
	if h.version == 0 {
		return m.saveNew(ctx, row, h.subject.Confirm)
	}
	var pair [2]status
	pair, err = m.p.lists.allocate(func(entries []Entry) error {
		row.Entries = entries
		return m.put(ctx, row)
	})
	h.id, h.access = pair[0], pair[1]
	if x := exchangeOf(ctx); errors.Is(err, ErrStale) && x.mayAgain && x.successor == "" {
		x.again = true // the same client was faster: it is asked again what it gets, see api
		return errInvalidGrant
	}
	if errors.Is(err, ErrStale) {
		// RFC 9700, 4.14.2: whoever came second with one refresh token (or code)
		// shows that two parties hold it, so "the authorization server … MUST
		// revoke" what the first one got.
		if err := m.end(ctx, id); err != nil {
			return err
		}
		return errInvalidGrant
	}
	if errors.Is(err, ErrUnavailable) { // no entry is free
		return outage(ctx, err)
	}
	return err
}

// confirmTime is how long it may take to confirm a grant, or to end it.
const confirmTime = 5 * time.Second

// saveNew stores a new grant with the answer to the sign-in that it is of.
func (m manager) saveNew(ctx context.Context, row Row, confirm func(context.Context) error) error {
	if err := m.saveAnswer(ctx, row); err != nil || confirm == nil {
		return err
	}
	// Whoever was erased since the page asked finds this grant, or is found here: also when the
	// browser has left.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), confirmTime)
	defer cancel()
	err := confirm(ctx)
	if err == nil {
		return nil
	}
	// The answer ends first: a second press of the button would get the code of a grant that has ended.
	over := m.put(ctx, Row{Kind: KindSession, ID: exchangeOf(ctx).session.ID, Ended: true, Expires: exchangeOf(ctx).session.Expires})
	ended := errors.Join(over, m.end(ctx, row.ID))
	if e := refusal.Of(err); e != nil && e.Kind != refusal.Unavailable && ended == nil {
		exchangeOf(ctx).unconfirmed = e
	}
	return outage(ctx, errors.Join(err, ended))
}

// ownKey refuses a DPoP key that was used at another platform: two that compare their
// tokens would see that two pen names are one person's (ATTACKS N04). It is remembered
// for as long as a grant that it is bound to can live. Platforms of one sector are one here.
func (m manager) ownKey(ctx context.Context, b grantBody) error {
	if b.JKT == "" {
		return nil
	}
	pl, err := m.p.platform(ctx, b.Platform)
	if err != nil {
		return err
	}
	lives := refreshLifetime + 2*day
	key := Row{Kind: KindKey, ID: hashOf("dpop", b.JKT), Body: []byte(pl.SectorID()), Expires: hour(m.p.now().Add(lives))}
	before, err := m.get(ctx, key.Kind, key.ID)
	switch {
	case errors.Is(err, goidc.ErrNotFound):
	case err != nil:
		return err
	case string(before.Body) != pl.SectorID():
		return errKeyElsewhere
	case before.Expires.After(key.Expires.Add(-day)):
		return nil
	default:
		key.Version = before.Version
	}
	if err = m.put(ctx, key); !errors.Is(err, ErrStale) {
		return err
	}
	// Somebody else used it at the same time.
	if before, err = m.get(ctx, key.Kind, key.ID); err == nil && string(before.Body) != pl.SectorID() {
		err = errKeyElsewhere
	}
	return err
}

// end revokes a grant and thereby everything that was issued under it.
func (m manager) end(ctx context.Context, id [32]byte) error {
	err := m.put(ctx, Row{Kind: KindGrant, ID: id, Ended: true, Expires: hour(m.p.now().Add(tokenLifetime + time.Hour))})
	m.p.lists.invalidate()
	if errors.Is(err, ErrStale) { // by somebody else: just as well
		return nil
	}
	return err
}

// End ends every grant of the pseudonyms: their codes, refresh tokens and
// introspection at once, their tokens in the status list within a minute. Platforms that
// want to be told are. What is granted afterwards counts.
func (p *Provider) End(ctx context.Context, holders ...token.Pseudonym) (err error) {
	for _, holder := range holders {
		err = errors.Join(err, p.store.EndAll(ctx, holder, nil, logoutForgotten(p.now())))
	}
	p.lists.invalidate()
	p.hurry()
	return err
}

// Who leaves all platforms at once does so at a moment of its own at each: after
// every token that is out has expired, and within a day.
const (
	leavesAfter  = 2 * time.Hour
	leavesWithin = 24 * time.Hour

	leftKept = refreshLifetime + 2*day // the moments outlive every grant that there is
)

// EndQuietly ends every grant of the pseudonyms of somebody who left all platforms at
// once. Their codes and refresh tokens are refused from now on, because a thief may hold them.
// What a platform can look up without a new token changes at a moment of its own, at which
// it is also told, if it wants to be. A token that is out lives out its ten minutes, as all
// do, and no status list shows anything. So nothing that is published, and nothing that a
// platform learns unless it renews, happens to two pen names at once.
func (p *Provider) EndQuietly(ctx context.Context, holders ...token.Pseudonym) error {
	return p.endQuietly(ctx, holders, nil)
}

func (p *Provider) endQuietly(ctx context.Context, holders []token.Pseudonym, events []Row) error {
	now, ends := p.now(), make(map[token.Pseudonym]time.Time)
	for _, holder := range holders {
		after := below(int64(leavesWithin - leavesAfter))
		ends[holder] = now.Add(leavesAfter + time.Duration(after)).Truncate(time.Second)
	}
	return p.store.EndAt(ctx, ends, events, now.UTC().Truncate(day).Add(leftKept))
}

// load reads a grant that has not ended.
func (m manager) load(ctx context.Context, id string) (*goidc.Grant, grantBody, error) {
	var b grantBody
	row, err := m.get(ctx, KindGrant, hashOf("grant", id))
	if err != nil {
		return nil, b, err
	}
	if !row.Ends.IsZero() && (exchangeOf(ctx).endpoint == "/token" || !m.p.now().Before(row.Ends)) {
		return nil, b, goidc.ErrNotFound // see EndQuietly
	}
	if err := json.Unmarshal(row.Body, &b); err != nil || len(b.Commitment) != 32 {
		return nil, b, outage(ctx, errors.New("grant body"))
	}
	h := &held{version: row.Version, redeemed: b.Code == nil, created: b.Created, family: b.Family, resource: b.Resource, sid: b.SID}
	h.subject = Subject{Pseudonym: row.Holder, Commitment: [32]byte(b.Commitment), ACR: b.ACR, Handle: b.Handle}
	openClaims(id, b.Claims, &h.subject)
	g := &goidc.Grant{
		ID: id, CreatedAt: int(b.Created), Subject: string(row.Holder), ClientID: b.Platform, Scopes: b.Scope, JWKThumbprint: b.JKT,
		Store: map[string]any{heldKey: h},
	}
	if b.Code == nil {
		g.AuthCodeConsumedAt = 1
		return g, b, nil
	}
	h.authTime = b.Code.AuthTime
	g.AuthCodeExpiresAt = int(b.Code.Expires)
	g.AuthParams = goidc.AuthorizationParameters{
		RedirectURI: b.Code.RedirectURI, CodeChallenge: b.Code.Challenge, CodeChallengeMethod: methodOf(b.Code.Challenge), Nonce: b.Code.Nonce,
	}
	return g, b, nil
}

// Grant implements [goidc.GrantManager]: for introspection and userinfo. Here a
// platform that is gone makes the token inactive.
func (m manager) Grant(ctx context.Context, id string) (*goidc.Grant, error) {
	g, _, err := m.load(ctx, id)
	if err != nil {
		return nil, err
	}
	_, err = m.p.platform(ctx, g.ClientID)
	return g, err
}

// GrantByAuthCode implements [goidc.AuthManager]. A code that was redeemed is
// found too: the library then revokes the grant.
//
// RFC 6749, 4.1.2: "If an authorization code is used more than once, the
// authorization server MUST deny the request and SHOULD revoke (when possible)
// all tokens previously issued based on that authorization code."
func (m manager) GrantByAuthCode(ctx context.Context, code string) (*goidc.Grant, error) {
	g, b, err := m.load(ctx, grantOfCode(code))
	if err != nil {
		return nil, err
	}
	if x := exchangeOf(ctx); b.Code != nil && b.Platform == x.clientID {
		x.otherURI = x.redirectURI != b.Code.RedirectURI
	}
	if b.Code == nil || !offline(b.Scope) {
		return g, nil
	}
	pl, err := m.p.platform(ctx, b.Platform)
	if err != nil || !pl.renews(exchangeOf(ctx)) {
		g.Scopes = withoutOffline(b.Scope)
		return g, nil
	}
	family := g.ID + random()
	heldOf(g.Store).family = digest(family)
	g.RefreshToken = family + random()
	return g, nil
}

// renews reports whether a platform gets a refresh token: one in a browser must bind
// it to a key (RFC 9700, 4.14.2: "sender-constrained refresh tokens" or rotation; scripts
// of others may run beside its own).
func (p Platform) renews(x *exchange) bool { return !p.Browser || x.proof != nil }

// withoutOffline is what is granted of scopes where no refresh token is: the answer's scope
// says so (RFC 6749, 3.3).
func withoutOffline(scopes string) string {
	return strings.Join(slices.DeleteFunc(strings.Fields(scopes), offline), " ")
}

// GrantByRefreshToken implements [goidc.RefreshTokenManager].
func (m manager) GrantByRefreshToken(ctx context.Context, raw string) (*goidc.Grant, error) {
	if len(raw) != refreshLen {
		return nil, goidc.ErrNotFound
	}
	family := raw[:familyLen]
	g, b, err := m.load(ctx, raw[:grantIDLen])
	if err != nil {
		return nil, err
	}
	if subtle.ConstantTimeCompare(digest(family), b.Family) != 1 {
		return nil, goidc.ErrNotFound
	}
	x := exchangeOf(ctx)
	if subtle.ConstantTimeCompare(digest(raw), b.Refresh) != 1 {
		if x.endpoint != "/token" {
			return nil, goidc.ErrNotFound
		}
		if x.successor = string(openAgain(refreshPurpose, raw, b.Again, m.p.now())); x.successor == "" {
			// An older token of this family: somebody has kept a copy.
			// RFC 9700, 4.14.2: "the authorization server … will revoke the active refresh token".
			if err := m.end(ctx, hashOf("grant", g.ID)); err != nil {
				return nil, outage(ctx, err)
			}
			return nil, goidc.ErrNotFound
		}
	}
	g.RefreshTokenExpiresAt = int(b.refreshUntil().Unix())
	heldOf(g.Store).rotating = x.endpoint == "/token"
	x.family, x.presented = family, raw
	return g, nil
}

// Client implements [goidc.DCRManager], the library's only hook to look up
// clients. Nothing can be registered: the endpoint is not served.
//
// Where clients authenticate, the library's client is the one that was checked, whose
// keys and resource the exchange holds, or there is none.
func (m manager) Client(ctx context.Context, id string) (*goidc.Client, error) {
	x := exchangeOf(ctx)
	if x.endpoint != authorizePath && x.endpoint != userinfoPath && id != x.clientID {
		return nil, goidc.ErrNotFound
	}
	pl, err := m.p.platform(ctx, id)
	if err != nil {
		return nil, err
	}
	c := &goidc.Client{ID: pl.ID, Secret: m.secrets(pl)}
	c.Name, c.RedirectURIs, c.ApplicationType = pl.Name, pl.RedirectURIs, goidc.ApplicationTypeWeb
	c.GrantTypes = []goidc.GrantType{goidc.GrantAuthorizationCode, goidc.GrantRefreshToken}
	c.ResponseTypes = []goidc.ResponseType{goidc.ResponseTypeCode}
	c.ScopeIDs = strings.Join(pl.scopes(), " ")
	c.IDTokenSigAlg = pl.IDTokenAlg // "": the library's default, see configure
	c.DPoPTokenBindingIsRequired, c.PARIsRequired = pl.RequireDPoP, pl.RequirePAR
	if pl.Native {
		c.ApplicationType = goidc.ApplicationTypeNative
	}
	if keys := pl.JWKS; len(keys) > 0 || pl.JWKSURI != "" {
		c.JWKS = &goidc.JSONWebKeySet{Keys: slices.Concat(keys, x.published)}
	}
	// A platform with a secret may send it in either of two ways; the library wants one.
	methods := pl.methods()
	c.TokenAuthnMethod = goidc.AuthnMethod(methods[0])
	if x.secretInBody && len(methods) > 1 {
		c.TokenAuthnMethod = goidc.AuthnMethodSecretPost
	}
	return c, nil
}

// SaveClient and DeleteClient complete [goidc.DCRManager].
func (m manager) SaveClient(context.Context, *goidc.Client) error { return ErrUnknownPlatform }

// DeleteClient always refuses.
func (m manager) DeleteClient(context.Context, string) error { return ErrUnknownPlatform }

// secrets are the hashes of a platform's secrets that count now, as the library keeps
// them for verifySecret.
func (m manager) secrets(pl Platform) string {
	var hashes []string
	for _, h := range pl.SecretHashes {
		if h.Until.IsZero() || m.p.now().Before(h.Until) {
			hashes = append(hashes, h.SHA256)
		}
	}
	return strings.Join(hashes, " ")
}

// verifySecret compares a presented secret with each hash, whichever it is.
func (m manager) verifySecret(_ context.Context, stored, presented string) error {
	hash, same := []byte(HashSecret(presented).SHA256), 0
	for one := range strings.FieldsSeq(stored) {
		same |= subtle.ConstantTimeCompare([]byte(one), hash)
	}
	if same != 1 || strings.TrimSpace(presented) == "" {
		return errors.New("wrong secret")
	}
	return nil
}

// consumeJTI makes DPoP proofs and client assertions single-use. Each is scoped
// to its key or client, so that nobody can use up another's identifiers.
func (m manager) consumeJTI(ctx context.Context, jti string) error {
	x := exchangeOf(ctx)
	scope := "assertion\x00" + x.clientID
	if x.proof != nil && x.proof.ID == jti {
		scope = "proof\x00" + x.proof.JKT
	}
	if x.usedID == jti {
		return nil // by this very request: see api
	}
	x.usedID = jti
	first, err := m.p.store.Use(ctx, hashOf("jti\x00"+scope, jti), m.p.now().Add(2*proofLifetime))
	if err != nil {
		return outage(ctx, err)
	}
	if !first {
		return errReplayed
	}
	return nil
}

// put and get note a failing store in the exchange, because the library reports
// some failures as the client's fault, and turn ErrNotFound into the library's. A
// store that failed in this request is not asked again: it may be frozen, and whoever
// asks would wait twice.
func (m manager) put(ctx context.Context, row Row) error {
	return m.store(ctx, func() error { return m.p.store.Put(ctx, row) })
}

func (m manager) store(ctx context.Context, put func() error) error {
	x := exchangeOf(ctx)
	if x.down { // the person was shown why, and asks again: what was stored before stands
		return nil
	}
	if x.outage != nil {
		return x.outage
	}
	err := put()
	if err != nil && !errors.Is(err, ErrStale) && !errors.Is(err, ErrTaken) {
		return outage(ctx, err)
	}
	return err
}

func (m manager) get(ctx context.Context, kind Kind, id [32]byte) (Row, error) {
	if failed := exchangeOf(ctx).outage; failed != nil {
		return Row{}, failed
	}
	row, err := m.p.store.Get(ctx, kind, id)
	switch {
	case errors.Is(err, ErrNotFound), err == nil && row.Ended:
		return Row{}, goidc.ErrNotFound
	case err != nil:
		return Row{}, outage(ctx, err)
	}
	return row, nil
}

// outage records that the answer must be "try again later", whatever the library
// makes of the error.
func outage(ctx context.Context, err error) error {
	exchangeOf(ctx).outage = err
	return err
}

// platform looks a platform up and refuses one that is not sound: once in a request, of each.
func (k checks) platform(ctx context.Context, id string) (Platform, error) {
	x := exchangeOf(ctx)
	if id != "" && x.sound.ID == id {
		return x.sound, nil
	}
	if !clientIDSyntax.MatchString(id) {
		return Platform{}, goidc.ErrNotFound
	}
	pl, err := k.cfg.Platforms(ctx, id)
	switch {
	case errors.Is(err, ErrUnknownPlatform):
		return Platform{}, goidc.ErrNotFound
	case err != nil:
		return Platform{}, outage(ctx, err)
	case pl.Closed != nil:
		return Platform{}, goidc.ErrNotFound
	case pl.ID != id || pl.Check() != nil || pl.IDTokenAlg != "" && !slices.Contains(k.algorithms, pl.IDTokenAlg):
		return Platform{}, outage(ctx, ErrBadPlatform)
	}
	x.sound = pl
	return pl, nil
}

// closed is why nobody is signed in at a platform, for the page.
func (k checks) closed(ctx context.Context, id string) *refusal.Error {
	if pl, err := k.cfg.Platforms(ctx, id); err == nil && pl.Closed != nil {
		return pl.Closed
	}
	return ErrUnknownPlatform
}

// Handles. A grant's id follows from its code, so that nothing about the code
// needs storing. A refresh token is the id, a part that its whole family shares,
// and a part of its own: an old one is told from a guess.
const (
	randomLen  = 43 // 32 bytes
	grantIDLen = 43
	familyLen  = grantIDLen + randomLen
	refreshLen = familyLen + randomLen
	sidLen     = 22 // 16 bytes
)

func random() string {
	var b [32]byte
	rand.Read(b[:]) // never fails: crypto/rand
	return base64.RawURLEncoding.EncodeToString(b[:])
}

func grantOfCode(code string) string {
	sum := hashOf("code", code)
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

func digest(s string) []byte {
	sum := sha256.Sum256([]byte(s))
	return sum[:]
}
