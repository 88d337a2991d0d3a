package main

import (
	"bytes"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/penname/penname/escrow/sandbox/world"
	"github.com/penname/penname/escrow/web/pagetest"
)

// openOfficersDesk opens the desk of the court's clerk, who opens packages too, in a folder with
// the order of a case.
func openOfficersDesk(t *testing.T, w *world.World, st *world.Case, args ...string) (d *deskAt, cases string) {
	t.Helper()
	d, cases = officersDesk(t, w, st, args...)
	d.enter()
	return d, cases
}

// officersDesk is such a desk that nobody has entered.
func officersDesk(t *testing.T, w *world.World, st *world.Case, args ...string) (d *deskAt, cases string) {
	t.Helper()
	cases = filepath.Join(t.TempDir(), "cases")
	if err := os.Mkdir(cases, 0o700); err != nil {
		t.Fatal(err)
	}
	order, err := os.ReadFile(st.Warrant)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(cases, "order.jws"), order, 0o600); err != nil {
		t.Fatal(err)
	}
	d = openDesk(t, w, append([]string{"clerk", "--key", w.Path("court.jwk"), "--bundle", w.Path("bundle.json"), "--cases", cases,
		"--requester", w.Path("requester.key"), "--server", w.Origin}, args...)...)
	return d, cases
}

var aDigest = regexp.MustCompile(`name="digest" value="([0-9a-f]{64})"`)

// TestDeskOfCases: a clerk sees what is due, answers a custodian's question, changes secrecy, opens
// the case when it is released, signs its certificate, and states that it is deleted. Each is shown
// before it is signed, and the opened name is nowhere but in the folder that was chosen.
func TestDeskOfCases(t *testing.T) {
	w := startForTest(t)
	tmp := t.TempDir()
	t.Setenv("TMPDIR", tmp)
	st := filedCase(t, w)
	d, cases := openOfficersDesk(t, w, st)
	if _, body := d.get("/cases"); !strings.Contains(body, "Unlock") || strings.Contains(body, st.ID) {
		t.Fatal("it is open before it is unlocked:", body)
	}
	d.press("/", "/unlock", nil, "My cases")
	page := "/case/" + st.ID
	if _, body := d.get("/cases"); !strings.Contains(body, "days: the custodians answer") || !strings.Contains(body, "TC 118 of 2026") || !strings.Contains(body, "Nothing waits for you") {
		t.Fatal(body)
	}

	// A question waits, is answered, and is answered no more.
	said, code := w.Escrow(t.Context(), w.AsCustodian("alba", "review", st.ID)...)
	if code != 0 {
		t.Fatal(said)
	}
	if said, code = w.Escrow(t.Context(), append(w.AsCustodian("alba", "ask", st.ID), "--text", "Which post is meant?", "--yes")...); code != 0 {
		t.Fatal(said)
	}
	if _, body := d.get("/cases"); !strings.Contains(body, "Waiting for you: 1") || !strings.Contains(body, `href="`+d.path(page+"/answer")+`"`) {
		t.Fatal(body)
	}
	asked := d.press(page+"/answer", page+"/answer", map[string]string{"text": "The post of that evening."}, "Choose the question that you answer.")
	if !strings.Contains(asked, "The post of that evening.") || !strings.Contains(asked, "alba asks: ") {
		t.Fatal("what was typed is lost, or the question is not shown:", asked)
	}
	answer := map[string]string{"text": "The post of that evening.", "digest": aDigest.FindStringSubmatch(asked)[1]}
	shown := d.press(page+"/answer", page+"/answer", answer, "Sign and file this?")
	if !strings.Contains(shown, "The post of that evening.") || !strings.Contains(shown, answer["digest"]) || !strings.Contains(shown, "The question of alba:\n      | Which post is meant?") || !strings.Contains(shown, "This ruling will be signed and filed.") {
		t.Error("not all that is signed is shown:", shown)
	}
	d.press(page+"/answer", page+"/answer", map[string]string{"text": "The post of that evening.", "digest": strings.Repeat("0", 64)}, "desk.ruled_unread")
	d.press(page+"/answer", page+"/answer", answer, "Sign and file this?")
	d.press(page+"/answer/sign", page+"/answer/sign", map[string]string{"agreed": "0000"}, "desk.changed")
	d.press(page+"/answer/sign", page+"/answer/sign", nil, "is signed, saved in")
	if _, body := d.get(page); !strings.Contains(body, "The post of that evening.") || strings.Contains(body, page+"/answer") {
		t.Error("it waits again, or its answer is not shown:", body)
	}
	if _, err := os.Stat(filepath.Join(cases, "order-ruling.jws")); err != nil {
		t.Error(err)
	}

	// What the rules refuse is not signed, and what was typed stays.
	refused := d.press(page+"/secrecy", page+"/secrecy", map[string]string{"when": "on", "until": "2099-01-01", "text": "The search is later."}, "warrant.")
	if !strings.Contains(refused, "The search is later.") || !strings.Contains(refused, "2099-01-01") {
		t.Error(refused)
	}

	d.opens(w, st, cases, tmp)
}

