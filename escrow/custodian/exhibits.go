package custodian

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/penname/penname/escrow/exhibit"
	"github.com/penname/penname/policy"
	"github.com/penname/penname/verifier/document"
	"github.com/penname/penname/verifier/refusal"
)

// Why a case is not approved whose posts nobody could read.
var (
	ErrUnread = refusal.New(refusal.Denied, "custodian.exhibits_not_read",
		"the evidence of this case declares what was published, and this folder has not read it since the case was last reviewed: nothing was signed; run escrow custodian review CASE")
	ErrExhibits = refusal.New(refusal.Denied, "custodian.exhibits_refused",
		"what a target published is missing, or is not what its evidence declares: nothing was signed; ask for it to be filed and review the case again, or answer for that target with a reason, which declines it")
)

// Post is a post that a target's evidence is about.
type Post struct {
	URL         string    `json:"url"`
	SHA256      string    `json:"sha256,omitempty"` // hex, as sha256sum prints it: of the content, which evidence of version 1 does not name otherwise
	At          time.Time `json:"at"`
	ProvenByKey bool      `json:"proven_by_key"`         // the author's key signed this very post; else it is the platform's word alone
	Description string    `json:"description,omitempty"` // of the court, of what nobody may copy
	Exhibits    []Exhibit `json:"exhibits,omitempty"`    // what was published

	Registered policy.Registered `json:"registered"` // since when the platform is in the registry
}

// Exhibit is one piece of what was published.
type Exhibit struct {
	Type   string `json:"type"`
	SHA256 string `json:"sha256"` // hex
	Length int64  `json:"length"`
	File   string `json:"file,omitempty"` // its name in the folder of exhibits, once it was read and matches
	Text   string `json:"text,omitempty"` // the beginning of a text, as document.Visible shows it

	Missing bool `json:"missing,omitempty"` // it is not stored
}

// How much a review shows of one text, and of all together, in bytes: a case can have
// thousands. All of it is in the files.
const (
	maxShown         = 8 << 10
	maxShownTogether = 4 << 20
	maxShownLines    = 200 // of one: empty lines push away what stands before them
)

// CheckExhibits fetches, opens and compares what was published, for a case that the folder
// keeps a review of, and gives what matches to save. What is not encrypted to the folder is
// read from a copy. short is as in exhibit.Reader. Without it the case is not approved. The
// refusal of each target is kept and shown ([Target].Wrong); it is no error. Errors are
// [ErrNotReviewed], [ErrNoExhibitKey], that of save or of the disk, and why something could
// not be fetched (exhibit.Fetch): after them the exhibits are not read.
func (c *Custodian) CheckExhibits(r *Review, fetch exhibit.Fetch, copies FetchCopy, save exhibit.Save, short exhibit.FetchShort) error {
	switch {
	case r.kept == nil:
		return ErrNotReviewed
	case !r.exhibits:
		return nil
	}
	read, err := c.reader(r, fetch, copies)
	if err != nil {
		return err
	}
	read.Short = short
	missing := make(map[[32]byte]bool)
	read.Fetch = func(digest [32]byte) (io.ReadCloser, error) {
		sealed, err := fetch(digest)
		missing[digest] = errors.Is(err, exhibit.ErrMissing)
		return sealed, err
	}
	shown, left := make(map[exhibit.Declared]string), maxShownTogether
	read.Save = func(x exhibit.Declared, content []byte) error {
		text := ""
		if x.Type == "text/plain" {
			text = begin(content, min(left, maxShown))
			left = max(0, left-len(text))
		}
		shown[x] = text
		return save(x, content)
	}
	refused, err := read.Targets(r.published())
	if err != nil {
		return err
	}
	checked := make([]string, len(refused))
	for i, said := range refused {
		switch {
		case !r.Targets[i].Waits():
			checked[i] = ErrUnread.Code // it may wait again by the time of the answer
		case said != nil:
			checked[i] = said.Code
		}
	}
	for _, t := range r.Targets {
		for j, p := range t.posts {
			for k, x := range p.Exhibits {
				said := &t.Posts[j].Exhibits[k]
				said.Missing = missing[x.Digest]
				if text, ok := shown[x]; ok {
					said.File, said.Text = exhibit.FileName(x), text
				}
			}
		}
	}
	if k := *r.kept; !slices.Equal(k.Checked, checked) {
		k.Checked = checked
		if r.kept = &k; !r.reading {
			if err := c.keep(r); err != nil {
				return err
			}
		}
	}
	r.compared(checked)
	return nil
}

