package main

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"filippo.io/age"
	"github.com/jackc/pgx/v5"

	"github.com/penname/penname/escrow/escrowtest"
	"github.com/penname/penname/escrow/exhibit"
	"github.com/penname/penname/escrow/sandbox"
	"github.com/penname/penname/escrow/sandbox/world"
	"github.com/penname/penname/escrow/seal"
	"github.com/penname/penname/escrow/seal/threshold"
	"github.com/penname/penname/policy"
)

// BenchmarkDisclosures takes cases from a warrant that is drafted, signed and filed, by two
// custodians who review and approve it, to the name that the requester reads: each step by the
// escrow program, and in the public log under cosigned checkpoints. Every party is on this
// machine, and processor time is that of all. Beside it stands the floor: the bare
// signatures, decryptions, commits and files of one case, in turns with the cases. All of a
// round's cases follow one another, so what counts is one caller's time.
func BenchmarkDisclosures(b *testing.B) {
	for _, keys := range []string{"keyring", "vault"} {
		b.Run(keys, func(b *testing.B) {
			var c calls
			people := crowd()[:len(sandbox.People())+int(nextPerson.Load())+b.N+1] // whom nobody needs is only to be collected
			w, err := world.Start(b.Context(), programs, world.Options{Listen: "127.0.0.1:0", Vault: keys == "vault", Log: io.Discard, Progress: io.Discard, People: people, PerSender: 10_000, Stores: c.stores("disclosing", nil), Rules: manyWarrants})
			if err != nil {
				b.Fatal(err)
			}
			defer w.Close()
			c.of(w)
			bare := newFloor(b, w)
			cases := make([]*world.Case, b.N+1) // each of another author
			for i := range cases {
				cases[i] = &world.Case{World: w}
				threatened(b, cases[i])
			}
			discloseAll(b, cases[:1]) // prepares the statements
			c.take()
			var wall, clients, services, floor []float64 // seconds a case, of each round
			asked := map[string]int{}
			b.ResetTimer()
			for _, round := range inFive(cases[1:]) {
				before := processors(b)
				began := time.Now()
				discloseAll(b, round)
				wall = append(wall, time.Since(began).Seconds()/float64(len(round)))
				var own, others time.Duration
				for program, until := range processors(b) {
					if took := until - before[program]; program == "self" {
						own = took
					} else {
						others += took
					}
				}
				clients = append(clients, own.Seconds()/float64(len(round)))
				services = append(services, others.Seconds()/float64(len(round)))
				for name, n := range c.take() {
					asked[name] += n
				}
				floor = append(floor, bare.times(b, len(round)))
			}
			each := func(n int) float64 { return float64(n) / float64(b.N) }
			b.ReportMetric(1/median(wall), "disclosures/s")
			b.ReportMetric(median(wall)/median(floor), "ratio")
			b.ReportMetric(1e3*(median(clients)+median(services)), "~processor-ms")
			b.ReportMetric(1e3*median(services), "~database-and-vault-ms")
			b.ReportMetric(1e3*median(floor), "~floor-ms")
			b.ReportMetric(each(total(asked, "sql ")), "~statements")
			b.ReportMetric(each(asked["commit"]), "~commits")
			b.ReportMetric(each(total(asked, "witness ")), "~witness-calls")
			b.ReportMetric(each(total(asked, "keys ")), "~key-calls")
			bare.report(b)
		})
	}
}

// manyWarrants lets the courts of a world order as often in a day as rules can.
func manyWarrants(b *policy.Bundle) {
	for i := range b.Authorities {
		b.Authorities[i].DailyWarrants = 10_000
	}
}

func discloseAll(b *testing.B, cases []*world.Case) {
	b.Helper()
	for _, s := range cases {
		for _, step := range stepsOf(s) {
			took(b, step.do)
		}
	}
}

// inFive are rounds of about the same size.
func inFive(cases []*world.Case) [][]*world.Case {
	return slices.Collect(slices.Chunk(cases, (len(cases)+4)/5))
}

// What the floor of one case is made of. Each signature is made once and checked once: of the
// warrant, three checkpoints, nine cosignatures, two answers and six requests of
// custodians; the platform's evidence and its token are checked. Two shares, the first half and the
// delivery are encrypted to the requester and opened, and one exhibit is to four readers, three of
// whom read it. Each witness writes a file for each cosignature, each custodian one for the review
// and one for the answer.
const (
	signaturesMade    = 21
	signaturesChecked = 23
	delivered         = 4
	commitsMade       = 14
	filesWritten      = 13
)

// floor is the bare work of a disclosure: its parts, and how long each took in all.
type floor struct {
	parts []part
	done  int
}

