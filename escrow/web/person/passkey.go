package person

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"net/http"
	"slices"
	"time"

	"github.com/penname/penname/escrow/issue"
	"github.com/penname/penname/escrow/passkey"
	"github.com/penname/penname/escrow/web"
	"github.com/penname/penname/verifier/refusal"
)

// # Passkeys
//
//	POST /passkey/begin       seals a challenge into a cookie, and says what to ask for
//	POST /passkey             judges the answer and signs in, or proves again who signed in
//	GET, POST /me/passkeys    those of a person, and one more; likewise begin, rename, remove
//	POST /me/recovery/cancel  ends what a proof at the provider began: see issue.Issuer.ByIdentity
//
// The judge is package passkey. A challenge counts once: whoever answers it spends it, in the
// database, as identity.RelyingParty spends its flows. A browser without a script sees no
// button of a passkey, and everything else.

var (
	errNoPasskeys = refusal.New(refusal.NotFound, "webauthn.not_here",
		"there are no passkeys at this address of Penname: prove your identity at the identity provider")
	errOnlyAPasskey = refusal.New(refusal.Denied, "webauthn.only_a_passkey",
		"only a passkey can cancel it: sign in with one, and press the button again")
)

// passkeysPath is the page of a person's passkeys.
const passkeysPath = "/me/passkeys"

// ceremony is one that is under way in a tab of this browser.
type ceremony struct {
	passkey.Ceremony
	Session [16]byte `json:"s,omitzero"` // of whoever adds a passkey
}

// maxCeremonies is how many are under way at once, the newest ones: a cookie has room for them.
const (
	maxCeremonies   = 3
	ceremoniesBlock = 640 // bytes, with those three: beside the other cookies in one header
)

// passkeys are the party, or why there is none.
func (s *side) passkeys() (*passkey.Party, error) {
	if s.party == nil {
		return nil, errNoPasskeys
	}
	return s.party, nil
}

// addCeremony keeps it beside those of other tabs, and hands the options to the script.
func (s *side) addCeremony(w http.ResponseWriter, r *http.Request, c ceremony, options []byte) error {
	var all []ceremony
	s.sessions.get(r, "passkey", &all)
	all = append(all, c)
	text, err := textOf(all[max(0, len(all)-maxCeremonies):])
	if err != nil {
		return err
	}
	s.sessions.seal(w, "passkey", passkey.Life, text, ceremoniesBlock)
	return web.WriteJSON(w, http.StatusOK, json.RawMessage(options))
}

// ceremonyOf is the one that an answer names, else the zero one, which is no answer's.
func (s *side) ceremonyOf(r *http.Request, a passkey.Answer) ceremony {
	var all []ceremony
	s.sessions.get(r, "passkey", &all)
	if i := slices.IndexFunc(all, func(c ceremony) bool { return c.Challenge == a.Challenge() }); i >= 0 {
		return all[i]
	}
	return ceremony{}
}

// spend uses a challenge up.
func (s *side) spend(r *http.Request, c ceremony) error {
	first, err := s.Store.Use(r.Context(), sha256.Sum256([]byte("passkey\x00"+c.Challenge)), c.Until.Add(time.Minute))
	if err == nil && !first {
		err = passkey.ErrChallenge
	}
	return err
}

func (s *side) beginPasskey(w http.ResponseWriter, r *http.Request) error {
	party, err := s.passkeys()
	if err != nil {
		return err
	}
	c, options, err := party.BeginGet()
	if err != nil {
		return err
	}
	return s.addCeremony(w, r, ceremony{Ceremony: c}, options)
}

