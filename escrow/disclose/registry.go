package disclose

import (
	"context"
	"encoding/hex"
	"errors"
	"time"

	"github.com/penname/penname/policy"
	"github.com/penname/penname/verifier/opening"
	"github.com/penname/penname/verifier/proof"
)

// Registry keeps the records of platforms. Who only reads needs Of and After.
type Registry struct {
	Rules *Rules
	Now   func() time.Time

	// Append stores an entry and appends leaf, of its record, in one transaction; or
	// returns the record with its leaf if it is stored already. A leaf of that very
	// record which lost its row is taken again. It is ErrRegistryMoved if another leaf
	// than after is the last one of a record of any platform, -1 if there is none.
	Append func(ctx context.Context, e PlatformEntry, leaf proof.Leaf, after int64) (policy.LoggedPlatform, error)
	// Of returns all records of platforms, of all of them without ids, in the order of
	// their leaves.
	Of func(ctx context.Context, ids ...string) ([]policy.LoggedPlatform, error)
	// After returns a page of the records behind a leaf, of one platform or of all (""),
	// in the order of their leaves, and whether there are more behind it. It has at most
	// that many records and, but for the first, that many bytes of JWS.
	After func(ctx context.Context, leaf int64, id string, records, bytes int) (page []policy.LoggedPlatform, more bool, err error)
}

// PlatformEntry is a record that shall be logged, with what belongs to it.
type PlatformEntry struct {
	Record        *policy.PlatformRecord
	Signed        string
	Countersigned []string
	Client        []byte // settings of its OpenID client, opaque here
}

// Record puts a signed record into the registry: the row and its leaf in the public log
// in one transaction. Recording the same one again changes nothing. The refusals are
// those of [policy.Bundle.Register], ErrClientSettings and ErrRegistryDamaged.
func (r *Registry) Record(ctx context.Context, signed string, countersigned []string, client []byte) (policy.LoggedPlatform, error) {
	const attempts = 5
	for n := 1; ; n++ {
		logged, err := r.record(ctx, signed, countersigned, client)
		if n == attempts || !errors.Is(err, ErrRegistryMoved) {
			return logged, err
		}
	}
}

func (r *Registry) record(ctx context.Context, signed string, countersigned []string, client []byte) (policy.LoggedPlatform, error) {
	bundles, err := r.Rules.All(ctx)
	if err != nil {
		return policy.LoggedPlatform{}, err
	}
	have, err := r.Of(ctx)
	if err != nil {
		return policy.LoggedPlatform{}, err
	}
	for _, l := range have {
		if l.Signed == signed {
			return l, nil
		}
	}
	// Nobody is registered beside a platform that cannot be believed: its keys and its sector
	// could be given away.
	platforms, err := policy.NewPlatforms(have, bundles...)
	if err != nil {
		return policy.LoggedPlatform{}, ErrRegistryDamaged.Because(err)
	}
	now := r.Now()
	record, err := bundles[len(bundles)-1].Register(signed, countersigned, platforms, now)
	if err != nil {
		return policy.LoggedPlatform{}, err
	}
	if record.Client != policy.ClientHash(client) {
		return policy.LoggedPlatform{}, ErrClientSettings
	}
	after := int64(-1)
	if len(have) > 0 {
		after = have[len(have)-1].Leaf
	}
	return r.Append(ctx, PlatformEntry{record, signed, countersigned, client}, proof.PlatformLeaf(now, signed, countersigned), after)
}

// All returns every bundle that was ever in force, in their order, or ErrNoBundle.
func (r *Rules) All(ctx context.Context) ([]*policy.Bundle, error) {
	hashes, err := r.Bundles.History(ctx)
	if err != nil {
		return nil, err
	}
	if len(hashes) == 0 {
		return nil, ErrNoBundle
	}
	all := make([]*policy.Bundle, len(hashes))
	for i, hash := range hashes {
		if all[i], err = r.bundle(ctx, hash); err != nil {
			return nil, err
		}
	}
	return all, nil
}

