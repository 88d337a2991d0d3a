package exhibit

import (
	"bytes"
	"fmt"
	"io"
	"testing"
	"time"

	"filippo.io/age"

	"github.com/penname/penname/verifier/document"
)

// BenchmarkExhibit encrypts to three custodians and the requester and decrypts again, in
// turns with age's own library for the same recipients, so that both see the same machine.
func BenchmarkExhibit(b *testing.B) {
	alba, police := custodian(b), requester(b)
	key, err := document.ParseDeliveryKey(police.recipient)
	if err != nil {
		b.Fatal(err)
	}
	to, plain := []string{alba.recipient, custodian(b).recipient, custodian(b).recipient, police.recipient}, []age.Recipient(nil)
	for _, s := range append(to[:3:3], document.Recipient(key)) {
		r, err := age.ParseHybridRecipient(s)
		if err != nil {
			b.Fatal(err)
		}
		plain = append(plain, r)
	}
	id, err := age.ParseHybridIdentity(alba.identity)
	if err != nil {
		b.Fatal(err)
	}
	for _, size := range []int{50_000, MaxSize} {
		content := make([]byte, size)
		whole := sealed(b, content, to...)
		seal := func() error { return Seal(io.Discard, to, bytes.NewReader(content)) }
		open := func() error {
			r, err := Open(bytes.NewReader(whole), alba.identity)
			if err == nil {
				_, err = io.Copy(io.Discard, r)
			}
			return err
		}
		ageSeal := func() error {
			w, err := age.Encrypt(io.Discard, plain...)
			if err != nil {
				return err
			}
			if _, err := io.Copy(w, bytes.NewReader(content)); err != nil {
				return err
			}
			return w.Close()
		}
		ageOpen := func() error {
			r, err := age.Decrypt(bytes.NewReader(whole), id)
			if err == nil {
				_, err = io.Copy(io.Discard, r)
			}
			return err
		}
		for _, c := range []struct {
			name      string
			ours, age func() error
		}{{"seal", seal, ageSeal}, {"open", open, ageOpen}} {
			b.Run(fmt.Sprintf("%s/%dKB", c.name, size/1000), func(b *testing.B) { beside(b, size, c.ours, c.age) })
		}
	}
}

// beside does both in turns.
func beside(b *testing.B, size int, ours, theirs func() error) {
	var own, peer time.Duration
	took := func(sum *time.Duration, do func() error) {
		began := time.Now()
		if err := do(); err != nil {
			b.Fatal(err)
		}
		*sum += time.Since(began)
	}
	for b.Loop() {
		took(&own, ours)
		took(&peer, theirs)
	}
	b.ReportMetric(float64(size)*float64(b.N)/1e6/own.Seconds(), "MB-each-second")
	b.ReportMetric(float64(own)/float64(peer), "ratio")
}
