package command

import (
	"context"
	"crypto/ed25519"
	"encoding/json"
	"net"
	"net/http"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/penname/penname/escrow/witness"
	"github.com/penname/penname/verifier/refusal"
)

var (
	errWitness = refusal.New(refusal.Invalid, "custodian.bad_witness",
		"the folder has no complete witness: make one with escrow custodian witness init")
	errListen = refusal.New(refusal.Unavailable, "custodian.cannot_listen",
		"the address to listen on cannot be used: stop what listens there, or name another with --listen")
)

// witnessConfig is witness.json in a custodian's folder. The cosigning key is
// in witness.key, encrypted; what was seen is in witness-state.
type witnessConfig struct {
	Name   string `json:"name"`
	Origin string `json:"origin"`
	VKey   string `json:"vkey"` // of the log
}

func (p *program) custodianWitness(home *string) *cobra.Command {
	var listen string
	c := leaf("witness", "Cosign the public log's checkpoints: an HTTP server that the registrar asks",
		"escrow custodian witness --listen 127.0.0.1:8470", cobra.NoArgs, func(ctx context.Context, _ []string) error {
			h, done, err := p.openWitness(ctx, *home)
			if err != nil {
				return err
			}
			defer done() //nolint:errcheck // a lock
			ln, err := net.Listen("tcp", listen)
			if err != nil {
				return errListen.Because(err)
			}
			if err := p.print(map[string]string{"address": "http://" + ln.Addr().String()}, "witness at http://"+ln.Addr().String()); err != nil {
				return err
			}
			return witness.Serve(ctx, ln, h)
		})
	c.Flags().StringVar(&listen, "listen", "127.0.0.1:0", "address to listen on; put TLS in front of any that is not loopback")
	c.AddCommand(p.witnessInit(home))
	return c
}

func (p *program) witnessInit(home *string) *cobra.Command {
	var w witnessConfig
	c := leaf("init", "Make the folder's witness, and print its verifier key for the bundle",
		"escrow custodian witness init --name alba.witness.example --log-origin penname.example/log --log-vkey 'penname.example/log+…'",
		cobra.NoArgs, func(ctx context.Context, _ []string) error {
			if err := require([2]string{"name", w.Name}, [2]string{"log-origin", w.Origin}, [2]string{"log-vkey", w.VKey}); err != nil {
				return err
			}
			f, err := p.unlock(ctx, *home)
			if err != nil {
				return err
			}
			vkey, err := p.makeWitness(f, w)
			if err != nil {
				return err
			}
			return p.print(map[string]string{"name": w.Name, "vkey": vkey}, vkey)
		})
	c.Flags().StringVar(&w.Name, "name", "", "the witness's name, a host name without a scheme")
	c.Flags().StringVar(&w.Origin, "log-origin", "", "origin of the log to watch")
	c.Flags().StringVar(&w.VKey, "log-vkey", "", "verifier key of that log")
	return c
}

func (p *program) makeWitness(f *folder, w witnessConfig) (vkey string, err error) {
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
	if err := f.fresh("witness.json", meta); err != nil {
		return "", err
	}
	if err := witness.InitFiles(f.path("witness-state")); err != nil {
		return "", err
	}
	made, done, err := p.startWitness(f)
	if err != nil {
		return "", err
	}
	defer done() //nolint:errcheck // a lock
	return made.VKey(), nil
}

// OpenWitness opens the witness in a custodian's folder as an HTTP handler,
// C2SP tlog-witness. done releases its state.
func OpenWitness(dir, passphraseFile string, now func() time.Time) (h http.Handler, done func() error, err error) {
	p := &program{Env: System(), passphraseFile: passphraseFile}
	p.Now = now
	return p.openWitness(context.Background(), dir)
}

func (p *program) openWitness(ctx context.Context, dir string) (*witness.Witness, func() error, error) {
	f, err := p.unlock(ctx, dir)
	if err != nil {
		return nil, nil, err
	}
	return p.startWitness(f)
}

func (p *program) startWitness(f *folder) (*witness.Witness, func() error, error) {
	raw, err := p.readFile(f.path("witness.json"))
	if err != nil {
		return nil, nil, errWitness.Because(err)
	}
	var meta witnessConfig
	if err := json.Unmarshal(raw, &meta); err != nil {
		return nil, nil, errWitness.Because(err)
	}
	seed, err := f.read(witnessFile)
	if err != nil {
		return nil, nil, err
	}
	if len(seed) != ed25519.SeedSize {
		return nil, nil, errWitness
	}
	files, err := witness.OpenFiles(filepath.Join(f.dir, "witness-state"))
	if err != nil {
		return nil, nil, err
	}
	w, err := witness.New(context.Background(), meta.Name, ed25519.NewKeyFromSeed(seed), meta.Origin, meta.VKey, files, p.Now)
	if err != nil {
		files.Close() // the first error says more
		return nil, nil, err
	}
	return w, files.Close, nil
}
