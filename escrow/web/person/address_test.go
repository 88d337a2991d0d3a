package person

import (
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/penname/penname/escrow/mail"
	"github.com/penname/penname/escrow/mail/mailtest"
	"github.com/penname/penname/escrow/postgres"
)

// writing is a service that writes to people, by a mail server of the test.
func writing(t *testing.T) (*service, *mailtest.Server, func()) {
	t.Helper()
	return writingOn(t, "127.0.0.1")
}

// writingOn is writing with the origin of a host.
func writingOn(t *testing.T, host string) (*service, *mailtest.Server, func()) {
	t.Helper()
	s := newServiceOn(t, host, func(_ *testing.T, c *Config) { c.Writes = true })
	server := &mailtest.Server{}
	server.Start(t)
	client := mail.Server{Address: server.Address(), TLS: mail.Off, From: "penname@penname.example"}
	sender := mail.Sender{Outbox: s.issuer.Store.(*postgres.Issuing).Outbox(), Send: client.Send, From: client.From, Origin: s.origin, Now: s.now}
	return s, server, func() {
		t.Helper()
		if err := sender.Work(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
}

var code = regexp.MustCompile(`\n {4}(\d{8})\r\n`)

// newest is the code in the newest mail, which is to that address.
func newest(t *testing.T, s *mailtest.Server, to string) string {
	t.Helper()
	all := s.Delivered()
	if len(all) == 0 || all[len(all)-1].To != to {
		t.Fatalf("no mail to %s: %v", to, all)
	}
	m := code.FindStringSubmatch(all[len(all)-1].Text)
	if m == nil {
		t.Fatalf("no code: %s", all[len(all)-1].Text)
	}
	return m[1]
}

// A person gives an address, confirms it by a code, gives another, and takes it away. Nobody
// is written to who did not type the code, and who is written to no more is told so.
func TestAddressIsGivenAndTakenAway(t *testing.T) {
	s, server, send := writing(t)
	b, at := s.in("laptop"), s.origin+addressPath
	b.shows("GET", s.origin+"/me", nil, http.StatusOK, `href="/me/address"`)
	b.shows("GET", at, nil, http.StatusOK, "We have no address of yours", "can read this address", "without a court and without custodians", "!Remove my address")

	b.shows("POST", at, url.Values{"address": {"jo@example"}}, http.StatusUnprocessableEntity, "his is not an e-mail address", "jo@example.org", `value="jo@example"`)
	b.shows("POST", at, url.Values{"address": {" jo@Example.org "}}, http.StatusOK, "A code is on its way", "Type the code", "<strong>jo@example.org</strong>")
	select {
	case <-s.live.Wrote():
	default:
		t.Error("the outbox is not looked at at once")
	}
	send()
	first := newest(t, server, "jo@example.org")
	b.shows("POST", at+"/confirm", url.Values{"code": {"00000000"}}, http.StatusUnprocessableEntity, "hat is not the code")
	b.shows("POST", at+"/confirm", url.Values{"code": {" " + first[:4] + " " + first[4:]}}, http.StatusOK, "Your address is confirmed", "We write to <strong>jo@example.org</strong>", "!Type the code")
	b.shows("POST", at+"/confirm", url.Values{"code": {first}}, http.StatusUnprocessableEntity, "o code is waited for")

	b.shows("POST", at, url.Values{"address": {"jo@example.com"}}, http.StatusOK, "We write to <strong>jo@example.org</strong>", "It was sent to <strong>jo@example.com</strong>")
	send()
	b.shows("POST", at+"/confirm", url.Values{"code": {newest(t, server, "jo@example.com")}}, http.StatusOK, "We write to <strong>jo@example.com</strong>", "!jo@example.org")
	send()
	if all := server.Delivered(); len(all) != 3 || all[2].To != "jo@example.org" || !strings.Contains(all[2].Text, "does not write here any more") || strings.Contains(all[2].Text, "example.com") {
		t.Errorf("the address of before: %v", all)
	}
	b.shows("POST", at+"/remove", url.Values{}, http.StatusOK, "Your address is removed", "We have no address of yours")
	send()
	if all := server.Delivered(); len(all) != 4 || all[3].To != "jo@example.com" {
		t.Errorf("the address that was removed: %v", all)
	}
}

// H08, H11, H21: nobody is flooded and no code is guessed, a page of another site changes
// nothing, and nobody else's page does.
func TestAddressIsBounded(t *testing.T) {
	s, server, send := writing(t)
	b, at := s.in("laptop"), s.origin+addressPath
	for range 3 {
		b.shows("POST", at, url.Values{"address": {"victim@example.org"}}, http.StatusOK, "A code is on its way")
	}
	b.shows("POST", at, url.Values{"address": {"victim@example.org"}}, http.StatusUnprocessableEntity, "hree codes were sent today")
	b.shows("POST", at+"/remove", url.Values{}, http.StatusOK, "We have no address of yours")
	b.shows("POST", at, url.Values{"address": {"victim@example.org"}}, http.StatusUnprocessableEntity, "hree codes were sent today")
	send()
	if n := len(server.Delivered()); n > 3 {
		t.Errorf("%d mails", n)
	}
	s.pass(24 * time.Hour)
	b = s.in("laptop")
	b.shows("POST", at, url.Values{"address": {"jo@example.org"}}, http.StatusOK, "A code is on its way")
	send()
	right := newest(t, server, "jo@example.org")
	for range 5 {
		b.shows("POST", at+"/confirm", url.Values{"code": {"x"}}, http.StatusUnprocessableEntity, "hat is not the code")
	}
	b.shows("POST", at+"/confirm", url.Values{"code": {right}}, http.StatusUnprocessableEntity, "wrong five times")

	b.shows("POST", at, url.Values{"address": {"jo@example.org"}}, http.StatusOK, "A code is on its way")
	send()
	right = newest(t, server, "jo@example.org")
	for _, path := range []string{"", "/confirm", "/remove"} {
		if res, _ := b.do("POST", at+path, url.Values{"address": {"evil@example.org"}, "code": {right}}, "Sec-Fetch-Site", "cross-site"); res.StatusCode != http.StatusForbidden {
			t.Errorf("from another site, %s: %s", path, res.Status)
		}
	}
	b.shows("GET", at+"/confirm?code="+right, nil, http.StatusMethodNotAllowed)
	other := s.browser()
	other.follow(other.proveWith(url.Values{"provider": {"post"}}, jo+1))
	other.shows("POST", at+"/confirm", url.Values{"code": {right}}, http.StatusUnprocessableEntity, "o code is waited for")
	other.shows("GET", at, nil, http.StatusOK, "!jo@example.org")
	s.pass(time.Hour)
	b = s.in("laptop")
	b.shows("POST", at+"/confirm", url.Values{"code": {right}}, http.StatusUnprocessableEntity, "older than an hour")
}

// The address goes with the wish to be deleted, and does not come back with the person.
func TestAddressGoesWithTheDeletion(t *testing.T) {
	s, server, send := writing(t)
	b, at := s.in("laptop"), s.origin+addressPath
	b.shows("POST", at, url.Values{"address": {"jo@example.org"}}, http.StatusOK, "A code is on its way")
	send()
	b.shows("POST", at+"/confirm", url.Values{"code": {newest(t, server, "jo@example.org")}}, http.StatusOK, "Your address is confirmed")
	b.shows("POST", s.origin+deletePath, url.Values{}, http.StatusOK, "!went wrong")
	b.shows("GET", at, nil, http.StatusUnauthorized)
	b = s.browser()
	b.follow(b.proveWith(url.Values{"provider": {"post"}, "return": {"1"}}, jo))
	b.shows("GET", at, nil, http.StatusOK, "We have no address of yours")
	send()
	if n := len(server.Delivered()); n != 1 {
		t.Errorf("%d mails", n)
	}
}

// Where no mail is sent, nothing can be entered, and what was entered before can be taken away.
func TestAddressWithoutMail(t *testing.T) {
	s := newService(t)
	b := s.in("laptop")
	b.shows("GET", s.origin+addressPath, nil, http.StatusOK, "sends no mail", "!Send me a code")
	b.shows("POST", s.origin+addressPath, url.Values{"address": {"jo@example.org"}}, http.StatusNotFound, "sends no mail")
}

// A code that is typed long after the proof, and is wrong or over, is said to be so: on the page that
// asks for a proof, and at the field after it. It is no text that was lost, and nothing is in doubt.
func TestAWrongCodeLongAfterTheProof(t *testing.T) {
	s, server, send := writing(t)
	b, at := s.in("laptop"), s.origin+addressPath
	b.shows("POST", at, url.Values{"address": {"jo@example.org"}}, http.StatusOK, "A code is on its way")
	send()
	right := newest(t, server, "jo@example.org")
	for _, c := range []struct{ typed, says, field string }{
		{"00000000", "That is not the code that was sent last, so your address is not confirmed.", `href="#code"`},
		{right, "", ""},
		{right, "No code is waited for any more, so your address is not confirmed.", `href="#email"`},
	} {
		s.pass(freshFor)
		if c.says == "" {
			b.shows("POST", at+"/confirm", url.Values{"code": {c.typed}}, http.StatusUnauthorized, "Your address is confirmed", "Prove that it is you")
			continue
		}
		b.shows("POST", at+"/confirm", url.Values{"code": {c.typed}}, http.StatusUnauthorized, c.says, "Prove that it is you", `name="interaction" value="`+addressPath+`"`, "!NOT stored", "!may be confirmed or not", "!"+c.typed)
		if page := b.follow(b.proveWith(url.Values{"provider": {"post"}, "fresh": {"1"}, "interaction": {addressPath}}, jo)); !strings.Contains(page, "<title>Error: ") || !strings.Contains(page, c.field) || !strings.Contains(page, "<h1>My address for notices") {
			t.Errorf("%s: after the proof: %s", c.typed, page)
		}
		b.shows("GET", at, nil, http.StatusOK, "!Error: ") // once
	}
}
