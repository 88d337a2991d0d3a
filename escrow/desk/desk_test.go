package desk

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"image"
	"image/color/palette"
	"image/gif"
	"image/jpeg"
	"image/png"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/penname/penname/escrow/custodian"
	"github.com/penname/penname/escrow/escrowtest/fuzzing"
	"github.com/penname/penname/escrow/registrar"
	"github.com/penname/penname/verifier/refusal"
)

const anID = "aaaaaaaaaaaaaaaaaaaaaaaaaa"

// fake is a custodian whose deeds are counted.
type fake struct {
	asked, locked atomic.Int32
	answered      Answered
	of            string        // for whom the fake steps in
	unread        error         // why the public log is not known
	slow          chan struct{} // what is asked waits for it; nil: it does not
}

func (f *fake) custodian() *Custodian {
	return &Custodian{
		Who: custodian.Identity{ID: "alba", Name: "Alba \u202eFerrand"},
		Unlock: func(_ context.Context, pass []byte) error {
			if string(pass) != "right" {
				return custodian.ErrPassphrase
			}
			return nil
		},
		Lock:     func() { f.locked.Add(1) },
		Queue:    func(context.Context, string, bool) (Queue, error) { return Queue{}, nil },
		Review:   func(context.Context, string) error { return custodian.ErrOtherBundle },
		Case:     func(string) *Case { return nil },
		Exhibit:  func(string, string) ([]byte, error) { return nil, ErrUnread },
		Answered: func(string) (Answered, error) { return f.answered, nil },
		Approves: func(string) string { return "" },
		Do: func(ctx context.Context, a Deed, confirm func(string) error) (string, error) {
			if a.Kind != Again {
				if err := confirm("This is signed: " + a.Text); err != nil {
					return "", err
				}
			}
			if f.slow != nil {
				<-f.slow
			}
			f.asked.Add(1)
			return "asked", ctx.Err()
		},
		Endorse: func(_ context.Context, bundle, _ []byte, confirm func(string) error) (string, error) {
			return "an endorsement", confirm("a bundle of " + string(bundle))
		},
		Ceremony: func(_ context.Context, file []byte, agreed string) (string, string, error) {
			if agreed == "" {
				return "", "plan " + string(file), custodian.ErrNotAgreed
			}
			return "the key is made", "", nil
		},
		Seat: f.seat(),
		Witness: func(context.Context) (Witness, error) {
			return Witness{Name: "alba.example", Evidence: []string{"split-view-0.json"}, Size: 40, Behind: 2}, nil
		},
	}
}

// at is a desk that is served, with what a browser needs for it.
type at struct {
	*Desk
	t      testing.TB
	cookie *http.Cookie
	ended  chan error
}

func serve(t testing.TB, f *fake, idle, stop time.Duration) *at {
	t.Helper()
	return serveWith(t, Options{Custodian: f.custodian(), Idle: idle, Stop: stop})
}

// serveWith serves a desk of anybody.
func serveWith(t testing.TB, o Options) *at {
	t.Helper()
	t.Setenv("TMPDIR", t.TempDir())
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	o.Now = time.Now
	o.Explain = func(err error) *registrar.Problem {
		if e := refusal.Of(err); e != nil {
			return &registrar.Problem{Code: e.Code, Title: e.Mend}
		}
		return &registrar.Problem{Code: "failed", Title: err.Error()}
	}
	d, err := New(o, ln)
	if err != nil {
		t.Fatal(err)
	}
	a := &at{Desk: d, t: t, ended: make(chan error, 1)}
	ctx, end := context.WithCancel(context.Background())
	go func() { a.ended <- d.Serve(ctx) }()
	t.Cleanup(end)
	return a
}

// entered is such a desk whose link was opened.
func entered(t testing.TB, f *fake) *at {
	t.Helper()
	return enteredBy(t, Options{Custodian: f.custodian()})
}

// enteredBy is a desk of anybody whose link was opened.
func enteredBy(t testing.TB, o Options) *at {
	t.Helper()
	o.Idle, o.Stop = time.Hour, time.Hour
	a := serveWith(t, o)
	res, _ := a.do(http.MethodGet, "/enter/"+a.newLink(), nil)
	for _, c := range res.Cookies() {
		a.cookie = c
	}
	if a.cookie == nil {
		t.Fatal("no session: ", res.Status)
	}
	return a
}

