package desk

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"html"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/penname/penname/escrow/custodian"
)

// seat is what the fake does beside cases: each deed is counted.
func (f *fake) seat() Seat {
	once := func(confirm func(string) error, shown string) error {
		if err := confirm(shown); err != nil {
			return err
		}
		f.asked.Add(1)
		return nil
	}
	return Seat{
		Next: func(context.Context) ([]Next, error) {
			return []Next{{Say("Your witness does not run."), "/witness", true, false}, {elsewhere("You are away until 2026-12-14 \u202e."), "/seat", false, false}}, f.unread
		},
		Standing: func(context.Context) (Standing, error) {
			return Standing{Absences: []string{"alba is away \u202e"}, Alternates: []Alternate{{"aldo", "Aldo \u202e", "Bar"}}, For: f.of}, f.unread
		},
		Away: func(_ context.Context, from, until time.Time, confirm func(string) error) (string, error) {
			if err := custodian.CheckAway(from, until, time.Date(2026, 12, 1, 9, 0, 0, 0, time.UTC)); err != nil {
				return "", err
			}
			return "announced", once(confirm, "You are away from "+from.Format(time.DateOnly))
		},
		Deputise: func(_ context.Context, to string, confirm func(string) error) ([]byte, error) {
			if to != "aldo" {
				return nil, custodian.ErrNoAlternate
			}
			return []byte("sealed"), once(confirm, "for "+to)
		},
		Receive: func(_ context.Context, file, bundle []byte, confirm func(string) error) (string, error) {
			switch {
			case string(file) != "sealed":
				return "", custodian.ErrHandedOver
			case bundle != nil:
				return "kept", once(confirm, "You begin with "+string(bundle))
			}
			return "kept", once(func(string) error { return nil }, "")
		},
		Card: func() ([]byte, error) { return []byte(`{"id": "alba"}`), nil },
		Passphrase: func(_ context.Context, old, fresh, again []byte) error {
			switch {
			case string(old) != "right":
				return custodian.ErrPassphrase
			case !bytes.Equal(fresh, again):
				return errors.New("they differ")
			case len(fresh) < custodian.MinPassphrase:
				return custodian.ErrWeakPassphrase
			}
			f.asked.Add(1)
			return nil
		},
		Ceremonies: func() ([]Ceremony, error) {
			return []Ceremony{{Hash: "3f29", Plan: []byte("of four"), Says: "waiting for emil (agree)"}}, nil
		},
	}
}

// post presses a form of the desk, and returns where that leads and what is there.
func (a *at) post(path string, values url.Values) (to, body string) {
	a.t.Helper()
	values.Set("press", a.newPress())
	return a.again(path, values)
}

// again sends a form as it is.
func (a *at) again(path string, values url.Values) (to, body string) {
	a.t.Helper()
	res, said := a.do(http.MethodPost, path, values)
	if res.StatusCode != http.StatusSeeOther {
		a.t.Fatal(path, res.Status, said)
	}
	return a.follow(res)
}

func (a *at) follow(res *http.Response) (to, body string) {
	a.t.Helper()
	for res.StatusCode == http.StatusSeeOther {
		to = strings.TrimPrefix(res.Header.Get("Location"), a.prefix)
		bare, _, _ := strings.Cut(to, "#")
		res, body = a.do(http.MethodGet, bare, nil)
	}
	return to, body
}

// upload sends a form with files.
func (a *at) upload(path string, files map[string]string) (to, body string) {
	a.t.Helper()
	var sent bytes.Buffer
	fmt.Fprintf(&sent, "--x\r\nContent-Disposition: form-data; name=\"press\"\r\n\r\n%s\r\n", a.newPress())
	for field, content := range files {
		fmt.Fprintf(&sent, "--x\r\nContent-Disposition: form-data; name=%q; filename=\"a \u202efile\"\r\n\r\n%s\r\n", field, content)
	}
	sent.WriteString("--x--\r\n")
	res, said := a.do(http.MethodPost, path, nil, header("Content-Type", "multipart/form-data; boundary=x"), func(r *http.Request) {
		r.Body, r.ContentLength = io.NopCloser(&sent), int64(sent.Len())
	})
	if res.StatusCode != http.StatusSeeOther {
		a.t.Fatal(path, res.Status, said)
	}
	return a.follow(res)
}

