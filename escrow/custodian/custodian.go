// Package custodian is what a custodian of the threshold key does on their own
// machine. It trusts the registrar for nothing.
//
//	Home           where a custodian's folder is, and how to open it
//	Custodian      the folder, unlocked
//	Follow         which rules are in force, from the public log itself
//	Review         a case, checked: the rules, the public log, the sealed records;
//	               what was shown is kept, and nothing else is signed
//	Approve        one share for each target, encrypted to the requester, signed
//	Decline        a signed refusal
//	Endorse        a bundle of rules, with where its key comes from
//	Participation  a seat in a ceremony that makes or moves the key
//	Witness        the folder's cosigning witness
//
// The folder is a directory of mode 0700:
//
//	custodian.json  who they are, and the bundle from which they follow the log
//	bundle.json     that bundle: at first one that they endorsed, then the one
//	                that the public log showed to be in force
//	identity.age    opens the other secrets; itself encrypted with the passphrase
//	signing.jwk     signs approvals, endorsements and messages of ceremonies
//	share.key       their share of the threshold key; share.key.epoch-N an
//	                older one, until a bundle with the newer key is in force
//	ceremony.key    for the next ceremony; destroyed when its share is safe
//	exhibits.key    opens what posts showed, the exhibits of a case
//	ceremony-….state, transcript-….json  what was said in a ceremony
//	review-…        what was shown of a case; decision-… what they signed in it; briefs.age
//	                what later reviews need of it. All go a year after the warrant expired
//	followed        how far the public log was read
//	witness.key     cosigns checkpoints, with witness.json and witness-state
//	desk.lock       held while a desk is open; empty
//
// A crash at any point leaves a folder that opens, with a share of the key that
// is in force; running the same thing again finishes it.
package custodian

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/go-jose/go-jose/v4"

	"github.com/penname/penname/escrow/seal/threshold"
	"github.com/penname/penname/escrow/secretfile"
	"github.com/penname/penname/escrow/witness"
	"github.com/penname/penname/policy"
	"github.com/penname/penname/verifier/document"
	"github.com/penname/penname/verifier/refusal"
)

// Why a folder is not opened or made.
var (
	ErrHome = refusal.New(refusal.Invalid, "custodian.bad_home",
		"the custodian's folder is not there or incomplete: make one with escrow custodian init")
	ErrOpenHome = refusal.New(refusal.Denied, "custodian.home_open",
		"the custodian's folder can be looked into by other users: chmod 700 it, and replace the keys if they may have leaked")
	ErrPassphrase = refusal.New(refusal.Unauthenticated, "custodian.wrong_passphrase",
		"the passphrase does not open this folder, or identity.age was changed: nothing was done, try again")
	ErrNoPassphrase = refusal.New(refusal.Invalid, "custodian.no_passphrase",
		"no passphrase was given: type it when a terminal asks for it, or name a file (mode 0600) with --passphrase-file")
	ErrPassphraseText = refusal.New(refusal.Invalid, "custodian.passphrase_text",
		"the passphrase has a character in it that is no text, such as a tab or another control character: nothing was made, take letters, digits, signs and spaces")
	ErrWeakPassphrase = refusal.New(refusal.Invalid, "custodian.weak_passphrase",
		"the passphrase has fewer than 12 characters: take several random words")
	ErrHeld = refusal.New(refusal.Conflict, "custodian.desk_open",
		"another desk is open on this folder, or this system cannot tell: use that one, or end it with Ctrl-C where it was started")
	ErrSecret = refusal.New(refusal.Invalid, "custodian.bad_secret",
		"a secret file does not open with this folder's identity: it was changed or is of another folder; restore it from its backup")
	ErrNoShare = refusal.New(refusal.NotFound, "custodian.no_share",
		"the folder holds no share of the custodians' key: take part in a ceremony first")
	ErrOtherBundle = refusal.New(refusal.Denied, "custodian.other_bundle",
		"the case was decided under rules that the public log does not show to be or to have been in force: do not approve, and tell the other custodians")
	ErrNoExhibitKey = refusal.New(refusal.NotFound, "custodian.no_exhibit_key",
		"the folder is older than exhibits and has no key for them: run escrow custodian card, and give the card to the operator for the next rules")
	ErrNotInForce = refusal.New(refusal.Denied, "custodian.not_in_force",
		"you are not a custodian of the rules in force: who signs must be, whatever the rules of the case's day say")
	ErrNoRules = refusal.New(refusal.NotFound, "custodian.no_rules",
		"the folder holds no bundle to begin with: endorse the first one, or the one in force, which the operator gives you; who takes a share with escrow custodian receive begins with --bundle and the one in force")
)

