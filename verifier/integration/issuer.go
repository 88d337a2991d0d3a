package integration

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"net/url"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/net/html"

	"github.com/penname/penname/verifier/document"
)

var (
	checkStart       = check{"start", "OpenID Connect Core 1.0, 3.1.2"}
	checkCertificate = check{"certificate", "RFC 9110, 4.3.4"}
	checkClock       = check{"clock", "RFC 7519, 4.1.4"}
	checkIssuer      = check{"issuer", "OpenID Connect Discovery 1.0, 4"}
	checkIssuerKeys  = check{"issuer.keys", "OpenID Connect Discovery 1.0, 3"}
	checkTaken       = check{"issuer.answer", "RFC 6749, 4.1.2.1"}
	checkRegistered  = check{"issuer.redirect_uri", "RFC 9700, 2.1"}
	checkClient      = check{"issuer.client_id", "RFC 6749, 4.1.2.1"}
	checkRegistry    = check{"issuer.registry", "Penname, GET /v1/platforms"}
	checkOrigin      = check{"origin", "Fetch, 3.2 (CORS)"}
)

// issuer is what its discovery document says, as far as it is looked at.
type issuer struct {
	Issuer        string   `json:"issuer"`
	Authorization string   `json:"authorization_endpoint"`
	Token         string   `json:"token_endpoint"`
	Keys          string   `json:"jwks_uri"`
	Logout        string   `json:"end_session_endpoint"`
	Scopes        []string `json:"scopes_supported"`
	Modes         []string `json:"response_modes_supported"`
	NamesItself   bool     `json:"authorization_response_iss_parameter_supported"` // RFC 9207, 3

	ahead *time.Duration // see page
}

// judgeStart judges whether a sign-in begins at all, and says false if it does not.
func (e *examination) judgeStart(j journey) bool {
	switch {
	case j.err != nil:
		e.wrong(checkStart, e.Start+" does not begin a sign-in: "+unreached(j.err)+".", "Give the address that the sign-in button leads to, and see that it answers to everybody.")
		return false
	case j.last == nil:
		e.wrong(checkStart, "The address is a request to the issuer: nothing of the platform can be seen in it.", "Give the address at the platform that the sign-in button leads to.")
		return false
	case j.asks == nil && j.last.status >= 400 && !strings.HasPrefix(e.Start+"/", hostOf(j.last.at)+"/"):
		e.wrong(checkStart, "The sign-in leads to "+hostOf(j.last.at)+", which answers with status "+strconv.Itoa(j.last.status)+": "+quote(j.last.content()),
			"If that is the issuer, have the platform send a whole request (client_id, response_type, redirect_uri) to its authorization_endpoint.")
		return false
	case j.asks == nil && j.last.status >= 400:
		e.wrong(checkStart, "The address answers with status "+strconv.Itoa(j.last.status)+".", "Give the address that the sign-in button leads to; if it is right, the platform's log says why it fails.")
		return false
	case j.asks == nil && e.Button != "" && len(e.choices(j.last)) == 0:
		e.wrong(checkStart, "The page has no button or link "+quote(e.Button)+". Scripts are not run here.", "Give the text of the sign-in button as the page has it.")
		return false
	case j.asks == nil:
		e.wrong(checkStart, "The address leads to no authorization request, neither by a redirect nor by a button or link that says so. Scripts are not run here.",
			"Give the address that the sign-in button leads to, or the button's text.")
		return false
	}
	e.ok(checkStart, "A sign-in begins and leads to "+hostOf(j.asks.to)+".")
	e.judgeCertificate(j.last)
	return true
}

func hostOf(u *url.URL) string { return u.Scheme + "://" + u.Host }

// expiresSoon is when a certificate that nobody renews becomes everybody's problem.
const expiresSoon = 14 * 24 * time.Hour

func (e *examination) judgeCertificate(p *page) {
	if p.tls == nil || len(p.tls.PeerCertificates) == 0 {
		if !document.Localhost(p.at.Hostname()) {
			e.wrong(checkCertificate, p.at.Host+" is served without TLS: whoever is on the way can sign in as the person.", "Serve the platform by https only, and redirect all else to it.")
		}
		return
	}
	left := p.tls.PeerCertificates[0].NotAfter.Sub(e.Now())
	if left < expiresSoon {
		e.warn(checkCertificate, "The certificate of "+p.at.Host+" ends on "+p.tls.PeerCertificates[0].NotAfter.UTC().Format(time.DateOnly)+".", "Renew it, and let a program do so from now on.")
		return
	}
	e.ok(checkCertificate, "The certificate of "+p.at.Host+" is good until "+p.tls.PeerCertificates[0].NotAfter.UTC().Format(time.DateOnly)+".")
}

// maxSkew is by how much clocks may differ: what verifiers commonly forgive.
const maxSkew = time.Minute

