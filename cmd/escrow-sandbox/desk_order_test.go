package main

import (
	"bytes"
	"encoding/json"
	"html"
	"image/color"
	"image/png"
	"io/fs"
	"maps"
	"mime/multipart"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	pixels "image"

	"github.com/penname/penname/escrow/sandbox/world"
	"github.com/penname/penname/escrow/web/pagetest"
	"github.com/penname/penname/policy"
	"github.com/penname/penname/verifier/token"
)

// caseFolder is a folder with a platform's evidence of a hostile post, in a folder of such folders.
func caseFolder(t *testing.T, w *world.World) (root, folder string, picture []byte) {
	t.Helper()
	root = t.TempDir()
	folder = filepath.Join(root, "case118")
	if err := os.Mkdir(folder, 0o700); err != nil {
		t.Fatal(err)
	}
	troll := world.NewBrowser()
	if err := troll.Visit(t.Context(), w.Town, "Dexter Crallow"); err != nil {
		t.Fatal(err)
	}
	post, err := troll.Say(t.Context(), w.Town, "I will come for you tonight.")
	if err != nil {
		t.Fatal(err)
	}
	var plain bytes.Buffer
	drawn := pixels.NewNRGBA(pixels.Rect(0, 0, 8, 8))
	drawn.Set(3, 3, color.NRGBA{R: 200, A: 255})
	if err := png.Encode(&plain, drawn); err != nil {
		t.Fatal(err)
	}
	picture = append(plain.Bytes(), "<script>alert(3)</script>"...)
	e := token.Evidence{Platform: w.Town.ID, Token: post.Token.Raw, Post: token.Post{URL: post.URL, At: post.At}}
	for name, one := range map[string]struct{ kind, content string }{"words.txt": {"text/plain", hostileText}, "picture.png": {"image/png", string(picture)}, "bomb.png": {"image/png", string(bomb(60_000))}} {
		x, err := token.NewExhibit(one.kind, strings.NewReader(one.content))
		if err != nil {
			t.Fatal(err)
		}
		e.Post.Exhibits = append(e.Post.Exhibits, x)
		put(t, filepath.Join(folder, name), []byte(one.content))
	}
	signed, err := token.SignEvidence(w.Town.EvidenceKey, e)
	if err != nil {
		t.Fatal(err)
	}
	put(t, filepath.Join(folder, "threat.jws"), []byte(signed))
	return root, folder, picture
}

func put(t *testing.T, name string, content []byte) {
	t.Helper()
	if err := os.WriteFile(name, content, 0o600); err != nil {
		t.Fatal(err)
	}
}

// clerksAnswers are those to all questions of an ordinary order.
func clerksAnswers(w *world.World) map[string]string {
	return map[string]string{
		"kind": "production", "authority": "county-court", "offence": "threats-to-life", "file_number": "TC 119 of 2026", "legal_basis": "Investigatory Powers Act 2016, Part 3",
		"grounds": "Threats were posted.\nTwice.", "necessity": "No other lead.", "proportionality": "The name alone.", "fields": "name", "secrecy": "60",
		"secrecy_reason": "The suspect could destroy evidence.", "organisation": "thornley-police", "contact": "DS R. Amari", "delivery_key": w.Path("requester.pub"), "unusual": "none",
	}
}

// interview answers each question that the desk asks, page after page, until none is left.
func (d *deskAt) interview(order string, answers map[string]string) (last string) {
	d.t.Helper()
	for range 30 {
		_, page := d.get(order)
		next := regexp.MustCompile(`href="[^"]*(/order/[0-9a-f]{16}/ask/[a-z_]+)">(?:Go on|Begin) with`).FindStringSubmatch(page)
		if next == nil {
			return page
		}
		last = d.press(next[1], next[1], answers, "")
		if strings.Contains(last, "desk.incomplete") {
			d.t.Fatalf("%s: %.4000s", next[1], last)
		}
	}
	d.t.Fatal("it does not end")
	return ""
}

