package escrowtest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/penname/penname/escrow/issue"

	"github.com/penname/penname/escrow/disclose"
	"github.com/penname/penname/verifier/refusal"
)

// UnwrapHalf opens one first half.
func UnwrapHalf(ctx context.Context, k disclose.Keys, label, wrapped string) ([]byte, error) {
	halves, err := k.UnwrapHalves(ctx, []disclose.Wrapped{{Name: label, Text: wrapped}})
	if err != nil {
		return nil, err
	}
	return halves[0], nil
}

// OpenLink opens one link.
func OpenLink(ctx context.Context, k disclose.Keys, pseudonym, wrapped string) ([]byte, error) {
	links, err := k.OpenLinks(ctx, []disclose.Wrapped{{Name: pseudonym, Text: wrapped}})
	if err != nil {
		return nil, err
	}
	return links[0], nil
}

// TestKeys is the conformance suite of the key service: both sides of one
// implementation, which must share their keys.
func TestKeys(t *testing.T, newIssuing func(*testing.T) issue.Keys, newDisclosing func(*testing.T) disclose.Keys) {
	k := keysSuite{newIssuing(t), newDisclosing(t)}
	t.Run("RoundTrip", k.roundTrip)
	t.Run("V05WrongLabelOrPseudonym", k.wrongLabel)
	t.Run("V05AnotherKeysCiphertext", k.anotherKey)
	t.Run("V07Junk", k.junk)
	t.Run("V07TruncatedExtendedOrFlipped", k.damaged)
	t.Run("V22EqualValuesDiffer", k.notConvergent)
	t.Run("V21MACStableAndPurposeSeparated", k.mac)
	t.Run("BadInput", k.badInput)
	t.Run("SidesHaveNoMethodOfTheOther", k.sides)
	t.Run("V08ConcurrentCallsAndOneBadAmongThem", k.concurrent)
	t.Run("ManyAtATime", k.many)
	t.Run("ContextCancelled", k.cancelled)
}

type keysSuite struct {
	issuing    issue.Keys
	disclosing disclose.Keys
}

// refused checks kind and code, and that neither text nor cause tells a secret.
func refused(t *testing.T, err error, kind refusal.Kind, code string, secrets ...string) {
	t.Helper()
	r := refusal.Of(err)
	if r == nil || r.Kind != kind || r.Code != code {
		t.Fatalf("got %v, want a refusal %s", err, code)
	}
	for e := err; e != nil; e = errors.Unwrap(e) {
		for _, secret := range secrets {
			if secret != "" && strings.Contains(fmt.Sprintf("%v %+v", e, e), secret) {
				t.Errorf("the refusal tells a secret: %v", e)
			}
		}
	}
}

func (k keysSuite) roundTrip(t *testing.T) {
	for _, value := range [][]byte{{0}, bytes.Repeat([]byte{0xff}, 32), []byte("\r\n\x00 väl"), bytes.Repeat([]byte("x"), 64<<10)} {
		for _, label := range []string{"a", "mfrggzdfmztwq2lk", "with / and : and = and ü", strings.Repeat("l", 512)} {
			half, err := k.issuing.WrapHalf(t.Context(), label, value)
			if err != nil {
				t.Fatal(err)
			}
			if got, err := UnwrapHalf(t.Context(), k.disclosing, label, half); err != nil || !bytes.Equal(got, value) {
				t.Fatalf("UnwrapHalf: %d bytes, %v", len(got), err)
			}
			link, err := k.issuing.WrapLink(t.Context(), label, value)
			if err != nil {
				t.Fatal(err)
			}
			if got, err := OpenLink(t.Context(), k.disclosing, label, link); err != nil || !bytes.Equal(got, value) {
				t.Fatalf("OpenLink: %d bytes, %v", len(got), err)
			}
		}
	}
	half, err := k.issuing.WrapHalf(t.Context(), "label", make([]byte, 32))
	if err != nil || len(half) > 256 {
		t.Errorf("a half of 32 bytes takes %d bytes of text, %v", len(half), err)
	}
}

func (k keysSuite) wrongLabel(t *testing.T) {
	half, err := k.issuing.WrapHalf(t.Context(), "label-a", []byte("secret-half"))
	if err != nil {
		t.Fatal(err)
	}
	link, err := k.issuing.WrapLink(t.Context(), "pen1a", []byte("secret-link"))
	if err != nil {
		t.Fatal(err)
	}
	for _, wrong := range []string{"label-b", "label-", "label-aa", "LABEL-A", "label-a ", "label-a\x00", "pen1a\x00", "pen1b", "PEN1A"} {
		_, err := UnwrapHalf(t.Context(), k.disclosing, wrong, half)
		refused(t, err, refusal.Invalid, "keys.decrypt_failed", wrong, half, "secret-half")
		_, err = OpenLink(t.Context(), k.disclosing, wrong, link)
		refused(t, err, refusal.Invalid, "keys.decrypt_failed", wrong, link, "secret-link")
	}
}

