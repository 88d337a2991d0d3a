package desk

import (
	"context"
	"html"
	"html/template"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"testing"
	"time"
)

// TestAPressIsOfWhatItSaid: who stops a press that takes long, types something else on the same page
// and presses again, is told that this was not done, and finds it there.
func TestAPressIsOfWhatItSaid(t *testing.T) {
	slow := make(chan struct{})
	o := Options{Custodian: (&fake{}).custodian()}
	o.Custodian.Do = func(_ context.Context, a Deed, confirm func(string) error) (string, error) {
		<-slow
		return "asked", confirm("This is signed: " + a.Text)
	}
	a := enteredBy(t, o)
	a.unlock()
	form, number := "/case/"+anID+"/ask", a.newPress()
	stopped, stop := context.WithCancel(t.Context())
	gone := a.begins(stopped, form, url.Values{"text": {"The first words."}, "press": {number}})
	stop()
	<-gone
	again := make(chan string, 1)
	go func() {
		_, body := a.again(form, url.Values{"text": {"Other words."}, "press": {number}})
		again <- body
	}()
	select {
	case body := <-again:
		t.Fatal("it does not wait for the first: ", body)
	case <-time.After(50 * time.Millisecond):
	}
	close(slow)
	has(t, <-again, "desk.old_page")
	if f := a.draft(form); f.values.Get("text") != "Other words." || f.shown != "" {
		t.Errorf("%+v", f)
	}
	// The same words again are the same press, and so is what was typed since on a page of now.
	_, body := a.again(form, url.Values{"text": {"The first words."}, "press": {number}})
	lacks(t, body, "This is signed: The first words.")
	_, body = a.post(form, url.Values{"text": {"Other words."}})
	has(t, body, "This is signed: Other words.")
	// A number is of one form.
	if _, body = a.again("/case/"+anID+"/recuse", url.Values{"text": {"The first words."}, "press": {number}}); strings.Contains(body, "This is signed") {
		t.Error("another form acts by it: ", body)
	}
}

// TestAPassphraseIsNotDropped: a second press that says another passphrase is not taken for the first,
// and no digest of either is left.
func TestAPassphraseIsNotDropped(t *testing.T) {
	f := &fake{}
	o := Options{Custodian: f.custodian()}
	a := enteredBy(t, o)
	a.unlock()
	typed := url.Values{"old": {"right"}, "fresh": {"a good new phrase"}, "again": {"a good new phrase"}, "press": {a.newPress()}}
	_, body := a.again("/seat/passphrase", typed)
	has(t, body, "opens with the new passphrase")
	typed["fresh"], typed["again"] = []string{"another new phrase"}, []string{"another new phrase"}
	_, body = a.again("/seat/passphrase", typed)
	has(t, body, "desk.changed_before", "nothing of what you typed is kept")
	if n := f.asked.Load(); n != 1 {
		t.Errorf("changed %d times", n)
	}
	o.Custodian.Passphrase = func(context.Context, []byte, []byte, []byte) error { return ErrLocked }
	_, body = a.post("/seat/passphrase", typed)
	has(t, body, "desk.type_again")
	lacks(t, body, "desk.locked")
	a.post("/unlock", url.Values{"passphrase": {"right"}})
	a.mu.Lock()
	defer a.mu.Unlock()
	for number, p := range a.presses {
		if p.said != "" {
			t.Errorf("a digest of a passphrase is left: %s", number)
		}
	}
}