// MinPassphrase is how long a passphrase has to be, in bytes. scrypt makes each
// guess cost a second; a passphrase of one word still falls.
const MinPassphrase = 12

// DefaultWorkFactor is scrypt's cost as a power of two: about a second a guess.
// MaxWorkFactor is what age still opens.
const (
	DefaultWorkFactor = 18
	MaxWorkFactor     = 22
)

// Passphrase returns the passphrase of the folder dir, or, if fresh, a new one
// for it, which a person types twice. The caller wipes it.
type Passphrase func(ctx context.Context, dir string, fresh bool) ([]byte, error)

// PassphraseFile reads the passphrase from a file that only its owner can read.
// A line break at its end is not part of it, nor how the file spells it: see
// document.Passphrase. Never take one from the command line
// or the environment, which other processes can read.
func PassphraseFile(name string) Passphrase {
	return func(context.Context, string, bool) ([]byte, error) {
		pass, err := secretfile.Read(name)
		return pass, err
	}
}

// Home is where a custodian's folder is and how it is opened.
type Home struct {
	Dir        string
	Passphrase Passphrase

	disk disk // nil: the file system
}

// Identity is who a custodian is: the public part of their folder, in
// custodian.json.
type Identity struct {
	ID           string `json:"custodian"` // in the bundle and the public log
	Name         string `json:"name"`
	Organisation string `json:"organisation"`
	Server       string `json:"server,omitempty"` // origin of the registrar that they serve
	Bundle       string `json:"bundle"`           // hash of bundle.json, hex
	Followed     bool   `json:"followed"`         // that bundle was seen in the public log
}

// Custodian is a custodian's folder, unlocked. It is not safe for concurrent use.
type Custodian struct {
	Identity

	folder *folder
	key    jose.JSONWebKey
	parsed *policy.Bundle // the one with the hash in Identity; nil: it was not read yet
}

// Open unlocks the folder. The refusals are [ErrHome], [ErrOpenHome],
// [ErrPassphrase], [ErrSecret] and those of package secretfile.
func (h Home) Open(ctx context.Context) (*Custodian, error) {
	who, err := h.Who()
	if err != nil {
		return nil, err
	}
	c := &Custodian{Identity: who}
	if c.folder, err = h.unlock(ctx); err != nil {
		return nil, err
	}
	c.key, err = c.folder.jwk(signingFile)
	return c, err
}

// Who says whose folder it is, which takes no passphrase. It is [ErrHome] if it is none.
func (h Home) Who() (who Identity, err error) {
	raw, err := readFile(filepath.Join(h.Dir, identityName))
	if err == nil {
		err = json.Unmarshal(raw, &who)
	}
	if err != nil || who.ID == "" {
		return Identity{}, ErrHome.Because(err)
	}
	return who, nil
}

// Hold keeps others from holding the folder, until release or the end of the process: one desk
// is open at a time. It is [ErrHeld] while another process does.
func (h Home) Hold() (release func() error, err error) {
	if err := checkFolder(h.Dir); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(filepath.Join(h.Dir, deskLock), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, secretfile.ErrUnwritable.Because(err)
	}
	if err := witness.LockFile(f); err != nil {
		return nil, ErrHeld.Because(errors.Join(err, f.Close()))
	}
	return f.Close, nil
}

