// Package disclosetest is a store of cases in memory and the suite that every
// store of cases passes.
package disclosetest

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"maps"
	"math"
	"slices"
	"sync"
	"time"

	"github.com/penname/penname/escrow/disclose"
	"github.com/penname/penname/escrow/exhibit"
	"github.com/penname/penname/policy"
	"github.com/penname/penname/verifier/proof"
	"github.com/penname/penname/verifier/refusal"
)

// ErrNoLeaf says that the log is shorter.
var (
	ErrNoLeaf = refusal.New(refusal.NotFound, "test.no_leaf", "the log is shorter: ask for a leaf that it has")
	errOrder  = refusal.New(refusal.Conflict, "test.order", "the day of a leaf is before that of the last one: set the clock")
)

// Memory implements [disclose.Cases], [disclose.Bundles] and [disclose.Log], and
// of [disclose.Erasures] what asks about cases. Its log is a list without
// cosignatures. The zero Memory is empty; it is safe for concurrent use.
type Memory struct {
	mu       sync.Mutex
	cases    []disclose.Case // in the order of their recorded leaves
	packages map[round][]byte
	notices  map[string]disclose.Notice
	firsts   map[string]disclose.Notice // before custodians decided
	refusals map[[3]string]bool         // authority, warrant id, code
	leaves   [][]byte
	bundles  []bundle // the last is in force

	platforms []policy.LoggedPlatform // by their leaves
	exhibits  map[exhibitKey][]byte
	duties    map[dutyKey]disclose.Duty
	said      map[[32]byte][]byte // what was objected, by its digest
	codes     map[[32]byte]coded

	statements []disclose.Statement
}

// coded is whose notice a one-time code is of.
type coded struct {
	id     string
	target int
	used   bool
}

// dutyKey is what makes two duties one.
type dutyKey struct {
	id     string
	letter disclose.Letter
	target int
}

// round is one of a case, counted from 0.
type round struct {
	id string
	n  int
}

// exhibitKey is the place of an exhibit, or of a copy of it for a recipient.
type exhibitKey struct {
	id                string
	digest, recipient [32]byte
}

type bundle struct {
	hash         string
	raw          []byte
	endorsements []string
}

var (
	_ disclose.Cases   = (*Memory)(nil)
	_ disclose.Bundles = (*Memory)(nil)
	_ disclose.Log     = (*Memory)(nil)
)

func (m *Memory) append(leaf proof.Leaf) (int64, error) {
	raw, err := leaf.Marshal()
	if err != nil {
		return 0, err
	}
	if n := len(m.leaves); n > 0 {
		if last, err := proof.ParseLeaf(m.leaves[n-1]); err != nil || leaf.Day < last.Day {
			return 0, errOrder
		}
	}
	m.leaves = append(m.leaves, raw)
	return int64(len(m.leaves)) - 1, nil
}

// find returns the place of a case; the mutex is held.
func (m *Memory) find(same func(disclose.Case) bool) (*disclose.Case, bool) {
	i := slices.IndexFunc(m.cases, same)
	if i < 0 {
		return nil, false
	}
	return &m.cases[i], true
}

func withID(id string) func(disclose.Case) bool {
	return func(c disclose.Case) bool { return c.ID == id }
}

// Together implements [disclose.Cases].
func (m *Memory) Together(ctx context.Context) (context.Context, func() error) {
	return ctx, func() error { return nil }
}

