// Package pagetest looks at pages as people do, in Chromium, and as axe-core does, which knows
// what a program can tell of WCAG 2.2 AA and of best practices.
package pagetest

import (
	"bytes"
	"context"
	"embed"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/chromedp"

	"github.com/penname/penname/escrow/sandbox"
)

//go:embed package.json package-lock.json
var files embed.FS

var (
	everyView = flag.Bool("every-view", false, "look at each page in every view")
	pictures  = flag.String("pictures", "", "folder for a picture of each page in every view")
)

// View is how somebody looks at a page.
type View struct {
	Name   string
	Width  int64             // CSS pixels
	Zoom   int64             // 4: what is 1,280 wide shows 320 (WCAG 2.2, 1.4.10)
	Prefer map[string]string // media features: prefers-color-scheme, forced-colors
}

// Views are those in which each page has to hold.
var Views = []View{
	{Name: "desktop", Width: 1280},
	{Name: "phone in the dark", Width: 390, Prefer: map[string]string{"prefers-color-scheme": "dark"}},
	{Name: "400 %", Width: 1280, Zoom: 4},
	{Name: "forced colours", Width: 1280, Prefer: map[string]string{"forced-colors": "active"}},
	{Name: "desktop in the dark", Width: 1280, Prefer: map[string]string{"prefers-color-scheme": "dark"}},
	{Name: "phone", Width: 390},
}

// Browser is one tab of a Chromium of its own.
type Browser struct {
	ctx context.Context
	axe string
}

// Open starts a Chromium, which ends with the test. Without its tools a test is skipped, except
// in CI.
func Open(t testing.TB) *Browser {
	t.Helper()
	var program string
	for _, name := range []string{"chromium-headless-shell", "chromium"} {
		if path, err := exec.LookPath(name); err == nil && program == "" {
			program = path
		}
	}
	modules, err := sandbox.NodeModules(t.Context(), files)
	if err == nil && program == "" {
		err = errors.New("there is no Chromium: make setup installs one")
	}
	if err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal(err)
		}
		t.Skip(err)
	}
	axe, err := os.ReadFile(filepath.Join(modules, "axe-core", "axe.min.js"))
	if err != nil {
		t.Fatal(err)
	}
	options := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath(program), chromedp.NoSandbox)
	ctx, end := chromedp.NewExecAllocator(context.Background(), options...)
	t.Cleanup(end)
	ctx, end = chromedp.NewContext(ctx)
	t.Cleanup(end)
	if err := chromedp.Do(ctx); err != nil {
		t.Fatal(err)
	}
	return &Browser{ctx, string(axe)}
}

// Seen is what a look at a page found.
type Seen struct {
	Violations []string // of axe-core: rule, element and why
	Wider      int      // CSS pixels that the page is wider than the view
	Loaded     []string // addresses of all that was fetched for it
}

// look runs axe-core, and measures.
const look = `(async () => {
	const found = await axe.run(document, {runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]});
	return {
		Violations: found.violations.flatMap(v => v.nodes.map(n => v.id + ": " + n.html.slice(0, 200) + ": " + n.failureSummary)),
		Wider: document.documentElement.scrollWidth - document.documentElement.clientWidth,
		Loaded: performance.getEntriesByType("resource").map(e => e.name),
	};
})()`

// Look opens an address and looks at the page in a view.
func (b *Browser) Look(address string, v View) (s Seen, err error) {
	if err := chromedp.Do(b.ctx, v.set(), chromedp.Navigate(address)); err != nil {
		return s, err
	}
	return b.Here(v)
}

// Go opens an address, which may lead on to another one by itself.
func (b *Browser) Go(address string) error { return chromedp.Do(b.ctx, chromedp.Navigate(address)) }

// Here looks at the page where the browser is, in a view.
func (b *Browser) Here(v View) (s Seen, err error) {
	if err := chromedp.Do(b.ctx, v.set(), chromedp.Evaluate[chromedp.Void](b.axe)); err != nil {
		return s, err
	}
	return chromedp.Run(b.ctx, chromedp.Evaluate[Seen](look, chromedp.EvalAwaitPromise))
}

