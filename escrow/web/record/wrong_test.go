package record

import (
	"bytes"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/penname/penname/escrow/web"
	"github.com/penname/penname/verifier/record"
)

// asked is what the service answers to a request that never leaves this process.
func asked(t *testing.T, e *web.Server, method, address string, headers ...string) *httptest.ResponseRecorder {
	t.Helper()
	u, err := url.ParseRequestURI(address)
	if err != nil {
		t.Fatal(address, err)
	}
	req := &http.Request{Method: method, URL: u, Host: "penname.example", RemoteAddr: "192.0.2.1:1", Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Header: http.Header{}, Body: http.NoBody}
	for i := 0; i < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	rec := httptest.NewRecorder()
	e.ServeHTTP(rec, req.WithContext(t.Context()))
	return rec
}

// shapes are the addresses of all pages, one for each shape: with its numbers, and with its words.
func shapes(pages map[string]record.Page) []string {
	digits := regexp.MustCompile("[0-9]+")
	by := map[string]string{}
	for name := range pages {
		shape := digits.ReplaceAllString(name, "0")
		if old, ok := by[shape]; !ok || name < old {
			by[shape] = name
		}
	}
	return slices.Sorted(maps.Values(by))
}

// TestEveryWrongAddress: of the addresses that the record has, each with something wrong in it. What
// is no page answers with one that says what there is; a page that is there all the same is that page.
func TestEveryWrongAddress(t *testing.T) {
	w := told(t, 500) // the page of entry 404 is no page of what is missing
	server, r := served(t, w)
	dir := t.TempDir()
	w.Mirror(dir)
	pages := mirrorPages(t, w, dir)
	e := edge(t, r.Page)
	wrongNumbers := []string{"-1", "00", "01", "+1", "1e3", "0x1", "1.0", "999999", "9223372036854775807", "9223372036854775808", "18446744073709551616", "%31%00", "1%2F2", "%D9%A1", "", " ", "1,2", "*", "~"}
	wrongWords := []string{"nosuch", "%3Cscript%3E", "..", "%2e%2e%2findex", "%00", "%ff", "%E2%80%AE", "a+b", "' OR 1=1--", strings.Repeat("a", 3000), "NUL", "~1", "%7E1"}
	numbers := regexp.MustCompile("[0-9]+")
	tried, found := 0, 0
	try := func(at string) {
		t.Helper()
		at = strings.ReplaceAll(at, " ", "%20")
		u, err := url.ParseRequestURI(Path + at)
		if err != nil {
			return // no server gets to see it
		}
		tried++
		name := strings.TrimPrefix(u.Path, Path)
		page, ok := pages[name]
		if !ok {
			page, ok = pages[name+".html"]
		}
		if name == "" || name == "cy/" {
			page, ok = pages[name+"index.html"], true
		}
		says, entries, search := "has nothing at this address", "There are entries from 0 to 499", `href="/record/search.html"`
		if in, _, _ := strings.Cut(name, "/"); in == "cy" {
			says, entries, search = "Nid oes gan y gofrestr gyhoeddus ddim yn y cyfeiriad hwn", "Mae eitemau o 0 i 499", `href="/record/cy/search.html"`
		}
		rec := asked(t, e, http.MethodGet, Path+at)
		h := rec.Header()
		if h.Get("Set-Cookie") != "" || h.Get("Access-Control-Allow-Origin") != "*" || h.Get("X-Content-Type-Options") != "nosniff" {
			t.Errorf("%.100s: %v", at, h)
		}
		switch status := rec.Code; {
		case u.RawQuery != "" || u.ForceQuery:
			if status != http.StatusBadRequest {
				t.Errorf("%.100s: %d", at, status)
			}
		case ok:
			found++
			if status != http.StatusOK || !bytes.Equal(rec.Body.Bytes(), page.Body) {
				t.Errorf("%.100s: %d, another page", at, status)
			}
			return
		case name == "cy":
			if status != http.StatusMovedPermanently || h.Get("Location") != Path+"cy/" {
				t.Errorf("%.100s: %d %v", at, status, h)
			}
			return
		case status != http.StatusNotFound:
			t.Errorf("%.100s: %d", at, status)
		}
		if body := rec.Body.String(); !strings.Contains(body, says) || !strings.Contains(body, search) || !strings.Contains(body, entries) || h.Get("Content-Type") != "text/html; charset=utf-8" || h.Get("Cache-Control") != "no-store" {
			t.Errorf("%.100s: %v %.300s", at, h, body)
		}
	}
	for _, name := range shapes(pages) {
		base := strings.TrimSuffix(name, path.Ext(name))
		for _, at := range []string{name + "?", name + "?page=2", name + "?" + strings.Repeat("a=b&", 20), base + "?x", name + "/", name + "//", name + "/x", "/" + name, "./" + name, "x/" + name, name + ".html", name + "%00", name + "%20", name + "~1", base + "~1.html", base + "~2.html", base + "~999999.html", base + "~0.html", base + "~01.html", base + "~.html",
			base + ".json", base + ".txt", base + ".csv", base + ".HTML", base + ".php", base, strings.ToUpper(name), strings.ReplaceAll(name, "/", "%2F"), strings.ReplaceAll(name, "/", "//"), strings.ReplaceAll(name, "/", "\\"), path.Dir(name), path.Dir(name) + "/"} {
			try(at)
		}
		for _, span := range numbers.FindAllStringIndex(name, -1) {
			for _, wrong := range wrongNumbers {
				try(name[:span[0]] + wrong + name[span[1]:])
			}
		}
		if dir := path.Dir(name); dir != "." {
			for _, wrong := range append(wrongWords, wrongNumbers...) {
				try(dir + "/" + wrong + path.Ext(name))
				try(dir + "/" + wrong)
			}
		}
	}
	for _, day := range []string{"2026-13", "2026-00", "2026-02-30", "2026-2-1", "26-02-01", "2026-W05", "2026-02-01T00:00:00Z", "01-02-2026", "0000", "9999", "9999-12-31", "10000-01-01", "-2026", "2026-02-01~1", "today"} {
		try("days/" + day)
		try("statistics/" + day)
	}
	if tried < 3000 || found < 100 || found > tried/2 {
		t.Errorf("%d tried, %d found", tried, found)
	}
	for _, at := range []string{"/record?a=b", "/record?"} {
		if rec := asked(t, e, http.MethodGet, at); rec.Code != http.StatusBadRequest || !strings.Contains(rec.Body.String(), "has nothing at this address") {
			t.Errorf("%s: %d", at, rec.Code)
		}
	}
	server.Close()
}