// agrees is what a form says that agrees to what is shown of a draft.
func (a *at) agrees(form, shown string) string { return a.draft(form).agreement(shown) }

// newLink is the secret of a new link.
func (a *at) newLink() string {
	a.t.Helper()
	name, err := a.LinkFile()
	if err != nil {
		a.t.Fatal(err)
	}
	content, err := os.ReadFile(name)
	if err != nil {
		a.t.Fatal(err)
	}
	return regexp.MustCompile(`/enter/([A-Za-z0-9_-]{22})"`).FindStringSubmatch(string(content))[1]
}

// wire leads to the desk whatever it is called, as a browser's does: it asks nobody for names
// below localhost.
func (a *at) wire() *http.Transport {
	return &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, network, a.lns[0].Addr().String())
	}}
}

// do asks as a page of the desk does; edit changes that.
func (a *at) do(method, path string, form url.Values, edit ...func(*http.Request)) (*http.Response, string) {
	a.t.Helper()
	req, err := http.NewRequest(method, "http://"+a.host+a.prefix+path, strings.NewReader(form.Encode()))
	if err != nil {
		a.t.Fatal(err)
	}
	if req.Header.Set("Sec-Fetch-Site", "same-origin"); method == http.MethodPost {
		req.Header.Set("Origin", "http://"+a.host)
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	if a.cookie != nil {
		req.AddCookie(a.cookie)
	}
	for _, f := range edit {
		f(req)
	}
	res, err := a.wire().RoundTrip(req)
	if err != nil {
		a.t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		a.t.Fatal(err)
	}
	return res, string(body)
}

// begins presses a form, and returns once the desk has begun to do it. What it returns is closed
// when the browser has its answer, or ctx has ended.
func (a *at) begins(ctx context.Context, path string, values url.Values) <-chan struct{} {
	a.t.Helper()
	gone := make(chan struct{})
	go func() {
		defer close(gone)
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+a.host+a.prefix+path, strings.NewReader(values.Encode()))
		if err != nil {
			a.t.Error(err)
			return
		}
		req.Header.Set("Origin", "http://"+a.host)
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		req.AddCookie(a.cookie)
		if res, err := a.wire().RoundTrip(req); err == nil {
			res.Body.Close()
		}
	}()
	eventually(a.t, func() bool {
		a.mu.Lock()
		defer a.mu.Unlock()
		return a.presses[values.Get("press")].begun
	})
	return gone
}

func (a *at) unlock() {
	a.t.Helper()
	if res, body := a.do(http.MethodPost, "/unlock", url.Values{"press": {a.newPress()}, "passphrase": {"right"}, "to": {"/"}}); res.StatusCode != http.StatusSeeOther {
		a.t.Fatal(res.Status, body)
	}
}

func header(name, value string) func(*http.Request) {
	return func(r *http.Request) {
		if r.Header.Del(name); value != "" {
			r.Header.Set(name, value)
		}
	}
}

