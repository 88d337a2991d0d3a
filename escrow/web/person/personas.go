package person

import (
	"context"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/penname/penname/escrow/issue"
	"github.com/penname/penname/escrow/openid"
	"github.com/penname/penname/verifier/token"
)

// choice is what a person is asked who has several pen names at a platform, or may have.
type choice struct {
	At    string          // id of the platform
	Asked bool            // nothing is asked where they have their first one or get it now, and can have no other
	Names []issue.PenName // in use there
	Now   token.Pseudonym // chosen beforehand: the one that this session used last there, or the only one, whomever the platform hints at
	Most  int             // that the platform allows
	Room  bool            // for another one

	Typed string // as what a new one is called
	Wrong string // what is wrong with it
}

// anew is the choice of a pen name that is made now.
const anew = "new"

// choice returns what to ask somebody who ever had these pen names at a platform.
func (s *side) choice(who session, p openid.Platform, all []issue.PenName) (c choice) {
	c.At = p.ID
	c.Most = openid.Personas(*s.platforms.Load(), p.SectorID())
	c.Room = s.Issuer.Room(all, c.Most)
	last, used := who.usedLast(p.ID)
	for _, n := range all {
		if !n.Retired.IsZero() {
			continue
		}
		if c.Names = append(c.Names, n); used && n.Persona == last {
			c.Now = n.Pseudonym
		}
	}
	if len(c.Names) == 1 && c.Now == "" {
		c.Now = c.Names[0].Pseudonym
	}
	c.Asked = c.Most > 1 || len(all) > 1 || len(c.Names) < len(all)
	return c
}

// chosen is the number of the pen name that a form names, of those of the person at the
// platform; without a name it is the first.
func (s *side) chosen(who session, req openid.SignInRequest, at issue.At, form string) (persona int, err error) {
	if form == "" {
		return 0, nil
	}
	c := s.choice(who, req.Platform, at.Names)
	if form == anew {
		if !c.Room {
			return 0, issue.ErrNoRoom
		}
		return len(at.Names), nil
	}
	i := slices.IndexFunc(c.Names, func(n issue.PenName) bool { return string(n.Pseudonym) == form })
	if i < 0 {
		return 0, issue.ErrPersonaUnknown
	}
	return c.Names[i].Persona, nil
}

// silently answers a request that may show no page: with the pen name that the person
// allowed last, in this session at this platform. Whom the platform expects changes
// nothing: it could ask for one pen name after the other, and see which are one person's.
func (s *side) silently(w http.ResponseWriter, r *http.Request, req openid.SignInRequest, who session, at issue.At) (openid.Subject, openid.Outcome, error) {
	before, ok, err := s.agreed(r.Context(), who, req.Platform, scopesDigest(req.Scopes))
	if err != nil {
		return openid.Subject{}, openid.Pending, err
	}
	if !ok {
		return openid.Subject{}, openid.Unasked, nil
	}
	if !slices.ContainsFunc(s.choice(who, req.Platform, at.Names).Names, func(n issue.PenName) bool { return n.Persona == before.Persona }) {
		return openid.Subject{}, openid.Unasked, nil // it is retired
	}
	return s.approve(w, r, req, who, at, before.Persona, "")
}

// told is which pen name was told when the person proved who they are: it is nobody's
// business that two were at one moment, also at one platform.
func told(sector string, persona int) string {
	if persona == 0 {
		return sector
	}
	return sector + "#" + strconv.Itoa(persona)
}

// mine returns one of the pen names of whoever is signed in and proved just now who they are, by a form that they sent, with
// its notes, and how many its platform allows.
func (s *side) mine(r *http.Request) (who session, n issue.PenName, most int, err error) {
	if who, err = s.freshly(r); err == nil {
		n, most, err = s.named(r, who)
	}
	return who, n, most, err
}

// named is the pen name of somebody that a link or a form names, with its notes, and how many
// its platform allows.
func (s *side) named(r *http.Request, who session) (n issue.PenName, most int, err error) {
	names, err := s.Issuer.PenNames(r.Context(), who.Person, s.sectors())
	if err != nil {
		return n, 0, err
	}
	i := slices.IndexFunc(names, func(n issue.PenName) bool { return string(n.Pseudonym) == r.FormValue("pen_name") })
	if i < 0 {
		return n, 0, issue.ErrPersonaUnknown
	}
	one := names[i : i+1]
	err = s.Issuer.Notes(r.Context(), who.Person, one)
	return one[0], openid.Personas(*s.platforms.Load(), one[0].Platform), err
}

// namePath is where a person calls one of their pen names something, leaves its platform or
// retires it.
const namePath = "/me/name"

// namePage is one pen name, for its person alone.
type namePage struct {
	issue.PenName
	Platforms string // their names
	Several   bool   // a person may have more than one there
	Typed     string // as what it is called
	Mistakes  []mistake
	Leaving   leaving
}

// Wrong is what is wrong with what was typed; "": nothing.
func (p namePage) Wrong() string { return wrongAt(p.Mistakes, "alias") }

