package main

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"net/http/httptrace"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/penname/penname/escrow/disclose"
	"github.com/penname/penname/escrow/postgres"
	"github.com/penname/penname/escrow/postgres/postgrestest"
	"github.com/penname/penname/escrow/sandbox/world"
	"github.com/penname/penname/escrow/seal"
	"github.com/penname/penname/escrow/service"
	"github.com/penname/penname/policy"
	"github.com/penname/penname/verifier/proof"
)

var (
	people   = flag.String("people", "10000", "how many people there are while BenchmarkGrowth measures, several numbers apart by spaces")
	pages    = flag.Bool("pages", false, "BenchmarkGrowth measures people's pages and sign-ins alone, which takes minutes beyond the making of the people")
	keepGrow = flag.String("keep", "", "folder in which BenchmarkGrowth keeps the people that it made, for the next run")
)

const (
	sampled    = 200  // people who do what is measured, one after the other
	withOrders = 20   // cases of theirs
	erased     = 10   // others, who are deleted
	peopleCase = 1000 // as many people have one case
)

// BenchmarkGrowth is a whole world, with the local keyring, among more and more people. All
// worlds are there at once, and take turns: what else the machine does is the same for each. Of
// each figure it says the 99th percentile, with the ratio to that among the fewest, and the median.
func BenchmarkGrowth(b *testing.B) {
	dir := *keepGrow
	if dir == "" {
		var err error
		if dir, err = os.MkdirTemp("", "growth-"); err != nil {
			b.Fatal(err)
		}
		defer os.RemoveAll(dir)
	}
	if err := errors.Join(os.MkdirAll(dir, 0o711), os.Chmod(dir, 0o711)); err != nil { //nolint:gosec // PostgreSQL passes through
		b.Fatal(err)
	}
	var all []*growth
	for size := range strings.FieldsSeq(*people) {
		n, err := strconv.Atoi(size)
		if err != nil {
			b.Fatal(err)
		}
		g := &growth{B: b, people: n, dir: filepath.Join(dir, size), unit: map[string]string{}, took: map[string][]float64{}}
		g.made()
		all = append(all, g)
	}
	for _, g := range all {
		g.time("start of all sides", g.start)
		defer func() { g.must(g.w.Close()) }()
		g.quiet()
	}
	inTurns := func(n int, do func(g *growth, i int)) {
		for i := range n {
			for _, g := range all {
				do(g, i)
			}
		}
	}
	inTurns(sampled, (*growth).person)
	if !*pages {
		inTurns(withOrders, (*growth).order)
		inTurns(erased, (*growth).erasure)
		inTurns(len(service.Jobs), (*growth).job)
		inTurns(1, func(g *growth, _ int) { g.operators() })
		inTurns(1, func(g *growth, _ int) { g.notices() })
	}
	for _, g := range all {
		b.Run(fmt.Sprint(g.people, " people"), func(b *testing.B) { g.report(b, all[0]) })
	}
}

// growth measures among so many people.
type growth struct {
	*testing.B
	people int
	dir    string // of the world
	before int    // runs in it
	w      *world.World
	admin  *pgx.Conn
	cases  []*world.Case
	names  []string             // of the figures, in order
	unit   map[string]string    // by the name
	took   map[string][]float64 // likewise
}

// report prints the figures beside those among the fewest.
func (g *growth) report(b *testing.B, fewest *growth) {
	figures := func(g *growth, name string) (median, most float64) {
		all := slices.Sorted(slices.Values(g.took[name]))
		if len(all) == 0 {
			return 0, 0
		}
		return all[(len(all)-1)/2], all[(len(all)-1)*99/100]
	}
	for _, name := range g.names {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
			}
			median, most := figures(g, name)
			median1, most1 := figures(fewest, name)
			b.ReportMetric(most, g.unit[name])
			if most1 > 0 {
				b.ReportMetric(most/most1, "ratio")
			}
			if len(g.took[name]) > 1 {
				b.ReportMetric(median, "~median")
				b.ReportMetric(median/median1, "~ratio-of-medians")
				b.ReportMetric(1.2, "aim-max")
			}
		})
	}
}

// add adds a figure: unit is ms or MB.
func (g *growth) add(name, unit string, value float64) {
	if g.took[name] == nil {
		g.names, g.unit[name] = append(g.names, name), unit
	}
	g.took[name] = append(g.took[name], value)
}

func (g *growth) since(name string, began time.Time) {
	g.add(name, "ms", float64(time.Since(began).Microseconds())/1000)
}

