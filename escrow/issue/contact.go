package issue

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"errors"
	"fmt"
	"math/big"
	"strings"
	"time"

	"github.com/penname/penname/escrow/mail"
	"github.com/penname/penname/verifier/refusal"
)

// A person may give an address, to be told there that something waits on their page. It is no
// part of the sealed record: the operator can read it, and so could tell by it, with the keys
// of both sides, whose a pen name is. It counts once the person has typed the code that was
// sent to it.

// What refuses an address, or a code for one.
var (
	errCodes = refusal.New(refusal.NotYet, "contact.too_many_codes",
		"three codes were sent today, and no more are, so that nobody is flooded: use the last one, or come back tomorrow")
	ErrCodeWrong = refusal.New(refusal.Invalid, "contact.wrong_code",
		"that is not the code: type the eight digits that were sent last, with or without a space")
	ErrCodeOver = refusal.New(refusal.Conflict, "contact.code_over",
		"no code is waited for: it is older than an hour, was wrong five times, or was used; enter the address again for a new one")
	errContactBusy = refusal.New(refusal.Conflict, "contact.changed_meanwhile",
		"your address was changed at the same moment, in another window or by a deletion: look at your page")
)

// OfContact reports whether an error is about an address or a code as it was typed, and the
// person can mend it at once.
func OfContact(err error) bool {
	return errors.Is(err, mail.ErrAddress) || errors.Is(err, errCodes) || errors.Is(err, ErrCodeWrong) || errors.Is(err, ErrCodeOver)
}

// Bounds of the codes.
const (
	codesADay   = 3
	wrongCodes  = 5
	codeIsGood  = time.Hour
	codeNumbers = 100_000_000 // eight digits
)

// Contact is where a person wants to be told that something waits. The zero Contact is of
// somebody who gave no address.
type Contact struct {
	Confirmed mail.Address
	Refused   bool   // the mail server refused mail to it for good
	Language  string // in which the person is written to, BCP 47; "": English

	Pending mail.Address // was entered, and is not confirmed
	Code    string       // that was sent to it
	Until   time.Time    // for which it is good
	Wrong   int          // codes that were typed

	Day  time.Time // on which the last code was sent
	Sent int       // on that day
}

// Waits reports whether a code may still be typed at now.
func (c Contact) Waits(now time.Time) bool {
	return c.Pending != "" && c.Wrong < wrongCodes && now.Before(c.Until)
}

// Told is a mail that a change of a contact causes.
type Told struct {
	Kind mail.Kind
	To   mail.Address // "": the pending one
}

// EnterAddress sends a code to an address that p typed, who reads a language. The confirmed one
// counts until the code is typed. It is mail.ErrAddress if it is none.
func (s *Issuer) EnterAddress(ctx context.Context, p Person, text, language string) error {
	address, err := mail.ParseAddress(text)
	if err != nil {
		return err
	}
	return s.changeContact(ctx, p, func(c *Contact, now time.Time) ([]Told, error) {
		if !c.Day.Equal(day(now)) {
			c.Day, c.Sent = day(now), 0
		}
		if c.Sent >= codesADay {
			return nil, errCodes
		}
		n, err := rand.Int(rand.Reader, big.NewInt(codeNumbers))
		if err != nil {
			return nil, err
		}
		c.Pending, c.Code, c.Until, c.Wrong = address, fmt.Sprintf("%0*d", mail.CodeDigits, n), now.Add(codeIsGood).UTC().Truncate(time.Second), 0
		c.Sent++
		c.Language = language
		return []Told{{Kind: mail.Confirm}}, nil
	})
}

// ConfirmAddress confirms the address that p entered last, by the code that was sent to it.
// Whoever had another one is told there that it is written to no more.
func (s *Issuer) ConfirmAddress(ctx context.Context, p Person, code string) error {
	code = strings.ReplaceAll(strings.TrimSpace(code), " ", "")
	wrong := false
	err := s.changeContact(ctx, p, func(c *Contact, now time.Time) (told []Told, err error) {
		if !c.Waits(now) {
			return nil, ErrCodeOver
		}
		if wrong = subtle.ConstantTimeCompare([]byte(code), []byte(c.Code)) == 0; wrong {
			c.Wrong++
			return nil, nil
		}
		if c.Confirmed != "" && c.Confirmed != c.Pending {
			told = []Told{{mail.Changed, c.Confirmed}}
		}
		*c = Contact{Confirmed: c.Pending, Language: c.Language, Day: c.Day, Sent: c.Sent}
		return told, nil
	})
	if err == nil && wrong {
		err = ErrCodeWrong
	}
	return err
}

// RemoveAddress forgets p's address, and tells it so. How many codes were sent today stays.
func (s *Issuer) RemoveAddress(ctx context.Context, p Person) error {
	return s.changeContact(ctx, p, func(c *Contact, _ time.Time) (told []Told, err error) {
		if c.Confirmed != "" {
			told = []Told{{mail.Changed, c.Confirmed}}
		}
		*c = Contact{Day: c.Day, Sent: c.Sent}
		return told, nil
	})
}

// changeContact stores what change makes of p's contact, with the mails that it causes, in
// one transaction. If another change comes between, it is made again on what that left.
func (s *Issuer) changeContact(ctx context.Context, p Person, change func(c *Contact, now time.Time) ([]Told, error)) error {
	for range 8 {
		was, err := s.Store.Contact(ctx, p)
		if err != nil {
			return err
		}
		now := was
		told, err := change(&now, s.Now())
		if err != nil || now == was {
			return err
		}
		if done, err := s.Store.SetContact(ctx, p, was, now, s.Now(), told...); done || err != nil {
			return err
		}
	}
	return errContactBusy
}

// forgetContact deletes what is stored of p's address, once their erasure was asked for.
func (s *Issuer) forgetContact(ctx context.Context, p Person) error {
	for range 8 {
		was, err := s.Store.Contact(ctx, p)
		if err != nil || was == (Contact{}) {
			return err
		}
		if done, err := s.Store.SetContact(ctx, p, was, Contact{}, s.Now()); done || err != nil {
			return err
		}
	}
	return errContactBusy
}
