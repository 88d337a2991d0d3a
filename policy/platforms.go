package policy

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"time"

	"github.com/penname/penname/verifier/document"
	"github.com/penname/penname/verifier/refusal"
	"github.com/penname/penname/verifier/token"
)

// Why evidence does not count for what the registry says of its platform.
var (
	ErrPlatformTooNew  = refusal.New(refusal.NotYet, "warrant.platform_too_new", "The platform was registered so recently that its evidence does not count yet; file the warrant again from the day that is named here.")
	ErrKeyTooNew       = refusal.New(refusal.NotYet, "warrant.platform_key_too_new", "The platform's key is so new that evidence under it does not count yet, because no older key of the platform countersigned it, or only one that was reported stolen; file the warrant again from the day that is named here.")
	ErrKeyStolen       = refusal.New(refusal.Denied, "warrant.platform_key_stolen", "The platform's key was reported stolen, and the public log shows nothing of this evidence from before: ask the platform for evidence under another key, or name the earlier preservation of it.")
	ErrPlatformRetired = refusal.New(refusal.Denied, "warrant.platform_retired", "The platform signed this evidence after it had retired: only what it signed before counts.")
	ErrPlatformStopped = refusal.New(refusal.Denied, "warrant.platform_stopped", "The custodians have stopped this platform: nothing is opened on its evidence.")
)

// WaitError is the cause of [ErrPlatformTooNew] and [ErrKeyTooNew]: from when on the
// evidence counts.
type WaitError struct{ From time.Time }

func (e *WaitError) Error() string { return "from " + e.From.Format(time.DateOnly) }

// LoggedPlatform is a signed record with the countersignatures that came with it, and
// its leaf in the public log.
type LoggedPlatform struct {
	Signed        string   `json:"signed"`                  // SignPlatform
	Countersigned []string `json:"countersigned,omitempty"` // CountersignPlatform
	Leaf          int64    `json:"leaf"`
	Day           string   `json:"day"` // of the leaf, YYYY-MM-DD
}

// Platforms are what the public log says of some platforms: all versions of the record
// of each. Make them with [NewPlatforms] or [Platforms.Add]; the zero Platforms are none,
// and so is nil in [Facts]. They are not safe for concurrent use with Add.
type Platforms struct {
	byID    map[string]*platform
	owners  map[string]string   // ids, by the thumbprint of each key that they ever had
	sectors map[string][]string // ids
}

// platform is one of them, in the order of its numbers.
type platform struct {
	records []*PlatformRecord
	logged  []LoggedPlatform
	days    []time.Time
	kids    map[string]string // thumbprints of all keys that it ever had
}

// NewPlatforms reads the records of platforms, all versions of each, in any order. The
// newest of each must be signed with a registry key of one of the bundles; it vouches
// for those before, which it names by their hash. It is [ErrPlatform],
// [ErrPlatformSignature], [ErrNoRegistry], [ErrPlatformNotNext] or [ErrPlatformFixed], and
// says which platform or entry it is about.
//
// Not checked: that the leaves are in the public log, and that there are no newer
// records. The first is for whoever calls; the second is what an audit shows.
func NewPlatforms(logged []LoggedPlatform, bundles ...*Bundle) (*Platforms, error) {
	p := &Platforms{}
	for _, l := range slices.SortedFunc(slices.Values(logged), func(a, b LoggedPlatform) int { return cmp.Compare(a.Leaf, b.Leaf) }) {
		if err := p.add(l); err != nil {
			return nil, about("record of entry", strconv.FormatInt(l.Leaf, 10), err)
		}
	}
	for id, known := range p.byID {
		newest := len(known.logged) - 1
		err := error(ErrNoRegistry)
		for _, b := range bundles {
			if _, err = b.VerifyPlatform(known.logged[newest].Signed, known.days[newest]); err == nil {
				break
			}
		}
		if err != nil {
			return nil, about("platform", id, err)
		}
	}
	return p, nil
}

// Add takes the next record that the public log holds, which is judged as it was when it
// was registered under the last of the bundles that had come into force: see
// [Bundle.Register].
func (p *Platforms) Add(l LoggedPlatform, bundles ...*Bundle) error {
	day, err := time.Parse(time.DateOnly, l.Day)
	switch {
	case err != nil:
		return ErrPlatform.Because(err)
	case len(bundles) == 0:
		return ErrNoRegistry
	}
	if _, err := bundles[len(bundles)-1].Register(l.Signed, l.Countersigned, p, day); err != nil {
		return err
	}
	return p.add(l)
}