// known is what the public log says of a warrant beside its own leaves: what [policy.Decide]
// needs under b, the bundle of its day, checked under the one in force.
func (r *Registrar) known(ctx context.Context, s policy.Submission, b, inForce *policy.Bundle) (known opening.Known, facts policy.Facts, err error) {
	ids := b.AsksFor(s)
	var records []policy.LoggedPlatform
	switch {
	case len(ids) > 0:
		if records, err = r.Registry.Of(ctx, ids...); err != nil {
			return known, facts, err
		}
	case !decidedByTarget(b):
		return known, facts, nil
	}
	for _, p := range records {
		leaf, err := r.logged(ctx, p.Leaf)
		if err != nil {
			return known, facts, err
		}
		known.Platforms = append(known.Platforms, opening.LoggedPlatform{Signed: p.Signed, Countersigned: p.Countersigned, Leaf: leaf})
	}
	if decidedByTarget(b) {
		if known.Earlier, err = r.earlier(ctx, s); err != nil || known.Earlier == nil && len(known.Platforms) == 0 {
			return known, facts, err
		}
	}
	logs, err := opening.Logs(inForce)
	if err != nil {
		return known, facts, err
	}
	if facts, err = known.Facts(logs, inForce); err != nil || decidedByTarget(b) || !facts.Platforms.ReportsStolen() {
		return known, facts, err
	}
	if known.Earlier, err = r.earlier(ctx, s); err != nil {
		return known, facts, err
	}
	facts, err = known.Facts(logs, inForce)
	return known, facts, err
}

// knownOf is known of a case: what custodians judge by, and the court. since are the bundle of
// the case and those after it.
func (r *Registrar) knownOf(ctx context.Context, c Case, since []*policy.Bundle) (opening.Known, error) {
	known, _, err := r.known(ctx, c.Submission, since[0], since[len(since)-1])
	if err != nil || !decidedByTarget(since[0]) {
		return known, err
	}
	recorded, err := r.recorded(ctx, c)
	if err != nil {
		return known, err
	}
	leaf, err := proof.ParseLeaf(recorded.Bytes)
	if err != nil {
		return known, ErrNotAsLogged.Because(err)
	}
	day, err := time.Parse(time.DateOnly, leaf.Day)
	if err != nil {
		return known, ErrNotAsLogged.Because(err)
	}
	filed, err := r.Cases.Filed(ctx, c.Authority, c.Requester, day, c.RecordedLeaf)
	known.Filed = &filed
	if err == nil && c.ValidatedLeaf != 0 {
		var validated opening.LoggedLeaf
		validated, err = r.logged(ctx, c.ValidatedLeaf)
		known.Validated = &validated
	}
	return known, err
}

// underItsRules adds what the bundle says under which an earlier warrant was recorded.
func (r *Registrar) underItsRules(ctx context.Context, earlier *policy.Recorded) (*policy.Recorded, error) {
	if earlier == nil {
		return nil, nil
	}
	w, err := policy.ParseUnverified(earlier.Warrant)
	if err != nil {
		return nil, err
	}
	since, err := r.Rules.Since(ctx, w.Bundle)
	if err != nil {
		return nil, err
	}
	with := *earlier
	with.MaxSecrecyDays = since[0].MaxSecrecyDays
	return &with, nil
}

// earlier is the warrant that s names as its earlier one, whose leaf may show that
// evidence was there before a key was reported stolen; nil if it is not on file.
func (r *Registrar) earlier(ctx context.Context, s policy.Submission) (*opening.EarlierWarrant, error) {
	w, err := policy.ParseUnverified(s.Warrant)
	if err != nil || w.Earlier == "" {
		return nil, err
	}
	var hash [32]byte
	if _, err := hex.Decode(hash[:], []byte(w.Earlier)); err != nil {
		return nil, err
	}
	c, err := r.Cases.Earlier(ctx, hash)
	if errors.Is(err, ErrNoEarlier) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	leaf, err := r.recorded(ctx, c)
	if err != nil {
		return nil, err
	}
	return &opening.EarlierWarrant{Warrant: c.Submission.Warrant, Salt: c.Salt[:], Leaf: leaf}, nil
}
