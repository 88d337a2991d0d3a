package integration

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/penname/penname/verifier/document"
)

// town is a small platform with its issuer, both by TLS. Each is sound until a test
// makes it wrong.
type town struct {
	t                *testing.T
	issuer, platform *httptest.Server
	subject          Subject

	// What a test makes wrong.
	discovery func(map[string]any)
	keys      string
	record    string // of the platform in the registry
	authorize http.HandlerFunc
	login     http.HandlerFunc
	request   func(url.Values)
	cookie    func(*http.Cookie)
	callback  http.HandlerFunc
	posted    bool // with response_mode=form_post
	silent    bool // with prompt=none
	signIns   int
	tokens    int // that the issuer's token endpoint was asked for
}

func newTown(t *testing.T) *town {
	w := &town{t: t, discovery: func(map[string]any) {}, request: func(url.Values) {}, cookie: func(*http.Cookie) {}}
	key, err := document.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	keys, err := json.Marshal(map[string]any{"keys": []any{key.Public()}})
	if err != nil {
		t.Fatal(err)
	}
	w.keys, w.authorize, w.login, w.callback = string(keys), w.ask, w.begin, w.end
	issuer := http.NewServeMux()
	issuer.HandleFunc("GET /.well-known/openid-configuration", w.describe)
	issuer.HandleFunc("GET /v1/platforms/town", func(rw http.ResponseWriter, _ *http.Request) {
		payload := base64.RawURLEncoding.EncodeToString([]byte(w.record))
		fmt.Fprintf(rw, `{"records":[{"signed":"h.e.s","day":"2026-01-31"},{"signed":"h.%s.s","day":"2026-02-01"}],"more":false}`, payload)
	})
	issuer.HandleFunc("GET /jwks", func(rw http.ResponseWriter, _ *http.Request) { fmt.Fprint(rw, w.keys) })
	issuer.HandleFunc("/authorize", func(rw http.ResponseWriter, r *http.Request) { w.authorize(rw, r) })
	issuer.HandleFunc("POST /token", func(http.ResponseWriter, *http.Request) { w.tokens++ })
	issuer.HandleFunc("OPTIONS /token", func(rw http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Origin") == "https://app.example" {
			rw.Header().Set("Access-Control-Allow-Origin", "https://app.example")
		}
	})
	platform := http.NewServeMux()
	platform.HandleFunc("/login", func(rw http.ResponseWriter, r *http.Request) { w.login(rw, r) })
	platform.HandleFunc("/callback", func(rw http.ResponseWriter, r *http.Request) { w.callback(rw, r) })
	platform.HandleFunc("GET /logout", func(rw http.ResponseWriter, r *http.Request) {
		http.Redirect(rw, r, w.issuer.URL+"/logout?client_id=town", http.StatusSeeOther)
	})
	platform.HandleFunc("GET /left", func(rw http.ResponseWriter, r *http.Request) { http.Redirect(rw, r, "/", http.StatusSeeOther) })
	platform.HandleFunc("GET /fails", func(rw http.ResponseWriter, _ *http.Request) {
		http.Error(rw, "no session", http.StatusInternalServerError)
	})
	platform.HandleFunc("POST /told", func(rw http.ResponseWriter, _ *http.Request) { http.Error(rw, "no", http.StatusBadRequest) })
	platform.HandleFunc("POST /anything", func(http.ResponseWriter, *http.Request) {})
	w.issuer, w.platform = httptest.NewTLSServer(issuer), httptest.NewTLSServer(platform)
	t.Cleanup(w.issuer.Close)
	t.Cleanup(w.platform.Close)
	w.subject = Subject{Start: w.platform.URL + "/login", HTTP: w.platform.Client(), Now: time.Now} // both have httptest's certificate
	return w
}