// byPasskey signs somebody in. Whoever asked to be deleted is told so, and nobody is signed in.
func (s *side) byPasskey(w http.ResponseWriter, r *http.Request) error {
	if _, err := s.Rules(); err != nil {
		return err
	}
	f := flow{}
	if back := r.PostFormValue("interaction"); comesBack.MatchString(back) {
		f.Back = back
	}
	p, k, err := s.shown(r)
	if err != nil {
		return web.WithFacts{Err: err, Undone: notSignedIn, Back: f.SignIn()}
	}
	asked, err := s.Issuer.Store.Asked(r.Context(), p.Label)
	if err != nil {
		return err
	}
	if asked {
		return s.edge.RenderAgain(w, r, "/", http.StatusOK, "return.html", returnPage{flow: f})
	}
	v := session{Person: p, ACR: k.ACR, Proven: s.edge.Now(), Passkey: true}
	if !slices.Contains(s.acrs(), k.ACR) { // no provider is held to it any more
		v.ACR = ""
	}
	f.Flow.Fresh, f.shown = true, k.ID // whoever holds it showed it for this, and now
	if err := s.begin(w, r, f, v); err != nil {
		return err
	}
	to := "/me"
	if f.Back != "" {
		to = f.Back
	}
	http.Redirect(w, r, to, http.StatusSeeOther)
	return nil
}

// notSignedIn is said where an answer was not taken.
const notSignedIn = "You are not signed in by this."

// shown judges the answer of a browser, and returns whose passkey it showed.
func (s *side) shown(r *http.Request) (p issue.Person, k issue.Passkey, err error) {
	party, err := s.passkeys()
	if err != nil {
		return p, k, err
	}
	a, err := passkey.Read(r.PostFormValue("answer"))
	if err != nil {
		return p, k, err
	}
	p, k, there, err := s.Issuer.Store.PasskeyOf(r.Context(), a.ID)
	if err == nil && !there {
		err = passkey.ErrUnknown
	}
	if err != nil {
		return p, k, err
	}
	c := s.ceremonyOf(r, a)
	counter, err := party.Asserted(c.Ceremony, a, passkey.Credential{ID: k.ID, Key: k.Key, Counter: k.Counter, Backup: k.Backup}, k.User)
	if err == nil {
		err = s.spend(r, c)
	}
	if err != nil {
		return p, k, err
	}
	rises, err := s.Issuer.Store.CountPasskey(r.Context(), k.ID, k.Counter, counter, today(s.edge.Now()))
	if err == nil && !rises {
		err = passkey.ErrCounter
	}
	return p, k, err
}

// passkeysPage are a person's passkeys, for them alone.
type passkeysPage struct {
	Here     bool // there are passkeys at this origin
	Passkeys []ownPasskey
	Most     int
	Typed    string
	Wrong    string // why none was added
	Done     flash
	Back     string // a sign-in at a platform that waits
	Leaving  leaving
}

// ownPasskey is one of them.
type ownPasskey struct {
	ID   string // of its credential
	Word string
	Day  time.Time

	Number int // in the list, from 1
}

// Room reports whether one more is kept.
func (p passkeysPage) Room() bool { return len(p.Passkeys) < p.Most }

func (s *side) myPasskeys(w http.ResponseWriter, r *http.Request) error {
	who, asked, err := s.lately(w, r)
	if err != nil || asked {
		return err
	}
	page := passkeysPage{Done: who.Flash}
	if back := r.URL.Query().Get("back"); comesBack.MatchString(back) {
		page.Back = flow{Back: back}.SignIn()
	}
	who.Flash = ""
	return s.showPasskeys(w, r, who, http.StatusOK, page)
}

func (s *side) showPasskeys(w http.ResponseWriter, r *http.Request, who session, status int, page passkeysPage) error {
	all, err := s.Issuer.Store.Passkeys(r.Context(), who.Person)
	if err == nil {
		err = s.sessions.keep(w, who)
	}
	if err != nil {
		return err
	}
	for i, k := range all {
		page.Passkeys = append(page.Passkeys, ownPasskey{idOf(k), k.Word, k.Day, i + 1})
	}
	page.Here, page.Most, page.Leaving = s.party != nil, issue.MaxPasskeys, s.sessions.leaving(who, "/me/stay")
	return s.edge.RenderAgain(w, r, passkeysPath, status, "passkeys.html", page)
}

