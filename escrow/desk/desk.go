// Package desk is a web server on the machine of one person, who does there in a browser what
// the commands of escrow do: the same functions do it, and no key leaves the machine.
//
//	Desk       the server: who may enter, pages and forms
//	Custodian  what a custodian does, as functions that the commands call too
//	Officer    likewise what a clerk of a court, a prosecutor and the police do
//	Picture    draws a stranger's picture anew, in a process of its own
//
// Others on the machine, and pages from elsewhere in the same browser, get nothing:
//
//	where it listens     127.0.0.1 and ::1, with one port, which nobody else has then
//	what it is called    128 random bits below localhost, anew at each start: browsers know that
//	                     name for this machine (RFC 6761, section 6.3), and nobody else knows it,
//	                     so nobody was there before with a cookie or a service worker. A request
//	                     for any other Host, also the address, is refused
//	what it is asked     below 128 random bits more: a browser may ask others for a name, not for
//	                     a path. No command line and no log holds either
//	who asks             whoever opened a link that works once and for a minute, out of a file of
//	                     mode 0600; their browser has a cookie for that path since (SameSite=Strict)
//	what changes a thing a form of this very desk: Origin, Sec-Fetch-Site, and a number that
//	                     works once, so that a form that is sent twice acts once. The lock, the
//	                     passphrase and the language need no number: to do them twice is to do them once
//	what runs in a page  nothing: there is no script, and the policy of each page allows none
//
// What was typed is kept until it was done, or the desk ends: what was sent, and with the buttons of
// the lock and of the language what stands in the page. After a while without use, and when a new
// link is opened, the keys are dropped and the passphrase is asked for again; after a longer while
// the desk ends.
package desk

import (
	"cmp"
	"context"
	"crypto/rand"
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"html/template"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/penname/penname/escrow/registrar"
	"github.com/penname/penname/verifier/languages"
	"github.com/penname/penname/verifier/refusal"
)

// Why a desk does not do what a form says. In all of these cases nothing was signed or sent.
var (
	ErrLocked = refusal.New(refusal.Unauthenticated, "desk.locked",
		"the desk was locked when you pressed: nothing was signed or sent, and what is in the form is kept; press again")
	ErrNotLoopback = refusal.New(refusal.Invalid, "desk.not_loopback",
		"a desk listens on 127.0.0.1 and ::1 alone, with one port: nothing was opened")
	ErrIncomplete = refusal.New(refusal.Invalid, "desk.incomplete",
		"something is missing or contradicts itself: nothing was signed or sent, and what you typed is kept; mend it where it is marked")
	ErrChanged = refusal.New(refusal.Conflict, "desk.changed",
		"what would be signed is not what you were shown: nothing was signed or sent; read it again, it is shown now")
	ErrOldPage = refusal.New(refusal.Conflict, "desk.old_page",
		"the form is of a page from before, or was pressed before with something else in it: this press signed and sent nothing, and what you typed is kept; press again on this page")
	ErrOldButton = refusal.New(refusal.Conflict, "desk.old_button",
		"the button was of a page from before: this press did nothing; if you still want it, press it on this page")
	ErrTypeAgain = refusal.New(refusal.Conflict, "desk.type_again",
		"the page was from before, or the desk was locked: this press changed no passphrase, and nothing of what you typed is kept; type it again")
	ErrChangedBefore = refusal.New(refusal.Conflict, "desk.changed_before",
		"a press before this one changed the passphrase, as this page says: this press changed nothing, and nothing of what you typed is kept")
	ErrTakenBack = refusal.New(refusal.Conflict, "desk.taken_back",
		"the court took the order back since you opened the case, or it was stopped or has lapsed: nothing was signed or sent, and nothing is left to answer")
	ErrTooLong = refusal.New(refusal.Invalid, "desk.file_too_long",
		"the file has more than the 33 MB that this desk takes: it was not kept, and nothing was signed or sent; what you typed beside it is kept; choose another file")
	ErrNothingWaits = refusal.New(refusal.Conflict, "desk.nothing_waits",
		"nothing waits here to be signed any more: it was signed, thrown away or changed on another page; nothing was signed or sent by this press, and this page says how it stands")
	ErrUnread = refusal.New(refusal.Conflict, "desk.not_read",
		"the case is not open on this desk: nothing was signed or sent, and what you typed is kept; check the case first")
)

