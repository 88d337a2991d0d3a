package sandbox_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/penname/penname/escrow/escrowtest"
	"github.com/penname/penname/escrow/sandbox"
)

func TestKeyringSaysWhatItIsAndHidesItsSecret(t *testing.T) {
	secret := sandbox.NewSecret()
	issuing, disclosing, _ := sandbox.NewKeyring(secret)
	for _, text := range []string{fmt.Sprintf("%v %+v %#v %s", issuing, issuing, issuing, issuing),
		fmt.Sprintf("%v %+v %#v %s", disclosing, disclosing, disclosing, disclosing)} {
		if !strings.Contains(text, "sandbox keyring") || strings.Contains(text, fmt.Sprint(secret[0], secret[1])) {
			t.Errorf("%q", text)
		}
	}
}

func TestKeyringSurvivesARestartOnlyWithItsSecret(t *testing.T) {
	secret := sandbox.NewSecret()
	issuing, _, _ := sandbox.NewKeyring(secret)
	wrapped, err := issuing.WrapHalf(t.Context(), "label", []byte("half"))
	if err != nil {
		t.Fatal(err)
	}
	_, again, _ := sandbox.NewKeyring(secret)
	if half, err := escrowtest.UnwrapHalf(t.Context(), again, "label", wrapped); err != nil || string(half) != "half" {
		t.Errorf("same secret: %q, %v", half, err)
	}
	_, other, _ := sandbox.NewKeyring(sandbox.NewSecret())
	if half, err := escrowtest.UnwrapHalf(t.Context(), other, "label", wrapped); err == nil {
		t.Errorf("another secret opened %q", half)
	}
}