func (w *town) describe(rw http.ResponseWriter, _ *http.Request) {
	doc := map[string]any{"issuer": w.issuer.URL, "authorization_endpoint": w.issuer.URL + "/authorize", "token_endpoint": w.issuer.URL + "/token", "end_session_endpoint": w.issuer.URL + "/logout", "scopes_supported": []string{"openid", "profile"},
		"jwks_uri": w.issuer.URL + "/jwks", "response_modes_supported": []string{"query", "form_post"}, "authorization_response_iss_parameter_supported": true}
	w.discovery(doc)
	json.NewEncoder(rw).Encode(doc) //nolint:errcheck // the test would see it
}

// ask is the issuer's page: it takes one client with one redirect_uri.
func (w *town) ask(rw http.ResponseWriter, r *http.Request) {
	switch q := r.FormValue; {
	case q("request_uri") != "":
		fmt.Fprint(rw, "Who are you?")
	case q("prompt") == "none":
		http.Redirect(rw, r, q("redirect_uri")+"?error=login_required", http.StatusSeeOther)
	case q("client_id") != "town":
		http.Error(rw, "No platform is registered under this client_id.", http.StatusBadRequest)
	case q("redirect_uri") != w.platform.URL+"/callback":
		rw.WriteHeader(http.StatusBadRequest)
		fmt.Fprint(rw, "<header>My pen names</header><main>The redirect_uri is not registered for this platform.</main>")
	case !strings.Contains(q("scope"), "openid"):
		http.Redirect(rw, r, q("redirect_uri")+"?error=invalid_scope&error_description=scope+must+contain+openid", http.StatusSeeOther)
	default:
		fmt.Fprint(rw, "Who are you?")
	}
}

// begin is the platform's beginning of a sign-in.
func (w *town) begin(rw http.ResponseWriter, r *http.Request) {
	w.signIns++
	if c, err := r.Cookie("session"); err == nil && c.Value == "signed in" {
		fmt.Fprint(rw, "Welcome back")
		return
	}
	state := rand.Text()
	q := url.Values{"client_id": {"town"}, "response_type": {"code"}, "scope": {"openid"}, "redirect_uri": {w.platform.URL + "/callback"},
		"state": {state}, "nonce": {rand.Text()}, "code_challenge": {(rand.Text() + rand.Text())[:43]}, "code_challenge_method": {"S256"}}
	if w.posted {
		q.Set("response_mode", "form_post")
	}
	w.request(q)
	c := &http.Cookie{Name: "sign-in", Value: state, Path: "/", HttpOnly: true, Secure: true, SameSite: http.SameSiteLaxMode}
	if w.posted {
		c.SameSite = http.SameSiteNoneMode
	}
	if w.cookie(c); c.Name != "" {
		http.SetCookie(rw, c)
	}
	http.Redirect(rw, r, w.issuer.URL+"/authorize?"+q.Encode(), http.StatusSeeOther)
}

// end is the platform's callback.
func (w *town) end(rw http.ResponseWriter, r *http.Request) {
	c, err := r.Cookie("sign-in")
	switch {
	case err != nil || c.Value != r.FormValue("state"):
		http.Error(rw, "This sign-in began elsewhere.", http.StatusBadRequest)
	case r.FormValue("iss") == "":
		http.Error(rw, "Nobody says who answers.", http.StatusBadRequest)
	case r.FormValue("iss") != w.issuer.URL:
		http.Error(rw, "Another issuer answers.", http.StatusBadRequest)
	case r.FormValue("error") != "":
		fmt.Fprint(rw, "You said no. Sign in again?")
	default:
		http.Error(rw, "The code is not good.", http.StatusBadRequest)
	}
}

// signIn is what a platform must not do at a mere request.
func (w *town) signIn(rw http.ResponseWriter, r *http.Request) {
	http.SetCookie(rw, &http.Cookie{Name: "session", Value: "signed in", Path: "/"})
	http.Redirect(rw, r, "/login", http.StatusSeeOther)
}

func (w *town) examine() *Report {
	w.t.Helper()
	report, err := Examine(w.t.Context(), w.subject)
	if err != nil {
		w.t.Fatal(err)
	}
	for _, f := range report.Findings {
		if f.Means == "" || f.Source == "" || (f.Grade == OK || f.Grade == Unexamined) != (f.Mend == "") {
			w.t.Errorf("unfinished: %+v", f)
		}
	}
	return report
}

