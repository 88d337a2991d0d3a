package desk

import (
	"context"
	"errors"
	"fmt"
	"html"
	"html/template"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/penname/penname/escrow/custodian"
	"github.com/penname/penname/policy"
	"github.com/penname/penname/verifier/languages"
)

// lacks fails where a page shows one of these.
func lacks(t *testing.T, body string, not ...string) {
	t.Helper()
	for _, one := range not {
		if strings.Contains(body, one) {
			t.Errorf("it shows %q: %s", one, body)
		}
	}
}

// TestRulesCanBeLeft: who was shown what a bundle says goes back without signing, chooses another
// one, and throws away what they chose.
func TestRulesCanBeLeft(t *testing.T) {
	a := entered(t, &fake{})
	a.unlock()
	_, body := a.upload("/rules", map[string]string{"bundle": "rules"})
	has(t, body, "Endorse this?", "a bundle of rules")
	_, body = a.do(http.MethodGet, "/rules", nil)
	has(t, body, "Show what it says", `type="file"`, "Read again what you chose", `action="`+a.prefix+`/rules/leave"`)
	lacks(t, body, a.agrees("/rules", "a bundle of rules"))
	_, body = a.upload("/rules", map[string]string{"bundle": "other rules"})
	has(t, body, "a bundle of other rules")
	_, body = a.post("/rules/leave", url.Values{})
	lacks(t, body, "kept:", "Read again what you chose", "rules/leave")
	if to, _ := a.post("/rules/sign", url.Values{"agreed": {a.agrees("/rules", "a bundle of other rules")}}); to == "/rules/sign" {
		t.Error("what was thrown away can be signed")
	}
	if _, body := a.do(http.MethodGet, "/", nil); strings.Contains(body, "did not endorse it yet") {
		t.Error("what was thrown away is still begun")
	}
}

// TestDraftsAreThrownAway: what was begun and is not wanted goes away from the first page.
func TestDraftsAreThrownAway(t *testing.T) {
	a := entered(t, &fake{})
	a.unlock()
	a.do(http.MethodPost, "/case/"+anID+"/approve", url.Values{"press": {a.newPress()}, "text": {"I read it"}})
	a.post("/seat/away", url.Values{"from": {"2026-12-24"}, "until": {""}})
	_, body := a.do(http.MethodGet, "/", nil)
	has(t, body, "You began to answer case "+anID, "You began something at your seat", "Throw it away: what you typed about case "+anID, "Throw it away: what you typed at your seat")
	for _, path := range []string{"/case/" + anID + "/leave", "/seat/leave"} {
		if to, _ := a.post(path, url.Values{}); to != "/" && to != "/seat" {
			t.Error(path, to)
		}
	}
	_, body = a.do(http.MethodGet, "/", nil)
	lacks(t, body, "You began", "Throw it away")
	if f := a.draft("/case/" + anID + "/approve"); typedIn(f.values) {
		t.Error("it is kept: ", f.values)
	}
}

// TestAnAnswerStands: a case that was answered says what, offers no form that would change it, and
// a press on a page from before says that it was answered; what was typed there is not what it says.
func TestAnAnswerStands(t *testing.T) {
	f := &fake{}
	a := entered(t, f)
	a.unlock()
	page := "/case/" + anID
	// A refusal lies open in one tab, and the case is answered in the other.
	_, body := a.post(page+"/refuse", url.Values{"reason": {"disproportionate"}})
	has(t, body, "Nothing is signed yet")
	f.answered = Answered{Kind: Approve, At: time.Date(2026, 11, 30, 9, 0, 0, 0, time.UTC), Signed: "target 1: yes"}
	for _, form := range []string{"/refuse/sign", "/approve/sign", "/recuse/sign"} {
		_, body = a.post(page+form, url.Values{"agreed": {a.agrees(strings.TrimSuffix(page+form, "/sign"), "This is signed: ")}})
		has(t, body, "custodian.you_answered", "You answered this case on 2026-11-30", "target 1: yes")
		lacks(t, body, "desk.incomplete", `href="#refuse-reason"`)
	}
	_, body = a.post(page+"/recuse", url.Values{"text": {"I know him."}})
	has(t, body, "custodian.you_answered")
	if n := f.asked.Load(); n != 0 {
		t.Errorf("signed %d times", n)
	}
	_, body = a.post(page+"/again", url.Values{})
	has(t, body, "asked")
	lacks(t, body, "custodian.you_answered")
	if n := f.asked.Load(); n != 1 {
		t.Errorf("sent %d times", n)
	}
	f.answered.Older = true // under rules of before
	_, body = a.post(page+"/refuse", url.Values{"reason": {"disproportionate"}})
	has(t, body, "Nothing is signed yet")
	f.answered = Answered{}

	// What was signed or thrown away elsewhere waits for nobody.
	a.post(page+"/leave", url.Values{})
	_, body = a.post(page+"/refuse/sign", url.Values{"agreed": {a.agrees(page+"/refuse", "This is signed: ")}})
	has(t, body, "desk.nothing_waits")
	lacks(t, body, "desk.incomplete")
}

