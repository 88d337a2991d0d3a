package person

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/penname/penname/escrow/issue"
	"github.com/penname/penname/escrow/openid"
	"github.com/penname/penname/verifier/identity"
)

// NIST SP 800-63B-3, 4.2.3: at AAL2 reauthentication is required every 12 hours, and
// after 30 minutes without activity.
const (
	sessionLife = 30 * time.Minute // since the last page
	sessionMost = 12 * time.Hour   // since the proof of identity

	// freshFor is how new a proof must be, by a passkey or at the identity provider, for what
	// cannot be taken back, and to see pen names, notices and data.
	freshFor = 5 * time.Minute
)

// cookieBlock is what cookies are padded to, in bytes before they are sealed: room for
// all that one holds, in an answer whose header proxies pass on (nginx takes 4 KB).
const cookieBlock = 1536

// sessions keeps who is signed in, and flows under way, in sealed cookies: the
// database then holds no row that ties a person to a time of day.
type sessions struct {
	aeads  []cipher.AEAD // the first seals, all of them open
	secure bool
	now    func() time.Time
}

func newSessions(keys [][32]byte, origin string, now func() time.Time) (sessions, error) {
	s := sessions{secure: strings.HasPrefix(origin, "https:"), now: now}
	for _, key := range keys {
		block, err := aes.NewCipher(key[:])
		if err != nil {
			return s, err
		}
		aead, err := cipher.NewGCMWithRandomNonce(block)
		if err != nil {
			return s, err
		}
		s.aeads = append(s.aeads, aead)
	}
	return s, nil
}

// session is who is signed in.
type session struct {
	issue.Session
	Person  issue.Person  `json:"p"`
	Key     []byte        `json:"k,omitempty"` // of the claims: see issue.Issuer.Attest
	ACR     string        `json:"a"`
	Proven  time.Time     `json:"v"`           // see identity.Identity
	For     string        `json:"f,omitempty"` // the address that the person proved who they are anew for
	Told    string        `json:"t,omitempty"` // what was told Proven: see told
	Allowed []allowed     `json:"c,omitempty"`
	Sent    [][]byte      `json:"o,omitempty"` // what the person objected: see sent
	Whose   []byte        `json:"h,omitempty"` // see [side.whose]
	Flash   flash         `json:"m,omitempty"` // what the person's own page says next, once
	Derived issue.Derived `json:"n,omitzero"`  // of the platform where the person signed in last
	Expires time.Time     `json:"e"`           // unless the person opens another page
	Ends    time.Time     `json:"x"`           // in any case
	Passkey bool          `json:"y,omitempty"` // a passkey was shown in it
	Waited  time.Time     `json:"q,omitzero"`  // when a recovery began it

	recovery issue.Recovery // that stands, of whoever was found to be signed in
}

// flash is what a person's page says once of what they just did. It is in the sealed cookie,
// so that no link makes a page say what did not happen.
type flash string

const (
	flashBack     flash = "back"
	flashDevice   flash = "device"
	flashObjected flash = "objected"
	flashRenamed  flash = "renamed"
	flashRetired  flash = "retired"

	flashRecovered  flash = "recovered"
	flashCancelled  flash = "cancelled"
	flashPutOut     flash = "put out" // whoever a recovery had let in
	flashAdded      flash = "added"
	flashAddedFirst flash = "added first"
	flashGone       flash = "removed"

	// Of the page of the address.
	flashSent      flash = "address sent"
	flashConfirmed flash = "address confirmed"
	flashRemoved   flash = "address removed"
	flashWrongCode flash = "wrong code"
	flashCodeOver  flash = "code over"
)

// Objection reports whether it is of an objection that was stored.
func (f flash) Objection() bool { return strings.HasPrefix(string(f), string(flashStored(""))) }

// flashStored is of an objection to the order of that notice.
func flashStored(notice string) flash { return flash("objection " + notice) }

// says leads the person to a part of their own page, which says once what they did.
func (s *side) says(w http.ResponseWriter, r *http.Request, who session, what flash, part string) error {
	return s.saysAt(w, r, who, what, "/me"+part)
}

