package desk

import (
	"context"
	"errors"
	"html"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/penname/penname/escrow/custodian"
	"github.com/penname/penname/policy"
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
	has(t, body, "What you had sent with a button is kept. What you only typed into a page, and did not send, is not.")
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

// TestTooLongAFormHasAWayBack: what is not read leads back to the desk.
func TestTooLongAFormHasAWayBack(t *testing.T) {
	a := entered(t, &fake{})
	a.unlock()
	form := "--x\r\nContent-Disposition: form-data; name=\"bundle\"; filename=\"b\"\r\n\r\n" + strings.Repeat("x", MaxBody) + "\r\n--x--\r\n"
	res, body := a.do(http.MethodPost, "/rules", nil, header("Content-Type", "multipart/form-data; boundary=x"), func(r *http.Request) {
		r.Body, r.ContentLength = io.NopCloser(strings.NewReader(form)), int64(len(form))
	})
	if res.StatusCode != http.StatusRequestEntityTooLarge {
		t.Error(res.Status)
	}
	has(t, body, "more than 32 MB", `<a href="`+a.prefix+`/">To the first page</a>`)
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