// TestWhatIsKeptIsSaidAsItIs: a desk that locked itself promises no more than it keeps, and nothing
// where nothing was typed; a wrong passphrase is said once.
func TestWhatIsKeptIsSaidAsItIs(t *testing.T) {
	a := entered(t, &fake{})
	_, body := a.do(http.MethodGet, "/", nil)
	lacks(t, body, "is kept")
	_, body = a.post("/unlock", url.Values{"passphrase": {"wrong"}})
	if n := strings.Count(body, "custodian.wrong_passphrase"); n != 1 {
		t.Errorf("the code stands %d times", n)
	}
	if said := html.UnescapeString(a.draft("unlock").problem.English); strings.Count(strings.ToLower(html.UnescapeString(body)), strings.ToLower(said[1:])) != 1 {
		t.Errorf("it is not said once: %s", body)
	}
	has(t, body, `<a href="#passphrase">`, `aria-describedby="problem"`)
	a.unlock()
	a.do(http.MethodPost, "/case/"+anID+"/ask", url.Values{"press": {a.newPress()}, "text": {"Which one?"}})
	a.relock()
	_, body = a.do(http.MethodGet, "/", nil)
	has(t, body, "What you sent with a button of a page is kept until the desk ends, also with the buttons that lock it or change its language. What you only typed into a page is not.")
}

// TestWhoIsNoCustodianYet: a new custodian's first page says what they are to do, and offers no
// second try.
func TestWhoIsNoCustodianYet(t *testing.T) {
	o := Options{Custodian: (&fake{}).custodian()}
	why := error(policy.ErrUnknownCustodian)
	o.Custodian.Queue = func(context.Context, string, bool) (Queue, error) { return Queue{}, why }
	a := enteredBy(t, o)
	a.unlock()
	_, body := a.do(http.MethodGet, "/", nil)
	has(t, body, "The rules in force do not name you as a custodian", "/seat")
	lacks(t, body, "Try again", "custodian.unknown", `id="problem"`)
	why = errors.New("no answer")
	_, body = a.do(http.MethodGet, "/", nil)
	has(t, body, "Try again", `id="problem"`)
}

// TestAFileThatIsTooLong: it is not kept, and its field says so; what was typed and chosen beside it, also
// behind it, stays, and so does the file of before.
func TestAFileThatIsTooLong(t *testing.T) {
	a := entered(t, &fake{})
	a.unlock()
	send := func(path string, parts ...string) (res *http.Response, body string) {
		t.Helper()
		form := "--x\r\nContent-Disposition: form-data; name=\"press\"\r\n\r\n" + a.newPress() + "\r\n"
		for _, part := range parts {
			form += "--x\r\nContent-Disposition: form-data; " + part + "\r\n"
		}
		form += "--x--\r\n"
		return a.do(http.MethodPost, path, nil, header("Content-Type", "multipart/form-data; boundary=x"), func(r *http.Request) {
			r.Body, r.ContentLength = io.NopCloser(strings.NewReader(form)), int64(len(form))
		})
	}
	file := func(field, content string) string {
		return fmt.Sprintf("name=%q; filename=\"f\"\r\n\r\n%s", field, content)
	}
	long := strings.Repeat("x", MaxBody+1)
	res, _ := send("/ceremony", file("plan", long), "name=\"hash\"\r\n\r\n3f29")
	if res.StatusCode != http.StatusSeeOther {
		t.Fatal(res.Status)
	}
	_, body := a.follow(res)
	has(t, body, "desk.file_too_long", `<a href="#plan">`, `id="plan-wrong"`, `value="3f29"`)
	lacks(t, body, "kept:")
	res, _ = send("/rules", file("transcript", long), file("bundle", "rules"))
	_, body = a.follow(res)
	has(t, body, `id="transcript-wrong"`, "kept: f;")
	res, _ = send("/seat/receive", file("receive:share", long), "name=\"away:from\"\r\n\r\n2026-12-24")
	_, body = a.follow(res)
	has(t, body, `<a href="#share">`, `id="share-wrong"`, `value="2026-12-24"`)
	res, body = send("/rules", "name=\"text\"\r\n\r\n"+long) // which no page sends
	if res.StatusCode != http.StatusRequestEntityTooLarge {
		t.Error(res.Status)
	}
	has(t, body, "longer than any form of this desk", `<a href="`+a.prefix+`/">To the first page</a>`)
	if a.draft("/rules").files["bundle"].Name != "f" {
		t.Error("what was kept before is lost")
	}
}