// saysAt is says of another page of theirs.
func (s *side) saysAt(w http.ResponseWriter, r *http.Request, who session, what flash, path string) error {
	who.Flash = what
	if err := s.sessions.keep(w, who); err != nil {
		return err
	}
	http.Redirect(w, r, path, http.StatusSeeOther)
	return nil
}

// allowed is what the person agreed to while this session lasts: what a platform may
// have again without asking (prompt=none). It is nowhere but in the cookie.
type allowed struct {
	Platform string            `json:"p"`
	Scopes   []byte            `json:"s"`           // see scopesDigest
	Persona  int               `json:"i,omitempty"` // which of the person's pen names there
	Claims   identity.ClaimSet `json:"l,omitempty"` // of those that the scopes ask for
	Silent   bool              `json:"n,omitempty"` // it was used so
	At       int64             `json:"t"`           // when, in seconds since 1970: it counts until it is withdrawn
}

// scopesDigest stands for what a platform asks for: in full it has no room in a cookie.
func scopesDigest(scopes string) []byte {
	digest := sha256.Sum256([]byte(scopes))
	return digest[:8]
}

// maxAllowed is how many are remembered, the newest ones: a cookie has room for them.
const maxAllowed = 6

// allow remembers what the person agreed to, of one pen name at each platform.
func (v *session) allow(to allowed) {
	v.Allowed = slices.DeleteFunc(slices.Clone(v.Allowed), func(a allowed) bool {
		return a.Platform == to.Platform && (bytes.Equal(a.Scopes, to.Scopes) || a.Persona != to.Persona)
	})
	v.Allowed = append(v.Allowed, to)
	v.Allowed = v.Allowed[max(0, len(v.Allowed)-maxAllowed):]
}

// used remembers that nobody was asked. It is then the newest.
func (v *session) used(platform string, scopes []byte) {
	if a, ok := v.allows(platform, scopes); ok {
		a.Silent = true
		v.allow(a)
	}
}

// sent reports whether this session sent an objection with that digest: sealed, one text is
// never twice the same, and nobody can tell later that it was.
func (v session) sent(digest [32]byte) bool {
	return slices.ContainsFunc(v.Sent, func(d []byte) bool { return bytes.Equal(d, digest[:8]) })
}

// maxSent is how many are remembered, the newest ones.
const maxSent = 6

func (v *session) send(digest [32]byte) {
	v.Sent = append(slices.Clone(v.Sent), digest[:8])
	v.Sent = v.Sent[max(0, len(v.Sent)-maxSent):]
}

// usedLast is which of the person's pen names this session used last at a platform.
func (v session) usedLast(platform string) (persona int, ok bool) {
	i := slices.IndexFunc(v.Allowed, func(a allowed) bool { return a.Platform == platform })
	if i < 0 {
		return 0, false
	}
	return v.Allowed[i].Persona, true
}

// allows returns what the person agreed to, of a platform that asks for these scopes.
func (v session) allows(platform string, scopes []byte) (agreed allowed, ok bool) {
	i := slices.IndexFunc(v.Allowed, func(a allowed) bool { return a.Platform == platform && bytes.Equal(a.Scopes, scopes) })
	if i < 0 {
		return agreed, false
	}
	return v.Allowed[i], true
}

// answers reports whether the proof of identity in this session is one that a platform
// asks for. One that was begun for this very interaction is. The moment of a proof is told
// to one pen name only: two that were told the same one would be one person's. So whoever
// asks for it has any other proof answered only if that was told to the pen name that was
// used there last. One that nobody was told of does not do either: else a refusal would
// say that somebody else was told, and who asked there would see whose two pen names are.
func (v session) answers(req openid.SignInRequest) bool {
	switch {
	case v.For == req.Action:
		return true
	case req.Fresh:
		return false
	case req.Since.IsZero():
		return true
	}
	last, ok := v.usedLast(req.Platform.ID)
	return ok && v.Told == told(req.Platform.SectorID(), last) && v.Proven.After(req.Since)
}