// File implements [disclose.Cases].
func (m *Memory) File(_ context.Context, c disclose.Case, leaf proof.Leaf) (disclose.Case, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if have, ok := m.find(func(o disclose.Case) bool { return o.Authority == c.Authority && o.WarrantID == c.WarrantID }); ok {
		return *have, nil
	}
	if hash := m.inForce().hash; hash != "" && hash != c.Bundle {
		return disclose.Case{}, policy.ErrWrongBundle
	}
	today := 0
	for _, o := range m.cases {
		if c.Daily == 0 || o.Authority != c.Authority || policy.KindOf(o.Kind).Stops {
			continue
		}
		if l, err := proof.ParseLeaf(m.leaves[o.RecordedLeaf]); err == nil && l.Day == leaf.Day {
			today++
		}
	}
	if c.Daily > 0 && today >= c.Daily && !policy.KindOf(leaf.WarrantKind).Stops {
		return disclose.Case{}, disclose.ErrDailyNumber
	}
	if c.Filed != nil && *c.Filed != m.filed(c.Authority, c.Requester, leaf.Day, math.MaxInt64) {
		return disclose.Case{}, disclose.ErrFiledMeanwhile
	}
	c.Kind = leaf.WarrantKind
	var earlier *disclose.Case
	var change disclose.Change
	if c.Earlier != nil {
		var ok bool
		var err error
		earlier, ok = m.find(func(o disclose.Case) bool { return o.WarrantHash == *c.Earlier })
		if !ok {
			return disclose.Case{}, disclose.ErrNoEarlier
		}
		if change, leaf, err = earlier.Later(c, leaf); err != nil {
			return disclose.Case{}, err
		}
	}
	asked := -1
	if l := change.Later; l != nil && l.Ruling != nil && l.Ruling.Outcome == policy.Answered {
		if asked = m.question(earlier.ID, l.Ruling.Digest); asked < 0 {
			return disclose.Case{}, disclose.ErrNoQuestion
		}
	}
	index, err := m.append(leaf)
	if err != nil {
		return disclose.Case{}, err
	}
	if asked >= 0 {
		s := &m.statements[asked]
		s.Answer, s.AnsweredOn, s.Revocation = c.Submission.Warrant, leaf.Day, &c.Submission.Revocation
	}
	if earlier != nil {
		change.Later.Leaf = index
		if *earlier, err = earlier.After(change); err != nil {
			m.leaves = m.leaves[:index]
			return disclose.Case{}, err
		}
	}
	c.RecordedLeaf = index
	stored := c
	stored.Earlier = nil
	m.cases = append(m.cases, stored)
	return c, nil
}

// Filed implements [disclose.Cases].
func (m *Memory) Filed(_ context.Context, authority, requester string, day time.Time, before int64) (policy.Filed, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.filed(authority, requester, proof.Day(day), before), nil
}

// filed is Filed; the mutex is held.
func (m *Memory) filed(authority, requester, today string, before int64) (f policy.Filed) {
	day, err := time.Parse(time.DateOnly, today)
	if err != nil {
		return f
	}
	for _, o := range m.cases {
		l, err := proof.ParseLeaf(m.leaves[o.RecordedLeaf])
		if err != nil || o.RecordedLeaf >= before || l.Day > today || l.Day < proof.Day(day.AddDate(0, 0, -30)) {
			continue
		}
		kind := policy.KindOf(o.Kind)
		if o.Authority == authority && l.Day == today && kind.Clock != policy.ClockNone {
			f.Today++
		}
		if o.Authority == authority && kind.Decided && kind.As == "" {
			f.Authority30 += len(o.Targets)
		}
		if o.Requester == requester && requester != "" && kind.Decided && kind.As == "" {
			f.Requester30 += len(o.Targets)
		}
	}
	return f
}

// Earlier implements [disclose.Cases].
func (m *Memory) Earlier(_ context.Context, warrant [32]byte) (disclose.Case, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	c, ok := m.find(func(o disclose.Case) bool { return o.WarrantHash == warrant })
	if !ok {
		return disclose.Case{}, disclose.ErrNoEarlier
	}
	return *c, nil
}

// Refuse implements [disclose.Cases].
func (m *Memory) Refuse(_ context.Context, authority, warrantID string, leaf proof.Leaf) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	key := [3]string{authority, warrantID, leaf.Code}
	if m.refusals[key] {
		return nil
	}
	if m.refusals == nil {
		m.refusals = make(map[[3]string]bool)
	}
	m.refusals[key] = true
	_, err := m.append(leaf)
	return err
}

// Case implements [disclose.Cases].
func (m *Memory) Case(_ context.Context, id string) (disclose.Case, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	c, ok := m.find(withID(id))
	if !ok {
		return disclose.Case{}, disclose.ErrNoCase
	}
	return *c, nil
}

// Summary implements [disclose.Cases].
func (m *Memory) Summary(ctx context.Context, id string) (disclose.Summary, error) {
	c, err := m.Case(ctx, id)
	if err != nil {
		return disclose.Summary{}, err
	}
	return c.Summary(), nil
}

