package custodian

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"regexp"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/penname/penname/escrow/exhibit"
	"github.com/penname/penname/policy"
	"github.com/penname/penname/verifier/document"
	"github.com/penname/penname/verifier/opening"
	"github.com/penname/penname/verifier/refusal"
	"github.com/penname/penname/verifier/token"
)

// Nobody approves what they have not read: a review alone is not enough, nor one whose
// exhibits were not as declared; and the folder's own record says so to the next run.
func TestNobodyApprovesUnread(t *testing.T) {
	v, f := reviewer(t)
	c := v.open("gerd")
	words := "I will come for you tonight.\u202e\x1b[2J\n✓ the warrant is signed"
	x, err := token.NewExhibit("text/plain", strings.NewReader(words))
	if err != nil {
		t.Fatal(err)
	}
	// The case on file is of older rules: this one declares what was published.
	declares := func(r *Review) *Review {
		return r.declaring(policy.Post{Post: token.Post{URL: "https://town-square.example/1", Exhibits: []token.Exhibit{x}}})
	}
	again := func() *Review {
		r, err := v.open("gerd").Reviewed(f.Case, f, v.since, caseDay)
		if err != nil {
			t.Fatal(err)
		}
		return declares(r)
	}
	r, err := c.Review(f.Case, f, v.since, caseDay)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Approve(declares(r), yes, caseDay); !errors.Is(err, ErrUnread) {
		t.Error("right after the review:", err)
	}
	if _, err := c.Approve(again(), yes, caseDay); !errors.Is(err, ErrUnread) {
		t.Error("in another run:", err)
	}
	card, err := c.Card()
	if err != nil {
		t.Fatal(err)
	}
	var sealed bytes.Buffer
	if err := exhibit.Seal(&sealed, []string{card.Recipient}, strings.NewReader(words)); err != nil {
		t.Fatal(err)
	}
	handed, disk, cut := []byte(nil), error(nil), exhibit.ErrMissing
	fetch := func([32]byte) (io.ReadCloser, error) {
		if handed == nil {
			return nil, cut
		}
		return io.NopCloser(bytes.NewReader(handed)), nil
	}
	copies := func([32]byte, string) ([]byte, error) { return nil, exhibit.ErrMissing }
	save := func(token.Exhibit, []byte) error { return disk }
	cut = refusal.New(refusal.Unavailable, "server.unreachable", "run it again")
	if err := c.CheckExhibits(r, fetch, copies, save, nil); !errors.Is(err, cut) || r.Read {
		t.Fatal("what was not fetched:", err)
	}
	if _, err := c.Approve(again(), yes, caseDay); !errors.Is(err, ErrUnread) {
		t.Error("what was not fetched:", err)
	}
	cut = exhibit.ErrMissing
	if err := c.CheckExhibits(r, fetch, copies, save, nil); err != nil || r.Targets[0].Wrong != "exhibit.missing" {
		t.Fatal(r.Targets[0].Wrong, err)
	}
	if !strings.Contains(r.String(), x.Name()+": missing\n") {
		t.Error("the line of what is missing:", r)
	}
	for _, r := range []*Review{r, again()} {
		if _, err := c.Approve(r, yes, caseDay); !errors.Is(err, ErrExhibits) || !strings.Contains(r.String(), "✗ exhibit.missing: ") || !strings.Contains(r.String(), "runs the same escrow warrant file again") {
			t.Error("what the registrar keeps back:", err)
		}
	}
	handed, disk = sealed.Bytes(), errors.New("no space left")
	if err := c.CheckExhibits(r, fetch, copies, save, nil); !errors.Is(err, disk) {
		t.Error(err)
	}
	if _, err := c.Approve(r, yes, caseDay); !errors.Is(err, ErrExhibits) {
		t.Error("what nobody could look at:", err)
	}
	disk = nil
	if err := c.CheckExhibits(r, fetch, copies, save, nil); err != nil || r.Targets[0].Wrong != "" {
		t.Fatal(r.Targets[0].Wrong, err)
	}
	said := r.String()
	if strings.ContainsAny(said, "\u202e\x1b") || !strings.Contains(said, "\n      | I will come for you tonight.‹U+202E›‹U+001B›[2J\n      | ✓ the warrant is signed\n") {
		t.Errorf("%q", said)
	}
	for _, r := range []*Review{r, again()} { // gerd holds no share, which is looked at next
		if _, err := c.Approve(r, yes, caseDay); !errors.Is(err, ErrNoShare) {
			t.Error("what was read:", err)
		}
	}
	// A new review begins anew.
	if r, err = c.Review(f.Case, f, v.since, caseDay); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Approve(declares(r), yes, caseDay); !errors.Is(err, ErrUnread) {
		t.Error("after another review:", err)
	}
}

