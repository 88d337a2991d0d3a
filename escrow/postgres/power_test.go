//go:build linux

package postgres

import (
	"context"
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"filippo.io/torchwood"
	"github.com/jackc/pgx/v5"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/penname/penname/escrow/issue"
	"github.com/penname/penname/escrow/sandbox"
	"github.com/penname/penname/escrow/sandbox/robustness"
	"github.com/penname/penname/escrow/witness"
	"github.com/penname/penname/verifier/refusal"
)

// machine is a PostgreSQL and a witness, whose folders lie on disks that lose what was
// not synced when the power fails.
type machine struct {
	t        *testing.T
	settings []string
	folders  [2]string // of the database and the witness
	disks    [2]*robustness.Disk
	pg       *sandbox.Postgres
	witness  *witness.Files
}

// newMachine lays it on. Its folders begin as they are after an orderly end.
func newMachine(t *testing.T, settings ...string) *machine {
	t.Helper()
	if _, err := os.Stat("/dev/fuse"); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal(err)
		}
		t.Skip(err)
	}
	dir, pg := ownServer(t)
	disclosing(t, pg.DSN, Options{}).Close()
	pg.Stop()
	m := &machine{t: t, settings: settings, folders: [2]string{dir, filepath.Join(t.TempDir(), "witness")}}
	if err := witness.InitFiles(m.folders[1]); err != nil {
		t.Fatal(err)
	}
	m.on()
	t.Cleanup(func() { m.off(nil) })
	return m
}

// on starts the machine with what is on its disks.
func (m *machine) on() {
	m.t.Helper()
	var err error
	for i, folder := range m.folders {
		dir, merr := os.MkdirTemp("", "penname-disk-")
		if merr == nil {
			m.t.Cleanup(func() { os.Remove(dir) })
			m.disks[i], merr = robustness.Mount(folder, dir)
		}
		err = errors.Join(err, merr)
	}
	if err == nil {
		err = os.Chmod(m.folders[0], 0o711) //nolint:gosec // the server runs as another user if we are root
	}
	if err == nil {
		m.pg, err = sandbox.StartPostgres(m.t.Context(), m.disks[0].Dir, m.settings...)
	}
	if err == nil {
		m.witness, err = witness.OpenFiles(m.disks[1].Dir)
	}
	if err != nil {
		m.t.Fatal(err, cause(err))
	}
}

// off cuts the power of all of it, and returns how much was lost.
func (m *machine) off(chance *rand.Rand) (pages, changes int) {
	for _, d := range m.disks {
		d.Cut()
	}
	if m.pg != nil {
		m.pg.Kill()
		m.pg.Stop()
		m.witness.Close()
		m.pg = nil
	}
	for _, d := range m.disks {
		p, c, err := d.Lose(chance)
		if err != nil {
			m.t.Error(err)
		}
		pages, changes = pages+p, changes+c
	}
	return pages, changes
}

// acknowledged is what clients were told.
type acknowledged struct {
	mu      sync.Mutex
	people  []issue.Enrolment
	cases   []string
	unknown int
}

// work enrols and files until the database fails. After so many acts that were acknowledged
// it calls what breaks the machine, and ends with that at the latest. The log's newest state
// goes to the witness all the time.
func (m *machine) work(all *acknowledged, until int, breaks func()) {
	s, d := issuing(m.t, m.pg.DSN, Options{Wait: time.Second}), disclosing(m.t, m.pg.DSN, Options{Wait: time.Second})
	var wg sync.WaitGroup
	var once sync.Once
	var over atomic.Bool
	acts := 0
	did := func(err error, note func()) bool {
		all.mu.Lock()
		defer all.mu.Unlock()
		if err != nil {
			if r := refusal.Of(err); r == nil || r.Kind != refusal.Unavailable {
				m.t.Errorf("%v: %v", err, cause(err))
			}
			all.unknown++
			return false
		}
		note()
		if acts++; acts == until {
			once.Do(func() { wg.Go(func() { breaks(); over.Store(true) }) })
		}
		return true
	}
	for range 3 {
		wg.Go(func() {
			for going := true; going && !over.Load(); {
				e := enrolment()
				_, _, err := s.Enrol(context.Background(), e)
				going = did(err, func() { all.people = append(all.people, e) })
				c, leaf := newCase(1)
				_, err = d.Cases.File(context.Background(), c, leaf)
				going = did(err, func() { all.cases = append(all.cases, c.ID) }) && going
			}
		})
	}
	wg.Go(func() {
		for !over.Load() && m.cosign(d) {
		}
	})
	wg.Wait()
}

// cosign has the witness promise the log as it is.
func (m *machine) cosign(d *Disclosing) bool {
	ctx := context.Background()
	size, err := d.Log.Size(ctx)
	if err != nil {
		return false
	}
	root, err := tlog.TreeHash(size, tlog.HashReaderFunc(func(ids []int64) ([]tlog.Hash, error) { return d.Log.ReadHashes(ctx, ids) }))
	if err != nil {
		return false
	}
	old, err := m.witness.Load(ctx)
	if err != nil {
		return false
	}
	c := torchwood.Checkpoint{Origin: "log.example", Tree: tlog.Tree{N: size, Hash: root}}
	return m.witness.Swap(ctx, old, []byte(c.String())) == nil
}

