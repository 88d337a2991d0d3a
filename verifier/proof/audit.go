package proof

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"filippo.io/torchwood"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/penname/penname/verifier/refusal"
)

// Rules is what an auditor must know of a bundle to judge the cases under it.
type Rules struct {
	Threshold      int      // distinct custodians that must approve; at least 1
	Custodians     []string // their ids; nil: any id counts
	OffenceClasses []string // the vocabulary; nil: any word
	NoticeClasses  []string // of offences: persons are told first
	Offences       []string // ids of the catalogue; nil: any word
	Fields         []string // names of those that a record holds; nil: any word
	Facets         []string // what a recorded leaf may say and need not: [FacetOffence] …
	SmallCount     int      // the statistics of a year tell no smaller count; 0: [SmallCount]
	Ceremony       string   // hex SHA-256 of the transcript that made its threshold key; empty: none is claimed
	Key            string   // the custodians' threshold key: only approvals under one key open together
	Rounds         bool     // since format 5: decisions are closed until a leaf opens them, and targets are authorised and released one by one
	SaysQuorum     bool     // the leaf of each case that may open names says the quorum that the rules want
	Stops          []int64  // cases under earlier bundles that it ends

	// Since format 5, how long each clock runs at most; 0: it is not judged.
	MaxSecrecyDays  int // from a warrant to the end of its secrecy, wherever that was moved to
	HoldDays        int // of a preservation
	ExtensionDays   int // by one extension of it
	NoticeDays      int // that a person has to object at least, in cases of NoticeClasses
	ValidationHours int // until an emergency lapses that nobody validated

	// Required are what must be among those who approve, and Seats who they are, by id.
	Required []Required
	Seats    map[string]Seat

	// Follows says what is wrong with this bundle's coming into force after the
	// one with that hash, or as the first if that is empty: the code of a finding,
	// or nothing. nil: that is not judged.
	Follows func(previous string) (finding string)

	// Platform says what is wrong with the record of a platform, whose leaf has that
	// index, under this bundle: the code of a finding, or nothing. nil: that is not
	// judged.
	Platform func(index int64, leaf Leaf) (finding string)
}

// Required is what must be among the custodians who approve a case about one of these: of
// which at least one must have that role, and of how many organisations they must be.
type Required struct {
	OffenceClasses, Offences []string // neither: it holds for every case
	Role                     string
	Organisations            int
}

// Seat is what a custodian counts as.
type Seat struct{ Role, Organisation string }

// of reports whether it holds for a case with that recorded leaf. What only an offence tells
// is judged where the leaf says the offence.
func (r Required) of(l Leaf) bool {
	return len(r.OffenceClasses)+len(r.Offences) == 0 || slices.Contains(r.OffenceClasses, l.OffenceClass) || slices.Contains(r.Offences, l.Offence)
}

func (r Required) metBy(seats []Seat) bool {
	bodies := make(map[string]bool)
	for _, s := range seats {
		bodies[s.Organisation] = true
	}
	return len(bodies) >= r.Organisations && (r.Role == "" || slices.ContainsFunc(seats, func(s Seat) bool { return s.Role == r.Role }))
}

// AuditOptions says against what a log is audited.
type AuditOptions struct {
	// Rules returns the rules of the bundle with that hex SHA-256, and whether
	// the auditor could get it. What was done under one that could not be had is
	// not judged, and says so ([FindingUnavailable]).
	Rules func(bundle string) (Rules, bool)
	// At is the time that overdue notices and freshness are judged at. What a log
	// that was cosigned earlier does not show yet is not held against it.
	At time.Time
	// MaxAge is how old the quorum's cosignatures may be; 0 is any age.
	MaxAge time.Duration
	// Trusted is a checkpoint that the auditor kept from an earlier audit
	// ([Report].Signed), or nil. The log must contain it.
	Trusted []byte
	// Progress, if not nil, is told now and then how many leaves are verified.
	Progress func(done, size int64)
}

// Finding is a leaf that breaks a rule, in a log that is otherwise authentic.
type Finding struct {
	Index int64  // of the leaf
	Code  string // one of the constants below
}

