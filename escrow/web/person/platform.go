package person

import (
	"context"
	"net/http"
	"slices"
	"strings"

	"github.com/penname/penname/escrow/issue"
	"github.com/penname/penname/escrow/openid"
	"github.com/penname/penname/verifier/refusal"
	"github.com/penname/penname/verifier/token"
)

// One platform can be left: signed out of, or with the consent withdrawn that a session
// here remembers. Both are for all platforms that know the person by that pen name.

var errNoPenName = refusal.New(refusal.NotFound, "person.no_pen_name",
	"you have no pen name there: your own page lists those that you have")

// errWithdrawn is of a sign-in that was under way.
var errWithdrawn = refusal.New(refusal.Denied, "person.consent_withdrawn",
	"you withdrew your consent a moment ago: nobody was signed in; the platform can ask you anew")

// platformPath is where a person leaves one platform.
const platformPath = "/me/platform"

// platformPage says what leaving a platform does. Done, it says what was done.
type platformPage struct {
	Sector    string // whose platforms they are
	Names     string // of these platforms
	PenName   token.Pseudonym
	Told      bool // one of them wants to be told who signed out
	Hears     bool // one of them wants to be told of withdrawn consent
	Withdrawn bool
	Leaving   leaving
}

// atPlatform is who asks, and their pen name at the platform that the request names.
func (s *side) atPlatform(r *http.Request, sector string) (who session, all []openid.Known, page platformPage, err error) {
	if who, err = s.who(r); err != nil {
		return who, nil, page, err
	}
	if !slices.Contains(s.sectors(), sector) {
		return who, nil, page, errNoPenName
	}
	names, err := s.Issuer.PenNames(r.Context(), who.Person, []string{sector})
	if err == nil && len(names) == 0 {
		err = errNoPenName
	}
	if err != nil {
		return who, nil, page, err
	}
	all = s.known(names)
	page = platformPage{Sector: sector, PenName: names[0].Pseudonym, Leaving: s.sessions.leaving(who, "/me/stay")}
	var called []string
	for _, p := range all[0].Platforms {
		called = append(called, p.Name)
		page.Told = page.Told || p.BackchannelLogoutURI != "" || p.Events != nil
		page.Hears = page.Hears || p.Events != nil
	}
	page.Names = strings.Join(called, ", ")
	return who, all, page, nil
}

// known are pen names, each once, with the platforms that know them.
func (s *side) known(names []issue.PenName) (all []openid.Known) {
	for _, n := range names {
		if slices.ContainsFunc(all, func(k openid.Known) bool { return k.Name == n.Pseudonym }) {
			continue // once for each record that its person had
		}
		of := openid.Known{Name: n.Pseudonym}
		for _, p := range *s.platforms.Load() {
			if p.SectorID() == n.Platform {
				of.Platforms = append(of.Platforms, p)
			}
		}
		all = append(all, of)
	}
	return all
}

func (s *side) askPlatform(w http.ResponseWriter, r *http.Request) error {
	who, _, page, err := s.atPlatform(r, r.URL.Query().Get("platform"))
	if err == nil {
		err = s.sessions.keep(w, who)
	}
	if err != nil {
		return err
	}
	return s.edge.Render(w, http.StatusOK, "platform.html", page)
}

// leavePlatform ends the sign-ins at a platform, and forgets the consent if that is what
// was pressed. The person chose this one platform, so that it is told at once.
func (s *side) leavePlatform(w http.ResponseWriter, r *http.Request) error {
	who, known, page, err := s.atPlatform(r, r.PostFormValue("platform"))
	if err != nil {
		return err
	}
	page.Withdrawn = r.PostFormValue("do") == "withdraw"
	if page.Withdrawn { // first, so that nobody is signed in by it meanwhile
		if err := s.Issuer.Store.Withdraw(r.Context(), who.Person, page.Sector, s.edge.Now()); err != nil {
			return err
		}
	}
	for _, k := range known {
		if err := s.openid.End(r.Context(), k.Name); err != nil {
			return err
		}
	}
	if page.Withdrawn {
		if err := s.openid.Tell(r.Context(), openid.EventWithdrawn, known...); err != nil {
			return err
		}
	}
	if err := s.sessions.keep(w, who); err != nil {
		return err
	}
	return s.edge.Render(w, http.StatusOK, "platform-left.html", page)
}

// silently answers a platform that asks without a page (prompt=none).
func (s *side) silently(w http.ResponseWriter, r *http.Request, req openid.SignInRequest, who session) (openid.Subject, openid.Outcome, error) {
	agreed, err := s.agreed(r.Context(), who, req.Platform, req.Scopes)
	if err != nil {
		return openid.Subject{}, openid.Pending, err
	}
	if !agreed {
		return openid.Subject{}, openid.Unasked, nil
	}
	return s.approve(w, r, req, who)
}

// agreed reports whether a platform may have again what the person agreed to in this
// session: they did not withdraw it since, here or on another device.
func (s *side) agreed(ctx context.Context, who session, pl openid.Platform, scopes string) (bool, error) {
	given, ok := who.allows(pl.ID, scopes)
	if !ok {
		return false, nil
	}
	withdrawn, err := s.Issuer.Store.Withdrawn(ctx, who.Person, pl.SectorID(), today(s.edge.Now()))
	return given.After(withdrawn), err
}

// erasing is how the sign-ins of somebody end who asked to be deleted: see [side.end].
func (s *side) erasing(r *http.Request, known []openid.Known) issue.End {
	if r.PostFormValue("when") == "now" {
		return s.openid.End
	}
	return func(ctx context.Context, names ...token.Pseudonym) error {
		var all []openid.Known
		for _, name := range names {
			of := openid.Known{Name: name}
			if i := slices.IndexFunc(known, func(k openid.Known) bool { return k.Name == name }); i >= 0 {
				of = known[i]
			}
			all = append(all, of)
		}
		return s.openid.EraseQuietly(ctx, all...)
	}
}
