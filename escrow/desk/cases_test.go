package desk

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/penname/penname/escrow/custodian"
	"github.com/penname/penname/escrow/registrar"
	"github.com/penname/penname/escrow/web/pagetest"
	"github.com/penname/penname/verifier/opening"
	"github.com/penname/penname/verifier/refusal"
)

const (
	aHash    = "ab12"
	aFolder  = "0123456789abcdef"
	theName  = "Dexter Crallow"
	officers = "/case/" + anID
)

// bureau is an officer's work that is counted.
type bureau struct {
	mu       sync.Mutex
	open     *Opened
	followed []FollowUp
	tried    atomic.Int32
	list     func(from string) (OwnCases, error)
	edit     func(*OwnCase) // what is read of a case
	now      time.Time
	order    *Signed
	unread   []error
	follow   error // of what is confirmed
	unlock   error
}

func (b *bureau) officer() *Officer {
	shut := func() *Opened {
		b.mu.Lock()
		defer b.mu.Unlock()
		return b.open
	}
	set := func(o *Opened) {
		b.mu.Lock()
		defer b.mu.Unlock()
		b.open = o
	}
	return &Officer{
		ID: "court", Name: "The Court", Unlock: func(context.Context, []byte) error { return b.unlock }, Lock: func() { set(nil) },
		Orders: func() ([]Order, error) { return nil, nil },
		Cases: Cases{Signs: true, Opens: true,
			List: func(_ context.Context, from string) (OwnCases, error) { return b.list(from) },
			Read: func(_ context.Context, id string) (*OwnCase, error) {
				c := &OwnCase{CaseStatus: registrar.CaseStatus{Case: id, Kind: "production", State: "released", Quorum: 2, Targets: []registrar.TargetStatus{{TargetState: opening.TargetState{State: "released"}}}},
					Order: b.order, Now: []string{StepAnswer, StepOpen}, Later: []string{StepWithdraw}, Unread: []error{ErrUnread},
					Said:       []custodian.Said{{Kind: opening.Question, By: "alba", Text: "Which\u202e post?", Digest: "d1"}, {Kind: opening.Question, By: "bruno", Text: "Done?", Digest: "d2", Answer: "Yes."}},
					Objections: []Objection{{Digest: "o1", Words: "objection of the person"}}}
				if b.edit != nil {
					b.edit(c)
				}
				return c, nil
			},
			Signed: func(string, *OwnCase) ([]Signed, []error) {
				return []Signed{{Hash: aHash, Kind: "production", Authority: "The Court", FileNumber: "TC 1", File: "order.jws", Targets: []string{"pen1a@x", "pen1b@x"}}}, b.unread
			},
			Follow: func(_ context.Context, f FollowUp, confirm func(string) error) (string, error) {
				b.tried.Add(1)
				if strings.Contains(f.Text, "refuse") {
					return "", custodian.ErrOtherBundle
				}
				if err := confirm("This is signed: " + f.Text); err != nil {
					return "", err
				}
				b.mu.Lock()
				defer b.mu.Unlock()
				b.followed = append(b.followed, f)
				return "it is filed", b.follow
			},
		},
		Openings: Openings{
			Free: func(id string) string { return "/free/" + id },
			Open: func(_ context.Context, _, folder string) (string, error) {
				if folder == "broken" {
					return "/kept/broken", custodian.ErrOtherBundle
				}
				set(&Opened{Ref: aFolder, Folder: folder, Targets: []OpenedTarget{{PenName: "pen1a", Platform: "x", Identity: [][2]string{{"name", theName}}}}})
				return folder, nil
			},
			Opened: func(string) *Opened { return shut() }, PutAway: func(string) { set(nil) },
			Folders: func() []Folder { return []Folder{{Ref: aFolder, Path: "/kept/one"}} },
			Folder:  func(ref string) (Folder, bool) { return Folder{Ref: ref, Path: "/kept/one"}, ref == aFolder },
			Name: func(path string) (string, error) {
				if path != "/kept/one" {
					return "", ErrUnread
				}
				return aFolder, nil
			},
			Check: func(context.Context, string) (string, error) { return "it holds", nil },
			Sign: func(_ context.Context, _ string, confirm func(string) error) (string, error) {
				return "it is certified", confirm("the certificate of a folder")
			},
			Certificate: func(string) ([]byte, error) { return []byte("<p>" + theName), nil },
		},
	}
}