// choose sends a form with a file.
func (d *deskAt) choose(page, action, field string, content []byte, more map[string]string, want string) string {
	d.t.Helper()
	var body bytes.Buffer
	form := multipart.NewWriter(&body)
	values := d.form(page, action)
	for name, value := range more {
		values.Set(name, value)
	}
	for name := range values {
		if err := form.WriteField(name, values.Get(name)); err != nil {
			d.t.Fatal(err)
		}
	}
	file, err := form.CreateFormFile(field, "../../a file \u202eof somebody.jws")
	if err != nil {
		d.t.Fatal(err)
	}
	if _, err := file.Write(content); err != nil {
		d.t.Fatal(err)
	}
	if err := form.Close(); err != nil {
		d.t.Fatal(err)
	}
	res, said := d.ask(http.MethodPost, action, form.FormDataContentType(), &body)
	if res.StatusCode != http.StatusOK || !strings.Contains(said, want) {
		d.t.Fatalf("%d: %.4000s", res.StatusCode, said)
	}
	return said
}

var anOrder = regexp.MustCompile(`/order/[0-9a-f]{16}`)

// TestDeskOfAClerk: a clerk makes an order from a folder of evidence, reads what was published,
// is told what is wrong where it is, reads word for word what is signed, and files it. The draft
// is byte for byte that of the commands for the same answers, and so is what is signed but for
// the number and the times that each order has of its own.
func TestDeskOfAClerk(t *testing.T) {
	w := startForTest(t)
	t.Setenv("TMPDIR", t.TempDir())
	root, folder, picture := caseFolder(t, w)
	put(t, filepath.Join(folder, "case118.json.answers"), []byte(`{"grounds": "The platform's own."}`)) // what a stranger answered is no answer
	cases := t.TempDir()
	d := openDesk(t, w, "clerk", "--key", w.Path("court.jwk"), "--bundle", w.Path("bundle.json"), "--evidence", root, "--cases", cases, "--server", w.Origin)
	d.enter()
	if _, body := d.get("/"); strings.Contains(body, "case118") || !strings.Contains(body, "It has no passphrase") {
		t.Fatal("the desk is open:", body)
	}
	first := d.press("/", "/unlock", nil, "case118")
	order := anOrder.FindString(first)

	d.readsEvidence(order, picture)

	// What is wrong is said where it is; what was typed stays, and what was right is saved.
	answers := clerksAnswers(w)
	bad := maps.Clone(answers)
	bad["grounds"], bad["file_number"] = "x\u202ey", ""
	d.press(order+"/ask/kind", order+"/ask/kind", answers, "Which authority")
	d.press(order+"/ask/authority", order+"/ask/authority", answers, "Which offence")
	d.press(order+"/ask/offence", order+"/ask/offence", answers, "File number")
	wrong := d.press(order+"/ask/file_number", order+"/ask/file_number", bad, "desk.incomplete")
	for _, want := range []string{`href="#file_number"`, `id="grounds-wrong"`, "U+202E", ">No other lead.</textarea>", `aria-invalid="true"`} {
		if !strings.Contains(wrong, want) {
			t.Errorf("it does not show %q: %s", want, wrong)
		}
	}
	page := d.interview(order, answers)
	for _, want := range []string{"threats-to-life", "Threats were posted.", "Check it", "Show what is signed"} {
		if !strings.Contains(page, want) {
			t.Errorf("the page does not show %q", want)
		}
	}

	// The same answers make the same draft with the commands.
	given, err := json.Marshal(answers)
	if err != nil {
		t.Fatal(err)
	}
	put(t, w.Path("given.json"), given)
	said, code := w.Escrow(t.Context(), "warrant", "new", "--dir", folder, "--bundle", w.Path("bundle.json"), "--answers", w.Path("given.json"), "--out", w.Path("by-command.json"), "--server", w.Origin)
	if code != 0 {
		t.Fatal(said)
	}
	if same(t, filepath.Join(cases, "case118.json")) != same(t, w.Path("by-command.json")) {
		t.Error("the drafts differ:", same(t, filepath.Join(cases, "case118.json")))
	}

	d.press(order, order+"/check", nil, "Nothing is wrong with it.")
	if _, body := d.get(order); !strings.Contains(body, "Custodians that have to approve: 2") {
		t.Error(body)
	}
	shown := d.press(order, order+"/sign", nil, "Nothing is signed yet")
	if !strings.Contains(shown, `"grounds": "Threats were posted.\nTwice."`) || !strings.Contains(shown, "Facts and grounds: Threats were posted.") {
		t.Error(shown)
	}
	d.press(order+"/sign", order+"/sign/sign", map[string]string{"agreed": "0000"}, "desk.changed")
	if _, err := os.Stat(filepath.Join(cases, "case118.jws")); err == nil {
		t.Fatal("something was signed unseen")
	}
	d.press(order+"/sign", order+"/sign/sign", nil, "signed: ")
	signed := same(t, filepath.Join(cases, "case118.jws"))
	if !strings.Contains(shown, idOf(t, signed)) {
		t.Error("what was signed is not what was shown")
	}
	if said, code := w.Escrow(t.Context(), "warrant", "sign", w.Path("by-command.json"), "--key", w.Path("court.jwk"), "--bundle", w.Path("bundle.json"), "--out", w.Path("by-command.jws")); code != 0 {
		t.Fatal(said)
	}
	if a, b := timeless(t, signed), timeless(t, same(t, w.Path("by-command.jws"))); a != b {
		t.Errorf("%s\n%s", a, b)
	}
	d.send(order+"/ask/kind", map[string][]string{"kind": {"link"}}, "") // of a page from before, and too late
	d.press(order, order+"/check", nil, "Nothing is wrong with it.")

	filed := d.press(order, order+"/file", nil, "What happens next")
	for _, want := range []string{"the custodians answer", "days left", "There is nothing for you to do until then"} {
		if !strings.Contains(filed, want) {
			t.Errorf("the page does not say %q: %s", want, filed)
		}
	}
	id := regexp.MustCompile(`case <code>([a-z2-7]{26})</code>`).FindStringSubmatch(filed)
	if id == nil {
		t.Fatal(filed)
	}
	if said, code := w.Escrow(t.Context(), "warrant", "status", id[1], "--server", w.Origin); code != 0 || !strings.Contains(said, "0 of 2 custodians approved") || !strings.Contains(said, "3 stored, 0 missing") {
		t.Error(said)
	}
	d.press(order, order+"/file", nil, "What happens next") // twice is once
	if _, body := d.get("/"); !strings.Contains(body, "filed: case <code>"+id[1]) || !strings.Contains(body, "Begin another order") {
		t.Error(body)
	}
	modes(t, cases)
}