// TestDeskIsShutToOthers: a name that leads here, a page from elsewhere, another user and another
// program of this machine get nothing and do nothing.
func TestDeskIsShutToOthers(t *testing.T) {
	f := &fake{}
	a := entered(t, f)
	a.unlock()
	host := func(h string) func(*http.Request) { return func(r *http.Request) { r.Host = h } }
	port := a.host[strings.Index(a.host, ":"):]
	noCookie := header("Cookie", "")
	for name, c := range map[string]struct {
		method, path string
		edit         []func(*http.Request)
		want         int
	}{
		"the desk itself":                       {"GET", "/", nil, 200},
		"typed into the browser":                {"GET", "/", []func(*http.Request){header("Sec-Fetch-Site", "none")}, 200},
		"a name bound anew":                     {"GET", "/", []func(*http.Request){host("evil.example" + port)}, 421},
		"localhost, another origin":             {"GET", "/", []func(*http.Request){host("localhost" + port)}, 421},
		"its name without the port":             {"GET", "/", []func(*http.Request){host(strings.TrimSuffix(a.host, port))}, 421},
		"its address, another origin":           {"GET", "/", []func(*http.Request){host("127.0.0.1" + port)}, 421},
		"its other address":                     {"GET", "/", []func(*http.Request){host("[::1]" + port)}, 421},
		"another name below localhost":          {"GET", "/", []func(*http.Request){host(label() + ".localhost" + port)}, 421},
		"a name below its own":                  {"GET", "/", []func(*http.Request){host("x." + a.host)}, 421},
		"its name by another root":              {"GET", "/", []func(*http.Request){host(strings.Replace(a.host, ":", ".:", 1))}, 421},
		"its forms by its address":              {"POST", "/lock", []func(*http.Request){host("127.0.0.1" + port), header("Origin", "http://127.0.0.1"+port)}, 421},
		"a name bound anew, with its own forms": {"POST", "/lock", []func(*http.Request){host("evil.example" + port), header("Origin", "http://evil.example"+port)}, 421},
		"a link on another page":                {"GET", "/", []func(*http.Request){header("Sec-Fetch-Site", "cross-site")}, 403},
		"a page of another port":                {"GET", "/", []func(*http.Request){header("Sec-Fetch-Site", "same-site")}, 403},
		"a form of another page":                {"POST", "/lock", []func(*http.Request){header("Origin", "https://evil.example"), header("Sec-Fetch-Site", "cross-site")}, 403},
		"a form of an old browser elsewhere":    {"POST", "/lock", []func(*http.Request){header("Origin", "https://evil.example"), header("Sec-Fetch-Site", "")}, 403},
		"a form without an origin":              {"POST", "/lock", []func(*http.Request){header("Origin", ""), header("Sec-Fetch-Site", "")}, 403},
		"a form in a frame without one":         {"POST", "/lock", []func(*http.Request){header("Origin", "null")}, 403},
		"a form of another port":                {"POST", "/lock", []func(*http.Request){header("Origin", "http://127.0.0.1:1"), header("Sec-Fetch-Site", "same-site")}, 403},
		"a form that says it is from another":   {"POST", "/lock", []func(*http.Request){header("Sec-Fetch-Site", "same-site")}, 403},
		"another user":                          {"GET", "/", []func(*http.Request){noCookie}, 403},
		"another user who writes":               {"POST", "/lock", []func(*http.Request){noCookie}, 403},
		"a cookie of another port":              {"GET", "/", []func(*http.Request){header("Cookie", "desk=AAAAAAAAAAAAAAAAAAAAAA")}, 403},
		"an empty cookie":                       {"GET", "/", []func(*http.Request){header("Cookie", "desk=")}, 403},
		"such a cookie beside the right one":    {"GET", "/", []func(*http.Request){header("Cookie", "desk=AAAAAAAAAAAAAAAAAAAAAA; desk="+a.cookie.Value)}, 200},
		"another way to ask":                    {"PUT", "/", nil, 405},
		"what browsers ask first":               {"OPTIONS", "/lock", []func(*http.Request){header("Origin", "https://evil.example"), header("Access-Control-Request-Method", "POST")}, 405},
	} {
		res, body := a.do(c.method, c.path, nil, c.edit...)
		if res.StatusCode != c.want {
			t.Errorf("%s: %d: %s", name, res.StatusCode, body)
		}
		if res.StatusCode != 200 && (strings.Contains(body, "alba") || strings.Contains(body, a.prefix) || strings.Contains(body, a.host) || strings.Contains(body, "Alba")) {
			t.Errorf("%s learns something: %s", name, body)
		}
		for _, h := range []string{"Access-Control-Allow-Origin", "Set-Cookie"} {
			if res.Header.Get(h) != "" {
				t.Errorf("%s: %s", name, h)
			}
		}
		for h, want := range map[string]string{"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff", "X-Frame-Options": "DENY",
			"Content-Security-Policy": policyOfPages, "Cross-Origin-Resource-Policy": "same-origin"} {
			if got := res.Header.Get(h); got != want {
				t.Errorf("%s: %s: %q", name, h, got)
			}
		}
	}
	if n := f.locked.Load(); n != 0 {
		t.Error("somebody else locked the desk: ", n)
	}
	for _, path := range []string{"/", "/style.css", a.prefix[:len(a.prefix)-1] + "/", a.prefix[1:] + "/", "/" + secret() + "/", a.prefix, a.prefix + "x/"} {
		w := httptest.NewRecorder()
		r := httptest.NewRequest(http.MethodGet, "http://"+a.host+"/", nil)
		r.URL.Path = path
		r.AddCookie(a.cookie)
		if a.ServeHTTP(w, r); w.Code != http.StatusNotFound {
			t.Errorf("%s: %d", path, w.Code)
		}
	}
}