// judgeClock compares the platform's clock with the issuer's, which dates the tokens, or
// with this machine's if the issuer does not tell.
func (e *examination) judgeClock(p *page) {
	if p.ahead == nil {
		e.warn(checkClock, "The platform does not tell its time (Date).", "See that its clock is kept by NTP: tokens are good for minutes.")
		return
	}
	off, whose := *p.ahead, "this machine's"
	if e.issuer.ahead != nil {
		off, whose = off-*e.issuer.ahead, "the issuer's"
	}
	if off.Abs() > maxSkew {
		e.wrong(checkClock, "The platform's clock differs from "+whose+" by "+off.Abs().Round(time.Second).String()+": good tokens look expired or not yet valid.", "Keep the platform's clock by NTP.")
		return
	}
	e.ok(checkClock, "The platform's clock is within a minute of "+whose+".")
}

// judgeIssuer looks for the discovery document that names the authorization endpoint.
func (e *examination) judgeIssuer(ctx context.Context, j journey) {
	endpoint := *j.asks.to
	endpoint.RawQuery, endpoint.Fragment = "", ""
	if !document.Secure(&endpoint, document.Localhost) {
		e.wrong(checkIssuer, "The request goes to "+endpoint.String()+", which is not https.", "Configure the issuer by its https address.")
		return
	}
	b := e.newBrowser()
	answered := false
	for dir := path.Dir(endpoint.Path); ; dir = path.Dir(dir) {
		at := endpoint
		at.Path = strings.TrimSuffix(dir, "/") + "/.well-known/openid-configuration"
		p, err := b.send(ctx, request{to: &at})
		if err != nil {
			e.wrong(checkIssuer, endpoint.Host+" does not answer: "+unreached(err)+".", "Configure the issuer's address as its operator gave it to you.")
			return
		}
		var found issuer
		if p.status == http.StatusOK && json.Unmarshal(p.body, &found) == nil {
			answered = true
			if found.Authorization == endpoint.String() && found.Issuer+"/.well-known/openid-configuration" == at.String() {
				e.issuer, e.issuer.ahead = found, p.ahead
				break
			}
		}
		if dir == "/" || dir == "." {
			break
		}
	}
	if e.issuer.Issuer == "" {
		means := "No discovery document was found above " + endpoint.String() + "."
		if answered {
			means = "The discovery document names another issuer or authorization endpoint than " + endpoint.String() + "."
		}
		e.wrong(checkIssuer, means, "Configure the issuer's address and let the client discover the rest, instead of writing endpoints down.")
		return
	}
	e.report.Issuer = e.issuer.Issuer
	e.ok(checkIssuer, "The issuer "+e.issuer.Issuer+" answers, and its discovery document names the endpoint that the request goes to.")
	e.judgeIssuerKeys(ctx, b)
}

func (e *examination) judgeIssuerKeys(ctx context.Context, b *browser) {
	at, err := url.Parse(e.issuer.Keys)
	if err == nil {
		var p *page
		if p, err = b.send(ctx, request{to: at}); err == nil {
			_, err = document.ParseKeySet(p.body)
		}
	}
	if err != nil {
		e.wrong(checkIssuerKeys, "The issuer's keys cannot be read: no token of it can be verified.", "Tell the issuer's operator.")
		return
	}
	e.ok(checkIssuerKeys, "The issuer's keys can be read.")
}

// judgeRegistry reads what the issuer's public registry of platforms has of the client, if
// the issuer has one. Signatures are not checked here: that is for an audit.
func (e *examination) judgeRegistry(ctx context.Context) {
	at, err := url.Parse(e.issuer.Issuer + "/v1/platforms/" + url.PathEscape(e.report.ClientID))
	if e.issuer.Issuer == "" || e.report.ClientID == "" || err != nil {
		return
	}
	var all struct {
		Records []struct{ Signed, Day string }
	}
	var newest struct {
		ID      string
		Origins []string
		Retired bool
	}
	p, err := e.newBrowser().send(ctx, request{to: at})
	if err != nil || p.status != http.StatusOK || json.Unmarshal(p.body, &all) != nil || len(all.Records) == 0 {
		return
	}
	_, signed, _ := strings.Cut(all.Records[len(all.Records)-1].Signed, ".")
	payload, _, _ := strings.Cut(signed, ".")
	record, err := base64.RawURLEncoding.DecodeString(payload)
	if err != nil || json.Unmarshal(record, &newest) != nil || newest.ID != e.report.ClientID {
		return
	}
	here := func(origin string) bool {
		return strings.HasPrefix(e.Start+"/", origin+"/") || strings.HasPrefix(e.report.RedirectURI, origin+"/")
	}
	switch {
	case newest.Retired:
		e.wrong(checkRegistry, "The public registry says that this platform has retired: nobody can sign in at it.", "Have another platform registered, and configure its client_id.")
	case len(newest.Origins) > 0 && !slices.ContainsFunc(newest.Origins, here):
		e.warn(checkRegistry, "Neither the sign-in nor its callback is at an origin that the public registry has of this platform: "+quote(strings.Join(newest.Origins, ", "))+".", "See whether the client_id is that of this platform, or have its origin registered.")
	default:
		e.ok(checkRegistry, "The public registry has this platform since "+all.Records[0].Day+".")
	}
}

