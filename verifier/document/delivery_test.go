package document

import (
	"encoding/base64"
	"strings"
	"testing"
)

func TestDeliveryKeyHasOneSpelling(t *testing.T) {
	private, err := DeliveryKEM().GenerateKey()
	if err != nil {
		t.Fatal(err)
	}
	b := private.PublicKey().Bytes()
	good := DeliveryKeyPrefix + base64.RawURLEncoding.EncodeToString(b)
	if key, err := ParseDeliveryKey(good); err != nil || string(key.Bytes()) != string(b) {
		t.Fatal(err)
	}
	// L18: an X25519 point of small order agrees on the same secret with everybody.
	weak := append(b[:len(b)-32:len(b)-32], make([]byte, 32)...)
	one := append(b[:len(b)-32:len(b)-32], 1)
	one = append(one, make([]byte, 31)...)
	for name, bad := range map[string]string{
		"empty": "", "prefix alone": DeliveryKeyPrefix, "no prefix": good[len(DeliveryKeyPrefix):], "cut off": good[:len(good)-4], "longer": good + "AAAA",
		"padded": good + "=", "line feed": good + "\n", "capital prefix": strings.ToUpper(DeliveryKeyPrefix) + good[len(DeliveryKeyPrefix):],
		"a point of order 4": DeliveryKeyPrefix + base64.RawURLEncoding.EncodeToString(weak),
		"a point of order 1": DeliveryKeyPrefix + base64.RawURLEncoding.EncodeToString(one),
	} {
		if _, err := ParseDeliveryKey(bad); err == nil {
			t.Errorf("%s is accepted", name)
		}
	}
}