// TestABrokenFormTakesNothingAway: a plain form that cannot be read, or has nothing in it, leaves what
// was typed before as it is, and nobody says that it was kept.
func TestABrokenFormTakesNothingAway(t *testing.T) {
	a := entered(t, &fake{})
	a.unlock()
	form := "/case/" + anID + "/ask"
	a.post(form, url.Values{"text": {"Which one?"}})
	for name, sent := range map[string]string{"broken": "text=%zz", "too long": "text=" + strings.Repeat("x", MaxBody)} {
		res, body := a.do(http.MethodPost, form, nil, func(r *http.Request) {
			r.Body, r.ContentLength = io.NopCloser(strings.NewReader(sent)), int64(len(sent))
		})
		if res.StatusCode != http.StatusRequestEntityTooLarge {
			t.Errorf("%s: %s", name, res.Status)
		}
		has(t, body, "nothing of it was kept")
	}
	a.again(form, url.Values{"press": {secret()}}) // of an old page, with nothing in it
	if f := a.draft(form); f.values.Get("text") != "Which one?" {
		t.Errorf("it was taken away: %+v", f)
	}
}

// TestPlanIsShownWithAWrongHash: the plan stays in sight of who compares its hash again.
func TestPlanIsShownWithAWrongHash(t *testing.T) {
	o := Options{Custodian: (&fake{}).custodian()}
	o.Custodian.Ceremony = func(_ context.Context, file []byte, agreed string) (string, string, error) {
		return "", "plan " + string(file), map[bool]error{true: custodian.ErrNotAgreed, false: custodian.ErrAgreedOther}[agreed == ""]
	}
	a := enteredBy(t, o)
	a.unlock()
	_, body := a.upload("/ceremony", map[string]string{"plan": "of three"})
	has(t, body, "plan of three", "You have agreed to nothing yet")
	lacks(t, body, `id="problem"`)
	_, body = a.post("/ceremony", url.Values{"hash": {"3f2"}})
	has(t, body, "plan of three", "custodian.agreed_other_plan", "This is not the hash of the plan above: nothing was agreed to or kept.", `value="3f2"`)
}

// TestAgainTakesNoWordsOfAForm: what stands in the forms of a case that was answered was shown to
// nobody. Where the words that were agreed to are not known, what is sent is shown first.
func TestAgainTakesNoWordsOfAForm(t *testing.T) {
	o := Options{Custodian: (&fake{answered: Answered{Kind: Refuse}}).custodian()}
	known := true
	var sent []string
	o.Custodian.Do = func(_ context.Context, a Deed, confirm func(string) error) (string, error) {
		if !known {
			if err := confirm("without words"); err != nil {
				return "", err
			}
		}
		sent = append(sent, a.Kind+a.Text)
		return "sent", nil
	}
	a := enteredBy(t, o)
	a.unlock()
	page := "/case/" + anID
	for _, kind := range []string{Approve, Refuse} {
		_, body := a.post(page+"/"+kind, url.Values{"text": {"abandoned"}, "reason": {"disproportionate"}})
		has(t, body, "custodian.you_answered")
	}
	a.post(page+"/again", url.Values{"of": {Refuse}, "text": {"typed since"}})
	if len(sent) != 1 || sent[0] != Again {
		t.Fatalf("sent: %q", sent)
	}
	known = false
	_, body := a.post(page+"/again", url.Values{})
	has(t, body, "Send it again?", "Nothing is sent yet", "without words")
	if len(sent) != 1 {
		t.Fatalf("it is sent before it is shown: %q", sent)
	}
	a.post(page+"/again/sign", url.Values{"agreed": {a.agrees(page+"/again", "without words")}})
	if len(sent) != 2 || sent[1] != Again {
		t.Errorf("sent: %q", sent)
	}
}

