package person

import (
	"context"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"filippo.io/age"
	"github.com/jackc/pgx/v5"

	"github.com/penname/penname/escrow/issue"
	"github.com/penname/penname/escrow/passkey"
	"github.com/penname/penname/escrow/passkey/passkeytest"
	"github.com/penname/penname/escrow/web"
	"github.com/penname/penname/verifier/refusal"
)

// A recovery signs in once: who has only the provider's account later waits, also if its owner
// added no passkey meanwhile.
func TestARecoveryIsUsedOnce(t *testing.T) {
	s := newServiceOn(t, "localhost")
	s.in("laptop").adds("lost phone")
	lost := s.browser()
	lost.shows("GET", lost.prove("post", jo).String(), nil, http.StatusOK, waits)
	s.pass(issue.RecoveryWait + time.Minute)
	lost.shows("GET", lost.prove("post", jo).String(), nil, http.StatusOK, mine)
	thief := s.browser()
	thief.shows("GET", thief.prove("post", jo).String(), nil, http.StatusOK, waits)
	s.pass(freshFor) // and half a day long it counts like a passkey in the browser in which it was used
	lost.shows("GET", lost.proveWith(url.Values{"provider": {"post"}, "fresh": {"1"}, "interaction": {"/me"}}, jo).String(), nil, http.StatusOK, mine)
	d := lost.adds("new phone")
	lost.shows("POST", s.origin+passkeysPath+"/remove", url.Values{"passkey": {lost.passkeyNamed("lost phone")}}, http.StatusOK, "That passkey is removed")
	s.pass(5 * 24 * time.Hour) // the thief's was ended by the new passkey: it would be open now
	thief.shows("GET", thief.prove("post", jo).String(), nil, http.StatusOK, waits)
	thief.signedOut("thief")
	own := s.browser()
	own.shows("POST", s.origin+"/passkey", own.byPasskey(d), http.StatusOK, mine)
}

// A session that a recovery began is told to the person for as long as it lasts, and one press
// ends it: also if the days of the recovery are over.
func TestWhoeverRecoveredIsSignedOut(t *testing.T) {
	s := newServiceOn(t, "localhost")
	d := s.in("laptop").adds("phone")
	thief, begun := s.browser(), s.now()
	thief.shows("GET", thief.prove("post", jo).String(), nil, http.StatusOK, waits)
	s.pass(begun.Add(issue.RecoveryWait + issue.RecoveryOpen - time.Minute).Sub(s.now()))
	thief.shows("GET", thief.prove("post", jo).String(), nil, http.StatusOK, mine)
	s.pass(2 * time.Minute)
	in := s.browser()
	in.shows("POST", s.origin+"/passkey", in.byPasskey(d), http.StatusOK, mine, "Somebody was signed in on", "Sign them out", "!Somebody asks to sign in")
	in.shows("POST", s.origin+"/me/recovery/cancel", url.Values{}, http.StatusOK, "They are signed out here", "!Sign them out")
	thief.signedOut("cancelled")
	in.shows("GET", s.origin+"/me", nil, http.StatusOK, mine)
}

// Who was signed in by the provider alone before the first passkey is signed out by it, and each
// change is told by mail.
func TestTheFirstPasskeyEndsOtherSessions(t *testing.T) {
	s, server, send := writingOn(t, "localhost")
	b, at := s.in("laptop"), s.origin+addressPath
	b.shows("POST", at, url.Values{"address": {"jo@example.org"}}, http.StatusOK)
	send()
	b.shows("POST", at+"/confirm", url.Values{"code": {newest(t, server, "jo@example.org")}}, http.StatusOK)
	thief := s.browser()
	thief.follow(thief.prove("post", jo))
	thief.shows("GET", s.origin+"/me", nil, http.StatusOK, mine)
	told := func(n int) {
		t.Helper()
		before := len(server.Delivered())
		send()
		for _, m := range server.Delivered()[before:] {
			if m.To != "jo@example.org" || !strings.Contains(m.Text, "How you sign in to Penname has changed") || strings.Contains(m.Text, "phone") {
				t.Errorf("%+v", m)
			}
		}
		if got := len(server.Delivered()) - before; got != n {
			t.Errorf("%d mails, not %d", got, n)
		}
	}
	d := b.adds("phone")
	thief.signedOut("the first passkey")
	thief.shows("GET", thief.proveWith(url.Values{"provider": {"post"}, "fresh": {"1"}}, jo).String(), nil, http.StatusOK, waits)
	b.shows("GET", s.origin+"/me", nil, http.StatusOK, mine)
	b.shows("POST", s.origin+"/me/recovery/cancel", url.Values{}, http.StatusOK)
	send()
	in := s.browser()
	in.shows("POST", s.origin+"/passkey", in.byPasskey(d), http.StatusOK, mine)
	b.adds("second")
	in.shows("GET", s.origin+"/me", nil, http.StatusOK, mine) // the second one ends nothing
	b.shows("POST", s.origin+passkeysPath+"/remove", url.Values{"passkey": {b.passkeyNamed("second")}}, http.StatusOK)
	told(2)
	thief.shows("GET", thief.prove("post", jo).String(), nil, http.StatusOK, waits)
	send()
	s.pass(issue.RecoveryWait)
	thief.shows("GET", thief.prove("post", jo).String(), nil, http.StatusOK, mine)
	told(1)
}

