package person

import (
	"encoding/hex"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/penname/penname/escrow/issue"
	"github.com/penname/penname/escrow/openid"
	"github.com/penname/penname/escrow/web"
	"github.com/penname/penname/verifier/identity"
	"github.com/penname/penname/verifier/refusal"
)

var (
	errSignedOut = refusal.New(refusal.Unauthenticated, "session.signed_out",
		"you are not signed in here, or no longer: sign in again, your pen names stay the same")
	errNotFresh = refusal.New(refusal.Unauthenticated, "session.not_fresh",
		"nothing was deleted: for this you need to have proved your identity in the last five minutes, so prove it once more")
	errProveAgain = refusal.New(refusal.Unauthenticated, "session.prove_again",
		"what is yours is shown for five minutes after you proved who you are: prove it again, and go on")
	errNoDevice = refusal.New(refusal.NotFound, "session.unknown",
		"this device is not signed in any more: your own page lists those that are")
)

// deletePath is where people ask to be deleted.
const deletePath = "/me/delete"

// mePage is what a person sees of themself, as page or JSON: see [side.writeData].
type mePage struct {
	Welcome  flash           `json:"-"`
	PenNames []issue.PenName `json:"pen_names"`
	Notices  []notice        `json:"notices"`
	Claims   []acceptance    `json:"acceptances"`
	Devices  []device        `json:"devices"`
	Address  ownAddress      `json:"address"`

	// In the file alone: these have pages of their own.
	Changes  []shownChange `json:"changes"`
	Passkeys []keptPasskey `json:"passkeys"`
	Vouched  vouched       `json:"vouched_for"`
	Record   string        `json:"record"` // which sealed record is theirs, as their receipt has it

	Names   map[string]string   `json:"-"` // of platforms, by sector and by id
	Members map[string][]string `json:"-"` // ids of platforms, by sector: a warrant names one of them
	Silent  map[string]*silent  `json:"-"` // by pen name; nil: it can do nothing
	Homes   map[string]string   `json:"-"` // where a platform is, by sector of one alone
	Court   []string            `json:"-"` // the fields that a warrant can ask for
	Origin  string              `json:"-"`
	Writes  bool                `json:"-"` // else nobody is written to

	Leaving leaving   `json:"-"`
	Waits   *waitsFor `json:"-"`
}

// acceptance is one by which somebody else would be recognised as this person.
type acceptance struct {
	Reference string    `json:"reference"`
	From      time.Time `json:"from"` // UTC midnight
}

// ownAddress is where somebody wants to be written to, or wanted.
type ownAddress struct {
	Confirmed string `json:"confirmed,omitempty"`
	Pending   string `json:"pending,omitempty"` // it waits for its code
}

// keptPasskey is a passkey as its person sees it.
type keptPasskey struct {
	Word string    `json:"word"`
	Day  time.Time `json:"day"` // UTC midnight
}

// vouched is what an identity provider vouches for, as far as the session opens it: nothing, where
// somebody came by a passkey.
type vouched struct {
	Claims map[string]string `json:"claims"` // by identity.ClaimNames
	Month  *time.Time        `json:"month"`
}

// device is one session of the person's, as they see it.
type device struct {
	ID   string    `json:"id"` // of no use but to end it
	Word string    `json:"word"`
	Day  time.Time `json:"day"` // UTC midnight: no time that is finer is known
	This bool      `json:"this"`
}

// silent is what a platform can do on this device without asking; Used, if it did.
type silent struct{ Used bool }

func (s *side) me(w http.ResponseWriter, r *http.Request) error {
	who, ok := s.sessions.person(r)
	if !ok {
		return errSignedOut
	}
	if !s.sessions.fresh(who) { // else showMe finds out whether the session counts
		if _, done, err := s.lately(w, r); err != nil || done {
			return err
		}
	}
	return s.showMe(w, r, who)
}

