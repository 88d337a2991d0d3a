package record_test

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/penname/penname/verifier/languages"
	"github.com/penname/penname/verifier/languages/languagestest"
	"github.com/penname/penname/verifier/record"
	"github.com/penname/penname/verifier/record/recordtest"
)

// speaking is a record in English and these languages.
func speaking(t testing.TB, w *recordtest.World, further ...*languages.Language) *record.Record {
	t.Helper()
	r := record.New(w, w.Fetch, w.Records)
	r.Speak(further...)
	if err := r.Follow(t.Context(), w.Log(), nil); err != nil {
		t.Fatal(err, errors.Unwrap(err))
	}
	return r
}

func TestNoTextOutsideOfT(t *testing.T) {
	languagestest.OutsideOfT(t, languagestest.Templates(t, "pages/*.html"), "Read this page in English")
}

// names are what stands in pages in every language: what others are called, codes of the log, and
// the time of the world.
var names = regexp.MustCompile(`The County Court at <b>Thornley</b>|Market <i>& Fair</i>|\b(?:Penname|UTC|CSV|JSON|GB-ENG|GB-WLS|stalking|witness\.example/\w+|The (?:alder|birch|cedar) society|Custodian \w+|Organisation \w+|alba|bruno|chidi|dora|emre|The Square|https://[a-z.-]+|malformed|warrant\.\w+|\w+_\w+)\b`)

// TestNoEnglishInAnotherLanguage: with each text in brackets, nothing that people read stands outside
// of them but names, codes, commands, and what says that it is English. The language is one file.
func TestNoEnglishInAnotherLanguage(t *testing.T) {
	texts := languagestest.Texts{}
	texts.OfRecord(t, "../..")
	empty := recordtest.New(t, origin)
	empty.Publish(recordtest.Noon)
	for _, w := range []*recordtest.World{told(t, 400), empty} {
		tried := 0
		for path, p := range all(t, speaking(t, w, languagestest.Bracketed(t, texts).Tagged("eo"))) {
			if !strings.HasPrefix(path, "eo/") {
				continue
			}
			tried++
			if rest := languagestest.ReadOutside(t, string(p.Body), names); rest != "" {
				t.Errorf("%s: %.80q", path, rest)
			}
			if !bytes.Contains(p.Body, []byte(`<html lang="eo">`)) {
				t.Errorf("%s is in another language", path)
			}
		}
		if tried < 20 {
			t.Errorf("%d pages", tried)
		}
	}
}

// TestEachPageInEachLanguage: what is a page in one language is one in the other, and each leads to
// the other; what programs read is there once.
func TestEachPageInEachLanguage(t *testing.T) {
	pages := all(t, followed(t, told(t, 400)))
	largest := map[string]int{}
	tried := 0
	for path, p := range pages {
		html, welsh := strings.HasPrefix(p.Type, "text/html"), strings.HasPrefix(path, "cy/")
		if !html {
			if welsh {
				t.Errorf("%s is there twice", path)
			}
			continue
		}
		tried++
		other, in, to := "cy/"+path, "en", "cy"
		if welsh {
			other, in, to = strings.TrimPrefix(path, "cy/"), "cy", "en"
		}
		whole := regexp.MustCompile(`~\d+`).ReplaceAllString(other, "") // a longer text can have one part more
		if _, ok := pages[other]; !ok && other == whole {
			t.Errorf("%s is not there, and %s is", other, path)
		}
		largest[in] = max(largest[in], len(p.Body))
		link := regexp.MustCompile(`<a href="([^"]+)" lang="` + to + `" hreflang="` + to + `">`).FindSubmatch(p.Body)
		if link == nil || !bytes.Contains(p.Body, []byte(`<html lang="`+in+`">`)) {
			t.Fatalf("%s leads to no other language:\n%s", path, p.Body)
		}
		at := filepath.Join(filepath.Dir(path), string(link[1]))
		if strings.HasSuffix(path, "404.html") {
			at = strings.TrimPrefix(string(link[1]), "/record/")
		}
		if _, ok := pages[at]; !ok || at != other && at != whole {
			t.Errorf("%s leads to %s", path, at)
		}
		if notice := bytes.Contains(p.Body, []byte("Y testun Saesneg sy’n cyfrif.")); notice != welsh {
			t.Errorf("%s: whether it says what counts: %v", path, notice)
		}
		if canonical := regexp.MustCompile(`<link rel="canonical" href="([^"]+)">`).FindSubmatch(p.Body); canonical != nil && strings.HasPrefix(string(canonical[1]), origin+"/record/cy/") != welsh {
			t.Errorf("%s: %s", path, canonical[1])
		}
	}
	t.Logf("%d pages, at most of %v bytes", tried, largest)
	for path, words := range map[string]string{
		"cy/index.html": "Eitemau diweddaraf", "cy/entries/4.html": "Derbyniwyd gorchymyn i agor 3 ffugenw.", "cy/days/2026-02.html": "Eitemau Chwefror 2026", "cy/kinds.html": ">cofnodwyd<",
		"cy/statistics/2025.html": ">Rhag</text>", "cy/findings.html": "Roedd y bobl i gael gwybod erbyn", "cy/404.html": `href="/record/cy/search.html"`,
		"cy/courts.html": "llys, GB-ENG", "cy/entries~1.html": "Pob eitem, rhan 1",
	} {
		if !bytes.Contains(pages[path].Body, []byte(words)) {
			t.Errorf("%s does not say %q:\n%s", path, words, pages[path].Body)
		}
	}
}

