package postgres

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/penname/penname/escrow/issue"
)

// # Passkeys
//
// What a person does about their passkeys writes rows of passkeys; that they use one writes
// none of them, so that no two copies of the database tell when somebody signed in. A passkey
// that counts leaves a row of its own for each use among those of sessions (see countPlace),
// which nobody but we can find again, and which expires.

// passkeyBlock is what rows of passkeys are padded to: those of both kinds look the same.
const passkeyBlock = 1536

// hiddenPasskey is what a row of a passkey hides: found by its person the id, word and day,
// found by its id the rest.
type hiddenPasskey struct {
	ID   []byte `json:"i,omitempty"`
	Word string `json:"w,omitempty"`
	Day  int64  `json:"d,omitempty"` // Unix

	Person  *issue.Person `json:"p,omitempty"`
	Number  int           `json:"n,omitempty"` // of its other row
	User    []byte        `json:"u,omitempty"`
	Key     []byte        `json:"k,omitempty"`
	Counter uint32        `json:"c,omitempty"`
	Backup  bool          `json:"b,omitempty"`
	ACR     string        `json:"a,omitempty"`
}

// passkeyPlace is the row of the n-th passkey of a record's person. Whoever was deleted and
// comes back has none.
func (k rowKey) passkeyPlace(p issue.Person, n int) []byte {
	return k.handle("passkey", p.ID[:], []byte(p.Label), number(int64(n)))[:16]
}

func (k rowKey) passkeyPlaces(p issue.Person) (all [][]byte) {
	for n := range issue.MaxPasskeys {
		all = append(all, k.passkeyPlace(p, n))
	}
	return all
}

func (k rowKey) credentialPlace(id []byte) []byte { return k.handle("credential", id)[:16] }

func (k rowKey) unlockPasskey(place, hidden []byte) (h hiddenPasskey, err error) {
	text, err := k.unlock(place, hidden)
	if err != nil || json.Unmarshal(text, &h) != nil {
		return h, ErrDamaged
	}
	return h, nil
}

// querying is a connection, or a transaction.
type querying func(ctx context.Context, sql string, args ...any) (pgx.Rows, error)

// passkeysAt are what the rows at some places hide, by their number among them.
func (k rowKey) passkeysAt(ctx context.Context, query querying, places [][]byte) (found map[int]hiddenPasskey, err error) {
	rows, err := query(ctx, `SELECT asked.n - 1, p.hidden FROM unnest($1::bytea[]) WITH ORDINALITY asked (place, n) JOIN passkeys p USING (place)`, places)
	if err != nil {
		return nil, err
	}
	found = make(map[int]hiddenPasskey)
	var at int
	var hidden []byte
	_, err = pgx.ForEachRow(rows, []any{&at, &hidden}, func() (err error) {
		found[at], err = k.unlockPasskey(places[at], hidden)
		return err
	})
	return found, err
}

// Passkeys implements [issue.Store].
func (s *Issuing) Passkeys(ctx context.Context, p issue.Person) (all []issue.Passkey, err error) {
	err = s.read(ctx, func(ctx context.Context, c *pgxpool.Conn) error {
		found, err := s.rows.passkeysAt(ctx, c.Query, s.rows.passkeyPlaces(p))
		all = nil
		for n := range issue.MaxPasskeys {
			if h, ok := found[n]; ok {
				all = append(all, issue.Passkey{ID: h.ID, Word: h.Word, Day: time.Unix(h.Day, 0).UTC()})
			}
		}
		return err
	})
	return all, err
}

// PasskeyOf implements [issue.Store]. At a glance: whoever it signs in leaves a row of a session,
// which a standby holds.
func (s *Issuing) PasskeyOf(ctx context.Context, id []byte) (p issue.Person, k issue.Passkey, there bool, err error) {
	err = s.glance(ctx, func(ctx context.Context, c *pgxpool.Conn) error {
		found, err := s.rows.passkeysAt(ctx, c.Query, [][]byte{s.rows.credentialPlace(id)})
		h, ok := found[0]
		if there = err == nil && ok; !there {
			return err
		}
		if h.Person == nil {
			return ErrDamaged
		}
		p, k = *h.Person, issue.Passkey{ID: id, User: h.User, Key: h.Key, Counter: h.Counter, Backup: h.Backup, ACR: h.ACR}
		return nil
	})
	return p, k, there, err
}