var pens = regexp.MustCompile(`pen1[a-z0-9]{20,}`)

// Whoever proved who they are more than five minutes ago sees no pen name, by whatever they press;
// what they typed comes back.
func TestNoPenNameWithoutAProof(t *testing.T) {
	s := newServiceOn(t, "localhost")
	b := s.in("laptop-word")
	pen := b.allow("pocket", b.open("pocket"))["sub"].(string)
	b.allow("purse", b.open("purse"))
	s.pass(25 * time.Minute)
	consent := b.shows("GET", s.origin+b.open("pocket"), nil, http.StatusOK, "Sign in to Pocket", "the pen name that you have there")
	leaves := b.shows("GET", s.origin+"/logout?client_id=purse", nil, http.StatusOK, "There you are the pen name that you used last")
	for _, page := range []string{consent, leaves} {
		if pens.MatchString(page) {
			t.Error(page)
		}
	}
	long := strings.Repeat("x", 200)
	for _, accept := range []string{"text/html", "application/json"} {
		for path, form := range map[string]url.Values{"/me/rename": {"alias": {long}}, "/me/retire": {}, "/me/platform": {}, "/me/lawyer": {"platform": {"purse"}, "leaf": {"9"}}} {
			form.Set("pen_name", pen)
			res, body := b.do("POST", s.origin+path, form, "Accept", accept)
			if res.StatusCode == http.StatusOK || pens.MatchString(body) || strings.Contains(body, "laptop-word") {
				t.Errorf("%s: %s %s", path, res.Status, body)
			}
			if path == "/me/rename" && accept == "text/html" && !strings.Contains(body, long) {
				t.Errorf("what was typed is lost: %s", body)
			}
		}
	}
	claims := b.allow("pocket", b.open("pocket")) // the button works as ever
	if claims["sub"] != pen {
		t.Error(claims)
	}
}

func TestNoNoticeWithoutAProof(t *testing.T) {
	id, err := age.GenerateHybridIdentity()
	if err != nil {
		t.Fatal(err)
	}
	about := *toldFirst.About
	about.Objection.Recipients = []string{id.Recipient().String()}
	o := &objecting{notice: toldFirst}
	o.notice.About, o.notice.Platform = &about, "purse"
	s := newServiceOn(t, "localhost", func(_ *testing.T, c *Config) { o.Store, c.Issuer.Store = c.Issuer.Store, o })
	o.notice.First = &issue.First{Days: 10, ObjectBy: today(s.now()).AddDate(0, 0, 10)}
	b := s.in("laptop")
	b.allow("purse", b.open("purse"))
	name, _ := b.allow("pocket", b.open("pocket"))["sub"].(string)
	send := func(path, do string) string {
		t.Helper()
		_, body := b.do("POST", s.origin+path, url.Values{"pen_name": {name}, "platform": {"purse"}, "leaf": {"9"}, "text": {"I was abroad."}, "do": {do}}, "Accept", "text/html")
		return body
	}
	if page := send("/me/objection", "check"); !strings.Contains(page, "Northtown Court") {
		t.Fatal("a fresh proof shows no notice", page)
	}
	s.pass(25 * time.Minute)
	for do, says := range map[string]string{"check": "It is not sent yet", "change": "You can go on writing", "stay": "You can go on writing"} {
		page := send("/me/objection", do)
		shown := strings.ReplaceAll(page, `name="pen_name" value="`+name+`"`, "") // as they sent it
		if strings.Contains(page, "Northtown Court") || strings.Contains(page, "7/2026") || strings.Contains(page, "Pocket") || strings.Contains(page, "Purse") || len(pens.FindAllString(shown, -1)) > 0 {
			t.Errorf("%s: %s", do, page)
		}
		if !strings.Contains(page, ">I was abroad.</textarea>") || !strings.Contains(page, says) || !strings.Contains(page, `form="typing" name="do" value="stay"`) || strings.Contains(page, "/me/stay") {
			t.Errorf("%s gives nothing back: %s", do, page)
		}
	}
	if page := send("/me/lawyer", ""); !strings.Contains(page, errProveAgain.Code) {
		t.Error(page)
	}
	if send("/me/objection", ""); len(o.stored) != 1 { // a page that was shown still takes what they press
		t.Errorf("%d stored", len(o.stored))
	}
}

