package command

import (
	"bytes"
	"html"
	"io"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/penname/penname/escrow/web"
	publicrecord "github.com/penname/penname/escrow/web/record"
	"github.com/penname/penname/verifier/record"
	"github.com/penname/penname/verifier/record/recordtest"
)

// service is a registrar on this machine that serves a log with its record, the checkpoint of now.
func service(t *testing.T, story func(w *recordtest.World)) (*recordtest.World, string) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	at := "http://" + ln.Addr().String()
	w := recordtest.New(t, at)
	story(w)
	w.Publish(time.Now().Add(-time.Minute))
	r := record.New(w, w.Fetch, w.Records)
	if err := r.Follow(t.Context(), w.Log(), nil); err != nil {
		t.Fatal(err)
	}
	edge, err := web.New(web.Config{Origin: at, Log: slog.New(slog.DiscardHandler), Now: time.Now})
	if err != nil {
		t.Fatal(err)
	}
	publicrecord.Mount(edge, r.Page)
	server := &httptest.Server{Listener: ln, Config: &http.Server{ReadHeaderTimeout: time.Minute, Handler: http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.URL.Path, "/record") {
			edge.ServeHTTP(rw, r)
			return
		}
		w.ServeHTTP(rw, r)
	})}}
	server.Start()
	t.Cleanup(server.Close)
	return w, at
}

// well is a story of a log that breaks no rule.
func well(w *recordtest.World) {
	w.Platform("town-square", nil)
	w.Grow(400, 30)
}

var program4tests struct {
	sync.Once
	dir string
	err error
}

// installed is what the page says to install. Nothing in the file of the module keeps go install from
// it: that refuses a module that replaces or excludes others.
const installed = "github.com/penname/penname/cmd/escrow"

// withProgram is a PATH on which escrow is this program.
func withProgram(t *testing.T) string {
	t.Helper()
	program4tests.Do(func() {
		if program4tests.dir, program4tests.err = os.MkdirTemp("", "escrow-record"); program4tests.err == nil {
			out, err := exec.Command("go", "build", "-o", filepath.Join(program4tests.dir, "escrow"), installed).CombinedOutput() //nolint:gosec,noctx // our own
			if program4tests.err = err; err != nil {
				program4tests.err = &exec.Error{Name: string(out), Err: err}
			}
		}
	})
	if program4tests.err != nil {
		t.Fatal(program4tests.err)
	}
	t.Cleanup(func() { os.RemoveAll(program4tests.dir); program4tests.Once = sync.Once{} })
	return program4tests.dir + string(os.PathListSeparator) + os.Getenv("PATH")
}