func has(t *testing.T, body string, want ...string) {
	t.Helper()
	for _, w := range want {
		if !strings.Contains(body, w) {
			main := body[max(0, strings.Index(body, "<main")):]
			t.Fatalf("no %q in %s", w, main)
		}
	}
	if strings.Contains(body, "\u202e") {
		t.Error("a mark turns the line round")
	}
}

// TestSeat: each form of a seat says what is missing at its field, keeps what was typed, shows
// what it does before it does it, and does it once.
func TestSeat(t *testing.T) {
	f := &fake{}
	a := entered(t, f)
	a.unlock()
	did := func(want int32) {
		t.Helper()
		if n := f.asked.Load(); n != want {
			t.Fatalf("it did %d things, not %d", n, want)
		}
	}

	to, body := a.post("/seat/away", url.Values{"from": {"2026-12-24"}, "until": {""}})
	if to != "/seat#problem" {
		t.Error(to)
	}
	has(t, body, "desk.incomplete", `<a href="#until">Choose the day on which you are back.`, `id="until-wrong"`, `value="2026-12-24"`)
	_, body = a.post("/seat/away", url.Values{"from": {"2026-12-24"}, "until": {"2026-12-20"}})
	has(t, body, "custodian.away_days", `href="#until"`, `value="2026-12-24"`, `value="2026-12-20"`)
	_, body = a.post("/seat/away", url.Values{"from": {"2026-11-24"}, "until": {"2026-12-20"}})
	has(t, body, "custodian.away_before", `href="#from"`)
	days := url.Values{"from": {"2026-12-24"}, "until": {"2027-01-04"}}
	to, body = a.post("/seat/away", days)
	if to != "/seat/away" {
		t.Error(to)
	}
	has(t, body, "Nothing is signed yet", "You are away from 2026-12-24")
	did(0)
	_, body = a.post("/seat/away/sign", url.Values{"agreed": {a.agrees("/seat/away", "You are away from 2026-12-25")}})
	has(t, body, "desk.changed", "You are away from 2026-12-24")
	did(0)
	sign := url.Values{"agreed": {a.agrees("/seat/away", "You are away from 2026-12-24")}, "press": {a.newPress()}}
	to, body = a.again("/seat/away/sign", sign)
	if to != "/seat#away" {
		t.Error(to)
	}
	has(t, body, "announced")
	a.again("/seat/away/sign", sign) // Back, and pressed again
	did(1)
	if a.draft("/seat/away").values.Get("from") != "" {
		t.Error("what was done is still typed")
	}

	_, body = a.post("/seat/deputise", url.Values{})
	has(t, body, `href="#alternate"`, "Choose to whom.")
	_, body = a.post("/seat/deputise", url.Values{"alternate": {"eve"}})
	has(t, body, "custodian.no_alternate", `href="#alternate"`)
	_, body = a.post("/seat/deputise", url.Values{"alternate": {"aldo"}})
	has(t, body, "Nothing is made yet", "for aldo")
	if res, _ := a.do(http.MethodGet, "/seat/deputise/file", nil); res.StatusCode != http.StatusNotFound {
		t.Error("a file before it was made: ", res.Status)
	}
	did(1)
	_, body = a.post("/seat/deputise/sign", url.Values{"agreed": {a.agrees("/seat/deputise", "for aldo")}})
	has(t, body, "Made, for aldo alone.", "Save aldo.share")
	did(2)
	res, body := a.do(http.MethodGet, "/seat/deputise/file", nil)
	if got := res.Header; body != "sealed" || got.Get("Content-Type") != "application/octet-stream" || got.Get("Content-Disposition") != "attachment; filename=aldo.share" || !strings.Contains(got.Get("Content-Security-Policy"), "sandbox") {
		t.Error(body, got)
	}

	_, body = a.upload("/seat/receive", map[string]string{})
	has(t, body, `href="#share"`, "Choose the file.")
	_, body = a.upload("/seat/receive", map[string]string{"share": "another"})
	has(t, body, "custodian.bad_handover", `href="#share"`, "kept: a \uFFFDfile")
	_, body = a.upload("/seat/receive", map[string]string{"share": "sealed", "bundle": "rules"})
	has(t, body, "Begin with these rules?", "You begin with rules", "Nothing is kept yet")
	did(2)
	_, body = a.post("/seat/receive/sign", url.Values{"agreed": {a.agrees("/seat/receive", "You begin with rules")}})
	has(t, body, "kept")
	did(3)

	_, body = a.post("/seat/card", url.Values{})
	has(t, body, "{&#34;id&#34;: &#34;alba&#34;}", "Save alba.json")
	if _, body := a.do(http.MethodGet, "/seat/card/file", nil); body != "{\"id\": \"alba\"}\n" {
		t.Error(body)
	}
}