// bureauAt is such a desk that is entered and unlocked.
func bureauAt(t testing.TB, b *bureau, idle time.Duration) *at {
	t.Helper()
	t.Setenv("TMPDIR", t.TempDir())
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if b.now.IsZero() {
		b.now = time.Now()
	}
	if b.list == nil {
		b.list = func(string) (OwnCases, error) { return OwnCases{}, nil }
	}
	d, err := New(Options{Officer: b.officer(), Idle: idle, Stop: time.Hour, Now: func() time.Time { return b.now }, Explain: func(err error) *registrar.Problem {
		if e := refusal.Of(err); e != nil {
			return &registrar.Problem{Code: e.Code, Title: e.Mend}
		}
		return &registrar.Problem{Code: "failed", Title: err.Error()}
	}}, ln)
	if err != nil {
		t.Fatal(err)
	}
	a := &at{Desk: d, t: t, ended: make(chan error, 1)}
	ctx, end := context.WithCancel(context.Background())
	go func() { a.ended <- d.Serve(ctx) }()
	t.Cleanup(end)
	res, _ := a.do(http.MethodGet, "/enter/"+a.newLink(), nil)
	for _, c := range res.Cookies() {
		a.cookie = c
	}
	a.do(http.MethodPost, "/unlock", url.Values{"press": {a.newPress()}})
	return a
}

// bureauPages are all pages of cases and openings, and bureauForms all that changes something there.
var (
	bureauPages = []string{"/cases", "/cases?from=1", "/case", "/case?id=" + anID, officers, officers + "/answer", officers + "/rule", officers + "/withdraw", officers + "/extend", officers + "/secrecy",
		officers + "/redeliver", officers + "/deleted", officers + "/validate", officers + "/answer/sign", officers + "/open", officers + "/opened", "/openings", "/openings/" + aFolder, "/openings/" + aFolder + "/sign", "/openings/" + aFolder + "/certificate"}
	bureauForms = []string{officers + "/answer", officers + "/answer/sign", officers + "/open", officers + "/away", "/openings", "/openings/" + aFolder + "/check", "/openings/" + aFolder + "/sign", "/openings/" + aFolder + "/agree"}
)

// TestBureauIsShut: others, pages from elsewhere and a locked desk get none of its pages, and none
// of its forms does anything for them.
func TestBureauIsShut(t *testing.T) {
	b := &bureau{open: &Opened{Targets: []OpenedTarget{{Identity: [][2]string{{"name", theName}}}}}}
	a := bureauAt(t, b, time.Hour)
	b.open = &Opened{Ref: aFolder, Targets: []OpenedTarget{{Identity: [][2]string{{"name", theName}}}}}
	for name, edit := range map[string]func(*http.Request){
		"a name bound anew": func(r *http.Request) { r.Host = "evil.example" }, "another user": header("Cookie", ""), "another page": header("Sec-Fetch-Site", "cross-site"), "another port": header("Sec-Fetch-Site", "same-site"),
	} {
		for _, path := range bureauPages {
			if res, body := a.do(http.MethodGet, path, nil, edit); res.StatusCode < 400 || strings.Contains(body, theName) || strings.Contains(body, "The Court") {
				t.Errorf("%s sees %s: %s", name, path, body)
			}
		}
	}
	typed := url.Values{"text": {"words"}, "digest": {"d1"}, "order": {aHash}, "folder": {"/x"}}
	for name, edit := range map[string]func(*http.Request){
		"a name bound anew": func(r *http.Request) { r.Host = "evil.example" }, "another user": header("Cookie", ""), "another page": header("Origin", "https://evil.example"), "a form without an origin": header("Origin", ""), "another port": header("Sec-Fetch-Site", "same-site"),
	} {
		for _, path := range bureauForms {
			typed.Set("press", a.newPress())
			if res, _ := a.do(http.MethodPost, path, typed, edit); res.StatusCode < 400 {
				t.Errorf("%s sends %s: %s", name, path, res.Status)
			}
		}
	}
	typed.Set("press", secret())
	for _, path := range bureauForms { // of no page that was shown
		if res, _ := a.do(http.MethodPost, path, typed); res.StatusCode != http.StatusSeeOther {
			t.Error(path, res.Status)
		}
	}
	if b.tried.Load() != 0 || b.open == nil {
		t.Error("something was done")
	}
	for _, path := range bureauPages {
		if res, _ := a.do(http.MethodGet, path, nil); res.Header.Get("Cache-Control") != "no-store" || res.StatusCode >= 400 {
			t.Error(path, res.Status, res.Header)
		}
	}
	a.relock()
	for _, path := range bureauPages {
		if _, body := a.do(http.MethodGet, path, nil); !strings.Contains(body, "Unlock") || strings.Contains(body, theName) {
			t.Errorf("%s is open: %s", path, body)
		}
	}
	if b.open != nil {
		t.Error("what was opened stays when the desk is locked")
	}
	for _, path := range []string{"/case/x", "/case/" + anID + "/nothing", "/case/" + anID + "/nothing/sign", "/openings/x", "/openings/" + strings.Repeat("0", 16)} {
		a.do(http.MethodPost, "/unlock", url.Values{"press": {a.newPress()}})
		if res, body := a.do(http.MethodGet, path, nil); res.StatusCode != http.StatusNotFound {
			t.Error(path, res.Status, body)
		}
	}
}

