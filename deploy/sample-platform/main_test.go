package main

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/penname/penname/verifier/token"
)

func pen(t *testing.T, b byte) token.Pseudonym {
	t.Helper()
	name, err := token.NewPseudonym([]byte(strings.Repeat(string(rune(b)), 16)))
	if err != nil {
		t.Fatal(err)
	}
	return name
}

// The platform is small enough to be read: fewer than 300 lines of Go and HTML, without
// blank lines and comments.
func TestSmallEnoughToRead(t *testing.T) {
	n := 0
	for _, file := range []string{"main.go", "page.html"} {
		raw, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(raw)) {
			if line = strings.TrimSpace(line); line != "" && !strings.HasPrefix(line, "//") {
				n++
			}
		}
	}
	if n >= 300 || n < 200 {
		t.Errorf("%d lines", n)
	}
}

// A message is hidden from whom it drags into a quarrel, and from nobody else.
func TestHides(t *testing.T) {
	a, b, c := pen(t, 'a'), pen(t, 'b'), pen(t, 'c')
	at := func(names ...token.Pseudonym) (text string) {
		for _, name := range names {
			text += " @" + string(name.Handle(token.MinHandle))
		}
		return text
	}
	board := &board{Blocked: map[token.Pseudonym][]token.Pseudonym{a: {b}}}
	for _, x := range []struct {
		what   string
		p      post
		reader token.Pseudonym
		hidden bool
	}{
		{"what a blocked one writes", post{Author: b, Text: "hello"}, a, true},
		{"the same, for others", post{Author: b, Text: "hello"}, c, false},
		{"the same, for somebody not signed in", post{Author: b, Text: "hello"}, "", false},
		{"me beside whom I blocked", post{Author: c, Text: at(a, b)}, a, true},
		{"the same, for others", post{Author: c, Text: at(a, b)}, b, false},
		{"me alone", post{Author: c, Text: at(a)}, a, false},
		{"whom I blocked, alone", post{Author: c, Text: at(b)}, a, false},
		{"what I wrote myself", post{Author: a, Text: at(a, b)}, a, false},
	} {
		if board.Hides(x.p, x.reader) != x.hidden {
			t.Errorf("%s: want hidden %v", x.what, x.hidden)
		}
	}
	board.Banned = append(board.Banned, c)
	if !board.Hides(post{Author: c, Text: "hello"}, b) {
		t.Error("a banned one is still shown")
	}
}

// The page shows what somebody wrote as words, whatever it is.
func TestPageEscapes(t *testing.T) {
	b := &board{Posts: []post{{Author: pen(t, 'a'), Text: "<script>alert(1)</script><img src=x onerror=alert(1)>\u202e{{.Me}}"}}}
	w := httptest.NewRecorder()
	b.handler().ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/", nil))
	if body := w.Body.String(); w.Code != http.StatusOK || strings.Contains(body, "<script") || strings.Contains(body, "<img") || !strings.Contains(body, "{{.Me}}") {
		t.Error(w.Code, body)
	}
	if policy := w.Header().Get("Content-Security-Policy"); !strings.HasPrefix(policy, "default-src 'none'") {
		t.Error("no policy:", policy)
	}
}

