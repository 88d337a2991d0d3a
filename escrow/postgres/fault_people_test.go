package postgres

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/penname/penname/escrow/disclose/disclosetest"
	"github.com/penname/penname/escrow/issue"
	"github.com/penname/penname/escrow/mail"
)

// errNotNow is of a write that reports that it did nothing.
var errNotNow = errors.New("nothing was done")

// did is the error of a write that reports whether it did something.
func did(done bool, err error) error {
	if err == nil && !done {
		return errNotNow
	}
	return err
}

// mails checks that the outbox grew by min to max since now.
func (w allWrites) mails(least, most int) func(t *testing.T) {
	const count = `SELECT count(*) FROM mails`
	before := value[int](w.T, w.admin, count)
	return func(t *testing.T) {
		t.Helper()
		if n := value[int](t, w.admin, count) - before; n < least || n > most {
			t.Errorf("%d mails, not %d to %d", n, least, most)
		}
	}
}

// tellingJo is telling with a mail.
var tellingJo = issue.Telling{At: day, Change: issue.Change{Day: day, Kind: issue.ChangeRecovered}, Mail: mail.Keys, To: issue.Contact{Confirmed: "jo@example.org", Language: "cy"}}

// ends checks that p's sessions of now have ended.
func (w allWrites) ends(p issue.Person) func(t *testing.T) {
	session, err := w.s.BeginSession(context.Background(), p, issue.NewSession("", day))
	w.must(err)
	return func(t *testing.T) {
		t.Helper()
		live, _, err := w.s.Live(context.Background(), p, session)
		w.must(err)
		is(t, "live", live, false)
	}
}

// ofPasskeys are the writes of passkeys.
func (w allWrites) ofPasskeys() map[string]func() write {
	s, ctx, must := w.s, context.Background(), w.must
	keys := func(t *testing.T, p issue.Person, words ...string) {
		t.Helper()
		all, err := s.Passkeys(ctx, p)
		must(err)
		is(t, "passkeys", len(all), len(words))
		for i := range min(len(all), len(words)) {
			is(t, "word", all[i].Word, words[i])
		}
	}
	noted := func(t *testing.T, p issue.Person, n int) {
		t.Helper()
		all, err := s.Changes(ctx, p, day.AddDate(0, 0, 1))
		must(err)
		is(t, "noted", len(all), n)
	}
	added := func(words ...string) (p issue.Person, all []issue.Passkey) {
		p = person()
		for _, word := range words {
			k := passkeyOf(word)
			_, err := adds(s, p, k)
			must(err)
			all = append(all, k)
		}
		return p, all
	}
	return map[string]func() write{
		"AddPasskey": func() write {
			p, k, mailed := person(), passkeyOf("phone"), w.mails(1, 1)
			ended := w.ends(p)
			return write{
				try: func(ctx context.Context) error {
					added, _, err := s.AddPasskey(ctx, p, k, tellingJo)
					return did(added, err)
				},
				once: func(t *testing.T) {
					keys(t, p, "phone")
					mailed(t)
					ended(t)
				},
			}
		},
		"RenamePasskey": func() write {
			p, all := added("phone", "key")
			return write{
				try: func(ctx context.Context) error {
					return s.RenamePasskey(ctx, p, all[1].ID, "stick", telling(day.AddDate(0, 0, 1)))
				},
				once: func(t *testing.T) {
					keys(t, p, "phone", "stick")
					noted(t, p, 2)
				},
			}
		},
		"RemovePasskey": func() write {
			p, all := added("phone", "key")
			mailed, ended := w.mails(1, 1), w.ends(p)
			return write{
				try: func(ctx context.Context) error { return s.RemovePasskey(ctx, p, all[0].ID, tellingJo) },
				once: func(t *testing.T) {
					keys(t, p, "key")
					mailed(t)
					ended(t)
				},
			}
		},
		"RemovePasskeys": func() write {
			p, _ := added("phone", "key")
			return write{
				try:  func(ctx context.Context) error { return s.RemovePasskeys(ctx, p) },
				once: func(t *testing.T) { keys(t, p) },
			}
		},
		"CountPasskey": func() write {
			id := random(32)
			return write{
				try: func(ctx context.Context) error { return did(s.CountPasskey(ctx, id, 0, 7, day)) },
				once: func(t *testing.T) {
					n, counter, err := s.lastCount(ctx, id, day.Year())
					must(err)
					is(t, "uses", n, 1)
					is(t, "counter", counter, uint32(7))
				},
			}
		},
	}
}