// push leaves of the request what the browser carries if it is pushed.
func push(q url.Values) {
	clear(q)
	q.Set("client_id", "town")
	q.Set("request_uri", "urn:ietf:params:oauth:request_uri:"+rand.Text())
}

// sound are platforms with which nothing is wrong.
var sound = map[string]func(*town){
	"redirect":  func(*town) {},
	"form_post": func(w *town) { w.posted = true },
	"everything told": func(w *town) {
		w.subject.Logout, w.subject.BackChannelLogout, w.subject.Origin = w.platform.URL+"/logout", w.platform.URL+"/told", "https://app.example"
	},
	"a page with a button": func(w *town) {
		w.login = func(rw http.ResponseWriter, r *http.Request) {
			if r.Method == http.MethodPost && r.FormValue("csrf") == "1" {
				w.begin(rw, r)
				return
			}
			fmt.Fprint(rw, `<a href="/logout">Sign out</a><form method="post" action="/login"><input name="csrf" value="1"><button>Sign in with Penname</button></form>`)
		}
	},
	"a named link": func(w *town) {
		w.subject.Button = "Come in"
		w.login = func(rw http.ResponseWriter, r *http.Request) {
			if r.URL.RawQuery == "in" {
				w.begin(rw, r)
				return
			}
			fmt.Fprint(rw, `<a href="/other">Log in otherwise</a><a href="?in">Come in</a>`)
		}
	},
	"pushed": func(w *town) {
		w.subject.Callback = w.platform.URL + "/callback"
		w.request = push
	},
	"pushed, and no callback is told": func(w *town) { w.request = push },
	"one page for every error":        func(w *town) { w.callback = always(http.StatusBadRequest, "The code is not good.") },
	"logout to the first page":        func(w *town) { w.subject.Logout = w.platform.URL + "/left" },
	"logout that fails for nobody":    func(w *town) { w.subject.Logout = w.platform.URL + "/fails" },
	"a page that leads on": func(w *town) {
		w.login = func(rw http.ResponseWriter, r *http.Request) {
			if r.URL.RawQuery == "on" {
				w.begin(rw, r)
				return
			}
			fmt.Fprint(rw, `<meta http-equiv="Refresh" content="0; url='/login?on'">`)
		}
	},
	"first without a page": func(w *town) {
		w.request = func(q url.Values) {
			if w.silent {
				q.Set("prompt", "none")
			}
		}
		w.silent = true
		w.callback = func(rw http.ResponseWriter, r *http.Request) {
			if r.FormValue("error") == "login_required" {
				w.silent = false
				defer func() { w.silent = true }()
				w.begin(rw, r)
				return
			}
			w.end(rw, r)
		}
	},
	"a native app": func(w *town) {
		w.request = func(q url.Values) { q.Set("redirect_uri", "com.example.town:/callback") }
		w.authorize = func(rw http.ResponseWriter, _ *http.Request) { fmt.Fprint(rw, "Who are you?") }
	},
	"this machine's clock": func(w *town) { w.subject.Now = func() time.Time { return time.Now().Add(-time.Hour) } },
	"in the registry":      func(w *town) { w.record = `{"id":"town","origins":["` + w.platform.URL + `"]}` },
	"no nonce":             func(w *town) { w.request = func(q url.Values) { q.Del("nonce") } },
}

