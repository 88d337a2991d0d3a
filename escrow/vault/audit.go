package vault

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/penname/penname/verifier/refusal"
)

// Refusals of [ReadAudit].
var (
	// ErrAuditFile is returned for what is not what an audit device of Vault writes.
	ErrAuditFile = refusal.New(refusal.Invalid, "vault.audit_file", "Give the whole file of one audit device of Vault, from its first line on, as JSON and without log_raw.")
	// ErrAuditGap is returned by [Audit.Whole].
	ErrAuditGap = refusal.New(refusal.Invalid, "vault.audit_gap", "A piece of Vault's audit record is missing, or Vault and the keeping side stood still: give every file of the device, rotated ones and the one that is being written, or with --since the first day from which on all are there.")
)

// Audit is what the files of one audit device say.
type Audit struct {
	Opened    []Opened       // in order
	SecretIDs []UsedSecretID // in the order of minting
	Exported  int            // times that a record key itself was exported or backed up
	From, To  time.Time      // the first entry and the last
	Entries   int64
	Files     int
	Began     []time.Time // when the device was enabled: from then on its hashes are others

	since   time.Time
	covered []span    // in order of their beginnings
	unasked time.Time // of the first answer whose request is missing
}

// span is a time in which no silence was longer than longestSilence.
type span struct{ from, to time.Time }

// longestSilence is how long a whole record of Vault is silent at most: the keeping side
// asks for the versions of the record key every hour, and two of its calls may fail.
const longestSilence = 3 * time.Hour

// Whole fails with [ErrAuditGap] unless the record is whole up to now: from the device's
// first line on, or from the time on that [ReadAudit] was told. Vault numbers no lines.
// What shows that some are missing is a device that was enabled again, a long silence,
// or an answer without its request. A piece that was cut out between two requests and is
// shorter than longestSilence shows in nothing.
func (a *Audit) Whole(now time.Time) error {
	gap := func(format string, at ...time.Time) error {
		var texts []any
		for _, t := range at {
			texts = append(texts, t.UTC().Format(time.RFC3339))
		}
		return ErrAuditGap.Because(fmt.Errorf(format, texts...))
	}
	first := len(a.Began) > 0 && a.Began[0].Equal(a.From)
	for i, began := range a.Began {
		if i > 0 || !first {
			return gap("the device was enabled again, or another one, at %s: until then nothing was recorded", began)
		}
	}
	last := a.since
	if first && a.From.After(last) {
		last = a.From
	} else if last.IsZero() {
		return gap("before %s nothing is there, and the device began earlier", a.From)
	}
	for _, s := range append(slices.Clone(a.covered), span{now, now}) {
		if s.from.Sub(last) > longestSilence {
			return gap("from %s to %s nothing is there", last, s.from)
		}
		last = maxTime(last, s.to)
	}
	if !a.unasked.IsZero() {
		return gap("of an answer at %s the request is missing: what was before it is not there", a.unasked)
	}
	return nil
}

// Opened is a first half that Vault opened for somebody.
type Opened struct {
	At       time.Time // by Vault's clock
	Record   string    // Vault's hash of the record label: the same in all that one device writes
	Stranger bool      // with another token than the disclosing side's
}

// auditEntry is what matters of a line. Vault hashes every string that a client
// sent: what stays readable is who, when, where, and how many.
type auditEntry struct {
	Type  string
	Time  time.Time
	Error string
	Auth  struct {
		Policies []string
		Metadata struct {
			Role Side `json:"role_name"`
		}
	}
	// Path is taken in any mount: a mount can be moved, and be moved back.
	Request struct {
		ID, Path, Operation string
		Address             string `json:"remote_address"`
		Data                json.RawMessage
	}
	Response struct{ Data json.RawMessage }
}

// deviceBegins is the path of the first line that a device writes when it is enabled,
// and never again.
const deviceBegins = "sys/audit/test"

// auditReader reads entries, file after file.
type auditReader struct {
	audit    Audit
	began    map[string]time.Time // a device, by the id of its first line
	asked    map[string]bool      // requests without an answer so far
	opened   map[string][]Opened  // by request
	exported map[string]bool      // likewise
	ids      map[string]*UsedSecretID
	before   time.Time // the last entry of the files before this one
}

func newAuditReader(since time.Time) *auditReader {
	return &auditReader{audit: Audit{since: since}, began: map[string]time.Time{}, asked: map[string]bool{},
		opened: map[string][]Opened{}, exported: map[string]bool{}, ids: map[string]*UsedSecretID{}}
}