func (g *growth) must(err error) {
	g.Helper()
	if err != nil {
		for cause := errors.Unwrap(err); cause != nil; cause = errors.Unwrap(cause) {
			err = fmt.Errorf("%w: %v", err, cause)
		}
		g.Fatal(err)
	}
}

// time adds what do took, in milliseconds.
func (g *growth) time(name string, do func() error) {
	g.Helper()
	began := time.Now()
	if err := do(); err != nil {
		g.must(fmt.Errorf("%s: %w", name, err))
	}
	g.since(name, began)
}

// made makes the people, if they were not kept.
func (g *growth) made() {
	if _, err := os.Stat(filepath.Join(g.dir, "made")); err == nil {
		return
	}
	g.must(g.start())
	g.fill()
	g.must(errors.Join(g.w.Close(), os.WriteFile(filepath.Join(g.dir, "made"), nil, 0o600)))
}

// start starts the world, whose clock goes on where it was.
func (g *growth) start() (err error) {
	g.w, err = world.Start(g.Context(), programs, world.Options{Listen: "127.0.0.1:0", Log: io.Discard, Progress: io.Discard, Keep: g.dir,
		People: crowd(), PerSender: 10_000, Postgres: []string{"shared_buffers=1GB", "max_wal_size=4GB"}})
	if err != nil {
		return err
	}
	if served, err := os.ReadFile(filepath.Join(g.dir, "made")); err == nil { // a byte for each time that notices were served
		g.before = len(served)
		g.w.Clock.Advance(time.Duration(g.before) * world.StoryTime)
	}
	if g.admin, err = pgx.Connect(g.Context(), g.w.Postgres.DSN); err == nil {
		_, err = g.admin.Exec(g.Context(), `SET search_path = penname`)
	}
	return err
}

// fill makes the people, and a case that ran out for every thousand of them.
func (g *growth) fill() {
	began := time.Now()
	dsn, err := postgres.Login(g.Context(), g.w.Postgres.DSN, "penname_issuing")
	g.must(err)
	g.must(postgrestest.Fill(g.Context(), g.w.Postgres.DSN, dsn, postgrestest.Options{People: g.people, Day: g.w.Clock.Now(), Open: g.w.Service.Keeping.Keys.Open, Wrap: g.w.Service.Issuing.Keys.WrapHalfIn, Progress: func(table string, done, of int) {
		if done == of || done%1_000_000 == 0 {
			fmt.Fprintf(os.Stderr, "%6.0f s: %d of %d rows of %s\n", time.Since(began).Seconds(), done, of, table)
		}
	}}))
	raw, err := os.ReadFile(g.w.Path("bundle.json"))
	g.must(err)
	bundle, err := policy.ParseBundle(raw)
	g.must(err)
	cases := g.w.Service.Disclosing.Store.Cases
	for range g.people / peopleCase {
		c, leaf := g.ranOut(bundle.Hash())
		c, err := cases.File(g.Context(), c, leaf)
		g.must(err)
		_, err = cases.Apply(g.Context(), c.ID, func(c disclose.Case) (disclose.Change, error) {
			return disclose.Change{Steps: []disclose.Step{{Event: disclose.Expire, Leaf: proof.ExpiredLeaf(g.w.Clock.Now(), c.RecordedLeaf)}}}, nil
		})
		g.must(err)
	}
	for _, statement := range []string{`VACUUM ANALYZE`, `CHECKPOINT`} {
		_, err = g.admin.Exec(g.Context(), statement)
		g.must(err)
	}
	g.since("people made", began)
}

// ranOut is a case that runs out as soon as it is filed, and its leaf.
func (g *growth) ranOut(bundle string) (disclose.Case, proof.Leaf) {
	var random [64]byte
	rand.Read(random[:]) // never fails (crypto/rand)
	now, warrant := g.w.Clock.Now().UTC(), hex.EncodeToString(random[:32])
	c := disclose.Case{ID: seal.NewLabel(), WarrantHash: sha256.Sum256([]byte(warrant)), Authority: "county-court", WarrantID: warrant[:16], Kind: policy.Production,
		Submission: policy.Submission{Warrant: warrant, Evidence: []string{"evidence"}}, Bundle: bundle, Salt: [32]byte(random[32:]), Quorum: world.Quorum,
		State: disclose.Recorded, SecrecyEnds: now.AddDate(0, 3, 0), Expires: now, ApproveFrom: now, Targets: []disclose.CaseTarget{{State: disclose.TargetWaiting}}}
	return c, proof.RecordedLeaf(now, proof.Facets{Jurisdiction: "GB", OffenceClass: "threats-to-life", WarrantKind: c.Kind, SecrecyEnds: c.SecrecyEnds, Quorum: c.Quorum,
		Bundle: bundle, Salt: c.Salt, Warrant: warrant, Targets: []proof.Target{{Pseudonym: "p", Platform: "q"}}})
}

