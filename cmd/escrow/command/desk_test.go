package command

import (
	"bytes"
	"context"
	"errors"
	"image"
	"image/png"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/penname/penname/escrow/desk"
)

// TestPictureProcess: a picture is drawn by a process of its own, which passes on nothing of a
// stranger's file but its points; one that is none, or larger than a process may hold, is refused.
func TestPictureProcess(t *testing.T) {
	file := filepath.Join(t.TempDir(), "escrow")
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-o", file, "..").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	h := &home{program: &program{Env: Env{Program: file}}}
	var picture bytes.Buffer
	if err := png.Encode(&picture, image.NewGray(image.Rect(0, 0, 6000, 6000))); err != nil { // as large as is drawn
		t.Fatal(err)
	}
	picture.WriteString("<script>alert(1)</script>")
	drawn, err := h.picture(t.Context(), picture.Bytes())
	if err != nil || desk.Drawn(drawn) != nil || bytes.Contains(drawn, []byte("script")) {
		t.Fatalf("%d bytes, %v", len(drawn), err)
	}
	for name, content := range map[string]string{"nothing": "", "a text": "words", "a cut one": picture.String()[:40]} {
		if _, err := h.picture(t.Context(), []byte(content)); !errors.Is(err, desk.ErrPicture) {
			t.Errorf("%s: %v", name, err)
		}
	}
	ended, end := context.WithCancel(t.Context())
	end()
	if _, err := h.picture(ended, picture.Bytes()); !errors.Is(err, desk.ErrPicture) {
		t.Error("it does not end with who asked: ", err)
	}
	h.Program = ""
	if _, err := h.picture(t.Context(), picture.Bytes()); !errors.Is(err, desk.ErrPicture) {
		t.Error("a picture is drawn in no process: ", err)
	}
}

// TestConfined: the process that draws holds no more than its bound, and writes no file.
func TestConfined(t *testing.T) {
	if os.Getenv("PENNAME_CONFINED") != "" {
		if err := confine(); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(os.Getenv("PENNAME_CONFINED"), []byte("x"), 0o600); err == nil {
			t.Fatal("it wrote a file")
		}
		held := make([][]byte, 0, 100)
		for range 100 {
			b := make([]byte, 32<<20)
			for i := 0; i < len(b); i += 4096 {
				b[i] = 1
			}
			held = append(held, b)
		}
		t.Fatal("it holds ", len(held)*32, " MB")
	}
	if _, err := os.Stat("/proc/self/limits"); err != nil {
		t.Skip("the bounds are Linux's")
	}
	file := filepath.Join(t.TempDir(), "written")
	c := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestConfined$")
	c.Env = append(os.Environ(), "PENNAME_CONFINED="+file)
	out, err := c.CombinedOutput()
	if err == nil || strings.Contains(string(out), "it holds") || strings.Contains(string(out), "it wrote") || !strings.Contains(string(out), "out of memory") && !strings.Contains(string(out), "cannot allocate") {
		t.Errorf("%v: %.600s", err, out)
	}
}

// runDesk starts the desk of a custodian's folder. It returns the file of its link, and what ends it
// and returns its exit code and what it said.
func runDesk(t *testing.T, home string) (link string, end func() (code int, said string)) {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	opened, code := make(chan string, 1), make(chan int, 1)
	var out bytes.Buffer
	env := System()
	env.Stdin, env.Stdout, env.Stderr = strings.NewReader(""), &out, &out
	env.Browser = func(file string) error {
		opened <- file
		return nil
	}
	go func() { code <- Run(ctx, []string{"desk", "--home", home}, env) }()
	return <-opened, func() (int, string) {
		stop()
		return <-code, out.String()
	}
}

// TestDeskIsAloneOnItsFolder: a second desk is refused, and the first says where its link is and
// no more.
func TestDeskIsAloneOnItsFolder(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	home := newHome(t, "alba")
	file, end := runDesk(t, home)
	if r := run(t, []string{"no passphrase is asked for"}, "desk", "--home", home, "--no-browser"); r.code != 1 || !strings.Contains(r.errs, "custodian.desk_open") {
		t.Errorf("%+v", r)
	}
	link, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	code, said := end()
	if code != 0 && code != 130 {
		t.Errorf("exit code %d: %s", code, said)
	}
	if !strings.Contains(said, file) || strings.Contains(said, "http") || !regexp.MustCompile(`"http://[0-9a-f]{32}\.localhost:[0-9]+/`).Match(link) {
		t.Error(said)
	}
	if left, err := os.ReadDir(os.TempDir()); err != nil || len(left) > 0 {
		t.Error("it left something behind: ", left, err)
	}
}

// TestADeskSaysWhatIsGone: at its end the terminal says in how many forms something was typed that is
// gone now, and no word of it; where nothing was, it says nothing.
func TestADeskSaysWhatIsGone(t *testing.T) {
	for _, typed := range []bool{false, true} {
		t.Setenv("TMPDIR", t.TempDir())
		home := newHome(t, "alba")
		file, end := runDesk(t, home)
		page, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		link := regexp.MustCompile(`http://([^/"]+)(/[^/"]+)/enter/[^/"]+`).FindSubmatch(page)
		host, prefix := string(link[1]), string(link[2])
		ask := func(method, address, form, session string) *http.Response {
			req, err := http.NewRequestWithContext(t.Context(), method, strings.Replace(address, host, "127.0.0.1"+host[strings.LastIndex(host, ":"):], 1), strings.NewReader(form))
			if err != nil {
				t.Fatal(err)
			}
			req.Host = host
			req.Header.Set("Origin", "http://"+host)
			req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
			req.Header.Set("Cookie", session)
			res, err := http.DefaultTransport.RoundTrip(req)
			if err != nil {
				t.Fatal(err)
			}
			res.Body.Close()
			return res
		}
		session, _, _ := strings.Cut(ask(http.MethodGet, string(link[0]), "", "").Header.Get("Set-Cookie"), ";")
		if typed {
			if res := ask(http.MethodPost, "http://"+host+prefix+"/case/aaaaaaaaaaaaaaaaaaaaaaaaaa/ask", "text=Which+one", session); res.StatusCode != http.StatusSeeOther {
				t.Fatal(res.Status)
			}
		}
		if _, said := end(); strings.Contains(said, "neither signed nor saved: 1; that is gone") != typed || strings.Contains(said, "neither signed") != typed || strings.Contains(said, "Which") {
			t.Errorf("%v: %s", typed, said)
		}
	}
}