// TestOverdueComesFirst: what is overdue stands first and is said first, each date with how long
// that is; a long list comes page by page.
func TestOverdueComesFirst(t *testing.T) {
	now := time.Date(2026, 11, 30, 12, 0, 0, 0, time.UTC)
	at := func(n int, d time.Duration, waits ...string) OwnCase {
		return OwnCase{CaseStatus: registrar.CaseStatus{Case: strings.Repeat("a", 25) + string(rune('a'+n%26)), Kind: "production", State: "recorded", Quorum: 2, PenNames: 1,
			Next: &opening.Deadline{What: opening.DeadlineAnswer, At: now.Add(d)}}, Now: waits}
	}
	all := []OwnCase{at(0, 40*time.Minute), at(1, -3*time.Hour, StepAnswer), at(2, 30*time.Hour), at(3, -50*24*time.Hour, StepValidate, StepRule)}
	for n := range 996 {
		all = append(all, at(n, time.Duration(n+100)*time.Hour))
	}
	b := &bureau{now: now, list: func(from string) (OwnCases, error) {
		n := 0
		if from == "x" {
			return OwnCases{}, ErrUnread
		}
		fmt.Sscan(from, &n) //nolint:errcheck // "" is 0
		page := OwnCases{Cases: all[n:min(n+50, len(all))]}
		if n+50 < len(all) {
			page.Next = fmt.Sprint(n + 50)
		}
		return page, nil
	}}
	a := bureauAt(t, b, time.Hour)
	_, body := a.do(http.MethodGet, "/cases", nil)
	last := 0
	for _, want := range []string{"On this page:", "Overdue: 2.", "Waiting for you: 2.", "Overdue since 3 hours: the custodians answer", "by 2026-11-30 09:00 UTC", "Overdue since 50 days", "In 40 minutes: ", "In 30 hours: ", "In 4 days: "} {
		i := strings.Index(body[last:], want)
		if i < 0 {
			t.Fatalf("no %q behind the one before: %s", want, body)
		}
		last += i
	}
	pages, seen := 0, 0
	for path := "/cases"; path != ""; pages++ {
		_, body := a.do(http.MethodGet, path, nil)
		if len(body) > 100<<10 {
			t.Errorf("a page of %d bytes", len(body))
		}
		seen += strings.Count(body, "<li class=")
		_, path, _ = strings.Cut(body, `href="`+a.prefix+"/cases?from=")
		if path, _, _ = strings.Cut(path, `"`); path != "" {
			path = "/cases?from=" + path
		}
	}
	if pages != 20 || seen != 1000 {
		t.Errorf("%d pages, %d cases", pages, seen)
	}
	if _, body := a.do(http.MethodGet, "/cases?from=x", nil); !strings.Contains(body, "The list was not read") || !strings.Contains(body, "desk.not_read") {
		t.Error(body)
	}
	for _, typed := range []string{"", "x", "<script>", strings.Repeat("a", 27)} {
		if _, body := a.do(http.MethodGet, "/case?id="+url.QueryEscape(typed), nil); !strings.Contains(body, "not the id of a case") || strings.Contains(body, "<script>") {
			t.Error(body)
		}
	}
	for _, typed := range []string{"+" + anID + "+", strings.ToUpper(anID)} {
		if res, _ := a.do(http.MethodGet, "/case?id="+typed, nil); res.Header.Get("Location") != a.prefix+officers {
			t.Error(res.Header)
		}
	}
}