// TestAnOldButtonSaysSo: a press of a button of a page that is not known any more says that it did
// nothing, once; the lock and the passphrase work from any page.
func TestAnOldButtonSaysSo(t *testing.T) {
	f := &fake{}
	a := entered(t, f)
	if _, body := a.again("/unlock", url.Values{"passphrase": {"right"}}); strings.Contains(body, "Unlock the desk") {
		t.Fatal("it does not unlock: ", body)
	}
	for _, path := range []string{"/case/" + anID + "/review", "/case/" + anID + "/leave", "/rules/leave", "/seat/leave", "/seat/receive/leave", "/ceremony/leave", "/seat/card"} {
		to, body := a.again(path, url.Values{"press": {secret()}})
		has(t, body, "desk.old_button", "this press did nothing")
		bare, _, _ := strings.Cut(to, "#")
		if _, body = a.do(http.MethodGet, bare, nil); strings.Contains(body, "desk.old_button") {
			t.Errorf("%s says it for ever", to)
		}
	}
	locked := f.locked.Load()
	if _, body := a.again("/lock", url.Values{"press": {secret()}}); f.locked.Load() != locked+1 || !strings.Contains(body, "Unlock the desk") {
		t.Error("an old page does not lock the desk: ", body)
	}
	clerk := atClerk(t, newClerkOf())
	for _, path := range []string{"/check", "/anew", "/sign", "/file"} {
		_, body := clerk.again("/order/"+anOrderID+path, url.Values{"press": {secret()}})
		has(t, body, "desk.old_button")
	}
}

// TestAPageThatCannotBeShown: it does not say that nothing was done, for something may have been.
func TestAPageThatCannotBeShown(t *testing.T) {
	a := entered(t, &fake{})
	a.unlock()
	for tag := range a.pages {
		a.pages[tag] = template.Must(template.New("queue").Parse(`{{index .Nothing 1}}`))
	}
	res, body := a.do(http.MethodGet, "/", nil)
	if res.StatusCode != http.StatusInternalServerError {
		t.Error(res.Status)
	}
	has(t, body, "What you pressed before may have been done")
	lacks(t, body, "nothing was done", "commands")
}

// TestWhoIsDeniedKnowsWhatWasDone: another browser took the desk, and what the first one sends then
// is neither done nor kept, which it is told.
func TestWhoIsDeniedKnowsWhatWasDone(t *testing.T) {
	a := entered(t, &fake{})
	a.unlock()
	before := *a.cookie
	a.do(http.MethodGet, "/enter/"+a.newLink(), nil)
	form := "/case/" + anID + "/ask"
	a.cookie = &before
	res, body := a.do(http.MethodPost, form, url.Values{"text": {"Which one?"}, "press": {a.newPress()}})
	if res.StatusCode != http.StatusForbidden || typedIn(a.draft(form).values) {
		t.Error(res.Status, a.draft(form))
	}
	has(t, body, "nothing was done, and nothing of what you sent was kept", "Go back to copy what you typed")
	_, body = a.do(http.MethodGet, "/", nil)
	lacks(t, body, "nothing was done")
}

// TestGoOnKeepsAHash: who goes on with one ceremony loses neither the plan nor the hash that they
// chose for another; both can be thrown away.
func TestGoOnKeepsAHash(t *testing.T) {
	a := entered(t, &fake{})
	a.unlock()
	a.upload("/ceremony", map[string]string{"plan": "of three"})
	_, body := a.post("/ceremony/on/3f29", url.Values{"hash": {"77aa"}})
	has(t, body, "plan of four", `value="77aa"`, "kept: a \uFFFDfile")
	_, body = a.post("/ceremony/on/0000", url.Values{"hash": {"77aa"}})
	has(t, body, "desk.nothing_waits", `value="77aa"`)
	has(t, body, `action="`+a.prefix+`/ceremony/leave"`, "Throw it away: the plan that you chose, with its hash")
	_, body = a.post("/ceremony/leave", url.Values{})
	lacks(t, body, "kept:", "77aa", "/ceremony/leave", "plan of four")
	_, body = a.upload("/seat/receive", map[string]string{"share": "another"})
	has(t, body, `formaction="`+a.prefix+`/seat/receive/leave"`)
	_, body = a.do(http.MethodGet, "/", nil)
	has(t, body, "You began something at your seat")
	_, body = a.post("/seat/receive/leave", url.Values{"away:from": {"2026-12-24"}})
	has(t, body, `value="2026-12-24"`)
	lacks(t, body, "kept: a", "/seat/receive/leave")
}

