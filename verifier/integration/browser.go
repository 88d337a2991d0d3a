package integration

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"path"
	"regexp"
	"strings"
	"syscall"
	"time"

	"golang.org/x/net/html"

	"github.com/penname/penname/verifier/document"
)

const (
	maxPage = 1 << 20 // bytes that are read of an answer
	maxHops = 10      // redirects in a row
	maxTry  = 5       // buttons and links of a page
	timeout = 20 * time.Second

	maxExamination = 2 * time.Minute // what was not reached until then is found to be out of reach
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
	dir := c.Path
	if !strings.HasPrefix(dir, "/") {
		dir = path.Dir("/" + strings.TrimPrefix(c.from.Path, "/"))
	}
	host := to.Hostname() == c.from.Hostname() || c.Domain != "" && c.covers(to)
	return host && (to.Path == dir || strings.HasPrefix(to.Path, strings.TrimSuffix(dir, "/")+"/"))
}

// covers reports whether the host of an address is in the Domain of c.
func (c cookie) covers(at *url.URL) bool {
	domain := strings.ToLower(strings.TrimPrefix(c.Domain, "."))
	return at.Hostname() == domain || strings.HasSuffix(at.Hostname(), "."+domain)
}

// dropped says why browsers do not keep c, and how to mend it (RFC 6265bis, 5.7). It is
// "" for what they keep.
func (c cookie) dropped() (why, mend string) {
	switch {
	case c.Domain != "" && !c.covers(c.from):
		return "is for another host (Domain=" + c.Domain + ") than the one that sets it", "Leave Domain out."
	case c.SameSite == http.SameSiteNoneMode && !c.Secure:
		return "has SameSite=None without Secure", "Set Secure on it."
	case !c.Secure && strings.HasPrefix(c.Name, "__Secure-"), strings.HasPrefix(c.Name, "__Host-") && (!c.Secure || c.Domain != "" || c.Path != "/"):
		return "lacks what its name promises", "Set Secure on it, and for __Host- also Path=/ and no Domain."
	}
	return "", ""
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
	return p.Has("client_id") && (p.Has("response_type") || p.Has("request_uri") || p.Has("redirect_uri")) ||
		p.Has("response_type") && p.Has("redirect_uri") // which lacks the client_id
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
		if !document.Secure(r.to, document.Localhost) {
			return nil, nil, errPlain
		}
		if last, err = b.send(ctx, r); err != nil {
			return nil, nil, err
		}
		to, err := last.onward()
		if err != nil {
			return nil, nil, errLocation
		}
		if to == nil {
			return last, nil, nil
		}
		if to.Hostname() == elsewhere {
			return nil, nil, errElsewhere
		}
		// RFC 9110, 15.4: 307 and 308 keep the method.
		if last.status != http.StatusTemporaryRedirect && last.status != http.StatusPermanentRedirect {
			r.form = nil
		}
		r.to = to
	}
	return nil, nil, errLoop
}

// lost is why a browser goes no further.
type lost string

func (l lost) Error() string { return string(l) }

const (
	errLocation  = lost("it redirects to what is no address")
	errPlain     = lost("it leads to an address that is not https")
	errLoop      = lost("it redirects more than ten times")
	errElsewhere = lost("it redirects to an address that the answer names")
	errRequest   = lost("it is itself a request to an issuer")
)

// refresh is the content of a page's meta element that leads a browser to another address
// within seconds (HTML, 4.2.5.3).
var refresh = regexp.MustCompile(`^\s*\d\s*[;,]\s*(?i:url\s*=\s*)?['"]?([^'"]+)`)

// onward is where an answer sends the browser without a person: by a redirect, or by a
// page that leads on. It is nil if it sends it nowhere.
func (p *page) onward() (*url.URL, error) {
	if location := p.header.Get("Location"); p.status >= 300 && p.status < 400 && location != "" {
		return p.at.Parse(location)
	}
	for n := range p.root().Descendants() {
		if n.Type != html.ElementNode || n.Data != "meta" || !strings.EqualFold(attribute(n, "http-equiv"), "refresh") {
			continue
		}
		if found := refresh.FindStringSubmatch(attribute(n, "content")); found != nil {
			to, err := p.at.Parse(strings.TrimSpace(found[1]))
			if err == nil && to.String() == p.at.String() {
				return nil, nil // it only loads itself again
			}
			return to, err
		}
	}
	return nil, nil
}

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
	for n := range p.root().Descendants() {
		if n.Type != html.ElementNode || n.Data != "form" && n.Data != "a" {
			continue
		}
		r, ok := requestOf(n, p.at)
		words := textOf(n)
		named := e.Button != "" && strings.Contains(words, e.Button)
		likely := e.Button == "" && signsIn.MatchString(words+" "+r.target()) && !signsOut.MatchString(words+" "+r.target())
		// A form that brings a whole request is sent by a script, whatever its button says.
		// Any other is posted to the platform's own host only.
		own := r.form == nil || r.to != nil && r.to.Host == p.at.Host
		if ok && (r.authorizes() || own && (named || likely)) {
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

// root is a page's document, empty if it cannot be read.
func (p *page) root() *html.Node {
	root, err := html.Parse(bytes.NewReader(p.body))
	if err != nil {
		return &html.Node{}
	}
	return root
}

// content is what a person reads of a page without what every page of its site has, if
// it says which part that is.
func (p *page) content() string {
	root := p.root()
	for n := range root.Descendants() {
		if n.Type == html.ElementNode && n.Data == "main" {
			return textOf(n)
		}
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
	var code syscall.Errno
	var way lost
	switch {
	case errors.As(err, new(x509.UnknownAuthorityError)):
		return "its certificate is of an authority that this machine does not know; a private one is named with --ca-file"
	case errors.As(err, &certificate):
		return "its certificate is not good: " + certificate.Err.Error()
	case errors.As(err, &record):
		return "it does not speak TLS there"
	case errors.As(err, &name):
		return "its host name is not known"
	case errors.As(err, &late) && late.Timeout():
		return "it does not answer in time"
	case errors.As(err, &way):
		return way.Error()
	case errors.As(err, &code):
		return "it cannot be reached: " + code.Error()
	case errors.Is(err, io.EOF):
		return "it ends the connection without an answer"
	}
	return "it cannot be reached"
}