// Create makes a folder for who, with fresh keys and a fresh passphrase, beside
// its place and then moves it there: a crash leaves no half of a folder. Nothing
// is overwritten ([secretfile.ErrExists]). workFactor is scrypt's, from 1 to
// [MaxWorkFactor].
func (h Home) Create(ctx context.Context, who Identity, workFactor int) (*Custodian, error) {
	if exists(h.Dir) && !emptyDir(h.Dir) {
		return nil, secretfile.ErrExists.Because(errors.New(h.Dir)) // before anybody types a passphrase for it
	}
	pass, err := freshPassphrase(ctx, h.Passphrase, h.Dir)
	if err != nil {
		return nil, err
	}
	defer clear(pass)
	home := filepath.Clean(h.Dir)
	if err := os.MkdirAll(filepath.Dir(home), 0o700); err != nil {
		return nil, secretfile.ErrUnwritable.Because(err)
	}
	dir, err := os.MkdirTemp(filepath.Dir(home), ".penname-") // mode 0700
	if err != nil {
		return nil, secretfile.ErrUnwritable.Because(err)
	}
	defer os.RemoveAll(dir) // moved away if all went well
	c := &Custodian{Identity: who}
	if c.folder, err = newFolder(dir, pass, workFactor, h.diskOf()); err != nil {
		return nil, err
	}
	if c.key, err = document.NewKey(); err != nil {
		return nil, err
	}
	raw, err := c.key.MarshalJSON()
	if err != nil {
		return nil, err
	}
	defer clear(raw)
	if err := c.folder.create(signingFile, raw); err != nil {
		return nil, err
	}
	if err := c.save(); err != nil {
		return nil, err
	}
	// Replaces an empty directory, and nothing else (rename(2)).
	if err := os.Rename(dir, home); err != nil {
		if errors.Is(err, fs.ErrExist) || errors.Is(err, fs.ErrInvalid) || exists(home) {
			return nil, secretfile.ErrExists.Because(errors.New(home))
		}
		return nil, secretfile.ErrUnwritable.Because(err)
	}
	c.folder.dir = home
	return c, syncDir(home)
}

// ChangePassphrase replaces the passphrase in one step. The keys stay the same: a
// copy of the folder that was made before still opens with the old one.
func (h Home) ChangePassphrase(ctx context.Context, next Passphrase, workFactor int) error {
	f, err := h.unlock(ctx)
	if err != nil {
		return err
	}
	pass, err := freshPassphrase(ctx, next, h.Dir)
	if err != nil {
		return err
	}
	defer clear(pass)
	sealed, err := sealIdentity(f.id, pass, workFactor)
	if err != nil {
		return err
	}
	return f.put(identityFile, sealed)
}

// freshPassphrase is one that shall protect a folder.
func freshPassphrase(ctx context.Context, ask Passphrase, dir string) ([]byte, error) {
	pass, err := ask(ctx, dir, true)
	switch {
	case err != nil:
		return nil, err
	case len(spelled(pass)) == 0:
		return nil, ErrNoPassphrase
	}
	defer clear(pass)
	one, err := document.Passphrase(pass)
	switch {
	case err != nil:
		return nil, ErrPassphraseText
	case len(one) < MinPassphrase:
		clear(one)
		return nil, ErrWeakPassphrase
	}
	return one, nil
}

// spelled is a passphrase without the line break at its end, as folders had it before
// there was one form for all spellings.
func spelled(pass []byte) []byte { return bytes.TrimSuffix(pass, []byte("\n")) }

// spellings are the passphrases that a folder may have been made with, if it was made
// with this one: in its one form, or as it was typed then, with the carriage return
// that a file from another system ended in.
func spellings(pass []byte) [][]byte {
	asBefore := spelled(pass)
	all := [][]byte{asBefore}
	add := func(p []byte) {
		if len(p) > 0 && !slices.ContainsFunc(all, func(have []byte) bool { return bytes.Equal(have, p) }) {
			all = append(all, p)
		}
	}
	if one, err := document.Passphrase(pass); err == nil {
		add(one)
		add(append(bytes.Clone(one), '\r'))
	}
	return all
}

// save writes custodian.json.
func (c *Custodian) save() error {
	meta, err := json.MarshalIndent(c.Identity, "", "  ")
	if err != nil {
		return err
	}
	return c.folder.put(identityName, meta)
}

// Key is the custodian's secret signing key: it also signs their requests to the
// registrar.
func (c *Custodian) Key() jose.JSONWebKey { return c.key }