// Picture is a PNG of the whole page that was looked at last.
func (b *Browser) Picture() ([]byte, error) { return chromedp.Run(b.ctx, chromedp.FullScreenshot(100)) }

// Print prints the page where the browser is: how many sheets of A4 that takes, and the words on
// them.
func (b *Browser) Print() (sheets int, words string, err error) {
	media := func(name string) chromedp.Action[chromedp.Void] {
		return chromedp.Func(func(ctx context.Context, t *chromedp.Target) error {
			_, err := cdp.Call(ctx, t, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Media: name})
			return err
		})
	}
	if err := chromedp.Do(b.ctx, media("print")); err != nil {
		return 0, "", err
	}
	if words, err = chromedp.Run(b.ctx, chromedp.Evaluate[string](`document.body.innerText`)); err != nil {
		return 0, "", err
	}
	var pdf []byte
	err = chromedp.Do(b.ctx, media(""), chromedp.Func(func(ctx context.Context, t *chromedp.Target) error {
		printed, err := cdp.Call(ctx, t, page.PrintToPDF, page.PrintToPDFParams{PreferCSSPageSize: new(true)})
		if err == nil {
			pdf = printed.Data
		}
		return err
	}))
	return bytes.Count(pdf, []byte("/Type /Page\n")), words, err
}

// Keep puts a picture into the folder for them, if there is one.
func (b *Browser) Keep(name string) error {
	if *pictures == "" {
		return nil
	}
	picture, err := b.Picture()
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(*pictures, strings.NewReplacer(" ", "-", ",", "", "%", "", ".html", "").Replace(name)+".png"), picture, 0o600)
}

// focused says what has the focus: its tag and words, and whether it is marked. While one page
// goes and another comes nothing has.
const focused = `(e => !e ? "body " : e.tagName.toLowerCase() + " " + (e.innerText || e.name || "").trim() +
	(getComputedStyle(e).outlineStyle === "none" ? ", which nothing marks" : ""))(document.activeElement)`

// Tab presses the key once and says what has the focus then: "button Sign out".
func (b *Browser) Tab() (string, error) {
	if err := chromedp.Do(b.ctx, chromedp.KeyEvent("\t")); err != nil {
		return "", err
	}
	return chromedp.Run(b.ctx, chromedp.Evaluate[string](focused))
}

// Focus says what has the focus, as Tab does.
func (b *Browser) Focus() (string, error) {
	return chromedp.Run(b.ctx, chromedp.Evaluate[string](focused))
}

// Title is that of the page where the browser is.
func (b *Browser) Title() (string, error) {
	return chromedp.Run(b.ctx, chromedp.Evaluate[string](`document.title`))
}

// Back goes back, as the button of the browser does, and returns what the page then shows.
func (b *Browser) Back() (string, error) {
	if err := chromedp.Do(b.ctx, chromedp.NavigateBack()); err != nil {
		return "", err
	}
	return chromedp.Run(b.ctx, chromedp.Evaluate[string](`document.body.innerText`))
}

// stops is how often somebody presses Tab on a page before they give up.
const stops = 60

// Press goes to what has these words with the keyboard alone, from the beginning of the page,
// and presses Enter. It waits for a page that has the other words.
func (b *Browser) Press(words, then string) error {
	var seen []string
	for range stops {
		at, err := b.Tab()
		if err != nil {
			return err
		}
		if seen = append(seen, at); !strings.Contains(at, words) || strings.HasPrefix(at, "body ") { // past the end of the page it begins again
			continue
		}
		if strings.HasSuffix(at, "which nothing marks") {
			return errors.New(at)
		}
		if err := chromedp.Do(b.ctx, chromedp.KeyEvent("\r")); err != nil {
			return err
		}
		return b.Shows(then)
	}
	return fmt.Errorf("no %q within %q", words, seen)
}

// Type goes to a field with the keyboard alone, by its name or by the words that it shows, and
// types into it: a space chooses a radio button.
func (b *Browser) Type(field, text string) error {
	var seen []string
	for range stops {
		at, err := b.Tab()
		if err != nil {
			return err
		}
		if seen = append(seen, at); !strings.Contains(at, field) || strings.HasPrefix(at, "body ") {
			continue
		}
		if strings.HasSuffix(at, "which nothing marks") {
			return errors.New(at)
		}
		return chromedp.Do(b.ctx, chromedp.KeyEvent(text))
	}
	return fmt.Errorf("no %q within %q", field, seen)
}

