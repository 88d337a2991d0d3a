package postgres

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"sync"
	"testing"

	"github.com/penname/penname/escrow/disclose"
	"github.com/penname/penname/verifier/proof"
)

func openCeremony(t testing.TB, d *Disclosing) string {
	t.Helper()
	plan := random(100)
	for range 2 { // again changes nothing
		if err := d.Ceremonies.Open(t.Context(), plan); err != nil {
			t.Fatal(err, cause(err))
		}
	}
	sum := sha256.Sum256(plan)
	return hex.EncodeToString(sum[:])
}

func speak(round, sender string) func(*disclose.Ceremony) (*proof.Leaf, error) {
	return func(c *disclose.Ceremony) (*proof.Leaf, error) {
		c.Said = append(c.Said, disclose.Said{Round: round, Sender: sender, Signed: round + " " + sender})
		return nil, nil
	}
}

func closeCeremony(c *disclose.Ceremony) (*proof.Leaf, error) {
	c.Transcript = []byte("all of it")
	sum := sha256.Sum256(c.Transcript)
	return &proof.Leaf{Version: 1, Kind: proof.KindCeremony, Day: "2026-11-21", Package: hex.EncodeToString(sum[:])}, nil
}

func TestCeremonyIsAppendedToAndClosedWithItsLeaf(t *testing.T) {
	admin := database(t)
	d := disclosing(t, admin, Options{})
	ctx := t.Context()
	id := openCeremony(t, d)
	for i, who := range []string{"alba", "bruno"} {
		c, err := d.Ceremonies.Apply(ctx, id, speak("agree", who))
		if err != nil || len(c.Said) != i+1 {
			t.Fatal(err, cause(err))
		}
	}
	// One participant, one round, one message: the database holds it too.
	_, err := d.Ceremonies.Apply(ctx, id, speak("agree", "alba"))
	wantErr(t, "twice", err, ErrRefused)
	_, err = d.Ceremonies.Apply(ctx, id, speak("abort", "alba"))
	wantErr(t, "no such round", err, ErrRefused)
	sum := sha256.Sum256([]byte("all of it"))
	if logged, err := d.Ceremonies.Logged(ctx, hex.EncodeToString(sum[:])); err != nil || logged {
		t.Fatal("logged before it was", err)
	}
	// What change refuses leaves nothing.
	_, err = d.Ceremonies.Apply(ctx, id, func(c *disclose.Ceremony) (*proof.Leaf, error) {
		speak("commit", "alba")(c)
		return nil, disclose.ErrCeremonyOrder
	})
	wantErr(t, "refused", err, disclose.ErrCeremonyOrder)
	c, err := d.Ceremonies.Apply(ctx, id, closeCeremony)
	if err != nil || c.Leaf != 0 {
		t.Fatal(err, cause(err))
	}
	again, err := d.Ceremonies.Ceremony(ctx, id)
	if err != nil || len(again.Said) != 2 || again.Said[1].Signed != "agree bruno" || string(again.Transcript) != "all of it" {
		t.Fatalf("%+v, %v", again, err)
	}
	if logged, err := d.Ceremonies.Logged(ctx, hex.EncodeToString(sum[:])); err != nil || !logged {
		t.Fatal("not logged", err)
	}
	_, err = d.Ceremonies.Apply(ctx, id, speak("commit", "alba"))
	wantErr(t, "after the end", err, ErrRefused)
	if err := d.Check(ctx); err != nil {
		t.Fatal(err, cause(err))
	}
	for _, bad := range []string{"", "zz", hex.EncodeToString(random(32))} {
		_, err := d.Ceremonies.Ceremony(ctx, bad)
		wantErr(t, "no such plan", err, disclose.ErrNoCeremony)
		_, err = d.Ceremonies.Apply(ctx, bad, closeCeremony)
		wantErr(t, "no such plan", err, disclose.ErrNoCeremony)
	}
}

// Two programs with one participant's keys speak at once: one of them is heard.
func TestC05OneParticipantSpeaksOnceHoweverOftenAtOnce(t *testing.T) {
	admin := database(t)
	d := disclosing(t, admin, Options{})
	id := openCeremony(t, d)
	var mu sync.Mutex
	stored := 0
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			_, err := d.Ceremonies.Apply(context.WithoutCancel(t.Context()), id, func(c *disclose.Ceremony) (*proof.Leaf, error) {
				for _, s := range c.Said {
					if s.Sender == "alba" {
						return nil, disclose.ErrCeremonySaid
					}
				}
				c.Said = append(c.Said, disclose.Said{Round: "agree", Sender: "alba", Signed: fmt.Sprint(i)})
				return nil, nil
			})
			mu.Lock()
			defer mu.Unlock()
			if err == nil {
				stored++
			} else if !errors.Is(err, disclose.ErrCeremonySaid) {
				t.Error(err, cause(err))
			}
		})
	}
	wg.Wait()
	if c, err := d.Ceremonies.Ceremony(t.Context(), id); err != nil || len(c.Said) != 1 || stored != 1 {
		t.Fatal(stored, len(c.Said), err)
	}
}