// TestDeskOpensOnce: a link lets one browser in, once, within its minute, and the cookie is for
// this desk alone.
func TestDeskOpensOnce(t *testing.T) {
	a := serve(t, &fake{}, time.Hour, time.Hour)
	file, err := a.LinkFile()
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]os.FileMode{file: 0o600, filepath.Dir(file): 0o700} {
		if info, err := os.Stat(name); err != nil || info.Mode().Perm() != want {
			t.Errorf("%s: %v %v", name, info, err)
		}
	}
	link := a.link
	elsewhere := header("Sec-Fetch-Site", "cross-site") // from a file
	if res, _ := a.do(http.MethodGet, "/enter/"+secret(), nil, elsewhere); res.StatusCode != 403 {
		t.Error("a guess: ", res.Status)
	}
	if res, _ := a.do(http.MethodHead, "/enter/"+link, nil, elsewhere); res.StatusCode != 403 {
		t.Error("a look ahead: ", res.Status)
	}
	res, _ := a.do(http.MethodGet, "/enter/"+link, nil, elsewhere)
	if got := res.Header.Get("Set-Cookie"); res.StatusCode != 200 || !regexp.MustCompile(`^desk=[A-Za-z0-9_-]{22}; Path=`+a.prefix+`/; HttpOnly; SameSite=Strict$`).MatchString(got) {
		t.Error(res.Status, got)
	}
	if _, err := os.Stat(filepath.Dir(file)); !errors.Is(err, os.ErrNotExist) {
		t.Error("the file stays: ", err)
	}
	if res, _ := a.do(http.MethodGet, "/enter/"+link, nil, elsewhere); res.StatusCode != 403 || res.Header.Get("Set-Cookie") != "" {
		t.Error("the link works twice: ", res.Status)
	}
	if res, _ := a.do(http.MethodGet, "/enter/", nil, elsewhere); res.StatusCode != 403 {
		t.Error("no link at all: ", res.Status)
	}
	first := res.Cookies()[0]
	a.do(http.MethodGet, "/enter/"+a.newLink(), nil, elsewhere)
	a.cookie = first
	if res, _ := a.do(http.MethodGet, "/", nil); res.StatusCode != 403 {
		t.Error("the session of before goes on: ", res.Status)
	}
	a.linkLife = time.Nanosecond
	if late, err := a.LinkFile(); err == nil {
		eventually(t, func() bool { _, err := os.Stat(late); return errors.Is(err, os.ErrNotExist) })
	}
	a.linkLife = time.Minute
	a.newLink()
	a.mu.Lock()
	a.linkEnds, link = time.Now().Add(-time.Second), a.Desk.link
	a.mu.Unlock()
	if res, _ := a.do(http.MethodGet, "/enter/"+link, nil, elsewhere); res.StatusCode != 403 {
		t.Error("it works after its minute: ", res.Status)
	}
}

// TestDeskListensOnLoopbackOnly: no other machine reaches a desk.
func TestDeskListensOnLoopbackOnly(t *testing.T) {
	for _, addresses := range [][]string{{}, {"0.0.0.0:0"}, {"[::1]:0"}, {"127.0.0.2:0"}, {"127.0.0.1:0", "127.0.0.1:0"}, {"127.0.0.1:0", "[::1]:0"}, {"127.0.0.1:0", "[::]:0"}} {
		var lns []net.Listener
		for _, address := range addresses {
			if ln, err := net.Listen("tcp", address); err == nil { // else this machine has no such address
				lns = append(lns, ln)
				defer ln.Close()
			}
		}
		if len(lns) < len(addresses) {
			continue
		}
		if _, err := New(Options{}, lns...); !errors.Is(err, ErrNotLoopback) {
			t.Errorf("%s: %v", addresses, err)
		}
	}
}

