package postgres

import (
	"encoding/base64"
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/penname/penname/escrow/escrowtest"
	"github.com/penname/penname/escrow/keep"
	"github.com/penname/penname/escrow/vault"
)

// BenchmarkRotation moves all records to a new key, with real Vault and
// PostgreSQL, and prints records per second beside what Vault's batch endpoint
// does alone in the same run, and their ratio.
func BenchmarkRotation(b *testing.B) {
	const records, batch = 4000, 500
	v := escrowtest.OwnVault(b)
	issuing, _ := v.Sides(b)
	h := newHouse(b, 0)
	var sample, label string
	for range records {
		e := enrolment()
		var err error
		if e.Record.FirstHalf, err = issuing.WrapHalf(b.Context(), e.Person.Label, random(32)); err != nil {
			b.Fatal(err)
		}
		if _, _, err := h.s.Enrol(b.Context(), e); err != nil {
			b.Fatal(err)
		}
		sample, label = e.Record.FirstHalf, e.Person.Label
	}
	items := make([]any, batch)
	for i := range items {
		items[i] = map[string]string{"ciphertext": sample, "context": base64.StdEncoding.EncodeToString([]byte(label))}
	}
	token := v.Token(b, vault.SideKeeping)
	start := time.Now()
	for range records / batch {
		if status, answer := v.Do(b, token, http.MethodPost, "penname-transit/rewrap/penname-record", map[string]any{"batch_input": items}); status != http.StatusOK {
			b.Fatal(status, answer)
		}
	}
	alone := records / time.Since(start).Seconds()

	k := &keep.Keeper{Keys: v.Keeping(b), Past: h.k, Rotations: h.k, Erasures: h.k, Now: time.Now, Batch: batch}
	moved := int64(0)
	for b.Loop() {
		r, err := k.RotateGroup(b.Context(), 0)
		if err != nil {
			b.Fatal(err, cause(err))
		}
		moved += r.Records
	}
	if moved != int64(b.N)*records {
		b.Fatal(fmt.Errorf("%d records moved in %d rotations", moved, b.N))
	}
	rate := float64(moved) / b.Elapsed().Seconds()
	b.ReportMetric(rate, "records/s")
	b.ReportMetric(alone, "~vault-batch/s")
	b.ReportMetric(rate/alone, "ratio")
}