// readsEvidence reads a hostile post, of which nothing runs.
func (d *deskAt) readsEvidence(order string, picture []byte) {
	t := d.t
	t.Helper()
	_, raw := d.get(order + "/evidence")
	if !strings.Contains(html.UnescapeString(raw), "‹U+202E›gpj.exe") || strings.Contains(raw, "<script") || strings.Contains(raw, "<svg") || strings.Contains(raw, "\u202e") {
		t.Error(raw)
	}
	x, err := token.NewExhibit("image/png", bytes.NewReader(picture))
	if err != nil {
		t.Fatal(err)
	}
	res, drawn := d.ask(http.MethodGet, order+"/evidence/"+x.Name()+"/picture.png", "", nil)
	if res.Header.Get("Content-Type") != "image/png" || strings.Contains(drawn, "script") {
		t.Error(res.Status, drawn)
	}
	b, err := token.NewExhibit("image/png", bytes.NewReader(bomb(60_000)))
	if err != nil {
		t.Fatal(err)
	}
	if res, said := d.ask(http.MethodGet, order+"/evidence/"+b.Name()+"/picture.png", "", nil); res.StatusCode != http.StatusUnprocessableEntity {
		t.Error(res.Status, said)
	}
}

// modes checks that nobody else reads the files of orders.
func modes(t *testing.T, folder string) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(folder, "*"))
	if err != nil || len(files) < 4 {
		t.Fatal(files, err)
	}
	for _, file := range files {
		if info, err := os.Stat(file); err != nil || info.Mode().Perm() != fs.FileMode(0o600) {
			t.Error(file, info, err)
		}
	}
}