// judgeAnswer sends an authorization request as a browser in which nobody is signed in,
// and reads what the issuer says to it. Nobody answers its page.
func (e *examination) judgeAnswer(ctx context.Context, j journey) {
	if j.asks == nil || j.params.Get("client_id") == "" {
		return
	}
	b := e.newBrowser()
	p, err := b.send(ctx, *j.asks)
	if err != nil {
		e.wrong(checkTaken, "The issuer does not answer the request: "+unreached(err)+".", "Try again later, or tell the issuer's operator.")
		return
	}
	if back := e.sentBack(p); back != nil {
		said := back.params()
		if said.Get("error") == "login_required" {
			e.judgeSilent(ctx, j, *back)
			return
		}
		e.wrong(checkTaken, "The issuer refuses the request, and tells the platform so: "+quote(said.Get("error")+": "+said.Get("error_description")), "Change what the issuer names in the client's settings.")
		return
	}
	said := p.content()
	switch about := strings.ToLower(said); {
	case p.status < 400:
		e.ok(checkTaken, "The issuer takes the request: client_id and redirect_uri are registered.")
	case p.status >= 500:
		e.wrong(checkTaken, "The issuer fails: "+quote(said), "Try again later, or tell the issuer's operator.")
	case strings.Contains(about, "redirect_uri"):
		e.wrong(checkRegistered, "The issuer does not know the redirect_uri "+quote(e.report.RedirectURI)+" of this client: "+quote(said), "Have exactly this address registered, or send the one that is.")
	case strings.Contains(about, "client_id"):
		e.wrong(checkClient, "The issuer does not know this client_id: "+quote(said), "Configure the client_id that the issuer's operator gave you, for this issuer.")
	default:
		e.wrong(checkTaken, "The issuer shows an error to the person: "+quote(said), "Change what the issuer names in the client's settings.")
	}
}

// judgeSilent judges a request that shows no page (prompt=none): whoever is not signed in
// at the issuer can sign in only if the platform then asks with one.
func (e *examination) judgeSilent(ctx context.Context, j journey, back request) {
	_, asks, err := j.browser.follow(ctx, back)
	if err == nil && asks != nil && asks.params().Get("prompt") != "none" {
		e.ok(checkTaken, "The issuer takes the request. It asks that no page is shown (prompt=none), and the platform asks with one when nobody is signed in there.")
		return
	}
	e.wrong(checkTaken, "The request asks that no page is shown (prompt=none), and the platform stops at the answer login_required: nobody new can sign in.", "Leave prompt=none out, or ask again without it at login_required.")
}

// sentBack returns how the issuer sends an error to the platform, by a redirect or by a
// form that is posted, or nil.
func (e *examination) sentBack(p *page) *request {
	if to, err := p.at.Parse(p.header.Get("Location")); err == nil && p.status >= 300 && p.status < 400 && to.Query().Has("error") {
		return &request{to: to}
	}
	for n := range p.root().Descendants() {
		if n.Type == html.ElementNode && n.Data == "form" {
			if r, ok := requestOf(n, p.at); ok && r.form.Has("error") {
				return &r
			}
		}
	}
	return nil
}

// judgeOrigin asks the issuer as a browser does before a script of the origin may call it.
func (e *examination) judgeOrigin(ctx context.Context) {
	at, err := url.Parse(e.issuer.Token)
	if e.Origin == "" || e.issuer.Token == "" || err != nil {
		return
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodOptions, at.String(), http.NoBody)
	if err != nil {
		return
	}
	req.Header.Set("Origin", e.Origin)
	req.Header.Set("Access-Control-Request-Method", http.MethodPost)
	res, err := e.newBrowser().http.Do(req)
	if err != nil {
		e.wrong(checkOrigin, "The token endpoint does not answer: "+unreached(err)+".", "Try again later, or tell the issuer's operator.")
		return
	}
	defer res.Body.Close()
	if allowed := res.Header.Get("Access-Control-Allow-Origin"); !slices.Contains([]string{"*", e.Origin}, allowed) {
		e.wrong(checkOrigin, "The issuer does not let scripts of "+e.Origin+" call its token endpoint.", "Have a redirect_uri of this very origin registered.")
		return
	}
	e.ok(checkOrigin, "Scripts of "+e.Origin+" may call the issuer's token endpoint.")
}
