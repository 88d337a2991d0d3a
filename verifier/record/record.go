// Package record makes the public record: pages by which anybody reads the public log without a
// program. It takes the log as it was verified, the rules and the records of platforms that it
// names, and nothing else, and turns an address into bytes. So who serves it (escrow/web/record)
// and who builds it from a mirror (escrow record build) show the same, byte for byte, as long as
// they read the same checkpoint.
//
// There is no clock: the age of what is shown is the time at which the witnesses had cosigned the
// checkpoint. Addresses are relative, with the endings of files, so that any web server, and a
// folder, will do; there is no script and no form, and a search is a way through pages that stay
// where they are.
//
// Lists are cut into fixed ranges of entries. What is kept in memory of an entry is some 80
// bytes, by which lists are made; the entry itself is read, and verified, when its page is asked
// for.
//
// What is said of an entry stays as it is while the log grows, and so does the first part of its
// proof once its range is full ([proof.Ranges]): the second part, which leads to the newest
// checkpoint, is one file for the 256 entries of a range. So a built site changes in few files.
//
// Trusted for: nothing. Each page can be checked against the log, and says how.
package record

import (
	"bytes"
	"context"
	"errors"
	"sync"
	"time"

	"filippo.io/torchwood"

	"github.com/penname/penname/policy"
	"github.com/penname/penname/verifier/languages"
	"github.com/penname/penname/verifier/proof"
	"github.com/penname/penname/verifier/refusal"
	"github.com/penname/penname/verifier/rules"
)

// Why there is no page.
var (
	ErrNotYet = refusal.New(refusal.Unavailable, "record.not_yet",
		"the public record is being read from the log: try again in a minute")
	ErrNoPage = refusal.New(refusal.NotFound, "record.no_page",
		"the public record has no page at this address: begin at its first page, which leads to all others")
)

// Record is the public record of one log. It is safe for concurrent use.
type Record struct {
	tiles   torchwood.TileReader
	bundles *rules.Bundles
	records rules.Records
	speaks  []*spoken // English first

	following sync.Mutex
	audit     *proof.Ongoing // of whoever follows

	mu    sync.RWMutex
	index *index // nil until the log was read
}

// New returns the record of the log that tiles reads. Rules and records of platforms are got
// there; nothing of the three is believed before it was verified.
func New(tiles torchwood.TileReader, bundles rules.Fetch, records rules.Records) *Record {
	r := &Record{tiles: tiles, bundles: rules.NewBundles(bundles), records: records}
	r.Speak(languages.Ours.Each()...)
	return r
}

// added is an entry with what belongs to it.
type added struct {
	proof.Entry
	bundle   *policy.Bundle
	platform *platform
}

// platform is a record of a platform.
type platform struct {
	*policy.PlatformRecord
	leaf   int64
	day    string
	before *policy.PlatformRecord // its record before, or nil
}

// Follow reads what the log has that was not read yet, under a policy that holds for its newest
// checkpoint. Every entry is verified. The refusals are those of [proof.Log.OpenCheckpoint] and
// [proof.Extends], [proof.ErrFetch], [proof.ErrTile], and [rules.ErrUnavailable] if rules or the
// record of a platform cannot be had; then what was read before is shown on. progress, which may
// be nil, is told how many entries are read.
func (r *Record) Follow(ctx context.Context, log *proof.Log, progress func(done, size int64)) error {
	r.following.Lock()
	defer r.following.Unlock()
	signed, err := r.tiles.ReadEndpoint(ctx, "checkpoint")
	if err != nil {
		return proof.ErrFetch.Because(err)
	}
	have := r.index // nobody else writes it
	if have != nil && bytes.Equal(signed, have.signed) {
		return nil
	}
	s := state{log: log, signed: signed}
	if s.Checkpoint, err = log.OpenCheckpoint(signed); err != nil {
		return err
	}
	if s.at, err = log.QuorumAt(signed); err != nil {
		return err
	}
	if s.by, err = log.Cosigners(signed); err != nil {
		return err
	}
	if have == nil {
		return r.begin(ctx, s, progress)
	}
	if err := proof.Extends(ctx, r.tiles, have.Checkpoint, s.Checkpoint); err != nil {
		return err
	}
	var more []added
	err = proof.EachRaw(ctx, r.tiles, s.Tree, have.N, func(n int64, e proof.Entry) error {
		a, err := r.fetch(ctx, n, e)
		more = append(more, a)
		return err
	})
	if err != nil {
		return err
	}
	ranges := have.ranges
	for _, a := range more {
		if err := ranges.Add(a.Raw); err != nil {
			return proof.ErrTile.Because(err)
		}
	}
	if err := ranges.Under(s.Tree, signed); err != nil {
		return err
	}
	for _, a := range more {
		r.audit.Add(a.Entry)
	}
	s.judge(r.audit)
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, a := range more {
		have.add(a)
	}
	have.state, have.ranges = s, ranges
	return nil
}

