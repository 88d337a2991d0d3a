package desk

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/penname/penname/escrow/custodian"
)

// clerkOf is an officer whose deeds are counted.
type clerkOf struct {
	locked   atomic.Bool
	answered atomic.Int32
	signed   atomic.Int32
	filed    atomic.Int32
	order    Order
	unread   error // why nothing can be shown
}

const anOrderID = "0123456789abcdef"

func newClerkOf() *clerkOf {
	c := &clerkOf{order: Order{
		ID: anOrderID, Folder: "/x/<b>case</b>\u202e", Name: "<b>case</b>\u202e", Number: 2, Begun: true, Drafted: true,
		Steps: []Step{
			{Name: "kind", Done: true, Questions: []Question{{Name: "kind", Text: "What is ordered?", Choices: []Choice{{"a", "<i>A</i>", true}, {"b", "B", false}}}}},
			{Name: "grounds", Done: true, Questions: []Question{{Name: "grounds", Text: "Grounds?", Most: 4000, Answer: "<script>x</script>"}, {Name: "key", Text: "Key?", File: true}}},
		},
		Verdict: &Verdict{Faults: []Fault{{"<u>there</u>", "refused <u>so</u>", "grounds"}}, NotChecked: []string{"<u>that</u>"}, Notes: []string{"<u>note</u>"}},
	}}
	c.locked.Store(true)
	return c
}

func (c *clerkOf) officer() *Officer {
	when := func(did *atomic.Int32, said string) (string, error) {
		if c.locked.Load() {
			return "", ErrLocked
		}
		did.Add(1)
		return said, nil
	}
	only := func(id string) (*Order, error) {
		if id != anOrderID {
			return nil, ErrNoOrder
		}
		if c.unread != nil {
			return nil, c.unread
		}
		o := c.order
		return &o, nil
	}
	return &Officer{
		ID: "court", Name: "A <court>", Signs: true, Unlocks: Say("Without a word."),
		Unlock: func(context.Context, []byte) error { c.locked.Store(false); return nil },
		Lock:   func() { c.locked.Store(true) },
		Orders: func() ([]Order, error) { return []Order{c.order}, nil },
		Order:  only,
		Posts: func(string, int, int) (Posts, error) {
			return Posts{All: 1, Posts: []Post{{Number: 1, URL: "https://<u>x</u>", Exhibits: []Exhibit{{Type: "text/plain", Text: strings.Repeat("<img src=x>", 1000)}}}}}, nil
		},
		Exhibit: func(string, string) (Exhibit, []byte, error) {
			return Exhibit{}, nil, cmp.Or(c.unread, error(ErrNoOrder))
		},
		Answer: func(_, step string, answers map[string]string, _ map[string][]byte) (string, map[string]string, error) {
			if answers[step] == "" {
				return "", map[string]string{step: "it needs an answer"}, nil
			}
			_, err := when(&c.answered, "")
			return "", nil, err
		},
		Check: func(context.Context, string) error { return custodian.ErrOtherBundle },
		Sign: func(_ context.Context, _ string, confirm func(string) error) (string, error) {
			if err := confirm("This is signed: <b>all</b>"); err != nil {
				return "", err
			}
			return when(&c.signed, "signed")
		},
		Take: func(context.Context, string, []byte) (string, error) { return "kept", nil },
		File: func(context.Context, string) (string, error) { return when(&c.filed, "filed") },
	}
}

// atClerk is the desk of an officer that was entered and unlocked.
func atClerk(t *testing.T, c *clerkOf) *at {
	t.Helper()
	a := enteredBy(t, Options{Officer: c.officer()})
	a.unlock()
	return a
}

