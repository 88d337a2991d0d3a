package integration

import (
	"context"
	"crypto/rand"
	"net/http"
	"net/url"
	"regexp"
	"strconv"
)

var (
	checkCallback    = check{"callback", "OpenID Connect Core 1.0, 3.1.2.5"}
	checkCancelled   = check{"callback.access_denied", "RFC 6749, 4.1.2.1"}
	checkCode        = check{"callback.code", "RFC 6749, 4.1.3"}
	checkForeign     = check{"callback.state", "RFC 6749, 10.12"}
	checkOtherIssuer = check{"callback.iss", "RFC 9207, 2.4"}
	checkNoIssuer    = check{"callback.no_iss", "RFC 9207, 2.4"}
	checkLogout      = check{"logout", "OpenID Connect RP-Initiated Logout 1.0, 2"}
	checkBackChannel = check{"back_channel_logout", "OpenID Connect Back-Channel Logout 1.0, 2.8"}
)

// otherIssuer is the name of an issuer that no platform has.
const otherIssuer = "https://issuer.invalid"

// answer is how the platform's callback took an answer.
type answer struct {
	page     *page  // the last one; nil if there was none
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
	if err != nil || e.report.RedirectURI == "" {
		return // pushed, or judged before
	}
	if callback.Scheme != "https" && callback.Scheme != "http" {
		e.ok(checkCallback, "The answer goes to an app on the person's machine, which cannot be examined from here.")
		return
	}
	iss := e.issuer.Issuer
	cancelled, err := e.play(ctx, *callback, url.Values{"error": {"access_denied"}, "error_description": {"The person or the issuer refused."}, "iss": {iss}})
	if err != nil {
		e.wrong(checkCallback, "The callback does not answer: "+unreached(err)+".", "See that the redirect_uri leads to the platform from everywhere, with a good certificate.")
		return
	}
	e.ok(checkCallback, "The callback answers.")
	if cancelled.page != nil && cancelled.page.at.Host != j.last.at.Host {
		e.judgeCertificate(cancelled.page)
	}
	if cancelled.status >= 500 {
		e.warn(checkCancelled, "Whoever declines at the issuer meets a server error ("+strconv.Itoa(cancelled.status)+").", "Show a page that says that nothing happened and offers the sign-in again.")
	} else {
		e.ok(checkCancelled, "Whoever declines at the issuer is shown a page.")
	}
	code := rand.Text()
	bad, err := e.play(ctx, *callback, url.Values{"code": {code}, "iss": {iss}})
	if err != nil {
		return
	}
	if j.params.Has("request_uri") { // its state is not known, so that every answer is of another sign-in
		e.judgePlayed(checkForeign, bad, answer{}, "the state of another sign-in", "Compare state with the browser's own before anything else, and show an error if it differs.")
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
		if got, err := e.play(ctx, *callback, attack.params); err == nil {
			e.judgePlayed(attack.check, got, bad, attack.what, attack.way)
		}
	}
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
	if err != nil {
		return answer{}, err
	}
	got := answer{page: last, status: http.StatusFound}
	if last != nil {
		got.status = last.status
	}
	if asks != nil { // it begins anew, at once
		return got, nil
	}
	got.words = differs.ReplaceAllString(last.at.Path+" "+last.words(), "…")
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
		e.warn(c, "Nobody is signed in by "+what+", but the platform says the same as to a bad code: whether it looked cannot be seen from outside.", mend)
	default:
		e.ok(c, "Nobody is signed in by "+what+".")
	}
}

// judgeLogout sees whether the addresses for logout are there. Nobody is logged out.
func (e *examination) judgeLogout(ctx context.Context) {
	if at, err := url.Parse(e.Logout); e.Logout != "" && err == nil {
		p, err := e.newBrowser().send(ctx, request{to: at})
		switch {
		case err != nil:
			e.wrong(checkLogout, "The logout address does not answer: "+unreached(err)+".", "See that it leads to the platform from everywhere.")
		case p.status == http.StatusNotFound, p.status >= 500:
			e.wrong(checkLogout, "The logout address answers "+strconv.Itoa(p.status)+".", "Give the address that the sign-out button leads to.")
		default:
			e.ok(checkLogout, "The logout address answers.")
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
