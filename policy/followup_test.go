package policy

import (
	"encoding/hex"
	"errors"
	"slices"
	"testing"

	"github.com/go-jose/go-jose/v4"
)

// courts are a bundle in which the prosecutor's orders need the court, which is over them.
func courts(t *testing.T) *world {
	t.Helper()
	return fifth(t, func(b *Bundle) {
		b.Authorities[0].Over, b.Authorities[1].ValidatedBy = []string{b.Authorities[1].ID}, []string{b.Authorities[0].ID}
	})
}

func TestFollowUp(t *testing.T) {
	w := courts(t)
	v, _ := w.production(t)
	v.Kind = Preservation
	v.Requester.DeliveryKey, v.Fields = "", nil
	earlier := sign(t, w.court, v)
	hash := Hash(earlier)
	target := string(v.Targets[0].Pseudonym) + "@" + v.Targets[0].Platform
	for _, k := range kinds {
		if !k.Earlier {
			continue
		}
		f, err := FollowUp(k.Name, earlier, nil, "Because.")
		if err != nil {
			t.Fatal(k.Name, err)
		}
		orders := k.Clock == ClockHold
		if f.Kind != k.Name || f.Earlier != hex.EncodeToString(hash[:]) || f.Authority != v.Authority || f.Grounds != "Because." || f.FileNumber != v.FileNumber ||
			(f.LegalBasis == v.LegalBasis) != orders || (len(f.Targets) == len(v.Targets)) != orders || f.Expiry.IsZero() == orders {
			t.Errorf("%s: %+v", k.Name, f)
		}
		if len(f.Targets) > 0 && (f.Targets[0].Evidence != "" || f.Targets[0].Pseudonym != v.Targets[0].Pseudonym) {
			t.Errorf("%s names evidence: %+v", k.Name, f.Targets)
		}
	}
	f, err := FollowUp(Withdrawal, earlier, w.bundle.Authority("prosecutor"), "Because.", target)
	if err != nil || f.Authority != "prosecutor" || len(f.Targets) != 1 || string(f.Targets[0].Pseudonym)+"@"+f.Targets[0].Platform != target {
		t.Errorf("%+v, %v", f, err)
	}
	for _, other := range []string{"", "@", string(v.Targets[0].Pseudonym), target + "x", "pen1x@" + v.Targets[0].Platform} {
		if _, err := FollowUp(Withdrawal, earlier, nil, "Because.", other); !errors.Is(err, ErrNotInEarlier) {
			t.Errorf("%q: %v", other, err)
		}
	}
	if _, err := FollowUp(Withdrawal, "no warrant", nil, "Because."); err == nil {
		t.Error("something else is followed up")
	}
}

// What filing would refuse of an order and the earlier one is refused before it is signed.
func TestBeforeSigningWhatFollows(t *testing.T) {
	w := courts(t)
	v, _ := w.production(t)
	ofCourt := sign(t, w.court, v)
	v.Authority = "prosecutor"
	ofProsecutor := sign(t, w.prosecutor, v)
	for name, x := range map[string]struct {
		kind, earlier string
		key           jose.JSONWebKey
		want          error
	}{
		"the court validates":              {Validation, ofProsecutor, w.court, nil},
		"the prosecutor validates itself":  {Validation, ofProsecutor, w.prosecutor, ErrEarlierAuthority},
		"the court needs no validation":    {Validation, ofCourt, w.prosecutor, ErrEarlierAuthority},
		"the court annuls":                 {Annulment, ofProsecutor, w.court, nil},
		"the prosecutor annuls":            {Annulment, ofCourt, w.prosecutor, ErrEarlierAuthority},
		"the prosecutor withdraws another": {Withdrawal, ofCourt, w.prosecutor, ErrEarlierAuthority},
		"the court withdraws its own":      {Withdrawal, ofCourt, w.court, nil},
		"a production is not extended":     {Extension, ofCourt, w.court, ErrEarlierKind},
	} {
		by, err := w.bundle.Signer(x.key)
		if err != nil {
			t.Fatal(name, err)
		}
		f, err := FollowUp(x.kind, x.earlier, by, "Because.")
		if err != nil {
			t.Fatal(name, err)
		}
		f.IssuedAt = now
		f.Complete(w.bundle, [16]byte{1}, now)
		d := BeforeSigning(*f, x.earlier, x.key, w.bundle, now)
		if d.Allowed != (x.want == nil) || x.want != nil && !errors.Is(d.Refusal, x.want) {
			t.Errorf("%s: %v", name, d.Refusal)
		}
	}
	if _, err := w.bundle.Signer(key("nobody")); !errors.Is(err, ErrSignerKey) {
		t.Error(err)
	}
	v.Jointly = []string{"crown-court"}
	if got := w.bundle.Countersigners(&v); !slices.Equal(got, []string{"crown-court", "crown-court"}) {
		t.Error(got)
	}
}
