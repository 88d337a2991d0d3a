package disclose

import (
	"cmp"
	"context"
	"slices"

	"github.com/penname/penname/escrow/seal"
	"github.com/penname/penname/policy"
	"github.com/penname/penname/verifier/opening"
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
// the token in the evidence. With an error it returns the links of the targets
// before the one that the error is about.
func (r *Registrar) openLinks(ctx context.Context, targets []Target) (links []link, err error) {
	inSectors, err := r.inSectors(ctx, targets)
	if err != nil {
		return nil, err
	}
	sealed, err := r.Records.Links(ctx, inSectors)
	var wrapped []Wrapped
	for i, texts := range sealed {
		for _, text := range texts {
			wrapped = append(wrapped, Wrapped{string(targets[i].Pseudonym), text})
		}
	}
	opened, unopened := r.Keys.OpenLinks(ctx, wrapped)
	if unopened != nil {
		err = unopened // it is about a target before that of the first error
	}
	for i, texts := range sealed {
		if len(opened) < len(texts) {
			break
		}
		l, ok := committed(targets[i], opened[:len(texts)])
		if !ok {
			return links, ErrCommitment
		}
		links, opened = append(links, l), opened[len(texts):]
	}
	return links, err
}

// inSectors are the targets as the issuing side wrote their pen names down: of a sector,
// which is the platform's id unless the registry says another.
func (r *Registrar) inSectors(ctx context.Context, targets []Target) ([]Target, error) {
	if r.Registry == nil || len(targets) == 0 {
		return targets, nil
	}
	all, ids := slices.Clone(targets), make([]string, len(targets))
	for i := range all {
		ids[i] = all[i].Platform
	}
	slices.Sort(ids)
	records, err := r.Registry.Of(ctx, slices.Compact(ids)...)
	if err != nil {
		return nil, err
	}
	sector := make(map[string]string)
	for _, l := range records {
		p, err := policy.ParsePlatform(l.Signed)
		if err != nil {
			return nil, err
		}
		sector[p.ID] = p.Sector
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
// handful of calls however many there are. Its error is that of the first target
// that has one.
func (r *Registrar) openTargets(ctx context.Context, targets []Target) ([]openedTarget, error) {
	links, err := r.openLinks(ctx, targets)
	labels := make([]string, len(links))
	for i, l := range links {
		labels[i] = l.label
	}
	records, unread := r.Records.Records(ctx, labels)
	if unread != nil {
		err = unread // likewise
	}
	opened := make([]openedTarget, len(records))
	for i, record := range records {
		// The stored record is byte for byte what was sealed at enrolment.
		if now, err := record.Digest(); err != nil || now != links[i].digest {
			return nil, ErrCommitment
		}
		opened[i] = openedTarget{opening.OpenedTarget{
			Pseudonym: targets[i].Pseudonym, Platform: targets[i].Platform,
			Label: record.Label, LinkSalt: links[i].salt[:], Custody: record.Custody, Withheld: record.Named(nil).Withheld,
		}, record}
	}
	if err != nil {
		return nil, err
	}
	return opened, nil
}
