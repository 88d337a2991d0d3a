package disclose

import (
	"cmp"
	"context"
	"slices"

	"github.com/penname/penname/escrow/seal"
	"github.com/penname/penname/policy"
	"github.com/penname/penname/verifier/opening"
	"github.com/penname/penname/verifier/refusal"
	"github.com/penname/penname/verifier/token"
)

// link is an opened link: which record a pen name belongs to, and what the
// token's commitment to it was made of.
type link struct {
	salt, digest [32]byte
	label        string
}

// RowKey gives the key that hides whose the rows of the database are, from what the
// issuing side left of it there, wrapped under name as a link.
func RowKey(k Keys) func(ctx context.Context, name, left string) (key [32]byte, leave string, err error) {
	return func(ctx context.Context, name, left string) (key [32]byte, leave string, err error) {
		opened, err := k.OpenLinks(ctx, []Wrapped{{name, left}})
		if err == nil && len(opened[0]) != len(key) {
			err = ErrCommitment
		}
		if err == nil {
			key = [32]byte(opened[0])
		}
		return key, "", err
	}
}

// openLinks opens the links of targets and checks each against the commitment of
// the token in the evidence. Of a target whose link does not open it says why. An error is
// about all of them.
func (r *Registrar) openLinks(ctx context.Context, targets []Target, registered []opening.LoggedPlatform) ([]Found[link], error) {
	all, err := r.allLinks(ctx, targets, registered)
	if err != nil {
		return nil, err
	}
	links := make([]Found[link], len(targets))
	for i, theirs := range all {
		l, ok := committed(targets[i], theirs.Value)
		switch {
		case ok: // that another link of the pen name is damaged harms nobody
			links[i].Value = l
		case theirs.Err != nil:
			links[i].Err = theirs.Err
		case len(theirs.Value) == 0:
			links[i].Err = ErrDataNotHeld
		default:
			links[i].Err = ErrCommitment
		}
	}
	return links, nil
}

// allLinks opens every link that the pen name of each target has, one for each record that
// its person had. With Err it has those that open.
func (r *Registrar) allLinks(ctx context.Context, targets []Target, registered []opening.LoggedPlatform) ([]Found[[][]byte], error) {
	inSectors, err := r.inSectors(ctx, targets, registered)
	if err != nil {
		return nil, err
	}
	sealed, err := r.Records.Links(ctx, inSectors)
	if err != nil {
		return nil, err
	}
	var wrapped []Wrapped
	for i, found := range sealed {
		for _, text := range found.Value {
			wrapped = append(wrapped, Wrapped{string(targets[i].Pseudonym), text})
		}
	}
	opened, err := one(wrapped, func(part []Wrapped) ([][]byte, error) { return r.Keys.OpenLinks(ctx, part) })
	if err != nil {
		return nil, err
	}
	links := make([]Found[[][]byte], len(targets))
	for i, found := range sealed {
		links[i].Err = found.Err
		for _, o := range opened[:len(found.Value)] {
			if links[i].Value = append(links[i].Value, o.Value); links[i].Err == nil {
				links[i].Err = o.Err
			}
		}
		opened = opened[len(found.Value):]
	}
	return links, nil
}

// one opens values in as few calls as there are that do not open, and says of each of
// those why. An error that is about the key service and not about a value is of all.
func one[In any](values []In, open func([]In) ([][]byte, error)) ([]Found[[]byte], error) {
	var all []Found[[]byte]
	for len(all) < len(values) {
		opened, err := open(values[len(all):])
		for _, b := range opened {
			all = append(all, Found[[]byte]{Value: b})
		}
		switch {
		case err == nil && len(all) < len(values):
			return nil, ErrNotAsLogged // fewer answers than questions, and no reason
		case err == nil:
		case ofAll(err):
			return nil, err
		default:
			all = append(all, Found[[]byte]{Err: err})
		}
	}
	return all, nil
}

