package postgres

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/penname/penname/escrow/coalesce"
	"github.com/penname/penname/escrow/openid"
	"github.com/penname/penname/verifier/token"
)

var _ openid.Store = (*Issuing)(nil)

// bodyBlock is what rows are padded to: sign-ins of all platforms look the same.
const bodyBlock = 1024

// rowID is the key of a row, and holderTag the holder of a grant, as they are stored.
func (s *Issuing) rowID(kind openid.Kind, id [32]byte) []byte {
	if kind == openid.KindLogout {
		return id[:] // of logoutID
	}
	return s.rows.handle("openid", []byte(kind), id[:])
}

func (s *Issuing) holderTag(holder token.Pseudonym) string {
	if holder == "" {
		return ""
	}
	return hex.EncodeToString(s.rows.handle("holder", []byte(holder)))
}

// held is what the body of a row hides.
type held struct {
	Holder token.Pseudonym `json:"h,omitempty"`
	Body   []byte          `json:"b"`
	Tell   bool            `json:"t,omitempty"`
	Grant  []byte          `json:"g,omitempty"` // of kind left: the key of the row of the grant that ends, or of the event
	Event  []byte          `json:"e,omitempty"` // of kind left: the body of the row of kind logout, of Holder, that is made then
}

func (s *Issuing) lockBody(id []byte, h held) ([]byte, error) {
	b, err := json.Marshal(h)
	if err != nil {
		return nil, err
	}
	return s.rows.lock(id, b, bodyBlock), nil
}

// unlockBody is the inverse of lockBody, or ErrDamaged.
func (s *Issuing) unlockBody(id, body []byte) (h held, err error) {
	b, err := s.rows.unlock(id, body)
	if err == nil && json.Unmarshal(b, &h) != nil {
		err = ErrDamaged
	}
	return h, err
}

// leftID is the key of the row that says when the grant in that row ends: a row of
// its own, because the rows of all the grants that a person leaves are written
// together. Without the key nobody knows whose they are.
func (s *Issuing) leftID(row []byte) []byte { return s.rows.handle("left", row) }

// logoutID is the key of the row from which a grant's platform is told that it ended.
func (s *Issuing) logoutID(row []byte) []byte { return s.rows.handle("logout", row) }

// Put implements [openid.Store]. Each of the three guards is one statement; the
// row keeps a random number of the write, so that after a lost answer exactly
// the writer who won is told so.
func (s *Issuing) Put(ctx context.Context, row openid.Row) error {
	w, err := s.write(row)
	if err != nil {
		return err
	}
	if len(row.Entries) == 0 {
		return s.put(ctx, row, w.sql, w)
	}
	var slots, places [][]byte
	var expires []time.Time
	for _, e := range row.Entries {
		slot, place := s.slot(e.List, e.Index)
		slots, places, expires = append(slots, slot), append(places, place), append(expires, e.Expires.UTC())
	}
	asked := w.arg(slots) + `::bytea[]`
	return s.put(ctx, row, `WITH r AS (`+w.unless(`EXISTS (SELECT FROM openid_entries WHERE slot = ANY (`+asked+`))`)+` RETURNING id)
		INSERT INTO openid_entries (slot, place, grant_id, expires)
		SELECT e.slot, e.place, r.id, e.expires FROM r, unnest(`+asked+`, `+w.arg(places)+`::bytea[], `+w.arg(expires)+`::timestamptz[]) e (slot, place, expires)`, w)
}