// TestSeatKeepsNoPassphrase: what is typed to change a passphrase is in no draft, whatever becomes
// of it.
func TestSeatKeepsNoPassphrase(t *testing.T) {
	f := &fake{}
	a := entered(t, f)
	a.unlock()
	secrets := func(old, fresh, again string) url.Values {
		return url.Values{"old": {old}, "fresh": {fresh}, "again": {again}}
	}
	for _, c := range []struct {
		typed url.Values
		want  []string
	}{
		{secrets("wrong one", "a good new phrase", "a good new phrase"), []string{"custodian.wrong_passphrase", `id="old-wrong"`}},
		{secrets("right", "short-one", "short-one"), []string{"custodian.weak_passphrase", `id="fresh-wrong"`}},
		{secrets("right", "a good new phrase", "another new phrase"), []string{"They differ."}},
		{secrets("right", "a good new phrase", "a good new phrase"), []string{"opens with the new passphrase"}},
	} {
		_, body := a.post("/seat/passphrase", c.typed)
		has(t, body, c.want...)
		a.again("/seat/passphrase", c.typed)
	}
	typed := secrets("right", "a good new phrase", "a good new phrase")
	typed.Set("press", secret()) // of a page that is not known
	_, body := a.again("/seat/passphrase", typed)
	has(t, body, "desk.changed_before")
	lacks(t, body, "and what you typed is kept")
	if n := f.asked.Load(); n != 1 {
		t.Error("changed so often: ", n)
	}
	for form, d := range a.drafts {
		if s := fmt.Sprint(d); strings.Contains(s, "phrase]") || strings.Contains(s, "a good new") || strings.Contains(s, "wrong one") || strings.Contains(s, "short-one") {
			t.Error("a passphrase is kept: ", form, s)
		}
	}
}

// TestNextIsSaid: the first page says what waits beside cases, and what of it is not known; a seat
// that is not known keeps its forms.
func TestNextIsSaid(t *testing.T) {
	f := &fake{unread: custodian.ErrOtherBundle}
	a := entered(t, f)
	a.unlock()
	_, body := a.do(http.MethodGet, "/", nil)
	has(t, body, "Do this first", "Your witness does not run.", a.prefix+`/witness">Look at the witness`, "Beside the cases", "You are away until", "What else waits for you is not known")
	if strings.Index(body, "Your witness does not run.") > strings.Index(body, "No case waits for you.") || strings.Index(body, "You are away") < strings.Index(body, "No case waits for you.") {
		t.Error("what is urgent does not stand first: ", body)
	}
	_, body = a.do(http.MethodGet, "/seat", nil)
	has(t, body, "custodian.other_bundle", "is not known", `action="`+a.prefix+`/seat/away"`, `action="`+a.prefix+`/seat/passphrase"`)
	f.of = "Bruno \u202e"
	_, body = a.do(http.MethodGet, "/seat", nil)
	has(t, body, "You step in for", "Bruno \uFFFD")
	if strings.Contains(body, "/seat/away") || strings.Contains(body, "/seat/deputise") {
		t.Error("who steps in is asked for what is not theirs: ", body)
	}
	_, body = a.do(http.MethodGet, "/ceremony", nil)
	has(t, body, "waiting for emil (agree)", `formaction="`+a.prefix+`/ceremony/on/3f29"`)
	_, body = a.post("/ceremony/on/3f29", url.Values{})
	has(t, body, "plan of four", "the plan that you agreed to, 3f29")
}