// quiet waits for what a start does beside serving.
func (g *growth) quiet() {
	began := time.Now()
	for busy := 1; busy > 0; time.Sleep(100 * time.Millisecond) {
		g.must(g.admin.QueryRow(g.Context(), `SELECT count(*) FROM pg_stat_activity WHERE state = 'active' AND usename LIKE 'penname%' AND now() - query_start > interval '50 ms'`).Scan(&busy))
		if time.Since(began) > 10*time.Minute {
			g.Fatal("the first hour's work does not end")
		}
	}
	g.since("jobs behind the start", began)
}

// person is one of the crowd, who comes back, looks at their page and signs in to a platform.
func (g *growth) person(i int) {
	ctx, who := g.Context(), world.NewBrowser()
	g.time("proof of identity", func() error { return proveAs(ctx, g.w, who, int64(i)) })
	g.page(who, "their page", "/me", "My pen names")
	g.page(who, "their changes", "/me/changes", "What changed in my account")
	g.page(who, "their data", "/me/data.json", "pen_names")
	g.page(who, "their address", "/me/address", "My address for notices")
	g.page(who, "their receipt", "/me/receipt", "What it is for")
	g.page(who, "their passkeys", "/me/passkeys", "My passkeys")
	g.must(who.Open(ctx, g.w.Town.Origin))
	began := time.Now()
	g.must(who.Press(ctx, "Sign in with Penname", nil))
	there := time.Now()
	g.page(who, "consent", who.Page.URL.RequestURI(), "Sign in to "+g.w.Town.Name)
	began = began.Add(time.Since(there)) // a sign-in shows the page once
	g.must(who.Press(ctx, "Sign in to "+g.w.Town.Name, nil))
	g.since("sign-in", began)
	if len(g.cases) == withOrders {
		return
	}
	c := &world.Case{World: g.w}
	var err error
	c.Post, err = who.Say(ctx, g.w.Town, fmt.Sprint("I will come for you tonight, number ", i, "."))
	g.must(err)
	c.Evidence, err = g.w.SaveEvidence(fmt.Sprint("evidence-", i, ".jws"), c.Post)
	g.must(err)
	g.cases = append(g.cases, c)
}

// page is one that a person opens, and which says so.
func (g *growth) page(who *world.Browser, name, path, says string) {
	g.Helper()
	began := time.Now()
	first := httptrace.WithClientTrace(g.Context(), &httptrace.ClientTrace{GotFirstResponseByte: func() { g.since(name+", first byte", began) }})
	g.time(name, func() error { return who.Open(first, g.w.Origin+path) })
	g.must(who.Shows(http.StatusOK, says))
}

// order is a court's, and what becomes of it.
func (g *growth) order(i int) {
	c := g.cases[i]
	g.time("an order, drafted, signed and filed", func() error { return c.File(g.Context()) })
	g.time("reviewed, approved by two and released", func() error {
		return errors.Join(c.Approve(g.Context(), world.Custodians[0].ID), c.Approve(g.Context(), world.Custodians[1].ID))
	})
}

// erasure is that of somebody who enrolled, asked for and carried out.
func (g *growth) erasure(i int) {
	ctx, who := g.Context(), world.NewBrowser()
	g.must(proveAs(ctx, g.w, who, int64(sampled+g.before*erased+i)))
	g.must(who.Open(ctx, g.w.Origin+"/me/delete"))
	g.time("an erasure asked for", func() error { return who.Press(ctx, "Delete my identity", nil) })
	written := func() (bytes int64) {
		g.must(g.admin.QueryRow(ctx, `SELECT pg_wal_lsn_diff(pg_current_wal_lsn(), '0/0')::bigint`).Scan(&bytes))
		return bytes
	}
	before := written()
	g.time("an erasure carried out", func() error { return g.w.Service.CarryOutErasures(ctx) })
	g.add("written by an erasure", "MB", float64(written()-before)/(1<<20))
}

// idle are jobs that ask no table.
var idle = []string{"filings", "faults", "providers", "memory", "mails"}

