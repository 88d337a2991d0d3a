package main

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strconv"

	"github.com/penname/penname/cmd/escrow/command"
	"github.com/penname/penname/escrow/disclose"
	"github.com/penname/penname/policy"
)

// The sandbox's custodians do what real ones do: each makes an encrypted folder
// and a witness, and then they make the key together, over a message board, with
// the escrow program. No dealer ever holds the key. Only scrypt's cost is lower
// here, so that the sandbox starts in seconds.
const sandboxWorkFactor = 8

// makeCustodians makes the folders, the witnesses and the key.
func (t *testbed) makeCustodians(ctx, run context.Context, b *policy.Bundle, board disclose.Ceremonies) error {
	if err := os.MkdirAll(t.path("custodians"), 0o700); err != nil {
		return err
	}
	plan := policy.CeremonyPlan{Version: 1, Threshold: quorum}
	for i, c := range custodians {
		card, err := t.makeCustodian(ctx, c)
		if err != nil {
			return err
		}
		card.Index = i + 1
		plan.Receivers = append(plan.Receivers, card)
		witness, err := t.startWitness(ctx, run, c, b)
		if err != nil {
			return err
		}
		b.Log.Witnesses = append(b.Log.Witnesses, witness)
	}
	transcript, err := t.holdCeremony(ctx, run, plan, board)
	if err != nil {
		return err
	}
	return seatCustodians(b, transcript)
}

// makeCustodian makes a custodian's folder beside a file with its passphrase.
func (t *testbed) makeCustodian(ctx context.Context, c policy.Custodian) (card policy.Seat, err error) {
	if err := os.WriteFile(passphraseFile(t.path("custodians", c.ID)), []byte(rand.Text()), 0o600); err != nil {
		return card, err
	}
	said, code := t.escrow(ctx, t.asCustodian(c.ID, "init", "--id", c.ID, "--name", c.Name, "--organisation", c.Organisation,
		"--server", t.origin, "--work-factor", strconv.Itoa(sandboxWorkFactor))...)
	if code != 0 {
		return card, errors.New(said)
	}
	return card, json.Unmarshal([]byte(said), &card)
}

// passphraseFile is where the sandbox keeps what a custodian has in mind.
func passphraseFile(home string) string { return filepath.Clean(home) + ".passphrase" }

func (t *testbed) startWitness(ctx, run context.Context, c policy.Custodian, b *policy.Bundle) (w policy.Witness, err error) {
	w = policy.Witness{Name: c.ID + ".witness.example", Operator: c.Organisation}
	said, code := t.escrow(ctx, t.asCustodian(c.ID, "witness", "init", "--name", w.Name,
		"--log-origin", b.Log.Origin, "--log-vkey", b.Log.VKey)...)
	if code != 0 {
		return w, errors.New(said)
	}
	w.VKey = said
	home := t.path("custodians", c.ID)
	h, done, err := command.OpenWitness(home, passphraseFile(home), t.clock.Now)
	if err != nil {
		return w, err
	}
	t.closers = append(t.closers, done)
	ln, address, err := t.listen("127.0.0.1:0")
	if err != nil {
		return w, err
	}
	w.URL = address
	t.witness[c.ID] = &outage{Handler: h}
	t.serve(run, ln, t.witness[c.ID])
	return w, nil
}

// holdCeremony lets the custodians take turns until the key is made. There is no
// service yet, which needs a bundle, which needs the key: the board is served
// alone, as `escrowd ceremony serve` does.
func (t *testbed) holdCeremony(ctx, run context.Context, plan policy.CeremonyPlan, board disclose.Ceremonies) ([]byte, error) {
	var nonce [32]byte
	rand.Read(nonce[:]) // never fails (crypto/rand)
	plan.Nonce = hex.EncodeToString(nonce[:])
	raw, err := plan.Marshal()
	if err != nil {
		return nil, err
	}
	if err := os.WriteFile(t.path("plan.json"), raw, 0o600); err != nil {
		return nil, err
	}
	ln, address, err := t.listen("127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	h, err := boardHandler(address, board, t.clock.Now, t.log)
	if err != nil {
		return nil, err
	}
	t.serve(run, ln, h)
	b := &disclose.Board{Ceremonies: board, Now: t.clock.Now}
	hash, err := b.Open(ctx, raw)
	if err != nil {
		return nil, err
	}
	// A round ends with its last speaker, who begins the next one.
	const turns = 4
	for range turns {
		for _, s := range slices.Backward(plan.Receivers) {
			said, code := t.escrow(ctx, t.asCustodian(s.ID, "ceremony", t.path("plan.json"), "--agree", hash, "--once", "--server", address)...)
			if code != 0 {
				return nil, errors.New(said)
			}
		}
	}
	held, err := b.Ceremony(ctx, hash)
	if err == nil && held.Transcript == nil {
		err = errors.New("the custodians did not finish")
	}
	return held.Transcript, err
}
