package policy

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"time"

	"github.com/penname/penname/verifier/document"
	"github.com/penname/penname/verifier/refusal"
	"github.com/penname/penname/verifier/token"
)

// Why evidence does not count for what the registry says of its platform.
var (
	ErrPlatformTooNew  = refusal.New(refusal.NotYet, "warrant.platform_too_new", "The platform was registered so recently that its evidence does not count yet; file the warrant again from the day that is named here, with the reason in dated_back.")
	ErrKeyTooNew       = refusal.New(refusal.NotYet, "warrant.platform_key_too_new", "The platform's key is so new that evidence under it does not count yet, because no older key of the platform countersigned it, or only one that still waits itself or was reported stolen; file the warrant again from the day that is named here, with the reason in dated_back.")
	ErrKeyStolen       = refusal.New(refusal.Denied, "warrant.platform_key_stolen", "The platform's key was reported stolen, and the public log held this evidence before neither by this warrant's own entry nor by that of an earlier warrant which it names in its field earlier. Ask the platform for evidence under another key; or, if you filed a warrant about this very evidence before the report, put the SHA-256 of that one's signed file into earlier (sha256sum warrant.jws), and sign again.")
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
	owners  map[string]string          // ids, by the thumbprint of each key that they ever had
	sectors map[string][]string        // ids
	listed  map[string]document.KeySet // by id: keys of those that a bundle lists, or did
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
	p.carryOver(bundles)
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
	p.carryOver(bundles)
	if _, err := bundles[len(bundles)-1].Register(l.Signed, l.Countersigned, p, day); err != nil {
		return err
	}
	return p.add(l)
}