func (p *Platforms) add(l LoggedPlatform) error {
	r, err := ParsePlatform(l.Signed)
	if err != nil {
		return err
	}
	day, err := time.Parse(time.DateOnly, l.Day)
	if err != nil {
		return ErrPlatform.Because(err)
	}
	if p.byID == nil {
		p.byID, p.owners, p.sectors = make(map[string]*platform), make(map[string]string), make(map[string][]string)
	}
	known := p.byID[r.ID]
	if known == nil {
		known = &platform{kids: make(map[string]string)}
	}
	if err := known.follows(r); err != nil {
		return err
	}
	for _, print := range known.kids {
		p.owners[print] = r.ID
	}
	if p.byID[r.ID] = known; r.Number == 1 {
		p.sectors[r.SectorID()] = append(p.sectors[r.SectorID()], r.ID)
	}
	known.records, known.logged, known.days = append(known.records, r), append(known.logged, l), append(known.days, day)
	return nil
}

// newest is the record in force; nil if there is none.
func (p *platform) newest() *PlatformRecord {
	if len(p.records) == 0 {
		return nil
	}
	return p.records[len(p.records)-1]
}

// follows checks that r may come after the newest record, and notes its keys.
func (p *platform) follows(r *PlatformRecord) error {
	before := p.newest()
	want := PlatformRecord{Number: 1}
	if before != nil {
		want = before.Successor()
	}
	if r.Number != want.Number || r.Previous != want.Previous {
		return ErrPlatformNotNext.Because(fmt.Errorf("expected is number %d after %s", want.Number, orNone(want.Previous)))
	}
	if before != nil && (r.ID != before.ID || r.Sector != before.Sector || r.SectorURI != before.SectorURI ||
		before.Retired && !r.Retired || !subset(before.Stolen, among(r.Stolen))) {
		return ErrPlatformFixed
	}
	for i := range r.keys {
		k := &r.keys[i]
		print, err := k.Thumbprint()
		if err != nil {
			return ErrPlatform.Because(err)
		}
		was, known := p.kids[k.KeyID]
		switch {
		case known && (was != print || find(before.keys, func(o *document.Key) bool { return o.KeyID == k.KeyID }) == nil):
			return ErrPlatformFixed // another key, or one that was gone
		case !known && slices.Contains(slices.Collect(maps.Values(p.kids)), print):
			return ErrPlatformFixed // or a stolen key could go on under another kid
		}
		p.kids[k.KeyID] = print
	}
	return nil
}

// Newest returns the record in force of a platform, with its leaf, or nil.
func (p *Platforms) Newest(id string) (*PlatformRecord, *LoggedPlatform) {
	if p == nil || p.byID[id] == nil {
		return nil, nil
	}
	known := p.byID[id]
	return known.newest(), &known.logged[len(known.logged)-1]
}

// ReportsStolen reports whether any of the platforms had a key reported stolen.
func (p *Platforms) ReportsStolen() bool {
	for _, known := range p.byID {
		if len(known.newest().Stolen) > 0 {
			return true
		}
	}
	return false
}

// evidenceKeys are those by which evidence of one platform is judged: all that it ever
// had, each with the days in which it signs.
type evidenceKeys struct {
	set        *token.KeySet
	days       map[string]time.Time // by kid: of the record that added a key; none: it does not wait
	vouched    map[string][]string  // by kid: those of the older keys that countersigned that record
	stolen     map[string]int64     // by kid: the leaf that reports it
	registered time.Time            // the day of the first record; zero: the bundle has the platform
	retired    time.Time            // the day on which it retired; zero: it has not
}

// evidenceKeys returns the keys of a platform under b, or nil if it is not known. What a
// bundle lists was endorsed by custodians, so it need not wait; it is as if it had been
// the record before the first.
func (b *Bundle) evidenceKeys(id string, p *Platforms) *evidenceKeys {
	listed := b.platforms[id]
	if b.Registry == nil || p == nil || p.byID[id] == nil {
		if listed == nil {
			return nil
		}
		return &evidenceKeys{set: listed}
	}
	k := &evidenceKeys{set: &token.KeySet{}, days: make(map[string]time.Time), vouched: make(map[string][]string), stolen: make(map[string]int64)}
	var before document.KeySet
	if listed != nil {
		before = listed.Keys
		k.set.Keys = slices.Clone(before)
	} else {
		k.registered = p.byID[id].days[0]
	}
	known := p.byID[id]
	for i, r := range known.records {
		k.add(r, before, known.logged[i], known.days[i])
		before = r.keys
	}
	return k
}

