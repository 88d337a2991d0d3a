package integration

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"path"
	"regexp"
	"strings"
	"time"

	"golang.org/x/net/html"

	"github.com/penname/penname/verifier/document"
)

const (
	maxPage = 1 << 20 // bytes that are read of an answer
	maxHops = 10      // redirects in a row
	maxTry  = 5       // buttons and links of a page
	timeout = 20 * time.Second
)

// browser is like a person's: it keeps cookies, and follows redirects one by one.
type browser struct {
	http    *http.Client
	now     func() time.Time
	cookies []cookie // all that were set, as they were set
}

// cookie is one that was set by an answer from an address.
type cookie struct {
	*http.Cookie
	from *url.URL
}

// reaches reports whether a browser sends c to an address (RFC 6265, 5.1.3 and 5.1.4).
func (c cookie) reaches(to *url.URL) bool {
	domain, dir := strings.TrimPrefix(c.Domain, "."), c.Path
	if !strings.HasPrefix(dir, "/") {
		dir = path.Dir("/" + strings.TrimPrefix(c.from.Path, "/"))
	}
	host := to.Hostname() == c.from.Hostname() || domain != "" && (to.Hostname() == domain || strings.HasSuffix(to.Hostname(), "."+domain))
	return host && (to.Path == dir || strings.HasPrefix(to.Path, strings.TrimSuffix(dir, "/")+"/"))
}

func (e *examination) newBrowser() *browser {
	jar, _ := cookiejar.New(nil) // never fails
	b := &browser{now: e.Now, http: &http.Client{Jar: jar, Timeout: timeout, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}}
	if e.HTTP != nil {
		b.http.Transport = e.HTTP.Transport
	}
	return b
}

// page is one answer.
type page struct {
	at     *url.URL
	status int
	header http.Header
	body   []byte
	tls    *tls.ConnectionState
	ahead  *time.Duration // its clock (Date), before this machine's; nil if it does not tell
}

// request is what a link, a form or a redirect asks for.
type request struct {
	to   *url.URL
	form url.Values // posted; nil: GET
}

// params are those of the query and of the form.
func (r request) params() url.Values {
	all := r.to.Query()
	for name, values := range r.form {
		all[name] = append(all[name], values...)
	}
	return all
}

// authorizes reports whether r is an authorization request (RFC 6749, 4.1.1; RFC 9126, 4).
func (r request) authorizes() bool {
	p := r.params()
	return p.Has("client_id") && (p.Has("response_type") || p.Has("request_uri") || p.Has("redirect_uri"))
}

