package command

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/penname/penname/cmd/shell"
	"github.com/penname/penname/escrow/registrar"
	"github.com/penname/penname/escrow/secretfile"
	"github.com/penname/penname/escrow/witness"
	"github.com/penname/penname/policy"
	"github.com/penname/penname/verifier/proof"
	"github.com/penname/penname/verifier/refusal"
	"github.com/penname/penname/verifier/rules"
)

var (
	errAlarm = refusal.New(refusal.Conflict, "log.alarm",
		"the public log gives cause for alarm: see what it says, compare with other observers, and keep the folder of the monitor, which has the evidence")
	errUntold = refusal.New(refusal.Unavailable, "log.alarm_untold",
		"an alarm was said here and did not reach where it was to be sent: it is kept, and the next run sends it again")
	errForked = refusal.New(refusal.Conflict, "log.forked",
		"this monitor said before that the log forked, and watches it no further in this folder: keep it, for it has the evidence, and begin another when everybody knows which history holds")
	errMonitorState = refusal.New(refusal.Conflict, "log.monitor_state",
		"the folder's monitor.json is damaged, gone, of another log, or cannot be written, so that alarms could be lost or said again: keep the folder as evidence and begin with an empty one")
	errMonitorRuns = refusal.New(refusal.Conflict, "log.monitor_runs",
		"another monitor, mirror or export works in this folder: let it end, or give each its own")
)

// monitor is `escrow log monitor`: what it watches, and whom it tells.
type monitor struct {
	*program
	trustFlags
	dir        string
	every      time.Duration // 0: one round
	staleAfter time.Duration
	peers      []string
	record     string
	tell       teller

	bundle *policy.Bundle
	state  *monitorState
}

func logMonitor(p *program) *cobra.Command {
	m := &monitor{program: p}
	var once bool
	c := leaf("monitor DIR", "Follow the public log in a verified copy of your own, and raise the alarm",
		"escrow log monitor /srv/monitor --bundle bundle.json --server https://penname.example --once", cobra.ExactArgs(1),
		func(ctx context.Context, args []string) error {
			if once == (m.every != 0) {
				return shell.UsageError("say --once, as cron does, or --every 5m")
			}
			if m.every != 0 && m.every < time.Second || m.staleAfter < time.Minute {
				return shell.UsageError("--every is at least 1s, --stale-after at least 1m")
			}
			m.dir = args[0]
			unlock, err := m.begin(ctx)
			if err != nil {
				return err
			}
			defer unlock()
			if once {
				return m.round(ctx)
			}
			return m.rounds(ctx)
		})
	c.Long = "Follows the public log in the folder DIR, which it keeps as a verified copy as\n" +
		"escrow log mirror does, audits all of it at each round, and raises the alarm on\n\n" +
		"  fork        the log signed two histories, or goes back; both checkpoints are kept in\n" +
		"              DIR, with what convicts it, and anybody checks them by\n" +
		"              escrow log split refused-X refused-X.known --divergence refused-X.divergence\n" +
		"              --bundle bundle.json (of trees of one size, and of a log that goes back, there\n" +
		"              is no divergence, and the alarm says the command without). The folder watches\n" +
		"              no further then, but for evidence that it could not write: it looks again\n" +
		"  stall       no tree that witnesses cosigned came for --stale-after, or one that they\n" +
		"              cosigned in the future\n" +
		"  overdue     persons were to be told by a day that passed; an emergency was neither\n" +
		"              confirmed nor lapsed in time\n" +
		"  lapse       an emergency lapsed\n" +
		"  repeated    rules came into force again, or in another place than theirs\n" +
		"  statistics  numbers do not add up, or the record that --record names publishes others\n" +
		"              than its entries come to, an old count, or more entries than the log has\n" +
		"  rule        an entry breaks another rule\n\n" +
		"Each cause is one alarm, which DIR/monitor.json remembers: it is said once, and again\n" +
		"only if it ended and came back. What is merely old is none: not a copy or a cache that\n" +
		"lags behind, and not an emergency that lapsed before the first round.\n\n" +
		"--peer is a checkpoint that another observer keeps, as a file or an address: of another\n" +
		"monitor its DIR/checkpoint, of a witness what it serves by C2SP tlog-witness. A log that shows two observers two histories is found as\n" +
		"soon as one of them sees the other's. One that is larger than the copy is said, and compared\n" +
		"when the copy is as large.\n\n" +
		"An alarm is the exit code 1 with its text on the standard error, which cron mails to\n" +
		"its owner. --webhook posts it as JSON. --command runs a program with its text on the\n" +
		"standard input, or JSON with --json: this program sends no mail itself, so for one name\n" +
		"--command 'mail -s Penname-alarm you@example.org'. What did not reach one of these is\n" +
		"kept, and sent again by the next round; what did, can come twice, with the same cause.\n" +
		"So is what could not be written to the standard output or error."
	c.Example += "\n  */5 * * * * escrow log monitor /srv/monitor --bundle bundle.json --once >/dev/null"
	m.add(c)
	c.Flags().BoolVar(&once, "once", false, "one round, for cron")
	c.Flags().DurationVar(&m.every, "every", 0, "a round each time that this has passed, as 5m, until it is interrupted")
	c.Flags().DurationVar(&m.staleAfter, "stale-after", 10*time.Minute, "how old the witnesses' newest cosignatures may be: they sign every minute")
	c.Flags().StringArrayVar(&m.peers, "peer", nil, "checkpoint of another observer, as a file or an address; can be given several times")
	c.Flags().StringVar(&m.record, "record", "", "address of the public record, as https://penname.example/record: its statistics are counted again")
	m.tell.add(c)
	return c
}

