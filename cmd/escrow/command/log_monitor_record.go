package command

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"filippo.io/torchwood"

	"github.com/penname/penname/cmd/shell"
	"github.com/penname/penname/verifier/proof"
	"github.com/penname/penname/verifier/refusal"
)

var errRecord = refusal.New(refusal.Unavailable, "log.record_unread",
	"the statistics of the public record could not be compared with the log: see that --record is its address, and try again")

// What alarms about a record say: that its numbers are wrong, that they are old, and that it counts
// more than there is.
const (
	causeRecord      = proof.AlarmNumbers + "/record"
	causeOldRecord   = causeRecord + "/old"
	causeAheadRecord = causeRecord + "/ahead"
)

// mayLag is how far a record may be behind: its service follows the log every 15 seconds, and a
// cache keeps what it answers for a minute.
const mayLag = 2 * time.Minute

// mayDate is how much older than the copy's the checkpoint of a record may be: each can be a minute
// old when it is read, beside mayLag.
const mayDate = 2 * mayLag

// followedRecord is what a monitor remembers of the record that it compares.
type followedRecord struct {
	Address string    `json:"address"`
	Least   int64     `json:"least"` // entries that it is to count,
	Owed    int64     `json:"owed"`  // and that it is to count
	By      time.Time `json:"by"`    // from then on

	Ahead int64     `json:"ahead,omitzero"` // entries that it counted and the copy did not have,
	Since time.Time `json:"since,omitzero"` // and when; zero if the copy has what it counts
}

// maxStatistics bounds the statistics of a record, in bytes: a century has 1,200 months.
const maxStatistics = 8 << 20

// statisticsFile are the numbers of a record by month, below its address. It has the form of
// `escrow log statistics --by month --json`.
const statisticsFile = "/statistics/months.json"

// checkpointFile is the checkpoint that a record was made of, below its address.
const checkpointFile = "/checkpoint.txt"

// countedPeriods is what `escrow log statistics --by --json` prints, and a record publishes.
type countedPeriods struct {
	Addressee string         `json:"addressee"`
	Size      int64          `json:"size"`
	By        string         `json:"by"`
	Periods   []proof.Period `json:"periods"`

	raw      []byte
	at       time.Time // when it was read
	signed   []byte    // the record's checkpoint, which was read before
	dateless error     // why that could not be read
}

// publishedStatistics reads what the record publishes; nil if no record is named.
func (m *monitor) publishedStatistics(ctx context.Context) (*countedPeriods, error) {
	if m.record == "" {
		return nil, nil
	}
	p := new(countedPeriods)
	p.signed, p.dateless = m.get(ctx, m.recordAt(checkpointFile), proof.MaxCheckpoint)
	raw, err := m.get(ctx, m.recordAt(statisticsFile), maxStatistics)
	if err != nil {
		return nil, errRecord.Because(err)
	}
	p.raw, p.at = raw, m.Now()
	if err := json.Unmarshal(raw, p); err != nil || p.Addressee != m.bundle.Log.Origin || p.By != byMonth || p.Size < 0 {
		return nil, errRecord.Because(errors.New("it publishes no statistics of this log"))
	}
	return p, nil
}

func (m *monitor) recordAt(file string) string { return strings.TrimRight(m.record, "/") + file }

// errCounted ends the counting.
var errCounted = errors.New("counted")

// countAgain counts the entries of the copy, which has so many and was audited, as far as a
// record has counted them. Other numbers are an alarm, and what was published is kept.
func (m *monitor) countAgain(ctx context.Context, log *proof.Log, published *countedPeriods, size int64, f *finding) error {
	first := m.state.Record.Address != m.record
	if published.Size > size {
		return m.countsMore(published, size, f)
	}
	m.state.Record.Ahead, m.state.Record.Since = 0, time.Time{}
	tiles, err := proof.Directory(m.dir)
	if err != nil {
		return err
	}
	var again proof.Periods
	err = proof.EachEntry(ctx, tiles, f.seen.Tree, 0, func(index int64, l *proof.Leaf) error {
		if index == published.Size {
			return errCounted
		}
		again.Add(l)
		return nil
	})
	if err != nil && !errors.Is(err, errCounted) {
		return err
	}
	// It says these numbers, in this order, and nothing besides.
	ours, err := json.Marshal(countedPeriods{Addressee: published.Addressee, Size: published.Size, By: byMonth, Periods: append([]proof.Period{}, again.Months()...)})
	if err != nil {
		return err
	}
	var theirs bytes.Buffer
	if err := json.Compact(&theirs, published.raw); err != nil {
		return errRecord.Because(err)
	}
	var failed error
	if f.right = bytes.Equal(ours, theirs.Bytes()); !f.right {
		failed = m.accuse(f, published, causeRecord, "the numbers by month that %s publishes are not those that its %d entries come to: escrow log statistics --by month --json shows them", m.record, published.Size)
	}
	if least := m.leastCounted(published, size); published.Size < least {
		failed = errors.Join(failed, m.accuse(f, published, causeOldRecord, "the numbers by month that %s publishes are old: they count %d entries, and there were %d long ago enough", m.record, published.Size, least))
	} else if first && published.Size < size {
		at, undated := m.datedAt(log, published)
		if failed = errors.Join(failed, undated); undated == nil && m.shownAt(f).Sub(at) > mayDate {
			failed = errors.Join(failed, m.accuse(f, published, causeOldRecord, "the numbers by month that %s publishes are old: they count %d entries, as of %s, and there are %d", m.record, published.Size, at.UTC().Format(time.RFC3339), size))
			m.state.Record.Least = published.Size + 1 // else it would be right until it owes what the copy has
		}
	}
	return failed
}