// Options are what a desk is made of. It is of a custodian or of an officer.
type Options struct {
	Custodian *Custodian
	Officer   *Officer
	Explain   func(error) *registrar.Problem // as the commands print it
	Now       func() time.Time               // for the clocks that pages show
	Idle      time.Duration                  // without use, after which the keys are dropped
	Stop      time.Duration                  // without use, after which the desk ends
	Language  *languages.Language            // that it speaks at first; nil: the one that the browser asks for
	Languages *languages.All                 // to choose from; nil: ours

	// Picture draws a picture anew, as PNG, in a process of its own.
	Picture func(ctx context.Context, content []byte) ([]byte, error)
}

// linkLife is how long a link works.
const linkLife = time.Minute

// Desk is a server for one person, who is whoever opened its last link.
type Desk struct {
	Options
	owner    owner
	lns      []net.Listener
	host     string // 128 random bits, hex, ".localhost:" and the port
	prefix   string // of all paths: "/" and 128 random bits
	mux      *http.ServeMux
	pages    map[string]*template.Template // by the tag of a language
	linkLife time.Duration

	working sync.WaitGroup // acts that go on when their browser has left
	idle    *time.Timer    // locks
	stop    *time.Timer    // ends
	ended   context.Context
	end     context.CancelFunc

	mu       sync.Mutex
	link     string // the secret of the newest link; "": it was used
	linkEnds time.Time
	linkFile string
	session  string // the secret of whoever entered last; "": nobody did
	unlocked bool
	held     context.Context // what runs in it ends when the desk is locked
	letGo    context.CancelFunc
	language *languages.Language // that was chosen; nil: none was
	drafts   map[string]*draft
	presses  map[string]*press
	missed   bool     // a press came when the desk was locked, and did nothing
	notice   *problem // why a press did nothing, for the page that is shown next
	running  int      // presses that are being done, which is use
	order    []string // of presses, the oldest first
}

// ports is how many ports are tried until one is free on both addresses.
const ports = 100

// Listen listens on a port of 127.0.0.1 and ::1 that nobody has: a browser tries either, so that
// whoever had the other one would be the desk. Where the machine has no ::1, on 127.0.0.1 alone.
func Listen(on func(network, address string) (net.Listener, error)) (lns []net.Listener, err error) {
	for range ports {
		first, err := on("tcp4", "127.0.0.1:0")
		if err != nil {
			return nil, err
		}
		_, port, err := net.SplitHostPort(first.Addr().String())
		if err != nil {
			return nil, errors.Join(err, first.Close())
		}
		second, err := on("tcp6", net.JoinHostPort("::1", port))
		switch {
		case err == nil:
			return []net.Listener{first, second}, nil
		case errors.Is(err, syscall.EADDRNOTAVAIL), errors.Is(err, syscall.EAFNOSUPPORT):
			return []net.Listener{first}, nil
		}
		first.Close() // somebody else has it on ::1
	}
	return nil, syscall.EADDRINUSE
}