// AddPasskey implements [issue.Store].
func (s *Issuing) AddPasskey(ctx context.Context, p issue.Person, k issue.Passkey, t issue.Telling) (added, first bool, err error) {
	if !storable(k.Word) || len(k.Word) > issue.MaxWord {
		return false, false, ErrText
	}
	places, credential := s.rows.passkeyPlaces(p), s.rows.credentialPlace(k.ID)
	err = s.changePasskeys(ctx, p, func(ctx context.Context, tx pgx.Tx, doubt bool) error {
		var asked bool
		if err := tx.QueryRow(ctx, `SELECT EXISTS (SELECT FROM erasures WHERE label = $1)`, p.Label).Scan(&asked); err != nil {
			return refused(ctx, err)
		}
		found, err := s.rows.passkeysAt(ctx, tx.Query, append(places, credential))
		if err != nil {
			return refused(ctx, err)
		}
		if there, ok := found[len(places)]; ok { // by the attempt whose answer was lost, or by another
			added = doubt && there.Person != nil && *there.Person == p && bytes.Equal(there.Key, k.Key)
			first = added && len(found) == 2
			return nil
		}
		free := 0
		for _, ok := found[free]; ok; _, ok = found[free] {
			free++
		}
		switch {
		case asked:
			return issue.ErrErased
		case free >= issue.MaxPasskeys:
			return issue.ErrPasskeys
		}
		ofPerson, err := s.rows.lockJSON(places[free], hiddenPasskey{ID: k.ID, Word: k.Word, Day: k.Day.Unix()}, passkeyBlock)
		if err != nil {
			return err
		}
		ofCredential, err := s.rows.lockJSON(credential, hiddenPasskey{Person: &p, Number: free, User: k.User, Key: k.Key, Counter: k.Counter, Backup: k.Backup, ACR: k.ACR}, passkeyBlock)
		if err != nil {
			return err
		}
		tag, err := tx.Exec(ctx, `INSERT INTO passkeys (place, hidden) VALUES ($1, $2), ($3, $4) ON CONFLICT DO NOTHING`, places[free], ofPerson, credential, ofCredential)
		if added = err == nil && tag.RowsAffected() == 2; err == nil && !added {
			err = errTaken // somebody else adds the same one: that is rolled back
		}
		if !added {
			return refused(ctx, err)
		}
		if r, err := s.recoveryAt(ctx, tx, p); err != nil || !r.Began.IsZero() && !r.Over() {
			if err == nil {
				err = s.setRecovery(ctx, tx, p, r, r.Left(t.At))
			}
			if err != nil {
				return err
			}
		}
		if first = len(found) == 0; first {
			if err := s.endSessions(ctx, tx, p); err != nil {
				return err
			}
		}
		return s.tell(ctx, tx, p, t)
	})
	if err == errTaken { //nolint:errorlint // it is this very one
		err = nil
	}
	added = added && err == nil
	return added, added && first, err
}

var errTaken = ErrRefused.Because(&serverError{constraint: "passkeys_pkey"})

// changePasskeys does it in a transaction, of one person's one after the other.
func (s *Issuing) changePasskeys(ctx context.Context, p issue.Person, change func(ctx context.Context, tx pgx.Tx, doubt bool) error) error {
	return s.transact(ctx, func(ctx context.Context, tx pgx.Tx, doubt bool) error {
		if err := alone(ctx, tx, s.rows.passkeyPlace(p, 0)); err != nil {
			return err
		}
		return change(ctx, tx, doubt)
	})
}