func (b *browser) send(ctx context.Context, r request) (*page, error) {
	method, body := http.MethodGet, io.Reader(nil)
	if r.form != nil {
		method, body = http.MethodPost, strings.NewReader(r.form.Encode())
	}
	req, err := http.NewRequestWithContext(ctx, method, r.to.String(), body)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Accept", "text/html, application/json;q=0.9, */*;q=0.1")
	if r.form != nil {
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	res, err := b.http.Do(req)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	content, err := io.ReadAll(io.LimitReader(res.Body, maxPage))
	if err != nil {
		return nil, err
	}
	for _, c := range res.Cookies() {
		b.cookies = append(b.cookies, cookie{c, r.to})
	}
	p := &page{at: r.to, status: res.StatusCode, header: res.Header, body: content, tls: res.TLS}
	if date, err := http.ParseTime(res.Header.Get("Date")); err == nil {
		ahead := date.Sub(b.now())
		p.ahead = &ahead
	}
	return p, nil
}

// follow sends r and goes where it is redirected, but for an authorization request,
// which it returns without sending it.
func (b *browser) follow(ctx context.Context, r request) (last *page, asks *request, err error) {
	for range maxHops {
		if r.authorizes() {
			return last, &r, nil
		}
		if last, err = b.send(ctx, r); err != nil {
			return nil, nil, err
		}
		location := last.header.Get("Location")
		if last.status < 300 || last.status > 399 || location == "" {
			return last, nil, nil
		}
		to, err := last.at.Parse(location)
		if err != nil {
			return nil, nil, errLocation
		}
		// RFC 9110, 15.4: 307 and 308 keep the method.
		if last.status != http.StatusTemporaryRedirect && last.status != http.StatusPermanentRedirect {
			r.form = nil
		}
		if r.to = to; !r.authorizes() && !document.Secure(to, document.Localhost) {
			return nil, nil, errPlain
		}
	}
	return nil, nil, errLoop
}

var (
	errLocation = errors.New("it redirects to what is no address")
	errPlain    = errors.New("it redirects to an address that is not https")
	errLoop     = errors.New("it redirects more than ten times")
)

// journey is the beginning of a sign-in, in a browser of its own.
type journey struct {
	browser *browser
	last    *page    // of the platform, before the authorization request
	asks    *request // the authorization request, which was not sent
	params  url.Values
	err     error
}

// begin begins a sign-in: by the start's redirect, or else by a button or link on its page.
func (e *examination) begin(ctx context.Context) journey { return e.beginIn(ctx, e.newBrowser()) }

func (e *examination) beginIn(ctx context.Context, b *browser) (j journey) {
	j.browser = b
	start, err := url.Parse(e.Start)
	if err != nil {
		j.err = err
		return j
	}
	j.last, j.asks, j.err = b.follow(ctx, request{to: start})
	if j.err == nil && j.asks == nil {
		for i, choice := range e.choices(j.last) {
			if i == maxTry {
				break
			}
			if last, asks, err := b.follow(ctx, choice); err == nil && asks != nil {
				j.asks = asks
				if last != nil {
					j.last = last
				}
				break
			}
		}
	}
	if j.asks != nil {
		j.params = j.asks.params()
	}
	return j
}

var (
	signsIn  = regexp.MustCompile(`(?i)(sign|log)[ _-]?in|connect|penname|openid|oidc|oauth|sso|continue with`)
	signsOut = regexp.MustCompile(`(?i)(sign|log)[ _-]?(out|off)`)
)

// choices are the buttons and links of a page that may begin a sign-in: those with the
// text that the caller names, or else those that sound like it.
func (e *examination) choices(p *page) (all []request) {
	root, err := html.Parse(strings.NewReader(string(p.body)))
	if err != nil {
		return nil
	}
	for n := range root.Descendants() {
		if n.Type != html.ElementNode || n.Data != "form" && n.Data != "a" {
			continue
		}
		r, ok := requestOf(n, p.at)
		words := textOf(n)
		named := e.Button != "" && strings.Contains(words, e.Button)
		likely := e.Button == "" && signsIn.MatchString(words+" "+r.target()) && !signsOut.MatchString(words+" "+r.target())
		// A form that brings a whole request is sent by a script, whatever its button says.
		if ok && (named || likely || r.authorizes()) {
			all = append(all, r)
		}
	}
	return all
}

func (r request) target() string {
	if r.to == nil {
		return ""
	}
	return r.to.Path
}

// requestOf is what a form or a link of a page asks for.
func requestOf(n *html.Node, at *url.URL) (request, bool) {
	if n.Data == "a" {
		to, err := at.Parse(attribute(n, "href"))
		return request{to: to}, err == nil && (to.Scheme == "https" || to.Scheme == "http")
	}
	to, err := at.Parse(attribute(n, "action"))
	if err != nil {
		return request{}, false
	}
	fields := url.Values{}
	for d := range n.Descendants() {
		if d.Type == html.ElementNode && (d.Data == "input" || d.Data == "button") && attribute(d, "name") != "" {
			fields.Add(attribute(d, "name"), attribute(d, "value"))
		}
	}
	if strings.EqualFold(attribute(n, "method"), "post") {
		return request{to, fields}, true
	}
	to.RawQuery = fields.Encode()
	return request{to: to}, true
}

func attribute(n *html.Node, name string) string {
	for _, a := range n.Attr {
		if a.Key == name {
			return a.Val
		}
	}
	return ""
}

// textOf is what a person reads of a node, and the labels of its buttons.
func textOf(n *html.Node) string {
	var words []string
	for d := range n.Descendants() {
		switch {
		case d.Type == html.TextNode && d.Parent.Data != "style" && d.Parent.Data != "script":
			words = append(words, d.Data)
		case d.Data == "input" && attribute(d, "type") == "submit":
			words = append(words, attribute(d, "value"))
		}
	}
	return strings.Join(strings.Fields(strings.Join(words, " ")), " ")
}

// words is what a person reads of a page.
func (p *page) words() string {
	root, err := html.Parse(strings.NewReader(string(p.body)))
	if err != nil {
		return ""
	}
	return textOf(root)
}

// quote is the beginning of a text that is not ours.
func quote(s string) string {
	if len(s) > 200 {
		s = strings.ToValidUTF8(s[:200], "") + "…"
	}
	return "“" + s + "”"
}

// unreached is why an address did not answer, in words.
func unreached(err error) string {
	var name *net.DNSError
	var certificate *tls.CertificateVerificationError
	var record tls.RecordHeaderError
	var late interface{ Timeout() bool }
	switch {
	case errors.As(err, &certificate):
		return "its certificate is not good: " + certificate.Err.Error()
	case errors.As(err, &record):
		return "it does not speak TLS there"
	case errors.As(err, &name):
		return "its host name is not known"
	case errors.As(err, &late) && late.Timeout():
		return "it does not answer in time"
	case errors.Is(err, errLocation), errors.Is(err, errPlain), errors.Is(err, errLoop):
		return err.Error()
	}
	return "it cannot be reached"
}