// TestFollowUpIsShownFirst: each form says what it lacks, keeps what was typed, shows what is
// signed, and acts once; another order than the one of a case has to be chosen.
func TestFollowUpIsShownFirst(t *testing.T) {
	b := &bureau{}
	a := bureauAt(t, b, time.Hour)
	if _, body := a.do(http.MethodGet, officers+"/withdraw", nil); !strings.Contains(body, "Which signed order is it about?") || !strings.Contains(body, "?order="+aHash) {
		t.Error("no order is offered:", body)
	}
	if _, body := a.do(http.MethodGet, officers+"/withdraw?order="+aHash, nil); !strings.Contains(body, `name="order" value="`+aHash) || !strings.Contains(body, `value="pen1b@x"`) {
		t.Error("it was not taken:", body)
	}
	for step, lacks := range map[string][]string{
		StepAnswer: {"Choose the question that you answer.", "Write the answer."}, StepRule: {"Choose the objection", "what becomes of the objection", "Write why"}, StepExtend: {"by how many days", "Write why"},
		StepSecrecy: {"Say when secrecy ends.", "Write why"}, StepRedeliver: {"Paste the new key", "Write why"}, StepDeleted: {"Say what was deleted"}, StepWithdraw: {"all pen names, or about some alone", "Write why"}, StepAnnul: {"all pen names, or about some alone", "Write why"}, StepValidate: {"Write why"},
	} {
		res, _ := a.do(http.MethodPost, officers+"/"+step, url.Values{"press": {a.newPress()}, "order": {aHash}, "text": {" "}})
		if !strings.HasSuffix(res.Header.Get("Location"), "#problem") {
			t.Error(step, res.Header)
		}
		_, body := a.do(http.MethodGet, officers+"/"+step, nil)
		for _, want := range append(lacks, "desk.incomplete") {
			if !strings.Contains(body, want) {
				t.Errorf("%s does not say %q: %s", step, want, body)
			}
		}
		if strings.Contains(body, "\u202e") {
			t.Error("a mark turns the line round")
		}
	}
	if b.tried.Load() != 0 {
		t.Error("something that lacks was tried")
	}
	form := officers + "/rule"
	typed := url.Values{"order": {aHash}, "text": {"refuse this"}, "digest": {"o1"}, "outcome": {"upheld"}, "which": {"these"}, "target": {"pen1a@x", "pen1b@x"}}
	send := func(path string, values url.Values) string {
		t.Helper()
		values.Set("press", a.newPress())
		res, _ := a.do(http.MethodPost, path, values)
		return strings.TrimPrefix(res.Header.Get("Location"), a.prefix)
	}
	if to := send(form, typed); to != form+"#problem" {
		t.Error(to)
	}
	if _, body := a.do(http.MethodGet, form, nil); !strings.Contains(body, "refuse this") || !strings.Contains(body, `value="upheld" checked`) || !strings.Contains(body, `value="o1" checked`) || !strings.Contains(body, `value="pen1b@x" checked`) || !strings.Contains(body, custodian.ErrOtherBundle.Code) {
		t.Error("what was typed is lost:", body)
	}
	typed.Set("text", "It is no threat.")
	if to := send(form, typed); to != form+"/sign" {
		t.Error(to)
	}
	if _, body := a.do(http.MethodGet, form+"/sign", nil); !strings.Contains(body, "This is signed: It is no threat.") || !strings.Contains(body, "Nothing is signed yet") {
		t.Error(body)
	}
	if to := send(form+"/sign", url.Values{"agreed": {"another"}}); to != form+"/sign" || len(b.followed) != 0 {
		t.Error("something else was agreed to: ", to, b.followed)
	}
	sign := url.Values{"agreed": {a.agrees(form, "This is signed: It is no threat.")}, "press": {a.newPress()}}
	var twice sync.WaitGroup
	for range 3 {
		twice.Go(func() {
			if res, _ := a.do(http.MethodPost, form+"/sign", sign); res.Header.Get("Location") != a.prefix+officers {
				t.Error(res.Header)
			}
		})
	}
	twice.Wait()
	if len(b.followed) != 1 || !b.followed[0].Upheld || len(b.followed[0].Targets) != 2 || b.followed[0].Digest != "o1" {
		t.Errorf("%+v", b.followed)
	}
	if _, body := a.do(http.MethodGet, officers, nil); !strings.Contains(body, "it is filed") || !strings.Contains(body, "What could not be read") {
		t.Error(body)
	}
	a.do(http.MethodPost, form, url.Values{"press": {secret()}, "text": {"typed on an old page"}})
	if _, body := a.do(http.MethodGet, form+"?order="+aHash, nil); !strings.Contains(body, "typed on an old page") || !strings.Contains(body, "desk.old_page") {
		t.Error(body)
	}
	// It is locked between what is shown and what is signed.
	send(form, typed)
	a.relock()
	if a.draft(form).shown != "" || a.draft(form).values.Get("text") != "It is no threat." {
		t.Errorf("%+v", a.draft(form))
	}
}

// TestCaseOfWhichMoreIsKnown: a case says no more than is so: what was stated to be deleted or may
// not be used is nothing to open, a folder with it is named, and an order that was answered does not
// run out.
func TestCaseOfWhichMoreIsKnown(t *testing.T) {
	b := &bureau{}
	a := bureauAt(t, b, time.Hour)
	for name, c := range map[string]struct {
		edit        func(*OwnCase)
		says, hides []string
	}{
		"released": {func(*OwnCase) {}, []string{"released: it can be opened", "No longer counts: the warrant runs out", "Done: the custodians answer"}, []string{"Done: the warrant", "still on this machine"}},
		"expired":  {func(c *OwnCase) { c.State = "expired" }, []string{"The warrant has run out."}, []string{"No longer counts", "Done: the warrant"}},
		"barred":   {func(c *OwnCase) { c.Barred = &registrar.Barred{} }, []string{"released, and may not be used"}, []string{"it can be opened"}},
		"deleted": {func(c *OwnCase) { c.Deleted = &registrar.Deleted{Statement: "Burnt."} }, []string{"released, and stated to be deleted", "Burnt.", "This desk finds no folder with it"},
			[]string{"it can be opened", "still on this machine"}},
		"deleted, and here": {func(c *OwnCase) { c.Deleted, c.Kept = &registrar.Deleted{Statement: "Burnt."}, []string{"/kept/one"} },
			[]string{"What was delivered is still on this machine", "<code>/kept/one</code>"}, []string{"finds no folder"}},
	} {
		b.edit = func(o *OwnCase) {
			o.Deadlines = []opening.Deadline{{What: opening.DeadlineExpiry, Met: true}, {What: opening.DeadlineAnswer, Met: true}}
			c.edit(o)
		}
		_, body := a.do(http.MethodGet, officers, nil)
		for _, want := range c.says {
			if !strings.Contains(body, want) {
				t.Errorf("%s: does not say %q: %s", name, want, body)
			}
		}
		for _, never := range c.hides {
			if strings.Contains(body, never) {
				t.Errorf("%s: says %q: %s", name, never, body)
			}
		}
	}
}

