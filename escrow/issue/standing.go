package issue

import (
	"context"
	"crypto/rand"
	"slices"

	"github.com/penname/penname/escrow/seal"
	"github.com/penname/penname/verifier/token"
)

// A sign-in asks the key service once and the database once for all that it needs to know of
// a person at one platform. What the key service answered is the same at every sign-in there,
// so the person's sealed session carries it from the page to the button.

// nameLen and seedLen are the parts of what is derived of one pen name.
const (
	nameLen = 16
	seedLen = 32
)

// Derived is what the key service answers of a person at one platform: the MACs of which
// their first personasAtOnce pen names are made, and the seed of the link of the first, which
// nearly everybody uses. Whoever has it can make these pen names; it opens nothing.
type Derived struct {
	Platform string `json:"p,omitempty"`
	MACs     []byte `json:"m,omitempty"` // nameLen bytes for each name, then the seed
}

const derivedLen = personasAtOnce*nameLen + seedLen

// name is the pen name with that number.
func (d Derived) name(persona int) (token.Pseudonym, error) {
	return token.NewPseudonym(d.MACs[persona*nameLen:][:nameLen])
}

// Derive asks the key service, unless known is the answer.
func (s *Issuer) Derive(ctx context.Context, p Person, platform string, known Derived) (Derived, error) {
	if known.Platform == platform && len(known.MACs) == derivedLen {
		return known, nil
	}
	var inputs [][]byte
	for n := range personasAtOnce {
		inputs = append(inputs, nameInput(p, platform, n))
	}
	macs, err := s.Keys.MAC(ctx, PurposePseudonym, append(inputs, seedInput(p, platform, 0))...)
	if err != nil {
		return Derived{}, err
	}
	d := Derived{Platform: platform}
	for _, mac := range macs[:personasAtOnce] {
		d.MACs = append(d.MACs, mac[:nameLen]...)
	}
	d.MACs = append(d.MACs, macs[personasAtOnce]...)
	return d, nil
}

// Question is what is asked of somebody who is signed in.
type Question struct {
	Person  Person
	Session Session
	Names   []token.Pseudonym // that they can have
	Whose   []byte            // see Issuer.Whose; nil: acceptances are not asked for
}

// Standing answers a [Question], as of one moment.
type Standing struct {
	Live, Asked bool                  // as Store.Live has it
	Assigned    []PenName             // of the names, as Store.Assigned
	Noted       []map[NoteKind][]byte // of each name, as Store.Noted
	Suspensions []Suspension          // of any of them, as Store.Suspensions
	Acceptances []Review              // as Store.Acceptances
	Recovery    Recovery              // as Store.Recovery
}

// At is what a person has at a platform.
type At struct {
	Standing
	Derived Derived
	Names   []PenName // all that they ever had there, with notes and suspensions, in the order of their numbers
}

// At asks what p has at the platform of d, whether their session counts, and, if whose is
// given, who would be recognised as them.
func (s *Issuer) At(ctx context.Context, p Person, session Session, d Derived, whose []byte) (at At, err error) {
	at.Derived = d
	q := Question{Person: p, Session: session, Whose: whose}
	for n := range personasAtOnce {
		name, err := d.name(n)
		if err != nil {
			return at, err
		}
		q.Names = append(q.Names, name)
	}
	if at.Standing, err = s.Store.Standing(ctx, s.Now(), q); err != nil {
		return at, err
	}
	for n, name := range q.Names {
		var one []PenName
		for _, row := range at.Assigned {
			if row.Persona = n; row.Pseudonym == name {
				one = earliest(one, row)
			}
		}
		if len(one) == 0 {
			break
		}
		at.Names = append(at.Names, one...)
	}
	if len(at.Names) < personasAtOnce {
		return at, s.complete(ctx, p, at.Names, q, at.Standing)
	}
	// They can have more.
	if at.Names, err = s.PenNames(ctx, p, []string{d.Platform}); err == nil {
		err = s.completeAnew(ctx, p, at.Names)
	}
	return at, err
}

