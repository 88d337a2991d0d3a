// Package requester is what a requester, the police force or the court that a
// package is delivered to, does on their own machine.
//
//	CreateKey  a delivery key, whose public part goes into the warrant
//	ReadKey    that key again
//	Unseal     what the registrar answered, which is a ciphertext to that key
//	Open       a delivery: checked as an appeal court would check it, what the posts showed
//	           compared with what the platform signed, then opened
//
// Whether an opening was lawful is package verifier/opening's to say; this one
// adds what takes the secret key.
package requester

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/penname/penname/escrow/exhibit"
	"github.com/penname/penname/escrow/seal"
	"github.com/penname/penname/escrow/seal/threshold"
	"github.com/penname/penname/escrow/secretfile"
	"github.com/penname/penname/policy"
	"github.com/penname/penname/verifier/document"
	"github.com/penname/penname/verifier/opening"
	"github.com/penname/penname/verifier/refusal"
)

// Why a delivery is not opened, beside what package opening says.
var (
	ErrWrongKey = refusal.New(refusal.Denied, "requester.wrong_key",
		"the warrant names another delivery key than the one in this file: nothing was opened, name the key that was made for this warrant")
	// ErrNotAKey is of a file that holds something else. A new key would be no help.
	ErrNotAKey = refusal.New(refusal.Invalid, "requester.not_a_delivery_key",
		"the file does not hold a secret delivery key: name the one that escrow warrant keygen wrote when the warrant was prepared; only that opens its package, and a new one opens nothing")
	ErrOtherCase = refusal.New(refusal.Conflict, "package.other_case",
		"the registrar answered with the package of another case: nothing was opened, ask it again")
	// ErrNothingDelivered is of a statement about what is still sealed.
	ErrNothingDelivered = refusal.New(refusal.Conflict, "package.nothing_delivered",
		"nothing of this case was delivered to you: there is nothing to delete, and nothing was stated")
	// ErrSealed is of an answer that this key does not open. Why, nobody can tell.
	ErrSealed = refusal.New(refusal.Invalid, "package.not_for_this_key",
		"what the registrar sent does not open with this key for this case: nothing was opened; name the key that was made for its warrant, or ask again; where that key is lost, the court orders it anew with escrow warrant redeliver")
)

// ErrExhibits is of targets whose names stay sealed. Their own codes stand beside them.
var ErrExhibits = refusal.New(refusal.Denied, "package.exhibits_refused",
	"what a target published is missing, or is not what its platform signed: that name stays sealed, the others are opened; ask for the exhibits to be filed, and keep the package for the court")

// ErrBarred is of targets whose use a higher court has forbidden after they were delivered:
// the others are opened.
var ErrBarred = refusal.New(refusal.Denied, "package.barred",
	"a court has annulled the order for some of the targets, or upheld an objection, as the public log says: their names stay sealed and must not be used; delete what was opened of them before, and state that with escrow warrant deleted, if that is not done yet")

// ErrBadShare is the refusal of a package whose shares are too often wrong. It
// comes as a [SharesError].
var ErrBadShare = refusal.New(refusal.Denied, "package.bad_share",
	"too few shares are right to open this; keep the package and the key, which prove who signed for a wrong one, and ask another custodian")

// SharesError is [ErrBadShare] with the custodians who signed for a wrong share,
// each with the code of what is wrong, and the compartment that it is about: "alba
// (custodian.bad_share) for contact".
type SharesError struct{ Custodians []string }

// Error returns code and sentence.
func (e *SharesError) Error() string { return ErrBadShare.Code + ": " + e.Text() }

// Text returns the sentence, with the custodians' names.
func (e *SharesError) Text() string {
	return ErrBadShare.Mend + ": " + strings.Join(e.Custodians, ", ")
}

// Unwrap returns [ErrBadShare].
func (e *SharesError) Unwrap() error { return ErrBadShare }