// ofRecoveries are the writes of a sign-in without the passkeys.
func (w allWrites) ofRecoveries() map[string]func() write {
	s, ctx, must := w.s, context.Background(), w.must
	recovering := func() issue.Person {
		p := person()
		_, err := s.BeginRecovery(ctx, p, telling(day))
		must(err)
		return p
	}
	recovery := func(t *testing.T, p issue.Person, want issue.Recovery) {
		t.Helper()
		got, err := s.Recovery(ctx, p)
		must(err)
		is(t, "recovery", got, want)
	}
	return map[string]func() write{
		"BeginRecovery": func() write {
			p, mailed := person(), w.mails(1, 1)
			return write{
				try: func(ctx context.Context) error { _, err := s.BeginRecovery(ctx, p, tellingJo); return err },
				once: func(t *testing.T) {
					recovery(t, p, issue.Recovery{Began: day})
					mailed(t)
				},
			}
		},
		// Who lost the answer gets in by it once more.
		"UseRecovery": func() write {
			p, mailed, uses := recovering(), w.mails(1, 1), tellingJo
			uses.At = day.Add(issue.RecoveryWait)
			return write{
				try: func(ctx context.Context) error {
					_, used, err := s.UseRecovery(ctx, p, uses, issue.Browser{1})
					return did(used, err)
				},
				once: func(t *testing.T) {
					recovery(t, p, issue.Recovery{Began: day, Used: uses.At, By: issue.Browser{1}})
					mailed(t)
				},
			}
		},
		"EndRecovery": func() write {
			p := recovering()
			mailed, ended := w.mails(1, 1), w.ends(p)
			return write{
				try: func(ctx context.Context) error { _, err := s.EndRecovery(ctx, p, tellingJo); return err },
				once: func(t *testing.T) {
					recovery(t, p, issue.Recovery{})
					mailed(t)
					ended(t)
				},
			}
		},
	}
}