// Package implements [disclose.Cases].
func (m *Memory) Package(ctx context.Context, id string, n int) ([]byte, error) {
	if _, err := m.Case(ctx, id); err != nil {
		return nil, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.packages[round{id, n}], nil
}

// Notice returns what the persons concerned by a case were told.
func (m *Memory) Notice(id string) (disclose.Notice, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	n, ok := m.notices[id]
	return n, ok
}

// List implements [disclose.Cases].
func (m *Memory) List(_ context.Context, q disclose.Queue, now time.Time, after disclose.Cursor, n int) (page []disclose.Summary, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	behind := func(a, b disclose.Cursor) int {
		return cmp.Or(a.Due.Compare(b.Due), cmp.Compare(a.Leaf, b.Leaf))
	}
	for _, c := range m.cases {
		if s := c.Summary(); behind(q.After(s), after) > 0 {
			if _, in := q.Due(c, now); in {
				page = append(page, s)
			}
		}
	}
	slices.SortFunc(page, func(a, b disclose.Summary) int { return behind(q.After(a), q.After(b)) })
	return page[:min(n, len(page))], nil
}

// CasesOf implements [disclose.Cases].
func (m *Memory) CasesOf(_ context.Context, authority string, after disclose.Cursor, n int) (page []disclose.Summary, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	behind := func(a, b disclose.Cursor) int {
		return cmp.Or(a.Due.Compare(b.Due), cmp.Compare(a.Leaf, b.Leaf))
	}
	for _, c := range m.cases {
		s := c.Summary()
		if _, due := s.Due(); due && c.Authority == authority && behind(disclose.AfterDue(s), after) > 0 {
			page = append(page, s)
		}
	}
	slices.SortFunc(page, func(a, b disclose.Summary) int { return behind(disclose.AfterDue(a), disclose.AfterDue(b)) })
	return page[:min(n, len(page))], nil
}

// Apply implements [disclose.Cases].
func (m *Memory) Apply(_ context.Context, id string, decide func(disclose.Case) (disclose.Change, error)) (disclose.Case, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	c, ok := m.find(withID(id))
	if !ok {
		return disclose.Case{}, disclose.ErrNoCase
	}
	change, err := decide(*c)
	if err != nil {
		return disclose.Case{}, err
	}
	if change.InForce != "" && change.InForce != m.inForce().hash {
		return disclose.Case{}, disclose.ErrRulesChanged
	}
	before := len(m.leaves)
	indices, err := change.Append(m.append)
	if err != nil {
		m.leaves = m.leaves[:before]
		return disclose.Case{}, err
	}
	after, err := c.After(change, indices...)
	if err != nil {
		m.leaves = m.leaves[:before]
		return disclose.Case{}, err
	}
	if m.packages == nil {
		m.packages, m.notices = make(map[round][]byte), make(map[string]disclose.Notice)
		m.firsts = make(map[string]disclose.Notice)
	}
	if change.Package != nil {
		m.packages[round{id, change.Round}] = change.Package
	}
	if n := change.Notice; n != nil && n.First {
		m.firsts[id] = *n
	} else if n != nil {
		m.notices[id] = *n
	}
	for _, d := range change.Duties {
		if m.duties == nil {
			m.duties = make(map[dutyKey]disclose.Duty)
		}
		if at := (dutyKey{id, d.Letter, d.Target}); m.duties[at].Letter == "" {
			m.duties[at] = d
		}
	}
	*c = after
	return after, nil
}

// Mailed implements [disclose.Cases]: here nothing is ever sent.
func (m *Memory) Mailed(_ context.Context, id string, kind disclose.Letter) (map[int]disclose.Mailed, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	mailed := make(map[int]disclose.Mailed)
	for at := range m.duties {
		if at.id == id && at.letter == kind {
			mailed[at.target] = disclose.Mailed{Outcome: disclose.MailWaiting}
		}
	}
	return mailed, nil
}

// Owed are the duties that changes put into the outbox for a case.
func (m *Memory) Owed(id string) (all []disclose.Duty) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for at, d := range m.duties {
		if at.id == id {
			all = append(all, d)
		}
	}
	return all
}