// Accuses reports whether it says that something is wrong with the log, and not only what this
// program could not judge.
func (f Finding) Accuses() bool { return accusesNobody[f.Code] == nil }

// The codes of findings.
const (
	FindingMalformed   = "malformed"               // not a canonical leaf of this version
	FindingNewer       = "leaf_not_understood"     // of a version or kind that this program does not know. It accuses nobody: see [ErrNewer]
	FindingDay         = "day_goes_back"           // dated before the leaf before it
	FindingBundle      = "bundle_not_in_force"     // recorded under another bundle than the one in force
	FindingRepeated    = "bundle_repeated"         // a bundle that was in force before came into force again
	FindingNotNext     = "bundle_not_next"         // a bundle came into force in another place than the one that it names
	FindingNotEndorsed = "bundle_not_endorsed"     // no endorsements that verify were served with a bundle. It accuses nobody: who carries them can change them
	FindingUnavailable = "bundle_not_available"    // the auditor could not get a bundle. It accuses nobody: see [ErrIncomplete]
	FindingPlatform    = "platform_not_valid"      // the record of a platform is not signed by the registry of the rules in force, or does not follow the one before
	FindingRecord      = "platform_not_available"  // the auditor could not get the record of a platform, or the one before it. It accuses nobody: see [ErrIncomplete]
	FindingWord        = "word_not_in_bundle"      // an offence class or custodian that the bundle does not name
	FindingCase        = "case_not_recorded"       // about a case that is not an earlier recorded warrant
	FindingQuorum      = "quorum_not_met"          // a target was authorised by too few distinct custodians, or a warrant recorded for too few
	FindingOrder       = "out_of_order"            // released before authorised, noticed before released, expired after released, lapsed too early or after it was validated, deleted before released, objected to before accepted, or twice
	FindingWithdrawn   = "case_withdrawn"          // authorised or released after the authority withdrew it
	FindingAnnulled    = "case_annulled"           // authorised or released after an authority above annulled it
	FindingStopped     = "case_stopped"            // authorised or released after newer rules stopped it
	FindingExpired     = "case_expired"            // authorised or released after its warrant ran out
	FindingLapsed      = "case_lapsed"             // authorised, released or validated after the emergency lapsed, or its hours were over and nobody had validated it
	FindingLate        = "validated_late"          // an emergency was validated after its hours were over
	FindingLapseTold   = "lapse_not_told"          // a lapse tells another number of targets than were delivered
	FindingReopened    = "decided_twice"           // a second authorisation of one target, or after none could be reached any more
	FindingFormat      = "leaf_of_other_rules"     // of a form that the rules of its case do not have: before format 5 one leaf for each custodian, since then one for each round
	FindingMarks       = "targets_not_of_case"     // names targets by a set that is not one of the case's
	FindingOpening     = "opening_not_of_decision" // opens what is no closed decision of its case, or otherwise than that commits to
	FindingClosed      = "decision_not_opened"     // decides a case and leaves a decision of it closed
	FindingTime        = "time_not_of_kind"        // says the second where only the day is to be said, or the other way round
	FindingFacet       = "facet_not_allowed"       // a recorded leaf says more of a warrant than the bundle lets
	FindingSecrecy     = "secrecy_too_long"        // secrecy ends, or was moved to end, later than the rules allow from the warrant on
	FindingHold        = "hold_too_long"           // a preservation, or an extension of one, says no end, a later one than the rules allow, or comes when it is over
	FindingNotice      = "before_notice"           // recorded with fewer days to object than the rules give, told twice or of nothing to object to, or authorised before the days were over
	FindingObjection   = "under_objection"         // authorised or released while an objection had no answer
	FindingCeremony    = "ceremony_not_logged"     // a bundle names a key ceremony whose transcript no earlier leaf holds
	FindingErased      = "erased_twice"            // one record was erased by an earlier leaf
	FindingSuperfluous = "not_a_production"        // authorised or released though nothing was to be opened
	FindingSalt        = "notice_opens_nothing"    // noticed with another salt than the one that opens the case's commitments
)

