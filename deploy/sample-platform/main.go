// Command sample-platform is a message board on which people write under pen names, to be read
// in ten minutes and copied: this file is all it does, page.html all that is seen of it. It
// keeps no name, no address and no password: it is told none. README, "What do I build?"
package main

import (
	"bytes"
	"cmp"
	"context"
	"crypto/rand"
	_ "embed"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"html/template"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"

	"github.com/penname/penname/verifier/token"
)

//go:embed page.html
var pageText string

var page = template.Must(template.New("page").Funcs(template.FuncMap{"contains": slices.Contains[[]token.Pseudonym]}).Parse(pageText))

// board is the platform. What JSON sees is kept, in one file; yours has a database.
type board struct {
	origin, folder string
	client         *http.Client
	penname        context.Context // has the client, with which Penname is asked
	oauth          oauth2.Config
	checks         token.Verifier
	evidence       token.Recorder
	moderator      token.Pseudonym
	sessions       sync.Map // by cookie; they end with this process
	published      struct { // by Penname, about itself
		Keys   string `json:"jwks_uri"`
		Logout string `json:"end_session_endpoint"`
	}

	mu      sync.Mutex // of what is kept
	Posts   []post
	Blocked map[token.Pseudonym][]token.Pseudonym // whom somebody does not want to read
	Banned  []token.Pseudonym                     // nobody gets another pen name in its place
}

type post struct {
	Author   token.Pseudonym
	At       time.Time
	Text     string
	Token    *token.Token // in force when it was posted: evidence needs it
	Reported bool
}

// session is a browser in which somebody is signed in.
type session struct {
	name   token.Pseudonym
	tokens oauth2.TokenSource // renews them
}

// main serves the board, and prints where.
func main() {
	b := &board{Blocked: map[token.Pseudonym][]token.Pseudonym{}}
	flag.StringVar(&b.checks.Issuer, "issuer", "", "address of Penname")
	flag.StringVar(&b.checks.Audience, "client-id", "", "this platform's id at Penname")
	secretFile := flag.String("client-secret-file", "", "file with its client secret")
	keyFile := flag.String("evidence-key", "", "file with the private JWK that signs evidence")
	listen := flag.String("listen", "127.0.0.1:3000", "address to listen on, behind a proxy with TLS")
	flag.StringVar(&b.origin, "origin", "", "the board's address in browsers (default http://localhost and the port)")
	flag.StringVar(&b.folder, "folder", "board", "folder that keeps the board, and the evidence of what is reported")
	flag.StringVar((*string)(&b.moderator), "moderator", "", "pen name of who may ban")
	flag.Parse()
	secret, err := os.ReadFile(*secretFile)
	key, noKey := os.ReadFile(*keyFile)
	must(err, noKey, json.Unmarshal(key, &b.evidence.Key), os.MkdirAll(filepath.Join(b.folder, "exhibits"), 0o700))
	if kept, err := os.ReadFile(filepath.Join(b.folder, "board.json")); !errors.Is(err, fs.ErrNotExist) {
		must(err, json.Unmarshal(kept, b))
	}
	listener, err := net.Listen("tcp", *listen)
	must(err)
	if b.origin == "" {
		b.origin = fmt.Sprintf("http://localhost:%d", listener.Addr().(*net.TCPAddr).Port)
	}
	must(b.connect(strings.TrimSpace(string(secret))))
	fmt.Fprintln(os.Stdout, "The board is at", b.origin)
	must((&http.Server{Handler: b.handler(), ReadTimeout: 10 * time.Second}).Serve(listener))
}

func must(errs ...error) {
	if err := errors.Join(errs...); err != nil {
		fmt.Fprintln(os.Stderr, "sample-platform:", err)
		os.Exit(1)
	}
}

// connect sets up an OpenID Connect client from what Penname publishes, and who checks its tokens.
func (b *board) connect(secret string) error {
	b.client = &http.Client{Timeout: 10 * time.Second}
	b.penname = oidc.ClientContext(context.Background(), b.client)
	provider, err := oidc.NewProvider(b.penname, b.checks.Issuer)
	if err != nil {
		return err
	}
	b.oauth = oauth2.Config{ClientID: b.checks.Audience, ClientSecret: secret, Endpoint: provider.Endpoint(),
		RedirectURL: b.origin + "/callback", Scopes: []string{oidc.ScopeOpenID, oidc.ScopeOfflineAccess}}
	err = provider.Claims(&b.published)
	b.evidence.Platform, b.checks.Leeway = b.checks.Audience, time.Minute
	b.checks.Keys = token.HTTPKeySource(b.published.Keys, b.client, time.Now)
	b.checks.Status = token.NewHTTPStatusSource(b.checks.Issuer, b.checks.Keys, b.client, time.Now)
	return err
}