// Claim implements [openid.Store]. Rows are locked in one order, and written only if each is
// as it was read. No two get the same writer, as in EndAll.
func (s *Issuing) Claim(ctx context.Context, rows []openid.Row) error {
	var ids, bodies, writers [][]byte
	var versions []int64
	for _, row := range rows {
		id := s.rowID(openid.KindLogout, row.ID)
		body, err := s.lockBody(id, held{Holder: row.Holder, Body: row.Body, Tell: row.Tell})
		if err != nil {
			return err
		}
		ids, bodies, writers, versions = append(ids, id), append(bodies, body), append(writers, nonce()), append(versions, row.Version)
	}
	return s.settle(ctx, func(ctx context.Context, doubt bool) error {
		n, err := s.exec(ctx, `
			WITH asked AS (SELECT * FROM unnest($1::bytea[], $2::bigint[], $3::bytea[], $4::bytea[]) a (id, version, body, writer)),
			locked AS (
			  SELECT r.id FROM openid_rows r JOIN asked a ON r.id = a.id AND r.version = a.version
			  WHERE r.kind = 'logout' AND NOT r.ended ORDER BY r.id FOR UPDATE OF r)
			UPDATE openid_rows r SET version = r.version + 1, body = a.body, writer = a.writer
			FROM asked a WHERE r.kind = 'logout' AND r.id = a.id AND (SELECT count(*) FROM locked) = cardinality($1::bytea[])`,
			ids, versions, bodies, writers)
		if err != nil || n > 0 {
			return err
		}
		won := false
		if doubt { // the first of them tells: all were written, or none
			err = s.read(ctx, func(ctx context.Context, c *pgxpool.Conn) error {
				return c.QueryRow(ctx, `SELECT EXISTS (SELECT FROM openid_rows WHERE kind = 'logout' AND id = $1 AND writer = $2)`, ids[0], writers[0]).Scan(&won)
			})
		}
		if err == nil && !won {
			err = openid.ErrStale
		}
		return err
	})
}

// Answer implements [openid.Store].
func (s *Issuing) Answer(ctx context.Context, session, grant openid.Row) error {
	w, err := s.write(session)
	if err != nil {
		return err
	}
	id := s.rowID(grant.Kind, grant.ID)
	body, err := s.lockBody(id, held{Holder: grant.Holder, Body: grant.Body, Tell: grant.Tell})
	if err != nil {
		return err
	}
	return s.put(ctx, session, `WITH r AS (`+w.sql+` RETURNING 1)
		INSERT INTO openid_rows (kind, id, version, body, expires, ended, writer, holder)
		SELECT '`+string(openid.KindGrant)+`', `+w.arg(id)+`, 1, `+w.arg(body)+`, `+w.arg(grant.Expires.UTC())+`, false, `+w.arg(nonce())+`, `+w.arg(s.holderTag(grant.Holder))+` FROM r`, w)
}

// rowWrite is the statement that writes one row under its guard.
type rowWrite struct {
	sql    string
	args   []any // the first are kind and id, the fifth the writer
	insert bool
}

// arg adds an argument and returns its place.
func (w *rowWrite) arg(v any) string {
	w.args = append(w.args, v)
	return "$" + strconv.Itoa(len(w.args))
}

// unless is the statement, which writes nothing if something is so.
func (w *rowWrite) unless(so string) string {
	if w.insert {
		return strings.Replace(w.sql, " ON CONFLICT", ` WHERE NOT `+so+` ON CONFLICT`, 1)
	}
	return w.sql + ` AND NOT ` + so
}

func (s *Issuing) write(row openid.Row) (*rowWrite, error) {
	id := s.rowID(row.Kind, row.ID)
	body := []byte{}
	if !row.Ended {
		var err error
		if body, err = s.lockBody(id, held{Holder: row.Holder, Body: row.Body, Tell: row.Tell}); err != nil {
			return nil, err
		}
	}
	w := &rowWrite{args: []any{string(row.Kind), id, body, row.Expires.UTC(), nonce()}}
	switch {
	case row.Ended:
		w.sql = `INSERT INTO openid_rows AS r (kind, id, version, body, expires, ended, writer)
			VALUES ($1, $2, 1, $3, $4, true, $5)
			ON CONFLICT (id, kind) DO UPDATE SET version = r.version + 1, body = '', holder = '', ended = true, writer = excluded.writer
			WHERE NOT r.ended`
		return w, nil
	case row.Version != 0:
		w.sql = `UPDATE openid_rows SET version = version + 1, body = $3, expires = $4, writer = $5
			WHERE kind = $1 AND id = $2 AND version = ` + w.arg(row.Version) + ` AND NOT ended`
		return w, nil
	}
	tag := ""
	if row.Kind == openid.KindGrant {
		tag = s.holderTag(row.Holder)
	}
	w.insert = true
	w.sql = `INSERT INTO openid_rows (kind, id, version, body, expires, ended, writer, holder)
		SELECT $1::text, $2::bytea, 1, $3::bytea, $4::timestamptz, false, $5::bytea, ` + w.arg(tag) + `::text ON CONFLICT DO NOTHING`
	return w, nil
}

