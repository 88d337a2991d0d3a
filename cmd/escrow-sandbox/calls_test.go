package main

import (
	"context"
	"io"
	"maps"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/oauth2"

	"github.com/penname/penname/escrow/sandbox/world"
	"github.com/penname/penname/escrow/vault"
)

// during returns the least number of each name in several runs: what the service does by itself
// meanwhile is not in all of them.
func (c *calls) during(t *testing.T, runs int, do func() error) map[string]int {
	t.Helper()
	var least map[string]int
	for range runs {
		c.take()
		if err := do(); err != nil {
			t.Fatal(err)
		}
		now := c.take()
		if least == nil {
			least = now
		}
		maps.DeleteFunc(least, func(name string, _ int) bool { return now[name] == 0 })
		for name := range least {
			least[name] = min(least[name], now[name])
		}
	}
	return least
}

var (
	writesTo = regexp.MustCompile(`(?i)\b(?:INSERT INTO|UPDATE|DELETE FROM) (\w+)`)
	readOf   = regexp.MustCompile(`(?i)\b(?:FROM|JOIN) ([a-z]\w+)`)
)

// statementName is what a statement writes, else what it reads. What writes is a COMMIT of its
// own, unless it stands between begin and commit.
func statementName(sql string) string {
	tables := func(re *regexp.Regexp) string {
		var all []string
		for _, m := range re.FindAllStringSubmatch(sql, -1) {
			if name := strings.ToLower(m[1]); name != "unnest" && name != "set" && !slices.Contains(all, name) {
				all = append(all, name)
			}
		}
		return strings.Join(all, "+")
	}
	switch {
	case strings.Contains(sql, "pg_logical_emit_message"):
		return "commit barrier"
	case writesTo.MatchString(sql):
		return "commit " + tables(writesTo)
	case readOf.MatchString(sql):
		return "read " + tables(readOf)
	}
	return sql
}

// TestCallsOfAPerson holds what one person costs the database and Vault: each statement, each
// COMMIT and each call to Vault is named here, and none comes in beside them.
func TestCallsOfAPerson(t *testing.T) {
	counted := &calls{}
	clients := []world.Client{{ID: "one", Name: "Platform one", RedirectURIs: []string{back}, IDTokenAlg: "EdDSA"}, {ID: "two", Name: "Platform two", RedirectURIs: []string{back}, IDTokenAlg: "EdDSA"}}
	w, err := world.Start(t.Context(), programs, world.Options{Listen: "127.0.0.1:0", Vault: true, Log: io.Discard, People: crowd(), PerSender: 10_000, Clients: clients, Stores: counted.stores("issuing", statementName)})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := w.Close(); err != nil {
			t.Error(err)
		}
	}()
	w.Service.Issuing.Keys.(*vault.Issuing).OnCall(func(_ context.Context, operation string, _ time.Duration, _ bool) { counted.add("vault " + operation) })
	who, err := signUpNext(t.Context(), w)
	if err != nil {
		t.Fatal(err)
	}
	origin, err := url.Parse(w.Origin)
	if err != nil {
		t.Fatal(err)
	}
	p := &provider{issuer: w.Origin, people: []*personAt{newPerson(who.Client.Jar.Cookies(origin))}}
	for _, c := range w.Clients() {
		p.clients = append(p.clients, oauth2.Config{ClientID: c.ID, ClientSecret: c.Secret})
	}
	p.prepare(t)
	for name, value := range p.people[0].cookies {
		who.Client.Jar.SetCookies(origin, []*http.Cookie{{Name: name, Value: value, Path: "/"}})
	}
	standing := "read erasures+sessions+pseudonyms+notes+suspensions_in_force+reviews"
	for _, c := range []struct {
		name string
		do   func() error
		want map[string]int
	}{
		{"sign-in", func() error { return p.signIn(p.people[0]) }, map[string]int{
			standing:                            3, // the page, the button, and once more when the grant is stored
			"read openid_rows":                  2, // the sign-in, the code
			"commit openid_rows":                2, // the request; the answer with its grant
			"commit openid_rows+openid_entries": 1, // the code is redeemed
			"vault hmac":                        1, // the pen names there
		}},
		{"sign-in there again", func() error { p.people[0].next++; return p.signIn(p.people[0]) }, map[string]int{
			standing: 3, "read openid_rows": 2, "commit openid_rows": 2, "commit openid_rows+openid_entries": 1,
		}},
		{"page", func() error {
			if err := who.Open(t.Context(), w.Origin+"/me"); err != nil {
				return err
			}
			return who.Shows(http.StatusOK, "My pen names")
		}, map[string]int{
			standing:                             1,
			"read addresses":                     1,
			"read notices_now+first_notices_now": 1,
			"commit barrier":                     1, // a notice that is shown is held by a standby
			"read sessions":                      5, // devices: begun, generation, ended; of two platforms what was withdrawn
			"vault hmac":                         1, // the pen names everywhere
		}},
		{"enrolment, and the page after it", func() error {
			b, err := signUpNext(t.Context(), w)
			if err != nil {
				return err
			}
			return b.GoOn(t.Context(), "/me")
		}, map[string]int{
			"commit openid_used":                   1, // the answer of the identity provider
			"read persons":                         1,
			"read key_groups":                      1,
			"commit persons+sessions+records":      1, // with since when, and by what later changes are found
			"begin isolation level read committed": 1, "SELECT take_claims($1, $2, $3, $4, $5, $6, $7)": 1, "COMMIT": 1, "read claims": 1,
			"commit sessions": 1,
			standing:          1, "read addresses": 1, "read notices_now+first_notices_now": 1,
			"read sessions":  4, // the generation; devices
			"commit barrier": 3, // the transaction of the claims; what was read of claims and notices
			"vault encrypt":  1, // the first half
			"vault hmac":     5, // the account; its claims, twice; of the page the pen names, and by what acceptances name them
		}},
	} {
		got := counted.during(t, 5, c.do)
		delete(got, "vault keys") // of a group that nobody was sealed in by this process
		if !maps.Equal(got, c.want) {
			t.Errorf("%s: %v\nwant %v", c.name, got, c.want)
		}
	}
}