// published are the posts to read, by target.
func (r *Review) published() [][]policy.Post {
	posts := make([][]policy.Post, len(r.Targets))
	for i, t := range r.Targets {
		if t.Waits() {
			posts[i] = t.posts
		}
	}
	return posts
}

// compared notes what reading what was published came to, by target.
func (r *Review) compared(checked []string) {
	if !r.exhibits || len(checked) != len(r.Targets) {
		return
	}
	r.Read = true
	for i, code := range checked {
		t := &r.Targets[i]
		if t.wrong == ErrExhibits || t.wrong == ErrUnread { // of a reading before
			t.wrong, t.Wrong = nil, ""
		}
		switch {
		case code == ErrUnread.Code && t.Waits():
			t.refuse(ErrUnread, code)
		case code != "" && code != ErrUnread.Code:
			t.refuse(ErrExhibits, code)
		}
	}
}

// begin is what is shown of a text: about the first bytes of it, not half a letter nor more than
// maxShownLines.
func begin(text []byte, length int) string {
	lines := 0
	for i, b := range text[:min(length, len(text))] {
		if b == '\n' {
			if lines++; lines == maxShownLines {
				length = i + 1
				break
			}
		}
	}
	if len(text) <= length {
		return document.Visible(string(text))
	}
	for length > 0 && !utf8.RuneStart(text[length]) {
		length--
	}
	return document.Visible(string(text[:length])) + "\n… the rest is in the file"
}

// showPosts records what the decision says of the posts of a target.
func (t *Target) showPosts(posts []policy.Post, since policy.Registered) {
	t.posts = posts
	for _, p := range posts {
		shown := Post{URL: p.URL, At: p.At, ProvenByKey: p.ProvenByKey, Description: p.Description, Registered: since}
		if len(p.Exhibits) == 0 {
			shown.SHA256 = fmt.Sprintf("%x", p.Digest)
		}
		for _, x := range p.Exhibits {
			shown.Exhibits = append(shown.Exhibits, Exhibit{Type: x.Type, SHA256: x.Name(), Length: x.Length})
		}
		t.Posts = append(t.Posts, shown)
	}
}

// Proof says whose word it is that the author of the pen name made this post.
func (p Post) Proof() string {
	if p.ProvenByKey {
		return "a proof by its author's key is about this post"
	}
	return "the platform's word alone: no proof by its author's key is about this post"
}

// Shows reports whether a piece of a post was read, and is what its evidence declares.
func (r *Review) Shows(p Post, x Exhibit) bool {
	return p.Description == "" && r.exhibits && r.Read && !x.Missing && x.File != ""
}

// Found says what became of a piece of a post; "": it is not what its evidence declares, which
// the target says.
func (r *Review) Found(p Post, x Exhibit) string {
	switch {
	case p.Description != "":
		return "withheld, nobody may copy it"
	case !r.exhibits:
		return "not filed under the rules of this case, read it where it was published"
	case !r.Read:
		return "not read"
	case x.Missing:
		return "missing"
	case x.File == "":
		return ""
	}
	return "as declared, file " + x.File
}

// post is for a person at a terminal.
func (r *Review) post(p Post) string {
	s := fmt.Sprintf("  for the post %s of %s", p.URL, p.At.Format(time.RFC3339))
	if p.SHA256 != "" {
		s += ", sha256 " + p.SHA256
	}
	s += "\n    " + p.Proof() + "\n"
	s = document.Printable(s + "    " + p.Known() + "\n")
	for _, x := range p.Exhibits {
		s += document.Printable(fmt.Sprintf("    %s, %d bytes, sha256 %s", x.Type, x.Length, x.SHA256))
		s += after(": ", r.Found(p, x)) + "\n"
		if r.Shows(p, x) {
			s += Quoted(x.Text)
		}
	}
	if p.Description != "" {
		s += "    the court describes it:\n" + Quoted(document.Visible(p.Description))
	}
	return s
}

// Quoted marks each line of a stranger's text, so that none passes for one of the review.
func Quoted(text string) string {
	if text == "" {
		return ""
	}
	return document.Folded("      | ", "      | ", strings.TrimSuffix(text, "\n"))
}
