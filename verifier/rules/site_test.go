package rules

import (
	"context"
	"encoding/json"
	"errors"
	"testing"

	"github.com/penname/penname/verifier/proof"
)

// What a registrar does not have is got from the files of an export, if they are what was asked for;
// what is wrong there is the registrar's refusal.
func TestWhatASiteHas(t *testing.T) {
	refused := errors.New("the registrar is not there")
	files := map[string]any{}
	asked := 0
	site := func(_ context.Context, path string) ([]byte, error) {
		asked++
		v, ok := files[path]
		if !ok {
			return nil, errors.New("404")
		}
		if text, ok := v.(string); ok {
			return []byte(text), nil
		}
		return json.Marshal(v)
	}
	fetch := Fetch(func(context.Context, string) ([]byte, []string, error) { return nil, nil, refused }).Or(site)
	const hash = "2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae" // of foo
	for name, c := range map[string]struct {
		file any
		ok   bool
	}{"there": {kept{[]byte("foo"), []string{"e"}}, true}, "another": {kept{[]byte("bar"), nil}, false}, "no file": {nil, false}, "no JSON": {"<html>", false}} {
		delete(files, "bundles/"+hash+".json")
		if c.file != nil {
			files["bundles/"+hash+".json"] = c.file
		}
		bundle, endorsements, err := fetch(t.Context(), hash)
		if c.ok != (err == nil && string(bundle) == "foo" && len(endorsements) == 1) || !c.ok && !errors.Is(err, refused) {
			t.Errorf("%s: %q, %v", name, bundle, err)
		}
	}
	digest := proof.PlatformDigest("signed", []string{"counter"})
	records := Records(func(context.Context, string) (string, []string, error) { return "", nil, refused }).Or(site)
	for name, c := range map[string]struct {
		file any
		ok   bool
	}{"there": {keptRecord{"signed", []string{"counter"}}, true}, "another": {keptRecord{"signed", nil}, false}, "no file": {nil, false}, "no JSON": {"", false}} {
		delete(files, "platforms/"+digest+".json")
		if c.file != nil {
			files["platforms/"+digest+".json"] = c.file
		}
		signed, countersigned, err := records(t.Context(), digest)
		if c.ok != (err == nil && signed == "signed" && len(countersigned) == 1) || !c.ok && !errors.Is(err, refused) {
			t.Errorf("%s: %q, %v", name, signed, err)
		}
	}
	asked = 0
	has := Fetch(func(context.Context, string) ([]byte, []string, error) { return []byte("x"), nil, nil }).Or(site)
	if b, _, err := has(t.Context(), hash); err != nil || string(b) != "x" || asked != 0 {
		t.Errorf("a site was asked: %d, %v", asked, err)
	}
}