// RenamePasskey implements [issue.Store].
func (s *Issuing) RenamePasskey(ctx context.Context, p issue.Person, id []byte, word string, t issue.Telling) error {
	if !storable(word) || len(word) > issue.MaxWord {
		return ErrText
	}
	places := s.rows.passkeyPlaces(p)
	return s.changePasskeys(ctx, p, func(ctx context.Context, tx pgx.Tx, _ bool) error {
		found, err := s.rows.passkeysAt(ctx, tx.Query, places)
		if err != nil {
			return refused(ctx, err)
		}
		for n, h := range found {
			if bytes.Equal(h.ID, id) {
				h.Word = word
				hidden, err := s.rows.lockJSON(places[n], h, passkeyBlock)
				if err != nil {
					return err
				}
				if _, err = tx.Exec(ctx, `UPDATE passkeys SET hidden = $2 WHERE place = $1`, places[n], hidden); err != nil {
					return refused(ctx, err)
				}
				return s.tell(ctx, tx, p, t)
			}
		}
		return issue.ErrNoPasskey
	})
}

// RemovePasskey implements [issue.Store].
func (s *Issuing) RemovePasskey(ctx context.Context, p issue.Person, id []byte, t issue.Telling) error {
	return s.changePasskeys(ctx, p, func(ctx context.Context, tx pgx.Tx, _ bool) error {
		gone, err := s.removePasskeys(ctx, tx, p, func(h hiddenPasskey) bool { return bytes.Equal(id, h.ID) })
		if err != nil || !gone {
			return err
		}
		if err := s.endSessions(ctx, tx, p); err != nil {
			return err
		}
		return s.tell(ctx, tx, p, t)
	})
}

// RemovePasskeys implements [issue.Store].
func (s *Issuing) RemovePasskeys(ctx context.Context, p issue.Person) error {
	return s.changePasskeys(ctx, p, func(ctx context.Context, tx pgx.Tx, _ bool) error {
		_, err := s.removePasskeys(ctx, tx, p, func(hiddenPasskey) bool { return true })
		return err
	})
}

// removePasskeys removes some of p's, and reports whether there were any. What a passkey counted
// stays until it expires: to delete it together would tell which uses were one person's.
func (s *Issuing) removePasskeys(ctx context.Context, tx pgx.Tx, p issue.Person, which func(hiddenPasskey) bool) (removed bool, err error) {
	places := s.rows.passkeyPlaces(p)
	found, err := s.rows.passkeysAt(ctx, tx.Query, places)
	if err != nil {
		return false, refused(ctx, err)
	}
	var gone [][]byte
	for n, h := range found {
		if which(h) {
			gone = append(gone, places[n], s.rows.credentialPlace(h.ID))
		}
	}
	if len(gone) > 0 {
		_, err = tx.Exec(ctx, `DELETE FROM passkeys WHERE place = ANY ($1::bytea[])`, gone)
	}
	if err == nil && len(gone) == 2*len(found) { // nothing is left that would have to be recovered
		_, err = tx.Exec(ctx, `DELETE FROM sessions WHERE handle = $1`, s.rows.recoveryPlace(p))
	}
	return len(gone) > 0, refused(ctx, err)
}

// countPlace is the row of the n-th use of a passkey in a year, from 1 on.
func (k rowKey) countPlace(id []byte, year, n int) []byte {
	return k.handle("passkey used", id, number(int64(year)), number(int64(n)))
}

// CountPasskey implements [issue.Store].
func (s *Issuing) CountPasskey(ctx context.Context, id []byte, since, now uint32, day time.Time) (rises bool, err error) {
	year := day.UTC().Year()
	if now == 0 { // it does not count; or it did, and then its first use of a year is there
		found, err := s.sessionsAt(ctx, [][]byte{s.rows.countPlace(id, year-1, 1), s.rows.countPlace(id, year, 1)})
		return err == nil && since == 0 && len(found) == 0, err
	}
	for {
		n, last, err := s.lastCount(ctx, id, year)
		if err == nil && n == 0 { // else it is higher than what was before it
			_, last, err = s.lastCount(ctx, id, year-1)
		}
		if err == nil && now <= max(since, last) { // nobody is told that a passkey may be copied because of a use that a failover undoes
			err = s.confirm(ctx, "")
		}
		if err != nil || now <= max(since, last) {
			return false, err
		}
		at, mine := s.rows.countPlace(id, year, n+1), false
		hidden := s.rows.lock(at, binary.BigEndian.AppendUint32(nil, now), sessionBlock)
		if err := s.settle(ctx, func(ctx context.Context, _ bool) error {
			stored, err := s.exec(ctx, `INSERT INTO sessions (handle, hidden, expires) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING`, at, hidden, time.Date(year+2, 1, 1, 0, 0, 0, 0, time.UTC))
			if mine = stored == 1; err != nil || mine {
				return err
			}
			there, err := s.sessionsAt(ctx, [][]byte{at})
			mine = err == nil && bytes.Equal(there[0], hidden)
			return err
		}); err != nil || mine {
			return mine, err
		}
	}
}