// flow is a sign-in at the identity provider that is under way in a tab of this browser.
type flow struct {
	Flow   identity.Flow `json:"f"`
	Back   string        `json:"i,omitempty"` // where to go on afterwards, see comesBack
	Word   string        `json:"w,omitempty"` // for the device
	Return bool          `json:"r,omitempty"` // the person knows that they asked to be deleted
	Renew  bool          `json:"n,omitempty"` // what the provider vouches for is taken anew

	Waits *issue.Recovery `json:"a,omitempty"` // it began that, or met it, and signed nobody in

	// What lets them in, of a flow that ends: see side.holds.
	sealed   bool   // they were sealed just now
	recovers bool   // they have passkeys, and waited
	shown    []byte // id of the passkey that they showed
}

// flowLife is longer than a flow lasts (identity.FlowTTL): who comes too late is told so,
// and led back to the platform.
const flowLife = sessionLife

// addFlow keeps the flow of one tab beside those of the others: as many as there is room
// for, the newest ones.
func (s sessions) addFlow(w http.ResponseWriter, r *http.Request, v flow) error {
	var all []flow
	s.get(r, "flow", &all)
	all = append(slices.DeleteFunc(all, func(f flow) bool { return f.Flow.State == v.Flow.State }), v)
	text, err := textOf(all)
	for len(text) > cookieBlock && len(all) > 1 {
		all = all[1:]
		text, err = textOf(all)
	}
	if err != nil {
		return err
	}
	s.set(w, "flow", flowLife, text)
	return nil
}

// flow returns the one with that state, else the newest, which the answer is then not for.
func (s sessions) flow(r *http.Request, state string) (f flow) {
	var all []flow
	s.get(r, "flow", &all)
	for _, f = range all {
		if f.Flow.State == state {
			return f
		}
	}
	return f
}

// browsers are what this browser is known again by: that of one flow, and of those before it.
func (s sessions) browsers(r *http.Request, f flow) (all []issue.Browser) {
	var flows []flow
	s.get(r, "flow", &flows)
	for _, one := range append([]flow{f}, flows...) {
		sum := sha256.Sum256([]byte("browser\x00" + one.Flow.State))
		all = append(all, issue.Browser(sum[:16]))
	}
	return all
}

// printable is what the person typed, as far as it can be shown.
func printable(typed string) string {
	typed = strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) || unicode.IsSpace(r) {
			return r
		}
		return -1
	}, strings.ToValidUTF8(typed, ""))
	return strings.Join(strings.Fields(typed), " ")
}

// word is what the person typed as a word for the device, as far as it can be shown and kept.
func word(typed string) string {
	var kept string
	for _, r := range printable(typed) {
		if len(kept)+len(string(r)) > issue.MaxWord {
			break
		}
		kept += string(r)
	}
	return kept
}

func (s sessions) name(kind string) string {
	if s.secure {
		return "__Host-penname-" + kind // RFC 6265bis, 4.1.3.2: Secure, no Domain, Path=/
	}
	return "penname-" + kind // loopback sandbox: no TLS
}

// textOf is what a cookie holds.
func textOf(v any) ([]byte, error) {
	var text bytes.Buffer
	e := json.NewEncoder(&text)
	e.SetEscapeHTML(false) // shorter
	err := e.Encode(v)
	return text.Bytes(), err
}

func (s sessions) set(w http.ResponseWriter, kind string, life time.Duration, text []byte) {
	s.seal(w, kind, life, text, cookieBlock)
}

// seal is set with what the cookie is padded to.
func (s sessions) seal(w http.ResponseWriter, kind string, life time.Duration, text []byte, block int) {
	// One length for everybody: who watches the line tells no two visits by it.
	b := append(text, bytes.Repeat([]byte(" "), (block-len(text)%block)%block)...)
	name := s.name(kind)
	http.SetCookie(w, &http.Cookie{ //nolint:gosec // Secure wherever there is TLS
		Name: name, Value: base64.RawURLEncoding.EncodeToString(s.aeads[0].Seal(nil, nil, b, []byte(name))),
		Path: "/", MaxAge: int(life.Seconds()), Secure: s.secure, HttpOnly: true,
		// Lax: the identity provider's redirect back is a cross-site navigation.
		SameSite: http.SameSiteLaxMode,
	})
}

