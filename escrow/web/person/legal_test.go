package person

import (
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/penname/penname/escrow/web"
	"github.com/penname/penname/policy"
)

// TestLegalIsHonest: the pages say what the operator told, and of the rest that they did not;
// each page leads there; security.txt has what RFC 9116 requires, and is absent where nobody
// is named.
func TestLegalIsHonest(t *testing.T) {
	s := newService(t)
	b := s.browser()
	b.shows("GET", s.origin+"/", nil, http.StatusOK, `href="/privacy"`, `href="/accessibility"`)
	b.shows("GET", s.origin+"/privacy", nil, http.StatusOK, "has not said here who they are", "has not said here on what legal ground", "has not named one here", "Scrambled marks")
	b.shows("GET", s.origin+"/accessibility", nil, http.StatusOK, "What was not tried")
	b.shows("GET", s.origin+securityPath, nil, http.StatusNotFound)

	told := newService(t, func(_ *testing.T, c *Config) {
		c.Legal = Legal{Controller: "Example Trust <1>\n1 High Street", Ground: "You consent.", Security: web.Contact{Text: "security@penname.example", Link: "mailto:security@penname.example"},
			Complaints: web.Contact{Text: "https://authority.example", Link: "https://authority.example"}}
	})
	b = told.browser()
	b.shows("GET", told.origin+"/privacy", nil, http.StatusOK, "Example Trust &lt;1&gt;\n1 High Street", "You consent.", `href="https://authority.example"`, "!has not said", "!has not named")
	text := b.shows("GET", told.origin+securityPath, nil, http.StatusOK, "Contact: mailto:security@penname.example\n", "Preferred-Languages: en, cy\n", "Canonical: "+told.origin+securityPath+"\n")
	_, expires, _ := strings.Cut(text, "Expires: ")
	expires, _, _ = strings.Cut(expires, "\n")
	if at, err := time.Parse(time.RFC3339, expires); err != nil || at.Before(told.now().AddDate(0, 1, 0)) || at.After(told.now().AddDate(1, 0, 0)) {
		t.Errorf("expires %s: %v", expires, err)
	}
	for _, l := range []Legal{{Controller: strings.Repeat("x", maxLegal+1)}, {Security: web.Contact{Text: "the night watch"}}} {
		if l.Check() == nil {
			t.Errorf("%+v is taken", l)
		}
	}
}

// TestOpinionsAreSparedWhereTheRulesSaySo: the first page says so only of rules that do.
func TestOpinionsAreSparedWhereTheRulesSaySo(t *testing.T) {
	rules := policy.Bundle{Policies: policy.DefaultRules()}
	s := newService(t, func(_ *testing.T, c *Config) { c.Rules = func() (*policy.Bundle, error) { return &rules, nil } })
	const says = "Criticism is not a crime here"
	s.browser().shows("GET", s.origin, nil, http.StatusOK, says)
	delete(rules.Policies, "10-speech.cedar")
	s.browser().shows("GET", s.origin, nil, http.StatusOK, "!"+says)
}

// keptItems are the items of what is kept of people, by a part of each; "": of what is about nobody
// who has a pen name.
var keptItems = map[string]string{
	// Tables.
	"records": "Your name and date of birth", "persons": "Scrambled marks", "pseudonyms": "Your pen names", "handles": "Your short name", "notes": "What you call a pen name",
	"openid_rows": "Your sign-ins at platforms", "openid_used": "Your sign-ins at platforms", "openid_entries": "Your sign-ins at platforms",
	"sessions": "That you signed in here", "claims": "What your identity provider vouches for", "claim_counts": "What your identity provider vouches for", "claims_told": "What your identity provider vouches for",
	"addresses": "Your address for notices", "mails": "Your address for notices", "passkeys": "Your passkeys", "reviews": "looks like you on paper", "review_entries": "looks like you on paper", "review_outcomes": "looks like you on paper",
	"erasures": "That you asked to be deleted", "objections": "What you object", "notice_codes": "What you object",
	"cases": "What a court orders", "case_targets": "What a court orders", "case_rounds": "What a court orders", "approvals": "What a court orders", "annulments": "What a court orders", "deletions": "What a court orders", "exhibits": "What a court orders", "copies": "What a court orders",
	"notices": "What a court orders", "first_notices": "What a court orders", "notice_first": "What a court orders", "suspensions": "What a court orders", "link_orders": "What a court orders", "statements": "What a court orders",
	"log_lock": "", "log_leaves": "", "log_hashes": "", "log_checkpoints": "", "lost_leaves": "", "bundles": "", "refusals": "", "requests_used": "", "rotations": "", "ceremonies": "", "ceremony_messages": "", "ceremony_transcripts": "",
	"row_key": "", "snapshots": "", "platform_records": "", "key_groups": "", "groups_waiting": "", "passes": "", "side_by_side": "",
	// Kinds of rows, by what their places are keyed over.
	"session": "That you signed in here", "ended": "That you signed in here", "generation": "How often you signed out everywhere", "withdrawn": "When you leave a platform, the second",
	"changes": "What changed in your account", "change": "What changed in your account", "name": "Your short name", "named": "Your short name", "address": "Your address for notices", "mail": "that a mail to you waits", "note": "What you call a pen name",
	"openid": "Your sign-ins at platforms", "holder": "Your sign-ins at platforms", "left": "Your sign-ins at platforms", "logout": "Your sign-ins at platforms", "event": "Your sign-ins at platforms", "used": "Your sign-ins at platforms", "entry": "Your sign-ins at platforms",
	"passkey": "Your passkeys", "credential": "Your passkeys", "passkey used": "what it counted is kept apart", "recovery": "also the moment at which they did", "pseudonym": "Your pen names", "suspension": "What a court orders", "link": "What a court orders",
	"refused address": "", // of a court
}

// TestWhatIsKeptIsSaid: of each table, and each kind of row, the page about privacy has an item.
func TestWhatIsKeptIsSaid(t *testing.T) {
	page := everyPage(t, Provider{ID: "one", Proving: nowhere{}})["privacy.html"]
	items, _, _ := strings.Cut(page, "Why, and by what right")
	met := map[string]bool{}
	for pattern, finds := range map[string]*regexp.Regexp{
		"../../postgres/migrations/*.sql": regexp.MustCompile(`(?im)^\s*CREATE (?:UNLOGGED )?TABLE (?:IF NOT EXISTS )?(\w+)`),
		"../../postgres/*.go":             regexp.MustCompile(`\.handle\("([^"]+)"`),
	} {
		files, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range files {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			for _, m := range finds.FindAllStringSubmatch(string(text), -1) {
				met[m[1]] = true
				if item, known := keptItems[m[1]]; !known || !strings.Contains(items, item) {
					t.Errorf("%s keeps %q, and the page says %q of it", file, m[1], item)
				}
			}
		}
	}
	for kind := range keptItems {
		if !met[kind] {
			t.Errorf("nothing keeps %q", kind)
		}
	}
}
