package exhibit

import (
	"bytes"
	"errors"
	"io"
	"slices"
	"sync/atomic"

	"filippo.io/age"

	"github.com/penname/penname/policy"
	"github.com/penname/penname/verifier/refusal"
	"github.com/penname/penname/verifier/token"
)

// ErrMissing is of an exhibit of which the registrar says that it is not stored.
var ErrMissing = refusal.New(refusal.NotFound, "exhibit.missing",
	"an exhibit that the evidence declares is not stored: whoever filed the case runs the same escrow warrant file again, which sends what is missing; then run this again")

// Declared is an exhibit as the evidence declares it.
type Declared = token.Exhibit

// Fetch returns what is encrypted of the content with that SHA-256, read whole. It is
// [ErrMissing] only where whoever stores it said that it is not stored. Every other error
// says nothing of what is stored, as that of a line which was cut.
type Fetch = func(digest [32]byte) (io.ReadCloser, error)

// Save takes what matches, which it must not keep.
type Save = func(x Declared, content []byte) error

// FetchShort returns by their digests what [Fetch] would of several short exhibits, at most
// [MaxTogether], as far as it is stored.
type FetchShort = func(digests [][32]byte) (map[[32]byte][]byte, error)

// Reader reads what posts showed and compares it with what their evidence declares, one
// exhibit in memory at a time, or short ones that were fetched together.
type Reader struct {
	Identity string // see [Open]
	Fetch    Fetch
	Save     Save

	// Short, optional, is asked first for what is short. What it lacks is fetched. Its errors
	// are as those of Fetch.
	Short FetchShort

	// Copy returns what was encrypted again to the identity, for what Fetch returned is not;
	// nil: there is nothing. [ErrNotForThisKey] and [ErrCopy] are the target's, other errors
	// are as those of Fetch.
	Copy Fetch
}

// Targets reads the exhibits of the posts of each target. It returns the first refusal of
// each target, nil where all match: [ErrMissing], one of [Open] or of token.Exhibit.Check.
// What one target is refused for does not hold up the others. err is that of Save, or why
// an exhibit could not be fetched: then nothing is known of any target.
func (r Reader) Targets(posts [][]policy.Post) (refused []*refusal.Error, err error) {
	id, err := parseIdentity(r.Identity) // once: it takes as long as to open a short text
	if err != nil {
		return nil, err
	}
	id = &inOrder{Identity: id}
	short := ahead(r.Short, posts, id)
	refused = make([]*refusal.Error, len(posts))
	read := make(map[token.Exhibit]*refusal.Error) // many posts may show one picture
	for i, target := range posts {
		for _, p := range target {
			for _, x := range p.Exhibits {
				said, known := read[x]
				if !known {
					if said, err = r.read(x, id, short); err != nil {
						return nil, err
					}
					read[x] = said
				}
				if refused[i] == nil {
					refused[i] = said
				}
			}
		}
	}
	return refused, nil
}

func (r Reader) read(x token.Exhibit, id age.Identity, short func(Declared) openedShort) (refused *refusal.Error, err error) {
	known := short(x)
	if known.unread != nil {
		return nil, known.unread
	}
	content, err := known.content, known.err
	if !known.stored {
		sealed, fetched := r.Fetch(x.Digest)
		if fetched != nil {
			return only(fetched, ErrMissing)
		}
		content, err = decrypt(sealed, x, id)
	}
	if r.Copy != nil && errors.Is(err, ErrNotForThisKey) {
		sealed, fetched := r.Copy(x.Digest)
		if fetched != nil {
			return only(fetched, ErrNotForThisKey, ErrCopy)
		}
		content, err = decrypt(sealed, x, id)
	}
	if err == nil {
		err = x.Check(content)
	}
	if err == nil {
		return nil, r.Save(x, content)
	}
	if refused = refusal.Of(err); refused != nil {
		return refused, nil
	}
	return nil, err
}

// openedShort is a short exhibit that was fetched with others.
type openedShort struct {
	stored  bool
	content []byte
	err     error // as [Open] has it
	unread  error // why they could not be fetched
}