// add takes one more record; before are the keys of the one before it.
func (k *evidenceKeys) add(r *PlatformRecord, before document.KeySet, l LoggedPlatform, day time.Time) {
	for _, kid := range r.Stolen {
		if _, known := k.stolen[kid]; !known {
			k.stolen[kid] = l.Leaf
		}
	}
	for i := range before { // what is gone signed until the end of the day
		gone := find(r.keys, func(n *document.Key) bool { return n.KeyID == before[i].KeyID }) == nil
		if end := day.AddDate(0, 0, 1); gone {
			was := find(k.set.Keys, func(o *document.Key) bool { return o.KeyID == before[i].KeyID })
			if was.Expiry.IsZero() || end.Before(was.Expiry) {
				was.Expiry = end
			}
		}
	}
	vouched := vouching(r, before, l)
	for _, n := range r.keys {
		if find(before, func(o *document.Key) bool { return o.KeyID == n.KeyID }) != nil {
			continue
		}
		if n.NotBefore.Before(day) {
			n.NotBefore = day
		}
		k.set.Keys, k.days[n.KeyID], k.vouched[n.KeyID] = append(k.set.Keys, n), day, vouched
	}
	if r.Retired && k.retired.IsZero() {
		k.retired = day
	}
}

// vouching are the kids of the older keys that countersigned a record, without those that
// it reports stolen.
func vouching(r *PlatformRecord, before document.KeySet, l LoggedPlatform) (kids []string) {
	for _, countersigned := range l.Countersigned {
		key, err := countersigner(countersigned, l.Signed, before)
		if err == nil && !slices.Contains(r.Stolen, key.KeyID) {
			kids = append(kids, key.KeyID)
		}
	}
	return kids
}

// waitsFrom is the day from which a key waits: that of its own record, or that of an older
// key that vouched for it; zero: it does not wait. A key that was reported stolen vouches
// for nothing but what was logged before the report: a thief could have countersigned a
// key of theirs.
func (k *evidenceKeys) waitsFrom(kid string, loggedBefore func(leaf int64) bool) time.Time {
	since := k.days[kid]
	for _, older := range k.vouched[kid] {
		if report, stolen := k.stolen[older]; stolen && !loggedBefore(report) {
			continue
		}
		if from := k.waitsFrom(older, loggedBefore); from.Before(since) {
			since = from
		}
	}
	return since
}

// judge decides whether evidence that verified under one of the keys counts at a time, and
// returns the day from which that key waits.
func (k *evidenceKeys) judge(e *token.Evidence, at time.Time, waitingDays int, loggedBefore func(leaf int64) bool) (since time.Time, err error) {
	if !k.retired.IsZero() && !e.At.Before(k.retired.AddDate(0, 0, 1)) {
		return since, ErrPlatformRetired
	}
	if report, stolen := k.stolen[e.KeyID]; stolen && !loggedBefore(report) {
		return since, ErrKeyStolen
	}
	since = k.waitsFrom(e.KeyID, loggedBefore)
	from := since.AddDate(0, 0, waitingDays)
	switch {
	case since.IsZero() || !at.Before(from):
		return since, nil
	case since.Equal(k.registered):
		return since, ErrPlatformTooNew.Because(&WaitError{from})
	}
	return since, ErrKeyTooNew.Because(&WaitError{from})
}

// CountsFrom returns, by kid, the days from which evidence under the keys of a platform's
// newest record counts, without those that are reported stolen. The zero time is of a key
// that does not wait, because the bundle lists it.
func (b *Bundle) CountsFrom(id string, p *Platforms) map[string]time.Time {
	newest, _ := p.Newest(id)
	if newest == nil {
		return nil
	}
	k, from := b.evidenceKeys(id, p), make(map[string]time.Time)
	for i := range newest.keys {
		kid := newest.keys[i].KeyID
		if _, stolen := k.stolen[kid]; stolen {
			continue
		}
		if from[kid] = k.waitsFrom(kid, func(int64) bool { return false }); !from[kid].IsZero() {
			from[kid] = from[kid].AddDate(0, 0, b.Registry.WaitingDays)
		}
	}
	return from
}

