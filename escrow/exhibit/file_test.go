package exhibit

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/penname/penname/verifier/token"
)

func declared(t *testing.T, mediaType, content string) token.Exhibit {
	t.Helper()
	x, err := token.NewExhibit(mediaType, strings.NewReader(content))
	if err != nil {
		t.Fatal(err)
	}
	return x
}

// Files are found by what is in them, and not by their names.
func TestFind(t *testing.T) {
	text, picture := declared(t, "text/plain", "the words"), declared(t, "image/gif", "GIF89a and more")
	lies := picture
	lies.Type = "image/png"
	for name, c := range map[string]struct {
		files map[string]string
		want  []token.Exhibit
		err   error
	}{
		"by any name":           {map[string]string{"a": "the words", "b.gif": "GIF89a and more", "c": "not asked for"}, []token.Exhibit{text, picture}, nil},
		"named by digest":       {map[string]string{text.Name(): "the words"}, []token.Exhibit{text}, nil},
		"twice there":           {map[string]string{"a": "the words", "b": "the words"}, []token.Exhibit{text}, nil},
		"nothing wanted":        {nil, nil, nil},
		"not there":             {map[string]string{"b.gif": "GIF89a and more"}, []token.Exhibit{text, picture}, ErrNotInFolder},
		"changed":               {map[string]string{text.Name(): "the worms"}, []token.Exhibit{text}, ErrNotInFolder},
		"of another type":       {map[string]string{"b.png": "GIF89a and more"}, []token.Exhibit{lies}, token.ErrExhibitContent},
		"in a folder inside it": {map[string]string{"in/a": "the words"}, []token.Exhibit{text}, ErrNotInFolder},
	} {
		folder := t.TempDir()
		for name, content := range c.files {
			path := filepath.Join(folder, name)
			if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		found, err := Find(folder, c.want)
		if !errors.Is(err, c.err) {
			t.Errorf("%s: %v", name, err)
		}
		for _, x := range c.want {
			b, err := os.ReadFile(found[x.Digest])
			if c.err == nil && (err != nil || x.Check(b) != nil) {
				t.Errorf("%s: %s, %v", name, found[x.Digest], err)
			}
		}
	}
	if _, err := Find(filepath.Join(t.TempDir(), "none"), []token.Exhibit{text}); !errors.Is(err, os.ErrNotExist) {
		t.Error(err)
	}
}

// What is sent is as long as was said, and what fails on either side is told.
// Among takes files for what is in them, and judges no type.
func TestAmong(t *testing.T) {
	dir := t.TempDir()
	short, long, missing := declared(t, "text/plain", "I will come."), declared(t, "text/plain", "I will come for you."), declared(t, "text/plain", "I will come!")
	for name, content := range map[string]string{"a": "I will come.", "b": "I will come for you.", "c": "You will come"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	have, err := Among(dir, []token.Exhibit{short, long, missing})
	if err != nil || len(have) != 2 || have[short.Digest] != filepath.Join(dir, "a") || have[long.Digest] != filepath.Join(dir, "b") {
		t.Error(have, err)
	}
	if err := IsIn(have[short.Digest], short); err != nil {
		t.Error(err)
	}
	if err := IsIn(have[long.Digest], short); err == nil {
		t.Error("another file is taken for it")
	}
}

func TestSend(t *testing.T) {
	by, x := custodian(t), declared(t, "text/plain", "the words")
	var sent bytes.Buffer
	err := Send(x, strings.NewReader("the words"), []string{by.recipient}, func(r io.Reader, length int64) error {
		n, err := io.Copy(&sent, r)
		if n != length {
			t.Errorf("%d of %d bytes", n, length)
		}
		return err
	})
	if got, oerr := opened(sent.Bytes(), by); err != nil || oerr != nil || string(got) != "the words" {
		t.Errorf("%q, %v, %v", got, err, oerr)
	}
	refused := errors.New("refused")
	read := func(r io.Reader, _ int64) error { _, err := io.Copy(io.Discard, r); return err }
	for name, c := range map[string]struct {
		content io.Reader
		to      string
		put     func(io.Reader, int64) error
		want    error
	}{
		"refused at once":        {strings.NewReader("the words"), by.recipient, func(io.Reader, int64) error { return refused }, refused},
		"a wrong recipient":      {strings.NewReader("the words"), "age1", read, ErrRecipient},
		"content that fails":     {iotest.ErrReader(refused), by.recipient, read, refused},
		"more than there may be": {io.LimitReader(zeros{}, MaxSize+1), by.recipient, read, token.ErrExhibitTooLarge},
	} {
		if err := Send(x, c.content, []string{c.to}, c.put); !errors.Is(err, c.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// zeros never ends.
type zeros struct{}

// Read implements io.Reader.
func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }
