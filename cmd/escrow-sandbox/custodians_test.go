package main

import (
	"bytes"
	"context"
	"encoding/hex"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"filippo.io/age"
	"github.com/go-jose/go-jose/v4"
	"github.com/rogpeppe/go-internal/testscript"

	"github.com/penname/penname/escrow/escrowtest"
	"github.com/penname/penname/escrow/sandbox/world"
	"github.com/penname/penname/escrow/seal/threshold"
	"github.com/penname/penname/policy"
)

// typed answers the question for a passphrase as the custodian at the terminal.
func typed(_ context.Context, home string, _ bool) ([]byte, error) {
	pass, err := os.ReadFile(world.PassphraseFile(home))
	return bytes.TrimRight(pass, "\n"), err
}

// secretOf is a secret of a custodian who gives everything away: their folder
// and their passphrase.
func secretOf(t testing.TB, home, name string) []byte {
	t.Helper()
	pass, err := typed(context.Background(), home, false)
	if err != nil {
		t.Fatal(err)
	}
	by, err := age.NewScryptIdentity(string(pass))
	if err != nil {
		t.Fatal(err)
	}
	id, err := age.ParseX25519Identity(string(opened(t, filepath.Join(home, "identity.age"), by)))
	if err != nil {
		t.Fatal(err)
	}
	return opened(t, filepath.Join(home, name), id)
}

func opened(t testing.TB, name string, id age.Identity) []byte {
	t.Helper()
	sealed, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	r, err := age.Decrypt(bytes.NewReader(sealed), id)
	if err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestCustodiansSecretsAtRest: whoever copies a custodian's folder has no key.
// Every file in it is searched for each of the secrets, as they are and in the
// encodings that they have.
func TestCustodiansSecretsAtRest(t *testing.T) {
	tb := startForTest(t)
	for _, c := range world.Custodians {
		home := tb.Path("custodians", c.ID)
		var secrets [][]byte
		for _, name := range []string{"signing.jwk", "share.key", "witness.key"} {
			raw := secretOf(t, home, name)
			if len(raw) < 32 {
				t.Fatalf("%s: %d bytes", name, len(raw))
			}
			secrets = append(secrets, raw)
			if name == "share.key" {
				secrets = append(secrets, raw[25:]) // x_i alone, see threshold.KeyShare
			}
			if _, d, ok := strings.Cut(string(raw), `"d":"`); ok {
				secrets = append(secrets, []byte(d[:43]))
			}
		}
		entries, err := filepath.Glob(filepath.Join(home, "*"))
		if err != nil || len(entries) < 8 {
			t.Fatal("too few files to search", entries, err)
		}
		for _, name := range entries {
			info, err := os.Stat(name)
			if err != nil {
				t.Fatal(err)
			}
			if info.Mode().Perm()&0o077 != 0 {
				t.Errorf("%s: mode %v", name, info.Mode())
			}
			if info.IsDir() {
				continue
			}
			b, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			for _, s := range secrets {
				if bytes.Contains(b, s) {
					t.Errorf("%s holds a secret in clear", filepath.Base(name))
				}
			}
		}
	}
}

// cheaterWord plays one turn of a custodian whose program was changed: it deals the
// last receiver a share that does not fit.
func cheaterWord(s *scene, ts *testscript.TestScript, args []string) error {
	ctx := context.Background()
	home := ts.MkAbs(args[0])
	raw, err := os.ReadFile(ts.MkAbs(args[1]))
	if err != nil {
		return err
	}
	plan, err := policy.ParseCeremonyPlan(raw)
	if err != nil {
		return err
	}
	held, err := s.Service.Board.Ceremony(ctx, plan.Hash())
	if err != nil {
		return err
	}
	p := threshold.Plan{Threshold: plan.Threshold}
	hex.Decode(p.Nonce[:], []byte(plan.Nonce)) //nolint:errcheck // ParseCeremonyPlan has
	for _, r := range plan.Receivers {
		var seat threshold.Participant
		if err := seat.UnmarshalText([]byte(r.Ceremony)); err != nil {
			return err
		}
		p.Receivers = append(p.Receivers, seat)
	}
	c, err := threshold.NewCeremony(p)
	if err != nil {
		return err
	}
	var key threshold.CeremonyKey
	if err := key.UnmarshalBinary(secretOf(s.t, home, "ceremony.key")); err != nil {
		return err
	}
	var sign jose.JSONWebKey
	if err := json.Unmarshal(secretOf(s.t, home, "signing.jwk"), &sign); err != nil {
		return err
	}
	m := policy.CeremonyMessage{Plan: plan.Hash(), Round: policy.RoundCommit, Sender: filepath.Base(home)}
	var deal []byte // of another
	for _, said := range held.Said {
		other, err := plan.VerifyMessage(said.Signed)
		if err != nil {
			return err
		}
		switch {
		case said.Round == policy.RoundCommit && said.Sender == m.Sender:
			m.Round = policy.RoundDeal
		case said.Round == policy.RoundCommit:
			if err := c.Add(other.Body); err != nil {
				return err
			}
		case said.Round == policy.RoundDeal:
			deal = other.Body
		}
	}
	cheat, err := escrowtest.NewCheatingDealer(key, c, len(plan.Receivers), plan.Threshold)
	if err != nil {
		return err
	}
	if m.Body = cheat.Commit; m.Round == policy.RoundDeal {
		m.Body = cheat.Deal(deal)
	}
	signed, err := policy.SignCeremonyMessage(sign, m)
	if err != nil {
		return err
	}
	_, err = s.Service.Board.Say(ctx, plan.Hash(), signed)
	return err
}