func (k keysSuite) anotherKey(t *testing.T) {
	half, err := k.issuing.WrapHalf(t.Context(), "same", []byte("secret-half"))
	if err != nil {
		t.Fatal(err)
	}
	link, err := k.issuing.WrapLink(t.Context(), "same", []byte("secret-link"))
	if err != nil {
		t.Fatal(err)
	}
	_, err = OpenLink(t.Context(), k.disclosing, "same", half)
	refused(t, err, refusal.Invalid, "keys.decrypt_failed", half, "secret-half")
	_, err = UnwrapHalf(t.Context(), k.disclosing, "same", link)
	refused(t, err, refusal.Invalid, "keys.decrypt_failed", link, "secret-link")
}

func (k keysSuite) junk(t *testing.T) {
	good, err := k.issuing.WrapHalf(t.Context(), "label", []byte("secret-half"))
	if err != nil {
		t.Fatal(err)
	}
	if strings.Count(good, ":v1:") != 1 {
		t.Fatalf("a value names its key version once as :v1:, not %q", good)
	}
	body := good[strings.Index(good, ":v1:")+4:]
	for _, junk := range []string{
		"x", " ", ":", "vault:", "vault:v1:", "vault:v0:", "vault:v0:" + body, "vault:v999999:" + body, "vault:v1:" + body[:8], "sandbox:v1:",
		"vault:v1:====", "vault:v1:%%%%", "vault:v-1:" + body, "vault:v1", "vault:v18446744073709551616:" + body, "vault:v1::" + body, body,
		strings.Replace(good, ":v1:", ":v0:", 1), strings.Replace(good, ":v1:", ":v999999:", 1), strings.Replace(good, ":v1:", ":v01:", 1),
		strings.Replace(good, ":v1:", ":v-1:", 1), strings.Replace(good, ":v1:", ":v+1:", 1), strings.Replace(good, ":v1:", ":v1 :", 1),
		strings.Replace(good, ":v1:", ":V1:", 1), strings.ToUpper(good), good + ":" + good, good + "\n", "\n" + good, good + "\x00", good + "=",
		"vault:v1:" + strings.Repeat("A", 1<<16), strings.Repeat("x", 1<<16), `{"ciphertext":"` + good + `"}`,
	} {
		_, err := UnwrapHalf(t.Context(), k.disclosing, "label", junk)
		refused(t, err, refusal.Invalid, "keys.decrypt_failed", body, "secret-half")
		_, err = OpenLink(t.Context(), k.disclosing, "label", junk)
		refused(t, err, refusal.Invalid, "keys.decrypt_failed", body, "secret-half")
	}
}

func (k keysSuite) damaged(t *testing.T) {
	good, err := k.issuing.WrapHalf(t.Context(), "label", []byte("secret-half"))
	if err != nil {
		t.Fatal(err)
	}
	var damaged []string
	for i := 1; i < len(good); i++ {
		damaged = append(damaged, good[:i], good+good[len(good)-i:])
	}
	for i := range len(good) {
		flipped := []byte(good)
		if flipped[i] ^= 1; flipped[i] >= ' ' && flipped[i] < 0x7f {
			damaged = append(damaged, string(flipped))
		}
	}
	for _, value := range damaged {
		got, err := UnwrapHalf(t.Context(), k.disclosing, "label", value)
		if err == nil {
			t.Fatalf("opened %q from a damaged value: two texts open the same half", got)
		}
		refused(t, err, refusal.Invalid, "keys.decrypt_failed", good[:24], good[24:], "secret-half")
	}
}

func (k keysSuite) notConvergent(t *testing.T) {
	seen := map[string]bool{}
	for range 20 {
		half, err := k.issuing.WrapHalf(t.Context(), "label", []byte("same"))
		if err != nil {
			t.Fatal(err)
		}
		if seen[half] {
			t.Fatal("equal values wrap to equal texts: a guess can be confirmed without opening")
		}
		seen[half] = true
	}
}

