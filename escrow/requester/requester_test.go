package requester_test

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/penname/penname/escrow/exhibit"
	"github.com/penname/penname/escrow/requester"
	"github.com/penname/penname/escrow/seal"
	"github.com/penname/penname/escrow/secretfile"
	"github.com/penname/penname/policy"
	"github.com/penname/penname/verifier/opening"
	"github.com/penname/penname/verifier/refusal"
)

// A key is made once, read by its owner, and opens nobody else's delivery.
func TestAnotherKeyOpensNothing(t *testing.T) {
	file := filepath.Join(t.TempDir(), "requester.key")
	public, err := requester.CreateKey(file)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := requester.CreateKey(file); !errors.Is(err, secretfile.ErrExists) {
		t.Fatal("a key was overwritten:", err)
	}
	private, err := requester.ReadKey(file)
	if err != nil || private.Public() != public {
		t.Fatal(err)
	}
	rules, err := policy.ParseBundle(read("../../verifier/opening/testdata/bundle.json"))
	if err != nil {
		t.Fatal(err)
	}
	var d opening.Delivery
	if err := json.Unmarshal(read("../../verifier/opening/testdata/delivery.json"), &d); err != nil {
		t.Fatal(err)
	}
	if opened, err := requester.Open(caseID, d, private, exhibit.Reader{}, rules); !errors.Is(err, requester.ErrWrongKey) || len(opened.Targets) != 0 {
		t.Fatal(err)
	}
}

const caseID = "ayajv7klfmjqqaymngz2coqv4m" // of the saved delivery

// An innocent mistake is called by its name, and no custodian is.
func TestFoundJ1NobodyIsBlamedForAMistake(t *testing.T) {
	var saved opening.Delivery
	if err := json.Unmarshal(read("../../verifier/opening/testdata/delivery.json"), &saved); err != nil {
		t.Fatal(err)
	}
	of := read("../../verifier/opening/testdata/bundle.json")
	var draft policy.Bundle
	if err := json.Unmarshal(of, &draft); err != nil {
		t.Fatal(err)
	}
	draft.MaxTargets++
	newer, err := draft.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	right := strings.TrimSpace(string(read("testdata/requester.key")))
	wrong, err := seal.GenerateDeliveryKey()
	if err != nil {
		t.Fatal(err)
	}
	stranger, err := wrong.Reveal()
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		id, key string
		bundle  []byte
		cut     int
		want    string
	}{
		"today's bundle after the rules changed": {caseID, right, newer, 0, "package.other_rules"},
		"another warrant's key file":             {caseID, stranger, of, 0, "requester.wrong_key"},
		"the package of another case":            {"k3x", right, of, 0, "package.other_case"},
		"a package cut short":                    {caseID, right, of, 100, "package.malformed"},
		"as it was handed over":                  {caseID, right, of, 0, ""},
	} {
		t.Run(name, func(t *testing.T) {
			rules, err := policy.ParseBundle(c.bundle)
			if err != nil {
				t.Fatal(err)
			}
			private, err := seal.ParseDeliveryKey(c.key)
			if err != nil {
				t.Fatal(err)
			}
			d := saved
			d.Package = d.Package[:len(d.Package)-c.cut]
			opened, err := requester.Open(c.id, d, private, exhibit.Reader{}, rules)
			if c.want == "" {
				if err != nil || len(opened.Targets) != 1 || len(opened.Certificate.BadShares) != 0 {
					t.Fatal(err)
				}
				return
			}
			if refusal.Of(err) == nil || refusal.Of(err).Code != c.want || len(opened.Targets) != 0 {
				t.Fatal(err)
			}
			for _, culprit := range append([]string{"custodian"}, opened.Certificate.Custodians...) {
				if strings.Contains(err.Error(), culprit) {
					t.Errorf("%q names a culprit", err)
				}
			}
		})
	}
}

// I1: a key file as another system saves it; and what is no key is not mended by
// making a new one.
func TestFoundI1KeyFiles(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "requester.key")
	if _, err := requester.CreateKey(file); err != nil {
		t.Fatal(err)
	}
	want, err := requester.ReadKey(file)
	if err != nil {
		t.Fatal(err)
	}
	text, err := want.Reveal()
	if err != nil {
		t.Fatal(err)
	}
	for name, saved := range map[string]string{"CRLF": text + "\r\n", "a mark": "\ufeff" + text, "space": " " + text + "\n\n"} {
		other := filepath.Join(dir, name)
		if err := os.WriteFile(other, []byte(saved), 0o600); err != nil {
			t.Fatal(err)
		}
		if got, err := requester.ReadKey(other); err != nil {
			t.Errorf("%s: %v", name, err)
		} else if again, err := got.Reveal(); err != nil || again != text {
			t.Errorf("%s: another key", name)
		}
	}
	wrong := filepath.Join(dir, "court.jwk")
	if err := os.WriteFile(wrong, []byte("{}"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err = requester.ReadKey(wrong)
	if e := refusal.Of(err); !requester.ErrNotAKey.Is(e) || !strings.Contains(e.Unwrap().Error(), wrong) {
		t.Error(err)
	}
}
