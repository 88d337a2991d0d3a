package custodian

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/penname/penname/escrow/exhibit"
	"github.com/penname/penname/policy"
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
		r.showPosts(policy.Decision{Posts: [][]policy.Post{{{Post: token.Post{URL: "https://town-square.example/1", Exhibits: []token.Exhibit{x}}}}},
			Registered: make([]policy.Registered, 1), Exhibits: []token.Exhibit{x}})
		return r
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
	if _, err := c.Approve(declares(r), caseDay); !errors.Is(err, ErrUnread) {
		t.Error("right after the review:", err)
	}
	if _, err := c.Approve(again(), caseDay); !errors.Is(err, ErrUnread) {
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
	handed, disk := []byte(nil), error(nil)
	fetch := func([32]byte) (io.ReadCloser, error) {
		if handed == nil {
			return nil, errors.New("404")
		}
		return io.NopCloser(bytes.NewReader(handed)), nil
	}
	copies := func([32]byte, string) ([]byte, error) { return nil, errors.New("404") }
	save := func(token.Exhibit, []byte) error { return disk }
	if err := c.CheckExhibits(r, fetch, copies, save); err != nil || r.Refused[0] != "exhibit.missing" {
		t.Fatal(r.Refused, err)
	}
	for _, r := range []*Review{r, again()} {
		if _, err := c.Approve(r, caseDay); !errors.Is(err, ErrExhibits) || !strings.Contains(r.String(), "✗ exhibit.missing") {
			t.Error("what the registrar keeps back:", err)
		}
	}
	handed, disk = sealed.Bytes(), errors.New("no space left")
	if err := c.CheckExhibits(r, fetch, copies, save); !errors.Is(err, disk) {
		t.Error(err)
	}
	if _, err := c.Approve(r, caseDay); !errors.Is(err, ErrExhibits) {
		t.Error("what nobody could look at:", err)
	}
	disk = nil
	if err := c.CheckExhibits(r, fetch, copies, save); err != nil || r.Refused[0] != "" {
		t.Fatal(r.Refused, err)
	}
	said := r.String()
	if strings.ContainsAny(said, "\u202e\x1b") || !strings.Contains(said, "\n      | I will come for you tonight.‹U+202E›‹U+001B›[2J\n      | ✓ the warrant is signed\n") {
		t.Errorf("%q", said)
	}
	for _, r := range []*Review{r, again()} { // gerd holds no share, which is looked at next
		if _, err := c.Approve(r, caseDay); !errors.Is(err, ErrNoShare) {
			t.Error("what was read:", err)
		}
	}
	// A new review begins anew.
	if r, err = c.Review(f.Case, f, v.since, caseDay); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Approve(declares(r), caseDay); !errors.Is(err, ErrUnread) {
		t.Error("after another review:", err)
	}
}