var (
	postForms = regexp.MustCompile(`(?s)<form method="post"[^>]*>.*?</form>`)
	aField    = regexp.MustCompile(`<textarea|<select|<input (?:class="wide" )?(?:id="[^"]*" name=|type="(?:text|date|radio|checkbox)")`)
)

// TestWhatIsTypedGoesAlong: on every page of each desk where something is typed, the lock and the
// languages are buttons of the form that it is typed into, which is one for the whole page.
func TestWhatIsTypedGoesAlong(t *testing.T) {
	typed := 0
	for a, paths := range ofPages(t) {
		for _, path := range paths {
			_, body := a.do(http.MethodGet, path, nil)
			n := strings.Count(body, `id="typing"`)
			for _, form := range postForms.FindAllString(body, -1) {
				if aField.MatchString(form) && !strings.Contains(form, `id="typing"`) {
					t.Errorf("%s: what is typed here is lost: %s", path, form)
				}
			}
			buttons := regexp.MustCompile(`<button form="typing"[^>]* formaction="`+a.prefix+`/(?:lock|language/cy)\?[^"]*form=([^"&]+)["&]`).FindAllStringSubmatch(body, -1)
			if n > 1 || n == 1 && len(buttons) != 2 || n == 0 && (len(buttons) > 0 || strings.Contains(body, `form="typing"`)) {
				t.Errorf("%s: %d forms, %q", path, n, buttons)
			}
			for _, b := range buttons {
				form, err := url.QueryUnescape(html.UnescapeString(b[1]))
				if typed++; err != nil || !a.owner.form(form) {
					t.Errorf("%s: nobody takes what is typed into %q", path, form)
				}
			}
		}
	}
	if typed < 20 {
		t.Errorf("%d buttons", typed)
	}
}