// showMe shows a person's page if their session counts.
func (s *side) showMe(w http.ResponseWriter, r *http.Request, who session) error {
	ctx := r.Context()
	whose, err := s.whose(ctx, &who)
	if err != nil {
		return err
	}
	now, names, err := s.Issuer.Everywhere(ctx, who.Person, who.Session, s.sectors(), whose)
	if err == nil && (!now.Live || now.Asked) {
		err = errSignedOut
	}
	if err != nil {
		return err
	}
	who.recovery = now.Recovery
	noticed, err := s.Issuer.Store.Notices(ctx, issue.Pseudonyms(names))
	if err != nil {
		return err
	}
	devices, err := s.Issuer.Store.Sessions(ctx, who.Person, today(s.edge.Now()))
	if err != nil {
		return err
	}
	contact, err := s.Issuer.Store.Contact(ctx, who.Person)
	if err != nil {
		return err
	}
	said, asJSON := who.Flash, asksForData(r)
	if !asJSON {
		who.Flash = ""
	}
	if err := s.sessions.keep(w, who); err != nil {
		return err
	}
	page := mePage{Writes: s.Writes, Address: addressOf(contact, s.edge.Now()), Welcome: said, PenNames: names, Notices: []notice{}, Claims: []acceptance{}, Names: map[string]string{}, Members: map[string][]string{}, Homes: map[string]string{}, Court: s.court(), Origin: s.edge.Origin,
		Silent: map[string]*silent{}, Leaving: s.sessions.leaving(who, "/me/stay"), Waits: s.signInWaiting(r)}
	for _, a := range now.Acceptances {
		page.Claims = append(page.Claims, acceptance{a.Reference, a.From})
	}
	sectorOf := map[string]string{}
	for _, p := range *s.platforms.Load() {
		sectorOf[p.ID] = p.SectorID()
		page.Names[p.ID] = p.Name
		page.Members[p.SectorID()] = append(page.Members[p.SectorID()], p.ID)
		if len(s.members(p.SectorID())) == 1 {
			page.Homes[p.SectorID()] = home(p)
		}
		page.Names[p.SectorID()] = strings.Join(append([]string{p.Name}, s.alike(p)...), ", ")
	}
	for _, n := range noticed {
		page.Notices = append(page.Notices, s.seen(ctx, n))
	}
	for _, a := range who.Allowed {
		i := slices.IndexFunc(names, func(n issue.PenName) bool {
			return n.Platform == sectorOf[a.Platform] && n.Persona == a.Persona && n.Retired.IsZero()
		})
		if i < 0 {
			continue
		}
		if _, agreed, err := s.agreed(ctx, who, openid.Platform{ID: a.Platform, Sector: sectorOf[a.Platform]}, a.Scopes); err != nil {
			return err
		} else if !agreed {
			continue
		}
		name := string(names[i].Pseudonym)
		before := page.Silent[name]
		page.Silent[name] = &silent{Used: a.Silent || before != nil && before.Used}
	}
	for _, d := range devices {
		page.Devices = append(page.Devices, device{ID: hex.EncodeToString(d.ID[:]), Word: d.Word, Day: d.Day, This: d.ID == who.ID})
	}
	if asJSON {
		return s.writeData(w, r, who, page, noticed)
	}
	return s.edge.RenderAgain(w, r, "/me", http.StatusOK, "me.html", page)
}

// writeData writes all that can be shown of somebody, for programs.
func (s *side) writeData(w http.ResponseWriter, r *http.Request, who session, page mePage, notices []issue.Notice) (err error) {
	if page.Changes, err = s.changes(r.Context(), who.Person, page.PenNames, notices); err != nil {
		return err
	}
	if err := s.Issuer.Handles(r.Context(), page.PenNames); err != nil {
		return err
	}
	passkeys, err := s.Issuer.Store.Passkeys(r.Context(), who.Person)
	if err != nil {
		return err
	}
	attested, err := s.Issuer.Attested(r.Context(), who.Person, who.Key)
	if err != nil {
		return err
	}
	page.Vouched.Claims = map[string]string{}
	for at, name := range identity.ClaimNames {
		if value := attested.Claims[at].Reveal(); value != "" {
			page.Vouched.Claims[name], page.Vouched.Month = value, &attested.Month
		}
	}
	page.Passkeys, page.Record = []keptPasskey{}, who.Person.Reference()
	for _, k := range passkeys {
		page.Passkeys = append(page.Passkeys, keptPasskey{k.Word, k.Day})
	}
	if r.URL.Path == dataPath {
		w.Header().Set("Content-Disposition", `attachment; filename="penname-data.json"`)
	}
	return web.WriteJSON(w, http.StatusOK, page)
}

// addressOf is what there is of a contact at now.
func addressOf(c issue.Contact, now time.Time) (a ownAddress) {
	if a.Confirmed = c.Confirmed.Reveal(); c.Waits(now) {
		a.Pending = c.Pending.Reveal()
	}
	return a
}

