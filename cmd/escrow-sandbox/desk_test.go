package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"hash/crc32"
	"html"
	pixels "image"
	"image/color"
	"image/png"
	"io"
	"mime/multipart"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	escrow "github.com/penname/penname/cmd/escrow/command"
	"github.com/penname/penname/escrow/sandbox/world"
	"github.com/penname/penname/escrow/web/pagetest"
	"github.com/penname/penname/policy"
	"github.com/penname/penname/verifier/token"
)

// deskAt is a desk that runs, and the browser of the custodian whose it is.
type deskAt struct {
	t      *testing.T
	base   string // http://name.localhost:port/prefix
	client *http.Client
	files  chan string // each that is opened with a link
	stdin  io.Writer   // of the program
	said   *syncBuffer
	end    func() int // Ctrl-C; returns the exit code
}

// startDesk opens the desk of a custodian with the program that users run.
func startDesk(t *testing.T, w *world.World, id string, args ...string) *deskAt {
	t.Helper()
	return openDesk(t, w, append([]string{"--home", w.Path("custodians", id)}, args...)...)
}

// openDesk opens a desk with these arguments.
func openDesk(t *testing.T, w *world.World, args ...string) *deskAt {
	t.Helper()
	in, stdin := io.Pipe()
	d := &deskAt{t: t, files: make(chan string, 9), stdin: stdin, said: &syncBuffer{}}
	env := escrow.System()
	env.Stdin, env.Stdout, env.Stderr, env.Now, env.Program = in, d.said, d.said, w.Clock.Now, escrowProgram(t)
	env.Browser = func(file string) error {
		d.files <- file
		return nil
	}
	ctx, stop := context.WithCancel(t.Context())
	code := make(chan int, 1)
	go func() {
		code <- escrow.Run(ctx, append([]string{"desk"}, args...), env)
		close(d.files)
	}()
	d.end = sync.OnceValue(func() int {
		stop()
		return <-code
	})
	t.Cleanup(func() { d.end() })
	return d
}

var aLink = regexp.MustCompile(`href="(http://[0-9a-f]{32}\.localhost:\d+/[A-Za-z0-9_-]{22})(/enter/[A-Za-z0-9_-]{22})"`)

// link reads the file that the desk opened last.
func (d *deskAt) link() (base, enter string) {
	d.t.Helper()
	file, ok := <-d.files
	if !ok {
		d.t.Fatal(d.said.String())
	}
	for name, want := range map[string]os.FileMode{file: 0o600, filepath.Dir(file): 0o700} {
		if info, err := os.Stat(name); err != nil || info.Mode().Perm() != want {
			d.t.Fatalf("%s: %v, %v", name, info, err)
		}
	}
	content, err := os.ReadFile(file)
	if err != nil {
		d.t.Fatal(err)
	}
	m := aLink.FindStringSubmatch(string(content))
	if m == nil {
		d.t.Fatalf("no link: %s", content)
	}
	if said := d.said.String(); strings.Contains(said, m[1]) || strings.Contains(said, "enter") {
		d.t.Fatalf("the link was printed: %s", said)
	}
	return m[1], m[2]
}

// enter opens the link in a browser without cookies.
func (d *deskAt) enter() {
	d.t.Helper()
	base, enter := d.link()
	jar, err := cookiejar.New(nil)
	if err != nil {
		d.t.Fatal(err)
	}
	d.base, d.client = base, &http.Client{Jar: jar, Transport: &http.Transport{DialContext: onLoopback}}
	if status, body := d.get(enter); status != http.StatusOK || !strings.Contains(body, "To the desk") {
		d.t.Fatal(status, body)
	}
}

// onLoopback reaches a name below localhost as browsers do, without asking anybody for it.
func onLoopback(ctx context.Context, network, address string) (net.Conn, error) {
	_, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	return (&net.Dialer{}).DialContext(ctx, network, net.JoinHostPort("127.0.0.1", port))
}