// TestSound: nothing is wrong with what is right, however a sign-in is written, and it is
// said what was not seen of it.
func TestSound(t *testing.T) {
	unexamined := map[string][]string{
		"pushed":                          {"callback.code", "callback.iss", "callback.no_iss"},
		"pushed, and no callback is told": {"callback"},
		"a native app":                    {"callback"},
		"one page for every error":        {"callback.state", "callback.iss", "callback.no_iss"},
		"logout to the first page":        {"logout"},
		"logout that fails for nobody":    {"logout"},
	}
	for name, change := range sound {
		t.Run(name, func(t *testing.T) {
			w := newTown(t)
			change(w)
			report := w.examine()
			var unseen []string
			for _, f := range report.Findings {
				switch f.Grade {
				case OK:
				case Unexamined:
					unseen = append(unseen, f.Check)
				default:
					t.Errorf("%+v", f)
				}
			}
			if name == "in the registry" && !strings.Contains(report.String(), "has this platform since 2026-01-31") {
				t.Errorf("%s", report)
			}
			if !slices.Equal(unseen, unexamined[name]) || !strings.HasSuffix(report.String(), fmt.Sprintf("0 wrong, %d not examined", len(unseen))) {
				t.Errorf("not examined: %q\n%s", unseen, report)
			}
			if report.Wrong() || report.Issuer != w.issuer.URL || report.ClientID != "town" || len(report.Findings) < 8 {
				t.Errorf("%s", report)
			}
			if w.tokens != 0 || w.signIns > 20 {
				t.Errorf("%d sign-ins, %d tokens", w.signIns, w.tokens)
			}
		})
	}
}

// fault is one thing that a platform or an issuer does wrong, and what is to be found.
type fault struct {
	name  string
	make  func(*town)
	check string
	grade Grade
	says  string
}

// set and del change the authorization request.
func set(name, value string) func(*town) {
	return func(w *town) { w.request = func(q url.Values) { q.Set(name, value) } }
}

func del(names ...string) func(*town) {
	return func(w *town) {
		w.request = func(q url.Values) {
			for _, name := range names {
				q.Del(name)
			}
		}
	}
}

func always(status int, text string) http.HandlerFunc {
	return func(rw http.ResponseWriter, _ *http.Request) { http.Error(rw, text, status) }
}