func (b *board) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, r *http.Request) { b.show(w, r, http.StatusOK, "") })
	mux.HandleFunc("POST /sign-in", b.signIn)
	mux.HandleFunc("GET /callback", b.callback)
	mux.HandleFunc("POST /sign-out", b.signOut)
	mux.HandleFunc("POST /act", b.act)
	// No other site presses a button here, or shows this one inside of itself.
	safe := http.NewCrossOriginProtection().Handler(http.MaxBytesHandler(mux, 64<<10))
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; frame-ancestors 'none'; form-action 'self' "+b.checks.Issuer)
		w.Header().Set("Cache-Control", "no-store")
		safe.ServeHTTP(w, r)
	})
}

// setCookie keeps something in a browser: no script reads it, no form of another site sends it.
func (b *board) setCookie(w http.ResponseWriter, name, value string) {
	http.SetCookie(w, &http.Cookie{Name: name, Value: value, Path: "/", HttpOnly: true, //nolint:gosec // Secure wherever it has TLS
		Secure: strings.HasPrefix(b.origin, "https:"), SameSite: http.SameSiteLaxMode})
}

func cookie(r *http.Request, name string) string {
	c, _ := r.Cookie(name)
	return cmp.Or(c, &http.Cookie{}).Value
}

// signIn sends somebody to Penname. Their browser keeps what the answer must match.
func (b *board) signIn(w http.ResponseWriter, r *http.Request) {
	state, nonce, verifier := rand.Text(), rand.Text(), oauth2.GenerateVerifier()
	b.setCookie(w, "sign-in", state+"."+nonce+"."+verifier)
	http.Redirect(w, r, b.oauth.AuthCodeURL(state, oidc.Nonce(nonce), oauth2.S256ChallengeOption(verifier)), http.StatusSeeOther)
}

func (b *board) callback(w http.ResponseWriter, r *http.Request) {
	q, asked := r.URL.Query(), strings.Split(cookie(r, "sign-in"), ".")
	b.setCookie(w, "sign-in", "")
	// RFC 9700, 2.1 and 4.4: the answer is to what this browser asked, and from whom it asked.
	if len(asked) != 3 || q.Get("state") != asked[0] || q.Get("iss") != b.checks.Issuer {
		b.show(w, r, http.StatusBadRequest, "This sign-in did not begin in this browser. Please try again.")
		return
	}
	if q.Get("error") == "access_denied" {
		b.show(w, r, http.StatusOK, "You did not sign in. You can go on reading, and sign in whenever you like.")
		return
	}
	if tokens, err := b.oauth.Exchange(b.penname, q.Get("code"), oauth2.VerifierOption(asked[2])); err == nil {
		s := session{tokens: b.oauth.TokenSource(b.penname, tokens)}
		if t, err := b.fresh(r.Context(), s); err == nil && t.Nonce == asked[1] {
			id := rand.Text()
			b.sessions.Delete(cookie(r, "session"))
			b.sessions.Store(id, session{t.Subject, s.tokens})
			b.setCookie(w, "session", id)
			http.Redirect(w, r, "/", http.StatusSeeOther)
			return
		}
	}
	b.show(w, r, http.StatusBadGateway, "The sign-in did not work. Please try again.")
}

// fresh is a token of s that is in force now, renewed if need be. There is none once its
// person was erased, or signed out everywhere at Penname.
func (b *board) fresh(ctx context.Context, s session) (*token.Token, error) {
	if s.tokens == nil {
		return nil, errors.New("nobody is signed in")
	}
	tokens, err := s.tokens.Token()
	if err != nil {
		return nil, err
	}
	raw, _ := tokens.Extra("id_token").(string)
	return b.checks.Verify(ctx, raw)
}

// signOut ends the session here, and lets Penname ask whether to end it there too.
func (b *board) signOut(w http.ResponseWriter, r *http.Request) {
	b.sessions.Delete(cookie(r, "session"))
	back := url.Values{"client_id": {b.oauth.ClientID}, "post_logout_redirect_uri": {b.origin + "/"}}
	http.Redirect(w, r, b.published.Logout+"?"+back.Encode(), http.StatusSeeOther)
}

// Hides reports whether somebody does not see p: a banned or blocked one wrote it, or it
// mentions them beside somebody whom they have blocked.
func (b *board) Hides(p post, from token.Pseudonym) bool {
	blocked := b.Blocked[from]
	return slices.Contains(b.Banned, p.Author) || slices.Contains(blocked, p.Author) || p.Author != from && from.MentionedIn(p.Text) &&
		slices.ContainsFunc(blocked, func(name token.Pseudonym) bool { return name.MentionedIn(p.Text) })
}

// show is the board as somebody sees it, with what came of a deed. Words that were not posted
// are still there. Nobody waits for who sends or reads slowly: the lock is held for neither.
func (b *board) show(w http.ResponseWriter, r *http.Request, status int, note string) {
	s, _ := b.sessions.Load(cookie(r, "session"))
	me, _ := s.(session)
	view := map[string]any{"Me": me.name, "Board": b, "Note": note, "Draft": r.PostFormValue("text"), "All": r.FormValue("all") != ""}
	var out bytes.Buffer
	b.mu.Lock()
	view["Banned"], view["Moderates"], view["Blocked"] = slices.Contains(b.Banned, me.name), me.name != "" && me.name == b.moderator, b.Blocked[me.name]
	page.Execute(&out, view) //nolint:errcheck // a buffer takes all
	b.mu.Unlock()
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(status)
	w.Write(out.Bytes()) //nolint:errcheck // the reader went away
}