// Key is a secret delivery key.
type Key = seal.DeliveryPrivate

// CreateKey makes a delivery key in a new file that only its owner reads, and
// returns its public part for warrants.
func CreateKey(file string) (public string, err error) {
	k, err := seal.GenerateDeliveryKey()
	if err != nil {
		return "", err
	}
	secret, err := k.Reveal()
	if err != nil {
		return "", err
	}
	return k.Public(), secretfile.Create(file, []byte(secret+"\n"))
}

// ReadKey reads a delivery key from its file. What is none is [ErrNotAKey].
func ReadKey(file string) (seal.DeliveryPrivate, error) {
	b, err := secretfile.Read(file)
	if err != nil {
		return seal.DeliveryPrivate{}, err
	}
	defer clear(b)
	k, err := seal.ParseDeliveryKey(string(document.Typed(b)))
	if err != nil {
		return k, ErrNotAKey.Because(errors.New(file)) // the cause could quote the key
	}
	return k, nil
}

// PublicOf is the public key of a delivery key's text, as its file has it. What is none is [ErrNotAKey].
func PublicOf(text string) (string, error) {
	k, err := seal.ParseDeliveryKey(text)
	if err != nil {
		return "", ErrNotAKey // the cause could quote the key
	}
	return k.Public(), nil
}

// Unseal decrypts what the registrar sent in the case id, or is [ErrSealed]. The
// delivery is what to save for the court file; nothing of it is checked here.
func Unseal(id string, sealed []byte, private seal.DeliveryPrivate) (d opening.Delivery, err error) {
	raw, err := private.Open(seal.DeliveryInfo(id), sealed)
	if err != nil {
		return d, ErrSealed.Because(err)
	}
	if err := json.Unmarshal(raw, &d); err != nil {
		return d, opening.ErrPackage.Because(err)
	}
	return d, nil
}

// Opened is what the requester learns, with the certificate for the court file.
type Opened struct {
	Case        string              `json:"case"`
	Targets     []OpenedTarget      `json:"targets"` // in the order of the warrant
	Certificate opening.Certificate `json:"certificate"`

	Revealed opening.Revealed `json:"-"` // what [CourtFile.Finish] saves; as secret as the names
}

// OpenedTarget is who enrolled under a pen name. It does not say who typed.
type OpenedTarget struct {
	PenName  string            `json:"pen_name"`
	Platform string            `json:"platform"`
	State    string            `json:"state,omitempty"`   // of one that was not released, by the registrar's word: "refused", "declined", "withdrawn"
	Refused  string            `json:"refused,omitempty"` // code of why the name stays sealed, of the first exhibit that is not as declared or of what forbids its use
	Identity map[string]string `json:"identity"`          // by field of the warrant

	// Linked are all pen names of that person, by an order to link. The issuing side says so.
	Linked opening.Linked `json:"linked,omitempty"`
}

// String is for a person at a terminal.
func (o Opened) String() string {
	var s strings.Builder
	for _, t := range o.Targets {
		if t.State != "" || t.Refused != "" {
			fmt.Fprintf(&s, "%s on %s stays sealed: %s\n", t.PenName, t.Platform, strings.Trim(document.Printable(t.State+", "+t.Refused), ", "))
			continue
		}
		if t.Linked != nil {
			fmt.Fprintf(&s, "%s on %s is a person who has %d pen names, says the issuer\n", t.PenName, t.Platform, len(t.Linked))
			for _, n := range t.Linked {
				fmt.Fprintf(&s, "  %s on %s\n", n.PenName, document.Printable(strings.Join(n.Platforms, ", ")))
			}
			continue
		}
		fmt.Fprintf(&s, "%s on %s is\n", t.PenName, t.Platform)
		for _, name := range slices.Sorted(maps.Keys(t.Identity)) {
			fmt.Fprintf(&s, "  %-12s %s\n", name, document.Printable(t.Identity[name]))
		}
	}
	fmt.Fprintf(&s, "certificate\n  case         %s\n%s", o.Case, o.Certificate)
	return s.String()
}