// take reads one entry. Entries come in the order of a file, and files in the order of
// their first entries; those that overlap say the same twice.
func (r *auditReader) take(e *auditEntry) error {
	a := &r.audit
	a.Entries++
	if a.From.IsZero() || e.Time.Before(a.From) {
		a.From = e.Time
	}
	if e.Time.After(a.To) {
		a.To = e.Time
	}
	if n := len(a.covered); n > 0 && e.Time.Sub(a.covered[n-1].to) <= longestSilence && !e.Time.Before(a.covered[n-1].from) {
		a.covered[n-1].to = maxTime(a.covered[n-1].to, e.Time)
	} else {
		a.covered = append(a.covered, span{e.Time, e.Time})
	}
	if e.Request.Path == deviceBegins {
		if !e.Time.Before(a.since) {
			r.began[e.Request.ID] = e.Time
		}
		return nil
	}
	if r.pair(e); e.Time.Before(a.since) {
		return nil
	}
	if err := r.takeOpened(e); err != nil {
		return err
	}
	return r.takeSecretID(e)
}

// inFlight is how long a request runs at most: Vault's default_max_request_duration.
const inFlight = 90 * time.Second

// pair notes the first answer whose request is missing. What ran when the first file
// begins has none, and what a file repeats of an earlier one was paired there.
func (r *auditReader) pair(e *auditEntry) {
	switch id := e.Request.ID; {
	case e.Type == "request":
		r.asked[id] = true
	case r.asked[id]:
		delete(r.asked, id)
	case !e.Time.After(r.before), e.Time.Before(r.audit.since), e.Time.Sub(r.audit.From) < inFlight:
	case r.audit.unasked.IsZero():
		r.audit.unasked = e.Time
	}
}

// What is done with the record key, or with that of a group.
var (
	ofRecordKey = regexp.MustCompile(`/` + keyRecord + `(-[0-9]+)?(/|$)`)
	opensHalves = regexp.MustCompile(`/decrypt/` + keyRecord + `(-[0-9]+)?$`)
)

// takeOpened notes a first half that was opened. What Vault logged before it did it, and
// did not log as failed afterwards, counts as done; so does each item of a batch of
// which a part failed, since Vault hashes that answer as a whole.
func (r *auditReader) takeOpened(e *auditEntry) error {
	id, path := e.Request.ID, e.Request.Path
	switch {
	case !ofRecordKey.MatchString(path):
	case strings.Contains(path, "/export/"), strings.Contains(path, "/backup/"):
		r.exported[id] = e.Error == ""
	case !opensHalves.MatchString(path):
	case e.Error != "":
		delete(r.opened, id)
	case e.Type == "request":
		var data struct {
			Context string
			Batch   []struct{ Context string } `json:"batch_input"`
		}
		if json.Unmarshal(e.Request.Data, &data) != nil {
			return errNoEntry
		}
		contexts := []string{data.Context}
		if data.Batch != nil {
			contexts = nil
			for _, item := range data.Batch {
				contexts = append(contexts, item.Context)
			}
		}
		var all []Opened
		for _, c := range contexts {
			if !strings.HasPrefix(c, "hmac-sha256:") {
				return errors.New("the device writes values in clear, halves among them (log_raw, or audit_non_hmac_request_keys of the mount)")
			}
			all = append(all, Opened{e.Time, c, !slices.Equal(e.Auth.Policies, []string{string(SideDisclosing)})})
		}
		if had := r.opened[id]; len(had) > 0 && len(all) > 0 && had[0].Record != all[0].Record {
			return errTwoDevices
		}
		r.opened[id] = all
	}
	return nil
}

var (
	errNoEntry    = errors.New("a line is not an entry")
	errTwoDevices = errors.New("the files are of two devices, which say the same in hashes of their own")
)

// done returns all that was read.
func (r *auditReader) done() (Audit, error) {
	a := &r.audit
	if a.Entries == 0 {
		return Audit{}, errors.New("there is no entry in it")
	}
	a.Began = slices.SortedFunc(maps.Values(r.began), time.Time.Compare)
	for _, all := range r.opened {
		a.Opened = append(a.Opened, all...)
	}
	slices.SortStableFunc(a.Opened, func(x, y Opened) int { return cmp.Or(x.At.Compare(y.At), cmp.Compare(x.Record, y.Record)) })
	for done := range maps.Values(r.exported) {
		if done {
			a.Exported++
		}
	}
	for one := range maps.Values(r.ids) {
		a.SecretIDs = append(a.SecretIDs, *one)
	}
	slices.SortFunc(a.SecretIDs, func(x, y UsedSecretID) int { return x.At.Compare(y.At) })
	// Files of several servers, or copies, fill each other's silences.
	slices.SortFunc(a.covered, func(x, y span) int { return x.from.Compare(y.from) })
	return *a, nil
}

func maxTime(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
