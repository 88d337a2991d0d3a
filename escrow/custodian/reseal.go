package custodian

import (
	"bytes"
	"encoding/hex"
	"errors"
	"io"
	"time"

	"github.com/penname/penname/escrow/exhibit"
	"github.com/penname/penname/policy"
	"github.com/penname/penname/verifier/opening"
)

// FetchCopy fetches a copy (exhibit.Reseal) of the exhibit with that SHA-256, to that
// recipient. Its errors are as those of exhibit.Fetch.
type FetchCopy = func(digest [32]byte, recipient string) (copied []byte, err error)

// PutCopy stores one.
type PutCopy = func(digest [32]byte, recipient string, copied []byte) error

// Resealed is what a custodian encrypted again.
type Resealed struct {
	Case       string   `json:"case"`
	Custodians []string `json:"custodians"` // ids of those for whom
	Exhibits   int      `json:"exhibits"`   // how many each of them has now
	Refused    []string `json:"refused"`    // by target, code of its first exhibit that is not as declared, or ""
}

// Reseal reads the exhibits of a case, compares them with its evidence and encrypts what
// matches to each custodian in force who was none when the case was filed; put takes the
// signed copies, and what it takes twice is its own affair. Nothing is decided or kept. The
// case is checked as in [Custodian.Review], whose refusals are returned; who signs must be in
// force, or it is [ErrNotInForce]. The other errors are [ErrNoExhibitKey] and those
// of put, of fetch and of copies.
func (c *Custodian) Reseal(id string, f opening.CaseFile, since []*policy.Bundle, at time.Time, fetch exhibit.Fetch, copies FetchCopy, put PutCopy) (done Resealed, err error) {
	r, err := c.resealable(id, f, since, at)
	if err != nil {
		return done, err
	}
	return c.reseal(r, fetch, copies, put)
}

// Newcomers are the ids of those for whom [Custodian.Reseal] would encrypt. It checks the case as
// that does.
func (c *Custodian) Newcomers(id string, f opening.CaseFile, since []*policy.Bundle, at time.Time) (ids []string, err error) {
	r, err := c.resealable(id, f, since, at)
	if err != nil {
		return nil, err
	}
	ids, _, err = c.newcomers(r)
	return ids, err
}

func (c *Custodian) resealable(id string, f opening.CaseFile, since []*policy.Bundle, at time.Time) (*Review, error) {
	r, err := c.check(id, f, since, at)
	if err == nil {
		err = r.failed
	}
	return r, err
}

func (c *Custodian) reseal(r *Review, fetch exhibit.Fetch, copies FetchCopy, put PutCopy) (done Resealed, err error) {
	ids, to, err := c.newcomers(r)
	if err != nil {
		return done, err
	}
	done = Resealed{Case: r.Case, Custodians: ids, Refused: []string{}}
	if len(to) == 0 {
		return done, nil
	}
	read, err := c.reader(r, fetch, copies)
	if err != nil {
		return done, err
	}
	read.Save = func(x exhibit.Declared, content []byte) error {
		done.Exhibits++
		for _, recipient := range to {
			copied, err := exhibit.Reseal(c.key, exhibit.Copy{Bundle: r.inForce().Hash(), Case: r.Case, Custodian: c.ID, Exhibit: x.Name(), Recipient: recipient}, content)
			if err != nil {
				return err
			}
			if err := put(x.Digest, recipient, copied); err != nil {
				return err
			}
		}
		return nil
	}
	refused, err := read.Targets(r.published())
	for _, said := range refused {
		code := ""
		if said != nil {
			code = said.Code
		}
		done.Refused = append(done.Refused, code)
	}
	return done, err
}

// reader reads what was published with the key of the folder: what was filed, or else the
// copy that a custodian made for it.
func (c *Custodian) reader(r *Review, fetch exhibit.Fetch, copies FetchCopy) (read exhibit.Reader, err error) {
	if read.Identity, err = c.exhibitIdentity(); err != nil {
		return read, err
	}
	read.Fetch = fetch
	read.Copy = func(digest [32]byte) (io.ReadCloser, error) {
		recipient, err := recipientOf(read.Identity)
		if err != nil {
			return nil, err
		}
		copied, err := copies(digest, recipient)
		if errors.Is(err, exhibit.ErrMissing) {
			err = exhibit.ErrNotForThisKey.Because(err)
		}
		if err != nil {
			return nil, err
		}
		about, sealed, err := exhibit.VerifyCopy(copied, r.since...)
		if err == nil && (about.Case != r.Case || about.Exhibit != hex.EncodeToString(digest[:]) || about.Recipient != recipient) {
			err = exhibit.ErrCopy
		}
		return io.NopCloser(bytes.NewReader(sealed)), err
	}
	return read, nil
}