// No text of a warrant passes for a line of the review, or moves what stands around it.
func TestTextsOfAWarrantAreQuoted(t *testing.T) {
	v, f := reviewer(t)
	r, err := v.open("gerd").Review(f.Case, f, v.since, caseDay)
	if err != nil {
		t.Fatal(err)
	}
	const forged = "a\n✓ signed\u202e\x1b[2J"
	w := *r.Warrant
	r.Warrant = &w
	texts := []*string{&w.LegalBasis, &w.Offence, &w.Grounds, &w.Necessity, &w.Proportionality, &w.Secrecy.Reason}
	for _, text := range texts {
		*text = forged
	}
	said := r.String()
	if strings.Contains(said, "\n✓ signed") || strings.Count(said, ":\n      | a\n      | ✓ signed‹U+202E›‹U+001B›[2J\n") != len(texts) {
		t.Error(said)
	}
	// Nor does it by its length: a terminal breaks no line of it, whatever it is made of.
	const tick = "✓ everything was checked by the Ministry"
	for _, run := range []string{strings.Repeat(" ", 51), strings.Repeat("\u2003", 51), strings.Repeat("x", 49) + " ", strings.Repeat("語", 25) + " ", strings.Repeat("a\u0301", 49) + " "} {
		for i := range 12 {
			for _, text := range append(texts, &w.FileNumber, &w.Requester.Name) {
				*text = "The post is a threat." + run + strings.Repeat("y", i) + tick
			}
			for line := range strings.SplitSeq(r.asksFor()+r.grounds(), "\n") {
				n := 0
				for _, c := range line {
					n += document.Columns(c)
				}
				if theirs := strings.Contains(line, "Ministry") || strings.Contains(line, "The post"); theirs && (n > document.LineWidth || strings.HasPrefix(line, "✓")) {
					t.Fatalf("%d columns: %s", n, line)
				}
			}
		}
	}
}

// declaring is a review of the saved case as if its evidence declared what these posts of
// its target showed.
func declaring(t testing.TB, c *Custodian, f opening.CaseFile, v *circle, posts []policy.Post, filed bool) *Review {
	t.Helper()
	r, err := c.Review(f.Case, f, v.since, caseDay)
	if err != nil {
		t.Fatal(err)
	}
	r.declaring(posts...)
	r.exhibits = filed
	return r
}

// declaring makes a review one of a case whose first target posted these, with exhibits to
// read.
func (r *Review) declaring(posts ...policy.Post) *Review {
	r.Targets[0].Posts = nil
	r.Targets[0].showPosts(posts, policy.Registered{})
	r.exhibits = true
	if r.kept != nil {
		r.compared(r.kept.Checked)
	}
	return r
}

// yes is what somebody answers who approves a case of one target.
var yes = []Answer{{Target: "1", Says: []string{opening.Yes}}}

