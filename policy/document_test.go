package policy

import (
	"strings"
	"testing"

	"github.com/go-jose/go-jose/v4"

	"github.com/penname/penname/verifier/document"
	"github.com/penname/penname/verifier/refusal"
)

// T43: no document passes in another's slot.
func TestT43CrossDocument(t *testing.T) {
	w := newWorld(t)
	_, evidence := w.production(t)
	endorsed, _ := SignEndorsement(w.custodians[0], "custodian-1", w.bundle.Hash(), now)
	logout, err := (&document.Format{Types: []string{"logout+jwt"}, MaxBytes: 1 << 10, Algorithms: document.SignatureAlgorithms}).Sign(w.court, []byte(`{"sub":"pen1x"}`))
	if err != nil {
		t.Fatal(err)
	}
	for name, raw := range map[string]string{"endorsement": endorsed, "evidence": evidence[0], "logout token": logout} {
		if d := Decide(Submission{Warrant: raw, Evidence: evidence}, w.bundle, Facts{}, now); d.Allowed || d.Refusal.Code != ErrMalformed.Code {
			t.Error(name, "as a warrant:", d.Refusal)
		}
	}
}

func TestSigningKeyMustBeUsable(t *testing.T) {
	w := newWorld(t)
	v, _ := w.production(t)
	nameless := w.court
	nameless.KeyID = ""
	symmetric := w.court
	symmetric.Key = []byte("0123456789abcdef0123456789abcdef")
	for name, k := range map[string]jose.JSONWebKey{"public": w.court.Public(), "nameless": nameless, "symmetric": symmetric} {
		if _, err := SignWarrant(k, v); refusal.Of(err) == nil || refusal.Of(err).Code != ErrKey.Code {
			t.Error(name, err)
		}
	}
	v.ID = ""
	if _, err := SignWarrant(w.court, v); refusal.Of(err) == nil || refusal.Of(err).Code != ErrMalformed.Code {
		t.Error(err)
	}
}

// A text that cannot be displayed is refused with its field and its character.
func TestUndisplayableTextIsNamed(t *testing.T) {
	w := newWorld(t)
	for field, set := range map[string]func(*Warrant){
		"grounds, character 15, is U+043E":     func(w *Warrant) { w.Grounds = "The account th\u043eught of it" },
		"requester, character 2, is U+202E":    func(w *Warrant) { w.Requester.Name = "a\u202eb" },
		"target 1, character 1, is U+0007":     func(w *Warrant) { w.Targets[0].Platform = "\a" },
		"necessity is longer than 4000":        func(w *Warrant) { w.Necessity = strings.Repeat("x", 4001) },
		"file_number has more than one line":   func(w *Warrant) { w.FileNumber = "1\n2" },
		"delivery_key, character 1, is U+200B": func(w *Warrant) { w.Requester.DeliveryKey = "\u200b" },
	} {
		order, _ := w.production(t)
		set(&order)
		_, err := SignWarrant(key("court"), order)
		if e := refusal.Of(err); e == nil || e.Code != ErrMalformed.Code || !strings.Contains(cause(e).Error(), field) {
			t.Errorf("%s: %v", field, err)
		}
	}
}
