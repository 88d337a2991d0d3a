package shell

import (
	"io"
	"os"

	"github.com/penname/penname/escrow/secretfile"
)

// MaxFile bounds every file that is read: a warrant, evidence, a bundle. Bytes.
const MaxFile = 16 << 20

// ReadFile reads a file that is not secret. Its refusal's cause names it.
func ReadFile(name string) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, secretfile.ErrUnreadable.Because(err)
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, MaxFile))
	if err != nil {
		return nil, secretfile.ErrUnreadable.Because(err)
	}
	return b, nil
}

// WriteFile writes a file that is not secret. Its refusal's cause names it.
func WriteFile(name string, b []byte) error {
	if err := os.WriteFile(name, b, 0o644); err != nil { //nolint:gosec // plans, bundles, transcripts and checkpoints are public
		return secretfile.ErrUnwritable.Because(err)
	}
	return nil
}