// PutExhibit implements [disclose.Cases].
func (m *Memory) PutExhibit(_ context.Context, id string, digest [32]byte, sealed []byte) error {
	return m.putOnce(exhibitKey{id: id, digest: digest}, sealed, func(_ disclose.State, length int64) error {
		if length != int64(len(sealed)) {
			return disclose.ErrExhibitLength
		}
		return nil
	})
}

// PutExhibits implements [disclose.Cases].
func (m *Memory) PutExhibits(ctx context.Context, id string, sealed map[[32]byte][]byte) error {
	m.mu.Lock()
	c, ok := m.find(withID(id))
	m.mu.Unlock()
	if !ok {
		return disclose.ErrExhibitUndeclared
	}
	for digest, b := range sealed {
		i := slices.IndexFunc(c.Exhibits, func(x disclose.SealedExhibit) bool { return x.Digest == digest })
		switch {
		case i < 0:
			return disclose.ErrExhibitUndeclared
		case c.Exhibits[i].Length != int64(len(b)):
			return disclose.ErrExhibitLength
		}
	}
	for digest, b := range sealed {
		if err := m.PutExhibit(ctx, id, digest, b); err != nil && !errors.Is(err, disclose.ErrExhibitStored) {
			return err
		}
	}
	return nil
}

// ShortExhibits implements [disclose.Cases].
func (m *Memory) ShortExhibits(ctx context.Context, id string, digests [][32]byte) (map[[32]byte][]byte, error) {
	found := make(map[[32]byte][]byte)
	for _, digest := range digests {
		if b, err := m.Exhibit(ctx, id, digest); err == nil && len(b) <= exhibit.MaxShort {
			found[digest] = b
		}
	}
	return found, nil
}

// PutCopy implements [disclose.Cases].
func (m *Memory) PutCopy(_ context.Context, id string, digest, recipient [32]byte, copied []byte) error {
	return m.putOnce(exhibitKey{id, digest, recipient}, copied, func(state disclose.State, length int64) error {
		switch {
		case state != disclose.Recorded && state != disclose.Authorised:
			return disclose.ErrCaseClosed
		case int64(len(copied)) > length+exhibit.MaxSignature:
			return disclose.ErrExhibitLength
		}
		return nil
	})
}

// putOnce stores what check takes, given the state of the case and the length of what is
// filed of the exhibit.
func (m *Memory) putOnce(at exhibitKey, b []byte, check func(disclose.State, int64) error) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	c, ok := m.find(withID(at.id))
	if !ok {
		return disclose.ErrExhibitUndeclared
	}
	i := slices.IndexFunc(c.Exhibits, func(x disclose.SealedExhibit) bool { return x.Digest == at.digest })
	if i < 0 {
		return disclose.ErrExhibitUndeclared
	}
	if err := check(c.State, c.Exhibits[i].Length); err != nil {
		return err
	}
	if have, stored := m.exhibits[at]; stored && !bytes.Equal(have, b) {
		return disclose.ErrExhibitStored
	}
	if m.exhibits == nil {
		m.exhibits = make(map[exhibitKey][]byte)
	}
	m.exhibits[at] = slices.Clone(b)
	return nil
}

// Exhibit implements [disclose.Cases].
func (m *Memory) Exhibit(ctx context.Context, id string, digest [32]byte) ([]byte, error) {
	return m.Copy(ctx, id, digest, [32]byte{})
}

// Copy implements [disclose.Cases].
func (m *Memory) Copy(_ context.Context, id string, digest, recipient [32]byte) ([]byte, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if sealed, ok := m.exhibits[exhibitKey{id, digest, recipient}]; ok {
		return sealed, nil
	}
	return nil, disclose.ErrNoExhibit
}

// Exhibits implements [disclose.Cases].
func (m *Memory) Exhibits(_ context.Context, id string) (s disclose.StoredExhibits, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	c, ok := m.find(withID(id))
	if !ok {
		return s, disclose.ErrNoCase
	}
	if len(c.Exhibits) == 0 {
		return s, nil
	}
	for _, x := range c.Exhibits {
		if _, ok := m.exhibits[exhibitKey{id: id, digest: x.Digest}]; !ok {
			s.Missing = append(s.Missing, x.Digest)
		}
	}
	slices.SortFunc(s.Missing, func(x, y [32]byte) int { return bytes.Compare(x[:], y[:]) })
	s.Stored, s.Until = len(c.Exhibits)-len(s.Missing), m.until(c)
	return s, nil
}