var faults = []fault{
	{"nothing there", func(w *town) { w.platform.Close() }, "start", Wrong, "cannot be reached: connection refused"},
	{"no such button", func(w *town) {
		w.subject.Button, w.login = "Foo", always(http.StatusOK, "hello")
	}, "start", Wrong, "no button or link “Foo”"},
	{"the issuer's error page", func(w *town) {
		w.request = func(q url.Values) { clear(q); q.Set("state", rand.Text()) }
	}, "start", Wrong, "which answers with status 400: “No platform"},
	{"no such host", func(w *town) { w.subject.Start = "https://platform.invalid/login" }, "start", Wrong, "does not begin"},
	{"unknown authority", func(w *town) { w.subject.HTTP = nil }, "start", Wrong, "certificate is of an authority that this machine does not know; a private one is named with --ca-file"},
	{"error page", func(w *town) { w.login = always(http.StatusNotFound, "no") }, "start", Wrong, "404"},
	{"a page that leads nowhere", func(w *town) { w.login = always(http.StatusOK, "hello") }, "start", Wrong, "no authorization request"},
	{"the issuer's own address", func(w *town) {
		w.subject.Start = w.issuer.URL + "/authorize?client_id=town&response_type=code"
	}, "start", Wrong, "request to the issuer"},
	{"a loop", func(w *town) {
		w.login = func(rw http.ResponseWriter, r *http.Request) { http.Redirect(rw, r, "/login", http.StatusFound) }
	}, "start", Wrong, "more than ten times"},
	{"by way of http", func(w *town) {
		w.login = func(rw http.ResponseWriter, r *http.Request) {
			http.Redirect(rw, r, "http://platform.example/login", http.StatusFound)
		}
	}, "start", Wrong, "not https"},
	{"second sign-in fails", func(w *town) {
		w.login = func(rw http.ResponseWriter, r *http.Request) {
			if w.signIns > 0 {
				http.Error(rw, "slower", http.StatusTooManyRequests)
				return
			}
			w.begin(rw, r)
		}
	}, "start", Warning, "second sign-in"},
	{"certificate ends", func(w *town) {
		at := w.platform.Certificate().NotAfter.Add(-time.Hour)
		w.subject.Now = func() time.Time { return at }
	}, "certificate", Warning, "ends on"},
	{"clock", func(w *town) {
		w.login = func(rw http.ResponseWriter, r *http.Request) {
			rw.Header().Set("Date", time.Now().Add(-2*time.Minute).UTC().Format(http.TimeFormat))
			w.begin(rw, r)
		}
	}, "clock", Wrong, "differs from the issuer's by"},
	{"no clock", func(w *town) {
		w.login = func(rw http.ResponseWriter, r *http.Request) {
			rw.Header()["Date"] = nil
			w.begin(rw, r)
		}
	}, "clock", Warning, "does not tell"},

	{"issuer without discovery", func(w *town) { w.discovery = func(doc map[string]any) { clear(doc) } }, "issuer", Wrong, "names another issuer"},
	{"another issuer", func(w *town) { w.discovery = func(doc map[string]any) { doc["issuer"] = "https://other.example" } }, "issuer", Wrong, "another issuer"},
	{"another endpoint", func(w *town) {
		w.discovery = func(doc map[string]any) { doc["authorization_endpoint"] = w.issuer.URL + "/new" }
	}, "issuer", Wrong, "authorization endpoint"},
	{"issuer down", func(w *town) { w.issuer.Close() }, "issuer", Wrong, "does not answer"},
	{"issuer by http", func(w *town) {
		w.login = func(rw http.ResponseWriter, r *http.Request) {
			http.Redirect(rw, r, "http://issuer.example/authorize?client_id=town&response_type=code", http.StatusFound)
		}
	}, "issuer", Wrong, "not https"},
	{"bad keys", func(w *town) { w.keys = `{"keys":[{"kty":"oct","k":"AAAA"}]}` }, "issuer.keys", Wrong, "cannot be read"},
	{"retired", func(w *town) { w.record = `{"id":"town","retired":true}` }, "issuer.registry", Wrong, "retired"},
	{"of other origins", func(w *town) {
		w.record = `{"id":"town","origins":["https://other.example"]}`
	}, "issuer.registry", Warning, "“https://other.example”"},
	{"unknown client", set("client_id", "village"), "issuer.client_id", Wrong, "client_id"},
	{"unregistered callback", set("redirect_uri", "https://platform.example/callback"), "issuer.redirect_uri", Wrong, "the redirect_uri “https://platform.example/callback” of this client: “The redirect_uri"},
	{"refused by a redirect", set("scope", "profile"), "issuer.answer", Wrong, "invalid_scope"},
	{"always without a page", set("prompt", "none"), "issuer.answer", Wrong, "nobody new can sign in"},
	{"refused by a form", func(w *town) {
		w.authorize = func(rw http.ResponseWriter, _ *http.Request) {
			fmt.Fprintf(rw, `<form method="post" action="%s/callback"><input name="error" value="invalid_request"></form>`, w.platform.URL)
		}
	}, "issuer.answer", Wrong, "invalid_request"},
	{"issuer fails", func(w *town) { w.authorize = always(http.StatusServiceUnavailable, "later") }, "issuer.answer", Wrong, "later"},

	{"secret in the address", set("client_secret", "s3cret"), "request.secret", Wrong, "for everybody"},
	{"verifier in the address", set("code_verifier", "abc"), "request.code_verifier", Wrong, "for everybody"},
	{"no client_id", del("client_id"), "request.client_id", Wrong, "no client_id"},
	{"scopes that the issuer has not", set("scope", "openid address"), "request.scope", Warning, "“address”"},
	{"no openid", set("scope", "profile"), "request.scope", Wrong, "lacks openid"},
	{"implicit", set("response_type", "id_token"), "request.response_type", Wrong, "not code"},
	{"fragment", set("response_mode", "fragment"), "request.response_mode", Wrong, "fragment"},
	{"no redirect_uri", del("redirect_uri"), "request.redirect_uri", Wrong, "no redirect_uri"},
	{"callback by http", set("redirect_uri", "http://platform.example/callback"), "request.redirect_uri", Wrong, "not https"},
	{"callback with a fragment", set("redirect_uri", "https://platform.example/#/callback"), "request.redirect_uri", Wrong, "fragment"},
	{"no state", del("state"), "request.state", Warning, "no state"},
	{"neither state nor PKCE", del("state", "code_challenge", "code_challenge_method"), "request.state", Wrong, "by a link"},
	{"short state", set("state", "1234"), "request.state", Warning, "short"},
	{"one state", set("state", strings.Repeat("x", 30)), "request.state", Warning, "same state"},
	{"nothing new", func(w *town) {
		w.request = func(q url.Values) {
			for _, name := range []string{"state", "nonce", "code_challenge"} {
				q.Set(name, strings.Repeat("x", 43))
			}
		}
	}, "request.state", Wrong, "protects nobody"},
	{"one nonce", set("nonce", strings.Repeat("x", 30)), "request.nonce", Wrong, "same nonce"},
	{"short nonce", set("nonce", "1"), "request.nonce", Warning, "short"},
	{"one challenge", set("code_challenge", strings.Repeat("x", 43)), "request.code_challenge", Wrong, "same code_challenge"},
	{"plain PKCE", set("code_challenge_method", "plain"), "request.code_challenge", Wrong, "S256"},
	{"padded PKCE", set("code_challenge", strings.Repeat("x", 43)+"="), "request.code_challenge", Wrong, "base64url"},
	{"nonce without PKCE", del("code_challenge", "code_challenge_method"), "request.code_challenge", Warning, "without a secret"},
	{"neither", del("code_challenge", "code_challenge_method", "nonce"), "request.code_challenge", Wrong, "neither PKCE nor a nonce"},
	{"unknown parameter", set("access_type", "offline"), "request.parameters", Warning, "access_type"},
	{"one pushed request", func(w *town) {
		w.request = func(q url.Values) {
			clear(q)
			q.Set("client_id", "town")
			q.Set("request_uri", "urn:ietf:params:oauth:request_uri:1")
		}
	}, "request.request_uri", Wrong, "same request_uri"},

	{"no cookie", func(w *town) { w.cookie = func(c *http.Cookie) { c.Name = "" } }, "cookies", Wrong, "No cookie"},
	{"cookie of another path", func(w *town) { w.cookie = func(c *http.Cookie) { c.Path = "/login" } }, "cookies", Wrong, "another host or path"},
	{"callback on another host", func(w *town) {
		w.request = func(q url.Values) { q.Set("redirect_uri", "https://www.platform.invalid/callback") }
	}, "cookies", Wrong, "another host or path"},
	{"strict cookie", func(w *town) { w.cookie = func(c *http.Cookie) { c.SameSite = http.SameSiteStrictMode } }, "cookies", Wrong, "Strict"},
	{"lax cookie and a form", func(w *town) {
		w.posted, w.cookie = true, func(c *http.Cookie) { c.SameSite = http.SameSiteLaxMode }
	}, "cookies", Wrong, "posted"},
	{"none without secure", func(w *town) {
		w.cookie = func(c *http.Cookie) { c.SameSite, c.Secure = http.SameSiteNoneMode, false }
	}, "cookies", Wrong, "SameSite=None without Secure: browsers drop it"},
	{"cookie of another host", func(w *town) { w.cookie = func(c *http.Cookie) { c.Domain = "other.example" } }, "cookies", Wrong, "Domain=other.example"},
	{"cookie that promises more", func(w *town) { w.cookie = func(c *http.Cookie) { c.Name, c.Path = "__Host-a", "/callback" } }, "cookies", Wrong, "its name promises"},
	{"insecure cookie", func(w *town) { w.cookie = func(c *http.Cookie) { c.Secure = false } }, "cookies", Wrong, "lacks Secure"},
	{"cookie for scripts", func(w *town) { w.cookie = func(c *http.Cookie) { c.HttpOnly = false } }, "cookies", Warning, "HttpOnly"},

	{"callback down", func(w *town) {
		w.request = func(q url.Values) { q.Set("redirect_uri", "https://platform.invalid/callback") }
	}, "callback", Wrong, "does not answer"},
	{"nothing at the callback", func(w *town) { w.callback = http.NotFound }, "callback", Wrong, "status 404"},
	{"callback that takes no form", func(w *town) { w.posted, w.callback = true, always(http.StatusMethodNotAllowed, "GET only") }, "callback", Wrong, "status 405"},
	{"callback that leads anywhere", func(w *town) {
		w.callback = func(rw http.ResponseWriter, r *http.Request) {
			http.Redirect(rw, r, r.FormValue("state"), http.StatusFound)
		}
	}, "callback.redirect", Wrong, "anybody can lead people anywhere"},
	{"declined, and a server error", func(w *town) {
		w.callback = func(rw http.ResponseWriter, r *http.Request) {
			if r.FormValue("error") != "" {
				http.Error(rw, "panic", http.StatusInternalServerError)
				return
			}
			w.end(rw, r)
		}
	}, "callback.access_denied", Warning, "500"},
	{"takes any code", func(w *town) {
		w.callback = func(rw http.ResponseWriter, r *http.Request) {
			if c, err := r.Cookie("sign-in"); err == nil && c.Value == r.FormValue("state") && r.FormValue("code") != "" {
				w.signIn(rw, r)
				return
			}
			w.end(rw, r)
		}
	}, "callback.code", Wrong, "takes a code"},
	{"takes any state", func(w *town) {
		w.callback = func(rw http.ResponseWriter, r *http.Request) {
			if c, err := r.Cookie("sign-in"); err == nil && c.Value != r.FormValue("state") {
				w.signIn(rw, r)
				return
			}
			w.end(rw, r)
		}
	}, "callback.state", Wrong, "state of another sign-in"},
	{"does not look at the state", func(w *town) { w.callback = always(http.StatusBadRequest, "The code is not good.") }, "callback.state", Unexamined, "says the same"},
	{"does not look at iss", func(w *town) { w.callback = always(http.StatusBadRequest, "The code is not good.") }, "callback.iss", Unexamined, "says the same"},
	{"takes another issuer", func(w *town) {
		w.callback = func(rw http.ResponseWriter, r *http.Request) {
			if r.FormValue("iss") == otherIssuer {
				w.signIn(rw, r)
				return
			}
			w.end(rw, r)
		}
	}, "callback.iss", Wrong, "another issuer"},
	{"takes no issuer", func(w *town) {
		w.callback = func(rw http.ResponseWriter, r *http.Request) {
			if r.FormValue("iss") == "" {
				w.signIn(rw, r)
				return
			}
			w.end(rw, r)
		}
	}, "callback.no_iss", Wrong, "without iss"},
	{"fails at a bad code", func(w *town) {
		w.callback = func(rw http.ResponseWriter, r *http.Request) {
			if r.FormValue("code") != "" {
				http.Error(rw, "panic", http.StatusInternalServerError)
				return
			}
			w.end(rw, r)
		}
	}, "callback.code", Warning, "500"},

	{"no logout", func(w *town) { w.subject.Logout = w.platform.URL + "/nothing" }, "logout", Wrong, "404"},
	{"no back channel", func(w *town) { w.subject.BackChannelLogout = w.platform.URL + "/nothing" }, "back_channel_logout", Wrong, "404"},
	{"back channel takes anything", func(w *town) { w.subject.BackChannelLogout = w.platform.URL + "/anything" }, "back_channel_logout", Wrong, "no logout token"},
	{"origin", func(w *town) { w.subject.Origin = "https://other.example" }, "origin", Wrong, "other.example"},
}