// TestTimesOfThisMachine: a time by UTC stands with that of the clock on the wall, where it is
// another, and with its day where that is another.
func TestTimesOfThisMachine(t *testing.T) {
	in := func(name string) *time.Location {
		zone, err := time.LoadLocation(name)
		if err != nil {
			t.Fatal(err)
		}
		return zone
	}
	for _, c := range []struct{ text, zone, want string }{
		{"due 2026-07-01 22:30 UTC, 3 hours left", "Europe/London", "due 2026-07-01 22:30 UTC (23:30 BST here), 3 hours left"},
		{"due 2026-07-01 23:30 UTC", "Europe/London", "due 2026-07-01 23:30 UTC (2026-07-02 00:30 BST here)"},
		{"due 2026-12-01 10:30 UTC", "Europe/London", "due 2026-12-01 10:30 UTC"},
		{"2026-12-01 00:30 UTC and 2026-12-01 10:30 UTC", "America/New_York", "2026-12-01 00:30 UTC (2026-11-30 19:30 EST here) and 2026-12-01 10:30 UTC (05:30 EST here)"},
		{"2026-13-01 10:30 UTC, 2026-12-01", "Asia/Kolkata", "2026-13-01 10:30 UTC, 2026-12-01"},
	} {
		if got := inZone(c.text, in(c.zone), func(there, here string) string { return there + " (" + here + " here)" }); got != c.want {
			t.Errorf("%s: %q", c.zone, got)
		}
	}
}

// TestWhatWasBegunIsSaid: the first page leads back to what was typed and not done, also after the
// desk locked itself, and no more once it was done.
func TestWhatWasBegunIsSaid(t *testing.T) {
	a := entered(t, &fake{})
	a.unlock()
	page := "/case/" + anID
	a.post(page+"/ask", url.Values{"text": {"Which one?"}})
	a.post(page+"/recuse", url.Values{"text": {""}})
	a.upload("/rules", map[string]string{"bundle": "rules"})
	a.post("/seat/away", url.Values{"from": {"2026-12-24"}, "until": {""}})
	a.relock()
	a.unlock()
	_, body := a.do(http.MethodGet, "/", nil)
	has(t, body, "You began to answer case "+anID, a.prefix+page+`">Go on with it`, "did not endorse it yet", "did not finish it")
	if strings.Count(body, "You began to answer case") != 1 {
		t.Error("it is said more than once: ", body)
	}
	a.post("/rules/sign", url.Values{"agreed": {a.agrees("/rules", "a bundle of rules")}})
	a.post(page+"/ask", url.Values{"text": {"Which one?"}})
	a.post(page+"/ask/sign", url.Values{"agreed": {a.agrees(page+"/ask", "This is signed: Which one?")}})
	a.post("/seat/away", url.Values{"from": {"2026-12-24"}, "until": {"2027-01-04"}})
	a.post("/seat/away/sign", url.Values{"agreed": {a.agrees("/seat/away", "You are away from 2026-12-24")}})
	if _, body := a.do(http.MethodGet, "/", nil); strings.Contains(body, "You began") || strings.Contains(body, "not endorse it yet") {
		t.Error("what was done is still begun: ", body)
	}
}

// TestLongTextsComeInParts: no page lays out more of a stranger's text than a browser can, none of
// it is lost, and no letter is cut.
func TestLongTextsComeInParts(t *testing.T) {
	for name, text := range map[string]string{
		"nothing": "", "short": "I will come.", "one long word": strings.Repeat("A", 1<<20), "lines": strings.Repeat("\n", 1<<20), "letters of four bytes": strings.Repeat("😀", 1<<18),
		"no letters": strings.Repeat("\x80", 1<<17), "what hides": strings.Repeat("‹U+0335›", 1<<17), "words": strings.Repeat("word ", 1<<17), "marks": "o" + strings.Repeat("\u0335", 1<<18),
	} {
		parts := partsOf(text)
		if strings.Join(parts, "") != text {
			t.Errorf("%s: something is lost", name)
		}
		for i, p := range parts {
			if len(p) == 0 || len(p) > partBytes || strings.Count(p, "\n") > partLines || name != "no letters" && !utf8.ValidString(p) {
				t.Fatalf("%s: part %d has %d bytes and %d lines", name, i, len(p), strings.Count(p, "\n"))
			}
			if name == "what hides" && !strings.HasSuffix(p, "›") {
				t.Errorf("a name is cut: %q", p[len(p)-9:])
			}
			if name == "words" && !strings.HasSuffix(p, " ") {
				t.Errorf("a word is cut: %q", p[len(p)-9:])
			}
		}
		for asked, want := range map[string]int{"": 1, "0": 1, "-1": 1, "x": 1, "999999999999999999999": 1, strconv.Itoa(len(parts)): len(parts)} {
			var x textPart
			if x.take(parts, asked); len(parts) > 0 && (x.Part != max(1, want) || x.Text != parts[x.Part-1]) {
				t.Errorf("%s: part %q is %d", name, asked, x.Part)
			}
		}
	}
}

