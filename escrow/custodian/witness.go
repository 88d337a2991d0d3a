package custodian

import (
	"context"
	"crypto/ed25519"
	"encoding/json"
	"net/http"
	"path/filepath"
	"time"

	"github.com/penname/penname/escrow/witness"
	"github.com/penname/penname/verifier/refusal"
)

// ErrWitness is the refusal of a folder without a whole witness.
var ErrWitness = refusal.New(refusal.Invalid, "custodian.bad_witness",
	"the folder has no complete witness: make one with escrow custodian witness init")

// WitnessConfig is witness.json in a custodian's folder. The cosigning key is in
// witness.key, encrypted; what was seen is in witness-state.
type WitnessConfig struct {
	Name   string `json:"name"`   // of the witness, a host name without a scheme
	Origin string `json:"origin"` // of the log
	VKey   string `json:"vkey"`   // of the log
}

// CreateWitness makes the folder's witness, with a fresh key, and returns its
// verifier key for the bundle. Nothing is overwritten.
func (h Home) CreateWitness(ctx context.Context, w WitnessConfig, now func() time.Time) (vkey string, err error) {
	f, err := h.unlock(ctx)
	if err != nil {
		return "", err
	}
	_, private, err := ed25519.GenerateKey(nil)
	if err != nil {
		return "", err
	}
	meta, err := json.Marshal(w)
	if err != nil {
		return "", err
	}
	if err := f.create(witnessFile, private.Seed()); err != nil {
		return "", err
	}
	if err := f.fresh(witnessName, meta); err != nil {
		return "", err
	}
	if err := witness.InitFiles(f.path(witnessState)); err != nil {
		return "", err
	}
	made, done, err := f.witness(ctx, now)
	if err != nil {
		return "", err
	}
	defer done() //nolint:errcheck // a lock
	return made.VKey(), nil
}

// OpenWitness opens the folder's witness as an HTTP handler, C2SP tlog-witness.
// done releases its state.
func (h Home) OpenWitness(ctx context.Context, now func() time.Time) (handler *witness.Witness, done func() error, err error) {
	f, err := h.unlock(ctx)
	if err != nil {
		return nil, nil, err
	}
	return f.witness(ctx, now)
}

// OpenWitness is [Home.OpenWitness] with the passphrase from a file.
func OpenWitness(dir, passphraseFile string, now func() time.Time) (handler http.Handler, done func() error, err error) {
	return Home{Dir: dir, Passphrase: PassphraseFile(passphraseFile)}.OpenWitness(context.Background(), now)
}

// Witness says what the folder's witness has done, whether it runs or not; it is [ErrWitness]
// where the folder has none.
func (c *Custodian) Witness() (w WitnessConfig, s witness.State, err error) {
	raw, err := c.folder.open(witnessName)
	if err != nil {
		return w, s, ErrWitness.Because(err)
	}
	if err := json.Unmarshal(raw, &w); err != nil {
		return w, s, ErrWitness.Because(err)
	}
	s, err = witness.Look(filepath.Join(c.folder.dir, witnessState), w.Origin, w.VKey)
	return w, s, err
}

func (f *folder) witness(ctx context.Context, now func() time.Time) (*witness.Witness, func() error, error) {
	raw, err := f.open(witnessName)
	if err != nil {
		return nil, nil, ErrWitness.Because(err)
	}
	var meta WitnessConfig
	if err := json.Unmarshal(raw, &meta); err != nil {
		return nil, nil, ErrWitness.Because(err)
	}
	seed, err := f.read(witnessFile)
	if err != nil {
		return nil, nil, err
	}
	if len(seed) != ed25519.SeedSize {
		return nil, nil, ErrWitness
	}
	files, err := witness.OpenFiles(filepath.Join(f.dir, witnessState))
	if err != nil {
		return nil, nil, err
	}
	w, err := witness.New(ctx, meta.Name, ed25519.NewKeyFromSeed(seed), meta.Origin, meta.VKey, files, now)
	if err != nil {
		files.Close() // the first error says more
		return nil, nil, err
	}
	return w, files.Close, nil
}