// put runs a statement that writes a row, and with it what else depends on its guard.
func (s *Issuing) put(ctx context.Context, row openid.Row, sql string, w *rowWrite) error {
	writer := w.args[4].([]byte)
	return s.settle(ctx, func(ctx context.Context, doubt bool) error {
		n, err := s.execTogether(ctx, statement{sql, w.args})
		if constraint(err) == "openid_entries_pkey" { // somebody took one at the same time
			return openid.ErrTaken
		}
		if err != nil || n > 0 || !doubt && len(row.Entries) == 0 {
			if err == nil && n == 0 {
				err = openid.ErrStale
			}
			return err
		}
		var version int64
		var last []byte
		err = s.read(ctx, func(ctx context.Context, c *pgxpool.Conn) error {
			return c.QueryRow(ctx, `SELECT version, writer FROM openid_rows WHERE kind = $1 AND id = $2`, w.args[0], w.args[1]).Scan(&version, &last)
		})
		switch {
		case err != nil && !errors.Is(err, pgx.ErrNoRows):
			return err
		case doubt && string(last) == string(writer):
			return nil
		case doubt && !row.Ended && version > row.Version+1:
			return ErrUnknown // somebody wrote after whoever won
		case len(row.Entries) > 0 && version == row.Version: // so that is not why
			return openid.ErrTaken
		}
		return openid.ErrStale
	})
}

// Get implements [openid.Store]. At a glance: what is issued on the strength of a row
// comes after a Put, whose COMMIT covers the read; a handle that finds a row was
// given out after the row was confirmed; and a row that has ended refuses.
func (s *Issuing) Get(ctx context.Context, kind openid.Kind, id [32]byte) (openid.Row, error) {
	at := s.rowID(kind, id)
	found, err := s.gets.Do(ctx, rowAt{string(kind), at, s.leftID(at)})
	if err != nil {
		return openid.Row{}, refused(ctx, err)
	}
	if found[0] == nil {
		return openid.Row{}, openid.ErrNotFound
	}
	row, body, left := openid.Row{Kind: kind, ID: id, Version: found[0].version, Expires: found[0].expires, Ended: found[0].ended}, found[0].body, found[0].left
	row.Expires = row.Expires.UTC()
	if row.Ended {
		return row, nil
	}
	h, err := s.unlockBody(at, body)
	if err != nil {
		return openid.Row{}, err
	}
	row.Holder, row.Body, row.Tell = h.Holder, h.Body, h.Tell
	if left != nil {
		h, err := s.unlockBody(s.leftID(at), left)
		if err != nil || row.Ends.UnmarshalText(h.Body) != nil {
			return openid.Row{}, ErrDamaged
		}
	}
	return row, nil
}

// rowAt is a row that is looked for, and the one that says when its grant ends.
type rowAt struct {
	kind     string
	id, left []byte
}

// rowFound is a row as it is stored.
type rowFound struct {
	version    int64
	body, left []byte
	expires    time.Time
	ended      bool
}

