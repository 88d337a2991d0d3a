package record

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/penname/penname/escrow/web"
	"github.com/penname/penname/escrow/web/pagetest"
	"github.com/penname/penname/verifier/proof"
	"github.com/penname/penname/verifier/record"
	"github.com/penname/penname/verifier/record/recordtest"
	"github.com/penname/penname/verifier/rules"
)

// served is a service that shows the record of a log.
func served(t testing.TB, w *recordtest.World) (*httptest.Server, *record.Record) {
	t.Helper()
	r := record.New(w, w.Fetch, w.Records)
	if err := r.Follow(t.Context(), w.Log(), nil); err != nil {
		t.Fatal(err, errors.Unwrap(err))
	}
	server := httptest.NewServer(edge(t, r.Page))
	t.Cleanup(server.Close)
	return server, r
}

func edge(t testing.TB, pages Pages) *web.Server {
	t.Helper()
	e, err := web.New(web.Config{Origin: "https://penname.example", Log: slog.New(slog.DiscardHandler), Now: time.Now})
	if err != nil {
		t.Fatal(err)
	}
	Mount(e, pages)
	return e
}

func told(t testing.TB, entries int64) *recordtest.World {
	t.Helper()
	w := recordtest.New(t, "https://penname.example")
	w.Story()
	w.Grow(entries, 200)
	w.Publish(recordtest.Noon)
	return w
}

func get(t testing.TB, address string) (*http.Response, []byte) {
	t.Helper()
	res, err := http.Get(address) //nolint:gosec,noctx // of this test
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res, b
}

// TestWhatIsServedIsWhatAMirrorGives: every page that links lead to, walked over HTTP, byte for
// byte, with headers that let any site read it and tell nobody apart.
func TestWhatIsServedIsWhatAMirrorGives(t *testing.T) {
	w := told(t, 500)
	older := t.TempDir()
	w.Mirror(older)
	w.Grow(900, 200)
	w.Publish(recordtest.Noon.Add(time.Hour))
	server, _ := served(t, w)
	dir := t.TempDir()
	w.Mirror(dir)
	pages := mirrorPages(t, w, dir)
	// A mirror that is not up to date gives the same of all entries that are settled in it.
	settled := 0
	for path, p := range mirrorPages(t, w, older) {
		if p.Lasts == record.Forever || p.Lasts == record.Long {
			settled++
			if now := pages[path]; !bytes.Equal(now.Body, p.Body) || now.Lasts != p.Lasts {
				t.Errorf("%s is another in an older mirror", path)
			}
		}
	}
	if settled != 3*256 {
		t.Errorf("%d pages stay", settled)
	}
	hrefs := regexp.MustCompile(`href="([^"#]+)"`)
	seen, reached, next := map[string]bool{}, map[string]bool{}, []string{server.URL + Path}
	for len(next) > 0 {
		at := next[0]
		next = next[1:]
		res, body := get(t, at)
		h := res.Header
		if res.StatusCode != http.StatusOK || h.Get("Access-Control-Allow-Origin") != "*" || h.Get("Set-Cookie") != "" || h.Get("ETag") == "" || h.Get("X-Content-Type-Options") != "nosniff" {
			t.Fatalf("%s: %d %v", at, res.StatusCode, h)
		}
		path := strings.TrimPrefix(at, server.URL+Path)
		if path == "" {
			path = "index.html"
		}
		if p, ok := pages[path]; !ok || !bytes.Equal(p.Body, body) || h.Get("Content-Type") != p.Type || h.Get("Cache-Control") != caching[p.Lasts] {
			t.Errorf("%s: another page than from the mirror", path)
		}
		reached[path] = true
		if !strings.HasPrefix(h.Get("Content-Type"), "text/html") {
			continue
		}
		for _, m := range hrefs.FindAllSubmatch(body, -1) {
			if u, err := res.Request.URL.Parse(string(m[1])); err == nil && u.Host == res.Request.URL.Host && !seen[u.String()] {
				seen[u.String()] = true
				next = append(next, u.String())
			}
		}
	}
	if len(reached) != len(pages)-2 { // nothing leads to what is shown where nothing is
		t.Errorf("%d of %d pages of the mirror were reached", len(reached), len(pages))
	}
}