// TestDeskOfAnOrderIsShutToOthers: the forms of an order do nothing for another page, another user
// and a page that is not known, and once what they do, however often they are sent.
func TestDeskOfAnOrderIsShutToOthers(t *testing.T) {
	c := newClerkOf()
	a := atClerk(t, c)
	base := "/order/" + anOrderID
	agreed := (&draft{}).agreement("This is signed: <b>all</b>")
	for _, path := range []string{base + "/check", base + "/sign", base + "/sign/sign", base + "/file", base + "/signed", base + "/ask/grounds"} {
		for name, edit := range map[string]func(*http.Request){
			"another page": header("Origin", "https://evil.example"), "another port": header("Sec-Fetch-Site", "same-site"), "another user": header("Cookie", ""),
			"a name bound anew": func(r *http.Request) { r.Host = "evil.example" },
		} {
			if res, body := a.do(http.MethodPost, path, url.Values{"press": {a.newPress()}, "agreed": {agreed}, "grounds": {"x"}}, edit); res.StatusCode < 400 || strings.Contains(body, "court") {
				t.Errorf("%s by %s: %s", path, name, res.Status)
			}
		}
		a.do(http.MethodPost, path, url.Values{"press": {secret()}, "agreed": {agreed}, "grounds": {"typed on an old page"}})
	}
	if n := c.signed.Load() + c.filed.Load() + c.answered.Load(); n != 0 {
		t.Fatal("something was done: ", n)
	}
	if _, body := a.do(http.MethodGet, base+"/ask/grounds", nil); !strings.Contains(body, ">typed on an old page</textarea>") || !strings.Contains(body, "desk.old_page") {
		t.Error("what was typed on an old page is lost: ", body)
	}
	for _, path := range []string{"/order/" + strings.Repeat("0", 16), "/order/x", "/order/..%2f", base + "/evidence/" + strings.Repeat("0", 64), base + "/evidence/x"} {
		if res, body := a.do(http.MethodGet, path, nil); res.StatusCode != http.StatusNotFound {
			t.Errorf("%s: %s %s", path, res.Status, body)
		}
	}

	a.do(http.MethodPost, base+"/sign", url.Values{"press": {a.newPress()}})
	a.do(http.MethodPost, base+"/sign/sign", url.Values{"press": {a.newPress()}, "agreed": {(&draft{}).agreement("something else")}})
	if n := c.signed.Load(); n != 0 {
		t.Fatal("something was signed unseen")
	}
	if _, body := a.do(http.MethodGet, base+"/sign", nil); !strings.Contains(body, "&lt;b&gt;all") || !strings.Contains(body, "desk.changed") {
		t.Error(body)
	}
	press, file := a.newPress(), a.newPress()
	for range 3 {
		a.do(http.MethodPost, base+"/sign/sign", url.Values{"press": {press}, "agreed": {agreed}})
		a.do(http.MethodPost, base+"/file", url.Values{"press": {file}})
	}
	if c.signed.Load() != 1 || c.filed.Load() != 1 {
		t.Errorf("signed %d times, filed %d times", c.signed.Load(), c.filed.Load())
	}
}

// TestDeskOfAnOrderKeepsWhatWasTyped: over a wrong answer and a lock.
func TestDeskOfAnOrderKeepsWhatWasTyped(t *testing.T) {
	c := newClerkOf()
	a := atClerk(t, c)
	form := "/order/" + anOrderID + "/ask/grounds"
	a.do(http.MethodPost, form, url.Values{"press": {a.newPress()}, "grounds": {""}, "key": {"my key <x>"}})
	_, body := a.do(http.MethodGet, form, nil)
	for _, want := range []string{`value="my key &lt;x&gt;"`, `href="#grounds">Grounds: it needs an answer.`, `aria-invalid="true" aria-describedby="grounds-wrong"`} {
		if !strings.Contains(body, want) {
			t.Errorf("no %s: %s", want, body)
		}
	}
	a.relock()
	a.do(http.MethodPost, form, url.Values{"press": {a.newPress()}, "grounds": {"while it locked"}, "key": {"k"}})
	if _, body := a.do(http.MethodGet, form, nil); strings.Contains(body, "while it locked") || !strings.Contains(body, "Without a word.") || strings.Contains(body, `name="passphrase"`) {
		t.Error("the desk is open: ", body)
	}
	a.unlock()
	if _, body := a.do(http.MethodGet, form, nil); !strings.Contains(body, "while it locked") || !strings.Contains(body, "desk.locked") {
		t.Error(body)
	}
	if a.do(http.MethodPost, form, url.Values{"press": {a.newPress()}, "grounds": {"now"}}); c.answered.Load() != 1 {
		t.Error("it was not answered")
	}
	if _, body := a.do(http.MethodGet, form, nil); strings.Contains(body, "while it locked") || strings.Contains(body, "desk.locked") {
		t.Error("what was done is still offered: ", body)
	}
}