// getTogether reads the rows that are looked for at once, nil where there is none.
func (s *Issuing) getTogether(ctx context.Context, all []rowAt) ([]coalesce.Result[*rowFound], error) {
	ctx, cancel := s.detached(ctx)
	defer cancel()
	kinds, ids, lefts := make([]string, len(all)), make([][]byte, len(all)), make([][]byte, len(all))
	for i, at := range all {
		kinds[i], ids[i], lefts[i] = at.kind, at.id, at.left
	}
	var results []coalesce.Result[*rowFound]
	err := s.glance(ctx, func(ctx context.Context, c *pgxpool.Conn) error {
		results = make([]coalesce.Result[*rowFound], len(all)) // the connection may have been lost
		rows, err := c.Query(ctx, `
			SELECT asked.place - 1, r.version, r.body, r.expires, r.ended, (SELECT body FROM openid_rows WHERE kind = 'left' AND id = asked.left_id)
			FROM unnest($1::text[], $2::bytea[], $3::bytea[]) WITH ORDINALITY asked (kind, id, left_id, place) JOIN openid_rows r ON r.id = asked.id AND r.kind = asked.kind`,
			kinds, ids, lefts)
		if err != nil {
			return err
		}
		var at int
		var one rowFound
		_, err = pgx.ForEachRow(rows, []any{&at, &one.version, &one.body, &one.expires, &one.ended, &one.left}, func() error {
			results[at].Out = &rowFound{one.version, bytes.Clone(one.body), bytes.Clone(one.left), one.expires, one.ended}
			return nil
		})
		return err
	})
	return results, err
}

// EndAll implements [openid.Store]. No two rows get the same writer, so that those which
// ended together do not look it afterwards. It looks again until it finds none: a grant
// that came between is one of them, too.
func (s *Issuing) EndAll(ctx context.Context, holder token.Pseudonym, theirs func(body []byte) bool, expires time.Time) error {
	return s.settle(ctx, func(ctx context.Context, _ bool) error {
		for {
			grants, logouts, err := s.toTell(ctx, theirs, `SELECT id, body FROM openid_rows WHERE holder = $1 AND holder <> ''`, s.holderTag(holder))
			if err != nil || len(grants) == 0 {
				return err
			}
			if _, err = s.exec(ctx, `
				WITH over AS (
				  UPDATE openid_rows SET version = version + 1, body = '', holder = '', ended = true, writer = substr(sha256(id || $1), 1, 16)
				  WHERE kind = 'grant' AND id = ANY ($2::bytea[]) AND NOT ended RETURNING id)
				INSERT INTO openid_rows (kind, id, version, body, expires, ended, writer)
				SELECT 'logout', l.id, 1, l.body, $7, false, l.writer
				FROM unnest($3::bytea[], $4::bytea[], $5::bytea[], $6::bytea[]) l (grant_id, id, body, writer) JOIN over ON over.id = l.grant_id
				ON CONFLICT DO NOTHING`, nonce(), grants, logouts.grants, logouts.ids, logouts.bodies, logouts.writers, expires.UTC()); err != nil {
				return err
			}
		}
	})
}

// sealedRows are rows that are about to be written, each because of a grant.
type sealedRows struct{ grants, ids, bodies, writers [][]byte }

func (r *sealedRows) add(grant, id, body []byte) {
	r.grants, r.ids, r.bodies, r.writers = append(r.grants, grant), append(r.ids, id), append(r.bodies, body), append(r.writers, nonce())
}

// toTell reads grants, by a query of their ids and bodies, and makes the rows of kind
// logout of those whose platforms are to be told. See EndAll for theirs.
func (s *Issuing) toTell(ctx context.Context, theirs func(body []byte) bool, query string, args ...any) (grants [][]byte, logouts sealedRows, err error) {
	err = s.read(ctx, func(ctx context.Context, c *pgxpool.Conn) error {
		grants, logouts = nil, sealedRows{} // the connection may have been lost
		rows, err := c.Query(ctx, query, args...)
		if err != nil {
			return err
		}
		var id, body []byte
		_, err = pgx.ForEachRow(rows, []any{&id, &body}, func() error {
			h, err := s.unlockBody(id, body)
			if err != nil || theirs != nil && !theirs(h.Body) {
				return err
			}
			id := bytes.Clone(id)
			if grants = append(grants, id); !h.Tell {
				return nil
			}
			at := s.logoutID(id)
			locked, err := s.lockBody(at, h)
			logouts.add(id, at, locked)
			return err
		})
		return err
	})
	return grants, logouts, err
}

