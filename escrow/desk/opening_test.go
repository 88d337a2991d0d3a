package desk

import (
	"context"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/penname/penname/escrow/custodian"
	"github.com/penname/penname/verifier/opening"
)

// TestAnOpeningThatBrokeOff: names that were written before it broke off are said to be there.
func TestAnOpeningThatBrokeOff(t *testing.T) {
	a, form := bureauAt(t, &bureau{}, 10*time.Minute), officers+"/open"
	folder := t.TempDir()
	a.Officer.Openings.Open = func(context.Context, string, string) (string, error) { return folder, custodian.ErrOtherBundle }
	for _, named := range []bool{false, true} {
		if named {
			if err := os.WriteFile(filepath.Join(folder, opening.FileRevealed), nil, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		a.do(http.MethodPost, form, url.Values{"folder": {folder}, "press": {a.newPress()}})
		if _, body := a.do(http.MethodGet, form, nil); strings.Contains(body, "It was not opened") == named || strings.Contains(body, "names may be in") != named {
			t.Error(named, body)
		}
	}
}