// Register checks that a new record may be logged on day after those that p holds,
// which are all: signed under b with a registry key, next in its place, with evidence
// keys that are nobody else's, and, if it takes a sector that others have, countersigned
// by one of them, with a key that need not wait any more. The refusals are those of [Bundle.VerifyPlatform] and [NewPlatforms],
// [ErrSectorTaken], [ErrCountersignature] and [ErrBundleSharedKey].
func (b *Bundle) Register(signed string, countersigned []string, p *Platforms, day time.Time) (*PlatformRecord, error) {
	r, err := b.VerifyPlatform(signed, day)
	if err != nil {
		return nil, err
	}
	known := &platform{kids: make(map[string]string)}
	if has := p.byID[r.ID]; has != nil {
		known = &platform{has.records, has.logged, has.days, maps.Clone(has.kids)} // p does not change
	}
	if err := known.follows(r); err != nil {
		return nil, err
	}
	if err := b.checkKeys(r, p); err != nil {
		return nil, err
	}
	members, taken := b.membersOf(r, p, day)
	joined := false
	for _, c := range countersigned {
		if err := b.checkCountersignature(c, signed, r, p, day); err != nil {
			return nil, err
		}
		_, member := countersigner(c, signed, members)
		joined = joined || member == nil
	}
	if r.Number == 1 && taken && !joined {
		return nil, ErrSectorTaken
	}
	return r, nil
}

// CheckCountersignature checks that a countersignature of the record signed is by a key
// that may give it on day, after the records that p holds: one of the record before, not reported
// stolen, or of another platform of the sector. It is [ErrCountersignature], or as
// [ParsePlatform] refuses.
func (b *Bundle) CheckCountersignature(countersigned, signed string, p *Platforms, day time.Time) error {
	r, err := ParsePlatform(signed)
	if err != nil {
		return err
	}
	return b.checkCountersignature(countersigned, signed, r, p, day)
}

func (b *Bundle) checkCountersignature(countersigned, signed string, r *PlatformRecord, p *Platforms, day time.Time) error {
	may, _ := b.membersOf(r, p, day)
	before := document.KeySet(nil)
	if listed := b.platforms[r.ID]; listed != nil {
		before = listed.Keys
	}
	if has := p.byID[r.ID]; has != nil {
		before = has.newest().keys
	}
	for _, k := range before {
		if !slices.Contains(r.Stolen, k.KeyID) {
			may = append(may, k)
		}
	}
	_, err := countersigner(countersigned, signed, may)
	if err == nil || errors.Is(err, ErrCountersignature) {
		return err
	}
	return ErrCountersignature.Because(err)
}

// checkKeys: evidence keys are those of one party alone, each under one kid.
func (b *Bundle) checkKeys(r *PlatformRecord, p *Platforms) error {
	for i := range r.keys {
		print, err := r.keys[i].Thumbprint()
		if err != nil {
			return ErrPlatform.Because(err)
		}
		for _, owners := range []map[string]string{b.owners, p.owners} {
			if owner, taken := owners[print]; taken && owner != r.ID {
				return ErrBundleSharedKey.Because(fmt.Errorf("key %q is %s's", r.keys[i].KeyID, cmp.Or(owner, "the issuer, the registry or a person of the rules")))
			}
		}
		if listed := b.platforms[r.ID]; listed != nil {
			if was := find(listed.Keys, func(k *document.Key) bool { return k.KeyID == r.keys[i].KeyID }); was != nil {
				if of, err := was.Thumbprint(); err != nil || of != print {
					return ErrPlatformFixed
				}
			}
		}
	}
	return nil
}

// membersOf returns the evidence keys of the other platforms that have the sector of
// r, which may countersign on day, and whether there are any such platforms. One that the
// bundle lists has its id as its sector.
func (b *Bundle) membersOf(r *PlatformRecord, p *Platforms, day time.Time) (keys document.KeySet, taken bool) {
	if listed := b.platforms[r.SectorID()]; listed != nil && r.SectorID() != r.ID && p.byID[r.SectorID()] == nil {
		keys, taken = slices.Clone(listed.Keys), true
	}
	for _, id := range p.sectors[r.SectorID()] {
		if id != r.ID {
			keys, taken = append(keys, b.lettingIn(id, p, day)...), true
		}
	}
	return keys, taken
}

// lettingIn are the keys of a registered platform that may let others into its sector on
// day. Those of its first record may at once: nobody was there before it, or a member
// vouched for it. One that was added later waits as evidence under it does, or whoever has
// the registry key would add one of their own and countersign with it.
func (b *Bundle) lettingIn(id string, p *Platforms, day time.Time) (keys document.KeySet) {
	known, k := p.byID[id], b.evidenceKeys(id, p)
	if b.platforms[id] == nil {
		for _, first := range known.records[0].keys {
			delete(k.days, first.KeyID)
		}
	}
	if known.newest().Retired {
		return nil
	}
	for _, key := range known.newest().keys {
		_, stolen := k.stolen[key.KeyID]
		since := k.waitsFrom(key.KeyID, func(int64) bool { return false })
		if !stolen && !day.Before(since.AddDate(0, 0, b.Registry.WaitingDays)) {
			keys = append(keys, key)
		}
	}
	return keys
}
