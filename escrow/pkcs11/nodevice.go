//go:build !pkcs11

package pkcs11

import (
	"crypto"
	"io"
)

// Open is refused: see the package comment.
func Open(Key, []byte) (crypto.Signer, io.Closer, error) { return nil, nil, ErrNotBuilt }