// Logouts implements [openid.Store].
func (s *Issuing) Logouts(ctx context.Context, due func(ends time.Time) bool, since, expires time.Time) (all []openid.Row, err error) {
	if due != nil {
		if err := s.makeLogouts(ctx, due, since, expires); err != nil {
			return nil, err
		}
	}
	err = s.read(ctx, func(ctx context.Context, c *pgxpool.Conn) error {
		all = nil // the connection may have been lost
		rows, err := c.Query(ctx, `SELECT id, version, body, expires FROM openid_rows WHERE kind = 'logout' AND NOT ended ORDER BY id`)
		if err != nil {
			return err
		}
		var id, body []byte
		row := openid.Row{Kind: openid.KindLogout}
		_, err = pgx.ForEachRow(rows, []any{&id, &row.Version, &body, &row.Expires}, func() error {
			h, err := s.unlockBody(id, body)
			row.ID, row.Holder, row.Body, row.Expires = [32]byte(id), h.Holder, h.Body, row.Expires.UTC()
			all = append(all, row)
			return err
		})
		return err
	})
	return all, err
}

// makeLogouts makes the rows of the grants and events whose moment has come and that have
// none. It leaves those of kind left, and of the grants, as they are.
func (s *Issuing) makeLogouts(ctx context.Context, due func(ends time.Time) bool, since, expires time.Time) error {
	var grants, logouts [][]byte
	var events []held
	if err := s.read(atLength(ctx), func(ctx context.Context, c *pgxpool.Conn) error {
		grants, logouts, events = nil, nil, nil // the connection may have been lost
		rows, err := c.Query(ctx, `SELECT id, body FROM openid_rows WHERE kind = 'left' AND expires > $1`, since.UTC())
		if err != nil {
			return err
		}
		var id, body []byte
		_, err = pgx.ForEachRow(rows, []any{&id, &body}, func() error {
			h, err := s.unlockBody(id, body)
			var ends time.Time
			if err != nil || ends.UnmarshalText(h.Body) != nil {
				return ErrDamaged
			}
			switch {
			case h.Grant == nil || ends.IsZero() || !due(ends):
			case h.Event != nil:
				events = append(events, h)
			default:
				grants, logouts = append(grants, h.Grant), append(logouts, s.logoutID(h.Grant))
			}
			return nil
		})
		return err
	}); err != nil || len(grants)+len(events) == 0 {
		return err
	}
	_, made, err := s.toTell(ctx, nil, `
		SELECT r.id, r.body FROM unnest($1::bytea[], $2::bytea[]) l (grant_id, id) JOIN openid_rows r ON r.kind = 'grant' AND r.id = l.grant_id
		WHERE NOT r.ended AND NOT EXISTS (SELECT 1 FROM openid_rows m WHERE m.kind = 'logout' AND m.id = l.id)`, grants, logouts)
	if err == nil {
		err = s.addEvents(ctx, &made, events)
	}
	if err != nil || len(made.ids) == 0 {
		return err
	}
	return s.settle(ctx, func(ctx context.Context, _ bool) error {
		_, err := s.exec(ctx, `
			INSERT INTO openid_rows (kind, id, version, body, expires, ended, writer)
			SELECT 'logout', id, 1, body, $4, body = '', writer FROM unnest($1::bytea[], $2::bytea[], $3::bytea[]) l (id, body, writer)
			ON CONFLICT DO NOTHING`, made.ids, made.bodies, made.writers, expires.UTC())
		return err
	})
}