func (s *side) name(w http.ResponseWriter, r *http.Request) error {
	who, asked, err := s.lately(w, r)
	if err != nil || asked {
		return err
	}
	n, most, err := s.named(r, who)
	if err == nil && !n.Retired.IsZero() {
		err = errNoPenName
	}
	if err != nil {
		return err
	}
	return s.showName(w, r, who, http.StatusOK, namePage{PenName: n, Several: most > 1, Typed: n.Alias})
}

func (s *side) showName(w http.ResponseWriter, r *http.Request, who session, status int, page namePage) error {
	one := []issue.PenName{page.PenName}
	err := s.Issuer.Handles(r.Context(), one)
	if err == nil {
		err = s.sessions.keep(w, who)
	}
	if err != nil {
		return err
	}
	page.PenName = one[0]
	page.Platforms, page.Leaving = s.called(page.Platform), s.sessions.leaving(who, "/me/stay")
	return s.edge.RenderAgain(w, r, namePath+"?"+url.Values{"pen_name": {string(page.Pseudonym)}}.Encode(), status, "name.html", page)
}

// rename notes what a person calls a pen name.
func (s *side) rename(w http.ResponseWriter, r *http.Request) error {
	switched := s.edge.Switches(w, r)
	who, n, most, err := s.mine(r)
	if err != nil {
		return err
	}
	typed := r.PostFormValue("alias")
	page := namePage{PenName: n, Several: most > 1, Typed: typed}
	if switched {
		return s.showName(w, r, who, http.StatusOK, page)
	}
	if page.Mistakes = oneMistake("alias", wrongWord(typed)); page.Mistakes != nil {
		return s.showName(w, r, who, http.StatusUnprocessableEntity, page)
	}
	if err := s.Issuer.Call(r.Context(), who.Person, n, word(typed)); err != nil {
		return err
	}
	return s.says(w, r, who, flashRenamed, "")
}

// retirePage says what it means to retire a pen name.
type retirePage struct {
	Name     issue.PenName
	Platform string
	CoolDown int  // days
	Hears    bool // the platform wants to be told
	Told     bool // it wants to be told who signed out
	Leaving  leaving
}

// retire asks first, and then retires a pen name, where a person may have several. It ends
// no other sign-in than that name's, and its platform is told.
func (s *side) retire(w http.ResponseWriter, r *http.Request) error {
	switched := s.edge.Switches(w, r)
	who, n, most, err := s.mine(r)
	switch {
	case err != nil:
		return err
	case !n.Retired.IsZero():
		return issue.ErrPersonaUnknown
	case most < 2:
		return issue.ErrKeepsOne
	}
	known := s.known([]issue.PenName{n})
	if switched || r.PostFormValue("sure") == "" {
		if err := s.sessions.keep(w, who); err != nil {
			return err
		}
		page := retirePage{n, s.called(n.Platform), issue.CoolDown, hears(known[0]), slices.ContainsFunc(known[0].Platforms, hearsOfSignOut), s.sessions.leaving(who, "/me/stay")}
		return s.edge.RenderAgain(w, r, "", http.StatusOK, "retire.html", page)
	}
	if err := s.Issuer.Retire(r.Context(), n, s.openid.End); err != nil {
		return err
	}
	if err := s.openid.Tell(r.Context(), openid.EventRetired, known...); err != nil {
		return err
	}
	return s.says(w, r, who, flashRetired, "")
}

// hears reports whether a platform that knows a pen name wants to be told of events.
func hears(k openid.Known) bool {
	return slices.ContainsFunc(k.Platforms, func(p openid.Platform) bool { return p.Events != nil })
}

// hearsOfSignOut reports whether a platform wants to be told who signed out.
func hearsOfSignOut(p openid.Platform) bool { return p.BackchannelLogoutURI != "" || p.Events != nil }

// called are the names of the platforms of a sector.
func (s *side) called(sector string) string {
	var names []string
	for _, p := range s.members(sector) {
		names = append(names, p.Name)
	}
	return strings.Join(names, ", ")
}

// predecessor is the name of the platform that p took over from, where the person may be
// known there by one of these pen names, and did not say yes in this session to be known by
// one to p; "": there is nothing to say.
func (s *side) predecessor(ctx context.Context, who session, p openid.Platform, names []issue.PenName) (string, error) {
	if p.Succeeds == "" {
		return "", nil
	}
	names = slices.DeleteFunc(slices.Clone(names), func(n issue.PenName) bool { return n.Since.After(p.Registered) })
	for _, a := range who.Allowed {
		if a.Platform != p.ID || !slices.ContainsFunc(names, func(n issue.PenName) bool { return n.Persona == a.Persona }) {
			continue
		}
		if _, agreed, err := s.agreed(ctx, who, p, a.Scopes); err != nil || agreed {
			return "", err
		}
	}
	if len(names) == 0 {
		return "", nil
	}
	before, err := s.platform(ctx, p.Succeeds)
	if err != nil {
		return p.Succeeds, nil
	}
	return before.Name, nil
}

// hosts are where a platform is: those of its pages and of its sign-ins.
func hosts(p openid.Platform) string {
	var all []string
	for _, address := range slices.Concat(p.Origins, p.RedirectURIs) {
		if u, err := url.Parse(address); err == nil && u.Host != "" && !slices.Contains(all, u.Hostname()) {
			all = append(all, u.Hostname())
		}
	}
	return strings.Join(all, ", ")
}