// TestTypingOutlastsLockAndLanguage: what was typed and not sent is there in the other language and
// after the lock, of each form of a page; what was said of the last press stays, and what was shown
// does while the words are the same.
func TestTypingOutlastsLockAndLanguage(t *testing.T) {
	a := entered(t, &fake{})
	a.unlock()
	seat := url.Values{"away:from": {"2026-12-24"}, "away:until": {""}, "deputise:alternate": {"aldo"}, "press": {a.newPress()}}
	to, body := a.again("/language/cy?form=%2Fseat%2Faway&to=%2Fseat", seat)
	if to != "/seat" {
		t.Error(to)
	}
	has(t, body, `<html lang="cy">`, `value="2026-12-24"`, `value="aldo" checked`)
	seat.Set("away:until", "2026-12-20")
	_, body = a.post("/seat/away", seat)
	has(t, body, "custodian.away_days", `value="aldo" checked`)
	seat.Set("deputise:alternate", "")
	_, body = a.again("/lock?form=/seat/away", seat)
	has(t, body, "Datgloi’r ddesg")
	a.unlock()
	_, body = a.do(http.MethodGet, "/seat", nil)
	has(t, body, "custodian.away_days", `value="2026-12-20"`)
	lacks(t, body, `value="aldo" checked`)

	a.into(a.Languages, "en")
	ask := "/case/" + anID + "/ask"
	a.post(ask, url.Values{"ask:text": {"Which one?"}, "recuse:text": {"I know him."}})
	if f := a.draft("/case/" + anID + "/recuse"); f.values.Get("text") != "I know him." {
		t.Errorf("what stands in the form beside is lost: %+v", f)
	}
	a.again("/language/cy?form="+ask+"&to=/", url.Values{"ask:text": {"Which one?"}, "refuse:reason": {""}})
	if f := a.draft(ask); f.shown == "" {
		t.Error("what was shown goes away with the language")
	}
	a.again("/language/en?form="+ask+"&to=/", url.Values{"ask:text": {"Which two?"}})
	if f := a.draft(ask); f.shown != "" || f.values.Get("text") != "Which two?" {
		t.Errorf("%+v", f)
	}
	for _, form := range []string{"", "/case/x/ask", "/unlock", "unlock", "//evil.example"} {
		a.again("/language/en?form="+url.QueryEscape(form)+"&to=/", url.Values{"text": {"x"}, "../unlock:text": {"x"}})
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	for form := range a.drafts {
		if !a.owner.form(form) {
			t.Errorf("%q is no form", form)
		}
	}
}

// TestNobodySavesThePassphrase: no page asks a browser to keep it.
func TestNobodySavesThePassphrase(t *testing.T) {
	a := entered(t, &fake{})
	_, locked := a.do(http.MethodGet, "/", nil)
	a.unlock()
	_, seat := a.do(http.MethodGet, "/seat", nil)
	for _, body := range []string{locked, seat} {
		has(t, body, "let the browser save it")
		for _, field := range regexp.MustCompile(`<input type="password"[^>]*>`).FindAllString(body, -1) {
			if !strings.Contains(field, `autocomplete="off"`) {
				t.Error(field)
			}
		}
	}
}

// TestAPieceLeavesTheScreen: the page of something that was published, and its picture alone, leave
// the screen by themselves, for a page that the desk answers; what is not shown is said.
func TestAPieceLeavesTheScreen(t *testing.T) {
	o := newClerkOf().officer()
	kind, aPiece := "image/webp", strings.Repeat("0a", 32)
	o.Exhibit = func(string, string) (Exhibit, []byte, error) {
		return Exhibit{Type: kind, SHA256: aPiece}, []byte("it"), nil
	}
	a := enteredBy(t, Options{Officer: o, Picture: func(context.Context, []byte) ([]byte, error) { return []byte("drawn"), nil }})
	a.unlock()
	evidence := "/order/" + anOrderID + "/evidence"
	res, body := a.do(http.MethodGet, evidence+"/"+aPiece, nil)
	has(t, body, "The picture that was published", "This page leaves the screen by itself after 60 minutes.")
	lacks(t, body, "This desk does not show")
	leaves := "3601; url=" + a.prefix + evidence
	if res.Header.Get("Refresh") != leaves {
		t.Error(res.Header)
	}
	if res, body = a.do(http.MethodGet, evidence+"/"+aPiece+"/picture.png", nil); body != "drawn" || res.Header.Get("Refresh") != leaves || res.Header.Get("Content-Security-Policy") != policyOfPicture {
		t.Error(res.Header, body)
	}
	kind = "video/mp4"
	_, body = a.do(http.MethodGet, evidence+"/"+aPiece, nil)
	has(t, body, "This desk does not show what is in it.", "This page leaves the screen by itself")
	if res, _ := a.do(http.MethodGet, evidence+"/"+aPiece+"/picture.png", nil); res.StatusCode != http.StatusNotFound {
		t.Error(res.Status)
	}
}

// TestAnEmptyPageIsNotAnEmptyQueue: where more pages follow, one without a case says so of itself alone.
func TestAnEmptyPageIsNotAnEmptyQueue(t *testing.T) {
	o := Options{Custodian: (&fake{}).custodian()}
	next := "1"
	o.Custodian.Queue = func(context.Context, string, bool) (Queue, error) { return Queue{Others: 3, Next: next}, nil }
	a := enteredBy(t, o)
	a.unlock()
	_, body := a.do(http.MethodGet, "/", nil)
	has(t, body, "None of the cases on this page waits for you.", "More cases")
	lacks(t, body, "No case waits for you.")
	next = ""
	_, body = a.do(http.MethodGet, "/", nil)
	has(t, body, "No case waits for you.")
}

// TestTheLinkIsWhereASnapLooks: the file of a link is in a visible folder of the person's own, where
// there is one that can be written and nobody named another.
func TestTheLinkIsWhereASnapLooks(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("snaps are Linux's")
	}
	a := serve(t, &fake{}, time.Hour, time.Hour)
	named, home := os.Getenv("TMPDIR"), t.TempDir()
	in := func(tmp, home string) string {
		t.Helper()
		t.Setenv("TMPDIR", tmp)
		t.Setenv("HOME", home)
		file, err := a.LinkFile()
		if err != nil {
			t.Fatal(err)
		}
		a.forgetLink()
		if _, err := os.Stat(filepath.Dir(file)); err == nil {
			t.Error("it stays: ", file)
		}
		return filepath.Dir(filepath.Dir(file))
	}
	for _, c := range []struct{ tmp, home, want string }{
		{"", home, home}, {named, home, named}, {"", filepath.Join(home, ".hidden", "x"), "/tmp"}, {"", filepath.Join(home, "missing"), "/tmp"}, {"", "", "/tmp"},
	} {
		if got := in(c.tmp, c.home); got != c.want {
			t.Errorf("TMPDIR %q and HOME %q: %s", c.tmp, c.home, got)
		}
	}
}