// TestCheckItYourself runs what the record's page says, line by line as it stands there, in an
// empty folder; and what it makes is what was served. Only of getting the program no network is
// asked: what is named there is built from here.
func TestCheckItYourself(t *testing.T) {
	w, at := service(t, well)
	page := fetched(t, at+"/record/check")
	blocks := regexp.MustCompile(`(?s)<pre><code[^>]*>(.*?)</code></pre>`).FindAllStringSubmatch(page, -1)
	entry := regexp.MustCompile(`(?s)<pre><code>(curl .*?)</code></pre>`).FindAllStringSubmatch(fetched(t, at+"/record/entries/7"), -1)
	if len(blocks) != 6 || len(entry) != 1 {
		t.Fatalf("%d commands on the page, %d at an entry", len(blocks), len(entry))
	}
	dir, path := t.TempDir(), withProgram(t)
	install, rest, _ := strings.Cut(html.UnescapeString(blocks[0][1]), "\n")
	if install != "go install "+installed+"@latest" {
		t.Error(install)
	}
	if said := shellRun(t, dir, path, rest+"\nprintf %s \"$PATH\""); !strings.HasSuffix(said, "/bin") {
		t.Error(said)
	}
	module, err := os.ReadFile("../../../go.mod")
	if err != nil || !strings.HasPrefix(string(module), "module github.com/penname/penname\n") || regexp.MustCompile(`(?m)^\s*(replace|exclude)\b`).Match(module) {
		t.Errorf("what the page names cannot be installed: %v", err)
	}
	for _, b := range append(blocks[1:], entry...) {
		said := shellRun(t, dir, path, html.UnescapeString(b[1]))
		t.Logf("%s", said)
	}
	if _, err := os.Stat(filepath.Join(dir, "monitor/monitor.json")); err != nil {
		t.Error("nothing was watched: ", err)
	}
	if raw, err := os.ReadFile(filepath.Join(dir, "bundle.json")); err != nil || len(raw) == 0 || !strings.Contains(page, w.Bundle.Hash()) {
		t.Error(err)
	}
	for _, name := range []string{"index.html", "entries/17.html", "entries/17.txt", "proofs/0.txt", "statistics/months.csv", "feed.atom", "rules/1.html", "style.css"} {
		b, err := os.ReadFile(filepath.Join(dir, "site", name))
		if err != nil || string(b) != fetched(t, at+"/record/"+name) {
			t.Errorf("%s is not what was served: %v", name, err)
		}
	}
	// The numbers are those of the command.
	if said := shellRun(t, dir, path, "escrow log statistics --by month --csv --bundle bundle.json --mirror mirror"); said != fetched(t, at+"/record/statistics/months.csv") {
		t.Errorf("other numbers: %s", said)
	}
	if said := shellRun(t, dir, path, "escrow log statistics --by year --json --bundle bundle.json --mirror mirror"); said != fetched(t, at+"/record/statistics/years.json") {
		t.Errorf("other numbers: %s", said)
	}
	if said := shellRun(t, dir, path, "escrow log statistics --csv --bundle bundle.json --mirror mirror"); said != fetched(t, at+"/record/statistics/orders.csv") {
		t.Errorf("other numbers: %s", said)
	}
}

func shellRun(t *testing.T, dir, path, commands string) string {
	t.Helper()
	c := exec.CommandContext(t.Context(), "sh", "-e", "-c", commands)
	c.Dir, c.Env = dir, append(os.Environ(), "PATH="+path)
	var out, errs bytes.Buffer
	c.Stdout, c.Stderr = &out, &errs
	if err := c.Run(); err != nil {
		t.Fatalf("%s\n%v\n%s%s", commands, err, out.String(), errs.String())
	}
	return out.String()
}

func fetched(t *testing.T, address string) string {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, address, nil)
	if err != nil {
		t.Fatal(err)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil || res.StatusCode != http.StatusOK {
		t.Fatal(address, res.Status, err)
	}
	return string(b)
}

