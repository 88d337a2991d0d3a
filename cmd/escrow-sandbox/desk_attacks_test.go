package main

import (
	"html"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/penname/penname/escrow/sandbox/world"
	"github.com/penname/penname/escrow/web/pagetest"
)

// hostilePieces are what a stranger may publish, and evidence may declare, to run in the page of
// who judges it, to hide, to cover what stands around it, or to fill the machine.
var hostilePieces = map[string]piece{
	"a page":                  {"text/plain", "<!doctype html><title>x</title><base href='http://evil.example/'><meta http-equiv=refresh content='0;url=http://evil.example/'><script>document.title='ran'</script>"},
	"a picture with a script": {"text/plain", `<?xml version="1.0"?><svg xmlns="http://www.w3.org/2000/svg" onload="document.title='ran'"><script>document.title='ran'</script><image href="http://evil.example/x.png"/></svg>`},
	"what ends the quotation": {"text/plain", `</pre></main><h1>Approved by all custodians</h1><form action="http://evil.example/"><button>Sign it</button></form><style>main{display:none}</style>`},
	"the language of pages":   {"text/plain", `{{.Base}} {{template "confirm" .}} ${7*7} <%= 7*7 %> &lt;script&gt; javascript:alert(1) \u003cscript\u003e`},
	"one long word":           {"text/plain", strings.Repeat("A", 1<<20)},
	"a million lines":         {"text/plain", strings.Repeat("\n", 1<<20-1) + "x"},
	"a heap of accents":       {"text/plain", "o" + strings.Repeat("\u0335\u0489", 100_000)},
	"turned round":            {"text/plain", "\u202e\u2066\u2067yes\u2069 I did \u200f\u200b\u2060not\u00ad do it\ufeff"},
	"a page that is a PNG":    {"image/png", "\x89PNG\r\n\x1a\n<script>document.title='ran'</script>"},
	"a script that is a GIF":  {"image/gif", "GIF89a/*\x00\x00\x00\x00\x00*/=1;document.title='ran'"},
	"a large JPEG":            {"image/jpeg", "\xff\xd8\xff\xc0\x00\x11\x08\xff\xff\xff\xff\x03\x01\x22\x00\x02\x11\x01\x03\x11\x01"},
	"a PDF that acts":         {"application/pdf", "%PDF-1.7\n1 0 obj<</Type/Catalog/OpenAction<</S/JavaScript/JS(app.alert(1))>>>>endobj"},
	"a script that is a WebP": {"image/webp", "RIFF\x04\x00\x00\x00WEBPVP8L<script>document.title='ran'</script>"},
	"a film that is a page":   {"video/mp4", "\x00\x00\x00\x18ftyp<html><script>document.title='ran'</script>"},
}

// TestDeskOfHostileExhibits: nothing of what a stranger published runs, hides or leads elsewhere in
// a browser: not on the page of the case, not on its own, at any width; nor does it when it is
// saved, whatever the browser takes it for.
func TestDeskOfHostileExhibits(t *testing.T) {
	w := startForTest(t)
	b := pagetest.Open(t)
	t.Setenv("TMPDIR", t.TempDir())
	var all []piece
	for _, one := range hostilePieces {
		all = append(all, one)
	}
	st, _ := hostileCase(t, w, all...)
	d := startDesk(t, w, "alba")
	d.enter()
	d.unlock(w, "alba", st.ID)
	page := "/case/" + st.ID
	read := d.press("/", page+"/review", nil, "Who asks")
	files := regexp.MustCompile(`/exhibit/([0-9a-f]{64}\.[a-z0-9]+)"`).FindAllStringSubmatch(read, -1)
	if len(files) != len(all)+3 {
		t.Fatalf("%d exhibits on %s", len(files), read)
	}
	_, raw := d.get(page)
	clean(t, "the case", raw)
	for _, m := range files {
		at := page + "/exhibit/" + m[1]
		began := time.Now()
		_, second := d.get(at + "?part=2")
		clean(t, m[1], second)
		page1, body := d.ask(http.MethodGet, at, "", nil)
		if took := time.Since(began); page1.StatusCode != http.StatusOK || took > 20*time.Second {
			t.Errorf("%s: %s after %v", m[1], page1.Status, took)
		}
		clean(t, m[1], body)
		if leaves := page1.Header.Get("Refresh"); !strings.HasSuffix(leaves, page) || !strings.Contains(body, "This page leaves the screen by itself") {
			t.Errorf("%s stays on the screen: %q", m[1], leaves)
		}
		if shown := strings.HasSuffix(m[1], ".txt") || strings.Contains(body, "/picture.png"); shown == strings.Contains(body, "This desk does not show what is in it.") {
			t.Errorf("%s: what is not shown is not said, or what is: %.2000s", m[1], body)
		}
		res, _ := d.ask(http.MethodGet, at+"/download", "", nil)
		if h := res.Header; h.Get("Content-Type") != "application/octet-stream" || h.Get("X-Content-Type-Options") != "nosniff" || h.Get("Content-Disposition") != `attachment; filename="`+m[1]+`"` || h.Get("Content-Security-Policy") != "sandbox; default-src 'none'" {
			t.Error(h)
		}
		if res, body := d.ask(http.MethodGet, at+"/picture.png", "", nil); res.StatusCode == http.StatusOK && (res.Header.Get("Content-Type") != "image/png" || strings.Contains(body, "script")) {
			t.Errorf("%s is served as it was published", m[1])
		}
	}
	d.hostileInABrowser(w, b, page, files)
}