func TestAnAddressNeedsAProof(t *testing.T) {
	s, server, send := writingOn(t, "localhost")
	b, at := s.in("laptop"), s.origin+addressPath
	b.shows("POST", at, url.Values{"address": {"jo@example.org"}}, http.StatusOK)
	send()
	s.pass(freshFor)
	b.shows("POST", at+"/confirm", url.Values{"code": {newest(t, server, "jo@example.org")}}, http.StatusUnauthorized, "Prove that it is you") // it is confirmed
	mails := len(server.Delivered())
	b.shows("POST", at, url.Values{"address": {"evil@example.org"}}, http.StatusUnauthorized, errProveAgain.Code, "evil@example.org", `name="interaction" value="`+addressPath+`"`)
	b.shows("POST", at+"/remove", url.Values{}, http.StatusUnauthorized, errProveAgain.Code)
	send()
	if n := len(server.Delivered()) - mails; n != 0 {
		t.Errorf("%d mails", n)
	}
	b.follow(b.proveWith(url.Values{"provider": {"post"}, "fresh": {"1"}, "interaction": {addressPath}}, jo))
	b.shows("GET", at, nil, http.StatusOK, "jo@example.org", "!evil@")
}

// racing does something once: after a recovery was judged, before a session begins, or in place of
// the answer to the use of a recovery.
type racing struct {
	issue.Store
	judged, begins atomic.Pointer[func()]
	used           atomic.Pointer[error]
}

func (r *racing) Recovery(ctx context.Context, p issue.Person) (issue.Recovery, error) {
	x, err := r.Store.Recovery(ctx, p)
	if f := r.judged.Swap(nil); f != nil {
		(*f)()
	}
	return x, err
}

func (r *racing) BeginSession(ctx context.Context, p issue.Person, began issue.Session) (issue.Session, error) {
	if f := r.begins.Swap(nil); f != nil {
		(*f)()
	}
	return r.Store.BeginSession(ctx, p, began)
}

func (r *racing) UseRecovery(ctx context.Context, p issue.Person, t issue.Telling, in ...issue.Browser) (time.Time, bool, error) {
	at, used, err := r.Store.UseRecovery(ctx, p, t, in...)
	if lost := r.used.Swap(nil); lost != nil {
		return time.Time{}, false, *lost
	}
	return at, used, err
}

// newRacing is a service on which something happens at the worst moment.
func newRacing(t *testing.T) (*service, *racing) {
	o := &racing{}
	return newServiceOn(t, "localhost", func(_ *testing.T, c *Config) { o.Store, c.Issuer.Store = c.Issuer.Store, o }), o
}

func TestNoSessionOutlivesACancellation(t *testing.T) {
	s, o := newRacing(t)
	d := s.in("laptop").adds("phone")
	thief := s.browser()
	thief.shows("GET", thief.prove("post", jo).String(), nil, http.StatusOK, waits)
	s.pass(issue.RecoveryWait + time.Minute)
	in := s.browser()
	in.shows("POST", s.origin+"/passkey", in.byPasskey(d), http.StatusOK, mine)
	cancel := func() {
		in.shows("POST", s.origin+"/me/recovery/cancel", url.Values{}, http.StatusOK, "It is cancelled")
	}
	to := thief.prove("post", jo).String()
	o.judged.Store(&cancel)
	thief.shows("GET", to, nil, http.StatusUnauthorized, errSignedOut.Code)
	thief.signedOut("cancelled meanwhile")
}