func (k keysSuite) mac(t *testing.T) {
	inputs := [][]byte{[]byte("a"), []byte("b"), []byte("ab"), {0}, bytes.Repeat([]byte("x"), 64<<10), []byte("a")}
	var all [][]byte
	for _, purpose := range []string{"fingerprint", "pseudonym"} {
		first, err := k.issuing.MAC(t.Context(), purpose, inputs...)
		if err != nil || len(first) != len(inputs) {
			t.Fatalf("%d results for %d inputs, %v", len(first), len(inputs), err)
		}
		if !bytes.Equal(first[0], first[5]) {
			t.Error("one input has two results in one call")
		}
		for i, input := range inputs {
			again, err := k.issuing.MAC(t.Context(), purpose, input)
			if err != nil || len(again) != 1 || !bytes.Equal(again[0], first[i]) || len(first[i]) != 32 {
				t.Errorf("result %d is not stable, in order and of 32 bytes: %v", i, err)
			}
		}
		all = append(all, first[:5]...)
	}
	for i, a := range all {
		for _, b := range all[i+1:] {
			if bytes.Equal(a, b) {
				t.Error("two inputs or two purposes have one result")
			}
		}
	}
	if none, err := k.issuing.MAC(t.Context(), "pseudonym"); err != nil || len(none) != 0 {
		t.Errorf("no input: %v, %v", none, err)
	}
	many := make([][]byte, 600)
	for i := range many {
		many[i] = fmt.Append(nil, i)
	}
	sums, err := k.issuing.MAC(t.Context(), "pseudonym", many...)
	if err != nil || len(sums) != len(many) {
		t.Fatalf("%d results for %d inputs, %v", len(sums), len(many), err)
	}
	last, err := k.issuing.MAC(t.Context(), "pseudonym", many[599])
	if err != nil || !bytes.Equal(last[0], sums[599]) {
		t.Errorf("many inputs are out of order, %v", err)
	}
}

func (k keysSuite) badInput(t *testing.T) {
	long := strings.Repeat("l", 513)
	good, err := k.issuing.WrapHalf(t.Context(), "label", []byte("half"))
	if err != nil {
		t.Fatal(err)
	}
	for name, call := range map[string]func() error{
		"no label":        func() error { _, err := k.issuing.WrapHalf(t.Context(), "", []byte("half")); return err },
		"long label":      func() error { _, err := k.issuing.WrapHalf(t.Context(), long, []byte("half")); return err },
		"no half":         func() error { _, err := k.issuing.WrapHalf(t.Context(), "label", nil); return err },
		"big half":        func() error { _, err := k.issuing.WrapHalf(t.Context(), "label", make([]byte, 64<<10+1)); return err },
		"no pseudonym":    func() error { _, err := k.issuing.WrapLink(t.Context(), "", []byte("link")); return err },
		"no link":         func() error { _, err := k.issuing.WrapLink(t.Context(), "pen1", nil); return err },
		"unwrap no label": func() error { _, err := UnwrapHalf(t.Context(), k.disclosing, "", good); return err },
		"unwrap nothing":  func() error { _, err := UnwrapHalf(t.Context(), k.disclosing, "label", ""); return err },
		"unwrap too much": func() error {
			_, err := UnwrapHalf(t.Context(), k.disclosing, "label", strings.Repeat("x", 1<<18))
			return err
		},
		"open long label":  func() error { _, err := OpenLink(t.Context(), k.disclosing, long, good); return err },
		"unknown purpose":  func() error { _, err := k.issuing.MAC(t.Context(), "record", []byte("a")); return err },
		"no purpose":       func() error { _, err := k.issuing.MAC(t.Context(), "", []byte("a")); return err },
		"empty MAC input":  func() error { _, err := k.issuing.MAC(t.Context(), "pseudonym", []byte("a"), nil); return err },
		"big MAC input":    func() error { _, err := k.issuing.MAC(t.Context(), "pseudonym", make([]byte, 64<<10+1)); return err },
		"path for purpose": func() error { _, err := k.issuing.MAC(t.Context(), "../penname-record", []byte("a")); return err },
	} {
		t.Run(name, func(t *testing.T) { refused(t, call(), refusal.Invalid, "keys.bad_input", long) })
	}
}

func (k keysSuite) sides(t *testing.T) {
	if _, ok := k.issuing.(interface {
		UnwrapHalves(context.Context, []disclose.Wrapped) ([][]byte, error)
	}); ok {
		t.Error("the issuing side can open a half")
	}
	if _, ok := k.issuing.(interface {
		OpenLinks(context.Context, []disclose.Wrapped) ([][]byte, error)
	}); ok {
		t.Error("the issuing side can open a link")
	}
	if _, ok := k.disclosing.(interface {
		WrapHalf(context.Context, string, []byte) (string, error)
	}); ok {
		t.Error("the disclosing side can wrap")
	}
	if _, ok := k.disclosing.(interface {
		MAC(context.Context, string, ...[]byte) ([][]byte, error)
	}); ok {
		t.Error("the disclosing side can compute pen names")
	}
}