// ask sends a request as the browser does.
func (d *deskAt) ask(method, path, contentType string, body io.Reader, edit ...func(*http.Request)) (*http.Response, string) {
	d.t.Helper()
	req, err := http.NewRequestWithContext(d.t.Context(), method, d.base+path, body)
	if err != nil {
		d.t.Fatal(err)
	}
	if req.Header.Set("Sec-Fetch-Site", "same-origin"); method == http.MethodPost {
		req.Header.Set("Origin", "http://"+req.Host)
		req.Header.Set("Content-Type", contentType)
	}
	for _, f := range edit {
		f(req)
	}
	res, err := d.client.Do(req)
	if err != nil {
		d.t.Fatal(err)
	}
	defer res.Body.Close()
	answer, err := io.ReadAll(res.Body)
	if err != nil {
		d.t.Fatal(err)
	}
	return res, string(answer)
}

func (d *deskAt) get(path string) (status int, body string) {
	d.t.Helper()
	res, body := d.ask(http.MethodGet, path, "", nil)
	return res.StatusCode, body
}

// form is what a form of a page sends that nobody filled in.
func (d *deskAt) form(page, action string) url.Values {
	d.t.Helper()
	_, body := d.get(page)
	prefix := d.base[strings.LastIndex(d.base, "/"):]
	at := regexp.MustCompile(`action="` + regexp.QuoteMeta(prefix+action) + `(?:\?[^"]*)?"`).FindStringIndex(body)
	if at == nil {
		d.t.Fatalf("no form for %s on %s: %s", action, page, body)
	}
	form, _, _ := strings.Cut(body[at[1]:], "</form>")
	values := url.Values{}
	for _, m := range regexp.MustCompile(`(?:type="hidden"|^) name="([a-z]+)" value="([^"]*)"`).FindAllStringSubmatch(form, -1) { // of the form, or of a button that presses it
		if !values.Has(m[1]) {
			values.Set(m[1], html.UnescapeString(m[2]))
		}
	}
	return values
}

// press fills in a form of a page and sends it; it has to lead to a page that shows want.
func (d *deskAt) press(page, action string, fill map[string]string, want string) string {
	d.t.Helper()
	values := d.form(page, action)
	for name, value := range fill {
		values.Set(name, value)
	}
	return d.send(action, values, want)
}

func (d *deskAt) send(action string, values url.Values, want string) string {
	d.t.Helper()
	res, body := d.ask(http.MethodPost, action, "application/x-www-form-urlencoded", strings.NewReader(values.Encode()))
	if res.StatusCode != http.StatusOK || !strings.Contains(html.UnescapeString(body), want) {
		main, _, _ := strings.Cut(body[max(0, strings.Index(body, "<main")):], "Who asks")
		d.t.Fatalf("%s led to %s, status %d, which does not show %q: %.3000s", action, res.Request.URL.Path, res.StatusCode, want, main)
	}
	return html.UnescapeString(body)
}

// unlock types the passphrase of the folder.
func (d *deskAt) unlock(w *world.World, id, want string) string {
	d.t.Helper()
	pass, err := typed(d.t.Context(), w.Path("custodians", id), false)
	if err != nil {
		d.t.Fatal(err)
	}
	return d.press("/", "/unlock", map[string]string{"passphrase": string(pass)}, want)
}

// A stranger's text, with a script in it and a mark that turns the line round.
const hostileText = "I will come for you tonight. <script>alert(1)</script><svg onload=alert(2)> \u202egpj.exe"

// piece is something that was published.
type piece struct{ kind, content string }