// TestHowTheRecordIsAsked: methods and headers, on a page of each shape.
func TestHowTheRecordIsAsked(t *testing.T) {
	w := told(t, 300)
	_, r := served(t, w)
	dir := t.TempDir()
	w.Mirror(dir)
	pages := mirrorPages(t, w, dir)
	e := edge(t, r.Page)
	for _, name := range append(shapes(pages), "nosuch", "entries/300.html") {
		at := Path + name
		want := asked(t, e, http.MethodGet, at)
		size, tag := want.Body.Len(), want.Header().Get("ETag")
		there := want.Code == http.StatusOK
		status := func(code int) int { // of a page that is there
			if there {
				return code
			}
			return http.StatusNotFound
		}
		for _, c := range []struct {
			method string
			head   []string
			code   int
			body   string // "": the page
			empty  bool
		}{
			{method: http.MethodHead, code: want.Code, empty: true},
			{method: http.MethodGet, head: []string{"Accept", "application/json"}, code: want.Code},
			{method: http.MethodGet, head: []string{"Accept", "image/webp;q=0"}, code: want.Code},
			{method: http.MethodGet, head: []string{"Accept-Language", "cy"}, code: want.Code},
			{method: http.MethodGet, head: []string{"Cookie", "session=1", "Authorization", "Bearer x"}, code: want.Code},
			{method: http.MethodGet, head: []string{"If-None-Match", tag}, code: status(304), empty: there},
			{method: http.MethodHead, head: []string{"If-None-Match", tag}, code: status(304), empty: true},
			{method: http.MethodGet, head: []string{"If-None-Match", `"x", W/` + tag}, code: status(304), empty: there},
			{method: http.MethodGet, head: []string{"If-None-Match", "*"}, code: status(304), empty: there},
			{method: http.MethodGet, head: []string{"If-None-Match", `"x"`}, code: want.Code},
			{method: http.MethodGet, head: []string{"If-None-Match", "no tag"}, code: want.Code},
			{method: http.MethodGet, head: []string{"If-Modified-Since", "Mon, 30 Nov 2026 10:00:00 GMT"}, code: want.Code},
			{method: http.MethodGet, head: []string{"If-Match", `"x"`}, code: status(412), empty: there},
			{method: http.MethodGet, head: []string{"Range", "bytes=0-9"}, code: status(206), body: want.Body.String()[:10]},
			{method: http.MethodGet, head: []string{"Range", "bytes=-1"}, code: status(206), body: want.Body.String()[size-1:]},
			{method: http.MethodGet, head: []string{"Range", "bytes=0-9", "If-Range", `"x"`}, code: want.Code},
			{method: http.MethodGet, head: []string{"Range", fmt.Sprintf("bytes=%d-", size)}, code: status(416), body: "invalid range: failed to overlap\n"},
			{method: http.MethodGet, head: []string{"Range", "bytes=9-0"}, code: status(416), body: "invalid range\n"},
			{method: http.MethodGet, head: []string{"Range", "lines=1"}, code: status(416), body: "invalid range\n"},
			{method: http.MethodOptions, code: 204, empty: true},
			{method: http.MethodOptions, head: []string{"Origin", "https://paper.example", "Access-Control-Request-Method", "GET", "Access-Control-Request-Headers", "if-none-match, x-y"}, code: 204, empty: true},
		} {
			rec := asked(t, e, c.method, at, c.head...)
			body := c.body
			if body == "" || !there {
				body = want.Body.String()
			}
			if c.empty {
				body = ""
			}
			h := rec.Header()
			if rec.Code != c.code || c.method != http.MethodHead && rec.Body.String() != body || h.Get("Access-Control-Allow-Origin") != "*" || h.Get("Set-Cookie") != "" || !strings.Contains(h.Get("Access-Control-Expose-Headers"), "ETag") {
				t.Errorf("%s %s %q: %d, want %d: %v %.200s", c.method, name, c.head, rec.Code, c.code, h, rec.Body)
			}
			if c.method == http.MethodOptions && (h.Get("Access-Control-Allow-Methods") != "GET, HEAD" || h.Get("Access-Control-Allow-Headers") != "*" || h.Get("Access-Control-Allow-Credentials") != "") {
				t.Errorf("%s: %v", name, h)
			}
			if rec.Code == http.StatusNotModified && (h.Get("ETag") != tag || h.Get("Cache-Control") != caching[pages[name].Lasts]) {
				t.Errorf("%s: %v", name, h)
			}
		}
		for _, method := range []string{http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete, http.MethodTrace, http.MethodConnect, "PROPFIND", "BREW"} {
			if rec := asked(t, e, method, at); rec.Code != http.StatusMethodNotAllowed && rec.Code != http.StatusForbidden {
				t.Errorf("%s %s: %d", method, name, rec.Code)
			}
		}
	}
}
