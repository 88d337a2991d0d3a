package world

import (
	"context"
	"crypto/rand"
	"embed"
	"errors"
	"fmt"
	"html/template"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"github.com/go-jose/go-jose/v4"
	"golang.org/x/oauth2"

	"github.com/penname/penname/verifier/token"
)

//go:embed platform.html
var platformFiles embed.FS

var platformPage = template.Must(template.ParseFS(platformFiles, "platform.html"))

// The ids of the world's own platforms.
const (
	TownSquare  = "town-square"
	SchoolForum = "school-forum"
)

// Platform is a relying party: a small forum that signs people in with an
// off-the-shelf OpenID Connect client and checks every token again, offline, with
// verifier/token. It knows nobody's name.
type Platform struct {
	ID, Name, Origin string
	EvidenceKey      jose.JSONWebKey // signs evidence about its posts
	Claims           []string        // that it asks for: openid.Platform

	Issuer     string // whose pen names it takes
	IssuerKeys []byte // JWKS, taken once
	Now        func() time.Time

	oauth   oauth2.Config
	oidc    *oidc.IDTokenVerifier
	offline *token.Verifier

	mu       sync.Mutex
	flows    map[string]flow            // by state
	sessions map[string]*token.Token    // by cookie
	renewals map[token.Pseudonym]string // refresh tokens
	handles  map[token.Pseudonym]token.Handle
	told     map[token.Pseudonym]map[string]any // claims, by their names
	banned   map[token.Pseudonym]string         // with the reason
	posts    []Post
}

type flow struct{ nonce, verifier string }

// Post is a post, with the token under which it was made.
type Post struct {
	Author token.Pseudonym
	Text   string
	URL    string
	At     time.Time
	Token  *token.Token
}

// Connect discovers Penname as any OpenID Connect client does.
func (p *Platform) Connect(ctx context.Context, secret string) error {
	provider, err := oidc.NewProvider(ctx, p.Issuer)
	if err != nil {
		return err
	}
	p.oauth = oauth2.Config{
		ClientID: p.ID, ClientSecret: secret, Endpoint: provider.Endpoint(),
		RedirectURL: p.Origin + "/callback", Scopes: append([]string{oidc.ScopeOpenID, oidc.ScopeOfflineAccess, "profile"}, p.Claims...),
	}
	p.oidc = provider.Verifier(&oidc.Config{ClientID: p.ID, Now: p.Now, SupportedSigningAlgs: []string{"EdDSA", "ES256", "RS256"}})
	keys, err := token.ParseKeySet(p.IssuerKeys)
	if err != nil {
		return err
	}
	p.offline = &token.Verifier{
		Issuer: p.Issuer, Audience: p.ID, Now: p.Now, Leeway: time.Minute,
		Keys:   token.StaticKeys(keys),
		Status: token.NewHTTPStatusSource(p.Issuer, token.StaticKeys(keys), http.DefaultClient, p.Now),
	}
	p.flows, p.sessions = map[string]flow{}, map[string]*token.Token{}
	p.told = map[token.Pseudonym]map[string]any{}
	p.renewals, p.banned, p.handles = map[token.Pseudonym]string{}, map[token.Pseudonym]string{}, map[token.Pseudonym]token.Handle{}
	return nil
}

// Handler serves the platform.
func (p *Platform) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", p.home)
	mux.HandleFunc("POST /login", p.login)
	mux.HandleFunc("GET /callback", p.callback)
	mux.HandleFunc("POST /posts", p.publish)
	mux.HandleFunc("POST /logout", p.logout)
	return http.NewCrossOriginProtection().Handler(mux)
}

func (p *Platform) home(w http.ResponseWriter, r *http.Request) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.show(w, r, http.StatusOK, "")
}