// hostileCase is a case about a post with that text, a picture, a bomb of a picture, and more.
func hostileCase(t *testing.T, w *world.World, more ...piece) (st *world.Case, picture []byte) {
	t.Helper()
	st = &world.Case{World: w}
	troll := world.NewBrowser()
	if err := troll.Visit(t.Context(), w.Town, "Dexter Crallow"); err != nil {
		t.Fatal(err)
	}
	var err error
	if st.Post, err = troll.Say(t.Context(), w.Town, "I will come for you tonight."); err != nil {
		t.Fatal(err)
	}
	var plain bytes.Buffer
	drawn := pixels.NewNRGBA(pixels.Rect(0, 0, 8, 8))
	drawn.Set(3, 3, color.NRGBA{R: 200, A: 255})
	if err := png.Encode(&plain, drawn); err != nil {
		t.Fatal(err)
	}
	// What comes behind a picture is not of it, and stays behind when it is drawn anew.
	picture = append(plain.Bytes(), "<script>alert(3)</script>"...)
	e := token.Evidence{Platform: w.Town.ID, Token: st.Post.Token.Raw, Post: token.Post{URL: st.Post.URL, At: st.Post.At}}
	if err := os.MkdirAll(st.Exhibits(), 0o700); err != nil {
		t.Fatal(err)
	}
	for _, one := range append([]piece{{"text/plain", hostileText}, {"image/png", string(picture)}, {"image/png", string(bomb(60_000))}}, more...) {
		x, err := token.NewExhibit(one.kind, strings.NewReader(one.content))
		if err != nil {
			t.Fatal(err)
		}
		e.Post.Exhibits = append(e.Post.Exhibits, x)
		if err := os.WriteFile(filepath.Join(st.Exhibits(), x.Name()), []byte(one.content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	signed, err := token.SignEvidence(w.Town.EvidenceKey, e)
	if err != nil {
		t.Fatal(err)
	}
	st.Evidence = w.Path("hostile.jws")
	if err := os.WriteFile(st.Evidence, []byte(signed), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := st.File(t.Context()); err != nil {
		t.Fatal(err)
	}
	return st, picture
}

// bomb is a PNG that says that it is so many points wide and high (PNG, 11.2.2).
func bomb(side uint32) []byte {
	header := append([]byte("IHDR"), make([]byte, 13)...)
	binary.BigEndian.PutUint32(header[4:], side)
	binary.BigEndian.PutUint32(header[8:], side)
	header[12], header[13] = 8, 6
	out := append([]byte("\x89PNG\r\n\x1a\n"), 0, 0, 0, 13)
	out = append(out, header...)
	return binary.BigEndian.AppendUint32(out, crc32.ChecksumIEEE(header))
}

// TestDeskOfACustodian: a custodian enters by the link, unlocks, reads a hostile case, sees that
// nothing of it runs, answers it, and the answer counts once, however often it is sent.
func TestDeskOfACustodian(t *testing.T) {
	w := startForTest(t)
	t.Setenv("TMPDIR", t.TempDir())
	st, picture := hostileCase(t, w)
	d := startDesk(t, w, "alba")
	d.enter()
	if _, body := d.get("/case/" + st.ID); !strings.Contains(body, "Passphrase") {
		t.Fatal("it is open without a passphrase:", body)
	}
	d.press("/", "/unlock", map[string]string{"passphrase": "another passphrase"}, "custodian.wrong_passphrase")
	queue := d.unlock(w, "alba", "days left")
	if !strings.Contains(queue, st.ID) {
		t.Fatal(queue)
	}

	// Nobody answers a case unread; what was typed stays.
	page := "/case/" + st.ID
	read := d.press("/", page+"/review", nil, "Who asks")
	for _, want := range []string{"I will come for you tonight. <script>", "‹U+202E›gpj.exe", "Threats to kill", "What it did not check", "Does each of these posts show this offence"} {
		if !strings.Contains(read, want) {
			t.Errorf("the page does not show %q", want)
		}
	}
	if _, raw := d.get(page); strings.Contains(raw, "<script") || strings.Contains(raw, "<svg") || strings.Contains(raw, "\u202e") {
		t.Error("a stranger's words are markup")
	}
	d.exhibits(page, read, picture)
	d.differ(read)

	refused := d.press(page, page+"/approve", map[string]string{"t0q0": "yes", "text": "I read it twice."}, "desk.incomplete")
	if !strings.Contains(refused, "Pen name 1: say whether you approve it.") || !strings.Contains(refused, "I read it twice.") || !strings.Contains(refused, `value="yes" checked`) {
		t.Error("what was typed did not stay, or the field is not marked:", refused)
	}
	d.press(page, page+"/approve", map[string]string{"t0q0": "no", "t0vote": "yes"}, "you answered no to a question")
	d.press(page, page+"/refuse", map[string]string{"reason": "because"}, "Choose a reason of the list.")
	d.press(page, page+"/ask", map[string]string{"text": "x\u202ey"}, "character 2, is U+202E")

	// A question is shown, signed, and asked once though it is sent twice.
	d.press(page, page+"/ask", map[string]string{"text": "Which of the posts is meant?"}, "This question is signed and sent")
	twice := d.form(page+"/ask", page+"/ask/sign")
	var pressed sync.WaitGroup
	for range 2 {
		pressed.Go(func() {
			d.ask(http.MethodPost, page+"/ask/sign", "application/x-www-form-urlencoded", strings.NewReader(twice.Encode()))
		})
	}
	pressed.Wait()
	if now := d.send(page+"/ask/sign", twice, "asked: question"); strings.Count(now, "alba asks the court") != 1 || strings.Contains(now, "escrow custodian") {
		t.Error("the case does not show the question: ", now)
	}
	if again := d.press(page, page+"/review", nil, "alba asks the court"); strings.Count(again, "alba asks the court") != 1 {
		t.Error("it was asked more than once:", again)
	}

	// In two tabs, of which one says yes and the other no, what was shown in the first is not signed
	// with what was typed in the second.
	said := d.press(page, page+"/approve", map[string]string{"t0q0": "yes", "t0vote": "no", "t0reason": "disproportionate"}, "pen name 1")
	question := regexp.MustCompile(`(?m)^    (\S.*\?) yes$`).FindStringSubmatch(said)
	if question == nil || !strings.Contains(said, "the order of Thornley County Court (county-court), file TC 118 of 2026, entry ") || !strings.Contains(said, "of its rules ") {
		t.Fatal("what is signed is not shown:", said)
	}
	tab := d.form(page+"/approve", page+"/approve/sign")
	d.press(page, page+"/approve", map[string]string{"t0q0": "no", "t0vote": "no", "t0reason": "disproportionate"}, question[1]+" no")
	d.send(page+"/approve/sign", tab, "desk.changed")

	// What is signed is what was shown: a form that agrees to something else signs nothing.
	answers := map[string]string{"t0q0": "yes", "t0vote": "yes", "t0reason": "", "text": "I read it twice."}
	d.press(page, page+"/approve", answers, "pen name 1")
	d.press(page+"/approve", page+"/approve/sign", map[string]string{"agreed": "0000"}, "desk.changed")
	if said, _ := w.Escrow(t.Context(), "warrant", "status", st.ID, "--server", w.Origin); !strings.Contains(said, "recorded: 0 of 2") {
		t.Error("something was signed unseen:", said)
	}
	stored := d.press(page+"/approve", page+"/approve/sign", nil, "your answer is stored")
	if _, result, _ := strings.Cut(stored, `role="status"><pre dir="auto">`); !strings.HasPrefix(strings.TrimPrefix(result, `<span lang="en">`), "your answer is stored") {
		t.Error("the result does not stand first: ", stored)
	}
	d.standsAnswered(page)
	if said, _ := w.Escrow(t.Context(), "warrant", "status", st.ID, "--server", w.Origin); !strings.Contains(said, "1 decided, 2 must approve") {
		t.Error(said)
	}
	if left, err := filepath.Glob(filepath.Join(os.TempDir(), "exhibits-*")); err != nil || len(left) > 0 {
		t.Error("what was published stays behind:", left, err)
	}
	d.endorses(w)
	brunoDeclines(t, w, st.ID)
	if code := d.end(); code != 0 && code != 130 {
		t.Error("exit code", code)
	}
	if left, err := filepath.Glob(filepath.Join(os.TempDir(), "e*-*")); err != nil || len(left) > 0 {
		t.Error("the desks left something behind:", left, err)
	}
}

// brunoDeclines: a custodian declines at his desk, and that is an answer too.
func brunoDeclines(t *testing.T, w *world.World, id string) {
	t.Helper()
	page := "/case/" + id
	b := startDesk(t, w, "bruno")
	b.enter()
	b.unlock(w, "bruno", id)
	b.press("/", page+"/review", nil, "Who asks")
	b.press(page, page+"/refuse", map[string]string{"reason": "disproportionate"}, "all its pen names, 1: decline, disproportionate")
	late := b.form(page, page+"/recuse")
	b.press(page+"/refuse", page+"/refuse/sign", nil, "your refusal is stored: you declined, disproportionate")
	late.Set("text", "I know him.")
	b.send(page+"/recuse", late, "custodian.you_answered")
	if said, code := w.Escrow(t.Context(), w.AsCustodian("bruno", "recuse", id, "--reason", "I know him.", "--yes")...); code != 1 || !strings.Contains(said, "custodian.you_answered") {
		t.Error(code, said)
	}
	if code := b.end(); code != 0 && code != 130 {
		t.Error("exit code", code)
	}
}

// standsAnswered: a case that was answered says what was signed, and offers nothing that would change
// it; sent again, it is the same answer.
func (d *deskAt) standsAnswered(page string) {
	d.t.Helper()
	read := d.press(page, page+"/review", nil, "You answered this case on")
	if !strings.Contains(read, "pen name 1: approve") {
		d.t.Error("what was signed is not shown: ", read)
	}
	for _, kind := range []string{"approve", "refuse", "recuse"} {
		if strings.Contains(read, page+"/"+kind+`"`) {
			d.t.Error("it is offered still: ", kind)
		}
	}
	d.press(page, page+"/again", nil, "your answer is stored")
}

// differ: no two buttons of a page are called the same.
func (d *deskAt) differ(body string) {
	d.t.Helper()
	seen := map[string]bool{}
	for _, part := range strings.Split(body, "<button")[1:] {
		_, name, _ := strings.Cut(part, ">")
		if name, _, _ = strings.Cut(name, "</button>"); seen[name] {
			d.t.Errorf("two buttons are called %q", name)
		}
		seen[name] = true
	}
}

// upload chooses a file on a page and sends its form.
func (d *deskAt) upload(path, field, file string, more map[string]string, want string) string {
	d.t.Helper()
	values := d.form(path, path)
	for name, value := range more {
		values.Set(name, value)
	}
	body, kind := d.multipart(values, map[string]string{field: file})
	res, said := d.ask(http.MethodPost, path, kind, body)
	if said = html.UnescapeString(said); res.StatusCode != http.StatusOK || !strings.Contains(said, want) {
		d.t.Fatalf("%s: %d, which does not show %q: %s", path, res.StatusCode, want, said)
	}
	return said
}

// multipart is what a form with files sends.
func (d *deskAt) multipart(values url.Values, files map[string]string) (body *bytes.Buffer, kind string) {
	d.t.Helper()
	body = &bytes.Buffer{}
	w := multipart.NewWriter(body)
	for field, file := range files {
		content, err := os.ReadFile(file)
		if err != nil {
			d.t.Fatal(err)
		}
		part, err := w.CreateFormFile(field, filepath.Base(file))
		if err == nil {
			_, err = part.Write(content)
		}
		if err != nil {
			d.t.Fatal(err)
		}
	}
	for name := range values {
		if err := w.WriteField(name, values.Get(name)); err != nil {
			d.t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		d.t.Fatal(err)
	}
	return body, w.FormDataContentType()
}

// endorses has the custodian endorse the rules in force, once they are shown, look at a plan and
// agree to none but the one that they compared, and see their witness.
func (d *deskAt) endorses(w *world.World) {
	d.t.Helper()
	d.upload("/rules", "bundle", w.Path("custodians", "alba", "custodian.json"), nil, "bundle.")
	shown := d.upload("/rules", "bundle", w.Path("bundle.json"), nil, "You endorse this.")
	if !strings.Contains(shown, "Thornley County Court") {
		d.t.Error("the rules are not shown:", shown)
	}
	if !strings.Contains(shown, "These rules are in force already") {
		d.t.Error("nothing says that they are in force: ", shown)
	}
	said := d.press("/rules/sign", "/rules/sign", nil, "it says that you stand behind these rules")
	want, err := os.ReadFile(w.Path("bundle.json"))
	if err != nil {
		d.t.Fatal(err)
	}
	m := regexp.MustCompile(`<pre>(eyJ[^<]+)</pre>`).FindStringSubmatch(said)
	if m == nil {
		d.t.Fatal("no endorsement:", said)
	}
	payload, err := base64.RawURLEncoding.DecodeString(strings.Split(m[1], ".")[1])
	if hash := fmt.Sprintf("%x", sha256.Sum256(want)); err != nil || !strings.Contains(string(payload), hash) || !strings.Contains(string(payload), "alba") {
		d.t.Errorf("another endorsement: %s, %v", payload, err)
	}
	if status, body := d.get("/witness"); status != http.StatusOK || !strings.Contains(body, "It runs.") || !strings.Contains(body, "The newest checkpoint that it cosigned is of") {
		d.t.Error(status, body)
	}
}

// exhibits looks at all that was published of a case.
func (d *deskAt) exhibits(page, read string, picture []byte) {
	d.t.Helper()
	files := regexp.MustCompile(`/exhibit/([0-9a-f]{64}\.(?:txt|png))"`).FindAllStringSubmatch(read, -1)
	if len(files) != 3 {
		d.t.Fatalf("%d exhibits on %s", len(files), read)
	}
	shown := 0
	for _, m := range files {
		at := page + "/exhibit/" + m[1]
		if status, body := d.get(at); status != http.StatusOK || strings.Contains(body, "<script") {
			d.t.Error(status, body)
		}
		res, body := d.ask(http.MethodGet, at+"/download", "", nil)
		for name, want := range map[string]string{"Content-Type": "application/octet-stream", "X-Content-Type-Options": "nosniff",
			"Content-Disposition": `attachment; filename="` + m[1] + `"`, "Content-Security-Policy": "sandbox; default-src 'none'", "Cache-Control": "no-store"} {
			if got := res.Header.Get(name); got != want {
				d.t.Errorf("%s: %s: %q", m[1], name, got)
			}
		}
		if strings.HasSuffix(m[1], ".txt") && body != hostileText {
			d.t.Error("the file is another one:", body)
		}
		_, looked := d.get(at)
		res, body = d.ask(http.MethodGet, at+"/picture.png", "", nil)
		if is := res.StatusCode == http.StatusOK; is != strings.Contains(looked, "<img") || is != strings.Contains(looked, "It was drawn anew") || strings.HasSuffix(m[1], ".png") && is == strings.Contains(looked, "desk.bad_picture") {
			d.t.Error("the page says something else of the picture than there is: ", looked)
		}
		switch {
		case res.StatusCode != http.StatusOK:
		case res.Header.Get("Content-Type") != "image/png" || strings.Contains(body, "alert") || body == string(picture):
			d.t.Error("the picture is served as it was published")
		default:
			drawn, err := png.Decode(strings.NewReader(body))
			if err != nil {
				d.t.Fatal(err)
			}
			if r, _, _, _ := drawn.At(3, 3).RGBA(); r>>8 != 200 {
				d.t.Error("it is another picture")
			}
			shown++
		}
	}
	if shown != 1 {
		d.t.Errorf("%d pictures were drawn, and one is none", shown)
	}
}

// TestDeskRelocks: without use the keys go, and with them what was read; what was typed stays.
func TestDeskRelocks(t *testing.T) {
	w := startForTest(t)
	t.Setenv("TMPDIR", t.TempDir())
	st := filedCase(t, w)
	d := startDesk(t, w, "alba", "--lock-after", "2s", "--stop-after", "1h")
	d.enter()
	d.unlock(w, "alba", st.ID)
	page := "/case/" + st.ID
	d.press("/", page+"/review", nil, "Who asks")
	values := d.form(page, page+"/approve")
	values.Set("text", "These words stay.")
	eventually(t, func() bool {
		left, err := filepath.Glob(filepath.Join(os.TempDir(), "exhibits-*"))
		return err == nil && len(left) == 0
	})
	d.send(page+"/approve", values, "Passphrase") // too late: nothing is signed
	d.unlock(w, "alba", "")
	if _, body := d.get(page); !strings.Contains(body, "What you typed about this case is kept") {
		t.Error(body)
	}
	if body := d.press(page, page+"/review", nil, "Who asks"); !strings.Contains(body, "These words stay.") {
		t.Error(body)
	}

	// Another desk on this folder is refused; a new link ends the old session.
	if said, code := w.Escrow(t.Context(), "desk", "--no-browser", "--home", w.Path("custodians", "alba")); code != 1 || !strings.Contains(said, "custodian.desk_open") {
		t.Error(code, said)
	}
	old := d.client
	if _, err := d.stdin.Write([]byte("\n")); err != nil {
		t.Fatal(err)
	}
	d.enter()
	d.client = old
	if status, _ := d.get("/"); status != http.StatusForbidden {
		t.Error("the browser of before has the desk still:", status)
	}
}

// TestDeskOfACeremony: two custodians make a key together, one at a desk and one by commands. The
// plan is shown before it is agreed on, and each press does what can be done then.
func TestDeskOfACeremony(t *testing.T) {
	w := startForTest(t)
	t.Setenv("TMPDIR", t.TempDir())
	plan := policy.CeremonyPlan{Version: 1, Nonce: strings.Repeat("0f", 32), Threshold: 2}
	for i, id := range []string{"dora", "emil"} {
		home := w.Path("custodians", id)
		if err := os.WriteFile(world.PassphraseFile(home), []byte("a passphrase of "+id), 0o600); err != nil {
			t.Fatal(err)
		}
		said, code := w.Escrow(t.Context(), w.AsCustodian(id, "init", "--id", id, "--name", "N "+id, "--organisation", "O "+id, "--server", w.Origin, "--work-factor", "8")...)
		var seat policy.Seat
		if err := json.Unmarshal([]byte(said), &seat); err != nil || code != 0 {
			t.Fatal(said, err)
		}
		seat.Index = i + 1
		plan.Receivers = append(plan.Receivers, seat)
	}
	raw, err := plan.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	parsed, err := policy.ParseCeremonyPlan(raw)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Service.Board.Open(t.Context(), raw); err != nil {
		t.Fatal(err)
	}
	file := write(t, "plan.json", string(raw), 0o600)
	d := startDesk(t, w, "dora")
	d.enter()
	d.unlock(w, "dora", "")
	shown := d.upload("/ceremony", "plan", file, nil, "You have agreed to nothing yet")
	if !strings.Contains(shown, "N emil, O emil") || !strings.Contains(shown, parsed.Hash()) {
		t.Error("the plan is not shown:", shown)
	}
	d.upload("/ceremony", "plan", file, map[string]string{"hash": strings.Repeat("0", 64)}, "custodian.agreed_other_plan")
	hash := map[string]string{"hash": parsed.Hash()}
	d.upload("/ceremony", "plan", file, hash, "waiting for emil (agree)")
	if _, body := d.get("/"); !strings.Contains(body, "waits for emil.") {
		t.Error("the first page does not say that the ceremony goes on: ", body)
	}
	d.press("/ceremony", "/ceremony/on/"+parsed.Hash(), nil, "waiting for emil (agree)")
	for range 4 {
		if said, code := w.Escrow(t.Context(), w.AsCustodian("emil", "ceremony", file, "--agree", parsed.Hash(), "--once")...); code != 0 {
			t.Fatal(said)
		}
		d.press("/ceremony", "/ceremony", nil, "") // the plan and the hash are kept
	}
	if _, body := d.get("/ceremony"); !strings.Contains(body, "the key is made: 2-of-2 key, epoch 1") {
		t.Error(body)
	}
	if _, body := d.get("/"); !strings.Contains(body, "endorse those that do") {
		t.Error("the first page does not say what comes next: ", body)
	}
}

// TestDeskOfADogpile: many targets are answered on one page, each for itself, and what is missing
// is said of each. With -dogpile the case has 600 of them and 5,000 posts.
func TestDeskOfADogpile(t *testing.T) {
	accounts, posts := 12, 40
	if *large {
		accounts, posts = 600, 5000
	}
	w := startForTest(t)
	t.Setenv("TMPDIR", t.TempDir())
	warrant, evidence, exhibits := dogpile(t, w, accounts, posts, 200, false)
	said, code := w.Escrow(t.Context(), "warrant", "file", warrant, "--evidence", evidence, "--exhibits", exhibits, "--server", w.Origin, "--json")
	var filed struct{ Case string }
	if err := json.Unmarshal([]byte(said), &filed); err != nil || code != 0 {
		t.Fatal(said)
	}
	d := startDesk(t, w, "alba")
	d.enter()
	d.unlock(w, "alba", filed.Case)
	page, began := "/case/"+filed.Case, time.Now()
	read := d.press("/", page+"/review", nil, fmt.Sprintf("Pen name %d of %d", accounts, accounts))
	t.Logf("%d bytes in %v", len(read), time.Since(began))
	answers := map[string]string{}
	for i := range accounts {
		n := fmt.Sprintf("t%d", i)
		answers[n+"q0"], answers[n+"vote"] = "yes", "yes"
		if i%10 == 0 {
			answers[n+"vote"], answers[n+"reason"] = "no", "disproportionate"
		}
	}
	delete(answers, "t7vote")
	answers["t10reason"] = ""
	refused := d.press(page, page+"/approve", answers, "Pen name 8: say whether you approve it.")
	if !strings.Contains(refused, "Pen name 11: you decline it: choose a reason.") || strings.Count(refused, `value="yes" checked`) != 2*accounts-1-(accounts+9)/10 {
		t.Error("not all that is missing is said, or something that was typed is lost")
	}
	answers["t7vote"], answers["t10reason"] = "yes", "press_freedom"
	began = time.Now()
	shown := d.press(page, page+"/approve", answers, "pen name 11, ")
	t.Logf("shown in %v", time.Since(began))
	if !strings.Contains(shown, "decline, press_freedom") || strings.Count(shown, ": approve") != accounts-(accounts+9)/10 {
		t.Errorf("%.3000s", shown)
	}
	began = time.Now()
	d.press(page+"/approve", page+"/approve/sign", nil, "your answer is stored")
	t.Logf("signed in %v", time.Since(began))
}

// TestDeskByKeyboard: a custodian without a mouse opens the file with the link in a real browser,
// unlocks the desk, reads the case, is told what is missing, and answers it. Each page holds what
// axe-core can tell; what the case page shows, in every view.
func TestDeskByKeyboard(t *testing.T) {
	w := startForTest(t)
	b := pagetest.Open(t)
	t.Setenv("TMPDIR", t.TempDir())
	st, _ := hostileCase(t, w)
	d := startDesk(t, w, "chidi")
	file := <-d.files
	pass, err := typed(t.Context(), w.Path("custodians", "chidi"), false)
	if err != nil {
		t.Fatal(err)
	}
	hold := func(page string, views ...pagetest.View) {
		t.Helper()
		holdsHere(t, b, page, views...)
	}
	do := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	looked := 0
	one := func() pagetest.View { // another one each time
		looked++
		return pagetest.Views[looked%len(pagetest.Views)]
	}
	do(b.Go("file://" + file))
	do(b.Shows("Passphrase"))
	hold("locked", one())
	do(b.Type("input passphrase", "another passphrase"))
	do(b.Press("Unlock", "custodian.wrong_passphrase"))
	hold("a wrong passphrase", one())
	do(b.Type("input passphrase", string(pass)))
	do(b.Press("Unlock", st.ID))
	hold("queue", one())
	do(b.Press("Check and read it", "Who asks"))
	hold("case", pagetest.Views...)
	do(b.Press("Cymraeg", "Pwy sy’n gofyn"))
	hold("case in Welsh", pagetest.Views[2]) // of 320 pixels: its words are longer
	do(b.Press("English", "Who asks"))
	if sheets, _, err := b.Print(); err != nil || sheets < 1 || sheets > 3 {
		t.Errorf("a case prints on %d sheets: %v", sheets, err)
	}
	do(b.Press("look at it", "Save the file"))
	hold("a text", one())
	do(b.Press("Back to the case", "Who asks"))
	do(b.Press("Show the answer that is signed", "say whether you approve it"))
	hold("what is missing", one())
	do(b.Type("input approve:t0q0", " "))
	do(b.Type("input approve:t0vote", " "))
	do(b.Type("textarea ask:text", "Which one?"))
	do(b.Press("Cymraeg", "Pwy sy’n gofyn"))
	do(b.Press("English", "Who asks"))
	do(b.Has("'ask:text'", "Which one?")) // what is typed and not sent goes along
	do(b.Press("Show the answer that is signed", "Nothing is signed yet"))
	hold("what is signed", one())
	do(b.Press("Back, and sign nothing", "Who asks"))
	do(b.Press("Show the answer that is signed", "Nothing is signed yet")) // what was answered stays
	do(b.Press("Sign it", "your answer is stored"))
	hold("done", one())
	for part, shows := range map[string]string{"Rules": "Choose a bundle", "Key": "Press again when others", "Witness": "cosigns the checkpoints"} {
		do(b.Press(part, shows))
		hold(part, one())
	}
	do(b.Press("Lock", "Passphrase"))
}

func eventually(t *testing.T, is func() bool) {
	t.Helper()
	for again, end := time.NewTicker(50*time.Millisecond), time.Now().Add(30*time.Second); !is(); <-again.C {
		if time.Now().After(end) {
			t.Fatal("it does not happen")
		}
	}
}