// TestSecrecyEndsOnADayToCome: a day that is past is refused where it is typed, in the words of the
// page.
func TestSecrecyEndsOnADayToCome(t *testing.T) {
	now := time.Date(2026, 11, 30, 12, 0, 0, 0, time.UTC)
	for day, wrong := range map[string]string{"2026-11-29": "That day is past", "2026-11-30": "That day is past", "soon": "year-month-day", "2026-12-01": ""} {
		_, faults := followUpOf(anID, StepSecrecy, url.Values{"order": {aHash}, "text": {"x"}, "when": {"on"}, "until": {day}}, now)
		if said := fmt.Sprint(faults); wrong == "" && len(faults) > 0 || !strings.Contains(said, wrong) || strings.Contains(said, "--") {
			t.Error(day, said)
		}
	}
}

// TestOpenedLeavesTheDesk: what was opened is in no title, address or draft; it goes when it is
// put away, by itself and when the desk is locked; a folder is kept as it was typed.
func TestOpenedLeavesTheDesk(t *testing.T) {
	b := &bureau{}
	a := bureauAt(t, b, 10*time.Minute)
	form := officers + "/open"
	if _, body := a.do(http.MethodGet, form, nil); !strings.Contains(body, `value="/free/`+anID) {
		t.Error(body)
	}
	send := func(path string, values url.Values) (to string) {
		t.Helper()
		values.Set("press", a.newPress())
		res, _ := a.do(http.MethodPost, path, values)
		return strings.TrimPrefix(res.Header.Get("Location"), a.prefix)
	}
	if to := send(form, url.Values{"folder": {" "}}); to != form+"#problem" {
		t.Error(to)
	}
	send(form, url.Values{"folder": {"broken"}})
	if _, body := a.do(http.MethodGet, form, nil); !strings.Contains(body, "What came is kept in /kept/broken") || !strings.Contains(body, custodian.ErrOtherBundle.Code) || !strings.Contains(body, `value="/free/`) {
		t.Error(body)
	}
	if to := send(form, url.Values{"folder": {"court file"}}); to != officers+"/opened" {
		t.Error(to)
	}
	if to := send(form, url.Values{"folder": {"broken"}}); to != form+"#problem" { // what was opened before says nothing of this
		t.Error(to)
	}
	a.keep(form, &draft{})
	res, body := a.do(http.MethodGet, officers+"/opened", nil)
	title, rest, _ := strings.Cut(body, "</title>")
	if !strings.Contains(rest, theName) || strings.Contains(title, theName) || res.Header.Get("Refresh") != "601; url="+a.prefix+officers || !strings.Contains(body, "after 10 minutes") {
		t.Error(res.Header, body)
	}
	for form, f := range a.drafts {
		if strings.Contains(fmt.Sprint(*f), theName) {
			t.Error("a draft has it: ", form)
		}
	}
	res, body = a.do(http.MethodGet, "/openings/"+aFolder+"/certificate", nil)
	if body != "<p>"+theName || res.Header.Get("Content-Security-Policy") != policyOfCertificate || res.Header.Get("Refresh") == "" || strings.Contains(policyOfCertificate, "allow-scripts") {
		t.Error(res.Header, body)
	}
	if to := send(officers+"/away", url.Values{}); to != officers {
		t.Error(to)
	}
	if res, _ := a.do(http.MethodGet, officers+"/opened", nil); res.Header.Get("Location") != a.prefix+officers {
		t.Error("it is still there")
	}
	if to := send("/openings", url.Values{"folder": {"nowhere"}}); to != "/openings#problem" {
		t.Error(to)
	}
	if _, body := a.do(http.MethodGet, "/openings", nil); !strings.Contains(body, `value="nowhere"`) || !strings.Contains(body, "Name the folder") {
		t.Error(body)
	}
	if to := send("/openings", url.Values{"folder": {" /kept/one "}}); to != "/openings/"+aFolder {
		t.Error(to)
	}
	if send("/openings/"+aFolder+"/check", url.Values{}); !strings.Contains(a.draft("/openings/"+aFolder).said.English, "it holds") {
		t.Error("it was not checked")
	}
	if to := send("/openings/"+aFolder+"/sign", url.Values{}); to != "/openings/"+aFolder+"/sign" {
		t.Error(to)
	}
	if _, body := a.do(http.MethodGet, "/openings/"+aFolder+"/sign", nil); !strings.Contains(body, "the certificate of a folder") {
		t.Error(body)
	}
	if to := send("/openings/"+aFolder+"/agree", url.Values{"agreed": {a.agrees("/openings/"+aFolder, "the certificate of a folder")}}); to != "/openings/"+aFolder {
		t.Error(to)
	}
	if _, body := a.do(http.MethodGet, "/openings/"+aFolder, nil); !strings.Contains(body, "it is certified") {
		t.Error(body)
	}
	if left, err := filepath.Glob(filepath.Join(os.TempDir(), "*")); err != nil || len(left) > 0 {
		t.Error(left, errors.Join(err))
	}
}