// clean holds a page against what a stranger's words must not do in it.
func clean(t *testing.T, name, body string) {
	t.Helper()
	for _, tag := range []string{"<script", "<svg", "<base", "<style", "<meta http-equiv", "<h1>Approved", "evil.example/\"", "{{"} {
		if tag == "{{" && strings.Contains(html.UnescapeString(body), hostilePieces["the language of pages"].content) {
			continue // it is text there
		}
		if strings.Contains(body, tag) {
			t.Errorf("%s has %q", name, tag)
		}
	}
	for _, hides := range "\u202e\u2066\u2067\u200f\u200b\u2060\u00ad\ufeff" {
		if strings.ContainsRune(body, hides) {
			t.Errorf("%s hides %U", name, hides)
		}
	}
	if strings.Contains(body, strings.Repeat("\u0335\u0489", 5)) {
		t.Errorf("%s has a heap of accents", name)
	}
}

// hostileInABrowser looks at the case, and at each of those files, in a browser, which has the desk
// from then on: it finds it locked.
func (d *deskAt) hostileInABrowser(w *world.World, b *pagetest.Browser, page string, files [][]string) {
	t := d.t
	t.Helper()
	if _, err := d.stdin.Write([]byte("\n")); err != nil {
		t.Fatal(err)
	}
	base, enter := d.link()
	do := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	pass, err := typed(t.Context(), w.Path("custodians", "alba"), false)
	do(err)
	do(b.Go(base + enter))
	do(b.Shows("Passphrase"))
	do(b.Type("input passphrase", string(pass)))
	do(b.Press("Unlock", "Cases that wait"))
	do(b.Go(base + page))
	do(b.Press("Check and read it", "Who asks"))
	for i, m := range append(files, []string{"", ""}) {
		at, shows := base+page+"/exhibit/"+m[1], "What was published"
		if m[1] == "" {
			at, shows = base+page, "Who asks"
		}
		began := time.Now()
		do(b.Go(at))
		do(b.Shows(shows))
		if took := time.Since(began); took > 10*time.Second {
			t.Errorf("%s: a browser needs %v", at, took)
		}
		s, err := b.Here(pagetest.Views[i%len(pagetest.Views)])
		do(err)
		for _, from := range s.Loaded {
			if !strings.HasPrefix(from, base+"/") {
				t.Errorf("%s loads %s", at, from)
			}
		}
		if s.Wider > 0 {
			t.Errorf("%s: %d pixels wider than the view", at, s.Wider)
		}
		for _, violation := range s.Violations {
			t.Errorf("%s: %s", at, violation)
		}
		title, err := b.Title()
		if do(err); !strings.HasSuffix(title, " · Desk of alba") {
			t.Errorf("%s: something ran: %q", at, title)
		}
	}

	// On paper the case is what it is, and nothing of the desk around it.
	sheets, words, err := b.Print()
	if do(err); sheets < 1 || sheets > 30 { // of 13 texts, each as long as may be
		t.Errorf("%d sheets", sheets)
	}
	for _, want := range []string{"Read by Alba Ferrand on ", "destroy this paper", "Who asks", "I will come for you tonight.", "What it did not check"} {
		if !strings.Contains(words, want) {
			t.Errorf("the paper has no %q: %.2000s", want, words)
		}
	}
	for _, not := range []string{"Lock", "Your answer", "Show what is signed", "Skip to", "Witness"} {
		if strings.Contains(words, not) {
			t.Errorf("the paper has %q", not)
		}
	}

	// Whoever finds the machine when the desk is locked, and goes Back, reads nothing.
	do(b.Go(base + page))
	do(b.Shows("I will come for you tonight."))
	do(b.Press("Lock", "Passphrase"))
	back, err := b.Back()
	if do(err); strings.Contains(back, "I will come for you tonight.") {
		t.Error("what was published is still there: ", back)
	}
}