func (k keysSuite) concurrent(t *testing.T) {
	var wg sync.WaitGroup
	for i := range 96 {
		wg.Go(func() {
			label, value := fmt.Sprint("label-", i), fmt.Append(nil, "half-", i)
			half, err := k.issuing.WrapHalf(t.Context(), label, value)
			if err != nil {
				t.Error(err)
				return
			}
			if i%7 == 0 { // this one fails, and it alone
				_, err := UnwrapHalf(t.Context(), k.disclosing, label+"x", half)
				if r := refusal.Of(err); r == nil || r.Code != "keys.decrypt_failed" {
					t.Errorf("a wrong label among others: %v", err)
				}
				return
			}
			if got, err := UnwrapHalf(t.Context(), k.disclosing, label, half); err != nil || !bytes.Equal(got, value) {
				t.Errorf("label %d opened %q, %v", i, got, err)
			}
			sums, err := k.issuing.MAC(t.Context(), "fingerprint", value, []byte("same"))
			if err != nil || len(sums) != 2 {
				t.Errorf("MAC: %d results, %v", len(sums), err)
			}
		})
	}
	wg.Wait()
}

// many opens more values than one call of a service takes. One that does not open
// among them hides no other link, and leaves no half in clear.
func (k keysSuite) many(t *testing.T) {
	const n, bad = 1200, 1100
	var halves, links []disclose.Wrapped
	for i := range n {
		name := fmt.Sprint("name-", i)
		half, err := k.issuing.WrapHalf(t.Context(), name, []byte(name+" half"))
		if err != nil {
			t.Fatal(err)
		}
		link, err := k.issuing.WrapLink(t.Context(), name, []byte(name+" link"))
		if err != nil {
			t.Fatal(err)
		}
		halves, links = append(halves, disclose.Wrapped{Name: name, Text: half}), append(links, disclose.Wrapped{Name: name, Text: link})
	}
	for what, c := range map[string]struct {
		open   func(context.Context, []disclose.Wrapped) ([][]byte, error)
		values []disclose.Wrapped
		suffix string
		before int // opened before the one that does not
	}{
		"halves": {k.disclosing.UnwrapHalves, halves, " half", 0},
		"links":  {k.disclosing.OpenLinks, links, " link", bad},
	} {
		opened, err := c.open(t.Context(), c.values)
		if err != nil || len(opened) != n {
			t.Fatalf("%s: %d opened, %v", what, len(opened), err)
		}
		for i, v := range opened {
			if string(v) != c.values[i].Name+c.suffix {
				t.Fatalf("%s: %d is out of order", what, i)
			}
		}
		for code, wrong := range map[string]disclose.Wrapped{
			"keys.decrypt_failed": {Name: "another name", Text: c.values[bad].Text},
			"keys.bad_input":      {Name: "", Text: c.values[bad].Text},
		} {
			values := append([]disclose.Wrapped(nil), c.values...)
			values[bad] = wrong
			opened, err = c.open(t.Context(), values)
			refused(t, err, refusal.Invalid, code, wrong.Text)
			if len(opened) != c.before {
				t.Errorf("%s: %d opened before the one that does not", what, len(opened))
			}
		}
		if none, err := c.open(t.Context(), nil); err != nil || len(none) != 0 {
			t.Errorf("%s: none: %d, %v", what, len(none), err)
		}
	}
}

func (k keysSuite) cancelled(t *testing.T) {
	good, err := k.issuing.WrapHalf(t.Context(), "label", []byte("half"))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = k.issuing.WrapHalf(ctx, "label", []byte("half"))
	refused(t, err, refusal.Unavailable, "keys.unavailable")
	_, err = k.issuing.WrapLink(ctx, "label", []byte("half"))
	refused(t, err, refusal.Unavailable, "keys.unavailable")
	_, err = k.issuing.MAC(ctx, "pseudonym", []byte("a"))
	refused(t, err, refusal.Unavailable, "keys.unavailable")
	_, err = UnwrapHalf(ctx, k.disclosing, "label", good)
	refused(t, err, refusal.Unavailable, "keys.unavailable")
	_, err = OpenLink(ctx, k.disclosing, "label", good)
	refused(t, err, refusal.Unavailable, "keys.unavailable")
}