// accuse adds an alarm about a record, and keeps what it published.
func (m *monitor) accuse(f *finding, published *countedPeriods, cause, format string, args ...any) error {
	a := proof.Alarm{Cause: cause, Kind: proof.AlarmNumbers, Text: fmt.Sprintf(format, args...)}
	file := filepath.Join(m.dir, "refused-statistics.json")
	err := shell.WriteFile(file, published.raw)
	if err == nil {
		a.Evidence = []string{file}
	}
	f.alarms = append(f.alarms, a)
	return err
}

// countsMore judges a record that counts more entries than the copy has. For a moment that is the
// copy's fault. If witnesses cosigned the copy's tree [mayLag] after the record counted more, it
// counts what the log does not have, or the log hides it from this observer.
func (m *monitor) countsMore(published *countedPeriods, size int64, f *finding) error {
	r := &m.state.Record
	if r.Address != m.record {
		*r = followedRecord{Address: m.record}
	}
	r.Least = max(r.Least, size)
	if size >= r.Ahead { // what it counted then is there by now
		r.Ahead, r.Since = published.Size, published.at.UTC()
	}
	if m.shownAt(f).Sub(r.Since) <= mayLag {
		return errRecord.Because(fmt.Errorf("it counts %d entries, where the log shows %d", published.Size, size))
	}
	return m.accuse(f, published, causeAheadRecord, "%s counts %d entries, and the log has %d: it counted %d at %s, and witnesses cosigned fewer after that",
		m.record, published.Size, size, r.Ahead, r.Since.Format(time.RFC3339))
}

// shownAt is when the tree of the copy was the log's, as far as this machine knows.
func (m *monitor) shownAt(f *finding) time.Time {
	if now := m.Now(); now.Before(f.cosigned) {
		return now
	}
	return f.cosigned
}

// datedAt is when the checkpoint that a record counts by was cosigned. A first round, which
// remembers nothing of the record, does without no date: numbers of long ago are those of a
// moment ago to whoever does not ask.
func (m *monitor) datedAt(log *proof.Log, published *countedPeriods) (time.Time, error) {
	err := published.dateless
	if err == nil {
		var c torchwood.Checkpoint
		// It was read before the numbers, which can be of a larger tree by then.
		if c, err = log.OpenCheckpoint(published.signed); err == nil && c.N > published.Size {
			err = fmt.Errorf("it has %d entries", c.N)
		}
	}
	if err != nil {
		return time.Time{}, errRecord.Because(fmt.Errorf("it counts %d entries, fewer than the log, and at a first round its checkpoint does not tell since when: %w", published.Size, err))
	}
	return log.CosignedAt(published.signed, m.Now())
}

// leastCounted is how many entries a record must count: as many as it counted before, and as many
// as the copy had [mayLag] ago. Of that a first round knows nothing: it asks the record's
// checkpoint ([monitor.datedAt]). It remembers what it was
// and will be.
func (m *monitor) leastCounted(published *countedPeriods, size int64) int64 {
	r := &m.state.Record
	if r.Address != m.record {
		*r = followedRecord{Address: m.record}
	}
	if !published.at.Before(r.By) {
		r.Least = max(r.Least, r.Owed)
		r.Owed, r.By = size, m.Now().Add(mayLag).UTC()
	}
	least := max(r.Least, min(1, size))
	r.Least = max(r.Least, published.Size)
	return least
}