// Report is the result of an audit.
type Report struct {
	Checkpoint torchwood.Checkpoint
	Signed     []byte    // the checkpoint as served: keep it as Trusted for the next audit, and as evidence
	Cosigned   time.Time // when a quorum had cosigned it last: so old is what the report says
	Leaves     int64     // how many leaves were verified
	Findings   []Finding
	Statistics Statistics // recomputed from the verified leaves
	Years      []Year     // for publication, recomputed too
	Periods    *Periods   // counted leaf by leaf, and compared with Statistics
	Deadlines  []Deadline // that passed before At and were not met, in the order of the cases
}

// Fetch returns a reader of the log at a base URL, for [Log.Audit]. http is
// accepted beside https: everything that is read is authenticated by the
// checkpoint. Answers are limited in size and never decompressed. They come through
// that transport; nil: one of its own, with the certificate authorities of this machine.
func Fetch(base string, through http.RoundTripper) (torchwood.TileReader, error) {
	if through == nil {
		transport := http.DefaultTransport.(*http.Transport).Clone()
		transport.MaxIdleConnsPerHost, transport.MaxConnsPerHost = fetches, fetches
		through = transport
	}
	f, err := torchwood.NewTileFetcher(base, torchwood.WithConcurrencyLimit(fetches), torchwood.WithUserAgent("penname-audit"),
		torchwood.WithHTTPClient(&http.Client{Transport: bounded{through}, Timeout: time.Minute}))
	if err != nil {
		return nil, ErrFetch.Because(err)
	}
	return fetcher{f}, nil
}

// fetcher says why an endpoint cannot be read. The library tries again for minutes, whatever
// it was, and then says only that it took too long.
type fetcher struct{ *torchwood.TileFetcher }

// ReadEndpoint implements [torchwood.TileReader]. A certificate that does not verify is
// refused at once.
func (f fetcher) ReadEndpoint(ctx context.Context, path string) ([]byte, error) {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	t := &tries{stop: stop}
	data, err := f.TileFetcher.ReadEndpoint(context.WithValue(ctx, triesKey{}, t), path)
	if err != nil && ctx.Err() != nil && t.last != nil {
		err = t.last
	}
	return data, once(path, err)
}

// once is the error of a read, which the library says once for each try: each of them once.
func once(path string, err error) error {
	wrapped := errors.Unwrap(err)
	if _, many := wrapped.(interface{ Unwrap() []error }); !many {
		return err
	}
	var all []string
	var each func(error)
	each = func(err error) {
		if many, ok := err.(interface{ Unwrap() []error }); ok {
			for _, one := range many.Unwrap() {
				each(one)
			}
		} else if text := err.Error(); !slices.Contains(all, text) {
			all = append(all, text)
		}
	}
	each(wrapped)
	return tried{path + ": " + strings.Join(all, "; "), wrapped}
}

// tried is what came of all tries.
type tried struct {
	text string
	err  error
}

func (t tried) Error() string { return t.text }

func (t tried) Unwrap() error { return t.err }

type triesKey struct{}

// tries are those of one read, one after the other.
type tries struct {
	last error
	stop func()
}

// failed notes why a try failed, and lets no other follow if it would fail, too.
func (t *tries) failed(err error) {
	t.last = err
	if errors.As(err, new(*tls.CertificateVerificationError)) {
		t.stop()
	}
}

const (
	fetches = 8
	// maxRetryAfter is how long a log may ask to be left alone, in seconds.
	maxRetryAfter = 60
	// maxTile is the size of the largest entry bundle in bytes.
	maxTile = torchwood.TileWidth * (2 + MaxLeaf)
)

// bounded cuts every response body at maxTile: the fetcher reads to the end. It lets none be
// decompressed: a tile is 17 MB at most, a bomb is not.
type bounded struct{ http.RoundTripper }

