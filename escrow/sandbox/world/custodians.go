package world

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"

	"github.com/penname/penname/escrow/custodian"
	"github.com/penname/penname/escrow/disclose"
	"github.com/penname/penname/escrow/service"
	"github.com/penname/penname/policy"
)

// The world's custodians do what real ones do: each makes an encrypted folder
// and a witness, and then they make the key together, over a message board, with
// the escrow program. No dealer ever holds the key. Only scrypt's cost is lower
// here, so that a world starts in seconds.
const workFactor = 8

// makeCustodians makes the folders, the witnesses and the key, and returns the
// bundle that follows from them, which is Dir/bundle.json too.
func (f *founding) makeCustodians(ctx context.Context) ([]byte, error) {
	if err := os.MkdirAll(f.Path("custodians"), 0o700); err != nil {
		return nil, err
	}
	plan := policy.CeremonyPlan{Version: 1, Threshold: Quorum}
	for i, c := range Custodians {
		card, err := f.makeCustodian(ctx, c)
		if err != nil {
			return nil, err
		}
		card.Index = i + 1
		plan.Receivers = append(plan.Receivers, card)
		witness, err := f.startWitness(ctx, c)
		if err != nil {
			return nil, err
		}
		f.draft.Log.Witnesses = append(f.draft.Log.Witnesses, witness)
	}
	transcript, err := f.holdCeremony(ctx, plan)
	if err != nil {
		return nil, err
	}
	draft, err := json.Marshal(f.draft)
	if err != nil {
		return nil, err
	}
	if err := errors.Join(os.WriteFile(f.Path("draft.json"), draft, 0o600), os.WriteFile(f.Path("transcript.json"), transcript, 0o600)); err != nil {
		return nil, err
	}
	if err := f.operate(ctx, "ceremony", "bundle", f.Path("transcript.json"), "--from", f.Path("draft.json"), "--out", f.Path("bundle.json")); err != nil {
		return nil, err
	}
	return os.ReadFile(f.Path("bundle.json"))
}

// makeCustodian makes a custodian's folder beside a file with its passphrase.
func (f *founding) makeCustodian(ctx context.Context, c policy.Custodian) (card policy.Seat, err error) {
	if err := os.WriteFile(PassphraseFile(f.Path("custodians", c.ID)), []byte(rand.Text()), 0o600); err != nil {
		return card, err
	}
	said, err := f.do(ctx, f.AsCustodian(c.ID, "init", "--id", c.ID, "--name", c.Name, "--organisation", c.Organisation,
		"--server", f.Origin, "--work-factor", strconv.Itoa(workFactor))...)
	if err != nil {
		return card, err
	}
	return card, json.Unmarshal([]byte(said), &card)
}

// PassphraseFile is where the world keeps what a custodian has in mind: beside
// their folder.
func PassphraseFile(home string) string { return filepath.Clean(home) + ".passphrase" }

func (f *founding) startWitness(ctx context.Context, c policy.Custodian) (w policy.Witness, err error) {
	w = policy.Witness{Name: c.ID + ".witness.example", Operator: c.Organisation}
	w.VKey, err = f.do(ctx, f.AsCustodian(c.ID, "witness", "init", "--name", w.Name,
		"--log-origin", f.draft.Log.Origin, "--log-vkey", f.draft.Log.VKey)...)
	if err != nil {
		return w, err
	}
	w.URL, err = f.serveWitness(c)
	return w, err
}

// serveWitness serves the witness in a custodian's folder, and returns its address.
func (f *founding) serveWitness(c policy.Custodian) (string, error) {
	home := f.Path("custodians", c.ID)
	h, done, err := custodian.OpenWitness(home, PassphraseFile(home), f.Clock.Now)
	if err != nil {
		return "", err
	}
	f.onClose(done)
	f.Witnesses[c.ID] = &Outage{Handler: h}
	return f.serveAs("witness "+c.ID, func(string) (http.Handler, error) { return f.Witnesses[c.ID], nil })
}

// holdCeremony lets the custodians take turns until the key is made. There is no
// service yet, which needs a bundle, which needs the key: the board is served
// alone, as `escrowd ceremony serve` does.
func (f *founding) holdCeremony(ctx context.Context, plan policy.CeremonyPlan) ([]byte, error) {
	var nonce [32]byte
	rand.Read(nonce[:]) // never fails (crypto/rand)
	plan.Nonce = hex.EncodeToString(nonce[:])
	raw, err := plan.Marshal()
	if err != nil {
		return nil, err
	}
	if err := os.WriteFile(f.Path("plan.json"), raw, 0o600); err != nil {
		return nil, err
	}
	board := &disclose.Board{Ceremonies: f.disclosing.Store.Ceremonies, Now: f.Clock.Now}
	address, err := f.serve(func(origin string) (http.Handler, error) {
		return service.NewMessageBoard(origin, board, nil, f.Log)
	})
	if err != nil {
		return nil, err
	}
	hash, err := board.Open(ctx, raw)
	if err != nil {
		return nil, err
	}
	// A round ends with its last speaker, who begins the next one.
	const turns = 4
	for range turns {
		for _, s := range slices.Backward(plan.Receivers) {
			if _, err := f.do(ctx, f.AsCustodian(s.ID, "ceremony", f.Path("plan.json"), "--agree", hash, "--once", "--server", address)...); err != nil {
				return nil, err
			}
		}
	}
	held, err := board.Ceremony(ctx, hash)
	if err == nil && held.Transcript == nil {
		err = errors.New("the custodians did not finish")
	}
	return held.Transcript, err
}
