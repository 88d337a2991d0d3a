package disclose

import (
	"context"

	"github.com/penname/penname/escrow/seal"
	"github.com/penname/penname/verifier/opening"
	"github.com/penname/penname/verifier/token"
)

// link is an opened link: which record a pen name belongs to, and what the
// token's commitment to it was made of.
type link struct {
	salt, digest [32]byte
	label        string
}

// openLinks opens the links of targets and checks each against the commitment of
// the token in the evidence. With an error it returns the links of the targets
// before the one that the error is about.
func (r *Registrar) openLinks(ctx context.Context, targets []Target) (links []link, err error) {
	sealed, err := r.Records.Links(ctx, targets)
	wrapped := make([]Wrapped, len(sealed))
	for i, text := range sealed {
		wrapped[i] = Wrapped{string(targets[i].Pseudonym), text}
	}
	opened, unopened := r.Keys.OpenLinks(ctx, wrapped)
	if unopened != nil {
		err = unopened // it is about a target before that of the first error
	}
	for i, b := range opened {
		if len(b) <= 64 {
			return links, ErrCommitment
		}
		l := link{[32]byte(b[:32]), [32]byte(b[32:64]), string(b[64:])}
		if t := targets[i]; token.Commit(t.Pseudonym, seal.Reference(l.label, l.digest), l.salt) != t.Commitment {
			return links, ErrCommitment
		}
		links = append(links, l)
	}
	return links, err
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
