package pkcs11

import (
	"errors"
	"reflect"
	"testing"
)

func TestParseURI(t *testing.T) {
	for uri, want := range map[string]Key{
		"pkcs11:token=court;object=seal?module-path=/usr/lib/softhsm/libsofthsm2.so":         {Module: "/usr/lib/softhsm/libsofthsm2.so", Token: "court", Object: "seal"},
		"pkcs11:serial=12ab;id=%01%ff;type=private?pin-source=file:///etc/pin&module-path=m": {Module: "m", Serial: "12ab", ID: []byte{1, 0xff}, PINFile: "/etc/pin"},
		"pkcs11:token=The%20Court;object=a;id=b?module-path=m&pin-source=file:pin":           {Module: "m", Token: "The Court", Object: "a", ID: []byte("b"), PINFile: "pin"},
	} {
		if k, err := ParseURI(uri); err != nil || !reflect.DeepEqual(k, want) {
			t.Errorf("%s: %+v, %v", uri, k, err)
		}
	}
	for _, uri := range []string{
		"", "pkcs11:", "/usr/lib/softhsm/libsofthsm2.so", "pkcs11:token=court;object=seal", "pkcs11:object=seal?module-path=m", "pkcs11:token=court?module-path=m",
		"pkcs11:token=court;object=seal?module-path=m&pin-value=1234", // it would stand in the list of processes
		"pkcs11:token=court;token=other;object=seal?module-path=m", "pkcs11:token=court;object=seal;slot-id=1?module-path=m", "pkcs11:token=%zz;object=seal?module-path=m",
		"pkcs11:token=court;object=seal;type=cert?module-path=m", "pkcs11:token=court;object=seal?module-path=m&pin-source=|program", "pkcs11:token;object=seal?module-path=m",
	} {
		if _, err := ParseURI(uri); !errors.Is(err, ErrURI) {
			t.Errorf("%s: %v", uri, err)
		}
	}
}
