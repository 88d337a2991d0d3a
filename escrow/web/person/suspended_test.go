package person

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/penname/penname/escrow/issue"
	"github.com/penname/penname/verifier/token"
)

// ordered is a store with orders of courts. That of package postgres has its own tests.
type ordered struct {
	issue.Store
	mu     sync.Mutex
	orders []issue.Suspension
	until  time.Time // of all of them
	served []issue.Notice
}

func (o *ordered) Suspensions(_ context.Context, now time.Time, names ...token.Pseudonym) (all []issue.Suspension, _ error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, one := range o.orders {
		if slices.Contains(names, one.Name) && now.Before(o.until) {
			all = append(all, one)
		}
	}
	return all, nil
}

func (o *ordered) Standing(ctx context.Context, now time.Time, q issue.Question) (issue.Standing, error) {
	st, err := o.Store.Standing(ctx, now, q)
	if err == nil {
		st.Suspensions, err = o.Suspensions(ctx, now, q.Names...)
	}
	return st, err
}

func (o *ordered) SuspendedAfter(_ context.Context, now time.Time, leaf int64) (all []issue.Suspension, _ error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, one := range o.orders {
		if one.InForce > leaf && now.Before(o.until) {
			all = append(all, one)
		}
	}
	return all, nil
}

func (o *ordered) Notices(_ context.Context, names []token.Pseudonym) (all []issue.Notice, _ error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, n := range o.served {
		if slices.Contains(names, n.Pseudonym) {
			all = append(all, n)
		}
	}
	return all, nil
}

// order is one about a pen name, from this day on for 30 days.
func (o *ordered) order(name, platform string, leaf int64, now time.Time) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.orders = append(o.orders, issue.Suspension{Name: token.Pseudonym(name), Platform: platform, Leaf: leaf, InForce: leaf + 2, Day: today(now)})
	o.until = now.AddDate(0, 0, 30)
}

// serve is the notice of the order with that leaf.
func (o *ordered) serve(leaf int64) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, one := range o.orders {
		if one.Leaf == leaf {
			o.served = append(o.served, issue.Notice{Pseudonym: one.Name, Platform: one.Platform, Authority: "Northtown Court", FileNumber: "7 S 3/26", LegalBasis: "s 12 of an Act",
				Requester: "Northtown Council", Leaf: leaf, Day: one.Day, Kind: "suspension", Until: today(o.until)})
		}
	}
}

// suspending is several with such a store.
func suspending(t *testing.T, most int) (*service, *ordered) {
	o := &ordered{}
	s := several(t, most, func(_ *testing.T, c *Config) { o.Store, c.Issuer.Store = c.Issuer.Store, o })
	return s, o
}

// A suspended pen name signs nobody in at its platform: not by its page, not silently, not by
// a sign-in that was under way, and not renewed. The person is told on one page what the order
// is and what it is not, and the platform hears access_denied. When it is over all is as before.
func TestSuspendedPenNameSignsNobodyIn(t *testing.T) {
	s, orders := suspending(t, 0)
	b := s.in("laptop")
	name := b.allow("purse", b.open("purse"))["sub"].(string)
	other := b.allow("pocket", b.open("pocket"))["sub"].(string)
	waiting := b.open("purse", "state", "s1")

	orders.order(name, "purse", 40, s.now())
	secret := []string{"You cannot sign in to Purse now", name, "you may not be told yet", "Nobody was told who you are", "Your other platforms", "Go back to Purse", "!Northtown", "!entry 40"}
	b.shows("POST", s.origin+waiting, url.Values{"decision": {"allow"}}, http.StatusForbidden, secret...)
	b.shows("GET", s.origin+waiting, nil, http.StatusForbidden, secret...)
	res, _ := b.do("POST", s.origin+waiting, url.Values{"decision": {"deny"}})
	if got := result(t, res); got.Get("error") != "access_denied" || got.Get("state") != "s1" {
		t.Errorf("back at the platform: %v", got)
	}
	res, _ = b.ask("purse", "prompt", "none")
	if got := result(t, res); got.Get("error") != "access_denied" {
		t.Errorf("silently: %v", got)
	}
	if again := b.allow("pocket", b.open("pocket"))["sub"]; again != other {
		t.Errorf("at the other platform: %v", again)
	}
	b.shows("GET", s.origin+"/me", nil, http.StatusOK, "Suspended by order of a court. Which one it is, and until when, you may not be told yet", "!Northtown", "No served notice concerns you")

	orders.serve(40)
	b.shows("GET", s.origin+"/authorize?"+request("purse"), nil, http.StatusForbidden, "Northtown Court, file 7 S 3/26", "s 12 of an Act", orders.until.Format("2 January 2006"), "entry 40", "!you may not be told yet")
	b.shows("GET", s.origin+"/me", nil, http.StatusOK, "Your pen name on Purse was suspended", "Suspended by order of a court until "+orders.until.Format("2 January 2006"), "!was opened")
	b.shows("GET", s.origin+notice{Notice: orders.served[0]}.Page(), nil, http.StatusOK, "Your pen name on Purse was suspended", "Nothing: your identity stayed sealed", "!was opened")
	var me struct {
		Names []struct {
			Suspended []struct {
				Platform string
				Notice   issue.Notice
			}
		} `json:"pen_names"`
	}
	_, body := b.do("GET", s.origin+"/me", nil, "Accept", "application/json")
	if err := json.Unmarshal([]byte(body), &me); err != nil {
		t.Fatal(err)
	}
	if len(me.Names) != 2 || len(me.Names[1].Suspended) != 1 || me.Names[1].Suspended[0].Platform != "purse" || me.Names[1].Suspended[0].Notice.Leaf != 40 {
		t.Errorf("%+v", me)
	}

	s.pass(30 * 24 * time.Hour)
	b = s.in("laptop")
	if again := b.allow("purse", b.open("purse"))["sub"]; again != name {
		t.Errorf("after the end: %v", again)
	}
}

