package service

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/penname/penname/escrow/openid"
	"github.com/penname/penname/escrow/postgres"
	"github.com/penname/penname/policy"
	"github.com/penname/penname/verifier/proof"
	"github.com/penname/penname/verifier/refusal"
)

// Platforms are in the public registry, and their client settings beside it in the
// database. This process believes of both what a registry key of the bundle in force
// signed, what the public log holds, and what the rules of its day allow after all that
// was logged before: an audit by somebody else finds the same. A platform that it cannot
// believe signs nobody in; the others do.

var (
	errPlatformsMoved = refusal.New(refusal.Invalid, "config.platforms_moved",
		"platforms are not in the configuration any more but in the public registry: register each with escrowd platform add, then remove [[issue.platforms]]")
	errPlatform = refusal.New(refusal.Invalid, "platform.unsound",
		"the platform signs nobody in, because its settings cannot be used: correct them with escrowd platform edit")
	errOtherSettings = refusal.New(refusal.Invalid, "platform.other_settings",
		"the platform signs nobody in, because the settings beside its record are not those that the registry key signed: see who can write the database, and give it its settings again with escrowd platform edit")
	errSomeRefused = refusal.New(refusal.Invalid, "platform.some_refused",
		"some platforms sign nobody in: the lines below say which, and why")
	errAllRefused = refusal.New(refusal.Invalid, "platform.all_refused",
		"no platform signs anybody in, for each is refused: the lines below say why; if none is signed with a registry key of the bundle in force, sign each anew with escrowd platform edit, or have a bundle endorsed with the key that signed them")
	errUnlogged = refusal.New(refusal.Unavailable, "platform.not_in_log",
		"the newest record of the platform is not used, because the public log that this process follows does not hold it: after a change that lasts two minutes at most; if it lasts longer, see whether the log is published, and who can write the database")
)

// followPlatforms is how soon a change is in force.
const followPlatforms = 3 * time.Second

// registered are the platforms of the registry, as this process can use them.
type registered struct {
	all     []openid.Platform // those that sign nobody in are closed
	refused map[string]error  // by id
	behind  []string          // whose newest record is not in the log; the one before is in force
	retired []string
	stopped []string
}

// register reads what the public log holds of the registry, under a bundle, and names
// what it does not hold. Keys are those that sign tokens; sandbox says that everybody is
// on this machine.
func (f *following) register(b *policy.Bundle, keys []openid.Key, sandbox bool) registered {
	r := registered{refused: map[string]error{}}
	unlogged := make(map[string]bool)
	for _, one := range f.unlogged {
		unlogged[one.id] = true
	}
	var algorithms []jose.SignatureAlgorithm
	for _, k := range keys {
		algorithms = append(algorithms, k.Algorithm())
	}
	for _, id := range slices.Sorted(maps.Keys(unlogged)) {
		if _, before := f.stored[id]; before {
			r.behind = append(r.behind, id)
			continue
		}
		r.all, r.refused[id] = append(r.all, openid.Platform{ID: id, Name: id, Closed: openid.ErrUnsound}), errUnlogged
	}
	for _, id := range slices.Sorted(maps.Keys(f.stored)) {
		p, record, err := openid.Platform{}, (*policy.PlatformRecord)(nil), f.wrong[id]
		if err == nil {
			p, record, err = Client(f.stored[id], b, algorithms, sandbox)
		}
		p.Registered = f.platforms.Registered(id)
		if p.ID = id; p.Name == "" {
			p.Name = id
		}
		switch {
		case err != nil:
			p.Closed, r.refused[id] = openid.ErrUnsound, err
		case b.StopsPlatform(id):
			p.Closed, r.stopped = openid.ErrStopped, append(r.stopped, id)
		case record.Retired:
			p.Closed, r.retired = openid.ErrRetired, append(r.retired, id)
		}
		r.all = append(r.all, p)
	}
	return r
}