// until is [disclose.StoredExhibits].Until; the mutex is held.
func (m *Memory) until(c *disclose.Case) time.Time {
	last := c.Expires
	for _, t := range []time.Time{c.SecrecyEnds, m.notices[c.ID].Day} {
		if t.After(last) {
			last = t
		}
	}
	return last.UTC().Truncate(24*time.Hour).AddDate(0, 0, c.KeepDays)
}

// DropExhibits implements [disclose.Cases].
func (m *Memory) DropExhibits(_ context.Context, now time.Time) (cases int, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for i := range m.cases {
		c := &m.cases[i]
		m.dropSaid(c, now)
		open := slices.Contains([]disclose.State{disclose.Recorded, disclose.Authorised, disclose.Released}, c.State)
		said := slices.ContainsFunc(c.Objections, func(o disclose.Objection) bool { return m.said[o.Digest] != nil })
		if open || len(c.Exhibits) == 0 && !said || now.Before(m.until(c)) {
			continue
		}
		maps.DeleteFunc(m.exhibits, func(at exhibitKey, _ []byte) bool { return at.id == c.ID })
		c.Exhibits = nil
		for _, o := range c.Objections {
			delete(m.said, o.Digest)
		}
		cases++
	}
	return cases, nil
}

// Newest is that of [disclose.Erasures].
func (m *Memory) Newest(context.Context) (int64, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.cases) == 0 {
		return -1, nil
	}
	return m.cases[len(m.cases)-1].RecordedLeaf, nil
}

// Holding is that of [disclose.Erasures].
func (m *Memory) Holding(_ context.Context, now time.Time, after int64, n int) (held []disclose.Case, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, c := range m.cases {
		if c.RecordedLeaf > after && c.Holds(now) && len(held) < n {
			held = append(held, c)
		}
	}
	return held, nil
}

// inForce is the bundle in force; the mutex is held.
func (m *Memory) inForce() bundle {
	if len(m.bundles) == 0 {
		return bundle{}
	}
	return m.bundles[len(m.bundles)-1]
}

// Install implements [disclose.Bundles].
func (m *Memory) Install(_ context.Context, raw []byte, endorsements []string, leaf proof.Leaf, after string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	sum := sha256.Sum256(raw)
	b := bundle{hex.EncodeToString(sum[:]), raw, endorsements}
	before := slices.ContainsFunc(m.bundles, func(o bundle) bool { return o.hash == b.hash })
	switch hash := m.inForce().hash; {
	case hash == b.hash:
		return nil
	case before, hash != after:
		return policy.ErrNotNext
	}
	_, err := m.append(leaf)
	if err == nil {
		m.bundles = append(m.bundles, b)
	}
	return err
}

// Current implements [disclose.Bundles].
func (m *Memory) Current(context.Context) (raw []byte, endorsements []string, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	b := m.inForce()
	if b.hash == "" {
		return nil, nil, disclose.ErrNoBundle
	}
	return b.raw, b.endorsements, nil
}

// History implements [disclose.Bundles].
func (m *Memory) History(context.Context) (hashes []string, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, b := range m.bundles {
		hashes = append(hashes, b.hash)
	}
	return hashes, nil
}

// Bundle implements [disclose.Bundles].
func (m *Memory) Bundle(_ context.Context, hash string) (raw []byte, endorsements []string, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, b := range m.bundles {
		if b.hash == hash {
			return b.raw, b.endorsements, nil
		}
	}
	return nil, nil, disclose.ErrUnknownBundle
}

// Leaves returns the leaves of the log from one index to another.
func (m *Memory) Leaves(_ context.Context, from, to int64) ([][]byte, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if from < 0 || to < from || to > int64(len(m.leaves)) {
		return nil, ErrNoLeaf
	}
	return m.leaves[from:to], nil
}

// Size returns how many leaves the log has.
func (m *Memory) Size(context.Context) (int64, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return int64(len(m.leaves)), nil
}

// Await implements [disclose.Log].
func (m *Memory) Await(ctx context.Context, index int64) error {
	_, err := m.Leaves(ctx, index, index+1)
	return err
}