// carryOver notes the platforms that bundles list, in their order: what custodians once
// endorsed is nobody else's, listed or not.
func (p *Platforms) carryOver(bundles []*Bundle) {
	if p.byID == nil {
		p.byID, p.owners, p.sectors, p.listed = make(map[string]*platform), make(map[string]string), make(map[string][]string), make(map[string]document.KeySet)
	}
	for _, b := range bundles {
		for id, listed := range b.platforms {
			p.listed[id] = listed.Keys
			for _, k := range listed.Keys {
				if print, err := k.Thumbprint(); err == nil { // it was read as a key
					p.owners[print] = id
				}
			}
		}
	}
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
	if before != nil && (r.ID != before.ID || r.Sector != before.Sector || r.SectorURI != before.SectorURI || r.Succeeds != before.Succeeds ||
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
		case known && (was != print || kidIn(before.keys, k.KeyID) == nil):
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

// Registered is the day on which the public log holds the first record of a platform; the
// zero time if there is none.
func (p *Platforms) Registered(id string) time.Time {
	if p == nil || p.byID[id] == nil {
		return time.Time{}
	}
	return p.byID[id].days[0]
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
	listed     document.KeySet      // that the bundle lists
	days       map[string]time.Time // by kid: of the record that added a key; none: it does not wait
	vouched    map[string][]string  // by kid: those of the older keys that countersigned that record
	stolen     map[string]report    // by kid
	registered time.Time            // the day of the first record; zero: the bundle has the platform
	retired    time.Time            // the day on which it retired; zero: it has not
}

// report is the record that first reports a key stolen.
type report struct {
	leaf int64
	day  time.Time
}

// evidenceKeys returns the keys of a platform under b, or nil if it is not known. What a
// bundle lists was endorsed by custodians, so it need not wait, whatever record names it
// too; it is as if it had been the record before the first. Of the records behind the leaf
// until, only what they report stolen is read: a case is judged by what there was when it
// was recorded.
func (b *Bundle) evidenceKeys(id string, p *Platforms, until int64) *evidenceKeys {
	listed := b.platforms[id]
	if b.Registry == nil || p == nil || p.byID[id] == nil {
		if listed == nil {
			return nil
		}
		return &evidenceKeys{set: listed}
	}
	k := &evidenceKeys{set: &token.KeySet{}, days: make(map[string]time.Time), vouched: make(map[string][]string), stolen: make(map[string]report)}
	known := p.byID[id]
	if listed != nil {
		k.listed = listed.Keys
		k.set.Keys = slices.Clone(k.listed)
	} else {
		k.registered = known.days[0]
	}
	before := k.listed
	for i, r := range known.records {
		k.addReports(r, known.logged[i].Leaf, known.days[i])
		if known.logged[i].Leaf <= until {
			k.add(r, before, known.logged[i], known.days[i])
			before = r.keys
		}
	}
	return k
}

func (k *evidenceKeys) addReports(r *PlatformRecord, leaf int64, day time.Time) {
	for _, kid := range r.Stolen {
		if _, known := k.stolen[kid]; !known {
			k.stolen[kid] = report{leaf, day}
		}
	}
}

// add takes one more record; before are the keys of the one before it.
func (k *evidenceKeys) add(r *PlatformRecord, before document.KeySet, l LoggedPlatform, day time.Time) {
	for i := range before { // what is gone signed until the end of the day
		gone := kidIn(r.keys, before[i].KeyID) == nil
		if end := day.AddDate(0, 0, 1); gone {
			was := kidIn(k.set.Keys, before[i].KeyID)
			if was.Expiry.IsZero() || end.Before(was.Expiry) {
				was.Expiry = end
			}
		}
	}
	vouched := vouching(r, before, l)
	for _, n := range r.keys {
		if kidIn(before, n.KeyID) != nil {
			continue
		}
		if named := kidIn(k.listed, n.KeyID); named != nil { // and counts as the bundle says
			kidIn(k.set.Keys, n.KeyID).Expiry = named.Expiry
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

// kidIn returns the one of keys with that kid, or nil.
func kidIn(keys document.KeySet, kid string) *document.Key {
	return find(keys, func(k *document.Key) bool { return k.KeyID == kid })
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
	return k.waits(kid, loggedBefore, make(map[string]time.Time))
}

// waits remembers what it found: keys can be vouched for by many, and those too.
func (k *evidenceKeys) waits(kid string, loggedBefore func(leaf int64) bool, found map[string]time.Time) time.Time {
	if since, ok := found[kid]; ok {
		return since
	}
	since := k.days[kid]
	for _, older := range k.vouched[kid] {
		if report, stolen := k.stolen[older]; stolen && !loggedBefore(report.leaf) {
			continue
		}
		if from := k.waits(older, loggedBefore, found); from.Before(since) {
			since = from
		}
	}
	found[kid] = since
	return since
}

// judge decides whether evidence that verified under one of the keys counts at a time, and
// returns the day from which that key waits.
func (k *evidenceKeys) judge(e *token.Evidence, at time.Time, waitingDays int, loggedBefore func(leaf int64) bool) (since time.Time, err error) {
	if !k.retired.IsZero() && !e.At.Before(k.retired.AddDate(0, 0, 1)) {
		return since, ErrPlatformRetired
	}
	if report, stolen := k.stolen[e.KeyID]; stolen && !loggedBefore(report.leaf) {
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
	k, from := b.evidenceKeys(id, p, math.MaxInt64), make(map[string]time.Time)
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
// by one of them, with a key that need not wait any more; so is one that has the sector by
// an address, or took over from another platform, when it adds an origin: its own key will
// do. Who takes over from a platform is countersigned by that one. A platform that a bundle listed
// goes on under its keys and in its sector. The refusals are those of
// [Bundle.VerifyPlatform] and [NewPlatforms], [ErrSectorTaken], [ErrSucceeds], [ErrPlatformListed], [ErrCountersignature] and [ErrBundleSharedKey].
func (b *Bundle) Register(signed string, countersigned []string, p *Platforms, day time.Time) (*PlatformRecord, error) {
	day = day.UTC().Truncate(24 * time.Hour) // an entry says no more
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
	own := b.ownKeys(r, p)
	joined, vouched := false, false
	for _, c := range countersigned {
		if err := checkCountersignature(c, signed, members, own); err != nil {
			return nil, err
		}
		_, member := countersigner(c, signed, members)
		_, owner := countersigner(c, signed, own)
		joined, vouched = joined || member == nil, vouched || owner == nil
	}
	switch listed := b.listed(r.ID, p); {
	case r.Number > 1:
		if taken && !joined && r.SectorURI+r.Succeeds != "" && !subset(r.Origins, among(known.newest().Origins)) {
			return nil, ErrSectorTaken
		}
	case listed != nil && (r.SectorID() != r.ID || !vouched && !r.carriesOn(listed, day)):
		return nil, ErrPlatformListed
	case r.Succeeds != "" && (!joined || b.StopsPlatform(r.Succeeds)):
		return nil, ErrSucceeds
	case taken && !joined:
		return nil, ErrSectorTaken
	}
	return r, nil
}

// CheckCountersignature checks that a countersignature of the record signed is by a key
// that may give it on day, after the records that p holds: one of the record before, not
// reported stolen, or of another platform of the sector, as [Bundle.Register] says. It is
// [ErrCountersignature], or as [ParsePlatform] refuses.
func (b *Bundle) CheckCountersignature(countersigned, signed string, p *Platforms, day time.Time) error {
	r, err := ParsePlatform(signed)
	if err != nil {
		return err
	}
	members, _ := b.membersOf(r, p, day)
	return checkCountersignature(countersigned, signed, members, b.ownKeys(r, p))
}

func checkCountersignature(countersigned, signed string, may ...document.KeySet) (err error) {
	for _, keys := range may {
		if _, err = countersigner(countersigned, signed, keys); err == nil {
			return nil
		}
	}
	if errors.Is(err, ErrCountersignature) {
		return err
	}
	return ErrCountersignature.Because(err)
}

// ownKeys are those of the record before r that r does not report stolen.
func (b *Bundle) ownKeys(r *PlatformRecord, p *Platforms) document.KeySet {
	before := b.listed(r.ID, p)
	if has := p.byID[r.ID]; has != nil {
		before = has.newest().keys
	}
	return slices.DeleteFunc(slices.Clone(before), func(k document.Key) bool { return slices.Contains(r.Stolen, k.KeyID) })
}

// listed are the evidence keys of a platform in b, or else in the last bundle before it
// that listed the platform; nil: none did.
func (b *Bundle) listed(id string, p *Platforms) document.KeySet {
	if listed := b.platforms[id]; listed != nil {
		return listed.Keys
	}
	return p.listed[id]
}

// carriesOn reports whether r has all the listed keys that are in force on day, and they
// are some.
func (r *PlatformRecord) carriesOn(listed document.KeySet, day time.Time) bool {
	inForce := slices.DeleteFunc(slices.Clone(listed), func(k document.Key) bool { return !k.InForce(day) })
	return len(inForce) > 0 && !slices.ContainsFunc(inForce, func(k document.Key) bool { return kidIn(r.keys, k.KeyID) == nil })
}

// checkKeys: evidence keys are those of one party alone, each under one kid.
func (b *Bundle) checkKeys(r *PlatformRecord, p *Platforms) error {
	for i := range r.keys {
		print, err := r.keys[i].Thumbprint()
		if err != nil {
			return ErrPlatform.Because(err)
		}
		for _, owners := range []map[string]string{b.owners, p.owners} {
			for _, name := range []string{print, infoOf(&r.keys[i], print)} {
				if owner, taken := owners[name]; taken && owner != r.ID {
					return ErrBundleSharedKey.Because(fmt.Errorf("key %q is %s's", r.keys[i].KeyID, cmp.Or(owner, "the issuer, the registry or a person of the rules")))
				}
			}
		}
		if was := kidIn(b.listed(r.ID, p), r.keys[i].KeyID); was != nil {
			if of, err := was.Thumbprint(); err != nil || of != print {
				return ErrPlatformFixed
			}
		}
	}
	return nil
}

// membersOf returns the evidence keys of the platforms that have the sector of r, which may
// countersign on day, and whether others than r's are among them. One that a
// bundle lists, or did, has its id as its sector. The first record of one that takes over
// from another is countersigned by that one alone.
func (b *Bundle) membersOf(r *PlatformRecord, p *Platforms, day time.Time) (keys document.KeySet, taken bool) {
	may := func(id string) bool { return r.Succeeds == "" || r.Number > 1 || id == r.Succeeds }
	if listed := b.listed(r.SectorID(), p); listed != nil && r.SectorID() != r.ID && p.byID[r.SectorID()] == nil {
		taken = true
		if may(r.SectorID()) {
			keys = slices.Clone(listed)
		}
	}
	for _, id := range p.sectors[r.SectorID()] {
		taken = taken || id != r.ID
		if !may(id) {
			continue
		}
		for _, k := range b.lettingIn(id, p, day) {
			if id != r.ID || !slices.Contains(r.Stolen, k.KeyID) {
				keys = append(keys, k)
			}
		}
	}
	return keys, taken
}

// lettingIn are the keys of a registered platform that may let others into its sector on
// day. Those of its first record may at once: nobody was there before it, or a member
// vouched for it. One that was added later waits as evidence under it does, or whoever has
// the registry key would add one of their own and countersign with it.
func (b *Bundle) lettingIn(id string, p *Platforms, day time.Time) (keys document.KeySet) {
	known, k := p.byID[id], b.evidenceKeys(id, p, math.MaxInt64)
	if b.listed(id, p) == nil {
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
