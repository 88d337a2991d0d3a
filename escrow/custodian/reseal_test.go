package custodian

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/penname/penname/escrow/exhibit"
	"github.com/penname/penname/policy"
	"github.com/penname/penname/verifier/token"
)

// resealing is a case that was filed while gerd was a custodian and hana was none.
type resealing struct {
	*circle
	words string
	x     token.Exhibit
	r     *Review // of hana's or gerd's; it names the exhibit

	sealed []byte            // what was filed
	copies map[string][]byte // by recipient
}

func newResealing(t *testing.T) *resealing {
	t.Helper()
	s := &resealing{circle: newCircle(t, "gerd", "hana", "ivan"), words: "I will come for you tonight.", copies: make(map[string][]byte)}
	first, err := policy.ParseBundle(s.read("../../verifier/opening/testdata/bundle.json"))
	if err != nil {
		t.Fatal(err)
	}
	filed := s.named("gerd", s.seats("gerd", first, "chidi"))
	s.since = []*policy.Bundle{filed, s.named("hana", s.seats("hana", filed, "alba"))}
	if s.x, err = token.NewExhibit("text/plain", strings.NewReader(s.words)); err != nil {
		t.Fatal(err)
	}
	f := shownCase(s.circle)
	if s.r, err = s.open("gerd").check(f.Case, f, []*policy.Bundle{first}, caseDay); err != nil {
		t.Fatal(err)
	}
	// The case on file is of older rules: this one declares what was published.
	s.r.since = s.since
	s.r.declaring(policy.Post{Post: token.Post{Exhibits: []token.Exhibit{s.x}}})
	s.sealed = s.sealedTo(s.recipient("gerd"))
	return s
}

// named is b with the recipient of a custodian's own folder.
func (s *resealing) named(id string, b *policy.Bundle) *policy.Bundle {
	s.t.Helper()
	raw, err := b.Marshal()
	if err != nil {
		s.t.Fatal(err)
	}
	draft := new(policy.Bundle)
	if err := json.Unmarshal(raw, draft); err != nil {
		s.t.Fatal(err)
	}
	draft.Custodian(id).Recipient = s.recipient(id)
	if raw, err = draft.Marshal(); err != nil {
		s.t.Fatal(err)
	}
	if b, err = policy.ParseBundle(raw); err != nil {
		s.t.Fatal(err)
	}
	return b
}

func (s *resealing) recipient(id string) string {
	s.t.Helper()
	card, err := s.open(id).Card()
	if err != nil {
		s.t.Fatal(err)
	}
	return card.Recipient
}

func (s *resealing) sealedTo(recipient string) []byte {
	s.t.Helper()
	var b bytes.Buffer
	if err := exhibit.Seal(&b, []string{recipient}, strings.NewReader(s.words)); err != nil {
		s.t.Fatal(err)
	}
	return b.Bytes()
}

func (s *resealing) fetch([32]byte) (io.ReadCloser, error) {
	return io.NopCloser(bytes.NewReader(s.sealed)), nil
}

func (s *resealing) fetchCopy(_ [32]byte, recipient string) ([]byte, error) {
	if b, ok := s.copies[recipient]; ok {
		return b, nil
	}
	return nil, exhibit.ErrMissing
}

func (s *resealing) reseal(id string) (Resealed, error) {
	return s.open(id).reseal(s.r, s.fetch, s.fetchCopy, func(digest [32]byte, recipient string, copied []byte) error {
		if digest != s.x.Digest || s.copies[recipient] != nil {
			s.t.Error("stored elsewhere, or twice")
		}
		s.copies[recipient] = copied
		return nil
	})
}

// reads is what a custodian's program makes of the case: the words, or the code.
func (s *resealing) reads(id string) (words, code string) {
	s.t.Helper()
	read, err := s.open(id).reader(s.r, s.fetch, s.fetchCopy)
	if err != nil {
		s.t.Fatal(err)
	}
	read.Save = func(_ exhibit.Declared, content []byte) error { words = string(content); return nil }
	refused, err := read.Targets(s.r.published())
	if err != nil {
		s.t.Fatal(err)
	}
	if refused[0] != nil {
		code = refused[0].Code
	}
	return words, code
}