// Prove implements [disclose.Log]. The proof is empty.
func (m *Memory) Prove(ctx context.Context, index int64) (leaf, proof []byte, err error) {
	leaves, err := m.Leaves(ctx, index, index+1)
	if err != nil {
		return nil, nil, err
	}
	return leaves[0], nil, nil
}

// ObjectFor implements [Store].
func (m *Memory) ObjectFor(_ context.Context, c disclose.Case, target int, sealed []byte, now time.Time) error {
	return m.object(c.ID, target, false, sealed, now)
}

// object stores what somebody objects.
func (m *Memory) object(id string, target int, lawyer bool, sealed []byte, now time.Time) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	c, ok := m.find(withID(id))
	if !ok || !c.First.Shown || target >= len(c.Targets) {
		return policy.ErrNoNotice
	}
	o := disclose.Objection{Target: target, N: 1, Lawyer: lawyer, Day: now.UTC().Truncate(24 * time.Hour), Digest: sha256.Sum256(sealed),
		Suspends: c.State == disclose.Recorded && (c.First.Leaf == 0 || now.Before(c.ApproveFrom))}
	for _, have := range c.Objections {
		if have.Target == target && have.Digest == o.Digest {
			return nil
		}
		if have.Target == target {
			o.N++
		}
	}
	if o.N > 3 {
		return policy.ErrObjections
	}
	if m.said == nil {
		m.said = make(map[[32]byte][]byte)
	}
	m.said[o.Digest] = sealed
	c.Objections = append(slices.Clone(c.Objections), o)
	slices.SortStableFunc(c.Objections, func(a, b disclose.Objection) int {
		return cmp.Or(cmp.Compare(a.Target, b.Target), cmp.Compare(a.N, b.N))
	})
	return nil
}

// CodeFor implements [Store].
func (m *Memory) CodeFor(_ context.Context, c disclose.Case, target int, hash [32]byte, _ time.Time) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.codes == nil {
		m.codes = make(map[[32]byte]coded)
	}
	m.codes[hash] = coded{id: c.ID, target: target}
	return nil
}

// Objections implements [disclose.Cases].
func (m *Memory) Objections(ctx context.Context, id string) (all []disclose.Objected, err error) {
	c, err := m.Case(ctx, id)
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, o := range c.Objections {
		said := disclose.Objected{Objection: o, Sealed: m.said[o.Digest]}
		if by, ok := m.find(func(c disclose.Case) bool { return o.Outcome != "" && c.RecordedLeaf == o.Ruling }); ok {
			leaf, err := proof.ParseLeaf(m.leaves[o.Ruling])
			if err != nil {
				return nil, err
			}
			said.Ruled, said.RuledOn = &by.Submission, leaf.Day
		}
		all = append(all, said)
	}
	return all, err
}

// Object implements [disclose.Cases].
func (m *Memory) Object(_ context.Context, code [32]byte, sealed []byte, now time.Time) error {
	m.mu.Lock()
	k, ok := m.codes[code]
	m.mu.Unlock()
	if !ok || k.used {
		return policy.ErrNoNotice
	}
	if err := m.object(k.id, k.target, true, sealed, now); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	k.used = true
	m.codes[code] = k
	return nil
}

// Coded implements [disclose.Cases]: of what is told it knows no more than this.
func (m *Memory) Coded(_ context.Context, code [32]byte, _ time.Time) (policy.Coded, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	k, ok := m.codes[code]
	if !ok {
		return policy.Coded{}, policy.ErrNoNotice
	}
	n := m.firsts[k.id]
	c, ok := m.find(withID(k.id))
	if !ok {
		return policy.Coded{}, policy.ErrNoNotice
	}
	told := policy.Coded{FileNumber: n.FileNumber, LegalBasis: n.LegalBasis, Fields: n.Fields, State: string(c.Targets[k.target].State)}
	if c.Targets[k.target].State == disclose.TargetWaiting {
		told.Days, told.Until = c.First.Days, c.ApproveFrom
	}
	return told, nil
}

// FirstNotice returns what the persons were told before custodians decided.
func (m *Memory) FirstNotice(id string) (disclose.Notice, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	n, ok := m.firsts[id]
	return n, ok
}