// TestNobodyListensBesideADesk: the desk has its port on both addresses that a browser may try, or
// takes another one; where there is no ::1 it has the one.
func TestNobodyListensBesideADesk(t *testing.T) {
	var taken []string
	lns, err := Listen(func(network, address string) (net.Listener, error) {
		if network == "tcp6" && len(taken) < 3 {
			taken = append(taken, address)
			return nil, &net.OpError{Op: "listen", Err: os.NewSyscallError("bind", syscall.EADDRINUSE)}
		}
		ln, err := net.Listen(network, address)
		if err != nil && !errors.Is(err, syscall.EADDRINUSE) {
			t.Skip("this machine has no ::1: ", err)
		}
		return ln, err
	})
	if err != nil || len(lns) != 2 {
		t.Fatal(lns, err)
	}
	port := func(ln net.Listener) int { return ln.Addr().(*net.TCPAddr).Port }
	if port(lns[0]) != port(lns[1]) || strings.Contains(strings.Join(taken, " "), fmt.Sprint("[::1]:", port(lns[0]), " ")) {
		t.Error(lns[0].Addr(), lns[1].Addr(), taken)
	}
	for _, address := range []string{lns[0].Addr().String(), lns[1].Addr().String(), fmt.Sprint("0.0.0.0:", port(lns[0])), fmt.Sprint("[::]:", port(lns[0]))} {
		if ln, err := net.Listen("tcp", address); err == nil {
			t.Error("somebody else listens on ", address)
			ln.Close()
		}
	}
	if _, err := New(Options{Custodian: (&fake{}).custodian(), Idle: time.Hour, Stop: time.Hour}, lns...); err != nil {
		t.Error(err)
	}
	for _, ln := range lns {
		ln.Close()
	}
	alone, err := Listen(func(network, address string) (net.Listener, error) {
		if network == "tcp6" {
			return nil, os.NewSyscallError("bind", syscall.EADDRNOTAVAIL)
		}
		return net.Listen(network, address)
	})
	if err != nil || len(alone) != 1 {
		t.Fatal(alone, err)
	}
	alone[0].Close()
	if _, err := Listen(func(network, address string) (net.Listener, error) {
		if network == "tcp6" {
			return nil, syscall.EADDRINUSE
		}
		return net.Listen(network, address)
	}); err == nil {
		t.Error("a desk beside somebody else")
	}
}

// TestDeskIsCalledAnewEachTime: nobody can have been where a desk is.
func TestDeskIsCalledAnewEachTime(t *testing.T) {
	one, other := serve(t, &fake{}, time.Hour, time.Hour), serve(t, &fake{}, time.Hour, time.Hour)
	name := regexp.MustCompile(`^[0-9a-f]{32}\.localhost:[0-9]+$`)
	if !name.MatchString(one.host) || !name.MatchString(other.host) || one.host[:32] == other.host[:32] {
		t.Error(one.host, other.host)
	}
}

// TestDeskIsIdle: without use the keys are dropped once, then the desk ends.
func TestDeskIsIdle(t *testing.T) {
	f := &fake{}
	a := serve(t, f, 50*time.Millisecond, 400*time.Millisecond)
	eventually(t, func() bool { return f.locked.Load() > 0 })
	select {
	case err := <-a.ended:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(30 * time.Second):
		t.Error("it does not end")
	}
}

// TestWhatRunsIsUse: a desk does not lock itself while it does something, and locks once that is
// done; the button locks it all the same.
func TestWhatRunsIsUse(t *testing.T) {
	f := &fake{slow: make(chan struct{})}
	a := entered(t, f)
	a.unlock()
	form := "/case/" + anID + "/ask"
	a.post(form, url.Values{"text": {"Which one?"}})
	sign, done := url.Values{"agreed": {a.agrees(form, "This is signed: Which one?")}}, make(chan struct{})
	go func() {
		defer close(done)
		a.post(form+"/sign", sign)
	}()
	runs := func() bool {
		a.mu.Lock()
		defer a.mu.Unlock()
		return a.running > 0
	}
	eventually(t, runs)
	a.idled()
	if f.locked.Load() != 0 {
		t.Error("it locks itself in the middle")
	}
	a.post("/lock", url.Values{})
	if f.locked.Load() != 1 {
		t.Error("the button does not lock it")
	}
	close(f.slow)
	<-done
	eventually(t, func() bool { return !runs() })
	a.idled()
	if f.locked.Load() != 2 {
		t.Error("it does not lock itself")
	}
}