// countsAtOnce is how many rows are looked at in a step of the search: two steps find the
// last of a thousand.
const countsAtOnce = 32

// lastCount returns how often a passkey was used in a year, and what it counted last. Its uses
// are numbered without a gap: the last is between a number that is there and one that is not.
func (s *Issuing) lastCount(ctx context.Context, id []byte, year int) (n int, counter uint32, err error) {
	low, high, hidden := 0, 1<<countsAtOnce, []byte(nil) // low is there, high is not
	for first := true; high-low > 1; first = false {
		var numbers []int
		var handles [][]byte
		for i := range countsAtOnce {
			at := 1 << i
			if !first {
				at = low + (i+1)*max(1, (high-low)/(countsAtOnce+1))
			}
			if at < high {
				numbers, handles = append(numbers, at), append(handles, s.rows.countPlace(id, year, at))
			}
		}
		found, err := s.sessionsAt(ctx, handles)
		if err != nil {
			return 0, 0, err
		}
		for i, at := range numbers {
			b, ok := found[i]
			if !ok {
				high = at
				break
			}
			low, hidden = at, b
		}
	}
	if low == 0 {
		return 0, 0, nil
	}
	b, err := s.rows.unlock(s.rows.countPlace(id, year, low), hidden)
	if err != nil || len(b) != 4 {
		return 0, 0, ErrDamaged
	}
	return low, binary.BigEndian.Uint32(b), nil
}

// recoveryPlace is the row of a recovery, among those of sessions.
func (k rowKey) recoveryPlace(p issue.Person) []byte {
	return k.handle("recovery", p.ID[:], []byte(p.Label))
}

// lockRecovery hides the seconds of its moments, of the beginning and of the last use, if there
// was one, and in which browser that was.
func (k rowKey) lockRecovery(handle []byte, r issue.Recovery) []byte {
	b := number(r.Began.Unix())
	if !r.Used.IsZero() {
		b = slices.Concat(b, number(r.Used.Unix()), r.By[:])
	}
	return k.lock(handle, b, sessionBlock)
}

func (k rowKey) unlockRecovery(handle, hidden []byte) (r issue.Recovery, err error) {
	b, err := k.unlock(handle, hidden)
	if err != nil || len(b) != 8 && len(b) != 16 && len(b) != 32 { // 16: before browsers were told apart
		return r, ErrDamaged
	}
	r.Began = time.Unix(int64(binary.BigEndian.Uint64(b)), 0).UTC()
	if len(b) > 8 {
		r.Used = time.Unix(int64(binary.BigEndian.Uint64(b[8:])), 0).UTC()
		copy(r.By[:], b[16:])
	}
	return r, nil
}

// recoveryKept is how long the row of a recovery is kept, from the midnight before it on.
// It was used then, if ever, at the latest half a day before.
const recoveryKept = 12 * 24 * time.Hour

// BeginRecovery implements [issue.Store]. A second is the finest that is stored, and sealed.
func (s *Issuing) BeginRecovery(ctx context.Context, p issue.Person, t issue.Telling) (r issue.Recovery, err error) {
	now := t.At.UTC().Truncate(time.Second)
	err = s.changePasskeys(ctx, p, func(ctx context.Context, tx pgx.Tx, _ bool) error {
		before, err := s.recoveryAt(ctx, tx, p)
		if r = before; err != nil || r.Stands(now) {
			return err
		}
		r = before.Next(now)
		if err := s.setRecovery(ctx, tx, p, before, r); err != nil {
			return err
		}
		return s.tell(ctx, tx, p, t)
	})
	return r, err
}