// Client is a platform as its record and its settings have it, at a service whose keys
// sign by algorithms; of one that is refused, what can be believed.
func Client(stored postgres.Registered, b *policy.Bundle, algorithms []jose.SignatureAlgorithm, sandbox bool) (p openid.Platform, record *policy.PlatformRecord, err error) {
	day, err := time.Parse(time.DateOnly, stored.Day)
	if err != nil {
		return p, nil, policy.ErrPlatform.Because(err)
	}
	if record, err = b.VerifyPlatform(stored.Signed, day); err != nil {
		return p, nil, err
	}
	who := openid.Platform{Name: record.Name, Sector: record.Sector, Personas: record.Personas}
	if record.Retired {
		return who, record, nil
	}
	if policy.ClientHash(stored.Client) != record.Client {
		return who, record, errOtherSettings
	}
	if p, err = openid.ParseSettings(stored.Client); err != nil {
		return who, record, errPlatform.Because(errors.Unwrap(err))
	}
	p.ID, p.Name, p.Sector, p.Origins, p.Localhost = record.ID, record.Name, record.Sector, record.Origins, sandbox
	p.Succeeds, p.Personas = record.Succeeds, record.Personas
	if err := p.Check(); err != nil {
		return who, record, errPlatform.Because(errors.Unwrap(err))
	}
	for _, o := range p.RedirectOrigins() {
		if !slices.Contains(p.Origins, o) {
			return who, record, errPlatform.Because(errors.New("its public record does not name the origin of each https redirect URI"))
		}
	}
	check := func() error { return nil }
	switch {
	case record.Succeeds != "":
		check = p.CheckMoved
	case record.Sector != "" && record.SectorURI == "":
		check = func() error { return p.CheckSector(record.Sector) }
	}
	if err := check(); err != nil {
		return who, record, err
	}
	if p.IDTokenAlg != "" && !slices.Contains(algorithms, p.IDTokenAlg) {
		return who, record, errPlatform.Because(errors.New("no key of the service signs with its id_token_alg"))
	}
	return p, record, nil
}

// states counts the platforms by how they are.
func (r registered) states() map[string]int {
	return map[string]int{"open": len(r.all) - len(r.refused) - len(r.retired) - len(r.stopped),
		"retired": len(r.retired), "stopped": len(r.stopped), "refused": len(r.refused)}
}

// findings are how many there are, and one for each that is refused.
func (r registered) findings() []Finding {
	var counts []string
	states := r.states()
	for state, n := range states {
		if n > 0 {
			counts = append(counts, fmt.Sprintf("%d %s", n, state))
		}
	}
	slices.Sort(counts)
	var err error
	if states["refused"] > 0 {
		err = errSomeRefused
		if waits := func(id string) bool { return errors.Is(r.refused[id], errUnlogged) }; states["open"] == 0 && !slices.ContainsFunc(slices.Collect(maps.Keys(r.refused)), waits) {
			err = errAllRefused
		}
	}
	count := found("issue.platforms", err)
	count.Cause = cmp.Or(strings.Join(counts, ", "), "none is registered")
	all := []Finding{count}
	warn := maps.Clone(r.refused)
	for _, id := range r.behind {
		warn[id] = cmp.Or(warn[id], error(errUnlogged))
	}
	for _, id := range slices.Sorted(maps.Keys(warn)) {
		f := found("platform "+id, warn[id])
		f.Mark = Warning
		all = append(all, f)
	}
	return all
}

// tryPlatforms is what a check finds of platforms.
func (t *trying) tryPlatforms(ctx context.Context) {
	if t.Issuing == nil {
		return
	}
	if lacks := t.lacks([]string{"rules", "issue.token_keys", "issue.database"}); lacks != "" {
		t.all = append(t.all, Finding{Mark: NotTried, Part: "issue.platforms", Cause: "it needs " + lacks})
		return
	}
	f := newFollowing()
	changed, err := t.Issuing.Store.Platforms(ctx, -1)
	if err == nil {
		err = f.read(changed)
	}
	if err == nil && t.history != nil {
		err = f.take(ctx, t.history.HoldsRecord, t.history.Until)
	}
	if err != nil {
		t.all = append(t.all, found("issue.platforms", err))
		return
	}
	if t.history == nil { // who discloses has the log itself in the database, and the start judges by it
		for _, one := range f.unlogged {
			f.stored[one.id] = one.Registered
		}
		f.unlogged = nil
	}
	now := f.register(t.Bundle, t.Issuing.TokenKeys, OnThisMachine(t.Origin))
	t.all = append(t.all, now.findings()...)
	var addresses []part
	try := func(name string, open func(*opening, context.Context) error) {
		addresses = append(addresses, part{name, []string{"issue.platform_networks"}, open})
	}
	for _, p := range now.all {
		if p.Closed == nil && p.BackchannelLogoutURI != "" {
			try("logout at "+p.ID, func(o *opening, ctx context.Context) error { return o.tryLogout(ctx, p.BackchannelLogoutURI) })
		}
		if p.Closed == nil && p.JWKSURI != "" {
			try("keys at "+p.ID, func(o *opening, ctx context.Context) error { return o.tryKeys(ctx, p.JWKSURI) })
		}
	}
	t.try(ctx, addresses)
}