// TestFaults makes every fault real, and asks that it is found, graded and explained.
func TestFaults(t *testing.T) {
	for _, fault := range faults {
		t.Run(fault.name, func(t *testing.T) {
			w := newTown(t)
			fault.make(w)
			report := w.examine()
			if !slices.ContainsFunc(report.Findings, func(f Finding) bool {
				return f.Check == fault.check && f.Grade == fault.grade && strings.Contains(f.Means, fault.says)
			}) {
				t.Errorf("not found:\n%s", report)
			}
			if w.tokens != 0 {
				t.Errorf("%d tokens were asked for", w.tokens)
			}
			if fault.grade == Wrong && !report.Wrong() {
				t.Error("the report says that nothing is wrong")
			}
		})
	}
}

// TestSaysNoMore: what is wrong is not called right elsewhere in the report, nor wrong twice.
func TestSaysNoMore(t *testing.T) {
	for not, change := range map[string]func(*town){
		"no standard has in it": func(w *town) {
			w.request = func(q url.Values) {
				q.Set("client_secret", "s3cret")
				q.Set("code_verifier", "abc")
			}
		},
		"SameSite=Strict":           func(w *town) { w.cookie = func(c *http.Cookie) { c.SameSite, c.Secure = http.SameSiteNoneMode, false } },
		"A cookie comes back":       func(w *town) { w.cookie = func(c *http.Cookie) { c.Domain = "other.example" } },
		"The issuer takes the":      set("prompt", "none"),
		"The callback answers.":     func(w *town) { w.callback = http.NotFound },
		"is shown a page":           func(w *town) { w.callback = http.NotFound },
		"My pen names":              set("redirect_uri", "https://platform.example/callback"),
		"does not know this client": del("client_id"),
	} {
		w := newTown(t)
		change(w)
		if report := w.examine(); strings.Contains(report.String(), not) {
			t.Errorf("%q:\n%s", not, report)
		}
	}
}