func (b bounded) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.Header.Set("Accept-Encoding", "identity")
	resp, err := b.RoundTripper.RoundTrip(r)
	if t, ok := r.Context().Value(triesKey{}).(*tries); ok && err != nil {
		t.failed(err)
	}
	if err == nil {
		// The library waits for as long as it is told: a log could keep an auditor waiting for ever.
		if wait, err := strconv.Atoi(resp.Header.Get("Retry-After")); err != nil || wait > maxRetryAfter {
			resp.Header.Del("Retry-After")
		}
		resp.Body = struct {
			io.Reader
			io.Closer
		}{io.LimitReader(resp.Body, maxTile+1), resp.Body}
	}
	return resp, err
}

// Audit verifies everything that the log shows: its checkpoint with the
// quorum, that it contains the trusted one, every hash and every leaf, and
// that every case went by the rules. It recomputes the statistics.
//
// The report is never nil and counts what was verified before a refusal. The
// refusals are those of [Log.OpenCheckpoint] and [Log.OpenFresh], further
// [ErrFetch], [ErrOlder], [ErrRollback] and [ErrSplitView] against Trusted, with a
// [SeenError] as their cause, [ErrTile] if something that was read does not hash to
// the checkpoint, [ErrAudit] if the report has findings, and, if it has none that
// accuse, [ErrNewer] for leaves that this program cannot read and [ErrIncomplete]
// for a bundle, or its endorsements, that could not be had. The cause of the last four is an
// [IndexError] with the first index. [ErrSums] is of numbers that do not add up.
func (l *Log) Audit(ctx context.Context, tiles torchwood.TileReader, o AuditOptions) (*Report, error) {
	r := &Report{}
	if o.Rules == nil || o.At.IsZero() {
		return r, ErrPolicy.Because(errors.New("an audit needs rules and a time"))
	}
	var err error
	if r.Signed, err = tiles.ReadEndpoint(ctx, "checkpoint"); err != nil {
		return r, ErrFetch.Because(err)
	}
	if r.Checkpoint, err = l.OpenCheckpoint(r.Signed); err != nil {
		return r, err
	}
	if err := l.compare(ctx, tiles, r, o); err != nil {
		return r, err
	}
	if r.Cosigned.Before(o.At) {
		o.At = r.Cosigned
	}
	a := newAuditor(o)
	r.Periods = &Periods{}
	err = eachEntry(ctx, tiles, r.Checkpoint.Tree, 0, func(index int64, e entry) error {
		a.replay(index, e)
		r.Periods.count(e)
		r.Leaves = index + 1
		if o.Progress != nil && r.Leaves%mirrorGroup == 0 {
			o.Progress(r.Leaves, r.Checkpoint.N)
		}
		return nil
	})
	a.report(r)
	if err != nil {
		return r, err
	}
	if err := r.verdict(); err != nil {
		return r, err
	}
	return r, r.AddUp(r.Periods.Months())
}

// compare judges a log by its age and against what the auditor trusts. Evidence
// against the log comes before its age.
func (l *Log) compare(ctx context.Context, tiles torchwood.TileReader, r *Report, o AuditOptions) error {
	shown, err := l.openKept(r.Signed)
	if err != nil {
		return err
	}
	r.Cosigned = shown.last
	facts := error(&SeenError{Shown: shown.seen()})
	if o.Trusted != nil {
		if err = l.follows(ctx, tiles, o.Trusted, r.Signed); errors.Is(err, ErrOlder) {
			facts = errors.Unwrap(err)
		} else if err != nil {
			return err
		}
	}
	if o.MaxAge > 0 {
		if _, stale := l.OpenFresh(r.Signed, o.At, o.MaxAge); stale != nil {
			return ErrStale.Because(facts)
		}
	}
	return err
}

// accusesNobody are the findings that say what this program could not judge, and how that is
// refused.
var accusesNobody = map[string]*refusal.Error{FindingNewer: ErrNewer, FindingUnavailable: ErrIncomplete, FindingNotEndorsed: ErrIncomplete, FindingRecord: ErrIncomplete}

// verdict is what the findings come to. One that accuses comes before one that
// does not.
func (r *Report) verdict() (verdict error) {
	for _, f := range r.Findings {
		at := &IndexError{Index: f.Index, Cause: errors.New(f.Code)}
		said, ok := accusesNobody[f.Code]
		if !ok {
			return ErrAudit.Because(at)
		}
		if verdict == nil {
			verdict = said.Because(at)
		}
	}
	return verdict
}