// path is one of the desk, as its pages name it.
func (d *deskAt) path(p string) string { return d.base[strings.LastIndex(d.base, "/"):] + p }

// opens has the custodians approve, and the clerk open the case into a folder of their choice.
func (d *deskAt) opens(w *world.World, st *world.Case, cases, tmp string) {
	t := d.t
	t.Helper()
	page, name := "/case/"+st.ID, "Dexter Crallow"
	early := d.press(page+"/open", page+"/open", map[string]string{"folder": "too-early"}, "warrant.quorum_not_met")
	if _, err := os.Stat(filepath.Join(cases, "too-early")); err == nil || strings.Contains(early, name) || !strings.Contains(early, `value="too-early"`) {
		t.Error("it is open, an empty folder is left, or what was typed is lost:", early)
	}
	for _, id := range []string{"alba", "bruno"} {
		if err := st.Approve(t.Context(), id); err != nil {
			t.Fatal(err)
		}
	}
	if _, body := d.get("/cases"); !strings.Contains(body, `href="`+d.path(page+"/open")+`"`) {
		t.Fatal(body)
	}
	opened := d.press(page+"/open", page+"/open", map[string]string{"folder": "case118"}, name)
	if title, _, _ := strings.Cut(opened, "</title>"); strings.Contains(title, name) {
		t.Error("the name is in the title")
	}
	folder := filepath.Join(cases, "case118")
	res, body := d.ask(http.MethodGet, page+"/opened", "", nil)
	if res.Header.Get("Cache-Control") != "no-store" || !strings.Contains(res.Header.Get("Refresh"), "601; url=") || !strings.Contains(body, name) {
		t.Error(res.Header, body)
	}
	ref := regexp.MustCompile(`/openings/([0-9a-f]{16})/certificate`).FindStringSubmatch(body)[1]
	printed, err := os.ReadFile(filepath.Join(folder, "certificate.html"))
	if err != nil {
		t.Fatal(err)
	}
	res, body = d.ask(http.MethodGet, "/openings/"+ref+"/certificate", "", nil)
	if body != string(printed) || res.Header.Get("Cache-Control") != "no-store" || !strings.HasPrefix(res.Header.Get("Content-Security-Policy"), "sandbox allow-same-origin; default-src 'none'") {
		t.Error("it is another page: ", res.Header, body)
	}

	// It leaves the desk when it is put away, and when the desk is locked.
	d.press(page+"/opened", page+"/away", nil, "off the desk")
	if _, body := d.get(page + "/opened"); strings.Contains(body, name) {
		t.Error("it is still on the desk")
	}
	d.press("/cases", "/lock", nil, "Unlock")
	for _, at := range []string{page + "/opened", "/openings/" + ref + "/certificate", "/openings"} {
		if _, body := d.get(at); !strings.Contains(body, "Unlock") || strings.Contains(body, name) {
			t.Error(at, "is open when the desk is locked: ", body)
		}
	}
	d.press("/", "/unlock", nil, "My cases")
	if _, body := d.get("/openings/" + ref + "/certificate"); strings.Contains(body, name) {
		t.Error("a folder that was not checked since is shown")
	}

	// The court signs the certificate, once it is checked and shown.
	d.press("/openings/"+ref, "/openings/"+ref+"/sign", nil, "the log holds the release")
	d.press("/openings/"+ref+"/sign", "/openings/"+ref+"/agree", nil, "Signed: certificate.jws")
	d.press("/openings/"+ref, "/openings/"+ref+"/check", nil, "the certificate is signed by")
	if said, code := w.Escrow(t.Context(), "opening", "check", folder, "--bundle", w.Path("bundle.json")); code != 0 {
		t.Error(said)
	}

	// A page that was changed is not shown, and is found.
	if err := os.WriteFile(filepath.Join(folder, "certificate.html"), append(printed, "<script>alert(1)</script>"...), 0o600); err != nil {
		t.Fatal(err)
	}
	if res, body := d.ask(http.MethodGet, "/openings/"+ref+"/certificate", "", nil); strings.Contains(body, name) || strings.Contains(body, "alert(1)") || !strings.Contains(body, "desk.folder_not_checked") {
		t.Error(res.Status, body)
	}
	d.press("/openings/"+ref, "/openings/"+ref+"/check", nil, "opening.file_changed")

	// What has to stay in no file but the folder's is looked for before that is removed.
	if strings.Contains(d.said.String(), name) {
		t.Error("the program printed the name")
	}
	for _, dir := range []string{cases, tmp, w.Path()} {
		nameless(t, dir, folder, name)
	}
	d.statesDeleted(w, st, folder, "/openings/"+ref+"/certificate")
}

