package witness_test

import (
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"net/http"
	"strings"
	"testing"
)

// C2SP tlog-cosignature and tlog-witness, from their text and without a library: what the
// witness answers.
func TestC2SPCosignature(t *testing.T) {
	w := newWorld(t).grow(9)
	alba := newWitness(t, w, &store{})
	r := post(alba, w.request(0, 9))
	if r.Code != http.StatusOK {
		t.Fatal(r.Code, r.Body)
	}
	// "each starting with the — character (U+2014) and ending with a newline character"
	name, encoded, ok := strings.Cut(strings.TrimPrefix(r.Body.String(), "\u2014 "), " ")
	if !ok || !strings.HasPrefix(r.Body.String(), "\u2014 ") || strings.Count(r.Body.String(), "\n") != 1 || name != w.names[0] {
		t.Fatalf("%q", r.Body)
	}
	raw, err := base64.StdEncoding.Strict().DecodeString(strings.TrimSuffix(encoded, "\n"))
	if err != nil || len(raw) != 4+8+64 {
		t.Fatal(len(raw), err)
	}
	// "The key ID for Ed25519 cosignatures MUST be computed as SHA-256(<name> || "\n" || 0x04 ||
	// 32-byte Ed25519 cosigner public key)[:4]"
	public := w.keys[0].Public().(ed25519.PublicKey)
	id := sha256.Sum256(append([]byte(name+"\n\x04"), public...))
	if string(raw[:4]) != string(id[:4]) {
		t.Error("another key ID")
	}
	// "the timestamp encoded in big-endian order"; "MUST NOT omit the timestamp, i.e. the
	// timestamp MUST NOT be zero"; "MUST NOT exceed 2^63 - 1"
	at := binary.BigEndian.Uint64(raw[4:12])
	if at != uint64(noon.Unix()) || at == 0 || at >= 1<<63 {
		t.Error(at)
	}
	// "two newline terminated lines followed by the whole note body of the cosigned checkpoint"
	message := fmt.Sprintf("cosignature/v1\ntime %d\n%s", at, w.checkpoint(9))
	if !ed25519.Verify(public, []byte(message), raw[12:]) {
		t.Error("the signature is over something else")
	}
	// The vkey "with signature type 0x04 and the 32-byte Ed25519 cosigner public key".
	if want := fmt.Sprintf("%s+%x+%s", name, id[:4], base64.StdEncoding.EncodeToString(append([]byte{4}, public...))); alba.VKey() != want {
		t.Errorf("%s, want %s", alba.VKey(), want)
	}
}
