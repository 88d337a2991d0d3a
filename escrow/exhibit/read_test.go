package exhibit

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/penname/penname/escrow/escrowtest/fuzzing"
	"github.com/penname/penname/policy"
	"github.com/penname/penname/verifier/refusal"
	"github.com/penname/penname/verifier/token"
)

func textOf(t testing.TB, text string) token.Exhibit {
	t.Helper()
	x, err := token.NewExhibit("text/plain", strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	return x
}

func published(exhibits ...token.Exhibit) policy.Post {
	return policy.Post{Post: token.Post{Exhibits: exhibits}}
}

// Each target is refused for itself: what was put in the place of an exhibit, kept back,
// encrypted to another or cut, and the others are read.
func TestWhatWasSaidIsWhatIsJudged(t *testing.T) {
	alba, other := custodian(t), custodian(t)
	threat, worse, harmless := textOf(t, "I will come for you."), textOf(t, "Tonight."), textOf(t, "Good morning to you.")
	whole := sealed(t, []byte("I will come for you."), alba.recipient)
	stored := map[[32]byte][]byte{threat.Digest: whole, worse.Digest: sealed(t, []byte("Tonight."), alba.recipient)}
	for name, c := range map[string]struct {
		harmless []byte
		want     error
	}{
		"as declared":                   {sealed(t, []byte("Good morning to you."), alba.recipient), nil},
		"another exhibit in its place":  {whole, token.ErrExhibitMismatch},
		"one of the same length":        {sealed(t, []byte("Good evening to you."), alba.recipient), token.ErrExhibitMismatch},
		"a byte more":                   {sealed(t, []byte("Good morning to you.."), alba.recipient), token.ErrExhibitMismatch},
		"kept back":                     {nil, ErrMissing},
		"encrypted to somebody else":    {sealed(t, []byte("Good morning to you."), other.recipient), ErrNotForThisKey},
		"cut":                           {whole[:len(whole)-1], ErrDamaged},
		"one byte changed on its way":   {append(bytes.Clone(whole[:len(whole)-1]), whole[len(whole)-1]^1), ErrDamaged},
		"what was published, as it was": {[]byte("Good morning to you."), ErrDamaged},
		"nothing":                       {[]byte{}, ErrDamaged},
	} {
		saved := make(map[string]int)
		r := Reader{Identity: alba.identity, Fetch: func(digest [32]byte) (io.ReadCloser, error) {
			b, ok := stored[digest]
			if digest == harmless.Digest {
				b, ok = c.harmless, c.harmless != nil
			}
			if !ok {
				return nil, ErrMissing
			}
			return io.NopCloser(bytes.NewReader(b)), nil
		}, Save: func(x token.Exhibit, content []byte) error { saved[string(content)]++; return x.Check(content) }}
		refused, err := r.Targets([][]policy.Post{{published(threat), published(worse)}, {published(threat, harmless)}, {published(worse, threat)}})
		if err != nil || len(refused) != 3 || refused[0] != nil || refused[2] != nil {
			t.Fatal(name, refused, err)
		}
		if c.want == nil && refused[1] != nil || c.want != nil && !refused[1].Is(c.want) {
			t.Error(name, refused[1])
		}
		if saved["I will come for you."] != 1 || saved["Tonight."] != 1 || (c.want == nil) != (saved["Good morning to you."] == 1) || len(saved) > 3 {
			t.Error(name, "saved", saved)
		}
	}
}

// A full disk is not the targets' fault.
func TestWhatCannotBeSavedIsNoRefusal(t *testing.T) {
	alba, full := custodian(t), errors.New("no space left")
	x := textOf(t, "Tonight.")
	r := Reader{Identity: alba.identity, Fetch: func([32]byte) (io.ReadCloser, error) {
		return io.NopCloser(bytes.NewReader(sealed(t, []byte("Tonight."), alba.recipient))), nil
	}, Save: func(token.Exhibit, []byte) error { return full }}
	if refused, err := r.Targets([][]policy.Post{{published(x)}}); refused != nil || !errors.Is(err, full) {
		t.Error(refused, err)
	}
}

// What could not be fetched, for the line was cut or whoever reads it stopped, is not missing:
// nothing is said of any target.
func TestWhatCannotBeFetchedIsNotMissing(t *testing.T) {
	alba, other := custodian(t), custodian(t)
	first, second := textOf(t, "I will come for you."), textOf(t, "Tonight.")
	unreachable := refusal.New(refusal.Unavailable, "server.unreachable", "run it again")
	for name, cut := range map[string]error{"interrupted": context.Canceled, "unreachable": unreachable.Because(context.Canceled), "forbidden": errors.New("403")} {
		for _, copied := range []bool{false, true} {
			fail := func([32]byte) (io.ReadCloser, error) { return nil, cut }
			r := Reader{Identity: alba.identity, Fetch: func(digest [32]byte) (io.ReadCloser, error) {
				switch {
				case digest == first.Digest:
					return io.NopCloser(bytes.NewReader(sealed(t, []byte("I will come for you."), alba.recipient))), nil
				case copied:
					return io.NopCloser(bytes.NewReader(sealed(t, []byte("Tonight."), other.recipient))), nil
				}
				return fail(digest)
			}, Copy: fail, Save: func(token.Exhibit, []byte) error { return nil }}
			if refused, err := r.Targets([][]policy.Post{{published(first)}, {published(second)}}); refused != nil || !errors.Is(err, cut) {
				t.Error(name, copied, refused, err)
			}
		}
	}
}

// Every type has a name for its file that a program shows and none runs.
func TestFileNames(t *testing.T) {
	for _, kind := range token.ExhibitTypes() {
		if extensions[kind] == "" {
			t.Error(kind, "has no extension")
		}
	}
	if len(extensions) != len(token.ExhibitTypes()) {
		t.Error(len(extensions), "extensions")
	}
}

// Whatever is handed over: only what the evidence declares is shown.
func FuzzReader(f *testing.F) {
	alba := custodian(f)
	x := textOf(f, "Tonight.")
	f.Add(sealed(f, []byte("Tonight."), alba.recipient), true)
	f.Add([]byte("Tonight."), false)
	f.Add([]byte("I will come."), false)
	fuzzing.Run(f, func(t *testing.T, handed []byte, raw bool) {
		if !raw { // what a filer encrypted, instead of what a registrar made up
			handed = sealed(t, handed, alba.recipient)
		}
		var shown []byte
		r := Reader{Identity: alba.identity, Fetch: func([32]byte) (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(handed)), nil },
			Save: func(_ token.Exhibit, content []byte) error { shown = bytes.Clone(content); return nil }}
		refused, err := r.Targets([][]policy.Post{{published(x)}})
		if err != nil || len(refused) != 1 || (refused[0] == nil) != (string(shown) == "Tonight.") || refused[0] != nil && shown != nil {
			t.Fatal(refused, err, shown)
		}
	})
}

