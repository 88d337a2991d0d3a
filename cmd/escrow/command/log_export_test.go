package command

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// headed serves an export as a host that reads _headers does.
func headed(t *testing.T, dir string) *httptest.Server {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join(dir, "_headers"))
	if err != nil {
		t.Fatal(err)
	}
	files := http.FileServer(http.Dir(dir))
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		applies := false
		for _, line := range strings.Split(string(raw), "\n") {
			if path := strings.TrimSuffix(line, "*"); strings.HasPrefix(line, "/") {
				applies = path == r.URL.Path || path != line && strings.HasPrefix(r.URL.Path, path)
			} else if name, value, ok := strings.Cut(strings.TrimSpace(line), ": "); ok && applies {
				w.Header().Set(name, value)
			}
		}
		files.ServeHTTP(w, r)
	}))
	t.Cleanup(s.Close)
	return s
}

// nginx serves an export with the file that is made for it.
func nginx(t *testing.T, dir string) string {
	t.Helper()
	program, err := exec.LookPath("nginx")
	if err != nil {
		if program = "/usr/sbin/nginx"; !exists(program) {
			if os.Getenv("CI") == "true" {
				t.Fatal("nginx is not there")
			}
			t.Skip("nginx is not there")
		}
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := ln.Addr().String()
	ln.Close()
	own := t.TempDir()
	for _, folder := range []string{own, dir} { // nginx's worker is another user
		for ; folder != os.TempDir() && folder != "/"; folder = filepath.Dir(folder) {
			if err := os.Chmod(folder, 0o755); err != nil { //nolint:gosec // public
				t.Fatal(err)
			}
		}
	}
	config := filepath.Join(own, "nginx.conf")
	text := fmt.Sprintf("daemon off; pid %[1]s/pid; error_log stderr; events {}\nhttp { access_log off; client_body_temp_path %[1]s/b; proxy_temp_path %[1]s/p; fastcgi_temp_path %[1]s/f; uwsgi_temp_path %[1]s/u; scgi_temp_path %[1]s/s;\nserver { listen %[2]s; root %[3]s; include %[3]s/nginx-headers.conf; } }\n", own, address, dir)
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	var said strings.Builder
	c := exec.CommandContext(t.Context(), program, "-c", config, "-p", own)
	c.Stderr, c.WaitDelay = &said, 10*time.Second
	c.Cancel = func() error { return c.Process.Signal(syscall.SIGTERM) } // killed, it would leave its worker behind
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Wait() }) // its context ended
	for deadline := time.Now().Add(10 * time.Second); ; {
		conn, err := net.Dial("tcp", address)
		if err == nil {
			conn.Close()
			return "http://" + address
		}
		if time.Now().After(deadline) {
			t.Fatal(err, said.String())
		}
	}
}

func exists(name string) bool {
	_, err := os.Stat(name)
	return !errors.Is(err, fs.ErrNotExist)
}

// C2SP tlog-tiles, "Checkpoints", "Merkle Tree", "Log entries": the paths, content types and
// caching of each part, by the headers that the export itself says, under two servers.
func TestLogExport(t *testing.T) {
	o := newObserved(t)
	for range 60 {
		o.served.opened(o.now.AddDate(1, 0, 0))
	}
	site := filepath.Join(t.TempDir(), "site")
	r := o.run("log", "export", site)
	if r.code != 0 || !strings.HasPrefix(r.out, "301 entries verified and written, 301 of them new\n") || !strings.Contains(r.out, "serve "+site) {
		t.Fatalf("%d %s%s", r.code, r.out, r.errs)
	}
	list := o.run("log", "list", "--json")
	for name, server := range map[string]string{"_headers": headed(t, site).URL, "nginx": nginx(t, site)} {
		for path, want := range map[string][2]string{
			"/log/checkpoint":                           {"text/plain; charset=utf-8", "public, max-age=5, must-revalidate"},
			"/log/tile/0/000":                           {"application/octet-stream", "public, max-age=31536000, immutable"},
			"/log/tile/0/001.p/45":                      {"application/octet-stream", "public, max-age=31536000, immutable"},
			"/log/tile/1/000.p/1":                       {"application/octet-stream", "public, max-age=31536000, immutable"},
			"/log/tile/entries/000":                     {"application/octet-stream", "public, max-age=31536000, immutable"},
			"/log/tile/entries/001.p/45":                {"application/octet-stream", "public, max-age=31536000, immutable"},
			"/log/bundles/" + o.bundle.Hash() + ".json": {"application/json", "public, max-age=300"},
		} {
			resp, err := http.Get(server + path)
			if err != nil {
				t.Fatal(err)
			}
			body, err := io.ReadAll(resp.Body)
			resp.Body.Close()
			if h := resp.Header; err != nil || resp.StatusCode != 200 || len(body) == 0 || h.Get("Content-Type") != want[0] || h.Get("Cache-Control") != want[1] || h.Get("Access-Control-Allow-Origin") != "*" {
				t.Errorf("%s, %s: %d %v %v", name, path, resp.StatusCode, h, err)
			}
			if path == "/log/tile/0/000" && len(body) != 8192 {
				t.Errorf("a full tile has %d bytes", len(body))
			}
		}
		for _, path := range []string{"/log/tile/0/002", "/log/tile/0/001.p/0", "/log/tile/0/001.p/46", "/log/tile/2/000.p/1", "/log/tile/entries/002.p/1"} {
			if resp, err := http.Get(server + path); err != nil || resp.StatusCode != 404 {
				t.Errorf("%s, %s: %v, %v", name, path, resp, err)
			} else {
				resp.Body.Close()
			}
		}
		if got := o.run("log", "list", "--json", "--server", server); got.code != 0 || got.out != list.out {
			t.Errorf("%s: %d %s", name, got.code, got.errs)
		}
		// It is enough for everybody who takes its address: rules and endorsements are there, too.
		copied := filepath.Join(t.TempDir(), "copy")
		for _, args := range [][]string{{"audit"}, {"mirror", copied}, {"monitor", filepath.Join(t.TempDir(), "monitor"), "--once"}, {"export", filepath.Join(t.TempDir(), "again")}} {
			if got := o.run(append(append([]string{"log"}, args...), "--server", server)...); got.code != 0 {
				t.Errorf("%s, %v: %d %s%s", name, args, got.code, got.out, got.errs)
			}
		}
		if got := o.run("log", "audit", "--mirror", copied); got.code != 0 {
			t.Errorf("%s: %s", name, got.errs)
		}
	}
	if got := o.run("log", "audit", "--mirror", filepath.Join(site, "log")); got.code != 0 {
		t.Error(got.errs)
	}
	help := o.run("log", "export", "--help")
	for _, p := range publishedParts {
		if !strings.Contains(help.out, p.caching) {
			t.Errorf("--help does not say %s", p.caching)
		}
	}
}