// addEvents adds the rows of events that were not made. That of somebody who came back is
// over at once, with an empty body, so that a later end of what they began then is no
// reason to tell of it.
func (s *Issuing) addEvents(ctx context.Context, rows *sealedRows, events []held) error {
	for _, e := range events {
		at := s.logoutID(e.Grant)
		back, err := s.cameBack(ctx, at, e.Holder)
		if err != nil {
			return err
		}
		body := []byte{}
		if !back {
			if body, err = s.lockBody(at, held{Holder: e.Holder, Body: e.Event}); err != nil {
				return err
			}
		}
		rows.add(e.Grant, at, body)
	}
	return nil
}

// cameBack reports whether a holder has a grant that is of no leaving. It does not look if
// the row of an event was made: nothing is written then.
func (s *Issuing) cameBack(ctx context.Context, made []byte, holder token.Pseudonym) (back bool, err error) {
	err = s.read(ctx, func(ctx context.Context, c *pgxpool.Conn) error {
		return c.QueryRow(ctx, `SELECT EXISTS (SELECT FROM openid_rows WHERE kind = 'logout' AND id = $1)`, made).Scan(&back)
	})
	if err != nil || back {
		return back, err
	}
	grants, err := s.grantsOf(ctx, map[token.Pseudonym]time.Time{holder: {}})
	if err != nil || len(grants) == 0 {
		return false, err
	}
	var ends [][]byte
	for _, grant := range grants {
		ends = append(ends, s.leftID(grant.id))
	}
	var leaving int
	err = s.read(ctx, func(ctx context.Context, c *pgxpool.Conn) error {
		return c.QueryRow(ctx, `SELECT count(*) FROM openid_rows WHERE kind = 'left' AND id = ANY ($1::bytea[])`, ends).Scan(&leaving)
	})
	return leaving < len(grants), err
}

// leftAtOnce is what the number of rows that EndAt writes is a multiple of. Platforms
// know how many sign-ins each pen name has, and would find their sum.
const leftAtOnce = 32

// EndAt implements [openid.Store]. It writes one row for each grant or event that has none,
// and fills up with rows of neither.
func (s *Issuing) EndAt(ctx context.Context, holders map[token.Pseudonym]time.Time, events []openid.Row, expires time.Time) error {
	return s.settle(ctx, func(ctx context.Context, _ bool) error {
		grants, err := s.grantsOf(ctx, holders)
		if err != nil {
			return err
		}
		for _, e := range events {
			grants = append(grants, grantEnd{s.rows.handle("event", e.ID[:]), holders[e.Holder], held{Holder: e.Holder, Event: e.Body}})
		}
		theirs := len(grants)
		writes := (theirs/leftAtOnce + 1) * leftAtOnce
		for range writes {
			grants = append(grants, grantEnd{id: nonce()})
		}
		var left sealedRows
		for _, grant := range grants {
			moment, err := grant.ends.UTC().MarshalText()
			if err != nil {
				return err
			}
			id := s.leftID(grant.id)
			grant.held.Body, grant.held.Grant = moment, grant.id
			body, err := s.lockBody(id, grant.held)
			if err != nil {
				return err
			}
			left.add(grant.id, id, body)
		}
		_, err = s.exec(ctx, `
			WITH l AS (SELECT * FROM unnest($1::bytea[], $2::bytea[], $3::bytea[]) WITH ORDINALITY l (id, body, writer, place)),
			written AS (
			  INSERT INTO openid_rows (kind, id, version, body, expires, ended, writer)
			  SELECT 'left', id, 1, body, $4, false, writer FROM l WHERE place <= $5 ON CONFLICT DO NOTHING RETURNING id)
			INSERT INTO openid_rows (kind, id, version, body, expires, ended, writer)
			SELECT 'left', id, 1, body, $4, false, writer FROM l WHERE place > $5
			ORDER BY place LIMIT $6 - (SELECT count(*) FROM written)`, left.ids, left.bodies, left.writers, expires.UTC(), theirs, writes)
		return err
	})
}

// grantEnd is the row of a grant, and from when on it counts as ended; or an event, held,
// and when it is told of.
type grantEnd struct {
	id   []byte
	ends time.Time
	held held
}