// begin reads the whole log.
func (r *Record) begin(ctx context.Context, s state, progress func(done, size int64)) error {
	all := newIndex(r.speaks)
	all.tiles = r.tiles
	audit := proof.NewOngoing(r.bundles.WithPlatforms(r.records).Audit(context.WithoutCancel(ctx)))
	err := proof.EachRaw(ctx, r.tiles, s.Tree, 0, func(n int64, e proof.Entry) error {
		a, err := r.fetch(ctx, n, e)
		if err != nil {
			return err
		}
		audit.Add(e)
		all.add(a)
		if err := all.ranges.Add(e.Raw); err != nil {
			return proof.ErrTile.Because(err)
		}
		if progress != nil && (n+1)%(16*torchwood.TileWidth) == 0 {
			progress(n+1, s.N)
		}
		return nil
	})
	if err == nil {
		err = all.ranges.Under(s.Tree, s.signed)
	}
	if err != nil {
		return err
	}
	s.judge(audit)
	all.state = s
	r.mu.Lock()
	defer r.mu.Unlock()
	r.index, r.audit = all, audit
	return nil
}

// fetch gets what belongs to an entry, before anything is made of it: what cannot be had now is
// asked for again the next time.
func (r *Record) fetch(ctx context.Context, n int64, e proof.Entry) (a added, err error) {
	a.Entry = e
	switch e.Leaf.Kind {
	case proof.KindBundle:
		a.bundle, err = r.bundles.Get(ctx, e.Leaf.Bundle)
	case proof.KindPlatform:
		a.platform, err = r.platform(ctx, n, e.Leaf)
	}
	return a, err
}

func (r *Record) platform(ctx context.Context, n int64, l proof.Leaf) (*platform, error) {
	signed, countersigned, err := r.records(ctx, l.Package)
	if err != nil {
		return nil, err
	}
	if proof.PlatformDigest(signed, countersigned) != l.Package {
		return nil, rules.ErrUnavailable.Because(errors.New("the answer has another hash"))
	}
	p := &platform{leaf: n, day: l.Day}
	// One that is no record is a finding of the audit; its entry is shown without it.
	if p.PlatformRecord, err = policy.ParsePlatform(signed); err != nil {
		return nil, nil
	}
	return p, nil
}

// state is what one checkpoint shows.
type state struct {
	torchwood.Checkpoint
	log    *proof.Log
	signed []byte
	at     time.Time // when a quorum had cosigned it
	by     []proof.Cosigned

	report  *proof.Report
	verdict error                      // of the audit
	found   map[int64][]string         // of entries, the first that it finds of each
	missed  map[int64][]proof.Deadline // of cases
	months  []proof.Period
	years   []proof.Period
}

// mostFound is how much of what is found of an entry its page says.
const mostFound = 10

func (s *state) judge(audit *proof.Ongoing) {
	s.report, s.verdict = audit.Report(s.Checkpoint, s.signed, s.at)
	s.months, s.years = s.report.Periods.Months(), s.report.Periods.Years()
	s.report.Periods = nil // which goes on
	s.found, s.missed = map[int64][]string{}, map[int64][]proof.Deadline{}
	for _, f := range s.report.Findings {
		if len(s.found[f.Index]) < mostFound {
			s.found[f.Index] = append(s.found[f.Index], f.Code)
		}
	}
	for _, d := range s.report.Deadlines {
		s.missed[d.Case] = append(s.missed[d.Case], d)
	}
}

// Holds reports whether the log holds the rules with that hash.
func (r *Record) Holds(hash string) bool {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return r.index != nil && r.index.bundle(hash) > 0
}

// Audit is what an audit finds of the log as it is shown, or nil before it was read.
func (r *Record) Audit() (*proof.Report, error) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	if r.index == nil {
		return nil, ErrNotYet
	}
	return r.index.report, r.index.verdict
}

// Wrong is how many things are wrong or late that the page of findings tells, and how many it tells
// that this program could not judge; 0 before the log was read.
func (r *Record) Wrong() (wrong, unjudged int) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	if r.index == nil {
		return 0, 0
	}
	return r.index.wrong()
}