// New makes a desk that nobody has entered and which is locked, for listeners of 127.0.0.1 and
// ::1 alone ([ErrNotLoopback]), as [Listen] makes them.
func New(o Options, lns ...net.Listener) (*Desk, error) {
	port := 0
	for i, ln := range lns {
		at, ok := ln.Addr().(*net.TCPAddr)
		if !ok || i > 1 || i > 0 && at.Port != port || !at.IP.Equal([]net.IP{net.IPv4(127, 0, 0, 1), net.IPv6loopback}[i]) {
			return nil, ErrNotLoopback
		}
		port = at.Port
	}
	if port == 0 {
		return nil, ErrNotLoopback
	}
	d := &Desk{Options: o, lns: lns, host: label() + ".localhost:" + strconv.Itoa(port), prefix: "/" + secret(), linkLife: linkLife, drafts: map[string]*draft{}, presses: map[string]*press{}}
	d.ended, d.end = context.WithCancel(context.Background())
	d.held, d.letGo = context.WithCancel(context.Background())
	d.language, d.Languages = o.Language, cmp.Or(o.Languages, languages.Ours)
	d.pages = spoken(d.Languages)
	d.routes()
	d.idle, d.stop = time.AfterFunc(d.Idle, d.idled), time.AfterFunc(d.Stop, d.end)
	return d, nil
}

// owner is whose desk it is.
type owner struct {
	id, name string
	parts    []part
	secret   string // what opens the keys; "": nothing has to be typed
	unlocks  Text   // what a person reads above it
	unlock   func(ctx context.Context, secret []byte) error
	lock     func()
	form     func(path string) bool // whether there is such a form
}

// part is a part of the desk, which every page leads to.
type part struct {
	At, Path string
	Name     Text
}

// secret is 128 random bits as text that paths and cookies take.
func secret() string {
	b := make([]byte, 16)
	rand.Read(b) // it never fails (crypto/rand)
	return base64.RawURLEncoding.EncodeToString(b)
}

// label is 128 random bits as a part of a name: small letters and digits, as browsers write it.
func label() string {
	b := make([]byte, 16)
	rand.Read(b) // it never fails (crypto/rand)
	return hex.EncodeToString(b)
}

// Serve serves the desk until ctx ends, which is no error, or nobody used it for long. It locks
// the desk, and drops the link, when it returns.
func (d *Desk) Serve(ctx context.Context) error {
	s := &http.Server{Handler: d, ReadHeaderTimeout: 10 * time.Second, ReadTimeout: time.Minute, MaxHeaderBytes: 32 << 10,
		ErrorLog: slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)} // it could quote an address
	defer context.AfterFunc(ctx, d.end)()
	served := make(chan error, len(d.lns))
	for _, ln := range d.lns {
		go func() { served <- s.Serve(ln) }()
	}
	var err error
	select {
	case err = <-served:
		s.Close() // of the other address
	case <-d.ended.Done():
		last, done := context.WithTimeout(context.Background(), 5*time.Second)
		defer done()
		if s.Shutdown(last) != nil { // a browser that does not hang up
			s.Close() // it ends
		}
	}
	d.end()
	d.working.Wait()
	d.idle.Stop()
	d.stop.Stop()
	d.relock()
	d.forgetLink()
	return err
}

// used puts off what happens without use.
func (d *Desk) used() {
	if d.ended.Err() == nil {
		d.idle.Reset(d.Idle)
		d.stop.Reset(d.Stop)
	}
}

// idled locks a desk that nobody used, unless it still does something.
func (d *Desk) idled() {
	d.mu.Lock()
	runs := d.running > 0
	d.mu.Unlock()
	if runs {
		d.used()
		return
	}
	d.relock()
}

// untilLocked is ctx until the desk is locked.
func (d *Desk) untilLocked(ctx context.Context) (context.Context, context.CancelFunc) {
	d.mu.Lock()
	held := d.held
	d.mu.Unlock()
	ctx, done := context.WithCancel(ctx)
	stop := context.AfterFunc(held, done)
	return ctx, func() {
		stop()
		done()
	}
}

// relock drops the keys, and what was read with them, and ends what runs. What was typed stays.
func (d *Desk) relock() {
	d.mu.Lock()
	d.unlocked = false
	d.letGo()
	d.held, d.letGo = context.WithCancel(context.Background())
	for _, f := range d.drafts {
		f.shown = "" // it is shown anew, of a case that is read anew
	}
	d.mu.Unlock()
	d.owner.lock()
}