// TestBadAddresses: what cannot be examined is refused, before anything is sent.
func TestBadAddresses(t *testing.T) {
	for _, s := range []Subject{
		{}, {Start: "platform.example"}, {Start: "http://platform.example"}, {Start: "file:///etc/passwd"}, {Start: "https:///login"}, {Start: "https://a.example/%zz"},
		{Start: "https://a.example", Logout: "http://a.example"}, {Start: "https://a.example", BackChannelLogout: "x"}, {Start: "https://a.example", Origin: "https://a.example/x"},
	} {
		if report, err := Examine(t.Context(), s); !errors.Is(err, ErrAddress) || report != nil {
			t.Errorf("%+v: %v", s, err)
		}
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	w := newTown(t)
	if _, err := Examine(ended, w.subject); !errors.Is(err, context.Canceled) {
		t.Errorf("after the end: %v", err)
	}
}

// TestHostilePages: a platform and an issuer can say anything, and neither moves the
// cursor of whoever reads the report, nor keeps it for ever.
func TestHostilePages(t *testing.T) {
	w := newTown(t)
	w.authorize = func(rw http.ResponseWriter, _ *http.Request) {
		http.Error(rw, "\x1b[2J\u202e"+strings.Repeat("redirect_uri ", 1<<17), http.StatusBadRequest)
	}
	w.request = func(q url.Values) { q.Set("redirect_uri", w.platform.URL+"/callback?\x1b[2J") }
	report := w.examine()
	if text := report.String(); strings.ContainsAny(text, "\x1b\u202e") || len(text) > 10_000 {
		t.Errorf("%d bytes: %.300q", len(text), text)
	}
}

// TestHostileChoices: the buttons and links of a page once had the doctor post to other
// hosts, and go where nothing is encrypted.
func TestHostileChoices(t *testing.T) {
	w := newTown(t)
	reached := 0
	other := http.HandlerFunc(func(http.ResponseWriter, *http.Request) { reached++ })
	plain, secure := httptest.NewServer(other), httptest.NewTLSServer(other)
	t.Cleanup(plain.Close)
	t.Cleanup(secure.Close)
	away := strings.Replace(plain.URL, "127.0.0.1", "plain.example", 1)
	client := *w.platform.Client()
	transport := client.Transport.(*http.Transport).Clone()
	transport.DialContext = func(ctx context.Context, network, address string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, network, strings.Replace(address, "plain.example", "127.0.0.1", 1))
	}
	client.Transport = transport
	w.subject.HTTP = &client
	w.login = func(rw http.ResponseWriter, _ *http.Request) {
		fmt.Fprintf(rw, `<a href="%s">Sign in</a><form method=post action="%s"><button name=confirm value=yes>Sign in</button></form>`, away, secure.URL)
	}
	if w.examine(); reached != 0 {
		t.Errorf("reached %d times", reached)
	}
}
