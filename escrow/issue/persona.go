package issue

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"errors"
	"time"

	"github.com/penname/penname/verifier/refusal"
	"github.com/penname/penname/verifier/token"
)

// Where a platform allows several, a person has pen names there that nobody can tell to be
// theirs: the first, the second, and so on, each with its number. One that is retired is
// never used again. Its place is free, for one with the next number, when CoolDown is over
// and while the platform reports no ban of it.

// CoolDown is how long after it was retired the place of a pen name stays taken, in days:
// an order can have what there is preserved for 60 days, and for 30 more (Regulation (EU)
// 2023/1543, Art. 10 and 11), so a platform and a court have this long to speak before
// anybody begins anew.
const CoolDown = 90

// maxPersonas is how many pen names a person can ever have at one platform: their number
// is one byte.
const maxPersonas = 256

// MaxAlias is the longest name that a person can give a pen name, in bytes of UTF-8.
const MaxAlias = 64

// Refusals of a choice among pen names.
var (
	ErrPersonaUnknown = refusal.New(refusal.NotFound, "persona.unknown",
		"you have no such pen name at this platform, or have retired it: choose one of those that you have in use")
	ErrNoRoom = refusal.New(refusal.Conflict, "persona.no_room",
		"you have as many pen names as this platform allows: choose one of them; the place of one that you retired is free after 90 days, if the platform reports no ban of it")
	ErrKeepsOne = refusal.New(refusal.Conflict, "persona.only_one",
		"this platform allows each person one pen name, so it cannot be retired: you can stay away, or delete yourself")
)

// NoteKind says what a [Note] is about.
type NoteKind string

// The kinds of notes.
const (
	NoteAlias   NoteKind = "alias"   // what the person calls it, sealed: see box
	NoteRetired NoteKind = "retired" // the day on which it was, YYYY-MM-DD
	NoteBanned  NoteKind = "banned"  // its platform reports a ban; empty: it has lifted it
)

// Note is what is noted of a pen name.
type Note struct {
	Name token.Pseudonym
	Kind NoteKind
	Text []byte // at most 124 bytes
	Day  time.Time
}

// Notes adds to p's pen names what they are called, and whether they are retired or banned.
func (s *Issuer) Notes(ctx context.Context, p Person, names []PenName) error {
	if len(names) == 0 {
		return nil
	}
	noted, err := s.Store.Noted(ctx, Pseudonyms(names)...)
	if err != nil {
		return err
	}
	return s.addNotes(ctx, p, names, noted)
}

// addNotes adds what is noted of p's pen names, in their order.
func (s *Issuer) addNotes(ctx context.Context, p Person, names []PenName, noted []map[NoteKind][]byte) (err error) {
	var called []int
	var inputs [][]byte
	for i, of := range noted {
		if day := of[NoteRetired]; day != nil {
			if names[i].Retired, err = time.Parse(time.DateOnly, string(day)); err != nil {
				return err
			}
		}
		names[i].Banned = len(of[NoteBanned]) > 0
		if of[NoteAlias] != nil {
			called, inputs = append(called, i), append(inputs, aliasInput(p, names[i]))
		}
	}
	if len(called) == 0 {
		return nil
	}
	keys, err := s.Keys.MAC(ctx, PurposePseudonym, inputs...)
	if err != nil {
		return err
	}
	for at, i := range called {
		if names[i].Alias, err = openBox(keys[at], names[i].Pseudonym, noted[i][NoteAlias]); err != nil {
			return err
		}
	}
	return nil
}

// Pseudonyms are those of pen names, in their order.
func Pseudonyms(names []PenName) (all []token.Pseudonym) {
	for _, n := range names {
		all = append(all, n.Pseudonym)
	}
	return all
}

// Taken reports whether a pen name with its notes takes one of the places that its
// platform allows, on a day.
func (n PenName) Taken(today time.Time) bool {
	return n.Retired.IsZero() || n.Banned || len(n.Suspended) > 0 || today.Before(n.FreeFrom())
}

// FreeFrom is the day from which on the place of a retired pen name is free, if there is no ban.
func (n PenName) FreeFrom() time.Time { return n.Retired.AddDate(0, 0, CoolDown) }

// Room reports whether a person who has these pen names at a platform, with their notes,
// may have another one, if it allows most.
func (s *Issuer) Room(names []PenName, most int) bool {
	taken := 0
	for _, n := range names {
		if n.Taken(day(s.Now())) {
			taken++
		}
	}
	return taken < most && len(names) < maxPersonas
}

// Call notes what p calls one of their pen names, instead of what they called it before.
func (s *Issuer) Call(ctx context.Context, p Person, n PenName, alias string) error {
	keys, err := s.Keys.MAC(ctx, PurposePseudonym, aliasInput(p, n))
	if err != nil {
		return err
	}
	box, err := box(keys[0], n.Pseudonym, alias)
	if err != nil {
		return err
	}
	if err := s.Store.Note(ctx, Note{n.Pseudonym, NoteAlias, box, day(s.Now())}); err != nil {
		return err
	}
	return s.ChangedName(ctx, n.Pseudonym, ChangeRenamed)
}

// Retire notes that a pen name with its notes is never to be used again, and ends its
// sign-ins. A sign-in that comes between the two asks [Issuer.Confirm] last.
func (s *Issuer) Retire(ctx context.Context, n PenName, end End) error {
	if n.Retired.IsZero() {
		today := day(s.Now())
		if err := s.Store.Note(ctx, Note{n.Pseudonym, NoteRetired, []byte(today.Format(time.DateOnly)), today}); err != nil {
			return err
		}
	}
	return end(ctx, n.Pseudonym)
}

// Ban notes whether the platform that has a pen name reports a ban of it. Of one that it
// has not it notes nothing, and does not say so.
func (s *Issuer) Ban(ctx context.Context, platform string, name token.Pseudonym, banned bool) error {
	have, err := s.Store.Assigned(ctx, []token.Pseudonym{name})
	if err != nil || len(have) == 0 || have[0].Platform != platform {
		return err
	}
	note := Note{Name: name, Kind: NoteBanned, Day: day(s.Now())}
	if banned {
		note.Text = []byte("banned")
	}
	return s.Store.Note(ctx, note)
}

// aliasInput is what the key of a box is derived of: nobody has it but who can make the
// pen names of that person.
func aliasInput(p Person, n PenName) []byte {
	return lengthPrefixed("alias", string(p.ID[:]), n.Platform, string([]byte{byte(n.Persona)}))
}

// box seals what a person calls a pen name: AES-256-GCM with random nonces, under a key
// for each pen name (NIST SP 800-38D, 8.3). All boxes have one length.
func box(key []byte, name token.Pseudonym, alias string) ([]byte, error) {
	if len(alias) > MaxAlias {
		return nil, errors.New("the alias is too long")
	}
	padded := [1 + MaxAlias]byte{byte(len(alias))}
	copy(padded[1:], alias)
	aead, err := boxes(key)
	if err != nil {
		return nil, err
	}
	return aead.Seal(nil, nil, padded[:], []byte(name)), nil
}

func openBox(key []byte, name token.Pseudonym, sealed []byte) (string, error) {
	aead, err := boxes(key)
	if err != nil {
		return "", err
	}
	padded, err := aead.Open(nil, nil, sealed, []byte(name))
	if err != nil || len(padded) != 1+MaxAlias || padded[0] > MaxAlias {
		return "", errors.Join(err, errors.New("no box of this pen name"))
	}
	return string(padded[1:][:padded[0]]), nil
}

func boxes(key []byte) (cipher.AEAD, error) {
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	return cipher.NewGCMWithRandomNonce(block)
}