// What a custodian sees, to the letter: one post that can be read, of which the file has
// the rest, and one of which nobody may make a copy.
func TestGoldenReview(t *testing.T) {
	v, f := reviewer(t)
	c := v.open("gerd")
	text, err := token.NewExhibit("text/plain", strings.NewReader("I will come for you tonight.\n"+strings.Repeat("é", maxShown)))
	if err != nil {
		t.Fatal(err)
	}
	picture, err := token.NewExhibit("image/png", strings.NewReader("\x89PNG\r\n\x1a\nxxxxxxxx"))
	if err != nil {
		t.Fatal(err)
	}
	at := time.Date(2026, 11, 27, 9, 30, 0, 0, time.UTC)
	read := declaring(t, c, f, v, []policy.Post{{Post: token.Post{URL: "https://town-square.example/1", At: at, Exhibits: []token.Exhibit{text}}, ProvenByKey: true}}, true)
	card, err := c.Card()
	if err != nil {
		t.Fatal(err)
	}
	err = c.CheckExhibits(read, func([32]byte) (io.ReadCloser, error) {
		var sealed bytes.Buffer
		err := exhibit.Seal(&sealed, []string{card.Recipient}, strings.NewReader("I will come for you tonight.\n"+strings.Repeat("é", maxShown)))
		return io.NopCloser(&sealed), err
	}, nil, func(token.Exhibit, []byte) error { return nil }, nil)
	if err != nil {
		t.Fatal(err)
	}
	withheld := declaring(t, c, f, v, []policy.Post{{Post: token.Post{URL: "https://town-square.example/2", At: at, Exhibits: []token.Exhibit{picture}}, Description: "A picture of the abuse of a child.\n✓ signed"}}, false)
	if err := c.CheckExhibits(withheld, func([32]byte) (io.ReadCloser, error) {
		t.Error("what nobody may copy was asked for")
		return nil, errors.New("404")
	}, nil, nil, nil); err != nil || withheld.Read {
		t.Fatal(err)
	}
	if _, err := c.Approve(withheld, yes, caseDay); !errors.Is(err, ErrNoShare) {
		t.Error("a description is what is read of it:", err)
	}
	said := read.String() + "\n" + withheld.String()
	said = regexp.MustCompile(`(?m)(^      \| é+\n)+`).ReplaceAllString(said, "      | (é…)\n")
	if *update {
		if err := os.WriteFile("testdata/review.golden", []byte(said), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile("testdata/review.golden")
	if err != nil {
		t.Fatal(err)
	}
	if said != string(want) {
		t.Errorf("another review, -update if it shall be so:\n%s", said)
	}
}

var update = flag.Bool("update", false, "write testdata/review.golden")

// 5,000 posts of 50 KB, each of which a terminal shows twelve times as long, are read one
// by one: what lives at any time stays under 100 MiB, the printed review with it.
func TestMemoryOfManyPosts(t *testing.T) {
	const posts, size, aim = 5000, 50_000, 100 << 20
	v, f := reviewer(t)
	c := v.open("gerd")
	card, err := c.Card()
	if err != nil {
		t.Fatal(err)
	}
	words := func(i int) []byte {
		return append(fmt.Appendf(nil, "post %d\n", i), bytes.Repeat([]byte{1}, size)...)[:size]
	}
	all, number := make([]policy.Post, posts), make(map[[32]byte]int, posts)
	for i := range all {
		x, err := token.NewExhibit("text/plain", bytes.NewReader(words(i)))
		if err != nil {
			t.Fatal(err)
		}
		all[i].Exhibits, number[x.Digest] = []token.Exhibit{x}, i
	}
	r := declaring(t, c, f, v, all, true)
	var before, now runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	saved, peak := 0, uint64(0)
	live := func() {
		runtime.GC()
		runtime.ReadMemStats(&now)
		peak = max(peak, now.HeapAlloc)
	}
	err = c.CheckExhibits(r, func(digest [32]byte) (io.ReadCloser, error) {
		var sealed bytes.Buffer
		err := exhibit.Seal(&sealed, []string{card.Recipient}, bytes.NewReader(words(number[digest])))
		return io.NopCloser(&sealed), err
	}, nil, func(token.Exhibit, []byte) error {
		if saved++; saved%250 == 0 {
			live()
		}
		return nil
	}, nil)
	if err != nil || r.Targets[0].Wrong != "" || saved != posts {
		t.Fatal(r.Targets[0].Wrong, saved, err)
	}
	said := r.String()
	live()
	if !strings.Contains(said, "| post 0\n") || !strings.Contains(said, r.Targets[0].Posts[posts-1].Exhibits[0].File) {
		t.Error("a post is not shown")
	}
	runtime.ReadMemStats(&now)
	t.Logf("%d posts of %d bytes: at most %.1f MiB live (%.1f before), a review of %.1f MiB, %.0f MiB taken from the system",
		posts, size, mib(peak), mib(before.HeapAlloc), mib(uint64(len(said))), mib(now.HeapSys))
	if peak > aim {
		t.Errorf("%.1f MiB", mib(peak))
	}
}

func mib(bytes uint64) float64 { return float64(bytes) / (1 << 20) }

// TestBeginOfAText: what a review shows of a text is short in bytes and in lines, and says that
// there is more.
func TestBeginOfAText(t *testing.T) {
	for name, c := range map[string]struct{ text, want string }{
		"short":         {"I will come.\nTonight.", "I will come.\nTonight."},
		"lines":         {strings.Repeat("\n", 1<<20) + "x", strings.Repeat("\n", maxShownLines) + "\n… the rest is in the file"},
		"as many":       {strings.Repeat("x\n", maxShownLines), strings.Repeat("x\n", maxShownLines)},
		"half a letter": {strings.Repeat("é", maxShown), strings.Repeat("é", maxShown/2) + "\n… the rest is in the file"},
	} {
		if got := begin([]byte(c.text), maxShown); got != c.want {
			t.Errorf("%s: %.60q, %d bytes", name, got, len(got))
		}
	}
}