// court are the fields that a warrant can ask for, if it is known by which rules.
func (s *side) court() []string {
	rules, err := s.Rules()
	if err != nil {
		return nil
	}
	return rules.Fields
}

// home is where people find a platform that signs them in, or "".
func home(p openid.Platform) string {
	for _, address := range p.RedirectURIs {
		u, err := url.Parse(address)
		// Else an app's own scheme, or its loopback address (RFC 8252, 7.3), where nobody listens.
		if err == nil && p.Closed == nil && (u.Scheme == "https" || u.Scheme == "http" && u.Port() != "") {
			return u.Scheme + "://" + u.Host + "/"
		}
	}
	return ""
}

// dataPath is where people save what their page shows, as JSON.
const dataPath = "/me/data.json"

// asksForData reports whether a program asks, or somebody who saves it.
func asksForData(r *http.Request) bool {
	return r.URL.Path == dataPath || wantsJSON(r)
}

// wantsJSON reports whether a program asks. A browser asks for anything where it saves a file.
func wantsJSON(r *http.Request) bool {
	accept := r.Header.Get("Accept")
	return web.Accepts(accept, "application/json") && !web.Accepts(accept, "text/html") && r.Header.Get("Sec-Fetch-Mode") != "navigate"
}

func today(now time.Time) time.Time { return now.UTC().Truncate(24 * time.Hour) }

// who returns the person that is signed in. A session does not count that was ended,
// here or on another device, or that is older than the person's request to be deleted.
func (s *side) who(r *http.Request) (session, error) {
	v, ok := s.sessions.person(r)
	if !ok {
		return session{}, errSignedOut
	}
	now, err := s.Issuer.Store.Standing(r.Context(), s.edge.Now(), issue.Question{Person: v.Person, Session: v.Session})
	if err == nil && (!now.Live || now.Asked) {
		err = errSignedOut
	}
	v.recovery = now.Recovery
	return v, err
}

// freshly returns who is signed in and proved within freshFor who they are; to anybody else who
// is signed in it is errProveAgain, at which ledBack gives back what they typed.
func (s *side) freshly(r *http.Request) (who session, err error) {
	if who, err = s.who(r); err == nil && !s.sessions.fresh(who) {
		err = errProveAgain
	}
	return who, err
}

// lately returns who is signed in and proved within freshFor who they are. To anybody else who
// is signed in it shows the page that asks them to, and is done.
func (s *side) lately(w http.ResponseWriter, r *http.Request) (who session, done bool, err error) {
	if who, err = s.who(r); err != nil || s.sessions.fresh(who) {
		return who, false, err
	}
	if wantsJSON(r) {
		return who, false, errProveAgain
	}
	if err := s.sessions.keep(w, who); err != nil {
		return who, false, err
	}
	return who, true, s.askToProve(w, r, who, pageOf(r.URL.Path))
}

// pageOf is where the file at path is to be had, of a file, or what leads to one thing of
// several, else path.
func pageOf(path string) string {
	switch path {
	case dataPath:
		return "/me"
	case receiptFilePath:
		return receiptPath
	case namePath, noticePath:
		return "/me"
	}
	return path
}

// provePage asks somebody who is signed in to prove again who they are.
type provePage struct {
	Back    string // where they go on
	Done    flash  // what they just did, which stands
	Leaving leaving
}

func (s *side) askToProve(w http.ResponseWriter, r *http.Request, who session, back string) error {
	return s.edge.RenderAgain(w, r, back, http.StatusUnauthorized, "prove.html", provePage{back, who.Flash, s.sessions.leaving(who, "/me/stay")})
}

// stay is the one press that keeps somebody signed in (WCAG 2.2.1).
func (s *side) stay(w http.ResponseWriter, r *http.Request) error {
	who, err := s.who(r)
	if err != nil {
		return err
	}
	if err := s.sessions.keep(w, who); err != nil {
		return err
	}
	http.Redirect(w, r, "/me", http.StatusSeeOther)
	return nil
}

// deletePage says what a deletion is, and asks for a proof of identity before the
// person can press the button.
type deletePage struct {
	Proven  bool
	Leaving leaving
}

func (s *side) askErasure(w http.ResponseWriter, r *http.Request) error {
	who, err := s.who(r)
	if err != nil {
		return err
	}
	if err := s.sessions.keep(w, who); err != nil {
		return err
	}
	return s.edge.Render(w, r, http.StatusOK, "delete.html", deletePage{s.sessions.fresh(who), s.sessions.leaving(who, "/me/stay")})
}