// ofAll reports whether an error is about a service or the request as a whole, and not about
// one target.
func ofAll(err error) bool {
	refused := refusal.Of(err)
	return refused == nil || refused.Kind == refusal.Unavailable
}

// inSectors are the targets as the issuing side wrote their pen names down: of a sector,
// which is the platform's id unless the registry says another. It reads the records of those
// platforms that are not among registered, which are all records of each.
func (r *Registrar) inSectors(ctx context.Context, targets []Target, registered []opening.LoggedPlatform) ([]Target, error) {
	if r.Registry == nil || len(targets) == 0 {
		return targets, nil
	}
	sector := make(map[string]string)
	add := func(signed string) error {
		p, err := policy.ParsePlatform(signed)
		if err == nil {
			sector[p.ID] = p.Sector
		}
		return err
	}
	for _, l := range registered {
		if err := add(l.Signed); err != nil {
			return nil, err
		}
	}
	all := slices.Clone(targets)
	var unread []string
	for _, t := range all {
		if _, read := sector[t.Platform]; !read {
			unread = append(unread, t.Platform)
		}
	}
	if len(unread) > 0 {
		slices.Sort(unread)
		records, err := r.Registry.Of(ctx, slices.Compact(unread)...)
		if err != nil {
			return nil, err
		}
		for _, l := range records {
			if err := add(l.Signed); err != nil {
				return nil, err
			}
		}
	}
	for i := range all {
		all[i].Platform = cmp.Or(sector[all[i].Platform], all[i].Platform)
	}
	return all, nil
}

// committed returns the link that the token of t commits to, of those that its pen
// name has, with the salt of the sign-in.
func committed(t Target, opened [][]byte) (link, bool) {
	for _, b := range opened {
		if len(b) <= 64 {
			continue
		}
		l := link{digest: [32]byte(b[32:64]), label: string(b[64:])}
		record := seal.Reference(l.label, l.digest)
		for l.salt = range seal.Salts([32]byte(b[:32]), t.Issued) {
			if token.Commit(t.Pseudonym, record, l.salt) == t.Commitment {
				return l, true
			}
		}
	}
	return link{}, false
}

// openedTarget is a target with its record, which is the one that the token in
// the evidence commits to.
type openedTarget struct {
	opening.OpenedTarget
	record seal.Record
}

// openTargets opens the links of all targets and reads their records, in a
// handful of calls however many there are, by what is registered of their platforms, as far as
// that is known ([Registrar].inSectors). Of a target that cannot be opened it says why,
// and who it is.
func (r *Registrar) openTargets(ctx context.Context, targets []Target, registered []opening.LoggedPlatform) ([]Found[openedTarget], error) {
	links, err := r.openLinks(ctx, targets, registered)
	if err != nil {
		return nil, err
	}
	var labels []string
	for _, l := range links {
		if l.Err == nil {
			labels = append(labels, l.Value.label)
		}
	}
	records, err := r.Records.Records(ctx, labels)
	if err != nil {
		return nil, err
	}
	opened := make([]Found[openedTarget], len(targets))
	for i, l := range links {
		t := &opened[i]
		t.Value.Pseudonym, t.Value.Platform = targets[i].Pseudonym, targets[i].Platform
		if t.Err = l.Err; t.Err != nil {
			continue
		}
		record := records[0]
		records = records[1:]
		// The stored record is byte for byte what was sealed at enrolment.
		if now, err := record.Value.Digest(); record.Err == nil && (err != nil || now != l.Value.digest) {
			record.Err = ErrCommitment
		}
		if t.Err = record.Err; t.Err != nil {
			continue
		}
		t.Value = openedTarget{opening.OpenedTarget{
			Pseudonym: targets[i].Pseudonym, Platform: targets[i].Platform, Label: record.Value.Label, LinkSalt: l.Value.salt[:],
			Custody: record.Value.Custody, Withheld: record.Value.Named(nil).Withheld,
		}, record.Value}
	}
	return opened, nil
}