// grantsOf are the grants that the holders have.
func (s *Issuing) grantsOf(ctx context.Context, holders map[token.Pseudonym]time.Time) (grants []grantEnd, err error) {
	ends := make(map[string]time.Time)
	for holder, at := range holders {
		if holder != "" {
			ends[s.holderTag(holder)] = at
		}
	}
	err = s.read(ctx, func(ctx context.Context, c *pgxpool.Conn) error {
		grants = nil // the connection may have been lost
		rows, err := c.Query(ctx, `SELECT id, holder FROM openid_rows WHERE holder = ANY ($1::text[])`, slices.Collect(maps.Keys(ends)))
		if err != nil {
			return err
		}
		var id []byte
		var tag string
		_, err = pgx.ForEachRow(rows, []any{&id, &tag}, func() error {
			grants = append(grants, grantEnd{id: bytes.Clone(id), ends: ends[tag]})
			return nil
		})
		return err
	})
	return grants, err
}

// Use implements [token.ReplayGuard].
func (s *Issuing) Use(ctx context.Context, key [32]byte, expires time.Time) (first bool, err error) {
	return s.use(ctx, "openid_used", [32]byte(s.rows.handle("used", key[:])), expires)
}

// Use implements [token.ReplayGuard]: custodians' requests are single-use, too.
// The keys are in a table of their own, because neither side reads or fills the
// other's.
func (d *Disclosing) Use(ctx context.Context, key [32]byte, expires time.Time) (first bool, err error) {
	return d.use(ctx, "requests_used", key, expires)
}

func (d *db) use(ctx context.Context, table string, key [32]byte, expires time.Time) (first bool, err error) {
	writer := nonce()
	err = d.settle(ctx, func(ctx context.Context, doubt bool) error {
		n, err := d.exec(ctx, `INSERT INTO `+table+` (key, expires, writer) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING`,
			key[:], expires.UTC().Add(time.Hour-1).Truncate(time.Hour), writer) // not when somebody was here
		if first = n == 1; err != nil || first || !doubt {
			return err
		}
		return d.read(ctx, func(ctx context.Context, c *pgxpool.Conn) error {
			return c.QueryRow(ctx, `SELECT writer = $2 FROM `+table+` WHERE key = $1`, key[:], writer).Scan(&first)
		})
	})
	return first && err == nil, err
}

// slot is where an entry of a status list is stored, and what it says sealed: list
// and index are in tokens, which platforms hold.
func (s *Issuing) slot(list, index int) (slot, place []byte) {
	text := binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(nil, uint64(list)), uint64(index))
	slot = s.rows.handle("entry", text)
	return slot, s.rows.lock(slot, text, 1)
}

// Revoked implements [openid.Store]. A grant that ended is fresh for two hours at least
// (00029): longer than an entry is in use.
func (s *Issuing) Revoked(ctx context.Context, now time.Time) (lists map[int][]int, err error) {
	err = s.read(ctx, func(ctx context.Context, c *pgxpool.Conn) error {
		lists = map[int][]int{} // the connection may have been lost
		rows, err := c.Query(ctx, `
			SELECT e.slot, e.place FROM openid_entries e JOIN openid_rows r ON r.id = e.grant_id AND r.kind = 'grant'
			WHERE r.ended AND r.fresh IS NOT NULL AND e.expires > $1`, now.UTC())
		if err != nil {
			return err
		}
		var slot, place []byte
		_, err = pgx.ForEachRow(rows, []any{&slot, &place}, func() error {
			text, err := s.rows.unlock(slot, place)
			if err != nil || len(text) != 16 {
				return ErrDamaged
			}
			list := int(binary.BigEndian.Uint64(text))
			lists[list] = append(lists[list], int(binary.BigEndian.Uint64(text[8:])))
			return nil
		})
		return err
	})
	for _, indexes := range lists {
		slices.Sort(indexes)
	}
	return lists, err
}

func nonce() []byte {
	b := make([]byte, 16)
	rand.Read(b) // never fails (crypto/rand)
	return b
}