// Short exhibits are asked for together, in their order and once each; what is not stored
// among them, and what is long, is fetched.
func TestShortExhibitsAreFetchedTogether(t *testing.T) {
	alba := custodian(t)
	files, folder := make(map[[32]byte]string), t.TempDir()
	var all []token.Exhibit
	var posts [][]policy.Post
	for n := range 2*MaxTogether + 3 {
		said := fmt.Sprint("post ", n)
		x := declared(t, "text/plain", said)
		files[x.Digest] = filepath.Join(folder, x.Name())
		if err := os.WriteFile(files[x.Digest], []byte(said), 0o600); err != nil {
			t.Fatal(err)
		}
		all, posts = append(all, x), append(posts, []policy.Post{published(x), published(declared(t, "text/plain", "in each"))})
	}
	stored, err := SealShort(all, files, []string{custodian(t).recipient, alba.recipient})
	if err != nil || len(stored) != len(all) {
		t.Fatal(len(stored), err)
	}
	groups, read := 0, 0
	reader := Reader{Identity: alba.identity, Save: func(x Declared, content []byte) error { read++; return x.Check(content) }}
	reader.Fetch = func([32]byte) (io.ReadCloser, error) { return nil, ErrMissing }
	reader.Short = func(digests [][32]byte) (map[[32]byte][]byte, error) {
		if groups++; len(digests) > MaxTogether {
			t.Error(len(digests))
		}
		some := make(map[[32]byte][]byte)
		for _, d := range digests {
			if b, ok := stored[d]; ok {
				some[d] = b
			}
		}
		return some, nil
	}
	refused, err := reader.Targets(posts)
	if err != nil || groups != 3 || read != len(all) || slices.ContainsFunc(refused, func(e *refusal.Error) bool { return e != ErrMissing }) {
		t.Errorf("%d groups, %d read, %v", groups, read, err)
	}
	cut := errors.New("the line was cut")
	reader.Short = func([][32]byte) (map[[32]byte][]byte, error) { return nil, cut }
	if refused, err := reader.Targets(posts); refused != nil || !errors.Is(err, cut) {
		t.Error(refused, err)
	}
	if err := os.WriteFile(files[all[5].Digest], []byte("post 5, and more"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := SealShort(all, files, []string{alba.recipient}); !errors.Is(err, token.ErrExhibitMismatch) {
		t.Error(err)
	}
}
