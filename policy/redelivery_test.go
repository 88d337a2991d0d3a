package policy

import (
	"crypto/hpke"
	"encoding/base64"
	"errors"
	"testing"
	"time"

	"github.com/penname/penname/verifier/refusal"
)

// redelivery is a filing that repeats a production, which is logged at entry 40, to another key.
func redelivery(t testing.TB, w *world, changes ...func(*Warrant)) *filing {
	t.Helper()
	f := w.filing(t)
	for _, change := range changes {
		change(&f.Warrant)
	}
	earlier := sign(t, w.court, f.Warrant)
	again, err := Redeliver(earlier, newKey(t), "", "The disk broke.")
	if err != nil {
		t.Fatal(err)
	}
	again.Complete(w.bundle, [16]byte{7}, now.Add(-time.Minute))
	f.Warrant, f.known.Earlier = *again, &Recorded{Warrant: earlier, Leaf: 40}
	return f
}

// newKey is a delivery key that is not the world's.
func newKey(t testing.TB) string {
	t.Helper()
	private, err := hpke.MLKEM768X25519().NewPrivateKey([]byte("another key, of thirty-two bytes"))
	if err != nil {
		t.Fatal(err)
	}
	return "pendk1." + base64.RawURLEncoding.EncodeToString(private.PublicKey().Bytes())
}

// A redelivery is judged as the order that it repeats, and is nothing more: each row is what
// somebody could want to slip in.
func TestARedeliveryRepeatsTheOrder(t *testing.T) {
	w := fifth(t)
	first := w.filing(t).decided(t)
	d := redelivery(t, w).decided(t)
	if !d.Allowed || !d.Opens || d.Quorum != first.Quorum || len(d.Rules) == 0 || d.Rules[0] != first.Rules[0] {
		t.Fatalf("%v because %v, %v", d.Refusal, cause(d.Refusal), d.Rules)
	}
	for name, row := range map[string]struct {
		change func(*filing)
		want   *refusal.Error
	}{
		"no earlier order":             {func(f *filing) { f.Earlier = "" }, ErrEarlier},
		"an order that is not on file": {func(f *filing) { f.known.Earlier = nil }, ErrNoEarlier},
		"another order's hash":         {func(f *filing) { f.Earlier = digest("x") }, ErrNoEarlier},
		"the same key":                 {func(f *filing) { f.Requester.DeliveryKey = w.delivery }, ErrRedelivery},
		"one field more":               {func(f *filing) { f.Fields = append(f.Fields, "address") }, ErrRedelivery},
		"another target":               {func(f *filing) { f.Targets[0].Pseudonym = pseudonym(t, "jo") }, ErrRedelivery},
		"another post":                 {func(f *filing) { f.Targets[0].Evidence = digest("x") }, ErrRedelivery},
		"another offence":              {func(f *filing) { f.OffenceID = "threat_to_kill" }, ErrOffenceClass},
		"another organisation":         {func(f *filing) { f.Requester.OrganisationID = "other" }, ErrRedelivery},
		"a later expiry":               {func(f *filing) { f.Expiry = f.Expiry.AddDate(0, 0, 1) }, ErrRedelivery},
		"longer secrecy":               {func(f *filing) { f.Secrecy.Ends = f.Secrecy.Ends.AddDate(0, 0, 1) }, ErrRedelivery},
		"other grounds":                {func(f *filing) { f.Grounds = "Because." }, ErrRedelivery},
		"no reason":                    {func(f *filing) { f.Grounds = f.Grounds[:len(f.Grounds)-len("The disk broke.")] }, ErrRedelivery},
		"another authority":            {issuedBy("prosecutor"), ErrEarlierAuthority},
		"a stranger's key":             {func(f *filing) { f.by = key("stranger") }, ErrSignerKey},
		"after the order expired":      {func(f *filing) { f.at = f.Expiry }, ErrExpired},
	} {
		f := redelivery(t, w)
		row.change(f)
		if d := f.decided(t); d.Allowed || d.Refusal.Code != row.want.Code {
			t.Errorf("%s: allowed %v, %v because %v", name, d.Allowed, d.Refusal, cause(d.Refusal))
		}
	}
	emergency := w.filing(t)
	inEmergency(emergency)
	if _, err := Redeliver(sign(t, w.court, emergency.Warrant), newKey(t), "", "Lost."); !errors.Is(err, ErrEarlierKind) {
		t.Error("an emergency is repeated:", err)
	}
}

// Its targets count once: an order that others have raised the quorum of is not raised by
// itself, and one that is alone counts them.
func TestARedeliveryCountsOnce(t *testing.T) {
	w := fifth(t)
	f := redelivery(t, w)
	o := w.bundle.order(&f.Warrant, w.bundle.Authority("crown-court"), f.known, now)
	for before, want := range map[int]int{0: 1, 1: 1, 49: 49} {
		if o.known.Filed = (&Filed{Authority30: before}); o.filed() != want {
			t.Errorf("after %d it counts as %d", before, o.filed())
		}
	}
}

// Who is told first of an order is not passed over by having it repeated, though its secrecy
// would be too short to count by itself.
func TestARedeliveryKeepsTheNotice(t *testing.T) {
	w := fifth(t)
	d := redelivery(t, w, func(v *Warrant) { v.Secrecy.Ends = v.IssuedAt.Add(time.Hour) }).decided(t)
	if !d.Allowed || d.NoticePeriod != toldFirst {
		t.Errorf("%v because %v, notice of %v", d.Refusal, cause(d.Refusal), d.NoticePeriod)
	}
}