// TestRecordCommands: what they refuse, and how.
func TestRecordCommands(t *testing.T) {
	w, at := service(t, (*recordtest.World).Story)
	dir := t.TempDir()
	file := func(name, text string) string {
		name = filepath.Join(dir, name)
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return name
	}
	raw, err := w.Bundle.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	bundle := file("bundle.json", string(raw))
	other, err := recordtest.New(t, at).Bundle.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	stranger := file("stranger.json", string(other))
	half, rest := fetched(t, at+"/record/entries/4.txt"), fetched(t, at+"/record/proofs/0.txt")
	text := half + rest
	parts := file("half.txt", half) + " " + file("rest.txt", rest)
	good, changed, page := file("4.txt", text), file("changed.txt", strings.Replace(text, "2025-", "2024-", 1)), file("page.html", fetched(t, at+"/record/entries/4"))
	mirror := filepath.Join(dir, "mirror")
	w.Mirror(mirror)
	empty := filepath.Join(dir, "empty")
	if err := os.Mkdir(empty, 0o700); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		args string
		code int
		says string
	}{
		{"record check " + good + " --bundle " + bundle, 0, "entry 4, 2025-05-23\nAn order to open 3 pen names was accepted."},
		{"record check " + good + " --bundle " + stranger + " --bundle " + bundle, 0, "entry 4"},
		{"record check " + parts + " --bundle " + bundle, 0, "entry 4, 2025-05-23\n"},
		{"record check " + strings.Fields(parts)[0] + " --bundle " + bundle, 1, "record.bad_entry_file: the file is not an entry of the public record with its whole proof"},
		{"record check " + strings.Fields(parts)[1] + " --bundle " + bundle, 1, "record.bad_entry_file"},
		{"record check " + good + " " + strings.Fields(parts)[1] + " --bundle " + bundle, 1, "proof."},
		{"record check " + changed + " --bundle " + bundle, 1, "proof."},
		{"record check " + page + " --bundle " + bundle, 1, "record.bad_entry_file"},
		{"record check " + good + " --bundle " + stranger, 1, "proof."},
		{"record check " + filepath.Join(dir, "none") + " --bundle " + bundle, 1, "file.unreadable"},
		{"record check " + good, 2, "--bundle is needed"},
		{"record build " + filepath.Join(dir, "site"), 2, "--bundle is needed"},
		{"record build " + filepath.Join(dir, "site") + " --bundle " + bundle, 2, "--mirror is needed"},
		{"record build " + filepath.Join(dir, "site") + " --bundle " + bundle + " --mirror " + empty, 1, "proof."},
		{"record build " + filepath.Join(dir, "site") + " --bundle " + stranger + " --mirror " + mirror, 1, "proof."},
		{"record build " + good + " --bundle " + bundle + " --mirror " + mirror, 1, "record.folder"},
		{"record build " + filepath.Join(dir, "site") + " --bundle " + bundle + " --mirror " + mirror, 0, "things that are wrong or late: findings.html names them"},
		{"record build " + filepath.Join(dir, "site") + " --bundle " + bundle + " --mirror " + mirror + " --json", 0, `"written": 0`},
		{"record build " + filepath.Join(dir, "site") + " --bundle " + bundle + " --mirror " + mirror + " --language fr", 1, "record.unknown_language"},
		{"record build " + filepath.Join(dir, "english") + " --bundle " + bundle + " --mirror " + mirror + " --language en", 0, "files written"},
		{"record build " + filepath.Join(dir, "both") + " --bundle " + bundle + " --mirror " + mirror + " --language cy", 0, "files written"},
		{"record", 2, "build, check"},
	} {
		r := run(t, nil, strings.Fields(c.args)...)
		if r.code != c.code || !strings.Contains(r.out+r.errs, c.says) {
			t.Errorf("%s: %d %s%s", c.args, r.code, r.out, r.errs)
		}
	}
	for site, want := range map[string]bool{"site": true, "both": true, "english": false} {
		if page, err := os.ReadFile(filepath.Join(dir, site, "cy", "index.html")); (err == nil) != want || want && string(page) != fetched(t, at+"/record/cy/") {
			t.Errorf("%s in Welsh: %v", site, err)
		}
	}
	if err := os.RemoveAll(filepath.Join(mirror, "bundles")); err != nil {
		t.Fatal(err)
	}
	if r := run(t, nil, "record", "build", filepath.Join(dir, "site"), "--bundle", bundle, "--mirror", mirror); r.code != 1 || !strings.Contains(r.errs, "run escrow log mirror again") {
		t.Errorf("a mirror without rules: %d %s", r.code, r.errs)
	}
}

// TestMirrorIsMended: rules and records of platforms that are damaged on the disk are got again, and
// nothing else is left beside them; the record is made of them then.
func TestMirrorIsMended(t *testing.T) {
	w, at := service(t, well)
	dir := t.TempDir()
	raw, err := w.Bundle.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	bundle, mirror := filepath.Join(dir, "bundle.json"), filepath.Join(dir, "mirror")
	if err := os.WriteFile(bundle, raw, 0o600); err != nil {
		t.Fatal(err)
	}
	update := func() {
		if r := run(t, nil, "log", "mirror", mirror, "--bundle", bundle, "--server", at); r.code != 0 {
			t.Fatal(r.errs)
		}
	}
	update()
	good := tree(t, mirror)
	for _, damage := range []string{"", "{", "{}", `{"bundle":"e30=","signed":"e30"}`} {
		for name := range good {
			if strings.HasPrefix(name, "/bundles/") || strings.HasPrefix(name, "/platforms/") {
				if err := os.WriteFile(mirror+name, []byte(damage), 0o600); err != nil {
					t.Fatal(err)
				}
			}
		}
		update()
		for name, text := range tree(t, mirror) {
			if good[name] != text {
				t.Errorf("%q: %s is %q", damage, name, text)
			}
		}
	}
	if r := run(t, nil, "record", "build", filepath.Join(dir, "site"), "--bundle", bundle, "--mirror", mirror); r.code != 0 {
		t.Error(r.errs)
	}
	for _, of := range []string{"/bundles/", "/platforms/"} {
		if !strings.Contains(strings.Join(slices.Collect(maps.Keys(good)), " "), of) {
			t.Error("there is nothing in", of)
		}
	}
}