// job is one that the service does by itself.
func (g *growth) job(i int) {
	j := service.Jobs[i]
	if slices.Contains(idle, j.Name) {
		return
	}
	began := time.Now()
	if err := j.Do(g.w.Service, g.Context()); err != nil {
		g.Errorf("%s: %v", j.Name, err)
	}
	g.since("job "+j.Name, began)
}

// notices serves those of the cases, which are released, months later.
func (g *growth) notices() {
	served, err := os.OpenFile(filepath.Join(g.dir, "made"), os.O_APPEND|os.O_WRONLY, 0o600)
	g.must(err)
	_, err = served.WriteString("1")
	g.must(errors.Join(err, served.Close()))
	g.w.Clock.Advance(world.StoryTime)
	began := time.Now()
	g.must(g.w.Service.ServeCases(g.Context()))
	g.add("a notice served", "ms", float64(time.Since(began).Microseconds())/1000/float64(len(g.cases)))
}

// heldBy is the most memory that a process held so far, in MB; 0 if it has ended. That in
// rusage is the parent's if that holds more.
func heldBy(pid int) float64 {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0
	}
	_, rest, _ := strings.Cut(string(status), "VmHWM:")
	var kB float64
	fmt.Sscan(rest, &kB) //nolint:errcheck // it has ended
	return kB / 1024
}

// operators measures what operators and auditors do, each by a process of its own.
func (g *growth) operators() {
	ctx := g.Context()
	bin, err := os.MkdirTemp("", "bin-")
	g.must(err)
	defer os.RemoveAll(bin)
	g.must(exec.CommandContext(ctx, "go", "build", "-o", bin+"/", "../escrow", "../escrowd").Run())
	run := func(name, program string, args ...string) {
		cmd := exec.CommandContext(ctx, filepath.Join(bin, program), args...)
		var said strings.Builder
		cmd.Stdout, cmd.Stderr = &said, &said
		held := 0.0
		g.time(name, func() error {
			if err := cmd.Start(); err != nil {
				return err
			}
			done := make(chan error, 1)
			go func() { done <- cmd.Wait() }()
			for {
				select {
				case err := <-done:
					if err != nil {
						err = fmt.Errorf("%w: %s", err, said.String())
					}
					return err
				case <-time.After(2 * time.Millisecond):
					held = max(held, heldBy(cmd.Process.Pid))
				}
			}
		})
		g.add(name+", memory", "MB", held)
	}
	run("escrowd log check", "escrowd", "log", "check", "--database-file", g.w.Path("disclosing.dsn"))
	run("escrow log audit", "escrow", "log", "audit", "--bundle", g.w.Path("bundle.json"), "--server", g.w.Origin,
		"--at", g.w.Clock.Now().UTC().Format(time.RFC3339))
	admin := g.w.Path("admin.dsn")
	g.must(os.WriteFile(admin, []byte(g.w.Postgres.DSN), 0o600))
	run("migration, nothing to do", "escrowd", "migrate", "--database-file", admin)

	// The server reads the file that the sandbox keeps among its own.
	info, err := os.Stat(g.w.Path("postgres", "data"))
	g.must(err)
	g.must(os.Chown(g.w.Path("postgres", "data", "penname-password"), int(info.Sys().(*syscall.Stat_t).Uid), -1))
	backup := exec.CommandContext(ctx, "pg_basebackup", "--dbname", g.w.Postgres.DSN, "--format=tar", "--pgdata=-", "--checkpoint=fast", "--wal-method=fetch")
	out, err := backup.StdoutPipe()
	g.must(err)
	var size int64
	g.time("pg_basebackup", func() error {
		if err := backup.Start(); err != nil {
			return err
		}
		var err error
		size, err = io.Copy(io.Discard, out)
		return errors.Join(err, backup.Wait())
	})
	g.add("bytes of the backup", "MB", float64(size)/(1<<20))
	var held int64
	g.must(g.admin.QueryRow(ctx, `SELECT pg_database_size(current_database())`).Scan(&held))
	g.add("bytes on disk", "MB", float64(held)/(1<<20))
	rows, err := g.admin.Query(ctx, `SELECT relname, pg_total_relation_size(oid) FROM pg_class WHERE relnamespace = 'penname'::regnamespace AND relkind IN ('r', 'p') ORDER BY 2 DESC LIMIT 5`)
	g.must(err)
	var table string
	_, err = pgx.ForEachRow(rows, []any{&table, &held}, func() error { g.add("bytes of "+table, "MB", float64(held)/(1<<20)); return nil })
	g.must(err)
}