// bare has the page of a case leave out who asks, which only a review of a registrar's case can say.
func (a *at) bare() {
	a.t.Helper()
	whole, err := files.ReadFile("pages/case.html")
	if err != nil {
		a.t.Fatal(err)
	}
	a.pages = spoken(languages.Ours)
	template.Must(a.pages[languages.English].Parse(strings.Replace(string(whole), "{{range $r.WhoAsks}}", "{{range $r.Findings}}", 1)))
}

// TestARecusalEndsTheDraft: who does not judge a case has nothing begun in it, also where another tab
// sends what was ticked before, and its page offers no question and no check.
func TestARecusalEndsTheDraft(t *testing.T) {
	o := Options{Custodian: (&fake{}).custodian()}
	open := &Case{Review: &custodian.Review{Warrant: &policy.Warrant{}}}
	o.Custodian.Case = func(string) *Case { return open }
	a := enteredBy(t, o)
	a.bare()
	a.unlock()
	page := "/case/" + anID
	typed := url.Values{"text": {"I know him."}, "approve:t0vote": {"no"}, "ask:text": {"Which one?"}}
	_, body := a.do(http.MethodGet, page, nil)
	has(t, body, `id="ask"`, "Check and read it")
	a.post(page+"/recuse", typed)
	recused := *open
	recused.Recused = true
	open = &recused
	_, body = a.post(page+"/recuse/sign", url.Values{"agreed": {a.agrees(page+"/recuse", "This is signed: I know him.")}})
	has(t, body, "asked", "You said that you do not judge this case")
	lacks(t, body, `id="ask"`, "Check and read it", "What you typed here", "Throw it away")
	if n := a.Begun(); n != 0 {
		t.Errorf("%d forms are kept", n)
	}
	a.do(http.MethodPost, "/lock?form="+page+"/ask", typed)
	a.unlock()
	_, body = a.do(http.MethodGet, "/", nil)
	lacks(t, body, "You began to answer")
}

// TestAPassphraseChangedBefore: a second press of the form that changed the passphrase says that the
// first did, and keeps what that said.
func TestAPassphraseChangedBefore(t *testing.T) {
	f := &fake{}
	a := entered(t, f)
	a.unlock()
	typed := url.Values{"old": {"right"}, "fresh": {"a good new phrase"}, "again": {"a good new phrase"}, "press": {a.newPress()}}
	a.again("/seat/passphrase", typed)
	_, body := a.again("/seat/passphrase", typed)
	has(t, body, "desk.changed_before", "A press before this one changed the passphrase", "The folder opens with the new passphrase")
	lacks(t, body, "desk.type_again", "type it again")
	if n := f.asked.Load(); n != 1 {
		t.Errorf("changed %d times", n)
	}
}

// TestOwnWordsStandBeside: what was signed stands with the words that were agreed to with it, and where
// the case is open with the pen names that it numbers.
func TestOwnWordsStandBeside(t *testing.T) {
	f := &fake{answered: Answered{Kind: Approve, At: time.Now(), Signed: "pen name 1: approve"}}
	o := Options{Custodian: f.custodian()}
	a := enteredBy(t, o)
	a.bare()
	a.unlock()
	_, body := a.do(http.MethodGet, "/case/"+anID, nil)
	lacks(t, body, "In your own words:", "pen1a")
	f.answered.Words = "It is \u202eplain."
	o.Custodian.Case = func(string) *Case {
		return &Case{Review: &custodian.Review{Warrant: &policy.Warrant{}, Targets: []custodian.Target{{PenName: "pen1a", Platform: "forum.example"}}}}
	}
	_, body = a.do(http.MethodGet, "/case/"+anID, nil)
	has(t, body, "In your own words:", "It is ", "plain.", "<li>Pen name 1: <bdi>pen1a</bdi> on <bdi>forum.example</bdi></li>")
}
