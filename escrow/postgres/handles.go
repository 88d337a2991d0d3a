package postgres

import (
	"bytes"
	"context"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/penname/penname/escrow/issue"
	"github.com/penname/penname/verifier/token"
)

// handlePlace is the row of a handle at a platform, and handleOwner what it says of the
// pen name that has it: something else at each platform.
func (k rowKey) handlePlace(platform string, h token.Handle) []byte {
	return k.handle("name", []byte(platform), []byte(h))[:16]
}

func (k rowKey) handleOwner(platform string, name token.Pseudonym) []byte {
	return k.handle("named", []byte(platform), []byte(name))[:16]
}

// Reserve implements [issue.Store]. One statement decides each handle: who inserted its
// row has it. Rows stay for ever, so the first handle that is nobody else's is the same
// one whenever it is asked for, and from wherever.
func (s *Issuing) Reserve(ctx context.Context, platform string, name token.Pseudonym, day time.Time) (token.Handle, error) {
	owner := s.rows.handleOwner(platform, name)
	for n := token.MinHandle; n <= token.MaxHandle; n++ {
		h := name.Handle(n)
		at := s.rows.handlePlace(platform, h)
		there, err := s.owners(ctx, [][]byte{at})
		_, taken := there[0]
		if err == nil && !taken {
			err = s.settle(ctx, func(ctx context.Context, _ bool) error {
				_, err := s.exec(ctx, `INSERT INTO handles (place, owner, day) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING`, at, owner, day.UTC())
				if err == nil {
					there, err = s.owners(ctx, [][]byte{at}) // it may be somebody else's by now
				}
				return err
			})
		}
		mine := bytes.Equal(there[0], owner)
		if err == nil && taken && mine {
			err = s.sure(ctx, platform, name, n)
		}
		if err != nil || mine {
			return h, err
		}
	}
	return "", ErrDamaged // with all its characters it is the pen name's alone
}

// sure reads once more, from a server whose standby holds it, that a handle of so many
// characters is the pen name's, and the shorter ones are others'.
func (s *Issuing) sure(ctx context.Context, platform string, name token.Pseudonym, n int) error {
	var places [][]byte
	for i := token.MinHandle; i <= n; i++ {
		places = append(places, s.rows.handlePlace(platform, name.Handle(i)))
	}
	owners, err := s.ownersBy(ctx, s.read, places)
	if err == nil && (len(owners) != len(places) || !bytes.Equal(owners[len(places)-1], s.rows.handleOwner(platform, name))) {
		err = errMoved // it was on a server that is gone: whoever asks again has it made anew
	}
	return err
}

// Reserved implements [issue.Store].
func (s *Issuing) Reserved(ctx context.Context, names []issue.PenName) ([]token.Handle, error) {
	handles, open := make([]token.Handle, len(names)), make([]int, len(names))
	for i := range names {
		open[i] = i
	}
	for n := token.MinHandle; n <= token.MaxHandle && len(open) > 0; n++ {
		var places [][]byte
		for _, i := range open {
			places = append(places, s.rows.handlePlace(names[i].Platform, names[i].Pseudonym.Handle(n)))
		}
		there, err := s.owners(ctx, places)
		if err != nil {
			return nil, err
		}
		var longer []int
		for at, i := range open {
			switch owner, taken := there[at]; {
			case taken && bytes.Equal(owner, s.rows.handleOwner(names[i].Platform, names[i].Pseudonym)):
				handles[i] = names[i].Pseudonym.Handle(n)
			case taken:
				longer = append(longer, i)
			}
		}
		open = longer
	}
	return handles, nil
}

// owners returns what rows say of who has them, by their place among places. At a glance,
// as Assigned.
func (s *Issuing) owners(ctx context.Context, places [][]byte) (owners map[int][]byte, err error) {
	return s.ownersBy(ctx, s.glance, places)
}

func (s *Issuing) ownersBy(ctx context.Context, look func(context.Context, func(context.Context, *pgxpool.Conn) error) error, places [][]byte) (owners map[int][]byte, err error) {
	err = look(ctx, func(ctx context.Context, c *pgxpool.Conn) error {
		owners = make(map[int][]byte)
		rows, err := c.Query(ctx, `SELECT asked.n - 1, h.owner FROM unnest($1::bytea[]) WITH ORDINALITY asked (place, n) JOIN handles h USING (place)`, places)
		if err != nil {
			return err
		}
		var at int
		var owner []byte
		_, err = pgx.ForEachRow(rows, []any{&at, &owner}, func() error {
			owners[at] = bytes.Clone(owner)
			return nil
		})
		return err
	})
	return owners, err
}