// TestOpenedLeavesTheScreen: a browser that shows what was opened, or a certificate, leaves it by
// itself when nobody used the desk, and does not show it again.
func TestOpenedLeavesTheScreen(t *testing.T) {
	browser := pagetest.Open(t)
	b := &bureau{}
	a := bureauAt(t, b, 3*time.Second)
	file, err := a.LinkFile()
	if err != nil {
		t.Fatal(err)
	}
	do := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	a.relock()
	do(browser.Go("file://" + file))
	do(browser.Shows("Unlock"))
	for _, path := range []string{"/openings/" + aFolder + "/certificate", officers + "/opened"} {
		do(browser.Go("http://" + a.host + a.prefix + path))
		do(browser.Shows("Unlock"))
		b.mu.Lock()
		b.open = &Opened{Ref: aFolder, Targets: []OpenedTarget{{Identity: [][2]string{{"name", theName}}}}}
		b.mu.Unlock()
		do(browser.Press("button Unlock", theName))
		do(browser.Shows("Unlock"))
		if back, err := browser.Back(); err != nil || strings.Contains(back, theName) {
			t.Error(path, " is shown again: ", back, err)
		}
	}
}

// TestLockEndsWhatRuns: a page that waits for the registrar ends when the desk is locked, and what
// is read after that is shown to nobody.
func TestLockEndsWhatRuns(t *testing.T) {
	in, ended := make(chan struct{}), make(chan error, 1)
	b := &bureau{now: time.Now()}
	o := b.officer()
	o.Cases.List = func(ctx context.Context, _ string) (OwnCases, error) {
		close(in)
		<-ctx.Done()
		ended <- ctx.Err()
		return OwnCases{}, ctx.Err()
	}
	a := enteredBy(t, Options{Officer: o, Idle: time.Hour})
	a.unlock()
	go a.do(http.MethodGet, "/cases", nil)
	<-in
	a.relock()
	select {
	case <-ended:
	case <-time.After(10 * time.Second):
		t.Fatal("it goes on")
	}
}

// TestUnfiledIsShown: what was signed and is not filed stands on the list and on the page of its
// case, also while the registrar answers nothing, and one press files it.
func TestUnfiledIsShown(t *testing.T) {
	b, waits := &bureau{now: time.Now()}, strings.Repeat("ab", 32)
	o := b.officer()
	o.Cases.List = func(context.Context, string) (OwnCases, error) { return OwnCases{}, context.DeadlineExceeded }
	o.Cases.Read = func(context.Context, string) (*OwnCase, error) { return nil, context.DeadlineExceeded }
	o.Cases.Unfiled = func() []Unfiled {
		return []Unfiled{{Case: anID, Kind: StepWithdraw, Hash: waits, File: "/kept/o-withdrawal.jws", Says: []Said{{Name: "Facts and grounds", Text: "A mistake."}}},
			{Case: strings.Repeat("b", 26), Kind: StepExtend, Hash: waits, File: "/kept/other.jws"}}
	}
	var filed []string
	o.Cases.File = func(_ context.Context, id, hash string) (string, error) {
		filed = append(filed, id, hash)
		return "It is filed.", nil
	}
	a := enteredBy(t, Options{Officer: o, Idle: time.Hour})
	a.unlock()
	_, body := a.do(http.MethodGet, "/cases", nil)
	has(t, body, "Signed, and not filed", "/kept/o-withdrawal.jws", "/kept/other.jws")
	_, body = a.do(http.MethodGet, "/case/"+anID, nil)
	has(t, body, "Signed, and not filed", "/kept/o-withdrawal.jws", "A mistake.", "/unfiled/"+waits+"/drop")
	if strings.Contains(body, "other.jws") {
		t.Error("that of another case: ", body)
	}
	a.post("/case/"+anID+"/unfiled/"+waits+"/file", url.Values{})
	if len(filed) != 2 || filed[0] != anID || filed[1] != waits {
		t.Error(filed)
	}
	_, body = a.do(http.MethodGet, "/case/"+anID, nil)
	has(t, body, "It is filed.")

	// What the registrar refused is said to be refused, and nowhere that it is not signed or waits for nobody.
	o.Cases.Read = func(_ context.Context, id string) (*OwnCase, error) {
		return &OwnCase{CaseStatus: registrar.CaseStatus{Case: id, State: "released"}}, nil
	}
	refused := []Unfiled{{Case: anID, Kind: StepWithdraw, Hash: waits, File: "/kept/o-withdrawal.jws", Refused: "warrant.too_late: it is released"}}
	o.Cases.Unfiled = func() []Unfiled { return nil }
	o.Cases.Follow = func(_ context.Context, _ FollowUp, confirm func(string) error) (string, error) {
		if err := confirm("This is signed."); err != nil {
			return "", err
		}
		o.Cases.Unfiled = func() []Unfiled { return refused }
		return "", ErrUnread
	}
	a = enteredBy(t, Options{Officer: o, Idle: time.Hour})
	a.unlock()
	typed := url.Values{"order": {aHash}, "which": {"all"}, "text": {"A mistake."}}
	a.post("/case/"+anID+"/withdraw", typed)
	_, body = a.post("/case/"+anID+"/withdraw/sign", url.Values{"agreed": {a.agrees("/case/"+anID+"/withdraw", "This is signed.")}})
	has(t, body, "the registrar refused it: nothing was filed", "warrant.too_late", "File it again", "Throw it away")
	_, list := a.do(http.MethodGet, "/cases", nil)
	has(t, list, "the registrar refused it")
	if both := body + list; strings.Contains(both, "Nothing is to be done by you now") || strings.Contains(both, "nothing of it is signed yet") || strings.Contains(both, "is not known here") {
		t.Error(both)
	}

	// One press has it wait no more. What is filed in part is not said to be unfiled, and is not thrown away.
	o.Cases.Drop = func(id, hash string) (string, error) {
		filed = append(filed, "not "+id, hash)
		return "It waits no more.", nil
	}
	o.Cases.Unfiled = func() []Unfiled {
		return []Unfiled{{Case: anID, Kind: StepRedeliver, Hash: waits, File: "/kept/o-redelivery.jws", Filed: strings.Repeat("c", 26)}}
	}
	a = enteredBy(t, Options{Officer: o, Idle: time.Hour})
	a.unlock()
	a.post("/case/"+anID+"/unfiled/"+waits+"/drop", url.Values{})
	if len(filed) != 4 || filed[2] != "not "+anID || filed[3] != waits {
		t.Error(filed)
	}
	_, body = a.do(http.MethodGet, "/case/"+anID, nil)
	has(t, body, "It waits no more.", "it is filed as case <code>"+strings.Repeat("c", 26), "Send what is missing")
	if strings.Contains(body, "/drop") || strings.Contains(body, "it is signed, and that the registrar has it is not known") {
		t.Error("it is filed, and thrown away: ", body)
	}
}