// An export that was killed at any request serves what it served before, and the next one goes
// on; one from a mirror is the same, file for file.
func TestLogExportKilled(t *testing.T) {
	o := newObserved(t)
	o.served.opened(o.now.AddDate(1, 0, 0))
	site := filepath.Join(t.TempDir(), "site")
	if r := o.run("log", "export", site); r.code != 0 {
		t.Fatal(r.errs)
	}
	before, err := os.ReadFile(filepath.Join(site, "log/checkpoint"))
	if err != nil {
		t.Fatal(err)
	}
	for range 60 {
		o.served.opened(o.now.AddDate(1, 0, 0))
	}
	whole := o.served
	for limit := 2; ; limit++ {
		o.after(limit)
		r := o.run("log", "export", site)
		o.after(-1)
		if r.code == 0 && limit > 5 {
			break
		}
		if r.code == 0 || limit > 40 {
			t.Fatal(r.errs)
		}
		now, err := os.ReadFile(filepath.Join(site, "log/checkpoint"))
		if err != nil || string(now) != string(before) {
			t.Fatalf("cut after %d requests the checkpoint is another: %v", limit, err)
		}
		if r := o.run("log", "audit", "--mirror", filepath.Join(site, "log")); r.code != 0 {
			t.Fatalf("cut after %d requests: %s", limit, r.errs)
		}
	}
	mirror, second := filepath.Join(t.TempDir(), "mirror"), filepath.Join(t.TempDir(), "second")
	if r := o.run("log", "mirror", mirror); r.code != 0 {
		t.Fatal(r.errs)
	}
	o.down = true
	if r := o.run("log", "export", second, "--mirror", mirror); r.code != 0 {
		t.Fatal(r.errs)
	}
	o.down = false
	first, other := tree(t, site), tree(t, second)
	for name, data := range other {
		if first[name] != data {
			t.Errorf("%s differs", name)
		}
	}
	// What the log shows differently than before is not published: both are kept.
	o.served = whole.fork(5)
	for range 70 {
		o.served.opened(o.now.AddDate(1, 0, 0))
	}
	if r := o.run("log", "export", site); r.code != 1 || !strings.Contains(r.errs, "proof.split_view") {
		t.Errorf("%d %s", r.code, r.errs)
	}
	for name, data := range first {
		if tree(t, site)[name] != data {
			t.Errorf("%s changed", name)
		}
	}
}

// tree is what is in a folder and below, by name.
func tree(t *testing.T, dir string) map[string]string {
	t.Helper()
	all := map[string]string{}
	err := filepath.WalkDir(dir, func(name string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		b, err := os.ReadFile(name)
		all[strings.TrimPrefix(name, dir)] = string(b)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// Whoever reads the site of a killed export has the rules that its checkpoint needs.
func TestLogExportCheckpointLast(t *testing.T) {
	o := newObserved(t)
	site := filepath.Join(t.TempDir(), "site", "log")
	for limit := 1; ; limit++ {
		o.after(limit)
		r := o.run("log", "export", filepath.Dir(site))
		o.after(-1)
		if exists(filepath.Join(site, "checkpoint")) && !exists(filepath.Join(site, "bundles", o.bundle.Hash()+".json")) {
			t.Fatalf("cut after %d requests there is a checkpoint without its rules", limit)
		}
		if r.code == 0 {
			break
		}
		if limit > 40 {
			t.Fatal(r.errs)
		}
	}
}