// statesDeleted: what is stated to be deleted is no more on the screen, and nothing to be opened, and
// it is said where it lies.
func (d *deskAt) statesDeleted(w *world.World, st *world.Case, folder, certificate string) {
	t := d.t
	t.Helper()
	page, name := "/case/"+st.ID, "Dexter Crallow"
	again := filepath.Join(t.TempDir(), "again")
	d.press(page+"/open", page+"/open", map[string]string{"folder": again}, name)
	deleted := d.press(page+"/deleted", page+"/deleted", map[string]string{"text": "Deleted from file and backups."}, "State this?")
	if !strings.Contains(deleted, "Deleted from file and backups.") || !strings.Contains(deleted, "It is not true yet") || !strings.Contains(deleted, folder) || !strings.Contains(deleted, again) {
		t.Error(deleted)
	}
	stated := d.press(page+"/deleted/sign", page+"/deleted/sign", nil, "It is stated that what was delivered is deleted.")
	if strings.Contains(stated, d.path(page+"/open")) || !strings.Contains(stated, "still on this machine") || !strings.Contains(stated, "<code>"+folder) || !strings.Contains(stated, "<code>"+again) {
		t.Error(stated)
	}
	for _, at := range []string{page + "/opened", page, certificate} {
		if _, body := d.get(at); strings.Contains(body, name) {
			t.Error(at, " has the name still: ", body)
		}
	}
	d.press(page+"/open", page+"/open", map[string]string{"folder": filepath.Join(t.TempDir(), "third")}, "desk.stated_deleted")
	for _, gone := range []string{folder, again} {
		if err := os.RemoveAll(gone); err != nil {
			t.Fatal(err)
		}
	}
	if _, body := d.get(page); strings.Contains(body, "still on this machine") || !strings.Contains(body, "This desk finds no folder with it") {
		t.Error(body)
	}
	if said, _ := w.Escrow(t.Context(), "warrant", "status", st.ID, "--server", w.Origin); !strings.Contains(said, "Deleted from file and backups.") {
		t.Error(said)
	}
}

// TestDeskOpensAndSignsNothing: who has no key of an authority, and the key that the package is for, finds a
// case by its id and opens it, and signs nothing.
func TestDeskOpensAndSignsNothing(t *testing.T) {
	w := startForTest(t)
	t.Setenv("TMPDIR", t.TempDir())
	st := filedCase(t, w)
	for _, id := range []string{"alba", "bruno"} {
		if err := st.Approve(t.Context(), id); err != nil {
			t.Fatal(err)
		}
	}
	cases := t.TempDir()
	d := openDesk(t, w, "police", "--bundle", w.Path("bundle.json"), "--cases", cases, "--requester", w.Path("requester.key"), "--server", w.Origin)
	d.enter()
	if _, body := d.get("/"); !strings.Contains(body, "has no passphrase") || !strings.Contains(body, "keeps nobody away") {
		t.Error("the lock looks like one:", body)
	}
	d.press("/", "/unlock", nil, "My cases")
	if _, body := d.get("/cases"); !strings.Contains(body, "this desk has none") || strings.Contains(body, st.ID) {
		t.Error(body)
	}
	page := "/case/" + st.ID
	status, body := d.get("/case?id=+" + st.ID + "+")
	if status != http.StatusOK || !strings.Contains(body, "2 of 2 custodians approved") || !strings.Contains(body, d.path(page+"/open")) {
		t.Fatal(status, body)
	}
	for _, step := range []string{"withdraw", "secrecy", "redeliver", "answer"} {
		if strings.Contains(body, d.path(page+"/"+step)) {
			t.Error("it is offered to sign: ", step)
		}
	}
	folder := t.TempDir() // an empty one, by its whole name
	opened := d.press(page+"/open", page+"/open", map[string]string{"folder": folder}, "Dexter Crallow")
	if !strings.Contains(opened, folder) {
		t.Error(opened)
	}
	if said, code := w.Escrow(t.Context(), "opening", "check", folder, "--bundle", w.Path("bundle.json")); code != 0 {
		t.Error(said)
	}
	if info, err := os.Stat(folder); err != nil || info.Mode().Perm() != 0o700 {
		t.Error(info, err)
	}
	if body := d.press(page+"/open", page+"/open", map[string]string{"folder": folder}, "file.exists"); strings.Contains(body, "Dexter Crallow") {
		t.Error(body)
	}
}