// Everywhere is [Issuer.At] of all platforms: their own page shows it.
func (s *Issuer) Everywhere(ctx context.Context, p Person, session Session, platforms []string, whose []byte) (st Standing, names []PenName, err error) {
	q, asked := Question{Person: p, Session: session, Whose: whose}, 0
	if names, err = s.penNames(ctx, p, platforms, func(ctx context.Context, candidates []token.Pseudonym) ([]PenName, error) {
		if asked++; asked > 1 {
			return s.Store.Assigned(ctx, candidates)
		}
		q.Names = candidates
		st, err = s.Store.Standing(ctx, s.Now(), q)
		return st.Assigned, err
	}); err != nil {
		return st, nil, err
	}
	switch {
	case asked == 0: // there are no platforms
		st, err = s.Store.Standing(ctx, s.Now(), q)
	case asked == 1:
		err = s.complete(ctx, p, names, q, st)
	default:
		err = s.completeAnew(ctx, p, names)
	}
	return st, names, err
}

// complete adds to pen names what was answered about them, completeAnew what is asked for.
func (s *Issuer) complete(ctx context.Context, p Person, names []PenName, q Question, st Standing) error {
	noted := make([]map[NoteKind][]byte, len(names))
	for i, n := range names {
		noted[i] = st.Noted[slices.Index(q.Names, n.Pseudonym)]
	}
	if err := s.addNotes(ctx, p, names, noted); err != nil {
		return err
	}
	return s.addSuspensions(ctx, names, st.Suspensions)
}

func (s *Issuer) completeAnew(ctx context.Context, p Person, names []PenName) error {
	if err := s.Notes(ctx, p, names); err != nil {
		return err
	}
	return s.Suspensions(ctx, names)
}

// earliest adds a row of a pen name to names, or puts it in the place of a later one: a pen
// name has a row for each record that its person had.
func earliest(names []PenName, row PenName) []PenName {
	switch last := len(names) - 1; {
	case last < 0 || names[last].Pseudonym != row.Pseudonym:
		return append(names, row)
	case row.Since.Before(names[last].Since):
		names[last] = row
	}
	return names
}

// Choose is [Issuer.Pseudonym] of a person about whom at is known, for a sign-in that is
// confirmed when its grant is stored: see [Issuer.Confirm].
func (s *Issuer) Choose(ctx context.Context, p Person, at At, persona int) (token.Pseudonym, [32]byte, error) {
	switch {
	case at.Asked:
		return "", [32]byte{}, ErrErased
	case persona != 0:
		return s.Pseudonym(ctx, p, at.Derived.Platform, persona)
	}
	name, err := at.Derived.name(0)
	if err != nil {
		return "", [32]byte{}, err
	}
	return s.assign(ctx, p, at.Derived.Platform, name, [seedLen]byte(at.Derived.MACs[personasAtOnce*nameLen:]), at.Assigned)
}

// assign gives a pen name that is derived to p's record, unless it has it by one of the rows
// have, and returns it with the commitment of this sign-in.
func (s *Issuer) assign(ctx context.Context, p Person, platform string, name token.Pseudonym, seed [seedLen]byte, have []PenName) (token.Pseudonym, [32]byte, error) {
	record := p.Reference()
	a := Assignment{Pseudonym: name, Platform: platform, Commitment: token.Commit(name, record, seed), Day: day(s.Now())}
	var n [1]byte
	rand.Read(n[:]) // never fails (crypto/rand)
	commitment := token.Commit(name, record, seal.Salt(seed, s.Now(), n[0]))
	if slices.ContainsFunc(have, func(n PenName) bool { return n.Pseudonym == name && n.Commitment == a.Commitment }) {
		return name, commitment, nil
	}
	var err error
	if a.Link, err = s.Keys.WrapLink(ctx, string(name), slices.Concat(seed[:], p.Digest[:], []byte(p.Label))); err != nil {
		return "", [32]byte{}, err
	}
	_, err = s.Store.Assign(ctx, a)
	return name, commitment, err
}

// Confirm asks once more, when a grant is stored for one of p's pen names, what may have ended
// since [Issuer.At]. It is [ErrErased] for somebody who asked to be deleted or whose session
// has ended, [ErrPersonaUnknown] for a pen name that is retired, and [ErrSuspended] for one
// that is suspended at that platform.
func (s *Issuer) Confirm(ctx context.Context, p Person, session Session, name token.Pseudonym, platform string) error {
	now, err := s.Store.Standing(ctx, s.Now(), Question{Person: p, Session: session, Names: []token.Pseudonym{name}})
	switch {
	case err != nil:
		return err
	case !now.Live || now.Asked:
		return ErrErased
	case now.Noted[0][NoteRetired] != nil:
		return ErrPersonaUnknown
	}
	return suspended(now.Suspensions, platform)
}