func same(t *testing.T, name string) string {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func idOf(t *testing.T, signed string) string {
	t.Helper()
	w, err := policy.ParseUnverified(signed)
	if err != nil {
		t.Fatal(err)
	}
	return w.ID
}

// timeless is what is signed, without the number and the times of one order.
func timeless(t *testing.T, signed string) string {
	t.Helper()
	return regexp.MustCompile(`"(id|issued_at|expiry)":"[^"]*"`).ReplaceAllString(string(policy.Payload(signed)), `"$1":""`)
}

// TestDeskOfThePolice: a desk without a court's key makes a draft, takes what the court signed and
// nothing else, and files it. What was typed, and what was saved, outlives a lock and the desk
// itself; an order of before is followed by the next from the same folder.
func TestDeskOfThePolice(t *testing.T) {
	w := startForTest(t)
	t.Setenv("TMPDIR", t.TempDir())
	_, folder, _ := caseFolder(t, w)
	cases, other := t.TempDir(), filedCase(t, w)
	elsewhere := unrelated(t, w)
	start := func(more ...string) *deskAt {
		d := openDesk(t, w, append([]string{"police", "--bundle", w.Path("bundle.json"), "--evidence", folder, "--cases", cases, "--server", w.Origin, "--requester", w.Path("requester.key")}, more...)...)
		d.enter()
		d.press("/", "/unlock", nil, "case118")
		return d
	}
	d := start("--lock-after", "3s")
	_, first := d.get("/")
	order := anOrder.FindString(first)
	answers := clerksAnswers(w)
	answers["kind"] = "preservation"
	for _, step := range []string{"kind", "authority", "offence"} {
		d.press(order+"/ask/"+step, order+"/ask/"+step, answers, "")
	}
	late := d.form(order+"/ask/file_number", order+"/ask/file_number")
	late.Set("grounds", "Typed while it locked.")
	<-time.After(4 * time.Second) // to ask would be use
	d.send(order+"/ask/file_number", late, "This desk has no key to sign with.")
	if said := d.press("/", "/unlock", nil, ""); said == "" {
		t.Error("it does not unlock")
	}
	if _, body := d.get(order + "/ask/file_number"); !strings.Contains(body, "Typed while it locked.") {
		t.Error("what was typed is lost: ", body)
	}
	d.end()

	// The next desk goes on where the last one ended, also with more evidence if that is meant.
	d = start()
	more, err := w.Town.Evidence(other.Post)
	if err != nil {
		t.Fatal(err)
	}
	put(t, filepath.Join(folder, "more.jws"), []byte(more))
	put(t, filepath.Join(folder, "more.txt"), []byte(other.Post.Text))
	if _, body := d.get(order); !strings.Contains(body, "draft.other_evidence") || strings.Contains(body, "Go on with the questions") {
		t.Error(body)
	}
	d.press(order, order+"/anew", nil, "The evidence is of 2 posts")
	if err := os.Remove(filepath.Join(folder, "more.jws")); err != nil {
		t.Fatal(err)
	}
	d.press(order, order+"/anew", nil, "The evidence is of 1 post")
	if _, body := d.get(order); !strings.Contains(body, "threats-to-life") || strings.Contains(body, "id=\"check\"") {
		t.Error(body)
	}
	d.interview(order, answers)
	d.press(order, order+"/check", nil, "Nothing is wrong with it.")
	if _, body := d.get(order); strings.Contains(body, "Show what is signed") || !strings.Contains(body, "Give the draft to the court") {
		t.Error(body)
	}
	draft := filepath.Join(cases, "case118.json")
	if said, code := w.Escrow(t.Context(), "warrant", "sign", draft, "--key", w.Path("court.jwk"), "--bundle", w.Path("bundle.json"), "--out", w.Path("preserved.jws")); code != 0 {
		t.Fatal(said)
	}
	d.choose(order, order+"/signed", "signed", []byte("no warrant"), nil, "Nothing")
	d.choose(order, order+"/signed", "signed", []byte(same(t, elsewhere)), nil, "desk.other_order")
	if said := d.choose(order, order+"/signed", "signed", []byte(same(t, w.Path("preserved.jws"))), nil, "kept: "+filepath.Join(cases, "case118.jws")); strings.Contains(said, "is not what the draft says") {
		t.Error("what was signed as it was drafted differs: ", said)
	}
	d.press(order, order+"/back", nil, "case118.jws.aside")
	d.choose(order, order+"/signed", "signed", []byte(same(t, w.Path("preserved.jws"))), nil, "kept: "+filepath.Join(cases, "case118.jws"))
	d.press(order, order+"/file", nil, "Make the order that follows before the hold ends")

	// What follows names it, by the file that is chosen.
	_, first = d.get("/")
	all := anOrder.FindAllString(first, -1)
	next := all[len(all)-1]
	if next == order {
		t.Fatal(first)
	}
	answers = clerksAnswers(w)
	answers["unusual"] = "earlier"
	for _, step := range []string{"kind", "authority", "offence", "file_number", "fields", "secrecy", "secrecy_reason", "organisation", "unusual"} {
		d.press(next+"/ask/"+step, next+"/ask/"+step, answers, "")
	}
	d.choose(next+"/ask/earlier", next+"/ask/earlier", "earlier.file", []byte("nothing"), nil, "earlier warrant: the file is no signed warrant")
	d.choose(next+"/ask/earlier", next+"/ask/earlier", "earlier.file", []byte(same(t, w.Path("preserved.jws"))), nil, "Check it")
	d.press(next, next+"/check", nil, "Nothing is wrong with it.")
	if left, err := os.ReadDir(folder); err != nil || len(left) != 5 {
		t.Error("something is written beside the evidence: ", left, err)
	}
}

// TestDeskOfAClerkByKeyboard: a clerk without a mouse makes an order in a real browser, goes back,
// is told what is missing, signs and files. Each page holds what axe-core can tell; those with
// most on them, in every view.
func TestDeskOfAClerkByKeyboard(t *testing.T) {
	w := startForTest(t)
	b := pagetest.Open(t)
	t.Setenv("TMPDIR", t.TempDir())
	root, _, _ := caseFolder(t, w)
	d := openDesk(t, w, "clerk", "--key", w.Path("court.jwk"), "--bundle", w.Path("bundle.json"), "--evidence", root, "--cases", t.TempDir(), "--requester", w.Path("requester.key"), "--server", w.Origin)
	looked := 0
	hold := func(page string, views ...pagetest.View) {
		t.Helper()
		if len(views) == 0 { // another one each time
			looked++
			views = []pagetest.View{pagetest.Views[looked%len(pagetest.Views)]}
		}
		holdsHere(t, b, page, views...)
	}
	do := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	do(b.Go("file://" + <-d.files))
	do(b.Shows("It has no passphrase"))
	hold("a clerk's desk, locked")
	do(b.Press("Unlock", "case118"))
	hold("orders")
	do(b.Press("Begin: case118", "1. The evidence"))
	hold("an order that is not begun")
	do(b.Press("Read each post", "Post 1 of 1"))
	hold("evidence", pagetest.Views...)
	do(b.Press("look at it", "Back to the evidence"))
	hold("an exhibit")
	do(b.Press("Back to the evidence", "Post 1 of 1"))
	do(b.Press("Back to the order", "1. The evidence"))
	do(b.Press("Begin with the questions", "What is ordered?"))
	hold("the kind")
	do(b.Press("Save and go on", "Which authority"))
	do(b.Press("Save and go on", "Which offence")) // it is the desk's own
	do(b.Press("Save and go on", "it needs an answer"))
	hold("no answer")
	do(b.Type("input offence", " "))
	do(b.Press("Save and go on", "File number"))
	do(b.Press("Back", "Which offence"))
	do(b.Press("Save and go on", "File number")) // what was answered stays
	do(b.Type("input file_number", "TC 120 of 2026"))
	do(b.Type("textarea grounds", "A threat."))
	do(b.Press("Save and go on", "it needs an answer"))
	hold("reasons", pagetest.Views...)
	for _, field := range []string{"legal_basis", "necessity", "proportionality"} {
		do(b.Type("textarea "+field, "Because."))
	}
	do(b.Press("Save and go on", "What is to be opened?"))
	do(b.Type("input fields", " "))
	do(b.Press("Save and go on", "Secret until which day"))
	do(b.Type("input secrecy", "60"))
	do(b.Press("Save and go on", "Why is it secret?"))
	do(b.Type("textarea secrecy_reason", "Evidence could go."))
	do(b.Press("Save and go on", "Which organisation"))
	do(b.Type("input organisation", " "))
	do(b.Type("input contact", "DS R. Amari"))
	hold("who asks")
	do(b.Press("Save and go on", "Is any of these so?")) // the delivery key is filled in
	hold("what is unusual")
	do(b.Press("Save and go on", "Check it"))
	hold("a draft", pagetest.Views...)
	do(b.Press("Check it", "Nothing is wrong with it"))
	hold("a check")
	do(b.Press("Show what is signed", "Nothing is signed yet"))
	hold("what is signed")
	do(b.Press("Back, and sign nothing", "Check it"))
	do(b.Press("Show what is signed", "Nothing is signed yet"))
	do(b.Press("Sign it", "It is signed"))
	hold("a signed order")
	do(b.Press("File it", "What happens next"))
	hold("a case that is filed", pagetest.Views...)
	if said, err := b.Back(); err != nil || strings.Contains(said, "Sign it") {
		t.Error("what is signed is offered again: ", said, err)
	}
	do(b.Press("Orders", "Begin another order"))
	do(b.Press("Lock", "It has no passphrase"))
}

// holdsHere holds the page that a browser shows against what axe-core can tell.
func holdsHere(t *testing.T, b *pagetest.Browser, page string, views ...pagetest.View) {
	t.Helper()
	for _, v := range views {
		s, err := b.Here(v)
		if err != nil {
			t.Fatalf("%s: %v", page, err)
		}
		for _, violation := range s.Violations {
			t.Errorf("%s, %s: %s", page, v.Name, violation)
		}
		if s.Wider > 0 {
			t.Errorf("%s, %s: %d pixels wider than the view", page, v.Name, s.Wider)
		}
		if err := b.Keep(page + ", " + v.Name); err != nil {
			t.Fatal(err)
		}
	}
}

// TestDeskOfEachOrder: every kind of order that begins with evidence is made at the desk, and what
// each becomes is said. One that another court signs too is filed once that has.
func TestDeskOfEachOrder(t *testing.T) {
	w := startForTest(t)
	t.Setenv("TMPDIR", t.TempDir())
	root, folder, _ := caseFolder(t, w)
	for _, kind := range []string{"preservation", "suspension", "link", "emergency"} {
		if err := os.CopyFS(filepath.Join(root, kind), os.DirFS(folder)); err != nil {
			t.Fatal(err)
		}
	}
	cases := t.TempDir()
	d := openDesk(t, w, "clerk", "--key", w.Path("court.jwk"), "--bundle", w.Path("bundle.json"), "--evidence", root, "--cases", cases, "--server", w.Origin)
	d.enter()
	first := d.press("/", "/unlock", nil, "case118")
	orderOf := func(name string) string {
		m := regexp.MustCompile(`(/order/[0-9a-f]{16})">Begin: <bdi>` + name + `<`).FindStringSubmatch(first)
		if m == nil {
			t.Fatal(name, first)
		}
		return m[1]
	}
	for kind, says := range map[string]string{
		"preservation": "before the hold ends", "suspension": "Custodians read the order", "link": "whoever has the delivery key", "emergency": "Have it validated before the time",
	} {
		answers, order := clerksAnswers(w), orderOf(kind)
		answers["kind"] = kind
		d.interview(order, answers)
		d.press(order, order+"/check", nil, "Nothing is wrong with it.")
		d.press(order, order+"/sign", nil, "Kind: "+kind)
		d.press(order+"/sign", order+"/sign/sign", nil, "signed: ")
		d.press(order, order+"/file", nil, says)
	}

	// What two courts order, both sign.
	answers, order := clerksAnswers(w), orderOf("case118")
	answers["unusual"], answers["jointly"] = "jointly", "appeal-court"
	d.interview(order, answers)
	d.press(order, order+"/sign", nil, "Signed as well by: appeal-court")
	d.press(order+"/sign", order+"/sign/sign", nil, "it has to be signed as well by appeal-court")
	d.press(order, order+"/file", nil, "warrant.not_joint")
	if said, code := w.Escrow(t.Context(), "warrant", "validate", filepath.Join(cases, "case118.jws"), "--key", w.Path("appeal.jwk"), "--bundle", w.Path("bundle.json"), "--out", w.Path("joint.jws"), "--grounds", "So ordered."); code != 0 {
		t.Fatal(said)
	}
	d.choose(order, order+"/signed", "signed", []byte(same(t, w.Path("joint.jws"))), nil, "case118.appeal-court.jws")
	d.press(order, order+"/check", nil, "Nothing is wrong with it.")
	d.press(order, order+"/file", nil, "What happens next")
}

// unrelated is the file of a signed order about other evidence.
func unrelated(t *testing.T, w *world.World) string {
	t.Helper()
	jo := world.NewBrowser()
	if err := jo.Visit(t.Context(), w.Town, "Jo Hartley"); err != nil {
		t.Fatal(err)
	}
	post, err := jo.Say(t.Context(), w.Town, "Something else.")
	if err != nil {
		t.Fatal(err)
	}
	evidence, err := w.SaveEvidence("elsewhere-evidence.jws", post)
	if err != nil {
		t.Fatal(err)
	}
	draft, err := w.Draft("elsewhere.json", post, evidence, "threats-to-life", "Threats to kill", 120)
	if err != nil {
		t.Fatal(err)
	}
	signed, err := w.Sign(t.Context(), draft, "court.jwk")
	if err != nil {
		t.Fatal(err)
	}
	return signed
}