// act posts, or does something about a post, for somebody whom Penname knows now.
func (b *board) act(w http.ResponseWriter, r *http.Request) {
	s, _ := b.sessions.Load(cookie(r, "session"))
	me, _ := s.(session)
	t, err := b.fresh(r.Context(), me)
	if err != nil {
		b.sessions.Delete(cookie(r, "session"))
		b.show(w, r, http.StatusUnauthorized, "Please sign in again.")
		return
	}
	author, refused, err := b.do(t, r)
	if state := map[string]string{"ban": "banned", "lift": "lifted"}[r.PostFormValue("deed")]; err == nil && refused == "" && state != "" {
		err = b.tell(author, state)
	}
	if err != nil {
		b.show(w, r, http.StatusInternalServerError, "This did not work, or not wholly. Please try again.")
	} else if refused != "" {
		b.show(w, r, http.StatusForbidden, refused)
	} else {
		http.Redirect(w, r, "/", http.StatusSeeOther)
	}
}

// tell reports to Penname that somebody is banned, or no longer. It may come any number of times.
func (b *board) tell(name token.Pseudonym, state string) error {
	answer, err := b.client.PostForm(b.checks.Issuer+"/bans", url.Values{
		"client_id": {b.oauth.ClientID}, "client_secret": {b.oauth.ClientSecret}, "sub": {string(name)}, "state": {state}})
	if err == nil && (answer.Body.Close() != nil || answer.StatusCode != http.StatusNoContent) {
		err = errors.New(answer.Status)
	}
	return err
}

// do returns who wrote the post that the deed is about, and why somebody may not do it, if so.
func (b *board) do(t *token.Token, r *http.Request) (author token.Pseudonym, refused string, err error) {
	deed, text := r.PostFormValue("deed"), strings.ReplaceAll(r.PostFormValue("text"), "\r\n", "\n")
	n, bad := strconv.Atoi(r.PostFormValue("post"))
	b.mu.Lock()
	defer b.mu.Unlock()
	if bad == nil && n >= 0 && n < len(b.Posts) {
		author = b.Posts[n].Author
	} else if deed != "write" {
		return "", "There is no such message.", nil
	}
	without := func(names []token.Pseudonym) []token.Pseudonym {
		return slices.DeleteFunc(names, func(name token.Pseudonym) bool { return name == author })
	}
	me := t.Subject
	switch {
	case deed == "write" && slices.Contains(b.Banned, me):
		return "", "You are banned here. You can read, but not write.", nil
	case deed == "write" && (strings.TrimSpace(text) == "" || len(text) > 8000 || !utf8.ValidString(text) || strings.ContainsAny(text, "\x00\u202d\u202e")):
		return "", "A message is text of at most 8000 bytes, without characters that turn it round.", nil
	case deed == "write":
		b.Posts = append(b.Posts, post{Author: me, At: time.Now(), Text: text, Token: t})
	case deed == "block" && author != me:
		b.Blocked[me] = append(without(b.Blocked[me]), author)
	case deed == "unblock":
		b.Blocked[me] = without(b.Blocked[me])
	case deed == "report" && author != me:
		err = b.report(n)
	case deed == "ban" && author != me && me == b.moderator:
		b.Banned = append(without(b.Banned), author)
	case deed == "lift" && me == b.moderator:
		b.Banned = without(b.Banned)
	default:
		return "", "This is not for you to do.", nil
	}
	return author, "", errors.Join(err, b.save())
}

// report puts evidence of post n, with its words, where escrow evidence check reads it.
func (b *board) report(n int) error {
	p := &b.Posts[n]
	words, err := token.NewExhibit("text/plain", strings.NewReader(p.Text))
	signed, refused := b.evidence.Record(p.Token, "", token.Post{URL: fmt.Sprintf("%s/#%d", b.origin, n), At: p.At, Exhibits: []token.Exhibit{words}})
	if err = errors.Join(err, refused); err == nil {
		err = errors.Join(os.WriteFile(filepath.Join(b.folder, "exhibits", words.Name()), []byte(p.Text), 0o600),
			os.WriteFile(filepath.Join(b.folder, fmt.Sprintf("post-%d.jws", n)), []byte(signed), 0o600))
	}
	p.Reported = err == nil
	return err
}

// save replaces the file as a whole, so that a crash leaves the old one or the new one.
func (b *board) save() error {
	name := filepath.Join(b.folder, "board.json")
	raw, err := json.Marshal(b)
	if err = errors.Join(err, os.WriteFile(name+".new", raw, 0o600)); err == nil {
		err = os.Rename(name+".new", name)
	}
	return err
}