// TestAPressOnALockedDesk: who presses where another tab locked the desk is told before and after they
// unlock it that nothing was signed; a wrong passphrase in a tab of before says that it locked the desk.
func TestAPressOnALockedDesk(t *testing.T) {
	f := &fake{}
	o := Options{Custodian: f.custodian()}
	locked := true
	do := o.Custodian.Do
	o.Custodian.Do = func(ctx context.Context, a Deed, confirm func(string) error) (string, error) {
		if locked {
			return "", ErrLocked
		}
		return do(ctx, a, confirm)
	}
	const signedNothing, wasOpen = "that press signed and sent nothing", "The desk was open in another tab: it is locked now."
	a := enteredBy(t, o)
	form := "/case/" + anID + "/ask"
	_, body := a.do(http.MethodGet, "/", nil)
	lacks(t, body, signedNothing, wasOpen)
	_, body = a.post(form, url.Values{"text": {"Which one?"}})
	has(t, body, "Unlock the desk", signedNothing)
	_, body = a.post("/unlock", url.Values{"passphrase": {"wrong"}})
	has(t, body, signedNothing)
	lacks(t, body, wasOpen)
	_, body = a.post("/unlock", url.Values{"passphrase": {"right"}, "to": {"/case/" + anID}})
	has(t, body, "desk.locked", "The desk was locked when you pressed: nothing was signed or sent, and what is in the form is kept; press again.")
	locked = false
	_, body = a.post(form, url.Values{"text": {"Which one?"}})
	has(t, body, "This is signed: Which one?")
	_, body = a.post("/unlock", url.Values{"passphrase": {"wrong"}})
	has(t, body, "Unlock the desk", "custodian.wrong_passphrase", wasOpen)
	lacks(t, body, signedNothing)
	if f.asked.Load() != 0 {
		t.Error("it was signed")
	}
}

// TestANewLinkLocks: who opens a new link finds a locked desk of either sort, with what was typed.
func TestANewLinkLocks(t *testing.T) {
	f := &fake{}
	clerk := atClerk(t, newClerkOf())
	for a, first := range map[*at]string{entered(t, f): "/", clerk: "/"} {
		a.unlock()
		a.keep("/case/"+anID+"/ask", &draft{values: url.Values{"text": {"Which one?"}}})
		_, body := a.do(http.MethodGet, first, nil)
		lacks(t, body, "Unlock the desk")
		res, _ := a.do(http.MethodGet, "/enter/"+a.newLink(), nil)
		a.cookie = res.Cookies()[0]
		_, body = a.do(http.MethodGet, first, nil)
		has(t, body, "Unlock the desk")
		if a.Begun() != 1 {
			t.Errorf("%d forms are kept", a.Begun())
		}
	}
	if f.locked.Load() != 1 {
		t.Errorf("the keys were dropped %d times", f.locked.Load())
	}
}

// TestWhatIsGoneIsCounted: forms with something typed or chosen are counted, and what a desk made is not.
func TestWhatIsGoneIsCounted(t *testing.T) {
	a := entered(t, &fake{})
	a.unlock()
	a.post("/seat/card", url.Values{})
	if n := a.Begun(); n != 0 {
		t.Error(n)
	}
	a.post("/case/"+anID+"/ask", url.Values{"text": {"Which one?"}, "refuse:text": {"None."}})
	a.upload("/rules", map[string]string{"bundle": "of rules"})
	if n := a.Begun(); n != 3 {
		t.Error(n)
	}
}