// Card returns the public parts for a plan and a bundle, with the key for the
// next ceremony and the recipient of exhibits, each of which it makes if there is
// none. Its index is 0: the operator gives seats.
func (c *Custodian) Card() (s policy.Seat, err error) {
	key, err := c.folder.nextCeremonyKey()
	if err != nil {
		return s, err
	}
	s = policy.Seat{ID: c.ID, Name: c.Name, Organisation: c.Organisation}
	if s.Recipient, err = c.folder.recipient(); err != nil {
		return s, err
	}
	if s.Key, err = c.key.Public().MarshalJSON(); err != nil {
		return s, err
	}
	text, err := key.Public().MarshalText()
	s.Ceremony = string(text)
	return s, err
}

// exhibitIdentity is what opens exhibits, an identity for exhibit.Open. A folder that never
// made a card with a recipient has none: [ErrNoExhibitKey].
func (c *Custodian) exhibitIdentity() (string, error) {
	b, err := c.folder.read(exhibitFile)
	if errors.Is(err, fs.ErrNotExist) {
		return "", ErrNoExhibitKey
	}
	return string(b), err
}

// rules returns the bundle from which the custodian follows the log, or nil if they
// have endorsed none yet.
func (c *Custodian) rules() (*policy.Bundle, error) {
	if c.Bundle == "" {
		return nil, nil
	}
	if c.parsed != nil && c.parsed.Hash() == c.Bundle {
		return c.parsed, nil
	}
	raw, err := c.folder.open(bundleFile)
	if err != nil {
		return nil, err
	}
	c.parsed, err = policy.ParseBundle(raw)
	return c.parsed, err
}

// trust makes b the bundle from which the custodian follows the log. A crash in
// between leaves the older one in bundle.json, from which the log leads here
// again.
func (c *Custodian) trust(b *policy.Bundle, followed bool) error {
	raw, err := b.Marshal()
	if err != nil {
		return err
	}
	c.Bundle, c.Followed = b.Hash(), followed
	if err := c.save(); err != nil {
		return err
	}
	return c.folder.put(bundleFile, raw)
}

// Follow asks the public log which rules are in force: follow leads from the bundle
// in the folder, and from how far the log was read before, to the one in force and to
// how far it was read now (rules.History), and its refusal is returned. What is new is
// kept, and only now are shares destroyed that a bundle in force makes obsolete. Without
// a bundle to begin with it is [ErrNoRules].
func (c *Custodian) Follow(follow func(from *policy.Bundle, read []byte) (inForce *policy.Bundle, now []byte, err error)) (*policy.Bundle, error) {
	known, err := c.rules()
	if err == nil && known == nil {
		err = ErrNoRules
	}
	if err != nil {
		return nil, err
	}
	read, err := c.folder.open(followedFile)
	if err != nil { // then all is read again
		read = nil
	}
	inForce, now, err := follow(known, read)
	if err == nil {
		err = c.adopt(inForce)
	}
	if err != nil {
		return nil, err
	}
	if !bytes.Equal(now, read) {
		c.folder.note(followedFile, now)
	}
	return inForce, nil
}

// Begin makes b the bundle from which a folder follows the log that has seen none yet; one that
// has is left alone.
func (c *Custodian) Begin(b *policy.Bundle) error {
	if c.Bundle != "" {
		return nil
	}
	return c.trust(b, false)
}

// adopt keeps the bundle that the public log shows to be in force, and destroys
// the shares that it makes obsolete.
func (c *Custodian) adopt(inForce *policy.Bundle) error {
	known, err := c.rules()
	if err != nil {
		return err
	}
	if known.Hash() != inForce.Hash() || !c.Followed {
		if err := c.trust(inForce, true); err != nil {
			return err
		}
	}
	pk, err := threshold.ParsePublicKey(inForce.ThresholdKey)
	if err != nil {
		return err
	}
	all, err := c.folder.shares()
	if err == nil {
		if _, missing := oneOf(all, pk); missing == nil || inForce.Seated(c.ID) == nil {
			return c.folder.prune(all, pk)
		}
	} else if inForce.Seated(c.ID) == nil {
		return err
	}
	return nil // a share is missing, and nothing is thrown away until it is found
}