// TestOneLanguageHasNoSwitch.
func TestOneLanguageHasNoSwitch(t *testing.T) {
	w := told(t, 100)
	r := speaking(t, w)
	for path, p := range all(t, r) {
		if strings.HasPrefix(path, "cy/") || bytes.Contains(p.Body, []byte("hreflang")) {
			t.Errorf("%s leads to another language", path)
		}
	}
	if p, err := r.Page(t.Context(), "cy/index.html"); !errors.Is(err, record.ErrNoPage) {
		t.Errorf("%v %s", err, p.Body)
	}
	r = followed(t, w)
	for _, path := range []string{"cy", "cy/cy/index.html", "CY/index.html", "cy/feed.atom", "cy/style.css", "cy/entries/1.txt", "cy/proofs/0.txt", "cy/bundle.json", "cy/rules/1.json", "cy/statistics/years.csv", "cy//index.html", "en/index.html", "cy/en/index.html", "cy/entries/100.html", "cy/nosuch.html", "cy~1.html", "cy.html"} {
		if p, err := r.Page(t.Context(), path); !errors.Is(err, record.ErrNoPage) {
			t.Errorf("%q: %v %.300s", path, err, p.Body)
		}
	}
}

// TestBuildInOtherLanguages: a folder that was made in more languages loses what it has no longer,
// and gains it again.
func TestBuildInOtherLanguages(t *testing.T) {
	w := told(t, 600)
	dir := t.TempDir()
	build := func(r *record.Record) record.Built {
		t.Helper()
		b, err := r.Build(t.Context(), dir, record.Building{Program: "this"})
		if err != nil {
			t.Fatal(err)
		}
		for path, p := range all(t, r) {
			if got, err := os.ReadFile(filepath.Join(dir, path)); err != nil || !bytes.Equal(got, p.Body) {
				t.Fatalf("%s is another: %v", path, err)
			}
		}
		return b
	}
	welsh := languages.Ours.Tagged("cy")
	both, one := build(speaking(t, w, welsh)), build(speaking(t, w))
	if one.Removed != both.Files-one.Files || one.Removed < 600 {
		t.Errorf("%+v after %+v", one, both)
	}
	if _, err := os.Stat(filepath.Join(dir, "cy")); !os.IsNotExist(err) {
		t.Errorf("the folder of the other language: %v", err)
	}
	if again := build(speaking(t, w, welsh)); again.Files != both.Files || again.Removed != 0 {
		t.Errorf("%+v after %+v", again, both)
	}
}