// mirrorPages are all pages of a mirror.
func mirrorPages(t *testing.T, w *recordtest.World, dir string) map[string]record.Page {
	t.Helper()
	tiles, err := proof.Directory(dir)
	if err != nil {
		t.Fatal(err)
	}
	none := func(context.Context, string) ([]byte, []string, error) { return nil, nil, rules.ErrUnavailable }
	noRecords := func(context.Context, string) (string, []string, error) { return "", nil, rules.ErrUnavailable }
	copied := record.New(tiles, rules.FromMirror(dir, none), rules.RecordsFromMirror(dir, noRecords))
	if err := copied.Follow(t.Context(), w.Log(), nil); err != nil {
		t.Fatal(err)
	}
	pages := map[string]record.Page{}
	var mu sync.Mutex
	if err := copied.Each(t.Context(), func(path string, p record.Page) error {
		mu.Lock()
		defer mu.Unlock()
		pages[path] = p
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	return pages
}

// TestAddressesOfTheRecord: those that stay, with and without the ending of a file; and what a
// wrong one answers.
func TestAddressesOfTheRecord(t *testing.T) {
	w := told(t, 300)
	server, r := served(t, w)
	for at, path := range map[string]string{"/record": "index.html", "/record/": "index.html", "/record/index": "index.html", "/record/entries/17": "entries/17.html", "/record/entries/17.txt": "entries/17.txt",
		"/record/cases/4": "cases/4.html", "/record/statistics": "statistics.html", "/record/days/2026-02": "days/2026-02.html", "/record/feed.atom": "feed.atom", "/record/entries~1": "entries~1.html",
		"/record/cy": "cy/index.html", "/record/cy/": "cy/index.html", "/record/cy/entries/17": "cy/entries/17.html", "/record/cy/statistics": "cy/statistics.html"} {
		want, err := r.Page(t.Context(), path)
		if err != nil {
			t.Fatal(path, err)
		}
		if res, body := get(t, server.URL+at); res.StatusCode != http.StatusOK || !bytes.Equal(body, want.Body) {
			t.Errorf("%s: %d %.200s", at, res.StatusCode, body)
		}
	}
	for at, status := range map[string]int{
		"/record/nosuch": 404, "/record/entries/300": 404, "/record/entries/-1": 404, "/record/entries/17/": 404, "/record/entries/%2e%2e/index.html": 404, "/record/entries/1%00": 404, "/record/%ff": 404,
		"/record/entries/99999999999999999999999": 404, "/record/kinds/%3Cscript%3E": 404, "/record/" + strings.Repeat("a", 4000): 404, "/record/.": 404, "/record/..": 404, "/record//": 404,
		"/record/?": 400, "/record/?a=b": 400, "/record/entries/17?page=2": 400, "/record/entries?day=2026-11-30&kind=x": 400, "/record/search?q=%3Cscript%3E": 400, "/record/entries/300?x": 400,
		"/record/cases/0": 404, "/record/cases/1%3B": 404, "/record/days/2026-99": 404, "/record/rules/0": 404, "/record/platforms/1e9": 404, "/record/entries~0": 404, "/record/entries~1~1": 404,
	} {
		res, body := get(t, server.URL+at)
		if res.StatusCode != status || !strings.Contains(string(body), `href="/record/search.html"`) || strings.Contains(string(body), "<script") || res.Header.Get("Set-Cookie") != "" {
			t.Errorf("%.60s: %d, not %d: %.300s", at, res.StatusCode, status, body)
		}
	}
	for _, method := range []string{http.MethodPost, http.MethodPut, http.MethodDelete} {
		req := httptest.NewRequestWithContext(t.Context(), method, "/record/entries/17", strings.NewReader("a=b"))
		rec := httptest.NewRecorder()
		if edge(t, r.Page).ServeHTTP(rec, req); rec.Code != http.StatusMethodNotAllowed {
			t.Errorf("%s: %d", method, rec.Code)
		}
	}
	first, body := get(t, server.URL+"/record/entries/17")
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, server.URL+"/record/entries/17", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("If-None-Match", first.Header.Get("ETag"))
	again, err := http.DefaultClient.Do(req)
	if err != nil || again.StatusCode != http.StatusNotModified {
		t.Errorf("what has not changed: %v %v", again, err)
	}
	again.Body.Close()
	req.Method = http.MethodHead
	req.Header.Del("If-None-Match")
	head, err := http.DefaultClient.Do(req)
	if err != nil || head.StatusCode != http.StatusOK || head.ContentLength != int64(len(body)) {
		t.Errorf("HEAD: %v %v", head, err)
	}
	head.Body.Close()
}

// TestAddressesWithADot: what an offence class is called can have one, and its address is found all
// the same, with and without the ending of a file.
func TestAddressesWithADot(t *testing.T) {
	w := recordtest.New(t, "https://penname.example")
	w.Warrant(proof.Production, 1, w.Salt(), func(l *proof.Leaf) { l.OffenceClass = "jo.hartley" })
	w.Publish(recordtest.Noon)
	server, _ := served(t, w)
	_, page := get(t, server.URL+"/record/classes/jo.hartley.html")
	canonical := regexp.MustCompile(`<link rel="canonical" href="https://penname.example(.*?)">`).FindSubmatch(page)
	if len(canonical) != 2 || string(canonical[1]) != "/record/classes/jo.hartley" {
		t.Fatalf("%s", page)
	}
	if res, body := get(t, server.URL+string(canonical[1])); res.StatusCode != http.StatusOK || !bytes.Equal(body, page) {
		t.Errorf("%d %s", res.StatusCode, body)
	}
	if res, _ := get(t, server.URL+"/record/classes/jo.nobody"); res.StatusCode != http.StatusNotFound {
		t.Error(res.Status)
	}
}

// TestTheRecordInDoubt: before the log was read, and while it cannot be, that is what is said.
func TestTheRecordInDoubt(t *testing.T) {
	for _, refused := range []error{record.ErrNotYet, proof.ErrFetch, proof.ErrTile} {
		rec := httptest.NewRecorder()
		req := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/record/entries/1", nil)
		req.Header.Set("Accept", "text/html")
		edge(t, func(context.Context, string) (record.Page, error) { return record.Page{}, refused }).ServeHTTP(rec, req)
		if rec.Code < 400 || !strings.Contains(rec.Body.String(), "<h1>") {
			t.Errorf("%v: %d %s", refused, rec.Code, rec.Body)
		}
	}
}

// TestRecordInABrowser looks at each kind of page.
func TestRecordInABrowser(t *testing.T) {
	w := told(t, 300)
	server, _ := served(t, w)
	// A log without an entry has pages, too.
	empty := recordtest.New(t, "https://penname.example")
	empty.Publish(recordtest.Noon)
	bare, _ := served(t, empty)
	addresses := map[string]string{}
	for _, path := range []string{"", "search.html", "entries.html", "entries~1.html", "cases.html", "entries/4.html", "entries/17.html", "cases/4.html", "kinds.html", "kinds/unreadable.html", "days.html", "days/2026.html", "days/2026-02.html",
		"statistics.html", "statistics/2025.html", "rules.html", "rules/1.html", "rules/2-changes.html", "custodians.html", "courts.html", "platforms.html", "platforms/1.html", "checkpoint.html", "check.html", "findings.html", "nosuch.html"} {
		addresses["record "+path] = server.URL + Path + path
	}
	for n := range w.Size() {
		if _, body := get(t, fmt.Sprintf("%s%sentries/%d.html", server.URL, Path, n)); strings.Contains(string(body), "An audit finds") {
			addresses[fmt.Sprintf("record, a finding at %d", n)] = fmt.Sprintf("%s%sentries/%d.html", server.URL, Path, n)
		}
	}
	for _, path := range []string{"", "entries.html", "cases.html", "statistics.html"} {
		addresses["empty record "+path] = bare.URL + Path + path
	}
	for name, at := range maps.Clone(addresses) {
		addresses["Welsh "+name] = strings.Replace(at, Path, Path+"cy/", 1)
	}
	pagetest.Open(t).Hold(t, addresses)
}

var entries = flag.Int64("entries", 1_000_000, "how many entries the log of BenchmarkRecord has")

var large struct {
	sync.Once
	w *recordtest.World
	r *record.Record
}

// BenchmarkRecord is how long a reader waits for the first byte of a page, of a log with a million
// entries: the slowest of a hundred, for each kind of page.
func BenchmarkRecord(b *testing.B) {
	large.Do(func() {
		large.w = told(b, *entries)
		large.r = record.New(large.w, large.w.Fetch, large.w.Records)
		if err := large.r.Follow(context.Background(), large.w.Log(), nil); err != nil {
			b.Fatal(err)
		}
	})
	e := edge(b, large.r.Page)
	n := large.w.Size()
	for name, path := range map[string]func(i int) string{
		"first":       func(int) string { return "" },
		"entry":       func(i int) string { return fmt.Sprintf("entries/%d", int64(i)*7919%n) },
		"list":        func(i int) string { return fmt.Sprintf("entries~%d", 1+int64(i)*613%(n/30)) },
		"kind":        func(i int) string { return fmt.Sprintf("kinds/recorded~%d", 1+int64(i)*31%(n/7/30)) },
		"day":         func(int) string { return "days/2026-02-10" },
		"days":        func(int) string { return "days" },
		"statistics":  func(int) string { return "statistics" },
		"rules":       func(int) string { return "rules/1" },
		"Welsh entry": func(i int) string { return fmt.Sprintf("cy/entries/%d", int64(i)*7919%n) },
		"Welsh list":  func(i int) string { return fmt.Sprintf("cy/entries~%d", 1+int64(i)*613%(n/30)) },
		"Welsh first": func(int) string { return "cy/" },
	} {
		b.Run(name, func(b *testing.B) {
			var took []time.Duration
			for i := 0; b.Loop(); i++ {
				rec := httptest.NewRecorder()
				req := httptest.NewRequestWithContext(b.Context(), http.MethodGet, Path+path(i), nil)
				began := time.Now()
				e.ServeHTTP(rec, req)
				took = append(took, time.Since(began))
				if rec.Code != http.StatusOK {
					b.Fatal(path(i), rec.Code)
				}
			}
			slices.Sort(took)
			at := took[len(took)*99/100]
			b.ReportMetric(float64(at.Microseconds())/1000, "ms-p99")
			b.ReportMetric(float64(at)/float64(20*time.Millisecond), "ratio")
			b.ReportMetric(1, "aim-max")
		})
	}
}
