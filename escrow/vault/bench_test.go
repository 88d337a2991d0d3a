package vault_test

import (
	"flag"
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/penname/penname/escrow/escrowtest"
	"github.com/penname/penname/escrow/vault"
)

// The benchmarks report values per second: one caller after another, 64
// callers at once through the coalescer, and Vault's own batch endpoint with
// 256 items and none of our code, which is the most that can be had.

func BenchmarkMAC(b *testing.B) {
	v := escrowtest.Vault(b)
	issuing, _ := v.Sides(b)
	person := []byte(strings.Repeat("p", 48))
	alone := own(b, v, vault.SideIssuing, "hmac/penname-pseudonym", map[string]any{"input": b64(string(person))}, map[string]any{"key_version": "1"})
	benchmark(b, alone, func() error {
		_, err := issuing.MAC(b.Context(), "pseudonym", person)
		return err
	})
}

func BenchmarkWrapHalf(b *testing.B) {
	v := escrowtest.Vault(b)
	issuing, _ := v.Sides(b)
	half := make([]byte, 32)
	var n atomic.Int64
	alone := own(b, v, vault.SideIssuing, "encrypt/penname-record", map[string]any{"plaintext": b64(string(half)), "context": b64("label")}, nil)
	benchmark(b, alone, func() error {
		_, err := issuing.WrapHalf(b.Context(), fmt.Sprint("label", n.Add(1)), half)
		return err
	})
}

func BenchmarkUnwrapHalf(b *testing.B) {
	v := escrowtest.Vault(b)
	issuing, disclosing := v.Sides(b)
	wrapped, err := issuing.WrapHalf(b.Context(), "label", make([]byte, 32))
	if err != nil {
		b.Fatal(err)
	}
	alone := own(b, v, vault.SideDisclosing, "decrypt/penname-record", map[string]any{"ciphertext": wrapped, "context": b64("label")}, nil)
	benchmark(b, alone, func() error {
		_, err := escrowtest.UnwrapHalf(b.Context(), disclosing, "label", wrapped)
		return err
	})
}

func benchmark(b *testing.B, alone float64, call func() error) {
	b.Run("one caller", func(b *testing.B) {
		for b.Loop() {
			if err := call(); err != nil {
				b.Fatal(err)
			}
		}
		b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "values/s")
		b.ReportMetric(float64(b.N)/b.Elapsed().Seconds()/alone, "ratio")
	})
	for _, callers := range []int{64, 512} {
		b.Run(fmt.Sprint(callers, " callers"), func(b *testing.B) {
			b.SetParallelism((callers + 1) / 2) // times GOMAXPROCS, 2 on the reference machine
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					if err := call(); err != nil {
						b.Error(err)
						return
					}
				}
			})
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "values/s")
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds()/alone, "ratio")
		})
	}
}

func own(b *testing.B, v *escrowtest.VaultFixture, side vault.Side, path string, item, beside map[string]any) (alone float64) {
	const size = 256
	batch := make([]any, size)
	for i := range batch {
		batch[i] = item
	}
	body := map[string]any{"batch_input": batch}
	for k, v := range beside {
		body[k] = v
	}
	token := v.Token(b, side)
	b.Run("vault batch endpoint", func(b *testing.B) {
		var n atomic.Int64
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				if status, answer := v.Do(b, token, http.MethodPost, mount+path, body); status != http.StatusOK {
					b.Errorf("status %d: %v", status, answer)
					return
				}
				n.Add(size)
			}
		})
		alone = float64(n.Load()) / b.Elapsed().Seconds()
		b.ReportMetric(alone, "values/s")
	})
	return alone
}

var groupKeys = flag.Int("group-keys", 256, "how many keys BenchmarkGroupKeys makes")

// BenchmarkGroupKeys is what the keys of groups cost Vault: the making of one, the size of a
// snapshot and the time to unseal, with none and with all of them.
func BenchmarkGroupKeys(b *testing.B) {
	v := escrowtest.OwnVault(b)
	k := v.Keeping(b)
	for b.Loop() {
		measure := func(when string) {
			var size countBytes
			if err := vault.TakeSnapshot(b.Context(), v.Admin, &size, seen{{Oldest: 1, Newest: 1}}); err != nil {
				b.Fatal(err)
			}
			v.Must(b, http.MethodPut, "sys/seal", nil)
			began := time.Now()
			if err := v.Unseal(b.Context()); err != nil {
				b.Fatal(err)
			}
			b.ReportMetric(time.Since(began).Seconds()*1000, "ms/unseal-"+when)
			b.ReportMetric(float64(size)/1e6, "MB/snapshot-"+when)
		}
		measure("before")
		began := time.Now()
		for group := range *groupKeys {
			if err := k.Open(b.Context(), group+1); err != nil {
				b.Fatal(err)
			}
		}
		b.ReportMetric(time.Since(began).Seconds()*1000/float64(*groupKeys), "ms/key")
		measure("after")
	}
}

type countBytes int

func (c *countBytes) Write(p []byte) (int, error) {
	*c += countBytes(len(p))
	return len(p), nil
}