// opened is the page that a browser opens: it leads to the desk.
const opened = `<!doctype html>
<html lang="%[2]s"><head><meta charset="utf-8"><meta name="referrer" content="no-referrer"><meta http-equiv="refresh" content="0; url=%[1]s"><title>%[3]s</title></head>
<body><p><a href="%[1]s">%[3]s</a>. %[4]s</p>
<p>%[5]s</p></body></html>
`

// LinksIn is the folder that the files of links are made in: TMPDIR if that is set, else on Linux the
// person's own folder. A browser that is packaged as a snap sees neither /tmp nor what is hidden
// below that folder (snapd: the home interface). Where that folder is hidden, or there is none, it is
// the one for what is temporary.
func LinksIn() string {
	home, err := os.UserHomeDir()
	if runtime.GOOS != "linux" || os.Getenv("TMPDIR") != "" || err != nil || !filepath.IsAbs(home) || strings.Contains(filepath.ToSlash(home), "/.") {
		return os.TempDir()
	}
	return home
}

// LinkFile writes a page with a new link, which ends any older one, into a new folder that its
// owner alone can open, and returns its name. The page is removed when the link ends.
func (d *Desk) LinkFile() (name string, err error) {
	d.forgetLink()
	dir, err := os.MkdirTemp(LinksIn(), "escrow-desk-") // mode 0700
	if err != nil {
		dir, err = os.MkdirTemp("", "escrow-desk-")
	}
	if err != nil {
		return "", err
	}
	name = filepath.Join(dir, "desk.html")
	d.mu.Lock()
	defer d.mu.Unlock()
	d.link, d.linkEnds, d.linkFile = secret(), time.Now().Add(d.linkLife), name
	time.AfterFunc(d.linkLife, func() { d.dropLink(name) })
	l := speaker{cmp.Or(d.language, d.Languages.Tagged(languages.English))}
	to, works := Say("To the desk"), Say("This link works once, and for a minute.")
	lost := Say("Does the browser not find the address? Then open this file in Firefox, Chromium, Chrome or Edge: they know that it is of this machine. Safari may not, and asks others for it.")
	return name, os.WriteFile(name, fmt.Appendf(nil, opened, "http://"+d.host+d.prefix+"/enter/"+d.link, l.Tag, l.plain(to), l.plain(works), l.plain(lost)), 0o600)
}

// dropLink ends a link whose file that is, unless there is a newer one.
func (d *Desk) dropLink(name string) {
	d.mu.Lock()
	last := d.linkFile == name
	d.mu.Unlock()
	if last {
		d.forgetLink()
	}
}

// forgetLink ends the link that was made last.
func (d *Desk) forgetLink() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.linkFile != "" {
		os.RemoveAll(filepath.Dir(d.linkFile)) // what is in it works no more
	}
	d.link, d.linkFile = "", ""
}

// enter takes a link, once, and gives whoever opened it the session, which ends any other. The desk
// is locked then: it may be another browser, and somebody else.
func (d *Desk) enter(w http.ResponseWriter, r *http.Request, given string) {
	d.mu.Lock()
	another := d.session != ""
	ok := d.link != "" && same(given, d.link) && time.Now().Before(d.linkEnds)
	if ok {
		d.session = secret()
		http.SetCookie(w, &http.Cookie{Name: cookie, Value: d.session, Path: d.prefix + "/", HttpOnly: true, SameSite: http.SameSiteStrictMode}) //nolint:gosec // Secure is for TLS, and nothing of this leaves the machine
	}
	d.mu.Unlock()
	if !ok {
		d.deny(w, r, http.StatusForbidden, Say("This link was used before, or is older than a minute. Press Enter where the desk was started: it opens with a new one."))
		return
	}
	d.forgetLink()
	if another {
		d.relock()
	}
	d.used()
	// A page, and no redirect: a browser that came from a file sends no cookie along one.
	d.render(w, r, "enter", page{Title: Say("To the desk"), Away: true, Enters: true})
}

const cookie = "desk"