// TestEndsForWhom: for which pen names an order ends is said, and nothing is taken for all of them;
// the pen name of who objected is chosen already, where only one did.
func TestEndsForWhom(t *testing.T) {
	names := []string{"pen1a@x", "pen1b@x"}
	for _, c := range []struct {
		step    string
		typed   url.Values
		targets int // -1: it is refused
	}{
		{StepWithdraw, url.Values{}, -1}, {StepWithdraw, url.Values{"target": names}, -1}, {StepWithdraw, url.Values{"which": {"these"}}, -1}, {StepAnnul, url.Values{"which": {"x"}}, -1},
		{StepWithdraw, url.Values{"which": {"all"}, "target": names[:1]}, -1}, {StepWithdraw, url.Values{"which": {"all"}}, 0}, {StepAnnul, url.Values{"which": {"these"}, "target": names}, 2}, {StepRule, url.Values{"outcome": {"upheld"}}, -1},
		{StepRule, url.Values{"outcome": {"upheld"}, "which": {"these"}, "target": names[:1]}, 1}, {StepRule, url.Values{"outcome": {"dismissed"}, "target": names}, 0}, {StepSecrecy, url.Values{"when": {"now"}, "target": names}, 0},
	} {
		for field, value := range map[string]string{"order": aHash, "text": "x", "digest": "o1"} {
			c.typed.Set(field, value)
		}
		s, faults := followUpOf(anID, c.step, c.typed, time.Now())
		if refused := len(faults) > 0; refused != (c.targets < 0) || !refused && len(s.Targets) != c.targets || refused && faults[0].Field != "which" {
			t.Errorf("%s %v: %+v %+v", c.step, c.typed, s.Targets, faults)
		}
	}
	b := &bureau{order: &Signed{Hash: aHash, Kind: "production", FileNumber: "TC 1", File: "order.jws", Targets: names}}
	a := bureauAt(t, b, time.Hour)
	for name, c := range map[string]struct {
		objections []Objection
		ticked     string
	}{
		"one": {[]Objection{{Digest: "o1", Target: 1}}, `value="pen1b@x" checked`}, "two": {[]Objection{{Digest: "o1", Target: 1}, {Digest: "o2"}}, ""},
		"one that is open": {[]Objection{{Digest: "o1", Ruled: true, Target: 1}, {Digest: "o2"}}, `value="pen1a@x" checked`}, "of no pen name": {[]Objection{{Digest: "o1", Target: 9}}, ""},
	} {
		b.edit = func(o *OwnCase) { o.Objections = c.objections }
		_, body := a.do(http.MethodGet, officers+"/rule", nil)
		if n := strings.Count(body, "@x\" checked"); !strings.Contains(body, c.ticked) || (n == 1) != (c.ticked != "") || strings.Contains(body, `name="which" value="all" checked`) {
			t.Errorf("%s: %s", name, body)
		}
	}
}