// Open checks the delivery of the case id as [opening.Verify] does, by the bundles
// since the day of the case, and opens it.
// Any doubt opens nothing: that of another case is [ErrOtherCase], and a key that
// the warrant does not name [ErrWrongKey]. With the right key a share that does not
// open, or whose proof is wrong, was signed like that: it names the custodian who
// did, in the certificate. The others are enough if they are a quorum of the key,
// else it is a [*SharesError].
//
// What the posts showed is fetched as read does, opened with the delivery key and compared
// with what the platform signed, where it was filed. A target for which it is missing, or
// is something else, stays sealed, and the others are opened: then it returns both what
// it opened and [ErrExhibits]. Other errors are those of read.Save and of read.Fetch.
func Open(id string, d opening.Delivery, private seal.DeliveryPrivate, read exhibit.Reader, since ...*policy.Bundle) (Opened, error) {
	lawful, err := opening.Verify(d, since...)
	switch {
	case err != nil:
		return Opened{}, err
	case lawful.Case != id:
		return Opened{}, ErrOtherCase
	case lawful.Warrant.Requester.DeliveryKey != private.Public():
		return Opened{}, ErrWrongKey
	}
	o := &opener{Opening: lawful, private: private, keys: make(map[string]threshold.PublicKey)}
	for _, t := range lawful.Targets {
		if _, known := o.keys[t.Key]; known || t.Sealed == nil {
			continue
		}
		if o.keys[t.Key], err = threshold.ParsePublicKey(t.Key); err != nil {
			return Opened{}, err
		}
	}
	return o.open(read)
}

// opener is a lawful opening with what it takes to read it.
type opener struct {
	*opening.Opening
	private  seal.DeliveryPrivate
	keys     map[string]threshold.PublicKey // by their text
	culprits []string                       // custodians whose shares were wrong, with the code
	revealed opening.Revealed
}

// open opens the released targets whose posts showed what the platform signed, and whose use
// nothing forbids.
func (o *opener) open(read exhibit.Reader) (opened Opened, refused error) {
	if err := o.compare(read); err != nil {
		return Opened{}, err
	}
	opened.Case = o.Case
	for i, t := range o.Targets {
		said := o.Certificate.Targets[i]
		id := OpenedTarget{PenName: string(said.PenName), Platform: said.Platform, State: said.State, Refused: said.Refused, Identity: make(map[string]string)}
		switch {
		case t.Sealed == nil:
		case t.Barred != nil:
			refused = errors.Join(refused, ErrBarred)
		case id.Refused != "":
			refused = errors.Join(refused, ErrExhibits)
			o.revealed.Targets = append(o.revealed.Targets, opening.RevealedTarget{Target: i, Refused: id.Refused})
		case o.Warrant.Kind == policy.Link:
			var err error
			if id.Linked, err = o.linked(i); err != nil {
				return Opened{}, err
			}
			o.revealed.Targets = append(o.revealed.Targets, opening.RevealedTarget{Target: i, Linked: id.Linked})
		default:
			fields, err := o.target(i)
			if err != nil {
				return Opened{}, err
			}
			for name, value := range fields {
				id.Identity[name] = string(value)
			}
		}
		opened.Targets = append(opened.Targets, id)
	}
	opened.Certificate = o.Certificate
	opened.Certificate.BadShares, o.revealed.BadShares = o.culprits, o.culprits
	opened.Revealed = o.revealed
	return opened, refused
}