// show shows the page, with p.mu held, and says something of what was tried.
func (p *Platform) show(w http.ResponseWriter, r *http.Request, status int, said string) {
	view := struct {
		Name   string
		Said   string
		Me     *token.Token
		Handle token.Handle
		Told   map[string]any
		Posts  []Post
	}{p.Name, said, p.session(r), "", nil, p.posts}
	if view.Me != nil {
		view.Told = p.told[view.Me.Subject]
		view.Handle = p.handles[view.Me.Subject]
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(status)
	platformPage.Execute(w, view) //nolint:errcheck // the reader went away
}

func (p *Platform) session(r *http.Request) *token.Token {
	c, err := r.Cookie(p.ID)
	if err != nil {
		return nil
	}
	return p.sessions[c.Value]
}

func (p *Platform) login(w http.ResponseWriter, r *http.Request) {
	f := flow{nonce: rand.Text(), verifier: oauth2.GenerateVerifier()}
	state := rand.Text()
	p.mu.Lock()
	p.flows[state] = f
	p.mu.Unlock()
	p.setCookie(w, p.ID+"-state", state)
	http.Redirect(w, r, p.oauth.AuthCodeURL(state, oidc.Nonce(f.nonce), oauth2.S256ChallengeOption(f.verifier)), http.StatusSeeOther)
}

func (p *Platform) callback(w http.ResponseWriter, r *http.Request) {
	t, renewal, err := p.signIn(r)
	p.mu.Lock()
	defer p.mu.Unlock()
	if errors.Is(err, errUnknownState) && r.URL.Query().Get("error") == "" && p.session(r) != nil { // they pressed twice, and are signed in
		http.Redirect(w, r, "/", http.StatusSeeOther)
		return
	}
	if err != nil {
		p.show(w, r, http.StatusBadRequest, "The sign-in did not go on: "+err.Error()+". Nothing is lost. Sign in once more.")
		return
	}
	if reason, ok := p.banned[t.Subject]; ok {
		p.show(w, r, http.StatusForbidden, "Nobody is signed in: this pen name is banned: "+reason)
		return
	}
	cookie := rand.Text()
	p.sessions[cookie], p.renewals[t.Subject] = t, renewal
	p.setCookie(w, p.ID, cookie)
	http.Redirect(w, r, "/", http.StatusSeeOther)
}

// logout ends the session here, and none at Penname.
func (p *Platform) logout(w http.ResponseWriter, r *http.Request) {
	if c, err := r.Cookie(p.ID); err == nil {
		p.mu.Lock()
		delete(p.sessions, c.Value)
		p.mu.Unlock()
	}
	http.Redirect(w, r, "/", http.StatusSeeOther)
}

func (p *Platform) setCookie(w http.ResponseWriter, name, value string) {
	http.SetCookie(w, &http.Cookie{ //nolint:gosec // the sandbox has no TLS
		Name: name, Value: value, Path: "/", HttpOnly: true, SameSite: http.SameSiteLaxMode,
	})
}

var errUnknownState = errors.New("it did not begin in this browser, or was answered already, as when a button is pressed twice")

// signIn ends a sign-in and returns its token and refresh token.
func (p *Platform) signIn(r *http.Request) (t *token.Token, renewal string, err error) {
	q := r.URL.Query()
	// RFC 9700, 2.1: a sign-in ends in the browser in which it began. Without this,
	// a link can sign somebody in as another.
	if c, err := r.Cookie(p.ID + "-state"); err != nil || c.Value != q.Get("state") {
		return nil, "", errUnknownState
	}
	p.mu.Lock()
	f, ok := p.flows[q.Get("state")]
	delete(p.flows, q.Get("state"))
	p.mu.Unlock()
	if !ok {
		return nil, "", errUnknownState
	}
	if q.Get("iss") != p.Issuer { // RFC 9207, 2.4
		return nil, "", errors.New("another issuer answers")
	}
	if code := q.Get("error"); code != "" {
		return nil, "", errors.New("the person said no")
	}
	tokens, err := p.oauth.Exchange(r.Context(), q.Get("code"), oauth2.VerifierOption(f.verifier))
	if err != nil {
		return nil, "", err
	}
	raw, ok := tokens.Extra("id_token").(string)
	if !ok {
		return nil, "", errors.New("no id_token")
	}
	checked, err := p.oidc.Verify(r.Context(), raw) // as any client would
	if err != nil {
		return nil, "", err
	}
	if checked.Nonce != f.nonce {
		return nil, "", errors.New("wrong nonce")
	}
	var called struct {
		Handle   token.Handle `json:"preferred_username"`
		Verified struct {
			Claims map[string]any `json:"claims"`
		} `json:"verified_claims"`
	}
	if err := checked.Claims(&called); err != nil {
		return nil, "", err
	}
	if t, err = p.offline.Verify(r.Context(), raw); err != nil { // and again, offline
		return nil, "", err
	}
	if !t.Subject.Has(called.Handle) {
		return nil, "", errors.New("a handle of another pen name")
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.handles[t.Subject], p.told[t.Subject] = called.Handle, called.Verified.Claims
	return t, tokens.RefreshToken, nil
}

// Renew gets a new token for a pen name that signed in before. Penname refuses
// once the person has deleted themself.
func (p *Platform) Renew(ctx context.Context, name token.Pseudonym) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	_, err := p.renew(ctx, name)
	return err
}

// renew is Renew with p.mu held.
func (p *Platform) renew(ctx context.Context, name token.Pseudonym) (*token.Token, error) {
	tokens, err := p.oauth.TokenSource(ctx, &oauth2.Token{RefreshToken: p.renewals[name]}).Token()
	if err != nil {
		return nil, err
	}
	p.renewals[name] = tokens.RefreshToken
	raw, ok := tokens.Extra("id_token").(string)
	if !ok {
		return nil, errors.New("no id_token")
	}
	t, err := p.offline.Verify(ctx, raw)
	if err == nil && t.Subject != name {
		return nil, errors.New("the token is another's")
	}
	return t, err
}

func (p *Platform) publish(w http.ResponseWriter, r *http.Request) {
	p.mu.Lock()
	defer p.mu.Unlock()
	t := p.session(r)
	if t == nil {
		http.Error(w, "sign in first", http.StatusUnauthorized)
		return
	}
	// A post needs a token that is valid now: otherwise it would be no evidence.
	if _, err := p.offline.Verify(r.Context(), t.Raw); err != nil {
		if t, err = p.renew(r.Context(), t.Subject); err != nil {
			http.Error(w, "sign in again", http.StatusUnauthorized)
			return
		}
	}
	if reason, ok := p.banned[t.Subject]; ok {
		http.Error(w, "this pen name is banned: "+reason, http.StatusForbidden)
		return
	}
	p.posts = append(p.posts, Post{
		Author: t.Subject, Text: r.PostFormValue("text"), At: p.Now(), Token: t,
		URL: fmt.Sprintf("%s/posts/%d", p.Origin, len(p.posts)+1),
	})
	http.Redirect(w, r, "/", http.StatusSeeOther)
}

// Ban holds for life: a person has one pen name here.
func (p *Platform) Ban(name token.Pseudonym, reason string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.banned[name] = reason
}

// Last returns the newest post.
func (p *Platform) Last() (Post, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.posts) == 0 {
		return Post{}, errors.New(p.Name + " has no post")
	}
	return p.posts[len(p.posts)-1], nil
}

// Evidence signs what a court needs of a post: the token as it was presented, and the
// words, address and time of the post.
func (p *Platform) Evidence(about Post) (string, error) {
	words, err := token.NewExhibit("text/plain", strings.NewReader(about.Text))
	if err != nil {
		return "", err
	}
	// Not by a token.Recorder: a platform of the walkthroughs also signs what is not so.
	return token.SignEvidence(p.EvidenceKey, token.Evidence{Platform: p.ID, Token: about.Token.Raw,
		Post: token.Post{URL: about.URL, At: about.At, Exhibits: []token.Exhibit{words}}})
}