// Who became a custodian after a case was filed reads nothing of it, until one of its day
// encrypts it again to them.
func TestResealedForTheNewCustodian(t *testing.T) {
	s := newResealing(t)
	if words, code := s.reads("hana"); words != "" || code != "exhibit.not_for_this_key" {
		t.Fatal(words, code)
	}
	if done, err := s.reseal("hana"); err != nil || len(done.Custodians) != 0 || len(s.copies) != 0 {
		t.Error("for herself:", done, err)
	}
	if _, err := s.reseal("ivan"); !errors.Is(err, ErrNotInForce) || len(s.copies) != 0 {
		t.Error("by nobody's custodian:", err)
	}
	done, err := s.reseal("gerd")
	if err != nil || done.Exhibits != 1 || !slices.Equal(done.Custodians, []string{"hana"}) || !slices.Equal(done.Refused, []string{""}) {
		t.Fatal(done, err)
	}
	if words, code := s.reads("hana"); words != s.words || code != "" {
		t.Fatal(words, code)
	}

	// Of what does not match nothing is made, and a full disk of the registrar's is said.
	s.copies, s.sealed = make(map[string][]byte), s.sealed[:len(s.sealed)-1]
	if done, err := s.reseal("gerd"); err != nil || done.Exhibits != 0 || !slices.Equal(done.Refused, []string{"exhibit.damaged"}) || len(s.copies) != 0 {
		t.Error("cut:", done, err)
	}
	s.sealed = s.sealedTo(s.recipient("gerd"))
	full := errors.New("no space left")
	if _, err := s.open("gerd").reseal(s.r, s.fetch, s.fetchCopy, func([32]byte, string, []byte) error { return full }); !errors.Is(err, full) {
		t.Error(err)
	}
	s.r.exhibits = false
	if done, err := s.reseal("gerd"); err != nil || len(done.Custodians) != 0 || len(s.copies) != 0 {
		t.Error("a case without exhibits:", done, err)
	}
}

// A registrar that puts another copy in the place of one is found, whoever signed that.
func TestARegistrarThatChangesCopies(t *testing.T) {
	s := newResealing(t)
	hana := s.recipient("hana")
	honest := exhibit.Copy{Bundle: s.since[1].Hash(), Case: s.r.Case, Custodian: "gerd", Exhibit: s.x.Name(), Recipient: hana}
	signed := func(by string, words string, change func(*exhibit.Copy)) []byte {
		about := honest
		change(&about)
		b, err := exhibit.Reseal(s.open(by).key, about, []byte(words))
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	same := func(*exhibit.Copy) {}
	good := signed("gerd", s.words, same)
	line, _, _ := bytes.Cut(good, []byte("\n"))
	for name, c := range map[string]struct {
		copied []byte
		code   string
	}{
		"as it was signed":                   {good, ""},
		"under the rules of the case's day":  {signed("gerd", s.words, func(c *exhibit.Copy) { c.Bundle = s.since[0].Hash() }), ""},
		"other words":                        {signed("gerd", "I will come for you tonight!", same), "evidence.exhibit_mismatch"},
		"signed by a stranger":               {signed("ivan", s.words, func(c *exhibit.Copy) { c.Custodian = "ivan" }), "exhibit.bad_copy"},
		"by a stranger in gerd's name":       {signed("ivan", s.words, same), "exhibit.bad_copy"},
		"before its signer was a custodian":  {signed("hana", s.words, func(c *exhibit.Copy) { c.Custodian, c.Bundle = "hana", s.since[0].Hash() }), "exhibit.bad_copy"},
		"under rules that were not in force": {signed("gerd", s.words, func(c *exhibit.Copy) { c.Bundle = strings.Repeat("0", 64) }), "exhibit.bad_copy"},
		"of another case":                    {signed("gerd", s.words, func(c *exhibit.Copy) { c.Case = "another" }), "exhibit.bad_copy"},
		"of another exhibit":                 {signed("gerd", s.words, func(c *exhibit.Copy) { c.Exhibit = strings.Repeat("0", 64) }), "exhibit.bad_copy"},
		"for another key":                    {signed("gerd", s.words, func(c *exhibit.Copy) { c.Recipient = s.recipient("ivan") }), "exhibit.bad_copy"},
		"other bytes under the signature":    {slices.Concat(line, []byte("\n"), s.sealedTo(hana)), "exhibit.bad_copy"},
		"cut":                                {good[:len(good)-1], "exhibit.bad_copy"},
		"unsigned":                           {s.sealedTo(hana), "exhibit.bad_copy"},
		"nothing":                            {nil, "exhibit.bad_copy"},
	} {
		s.copies[hana] = c.copied
		words, code := s.reads("hana")
		if code != c.code || (code == "") != (words == s.words) {
			t.Errorf("%s: %q, %q", name, words, code)
		}
	}
	// What was filed for a custodian is read, whatever is beside it.
	s.copies[s.recipient("gerd")] = signed("gerd", "something else", same)
	if words, code := s.reads("gerd"); words != s.words || code != "" {
		t.Error(words, code)
	}
}