// OnThisMachine reports whether an origin is a sandbox's: no other is plain http.
func OnThisMachine(origin string) bool { return strings.HasPrefix(origin, "http://") }

// following is how far a service has read the registry.
type following struct {
	mu        sync.Mutex
	platforms policy.Platforms               // what the public log holds and its rules allow
	stored    map[string]postgres.Registered // by id: the newest that the public log holds
	wrong     map[string]error               // by id: why the rules of its day do not allow that one
	unlogged  []claimed                      // which the log was not seen to hold, in the order of their leaves
	last      int64                          // leaf of the newest record that was read
	looked    time.Time                      // for what is not in the log
	bundle    string                         // hash of the one by which stored were judged; "": anew
	keys      *[]openid.Key                  // likewise
}

// claimed is a stored record with the id that it claims.
type claimed struct {
	id string
	postgres.Registered
}

func newFollowing() *following {
	return &following{stored: map[string]postgres.Registered{}, wrong: map[string]error{}, last: -1}
}

// read notes stored records, which come in the order of their leaves. The database holds
// none that cannot be read.
func (f *following) read(changed []postgres.Registered) error {
	for _, one := range changed {
		record, err := policy.ParsePlatform(one.Signed)
		if err != nil {
			return err
		}
		f.unlogged, f.last, f.bundle = append(f.unlogged, claimed{record.ID, one}), one.Leaf, ""
	}
	return nil
}

// take uses the records that the log holds by now, one after the other, each by the rules
// of its day.
func (f *following) take(ctx context.Context, holds func(leaf int64, digest string) bool, until func(ctx context.Context, leaf int64) ([]*policy.Bundle, error)) error {
	var rest []claimed
	for i, one := range f.unlogged {
		if !holds(one.Leaf, proof.PlatformDigest(one.Signed, one.Countersigned)) {
			rest = append(rest, one)
			continue
		}
		bundles, err := until(ctx, one.Leaf)
		if err != nil {
			f.unlogged = append(rest, f.unlogged[i:]...)
			return err
		}
		f.stored[one.id], f.wrong[one.id], f.bundle = one.Registered, f.platforms.Add(one.LoggedPlatform, bundles...), ""
	}
	f.unlogged = rest
	return nil
}

// LoadPlatforms takes what is new in the registry, once the public log holds it. What it
// does not take it says once.
func (s *Service) LoadPlatforms(ctx context.Context) error {
	if s.Issuing == nil {
		return nil
	}
	f := s.live.following
	f.mu.Lock()
	defer f.mu.Unlock()
	changed, err := s.changed(ctx, f.last)
	if err != nil {
		return err
	}
	if err := f.read(changed); err != nil {
		return err
	}
	doubt := f.take(ctx, s.live.holds, s.live.until) // in which what was there before goes on
	if now := s.Now(); len(f.unlogged) > 0 && (len(changed) > 0 || now.Sub(f.looked).Abs() >= lookAgain) {
		f.looked = now
		doubt = errors.Join(s.live.look(ctx), f.take(ctx, s.live.holds, s.live.until))
	}
	b, err := s.live.rules() // a look may have found newer ones
	if err != nil {
		return err
	}
	keys := s.live.tokenKeys.Load()
	if f.bundle == b.Hash() && f.keys == keys {
		return doubt
	}
	now := f.register(b, *keys, OnThisMachine(s.Origin))
	if err := s.live.issuing.SetPlatforms(now.all); err != nil {
		return err
	}
	s.live.registered.Store(&now)
	f.bundle, f.keys = b.Hash(), keys
	s.sayPlatforms(now)
	return doubt
}

func (s *Service) sayPlatforms(now registered) {
	for _, id := range slices.Sorted(maps.Keys(now.refused)) {
		s.Log.Error("a platform is refused and signs nobody in", append([]any{slog.String("platform", id)}, why(now.refused[id])...)...)
	}
	for _, id := range now.behind {
		s.Log.Warn("the newest record of a platform is not used, and the one before stays in force", append([]any{slog.String("platform", id)}, why(errUnlogged)...)...)
	}
	counts, states := []any{}, now.states()
	for _, state := range slices.Sorted(maps.Keys(states)) {
		counts = append(counts, slog.Int(state, states[state]))
	}
	s.Log.Info("platforms were read", counts...)
}