// ahead returns a function that is asked once for each exhibit of these posts, in their order.
// Each group of short ones is fetched and opened while the one before is saved.
func ahead(short FetchShort, posts [][]policy.Post, id age.Identity) func(x Declared) openedShort {
	if short == nil {
		return func(Declared) openedShort { return openedShort{} }
	}
	groups := make(chan []openedShort, 1)
	all := shortIn(posts)
	ask := func() {
		group := all[:min(len(all), MaxTogether)]
		if all = all[len(group):]; len(group) > 0 {
			go func() { groups <- openShort(short, group, id) }()
		}
	}
	ask()
	var have []openedShort
	return func(x Declared) (o openedShort) {
		if x.Length > MaxShort {
			return openedShort{}
		}
		if len(have) == 0 {
			have = <-groups
			ask()
		}
		o, have = have[0], have[1:]
		return o
	}
}

// shortIn are the short exhibits of posts, in their order and once each.
func shortIn(posts [][]policy.Post) (all []Declared) {
	known := make(map[Declared]bool)
	for _, target := range posts {
		for _, p := range target {
			for _, x := range p.Exhibits {
				if !known[x] && x.Length <= MaxShort {
					all = append(all, x)
				}
				known[x] = true
			}
		}
	}
	return all
}

func openShort(short FetchShort, group []Declared, id age.Identity) []openedShort {
	digests := make([][32]byte, len(group))
	for i, x := range group {
		digests[i] = x.Digest
	}
	sealed, unread := short(digests)
	all := make([]openedShort, len(group))
	each(len(group), func(i int) {
		o := openedShort{unread: unread}
		var b []byte
		if b, o.stored = sealed[digests[i]]; o.stored {
			o.content, o.err = decrypt(io.NopCloser(bytes.NewReader(b)), group[i], id)
		}
		all[i] = o
	})
	return all
}

// inOrder tries that place among the stanzas first at which the exhibit before opened: all
// exhibits of a case are encrypted to the same recipients, and each try takes as long as to
// open a short text.
type inOrder struct {
	age.Identity
	place atomic.Int64
}

// Unwrap implements age.Identity.
func (o *inOrder) Unwrap(stanzas []*age.Stanza) ([]byte, error) {
	if i := int(o.place.Load()); i < len(stanzas) {
		if key, err := o.Identity.Unwrap(stanzas[i : i+1]); err == nil {
			return key, nil
		}
	}
	for i := range stanzas {
		key, err := o.Identity.Unwrap(stanzas[i : i+1])
		if err == nil {
			o.place.Store(int64(i))
		}
		if err == nil || !errors.Is(err, age.ErrIncorrectIdentity) {
			return key, err
		}
	}
	return nil, age.ErrIncorrectIdentity
}

// only returns err as the refusal of a target if it is one of these.
func only(err error, refusals ...*refusal.Error) (*refusal.Error, error) {
	if said := refusal.Of(err); said != nil && slices.ContainsFunc(refusals, func(e *refusal.Error) bool { return said.Is(e) }) {
		return said, nil
	}
	return nil, err
}

func decrypt(sealed io.ReadCloser, x token.Exhibit, id age.Identity) (b []byte, err error) {
	content, err := open(sealed, id)
	if err == nil {
		b, err = io.ReadAll(io.LimitReader(content, x.Length+1)) // to its end, where it is as long as declared
	}
	return b, errors.Join(err, sealed.Close())
}

// Explain returns the code that a target was refused for with the sentence that says what to
// do; the code alone if it is none of [Reader.Targets].
func Explain(code string) string {
	all := []*refusal.Error{ErrMissing, ErrNotForThisKey, ErrCopy, ErrDamaged, token.ErrExhibitMismatch, token.ErrExhibitContent, token.ErrExhibitTooLarge}
	if i := slices.IndexFunc(all, func(e *refusal.Error) bool { return e.Code == code }); i >= 0 {
		return all[i].Error()
	}
	return code
}

// extensions of files by media type: of what is opened with a program that shows it, and
// never with one that runs it.
var extensions = map[string]string{
	"text/plain": ".txt", "application/pdf": ".pdf",
	"image/gif": ".gif", "image/jpeg": ".jpg", "image/png": ".png", "image/webp": ".webp",
	"audio/mp4": ".m4a", "audio/mpeg": ".mp3", "audio/ogg": ".ogg", "audio/wav": ".wav",
	"video/mp4": ".mp4", "video/webm": ".webm",
}

// FileName is what an exhibit is called in a folder: its digest, and what shows its type.
// Nothing in it is a stranger's text.
func FileName(x token.Exhibit) string { return x.Name() + extensions[x.Type] }