// get opens a cookie into v; false if it is absent, altered or of another kind.
func (s sessions) get(r *http.Request, kind string, v any) bool {
	name := s.name(kind)
	c, err := r.Cookie(name)
	if err != nil {
		return false
	}
	sealed, err := base64.RawURLEncoding.Strict().DecodeString(c.Value)
	if err != nil {
		return false
	}
	for _, aead := range s.aeads {
		if b, err := aead.Open(nil, nil, sealed, []byte(name)); err == nil {
			return json.Unmarshal(bytes.TrimRight(b, " "), v) == nil
		}
	}
	return false
}

// clear takes the session's cookie back, and that of a sign-in that waits: the next person in
// this browser is not told of it, nor let in by a recovery that was used here.
func (s sessions) clear(w http.ResponseWriter, r *http.Request) {
	if v, _ := s.person(r); !v.Waited.IsZero() {
		s.forget(w, "flow")
	}
	s.forget(w, "session")
	s.forget(w, "waiting")
}

// forget takes a cookie back.
func (s sessions) forget(w http.ResponseWriter, kind string) {
	http.SetCookie(w, &http.Cookie{ //nolint:gosec // likewise
		Name: s.name(kind), Path: "/", MaxAge: -1, Secure: s.secure, HttpOnly: true, SameSite: http.SameSiteLaxMode,
	})
}

// person returns whom the cookie names as signed in; whether that has ended elsewhere
// it does not know, see [side.who].
func (s sessions) person(r *http.Request) (session, bool) {
	var v session
	ok := s.get(r, "session", &v) && s.now().Before(v.Expires)
	return v, ok
}

// keep lets a session last for another half hour, but not past its end.
func (s sessions) keep(w http.ResponseWriter, v session) error {
	if v.Expires = s.now().Add(sessionLife); v.Expires.After(v.Ends) {
		v.Expires = v.Ends
	}
	text, err := textOf(v)
	if len(text) > cookieBlock {
		v.Derived = issue.Derived{} // the key service says it again
		text, err = textOf(v)
	}
	for len(text) > cookieBlock && len(v.Allowed) > 0 {
		v.Allowed = v.Allowed[1:]
		text, err = textOf(v)
	}
	if err != nil {
		return err
	}
	s.set(w, "session", v.Expires.Sub(s.now()), text)
	return nil
}

// fresh reports whether the person proved who they are within minutes.
func (s sessions) fresh(v session) bool {
	return !v.Proven.IsZero() && s.now().Before(v.Proven.Add(freshFor))
}

// owners reports whether a proof at the provider is one like another in this session: it was
// begun by a passkey, or half a day ago at most by a recovery, which nobody cancelled.
func (s sessions) owners(v session) bool {
	return v.Passkey || !v.Waited.IsZero() && s.now().Before(v.Waited.Add(sessionMost))
}

// leaving is how a page speaks of the end of the session.
type leaving struct {
	Recovery *issue.Recovery // that somebody began; a passkey of the person is there to end it
	Asks     bool            // it waits, or is open; else somebody was let in by it

	Stay    string // where the form posts to that keeps it
	Typing  bool   // the page's own form keeps it, and what is typed there
	Minutes int    // that are left in any case, if they are fewer than a page may be looked at
	Form    string // stands for the session in what cannot be taken back: see ledBack
}

func (s sessions) leaving(v session, stay string) leaving {
	l := leaving{Stay: stay, Form: formOf(v)}
	if now, r := s.now(), v.recovery; v.Passkey && (r.Stands(now) || r.UsedLately(now)) {
		if l.Asks = r.Stands(now); !r.UsedLately(now) {
			r.Used = time.Time{}
		}
		l.Recovery = &r
	}
	if left := v.Ends.Sub(s.now()); left < sessionLife {
		l.Minutes = int(left/time.Minute) + 1
	}
	return l
}