// compare reads what was filed of the posts and says in the certificate what it found.
func (o *opener) compare(read exhibit.Reader) (err error) {
	if !o.Filed {
		return nil
	}
	if read.Identity, err = o.private.Reveal(); err != nil {
		return err
	}
	compared, save := make(map[exhibit.Declared]bool), read.Save
	read.Save = func(x exhibit.Declared, content []byte) error {
		compared[x] = true
		return save(x, content)
	}
	posts := make([][]policy.Post, len(o.Targets))
	for i, t := range o.Targets {
		if t.Sealed != nil && t.Barred == nil {
			posts[i] = t.Posts
		}
	}
	refused, err := read.Targets(posts)
	if err != nil {
		return err
	}
	for i, t := range o.Certificate.Targets {
		if refused[i] != nil {
			o.Certificate.Targets[i].Refused = refused[i].Code
		}
		for j, p := range posts[i] {
			for k, x := range p.Exhibits {
				t.Posts[j].Exhibits[k].Compared = compared[x]
			}
		}
	}
	return nil
}

// target opens one sealed identity.
func (o *opener) target(i int) (map[string][]byte, error) {
	t := o.Targets[i]
	key, sealed := o.keys[t.Key], t.Sealed
	shares, shown := make(map[string][]threshold.Share), opening.RevealedTarget{Target: i, Halves: make(map[string][]byte)}
	for _, compartment := range sealed.Needed(o.Warrant.Fields) {
		for _, a := range t.Approvals {
			raw, share, err := o.share(a, i, compartment)
			if err != nil {
				o.blame(a.Custodian, compartment, err)
				continue
			}
			shares[compartment] = append(shares[compartment], share)
			shown.Shares = append(shown.Shares, opening.RevealedShare{Custodian: a.Custodian, Compartment: compartment, Share: raw})
		}
		if len(shares[compartment]) < key.Threshold() && len(o.culprits) > 0 {
			return nil, &SharesError{o.culprits}
		}
	}
	raw, err := o.private.Open(seal.HalvesInfo(o.WarrantHash, sealed.Label), sealed.Halves)
	if err != nil {
		return nil, err
	}
	if err := json.Unmarshal(raw, &shown.Halves); err != nil {
		return nil, opening.ErrPackage // the cause could quote a half
	}
	o.revealed.Targets = append(o.revealed.Targets, shown)
	return seal.Open(sealed.Record(sealed.Fields), shown.Halves, key, shares)
}

// linked opens what the issuing side answered to an order to link. Whatever else it says, the
// pen name that the order is about is among them.
func (o *opener) linked(i int) (names opening.Linked, err error) {
	sealed := o.Targets[i].Sealed
	raw, err := o.private.Open(seal.LinkedInfo(o.WarrantHash, sealed.Label), sealed.Linked)
	if err != nil {
		return nil, err
	}
	if json.Unmarshal(raw, &names) != nil || !slices.ContainsFunc(names, func(n opening.LinkedName) bool { return n.PenName == sealed.Pseudonym }) {
		return nil, opening.ErrPackage
	}
	return names, nil
}

// share decrypts and checks the share of one custodian for one compartment of one target.
func (o *opener) share(a *opening.Approval, target int, compartment string) (raw []byte, share threshold.Share, err error) {
	sealed := o.Targets[target].Sealed
	i := slices.IndexFunc(a.Shares, func(s opening.EncryptedShare) bool { return s.Target == target && s.Compartment == compartment })
	if i < 0 {
		return nil, share, opening.ErrPackage
	}
	if raw, err = o.private.Open(seal.ShareInfo(o.WarrantHash, sealed.Label, compartment, a.Custodian), a.Shares[i].Ciphertext); err != nil {
		return nil, share, err
	}
	share, err = o.Share(raw, a, target, compartment, o.keys[o.Targets[target].Key])
	return raw, share, err
}

func (o *opener) blame(custodian, compartment string, err error) {
	code := "unknown"
	if e := refusal.Of(err); e != nil {
		code = e.Code
	}
	who := custodian + " (" + code + ")"
	if compartment != "" {
		who += " for " + compartment
	}
	if !slices.Contains(o.culprits, who) {
		o.culprits = append(o.culprits, who)
	}
}