// TestDaysAreDigits: what is no whole number is not taken for the one that it begins with.
func TestDaysAreDigits(t *testing.T) {
	for typed, days := range map[string]int{"30": 30, " 7 ": 7, "3 weeks": 0, "1.5": 0, "0": 0, "367": 0, "": 0, "-1": 0} {
		s, faults := followUpOf(anID, StepExtend, url.Values{"order": {aHash}, "text": {"x"}, "days": {typed}}, time.Now())
		if (len(faults) == 0) != (days > 0) || days > 0 && s.Days != days {
			t.Errorf("%q: %d %+v", typed, s.Days, faults)
		}
	}
}

// TestFiledElsewhereIsSaid: a step that turns out to be about another case is no more in its form,
// and the page of the case says so.
func TestFiledElsewhereIsSaid(t *testing.T) {
	b := &bureau{follow: ErrFiledElsewhere}
	a := bureauAt(t, b, time.Hour)
	form := officers + "/secrecy"
	a.post(form, url.Values{"order": {aHash}, "when": {"now"}, "text": {"It is over."}})
	to, _ := a.post(form+"/sign", url.Values{"agreed": {a.agrees(form, "This is signed: It is over.")}})
	if len(b.followed) != 1 || to != officers {
		t.Error(b.followed, to)
	}
	_, body := a.do(http.MethodGet, officers, nil)
	has(t, body, "desk.filed_elsewhere", "it is NOT about the case")
	if _, body := a.do(http.MethodGet, form, nil); strings.Contains(body, "It is over.") {
		t.Error("it can be signed again: ", body)
	}
}

// TestBegunStepsAreListed: what was typed about a case, or in an order, and is not done, is found
// where cases and orders are listed, and can be thrown away there.
func TestBegunStepsAreListed(t *testing.T) {
	a := bureauAt(t, &bureau{}, time.Hour)
	a.post(officers+"/withdraw", url.Values{"order": {aHash}, "text": {"half a word"}})
	_, body := a.do(http.MethodGet, "/cases", nil)
	has(t, body, "You typed this here", "Case "+anID, "Withdraw it", `href="`+a.prefix+officers+`/withdraw"`, `aria-label="Throw it away: what you typed about case `+anID+`"`)
	if to, _ := a.post(officers+"/withdraw/leave", url.Values{}); to != "/cases" {
		t.Error(to)
	}
	if _, body := a.do(http.MethodGet, "/cases", nil); strings.Contains(body, "You typed this here") || a.begun() {
		t.Error("it is still there: ", body)
	}
	of := atClerk(t, newClerkOf())
	ask := "/order/" + anOrderID + "/ask/grounds"
	of.post(ask, url.Values{"grounds": {""}, "key": {"my key"}})
	_, body = of.do(http.MethodGet, "/", nil)
	has(t, body, "the answer was not taken", `href="`+of.prefix+ask+`"`, "Throw it away: what you answered in an order")
	of.post(ask+"/leave", url.Values{})
	if _, body := of.do(http.MethodGet, "/", nil); strings.Contains(body, "the answer was not taken") || of.begun() {
		t.Error("it is still there: ", body)
	}
}

// TestOnThisPage: of one page of several it is not said that nothing waits; and files that could not
// be read are named.
func TestOnThisPage(t *testing.T) {
	b := &bureau{unread: []error{ErrUnread}}
	page := OwnCases{Cases: []OwnCase{{CaseStatus: registrar.CaseStatus{Case: anID, Kind: "production", State: "recorded", Quorum: 2}}}, Unread: b.unread}
	b.list = func(string) (OwnCases, error) { return page, nil }
	a := bureauAt(t, b, time.Hour)
	for _, c := range []struct{ path, next, says, never string }{
		{"/cases", "", "Nothing waits for you.", "on this page"}, {"/cases", "2", "None of the cases on this page waits for you.", "Nothing waits"}, {"/cases?from=2", "", "None of the cases on this page waits for you.", "Nothing waits"},
	} {
		page.Next = c.next
		_, body := a.do(http.MethodGet, c.path, nil)
		if has(t, body, c.says, "These files could not be read", "desk.not_read"); strings.Contains(body, c.never) {
			t.Error(body)
		}
	}
	_, body := a.do(http.MethodGet, officers+"/withdraw", nil)
	has(t, body, "These files could not be read")
}

// TestWrongPassphraseLocks: a desk that was unlocked, of which another tab sends a wrong passphrase, is
// locked, and asks for the right one.
func TestWrongPassphraseLocks(t *testing.T) {
	b := &bureau{}
	a := bureauAt(t, b, time.Hour)
	b.unlock = custodian.ErrOtherBundle
	a.post("/unlock", url.Values{"passphrase": {"wrong"}})
	_, body := a.do(http.MethodGet, "/cases", nil)
	has(t, body, "Unlock", custodian.ErrOtherBundle.Code)
	b.unlock = nil
	a.post("/unlock", url.Values{"passphrase": {"right"}})
	_, body = a.do(http.MethodGet, "/cases", nil)
	has(t, body, "No case has a date to come.")
}