// TestSeatIsShutToOthers: no form of a seat acts for somebody else, without the keys, on a number
// that was used or never shown, or on what somebody else was shown; and no file is handed out.
func TestSeatIsShutToOthers(t *testing.T) {
	f := &fake{}
	a := entered(t, f)
	forms := map[string]url.Values{
		"/seat/away":      {"from": {"2026-12-24"}, "until": {"2027-01-04"}},
		"/seat/away/sign": {"agreed": {(&draft{values: url.Values{"from": {"2026-12-24"}, "until": {"2027-01-04"}}}).agreement("You are away from 2026-12-24")}},
		"/seat/deputise":  {"alternate": {"aldo"}}, "/seat/deputise/sign": {"agreed": {(&draft{values: url.Values{"alternate": {"aldo"}}}).agreement("for aldo")}},
		"/seat/receive": {}, "/seat/receive/sign": {"agreed": {(&draft{}).agreement("You begin with rules")}},
		"/seat/card": {}, "/seat/passphrase": {"old": {"right"}, "fresh": {"a good new phrase"}, "again": {"a good new phrase"}},
	}
	nothing := func(who string) {
		t.Helper()
		if n := f.asked.Load(); n != 0 {
			t.Fatalf("%s did %d things", who, n)
		}
	}
	for path, values := range forms {
		for who, edit := range map[string]func(*http.Request){
			"a page from elsewhere": header("Origin", "https://evil.example"), "a page of another port": header("Sec-Fetch-Site", "same-site"),
			"another user": header("Cookie", ""), "a name bound anew": func(r *http.Request) { r.Host = "evil.example" },
		} {
			values.Set("press", a.newPress())
			if res, body := a.do(http.MethodPost, path, values, edit); res.StatusCode != http.StatusForbidden && res.StatusCode != http.StatusMisdirectedRequest || strings.Contains(body, "alba") {
				t.Errorf("%s, %s: %s %s", who, path, res.Status, body)
			}
			nothing(who)
		}
		if !strings.HasSuffix(path, "/sign") && path != "/seat/card" && path != "/seat/passphrase" {
			continue
		}
		values.Set("press", secret())
		a.do(http.MethodPost, path, values)
		nothing("a form that was never shown")
		values.Del("press")
		a.do(http.MethodPost, path, values)
		nothing("a form without a number")
	}
	for _, path := range []string{"/seat", "/seat/away", "/seat/deputise/file", "/rules/file"} {
		if res, body := a.do(http.MethodGet, path, nil); res.StatusCode != http.StatusOK || !strings.Contains(body, "Unlock the desk") || strings.Contains(body, "Aldo") {
			t.Errorf("%s is open without the passphrase: %s", path, body)
		}
	}
	a.unlock()
	a.post("/seat/deputise", forms["/seat/deputise"])
	a.post("/seat/deputise/sign", forms["/seat/deputise/sign"])
	a.relock()
	if _, body := a.do(http.MethodGet, "/seat/deputise/file", nil); body == "sealed" {
		t.Error("a file is handed out by a locked desk")
	}
	a.unlock()
	if _, body := a.do(http.MethodGet, "/seat/deputise/file", nil); body != "sealed" {
		t.Error("what was made is lost when the desk locks itself: ", body)
	}
	for _, path := range []string{"/seat/card/file", "/seat/passphrase/file", "/seat/x/file", "/seat/x", "/seat/away/file"} {
		if res, _ := a.do(http.MethodGet, path, nil); res.StatusCode != http.StatusNotFound {
			t.Errorf("%s: %s", path, res.Status)
		}
	}
}