type part struct {
	unit string
	do   func() error
	took time.Duration
}

func newFloor(b *testing.B, w *world.World) *floor {
	conn, err := pgx.Connect(b.Context(), w.Postgres.DSN)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { conn.Close(context.Background()) })
	if _, err := conn.Exec(b.Context(), `CREATE TABLE bare (n bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY)`); err != nil {
		b.Fatal(err)
	}
	dir := b.TempDir()
	return &floor{parts: []part{
		{unit: "~signatures-µs", do: bareSignatures(b)},
		{unit: "~decryptions-µs", do: bareDecryptions(b)},
		{unit: "~commits-µs", do: func() error {
			for range commitsMade {
				if _, err := conn.Exec(b.Context(), `INSERT INTO bare DEFAULT VALUES`); err != nil {
					return err
				}
			}
			return nil
		}},
		{unit: "~files-µs", do: func() error {
			for range filesWritten {
				if err := bareFile(dir); err != nil {
					return err
				}
			}
			return nil
		}},
	}}
}

// bareFile replaces a file by one that is on disk, as its name is.
func bareFile(dir string) error {
	f, err := os.CreateTemp(dir, "new-")
	if err != nil {
		return err
	}
	_, err = f.Write(make([]byte, 1000))
	if err := errors.Join(err, f.Sync(), f.Close(), os.Rename(f.Name(), filepath.Join(dir, "file"))); err != nil {
		return err
	}
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// times is how many seconds the floor takes, of n times.
func (f *floor) times(b *testing.B, n int) float64 {
	began := time.Now()
	f.done += n
	for range n {
		for i := range f.parts {
			began := time.Now()
			if err := f.parts[i].do(); err != nil {
				b.Fatal(err)
			}
			f.parts[i].took += time.Since(began)
		}
	}
	return time.Since(began).Seconds() / float64(n)
}

func (f *floor) report(b *testing.B) {
	for _, p := range f.parts {
		b.ReportMetric(float64(p.took.Microseconds())/float64(f.done), p.unit)
	}
}

func bareSignatures(b *testing.B) func() error {
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		b.Fatal(err)
	}
	message := make([]byte, 1000)
	signature := ed25519.Sign(private, message)
	return func() error {
		for range signaturesMade {
			ed25519.Sign(private, message)
		}
		for range signaturesChecked {
			if err := ed25519.VerifyWithOptions(public, message, signature, &ed25519.Options{}); err != nil {
				return err
			}
		}
		return nil
	}
}

func bareDecryptions(b *testing.B) func() error {
	pk, shares, err := escrowtest.ThresholdKey(world.Quorum, len(world.Custodians))
	if err != nil {
		b.Fatal(err)
	}
	var k1 []byte
	label := seal.NewLabel()
	rec, err := seal.Seal(b.Context(), label, map[string][]byte{"name": []byte("One of Many")}, seal.Custodians{Key: pk, Compartments: map[string][]string{"identity": {"name"}}}, func(_ context.Context, _ string, k []byte) (string, error) {
		k1 = append(k1, k...)
		return "wrapped", nil
	})
	if err != nil {
		b.Fatal(err)
	}
	requester, err := seal.GenerateDeliveryKey()
	if err != nil {
		b.Fatal(err)
	}
	reader, err := age.GenerateHybridIdentity()
	if err != nil {
		b.Fatal(err)
	}
	readers := []string{reader.Recipient().String(), requester.Public()}
	for range 2 {
		other, err := age.GenerateHybridIdentity()
		if err != nil {
			b.Fatal(err)
		}
		readers = append(readers, other.Recipient().String())
	}
	return func() error {
		made := make(map[string][]threshold.Share)
		for _, share := range shares[:world.Quorum] {
			s, err := rec.DecryptShare(label, "identity", pk, share)
			if err != nil {
				return err
			}
			made["identity"] = append(made["identity"], s)
		}
		if _, err := seal.Open(rec, seal.FirstHalves(k1, label, []string{"name"}), pk, made); err != nil {
			return err
		}
		for range delivered {
			sealed, err := seal.SealTo(requester.Public(), nil, make([]byte, 1000))
			if err != nil {
				return err
			}
			if _, err := requester.Open(nil, sealed); err != nil {
				return err
			}
		}
		var sealed bytes.Buffer
		if err := exhibit.Seal(&sealed, readers, bytes.NewReader(make([]byte, 100))); err != nil {
			return err
		}
		for range world.Quorum + 1 {
			r, err := exhibit.Open(bytes.NewReader(sealed.Bytes()), reader.String())
			if err == nil {
				_, err = io.Copy(io.Discard, r)
			}
			if err != nil {
				return err
			}
		}
		return nil
	}
}