// entered reports whether a request comes from the browser that opened the last link. Others on
// this machine can set cookies of this name, and none that is right.
func (d *Desk) entered(r *http.Request) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, c := range r.CookiesNamed(cookie) {
		if d.session != "" && same(c.Value, d.session) {
			return true
		}
	}
	return false
}

func same(a, b string) bool { return subtle.ConstantTimeCompare([]byte(a), []byte(b)) == 1 }

// policy of a page: styles and pictures of this desk, its forms, and nothing else.
const policyOfPages = "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"

// ServeHTTP is the gate: what does not come from the browser of the person whose desk it is gets
// nothing, and nothing about why.
func (d *Desk) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	for name, value := range map[string]string{
		"Content-Security-Policy": policyOfPages, "Cache-Control": "no-store", "X-Content-Type-Options": "nosniff", "X-Frame-Options": "DENY",
		"Referrer-Policy": "same-origin", "Cross-Origin-Resource-Policy": "same-origin", "Cross-Origin-Opener-Policy": "same-origin",
	} {
		w.Header().Set(name, value)
	}
	if r.Host != d.host {
		d.deny(w, r, http.StatusMisdirectedRequest, Say("There is no such server here."))
		return
	}
	if len(r.URL.Path) <= len(d.prefix) || !same(r.URL.Path[:len(d.prefix)], d.prefix) || r.URL.Path[len(d.prefix)] != '/' {
		d.deny(w, r, http.StatusNotFound, Say("There is nothing here."))
		return
	}
	site, path := r.Header.Get("Sec-Fetch-Site"), r.URL.Path[len(d.prefix):]
	switch r.Method {
	case http.MethodGet, http.MethodHead:
		if given, ok := strings.CutPrefix(path, "/enter/"); ok && r.Method == http.MethodGet {
			d.enter(w, r, given)
			return
		}
		if site != "" && site != "none" && site != "same-origin" {
			d.deny(w, r, http.StatusForbidden, Say("Another page asked for this, not you."))
			return
		}
	case http.MethodPost:
		if r.Header.Get("Origin") != "http://"+d.host || site != "" && site != "same-origin" {
			d.deny(w, r, http.StatusForbidden, Say("Another page sent this, not you: nothing was done."))
			return
		}
	default:
		w.Header().Set("Allow", "GET, HEAD, POST")
		d.deny(w, r, http.StatusMethodNotAllowed, Say("That cannot be done here."))
		return
	}
	if !d.entered(r) {
		if r.Method == http.MethodPost {
			d.deny(w, r, http.StatusForbidden, Say("This browser has not opened the desk, or another one has since: nothing was done, and nothing of what you sent was kept. Go back to copy what you typed. Then press Enter where the desk was started: it opens with a new link."))
			return
		}
		d.deny(w, r, http.StatusForbidden, Say("This browser has not opened the desk, or another one has since. Press Enter where the desk was started: it opens with a new link."))
		return
	}
	d.used()
	defer d.used() // what takes long is use
	if r.Method == http.MethodPost {
		var err error
		if r, err = read(w, r); err != nil {
			w.Header().Set("Connection", "close") // the rest is not read
			w.Header().Set("Content-Type", "text/html; charset=utf-8")
			w.WriteHeader(http.StatusRequestEntityTooLarge)
			d.render(w, r, "unread", page{Title: Say("What you sent was not read")})
			return
		}
	}
	http.StripPrefix(d.prefix, d.mux).ServeHTTP(w, r)
}

// deny answers who is not let in, with nothing of the desk: nobody else learns what it speaks.
func (d *Desk) deny(w http.ResponseWriter, r *http.Request, status int, why Text) {
	l := speaker{d.Languages.Accepted(r.Header.Get("Accept-Language"))}
	if d.entered(r) {
		l.Language = d.speaks(r)
	}
	if w.Header().Set("Content-Language", l.Tag); !l.knows(why.English) {
		w.Header().Set("Content-Language", languages.English)
	}
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.WriteHeader(status)
	io.WriteString(w, l.plain(why)+"\n") //nolint:errcheck // to somebody who left
}