// TestLockedWhileItIsUnlocked: a desk that was locked while its keys were opened stays locked, and
// has no keys.
func TestLockedWhileItIsUnlocked(t *testing.T) {
	f := &fake{}
	o := Options{Custodian: f.custodian()}
	var a *at
	o.Custodian.Unlock = func(context.Context, []byte) error {
		a.relock()
		return nil
	}
	a = enteredBy(t, o)
	_, body := a.post("/unlock", url.Values{"passphrase": {"right"}, "to": {"/"}})
	has(t, body, "desk.locked", `name="passphrase"`)
	if a.unlocked || f.locked.Load() != 2 {
		t.Errorf("unlocked: %v, keys dropped %d times", a.unlocked, f.locked.Load())
	}
}

// TestDeskActsOnce: a form that is sent five times at once, whose browser broke off the first,
// acts once; one of a page that is not known acts not at all, and what was typed stays.
func TestDeskActsOnce(t *testing.T) {
	f := &fake{slow: make(chan struct{})}
	a := entered(t, f)
	a.unlock()
	form := "/case/" + anID + "/ask"
	typed := url.Values{"text": {"Which one?"}, "press": {a.newPress()}}
	if res, _ := a.do(http.MethodPost, form, typed); !strings.HasSuffix(res.Header.Get("Location"), form) {
		t.Fatal(res.Header)
	}
	_, body := a.do(http.MethodGet, form, nil)
	if !strings.Contains(body, "This is signed: Which one?") {
		t.Fatal(body)
	}
	sign := url.Values{"agreed": {a.agrees(form, "This is signed: Which one?")}, "press": {a.newPress()}}
	broken, leave := context.WithCancel(t.Context())
	gone := a.begins(broken, form+"/sign", sign)
	leave()
	<-gone
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			if res, _ := a.do(http.MethodPost, form+"/sign", sign); !strings.HasSuffix(res.Header.Get("Location"), "/case/"+anID) {
				t.Error(res.Status, res.Header.Get("Location"))
			}
		})
	}
	close(f.slow)
	all.Wait()
	if n := f.asked.Load(); n != 1 {
		t.Errorf("%d times", n)
	}
	if _, body := a.do(http.MethodGet, "/case/"+anID, nil); !strings.Contains(body, "asked") {
		t.Error("what was done is not said: ", body)
	}
	a.do(http.MethodPost, form, url.Values{"text": {"typed on an old page"}, "press": {secret()}})
	a.do(http.MethodPost, form+"/sign", url.Values{"agreed": {a.agrees(form, "This is signed: typed on an old page")}})
	if n := f.asked.Load(); n != 1 {
		t.Errorf("a form that was never shown acted: %d", n)
	}
	a.do(http.MethodPost, "/unlock", url.Values{"passphrase": {"right"}, "press": {secret()}})
	for form, f := range a.drafts {
		if f.values.Get("passphrase") != "" {
			t.Error("a passphrase is kept: ", form)
		}
	}
	if f := a.draft(form); f.values.Get("text") != "typed on an old page" || f.problem.Code != "desk.old_page" {
		t.Errorf("%+v", f)
	}
}