// beginAdding begins to add a passkey, by somebody who proved lately who they are: only they
// get a challenge for it.
func (s *side) beginAdding(w http.ResponseWriter, r *http.Request) error {
	party, err := s.passkeys()
	if err != nil {
		return err
	}
	who, err := s.freshly(r)
	if err != nil {
		return err
	}
	all, err := s.Issuer.Store.Passkeys(r.Context(), who.Person)
	if err != nil {
		return err
	}
	user, err := s.Issuer.UserHandle(r.Context(), who.Person)
	if err != nil {
		return err
	}
	var have [][]byte
	for _, k := range all {
		have = append(have, k.ID)
	}
	c, options, err := party.BeginCreate(user, have)
	if err != nil {
		return err
	}
	return s.addCeremony(w, r, ceremony{c, who.ID}, options)
}

// addPasskey adds the one that a browser made. What stops it is said at the form.
func (s *side) addPasskey(w http.ResponseWriter, r *http.Request) error {
	who, err := s.freshly(r)
	if err != nil {
		return err
	}
	page := passkeysPage{Typed: word(r.PostFormValue("word"))}
	switched := s.edge.Switches(w, r)
	if back := r.PostFormValue("back"); comesBack.MatchString(back) {
		page.Back = flow{Back: back}.SignIn()
	}
	if switched {
		return s.showPasskeys(w, r, who, http.StatusOK, page)
	}
	first, err := s.made(r, &who, page.Typed)
	e := refusal.Of(err)
	switch {
	case err == nil:
	case e == nil || e.Kind == refusal.Unavailable:
		return err
	default:
		s.edge.NoteRefusal(r.Context(), "POST "+passkeysPath, e.Code, false, e)
		page.Wrong = e.Mend
		return s.showPasskeys(w, r, who, http.StatusUnauthorized, page)
	}
	switch {
	case page.Back != "":
		return s.saysAt(w, r, who, "", page.Back)
	case first:
		return s.saysAt(w, r, who, flashAddedFirst, passkeysPath)
	}
	return s.saysAt(w, r, who, flashAdded, passkeysPath)
}

// made judges the answer of a browser that made a passkey, and stores it. It was shown in this
// session, which goes on where all others end, at the first one.
func (s *side) made(r *http.Request, who *session, word string) (first bool, err error) {
	party, err := s.passkeys()
	if err != nil {
		return false, err
	}
	a, err := passkey.Read(r.PostFormValue("answer"))
	if err != nil {
		return false, err
	}
	c := s.ceremonyOf(r, a)
	if c.Session != who.ID { // begun by another session of this browser, or to sign in
		c = ceremony{}
	}
	made, err := party.Created(c.Ceremony, a)
	if err == nil {
		err = s.spend(r, c)
	}
	if err != nil {
		return false, err
	}
	user, err := s.Issuer.UserHandle(r.Context(), who.Person)
	if err != nil {
		return false, err
	}
	added, first, err := s.Issuer.AddPasskey(r.Context(), who.Person, issue.Passkey{
		ID: made.ID, Key: made.Key, Counter: made.Counter, Backup: made.Backup, Word: word, User: user, ACR: who.ACR,
	})
	switch {
	case err != nil:
		return false, err
	case !added:
		return false, passkey.ErrKnown
	}
	s.written()
	if who.Passkey = true; first {
		err = s.goesOn(r, who)
	}
	return first, err
}

// goesOn has the session of somebody go on where they ended all of theirs.
func (s *side) goesOn(r *http.Request, who *session) (err error) {
	who.Session, err = s.Issuer.Store.BeginSession(r.Context(), who.Person, issue.NewSession(who.Word, s.edge.Now()))
	return err
}

// idOf names a passkey in a form, in a length that no authenticator chooses.
func idOf(k issue.Passkey) string {
	digest := sha256.Sum256(k.ID)
	return hex.EncodeToString(digest[:16])
}

// theirPasskey is the one that a form names, if it is one of whoever is signed in.
func (s *side) theirPasskey(r *http.Request) (who session, k issue.Passkey, all []issue.Passkey, err error) {
	if who, err = s.who(r); err != nil {
		return who, k, nil, err
	}
	if all, err = s.Issuer.Store.Passkeys(r.Context(), who.Person); err != nil {
		return who, k, nil, err
	}
	i := slices.IndexFunc(all, func(k issue.Passkey) bool { return idOf(k) == r.PostFormValue("passkey") })
	if i < 0 {
		return who, k, all, issue.ErrNoPasskey
	}
	return who, all[i], all, nil
}