// Has fails unless the field of that name has that text.
func (b *Browser) Has(field, text string) error {
	got, err := chromedp.Run(b.ctx, chromedp.Evaluate[string](fmt.Sprintf(`document.querySelector("[name=%s]").value`, field)))
	if err == nil && got != text {
		err = fmt.Errorf("%s has %q, not %q", field, got, text)
	}
	return err
}

// Run runs a script on the page where the browser is, to its end.
func (b *Browser) Run(script string) error {
	_, err := chromedp.Run(b.ctx, chromedp.Evaluate[chromedp.Void](script, chromedp.EvalAwaitPromise))
	return err
}

// patience is how long somebody waits for a page.
const patience = 20 * time.Second

// Shows waits for a page that has these words.
func (b *Browser) Shows(words string) error {
	began := time.Now()
	for again := time.NewTicker(50 * time.Millisecond); time.Since(began) < patience; <-again.C {
		// While one page goes and another comes there is none to ask.
		has, err := chromedp.Run(b.ctx, chromedp.Evaluate[bool](fmt.Sprintf(`document.readyState === "complete" && document.body.innerText.includes(%q)`, words)))
		if err == nil && has {
			return nil
		}
	}
	text, err := chromedp.Run(b.ctx, chromedp.Evaluate[string](`location.pathname + ": " + document.body.innerText`))
	return errors.Join(fmt.Errorf("no %q on %.900s", words, text), err)
}

func (v View) set() chromedp.Action[chromedp.Void] {
	zoom := max(1, v.Zoom)
	return chromedp.Steps(chromedp.EmulateViewport(v.Width/zoom, 900/zoom, chromedp.EmulateScale(float64(zoom))),
		chromedp.Func(func(ctx context.Context, t *chromedp.Target) error {
			var features []*emulation.MediaFeature
			for name, value := range v.Prefer {
				features = append(features, &emulation.MediaFeature{Name: name, Value: value})
			}
			_, err := cdp.Call(ctx, t, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Features: features})
			return err
		}))
}

// The limits of a page.
const (
	MaxBytes    = 15_000
	MaxRequests = 3 // with the page itself; of passkeys one more
)

// Hold holds pages, whose addresses come by what they show, against what is promised of every
// one. Each is looked at in one view; in all of them with -every-view, or with -pictures, which
// names a folder for what was seen.
func (b *Browser) Hold(t testing.TB, pages map[string]string) {
	t.Helper()
	at := 0
	for state, address := range pages {
		views := Views
		if !*everyView && *pictures == "" {
			views = Views[at%len(Views):][:1]
		}
		at++
		for _, v := range views {
			s, err := b.Look(address, v)
			if err != nil {
				t.Fatalf("%s, %s: %v", state, v.Name, err)
			}
			if err := b.Keep(state + ", " + v.Name); err != nil {
				t.Fatal(err)
			}
			for _, violation := range s.Violations {
				t.Errorf("%s, %s: %s", state, v.Name, violation)
			}
			if s.Wider > 0 {
				t.Errorf("%s, %s: %d pixels wider than the view", state, v.Name, s.Wider)
			}
			origin := address[:strings.Index(address[len("http://"):], "/")+len("http://")]
			most := MaxRequests
			if slices.Contains(s.Loaded, origin+"/passkey.js") {
				most++
			}
			if len(s.Loaded)+1 > most {
				t.Errorf("%s: %d requests: %s", state, len(s.Loaded)+1, s.Loaded)
			}
			for _, from := range s.Loaded {
				if !strings.HasPrefix(from, origin+"/") {
					t.Errorf("%s: loads %s", state, from)
				}
			}
		}
		sized(t, state, address)
	}
}

// sized fails if a page is larger than promised.
func sized(t testing.TB, state, address string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, address, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Accept-Encoding", "identity")
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	n, err := io.Copy(io.Discard, res.Body)
	if err != nil || n > MaxBytes {
		t.Errorf("%s: %d bytes, at most %d: %v", state, n, MaxBytes, err)
	}
}