// Extends checks that the tree of c, which tiles serves, adds to that of trusted.
// Both were opened before. It is [ErrOlder], [ErrSplitView], [ErrTile] or
// [ErrFetch].
func Extends(ctx context.Context, tiles torchwood.TileReader, trusted, c torchwood.Checkpoint) error {
	var path tlog.TreeProof
	if 0 < trusted.N && trusted.N < c.N {
		var err error
		path, err = tlog.ProveTree(c.N, trusted.N, torchwood.TileHashReaderWithContext(ctx, c.Tree, tiles))
		if err != nil {
			return locate(ctx, tiles, c.Tree, 0, err)
		}
	}
	err := Consistency(trusted, c, path)
	if errors.Is(err, ErrBadProof) {
		// The proof was made from authenticated tiles, so it is not the proof
		// that is wrong: the log signed a tree that does not contain the other.
		return ErrSplitView
	}
	return err
}

// locate finds the first leaf, at from or later, that is wrong, after
// something did not verify: the first whose bytes and hash differ, else the
// first under a tile that does not fit into the tree. Data that cannot be read
// at all is [ErrFetch].
func locate(ctx context.Context, tr torchwood.TileReader, tree tlog.Tree, from int64, cause error) error {
	begin := from - from%torchwood.TileWidth
	for start := begin; start < tree.N; start += torchwood.TileWidth {
		width := int(min(torchwood.TileWidth, tree.N-start))
		hashes := tlog.Tile{H: torchwood.TileHeight, N: start / torchwood.TileWidth, W: width}
		entries := hashes
		entries.L = -1
		data, err := tr.ReadTiles(ctx, []tlog.Tile{hashes, entries})
		if err != nil {
			return ErrFetch.Because(err)
		}
		if i, ok := firstDifference(data[0], data[1], width); ok {
			return ErrTile.Because(&IndexError{Index: start + int64(i), Cause: cause})
		}
	}
	for start := begin; start < tree.N; start += torchwood.TileWidth {
		ids := []int64{tlog.StoredHashIndex(0, start)}
		if _, err := torchwood.TileHashReaderWithContext(ctx, tree, tr).ReadHashes(ids); err != nil {
			return ErrTile.Because(&IndexError{Index: start, Cause: err})
		}
	}
	return ErrFetch.Because(cause) // everything verifies now
}

// firstDifference compares a tile of hashes with the entries that it is about.
func firstDifference(hashes, entries []byte, width int) (int, bool) {
	for i := range width {
		entry, rest, err := torchwood.ReadTileEntry(entries)
		if err != nil || len(hashes) < tlog.HashSize {
			return i, true
		}
		h := tlog.RecordHash(entry)
		if !bytes.Equal(h[:], hashes[:tlog.HashSize]) {
			return i, true
		}
		entries, hashes = rest, hashes[tlog.HashSize:]
	}
	return width - 1, len(entries) > 0 || len(hashes) > 0
}

// Seen is the tree that the report is about.
func (r *Report) Seen() Seen { return Seen{r.Checkpoint.N, r.Cosigned} }

// String returns the report in a few lines for a terminal.
func (r *Report) String() string {
	var b bytes.Buffer
	fmt.Fprintf(&b, "checkpoint  %s, %v\nverified    %d leaves\nfindings    %d\n", r.Checkpoint.Origin, r.Seen(), r.Leaves, len(r.Findings))
	for _, f := range r.Findings[:min(len(r.Findings), 20)] {
		fmt.Fprintf(&b, "  leaf %d: %s\n", f.Index, f.Code)
	}
	b.WriteString(r.Statistics.String())
	for _, y := range r.Years {
		b.WriteString(y.String())
	}
	fmt.Fprintf(&b, "overdue     %v\n", r.Overdue())
	for _, d := range r.Deadlines {
		fmt.Fprintf(&b, "  case %d: %s was due by %s\n", d.Case, d.What, d.Due)
	}
	return b.String()
}
