package person

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"time"

	"github.com/penname/penname/escrow/issue"
	"github.com/penname/penname/escrow/openid"
	"github.com/penname/penname/verifier/refusal"
	"github.com/penname/penname/verifier/token"
)

// One pen name can be left: with either button its sign-ins end, and the consent is forgotten
// that sessions here remember, or the next silent sign-in would undo it. The other button
// tells platforms besides that consent was withdrawn. Both are for all platforms that know the person by it, and for no other one of
// their pen names: two that end at one moment would be one person's.

var errNoPenName = refusal.New(refusal.NotFound, "person.no_pen_name",
	"you have no such pen name in use: your own page lists those that you have")

// errWithdrawn is of a sign-in that was under way.
var errWithdrawn = refusal.New(refusal.Denied, "person.consent_withdrawn",
	"you withdrew your consent a moment ago: nobody was signed in; the platform can ask you anew")

// platformPage says what leaving a platform does. Done, it says what was done.
type platformPage struct {
	Names     string // of these platforms
	PenName   token.Pseudonym
	Alias     string // what the person calls it; "": nothing
	Told      bool   // one of them wants to be told who signed out
	Hears     bool   // one of them wants to be told of withdrawn consent
	Withdrawn bool
	Leaving   leaving
}

// atPlatform is who asks, the pen name in use that the request names, and the page about it.
func (s *side) atPlatform(r *http.Request) (who session, n issue.PenName, page platformPage, err error) {
	who, n, _, err = s.mine(r)
	if errors.Is(err, issue.ErrPersonaUnknown) || err == nil && !n.Retired.IsZero() {
		err = errNoPenName
	}
	if err != nil {
		return who, n, page, err
	}
	page = platformPage{Names: s.called(n.Platform), PenName: n.Pseudonym, Alias: n.Alias, Leaving: s.sessions.leaving(who, "/me/stay")}
	for _, p := range s.members(n.Platform) {
		page.Told = page.Told || hearsOfSignOut(p)
		page.Hears = page.Hears || p.Events != nil
	}
	return who, n, page, nil
}

// known are pen names, each once, with the platforms that know them.
func (s *side) known(names []issue.PenName) (all []openid.Known) {
	for _, n := range names {
		if slices.ContainsFunc(all, func(k openid.Known) bool { return k.Name == n.Pseudonym }) {
			continue // once for each record that its person had
		}
		all = append(all, openid.Known{Name: n.Pseudonym, Platforms: s.members(n.Platform)})
	}
	return all
}

// leavePlatform asks first. Then it ends the sign-ins of a pen name and forgets the consent,
// and tells of the consent if that is what was pressed. The person chose this one, so that its platform is told at once.
func (s *side) leavePlatform(w http.ResponseWriter, r *http.Request) error {
	switched := s.edge.Switches(w, r)
	who, n, page, err := s.atPlatform(r)
	if err != nil {
		return err
	}
	if switched || r.PostFormValue("do") == "" {
		if err := s.sessions.keep(w, who); err != nil {
			return err
		}
		return s.edge.RenderAgain(w, r, "", http.StatusOK, "platform.html", page)
	}
	page.Withdrawn = r.PostFormValue("do") == "withdraw"
	// First, so that nobody is signed in by it meanwhile.
	if err := s.Issuer.Store.Withdraw(r.Context(), who.Person, told(n.Platform, n.Persona), s.edge.Now()); err != nil {
		return err
	}
	if err := s.openid.End(r.Context(), n.Pseudonym); err != nil {
		return err
	}
	kind := issue.ChangeLeft
	if page.Withdrawn {
		kind = issue.ChangeWithdrawn
	}
	if err := s.Issuer.ChangedName(r.Context(), n.Pseudonym, kind); err != nil {
		return err
	}
	if page.Withdrawn {
		if err := s.openid.Tell(r.Context(), openid.EventWithdrawn, s.known([]issue.PenName{n})...); err != nil {
			return err
		}
	}
	if err := s.sessions.keep(w, who); err != nil {
		return err
	}
	return s.edge.RenderAgain(w, r, "", http.StatusOK, "platform-left.html", page)
}

// agreed returns what a platform may have again, if the person agreed to it in this session
// and did not withdraw it since, here or on another device.
func (s *side) agreed(ctx context.Context, who session, pl openid.Platform, scopes []byte) (given allowed, ok bool, err error) {
	if given, ok = who.allows(pl.ID, scopes); !ok {
		return given, false, nil
	}
	withdrawn, err := s.Issuer.Store.Withdrawn(ctx, who.Person, told(pl.SectorID(), given.Persona), today(s.edge.Now()))
	return given, time.Unix(given.At, 0).After(withdrawn), err
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