// nameless fails if a name is in a file below a folder, but for another folder.
func nameless(t *testing.T, dir, but, name string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(file string, e fs.DirEntry, err error) error {
		switch {
		case err != nil && !os.IsNotExist(err):
			return err
		case file == but:
			return fs.SkipDir
		case err != nil || !e.Type().IsRegular():
			return nil
		}
		content, err := os.ReadFile(file)
		if err == nil && bytes.Contains(content, []byte(name)) {
			t.Error("the name is in ", file)
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}

// TestDeskOfCasesByKeyboard: a clerk without a mouse reads the list and a case, is told what is
// missing in a form, opens the case, prints its certificate, which prints as it does without the
// desk, and takes what was opened off the screen. Each page holds what axe-core can tell.
func TestDeskOfCasesByKeyboard(t *testing.T) {
	w := startForTest(t)
	b := pagetest.Open(t)
	t.Setenv("TMPDIR", t.TempDir())
	st := filedCase(t, w)
	name := "Dexter Crallow"
	for _, ask := range [][]string{w.AsCustodian("alba", "review", st.ID), append(w.AsCustodian("alba", "ask", st.ID), "--text", "Which post is meant?", "--yes")} {
		if said, code := w.Escrow(t.Context(), ask...); code != 0 {
			t.Fatal(said)
		}
	}
	d, cases := officersDesk(t, w, st)
	file := <-d.files
	do := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	looked := 0
	hold := func(page string, views ...pagetest.View) {
		t.Helper()
		if len(views) == 0 {
			looked++
			views = pagetest.Views[looked%len(pagetest.Views):][:1]
		}
		holdsHere(t, b, page, views...)
	}
	do(b.Go("file://" + file))
	do(b.Shows("Unlock"))
	do(b.Press("button Unlock", "My cases"))
	do(b.Press("My cases", "Waiting for you: 1"))
	hold("my cases", pagetest.Views...)
	do(b.Press("Where it stands", "What is to be done"))
	hold("a case", pagetest.Views...)
	do(b.Press("Answer the question", "Which question do you answer?"))
	do(b.Press("Show it first", "Choose the question that you answer."))
	hold("what is missing", pagetest.Views...)
	do(b.Type("input digest", " "))
	do(b.Type("textarea text", "The post of that evening."))
	do(b.Press("Show it first", "Sign and file this?"))
	hold("what is signed")
	do(b.Press("Sign and file it", "saved in"))
	hold("it is filed")
	for _, step := range []string{"Withdraw it", "Change its secrecy", "Deliver it to another key"} {
		do(b.Press(step, "Show it first"))
		hold(step)
		do(b.Press("Back to the case", "What is to be done"))
	}
	for _, id := range []string{"alba", "bruno"} {
		do(st.Approve(t.Context(), id))
	}
	do(b.Press("My cases", "Open it"))
	do(b.Press("Open it", "The folder that it is kept in"))
	hold("where it is kept")
	do(b.Press("Check every proof", name))
	hold("what was opened", pagetest.Views...)
	if _, words, err := b.Print(); err != nil || !strings.Contains(words, name) || strings.Contains(words, "My cases") || strings.Contains(words, "Take it off") {
		t.Error("the desk is on the sheet: ", words, err)
	}
	do(b.Press("The certificate, to print", "Certificate of an opening"))
	sheets, words, err := b.Print()
	do(err)
	for _, part := range []string{"My cases", "Lock", "Desk of"} {
		if strings.Contains(words, part) {
			t.Errorf("%q is on the sheet: %s", part, words)
		}
	}
	pages, err := filepath.Glob(filepath.Join(cases, "opening-*", "certificate.html"))
	if err != nil || len(pages) != 1 {
		t.Fatal(pages, err)
	}
	// Once the desk is locked the browser does not show it again.
	if _, err := b.Back(); err != nil {
		t.Fatal(err)
	}
	do(b.Shows(name))
	do(b.Press("Lock", "Unlock"))
	for range 2 {
		if back, err := b.Back(); err != nil || strings.Contains(back, name) {
			t.Error("the browser shows it again: ", back, err)
		}
	}
	do(b.Go("file://" + pages[0]))
	alone, said, err := b.Print()
	if do(err); alone != sheets || sheets != 1 || said != words {
		t.Errorf("%d sheets at the desk, %d without it", sheets, alone)
	}
}