func (s *side) renamePasskey(w http.ResponseWriter, r *http.Request) error {
	who, k, _, err := s.theirPasskey(r)
	if err == nil {
		err = s.Issuer.RenamePasskey(r.Context(), who.Person, k.ID, word(r.PostFormValue("word")))
	}
	if err != nil {
		return err
	}
	return s.saysAt(w, r, who, flashRenamed, passkeysPath)
}

// removePage asks before the last passkey is removed, and says what follows.
type removePage struct {
	ownPasskey
	Leaving leaving
}

// removePasskey needs a fresh proof, like adding one: whoever finds an open browser does not
// lock its person out. All other sessions end: one of them may be that of the lost device.
func (s *side) removePasskey(w http.ResponseWriter, r *http.Request) error {
	who, k, all, err := s.theirPasskey(r)
	if err != nil {
		return err
	}
	if !s.sessions.fresh(who) {
		if err := s.sessions.keep(w, who); err != nil {
			return err
		}
		return s.askToProve(w, r, who, passkeysPath)
	}
	if len(all) == 1 && r.PostFormValue("sure") == "" {
		if err := s.sessions.keep(w, who); err != nil {
			return err
		}
		return s.edge.RenderAgain(w, r, passkeysPath, http.StatusOK, "passkey-last.html", removePage{ownPasskey{idOf(k), k.Word, k.Day, 1}, s.sessions.leaving(who, "/me/stay")})
	}
	if err := s.Issuer.RemovePasskey(r.Context(), who.Person, k); err != nil {
		return err
	}
	s.written()
	if err := s.goesOn(r, &who); err != nil {
		return err
	}
	return s.saysAt(w, r, who, flashGone, passkeysPath)
}

// waitsPage says that a proof of identity signs nobody in yet.
type waitsPage struct {
	From, Until time.Time
	Back        string
	SignIn      string // at a platform, that waits
	Lapsed      bool   // one before it, which was not used in time
}

// recovers reports that a proof of identity at a provider signs nobody in, because the person has
// passkeys, and shows the page that says so: see issue.Issuer.ByIdentity. It is not asked in a
// browser in which that same person is signed in by more than a provider, where it is a proof like
// another.
//
// Every way by which a provider's answer becomes somebody who is enrolled passes here, with the
// ways of those who were held for review or come back: see its one caller.
func (s *side) recovers(w http.ResponseWriter, r *http.Request, f *flow, p issue.Person) (asked bool, err error) {
	signsIn, recovery, err := s.Issuer.ByIdentity(r.Context(), p, s.sessions.browsers(r, *f)...)
	if err != nil || signsIn {
		f.recovers = signsIn && !recovery.Began.IsZero()
		return false, err
	}
	return true, s.showWaits(w, r, *f, recovery)
}

func (s *side) showWaits(w http.ResponseWriter, r *http.Request, f flow, recovery issue.Recovery) error {
	s.written()
	f.Waits = &recovery // who loads the page again is told the same
	if err := s.sessions.addFlow(w, r, f); err != nil {
		return err
	}
	return s.edge.RenderAgain(w, r, "", http.StatusOK, "waits.html", waitsPage{recovery.From(), recovery.Until(), f.Back, f.SignIn(), recovery.Lapsed})
}

// cancelRecovery ends what somebody began who proved the person's identity at a provider, and
// signs everybody out but whoever pressed this. If somebody was let in, the sign-ins at platforms
// end as well: each platform learns it at its own moment.
func (s *side) cancelRecovery(w http.ResponseWriter, r *http.Request) error {
	who, err := s.who(r)
	if err == nil && !who.Passkey {
		err = errOnlyAPasskey
	}
	if err != nil {
		return err
	}
	out, left, err := s.Issuer.CancelRecovery(r.Context(), who.Person, s.sectors(), s.openid.EndQuietly)
	if err == nil && out {
		err = s.goesOn(r, &who)
	}
	if err != nil {
		return err
	}
	said := flashCancelled
	if left {
		said = flashPutOut
	}
	return s.says(w, r, who, said, "")
}