// TestPagesOfAnOrderAreText: nothing that comes from a folder is markup.
func TestPagesOfAnOrderAreText(t *testing.T) {
	a := atClerk(t, newClerkOf())
	base := "/order/" + anOrderID
	a.do(http.MethodPost, base+"/check", url.Values{"press": {a.newPress()}})
	for _, path := range []string{"/", base, base + "/evidence", base + "/ask/kind", base + "/ask/grounds"} {
		res, body := a.do(http.MethodGet, path, nil)
		if res.StatusCode != http.StatusOK || res.Header.Get("Content-Security-Policy") != policyOfPages {
			t.Errorf("%s: %s", path, res.Status)
		}
		for _, bad := range []string{"<b>case", "\u202e", "<i>A", "<script", "<u>", "<img src=x", "<court>"} {
			if strings.Contains(body, bad) {
				t.Errorf("%s has %q", path, bad)
			}
		}
		if len(body) > 15_000 {
			t.Errorf("%s has %d bytes", path, len(body))
		}
	}
	if _, body := a.do(http.MethodGet, base, nil); !strings.Contains(body, "ask/grounds\">Answer it anew") {
		t.Error(body)
	}
}

// TestNoDraftKeepsASecretKey: a file that may be the requester's secret key is read, and not kept
// while something else is wrong.
func TestNoDraftKeepsASecretKey(t *testing.T) {
	o := newClerkOf().officer()
	read := ""
	o.Answer = func(_, _ string, _ map[string]string, files map[string][]byte) (string, map[string]string, error) {
		read = string(files["delivery_key"])
		return "", map[string]string{"grounds": "it needs an answer"}, nil
	}
	a := enteredBy(t, Options{Officer: o})
	a.unlock()
	form := "/order/" + anOrderID + "/ask/grounds"
	a.upload(form, map[string]string{"delivery_key.file": "a secret", "key.file": "a file"})
	if f := a.draft(form); read != "a secret" || len(f.files) != 1 || string(f.files["key.file"].Content) != "a file" {
		t.Errorf("read: %q, kept: %v", read, f.files)
	}
}

// TestRefusalOfAnOrderIsShown: why an order cannot be shown is said, and is not called a page that is
// not there; of one that is not there nothing is said of cases.
func TestRefusalOfAnOrderIsShown(t *testing.T) {
	c := newClerkOf()
	a := atClerk(t, c)
	c.unread = custodian.ErrOtherBundle
	base := "/order/" + anOrderID
	for _, path := range []string{base, base + "/ask/kind", base + "/evidence/" + strings.Repeat("0", 64)} {
		res, body := a.do(http.MethodGet, path, nil)
		if has(t, body, custodian.ErrOtherBundle.Code, "This cannot be shown now"); res.StatusCode != http.StatusOK {
			t.Error(path, res.Status)
		}
	}
	a.post(base+"/ask/grounds", url.Values{"grounds": {""}, "key": {"my key"}})
	if p := a.draft(base + "/ask/grounds").problem; p == nil || p.Code != custodian.ErrOtherBundle.Code {
		t.Error("a wrong answer is called no fault: ", p)
	}
	c.unread = nil
	res, body := a.do(http.MethodGet, "/order/"+strings.Repeat("0", 16), nil)
	if has(t, body, "this desk was started without"); res.StatusCode != http.StatusNotFound || strings.Contains(body, "check the case again") {
		t.Error(res.Status, body)
	}
}