// TestDeskKeepsFiles: a bundle and a plan that were chosen stay until they are done, and what
// they say is shown before anything is signed.
func TestDeskKeepsFiles(t *testing.T) {
	a := entered(t, &fake{})
	a.unlock()
	send := func(path, field, content string, more map[string]string) {
		t.Helper()
		var body bytes.Buffer
		fmt.Fprintf(&body, "--x\r\nContent-Disposition: form-data; name=\"press\"\r\n\r\n%s\r\n", a.newPress())
		for name, value := range more {
			fmt.Fprintf(&body, "--x\r\nContent-Disposition: form-data; name=%q\r\n\r\n%s\r\n", name, value)
		}
		fmt.Fprintf(&body, "--x\r\nContent-Disposition: form-data; name=%q; filename=\"\u202egpj.json\"\r\n\r\n%s\r\n--x--\r\n", field, content)
		res, said := a.do(http.MethodPost, path, nil, header("Content-Type", "multipart/form-data; boundary=x"), func(r *http.Request) {
			r.Body, r.ContentLength = io.NopCloser(&body), int64(body.Len())
		})
		if res.StatusCode != http.StatusSeeOther {
			t.Fatal(res.Status, said)
		}
	}
	shows := func(path string, want ...string) {
		t.Helper()
		_, body := a.do(http.MethodGet, path, nil)
		for _, w := range want {
			if !strings.Contains(body, w) {
				t.Errorf("%s does not show %q: %s", path, w, body)
			}
		}
		if strings.Contains(body, "\u202e") {
			t.Error("a mark turns the line round")
		}
	}
	send("/rules", "bundle", "", nil)
	shows("/rules", "Choose the file.", `aria-invalid="true"`)
	send("/rules", "bundle", "rules", nil)
	shows("/rules/sign", "a bundle of rules", "Nothing is signed yet")
	a.do(http.MethodPost, "/rules/sign", url.Values{"press": {a.newPress()}, "agreed": {"another"}})
	shows("/rules/sign", "a bundle of rules", "desk.changed")
	a.do(http.MethodPost, "/rules/sign", url.Values{"press": {a.newPress()}, "agreed": {a.agrees("/rules", "a bundle of rules")}})
	shows("/rules", "an endorsement")
	send("/ceremony", "plan", "of three", nil)
	shows("/ceremony", "plan of three", "agreed to nothing yet", "by telephone", "gpj.json")
	if _, body := a.do(http.MethodGet, "/ceremony", nil); strings.Contains(body, "custodian.plan_not_agreed") || strings.Contains(body, `id="problem"`) {
		t.Error("how a ceremony begins is shown as an error")
	}
	send("/ceremony", "plan", "", map[string]string{"hash": "3f29"}) // the plan is kept
	shows("/ceremony", "the key is made", `value="3f29"`)
	shows("/witness", "alba.example", "It does not run", "two histories", "split-view-0.json")
	shows("/nothing", "There is no such page")
}

// TestDeskIsUnlockedByItsPassphrase: nothing is shown before, and unlocking leads nowhere else.
func TestDeskIsUnlockedByItsPassphrase(t *testing.T) {
	a := entered(t, &fake{})
	for _, path := range []string{"/", "/rules", "/ceremony", "/witness", "/case/" + anID} {
		if _, body := a.do(http.MethodGet, path, nil); !strings.Contains(body, "Passphrase") || strings.Contains(body, "No case waits") {
			t.Error(path, body)
		}
	}
	a.do(http.MethodPost, "/unlock", url.Values{"press": {a.newPress()}, "passphrase": {"wrong <b>"}})
	if _, body := a.do(http.MethodGet, "/", nil); !strings.Contains(body, "custodian.wrong_passphrase") || strings.Contains(body, "wrong <b>") || strings.Contains(body, "wrong &lt;b") {
		t.Error(body)
	}
	for to, want := range map[string]string{"/rules": "/rules", "//evil.example": "/", "https://evil.example": "/", "/\\evil.example": "/", "": "/", "/case/x?from=1": "/case/x?from=1", "javascript:alert(1)": "/"} {
		res, _ := a.do(http.MethodPost, "/unlock", url.Values{"press": {a.newPress()}, "passphrase": {"right"}, "to": {to}})
		if got := res.Header.Get("Location"); got != a.prefix+want {
			t.Errorf("%q leads to %q", to, got)
		}
	}
}

