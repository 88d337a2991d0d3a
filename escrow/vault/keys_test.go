package vault

import (
	"encoding/base64"
	"fmt"
	"strconv"
	"strings"
	"testing"

	"github.com/penname/penname/escrow/escrowtest/fuzzing"
)

// A value has one text: what is well formed is what encoding gives back.
func FuzzWrappedFormHasOneSpelling(f *testing.F) {
	for _, seed := range []string{"vault:v1:aGFsZg==", "vault:v12:aGFs", "vault:v01:aGFs", "vault:v1:aGFsZh==", "vault:v1:aGFs\n", "vault:v1:", "vault:v1:aGF-"} {
		f.Add(seed)
	}
	fuzzing.Run(f, func(t *testing.T, text string) {
		if !wellFormed(text) {
			return
		}
		head, body, _ := strings.Cut(strings.TrimPrefix(text, "vault:v"), ":")
		version, err := strconv.Atoi(head)
		raw, err2 := base64.StdEncoding.DecodeString(body)
		if again := fmt.Sprintf("vault:v%d:%s", version, base64.StdEncoding.EncodeToString(raw)); err != nil || err2 != nil || again != text {
			t.Errorf("%q is also %q (%v, %v)", text, again, err, err2)
		}
	})
}