// ofAccounts are the writes of an address, of claims, of notes, and of those who are held or leave.
func (w allWrites) ofAccounts() map[string]func() write {
	s, ctx, must := w.s, context.Background(), w.must
	return map[string]func() write{
		"SetContact": func() write {
			p, now, mailed := person(), issue.Contact{Confirmed: "jo@example.org", Language: "cy"}, w.mails(1, 1)
			return write{
				try: func(ctx context.Context) error {
					return did(s.SetContact(ctx, p, issue.Contact{}, now, day, issue.Told{Kind: mail.Confirm}))
				},
				once: func(t *testing.T) {
					got, err := s.Contact(ctx, p)
					must(err)
					is(t, "contact", got, now)
					mailed(t)
				},
			}
		},
		"TakeClaims": func() write {
			p, taken := person(), issue.Taken{Now: random(100), Until: day.AddDate(1, 0, 0), Up: [][]byte{random(32)}}
			return write{
				try: func(ctx context.Context) error { return did(s.TakeClaims(ctx, p, taken)) },
				once: func(t *testing.T) {
					got, err := s.Claims(ctx, p)
					must(err)
					is(t, "claims", got, taken.Now)
					n, err := s.Sharing(ctx, taken.Up[0])
					must(err)
					is(t, "sharing", n, int64(1))
				},
			}
		},
		"TellClaims": func() write {
			told := []issue.ToldClaim{{Place: random(32), Value: random(16)}}
			return write{
				try: func(ctx context.Context) error { return s.TellClaims(ctx, told, day) },
				once: func(t *testing.T) {
					got, err := s.ToldClaims(ctx, [][]byte{told[0].Place})
					must(err)
					is(t, "told", got[0], told[0].Value)
				},
			}
		},
		"Note": func() write {
			n := issue.Note{Kind: issue.NoteAlias, Name: pseudonym(w.T), Text: []byte("work"), Day: day}
			return write{
				try: func(ctx context.Context) error { return s.Note(ctx, n) },
				once: func(t *testing.T) {
					all, err := s.Noted(ctx, n.Name)
					must(err)
					is(t, "note", string(all[0][n.Kind]), "work")
				},
			}
		},
		"Ask": func() write {
			e := enrolment()
			_, _, err := s.Enrol(ctx, e)
			must(err)
			r := issue.Receipt{Label: e.Person.Label, Salt: [32]byte(random(32)), Day: day}
			return write{
				try: func(ctx context.Context) error {
					got, err := s.Ask(ctx, r)
					if err == nil && got.Salt != r.Salt {
						err = errors.New("another receipt")
					}
					return err
				},
				once: func(t *testing.T) {
					asked, err := s.Asked(ctx, r.Label)
					must(err)
					is(t, "asked", asked, true)
				},
			}
		},
		"Hold": func() write {
			h := issue.Hold{Reference: reference(), Mark: random(32), Whose: random(32), Day: day}
			return write{
				try: func(ctx context.Context) error { _, err := s.Hold(ctx, h); return err },
				once: func(t *testing.T) {
					got, err := s.Review(ctx, h.Mark)
					must(err)
					is(t, "reference", got.Reference, h.Reference)
				},
			}
		},
		"Object": func() write {
			id, whose := reference(), random(32)
			sql(w.T, w.admin, fmt.Sprintf(`SET session_replication_role = replica; INSERT INTO penname.reviews (id, mark, whose, account, several, state, due, day)
				VALUES ('%s', sha256('%[1]s'), '\x%x', false, false, 'waiting', '2026-12-06', '2026-11-28')`, id, whose))
			return write{
				try: func(ctx context.Context) error { return s.Object(ctx, whose, id) },
				once: func(t *testing.T) {
					all, err := s.Acceptances(ctx, whose)
					must(err)
					is(t, "acceptances", len(all), 0)
				},
			}
		},
	}
}

// reference is one of a review.
func reference() string {
	return strings.Map(func(r rune) rune { return 'a' + r%16 }, fmt.Sprintf("%x", random(6)))
}

// ofNotices are what a person does about an order of which they are told first.
func (w allWrites) ofNotices() map[string]func() write {
	t, s, d, ctx, must := w.T, w.s, w.d, context.Background(), w.must
	told := func() issue.Notice {
		c, leaf := disclosetest.FirstOrder(t, 2)
		underCurrent(t, d, &c, &leaf)
		c, err := d.Cases.File(ctx, c, leaf)
		must(err)
		return noticeOf(apply(t, d, c.ID, disclosetest.Shows), 0)
	}
	return map[string]func() write{
		"ObjectTo": func() write {
			n, sealed := told(), random(32)
			return write{
				try: func(ctx context.Context) error { return s.ObjectTo(ctx, n, sealed, disclosetest.Day) },
				once: func(t *testing.T) {
					is(t, "objections", value[int](t, w.admin, `SELECT count(*) FROM objections WHERE sealed = $1`, sealed), 1)
				},
			}
		},
		"MakeCode": func() write {
			n, hash := told(), [32]byte(random(32))
			return write{
				try: func(ctx context.Context) error { return s.MakeCode(ctx, n, hash, disclosetest.Day) },
				once: func(t *testing.T) {
					_, err := d.Cases.Coded(ctx, hash, disclosetest.Day.Add(time.Hour))
					must(err)
				},
			}
		},
	}
}