// TestWhatIsSignedHidesNothing: marks that turn a line round, or hide in it, are shown as what they
// are where something is agreed to; and what is agreed to is the whole of it.
func TestWhatIsSignedHidesNothing(t *testing.T) {
	a := entered(t, &fake{})
	a.unlock()
	rules := "rules \u202e\u2066 of <b>\u0430dmin</b> with Latin words\u200b"
	_, body := a.upload("/rules", map[string]string{"bundle": rules})
	has(t, html.UnescapeString(body), "‹U+202E›‹U+2066›", "‹U+200B›", "<b>‹U+0430›dmin", a.agrees("/rules", "a bundle of "+rules))
	if strings.Contains(body, "<b>") {
		t.Error("what is agreed to is markup: ", body)
	}
}

// TestDeskEndsAfterWhatItDoes: a desk that is ended, or locks itself, in the middle of an act ends
// when the act has: nothing is done by half, and the keys go then.
func TestDeskEndsAfterWhatItDoes(t *testing.T) {
	f := &fake{slow: make(chan struct{})}
	a := entered(t, f)
	a.unlock()
	form := "/case/" + anID + "/ask"
	a.post(form, url.Values{"text": {"Which one?"}})
	sign := url.Values{"agreed": {a.agrees(form, "This is signed: Which one?")}, "press": {a.newPress()}}
	sent := a.begins(t.Context(), form+"/sign", sign)
	a.relock()
	locked := f.locked.Load()
	a.end()
	select {
	case err := <-a.ended:
		t.Fatal("it ended in the middle: ", err)
	case <-time.After(100 * time.Millisecond):
	}
	close(f.slow)
	if err := <-a.ended; err != nil {
		t.Error(err)
	}
	<-sent
	if f.asked.Load() != 1 || f.locked.Load() <= locked {
		t.Errorf("done %d times, locked %d times", f.asked.Load(), f.locked.Load())
	}
}

// TestWhatIsSignedIsWhatWasTyped: of what was typed in two tabs, that is signed whose page is
// pressed, or nothing: also where both pages say the same.
func TestWhatIsSignedIsWhatWasTyped(t *testing.T) {
	f := &fake{}
	a := entered(t, f)
	a.unlock()
	agreed := regexp.MustCompile(`name="agreed" value="([0-9a-f]{64})"`)
	for form, tabs := range map[string][2]url.Values{
		"/case/" + anID + "/ask": {{"text": {"Which one?"}, "more": {"yes"}}, {"text": {"Which one?"}, "more": {"no"}}},
		"/seat/away":             {{"from": {"2026-12-24"}, "until": {"2027-01-04"}}, {"from": {"2026-12-24"}, "until": {"2027-02-04"}}},
	} {
		_, first := a.post(form, tabs[0])
		_, second := a.post(form, tabs[1])
		one, other := agreed.FindStringSubmatch(first), agreed.FindStringSubmatch(second)
		if one == nil || other == nil || one[1] == other[1] {
			t.Fatalf("%s: %q and %q", form, one, other)
		}
		before := f.asked.Load()
		if _, body := a.post(form+"/sign", url.Values{"agreed": {one[1]}}); f.asked.Load() != before || !strings.Contains(body, "desk.changed") {
			t.Errorf("%s: the page of the first tab signs what was typed in the second: %s", form, body)
		}
		if a.post(form+"/sign", url.Values{"agreed": {other[1]}}); f.asked.Load() != before+1 {
			t.Errorf("%s: what was shown is not signed", form)
		}
	}
	_, body := a.upload("/rules", map[string]string{"bundle": "rules", "transcript": "one"})
	_, other := a.upload("/rules", map[string]string{"bundle": "rules", "transcript": "another"})
	if one := agreed.FindStringSubmatch(body); one == nil || strings.Contains(other, one[1]) {
		t.Error("a file that was chosen in another tab is signed: ", body, other)
	}
}