// recoveryAt is p's, the zero value if there is none.
func (s *Issuing) recoveryAt(ctx context.Context, tx pgx.Tx, p issue.Person) (r issue.Recovery, err error) {
	handle := s.rows.recoveryPlace(p)
	rows, err := tx.Query(ctx, `SELECT hidden FROM sessions WHERE handle = $1`, handle)
	if err != nil {
		return r, refused(ctx, err)
	}
	all, err := pgx.CollectRows(rows, pgx.RowTo[[]byte])
	if err != nil || len(all) == 0 {
		return r, refused(ctx, err)
	}
	return s.rows.unlockRecovery(handle, all[0])
}

// setRecovery puts one in the place of another; either may be none.
func (s *Issuing) setRecovery(ctx context.Context, tx pgx.Tx, p issue.Person, was, now issue.Recovery) error {
	handle, b := s.rows.recoveryPlace(p), &pgx.Batch{}
	if !was.Began.IsZero() {
		b.Queue(`DELETE FROM sessions WHERE handle = $1`, handle)
	}
	if !now.Began.IsZero() {
		b.Queue(`INSERT INTO sessions (handle, hidden, expires) VALUES ($1, $2, $3)`, handle, s.rows.lockRecovery(handle, now), now.Began.Truncate(24*time.Hour).Add(recoveryKept))
	}
	return refused(ctx, tx.SendBatch(ctx, b).Close())
}

// UseRecovery implements [issue.Store].
func (s *Issuing) UseRecovery(ctx context.Context, p issue.Person, t issue.Telling, in ...issue.Browser) (at time.Time, used bool, err error) {
	now := t.At.UTC().Truncate(time.Second)
	err = s.changePasskeys(ctx, p, func(ctx context.Context, tx pgx.Tx, _ bool) error {
		was, err := s.recoveryAt(ctx, tx, p)
		again := err == nil && was.Again(now, in...)
		if used = err == nil && (again || was.Open(now)); !used || again {
			at = was.Used
			return err
		}
		at = now
		if err := s.setRecovery(ctx, tx, p, was, issue.Recovery{Began: was.Began, Used: now, By: in[0]}); err != nil {
			return err
		}
		return s.tell(ctx, tx, p, t)
	})
	return at, used && err == nil, err
}

// Recovery implements [issue.Store].
func (s *Issuing) Recovery(ctx context.Context, p issue.Person) (r issue.Recovery, err error) {
	handle := s.rows.recoveryPlace(p)
	found, err := s.sessionsAt(ctx, [][]byte{handle})
	if hidden, ok := found[0]; err == nil && ok {
		r, err = s.rows.unlockRecovery(handle, hidden)
	}
	return r, err
}

// EndRecovery implements [issue.Store].
func (s *Issuing) EndRecovery(ctx context.Context, p issue.Person, t issue.Telling) (r issue.Recovery, err error) {
	err = s.changePasskeys(ctx, p, func(ctx context.Context, tx pgx.Tx, doubt bool) error {
		there, err := s.recoveryAt(ctx, tx, p)
		if err != nil || there.Began.IsZero() {
			return err // r is what an attempt ended whose answer was lost
		}
		r = there
		if err := s.setRecovery(ctx, tx, p, r, issue.Recovery{}); err != nil {
			return err
		}
		if err := s.endSessions(ctx, tx, p); err != nil {
			return err
		}
		return s.tell(ctx, tx, p, t)
	})
	return r, err
}

// tell notes a change of p's in its transaction, and puts the mail about it into the outbox.
func (s *Issuing) tell(ctx context.Context, tx pgx.Tx, p issue.Person, t issue.Telling) error {
	if t.Mail != "" && t.To.Confirmed != "" {
		b, err := s.rows.mailsAbout(nil, t.At, t.To.Language, []issue.Told{{Kind: t.Mail, To: t.To.Confirmed}})
		if err != nil {
			return err
		}
		if err := tx.SendBatch(ctx, b).Close(); err != nil {
			return refused(ctx, err)
		}
	}
	return s.noteChange(ctx, tx, p, t.Change)
}