// What is no text, is empty or is too large is refused, and so is what is not about a message
// that there is. Nothing of it is kept.
func TestHostileInput(t *testing.T) {
	a, c := pen(t, 'a'), pen(t, 'c')
	b := &board{folder: t.TempDir(), Blocked: map[token.Pseudonym][]token.Pseudonym{}, Posts: []post{{Author: a, Text: "hello"}}}
	do := func(who token.Pseudonym, form url.Values) string {
		t.Helper()
		r := httptest.NewRequest(http.MethodPost, "/act", strings.NewReader(form.Encode()))
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		_, refused, err := b.do(&token.Token{Subject: who}, r)
		if err != nil {
			t.Fatal(err)
		}
		return refused
	}
	for what, text := range map[string]string{"nothing": "", "spaces": " \n\t", "bad UTF-8": "a\xff", "half a character": "\xe2\x82", "NUL": "a\x00b", "turned round": "a\u202eb", "too large": strings.Repeat("a", 8001)} {
		if do(c, url.Values{"deed": {"write"}, "text": {text}}) == "" {
			t.Error(what, "was posted")
		}
	}
	for _, deed := range []string{"block", "unblock", "report", "ban", "lift"} {
		for _, n := range []string{"", "-1", "1", "99999999999999999999", "0x0", "a"} {
			if do(c, url.Values{"deed": {deed}, "post": {n}}) == "" {
				t.Errorf("%s %q was done", deed, n)
			}
		}
	}
	for _, deed := range []string{"", "delete", "ban", "lift"} { // nobody is the moderator
		if do(c, url.Values{"deed": {deed}, "post": {"0"}}) == "" {
			t.Errorf("%q was done", deed)
		}
	}
	for _, deed := range []string{"block", "report"} {
		if do(a, url.Values{"deed": {deed}, "post": {"0"}}) == "" {
			t.Errorf("somebody did %q to themself", deed)
		}
	}
	b.moderator = a
	if do(a, url.Values{"deed": {"ban"}, "post": {"0"}}) == "" {
		t.Error("a moderator banned themself")
	}
	b.moderator = ""
	if len(b.Posts) != 1 || len(b.Banned) != 0 || len(b.Blocked) != 0 {
		t.Errorf("%+v, %+v, %+v", b.Posts, b.Banned, b.Blocked)
	}
	if refused := do(c, url.Values{"deed": {"write"}, "text": {"<script>\r\nhello\U0001f469\u200d\U0001f52c"}}); refused != "" || b.Posts[1].Text != "<script>\nhello\U0001f469\u200d\U0001f52c" {
		t.Error(refused)
	}
	raw, err := os.ReadFile(filepath.Join(b.folder, "board.json"))
	if err != nil {
		t.Fatal(err)
	}
	var again board
	if err := json.Unmarshal(raw, &again); err != nil || len(again.Posts) != 2 || again.Posts[1].Text != b.Posts[1].Text {
		t.Errorf("%v: what is kept is not what was posted: %s", err, raw)
	}
	huge := httptest.NewRequest(http.MethodPost, "/act", strings.NewReader("deed=write&text="+strings.Repeat("a", 10<<20)))
	huge.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	w := httptest.NewRecorder()
	b.handler().ServeHTTP(w, huge)
	if w.Code != http.StatusUnauthorized || len(w.Body.String()) > 64<<10 {
		t.Errorf("a huge one: %d, %d bytes", w.Code, w.Body.Len())
	}
}

// What is pressed twice is done once: nobody makes the lists grow.
func TestPressedTwice(t *testing.T) {
	a, c, m := pen(t, 'a'), pen(t, 'c'), pen(t, 'm')
	b := &board{folder: t.TempDir(), moderator: m, Blocked: map[token.Pseudonym][]token.Pseudonym{}, Posts: []post{{Author: a, Text: "hello"}}}
	for _, x := range []struct {
		who             token.Pseudonym
		deed            string
		blocked, banned int
	}{{c, "block", 1, 0}, {c, "block", 1, 0}, {m, "ban", 1, 1}, {m, "ban", 1, 1}, {c, "unblock", 0, 1}, {c, "unblock", 0, 1}, {m, "lift", 0, 0}, {m, "lift", 0, 0}} {
		r := httptest.NewRequest(http.MethodPost, "/act", strings.NewReader("post=0&deed="+x.deed))
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		author, refused, err := b.do(&token.Token{Subject: x.who}, r)
		if author != a || refused != "" || err != nil || len(b.Blocked[c]) != x.blocked || len(b.Banned) != x.banned {
			t.Errorf("%s: %q, %v, %v, %v", x.deed, refused, err, b.Blocked, b.Banned)
		}
	}
}

// Who reads slowly holds up nobody: what they are shown is made before it is sent.
func TestSlowReader(t *testing.T) {
	b := &board{Posts: []post{{Author: pen(t, 'a'), Text: "hello"}}}
	w := &slowReader{ResponseRecorder: httptest.NewRecorder(), reads: func() {
		if !b.mu.TryLock() {
			t.Fatal("the board waits for its reader")
		}
		b.mu.Unlock()
	}}
	b.handler().ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/", nil))
	if !strings.Contains(w.Body.String(), "hello") {
		t.Error(w.Body)
	}
}

type slowReader struct {
	*httptest.ResponseRecorder
	reads func()
}

func (w *slowReader) Write(p []byte) (int, error) {
	w.reads()
	return w.ResponseRecorder.Write(p)
}
