package command

import (
	"context"
	"crypto/ed25519"
	"encoding/json"
	"net/http"
	"path/filepath"
	"time"

	"github.com/penname/penname/verifier/proof"
	"github.com/penname/penname/verifier/refusal"
)

var errWitness = refusal.New(refusal.Invalid, "custodian.bad_witness",
	"the folder has no complete witness: witness.json names the log and its key, witness.key (0600) is the cosigning key, witness-state what was seen")

// witnessConfig is witness.json in a custodian's folder.
type witnessConfig struct {
	Name   string `json:"name"`
	Origin string `json:"origin"`
	VKey   string `json:"vkey"` // of the log
}

// InitWitness makes the witness part of a custodian's folder and returns its
// verifier key for the bundle.
func InitWitness(dir, name, origin, logVKey string, now func() time.Time) (vkey string, err error) {
	_, private, err := ed25519.GenerateKey(nil)
	if err != nil {
		return "", err
	}
	meta, err := json.Marshal(witnessConfig{Name: name, Origin: origin, VKey: logVKey})
	if err != nil {
		return "", err
	}
	if err := writeSecret(filepath.Join(dir, "witness.key"), private.Seed()); err != nil {
		return "", err
	}
	if err := writeSecret(filepath.Join(dir, "witness.json"), meta); err != nil {
		return "", err
	}
	if err := proof.InitWitnessFiles(filepath.Join(dir, "witness-state")); err != nil {
		return "", err
	}
	w, done, err := System().openWitness(dir, now)
	if err != nil {
		return "", err
	}
	defer done() //nolint:errcheck // a lock
	return w.VKey(), nil
}

// OpenWitness opens the witness in a custodian's folder as an HTTP handler,
// C2SP tlog-witness. done releases its state.
func OpenWitness(dir string, now func() time.Time) (h http.Handler, done func() error, err error) {
	return System().openWitness(dir, now)
}

func (e Env) openWitness(dir string, now func() time.Time) (*proof.Witness, func() error, error) {
	p := &program{Env: e}
	raw, err := p.readFile(filepath.Join(dir, "witness.json"))
	if err != nil {
		return nil, nil, errWitness.Because(err)
	}
	var meta witnessConfig
	if err := json.Unmarshal(raw, &meta); err != nil {
		return nil, nil, errWitness.Because(err)
	}
	seed, err := p.readSecret(filepath.Join(dir, "witness.key"))
	if err != nil {
		return nil, nil, err
	}
	if len(seed) != ed25519.SeedSize {
		return nil, nil, errWitness
	}
	files, err := proof.OpenWitnessFiles(filepath.Join(dir, "witness-state"))
	if err != nil {
		return nil, nil, err
	}
	w, err := proof.NewWitness(context.Background(), meta.Name, ed25519.NewKeyFromSeed(seed), meta.Origin, meta.VKey, files, now)
	if err != nil {
		files.Close() //nolint:errcheck // the first error says more
		return nil, nil, err
	}
	return w, files.Close, nil
}
