package postgres

import (
	"context"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/penname/penname/escrow/issue"
	"github.com/penname/penname/verifier/token"
)

// noteBlock is what notes are padded to: all look the same, whatever they say.
const noteBlock = 128

func (k rowKey) notePlace(kind issue.NoteKind, name token.Pseudonym) []byte {
	return k.handle("note", []byte(kind), []byte(name))[:16]
}

// noteKinds are in the order of notePlaces.
var noteKinds = []issue.NoteKind{issue.NoteAlias, issue.NoteRetired, issue.NoteBanned}

// notePlaces are the rows of all kinds of notes about names.
func (k rowKey) notePlaces(names []token.Pseudonym) (places [][]byte) {
	for _, name := range names {
		for _, kind := range noteKinds {
			places = append(places, k.notePlace(kind, name))
		}
	}
	return places
}

// addNote adds what a note says, by its place among notePlaces.
func addNote(noted []map[issue.NoteKind][]byte, at int, text []byte) {
	of := &noted[at/len(noteKinds)]
	if *of == nil {
		*of = make(map[issue.NoteKind][]byte)
	}
	(*of)[noteKinds[at%len(noteKinds)]] = text
}

// Note implements [issue.Store].
func (s *Issuing) Note(ctx context.Context, n issue.Note) error {
	if len(n.Text) > noteBlock-4 {
		return ErrText
	}
	at := s.rows.notePlace(n.Kind, n.Name)
	hidden := s.rows.lock(at, n.Text, noteBlock)
	return s.settle(ctx, func(ctx context.Context, _ bool) error {
		_, err := s.exec(ctx, `
			INSERT INTO notes (place, hidden, day) VALUES ($1, $2, $3)
			ON CONFLICT (place) DO UPDATE SET hidden = excluded.hidden, day = excluded.day WHERE $4`,
			at, hidden, n.Day.UTC(), n.Kind != issue.NoteRetired)
		return err
	})
}

// Noted implements [issue.Store].
func (s *Issuing) Noted(ctx context.Context, names ...token.Pseudonym) (noted []map[issue.NoteKind][]byte, err error) {
	places := s.rows.notePlaces(names)
	err = s.read(ctx, func(ctx context.Context, c *pgxpool.Conn) error {
		noted = make([]map[issue.NoteKind][]byte, len(names))
		return s.eachNote(ctx, c, places, func(at int, text []byte) error {
			addNote(noted, at, text)
			return nil
		})
	})
	return noted, err
}

// eachNote calls with what each row that is there says, and which of the places it is at.
func (s *Issuing) eachNote(ctx context.Context, c *pgxpool.Conn, places [][]byte, each func(at int, text []byte) error) error {
	rows, err := c.Query(ctx, `SELECT asked.n - 1, note.hidden FROM unnest($1::bytea[]) WITH ORDINALITY asked (place, n) JOIN notes note USING (place)`, places)
	if err != nil {
		return err
	}
	var at int
	var hidden []byte
	_, err = pgx.ForEachRow(rows, []any{&at, &hidden}, func() error {
		text, err := s.rows.unlock(places[at], hidden)
		if err != nil {
			return err
		}
		return each(at, text)
	})
	return err
}