// begin loads what is kept between rounds, and sees to it that nobody else works there.
func (m *monitor) begin(ctx context.Context) (unlock func(), err error) {
	bundles, err := m.load(m.program)
	if err != nil {
		return nil, err
	}
	m.bundle = bundles[0]
	m.tell.program = m.program
	if err := m.tell.check(); err != nil {
		return nil, err
	}
	if unlock, err = lockMirror(m.dir); err != nil {
		return nil, err
	}
	if m.state, err = readMonitorState(filepath.Join(m.dir, "monitor.json"), m.bundle.Log.Origin, m.Now()); err != nil {
		unlock()
		return nil, err
	}
	return unlock, ctx.Err()
}

// rounds makes rounds until ctx ends. What one of them says does not end the next.
func (m *monitor) rounds(ctx context.Context) error {
	tick := time.NewTicker(m.every)
	defer tick.Stop()
	for {
		if err := m.round(ctx); err != nil && ctx.Err() == nil && !errors.Is(err, errSaid) {
			m.sayFailure(err) //nolint:errcheck // the next round says it again
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
}

// sayFailure says what a round came to, as the program does at its end.
func (m *monitor) sayFailure(err error) error {
	said := shell.ProblemOf(explained(err))
	if m.json {
		return json.NewEncoder(m.Stderr).Encode(said)
	}
	at := ""
	if m.every != 0 {
		at = m.Now().UTC().Format(time.RFC3339) + " "
	}
	_, err = fmt.Fprintf(m.Stderr, "%sescrow: %s\n", at, said.Error())
	return err
}

// errSaid ends a round whose alarms were said.
const errSaid = shell.Exited(shell.Failed)

// monitored is what a round prints.
type monitored struct {
	Size     int64         `json:"size"`
	Root     string        `json:"root"`
	Cosigned time.Time     `json:"cosigned"`
	New      []proof.Alarm `json:"new"`      // alarms of this round
	Standing []proof.Alarm `json:"standing"` // that were said before, and whose cause is still there
	Before   int           `json:"lapsed_before"`
	Ahead    []ahead       `json:"peers_ahead"` // that are compared when the copy is as large
}

// ahead is a peer whose checkpoint is larger than the copy.
type ahead struct {
	Peer string `json:"peer"`
	Size int64  `json:"size"`
}

// round looks once, and tells. An alarm comes before what could not be looked at.
func (m *monitor) round(ctx context.Context) error {
	found, failed := m.look(ctx)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	fresh := m.state.note(found, m.tell.names(), m.Now())
	// What is to be told is on disk before anybody is told: it is told twice rather than never.
	// Where nothing can be written it is told all the same, and refused below.
	m.state.write() //nolint:errcheck // see above

	unsaid := m.say(found, fresh, failed) // nobody is waited for before
	untold := m.tell.all(ctx, m.state)
	if len(fresh) > 0 {
		// An alarm counts as said when it was written to all outputs, and no sooner.
		if err := m.sayFailure(alarmed(fresh, errors.Join(unsaid, untold))); err == nil && unsaid == nil {
			m.state.said()
		}
	}
	if err := m.state.write(); err != nil {
		return err
	}
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case len(fresh) > 0:
		return errSaid
	case unsaid != nil:
		return unsaid
	case m.state.forked():
		return errForked
	case untold != nil:
		return errUntold.Because(untold)
	}
	return failed
}

// alarmed is what is said of new alarms, and of what they did not reach.
func alarmed(fresh []proof.Alarm, missed error) error {
	texts := make([]string, 0, len(fresh))
	for _, a := range fresh {
		texts = append(texts, a.Kind+": "+a.Text)
	}
	said := &registrar.Problem{Code: errAlarm.Code, Title: errAlarm.Mend + ". " + strings.Join(texts, "; "), Evidence: strings.Join(fresh[0].Evidence, " and ")}
	if missed != nil {
		said.Cause = strings.Join(strings.Fields(missed.Error()), " ")
	}
	return said
}

// say prints the round.
func (m *monitor) say(found *finding, fresh []proof.Alarm, failed error) error {
	r := monitored{New: append([]proof.Alarm{}, fresh...), Standing: m.state.standing(fresh), Before: m.state.before(), Ahead: append([]ahead{}, found.ahead...)}
	var b strings.Builder
	if found.seen != nil {
		r.Size, r.Root, r.Cosigned = found.seen.N, found.seen.Hash.String(), found.cosigned.UTC()
		fmt.Fprintf(&b, "%d entries, cosigned %s, ", r.Size, r.Cosigned.Format(time.RFC3339))
	}
	switch {
	case len(r.New)+len(r.Standing) == 0 && failed != nil:
		b.WriteString("not all could be looked at\n")
	case len(r.New)+len(r.Standing) == 0:
		b.WriteString("no alarm\n")
	default:
		fmt.Fprintf(&b, "%d new alarms, %d said before\n", len(r.New), len(r.Standing))
	}
	for _, a := range r.New {
		fmt.Fprintf(&b, "ALARM %s\n", alarmText(a))
	}
	for _, a := range r.Standing {
		fmt.Fprintf(&b, "said before: %s: %s\n", a.Kind, a.Text)
	}
	for _, p := range r.Ahead {
		fmt.Fprintf(&b, "%s has a tree of %d entries, more than the copy: it is compared when the copy is as large\n", p.Peer, p.Size)
	}
	return m.print(r, b.String())
}

// finding is what a round saw.
type finding struct {
	alarms   []proof.Alarm
	seen     *openLog // the newest tree of the copy; nil: there is none
	cosigned time.Time
	audited  bool // so that a duty which is not among the alarms was done
	addsUp   bool // so that numbers which did not are mended
	fresh    bool // so that a stall is over
	right    bool // so that the record publishes what its entries come to, or none is named
	ahead    []ahead
}

// look brings the copy up to date, compares it with peers, and audits it. It returns what it
// saw, also if it fails.
func (m *monitor) look(ctx context.Context) (*finding, error) {
	f := &finding{right: m.record == ""}
	if m.state.forked() {
		return f, nil
	}
	publishes, unread := m.publishedStatistics(ctx) // before the copy, which then has all that it counts
	log, failed := m.bring(ctx, f)
	if failed != nil { // then the copy says who witnesses it
		if of, err := m.logOf(ctx, m.bundle, m.dir, 0); err == nil {
			log = of
		}
	}
	kept, err := os.ReadFile(filepath.Join(m.dir, "checkpoint"))
	if err != nil {
		return f, errors.Join(failed, proof.ErrMirror.Because(err))
	}
	f.cosigned, err = log.CosignedAt(kept, m.Now())
	stall := func(format string, args ...any) {
		f.alarms = append(f.alarms, proof.Alarm{Cause: proof.AlarmStall, Kind: proof.AlarmStall, Text: fmt.Sprintf(format, args...)})
	}
	switch f.fresh = err == nil && m.Now().Sub(f.cosigned) <= m.staleAfter; {
	case errors.Is(err, proof.ErrStale):
		stall("the newest tree was cosigned in the future, so that its age is not known: compare the clocks of this machine and of the witnesses")
	case err != nil:
		failed = errors.Join(failed, err)
	case !f.fresh:
		stall("the newest tree was cosigned at %s, longer ago than %v", f.cosigned.UTC().Format(time.RFC3339), m.staleAfter)
	}
	failed = errors.Join(failed, m.exchange(ctx, log, publishes, f), unread)
	report, err := audit(ctx, m.program, auditFlags{trustFlags: m.trustFlags, mirror: m.dir})
	if report != nil && report.Checkpoint.N > 0 {
		f.seen = &openLog{Checkpoint: report.Checkpoint}
		f.alarms = append(f.alarms, report.Alarms()...)
		f.audited = report.Leaves == report.Checkpoint.N
		f.addsUp = err == nil
		if f.cosigned.IsZero() {
			f.cosigned = report.Cosigned
		}
	}
	if publishes != nil && f.audited {
		failed = errors.Join(failed, m.countAgain(ctx, log, publishes, report.Checkpoint.Tree.N, f))
	}
	switch {
	case errors.Is(err, proof.ErrSums):
		f.alarms = append(f.alarms, proof.Alarm{Cause: proof.AlarmNumbers, Kind: proof.AlarmNumbers, Text: shell.ProblemOf(err).Error()})
	case errors.Is(err, proof.ErrAudit): // its findings are alarms
	case err != nil:
		failed = errors.Join(failed, err)
	}
	return f, failed
}

// bring brings the copy up to date, and returns the log under the policy of the rules in force,
// or of those that are trusted if it is not reached. What convicts the log is an alarm; that it
// is not reached, or behind, is none: if it stays so, that is a stall.
func (m *monitor) bring(ctx context.Context, f *finding) (*proof.Log, error) {
	log, err := m.bundle.TrustedLog()
	if err != nil {
		return log, err
	}
	source, err := tiles(m.program, "")
	if err != nil {
		return log, err
	}
	short, cancel := context.WithTimeout(ctx, patience)
	_, err = source.ReadEndpoint(short, "checkpoint")
	cancel()
	if err != nil {
		return log, proof.ErrFetch.Because(err)
	}
	// Who sends a byte now and then could keep it from looking for ever.
	moving, cancel := context.WithCancel(ctx)
	defer cancel()
	stuck := time.AfterFunc(mayStand, cancel)
	defer stuck.Stop()
	inForce, err := m.logOf(moving, m.bundle, "", maxAge)
	if err != nil {
		return log, err
	}
	log = inForce
	_, err = log.Mirror(moving, source, m.dir, func(done, size int64) {
		stuck.Reset(mayStand)
		m.leaves(done, size)
	})
	var seen *proof.SeenError
	switch {
	case errors.Is(err, proof.ErrSplitView) && errors.As(err, &seen):
		return log, m.fork(f, "the log signed two histories", seen, err)
	case errors.Is(err, proof.ErrRollback) && errors.As(err, &seen):
		return log, m.fork(f, "a quorum of witnesses cosigned a smaller tree after a larger", seen, err)
	case errors.Is(err, proof.ErrOlder):
		return log, nil // a cache, or a replica that lags
	case err != nil:
		return log, err
	}
	stuck.Reset(mayStand)
	return log, rules.Mirror(moving, m.dir, log, m.fetchRules(), m.fetchRecords())
}

// causeUnkept is a fork whose evidence could not be written: it convicts nobody, and the next round
// looks again.
const causeUnkept = proof.AlarmFork + "/unkept"

// fork adds the alarm, with the files that were kept and the command that checks them. It returns
// the refusal if they could not be written.
func (m *monitor) fork(f *finding, what string, seen *proof.SeenError, refused error) error {
	a := proof.Alarm{Cause: proof.AlarmFork, Kind: proof.AlarmFork, Text: what + ": " + seen.Error()}
	if seen.Unkept != nil {
		a.Cause = causeUnkept
		f.alarms = append(f.alarms, a)
		return refused
	}
	a.Evidence = []string{seen.Kept, seen.Kept + ".known"}
	check := fmt.Sprintf("escrow log split %s %s.known", seen.Kept, seen.Kept)
	if seen.Divergence != nil {
		a.Evidence = append(a.Evidence, seen.Kept+".divergence")
		check += fmt.Sprintf(" --divergence %s.divergence", seen.Kept)
	}
	a.Text += "; anybody checks it by: " + check + " --bundle " + m.bundles[0]
	f.alarms = append(f.alarms, a)
	return nil
}

// exchange compares the copy with what other observers keep, and with the checkpoint that a record
// counts by. One of theirs that is larger is kept until the copy is as large.
func (m *monitor) exchange(ctx context.Context, log *proof.Log, publishes *countedPeriods, f *finding) (failed error) {
	for _, peer := range m.peers {
		signed, err := m.checkpointOf(ctx, peer)
		failed = errors.Join(failed, err, m.compare(ctx, log, peer, signed, f))
	}
	if publishes != nil {
		// What is wrong with its checkpoint otherwise, it is asked for at a first round.
		if err := m.compare(ctx, log, m.recordAt(checkpointFile), publishes.signed, f); errors.Is(err, proof.ErrSplitView) {
			failed = errors.Join(failed, err)
		}
	}
	return failed
}

// compare compares the copy with the checkpoint that a peer shows, nil for none, and with one that it
// showed when that was larger.
func (m *monitor) compare(ctx context.Context, log *proof.Log, peer string, shown []byte, f *finding) (failed error) {
	for _, signed := range [][]byte{[]byte(m.state.Waiting[peer]), shown} {
		if len(signed) == 0 {
			continue
		}
		err := log.Exchange(ctx, m.dir, signed)
		var seen *proof.SeenError
		switch {
		case errors.Is(err, proof.ErrSplitView) && errors.As(err, &seen):
			return errors.Join(failed, m.fork(f, "the log signed one history for this observer and another for "+peer, seen, err))
		case errors.Is(err, proof.ErrOlder) && errors.As(err, &seen):
			if m.state.Waiting[peer] == "" {
				m.state.Waiting[peer] = string(signed)
			}
			if larger := (ahead{peer, seen.Known.Size}); !slices.Contains(f.ahead, larger) {
				f.ahead = append(f.ahead, larger)
			}
			continue
		case err != nil:
			failed = errors.Join(failed, shell.InFile(peer, 0, err))
		}
		if m.state.Waiting[peer] == string(signed) {
			delete(m.state.Waiting, peer)
		}
	}
	return failed
}

// checkpointOf reads a checkpoint from a file or an address.
func (m *monitor) checkpointOf(ctx context.Context, peer string) ([]byte, error) {
	if !strings.HasPrefix(peer, "http://") && !strings.HasPrefix(peer, "https://") {
		return shell.ReadFile(peer)
	}
	return m.get(ctx, peer, proof.MaxCheckpoint)
}

// get reads at most so many bytes, and one more, from an address.
func (p *program) get(ctx context.Context, address string, most int64) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	q, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return nil, shell.UsageError("%s is no address", address)
	}
	resp, err := p.HTTP.Do(q)
	if err != nil {
		return nil, proof.ErrFetch.Because(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, proof.ErrFetch.Because(fmt.Errorf("%s: status %d", address, resp.StatusCode))
	}
	b, err := io.ReadAll(io.LimitReader(resp.Body, most+1))
	if err != nil {
		return nil, proof.ErrFetch.Because(err)
	}
	return b, nil
}

// lockMirror makes the folder of a monitor, mirror or export, and takes its lock for this process:
// each would remove what another is writing.
func lockMirror(dir string) (unlock func(), err error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, proof.ErrMirror.Because(err)
	}
	f, err := os.OpenFile(filepath.Join(dir, "monitor.lock"), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, secretfile.ErrUnwritable.Because(err)
	}
	if err := witness.LockFile(f); err != nil && !errors.Is(err, errors.ErrUnsupported) {
		f.Close()
		return nil, errMonitorRuns
	}
	return func() { f.Close() }, nil
}