// lost counts what was acknowledged and is not there, and says whether the witness
// promised a log that is not this one.
func (m *machine) lost(all *acknowledged) (people, cases int, contradiction bool) {
	t, ctx := m.t, m.t.Context()
	s, d := issuing(t, m.pg.DSN, Options{}), disclosing(t, m.pg.DSN, Options{})
	for _, e := range all.people {
		p, err := s.Person(ctx, e.Fingerprint, e.Birth)
		if _, rerr := oneRecord(ctx, d, e.Person.Label); err != nil || rerr != nil || p != e.Person {
			people++
		}
	}
	for _, id := range all.cases {
		if _, err := d.Cases.Case(ctx, id); err != nil {
			cases++
		}
	}
	consistent(t, d)
	promised, err := m.witness.Load(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if promised == nil {
		return people, cases, false
	}
	c, err := torchwood.ParseCheckpoint(string(promised))
	if err != nil {
		t.Fatal(err)
	}
	size, err := d.Log.Size(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if c.N > size {
		return people, cases, true
	}
	root, err := tlog.TreeHash(c.N, tlog.HashReaderFunc(func(ids []int64) ([]tlog.Hash, error) { return d.Log.ReadHashes(ctx, ids) }))
	if err != nil {
		t.Fatal(err)
	}
	return people, cases, root != c.Hash
}

// rounds is how often the power fails: PENNAME_POWER says how often in the long form.
func rounds(t *testing.T) int {
	if n, err := strconv.Atoi(os.Getenv("PENNAME_POWER")); err == nil {
		return n
	}
	return 2
}

// cut ends the machine while others work on it.
func (m *machine) cut() {
	for _, d := range m.disks {
		d.Cut()
	}
	m.pg.Kill()
}

// TestF03PowerFails: the power of the database's and the witness's machine fails at any
// moment of the work, and takes what was not synced. What was acknowledged is there when
// it is back, and the log is the one that the witness promised.
func TestF03PowerFails(t *testing.T) {
	m := newMachine(t, "max_wal_size=32MB", "checkpoint_timeout=30s")
	all, pages := &acknowledged{}, 0
	for seed := range rounds(t) {
		chance := rand.New(rand.NewPCG(uint64(seed), 3)) //nolint:gosec // to be repeated
		m.work(all, 20+chance.IntN(60), func() {
			if seed%2 == 1 { // between two checkpoints the WAL alone is synced
				go m.checkpoint()
			}
			time.Sleep(time.Duration(chance.IntN(30)) * time.Millisecond) // any moment
			m.cut()
		})
		if seed%3 == 2 {
			chance = nil // all of it
		}
		p, changes := m.off(chance)
		pages += p
		m.on()
		t.Logf("round %d: %d answers lost, and %d pages and %d changes of folders", seed, all.unknown, p, changes)
		m.mustHave(all)
	}
	if pages == 0 {
		t.Error("nothing was ever lost: the test shows nothing")
	}

	// The control: on disks that say that they synced, and did not, what was acknowledged is
	// lost, and the witness has promised what is not there.
	m.disks[0].Sync()
	m.disks[0].Lie()
	all = &acknowledged{}
	m.work(all, 30, m.cut)
	m.off(nil)
	m.on()
	if people, cases, contradiction := m.lost(all); people == 0 || cases == 0 || !contradiction {
		t.Errorf("control: lost %d of %d people and %d of %d cases, contradiction %v", people, len(all.people), cases, len(all.cases), contradiction)
	}
}

// checkpoint has the database sync all its files, whatever becomes of it.
func (m *machine) checkpoint() {
	if conn, err := pgx.Connect(context.Background(), m.pg.DSN); err == nil {
		conn.Exec(context.Background(), "CHECKPOINT")
		conn.Close(context.Background())
	}
}

// mustHave fails unless all that was acknowledged is there.
func (m *machine) mustHave(all *acknowledged) {
	m.t.Helper()
	people, cases, contradiction := m.lost(all)
	if people+cases > 0 || contradiction {
		m.t.Fatalf("%d of %d people and %d of %d cases were acknowledged and are lost; the witness promised another log: %v",
			people, len(all.people), cases, len(all.cases), contradiction)
	}
	m.t.Logf("%d people and %d cases that were acknowledged are there", len(all.people), len(all.cases))
}

// TestF04F05DiskFails: one sync of the database fails, of its WAL or of a data file, and
// what it was to write is lost; or its disk is full. Nothing is reported as kept after that
// which is not: the server starts again from what it has, and a power cut shows what that is.
func TestF04F05DiskFails(t *testing.T) {
	m := newMachine(t)
	all := &acknowledged{}
	failing := func(file string) func() {
		return func() {
			m.disks[0].FailSync(file)
			for range 10 {
				m.checkpoint()
			}
			if m.disks[0].Failed() != 1 {
				t.Error("no sync failed")
			}
		}
	}
	for name, breaks := range map[string]func(){
		"F04 a sync of the WAL": failing("pg_wal/"), "F04 a sync of a data file": failing("base/"),
		"F05 no space left": func() { m.disks[0].Fill(true); time.Sleep(300 * time.Millisecond); m.disks[0].Fill(false) },
	} {
		t.Run(name, func(t *testing.T) {
			m.work(all, 20, breaks)
			m.off(nil)
			m.on()
			m.mustHave(all)
		})
	}
}