// TestRecordBuildWritesOverNothing: into a folder that is not its own it writes nothing, and two at
// once do not mix.
func TestRecordBuildWritesOverNothing(t *testing.T) {
	w, _ := service(t, well)
	other, _ := service(t, well)
	dir := t.TempDir()
	in := func(name string) string { return filepath.Join(dir, name) }
	write := func(name, text string) {
		if err := os.MkdirAll(filepath.Dir(in(name)), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(in(name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for name, w := range map[string]*recordtest.World{"this": w, "other": other} {
		raw, err := w.Bundle.Marshal()
		if err != nil {
			t.Fatal(err)
		}
		write(name+".json", string(raw))
		w.Mirror(in("mirrors/" + name))
	}
	build := func(site, of string) result {
		return run(t, nil, "record", "build", site, "--bundle", in(of+".json"), "--mirror", in("mirrors/"+of))
	}
	for _, site := range []string{"own", "cut"} {
		if r := build(in(site), "this"); r.code != 0 {
			t.Fatal(r.errs)
		}
	}
	write("letters/bundle.json", "mine")
	write("mirrors/.penname-record", w.Bundle.Log.Origin+"\n") // as if it had been made there
	write("marked/.penname-record", "")
	write("marked/bundle.json", "mine")
	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(in("mirrors/this"), link); err != nil {
		t.Fatal(err)
	}
	before := tree(t, dir)
	for site, says := range map[string]string{
		in("letters"): "it is not empty, and has no .penname-record", in("mirrors/this"): "the mirror is in it", in("mirrors/this/../this"): "the mirror is in it", link: "the mirror is in it",
		in("mirrors"): "the mirror is in it", in("marked"): `its .penname-record names \"\"`,
	} {
		if r := build(site, "this"); r.code != 1 || !strings.Contains(r.errs, "record.foreign_folder: ") || !strings.Contains(r.errs, strings.ReplaceAll(says, `\"`, `"`)) {
			t.Errorf("%s: %d %s%s", site, r.code, r.out, r.errs)
		}
	}
	if r := build(in("own"), "other"); r.code != 1 || !strings.Contains(r.errs, "record.foreign_folder: ") {
		t.Errorf("over another log's: %d %s%s", r.code, r.out, r.errs)
	}
	t.Chdir(in("letters"))
	if r := build(".", "this"); r.code != 1 || !strings.Contains(r.errs, "record.foreign_folder: ") {
		t.Errorf("here: %d %s%s", r.code, r.out, r.errs)
	}
	if after := tree(t, dir); !maps.Equal(after, before) {
		t.Error("something was written")
	}
	unlock, err := claimSite(in("own"), in("mirrors/this"), w.Bundle.Log.Origin)
	if err != nil {
		t.Fatal(err)
	}
	if r := build(in("own"), "this"); r.code != 1 || !strings.Contains(r.errs, "record.build_runs: ") {
		t.Errorf("two at once: %d %s%s", r.code, r.out, r.errs)
	}
	unlock()
	// One that was killed left files of its own, and some that were cut off.
	whole := tree(t, in("own"))
	write("cut/.unfinished/17", "x")
	write("cut/entries/3.html", "")
	write("cut/index.html", "")
	if r := build(in("cut"), "this"); r.code != 0 || !maps.Equal(tree(t, in("cut")), whole) {
		t.Errorf("after a kill: %d %s%s", r.code, r.out, r.errs)
	}
}
