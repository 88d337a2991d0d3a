package proof

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"math"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"filippo.io/torchwood"
	"github.com/cloudflare/circl/sign/mldsa/mldsa44"
	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

// cosignsMLDSA44 is the type of such keys (C2SP signed-note); 0x04 is that of Ed25519, which
// torchwood knows.
const cosignsMLDSA44 = 0x06

// NewCosignatureVerifier returns the verifier of a witness's cosignatures on checkpoints (C2SP
// tlog-cosignature), by its verifier key: of type 0x04, Ed25519, or 0x06, ML-DSA-44 (FIPS 204).
//
// Witnesses of ours sign with Ed25519 alone; who else runs one may follow "the ML-DSA version
// SHOULD be used for new deployments". A cosignature on a subtree that is no checkpoint
// (tlog-witness, sign-subtree) is neither asked for nor taken: proofs here lead to a checkpoint,
// and it would say less.
func NewCosignatureVerifier(vkey string) (note.Verifier, error) {
	name, rest, _ := strings.Cut(vkey, "+")
	hash, key64, _ := strings.Cut(rest, "+")
	key, err := base64.StdEncoding.DecodeString(key64)
	if err != nil || len(key) == 0 || key[0] != cosignsMLDSA44 {
		return torchwood.NewCosignatureVerifier(vkey)
	}
	v := &quantumSafe{name: name}
	if err := v.key.UnmarshalBinary(key[1:]); err != nil {
		return nil, err
	}
	// "SHA-256(<name> || "\n" || 0x06 || 1312-byte ML-DSA-44 cosigner public key)[:4]"
	sum := sha256.Sum256(append([]byte(name+"\n"), key...))
	v.hash = binary.BigEndian.Uint32(sum[:4])
	if id, err := strconv.ParseUint(hash, 16, 32); err != nil || len(hash) != 8 || uint32(id) != v.hash || !keyName(name) {
		return nil, errors.New("the verifier key has another name or id")
	}
	return v, nil
}

// keyName reports whether a key can have the name: signed-note has neither spaces nor "+" in it, and
// tlog-cosignature 255 bytes at most.
func keyName(name string) bool {
	return name != "" && len(name) <= 255 && utf8.ValidString(name) && !strings.ContainsFunc(name, unicode.IsSpace)
}

// quantumSafe verifies cosignatures by ML-DSA-44.
type quantumSafe struct {
	name string
	hash uint32
	key  mldsa44.PublicKey
}

func (v *quantumSafe) Name() string    { return v.name }
func (v *quantumSafe) KeyHash() uint32 { return v.hash }

// Verify implements [note.Verifier]. It refuses a checkpoint with extension lines, which these
// cosignatures do not sign.
func (v *quantumSafe) Verify(msg, sig []byte) bool {
	if len(sig) != 8+mldsa44.SignatureSize {
		return false
	}
	c, err := torchwood.ParseCheckpoint(string(msg))
	if err != nil || c.Extension != "" || c.String() != string(msg) {
		return false
	}
	signed, err := cosignedMessage(v.name, binary.BigEndian.Uint64(sig), c.Origin, c.Tree)
	return err == nil && mldsa44.Verify(&v.key, signed, nil, sig[8:])
}

// cosignedMessage is the cosigned_message of C2SP tlog-cosignature of a checkpoint.
func cosignedMessage(cosigner string, timestamp uint64, origin string, tree tlog.Tree) ([]byte, error) {
	if timestamp > math.MaxInt64 || len(cosigner) > 255 || len(origin) > 255 {
		return nil, errors.New("no such message: a name is too long, or the timestamp exceeds 2^63 - 1")
	}
	b := append([]byte("subtree/v1\n\x00"), byte(len(cosigner)))
	b = binary.BigEndian.AppendUint64(append(b, cosigner...), timestamp)
	b = append(append(b, byte(len(origin))), origin...)
	b = binary.BigEndian.AppendUint64(b, 0) // the start of a checkpoint
	b = binary.BigEndian.AppendUint64(b, uint64(tree.N))
	return append(b, tree.Hash[:]...), nil
}