// What let somebody in counts when their session begins, and not only when it was judged: it may
// have ended between the two, and with it all sessions of before.
func TestWhatLetsInIsAskedOnceMore(t *testing.T) {
	s, o := newRacing(t)
	b := s.in("laptop")
	thief := s.browser()
	to := thief.prove("post", jo).String()
	var d *passkeytest.Device
	first := func() { d = b.adds("phone") }
	o.begins.Store(&first)
	thief.shows("GET", to, nil, http.StatusUnauthorized, errSignedOut.Code)
	thief.signedOut("the first passkey, meanwhile")

	shown := thief.byPasskey(d)
	removed := func() {
		b.shows("POST", s.origin+passkeysPath+"/remove", url.Values{"passkey": {b.passkeyNamed("phone")}, "sure": {"yes"}}, http.StatusOK, "That passkey is removed")
	}
	o.begins.Store(&removed)
	thief.shows("POST", s.origin+"/passkey", shown, http.StatusUnauthorized, errSignedOut.Code)
	thief.signedOut("its passkey was removed meanwhile")

	b.adds("new phone")
	copied := b.copied()
	to = copied.prove("post", jo).String() // one proof more, where a passkey was shown
	out := func() { b.shows("POST", s.origin+"/me/sign-out-everywhere", url.Values{}, http.StatusOK) }
	o.begins.Store(&out)
	copied.shows("GET", to, nil, http.StatusUnauthorized, errSignedOut.Code)
	copied.signedOut("signed out everywhere meanwhile")
}

// Somebody who waited for three days is not sent away by a hiccup: in that browser a proof lets
// them in again for some minutes, and tells nobody twice. Elsewhere it does not.
func TestARecoveryOutlivesAHiccup(t *testing.T) {
	s, o := newRacing(t)
	s.in("laptop").adds("lost phone")
	lost := s.browser()
	lost.shows("GET", lost.prove("post", jo).String(), nil, http.StatusOK, waits)
	s.pass(issue.RecoveryWait)
	cut := error(refusal.New(refusal.Unavailable, web.OutcomeUnknown, ""))
	o.used.Store(&cut)
	lost.shows("GET", lost.prove("post", jo).String(), nil, http.StatusServiceUnavailable, web.OutcomeUnknown)
	lost.signedOut("the answer was lost")
	thief := s.browser()
	thief.shows("GET", thief.prove("post", jo).String(), nil, http.StatusOK, waits)
	s.pass(issue.RecoveryAgain - time.Minute)
	lost.shows("GET", lost.prove("post", jo).String(), nil, http.StatusOK, mine, "You are signed in without a passkey")
	if page := lost.shows("GET", s.origin+changesPath, nil, http.StatusOK); strings.Count(page, "You came back without a passkey, after the wait.") != 1 {
		t.Errorf("what changed: %s", page)
	}
	lost.shows("POST", s.origin+"/sign-out", url.Values{}, http.StatusOK) // somebody else may use this browser now
	lost.shows("GET", lost.prove("post", jo).String(), nil, http.StatusOK, waits)

	in := s.browser()
	s.pass(issue.RecoveryIn + issue.RecoveryWait)
	o.used.Store(&cut)
	in.shows("GET", in.prove("post", jo).String(), nil, http.StatusServiceUnavailable)
	s.pass(issue.RecoveryAgain)
	in.shows("GET", in.prove("post", jo).String(), nil, http.StatusOK, waits)
}

// A session that a passkey began does not outlive it: whoever has the lost phone can neither cancel
// a recovery with it nor add a passkey.
func TestRemovingAPasskeyEndsItsSessions(t *testing.T) {
	s := newServiceOn(t, "localhost")
	b := s.in("laptop")
	b.adds("laptop")
	d := b.adds("phone")
	phone := s.browser()
	phone.shows("POST", s.origin+"/passkey", phone.byPasskey(d), http.StatusOK, mine)
	b.shows("GET", s.origin+passkeysPath, nil, http.StatusOK, "To remove one signs all your other devices out here")
	b.shows("POST", s.origin+passkeysPath+"/remove", url.Values{"passkey": {b.passkeyNamed("phone")}}, http.StatusOK, "That passkey is removed", "All your other devices are signed out here", `href="/me#delete"`)
	phone.signedOut("its passkey is removed")
	phone.shows("POST", s.origin+"/me/recovery/cancel", url.Values{}, http.StatusUnauthorized, errSignedOut.Code)
	phone.shows("POST", s.origin+passkeysPath+"/begin", url.Values{}, http.StatusUnauthorized, errSignedOut.Code)
	b.shows("GET", s.origin+"/me", nil, http.StatusOK, mine)
	b.shows("POST", s.origin+"/me/recovery/cancel", url.Values{}, http.StatusOK) // as one by a passkey
}