// The order is about one of the platforms that know the person by one pen name: what is
// signed in at the other goes on. The platform is told once. There the pen name cannot be
// picked, keeps its place, also when it is retired, and the other pen name goes on.
func TestSuspensionIsAboutOnePlatformAndPenName(t *testing.T) {
	s, orders := suspending(t, 2)
	b := s.in("laptop")
	name, kept := b.as("pocket", "new", "one"), b.as("pocket", "new", "two")
	res, _ := b.do("POST", s.origin+b.open("pocket", "scope", "openid offline_access"), url.Values{"decision": {"allow"}, "persona": {name}})
	refresh := b.tokens("pocket", result(t, res).Get("code")).Refresh
	orders.order(name, "site", 40, s.now())
	orders.order(name, "gone", 50, s.now()) // no platform any more
	for range 2 {
		if err := s.live.Suspend(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if told := s.polled(t); !slices.Equal(told, []string{name + " " + token.EventSuspended}) {
		t.Errorf("told %v", told)
	}
	if res, body := b.do("POST", s.origin+"/token", url.Values{"grant_type": {"refresh_token"}, "refresh_token": {refresh}, "client_id": {"pocket"}}); res.StatusCode != http.StatusOK {
		t.Errorf("the sign-in at Pocket: %s %s", res.Status, body)
	}
	b.shows("GET", s.origin+"/authorize?"+request("pocket"), nil, http.StatusOK, kept, name, "!A court has suspended")
	site := s.origin + "/authorize?" + request("site", "redirect_uri", "https://pocket.example/back")
	b.shows("GET", site, nil, http.StatusOK, "A court has suspended it here", `value="`+name+`" required disabled`, `value="`+kept+`" required>`, `!value="new"`)
	b.shows("POST", s.origin+"/me/retire", url.Values{"pen_name": {name}, "sure": {"yes"}}, http.StatusOK)
	s.pass((issue.CoolDown + 1) * 24 * time.Hour)
	orders.until = s.now().AddDate(1, 0, 0)
	b = s.in("laptop")
	b.shows("GET", site, nil, http.StatusOK, kept, "!"+name, `!value="new"`)
	orders.until = s.now()
	b.shows("GET", site, nil, http.StatusOK, kept, "!"+name, `value="new"`)
}

// A sign-in that was under way when the order came finds it when it is stored.
func TestSuspensionIsFoundWhenTheGrantIsStored(t *testing.T) {
	s, orders := suspending(t, 0)
	b := s.in("laptop")
	name := b.allow("purse", b.open("purse"))["sub"].(string)
	if err := s.issuer.Confirm(t.Context(), issue.Person{}, issue.Session{}, token.Pseudonym(name), "purse"); err != nil {
		t.Fatal(err)
	}
	orders.order(name, "purse", 40, s.now())
	if err := s.issuer.Confirm(t.Context(), issue.Person{}, issue.Session{}, token.Pseudonym(name), "purse"); err != issue.ErrSuspended { //nolint:errorlint // itself
		t.Error(err)
	}
	if err := s.issuer.Confirm(t.Context(), issue.Person{}, issue.Session{}, token.Pseudonym(name), "pocket"); err != nil {
		t.Errorf("elsewhere: %v", err)
	}
}