// erase records the request and ends the sign-ins at platforms and the session.
// The answer is the same, in words and in time, whether or not an order holds the
// record. A person who lost the answer asks again and gets the same receipt: so this
// accepts a session that [side.who] no longer accepts, if that is why and the only
// reason: whoever has a copy of a session that was ended learns nothing.
func (s *side) erase(w http.ResponseWriter, r *http.Request) error {
	who, ok := s.sessions.person(r)
	if !ok {
		return errSignedOut
	}
	live, _, err := s.Issuer.Store.Live(r.Context(), who.Person, who.Session)
	if err == nil && !live {
		err = errSignedOut
	}
	if err == nil && !s.sessions.fresh(who) {
		err = errNotFresh
	}
	if err != nil {
		return err
	}
	names, err := s.Issuer.PenNames(r.Context(), who.Person, s.sectors())
	if err != nil {
		return err
	}
	known := s.known(names)
	receipt, err := s.Issuer.Erase(r.Context(), who.Person, who.Key, s.sectors(), s.erasing(r, known))
	if err == nil && r.PostFormValue("when") == "now" {
		if told := s.openid.Tell(r.Context(), openid.EventErased, known...); told != nil {
			err = issue.ErrRecorded.Because(told)
		}
	}
	if err != nil {
		return err
	}
	s.sessions.clear(w, r)
	return s.edge.RenderAgain(w, r, "", http.StatusOK, "deleted.html", receipt)
}

// end is how the sign-ins at platforms end: each platform learns it at its own moment,
// unless the person chose that all learn it at once.
func (s *side) end(r *http.Request) issue.End {
	if r.PostFormValue("when") == "now" {
		return s.openid.End
	}
	return s.openid.EndQuietly
}

// signOutEverywhere ends every session here and the sign-ins at platforms, for somebody
// who lost a device: it can do nothing here from now on, and renew nothing there.
func (s *side) signOutEverywhere(w http.ResponseWriter, r *http.Request) error {
	who, err := s.who(r)
	if err != nil {
		return err
	}
	if err := s.Issuer.SignOutEverywhere(r.Context(), who.Person, s.sectors(), s.end(r)); err != nil {
		return err
	}
	s.sessions.clear(w, r)
	return s.edge.RenderAgain(w, r, "", http.StatusOK, "out.html", map[string]bool{"AtOnce": r.PostFormValue("when") == "now"})
}

// signOutDevice ends one of the person's sessions, this one or another.
func (s *side) signOutDevice(w http.ResponseWriter, r *http.Request) error {
	who, err := s.who(r)
	if err != nil {
		return err
	}
	devices, err := s.Issuer.Store.Sessions(r.Context(), who.Person, today(s.edge.Now()))
	if err != nil {
		return err
	}
	i := slices.IndexFunc(devices, func(d issue.Session) bool { return hex.EncodeToString(d.ID[:]) == r.PostFormValue("device") })
	if i < 0 {
		return errNoDevice
	}
	if devices[i].ID == who.ID {
		return s.signOut(w, r)
	}
	if err := s.Issuer.Store.EndSession(r.Context(), devices[i]); err != nil {
		return err
	}
	if err := s.Issuer.Changed(r.Context(), who.Person, issue.ChangeDeviceOut, ""); err != nil {
		return err
	}
	return s.says(w, r, who, flashDevice, "#devices")
}

// object ends an acceptance by which somebody else would be recognised as this person.
func (s *side) object(w http.ResponseWriter, r *http.Request) error {
	who, err := s.who(r)
	if err != nil {
		return err
	}
	if err := s.Issuer.Object(r.Context(), who.Person, r.PostFormValue("reference")); err != nil {
		return err
	}
	if err := s.Issuer.Changed(r.Context(), who.Person, issue.ChangeRefusedAccount, ""); err != nil {
		return err
	}
	return s.says(w, r, who, flashObjected, "")
}

// signOut ends the session, not only the cookie: there may be a copy of it. The page that
// says so answers the form: no link makes it say what did not happen. Whoever presses twice is
// told the same.
func (s *side) signOut(w http.ResponseWriter, r *http.Request) error {
	if v, ok := s.sessions.person(r); ok {
		if err := s.Issuer.Store.EndSession(r.Context(), v.Session); err != nil {
			return err
		}
	}
	s.sessions.clear(w, r)
	return s.edge.RenderAgain(w, r, "", http.StatusOK, "signed-out.html", nil)
}