// A passkey is added only soon after a proof, and then this session is one by a passkey, wherever
// it goes on.
func TestAddingAPasskey(t *testing.T) {
	s := newServiceOn(t, "localhost")
	b := s.in("laptop")
	action := b.open("pocket")
	s.pass(freshFor - 2*time.Second)
	d := passkeytest.New(b.origin, -7)
	answer := d.Create(b.begun(passkeysPath + "/begin"))
	s.pass(3 * time.Second)
	b.shows("POST", s.origin+passkeysPath, url.Values{"answer": {answer}, "word": {"late"}}, http.StatusUnauthorized, errProveAgain.Code, "late")
	in := s.browser()
	in.shows("POST", s.origin+"/passkey", in.byPasskey(d), http.StatusUnauthorized, passkey.ErrUnknown.Code)
	b.follow(b.proveWith(url.Values{"provider": {"post"}, "fresh": {"1"}, "interaction": {passkeysPath}}, jo))
	b.do("POST", b.origin+passkeysPath, url.Values{"answer": {d.Create(b.begun(passkeysPath + "/begin"))}, "word": {"w"}, "back": {action}}, "Accept", "text/html")
	thief := s.browser()
	thief.shows("GET", thief.prove("post", jo).String(), nil, http.StatusOK, waits)
	b.shows("GET", s.origin+"/me", nil, http.StatusOK, mine, "/me/recovery/cancel")
}

// A session that was ended says nothing of the next one in its browser.
func TestAnEndedSessionIsNoPasskey(t *testing.T) {
	s := newServiceOn(t, "localhost")
	b := s.in("laptop")
	b.adds("phone")
	copied := b.copied()
	b.shows("POST", s.origin+passkeysPath+"/remove", url.Values{"passkey": {b.passkeyNamed("phone")}, "sure": {"y"}}, http.StatusOK)
	b.shows("POST", s.origin+"/me/sign-out-everywhere", url.Values{}, http.StatusOK)
	copied.shows("GET", copied.prove("post", jo).String(), nil, http.StatusOK, mine)
	copied.shows("POST", s.origin+"/me/recovery/cancel", url.Values{}, http.StatusForbidden, errOnlyAPasskey.Code)
}

func TestASignInThatWaitsIsForgotten(t *testing.T) {
	s := newServiceOn(t, "localhost")
	for _, path := range []string{"/sign-out", "/me/sign-out-everywhere", deletePath} {
		b := s.browser()
		b.do("GET", b.proveWith(url.Values{"provider": {"post"}, "return": {"1"}}, jo).String(), nil)
		b.open("pocket")
		b.shows("POST", s.origin+path, url.Values{}, http.StatusOK)
		b.shows("GET", s.origin+"/", nil, http.StatusOK, "!You were signing in to Pocket")
	}
}

// An account that reviewers accepted for somebody who has passkeys takes the place of theirs only
// after the wait: who stole it, or deceived the reviewers, locks nobody out.
func TestAnAcceptedAccountWaitsToo(t *testing.T) {
	s := newServiceOn(t, "localhost")
	b := s.in("laptop")
	d := b.adds("phone")
	b.shows("POST", s.origin+"/sign-out", url.Values{}, http.StatusOK)
	thief := s.browser()
	thief.shows("GET", thief.prove("bank", jo).String(), nil, http.StatusConflict, issue.ErrAlreadyEnrolled.Code)
	conn, err := pgx.Connect(t.Context(), s.admin)
	if err != nil {
		t.Fatal(err)
	}
	if _, err = conn.Exec(t.Context(), `SET session_replication_role = replica; UPDATE penname.reviews SET state = 'accepted', due = '2026-11-01'`); err != nil {
		t.Fatal(err)
	}
	if err := conn.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	thief.shows("GET", thief.prove("bank", jo).String(), nil, http.StatusOK, waits)
	thief.signedOut("accepted")
	own := s.browser()
	own.shows("GET", own.prove("post", jo).String(), nil, http.StatusOK, waits) // the owner's account is as it was
	own.shows("POST", s.origin+"/passkey", own.byPasskey(d), http.StatusOK, mine, "Cancel it")
	own.shows("GET", own.prove("bank", jo).String(), nil, http.StatusOK, mine) // and in their own browser it takes effect
}
