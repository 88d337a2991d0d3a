package integration

import (
	"context"
	"crypto/rand"
	"errors"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

var (
	checkCallback    = check{"callback", "OpenID Connect Core 1.0, 3.1.2.5"}
	checkCancelled   = check{"callback.access_denied", "RFC 6749, 4.1.2.1"}
	checkCode        = check{"callback.code", "RFC 6749, 4.1.3"}
	checkForeign     = check{"callback.state", "RFC 6749, 10.12"}
	checkOtherIssuer = check{"callback.iss", "RFC 9207, 2.4"}
	checkNoIssuer    = check{"callback.no_iss", "RFC 9207, 2.4"}
	checkOpen        = check{"callback.redirect", "RFC 9700, 4.11.1"}
	checkLogout      = check{"logout", "OpenID Connect RP-Initiated Logout 1.0, 2"}
	checkBackChannel = check{"back_channel_logout", "OpenID Connect Back-Channel Logout 1.0, 2.8"}
)

const (
	elsewhere   = "issuer.invalid" // a host that nobody has (RFC 2606, 2)
	otherIssuer = "https://" + elsewhere
)

// answer is how the platform's callback took an answer.
type answer struct {
	page     *page  // the last one
	status   int    // of the last page
	words    string // what it says, without what differs each time
	signedIn bool   // the platform shows a page, and does not begin a sign-in any more
}

// differs is what tells one answer to the same question from another.
var differs = regexp.MustCompile(`[A-Za-z0-9_-]{12,}|\d+`)

// judgeCallback plays answers that only an attacker or an accident would send, each in
// a sign-in of its own.
func (e *examination) judgeCallback(ctx context.Context, j journey) {
	callback, err := url.Parse(e.report.RedirectURI)
	pushed := j.params.Has("request_uri")
	if pushed && e.report.RedirectURI == "" {
		e.unexamined(checkCallback, "The request was pushed, so that the address of the callback is not seen: name it, with --callback.")
		return
	}
	if err != nil || e.report.RedirectURI == "" {
		return // judged before
	}
	if callback.Scheme != "https" && callback.Scheme != "http" {
		e.unexamined(checkCallback, "The answer goes to an app on the person's machine, which cannot be examined from here.")
		return
	}
	iss := e.issuer.Issuer
	cancelled, err := e.play(ctx, *callback, url.Values{"error": {"access_denied"}, "error_description": {"The person or the issuer refused."}, "iss": {iss}})
	if err != nil {
		e.wrong(checkCallback, "The callback does not answer: "+unreached(err)+".", "See that the redirect_uri leads to the platform from everywhere, with a good certificate.")
		return
	}
	if at := cancelled.page.at; at.Host == callback.Host && at.Path == callback.Path && slices.Contains(absent, cancelled.status) {
		e.wrong(checkCallback, "The callback answers with status "+strconv.Itoa(cancelled.status)+": nobody who comes back from the issuer is signed in.", "See that the platform serves the path of its redirect_uri, or set the redirect_uri to the one that it serves.")
		return
	}
	e.ok(checkCallback, "The callback answers.")
	if cancelled.page.at.Host != j.last.at.Host {
		e.judgeCertificate(cancelled.page)
	}
	if cancelled.status >= 500 || slices.Contains(absent, cancelled.status) {
		e.warn(checkCancelled, "Whoever declines at the issuer meets an error ("+strconv.Itoa(cancelled.status)+").", "Show a page that says that nothing happened and offers the sign-in again.")
	} else {
		e.ok(checkCancelled, "Whoever declines at the issuer is shown a page.")
	}
	e.judgeOpen(ctx, *callback)
	code := rand.Text()
	bad, err := e.play(ctx, *callback, url.Values{"code": {code}, "iss": {iss}})
	if err != nil {
		e.unexamined(checkCode, "The callback does not answer to a code: "+unreached(err)+".")
		return
	}
	if pushed { // its state is not known, so that every answer is of another sign-in
		e.judgePlayed(checkForeign, bad, answer{}, "the state of another sign-in", "Compare state with the browser's own before anything else, and show an error if it differs.")
		for _, c := range []check{checkCode, checkOtherIssuer, checkNoIssuer} {
			e.unexamined(c, "The request was pushed, so that its state is not known here, and an answer without it gets no further.")
		}
		return
	}
	e.judgePlayed(checkCode, bad, answer{}, "a code that the issuer never gave", "Sign nobody in before the issuer's token endpoint took the code.")
	for _, attack := range []struct {
		check
		params    url.Values
		what, way string
		fits      bool
	}{
		{checkForeign, url.Values{"code": {code}, "state": {rand.Text()}, "iss": {iss}}, "the state of another sign-in",
			"Compare state with the browser's own before anything else, and show an error if it differs.", j.params.Get("state") != ""},
		{checkOtherIssuer, url.Values{"code": {code}, "iss": {otherIssuer}}, "the answer of another issuer",
			"Compare iss with the issuer that was asked before the code is used (mix-up).", e.issuer.NamesItself},
		{checkNoIssuer, url.Values{"code": {code}}, "an answer without iss",
			"Refuse an answer without iss: this issuer always sends it.", e.issuer.NamesItself},
	} {
		if !attack.fits {
			continue
		}
		got, err := e.play(ctx, *callback, attack.params)
		if err != nil {
			e.unexamined(attack.check, "The callback does not answer to "+attack.what+": "+unreached(err)+".")
			continue
		}
		e.judgePlayed(attack.check, got, bad, attack.what, attack.way)
	}
}

// absent are the statuses of what is not there, or not for this method.
var absent = []int{http.StatusNotFound, http.StatusMethodNotAllowed, http.StatusGone, http.StatusNotImplemented}

// judgeOpen sees whether the callback leads people to any address that a link names.
func (e *examination) judgeOpen(ctx context.Context, callback url.URL) {
	if _, err := e.play(ctx, callback, url.Values{"code": {rand.Text()}, "state": {otherIssuer + "/"}, "iss": {e.issuer.Issuer}}); errors.Is(err, errElsewhere) {
		e.wrong(checkOpen, "The callback redirects to the address that state names: by a link to the platform, anybody can lead people anywhere.", "Compare state with the browser's own before anything else, and keep where to go next in the session, not in state.")
		return
	}
	e.ok(checkOpen, "The callback leads nobody to an address that state names.")
}

// play begins a sign-in, and answers it with params. Its own state is sent unless
// params has another.
func (e *examination) play(ctx context.Context, callback url.URL, params url.Values) (answer, error) {
	j := e.begin(ctx)
	if state := j.params.Get("state"); state != "" && !params.Has("state") {
		params.Set("state", state)
	}
	r := request{to: &callback}
	if j.params.Get("response_mode") == "form_post" {
		r.form = params
	} else {
		query := callback.Query()
		for name, values := range params {
			query[name] = values
		}
		callback.RawQuery = query.Encode()
	}
	last, asks, err := j.browser.follow(ctx, r)
	if err == nil && last == nil {
		err = errRequest
	}
	if err != nil {
		return answer{}, err
	}
	got := answer{page: last, status: last.status}
	if asks != nil { // it begins anew, at once
		return got, nil
	}
	got.words = differs.ReplaceAllString(last.at.Path+" "+textOf(last.root()), "…")
	if got.status < 400 {
		again := e.beginIn(ctx, j.browser)
		got.signedIn = again.err == nil && again.asks == nil && again.last.status < 400
	}
	return got, nil
}

// judgePlayed judges how an answer was taken that must not sign anybody in. other is
// how the platform took one that differs only in what is wrong with it: if it says the
// same to both, nobody can tell from outside whether it looked.
func (e *examination) judgePlayed(c check, got, other answer, what, mend string) {
	switch {
	case got.signedIn:
		e.wrong(c, "The platform takes "+what+" for a sign-in: it shows a page and asks for no other sign-in.", mend)
	case got.status >= 500:
		e.warn(c, "The platform fails ("+strconv.Itoa(got.status)+") when it is sent "+what+".", "Show a page that offers the sign-in again.")
	case got.words != "" && got.words == other.words && got.status == other.status:
		e.unexamined(c, "Nobody is signed in by "+what+", and the platform says the same as to a bad code: whether it looked cannot be seen from outside.")
	default:
		e.ok(c, "Nobody is signed in by "+what+".")
	}
}

// judgeLogout sees whether the addresses for logout are there. Nobody is signed in, and so
// nobody is logged out.
func (e *examination) judgeLogout(ctx context.Context) {
	if at, err := url.Parse(e.Logout); e.Logout != "" && err == nil {
		p, err := e.newBrowser().send(ctx, request{to: at})
		switch {
		case err != nil:
			e.wrong(checkLogout, "The logout address does not answer: "+unreached(err)+".", "See that it leads to the platform from everywhere.")
		case p.status == http.StatusNotFound:
			e.wrong(checkLogout, "The logout address answers "+strconv.Itoa(p.status)+".", "Give the address that the sign-out button leads to.")
		case e.issuer.Logout != "" && strings.HasPrefix(p.header.Get("Location"), e.issuer.Logout):
			e.ok(checkLogout, "The logout address leads to the issuer's logout.")
		default:
			e.unexamined(checkLogout, "The logout address answers with status "+strconv.Itoa(p.status)+". Nobody was signed in, so whether it signs people out cannot be seen.")
		}
	}
	at, err := url.Parse(e.BackChannelLogout)
	if e.BackChannelLogout == "" || err != nil {
		return
	}
	p, err := e.newBrowser().send(ctx, request{to: at, form: url.Values{"logout_token": {"not.a.token"}}})
	switch {
	case err != nil:
		e.wrong(checkBackChannel, "The back-channel logout address does not answer: "+unreached(err)+".", "See that the issuer can reach it.")
	case p.status < 300:
		e.wrong(checkBackChannel, "The back-channel logout address takes what is no logout token: anybody could log people out, or nothing happens at all.", "Verify the logout token as the standard says, and answer 400 if it is not good.")
	case p.status == http.StatusBadRequest:
		e.ok(checkBackChannel, "The back-channel logout address refuses what is no logout token.")
	default:
		e.wrong(checkBackChannel, "The back-channel logout address answers "+strconv.Itoa(p.status)+" where 400 is right.", "Let it take a POST without a session and without a CSRF token, and answer 400 if the logout token is not good.")
	}
}