// TestPicture: what is drawn has the points and nothing else; what is none, or too large, is not.
func TestPicture(t *testing.T) {
	small, large := image.NewPaletted(image.Rect(0, 0, 3, 2), palette.WebSafe), image.NewGray(image.Rect(0, 0, 5000, 10))
	for name, encode := range map[string]func(io.Writer) error{
		"gif": func(w io.Writer) error { return gif.Encode(w, small, nil) }, "jpeg": func(w io.Writer) error { return jpeg.Encode(w, large, nil) }, "png": func(w io.Writer) error { return png.Encode(w, large) },
	} {
		var in, out bytes.Buffer
		if err := encode(&in); err != nil {
			t.Fatal(err)
		}
		in.WriteString("<script>")
		if err := Picture(&out, &in); err != nil || Drawn(out.Bytes()) != nil || bytes.Contains(out.Bytes(), []byte("<script>")) {
			t.Errorf("%s: %v", name, err)
		}
	}
	header := append([]byte("IHDR"), 0, 0, 0xea, 0x60, 0, 0, 0xea, 0x60, 8, 6, 0, 0, 0) // 60,000 × 60,000
	bomb := append([]byte("\x89PNG\r\n\x1a\n\x00\x00\x00\x0d"), header...)
	bomb = binary.BigEndian.AppendUint32(bomb, crc32.ChecksumIEEE(header))
	webp, err := base64.StdEncoding.DecodeString("UklGRhoAAABXRUJQVlA4TA0AAAAvAAAAEAcQERGIiP4HAA==") // one point, without loss
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if err := Picture(&out, bytes.NewReader(append(webp, "<script>"...))); err != nil || Drawn(out.Bytes()) != nil || bytes.Contains(out.Bytes(), []byte("<script>")) {
		t.Errorf("webp: %v", err)
	}
	large16 := bytes.Clone(webp) // which says that it is 16,384 points wide and high
	copy(large16[21:], "\xff\xff\xff\x0f")
	film := append([]byte("RIFF\x16\x00\x00\x00WEBPVP8X\x0a\x00\x00\x00\x02\x00\x00\x00"), 0, 0, 0, 0, 0, 0) // which moves
	liar := append([]byte("RIFF\x30\x00\x00\x00WEBPVP8X\x0a\x00\x00\x00\x00\x00\x00\x00"), 0, 0, 0, 0, 0, 0) // of one point, with such a large one in it
	liar = append(liar, large16[12:]...)
	for name, content := range map[string][]byte{"a bomb": bomb, "a WebP bomb": large16, "a WebP that moves": film, "a WebP that lies": liar, "nothing": nil, "HTML": []byte("<html><script>alert(1)</script>"), "SVG": []byte(`<svg xmlns="http://www.w3.org/2000/svg" onload="alert(1)"/>`), "too long": make([]byte, MaxPicture+1)} {
		var out bytes.Buffer
		if err := Picture(&out, bytes.NewReader(content)); !errors.Is(err, ErrPicture) || out.Len() > 0 {
			t.Errorf("%s: %v, %d bytes", name, err, out.Len())
		}
		if err := Drawn(content); !errors.Is(err, ErrPicture) {
			t.Errorf("%s counts as drawn", name)
		}
	}
}

func eventually(t testing.TB, is func() bool) {
	t.Helper()
	for again, end := time.NewTicker(10*time.Millisecond), time.Now().Add(30*time.Second); !is(); <-again.C {
		if time.Now().After(end) {
			t.Fatal("it does not happen")
		}
	}
}

// FuzzGate: whatever is asked, without the cookie nothing of the desk is answered, and with it
// nothing that is no page of it.
func FuzzGate(f *testing.F) {
	for _, path := range []string{"/", "/enter/", "/case/" + anID, "/../", "//", "/%2e%2e/", "/case/" + anID + "/exhibit/x/download", "/style.css"} {
		f.Add("GET", path, "127.0.0.1:1", "same-origin", false)
		f.Add("POST", path, "evil.example", "", true)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		f.Fatal(err)
	}
	defer ln.Close()
	c := &fake{}
	d, err := New(Options{Custodian: c.custodian(), Idle: time.Hour, Stop: time.Hour, Now: time.Now, Explain: func(err error) *registrar.Problem { return &registrar.Problem{Title: err.Error()} }}, ln)
	if err != nil {
		f.Fatal(err)
	}
	d.session = secret()
	fuzzing.Run(f, func(t *testing.T, method, path, host, site string, mine bool) {
		r := httptest.NewRequest(http.MethodGet, "http://"+d.host+"/", nil)
		r.Method, r.URL.Path = method, d.prefix+path
		r.Header.Set("Sec-Fetch-Site", site)
		if !mine {
			r.Host = host
			if host == "127.0.0.1:1" {
				r.Host = d.host
			}
		} else {
			r.AddCookie(&http.Cookie{Name: cookie, Value: d.session})
		}
		w := httptest.NewRecorder()
		d.ServeHTTP(w, r)
		if !mine && (w.Code < 400 || strings.Contains(w.Body.String(), d.prefix) || w.Header().Get("Set-Cookie") != "") {
			t.Errorf("%s %q of %q: %d", method, path, r.Host, w.Code)
		}
		if to := w.Header().Get("Location"); to != "" && (strings.HasPrefix(to, "//") || strings.Contains(to, "://") || strings.Contains(to, "\\")) {
			t.Errorf("%s %q leads to %q", method, path, to)
		}
		if c.asked.Load()+c.locked.Load() > 0 {
			t.Errorf("%s %q did something", method, path)
		}
	})
}
