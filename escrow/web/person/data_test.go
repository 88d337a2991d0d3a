package person

import (
	"encoding/json"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/penname/penname/escrow/issue"
)

// TestTheFileHasAllThatIsShown: what a person's pages show of them is in the file of their data.
// That somebody would be recognised as them is said to whoever proved lately who they are.
func TestTheFileHasAllThatIsShown(t *testing.T) {
	s, server, send := writingOn(t, "localhost")
	b := s.in("laptop")
	b.adds("my phone")
	at := s.origin + addressPath
	b.shows("POST", at, url.Values{"address": {"jo@example.org"}}, http.StatusOK)
	send()
	b.shows("POST", at+"/confirm", url.Values{"code": {newest(t, server, "jo@example.org")}}, http.StatusOK)
	b.shows("POST", at, url.Values{"address": {"jo@example.com"}}, http.StatusOK)
	double := s.browser()
	double.shows("GET", double.prove("bank", jo).String(), nil, http.StatusConflict, issue.ErrAlreadyEnrolled.Code)
	conn, err := pgx.Connect(t.Context(), s.admin)
	if err != nil {
		t.Fatal(err)
	}
	due := s.now().AddDate(0, 0, 7).Format(time.DateOnly)
	if _, err = conn.Exec(t.Context(), `SET session_replication_role = replica; UPDATE penname.reviews SET state = 'waiting', due = '`+due+`'`); err != nil {
		t.Fatal(err)
	}
	if err := conn.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	record := receiptRecord(t, b)
	_, body := b.do("GET", s.origin+dataPath, nil)
	var got struct {
		Address     ownAddress
		Passkeys    []keptPasskey
		Acceptances []acceptance
		Vouched     vouched `json:"vouched_for"`
		Record      string
	}
	if err := json.Unmarshal([]byte(body), &got); err != nil {
		t.Fatal(err)
	}
	if got.Address != (ownAddress{"jo@example.org", "jo@example.com"}) || got.Record != record || len(record) < 64 || len(got.Acceptances) != 1 || len(got.Acceptances[0].Reference) != 12 ||
		len(got.Passkeys) != 1 || got.Passkeys[0].Word != "my phone" || !got.Passkeys[0].Day.Equal(today(s.now())) || got.Vouched.Claims["age_over_18"] != "true" || got.Vouched.Month == nil {
		t.Errorf("%+v: %s", got, body)
	}
	const recognised = "recognised as you who came by another card or provider"
	b.shows("GET", s.origin+b.open("pocket"), nil, http.StatusOK, recognised)
	s.pass(freshFor)
	b.shows("GET", s.origin+b.open("pocket"), nil, http.StatusOK, "Something waits for you", "!"+recognised)
}

// programWords are words that programs know and people do not.
var programWords = regexp.MustCompile(`(?i)\b(leaf|leaves of|quorum|bundle|commitment|salt|sha-?256|digest|hash|merkle|checkpoint|cosign\w*|tdh2|hpke|jws|jwk|oidc|openid|pseudonym|ciphertext|nonce|hmac|cedar)\b`)

// toPrograms are what a command takes, and a code for support.
var toPrograms = strings.NewReplacer(" --bundle ", " ", "penname-receipt.jws", "", "openid.redirect_uri", "")

// TestPagesSpeakToPeople: no page of a person's says a word of programs, but in a command.
func TestPagesSpeakToPeople(t *testing.T) {
	for state, page := range everyPage(t, Provider{ID: "one", Name: "One", Proving: nowhere{}}) {
		text := regexp.MustCompile(`(?s)<code>.*?</code>`).ReplaceAllStringFunc(page, toPrograms.Replace)
		if words := programWords.FindAllString(tags.ReplaceAllString(text, " "), -1); words != nil {
			t.Errorf("%s says %q", state, words)
		}
	}
}