// TestTakenIsPutAside: a desk that signs nothing offers to put aside what was signed for it, until it
// is filed, and says when a verdict was found.
func TestTakenIsPutAside(t *testing.T) {
	c := newClerkOf()
	c.order.Signed, c.order.Steps = true, nil
	c.order.Verdict.At = time.Date(2026, 11, 30, 9, 0, 0, 0, time.UTC)
	base := "/order/" + anOrderID
	for _, x := range []struct {
		signs bool
		filed string
		asked bool
	}{{false, "", true}, {true, "", false}, {false, anID, false}} {
		c.order.Case = x.filed
		o := c.officer()
		o.Signs = x.signs
		put := 0
		o.PutBack = func(string) (string, error) { put++; return "it is aside", nil }
		a := enteredBy(t, Options{Officer: o})
		a.unlock()
		_, body := a.do(http.MethodGet, base, nil)
		if strings.Contains(body, base+"/back") != x.asked || strings.Contains(body, "Checked on 2026-11-30 09:00 UTC") == (x.filed != "") {
			t.Errorf("%+v: %s", x, body)
		}
		if !x.asked {
			continue
		}
		a.post(base+"/back", url.Values{})
		_, body = a.do(http.MethodGet, base, nil)
		if has(t, body, "it is aside"); put != 1 {
			t.Error(put)
		}
	}
}

// TestAstrayOrderIsShown: it leads to no page, and says where its evidence was.
func TestAstrayOrderIsShown(t *testing.T) {
	c := newClerkOf()
	c.order.Astray, c.order.Draft = true, "/kept/case.json"
	a := atClerk(t, c)
	_, body := a.do(http.MethodGet, "/", nil)
	has(t, body, "Its evidence is gone from", "/kept/case.json")
	if strings.Contains(body, "/order/"+anOrderID) {
		t.Error(body)
	}
	c.order.Folder = ""
	_, body = a.do(http.MethodGet, "/", nil)
	has(t, body, "Its evidence is in no folder of this desk")
}

// TestTwoAnswersAreNone: to a text that is typed and a file that is chosen, which say two things,
// neither is an answer; what stood in the field before is none.
func TestTwoAnswersAreNone(t *testing.T) {
	c := newClerkOf()
	c.order.Steps[1].Questions[1].Answer = "an old key"
	a := atClerk(t, c)
	form := "/order/" + anOrderID + "/ask/grounds"
	send := func(key string) string {
		t.Helper()
		sent := fmt.Sprintf("--x\r\nContent-Disposition: form-data; name=\"press\"\r\n\r\n%s\r\n--x\r\nContent-Disposition: form-data; name=\"grounds\"\r\n\r\nwords\r\n"+
			"--x\r\nContent-Disposition: form-data; name=\"key\"\r\n\r\n%s\r\n--x\r\nContent-Disposition: form-data; name=\"key.file\"; filename=\"k\"\r\n\r\nother\r\n--x--\r\n", a.newPress(), key)
		a.do(http.MethodPost, form, nil, header("Content-Type", "multipart/form-data; boundary=x"), func(r *http.Request) {
			r.Body, r.ContentLength = io.NopCloser(strings.NewReader(sent)), int64(len(sent))
		})
		_, body := a.do(http.MethodGet, form, nil)
		return body
	}
	if body := send("a new key"); c.answered.Load() != 0 || !strings.Contains(body, "neither was taken") || !strings.Contains(body, `value="a new key"`) || strings.Contains(body, "kept:") {
		t.Error(c.answered.Load(), body)
	}
	for n, key := range []string{"", "an old key"} {
		if send(key); int(c.answered.Load()) != n+1 {
			t.Errorf("%q: not taken", key)
		}
	}
}
